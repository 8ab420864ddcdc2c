/** The instructions that reach into the machine's privileged state, as the interpreter executes them (privileged manual, 3.3 and 12.2; H extension). */
import { call, i32, i64, type Expr } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";
import type { SystemOperation } from "#riscv/semantics.ts";
import { cause, envcfg, hypervisorStatus, privilege, privilegeMask, rewriting, status, virtualBit } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { entryByte } from "./decode.ts";
import { ExitReason } from "./exit-reason.ts";
import type { InterpretedSemantics, InterpreterParts, Labels, Registers } from "./interpreter.ts";
import { bits, type State } from "./program.ts";
import { fenced } from "./translation-banks.ts";

type SystemHandler = (
  f: FunctionBuilder,
  state: State,
  parts: InterpreterParts,
  labels: Labels,
  r: Registers,
  s: InterpretedSemantics,
) => void;

function refuseIf(f: FunctionBuilder, state: State, labels: Labels, condition: Expr, number: number): void {
  f.if(condition, () => {
    state.fault(number, 0);
    f.branch(labels.trapAtIp);
  });
}

const mode = (state: State): Expr => state.get("privilege");
/** Without the mark of a kernel whose instructions are rewritten: it is in U-mode. */
const modeIs = (state: State, one: number): Expr => i32.eq(i32.and(mode(state), privilegeMask), one);
const isGuest = (state: State): Expr => i32.ne(i32.and(mode(state), virtualBit), 0);
const statusBit = (state: State, position: number): Expr => bits(state.get("mstatus"), position, 1);
const hypervisorBit = (state: State, position: number): Expr => bits(state.get("hstatus"), position, 1);

/** What HS-mode may execute, but the present mode may not: virtual where V = 1, else illegal. */
interface Refusal {
  readonly virtual: (state: State) => Expr;
  readonly illegal: (state: State) => Expr;
}

function guard(f: FunctionBuilder, state: State, labels: Labels, { virtual, illegal }: Refusal): void {
  refuseIf(f, state, labels, illegal(state), cause.illegalInstruction);
  refuseIf(f, state, labels, virtual(state), cause.virtualInstruction);
}

/**
 * Below M-mode an envcfg bit must allow the operation: menvcfg's, and in U-mode senvcfg's too. In a guest, what menvcfg allows is up to
 * henvcfg, and in VU-mode to senvcfg (CMO specification).
 */
function cacheOperation(bit: number): Refusal {
  const blocked = (state: State, name: "menvcfg" | "senvcfg" | "henvcfg"): Expr =>
    i32.eqz(bits(state.get(name), bit, bit === envcfg.cbie ? 2 : 1));
  return {
    illegal: (state) =>
      i32.or(
        i32.and(i32.ne(mode(state), privilege.machine), blocked(state, "menvcfg")),
        i32.and(modeIs(state, privilege.user), blocked(state, "senvcfg")),
      ),
    virtual: (state) =>
      i32.or(
        i32.and(isGuest(state), blocked(state, "henvcfg")),
        i32.and(modeIs(state, privilege.virtualUser), blocked(state, "senvcfg")),
      ),
  };
}

/** Cache management needs permission to read or to write, which implies the former. */
function cacheManagement(bit: number): SystemHandler {
  return (f, state, parts, labels, _r, s) => {
    guard(f, state, labels, cacheOperation(bit));
    f.call(parts.memory.manageBlock, [state.base, s.rs1]);
    f.branchIf(labels.trapAtIp, state.get("fault"));
  };
}

const supervisorOnly: Refusal = {
  illegal: (state) => modeIs(state, privilege.user),
  virtual: (state) => modeIs(state, privilege.virtualUser),
};

const supervisorFence: Refusal = {
  illegal: (state) =>
    i32.or(modeIs(state, privilege.user), i32.and(modeIs(state, privilege.supervisor), statusBit(state, status.tvm))),
  virtual: (state) =>
    i32.or(
      modeIs(state, privilege.virtualUser),
      i32.and(modeIs(state, privilege.virtualSupervisor), hypervisorBit(state, hypervisorStatus.vtvm)),
    ),
};

const hypervisorOnly: Refusal = { illegal: (state) => modeIs(state, privilege.user), virtual: isGuest };

const guestFence: Refusal = {
  illegal: supervisorFence.illegal,
  virtual: isGuest,
};

const virtualMachineAccess: Refusal = {
  illegal: (state) => i32.and(modeIs(state, privilege.user), i32.eqz(hypervisorBit(state, hypervisorStatus.hu))),
  virtual: isGuest,
};

/** Where there is an S-mode, U-mode may not wait for ever (3.3.3): so not at all. */
const waiting: Refusal = {
  illegal: (state) =>
    i32.or(
      modeIs(state, privilege.user),
      i32.and(i32.ne(mode(state), privilege.machine), statusBit(state, status.tw)),
    ),
  virtual: (state) =>
    i32.or(
      modeIs(state, privilege.virtualUser),
      i32.and(modeIs(state, privilege.virtualSupervisor), hypervisorBit(state, hypervisorStatus.vtw)),
    ),
};

const named = (r: Registers, operand: "rs1" | "rs2"): Expr => i32.ne(i32.load8U(r.ip, entryByte[operand]), 0);

/** A fence by virtual address and address space, of the world (`fenced`) that `world` says. */
function fence(refusal: Refusal, world: (state: State) => Expr): SystemHandler {
  return (f, state, parts, labels, r, s) => {
    guard(f, state, labels, refusal);
    const [byAddress, byAsid] = [named(r, "rs1"), named(r, "rs2")];
    f.call(parts.banks.flush, [state.base, s.rs1, i32.wrap(s.rs2), byAddress, byAsid, world(state)]);
    f.set(r.pc, s.next);
    f.branch(labels.fetch);
  };
}

/** HLV, HLVX and HSV: `access` runs after the mode was looked at, and may leave a fault. */
function virtualMachine(access: (...operands: Parameters<SystemHandler>) => void): SystemHandler {
  return (...operands) => {
    const [f, state, , labels, r] = operands;
    guard(f, state, labels, virtualMachineAccess);
    state.set("budget", r.budget);
    access(...operands);
  };
}

type LoadKind = "8S" | "8U" | "16S" | "16U" | "32S" | "32U" | "64";
const extend: Partial<Record<LoadKind, (value: Expr) => Expr>> = { "8S": i64.extend8S, "16S": i64.extend16S, "32S": i64.extend32S };
const log2Size: Readonly<Record<string, number>> = { 8: 0, 16: 1, 32: 2, 64: 3 };
const logOf = (kind: string): number => log2Size[kind.replace(/[SU]$/, "")]!;

const hypervisorLoad = (kind: LoadKind, routine: "load" | "loadExecutable" = "load"): SystemHandler =>
  virtualMachine((f, state, parts, labels, _r, s) => {
    s.readRd();
    const value = f.let(call(parts.virtualMachine[routine], state.base, s.rs1, logOf(kind)));
    f.branchIf(labels.trapAtIp, state.get("fault"));
    s.setRd(extend[kind]?.(value) ?? value);
  });

const hypervisorStore = (size: 8 | 16 | 32 | 64): SystemHandler =>
  virtualMachine((f, state, parts, labels, _r, s) => {
    f.call(parts.virtualMachine.store, [state.base, s.rs1, logOf(`${size}`), s.rs2]);
    f.branchIf(labels.trapAtIp, state.get("fault"));
    s.attend();
  });

/**
 * What stands in the place of a privileged instruction where a deprivileged kernel's are rewritten: work on the guest's registers, or on what the hart
 * has of its translations. What isn't here, or leaves a case open, is executed as it is, and traps.
 */
const substitutes: Partial<Record<SystemOperation, { readonly policy: "silent" | "all"; readonly handler: SystemHandler }>> = {
  sret: {
    policy: "all",
    handler: (f, state, parts, labels) => {
      f.call(parts.deprivileged.returnInGuest, [state.base]);
      f.branch(labels.redirected);
    },
  },
  wfi: {
    policy: "silent",
    handler: (f, state, _parts, _labels, r, s) => {
      waitUnlessPending(f, state, r, s);
      s.end();
    },
  },
  "sfence.vma": {
    policy: "silent",
    handler: (f, state, parts, labels, r, s) => {
      // The guest's ASIDs are not the hart's: a fence of one address space is the monitor's.
      f.if(i32.eqz(i32.and(named(r, "rs2"), i32.eqz(named(r, "rs1")))), () => {
        f.call(parts.banks.flush, [state.base, s.rs1, 0, named(r, "rs1"), 0, 1]);
        f.set(r.pc, s.next);
        f.branch(labels.fetch);
      });
    },
  },
  "sfence.inval": { policy: "all", handler: (_f, _state, _parts, _labels, _r, s) => s.end() },
};

/** A privileged instruction, or what stands in its place. */
export function executeSystem(operation: SystemOperation, ...operands: Parameters<SystemHandler>): void {
  const [f, state] = operands;
  const substitute = substitutes[operation];
  if (substitute !== undefined) {
    const least = substitute.policy === "silent" ? rewriting.silent : rewriting.all;
    const isRewritten = i32.geU(state.get("rewrites"), least);
    f.if(i32.and(i32.eq(mode(state), privilege.rewrittenKernel), isRewritten), () => substitute.handler(...operands));
  }
  systemHandlers[operation](...operands);
}

function waitUnlessPending(f: FunctionBuilder, state: State, r: Registers, s: InterpretedSemantics): void {
  const pending = i32.and(i32.or(state.low("mip"), i32.atomicLoad(i32.add(state.base, layout.lines.offset))), state.low("mie"));
  f.if(i32.eqz(pending), () => {
    state.set("pc", s.next);
    state.set("budget", r.budget);
    state.set("exitReason", ExitReason.wait);
    f.return(-1, r.budget);
  });
}

const systemHandlers: Record<SystemOperation, SystemHandler> = {
  illegal: (f, state, _parts, labels) => {
    state.fault(cause.illegalInstruction, 0);
    f.branch(labels.trapAtIp);
  },
  ecall: (f, state, _parts, labels, r, s) => {
    f.if(i32.and(state.get("firmware"), modeIs(state, privilege.supervisor)), () => {
      state.set("pc", s.pc);
      // ECALL does not retire (3.3.1).
      f.set(r.budget, i32.add(r.budget, 1));
      state.set("budget", r.budget);
      state.set("exitReason", ExitReason.firmware);
      f.return(-1, r.budget);
    });
    // VU-mode's is that of U-mode; VS-mode has one of its own.
    const own = i32.add(i32.and(mode(state), 3), modeIs(state, privilege.virtualSupervisor));
    state.fault(i64.extendI32U(i32.add(own, cause.ecallFromUser)), 0);
    f.branch(labels.trapAtIp);
  },
  ebreak: (f, state, _parts, labels, _r, s) => {
    state.fault(cause.breakpoint, s.pc);
    f.branch(labels.trapAtIp);
  },
  sret: (f, state, parts, labels) => {
    f.call(parts.traps.sret, [state.base]);
    f.branchIf(labels.trapAtIp, state.get("fault"));
    f.branch(labels.redirected);
  },
  mret: (f, state, parts, labels) => {
    f.call(parts.traps.mret, [state.base]);
    f.branchIf(labels.trapAtIp, state.get("fault"));
    f.branch(labels.redirected);
  },
  wfi: (f, state, _parts, labels, r, s) => {
    guard(f, state, labels, waiting);
    waitUnlessPending(f, state, r, s);
  },
  "sfence.vma": fence(supervisorFence, isGuest),
  "hfence.vvma": fence(hypervisorOnly, () => i32.const(fenced.byHypervisor)),
  "hfence.gvma": (f, state, parts, labels, r, s) => {
    guard(f, state, labels, guestFence);
    // The address is given without its two lowest bits.
    const operands = [i64.shl(s.rs1, 2), i32.wrap(s.rs2), named(r, "rs1"), named(r, "rs2")];
    f.call(parts.banks.flushGuests, [state.base, ...operands]);
    f.set(r.pc, s.next);
    f.branch(labels.fetch);
  },
  "sfence.inval": (f, state, _parts, labels) => guard(f, state, labels, supervisorOnly),
  // Decoded entries follow each store; but translated callers may be of code that is gone.
  "fence.i": () => {},
  "cbo.zero": (f, state, parts, labels, r, s) => {
    guard(f, state, labels, cacheOperation(envcfg.cbze));
    f.call(parts.memory.zeroBlock, [state.base, s.rs1]);
    f.branchIf(labels.trapAtIp, state.get("fault"));
    state.set("budget", r.budget);
    s.attend();
  },
  "cbo.clean": cacheManagement(envcfg.cbcfe),
  "cbo.inval": cacheManagement(envcfg.cbie),
  "hlv.b": hypervisorLoad("8S"),
  "hlv.bu": hypervisorLoad("8U"),
  "hlv.h": hypervisorLoad("16S"),
  "hlv.hu": hypervisorLoad("16U"),
  "hlv.w": hypervisorLoad("32S"),
  "hlv.wu": hypervisorLoad("32U"),
  "hlv.d": hypervisorLoad("64"),
  "hlvx.hu": hypervisorLoad("16U", "loadExecutable"),
  "hlvx.wu": hypervisorLoad("32U", "loadExecutable"),
  "hsv.b": hypervisorStore(8),
  "hsv.h": hypervisorStore(16),
  "hsv.w": hypervisorStore(32),
  "hsv.d": hypervisorStore(64),
};

/** After these the next instruction follows at once; after the others `system` of the interpreter has gone elsewhere. */
export function goesOn(operation: SystemOperation): boolean {
  return /^(fence\.i|sfence\.inval|wfi|cbo\..*|hlvx?\..*|hsv\..*)$/.test(operation);
}
