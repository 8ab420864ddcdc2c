/* Files: the console, and pipes. */
#include "kernel.h"

#define PIPES 16
#define ROOM 512

struct pipe {
	char bytes[ROOM];
	/* So many were written and read since it was made. */
	u64 written, taken;
	/* Files that read from it and write to it. */
	int readers, writers;
};

static struct pipe pipes[PIPES];

static struct file *file_at(int number, int kind)
{
	struct file *file = number >= 0 && number < 8 ? &current->files[number] : NULL;
	return file != NULL && (file->kind == kind || file->kind == CONSOLE) ? file : NULL;
}

static int *users_of(struct file *file)
{
	return file->kind == PIPE_OUT ? &file->pipe->readers : &file->pipe->writers;
}

void file_hold(struct file *file)
{
	if (file->pipe != NULL)
		++*users_of(file);
}

void file_drop(struct file *file)
{
	if (file->pipe != NULL) {
		--*users_of(file);
		wake(file->pipe);
	}
	*file = (struct file){ CLOSED };
}

static int take_number(void)
{
	for (int i = 0; i < 8; i++)
		if (current->files[i].kind == CLOSED)
			return i;
	return -1;
}

static int open_end(int kind, struct pipe *pipe)
{
	int number = take_number();

	if (number >= 0) {
		current->files[number] = (struct file){ kind, pipe };
		file_hold(&current->files[number]);
	}
	return number;
}

long pipe_create(u64 ends)
{
	struct pipe *pipe = pipes;

	while (pipe < pipes + PIPES && pipe->readers + pipe->writers > 0)
		pipe++;
	if (pipe == pipes + PIPES)
		return -1;
	*pipe = (struct pipe){ .written = 0 };
	int numbers[] = { open_end(PIPE_OUT, pipe), open_end(PIPE_IN, pipe) };
	if (numbers[1] >= 0 && copy_out(&current->space, ends, numbers, sizeof numbers) == 0)
		return 0;
	for (int i = 0; i < 2; i++)
		file_close(numbers[i]);
	return -1;
}

static long pipe_read(struct pipe *pipe, u64 to, u64 size)
{
	u64 count = 0;

	if (pipe->written == pipe->taken)
		return pipe->writers > 0 ? wait_for(pipe) : 0;
	for (; count < size && pipe->taken < pipe->written; count++, pipe->taken++)
		if (copy_out(&current->space, to + count, &pipe->bytes[pipe->taken % ROOM], 1))
			return -1;
	wake(pipe);
	return count;
}

static long pipe_write(struct pipe *pipe, u64 from, u64 size)
{
	u64 count = 0;

	if (pipe->readers == 0)
		return -1;
	if (pipe->written - pipe->taken == ROOM)
		return wait_for(pipe);
	for (; count < size && pipe->written - pipe->taken < ROOM; count++, pipe->written++)
		if (copy_in(&current->space, &pipe->bytes[pipe->written % ROOM], from + count, 1))
			return -1;
	wake(pipe);
	return count;
}

long file_read(int number, u64 to, u64 size)
{
	struct file *file = file_at(number, PIPE_OUT);

	if (file == NULL)
		return -1;
	return file->kind == CONSOLE ? console_read(to, size) : pipe_read(file->pipe, to, size);
}

long file_write(int number, u64 from, u64 size)
{
	struct file *file = file_at(number, PIPE_IN);
	char line[128];

	if (file == NULL)
		return -1;
	if (file->kind != CONSOLE)
		return pipe_write(file->pipe, from, size);
	size = size < sizeof line ? size : sizeof line;
	if (copy_in(&current->space, line, from, size))
		return -1;
	console_write(line, size);
	return size;
}

long file_close(int number)
{
	if (number < 0 || number >= 8 || current->files[number].kind == CLOSED)
		return -1;
	file_drop(&current->files[number]);
	return 0;
}
