/*
 * Runs an image of machine code at a fixed address and writes out what it made of its memory. Built for riscv64 and run under
 * QEMU's user mode, it is the reference that our hart is held against.
 *
 *   harness SIZE < image > image-afterwards
 *
 * The image begins with a jump to its code, and has at offset 8 room for the address to return to. It may change every register.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BASE 0x80000000UL

uint64_t saved[32];
void enter(uint64_t *back, void *code);

__asm__(
  ".text\n.globl enter\nenter:\n"
  " la t0, saved\n"
  " sd ra, 0(t0)\n sd sp, 8(t0)\n sd gp, 16(t0)\n sd tp, 24(t0)\n"
  " sd s0, 32(t0)\n sd s1, 40(t0)\n sd s2, 48(t0)\n sd s3, 56(t0)\n sd s4, 64(t0)\n sd s5, 72(t0)\n"
  " sd s6, 80(t0)\n sd s7, 88(t0)\n sd s8, 96(t0)\n sd s9, 104(t0)\n sd s10, 112(t0)\n sd s11, 120(t0)\n"
  " fsd fs0, 128(t0)\n fsd fs1, 136(t0)\n fsd fs2, 144(t0)\n fsd fs3, 152(t0)\n fsd fs4, 160(t0)\n fsd fs5, 168(t0)\n"
  " fsd fs6, 176(t0)\n fsd fs7, 184(t0)\n fsd fs8, 192(t0)\n fsd fs9, 200(t0)\n fsd fs10, 208(t0)\n fsd fs11, 216(t0)\n"
  " la t1, back\n sd t1, 0(a0)\n jr a1\n"
  "back:\n"
  " la t0, saved\n"
  " ld ra, 0(t0)\n ld sp, 8(t0)\n ld gp, 16(t0)\n ld tp, 24(t0)\n"
  " ld s0, 32(t0)\n ld s1, 40(t0)\n ld s2, 48(t0)\n ld s3, 56(t0)\n ld s4, 64(t0)\n ld s5, 72(t0)\n"
  " ld s6, 80(t0)\n ld s7, 88(t0)\n ld s8, 96(t0)\n ld s9, 104(t0)\n ld s10, 112(t0)\n ld s11, 120(t0)\n"
  " fld fs0, 128(t0)\n fld fs1, 136(t0)\n fld fs2, 144(t0)\n fld fs3, 152(t0)\n fld fs4, 160(t0)\n fld fs5, 168(t0)\n"
  " fld fs6, 176(t0)\n fld fs7, 184(t0)\n fld fs8, 192(t0)\n fld fs9, 200(t0)\n fld fs10, 208(t0)\n fld fs11, 216(t0)\n"
  " fscsr zero\n ret\n");

int main(int argc, char **argv) {
  size_t size = argc > 1 ? strtoul(argv[1], 0, 0) : 0;
  uint8_t *image = mmap((void *)BASE, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (image != (uint8_t *)BASE) return 2;
  if (fread(image, 1, size, stdin) != size) return 3;
  enter((uint64_t *)(image + 8), image);
  fwrite(image, 1, size, stdout);
  return 0;
}
