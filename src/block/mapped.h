/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What image formats with a table of blocks have in common: a format says where
 * a range lies (map), and the requests that come from that are made here. Also the
 * messages about fields of headers. Node's thread.
 */
#ifndef POSADA_BLOCK_MAPPED_H
#define POSADA_BLOCK_MAPPED_H

#include "block_int.h"

/* Tables read from an image are no larger than this. */
#define MAPPED_TABLE_MOST (64u << 20)

enum map_kind {
	MAP_HOLE, /* not in the image: zeroes */
	MAP_ZERO, /* in the image as zeroes */
	MAP_DATA, /* at off of node */
	MAP_PACKED, /* compressed: the format's unpack reads it */
};

struct mapping {
	enum map_kind kind;
	struct blk_node *node;
	uint64_t off; /* MAP_DATA: in node; MAP_PACKED: the format's */
	uint64_t start, skip; /* MAP_PACKED: on the disk; bytes unpacked before the wanted ones */
	uint64_t bytes; /* how far this holds: 1 to what was asked */
};

struct mapped_ops {
	/*
	 * Where the len > 0 bytes at off lie, or the first of them. wait: it may read tables
	 * (by co_io.h); otherwise -EAGAIN when it would have to.
	 */
	int (*map)(struct blk_node *n, uint64_t off, uint64_t len, bool wait, struct mapping *m);
	/* Fills iov, m->bytes long. May wait. NULL: nothing is MAP_PACKED. */
	int (*unpack)(struct blk_node *n, const struct mapping *m, const struct iovec *iov,
		      unsigned n_iov);
	/*
	 * Writes len bytes, within one block, that had no place when they were looked at; they may
	 * have one by now. In a coroutine, or blocking. NULL: the format is only read.
	 */
	int (*allocate)(struct blk_node *n, uint64_t off, uint64_t len, const struct iovec *iov,
			unsigned n_iov, unsigned flags);
	uint32_t (*block_size)(const struct blk_node *n); /* of allocate */
	/*
	 * Before data that have a place are written over at off, up to the end of its block. wait:
	 * it may write (by co_io.h); otherwise -EAGAIN when it would have to. NULL: nothing to do.
	 */
	int (*begin_write)(struct blk_node *n, uint64_t off, bool wait);
	bool compresses; /* allocate takes BLK_COMPRESSED */
	/*
	 * Entries of new blocks wait in memory until the next flush: should the power go, none
	 * names a block whose data, or whose end of the file, did not get there. unsettled: whether
	 * any does. settle: makes the data durable, then the entries; in a coroutine, or blocking.
	 * Both NULL: none ever waits.
	 */
	bool (*unsettled)(const struct blk_node *n);
	int (*settle)(struct blk_node *n);
};

/* Which sectors of a table in memory are not in the file yet. */
struct mapped_dirty {
	uint8_t *bits; /* NULL: none was ever */
	uint32_t from, to; /* all of them are in [from, to) */
};

/* Sector `sector` of a table of `sectors`. -ENOMEM. */
int mapped_dirty_add(struct mapped_dirty *d, uint32_t sector, uint32_t sectors);
static inline bool mapped_dirty_any(const struct mapped_dirty *d)
{
	return d->from < d->to;
}
/* Writes them to the table at off; they are clean then. In a coroutine, or blocking. */
int mapped_dirty_write(struct mapped_dirty *d, struct blk_node *file, uint64_t off,
		       const void *table);
/* For close and reopen: settles what waits; when that fails says so. */
int mapped_settle(struct blk_node *n, const struct mapped_ops *ops);

/* The drivers' submit and status. */
void mapped_submit(struct blk_node *n, struct blk_io *io, const struct mapped_ops *ops);
int mapped_status(struct blk_node *n, const struct mapped_ops *ops, uint64_t off, uint64_t len,
		  uint64_t *bytes, unsigned *flags);

/* For open: makes n read-only, or refuses when it must not be. */
int mapped_read_only(struct blk_node *n, struct err *e);
/* "FILE: FIELD is VALUE: WHY". Both return a negative errno: damaged, and of another kind. */
int mapped_bad(const struct blk_node *n, struct err *e, const char *field, uint64_t value,
	       const char *why);
int mapped_unsupported(const struct blk_node *n, struct err *e, const char *field, uint64_t value,
		       const char *why);
/* Reads a part of file while opening; what names it. -errno with e filled. */
int mapped_read(struct blk_node *file, uint64_t off, void *buf, size_t len, const char *what,
		struct err *e);
/*
 * The same into new memory (room bytes of it, at least len, the rest zeroed), for tables:
 * refused when they are larger than MAPPED_TABLE_MOST or do not lie in the file.
 */
int mapped_read_table(struct blk_node *file, uint64_t off, uint64_t len, uint64_t room,
		      void **table, const char *what, struct err *e);

/* For create: a writable file, locked, as it was or new. */
int mapped_create_open(const char *filename, const struct blk_create *c, struct blk_node **file,
		       struct err *e);
/* An empty writable file of size bytes (sparse), over what is there. */
int mapped_create_file(const char *filename, uint64_t size, const struct blk_create *c,
		       struct blk_node **file, struct err *e);
/* Closes it; rc is what became of writing, told about if it is an error without a message. */
int mapped_create_end(struct blk_node *file, int rc, struct err *e);

#endif
