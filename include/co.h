/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutines: functions that wait in the middle and go on later, on the same
 * thread. An image format reads a table, waits, looks at it, writes data, waits,
 * and says so in that order, while other requests proceed.
 *
 * A coroutine runs from co_enter until it yields or its function returns; then
 * co_enter returns. It belongs to the thread that made it. No lock of a thread may be held
 * across a yield.
 */
#ifndef POSADA_CO_H
#define POSADA_CO_H

#include <stdbool.h>
#include <stddef.h>

struct co;

/* Bytes of stack that a coroutine's function has. */
#define CO_STACK (128u << 10)

/* Makes one that will run fn(arg), or NULL without memory. It frees itself at fn's end. */
struct co *co_create(void (*fn)(void *arg), void *arg);
/* Runs it until it yields or ends; also from inside another coroutine. */
void co_enter(struct co *c);
/* Inside a coroutine: back to whoever entered it. */
void co_yield (void);
/* The running one; NULL outside of any. */
struct co *co_self(void);
/* Frees the stacks that this thread keeps for reuse. For a thread's end. */
void co_thread_exit(void);

/* --- waiting for one another, in order of arrival; zeroed to begin with --- */
struct co_waiter {
	struct co *co;
	struct co_waiter *next;
};

struct co_queue {
	struct co_waiter *first, *last;
};

/* Inside a coroutine: waits until it is woken. */
void co_queue_wait(struct co_queue *q);
/* Enters the first waiter, and returns when it yields or ends. False when there is none. */
bool co_queue_wake(struct co_queue *q);
/* Enters all that wait now. */
void co_queue_wake_all(struct co_queue *q);

struct co_lock {
	bool held;
	struct co_queue waiters;
};

void co_lock(struct co_lock *l);
void co_unlock(struct co_lock *l); /* hands it to the first waiter, who runs at once */

#endif
