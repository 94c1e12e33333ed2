/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vpc: virtual hard disks (VHD) of Virtual PC and Hyper-V, dynamic and fixed, read
 * only. Written from the Virtual Hard Disk Image Format Specification 1.0. Node's thread.
 *
 * A dynamic disk has a copy of its footer at the beginning, by which it is probed; a fixed
 * one is the disk's bytes with a footer behind them, and must be asked for by name:
 * a guest could write such a footer to the end of a raw disk.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block_int.h"
#include "err.h"
#include "internal.h"
#include "mapped.h"
#include "wire/vhd.h"

extern const struct blk_driver blk_vpc;

enum { SECTOR = 512 };

/* The largest geometry: larger disks have this one. */
#define CHS_MOST (65535u * 16 * 255)

struct vpc {
	struct be32 *table; /* NULL: fixed */
	uint32_t entries, block_size;
	uint32_t bitmap_size; /* before the data of each block */
};

static int vpc_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	return n >= 8 && !memcmp(buf, VHD_COOKIE, 8) ? 100 : 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static uint32_t checksum(const void *p, size_t n, size_t field)
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
	    checksum(f, sizeof(*f), offsetof(struct vhd_footer, checksum)))
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

	if (by_chs && chs && chs < CHS_MOST)
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
	    checksum(d, sizeof(*d), offsetof(struct vhd_dynamic, checksum)))
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
	return mapped_read_table(n->file, be64_to_cpu(d.table_offset), len, len, (void **)&v->table,
				 "the VHD block allocation table", e);
}

static int vpc_open(struct blk_node *n, struct err *e)
{
	struct vhd_footer f;
	bool at_end = false;
	int rc = read_footer(n, &f, &at_end, e);

	if (!rc)
		rc = check_footer(n, &f, e);
	if (!rc)
		rc = mapped_read_only(n, e);
	if (rc)
		return rc;
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

static void vpc_close(struct blk_node *n)
{
	free(((struct vpc *)n->p)->table);
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

static const struct mapped_ops vpc_ops = { .map = vpc_map };

static void vpc_submit(struct blk_node *n, struct blk_io *io)
{
	mapped_submit(n, io, &vpc_ops);
}

static int vpc_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		      unsigned *flags)
{
	return mapped_status(n, &vpc_ops, off, len, bytes, flags);
}

static uint32_t vpc_cluster_size(const struct blk_node *n)
{
	return ((const struct vpc *)n->p)->block_size;
}

static const struct blk_image_ops vpc_image = { .cluster_size = vpc_cluster_size };

const struct blk_driver blk_vpc = {
	.name = "vpc",
	.desc = "virtual hard disks (VHD) of Virtual PC and Hyper-V, read-only",
	.size = sizeof(struct vpc),
	.probe = vpc_probe,
	.open = vpc_open,
	.close = vpc_close,
	.submit = vpc_submit,
	.status = vpc_status,
	.image = &vpc_image,
};
