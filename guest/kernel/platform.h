/*
 * What the kernel asks of what is below it, and the only place where it matters what that is: a machine of its own (bare.c), or a
 * monitor that it knows of (paravirtual.c). Chosen once, at boot.
 */
#pragma once
#include "kernel.h"

enum { SOFTWARE = 1 << 1, TIMER = 1 << 5, EXTERNAL = 1 << 9 };
enum {
	INTERRUPT_TIMER = 5, CALL_FROM_PROGRAM = 8, STORE_PAGE_FAULT = 15,
};

struct trap {
	u64 cause, value, pc;
	int is_interrupt, from_kernel;
};

enum { ENTROPY_BUFFER = 64 };

/* One request at a time. */
struct entropy_driver {
	/* Whether there is a device. */
	int (*start)(void);
	/* For as many bytes as the buffer has; an interrupt says that they may be there. */
	void (*ask)(void);
	/* How many have come; 0 if the interrupt was for something else. */
	u32 (*answer)(void);
	const u8 *buffer;
};

struct console_driver {
	void (*start)(void);
	void (*write)(const char *text, u64 size);
	/* A byte, or -1. */
	long (*read)(void);
};

struct platform {
	const char *name;
	/* Of each address space. */
	int views;
	/* What an entry for the kernel's own memory has beside LEAF. */
	u64 kernel_leaf;
	/* When memory can still be reserved; and when the kernel's own tables are complete. */
	void (*start)(void);
	void (*kernel_tables)(u64 *level1);
	/* A page's number in tables, and back. */
	u64 (*number)(const void *page);
	void *(*page)(u64 number);
	/* A table with its entries is the hart's to walk from now on; or no longer. Roots last, or first. */
	void (*table_use)(u64 *table, int is_root);
	void (*table_free)(u64 *table, int is_root);
	void (*set_entry)(u64 *entry, u64 value);
	/* An entry for `address` has changed; EVERYWHERE: many have. */
	void (*flush)(u64 address);
	/* All of the above has been done when it returns. Whatever enters a program does that too. */
	void (*commit)(void);
	void (*enter_space)(struct space *space);
	/* The interrupt comes at `time`, and is not pending before. */
	void (*set_timer)(u64 time);
	u64 (*pending)(void);
	void (*wait)(void);
	struct trap (*trap)(void);
	void __attribute__((noreturn)) (*run)(const u64 registers[32]);
	const struct entropy_driver *entropy;
	const struct console_driver *console;
};

#define EVERYWHERE (~0ul)

extern const struct platform *platform;
extern const struct platform bare, paravirtual;
extern const struct entropy_driver virtio_entropy, split_entropy;
extern const struct console_driver sbi_console, split_console;
/* The same where software fills the TLB (software-tlb.c). */
const struct platform *software_tlb_platform(void);
/* Whether the monitor below offers its interface. */
int paravirtual_probe(void);

/* The supervisor binary interface: both have it. */
struct sbi_result {
	long error;
	u64 value;
};

static inline struct sbi_result sbi(u64 extension, u64 function, u64 a, u64 b, u64 c)
{
	register u64 a0 asm("a0") = a;
	register u64 a1 asm("a1") = b;
	register u64 a2 asm("a2") = c;
	register u64 a6 asm("a6") = function;
	register u64 a7 asm("a7") = extension;
	asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	return (struct sbi_result){ a0, a1 };
}

enum { SBI_PUTCHAR = 1, SBI_GETCHAR = 2, SBI_BASE = 0x10, SBI_TIME = 0x54494d45, SBI_RESET = 0x53525354, SBI_CONSOLE = 0x4442434e };
enum { SBI_BASE_PROBE = 3 };

static inline u64 sbi_has(u64 extension)
{
	return sbi(SBI_BASE, SBI_BASE_PROBE, extension, 0, 0).value;
}

static inline u64 now(void)
{
	u64 time;
	asm volatile("rdtime %0" : "=r"(time));
	return time;
}
