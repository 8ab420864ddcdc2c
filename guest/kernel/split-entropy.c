/* The front end of the entropy device whose back end is the monitor's: requests and responses in a ring, and both pages granted to it. */
#include "paravirtual.h"

enum { ENTROPY_DEVICE = 4 };
#define SLOTS 128

static struct PAGE_ALIGNED {
	u32 requests, responses, event, unused[13];
	union {
		struct { u32 id, reference, offset, size; } request;
		struct { u32 id; int status; } response;
	} slots[SLOTS];
} ring;

static u8 buffer[PAGE] PAGE_ALIGNED;
/* Responses that have been taken. */
static u32 taken;

static int start(void)
{
	grant(ENTROPY_RING, &ring, GRANTED | WRITABLE);
	grant(ENTROPY_PAGE, buffer, GRANTED | WRITABLE);
	hypercall(CONNECT, ENTROPY_DEVICE, ENTROPY_RING, 0);
	return 1;
}

static void ask(void)
{
	u32 slot = ring.requests++ % SLOTS;

	ring.slots[slot].request.reference = ENTROPY_PAGE;
	ring.slots[slot].request.offset = 0;
	ring.slots[slot].request.size = ENTROPY_BUFFER;
	ring.event = ring.requests;
	hypercall(KICK, ENTROPY_DEVICE, 0, 0);
}

static u32 answer(void)
{
	shared.events = 0;
	if (taken == ring.responses)
		return 0;
	int status = ring.slots[taken++ % SLOTS].response.status;
	if (status < 0)
		panic("the monitor refuses a request for entropy: %d", (long)status);
	return status;
}

const struct entropy_driver split_entropy = { start, ask, answer, buffer };
