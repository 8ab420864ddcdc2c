/*
 * Touches pages at random, most of them in the eighth of its memory that it uses most, and finds out whether they still hold what they did: so many
 * MiB (the first argument), so many times (the second).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE 4096
#define WORDS (PAGE / 8)

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  uint64_t pages = (uint64_t)atoi(argv[1]) << 8;
  long times = atol(argv[2]);
  volatile uint64_t *memory = aligned_alloc(PAGE, pages * PAGE);
  if (memory == NULL) return 1;
  for (uint64_t page = 0; page < pages; page++) memory[page * WORDS] = page * 0x9e3779b97f4a7c15u, memory[page * WORDS + 1] = 0;
  for (long i = 0; i < times; i++) {
    uint64_t chance = next_random();
    uint64_t page = (chance >> 8) % (chance & 7 ? pages / 8 : pages);
    volatile uint64_t *words = memory + page * WORDS;
    if (words[0] != page * 0x9e3779b97f4a7c15u) return 3;
    words[1]++;
  }
  uint64_t sum = 0;
  for (uint64_t page = 0; page < pages; page++) sum += memory[page * WORDS + 1];
  return sum == (uint64_t)times ? 0 : 4;
}
