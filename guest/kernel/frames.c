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

static char *reserved_end = kernel_end;

void *reserve(u64 size)
{
	void *start = (void *)align_up((u64)reserved_end, PAGE);

	reserved_end = (char *)align_up((u64)start + size, PAGE);
	return memset(start, 0, size);
}

void frames_start(void)
{
	frames = reserve((memory_end - MEMORY) / PAGE * sizeof *frames);
	for (u64 page = memory_end - PAGE; page >= (u64)reserved_end; page -= PAGE) {
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
