/*
 * Processes. The kernel has one stack and keeps nothing on it between traps: all that a process is stands in its `struct process`. One that
 * must wait in a system call waits in front of it, and makes it again.
 */
#include "platform.h"

#define PROCESSES 64
#define ARGUMENTS 256

/* programs.S: name and image of each, ended by a null. */
extern const struct program {
	const char *name;
	const u8 *start, *end;
} programs[];

static struct process processes[PROCESSES];
struct process *current = processes;
static int next_id = 1;

static struct process *find_unused(void)
{
	for (struct process *process = processes; process < processes + PROCESSES; process++)
		if (process->state == UNUSED)
			return process;
	return NULL;
}

/* Fills a new space with a program, its stack and its arguments; 0, or -1. */
static int load(struct space *space, const struct program *program, const char *arguments)
{
	u64 size = program->end - program->start;

	return space_map(space, PROGRAM, align_up(size, PAGE) / PAGE) || space_map(space, STACK_TOP - PAGE, 1)
		|| copy_out(space, PROGRAM, program->start, size) || copy_out(space, STACK_TOP - ARGUMENTS, arguments, length_of(arguments) + 1) ? -1 : 0;
}

/* A program takes the place of what was in the process. */
static int execute(struct process *process, const char *name, const char *arguments)
{
	const struct program *program = programs;
	struct space space;

	while (program->name != NULL && !same_text(program->name, name))
		program++;
	if (program->name == NULL || space_create(&space))
		return -1;
	if (load(&space, program, arguments)) {
		space_destroy(&space);
		return -1;
	}
	space_activate(&space);
	struct space before = process->space;
	process->space = space;
	platform->enter_space(&space);
	if (before.active)
		space_destroy(&before);
	process->map_end = MAPS;
	memset(process->registers, 0, sizeof process->registers);
	process->registers[PC] = PROGRAM;
	process->registers[SP] = process->registers[A0] = STACK_TOP - ARGUMENTS;
	return 0;
}

void process_start(const char *arguments)
{
	*current = (struct process){ .state = RUNNABLE, .id = next_id++, .files = { { CONSOLE }, { CONSOLE } } };
	if (execute(current, "shell", arguments))
		panic("there is no shell, or no memory for it");
}

/* What it has waited for has come. */
static void call_again(void)
{
	current->event = NULL;
	current->registers[A0] = system_call(current->registers);
}

void schedule(int next)
{
	for (;;) {
		long first = current - processes + next;
		for (int i = 0; i <= PROCESSES; i++) {
			struct process *process = processes + (first + i) % PROCESSES;
			if (process->state != RUNNABLE)
				continue;
			if (process != current)
				platform->enter_space(&process->space);
			current = process;
			if (process->event != NULL)
				call_again();
			if (process->state == RUNNABLE)
				platform->run(process->registers);
		}
		platform->wait();
		interrupts();
	}
}

long wait_for(const void *event)
{
	current->state = WAITING;
	current->event = event;
	return current->registers[A0];
}

void wake(const void *event)
{
	for (struct process *process = processes; process < processes + PROCESSES; process++)
		if (process->state == WAITING && process->event == event)
			process->state = RUNNABLE;
}

long process_fork(void)
{
	struct process *child = find_unused();
	struct space space;

	if (child == NULL || space_create(&space))
		return -1;
	if (space_copy(&current->space, &space)) {
		space_destroy(&space);
		return -1;
	}
	space_activate(&space);
	*child = *current;
	child->space = space;
	child->id = next_id++;
	child->parent = current;
	child->registers[A0] = 0;
	for (int i = 0; i < 8; i++)
		file_hold(&child->files[i]);
	return child->id;
}

long process_exec(u64 name_at, u64 arguments_at)
{
	char name[32], arguments[ARGUMENTS];

	if (copy_in(&current->space, name, name_at, sizeof name) || copy_in(&current->space, arguments, arguments_at, sizeof arguments))
		return -1;
	name[sizeof name - 1] = arguments[ARGUMENTS - 1] = 0;
	return execute(current, name, arguments) ? -1 : (long)current->registers[A0];
}

void process_exit(int status)
{
	if (current == processes)
		panic("the shell ended with %d", (long)status);
	for (int i = 0; i < 8; i++)
		file_drop(&current->files[i]);
	for (struct process *process = processes; process < processes + PROCESSES; process++)
		if (process->parent == current)
			process->parent = processes;
	current->state = ENDED;
	current->status = status;
	wake(current->parent);
}

long process_wait(u64 status)
{
	int children = 0;

	for (struct process *child = processes; child < processes + PROCESSES; child++) {
		if (child->state == UNUSED || child->parent != current)
			continue;
		children++;
		if (child->state != ENDED)
			continue;
		if (status && copy_out(&current->space, status, &child->status, sizeof child->status))
			return -1;
		space_destroy(&child->space);
		child->state = UNUSED;
		return child->id;
	}
	return children > 0 ? wait_for(current) : -1;
}
