/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host whose power is cut: a filter between a format and its file writes down all that
 * is sent to the file, and what the file may hold after a cut at any moment is made from that.
 *
 *	cuts_begin();
 *	file = cuts_above(file);	the format is opened above it
 *	... requests ...
 *	cuts_recording = false;
 *	cuts_replay(disk, room, &size, cut, rnd);	for any cut from 1 to cuts_now
 *
 * A moment (cuts_now) passes with each request that is sent and each that is answered. What was
 * answered before a flush was sent that is answered is on the disk for sure; of all else each
 * sector is there or not.
 *
 * Several files can be written down together, each with flushes of its own: cuts_above_nr and
 * cuts_replay_nr take the number of one.
 */
#ifndef POSADA_TESTS_QCOW2_CUTS_H
#define POSADA_TESTS_QCOW2_CUTS_H

#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "block_int.h"
#include "err.h"
#include "iov.h"
#include "opts.h"

enum { CUTS_EVENTS = 200000 };

struct cuts_event {
	enum blk_op op; /* BLK_OPS: the file's size becomes off */
	uint64_t off, len;
	uint8_t *data;
	unsigned sent, done; /* moments; 0: not yet */
	unsigned nr; /* of the file */
	bool fua; /* sure when done */
};

/* Of a recorder. */
struct cuts_file {
	unsigned nr;
};

static struct cuts_event *cuts_events;
static unsigned cuts_n, cuts_now;
static unsigned cuts_at; /* the event that rnd of cuts_replay is called for */
static bool cuts_recording;

struct cuts_io {
	struct blk_io io; /* first */
	struct blk_io *parent;
	struct cuts_event *event;
};

static struct cuts_event *cuts_note(const struct blk_node *n, enum blk_op op, uint64_t off,
				    uint64_t len)
{
	if (cuts_n >= CUTS_EVENTS)
		ck_abort_msg("more than %d events", CUTS_EVENTS);
	cuts_events[cuts_n] = (struct cuts_event){ .op = op,
						   .off = off,
						   .len = len,
						   .sent = ++cuts_now,
						   .nr = ((const struct cuts_file *)n->p)->nr };
	return &cuts_events[cuts_n++];
}

static void cuts_done(struct blk_io *io, int ret)
{
	struct cuts_io *r = (struct cuts_io *)io;
	struct blk_io *parent = r->parent;

	if (r->event)
		r->event->done = ++cuts_now;
	parent->node->size = parent->node->file->size;
	free(r);
	parent->done(parent, ret);
}

static void cuts_submit(struct blk_node *n, struct blk_io *io)
{
	struct cuts_io *r = malloc(sizeof(*r));

	r->io = *io;
	r->parent = io;
	r->event = NULL;
	r->io.done = cuts_done;
	if (cuts_recording && io->op != BLK_READ) {
		r->event = cuts_note(n, io->op, io->off, io->len);
		r->event->fua = io->flags & BLK_FUA;
		if (io->op != BLK_FLUSH)
			r->event->data = calloc(1, io->len);
		if (io->op == BLK_WRITE)
			iov_to_buf(io->iov, io->n_iov, 0, r->event->data, io->len);
	}
	blk_node_submit(n->file, &r->io);
}

static int cuts_truncate(struct blk_node *n, uint64_t size, struct err *err)
{
	int rc = blk_node_truncate(n->file, size, err);

	if (cuts_recording)
		cuts_note(n, BLK_OPS, size, 0)->done = ++cuts_now;
	n->size = n->file->size;
	return rc;
}

static int cuts_open(struct blk_node *n, struct err *err)
{
	return 0;
}

static const struct blk_driver cuts_recorder = {
	.name = "recorder",
	.filter = true,
	.size = sizeof(struct cuts_file),
	.open = cuts_open,
	.submit = cuts_submit,
	.truncate = cuts_truncate,
};

/* Forgets what was written down, and begins anew. */
static inline void cuts_begin(void)
{
	if (!cuts_events)
		cuts_events = calloc(CUTS_EVENTS, sizeof(*cuts_events));
	ck_assert_ptr_nonnull(cuts_events);
	while (cuts_n)
		free(cuts_events[--cuts_n].data);
	cuts_now = 0;
	cuts_recording = true;
}

/* The recorder above file, which it takes. */
static inline struct blk_node *cuts_above_nr(struct blk_node *file, unsigned nr)
{
	struct blk_open how = { .locking = true, .discard = true };
	struct opts none = { 0 };
	struct err err = { 0 };
	int rc = blk_node_open(&cuts_recorder, &none, &how, file, &file, &err);

	ck_assert_msg(!rc, "%s", err.msg);
	((struct cuts_file *)file->p)->nr = nr;
	return file;
}

static inline struct blk_node *cuts_above(struct blk_node *file)
{
	return cuts_above_nr(file, 0);
}

/* The last moment at which a flush was sent that had been answered at `cut`. */
static inline unsigned cuts_flushed(unsigned nr, unsigned cut)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < cuts_n; i++)
		if (cuts_events[i].nr == nr && cuts_events[i].op == BLK_FLUSH &&
		    cuts_events[i].done && cuts_events[i].done <= cut && cuts_events[i].sent > sent)
			sent = cuts_events[i].sent;
	return sent;
}

/*
 * disk holds the file as it was at the beginning, *size bytes and zeroes up to room, and gets
 * what it may hold when the power went at `cut`. rnd tells which of the sectors that may
 * have been written were.
 */
static inline void cuts_replay_nr(unsigned nr, uint8_t *disk, uint64_t room, uint64_t *size,
				  unsigned cut, unsigned (*rnd)(unsigned below))
{
	unsigned flushed = cuts_flushed(nr, cut);

	for (unsigned i = 0; i < cuts_n && cuts_events[i].sent <= cut; i++) {
		const struct cuts_event *v = &cuts_events[i];
		bool sure = v->done && (v->done < flushed || (v->fua && v->done <= cut));

		cuts_at = i;
		if (v->nr != nr)
			continue;
		if (v->op == BLK_OPS && (sure || rnd(2))) {
			if (v->off < *size)
				memset(disk + v->off, 0, *size - v->off);
			*size = v->off;
		}
		if (v->off + v->len > room) /* not ck_assert: each of those is a system call */
			ck_abort_msg("%#lx bytes of room are too few", (unsigned long)room);
		for (uint64_t at = 0; v->op < BLK_OPS && v->op != BLK_FLUSH && at < v->len;) {
			uint64_t end = ((v->off + at) / 512 + 1) * 512 - v->off;

			end = end < v->len ? end : v->len;
			if ((sure && v->op != BLK_DISCARD) || rnd(2)) {
				memcpy(disk + v->off + at, v->data + at, end - at);
				if (v->off + end > *size && v->op != BLK_DISCARD)
					*size = v->off + end;
			}
			at = end;
		}
	}
}

static inline void cuts_replay(uint8_t *disk, uint64_t room, uint64_t *size, unsigned cut,
			       unsigned (*rnd)(unsigned below))
{
	cuts_replay_nr(0, disk, room, size, cut, rnd);
}

#endif
