/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vhdx, virtual hard disks of Hyper-V, dynamic and fixed, read only. Written
 * from [MS-VHDX]; section numbers are its. Node's thread.
 *
 * Two headers, of which the newer counts; two equal tables of regions; and the regions: block
 * allocation table (BAT) and metadata. An image that was not closed has a log besides, see
 * vhdx_log.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block_int.h"
#include "err.h"
#include "internal.h"
#include "mapped.h"
#include "vhdx_int.h"

extern const struct blk_driver blk_vhdx;

#define MIB (1u << 20)
#define SIZE_MOST (64ull << 40)

struct region {
	uint64_t off;
	uint32_t len;
};

struct vhdx {
	struct le64 *bat;
	uint32_t block_size, logical, physical, flags;
	uint32_t chunk_ratio; /* after so many blocks there is an entry for a bitmap */
	struct region bat_region, meta_region;
	struct vhdx_log log; /* while opening */
};

static int vhdx_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	return n >= 8 && !memcmp(buf, VHDX_FILE_SIGNATURE, 8) ? 100 : 0;
}

static bool same(const struct vhdx_guid *a, struct vhdx_guid b)
{
	return !memcmp(a, &b, sizeof(b));
}

/* As people write it. */
static const char *guid_text(const struct vhdx_guid *g, char text[37])
{
	const uint8_t *b = g->b;

	snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12],
		 b[13], b[14], b[15]);
	return text;
}

/* --- headers (2.2.2)
 * ------------------------------------------------------------------------------ */

static bool header_ok(const struct vhdx_header *h)
{
	return !memcmp(h->signature, "head", 4) &&
	       vhdx_checksum_ok(h, sizeof(*h), offsetof(struct vhdx_header, checksum));
}

static int read_header(struct blk_node *n, struct vhdx_header *h, struct err *e)
{
	struct vhdx_header second;
	int rc = mapped_read(n->file, VHDX_HEADER1, h, sizeof(*h), "the first VHDX header", e);

	if (!rc)
		rc = mapped_read(n->file, VHDX_HEADER2, &second, sizeof(second),
				 "the second VHDX header", e);
	if (rc)
		return rc;
	if (header_ok(&second) && (!header_ok(h) || le64_to_cpu(second.sequence_number) >
							    le64_to_cpu(h->sequence_number)))
		*h = second;
	if (!header_ok(h))
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: both VHDX headers are damaged: Signature or Checksum is wrong",
			       n->filename);
	if (le16_to_cpu(h->version) != 1)
		return mapped_unsupported(n, e, "VHDX header field Version",
					  le16_to_cpu(h->version), "only 1 is supported");
	if (le16_to_cpu(h->log_version) != 0)
		return mapped_unsupported(n, e, "VHDX header field LogVersion",
					  le16_to_cpu(h->log_version), "only 0 is supported");
	return 0;
}

static int read_log(struct blk_node *n, const struct vhdx_header *h, struct err *e)
{
	static const struct vhdx_guid none;
	struct vhdx *v = n->p;

	return same(&h->log, none) ? 0 : vhdx_log_read(n, h, &v->log, e);
}

/* Reads metadata as they are once the log is carried out. */
static int read_meta(struct blk_node *n, uint64_t off, void *buf, size_t len, const char *what,
		     struct err *e)
{
	struct vhdx *v = n->p;
	int rc = mapped_read(n->file, off, buf, len, what, e);

	return rc ? rc : vhdx_log_apply(n, &v->log, off, buf, len, e);
}

/* --- regions (2.2.3)
 * --------------------------------------------------------------------------------- */

static bool regions_ok(const struct vhdx_regions *r)
{
	return !memcmp(r->signature, "regi", 4) &&
	       le32_to_cpu(r->entry_count) <= VHDX_REGIONS_MOST &&
	       vhdx_checksum_ok(r, sizeof(*r), offsetof(struct vhdx_regions, checksum));
}

static int use_region(struct blk_node *n, const struct vhdx_region *r, struct err *e)
{
	struct vhdx *v = n->p;
	uint64_t off = le64_to_cpu(r->file_offset);
	uint32_t len = le32_to_cpu(r->length);
	bool bat = same(&r->guid, (struct vhdx_guid)VHDX_BAT);
	struct region *to = bat ? &v->bat_region : &v->meta_region;
	char text[37];

	if (!bat && !same(&r->guid, (struct vhdx_guid)VHDX_METADATA)) {
		if (!(le32_to_cpu(r->required) & 1))
			return 0;
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: VHDX region %s is required, and not supported", n->filename,
			       guid_text(&r->guid, text));
	}
	if (to->len)
		return err_set(e, ERR_INPUT, EINVAL, "%s: VHDX region %s is there twice",
			       n->filename, guid_text(&r->guid, text));
	if (off < VHDX_FIXED_END || off % MIB || off > n->file->size)
		return mapped_bad(n, e, "VHDX region field FileOffset", off,
				  "not a multiple of 1 MiB in the file, from 1 MiB on");
	if (!len || len % MIB)
		return mapped_bad(n, e, "VHDX region field Length", len, "not a multiple of 1 MiB");
	*to = (struct region){ .off = off, .len = len };
	return 0;
}

static int read_regions(struct blk_node *n, struct vhdx_regions *r, struct err *e)
{
	struct vhdx *v = n->p;
	int rc = read_meta(n, VHDX_REGIONS1, r, sizeof(*r), "the VHDX region table", e);

	if (!rc && !regions_ok(r))
		rc = read_meta(n, VHDX_REGIONS2, r, sizeof(*r), "the second VHDX region table", e);
	if (rc)
		return rc;
	if (!regions_ok(r))
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: both VHDX region tables are damaged: Signature, Checksum or "
			       "EntryCount is wrong",
			       n->filename);
	for (uint32_t i = 0; !rc && i < le32_to_cpu(r->entry_count); i++)
		rc = use_region(n, &r->entry[i], e);
	if (!rc && (!v->bat_region.len || !v->meta_region.len))
		rc = err_set(e, ERR_INPUT, EINVAL, "%s: there is no VHDX region '%s'", n->filename,
			     v->bat_region.len ? "metadata" : "BAT");
	return rc;
}

/* --- metadata (2.6)
 * ------------------------------------------------------------------------------------ */

enum { ITEM_PARAMETERS, ITEM_SIZE, ITEM_LOGICAL, ITEM_PHYSICAL, ITEM_ID, ITEM_PARENT, ITEMS };

static const struct {
	const char *name;
	struct vhdx_guid id;
	uint32_t length; /* 0: of no interest */
} items[ITEMS] = {
	[ITEM_PARAMETERS] = { "File Parameters", VHDX_FILE_PARAMETERS, 8 },
	[ITEM_SIZE] = { "Virtual Disk Size", VHDX_DISK_SIZE, 8 },
	[ITEM_LOGICAL] = { "Logical Sector Size", VHDX_LOGICAL_SECTOR, 4 },
	[ITEM_PHYSICAL] = { "Physical Sector Size", VHDX_PHYSICAL_SECTOR, 4 },
	[ITEM_ID] = { "Virtual Disk ID", VHDX_DISK_ID, 0 },
	[ITEM_PARENT] = { "Parent Locator", VHDX_PARENT_LOCATOR, 0 },
};

static int read_item(struct blk_node *n, const struct vhdx_item *t, uint8_t value[ITEMS][8],
		     unsigned *have, struct err *e)
{
	const struct region *r = &((struct vhdx *)n->p)->meta_region;
	uint32_t off = le32_to_cpu(t->offset), len = le32_to_cpu(t->length);
	unsigned i = 0;
	char text[37];

	while (i < ITEMS && !same(&t->id, items[i].id))
		i++;
	if (i == ITEMS && !(le32_to_cpu(t->flags) & VHDX_ITEM_REQUIRED))
		return 0;
	if (i == ITEMS)
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: VHDX metadata item %s is required, and not supported",
			       n->filename, guid_text(&t->id, text));
	*have |= 1u << i;
	if (!items[i].length)
		return 0;
	if (len != items[i].length || off > r->len || len > r->len - off)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: VHDX metadata item '%s' has %u bytes at offset %u, not %u in "
			       "its region",
			       n->filename, items[i].name, len, off, items[i].length);
	return read_meta(n, r->off + off, value[i], len, items[i].name, e);
}

static uint32_t get32(const uint8_t *p)
{
	struct le32 v;

	memcpy(&v, p, sizeof(v));
	return le32_to_cpu(v);
}

static bool is_sector(uint32_t n)
{
	return n == 512 || n == 4096;
}

static int use_items(struct blk_node *n, uint8_t value[ITEMS][8], unsigned have, struct err *e)
{
	struct vhdx *v = n->p;

	for (unsigned i = 0; i < ITEMS; i++)
		if (items[i].length && !(have & 1u << i))
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: there is no VHDX metadata item '%s'", n->filename,
				       items[i].name);
	v->block_size = get32(value[ITEM_PARAMETERS]);
	v->flags = get32(value[ITEM_PARAMETERS] + 4);
	n->size = get32(value[ITEM_SIZE]) | (uint64_t)get32(value[ITEM_SIZE] + 4) << 32;
	v->logical = get32(value[ITEM_LOGICAL]);
	v->physical = get32(value[ITEM_PHYSICAL]);
	if (v->flags & VHDX_HAS_PARENT || have & 1u << ITEM_PARENT)
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: VHDX file parameter HasParent is set: differencing disks are "
			       "not supported",
			       n->filename);
	if (v->block_size < MIB || v->block_size > 256 * MIB || v->block_size & (v->block_size - 1))
		return mapped_bad(n, e, "VHDX file parameter BlockSize", v->block_size,
				  "not a power of two from 1 to 256 MiB");
	if (!is_sector(v->logical))
		return mapped_bad(n, e, "VHDX metadata item 'Logical Sector Size'", v->logical,
				  "neither 512 nor 4096");
	if (!is_sector(v->physical))
		return mapped_bad(n, e, "VHDX metadata item 'Physical Sector Size'", v->physical,
				  "neither 512 nor 4096");
	if (n->size > SIZE_MOST || n->size % v->logical)
		return mapped_bad(n, e, "VHDX metadata item 'Virtual Disk Size'", n->size,
				  "not a number of sectors up to 64 TiB");
	return 0;
}

static int read_metadata(struct blk_node *n, struct vhdx_metadata *t, struct err *e)
{
	struct vhdx *v = n->p;
	uint8_t value[ITEMS][8] = { { 0 } };
	unsigned have = 0, count;
	int rc = read_meta(n, v->meta_region.off, t, sizeof(*t), "the VHDX metadata table", e);

	if (rc)
		return rc;
	count = le16_to_cpu(t->entry_count);
	if (memcmp(t->signature, "metadata", 8) != 0)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: VHDX metadata field Signature is not 'metadata'", n->filename);
	if (count > VHDX_ITEMS_MOST)
		return mapped_bad(n, e, "VHDX metadata field EntryCount", count, "more than 2047");
	for (unsigned i = 0; !rc && i < count; i++)
		rc = read_item(n, &t->entry[i], value, &have, e);
	return rc ? rc : use_items(n, value, have, e);
}

/* --- block allocation table (2.5)
 * ----------------------------------------------------------------------- */

static uint64_t index_of(const struct vhdx *v, uint64_t block)
{
	return block + block / v->chunk_ratio;
}

static int check_bat(struct blk_node *n, uint64_t blocks, struct err *e)
{
	const struct vhdx *v = n->p;

	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t entry = le64_to_cpu(v->bat[index_of(v, i)]);
		unsigned state = VHDX_STATE(entry);

		if (state > VHDX_UNMAPPED && state != VHDX_FULLY_PRESENT)
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: VHDX BAT entry of block %" PRIu64
				       " has state %u, which a disk without parent has not",
				       n->filename, i, state);
		if (state == VHDX_FULLY_PRESENT &&
		    (VHDX_PLACE(entry) < VHDX_FIXED_END || VHDX_PLACE(entry) > INT64_MAX))
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: VHDX BAT entry of block %" PRIu64 " is 0x%" PRIx64
				       ": not a place in the file",
				       n->filename, i, entry);
	}
	return 0;
}

static int read_bat(struct blk_node *n, struct err *e)
{
	struct vhdx *v = n->p;
	uint64_t blocks = (n->size + v->block_size - 1) / v->block_size, len;
	void *bat = NULL;
	int rc;

	v->chunk_ratio = (uint32_t)(((uint64_t)v->logical << 23) / v->block_size);
	len = blocks ? (index_of(v, blocks - 1) + 1) * sizeof(v->bat[0]) : 0;
	if (len > v->bat_region.len)
		return mapped_bad(n, e, "VHDX region field Length", v->bat_region.len,
				  "less than the BAT of a disk of this size has");
	rc = mapped_read_table(n->file, v->bat_region.off, len, len, &bat, "the VHDX BAT", e);
	v->bat = bat;
	if (!rc)
		rc = vhdx_log_apply(n, &v->log, v->bat_region.off, bat, len, e);
	return rc ? rc : check_bat(n, blocks, e);
}

/* --- life
 * ----------------------------------------------------------------------------------------------------
 */

static bool within(const struct vhdx_patch *p, uint64_t off, uint64_t len)
{
	return p->off >= off && p->len <= len && p->off - off <= len - p->len;
}

/* Only metadata are looked at through the log. */
static int check_log(struct blk_node *n, struct err *e)
{
	const struct vhdx *v = n->p;

	for (size_t i = 0; i < v->log.n; i++) {
		const struct vhdx_patch *p = &v->log.patch[i];

		if (!within(p, v->bat_region.off, v->bat_region.len) &&
		    !within(p, v->meta_region.off, v->meta_region.len) &&
		    !within(p, VHDX_REGIONS1, VHDX_REGIONS2 + VHDX_REGIONS_SIZE - VHDX_REGIONS1)) {
			err_set(e, ERR_INPUT, ENOTSUP,
				"%s: the image was not closed, and its VHDX log changes %" PRIu64
				" bytes at offset %" PRIu64 ", outside of BAT and metadata",
				n->filename, p->len, p->off);
			err_hint(e, "let qemu-img check -r all, or Hyper-V, carry out the log");
			return -ENOTSUP;
		}
	}
	return 0;
}

static int open_tables(struct blk_node *n, void *table, struct err *e)
{
	int rc = read_regions(n, table, e);

	if (!rc)
		rc = check_log(n, e);
	if (!rc)
		rc = read_metadata(n, table, e);
	return rc ? rc : read_bat(n, e);
}

static int vhdx_open(struct blk_node *n, struct err *e)
{
	struct vhdx *v = n->p;
	struct vhdx_header h;
	char signature[8];
	void *table;
	int rc = mapped_read(n->file, 0, signature, sizeof(signature), "the VHDX file identifier",
			     e);

	if (!rc && memcmp(signature, VHDX_FILE_SIGNATURE, 8) != 0)
		rc = err_set(e, ERR_INPUT, EINVAL,
			     "%s: VHDX field Signature is not '" VHDX_FILE_SIGNATURE
			     "': this is not a VHDX image",
			     n->filename);
	if (!rc)
		rc = mapped_read_only(n, e);
	if (!rc)
		rc = read_header(n, &h, e);
	if (!rc)
		rc = read_log(n, &h, e);
	if (rc)
		return rc;
	table = malloc(VHDX_REGIONS_SIZE);
	rc = table ? open_tables(n, table, e) : err_set(e, ERR_HOST, ENOMEM, "out of memory");
	free(table);
	vhdx_log_free(&v->log);
	return rc;
}

static void vhdx_close(struct blk_node *n)
{
	struct vhdx *v = n->p;

	vhdx_log_free(&v->log);
	free(v->bat);
}

/* --- requests
 * --------------------------------------------------------------------------------------------------
 */

static int vhdx_map(struct blk_node *n, uint64_t off, uint64_t len, bool wait, struct mapping *m)
{
	const struct vhdx *v = n->p;
	uint64_t entry = le64_to_cpu(v->bat[index_of(v, off / v->block_size)]);
	uint32_t in_block = (uint32_t)(off % v->block_size);

	m->bytes = len < v->block_size - in_block ? len : v->block_size - in_block;
	m->node = n->file;
	m->off = VHDX_PLACE(entry) + in_block;
	m->kind = VHDX_STATE(entry) == VHDX_FULLY_PRESENT ? MAP_DATA
		  : VHDX_STATE(entry) == VHDX_NOT_PRESENT ? MAP_HOLE
							  : MAP_ZERO;
	return 0;
}

static const struct mapped_ops vhdx_ops = { .map = vhdx_map };

static void vhdx_submit(struct blk_node *n, struct blk_io *io)
{
	mapped_submit(n, io, &vhdx_ops);
}

static int vhdx_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		       unsigned *flags)
{
	return mapped_status(n, &vhdx_ops, off, len, bytes, flags);
}

static uint32_t vhdx_cluster_size(const struct blk_node *n)
{
	return ((const struct vhdx *)n->p)->block_size;
}

static const struct blk_image_ops vhdx_image = { .cluster_size = vhdx_cluster_size };

const struct blk_driver blk_vhdx = {
	.name = "vhdx",
	.desc = "virtual hard disks (VHDX) of Hyper-V, read-only",
	.size = sizeof(struct vhdx),
	.probe = vhdx_probe,
	.open = vhdx_open,
	.close = vhdx_close,
	.submit = vhdx_submit,
	.status = vhdx_status,
	.image = &vhdx_image,
};
