/* What programs have: the system calls (../calls.h), and a few things that they all do. */
#pragma once
#include "calls.h"
#include "text.h"

/* A program's beginning: what stood behind its name. What it returns is its status. */
int main(const char *arguments);

static inline long call(long number, long a, long b, long c)
{
	register long a0 asm("a0") = a;
	register long a1 asm("a1") = b;
	register long a2 asm("a2") = c;
	register long a7 asm("a7") = number;
	asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
	return a0;
}

static inline void __attribute__((noreturn)) exit(int status)
{
	for (;;)
		call(CALL_EXIT, status, 0, 0);
}

static inline long fork(void)
{
	return call(CALL_FORK, 0, 0, 0);
}

static inline long wait(int *status)
{
	return call(CALL_WAIT, (long)status, 0, 0);
}

static inline long read(int file, void *to, long size)
{
	return call(CALL_READ, file, (long)to, size);
}

static inline long write(int file, const void *from, long size)
{
	return call(CALL_WRITE, file, (long)from, size);
}

static inline long map(long pages)
{
	return call(CALL_MAP, pages, 0, 0);
}

static inline long unmap(long address, long pages)
{
	return call(CALL_UNMAP, address, pages, 0);
}

static inline u64 ticks(void)
{
	u64 time;
	asm volatile("rdtime %0" : "=r"(time));
	return time;
}

/* Takes the program's place; returns if there is none of that name. */
void execute(const char *name, const char *arguments);
/* One call to the kernel for each. */
void print(const char *format, ...);
/* The number that the arguments begin with, or `otherwise`. */
long number_or(const char *arguments, long otherwise);
/* Does it so many times and says what that took: "measure NAME COUNT INSTRUCTIONS TICKS". Each time it gives 0, or -1 and ends the program. */
int measure(const char *name, long count, int (*once)(void));
