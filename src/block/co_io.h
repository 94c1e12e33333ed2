/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O on nodes for code that waits for it: inside a coroutine the coroutine
 * sleeps until the request is done; outside of any, the node is polled. So the
 * same functions serve requests in flight, opening, checking and the image tool.
 * On the node's thread. 0 or -errno.
 */
#ifndef POSADA_BLOCK_CO_IO_H
#define POSADA_BLOCK_CO_IO_H

#include "block_int.h"

int co_pread(struct blk_node *n, uint64_t off, void *buf, size_t len);
int co_pwrite(struct blk_node *n, uint64_t off, const void *buf, size_t len, unsigned flags);
/* op: READ or WRITE of iov, len bytes in all. */
int co_iov(struct blk_node *n, enum blk_op op, uint64_t off, uint64_t len, const struct iovec *iov,
	   unsigned n_iov, unsigned flags);
int co_zero(struct blk_node *n, uint64_t off, uint64_t len, unsigned flags);
int co_discard(struct blk_node *n, uint64_t off, uint64_t len);
int co_flush(struct blk_node *n);

#endif
