/** Rows for the registers that the H extension adds to HS-mode, and VS-mode's registers as HS-mode and M-mode see them. */
import { conditional, i32, i64, type Expr } from "#wasm/expression.ts";
import { hypervisorStatus, interrupt, privilege, sstatusMask, sstatusXlen, status, virtualInterrupts } from "../csr-bits.ts";
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
  vector,
  withSd,
  writeMasked,
  zeros,
  type Context,
  type Csr,
} from "./csr-row.ts";
import { bits } from "./program.ts";
import { comparatorIllegal, guestView, writeComparator, writeGuestView, writeSatp } from "./supervisor-csrs.ts";
import { guestEnvironment } from "./two-stage-translation.ts";

/** VSXL = 64 bits. */
const hstatusXlen = 2n << 32n;
const hstatusMask = Object.values(hypervisorStatus).reduce((mask, position) => mask | (1n << BigInt(position)), 0n);

/** Table "Bits of hedeleg": no ecalls from supervisors or machines, and nothing that concerns guest physical addresses. */
const guestExceptions = 0xb1ffn;

const virtualSoftwareInterrupt = 1 << interrupt.virtualSupervisorSoftware;

/** Of a mode that isn't there, the rest is written all the same; the root is aligned to its four pages. VMIDs have 14 bits. */
const hgatp: Csr = {
  number: 0x680,
  read: field("hgatp"),
  illegal: ({ state }) =>
    i32.and(i32.eq(state.get("privilege"), privilege.supervisor), bits(state.get("mstatus"), status.tvm, 1)),
  write: (c, value) => {
    const mode = c.f.let(i64.shrU(value, 60));
    const isThere = i32.or(i64.eqz(mode), i64.leU(i64.sub(mode, 8), 2));
    const rest = (1n << 58n) - 4n;
    const modeMask = 15n << 60n;
    c.state.set(
      "hgatp",
      i64.or(i64.and(value, rest), i64.and(conditional(isThere, value, c.state.get("hgatp")), modeMask)),
    );
    c.f.call(c.selectBank, [c.state.base]);
  },
};

function writePending(c: Context, value: Expr, mask: number): void {
  writeMasked(c, "mip", value, c.f.let(i64.const(mask)));
  attention(c);
}

export const hypervisorCsrs: readonly Csr[] = [
  {
    number: 0x600,
    read: ({ state }) => i64.or(state.get("hstatus"), hstatusXlen),
    write: (c, value) => c.state.set("hstatus", i64.and(value, hstatusMask)),
  },
  plain(0x602, "hedeleg", guestExceptions),
  plain(0x603, "hideleg", BigInt(virtualInterrupts), attention),
  {
    number: 0x604,
    read: ({ state }) => i64.and(state.get("mie"), virtualInterrupts),
    write: (c, value) => {
      writeMasked(c, "mie", value, c.f.let(i64.const(virtualInterrupts)));
      attention(c);
    },
  },
  plain(0x605, "htimedelta", -1n, (c) => {
    c.f.call(c.updateTimer, [c.state.base]);
    attention(c);
  }),
  plain(0x606, "hcounteren", 0xffffffffn),
  // There are no guest external interrupts (GEILEN = 0): hgeie, hgeip.
  zeros(0x607),
  { number: 0xe12, read: constant(0) },
  {
    ...environment(0x60a, "henvcfg", environmentMask | environmentHighMask, (c) => {
      c.f.call(c.updateTimer, [c.state.base]);
      attention(c);
    }),
    read: ({ state }) => guestEnvironment(state),
  },
  plain(0x643, "htval"),
  {
    number: 0x644,
    read: (c) => i64.and(pendingInterrupts(c), virtualInterrupts),
    // Set and clear work on what software set.
    write: (c, value) => {
      c.f.set(value, c.updated(c.state.get("mip")));
      writePending(c, value, virtualSoftwareInterrupt);
    },
  },
  {
    number: 0x645,
    read: ({ state }) => i64.and(state.get("mip"), virtualInterrupts),
    write: (c, value) => writePending(c, value, virtualInterrupts),
  },
  plain(0x64a, "htinst"),
  hgatp,

  {
    number: 0x200,
    read: ({ state }) => i64.or(withSd(state.get("parkedStatus")), sstatusXlen),
    write: (c, value) => {
      c.state.set("parkedStatus", i64.and(value, sstatusMask));
      c.f.call(c.selectBank, [c.state.base]);
    },
  },
  {
    number: 0x204,
    read: guestView("mie"),
    write: (c, value) => writeGuestView(c, "mie", value, virtualInterrupts),
  },
  vector(0x205, "parkedStvec"),
  plain(0x240, "parkedSscratch"),
  address(0x241, "parkedSepc"),
  plain(0x242, "parkedScause"),
  plain(0x243, "parkedStval"),
  {
    number: 0x244,
    read: guestView("mip"),
    write: (c, value) => writeGuestView(c, "mip", value, virtualSoftwareInterrupt),
  },
  {
    number: 0x24d,
    read: field("vstimecmp"),
    illegal: comparatorIllegal,
    write: (c, value) => writeComparator(c, "vstimecmp", value),
  },
  {
    number: 0x280,
    read: field("parkedSatp"),
    write: (c, value) => writeSatp(c, "parkedSatp", value),
  },
];
