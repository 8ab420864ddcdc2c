/* Runs commands in the guest for the host: docs/agent.md. */
#include "command.h"
#include "port.h"

/* Any answer to a frame from the host fits here. */
#define ANSWER 64

static void greet(const struct frame *frame)
{
	if (frame->length != HELLO_SIZE)
		return;
	/* Somebody new is at the other end. */
	command_end_all();
	port_forget();
	u8 *answer = port_payload();
	memcpy(answer, frame->payload, HELLO_SIZE);
	put32(answer + MAGIC_SIZE, VERSION);
	port_send(HELLO, 0, HELLO_SIZE);
}

static void obey(const struct frame *frame)
{
	switch (frame->kind) {
	case HELLO:
		return greet(frame);
	case START:
		return command_start(frame);
	case DATA:
		return command_data(frame);
	case CREDIT:
		return command_credit(frame);
	case KILL:
		return command_kill(frame);
	}
}

int main(void)
{
	static struct pollfd polls[1 + MAX_COMMANDS * COMMAND_POLLS];
	struct frame frame;

	/* A command that doesn't read its input is no reason to end. */
	sys_signal(SIGPIPE, SIG_IGN);
	port_open();
	for (;;) {
		port_want(&polls[0]);
		u32 count = 1 + command_want(polls + 1);
		long patience = port_patience();
		if (sys_poll(polls, count, patience) == 0 && patience > 0)
			port_timed_out();
		port_move(&polls[0]);
		while (port_room(ANSWER) && port_next(&frame))
			obey(&frame);
		command_move(polls + 1);
		port_move(&(struct pollfd){ 0 });
	}
}
