/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: refcounts of another width ("refcount_order" in the specification). A new table and new
 * blocks are made beside the old ones, counting what these count, themselves, and no longer
 * the old ones; then the header names them, by one write within its first sector. A power
 * cut before that leaves the old structure and at most leaks. In a coroutine; nothing else goes on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "qcow2.h"

struct width {
	struct qcow2 *q;
	struct err *e;
	uint32_t order, block_bits; /* the new ones */
	uint64_t max;
	/* new clusters; offsets in the file */
	uint64_t table, table_clusters;
	uint64_t *block;
	uint64_t n_blocks, room;
	/* clusters of the old structure, ascending */
	uint64_t *old;
	uint64_t n_old;
};

static uint64_t blocks_needed(const struct width *w)
{
	return ((w->q->virgin - 1) >> w->block_bits) + 1;
}

/* --- room --- */

static int take_block(struct width *w)
{
	bool zero;
	int rc;

	if (w->n_blocks == w->room) {
		uint64_t room = w->room ? w->room * 2 : 64;
		uint64_t *block = realloc(w->block, room * sizeof(*block));

		if (!block)
			return -ENOMEM;
		w->block = block;
		w->room = room;
	}
	rc = qcow2_alloc(w->q, 1, true, &w->block[w->n_blocks], NULL, &zero);
	w->n_blocks += !rc;
	return rc;
}

static int drop_table(struct width *w)
{
	uint64_t n = w->table_clusters;

	w->table_clusters = 0;
	return n ? qcow2_refcount_add(w->q, w->table >> w->q->cluster_bits, n, -1) : 0;
}

/* Taking clusters makes more of them to count. */
static int take_clusters(struct width *w)
{
	struct qcow2 *q = w->q;
	int rc = 0;

	for (;;) {
		uint64_t need = blocks_needed(w), table = qcow2_clusters(q, need * 8);
		bool zero;

		if (table << q->cluster_bits > QCOW2_REFTABLE_MAX)
			return -EFBIG;
		if (w->n_blocks >= need && w->table_clusters >= table)
			return 0;
		while (!rc && w->n_blocks < need)
			rc = take_block(w);
		if (!rc && w->table_clusters < table) {
			rc = drop_table(w);
			if (!rc)
				rc = qcow2_alloc(q, table, true, &w->table, NULL, &zero);
			w->table_clusters = rc ? 0 : table;
		}
		if (rc)
			return rc;
	}
}

static void give_back(struct width *w)
{
	drop_table(w);
	while (w->n_blocks)
		qcow2_refcount_add(w->q, w->block[--w->n_blocks] >> w->q->cluster_bits, 1, -1);
}

/* --- the old structure --- */

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int find_old(struct width *w)
{
	struct qcow2 *q = w->q;
	uint64_t table = qcow2_clusters(q, q->reftable.n * 8);

	w->old = malloc((table + q->reftable.n) * sizeof(*w->old));
	if (!w->old)
		return -ENOMEM;
	for (uint64_t i = 0; i < table; i++)
		w->old[w->n_old++] = (q->reftable.host >> q->cluster_bits) + i;
	for (uint64_t i = 0; i < q->reftable.n; i++)
		if (qcow2_array_get(&q->reftable, i))
			w->old[w->n_old++] = qcow2_array_get(&q->reftable, i) >> q->cluster_bits;
	qsort(w->old, w->n_old, sizeof(*w->old), ascending);
	return 0;
}

/* --- the new one --- */

/* *next: in w->old. */
static int count_of(struct width *w, uint64_t cluster, uint64_t *next, uint64_t *count)
{
	int rc = qcow2_refcount(w->q, cluster, count);

	while (*next < w->n_old && w->old[*next] < cluster)
		++*next;
	if (*next < w->n_old && w->old[*next] == cluster)
		*count = 0;
	if (rc || *count <= w->max)
		return rc;
	return err_set(w->e, ERR_USAGE, ERANGE,
		       "%s: Cannot decrease refcount entry width to %u bits: the cluster at "
		       "%#" PRIx64 " has a refcount of %" PRIu64,
		       w->q->node->filename, 1u << w->order, cluster << w->q->cluster_bits, *count);
}

static int write_blocks(struct width *w, void (*progress)(uint64_t done, uint64_t total))
{
	struct qcow2 *q = w->q;
	uint64_t per_block = 1ull << w->block_bits, next = 0, count;
	uint8_t *buf;
	int rc = 0;

	if (posix_memalign((void **)&buf, 4096, q->cluster_size))
		return -ENOMEM;
	for (uint64_t i = 0; !rc && i < w->n_blocks; i++) {
		uint64_t first = i << w->block_bits;

		memset(buf, 0, q->cluster_size);
		for (uint64_t k = 0; !rc && k < per_block && first + k < q->virgin; k++) {
			rc = count_of(w, first + k, &next, &count);
			if (!rc)
				qcow2_ref_set(buf, w->order, k, count);
		}
		if (!rc)
			rc = co_pwrite(q->node->file, w->block[i], buf, q->cluster_size, 0);
		if (progress)
			progress(i + 1, w->n_blocks);
	}
	free(buf);
	return rc;
}

static int make_table(struct width *w, struct qcow2_array *a)
{
	uint64_t bytes = w->table_clusters << w->q->cluster_bits;

	*a = (struct qcow2_array){ .n = bytes / 8, .host = w->table };
	a->entry = calloc(1, bytes);
	a->changed = calloc(bytes / 512, 1);
	if (!a->entry || !a->changed)
		return -ENOMEM;
	for (uint64_t i = 0; i < w->n_blocks; i++)
		a->entry[i] = cpu_to_be64(w->block[i]);
	return co_pwrite(w->q->node->file, w->table, a->entry, bytes, 0);
}

/* --- from the one to the other --- */

static int write_header(struct width *w, const struct qcow2_array *a)
{
	struct qcow2 *q = w->q;
	struct qcow2_header was = q->hdr;
	int rc;

	q->hdr.refcount_table_offset = cpu_to_be64(a->host);
	q->hdr.refcount_table_clusters = cpu_to_be32((uint32_t)w->table_clusters);
	q->hdr.refcount_order = cpu_to_be32(w->order);
	rc = qcow2_write_header(q, offsetof(struct qcow2_header, refcount_table_offset),
				offsetof(struct qcow2_header, header_length));
	if (!rc)
		return 0;
	q->hdr = was;
	/* Which of the two the file's header names is not known. */
	q->writable = false;
	log_warn("%s: the header cannot be written (%s): no more writes", q->node->filename,
		 strerror(-rc));
	return rc;
}

static void swap(struct width *w, struct qcow2_array *a, struct qcow2_cache *refs)
{
	struct qcow2 *q = w->q;
	struct qcow2_array old = q->reftable;

	qcow2_cache_free(&q->refs);
	q->refs = *refs;
	q->reftable = *a;
	*a = old;
	*refs = (struct qcow2_cache){ 0 };
	q->ref_order = w->order;
	q->ref_max = w->max;
	q->block_bits = w->block_bits;
	q->ref_slice_bits = (uint32_t)__builtin_ctz(q->refs.unit) + 3 - w->order;
	q->free_hint = 0;
	q->packed_at = 0;
}

static int build(struct width *w, void (*progress)(uint64_t done, uint64_t total))
{
	struct qcow2 *q = w->q;
	struct qcow2_cache refs = { 0 };
	struct qcow2_array a = { 0 };
	uint64_t unit;
	int rc = take_clusters(w);

	/* Nothing is to be freed by the counts that will be no more. */
	if (!rc)
		rc = qcow2_write_back(q, true);
	while (!rc && (q->freed[0].n || q->freed[1].n))
		rc = qcow2_write_back(q, true);
	if (!rc)
		rc = find_old(w);
	if (!rc)
		rc = write_blocks(w, progress);
	if (!rc)
		rc = make_table(w, &a);
	if (!rc) {
		unit = qcow2_slice_size(q, a.n);
		rc = qcow2_cache_init(&refs, q, (uint32_t)unit, a.n * (q->cluster_size / unit),
				      (uint64_t)q->refs.max * q->refs.unit);
	}
	if (!rc)
		rc = write_header(w, &a);
	if (!rc)
		swap(w, &a, &refs);
	qcow2_cache_free(&refs);
	qcow2_array_free(&a);
	return rc;
}

int qcow2_set_refcount_order(struct qcow2 *q, uint32_t order,
			     void (*progress)(uint64_t done, uint64_t total), struct err *e)
{
	struct width w = { .q = q,
			   .e = e,
			   .order = order,
			   .block_bits = q->cluster_bits + 3 - order,
			   .max = order == 6 ? INT64_MAX : (1ull << (1u << order)) - 1 };
	int rc = build(&w, progress);

	if (rc && q->writable)
		give_back(&w);
	free(w.block);
	free(w.old);
	return rc;
}
