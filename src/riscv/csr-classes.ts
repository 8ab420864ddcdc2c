/** What the instruction set says of an access to a CSR: see declaration.ts. */
import { csrName } from "./csr-names.ts";
import type { Declaration, Trapping } from "./declaration.ts";

export type CsrAccess = "read" | "write";

/** The registers that hold one value here, as the manual allows: triggers, external interrupts of guests, counters of events, regions of protection beyond sixteen. */
const constant =
  /^(misa|mvendorid|marchid|mimpid|mconfigptr|mcountinhibit|tselect|tdata[12]|tinfo|hgeie|hgeip|m?hpm(counter|event)\d+|pmpcfg([4-9]|1\d)|pmpaddr(1[6-9]|[2-6]\d))$/;

function trapping(number: number, access: CsrAccess): Trapping {
  const isReadOnly = number >> 10 === 3;
  if (csrName(number) === "tdata3" || (isReadOnly && access === "write")) return "everywhere";
  if (number <= 3) return "mstatus.FS";
  // The level that a register belongs to is in its number (privileged manual, 2.1).
  return (number >> 8) & 3 ? "user" : "scounteren";
}

/** A write gives the old value too. */
export function declareCsr(number: number, access: CsrAccess): Declaration {
  const traps = trapping(number, access);
  const isFloat = number <= 3;
  if (isFloat || traps === "everywhere" || constant.test(csrName(number))) return { traps, sensitive: [] };
  return { traps, sensitive: access === "write" ? ["control", "behaviour"] : ["behaviour"] };
}
