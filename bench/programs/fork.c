/* Making processes: fork, the child writes to some of its copied pages and exits, the parent waits. */
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

#define PAGES 64
static volatile uint8_t memory[PAGES * 4096];

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (int page = 0; page < PAGES; page++) memory[page * 4096] = (uint8_t)page;
  for (uint64_t n = 0; n < iterations; n++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      for (int page = 0; page < 8; page++) memory[page * 4096] += (uint8_t)n;
      _exit(memory[7 * 4096] & 0x7f);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == ((7 + n) & 0x7f));
    /* Copy on write: the child's stores are not the parent's. */
    CHECK(memory[7 * 4096] == 7);
    sum = mix(sum, (uint64_t)WEXITSTATUS(status));
  }
  return sum;
}
