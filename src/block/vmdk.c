/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vmdk, virtual disks of VMware: one sparse file with its descriptor inside
 * (monolithicSparse, streamOptimized), and a descriptor file with extents, flat or sparse
 * (monolithicFlat, twoGbMaxExtentFlat, twoGbMaxExtentSparse). Written from VMware Virtual Disk
 * Format 5.0. Node's thread; opening and closing on the main one. All but compressed ones can
 * be written (vmdk_write.c).
 *
 * Grain directories are kept in memory; grain tables, one for each 32 MiB, are cached.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "block_int.h"
#include "co_io.h"
#include "err.h"
#include "internal.h"
#include "opts.h"
#include "vmdk_int.h"

extern const struct blk_driver blk_vmdk;

enum { GRAIN_MOST = 4 << 20 };

static int vmdk_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	static const char *const magics[] = { VMDK_SPARSE_MAGIC, VMDK_ESX_MAGIC,
					      VMDK_DESCRIPTOR_MAGIC };

	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (n >= strlen(magics[i]) && !memcmp(buf, magics[i], strlen(magics[i])))
			return 100;
	return 0;
}

/* --- sparse extents
 * -------------------------------------------------------------------------------- */

static int check_flags(struct blk_node *file, const struct vmdk_sparse *h, struct err *e)
{
	uint32_t version = le32_to_cpu(h->version), flags = le32_to_cpu(h->flags);
	unsigned algorithm = le16_to_cpu(h->compress_algorithm);

	if (memcmp(h->magic, VMDK_SPARSE_MAGIC, 4) != 0)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: VMDK field magicNumber is not '" VMDK_SPARSE_MAGIC "'",
			       file->filename);
	if (version < 1 || version > 3)
		return mapped_unsupported(file, e, "VMDK field version", version,
					  "only 1 to 3 are supported");
	if (flags & ~VMDK_FLAGS_KNOWN)
		return mapped_unsupported(file, e, "VMDK field flags", flags,
					  "it has unknown bits");
	if (flags & VMDK_NEW_LINES &&
	    (h->single_end_line != '\n' || h->non_end_line != ' ' ||
	     h->double_end_line[0] != '\r' || h->double_end_line[1] != '\n'))
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: VMDK field singleEndLineChar or one beside it is wrong: the "
			       "file was transferred as text",
			       file->filename);
	if (algorithm > VMDK_DEFLATE || (flags & VMDK_COMPRESSED && algorithm != VMDK_DEFLATE))
		return mapped_unsupported(file, e, "VMDK field compressAlgorithm", algorithm,
					  "only 1 (deflate) is supported");
	return 0;
}

static int check_sparse(struct blk_node *file, const struct vmdk_sparse *h, struct err *e)
{
	uint64_t capacity = le64_to_cpu(h->capacity), grain = le64_to_cpu(h->grain_size);
	uint32_t gtes = le32_to_cpu(h->gtes_per_gt);
	int rc = check_flags(file, h, e);

	if (rc)
		return rc;
	if (!grain || grain & (grain - 1) || grain > GRAIN_MOST / VMDK_SECTOR)
		return mapped_bad(file, e, "VMDK field grainSize", grain,
				  "not a power of two from 1 to 8192 sectors");
	if (!gtes || gtes > VMDK_GTES_MOST)
		return mapped_bad(file, e, "VMDK field numGTEsPerGT", gtes, "not from 1 to 512");
	if (capacity > INT64_MAX / VMDK_SECTOR)
		return mapped_bad(file, e, "VMDK field capacity", capacity, "more than 2^54");
	return 0;
}

/* Only the beginning of a stream, whose rest this process is about to write. */
static bool is_unfinished(const struct blk_node *file, const struct vmdk_sparse *h)
{
	return !file->readonly && file->size == le64_to_cpu(h->overhead) * VMDK_SECTOR;
}

/* The header, or the footer if the header refers to it. */
static int read_sparse(struct blk_node *file, struct vmdk_sparse *h, struct err *e)
{
	int rc = mapped_read(file, 0, h, sizeof(*h), "the VMDK sparse header", e);

	if (!rc)
		rc = check_sparse(file, h, e);
	if (rc || le64_to_cpu(h->gd_offset) != VMDK_GD_AT_END)
		return rc;
	if (is_unfinished(file, h))
		return 0;
	/* The last sector is the end-of-stream marker. */
	if (file->size < 4 * VMDK_SECTOR)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: its %" PRIu64 " bytes have no room for the VMDK footer that "
			       "gdOffset refers to",
			       file->filename, file->size);
	rc = mapped_read(file, (file->size / VMDK_SECTOR - 2) * VMDK_SECTOR, h, sizeof(*h),
			 "the VMDK footer", e);
	if (!rc)
		rc = check_sparse(file, h, e);
	if (rc)
		err_prefix(e, "footer: ");
	if (!rc && le64_to_cpu(h->gd_offset) == VMDK_GD_AT_END)
		rc = err_set(e, ERR_INPUT, EINVAL,
			     "%s: VMDK field gdOffset of the footer refers to the footer",
			     file->filename);
	return rc;
}

static int use_sparse(struct vmdk *v, struct vmdk_extent *x, const struct vmdk_sparse *h,
		      struct err *e)
{
	uint64_t capacity = le64_to_cpu(h->capacity), gd = le64_to_cpu(h->gd_offset), per_table;
	void *table = NULL;
	uint64_t len;
	int rc;

	x->kind = VMDK_SPARSE;
	x->grain = (uint32_t)(le64_to_cpu(h->grain_size) * VMDK_SECTOR);
	x->gtes = le32_to_cpu(h->gtes_per_gt);
	x->zeroed_grains = le32_to_cpu(h->flags) & VMDK_ZEROED_GRAINS;
	x->compressed = le32_to_cpu(h->flags) & VMDK_COMPRESSED;
	if (capacity < x->len / VMDK_SECTOR)
		return mapped_bad(x->file, e, "VMDK field capacity", capacity,
				  "less than the descriptor says");
	per_table = (uint64_t)x->grain * x->gtes;
	if (x->compressed && gd == VMDK_GD_AT_END)
		return vmdk_stream_open(x, h, e);
	if (gd < 1 || gd > INT64_MAX / VMDK_SECTOR)
		return mapped_bad(x->file, e, "VMDK field gdOffset", gd, "not a place in the file");
	len = (x->len / per_table + (x->len % per_table != 0)) * sizeof(struct le32);
	x->tables = (uint32_t)(len / sizeof(struct le32));
	x->gd_at = gd * VMDK_SECTOR;
	if (le32_to_cpu(h->flags) & VMDK_REDUNDANT)
		x->rgd_at = le64_to_cpu(h->rgd_offset) * VMDK_SECTOR;
	x->readonly |= x->compressed || le32_to_cpu(h->flags) & VMDK_MARKERS;
	v->gd_size += len;
	if (v->gd_size > MAPPED_TABLE_MOST)
		return mapped_unsupported(x->file, e, "VMDK field capacity", capacity,
					  "the grain directories would take more than 64 MiB");
	rc = mapped_read_table(x->file, gd * VMDK_SECTOR, len, len, &table,
			       "the VMDK grain directory", e);
	x->gd = table;
	return rc;
}

/* --- descriptors
 * ---------------------------------------------------------------------------------------- */

/* Main thread. The file beside the descriptor. */
static int open_file(struct blk_node *n, const char *name, struct blk_node **out, struct err *e)
{
	const char *slash = strrchr(n->filename, '/');
	size_t dir = slash ? (size_t)(slash - n->filename) + 1 : 0;
	struct blk_open how = n->open;
	struct opts o = { 0 };
	char *path;
	int rc;

	how.readonly = n->readonly;
	if (asprintf(&path, "%.*s%s", (int)dir, n->filename, name) < 0)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = opts_add(&o, "filename", path);
	rc = rc ? err_set(e, ERR_HOST, ENOMEM, "out of memory")
		: blk_node_open(blk_driver_find("file"), &o, &how, NULL, out, e);
	if (rc)
		err_prefix(e, "%s: extent: ", n->filename);
	else
		(*out)->parent = n;
	opts_free(&o);
	free(path);
	return rc;
}

static int open_extent(struct blk_node *n, const struct vmdk_desc_extent *from,
		       struct vmdk_extent *x, struct err *e)
{
	struct vmdk_sparse h;
	int rc;

	*x = (struct vmdk_extent){
		.kind = from->kind,
		.readonly = from->readonly,
		.start = n->size,
		.len = from->sectors * VMDK_SECTOR,
		.offset = from->offset * VMDK_SECTOR,
	};
	if (x->len > INT64_MAX - n->size)
		return err_set(e, ERR_INPUT, EFBIG,
			       "%s: VMDK descriptor: the extents are too large", n->filename);
	n->size += x->len;
	if (x->kind == VMDK_ZERO)
		return 0;
	rc = open_file(n, from->name, &x->file, e);
	if (rc)
		return rc;
	if (x->kind == VMDK_FLAT) {
		if (x->offset <= x->file->size && x->len <= x->file->size - x->offset)
			return 0;
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: it has %" PRIu64 " bytes, and the VMDK descriptor wants "
			       "%" PRIu64 " from offset %" PRIu64,
			       x->file->filename, x->file->size, x->len, x->offset);
	}
	rc = read_sparse(x->file, &h, e);
	return rc ? rc : use_sparse(n->p, x, &h, e);
}

static int open_extents(struct blk_node *n, const struct vmdk_desc *d, struct err *e)
{
	struct vmdk *v = n->p;
	int rc = 0;

	if (!d->n)
		return err_set(e, ERR_INPUT, EINVAL, "%s: VMDK descriptor: there is no extent",
			       n->filename);
	v->extent = calloc(d->n, sizeof(v->extent[0]));
	if (!v->extent)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	n->size = 0;
	while (!rc && v->n < d->n) {
		rc = open_extent(n, &d->extent[v->n], &v->extent[v->n], e);
		v->n++;
	}
	return rc;
}

static int lone_extent(const struct blk_node *n, struct err *e)
{
	err_set(e, ERR_INPUT, ENOTSUP,
		"%s: there is no VMDK descriptor in it: the file is one extent of an image of "
		"several",
		n->filename);
	err_hint(e, "open the descriptor file that names it");
	return -ENOTSUP;
}

/* Reads len bytes of descriptor, and takes it apart; *text is to be freed after d was used. */
static int read_descriptor(struct blk_node *n, uint64_t off, uint64_t len, struct vmdk_desc *d,
			   char **text, struct err *e)
{
	struct vmdk *v = n->p;
	void *buf = NULL;
	int rc;

	if (len > VMDK_DESCRIPTOR_MOST)
		return mapped_bad(n, e, "VMDK descriptorSize", len, "more than 1 MiB");
	rc = mapped_read_table(n->file, off, len, len + 1, &buf, "the VMDK descriptor", e);
	*text = buf;
	if (!rc && !**text)
		rc = lone_extent(n, e);
	if (!rc)
		rc = vmdk_desc_parse(n->filename, buf, d, e);
	if (rc)
		return rc;
	v->cid = d->cid;
	v->parent_cid = d->parent_cid;
	v->desc_at = off;
	v->desc_len = len;
	strcpy(v->create_type, d->create_type);
	return 0;
}

/* One file that is all: its extent is the node's file. */
static int open_monolithic(struct blk_node *n, struct vmdk_desc *d, char **text, struct err *e)
{
	struct vmdk *v = n->p;
	struct vmdk_sparse first, h;
	uint64_t off;
	int rc = read_sparse(n->file, &h, e);

	if (!rc) /* a footer need not have the descriptor */
		rc = mapped_read(n->file, 0, &first, sizeof(first), "the VMDK sparse header", e);
	if (rc)
		return rc;
	off = le64_to_cpu(first.descriptor_offset);
	if (!off || !le64_to_cpu(first.descriptor_size))
		return lone_extent(n, e);
	if (off > INT64_MAX / VMDK_SECTOR)
		return mapped_bad(n, e, "VMDK field descriptorOffset", off,
				  "not a place in the file");
	if (le64_to_cpu(first.descriptor_size) > VMDK_DESCRIPTOR_MOST / VMDK_SECTOR)
		return mapped_bad(n, e, "VMDK field descriptorSize",
				  le64_to_cpu(first.descriptor_size), "more than 2048 sectors");
	rc = read_descriptor(n, off * VMDK_SECTOR, le64_to_cpu(first.descriptor_size) * VMDK_SECTOR,
			     d, text, e);
	if (rc)
		return rc;
	if (strcmp(d->create_type, "monolithicSparse") != 0 &&
	    strcmp(d->create_type, "streamOptimized") != 0)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: VMDK descriptor: createType=%s in a sparse file", n->filename,
			       d->create_type);
	v->extent = calloc(1, sizeof(v->extent[0]));
	if (!v->extent)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	v->n = 1;
	n->size = le64_to_cpu(h.capacity) * VMDK_SECTOR;
	v->extent[0] = (struct vmdk_extent){ .len = n->size, .file = n->file };
	return use_sparse(v, &v->extent[0], &h, e);
}

/* --- life
 * ------------------------------------------------------------------------------------------------
 */

static int open_any(struct blk_node *n, struct vmdk_desc *d, char **text, struct err *e)
{
	char magic[sizeof(VMDK_DESCRIPTOR_MAGIC) - 1] = "";
	size_t len = n->file->size < sizeof(magic) ? n->file->size : sizeof(magic);
	int rc = mapped_read(n->file, 0, magic, len, "the VMDK header", e);

	if (rc)
		return rc;
	if (!memcmp(magic, VMDK_SPARSE_MAGIC, 4))
		return open_monolithic(n, d, text, e);
	if (!memcmp(magic, VMDK_ESX_MAGIC, 4))
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: VMDK field magicNumber is '" VMDK_ESX_MAGIC
			       "': sparse extents of ESX are not supported",
			       n->filename);
	if (memcmp(magic, VMDK_DESCRIPTOR_MAGIC, sizeof(magic)) != 0)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: this is not a VMDK image: it begins neither with "
			       "'" VMDK_SPARSE_MAGIC "' nor with '" VMDK_DESCRIPTOR_MAGIC "'",
			       n->filename);
	rc = read_descriptor(n, 0, n->file->size, d, text, e);
	return rc ? rc : open_extents(n, d, e);
}

static int vmdk_open(struct blk_node *n, struct err *e)
{
	struct vmdk *v = n->p;
	struct vmdk_desc d = { 0 };
	char *text = NULL;
	int rc = open_any(n, &d, &text, e);

	free(d.extent);
	free(text);
	if (rc)
		return rc;
	v->cache = calloc(VMDK_TABLES_CACHED, sizeof(v->cache[0]));
	v->grains = calloc(VMDK_GRAINS_CACHED, sizeof(v->grains[0]));
	if (!v->cache || !v->grains)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	return n->readonly ? 0 : vmdk_prepare_writing(n, e);
}

/* An extent's node that block_int.h's functions do not find as n->file. */
static struct blk_node *own(const struct blk_node *n, unsigned i)
{
	const struct vmdk *v = n->p;

	return v->extent[i].file == n->file ? NULL : v->extent[i].file;
}

static const struct mapped_ops vmdk_ops;

static void vmdk_close(struct blk_node *n)
{
	struct vmdk *v = n->p;

	mapped_settle(n, &vmdk_ops);
	for (unsigned i = 0; i < v->n; i++) {
		struct blk_node *file = own(n, i);

		free(v->extent[i].gd);
		free(v->extent[i].rgd);
		vmdk_stream_free(&v->extent[i]);
		if (!file)
			continue;
		file->parent = NULL;
		blk_node_close(file);
	}
	free(v->extent);
	free(v->cache);
	vmdk_grains_free(v);
}

static void vmdk_detach(struct blk_node *n)
{
	for (unsigned i = 0; i < ((struct vmdk *)n->p)->n; i++)
		if (own(n, i))
			blk_node_detach(own(n, i));
}

static int vmdk_attach(struct blk_node *n, struct loop *l, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < ((struct vmdk *)n->p)->n; i++)
		if (own(n, i))
			rc = blk_node_attach(own(n, i), l, e);
	if (rc)
		vmdk_detach(n); /* those that are not attached do not mind */
	return rc;
}

static unsigned vmdk_in_flight(const struct blk_node *n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < ((const struct vmdk *)n->p)->n; i++)
		if (own(n, i))
			count += blk_node_in_flight(own(n, i));
	return count;
}

static void vmdk_poll(struct blk_node *n)
{
	for (unsigned i = 0; i < ((struct vmdk *)n->p)->n; i++) {
		if (own(n, i) && blk_node_in_flight(own(n, i))) {
			blk_node_poll(own(n, i));
			return;
		}
	}
	blk_node_poll(n->file);
}

/* --- requests
 * ------------------------------------------------------------------------------------------------
 */

unsigned vmdk_extent_at(const struct vmdk *v, uint64_t off)
{
	unsigned low = 0, high = v->n;

	while (high - low > 1) {
		unsigned mid = low + (high - low) / 2;

		if (v->extent[mid].start <= off)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* Entry gte of grain table index. -EAGAIN: it is not in memory, and !wait. */
int vmdk_grain_entry(const struct vmdk *v, unsigned i, uint32_t index, uint32_t gte, bool wait,
		     uint32_t *entry)
{
	const struct vmdk_extent *x = &v->extent[i];
	struct vmdk_table *t = &v->cache[(i * 61 + index) % VMDK_TABLES_CACHED];
	struct le32 read[VMDK_GTES_MOST];
	unsigned changes;
	int rc;

	do {
		if (t->extent == i + 1 && t->index == index) {
			*entry = le32_to_cpu(t->gte[gte]);
			return 0;
		}
		if (!wait)
			return -EAGAIN;
		changes = v->changes;
		rc = co_pread(x->file, (uint64_t)le32_to_cpu(x->gd[index]) * VMDK_SECTOR, read,
			      x->gtes * sizeof(read[0]));
		/* What was read may be out of date by now. */
	} while (!rc && changes != v->changes);
	if (rc)
		return rc;
	*entry = le32_to_cpu(read[gte]);
	/* Another table that has come there meanwhile gives way, unless only memory has it. */
	if (t->dirty.from < t->dirty.to)
		return 0;
	t->extent = i + 1;
	t->index = index;
	memcpy(t->gte, read, x->gtes * sizeof(read[0]));
	return 0;
}

static void shorten(struct mapping *m, uint64_t most)
{
	if (m->bytes > most)
		m->bytes = most;
}

static int map_sparse(const struct vmdk *v, unsigned i, uint64_t off, bool wait, struct mapping *m)
{
	const struct vmdk_extent *x = &v->extent[i];
	uint64_t in_extent = off - x->start, per_table = (uint64_t)x->grain * x->gtes;
	uint32_t index = (uint32_t)(in_extent / per_table);
	uint32_t in_grain = (uint32_t)(in_extent % x->grain), entry;
	int rc;

	if (x->stream) {
		entry = vmdk_stream_entry(x, in_extent);
	} else if (!le32_to_cpu(x->gd[index])) {
		m->kind = MAP_HOLE;
		shorten(m, per_table - in_extent % per_table);
		return 0;
	} else {
		rc = vmdk_grain_entry(v, i, index, (uint32_t)(in_extent % per_table / x->grain),
				      wait, &entry);
		if (rc)
			return rc;
	}
	shorten(m, x->grain - in_grain);
	m->off = (uint64_t)entry * VMDK_SECTOR;
	if (entry == VMDK_NO_GRAIN) {
		m->kind = MAP_HOLE;
	} else if (entry == VMDK_ZEROED_GRAIN && x->zeroed_grains) {
		m->kind = MAP_ZERO;
	} else if (x->compressed) {
		m->kind = MAP_PACKED;
		m->skip = in_grain;
		m->start = off;
	} else {
		m->kind = MAP_DATA;
		m->off += in_grain;
	}
	return 0;
}

int vmdk_map(struct blk_node *n, uint64_t off, uint64_t len, bool wait, struct mapping *m)
{
	const struct vmdk *v = n->p;
	unsigned i = vmdk_extent_at(v, off);
	const struct vmdk_extent *x = &v->extent[i];

	*m = (struct mapping){ .node = x->file, .bytes = len };
	shorten(m, x->len - (off - x->start));
	switch (x->kind) {
	case VMDK_ZERO:
		m->kind = MAP_ZERO;
		return 0;
	case VMDK_FLAT:
		m->kind = MAP_DATA;
		m->off = x->offset + (off - x->start);
		return 0;
	default:
		return map_sparse(v, i, off, wait, m);
	}
}

/* Whatever is written within one grain is cut there. */
static uint32_t vmdk_unit(const struct blk_node *n)
{
	return GRAIN_MOST;
}

/* end: of a stream, which gets its tables then. */
static int flush_all(struct blk_node *n, bool end)
{
	struct vmdk *v = n->p;
	int rc, one;

	co_lock(&v->lock);
	rc = vmdk_unsettled(n) ? vmdk_write_tables(v) : 0;
	for (unsigned i = 0; i < v->n; i++) {
		if (!v->extent[i].file)
			continue;
		if (v->extent[i].stream && end && !rc)
			rc = vmdk_stream_finish(&v->extent[i]);
		one = co_flush(v->extent[i].file);
		rc = rc ? rc : one;
	}
	one = co_flush(n->file);
	co_unlock(&v->lock);
	return rc ? rc : one;
}

static int vmdk_settle(struct blk_node *n)
{
	return flush_all(n, false);
}

static const struct mapped_ops vmdk_ops = {
	.map = vmdk_map,
	.unpack = vmdk_unpack,
	.allocate = vmdk_allocate,
	.block_size = vmdk_unit,
	.begin_write = vmdk_begin_write,
	.compresses = true,
	.unsettled = vmdk_unsettled,
	.settle = vmdk_settle,
};

/* A coroutine. */
static void run_flush(void *arg)
{
	struct blk_io *io = arg;

	blk_io_done_later(io, flush_all(io->node, true));
}

static void vmdk_submit(struct blk_node *n, struct blk_io *io)
{
	struct co *co;

	if (io->op != BLK_FLUSH || n->readonly) {
		mapped_submit(n, io, &vmdk_ops);
		return;
	}
	co = co_create(run_flush, io);
	if (co)
		co_enter(co);
	else
		blk_io_done_later(io, -ENOMEM);
}

static int vmdk_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		       unsigned *flags)
{
	return mapped_status(n, &vmdk_ops, off, len, bytes, flags);
}

/* --- whole images
 * ------------------------------------------------------------------------------------------- */

static uint32_t vmdk_cluster_size(const struct blk_node *n)
{
	return ((const struct vmdk *)n->p)->extent[0].grain;
}

static json_t *extent_info(const struct vmdk_extent *x, bool monolithic)
{
	json_t *o = json_object();

	if (x->compressed)
		json_object_set_new(o, "compressed", json_true());
	json_object_set_new(o, "virtual-size", json_integer((json_int_t)x->len));
	if (x->file)
		json_object_set_new(o, "filename", json_string(x->file->filename));
	if (x->grain)
		json_object_set_new(o, "cluster-size", json_integer(x->grain));
	json_object_set_new(o, "format",
			    json_string(monolithic               ? ""
					: x->kind == VMDK_SPARSE ? "SPARSE"
					: x->kind == VMDK_FLAT   ? "FLAT"
								 : "ZERO"));
	return o;
}

static void *vmdk_info(const struct blk_node *n)
{
	const struct vmdk *v = n->p;
	json_t *o = json_object(), *extents = json_array();

	for (unsigned i = 0; i < v->n; i++)
		json_array_append_new(extents,
				      extent_info(&v->extent[i], v->extent[i].file == n->file));
	json_object_set_new(o, "cid", json_integer(v->cid));
	json_object_set_new(o, "parent-cid", json_integer(v->parent_cid));
	json_object_set_new(o, "create-type", json_string(v->create_type));
	json_object_set_new(o, "extents", extents);
	return o;
}

static bool vmdk_whole_clusters(const struct blk_node *n)
{
	const struct vmdk *v = n->p;

	return v->extent[0].stream;
}

static const struct blk_image_ops vmdk_image = {
	.create_props = vmdk_create_props,
	.create_size = VMDK_CREATE_SIZE,
	.create = vmdk_create,
	.whole_clusters = vmdk_whole_clusters,
	.cluster_size = vmdk_cluster_size,
	.info = vmdk_info,
};

const struct blk_driver blk_vmdk = {
	.name = "vmdk",
	.desc = "virtual disks of VMware",
	.size = sizeof(struct vmdk),
	.probe = vmdk_probe,
	.open = vmdk_open,
	.close = vmdk_close,
	.submit = vmdk_submit,
	.poll = vmdk_poll,
	.in_flight = vmdk_in_flight,
	.attach = vmdk_attach,
	.detach = vmdk_detach,
	.status = vmdk_status,
	.image = &vmdk_image,
};
