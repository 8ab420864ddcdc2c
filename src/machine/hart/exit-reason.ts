/** Why `run` returned. */
export const ExitReason = {
  /** The budget is used up. */
  slice: 1,
  /** WFI with nothing pending: the pc is behind it. */
  wait: 2,
  /** ecall from S-mode for the built-in firmware: the pc is the ecall's. */
  firmware: 3,
  /** With `monitored`: a trap of the guest's that is the monitor's, see `exitCause` in layout.ts. The pc is the instruction's that trapped. */
  exit: 4,
} as const;
