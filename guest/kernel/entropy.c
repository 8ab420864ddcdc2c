/* The virtio entropy device (virtio 1.2, 4.2 and 5.4), of which one buffer at a time is asked, and the interrupt controller for its sake. */
#include "platform.h"

/* QEMU's board and ours: slots of virtio devices, with the PLIC's sources 1 to 8; its registers for hart 0 in S-mode. */
#define SLOT(n) (0x10001000ul + 0x1000 * (n))
#define SLOTS 8
#define PLIC_PRIORITY(source) (0x0c000000ul + 4 * (source))
#define PLIC_ENABLE 0x0c002080ul
#define PLIC_THRESHOLD 0x0c201000ul
#define PLIC_CLAIM 0x0c201004ul

enum { ENTROPY_DEVICE = 4 };
enum {
	VERSION = 0x04, DEVICE_ID = 0x08, DRIVER_FEATURES = 0x20, DRIVER_FEATURES_SELECT = 0x24, QUEUE_SIZE = 0x38, QUEUE_READY = 0x44,
	QUEUE_NOTIFY = 0x50, INTERRUPT_STATUS = 0x60, INTERRUPT_ACKNOWLEDGE = 0x64, STATUS = 0x70,
	QUEUE_DESCRIPTORS = 0x80, QUEUE_DRIVER = 0x90, QUEUE_DEVICE = 0xa0,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { DEVICE_WRITES = 2 };

/* A split queue of one descriptor, and its buffer. */
static struct queue {
	struct { u64 address; u32 size; u16 flags, next; } descriptor;
	struct { u16 flags, index, ring[1]; } available;
	u8 buffer[64];
	struct { u16 flags, index; struct { u32 id, size; } ring[1]; } used __attribute__((aligned(4)));
} queue __attribute__((aligned(256)));

/* The device's slot, or 0; whether it has been asked; what it gave and nobody took yet. */
static u64 device;
static int asked;
static u32 given;

static void set_address(u64 offset, const void *address)
{
	platform->device_write(device + offset, (u64)address);
	platform->device_write(device + offset + 4, (u64)address >> 32);
}

static void set_up(u32 source)
{
	platform->device_write(device + STATUS, 0);
	platform->device_write(device + STATUS, ACKNOWLEDGE | DRIVER);
	/* Of the features, only that it is no older one. */
	platform->device_write(device + DRIVER_FEATURES_SELECT, 1);
	platform->device_write(device + DRIVER_FEATURES, 1);
	platform->device_write(device + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	platform->device_write(device + QUEUE_SIZE, 1);
	set_address(QUEUE_DESCRIPTORS, &queue.descriptor);
	set_address(QUEUE_DRIVER, &queue.available);
	set_address(QUEUE_DEVICE, &queue.used);
	platform->device_write(device + QUEUE_READY, 1);
	platform->device_write(device + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	platform->device_write(PLIC_PRIORITY(source), 1);
	platform->device_write(PLIC_ENABLE, 1 << source);
	platform->device_write(PLIC_THRESHOLD, 0);
	queue.descriptor.address = (u64)queue.buffer;
	queue.descriptor.size = sizeof queue.buffer;
	queue.descriptor.flags = DEVICE_WRITES;
}

void entropy_start(void)
{
	for (u32 slot = 0; slot < SLOTS && device == 0; slot++)
		if (platform->device_read(SLOT(slot) + VERSION) == 2 && platform->device_read(SLOT(slot) + DEVICE_ID) == ENTROPY_DEVICE) {
			device = SLOT(slot);
			set_up(1 + slot);
		}
}

void entropy_interrupt(void)
{
	u32 source = platform->device_read(PLIC_CLAIM);

	if (source == 0)
		return;
	platform->device_write(device + INTERRUPT_ACKNOWLEDGE, platform->device_read(device + INTERRUPT_STATUS));
	platform->device_write(PLIC_CLAIM, source);
	asked = 0;
	given = queue.used.ring[0].size;
	wake(&queue);
}

static void ask(void)
{
	asked = 1;
	/* The ring of one place always names descriptor 0. */
	asm volatile("fence" ::: "memory");
	queue.available.index++;
	asm volatile("fence" ::: "memory");
	platform->device_write(device + QUEUE_NOTIFY, 0);
}

long entropy_read(u64 to, u64 size)
{
	if (device == 0)
		return -1;
	if (given == 0) {
		if (!asked)
			ask();
		return wait_for(&queue);
	}
	size = size < given ? size : given;
	if (copy_out(&current->space, to, queue.buffer + given - size, size))
		return -1;
	given -= size;
	return size;
}
