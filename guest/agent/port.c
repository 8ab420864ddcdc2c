#include "port.h"

#define PORTS "/sys/class/virtio-ports"
#define NAME "org.hostelry.agent.0\n"

/* A frame that isn't finished after so long never will be: its sender has gone. */
#define PATIENCE 5000
/* The kernel makes the port's files some time after it has found the device. */
#define TRIES 200
#define PAUSE 50

static int port = -1;

static u8 in[2 * (HEADER + MAX_PAYLOAD)];
/* What came and was not yet taken. */
static u32 in_start, in_end;
/* Whether in[in_start] is where a frame begins. If not, the next one that can be told is a hello. */
static int in_step;
/* Whether a frame has begun to come. */
static int in_partial;

static u8 out[64 * 1024];
static u32 out_start, out_end;
/* Whether somebody asked for room and found none. */
static int starved;

/* Whether /sys says that this port, "vport0p1", is ours. */
static int is_ours(const char *port_name)
{
	char path[128] = PORTS "/";
	char name[sizeof NAME] = "";
	u64 length = strlen(port_name);

	if (length > 32)
		return 0;
	memcpy(path + strlen(path), port_name, length + 1);
	memcpy(path + strlen(path), "/name", 6);
	int file = sys_open(path, O_RDONLY);
	if (file < 0)
		return 0;
	sys_read(file, name, sizeof name);
	sys_close(file);
	return memcmp(name, NAME, strlen(NAME)) == 0;
}

struct entry {
	u64 inode, offset;
	u16 size;
	u8 type;
	char name[];
};

static int find_and_open(void)
{
	static u8 entries[2048] __attribute__((aligned(8)));
	char path[64] = "/dev/";
	int result = -ENOENT;
	int directory = sys_open(PORTS, O_RDONLY | O_DIRECTORY);

	if (directory < 0)
		return directory;
	long size = sys_getdents(directory, entries, sizeof entries);
	for (long at = 0; at < size;) {
		const struct entry *entry = (const struct entry *)(entries + at);
		if (is_ours(entry->name)) {
			memcpy(path + 5, entry->name, strlen(entry->name) + 1);
			result = sys_open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		}
		at += entry->size;
	}
	sys_close(directory);
	return result;
}

void port_open(void)
{
	for (int tries = 0; port < 0; tries++) {
		port = find_and_open();
		/* init would only start us again. */
		if (port < 0)
			sleep_for(tries < TRIES ? PAUSE : -1);
	}
}

void port_want(struct pollfd *poll)
{
	poll->fd = port;
	poll->events = (in_end - in_start < sizeof in ? POLLIN : 0) | (out_start < out_end ? POLLOUT : 0);
}

void port_move(const struct pollfd *poll)
{
	/* The device has not yet told the kernel that somebody is at its other end. */
	if (poll->revents & POLLHUP)
		sleep_for(PAUSE);
	if (poll->revents & POLLIN) {
		in_end -= in_start;
		memmove(in, in + in_start, in_end);
		in_start = 0;
		/* One read gives what one buffer of the device held. */
		for (long size; in_end < sizeof in && (size = sys_read(port, in + in_end, sizeof in - in_end)) > 0;)
			in_end += size;
	}
	while (out_start < out_end) {
		long size = sys_write(port, out + out_start, out_end - out_start);
		if (size <= 0)
			break;
		out_start += size;
	}
	if (out_start == out_end)
		out_start = out_end = 0;
}

long port_patience(void)
{
	/* There is room again: whoever was told otherwise is to try again now. */
	int hurry = starved && out_start == out_end;

	starved = 0;
	return hurry ? 0 : in_partial ? PATIENCE : -1;
}

void port_timed_out(void)
{
	in_step = 0;
	in_start++;
}

/* Whether a hello begins here, whole or as far as it has come; all of it that is always the same. */
static int looks_like_hello(const u8 *at, u32 size)
{
	static const u8 start[] = { HELLO_SIZE, 0, 0, 0, HELLO, 0, 0, 0, 0, 0, 0, 0, 'h', 'o', 's', 't', 'e', 'l', 'r', 'y' };

	return memcmp(at, start, size < sizeof start ? size : sizeof start) == 0;
}

int port_next(struct frame *frame)
{
	if (!in_step)
		while (in_start < in_end && !looks_like_hello(in + in_start, in_end - in_start))
			in_start++;
	u32 size = in_end - in_start;
	in_partial = size > 0;
	if (size < HEADER)
		return 0;
	const u8 *at = in + in_start;
	*frame = (struct frame){ get32(at), get32(at + 4), get32(at + 8), at + HEADER };
	if (frame->length > MAX_PAYLOAD) {
		in_step = 0;
		return port_next(frame);
	}
	if (size < HEADER + frame->length)
		return 0;
	in_step = 1;
	in_partial = 0;
	in_start += HEADER + frame->length;
	return 1;
}

int port_room(u32 size)
{
	if (sizeof out - out_end < HEADER + size) {
		memmove(out, out + out_start, out_end - out_start);
		out_end -= out_start;
		out_start = 0;
	}
	int room = sizeof out - out_end >= HEADER + size;
	starved |= !room;
	return room;
}

u8 *port_payload(void)
{
	return out + out_end + HEADER;
}

void port_send(enum kind kind, u32 exec, u32 size)
{
	put32(out + out_end, size);
	put32(out + out_end + 4, kind);
	put32(out + out_end + 8, exec);
	out_end += HEADER + size;
}

void port_forget(void)
{
	out_start = out_end = 0;
}
