/**
 * Rows for what belongs to supervisor mode (privileged manual, 12.1). In VS-mode most of these numbers mean registers that stand in the same
 * place (see `parkedStatus` in layout.ts); the others have a `guest` part.
 */
import { i32, i64, select, type Expr } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import {
  envcfg, hypervisorStatus, interrupt, privilege, sstatusMask, sstatusXlen, status, supervisorInterrupts, userStatusMask, virtualInterrupts,
} from "../csr-bits.ts";
import type { FieldName } from "../layout.ts";
import {
  address,
  attention,
  contextChanged,
  environment,
  environmentMask,
  field,
  pendingInterrupts,
  plain,
  standsIn,
  vector,
  withSd,
  writeMasked,
  type Context,
  type Csr,
  type CsrBehaviour,
} from "./csr-row.ts";
import { bits } from "./program.ts";
import { guestEnvironment } from "./two-stage-translation.ts";

/** Writes the bits in `mask` of mstatus; a reserved MPP keeps the old one. */
export function writeStatus(c: Context, value: Local, mask: bigint): void {
  const old = c.f.let(c.state.get("mstatus"));
  c.f.set(value, i64.or(i64.and(old, ~mask), i64.and(value, mask)));
  c.f.if(i32.eq(bits(value, status.mpp, 2), 2), () =>
    c.f.set(value, i64.or(i64.and(value, ~(3n << 11n)), i64.and(old, 3n << 11n))),
  );
  c.state.set("mstatus", value);
  // A bank is for SUM, MXR, MPRV, MPP and MPV; the rest changes no translation.
  c.f.if(i64.ne(i64.and(i64.xor(old, value), (3n << 11n) | (7n << 17n) | (1n << 39n)), 0), () =>
    c.f.call(c.selectBank, [c.state.base]),
  );
  c.f.if(i64.ne(i64.and(pendingInterrupts(c), c.state.get("mie")), 0), () => attention(c));
}

const floatMask = 3n << BigInt(status.fs);

/** vsstatus.FS while V = 1: see `guestFloat` in layout.ts. */
export function guestFloat(state: Context["state"]): Expr {
  const isDirty = i64.eq(i64.and(state.get("mstatus"), floatMask), floatMask);
  return select(isDirty, i32.const(3), state.get("guestFloat"));
}

/** What stands for vsstatus.FS in mstatus while V = 1, by its value and HS-mode's status. */
export function effectiveFloat(guest: Expr, hostStatus: Expr): Expr {
  const isOn = i32.and(i32.ne(guest, 0), i64.ne(i64.and(hostStatus, floatMask), 0));
  return i64.shl(i64.extendI32U(isOn), status.fs);
}

const guestStatus: Csr["guest"] = {
  read: ({ f, state }) => {
    const float = i64.shl(i64.extendI32U(guestFloat(state)), status.fs);
    const value = f.let(i64.or(i64.and(state.get("mstatus"), sstatusMask & ~floatMask), float));
    return i64.or(withSd(value), sstatusXlen);
  },
  write: (c, value) => {
    const { f, state } = c;
    // What was used since is dirty for HS-mode, whatever VS-mode says of itself.
    f.if(i64.eq(i64.and(state.get("mstatus"), floatMask), floatMask), () =>
      state.set("parkedStatus", i64.or(state.get("parkedStatus"), floatMask)),
    );
    state.set("guestFloat", bits(value, status.fs, 2));
    f.set(value, i64.or(i64.and(value, ~floatMask), effectiveFloat(state.get("guestFloat"), state.get("parkedStatus"))));
    writeStatus(c, value, sstatusMask);
  },
};

/** The status of a deprivileged guest without UXL and SD: what counts in U-mode stands in the hart's own. */
function virtualStatus(state: Context["state"]): Expr {
  return i64.or(i64.and(state.get("parkedStatus"), ~userStatusMask), i64.and(state.get("mstatus"), userStatusMask));
}

const deprivilegedStatus: Csr["deprivileged"] = {
  read: ({ state }) => i64.or(withSd(virtualStatus(state)), sstatusXlen),
  write: (c, value) => {
    const { f, state } = c;
    f.set(value, i64.and(value, sstatusMask));
    const changed = f.let(i64.xor(virtualStatus(state), value));
    state.set("mstatus", i64.or(i64.and(state.get("mstatus"), ~userStatusMask), i64.and(value, userStatusMask)));
    state.set("parkedStatus", value);
    f.if(i64.ne(i64.and(changed, (1n << BigInt(status.sum)) | (1n << BigInt(status.mxr))), 0), () => f.call(c.selectView, [state.base]));
    f.if(i64.ne(i64.and(pendingInterrupts(c), state.get("mie")), 0), () => attention(c));
  },
};

/** The bits of mie and mip that HS-mode delegated are VS-mode's, one bit lower. */
export const guestView =
  (name: "mie" | "mip"): Csr["read"] =>
  (c) =>
    i64.shrU(i64.and(i64.and(name === "mip" ? pendingInterrupts(c) : c.state.get(name), c.state.get("hideleg")), virtualInterrupts), 1);

export function writeGuestView(c: Context, name: "mie" | "mip", value: Local, mask: number): void {
  writeMasked(c, name, i64.shl(value, 1), c.f.let(i64.and(c.state.get("hideleg"), mask)));
  attention(c);
}

/** sie and sip show the delegated bits of mie and mip. */
const delegatedView =
  (name: "mie" | "mip"): Csr["read"] =>
  (c) =>
    i64.and(name === "mip" ? pendingInterrupts(c) : c.state.get(name), c.state.get("mideleg"));

function writeDelegated(c: Context, name: "mie" | "mip", value: Local, mask: number): void {
  writeMasked(c, name, value, c.f.let(i64.and(c.state.get("mideleg"), mask)));
  attention(c);
}

/** mode must be bare or one of Sv39, Sv48, Sv57, else the write is ignored. */
export function writeSatp(c: Context, name: FieldName, value: Local): void {
  const mode = c.f.let(i64.shrU(value, 60));
  c.f.if(i32.or(i64.eqz(mode), i64.leU(i64.sub(mode, 8), 2)), () => {
    c.state.set(name, value);
    contextChanged(c);
  });
}

/** Where software fills the TLB: bare, or mode 14, "designated for custom use". Address spaces have 12 bits; the root is for software to keep. */
function writeSoftwareSatp(c: Context, value: Local): void {
  const mode = c.f.let(i64.shrU(value, 60));
  c.f.if(i32.or(i64.eqz(mode), i64.eq(mode, 14)), () => {
    c.state.set("satp", i64.and(value, ~(15n << 56n)));
    contextChanged(c);
  });
}

/** Below M-mode: menvcfg must give the comparators to supervisors, and mcounteren the time. */
export function comparatorIllegal({ state }: Context): Expr {
  return i32.and(
    i32.ne(state.get("privilege"), privilege.machine),
    i32.or(i32.eqz(bits(state.get("menvcfg"), envcfg.stce, 1)), i32.eqz(i32.and(state.low("mcounteren"), 2))),
  );
}

export function writeComparator(c: Context, name: FieldName, value: Local): void {
  c.state.set(name, value);
  c.f.call(c.updateTimer, [c.state.base]);
  attention(c);
}

const softwareInterrupt = 1 << interrupt.supervisorSoftware;
const virtualSoftwareInterrupt = 1 << interrupt.virtualSupervisorSoftware;

const guestEnabled: CsrBehaviour = {
  read: guestView("mie"),
  write: (c, value) => writeGuestView(c, "mie", value, virtualInterrupts),
};
const guestPending: CsrBehaviour = {
  read: guestView("mip"),
  write: (c, value) => writeGuestView(c, "mip", value, virtualSoftwareInterrupt),
};

export const supervisorCsrs: readonly Csr[] = [
  {
    number: 0x100,
    read: ({ state }) => i64.or(withSd(i64.and(state.get("mstatus"), sstatusMask)), sstatusXlen),
    write: (c, value) => writeStatus(c, value, sstatusMask),
    guest: guestStatus,
    deprivileged: deprivilegedStatus,
  },
  {
    number: 0x104,
    read: delegatedView("mie"),
    write: (c, value) => writeDelegated(c, "mie", value, supervisorInterrupts),
    guest: guestEnabled,
    deprivileged: guestEnabled,
  },
  standsIn(vector(0x105, "stvec"), vector(0x105, "parkedStvec")),
  standsIn(plain(0x106, "scounteren", 0xffffffffn), plain(0x106, "virtualScounteren", 0xffffffffn)),
  standsIn(environment(0x10a, "senvcfg", environmentMask), environment(0x10a, "virtualSenvcfg", environmentMask)),
  standsIn(plain(0x140, "sscratch"), plain(0x140, "parkedSscratch")),
  standsIn(address(0x141, "sepc"), address(0x141, "parkedSepc")),
  standsIn(plain(0x142, "scause"), plain(0x142, "parkedScause")),
  standsIn(plain(0x143, "stval"), plain(0x143, "parkedStval")),
  {
    number: 0x144,
    read: delegatedView("mip"),
    // Only the software interrupt is writable from here.
    write: (c, value) => writeDelegated(c, "mip", value, softwareInterrupt),
    guest: guestPending,
    deprivileged: guestPending,
  },
  {
    number: 0x14d,
    read: field("stimecmp"),
    illegal: comparatorIllegal,
    write: (c, value) => writeComparator(c, "stimecmp", value),
    guest: {
      read: field("vstimecmp"),
      write: (c, value) => writeComparator(c, "vstimecmp", value),
      virtual: ({ state }) =>
        i32.or(i32.eqz(bits(guestEnvironment(state), envcfg.stce, 1)), i32.eqz(i32.and(state.low("hcounteren"), 2))),
    },
    deprivileged: { read: field("vstimecmp"), write: (c, value) => writeComparator(c, "vstimecmp", value) },
  },
  {
    number: 0x180,
    read: field("satp"),
    // In S-mode TVM makes it illegal, in VS-mode VTVM virtual.
    illegal: ({ state }) =>
      i32.and(i32.eq(state.get("privilege"), privilege.supervisor), bits(state.get("mstatus"), status.tvm, 1)),
    write: (c, value) => (c.model.tlb === "software" ? writeSoftwareSatp(c, value) : writeSatp(c, "satp", value)),
    guest: {
      virtual: ({ state }) => bits(state.get("hstatus"), hypervisorStatus.vtvm, 1),
      // A guest's tables are walked, as are those that translate for it.
      write: (c, value) => writeSatp(c, "satp", value),
    },
    deprivileged: "monitor",
  },
];
