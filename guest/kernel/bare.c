/* The platform of a machine of the kernel's own: it is in S-mode, programs are in U-mode. */
#include "platform.h"

#define read_csr(name) ({ u64 value_; asm volatile("csrr %0, " #name : "=r"(value_)); value_; })
#define write_csr(name, value) asm volatile("csrw " #name ", %0" :: "r"(value) : "memory")

enum { GLOBAL = 32, PREVIOUSLY_SUPERVISOR = 1 << 8 };
#define SV39 (8ul << 60)

extern char trap_entry[];
void __attribute__((noreturn)) trap_return(const u64 registers[32]);

static void start(void)
{
	write_csr(stvec, trap_entry);
	write_csr(sie, TIMER | EXTERNAL);
	/* Programs may read time and count instructions. */
	write_csr(scounteren, 7);
}

static u64 number(const void *page)
{
	return (u64)page / PAGE;
}

static void *page(u64 number)
{
	return (void *)(number * PAGE);
}

static u64 address_space(const u64 *root)
{
	return number(root) & 0xffff;
}

static void kernel_tables(u64 *level1)
{
	(void)level1;
}

/* Whatever had the root's number before has gone. */
static void table_use(u64 *table, int is_root)
{
	if (is_root)
		asm volatile("sfence.vma zero, %0" :: "r"(address_space(table)) : "memory");
}

static void table_free(u64 *table, int is_root)
{
	(void)table, (void)is_root;
}

static void set_entry(u64 *entry, u64 value)
{
	*(volatile u64 *)entry = value;
}

static void flush(u64 address)
{
	if (address == EVERYWHERE)
		asm volatile("sfence.vma zero, %0" :: "r"(read_csr(satp) >> 44 & 0xffff) : "memory");
	else
		asm volatile("sfence.vma %0" :: "r"(address) : "memory");
}

static void commit(void)
{
}

static void enter_space(struct space *space)
{
	u64 *root = space->root[KERNEL_VIEW];

	write_csr(satp, SV39 | address_space(root) << 44 | number(root));
}

static void set_timer(u64 time)
{
	sbi(SBI_TIME, 0, time, 0, 0);
}

static u64 pending(void)
{
	return read_csr(sip);
}

/* Ends when an interrupt is pending, though none is taken. */
static void wait(void)
{
	asm volatile("wfi" ::: "memory");
}

static struct trap why(void)
{
	u64 cause = read_csr(scause);

	return (struct trap){ cause & ~(1ul << 63), read_csr(stval), read_csr(sepc), cause >> 63, (read_csr(sstatus) & PREVIOUSLY_SUPERVISOR) != 0 };
}

const struct platform bare = {
	.name = "bare", .views = 1, .kernel_leaf = GLOBAL,
	.start = start, .kernel_tables = kernel_tables, .number = number, .page = page, .table_use = table_use, .table_free = table_free,
	.set_entry = set_entry, .flush = flush, .commit = commit, .enter_space = enter_space, .set_timer = set_timer, .pending = pending,
	.wait = wait, .trap = why, .run = trap_return, .entropy = &virtio_entropy, .console = &sbi_console,
};
