/**
 * Control and status registers: one row each (privileged manual, chapter 2; unprivileged manual, Zicntr and F). A number picks its row through
 * a table of bytes in memory; the bits of the number say who may access it.
 */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Label, Local } from "#wasm/function.ts";
import {
  cause,
  envcfg,
  interrupt,
  mstatusMask,
  mstatusXlen,
  privilege,
  sstatusMask,
  sstatusXlen,
  status,
} from "../csr-bits.ts";
import { layout, type FieldName } from "../layout.ts";
import { bits, State, type Program } from "./program.ts";
import type { TranslationBanks } from "./translation-banks.ts";

export interface Csrs {
  /** (state, immediate: number in bits 11:0, operation 1 write 2 set 3 clear, operand, writes i32) → the old value. Sets `fault` if illegal. */
  readonly access: FunctionReference;
  /** Bytes of the table that gives a CSR's row + 1 by its number. */
  readonly index: Uint8Array;
  /** (state) → i64: time as rdtime reads it. */
  readonly time: FunctionReference;
  /** (state): recomputes the timer line and shortens the slice to the next deadline. */
  readonly updateTimer: FunctionReference;
  /** (state): recomputes the PMP regions from the registers. */
  readonly updatePmp: FunctionReference;
}

interface Csr {
  readonly number: number;
  readonly read: (c: Context) => Expr;
  /** Absent for a register that ignores writes (WARL with one value). Read-only numbers trap before. */
  readonly write?: (c: Context, value: Local) => void;
  /** A condition (i32) under which the access is illegal, though the privilege would do. */
  readonly illegal?: (c: Context) => Expr;
}

interface Context {
  readonly f: FunctionBuilder;
  readonly state: State;
  readonly number: Local;
  readonly time: FunctionReference;
  readonly selectBank: FunctionReference;
  readonly updateTimer: FunctionReference;
  readonly updatePmp: FunctionReference;
  readonly flushAll: FunctionReference;
  /** What the instruction makes of an old value. */
  readonly updated: (old: Expr) => Expr;
}

const writableInterrupts =
  (1n << 1n) | (1n << 3n) | (1n << 5n) | (1n << 7n) | (1n << 9n) | (1n << 11n);
const supervisorInterrupts = (1n << 1n) | (1n << 5n) | (1n << 9n);
/** All exceptions but ecall from M-mode and the reserved ones. */
const delegableExceptions = 0xb3ffn;

/** RV64 with A C D F I M S U. */
const misa =
  (2n << 62n) | [..."ACDFIMSU"].reduce((all, letter) => all | (1n << BigInt(letter.charCodeAt(0) - 65)), 0n);

const constant =
  (value: number | bigint): Csr["read"] =>
  () =>
    i64.const(value);
const field =
  (name: FieldName, index = 0): Csr["read"] =>
  ({ state }) =>
    state.get(name, index);

/** A register the writable bits of which are in `mask`. */
function plain(number: number, name: FieldName, mask: bigint = -1n, after?: (c: Context) => void): Csr {
  return {
    number,
    read: field(name),
    write: (c, value) => {
      c.state.set(name, mask === -1n ? value : i64.and(value, mask));
      after?.(c);
    },
  };
}

const attention = ({ state }: Context): void => state.set("attention", 1);
const contextChanged = (c: Context): void => {
  c.f.call(c.selectBank, [c.state.base]);
  attention(c);
};

/** SD says that FS is dirty. */
function withSd(status64: Expr): Expr {
  return i64.or(status64, i64.shl(i64.and(i64.shrU(i64.add(i64.and(status64, 0x6000), 0x2000), 15), 1), 63));
}

/** Writes the bits in `mask` of mstatus; a reserved MPP keeps the old one. */
function writeStatus(c: Context, value: Local, mask: bigint): void {
  const old = c.f.let(c.state.get("mstatus"));
  c.f.set(value, i64.or(i64.and(old, ~mask), i64.and(value, mask)));
  c.f.if(i32.eq(bits(value, status.mpp, 2), 2), () =>
    c.f.set(value, i64.or(i64.and(value, ~(3n << 11n)), i64.and(old, 3n << 11n))),
  );
  c.state.set("mstatus", value);
  // A bank is for SUM, MXR, MPRV and MPP; the rest changes no translation.
  c.f.if(i64.ne(i64.and(i64.xor(old, value), (3n << 11n) | (7n << 17n)), 0), () =>
    c.f.call(c.selectBank, [c.state.base]),
  );
  c.f.if(i64.ne(i64.and(pendingInterrupts(c), c.state.get("mie")), 0), () => attention(c));
}

const lines = ({ state }: Context): Expr =>
  i64.extendI32U(i32.atomicLoad(i32.add(state.base, layout.lines.offset)));
const pendingInterrupts = (c: Context): Expr => i64.or(c.state.get("mip"), lines(c));

/**
 * The bits of mip that software may set: SSIP, SEIP and, where Sstc doesn't drive it, STIP. Set and clear work on SEIP as software
 * set it, without the interrupt controller's line (3.1.9).
 */
function writeMip(c: Context, value: Local): void {
  c.f.set(value, c.updated(c.state.get("mip")));
  const timer = conditional(
    bits(c.state.get("menvcfg"), envcfg.stce, 1),
    i64.const(0),
    1n << BigInt(interrupt.supervisorTimer),
  );
  c.state.set(
    "mip",
    i64.and(value, i64.or(timer, (1n << BigInt(interrupt.supervisorSoftware)) | (1n << BigInt(interrupt.supervisorExternal)))),
  );
  attention(c);
}

/** sie and sip show the delegated bits of mie and mip. */
const delegatedView = (name: FieldName): Csr["read"] => (c) =>
  i64.and(name === "mip" ? pendingInterrupts(c) : c.state.get(name), c.state.get("mideleg"));

/** Bit `number & 31` of mcounteren, and of scounteren in U-mode, must be set below M-mode (3.1.11, 12.1.5). */
function counterIllegal({ state, number }: Context): Expr {
  const blocked = (name: FieldName): Expr =>
    i32.eqz(i32.and(i32.shrU(state.low(name), i32.and(number, 31)), 1));
  return i32.or(
    i32.and(i32.ne(state.get("privilege"), privilege.machine), blocked("mcounteren")),
    i32.and(i32.eqz(state.get("privilege")), blocked("scounteren")),
  );
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

/** mode must be bare or one of Sv39, Sv48, Sv57, else the write is ignored; TVM makes it illegal in S-mode. */
const satp: Csr = {
  number: 0x180,
  read: field("satp"),
  illegal: ({ state }) =>
    i32.and(
      i32.eq(state.get("privilege"), privilege.supervisor),
      bits(state.get("mstatus"), status.tvm, 1),
    ),
  write: (c, value) => {
    const mode = c.f.let(i64.shrU(value, 60));
    c.f.if(i32.or(i64.eqz(mode), i64.leU(i64.sub(mode, 8), 2)), () => {
      c.state.set("satp", value);
      contextChanged(c);
    });
  },
};

const stimecmp: Csr = {
  number: 0x14d,
  read: field("stimecmp"),
  illegal: ({ state }) =>
    i32.and(
      i32.ne(state.get("privilege"), privilege.machine),
      i32.or(
        i32.eqz(bits(state.get("menvcfg"), envcfg.stce, 1)),
        i32.eqz(i32.and(state.low("mcounteren"), 2)),
      ),
    ),
  write: (c, value) => {
    c.state.set("stimecmp", value);
    c.f.call(c.updateTimer, [c.state.base]);
    attention(c);
  },
};

/** Entries that are locked, and the address below a locked top-of-range entry, keep their values (3.7.1.2). */
function pmpRegisters(): Csr[] {
  const configOf = (state: State, entry: Expr | number): Expr =>
    i32.load8U(i32.add(state.base, entry), layout.pmpcfg.offset);
  const config = [0, 1].map((half): Csr => ({
    number: 0x3a0 + half * 2,
    read: field("pmpcfg", half),
    write: (c, value) => {
      for (let i = 0; i < 8; i++) {
        const entry = half * 8 + i;
        const byte = c.f.let(i32.and(i32.wrap(i64.shrU(value, i * 8)), 0x9f));
        // W without R is reserved: the entry keeps what it had.
        c.f.if(
          i32.and(
            i32.eqz(i32.and(configOf(c.state, entry), 0x80)),
            i32.ne(i32.and(byte, 3), 2),
          ),
          () => c.f.store("i32_8", c.state.base, byte, layout.pmpcfg.offset + entry),
        );
      }
      c.f.call(c.updatePmp, [c.state.base]);
    },
  }));
  const addresses = Array.from({ length: 16 }, (_, entry): Csr => ({
    number: 0x3b0 + entry,
    read: field("pmpaddr", entry),
    write: (c, value) => {
      const locked = i32.and(configOf(c.state, entry), 0x80);
      const nextTop =
        entry === 15 ? i32.const(0) : i32.eq(i32.and(configOf(c.state, entry + 1), 0x98), 0x88);
      c.f.if(i32.eqz(i32.or(locked, nextTop)), () => {
        c.state.set("pmpaddr", i64.and(value, (1n << 54n) - 1n), entry);
        c.f.call(c.updatePmp, [c.state.base]);
      });
    },
  }));
  // Entries 16 to 63 are not implemented: they read as zero. pmpcfg with odd numbers don't exist in RV64.
  const absent = [
    ...Array.from({ length: 6 }, (_, i) => 0x3a4 + 2 * i),
    ...Array.from({ length: 48 }, (_, i) => 0x3c0 + i),
  ].map(zero);
  return [...config, ...addresses, ...absent];
}

function zero(number: number): Csr {
  return { number, read: constant(0), write: () => {} };
}

const range = (first: number, length: number): number[] => Array.from({ length }, (_, i) => first + i);
/** Low bit clear, since instructions lie at even addresses. */
const address = (number: number, name: FieldName): Csr => plain(number, name, ~1n);
/** Direct or vectored. */
const vector = (number: number, name: FieldName): Csr => plain(number, name, ~2n);

/** A 2-bit field's reserved value 2 reads as the old one; only the bits in `mask` exist. */
function environment(number: number, name: FieldName, mask: bigint, after?: (c: Context) => void): Csr {
  return {
    number,
    read: field(name),
    write: (c, value) => {
      c.f.set(value, i64.and(value, mask));
      const cbie = 3n << BigInt(envcfg.cbie);
      c.f.if(i64.eq(i64.and(value, cbie), 2n << BigInt(envcfg.cbie)), () =>
        c.f.set(value, i64.or(i64.and(value, ~cbie), i64.and(c.state.get(name), cbie))),
      );
      c.state.set(name, value);
      after?.(c);
    },
  };
}

const senvcfgMask = 1n | (3n << 4n) | (1n << 6n) | (1n << 7n);
const menvcfgMask = senvcfgMask | (1n << 61n) | (1n << 62n) | (1n << 63n);

const rows: readonly Csr[] = [
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
  { number: 0xc00, read: (c) => i64.add(instret(c), c.state.get("cycleOffset")), illegal: counterIllegal },
  { number: 0xc01, read: ({ state, time }) => call(time, state.base), illegal: counterIllegal },
  { number: 0xc02, read: (c) => i64.add(instret(c), c.state.get("instretOffset")), illegal: counterIllegal },
  ...range(0xc03, 29).map((number): Csr => ({ number, read: constant(0), illegal: counterIllegal })),

  {
    number: 0x100,
    read: ({ state }) => i64.or(withSd(i64.and(state.get("mstatus"), sstatusMask)), sstatusXlen),
    write: (c, value) => writeStatus(c, value, sstatusMask),
  },
  {
    number: 0x104,
    read: delegatedView("mie"),
    write: (c, value) => {
      const mideleg = c.f.let(c.state.get("mideleg"));
      c.state.set(
        "mie",
        i64.or(i64.and(c.state.get("mie"), i64.xor(mideleg, -1)), i64.and(value, mideleg)),
      );
      attention(c);
    },
  },
  vector(0x105, "stvec"),
  plain(0x106, "scounteren", 0xffffffffn),
  environment(0x10a, "senvcfg", senvcfgMask),
  plain(0x140, "sscratch"),
  address(0x141, "sepc"),
  plain(0x142, "scause"),
  plain(0x143, "stval"),
  {
    number: 0x144,
    read: delegatedView("mip"),
    // Only SSIP is writable from here.
    write: (c, value) => {
      const mask = c.f.let(i64.and(c.state.get("mideleg"), 1n << BigInt(interrupt.supervisorSoftware)));
      c.state.set("mip", i64.or(i64.and(c.state.get("mip"), i64.xor(mask, -1)), i64.and(value, mask)));
      attention(c);
    },
  },
  stimecmp,
  satp,

  { number: 0xf11, read: constant(0) }, // mvendorid
  { number: 0xf12, read: constant(0) }, // marchid
  { number: 0xf13, read: constant(0) }, // mimpid
  { number: 0xf14, read: field("hartId") },
  { number: 0xf15, read: constant(0) }, // mconfigptr
  {
    number: 0x300,
    read: ({ state }) => i64.or(withSd(state.get("mstatus")), mstatusXlen),
    write: (c, value) => writeStatus(c, value, mstatusMask),
  },
  { number: 0x301, read: constant(misa), write: () => {} },
  plain(0x302, "medeleg", delegableExceptions),
  plain(0x303, "mideleg", supervisorInterrupts, attention),
  plain(0x304, "mie", writableInterrupts, attention),
  vector(0x305, "mtvec"),
  plain(0x306, "mcounteren", 0xffffffffn),
  environment(0x30a, "menvcfg", menvcfgMask, (c) => {
    // From now on STIP is the comparator's: what software set there is gone.
    c.f.if(bits(c.state.get("menvcfg"), envcfg.stce, 1), () =>
      c.state.set("mip", i64.and(c.state.get("mip"), ~(1n << BigInt(interrupt.supervisorTimer)))),
    );
    c.f.call(c.flushAll, [c.state.base]);
    c.f.call(c.updateTimer, [c.state.base]);
    attention(c);
  }),
  plain(0x320, "mcountinhibit", 0n),
  ...range(0x323, 29).map(zero), // mhpmevent
  plain(0x340, "mscratch"),
  address(0x341, "mepc"),
  plain(0x342, "mcause"),
  plain(0x343, "mtval"),
  { number: 0x344, read: pendingInterrupts, write: writeMip },
  ...pmpRegisters(),
  counter(0xb00, "cycleOffset"),
  counter(0xb02, "instretOffset"),
  ...range(0xb03, 29).map(zero),
  // Triggers: none yet, so that tselect holds 0 and tdata1 says "no trigger here" (debug specification, 5.7).
  { number: 0x7a0, read: constant(0), write: () => {} },
  { number: 0x7a1, read: constant(0), write: () => {} },
  { number: 0x7a2, read: constant(0), write: () => {} },
  { number: 0x7a4, read: constant(0) },
];

export function defineCsrs(program: Program, banks: TranslationBanks): Csrs {
  const { module, map, host } = program;
  const index = new Uint8Array(4096);
  rows.forEach(({ number }, row) => (index[number] = row + 1));

  const time = module.function("time", ["i32"], ["i64"], (f) => {
    const state = new State(f);
    f.if(state.get("instructionsPerTick"), () =>
      f.return(
        i64.add(
          state.get("timeOffset"),
          i64.divU(
            i64.sub(state.get("instretTarget"), i64.extendI32S(state.get("budget"))),
            i64.extendI32U(state.get("instructionsPerTick")),
          ),
        ),
      ),
    );
    state.count("crossings");
    f.push(i64.add(state.get("timeOffset"), i64.truncSatF64U(call(host.time))));
  });

  const updateTimer = module.function("updateTimer", ["i32"], [], (f) => defineUpdateTimer(f, time));
  const updatePmp = module.function("updatePmp", ["i32"], [], (f) => defineUpdatePmp(f, banks));

  const access = module.function("csr", ["i32", "i32", "i32", "i64", "i32"], ["i64"], (f) => {
    const state = new State(f);
    const [number, operation, operand, writes] = [1, 2, 3, 4].map((i) => f.parameter(i)) as [
      Local,
      Local,
      Local,
      Local,
    ];
    const context: Context = {
      f,
      state,
      number,
      time,
      updateTimer,
      updatePmp,
      selectBank: banks.selectBank,
      flushAll: banks.flushAll,
      updated: (old) =>
        select(
          i32.eq(operation, 1),
          operand,
          select(i32.eq(operation, 2), i64.or(old, operand), i64.and(old, i64.xor(operand, -1))),
        ),
    };
    const old = f.local("i64");
    const value = f.local("i64");
    f.block((illegal) => {
      f.set(number, i32.and(number, 0xfff));
      f.branchIf(illegal, i32.gtU(i32.and(i32.shrU(number, 8), 3), state.get("privilege")));
      f.branchIf(illegal, i32.and(writes, i32.eq(i32.shrU(number, 10), 3)));
      const row = f.let(i32.load8U(number, map.csrIndex));
      switchOn(f, row, rows.length + 1, illegal, (i) => {
        const csr = rows[i - 1]!;
        if (csr.illegal) f.branchIf(illegal, csr.illegal(context));
        f.set(old, csr.read(context));
      });
      f.if(writes, () => {
        f.set(value, context.updated(old));
        switchOn(f, row, rows.length + 1, illegal, (i) => rows[i - 1]!.write?.(context, value));
      });
      f.return(old);
    });
    state.fault(cause.illegalInstruction, 0);
    f.push(i64.const(0));
  });

  return { access, index, time, updateTimer, updatePmp };
}

/** A switch over 1 … count - 1; 0 goes to `otherwise`. */
function switchOn(f: FunctionBuilder, value: Expr, count: number, otherwise: Label, body: (i: number) => void): void {
  f.block((done) => {
    const labels: Label[] = [];
    for (let i = count - 1; i >= 1; i--) labels[i] = f.openBlock();
    labels[0] = otherwise;
    f.branchTable(value, labels, otherwise);
    for (let i = 1; i < count; i++) {
      f.close();
      f.scope(() => body(i));
      f.branch(done);
    }
  });
}

/**
 * Sstc: STIP follows time >= stimecmp while menvcfg.STCE is set. With the instruction clock the slice ends when the deadline is reached;
 * with the host's clock the owner of the hart looks after each slice.
 */
function defineUpdateTimer(f: FunctionBuilder, time: FunctionReference): void {
  const state = new State(f);
  const linesAt = i32.add(state.base, layout.lines.offset);
  const bit = 1 << interrupt.supervisorTimer;
  f.if(i32.eqz(bits(state.get("menvcfg"), envcfg.stce, 1)), () => {
    f.drop(i32.atomicAnd(linesAt, ~bit));
    f.return();
  });
  const now = f.let(call(time, state.base));
  const deadline = f.let(state.get("stimecmp"));
  f.if(i64.geU(now, deadline), () => {
    f.drop(i32.atomicOr(linesAt, bit));
    f.return();
  });
  f.drop(i32.atomicAnd(linesAt, ~bit));
  // A host tick is worth about a hundred instructions: near enough to look again in time.
  const perTick = i64.extendI32U(select(state.get("instructionsPerTick"), state.get("instructionsPerTick"), 100));
  const ticks = f.let(i64.sub(deadline, now));
  f.if(i64.ltU(ticks, 1_000_000), () => {
    const wanted = f.let(
      i32.add(
        i32.wrap(i64.mul(ticks, perTick)),
        // The tick that has begun counts from its start.
        select(
          state.get("instructionsPerTick"),
          i32.sub(0, i32.wrap(i64.remU(i64.sub(state.get("instretTarget"), i64.extendI32S(state.get("budget"))), perTick))),
          0,
        ),
      ),
    );
    f.if(i32.ltS(wanted, state.get("budget")), () => {
      state.set(
        "instretTarget",
        i64.sub(state.get("instretTarget"), i64.extendI32S(i32.sub(state.get("budget"), wanted))),
      );
      state.set("budget", wanted);
    });
  });
}

/** pmpcfg.A: 0 off, 1 from the entry below to this one, 2 four bytes, 3 a naturally aligned power of two (3.7.1). */
function defineUpdatePmp(f: FunctionBuilder, banks: TranslationBanks): void {
  const state = new State(f);
  const index = f.local("i32");
  const entry = f.local("i32");
  const config = f.local("i32");
  const value = f.local("i64");
  const size = f.local("i64");
  const previous = f.local("i64");
  const first = f.local("i64");
  const last = f.local("i64");
  state.set("pmpCount", 0);
  f.loop((next) => {
    f.set(entry, i32.add(state.base, i32.shl(index, 3)));
    f.set(config, i32.and(i32.shrU(i32.load8U(i32.add(state.base, index), layout.pmpcfg.offset), 3), 3));
    f.set(value, i64.load(entry, layout.pmpaddr.offset));
    f.set(first, -1);
    f.set(last, 0);
    f.if(config, () => {
      state.set("pmpCount", i32.add(index, 1));
      f.if(
        i32.eq(config, 1),
        () =>
          f.if(i64.ltU(previous, value), () => {
            f.set(first, i64.shl(previous, 2));
            f.set(last, i64.sub(i64.shl(value, 2), 1));
          }),
        () => {
          // Trailing ones of the address give the size: 2^(ones + 3) bytes; all ones mean everything.
          f.set(
            size,
            select(i32.eq(config, 2), i64.const(4), i64.shl(8, i64.ctz(i64.xor(value, -1)))),
          );
          f.set(first, i64.and(i64.shl(value, 2), i64.sub(0, size)));
          f.set(last, i64.add(first, i64.sub(size, 1)));
        },
      );
    });
    f.store("i64", entry, first, layout.pmpFirst.offset);
    f.store("i64", entry, last, layout.pmpLast.offset);
    f.set(previous, value);
    f.set(index, i32.add(index, 1));
    f.branchIf(next, i32.ltU(index, 16));
  });
  f.call(banks.flushAll, [state.base]);
  state.set("attention", 1);
}
