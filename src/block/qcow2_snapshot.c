/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: snapshots inside the image ("Snapshots" in the specification). A snapshot is an L1
 * table of its own; what both it and the disk refer to is counted twice and not
 * "copied". Each change is one switch (qcow2_switch.c): after a power cut the image is
 * as before or as afterwards.
 *
 * The memory of a saved machine lies behind the disk: see qcow2_vmstate.c.
 *
 * What the image tool and the monitor ask for: on the node's thread, with no request under way.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "qcow2.h"

/* An operation. */
struct op {
	struct qcow2 *q;
	struct err *e;
	const char *which; /* id or name */
	const struct blk_snapshot *info; /* of a new one */

	struct qcow2_snaps t;
	long at; /* in t */
	uint64_t old_table; /* bytes */
	bool new_table; /* it changes */
	struct qcow2_switch s;
	struct qcow2_array l1; /* the disk's new one */
	struct be64 *snap_l1;
	uint64_t snap_l1_n, snap_l1_host;
	uint64_t table_host;
	struct be64 *l2; /* a cluster */
};

static int fail(struct op *o, int rc, const char *what)
{
	if (o->e && *o->e->msg)
		return rc;
	err_set(o->e, rc == -ENOMEM ? ERR_HOST : ERR_INPUT, -rc, "%s: cannot %s: %s",
		o->q->node->filename, what, strerror(-rc));
	return rc;
}

static int run(struct op *o, int (*fn)(void *arg), const char *what)
{
	int rc;

	if (o->e)
		*o->e->msg = '\0';
	rc = qcow2_run(o->q, fn, o);
	qcow2_snaps_free(&o->t);
	free(o->snap_l1);
	free(o->l2);
	return rc ? fail(o, rc, what) : 0;
}

static int run_writing(struct op *o, int (*fn)(void *arg), const char *what)
{
	struct qcow2 *q = o->q;

	if (!q->writable)
		return err_set(o->e, ERR_INPUT, EROFS, "%s cannot be written", q->node->filename);
	if (q->external)
		return err_set(o->e, ERR_INPUT, ENOTSUP,
			       "%s: no snapshots are possible with an external data file",
			       q->node->filename);
	return run(o, fn, what);
}

static int out_of_range(struct op *o)
{
	err_set(o->e, ERR_INPUT, ERANGE,
		"%s: refcount_bits is %u: a cluster would have more references than such refcounts "
		"can say",
		o->q->node->filename, 1u << o->q->ref_order);
	err_hint(o->e, "copy it with wider ones: posada-img convert -O qcow2 -o refcount_bits=16");
	return -ERANGE;
}

/* --- walking through tables --- */

/* Refcounts that are about to be changed: neighbours together. */
struct walk {
	struct op *o;
	int delta;
	uint64_t first, n; /* clusters */
};

/* [co] */
static int walk_end(struct walk *w)
{
	struct qcow2 *q = w->o->q;
	int rc = w->n && w->delta ? qcow2_refcount_add(q, w->first, w->n, w->delta) : 0;

	if (!rc && w->n && w->delta < 0)
		qcow2_switch_discard(&w->o->s, w->first << q->cluster_bits,
				     w->n << q->cluster_bits);
	w->n = 0;
	return rc == -ERANGE ? out_of_range(w->o) : rc;
}

/* [co] */
static int walk_add(struct walk *w, uint64_t cluster, uint64_t n)
{
	int rc = w->n && w->first + w->n != cluster ? walk_end(w) : 0;

	if (!w->n)
		w->first = cluster;
	w->n += n;
	return rc;
}

static int bad_entry(struct op *o, const char *what, uint64_t i, uint64_t entry)
{
	err_set(o->e, ERR_INPUT, EIO,
		"%s: the %s %" PRIu64 " is %#" PRIx64 ": not a cluster of the file",
		o->q->node->filename, what, i, entry);
	err_hint(o->e, "posada-img check -r all %s", o->q->node->filename);
	return -EIO;
}

static bool in_file(const struct qcow2 *q, uint64_t host)
{
	return host >= q->cluster_size && host < q->node->file->size;
}

/* [co] What the L2 table in o->l2 refers to; i: its L1 entry. */
static int walk_table(struct walk *w, uint64_t i)
{
	struct op *o = w->o;
	struct qcow2 *q = o->q;
	unsigned words = q->entry_size / 8;
	int rc = 0;

	for (uint32_t k = 0; !rc && k < q->l2_entries; k++) {
		uint64_t desc = be64_to_cpu(o->l2[k * words]), host = desc & QCOW2_OFFSET_MASK;
		uint32_t len = (uint32_t)q->cluster_size;

		if (desc & QCOW2_COMPRESSED)
			qcow2_compressed_place(q, desc, &host, &len);
		else if (!host)
			continue;
		if (!in_file(q, host) ||
		    (!(desc & QCOW2_COMPRESSED) && host & (q->cluster_size - 1)))
			return bad_entry(o, "L2 entry of guest cluster", i * q->l2_entries + k,
					 desc);
		rc = walk_add(w, host >> q->cluster_bits,
			      ((host + len - 1) >> q->cluster_bits) - (host >> q->cluster_bits) +
				      1);
	}
	return rc;
}

/* [co] The table that L1 entry i says, in o->l2. */
static int read_l2(struct op *o, uint64_t i, uint64_t entry)
{
	struct qcow2 *q = o->q;
	uint64_t host = entry & QCOW2_OFFSET_MASK;

	if (entry & QCOW2_L1_RESERVED || host & (q->cluster_size - 1) || !in_file(q, host))
		return bad_entry(o, "L1 entry", i, entry);
	return co_pread(q->node->file, host, o->l2, q->cluster_size);
}

/* Clears the flags "copied" in o->l2; whether any was set. */
static bool clear_copied(struct op *o)
{
	unsigned words = o->q->entry_size / 8;
	bool any = false;

	for (uint32_t k = 0; k < o->q->l2_entries; k++) {
		uint64_t desc = be64_to_cpu(o->l2[k * words]);

		if (!(desc & QCOW2_COPIED))
			continue;
		o->l2[k * words] = cpu_to_be64(desc & ~QCOW2_COPIED);
		any = true;
	}
	return any;
}

/* [co] All that L1 entry i refers to is one reference less. */
static int drop_entry(struct walk *w, uint64_t i, uint64_t entry)
{
	uint64_t host = entry & QCOW2_OFFSET_MASK;
	int rc;

	if (!host)
		return 0;
	rc = read_l2(w->o, i, entry);
	if (!rc)
		rc = walk_table(w, i);
	return rc ? rc : walk_add(w, host >> w->o->q->cluster_bits, 1);
}

/* [co] The L2 table in o->l2, in a place of its own. */
static int move_l2(struct op *o, uint64_t *host)
{
	*host = qcow2_switch_take(&o->s);
	if (!*host)
		return -EIO; /* the file has changed under us */
	return qcow2_switch_write(&o->s, *host, o->l2, o->q->cluster_size);
}

/* --- what all changes begin and end with --- */

/* [co] The table, and the snapshot that is meant, if one is. */
static int load_table(struct op *o)
{
	int rc = qcow2_snaps_load(o->q, &o->t, o->e);

	o->old_table = o->t.bytes;
	o->l2 = malloc(o->q->cluster_size);
	if (!rc && !o->l2)
		return -ENOMEM;
	if (rc || !o->which)
		return rc;
	o->at = qcow2_snaps_find(&o->t, o->which);
	return o->at >= 0 ? 0
			  : err_set(o->e, ERR_INPUT, ENOENT, "%s has no snapshot '%s'",
				    o->q->node->filename, o->which);
}

/* [co] o->snap_l1 as in the file. */
static int load_snap_l1(struct op *o)
{
	struct qcow2 *q = o->q;
	const struct qcow2_snap *s = &o->t.s[o->at];
	uint64_t host = be64_to_cpu(s->fixed.l1_offset), n = be32_to_cpu(s->fixed.l1_size);
	uint64_t size = q->node->file->size, bytes = n * 8;

	o->snap_l1 = calloc(n + 1, 8);
	o->snap_l1_n = n;
	o->snap_l1_host = host;
	if (!o->snap_l1)
		return -ENOMEM;
	if (!n)
		return 0;
	if (!in_file(q, host) || host & (q->cluster_size - 1))
		return bad_entry(o, "l1_table_offset of snapshot table entry", (uint64_t)o->at,
				 host);
	if (bytes > size - host)
		bytes = size - host;
	return co_pread(q->node->file, host, o->snap_l1, bytes);
}

/* [co] Room for the disk's new L1 table and, if it changes, the table of snapshots. */
static int take_room(struct op *o, uint64_t l1_n)
{
	struct qcow2 *q = o->q;
	uint64_t bytes = l1_n * 8, sectors = bytes / 512 + 1;
	int rc;

	o->l1 = (struct qcow2_array){ .n = l1_n };
	o->l1.entry = calloc(sectors, 512);
	o->l1.changed = calloc(sectors, 1);
	rc = o->l1.entry && o->l1.changed ? 0 : -ENOMEM;
	if (!rc)
		rc = qcow2_cache_grow(&q->l2, l1_n * (q->cluster_size / q->l2.unit));
	if (!rc)
		rc = qcow2_switch_alloc(&o->s, bytes, &o->l1.host);
	if (!rc && o->new_table)
		rc = qcow2_switch_alloc(&o->s, o->t.bytes, &o->table_host);
	return rc;
}

/* [co] The new tables are written, and the header says so. */
static int commit(struct op *o, uint64_t size)
{
	struct qcow2 *q = o->q;
	struct qcow2_header h = q->hdr;
	int rc = 0;

	if (o->l1.n)
		rc = qcow2_switch_write(&o->s, o->l1.host, o->l1.entry, o->l1.n * 8);
	if (!rc)
		rc = qcow2_switch_drop(&o->s, q->l1.host, q->l1.n * 8);
	if (!rc && o->new_table) {
		void *table = qcow2_snaps_pack(&o->t);

		rc = table ? qcow2_switch_write(&o->s, o->table_host, table, o->t.bytes) : -ENOMEM;
		free(table);
		if (!rc)
			rc = qcow2_switch_drop(&o->s, be64_to_cpu(h.snapshots_offset),
					       o->old_table);
		h.nb_snapshots = cpu_to_be32(o->t.n);
		h.snapshots_offset = cpu_to_be64(o->table_host);
	}
	if (rc)
		return rc;
	h.size = cpu_to_be64(size);
	h.l1_size = cpu_to_be32((uint32_t)o->l1.n);
	h.l1_table_offset = cpu_to_be64(o->l1.host);
	return qcow2_switch_commit(&o->s, &h);
}

/* [co] Memory follows what the file has now, or has still. */
static int end(struct op *o, int rc)
{
	struct qcow2 *q = o->q;
	struct qcow2_array unused = o->l1;

	if (!rc) {
		unused = q->l1;
		q->l1 = o->l1;
		q->node->size = be64_to_cpu(q->hdr.size) & ~511ull;
		qcow2_cache_drop(&q->l2, 0, q->l2.n_slots);
	}
	qcow2_array_free(&unused);
	qcow2_switch_end(&o->s);
	return rc;
}

/* --- create --- */

/*
 * [co] An L2 table of the disk, which is the snapshot's as well from now on (or instead, when
 * delta is 0): refcounts go up, and nothing in it is "copied" any more. *entry: of both L1 tables.
 */
static int share_entry(struct walk *w, uint64_t i, uint64_t *entry)
{
	struct op *o = w->o;
	uint64_t host = *entry & QCOW2_OFFSET_MASK, now = host;
	bool own = *entry & QCOW2_COPIED;
	int rc;

	if (!host)
		return 0;
	rc = read_l2(o, i, *entry);
	if (!rc)
		rc = walk_table(w, i);
	if (!rc && clear_copied(o)) {
		/* Of a table that is not the disk's alone nothing is. */
		rc = own ? move_l2(o, &now) : bad_entry(o, "flag 'copied' of L1 entry", i, *entry);
		if (!rc)
			rc = qcow2_switch_drop(&o->s, host, o->q->cluster_size);
	}
	*entry = now;
	return rc ? rc : walk_add(w, now >> o->q->cluster_bits, 1);
}

/* [co] */
static int share_all(struct op *o, uint64_t disk)
{
	struct qcow2 *q = o->q;
	struct walk w = { .o = o, .delta = 1 };
	int rc = 0;

	for (uint64_t i = 0; !rc && i < q->l1.n; i++) {
		uint64_t entry = qcow2_array_get(&q->l1, i);

		if (i == disk) {
			rc = walk_end(&w);
			w.delta = o->snap_l1_n > disk ? 0 : -1;
		}
		if (!rc && w.delta < 0)
			rc = drop_entry(&w, i, entry);
		else if (!rc)
			rc = share_entry(&w, i, &entry);
		if (i < disk)
			o->l1.entry[i] = cpu_to_be64(entry);
		if (i < o->snap_l1_n)
			o->snap_l1[i] = cpu_to_be64(entry);
	}
	return rc ? rc : walk_end(&w);
}

/* Tables that may have to be moved, and the size of the snapshot's L1 table. */
static int plan_create(struct op *o, uint64_t disk, uint64_t *tables)
{
	struct qcow2 *q = o->q;
	uint64_t span = q->cluster_size * q->l2_entries, vm = o->info->vm_state_size;
	bool any = false;

	o->snap_l1_n = disk + vm / span + !!(vm % span);
	if (vm / span >= QCOW2_L1_MAX / 8 || o->snap_l1_n > q->l1.n)
		return err_set(o->e, ERR_USAGE, EINVAL,
			       "%s: vm_state_size is %" PRIu64 ": more than has been written",
			       q->node->filename, vm);
	*tables = 0;
	for (uint64_t i = 0; i < o->snap_l1_n; i++) {
		any |= i < disk && qcow2_array_get(&q->l1, i);
		*tables += !!(qcow2_array_get(&q->l1, i) & QCOW2_COPIED);
	}
	if (any && q->ref_max == 1)
		return out_of_range(o);
	if (vm)
		o->snap_l1_n = q->l1.n;
	o->snap_l1 = calloc(o->snap_l1_n + 1, 8);
	return o->snap_l1 ? 0 : -ENOMEM;
}

/* [co] */
static int create_in_switch(struct op *o, uint64_t disk, uint64_t tables)
{
	struct qcow2_snapshot_entry *fixed = &o->t.s[o->t.n - 1].fixed;
	int rc = take_room(o, disk);

	if (!rc)
		rc = qcow2_switch_alloc(&o->s, o->snap_l1_n * 8, &o->snap_l1_host);
	if (!rc)
		rc = qcow2_switch_fill(&o->s, tables);
	if (!rc)
		rc = qcow2_switch_fork(&o->s);
	if (!rc)
		rc = share_all(o, disk);
	if (!rc)
		rc = qcow2_switch_write(&o->s, o->snap_l1_host, o->snap_l1, o->snap_l1_n * 8);
	fixed->l1_offset = cpu_to_be64(o->snap_l1_host);
	fixed->l1_size = cpu_to_be32((uint32_t)o->snap_l1_n);
	return rc ? rc : commit(o, be64_to_cpu(o->q->hdr.size));
}

static int create(void *arg)
{
	struct op *o = arg;
	uint64_t disk = qcow2_disk_entries(o->q), tables = 0;
	int rc = load_table(o);

	if (!rc)
		rc = qcow2_snaps_add(o->q, &o->t, o->info, o->e);
	if (!rc)
		rc = plan_create(o, disk, &tables);
	if (rc)
		return rc;
	rc = qcow2_switch_begin(&o->s, o->q);
	if (!rc)
		rc = create_in_switch(o, disk, tables);
	return end(o, rc);
}

int qcow2_snap_save(struct blk_node *n, const struct blk_snapshot *info, struct err *e)
{
	struct op o = { .q = qcow2_of(n), .e = e, .info = info, .new_table = true };

	return run_writing(&o, create, "make a snapshot");
}

int qcow2_snap_create(struct blk_node *n, const char *name, struct err *e)
{
	struct blk_snapshot info = { .name = (char *)(uintptr_t)name, .have_icount = true };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	info.date_s = (uint64_t)now.tv_sec;
	info.date_ns = (uint32_t)now.tv_nsec;
	return qcow2_snap_save(n, &info, e);
}

/* --- apply --- */

/* [co] Tables of the snapshot that say "copied" somewhere, as those that a disk had may. */
static int plan_apply(struct op *o, uint64_t *tables)
{
	int rc = 0;

	*tables = 0;
	for (uint64_t i = 0; !rc && i < o->snap_l1_n; i++) {
		uint64_t entry = be64_to_cpu(o->snap_l1[i]);

		if (!(entry & QCOW2_OFFSET_MASK))
			continue;
		rc = read_l2(o, i, entry);
		if (!rc && clear_copied(o))
			++*tables;
	}
	return rc;
}

/* [co] */
static int drop_disk(struct op *o)
{
	struct walk w = { .o = o, .delta = -1 };
	int rc = 0;

	for (uint64_t i = 0; !rc && i < o->q->l1.n; i++)
		rc = drop_entry(&w, i, qcow2_array_get(&o->q->l1, i));
	return rc ? rc : walk_end(&w);
}

/* [co] The snapshot's tables are the disk's, too. */
static int adopt(struct op *o)
{
	struct qcow2 *q = o->q;
	struct walk w = { .o = o, .delta = 1 };
	int rc = 0;

	for (uint64_t i = 0; !rc && i < o->snap_l1_n; i++) {
		uint64_t entry = be64_to_cpu(o->snap_l1[i]), host = entry & QCOW2_OFFSET_MASK;

		if (!host)
			continue;
		rc = read_l2(o, i, entry);
		if (!rc)
			rc = walk_table(&w, i);
		if (rc)
			break;
		if (clear_copied(o)) {
			rc = move_l2(o, &host);
			host |= QCOW2_COPIED;
		} else {
			rc = walk_add(&w, host >> q->cluster_bits, 1);
		}
		o->l1.entry[i] = cpu_to_be64(host);
	}
	return rc ? rc : walk_end(&w);
}

/* [co] */
static int apply_in_switch(struct op *o, uint64_t size, uint64_t l1_n)
{
	uint64_t tables;
	int rc = plan_apply(o, &tables);

	if (!rc)
		rc = take_room(o, l1_n);
	if (!rc)
		rc = qcow2_switch_fill(&o->s, tables);
	if (!rc)
		rc = qcow2_switch_fork(&o->s);
	/* First down, so that refcounts never are higher than in the end. */
	if (!rc)
		rc = drop_disk(o);
	if (!rc)
		rc = adopt(o);
	return rc ? rc : commit(o, size);
}

static int apply(void *arg)
{
	struct op *o = arg;
	struct qcow2 *q = o->q;
	uint64_t size, l1_n;
	int rc = load_table(o);

	if (!rc)
		rc = load_snap_l1(o);
	if (rc)
		return rc;
	size = qcow2_snap_disk_size(q, &o->t.s[o->at]);
	l1_n = qcow2_l1_entries(q->cluster_bits, q->ext_l2, size);
	if (size > INT64_MAX || l1_n > QCOW2_L1_MAX / 8)
		return err_set(o->e, ERR_INPUT, EFBIG,
			       "%s: qcow2 snapshot table, entry %ld: disk_size is %" PRIu64
			       ": too large",
			       q->node->filename, o->at, size);
	if (size != q->node->size && q->bitmaps.n) {
		err_set(o->e, ERR_USAGE, EBUSY,
			"%s: snapshot '%s' has a disk of %" PRIu64
			" bytes, and the image has bitmaps for one of %" PRIu64,
			q->node->filename, o->which, size, q->node->size);
		err_hint(o->e, "remove the bitmaps: posada-img bitmap --remove IMAGE NAME");
		return -EBUSY;
	}
	/* Any part of the disk may show other data from here on. */
	qcow2_bitmaps_touch(q, 0, size);
	rc = qcow2_switch_begin(&o->s, q);
	if (!rc)
		rc = apply_in_switch(o, size, l1_n > o->snap_l1_n ? l1_n : o->snap_l1_n);
	return end(o, rc);
}

int qcow2_snap_apply(struct blk_node *n, const char *id_or_name, struct err *e)
{
	struct op o = { .q = qcow2_of(n), .e = e, .which = id_or_name };

	return run_writing(&o, apply, "apply the snapshot");
}

/* --- delete --- */

/* [co] Flags "copied" of o->l2 for what has one reference now; whether any was set. */
static int set_copied(struct op *o, bool *any)
{
	struct qcow2 *q = o->q;
	unsigned words = q->entry_size / 8;

	*any = false;
	for (uint32_t k = 0; k < q->l2_entries; k++) {
		uint64_t desc = be64_to_cpu(o->l2[k * words]), host = desc & QCOW2_OFFSET_MASK, n;
		int rc;

		if (desc & (QCOW2_COMPRESSED | QCOW2_COPIED) || !host)
			continue;
		rc = qcow2_refcount(q, host >> q->cluster_bits, &n);
		if (rc)
			return rc;
		if (n != 1)
			continue;
		o->l2[k * words] = cpu_to_be64(desc | QCOW2_COPIED);
		*any = true;
	}
	return 0;
}

/* [co] The disk's L1 entry i, when what the snapshot's referred to is its own again. */
static int own_entry(struct op *o, uint64_t i, uint64_t *entry)
{
	uint64_t host = *entry & QCOW2_OFFSET_MASK, now = host, n = 0;
	bool any;
	int rc = read_l2(o, i, *entry);

	if (!rc)
		rc = qcow2_refcount(o->q, host >> o->q->cluster_bits, &n);
	if (rc || n != 1)
		return rc;
	rc = set_copied(o, &any);
	if (!rc && any) {
		rc = move_l2(o, &now);
		if (!rc)
			rc = qcow2_switch_drop(&o->s, host, o->q->cluster_size);
	}
	*entry = now | QCOW2_COPIED;
	return rc;
}

/* Whether the snapshot and the disk may have something in common in L1 entry i. */
static bool both_have(const struct op *o, uint64_t i)
{
	return i < o->snap_l1_n && be64_to_cpu(o->snap_l1[i]) & QCOW2_OFFSET_MASK &&
	       qcow2_array_get(&o->q->l1, i) & QCOW2_OFFSET_MASK;
}

/* [co] */
static int drop_snapshot(struct op *o)
{
	struct walk w = { .o = o, .delta = -1 };
	int rc = 0;

	for (uint64_t i = 0; !rc && i < o->snap_l1_n; i++)
		rc = drop_entry(&w, i, be64_to_cpu(o->snap_l1[i]));
	if (!rc)
		rc = walk_end(&w);
	for (uint64_t i = 0; !rc && i < o->q->l1.n; i++) {
		uint64_t entry = qcow2_array_get(&o->q->l1, i);

		if (both_have(o, i))
			rc = own_entry(o, i, &entry);
		o->l1.entry[i] = cpu_to_be64(entry);
	}
	return rc ? rc : qcow2_switch_drop(&o->s, o->snap_l1_host, o->snap_l1_n * 8);
}

/* [co] */
static int remove_in_switch(struct op *o)
{
	uint64_t tables = 0;
	int rc = take_room(o, o->q->l1.n);

	for (uint64_t i = 0; i < o->snap_l1_n; i++)
		tables += both_have(o, i);
	if (!rc)
		rc = qcow2_switch_fill(&o->s, tables);
	if (!rc)
		rc = qcow2_switch_fork(&o->s);
	if (!rc)
		rc = drop_snapshot(o);
	return rc ? rc : commit(o, be64_to_cpu(o->q->hdr.size));
}

static int remove_one(void *arg)
{
	struct op *o = arg;
	int rc = load_table(o);

	if (!rc)
		rc = load_snap_l1(o);
	if (rc)
		return rc;
	qcow2_snaps_remove(&o->t, o->at);
	rc = qcow2_switch_begin(&o->s, o->q);
	if (!rc)
		rc = remove_in_switch(o);
	return end(o, rc);
}

int qcow2_snap_delete(struct blk_node *n, const char *id_or_name, struct err *e)
{
	struct op o = { .q = qcow2_of(n), .e = e, .which = id_or_name, .new_table = true };

	return run_writing(&o, remove_one, "delete the snapshot");
}

/* --- reading one --- */

static int load(void *arg)
{
	struct op *o = arg;
	struct qcow2 *q = o->q;
	uint64_t size;
	uint8_t *changed;
	int rc = load_table(o);

	if (!rc)
		rc = load_snap_l1(o);
	if (rc)
		return rc;
	size = qcow2_snap_disk_size(q, &o->t.s[o->at]);
	if (size > INT64_MAX)
		return err_set(o->e, ERR_INPUT, EFBIG,
			       "%s: qcow2 snapshot table, entry %ld: disk_size is %" PRIu64
			       ": too large",
			       q->node->filename, o->at, size);
	changed = calloc(o->snap_l1_n * 8 / 512 + 1, 1);
	if (!changed || qcow2_cache_grow(&q->l2, o->snap_l1_n * (q->cluster_size / q->l2.unit))) {
		free(changed);
		return -ENOMEM;
	}
	qcow2_cache_drop(&q->l2, 0, q->l2.n_slots);
	qcow2_array_free(&q->l1);
	q->l1 = (struct qcow2_array){
		.entry = o->snap_l1, .n = o->snap_l1_n, .host = o->snap_l1_host, .changed = changed
	};
	o->snap_l1 = NULL;
	q->hdr.size = cpu_to_be64(size);
	q->node->size = size & ~511ull;
	return 0;
}

int qcow2_snap_load(struct blk_node *n, const char *id_or_name, struct err *e)
{
	struct op o = { .q = qcow2_of(n), .e = e, .which = id_or_name };

	if (o.q->writable)
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s is open for writing: a snapshot can only be read", n->filename);
	return run(&o, load, "read the snapshot");
}
