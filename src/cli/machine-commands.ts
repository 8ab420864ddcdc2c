/** `hostelry serve`, and the commands that are its clients. */
import type { Surroundings } from "#monitor/action.ts";
import { policyRules } from "#monitor/memory/policy.ts";
import { Option, type Command } from "commander";
import { availableParallelism } from "node:os";
import type { Messages } from "./messages.ts";
import type { ClientOptions } from "./client.ts";
import type { PolicyOptions } from "./memory.ts";
import type { CreateOptions, SetOptions } from "./operate.ts";
import { parseCap, parseCount, parseCpus, parseMemory, parseMemoryOrNone, parsePart, parseSeconds } from "./options.ts";
import { driveOption, environmentOption, machineOption, sizeArgument, techniqueOptions, tlbOption, withParser } from "./parsers.ts";
import type { ServeOptions } from "./serve.ts";

const SOCKET = "the server's socket, in the place of $HOSTELRY_SOCKET or $XDG_RUNTIME_DIR/hostelry/hostelry.sock";

export function addMachineCommands(program: Command, messages: Messages, finish: (status: number) => void): void {
  // What only operates machines is loaded only then: --help is quick.
  const operate = () => import("./operate.ts");
  const client = (name: string, description: string): Command =>
    program.command(name).description(description).option("--socket <path>", SOCKET);
  const withTechnique = (command: Command): Command => techniqueOptions().reduce((all, option) => all.addOption(option), command);
  const withJson = (command: Command): Command => command.option("--json", "as JSON");
  const shares = () => withParser(new Option("--shares <number>", "time on its hart is given in proportion to this (100 unless given)"), parseCount("--shares"));
  const cap = () => withParser(new Option("--cap <part>", "at most this part of a hart's time: 50%, or 0.5"), parseCap);

  const memoryMin = () => withParser(new Option("--memory-min <size>", "of its memory, what is never taken from it (all of it unless given, or none if the server overcommits)"), parseMemoryOrNone("--memory-min"));
  const memoryShares = () =>
    withParser(new Option("--memory-shares <number>", "memory that is not enough for all is given in proportion to this, as far as it is used (10 for each MiB unless given)"), parseCount("--memory-shares"));

  program.command("serve")
    .summary("hold a machine for many VMs")
    .description("Hold a machine for many VMs, until a signal: SIGINT or SIGTERM switch them off. The other commands are its clients.")
    .option("--socket <path>", SOCKET.replace("the server's socket", "where it listens"))
    .addOption(withParser(new Option("--harts <number>", "harts of the machine, each a thread"), parseCount("--harts")).default(availableParallelism(), "the host's CPUs"))
    .addOption(machineOption())
    .addOption(tlbOption())
    .addOption(withParser(new Option("--memory <size>", "the machine's memory, for all VMs, with K, M or G"), parseMemory).default(2 * 2 ** 30, "2G"))
    .option("--overcommit", "let VMs be promised more memory, together, than there is: what is guaranteed to them (--memory-min) is none unless given")
    .addOption(withParser(new Option("--swap <size>", "how much of the VMs' memory may go to a file when the machine has none left, with K, M or G; 0 for none: a VM that finds no memory ends (four times --memory unless given)"), parseMemoryOrNone("--swap")))
    .option("--swap-file <path>", "where that file is to be; it has no name while it is used, and is gone at the end (in ~/.cache/hostelry unless given)")
    .action(async (options: ServeOptions) => {
      const { serve } = await import("./serve.ts");
      finish(await serve(options, messages));
    });

  withTechnique(withJson(client("create", "Create a VM, of an image or a kernel")))
    .argument("<name>", "its name")
    .argument("[image]", "an image of `hostelry image ls`; the default one is built if it isn't there")
    .addOption(withParser(new Option("--memory <size>", "at most how much, with K, M or G"), parseMemory).default(512 * 2 ** 20, "512M"))
    .addOption(memoryMin())
    .addOption(memoryShares())
    .addOption(withParser(new Option("--cpus <count>", "virtual CPUs, 1 to 8; they take turns on one hart"), parseCpus).default(1))
    .option("--kernel <file>", "a kernel: a Linux Image, plain or compressed, or an ELF file")
    .option("--initrd <file>", "an initial RAM disk")
    .option("--append <words>", "the kernel's command line; with an image, words added to its own")
    .addOption(driveOption())
    .addOption(shares())
    .addOption(cap())
    .option("--share-group <name>", "share pages only with VMs of this group, or with `none` (those that don't say are one group): whoever shares can time what others have")
    .option("--start", "boot it at once")
    .option("--mirror <url>", "a Debian mirror to build the default image from, where there is no apt")
    .action(async (name: string, image: string | undefined, options: CreateOptions) => (await operate()).create(name, image, options, messages));

  for (const [kind, description] of [
    ["start", "Boot VMs: those that were created, or have ended, anew"],
    ["stop", "Switch VMs off at once"],
    ["pause", "Let VMs stand still, and their clocks"],
    ["resume", "Let paused VMs go on"],
  ] as const) {
    withJson(client(kind, description))
      .argument("<names...>", "VMs of `hostelry ps`")
      .action(async (names: string[], options: ClientOptions) => (await operate()).each(kind, names, options, messages));
  }

  withJson(client("balloon", "Have a VM's guest give up memory, until so much is left to it; or use up to so much again"))
    .argument("<name>", "a VM that runs")
    .addArgument(sizeArgument("<size>", "what is left to it, with K, M or G"))
    .action(async (name: string, size: number, options: ClientOptions) => (await operate()).balloon(name, size, options, messages));

  withJson(client("ps", "List the VMs"))
    .action(async (options: ClientOptions) => (await operate()).list(options, messages));

  client("console", "Join a VM's console to this terminal; others may, too. Ctrl-A X leaves, and the VM goes on")
    .argument("<name>", "a VM that runs")
    .action(async (name: string, options: ClientOptions) => finish(await (await operate()).console(name, options, messages)));

  client("exec", "Execute a command in a VM, by the default image's agent. Its exit status is the command's. Options of ours stand before the VM's name")
    .argument("<name>", "a VM that runs")
    .argument("<command...>", "the command and its arguments")
    .addOption(environmentOption())
    .option("--cwd <directory>", "where it begins, an absolute path; root's home if absent")
    .passThroughOptions()
    // A -- may stand before the command, as elsewhere, though none is needed.
    .action(async (name: string, [first, ...rest]: string[], options: ClientOptions & Surroundings) =>
      finish(await (await operate()).exec(name, first === "--" ? rest : [first!, ...rest], options)));

  withJson(client("rm", "Remove VMs, and their logs"))
    .argument("<names...>", "VMs of `hostelry ps`")
    .option("--force", "also those that run")
    .action(async (names: string[], options: ClientOptions) => (await operate()).remove(names, options, messages));

  withTechnique(withJson(client("set", "Change what can be changed while a VM runs")))
    .argument("<name>", "a VM of `hostelry ps`")
    .addOption(shares())
    .addOption(cap())
    .addOption(memoryMin())
    .addOption(memoryShares())
    .action(async (name: string, options: SetOptions) => (await operate()).set(name, options, messages));

  withJson(client("stats", "Instructions, time and exits: of one VM with its exits by cause, or of all"))
    .argument("[name]", "a VM that was started")
    .action(async (name: string | undefined, options: ClientOptions) => (await operate()).stats(name, options));

  withJson(client("memory", "Memory of the machine and of the VMs that are on: what they were promised, what they have and are to have"))
    .option("--map", "and all frames, by owner and state")
    .action(async (options: ClientOptions & { readonly map?: boolean }) => (await import("./memory.ts")).memory(options));

  const partOption = (flag: string, description: string, most?: number): Option => withParser(new Option(`${flag} <part>`, description), parsePart(flag, most));
  withJson(client("policy", "How the machine's memory is managed; with options, another way from now on"))
    .addOption(new Option("--rule <rule>", "by what memory that is not enough for all is shared out").choices(policyRules))
    .addOption(partOption("--idle-tax", "an idle page costs 1 / (1 - tax) times as much as one in use: up to 99%", 0.99))
    .addOption(partOption("--high", "of the machine's memory, what is to be free"))
    .addOption(partOption("--soft", "balloons are inflated when less is free"))
    .addOption(partOption("--hard", "VMs are paged out when less is free"))
    .addOption(partOption("--low", "those that have too much stand still when less is free"))
    .addOption(withParser(new Option("--sample-pages <number>", "of a VM, looked at in a period for what it uses"), parseCount("--sample-pages")))
    .addOption(withParser(new Option("--sample-period <seconds>", "its length"), parseSeconds("--sample-period")))
    .addOption(withParser(new Option("--scan-rate <pages>", "a second, looked at for others like them"), parseCount("--scan-rate")))
    .action(async (options: PolicyOptions) => (await import("./memory.ts")).policy(options));

  client("trace", "The last exits of a VM: seconds since its start, the guest's pc, the cause, what belongs to it")
    .argument("<name>", "a VM that was started")
    .option("--follow", "and those that come, until the VM ends")
    .option("--json", "an object in each line")
    .action(async (name: string, options: ClientOptions) => (await operate()).trace(name, options, messages));
}
