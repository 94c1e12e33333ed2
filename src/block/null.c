/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protocols null-co and null-aio: disks that forget what is written, for tests
 * and for measuring all that is above the host's file. Node's thread.
 */
#include <errno.h>
#include <string.h>

#include "block_int.h"
#include "internal.h"
#include "props.h"

struct null_disk {
	uint64_t size;
	uint64_t latency_ns;
	bool read_zeroes;
	/* requests that wait for their latency: each as long as the one before it, so in order */
	struct blk_io *first, **end;
	unsigned waiting;
	struct loop_timer timer;
};

static const struct prop null_props[] = {
	PROP(struct null_disk, size, PROP_SIZE, "size", "1G", "bytes of the disk"),
	PROP_RANGE(struct null_disk, latency_ns, PROP_U64, "latency-ns", "0", 0, 3600000000000u,
		   "nanoseconds that each request takes"),
	PROP(struct null_disk, read_zeroes, PROP_BOOL, "read-zeroes", "off",
	     "reads give zeroes rather than leaving the memory as it is"),
	PROP_END,
};

static int null_open(struct blk_node *n, struct err *e)
{
	struct null_disk *d = n->p;

	n->size = d->size;
	d->end = &d->first;
	return 0;
}

static void run_due(struct null_disk *d)
{
	uint64_t now = loop_now_ns();
	struct blk_io *io;

	while ((io = d->first) && io->scratch[0] <= now) {
		d->first = io->next;
		if (!d->first)
			d->end = &d->first;
		d->waiting--;
		io->done(io, 0);
	}
}

static void null_timer(void *ctx)
{
	struct null_disk *d = ctx;

	run_due(d);
	if (d->first)
		loop_timer_set(&d->timer, d->first->scratch[0]);
}

static void null_submit(struct blk_node *n, struct blk_io *io)
{
	struct null_disk *d = n->p;

	if (io->op == BLK_READ && d->read_zeroes)
		for (unsigned i = 0; i < io->n_iov; i++)
			memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
	if (!d->latency_ns) {
		blk_io_done_later(io, 0);
		return;
	}
	io->scratch[0] = loop_now_ns() + d->latency_ns;
	io->next = NULL;
	*d->end = io;
	d->end = &io->next;
	if (!d->waiting++ && n->loop)
		loop_timer_set(&d->timer, io->scratch[0]);
}

/* Waiting for a latency to pass has no use to those who wait for its end. */
static void null_poll(struct blk_node *n)
{
	struct null_disk *d = n->p;
	struct blk_io *io = d->first;

	if (!io)
		return;
	d->first = io->next;
	if (!d->first)
		d->end = &d->first;
	d->waiting--;
	io->done(io, 0);
}

static unsigned null_in_flight(const struct blk_node *n)
{
	return ((const struct null_disk *)n->p)->waiting;
}

static int null_attach(struct blk_node *n, struct loop *l, struct err *e)
{
	struct null_disk *d = n->p;

	loop_timer_init(&d->timer, l, null_timer, d);
	return 0;
}

static void null_detach(struct blk_node *n)
{
	loop_timer_cancel(&((struct null_disk *)n->p)->timer);
}

static int null_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	n->size = size;
	return 0;
}

static int null_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		       unsigned *flags)
{
	*bytes = len;
	*flags = BLK_ALLOCATED | (((struct null_disk *)n->p)->read_zeroes ? BLK_ZERO : BLK_DATA);
	return 0;
}

/* Both the same: how a driver is written inside does not show here. */
#define NULL_DRIVER(sym, text)                                                                     \
	const struct blk_driver sym = {                                                            \
		.name = text,                                                                      \
		.desc = "a disk that forgets what is written",                                     \
		.protocol = true,                                                                  \
		.size = sizeof(struct null_disk),                                                  \
		.props = null_props,                                                               \
		.open = null_open,                                                                 \
		.reopen = blk_reopen_nothing,                                                      \
		.submit = null_submit,                                                             \
		.poll = null_poll,                                                                 \
		.in_flight = null_in_flight,                                                       \
		.attach = null_attach,                                                             \
		.detach = null_detach,                                                             \
		.truncate = null_truncate,                                                         \
		.status = null_status,                                                             \
	}

NULL_DRIVER(blk_null_co, "null-co");
NULL_DRIVER(blk_null_aio, "null-aio");
