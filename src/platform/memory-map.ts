/**
 * Where things stand: as on QEMU's `virt` board for RISC-V, so that what is built for that board runs here unchanged.
 *
 *     0x0000_1000  boot ROM            0x0c00_0000  PLIC
 *     0x0010_0000  test finisher       0x1000_0000  UART            source 10
 *     0x0010_1000  RTC   source 11     0x1000_1000  virtio slots    sources 1 to 8
 *     0x0200_0000  CLINT               0x1000_9000  a VM's balloon  source 9
 *                                      0x8000_0000  memory
 */
export const address = {
  bootRom: 0x1000,
  test: 0x10_0000,
  rtc: 0x10_1000,
  clint: 0x200_0000,
  plic: 0xc00_0000,
  uart: 0x1000_0000,
  virtio: 0x1000_1000,
  memory: 0x8000_0000,
} as const;

/** Sources of the PLIC; slot n of virtio has `virtio` + n. */
export const source = { virtio: 1, uart: 10, rtc: 11 } as const;

export const virtioSlots = 8;
/** For the balloon, which only VMs have: a ninth slot behind those of QEMU's board, so that it takes none of them. */
export const balloonSlot = virtioSlots;
export const virtioSlotSize = 0x1000;
