/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: posada-img check. All that is referred to is counted (qcow2_walk.c) and compared
 * with the refcounts (qcow2_repair.c). Only when something was found amiss with entries are
 * the tables read again: to say what, and to mend it. The main thread's.
 *
 * Repairs go in an order in which a power cut leaves the image no worse than it was:
 * refcounts first, with what will be zeroed not counted; then, durable, tables; then the
 * header's bits. An entry changes by itself: it lies in one sector.
 *
 * How entries are mended (-r all): what points nowhere is zeroed; of what points to
 * something the data stay, and only what cannot be so is cleared. A table that is
 * something else, too, is not written to: it is copied first (active ones), or stays.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "qcow2_walk.h"

/* Copying a table changes what is referred to: so often all is gone through at most. */
enum { ROUNDS = 4 };

struct check {
	struct qcow2_walk w;
	struct qcow2 *q;
	struct blk_check *out;
	struct err *e;
	unsigned fix;
	bool flags; /* COPIED flags are mended */
	bool copied; /* a table has been: counts are others now */
	struct be64 *table; /* a cluster */
};

/* Counts a corruption, and says whether it is mended. */
static const char *found(struct check *c, bool fixed)
{
	*(fixed ? &c->out->corruptions_fixed : &c->out->corruptions) += 1;
	return fixed ? "Repairing" : "ERROR";
}

static void on_say(struct qcow2_walk *w, bool unreadable, const char *text)
{
	struct check *c = w->ctx;

	*(unreadable ? &c->out->check_errors : &c->out->corruptions) += 1;
	qcow2_check_say(c->out, "ERROR %s", text);
}

/* --- L2 entries --- */

struct entry {
	uint64_t off; /* the guest's; UINT64_MAX: of a snapshot's table */
	uint64_t desc, bitmap;
};

static void say_outside(struct check *c, bool fix, uint64_t host, uint64_t len)
{
	qcow2_check_say(c->out,
			"%s%s counting reference for region exceeding the end of the file by one "
			"cluster or more: offset 0x%" PRIx64 " size 0x%" PRIx64,
			found(c, fix), fix ? "" : ":", host, len);
}

static void say_standard(struct check *c, const struct entry *x, unsigned bad, bool fix)
{
	uint64_t host = x->desc & QCOW2_OFFSET_MASK;
	bool data = c->q->ext_l2 ? (uint32_t)x->bitmap : !(x->desc & QCOW2_ZERO);

	if (bad & QCOW2_BAD_RESERVED)
		qcow2_check_say(c->out, "%s found l2 entry with reserved bits set: %" PRIx64,
				found(c, fix), x->desc);
	if (bad & QCOW2_BAD_ALIGN)
		qcow2_check_say(c->out,
				"%s offset=%" PRIx64 ": %s cluster is not properly aligned; L2 "
				"entry corrupted.",
				found(c, fix), host, data ? "Data" : "Preallocated");
	if (bad & QCOW2_BAD_OUTSIDE)
		say_outside(c, fix, host, c->q->cluster_size);
	if (bad & QCOW2_BAD_BITMAP)
		qcow2_check_say(c->out,
				"%s offset=%" PRIx64 ": Allocated cluster has corrupted subcluster "
				"allocation bitmap",
				found(c, fix), host);
	if (bad & QCOW2_BAD_NO_PLACE)
		qcow2_check_say(c->out,
				"%s%s Unallocated cluster has non-zero subcluster allocation map",
				found(c, fix), fix ? "" : ":");
	if (bad & QCOW2_BAD_PLACE)
		qcow2_check_say(c->out,
				"%s offset=%" PRIx64 ": not where the external data file has guest "
				"offset %" PRIx64,
				found(c, false), host, x->off);
}

static void say_compressed(struct check *c, const struct entry *x, unsigned bad, bool fix)
{
	uint64_t host;
	uint32_t len;

	qcow2_compressed_place(c->q, x->desc, &host, &len);
	if (bad & QCOW2_BAD_COPIED)
		qcow2_check_say(c->out,
				"%s%s coffset=0x%" PRIx64
				": copied flag must never be set for compressed clusters",
				found(c, fix), fix ? "" : ":", host);
	if (bad & QCOW2_BAD_EXTERNAL)
		qcow2_check_say(c->out, "%s compressed cluster with data file, entry=0x%" PRIx64,
				found(c, fix), x->desc);
	if (bad & QCOW2_BAD_OUTSIDE)
		say_outside(c, fix, host, len);
	if (bad & QCOW2_BAD_BITMAP)
		qcow2_check_say(c->out,
				"%s compressed cluster with non-zero subcluster allocation bitmap, "
				"entry=0x%" PRIx64,
				found(c, fix), x->desc);
}

/* What takes the place of a bad entry. */
static void mend_entry(const struct qcow2 *q, struct entry *x, unsigned bad)
{
	uint64_t zero = q->v3 && !q->ext_l2 ? QCOW2_ZERO : 0;

	if (bad & QCOW2_NOWHERE) {
		/* What is behind the image must not show instead of lost data. */
		x->desc = zero;
		x->bitmap = q->ext_l2 ? (uint64_t)UINT32_MAX << 32 : 0;
		return;
	}
	if (x->desc & QCOW2_COMPRESSED) {
		x->desc &= ~QCOW2_COPIED;
		x->bitmap = 0;
		return;
	}
	x->desc &= QCOW2_OFFSET_MASK | QCOW2_COPIED | zero;
	if (bad & QCOW2_BAD_NO_PLACE)
		x->bitmap &= (uint64_t)UINT32_MAX << 32;
	else
		x->bitmap &= ~(x->bitmap << 32);
}

/* [co] Whether the COPIED flag is what the refcount of host says. */
static bool flag_right(struct check *c, uint64_t entry, uint64_t *refcount)
{
	uint64_t host = entry & QCOW2_OFFSET_MASK;
	struct qcow2 *q = c->q;

	*refcount = 0;
	if (host < q->node->file->size && qcow2_recorded(q, host >> q->cluster_bits, refcount))
		return true; /* said already */
	return !(entry & QCOW2_COPIED) == (*refcount != 1);
}

/* [co] Of a data cluster. What is zeroed has none. */
static void check_flag(struct check *c, struct entry *x)
{
	uint64_t refcount = 1;

	if (x->desc & QCOW2_COMPRESSED || !(x->desc & QCOW2_OFFSET_MASK))
		return;
	if (c->q->external ? x->desc & QCOW2_COPIED : flag_right(c, x->desc, &refcount))
		return;
	qcow2_check_say(c->out,
			"%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64,
			found(c, c->flags), x->desc, refcount);
	if (c->flags)
		x->desc = refcount == 1 ? x->desc | QCOW2_COPIED : x->desc & ~QCOW2_COPIED;
}

/* [co] True: x has been changed. may: it can be. */
static bool check_entry(struct check *c, struct entry *x, bool may)
{
	unsigned bad = qcow2_judge_l2(c->q, x->off, x->desc, x->bitmap);
	struct entry was = *x;
	bool fix = c->fix & BLK_FIX_ERRORS && may;

	if (bad && x->desc & QCOW2_COMPRESSED)
		say_compressed(c, x, bad, fix);
	else if (bad)
		say_standard(c, x, bad, fix);
	if (bad && fix)
		mend_entry(c->q, x, bad);
	if (x->off != UINT64_MAX)
		check_flag(c, x);
	return x->desc != was.desc || x->bitmap != was.bitmap;
}

/* [co] The table in c->table. True: changed. */
static bool check_table(struct check *c, uint64_t off, bool may)
{
	struct qcow2 *q = c->q;
	unsigned step = q->entry_size / 8;
	bool changed = false;

	for (uint32_t i = 0; i < q->l2_entries; i++) {
		struct be64 *e = &c->table[i * step];
		struct entry x = { .off = UINT64_MAX,
				   .desc = be64_to_cpu(e[0]),
				   .bitmap = step > 1 ? be64_to_cpu(e[1]) : 0 };

		if (off != UINT64_MAX)
			x.off = off + ((uint64_t)i << q->cluster_bits);
		if ((!x.desc && !x.bitmap) || !check_entry(c, &x, may))
			continue;
		changed = true;
		e[0] = cpu_to_be64(x.desc);
		if (step > 1)
			e[1] = cpu_to_be64(x.bitmap);
	}
	return changed;
}

/* Whether the cluster is an L2 table and nothing else. */
static bool table_only(const struct check *c, uint64_t cluster)
{
	return qcow2_count(&c->w.refs, cluster) == qcow2_count(&c->w.tables, cluster);
}

/* [co] c->table takes the place of L1's table i at host. */
static int write_active(struct check *c, uint64_t i, uint64_t host)
{
	struct qcow2 *q = c->q;
	uint64_t now;
	bool zero;
	int rc;

	if (table_only(c, host >> q->cluster_bits))
		return co_pwrite(q->node->file, host, c->table, q->cluster_size, 0);
	rc = qcow2_alloc(q, 1, true, &now, NULL, &zero);
	if (!rc)
		rc = co_pwrite(q->node->file, now, c->table, q->cluster_size, 0);
	if (rc)
		return rc;
	c->copied = true;
	qcow2_array_set(&q->l1, i, now | QCOW2_COPIED);
	return qcow2_free(q, host, q->cluster_size, false);
}

/* --- L1 entries --- */

/* [co] *entry as it shall be. whose: "L1" or of a snapshot. False: no table behind it. */
static bool check_l1_entry(struct check *c, uint64_t i, uint64_t *entry, bool active)
{
	uint64_t host = *entry & QCOW2_OFFSET_MASK, refcount = 1;
	unsigned bad = qcow2_judge_l1(c->q, *entry);
	bool fix = c->fix & BLK_FIX_ERRORS;

	if (bad & QCOW2_BAD_RESERVED)
		qcow2_check_say(c->out, "%s found L1 entry with reserved bits set: %" PRIx64,
				found(c, fix), *entry);
	if (bad & QCOW2_BAD_ALIGN)
		qcow2_check_say(c->out,
				"%s l2_offset=%" PRIx64
				": Table is not cluster aligned; L1 entry corrupted",
				found(c, fix), host);
	if (bad & QCOW2_BAD_OUTSIDE)
		say_outside(c, fix, host, c->q->cluster_size);
	if (bad && fix)
		*entry &= bad & QCOW2_NOWHERE || !host ? 0 : ~QCOW2_L1_RESERVED;
	if (active && *entry & QCOW2_OFFSET_MASK && !flag_right(c, *entry, &refcount)) {
		qcow2_check_say(c->out,
				"%s OFLAG_COPIED L2 cluster: l1_index=%" PRIu64 " l1_entry=%" PRIx64
				" refcount=%" PRIu64,
				found(c, c->flags), i, *entry, refcount);
		if (c->flags)
			*entry = refcount == 1 ? *entry | QCOW2_COPIED : *entry & ~QCOW2_COPIED;
	}
	return host && !(bad & QCOW2_NOWHERE);
}

/* [co] */
static int check_active(struct check *c)
{
	struct qcow2 *q = c->q;
	int rc = 0;

	for (uint64_t i = 0; !rc && i < q->l1.n; i++) {
		uint64_t was = qcow2_array_get(&q->l1, i), now = was, cluster;
		uint64_t host = was & QCOW2_OFFSET_MASK;
		bool table;

		if (!was)
			continue;
		table = check_l1_entry(c, i, &now, true);
		if (now != was)
			qcow2_array_set(&q->l1, i, now);
		cluster = host >> q->cluster_bits;
		if (!table || qcow2_count_flags(&c->w.tables, cluster) & QCOW2_MENDED)
			continue;
		rc = qcow2_count_add(&c->w.tables, cluster, 0, QCOW2_MENDED);
		if (rc || qcow2_read_table(q, host, c->table, q->cluster_size))
			continue; /* told already */
		if (check_table(c, i * q->l2_entries << q->cluster_bits, true))
			rc = write_active(c, i, host);
	}
	return rc;
}

/* [co] Tables of snapshots that the active L1 does not name. */
static int check_inactive(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t k = 0;
	int rc = 0;

	for (; !rc && (k = qcow2_counts_next(&c->w.tables, k)) != UINT64_MAX; k++) {
		uint64_t host = k << q->cluster_bits;

		if (qcow2_count_flags(&c->w.tables, k) & QCOW2_MENDED ||
		    qcow2_read_table(q, host, c->table, q->cluster_size))
			continue;
		if (check_table(c, UINT64_MAX, table_only(c, k)))
			rc = co_pwrite(q->node->file, host, c->table, q->cluster_size, 0);
	}
	return rc;
}

/* --- snapshots --- */

/* [co] Entries of a snapshot's L1 table, those changed written one by one. */
static int check_snapshot_l1(struct check *c, const struct qcow2_snapshot_entry *s)
{
	struct qcow2 *q = c->q;
	uint64_t host = be64_to_cpu(s->l1_offset), n = be32_to_cpu(s->l1_size);
	uint64_t in_table = q->cluster_size / 8;
	int rc = 0;

	for (uint64_t i = 0; !rc && i < n; i++) {
		uint64_t was, now;
		struct be64 e;

		if (i % in_table == 0 &&
		    qcow2_read_table(q, host + i * 8, c->table, q->cluster_size))
			return 0; /* told already */
		was = now = be64_to_cpu(c->table[i % in_table]);
		if (was)
			check_l1_entry(c, i, &now, false);
		e = cpu_to_be64(now);
		if (now != was)
			rc = co_pwrite(q->node->file, host + i * 8, &e, sizeof(e), 0);
	}
	return rc;
}

static void snapshot_name(struct check *c, const struct qcow2_snapshot_entry *s, uint64_t at,
			  char out[64])
{
	uint32_t id = be16_to_cpu(s->id_size), name = be16_to_cpu(s->name_size);
	char text[48] = "";

	at += sizeof(*s) + (uint64_t)be32_to_cpu(s->extra_size);
	id = id < 20 ? id : 20;
	name = name < 20 ? name : 20;
	qcow2_read_table(c->q, at, text, id);
	qcow2_read_table(c->q, at + be16_to_cpu(s->id_size), text + 24, name);
	for (unsigned i = 0; i < sizeof(text); i++) /* it goes to a terminal */
		if (text[i] && (text[i] < ' ' || text[i] > '~'))
			text[i] = '?';
	snprintf(out, 64, "%.20s (%.20s)", text, text + 24);
}

/* [co] Entry i of the snapshot table, which lies at `at`. */
static int check_snapshot(struct check *c, uint32_t i, uint64_t at, struct qcow2_snapshot_entry *s)
{
	unsigned bad = qcow2_judge_snapshot(c->q, s);
	bool fix = c->fix & BLK_FIX_ERRORS;
	char name[64];

	if (bad & QCOW2_BAD_SHORT)
		qcow2_check_say(c->out, "%s snapshot table entry %u is incomplete", found(c, false),
				i);
	if (!(bad & QCOW2_NOWHERE))
		return check_snapshot_l1(c, s);
	snapshot_name(c, s, at, name);
	if (bad & QCOW2_BAD_ALIGN)
		qcow2_check_say(c->out,
				"%s snapshot %s l1_offset=%#" PRIx64 ": L1 table is not cluster "
				"aligned; snapshot table entry corrupted",
				found(c, fix), name, be64_to_cpu(s->l1_offset));
	if (bad & QCOW2_BAD_SIZE)
		qcow2_check_say(c->out,
				"%s snapshot %s l1_size=%#x: L1 table is too large; snapshot "
				"table entry corrupted",
				found(c, fix), name, be32_to_cpu(s->l1_size));
	if (bad & QCOW2_BAD_OUTSIDE)
		say_outside(c, fix, be64_to_cpu(s->l1_offset), be32_to_cpu(s->l1_size) * 8ull);
	if (!fix)
		return 0;
	qcow2_check_say(c->out, "Repairing snapshot %s: its data cannot be found, it is empty now",
			name);
	s->l1_offset = cpu_to_be64(0);
	s->l1_size = cpu_to_be32(0);
	return co_pwrite(c->q->node->file, at, s, offsetof(struct qcow2_snapshot_entry, id_size),
			 0);
}

/* [co] */
static int check_snapshots(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t at = be64_to_cpu(q->hdr.snapshots_offset);
	int rc = 0;

	for (uint32_t i = 0; !rc && i < be32_to_cpu(q->hdr.nb_snapshots); i++) {
		struct qcow2_snapshot_entry s;
		uint64_t bytes;

		if (at >= q->node->file->size || qcow2_read_table(q, at, &s, sizeof(s)))
			return 0; /* told already */
		bytes = qcow2_snapshot_bytes(&s);
		rc = check_snapshot(c, i, at, &s);
		at += bytes;
	}
	return rc;
}

/* --- the snapshot table: entries that make what comes behind them unreadable --- */

/* [co] Behind all that is there, so that no refcount, right or wrong, matters. */
static int place_snapshots(struct qcow2 *q, const struct qcow2_snaps *t)
{
	uint64_t host = qcow2_clusters(q, q->node->file->size) << q->cluster_bits;
	void *table = qcow2_snaps_pack(t);
	int rc = table ? co_pwrite(q->node->file, host, table, t->bytes, 0) : -ENOMEM;

	free(table);
	if (!rc)
		q->hdr.snapshots_offset = cpu_to_be64(host);
	return rc ? rc : co_flush(q->node->file);
}

/* Entries of the table that can be read and have an end, of those that there are to be. */
static int readable_snapshots(struct check *c, struct qcow2_snaps *t, uint32_t *readable)
{
	uint32_t extra;
	struct err e;
	int rc = qcow2_snaps_load(c->q, t, &e);

	*readable = t->n;
	if (rc != -EINVAL)
		return rc;
	/* One whose L1 table is too large has an end, and is mended where it is. */
	extra = be32_to_cpu(t->s[t->n - 1].fixed.extra_size);
	if (extra <= QCOW2_SNAPSHOT_EXTRA_MAX &&
	    be32_to_cpu(t->s[t->n - 1].fixed.l1_size) > QCOW2_L1_MAX / 8)
		return rc;
	qcow2_snaps_remove(t, t->n - 1);
	*readable = t->n;
	return 0;
}

static bool incomplete(const struct qcow2 *q, const struct qcow2_snap *s)
{
	return q->v3 && be32_to_cpu(s->fixed.extra_size) < 16;
}

/* [co] */
static int mend_snapshots(struct check *c, struct qcow2_snaps *t, uint32_t readable)
{
	struct qcow2 *q = c->q;
	uint32_t all = be32_to_cpu(q->hdr.nb_snapshots), short_ones = 0;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < readable; i++) {
		if (!incomplete(q, &t->s[i]))
			continue;
		short_ones++;
		qcow2_check_say(c->out, "%s snapshot table entry %u is incomplete", found(c, true),
				i);
		rc = qcow2_snaps_complete(q, t, i);
	}
	for (uint32_t i = readable; i < all; i++)
		qcow2_check_say(c->out,
				"%s snapshot table entry %u reaches behind the end of the file, or "
				"cannot be told from others: it is dropped",
				found(c, true), i);
	if (!rc && short_ones)
		rc = place_snapshots(q, t);
	if (rc || (!short_ones && readable == all))
		return rc;
	q->hdr.nb_snapshots = cpu_to_be32(readable);
	if (!readable)
		q->hdr.snapshots_offset = cpu_to_be64(0);
	return qcow2_write_header(q, offsetof(struct qcow2_header, nb_snapshots),
				  offsetof(struct qcow2_header, incompatible_features));
}

/* [co] */
static int check_snapshot_table(struct check *c)
{
	struct qcow2_snaps t = { 0 };
	uint32_t readable;
	int rc;

	if (!(c->fix & BLK_FIX_ERRORS) || !c->q->hdr.nb_snapshots.raw)
		return 0;
	rc = readable_snapshots(c, &t, &readable);
	if (!rc)
		rc = mend_snapshots(c, &t, readable);
	else if (rc != -ENOMEM)
		rc = 0; /* it will be told */
	qcow2_snaps_free(&t);
	return rc;
}

/* --- bitmaps --- */

static bool stale_bitmaps(struct qcow2 *q)
{
	uint32_t len;

	return qcow2_ext_find(q, QCOW2_EXT_BITMAPS, &len) &&
	       !(be64_to_cpu(q->hdr.autoclear_features) & QCOW2_AUTOCLEAR_BITMAPS);
}

/*
 * [co] Bitmaps that are out of date hold clusters that nobody will use: leaks. Those whose
 * structure is broken cannot be read. The header forgets them before their clusters are freed.
 */
static int check_bitmaps(struct check *c)
{
	struct check scratch = { .w = { .zeroing = true }, .q = c->q };
	struct qcow2 *q = c->q;
	bool stale = stale_bitmaps(q), bad;
	int rc = qcow2_walk_init(&scratch.w, q, c->e);

	if (rc)
		return rc;
	rc = qcow2_walk_bitmaps(&scratch.w);
	bad = scratch.w.bad_bitmaps;
	qcow2_walk_free(&scratch.w);
	if (rc || !((bad && c->fix & BLK_FIX_ERRORS) || (stale && c->fix)))
		return rc;
	if (bad)
		qcow2_check_say(c->out, "%s %s: the image's bitmaps are given up", found(c, true),
				scratch.w.first);
	q->hdr.autoclear_features =
		cpu_to_be64(be64_to_cpu(q->hdr.autoclear_features) & ~QCOW2_AUTOCLEAR_BITMAPS);
	rc = qcow2_ext_set(q, QCOW2_EXT_BITMAPS, NULL, 0);
	return rc ? rc : qcow2_rewrite_header(q);
}

/* --- all of it --- */

/* [co] All that was mended, in order; durable. */
static int write_all(struct qcow2 *q)
{
	int rc = qcow2_write_back(q, true);

	while (!rc && (q->freed[0].n || q->freed[1].n))
		rc = qcow2_write_back(q, true);
	return rc ? rc : qcow2_write_refcounts(q);
}

/* [co] The tables again: what is wrong with their entries. */
static int check_entries(struct check *c)
{
	struct blk_check *out = c->out;
	int rc;

	/* A leak that has been freed often leaves a flag to be set; other damage needs -r all. */
	c->flags = c->fix & BLK_FIX_ERRORS ||
		   (c->fix & BLK_FIX_LEAKS && !out->corruptions && !out->leaks &&
		    !out->check_errors && !c->w.bad_entries && !c->w.bad_tables);
	c->table = malloc(c->q->cluster_size);
	rc = c->table ? check_active(c) : -ENOMEM;
	if (!rc)
		rc = check_inactive(c);
	if (!rc)
		rc = check_snapshots(c);
	free(c->table);
	return rc || !c->fix ? rc : write_all(c->q);
}

/* [co] Once through all. */
static int check_once(struct check *c)
{
	int rc = qcow2_walk_init(&c->w, c->q, c->e);

	c->copied = false;
	if (!rc)
		rc = qcow2_walk(&c->w);
	if (!rc)
		rc = qcow2_fix_refcounts(&c->w, c->fix, c->out, c->e);
	if (!rc && (c->w.bad_entries || c->w.bad_tables || c->w.bad_flags))
		rc = check_entries(c);
	/* Those that were only looked at come from the file when they are needed. */
	qcow2_cache_drop(&c->q->l2, 0, c->q->l2.n_slots);
	return rc;
}

/* [co] The image is sound: its header says so. */
static int clear_bits(struct qcow2 *q)
{
	uint64_t bits = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
	uint64_t in = be64_to_cpu(q->hdr.incompatible_features);

	if (!(in & bits))
		return 0;
	q->hdr.incompatible_features = cpu_to_be64(in & ~bits);
	q->dirty_mark = false;
	q->corrupt = false;
	return qcow2_write_header(q, offsetof(struct qcow2_header, incompatible_features),
				  offsetof(struct qcow2_header, compatible_features));
}

static void statistics(const struct check *c)
{
	struct blk_check *out = c->out;

	out->total_clusters = qcow2_clusters(c->q, c->q->node->size);
	out->allocated_clusters = c->w.allocated;
	out->fragmented_clusters = c->w.fragmented;
	out->compressed_clusters = c->w.compressed;
}

static void walk_again(struct check *c)
{
	qcow2_walk_free(&c->w);
	c->w = (struct qcow2_walk){ .zeroing = c->fix & BLK_FIX_ERRORS, .say = on_say, .ctx = c };
}

/* The file's last cluster is all there: as a table it is read whole. */
static void fill_up(struct qcow2 *q)
{
	uint64_t end = qcow2_clusters(q, q->node->file->size) << q->cluster_bits;
	struct err e;

	if (end != q->node->file->size)
		blk_node_truncate(q->node->file, end, &e); /* not a device, nor when it is full */
}

/* [co] */
static int check(void *arg)
{
	struct check *c = arg;
	int rc;

	if (c->fix & BLK_FIX_ERRORS)
		fill_up(c->q);
	rc = check_snapshot_table(c);
	if (!rc)
		rc = check_bitmaps(c);

	for (unsigned round = 0; !rc && round < ROUNDS; round++) {
		walk_again(c);
		rc = check_once(c);
		if (!c->copied)
			break;
	}
	if (rc)
		return rc;
	statistics(c);
	if (!c->fix || c->out->corruptions || c->out->check_errors)
		return 0;
	return clear_bits(c->q);
}

int qcow2_check(struct blk_node *n, unsigned fix, struct blk_check *out, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	struct check c = { .q = q, .out = out, .e = e, .fix = fix };
	int rc;

	if (fix && !q->writable)
		return err_set(e, ERR_INPUT, EROFS, "%s cannot be written", n->filename);
	*e->msg = '\0';
	rc = qcow2_run(q, check, &c);
	qcow2_walk_free(&c.w);
	if (rc && !*e->msg)
		err_set(e, ERR_INPUT, -rc, "%s: %s", n->filename, strerror(-rc));
	return rc;
}
