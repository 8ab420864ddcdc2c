#include "text.h"

void *memcpy(void *to, const void *from, u64 size)
{
	u8 *out = to;
	const u8 *in = from;

	if (((u64)to | (u64)from | size) % 8 == 0)
		for (; size > 0; size -= 8, out += 8, in += 8)
			*(u64 *)out = *(const u64 *)in;
	while (size-- > 0)
		*out++ = *in++;
	return to;
}

void *memset(void *to, int byte, u64 size)
{
	u8 *out = to;

	if (byte == 0 && ((u64)to | size) % 8 == 0)
		for (; size > 0; size -= 8, out += 8)
			*(u64 *)out = 0;
	while (size-- > 0)
		*out++ = byte;
	return to;
}

u64 length_of(const char *text)
{
	u64 length = 0;

	while (text[length])
		length++;
	return length;
}

int begins_with(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return 0;
	return 1;
}

int same_text(const char *one, const char *other)
{
	return begins_with(one, other) && length_of(one) == length_of(other);
}

/* Writes the digits backwards, so that they end before `end`. */
static const char *digits(char *end, u64 value, u64 base)
{
	do
		*--end = "0123456789abcdef"[value % base];
	while ((value /= base) > 0);
	return end;
}

u64 format_text(char *to, u64 room, const char *format, __builtin_va_list arguments)
{
	u64 size = 0;
	char number[24] = "";
	char *end = number + sizeof number - 1;

	for (; *format; format++) {
		char character[2] = { *format };
		const char *part = character;
		if (*format == '%') {
			long value = *++format == 's' ? 0 : __builtin_va_arg(arguments, long);
			part = *format == 's' ? __builtin_va_arg(arguments, const char *) : digits(end, *format == 'd' && value < 0 ? -value : value, *format == 'd' ? 10 : 16);
			if (*format == 'd' && value < 0)
				*(char *)--part = '-';
		}
		for (; *part && size < room; part++)
			to[size++] = *part;
	}
	return size;
}
