/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the drives to the block layer: a request is queued by the vCPU thread that
 * wrote the command, submitted by the main loop, and ends there. When a large one
 * fails it is tried again in halves, so that the drive can say which sector is
 * bad and give what is before it.
 */
#include "ide_int.h"

#include <errno.h>
#include <stdlib.h>

#include "iov.h"
#include "loop.h"
#include "machine.h"

static void done(struct blk_req *req, int ret);

/* --- to the block layer ----------------------------------------------------------- */

/* The buffers of the next piece; false without memory. */
static bool cut_piece(struct ide_io *io)
{
	io->req.iov = io->iov;
	io->req.n_iov = io->n_iov;
	if (io->req.len == io->left || !io->n_iov)
		return true;
	if (!io->part)
		io->part = malloc(IDE_PRD_MOST * sizeof(*io->part));
	if (!io->part)
		return false;
	io->req.iov = io->part;
	io->req.n_iov = iov_slice(io->iov, io->n_iov, 0, io->req.len, io->part, IDE_PRD_MOST);
	return true;
}

static void submit_piece(struct ide_drive *d)
{
	struct ide_io *io = &d->io;

	io->req.op = io->op;
	io->req.flags = io->flags;
	io->req.off = io->off;
	io->req.len = io->left < io->piece ? io->left : io->piece;
	io->req.done = done;
	if (!cut_piece(io)) {
		io->done(d, -ENOMEM);
		return;
	}
	io->in_flight = true;
	blk_submit(d->blk, &io->req);
}

void ide_run_queued(struct ide_channel *ch)
{
	bool outer = ch->in_done;

	ch->in_done = true;
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *d = ch->drive[i];

		if (!d)
			continue;
		if (d->cd.move_tray)
			atapi_main_loop(d);
		while (d->io.queued && !d->io.in_flight) {
			d->io.queued = false;
			submit_piece(d);
		}
	}
	ch->in_done = outer;
}

static void run(void *ctx)
{
	struct ide_channel *ch = ctx;

	pthread_mutex_lock(&ch->lock);
	ch->posted = false;
	ide_run_queued(ch);
	pthread_mutex_unlock(&ch->lock);
}

void ide_post(struct ide_channel *ch)
{
	if (ch->in_done || ch->posted)
		return;
	ch->posted = true;
	loop_post(ch->m->loop, run, ch);
}

void ide_submit(struct ide_drive *d, enum blk_op op, unsigned flags, uint64_t off, uint64_t len,
		struct iovec *iov, unsigned n_iov, void (*end)(struct ide_drive *d, int ret))
{
	struct ide_io *io = &d->io;

	io->op = op;
	io->flags = flags;
	io->off = off;
	io->left = io->piece = len;
	io->iov = iov;
	io->n_iov = n_iov;
	io->done = end;
	io->queued = true;
	d->status = IDE_BSY | IDE_DRDY | IDE_DSC;
	ide_post(d->ch);
}

void ide_submit_map(struct ide_drive *d, enum blk_op op, unsigned flags, uint64_t off, uint64_t len,
		    const struct ide_map *map, void (*end)(struct ide_drive *d, int ret))
{
	unsigned n = map->n;

	iov_discard_back(map->iov, &n, map->len - len);
	ide_submit(d, op, flags, off, len, map->iov, n, end);
}

void ide_submit_buffer(struct ide_drive *d, enum blk_op op, unsigned flags, uint64_t off,
		       unsigned len, void (*end)(struct ide_drive *d, int ret))
{
	d->io.one = (struct iovec){ .iov_base = d->buf, .iov_len = len };
	ide_submit(d, op, flags, off, len, &d->io.one, 1, end);
}

/* --- and back ------------------------------------------------------------------------ */

/* A piece is done: 0 when the request is; else there is more to do, and it is queued. */
static bool go_on(struct ide_drive *d, int *ret)
{
	struct ide_io *io = &d->io;
	uint64_t len = io->req.len;

	if (ide_dma_stopped(d)) {
		*ret = -ECANCELED;
		return false;
	}
	if (*ret == -EIO && len > io->grain && (io->op == BLK_READ || io->op == BLK_WRITE)) {
		io->piece = len / 2 - len / 2 % io->grain;
		if (!io->piece)
			io->piece = io->grain;
		io->queued = true;
		return true;
	}
	if (*ret)
		return false;
	io->off += len;
	io->left -= len;
	iov_discard_front(&io->iov, &io->n_iov, len);
	io->queued = io->left != 0;
	return io->queued;
}

/* What was going on when the drive was reset has ended. */
static void end_abandoned(struct ide_drive *d)
{
	d->io.abandoned = false;
	if (d->ch->bm.owner == d)
		ide_dma_done(d->ch);
	if (d->resetting)
		ide_finish_reset(d);
}

static void done(struct blk_req *req, int ret)
{
	struct ide_drive *d = container_of(req, struct ide_drive, io.req);
	struct ide_channel *ch = d->ch;

	pthread_mutex_lock(&ch->lock);
	ch->in_done = true;
	d->io.in_flight = false;
	if (d->io.abandoned)
		end_abandoned(d);
	else if (!go_on(d, &ret))
		d->io.done(d, ret);
	ch->in_done = false;
	ide_run_queued(ch);
	pthread_mutex_unlock(&ch->lock);
}

bool ide_abandon(struct ide_drive *d)
{
	d->io.queued = false;
	d->io.abandoned = d->io.in_flight;
	if (!d->io.in_flight && d->ch->bm.owner == d)
		ide_dma_done(d->ch);
	return d->io.in_flight;
}

void ide_take(void *ctx)
{
	struct ide_drive *d = ctx;

	struct ide_channel *ch = d->ch;

	pthread_mutex_lock(&ch->lock);
	ch->in_done = true;
	ide_bell_hear(ch);
	ch->in_done = false;
	ide_run_queued(ch);
	pthread_mutex_unlock(&ch->lock);
}

void ide_drain(struct ide_drive *d)
{
	ide_take(d);
	blk_drain(d->blk);
}
