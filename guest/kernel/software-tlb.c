/*
 * The platform of a machine whose TLB software fills (docs/software-tlb.md): bare.c's, but for what concerns translations. The kernel and the
 * devices are in wired entries, so that only programs miss; refill.S looks up their pages in the same tables that hardware walks elsewhere.
 */
#include "platform.h"

#define SOFTWARE_FILLED (14ul << 60)
/* 1 GiB, in the lower half of an entry. */
#define GIGAPAGE (2ul << 54)
#define SPACES 4096
#define ENTRIES 64

enum { GLOBAL = 32 };
enum { WIRED_MEMORY, WIRED_DEVICES, WIRED };
enum { READ_ENTRY, WRITE_ENTRY, WRITE_NEXT, PROBE };
enum { FIRST_MISS = 24, LAST_MISS = 27, PAGE_FAULTS = 12 };

#define STLBINDEX "0x5c0"
#define STLBWIRED "0x5c1"
#define STLBHI "0x5c3"
#define STLBLO "0x5c4"
#define STLBOP "0x5c6"
#define STLBVEC "0x5c7"
#define read_csr(number) ({ u64 value_; asm volatile("csrr %0, " number : "=r"(value_)); value_; })
#define write_csr(number, value) asm volatile("csrw " number ", %0" :: "r"(value) : "memory")

extern char refill[];

static struct platform software_tlb;
/* By the number of an address space, the root that had it last: they have fewer bits than roots. */
static u64 owner[SPACES];

static void write_entry(u64 index, u64 high, u64 low)
{
	write_csr(STLBINDEX, index);
	write_csr(STLBHI, high);
	write_csr(STLBLO, low);
	write_csr(STLBOP, WRITE_ENTRY);
}

static void drop_space(u64 space)
{
	for (u64 index = WIRED; index < ENTRIES; index++) {
		write_csr(STLBINDEX, index);
		write_csr(STLBOP, READ_ENTRY);
		if (read_csr(STLBHI) % SPACES == space)
			write_entry(index, 0, 0);
	}
}

static void drop_page(u64 address, u64 space)
{
	write_csr(STLBHI, (address & -PAGE) | space);
	write_csr(STLBOP, PROBE);
	u64 index = read_csr(STLBINDEX);
	if (index < ENTRIES)
		write_entry(index, 0, 0);
}

static void start(void)
{
	bare.start();
	write_csr(STLBVEC, refill);
	write_csr(STLBWIRED, WIRED);
	write_entry(WIRED_MEMORY, MEMORY, bare.number((void *)MEMORY) << 10 | LEAF | GLOBAL | GIGAPAGE);
	write_entry(WIRED_DEVICES, 0, LEAF | GLOBAL | GIGAPAGE);
}

static void table_use(u64 *table, int is_root)
{
	u64 number = bare.number(table);

	if (is_root && owner[number % SPACES] == number)
		owner[number % SPACES] = 0;
}

static void flush(u64 address)
{
	u64 space = (read_csr("satp") >> 44) % SPACES;

	if (address == EVERYWHERE)
		drop_space(space);
	else
		drop_page(address, space);
}

static void enter_space(struct space *space)
{
	u64 number = bare.number(space->root[KERNEL_VIEW]);

	if (owner[number % SPACES] != number) {
		drop_space(number % SPACES);
		owner[number % SPACES] = number;
	}
	write_csr("satp", SOFTWARE_FILLED | (number % SPACES) << 44 | number);
}

/* A miss that comes here found no page: what hardware calls a page fault. */
static struct trap why(void)
{
	struct trap trap = bare.trap();

	if (!trap.is_interrupt && trap.cause >= FIRST_MISS && trap.cause <= LAST_MISS)
		trap.cause -= PAGE_FAULTS;
	return trap;
}

const struct platform *software_tlb_platform(void)
{
	software_tlb = bare;
	software_tlb.name = "bare, software-filled TLB";
	software_tlb.start = start;
	software_tlb.table_use = table_use;
	software_tlb.flush = flush;
	software_tlb.enter_space = enter_space;
	software_tlb.trap = why;
	return &software_tlb;
}
