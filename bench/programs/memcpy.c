/* Copying: the C library's memcpy() and memmove(), from 32 bytes to 4 MiB, aligned and not. */
#include "bench.h"

#define LARGE (4 * 1024 * 1024)
static uint8_t from[LARGE + 64], to[LARGE + 64];

static uint64_t run(uint64_t iterations) {
  static const size_t sizes[] = {32, 100, 1024, 16 * 1024, 256 * 1024, LARGE};
  uint64_t seed = 3, sum = 0;
  for (size_t i = 0; i < sizeof from; i += 8) {
    uint64_t random = next_random(&seed);
    memcpy(from + i, &random, 8);
  }
  /* Through a pointer that the compiler can't see through, so that calls stay calls. */
  void *(*volatile copy)(void *, const void *, size_t) = memcpy;
  void *(*volatile move)(void *, const void *, size_t) = memmove;
  for (uint64_t n = 0; n < iterations; n++) {
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
      size_t size = sizes[s];
      /* Two sizes in three aligned, one copied from an odd address; the small ones more often, 2 MiB of each. */
      size_t skew = s % 3 == 1 ? 3 : 0;
      size_t times = size >= LARGE / 2 ? 1 : LARGE / 2 / size;
      for (size_t t = 0; t < times; t++) copy(to + t % 8 * 8, from + skew + (t & 1) * 8, size);
      sum = mix(sum, to[size / 2 + 8]);
    }
    move(from + 8, from, LARGE / 4);
    sum = mix(sum, from[LARGE / 8]);
  }
  return mix_bytes(sum, to, 4096);
}
