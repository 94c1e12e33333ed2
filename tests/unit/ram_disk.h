/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files in memory, below a format: a protocol driver whose requests wait until somebody
 * polls, who then answers one of them, whichever chance picks. So many requests are under way at
 * once and come back in any order, the same in each run. Main thread, no loop.
 */
#ifndef POSADA_TESTS_RAM_DISK_H
#define POSADA_TESTS_RAM_DISK_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "block_int.h"
#include "err.h"
#include "iov.h"
#include "opts.h"

struct ram_file {
	uint8_t *data; /* room bytes; zeroes from size on */
	uint64_t size, room;
};

struct ram {
	struct ram_file *file;
	struct blk_io **waiting;
	unsigned n, most;
};

static struct ram_file *ram_opening;
static unsigned ram_patience; /* one in so many reads goes before other requests; 0: any */
static unsigned (*ram_rnd)(unsigned below);

static int ram_open(struct blk_node *n, struct err *err)
{
	((struct ram *)n->p)->file = ram_opening;
	n->size = ram_opening->size;
	return 0;
}

static void ram_close(struct blk_node *n)
{
	free(((struct ram *)n->p)->waiting);
}

static void ram_submit(struct blk_node *n, struct blk_io *io)
{
	struct ram *r = n->p;

	if (r->n == r->most) {
		r->most += 64;
		r->waiting = realloc(r->waiting, r->most * sizeof(*r->waiting));
		if (!r->waiting)
			ck_abort_msg("out of memory");
	}
	r->waiting[r->n++] = io;
}

static int ram_carry_out(struct blk_node *n, const struct blk_io *io)
{
	struct ram_file *f = ((struct ram *)n->p)->file;
	uint64_t end = io->off + io->len;

	if (io->op == BLK_FLUSH)
		return 0;
	if (n->readonly && io->op != BLK_READ)
		return -EROFS;
	if (end > f->room)
		return -ENOSPC;
	/* Whoever reads past the end has not looked. */
	if (io->op == BLK_READ && end > f->size)
		ck_abort_msg("a read past the end");
	if (io->op == BLK_READ)
		iov_from_buf(io->iov, io->n_iov, 0, f->data + io->off, io->len);
	else if (io->op == BLK_WRITE)
		iov_to_buf(io->iov, io->n_iov, 0, f->data + io->off, io->len);
	else
		memset(f->data + io->off, 0, io->len);
	if (io->op != BLK_READ && end > f->size)
		n->size = f->size = end;
	return 0;
}

static void ram_poll(struct blk_node *n)
{
	struct ram *r = n->p;
	struct blk_io *io;
	unsigned i;

	if (!r->n)
		return;
	i = ram_rnd(r->n);
	for (unsigned k = 0; k < r->n && ram_patience && ram_rnd(ram_patience); k++)
		if (r->waiting[i]->op == BLK_READ)
			i = (i + 1) % r->n;
	io = r->waiting[i];
	r->waiting[i] = r->waiting[--r->n];
	io->done(io, ram_carry_out(n, io));
}

static unsigned ram_in_flight(const struct blk_node *n)
{
	return ((const struct ram *)n->p)->n;
}

static int ram_truncate(struct blk_node *n, uint64_t size, struct err *err)
{
	struct ram_file *f = ((struct ram *)n->p)->file;

	if (size > f->room)
		return err_set(err, ERR_INPUT, ENOSPC, "the file in memory is full");
	if (size < f->size)
		memset(f->data + size, 0, f->size - size);
	n->size = f->size = size;
	return 0;
}

static const struct blk_driver ram_driver = {
	.name = "ram",
	.protocol = true,
	.size = sizeof(struct ram),
	.open = ram_open,
	.close = ram_close,
	.submit = ram_submit,
	.poll = ram_poll,
	.in_flight = ram_in_flight,
	.truncate = ram_truncate,
};

static inline struct blk_node *ram_node(struct ram_file *f, bool readonly)
{
	struct blk_open how = { .readonly = readonly, .discard = true };
	struct opts none = { 0 };
	struct err err = { 0 };
	struct blk_node *n = NULL;

	ram_opening = f;
	ck_assert_msg(!blk_node_open(&ram_driver, &none, &how, NULL, &n, &err), "%s", err.msg);
	return n;
}

static inline struct ram_file ram_make(uint64_t room)
{
	struct ram_file f = { .data = calloc(1, room), .room = room };

	ck_assert_ptr_nonnull(f.data);
	return f;
}

/* A file of the host's, as far as there is room. */
static inline void ram_load(struct ram_file *f, const char *name)
{
	FILE *in = fopen(name, "r");

	ck_assert_ptr_nonnull(in);
	f->size = fread(f->data, 1, f->room, in);
	ck_assert_uint_lt(f->size, f->room);
	fclose(in);
}

static inline void ram_save(const struct ram_file *f, const char *name)
{
	FILE *out = fopen(name, "w");

	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(f->data, 1, f->size, out), f->size);
	ck_assert_int_eq(fclose(out), 0);
}

#endif
