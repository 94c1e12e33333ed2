/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: what the image tool does to persistent dirty bitmaps, and what becomes of them when
 * the disk gets another size. Main thread. How bitmaps are kept is told in qcow2_bitmap.c;
 * what is changed here counts as in use until the image is closed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "qcow2.h"

/* --- finding one --- */

static struct qcow2_bitmap *find(struct qcow2 *q, const char *name)
{
	for (size_t i = 0; i < q->bitmaps.n; i++)
		if (!strcmp(q->bitmaps.item[i].name, name))
			return &q->bitmaps.item[i];
	return NULL;
}

static int not_found(const char *name, struct err *e)
{
	return err_set(e, ERR_USAGE, ENOENT, "Dirty bitmap '%s' not found", name);
}

static int check_usable(const struct qcow2 *q, const struct qcow2_bitmap *b, struct err *e)
{
	if (b->usable && !b->lost)
		return 0;
	err_set(e, ERR_INPUT, EINVAL, "Bitmap '%s' is inconsistent and cannot be used", b->name);
	err_hint(e, "remove it: posada-img bitmap --remove %s %s", q->node->filename, b->name);
	return -EINVAL;
}

/* One that exists and may be used. */
static int get(struct qcow2 *q, const char *name, struct qcow2_bitmap **b, struct err *e)
{
	int rc = qcow2_bitmaps_load(q, e);

	if (rc)
		return rc;
	*b = find(q, name);
	return *b ? check_usable(q, *b, e) : not_found(name, e);
}

static int told(int rc, const struct qcow2 *q, struct err *e)
{
	return rc ? err_set(e, ERR_INPUT, -rc, "%s: cannot change its bitmaps: %s",
			    q->node->filename, strerror(-rc))
		  : 0;
}

int qcow2_bitmap_list(struct blk_node *n, struct blk_bitmap **list, size_t *count, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	int rc = qcow2_bitmaps_load(q, e);

	*list = NULL;
	*count = 0;
	if (rc || !q->bitmaps.n)
		return rc;
	*list = calloc(q->bitmaps.n, sizeof(**list));
	for (size_t i = 0; *list && i < q->bitmaps.n; i++) {
		const struct qcow2_bitmap *b = &q->bitmaps.item[i];
		uint32_t flags = be32_to_cpu(b->entry.flags);

		(*list)[i] = (struct blk_bitmap){
			.name = strdup(b->name),
			.granularity = 1ull << b->entry.granularity_bits,
			.enabled = flags & QCOW2_BITMAP_AUTO,
			.in_use = flags & QCOW2_BITMAP_IN_USE,
		};
		*count = i + 1;
		if ((*list)[i].name)
			continue;
		blk_bitmaps_free(*list, *count);
		*list = NULL;
	}
	return *list ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

/* --- adding --- */

struct call {
	struct qcow2 *q;
	struct qcow2_bitmap *b;
	struct qcow2_bitmap new;
	bool on;
};

/* [co] */
static int begin(struct qcow2 *q)
{
	return q->writable ? qcow2_begin_write(q) : -EROFS;
}

/* [co] Clusters for b's table, all of it zero but what `from` says. */
static int make_table(struct qcow2 *q, struct qcow2_bitmap *b, const struct be64 *from, uint64_t n)
{
	uint64_t host, bytes = 8ull * be32_to_cpu(b->entry.table_size);
	uint64_t clusters = qcow2_clusters(q, bytes);
	struct be64 *table = calloc(clusters, q->cluster_size);
	bool zero;
	int rc = table ? qcow2_alloc(q, clusters, true, &host, NULL, &zero) : -ENOMEM;

	if (!rc) {
		b->entry.table_offset = cpu_to_be64(host);
		if (from)
			memcpy(table, from, n * sizeof(*table));
		rc = co_pwrite(q->node->file, host, table, clusters << q->cluster_bits, 0);
		if (rc)
			qcow2_free(q, host, bytes, false);
	}
	free(table);
	return rc;
}

static void free_table(struct qcow2 *q, const struct qcow2_bitmap *b)
{
	qcow2_free(q, be64_to_cpu(b->entry.table_offset), 8ull * be32_to_cpu(b->entry.table_size),
		   false);
}

/* [co] */
static int add(void *arg)
{
	struct call *c = arg;
	struct qcow2 *q = c->q;
	struct qcow2_bitmaps *s = &q->bitmaps;
	struct qcow2_bitmap *item;
	int rc = begin(q);

	item = rc ? NULL : realloc(s->item, (s->n + 1) * sizeof(*item));
	if (!item)
		return rc ? rc : -ENOMEM;
	s->item = item;
	rc = make_table(q, &c->new, NULL, 0);
	if (rc)
		return rc;
	s->item[s->n++] = c->new;
	rc = qcow2_bitmaps_write(q);
	if (rc) {
		s->n--;
		free_table(q, &c->new);
	}
	qcow2_bitmaps_choose(q);
	return rc;
}

static int check_new(struct qcow2 *q, const struct blk_bitmap *new, struct qcow2_bitmap *b,
		     struct err *e)
{
	uint64_t g = new->granularity, len, entries;

	if (!*new->name)
		return err_set(e, ERR_USAGE, EINVAL, "Bitmap name cannot be empty");
	if (find(q, new->name))
		return err_set(e, ERR_USAGE, EEXIST, "Bitmap already exists: %s", new->name);
	if (g < 1u << QCOW2_BITMAP_MIN_BITS || g > 1u << QCOW2_BITMAP_MAX_BITS || g & (g - 1))
		return err_set(e, ERR_USAGE, EINVAL,
			       "Granularity must be power of 2 and at least 512, and at most 2G");
	b->entry.granularity_bits = (uint8_t)__builtin_ctzll(g);
	if (!q->v3)
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "Cannot store dirty bitmaps in qcow2 v2 files");
	if (strlen(new->name) > QCOW2_BITMAP_NAME_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "Name length exceeds maximum (%d characters)",
			       QCOW2_BITMAP_NAME_MAX);
	if (q->bitmaps.n == QCOW2_BITMAPS_MAX)
		return err_set(e, ERR_INPUT, EOVERFLOW,
			       "Maximum number of persistent bitmaps (%d) is already reached",
			       QCOW2_BITMAPS_MAX);
	len = qcow2_bitmap_len(b, q->node->size);
	entries = qcow2_bitmap_entries(q, len);
	if (len > QCOW2_BITMAP_LEN_MAX || entries > QCOW2_BITMAP_TABLE_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
			       "Too much space will be occupied by the bitmap. Use larger "
			       "granularity");
	if (!len)
		return err_set(e, ERR_INPUT, EINVAL, "'%s' has no bytes to record writes of",
			       q->node->filename);
	b->entry.table_size = cpu_to_be32((uint32_t)entries);
	return 0;
}

static uint64_t default_granularity(const struct qcow2 *q)
{
	return q->cluster_size < 4096 ? 4096 : q->cluster_size > 65536 ? 65536 : q->cluster_size;
}

int qcow2_bitmap_add(struct blk_node *n, const struct blk_bitmap *new, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	struct call c = { .q = q, .new = { .usable = true, .marked = true } };
	struct blk_bitmap want = *new;
	int rc = qcow2_bitmaps_load(q, e);

	if (!want.granularity)
		want.granularity = default_granularity(q);
	if (!rc)
		rc = check_new(q, &want, &c.new, e);
	if (rc)
		return rc;
	c.new.entry.type = QCOW2_BITMAP_DIRTY;
	c.new.entry.name_size = cpu_to_be16((uint16_t)strlen(want.name));
	c.new.entry.flags =
		cpu_to_be32(QCOW2_BITMAP_IN_USE | (want.enabled ? QCOW2_BITMAP_AUTO : 0));
	c.new.name = strdup(want.name);
	rc = c.new.name ? qcow2_run(q, add, &c) : -ENOMEM;
	if (rc)
		free(c.new.name);
	return told(rc, q, e);
}

/* --- removing, clearing --- */

static void free_data(struct qcow2 *q, const struct be64 *table, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		uint64_t host = be64_to_cpu(table[i]) & QCOW2_OFFSET_MASK;

		if (host)
			qcow2_free(q, host, q->cluster_size, false);
	}
}

/* [co] */
static int remove_one(void *arg)
{
	struct call *c = arg;
	struct qcow2 *q = c->q;
	struct qcow2_bitmaps *s = &q->bitmaps;
	size_t at = (size_t)(c->b - s->item), after;
	struct be64 *table = NULL;
	struct qcow2_bitmap b;
	int rc = begin(q);

	if (rc)
		return rc;
	/* What a broken table refers to stays counted: check gives it back. */
	qcow2_bitmap_table(q, c->b, &table);
	b = *c->b;
	after = --s->n - at;
	memmove(c->b, c->b + 1, after * sizeof(b));
	rc = qcow2_bitmaps_write(q);
	if (rc) {
		memmove(c->b + 1, c->b, after * sizeof(b));
		*c->b = b;
		s->n++;
	} else {
		if (table)
			free_data(q, table, 0, be32_to_cpu(b.entry.table_size));
		free_table(q, &b);
		qcow2_bitmap_done(q, &b);
	}
	free(table);
	qcow2_bitmaps_choose(q);
	return rc;
}

int qcow2_bitmap_remove(struct blk_node *n, const char *name, struct err *e)
{
	struct call c = { .q = qcow2_of(n) };
	int rc = qcow2_bitmaps_load(c.q, e);

	if (rc)
		return rc;
	c.b = find(c.q, name);
	return c.b ? told(qcow2_run(c.q, remove_one, &c), c.q, e) : not_found(name, e);
}

/* [co] */
static int mark(void *arg)
{
	struct call *c = arg;
	int rc = begin(c->q);

	return rc ? rc : qcow2_bitmap_mark(c->q, c->b);
}

/* [co] */
static int clear(void *arg)
{
	struct call *c = arg;
	struct qcow2 *q = c->q;
	uint32_t n = be32_to_cpu(c->b->entry.table_size);
	struct be64 *table = NULL;
	int rc = mark(c);

	if (!rc)
		rc = qcow2_bitmap_table(q, c->b, &table);
	if (!rc)
		rc = co_zero(q->node->file, be64_to_cpu(c->b->entry.table_offset), 8ull * n, 0);
	if (!rc)
		rc = co_flush(q->node->file);
	if (!rc) {
		free_data(q, table, 0, n);
		qcow2_bitmap_forget(q, c->b, 0);
	}
	free(table);
	return rc;
}

int qcow2_bitmap_clear(struct blk_node *n, const char *name, struct err *e)
{
	struct call c = { .q = qcow2_of(n) };
	int rc = get(c.q, name, &c.b, e);

	return rc ? rc : told(qcow2_run(c.q, clear, &c), c.q, e);
}

/* --- enabling --- */

int qcow2_bitmap_enable(struct blk_node *n, const char *name, bool on, struct err *e)
{
	struct call c = { .q = qcow2_of(n) };
	uint32_t flags;
	int rc = get(c.q, name, &c.b, e);

	if (rc)
		return rc;
	/* The flag goes to the file together with the mark, at close. */
	rc = qcow2_run(c.q, mark, &c);
	if (!rc) {
		flags = be32_to_cpu(c.b->entry.flags) & ~QCOW2_BITMAP_AUTO;
		c.b->entry.flags = cpu_to_be32(flags | (on ? QCOW2_BITMAP_AUTO : 0));
		qcow2_bitmaps_choose(c.q);
	}
	return told(rc, c.q, e);
}

/* --- merging --- */

struct merge {
	struct qcow2 *to, *from;
	struct qcow2_bitmap *dst, *src;
};

/* Bits [bit, bit + n) of the source. */
static void merge_run(const struct merge *m, uint64_t bit, uint64_t n)
{
	unsigned g = m->src->entry.granularity_bits;
	uint64_t off = bit << g, end = (bit + n) << g, size = m->to->node->size;

	end = end < size ? end : size;
	if (off < end)
		qcow2_bitmap_set(m->to, m->dst, off, end - off);
}

static void merge_part(const struct merge *m, uint64_t first, const uint8_t *p, uint64_t bits)
{
	uint64_t run = 0;

	for (uint64_t i = 0; i <= bits; i++) {
		if (i < bits && !run && !(i % 8) && !p[i / 8]) {
			i += 7;
		} else if (i < bits && p[i / 8] >> i % 8 & 1) {
			run++;
		} else if (run) {
			merge_run(m, first + i - run, run);
			run = 0;
		}
	}
}

/* Entry i: what the file has, and what has been recorded since. */
static int read_part(const struct merge *m, uint64_t v, uint64_t i, uint8_t *buf)
{
	struct blk_node *file = m->from->node->file;
	uint64_t host = v & QCOW2_OFFSET_MASK, len = m->from->cluster_size;
	const uint8_t *new = m->src->bits ? m->src->bits[i] : NULL;
	int rc = 0;

	memset(buf, v & QCOW2_BITMAP_ONES ? 0xff : 0, len);
	if (host)
		rc = co_pread(file, host, buf, len < file->size - host ? len : file->size - host);
	for (uint64_t k = 0; new &&k < len; k++)
		buf[k] |= new[k];
	return rc;
}

/* Outside of coroutines: two images are waited for. */
static int merge_bits(const struct merge *m)
{
	uint64_t n = be32_to_cpu(m->src->entry.table_size), bits = m->from->cluster_size * 8;
	uint8_t *buf = malloc(m->from->cluster_size);
	struct be64 *table = NULL;
	int rc = buf ? qcow2_bitmap_table(m->from, m->src, &table) : -ENOMEM;

	for (uint64_t i = 0; !rc && i < n; i++) {
		uint64_t v = be64_to_cpu(table[i]);

		if (!v && !(m->src->bits && m->src->bits[i]))
			continue;
		rc = read_part(m, v, i, buf);
		if (!rc)
			merge_part(m, i * bits, buf, bits);
		if (!rc && m->dst->lost)
			rc = -ENOMEM;
	}
	free(table);
	free(buf);
	return rc;
}

int qcow2_bitmap_merge(struct blk_node *n, const char *name, struct blk_node *from,
		       const char *source, struct err *e)
{
	struct merge m = { .to = qcow2_of(n), .from = qcow2_of(from) };
	struct call c = { .q = m.to };
	int rc = get(m.to, name, &m.dst, e);

	if (!rc)
		rc = get(m.from, source, &m.src, e);
	if (!rc && n->size != from->size)
		rc = err_set(e, ERR_USAGE, EINVAL,
			     "Bitmaps are of different sizes (destination size is %" PRIu64
			     ", source size is %" PRIu64 ") and can't be merged",
			     n->size, from->size);
	if (rc || m.dst == m.src)
		return rc;
	c.b = m.dst;
	rc = qcow2_run(m.to, mark, &c);
	return told(rc ? rc : merge_bits(&m), m.to, e);
}

/* --- other sizes --- */

int qcow2_bitmap_measure(struct blk_node *n, uint64_t cluster, uint64_t *bytes, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	int rc = qcow2_bitmaps_load(q, e);
	uint64_t dir = 0;

	*bytes = 0;
	for (size_t i = 0; !rc && i < q->bitmaps.n; i++) {
		const struct qcow2_bitmap *b = &q->bitmaps.item[i];
		uint64_t data = (qcow2_bitmap_len(b, n->size) + 7) / 8;
		uint64_t entries = (data + cluster - 1) / cluster;

		*bytes += entries * cluster + (entries * 8 + cluster - 1) / cluster * cluster;
		dir += (sizeof(b->entry) + strlen(b->name) + 7) & ~7ull;
	}
	*bytes += (dir + cluster - 1) / cluster * cluster;
	return rc;
}

int qcow2_bitmaps_may_resize(struct qcow2 *q, uint64_t size, struct err *e)
{
	for (size_t i = 0; i < q->bitmaps.n; i++) {
		const struct qcow2_bitmap *b = &q->bitmaps.item[i];
		int rc = check_usable(q, b, e);
		uint64_t len = qcow2_bitmap_len(b, size);

		if (rc)
			return rc;
		if (len > QCOW2_BITMAP_LEN_MAX ||
		    qcow2_bitmap_entries(q, len) > QCOW2_BITMAP_TABLE_MAX)
			return err_set(e, ERR_USAGE, EFBIG,
				       "%s: bitmap '%s' would take too much space: remove it, or "
				       "make it anew with a larger granularity",
				       q->node->filename, b->name);
	}
	return 0;
}

/* Room for the bits of n entries, of which the first `keep` are kept. */
static int resize_bits(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t n, uint64_t keep)
{
	uint64_t old = be32_to_cpu(b->entry.table_size);
	uint8_t **bits;

	if (!b->bits)
		return 0;
	bits = calloc(n, sizeof(*bits));
	if (!bits)
		return -ENOMEM;
	qcow2_bitmap_forget(q, b, keep);
	memcpy(bits, b->bits, keep * sizeof(*bits));
	free(b->bits);
	b->bits = bits;
	q->bitmaps.memory += (n - old) * sizeof(*bits);
	return 0;
}

/* [co] */
static int resize_one(struct qcow2 *q, struct qcow2_bitmap *b)
{
	uint64_t n = qcow2_bitmap_entries(q, qcow2_bitmap_len(b, q->node->size));
	uint64_t old = be32_to_cpu(b->entry.table_size);
	struct qcow2_bitmap new = *b, was = *b;
	struct be64 *table = NULL;
	int rc;

	if (!n || n == old) {
		b->lost |= !n;
		return 0;
	}
	rc = qcow2_bitmap_table(q, b, &table);
	new.entry.table_size = cpu_to_be32((uint32_t)n);
	if (!rc)
		rc = make_table(q, &new, table, n < old ? n : old);
	if (!rc)
		rc = resize_bits(q, b, n, n < old ? n : old);
	if (!rc) {
		b->entry = new.entry;
		rc = qcow2_bitmaps_write(q);
	}
	if (!rc) {
		free_table(q, &was);
		if (n < old)
			free_data(q, table, n, old);
	}
	free(table);
	return rc;
}

int qcow2_bitmaps_resize(struct qcow2 *q, uint64_t from)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < q->bitmaps.n; i++) {
		struct qcow2_bitmap *b = &q->bitmaps.item[i];

		rc = resize_one(q, b);
		/* Storing it clears the bits behind the end. */
		if (!rc && q->node->size < from && !b->lost)
			qcow2_bitmap_part(q, b, be32_to_cpu(b->entry.table_size) - 1);
		b->lost |= rc != 0;
	}
	return rc;
}
