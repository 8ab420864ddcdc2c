/** `hostelry demo`: what a teacher shows first. */
import { techniqueChoices } from "#monitor/cpu/technique.ts";
import { Option, type Command } from "commander";
import type { Messages } from "../messages.ts";
import { parseMemory, parseTechnique } from "../options.ts";
import { techniqueOptions, withParser } from "../parsers.ts";
import type { FlowOptions } from "./flow.ts";
import type { MemoryOptions } from "./memory.ts";
import { memorySceneNames } from "./memory-sample.ts";
import type { SilentOptions } from "./silent.ts";
import type { TechniquesOptions } from "./techniques.ts";

const parseCpu = parseTechnique("--cpu", techniqueChoices.cpu);
const memory = (): Option => withParser(new Option("--memory <size>", "of Debian, with K, M or G"), parseMemory).default(256 * 2 ** 20, "256M");

export function addDemoCommands(program: Command, messages: Messages, finish: (status: number) => void): void {
  const demo = program.command("demo").summary("what virtualization does, shown on a real guest").description("What virtualization does, shown on a real guest.");
  const [cpu, mmu] = techniqueOptions().filter(({ long }) => long === "--cpu" || long === "--mmu");

  const flow = (name: string, what: string, scene: "systemCall" | "tlbMiss"): void => {
    demo.command(name)
      .summary(`${what}: process, operating system and VMM, step by step`)
      .description(`${what[0]!.toUpperCase()}${what.slice(1)}, instruction by instruction: process, operating system and VMM in three columns, and beside them the bare machine.\nOn a terminal, Enter goes on, q leaves.`)
      .addOption(cpu!.default("trap-and-emulate"))
      .addOption(mmu!)
      .option("--no-wait", "go through without waiting for Enter")
      .option("--json", "as JSON")
      .action(async (options: FlowOptions) => {
        const [{ showFlow }, scenes] = await Promise.all([import("./flow.ts"), import("#monitor/follow/scene.ts")]);
        await showFlow(scenes[scene](), options);
        finish(0);
      });
  };
  flow("syscall", "a system call", "systemCall");
  flow("tlb", "a miss of a TLB that software fills", "tlbMiss");

  demo.command("silent")
    .summary("a machine that traps alone can't virtualize")
    .description("Debian on the silent machine: under trap-and-emulate it goes wrong, and the monitor names the instruction that did it;\nunder binary translation it boots.")
    .addOption(memory())
    .option("--json", "as JSON")
    .action(async (options: SilentOptions) => {
      const { demoSilent } = await import("./silent.ts");
      await demoSilent(options, messages);
      finish(0);
    });

  demo.command("techniques")
    .summary("one Debian and one workload by each technique, beside the bare machine")
    .description("One Debian by each technique, beside the bare machine: how long it boots, forks and calls its kernel, and how often it comes out\nto the monitor for it, by cause.")
    .addOption(new Option("--cpu <technique...>", "only by these").argParser((text, before: string[] | undefined) => [...(before ?? []), parseCpu(text)]))
    .addOption(memory())
    .option("--json", "as JSON")
    .action(async (options: TechniquesOptions) => {
      const { demoTechniques } = await import("./techniques.ts");
      await demoTechniques(options, messages);
      finish(0);
    });

  demo.command("memory")
    .summary("memory taken from VMs: stolen, ballooned, shared, taxed")
    .description("A machine that has promised more memory than it has, and how it is taken from its VMs: half of one's frames without asking, and by its balloon;\nby sharing what is alike; and by what an idle VM pays for what it hoards. What each VM has and what its work gets through, once a second.")
    .addOption(new Option("--scene <name>", "only this").choices(memorySceneNames))
    .option("--json", "as JSON")
    .action(async (options: MemoryOptions) => {
      const { demoMemory } = await import("./memory.ts");
      await demoMemory(options, messages);
      finish(0);
    });
}
