/* Starting programs: fork, exec of this same static program, exit, wait. */
#include <sys/wait.h>
#include <unistd.h>
#define BENCH_CHILD "--child"
#include "bench.h"

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (uint64_t n = 0; n < iterations; n++) {
    char number[8];
    snprintf(number, sizeof number, "%d", (int)(n & 0x7f));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      char *arguments[] = {"exec", BENCH_CHILD, number, NULL}, *environment[] = {NULL};
      execve("/proc/self/exe", arguments, environment);
      _exit(127);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == (int)(n & 0x7f));
    sum = mix(sum, (uint64_t)WEXITSTATUS(status));
  }
  return sum;
}
