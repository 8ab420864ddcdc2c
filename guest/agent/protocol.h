/*
 * What host and agent say to each other: docs/agent.md. The other half is src/agent/protocol.ts.
 *
 *     length of the payload u32 | kind u32 | number of the exec u32 | payload          all little-endian
 */
#pragma once
#include "system.h"

#define VERSION 1
#define HEADER 12
#define MAX_PAYLOAD (128 * 1024)
/* Bytes of a stream that may be under way unasked. */
#define WINDOW (64 * 1024)
/* A stream's bytes come in frames no longer than this, so that others get their turn. */
#define MAX_CHUNK (16 * 1024)

enum kind { HELLO = 1, START, DATA, CREDIT, KILL, STARTED, FAILED, EXITED };

/* Where the start of a command can fail. */
enum step { STEP_AGENT, STEP_DIRECTORY, STEP_COMMAND };

enum stream { STDIN, STDOUT, STDERR, STREAMS };

/* hello: magic, version u32, nonce. */
#define MAGIC "hostelry"
#define MAGIC_SIZE 8
#define NONCE_SIZE 8
#define HELLO_SIZE (MAGIC_SIZE + 4 + NONCE_SIZE)

struct frame {
	u32 length, kind, exec;
	const u8 *payload;
};

/* Fields stand where they stand, aligned or not. */
static inline u32 get32(const u8 *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (u32)at[3] << 24;
}

static inline void put32(u8 *at, u32 value)
{
	for (int i = 0; i < 4; i++)
		at[i] = value >> 8 * i;
}
