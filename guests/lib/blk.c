/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of virtio-blk (virtio 1.2, section 5.2.6), and patterns for disks. */
#include "blk.h"

bool blk_queue(struct vq *q, struct blk_req *r, uint32_t type, uint64_t sector,
	       const struct vbuf *b, unsigned n, bool out)
{
	struct vbuf v[VQ_INDIRECT_MAX];

	r->h = (struct blk_header){ .type = type, .sector = sector };
	r->status = BLK_PENDING;
	v[0] = (struct vbuf){ (uint64_t)&r->h, sizeof r->h };
	for (unsigned i = 0; i < n; i++)
		v[1 + i] = b[i];
	v[1 + n] = (struct vbuf){ (uint64_t)&r->status, 1 };
	return vq_add(q, v, 1 + (out ? n : 0), 1 + (out ? 0 : n), (uint64_t)r);
}

struct blk_req *blk_done(struct vq *q, unsigned ms)
{
	struct blk_req *r;
	uint64_t token;
	uint32_t len;

	if (!vq_wait(q, ms) || !vq_get(q, &token, &len))
		return NULL;
	r = (struct blk_req *)token;
	r->written = len;
	return r;
}

uint8_t blk_do(struct vq *q, uint32_t type, uint64_t sector, void *buf, uint32_t len)
{
	static struct blk_req r;
	struct vbuf b = { (uint64_t)buf, len };

	if (!blk_queue(q, &r, type, sector, &b, len ? 1 : 0, type & 1))
		return BLK_PENDING;
	vq_kick(q);
	return blk_done(q, 10000) == &r ? r.status : BLK_PENDING;
}

enum { LINE = 16, DIGITS = 15 };

/* What the code at CPL3 is to do; it sees no other memory of the guest's. */
struct job {
	uint8_t *buf;
	uint64_t first, n, bad, first_bad;
	uint8_t byte;
};
static volatile struct job job USER_DATA;

static USER void user_fill(uint64_t arg)
{
	uint8_t *p = job.buf;

	(void)arg;
	for (uint64_t i = 0; i < job.n; i++, p += LINE) {
		uint64_t v = job.first + i;

		for (unsigned d = DIGITS; d--; v /= 10)
			p[d] = (uint8_t)('0' + v % 10);
		p[DIGITS] = '\n';
	}
	USER_EXIT(0);
}

static USER void user_check(uint64_t arg)
{
	const uint8_t *p = job.buf;
	uint64_t bad = 0;

	(void)arg;
	for (uint64_t i = 0; i < job.n; i++, p += LINE) {
		uint64_t v = job.first + i;
		bool ok = p[DIGITS] == '\n';

		for (unsigned d = DIGITS; d--; v /= 10)
			ok &= p[d] == (uint8_t)('0' + v % 10);
		if (!ok && !bad)
			job.first_bad = i;
		bad += !ok;
	}
	job.bad = bad;
	USER_EXIT(0);
}

static USER void user_check_bytes(uint64_t arg)
{
	const uint8_t *p = job.buf;
	uint8_t byte = job.byte;
	uint64_t bad = 0;

	(void)arg;
	for (uint64_t i = 0; i < job.n; i++) {
		if (p[i] != byte && !bad++)
			job.first_bad = i;
		else if (p[i] != byte)
			bad++;
	}
	job.bad = bad;
	USER_EXIT(0);
}

static void run(void (*fn)(uint64_t), const void *buf, uint64_t first, uint64_t n)
{
	job.buf = (uint8_t *)buf;
	job.first = first;
	job.n = n;
	user_run(fn, 0);
	if (trap.vector != 3) {
		say("trap %lu at %lx, address %lx\n", trap.vector, trap.rip, trap.cr2);
		leave(EXIT_TRAP);
	}
}

void pattern_fill(void *buf, uint64_t disk_off, uint64_t len, unsigned seed)
{
	run(user_fill, buf, seed * 1000000000000ull + disk_off / LINE, len / LINE);
}

uint64_t pattern_check(const void *buf, uint64_t disk_off, uint64_t len, unsigned seed)
{
	run(user_check, buf, seed * 1000000000000ull + disk_off / LINE, len / LINE);
	if (job.bad)
		say("pattern %u: %lu lines differ, the first for disk offset %lx\n", seed, job.bad,
		    disk_off + job.first_bad * LINE);
	return job.bad;
}

uint64_t bytes_check(const void *buf, uint64_t len, uint8_t byte, uint64_t *first)
{
	job.byte = byte;
	run(user_check_bytes, buf, 0, len);
	if (first)
		*first = job.first_bad;
	return job.bad;
}
