#include "library.h"

int main(const char *arguments)
{
	(void)arguments;
	return 0;
}
