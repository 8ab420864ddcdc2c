#include "system.h"

int main(void);

/* Where the kernel enters the program: the linker's relaxed accesses need gp. */
asm(".globl _start\n"
    "_start:\n"
    ".option push\n"
    ".option norelax\n"
    "	la gp, __global_pointer$\n"
    ".option pop\n"
    "	call main\n"
    "	li a7, 94\n" /* exit_group */
    "	ecall\n");

/* The compiler calls these of itself. */

void *memcpy(void *to, const void *from, u64 size)
{
	u8 *out = to;
	const u8 *in = from;

	if (((u64)out | (u64)in) % 8 == 0)
		for (; size >= 8; size -= 8, out += 8, in += 8)
			*(u64 *)out = *(const u64 *)in;
	while (size-- > 0)
		*out++ = *in++;
	return to;
}

void *memmove(void *to, const void *from, u64 size)
{
	u8 *out = to;
	const u8 *in = from;

	if (out <= in)
		return memcpy(to, from, size);
	while (size-- > 0)
		out[size] = in[size];
	return to;
}

void *memset(void *to, int byte, u64 size)
{
	for (u8 *out = to; size-- > 0;)
		*out++ = byte;
	return to;
}

int memcmp(const void *one, const void *other, u64 size)
{
	const u8 *a = one, *b = other;

	for (; size-- > 0; a++, b++)
		if (*a != *b)
			return *a - *b;
	return 0;
}

u64 strlen(const char *text)
{
	u64 length = 0;

	while (text[length] != 0)
		length++;
	return length;
}
