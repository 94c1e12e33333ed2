/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions of guest-visible memory, flattened to what wins at each address and
 * given to KVM as slots. See include/memmap.h. Any thread.
 *
 * A slot that stays as it is, is not touched: CPUs may be running from it. So parts of
 * different regions are not merged, though they may lie side by side.
 */
#include "memmap.h"
#include "memwatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096u
enum { POINTS = 2 * MEMMAP_REGIONS };

void memmap_init(struct memmap *mm, const struct memmap_ops *ops, void *ctx)
{
	memset(mm, 0, sizeof(*mm));
	pthread_mutex_init(&mm->lock, NULL);
	mm->ops = ops;
	mm->ctx = ctx;
}

void memmap_fini(struct memmap *mm)
{
	pthread_mutex_destroy(&mm->lock);
}

/* --- flattening: the lock is held in all of this -------------------------------------- */

static int compare_points(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static struct mem_region *winner(const struct memmap *mm, uint64_t gpa)
{
	struct mem_region *best = NULL;

	for (unsigned i = 0; i < mm->n; i++) {
		struct mem_region *r = mm->region[i];

		if (gpa - r->gpa >= r->size)
			continue;
		if (!best || r->prio > best->prio || (r->prio == best->prio && r->seq > best->seq))
			best = r;
	}
	return best;
}

/* [start, end) is one region's, or nobody's. */
static int add_segment(struct mem_segment *out, unsigned *n, struct mem_region *r, uint64_t start,
		       uint64_t end)
{
	struct mem_segment *last = *n ? &out[*n - 1] : NULL;

	if (last && last->region == r && last->gpa + last->size == start) {
		last->size += end - start;
		return 0;
	}
	if (*n == MEMMAP_SLOTS)
		return -ENOSPC;
	out[(*n)++] = (struct mem_segment){
		.region = r,
		.gpa = start,
		.size = end - start,
		.host = r->host ? r->host + (start - r->gpa) : NULL,
		.readonly = r->readonly,
		.log_dirty = r->log_dirty,
	};
	return 0;
}

static int flatten(const struct memmap *mm, struct mem_segment *out, unsigned *n)
{
	uint64_t point[POINTS];
	unsigned n_points = 0;
	int rc = 0;

	for (unsigned i = 0; i < mm->n; i++) {
		point[n_points++] = mm->region[i]->gpa;
		point[n_points++] = mm->region[i]->gpa + mm->region[i]->size;
	}
	qsort(point, n_points, sizeof(point[0]), compare_points);
	*n = 0;
	for (unsigned i = 0; !rc && i + 1 < n_points; i++) {
		struct mem_region *r = point[i] < point[i + 1] ? winner(mm, point[i]) : NULL;

		if (r)
			rc = add_segment(out, n, r, point[i], point[i + 1]);
	}
	return rc;
}

static bool same(const struct mem_segment *a, const struct mem_segment *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
	       a->readonly == b->readonly && a->log_dirty == b->log_dirty;
}

static unsigned free_slot(const bool *used)
{
	unsigned i = 0;

	while (i < MEMMAP_SLOTS && used[i])
		i++;
	return i;
}

/* Makes the slots those of now[]; first what goes, then what comes. */
static int apply(struct memmap *mm, struct mem_segment *now, unsigned n)
{
	bool used[MEMMAP_SLOTS] = { false }, kept[MEMMAP_SLOTS] = { false };
	int rc = 0, first = 0;

	for (unsigned i = 0; i < mm->n_segs; i++) {
		const struct mem_segment *old = &mm->seg[i];
		unsigned j = 0;

		while (j < n && !same(old, &now[j]))
			j++;
		if (j < n) {
			now[j].slot = old->slot;
			kept[j] = true;
		} else if (old->host) {
			rc = mm->ops->set(mm->ctx, old->slot, old->gpa, 0, NULL, false, false);
			first = first ? first : rc;
			continue;
		}
		if (old->host)
			used[old->slot] = true;
	}
	for (unsigned j = 0; j < n; j++) {
		if (kept[j] || !now[j].host)
			continue;
		now[j].slot = free_slot(used);
		used[now[j].slot] = true;
		rc = mm->ops->set(mm->ctx, now[j].slot, now[j].gpa, now[j].size, now[j].host,
				  now[j].readonly, now[j].log_dirty);
		first = first ? first : rc;
	}
	memcpy(mm->seg, now, n * sizeof(now[0]));
	mm->n_segs = n;
	return first;
}

static int update(struct memmap *mm)
{
	struct mem_segment now[MEMMAP_SLOTS];
	unsigned n;
	int rc;

	if (mm->batch)
		return 0;
	rc = flatten(mm, now, &n);
	return rc ? rc : apply(mm, now, n);
}

/* --- for devices --------------------------------------------------------------------- */

int memmap_map(struct memmap *mm, struct mem_region *r, uint64_t gpa)
{
	int rc;

	pthread_mutex_lock(&mm->lock);
	if (mm->n == MEMMAP_REGIONS || r->mapped || gpa % PAGE || r->size % PAGE || !r->size ||
	    gpa + r->size < gpa) {
		rc = mm->n == MEMMAP_REGIONS ? -ENOSPC : -EINVAL;
	} else {
		r->gpa = gpa;
		r->seq = ++mm->seq;
		r->mapped = true;
		mm->region[mm->n++] = r;
		rc = update(mm);
	}
	pthread_mutex_unlock(&mm->lock);
	return rc;
}

int memmap_unmap(struct memmap *mm, struct mem_region *r)
{
	int rc = 0;

	pthread_mutex_lock(&mm->lock);
	for (unsigned i = 0; r->mapped && i < mm->n; i++) {
		if (mm->region[i] != r)
			continue;
		mm->region[i] = mm->region[--mm->n];
		r->mapped = false;
		rc = update(mm);
	}
	pthread_mutex_unlock(&mm->lock);
	return rc;
}

int memmap_set(struct memmap *mm, struct mem_region *r, uint8_t *host, bool readonly)
{
	int rc;

	pthread_mutex_lock(&mm->lock);
	r->host = host;
	r->readonly = readonly;
	rc = r->mapped ? update(mm) : 0;
	pthread_mutex_unlock(&mm->lock);
	return rc;
}

void memmap_begin(struct memmap *mm)
{
	pthread_mutex_lock(&mm->lock);
	mm->batch++;
	pthread_mutex_unlock(&mm->lock);
}

int memmap_commit(struct memmap *mm)
{
	int rc;

	pthread_mutex_lock(&mm->lock);
	mm->batch--;
	rc = update(mm);
	pthread_mutex_unlock(&mm->lock);
	return rc;
}

/* --- accesses that KVM does not make ---------------------------------------------------- */

/* [off, off + len) of r is about to be written. */
static void note(struct mem_region *r, uint64_t off, size_t len)
{
	struct mem_noted *n = &r->noted[0];
	uint64_t first = off / PAGE, end = (off + len + PAGE - 1) / PAGE;

	if (n->first == n->end)
		n->first = first;
	n->first = first < n->first ? first : n->first;
	n->end = end > n->end ? end : n->end;
}

/* As memmap_ptr; the lock is held. */
static uint8_t *find(struct memmap *mm, uint64_t gpa, size_t len, bool write)
{
	for (unsigned i = 0; i < mm->n_segs; i++) {
		const struct mem_segment *s = &mm->seg[i];
		struct mem_region *r = s->region;
		uint64_t off = gpa - s->gpa;

		if (off >= s->size || !s->host || len > s->size - off || (write && s->readonly))
			continue;
		if (write)
			mem_watches_end(mm, s->host + off, len);
		off += s->gpa - r->gpa;
		if (write && s->log_dirty)
			note(r, off, len);
		return (r->own ? r->own : r->host) + off;
	}
	return NULL;
}

void *memmap_ptr(struct memmap *mm, uint64_t gpa, size_t len, bool write)
{
	uint8_t *p;

	pthread_mutex_lock(&mm->lock);
	p = find(mm, gpa, len, write);
	pthread_mutex_unlock(&mm->lock);
	return p;
}

bool memmap_access(struct memmap *mm, uint64_t gpa, void *buf, unsigned len, bool write)
{
	uint8_t *p;

	pthread_mutex_lock(&mm->lock);
	p = find(mm, gpa, len, write);
	if (p && write)
		memcpy(p, buf, len);
	else if (p)
		memcpy(buf, p, len);
	pthread_mutex_unlock(&mm->lock);
	return p;
}

/* --- the dirty log ------------------------------------------------------------------------ */

/* ORs n bits into to, from bit `at` on. */
static void or_bits(uint64_t *to, uint64_t at, const uint64_t *from, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (from[i / 64] >> i % 64 & 1)
			to[(at + i) / 64] |= 1ull << (at + i) % 64;
}

static void report_noted(struct mem_region *r, uint64_t *bitmap)
{
	for (unsigned i = 0; i < 2; i++)
		for (uint64_t page = r->noted[i].first; page < r->noted[i].end; page++)
			bitmap[page / 64] |= 1ull << page % 64;
	r->noted[1] = r->noted[0];
	r->noted[0] = (struct mem_noted){ 0 };
}

int memmap_dirty(struct memmap *mm, struct mem_region *r, uint64_t *bitmap)
{
	uint64_t *part = calloc((r->size / PAGE + 63) / 64, sizeof(*part));
	int rc = part ? 0 : -ENOMEM;

	pthread_mutex_lock(&mm->lock);
	report_noted(r, bitmap);
	for (unsigned i = 0; !rc && i < mm->n_segs; i++) {
		const struct mem_segment *s = &mm->seg[i];

		if (s->region != r || !s->host || !s->log_dirty)
			continue;
		memset(part, 0, (r->size / PAGE + 63) / 64 * sizeof(*part));
		rc = mm->ops->get_dirty(mm->ctx, s->slot, part);
		if (!rc)
			or_bits(bitmap, (s->gpa - r->gpa) / PAGE, part, s->size / PAGE);
	}
	pthread_mutex_unlock(&mm->lock);
	free(part);
	return rc;
}

void memmap_each(struct memmap *mm, void (*fn)(void *ctx, const struct mem_segment *s), void *ctx)
{
	pthread_mutex_lock(&mm->lock);
	for (unsigned i = 0; i < mm->n_segs; i++)
		fn(ctx, &mm->seg[i]);
	pthread_mutex_unlock(&mm->lock);
}
