/* Why the kernel runs at all: a program's trap. It has none of its own, since it has interrupts off and maps what it touches. */
#include "platform.h"

/* 10 ms. */
#define TICK 100000

int tick_passed;

void interrupts(void)
{
	u64 pending = platform->pending();

	if (pending & TIMER) {
		platform->set_timer(now() + TICK);
		tick_passed = 1;
	}
	if (pending & (TIMER | SOFTWARE))
		console_poll();
	if (pending & (EXTERNAL | SOFTWARE))
		entropy_interrupt();
}

void traps_start(void)
{
	platform->set_timer(now() + TICK);
}

static void exception(u64 cause, u64 value)
{
	if (cause == CALL_FROM_PROGRAM) {
		current->registers[PC] += 4;
		current->registers[A0] = system_call(current->registers);
	} else if (cause != STORE_PAGE_FAULT || space_write_fault(&current->space, value)) {
		process_exit(KILLED - (int)cause);
	}
}

void trap(void)
{
	struct trap trap = platform->trap();

	if (trap.from_kernel)
		panic("cause %d at %x, value %x", trap.cause, trap.pc, trap.value);
	tick_passed = 0;
	if (trap.is_interrupt)
		interrupts();
	else
		exception(trap.cause, trap.value);
	schedule(tick_passed);
}
