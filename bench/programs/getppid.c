/* The cheapest system call: trap, kernel entry, return. */
#include <sys/syscall.h>
#include <unistd.h>
#include "bench.h"

static uint64_t run(uint64_t iterations) {
  long parent = syscall(SYS_getppid);
  uint64_t same = 0;
  for (uint64_t n = 0; n < iterations * 1000; n++) same += syscall(SYS_getppid) == parent;
  CHECK(same == iterations * 1000);
  return mix(0, same);
}
