/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An event loop on epoll: file descriptors, timers, and work posted by other
 * threads. One thread runs it. Callbacks run on that thread with no lock held.
 *
 * Unless said otherwise a function is for the loop's own thread (or for any
 * thread before loop_run).
 */
#ifndef POSADA_LOOP_H
#define POSADA_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;

int loop_create(struct loop **out, struct err *e);
void loop_destroy(struct loop *l);

/* Runs callbacks until loop_quit. */
void loop_run(struct loop *l);
void loop_quit(struct loop *l); /* any thread */
bool loop_is_current(const struct loop *l); /* any thread: am I the one in loop_run? */

/* --- file descriptors. The struct is the caller's and must outlive loop_fd_del. --- */
struct loop_fd {
	int fd;
	void (*cb)(void *ctx, uint32_t epoll_events);
	void *ctx;
	uint32_t events; /* EPOLLIN, EPOLLOUT ... now watched; 0 = not in the set */
	struct loop *loop;
};

/* 0 or -errno (-EPERM: a regular file, which epoll does not take). */
int loop_fd_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events,
		void (*cb)(void *ctx, uint32_t epoll_events), void *ctx);
int loop_fd_mod(struct loop_fd *f, uint32_t events);
void loop_fd_del(struct loop_fd *f); /* also inside any callback; idempotent */

/* --- timers on CLOCK_MONOTONIC, nanoseconds. set/cancel: any thread. --- */
struct loop_timer {
	struct loop *loop;
	void (*cb)(void *ctx);
	void *ctx;
	uint64_t deadline; /* 0 = not armed */
	unsigned heap_pos;
};

uint64_t loop_now_ns(void);
void loop_timer_init(struct loop_timer *t, struct loop *l, void (*cb)(void *ctx), void *ctx);
void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns);
/* Afterwards cb is not begun any more; called off-loop, it may still be running. */
void loop_timer_cancel(struct loop_timer *t);

/* --- from any thread --- */
/* Runs fn(ctx) on the loop soon, in the order posted. */
void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx);
/* The same, and waits until it has run. On the loop's thread runs it at once. No lock held. */
void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx);

#endif
