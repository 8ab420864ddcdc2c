/*
 * The first program. Its commands, "NAME ARGUMENTS; NAME ARGUMENTS", come from the kernel's command line, and the machine is off after the
 * last; or from the console.
 */
#include "library.h"

/* Returns whether it went wrong. */
static int run(char *command)
{
	char *arguments = command;
	int status = 0;

	while (*arguments && *arguments != ' ')
		arguments++;
	if (*arguments)
		*arguments++ = 0;
	if (same_text(command, "off"))
		call(CALL_OFF, 0, 0, 0);
	if (fork() == 0) {
		execute(command, arguments);
		print("%s: no such program\n", command);
		exit(127);
	}
	if (wait(&status) < 0)
		status = -1;
	if (status != 0)
		print("%s: status %d\n", command, (long)status);
	return status != 0;
}

static int run_all(char *line)
{
	int failed = 0;

	while (*line) {
		char *command = line;
		while (*line && *line != ';')
			line++;
		if (*line)
			*line++ = 0;
		while (*command == ' ')
			command++;
		if (*command)
			failed |= run(command);
	}
	return failed;
}

/* A line of the console, shown as it is typed. */
static void read_line(char *line, long room)
{
	long size = 0;

	print("$ ");
	for (char byte; read(0, &byte, 1) == 1;) {
		write(1, &byte, 1);
		if (byte == '\n')
			break;
		if (size < room - 1)
			line[size++] = byte;
	}
	line[size] = 0;
}

int main(const char *arguments)
{
	char line[256];

	if (*arguments) {
		memcpy(line, arguments, length_of(arguments) + 1);
		call(CALL_OFF, run_all(line), 0, 0);
	}
	for (;;) {
		read_line(line, sizeof line);
		run_all(line);
	}
}
