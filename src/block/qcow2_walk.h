/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: all that an image refers to, counted per cluster of its file. What repair at open and
 * posada-img check begin with.
 *
 * Each L2 table is read once, however many L1 entries name it: those are counted first. So no
 * image, whatever its tables say, takes more time than its size allows.
 */
#ifndef POSADA_QCOW2_WALK_H
#define POSADA_QCOW2_WALK_H

#include "qcow2.h"

/* What is known of a cluster besides its count. */
enum {
	QCOW2_BY_COPIED = 1, /* an active entry with the COPIED flag refers to it */
	QCOW2_BY_PLAIN = 2, /* an active entry without it does */
	QCOW2_DONE = 4, /* a table that has been read */
	QCOW2_MENDED = 8, /* a table that has been looked at for mending */
};

struct qcow2_counts_page;

/* A number and flags for each cluster, in pages that are made when needed. */
struct qcow2_counts {
	uint64_t n_pages, bytes;
	struct qcow2_counts_page **page;
};
enum { QCOW2_PAGE_BITS = 12, QCOW2_PAGE = 1 << QCOW2_PAGE_BITS };

uint64_t qcow2_count(const struct qcow2_counts *c, uint64_t cluster);
unsigned qcow2_count_flags(const struct qcow2_counts *c, uint64_t cluster);
/* -ENOMEM, -EFBIG: too many clusters for the memory that this may take. */
int qcow2_count_add(struct qcow2_counts *c, uint64_t cluster, int64_t n, unsigned flags);
/* Whether any of n clusters from first on is counted. */
bool qcow2_counts_any(const struct qcow2_counts *c, uint64_t first, uint64_t n);
/* The next cluster from at on that has been given a count or flag; UINT64_MAX: none. */
uint64_t qcow2_counts_next(const struct qcow2_counts *c, uint64_t at);

struct qcow2_walk {
	struct qcow2 *q;
	/* What cannot be zeroed is not counted, as it will be zeroed; else as if it were right. */
	bool zeroing;
	/*
	 * Damage that qcow2_judge_* do not see: said here. unreadable: the host says so, not the
	 * image. May be NULL.
	 */
	void (*say)(struct qcow2_walk *w, bool unreadable, const char *text);
	void *ctx;

	uint64_t clusters; /* of the file */
	struct qcow2_counts refs; /* references to each cluster */
	struct qcow2_counts tables; /* those among them by L1 tables, active or not */
	uint64_t unreadable; /* tables whose references are not counted */
	uint64_t
		bad_tables; /* references to tables that cannot be: what is behind is not counted */
	uint64_t bad_entries;
	uint64_t lost; /* among bad_tables, those that nothing here can mend */
	bool bad_bitmaps;
	bool bad_flags; /* COPIED, where refcounts do not matter */
	char first[200]; /* what was found first */
	/* statistics of the active table */
	uint64_t allocated, fragmented, compressed;
};

int qcow2_walk_init(struct qcow2_walk *w, struct qcow2 *q, struct err *e);
void qcow2_walk_free(struct qcow2_walk *w);
/* [co] Counts all. -errno when it could not: no memory. */
int qcow2_walk(struct qcow2_walk *w);
/* [co] Bitmaps alone, for what is wrong with them. */
int qcow2_walk_bitmaps(struct qcow2_walk *w);

/* --- what is wrong with an entry --- */

enum {
	QCOW2_BAD_RESERVED = 1,
	QCOW2_BAD_ALIGN = 2, /* not a cluster's offset */
	QCOW2_BAD_OUTSIDE = 4,
	QCOW2_BAD_COPIED = 8, /* the flag, of compressed clusters */
	QCOW2_BAD_EXTERNAL = 16, /* compressed, with an external data file */
	QCOW2_BAD_BITMAP = 32, /* subclusters both stored and zero; compressed, and a bitmap */
	QCOW2_BAD_NO_PLACE = 64, /* subclusters stored, and no cluster */
	QCOW2_BAD_PLACE = 128, /* not where an external data file has it */
	QCOW2_BAD_SIZE = 256, /* of a snapshot's L1 table */
	QCOW2_BAD_SHORT = 512, /* a snapshot without what version 3 wants */
	QCOW2_NOWHERE = QCOW2_BAD_ALIGN | QCOW2_BAD_OUTSIDE | QCOW2_BAD_EXTERNAL | QCOW2_BAD_SIZE,
};

unsigned qcow2_judge_l1(const struct qcow2 *q, uint64_t entry);
/* off: the guest's, or UINT64_MAX. desc and bitmap as in the table; bitmap 0 without subclusters.
 */
unsigned qcow2_judge_l2(const struct qcow2 *q, uint64_t off, uint64_t desc, uint64_t bitmap);
unsigned qcow2_judge_snapshot(const struct qcow2 *q, const struct qcow2_snapshot_entry *s);
/* Of the refcount table. */
unsigned qcow2_judge_block(const struct qcow2 *q, uint64_t entry);
/* [co] A table of n bytes; what lies behind the file's end is zero. */
int qcow2_read_table(struct qcow2 *q, uint64_t host, void *buf, size_t n);
/* Bytes that a snapshot's entry takes in the table. */
uint64_t qcow2_snapshot_bytes(const struct qcow2_snapshot_entry *s);

/* --- qcow2_repair.c: refcounts --- */

/*
 * [co] Compares what is recorded with what has been counted, and makes it so as far as
 * fix (BLK_FIX_ bits) allows: in place, or, when the refcount blocks or their table are
 * damaged, as new ones at the end of the file. Counts in out, and says.
 */
int qcow2_fix_refcounts(struct qcow2_walk *w, unsigned fix, struct blk_check *out, struct err *e);
/* [co] The refcount of a cluster, as far as it can be read; the image is not marked. */
int qcow2_recorded(struct qcow2 *q, uint64_t cluster, uint64_t *out);
/* A line for out->say. */
void qcow2_check_say(const struct blk_check *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
