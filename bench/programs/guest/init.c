/*
 * The first process of a benchmark guest. It reads command lines from the console, runs each and prints a marker when it
 * ends, so that the host can take the time. Markers are lines of their own:
 *
 *     @@ready                                          once, when commands may be sent
 *     @@done STATUS GUEST_NS USER_US SYSTEM_US         STATUS as a shell gives it: 128 + signal if killed
 *
 * GUEST_NS is the guest's own idea of the time taken: a check on its clock, not a result.
 * "poweroff" turns the machine off. Words are separated by spaces; there is no quoting.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void prepare(void) {
  mkdir("/proc", 0555), mkdir("/sys", 0555), mkdir("/dev", 0755), mkdir("/tmp", 01777);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  /* The kernel's own lines would fall into the middle of ours. */
  klogctl(8, NULL, 1);
  setenv("PATH", "/bench:/usr/bin:/bin:/usr/sbin:/sbin", 1);
  setenv("HOME", "/tmp", 1);
  setenv("LC_ALL", "C", 1);
  /* The same dictionaries in every run. */
  setenv("PYTHONHASHSEED", "0", 1);
  chdir("/tmp");

  /* No echo, no translation of ends of line: what the host reads is what programs wrote. */
  struct termios terminal;
  if (tcgetattr(0, &terminal) == 0) {
    cfmakeraw(&terminal);
    tcsetattr(0, TCSANOW, &terminal);
  }
}

static int read_line(char *line, size_t size) {
  size_t length = 0;
  for (;;) {
    char c;
    ssize_t got = read(0, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    if (c == '\n' || c == '\r') break;
    if (length + 1 < size) line[length++] = c;
  }
  line[length] = 0;
  return 1;
}

static int run(char *line, struct rusage *usage) {
  char *words[32];
  int count = 0;
  for (char *word = strtok(line, " "); word && count < 31; word = strtok(NULL, " ")) words[count++] = word;
  words[count] = NULL;
  if (count == 0) return 0;
  pid_t child = fork();
  if (child == 0) {
    /* A program that reads its input must not eat the next command. */
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    execvp(words[0], words);
    printf("%s: %s\n", words[0], strerror(errno));
    fflush(stdout);
    _exit(127);
  }
  int status = 0;
  pid_t ended;
  /* As the first process we inherit orphans: they are waited for too. */
  do ended = wait4(-1, &status, 0, usage);
  while (ended != child && !(ended < 0 && errno != EINTR));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static long microseconds(struct timeval time) { return time.tv_sec * 1000000L + time.tv_usec; }

int main(void) {
  static char line[4096];
  prepare();
  /* ENQ is how the default image tells a host at the other end of a pipe that it may send; another host ignores it. */
  printf("\005\n@@ready\n");
  fflush(stdout);
  while (read_line(line, sizeof line) && strcmp(line, "poweroff") != 0) {
    struct timespec begin, end;
    struct rusage usage = {0};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int status = run(line, &usage);
    clock_gettime(CLOCK_MONOTONIC, &end);
    long nanoseconds = (end.tv_sec - begin.tv_sec) * 1000000000L + end.tv_nsec - begin.tv_nsec;
    printf("\n@@done %d %ld %ld %ld\n", status, nanoseconds, microseconds(usage.ru_utime), microseconds(usage.ru_stime));
    fflush(stdout);
  }
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
