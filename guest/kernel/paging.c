/*
 *   virtual address   38       30 29      21 20      12 11       0
 *                     │ level 2  │ level 1  │ level 0  │ offset   │
 *   entry             53                 10 9  8 7 6 5 4 3 2 1 0
 *                     │ page number        │RSW│D│A│G│U│X│W│R│V│
 */
#include "platform.h"

#define ENTRIES 512
#define PAGES_OF_MAPS ((PROGRAM_END - MAPS) / PAGE)

/* Tables of level 1 for the kernel's memory and, where it reaches them, for the devices. */
static u64 *kernel_table, *device_table;

static u32 index_at(u64 address, int level)
{
	return address >> (12 + 9 * level) & (ENTRIES - 1);
}

static u64 entry_for(const void *page, u64 flags)
{
	return platform->number(page) << 10 | flags;
}

static void *page_of(u64 entry)
{
	return platform->page(entry >> 10 & ((1ul << 44) - 1));
}

u64 *kernel_entry(const void *address)
{
	return (u64 *)page_of(kernel_table[index_at((u64)address, 1)]) + index_at((u64)address, 0);
}

static void *take(void)
{
	void *page = frame_take();
	if (page == NULL)
		panic("no memory for the kernel");
	return page;
}

/* The kernel's own tables, complete: entries for memory, page by page. */
void paging_start(void)
{
	kernel_table = take();
	for (u64 at = MEMORY; at < memory_end; at += MEGAPAGE) {
		u64 *table = take();
		for (u64 i = 0; i < ENTRIES && at + i * PAGE < memory_end; i++)
			table[i] = entry_for((void *)(at + i * PAGE), LEAF | platform->kernel_leaf);
		kernel_table[index_at(at, 1)] = entry_for(table, VALID);
	}
	device_table = take();
	for (u64 at = 0; at < DEVICES_END; at += MEGAPAGE)
		device_table[index_at(at, 1)] = at >> 2 | LEAF;
	platform->kernel_tables(kernel_table);
}

int space_create(struct space *space)
{
	void *pages[] = { frame_take(), frame_take(), platform->views == 2 ? frame_take() : NULL };

	if (pages[0] == NULL || pages[1] == NULL || (platform->views == 2 && pages[2] == NULL)) {
		for (int i = 0; i < 3; i++)
			if (pages[i] != NULL)
				frame_drop(pages[i]);
		return -1;
	}
	*space = (struct space){ { pages[1], pages[2] }, pages[0] };
	for (int view = 0; view < platform->views; view++)
		space->root[view][index_at(PROGRAM, 2)] = entry_for(space->program, VALID);
	space->root[KERNEL_VIEW][index_at(MEMORY, 2)] = entry_for(kernel_table, VALID);
	if (platform->views == 1)
		space->root[KERNEL_VIEW][0] = entry_for(device_table, VALID);
	return 0;
}

/* The program's table of level 0 for its i-th 2 MiB, or null. */
static u64 *table_at(struct space *space, u32 i)
{
	return space->program[i] ? page_of(space->program[i]) : NULL;
}

void space_activate(struct space *space)
{
	space->active = 1;
	for (u32 i = 0; i < ENTRIES; i++)
		if (table_at(space, i) != NULL)
			platform->table_use(table_at(space, i), 0);
	platform->table_use(space->program, 0);
	for (int view = 0; view < platform->views; view++)
		platform->table_use(space->root[view], 1);
}

static void deactivate(struct space *space)
{
	for (int view = 0; view < platform->views; view++)
		platform->table_free(space->root[view], 1);
	platform->table_free(space->program, 0);
	for (u32 i = 0; i < ENTRIES; i++)
		if (table_at(space, i) != NULL)
			platform->table_free(table_at(space, i), 0);
	platform->commit();
}

void space_destroy(struct space *space)
{
	if (space->active)
		deactivate(space);
	for (u32 i = 0; i < ENTRIES; i++) {
		u64 *table = table_at(space, i);
		if (table == NULL)
			continue;
		for (u32 j = 0; j < ENTRIES; j++)
			if (table[j])
				frame_drop(page_of(table[j]));
		frame_drop(table);
	}
	frame_drop(space->program);
	for (int view = 0; view < platform->views; view++)
		frame_drop(space->root[view]);
}

/* The entry of level 0, or null; with `make`, its table is made if there is none. */
static u64 *find(struct space *space, u64 address, int make)
{
	if (address < PROGRAM || address >= PROGRAM_END)
		return NULL;
	u64 *table = table_at(space, index_at(address, 1));
	if (table == NULL) {
		if (!make || (table = frame_take()) == NULL)
			return NULL;
		if (space->active)
			platform->table_use(table, 0);
		platform->set_entry(&space->program[index_at(address, 1)], entry_for(table, VALID));
		if (space->active)
			platform->commit();
	}
	return &table[index_at(address, 0)];
}

int space_copy(struct space *from, struct space *to)
{
	for (u32 i = 0; i < ENTRIES; i++) {
		u64 *table = table_at(from, i);
		if (table == NULL)
			continue;
		for (u32 j = 0; j < ENTRIES; j++) {
			u64 *entry = &table[j];
			if (!*entry)
				continue;
			u64 *copy = find(to, PROGRAM + i * MEGAPAGE + j * PAGE, 1);
			if (copy == NULL)
				return -1;
			*copy = *entry & WRITE ? (*entry & ~(u64)WRITE) | COPY : *entry;
			frame_hold(page_of(*copy));
			if (*copy != *entry)
				platform->set_entry(entry, *copy);
		}
	}
	platform->flush(EVERYWHERE);
	return 0;
}

int space_map(struct space *space, u64 address, u64 pages)
{
	for (u64 i = 0; i < pages; i++) {
		u64 *entry = find(space, address + i * PAGE, 1);
		void *page = entry == NULL ? NULL : frame_take();
		if (page == NULL) {
			space_unmap(space, address, i);
			return -1;
		}
		platform->set_entry(entry, entry_for(page, LEAF | USER));
	}
	platform->commit();
	return 0;
}

void space_unmap(struct space *space, u64 address, u64 pages)
{
	for (u64 i = 0; i < pages; i++) {
		u64 *entry = find(space, address + i * PAGE, 0);
		if (entry == NULL || !*entry)
			continue;
		void *page = page_of(*entry);
		platform->set_entry(entry, 0);
		frame_drop(page);
	}
	platform->flush(EVERYWHERE);
	/* Before anybody takes the pages. */
	platform->commit();
}

int space_write_fault(struct space *space, u64 address)
{
	u64 *entry = find(space, address, 0);

	if (entry == NULL || !(*entry & COPY))
		return -1;
	void *shared = page_of(*entry);
	void *own = shared;
	if (frame_holders(shared) > 1) {
		own = frame_take();
		if (own == NULL)
			return -1;
		memcpy(own, shared, PAGE);
		frame_drop(shared);
	}
	platform->set_entry(entry, entry_for(own, LEAF | USER));
	platform->flush(address);
	return 0;
}

/* Where the kernel finds a program's byte, to read it or to write to it. */
static void *reach(struct space *space, u64 address, int write)
{
	u64 *entry = find(space, address, 0);

	if (entry == NULL || !(*entry & VALID))
		return NULL;
	if (write && !(*entry & WRITE)) {
		if (space_write_fault(space, address))
			return NULL;
		platform->commit();
	}
	return (char *)page_of(*entry) + address % PAGE;
}

static u64 in_page(u64 address, u64 size)
{
	u64 room = PAGE - address % PAGE;
	return size < room ? size : room;
}

int copy_in(struct space *space, void *to, u64 from, u64 size)
{
	for (u64 part; size > 0; size -= part, from += part, to = (char *)to + part) {
		const void *at = reach(space, from, 0);
		if (at == NULL)
			return -1;
		part = in_page(from, size);
		memcpy(to, at, part);
	}
	return 0;
}

int copy_out(struct space *space, u64 to, const void *from, u64 size)
{
	for (u64 part; size > 0; size -= part, to += part, from = (const char *)from + part) {
		void *at = reach(space, to, 1);
		if (at == NULL)
			return -1;
		part = in_page(to, size);
		memcpy(at, from, part);
	}
	return 0;
}
