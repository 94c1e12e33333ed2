/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vdi, disk images of VirtualBox, version 1.1: dynamic and static, read and
 * written. A header, a map with the place of each block, and blocks. Sun published no
 * document; the layout is the one that VirtualBox's users describe ("All about VDIs") and
 * qemu-img writes. Node's thread.
 *
 * A block that is written for the first time gets the next place at the end of the
 * file. Its entry of the map stays in memory until the next flush: that one makes the data durable
 * first, then writes the header's count and the map. The map alone decides, so that after a crash
 * a block is whole or free again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "block_int.h"
#include "co.h"
#include "co_io.h"
#include "err.h"
#include "internal.h"
#include "mapped.h"
#include "props.h"
#include "vdi_int.h"

extern const struct blk_driver blk_vdi;

enum { SECTOR = VDI_SECTOR, PER_SECTOR = VDI_PER_SECTOR, CREATE_BLOCK = 1 << 20 };

static int vdi_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	return n >= 68 && !memcmp(buf + 64, "\x7f\x10\xda\xbe", 4) ? 100 : 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int check_kind(struct blk_node *n, const struct vdi_header *h, struct err *e)
{
	static const uint8_t no_uuid[16];
	uint32_t type = le32_to_cpu(h->image_type), version = le32_to_cpu(h->version);

	if (le32_to_cpu(h->signature) != VDI_SIGNATURE)
		return mapped_bad(n, e, "VDI header field signature", le32_to_cpu(h->signature),
				  "this is not a VDI image");
	if (version != VDI_VERSION_1_1)
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: VDI header field version is %u.%u: only 1.1 is supported",
			       n->filename, version >> 16, version & 0xffff);
	if (type == VDI_UNDO || type == VDI_DIFF)
		return mapped_unsupported(n, e, "VDI header field image_type", type,
					  type == VDI_UNDO ? "undo images are not supported"
							   : "differencing images are not "
							     "supported");
	if (type != VDI_DYNAMIC && type != VDI_STATIC)
		return mapped_bad(n, e, "VDI header field image_type", type,
				  "neither dynamic (1) nor static (2)");
	if (memcmp(h->uuid_link, no_uuid, 16) != 0 || memcmp(h->uuid_parent, no_uuid, 16) != 0)
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: VDI header field %s is not zero: images with a parent are not "
			       "supported",
			       n->filename,
			       memcmp(h->uuid_link, no_uuid, 16) ? "uuid_link" : "uuid_parent");
	return 0;
}

static int check_sizes(struct blk_node *n, const struct vdi_header *h, struct err *e)
{
	uint32_t header_size = le32_to_cpu(h->header_size), sector = le32_to_cpu(h->sector_size);
	uint32_t block = le32_to_cpu(h->block_size), extra = le32_to_cpu(h->block_extra);
	uint32_t blocks = le32_to_cpu(h->blocks_in_image);
	uint64_t size = le64_to_cpu(h->disk_size);

	/* Up to blocks_allocated. */
	if (header_size < 0x140 || header_size > 0x10000)
		return mapped_bad(n, e, "VDI header field header_size", header_size,
				  "not from 320 to 65536");
	if (sector != SECTOR)
		return mapped_unsupported(n, e, "VDI header field sector_size", sector,
					  "only 512 is supported");
	if (block < 4096 || block > 256u << 20 || block & (block - 1))
		return mapped_unsupported(n, e, "VDI header field block_size", block,
					  "not a power of two from 4096 to 268435456");
	if (extra)
		return mapped_unsupported(n, e, "VDI header field block_extra", extra,
					  "only 0 is supported");
	if (size > (uint64_t)blocks * block)
		return mapped_bad(n, e, "VDI header field disk_size", size,
				  "more than blocks_in_image blocks hold");
	if (le32_to_cpu(h->blocks_allocated) > blocks && !n->open.repair)
		return mapped_bad(n, e, "VDI header field blocks_allocated",
				  le32_to_cpu(h->blocks_allocated), "more than blocks_in_image");
	return 0;
}

static int check_places(struct blk_node *n, const struct vdi_header *h, struct err *e)
{
	uint32_t bmap = le32_to_cpu(h->offset_bmap), data = le32_to_cpu(h->offset_data);
	uint64_t map_size = (uint64_t)le32_to_cpu(h->blocks_in_image) * sizeof(struct le32);

	if (bmap % SECTOR || bmap < sizeof(*h))
		return mapped_bad(n, e, "VDI header field offset_bmap", bmap,
				  "not a multiple of 512 behind the header");
	if (data % SECTOR || data < bmap + map_size)
		return mapped_bad(n, e, "VDI header field offset_data", data,
				  "not a multiple of 512 behind the blocks map");
	return 0;
}

static int read_map(struct blk_node *n, struct err *e)
{
	struct vdi *v = n->p;
	uint64_t len = (uint64_t)v->blocks * sizeof(struct le32);
	uint64_t room = (len + SECTOR - 1) / SECTOR * SECTOR;
	int rc = mapped_read_table(n->file, le32_to_cpu(v->header.offset_bmap), len, room,
				   (void **)&v->map, "the VDI blocks map", e);

	for (uint32_t i = 0; !rc && i < v->blocks; i++) {
		uint32_t entry = le32_to_cpu(v->map[i]);

		if (!vdi_has_block(entry))
			continue;
		/* While a disk grows, blocks may be behind the last place for a moment. */
		if (entry >= v->blocks && vdi_place(v, entry) + v->block_size > n->file->size) {
			if (n->open.repair) {
				v->allocated++;
				continue;
			}
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: entry %u of the VDI blocks map is %u: there are only "
				       "%u blocks",
				       n->filename, i, entry, v->blocks);
		}
		v->allocated++;
		if (entry >= v->next)
			v->next = entry + 1;
	}
	return rc;
}

static int vdi_open(struct blk_node *n, struct err *e)
{
	struct vdi *v = n->p;
	const struct vdi_header *h = &v->header;
	int rc = mapped_read(n->file, 0, &v->header, sizeof(v->header), "the VDI header", e);

	if (!rc)
		rc = check_kind(n, h, e);
	if (!rc)
		rc = check_sizes(n, h, e);
	if (!rc)
		rc = check_places(n, h, e);
	if (rc)
		return rc;
	v->blocks = le32_to_cpu(h->blocks_in_image);
	v->block_size = le32_to_cpu(h->block_size);
	v->data = le32_to_cpu(h->offset_data);
	/* The disk consists of sectors; the last block holds all of the last one. */
	n->size = (le64_to_cpu(h->disk_size) + SECTOR - 1) / SECTOR * SECTOR;
	return read_map(n, e);
}

/* --- requests ------------------------------------------------------------------------------------
 */

static int vdi_map(struct blk_node *n, uint64_t off, uint64_t len, bool wait, struct mapping *m)
{
	const struct vdi *v = n->p;
	uint32_t entry = le32_to_cpu(v->map[off / v->block_size]);
	uint32_t in_block = (uint32_t)(off % v->block_size);

	m->bytes = len < v->block_size - in_block ? len : v->block_size - in_block;
	m->kind = entry == VDI_UNALLOCATED ? MAP_HOLE
		  : entry == VDI_DISCARDED ? MAP_ZERO
					   : MAP_DATA;
	if (m->kind != MAP_DATA)
		return 0;
	m->node = n->file;
	m->off = vdi_place(v, entry) + in_block;
	return 0;
}

/* A new block at `place`, with zeroes around the data: a device has old data there. */
static int write_block(struct blk_node *n, uint64_t place, uint32_t in_block, uint64_t len,
		       const struct iovec *iov, unsigned n_iov, unsigned flags)
{
	const struct vdi *v = n->p;
	uint32_t after = v->block_size - in_block - (uint32_t)len;
	int rc = co_zero(n->file, place, in_block, flags);

	if (!rc)
		rc = co_zero(n->file, place + in_block + len, after, flags);
	if (!rc)
		rc = co_iov(n->file, BLK_WRITE, place + in_block, len, iov, n_iov, flags);
	return rc;
}

int vdi_enter(struct vdi *v, uint32_t index, uint32_t entry)
{
	int rc = mapped_dirty_add(&v->dirty, index / PER_SECTOR, v->blocks / PER_SECTOR + 1);

	if (rc)
		return rc;
	v->allocated += vdi_has_block(entry);
	v->allocated -= vdi_has_block(le32_to_cpu(v->map[index]));
	v->map[index] = cpu_to_le32(entry);
	v->header.blocks_allocated = cpu_to_le32(v->allocated);
	return 0;
}

static bool vdi_unsettled(const struct blk_node *n)
{
	return mapped_dirty_any(&((const struct vdi *)n->p)->dirty);
}

/* The lock is held. */
static int write_tables(struct blk_node *n)
{
	struct vdi *v = n->p;
	int rc = co_flush(n->file);

	if (!rc)
		rc = co_pwrite(n->file, 0, &v->header, sizeof(v->header), 0);
	if (!rc)
		rc = mapped_dirty_write(&v->dirty, n->file, le32_to_cpu(v->header.offset_bmap),
					v->map);
	return rc;
}

int vdi_settle(struct blk_node *n)
{
	struct vdi *v = n->p;
	int rc;

	co_lock(&v->lock);
	rc = vdi_unsettled(n) ? write_tables(n) : 0;
	co_unlock(&v->lock);
	return rc ? rc : co_flush(n->file);
}

static int vdi_allocate(struct blk_node *n, uint64_t off, uint64_t len, const struct iovec *iov,
			unsigned n_iov, unsigned flags)
{
	struct vdi *v = n->p;
	uint32_t index = (uint32_t)(off / v->block_size);
	uint32_t in_block = (uint32_t)(off % v->block_size);
	struct mapping m;
	int rc;

	co_lock(&v->lock);
	vdi_map(n, off, len, true, &m);
	if (m.kind == MAP_DATA) { /* by someone who was waited for */
		co_unlock(&v->lock);
		return co_iov(n->file, BLK_WRITE, m.off, len, iov, n_iov, flags);
	}
	rc = v->next < v->blocks ? 0 : -ENOSPC;
	if (!rc)
		rc = write_block(n, vdi_place(v, v->next), in_block, len, iov, n_iov, flags);
	if (!rc)
		rc = vdi_enter(v, index, v->next);
	if (!rc)
		v->next++;
	co_unlock(&v->lock);
	return rc;
}

static uint32_t vdi_block_size(const struct blk_node *n)
{
	return ((const struct vdi *)n->p)->block_size;
}

static const struct mapped_ops vdi_ops = {
	.map = vdi_map,
	.allocate = vdi_allocate,
	.block_size = vdi_block_size,
	.unsettled = vdi_unsettled,
	.settle = vdi_settle,
};

static void vdi_close(struct blk_node *n)
{
	struct vdi *v = n->p;

	mapped_settle(n, &vdi_ops);
	free(v->map);
	free(v->dirty.bits);
}

static int vdi_reopen(struct blk_node *n, struct err *e)
{
	int rc = mapped_settle(n, &vdi_ops);

	return rc ? err_set(e, ERR_HOST, -rc, "%s: cannot write its map: %s", n->filename,
			    strerror(-rc))
		  : 0;
}

static void vdi_submit(struct blk_node *n, struct blk_io *io)
{
	mapped_submit(n, io, &vdi_ops);
}

static int vdi_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		      unsigned *flags)
{
	return mapped_status(n, &vdi_ops, off, len, bytes, flags);
}

/* --- growing -------------------------------------------------------------------------------------
 */

/* How many blocks the blocks in front of the others must give up for a map of len bytes. */
static uint32_t blocks_for_map(const struct vdi *v, uint64_t len)
{
	uint64_t bmap = le32_to_cpu(v->header.offset_bmap);

	if (len <= v->data - bmap)
		return 0;
	return (uint32_t)((len + v->block_size - 1) / v->block_size);
}

/* Entry index of the map in the file, and in memory. */
static int move_entry(struct blk_node *n, uint32_t index, uint32_t block)
{
	struct vdi *v = n->p;
	uint32_t first = index / PER_SECTOR * PER_SECTOR;
	struct le32 old = v->map[index];
	int rc;

	v->map[index] = cpu_to_le32(block);
	rc = co_pwrite(n->file,
		       le32_to_cpu(v->header.offset_bmap) + (uint64_t)first * sizeof(struct le32),
		       v->map + first, SECTOR, 0);
	if (rc)
		v->map[index] = old;
	return rc;
}

/* The first k places are free then: their blocks are copied to the end, one by one. */
static int clear_places(struct blk_node *n, uint32_t k)
{
	struct vdi *v = n->p;
	uint8_t *buf = malloc(v->block_size);
	int rc = buf ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < v->blocks; i++) {
		uint32_t from = le32_to_cpu(v->map[i]);

		if (!vdi_has_block(from) || from >= k)
			continue;
		if (v->next < k)
			v->next = k;
		rc = co_pread(n->file, vdi_place(v, from), buf, v->block_size);
		if (!rc)
			rc = co_pwrite(n->file, vdi_place(v, v->next), buf, v->block_size, 0);
		if (!rc) /* the copy is there before the map says so */
			rc = co_flush(n->file);
		if (!rc)
			rc = move_entry(n, i, v->next++);
	}
	if (v->next < k)
		v->next = k;
	free(buf);
	return rc ? rc : co_flush(n->file);
}

/*
 * The blocks go back to where their data still are: an image that did not grow has no
 * entry that is beyond its blocks, which others would not open.
 */
static void restore_places(struct blk_node *n, const struct le32 *before, uint32_t next)
{
	struct vdi *v = n->p;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < v->blocks; i++)
		if (le32_to_cpu(v->map[i]) != le32_to_cpu(before[i]))
			rc = move_entry(n, i, le32_to_cpu(before[i]));
	if (!rc)
		v->next = next;
	co_flush(n->file);
}

/*
 * The map of the larger disk: new blocks have no place, or, in static images, the next ones;
 * all are counted from place k on.
 */
static struct le32 *larger_map(const struct vdi *v, uint32_t blocks, uint32_t k, uint64_t room)
{
	struct le32 *map = calloc(1, room);
	uint32_t next = v->next;

	for (uint32_t i = 0; map && i < blocks; i++) {
		uint32_t entry = i < v->blocks ? le32_to_cpu(v->map[i])
				 : le32_to_cpu(v->header.image_type) == VDI_STATIC
					 ? next++
					 : VDI_UNALLOCATED;

		map[i] = cpu_to_le32(vdi_has_block(entry) ? entry - k : entry);
	}
	return map;
}

/*
 * The header, one sector, takes the disk from the old map to the new: that one is written
 * behind the old, or over it when only its end is new.
 */
static int grow(struct blk_node *n, uint64_t size)
{
	struct vdi *v = n->p;
	uint32_t blocks = (uint32_t)((size + v->block_size - 1) / v->block_size), more;
	uint64_t room = ((uint64_t)blocks * sizeof(struct le32) + SECTOR - 1) / SECTOR * SECTOR;
	uint32_t k = blocks_for_map(v, room);
	struct vdi_header h = v->header;
	struct le32 *map = NULL, *before;
	uint32_t next;
	int rc = vdi_settle(n);

	if (rc)
		return rc;
	next = v->next;
	before = malloc(v->blocks * sizeof(*before) + 1);
	if (!before)
		return -ENOMEM;
	memcpy(before, v->map, v->blocks * sizeof(*before));
	if (k)
		rc = clear_places(n, k);
	if (!rc) {
		map = larger_map(v, blocks, k, room);
		rc = map ? 0 : -ENOMEM;
	}
	more = le32_to_cpu(h.image_type) == VDI_STATIC ? blocks - v->blocks : 0;
	if (k)
		h.offset_bmap = cpu_to_le32((uint32_t)v->data);
	h.offset_data = cpu_to_le32((uint32_t)(v->data + (uint64_t)k * v->block_size));
	h.disk_size = cpu_to_le64(size);
	h.blocks_in_image = cpu_to_le32(blocks);
	h.blocks_allocated = cpu_to_le32(v->allocated + more);
	if (!rc && more)
		rc = co_zero(n->file, vdi_place(v, v->next), (uint64_t)more * v->block_size, 0);
	if (rc) /* the old places are not written over yet */
		restore_places(n, before, next);
	free(before);
	if (!rc)
		rc = co_pwrite(n->file, le32_to_cpu(h.offset_bmap), map, room, 0);
	if (!rc)
		rc = co_flush(n->file);
	if (!rc)
		rc = co_pwrite(n->file, 0, &h, sizeof(h), 0);
	if (rc) {
		free(map);
		return rc;
	}
	free(v->map);
	free(v->dirty.bits);
	v->dirty = (struct mapped_dirty){ 0 };
	v->map = map;
	v->header = h;
	v->data = le32_to_cpu(h.offset_data);
	v->allocated += more;
	v->next += more - k;
	v->blocks = blocks;
	n->size = (size + SECTOR - 1) / SECTOR * SECTOR;
	return 0;
}

static int vdi_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	const struct vdi *v = n->p;
	uint64_t blocks = size / v->block_size + 1;
	int rc;

	if (size < n->size) {
		err_set(e, ERR_USAGE, ENOTSUP, "%s: VDI images can grow, not shrink", n->filename);
		err_hint(e, "convert it into a smaller one");
		return -ENOTSUP;
	}
	if (blocks * sizeof(struct le32) > MAPPED_TABLE_MOST)
		return err_set(e, ERR_USAGE, EFBIG,
			       "%s: size %" PRIu64 " is more than a VDI image holds here",
			       n->filename, size);
	if (v->data + blocks * sizeof(struct le32) + v->block_size > UINT32_MAX)
		return err_set(e, ERR_INPUT, EFBIG,
			       "%s: VDI header field offset_data is %" PRIu64
			       ": the map has no room to grow",
			       n->filename, v->data);
	rc = size == n->size ? 0 : grow(n, size);
	return rc ? err_set(e, ERR_HOST, -rc, "%s: cannot grow to %" PRIu64 " bytes: %s",
			    n->filename, size, strerror(-rc))
		  : 0;
}

/* --- whole images
 * ----------------------------------------------------------------------------------- */

struct vdi_create {
	bool fixed;
};

static const struct prop vdi_create_props[] = {
	PROP(struct vdi_create, fixed, PROP_BOOL, "static", "off", "all blocks have a place"),
	PROP_END,
};

/* Version 4 of RFC 4122: random. */
static int make_uuid(uint8_t uuid[16], struct err *e)
{
	if (getrandom(uuid, 16, 0) != 16)
		return err_set(e, ERR_HOST, EIO, "cannot get random numbers for a UUID");
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return 0;
}

static int make_header(struct vdi_header *h, uint64_t size, uint32_t blocks, bool fixed,
		       struct err *e)
{
	uint64_t map_size = (uint64_t)blocks * sizeof(struct le32);
	uint64_t data = sizeof(*h) + (map_size + SECTOR - 1) / SECTOR * SECTOR;
	int rc;

	*h = (struct vdi_header){
		.text = "<<< Posada VDI disk image >>>\n",
		.signature = cpu_to_le32(VDI_SIGNATURE),
		.version = cpu_to_le32(VDI_VERSION_1_1),
		.header_size = cpu_to_le32(0x180),
		.image_type = cpu_to_le32(fixed ? VDI_STATIC : VDI_DYNAMIC),
		.offset_bmap = cpu_to_le32(sizeof(*h)),
		.offset_data = cpu_to_le32((uint32_t)data),
		.sector_size = cpu_to_le32(SECTOR),
		.disk_size = cpu_to_le64(size),
		.block_size = cpu_to_le32(CREATE_BLOCK),
		.blocks_in_image = cpu_to_le32(blocks),
		.blocks_allocated = cpu_to_le32(fixed ? blocks : 0),
	};
	rc = make_uuid(h->uuid_image, e);
	return rc ? rc : make_uuid(h->uuid_last_snap, e);
}

static int write_map(struct blk_node *file, uint32_t blocks, bool fixed)
{
	struct le32 part[4096];
	int rc = 0;

	for (uint32_t at = 0; !rc && at < blocks; at += ARRAY_SIZE(part)) {
		uint32_t n = blocks - at < ARRAY_SIZE(part) ? blocks - at : ARRAY_SIZE(part);

		for (uint32_t i = 0; i < n; i++)
			part[i] = cpu_to_le32(fixed ? at + i : VDI_UNALLOCATED);
		rc = blk_node_pwrite(file,
				     sizeof(struct vdi_header) + (uint64_t)at * sizeof(part[0]),
				     part, n * sizeof(part[0]));
	}
	return rc;
}

static int vdi_create(const char *filename, const struct blk_create *c, struct err *e)
{
	const struct vdi_create *o = c->opts;
	uint64_t blocks = c->size / CREATE_BLOCK + (c->size % CREATE_BLOCK != 0);
	bool fixed = o && o->fixed;
	struct blk_node *file;
	struct vdi_header h;
	int rc;

	if (blocks * sizeof(struct le32) > MAPPED_TABLE_MOST) {
		err_set(e, ERR_USAGE, EFBIG,
			"'%s': size %" PRIu64 " is more than a VDI image holds here, %" PRIu64,
			filename, c->size,
			(uint64_t)MAPPED_TABLE_MOST / sizeof(struct le32) * CREATE_BLOCK);
		return -EFBIG;
	}
	if (c->backing)
		return err_set(e, ERR_USAGE, ENOTSUP, "'%s': VDI images have no backing file",
			       filename);
	rc = make_header(&h, c->size, (uint32_t)blocks, fixed, e);
	if (!rc)
		rc = mapped_create_file(filename,
					le32_to_cpu(h.offset_data) +
						(fixed ? blocks * CREATE_BLOCK : 0),
					c, &file, e);
	if (rc)
		return rc;
	rc = blk_node_pwrite(file, 0, &h, sizeof(h));
	if (!rc)
		rc = write_map(file, (uint32_t)blocks, fixed);
	return mapped_create_end(file, rc, e);
}

static const struct blk_image_ops vdi_image = {
	.create_props = vdi_create_props,
	.create_size = sizeof(struct vdi_create),
	.create = vdi_create,
	.check = vdi_check,
	.cluster_size = vdi_block_size,
};

const struct blk_driver blk_vdi = {
	.name = "vdi",
	.desc = "disk images of VirtualBox",
	.size = sizeof(struct vdi),
	.probe = vdi_probe,
	.open = vdi_open,
	.close = vdi_close,
	.submit = vdi_submit,
	.reopen = vdi_reopen,
	.truncate = vdi_truncate,
	.status = vdi_status,
	.image = &vdi_image,
};
