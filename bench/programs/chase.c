/* Pointer chasing: one dependent load after another through a random cycle, over 64 KiB, 1 MiB and 16 MiB of cells. */
#include "bench.h"

/* A cell fills a cache line of 64 bytes, so that each step touches another one. */
struct cell {
  struct cell *next;
  uint64_t value, padding[6];
};

#define LARGEST (16 * 1024 * 1024 / sizeof(struct cell))
static struct cell cells[LARGEST];
static uint32_t order[LARGEST];

/* Links the first `count` cells into a single cycle in random order (Sattolo's shuffle). */
static void link_cells(uint32_t count, uint64_t seed) {
  for (uint32_t i = 0; i < count; i++) order[i] = i;
  for (uint32_t i = count - 1; i > 0; i--) {
    uint32_t j = (uint32_t)(next_random(&seed) % i), swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  for (uint32_t i = 0; i < count; i++) {
    cells[order[i]].next = &cells[order[(i + 1) % count]];
    cells[order[i]].value = i;
  }
}

static uint64_t run(uint64_t iterations) {
  static const uint32_t sizes[] = {64 * 1024, 1024 * 1024, 16 * 1024 * 1024};
  uint64_t sum = 0;
  for (int s = 0; s < 3; s++) {
    uint32_t count = sizes[s] / sizeof(struct cell);
    link_cells(count, (uint64_t)s);
    struct cell *cell = cells;
    for (uint64_t n = 0; n < iterations * 100000; n++) {
      sum += cell->value;
      cell = cell->next;
    }
    sum = mix(sum, (uint64_t)(cell - cells));
  }
  return sum;
}
