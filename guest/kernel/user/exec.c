/* A child that becomes another program, which ends at once. */
#include "library.h"

static int once(void)
{
	int status;

	if (fork() == 0) {
		execute("true", "");
		exit(1);
	}
	return wait(&status) < 0 || status != 0;
}

int main(const char *arguments)
{
	return measure("exec", number_or(arguments, 20), once);
}
