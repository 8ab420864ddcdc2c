/* Filling memory: the C library's memset(), from 24 bytes to 4 MiB, and summing what was written. */
#include "bench.h"

#define LARGE (4 * 1024 * 1024)
static uint8_t area[LARGE + 64];

static uint64_t run(uint64_t iterations) {
  static const size_t sizes[] = {24, 200, 4096, 64 * 1024, LARGE};
  void *(*volatile fill)(void *, int, size_t) = memset;
  uint64_t sum = 0;
  for (uint64_t n = 0; n < iterations; n++) {
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
      size_t size = sizes[s], times = LARGE / size;
      for (size_t t = 0; t < times; t++) fill(area + (t & 7), (int)(n + t), size);
      sum = mix(sum, area[size - 1]);
    }
    /* One word of each cache line is read back: a fill that is skipped is seen. */
    for (size_t i = 0; i < LARGE; i += 64) sum += *(volatile uint64_t *)(area + i);
  }
  return sum;
}
