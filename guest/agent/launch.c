#include "launch.h"

#define MAX_STRINGS 8192

/* What a command finds in its environment, besides what it is given. */
static const char *const usual[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"USER=root",
	"LOGNAME=root",
	"SHELL=/bin/sh",
};
#define USUAL (sizeof usual / sizeof *usual)
#define USUAL_DIRECTORY "/root"

static const char *argv[MAX_STRINGS + 1];
static const char *env[MAX_STRINGS + USUAL + 1];
static const char *directory;

/* The text that begins here, and in `at` what follows it; NULL if it has no end. */
static const char *take_text(const u8 **at, const u8 *end)
{
	const u8 *start = *at;

	for (const u8 *byte = start; byte < end; byte++)
		if (*byte == 0) {
			*at = byte + 1;
			return (const char *)start;
		}
	return NULL;
}

/* Whether both are of the same variable. */
static int same_name(const char *one, const char *other)
{
	while (*one == *other && *one != '=' && *one != 0)
		one++, other++;
	return *one == '=' && *other == '=';
}

static void add_to_environment(u32 *count, const char *text)
{
	for (u32 i = 0; i < *count; i++)
		if (same_name(env[i], text)) {
			env[i] = text;
			return;
		}
	env[(*count)++] = text;
}

/* argc u32, envc u32, and texts: directory, arguments, environment. Returns an errno, or 0. */
static int parse(const struct frame *frame)
{
	const u8 *at = frame->payload + 8, *end = frame->payload + frame->length;
	u32 env_count = USUAL;

	if (frame->length < 8)
		return EINVAL;
	u32 argc = get32(frame->payload), envc = get32(frame->payload + 4);
	if (argc > MAX_STRINGS || envc > MAX_STRINGS)
		return E2BIG;
	directory = take_text(&at, end);
	if (directory == NULL)
		return EINVAL;
	if (*directory == 0)
		directory = USUAL_DIRECTORY;
	if (argc == 0)
		return EINVAL;
	for (u32 i = 0; i < argc; i++)
		if ((argv[i] = take_text(&at, end)) == NULL)
			return EINVAL;
	argv[argc] = NULL;
	memcpy(env, usual, sizeof usual);
	for (u32 i = 0; i < envc; i++) {
		const char *text = take_text(&at, end);
		if (text == NULL)
			return EINVAL;
		add_to_environment(&env_count, text);
	}
	env[env_count] = NULL;
	return 0;
}

static const char *path_variable(void)
{
	for (const char **text = env; *text != NULL; text++)
		if (same_name(*text, "PATH="))
			return *text + strlen("PATH=");
	return "";
}

/* As a shell finds a command. Returns an errno: the most telling one. */
static int execute(void)
{
	static char path[4096];
	const char *name = argv[0];
	u64 name_size = strlen(name) + 1;
	int error = ENOENT;

	for (const char *byte = name; *byte != 0; byte++)
		if (*byte == '/')
			return -sys_execve(name, argv, env);
	for (const char *at = path_variable();; at++) {
		u64 size = 0;
		while (at[size] != ':' && at[size] != 0)
			size++;
		if (size > 0 && size + 1 + name_size <= sizeof path) {
			memcpy(path, at, size);
			path[size] = '/';
			memcpy(path + size + 1, name, name_size);
			int result = -sys_execve(path, argv, env);
			if (result != ENOENT && result != ENOTDIR)
				error = result;
		}
		at += size;
		if (*at == 0)
			return error;
	}
}

/* In the new process: tells through `report` what went wrong. */
static void __attribute__((noreturn)) become_command(int theirs[STREAMS], int report)
{
	struct failure failure = { STEP_DIRECTORY, 0 };

	/* A session of its own, so that a signal reaches all that it starts, and no terminal's does. */
	sys_setsid();
	sys_signal(SIGPIPE, SIG_DFL);
	for (int stream = 0; stream < STREAMS; stream++)
		sys_dup(theirs[stream], stream);
	failure.error = -sys_chdir(directory);
	if (failure.error == 0) {
		failure.step = STEP_COMMAND;
		failure.error = execute();
	}
	sys_write(report, &failure, sizeof failure);
	sys_exit(127);
}

static void close_all(const int *fds, int count)
{
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			sys_close(fds[i]);
}

int launch(const struct frame *frame, int *pid, int *pidfd, int fds[STREAMS], struct failure *failure)
{
	/* Both ends of each stream and of the report: what is read is even. */
	int ends[STREAMS + 1][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int error = parse(frame);

	for (int i = 0; i <= STREAMS && error == 0; i++)
		error = -sys_pipe(ends[i], O_CLOEXEC);
	int theirs[STREAMS] = { ends[STDIN][0], ends[STDOUT][1], ends[STDERR][1] };
	int ours[STREAMS] = { ends[STDIN][1], ends[STDOUT][0], ends[STDERR][0] };
	int *report = ends[STREAMS];

	if (error == 0) {
		*pid = sys_fork(pidfd);
		if (*pid == 0)
			become_command(theirs, report[1]);
		if (*pid < 0)
			error = -*pid;
	}
	close_all(theirs, STREAMS);
	close_all(report + 1, 1);
	*failure = (struct failure){ STEP_AGENT, error };
	/* The end of the report without a word is success: the command's own program has begun, and closed it. */
	int failed = error != 0 || sys_read(report[0], failure, sizeof *failure) > 0;
	close_all(report, 1);
	if (!failed) {
		for (int stream = 0; stream < STREAMS; stream++) {
			sys_set_flags(ours[stream], O_NONBLOCK);
			fds[stream] = ours[stream];
		}
		return 0;
	}
	close_all(ours, STREAMS);
	if (error == 0) {
		sys_waitid(P_PIDFD, *pidfd, NULL, WEXITED);
		sys_close(*pidfd);
	}
	return -1;
}
