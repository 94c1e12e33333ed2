/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between aio.c and the engines. A request (aio_req) or several neighbours become one
 * operation (aio_op); an engine carries operations out. The loop's thread only,
 * but for the pool's threads, which take an operation in and give it back.
 */
#ifndef POSADA_AIO_INT_H
#define POSADA_AIO_INT_H

#include <libaio.h>
#include <pthread.h>
#include <stdatomic.h>

#include "aio.h"
#include "loop.h"

enum {
	AIO_MOST = 1024, /* operations that one engine has in the kernel */
	AIO_MERGE_IOVS = 1024, /* IOV_MAX */
	AIO_MERGE_BYTES = 1 << 20,
};

struct aio_op {
	struct aio *a;
	struct aio_op *next;
	struct aio_req *reqs; /* by ->merged, by offset; the first says what to do */
	const struct iovec *iov; /* what is left to move */
	unsigned n_iov;
	struct iovec *own; /* iov's array when it is no request's */
	uint64_t off, len; /* what is left */
	uint64_t moved; /* bytes done before */
	int64_t ret;
	bool blocking; /* was told to try again: to the pool, where it may sleep */
	struct iocb cb; /* of libaio */
};

struct aio_list {
	struct aio_op *first, **end;
};

struct aio_engine {
	const char *name;
	/* On the loop's thread. Fills a->priv. */
	int (*open)(struct aio *a, struct err *e);
	void (*close)(struct aio *a); /* nothing in flight; accepts half-open */
	/*
	 * Takes what it can of a->pending to the kernel or the pool. Never calls back: what
	 * ends here goes to aio_op_ended.
	 */
	void (*send)(struct aio *a);
	/* Ends what the kernel has done, by aio_op_done. NULL: the pool does it all. */
	bool (*reap)(struct aio *a);
};

struct aio {
	const struct aio_engine *engine;
	void *priv;
	struct loop *loop;
	enum blk_aio kind;
	unsigned refs;
	struct aio *next; /* of all engines */

	struct aio_req *queue, **queue_end; /* of this round, in the order submitted */
	struct aio_list pending; /* operations that wait for room */
	struct aio_list ended; /* done, not called back yet */
	struct aio_op *unused;
	unsigned in_flight; /* requests */
	unsigned in_kernel; /* operations */
	unsigned in_line; /* rounds that completed at once, one after the other */
	unsigned nested; /* calls that run callbacks */
	bool gone; /* closed in one of these */
	bool unsent; /* the kernel had no room for what counts as in_kernel: send again */
	struct loop_defer defer;
	struct loop_fd watch; /* of efd */
	struct loop_poller poller;
	uint64_t writes_wait_until; /* see aio_write_cached; loop_now_ns */

	int efd; /* written when something is done; -1 without a loop */
	/* the pool's side */
	_Atomic(struct aio_op *) pool_done; /* last first */
	unsigned in_pool;
	unsigned workers; /* that may still touch this struct; under the pool's lock */
};

extern const struct aio_engine aio_uring, aio_libaio, aio_threads;

static inline void aio_list_init(struct aio_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static inline void aio_list_add(struct aio_list *l, struct aio_op *op)
{
	op->next = NULL;
	*l->end = op;
	l->end = &op->next;
}

static inline struct aio_op *aio_list_take(struct aio_list *l)
{
	struct aio_op *op = l->first;

	if (op && !(l->first = op->next))
		l->end = &l->first;
	return op;
}

/* The kernel's answer. Calls back or sends the rest: from reap only. */
void aio_op_done(struct aio_op *op, int64_t ret);
/* The same from send: the callback comes later. */
void aio_op_ended(struct aio_op *op, int64_t ret);
/* Carries op out on the calling thread, which may sleep. */
int64_t aio_op_run(const struct aio_op *op);
/* fallocate's mode for a DISCARD or WRITE_ZEROES. */
int aio_op_falloc(const struct aio_req *r);

/* --- the pool of threads, shared by the process --- */
void aio_pool_add(struct aio_op *op);
/* Carries out a write to the page cache here and now, when that is likely to be quick. */
bool aio_write_cached(struct aio *a, struct aio_op *op); /* from send */
void aio_pool_reap(struct aio *a); /* moves what is done to a->ended */
/* Waits for threads that are about to be done with a. */
void aio_pool_leave(struct aio *a);

#endif
