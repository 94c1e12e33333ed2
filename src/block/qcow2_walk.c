/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: counting what an image refers to. In a coroutine, with nothing else going on in the image.
 *
 * The image is hostile: each table is read once, references outside of the file are
 * not followed, tables that may not be shared take no more than the file has in all, and
 * the memory for counts is bounded.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "qcow2_walk.h"

#define COUNTS_MOST (2ull << 30) /* bytes, each of refs and tables */
#define BITMAP_DIR_MOST (64u << 20) /* bytes */
enum { CHUNK = 64 << 10 };

/* --- counts --- */

struct qcow2_counts_page {
	uint32_t *large; /* instead of small, when any is large */
	uint16_t small[QCOW2_PAGE];
	uint8_t flags[QCOW2_PAGE];
};

static const struct qcow2_counts_page *page_of(const struct qcow2_counts *c, uint64_t cluster)
{
	uint64_t i = cluster >> QCOW2_PAGE_BITS;

	return i < c->n_pages ? c->page[i] : NULL;
}

uint64_t qcow2_count(const struct qcow2_counts *c, uint64_t cluster)
{
	const struct qcow2_counts_page *p = page_of(c, cluster);
	unsigned i = cluster & (QCOW2_PAGE - 1);

	return !p ? 0 : p->large ? p->large[i] : p->small[i];
}

unsigned qcow2_count_flags(const struct qcow2_counts *c, uint64_t cluster)
{
	const struct qcow2_counts_page *p = page_of(c, cluster);

	return p ? p->flags[cluster & (QCOW2_PAGE - 1)] : 0;
}

/* NULL: too much. */
static void *take_memory(struct qcow2_counts *c, size_t bytes)
{
	c->bytes += bytes;
	return c->bytes > COUNTS_MOST ? NULL : calloc(1, bytes);
}

static int add_large(struct qcow2_counts *c, struct qcow2_counts_page *p, unsigned i, int64_t n)
{
	int64_t sum;

	if (!p->large) {
		p->large = take_memory(c, QCOW2_PAGE * sizeof(*p->large));
		if (!p->large)
			return -ENOMEM;
		for (unsigned k = 0; k < QCOW2_PAGE; k++)
			p->large[k] = p->small[k];
	}
	sum = p->large[i] + n;
	p->large[i] = sum < 0 ? 0 : sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
	return 0;
}

int qcow2_count_add(struct qcow2_counts *c, uint64_t cluster, int64_t n, unsigned flags)
{
	unsigned i = cluster & (QCOW2_PAGE - 1);
	struct qcow2_counts_page **p;
	int64_t sum;

	if (cluster >> QCOW2_PAGE_BITS >= c->n_pages)
		return -EFBIG;
	p = &c->page[cluster >> QCOW2_PAGE_BITS];
	if (!*p && !(*p = take_memory(c, sizeof(**p))))
		return -ENOMEM;
	(*p)->flags[i] |= (uint8_t)flags;
	sum = (*p)->small[i] + n;
	if ((*p)->large || sum < 0 || sum > UINT16_MAX)
		return add_large(c, *p, i, n);
	(*p)->small[i] = (uint16_t)sum;
	return 0;
}

bool qcow2_counts_any(const struct qcow2_counts *c, uint64_t first, uint64_t n)
{
	for (uint64_t k = first; k < first + n && k >> QCOW2_PAGE_BITS < c->n_pages; k++) {
		if (!page_of(c, k))
			k |= QCOW2_PAGE - 1;
		else if (qcow2_count(c, k))
			return true;
	}
	return false;
}

uint64_t qcow2_counts_next(const struct qcow2_counts *c, uint64_t at)
{
	for (; at >> QCOW2_PAGE_BITS < c->n_pages; at++) {
		if (!page_of(c, at))
			at |= QCOW2_PAGE - 1;
		else if (qcow2_count(c, at) || qcow2_count_flags(c, at))
			return at;
	}
	return UINT64_MAX;
}

static int counts_init(struct qcow2_counts *c, uint64_t clusters)
{
	/* A block for each 64 clusters, at worst, a table, and some more. */
	c->n_pages = (clusters + (clusters >> 3)) / QCOW2_PAGE + 16;
	if (c->n_pages * sizeof(*c->page) > COUNTS_MOST)
		return -EFBIG;
	c->page = calloc(c->n_pages, sizeof(*c->page));
	return c->page ? 0 : -ENOMEM;
}

static void counts_free(struct qcow2_counts *c)
{
	for (uint64_t i = 0; c->page && i < c->n_pages; i++) {
		if (c->page[i])
			free(c->page[i]->large);
		free(c->page[i]);
	}
	free(c->page);
	*c = (struct qcow2_counts){ 0 };
}

int qcow2_walk_init(struct qcow2_walk *w, struct qcow2 *q, struct err *e)
{
	int rc;

	w->q = q;
	w->clusters = qcow2_clusters(q, q->node->file->size);
	rc = counts_init(&w->refs, w->clusters);
	if (!rc)
		rc = counts_init(&w->tables, w->clusters);
	if (!rc)
		return 0;
	qcow2_walk_free(w);
	return rc == -EFBIG ? err_set(e, ERR_INPUT, EFBIG, "%s is too large to be checked",
				      q->node->filename)
			    : err_set(e, ERR_HOST, ENOMEM, "%s: no memory to check it",
				      q->node->filename);
}

void qcow2_walk_free(struct qcow2_walk *w)
{
	counts_free(&w->refs);
	counts_free(&w->tables);
}

/* --- judging --- */

static bool outside(const struct qcow2 *q, uint64_t host, uint64_t len)
{
	uint64_t size = q->node->file->size;

	/* The last cluster of a file need not be all there. */
	return host >= size || len > ((size - host + q->cluster_size - 1) & ~(q->cluster_size - 1));
}

static bool aligned(const struct qcow2 *q, uint64_t host)
{
	return !(host & (q->cluster_size - 1));
}

unsigned qcow2_judge_l1(const struct qcow2 *q, uint64_t entry)
{
	uint64_t host = entry & QCOW2_OFFSET_MASK;
	/* Without a table there is no flag, either. */
	unsigned bad = entry & QCOW2_L1_RESERVED || (entry && !host) ? QCOW2_BAD_RESERVED : 0;

	if (host && !aligned(q, host))
		bad |= QCOW2_BAD_ALIGN;
	if (host && outside(q, host, q->cluster_size))
		bad |= QCOW2_BAD_OUTSIDE;
	return bad;
}

unsigned qcow2_judge_block(const struct qcow2 *q, uint64_t entry)
{
	uint64_t host = entry & ~QCOW2_REFT_RESERVED;
	unsigned bad = entry & QCOW2_REFT_RESERVED ? QCOW2_BAD_RESERVED : 0;

	if (!aligned(q, host))
		bad |= QCOW2_BAD_ALIGN;
	/* A block is always written whole. */
	if (host && (host > INT64_MAX || host + q->cluster_size > q->node->file->size))
		bad |= QCOW2_BAD_OUTSIDE;
	return bad;
}

static unsigned judge_compressed(const struct qcow2 *q, uint64_t desc, uint64_t bitmap)
{
	unsigned bad = 0;
	uint64_t host;
	uint32_t len;

	qcow2_compressed_place(q, desc, &host, &len);
	if (desc & QCOW2_COPIED)
		bad |= QCOW2_BAD_COPIED;
	if (bitmap)
		bad |= QCOW2_BAD_BITMAP;
	if (q->external)
		bad |= QCOW2_BAD_EXTERNAL;
	else if (outside(q, host, 1) || host < q->cluster_size)
		bad |= QCOW2_BAD_OUTSIDE;
	return bad;
}

unsigned qcow2_judge_l2(const struct qcow2 *q, uint64_t off, uint64_t desc, uint64_t bitmap)
{
	uint64_t host = desc & QCOW2_OFFSET_MASK;
	uint64_t reserved = QCOW2_L2_RESERVED | (q->v3 && !q->ext_l2 ? 0 : QCOW2_ZERO);
	bool placed = host || (q->external && desc & QCOW2_COPIED);
	unsigned bad = 0;

	if (desc & QCOW2_COMPRESSED)
		return judge_compressed(q, desc, bitmap);
	if (desc & reserved)
		bad |= QCOW2_BAD_RESERVED;
	if (!aligned(q, host))
		bad |= QCOW2_BAD_ALIGN;
	if (q->external && placed && off != UINT64_MAX && host != off)
		bad |= QCOW2_BAD_PLACE;
	if (!q->external && host && outside(q, host, q->cluster_size))
		bad |= QCOW2_BAD_OUTSIDE;
	if (bitmap & bitmap >> 32 & UINT32_MAX)
		bad |= QCOW2_BAD_BITMAP;
	if (!placed && (uint32_t)bitmap)
		bad |= QCOW2_BAD_NO_PLACE;
	return bad;
}

unsigned qcow2_judge_snapshot(const struct qcow2 *q, const struct qcow2_snapshot_entry *s)
{
	uint64_t host = be64_to_cpu(s->l1_offset), n = be32_to_cpu(s->l1_size);
	unsigned bad = 0;

	if (!aligned(q, host))
		bad |= QCOW2_BAD_ALIGN;
	if (n > QCOW2_L1_MAX / 8)
		bad |= QCOW2_BAD_SIZE;
	else if (n && (outside(q, host, n * 8) || host < q->cluster_size))
		bad |= QCOW2_BAD_OUTSIDE;
	/* Which are the sizes of the state and of the disk. */
	if (q->v3 && be32_to_cpu(s->extra_size) < 16)
		bad |= QCOW2_BAD_SHORT;
	return bad;
}

uint64_t qcow2_snapshot_bytes(const struct qcow2_snapshot_entry *s)
{
	uint64_t n = sizeof(*s) + (uint64_t)be32_to_cpu(s->extra_size) + be16_to_cpu(s->id_size) +
		     be16_to_cpu(s->name_size);

	return (n + 7) & ~7ull;
}

/* --- counting --- */

/* An entry or a snapshot that cannot be: the caller of the walk judges it again, and says so. */
__attribute__((format(printf, 3, 4))) static void note(struct qcow2_walk *w, uint64_t *counter,
						       const char *fmt, ...)
{
	va_list ap;

	++*counter;
	if (*w->first)
		return;
	va_start(ap, fmt);
	vsnprintf(w->first, sizeof(w->first), fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 3, 4))) static void tell(struct qcow2_walk *w, bool unreadable,
						       const char *fmt, ...)
{
	char text[sizeof(w->first)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (unreadable) {
		w->unreadable++;
	} else {
		w->bad_tables++;
		w->lost++;
	}
	if (!*w->first)
		memcpy(w->first, text, sizeof(text));
	if (w->say)
		w->say(w, unreadable, text);
}

/* What of [host, host + len) is in the file, times over. */
static int count(struct qcow2_walk *w, uint64_t host, uint64_t len, int64_t times, unsigned flags)
{
	struct qcow2 *q = w->q;
	uint64_t end, last;
	int rc = 0;

	if (!len || host >= q->node->file->size)
		return 0;
	if (__builtin_add_overflow(host, len - 1, &end))
		end = UINT64_MAX;
	last = end >> q->cluster_bits;
	if (last >= w->clusters)
		last = w->clusters - 1;
	for (uint64_t i = host >> q->cluster_bits; !rc && i <= last; i++)
		rc = qcow2_count_add(&w->refs, i, times, flags);
	return rc;
}

int qcow2_read_table(struct qcow2 *q, uint64_t host, void *buf, size_t n)
{
	uint64_t size = q->node->file->size;
	size_t have = host >= size ? 0 : size - host < n ? (size_t)(size - host) : n;

	memset((char *)buf + have, 0, n - have);
	return have ? co_pread(q->node->file, host, buf, have) : 0;
}

/* --- L2 tables --- */

static bool first_of(struct qcow2_walk *w, unsigned bad, uint64_t off, uint64_t desc)
{
	if (!bad)
		return true;
	note(w, &w->bad_entries, "the L2 entry of %s %#" PRIx64 " is %#" PRIx64,
	     off == UINT64_MAX ? "a snapshot, number" : "guest offset", off, desc);
	return !(bad & QCOW2_NOWHERE) || !w->zeroing;
}

static bool has_place(const struct qcow2 *q, uint64_t desc)
{
	if (desc & QCOW2_COMPRESSED)
		return !q->external;
	/* The first place of an external data file is 0. */
	return desc & QCOW2_OFFSET_MASK ||
	       (q->external && desc & QCOW2_COPIED && !(desc & QCOW2_ZERO));
}

/* For statistics: *next is where data would go on in a row. */
static void count_active(struct qcow2_walk *w, uint64_t desc, uint64_t *next)
{
	uint64_t host = desc & QCOW2_OFFSET_MASK;

	w->allocated++;
	if (desc & QCOW2_COMPRESSED) {
		w->compressed++;
		w->fragmented++;
		return;
	}
	if (*next && host != *next)
		w->fragmented++;
	*next = host + w->q->cluster_size;
}

static int count_entry(struct qcow2_walk *w, uint64_t off, uint64_t desc, uint64_t bitmap,
		       int64_t times)
{
	struct qcow2 *q = w->q;
	uint64_t host = desc & QCOW2_OFFSET_MASK;
	bool active = off != UINT64_MAX;
	uint32_t len;

	if (!first_of(w, qcow2_judge_l2(q, off, desc, bitmap), off, desc))
		return 0;
	if (desc & QCOW2_COMPRESSED) {
		if (q->external)
			return 0;
		qcow2_compressed_place(q, desc, &host, &len);
		return count(w, host, len, times, 0);
	}
	if (q->external) {
		w->bad_flags |= active && host && !(desc & QCOW2_COPIED);
		return 0;
	}
	if (!host)
		return 0;
	return count(w, host, q->cluster_size, times,
		     !active               ? 0
		     : desc & QCOW2_COPIED ? QCOW2_BY_COPIED
					   : QCOW2_BY_PLAIN);
}

/* [co] A table that is referred to so many times. off: what it maps first; UINT64_MAX: inactive. */
static int count_table(struct qcow2_walk *w, struct be64 *table, uint64_t host, uint64_t off,
		       int64_t times)
{
	struct qcow2 *q = w->q;
	unsigned step = q->entry_size / 8;
	uint64_t next = 0;
	int rc = count(w, host, q->cluster_size, times, 0);

	if (rc)
		return rc;
	rc = qcow2_read_table(q, host, table, q->cluster_size);
	if (rc) {
		tell(w, true, "cannot read the L2 table at %#" PRIx64 ": %s", host, strerror(-rc));
		return 0;
	}
	for (uint32_t i = 0; !rc && i < q->l2_entries; i++) {
		uint64_t desc = be64_to_cpu(table[i * step]);
		uint64_t bitmap = step > 1 ? be64_to_cpu(table[i * step + 1]) : 0;

		if (!desc && !bitmap)
			continue;
		if (off == UINT64_MAX) {
			rc = count_entry(w, off, desc, bitmap, times);
			continue;
		}
		if (has_place(q, desc))
			count_active(w, desc, &next);
		rc = count_entry(w, off + ((uint64_t)i << q->cluster_bits), desc, bitmap, times);
	}
	return rc;
}

/* An L1 entry: its table is to be read later. snapshot: its number, or -1. */
static int count_l1_entry(struct qcow2_walk *w, uint64_t entry, uint64_t i, int64_t snapshot)
{
	struct qcow2 *q = w->q;
	uint64_t host = entry & QCOW2_OFFSET_MASK;
	unsigned bad = qcow2_judge_l1(q, entry);
	char whose[32] = "L1";

	if (bad) {
		if (snapshot >= 0)
			snprintf(whose, sizeof(whose), "snapshot %" PRId64 ": L1", snapshot);
		note(w, bad & QCOW2_NOWHERE ? &w->bad_tables : &w->bad_entries,
		     "%s entry %" PRIu64 " is %#" PRIx64, whose, i, entry);
	}
	if (bad & QCOW2_NOWHERE)
		return w->zeroing ? 0 : count(w, host, q->cluster_size, 1, 0);
	if (!host)
		return 0;
	if (snapshot < 0)
		count(w, host, 1, 0, entry & QCOW2_COPIED ? QCOW2_BY_COPIED : QCOW2_BY_PLAIN);
	return qcow2_count_add(&w->tables, host >> q->cluster_bits, 1, 0);
}

/* [co] All tables, each once; the active ones in the order of the disk. */
static int count_tables(struct qcow2_walk *w)
{
	struct qcow2 *q = w->q;
	uint64_t i = 0, cluster = 0, host;
	struct be64 *table = malloc(q->cluster_size);
	int rc = table ? 0 : -ENOMEM;

	for (; !rc && i < q->l1.n; i++) {
		uint64_t entry = qcow2_array_get(&q->l1, i);

		host = entry & QCOW2_OFFSET_MASK;
		cluster = host >> q->cluster_bits;
		if (!host || qcow2_judge_l1(q, entry) & QCOW2_NOWHERE ||
		    qcow2_count_flags(&w->tables, cluster) & QCOW2_DONE)
			continue;
		rc = qcow2_count_add(&w->tables, cluster, 0, QCOW2_DONE);
		if (!rc)
			rc = count_table(w, table, host, i * q->l2_entries << q->cluster_bits,
					 (int64_t)qcow2_count(&w->tables, cluster));
	}
	for (cluster = 0; !rc; cluster++) {
		cluster = qcow2_counts_next(&w->tables, cluster);
		if (cluster == UINT64_MAX)
			break;
		if (!(qcow2_count_flags(&w->tables, cluster) & QCOW2_DONE))
			rc = count_table(w, table, cluster << q->cluster_bits, UINT64_MAX,
					 (int64_t)qcow2_count(&w->tables, cluster));
	}
	free(table);
	return rc;
}

/* --- snapshots --- */

/* [co] fn for n entries at host, which are in the file. */
static int each_entry(struct qcow2_walk *w, const char *what, uint64_t host, uint64_t n,
		      int (*fn)(struct qcow2_walk *w, uint64_t entry, uint64_t i, int64_t arg),
		      int64_t arg)
{
	struct be64 *chunk = malloc(CHUNK);
	int rc = chunk ? 0 : -ENOMEM;

	for (uint64_t i = 0; !rc && i < n; i += CHUNK / 8) {
		uint64_t k, most = n - i < CHUNK / 8 ? n - i : CHUNK / 8;

		rc = qcow2_read_table(w->q, host + i * 8, chunk, most * 8);
		if (rc) {
			tell(w, true, "cannot read %s at %#" PRIx64 ": %s", what, host,
			     strerror(-rc));
			rc = 0;
			break;
		}
		for (k = 0; !rc && k < most; k++)
			if (chunk[k].raw)
				rc = fn(w, be64_to_cpu(chunk[k]), i + k, arg);
	}
	free(chunk);
	return rc;
}

/* [co] *used: bytes of the L1 tables so far. */
static int count_snapshot(struct qcow2_walk *w, const struct qcow2_snapshot_entry *s, int64_t i,
			  uint64_t *used)
{
	uint64_t host = be64_to_cpu(s->l1_offset), bytes = be32_to_cpu(s->l1_size) * 8ull;
	unsigned bad = qcow2_judge_snapshot(w->q, s);
	int rc;

	if (bad)
		note(w, bad & QCOW2_NOWHERE ? &w->bad_tables : &w->bad_entries,
		     "snapshot %" PRId64 ": l1_offset is %#" PRIx64 ", l1_size %u, "
		     "extra_data_size %u",
		     i, host, be32_to_cpu(s->l1_size), be32_to_cpu(s->extra_size));
	/* What comes behind an entry of the wrong length need not be snapshots. */
	w->lost += !!(bad & QCOW2_BAD_SHORT);
	if (bad & QCOW2_NOWHERE)
		return 0;
	*used += bytes;
	if (*used > w->clusters << w->q->cluster_bits) {
		tell(w, false, "snapshot %" PRId64 ": its L1 table at %#" PRIx64 " is in others", i,
		     host);
		return 0;
	}
	rc = count(w, host, bytes, 1, 0);
	return rc ? rc : each_entry(w, "a snapshot's L1 table", host, bytes / 8, count_l1_entry, i);
}

/* [co] */
static int count_snapshots(struct qcow2_walk *w)
{
	struct qcow2 *q = w->q;
	uint64_t start = be64_to_cpu(q->hdr.snapshots_offset), at = start, used = 0;
	uint32_t n = be32_to_cpu(q->hdr.nb_snapshots);
	int rc = 0;

	for (uint32_t i = 0; !rc && i < n; i++) {
		struct qcow2_snapshot_entry s;

		if (outside(q, at, sizeof(s))) {
			tell(w, false, "snapshot table entry %u lies behind the end of the file",
			     i);
			break;
		}
		rc = qcow2_read_table(q, at, &s, sizeof(s));
		if (rc) {
			tell(w, true, "cannot read the snapshot table at %#" PRIx64 ": %s", at,
			     strerror(-rc));
			rc = 0;
			break;
		}
		/* What lies behind the end is the next one's to take. */
		if (be32_to_cpu(s.extra_size) > QCOW2_SNAPSHOT_EXTRA_MAX ||
		    outside(q, at, qcow2_snapshot_bytes(&s))) {
			tell(w, false,
			     "snapshot table entry %u: extra_data_size is %u: more than %d, or "
			     "behind the end of the file",
			     i, be32_to_cpu(s.extra_size), QCOW2_SNAPSHOT_EXTRA_MAX);
			w->lost++;
			break;
		}
		rc = count_snapshot(w, &s, i, &used);
		at += qcow2_snapshot_bytes(&s);
	}
	return rc || !n ? rc : count(w, start, at - start, 1, 0);
}

/* --- bitmaps --- */

static int count_bitmap_entry(struct qcow2_walk *w, uint64_t entry, uint64_t i, int64_t bitmap)
{
	uint64_t host = entry & QCOW2_OFFSET_MASK;

	/* Bit 0 says all ones, of what is not stored. */
	if (entry & ~QCOW2_OFFSET_MASK & ~1ull || (host && entry & 1) || !aligned(w->q, host) ||
	    (host && outside(w->q, host, w->q->cluster_size))) {
		w->bad_bitmaps = true;
		tell(w, false, "bitmap %" PRId64 ": table entry %" PRIu64 " is %#" PRIx64, bitmap,
		     i, entry);
		return 0;
	}
	return host ? count(w, host, w->q->cluster_size, 1, 0) : 0;
}

static int bad_bitmaps(struct qcow2_walk *w, const char *field, uint64_t value)
{
	w->bad_bitmaps = true;
	tell(w, false, "bitmaps: %s is %#" PRIx64, field, value);
	return 0;
}

/* [co] */
static int count_bitmap(struct qcow2_walk *w, const struct qcow2_bitmap_entry *b, int64_t i,
			uint64_t *used)
{
	uint64_t host = be64_to_cpu(b->table_offset), bytes = be32_to_cpu(b->table_size) * 8ull;
	int rc;

	*used += bytes;
	if (!bytes)
		return 0;
	if (!aligned(w->q, host) || outside(w->q, host, bytes) || host < w->q->cluster_size)
		return bad_bitmaps(w, "a table's offset", host);
	if (*used > w->clusters << w->q->cluster_bits)
		return bad_bitmaps(w, "a table's size", bytes / 8);
	rc = count(w, host, bytes, 1, 0);
	return rc ? rc : each_entry(w, "a bitmap's table", host, bytes / 8, count_bitmap_entry, i);
}

int qcow2_walk_bitmaps(struct qcow2_walk *w)
{
	struct qcow2 *q = w->q;
	struct qcow2_bitmap_ext x;
	uint32_t len = 0, n = 0;
	const uint8_t *ext = qcow2_ext_find(q, QCOW2_EXT_BITMAPS, &len);
	uint64_t at, size, end, used = 0;
	int rc;

	/* Without the bit nobody believes the extension: what it names is nobody's. */
	if (!ext || len < sizeof(x) ||
	    !(be64_to_cpu(q->hdr.autoclear_features) & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	memcpy(&x, ext, sizeof(x));
	at = be64_to_cpu(x.dir_offset);
	size = be64_to_cpu(x.dir_size);
	if (!aligned(q, at) || outside(q, at, 1) || at < q->cluster_size)
		return bad_bitmaps(w, "the directory's offset", at);
	if (size > BITMAP_DIR_MOST || outside(q, at, size))
		return bad_bitmaps(w, "the directory's size", size);
	rc = count(w, at, size, 1, 0);
	for (end = at + size; !rc && at + sizeof(struct qcow2_bitmap_entry) <= end; n++) {
		struct qcow2_bitmap_entry b;

		rc = qcow2_read_table(q, at, &b, sizeof(b));
		if (rc) {
			tell(w, true, "cannot read the bitmap directory: %s", strerror(-rc));
			return 0;
		}
		rc = count_bitmap(w, &b, n, &used);
		at += sizeof(b) + (uint64_t)be32_to_cpu(b.extra_size) + be16_to_cpu(b.name_size);
		at = (at + 7) & ~7ull;
	}
	if (!rc && (n != be32_to_cpu(x.n) || at != end))
		return bad_bitmaps(w, "their number", be32_to_cpu(x.n));
	return rc;
}

/* --- the rest --- */

static int count_crypt(struct qcow2_walk *w)
{
	struct qcow2_crypt_ext x;
	uint32_t len = 0;
	const uint8_t *ext = qcow2_ext_find(w->q, QCOW2_EXT_CRYPT, &len);
	uint64_t at;

	if (!ext || len < sizeof(x))
		return 0;
	memcpy(&x, ext, sizeof(x));
	at = be64_to_cpu(x.offset);
	if (!aligned(w->q, at) || outside(w->q, at, be64_to_cpu(x.len)) || !at) {
		tell(w, false,
		     "the encryption header is said to lie at %#" PRIx64 ", %" PRIu64 " bytes", at,
		     be64_to_cpu(x.len));
		return 0;
	}
	return count(w, at, be64_to_cpu(x.len), 1, 0);
}

static int count_refcounts(struct qcow2_walk *w)
{
	struct qcow2 *q = w->q;
	int rc = count(w, q->reftable.host, q->reftable.n * 8, 1, 0);

	for (uint64_t i = 0; !rc && i < q->reftable.n; i++) {
		uint64_t entry = qcow2_array_get(&q->reftable, i);

		if (entry && !qcow2_judge_block(q, entry))
			rc = count(w, entry, q->cluster_size, 1, 0);
	}
	return rc;
}

int qcow2_walk(struct qcow2_walk *w)
{
	struct qcow2 *q = w->q;
	int rc = count(w, 0, q->cluster_size, 1, 0);

	if (!rc)
		rc = count(w, q->l1.host, q->l1.n * 8, 1, 0);
	for (uint64_t i = 0; !rc && i < q->l1.n; i++)
		if (q->l1.entry[i].raw)
			rc = count_l1_entry(w, qcow2_array_get(&q->l1, i), i, -1);
	if (!rc)
		rc = count_snapshots(w);
	if (!rc)
		rc = count_tables(w);
	if (!rc)
		rc = qcow2_walk_bitmaps(w);
	if (!rc)
		rc = count_crypt(w);
	return rc ? rc : count_refcounts(w);
}
