/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine "native": Linux AIO, io_submit(2). Asynchronous for O_DIRECT alone,
 * reads and writes only; the pool does the rest. Completions are announced by
 * the engine's eventfd and read from the ring that the kernel maps into the
 * process (fs/aio.c, struct aio_ring), without a system call. The loop's thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aio_int.h"
#include "err.h"

enum { BATCH = 128, RING_MAGIC = 0xa10a10a1 };

/* The start of the mapping at which an io_context_t points. */
struct ring {
	unsigned id, nr;
	unsigned head, tail;
	unsigned magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

static int libaio_open(struct aio *a, struct err *e)
{
	io_context_t ctx = NULL;
	int ret = io_setup(AIO_MOST, &ctx);

	a->priv = ctx;
	if (!ret)
		return 0;
	err_set(e, ERR_HOST, -ret, "aio=native: the host's kernel refuses it: %s",
		ret == -ENOSYS ? "it has no Linux AIO" : strerror(-ret));
	if (ret == -EAGAIN)
		err_hint(e, "raise fs.aio-max-nr (sysctl), or use aio=io_uring or aio=threads");
	else
		err_hint(e, "use aio=io_uring or aio=threads");
	return ret;
}

static void libaio_close(struct aio *a)
{
	if (a->priv)
		io_destroy(a->priv);
	a->priv = NULL;
}

static bool kernel_can(const struct aio_op *op)
{
	enum blk_op what = op->reqs->op;

	return !op->blocking && (what == BLK_READ || what == BLK_WRITE);
}

static void prepare(struct aio_op *op)
{
	const struct aio_req *r = op->reqs;
	struct iocb *cb = &op->cb;

	if (r->op == BLK_READ)
		io_prep_preadv(cb, r->fd, op->iov, (int)op->n_iov, (long long)op->off);
	else
		io_prep_pwritev(cb, r->fd, op->iov, (int)op->n_iov, (long long)op->off);
	if (r->op == BLK_WRITE && r->fua)
		cb->aio_rw_flags = RWF_DSYNC;
	io_set_eventfd(cb, op->a->efd);
	cb->data = op;
}

/* Those of n that the kernel did not take go back to the front of the list, in order. */
static void put_back(struct aio *a, struct iocb **cbs, unsigned n)
{
	while (n) {
		struct aio_op *op = cbs[--n]->data;

		op->next = a->pending.first;
		if (!a->pending.first)
			a->pending.end = &op->next;
		a->pending.first = op;
	}
}

/* False: no room in the kernel now. */
static bool submit(struct aio *a, struct iocb **cbs, unsigned n)
{
	int done = io_submit(a->priv, (long)n, cbs);

	if (done == -EAGAIN || done == -EINTR || !done) {
		put_back(a, cbs, n);
		return false;
	}
	if (done < 0) { /* the first of them is refused */
		aio_op_ended(cbs[0]->data, done);
		put_back(a, cbs + 1, n - 1);
		return true;
	}
	a->in_kernel += (unsigned)done;
	put_back(a, cbs + done, n - (unsigned)done);
	return true;
}

static void libaio_send(struct aio *a)
{
	struct iocb *cbs[BATCH];
	struct aio_op *op;
	unsigned n;

	do {
		for (n = 0; n < BATCH && a->in_kernel + n < AIO_MOST;) {
			op = aio_list_take(&a->pending);
			if (!op)
				break;
			if (!kernel_can(op)) {
				aio_pool_add(op);
				continue;
			}
			prepare(op);
			cbs[n++] = &op->cb;
		}
	} while (n && submit(a, cbs, n));
}

/* One completion; false: none shows. */
static bool next_event(struct aio *a, struct io_event *ev)
{
	struct ring *r = a->priv;
	unsigned head;

	if (r->magic != RING_MAGIC) /* a ring of another layout */
		return io_getevents(a->priv, 0, 1, ev, NULL) == 1;
	head = r->head;
	if (head == __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE))
		return false;
	*ev = r->events[head];
	__atomic_store_n(&r->head, (head + 1) % r->nr, __ATOMIC_RELEASE);
	return true;
}

static bool libaio_reap(struct aio *a)
{
	struct io_event ev;
	bool any = false;

	while (a->in_kernel && next_event(a, &ev)) {
		a->in_kernel--;
		aio_op_done(ev.data, (int64_t)(long)ev.res);
		any = true;
	}
	return any;
}

const struct aio_engine aio_libaio = {
	.name = "native",
	.open = libaio_open,
	.close = libaio_close,
	.send = libaio_send,
	.reap = libaio_reap,
};
