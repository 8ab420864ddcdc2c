/* The platform of a monitor that the kernel knows of: docs/hypercalls.md. Changes of page tables are gathered, and made with the next call that can't wait. */
#include "paravirtual.h"

#define INTERFACE 0x0a485354ul
#define MACHINE_TO_PHYSICAL ((const u32 *)0xffffffffc0000000ul)
#define ROWS 256

enum { PREVIOUSLY_ENABLED = 1 << 5, PREVIOUSLY_KERNEL = 1 << 8 };

struct shared shared;

static struct row {
	u64 function, a, b, c;
} rows[ROWS] PAGE_ALIGNED;
static u64 row_count;

static u64 kernel_registers[32] __attribute__((aligned(256)));
/* The frame behind each page of memory; the machine's first. */
static u32 *frame_of;
static u64 first_frame;
#define GRANT_COUNT 512
static struct { u32 flags, frame; } grants[GRANT_COUNT] PAGE_ALIGNED;
/* Whether the hart may walk the page: then it is the monitor's to write. */
static u8 *is_table;

extern char kernel_stack_top[];

int paravirtual_probe(void)
{
	return sbi_has(INTERFACE) != 0;
}

u64 hypercall(u64 function, u64 a, u64 b, u64 c)
{
	struct sbi_result result = sbi(INTERFACE, function, a, b, c);

	if (result.error != 0)
		panic("the monitor refuses call %d, row %d: %d", function, function == MULTICALL ? result.value : 0, result.error);
	return result.value;
}

static void commit(void)
{
	u64 count = row_count;

	row_count = 0;
	if (count > 0)
		hypercall(MULTICALL, (u64)rows, count, 0);
}

static void add(u64 function, u64 a, u64 b)
{
	if (row_count == ROWS)
		commit();
	rows[row_count++] = (struct row){ function, a, b };
}

static u64 page_index(const void *page)
{
	return ((u64)page - MEMORY) / PAGE;
}

static u64 number(const void *page)
{
	return frame_of[page_index(page)];
}

static void *page(u64 number)
{
	return (void *)((u64)MACHINE_TO_PHYSICAL[number - first_frame] * PAGE);
}

void grant(u32 reference, const void *page, u32 flags)
{
	grants[reference].frame = number(page);
	grants[reference].flags = flags;
}

static void start(void)
{
	u64 pages = (memory_end - MEMORY) / PAGE;

	frame_of = reserve(pages * sizeof *frame_of);
	is_table = reserve(pages);
	shared.vector = (u64)trap;
	shared.stack = (u64)kernel_stack_top;
	shared.kernel_registers = (u64)kernel_registers;
	shared.enabled = TIMER | SOFTWARE;
	shared.timer = ~0ul;
	first_frame = hypercall(ATTACH, (u64)&shared, 0, 0);
	hypercall(FRAMES, MEMORY / PAGE, pages, (u64)frame_of);
	hypercall(GRANTS, (u64)grants, 0, 0);
}

static void set_entry(u64 *entry, u64 value)
{
	if (is_table[page_index(entry)])
		add(UPDATE, number(entry) * PAGE + (u64)entry % PAGE, value);
	else
		*entry = value;
}

static void map_for_kernel(const void *page, u64 flags)
{
	set_entry(kernel_entry(page), number(page) << 10 | flags | USER);
}

static void table_use(u64 *table, int is_root)
{
	map_for_kernel(table, LEAF & ~(u64)WRITE);
	is_table[page_index(table)] = 1;
	if (is_root)
		add(PIN, number(table), 2);
}

static void table_free(u64 *table, int is_root)
{
	if (is_root)
		add(UNPIN, number(table), 0);
	map_for_kernel(table, LEAF);
	is_table[page_index(table)] = 0;
}

/* They map each other: all are read-only before the first is a table. */
static void kernel_tables(u64 *level1)
{
	map_for_kernel(level1, LEAF & ~(u64)WRITE);
	for (u64 at = MEMORY; at < memory_end; at += MEGAPAGE)
		map_for_kernel(kernel_entry((void *)at), LEAF & ~(u64)WRITE);
	is_table[page_index(level1)] = 1;
	for (u64 at = MEMORY; at < memory_end; at += MEGAPAGE)
		is_table[page_index(kernel_entry((void *)at))] = 1;
	add(PIN, number(level1), 1);
	commit();
}

static void flush(u64 address)
{
	add(FLUSH, address, 0);
}

static void enter_space(struct space *space)
{
	add(BASE, number(space->root[KERNEL_VIEW]), number(space->root[PROGRAM_VIEW]));
}

static void set_timer(u64 time)
{
	shared.timer = time;
}

static u64 pending(void)
{
	return shared.pending;
}

static void wait(void)
{
	commit();
	hypercall(WAIT, 0, 0, 0);
}

static struct trap why(void)
{
	int from_kernel = (shared.status & PREVIOUSLY_KERNEL) != 0;
	u64 pc = from_kernel ? kernel_registers[PC] : current->registers[PC];

	return (struct trap){ shared.cause & ~(1ul << 63), shared.value, pc, shared.cause >> 63, from_kernel };
}

static void __attribute__((noreturn)) run(const u64 registers[32])
{
	shared.status = PREVIOUSLY_ENABLED;
	shared.registers = (u64)registers;
	add(RETURN, (u64)registers, 0);
	commit();
	panic("returned from a return");
}

const struct platform paravirtual = {
	.name = "paravirtual", .views = 2, .kernel_leaf = USER,
	.start = start, .kernel_tables = kernel_tables, .number = number, .page = page, .table_use = table_use, .table_free = table_free,
	.set_entry = set_entry, .flush = flush, .commit = commit, .enter_space = enter_space, .set_timer = set_timer, .pending = pending,
	.wait = wait, .trap = why, .run = run, .entropy = &split_entropy, .console = &split_console,
};
