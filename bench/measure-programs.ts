import { Guest, type Sample } from "./guest.ts";
import { GuestFailure } from "./machine.ts";
import type { GuestFiles, MachineKind } from "./machines.ts";
import type { Program } from "./programs.ts";

/** The first run of a program after a boot, with everything cold; and a later one. */
export type Phase = "first" | "steady";

export type Role = "ours" | "reference";

export interface ProgramRuns {
  readonly first: Sample[];
  readonly steady: Sample[];
  readonly failures: string[];
}

export interface ProgramResult {
  readonly program: Program;
  readonly iterations: number;
  readonly runs: Partial<Record<Role, ProgramRuns>>;
}

export interface Plan {
  readonly programs: readonly Program[];
  readonly machines: Partial<Record<Role, MachineKind>>;
  readonly files: GuestFiles;
  readonly rounds: number;
  /** The work is divided by this. */
  readonly divisor: number;
  /** Milliseconds for one run. */
  readonly timeout: number;
  readonly progress: (line: string) => void;
}

/**
 * Each round boots the machines afresh and takes the programs in turn, on one machine and then on the other (A B A B), so
 * that a slow minute of the host hits both. The one that waits sits idle in its driver.
 */
export async function measurePrograms(plan: Plan): Promise<ProgramResult[]> {
  const roles = Object.keys(plan.machines) as Role[];
  const results = plan.programs.map((program): ProgramResult => {
    const runs = Object.fromEntries(roles.map((role) => [role, { first: [], steady: [], failures: [] } satisfies ProgramRuns]));
    return { program, iterations: Math.max(1, Math.round(program.iterations / plan.divisor)), runs };
  });
  for (let round = 1; round <= plan.rounds; round++) {
    const seats = roles.map((role) => new Seat(role, plan));
    try {
      for (const result of results) {
        for (const phase of ["first", "steady"] as const) {
          for (const seat of seats) await seat.measure(result, phase);
        }
        plan.progress(describeProgress(result, `round ${round} of ${plan.rounds}`));
      }
    } finally {
      await Promise.all(seats.map((seat) => seat.leave()));
    }
  }
  for (const result of results) compareChecksums(result);
  return results;
}

/** A machine's place in a round: booted when it is needed, and again after a program has brought it down. */
class Seat {
  readonly #role: Role;
  readonly #plan: Plan;
  #guest: Guest | undefined;
  #givenUp: string | undefined;

  constructor(role: Role, plan: Plan) {
    this.#role = role;
    this.#plan = plan;
  }

  /** A failure is recorded with the program, which is then left out on this machine; the rest goes on. */
  async measure(result: ProgramResult, phase: Phase): Promise<void> {
    const runs = result.runs[this.#role]!;
    if (runs.failures.length > 0) return;
    try {
      const guest = await this.#seated();
      runs[phase].push(await guest.run(result.program, result.iterations, this.#plan.timeout));
    } catch (failure) {
      if (!(failure instanceof GuestFailure)) throw failure;
      runs.failures.push(failure.message);
      this.#plan.progress(`${result.program.name} failed on ${this.#plan.machines[this.#role]!.name}: ${failure.message}`);
      await this.#guest?.kill();
      this.#guest = undefined;
    }
  }

  async leave(): Promise<void> {
    await this.#guest?.powerOff();
  }

  async #seated(): Promise<Guest> {
    if (this.#givenUp !== undefined) throw new GuestFailure(this.#givenUp);
    if (this.#guest?.running === true) return this.#guest;
    try {
      return (this.#guest = await Guest.boot(this.#plan.machines[this.#role]!, this.#plan.files));
    } catch (failure) {
      // It would not come up for the next program either.
      this.#givenUp = `the guest does not boot: ${(failure as Error).message}`;
      throw failure instanceof GuestFailure ? new GuestFailure(this.#givenUp) : failure;
    }
  }
}

/** All machines and all rounds must have computed the same, and what is on record if the work is. */
function compareChecksums({ program, iterations, runs }: ProgramResult): void {
  const expected = iterations === program.iterations ? program.checksum : undefined;
  const reference = runs.reference === undefined ? undefined : samples(runs.reference)[0]?.checksum;
  const truth = expected ?? reference ?? undefined;
  for (const role of Object.values(runs)) {
    const wrong = samples(role).find(({ checksum }) => truth !== undefined && checksum !== truth);
    if (wrong !== undefined) role.failures.push(`wrong result: checksum ${wrong.checksum} instead of ${truth}`);
  }
}

function samples(runs: ProgramRuns): Sample[] {
  return [...runs.first, ...runs.steady];
}

function describeProgress({ program, runs }: ProgramResult, round: string): string {
  const time = (role: Role, phase: Phase) => runs[role]?.[phase].at(-1)?.wallSeconds.toFixed(2) ?? "–";
  const sides = (Object.keys(runs) as Role[]).map((role) => `${role} ${time(role, "first")} s, then ${time(role, "steady")} s`);
  return `${round}: ${program.name.padEnd(16)} ${sides.join("; ")}`;
}
