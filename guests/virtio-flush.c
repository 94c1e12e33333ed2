/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes records to a virtio disk for ever, and says which of them must be there whatever
 * happens to the host's process: "flushed N" is printed when a flush has completed that
 * was sent after the first N writes had. The next writes are on their way meanwhile.
 *
 * Record n is BS bytes of the pattern of blk.h at place n % places of the disk; its seed is
 * SEED + n / places, so each line of a record tells place and turn.
 *
 *   seed=SEED bs=BYTES depth=N   (100, 4096, 16; at most 64 writes in flight)
 *   flush=yes|no|never           no: the driver does not take the feature; never: takes it in vain
 *   wce=0|1                      sets the write cache's mode first
 *   count=N                      ends after N records: "done", and halts
 *   reset=N                      resets the machine when N records have been sent
 *   button                       powers off when the power button was pressed
 */
#include "blk.h"

enum { DEPTH_MAX = 64, PATIENCE_MS = 60000 };

static struct vdev dev;
static struct vq queue;
static struct blk_req write[DEPTH_MAX], flush;
static uint8_t *data; /* a record for each write */
static uint32_t bs;
static unsigned depth, writing;
static uint64_t places, seed;
static uint64_t flushing; /* records that the flush in flight is about; 0: none is */

/* Takes a finished request. */
static bool take_one(void)
{
	struct blk_req *r = blk_done(&queue, PATIENCE_MS);

	if (!r)
		return check(false, "a request came to an end");
	if (r->status != BLK_OK)
		return check(false, "%s: status %u", r == &flush ? "flush" : "write", r->status);
	if (r != &flush) {
		writing--;
		return true;
	}
	say("flushed %lu\n", flushing);
	flushing = 0;
	return true;
}

/* Every second turn from the end to the start, so that they cannot be merged into one. */
static void send_writes(uint64_t first)
{
	for (unsigned i = 0; i < depth; i++) {
		uint64_t n = first + i, off = n % places * bs;

		pattern_fill(data + (uint64_t)i * bs, off, bs, (unsigned)(seed + n / places));
	}
	for (unsigned k = 0; k < depth; k++) {
		unsigned i = first / depth % 2 ? depth - 1 - k : k;
		struct vbuf b = { (uint64_t)data + (uint64_t)i * bs, bs };

		writing += blk_queue(&queue, &write[i], BLK_OUT, (first + i) % places * bs / SECTOR,
				     &b, 1, true);
	}
	vq_kick(&queue);
}

static bool send_flush(uint64_t n)
{
	while (flushing)
		if (!take_one())
			return false;
	flushing = n;
	blk_queue(&queue, &flush, BLK_FLUSH, 0, NULL, 0, false);
	vq_kick(&queue);
	return true;
}

static bool start(void)
{
	uint64_t want = BIT(BF_CONFIG_WCE) | (arg_is("flush", "no") ? 0 : BIT(BF_FLUSH));

	vdev_need(&dev, VIRTIO_BLK);
	if (!check(vdev_begin(&dev, want) && vq_setup(&dev, &queue, 0), "the device is set up"))
		return false;
	vdev_driver_ok(&dev);
	if (arg_u64("wce", 2) < 2)
		dev.ops->cfg_write(&dev, BC_WRITEBACK, 1, (uint32_t)arg_u64("wce", 2));
	bs = (uint32_t)arg_u64("bs", 4096);
	depth = (unsigned)arg_u64("depth", 16);
	seed = arg_u64("seed", 100);
	places = vdev_cfg64(&dev, BC_CAPACITY) * SECTOR / bs;
	if (!check(depth && depth <= DEPTH_MAX && places >= depth, "the options fit the disk"))
		return false;
	places -= places % depth;
	data = alloc((uint64_t)depth * bs, 0x200000);
	map_user((uint64_t)data, (uint64_t)depth * bs);
	return true;
}

/* The power button's status in the PM1a event block (ACPI 6.4, section 4.8.3.1). */
static bool pressed(void)
{
	static uint16_t port;

	if (!port)
		port = *(const uint16_t *)((const uint8_t *)acpi_find("FACP") + 56);
	return inw(port) & 0x100;
}

void guest_main(void)
{
	bool button = arg_is("button", NULL), flushes = !arg_is("flush", NULL);
	uint64_t count = arg_u64("count", ~0ull), reset = arg_u64("reset", ~0ull);

	flushes |= arg_is("flush", "yes");
	if (!start())
		return;
	say("begin\n");
	for (uint64_t n = 0; n < count && !(button && pressed());) {
		send_writes(n);
		n += depth;
		if (n >= reset)
			outb(0xcf9, 6);
		while (writing)
			if (!take_one())
				return;
		if (!flushes)
			say("written %lu\n", n);
		else if (!send_flush(n))
			return;
	}
	while (flushing)
		if (!take_one())
			return;
	say("done\n");
	if (button)
		leave(EXIT_PASS);
	for (;;)
		asm volatile("cli; hlt");
}
