/* Where the kernel begins, and what it reads out of the device tree (Devicetree Specification, "Flattened Devicetree Format"). */
#include "platform.h"

const struct platform *platform;
u64 memory_end;
char bootargs[256];
static int software_fills_tlb;

enum { BEGIN_NODE = 1, END_NODE, PROPERTY, NOP };

static u32 big_endian(const void *at)
{
	const u8 *byte = at;
	return byte[0] << 24 | byte[1] << 16 | byte[2] << 8 | byte[3];
}

static void read_property(const char *node, const char *name, const u8 *value, u32 size)
{
	/* Addresses and sizes have two cells each. */
	if (begins_with(node, "memory@") && same_text(name, "reg"))
		memory_end = MEMORY + ((u64)big_endian(value + 8) << 32 | big_endian(value + 12));
	if (same_text(name, "bootargs"))
		memcpy(bootargs, value, size < sizeof bootargs ? size : sizeof bootargs - 1);
	if (same_text(name, "mmu-type"))
		software_fills_tlb = same_text((const char *)value, "hostelry,software-tlb");
}

void read_device_tree(const void *tree)
{
	const u8 *at = (const u8 *)tree + big_endian((const u8 *)tree + 8);
	const char *names = (const char *)tree + big_endian((const u8 *)tree + 12);
	const char *node = "";

	for (;;) {
		u32 token = big_endian(at);
		at += 4;
		if (token == BEGIN_NODE) {
			node = (const char *)at;
			at += align_up(length_of(node) + 1, 4);
		} else if (token == PROPERTY) {
			u32 size = big_endian(at);
			read_property(node, names + big_endian(at + 4), at + 8, size);
			at += 8 + align_up(size, 4);
		} else if (token != END_NODE && token != NOP) {
			return;
		}
	}
}

/* As Linux does: what follows "--" is for the first program. */
static const char *arguments_of_program(void)
{
	for (const char *at = bootargs; *at; at++)
		if (begins_with(at, "-- ") && (at == bootargs || at[-1] == ' '))
			return at + 3;
	return "";
}

void __attribute__((noreturn)) boot(const void *device_tree)
{
	read_device_tree(device_tree);
	if (memory_end > MEMORY + MOST_MEMORY)
		memory_end = MEMORY + MOST_MEMORY;
	console_start();
	platform = software_fills_tlb ? software_tlb_platform() : paravirtual_probe() ? &paravirtual : &bare;
	platform->start();
	console_change();
	frames_start();
	paging_start();
	traps_start();
	entropy_start();
	process_start(arguments_of_program());
	schedule(1);
}
