/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A loop for tests of code that runs on one: time stands still but for
 * fake_advance, and nothing runs but in fake_run. Include it in one test_*.c, which
 * then has no other loop.
 */
#ifndef POSADA_TEST_FAKE_LOOP_H
#define POSADA_TEST_FAKE_LOOP_H

#include <stdlib.h>

#include "loop.h"

struct loop {
	struct loop_defer *deferred;
	struct loop_timer *timers;
	uint64_t now_ns;
	bool other_thread; /* whoever asks is not the loop's own */
};

static struct loop fake_loop = { .now_ns = 1000000000 };

uint64_t loop_now_ns(void)
{
	return fake_loop.now_ns;
}

bool loop_is_current(const struct loop *l)
{
	return !l->other_thread;
}

void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	fn(ctx);
}

void loop_defer(struct loop *l, struct loop_defer *d)
{
	struct loop_defer **at = &l->deferred;

	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	while (*at)
		at = &(*at)->next;
	*at = d;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
	for (struct loop_defer **at = &l->deferred; *at; at = &(*at)->next) {
		if (*at == d) {
			*at = d->next;
			break;
		}
	}
	d->queued = false;
}

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*cb)(void *ctx), void *ctx)
{
	*t = (struct loop_timer){ .loop = l, .cb = cb, .ctx = ctx };
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t->loop)
		return;
	for (struct loop_timer **at = &t->loop->timers; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	t->deadline = 0;
}

void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns)
{
	struct loop_timer **at = &t->loop->timers;

	loop_timer_cancel(t);
	t->deadline = deadline_ns ? deadline_ns : 1;
	while (*at && (*at)->deadline <= t->deadline)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
}

/* What is deferred or due, until nothing is. */
static inline void fake_run(void)
{
	for (;;) {
		struct loop_defer *d = fake_loop.deferred;
		struct loop_timer *t = fake_loop.timers;

		if (d) {
			fake_loop.deferred = d->next;
			d->queued = false;
			d->cb(d->ctx);
		} else if (t && t->deadline <= fake_loop.now_ns) {
			loop_timer_cancel(t);
			t->cb(t->ctx);
		} else {
			return;
		}
	}
}

/* Time passes, timers one after the other. */
static inline void fake_advance(uint64_t ns)
{
	uint64_t end = fake_loop.now_ns + ns;

	fake_run();
	while (fake_loop.timers && fake_loop.timers->deadline <= end) {
		fake_loop.now_ns = fake_loop.timers->deadline;
		fake_run();
	}
	fake_loop.now_ns = end;
	fake_run();
}

#endif
