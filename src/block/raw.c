/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format raw: the bytes of the file are the bytes of the disk. offset= and size=
 * show a part of the file. Node's thread.
 *
 * Disks consist of sectors of 512 bytes; files need not. The disk of a file with
 * a part of a sector at its end is shown with all of it: what is beyond the
 * file's end reads as zeroes, and writing there makes the file longer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block_int.h"
#include "err.h"
#include "internal.h"
#include "iov.h"
#include "log.h"
#include "props.h"

enum { SECTOR = 512 };

struct raw {
	uint64_t offset, size; /* as given; size 0: to the end */
	uint64_t end; /* of what the file holds, counted from offset */
};

static const struct prop raw_props[] = {
	PROP(struct raw, offset, PROP_SIZE, "offset", "0", "where in the file the disk begins"),
	PROP(struct raw, size, PROP_SIZE, "size", NULL, "how much of the file is the disk"),
	PROP_END,
};

/* Lowest of all: what nobody else claims. */
static int raw_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	return 1;
}

static uint64_t round_up(uint64_t n)
{
	return n > UINT64_MAX - SECTOR ? n / SECTOR * SECTOR : (n + SECTOR - 1) / SECTOR * SECTOR;
}

/* What the file has now. */
static int set_size(struct blk_node *n, struct err *e)
{
	struct raw *r = n->p;
	uint64_t have = n->file->size;

	if (r->offset > have) {
		err_set(e, ERR_USAGE, EINVAL,
			"offset=%" PRIu64 ": %s ends before that, at %" PRIu64, r->offset,
			n->filename, have);
		return -EINVAL;
	}
	have -= r->offset;
	if (r->size > have) {
		err_set(e, ERR_USAGE, EINVAL,
			"size=%" PRIu64 ": %s has only %" PRIu64 " bytes from offset %" PRIu64,
			r->size, n->filename, have, r->offset);
		return -EINVAL;
	}
	r->end = r->size ? r->size : have;
	n->size = round_up(r->end);
	return 0;
}

static int raw_open(struct blk_node *n, struct err *e)
{
	struct raw *r = n->p;
	int rc;

	if (r->size % SECTOR) {
		err_set(e, ERR_USAGE, EINVAL, "size=%" PRIu64 " is not a multiple of 512", r->size);
		err_hint(e, "%" PRIu64 " is", r->size / SECTOR * SECTOR);
		return -EINVAL;
	}
	rc = set_size(n, e);
	if (!rc && r->end % SECTOR)
		log_warn("%s: %" PRIu64 " bytes are not a multiple of 512; the disk is shown with "
			 "%" PRIu64 ", the rest reading as zeroes",
			 n->filename, r->end, n->size);
	return rc;
}

static int raw_refresh(struct blk_node *n, struct err *e)
{
	int rc = n->file->drv->refresh ? n->file->drv->refresh(n->file, e) : 0;

	return rc ? rc : set_size(n, e);
}

/* --- requests that touch the last sector of a file that ends inside it --- */

struct tail_io {
	struct blk_io io;
	struct blk_io *parent;
	struct blk_node *node;
	uint64_t end; /* of the request, on the disk */
	struct iovec iov[];
};

static void tail_done(struct blk_io *io, int ret)
{
	struct tail_io *t = container_of(io, struct tail_io, io);
	struct raw *r = t->node->p;
	struct blk_io *parent = t->parent;

	if (!ret && io->op == BLK_WRITE && t->end > r->end)
		r->end = t->end;
	free(t);
	parent->done(parent, ret);
}

static void zero_iov(const struct iovec *iov, unsigned n, uint64_t skip)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t part = iov[i].iov_len;

		if (skip < part)
			memset((char *)iov[i].iov_base + skip, 0, part - skip);
		skip -= skip < part ? skip : part;
	}
}

static void tail_submit(struct blk_node *n, struct blk_io *io)
{
	struct raw *r = n->p;
	/* How much of the request lies in the file. */
	uint64_t inside = io->off < r->end ? r->end - io->off : 0;
	struct tail_io *t;

	if (io->op == BLK_WRITE)
		inside = io->len;
	if (io->op == BLK_READ)
		zero_iov(io->iov, io->n_iov, inside);
	if (!inside) {
		blk_io_done_later(io, 0);
		return;
	}
	t = malloc(sizeof(*t) + io->n_iov * sizeof(t->iov[0]));
	if (!t) {
		blk_io_done_later(io, -ENOMEM);
		return;
	}
	t->parent = io;
	t->node = n;
	t->end = io->off + io->len;
	t->io = *io;
	t->io.done = tail_done;
	t->io.off += r->offset;
	t->io.len = inside;
	t->io.iov = t->iov;
	t->io.n_iov = iov_slice(io->iov, io->n_iov, 0, inside, t->iov, io->n_iov);
	blk_node_submit(n->file, &t->io);
}

static void raw_submit(struct blk_node *n, struct blk_io *io)
{
	struct raw *r = n->p;

	if (io->op != BLK_FLUSH) {
		if (io->off + io->len > r->end && r->end % SECTOR) {
			tail_submit(n, io);
			return;
		}
		io->off += r->offset;
	}
	blk_node_submit(n->file, io);
}

/* --- size and contents --- */

static int raw_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	struct raw *r = n->p;
	int rc;

	if (r->offset || r->size) {
		err_set(e, ERR_USAGE, ENOTSUP, "%s: a part of a file has no size of its own",
			n->filename);
		err_hint(e, "open it without offset= and size=");
		return -ENOTSUP;
	}
	rc = blk_node_truncate(n->file, size, e);
	return rc ? rc : set_size(n, e);
}

static int raw_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		      unsigned *flags)
{
	struct raw *r = n->p;

	if (off >= r->end) {
		*bytes = len;
		*flags = BLK_ZERO | BLK_ALLOCATED;
		return 0;
	}
	return blk_node_status(n->file, off + r->offset, len < r->end - off ? len : r->end - off,
			       bytes, flags);
}

const struct blk_driver blk_raw = {
	.name = "raw",
	.desc = "the bytes of the file are the bytes of the disk",
	.size = sizeof(struct raw),
	.props = raw_props,
	.probe = raw_probe,
	.open = raw_open,
	.submit = raw_submit,
	.refresh = raw_refresh,
	.truncate = raw_truncate,
	.status = raw_status,
};
