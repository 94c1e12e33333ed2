/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vpc: making images (Virtual Hard Disk Image Format Specification 1.0). Options are
 * those of qemu-img, by the same names. Main thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "err.h"
#include "mapped.h"
#include "props.h"
#include "vpc_int.h"

enum { DYNAMIC, FIXED };
enum {
	BLOCK = 2 << 20,
	HEADER_AT = sizeof(struct vhd_footer),
	TABLE_AT = HEADER_AT + sizeof(struct vhd_dynamic),
	EPOCH = 946684800, /* 2000-01-01 */
};

#define SECTORS_MOST 0xff000000u /* 2040 GiB: more cannot be numbered with the bitmaps */

static const char *const subformats[] = { "dynamic", "fixed", NULL };

const struct prop vpc_create_props[] = {
	PROP_CHOICE(struct vpc_create, subformat, "subformat", "dynamic", subformats,
		    "dynamic: grows as it is written; fixed"),
	PROP(struct vpc_create, force_size, PROP_BOOL, "force_size", "off",
	     "exactly this size, rather than that of a geometry"),
	PROP_END,
};

/* --- geometry (appendix "CHS Calculation") --- */

struct geometry {
	uint32_t cylinders, heads, sectors;
};

static uint64_t product(const struct geometry *g)
{
	return (uint64_t)g->cylinders * g->heads * g->sectors;
}

static struct geometry geometry_of(uint64_t total)
{
	struct geometry g;
	uint64_t per_head;

	if (total > VHD_CHS_MOST)
		total = VHD_CHS_MOST;
	if (total >= 65535u * 16 * 63) {
		g.sectors = 255;
		g.heads = 16;
		per_head = total / g.sectors;
	} else {
		g.sectors = 17;
		per_head = total / g.sectors;
		g.heads = (uint32_t)((per_head + 1023) / 1024);
		if (g.heads < 4)
			g.heads = 4;
		if (per_head >= g.heads * 1024 || g.heads > 16) {
			g.sectors = 31;
			g.heads = 16;
			per_head = total / g.sectors;
		}
		if (per_head >= g.heads * 1024) {
			g.sectors = 63;
			g.heads = 16;
			per_head = total / g.sectors;
		}
	}
	g.cylinders = (uint32_t)(per_head / g.heads);
	return g;
}

/* The smallest that holds so many sectors. */
static struct geometry round_up(uint64_t sectors)
{
	struct geometry g = geometry_of(sectors);

	for (uint64_t more = sectors; product(&g) < sectors && sectors < VHD_CHS_MOST;)
		g = geometry_of(++more);
	return g;
}

/* --- the image --- */

static int make_footer(struct vhd_footer *f, uint64_t size, const struct geometry *g, bool exact,
		       bool fixed, struct err *e)
{
	*f = (struct vhd_footer){
		.features = cpu_to_be32(2), /* a reserved bit that is always set */
		.version = cpu_to_be32(VHD_VERSION),
		.data_offset = cpu_to_be64(fixed ? VHD_NO_OFFSET : HEADER_AT),
		.timestamp = cpu_to_be32((uint32_t)(time(NULL) - EPOCH)),
		.creator_version = cpu_to_be32(0x50003),
		.original_size = cpu_to_be64(size),
		.current_size = cpu_to_be64(size),
		.cylinders = cpu_to_be16((uint16_t)g->cylinders),
		.heads = (uint8_t)g->heads,
		.sectors = (uint8_t)g->sectors,
		.type = cpu_to_be32(fixed ? VHD_FIXED : VHD_DYNAMIC),
	};
	memcpy(f->cookie, VHD_COOKIE, 8);
	/* Readers know by it whether current_size or the geometry is the size. */
	memcpy(f->creator_app, exact ? "qem2" : "qemu", 4);
	memcpy(f->creator_os, "Wi2k", 4);
	if (getrandom(f->uuid, 16, 0) != 16)
		return err_set(e, ERR_HOST, EIO, "cannot get random numbers for a UUID");
	f->checksum =
		cpu_to_be32(vhd_checksum(f, sizeof(*f), offsetof(struct vhd_footer, checksum)));
	return 0;
}

static struct vhd_dynamic make_header(uint32_t entries)
{
	struct vhd_dynamic d = {
		.data_offset = cpu_to_be64(VHD_NO_OFFSET),
		.table_offset = cpu_to_be64(TABLE_AT),
		.version = cpu_to_be32(VHD_VERSION),
		.max_table_entries = cpu_to_be32(entries),
		.block_size = cpu_to_be32(BLOCK),
	};

	memcpy(d.cookie, VHD_DYNAMIC_COOKIE, 8);
	d.checksum =
		cpu_to_be32(vhd_checksum(&d, sizeof(d), offsetof(struct vhd_dynamic, checksum)));
	return d;
}

/* The copy of the footer comes last: what is no image yet does not look like one. */
static int write_dynamic(struct blk_node *file, const struct vhd_footer *f, uint32_t entries,
			 uint64_t table)
{
	struct vhd_dynamic d = make_header(entries);
	uint8_t *ones = malloc(table);
	int rc = ones ? 0 : -ENOMEM;

	if (!rc) {
		memset(ones, 0xff, table);
		rc = blk_node_pwrite(file, TABLE_AT, ones, table);
	}
	free(ones);
	if (!rc)
		rc = blk_node_pwrite(file, HEADER_AT, &d, sizeof(d));
	if (!rc)
		rc = blk_node_pwrite(file, TABLE_AT + table, f, sizeof(*f));
	return rc ? rc : blk_node_pwrite(file, 0, f, sizeof(*f));
}

int vpc_create(const char *filename, const struct blk_create *c, struct err *e)
{
	const struct vpc_create *o = c->opts;
	struct vpc_create plain = { .subformat = DYNAMIC };
	uint64_t sectors = c->size / VHD_SECTOR, size, table;
	struct geometry g;
	struct vhd_footer f;
	struct blk_node *file;
	uint32_t entries;
	int rc;

	o = o ? o : &plain;
	g = o->force_size ? geometry_of(sectors) : round_up(sectors);
	/* Larger disks have no geometry of their own. */
	if (!o->force_size && product(&g) >= sectors)
		sectors = product(&g);
	if (!sectors || sectors > SECTORS_MOST)
		return err_set(e, ERR_USAGE, sectors ? EFBIG : EINVAL,
			       "'%s': size %" PRIu64
			       " is not one that a VHD image can have: 512 to "
			       "%" PRIu64,
			       filename, c->size, (uint64_t)SECTORS_MOST * VHD_SECTOR);
	if (c->backing)
		return err_set(
			e, ERR_USAGE, ENOTSUP,
			"'%s': VHD images with a backing file (differencing) are not supported",
			filename);
	size = sectors * VHD_SECTOR;
	entries = (uint32_t)((size + BLOCK - 1) / BLOCK);
	table = ((uint64_t)entries * sizeof(struct be32) + VHD_SECTOR - 1) / VHD_SECTOR *
		VHD_SECTOR;
	rc = make_footer(&f, size, &g, o->force_size || product(&g) != sectors, o->subformat, e);
	if (!rc)
		rc = mapped_create_file(filename, o->subformat == FIXED ? size : TABLE_AT + table,
					c, &file, e);
	if (rc)
		return rc;
	rc = o->subformat == FIXED ? blk_node_pwrite(file, size, &f, sizeof(f))
				   : write_dynamic(file, &f, entries, table);
	return mapped_create_end(file, rc, e);
}
