/*
 * Work on files, as a file server does it: reads and writes of 16 KiB at random places of random files, half of them in the quarter that is asked for most.
 * Arguments: a directory, how many files of 256 KiB there are in it (made, if they aren't there), and how many operations are to be done. With 0 operations
 * it goes on for ever, and writes to the standard output, each second, how many it has done in that.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE (256 * 1024)
#define PIECE (16 * 1024)

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static uint64_t piece[PIECE / 8];

static int open_file(const char *directory, unsigned number) {
  char path[256];
  snprintf(path, sizeof path, "%s/%u", directory, number);
  int file = open(path, O_RDWR | O_CREAT, 0644);
  if (file < 0) perror(path), exit(1);
  if (lseek(file, 0, SEEK_END) >= SIZE) return file;
  for (int at = 0; at < SIZE; at += PIECE) {
    for (unsigned i = 0; i < PIECE / 8; i++) piece[i] = next_random();
    if (pwrite(file, piece, PIECE, at) != PIECE) perror(path), exit(1);
  }
  return file;
}

static void operate(const char *directory, unsigned files) {
  uint64_t chance = next_random();
  unsigned among = chance & 1 && files >= 4 ? files / 4 : files;
  int file = open_file(directory, (chance >> 8) % among);
  off_t at = (off_t)((chance >> 40) % (SIZE / PIECE)) * PIECE;
  int writes = ((chance >> 1) & 3) == 0;
  if (!writes && pread(file, piece, PIECE, at) != PIECE) perror("read"), exit(1);
  piece[chance % (PIECE / 8)] ^= chance;
  if (writes && pwrite(file, piece, PIECE, at) != PIECE) perror("write"), exit(1);
  close(file);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  unsigned files = atoi(argv[2]);
  long operations = atol(argv[3]);
  for (unsigned number = 0; number < files; number++) close(open_file(argv[1], number));
  if (operations > 0) {
    for (long done = 0; done < operations; done++) operate(argv[1], files);
    return 0;
  }
  for (time_t second = time(NULL);;) {
    long done = 0;
    for (; time(NULL) == second; done++) operate(argv[1], files);
    second = time(NULL);
    printf("%ld\n", done);
    fflush(stdout);
  }
}
