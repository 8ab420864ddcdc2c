/* From a START frame to a process. */
#pragma once
#include "protocol.h"

struct failure {
	u32 step, error;
};

/* Starts the command; `fds` are our ends of its streams. -1 if it can't be, and why. */
int launch(const struct frame *frame, int *pid, int *pidfd, int fds[STREAMS], struct failure *failure);
