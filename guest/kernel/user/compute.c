/* Primes below a hundred thousand, by Eratosthenes' sieve. */
#include "library.h"

#define LIMIT 100000

static char *composite;

static int once(void)
{
	int primes = 0;

	memset(composite, 0, LIMIT);
	for (long i = 2; i < LIMIT; i++) {
		if (composite[i])
			continue;
		primes++;
		for (long j = i * i; j < LIMIT; j += i)
			composite[j] = 1;
	}
	return primes != 9592;
}

int main(const char *arguments)
{
	composite = (char *)map(LIMIT / 4096 + 1);
	return measure("compute", number_or(arguments, 5), once);
}
