import { GuestFailure, Machine } from "./machine.ts";
import type { GuestFiles, MachineKind } from "./machines.ts";
import { type Program, commandLine } from "./programs.ts";
import { geometricMean } from "./statistics.ts";
import { cpuSeconds } from "./usage.ts";

/** One run of one program. */
export interface Sample {
  /** What counts: the wall time for fixed work, the time for a unit of work otherwise. Taken on the host. */
  readonly seconds: number;
  /** From sending the command to the arrival of the marker behind it. */
  readonly wallSeconds: number;
  /** CPU time of the machine's process, threads and children in between. */
  readonly hostCpuSeconds: number;
  /** What the guest's own clock said: it should agree with wallSeconds. */
  readonly guestSeconds: number;
  readonly checksum: string | null;
}

const BOOT_TIMEOUT = 120_000;
const POWEROFF_TIMEOUT = 20_000;

/** A machine whose first process is the benchmark's driver (programs/guest/init.c), which runs what it is sent. */
export class Guest {
  readonly #machine: Machine;

  private constructor(machine: Machine) {
    this.#machine = machine;
  }

  static async boot(kind: MachineKind, files: GuestFiles, extraArguments: readonly string[] = []): Promise<Guest> {
    const machine = new Machine([...kind.command({ ...files, append: `${files.append} rdinit=/bench/init` }), ...extraArguments]);
    try {
      await machine.waitFor(/@@ready\n/, BOOT_TIMEOUT, "prompt of the benchmark's driver");
    } catch (failure) {
      await machine.kill();
      throw failure;
    }
    return new Guest(machine);
  }

  get running(): boolean {
    return this.#machine.running;
  }

  /** All that the machine wrote, on both of its outputs. */
  get output(): string {
    return `${this.#machine.console}\n${this.#machine.errors}`;
  }

  /** Throws GuestFailure if the program fails or is still running after `timeout` milliseconds. */
  async run(program: Program, iterations: number, timeout: number): Promise<Sample> {
    const cpuBefore = cpuSeconds(this.#machine.pid);
    const sent = this.#machine.send(commandLine(program, iterations));
    const { at, match, before } = await this.#machine.waitFor(/\n@@done (\d+) (\d+) \d+ \d+\n/, timeout, "end of the program");
    const hostCpuSeconds = cpuSeconds(this.#machine.pid) - cpuBefore;
    const [status, guestNanoseconds] = [Number(match[1]), Number(match[2])];
    if (status !== 0) throw new GuestFailure(`it ended with status ${status}, saying ${JSON.stringify(before.trim().slice(-160))}`);
    const wallSeconds = (at - sent) / 1000;
    const guestSeconds = guestNanoseconds / 1e9;
    return {
      seconds: program.rates === undefined ? wallSeconds : secondsPerUnit(program.rates(before), guestSeconds / wallSeconds),
      wallSeconds,
      hostCpuSeconds,
      guestSeconds,
      checksum: /checksum=([0-9a-f]{16})/.exec(before)?.[1] ?? null,
    };
  }

  /** Turns the guest off, by force if need be. */
  async powerOff(): Promise<void> {
    this.#machine.send("poweroff");
    await this.#machine.finish(POWEROFF_TIMEOUT);
  }

  async kill(): Promise<void> {
    await this.#machine.kill();
  }
}

/** A guest whose clock is slow believes that it did much in a second: its rates are put on the host's clock. */
function secondsPerUnit(rates: readonly number[], guestClockSpeed: number): number {
  if (rates.length === 0) throw new GuestFailure("its output holds no rates");
  return 1 / (geometricMean(rates) * guestClockSpeed);
}
