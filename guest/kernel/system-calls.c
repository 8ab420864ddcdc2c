#include "platform.h"

#define MOST_PAGES 1024

static long call_exit(u64 status)
{
	process_exit(status);
	return 0;
}

static long call_fork(void)
{
	return process_fork();
}

/* Somebody else's turn, as if the time were up. */
static long call_yield(void)
{
	tick_passed = 1;
	return 0;
}

static long call_process(void)
{
	return current->id;
}

static long call_map(u64 pages)
{
	u64 address = current->map_end;

	if (pages > MOST_PAGES || address + pages * PAGE > PROGRAM_END || space_map(&current->space, address, pages))
		return -1;
	current->map_end += pages * PAGE;
	return address;
}

/* What was mapped last is mapped next. */
static long call_unmap(u64 address, u64 pages)
{
	if (address % PAGE || pages > MOST_PAGES || address < MAPS || address + pages * PAGE > current->map_end)
		return -1;
	space_unmap(&current->space, address, pages);
	if (address + pages * PAGE == current->map_end)
		current->map_end = address;
	return 0;
}

static long call_off(u64 failed)
{
	power_off(failed != 0);
}

typedef long function(u64 a, u64 b, u64 c);

/* A row for each; those that take less leave the rest of their arguments alone. */
static function *const functions[CALLS] = {
	[CALL_EXIT] = (function *)call_exit,
	[CALL_FORK] = (function *)call_fork,
	[CALL_EXEC] = (function *)process_exec,
	[CALL_WAIT] = (function *)process_wait,
	[CALL_YIELD] = (function *)call_yield,
	[CALL_PROCESS] = (function *)call_process,
	[CALL_READ] = (function *)file_read,
	[CALL_WRITE] = (function *)file_write,
	[CALL_PIPE] = (function *)pipe_create,
	[CALL_CLOSE] = (function *)file_close,
	[CALL_MAP] = (function *)call_map,
	[CALL_UNMAP] = (function *)call_unmap,
	[CALL_RANDOM] = (function *)entropy_read,
	[CALL_FREE] = (function *)frames_free,
	[CALL_OFF] = (function *)call_off,
};

long system_call(const u64 registers[32])
{
	u64 number = registers[A7];

	return number < CALLS ? functions[number](registers[A0], registers[A1], registers[A2]) : -1;
}
