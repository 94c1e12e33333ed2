/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A front end that records, for the tests of character backends. */
#ifndef POSADA_TEST_CHARDEV_FRONT_H
#define POSADA_TEST_CHARDEV_FRONT_H

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "chardev.h"
#include "err.h"
#include "loop.h"

#define MS 1000000ull
#define MIB (1u << 20)

/* A write that takes longer has waited for the reader, who sleeps for a second. */
#define BLOCKED_NS (700 * MS)

static struct loop *l;
static struct chardev_set *set;
static unsigned quits;

struct front {
	struct chardev_port *port;
	size_t room; /* what can_read says, less each byte read */
	uint8_t in[MIB + 64];
	size_t in_n;
	unsigned opened, closed, breaks;
	atomic_uint writable;
};

static size_t front_can_read(void *ctx)
{
	struct front *f = ctx;

	ck_assert(loop_is_current(l));
	return f->room;
}

static void front_read(void *ctx, const uint8_t *buf, size_t len)
{
	struct front *f = ctx;

	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(len, f->room);
	ck_assert_uint_le(f->in_n + len, sizeof(f->in));
	memcpy(f->in + f->in_n, buf, len);
	f->in_n += len;
	f->room -= len;
}

static void front_writable(void *ctx)
{
	struct front *f = ctx;

	ck_assert(loop_is_current(l));
	atomic_fetch_add(&f->writable, 1);
}

static void front_event(void *ctx, enum chardev_event ev)
{
	struct front *f = ctx;

	ck_assert(loop_is_current(l));
	f->opened += ev == CHARDEV_OPENED;
	f->closed += ev == CHARDEV_CLOSED;
	f->breaks += ev == CHARDEV_BREAK;
}

static const struct chardev_client front_client = {
	.can_read = front_can_read,
	.read = front_read,
	.writable = front_writable,
	.event = front_event,
};

static inline void count_quit(void *ctx)
{
	quits++;
}

static inline void setup(void)
{
	const struct chardev_host host = { .quit = count_quit };
	struct err e;

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(loop_create(&l, &e), 0);
	ck_assert_int_eq(chardev_set_create(&set, l, &host, &e), 0);
}

static inline void teardown(void)
{
	chardev_set_destroy(set);
	loop_destroy(l);
}

static inline void stop_loop(void *ctx)
{
	loop_quit(l);
}

static inline void run_for(uint64_t ns)
{
	struct loop_timer t;

	loop_timer_init(&t, l, stop_loop, NULL);
	loop_timer_set(&t, loop_now_ns() + ns);
	loop_run(l);
	loop_timer_cancel(&t);
}

/* Runs the loop until expr holds; fails after ten seconds. */
#define RUN_UNTIL(expr)                                                                            \
	do {                                                                                       \
		uint64_t end_ = loop_now_ns() + 10000 * MS;                                        \
		while (!(expr)) {                                                                  \
			ck_assert_msg(loop_now_ns() < end_, "timed out: " #expr);                  \
			run_for(MS);                                                               \
		}                                                                                  \
	} while (0)

static inline struct front *front_new(struct chardev *c)
{
	struct front *f = calloc(1, sizeof(*f));
	struct err e = { 0 };

	f->room = SIZE_MAX;
	ck_assert_msg(chardev_attach(c, &front_client, f, &f->port, &e) == 0, "%s", e.msg);
	return f;
}

static inline void front_free(struct front *f)
{
	chardev_detach(f->port);
	free(f);
}

static inline struct chardev *legacy(const char *arg, const char *id)
{
	struct chardev *c = NULL;
	struct err e = { 0 };

	ck_assert_msg(chardev_from_legacy(set, arg, id, &c, &e) == 0, "%s", e.msg);
	return c;
}

/* Bytes that show a loss, a repetition or a swap wherever it happens. */
static inline uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static inline void fill_pattern(uint8_t *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = pattern(i);
}

static inline void sleep_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

/* Reads n bytes, slowly, and compares them with the pattern. */
struct slow_reader {
	int fd;
	size_t n, good;
};

static inline void *slow_read(void *arg)
{
	struct slow_reader *r = arg;
	uint8_t buf[8192];

	sleep_ms(1000); /* everything on the way is full by now */
	while (r->good < r->n) {
		ssize_t got = read(r->fd, buf, sizeof(buf));

		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got; i++)
			if (buf[i] != pattern(r->good + (size_t)i))
				return NULL;
		r->good += (size_t)got;
		sleep_ms(1);
	}
	return NULL;
}

/* As a vCPU would: writes the pattern, and waits for `writable` when it is held back. */
struct writer {
	struct front *f;
	size_t n, held_back;
	uint64_t longest_ns; /* a single chardev_write */
	atomic_bool done;
};

static inline void *write_pattern(void *arg)
{
	struct writer *w = arg;
	uint8_t *buf = malloc(w->n);
	size_t pos = 0;

	fill_pattern(buf, w->n);
	while (pos < w->n) {
		unsigned seen = atomic_load(&w->f->writable);
		size_t len = pos % 3 ? 1000 : 1; /* small and large writes */
		uint64_t start = loop_now_ns(), took;
		size_t n =
			chardev_write(w->f->port, buf + pos, len < w->n - pos ? len : w->n - pos);

		took = loop_now_ns() - start;
		if (took > w->longest_ns)
			w->longest_ns = took;
		pos += n;
		if (n == len || pos == w->n)
			continue;
		w->held_back++;
		while (atomic_load(&w->f->writable) == seen)
			sleep_ms(1);
	}
	free(buf);
	atomic_store(&w->done, true);
	return NULL;
}

#endif
