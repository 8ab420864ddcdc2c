/* The front end of the console whose back end is the monitor's: a ring for each way. It looks at them whenever it is entered, so writing costs no call. */
#include "paravirtual.h"

enum { CONSOLE_DEVICE = 3, RING_SIZE = 2048 };

/* What its writer put into its own ring, and took from the other. */
struct PAGE_ALIGNED side {
	u32 put, taken, unused[510];
	char ring[RING_SIZE];
};
/* The monitor only reads the first, and writes the second. */
static volatile struct side output, input;

static void start(void)
{
	grant(CONSOLE_OUTPUT, (const void *)&output, GRANTED);
	grant(CONSOLE_INPUT, (const void *)&input, GRANTED | WRITABLE);
	hypercall(CONNECT, CONSOLE_DEVICE, CONSOLE_OUTPUT, CONSOLE_INPUT);
}

static void write(const char *text, u64 size)
{
	for (; size > 0; size--) {
		if (output.put - input.taken == RING_SIZE)
			hypercall(KICK, CONSOLE_DEVICE, 0, 0);
		output.ring[output.put % RING_SIZE] = *text++;
		output.put++;
	}
}

static long read(void)
{
	if (output.taken == input.put)
		return -1;
	char byte = input.ring[output.taken % RING_SIZE];
	output.taken++;
	return byte;
}

const struct console_driver split_console = { start, write, read };
