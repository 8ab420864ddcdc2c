/* What a program may not do, and what it must be able to rely on. */
#include "library.h"

#define KERNEL 0x80200000ul

static int shared = 1;

static void read_kernel(void) { (void)*(volatile long *)KERNEL; }
static void write_kernel(void) { *(volatile long *)KERNEL = 0; }
static void run_kernel(void) { ((void (*)(void))KERNEL)(); }
static void read_nothing(void) { (void)*(volatile long *)(KERNEL / 2 - 8); }
static void read_device(void) { (void)*(volatile char *)0x10000000; }
static void read_top(void) { (void)*(volatile long *)-4096; }
static void privileged(void) { asm volatile("csrr zero, sstatus"); }
static void return_from_trap(void) { asm volatile("sret"); }
static void breakpoint(void) { asm volatile("ebreak"); }

static const struct {
	const char *what;
	void (*action)(void);
} forbidden[] = {
	{ "read the kernel", read_kernel }, { "write the kernel", write_kernel }, { "run the kernel", run_kernel }, { "read where nothing is", read_nothing },
	{ "read a device", read_device }, { "read the last page", read_top }, { "read sstatus", privileged }, { "sret", return_from_trap },
	{ "ebreak", breakpoint },
};

static int in_child(void (*action)(void))
{
	int status = -1;

	if (fork() == 0) {
		action();
		exit(0);
	}
	wait(&status);
	return status;
}

static void write_shared(void) { exit(++shared); }

int main(const char *arguments)
{
	(void)arguments;
	for (int i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
		print("check: %s: %d\n", forbidden[i].what, (long)in_child(forbidden[i].action));
	print("check: an unknown call: %d\n", call(1000, 0, 0, 0));
	print("check: a write from the kernel's memory: %d\n", write(1, (void *)KERNEL, 16));
	print("check: a read into nothing: %d\n", call(CALL_RANDOM, 0, 8, 0));
	int status = in_child(write_shared);
	print("check: a copy of its own: %d and %d\n", (long)status, (long)shared);
	return 0;
}
