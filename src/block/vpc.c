/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vpc: virtual hard disks (VHD) of Virtual PC and Hyper-V, dynamic and fixed.
 * Written from the Virtual Hard Disk Image Format Specification 1.0. Node's thread.
 *
 * A dynamic disk has a copy of its footer at the beginning, by which it is probed; a fixed
 * one is the disk's bytes with a footer behind them, and must be asked for by name:
 * a guest could write such a footer to the end of a raw disk.
 *
 * A block that is written for the first time gets the place of the footer: its bitmap and data
 * are written there. Its entry of the table stays in memory until the next flush: that one
 * makes the data durable first, then writes the footer behind them and the table. After a crash
 * in between the copy of the footer at the beginning is still there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block_int.h"
#include "co.h"
#include "co_io.h"
#include "err.h"
#include "internal.h"
#include "mapped.h"
#include "vpc_int.h"

extern const struct blk_driver blk_vpc;

enum { SECTOR = VHD_SECTOR, PER_SECTOR = SECTOR / sizeof(struct be32) };

struct vpc {
	struct be32 *table; /* NULL: fixed */
	uint32_t entries, block_size;
	uint32_t bitmap_size; /* before the data of each block */
	/* for writing: */
	struct vhd_footer footer;
	uint64_t table_offset;
	uint64_t end; /* of the blocks: where the footer is */
	uint8_t *full; /* blocks whose bitmaps are known to have all bits */
	struct mapped_dirty dirty; /* of the table */
	struct co_lock lock; /* held while a block is allocated, its bitmap filled, or the table
				written */
};

static int vpc_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	return n >= 8 && !memcmp(buf, VHD_COOKIE, 8) ? 100 : 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

uint32_t vhd_checksum(const void *p, size_t n, size_t field)
{
	const uint8_t *bytes = p;
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		if (i < field || i >= field + 4)
			sum += bytes[i];
	return ~sum;
}

/* The copy at the beginning, else the one at the end. */
static int read_footer(struct blk_node *n, struct vhd_footer *f, bool *at_end, struct err *e)
{
	uint64_t size = n->file->size;
	int rc;

	if (size < sizeof(*f))
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: its %" PRIu64 " bytes are fewer than a VHD footer has",
			       n->filename, size);
	rc = mapped_read(n->file, 0, f, sizeof(*f), "the copy of the VHD footer", e);
	*at_end = !rc && memcmp(f->cookie, VHD_COOKIE, 8) != 0;
	if (*at_end)
		rc = mapped_read(n->file, size - sizeof(*f), f, sizeof(*f), "the VHD footer", e);
	if (rc)
		return rc;
	if (memcmp(f->cookie, VHD_COOKIE, 8) != 0)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: there is no VHD footer: neither its first nor its last 512 "
			       "bytes begin with '" VHD_COOKIE "'",
			       n->filename);
	if (be32_to_cpu(f->checksum) !=
	    vhd_checksum(f, sizeof(*f), offsetof(struct vhd_footer, checksum)))
		return mapped_bad(n, e, "VHD footer field checksum", be32_to_cpu(f->checksum),
				  "it does not fit the footer's other bytes");
	return 0;
}

static int check_footer(struct blk_node *n, const struct vhd_footer *f, struct err *e)
{
	uint32_t type = be32_to_cpu(f->type), version = be32_to_cpu(f->version);

	if (version >> 16 != VHD_VERSION >> 16)
		return mapped_unsupported(n, e, "VHD footer field version", version >> 16,
					  "only 1 is supported");
	if (type == VHD_DIFFERENCING)
		return mapped_unsupported(n, e, "VHD footer field type", type,
					  "differencing disks are not supported");
	if (type != VHD_FIXED && type != VHD_DYNAMIC)
		return mapped_bad(n, e, "VHD footer field type", type,
				  "neither fixed (2) nor dynamic (3)");
	if (f->saved_state)
		return mapped_unsupported(n, e, "VHD footer field saved_state", f->saved_state,
					  "the disk is part of a suspended machine");
	return 0;
}

/*
 * Virtual PC shows the guest what the geometry holds, which can be less than
 * current_size, and so did old versions of qemu-img; all others show current_size.
 */
static uint64_t disk_size(const struct vhd_footer *f)
{
	uint64_t chs = (uint64_t)be16_to_cpu(f->cylinders) * f->heads * f->sectors;
	bool by_chs = !memcmp(f->creator_app, "vpc ", 4) || !memcmp(f->creator_app, "qemu", 4);

	if (by_chs && chs && chs < VHD_CHS_MOST)
		return chs * SECTOR;
	return be64_to_cpu(f->current_size);
}

static int check_dynamic(struct blk_node *n, const struct vhd_dynamic *d, struct err *e)
{
	uint32_t block = be32_to_cpu(d->block_size), entries = be32_to_cpu(d->max_table_entries);

	if (memcmp(d->cookie, VHD_DYNAMIC_COOKIE, 8) != 0)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: VHD dynamic header field cookie is not '" VHD_DYNAMIC_COOKIE
			       "'",
			       n->filename);
	if (be32_to_cpu(d->checksum) !=
	    vhd_checksum(d, sizeof(*d), offsetof(struct vhd_dynamic, checksum)))
		return mapped_bad(n, e, "VHD dynamic header field checksum",
				  be32_to_cpu(d->checksum),
				  "it does not fit the header's other bytes");
	if (be32_to_cpu(d->version) >> 16 != VHD_VERSION >> 16)
		return mapped_unsupported(n, e, "VHD dynamic header field version",
					  be32_to_cpu(d->version) >> 16, "only 1 is supported");
	if (block < SECTOR || block > 256u << 20 || block & (block - 1))
		return mapped_bad(n, e, "VHD dynamic header field block_size", block,
				  "not a power of two from 512 to 268435456");
	if (be64_to_cpu(d->table_offset) % SECTOR)
		return mapped_bad(n, e, "VHD dynamic header field table_offset",
				  be64_to_cpu(d->table_offset), "not a multiple of 512");
	if ((uint64_t)entries * block < n->size)
		return mapped_bad(n, e, "VHD dynamic header field max_table_entries", entries,
				  "fewer blocks than the disk has");
	return 0;
}

/* Writing must not touch what is not a block: entries are looked at for that. */
static int prepare_writing(struct blk_node *n, struct err *e)
{
	struct vpc *v = n->p;
	uint64_t block = (uint64_t)v->bitmap_size + v->block_size;
	uint64_t least = v->table_offset + (uint64_t)v->entries * sizeof(v->table[0]);

	v->end = (least + SECTOR - 1) / SECTOR * SECTOR;
	for (uint32_t i = 0; i < v->entries; i++) {
		uint64_t at = (uint64_t)be32_to_cpu(v->table[i]) * SECTOR;

		if (be32_to_cpu(v->table[i]) == VHD_UNALLOCATED)
			continue;
		if (at < least || at + block > n->file->size)
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: entry %u of the VHD block allocation table is %u: no "
				       "place of a block in the file, so nothing can be written",
				       n->filename, i, be32_to_cpu(v->table[i]));
		if (at + block > v->end)
			v->end = at + block;
	}
	v->full = calloc(v->entries / 8 + 1, 1);
	return v->full ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

static int open_dynamic(struct blk_node *n, uint64_t header, struct err *e)
{
	struct vpc *v = n->p;
	struct vhd_dynamic d;
	uint64_t len;
	int rc = mapped_read(n->file, header, &d, sizeof(d), "the VHD dynamic header", e);

	if (!rc)
		rc = check_dynamic(n, &d, e);
	if (rc)
		return rc;
	v->block_size = be32_to_cpu(d.block_size);
	/* What lies behind the disk's end is of no interest, nor is its table. */
	v->entries = (uint32_t)((n->size + v->block_size - 1) / v->block_size);
	v->bitmap_size = (v->block_size / SECTOR / 8 + SECTOR - 1) / SECTOR * SECTOR;
	len = (uint64_t)v->entries * sizeof(v->table[0]);
	v->table_offset = be64_to_cpu(d.table_offset);
	rc = mapped_read_table(n->file, v->table_offset, len, (len + SECTOR - 1) / SECTOR * SECTOR,
			       (void **)&v->table, "the VHD block allocation table", e);
	if (!rc)
		rc = n->readonly ? 0 : prepare_writing(n, e);
	return rc;
}

static int vpc_open(struct blk_node *n, struct err *e)
{
	struct vpc *v = n->p;
	struct vhd_footer f;
	bool at_end = false;
	int rc = read_footer(n, &f, &at_end, e);

	if (!rc)
		rc = check_footer(n, &f, e);
	if (rc)
		return rc;
	v->footer = f;
	n->size = disk_size(&f);
	if (n->size % SECTOR || n->size > UINT64_MAX / 2)
		return mapped_bad(n, e, "VHD footer field current_size", n->size,
				  "not a size of a disk");
	if (be32_to_cpu(f.type) == VHD_DYNAMIC)
		return open_dynamic(n, be64_to_cpu(f.data_offset), e);
	if (!at_end || n->size > n->file->size - sizeof(f))
		return mapped_bad(n, e, "VHD footer field current_size", n->size,
				  "the file does not hold as much before its footer");
	return 0;
}

/* --- requests ------------------------------------------------------------------------------------
 */

/*
 * The bitmaps are not looked at: they are there for differencing disks, and in others the
 * sectors that were never written are zero.
 */
static int vpc_map(struct blk_node *n, uint64_t off, uint64_t len, bool wait, struct mapping *m)
{
	const struct vpc *v = n->p;
	uint32_t entry, in_block;

	*m = (struct mapping){ .kind = MAP_DATA, .node = n->file, .off = off, .bytes = len };
	if (!v->table)
		return 0;
	entry = be32_to_cpu(v->table[off / v->block_size]);
	in_block = (uint32_t)(off % v->block_size);
	if (len > v->block_size - in_block)
		m->bytes = v->block_size - in_block;
	if (entry == VHD_UNALLOCATED)
		m->kind = MAP_HOLE;
	else
		m->off = (uint64_t)entry * SECTOR + v->bitmap_size + in_block;
	return 0;
}

static bool is_full(const struct vpc *v, uint32_t block)
{
	return v->full[block / 8] & 1u << block % 8;
}

/* In a block that has a place all sectors count from now on: the others hold zeroes. */
static int fill_bitmap(struct blk_node *n, uint64_t at, uint32_t block)
{
	struct vpc *v = n->p;
	uint8_t *ones = malloc(v->bitmap_size);
	int rc = -ENOMEM;

	if (ones) {
		memset(ones, 0xff, v->bitmap_size);
		rc = co_pwrite(n->file, at, ones, v->bitmap_size, 0);
	}
	free(ones);
	if (!rc)
		v->full[block / 8] |= (uint8_t)(1u << block % 8);
	return rc;
}

static int vpc_begin_write(struct blk_node *n, uint64_t off, bool wait)
{
	struct vpc *v = n->p;
	uint32_t block;
	int rc = 0;

	if (!v->table)
		return 0;
	block = (uint32_t)(off / v->block_size);
	if (is_full(v, block))
		return 0;
	if (!wait)
		return -EAGAIN;
	co_lock(&v->lock);
	if (!is_full(v, block))
		rc = fill_bitmap(n, (uint64_t)be32_to_cpu(v->table[block]) * SECTOR, block);
	co_unlock(&v->lock);
	return rc;
}

/* The table says that block is at v->end, in memory. */
static int enter_block(struct vpc *v, uint32_t block)
{
	int rc = mapped_dirty_add(&v->dirty, block / PER_SECTOR, v->entries / PER_SECTOR + 1);

	if (rc)
		return rc;
	v->table[block] = cpu_to_be32((uint32_t)(v->end / SECTOR));
	v->end += v->bitmap_size + v->block_size;
	return 0;
}

static bool vpc_unsettled(const struct blk_node *n)
{
	return mapped_dirty_any(&((const struct vpc *)n->p)->dirty);
}

/* The lock is held. */
static int write_tables(struct blk_node *n)
{
	struct vpc *v = n->p;
	int rc = co_flush(n->file);

	if (!rc)
		rc = co_pwrite(n->file, v->end, &v->footer, sizeof(v->footer), 0);
	if (!rc)
		rc = mapped_dirty_write(&v->dirty, n->file, v->table_offset, v->table);
	return rc;
}

static int vpc_settle(struct blk_node *n)
{
	struct vpc *v = n->p;
	int rc;

	co_lock(&v->lock);
	rc = vpc_unsettled(n) ? write_tables(n) : 0;
	co_unlock(&v->lock);
	return rc ? rc : co_flush(n->file);
}

static int write_block(struct blk_node *n, uint32_t block, uint32_t in_block, uint64_t len,
		       const struct iovec *iov, unsigned n_iov, unsigned flags)
{
	struct vpc *v = n->p;
	uint64_t data = v->end + v->bitmap_size;
	int rc;

	if (v->end / SECTOR >= VHD_UNALLOCATED)
		return -EFBIG;
	rc = co_zero(n->file, data, in_block, flags);
	if (!rc)
		rc = co_zero(n->file, data + in_block + len, v->block_size - in_block - len, flags);
	if (!rc)
		rc = co_iov(n->file, BLK_WRITE, data + in_block, len, iov, n_iov, flags);
	if (!rc)
		rc = fill_bitmap(n, v->end, block);
	return rc ? rc : enter_block(v, block);
}

static int vpc_allocate(struct blk_node *n, uint64_t off, uint64_t len, const struct iovec *iov,
			unsigned n_iov, unsigned flags)
{
	struct vpc *v = n->p;
	uint32_t block = (uint32_t)(off / v->block_size);
	struct mapping m;
	int rc;

	co_lock(&v->lock);
	vpc_map(n, off, len, true, &m);
	if (m.kind == MAP_DATA) /* by someone who was waited for */
		rc = co_iov(n->file, BLK_WRITE, m.off, len, iov, n_iov, flags);
	else
		rc = write_block(n, block, (uint32_t)(off % v->block_size), len, iov, n_iov, flags);
	co_unlock(&v->lock);
	return rc;
}

static uint32_t vpc_block_size(const struct blk_node *n)
{
	return ((const struct vpc *)n->p)->block_size;
}

static const struct mapped_ops vpc_ops = {
	.map = vpc_map,
	.allocate = vpc_allocate,
	.block_size = vpc_block_size,
	.begin_write = vpc_begin_write,
	.unsettled = vpc_unsettled,
	.settle = vpc_settle,
};

static void vpc_close(struct blk_node *n)
{
	struct vpc *v = n->p;

	mapped_settle(n, &vpc_ops);
	free(v->table);
	free(v->full);
	free(v->dirty.bits);
}

static int vpc_reopen(struct blk_node *n, struct err *e)
{
	const struct vpc *v = n->p;
	int rc = mapped_settle(n, &vpc_ops);

	if (rc)
		return err_set(e, ERR_HOST, -rc, "%s: cannot write its table: %s", n->filename,
			       strerror(-rc));
	return n->readonly || !v->table || v->full ? 0 : prepare_writing(n, e);
}

static void vpc_submit(struct blk_node *n, struct blk_io *io)
{
	mapped_submit(n, io, &vpc_ops);
}

static int vpc_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		      unsigned *flags)
{
	return mapped_status(n, &vpc_ops, off, len, bytes, flags);
}

static const struct blk_image_ops vpc_image = {
	.create_props = vpc_create_props,
	.create_size = VPC_CREATE_SIZE,
	.create = vpc_create,
	.cluster_size = vpc_block_size,
};

const struct blk_driver blk_vpc = {
	.name = "vpc",
	.desc = "virtual hard disks (VHD) of Virtual PC and Hyper-V",
	.size = sizeof(struct vpc),
	.probe = vpc_probe,
	.open = vpc_open,
	.close = vpc_close,
	.submit = vpc_submit,
	.reopen = vpc_reopen,
	.status = vpc_status,
	.image = &vpc_image,
};
