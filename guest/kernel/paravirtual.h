/* The interface of a monitor that the kernel knows of: docs/hypercalls.md. */
#pragma once
#include "platform.h"

enum {
	ATTACH, MULTICALL, FRAMES, PIN, UNPIN, UPDATE, BASE, FLUSH, RETURN, WAIT, DEVICE_READ, DEVICE_WRITE, GRANTS, REVOKE, CONNECT, DISCONNECT, KICK,
};

/* Of a type: its size is too, and nothing else is in the page. */
#define PAGE_ALIGNED __attribute__((aligned(4096)))

extern struct PAGE_ALIGNED shared {
	u64 status, cause, value, pending, enabled, timer, vector, stack, registers, kernel_registers, events;
} shared;

/* References to pages that are granted. */
enum { ENTROPY_RING, ENTROPY_PAGE, CONSOLE_OUTPUT, CONSOLE_INPUT };
enum { GRANTED = 1, WRITABLE = 2 };
void grant(u32 reference, const void *page, u32 flags);

/* Its value; a refusal is the kernel's own fault, and its end. */
u64 hypercall(u64 function, u64 a, u64 b, u64 c);
