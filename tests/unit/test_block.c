/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of a drive's front and of nodes (include/block.h, block_int.h): checks,
 * cache modes, error policies, throttling, draining, counters, and the drivers
 * raw, null-co and blkdebug. Loop and disk are fakes.
 */
#include <stdio.h>

#include "suite.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "throttle.h"

#define MS 1000000ull
#define S (1000 * MS)

static struct err e;
static struct blk_set *set;
static struct blk *b;
static char dir[64];

static struct {
	unsigned stops, resumes, errors, resized;
	bool write;
	int error;
	char action[16];
} host;

static void on_stop(void *ctx, struct blk *blk, bool write, int error)
{
	host.stops++;
	host.write = write;
	host.error = error;
}

static void on_resume(void *ctx, struct blk *blk)
{
	host.resumes++;
}

static void on_error(void *ctx, struct blk *blk, bool write, int error, const char *action)
{
	host.errors++;
	host.write = write;
	host.error = error;
	snprintf(host.action, sizeof(host.action), "%s", action);
}

static void on_resized(void *ctx)
{
	host.resized++;
}

static const struct blk_client client = { .resized = on_resized };

static void setup(void)
{
	static const struct blk_host h = { .stop = on_stop,
					   .resume = on_resume,
					   .io_error = on_error };

	snprintf(dir, sizeof(dir), "/tmp/test_block.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(blk_set_create(&set, &fake_loop, &h, &e), 0);
}

static void teardown(void)
{
	char cmd[96];

	blk_set_destroy(set);
	fake_run();
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static struct blk *add(const char *arg)
{
	struct drive d;
	int rc = blk_add_drive(set, arg, &d, &e);

	ck_assert_msg(rc == 0, "%s: %s", arg, e.msg);
	return d.blk;
}

/* A drive on the fake disk, with a device. more: further keys. */
static void start(const char *more)
{
	char arg[256];

	snprintf(arg, sizeof(arg), "driver=fake,if=none,id=d0%s%s", *more ? "," : "", more);
	b = add(arg);
	ck_assert_int_eq(blk_attach(b, &client, NULL, true, &fake_loop, &e), 0);
}

/* --- requests --- */

struct request {
	struct blk_req r;
	struct iovec iov;
	unsigned done;
	int ret;
	uint64_t at; /* when */
};

static bool submitting;

static void request_done(struct blk_req *r, int ret)
{
	struct request *q = (struct request *)(void *)r;

	ck_assert_msg(!submitting, "done inside blk_submit");
	q->done++;
	q->ret = ret;
	q->at = fake_loop.now_ns;
}

static void submit(struct request *q, enum blk_op op, unsigned flags, uint64_t off, uint64_t len,
		   void *buf)
{
	memset(q, 0, sizeof(*q));
	q->iov = (struct iovec){ .iov_base = buf, .iov_len = len };
	q->r = (struct blk_req){ .op = op,
				 .flags = flags,
				 .off = off,
				 .len = len,
				 .iov = &q->iov,
				 .n_iov = buf ? 1 : 0,
				 .done = request_done };
	submitting = true;
	blk_submit(b, &q->r);
	submitting = false;
	ck_assert_uint_eq(q->done, 0);
}

static int run(enum blk_op op, unsigned flags, uint64_t off, uint64_t len, void *buf)
{
	struct request q;

	submit(&q, op, flags, off, len, buf);
	fake_run();
	ck_assert_uint_eq(q.done, 1);
	return q.ret;
}

static uint8_t page[4096];

static int write_page(uint64_t off)
{
	memset(page, 0xa5, sizeof(page));
	return run(BLK_WRITE, 0, off, sizeof(page), page);
}

/* The last request that reached the disk. */
#define LAST fake_disk.log[(fake_disk.n_log - 1) % FAKE_LOG]

/* --- the checks --- */

START_TEST(test_read_write)
{
	uint8_t back[4096];

	start("");
	ck_assert_uint_eq(blk_size(b), 1 << 20);
	ck_assert_str_eq(blk_id(b), "d0");
	ck_assert_int_eq(write_page(8192), 0);
	ck_assert_uint_eq(fake_disk.mem[8192], 0xa5);
	ck_assert_uint_eq(fake_disk.mem[8191], 0);
	ck_assert_int_eq(run(BLK_READ, 0, 8192 + 100, 1000, back), 0);
	ck_assert_int_eq(memcmp(back, page, 1000), 0);
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, 0, 8192, 512, NULL), 0);
	ck_assert_uint_eq(fake_disk.mem[8192 + 511], 0);
	ck_assert_uint_eq(fake_disk.mem[8192 + 512], 0xa5);
}
END_TEST

START_TEST(test_bounds)
{
	unsigned n;

	start("");
	n = fake_disk.n_log;
	for (unsigned op = 0; op < BLK_OPS; op++) {
		if (op == BLK_FLUSH)
			continue;
		ck_assert_int_eq(run(op, 0, (1 << 20) - 512, 1024, page), -EIO);
		ck_assert_int_eq(run(op, 0, 1 << 20, 512, page), -EIO);
		ck_assert_int_eq(run(op, 0, UINT64_MAX - 511, 512, page), -EIO);
		ck_assert_int_eq(run(op, 0, UINT64_MAX, 512, page), -EIO);
		ck_assert_int_eq(run(op, 0, 512, UINT64_MAX - 511, page), -EIO);
		ck_assert_int_eq(run(op, 0, 512, 0, NULL), 0);
		ck_assert_int_eq(run(op, 0, 1 << 20, 0, NULL), 0);
	}
	ck_assert_uint_eq(fake_disk.n_log, n);
	ck_assert_uint_eq(host.errors, 0);
	ck_assert_int_eq(run(BLK_READ, 0, (1 << 20) - 512, 512, page), 0);
}
END_TEST

START_TEST(test_write_refused)
{
	unsigned n;

	b = add("driver=fake,if=none,id=d0,readonly=on");
	ck_assert(blk_readonly(b));
	ck_assert_int_eq(blk_attach(b, &client, NULL, true, &fake_loop, &e), -EROFS);
	ck_assert_ptr_nonnull(strstr(e.msg, "drive 'd0' is read-only"));
	ck_assert_ptr_nonnull(strstr(e.hint, "readonly=on"));
	ck_assert_int_eq(blk_attach(b, &client, NULL, false, &fake_loop, &e), 0);
	n = fake_disk.n_log;
	ck_assert_int_eq(write_page(0), -EROFS);
	ck_assert_int_eq(run(BLK_DISCARD, 0, 0, 512, NULL), -EROFS);
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, 0, 0, 512, NULL), -EROFS);
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, n);
	ck_assert_int_eq(run(BLK_READ, 0, 0, 512, page), 0);
	/* A device that only reads cannot write to what could be written. */
	blk_detach(b);
	b = add("driver=null-co,if=none,id=d1");
	ck_assert_int_eq(blk_attach(b, &client, NULL, false, &fake_loop, &e), 0);
	ck_assert_int_eq(write_page(0), -EROFS);
}
END_TEST

START_TEST(test_attach)
{
	start("");
	ck_assert_uint_eq(fake_disk.attached, 1);
	ck_assert(blk_attached(b));
	ck_assert_int_eq(blk_attach(b, &client, NULL, true, &fake_loop, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.msg, "drive 'd0' is used by another device"));
	blk_detach(b);
	blk_detach(b);
	ck_assert_uint_eq(fake_disk.detached, 1);
	ck_assert(!blk_attached(b));
	ck_assert_int_eq(blk_attach(b, &client, NULL, true, &fake_loop, &e), 0);
	ck_assert_ptr_eq(blk_next(set, NULL), b);
	ck_assert_ptr_null(blk_next(set, b));
}
END_TEST

/* --- flushes and cache modes --- */

START_TEST(test_flush_when_needed)
{
	struct request f, w;
	unsigned n;

	start("");
	n = fake_disk.n_log;
	/* Whoever had the image before may have left something to flush. */
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, ++n);
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	ck_assert_int_eq(run(BLK_READ, 0, 0, 512, page), 0);
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, ++n); /* the read */
	ck_assert_int_eq(write_page(0), 0);
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	n += 2;
	ck_assert_uint_eq(fake_disk.n_log, n);
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, 0, 0, 512, NULL), 0);
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	n += 2;
	ck_assert_uint_eq(fake_disk.n_log, n);

	/* What is done while a flush is on its way is not covered by it. */
	ck_assert_int_eq(write_page(0), 0);
	fake_disk.manual = true;
	submit(&f, BLK_FLUSH, 0, 0, 0, NULL);
	submit(&w, BLK_WRITE, 0, 0, 512, page);
	fake_complete(1);
	fake_complete(0);
	ck_assert_uint_eq(f.done + w.done, 2);
	fake_disk.manual = false;
	n = fake_disk.n_log;
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, n + 1);
}
END_TEST

static int fail_all(const struct blk_io *io)
{
	return -EIO;
}

START_TEST(test_flush_that_failed)
{
	unsigned n;

	start("");
	fake_disk.decide = fail_all;
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), -EIO);
	fake_disk.decide = NULL;
	n = fake_disk.n_log;
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, n + 1);
}
END_TEST

static const struct {
	const char *cache;
	bool direct, writeback, no_flush;
} cache_modes[] = {
	{ "cache=none", true, true, false },
	{ "cache=off", true, true, false },
	{ "cache=writeback", false, true, false },
	{ "cache=writethrough", false, false, false },
	{ "cache=directsync", true, false, false },
	{ "cache=unsafe", false, true, true },
	{ "", false, true, false },
	{ "cache=none,cache.direct=off", false, true, false },
	{ "cache=writethrough,cache.writeback=on", false, true, false },
	{ "cache.direct=on,cache.no-flush=on,cache.writeback=off", true, false, true },
};

START_TEST(test_cache_mode)
{
	struct blk_info i;
	unsigned n;

	start(cache_modes[_i].cache);
	blk_get_info(b, &i);
	ck_assert_int_eq(i.direct, cache_modes[_i].direct);
	ck_assert_int_eq(i.writeback, cache_modes[_i].writeback);
	ck_assert_int_eq(i.no_flush, cache_modes[_i].no_flush);
	ck_assert_int_eq(blk_writeback(b), cache_modes[_i].writeback);
	ck_assert_int_eq(fake_disk.node->open.direct, i.direct);
	ck_assert_int_eq(fake_disk.node->open.no_flush, i.no_flush);
	ck_assert_int_eq(write_page(0), 0);
	ck_assert_int_eq(LAST.flags & BLK_FUA, i.writeback || i.no_flush ? 0 : BLK_FUA);
	/* The guest asks for one. */
	ck_assert_int_eq(run(BLK_WRITE, BLK_FUA, 0, 512, page), 0);
	ck_assert_int_eq(LAST.flags & BLK_FUA, i.no_flush ? 0 : BLK_FUA);
	ck_assert_int_eq(run(BLK_READ, 0, 0, 512, page), 0);
	ck_assert_uint_eq(LAST.flags, 0);
	n = fake_disk.n_log;
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, i.no_flush ? n : n + 1);
}
END_TEST

START_TEST(test_set_writeback)
{
	start("");
	blk_set_writeback(b, false);
	ck_assert(!blk_writeback(b));
	ck_assert_int_eq(write_page(0), 0);
	ck_assert_uint_eq(LAST.flags, BLK_FUA);
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, 0, 0, 512, NULL), 0);
	ck_assert_uint_eq(LAST.flags, BLK_FUA);
	blk_set_writeback(b, true);
	ck_assert_int_eq(write_page(0), 0);
	ck_assert_uint_eq(LAST.flags, 0);
}
END_TEST

/* --- zeroes and discards --- */

START_TEST(test_discard)
{
	unsigned n;

	start(_i ? "discard=unmap" : "");
	n = fake_disk.n_log;
	ck_assert_int_eq(blk_can_discard(b), _i);
	ck_assert_int_eq(run(BLK_DISCARD, 0, 0, 4096, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, n + (unsigned)_i);
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, BLK_UNMAP, 0, 4096, NULL), 0);
	ck_assert_int_eq(LAST.op, BLK_WRITE_ZEROES);
	ck_assert_uint_eq(LAST.flags, _i ? BLK_UNMAP : 0);
}
END_TEST

START_TEST(test_detect_zeroes)
{
	static uint8_t zero[4096];

	start(_i == 0 ? "" : _i == 1 ? "detect-zeroes=on" : "detect-zeroes=unmap,discard=unmap");
	ck_assert_int_eq(write_page(0), 0);
	ck_assert_int_eq(LAST.op, BLK_WRITE);
	memset(fake_disk.mem, 1, 8192);
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 4096, zero), 0);
	ck_assert_int_eq(LAST.op, _i ? BLK_WRITE_ZEROES : BLK_WRITE);
	ck_assert_uint_eq(LAST.flags, _i == 2 ? BLK_UNMAP : 0);
	ck_assert_uint_eq(fake_disk.mem[0], 0);
	ck_assert_uint_eq(fake_disk.mem[4095], 0);
	ck_assert_uint_eq(fake_disk.mem[4096], 1);
	/* One byte at either end, or in the middle. */
	for (unsigned i = 0; i < 3; i++) {
		memset(zero, 0, sizeof(zero));
		zero[i * 4095 / 2] = 1;
		ck_assert_int_eq(run(BLK_WRITE, 0, 0, 4096, zero), 0);
		ck_assert_int_eq(LAST.op, BLK_WRITE);
	}
}
END_TEST

START_TEST(test_unsupported)
{
	uint64_t len = (1 << 20) - 1024;
	unsigned n;

	start("discard=unmap,size=4M");
	fake_disk.unsupported = 1 << BLK_DISCARD | 1 << BLK_WRITE_ZEROES;
	ck_assert_int_eq(run(BLK_DISCARD, 0, 0, 4096, NULL), 0);
	/* Zeroes are written out, in more than one part here. */
	memset(fake_disk.mem, 7, 4 << 20);
	n = fake_disk.n_log;
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, BLK_FUA | BLK_UNMAP, 512, 2 * len, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log, n + 3);
	ck_assert_int_eq(LAST.op, BLK_WRITE);
	ck_assert_uint_eq(LAST.flags, BLK_FUA);
	ck_assert_uint_eq(fake_disk.mem[511], 7);
	ck_assert_uint_eq(fake_disk.mem[512], 0);
	ck_assert_int_eq(memcmp(fake_disk.mem + 512, fake_disk.mem + 513, 2 * len - 1), 0);
	ck_assert_uint_eq(fake_disk.mem[512 + 2 * len], 7);
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, BLK_NO_FALLBACK, 0, 4096, NULL), -ENOTSUP);
}
END_TEST

/* --- requests larger than the disk takes --- */

START_TEST(test_parts)
{
	static uint8_t data[100000], back[100000];
	struct iovec iov[50];
	struct request q = { 0 };
	unsigned n;

	fake_disk.lim = (struct blk_limits){
		.max_len = 8192, .max_iov = 7, .max_discard = 4096, .max_zeroes = 16384
	};
	start("discard=unmap");
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	n = fake_disk.n_log;
	ck_assert_int_eq(run(BLK_WRITE, BLK_FUA, 300, sizeof(data), data), 0);
	ck_assert_uint_eq(fake_disk.n_log - n, 13);
	for (; n < fake_disk.n_log; n++) {
		ck_assert_uint_le(fake_disk.log[n].len, 8192);
		ck_assert_uint_eq(fake_disk.log[n].flags, BLK_FUA);
	}
	ck_assert_int_eq(memcmp(fake_disk.mem + 300, data, sizeof(data)), 0);
	/* Scattered, into 50 pieces of odd sizes. */
	for (unsigned i = 0, at = 0; i < 50; i++) {
		iov[i] = (struct iovec){ .iov_base = back + at, .iov_len = 10 * i + 1 };
		q.r.len += iov[i].iov_len;
		at += (unsigned)iov[i].iov_len;
	}
	q.r.op = BLK_READ;
	q.r.off = 300;
	q.r.iov = iov;
	q.r.n_iov = 50;
	q.r.done = request_done;
	blk_submit(b, &q.r);
	fake_run();
	ck_assert_uint_eq(q.done, 1);
	ck_assert_int_eq(q.ret, 0);
	ck_assert_int_eq(memcmp(back, data, q.r.len), 0);
	ck_assert_uint_eq(back[q.r.len], 0);
	for (; n < fake_disk.n_log; n++)
		ck_assert_uint_le(fake_disk.log[n].n_iov, 7);

	ck_assert_int_eq(run(BLK_DISCARD, 0, 0, 10000, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log - n, 3);
	ck_assert_uint_eq(LAST.len, 10000 - 8192);
	n = fake_disk.n_log;
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, 0, 0, 100000, NULL), 0);
	ck_assert_uint_eq(fake_disk.n_log - n, 7);
}
END_TEST

static int fail_from_40000(const struct blk_io *io)
{
	return io->off >= 40000 ? -EIO : 0;
}

START_TEST(test_part_fails)
{
	static uint8_t data[100000];
	unsigned n;

	fake_disk.lim = (struct blk_limits){ .max_len = 8192 };
	start("");
	fake_disk.decide = fail_from_40000;
	n = fake_disk.n_log;
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, sizeof(data), data), -EIO);
	ck_assert_uint_eq(fake_disk.n_log - n, 6);
	ck_assert_uint_eq(host.errors, 1);
}
END_TEST

/* --- error policies --- */

static int the_error;

static int fail_with(const struct blk_io *io)
{
	return the_error;
}

static const struct {
	const char *keys;
	enum blk_op op;
	int error;
	int ret; /* 1: held */
	const char *action;
} policies[] = {
	{ "", BLK_READ, -EIO, -EIO, "report" },
	{ "", BLK_READ, -ENOSPC, -ENOSPC, "report" },
	{ "", BLK_WRITE, -EIO, -EIO, "report" },
	{ "", BLK_WRITE, -ENOSPC, 1, "stop" },
	{ "", BLK_WRITE, -EDQUOT, 1, "stop" },
	{ "", BLK_FLUSH, -EIO, -EIO, "report" },
	{ "", BLK_FLUSH, -ENOSPC, 1, "stop" },
	{ "", BLK_WRITE_ZEROES, -ENOSPC, 1, "stop" },
	{ "werror=report", BLK_WRITE, -ENOSPC, -ENOSPC, "report" },
	{ "werror=ignore", BLK_WRITE, -ENOSPC, 0, "ignore" },
	{ "werror=ignore", BLK_READ, -EIO, -EIO, "report" },
	{ "werror=stop", BLK_WRITE, -EIO, 1, "stop" },
	{ "werror=stop", BLK_READ, -EIO, -EIO, "report" },
	{ "werror=enospc", BLK_WRITE, -EIO, -EIO, "report" },
	{ "rerror=ignore", BLK_READ, -EIO, 0, "ignore" },
	{ "rerror=stop", BLK_READ, -EIO, 1, "stop" },
	{ "rerror=stop", BLK_WRITE, -EIO, -EIO, "report" },
};

START_TEST(test_policy)
{
	struct blk_stats st;
	struct request q;

	start(policies[_i].keys);
	the_error = policies[_i].error;
	fake_disk.decide = fail_with;
	submit(&q, policies[_i].op, 0, 0, policies[_i].op == BLK_FLUSH ? 0 : 4096, page);
	fake_run();
	ck_assert_uint_eq(host.errors, 1);
	ck_assert_int_eq(host.error, -policies[_i].error);
	ck_assert_int_eq(host.write, policies[_i].op != BLK_READ);
	ck_assert_str_eq(host.action, policies[_i].action);
	blk_get_stats(b, &st);
	ck_assert_uint_eq(st.failed[policies[_i].op], 1);
	if (policies[_i].ret != 1) {
		ck_assert_uint_eq(q.done, 1);
		ck_assert_int_eq(q.ret, policies[_i].ret);
		ck_assert_uint_eq(host.stops, 0);
		return;
	}
	ck_assert_uint_eq(q.done, 0);
	ck_assert_uint_eq(host.stops, 1);
	/* The user goes on, and it works. */
	fake_disk.decide = NULL;
	blk_retry_all(set);
	fake_run();
	ck_assert_uint_eq(q.done, 1);
	ck_assert_int_eq(q.ret, 0);
	ck_assert_uint_eq(host.resumes, 0);
}
END_TEST

START_TEST(test_stop_again)
{
	struct request q;

	start("werror=stop");
	the_error = -EIO;
	fake_disk.decide = fail_with;
	submit(&q, BLK_WRITE, 0, 0, 4096, page);
	fake_advance(100 * S);
	ck_assert_uint_eq(host.stops, 1);
	ck_assert_uint_eq(host.errors, 1); /* nobody tries an I/O error by itself */
	for (unsigned i = 2; i < 5; i++) {
		blk_retry_all(set);
		fake_run();
		ck_assert_uint_eq(host.stops, i);
		ck_assert_uint_eq(q.done, 0);
	}
	/* The VM stops: what is held stays so. */
	blk_drain_all(set);
	ck_assert_uint_eq(q.done, 0);
	/* The device is reset: it gets the error. */
	blk_drain(b);
	ck_assert_uint_eq(q.done, 1);
	ck_assert_int_eq(q.ret, -EIO);
	ck_assert_uint_eq(host.resumes, 0);
}
END_TEST

/* Space for that many writes. */
static unsigned space;

static int fail_without_space(const struct blk_io *io)
{
	if (io->op != BLK_WRITE)
		return 0;
	if (!space)
		return -ENOSPC;
	space--;
	return 0;
}

START_TEST(test_no_space)
{
	struct request q[5], r;
	struct blk_info i;
	unsigned n;

	start("");
	fake_disk.decide = fail_without_space;
	for (unsigned k = 0; k < 5; k++)
		submit(&q[k], BLK_WRITE, 0, k * 4096, 4096, page);
	fake_run();
	ck_assert_uint_eq(host.stops, 1);
	ck_assert_uint_eq(host.errors, 5);
	ck_assert_int_eq(host.error, ENOSPC);
	blk_get_info(b, &i);
	ck_assert(i.held && i.held_no_space);
	/* Reads are not held back. */
	submit(&r, BLK_READ, 0, 0, 4096, page);
	fake_run();
	ck_assert_uint_eq(r.done, 1);
	/* Each second one of them is tried. */
	n = fake_disk.n_log;
	fake_advance(10 * S + 1);
	ck_assert_uint_eq(fake_disk.n_log - n, 10);
	ck_assert_uint_eq(host.stops, 1);
	ck_assert_uint_eq(host.resumes, 0);
	space = 100;
	n = fake_disk.n_log;
	fake_advance(S);
	ck_assert_uint_eq(host.resumes, 1);
	ck_assert_uint_eq(fake_disk.log[n].off, 0);
	for (unsigned k = 0; k < 5; k++) {
		ck_assert_uint_eq(q[k].done, 1);
		ck_assert_int_eq(q[k].ret, 0);
		ck_assert_uint_eq(fake_disk.log[n + k].off, k * 4096); /* in order */
	}
	blk_get_info(b, &i);
	ck_assert(!i.held);
	/* The VM goes on, and the disk is full again later. */
	blk_retry_all(set);
	space = 0;
	submit(&r, BLK_WRITE, 0, 0, 4096, page);
	fake_run();
	ck_assert_uint_eq(host.stops, 2);
	blk_drain(b);
	ck_assert_int_eq(r.ret, -ENOSPC);
	n = fake_disk.n_log;
	fake_advance(10 * S);
	ck_assert_uint_eq(fake_disk.n_log, n);
}
END_TEST

START_TEST(test_little_space)
{
	struct request q[3];

	start("");
	fake_disk.decide = fail_without_space;
	for (unsigned k = 0; k < 3; k++)
		submit(&q[k], BLK_WRITE, 0, k * 4096, 4096, page);
	fake_run();
	/* For one: the others are held again, and the VM stays stopped. */
	space = 1;
	fake_advance(S);
	ck_assert_uint_eq(q[0].done, 1);
	ck_assert_uint_eq(q[1].done + q[2].done, 0);
	ck_assert_uint_eq(host.stops, host.resumes + 1);
	space = 1;
	fake_advance(S);
	ck_assert_uint_eq(q[1].done, 1);
	space = 1;
	fake_advance(S);
	ck_assert_uint_eq(q[2].done, 1);
	ck_assert_uint_eq(host.stops, host.resumes);
}
END_TEST

static int no_space_then_error(const struct blk_io *io)
{
	static unsigned n;

	return n++ < 2 ? -ENOSPC : n == 3 ? -EIO : 0;
}

START_TEST(test_other_error_on_retry)
{
	struct request q[2];

	start("");
	fake_disk.decide = no_space_then_error;
	for (unsigned k = 0; k < 2; k++)
		submit(&q[k], BLK_WRITE, 0, k * 4096, 4096, page);
	fake_run();
	ck_assert_uint_eq(host.stops, 1);
	fake_advance(S);
	ck_assert_uint_eq(q[0].done, 1);
	ck_assert_int_eq(q[0].ret, -EIO);
	ck_assert_uint_eq(q[1].done, 1);
	ck_assert_int_eq(q[1].ret, 0);
	ck_assert_uint_eq(host.resumes, 1);
}
END_TEST

START_TEST(test_many_errors)
{
	struct request q[100];

	start("");
	fake_disk.decide = fail_all;
	for (unsigned i = 0; i < 100; i++)
		submit(&q[i], BLK_READ, 0, 0, 512, page);
	fake_run();
	ck_assert_uint_ge(host.errors, 1);
	ck_assert_uint_le(host.errors, 100);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(q[i].ret, -EIO);
}
END_TEST

/* --- throttling --- */

START_TEST(test_throttle)
{
	struct request r[30], w[30];
	uint64_t begin = fake_loop.now_ns, last = 0;
	unsigned n = 0;

	start("throttling.iops-total=10");
	for (unsigned i = 0; i < 30; i++)
		submit(&r[i], BLK_READ, 0, i * 512, 512, page);
	for (unsigned i = 0; i < 30; i++)
		submit(&w[i], BLK_WRITE, 0, i * 512, 512, page);
	fake_run();
	/* A bucket of one, and one more. */
	ck_assert_uint_eq(fake_disk.n_log, 2);
	fake_advance(S);
	ck_assert_uint_ge(fake_disk.n_log, 11);
	ck_assert_uint_le(fake_disk.n_log, 13);
	/* Directions take turns, each in its order. */
	for (unsigned i = 0; i < 30; i++)
		n += w[i].done;
	ck_assert_uint_ge(n, 4);
	fake_advance(10 * S);
	for (unsigned i = 0; i < 30; i++) {
		ck_assert_uint_eq(r[i].done, 1);
		ck_assert_uint_eq(w[i].done, 1);
		ck_assert_uint_ge(r[i].at, last);
		last = r[i].at;
	}
	ck_assert_uint_ge(w[29].at - begin, 5700 * MS);
	ck_assert_uint_le(w[29].at - begin, 6000 * MS);
}
END_TEST

START_TEST(test_throttle_one_direction)
{
	struct request r[30], w[30], f;

	start("throttling.bps-write=1M,discard=unmap");
	for (unsigned i = 0; i < 30; i++)
		submit(&w[i], BLK_WRITE, 0, 0, 65536, fake_disk.mem);
	for (unsigned i = 0; i < 30; i++)
		submit(&r[i], BLK_READ, 0, 0, 512, page);
	submit(&f, BLK_FLUSH, 0, 0, 0, NULL);
	fake_run();
	/* Reads and flushes do not wait for writes. */
	for (unsigned i = 0; i < 30; i++)
		ck_assert_uint_eq(r[i].done, 1);
	ck_assert_uint_eq(f.done, 1);
	ck_assert_uint_eq(w[29].done, 0);
	fake_advance(2 * S);
	ck_assert_uint_eq(w[29].done, 1);
}
END_TEST

START_TEST(test_throttle_drain)
{
	struct request q[20];

	start("throttling.iops-total=1");
	for (unsigned i = 0; i < 20; i++)
		submit(&q[i], BLK_WRITE, 0, 0, 512, page);
	fake_run();
	ck_assert_uint_eq(q[19].done, 0);
	blk_drain(b);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(q[i].done, 1);
}
END_TEST

START_TEST(test_throttle_changes)
{
	struct blk_throttle none = { 0 }, slow = { 0 }, wrong = { 0 };
	struct request q[20];

	start("");
	slow.limit[THROTTLE_OPS_TOTAL].avg = 1;
	wrong.limit[THROTTLE_OPS_TOTAL].max = 1;
	ck_assert_int_eq(blk_set_throttle(b, &wrong, &e), -EINVAL);
	ck_assert_int_eq(blk_set_throttle(b, &slow, &e), 0);
	ck_assert_uint_eq(blk_get_throttle(b)->limit[THROTTLE_OPS_TOTAL].avg, 1);
	for (unsigned i = 0; i < 20; i++)
		submit(&q[i], BLK_WRITE, 0, 0, 512, page);
	fake_run();
	ck_assert_uint_eq(q[19].done, 0);
	/* No limit any more: all go. */
	ck_assert_int_eq(blk_set_throttle(b, &none, &e), 0);
	fake_run();
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(q[i].done, 1);
}
END_TEST

/* --- draining --- */

START_TEST(test_drain)
{
	struct request q[50];

	start("");
	fake_disk.manual = true;
	for (unsigned i = 0; i < 50; i++)
		submit(&q[i], i % 3 ? BLK_WRITE : BLK_READ, 0, i * 512, 512, page);
	blk_drain(b);
	for (unsigned i = 0; i < 50; i++)
		ck_assert_uint_eq(q[i].done, 1);
	/* Those that the front itself answers. */
	submit(&q[0], BLK_READ, 0, 1 << 20, 512, page);
	submit(&q[1], BLK_DISCARD, 0, 0, 512, NULL);
	blk_drain(b);
	ck_assert_int_eq(q[0].ret, -EIO);
	ck_assert_uint_eq(q[1].done, 1);
}
END_TEST

START_TEST(test_drain_all_flushes)
{
	struct request q;

	start("");
	fake_disk.manual = true;
	submit(&q, BLK_WRITE, 0, 0, 512, page);
	blk_drain_all(set);
	ck_assert_uint_eq(q.done, 1);
	ck_assert_int_eq(LAST.op, BLK_FLUSH);
	ck_assert_uint_eq(fake_disk.n_log, 2);
	blk_drain_all(set);
	ck_assert_uint_eq(fake_disk.n_log, 2);
}
END_TEST

static unsigned again;

static void submit_again(struct blk_req *r, int ret)
{
	if (again--)
		blk_submit(b, r);
}

START_TEST(test_drain_of_a_chain)
{
	struct iovec iov = { .iov_base = page, .iov_len = 512 };
	struct blk_req r = {
		.op = BLK_READ, .len = 512, .iov = &iov, .n_iov = 1, .done = submit_again
	};

	start("");
	again = 20;
	blk_submit(b, &r);
	blk_drain(b);
	ck_assert_uint_eq(again, UINT32_MAX);
	ck_assert_uint_eq(fake_disk.n_log, 21);
}
END_TEST

START_TEST(test_destroy_flushes)
{
	start("");
	ck_assert_int_eq(write_page(0), 0);
	blk_detach(b);
	ck_assert_int_eq(LAST.op, BLK_WRITE);
	blk_set_destroy(set);
	set = NULL;
	ck_assert_int_eq(LAST.op, BLK_FLUSH);
	ck_assert_uint_eq(fake_disk.closed, 1);
}
END_TEST

/* --- size --- */

START_TEST(test_resize)
{
	start("");
	ck_assert_int_eq(blk_resize(b, 2 << 20, &e), 0);
	ck_assert_uint_eq(blk_size(b), 2 << 20);
	ck_assert_uint_eq(host.resized, 1);
	ck_assert_int_eq(write_page((2 << 20) - 4096), 0);
	ck_assert_int_eq(blk_resize(b, 512 << 10, &e), 0);
	ck_assert_int_eq(write_page(512 << 10), -EIO);
	ck_assert_int_eq(blk_resize(b, 1000, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "1000 bytes are not a multiple of 512"));
	ck_assert_str_eq(e.hint, "512 is");
	ck_assert_int_eq(blk_resize(b, 1ull << 63, &e), -EINVAL);
	ck_assert_uint_eq(host.resized, 2);
	blk_detach(b);
	ck_assert_int_eq(blk_resize(b, 1 << 20, &e), 0);
	ck_assert_uint_eq(host.resized, 2);
	b = add("driver=null-co,if=none,id=ro,readonly=on");
	ck_assert_int_eq(blk_resize(b, 1 << 20, &e), -EROFS);
	ck_assert_ptr_nonnull(strstr(e.msg, "drive 'ro'"));
}
END_TEST

/* --- counters --- */

START_TEST(test_stats)
{
	struct blk_stats st;
	struct request q;

	start("discard=unmap");
	fake_disk.manual = true;
	submit(&q, BLK_READ, 0, 0, 4096, page);
	fake_loop.now_ns += 5 * MS;
	fake_complete(0);
	submit(&q, BLK_WRITE, 0, 0, 512, page);
	fake_loop.now_ns += 7 * MS;
	fake_complete(0);
	submit(&q, BLK_FLUSH, 0, 0, 0, NULL);
	fake_loop.now_ns += 11 * MS;
	fake_complete(0);
	fake_disk.manual = false;
	ck_assert_int_eq(run(BLK_DISCARD, 0, 0, 1024, NULL), 0);
	ck_assert_int_eq(run(BLK_READ, 0, 1 << 20, 512, page), -EIO);
	blk_get_stats(b, &st);
	ck_assert_uint_eq(st.ops[BLK_READ], 1);
	ck_assert_uint_eq(st.failed[BLK_READ], 1);
	ck_assert_uint_eq(st.bytes[BLK_WRITE], 512);
	ck_assert_uint_eq(st.ns[BLK_READ], 5 * MS);
	ck_assert_uint_eq(st.ns[BLK_WRITE], 7 * MS);
	ck_assert_uint_eq(st.ns[BLK_FLUSH], 11 * MS);
	ck_assert_uint_eq(st.ops[BLK_FLUSH], 1);
	ck_assert_uint_eq(st.bytes[BLK_DISCARD], 1024);
}
END_TEST

/* --- exactly once, whatever happens --- */

static unsigned fail_percent;

static int fail_sometimes(const struct blk_io *io)
{
	static const int errors[] = { -EIO, -ENOSPC, -ENOSPC, -ENOTSUP, -EINTR };

	return (unsigned)rand() % 100 < fail_percent ? errors[rand() % 5] : 0;
}

static void check_all(const struct request *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ck_assert_msg(q[i].done == 1, "request %u: done %u times", i, q[i].done);
}

START_TEST(test_exactly_once)
{
	static const char *const keys[] = {
		"",
		"werror=stop,rerror=stop",
		"throttling.iops-total=1000",
		"throttling.bps-read=1M,throttling.iops-write=500,discard=unmap",
		"werror=ignore,rerror=ignore,detect-zeroes=on",
		"cache=writethrough,werror=stop,throttling.iops-total=100",
	};
	enum { N = 4000 };
	static struct request q[N];
	struct blk_throttle t = { 0 };

	srand((unsigned)_i);
	if (_i % 2)
		fake_disk.lim = (struct blk_limits){ .max_len = 2048, .max_zeroes = 1024 };
	start(keys[(unsigned)_i % 6]);
	fake_disk.manual = true;
	fake_disk.decide = fail_sometimes;
	fail_percent = 20;
	for (unsigned i = 0; i < N; i++) {
		enum blk_op op = (enum blk_op)(rand() % BLK_OPS);
		uint64_t len = op == BLK_FLUSH ? 0 : (uint64_t)(rand() % 9) * 512;

		submit(&q[i], op, 0, (uint64_t)(rand() % 2048) * 512, len, page);
		while (fake_disk.n_waiting > 100 || (fake_disk.n_waiting && rand() % 2))
			fake_complete((unsigned)rand() % fake_disk.n_waiting);
		if (rand() % 50 == 0)
			fake_advance((uint64_t)rand() % (2 * S));
		if (rand() % 200 == 0)
			blk_retry_all(set);
		if (rand() % 300 == 0)
			blk_drain_all(set);
		if (rand() % 500 == 0) {
			blk_drain(b);
			check_all(q, i + 1);
		}
		if (rand() % 1000 == 0) {
			t.limit[THROTTLE_OPS_TOTAL].avg = (uint64_t)rand() % 2000;
			ck_assert_int_eq(blk_set_throttle(b, &t, &e), 0);
		}
	}
	if (_i % 3) {
		blk_drain(b);
	} else {
		blk_detach(b);
		ck_assert(!blk_attached(b));
	}
	fake_advance(10 * S);
	check_all(q, N);
	ck_assert_uint_eq(blk_node_in_flight(fake_disk.node), 0);
}
END_TEST

/* --- raw --- */

static char *file_of(const char *name, const void *data, size_t len)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
	return path;
}

static void start_file(const char *path, const char *more)
{
	char arg[512];

	snprintf(arg, sizeof(arg), "file=%s,if=none,%s", path, more);
	b = add(arg);
	ck_assert_int_eq(blk_attach(b, &client, NULL, !blk_readonly(b), &fake_loop, &e), 0);
}

static off_t size_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

START_TEST(test_raw_tail)
{
	uint8_t data[1000], back[1024];
	struct iovec iov[3] = { { back, 100 }, { back + 100, 900 }, { back + 1000, 24 } };
	struct request q = { 0 };
	char *path;

	memset(data, 3, sizeof(data));
	path = file_of("odd", data, sizeof(data));
	start_file(path, "format=raw");
	ck_assert_uint_eq(blk_size(b), 1024);
	memset(back, 9, sizeof(back));
	q.r = (struct blk_req){
		.op = BLK_READ, .len = 1024, .iov = iov, .n_iov = 3, .done = request_done
	};
	blk_submit(b, &q.r);
	fake_run();
	ck_assert_int_eq(q.ret, 0);
	ck_assert_int_eq(memcmp(back, data, 1000), 0);
	for (unsigned i = 1000; i < 1024; i++)
		ck_assert_uint_eq(back[i], 0);
	/* All behind the end. */
	memset(back, 9, sizeof(back));
	ck_assert_int_eq(run(BLK_READ, 0, 1010, 10, back), 0);
	ck_assert_uint_eq(back[0], 0);
	ck_assert_uint_eq(back[9], 0);
	ck_assert_uint_eq(back[10], 9);
	ck_assert_int_eq(run(BLK_READ, 0, 1010, 20, back), -EIO);
	/* Zeroes and discards there change nothing. */
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, 0, 1000, 24, NULL), 0);
	ck_assert_int_eq(size_of(path), 1000);
	/* Writing there makes the file longer. */
	ck_assert_int_eq(run(BLK_WRITE, 0, 1010, 4, page), 0);
	ck_assert_int_eq(size_of(path), 1014);
	ck_assert_int_eq(run(BLK_READ, 0, 512, 512, back), 0);
	memset(page, 0x77, 512);
	ck_assert_int_eq(run(BLK_WRITE, 0, 512, 512, page), 0);
	ck_assert_int_eq(size_of(path), 1024);
	ck_assert_int_eq(run(BLK_READ, 0, 512, 512, back), 0);
	ck_assert_int_eq(memcmp(back, page, 512), 0);
}
END_TEST

START_TEST(test_raw_part)
{
	static uint8_t data[8192];
	uint8_t back[512];
	char *path;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 512);
	path = file_of("part", data, sizeof(data));
	start_file(path, "format=raw,offset=1024,size=2048");
	ck_assert_uint_eq(blk_size(b), 2048);
	ck_assert_int_eq(run(BLK_READ, 0, 512, 512, back), 0);
	ck_assert_uint_eq(back[0], 3);
	ck_assert_int_eq(run(BLK_READ, 0, 2048, 512, back), -EIO);
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 512, page), 0);
	ck_assert_int_eq(blk_resize(b, 4096, &e), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(e.msg, "a part of a file"));
}
END_TEST

START_TEST(test_raw_resize)
{
	static uint8_t data[8192];
	char *path = file_of("grow", data, sizeof(data));

	start_file(path, "format=raw");
	ck_assert_int_eq(blk_resize(b, 1 << 20, &e), 0);
	ck_assert_int_eq(size_of(path), 1 << 20);
	ck_assert_uint_eq(blk_size(b), 1 << 20);
	ck_assert_int_eq(write_page((1 << 20) - 4096), 0);
}
END_TEST

START_TEST(test_node_helpers)
{
	struct blk_open how = { 0 };
	struct blk_node *n;
	uint8_t back[64];
	uint64_t bytes;
	unsigned flags;
	char *path = file_of("plain", page, 1000);

	ck_assert_int_eq(blk_node_open_file(path, NULL, &how, &n, &e), 0);
	ck_assert_str_eq(n->drv->name, "raw");
	ck_assert_str_eq(n->filename, path);
	ck_assert_ptr_null(n->loop);
	ck_assert_int_eq(blk_node_pwrite(n, 10, "hello", 5), 0);
	ck_assert_int_eq(blk_node_pread(n, 10, back, 5), 0);
	ck_assert_int_eq(memcmp(back, "hello", 5), 0);
	ck_assert_int_eq(blk_node_pread(n, 1020, back, 5), -EIO);
	ck_assert_int_eq(blk_node_pread(n, UINT64_MAX, back, 5), -EIO);
	ck_assert_int_eq(blk_node_flush(n), 0);
	ck_assert_int_eq(blk_node_status(n, 0, 1024, &bytes, &flags), 0);
	ck_assert_uint_eq(bytes, 1000);
	ck_assert_uint_eq(flags, BLK_DATA | BLK_ALLOCATED);
	ck_assert_int_eq(blk_node_status(n, 1000, 24, &bytes, &flags), 0);
	ck_assert_uint_eq(flags, BLK_ZERO | BLK_ALLOCATED);
	ck_assert_int_eq(blk_node_truncate(n, 2048, &e), 0);
	ck_assert_uint_eq(n->size, 2048);
	blk_node_close(n);
	ck_assert_int_eq(blk_node_open_file("no/such", "raw", &how, &n, &e), -ENOENT);
	ck_assert_int_eq(blk_node_open_file("nbd://host", "raw", &how, &n, &e), -ENOTSUP);
}
END_TEST

/* --- null --- */

START_TEST(test_null)
{
	struct request q[3];

	b = add("driver=null-co,if=none,size=1M,latency-ns=1000000,read-zeroes=on");
	ck_assert_int_eq(blk_attach(b, &client, NULL, true, &fake_loop, &e), 0);
	memset(page, 1, sizeof(page));
	for (unsigned i = 0; i < 3; i++) {
		submit(&q[i], BLK_READ, 0, i * 4096, 4096, page);
		fake_advance(MS / 4);
	}
	ck_assert_uint_eq(q[0].done, 0);
	fake_advance(MS / 4);
	ck_assert_uint_eq(q[0].done, 1);
	ck_assert_uint_eq(q[1].done, 0);
	fake_advance(MS / 2);
	ck_assert_uint_eq(q[2].done, 1);
	ck_assert_uint_eq(page[100], 0);
	submit(&q[0], BLK_WRITE, 0, 0, 4096, page);
	blk_drain(b);
	ck_assert_uint_eq(q[0].done, 1);
	ck_assert_int_eq(blk_resize(b, 2 << 20, &e), 0);
}
END_TEST

/* --- blkdebug --- */

static void start_rules(const char *rules, const char *more)
{
	char path[128], arg[600];
	static uint8_t disk[65536];

	snprintf(path, sizeof(path), "%s", file_of("disk", disk, sizeof(disk)));
	snprintf(arg, sizeof(arg), "blkdebug:%s:%s", file_of("rules", rules, strlen(rules)), path);
	start_file(arg, more);
}

START_TEST(test_blkdebug)
{
	start_rules("# rules\n"
		    "[inject-error]\n"
		    "event = \"write_aio\"\n"
		    "sector = \"8\"   # the ninth\n"
		    "errno = 28\n"
		    "\n"
		    "[inject-error]\n"
		    "iotype=flush\n"
		    "once=on\n"
		    "immediately = \"on\"\n",
		    "format=raw,werror=report");
	ck_assert_int_eq(write_page(0), 0);
	ck_assert_int_eq(write_page(4096), -ENOSPC);
	ck_assert_int_eq(run(BLK_WRITE, 0, 4608, 512, page), 0);
	ck_assert_int_eq(run(BLK_WRITE, 0, 4607, 512, page), -ENOSPC);
	ck_assert_int_eq(run(BLK_WRITE_ZEROES, 0, 0, 8192, NULL), -ENOSPC);
	ck_assert_int_eq(run(BLK_READ, 0, 4096, 512, page), 0);
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), -EIO);
	ck_assert_int_eq(run(BLK_FLUSH, 0, 0, 0, NULL), 0);
}
END_TEST

START_TEST(test_blkdebug_delay)
{
	struct request q[2];

	start_rules("[inject-error]\niotype=read\nsector=0\nerrno=0\ndelay-ns=1000000\n"
		    "[inject-error]\niotype=read\nsector=1\nerrno=EIO\ndelay-ns=500000\n",
		    "format=raw");
	submit(&q[0], BLK_READ, 0, 0, 512, page);
	submit(&q[1], BLK_READ, 0, 512, 512, page);
	ck_assert_int_eq(run(BLK_READ, 0, 1024, 512, page), 0);
	fake_advance(MS / 2);
	ck_assert_uint_eq(q[0].done, 0);
	ck_assert_uint_eq(q[1].done, 1);
	ck_assert_int_eq(q[1].ret, -EIO);
	fake_advance(MS / 2);
	ck_assert_uint_eq(q[0].done, 1);
	ck_assert_int_eq(q[0].ret, 0);
}
END_TEST

START_TEST(test_blkdebug_blockdev)
{
	ck_assert_int_eq(blk_add_blockdev(set, "driver=fake,node-name=below", &e), 0);
	ck_assert_int_eq(blk_add_blockdev(set,
					  "driver=blkdebug,node-name=top,image=below,"
					  "inject-error.0.iotype=read,inject-error.0.once=on,"
					  "inject-error.1.event=none,inject-error.1.iotype=write,"
					  "inject-error.1.errno=EROFS",
					  &e),
			 0);
	ck_assert_int_eq(blk_get(set, "below", &b, &e), 0);
	ck_assert_int_eq(blk_attach(b, &client, NULL, true, &fake_loop, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.hint, "drive=top"));
	ck_assert_int_eq(blk_get(set, "top", &b, &e), 0);
	ck_assert_int_eq(blk_attach(b, &client, NULL, true, &fake_loop, &e), 0);
	ck_assert_int_eq(run(BLK_READ, 0, 0, 512, page), -EIO);
	ck_assert_int_eq(run(BLK_READ, 0, 0, 512, page), 0);
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 512, page), -EROFS);
	ck_assert_int_eq(blk_resize(b, 2 << 20, &e), 0);
	ck_assert_uint_eq(fake_disk.node->size, 2 << 20);
}
END_TEST

static const struct {
	const char *rules, *says;
} wrong_rules[] = {
	{ "x=y\n", "line 1: a key before the first section" },
	{ "[inject-error]\nwhat\n", "line 2: neither [section] nor key = value" },
	{ "\n[set-state]\n", "line 2: no such section: [set-state]" },
	{ "[inject-error]\nerno=5\n", "line 2: unknown key 'erno'" },
	{ "[inject-error]\nerrno=EFOO\n", "errno=EFOO: not an error" },
	{ "[inject-error]\nerrno=99999\n", "errno=99999: not an error" },
	{ "[inject-error]\nevent=l1_update\n", "event=l1_update: no such event" },
	{ "[inject-error]\niotype=wirte\n", "iotype=wirte: no such kind" },
	{ "[inject-error]\nsector=-2\n", "'-2' is not a number" },
	{ "[inject-error]\nonce=maybe\n", "neither 'on' nor 'off'" },
	{ "[inject-error]\ndelay-ns=9999999999999999\n", "more than an hour" },
};

START_TEST(test_wrong_rules)
{
	struct drive d;
	char arg[600];

	snprintf(arg, sizeof(arg), "file=blkdebug:%s:null-co://,if=none,format=raw",
		 file_of("rules", wrong_rules[_i].rules, strlen(wrong_rules[_i].rules)));
	ck_assert_int_lt(blk_add_drive(set, arg, &d, &e), 0);
	ck_assert_msg(strstr(e.msg, wrong_rules[_i].says) != NULL, "%s", e.msg);
}
END_TEST

/* --- images probed as raw --- */

START_TEST(test_sector0)
{
	static uint8_t disk[65536];
	char *path = file_of("probed", disk, sizeof(disk));

	start_file(path, _i ? "format=raw" : "id=d0");
	memset(page, 0, sizeof(page));
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 4096, page), 0);
	memcpy(page, "QFI\xfb", 4);
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 4096, page), _i ? 0 : -EPERM);
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 512, page), _i ? 0 : -EPERM);
	ck_assert_int_eq(run(BLK_WRITE, 0, 512, 512, page), 0);
	/* Byte by byte. */
	ck_assert_int_eq(run(BLK_WRITE, 0, 1, 100, page + 1), 0);
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 1, page), _i ? 0 : -EPERM);
	memset(page, 0, sizeof(page));
	memcpy(page, "\xeb\x63\x90", 3);
	ck_assert_int_eq(run(BLK_WRITE, 0, 0, 512, page), 0);
	ck_assert_uint_eq(host.errors, 0);
}
END_TEST

/* --- completion later, as drivers use it --- */

START_TEST(test_nested_poll)
{
	struct blk_open how = { 0 };
	struct blk_node *n;
	struct request q[3];
	uint8_t back[16];

	start("");
	for (unsigned i = 0; i < 3; i++)
		submit(&q[i], BLK_READ, 0, 0, 512, page);
	/* Another node's synchronous request completes them on the way, once. */
	ck_assert_int_eq(blk_node_open_file("null-co://", "raw", &how, &n, &e), 0);
	ck_assert_int_eq(blk_node_pread(n, 0, back, 16), 0);
	blk_node_close(n);
	fake_run();
	check_all(q, 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("block");
	TCase *t = tcase_create("block");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_read_write);
	tcase_add_test(t, test_bounds);
	tcase_add_test(t, test_write_refused);
	tcase_add_test(t, test_attach);
	tcase_add_test(t, test_flush_when_needed);
	tcase_add_test(t, test_flush_that_failed);
	tcase_add_loop_test(t, test_cache_mode, 0, sizeof(cache_modes) / sizeof(cache_modes[0]));
	tcase_add_test(t, test_set_writeback);
	tcase_add_loop_test(t, test_discard, 0, 2);
	tcase_add_loop_test(t, test_detect_zeroes, 0, 3);
	tcase_add_test(t, test_unsupported);
	tcase_add_test(t, test_parts);
	tcase_add_test(t, test_part_fails);
	tcase_add_loop_test(t, test_policy, 0, sizeof(policies) / sizeof(policies[0]));
	tcase_add_test(t, test_stop_again);
	tcase_add_test(t, test_no_space);
	tcase_add_test(t, test_little_space);
	tcase_add_test(t, test_other_error_on_retry);
	tcase_add_test(t, test_many_errors);
	tcase_add_test(t, test_throttle);
	tcase_add_test(t, test_throttle_one_direction);
	tcase_add_test(t, test_throttle_drain);
	tcase_add_test(t, test_throttle_changes);
	tcase_add_test(t, test_drain);
	tcase_add_test(t, test_drain_all_flushes);
	tcase_add_test(t, test_drain_of_a_chain);
	tcase_add_test(t, test_destroy_flushes);
	tcase_add_test(t, test_resize);
	tcase_add_test(t, test_stats);
	tcase_add_loop_test(t, test_exactly_once, 0, 24);
	tcase_add_test(t, test_raw_tail);
	tcase_add_test(t, test_raw_part);
	tcase_add_test(t, test_raw_resize);
	tcase_add_test(t, test_node_helpers);
	tcase_add_test(t, test_null);
	tcase_add_test(t, test_blkdebug);
	tcase_add_test(t, test_blkdebug_delay);
	tcase_add_test(t, test_blkdebug_blockdev);
	tcase_add_loop_test(t, test_wrong_rules, 0, sizeof(wrong_rules) / sizeof(wrong_rules[0]));
	tcase_add_loop_test(t, test_sector0, 0, 2);
	tcase_add_test(t, test_nested_poll);
	suite_add_tcase(s, t);
	return run_suite(s);
}
