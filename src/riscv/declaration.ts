/**
 * What the instruction set says of an instruction as Popek and Goldberg look at it ("Formal Requirements for Virtualizable Third Generation
 * Architectures", 1974): whether it traps in user mode, and whether it is sensitive. A machine can be virtualized by traps alone if all
 * sensitive instructions are privileged. What they leave out stays out: traps for the sake of memory, and time.
 */

/** Control-sensitive: changes, without a trap, what decides how the machine goes on. Behaviour-sensitive: what it does depends on that, or on the mode. */
export type Sensitivity = "control" | "behaviour";

/** What only higher modes write, and an instruction of user mode asks before it executes. */
export const settings = ["mstatus.FS", "scounteren", "senvcfg", "hstatus.HU"] as const;
export type Setting = (typeof settings)[number];

/** `user`: in user mode, though a higher mode may execute it; that is "privileged". `everywhere`: in all modes. A setting: while it is zero. */
export type Trapping = "never" | "user" | "everywhere" | Setting;

export interface Declaration {
  readonly traps: Trapping;
  /** None: the instruction is innocuous. */
  readonly sensitive: readonly Sensitivity[];
}

export const innocuous: Declaration = { traps: "never", sensitive: [] };
/** Which CSR it is decides. */
export const accessesCsr: Declaration = { traps: "never", sensitive: ["control", "behaviour"] };
