/** The calls of the paravirtual interface, a row for each: docs/hypercalls.md. */
import { SbiError } from "#devices/sbi.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { ENTROPY } from "../io/split.ts";
import { CONSOLE } from "../io/split-console.ts";
import type { Paravirtual } from "./paravirtual.ts";

/** In the SBI's space for firmware, the number of this one: "HST". */
export const INTERFACE = 0x0a48_5354;
export const VERSION = 4;

/** Three arguments, each as its lower and its upper half. */
export type Arguments = readonly [number, number, number, number, number, number];

/** Beside 0 and errors: the call does not return; or is made again when an interrupt may be pending. */
export const AWAY = 1;
export const WAITS = 2;

interface Hypercall {
  readonly name: string;
  /** An error of SbiError's, AWAY or WAITS. A value is left in the technique's `value`. */
  readonly run: (technique: Paravirtual, args: Arguments) => number;
}

const { success, notSupported, invalidParameter, invalidAddress } = SbiError;
const [MULTICALL, WAIT] = [1, 9];
const REGISTERS = 256;
const ROW = 32;
const MOST_ROWS = 512;
const ENTRY = 8;
const ALL_ONES = 0xffff_ffff;

export const hypercalls: readonly Hypercall[] = [
  {
    name: "attach",
    run: (technique, [at, high]) => (isMemory(technique, at, high, FRAME_SIZE) ? technique.attach(at / FRAME_SIZE) : invalidAddress),
  },
  { name: "multicall", run: multicall },
  { name: "frames", run: frames },
  { name: "pin", run: ({ direct }, [number, high, level, levelHigh]) => ((high | levelHigh) === 0 ? direct.pin(number, level) : invalidParameter) },
  { name: "unpin", run: ({ direct }, [number, high]) => (high === 0 ? direct.unpin(number) : invalidParameter) },
  {
    name: "update",
    run({ direct }, [at, high, low, upper]) {
      if (at % ENTRY !== 0) return invalidParameter;
      // The machine's memory may lie beyond 4 GiB.
      return direct.update(high * 2 ** 20 + (at >>> 12), (at % FRAME_SIZE) / ENTRY, low, upper);
    },
  },
  {
    name: "base",
    run: (technique, [kernel, high, programs, programsHigh]) => ((high | programsHigh) === 0 ? technique.setBase(kernel, programs) : invalidParameter),
  },
  {
    name: "flush",
    run(technique, [low, high]) {
      technique.flush(low === ALL_ONES && high === ALL_ONES ? undefined : (BigInt(high) << 32n) | BigInt(low));
      return success;
    },
  },
  {
    name: "return",
    run: (technique, [at, high]) => (isMemory(technique, at, high, REGISTERS) ? technique.returnFromTrap(at) : invalidAddress),
  },
  { name: "wait", run: (technique) => (technique.interruptPending() ? success : WAITS) },
  {
    name: "device_read",
    run(technique, [at, high]) {
      const value = isRegister(at, high) ? technique.vm.mmioRead(at, 4) : undefined;
      if (value === undefined) return invalidParameter;
      technique.value = value[0];
      return success;
    },
  },
  { name: "device_write", run: ({ vm }, [at, high, value]) => (isRegister(at, high) && vm.mmioWrite(at, 4, value, 0) ? success : invalidParameter) },
  {
    name: "grants",
    run: (technique, [at, high]) => (isMemory(technique, at, high, FRAME_SIZE) ? technique.grants.attach(at / FRAME_SIZE) : invalidAddress),
  },
  { name: "revoke", run: ({ grants }, [reference, high]) => (high === 0 ? grants.revoke(reference) : invalidParameter) },
  {
    name: "connect",
    run: (technique, [device, high, first, firstHigh, second, secondHigh]) =>
      ((firstHigh | secondHigh) === 0 ? backEnd(technique, device, high)?.connect(first, second) : undefined) ?? invalidParameter,
  },
  { name: "disconnect", run: (technique, [device, high]) => backEnd(technique, device, high)?.disconnect() ?? invalidParameter },
  { name: "kick", run: (technique, [device, high]) => backEnd(technique, device, high)?.kick() ?? invalidParameter },
  {
    name: "copy",
    run(technique, [page, high, source, sourceHigh]) {
      const { pmap } = technique.vm.memory;
      if ((high | sourceHigh) !== 0 || !pmap.holds(page) || !pmap.holds(source)) return invalidParameter;
      return numbered(technique, page, technique.direct.copy(page, source));
    },
  },
  {
    name: "own",
    run(technique, [page, high]) {
      if (high !== 0 || !technique.vm.memory.pmap.holds(page)) return invalidParameter;
      technique.direct.own(page);
      return numbered(technique, page, success);
    },
  },
];

/** With the number of the frame that the page has now. */
function numbered(technique: Paravirtual, page: number, outcome: number): number {
  if (outcome === success) technique.value = technique.direct.numberOf(page);
  return outcome;
}

interface BackEnd {
  connect(first: number, second: number): number;
  disconnect(): number;
  kick(): number;
}

function backEnd({ entropy, console }: Paravirtual, device: number, high: number): BackEnd | undefined {
  if (high !== 0) return undefined;
  return device === ENTROPY ? entropy : device === CONSOLE ? console : undefined;
}

function multicall(technique: Paravirtual, [list, high, count, countHigh]: Arguments): number {
  if (countHigh !== 0 || count > MOST_ROWS) return invalidParameter;
  const { memory } = technique.vm;
  for (let row = 0; row < count; row++) {
    const at = list + row * ROW;
    if (!isMemory(technique, at, high, ROW)) return invalidAddress;
    const { words } = memory.machine;
    const first = memory.machine.wordOf(memory.touch(Math.floor(at / FRAME_SIZE))) + (at % FRAME_SIZE) / 4;
    const number = words[first]!;
    // Who waits stands before the call: in a list there is no such place.
    const isAllowed = words[first + 1] === 0 && number !== MULTICALL && number !== WAIT;
    const outcome = isAllowed ? technique.call(number, argumentsAt(words, first + 2)) : notSupported;
    if (outcome === AWAY) return AWAY;
    technique.value = row;
    if (outcome !== success) return outcome;
  }
  technique.value = count;
  return success;
}

const argumentsAt = (words: Uint32Array, first: number): Arguments =>
  [words[first]!, words[first + 1]!, words[first + 2]!, words[first + 3]!, words[first + 4]!, words[first + 5]!];

function frames(technique: Paravirtual, [first, high, count, countHigh, to, toHigh]: Arguments): number {
  const { memory } = technique.vm;
  if ((high | countHigh) !== 0) return invalidParameter;
  if (count > 0 && !(memory.pmap.holds(first) && memory.pmap.holds(first + count - 1))) return invalidParameter;
  for (let at = to; at < to + 4 * count; at += FRAME_SIZE - (at % FRAME_SIZE)) {
    if (!isMemory(technique, at, toHigh, 4) || technique.direct.isTable(Math.floor(at / FRAME_SIZE))) return invalidAddress;
  }
  for (let i = 0; i < count; i++) {
    const at = memory.writable(to + 4 * i, 4);
    new DataView(at.buffer, at.byteOffset, 4).setUint32(0, technique.direct.numberOf(first + i), true);
  }
  return success;
}

/** Whether the guest has memory at a physical address; of a thing of this size, to which it must be aligned. */
function isMemory({ vm }: Paravirtual, at: number, high: number, size: number): boolean {
  return high === 0 && at % size === 0 && vm.memory.pmap.holds(Math.floor(at / FRAME_SIZE));
}

const isRegister = (at: number, high: number): boolean => high === 0 && at % 4 === 0;
