/* The driver for virtio's entropy device (virtio 1.2, 4.2 and 5.4), and the interrupt controller for its sake. */
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
	u8 buffer[ENTROPY_BUFFER];
	struct { u16 flags, index; struct { u32 id, size; } ring[1]; } used __attribute__((aligned(4)));
} queue __attribute__((aligned(256)));

/* Its slot. */
static u64 device;

static u32 device_read(u64 address)
{
	return *(volatile u32 *)address;
}

static void device_write(u64 address, u32 value)
{
	*(volatile u32 *)address = value;
}

static void set_address(u64 offset, const void *address)
{
	device_write(device + offset, (u64)address);
	device_write(device + offset + 4, (u64)address >> 32);
}

static void set_up(u32 source)
{
	device_write(device + STATUS, 0);
	device_write(device + STATUS, ACKNOWLEDGE | DRIVER);
	/* Of the features, only that it is no older one. */
	device_write(device + DRIVER_FEATURES_SELECT, 1);
	device_write(device + DRIVER_FEATURES, 1);
	device_write(device + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	device_write(device + QUEUE_SIZE, 1);
	set_address(QUEUE_DESCRIPTORS, &queue.descriptor);
	set_address(QUEUE_DRIVER, &queue.available);
	set_address(QUEUE_DEVICE, &queue.used);
	device_write(device + QUEUE_READY, 1);
	device_write(device + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	device_write(PLIC_PRIORITY(source), 1);
	device_write(PLIC_ENABLE, 1 << source);
	device_write(PLIC_THRESHOLD, 0);
	queue.descriptor.address = (u64)queue.buffer;
	queue.descriptor.size = sizeof queue.buffer;
	queue.descriptor.flags = DEVICE_WRITES;
}

static int start(void)
{
	for (u32 slot = 0; slot < SLOTS; slot++)
		if (device_read(SLOT(slot) + VERSION) == 2 && device_read(SLOT(slot) + DEVICE_ID) == ENTROPY_DEVICE) {
			device = SLOT(slot);
			set_up(1 + slot);
			return 1;
		}
	return 0;
}

static void ask(void)
{
	/* The ring of one place always names descriptor 0. */
	asm volatile("fence" ::: "memory");
	queue.available.index++;
	asm volatile("fence" ::: "memory");
	device_write(device + QUEUE_NOTIFY, 0);
}

static u32 answer(void)
{
	u32 source = device_read(PLIC_CLAIM);

	if (source == 0)
		return 0;
	device_write(device + INTERRUPT_ACKNOWLEDGE, device_read(device + INTERRUPT_STATUS));
	device_write(PLIC_CLAIM, source);
	return queue.used.ring[0].size;
}

const struct entropy_driver virtio_entropy = { start, ask, answer, queue.buffer };
