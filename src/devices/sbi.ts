import { HostelryError } from "#base/errors.ts";
import { gather, readableViews, scatter, slice, writableViews } from "./dma.ts";
import { HART_STATES, type Fence, type FenceRange, type SbiPlatform, type SystemReset } from "./sbi-platform.ts";

/*
 * The supervisor binary interface, version 2.0: what a kernel in S-mode asks of what is below it, by ECALL with the extension
 * in a7, the function in a6 and arguments in a0 to a5. No device, but it stands where firmware would, before all devices.
 */
const SPEC_VERSION = (2n << 24n) | 0n;

/** Extension IDs: four ASCII letters, but for the oldest. */
export const Extension = {
  legacySetTimer: 0x00, legacyPutchar: 0x01, legacyGetchar: 0x02, legacyShutdown: 0x08,
  base: 0x10, time: 0x5449_4d45, ipi: 0x73_5049, rfence: 0x5246_4e43, hsm: 0x48_534d, reset: 0x5352_5354, debugConsole: 0x4442_434e,
} as const;

/** Section 3, standard errors. */
export const SbiError = {
  success: 0, failed: -1, notSupported: -2, invalidParameter: -3, denied: -4, invalidAddress: -5, alreadyAvailable: -6,
} as const;

export interface SbiCall {
  /** a7 and a6. */
  readonly eid: number;
  readonly fid: number;
  /** a0 to a5, unsigned. */
  readonly args: readonly bigint[];
}

export interface SbiResult {
  /** For a0. */
  readonly error: number;
  /** For a1; if undefined, a1 stays as it was. */
  readonly value: bigint | undefined;
}

/** What a function comes to: a value, or an error (a negative number). */
type Outcome = bigint | number;
/** Takes its arguments from the call, since reading them costs more than many a function. */
type SbiFunction = (hart: number, call: Pick<SbiCall, "args">) => Outcome;

const ALL_ONES = 2n ** 64n - 1n;
/** Debug console calls may be partial (section 12). */
const CONSOLE_CHUNK = 64 * 1024;

const FENCES = [
  { kind: "fence.i", hasId: false },
  { kind: "sfence.vma", hasId: false },
  { kind: "sfence.vma", hasId: true },
  { kind: "hfence.gvma", hasId: true },
  { kind: "hfence.gvma", hasId: false },
  { kind: "hfence.vvma", hasId: true },
  { kind: "hfence.vvma", hasId: false },
] as const;

const RESET_KINDS = ["shutdown", "cold-reboot", "warm-reboot"] as const;
const RESET_REASONS = ["none", "system-failure"] as const;

const Suspend = { retentive: 0, nonRetentive: 0x8000_0000 } as const;

export class Sbi {
  readonly #platform: SbiPlatform;
  /** Functions of each extension, by function ID. */
  readonly #extensions: ReadonlyMap<number, readonly SbiFunction[]>;
  /** The oldest extensions are single functions, which return something in a0 alone (section 5). */
  readonly #legacy: ReadonlyMap<number, (hart: number, call: Pick<SbiCall, "args">) => number>;

  constructor(platform: SbiPlatform) {
    this.#platform = platform;
    const { identity } = platform;
    const { base, time, ipi, rfence, hsm, reset, debugConsole } = Extension;
    this.#extensions = new Map<number, readonly SbiFunction[]>([
      [base, [
        () => SPEC_VERSION,
        () => BigInt(identity.implementationId),
        () => BigInt(identity.implementationVersion),
        (_, { args: [eid] }) => (this.has(Number(eid!)) ? 1n : 0n),
        () => identity.mvendorid,
        () => identity.marchid,
        () => identity.mimpid,
      ]],
      [time, [(hart, { args: [at] }) => this.#setTimer(hart, at!)]],
      [ipi, [(_, { args: [mask, first] }) => this.#forHarts(mask!, first!, (harts) => harts.forEach((hart) => platform.sendIpi(hart)))]],
      [rfence, FENCES.map((_, fid) => (_hart, { args }) => this.#remoteFence(fid, args))],
      [hsm, [
        (_, { args: [hart, address, opaque] }) => this.#startHart(hart!, address!, opaque!),
        (hart) => done(platform.stopHart(hart)),
        (_, { args: [hart] }) => this.#hartState(hart!),
        (hart, { args: [type, address, opaque] }) => this.#suspendHart(hart, low32(type!), address!, opaque!),
      ]],
      [reset, [(_, { args: [type, reason] }) => this.#systemReset(low32(type!), low32(reason!))]],
      [debugConsole, [
        (_, { args: [length, low, high] }) => this.#consoleWrite(length!, low!, high!),
        (_, { args: [length, low, high] }) => this.#consoleRead(length!, low!, high!),
        (_, { args: [byte] }) => done(platform.consoleWrite(Uint8Array.of(low32(byte!)))),
      ]],
    ]);
    this.#legacy = new Map<number, (hart: number, call: Pick<SbiCall, "args">) => number>([
      [Extension.legacySetTimer, (hart, { args: [at] }) => Number(this.#setTimer(hart, at!))],
      [Extension.legacyPutchar, (_, { args: [byte] }) => Number(done(platform.consoleWrite(Uint8Array.of(low32(byte!)))))],
      [Extension.legacyGetchar, () => this.#getchar()],
      [Extension.legacyShutdown, () => Number(done(platform.systemReset({ kind: "shutdown", reason: "none" })))],
    ]);
  }

  /** Whether an extension is there. */
  has(eid: number): boolean {
    return this.#extensions.has(eid) || this.#legacy.has(eid);
  }

  /** Does what the kernel on `hart` asks. Never throws for what a kernel may pass. */
  call(hart: number, call: SbiCall): SbiResult {
    const { eid } = call;
    const legacy = this.#legacy.get(eid);
    if (legacy !== undefined) return { error: legacy(hart, call), value: undefined };
    const outcome = this.#extensions.get(eid)?.[call.fid]?.(hart, call) ?? SbiError.notSupported;
    return typeof outcome === "bigint" ? { error: SbiError.success, value: outcome } : { error: outcome, value: 0n };
  }

  #setTimer(hart: number, at: bigint): Outcome {
    return done(this.#platform.setTimer(hart, at));
  }

  /** Section 3.1: bit i of `mask` is hart `first` + i; `first` of all ones means every hart. */
  #forHarts(mask: bigint, first: bigint, action: (harts: readonly number[]) => void): Outcome {
    const { hartCount } = this.#platform;
    const all = Array.from({ length: hartCount }, (_, hart) => hart);
    if (first === ALL_ONES) return done(action(all));
    const missing = first >= BigInt(hartCount) || mask >> (BigInt(hartCount) - first) !== 0n;
    if (missing) return SbiError.invalidParameter;
    return done(action(all.filter((hart) => BigInt(hart) >= first && ((mask >> (BigInt(hart) - first)) & 1n) === 1n)));
  }

  #remoteFence(fid: number, [mask, first, start, size, id]: readonly bigint[]): Outcome {
    const { kind, hasId } = FENCES[fid]!;
    if (kind.startsWith("hfence") && !this.#platform.hypervisor) return SbiError.notSupported;
    let fence: Fence;
    if (kind === "fence.i") {
      fence = { kind };
    } else {
      const range = fenceRange(start!, size!);
      if (range === undefined) return SbiError.invalidAddress;
      fence = hasId ? { kind, range, id: id! } : { kind, range };
    }
    return this.#forHarts(mask!, first!, (harts) => this.#platform.remoteFence(harts, fence));
  }

  #startHart(hart: bigint, address: bigint, opaque: bigint): Outcome {
    if (hart >= BigInt(this.#platform.hartCount)) return SbiError.invalidParameter;
    if (this.#platform.hartState(Number(hart)) !== "stopped") return SbiError.alreadyAvailable;
    if (!this.#isMemory(address, 2)) return SbiError.invalidAddress;
    return done(this.#platform.startHart(Number(hart), address, opaque));
  }

  #hartState(hart: bigint): Outcome {
    if (hart >= BigInt(this.#platform.hartCount)) return SbiError.invalidParameter;
    return BigInt(HART_STATES.indexOf(this.#platform.hartState(Number(hart))));
  }

  #suspendHart(hart: number, type: number, address: bigint, opaque: bigint): Outcome {
    switch (type) {
      case Suspend.retentive:
        return done(this.#platform.suspendHart(hart, { kind: "retentive" }));
      case Suspend.nonRetentive:
        if (!this.#isMemory(address, 2)) return SbiError.invalidAddress;
        return done(this.#platform.suspendHart(hart, { kind: "non-retentive", address, opaque }));
      default:
        return SbiError.invalidParameter;
    }
  }

  #systemReset(type: number, reason: number): Outcome {
    const kind: SystemReset["kind"] | undefined = RESET_KINDS[type];
    const why: SystemReset["reason"] | undefined = RESET_REASONS[reason];
    if (kind === undefined || why === undefined) return SbiError.invalidParameter;
    return done(this.#platform.systemReset({ kind, reason: why }));
  }

  #consoleWrite(length: bigint, low: bigint, high: bigint): Outcome {
    if (high !== 0n || !this.#isMemory(low, Number(length))) return SbiError.invalidParameter;
    const segment = { address: Number(low), length: Math.min(Number(length), CONSOLE_CHUNK) };
    const bytes = gather(readableViews(this.#platform.memory, [segment]));
    this.#platform.consoleWrite(bytes);
    return BigInt(bytes.length);
  }

  #consoleRead(length: bigint, low: bigint, high: bigint): Outcome {
    if (high !== 0n || !this.#isMemory(low, Number(length))) return SbiError.invalidParameter;
    const room = { address: Number(low), length: Math.min(Number(length), CONSOLE_CHUNK) };
    const bytes = new Uint8Array(room.length);
    const count = this.#platform.consoleRead(bytes);
    scatter(bytes.subarray(0, count), writableViews(this.#platform.memory, slice([room], 0, count)));
    return BigInt(count);
  }

  #getchar(): number {
    const byte = new Uint8Array(1);
    return this.#platform.consoleRead(byte) === 1 ? byte[0]! : -1;
  }

  #isMemory(address: bigint, length: number): boolean {
    try {
      this.#platform.memory.readable(Number(address), length);
      return true;
    } catch (error) {
      if (error instanceof HostelryError) return false;
      throw error;
    }
  }
}

/** Success without a value: writes that the function's work is done. */
function done(_: void): bigint {
  return 0n;
}

/** Parameters that the specification says are 32 bits wide. */
function low32(value: bigint): number {
  return Number(value & 0xffff_ffffn);
}

/** Section 8: everything if both are 0 or the size is all ones. Undefined if the range goes round the address space. */
function fenceRange(start: bigint, size: bigint): FenceRange | undefined {
  if ((start === 0n && size === 0n) || size === ALL_ONES) return "all";
  return start + size > 2n ** 64n ? undefined : { start, size };
}
