/** A command, from its words to its exit status. */
import { HostelryError } from "#base/errors.ts";
import type { MachineThread } from "#host/node/machine-thread.ts";
import { CommanderError } from "commander";
import { ExitStatus } from "./exit-status.ts";
import { Messages } from "./messages.ts";
import { createProgram } from "./program.ts";

const messages = new Messages();

/** What can still be written is, before the process ends: pipes take their time. */
async function exit(status: number): Promise<never> {
  process.exitCode = status;
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writable) await new Promise<void>((resolve) => void stream.write("", () => resolve()));
  }
  process.exit(status);
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitStatus.success : ExitStatus.badInput;
  if (error instanceof HostelryError) {
    messages.error(error.message);
    return ExitStatus.badInput;
  }
  messages.error(`a bug in Hostelry: ${error instanceof Error ? error.stack : String(error)}`);
  return ExitStatus.internal;
}

/** `machine`: one that has begun to start, if the command may be to run it. Does not return. */
export async function commandLine(words: readonly string[], machine: MachineThread | undefined): Promise<never> {
  // A reader that has heard enough (`| head`) is no error.
  process.stdout.on("error", () => {});
  try {
    let status: number = ExitStatus.success;
    await createProgram(messages, machine, (result) => void (status = result)).parseAsync(words);
    return await exit(status);
  } catch (error) {
    return exit(report(error));
  }
}
