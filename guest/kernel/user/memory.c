/* Pages are mapped, each written to, and unmapped: work on page tables. */
#include "library.h"

#define PAGES 64

static int once(void)
{
	long at = map(PAGES);

	if (at < 0)
		return -1;
	for (int i = 0; i < PAGES; i++) {
		volatile long *page = (volatile long *)(at + i * 4096l);
		if (*page != 0)
			return -1;
		*page = i;
	}
	return unmap(at, PAGES);
}

int main(const char *arguments)
{
	return measure("memory", number_or(arguments, 20), once);
}
