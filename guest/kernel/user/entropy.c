/* The driver at work. */
#include "library.h"

static int once(void)
{
	u64 bytes[2] = { 0, 0 };
	return call(CALL_RANDOM, (long)bytes, sizeof bytes, 0) <= 0 || (bytes[0] | bytes[1]) == 0;
}

int main(const char *arguments)
{
	return measure("entropy", number_or(arguments, 20), once);
}
