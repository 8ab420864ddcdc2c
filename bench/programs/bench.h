/*
 * Shared by every benchmark program. A program includes this file and defines
 *
 *     static uint64_t run(uint64_t iterations);
 *
 * which does that many repetitions of its work and returns a checksum of all that it computed, so that no compiler
 * can leave work out and a machine that computes wrongly is caught. The host compares the line that main() prints
 * between machines; it holds nothing that may differ between two correct ones (no time, no address, no pid).
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t run(uint64_t iterations);

/* For failures of the program itself: a known answer that is not met, a system call that fails. */
#define CHECK(condition)                                                                   \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      printf("SELF-CHECK FAILED: %s (%s:%d)\n", #condition, __FILE_NAME__, __LINE__);      \
      exit(1);                                                                             \
    }                                                                                      \
  } while (0)

/* One step of a checksum: order matters, and every input bit reaches the high half. */
static inline uint64_t mix(uint64_t sum, uint64_t value) {
  sum = (sum ^ value) * 0x9e3779b97f4a7c15u;
  return sum ^ (sum >> 29);
}

static inline uint64_t mix_bytes(uint64_t sum, const void *data, size_t length) {
  const uint8_t *bytes = data;
  for (size_t i = 0; i < length; i++) sum = mix(sum, bytes[i]);
  return sum;
}

/* The bits of a double, so that a difference in the last place shows. */
static inline uint64_t mix_double(uint64_t sum, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return mix(sum, bits);
}

/* splitmix64 (Steele, Lea, Flood 2014): the same sequence on every machine, unlike rand(). */
static inline uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int main(int argc, char **argv) {
#ifdef BENCH_CHILD
  /* exec.c runs itself again as its own child. */
  if (argc > 1 && strcmp(argv[1], BENCH_CHILD) == 0) return argc > 2 ? atoi(argv[2]) : 0;
#endif
  uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  if (iterations == 0) {
    fprintf(stderr, "usage: %s [iterations]\n", argv[0]);
    return 2;
  }
  uint64_t checksum = run(iterations);
  const char *slash = strrchr(argv[0], '/');
  printf("%s iterations=%llu checksum=%016llx\n", slash ? slash + 1 : argv[0], (unsigned long long)iterations,
         (unsigned long long)checksum);
  return 0;
}

#endif
