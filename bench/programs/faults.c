/* Page faults: map 4 MiB, touch each page for the first time, read each again, unmap. */
#include <sys/mman.h>
#include "bench.h"

#define PAGES 1024

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (uint64_t n = 0; n < iterations; n++) {
    volatile uint8_t *area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    /* Transparent huge pages would turn 512 faults into one. */
    madvise((void *)area, PAGES * 4096, MADV_NOHUGEPAGE);
    for (int page = 0; page < PAGES; page++) {
      CHECK(area[page * 4096 + 100] == 0);
      area[page * 4096] = (uint8_t)(page + n);
    }
    for (int page = 0; page < PAGES; page++) sum = mix(sum, area[page * 4096]);
    CHECK(munmap((void *)area, PAGES * 4096) == 0);
  }
  return sum;
}
