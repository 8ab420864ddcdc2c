/** Random scenarios: registers of all levels, a mode, and a few instructions. All of them end in machine mode, whatever happens. */
import type { Random } from "../kit/random.ts";
import { dataPages, hgatpOf, leafOf, satpOf, tables, userDistance } from "./image.ts";
import { codeSize, handler, inputs, place, type Input } from "./runtime.ts";

export const modes = ["user", "supervisor", "machine", "virtualUser", "virtualSupervisor"] as const;
export type Mode = (typeof modes)[number];

export interface Scenario {
  readonly mode: Mode;
  readonly code: readonly string[];
  readonly inputs: Readonly<Record<Input, bigint>>;
  readonly operands: readonly bigint[];
  readonly patches: readonly { readonly address: number; readonly value: bigint }[];
}

const bit = (position: number): bigint => 1n << BigInt(position);
/** What handlers tell machine mode by. */
const handlersEcalls = bit(9) | bit(10);

const all = bit(64) - 1n;
const [sum, mxr] = [bit(18), bit(19)];
const status = bit(1) | bit(5) | bit(8) | (3n << 13n) | sum;

/**
 * CSRs that code writes at random, and the bits that may be written: QEMU 7.2 keeps in many registers whatever it is given. Other CSRs would
 * take the handlers away.
 */
const writable: Readonly<Record<string, bigint>> = {
  sstatus: status, sie: 0x222n, sip: 0x222n, sscratch: all, sepc: all & ~1n, stval: all, scounteren: 0xffffffffn, senvcfg: 0xd1n,
  hstatus: 0x7003c0n, hedeleg: 0xb1ffn, hideleg: 0x444n, hie: 0x444n, hip: 0x444n, hvip: 0x444n, hcounteren: 0xffffffffn, htimedelta: all,
  htval: all, henvcfg: 0xd1n,
  vsstatus: status, vsie: 0x222n, vsip: 0x222n, vsscratch: all, vsepc: all & ~1n, vscause: all, vstval: all,
  mie: 0x666n, mip: 0x226n, mideleg: 0x222n, mtval2: all, mtinst: all,
};
const readable = [
  ...Object.keys(writable), "scause", "satp", "vsatp", "hgatp", "mstatus", "hgeie", "hgeip", "stvec", "vstvec", "mtvec", "medeleg", "hpmcounter3",
];
/** Of those that scenarios begin with; where two bits hold one value, that. */
const inputMasks: Partial<Record<Input, bigint>> = {
  ...writable,
  henvcfg: all,
  mcounteren: 0xffffffffn, medeleg: 0xf0b1ffn, hvip: 0x444n, vsstatus: status | mxr,
};
const fixed: Partial<Record<Input, bigint>> = { hstatus: 2n << 32n, vsstatus: 2n << 32n };

const accesses = ["lb", "lbu", "lh", "lhu", "lw", "lwu", "ld", "sb", "sh", "sw", "sd"];
/** Not HLVX: in QEMU 7.2 it wants to read. */
const virtualAccesses = ["hlv.b", "hlv.bu", "hlv.h", "hlv.hu", "hlv.w", "hlv.wu", "hlv.d", "hsv.b", "hsv.h", "hsv.w", "hsv.d"];
const plain = [
  "ecall", "ebreak", "sret", "mret", "sfence.vma", "hfence.vvma a0, a1", "hfence.gvma a0, a1", "sfence.w.inval", "hinval.vvma a0, a1", "hinval.gvma a0, a1",
  "sinval.vma a0, a1", "fmv.d.x fa0, a0", "fmv.x.d a5, fa0", ".word 0x00000000", "fence.i",
];

/** Whether QEMU 7.2 can be asked. */
function isTold(mode: Mode, text: string): boolean {
  // There it would begin anew.
  if (mode === "machine" && /^(mret|sret)$/.test(text)) return false;
  // SD and what Svadu adds are missing there.
  if (/^(vsstatus|henvcfg)$/.test(text)) return false;
  // Its machine timer is pending from the start.
  if (text === "mip") return false;
  // TVM doesn't forbid this.
  if (mode === "supervisor" && text === "hgatp") return false;
  // It lets U-mode execute this.
  if (mode === "user" && text === "sfence.w.inval") return false;
  // It has illegal for virtual instructions in VU-mode.
  if (mode === "virtualUser") return !/^(s[a-z]+|sret|sfence\..*|sinval\..*|h(fence|inval)\..*)( .*)?$/.test(text);
  // Of VS-mode's sie and sip it shows less; and satp is there for TVM, not VTVM, to forbid.
  return !(mode === "virtualSupervisor" && /^(sie|sip|satp|sfence\.vma|sinval\.vma.*)$/.test(text)) && text !== "vsip";
}

export class Generator {
  readonly #random: Random;
  #index = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  scenario(): Scenario {
    const random = this.#random;
    const mode = random.pick([...modes, "virtualUser", "virtualSupervisor", "virtualSupervisor"] as const);
    const isGuest = mode.startsWith("virtual");
    const isUser = mode === "user" || mode === "virtualUser";
    const own = { satp: this.#satp(), vsatp: this.#satp(), hgatp: this.#hgatp() };
    const root = isGuest ? own.vsatp : own.satp;
    const isPaged = root >> 60n !== 0n && mode !== "machine";
    const pc = BigInt(place.code + this.#index++ * codeSize + (isPaged && isUser ? userDistance : 0));
    const below = { user: 0n, supervisor: 1n, machine: 3n, virtualUser: 0n, virtualSupervisor: 1n }[mode];
    const mstatus = (random.u64() & (bit(1) | bit(3) | bit(5) | bit(7) | bit(8) | (3n << 13n) | (7n << 18n) | (3n << 21n) | bit(38))) | (below << 11n) | (isGuest ? bit(39) : 0n);
    // TVM and TSR are for HS-mode alone; QEMU 7.2 has them for VS-mode too.
    const forbidden = isGuest ? bit(20) | bit(22) : 0n;
    const values: Partial<Record<Input, bigint>> = {
      ...own,
      mstatus: mstatus & ~forbidden,
      mepc: pc,
      sepc: this.#back(),
      vsepc: this.#back(),
      medeleg: random.pick([0n, -1n, random.u64()]) & ~handlersEcalls,
      hedeleg: random.pick([0n, -1n, random.u64()]),
      // One at most: QEMU 7.2 takes that with the lowest number first.
      mie: random.oneIn(3) ? bit(random.pick([1, 2, 5, 6, 9, 10])) : 0n,
      mip: random.oneIn(3) ? random.u64() & 0x226n : 0n,
      hvip: random.oneIn(3) ? random.u64() : 0n,
      // Hardware sets A and D on both sides; QEMU 7.2 has no choice.
      menvcfg: (random.u64() & 0xd1n) | bit(61),
      henvcfg: (random.u64() & 0xd1n) | bit(61),
      // In QEMU 7.2 the MXR that counts is that of the world that executes, for both stages; and a hypervisor's loads need no SUM.
      vsstatus: (random.u64() & ~mxr) | (mstatus & mxr) | (isGuest ? 0n : sum),
      // QEMU 7.2 doesn't let it be written.
      htinst: 0n,
    };
    const written = random.pick(Object.keys(writable).filter((name) => isTold(mode, name)));
    const legal = (name: Input, value: bigint): bigint => (value & (inputMasks[name] ?? all)) | (fixed[name] ?? 0n);
    const addresses = [this.#address(), this.#address()] as const;
    return {
      mode,
      code: [...this.#beginning(mode), ...Array.from({ length: 1 + random.below(3) }, () => this.#instruction(mode, written))],
      inputs: Object.fromEntries(inputs.map((name) => [name, legal(name, values[name] ?? random.u64())])) as Record<Input, bigint>,
      operands: [
        random.pick([random.u64(), 0n, all, bit(random.below(64))]) & writable[written]!,
        addresses[0], random.u64(), addresses[1], random.u64(), below === 3n ? this.#asOther() : 0n,
      ],
      patches: [this.#patch(), this.#patch(), ...addresses.map((address) => this.#datum(address))],
    };
  }

  /** Machine mode acts for others by MPRV. QEMU 7.2 takes MPV over by MRET even into machine mode: so it is set afterwards. */
  #beginning(mode: Mode): string[] {
    return mode === "machine" ? ["li a2, 0x1800", "csrc mstatus, a2", "csrs mstatus, a5"] : [];
  }

  #asOther(): bigint {
    const random = this.#random;
    // Nor does it know that MPV means nothing with machine mode.
    return (random.oneIn(3) ? 0n : bit(17)) | random.pick([3n << 11n, ...[0n, 1n].flatMap((mpp) => [mpp << 11n, (mpp << 11n) | bit(39)])]);
  }

  #satp(): bigint {
    return satpOf(this.#random.pick([0n, 8n, 8n]), BigInt(this.#random.below(3)));
  }

  #hgatp(): bigint {
    return hgatpOf(this.#random.pick([0n, 8n, 8n]), BigInt(this.#random.below(3)));
  }

  #back(): bigint {
    return BigInt(handler.back + this.#random.pick([0, 0, userDistance]));
  }

  /** In a page of data or beside, at its own place or at the user's. */
  #address(): bigint {
    const random = this.#random;
    if (random.oneIn(20)) return random.u64() & ~7n;
    const offset = random.pick([0, 8, 16, 0x7f8, 0xff8, random.below(4096)]) & ~7;
    const page = random.below(dataPages + 1);
    return BigInt(place.data + page * 4096 + offset + random.pick([0, 0, userDistance]));
  }

  /** A leaf of data, of any stage; or the second stage's for the guest's table of data. */
  #patch(): { address: number; value: bigint } {
    const random = this.#random;
    const page = random.below(dataPages);
    const flags = random.pick([0xcfn, 0xdfn, 0xc7n, 0xd7n, 0xc3n, 0xd3n, 0xc9n, 0xd9n, 0xcbn, 0xdbn, 0x0fn, 0x1fn, 0x4fn, 0x5fn, 0n, 0xc5n, 0xd5n, 0x17n, 0x57n]);
    if (random.oneIn(8)) {
      const frame = random.pick([tables.data, tables.userData]);
      const at = (frame - (place.tables - 0x10000)) / 4096;
      return { address: tables.guestCode + at * 8, value: (BigInt(frame / 4096) << 10n) | random.pick([0xdfn, 0xdfn, 0xd3n, 0xd9n, 0n, 0xcfn]) };
    }
    const table = random.pick([tables.data, tables.userData, tables.guestData, tables.guestData]);
    return { address: table + page * 8, value: leafOf(page, flags) };
  }

  /** Scenarios that aren't compared may have left something else. */
  #datum(address: bigint): { address: number; value: bigint } {
    const offset = address - BigInt(place.data) - (address >= BigInt(place.data + userDistance) ? BigInt(userDistance) : 0n);
    const isData = offset >= 0n && offset <= BigInt((dataPages + 1) * 4096);
    return { address: isData ? place.data + (Number(offset) & ~7) : place.data, value: this.#random.u64() };
  }

  #instruction(mode: Mode, written: string): string {
    const random = this.#random;
    const address = random.pick(["a1", "a3"]);
    switch (random.below(8)) {
      case 0:
      case 1:
        return `${random.pick(accesses)} ${random.pick(["a2", "a4"])}, 0(${address})`;
      case 2:
      case 3:
        return `${random.pick(virtualAccesses)} ${random.pick(["a2", "a4"])}, (${address})`;
      case 4:
        return random.pick(plain.filter((text) => isTold(mode, text)));
      case 5:
        return `csrr a5, ${random.pick(readable.filter((name) => isTold(mode, name)))}`;
      case 6:
        return random.pick([
          `amoadd.d a5, a2, (${address})`, `amoswap.w a5, a2, (${address})`, `lr.d a5, (${address})`, `c.ld a5, 0(a3)`, `c.sd a2, 0(a1)`, `fld fa0, 0(${address})`,
        ]);
      default:
        return random.oneIn(8)
          ? `csrr${random.pick(["w", "s", "c"])} a5, ${random.pick(["satp", "vsatp", "hgatp"].filter((name) => isTold(mode, name)))}, zero`
          : `csrr${random.pick(["w", "s", "c"])} a5, ${written}, a0`;
    }
  }
}
