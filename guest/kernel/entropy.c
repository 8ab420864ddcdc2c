/* Random bytes for programs, from the driver that the platform has: one buffer at a time is asked for. */
#include "platform.h"

/* Whether there is a device; whether it has been asked; what it gave and nobody took yet. */
static int present, asked;
static u32 given;

void entropy_start(void)
{
	present = platform->entropy->start();
}

void entropy_interrupt(void)
{
	u32 size = platform->entropy->answer();

	if (size == 0)
		return;
	asked = 0;
	given = size;
	wake(&given);
}

long entropy_read(u64 to, u64 size)
{
	if (!present)
		return -1;
	if (given == 0) {
		if (!asked) {
			asked = 1;
			platform->entropy->ask();
		}
		return wait_for(&given);
	}
	size = size < given ? size : given;
	if (copy_out(&current->space, to, platform->entropy->buffer + given - size, size))
		return -1;
	given -= size;
	return size;
}
