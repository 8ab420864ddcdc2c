/** The commands and their options. */
import { VERSION } from "#base/version.ts";
import type { MachineThread } from "#host/node/machine-thread.ts";
import { Command, Option } from "commander";
import type { ClassifyOptions } from "./classify.ts";
import { addDemoCommands } from "./demo/commands.ts";
import { addDoctorCommand } from "./doctor.ts";
import { addImageCommands } from "./image-commands.ts";
import { addMachineCommands } from "./machine-commands.ts";
import type { Messages } from "./messages.ts";
import { parseCount, parseCpus, parseGranularity, parseMemory, parseSeed } from "./options.ts";
import { driveOption, machineOption, techniqueOptions, tlbOption, withParser } from "./parsers.ts";
import type { RunOptions } from "./run.ts";

const EXAMPLES = `
Examples:
  $ hostelry run                                    Debian's kernel and a shell; Ctrl-A X leaves
  $ echo 'uname -a' | hostelry run                  a command through a pipe
  $ hostelry run --cpu trap-and-emulate --stats     its kernel in U-mode, over shadow page tables
  $ hostelry run --drive disk.img --drive more.img,ro
  $ hostelry run --kernel vmlinux --initrd initrd --append 'console=ttyS0'
  $ hostelry run default --bios fw_dynamic.bin      OpenSBI in M-mode, then Debian
  $ hostelry run --bios none --kernel kernel        a kernel that starts in M-mode
  $ hostelry run --bios add.elf --signature add.sig an architecture test, and what it found
  $ hostelry image build --name tools --packages python3-minimal,7zip
  $ hostelry serve                                  a machine for many VMs; then, elsewhere:
  $ hostelry create web --start && hostelry console web
  $ hostelry classify --machine silent              instructions that a monitor can't catch
  $ hostelry demo syscall                           process, operating system and VMM, step by step
  $ hostelry doctor                                 what is missing here, and for what`;

/** `machine` is one that has begun to start; `finish` gets a command's exit status. Throws CommanderError for what the parser refuses, and for help. */
export function createProgram(messages: Messages, machine: MachineThread | undefined, finish: (status: number) => void): Command {
  const program = new Command("hostelry")
    .description("A virtual machine monitor in TypeScript: whole, unmodified operating systems")
    .version(VERSION)
    .enablePositionalOptions()
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ outputError: (text) => messages.error(oneLine(text)) })
    .addHelpText("after", EXAMPLES);
  addRunCommand(program, messages, machine, finish);
  addMachineCommands(program, messages, finish);
  addClassifyCommand(program, finish);
  addDemoCommands(program, messages, finish);
  addImageCommands(program, messages);
  addDoctorCommand(program, finish);
  return program;
}

function addRunCommand(program: Command, messages: Messages, machine: MachineThread | undefined, finish: (status: number) => void): void {
  const command = program
    .command("run")
    .summary("run a machine and join its console to this terminal")
    .description("Run a machine and join its console to this terminal. Its exit status is the guest's shell's, or what it wrote\nto the test finisher or to tohost; 2 if something given is wrong, 71 if the guest's kernel panics.")
    .argument("[image]", "an image of `hostelry image ls`; the default one is built if it isn't there")
    .option("--bare", "on the bare machine, without a monitor")
    .option("--kernel <file>", "a kernel: a Linux Image, plain or compressed, or an ELF file")
    .option("--initrd <file>", "an initial RAM disk")
    .option("--append <words>", "the kernel's command line; with an image, words added to its own")
    .option("--bios <file>", "firmware to start in M-mode, instead of the built-in SBI; with no image or kernel named, alone;\n`none`: the kernel itself starts in M-mode")
    .addOption(machineOption())
    .addOption(tlbOption())
    .addOption(withParser(new Option("--memory <size>", "how much, with K, M or G"), parseMemory).default(512 * 2 ** 20, "512M"))
    .addOption(withParser(new Option("--cpus <count>", "virtual CPUs, 1 to 8; they take turns on one hart"), parseCpus).default(1))
    .addOption(driveOption())
    .addOption(new Option("--clock <source>", "what time is: the host's, or 10 ns an instruction, which is repeatable").choices(["host", "instructions"]).default("host"))
    .addOption(withParser(new Option("--seed <number>", "makes all that the machine takes for random repeatable"), parseSeed))
    .option("--signature <file>", "at the end, write what stands between begin_signature and end_signature, in hex")
    .addOption(withParser(new Option("--signature-granularity <bytes>", "in each of its lines"), parseGranularity).default(4))
    .option("--stats", "at the end, what happened: one object, on stderr")
    .option("--json", "with --stats: in one line")
    .option("--interpreter-only", "without the translator")
    .option("--mirror <url>", "a Debian mirror to build the default image from, where there is no apt")
    .action(async (image: string | undefined, options: RunOptions) => {
      // What only runs machines is loaded only then: --help is quick.
      const { run } = await import("./run.ts");
      finish(await run(image, options, messages, machine));
    });
  for (const option of techniqueOptions()) command.addOption(option);
}

function addClassifyCommand(program: Command, finish: (status: number) => void): void {
  program
    .command("classify")
    .summary("which instructions are sensitive, and which trap in U-mode")
    .description("Execute each instruction in random states, in U-mode and higher ones: what it is declared to be and what is seen, and whether the machine\nmeets Popek and Goldberg's requirement: sensitive instructions trap in U-mode.")
    .addOption(machineOption())
    .addOption(withParser(new Option("--cases <number>", "random states for each instruction"), parseCount("--cases")).default(20))
    .addOption(withParser(new Option("--seed <number>", "other random states (1 unless given)"), parseSeed))
    .option("--json", "as JSON")
    .action(async (options: ClassifyOptions) => {
      const { printClassification } = await import("./classify.ts");
      printClassification(options);
      finish(0);
    });
}

function oneLine(text: string): string {
  return text.replace(/^error: /, "").trim().replaceAll(/\s*\n\s*/g, " ");
}
