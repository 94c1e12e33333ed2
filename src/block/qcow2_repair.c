/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: refcounts made right by what has been counted (qcow2_walk.c): for posada-img check, and
 * for an image whose dirty bit says that they may be wrong (lazy refcounts, and the program
 * or the power went). In a coroutine, with nothing else going on in the image.
 *
 * Wrong refcounts are set in place when the blocks that hold them can be trusted: each in
 * the file, counted once, and there for every cluster. Else a table and blocks are made anew behind
 * all that is there, and the header is switched to them last. In both cases each write by
 * itself leaves the image no worse: nothing refers to a cluster whose refcount falls.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "qcow2_walk.h"

void qcow2_check_say(const struct blk_check *out, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!out->say)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	out->say(out->ctx, line);
}

/* --- what to do --- */

struct fixing {
	struct qcow2_walk *w;
	struct qcow2 *q;
	struct blk_check *out;
	unsigned fix;
	bool damaged; /* the table or a block of it cannot be */
	bool anew; /* all is made anew */
	bool keep; /* leaks stay: what they were for is not known */
};

/* Where block i can be read; 0: nowhere. */
static uint64_t block_of(const struct qcow2 *q, uint64_t i)
{
	uint64_t entry = qcow2_array_get(&q->reftable, i);

	return qcow2_judge_block(q, entry) & ~QCOW2_BAD_RESERVED ? 0 : entry & ~QCOW2_REFT_RESERVED;
}

/* [co] The slice that tells of a cluster; *t NULL: there is none. */
static int get_slice(struct qcow2 *q, uint64_t cluster, struct qcow2_table **t)
{
	uint64_t host = block_of(q, cluster >> q->block_bits);
	uint64_t part = (cluster & ((1ull << q->block_bits) - 1)) >> q->ref_slice_bits;

	*t = NULL;
	if (!host)
		return 0;
	return qcow2_cache_get(&q->refs, cluster >> q->ref_slice_bits, host + part * q->refs.unit,
			       false, t);
}

int qcow2_recorded(struct qcow2 *q, uint64_t cluster, uint64_t *out)
{
	struct qcow2_table *t;
	int rc = get_slice(q, cluster, &t);

	*out = 0;
	if (!rc && t)
		*out = qcow2_ref_get(t->data, q->ref_order,
				     cluster & ((1ull << q->ref_slice_bits) - 1));
	return rc;
}

/* A reference of the refcount table, or the table itself, that cannot be. */
static void judge_block(struct fixing *f, uint64_t i)
{
	const struct qcow2 *q = f->q;
	uint64_t entry = qcow2_array_get(&q->reftable, i), n;
	unsigned bad = qcow2_judge_block(q, entry);
	bool fix = f->fix & BLK_FIX_ERRORS && !f->keep;
	const char *how = fix ? "Repairing" : "ERROR";

	n = bad ? 0 : qcow2_count(&f->w->refs, entry >> q->cluster_bits);
	if (!entry || (!bad && n == 1))
		return;
	if (bad & QCOW2_BAD_RESERVED)
		qcow2_check_say(f->out, "%s refcount table entry %" PRIu64 " has reserved bits set",
				how, i);
	else if (bad & QCOW2_BAD_ALIGN)
		qcow2_check_say(f->out,
				"%s refcount block %" PRIu64 " is not cluster aligned; refcount "
				"table entry corrupted",
				how, i);
	else if (bad)
		qcow2_check_say(f->out, "%s refcount block %" PRIu64 " is outside image", how, i);
	else
		qcow2_check_say(f->out, "%s refcount block %" PRIu64 " refcount=%" PRIu64, how, i,
				n);
	f->damaged = true;
	*(fix ? &f->out->corruptions_fixed : &f->out->corruptions) += 1;
}

static void judge_table(struct fixing *f)
{
	const struct qcow2 *q = f->q;
	uint64_t host = q->reftable.host, clusters = qcow2_clusters(q, q->reftable.n * 8);
	bool fix = f->fix & BLK_FIX_ERRORS && !f->keep;

	if (!q->reftable.n) {
		qcow2_check_say(f->out,
				"%s refcount table at 0x%" PRIx64 ", %u clusters: cannot be there",
				fix ? "Repairing" : "ERROR",
				be64_to_cpu(q->hdr.refcount_table_offset),
				be32_to_cpu(q->hdr.refcount_table_clusters));
		*(fix ? &f->out->corruptions_fixed : &f->out->corruptions) += 1;
		f->damaged = true;
	}
	for (uint64_t i = 0; i < clusters; i++)
		if (qcow2_count(&f->w->refs, (host >> q->cluster_bits) + i) != 1)
			f->damaged = true;
	for (uint64_t i = 0; i < q->reftable.n; i++)
		judge_block(f, i);
}

static uint64_t blocks_of(const struct fixing *f, uint64_t clusters)
{
	return (clusters + (1ull << f->q->block_bits) - 1) >> f->q->block_bits;
}

/* Whether what is counted in range i has no block to be told in. */
static bool lacks_block(const struct fixing *f, uint64_t i)
{
	return !block_of(f->q, i) &&
	       qcow2_counts_any(&f->w->refs, i << f->q->block_bits, 1ull << f->q->block_bits);
}

/* --- comparing --- */

/* One cluster that is recorded wrong; *value: what it shall be, when it is to be set. */
static bool differs(struct fixing *f, uint64_t cluster, uint64_t is, uint64_t counted)
{
	struct blk_check *out = f->out;
	bool leak = is > counted, fix, possible = counted <= f->q->ref_max;

	if (leak)
		fix = f->anew || (f->fix & BLK_FIX_LEAKS && !f->keep && !f->damaged);
	else
		fix = possible && (f->anew || (f->fix & BLK_FIX_ERRORS && !f->damaged));
	qcow2_check_say(out, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64 "%s",
			fix    ? "Repairing"
			: leak ? "Leaked"
			       : "ERROR",
			cluster, is, counted, possible ? "" : ": more than its refcounts can say");
	if (leak)
		*(fix ? &out->leaks_fixed : &out->leaks) += 1;
	else
		*(fix ? &out->corruptions_fixed : &out->corruptions) += 1;
	return fix && !f->anew;
}

/* [co] Clusters from first to end, which are told in one slice (t; NULL: all 0). */
static int compare_slice(struct fixing *f, struct qcow2_table *t, uint64_t first, uint64_t end)
{
	struct qcow2 *q = f->q;
	uint64_t mask = (1ull << q->ref_slice_bits) - 1;
	int rc = 0;

	for (uint64_t k = first; !rc && k < end; k++) {
		uint64_t is = t ? qcow2_ref_get(t->data, q->ref_order, k & mask) : 0;
		uint64_t counted = qcow2_count(&f->w->refs, k), now = is;
		unsigned flags;

		if (!is && !counted)
			continue;
		if (is != counted && differs(f, k, is, counted)) {
			now = counted;
			rc = qcow2_cache_dirty(&q->refs, t);
			if (!rc)
				qcow2_ref_set(t->data, q->ref_order, k & mask, now);
		}
		if (f->anew)
			now = counted;
		flags = qcow2_count_flags(&f->w->refs, k);
		if ((flags & QCOW2_BY_COPIED && now != 1) || (flags & QCOW2_BY_PLAIN && now == 1))
			f->w->bad_flags = true;
		f->out->image_end_offset = (k + 1) << q->cluster_bits;
	}
	return rc;
}

/*
 * [co] Clusters behind the end of the file, from at to the end of the block: none is in use. That
 * is no finding, but they would leak when the file grows. Not while entries may still refer to one.
 */
static int clear_rest(struct fixing *f, uint64_t at)
{
	struct qcow2 *q = f->q;
	uint64_t end = ((at >> q->block_bits) + 1) << q->block_bits;
	uint64_t mask = (1ull << q->ref_slice_bits) - 1;
	struct qcow2_table *t = NULL;
	int rc = 0;

	if (!(f->fix & BLK_FIX_LEAKS) || f->keep || f->damaged ||
	    (f->w->bad_entries && !f->w->zeroing) || !(at & ((1ull << q->block_bits) - 1)))
		return 0;
	for (bool first = true; !rc && at < end; at++, first = false) {
		if (first || !(at & mask))
			rc = get_slice(q, at, &t);
		if (rc || !t)
			return rc;
		if (!qcow2_ref_get(t->data, q->ref_order, at & mask))
			continue;
		rc = qcow2_cache_dirty(&q->refs, t);
		if (!rc)
			qcow2_ref_set(t->data, q->ref_order, at & mask, 0);
	}
	return rc;
}

/* [co] What block i tells. */
static int compare_block(struct fixing *f, uint64_t i)
{
	struct qcow2 *q = f->q;
	uint64_t at = i << q->block_bits, part = 1ull << q->ref_slice_bits;
	uint64_t end = (i + 1) << q->block_bits;
	int rc = 0;

	if (end > f->w->clusters)
		end = f->w->clusters;
	if (!block_of(q, i) && !qcow2_counts_any(&f->w->refs, at, end - at))
		return 0;
	for (; !rc && at < end; at += part) {
		struct qcow2_table *t;

		rc = get_slice(q, at, &t);
		if (rc == -ENOMEM)
			return rc;
		if (rc) {
			qcow2_check_say(f->out, "ERROR cannot read refcount block %" PRIu64 ": %s",
					i, strerror(-rc));
			f->out->check_errors++;
			return 0;
		}
		rc = compare_slice(f, t, at, at + part < end ? at + part : end);
	}
	return rc;
}

/* --- making all anew --- */

struct layout {
	uint64_t start; /* cluster */
	uint64_t blocks, table; /* so many clusters, in this order */
	uint64_t entries; /* that are needed in the table */
};

static bool wanted(const struct fixing *f, const struct layout *l, uint64_t i)
{
	uint64_t first = i << f->q->block_bits, end = (i + 1) << f->q->block_bits;

	return (first < l->start + l->blocks + l->table && l->start < end) ||
	       qcow2_counts_any(&f->w->refs, first, end - first);
}

/* How much it takes: what is added is counted by it, too. */
static int find_layout(const struct fixing *f, struct layout *l)
{
	const struct qcow2 *q = f->q;

	for (;;) {
		uint64_t blocks = 0, end = l->start + l->blocks + l->table, table;

		l->entries = blocks_of(f, end > f->w->clusters ? end : f->w->clusters);
		table = qcow2_clusters(q, (l->entries + l->entries / 2) * 8);
		if (table << q->cluster_bits > QCOW2_REFTABLE_MAX)
			table = qcow2_clusters(q, l->entries * 8);
		if (table << q->cluster_bits > QCOW2_REFTABLE_MAX)
			return -EFBIG;
		for (uint64_t i = 0; i < l->entries; i++)
			blocks += wanted(f, l, i);
		if (blocks <= l->blocks && table <= l->table)
			return 0;
		l->blocks = blocks > l->blocks ? blocks : l->blocks;
		l->table = table > l->table ? table : l->table;
	}
}

/* A place behind the end of the file; of a device, behind the last cluster that is in use. */
static int find_place(struct fixing *f, struct layout *l)
{
	struct blk_node *file = f->q->node->file;
	uint64_t need, last = 0, k = 0;
	struct err e;
	int rc;

	*l = (struct layout){ .start = qcow2_clusters(f->q, file->size) };
	rc = find_layout(f, l);
	if (rc)
		return rc;
	need = (l->start + l->blocks + l->table) << f->q->cluster_bits;
	if (!blk_node_truncate(file, need, &e))
		return 0;
	while ((k = qcow2_counts_next(&f->w->refs, k)) != UINT64_MAX)
		last = k++;
	*l = (struct layout){ .start = last + 1 };
	rc = find_layout(f, l);
	need = (l->start + l->blocks + l->table) << f->q->cluster_bits;
	return rc ? rc : need > file->size ? -ENOSPC : 0;
}

/* The old table and blocks will not be needed. */
static int drop_old(struct fixing *f)
{
	struct qcow2 *q = f->q;
	uint64_t at = q->reftable.host >> q->cluster_bits, n = qcow2_clusters(q, q->reftable.n * 8);
	int rc = 0;

	for (uint64_t i = 0; !rc && i < n && at + i < f->w->clusters; i++)
		rc = qcow2_count_add(&f->w->refs, at + i, -1, 0);
	for (uint64_t i = 0; !rc && i < q->reftable.n; i++) {
		uint64_t entry = qcow2_array_get(&q->reftable, i);

		if (entry && !qcow2_judge_block(q, entry))
			rc = qcow2_count_add(&f->w->refs, entry >> q->cluster_bits, -1, 0);
	}
	return rc;
}

/* [co] Block i as counted. */
static int write_block(const struct fixing *f, uint8_t *buf, uint64_t i, uint64_t cluster)
{
	struct qcow2 *q = f->q;
	uint64_t n = 1ull << q->block_bits;

	memset(buf, 0, q->cluster_size);
	for (uint64_t k = 0; k < n; k++) {
		uint64_t v = qcow2_count(&f->w->refs, (i << q->block_bits) + k);

		if (v)
			qcow2_ref_set(buf, q->ref_order, k, v > q->ref_max ? q->ref_max : v);
	}
	return co_pwrite(q->node->file, cluster << q->cluster_bits, buf, q->cluster_size, 0);
}

/* [co] All that is new, durable; nothing refers to it yet. */
static int write_new(struct fixing *f, const struct layout *l, struct qcow2_array *a)
{
	struct qcow2 *q = f->q;
	uint64_t at = l->start;
	uint8_t *buf = malloc(q->cluster_size);
	int rc = buf ? 0 : -ENOMEM;

	for (uint64_t i = 0; !rc && i < l->blocks + l->table; i++)
		rc = qcow2_count_add(&f->w->refs, l->start + i, 1, 0);
	for (uint64_t i = 0; !rc && i < l->entries; i++) {
		if (!wanted(f, l, i))
			continue;
		a->entry[i] = cpu_to_be64(at << q->cluster_bits);
		rc = write_block(f, buf, i, at++);
	}
	free(buf);
	if (!rc)
		rc = co_flush(q->node->file);
	if (!rc)
		rc = co_pwrite(q->node->file, a->host, a->entry, a->n * 8, 0);
	return rc ? rc : co_flush(q->node->file);
}

/* [co] The header names the new table; in memory, too. */
static int switch_to(struct qcow2 *q, struct qcow2_array *a)
{
	struct qcow2_header was = q->hdr;
	int rc;

	q->hdr.refcount_table_offset = cpu_to_be64(a->host);
	q->hdr.refcount_table_clusters = cpu_to_be32((uint32_t)(a->n * 8 >> q->cluster_bits));
	rc = qcow2_write_header(q, offsetof(struct qcow2_header, refcount_table_offset),
				offsetof(struct qcow2_header, nb_snapshots));
	if (rc) {
		/* Which of the two tables the file's header names is not known. */
		q->hdr = was;
		q->writable = false;
		return rc;
	}
	qcow2_cache_drop(&q->refs, 0, q->refs.n_slots);
	qcow2_array_free(&q->reftable);
	q->reftable = *a;
	*a = (struct qcow2_array){ 0 };
	return 0;
}

/* [co] */
static int make_anew(struct fixing *f)
{
	struct qcow2 *q = f->q;
	struct qcow2_array a = { 0 };
	struct layout l = { 0 };
	int rc = find_place(f, &l);

	if (!rc)
		rc = drop_old(f);
	if (rc)
		return rc;
	a.n = l.table << (q->cluster_bits - 3);
	a.host = (l.start + l.blocks) << q->cluster_bits;
	a.entry = calloc(a.n, 8);
	a.changed = calloc(a.n * 8 / 512 + 1, 1);
	rc = a.entry && a.changed ? 0 : -ENOMEM;
	if (!rc)
		rc = qcow2_cache_grow(&q->refs, a.n << (q->block_bits - q->ref_slice_bits));
	if (!rc)
		rc = write_new(f, &l, &a);
	if (!rc)
		rc = switch_to(q, &a);
	qcow2_array_free(&a);
	return rc;
}

/* --- all of it --- */

int qcow2_fix_refcounts(struct qcow2_walk *w, unsigned fix, struct blk_check *out, struct err *e)
{
	struct qcow2 *q = w->q;
	struct fixing f = { .w = w, .q = q, .out = out, .fix = fix };
	uint64_t n = blocks_of(&f, w->clusters);
	int rc = 0;

	/* What was behind a table that is not zeroed may be had again. */
	f.keep = w->unreadable || w->lost || (w->bad_tables && !w->zeroing);
	judge_table(&f);
	f.anew = f.damaged;
	for (uint64_t i = 0; !f.anew && i < n; i++)
		f.anew = lacks_block(&f, i);
	f.damaged = f.anew;
	f.anew = f.anew && fix & BLK_FIX_ERRORS && !f.keep;
	for (uint64_t i = 0; !rc && i < n; i++)
		rc = compare_block(&f, i);
	if (!rc)
		rc = clear_rest(&f, w->clusters);
	if (!rc && f.anew) {
		qcow2_check_say(out, "Rebuilding refcount structure");
		rc = make_anew(&f);
		/* What the old table and blocks were besides is counted otherwise now. */
		w->bad_flags = true;
	} else if (!rc && q->writable && fix) {
		rc = qcow2_write_refcounts(q);
	}
	q->free_hint = 0;
	q->packed_at = 0;
	q->virgin = qcow2_clusters(q, q->node->file->size);
	if (rc && e)
		err_set(e, ERR_INPUT, -rc, "%s: cannot write its refcounts: %s", q->node->filename,
			strerror(-rc));
	return rc;
}

static int not_repaired(struct qcow2 *q, const char *why, struct err *e)
{
	err_set(e, ERR_INPUT, EIO, "%s: refcounts cannot be repaired: %s", q->node->filename, why);
	err_hint(e, "posada-img check -r all %s", q->node->filename);
	return -EIO;
}

int qcow2_rebuild_refcounts(struct qcow2 *q, struct err *e)
{
	struct qcow2_walk w = { 0 };
	struct blk_check out = { 0 };
	uint64_t in;
	int rc = qcow2_walk_init(&w, q, e);

	if (rc)
		return rc;
	rc = qcow2_walk(&w);
	if (rc)
		err_set(e, ERR_HOST, -rc, "%s: cannot look for its clusters: %s", q->node->filename,
			strerror(-rc));
	else if (w.unreadable || w.bad_tables || w.bad_entries)
		rc = not_repaired(q, w.first, e);
	else
		rc = qcow2_fix_refcounts(&w, BLK_FIX_LEAKS | BLK_FIX_ERRORS, &out, e);
	qcow2_walk_free(&w);
	if (!rc && (out.corruptions || out.check_errors))
		rc = not_repaired(q, "a cluster has more references than they can say", e);
	if (rc)
		return rc;
	in = be64_to_cpu(q->hdr.incompatible_features) & ~QCOW2_INCOMPAT_DIRTY;
	q->hdr.incompatible_features = cpu_to_be64(in);
	q->dirty_mark = false;
	rc = qcow2_write_header(q, offsetof(struct qcow2_header, incompatible_features),
				offsetof(struct qcow2_header, compatible_features));
	if (rc)
		return err_set(e, ERR_INPUT, -rc, "%s: cannot write its header: %s",
			       q->node->filename, strerror(-rc));
	log_note("%s was not closed: its refcounts have been repaired", q->node->filename);
	return 0;
}
