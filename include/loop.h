/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An event loop on epoll: file descriptors, timers, and work posted by other
 * threads. One thread runs it. Callbacks run on that thread with no lock held.
 *
 * Unless said otherwise a function is for the loop's own thread: the one in
 * loop_run, and before the first and after the last loop_run the one that
 * created it or ran it last.
 */
#ifndef POSADA_LOOP_H
#define POSADA_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;

int loop_create(struct loop **out, struct err *e);
/* Fds and timers must be out by now. Work posted after loop_run returned is dropped, not run. */
void loop_destroy(struct loop *l);

/*
 * Runs callbacks until loop_quit, then all that has been posted, and returns.
 * A loop_quit before loop_run makes it return at once; it can be run again.
 */
void loop_run(struct loop *l);
void loop_quit(struct loop *l); /* any thread */
bool loop_is_current(const struct loop *l); /* any thread: am I the loop's own? */

/*
 * --- file descriptors. The struct is the caller's and must outlive
 * loop_fd_del, which comes before close(). After loop_fd_del or loop_fd_mod no
 * stale event is delivered, not even one that the kernel has reported already.
 */
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
int loop_fd_mod(struct loop_fd *f, uint32_t events); /* 0: out of the set, until the next mod */
void loop_fd_del(struct loop_fd *f); /* also inside any callback; idempotent */

/* --- timers on CLOCK_MONOTONIC, nanoseconds. set/cancel: any thread. --- */
struct loop_timer {
	struct loop *loop;
	void (*cb)(void *ctx);
	void *ctx;
	uint64_t deadline; /* 0 = not armed */
	struct loop_timer *next, **link; /* the loop's list, by deadline */
};

uint64_t loop_now_ns(void);
void loop_timer_init(struct loop_timer *t, struct loop *l, void (*cb)(void *ctx), void *ctx);
void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns);
/* Afterwards cb is not begun any more; called off-loop, it may still be running. */
void loop_timer_cancel(struct loop_timer *t);

/*
 * --- deferred work: cb runs once after the callback that is running now, in
 * the order deferred, before the loop sleeps: what many callbacks of one round
 * have queued goes out in one batch. Deferring again before it has run does nothing.
 */
struct loop_defer {
	void (*cb)(void *ctx);
	void *ctx;
	struct loop_defer *next;
	bool queued;
};

void loop_defer(struct loop *l, struct loop_defer *d);
void loop_defer_cancel(struct loop *l, struct loop_defer *d);

/*
 * --- polling: before it sleeps the loop may look for work by itself for a
 * while, which saves whoever brings it a system call and the loop a wake-up.
 * Off unless loop_set_poll gave it time (nanoseconds; before loop_run). It adapts
 * itself: as long as sleeps turn out short it polls, when they do not it stops.
 */
struct loop_poller {
	bool (*poll)(void *ctx); /* does what work there is; true when there was any */
	void (*begin)(void *ctx); /* nobody need ring from now on; may be NULL */
	bool (*end)(void *ctx); /* the loop will sleep: ring again; true: work came in between */
	void *ctx;
	struct loop_poller *next;
};

void loop_set_poll(struct loop *l, uint64_t max_ns);
void loop_poller_add(struct loop *l, struct loop_poller *p);
void loop_poller_del(struct loop *l, struct loop_poller *p); /* not from a poller's callback */

/*
 * The loop's owner, inside a callback, waits for other threads, which may
 * themselves wait in a loop_call: serves such calls until done(ctx) is true. It
 * is asked again after each call and each loop_wake (any thread, no lock held
 * that done() takes).
 */
void loop_wait(struct loop *l, bool (*done)(void *ctx), void *ctx);
void loop_wake(struct loop *l);

/* --- from any thread --- */
/* Runs fn(ctx) on the loop soon, in the order posted. */
void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx);
/*
 * The same, and waits until it has run. On the loop's own thread, runs it at
 * once. After loop_run has returned, runs it on the calling thread, one such
 * call at a time: so a thread that the loop's owner is about to join never
 * waits for a loop that nobody runs. Call it with no lock held.
 */
void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx);

#endif
