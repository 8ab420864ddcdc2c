/** What executing an instruction shows of it: in which modes it traps, and whether it changes control state or depends on it. */
import { settings, type Sensitivity } from "#riscv/declaration.ts";
import { decode } from "#riscv/table.ts";
import { middle, place } from "./address-space.ts";
import { randomControlState, settingValues, type ControlState } from "./control-state.ts";
import { Dice } from "./dice.ts";
import { dataSize, type Experiment, type Mode, type Outcome, type ProgramState } from "./experiment.ts";
import { pointsToMemory, type Subject } from "./subjects.ts";

/** `setting`: as one does that is in higher modes' hands: with it in user mode never, without it always. `sometimes`: none of these. */
export type ObservedTrapping = "never" | "user" | "everywhere" | "setting" | "sometimes";

export interface Observation {
  readonly traps: ObservedTrapping;
  /** Whether it traps in user mode whatever comes, as long as the settings don't allow it. */
  readonly caught: boolean;
  readonly sensitive: readonly Sensitivity[];
  /** The control state that it was seen to change. */
  readonly changes: readonly string[];
  /** What its visible result was seen to depend on. */
  readonly dependsOn: readonly ("mode" | "control state")[];
}

/** How often user mode, or all modes, executed it, and how often it trapped. */
class Tally {
  executed = 0;
  trapped = 0;

  add(outcome: Outcome): void {
    if (outcome.kind === "void") return;
    this.executed++;
    if (outcome.kind === "trapped") this.trapped++;
  }

  get always(): boolean {
    return this.executed > 0 && this.trapped === this.executed;
  }

  get never(): boolean {
    return this.executed > 0 && this.trapped === 0;
  }
}

export function observe(experiment: Experiment, subject: Subject, cases: number, seed: number): Observation {
  const dice = new Dice(seed);
  const setting = settings.find((one) => one === subject.declared.traps);
  const [open, closed, higher] = [new Tally(), new Tally(), new Tally()];
  const changes = new Set<string>();
  const dependsOn = new Set<"mode" | "control state">();

  for (let i = 0; i < cases; i++) {
    const word = subject.word(dice);
    const { instruction } = decode(word);
    const program = randomProgram(word, dice);
    const [here, there] = [randomControlState(dice, "inPlace", "guest"), randomControlState(dice, "moved", "guestMoved")];
    if (setting !== undefined) for (const state of [here, there]) settingValues[setting](state, true);
    if (subject.fences) addressProbe(program.x, word, here);
    const watches = { watchesMemory: pointsToMemory(instruction), watchesTranslations: subject.fences };
    const attempt = (mode: Mode, control: ControlState, space: "inPlace" | "moved"): Outcome =>
      experiment.try({ word, mode, program, control, space, ...watches });

    const user = [attempt("user", here, "inPlace"), attempt("user", there, "moved")] as const;
    const supervisor = [attempt("supervisor", here, "inPlace"), attempt("supervisor", there, "moved")] as const;
    const machine = [attempt("machine", here, "inPlace"), attempt("machine", there, "inPlace")] as const;
    for (const outcome of user) open.add(outcome);
    for (const outcome of [...supervisor, ...machine]) higher.add(outcome);
    const without = new Map(here);
    for (const one of setting === undefined ? settings : [setting]) settingValues[one](without, false);
    closed.add(attempt("user", without, "inPlace"));

    for (const pair of [user, supervisor, machine]) {
      for (const outcome of pair) if (outcome.kind === "done") for (const name of outcome.effects) changes.add(name);
      if (differ(...pair, "result")) dependsOn.add("control state");
    }
    if (differ(user[0], supervisor[0], "result and effects")) dependsOn.add("mode");
  }
  return {
    traps: trapping(open, closed, higher),
    caught: closed.always,
    sensitive: [...(changes.size > 0 ? (["control"] as const) : []), ...(dependsOn.size > 0 ? (["behaviour"] as const) : [])],
    changes: [...changes],
    dependsOn: [...dependsOn],
  };
}

function trapping(open: Tally, closed: Tally, higher: Tally): ObservedTrapping {
  if (open.never && closed.never) return "never";
  if (open.never && closed.always) return "setting";
  if (open.always && closed.always) return higher.always ? "everywhere" : "user";
  return "sometimes";
}

/** Of two that came to something. */
function differ(a: Outcome, b: Outcome, what: "result" | "result and effects"): boolean {
  if (a.kind !== "done" || b.kind !== "done") return false;
  return !a.visible.equals(b.visible) || (what === "result and effects" && a.effects.join() !== b.effects.join());
}

function randomProgram(word: number, dice: Dice): ProgramState & { readonly x: bigint[] } {
  const { instruction, rs1 } = decode(word);
  const x = Array.from({ length: 32 }, (_, i) => (i === 0 ? 0n : dice.operand()));
  if (pointsToMemory(instruction)) x[rs1] = BigInt(place.data + middle);
  const data = new Uint8Array(dataSize);
  new Uint32Array(data.buffer).forEach((_, i, words) => void (words[i] = dice.u32()));
  return {
    x,
    f: Array.from({ length: 32 }, () => (dice.oneIn(2) ? 0xffffffff00000000n | BigInt(dice.u32()) : dice.u64())),
    frm: dice.below(5),
    data,
    reserved: dice.pick([0, 4, 8]),
  };
}

/** A fence is for the page that is probed, and for its address space. */
function addressProbe(x: bigint[], word: number, control: ControlState): void {
  const { instruction: { name, syntax }, rs1, rs2 } = decode(word);
  if (syntax !== "rs1, rs2") return;
  const ofPhysical = name.endsWith(".gvma");
  const register = control.get(ofPhysical ? "hgatp" : name.startsWith("h") ? "parkedSatp" : "satp") as bigint;
  if (rs2 !== 0) x[rs2] = (register >> 44n) & 0xffffn;
  if (rs1 !== 0) x[rs1] = BigInt(place.probe + middle) >> (ofPhysical ? 2n : 0n);
}

