/* The commands that run: their processes, and what is on its way to and from them. */
#pragma once
#include "protocol.h"

#define MAX_COMMANDS 64
/* Descriptors of a command that are waited for: its streams, and its process. */
#define COMMAND_POLLS (STREAMS + 1)

/* What a frame of that kind asks for. */
void command_start(const struct frame *frame);
void command_data(const struct frame *frame);
void command_credit(const struct frame *frame);
void command_kill(const struct frame *frame);

/* Ends them all; nobody is told. */
void command_end_all(void);

/* What to wait for (COMMAND_POLLS for each of MAX_COMMANDS), and what to do when it has come. Returns how many are in use. */
u32 command_want(struct pollfd *polls);
void command_move(const struct pollfd *polls);
