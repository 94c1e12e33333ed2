/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: refcounts made anew, for an image whose dirty bit says that they may be wrong
 * (lazy refcounts, and the program or the power went). What the tables refer to is
 * counted, and the blocks are set to that. In a coroutine.
 *
 * The image is hostile: each table is read once for each reference to it, references
 * outside of the file end it, and the memory for counts is bounded.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "qcow2.h"

enum { PAGE_BITS = 12, PAGE = 1 << PAGE_BITS };
#define COUNTS_MOST (1ull << 30) /* bytes */

/* How often each cluster of the file is referred to: in pages that are made when needed. */
struct counts {
	struct qcow2 *q;
	struct err *e;
	uint64_t clusters; /* of the file */
	uint64_t n_pages;
	uint32_t **page;
	uint64_t bytes;
};

static int counts_init(struct counts *c, struct qcow2 *q, struct err *e)
{
	*c = (struct counts){ .q = q, .e = e };
	c->clusters = qcow2_clusters(q, q->node->file->size);
	/* A block for each page, at worst, and some more. */
	c->n_pages = (c->clusters + (c->clusters >> 3)) / PAGE + 16;
	if (c->n_pages * sizeof(*c->page) > COUNTS_MOST)
		return err_set(e, ERR_INPUT, EFBIG, "%s is too large to be repaired",
			       q->node->filename);
	c->page = calloc(c->n_pages, sizeof(*c->page));
	return c->page ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

static void counts_free(struct counts *c)
{
	for (uint64_t i = 0; c->page && i < c->n_pages; i++)
		free(c->page[i]);
	free(c->page);
}

static uint64_t count_of(const struct counts *c, uint64_t cluster)
{
	const uint32_t *p =
		cluster >> PAGE_BITS < c->n_pages ? c->page[cluster >> PAGE_BITS] : NULL;

	return p ? p[cluster & (PAGE - 1)] : 0;
}

static int count_one(struct counts *c, uint64_t cluster)
{
	uint32_t **p = &c->page[cluster >> PAGE_BITS];

	if (cluster >> PAGE_BITS >= c->n_pages)
		return -EFBIG;
	if (!*p) {
		c->bytes += PAGE * sizeof(**p);
		*p = c->bytes > COUNTS_MOST ? NULL : calloc(PAGE, sizeof(**p));
		if (!*p)
			return err_set(c->e, ERR_HOST, ENOMEM, "%s: no memory to repair it",
				       c->q->node->filename);
	}
	if ((*p)[cluster & (PAGE - 1)] < UINT32_MAX)
		(*p)[cluster & (PAGE - 1)]++;
	return 0;
}

/* what: for the message. aligned: it must begin a cluster. */
static int count(struct counts *c, const char *what, uint64_t host, uint64_t len, bool aligned)
{
	struct qcow2 *q = c->q;
	uint64_t first = host >> q->cluster_bits, last;
	int rc = 0;

	if (!len)
		return 0;
	if (host > INT64_MAX - len || host >= q->node->file->size ||
	    (aligned && host & (q->cluster_size - 1))) {
		err_set(c->e, ERR_INPUT, EIO,
			"%s: refcounts cannot be repaired: %s at %#" PRIx64
			" is not a cluster of the file",
			q->node->filename, what, host);
		err_hint(c->e, "posada-img check -r all %s", q->node->filename);
		return -EIO;
	}
	last = (host + len - 1) >> q->cluster_bits;
	if (last >= c->clusters)
		last = c->clusters - 1;
	for (uint64_t i = first; !rc && i <= last; i++)
		rc = count_one(c, i);
	return rc;
}

/* [co] */
static int read_at(struct counts *c, const char *what, uint64_t host, void *buf, size_t len)
{
	int rc = co_pread(c->q->node->file, host, buf, len);

	return rc ? err_set(c->e, ERR_INPUT, -rc, "%s: cannot read %s at %#" PRIx64 ": %s",
			    c->q->node->filename, what, host, strerror(-rc))
		  : 0;
}

static int count_entry(struct counts *c, uint64_t desc)
{
	struct qcow2 *q = c->q;
	uint64_t host = desc & QCOW2_OFFSET_MASK;
	uint32_t len;

	if (q->external)
		return 0;
	if (desc & QCOW2_COMPRESSED) {
		qcow2_compressed_place(q, desc, &host, &len);
		return count(c, "compressed data", host, len, false);
	}
	return host ? count(c, "data", host, q->cluster_size, true) : 0;
}

/* [co] Tables of an L1 table, and all that they refer to. */
static int count_l1(struct counts *c, const struct be64 *l1, uint64_t n)
{
	struct qcow2 *q = c->q;
	struct be64 *l2 = malloc(q->cluster_size);
	int rc = l2 ? 0 : -ENOMEM;

	for (uint64_t i = 0; !rc && i < n; i++) {
		uint64_t host = be64_to_cpu(l1[i]) & QCOW2_OFFSET_MASK;

		if (!host)
			continue;
		rc = count(c, "an L2 table", host, q->cluster_size, true);
		if (!rc)
			rc = read_at(c, "an L2 table", host, l2, q->cluster_size);
		for (uint64_t k = 0; !rc && k < q->l2_entries; k++)
			rc = count_entry(c, be64_to_cpu(l2[k * q->entry_size / 8]));
	}
	free(l2);
	return rc;
}

/* [co] */
static int count_snapshot_l1(struct counts *c, uint64_t host, uint64_t n)
{
	struct be64 *l1;
	int rc;

	if (!n)
		return 0;
	if (n > QCOW2_L1_MAX / 8)
		return err_set(c->e, ERR_INPUT, EIO, "%s: a snapshot's l1_size is %" PRIu64,
			       c->q->node->filename, n);
	rc = count(c, "a snapshot's L1 table", host, n * 8, true);
	l1 = rc ? NULL : malloc(n * 8);
	if (!l1)
		return rc ? rc : -ENOMEM;
	rc = read_at(c, "a snapshot's L1 table", host, l1, n * 8);
	if (!rc)
		rc = count_l1(c, l1, n);
	free(l1);
	return rc;
}

/* [co] */
static int count_snapshots(struct counts *c)
{
	struct qcow2 *q = c->q;
	uint64_t start = be64_to_cpu(q->hdr.snapshots_offset), at = start;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < be32_to_cpu(q->hdr.nb_snapshots); i++) {
		struct qcow2_snapshot_entry s;

		rc = read_at(c, "the snapshot table", at, &s, sizeof(s));
		if (rc)
			return rc;
		rc = count_snapshot_l1(c, be64_to_cpu(s.l1_offset), be32_to_cpu(s.l1_size));
		at += sizeof(s) + (uint64_t)be32_to_cpu(s.extra_size) + be16_to_cpu(s.id_size) +
		      be16_to_cpu(s.name_size);
		at = (at + 7) & ~7ull;
	}
	return rc ? rc : count(c, "the snapshot table", start, at - start, true);
}

/* [co] */
static int count_bitmap(struct counts *c, uint64_t host, uint64_t n)
{
	struct be64 *table;
	int rc;

	if (!n)
		return 0;
	if (n > QCOW2_L1_MAX / 8)
		return err_set(c->e, ERR_INPUT, EIO, "%s: a bitmap's table_size is %" PRIu64,
			       c->q->node->filename, n);
	rc = count(c, "a bitmap's table", host, n * 8, true);
	table = rc ? NULL : malloc(n * 8);
	if (!table)
		return rc ? rc : -ENOMEM;
	rc = read_at(c, "a bitmap's table", host, table, n * 8);
	for (uint64_t i = 0; !rc && i < n; i++) {
		uint64_t data = be64_to_cpu(table[i]) & QCOW2_OFFSET_MASK;

		if (data)
			rc = count(c, "a bitmap", data, c->q->cluster_size, true);
	}
	free(table);
	return rc;
}

/* [co] */
static int count_bitmaps(struct counts *c)
{
	struct qcow2_bitmap_ext x;
	uint32_t len = 0;
	const uint8_t *ext = qcow2_ext_find(c->q, QCOW2_EXT_BITMAPS, &len);
	uint64_t at, end;
	int rc;

	if (!ext || len < sizeof(x))
		return 0;
	memcpy(&x, ext, sizeof(x));
	at = be64_to_cpu(x.dir_offset);
	rc = count(c, "the bitmap directory", at, be64_to_cpu(x.dir_size), true);
	end = at + be64_to_cpu(x.dir_size);
	while (!rc && at + sizeof(struct qcow2_bitmap_entry) <= end) {
		struct qcow2_bitmap_entry b;

		rc = read_at(c, "the bitmap directory", at, &b, sizeof(b));
		if (!rc)
			rc = count_bitmap(c, be64_to_cpu(b.table_offset),
					  be32_to_cpu(b.table_size));
		at += sizeof(b) + (uint64_t)be32_to_cpu(b.extra_size) + be16_to_cpu(b.name_size);
		at = (at + 7) & ~7ull;
	}
	return rc;
}

static int count_crypt(struct counts *c)
{
	struct qcow2_crypt_ext x;
	uint32_t len = 0;
	const uint8_t *ext = qcow2_ext_find(c->q, QCOW2_EXT_CRYPT, &len);

	if (!ext || len < sizeof(x))
		return 0;
	memcpy(&x, ext, sizeof(x));
	return count(c, "the encryption header", be64_to_cpu(x.offset), be64_to_cpu(x.len), true);
}

static int count_refs(struct counts *c)
{
	struct qcow2 *q = c->q;
	int rc = count(c, "the refcount table", q->reftable.host, q->reftable.n * 8, true);

	for (uint64_t i = 0; !rc && i < q->reftable.n; i++) {
		uint64_t host = qcow2_array_get(&q->reftable, i);

		if (host)
			rc = count(c, "a refcount block", host, q->cluster_size, true);
	}
	return rc;
}

/* [co] */
static int count_all(struct counts *c)
{
	struct qcow2 *q = c->q;
	int rc = count(c, "the header", 0, q->cluster_size, true);

	if (!rc)
		rc = count(c, "the L1 table", q->l1.host, q->l1.n * 8, true);
	if (!rc)
		rc = count_l1(c, q->l1.entry, q->l1.n);
	if (!rc && be32_to_cpu(q->hdr.nb_snapshots))
		rc = count_snapshots(c);
	if (!rc)
		rc = count_bitmaps(c);
	if (!rc)
		rc = count_crypt(c);
	return rc ? rc : count_refs(c);
}

/* --- setting --- */

/* [co] A block for range i, at the end of the file. */
static int add_block(struct counts *c, uint64_t i)
{
	struct qcow2 *q = c->q;
	uint64_t at = q->virgin;
	int rc;

	if (i >= q->reftable.n) {
		err_set(c->e, ERR_INPUT, ENOTSUP,
			"%s: refcounts cannot be repaired: refcount_table_clusters is %u, too "
			"few",
			q->node->filename, be32_to_cpu(q->hdr.refcount_table_clusters));
		err_hint(c->e, "posada-img check -r all %s", q->node->filename);
		return -ENOTSUP;
	}
	rc = qcow2_extend_file(q, at);
	if (!rc)
		rc = count_one(c, at);
	if (rc)
		return rc;
	q->virgin = at + 1;
	qcow2_array_set(&q->reftable, i, at << q->cluster_bits);
	return 0;
}

static bool any_in(const struct counts *c, uint64_t first, uint64_t n)
{
	for (uint64_t k = first; k < first + n && k < c->n_pages * PAGE; k++) {
		if (!(k & (PAGE - 1)) && !c->page[k >> PAGE_BITS])
			k += PAGE - 1;
		else if (count_of(c, k))
			return true;
	}
	return false;
}

/* [co] What a slice of a block says, from cluster first on. */
static int set_slice(struct counts *c, uint64_t block, uint64_t first)
{
	struct qcow2 *q = c->q;
	uint64_t n = 1ull << q->ref_slice_bits, part = first & ((1ull << q->block_bits) - 1);
	struct qcow2_table *t;
	int rc = qcow2_cache_get(&q->refs, first >> q->ref_slice_bits,
				 block + (part >> q->ref_slice_bits) * q->refs.unit, false, &t);

	for (uint64_t i = 0; !rc && i < n; i++) {
		uint64_t want = count_of(c, first + i);

		if (want > q->ref_max)
			return err_set(c->e, ERR_INPUT, ERANGE,
				       "%s: the cluster at %#" PRIx64 " has %" PRIu64
				       " references, more than refcounts of %u bits can say",
				       q->node->filename, (first + i) << q->cluster_bits, want,
				       1u << q->ref_order);
		if (qcow2_ref_get(t->data, q->ref_order, i) == want)
			continue;
		rc = qcow2_cache_dirty(&q->refs, t);
		if (!rc)
			qcow2_ref_set(t->data, q->ref_order, i, want);
	}
	return rc;
}

/* [co] */
static int set_all(struct counts *c)
{
	struct qcow2 *q = c->q;
	uint64_t span = 1ull << q->block_bits, n, i;
	int rc = 0;

	/* Blocks that are added may lie in ranges that need one, too. */
	for (i = 0; !rc && i << q->block_bits < q->virgin; i++)
		if (!qcow2_array_get(&q->reftable, i) && any_in(c, i << q->block_bits, span))
			rc = add_block(c, i);
	for (i = 0, n = q->reftable.n; !rc && i < n; i++) {
		uint64_t block = qcow2_array_get(&q->reftable, i);

		for (uint64_t k = 0; !rc && block && k < span; k += 1ull << q->ref_slice_bits)
			rc = set_slice(c, block, (i << q->block_bits) + k);
	}
	return rc;
}

int qcow2_rebuild_refcounts(struct qcow2 *q, struct err *e)
{
	uint64_t in;
	struct counts c;
	int rc;

	if (e)
		e->msg[0] = '\0';
	rc = counts_init(&c, q, e);
	if (!rc)
		rc = count_all(&c);
	if (!rc)
		rc = set_all(&c);
	if (!rc)
		rc = qcow2_write_refcounts(q);
	counts_free(&c);
	if (!rc) {
		in = be64_to_cpu(q->hdr.incompatible_features) & ~QCOW2_INCOMPAT_DIRTY;
		q->hdr.incompatible_features = cpu_to_be64(in);
		q->dirty_mark = false;
		rc = qcow2_write_header(q, offsetof(struct qcow2_header, incompatible_features),
					offsetof(struct qcow2_header, compatible_features));
	}
	if (rc && e && !e->msg[0])
		err_set(e, ERR_INPUT, -rc, "%s: cannot repair its refcounts: %s", q->node->filename,
			strerror(-rc));
	if (!rc)
		log_note("%s was not closed: its refcounts have been repaired", q->node->filename);
	return rc;
}
