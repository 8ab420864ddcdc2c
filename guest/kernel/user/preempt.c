/* Nobody gives the processor away, and yet the child has its turn. */
#include "library.h"

int main(const char *arguments)
{
	int status;

	(void)arguments;
	if (fork() == 0) {
		print("preempt: the child, while its parent computes\n");
		exit(0);
	}
	/* 100 ms. */
	for (u64 until = ticks() + 1000000; ticks() < until;)
		;
	print("preempt: the parent, after its child\n");
	return wait(&status) < 0 || status != 0;
}
