/** The command line's entry: bin/hostelry loads it. A bare machine takes longest to start, so its threads begin before all else is loaded. */
import { MachineThread } from "#host/node/machine-thread.ts";

const machine = process.argv[2] === "run" && process.argv.includes("--bare") ? new MachineThread() : undefined;
const { commandLine } = await import("./command-line.ts");
await commandLine(process.argv, machine);
