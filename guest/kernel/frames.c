#include "kernel.h"

extern char kernel_end[];

struct frame {
	u32 holders;
	/* Of a free one: the next. */
	u32 next;
};

static struct frame *frames;
/* 0 for none: the first of memory is the firmware's. */
static u32 free_list;
static u64 free_count;

static u32 number_of(const void *page)
{
	return ((u64)page - MEMORY) / PAGE;
}

void frames_start(void)
{
	if (memory_end > MEMORY + MOST_MEMORY)
		memory_end = MEMORY + MOST_MEMORY;
	frames = (struct frame *)align_up((u64)kernel_end, PAGE);
	u64 first = align_up((u64)(frames + (memory_end - MEMORY) / PAGE), PAGE);

	for (u64 page = memory_end - PAGE; page >= first; page -= PAGE) {
		frames[number_of((void *)page)] = (struct frame){ .next = free_list };
		free_list = number_of((void *)page);
		free_count++;
	}
}

void *frame_take(void)
{
	if (free_list == 0)
		return NULL;
	struct frame *frame = &frames[free_list];
	void *page = (void *)(MEMORY + free_list * PAGE);
	free_list = frame->next;
	frame->holders = 1;
	free_count--;
	return memset(page, 0, PAGE);
}

void frame_hold(void *page)
{
	frames[number_of(page)].holders++;
}

void frame_drop(void *page)
{
	struct frame *frame = &frames[number_of(page)];

	if (--frame->holders > 0)
		return;
	frame->next = free_list;
	free_list = number_of(page);
	free_count++;
}

u32 frame_holders(const void *page)
{
	return frames[number_of(page)].holders;
}

u64 frames_free(void)
{
	return free_count;
}
