/* Linux's system calls on RISC-V, as far as the agent needs them, and the rest of what a C library would be. */
#pragma once
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/wait.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define NULL ((void *)0)

void *memcpy(void *to, const void *from, u64 size);
void *memmove(void *to, const void *from, u64 size);
void *memset(void *to, int byte, u64 size);
int memcmp(const void *one, const void *other, u64 size);
u64 strlen(const char *text);

/* The result, or -errno. */
static inline long system_call(long number, long a, long b, long c, long d, long e)
{
	register long a0 asm("a0") = a;
	register long a1 asm("a1") = b;
	register long a2 asm("a2") = c;
	register long a3 asm("a3") = d;
	register long a4 asm("a4") = e;
	register long a7 asm("a7") = number;
	asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
	return a0;
}

static inline long sys_read(int fd, void *to, u64 size)
{
	return system_call(__NR_read, fd, (long)to, size, 0, 0);
}

static inline long sys_write(int fd, const void *from, u64 size)
{
	return system_call(__NR_write, fd, (long)from, size, 0, 0);
}

static inline int sys_open(const char *path, int flags)
{
	return system_call(__NR_openat, AT_FDCWD, (long)path, flags, 0, 0);
}

static inline void sys_close(int fd)
{
	system_call(__NR_close, fd, 0, 0, 0, 0);
}

static inline long sys_getdents(int fd, void *to, u64 size)
{
	return system_call(__NR_getdents64, fd, (long)to, size, 0, 0);
}

static inline int sys_pipe(int ends[2], int flags)
{
	return system_call(__NR_pipe2, (long)ends, flags, 0, 0, 0);
}

static inline void sys_dup(int fd, int as)
{
	system_call(__NR_dup3, fd, as, 0, 0, 0);
}

static inline void sys_set_flags(int fd, int flags)
{
	system_call(__NR_fcntl, fd, F_SETFL, flags, 0, 0);
}

/* Does not return if it succeeds. */
static inline int sys_execve(const char *path, const char *const argv[], const char *const env[])
{
	return system_call(__NR_execve, (long)path, (long)argv, (long)env, 0, 0);
}

/* fork, with a descriptor of the child that can be polled. */
static inline int sys_fork(int *pidfd)
{
	return system_call(__NR_clone, CLONE_PIDFD | SIGCHLD, 0, (long)pidfd, 0, 0);
}

static inline void __attribute__((noreturn)) sys_exit(int status)
{
	for (;;)
		system_call(__NR_exit_group, status, 0, 0, 0, 0);
}

static inline int sys_waitid(int type, int id, siginfo_t *info, int options)
{
	return system_call(__NR_waitid, type, id, (long)info, options, 0);
}

static inline int sys_kill(int pid, int signal)
{
	return system_call(__NR_kill, pid, signal, 0, 0, 0);
}

static inline void sys_setsid(void)
{
	system_call(__NR_setsid, 0, 0, 0, 0, 0);
}

static inline int sys_chdir(const char *path)
{
	return system_call(__NR_chdir, (long)path, 0, 0, 0, 0);
}

/* `handler`: SIG_DFL or SIG_IGN. */
static inline void sys_signal(int signal, __sighandler_t handler)
{
	struct sigaction action = { .sa_handler = handler };
	system_call(__NR_rt_sigaction, signal, (long)&action, 0, sizeof(sigset_t), 0);
}

/* Returns when one of them is ready, or after so many milliseconds; never by itself if that is negative. */
static inline int sys_poll(struct pollfd *fds, u32 count, long milliseconds)
{
	struct { long seconds, nanoseconds; } time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	return system_call(__NR_ppoll, (long)fds, count, milliseconds < 0 ? 0 : (long)&time, 0, 0);
}

static inline void sleep_for(long milliseconds)
{
	sys_poll(NULL, 0, milliseconds);
}
