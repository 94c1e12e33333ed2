/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vmdk: writing to images that are not compressed. A grain that is written for the first
 * time gets the next place at the end of its file. Its entry stays in a grain table in memory
 * until the next flush, or until another table needs the memory: then the data are made durable,
 * and both copies of the tables written, with new tables' entries of their
 * directories. In coroutines of the node's thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "co_io.h"
#include "err.h"
#include "internal.h"
#include "iov.h"
#include "vmdk_int.h"

/* --- opening --- */

static int cannot_write(struct blk_node *n, struct err *e)
{
	err_set(e, ERR_USAGE, EROFS, "%s: VMDK images of type %s can be read, not written",
		n->filename, ((struct vmdk *)n->p)->create_type);
	err_hint(e, "add readonly=on, or convert it: posada-img convert -O qcow2 %s NEW",
		 n->filename);
	return -EROFS;
}

/* The redundant directory, which must not be less than the other. */
static int read_redundant(struct vmdk_extent *x, struct err *e)
{
	uint64_t len = (uint64_t)x->tables * sizeof(struct le32);
	void *table = NULL;
	int rc;

	if (!x->rgd_at)
		return 0;
	rc = mapped_read_table(x->file, x->rgd_at, len, len, &table,
			       "the redundant VMDK grain directory", e);
	x->rgd = table;
	return rc;
}

int vmdk_prepare_writing(struct blk_node *n, struct err *e)
{
	struct vmdk *v = n->p;
	bool readonly = false;
	int rc = 0;

	for (unsigned i = 0; i < v->n; i++)
		readonly |= v->extent[i].readonly;
	if (readonly && n->open.auto_readonly) {
		n->readonly = true;
		return 0;
	}
	if (readonly)
		return cannot_write(n, e);
	for (unsigned i = 0; !rc && i < v->n; i++) {
		struct vmdk_extent *x = &v->extent[i];

		if (x->kind != VMDK_SPARSE || x->stream)
			continue;
		x->end = (x->file->size + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR;
		rc = read_redundant(x, e);
	}
	return rc;
}

/* --- the content's ID: others know by it that the disk is no longer the same --- */

static bool is_hex(const char *s, unsigned n)
{
	while (n && strchr("0123456789abcdefABCDEF", *s) && *s)
		s++, n--;
	return !n;
}

static int change_cid(struct blk_node *n)
{
	struct vmdk *v = n->p;
	char *text = calloc(1, v->desc_len + 1), *at;
	char cid[9];
	int rc = text ? co_pread(n->file, v->desc_at, text, v->desc_len) : -ENOMEM;

	if (!rc && getrandom(&v->cid, sizeof(v->cid), 0) != sizeof(v->cid))
		rc = -EIO;
	if (v->cid >= UINT32_MAX - 1)
		v->cid = 1; /* the last two have a meaning */
	at = rc ? NULL : strstr(text, "\nCID=");
	if (at && is_hex(at + 5, 8)) {
		snprintf(cid, sizeof(cid), "%08x", v->cid);
		rc = co_pwrite(n->file, v->desc_at + (uint64_t)(at + 5 - text), cid, 8, 0);
	}
	free(text);
	return rc;
}

/* The lock is held. */
static int begin(struct blk_node *n)
{
	struct vmdk *v = n->p;
	int rc = v->begun ? 0 : change_cid(n);

	v->begun |= !rc;
	return rc;
}

int vmdk_begin_write(struct blk_node *n, uint64_t off, bool wait)
{
	struct vmdk *v = n->p;
	int rc;

	if (v->begun)
		return 0;
	if (!wait)
		return -EAGAIN;
	co_lock(&v->lock);
	rc = begin(n);
	co_unlock(&v->lock);
	return rc;
}

/* --- tables: what is not in the file yet. The lock is held. --- */

static bool any(const struct vmdk_dirty *d)
{
	return d->from < d->to;
}

static void add(struct vmdk *v, struct vmdk_dirty *d, uint32_t i)
{
	bool none = !any(d);

	if (none || i < d->from)
		d->from = i;
	if (none || i >= d->to)
		d->to = i + 1;
	v->unsettled = true;
}

/* Entries of the table or directory at `at` of the file. */
static int write_range(struct vmdk_extent *x, uint64_t at, const struct le32 *table,
		       const struct vmdk_dirty *d)
{
	return co_pwrite(x->file, at + (uint64_t)d->from * sizeof(*table), table + d->from,
			 (size_t)(d->to - d->from) * sizeof(*table), 0);
}

static int write_table(struct vmdk *v, struct vmdk_table *t)
{
	struct vmdk_extent *x = &v->extent[t->extent - 1];
	int rc = 0;

	if (x->rgd)
		rc = write_range(x, (uint64_t)le32_to_cpu(x->rgd[t->index]) * VMDK_SECTOR, t->gte,
				 &t->dirty);
	if (!rc)
		rc = write_range(x, (uint64_t)le32_to_cpu(x->gd[t->index]) * VMDK_SECTOR, t->gte,
				 &t->dirty);
	if (!rc)
		t->dirty = (struct vmdk_dirty){ 0 };
	return rc;
}

static int write_directory(struct vmdk_extent *x, uint64_t at, const struct le32 *dir,
			   struct vmdk_dirty *d)
{
	int rc = any(d) ? write_range(x, at, dir, d) : 0;

	if (!rc)
		*d = (struct vmdk_dirty){ 0 };
	return rc;
}

bool vmdk_unsettled(const struct blk_node *n)
{
	return ((const struct vmdk *)n->p)->unsettled;
}

int vmdk_write_tables(struct vmdk *v)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < v->n; i++)
		if (v->extent[i].kind == VMDK_SPARSE)
			rc = co_flush(v->extent[i].file);
	for (unsigned i = 0; !rc && i < VMDK_TABLES_CACHED; i++)
		if (any(&v->cache[i].dirty))
			rc = write_table(v, &v->cache[i]);
	for (unsigned i = 0; !rc && i < v->n; i++) {
		struct vmdk_extent *x = &v->extent[i];

		rc = write_directory(x, x->rgd_at, x->rgd, &x->rgd_dirty);
		if (!rc)
			rc = write_directory(x, x->gd_at, x->gd, &x->gd_dirty);
	}
	v->changes++;
	v->unsettled = !!rc;
	return rc;
}

/* --- new tables and grains. The lock is held. --- */

/* A table of zeroes at the end of the file, and its place in a directory. */
static int new_table(struct vmdk *v, struct vmdk_extent *x, struct le32 *dir, struct vmdk_dirty *d,
		     uint32_t index)
{
	uint64_t at = x->end;
	uint64_t size = ((uint64_t)x->gtes * sizeof(struct le32) + VMDK_SECTOR - 1) / VMDK_SECTOR *
			VMDK_SECTOR;
	int rc;

	if (at / VMDK_SECTOR > UINT32_MAX)
		return -EFBIG;
	x->end += size;
	rc = co_zero(x->file, at, size, 0);
	if (rc)
		return rc;
	dir[index] = cpu_to_le32((uint32_t)(at / VMDK_SECTOR));
	add(v, d, index);
	return 0;
}

/* The table in memory. Readers may need its place for another as long as it is clean. */
static int load_table(struct vmdk *v, unsigned i, uint32_t index, struct vmdk_table **out)
{
	struct vmdk_table *t = &v->cache[(i * 61 + index) % VMDK_TABLES_CACHED];
	uint32_t entry;
	int rc = 0;

	while (!rc && !(t->extent == i + 1 && t->index == index)) {
		rc = any(&t->dirty) ? vmdk_write_tables(v) : 0;
		if (!rc)
			rc = vmdk_grain_entry(v, i, index, 0, true, &entry);
	}
	*out = t;
	return rc;
}

/* The tables say that the grain is at `at`, in memory. */
static int enter_grain(struct vmdk *v, unsigned i, uint32_t index, uint32_t gte, uint64_t at)
{
	struct vmdk_extent *x = &v->extent[i];
	struct vmdk_table *t;
	int rc = 0;

	if (x->rgd && !le32_to_cpu(x->rgd[index]))
		rc = new_table(v, x, x->rgd, &x->rgd_dirty, index);
	if (!rc && !le32_to_cpu(x->gd[index]))
		rc = new_table(v, x, x->gd, &x->gd_dirty, index);
	if (!rc)
		rc = load_table(v, i, index, &t);
	if (rc)
		return rc;
	t->gte[gte] = cpu_to_le32((uint32_t)(at / VMDK_SECTOR));
	add(v, &t->dirty, gte);
	v->changes++;
	return 0;
}

/* Data with zeroes around, at the end of the file. */
static int write_grain(struct vmdk_extent *x, uint64_t at, uint32_t in_grain, uint64_t len,
		       const struct iovec *iov, unsigned n_iov, unsigned flags)
{
	int rc;

	if (at / VMDK_SECTOR > UINT32_MAX)
		return -EFBIG;
	x->end += x->grain; /* whatever comes of it, nobody else gets this place */
	rc = co_zero(x->file, at, in_grain, flags);
	if (!rc)
		rc = co_zero(x->file, at + in_grain + len, x->grain - in_grain - len, flags);
	return rc ? rc : co_iov(x->file, BLK_WRITE, at + in_grain, len, iov, n_iov, flags);
}

static int allocate_one(struct blk_node *n, uint64_t off, uint64_t len, const struct iovec *iov,
			unsigned n_iov, unsigned flags)
{
	struct vmdk *v = n->p;
	unsigned i = vmdk_extent_at(v, off);
	struct vmdk_extent *x = &v->extent[i];
	uint64_t in_extent = off - x->start, per_table = (uint64_t)x->grain * x->gtes;
	uint64_t at = x->end;
	int rc;

	if (x->kind != VMDK_SPARSE)
		return -EROFS; /* there are zeroes and nothing else */
	if (x->stream)
		return vmdk_stream_write(x, in_extent, len, iov, n_iov);
	rc = write_grain(x, at, (uint32_t)(in_extent % x->grain), len, iov, n_iov, flags);
	return rc ? rc
		  : enter_grain(v, i, (uint32_t)(in_extent / per_table),
				(uint32_t)(in_extent % per_table / x->grain), at);
}

int vmdk_allocate(struct blk_node *n, uint64_t off, uint64_t len, const struct iovec *iov,
		  unsigned n_iov, unsigned flags)
{
	struct vmdk *v = n->p;
	struct iovec *part = malloc((n_iov + 1) * sizeof(*part));
	struct mapping m;
	int rc = part ? 0 : -ENOMEM;

	co_lock(&v->lock);
	if (!rc)
		rc = begin(n);
	/* Another may have got a place by now: each grain is looked at again. */
	for (uint64_t done = 0; !rc && done < len; done += m.bytes) {
		const struct vmdk_extent *x = &v->extent[vmdk_extent_at(v, off + done)];
		uint64_t in_grain = 0;
		unsigned k;

		rc = vmdk_map(n, off + done, len - done, true, &m);
		if (rc)
			break;
		if (x->grain)
			in_grain = (off + done - x->start) % x->grain;
		if (x->grain && m.bytes > x->grain - in_grain)
			m.bytes = x->grain - in_grain;
		k = iov_slice(iov, n_iov, done, m.bytes, part, n_iov);
		if (m.kind == MAP_PACKED)
			rc = -ENOTSUP;
		else if (m.kind == MAP_DATA)
			rc = co_iov(m.node, BLK_WRITE, m.off, m.bytes, part, k, flags);
		else
			rc = allocate_one(n, off + done, m.bytes, part, k, flags);
	}
	co_unlock(&v->lock);
	free(part);
	return rc;
}
