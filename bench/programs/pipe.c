/* Two processes send one byte back and forth over two pipes: system calls, wake-ups and context switches. */
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

static uint64_t run(uint64_t iterations) {
  int there[2], back[2];
  uint8_t byte = 0;
  uint64_t sum = 0;
  CHECK(pipe(there) == 0 && pipe(back) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    close(there[1]);
    while (read(there[0], &byte, 1) == 1) {
      byte = (uint8_t)(byte * 5 + 1);
      if (write(back[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  close(there[0]);
  for (uint64_t n = 0; n < iterations * 100; n++) {
    uint8_t sent = (uint8_t)n;
    CHECK(write(there[1], &sent, 1) == 1 && read(back[0], &byte, 1) == 1);
    CHECK(byte == (uint8_t)(sent * 5 + 1));
    sum = mix(sum, byte);
  }
  close(there[1]);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  return sum;
}
