/** Which access an instruction makes: what the monitor must know to do it in the place of a hart that found no memory there. */

export interface DeviceAccess {
  readonly kind: "read" | "write";
  /** Bytes: 1, 2, 4 or 8. */
  readonly size: number;
  readonly signed: boolean;
  /** rd of a load, rs2 of a store. */
  readonly register: number;
  /** Bytes of the instruction. */
  readonly length: 2 | 4;
}

const LOAD = 0x03;
const STORE = 0x23;
/** x8 to x15, as three bits of a compressed instruction name them. */
const COMPACT_BASE = 8;

const cache = new Map<number, DeviceAccess | undefined>();

/** The access of an integer load or store, compressed or not; undefined for anything else (atomics, floating point, pushes of several). */
export function deviceAccess(instruction: number): DeviceAccess | undefined {
  if (!cache.has(instruction)) {
    // Drivers have a few dozen of such instructions; a guest that makes up others must not fill the host.
    if (cache.size > 4096) cache.clear();
    cache.set(instruction, (instruction & 3) === 3 ? uncompressed(instruction) : compressed(instruction & 0xffff));
  }
  return cache.get(instruction);
}

function uncompressed(instruction: number): DeviceAccess | undefined {
  const opcode = instruction & 0x7f;
  const funct3 = (instruction >>> 12) & 7;
  const size = 1 << (funct3 & 3);
  if (opcode === LOAD && funct3 !== 7) {
    return { kind: "read", size, signed: funct3 < 4, register: (instruction >>> 7) & 31, length: 4 };
  }
  if (opcode === STORE && funct3 < 4) {
    return { kind: "write", size, signed: false, register: (instruction >>> 20) & 31, length: 4 };
  }
  return undefined;
}

/** c.lw, c.ld, c.sw, c.sd, c.lwsp, c.ldsp, c.swsp, c.sdsp: funct3 2 and 6 are words, 3 and 7 doublewords (unprivileged manual, "C"). */
function compressed(instruction: number): DeviceAccess | undefined {
  const quadrant = instruction & 3;
  const funct3 = instruction >>> 13;
  const size = (funct3 & 3) === 2 ? 4 : (funct3 & 3) === 3 ? 8 : undefined;
  if (size === undefined) return undefined;
  const kind = funct3 < 4 ? "read" : "write";
  const signed = kind === "read";
  if (quadrant === 0) return { kind, size, signed, register: COMPACT_BASE + ((instruction >>> 2) & 7), length: 2 };
  if (quadrant !== 2) return undefined;
  const register = kind === "read" ? (instruction >>> 7) & 31 : (instruction >>> 2) & 31;
  // c.lwsp and c.ldsp with rd = x0 are reserved.
  if (kind === "read" && register === 0) return undefined;
  return { kind, size, signed, register, length: 2 };
}
