/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: where guest clusters lie ("Cluster mapping" and "Extended L2 Entries" in the
 * specification), and changing that. The node's thread.
 *
 * A write that needs new clusters notes its range in q->allocs; others that want to
 * change a cluster there wait. It takes clusters, writes the data together with what is
 * copied around them, and only then changes the L2 table. Entries are two words, as with
 * subclusters: without, the second is made up as if there were one subcluster.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "iov.h"
#include "qcow2.h"

#define ALL_DATA 0xffffffffull
#define ALL_ZERO (0xffffffffull << 32)

/* --- entries --- */

static bool has_host(const struct qcow2 *q, uint64_t desc)
{
	if (desc & QCOW2_COMPRESSED)
		return false;
	return (desc & QCOW2_OFFSET_MASK) || (q->external && desc & QCOW2_COPIED);
}

void qcow2_l2_read(const struct qcow2 *q, const struct qcow2_table *t, unsigned i, uint64_t *desc,
		   uint64_t *bitmap)
{
	const struct be64 *e = t->data;

	if (q->ext_l2) {
		*desc = be64_to_cpu(e[2 * i]);
		*bitmap = *desc & QCOW2_COMPRESSED ? 0 : be64_to_cpu(e[2 * i + 1]);
		return;
	}
	*desc = be64_to_cpu(e[i]);
	*bitmap = 0;
	if (*desc & QCOW2_COMPRESSED)
		return;
	if (*desc & QCOW2_ZERO && q->v3) {
		*desc &= ~QCOW2_ZERO;
		*bitmap = 1ull << 32;
	} else if (has_host(q, *desc)) {
		*bitmap = 1;
	}
}

void qcow2_l2_write(const struct qcow2 *q, struct qcow2_table *t, unsigned i, uint64_t desc,
		    uint64_t bitmap)
{
	struct be64 *e = t->data;

	if (q->ext_l2) {
		e[2 * i] = cpu_to_be64(desc);
		e[2 * i + 1] = cpu_to_be64(bitmap);
		return;
	}
	if (!(desc & QCOW2_COMPRESSED) && bitmap >> 32)
		desc |= QCOW2_ZERO;
	e[i] = cpu_to_be64(desc);
}

static unsigned index_in_slice(const struct qcow2 *q, uint64_t off)
{
	return (unsigned)(off >> q->cluster_bits & (q->slice_entries - 1));
}

static uint64_t cluster_start(const struct qcow2 *q, uint64_t off)
{
	return off & ~(q->cluster_size - 1);
}

static unsigned sub_of(const struct qcow2 *q, uint64_t off)
{
	return (unsigned)((off & (q->cluster_size - 1)) >> q->sub_bits);
}

/* Bits of the subclusters first to last. */
static uint64_t sub_mask(unsigned first, unsigned last)
{
	return (2ull << last) - (1ull << first);
}

static uint64_t all_subs(const struct qcow2 *q)
{
	return q->ext_l2 ? ALL_DATA : 1;
}

/* A place of its own, which may be written to. */
static bool own_host(const struct qcow2 *q, uint64_t desc)
{
	return has_host(q, desc) && (q->external || desc & QCOW2_COPIED);
}

static enum qcow2_kind kind_of(uint64_t desc, uint64_t bitmap, unsigned sub)
{
	if (desc & QCOW2_COMPRESSED)
		return QCOW2_K_COMPRESSED;
	if (bitmap >> 32 >> sub & 1)
		return QCOW2_K_ZERO;
	return bitmap >> sub & 1 ? QCOW2_K_DATA : QCOW2_K_UNALLOCATED;
}

int qcow2_check_desc(struct qcow2 *q, uint64_t off, uint64_t desc, uint64_t bitmap)
{
	uint64_t host = desc & QCOW2_OFFSET_MASK;
	const char *what = NULL;
	uint32_t len;

	off = cluster_start(q, off);
	if (desc & QCOW2_COMPRESSED) {
		qcow2_compressed_place(q, desc, &host, &len);
		if (q->external)
			what = "compressed, in an external data file";
		else if (host >= q->node->file->size || host < q->cluster_size)
			what = "outside of the file";
	} else if (desc & (QCOW2_L2_RESERVED | QCOW2_ZERO)) {
		what = "reserved bits are set";
	} else if (host & (q->cluster_size - 1)) {
		what = "not a cluster's offset";
	} else if (q->external) {
		if (has_host(q, desc) && host != off)
			what = "not where the external data file has it";
	} else if (host >= q->node->file->size || (host && host < q->cluster_size)) {
		what = "outside of the file";
	} else if (bitmap & bitmap >> 32 & ALL_DATA) {
		what = "subclusters both stored and zero";
	}
	if (!what && (uint32_t)bitmap && !has_host(q, desc))
		what = "subclusters without a place";
	if (!what)
		return 0;
	return qcow2_corrupt(q, "the L2 entry of guest offset %#" PRIx64 " is %#" PRIx64 ": %s",
			     off, desc, what);
}

void qcow2_compressed_place(const struct qcow2 *q, uint64_t desc, uint64_t *host, uint32_t *len)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t sectors = (desc & ~(QCOW2_COMPRESSED | QCOW2_COPIED)) >> x;

	*host = desc & ((1ull << x) - 1);
	*len = (uint32_t)((sectors + 1) * 512 - (*host & 511));
}

/* --- tables --- */

static uint64_t l1_index(const struct qcow2 *q, uint64_t off)
{
	return (off >> q->cluster_bits) / q->l2_entries;
}

/* Where the L2 table that maps off lies; 0: there is none. -EIO when it cannot be there. */
static int table_place(struct qcow2 *q, uint64_t off, uint64_t *host, bool *own)
{
	uint64_t i = l1_index(q, off), v = qcow2_array_get(&q->l1, i);

	*host = v & QCOW2_OFFSET_MASK;
	*own = v & QCOW2_COPIED;
	if (!v)
		return 0;
	if (v & QCOW2_L1_RESERVED || *host & (q->cluster_size - 1))
		return qcow2_corrupt(q,
				     "L1 entry %" PRIu64 " is %#" PRIx64 ": not a cluster's offset",
				     i, v);
	if (*host && (*host >= q->node->file->size || *host < q->cluster_size))
		return qcow2_corrupt(q, "L1 entry %" PRIu64 " is %#" PRIx64 ": outside of the file",
				     i, v);
	/* What is written to an L2 table must not be written over another. */
	if (*host && qcow2_is_other_table(q, *host))
		return qcow2_corrupt(q,
				     "L1 entry %" PRIu64 " is %#" PRIx64 ": another table's place",
				     i, v);
	return 0;
}

/* [co] */
static int get_slice(struct qcow2 *q, uint64_t off, uint64_t table, bool zero,
		     struct qcow2_table **t)
{
	uint64_t slot = off >> q->slice_bits, parts = q->l2_entries / q->slice_entries;

	return qcow2_cache_get(&q->l2, slot, table + slot % parts * q->l2.unit, zero, t);
}

int qcow2_l2_get(struct qcow2 *q, uint64_t off, struct qcow2_table **t)
{
	uint64_t host;
	bool own;
	int rc = table_place(q, off, &host, &own);

	*t = NULL;
	return rc || !host ? rc : get_slice(q, off, host, false, t);
}

/* [co] The contents of a table at its new place. */
static int copy_table(struct qcow2 *q, uint64_t from, uint64_t to)
{
	void *buf;
	int rc;

	if (posix_memalign(&buf, 4096, q->cluster_size))
		return -ENOMEM;
	rc = co_pread(q->node->file, from, buf, q->cluster_size);
	if (!rc)
		rc = co_pwrite(q->node->file, to, buf, q->cluster_size, 0);
	free(buf);
	return rc;
}

/* [co] L1_lock is held: an L2 table of our own for off, in place of old (0: none). */
static int new_table(struct qcow2 *q, uint64_t off, uint64_t old)
{
	uint64_t i = l1_index(q, off), parts = q->l2_entries / q->slice_entries, host;
	bool zero;
	int rc = qcow2_alloc(q, 1, true, &host, NULL, &zero);

	if (rc)
		return rc;
	if (qcow2_is_metadata(q, host, q->cluster_size))
		return qcow2_corrupt(q, "%#" PRIx64 " is free and holds metadata", host);
	if (old)
		rc = copy_table(q, old, host);
	else if (!zero)
		rc = co_zero(q->node->file, host, q->cluster_size, 0);
	if (rc) {
		qcow2_refcount_add(q, host >> q->cluster_bits, 1, -1);
		return rc;
	}
	for (uint64_t k = 0; k < parts; k++)
		if (q->l2.slot[i * parts + k])
			q->l2.slot[i * parts + k]->host = host + k * q->l2.unit;
	qcow2_array_set(&q->l1, i, host | QCOW2_COPIED);
	if (old)
		qcow2_free(q, old, q->cluster_size, false);
	return 0;
}

int qcow2_l2_get_writable(struct qcow2 *q, uint64_t off, struct qcow2_table **t)
{
	uint64_t host;
	bool own, zero = false;
	int rc = table_place(q, off, &host, &own);

	if (!rc && !(host && own)) {
		if (l1_index(q, off) >= q->l1.n)
			return -EIO;
		co_lock(&q->l1_lock);
		rc = table_place(q, off, &host, &own);
		if (!rc && !(host && own)) {
			zero = !host;
			rc = new_table(q, off, host);
		}
		if (!rc)
			rc = table_place(q, off, &host, &own);
		co_unlock(&q->l1_lock);
	}
	return rc ? rc : get_slice(q, off, host, zero, t);
}

/* --- looking up --- */

/* Bytes from off to the end of what its slice maps. */
static uint64_t left_in_slice(const struct qcow2 *q, uint64_t off)
{
	return (1ull << q->slice_bits) - (off & ((1ull << q->slice_bits) - 1));
}

int qcow2_map_at(struct qcow2 *q, uint64_t off, uint64_t len, struct qcow2_map *m)
{
	uint64_t sub_size = 1ull << q->sub_bits, left = left_in_slice(q, off), pos, bitmap = 0;
	struct qcow2_table *t;
	int rc = qcow2_l2_get(q, off, &t);

	if (rc)
		return rc;
	len = len < left ? len : left;
	*m = (struct qcow2_map){ .kind = QCOW2_K_UNALLOCATED, .len = len };
	for (pos = off; t && pos < off + len; pos = (pos | (sub_size - 1)) + 1) {
		uint64_t desc = m->desc, host;
		enum qcow2_kind kind;

		if (pos == off || !(pos & (q->cluster_size - 1))) {
			qcow2_l2_read(q, t, index_in_slice(q, pos), &desc, &bitmap);
			rc = qcow2_check_desc(q, pos, desc, bitmap);
			if (rc)
				return rc;
		}
		kind = kind_of(desc, bitmap, sub_of(q, pos));
		host = (desc & QCOW2_OFFSET_MASK) + (pos & (q->cluster_size - 1));
		if (pos == off) {
			m->kind = kind;
			m->placed = has_host(q, desc);
			m->host = m->placed ? host : 0;
			m->desc = desc;
			if (kind == QCOW2_K_COMPRESSED) {
				uint64_t end = cluster_start(q, off) + q->cluster_size;

				pos = end;
				break;
			}
			continue;
		}
		if (kind != m->kind || has_host(q, desc) != m->placed ||
		    (m->placed && host != m->host + (pos - off)))
			break;
		m->desc = pos & (q->cluster_size - 1) ? m->desc : desc;
	}
	if (t)
		m->len = pos < off + len ? pos - off : len;
	return 0;
}

/* --- waiting for allocations
 * ------------------------------------------------------------------------ */

void qcow2_wait_allocs(struct qcow2 *q, uint64_t off, uint64_t len)
{
	struct qcow2_alloc *a = q->allocs;

	while (a) {
		if (off < a->end && a->start < off + len) {
			co_queue_wait(&a->waiters);
			a = q->allocs;
		} else {
			a = a->next;
		}
	}
}

static void alloc_begin(struct qcow2 *q, struct qcow2_alloc *a)
{
	a->next = q->allocs;
	q->allocs = a;
}

static void alloc_end(struct qcow2 *q, struct qcow2_alloc *a)
{
	struct qcow2_alloc **at = &q->allocs;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	co_queue_wake_all(&a->waiters);
}

/* [co] The slice for changing the cluster at off, which nobody else is about to change. */
static int get_to_change(struct qcow2 *q, uint64_t off, struct qcow2_table **t)
{
	for (;;) {
		int rc = qcow2_l2_get_writable(q, off, t);

		if (rc || !qcow2_alloc_overlaps(q, off, 1))
			return rc;
		qcow2_wait_allocs(q, off, 1);
	}
}

/* --- writing
 * -------------------------------------------------------------------------------------------- */

static const uint8_t zeroes[64 << 10] __attribute__((aligned(4096)));

/* A write of a run of clusters. */
struct job {
	uint64_t off, end; /* guest bytes of data */
	uint64_t start, stop; /* guest bytes of whole clusters */
	uint64_t host; /* of start */
	bool fresh; /* the place is new to these clusters */
	bool zero; /* and holds zeroes */
	uint64_t head, tail; /* bytes to be copied before and behind the data */
	uint64_t first_desc, first_bitmap, last_desc, last_bitmap; /* as they were */
};

enum how { IN_PLACE, SAME_CLUSTER, NEW_CLUSTER };

/* How the part [off, end) of one cluster can be written. */
static enum how how_to_write(const struct qcow2 *q, uint64_t off, uint64_t end, uint64_t desc,
			     uint64_t bitmap)
{
	uint64_t mask = sub_mask(sub_of(q, off), sub_of(q, end - 1));

	if (!own_host(q, desc))
		return NEW_CLUSTER;
	return (bitmap & mask) == mask ? IN_PLACE : SAME_CLUSTER;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How far from off clusters are to be written alike: fills j. Does not wait. */
static int find_run(struct qcow2 *q, struct qcow2_table *t, uint64_t off, uint64_t len,
		    struct job *j, enum how *how)
{
	uint64_t end = off + min64(len, left_in_slice(q, off)), desc, bitmap;

	*j = (struct job){ .off = off, .end = off, .start = cluster_start(q, off) };
	while (j->end < end) {
		uint64_t at = j->end, stop = min64(cluster_start(q, at) + q->cluster_size, end);
		enum how h;
		int rc;

		qcow2_l2_read(q, t, index_in_slice(q, at), &desc, &bitmap);
		rc = qcow2_check_desc(q, at, desc, bitmap);
		if (rc)
			return rc;
		h = how_to_write(q, at, stop, desc, bitmap);
		if (at == off) {
			*how = h;
			j->host = desc & QCOW2_OFFSET_MASK;
			j->first_desc = desc;
			j->first_bitmap = bitmap;
		} else if (h != *how || qcow2_alloc_overlaps(q, at, 1) ||
			   (h != NEW_CLUSTER &&
			    (desc & QCOW2_OFFSET_MASK) !=
				    j->host + (cluster_start(q, at) - j->start))) {
			break;
		}
		j->end = stop;
		j->last_desc = desc;
		j->last_bitmap = bitmap;
	}
	j->stop = cluster_start(q, j->end - 1) + q->cluster_size;
	j->fresh = *how == NEW_CLUSTER;
	return 0;
}

/* Whether [off, off + len) reads as zeroes without anything being read; within what the entry maps.
 */
static bool reads_zero(const struct qcow2 *q, uint64_t off, uint64_t len, uint64_t desc,
		       uint64_t bitmap)
{
	uint64_t mask = sub_mask(sub_of(q, off), sub_of(q, off + len - 1));

	if (desc & QCOW2_COMPRESSED || bitmap & mask)
		return false;
	if ((bitmap >> 32 & mask) == mask)
		return true;
	return !qcow2_backed(q, off);
}

/* Where what must be kept of the first cluster begins, and of the last ends. */
static void find_edges(const struct qcow2 *q, struct job *j)
{
	uint64_t sub = (1ull << q->sub_bits) - 1;
	bool stored = j->first_bitmap & ALL_DATA || j->first_desc & QCOW2_COMPRESSED;

	if (j->fresh && stored)
		j->head = j->off - j->start;
	else if (!(j->first_bitmap >> sub_of(q, j->off) & 1))
		j->head = j->off & sub;
	stored = j->last_bitmap & ALL_DATA || j->last_desc & QCOW2_COMPRESSED;
	if (j->fresh && stored)
		j->tail = j->stop - j->end;
	else if (!(j->last_bitmap >> sub_of(q, j->end - 1) & 1))
		j->tail = -j->end & sub;
	/* Nothing to keep, and nothing there that would be seen. */
	if (j->head && j->zero &&
	    reads_zero(q, j->off - j->head, j->head, j->first_desc, j->first_bitmap))
		j->head = 0;
	if (j->tail && j->zero && reads_zero(q, j->end, j->tail, j->last_desc, j->last_bitmap))
		j->tail = 0;
}

/* iov of len zero bytes; returns how many entries. */
static unsigned zero_iov(struct iovec *iov, uint64_t len)
{
	unsigned n = 0;

	for (; len; n++) {
		size_t part = len < sizeof(zeroes) ? len : sizeof(zeroes);

		iov[n] = (struct iovec){ .iov_base = (void *)(uintptr_t)zeroes, .iov_len = part };
		len -= part;
	}
	return n;
}

/* [co] What is kept at an edge, as iov. *buf: malloc'd for it. */
static int edge_iov(struct qcow2 *q, uint64_t off, uint64_t len, uint64_t desc, uint64_t bitmap,
		    struct iovec *iov, unsigned *n, void **buf)
{
	if (!len)
		return 0;
	if (reads_zero(q, off, len, desc, bitmap)) {
		*n += zero_iov(iov + *n, len);
		return 0;
	}
	if (posix_memalign(buf, 4096, len))
		return -ENOMEM;
	iov[(*n)++] = (struct iovec){ .iov_base = *buf, .iov_len = len };
	return qcow2_read_buf(q, off, *buf, len);
}

/* [co] The data of a job, with its edges in one go. */
static int write_data(struct qcow2 *q, const struct job *j, const struct iovec *iov, unsigned n_iov,
		      uint64_t skip)
{
	unsigned most = n_iov + 2 * (unsigned)(q->cluster_size / sizeof(zeroes) + 1), n = 0, k;
	struct iovec *all = malloc(most * sizeof(*all));
	uint64_t host = j->host + (j->off - j->start) - j->head;
	uint64_t len = j->head + (j->end - j->off) + j->tail;
	void *head = NULL, *tail = NULL;
	int rc;

	if (!all)
		return -ENOMEM;
	rc = edge_iov(q, j->off - j->head, j->head, j->first_desc, j->first_bitmap, all, &n, &head);
	if (!rc) {
		k = iov_slice(iov, n_iov, skip, j->end - j->off, all + n, n_iov);
		rc = k ? 0 : -EINVAL;
		n += k;
	}
	if (!rc)
		rc = edge_iov(q, j->end, j->tail, j->last_desc, j->last_bitmap, all, &n, &tail);
	if (!rc && !q->external && qcow2_is_metadata(q, host, len))
		rc = qcow2_corrupt(q,
				   "data of guest offset %#" PRIx64
				   " would be written over metadata at %#" PRIx64,
				   j->off, host);
	if (!rc)
		rc = q->crypt ? qcow2_crypt_write(q, host, len, all, n)
			      : co_iov(q->data, BLK_WRITE, host, len, all, n, 0);
	free(head);
	free(tail);
	free(all);
	return rc;
}

/* [co] After the data: the L2 entries of a job. */
static int link_job(struct qcow2 *q, const struct job *j)
{
	struct qcow2_table *t;
	int rc = qcow2_l2_get_writable(q, j->start, &t);

	if (!rc)
		rc = qcow2_cache_dirty(&q->l2, t);
	for (uint64_t at = j->start; !rc && at < j->stop; at += q->cluster_size) {
		uint64_t from = at > j->off ? at : j->off, desc, bitmap, now;
		uint64_t to = min64(at + q->cluster_size, j->end), mask;
		unsigned i = index_in_slice(q, at);

		qcow2_l2_read(q, t, i, &desc, &bitmap);
		mask = sub_mask(sub_of(q, from), sub_of(q, to - 1));
		now = (bitmap & ~(mask << 32)) | mask;
		if (j->fresh && (bitmap & ALL_DATA || desc & QCOW2_COMPRESSED))
			now = all_subs(q); /* all of it has been copied */
		qcow2_l2_write(q, t, i, (j->host + (at - j->start)) | QCOW2_COPIED, now);
		if (j->fresh)
			qcow2_free_entry(q, desc, false);
	}
	return rc;
}

/* [co] */
static int write_job(struct qcow2 *q, struct job *j, const struct iovec *iov, unsigned n_iov,
		     uint64_t skip)
{
	uint64_t n = (j->stop - j->start) >> q->cluster_bits, got = n;
	int rc = 0;

	if (j->fresh && q->external)
		j->host = j->start;
	else if (j->fresh)
		rc = qcow2_alloc(q, n, false, &j->host, &got, &j->zero);
	j->zero &= !q->crypt;
	if (rc)
		return rc;
	if (got < n) { /* the rest is another job */
		struct qcow2_table *t;

		j->stop = j->start + (got << q->cluster_bits);
		j->end = j->stop;
		rc = qcow2_l2_get(q, j->start, &t);
		if (!rc && t)
			qcow2_l2_read(q, t, index_in_slice(q, j->end - 1), &j->last_desc,
				      &j->last_bitmap);
	}
	find_edges(q, j);
	if (!rc)
		rc = write_data(q, j, iov, n_iov, skip);
	if (!rc)
		rc = link_job(q, j);
	if (rc && j->fresh && !q->external)
		qcow2_refcount_add(q, j->host >> q->cluster_bits, got, -1);
	return rc;
}

int qcow2_map_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned n_iov, uint64_t skip, uint64_t *done)
{
	struct qcow2_alloc a = { 0 };
	struct qcow2_table *t;
	struct job j;
	enum how how = IN_PLACE;
	int rc = get_to_change(q, off, &t);

	if (!rc)
		rc = find_run(q, t, off, len, &j, &how);
	if (rc)
		return rc;
	if (how == IN_PLACE) {
		rc = write_data(q, &j, iov, n_iov, skip);
	} else {
		a.start = j.start;
		a.end = j.stop;
		alloc_begin(q, &a);
		rc = write_job(q, &j, iov, n_iov, skip);
		alloc_end(q, &a);
	}
	*done = j.end - off;
	return rc;
}

/* --- zeroing and forgetting
 * -------------------------------------------------------------------------- */

int qcow2_map_set(struct qcow2 *q, uint64_t off, uint64_t desc, uint64_t bitmap)
{
	struct qcow2_table *t;
	uint64_t old, old_bitmap;
	int rc = get_to_change(q, off, &t);

	if (!rc)
		rc = qcow2_cache_dirty(&q->l2, t);
	if (rc)
		return rc;
	qcow2_l2_read(q, t, index_in_slice(q, off), &old, &old_bitmap);
	rc = qcow2_check_desc(q, off, old, old_bitmap);
	if (rc)
		return rc;
	qcow2_l2_write(q, t, index_in_slice(q, off), desc, bitmap);
	qcow2_free_entry(q, old, false);
	return 0;
}

enum change { ZERO_KEEP, ZERO_UNMAP, DISCARD, FORGET };

/* What an entry becomes. subs: the subclusters that are meant. False: it stays. */
static bool changed_entry(const struct qcow2 *q, uint64_t off, uint64_t subs, enum change how,
			  uint64_t *desc, uint64_t *bitmap)
{
	uint64_t d = *desc, b = *bitmap;
	bool keep = how == ZERO_KEEP && own_host(q, d);

	if (subs == all_subs(q)) {
		*desc = keep ? d : 0;
		*bitmap = how == FORGET ? 0 : subs << 32;
		/* What nothing is behind reads as zeroes without a flag. */
		if (!keep && !qcow2_backed(q, off))
			*bitmap = 0;
	} else {
		*bitmap = (b & ~subs) | subs << 32;
		if (how == ZERO_UNMAP && !(*bitmap & ALL_DATA))
			*desc = 0;
	}
	return *desc != d || *bitmap != b;
}

/* [co] One cluster or, with subclusters, a part of one: [off, end). */
static int change_one(struct qcow2 *q, uint64_t off, uint64_t end, enum change how)
{
	uint64_t start = cluster_start(q, off), desc, bitmap, old;
	uint64_t last = end - 1, subs = sub_mask(sub_of(q, off), sub_of(q, last));
	struct qcow2_table *t;
	int rc = get_to_change(q, off, &t);

	if (rc)
		return rc;
	qcow2_l2_read(q, t, index_in_slice(q, off), &desc, &bitmap);
	rc = qcow2_check_desc(q, off, desc, bitmap);
	if (rc)
		return rc;
	/* The end of the disk need not be one of a cluster. */
	if (end >= q->node->size)
		subs = sub_mask(sub_of(q, off), sub_of(q, q->cluster_size - 1));
	if (subs != all_subs(q) && desc & QCOW2_COMPRESSED)
		return -ENOTSUP;
	old = desc;
	if (!changed_entry(q, start, subs, how, &desc, &bitmap))
		return 0;
	if (!q->v3 && bitmap >> 32)
		return how == DISCARD ? 0 : -ENOTSUP;
	rc = qcow2_cache_dirty(&q->l2, t);
	if (rc)
		return rc;
	qcow2_l2_write(q, t, index_in_slice(q, off), desc, bitmap);
	if ((old & QCOW2_OFFSET_MASK) != (desc & QCOW2_OFFSET_MASK) || old & QCOW2_COMPRESSED)
		qcow2_free_entry(q, old, true);
	if (q->external && old && how != ZERO_KEEP)
		co_discard(q->data, start, q->cluster_size);
	return 0;
}

/* [co] Bytes from off that have no L2 table and read as zeroes: nothing to do there. */
static int nothing_there(struct qcow2 *q, uint64_t off, uint64_t *len)
{
	struct qcow2_table *t;
	int rc = qcow2_l2_get(q, off, &t);

	*len = 0;
	if (!rc && !t && !qcow2_backed(q, off))
		*len = left_in_slice(q, off);
	return rc;
}

static int change(struct qcow2 *q, uint64_t off, uint64_t len, enum change how)
{
	uint64_t end = off + len;

	while (off < end) {
		uint64_t stop = min64(cluster_start(q, off) + q->cluster_size, end), skip;
		int rc = nothing_there(q, off, &skip);

		if (!rc && skip) {
			/* Unless something is being written there for the first time. */
			qcow2_wait_allocs(q, off, min64(skip, end - off));
			rc = nothing_there(q, off, &skip);
		}
		if (!rc && skip)
			stop = off + skip;
		else if (!rc)
			rc = change_one(q, off, stop, how);
		if (rc)
			return rc;
		off = stop;
	}
	return 0;
}

/* [co] A raw data file holds the zeroes itself. */
static int zero_raw(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap)
{
	int rc = co_zero(q->data, off, len, unmap ? BLK_UNMAP : 0);

	for (uint64_t at = off; !rc && at < off + len; at += q->cluster_size)
		rc = qcow2_map_set(q, at, at | QCOW2_COPIED, all_subs(q));
	return rc;
}

int qcow2_map_zero(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap)
{
	if (!q->data_raw)
		return change(q, off, len, unmap ? ZERO_UNMAP : ZERO_KEEP);
	if ((off | len) & (q->cluster_size - 1))
		return -ENOTSUP;
	return zero_raw(q, off, len, unmap);
}

int qcow2_map_discard(struct qcow2 *q, uint64_t off, uint64_t len, bool full)
{
	if (q->data_raw)
		return co_discard(q->data, off, len);
	return change(q, off, len, full ? FORGET : DISCARD);
}

/* --- preallocation
 * ------------------------------------------------------------------------------------- */

/* Clusters from off on that have no place: how many in a row, in one slice. */
static uint64_t count_empty(const struct qcow2 *q, const struct qcow2_table *t, uint64_t off,
			    uint64_t len)
{
	uint64_t n = 0, desc, bitmap, left = min64(len, left_in_slice(q, off));

	for (; n << q->cluster_bits < left; n++) {
		qcow2_l2_read(q, t, index_in_slice(q, off) + (unsigned)n, &desc, &bitmap);
		if (has_host(q, desc) || desc & QCOW2_COMPRESSED)
			break;
	}
	return n;
}

/* What an entry without a place becomes when it gets one: reads as before. */
static uint64_t placed_bitmap(const struct qcow2 *q, uint64_t off, uint64_t bitmap, bool zero)
{
	if (q->ext_l2 && qcow2_backed(q, off))
		return bitmap;
	return zero ? all_subs(q) : all_subs(q) << 32;
}

/* [co] Zeroes as the guest sees them. */
static int zero_data(struct qcow2 *q, uint64_t host, uint64_t len)
{
	int rc = q->crypt ? 0 : co_zero(q->data, host, len, 0);

	for (uint64_t at = 0, n; q->crypt && !rc && at < len; at += n) {
		struct iovec iov = { .iov_base = (void *)(uintptr_t)zeroes };

		n = iov.iov_len = min64(sizeof(zeroes), len - at);
		rc = qcow2_crypt_write(q, host + at, n, &iov, 1);
	}
	return rc;
}

int qcow2_map_preallocate(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	while (off < end) {
		uint64_t n, host = off, desc, bitmap;
		struct qcow2_table *t;
		bool zero = q->external && !q->crypt;
		int rc = get_to_change(q, off, &t);

		if (rc)
			return rc;
		n = count_empty(q, t, off, end - off);
		if (!n) {
			off += q->cluster_size;
			continue;
		}
		if (!q->external)
			rc = qcow2_alloc(q, n, false, &host, &n, &zero);
		zero &= !q->crypt;
		if (!rc && !zero && !q->v3) {
			rc = zero_data(q, host, n << q->cluster_bits);
			zero = true;
		}
		if (!rc)
			rc = qcow2_l2_get_writable(q, off, &t);
		if (!rc)
			rc = qcow2_cache_dirty(&q->l2, t);
		for (; !rc && n; n--, off += q->cluster_size, host += q->cluster_size) {
			unsigned i = index_in_slice(q, off);

			qcow2_l2_read(q, t, i, &desc, &bitmap);
			qcow2_l2_write(q, t, i, host | QCOW2_COPIED,
				       placed_bitmap(q, off, bitmap, zero));
		}
		if (rc)
			return rc;
	}
	return 0;
}
