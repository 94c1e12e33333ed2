/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Long computations (compression) on threads of their own, one a CPU, while the
 * coroutine that wants them sleeps and others go on.
 */
#ifndef POSADA_BLOCK_CO_POOL_H
#define POSADA_BLOCK_CO_POOL_H

struct loop;

/*
 * Runs fn(arg) and returns when it has. Inside a coroutine on loop l: on another
 * thread; the coroutine goes on from the loop, or from co_pool_poll. Else (l
 * NULL, no coroutine) at once on this thread.
 */
void co_pool_run(struct loop *l, void (*fn)(void *arg), void *arg);
/* Waits until one of l's coroutines that sleep in co_pool_run, of which there are some, goes on. */
void co_pool_poll(struct loop *l);

#endif
