/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See co_io.h. The node's thread. */
#include "co_io.h"

#include <errno.h>

#include "co.h"
#include "internal.h"

struct waiting {
	struct blk_io io;
	struct co *co; /* NULL: polling */
	bool done;
	int ret;
};

static void on_done(struct blk_io *io, int ret)
{
	struct waiting *w = container_of(io, struct waiting, io);

	w->ret = ret;
	w->done = true;
	if (w->co)
		co_enter(w->co);
}

static int run(struct blk_node *n, struct waiting *w)
{
	w->io.done = on_done;
	w->co = co_self();
	blk_node_submit(n, &w->io);
	if (w->co)
		co_yield (); /* done never runs inside submit */
	while (!w->done)
		blk_node_poll(n);
	return w->ret;
}

int co_iov(struct blk_node *n, enum blk_op op, uint64_t off, uint64_t len, const struct iovec *iov,
	   unsigned n_iov, unsigned flags)
{
	struct waiting w = { .io = { .op = op,
				     .flags = flags,
				     .off = off,
				     .len = len,
				     .iov = iov,
				     .n_iov = n_iov } };

	return len || op == BLK_FLUSH ? run(n, &w) : 0;
}

int co_pread(struct blk_node *n, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	if (off > n->size || len > n->size - off)
		return -EIO;
	return co_iov(n, BLK_READ, off, len, &iov, 1, 0);
}

int co_pwrite(struct blk_node *n, uint64_t off, const void *buf, size_t len, unsigned flags)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	return co_iov(n, BLK_WRITE, off, len, &iov, 1, flags);
}

int co_zero(struct blk_node *n, uint64_t off, uint64_t len, unsigned flags)
{
	return co_iov(n, BLK_WRITE_ZEROES, off, len, NULL, 0, flags);
}

int co_discard(struct blk_node *n, uint64_t off, uint64_t len)
{
	return co_iov(n, BLK_DISCARD, off, len, NULL, 0, 0);
}

int co_flush(struct blk_node *n)
{
	return co_iov(n, BLK_FLUSH, 0, 0, NULL, 0, 0);
}
