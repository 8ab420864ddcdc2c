/* A byte goes to another process and comes back: two context switches. */
#include "library.h"

static int there[2], back[2];

static int once(void)
{
	char byte = 'x';
	return write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1;
}

int main(const char *arguments)
{
	char byte;
	int status;

	if (call(CALL_PIPE, (long)there, 0, 0) || call(CALL_PIPE, (long)back, 0, 0))
		return 1;
	if (fork() == 0) {
		call(CALL_CLOSE, there[1], 0, 0);
		while (read(there[0], &byte, 1) == 1)
			write(back[1], &byte, 1);
		exit(0);
	}
	int failed = measure("pipe", number_or(arguments, 200), once);
	call(CALL_CLOSE, there[1], 0, 0);
	wait(&status);
	return failed;
}
