/*
 * Touches a known set of pages: of as many MiB as it is told by the first argument's file, which may change at any time, every page once in each pass, and
 * then rests for as many milliseconds as the second says. The third is the most MiB that it will ever be told. No two pages hold the same.
 * When it has touched another number of MiB for the first time, it writes that to its standard output, as a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <unistd.h>

#define PAGE 4096
#define MIB (1 << 20)

static unsigned wanted(const char *path, unsigned most) {
  unsigned mib = 0;
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  if (fscanf(file, "%u", &mib) != 1) mib = 0;
  fclose(file);
  return mib < most ? mib : most;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  unsigned most = atoi(argv[3]);
  volatile uint64_t *memory = aligned_alloc(PAGE, (size_t)most * MIB);
  if (memory == NULL) return 1;
  uint64_t seed = (uint64_t)getpid() << 32;
  for (unsigned pass = 0, mib = 0, before = 0;; pass++, before = mib) {
    mib = wanted(argv[1], most);
    size_t pages = (size_t)mib * (MIB / PAGE);
    for (size_t page = 0; page < pages; page++) {
      volatile uint64_t *word = memory + page * (PAGE / sizeof *memory);
      word[0] = seed + page, word[1] = pass;
    }
    if (mib != before) printf("%u\n", mib), fflush(stdout);
    usleep(1000 * atoi(argv[2]));
  }
}
