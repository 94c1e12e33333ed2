/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine "io_uring", on liburing; see io_uring(7). Linux 5.6 or newer; a ring
 * may also be forbidden (kernel.io_uring_disabled, seccomp), which shows when it
 * is made. The loop's thread.
 *
 * The ring belongs to the thread that made it (IORING_SETUP_SINGLE_ISSUER): a
 * loop that another thread runs from some time on gets a new one.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "aio_int.h"
#include "err.h"

enum { SQ_ENTRIES = 256 };

struct uring {
	struct io_uring ring;
	bool open;
	const char *owner; /* &thread_tag of the thread that made it */
	bool asked, writes_wait; /* see writes_wait() */
};

/* Its address tells threads apart. */
static _Thread_local char thread_tag;

/* Newer kernels need not interrupt the thread to complete: the first that the kernel takes. */
static const unsigned setups[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG, /* 6.1 */
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, /* 5.19 */
	0,
};

static int ring_open(struct uring *u, int efd)
{
	struct io_uring_params p;
	int ret = -EINVAL;

	for (unsigned i = 0; ret == -EINVAL && i < sizeof(setups) / sizeof(setups[0]); i++) {
		p = (struct io_uring_params){ .flags = setups[i] | IORING_SETUP_CQSIZE,
					      .cq_entries = AIO_MOST };
		ret = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &p);
	}
	if (ret)
		return ret;
	/* Linux 5.6, which brought READ, WRITE and FALLOCATE. */
	if (!(p.features & IORING_FEAT_RW_CUR_POS))
		ret = -ENOSYS;
	else if (efd >= 0)
		ret = io_uring_register_eventfd(&u->ring, efd);
	if (ret) {
		io_uring_queue_exit(&u->ring);
		return ret;
	}
	u->open = true;
	u->owner = &thread_tag;
	return 0;
}

static int uring_open(struct aio *a, struct err *e)
{
	struct uring *u = calloc(1, sizeof(*u));
	int ret = u ? ring_open(u, a->efd) : -ENOMEM;

	if (!ret) {
		a->priv = u;
		return 0;
	}
	free(u);
	err_set(e, ERR_HOST, -ret, "aio=io_uring: the host's kernel refuses it: %s",
		ret == -ENOSYS ? "it has none, or an old one" : strerror(-ret));
	if (ret == -EPERM)
		err_hint(e, "see kernel.io_uring_disabled and the sandbox's rules, or use "
			    "aio=threads");
	else if (ret == -ENOMEM)
		err_hint(e, "raise the limit on locked memory (ulimit -l), or use aio=threads");
	else
		err_hint(e, "use aio=threads");
	return ret;
}

static void uring_close(struct aio *a)
{
	struct uring *u = a->priv;

	if (u && u->open)
		io_uring_queue_exit(&u->ring);
	free(u);
	a->priv = NULL;
}

/* False: this thread cannot have one; the pool serves. */
static bool own_ring(struct aio *a)
{
	struct uring *u = a->priv;

	if (u->owner == &thread_tag)
		return u->open;
	if (a->in_kernel) /* against the contract of loops: what is in flight is drained first */
		return false;
	if (u->open)
		io_uring_queue_exit(&u->ring);
	u->open = false;
	u->owner = &thread_tag;
	return !ring_open(u, a->efd);
}

/*
 * Where the file system cannot write to the page cache without waiting (ext4), the
 * ring hands each such write to a thread of the kernel's, which takes two to three times as
 * long as the pool. The first write finds out; what it may have written is
 * written again.
 */
static bool writes_wait(struct uring *u, const struct aio_op *op)
{
	if (!u->asked) {
		u->asked = true;
		u->writes_wait = pwritev2(op->reqs->fd, op->iov, (int)op->n_iov, (off_t)op->off,
					  RWF_NOWAIT) < 0 &&
				 errno == EOPNOTSUPP;
	}
	return u->writes_wait;
}

static bool ring_can(struct uring *u, const struct aio_op *op)
{
	const struct aio_req *r = op->reqs;

	if (op->blocking || (r->op == BLK_DISCARD && r->blkdev))
		return false;
	return r->op != BLK_WRITE || r->direct || !writes_wait(u, op);
}

static void prepare_rw(struct io_uring_sqe *sqe, const struct aio_op *op)
{
	const struct aio_req *r = op->reqs;
	bool write = r->op == BLK_WRITE;

	if (op->n_iov == 1) /* a little cheaper than a vector of one */
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, r->fd,
				 op->iov->iov_base, (unsigned)op->len, op->off);
	else
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, r->fd, op->iov,
				 op->n_iov, op->off);
	if (write && r->fua)
		sqe->rw_flags = RWF_DSYNC;
}

static void prepare(struct io_uring_sqe *sqe, struct aio_op *op)
{
	const struct aio_req *r = op->reqs;

	if (r->op == BLK_READ || r->op == BLK_WRITE)
		prepare_rw(sqe, op);
	else if (r->op == BLK_FLUSH)
		io_uring_prep_fsync(sqe, r->fd, IORING_FSYNC_DATASYNC);
	else
		io_uring_prep_fallocate(sqe, r->fd, aio_op_falloc(r), (off_t)op->off,
					(off_t)op->len);
	io_uring_sqe_set_data(sqe, op);
}

/* Entries that the kernel does not take (no memory, say) stay in the ring and go next time. */
static void uring_send(struct aio *a)
{
	struct uring *u = a->priv;
	bool own = own_ring(a);
	struct io_uring_sqe *sqe;
	struct aio_op *op;

	while ((op = a->pending.first)) {
		if (!own || !ring_can(u, op)) {
			op = aio_list_take(&a->pending);
			if (!aio_write_cached(a, op))
				aio_pool_add(op);
			continue;
		}
		if (a->in_kernel >= AIO_MOST)
			break;
		sqe = io_uring_get_sqe(&u->ring);
		if (!sqe) {
			if (io_uring_submit(&u->ring) <= 0)
				break;
			continue;
		}
		prepare(sqe, aio_list_take(&a->pending));
		a->in_kernel++;
	}
	if (own && io_uring_sq_ready(&u->ring))
		io_uring_submit_and_get_events(&u->ring);
	a->unsent = own && io_uring_sq_ready(&u->ring);
}

static bool uring_reap(struct aio *a)
{
	struct uring *u = a->priv;
	struct io_uring_cqe *cqe;
	struct aio_op *op;
	bool any = false;
	int ret;

	/* A peek enters the kernel only when the ring says that something waits there. */
	while (u->open && !io_uring_peek_cqe(&u->ring, &cqe)) {
		op = io_uring_cqe_get_data(cqe);
		ret = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		a->in_kernel--;
		aio_op_done(op, ret);
		any = true;
	}
	return any;
}

const struct aio_engine aio_uring = {
	.name = "io_uring",
	.open = uring_open,
	.close = uring_close,
	.send = uring_send,
	.reap = uring_reap,
};
