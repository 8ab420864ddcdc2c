/** Rows for what belongs to machine mode and for what all modes have (privileged manual, chapter 3; unprivileged manual, Zicntr and F). */
import { call, conditional, i32, i64, type Expr } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { alwaysDelegated, envcfg, interrupt, mstatusMask, mstatusXlen, privilege, supervisorInterrupts, virtualInterrupts } from "../csr-bits.ts";
import type { FieldName } from "../layout.ts";
import {
  address,
  attention,
  constant,
  environment,
  environmentHighMask,
  environmentMask,
  field,
  pendingInterrupts,
  plain,
  range,
  vector,
  withSd,
  zeros,
  type Context,
  type Csr,
} from "./csr-row.ts";
import { pmpRegisters } from "./physical-memory-protection.ts";
import { bits } from "./program.ts";
import { writeStatus } from "./supervisor-csrs.ts";

const bit = (position: number): bigint => 1n << BigInt(position);

const writableInterrupts = bit(3) | bit(7) | bit(11) | BigInt(supervisorInterrupts | virtualInterrupts);
/** All exceptions but ecall from M-mode and the reserved ones. */
const delegableExceptions = 0xf0_b7ffn;

/** RV64 with A C D F H I M S U. */
const misa = (2n << 62n) | [..."ACDFHIMSU"].reduce((all, letter) => all | bit(letter.charCodeAt(0) - 65), 0n);

/**
 * The bits of mip that software may set: SSIP, SEIP, VSSIP and, where Sstc doesn't drive it, STIP. Set and clear work on SEIP as software
 * set it, without the interrupt controller's line (3.1.9). VSEIP and VSTIP are hvip's.
 */
function writeMip(c: Context, value: Local): void {
  const old = c.f.let(c.state.get("mip"));
  c.f.set(value, c.updated(old));
  const timer = conditional(bits(c.state.get("menvcfg"), envcfg.stce, 1), i64.const(0), bit(interrupt.supervisorTimer));
  const kept = bit(interrupt.virtualSupervisorExternal) | bit(interrupt.virtualSupervisorTimer);
  const settable =
    bit(interrupt.supervisorSoftware) | bit(interrupt.supervisorExternal) | bit(interrupt.virtualSupervisorSoftware);
  c.state.set("mip", i64.or(i64.and(value, i64.or(timer, settable)), i64.and(old, kept)));
  attention(c);
}

const counterBlocked = ({ state, number }: Context, name: FieldName): Expr =>
  i32.eqz(i32.and(i32.shrU(state.low(name), i32.and(number, 31)), 1));

/**
 * Bit `number & 31` of mcounteren, and of scounteren in U-mode, must be set below M-mode (3.1.11, 12.1.5). In a guest, what mcounteren allows
 * is up to hcounteren, and in VU-mode to scounteren.
 */
function userCounter(number: number | readonly number[], read: Csr["read"], readAsGuest = read): Csr {
  return {
    number,
    read,
    illegal: (c) =>
      i32.or(
        i32.and(i32.ne(c.state.get("privilege"), privilege.machine), counterBlocked(c, "mcounteren")),
        i32.and(i32.eqz(c.state.get("privilege")), counterBlocked(c, "scounteren")),
      ),
    guest: {
      read: readAsGuest,
      virtual: (c) =>
        i32.or(
          counterBlocked(c, "hcounteren"),
          i32.and(i32.eq(c.state.get("privilege"), privilege.virtualUser), counterBlocked(c, "scounteren")),
        ),
    },
  };
}

/** The count of instructions that retired before this one, which the budget has counted already. */
function instret({ state }: Context): Expr {
  return i64.sub(i64.sub(state.get("instretTarget"), i64.extendI32S(state.get("budget"))), 1);
}

/** A writable counter is the count plus an offset. Writing takes effect behind the instruction that writes. */
function counter(number: number, offset: FieldName): Csr {
  return {
    number,
    read: (c) => i64.add(instret(c), c.state.get(offset)),
    write: (c, value) => c.state.set(offset, i64.sub(i64.sub(value, instret(c)), 1)),
  };
}

const floatOff = ({ state }: Context): Expr => i32.eqz(i32.and(state.low("mstatus"), 0x6000));
const floatDirty = ({ state }: Context): void => state.set("mstatus", i64.or(state.get("mstatus"), 0x6000));

function floatCsr(number: number, read: Csr["read"], write: (c: Context, value: Expr) => void): Csr {
  return {
    number,
    read,
    illegal: floatOff,
    write: (c, value) => {
      write(c, i32.wrap(value));
      floatDirty(c);
    },
  };
}

export const machineCsrs: readonly Csr[] = [
  floatCsr(0x001, ({ state }) => i64.extendI32U(state.get("fflags")), (c, v) => c.state.set("fflags", i32.and(v, 31))),
  floatCsr(0x002, ({ state }) => i64.extendI32U(state.get("frm")), (c, v) => c.state.set("frm", i32.and(v, 7))),
  floatCsr(
    0x003,
    ({ state }) => i64.extendI32U(i32.or(state.get("fflags"), i32.shl(state.get("frm"), 5))),
    (c, v) => {
      c.state.set("fflags", i32.and(v, 31));
      c.state.set("frm", i32.and(i32.shrU(v, 5), 7));
    },
  ),
  userCounter(0xc00, (c) => i64.add(instret(c), c.state.get("cycleOffset"))),
  userCounter(
    0xc01,
    ({ state, time }) => call(time, state.base),
    ({ state, time }) => i64.add(call(time, state.base), state.get("htimedelta")),
  ),
  userCounter(0xc02, (c) => i64.add(instret(c), c.state.get("instretOffset"))),
  userCounter(range(0xc03, 29), constant(0)),

  // mvendorid, marchid, mimpid, mconfigptr.
  { number: [0xf11, 0xf12, 0xf13, 0xf15], read: constant(0) },
  { number: 0xf14, read: field("hartId") },
  {
    number: 0x300,
    read: ({ state }) => i64.or(withSd(state.get("mstatus")), mstatusXlen),
    write: (c, value) => writeStatus(c, value, mstatusMask),
  },
  { number: 0x301, read: constant(misa), write: () => {} },
  plain(0x302, "medeleg", delegableExceptions),
  {
    ...plain(0x303, "mideleg", BigInt(supervisorInterrupts), attention),
    read: ({ state }) => i64.or(state.get("mideleg"), alwaysDelegated),
  },
  plain(0x304, "mie", writableInterrupts, attention),
  vector(0x305, "mtvec"),
  plain(0x306, "mcounteren", 0xffffffffn),
  environment(0x30a, "menvcfg", environmentMask | environmentHighMask, (c) => {
    // From now on STIP is the comparator's: what software set there is gone.
    c.f.if(bits(c.state.get("menvcfg"), envcfg.stce, 1), () =>
      c.state.set("mip", i64.and(c.state.get("mip"), ~bit(interrupt.supervisorTimer))),
    );
    c.f.call(c.flushAll, [c.state.base]);
    c.f.call(c.updateTimer, [c.state.base]);
    attention(c);
  }),
  plain(0x340, "mscratch"),
  address(0x341, "mepc"),
  plain(0x342, "mcause"),
  plain(0x343, "mtval"),
  { number: 0x344, read: pendingInterrupts, write: writeMip },
  plain(0x34a, "mtinst"),
  plain(0x34b, "mtval2"),
  ...pmpRegisters(),
  counter(0xb00, "cycleOffset"),
  counter(0xb02, "instretOffset"),
  // mcountinhibit, mhpmevent3 and up, mhpmcounter3 and up.
  zeros([0x320, ...range(0x323, 29), ...range(0xb03, 29)]),
  // Triggers: none yet, so that tselect holds 0 and tdata1 says "no trigger here" (debug specification, 5.7).
  zeros([0x7a0, 0x7a1, 0x7a2]),
  { number: 0x7a4, read: constant(0) },
];
