/** How a process of ours ends. A guest's own status, 0 to 255, is passed on as it is, and may be any of these. */
export const ExitStatus = {
  success: 0,
  /** The command line, or a file that it names, is wrong: one line says what to do. */
  badInput: 2,
  /** A bug of ours: a stack trace says where. EX_SOFTWARE of sysexits.h. */
  internal: 70,
  /** The guest's kernel panicked. EX_OSERR. */
  crash: 71,
  /** A signal's number is added, as shells do. */
  signal: 128,
} as const;
