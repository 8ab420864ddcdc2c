/*
 * A fork bomb that does not go out: every process makes others without end. When there is no room for more it spins for a while, and by the toss of a
 * coin ends or goes on, so that the guest makes, schedules and buries processes all the time, with as many as it can hold. The first stands aside:
 * it is not to be killed for want of memory, buries orphans, and lights the fuse again should the rest be killed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SPIN 100000

static void set_oom_score(const char *score) {
  int file = open("/proc/self/oom_score_adj", O_WRONLY);
  if (write(file, score, strlen(score)) < 0) _exit(1);
  close(file);
}

static void explode(void) {
  for (;;) {
    pid_t child = fork();
    if (child == 0) srandom(getpid());
    if (child >= 0) continue;
    for (volatile int turn = 0; turn < SPIN; turn++) continue;
    if (random() & 1) _exit(0);
  }
}

int main(void) {
  set_oom_score("-1000");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  /* The dead need nobody to wait for them. */
  signal(SIGCHLD, SIG_IGN);
  for (;; sleep(1)) {
    if (fork() != 0) continue;
    set_oom_score("0");
    explode();
  }
}
