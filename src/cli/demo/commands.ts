/** `hostelry demo`: what a teacher shows first. */
import type { Command } from "commander";
import type { Messages } from "../messages.ts";
import { techniqueOptions } from "../parsers.ts";
import type { FlowOptions } from "./flow.ts";

export function addDemoCommands(program: Command, messages: Messages, finish: (status: number) => void): void {
  const demo = program.command("demo").summary("what virtualization does, shown on a real guest").description("What virtualization does, shown on a real guest.");
  const [cpu, mmu] = techniqueOptions().filter(({ long }) => long === "--cpu" || long === "--mmu");

  demo.command("syscall")
    .summary("a system call: process, operating system and VMM, step by step")
    .description("A system call, instruction by instruction: process, operating system and VMM in three columns, and beside them the bare machine.\nOn a terminal, Enter goes on, q leaves.")
    .addOption(cpu!.default("trap-and-emulate"))
    .addOption(mmu!)
    .option("--no-wait", "go through without waiting for Enter")
    .option("--json", "as JSON")
    .action(async (options: FlowOptions) => {
      const [{ showFlow }, { systemCall }] = await Promise.all([import("./flow.ts"), import("#monitor/follow/scene.ts")]);
      await showFlow(systemCall(), options);
      finish(0);
    });
  void messages;
}
