/*
 * Runs floating-point instructions on records from standard input and writes results and flags to standard output: built for
 * riscv64 and run under QEMU's user mode, it is the reference that our functions are held against. operations.ts describes
 * the records and numbers the operations; the table at the end is in the same order.
 */
#include <stdint.h>
#include <stdio.h>

struct test_case { uint8_t operation, rm, unused[6]; uint64_t a, b, c; };
struct result { uint64_t bits; uint32_t fflags, unused; };

/* Operands go into f registers as bits: NaN-boxed by fmv.w.x, whole by fmv.d.x. */
#define OPERANDS_S "fmv.w.x ft0, %1\n fmv.w.x ft1, %2\n fmv.w.x ft2, %3\n"
#define OPERANDS_D "fmv.d.x ft0, %1\n fmv.d.x ft1, %2\n fmv.d.x ft2, %3\n"
#define RESULT_S "fmv.x.w %0, ft3\n"
#define RESULT_D "fmv.x.d %0, ft3\n"

#define DEFINE(name, before, instruction, after)                                     \
  static uint64_t name(uint64_t a, uint64_t b, uint64_t c) {                         \
    uint64_t bits;                                                                   \
    __asm__ volatile(before instruction "\n" after                                   \
                     : "=&r"(bits) : "r"(a), "r"(b), "r"(c)                          \
                     : "ft0", "ft1", "ft2", "ft3");                                  \
    return bits;                                                                     \
  }

/* All instructions of one format, whose suffix is f. Those that round do so in the mode in frm. */
#define DEFINE_FORMAT(f, OPERANDS, RESULT)                                           \
  DEFINE(add_##f, OPERANDS, "fadd." #f " ft3, ft0, ft1, dyn", RESULT)                \
  DEFINE(sub_##f, OPERANDS, "fsub." #f " ft3, ft0, ft1, dyn", RESULT)                \
  DEFINE(mul_##f, OPERANDS, "fmul." #f " ft3, ft0, ft1, dyn", RESULT)                \
  DEFINE(div_##f, OPERANDS, "fdiv." #f " ft3, ft0, ft1, dyn", RESULT)                \
  DEFINE(sqrt_##f, OPERANDS, "fsqrt." #f " ft3, ft0, dyn", RESULT)                   \
  DEFINE(fma_##f, OPERANDS, "fmadd." #f " ft3, ft0, ft1, ft2, dyn", RESULT)          \
  DEFINE(min_##f, OPERANDS, "fmin." #f " ft3, ft0, ft1", RESULT)                     \
  DEFINE(max_##f, OPERANDS, "fmax." #f " ft3, ft0, ft1", RESULT)                     \
  DEFINE(eq_##f, OPERANDS, "feq." #f " %0, ft0, ft1", "")                            \
  DEFINE(lt_##f, OPERANDS, "flt." #f " %0, ft0, ft1", "")                            \
  DEFINE(le_##f, OPERANDS, "fle." #f " %0, ft0, ft1", "")                            \
  DEFINE(class_##f, OPERANDS, "fclass." #f " %0, ft0", "")                           \
  DEFINE(f_w_##f, OPERANDS, "fcvt.w." #f " %0, ft0, dyn", "")                        \
  DEFINE(w_f_##f, OPERANDS, "fcvt." #f ".w ft3, %1", RESULT)                         \
  DEFINE(f_wu_##f, OPERANDS, "fcvt.wu." #f " %0, ft0, dyn", "")                      \
  DEFINE(wu_f_##f, OPERANDS, "fcvt." #f ".wu ft3, %1", RESULT)                       \
  DEFINE(f_l_##f, OPERANDS, "fcvt.l." #f " %0, ft0, dyn", "")                        \
  DEFINE(l_f_##f, OPERANDS, "fcvt." #f ".l ft3, %1, dyn", RESULT)                    \
  DEFINE(f_lu_##f, OPERANDS, "fcvt.lu." #f " %0, ft0, dyn", "")                      \
  DEFINE(lu_f_##f, OPERANDS, "fcvt." #f ".lu ft3, %1, dyn", RESULT)

DEFINE_FORMAT(s, OPERANDS_S, RESULT_S)
DEFINE_FORMAT(d, OPERANDS_D, RESULT_D)
DEFINE(s_d, OPERANDS_S, "fcvt.d.s ft3, ft0", RESULT_D)
DEFINE(d_s, OPERANDS_D, "fcvt.s.d ft3, ft0, dyn", RESULT_S)

#define LIST_FORMAT(f)                                                               \
  add_##f, sub_##f, mul_##f, div_##f, sqrt_##f, fma_##f, min_##f, max_##f,           \
  eq_##f, lt_##f, le_##f, class_##f, f_w_##f, w_f_##f, f_wu_##f, wu_f_##f,           \
  f_l_##f, l_f_##f, f_lu_##f, lu_f_##f

static uint64_t (*const operations[])(uint64_t, uint64_t, uint64_t) = {
  LIST_FORMAT(s), LIST_FORMAT(d), s_d, d_s
};
#define FIRST_D 20
#define D_TO_S 41

/* fmv.x.w extends the sign: a binary32 result is written with zeros above it. */
static int is_single(unsigned operation) {
  if (operation >= FIRST_D) return operation == D_TO_S;
  return operation < 8 || operation == 13 || operation == 15 || operation == 17 || operation == 19;
}

int main(void) {
  static struct test_case cases[4096];
  static struct result results[4096];
  size_t count;
  while ((count = fread(cases, sizeof cases[0], 4096, stdin)) > 0) {
    for (size_t i = 0; i < count; i++) {
      const struct test_case *t = &cases[i];
      uint64_t fcsr = (uint64_t)t->rm << 5;
      __asm__ volatile("fscsr %0" : : "r"(fcsr));
      uint64_t bits = operations[t->operation](t->a, t->b, t->c);
      __asm__ volatile("frcsr %0" : "=r"(fcsr));
      results[i].bits = is_single(t->operation) ? (uint32_t)bits : bits;
      results[i].fflags = fcsr & 31;
    }
    fwrite(results, sizeof results[0], count, stdout);
  }
  return 0;
}
