/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vmdk: making images (VMware Virtual Disk Format 5.0). Options are those of qemu-img, by
 * the same names. Main thread.
 *
 * A sparse file is: header, descriptor, redundant grain directory and tables, grain directory
 * and tables, and grains. A stream is: header, descriptor, and what vmdk_stream.c writes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "err.h"
#include "vmdk_int.h"

enum { SPARSE, FLAT, STREAM, SPLIT_SPARSE, SPLIT_FLAT };
enum {
	GRAIN = 128, /* sectors */
	GTES = 512,
	TABLE = GTES * sizeof(struct le32) / VMDK_SECTOR, /* sectors */
	DESC_AT = 1,
	DESC_LEN = 20, /* sectors */
};

static const char *const subformats[] = {
	"monolithicSparse",     "monolithicFlat",     "streamOptimized",
	"twoGbMaxExtentSparse", "twoGbMaxExtentFlat", NULL,
};
static const char *const adapters[] = { "ide", "buslogic", "lsilogic", "legacyESX", NULL };

const struct prop vmdk_create_props[] = {
	PROP_CHOICE(struct vmdk_create, adapter, "adapter_type", "ide", adapters,
		    "Virtual adapter type, one of ide, lsilogic, buslogic or legacyESX"),
	PROP(struct vmdk_create, hwversion, PROP_STR, "hwversion", NULL, "VMDK hardware version"),
	PROP_CHOICE(struct vmdk_create, subformat, "subformat", "monolithicSparse", subformats,
		    "monolithicSparse, monolithicFlat or streamOptimized"),
	PROP(struct vmdk_create, zeroed_grain, PROP_BOOL, "zeroed_grain", "off",
	     "Enable efficient zero writes using the zeroed-grain GTE"),
	PROP_END,
};

/* --- the descriptor --- */

/* The last part of a path, with "-flat" before its ending; malloc'd. */
static char *flat_name(const char *filename)
{
	const char *slash = strrchr(filename, '/');
	const char *base = slash ? slash + 1 : filename, *dot = strrchr(base, '.');
	char *name;

	if (!dot || dot == base)
		dot = base + strlen(base);
	return asprintf(&name, "%.*s-flat%s", (int)(dot - base), base, dot) < 0 ? NULL : name;
}

/* Into text; -errno. name: of the extent's file. */
static int describe(char *text, size_t size, const struct vmdk_create *o, uint64_t sectors,
		    const char *name, struct err *e)
{
	bool ide = o->adapter == 0;
	uint64_t per_cylinder = (ide ? 16 : 255) * 63;
	uint32_t cid;
	int n;

	if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
		return err_set(e, ERR_HOST, EIO, "cannot get random numbers for a content ID");
	n = snprintf(text, size,
		     "# Disk DescriptorFile\n"
		     "version=1\n"
		     "CID=%08x\n"
		     "parentCID=ffffffff\n"
		     "createType=\"%s\"\n"
		     "\n"
		     "# Extent description\n"
		     "RW %" PRIu64 " %s \"%s\"%s\n"
		     "\n"
		     "# The Disk Data Base\n"
		     "#DDB\n"
		     "\n"
		     "ddb.virtualHWVersion = \"%s\"\n"
		     "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
		     "ddb.geometry.heads = \"%d\"\n"
		     "ddb.geometry.sectors = \"63\"\n"
		     "ddb.adapterType = \"%s\"\n",
		     cid >> 1, subformats[o->subformat], sectors,
		     o->subformat == FLAT ? "FLAT" : "SPARSE", name,
		     o->subformat == FLAT ? " 0" : "", o->hwversion ? o->hwversion : "4",
		     sectors / per_cylinder, ide ? 16 : 255, adapters[o->adapter]);
	if (n < 0 || (size_t)n >= size)
		return err_set(e, ERR_USAGE, ENAMETOOLONG,
			       "'%s': the descriptor has no room for the name of the file", name);
	return 0;
}

/* --- sparse files --- */

struct layout {
	uint64_t tables, dir; /* how many; sectors of a directory */
	uint64_t rgd, gd; /* sectors */
	uint64_t overhead; /* sectors before the first grain */
};

static struct layout lay_out(uint64_t sectors, bool stream)
{
	uint64_t per_table = (uint64_t)GRAIN * GTES;
	struct layout l = { .tables = (sectors + per_table - 1) / per_table };

	l.dir = (l.tables * sizeof(struct le32) + VMDK_SECTOR - 1) / VMDK_SECTOR;
	l.rgd = DESC_AT + DESC_LEN;
	l.gd = l.rgd + l.dir + l.tables * TABLE;
	l.overhead = stream ? GRAIN : l.gd + l.dir + l.tables * TABLE;
	l.overhead = (l.overhead + GRAIN - 1) / GRAIN * GRAIN;
	return l;
}

static struct vmdk_sparse make_header(const struct vmdk_create *o, uint64_t sectors,
				      const struct layout *l)
{
	bool stream = o->subformat == STREAM;
	uint32_t flags = VMDK_NEW_LINES;

	flags |= stream ? VMDK_COMPRESSED | VMDK_MARKERS : VMDK_REDUNDANT;
	flags |= o->zeroed_grain ? VMDK_ZEROED_GRAINS : 0;
	return (struct vmdk_sparse){
		.magic = { 'K', 'D', 'M', 'V' },
		.version = cpu_to_le32(stream            ? 3
				       : o->zeroed_grain ? 2
							 : 1),
		.flags = cpu_to_le32(flags),
		.capacity = cpu_to_le64(sectors),
		.grain_size = cpu_to_le64(GRAIN),
		.descriptor_offset = cpu_to_le64(DESC_AT),
		.descriptor_size = cpu_to_le64(DESC_LEN),
		.gtes_per_gt = cpu_to_le32(GTES),
		.rgd_offset = cpu_to_le64(stream ? 0 : l->rgd),
		.gd_offset = cpu_to_le64(stream ? VMDK_GD_AT_END : l->gd),
		.overhead = cpu_to_le64(l->overhead),
		.single_end_line = '\n',
		.non_end_line = ' ',
		.double_end_line = { '\r', '\n' },
		.compress_algorithm = cpu_to_le16(stream ? VMDK_DEFLATE : 0),
	};
}

/* A directory at sector `at`, and its empty tables behind it. */
static int write_directory(struct blk_node *file, const struct layout *l, uint64_t at)
{
	struct le32 part[VMDK_SECTOR / sizeof(struct le32)];
	uint64_t first = at + l->dir;
	int rc = 0;

	for (uint64_t i = 0; !rc && i < l->dir; i++) {
		for (uint64_t k = 0; k < VMDK_SECTOR / sizeof(part[0]); k++) {
			uint64_t t = i * (VMDK_SECTOR / sizeof(part[0])) + k;

			part[k] = cpu_to_le32(t < l->tables ? (uint32_t)(first + t * TABLE) : 0);
		}
		rc = blk_node_pwrite(file, (at + i) * VMDK_SECTOR, part, sizeof(part));
	}
	if (!rc && l->tables) /* a device has old data there */
		rc = blk_node_zero(file, first * VMDK_SECTOR, l->tables * TABLE * VMDK_SECTOR, 0);
	return rc;
}

static int create_sparse(const char *filename, const struct vmdk_create *o,
			 const struct blk_create *c, struct err *e)
{
	uint64_t sectors = c->size / VMDK_SECTOR;
	struct layout l = lay_out(sectors, o->subformat == STREAM);
	struct vmdk_sparse h = make_header(o, sectors, &l);
	const char *slash = strrchr(filename, '/');
	char text[DESC_LEN * VMDK_SECTOR] = "";
	struct blk_node *file;
	int rc;

	if (l.tables * sizeof(struct le32) > MAPPED_TABLE_MOST || l.overhead > UINT32_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
			       "'%s': size %" PRIu64 " is more than a VMDK file holds here",
			       filename, c->size);
	rc = describe(text, sizeof(text), o, sectors, slash ? slash + 1 : filename, e);
	if (!rc)
		rc = mapped_create_file(filename, l.overhead * VMDK_SECTOR, c, &file, e);
	if (rc)
		return rc;
	rc = blk_node_pwrite(file, DESC_AT * VMDK_SECTOR, text, sizeof(text));
	if (!rc && o->subformat == SPARSE) {
		rc = write_directory(file, &l, l.rgd);
		if (!rc)
			rc = write_directory(file, &l, l.gd);
	}
	/* The header last: what is no image yet does not look like one. */
	if (!rc)
		rc = blk_node_pwrite(file, 0, &h, sizeof(h));
	return mapped_create_end(file, rc, e);
}

/* --- flat files --- */

/* "disk.vmdk" has "disk-flat.vmdk" beside it. */
static int create_flat(const char *filename, const struct vmdk_create *o,
		       const struct blk_create *c, struct err *e)
{
	const char *slash = strrchr(filename, '/');
	char text[DESC_LEN * VMDK_SECTOR] = "", *name = flat_name(filename), *path = NULL;
	struct blk_node *file, *data;
	int rc = -ENOMEM;

	if (name &&
	    asprintf(&path, "%.*s%s", slash ? (int)(slash - filename) + 1 : 0, filename, name) >= 0)
		rc = describe(text, sizeof(text), o, c->size / VMDK_SECTOR, name, e);
	else
		err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (!rc)
		rc = mapped_create_open(filename, c, &file, e);
	if (!rc) {
		/* With the other locked: one that is in use costs neither its contents. */
		rc = mapped_create_file(path, c->size, c, &data, e);
		if (!rc)
			rc = mapped_create_end(data, 0, e);
		if (!rc)
			rc = blk_node_truncate(file, 0, e);
		if (rc)
			blk_node_close(file);
		else
			rc = mapped_create_end(file, blk_node_pwrite(file, 0, text, strlen(text)),
					       e);
	}
	free(path);
	free(name);
	return rc;
}

int vmdk_create(const char *filename, const struct blk_create *c, struct err *e)
{
	static const struct vmdk_create plain;
	const struct vmdk_create *o = c->opts ? c->opts : &plain;

	if (o->subformat == SPLIT_SPARSE || o->subformat == SPLIT_FLAT) {
		err_set(e, ERR_USAGE, ENOTSUP,
			"'%s': subformat=%s: such images can be read, not made", filename,
			subformats[o->subformat]);
		err_hint(e, "use subformat=monolithicSparse or monolithicFlat");
		return -ENOTSUP;
	}
	if (c->backing)
		return err_set(e, ERR_USAGE, ENOTSUP,
			       "'%s': VMDK images with a parent are not supported", filename);
	return o->subformat == FLAT ? create_flat(filename, o, c, e)
				    : create_sparse(filename, o, c, e);
}
