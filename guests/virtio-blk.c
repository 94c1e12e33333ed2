/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives virtio-blk (virtio 1.2, section 5.2) as a driver should. How: see
 * guests/lib/virtio.h. What:
 *
 *   span=BYTES   how much of the disk to use (default: all, 4 MiB at most)
 *   final=SEED   the pattern that is left on the disk (default 7; see blk.h)
 *   verify=SEED  the disk has this pattern already; checks it first
 *   resize=1     waits for the disk to change its size, and says what it is
 *   stress=N     rounds of many requests in flight (default 4)
 */
#include "blk.h"

enum { DEPTH = 32, PIECE = 65536, QUEUES = 4 };

static struct vdev dev;
static struct vq queue[QUEUES];
static unsigned n_queues;
static struct blk_req req[DEPTH];
static uint8_t *data; /* DEPTH pieces */
static uint64_t capacity, span; /* sectors, bytes */
static uint32_t random_state = 12345;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static void show_config(void)
{
	capacity = vdev_cfg64(&dev, BC_CAPACITY);
	say("offered %lx, taken %lx\n", dev.offered, dev.features);
	say("capacity %lu sectors\n", capacity);
	if (vdev_has(&dev, BF_SIZE_MAX))
		say("size_max %u\n", vdev_cfg32(&dev, BC_SIZE_MAX));
	if (vdev_has(&dev, BF_SEG_MAX))
		say("seg_max %u\n", vdev_cfg32(&dev, BC_SEG_MAX));
	if (vdev_has(&dev, BF_GEOMETRY))
		say("geometry %u/%u/%u\n", vdev_cfg16(&dev, BC_GEOMETRY),
		    vdev_cfg8(&dev, BC_GEOMETRY + 2), vdev_cfg8(&dev, BC_GEOMETRY + 3));
	if (vdev_has(&dev, BF_BLK_SIZE))
		say("blk_size %u\n", vdev_cfg32(&dev, BC_BLK_SIZE));
	if (vdev_has(&dev, BF_TOPOLOGY))
		say("topology %u %u %u %u\n", vdev_cfg8(&dev, BC_TOPOLOGY),
		    vdev_cfg8(&dev, BC_TOPOLOGY + 1), vdev_cfg16(&dev, BC_TOPOLOGY + 2),
		    vdev_cfg32(&dev, BC_TOPOLOGY + 4));
	if (vdev_has(&dev, BF_CONFIG_WCE))
		say("writeback %u\n", vdev_cfg8(&dev, BC_WRITEBACK));
	if (vdev_has(&dev, BF_MQ))
		say("num_queues %u\n", vdev_cfg16(&dev, BC_NUM_QUEUES));
	if (vdev_has(&dev, BF_DISCARD))
		say("max_discard %u sectors\n", vdev_cfg32(&dev, BC_MAX_DISCARD));
	if (vdev_has(&dev, BF_RO))
		say("read-only\n");
}

static bool start(void)
{
	uint64_t want = BIT(BF_SIZE_MAX) | BIT(BF_SEG_MAX) | BIT(BF_GEOMETRY) | BIT(BF_RO) |
			BIT(BF_BLK_SIZE) | BIT(BF_FLUSH) | BIT(BF_TOPOLOGY) | BIT(BF_CONFIG_WCE) |
			BIT(BF_MQ) | BIT(BF_DISCARD) | BIT(BF_WRITE_ZEROES);

	if (!check(vdev_begin(&dev, want), "features accepted"))
		return false;
	n_queues = vdev_has(&dev, BF_MQ) ? vdev_cfg16(&dev, BC_NUM_QUEUES) : 1;
	if (n_queues > QUEUES)
		n_queues = QUEUES;
	for (unsigned i = 0; i < n_queues; i++) {
		if (!check(vq_setup(&dev, &queue[i], i), "queue %u set up", i))
			return false;
	}
	vdev_driver_ok(&dev);
	return true;
}

/* Whether the ring is of the kind that the command line asks for. */
static void check_ring(void)
{
	if (arg_is("ring", "packed"))
		check(vdev_has(&dev, VF_PACKED), "packed rings negotiated");
	say("queue size %u, %s ring%s%s\n", queue[0].size, queue[0].packed ? "packed" : "split",
	    vdev_has(&dev, VF_INDIRECT) ? ", indirect" : "",
	    vdev_has(&dev, VF_EVENT_IDX) ? ", event index" : "");
}

static void get_id(void)
{
	char id[21] = { 0 };

	check(blk_do(&queue[0], BLK_GET_ID, 0, id, 20) == BLK_OK, "get id");
	say("id [%s]\n", id);
}

/* Writes the pattern over the whole span, or checks that it is there. */
static bool whole_span(bool write, unsigned seed)
{
	uint64_t bad = 0;

	for (uint64_t off = 0; off < span; off += PIECE) {
		uint32_t n = span - off < PIECE ? (uint32_t)(span - off) : PIECE;

		if (write)
			pattern_fill(data, off, n, seed);
		else
			memset(data, 0x55, 64);
		if (blk_do(&queue[0], write ? BLK_OUT : BLK_IN, off / SECTOR, data, n) != BLK_OK)
			return check(false, "%s of %u bytes at %lx", write ? "write" : "read", n,
				     off);
		if (!write)
			bad += pattern_check(data, off, n, seed);
	}
	return !bad;
}

static void write_and_read(void)
{
	check(whole_span(true, 1), "the span is written");
	if (vdev_has(&dev, BF_FLUSH))
		check(blk_do(&queue[0], BLK_FLUSH, 0, NULL, 0) == BLK_OK, "flush");
	check(whole_span(false, 1), "the span reads as written");
}

/* A buffer cut at odd places, in memory that is not in one piece either. */
static unsigned cut(struct vbuf *b, uint8_t *at, uint32_t len)
{
	static const uint32_t sizes[] = { 1, 511, 4095, 3, 512, 8192, 77 };
	unsigned n = 0;

	while (len) {
		uint32_t k = sizes[n % 7];

		if (k > len || n == 29)
			k = len;
		b[n++] = (struct vbuf){ (uint64_t)at, k };
		at += k;
		len -= k;
	}
	return n;
}

static void segments(bool writable, unsigned seed)
{
	uint32_t lens[] = { 512, 1024, 4096, 5120, 32768 + 512 };
	struct vbuf b[30];
	struct blk_req *r = &req[0];

	for (unsigned i = 0; i < 5; i++) {
		uint64_t off = i * 0x11000 + 0x600;
		unsigned n = cut(b, data + 1, lens[i]);

		if (off + lens[i] > span)
			break;
		blk_queue(&queue[0], r, BLK_IN, off / SECTOR, b, n, false);
		vq_kick(&queue[0]);
		check(blk_done(&queue[0], 10000) == r && r->status == BLK_OK &&
			      r->written == lens[i] + 1,
		      "read of %u bytes into %u segments", lens[i], n);
		check(!pattern_check(data + 1, off, lens[i], seed), "they are right");
		if (!writable)
			continue;
		pattern_fill(data + 1, off, lens[i], 2);
		blk_queue(&queue[0], r, BLK_OUT, off / SECTOR, b, n, true);
		vq_kick(&queue[0]);
		check(blk_done(&queue[0], 10000) == r && r->status == BLK_OK && r->written == 1,
		      "write of %u bytes from %u segments", lens[i], n);
		memset(data, 0, lens[i] + 1);
		check(blk_do(&queue[0], BLK_IN, off / SECTOR, data, lens[i]) == BLK_OK &&
			      !pattern_check(data, off, lens[i], 2),
		      "they read as written");
		pattern_fill(data, off, lens[i], 1);
		blk_do(&queue[0], BLK_OUT, off / SECTOR, data, lens[i]);
	}
}

/* DEPTH reads of random places on q at once; each completes once, with the right data. */
static void many_reads(struct vq *q, unsigned seed)
{
	uint64_t off[DEPTH], bad = 0;
	unsigned queued = 0, done = 0;
	bool once[DEPTH] = { false };

	for (unsigned i = 0; i < DEPTH; i++) {
		uint32_t len = (1 + random32() % 16) * SECTOR;
		struct vbuf b = { (uint64_t)data + i * PIECE, len };

		off[i] = random32() % ((span - 16 * SECTOR) / SECTOR) * SECTOR;
		queued += blk_queue(q, &req[i], BLK_IN, off[i] / SECTOR, &b, 1, false);
		req[i].h.reserved = len; /* reserved: the device must not care */
		if (queued <= i)
			break; /* a small queue */
		if (random32() & 1)
			vq_kick(q);
	}
	vq_kick(q);
	while (done < queued) {
		struct blk_req *r = blk_done(q, 10000);
		unsigned i = (unsigned)(r - req);

		if (!r)
			break;
		done++;
		bad += once[i] || r->status != BLK_OK;
		once[i] = true;
		bad += pattern_check(data + i * PIECE, off[i], r->h.reserved, seed);
	}
	check(done == queued && !bad && !vq_ready(q), "queue %u: %u reads in flight", q->index,
	      queued);
}

/* DEPTH writes at once to places of their own, and a read of each. */
static void many_writes(struct vq *q)
{
	unsigned queued = 0, done = 0;
	uint64_t bad = 0;

	for (unsigned i = 0; i < DEPTH && (i + 1) * 8192 <= span; i++) {
		struct vbuf b = { (uint64_t)data + i * PIECE, 8192 };

		pattern_fill(data + i * PIECE, i * 8192, 8192, 3);
		if (!blk_queue(q, &req[i], BLK_OUT, i * 16, &b, 1, true))
			break;
		queued++;
	}
	vq_kick(q);
	while (done < queued) {
		struct blk_req *r = blk_done(q, 10000);

		if (!r)
			break;
		done++;
		bad += r->status != BLK_OK;
	}
	for (unsigned i = 0; i < queued; i++) {
		bad += blk_do(q, BLK_IN, i * 16, data, 8192) != BLK_OK;
		bad += pattern_check(data, i * 8192, 8192, 3);
	}
	check(done == queued && !bad, "queue %u: %u writes in flight", q->index, queued);
	for (unsigned i = 0; i < queued; i++) {
		pattern_fill(data, i * 8192, 8192, 1);
		blk_do(q, BLK_OUT, i * 16, data, 8192);
	}
}

static uint8_t do_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	static struct blk_range r;

	r = (struct blk_range){ sector, sectors, flags };
	return blk_do(&queue[0], type, 0, &r, sizeof r);
}

static void discard_and_zeroes(void)
{
	if (vdev_has(&dev, BF_WRITE_ZEROES)) {
		check(do_range(BLK_WRITE_ZEROES, 24, 16, 0) == BLK_OK, "write zeroes");
		blk_do(&queue[0], BLK_IN, 16, data, 32 * SECTOR);
		check(!pattern_check(data, 16 * SECTOR, 8 * SECTOR, 1) &&
			      !bytes_check(data + 8 * SECTOR, 16 * SECTOR, 0, NULL) &&
			      !pattern_check(data + 24 * SECTOR, 40 * SECTOR, 8 * SECTOR, 1),
		      "zeroes are there, and nowhere else");
		check(do_range(BLK_WRITE_ZEROES, 64, 8, 1) == BLK_OK, "write zeroes, may unmap");
		blk_do(&queue[0], BLK_IN, 64, data, 8 * SECTOR);
		check(!bytes_check(data, 8 * SECTOR, 0, NULL), "they are zeroes, too");
		check(do_range(BLK_WRITE_ZEROES, capacity - 1, 2, 0) == BLK_IOERR,
		      "write zeroes beyond the end is an error");
		check(do_range(BLK_WRITE_ZEROES, 0, 8, 0x100) == BLK_UNSUPP,
		      "write zeroes with an unknown flag is unsupported");
	}
	if (vdev_has(&dev, BF_DISCARD)) {
		check(do_range(BLK_DISCARD, 128, 64, 0) == BLK_OK, "discard");
		check(do_range(BLK_DISCARD, capacity, 1, 0) == BLK_IOERR,
		      "discard beyond the end is an error");
		check(do_range(BLK_DISCARD, ~0ull, 2, 0) == BLK_IOERR,
		      "discard at the end of all numbers is an error");
		check(do_range(BLK_DISCARD, 128, 8, 1) == BLK_UNSUPP,
		      "discard with the unmap flag is unsupported");
	}
	pattern_fill(data, 0, PIECE, 1);
	blk_do(&queue[0], BLK_OUT, 0, data, PIECE);
	pattern_fill(data, PIECE, PIECE, 1);
	blk_do(&queue[0], BLK_OUT, PIECE / SECTOR, data, PIECE);
}

static void errors(bool writable)
{
	static const uint64_t far[] = { 1ull << 40, 1ull << 55, 1ull << 63, ~0ull };
	struct vq *q = &queue[0];

	check(blk_do(q, BLK_IN, capacity, data, SECTOR) == BLK_IOERR,
	      "read at the end is an error");
	check(blk_do(q, BLK_IN, capacity - 1, data, 2 * SECTOR) == BLK_IOERR,
	      "read across the end is an error");
	check(blk_do(q, BLK_IN, capacity - 1, data, SECTOR) == BLK_OK,
	      "the last sector can be read");
	for (unsigned i = 0; i < 4; i++)
		check(blk_do(q, BLK_IN, far[i], data, SECTOR) == BLK_IOERR,
		      "read of sector %lx is an error", far[i]);
	check(blk_do(q, BLK_OUT, capacity, data, SECTOR) == BLK_IOERR,
	      "write at the end is an error");
	if (!writable)
		check(blk_do(q, BLK_OUT, 0, data, SECTOR) == BLK_IOERR,
		      "write to a read-only disk is an error");
	check(blk_do(q, BLK_IN, 0, data, 100) == BLK_IOERR, "read of 100 bytes is an error");
	check(blk_do(q, 0x55555554, 0, data, SECTOR) == BLK_UNSUPP,
	      "an unknown request is unsupported");
	check(blk_do(q, BLK_IN, 0, data, SECTOR) == BLK_OK, "it goes on working");
}

static void wait_resize(void)
{
	uint64_t before = capacity;

	say("waiting for another size\n");
	while (capacity == before) {
		if (!check(vdev_wait_config(&dev, dev.config_irqs + 1, 30000),
			   "configuration interrupt"))
			return;
		capacity = vdev_cfg64(&dev, BC_CAPACITY);
	}
	say("capacity %lu sectors now\n", capacity);
	check(blk_do(&queue[0], BLK_IN, capacity - 1, data, SECTOR) == BLK_OK,
	      "the new last sector can be read");
	check(blk_do(&queue[0], BLK_IN, capacity, data, SECTOR) == BLK_IOERR,
	      "what is behind it cannot");
}

void guest_main(void)
{
	unsigned seed = (unsigned)arg_u64("verify", 0);
	bool writable;

	vdev_need(&dev, VIRTIO_BLK);
	if (!start())
		return;
	check_ring();
	show_config();
	data = alloc(DEPTH * PIECE + 4096, 0x200000);
	map_user((uint64_t)data, DEPTH * PIECE + 4096);
	span = arg_u64("span", 4 << 20);
	if (span > capacity * SECTOR)
		span = capacity * SECTOR;
	writable = !vdev_has(&dev, BF_RO);
	get_id();
	if (seed)
		check(whole_span(false, seed), "the disk has pattern %u", seed);
	if (writable) {
		write_and_read();
		seed = 1;
	}
	if (seed)
		segments(writable, seed);
	for (uint64_t i = 0; seed && i < arg_u64("stress", 4); i++) {
		for (unsigned k = 0; k < n_queues; k++) {
			many_reads(&queue[k], seed);
			if (writable)
				many_writes(&queue[k]);
		}
	}
	if (writable)
		discard_and_zeroes();
	errors(writable);
	if (arg_u64("resize", 0))
		wait_resize();
	if (writable)
		check(whole_span(true, (unsigned)arg_u64("final", 7)),
		      "the last pattern is written");
	if (vdev_has(&dev, BF_FLUSH))
		check(blk_do(&queue[0], BLK_FLUSH, 0, NULL, 0) == BLK_OK, "last flush");
	if (dev.irq != VIRQ_POLL)
		check(dev.queue_irqs > 0, "%u interrupts came", dev.queue_irqs);
	check(!(vdev_status(&dev) & VS_NEEDS_RESET), "the device is content");
	check(vdev_reset(&dev), "reset at the end");
}
