/* A child that ends at once. */
#include "library.h"

static int once(void)
{
	int status;

	if (fork() == 0)
		exit(7);
	return wait(&status) < 0 || status != 7;
}

int main(const char *arguments)
{
	long before = call(CALL_FREE, 0, 0, 0);
	int failed = measure("fork", number_or(arguments, 50), once);

	print("fork: %d pages lost\n", before - call(CALL_FREE, 0, 0, 0));
	return failed;
}
