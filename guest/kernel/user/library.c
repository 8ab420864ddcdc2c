#include "library.h"
#include <stdarg.h>

asm(".section .entry, \"ax\"\n.globl _start\n_start:\n\tcall main\n\tli a7, 0\n\tecall\n.text");

void execute(const char *name, const char *arguments)
{
	char name_copy[32] = "", arguments_copy[256] = "";

	memcpy(name_copy, name, length_of(name) < 31 ? length_of(name) : 31);
	memcpy(arguments_copy, arguments, length_of(arguments) < 255 ? length_of(arguments) : 255);
	call(CALL_EXEC, (long)name_copy, (long)arguments_copy, 0);
}

void print(const char *format, ...)
{
	char line[128];
	va_list arguments;

	va_start(arguments, format);
	u64 size = format_text(line, sizeof line, format, arguments);
	va_end(arguments);
	write(1, line, size);
}

long number_or(const char *arguments, long otherwise)
{
	long number = 0;

	if (*arguments < '0' || *arguments > '9')
		return otherwise;
	for (; *arguments >= '0' && *arguments <= '9'; arguments++)
		number = number * 10 + *arguments - '0';
	return number;
}

static u64 instructions(void)
{
	u64 count;
	asm volatile("rdinstret %0" : "=r"(count));
	return count;
}

int measure(const char *name, long count, int (*once)(void))
{
	u64 ticks_before = ticks(), instructions_before = instructions();

	for (long i = 0; i < count; i++)
		if (once()) {
			print("%s: failed after %d\n", name, i);
			return 1;
		}
	u64 instructions_after = instructions(), ticks_after = ticks();
	print("%s: %d done\n", name, count);
	print("measure %s %d %d %d\n", name, count, instructions_after - instructions_before, ticks_after - ticks_before);
	return 0;
}
