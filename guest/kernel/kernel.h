/* All that the parts of the kernel know of each other, in the order of reading. */
#pragma once
#include "calls.h"
#include "text.h"

/*
 * Virtual memory. The kernel's is where the physical memory is, so that an address is the same with translation on and off.
 *
 *     0x0000_0000   devices of the board, on the bare machine
 *     0x4000_0000   the program: code, data; below 0x4020_0000 its stack
 *     0x4020_0000   what it maps
 *     0x8000_0000   memory, the kernel at 0x8020_0000
 */
#define PAGE 4096ul
#define GIGABYTE 0x40000000ul
#define MEGAPAGE 0x200000ul
#define DEVICES_END 0x10010000ul
#define PROGRAM 0x40000000ul
#define STACK_TOP (PROGRAM + MEGAPAGE)
#define MAPS STACK_TOP
#define PROGRAM_END 0x80000000ul
#define MEMORY 0x80000000ul
/* More is left alone: so the number of a root's page is one of 16 bits, and can name its address space. */
#define MOST_MEMORY 0x10000000ul

/* ---- boot.c: what the device tree says */

extern u64 memory_end;
extern char bootargs[256];
void read_device_tree(const void *tree);

/* ---- frames.c: memory, by pages, each with a count of those who hold it */

/* Zeros for good, before the rest of memory is pages. */
void *reserve(u64 size);
void frames_start(void);
/* A page of zeros that the caller holds; null if there is none. */
void *frame_take(void);
void frame_hold(void *page);
/* When nobody holds it any more, it is free. */
void frame_drop(void *page);
u32 frame_holders(const void *page);
u64 frames_free(void);

/* ---- paging.c: address spaces (privileged manual, "Sv39") */

/* Bits of an entry. COPY is for software: the page is to be copied when it is written to. */
enum { VALID = 1, READ = 2, WRITE = 4, EXECUTE = 8, USER = 16, ACCESSED = 64, DIRTY = 128, COPY = 256 };
#define LEAF ((u64)(VALID | READ | WRITE | EXECUTE | ACCESSED | DIRTY))

enum view { KERNEL_VIEW, PROGRAM_VIEW };

struct space {
	/* A root for each view; where programs and kernel are told apart by the hart's privilege, there is one. */
	u64 *root[2];
	/* The table of level 1 for the program's gigabyte: in every root. */
	u64 *program;
	/* The hart may walk them. */
	int active;
};

void paging_start(void);
/* The entry of level 0 for an address of the kernel's memory. */
u64 *kernel_entry(const void *address);
/* Empty, or -1. The hart must not walk it before it is activated; until then its tables are written as any memory. */
int space_create(struct space *space);
void space_activate(struct space *space);
void space_destroy(struct space *space);
/* The same memory in both: what can be written is copied when it is. */
int space_copy(struct space *from, struct space *to);
/* New pages of zeros from `address` on. */
int space_map(struct space *space, u64 address, u64 pages);
void space_unmap(struct space *space, u64 address, u64 pages);
/* Between the kernel and a program's memory: 0, or -1 where that has none. */
int copy_in(struct space *space, void *to, u64 from, u64 size);
int copy_out(struct space *space, u64 to, const void *from, u64 size);
/* A program has written where it may not: 0 if it may now. */
int space_write_fault(struct space *space, u64 address);

/* ---- process.c */

/* Of `registers`: x0's place is the pc's. */
enum { PC = 0, SP = 2, A0 = 10, A1, A2, A3, A7 = 17 };

enum state { UNUSED, RUNNABLE, WAITING, ENDED };

struct file {
	enum { CLOSED, CONSOLE, PIPE_OUT, PIPE_IN } kind;
	struct pipe *pipe;
};

struct process {
	/* Aligned to its size, so that it lies in one page. */
	u64 registers[32] __attribute__((aligned(256)));
	struct space space;
	enum state state;
	/* What it waits for, or waited for in front of its call: any address that both sides know. */
	const void *event;
	int id, status;
	/* Where it maps next. */
	u64 map_end;
	struct process *parent;
	struct file files[8];
};

extern struct process *current;
void process_start(const char *arguments);
/* Goes on with whoever is next; `next` says whether `current` has had its turn. */
void __attribute__((noreturn)) schedule(int next);
/* The system call that `current` is in can't be done yet: it is done again once `event` has come. */
long wait_for(const void *event);
void wake(const void *event);
long process_fork(void);
long process_exec(u64 name, u64 arguments);
void process_exit(int status);
long process_wait(u64 status);

/* ---- pipe.c */

long pipe_create(u64 ends);
long file_read(int number, u64 to, u64 size);
long file_write(int number, u64 from, u64 size);
long file_close(int number);
void file_hold(struct file *file);
void file_drop(struct file *file);

/* ---- console.c */

void console_start(void);
/* To the platform's own. */
void console_change(void);
void console_write(const char *text, u64 size);
long console_read(u64 to, u64 size);
void console_poll(void);
void __attribute__((noreturn)) panic(const char *format, ...);
void __attribute__((noreturn)) power_off(int failed);

/* ---- entropy.c */

void entropy_start(void);
void entropy_interrupt(void);
long entropy_read(u64 to, u64 size);

/* ---- trap.c, system-calls.c */

void traps_start(void);
void __attribute__((noreturn)) trap(void);
/* Whatever interrupt is pending. */
void interrupts(void);
extern int tick_passed;
long system_call(const u64 registers[32]);

static inline u64 align_up(u64 value, u64 to)
{
	return (value + to - 1) & -to;
}
