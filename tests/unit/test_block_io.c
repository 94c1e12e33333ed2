/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of drives on real files, with real loops on threads of their own:
 * what is written is read back, and draining, resizing, taking a drive from its
 * device and finding its image in use work while requests are on their way.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"
#include "block.h"
#include "err.h"
#include "loop.h"

enum { DISK = 4 << 20, SLOT = 16384, SLOTS = 32, BASE = 300 };

static struct err e;
static struct loop *main_loop, *io_loop;
static pthread_t io_thread;
static struct blk_set *set;
static struct blk *b;
static char dir[64], path[128];

static void *run_loop(void *l)
{
	loop_run(l);
	return NULL;
}

static void setup(void)
{
	FILE *f;

	snprintf(dir, sizeof(dir), "/tmp/test_block_io.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/disk.img", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(ftruncate(fileno(f), DISK), 0);
	fclose(f);
	ck_assert_int_eq(loop_create(&main_loop, &e), 0);
	ck_assert_int_eq(loop_create(&io_loop, &e), 0);
	ck_assert_int_eq(pthread_create(&io_thread, NULL, run_loop, io_loop), 0);
	ck_assert_int_eq(blk_set_create(&set, main_loop, NULL, &e), 0);
}

static void teardown(void)
{
	char cmd[96];

	blk_set_destroy(set);
	loop_quit(io_loop);
	pthread_join(io_thread, NULL);
	loop_destroy(io_loop);
	loop_destroy(main_loop);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static int add(const char *more, struct blk **out)
{
	char arg[256];
	struct drive d;
	int rc;

	snprintf(arg, sizeof(arg), "file=%s,format=raw,if=none,%s", path, more);
	rc = blk_add_drive(set, arg, &d, &e);
	*out = d.blk;
	return rc;
}

/* --- a load: each slot of the disk is written and read back, again and again --- */

static struct slot {
	struct blk_req r;
	struct iovec iov;
	uint8_t buf[SLOT], want[SLOT];
	bool busy, reading;
	unsigned seed;
} slots[SLOTS];

static unsigned finished, to_do, wrong;

static unsigned next_random(struct slot *s)
{
	return s->seed = s->seed * 1103515245 + 12345;
}

/* On io_loop. */
static void go(struct slot *s)
{
	size_t len = 1 + (next_random(s) >> 8) % SLOT,
	       off = (next_random(s) >> 8) % (SLOT - len + 1);

	s->reading = next_random(s) & 0x10000;
	for (size_t i = 0; i < len && !s->reading; i++)
		s->want[off + i] = s->buf[i] = (uint8_t)next_random(s);
	s->iov = (struct iovec){ .iov_base = s->buf, .iov_len = len };
	s->r.op = s->reading ? BLK_READ : BLK_WRITE;
	s->r.off = BASE + (uint64_t)(s - slots) * SLOT + off;
	s->r.len = len;
	s->r.iov = &s->iov;
	s->r.n_iov = 1;
	s->busy = true;
	blk_submit(b, &s->r);
}

static void slot_done(struct blk_req *r, int ret)
{
	struct slot *s = (struct slot *)(void *)r;
	size_t off = (r->off - BASE) % SLOT;

	wrong += ret != 0 || !s->busy || !loop_is_current(io_loop);
	wrong += s->reading && memcmp(s->buf, s->want + off, r->len) != 0;
	s->busy = false;
	finished++;
	if (to_do) {
		to_do--;
		go(s);
	}
}

static void begin(void *ctx)
{
	finished = 0;
	to_do = *(unsigned *)ctx;
	for (unsigned i = 0; i < SLOTS; i++) {
		slots[i].r.done = slot_done;
		slots[i].seed = i + 1;
		go(&slots[i]);
	}
}

static void stop(void *ctx)
{
	to_do = 0;
	blk_drain(b);
}

static void wait_for_end(void *ctx)
{
	while (to_do)
		blk_drain(b);
	blk_drain(b);
}

static const char *const engines[] = { "aio=threads", "cache=writeback", "cache=writethrough" };

START_TEST(test_load)
{
	unsigned n = 3000;

	ck_assert_msg(add(engines[_i], &b) == 0, "%s", e.msg);
	ck_assert_int_eq(blk_attach(b, NULL, NULL, true, io_loop, &e), 0);
	loop_call(io_loop, begin, &n);
	/* As when the VM stops, from the main thread, many times. */
	for (unsigned i = 0; i < 5; i++) {
		blk_drain_all(set);
		blk_retry_all(set);
	}
	loop_call(io_loop, wait_for_end, NULL);
	ck_assert_uint_eq(finished, n + SLOTS);
	ck_assert_uint_eq(wrong, 0);
	/* From here on, on the main loop. */
	blk_detach(b);
	ck_assert_int_eq(blk_attach(b, NULL, NULL, true, main_loop, &e), 0);
	blk_detach(b);
}
END_TEST

/* A device goes away, or the disk is resized, with requests on their way. */
START_TEST(test_changes_under_load)
{
	unsigned n = 1u << 30;
	struct blk_stats st;
	struct stat f;

	ck_assert_int_eq(add("cache=writeback", &b), 0);
	ck_assert_int_eq(blk_attach(b, NULL, NULL, true, io_loop, &e), 0);
	for (unsigned i = 0; i < 5; i++) {
		loop_call(io_loop, begin, &n);
		blk_get_stats(b, &st);
		loop_call(io_loop, stop, NULL);
		ck_assert_int_eq(blk_resize(b, DISK + (i + 1) * 65536, &e), 0);
		ck_assert_int_eq(stat(path, &f), 0);
		ck_assert_int_eq(f.st_size, DISK + (i + 1) * 65536);
		loop_call(io_loop, begin, &(unsigned){ 0 });
		blk_detach(b);
		ck_assert_uint_eq(finished, SLOTS);
		ck_assert_int_eq(blk_attach(b, NULL, NULL, true, io_loop, &e), 0);
	}
	ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(test_same_image)
{
	struct blk *other;

	ck_assert_int_eq(add("id=first", &b), 0);
	ck_assert_int_lt(add("id=second", &other), 0);
	ck_assert_msg(strstr(e.msg, "drive 'first' has this image already") != NULL, "%s", e.msg);
	ck_assert_int_lt(add("id=second,readonly=on", &other), 0);
	ck_assert_msg(strstr(e.msg, "drive 'first' has this image already") != NULL, "%s", e.msg);
	ck_assert_msg(add("id=second,file.locking=off", &other) == 0, "%s", e.msg);
}
END_TEST

/* The file is cut short while in use: what lies behind its end cannot be read. */
static struct blk_req last;
static int last_ret;
static uint8_t page[4096];
static const struct iovec page_iov = { page, sizeof(page) };

static void last_done(struct blk_req *r, int ret)
{
	last_ret = ret;
}

static void read_last_page(void *ctx)
{
	last = (struct blk_req){ .op = BLK_READ,
				 .off = DISK - sizeof(page),
				 .len = sizeof(page),
				 .iov = &page_iov,
				 .n_iov = 1,
				 .done = last_done };
	blk_submit(b, &last);
	blk_drain(b);
}

START_TEST(test_cut_short)
{
	ck_assert_int_eq(add("id=d0", &b), 0);
	ck_assert_int_eq(blk_attach(b, NULL, NULL, true, io_loop, &e), 0);
	last_ret = 1;
	loop_call(io_loop, read_last_page, NULL);
	ck_assert_int_eq(last_ret, 0);
	ck_assert_int_eq(truncate(path, DISK / 2), 0);
	loop_call(io_loop, read_last_page, NULL);
	ck_assert_int_eq(last_ret, -EIO);
}
END_TEST

START_TEST(test_bad_files)
{
	struct drive d;
	char arg[200];

	snprintf(arg, sizeof(arg), "file=%s/none,format=raw", dir);
	ck_assert_int_eq(blk_add_drive(set, arg, &d, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, dir));
	ck_assert_ptr_nonnull(strstr(e.hint, "truncate"));
	snprintf(arg, sizeof(arg), "file=%s,format=raw", dir);
	ck_assert_int_eq(blk_add_drive(set, arg, &d, &e), -EISDIR);
	ck_assert_ptr_nonnull(strstr(e.msg, "is a directory"));
	ck_assert_int_lt(blk_add_drive(set, "file=/dev/null,format=raw", &d, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "character device"));
	ck_assert_int_lt(blk_add_blockdev(set, "driver=file,node-name=x", &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "filename= is missing"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("block_io");
	TCase *t = tcase_create("io");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_load, 0, sizeof(engines) / sizeof(engines[0]));
	tcase_add_test(t, test_changes_under_load);
	tcase_add_test(t, test_same_image);
	tcase_add_test(t, test_cut_short);
	tcase_add_test(t, test_bad_files);
	suite_add_tcase(s, t);
	return run_suite(s);
}
