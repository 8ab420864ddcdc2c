/* The console: firmware's, by the SBI (chapters 5 and 12), until the platform has another. */
#include "platform.h"
#include <stdarg.h>

static int has_debug_console;
static const struct console_driver *driver = &sbi_console;

/* What was typed and not read yet. */
static char typed[64];
static u64 typed_count, taken_count;

static void start(void)
{
	has_debug_console = sbi_has(SBI_CONSOLE) != 0;
}

static void write(const char *text, u64 size)
{
	static char line[128];

	if (!has_debug_console) {
		for (u64 i = 0; i < size; i++)
			sbi(SBI_PUTCHAR, 0, text[i], 0, 0);
		return;
	}
	/* It wants a physical address: the kernel's addresses are. */
	for (u64 part; size > 0; size -= part, text += part) {
		part = size < sizeof line ? size : sizeof line;
		memcpy(line, text, part);
		sbi(SBI_CONSOLE, 0, part, (u64)line, 0);
	}
}

static long read(void)
{
	return sbi(SBI_GETCHAR, 0, 0, 0, 0).error;
}

const struct console_driver sbi_console = { start, write, read };

void console_start(void)
{
	driver->start();
}

void console_change(void)
{
	driver = platform->console;
	driver->start();
}

void console_write(const char *text, u64 size)
{
	driver->write(text, size);
}

void console_poll(void)
{
	for (long byte; typed_count - taken_count < sizeof typed && (byte = driver->read()) >= 0; wake(typed))
		typed[typed_count++ % sizeof typed] = byte == '\r' ? '\n' : byte;
}

long console_read(u64 to, u64 size)
{
	u64 count = 0;

	if (typed_count == taken_count)
		console_poll();
	if (typed_count == taken_count)
		return wait_for(typed);
	for (; count < size && taken_count < typed_count; count++, taken_count++)
		if (copy_out(&current->space, to + count, &typed[taken_count % sizeof typed], 1))
			return -1;
	return count;
}

void power_off(int failed)
{
	sbi(SBI_RESET, 0, 0, failed, 0);
	for (;;)
		;
}

void panic(const char *format, ...)
{
	char line[128] = "panic: ";
	va_list arguments;

	va_start(arguments, format);
	u64 size = 7 + format_text(line + 7, sizeof line - 8, format, arguments);
	va_end(arguments);
	line[size++] = '\n';
	/* It may be the other driver that has given up. */
	write(line, size);
	power_off(1);
}
