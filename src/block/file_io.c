/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to a host file. Most go to the engine as they are. O_DIRECT takes only
 * whole blocks from aligned memory: the rest goes through a buffer, piece by
 * piece, and a write of a part of a block reads the block first. The node's loop.
 *
 * Such a read-modify-write must see no other write to its blocks between its read and
 * its write, nor the other write it: the two wait for one another, oldest
 * first. Reads need not wait: the bytes around those that are written stay as
 * they are at any moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_int.h"
#include "iov.h"

enum {
	PIECE = 1 << 20,
	BUFFERS_MOST = 16 << 20, /* of one file */
	IOV_MOST = 1024, /* UIO_MAXIOV */
};

#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

static void begin(struct file_req *q);

static uint64_t round_down(const struct file *f, uint64_t v)
{
	return v & ~((uint64_t)f->align - 1);
}

static uint64_t round_up(const struct file *f, uint64_t v)
{
	return round_down(f, v + f->align - 1);
}

static bool is_write(const struct blk_io *io)
{
	return io->op != BLK_READ && io->op != BLK_FLUSH;
}

static bool fua(const struct file_req *q)
{
	return (q->io->flags & BLK_FUA) && !q->f->node->open.no_flush;
}

/* --- who waits for whom ------------------------------------------------------------ */

static bool in_the_way(const struct file_req *q, const struct file_req *w)
{
	return (q->rmw || w->rmw) && q->start < w->end && w->start < q->end;
}

/* older: the requests that have waited for longer end here. */
static bool must_wait(const struct file_req *q, const struct file_req *older)
{
	const struct file *f = q->f;
	bool write = f->n_rmw && is_write(q->io);

	if (q->buf_size && f->buffered && f->buffered + q->buf_size > BUFFERS_MOST)
		return true;
	for (const struct file_req *w = write ? f->writes : NULL; w; w = w->next)
		if (in_the_way(q, w))
			return true;
	for (const struct file_req *w = f->waiting.first; w != older; w = w->next)
		if ((q->buf_size && w->buf_size) || (write && is_write(w->io) && in_the_way(q, w)))
			return true;
	return false;
}

static void list_write(struct file_req *q)
{
	struct file *f = q->f;

	q->listed = true;
	q->prev = NULL;
	q->next = f->writes;
	if (q->next)
		q->next->prev = q;
	f->writes = q;
}

static void unlist_write(struct file_req *q)
{
	if (!q->listed)
		return;
	q->listed = false;
	if (q->prev)
		q->prev->next = q->next;
	else
		q->f->writes = q->next;
	if (q->next)
		q->next->prev = q->prev;
}

static void start_waiting(struct file *f)
{
	struct file_req *q, **at = &f->waiting.first;

	while ((q = *at)) {
		if (must_wait(q, q)) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		if (!q->next)
			f->waiting.end = at;
		begin(q);
	}
}

/* --- the end ----------------------------------------------------------------------- */

/* Leaves the lists; what waited for it may start. */
static void retire(struct file_req *q)
{
	struct file *f = q->f;

	unlist_write(q);
	if (q->rmw)
		f->n_rmw--;
	q->rmw = false;
	if (q->buf) {
		free(q->buf);
		q->buf = NULL;
		f->buffered -= q->buf_size;
	}
	if (f->waiting.first)
		start_waiting(f);
}

static struct blk_io *release(struct file_req *q)
{
	struct file *f = q->f;
	struct blk_io *io = q->io;

	retire(q);
	q->next = f->unused;
	f->unused = q;
	f->in_flight--;
	return io;
}

/* From a completion. */
static void finish(struct file_req *q, int ret)
{
	struct blk_io *io = release(q);

	io->done(io, ret);
}

/* From submit, where nothing may be called back. */
static void finish_later(struct file_req *q, int ret)
{
	blk_io_done_later(release(q), ret);
}

/* --- to the engine ------------------------------------------------------------------ */

static void send(struct file_req *q, enum blk_op op, uint64_t off, uint64_t len,
		 const struct iovec *iov, unsigned n_iov,
		 void (*done)(struct aio_req *r, int64_t ret))
{
	struct file *f = q->f;

	q->aio = (struct aio_req){
		.op = op,
		.fd = f->fd,
		.off = off,
		.len = len,
		.iov = iov,
		.n_iov = n_iov,
		.fua = op == BLK_WRITE && fua(q),
		.blkdev = f->blkdev,
		.direct = f->direct,
		.room_first = f->room_first,
		.done = done,
	};
	aio_submit(f->aio, &q->aio);
}

/*
 * A failed write-back leaves pages that were never written marked as clean: the next
 * flush would succeed, and what is lost would be reported as safe. So all
 * flushes fail from then on, unless there is no page cache (O_DIRECT).
 */
static void on_flushed(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);

	if (ret < 0 && !q->f->direct)
		q->f->flush_error = (int)ret;
	finish(q, ret < 0 ? (int)ret : 0);
}

static void on_plain(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);

	if (ret == -EIO && q->aio.fua && !q->f->direct)
		q->f->flush_error = -EIO;
	/* Short: the file ends before what we knew as its end. */
	finish(q, ret < 0 ? (int)ret : (uint64_t)ret == q->io->len ? 0 : -EIO);
}

/* --- through a buffer ---------------------------------------------------------------- */

static void next_piece(struct file_req *q);

static uint64_t io_pos(const struct file_req *q)
{
	return q->io->off + q->pos;
}

/* Bytes of the request within the piece. */
static uint64_t piece_bytes(const struct file_req *q)
{
	uint64_t end = q->io->off + q->io->len;

	return (end < q->piece_end ? end : q->piece_end) - io_pos(q);
}

static void on_piece_read(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);
	uint64_t skip = io_pos(q) - q->piece, n = piece_bytes(q);

	if (ret < 0 || (uint64_t)ret < skip + n) {
		finish(q, ret < 0 ? (int)ret : -EIO);
		return;
	}
	iov_from_buf(q->io->iov, q->io->n_iov, q->pos, q->buf + skip, n);
	q->pos += n;
	next_piece(q);
}

static void on_piece_written(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);
	struct file *f = q->f;

	if (ret != (int64_t)(q->piece_end - q->piece)) {
		finish(q, ret < 0 ? (int)ret : -EIO);
		return;
	}
	/* Blocks are whole, the file need not be: what was written behind its end goes again. */
	if (!f->blkdev && q->piece_end > f->node->size && ftruncate(f->fd, (off_t)f->node->size)) {
		finish(q, -errno);
		return;
	}
	q->pos += piece_bytes(q);
	next_piece(q);
}

static void write_piece(struct file_req *q)
{
	uint64_t skip = io_pos(q) - q->piece, n = piece_bytes(q);

	if (q->io->op == BLK_WRITE)
		iov_to_buf(q->io->iov, q->io->n_iov, q->pos, q->buf + skip, n);
	else
		memset(q->buf + skip, 0, n);
	q->iov = (struct iovec){ .iov_base = q->buf, .iov_len = q->piece_end - q->piece };
	send(q, BLK_WRITE, q->piece, q->iov.iov_len, &q->iov, 1, on_piece_written);
}

/* One block of the piece, of which a part stays as it is. */
static void read_block(struct file_req *q, uint64_t off,
		       void (*done)(struct aio_req *r, int64_t ret))
{
	q->iov = (struct iovec){ .iov_base = q->buf + (off - q->piece), .iov_len = q->f->align };
	send(q, BLK_READ, off, q->f->align, &q->iov, 1, done);
}

/* Behind the end of the file lie zeroes. False: finished with an error. */
static bool block_read(struct file_req *q, int64_t ret)
{
	if (ret < 0) {
		finish(q, (int)ret);
		return false;
	}
	memset((char *)q->iov.iov_base + ret, 0, q->iov.iov_len - (uint64_t)ret);
	return true;
}

static void on_last_block(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);

	if (block_read(q, ret))
		write_piece(q);
}

static void read_last_block(struct file_req *q)
{
	uint64_t end = io_pos(q) + piece_bytes(q), last = q->piece_end - q->f->align;
	bool have = last == q->piece && io_pos(q) > q->piece;

	if (end == q->piece_end || have)
		write_piece(q);
	else
		read_block(q, last, on_last_block);
}

static void on_first_block(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);

	if (block_read(q, ret))
		read_last_block(q);
}

static void next_piece(struct file_req *q)
{
	struct file *f = q->f;
	uint64_t end = round_up(f, q->io->off + q->io->len);

	if (q->pos == q->io->len) {
		finish(q, 0);
		return;
	}
	q->piece = round_down(f, io_pos(q));
	q->piece_end = end - q->piece > q->buf_size ? q->piece + q->buf_size : end;
	if (q->io->op == BLK_READ) {
		q->iov = (struct iovec){ .iov_base = q->buf, .iov_len = q->piece_end - q->piece };
		send(q, BLK_READ, q->piece, q->iov.iov_len, &q->iov, 1, on_piece_read);
	} else if (q->piece < io_pos(q)) {
		read_block(q, q->piece, on_first_block);
	} else {
		read_last_block(q);
	}
}

/* --- zeroes and holes ----------------------------------------------------------------- */

static void place(struct file_req *q);

static bool unsupported(int64_t ret)
{
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENOTTY;
}

static void on_zeroed(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);
	struct file *f = q->f;

	if (unsupported(ret)) { /* begins again with what is left */
		if (r->unmap)
			f->no_punch = true;
		else
			f->no_zero_range = true;
		unlist_write(q);
		start_waiting(f);
		place(q);
		return;
	}
	if (ret >= 0 && fua(q)) /* fallocate knows no RWF_DSYNC */
		send(q, BLK_FLUSH, 0, 0, NULL, 0, on_flushed);
	else
		finish(q, ret < 0 ? (int)ret : 0);
}

static void on_discarded(struct aio_req *r, int64_t ret)
{
	struct file_req *q = container_of(r, struct file_req, aio);

	if (unsupported(ret)) { /* it is only a hint */
		q->f->no_discard = true;
		ret = 0;
	}
	finish(q, ret < 0 ? (int)ret : 0);
}

/* fallocate of a device takes whole sectors only. */
static bool whole_sectors(const struct file_req *q)
{
	return !((q->io->off | q->io->len) & (q->f->sector - 1));
}

static bool can_punch(const struct file_req *q)
{
	return (q->io->flags & BLK_UNMAP) && q->f->node->open.discard && !q->f->no_punch &&
	       !q->extends && whole_sectors(q);
}

static bool can_zero_range(const struct file_req *q)
{
	return !q->f->no_zero_range && whole_sectors(q);
}

static void send_zeroes(struct file_req *q)
{
	bool unmap = can_punch(q);

	send(q, BLK_WRITE_ZEROES, q->io->off, q->io->len, NULL, 0, on_zeroed);
	q->aio.unmap = unmap;
}

static void send_discard(struct file_req *q)
{
	uint64_t mask = q->f->sector - 1;
	uint64_t start = (q->io->off + mask) & ~mask, end = (q->io->off + q->io->len) & ~mask;

	if (!q->f->node->open.discard || q->f->no_discard || start >= end)
		finish_later(q, 0);
	else
		send(q, BLK_DISCARD, start, end - start, NULL, 0, on_discarded);
}

/* --- the beginning -------------------------------------------------------------------- */

static bool aligned(const struct file_req *q)
{
	const struct file *f = q->f;
	const struct blk_io *io = q->io;

	if (io->n_iov > IOV_MOST)
		return false;
	if (!f->direct)
		return true;
	if ((io->off | io->len) & (f->align - 1))
		return false;
	for (unsigned i = 0; i < io->n_iov; i++)
		if (((uintptr_t)io->iov[i].iov_base & (f->mem_align - 1)) ||
		    (io->iov[i].iov_len & (f->align - 1)))
			return false;
	return true;
}

static bool wants_buffer(const struct file_req *q)
{
	switch (q->io->op) {
	case BLK_READ:
	case BLK_WRITE:
		return !aligned(q);
	case BLK_WRITE_ZEROES:
		return !can_punch(q) && !can_zero_range(q) && !(q->io->flags & BLK_NO_FALLBACK);
	default:
		return false;
	}
}

static void begin_with_buffer(struct file_req *q)
{
	struct file *f = q->f;
	void *buf;

	if (posix_memalign(&buf, f->mem_align > 4096 ? f->mem_align : 4096, q->buf_size)) {
		finish_later(q, -ENOMEM);
		return;
	}
	q->buf = buf;
	f->buffered += q->buf_size;
	next_piece(q);
}

static void begin(struct file_req *q)
{
	struct blk_io *io = q->io;

	if (q->f->align > 1 && is_write(io))
		list_write(q);
	if (q->buf_size)
		begin_with_buffer(q);
	else if (io->op == BLK_FLUSH)
		send(q, BLK_FLUSH, 0, 0, NULL, 0, on_flushed);
	else if (io->op == BLK_DISCARD)
		send_discard(q);
	else if (io->op != BLK_WRITE_ZEROES)
		send(q, io->op, io->off, io->len, io->iov, io->n_iov, on_plain);
	else if (can_punch(q) || can_zero_range(q))
		send_zeroes(q);
	else
		finish_later(q, -ENOTSUP);
}

/* Finds out what q needs; it begins, or waits. */
static void place(struct file_req *q)
{
	struct file *f = q->f;
	const struct blk_io *io = q->io;
	uint64_t span = q->end - q->start;

	q->buf_size = !wants_buffer(q) ? 0 : span < PIECE ? span : PIECE;
	q->rmw = q->buf_size && is_write(io) && ((io->off | io->len) & (f->align - 1));
	if (q->rmw)
		f->n_rmw++;
	if (!must_wait(q, NULL)) {
		begin(q);
		return;
	}
	q->next = NULL;
	*f->waiting.end = q;
	f->waiting.end = &q->next;
}

static struct file_req *new_req(struct file *f)
{
	struct file_req *q = f->unused;

	if (q)
		f->unused = q->next;
	else
		q = calloc(1, sizeof(*q));
	return q;
}

/* What needs no system call: 1, or the answer. */
static int known(const struct file *f, const struct blk_io *io)
{
	uint64_t end;

	if (io->op == BLK_FLUSH)
		return f->node->open.no_flush || f->node->readonly ? 0
		       : f->flush_error                            ? f->flush_error
								   : 1;
	if (f->node->readonly && is_write(io))
		return -EROFS;
	if (__builtin_add_overflow(io->off, io->len, &end) || end > (uint64_t)INT64_MAX - f->align)
		return -EINVAL;
	return io->len ? 1 : 0;
}

/* Filters above show the same bytes. */
static void grow(struct blk_node *n, uint64_t size)
{
	n->size = size;
	for (struct blk_node *p = n->parent; p && p->drv->filter; p = p->parent)
		p->size = size;
}

void file_submit(struct blk_node *n, struct blk_io *io)
{
	struct file *f = n->p;
	struct file_req *q;
	int ret = known(f, io);

	if (ret != 1) {
		blk_io_done_later(io, ret);
		return;
	}
	q = new_req(f);
	if (!q) {
		blk_io_done_later(io, -ENOMEM);
		return;
	}
	f->in_flight++;
	q->f = f;
	q->io = io;
	q->pos = 0;
	q->start = round_down(f, io->off);
	q->end = round_up(f, io->off + io->len);
	q->extends = (io->op == BLK_WRITE || io->op == BLK_WRITE_ZEROES) && !f->blkdev &&
		     io->off + io->len > n->size;
	if (q->extends)
		grow(n, io->off + io->len);
	place(q);
}

void file_io_init(struct file *f)
{
	f->waiting.end = &f->waiting.first;
}

void file_io_free(struct file *f)
{
	struct file_req *q;

	while ((q = f->unused)) {
		f->unused = q->next;
		free(q);
	}
}
