/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engines of asynchronous file I/O, each on real files: data, merging, short
 * transfers, errors, waiting with and without the loop, and exactly one callback a request.
 * An engine that this host has not is left out by name.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"
#include "aio.h"
#include "err.h"
#include "loop.h"

static enum blk_aio kinds[4];
static bool directs[4];
static unsigned n_kinds;

static struct loop *l;
static struct aio *a;
static bool direct;
static char dir[64], path[80];
static int fd;
static struct err e;

static void open_file(uint64_t size)
{
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (direct ? O_DIRECT : 0), 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
}

static void start(int i)
{
	direct = directs[i];
	ck_assert_int_eq(loop_create(&l, &e), 0);
	ck_assert_msg(!aio_get(l, kinds[i], direct, &a, &e), "%s", e.msg);
	open_file(0);
}

static void setup(void)
{
	strcpy(dir, "test_aio-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
}

static void teardown(void)
{
	if (a) {
		ck_assert_uint_eq(aio_in_flight(a), 0);
		aio_put(a);
	}
	loop_destroy(l);
	close(fd);
	unlink(path);
	rmdir(dir);
	a = NULL;
	l = NULL;
}

/* --- requests that count their callbacks --- */

struct req {
	struct aio_req r;
	struct iovec iov[8];
	unsigned done;
	int64_t ret;
	void *ctx;
};

static unsigned left; /* callbacks to come */
static bool submitting;

static void on_done(struct aio_req *r, int64_t ret)
{
	struct req *q = (struct req *)r;

	ck_assert(!submitting);
	q->done++;
	q->ret = ret;
	if (!--left)
		loop_quit(l);
}

static void submit(struct req *q)
{
	if (!q->r.done)
		q->r.done = on_done;
	q->r.fd = fd;
	q->r.direct = direct;
	q->done = 0;
	left++;
	submitting = true;
	aio_submit(a, &q->r);
	submitting = false;
}

static void rw(struct req *q, enum blk_op op, uint64_t off, void *buf, size_t len)
{
	q->iov[0] = (struct iovec){ .iov_base = buf, .iov_len = len };
	q->r.op = op;
	q->r.off = off;
	q->r.len = len;
	q->r.iov = q->iov;
	q->r.n_iov = 1;
	submit(q);
}

static int64_t now(struct req *q)
{
	if (left)
		loop_run(l);
	ck_assert_uint_eq(q->done, 1);
	return q->ret;
}

static void *buffer(size_t n)
{
	void *p;

	ck_assert_int_eq(posix_memalign(&p, 4096, n), 0);
	memset(p, 0, n);
	return p;
}

/* --- data ---------------------------------------------------------------------------- */

enum { SLOTS = 128, SLOT = 8192, ROUNDS = 6000 };

static uint8_t *model;
static unsigned to_start;

struct slot {
	struct req q;
	uint8_t *buf;
	uint64_t off;
	unsigned len;
};

/* Cuts buf into a few pieces. */
static void cut(struct slot *s)
{
	unsigned unit = direct ? 512 : 1, at = 0, n = 0;

	while (at < s->len) {
		unsigned part = s->len - at;

		if (n < 7 && part > unit && rand() % 3)
			part = ((unsigned)rand() % (part / unit) + 1) * unit;
		s->q.iov[n++] = (struct iovec){ .iov_base = s->buf + at, .iov_len = part };
		at += part;
	}
	s->q.r.iov = s->q.iov;
	s->q.r.n_iov = n;
}

static void next_op(struct slot *s, unsigned i);

static void slot_done(struct aio_req *r, int64_t ret)
{
	struct slot *s = (struct slot *)r;
	unsigned i = (unsigned)(uintptr_t)s->q.ctx;

	ck_assert_int_eq(ret, s->len);
	if (r->op == BLK_READ)
		ck_assert_mem_eq(s->buf, model + s->off, s->len);
	else
		memcpy(model + s->off, s->buf, s->len);
	s->q.done = 0;
	left--;
	if (to_start) {
		to_start--;
		next_op(s, i);
	}
	if (!left)
		loop_quit(l);
}

static void next_op(struct slot *s, unsigned i)
{
	unsigned unit = direct ? 512 : 1, units = SLOT / unit;
	unsigned from = (unsigned)rand() % units, n = (unsigned)rand() % (units - from) + 1;

	if (rand() % 4 == 0) { /* the whole of it, to meet its neighbours */
		from = 0;
		n = units;
	}
	s->off = (uint64_t)i * SLOT + from * unit;
	s->len = n * unit;
	s->q.ctx = (void *)(uintptr_t)i;
	s->q.r.op = rand() % 2 ? BLK_READ : BLK_WRITE;
	s->q.r.fua = rand() % 512 == 0;
	s->q.r.off = s->off;
	s->q.r.len = s->len;
	s->q.r.done = slot_done;
	for (unsigned k = 0; s->q.r.op == BLK_WRITE && k < s->len; k++)
		s->buf[k] = (uint8_t)rand();
	cut(s);
	submit(&s->q);
}

/* Long writes go to threads, one by one for each file; each arrives, whatever waits for what. */
START_TEST(long_writes_to_two_files)
{
	enum { N = 24, LEN = 384 << 10 };
	struct req q[2 * N] = { 0 };
	uint8_t *buf = buffer((size_t)LEN * N), *got = buffer(LEN);
	char second[96];
	int fds[2];

	start(_i);
	snprintf(second, sizeof(second), "%s-2", path);
	fds[0] = fd;
	fds[1] = open(second, O_RDWR | O_CREAT | O_CLOEXEC | (direct ? O_DIRECT : 0), 0600);
	ck_assert_int_ge(fds[1], 0);
	for (unsigned i = 0; i < N; i++)
		memset(buf + (size_t)i * LEN, (int)i + 1, LEN);
	for (unsigned i = 0; i < 2 * N; i++) {
		fd = fds[i % 3 == 0];
		q[i].r.room_first = i % 5 == 0;
		/* Not neighbours: those would be one. */
		rw(&q[i], BLK_WRITE, (uint64_t)(i * 2) * LEN, buf + (size_t)(i % N) * LEN, LEN);
	}
	loop_run(l);
	for (unsigned i = 0; i < 2 * N; i++) {
		ck_assert_uint_eq(q[i].done, 1);
		ck_assert_int_eq(q[i].ret, LEN);
		ck_assert_int_eq(pread(fds[i % 3 == 0], got, LEN, (off_t)(i * 2) * LEN), LEN);
		ck_assert_mem_eq(got, buf + (size_t)(i % N) * LEN, LEN);
	}
	fd = fds[0];
	close(fds[1]);
	unlink(second);
	free(buf);
	free(got);
}
END_TEST

START_TEST(random_requests_match_a_model)
{
	struct slot *slots = calloc(SLOTS, sizeof(*slots));

	start(_i);
	ck_assert_int_eq(ftruncate(fd, SLOTS * SLOT), 0);
	model = calloc(SLOTS, SLOT);
	to_start = ROUNDS;
	for (unsigned i = 0; i < SLOTS; i++) {
		slots[i].buf = buffer(SLOT);
		next_op(&slots[i], i);
	}
	loop_run(l);
	ck_assert_uint_eq(left, 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		ck_assert_int_eq(pread(fd, slots[i].buf, SLOT, (off_t)i * SLOT), SLOT);
		ck_assert_mem_eq(slots[i].buf, model + (size_t)i * SLOT, SLOT);
		free(slots[i].buf);
	}
	free(model);
	free(slots);
}
END_TEST

START_TEST(flush_discard_and_zeroes)
{
	struct req w = { 0 }, f = { 0 };
	uint8_t *buf = buffer(65536), *zero = buffer(65536);
	struct stat st;

	start(_i);
	memset(buf, 0x5a, 65536);
	rw(&w, BLK_WRITE, 0, buf, 65536);
	ck_assert_int_eq(now(&w), 65536);
	f.r.op = BLK_FLUSH;
	submit(&f);
	ck_assert_int_eq(now(&f), 0);

	f.r = (struct aio_req){ .op = BLK_WRITE_ZEROES, .off = 4096, .len = 8192 };
	submit(&f);
	if (now(&f) == -EOPNOTSUPP) /* tmpfs */
		memset(buf + 4096, 0x5a, 8192);
	else
		memset(buf + 4096, 0, 8192);
	f.r = (struct aio_req){ .op = BLK_WRITE_ZEROES, .off = 16384, .len = 8192, .unmap = true };
	submit(&f);
	ck_assert_int_ge(now(&f), 0);
	memset(buf + 16384, 0, 8192);
	f.r = (struct aio_req){ .op = BLK_DISCARD, .off = 32768, .len = 32768 };
	submit(&f);
	ck_assert_int_ge(now(&f), 0);
	memset(buf + 32768, 0, 32768);
	rw(&w, BLK_READ, 0, zero, 65536);
	ck_assert_int_eq(now(&w), 65536);
	ck_assert_mem_eq(zero, buf, 65536);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 65536);
	ck_assert_int_le(st.st_blocks * 512, 65536 - 40960);
	free(buf);
	free(zero);
}
END_TEST

/* --- merging --- */

START_TEST(neighbours_go_as_one)
{
	enum { N = 40 };
	struct req q[N] = { 0 };
	uint8_t *buf = buffer(N * 4096), *back = buffer(N * 4096);

	start(_i);
	for (unsigned i = 0; i < N * 4096; i++)
		buf[i] = (uint8_t)(i / 4096 + i);
	for (unsigned i = 0; i < N; i++) {
		q[i].r.fua = i >= 30;
		rw(&q[i], BLK_WRITE, i * 4096 + (i >= 20 ? 4096 : 0), buf + i * 4096, 4096);
	}
	loop_run(l);
	for (unsigned i = 0; i < N; i++) {
		ck_assert_uint_eq(q[i].done, 1);
		ck_assert_int_eq(q[i].ret, 4096);
		/* A gap before 20, another durability from 30 on. */
		if (i == 19 || i == 29 || i == N - 1)
			ck_assert_ptr_null(q[i].r.merged);
		else
			ck_assert_ptr_eq(q[i].r.merged, &q[i + 1].r);
	}
	ck_assert_int_eq(pread(fd, back, 20 * 4096, 0), 20 * 4096);
	ck_assert_int_eq(pread(fd, back + 20 * 4096, 20 * 4096, 21 * 4096), 20 * 4096);
	ck_assert_mem_eq(back, buf, N * 4096);
	free(buf);
	free(back);
}
END_TEST

START_TEST(merging_is_bounded)
{
	enum { N = 300 };
	struct req *q = calloc(N, sizeof(*q));
	uint8_t *buf = buffer(N * 4096);
	unsigned run = 1, longest = 1;

	start(_i);
	for (unsigned i = 0; i < N; i++)
		rw(&q[i], BLK_WRITE, i * 4096, buf + i * 4096, 4096);
	loop_run(l);
	for (unsigned i = 0; i < N; i++) {
		ck_assert_int_eq(q[i].ret, 4096);
		run = q[i].r.merged ? run + 1 : 1;
		longest = run > longest ? run : longest;
	}
	ck_assert_uint_eq(longest, 256);
	free(q);
	free(buf);
}
END_TEST

/* Of three merged reads the last is behind the end. */
START_TEST(merged_read_at_the_end_of_the_file)
{
	struct req q[4] = { 0 };
	uint8_t *buf = buffer(4 * 4096);

	start(_i);
	memset(buf, 0x77, 3 * 4096);
	ck_assert_int_eq(pwrite(fd, buf, 3 * 4096, 0), 3 * 4096);
	ck_assert_int_eq(ftruncate(fd, 2 * 4096 + 512), 0);
	memset(buf, 0, 3 * 4096);
	for (unsigned i = 0; i < 4; i++)
		rw(&q[i], BLK_READ, i * 4096, buf + i * 4096, 4096);
	loop_run(l);
	ck_assert_ptr_null(q[0].r.merged); /* was merged, went alone */
	ck_assert_int_eq(q[0].ret, 4096);
	ck_assert_int_eq(q[1].ret, 4096);
	ck_assert_int_eq(q[2].ret, 512);
	ck_assert_int_eq(q[3].ret, 0);
	for (unsigned i = 0; i < 2 * 4096 + 512; i++)
		ck_assert_uint_eq(buf[i], 0x77);
	free(buf);
}
END_TEST

START_TEST(merged_failure_is_each_ones_own)
{
	struct req q[8] = { 0 };
	uint8_t *buf = buffer(8 * 4096);
	int good;

	start(_i);
	good = fd;
	fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
	for (unsigned i = 0; i < 8; i++)
		rw(&q[i], BLK_WRITE, i * 4096, buf + i * 4096, 4096);
	loop_run(l);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_uint_eq(q[i].done, 1);
		ck_assert_int_eq(q[i].ret, -EBADF);
	}
	close(fd);
	fd = good;
	free(buf);
}
END_TEST

/* The write ends short at the limit; what remains is refused. */
START_TEST(short_write_goes_on)
{
	struct rlimit old, lim = { .rlim_cur = 12288, .rlim_max = RLIM_INFINITY };
	struct req q[3] = { 0 };
	uint8_t *buf = buffer(3 * 8192);
	struct stat st;

	signal(SIGXFSZ, SIG_IGN);
	start(_i);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	lim.rlim_max = old.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
	for (unsigned i = 0; i < 3; i++)
		rw(&q[i], BLK_WRITE, i * 8192, buf + i * 8192, 8192);
	loop_run(l);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(q[0].ret, 8192);
	ck_assert_int_eq(q[1].ret, -EFBIG);
	ck_assert_int_eq(q[2].ret, -EFBIG);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 12288);
	free(buf);
}
END_TEST

/* --- many, waiting, life --- */

START_TEST(thousands_in_flight)
{
	enum { N = 5000 };
	struct req *q = calloc(N, sizeof(*q));
	uint8_t *buf = buffer(N * 512), *all = buffer(1 << 20);

	start(_i);
	for (unsigned i = 0; i < 1 << 20; i++)
		all[i] = (uint8_t)(i / 512 * 7 + i);
	ck_assert_int_eq(pwrite(fd, all, 1 << 20, 0), 1 << 20);
	for (unsigned i = 0; i < N; i++)
		rw(&q[i], BLK_READ, (i * 1103u) % 2048 * 512, buf + i * 512, 512);
	ck_assert_uint_eq(aio_in_flight(a), N);
	loop_run(l);
	for (unsigned i = 0; i < N; i++) {
		ck_assert_uint_eq(q[i].done, 1);
		ck_assert_int_eq(q[i].ret, 512);
		ck_assert_mem_eq(buf + i * 512, all + (i * 1103u) % 2048 * 512, 512);
	}
	free(q);
	free(buf);
	free(all);
}
END_TEST

/* Without the loop running, and with operations that only the pool can do among them. */
START_TEST(poll_waits)
{
	enum { N = 64 };
	struct req *q = calloc(N, sizeof(*q));
	uint8_t *buf = buffer(N * 4096);
	unsigned before;

	start(_i);
	for (unsigned i = 0; i < N; i++) {
		if (i % 8 == 0) {
			q[i].r.op = BLK_FLUSH;
			submit(&q[i]);
		} else {
			rw(&q[i], BLK_WRITE, i * 8192, buf + i * 4096, 4096);
		}
	}
	while ((before = aio_in_flight(a))) {
		aio_poll(a);
		ck_assert_uint_lt(aio_in_flight(a), before);
	}
	for (unsigned i = 0; i < N; i++)
		ck_assert_uint_eq(q[i].done, 1);
	aio_poll(a); /* nothing to wait for */
	free(q);
	free(buf);
}
END_TEST

START_TEST(peek_sees_what_is_done)
{
	struct req q = { 0 }, f = { 0 };
	uint8_t *buf = buffer(4096);
	struct timespec ms = { .tv_nsec = 1000000 };

	start(_i);
	ck_assert(!aio_peek(a));
	f.r.op = BLK_FLUSH;
	submit(&f);
	rw(&q, BLK_WRITE, 0, buf, 4096);
	ck_assert(!aio_peek(a)); /* not even sent */
	ck_assert_uint_eq(q.done + f.done, 0);
	aio_poll(a);
	for (unsigned i = 0; left && i < 5000; i++) {
		/* io_uring shows nothing without a call to the kernel; what it calls is its own
		 * matter. */
		if (!aio_peek(a) && i % 100 == 99)
			aio_poll(a);
		if (left)
			nanosleep(&ms, NULL);
	}
	ck_assert_uint_eq(q.done, 1);
	ck_assert_uint_eq(f.done, 1);
	free(buf);
}
END_TEST

START_TEST(one_engine_a_loop)
{
	struct aio *again, *other;
	struct loop *l2;

	start(_i);
	ck_assert_int_eq(aio_get(l, kinds[_i], direct, &again, &e), 0);
	ck_assert_ptr_eq(again, a);
	aio_put(again);
	ck_assert_int_eq(loop_create(&l2, &e), 0);
	ck_assert_int_eq(aio_get(l2, kinds[_i], direct, &other, &e), 0);
	ck_assert_ptr_ne(other, a);
	aio_put(other);
	loop_destroy(l2);
}
END_TEST

static void put_last(struct aio_req *r, int64_t ret)
{
	on_done(r, ret);
	if (!left) {
		aio_put(a);
		a = NULL;
	}
}

START_TEST(last_callback_may_put_the_engine)
{
	struct req q[3] = { 0 };
	uint8_t *buf = buffer(3 * 4096);

	start(_i);
	for (unsigned i = 0; i < 3; i++) {
		q[i].r.done = put_last;
		rw(&q[i], BLK_WRITE, i * 8192, buf + i * 4096, 4096);
	}
	loop_run(l);
	ck_assert_ptr_null(a);
	free(buf);
}
END_TEST

static void *run(void *ctx)
{
	loop_run(ctx);
	return NULL;
}

static void submit_there(void *ctx)
{
	struct req *q = ctx;

	rw(q, BLK_WRITE, 0, q->ctx, 4096);
}

/* Made on one thread, used on another, then on the first again. */
START_TEST(loop_moves_to_another_thread)
{
	struct req q = { 0 };
	uint8_t *buf = buffer(4096);
	pthread_t t;

	start(_i);
	q.ctx = buf;
	for (unsigned i = 0; i < 4; i++) {
		if (i % 2) {
			ck_assert_int_eq(pthread_create(&t, NULL, run, l), 0);
			loop_post(l, submit_there, &q);
			pthread_join(t, NULL);
		} else {
			submit_there(&q);
			loop_run(l);
		}
		ck_assert_uint_eq(q.done, 1);
		ck_assert_int_eq(q.ret, 4096);
	}
	free(buf);
}
END_TEST

/* Callbacks that submit again leave the loop time for its other descriptors and timers. */
static unsigned chain;
static bool timer_ran;

static void chained(struct aio_req *r, int64_t ret)
{
	struct req *q = (struct req *)r;

	left--;
	chain++;
	if (timer_ran || chain > 1000000)
		loop_quit(l);
	else
		submit(q);
}

static void on_timer(void *ctx)
{
	timer_ran = true;
}

START_TEST(busy_engine_lets_the_loop_live)
{
	struct loop_timer t;
	struct req q = { 0 };
	uint8_t *buf = buffer(4096);

	start(_i);
	ck_assert_int_eq(pwrite(fd, buf, 4096, 0), 4096);
	loop_timer_init(&t, l, on_timer, NULL);
	loop_timer_set(&t, loop_now_ns() + 5000000);
	q.r.done = chained;
	rw(&q, BLK_READ, 0, buf, 4096);
	loop_run(l);
	ck_assert(timer_ran);
	ck_assert_uint_le(chain, 1000000);
	while (aio_in_flight(a))
		aio_poll(a);
	loop_timer_cancel(&t);
	free(buf);
}
END_TEST

START_TEST(without_a_loop)
{
	struct req q[4] = { 0 };
	uint8_t buf[4 * 512];

	ck_assert_int_eq(aio_get(NULL, BLK_AIO_AUTO, false, &a, &e), 0);
	direct = false;
	open_file(4096);
	ck_assert_int_eq(loop_create(&l, &e), 0);
	for (unsigned i = 0; i < 4; i++)
		rw(&q[i], BLK_WRITE, i * 1024, buf + i * 512, 512);
	ck_assert_uint_eq(aio_in_flight(a), 4);
	while (aio_in_flight(a))
		aio_poll(a);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(q[i].done, 1);
		ck_assert_int_eq(q[i].ret, 512);
	}
}
END_TEST

START_TEST(native_needs_direct)
{
	ck_assert_int_eq(loop_create(&l, &e), 0);
	direct = false;
	open_file(0);
	ck_assert_int_eq(aio_get(l, BLK_AIO_NATIVE, false, &a, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "cache.direct=on"));
	ck_assert_ptr_nonnull(strstr(e.hint, "cache=none"));
}
END_TEST

/* Which engines does this host have, and does O_DIRECT work in the working directory? */
static void find_kinds(void)
{
	static const enum blk_aio all[] = { BLK_AIO_THREADS, BLK_AIO_IO_URING, BLK_AIO_IO_URING,
					    BLK_AIO_NATIVE };
	static const bool dio[] = { false, false, true, true };
	char name[] = "test_aio-XXXXXX";
	int file = mkstemp(name), d = open(name, O_RDONLY | O_DIRECT);
	struct loop *loop;
	struct aio *tried;

	if (loop_create(&loop, &e))
		exit(EXIT_FAILURE);
	for (unsigned i = 0; i < 4; i++) {
		if (dio[i] && d < 0) {
			fprintf(stderr, "test_aio: left out: O_DIRECT: %s\n", strerror(errno));
			continue;
		}
		if (aio_get(loop, all[i], dio[i], &tried, &e)) {
			fprintf(stderr, "test_aio: left out: %s\n", e.msg);
			continue;
		}
		aio_put(tried);
		kinds[n_kinds] = all[i];
		directs[n_kinds++] = dio[i];
	}
	loop_destroy(loop);
	close(file);
	if (d >= 0)
		close(d);
	unlink(name);
}

int main(void)
{
	Suite *s = suite_create("aio");
	TCase *tc = tcase_create("engines");
	static const TTest *const *const tests[] = {
		&long_writes_to_two_files,
		&random_requests_match_a_model,
		&flush_discard_and_zeroes,
		&neighbours_go_as_one,
		&merging_is_bounded,
		&merged_read_at_the_end_of_the_file,
		&merged_failure_is_each_ones_own,
		&short_write_goes_on,
		&thousands_in_flight,
		&poll_waits,
		&peek_sees_what_is_done,
		&one_engine_a_loop,
		&last_callback_may_put_the_engine,
		&loop_moves_to_another_thread,
		&busy_engine_lets_the_loop_live,
	};
	TCase *others = tcase_create("others");

	find_kinds();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 10);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_loop_test(tc, *tests[i], 0, (int)n_kinds);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(others, setup, teardown);
	tcase_add_test(others, without_a_loop);
	tcase_add_test(others, native_needs_direct);
	suite_add_tcase(s, others);
	return run_suite(s);
}
