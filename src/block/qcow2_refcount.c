/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: refcounts, and allocating by them ("Host cluster management" in the
 * specification). The node's thread.
 *
 * Clusters are taken first fit, from free_hint on. Those behind the end of the file
 * read as zeroes when the file grows over them: virgin is the first of them.
 * Allocating is serialised by alloc_lock; counting down needs no lock, as it never takes anything.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "qcow2.h"

enum {
	GROW_MIN = 1 << 20, /* bytes that the file grows by, ahead of need */
	GROW_MAX = 64 << 20,
	FREED_ROOM = 256,
};

/* --- one refcount in a block --- */

uint64_t qcow2_ref_get(const void *block, uint32_t order, uint64_t i)
{
	const uint8_t *b = block;
	uint32_t bits = 1u << order;

	switch (order) {
	case 3:
		return b[i];
	case 4:
		return be16_to_cpu(((const struct be16 *)block)[i]);
	case 5:
		return be32_to_cpu(((const struct be32 *)block)[i]);
	case 6:
		return be64_to_cpu(((const struct be64 *)block)[i]);
	default:
		return b[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
	}
}

void qcow2_ref_set(void *block, uint32_t order, uint64_t i, uint64_t value)
{
	uint8_t *b = block;
	uint32_t bits = 1u << order, shift = (uint32_t)(i * bits % 8);
	uint8_t mask;

	switch (order) {
	case 3:
		b[i] = (uint8_t)value;
		break;
	case 4:
		((struct be16 *)block)[i] = cpu_to_be16((uint16_t)value);
		break;
	case 5:
		((struct be32 *)block)[i] = cpu_to_be32((uint32_t)value);
		break;
	case 6:
		((struct be64 *)block)[i] = cpu_to_be64(value);
		break;
	default:
		mask = (uint8_t)(((1u << bits) - 1) << shift);
		b[i * bits / 8] = (uint8_t)((b[i * bits / 8] & ~mask) | (value << shift & mask));
	}
}

/* --- blocks --- */

static uint64_t in_slice(const struct qcow2 *q, uint64_t cluster)
{
	return cluster & ((1ull << q->ref_slice_bits) - 1);
}

/* Where the block of cluster lies: 0, there is none; -EIO when its offset cannot be. */
static int block_place(struct qcow2 *q, uint64_t cluster, uint64_t *host)
{
	uint64_t i = cluster >> q->block_bits, v = qcow2_array_get(&q->reftable, i);

	*host = v & ~QCOW2_REFT_RESERVED;
	if (!v)
		return 0;
	if (v & (q->cluster_size - 1))
		return qcow2_corrupt(q,
				     "refcount table entry %" PRIu64 ": %#" PRIx64
				     " is not a cluster's offset",
				     i, v);
	if (v >= q->node->file->size)
		return qcow2_corrupt(q,
				     "refcount table entry %" PRIu64 ": %#" PRIx64
				     " lies behind the end of the file",
				     i, v);
	return 0;
}

/* [co] The slice of the block that counts cluster; *t NULL: no block, all zero. */
static int get_slice(struct qcow2 *q, uint64_t cluster, struct qcow2_table **t)
{
	uint64_t host, part;
	int rc = block_place(q, cluster, &host);

	*t = NULL;
	if (rc || !host)
		return rc;
	part = (cluster & ((1ull << q->block_bits) - 1)) >> q->ref_slice_bits;
	return qcow2_cache_get(&q->refs, cluster >> q->ref_slice_bits, host + part * q->refs.unit,
			       false, t);
}

int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *out)
{
	struct qcow2_table *t;
	int rc = get_slice(q, cluster, &t);

	*out = 0;
	if (!rc && t)
		*out = qcow2_ref_get(t->data, q->ref_order, in_slice(q, cluster));
	return rc;
}

/* [co] */
static int add_one(struct qcow2 *q, uint64_t cluster, int delta)
{
	struct qcow2_table *t;
	uint64_t v, now;
	int rc = get_slice(q, cluster, &t);

	if (rc)
		return rc;
	v = t ? qcow2_ref_get(t->data, q->ref_order, in_slice(q, cluster)) : 0;
	if (delta < 0 ? v < (uint64_t)-delta : v > q->ref_max - (uint64_t)delta)
		return delta < 0 ? -EDOM : -ERANGE;
	if (!t)
		return -EIO; /* counting up is for clusters that have been allocated */
	rc = qcow2_cache_dirty(&q->refs, t);
	if (rc)
		return rc;
	now = v + (uint64_t)(int64_t)delta;
	qcow2_ref_set(t->data, q->ref_order, in_slice(q, cluster), now);
	if (!now && cluster < q->free_hint)
		q->free_hint = cluster;
	if (!now && cluster == q->packed_at >> q->cluster_bits)
		q->packed_at = 0;
	return 0;
}

int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta)
{
	uint64_t i;
	int rc = 0;

	for (i = 0; i < n && !rc; i++)
		rc = add_one(q, cluster + i, delta);
	if (!rc)
		return 0;
	for (i--; i-- > 0;)
		add_one(q, cluster + i, -delta);
	if (rc == -EDOM)
		return qcow2_corrupt(q,
				     "the refcount of the cluster at %#" PRIx64
				     " would fall below zero",
				     cluster << q->cluster_bits);
	return rc;
}

/* --- the file's end --- */

int qcow2_extend_file(struct qcow2 *q, uint64_t cluster)
{
	struct blk_node *file = q->node->file;
	uint64_t need = (cluster + 1) << q->cluster_bits, more = need / 8, want;
	struct err e = { 0 };
	int rc;

	if (need <= file->size)
		return 0;
	more = more < GROW_MIN ? GROW_MIN : more > GROW_MAX ? GROW_MAX : more;
	want = (need + more) & ~(q->cluster_size - 1);
	rc = blk_node_truncate(file, want, &e);
	if (rc)
		rc = blk_node_truncate(file, need, &e);
	/* A device is as large as it is. */
	return rc == -ENOTSUP || rc == -EFBIG ? -ENOSPC : rc;
}

/* --- taking clusters --- */

static bool reserved(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
	return qcow2_is_metadata(q, cluster << q->cluster_bits, n << q->cluster_bits);
}

static int not_free(struct qcow2 *q, uint64_t cluster)
{
	return qcow2_corrupt(q,
			     "the refcount of the cluster at %#" PRIx64
			     " is 0, and metadata lie there",
			     cluster << q->cluster_bits);
}

static void took(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
	if (cluster + n > q->virgin)
		q->virgin = cluster + n;
	if (cluster == q->free_hint)
		q->free_hint = cluster + n;
}

uint64_t qcow2_alloc_now(struct qcow2 *q)
{
	uint64_t c = q->free_hint;
	struct qcow2_table *t;

	if (c < q->virgin || q->alloc_lock.held)
		return 0;
	t = qcow2_cache_peek(&q->refs, c >> q->ref_slice_bits);
	if (!t || qcow2_ref_get(t->data, q->ref_order, in_slice(q, c)) || reserved(q, c, 1) ||
	    (c + 1) << q->cluster_bits > QCOW2_OFFSET_MASK || qcow2_extend_file(q, c) ||
	    qcow2_cache_dirty(&q->refs, t))
		return 0;
	qcow2_ref_set(t->data, q->ref_order, in_slice(q, c), 1);
	took(q, c, 1);
	return c << q->cluster_bits;
}

static bool have_block(const struct qcow2 *q, uint64_t cluster)
{
	return qcow2_array_get(&q->reftable, cluster >> q->block_bits) != 0;
}

/* [co] A block in the first cluster of what it shall count: cluster, which is free. */
static int block_in_place(struct qcow2 *q, uint64_t cluster)
{
	uint64_t host = cluster << q->cluster_bits;
	int rc = reserved(q, cluster, 1) ? not_free(q, cluster) : qcow2_extend_file(q, cluster);

	if (!rc && cluster < q->virgin)
		rc = co_zero(q->node->file, host, q->cluster_size, 0);
	if (rc)
		return rc;
	took(q, cluster, 1);
	/* The table never says where a block is before the block counts itself. */
	co_lock(&q->write_lock);
	qcow2_array_set(&q->reftable, cluster >> q->block_bits, host);
	rc = qcow2_refcount_add(q, cluster, 1, 1);
	if (rc)
		qcow2_array_set(&q->reftable, cluster >> q->block_bits, 0);
	co_unlock(&q->write_lock);
	return rc;
}

/* What new clusters at the end take besides: blocks that count them, a larger table. */
struct overhead {
	uint64_t first, last; /* blocks of the range: indices in the table */
	uint64_t table; /* clusters of a new table; 0: the old one will do */
	uint64_t blocks; /* new ones */
};

static int find_overhead(const struct qcow2 *q, uint64_t n, struct overhead *o)
{
	*o = (struct overhead){ .first = q->virgin >> q->block_bits };
	for (;;) {
		uint64_t table = 0, blocks = 0;

		o->last = (q->virgin + o->table + o->blocks + n - 1) >> q->block_bits;
		if (o->last >= q->reftable.n) {
			table = qcow2_clusters(q, (o->last + 1 + o->last / 2) * 8);
			if ((table << q->cluster_bits) > QCOW2_REFTABLE_MAX)
				table = qcow2_clusters(q, (o->last + 1) * 8);
			if ((table << q->cluster_bits) > QCOW2_REFTABLE_MAX)
				return -ENOSPC;
		}
		for (uint64_t i = o->first; i <= o->last; i++)
			blocks += !qcow2_array_get(&q->reftable, i);
		if (table <= o->table && blocks <= o->blocks)
			return 0;
		o->table = table > o->table ? table : o->table;
		o->blocks = blocks > o->blocks ? blocks : o->blocks;
	}
}

/* A copy of the table with room for more, all of it still to be written. */
static int larger_table(struct qcow2 *q, uint64_t clusters, struct qcow2_array *out)
{
	uint64_t bytes = clusters << q->cluster_bits;
	struct qcow2_array a = { .n = bytes / 8, .host = q->virgin << q->cluster_bits };

	if (qcow2_cache_grow(&q->refs, a.n << (q->block_bits - q->ref_slice_bits)))
		return -ENOMEM;
	a.entry = calloc(1, bytes);
	a.changed = malloc(bytes / 512);
	if (!a.entry || !a.changed) {
		qcow2_array_free(&a);
		return -ENOMEM;
	}
	memcpy(a.entry, q->reftable.entry, q->reftable.n * sizeof(a.entry[0]));
	memset(a.changed, 1, bytes / 512);
	a.end_changed = bytes / 512;
	*out = a;
	return 0;
}

/* [co] The header points to the table; what it refers to is there before. */
static int switch_table(struct qcow2 *q)
{
	struct be64 offset = q->hdr.refcount_table_offset;
	struct be32 clusters = q->hdr.refcount_table_clusters;
	int rc = qcow2_write_refcounts_locked(q);

	if (rc)
		return rc;
	q->hdr.refcount_table_offset = cpu_to_be64(q->reftable.host);
	q->hdr.refcount_table_clusters =
		cpu_to_be32((uint32_t)(q->reftable.n * 8 >> q->cluster_bits));
	rc = qcow2_write_header(q, offsetof(struct qcow2_header, refcount_table_offset),
				offsetof(struct qcow2_header, nb_snapshots));
	if (!rc)
		return 0;
	q->hdr.refcount_table_offset = offset;
	q->hdr.refcount_table_clusters = clusters;
	/* Which of the two tables the file's header names is not known. */
	q->writable = false;
	log_warn("%s: the header cannot be written (%s): no more writes", q->node->filename,
		 strerror(-rc));
	return rc;
}

/* [co] Blocks behind the table's clusters, in their order; all are counted in the end. */
static int place_blocks(struct qcow2 *q, const struct overhead *o, uint64_t at)
{
	uint64_t block = at + o->table;

	for (uint64_t i = o->first; i <= o->last; i++)
		if (!qcow2_array_get(&q->reftable, i))
			qcow2_array_set(&q->reftable, i, block++ << q->cluster_bits);
	return qcow2_refcount_add(q, at, block - at, 1);
}

static void forget_blocks(struct qcow2 *q, const struct overhead *o, const struct qcow2_array *old)
{
	uint64_t parts = 1ull << (q->block_bits - q->ref_slice_bits);

	for (uint64_t i = o->first; i <= o->last; i++) {
		if (qcow2_array_get(old, i))
			continue;
		qcow2_cache_drop(&q->refs, i * parts, parts);
		if (i < q->reftable.n)
			qcow2_array_set(&q->reftable, i, 0);
	}
}

/*
 * [co] Whatever it takes to count n clusters at the end of the file, which virgin is
 * moved to. The table grows while nothing else is written: the header must name it
 * before anything refers to what only it counts.
 */
static int prepare_end(struct qcow2 *q, uint64_t n)
{
	struct qcow2_array old = { 0 }, new;
	uint64_t at = q->virgin;
	struct overhead o;
	int rc = find_overhead(q, n, &o);

	if (rc || !(o.table + o.blocks))
		return rc;
	if (reserved(q, at, o.table + o.blocks))
		return not_free(q, at);
	rc = qcow2_extend_file(q, at + o.table + o.blocks - 1);
	if (rc)
		return rc;
	co_lock(&q->write_lock);
	if (o.table) {
		old = q->reftable;
		rc = larger_table(q, o.table, &new);
		if (!rc)
			q->reftable = new;
	}
	if (!rc) {
		q->virgin = at + o.table + o.blocks;
		rc = place_blocks(q, &o, at);
		if (!rc && o.table)
			rc = switch_table(q);
		if (rc)
			forget_blocks(q, &o, &old);
		if (rc && o.table) {
			q->reftable = old;
			qcow2_array_free(&new);
		}
	}
	co_unlock(&q->write_lock);
	if (!rc && o.table) {
		qcow2_free(q, old.host, old.n * 8, false);
		qcow2_array_free(&old);
	}
	return rc;
}

struct search {
	uint64_t n;
	bool exact;
	uint64_t at; /* cluster that is looked at */
	uint64_t run; /* free ones just before it */
	uint64_t first_free;
};

/* [co] Free clusters of the block's slice that s->at is in. True in *found: s->run is the answer.
 */
static int search_slice(struct qcow2 *q, struct search *s, bool *found)
{
	struct qcow2_table *t;
	uint64_t end;
	int rc = get_slice(q, s->at, &t);

	if (rc)
		return rc;
	end = s->at - in_slice(q, s->at) + (1ull << q->ref_slice_bits);
	for (; s->at < end && !*found; s->at++) {
		if (qcow2_ref_get(t->data, q->ref_order, in_slice(q, s->at))) {
			*found = s->run && !s->exact;
			if (*found)
				break;
			s->run = 0;
			continue;
		}
		if (reserved(q, s->at, 1))
			return not_free(q, s->at);
		/* What reads as zeroes and what need not is not mixed. */
		if (!s->exact && s->run && s->at == q->virgin) {
			*found = true;
			break;
		}
		if (s->first_free == UINT64_MAX)
			s->first_free = s->at;
		*found = ++s->run == s->n;
	}
	return 0;
}

/* [co] s->at has no block. */
static int search_gap(struct qcow2 *q, struct search *s, bool *found)
{
	int rc;

	if (s->run && !s->exact) {
		*found = true;
		return 0;
	}
	s->run = 0;
	if (s->at < q->virgin && s->at >> q->block_bits < q->reftable.n)
		return block_in_place(q, s->at++);
	/* Up to here they may be counted though the file ends before: those are not taken. */
	if (s->at < q->virgin)
		s->at = q->virgin;
	else
		q->virgin = s->at;
	rc = prepare_end(q, s->exact ? s->n : 1);
	s->at = q->virgin;
	return rc;
}

/* [co] Alloc_lock is held. */
static int search(struct qcow2 *q, struct search *s)
{
	bool found = false;
	int rc = 0;

	while (!rc && !found) {
		if ((s->at + 1) << q->cluster_bits > QCOW2_OFFSET_MASK)
			return -EFBIG;
		if (have_block(q, s->at))
			rc = search_slice(q, s, &found);
		else
			rc = search_gap(q, s, &found);
	}
	return rc;
}

/* [co] */
static int alloc_locked(struct qcow2 *q, struct search *s, uint64_t *start, bool *zero)
{
	uint64_t hint = q->free_hint;
	int rc = search(q, s);

	if (rc)
		return rc;
	*start = s->at - s->run;
	rc = qcow2_extend_file(q, *start + s->run - 1);
	if (!rc)
		rc = qcow2_refcount_add(q, *start, s->run, 1);
	if (rc)
		return rc;
	*zero = *start >= q->virgin;
	if (*start + s->run > q->virgin)
		q->virgin = *start + s->run;
	/* Unless something was given back below meanwhile. */
	if (q->free_hint >= hint)
		q->free_hint = *start == s->first_free ? *start + s->run : s->first_free;
	return 0;
}

int qcow2_alloc(struct qcow2 *q, uint64_t n, bool exact, uint64_t *host, uint64_t *got, bool *zero)
{
	struct search s;
	uint64_t start = 0;
	int rc;

	co_lock(&q->alloc_lock);
	s = (struct search){ .n = n, .exact = exact, .at = q->free_hint, .first_free = UINT64_MAX };
	rc = alloc_locked(q, &s, &start, zero);
	co_unlock(&q->alloc_lock);
	if (rc)
		return rc;
	*host = start << q->cluster_bits;
	if (got)
		*got = s.run;
	return 0;
}

int qcow2_alloc_packed(struct qcow2 *q, uint32_t len, uint64_t *host)
{
	uint64_t at = q->packed_at, room = at ? q->cluster_size - (at & (q->cluster_size - 1)) : 0;
	uint64_t next;
	bool zero;
	int rc;

	/* packed_at is no other's while this waits. */
	q->packed_at = 0;
	if (room >= len) {
		rc = qcow2_refcount_add(q, at >> q->cluster_bits, 1, 1);
		if (rc && rc != -ERANGE)
			return rc;
		if (!rc) {
			*host = at;
			q->packed_at = room > len ? at + len : 0;
			return 0;
		}
		room = 0;
	}
	/* Held, so that nobody takes its cluster meanwhile. */
	if (room && qcow2_refcount_add(q, at >> q->cluster_bits, 1, 1))
		room = 0;
	rc = qcow2_alloc(q, 1, true, &next, NULL, &zero);
	if (!rc) {
		*host = next;
		/* Across the border, when the next cluster is the new one. */
		if (room && next == at + room) {
			*host = at;
			len -= (uint32_t)room;
			room = 0;
		}
		q->packed_at = len & (q->cluster_size - 1) ? next + len : 0;
	}
	if (room)
		qcow2_refcount_add(q, at >> q->cluster_bits, 1, -1);
	return rc;
}

/* --- giving back --- */

int qcow2_free(struct qcow2 *q, uint64_t host, uint64_t len, bool discard)
{
	struct qcow2_freed_list *l = &q->freed[q->epoch];
	uint64_t start = host & ~(q->cluster_size - 1);
	uint64_t end = (host + len + q->cluster_size - 1) & ~(q->cluster_size - 1);
	struct qcow2_freed *last = l->n ? &l->item[l->n - 1] : NULL;

	if (last && last->host + last->len == start && last->discard == discard) {
		last->len += end - start;
		return 0;
	}
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : FREED_ROOM;
		struct qcow2_freed *item = realloc(l->item, room * sizeof(*item));

		if (!item)
			return -ENOMEM;
		l->item = item;
		l->room = room;
	}
	l->item[l->n++] =
		(struct qcow2_freed){ .host = start, .len = end - start, .discard = discard };
	return 0;
}

void qcow2_free_entry(struct qcow2 *q, uint64_t desc, bool discard)
{
	uint64_t host = desc & QCOW2_OFFSET_MASK;
	uint32_t len;

	if (q->external)
		return;
	if (desc & QCOW2_COMPRESSED) {
		qcow2_compressed_place(q, desc, &host, &len);
		qcow2_free(q, host, len, false);
	} else if (host) {
		qcow2_free(q, host, q->cluster_size, discard);
	}
}

/* [co] Holes in the file where clusters are about to be free; while they still count as taken. */
static int discard_item(struct qcow2 *q, const struct qcow2_freed *f)
{
	uint64_t first = f->host >> q->cluster_bits, n = f->len >> q->cluster_bits, start = 0;

	for (uint64_t i = 0; i <= n; i++) {
		uint64_t count = 0;
		int rc = i < n ? qcow2_refcount(q, first + i, &count) : 0;

		if (rc)
			return rc;
		if (count == 1)
			continue;
		if (i > start)
			co_discard(q->node->file, (first + start) << q->cluster_bits,
				   (i - start) << q->cluster_bits);
		start = i + 1;
	}
	return 0;
}

int qcow2_free_apply(struct qcow2 *q)
{
	unsigned other = q->epoch ^ 1;
	struct qcow2_freed_list l;
	int rc = 0;

	if (q->live[other])
		return 0; /* a request may still use what these were for */
	l = q->freed[other];
	q->freed[other] = (struct qcow2_freed_list){ 0 };
	q->epoch = other;
	for (size_t i = 0; i < l.n; i++) {
		const struct qcow2_freed *f = &l.item[i];
		int ret = f->discard ? discard_item(q, f) : 0;

		if (!ret)
			ret = qcow2_refcount_add(q, f->host >> q->cluster_bits,
						 f->len >> q->cluster_bits, -1);
		rc = rc ? rc : ret;
	}
	free(l.item);
	return rc;
}
