/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: changing much at once. A snapshot changes refcounts of all that the disk has, and
 * with them the "copied" flags in L1 and L2 tables; no order of writes in place
 * keeps the two in step at any moment. So what changes is written elsewhere: refcount blocks and
 * their table, L2 tables, L1, the snapshot table. All of these hang on fields of the header
 * that lie in its first sector, and that one sector makes the new ones the image's.
 *
 * - Clusters for the new tables are taken as ever, and that is on disk before the fork:
 *   a power cut leaks them.
 * - The fork copies all refcounts. Memory speaks of the copy from then on, and its write-back
 *   reaches what nothing refers to yet.
 * - After an error what memory has is dropped, and the old refcounts, still in the file, are
 *   taken up again.
 *
 * The node's thread, in a coroutine; nothing else is under way.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "qcow2.h"

enum {
	WRITE_ROOM = 256 << 10,
	DROPPED_MOST = 1 << 16, /* runs: others are free, but no holes */
};

/* --- runs of clusters --- */

static int add_run(struct qcow2_freed_list *l, uint64_t host, uint64_t len)
{
	struct qcow2_freed *last = l->n ? &l->item[l->n - 1] : NULL;

	if (!len)
		return 0;
	if (last && last->host + last->len == host) {
		last->len += len;
		return 0;
	}
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		struct qcow2_freed *item = realloc(l->item, room * sizeof(*item));

		if (!item)
			return -ENOMEM;
		l->item = item;
		l->room = room;
	}
	l->item[l->n++] = (struct qcow2_freed){ .host = host, .len = len };
	return 0;
}

static uint64_t whole(const struct qcow2 *q, uint64_t bytes)
{
	return qcow2_clusters(q, bytes) << q->cluster_bits;
}

int qcow2_switch_drop(struct qcow2_switch *s, uint64_t host, uint64_t len)
{
	return add_run(&s->old, host, whole(s->q, len));
}

void qcow2_switch_discard(struct qcow2_switch *s, uint64_t host, uint64_t len)
{
	if (s->dropped.n < DROPPED_MOST)
		(void)add_run(&s->dropped, host, len);
}

/* --- before the fork --- */

/* [co] */
static int settle(struct qcow2 *q)
{
	int rc = qcow2_write_back(q, true);

	/* Each gives back what the one before has made sure of. */
	for (unsigned i = 0; !rc && (q->freed[0].n || q->freed[1].n); i++)
		rc = i < 8 ? qcow2_write_back(q, true) : -EBUSY;
	return rc ? rc : qcow2_write_refcounts(q);
}

int qcow2_switch_begin(struct qcow2_switch *s, struct qcow2 *q)
{
	int rc;

	*s = (struct qcow2_switch){ .q = q };
	s->room = q->cluster_size > WRITE_ROOM ? q->cluster_size : WRITE_ROOM;
	if (posix_memalign((void **)&s->buf, 4096, s->room)) {
		s->buf = NULL;
		return -ENOMEM;
	}
	rc = qcow2_begin_write(q);
	return rc ? rc : settle(q);
}

/* [co] Clusters, as many as asked for or, unless exact, some. */
static int take(struct qcow2_switch *s, uint64_t n, bool exact, uint64_t *host, uint64_t *got)
{
	struct qcow2 *q = s->q;
	bool zero;
	int rc = qcow2_alloc(q, n, exact, host, got, &zero);

	if (rc)
		return rc;
	if (qcow2_is_metadata(q, *host, *got << q->cluster_bits))
		return qcow2_corrupt(q, "%#" PRIx64 " is free and holds metadata", *host);
	rc = add_run(&s->fresh, *host, *got << q->cluster_bits);
	if (rc)
		qcow2_refcount_add(q, *host >> q->cluster_bits, *got, -1);
	return rc;
}

int qcow2_switch_alloc(struct qcow2_switch *s, uint64_t bytes, uint64_t *host)
{
	uint64_t got;

	*host = 0;
	return bytes ? take(s, qcow2_clusters(s->q, bytes), true, host, &got) : 0;
}

int qcow2_switch_fill(struct qcow2_switch *s, uint64_t n)
{
	uint64_t host, got;
	int rc = 0;

	for (; !rc && n; n -= got) {
		rc = take(s, n, false, &host, &got);
		if (!rc)
			rc = add_run(&s->pool.runs, host, got << s->q->cluster_bits);
		if (rc)
			break;
	}
	return rc;
}

uint64_t qcow2_switch_take(struct qcow2_switch *s)
{
	struct qcow2_pool *p = &s->pool;
	uint64_t host;

	if (p->run >= p->runs.n)
		return 0;
	host = p->runs.item[p->run].host + p->used;
	p->used += s->q->cluster_size;
	if (p->used == p->runs.item[p->run].len) {
		p->run++;
		p->used = 0;
	}
	return host;
}

/* --- writing --- */

/* [co] */
static int write_out(struct qcow2_switch *s)
{
	size_t len = s->len;

	s->len = 0;
	return len ? co_pwrite(s->q->node->file, s->at, s->buf, len, 0) : 0;
}

int qcow2_switch_write(struct qcow2_switch *s, uint64_t host, const void *data, size_t len)
{
	int rc = 0;

	if (s->len && (s->at + s->len != host || s->len + len > s->room))
		rc = write_out(s);
	if (rc)
		return rc;
	if (len > s->room)
		return co_pwrite(s->q->node->file, host, data, len, 0);
	if (!s->len)
		s->at = host;
	memcpy(s->buf + s->len, data, len);
	s->len += len;
	return 0;
}

/* --- the fork --- */

/* Where copies go. */
struct places {
	uint64_t n; /* entries of the refcount table */
	uint64_t *block; /* by entry; 0: there is none */
	uint64_t table;
	uint64_t table_n; /* entries that there is room for at table */
};

/* Blocks without a place, in *missing; more entries when the table has grown. */
static int count_missing(struct qcow2 *q, struct places *p, uint64_t *missing)
{
	if (p->n < q->reftable.n) {
		uint64_t *block = realloc(p->block, q->reftable.n * sizeof(*block));

		if (!block)
			return -ENOMEM;
		memset(block + p->n, 0, (q->reftable.n - p->n) * sizeof(*block));
		p->block = block;
		p->n = q->reftable.n;
	}
	*missing = 0;
	for (uint64_t i = 0; i < p->n; i++)
		*missing += qcow2_array_get(&q->reftable, i) && !p->block[i];
	return 0;
}

/* [co] */
static int find_blocks(struct qcow2_switch *s, struct places *p, uint64_t missing)
{
	struct qcow2 *q = s->q;
	uint64_t host, got;
	int rc = take(s, missing, false, &host, &got);

	for (uint64_t i = 0; !rc && got && i < p->n; i++) {
		if (!qcow2_array_get(&q->reftable, i) || p->block[i])
			continue;
		p->block[i] = host;
		host += q->cluster_size;
		got--;
	}
	return rc;
}

/* [co] Taking clusters may take new blocks and a larger table: until there is room for all. */
static int find_places(struct qcow2_switch *s, struct places *p)
{
	struct qcow2 *q = s->q;
	uint64_t missing = 0, n;
	int rc;

	for (;;) {
		rc = count_missing(q, p, &missing);
		if (rc || (!missing && p->table_n == q->reftable.n))
			return rc;
		if (missing) {
			rc = find_blocks(s, p, missing);
		} else {
			rc = p->table_n ? qcow2_switch_drop(s, p->table, p->table_n * 8) : 0;
			n = q->reftable.n;
			if (!rc)
				rc = qcow2_switch_alloc(s, n * 8, &p->table);
			p->table_n = n;
		}
		if (rc)
			return rc;
	}
}

/* [co] What the file has, which is what memory has. */
static int copy_blocks(struct qcow2_switch *s, const struct places *p)
{
	struct qcow2 *q = s->q;
	void *buf;
	int rc = 0;

	if (posix_memalign(&buf, 4096, q->cluster_size))
		return -ENOMEM;
	for (uint64_t i = 0; !rc && i < p->n; i++) {
		uint64_t host = qcow2_array_get(&q->reftable, i) & ~QCOW2_REFT_RESERVED;

		if (!p->block[i])
			continue;
		if (host & (q->cluster_size - 1) || host >= q->node->file->size)
			rc = qcow2_corrupt(q,
					   "refcount table entry %" PRIu64 ": %#" PRIx64
					   " is not a cluster of the file",
					   i, host);
		if (!rc)
			rc = co_pread(q->node->file, host, buf, q->cluster_size);
		if (!rc)
			rc = qcow2_switch_write(s, p->block[i], buf, q->cluster_size);
		if (!rc)
			rc = qcow2_switch_drop(s, host, q->cluster_size);
	}
	free(buf);
	return rc ? rc : write_out(s);
}

/* Memory speaks of the copies from now on. */
static int use_copies(struct qcow2_switch *s, const struct places *p)
{
	struct qcow2 *q = s->q;
	uint64_t parts = q->cluster_size / q->refs.unit, sectors = p->n * 8 / 512;
	struct qcow2_array a = { .n = p->n, .host = p->table, .end_changed = sectors };

	a.entry = calloc(p->n, sizeof(a.entry[0]));
	a.changed = malloc(sectors);
	if (!a.entry || !a.changed) {
		free(a.entry);
		free(a.changed);
		return -ENOMEM;
	}
	memset(a.changed, 1, sectors);
	for (uint64_t i = 0; i < p->n; i++)
		a.entry[i] = cpu_to_be64(p->block[i]);
	for (unsigned i = 0; i < q->refs.n; i++) {
		struct qcow2_table *t = q->refs.ring[i];

		t->host = p->block[t->slot / parts] + t->slot % parts * q->refs.unit;
	}
	s->before = q->reftable;
	q->reftable = a;
	s->forked = true;
	return 0;
}

int qcow2_switch_fork(struct qcow2_switch *s)
{
	struct qcow2 *q = s->q;
	struct places p = { 0 };
	int rc = find_places(s, &p);

	if (!rc)
		rc = qcow2_write_refcounts(q);
	if (!rc)
		rc = qcow2_switch_drop(s, q->reftable.host, q->reftable.n * 8);
	if (!rc)
		rc = copy_blocks(s, &p);
	if (!rc)
		rc = use_copies(s, &p);
	free(p.block);
	return rc;
}

/* --- the end --- */

int qcow2_switch_commit(struct qcow2_switch *s, const struct qcow2_header *now)
{
	struct qcow2 *q = s->q;
	struct qcow2_header was = q->hdr;
	size_t from = offsetof(struct qcow2_header, size);
	size_t end = offsetof(struct qcow2_header, snapshots_offset) + sizeof(was.snapshots_offset);
	int rc = write_out(s);

	_Static_assert(offsetof(struct qcow2_header, snapshots_offset) < 512, "in one sector");
	if (!rc)
		rc = qcow2_write_refcounts(q);
	if (rc)
		return rc;
	memcpy((char *)&q->hdr + from, (const char *)now + from, end - from);
	q->hdr.refcount_table_offset = cpu_to_be64(q->reftable.host);
	q->hdr.refcount_table_clusters =
		cpu_to_be32((uint32_t)(q->reftable.n * 8 >> q->cluster_bits));
	rc = qcow2_write_header(q, from, end);
	if (!rc) {
		s->committed = true;
		return 0;
	}
	/* Which of the two the file has is not known. */
	q->hdr = was;
	q->writable = false;
	log_warn("%s: the header cannot be written (%s): no more writes", q->node->filename,
		 strerror(-rc));
	return rc;
}

/* [co] */
static int uncount(struct qcow2 *q, const struct qcow2_freed_list *l)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < l->n; i++)
		rc = qcow2_refcount_add(q, l->item[i].host >> q->cluster_bits,
					l->item[i].len >> q->cluster_bits, -1);
	return rc;
}

/* [co] Holes where a run has become free. */
static int make_holes(struct qcow2 *q, const struct qcow2_freed *f)
{
	uint64_t first = f->host >> q->cluster_bits, n = f->len >> q->cluster_bits, start = 0;

	for (uint64_t i = 0; i <= n; i++) {
		uint64_t count = 1;
		int rc = i < n ? qcow2_refcount(q, first + i, &count) : 0;

		if (rc)
			return rc;
		if (!count)
			continue;
		if (i > start)
			co_discard(q->node->file, (first + start) << q->cluster_bits,
				   (i - start) << q->cluster_bits);
		start = i + 1;
	}
	return 0;
}

/* [co] Nothing in the file refers to the old any more. */
static int finish(struct qcow2_switch *s)
{
	struct qcow2 *q = s->q;
	uint64_t host;
	int rc = 0;

	qcow2_array_free(&s->before);
	for (size_t i = 0; !rc && i < s->dropped.n; i++)
		rc = make_holes(q, &s->dropped.item[i]);
	while (!rc && (host = qcow2_switch_take(s)))
		rc = add_run(&s->old, host, q->cluster_size);
	if (!rc)
		rc = uncount(q, &s->old);
	for (size_t i = 0; !rc && i < s->old.n; i++)
		rc = make_holes(q, &s->old.item[i]);
	return rc;
}

/* [co] As the file has it. */
static int undo(struct qcow2_switch *s)
{
	struct qcow2 *q = s->q;

	if (s->forked) {
		qcow2_cache_drop(&q->refs, 0, q->refs.n_slots);
		qcow2_array_free(&q->reftable);
		q->reftable = s->before;
		q->free_hint = q->packed_at = 0;
	}
	return q->writable ? uncount(q, &s->fresh) : 0;
}

void qcow2_switch_end(struct qcow2_switch *s)
{
	struct qcow2 *q = s->q;
	int rc = s->committed ? finish(s) : undo(s);

	if (!rc && q->writable)
		rc = qcow2_write_refcounts(q);
	if (rc)
		log_warn("%s: clusters that are free stay taken: %s", q->node->filename,
			 strerror(-rc));
	free(s->fresh.item);
	free(s->old.item);
	free(s->dropped.item);
	free(s->pool.runs.item);
	free(s->buf);
	*s = (struct qcow2_switch){ 0 };
}
