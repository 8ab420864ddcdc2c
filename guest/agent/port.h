/* The port to the host: frames in, frames out. */
#pragma once
#include "protocol.h"

/* Opens it, waiting for it to appear. */
void port_open(void);
/* What to wait for, and what to do when it has come. */
void port_want(struct pollfd *poll);
void port_move(const struct pollfd *poll);
/* How long to wait, in milliseconds: a frame that stays unfinished for that time is given up. */
long port_patience(void);
void port_timed_out(void);

/* The next frame from the host, if all of it is there; its payload stays until port_next is called again. */
int port_next(struct frame *frame);

/* Whether there is room for a payload of so many bytes. */
int port_room(u32 size);
/* Where a payload of at most so many bytes can be put, for which there must be room; and sends `size` bytes that stand there. */
u8 *port_payload(void);
void port_send(enum kind kind, u32 exec, u32 size);
/* Forgets what has not been sent. */
void port_forget(void);
