/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: persistent dirty bitmaps ("Bitmaps extension" in the specification). An enabled
 * bitmap has to record each write, by whatever program.
 *
 * Before the first change of the image, enabled bitmaps are marked in the file as in
 * use. From then on new bits are gathered in memory; those that the file has already are not
 * read. At close the new bits are added to those in the file, and the mark goes.
 * After a crash the mark is still there, and tells everybody that bits may be missing;
 * such a bitmap is good for nothing but removal.
 *
 * While a bitmap is marked nobody believes its contents, so clusters that it has, its table
 * and its flags are changed in place. What refers to new clusters is written after their
 * refcounts. The directory has another place each time that it changes otherwise.
 *
 * Recording is done by the node's thread, all else by the main thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "qcow2.h"

enum { SECTOR = 512, ENTRY = sizeof(struct qcow2_bitmap_entry) };
#define MEMORY_MOST (1ull << 30) /* bytes of new bits, all bitmaps together */

/* --- sizes --- */

uint64_t qcow2_bitmap_len(const struct qcow2_bitmap *b, uint64_t disk)
{
	unsigned bits = b->entry.granularity_bits;

	return (disk >> bits) + !!(disk & ((1ull << bits) - 1));
}

static uint64_t bits_of_part(const struct qcow2 *q)
{
	return q->cluster_size * 8;
}

uint64_t qcow2_bitmap_entries(const struct qcow2 *q, uint64_t bits)
{
	return (bits + bits_of_part(q) - 1) / bits_of_part(q);
}

static uint32_t flags_of(const struct qcow2_bitmap *b)
{
	return be32_to_cpu(b->entry.flags);
}

static void set_flag(struct qcow2_bitmap *b, uint32_t flag, bool on)
{
	uint32_t f = flags_of(b);

	b->entry.flags = cpu_to_be32(on ? f | flag : f & ~flag);
}

/* --- reading the directory --- */

static int bad(const struct qcow2 *q, struct err *e, const char *field, uint64_t value,
	       const char *why)
{
	err_set(e, ERR_INPUT, EINVAL,
		"%s: qcow2 bitmaps extension: %s is %" PRIu64 " (%#" PRIx64 "): %s",
		q->node->filename, field, value, value, why);
	err_hint(e, "open it read-only, or convert it into a new image: its data can be read");
	return -EINVAL;
}

static int bad_entry(const struct qcow2 *q, size_t i, struct err *e, const char *field,
		     uint64_t value, const char *why)
{
	char name[64];

	snprintf(name, sizeof(name), "bitmap %zu: %s", i, field);
	return bad(q, e, name, value, why);
}

static int check_table(struct qcow2 *q, size_t i, uint64_t host, uint64_t n, struct err *e)
{
	uint64_t size = q->node->file->size;

	if (!host || host & (q->cluster_size - 1))
		return bad_entry(q, i, e, "bitmap_table_offset", host,
				 "not a multiple of the cluster size");
	if (!n || n > QCOW2_BITMAP_TABLE_MAX)
		return bad_entry(q, i, e, "bitmap_table_size", n, "not between 1 and 134217728");
	if (host >= size || n * 8 > size - host)
		return bad_entry(q, i, e, "bitmap_table_offset", host,
				 "the table reaches behind the end of the file");
	if (qcow2_is_metadata(q, host, n * 8))
		return bad_entry(q, i, e, "bitmap_table_offset", host, "other metadata lie there");
	return 0;
}

/* What the entry says; how many bytes it takes of the `left` there are, in *len. */
static int check_entry(struct qcow2 *q, size_t i, const struct qcow2_bitmap_entry *x, uint64_t left,
		       uint64_t *len, struct err *e)
{
	uint32_t flags = be32_to_cpu(x->flags), extra = be32_to_cpu(x->extra_size);
	uint16_t name = be16_to_cpu(x->name_size);

	if (flags & ~QCOW2_BITMAP_FLAGS)
		return bad_entry(q, i, e, "flags", flags, "reserved bits are set");
	if (x->type != QCOW2_BITMAP_DIRTY)
		return bad_entry(q, i, e, "type", x->type, "only 1 is known");
	if (x->granularity_bits < QCOW2_BITMAP_MIN_BITS ||
	    x->granularity_bits > QCOW2_BITMAP_MAX_BITS)
		return bad_entry(q, i, e, "granularity_bits", x->granularity_bits,
				 "not between 9 and 31");
	if (!name || name > QCOW2_BITMAP_NAME_MAX)
		return bad_entry(q, i, e, "name_size", name, "not between 1 and 1023");
	*len = (ENTRY + (uint64_t)extra + name + 7) & ~7ull;
	if (*len > left)
		return bad_entry(q, i, e, "extra_data_size", extra,
				 "the entry reaches behind the end of the directory");
	return check_table(q, i, be64_to_cpu(x->table_offset), be32_to_cpu(x->table_size), e);
}

static int take_entry(struct qcow2 *q, size_t i, const uint8_t *at, struct err *e)
{
	struct qcow2_bitmap *b = &q->bitmaps.item[i];
	const struct qcow2_bitmap_entry *x = &b->entry;
	uint32_t extra = be32_to_cpu(x->extra_size);
	uint16_t len = be16_to_cpu(x->name_size);

	b->name = strndup((const char *)at + ENTRY + extra, len);
	if (extra && (b->extra = malloc(extra)))
		memcpy(b->extra, at + ENTRY, extra);
	if (!b->name || (extra && !b->extra))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (strlen(b->name) != len)
		return bad_entry(q, i, e, "name_size", len, "the name has a NUL in it");
	b->usable = !(flags_of(b) & QCOW2_BITMAP_IN_USE) &&
		    (!extra || flags_of(b) & QCOW2_BITMAP_EXTRA_OK);
	if (b->usable && be32_to_cpu(x->table_size) !=
				 qcow2_bitmap_entries(q, qcow2_bitmap_len(b, q->node->size)))
		return bad_entry(q, i, e, "bitmap_table_size", be32_to_cpu(x->table_size),
				 "not as many as the size of the disk takes");
	return 0;
}

static int take_directory(struct qcow2 *q, const uint8_t *dir, struct err *e)
{
	struct qcow2_bitmaps *s = &q->bitmaps;
	uint64_t at = 0, len = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < s->n; i++, at += len) {
		uint64_t left = s->dir_size - at;

		if (left < ENTRY)
			return bad(q, e, "nb_bitmaps", s->n, "more than the directory has entries");
		memcpy(&s->item[i].entry, dir + at, ENTRY);
		rc = check_entry(q, i, &s->item[i].entry, left, &len, e);
		if (!rc)
			rc = take_entry(q, i, dir + at, e);
	}
	if (!rc && at != s->dir_size)
		return bad(q, e, "bitmap_directory_size", s->dir_size,
			   "the entries take another number of bytes");
	return rc;
}

static int read_directory(struct qcow2 *q, struct err *e)
{
	struct qcow2_bitmaps *s = &q->bitmaps;
	uint8_t *dir = malloc(s->dir_size);
	int rc;

	s->item = calloc(s->n, sizeof(*s->item));
	if (!dir || !s->item) {
		free(dir);
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	rc = co_pread(q->node->file, s->dir, dir, s->dir_size);
	if (rc)
		err_set(e, ERR_INPUT, -rc, "%s: cannot read the directory of bitmaps: %s",
			q->node->filename, strerror(-rc));
	else
		rc = take_directory(q, dir, e);
	free(dir);
	return rc;
}

static int check_ext(struct qcow2 *q, const struct qcow2_bitmap_ext *x, struct err *e)
{
	uint64_t n = be32_to_cpu(x->n), size = be64_to_cpu(x->dir_size);
	uint64_t host = be64_to_cpu(x->dir_offset), file = q->node->file->size;

	if (be32_to_cpu(x->reserved))
		return bad(q, e, "reserved", be32_to_cpu(x->reserved), "not 0");
	if (!n || n > QCOW2_BITMAPS_MAX)
		return bad(q, e, "nb_bitmaps", n, "not between 1 and 65535");
	if (size < n * ENTRY || size > QCOW2_BITMAP_DIR_MAX)
		return bad(q, e, "bitmap_directory_size", size,
			   "too small for the bitmaps, or more than 64 MiB");
	if (!host || host & (q->cluster_size - 1))
		return bad(q, e, "bitmap_directory_offset", host,
			   "not a multiple of the cluster size");
	if (host >= file || size > file - host)
		return bad(q, e, "bitmap_directory_offset", host,
			   "the directory reaches behind the end of the file");
	if (qcow2_is_metadata(q, host, size))
		return bad(q, e, "bitmap_directory_offset", host, "other metadata lie there");
	return 0;
}

static int load(struct qcow2 *q, struct err *e)
{
	struct qcow2_bitmap_ext x;
	uint32_t len = 0;
	const uint8_t *ext = q->v3 ? qcow2_ext_find(q, QCOW2_EXT_BITMAPS, &len) : NULL;
	int rc;

	/* Without the bit another program has written the image, and knew nothing of bitmaps. */
	if (!ext || !(be64_to_cpu(q->hdr.autoclear_features) & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (len != sizeof(x))
		return bad(q, e, "its length", len, "not 24");
	memcpy(&x, ext, sizeof(x));
	rc = check_ext(q, &x, e);
	if (rc)
		return rc;
	q->bitmaps.n = be32_to_cpu(x.n);
	q->bitmaps.dir = be64_to_cpu(x.dir_offset);
	q->bitmaps.dir_size = be64_to_cpu(x.dir_size);
	return read_directory(q, e);
}

int qcow2_bitmaps_load(struct qcow2 *q, struct err *e)
{
	int rc;

	if (q->bitmaps.loaded)
		return 0;
	rc = load(q, e);
	if (rc)
		qcow2_bitmaps_free(q);
	q->bitmaps.loaded = !rc;
	return rc;
}

int qcow2_bitmaps_open(struct qcow2 *q, struct err *e)
{
	int rc = qcow2_bitmaps_load(q, e);

	/* Whoever repairs the image decides what becomes of them. */
	if (rc && q->node->open.repair)
		return 0;
	if (!rc)
		qcow2_bitmaps_choose(q);
	return rc;
}

/* --- recording --- */

static bool records(const struct qcow2_bitmap *b)
{
	return b->usable && !b->lost && flags_of(b) & QCOW2_BITMAP_AUTO;
}

void qcow2_bitmaps_choose(struct qcow2 *q)
{
	q->bitmaps.tracking = false;
	for (size_t i = 0; i < q->bitmaps.n; i++)
		q->bitmaps.tracking |= records(&q->bitmaps.item[i]);
}

static void *take_memory(struct qcow2 *q, uint64_t size)
{
	void *p = size <= MEMORY_MOST - q->bitmaps.memory ? calloc(1, size) : NULL;

	q->bitmaps.memory += p ? size : 0;
	return p;
}

uint8_t *qcow2_bitmap_part(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t i)
{
	uint64_t n = be32_to_cpu(b->entry.table_size);

	if (!b->bits && !b->lost)
		b->bits = take_memory(q, n * sizeof(*b->bits));
	if (b->bits && !b->bits[i])
		b->bits[i] = take_memory(q, q->cluster_size);
	if (b->bits && b->bits[i])
		return b->bits[i];
	if (!b->lost)
		log_warn("%s: no memory for bitmap '%s': it does not record what is written",
			 q->node->filename, b->name);
	b->lost = true;
	return NULL;
}

/* Bits [from, to). */
static void set_bits(uint8_t *p, uint64_t from, uint64_t to)
{
	for (; from < to && from % 8; from++)
		p[from / 8] |= (uint8_t)(1u << from % 8);
	if (to - from >= 8) {
		memset(p + from / 8, 0xff, (to - from) / 8);
		from = to & ~7ull;
	}
	for (; from < to; from++)
		p[from / 8] |= (uint8_t)(1u << from % 8);
}

void qcow2_bitmap_set(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t off, uint64_t len)
{
	uint64_t bit = off >> b->entry.granularity_bits, part = bits_of_part(q);
	uint64_t end = ((off + len - 1) >> b->entry.granularity_bits) + 1;

	while (bit < end) {
		uint64_t from = bit % part, to = end - bit < part - from ? from + end - bit : part;
		uint8_t *p = qcow2_bitmap_part(q, b, bit / part);

		if (!p)
			return;
		set_bits(p, from, to);
		bit += to - from;
	}
}

void qcow2_bitmaps_record(struct qcow2 *q, uint64_t off, uint64_t len)
{
	for (size_t i = 0; i < q->bitmaps.n; i++)
		if (records(&q->bitmaps.item[i]))
			qcow2_bitmap_set(q, &q->bitmaps.item[i], off, len);
}

/* --- writing the directory --- */

static uint64_t size_of_entry(const struct qcow2_bitmap *b)
{
	return (ENTRY + (uint64_t)be32_to_cpu(b->entry.extra_size) + strlen(b->name) + 7) & ~7ull;
}

/* The directory as bytes: malloc'd. */
static uint8_t *make_directory(const struct qcow2 *q, uint64_t *size)
{
	uint8_t *dir, *p;

	*size = 0;
	for (size_t i = 0; i < q->bitmaps.n; i++)
		*size += size_of_entry(&q->bitmaps.item[i]);
	p = dir = calloc(1, *size + 1);
	for (size_t i = 0; dir && i < q->bitmaps.n; i++) {
		const struct qcow2_bitmap *b = &q->bitmaps.item[i];
		uint32_t extra = be32_to_cpu(b->entry.extra_size);

		memcpy(p, &b->entry, ENTRY);
		if (extra)
			memcpy(p + ENTRY, b->extra, extra);
		memcpy(p + ENTRY + extra, b->name, strlen(b->name));
		p += size_of_entry(b);
	}
	return dir;
}

/* [co] In its place: nothing but flags has changed, so that it need not be written at once. */
static int write_flags(struct qcow2 *q)
{
	uint64_t size;
	uint8_t *dir = make_directory(q, &size);
	int rc = dir ? co_pwrite(q->node->file, q->bitmaps.dir, dir, size, 0) : -ENOMEM;

	free(dir);
	return rc ? rc : co_flush(q->node->file);
}

/* Whether the header names the directory that this program knows. */
static bool is_ours(struct qcow2 *q)
{
	struct qcow2_bitmap_ext x;
	uint32_t len = 0;
	const uint8_t *ext = qcow2_ext_find(q, QCOW2_EXT_BITMAPS, &len);

	if (!ext || len != sizeof(x) ||
	    !(be64_to_cpu(q->hdr.autoclear_features) & QCOW2_AUTOCLEAR_BITMAPS))
		return false;
	memcpy(&x, ext, sizeof(x));
	return be64_to_cpu(x.dir_offset) == q->bitmaps.dir &&
	       be64_to_cpu(x.dir_size) == q->bitmaps.dir_size;
}

/* [co] Those with `marking`. */
static int mark_chosen(struct qcow2 *q)
{
	struct qcow2_bitmaps *s = &q->bitmaps;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < s->n; i++) {
		struct qcow2_bitmap *b = &s->item[i];

		b->marking = b->marking && !(flags_of(b) & QCOW2_BITMAP_IN_USE);
		if (b->marking)
			set_flag(b, QCOW2_BITMAP_IN_USE, true);
		n += b->marking;
	}
	rc = n ? write_flags(q) : 0;
	for (size_t i = 0; i < s->n; i++) {
		struct qcow2_bitmap *b = &s->item[i];

		if (b->marking && rc)
			set_flag(b, QCOW2_BITMAP_IN_USE, false);
		else if (b->marking)
			b->marked = b->usable;
		b->marking = false;
	}
	return rc;
}

int qcow2_bitmap_mark(struct qcow2 *q, struct qcow2_bitmap *which)
{
	for (size_t i = 0; i < q->bitmaps.n; i++)
		q->bitmaps.item[i].marking = !which || which == &q->bitmaps.item[i];
	return mark_chosen(q);
}

int qcow2_bitmaps_begin(struct qcow2 *q)
{
	/* What cannot be kept right, for its extra data are not known, is marked for good. */
	for (size_t i = 0; i < q->bitmaps.n; i++)
		q->bitmaps.item[i].marking = flags_of(&q->bitmaps.item[i]) & QCOW2_BITMAP_AUTO;
	return mark_chosen(q);
}

/* --- another directory --- */

/* [co] */
static int set_autoclear(struct qcow2 *q, bool on)
{
	uint64_t was = be64_to_cpu(q->hdr.autoclear_features);
	uint64_t now = on ? was | QCOW2_AUTOCLEAR_BITMAPS : was & ~QCOW2_AUTOCLEAR_BITMAPS;

	if (now == was)
		return 0;
	q->hdr.autoclear_features = cpu_to_be64(now);
	return qcow2_write_header(q, offsetof(struct qcow2_header, autoclear_features),
				  offsetof(struct qcow2_header, refcount_order));
}

/* [co] The header with its extensions; the names of features are left out where they do not fit. */
static int rewrite_header(struct qcow2 *q)
{
	int rc = qcow2_rewrite_header(q);
	uint32_t len;

	if (rc == -ENOSPC && qcow2_ext_find(q, QCOW2_EXT_FEATURE_NAMES, &len)) {
		rc = qcow2_ext_set(q, QCOW2_EXT_FEATURE_NAMES, NULL, 0);
		if (!rc)
			rc = qcow2_rewrite_header(q);
	}
	return rc;
}

/* [co] In one sector that takes one write; else nobody believes the extension meanwhile. */
static int write_ext(struct qcow2 *q, const struct qcow2_bitmap_ext *x)
{
	uint32_t len = 0;
	uint8_t *ext = qcow2_ext_find(q, QCOW2_EXT_BITMAPS, &len);
	uint64_t at = q->hdr_len + (uint64_t)(ext ? ext - q->ext : 0);
	int rc;

	if (x && ext && len == sizeof(*x) && is_ours(q) &&
	    at / SECTOR == (at + sizeof(*x) - 1) / SECTOR) {
		rc = co_flush(q->node->file);
		if (!rc)
			rc = co_pwrite(q->node->file, at, x, sizeof(*x), 0);
		if (!rc)
			memcpy(ext, x, sizeof(*x));
		return rc ? rc : co_flush(q->node->file);
	}
	rc = set_autoclear(q, false);
	if (!rc)
		rc = qcow2_ext_set(q, QCOW2_EXT_BITMAPS, x, x ? (uint32_t)sizeof(*x) : 0);
	if (!rc)
		rc = rewrite_header(q);
	return rc || !x ? rc : set_autoclear(q, true);
}

/* [co] A place for the directory, written there. */
static int place_directory(struct qcow2 *q, const uint8_t *dir, uint64_t size, uint64_t *host)
{
	bool zero;
	int rc = qcow2_alloc(q, qcow2_clusters(q, size), true, host, NULL, &zero);

	if (!rc)
		rc = co_pwrite(q->node->file, *host, dir, size, 0);
	return rc ? rc : qcow2_write_refcounts(q);
}

int qcow2_bitmaps_write(struct qcow2 *q)
{
	struct qcow2_bitmaps *s = &q->bitmaps;
	uint64_t old = s->dir, old_size = s->dir_size, size, host = 0;
	struct qcow2_bitmap_ext x = { 0 };
	uint8_t *dir = make_directory(q, &size);
	int rc = !dir ? -ENOMEM : size > QCOW2_BITMAP_DIR_MAX ? -EFBIG : 0;

	if (!rc && size)
		rc = place_directory(q, dir, size, &host);
	if (!rc) {
		x.n = cpu_to_be32((uint32_t)s->n);
		x.dir_size = cpu_to_be64(size);
		x.dir_offset = cpu_to_be64(host);
		rc = write_ext(q, s->n ? &x : NULL);
	}
	free(dir);
	if (rc) {
		if (host)
			qcow2_free(q, host, size, false);
		return rc;
	}
	s->dir = host;
	s->dir_size = size;
	if (old)
		qcow2_free(q, old, old_size, false);
	return 0;
}

/* --- storing --- */

int qcow2_bitmap_table(struct qcow2 *q, const struct qcow2_bitmap *b, struct be64 **out)
{
	uint64_t n = be32_to_cpu(b->entry.table_size), size = q->node->file->size;
	struct be64 *table = malloc(n * sizeof(*table));
	int rc;

	if (!table)
		return -ENOMEM;
	rc = co_pread(q->node->file, be64_to_cpu(b->entry.table_offset), table, n * sizeof(*table));
	for (uint64_t i = 0; !rc && i < n; i++) {
		uint64_t v = be64_to_cpu(table[i]), host = v & QCOW2_OFFSET_MASK;

		if (!(v & QCOW2_BITMAP_RESERVED) && !(host & (q->cluster_size - 1)) &&
		    host < size && (!host || !qcow2_is_metadata(q, host, q->cluster_size)) &&
		    !(host && v & QCOW2_BITMAP_ONES))
			continue;
		log_warn("%s: bitmap '%s': entry %" PRIu64 " of its table is %#" PRIx64
			 ": not a cluster of the file",
			 q->node->filename, b->name, i, v);
		rc = -EIO;
	}
	if (rc)
		free(table);
	else
		*out = table;
	return rc;
}

/* [co] What the file has of a part is added to buf; what lies behind its end is zero. */
static int add_old_bits(struct qcow2 *q, uint64_t host, uint8_t *buf)
{
	uint64_t size = q->node->file->size, len = q->cluster_size;
	uint8_t *old = malloc(len);
	int rc;

	if (!old)
		return -ENOMEM;
	if (len > size - host)
		len = size - host;
	rc = co_pread(q->node->file, host, old, len);
	for (uint64_t i = 0; !rc && i < len; i++)
		buf[i] |= old[i];
	free(old);
	return rc;
}

/* Bits that stand for nothing are zero: the disk may grow. */
static void clear_tail(const struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t i,
		       uint8_t *buf)
{
	uint64_t len = qcow2_bitmap_len(b, q->node->size), begin = i * bits_of_part(q), from;

	if (len >= begin + bits_of_part(q))
		return;
	from = len > begin ? len - begin : 0;
	for (; from % 8; from++)
		buf[from / 8] &= (uint8_t) ~(1u << from % 8);
	memset(buf + from / 8, 0, q->cluster_size - from / 8);
}

/* [co] Part i, to where it is or to a new place; b->table is changed then. */
static int store_part(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t i)
{
	uint64_t v = be64_to_cpu(b->table[i]), host = v & QCOW2_OFFSET_MASK;
	bool zero;
	int rc = 0;

	if (v & QCOW2_BITMAP_ONES)
		return 0;
	if (host)
		rc = add_old_bits(q, host, b->bits[i]);
	clear_tail(q, b, i, b->bits[i]);
	if (!rc && !host) {
		rc = qcow2_alloc(q, 1, true, &host, NULL, &zero);
		if (!rc)
			b->table[i] = cpu_to_be64(host);
	}
	return rc ? rc : co_pwrite(q->node->file, host, b->bits[i], q->cluster_size, 0);
}

/* [co] */
static void store_parts(struct qcow2 *q, struct qcow2_bitmap *b)
{
	uint64_t n = be32_to_cpu(b->entry.table_size);
	int rc;

	if (!b->bits || b->lost)
		return;
	rc = qcow2_bitmap_table(q, b, &b->table);
	for (uint64_t i = 0; !rc && i < n; i++)
		if (b->bits[i])
			rc = store_part(q, b, i);
	if (!rc)
		return;
	b->lost = true;
	log_warn("%s: bitmap '%s' cannot be stored: %s", q->node->filename, b->name, strerror(-rc));
}

/* [co] */
static int store_tables(struct qcow2 *q)
{
	int rc = qcow2_write_refcounts(q);

	for (size_t i = 0; !rc && i < q->bitmaps.n; i++) {
		struct qcow2_bitmap *b = &q->bitmaps.item[i];

		if (b->table)
			rc = co_pwrite(q->node->file, be64_to_cpu(b->entry.table_offset), b->table,
				       8ull * be32_to_cpu(b->entry.table_size), 0);
	}
	return rc ? rc : co_flush(q->node->file);
}

void qcow2_bitmaps_store(struct qcow2 *q)
{
	struct qcow2_bitmaps *s = &q->bitmaps;
	size_t n = 0;
	int rc;

	if (!s->n || !is_ours(q))
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (!s->item[i].marked)
			continue;
		store_parts(q, &s->item[i]);
		n += !s->item[i].lost;
	}
	if (!n)
		return;
	rc = store_tables(q);
	for (size_t i = 0; !rc && i < s->n; i++)
		if (s->item[i].marked && !s->item[i].lost)
			set_flag(&s->item[i], QCOW2_BITMAP_IN_USE, false);
	if (!rc)
		rc = write_flags(q);
	if (rc)
		log_warn("%s: its bitmaps cannot be stored: %s", q->node->filename, strerror(-rc));
}

/* --- the end --- */

void qcow2_bitmap_forget(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t first)
{
	uint64_t n = be32_to_cpu(b->entry.table_size);

	for (uint64_t i = first; b->bits && i < n; i++) {
		q->bitmaps.memory -= b->bits[i] ? q->cluster_size : 0;
		free(b->bits[i]);
		b->bits[i] = NULL;
	}
}

void qcow2_bitmap_done(struct qcow2 *q, struct qcow2_bitmap *b)
{
	uint64_t n = be32_to_cpu(b->entry.table_size);

	qcow2_bitmap_forget(q, b, 0);
	q->bitmaps.memory -= b->bits ? n * sizeof(*b->bits) : 0;
	free(b->bits);
	free(b->table);
	free(b->name);
	free(b->extra);
	*b = (struct qcow2_bitmap){ 0 };
}

void qcow2_bitmaps_free(struct qcow2 *q)
{
	for (size_t i = 0; q->bitmaps.item && i < q->bitmaps.n; i++)
		qcow2_bitmap_done(q, &q->bitmaps.item[i]);
	free(q->bitmaps.item);
	q->bitmaps = (struct qcow2_bitmaps){ 0 };
}
