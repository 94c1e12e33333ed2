/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does what the command line says with a virtio disk and prints how each step ended: for
 * tests of what happens to disks from outside. do=STEP,STEP,... with these steps:
 *
 *   w:SECTOR:COUNT[:SEED]   writes the pattern (blk.h; seed 1 if not given)
 *   r:SECTOR:COUNT[:SEED]   reads; with a seed checks that the pattern is there
 *   z:SECTOR:COUNT          writes zeroes by the request that carries no data
 *   f                       flushes
 *   t:MS                    reads for that long, as much as it can: how many requests were done
 *   k                       waits for a byte on the serial port
 *   h                       halts
 *
 * Each prints "STEP: ok", "ioerr", "unsupp", "timeout" or "wrong data". Up to 8 requests of 64
 * KiB are in flight.
 */
#include "blk.h"

enum { PIECE = 65536, DEPTH = 8, PATIENCE_MS = 100000, COM1 = 0x3f8 };

static struct vdev dev;
static struct vq queue;
static struct blk_req req[DEPTH];
static uint8_t *data; /* a PIECE for each request */

/* A step, read from the command line. */
struct step {
	char what;
	uint64_t n[3];
	unsigned n_n;
};

static const char *const results[] = { "ok", "ioerr", "unsupp" };

static const char *result(unsigned status)
{
	return status < 3 ? results[status] : "timeout";
}

/* The end of the step at p. */
static const char *parse(const char *p, struct step *s)
{
	*s = (struct step){ .what = *p++ };
	while (*p == ':' && s->n_n < 3) {
		uint64_t v = 0;

		for (p++; *p >= '0' && *p <= '9'; p++)
			v = v * 10 + (uint64_t)(*p - '0');
		s->n[s->n_n++] = v;
	}
	return p;
}

static uint32_t piece_len(const struct step *s, uint64_t at)
{
	uint64_t left = s->n[1] * SECTOR - at;

	return left < PIECE ? (uint32_t)left : PIECE;
}

/* All of the step's bytes, from the first on, a window of requests at a time. */
static const char *transfer(const struct step *s)
{
	uint64_t off = s->n[0] * SECTOR, len = s->n[1] * SECTOR;
	unsigned seed = s->n_n > 2 ? (unsigned)s->n[2] : 1, worst = BLK_OK;
	bool out = s->what == 'w';
	uint64_t bad = 0;

	for (uint64_t at = 0; at < len && worst == BLK_OK; at += (uint64_t)DEPTH * PIECE) {
		unsigned n = 0;

		for (; n < DEPTH && at + (uint64_t)n * PIECE < len; n++) {
			uint64_t o = at + (uint64_t)n * PIECE;
			struct vbuf b = { (uint64_t)data + n * PIECE, piece_len(s, o) };

			if (out)
				pattern_fill(data + n * PIECE, off + o, b.len, seed);
			blk_queue(&queue, &req[n], out ? BLK_OUT : BLK_IN, (off + o) / SECTOR, &b,
				  1, out);
		}
		vq_kick(&queue);
		for (unsigned i = 0; i < n; i++)
			if (!blk_done(&queue, PATIENCE_MS))
				return "timeout";
		for (unsigned i = 0; i < n; i++) {
			uint64_t o = at + (uint64_t)i * PIECE;

			worst = req[i].status > worst ? req[i].status : worst;
			if (!out && s->n_n > 2 && req[i].status == BLK_OK)
				bad += pattern_check(data + i * PIECE, off + o, piece_len(s, o),
						     seed);
		}
	}
	return bad ? "wrong data" : result(worst);
}

static const char *write_zeroes(const struct step *s)
{
	static struct blk_range r;

	r = (struct blk_range){ s->n[0], (uint32_t)s->n[1], 0 };
	return result(blk_do(&queue, BLK_WRITE_ZEROES, 0, &r, sizeof r));
}

/* Sectors that are not adjacent, so that each stays a request of its own. */
static void read_for(uint64_t ms)
{
	uint64_t t0 = rdtsc(), done = 0;

	while (ms_since(t0) < ms) {
		struct vbuf b = { (uint64_t)data, SECTOR };

		blk_queue(&queue, &req[0], BLK_IN, done % 8 * 2, &b, 1, false);
		vq_kick(&queue);
		if (!blk_done(&queue, PATIENCE_MS) || req[0].status != BLK_OK)
			break;
		done++;
	}
	say("%lu requests: ", done);
}

static void wait_key(void)
{
	say("waits for a key\n");
	while (!(inb(COM1 + 5) & 1))
		delay_us(1000);
	inb(COM1);
}

static const char *run(const struct step *s)
{
	switch (s->what) {
	case 'w':
	case 'r':
		return transfer(s);
	case 'z':
		return write_zeroes(s);
	case 'f':
		return result(blk_do(&queue, BLK_FLUSH, 0, NULL, 0));
	case 't':
		read_for(s->n[0]);
		return "ok";
	case 'k':
		wait_key();
		return "ok";
	case 'h':
		for (;;)
			asm volatile("cli; hlt");
	default:
		return "no such step";
	}
}

static const char *script(void)
{
	for (const char *p = boot.cmdline; *p; p++)
		if (!strncmp(p, "do=", 3))
			return p + 3;
	return "";
}

void guest_main(void)
{
	const char *p = script();
	struct step s;

	vdev_need(&dev, VIRTIO_BLK);
	if (!check(vdev_begin(&dev, BIT(BF_FLUSH) | BIT(BF_WRITE_ZEROES) | BIT(BF_RO)) &&
			   vq_setup(&dev, &queue, 0),
		   "the device is set up"))
		return;
	vdev_driver_ok(&dev);
	data = alloc(DEPTH * PIECE, 0x200000);
	map_user((uint64_t)data, DEPTH * PIECE);
	say("capacity %lu sectors\n", vdev_cfg64(&dev, BC_CAPACITY));
	while (*p && *p != ' ') {
		const char *end = parse(p, &s), *how;

		how = run(&s);
		for (; p < end; p++)
			putch(*p);
		say(": %s\n", how);
		if (*p == ',')
			p++;
		else
			break;
	}
	check(!(vdev_status(&dev) & VS_NEEDS_RESET), "the device is content");
	say("end of the script\n");
}
