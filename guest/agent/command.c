#include "command.h"
#include "launch.h"
#include "port.h"

enum state { FREE, RUNNING, EXITED_ALREADY, FORSAKEN };

/*
 * RUNNING, its process has not ended. EXITED_ALREADY, it has, and what it wrote is still being sent. FORSAKEN, it was killed, as nobody
 * wants it any more, and its process has not ended.
 */
struct command {
	enum state state;
	u32 exec;
	int pid, pidfd;
	/* Our ends of its streams, or -1. */
	int fds[STREAMS];
	/* What may be sent of its output. */
	u32 credit[STREAMS];
	/* Input that it has not read, in a ring; whether that is all there will be; what it read, and the host doesn't know yet. */
	u8 input[WINDOW];
	u32 input_start, input_size;
	int input_ended;
	u32 owed;
	int code, signal;
};

static struct command commands[MAX_COMMANDS];
/* Who is served first: each in turn. */
static u32 first;

static struct command *find(u32 exec)
{
	for (struct command *c = commands; c < commands + MAX_COMMANDS; c++)
		if (c->exec == exec && (c->state == RUNNING || c->state == EXITED_ALREADY))
			return c;
	return NULL;
}

static struct command *find_free(void)
{
	for (struct command *c = commands; c < commands + MAX_COMMANDS; c++)
		if (c->state == FREE)
			return c;
	return NULL;
}

static void close_stream(struct command *c, enum stream stream)
{
	if (c->fds[stream] >= 0)
		sys_close(c->fds[stream]);
	c->fds[stream] = -1;
}

static void forsake(struct command *c)
{
	if (c->state == FREE)
		return;
	for (int stream = 0; stream < STREAMS; stream++)
		close_stream(c, stream);
	if (c->state == RUNNING) {
		sys_kill(-c->pid, SIGKILL);
		c->state = FORSAKEN;
	} else if (c->state == EXITED_ALREADY) {
		c->state = FREE;
	}
}

void command_end_all(void)
{
	for (u32 i = 0; i < MAX_COMMANDS; i++)
		forsake(&commands[i]);
}

static void send_words(enum kind kind, u32 exec, u32 one, u32 other)
{
	put32(port_payload(), one);
	put32(port_payload() + 4, other);
	port_send(kind, exec, 8);
}

void command_start(const struct frame *frame)
{
	struct command *c = find_free();
	struct failure failure = { STEP_AGENT, EAGAIN };

	if (c == NULL || launch(frame, &c->pid, &c->pidfd, c->fds, &failure) < 0)
		return send_words(FAILED, frame->exec, failure.step, failure.error);
	c->state = RUNNING;
	c->exec = frame->exec;
	c->credit[STDOUT] = c->credit[STDERR] = WINDOW;
	c->input_start = c->input_size = c->owed = 0;
	c->input_ended = 0;
	port_send(STARTED, c->exec, 0);
}

void command_data(const struct frame *frame)
{
	struct command *c = find(frame->exec);

	if (c == NULL || frame->length < 4)
		return;
	u32 size = frame->length - 4;
	const u8 *bytes = frame->payload + 4;
	if (size == 0)
		c->input_ended = 1;
	/* It reads no more: so much for that. */
	if (c->fds[STDIN] < 0) {
		c->owed += size;
		return;
	}
	for (u32 i = 0; i < size && c->input_size < WINDOW; i++)
		c->input[(c->input_start + c->input_size++) % WINDOW] = bytes[i];
}

void command_credit(const struct frame *frame)
{
	struct command *c = find(frame->exec);

	if (c == NULL || frame->length < 8)
		return;
	u32 stream = get32(frame->payload);
	if (stream == STDOUT || stream == STDERR)
		c->credit[stream] += get32(frame->payload + 4);
}

void command_kill(const struct frame *frame)
{
	struct command *c = find(frame->exec);

	if (c != NULL && c->state == RUNNING && frame->length >= 4)
		sys_kill(-c->pid, get32(frame->payload));
}

static void move_input(struct command *c)
{
	while (c->fds[STDIN] >= 0 && c->input_size > 0) {
		u32 to_end = WINDOW - c->input_start;
		long size = sys_write(c->fds[STDIN], c->input + c->input_start, c->input_size < to_end ? c->input_size : to_end);
		if (size == -EAGAIN)
			break;
		if (size < 0) {
			/* Nobody reads it. */
			size = c->input_size;
			close_stream(c, STDIN);
		}
		c->input_start = (c->input_start + size) % WINDOW;
		c->input_size -= size;
		c->owed += size;
	}
	if (c->input_ended && c->input_size == 0)
		close_stream(c, STDIN);
	if (c->owed >= WINDOW / 2 && port_room(8)) {
		send_words(CREDIT, c->exec, STDIN, c->owed);
		c->owed = 0;
	}
}

/*
 * A chunk a turn; of a command that has exited, all that is there: as it wrote that before, the first time that there is nothing is the end,
 * even if a process that it left behind has the pipe open.
 */
static void move_output(struct command *c, enum stream stream)
{
	int exited = c->state == EXITED_ALREADY;

	while (c->fds[stream] >= 0 && c->credit[stream] > 0 && port_room(4 + MAX_CHUNK)) {
		u32 limit = c->credit[stream] < MAX_CHUNK ? c->credit[stream] : MAX_CHUNK;
		long size = sys_read(c->fds[stream], port_payload() + 4, limit);
		if (size > 0) {
			put32(port_payload(), stream);
			port_send(DATA, c->exec, 4 + size);
			c->credit[stream] -= size;
		} else if (size == 0 || exited || size != -EAGAIN) {
			close_stream(c, stream);
		}
		if (!exited)
			break;
	}
}

/* Whether its process has ended; notes how. */
static int has_exited(struct command *c)
{
	siginfo_t info = { .si_pid = 0 };

	if (sys_waitid(P_PIDFD, c->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return 0;
	sys_close(c->pidfd);
	c->code = info.si_code == CLD_EXITED ? info.si_status : 0;
	c->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	return 1;
}

static void move(struct command *c, const struct pollfd *polls)
{
	if (c->state == FORSAKEN) {
		if (polls[STREAMS].revents && has_exited(c))
			c->state = FREE;
		return;
	}
	if (c->state == RUNNING && polls[STREAMS].revents && has_exited(c)) {
		c->state = EXITED_ALREADY;
		c->input_ended = 1;
		c->input_size = 0;
	}
	move_input(c);
	for (enum stream stream = STDOUT; stream <= STDERR; stream++)
		if (polls[stream].revents || c->state == EXITED_ALREADY)
			move_output(c, stream);
	if (c->state == EXITED_ALREADY && c->fds[STDOUT] < 0 && c->fds[STDERR] < 0 && port_room(8)) {
		send_words(EXITED, c->exec, c->code, c->signal);
		c->state = FREE;
	}
}

u32 command_want(struct pollfd *polls)
{
	u32 used = 0;
	int room = port_room(4 + MAX_CHUNK);

	for (u32 i = 0; i < MAX_COMMANDS; i++) {
		struct command *c = &commands[i];
		struct pollfd *poll = &polls[i * COMMAND_POLLS];
		int active = c->state == RUNNING || c->state == EXITED_ALREADY;

		if (c->state != FREE)
			used = i + 1;
		for (int stream = 0; stream < STREAMS; stream++) {
			int wanted = stream == STDIN ? c->input_size > 0 : room && c->credit[stream] > 0;
			poll[stream] = (struct pollfd){ active && wanted ? c->fds[stream] : -1, stream == STDIN ? POLLOUT : POLLIN, 0 };
		}
		poll[STREAMS] = (struct pollfd){ c->state == RUNNING || c->state == FORSAKEN ? c->pidfd : -1, POLLIN, 0 };
	}
	return used * COMMAND_POLLS;
}

void command_move(const struct pollfd *polls)
{
	first = (first + 1) % MAX_COMMANDS;
	for (u32 i = 0; i < MAX_COMMANDS; i++) {
		u32 turn = (first + i) % MAX_COMMANDS;
		if (commands[turn].state != FREE)
			move(&commands[turn], &polls[turn * COMMAND_POLLS]);
	}
}
