/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measures virtio-blk: keeps `depth` requests in flight and counts. All of the
 * queue's work is done at CPL3, which runs natively also where KVM does kernel mode in software, so
 * that the figure is about the device and the disk. Polls the used ring; rings
 * the doorbell only when the device asks for it by its event index. Modern PCI, split ring.
 *
 *   op=randread|randwrite|seqread|seqwrite   (default randread)
 *   bs=BYTES depth=N      size of a request, requests in flight (4096, 32; at most 64)
 *   count=N | seconds=N   when to end (default: 2 seconds)
 *   span=BYTES            the part of the disk that is used (default: all)
 */
#include "blk.h"

enum { MAX_DEPTH = 64, LINKS = 3 }; /* of each request: header, data, status */

static struct vdev dev;
static struct vq queue;

/* What the code at CPL3 works on; it sees nothing else of the guest. */
struct bench {
	struct vdesc *desc;
	volatile struct vavail *avail;
	volatile struct vused *used;
	volatile uint16_t *used_event, *avail_event, *doorbell;
	uint16_t size;
	unsigned depth;
	bool random;
	uint64_t sectors; /* of a request */
	uint64_t places; /* where a request may go: this many, one after the other */
	uint64_t count, deadline; /* requests, TSC */
	uint64_t issued, done, errors, bells, start, end;
};
static struct bench bench USER_DATA;
static struct blk_header header[MAX_DEPTH] USER_DATA;
static volatile uint8_t status[MAX_DEPTH] USER_DATA;

static inline __attribute__((always_inline)) uint64_t next_place(struct bench *b, uint64_t *seed)
{
	if (!b->random)
		return b->issued % b->places;
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed % b->places;
}

static USER void user_bench(uint64_t seed)
{
	struct bench *b = &bench;
	uint16_t avail = 0, told = 0, last = 0;
	uint64_t now = rdtsc();

	b->start = now;
	for (unsigned slot = 0; slot < b->depth; slot++) {
		header[slot].sector = next_place(b, &seed) * b->sectors;
		b->avail->ring[avail++ % b->size] = (uint16_t)(slot * LINKS);
		b->issued++;
	}
	while (b->done < b->issued) {
		uint16_t used;

		if (avail != told) {
			uint16_t event;

			b->avail->idx = avail;
			asm volatile("mfence" ::: "memory");
			event = *b->avail_event;
			if ((uint16_t)(avail - event - 1) < (uint16_t)(avail - told)) {
				*b->doorbell = 0;
				b->bells++;
			}
			told = avail;
		}
		used = b->used->idx;
		if (used == last) {
			pause();
			continue;
		}
		now = rdtsc();
		for (; last != used; last++) {
			uint16_t head = (uint16_t)b->used->ring[last % b->size].id;
			unsigned slot = head / LINKS;

			b->done++;
			b->errors += status[slot] != BLK_OK;
			status[slot] = BLK_PENDING;
			if (b->issued >= b->count || now >= b->deadline)
				continue;
			header[slot].sector = next_place(b, &seed) * b->sectors;
			b->avail->ring[avail++ % b->size] = head;
			b->issued++;
		}
		*b->used_event = (uint16_t)(last - 1); /* no interrupt */
	}
	b->end = now;
	USER_EXIT(0);
}

/* Descriptors are made once: only the sector in the header changes. */
static void make_requests(bool write, uint8_t *data, uint32_t bs)
{
	for (unsigned i = 0; i < bench.depth; i++) {
		struct vdesc *d = &queue.desc[i * LINKS];
		uint16_t n = (uint16_t)(i * LINKS);

		header[i].type = write ? BLK_OUT : BLK_IN;
		status[i] = BLK_PENDING;
		d[0] = (struct vdesc){ (uint64_t)&header[i], sizeof header[i], VD_NEXT,
				       (uint16_t)(n + 1) };
		d[1] = (struct vdesc){ (uint64_t)data + (uint64_t)i * bs, bs,
				       (uint16_t)(VD_NEXT | (write ? 0 : VD_WRITE)),
				       (uint16_t)(n + 2) };
		d[2] = (struct vdesc){ (uint64_t)&status[i], 1, VD_WRITE, 0 };
	}
}

static void report(const char *op, uint32_t bs)
{
	uint64_t ticks = bench.end - bench.start, ns = ticks * 1000 / (tsc_per_ms / 1000);

	check(bench.errors == 0 && bench.done > 0, "%lu requests, %lu errors", bench.done,
	      bench.errors);
	say("blkbench op=%s bs=%u depth=%u requests=%lu ns=%lu iops=%lu lat_ns=%lu bells=%lu\n", op,
	    bs, bench.depth, bench.done, ns, bench.done * 1000000000 / ns,
	    ns * bench.depth / bench.done, bench.bells);
}

void guest_main(void)
{
	static const char *const ops[] = { "randread", "randwrite", "seqread", "seqwrite" };
	uint32_t bs = (uint32_t)arg_u64("bs", 4096);
	uint64_t span, seconds = arg_u64("seconds", 2);
	uint8_t *data;
	unsigned op = 0;

	for (unsigned i = 0; i < 4; i++)
		op = arg_is("op", ops[i]) ? i : op;
	vdev_need(&dev, VIRTIO_BLK);
	/* A device whose driver cannot flush would have to flush after each write by itself. */
	check(dev.transport == VT_MODERN && vdev_begin(&dev, BIT(BF_FLUSH)) &&
		      vdev_has(&dev, VF_EVENT_IDX) && !vdev_has(&dev, VF_PACKED) &&
		      vq_setup(&dev, &queue, 0),
	      "a modern device with a split ring and event index");
	bench.depth = (unsigned)arg_u64("depth", 32);
	if (n_failed || !check(bench.depth && bench.depth <= MAX_DEPTH &&
				       bench.depth * LINKS <= queue.size && bs && bs % SECTOR == 0,
			       "depth and bs fit"))
		return;
	vdev_driver_ok(&dev);
	span = arg_u64("span", vdev_cfg64(&dev, BC_CAPACITY) * SECTOR);
	data = (uint8_t *)((alloc_mark() + 0x1fffff) & ~0x1fffffull);
	map_user((uint64_t)data, (uint64_t)bench.depth * bs);
	for (unsigned i = 0; i < bench.depth; i++)
		pattern_fill(data + (uint64_t)i * bs, (uint64_t)i * bs, bs, 1);

	bench.desc = queue.desc;
	bench.avail = queue.avail;
	bench.used = queue.used;
	bench.used_event = queue.used_event;
	bench.avail_event = queue.avail_event;
	bench.size = queue.size;
	bench.doorbell = (volatile uint16_t *)vdev_doorbell(&dev, 0);
	bench.random = op < 2;
	bench.sectors = bs / SECTOR;
	bench.places = span / bs;
	bench.count = arg_u64("count", ~0ull);
	bench.deadline = arg_is("count", NULL) ? ~0ull : rdtsc() + seconds * 1000 * tsc_per_ms;
	make_requests(op & 1, data, bs);
	map_user(queue.place.desc, queue.place.device + queue.size * 8ull + 6 - queue.place.desc);
	map_user((uint64_t)bench.doorbell, 4);
	say("from here\n"); /* for whoever measures from outside */
	user_run(user_bench, 88172645463325252ull);
	say("to here\n");
	check(trap.vector == 3, "the user's part came to its end (%lu at %lx, %lx)", trap.vector,
	      trap.rip, trap.cr2);
	report(ops[op], bs);
	vdev_reset(&dev);
}
