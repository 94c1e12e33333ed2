/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: tables in memory, and writing them back in an order that keeps the
 * image whole at any moment; see qcow2.h. The node's thread.
 *
 * A table is found by its place (slot), not by its offset. When there is no room, the
 * clock's hand takes the next one that is clean and has not been used since it
 * came by; when all are dirty, all are written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2.h"

enum {
	SECTOR = 512,
	RUN_MAX = 256 << 10, /* neighbours that are written in one go, bytes */
	RUNS = 16, /* writes at once */
};

/* --- tables --- */

int qcow2_cache_init(struct qcow2_cache *c, struct qcow2 *q, uint32_t unit, uint64_t n_slots,
		     uint64_t bytes)
{
	uint64_t max = bytes / unit;

	c->q = q;
	c->unit = unit;
	c->n_slots = n_slots;
	c->max = max < 2 ? 2 : max > UINT32_MAX / 2 ? UINT32_MAX / 2 : (unsigned)max;
	c->slot = calloc(n_slots ? n_slots : 1, sizeof(*c->slot));
	return c->slot ? 0 : -ENOMEM;
}

int qcow2_cache_grow(struct qcow2_cache *c, uint64_t n_slots)
{
	struct qcow2_table **slot;

	if (n_slots <= c->n_slots)
		return 0;
	slot = realloc(c->slot, n_slots * sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	memset(slot + c->n_slots, 0, (n_slots - c->n_slots) * sizeof(*slot));
	c->slot = slot;
	c->n_slots = n_slots;
	return 0;
}

static void free_table(struct qcow2_table *t)
{
	free(t->data);
	free(t->frozen);
	free(t);
}

/* Out of the cache; it is in no list. */
static void remove_table(struct qcow2_cache *c, struct qcow2_table *t)
{
	c->slot[t->slot] = NULL;
	c->ring[t->ring] = c->ring[--c->n];
	c->ring[t->ring]->ring = t->ring;
	free_table(t);
}

static struct qcow2_table *add_table(struct qcow2_cache *c, uint64_t slot, uint64_t host)
{
	struct qcow2_table *t;

	if (c->n == c->room) {
		unsigned room = c->room ? c->room * 2 : 64;
		struct qcow2_table **ring = realloc(c->ring, room * sizeof(*ring));

		if (!ring)
			return NULL;
		c->ring = ring;
		c->room = room;
	}
	t = calloc(1, sizeof(*t));
	if (!t || posix_memalign(&t->data, c->unit < 4096 ? 512 : 4096, c->unit)) {
		free(t);
		return NULL;
	}
	t->host = host;
	t->slot = (uint32_t)slot;
	t->used = true;
	t->ring = c->n;
	c->ring[c->n++] = t;
	c->slot[slot] = t;
	return t;
}

static void unlist_dirty(struct qcow2_cache *c, struct qcow2_table *t)
{
	struct qcow2_table **at = &c->dirty;

	while (*at != t)
		at = &(*at)->next_dirty;
	*at = t->next_dirty;
	t->dirty = false;
	c->n_dirty--;
}

void qcow2_cache_free(struct qcow2_cache *c)
{
	for (unsigned i = 0; i < c->n; i++)
		free_table(c->ring[i]);
	free(c->ring);
	free(c->slot);
	*c = (struct qcow2_cache){ 0 };
}

void qcow2_cache_drop(struct qcow2_cache *c, uint64_t first, uint64_t n)
{
	uint64_t end = first + n < c->n_slots ? first + n : c->n_slots;

	for (uint64_t s = first; s < end; s++) {
		struct qcow2_table *t = c->slot[s];

		if (t && t->dirty)
			unlist_dirty(c, t);
		if (t)
			remove_table(c, t);
	}
}

static bool in_use(const struct qcow2_table *t)
{
	return t->pins || t->dirty || t->writing || t->loading;
}

void qcow2_cache_clean(struct qcow2_cache *c)
{
	for (unsigned i = c->n; i-- > 0;) {
		struct qcow2_table *t = c->ring[i];

		if (!t->used && !in_use(t))
			remove_table(c, t);
		else
			t->used = false;
	}
}

static bool evict_one(struct qcow2_cache *c)
{
	for (unsigned i = 0; i < 2 * c->n; i++) {
		struct qcow2_table *t;

		c->hand = c->hand + 1 < c->n ? c->hand + 1 : 0;
		t = c->ring[c->hand];
		if (!t->used && !in_use(t)) {
			remove_table(c, t);
			return true;
		}
		t->used = false;
	}
	return false;
}

/* More than max only while all are in use, or by those that write-back itself needs. */
static int make_room(struct qcow2_cache *c)
{
	int rc;

	while (c->n >= c->max && evict_one(c))
		;
	if (c->n < c->max || !c->n_dirty || c->q->write_lock.held)
		return 0;
	rc = qcow2_write_back(c->q, false);
	while (!rc && c->n >= c->max && evict_one(c))
		;
	return rc;
}

int qcow2_cache_get(struct qcow2_cache *c, uint64_t slot, uint64_t host, bool zero,
		    struct qcow2_table **out)
{
	struct qcow2_table *t;
	int rc;

	if (slot >= c->n_slots)
		return -EIO;
	while ((t = c->slot[slot]) && t->loading)
		co_queue_wait(&t->loaded);
	if (!t) {
		rc = make_room(c);
		if (rc)
			return rc;
		/* Others may have been here while room was made. */
		if (c->slot[slot])
			return qcow2_cache_get(c, slot, host, zero, out);
		t = add_table(c, slot, host);
		if (!t)
			return -ENOMEM;
		if (zero) {
			memset(t->data, 0, c->unit);
			*out = t;
			return 0;
		}
		t->loading = true;
		t->pins++;
		rc = co_pread(c->q->node->file, host, t->data, c->unit);
		t->loading = false;
		if (rc)
			c->slot[slot] = NULL; /* who waits for it tries again */
		co_queue_wake_all(&t->loaded);
		t->pins--;
		if (rc) {
			struct qcow2_table *other = c->slot[slot];

			remove_table(c, t);
			c->slot[slot] = other;
			return rc;
		}
	}
	t->used = true;
	*out = t;
	return 0;
}

int qcow2_cache_dirty(struct qcow2_cache *c, struct qcow2_table *t)
{
	if (t->writing && !t->frozen && c == &c->q->l2) {
		t->frozen = malloc(c->unit);
		if (!t->frozen)
			return -ENOMEM;
		memcpy(t->frozen, t->data, c->unit);
	}
	if (t->dirty)
		return 0;
	t->dirty = true;
	t->next_dirty = c->dirty;
	c->dirty = t;
	c->n_dirty++;
	return 0;
}

/* --- writing many pieces --- */

struct piece {
	uint64_t host;
	const void *data;
	const struct qcow2_table *t; /* instead of data: as it was when write-back began */
	uint32_t len;
};

struct run {
	struct blk_io io;
	struct iovec iov;
	struct runs *all;
};

struct runs {
	struct run run[RUNS];
	unsigned n, pending;
	struct co *co; /* waits for all */
	int ret;
};

static void on_run(struct blk_io *io, int ret)
{
	struct run *r = container_of(io, struct run, io);
	struct runs *all = r->all;

	free(r->iov.iov_base);
	if (ret)
		all->ret = ret;
	if (!--all->pending && all->co)
		co_enter(all->co);
}

/* [co] */
static int runs_wait(struct runs *all)
{
	all->co = co_self();
	if (all->pending)
		co_yield ();
	all->co = NULL;
	all->n = 0;
	return all->ret;
}

static int run_submit(struct runs *all, struct blk_node *file, const struct piece *p, size_t n,
		      size_t len)
{
	struct run *r = &all->run[all->n];
	char *buf;

	if (posix_memalign((void **)&buf, 4096, len))
		return -ENOMEM;
	r->iov = (struct iovec){ .iov_base = buf, .iov_len = len };
	for (size_t i = 0; i < n; i++, buf += p->len, p++)
		memcpy(buf, !p->t ? p->data : p->t->frozen ? p->t->frozen : p->t->data, p->len);
	r->all = all;
	r->io = (struct blk_io){ .op = BLK_WRITE,
				 .off = (p - n)->host,
				 .len = len,
				 .iov = &r->iov,
				 .n_iov = 1,
				 .done = on_run };
	all->n++;
	all->pending++;
	blk_node_submit(file, &r->io);
	return 0;
}

static int by_host(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->host < y->host ? -1 : x->host > y->host;
}

/* [co] Neighbours together, and many at once; the data are copied before they go out. */
static int write_pieces(struct qcow2 *q, struct piece *p, size_t n)
{
	struct runs *all = calloc(1, sizeof(*all));
	int rc = all ? 0 : -ENOMEM;
	size_t i = 0;

	if (n)
		qsort(p, n, sizeof(*p), by_host);
	while (!rc && i < n) {
		size_t k = i + 1, len = p[i].len;

		while (k < n && p[k].host == p[i].host + len && len + p[k].len <= RUN_MAX)
			len += p[k++].len;
		if (all->n == RUNS)
			rc = runs_wait(all);
		if (!rc)
			rc = run_submit(all, q->node->file, p + i, k - i, len);
		i = k;
	}
	if (all) {
		int ret = runs_wait(all);

		rc = rc ? rc : ret;
	}
	free(all);
	q->unflushed = true;
	return rc;
}

/* --- tables and arrays as pieces --- */

/* Takes the list of dirty tables: they are to be written as they are now. */
static struct qcow2_table *take_dirty(struct qcow2_cache *c, size_t *n)
{
	struct qcow2_table *first = NULL, *t;

	*n = c->n_dirty;
	while ((t = c->dirty)) {
		c->dirty = t->next_dirty;
		t->dirty = false;
		t->writing = true;
		t->next_writing = first;
		first = t;
	}
	c->n_dirty = 0;
	return first;
}

/* The end of take_dirty; after an error they are dirty again. */
static void give_back(struct qcow2_cache *c, struct qcow2_table *first, int rc)
{
	struct qcow2_table *t;

	while ((t = first)) {
		first = t->next_writing;
		free(t->frozen);
		t->frozen = NULL;
		t->writing = false;
		if (rc)
			qcow2_cache_dirty(c, t);
	}
}

/* [co] */
static int write_tables(struct qcow2_cache *c, const struct qcow2_table *first, size_t n)
{
	struct piece *p = n ? malloc(n * sizeof(*p)) : NULL;
	size_t i = 0;
	int rc;

	if (!n)
		return 0;
	if (!p)
		return -ENOMEM;
	for (const struct qcow2_table *t = first; t; t = t->next_writing)
		p[i++] = (struct piece){ .host = t->host, .t = t, .len = c->unit };
	rc = write_pieces(c->q, p, n);
	free(p);
	return rc;
}

/*
 * The changed sectors of an array, copied: *n of them in *p, whose data are in *copy. From then on
 * they count as unchanged.
 */
static int array_take(struct qcow2_array *a, struct piece **p, size_t *n, uint8_t **copy)
{
	size_t k = 0, at = 0;

	*p = NULL;
	*copy = NULL;
	*n = 0;
	if (a->first_changed >= a->end_changed)
		return 0;
	for (uint64_t s = a->first_changed; s < a->end_changed; s++)
		k += a->changed[s];
	*p = malloc(k * sizeof(**p));
	*copy = malloc(k * SECTOR);
	if (!*p || !*copy) {
		free(*p);
		free(*copy);
		*p = NULL;
		*copy = NULL;
		return -ENOMEM;
	}
	for (uint64_t s = a->first_changed; s < a->end_changed; s++) {
		uint64_t left = a->n * sizeof(a->entry[0]) - s * SECTOR;
		uint32_t len = left < SECTOR ? (uint32_t)left : SECTOR;

		if (!a->changed[s])
			continue;
		a->changed[s] = 0;
		memcpy(*copy + at, (const char *)a->entry + s * SECTOR, len);
		(*p)[(*n)++] = (struct piece){ .host = a->host + s * SECTOR,
					       .data = *copy + at,
					       .len = len };
		at += SECTOR;
	}
	a->first_changed = a->end_changed = 0;
	return 0;
}

static void mark_sector(struct qcow2_array *a, uint64_t s)
{
	a->changed[s] = 1;
	if (a->first_changed >= a->end_changed) {
		a->first_changed = s;
		a->end_changed = s + 1;
	} else if (s < a->first_changed) {
		a->first_changed = s;
	} else if (s >= a->end_changed) {
		a->end_changed = s + 1;
	}
}

/*
 * Two bits for each entry of 64 bits in marks: of clusters that no entry refers to, one in a
 * thousand needs a look at all entries.
 */
static bool test_marks(struct qcow2_array *a, uint64_t host, bool set)
{
	uint64_t h = (host >> QCOW2_MIN_CLUSTER_BITS) * 0x9e3779b97f4a7c15ull;
	uint64_t *x = &a->marks[h >> 32 & (a->n_marks - 1)], x_bit = 1ull << (h >> 26 & 63);
	uint64_t *y = &a->marks[h >> 44 & (a->n_marks - 1)], y_bit = 1ull << (h >> 20 & 63);
	bool was = *x & x_bit && *y & y_bit;

	if (set) {
		*x |= x_bit;
		*y |= y_bit;
	}
	return was;
}

static void make_marks(struct qcow2_array *a)
{
	uint64_t n = 64;

	while (n < a->n)
		n *= 2;
	a->marks = calloc(n, sizeof(*a->marks));
	a->n_marks = n;
	a->marked = 0;
	for (uint64_t i = 0; a->marks && i < a->n; i++)
		if (a->entry[i].raw)
			test_marks(a, be64_to_cpu(a->entry[i]) & QCOW2_OFFSET_MASK, true);
}

bool qcow2_array_refers(struct qcow2_array *a, uint64_t host)
{
	if (!a->marks)
		make_marks(a);
	if (!a->marks || !test_marks(a, host, false))
		return false;
	for (uint64_t i = 0; i < a->n; i++)
		if (a->entry[i].raw && (be64_to_cpu(a->entry[i]) & QCOW2_OFFSET_MASK) == host)
			return true;
	return false;
}

void qcow2_array_set(struct qcow2_array *a, uint64_t i, uint64_t value)
{
	a->entry[i] = cpu_to_be64(value);
	mark_sector(a, i * sizeof(a->entry[0]) / SECTOR);
	if (!a->marks)
		return;
	test_marks(a, value & QCOW2_OFFSET_MASK, true);
	/* Those of entries that are gone stay: now and then they are made anew, when needed. */
	if (++a->marked > 2 * a->n_marks) {
		free(a->marks);
		a->marks = NULL;
	}
}

void qcow2_array_free(struct qcow2_array *a)
{
	free(a->entry);
	free(a->changed);
	free(a->marks);
	*a = (struct qcow2_array){ 0 };
}

static void array_end(struct qcow2_array *a, struct piece *p, size_t n, uint8_t *copy, int rc)
{
	for (size_t i = 0; rc && i < n; i++)
		mark_sector(a, (p[i].host - a->host) / SECTOR);
	free(p);
	free(copy);
}

/* --- write-back --- */

/* [co] Data that were copied are ordered by this, too. */
static int flush(struct qcow2 *q)
{
	int rc = q->external ? co_flush(q->data) : 0;

	if (!rc)
		rc = co_flush(q->node->file);
	if (!rc)
		q->unflushed = false;
	return rc;
}

struct taken {
	struct qcow2_table *refs, *l2;
	size_t n_refs, n_l2;
	struct piece *reft, *l1;
	size_t n_reft, n_l1;
	uint8_t *reft_copy, *l1_copy;
};

/* [co] */
static int write_counts(struct qcow2 *q, struct taken *w)
{
	int rc = write_tables(&q->refs, w->refs, w->n_refs);

	if (rc || !w->n_reft)
		return rc;
	/* A block is there before the table that says where. */
	rc = flush(q);
	return rc ? rc : write_pieces(q, w->reft, w->n_reft);
}

/* [co] */
static int write_maps(struct qcow2 *q, struct taken *w)
{
	int rc;

	if (!w->n_l2 && !w->n_l1)
		return 0;
	/* What is referred to is counted, and copied data are there. */
	rc = flush(q);
	if (!rc)
		rc = write_tables(&q->l2, w->l2, w->n_l2);
	if (rc || !w->n_l1)
		return rc;
	rc = flush(q);
	return rc ? rc : write_pieces(q, w->l1, w->n_l1);
}

static bool freed(const struct qcow2 *q)
{
	return q->freed[0].n || q->freed[1].n;
}

bool qcow2_is_dirty(const struct qcow2 *q)
{
	return q->l2.n_dirty || q->refs.n_dirty || q->l1.end_changed || q->reftable.end_changed ||
	       freed(q) || q->write_lock.held;
}

/* [co] counts: refcounts too, though they may be wrong on disk for now (lazy refcounts). */
static int write_all(struct qcow2 *q, bool durable, bool counts)
{
	struct taken w = { 0 };
	int rc;

	rc = array_take(&q->l1, &w.l1, &w.n_l1, &w.l1_copy);
	if (!rc && counts)
		rc = array_take(&q->reftable, &w.reft, &w.n_reft, &w.reft_copy);
	if (rc)
		goto out;
	w.l2 = take_dirty(&q->l2, &w.n_l2);
	if (counts)
		w.refs = take_dirty(&q->refs, &w.n_refs);
	rc = write_counts(q, &w);
	give_back(&q->refs, w.refs, rc);
	if (!rc)
		rc = write_maps(q, &w);
	give_back(&q->l2, w.l2, rc);
out:
	array_end(&q->l1, w.l1, w.n_l1, w.l1_copy, rc);
	array_end(&q->reftable, w.reft, w.n_reft, w.reft_copy, rc);
	if (!rc && (durable || freed(q)))
		rc = flush(q);
	if (!rc && freed(q))
		rc = qcow2_free_apply(q);
	return rc;
}

int qcow2_write_back(struct qcow2 *q, bool durable)
{
	int rc;

	co_lock(&q->write_lock);
	rc = write_all(q, durable, !q->dirty_mark || q->refs.n >= q->refs.max);
	co_unlock(&q->write_lock);
	return rc;
}

int qcow2_write_refcounts_locked(struct qcow2 *q)
{
	struct taken w = { 0 };
	int rc = array_take(&q->reftable, &w.reft, &w.n_reft, &w.reft_copy);

	if (rc)
		return rc;
	w.refs = take_dirty(&q->refs, &w.n_refs);
	rc = write_counts(q, &w);
	give_back(&q->refs, w.refs, rc);
	array_end(&q->reftable, w.reft, w.n_reft, w.reft_copy, rc);
	return rc ? rc : flush(q);
}

int qcow2_write_refcounts(struct qcow2 *q)
{
	int rc;

	co_lock(&q->write_lock);
	rc = qcow2_write_refcounts_locked(q);
	co_unlock(&q->write_lock);
	return rc;
}
