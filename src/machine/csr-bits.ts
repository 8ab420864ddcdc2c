/** Numbers and fields of control and status registers, causes and privilege levels (privileged manual). */

/**
 * With V = 1, bit 2 is set; the two bits below are the nominal privilege. Bit 3 is no privilege: it marks the kernel of a deprivileged guest in
 * U-mode whose privileged instructions are rewritten.
 */
export const privilege = { user: 0, supervisor: 1, machine: 3, virtualUser: 4, virtualSupervisor: 5, rewrittenKernel: 8 } as const;
export const virtualBit = 4;
/** Privilege and V, without the mark. */
export const privilegeMask = 7;

/**
 * What becomes of privileged instructions in a deprivileged kernel, beside trapping: nothing; those are rewritten that would not trap on a silent
 * machine; or all that the hart can do on the guest's registers. The latter two are indices of tables of CSRs.
 */
export const rewriting = { none: 0, silent: 2, all: privilege.rewrittenKernel } as const;

/** mstatus and sstatus (3.1.6, 12.1.1): the position of each field. */
export const status = {
  sie: 1,
  mie: 3,
  spie: 5,
  ube: 6,
  mpie: 7,
  spp: 8,
  mpp: 11,
  fs: 13,
  mprv: 17,
  sum: 18,
  mxr: 19,
  tvm: 20,
  tw: 21,
  tsr: 22,
  gva: 38,
  mpv: 39,
} as const;

/** hstatus (H extension, "Hypervisor Status Register"). VSXL, VSBE and VGEIN hold one value. */
export const hypervisorStatus = { gva: 6, spv: 7, spvp: 8, hu: 9, vtvm: 20, vtw: 21, vtsr: 22 } as const;

/** What sstatus shows of mstatus: SIE, SPIE, SPP, FS, SUM, MXR. UXL and SD are added when it is read. */
export const sstatusMask =
  (1n << 1n) | (1n << 5n) | (1n << 8n) | (3n << 13n) | (1n << 18n) | (1n << 19n);

/** Of sstatus, what counts in U-mode too. */
export const userStatusMask = (3n << 13n) | (1n << 19n);

/** What software can write of mstatus. */
export const mstatusMask =
  sstatusMask | (1n << 3n) | (1n << 7n) | (3n << 11n) | (1n << 17n) | (7n << 20n) | (3n << 38n);

/** UXL = SXL = 64 bits. */
export const mstatusXlen = (2n << 32n) | (2n << 34n);
export const sstatusXlen = 2n << 32n;

export const interrupt = {
  supervisorSoftware: 1,
  virtualSupervisorSoftware: 2,
  machineSoftware: 3,
  supervisorTimer: 5,
  virtualSupervisorTimer: 6,
  machineTimer: 7,
  supervisorExternal: 9,
  virtualSupervisorExternal: 10,
  machineExternal: 11,
  guestExternal: 12,
} as const;

/** The interrupts of HS-mode; those of VS-mode, each one bit above; and what mideleg always gives to HS-mode. */
export const supervisorInterrupts = 0x222;
export const virtualInterrupts = 0x444;
export const alwaysDelegated = virtualInterrupts | (1 << interrupt.guestExternal);

export const cause = {
  instructionMisaligned: 0,
  instructionAccess: 1,
  illegalInstruction: 2,
  breakpoint: 3,
  loadMisaligned: 4,
  loadAccess: 5,
  storeMisaligned: 6,
  storeAccess: 7,
  ecallFromUser: 8,
  ecallFromSupervisor: 9,
  ecallFromVirtualSupervisor: 10,
  ecallFromMachine: 11,
  instructionPage: 12,
  loadPage: 13,
  storePage: 15,
  instructionGuestPage: 20,
  loadGuestPage: 21,
  virtualInstruction: 22,
  storeGuestPage: 23,
  /** No trap, but what a monitor is told where it has put a call-out in the place of an instruction. In the custom range. */
  callOut: 63,
  // Designated for custom use (privileged manual, table of mcause): where software fills the TLB.
  instructionTlbMiss: 24,
  loadTlbMiss: 25,
  storeTlbMiss: 27,
} as const;

export const envcfg = { fiom: 0, cbie: 4, cbcfe: 6, cbze: 7, adue: 61, pbmte: 62, stce: 63 } as const;
