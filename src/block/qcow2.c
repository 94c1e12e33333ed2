/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format qcow2, versions 2 and 3 (QEMU's docs/interop/qcow2.txt): the driver. Header
 * and extensions, opening and closing, size. How the parts fit together is told in
 * qcow2.h. Opening, closing and what the image tool asks for are the main thread's.
 *
 * Nothing in an image is believed: each field of the header is checked here,
 * offsets in tables where they are used.
 */
#include "qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "co_pool.h"
#include "err.h"
#include "log.h"
#include "opts.h"

extern const struct blk_driver blk_qcow2;

enum {
	SECTOR = 512,
	SLICE_MIN = 4096,
	SLOTS_MOST = 4 << 20, /* of a cache: larger slices rather than more */
	IOV_MOST = 512,
};
#define L2_CACHE_MIN (128ull << 20)
#define L2_CACHE_MOST (512ull << 20)
#define COVERED (256ull << 30) /* of the disk, by the default cache */
#define CLEAN_NS 1000000000ull

static const struct prop qcow2_props[] = {
	PROP(struct qcow2, l2_cache_size, PROP_SIZE, "l2-cache-size", NULL,
	     "memory for tables of where data lie (default: all of a disk of 256 GiB)"),
	PROP(struct qcow2, refcount_cache_size, PROP_SIZE, "refcount-cache-size", NULL,
	     "memory for tables of which clusters are free"),
	PROP(struct qcow2, cache_size, PROP_SIZE, "cache-size", NULL, "memory for both"),
	PROP_RANGE(struct qcow2, clean_interval, PROP_U64, "cache-clean-interval", "600", 0,
		   1u << 30, "seconds after which unused tables leave memory; 0: never"),
	PROP(struct qcow2, want_lazy, PROP_BOOL, "lazy-refcounts", NULL,
	     "postpone writing which clusters are free; repaired after a crash"),
	PROP(struct qcow2, data_file_name, PROP_STR, "data-file.filename", NULL,
	     "the external data file, instead of the one that the image names"),
	PROP(struct qcow2, crypt_format, PROP_STR, "encrypt.format", NULL,
	     "how it is encrypted: luks, aes (as the image says, unless given)"),
	PROP(struct qcow2, key_secret, PROP_STR, "encrypt.key-secret", NULL,
	     "id of the -object secret that holds the passphrase"),
	PROP_END,
};

/* --- coroutines for the main thread --- */

struct run {
	int (*fn)(void *arg);
	void *arg;
	int ret;
	bool done;
};

static void run_fn(void *arg)
{
	struct run *r = arg;

	r->ret = r->fn(r->arg);
	r->done = true;
}

int qcow2_run(struct qcow2 *q, int (*fn)(void *arg), void *arg)
{
	struct run r = { .fn = fn, .arg = arg };
	struct co *co;

	if (co_self())
		return fn(arg);
	co = co_create(run_fn, &r);
	if (!co)
		return -ENOMEM;
	co_enter(co);
	while (!r.done)
		blk_node_poll(q->node);
	return r.ret;
}

/* --- the header in the file --- */

int qcow2_write_header(struct qcow2 *q, size_t from, size_t end)
{
	struct blk_node *file = q->node->file;
	int rc;

	if (end > q->hdr_len)
		end = q->hdr_len;
	if (from >= end)
		return 0;
	rc = co_flush(file);
	if (!rc)
		rc = co_pwrite(file, from, (const char *)&q->hdr + from, end - from, 0);
	return rc ? rc : co_flush(file);
}

#define WRITE_FIELDS(q, first, last)                                                               \
	qcow2_write_header(q, offsetof(struct qcow2_header, first),                                \
			   offsetof(struct qcow2_header, last) + sizeof((q)->hdr.last))

uint8_t *qcow2_ext_find(struct qcow2 *q, uint32_t type, uint32_t *len)
{
	for (size_t at = 0; at + sizeof(struct qcow2_ext) <= q->ext_len;) {
		struct qcow2_ext x;

		memcpy(&x, q->ext + at, sizeof(x));
		at += sizeof(x);
		*len = be32_to_cpu(x.len);
		if (be32_to_cpu(x.type) == type)
			return q->ext + at;
		at += (*len + 7ull) & ~7ull;
	}
	return NULL;
}

int qcow2_ext_set(struct qcow2 *q, uint32_t type, const void *data, uint32_t len)
{
	size_t padded = data ? sizeof(struct qcow2_ext) + ((len + 7ull) & ~7ull) : 0, was = 0, at;
	uint32_t old_len;
	uint8_t *old = qcow2_ext_find(q, type, &old_len), *ext;

	at = q->ext_len;
	if (old) {
		at = (size_t)(old - q->ext) - sizeof(struct qcow2_ext);
		was = sizeof(struct qcow2_ext) + ((old_len + 7ull) & ~7ull);
		if (was > q->ext_len - at)
			was = q->ext_len - at;
	}
	ext = calloc(1, q->ext_len - was + padded + 1);
	if (!ext)
		return -ENOMEM;
	memcpy(ext, q->ext, at);
	if (data) {
		struct qcow2_ext x = { cpu_to_be32(type), cpu_to_be32(len) };

		memcpy(ext + at, &x, sizeof(x));
		memcpy(ext + at + sizeof(x), data, len);
	}
	memcpy(ext + at + padded, q->ext + at + was, q->ext_len - at - was);
	free(q->ext);
	q->ext = ext;
	q->ext_len += padded - was;
	return 0;
}

int qcow2_rewrite_header(struct qcow2 *q)
{
	size_t fixed = q->hdr_len < sizeof(q->hdr) ? q->hdr_len : sizeof(q->hdr);
	size_t name = q->backing_name ? strlen(q->backing_name) : 0;
	size_t at = q->hdr_len + q->ext_len + sizeof(struct qcow2_ext);
	uint8_t *buf;
	int rc;

	if (at + name > q->cluster_size)
		return -ENOSPC;
	buf = calloc(1, q->cluster_size);
	if (!buf)
		return -ENOMEM;
	q->hdr.backing_file_offset = cpu_to_be64(name ? at : 0);
	q->hdr.backing_file_size = cpu_to_be32((uint32_t)name);
	memcpy(buf, &q->hdr, fixed);
	if (q->hdr_more)
		memcpy(buf + fixed, q->hdr_more, q->hdr_len - fixed);
	memcpy(buf + q->hdr_len, q->ext, q->ext_len); /* then the end mark: zeroes */
	if (name)
		memcpy(buf + at, q->backing_name, name);
	rc = co_flush(q->node->file);
	if (!rc)
		rc = co_pwrite(q->node->file, 0, buf, q->cluster_size, 0);
	free(buf);
	return rc ? rc : co_flush(q->node->file);
}

static void set_feature(struct be64 *field, uint64_t bit, bool on)
{
	uint64_t v = be64_to_cpu(*field);

	*field = cpu_to_be64(on ? v | bit : v & ~bit);
}

/* [co] Begin_lock is held. */
static int mark_begun(struct qcow2 *q)
{
	uint64_t kept =
		QCOW2_AUTOCLEAR_DATA_FILE_RAW | (q->bitmaps.n ? QCOW2_AUTOCLEAR_BITMAPS : 0);
	uint64_t clear = be64_to_cpu(q->hdr.autoclear_features) & ~kept;
	bool lazy = q->v3 && !q->external && !q->dirty_mark &&
		    (q->want_lazy ||
		     be64_to_cpu(q->hdr.compatible_features) & QCOW2_COMPAT_LAZY_REFCOUNTS);
	int rc = qcow2_bitmaps_begin(q);

	if (rc)
		return rc;
	if (clear)
		set_feature(&q->hdr.autoclear_features, clear, false);
	if (lazy)
		set_feature(&q->hdr.incompatible_features, QCOW2_INCOMPAT_DIRTY, true);
	if (clear || lazy)
		rc = WRITE_FIELDS(q, incompatible_features, autoclear_features);
	if (rc) {
		set_feature(&q->hdr.autoclear_features, clear, true);
		return rc;
	}
	q->dirty_mark |= lazy;
	q->begun = true;
	return 0;
}

int qcow2_begin_write(struct qcow2 *q)
{
	int rc = 0;

	if (q->begun)
		return 0;
	co_lock(&q->begin_lock);
	if (!q->begun)
		rc = mark_begun(q);
	co_unlock(&q->begin_lock);
	return rc;
}

/* --- what metadata take --- */

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static bool is_of_header(const struct qcow2 *q, uint64_t host, uint64_t len)
{
	return host < q->cluster_size || overlap(host, len, q->l1.host, q->l1.n * 8) ||
	       overlap(host, len, q->reftable.host, q->reftable.n * 8) ||
	       (be32_to_cpu(q->hdr.nb_snapshots) &&
		overlap(host, len, be64_to_cpu(q->hdr.snapshots_offset), 1)) ||
	       overlap(host, len, q->crypt_host, q->crypt_len);
}

bool qcow2_is_other_table(struct qcow2 *q, uint64_t host)
{
	return is_of_header(q, host, q->cluster_size) || qcow2_array_refers(&q->reftable, host);
}

bool qcow2_is_metadata(struct qcow2 *q, uint64_t host, uint64_t len)
{
	uint64_t at = host & ~(q->cluster_size - 1);

	if (is_of_header(q, host, len))
		return true;
	for (; at < host + len; at += q->cluster_size)
		if (qcow2_array_refers(&q->l1, at) || qcow2_array_refers(&q->reftable, at))
			return true;
	return false;
}

int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (q->corrupt)
		return -EIO;
	q->corrupt = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("%s: the image is corrupt: %s%s", q->node->filename, text,
		 q->writable ? "; nothing more is written to it" : "");
	if (!q->writable)
		return -EIO;
	q->writable = false;
	if (q->v3) {
		set_feature(&q->hdr.incompatible_features, QCOW2_INCOMPAT_CORRUPT, true);
		WRITE_FIELDS(q, incompatible_features, incompatible_features);
	}
	return -EIO;
}

/* --- checking the header
 * ---------------------------------------------------------------------------- */

static int bad(const struct qcow2 *q, struct err *e, const char *field, uint64_t value,
	       const char *why)
{
	return err_set(e, ERR_INPUT, EINVAL,
		       "%s: qcow2 header: %s is %" PRIu64 " (%#" PRIx64 "): %s", q->node->filename,
		       field, value, value, why);
}

static int unsupported(const struct qcow2 *q, struct err *e, const char *field, uint64_t value,
		       const char *why)
{
	return err_set(e, ERR_INPUT, ENOTSUP, "%s: qcow2 header: %s is %" PRIu64 ": %s",
		       q->node->filename, field, value, why);
}

/* Reads what there is of the header; q->hdr is as of version 3 afterwards. */
static int read_header(struct qcow2 *q, struct err *e)
{
	struct blk_node *file = q->node->file;
	size_t n = file->size < sizeof(q->hdr) ? (size_t)file->size : sizeof(q->hdr);
	uint32_t version;
	int rc;

	if (n < QCOW2_V2_HEADER)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s has %" PRIu64 " bytes: too short for a qcow2 image",
			       q->node->filename, file->size);
	rc = blk_node_pread(file, 0, &q->hdr, n);
	if (rc)
		return err_set(e, ERR_INPUT, -rc, "%s: cannot read the header: %s",
			       q->node->filename, strerror(-rc));
	if (be32_to_cpu(q->hdr.magic) != QCOW2_MAGIC)
		return err_set(e, ERR_INPUT, EINVAL, "%s is not a qcow2 image: it begins with %#x",
			       q->node->filename, be32_to_cpu(q->hdr.magic));
	version = be32_to_cpu(q->hdr.version);
	if (version != 2 && version != 3)
		return unsupported(q, e, "version", version, "only 2 and 3 are known");
	q->v3 = version == 3;
	q->hdr_len = QCOW2_V2_HEADER;
	if (!q->v3) {
		memset((char *)&q->hdr + QCOW2_V2_HEADER, 0, sizeof(q->hdr) - QCOW2_V2_HEADER);
		q->hdr.refcount_order = cpu_to_be32(4);
		return 0;
	}
	q->hdr_len = be32_to_cpu(q->hdr.header_length);
	if (n < QCOW2_V3_HEADER || q->hdr_len < QCOW2_V3_HEADER || q->hdr_len % 8)
		return bad(q, e, "header_length", q->hdr_len,
			   "not a multiple of 8 from 104 on, or behind the end of the file");
	if (q->hdr_len < sizeof(q->hdr))
		memset((char *)&q->hdr + q->hdr_len, 0, sizeof(q->hdr) - q->hdr_len);
	return 0;
}

static int check_clusters(struct qcow2 *q, struct err *e)
{
	uint32_t bits = be32_to_cpu(q->hdr.cluster_bits);
	uint32_t order = be32_to_cpu(q->hdr.refcount_order);

	q->ext_l2 = be64_to_cpu(q->hdr.incompatible_features) & QCOW2_INCOMPAT_EXTL2;
	if (bits < QCOW2_MIN_CLUSTER_BITS || bits > QCOW2_MAX_CLUSTER_BITS)
		return bad(q, e, "cluster_bits", bits, "not between 9 and 21");
	if (q->ext_l2 && bits < 14)
		return bad(q, e, "cluster_bits", bits, "less than 14, with subclusters");
	if (order > 6)
		return bad(q, e, "refcount_order", order, "more than 6 (64 bits)");
	q->cluster_bits = bits;
	q->cluster_size = 1ull << bits;
	q->sub_bits = q->ext_l2 ? bits - 5 : bits;
	q->entry_size = q->ext_l2 ? 16 : 8;
	q->l2_entries = (uint32_t)(q->cluster_size / q->entry_size);
	q->ref_order = order;
	q->ref_max = order == 6 ? UINT64_MAX : (1ull << (1u << order)) - 1;
	/* Refcounts are added to as 64 bits. */
	if (order == 6)
		q->ref_max = INT64_MAX;
	q->block_bits = bits + 3 - order;
	if (q->hdr_len > q->cluster_size)
		return bad(q, e, "header_length", q->hdr_len, "more than a cluster");
	return 0;
}

/* Extensions, byte for byte. */
static int read_extensions(struct qcow2 *q, struct err *e)
{
	uint64_t end = be64_to_cpu(q->hdr.backing_file_offset), size = q->node->file->size;
	size_t room, at = 0;
	int rc;

	if (!end || end > q->cluster_size)
		end = q->cluster_size;
	if (end > size)
		end = size;
	room = end > q->hdr_len ? (size_t)(end - q->hdr_len) : 0;
	q->ext = calloc(1, room + 1);
	if (!q->ext)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = room ? blk_node_pread(q->node->file, q->hdr_len, q->ext, room) : 0;
	if (rc)
		return err_set(e, ERR_INPUT, -rc, "%s: cannot read the header: %s",
			       q->node->filename, strerror(-rc));
	while (room - at >= sizeof(struct qcow2_ext)) {
		struct qcow2_ext x;
		uint64_t len;

		memcpy(&x, q->ext + at, sizeof(x));
		if (be32_to_cpu(x.type) == QCOW2_EXT_END)
			break;
		len = be32_to_cpu(x.len);
		if (len > room - at - sizeof(x))
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: qcow2 header: the extension of type %#x is %" PRIu64
				       " bytes long: more than there is room for",
				       q->node->filename, be32_to_cpu(x.type), len);
		len = (len + 7) & ~7ull;
		at += sizeof(x) + (len > room - at - sizeof(x) ? room - at - sizeof(x) : len);
	}
	q->ext_len = at;
	return 0;
}

/* "dirty bit", or whatever the image says that it is. */
static void feature_name(struct qcow2 *q, unsigned kind, unsigned bit, char *out, size_t size)
{
	struct qcow2_feature_name f;
	uint32_t len = 0;
	const uint8_t *p = qcow2_ext_find(q, QCOW2_EXT_FEATURE_NAMES, &len);

	snprintf(out, size, "bit %u", bit);
	for (; p && len >= sizeof(f); p += sizeof(f), len -= (uint32_t)sizeof(f)) {
		memcpy(&f, p, sizeof(f));
		if (f.kind != kind || f.bit != bit)
			continue;
		snprintf(out, size, "'%.*s'", (int)sizeof(f.name), f.name);
		for (char *c = out; *c; c++) /* it goes to a terminal */
			if (*c < ' ' || *c > '~')
				*c = '?';
		return;
	}
}

static int check_features(struct qcow2 *q, struct err *e)
{
	uint64_t in = be64_to_cpu(q->hdr.incompatible_features);
	uint64_t unknown = in & ~QCOW2_INCOMPAT_KNOWN;
	uint64_t autoclear = be64_to_cpu(q->hdr.autoclear_features);
	char names[400] = "", one[64];

	for (unsigned bit = 0; unknown && bit < 64; bit++) {
		if (!(unknown >> bit & 1))
			continue;
		feature_name(q, 0, bit, one, sizeof(one));
		if (strlen(names) + strlen(one) + 3 < sizeof(names))
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
				 *names ? ", " : "", one);
	}
	if (unknown)
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: qcow2 header: incompatible_features is %#" PRIx64
			       ": this version does not know %s",
			       q->node->filename, in, names);
	q->compression = q->hdr.compression_type;
	if (q->compression > QCOW2_ZSTD)
		return unsupported(q, e, "compression_type", (unsigned)q->compression,
				   "only 0 (zlib) and 1 (zstd) are known");
	if (!(in & QCOW2_INCOMPAT_COMPRESSION) != !q->compression)
		return bad(q, e, "compression_type", (unsigned)q->compression,
			   "contradicts the incompatible feature 'compression type'");
	q->external = in & QCOW2_INCOMPAT_DATA_FILE;
	q->data_raw = autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
	if (q->data_raw && !q->external)
		return bad(q, e, "autoclear_features", autoclear,
			   "a raw external data file, but no external data file");
	q->dirty_mark = q->dirty_mark_found = in & QCOW2_INCOMPAT_DIRTY;
	if (be32_to_cpu(q->hdr.crypt_method) > QCOW2_CRYPT_LUKS)
		return bad(q, e, "crypt_method", be32_to_cpu(q->hdr.crypt_method), "unknown");
	if (be32_to_cpu(q->hdr.crypt_method) && q->data_raw)
		return unsupported(q, e, "crypt_method", be32_to_cpu(q->hdr.crypt_method),
				   "encryption, with a raw external data file");
	return 0;
}

/* A table of bytes at an offset of the header's. */
static int check_table(const struct qcow2 *q, const char *field, uint64_t host, uint64_t bytes,
		       struct err *e)
{
	uint64_t size = q->node->file->size;

	if (host & (q->cluster_size - 1))
		return bad(q, e, field, host, "not a multiple of the cluster size");
	if (host < q->cluster_size)
		return bad(q, e, field, host, "inside the header");
	if (host >= size || bytes > ((size - host + q->cluster_size - 1) & ~(q->cluster_size - 1)))
		return bad(q, e, field, host, "the table reaches behind the end of the file");
	return 0;
}

uint64_t qcow2_l1_entries(uint32_t cluster_bits, bool ext_l2, uint64_t size)
{
	unsigned bits = cluster_bits + cluster_bits - (ext_l2 ? 4 : 3);

	return (size >> bits) + !!(size & ((1ull << bits) - 1));
}

static int check_l1(const struct qcow2 *q, struct err *e)
{
	uint64_t size = be64_to_cpu(q->hdr.size), host = be64_to_cpu(q->hdr.l1_table_offset);
	uint64_t n = be32_to_cpu(q->hdr.l1_size);
	uint64_t need = qcow2_l1_entries(q->cluster_bits, q->ext_l2, size);

	if (size > INT64_MAX)
		return bad(q, e, "size", size, "too large");
	if (need > QCOW2_L1_MAX / 8)
		return bad(q, e, "size", size, "its L1 table would take more than 32 MiB");
	if (n > QCOW2_L1_MAX / 8)
		return bad(q, e, "l1_size", n, "more than 32 MiB");
	if (n < need)
		return bad(q, e, "l1_size", n, "too small for the disk's size");
	return n ? check_table(q, "l1_table_offset", host, n * 8, e) : 0;
}

static int find_reftable(const struct qcow2 *q, struct err *e)
{
	uint64_t host = be64_to_cpu(q->hdr.refcount_table_offset);
	uint64_t n = be32_to_cpu(q->hdr.refcount_table_clusters);
	uint64_t l1 = be64_to_cpu(q->hdr.l1_table_offset);

	if (!n)
		return bad(q, e, "refcount_table_clusters", n, "an image has at least one");
	if (n > QCOW2_REFTABLE_MAX >> q->cluster_bits)
		return bad(q, e, "refcount_table_clusters", n, "more than 8 MiB");
	if (be32_to_cpu(q->hdr.l1_size) &&
	    overlap(host, n << q->cluster_bits, l1, (uint64_t)be32_to_cpu(q->hdr.l1_size) * 8))
		return bad(q, e, "refcount_table_offset", host, "overlaps the L1 table");
	return check_table(q, "refcount_table_offset", host, n << q->cluster_bits, e);
}

/* For repair the image opens without it: all of it can be made anew. */
static int check_reftable(struct qcow2 *q, struct err *e)
{
	int rc = find_reftable(q, e);

	q->reftable_lost = rc && q->node->open.repair;
	return q->reftable_lost ? 0 : rc;
}

static int check_snapshots(const struct qcow2 *q, struct err *e)
{
	uint64_t n = be32_to_cpu(q->hdr.nb_snapshots);
	uint64_t host = be64_to_cpu(q->hdr.snapshots_offset);

	if (n > QCOW2_SNAPSHOTS_MAX)
		return bad(q, e, "nb_snapshots", n, "more than 65536");
	if (n && q->external)
		return bad(q, e, "nb_snapshots", n, "snapshots, with an external data file");
	return n ? check_table(q, "snapshots_offset", host, n * sizeof(struct qcow2_snapshot_entry),
			       e)
		 : 0;
}

/* --- tables of the header's
 * --------------------------------------------------------------------------- */

/* The array as in the file; what lies behind the file's end is zero. */
static int load_array(struct qcow2 *q, struct qcow2_array *a, uint64_t host, uint64_t n,
		      const char *name, struct err *e)
{
	uint64_t bytes = n * 8, size = q->node->file->size, have;
	int rc;

	qcow2_array_free(a); /* it has been asked what it refers to */
	a->host = host;
	a->n = n;
	a->entry = calloc(bytes / SECTOR + 1, SECTOR);
	a->changed = calloc(bytes / SECTOR + 1, 1);
	if (!a->entry || !a->changed)
		return err_set(e, ERR_HOST, ENOMEM, "%s: no memory for the %s table",
			       q->node->filename, name);
	have = host >= size ? 0 : size - host < bytes ? size - host : bytes;
	rc = have ? blk_node_pread(q->node->file, host, a->entry, have) : 0;
	if (rc)
		return err_set(e, ERR_INPUT, -rc, "%s: cannot read the %s table: %s",
			       q->node->filename, name, strerror(-rc));
	return 0;
}

/* Bytes of a slice: small ones, unless there would be too many. */
uint32_t qcow2_slice_size(const struct qcow2 *q, uint64_t clusters)
{
	uint64_t unit = q->cluster_size < SLICE_MIN ? q->cluster_size : SLICE_MIN;

	while (unit < q->cluster_size && clusters * (q->cluster_size / unit) > SLOTS_MOST)
		unit *= 2;
	return (uint32_t)unit;
}

static unsigned log2_of(uint64_t v)
{
	return 63 - (unsigned)__builtin_clzll(v);
}

static uint64_t clamp(uint64_t v, uint64_t lo, uint64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* Memory for each cache, as asked for, or enough for the disk. */
static int cache_sizes(const struct qcow2 *q, uint64_t *l2, uint64_t *refs, struct err *e)
{
	uint64_t disk = (q->l1.n ? q->l1.n : 1) << q->cluster_bits;
	uint64_t covered = (COVERED >> q->cluster_bits) * q->entry_size;
	uint64_t all = q->cache_size;

	if (all && (q->l2_cache_size > all || q->refcount_cache_size > all))
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s-cache-size= is more than cache-size=%" PRIu64,
			       q->l2_cache_size > all ? "l2" : "refcount", all);
	if (all && q->l2_cache_size && q->refcount_cache_size)
		return err_set(e, ERR_USAGE, EINVAL,
			       "cache-size=, l2-cache-size= and refcount-cache-size= together");
	covered = clamp(covered, L2_CACHE_MIN, L2_CACHE_MOST);
	*l2 = q->l2_cache_size ? q->l2_cache_size : disk < covered ? disk : covered;
	*refs = q->refcount_cache_size ? q->refcount_cache_size : *l2 / 4;
	if (all && q->refcount_cache_size)
		*l2 = all - *refs;
	else if (all && q->l2_cache_size)
		*refs = all - *l2;
	else if (all) {
		*refs = all / 5;
		*l2 = all - *refs;
	}
	if (*refs < 16 * (uint64_t)SLICE_MIN && !q->refcount_cache_size && !all)
		*refs = 16 * (uint64_t)SLICE_MIN;
	return 0;
}

static int load_tables(struct qcow2 *q, struct err *e)
{
	uint64_t blocks = q->reftable_lost ? 0
					   : (uint64_t)be32_to_cpu(q->hdr.refcount_table_clusters)
						     << (q->cluster_bits - 3);
	uint64_t l2_bytes = 0, ref_bytes = 0;
	uint32_t unit;
	int rc;

	rc = load_array(q, &q->l1, be64_to_cpu(q->hdr.l1_table_offset), be32_to_cpu(q->hdr.l1_size),
			"L1", e);
	if (!rc)
		rc = load_array(q, &q->reftable, be64_to_cpu(q->hdr.refcount_table_offset), blocks,
				"refcount", e);
	if (!rc)
		rc = cache_sizes(q, &l2_bytes, &ref_bytes, e);
	if (rc)
		return rc;
	unit = qcow2_slice_size(q, q->l1.n);
	q->slice_entries = unit / q->entry_size;
	q->slice_bits = q->cluster_bits + log2_of(q->slice_entries);
	rc = qcow2_cache_init(&q->l2, q, unit, q->l1.n * (q->cluster_size / unit), l2_bytes);
	unit = qcow2_slice_size(q, q->reftable.n);
	q->ref_slice_bits = log2_of(unit) + 3 - q->ref_order;
	if (!rc)
		rc = qcow2_cache_init(&q->refs, q, unit, q->reftable.n * (q->cluster_size / unit),
				      ref_bytes);
	return rc ? err_set(e, ERR_HOST, ENOMEM, "%s: no memory for its tables", q->node->filename)
		  : 0;
}

/* --- other files
 * --------------------------------------------------------------------------------------- */

static char *text_of(const uint8_t *p, size_t len)
{
	return strndup((const char *)p, len);
}

static int read_backing_name(struct qcow2 *q, struct err *e)
{
	uint64_t off = be64_to_cpu(q->hdr.backing_file_offset);
	uint32_t len = be32_to_cpu(q->hdr.backing_file_size), flen = 0;
	const uint8_t *format;
	int rc;

	if (!off || !len)
		return 0;
	if (len > QCOW2_BACKING_NAME_MAX)
		return bad(q, e, "backing_file_size", len, "more than 1023");
	if (off < q->hdr_len || off > q->cluster_size || len > q->cluster_size - off)
		return bad(q, e, "backing_file_offset", off,
			   "the name is not between the header and the end of the first cluster");
	if (q->data_raw)
		return bad(q, e, "backing_file_offset", off,
			   "a backing file, with a raw external data file");
	q->backing_name = calloc(1, len + 1);
	if (!q->backing_name)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = blk_node_pread(q->node->file, off, q->backing_name, len);
	if (rc)
		return err_set(e, ERR_INPUT, -rc, "%s: cannot read the backing file's name: %s",
			       q->node->filename, strerror(-rc));
	format = qcow2_ext_find(q, QCOW2_EXT_BACKING_FORMAT, &flen);
	if (format && !(q->backing_format = text_of(format, flen)))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	return 0;
}

static int open_data_file(struct qcow2 *q, struct err *e)
{
	struct blk_node *n = q->node;
	struct blk_open how = n->open;
	uint32_t len = 0;
	const uint8_t *ext = qcow2_ext_find(q, QCOW2_EXT_DATA_FILE, &len);
	char *name, *path;
	int rc;

	if (!q->external)
		return 0;
	name = q->data_file_name ? strdup(q->data_file_name) : ext ? text_of(ext, len) : NULL;
	if (!name || !*name) {
		free(name);
		err_set(e, ERR_INPUT, EINVAL, "%s has an external data file and does not name it",
			n->filename);
		err_hint(e, "add data-file.filename=FILE");
		return -EINVAL;
	}
	/* From the working directory, as QEMU has it; else beside the image. */
	path = q->data_file_name || !access(name, F_OK) ? strdup(name)
							: blk_beside(n->filename, name);
	how.readonly = n->readonly;
	rc = path ? blk_open_protocol(path, *path == '/', NULL, &how, &q->data, e)
		  : err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (rc) {
		q->data = n->file;
		err_prefix(e, "%s: external data file: ", n->filename);
	}
	free(path);
	free(name);
	return rc;
}

/* --- opening
 * ---------------------------------------------------------------------------------------------- */

static int check_damage(struct qcow2 *q, struct err *e)
{
	struct blk_node *n = q->node;

	if (!(be64_to_cpu(q->hdr.incompatible_features) & QCOW2_INCOMPAT_CORRUPT))
		return 0;
	q->corrupt = true;
	if (n->readonly || n->open.repair)
		return 0;
	if (n->open.auto_readonly) {
		n->readonly = true;
		return 0;
	}
	err_set(e, ERR_INPUT, EROFS, "%s is marked as corrupt: it can only be read", n->filename);
	err_hint(e, "repair it (posada-img check -r all %s), or add readonly=on", n->filename);
	return -EROFS;
}

static int set_up(struct qcow2 *q, struct err *e)
{
	struct blk_node *n = q->node;
	size_t more;
	int rc;

	if ((rc = read_header(q, e)) || (rc = check_clusters(q, e)) ||
	    (rc = read_extensions(q, e)) || (rc = check_features(q, e)) || (rc = check_l1(q, e)) ||
	    (rc = check_reftable(q, e)) || (rc = check_snapshots(q, e)) ||
	    (rc = check_damage(q, e)) || (rc = read_backing_name(q, e)))
		return rc;
	more = q->hdr_len > sizeof(q->hdr) ? q->hdr_len - sizeof(q->hdr) : 0;
	if (more) {
		q->hdr_more = malloc(more);
		if (!q->hdr_more || blk_node_pread(n->file, sizeof(q->hdr), q->hdr_more, more))
			return bad(q, e, "header_length", q->hdr_len, "it cannot be read");
	}
	rc = load_tables(q, e);
	if (rc)
		return rc;
	n->size = be64_to_cpu(q->hdr.size) & ~(uint64_t)(SECTOR - 1);
	q->virgin = qcow2_clusters(q, n->file->size);
	q->writable = !n->readonly;
	return 0;
}

struct rebuild {
	struct qcow2 *q;
	struct err *e;
};

static int rebuild(void *arg)
{
	struct rebuild *r = arg;

	return qcow2_rebuild_refcounts(r->q, r->e);
}

static int qcow2_open(struct blk_node *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	struct rebuild r = { q, e };
	int rc;

	q->node = n;
	q->data = n->file;
	rc = set_up(q, e);
	if (!rc)
		rc = qcow2_crypt_open(q, e);
	if (!rc)
		rc = open_data_file(q, e);
	if (!rc)
		rc = blk_open_backing(n, q->backing_name, q->backing_format, e);
	if (!rc && q->dirty_mark && q->writable && !n->open.repair)
		rc = qcow2_run(q, rebuild, &r);
	if (!rc && q->writable)
		rc = qcow2_bitmaps_open(q, e);
	if (rc)
		return rc;
	n->lim.max_iov = n->lim.max_iov && n->lim.max_iov < IOV_MOST ? n->lim.max_iov : IOV_MOST;
	n->lim.opt_io = (uint32_t)q->cluster_size;
	n->lim.discard_align = (uint32_t)q->cluster_size;
	n->lim.max_discard = n->lim.max_zeroes = 0;
	q->opened = true;
	return 0;
}

int qcow2_make_clean(struct qcow2 *q)
{
	int rc = 0;

	while (!rc && q->writable && (q->freed[0].n || q->freed[1].n))
		rc = qcow2_write_back(q, false);
	if (!rc && q->writable)
		rc = qcow2_write_back(q, false);
	if (!rc && q->writable)
		rc = qcow2_write_refcounts(q);
	if (!rc && q->writable && q->dirty_mark) {
		set_feature(&q->hdr.incompatible_features, QCOW2_INCOMPAT_DIRTY, false);
		rc = WRITE_FIELDS(q, incompatible_features, incompatible_features);
		q->dirty_mark = rc != 0;
	}
	return rc;
}

/* [co] All that is in memory; then the image is clean, and as long as it needs to be. */
static int close_write(void *arg)
{
	struct qcow2 *q = arg;
	uint64_t end;
	struct err e;
	int rc;

	if (q->writable)
		qcow2_bitmaps_store(q);
	rc = qcow2_make_clean(q);
	end = q->virgin << q->cluster_bits;
	if (!rc && q->begun && q->node->file->size > end)
		blk_node_truncate(q->node->file, end, &e); /* not on a device */
	return rc;
}

static void qcow2_close(struct blk_node *n)
{
	struct qcow2 *q = qcow2_of(n);
	int rc = 0;

	if (!q->node) {
		return;
	}
	if (q->opened && q->begun && q->writable)
		rc = qcow2_run(q, close_write, q);
	if (rc)
		log_warn("%s: closing: cannot write its tables: %s", n->filename, strerror(-rc));
	if (q->data && q->data != n->file)
		blk_node_close(q->data);
	qcow2_cache_free(&q->l2);
	qcow2_cache_free(&q->refs);
	qcow2_array_free(&q->l1);
	qcow2_array_free(&q->reftable);
	free(q->freed[0].item);
	free(q->freed[1].item);
	qcow2_io_free(q);
	qcow2_compress_free(q);
	qcow2_crypt_free(q);
	qcow2_bitmaps_free(q);
	free(q->hdr_more);
	free(q->ext);
	free(q->backing_name);
	free(q->backing_format);
	q->node = NULL;
}

static int qcow2_reopen(struct blk_node *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	struct rebuild r = { q, e };
	int rc = 0;

	if (!n->readonly) {
		rc = check_damage(q, e);
		if (!rc && q->data != n->file)
			rc = blk_node_reopen(q->data, false, e);
		q->writable = !rc;
		if (!rc && q->dirty_mark)
			rc = qcow2_run(q, rebuild, &r);
		if (!rc)
			rc = qcow2_bitmaps_open(q, e);
		if (rc)
			q->writable = false;
		return rc;
	}
	if (q->begun && q->writable)
		rc = qcow2_run(q, close_write, q);
	if (rc)
		err_set(e, ERR_INPUT, -rc, "%s: cannot write its tables: %s", n->filename,
			strerror(-rc));
	else
		q->begun = q->dirty_mark = false;
	q->writable = false;
	if (q->data != n->file)
		blk_node_reopen(q->data, true, NULL);
	return rc;
}

static int qcow2_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	return n >= 4 && !memcmp(buf, "QFI\xfb", 4) ? 100 : 0;
}

/* --- loops
 * --------------------------------------------------------------------------------------------------
 */

static void clean(void *ctx)
{
	struct qcow2 *q = ctx;

	qcow2_cache_clean(&q->l2);
	qcow2_cache_clean(&q->refs);
	loop_timer_set(&q->clean_timer, loop_now_ns() + q->clean_interval * CLEAN_NS);
}

static int qcow2_attach(struct blk_node *n, struct loop *l, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	int rc = q->data != n->file ? blk_node_attach(q->data, l, e) : 0;

	if (rc)
		return rc;
	loop_timer_init(&q->clean_timer, l, clean, q);
	if (q->clean_interval)
		loop_timer_set(&q->clean_timer, loop_now_ns() + q->clean_interval * CLEAN_NS);
	return 0;
}

static void qcow2_detach(struct blk_node *n)
{
	struct qcow2 *q = qcow2_of(n);

	loop_timer_cancel(&q->clean_timer);
	if (q->data != n->file)
		blk_node_detach(q->data);
}

static void qcow2_poll(struct blk_node *n)
{
	struct qcow2 *q = qcow2_of(n);

	if (q->data != n->file && blk_node_in_flight(q->data))
		blk_node_poll(q->data);
	else if (n->backing && !blk_node_in_flight(n->file) && blk_node_in_flight(n->backing))
		blk_node_poll(n->backing);
	else if (q->in_pool && !blk_node_in_flight(n->file))
		co_pool_poll(n->loop);
	else
		blk_node_poll(n->file);
}

static unsigned qcow2_in_flight(const struct blk_node *n)
{
	const struct qcow2 *q = qcow2_of(n);

	return q->in_flight + (q->data != n->file ? blk_node_in_flight(q->data) : 0);
}

/* --- size and contents
 * -------------------------------------------------------------------------------------- */

struct call {
	struct qcow2 *q;
	uint64_t off, len, size;
	struct qcow2_map map;
	struct err *e;
};

static int look_up(void *arg)
{
	struct call *c = arg;

	return qcow2_map_at(c->q, c->off, c->len, &c->map);
}

static int qcow2_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
			unsigned *flags)
{
	struct call c = { .q = qcow2_of(n), .off = off, .len = len };
	int rc = qcow2_run(c.q, look_up, &c);

	if (rc)
		return rc;
	*bytes = c.map.len;
	*flags = BLK_ALLOCATED | (c.map.kind == QCOW2_K_ZERO ? BLK_ZERO : BLK_DATA);
	if (c.map.kind != QCOW2_K_UNALLOCATED)
		return 0;
	*flags = 0;
	if (!n->backing || off >= n->backing->size)
		*flags = c.q->backing_name && !n->backing ? 0 : BLK_ZERO;
	else if (*bytes > n->backing->size - off)
		*bytes = n->backing->size - off;
	return 0;
}

static bool qcow2_place(struct blk_node *n, uint64_t off, uint64_t *at)
{
	struct call c = { .q = qcow2_of(n), .off = off, .len = 1 };

	if (c.q->crypt || qcow2_run(c.q, look_up, &c) || !c.map.placed)
		return false;
	*at = c.map.host;
	return true;
}

int qcow2_grow_l1(struct qcow2 *q, uint64_t n)
{
	struct qcow2_array a = { .n = n }, old;
	uint64_t clusters = qcow2_clusters(q, n * 8), parts = q->cluster_size / q->l2.unit;
	struct qcow2_header was = q->hdr;
	bool zero;
	int rc;

	rc = qcow2_write_back(q, true);
	if (!rc)
		rc = qcow2_cache_grow(&q->l2, n * parts);
	if (!rc)
		rc = qcow2_alloc(q, clusters, true, &a.host, NULL, &zero);
	if (rc)
		return rc;
	a.entry = calloc(clusters, q->cluster_size);
	a.changed = calloc(n * 8 / SECTOR + 1, 1);
	rc = a.entry && a.changed ? qcow2_write_back(q, true) : -ENOMEM;
	old = q->l1;
	if (!rc) {
		memcpy(a.entry, old.entry, old.n * 8);
		rc = co_pwrite(q->node->file, a.host, a.entry, clusters << q->cluster_bits, 0);
	}
	if (!rc) {
		q->hdr.l1_size = cpu_to_be32((uint32_t)n);
		q->hdr.l1_table_offset = cpu_to_be64(a.host);
		rc = WRITE_FIELDS(q, l1_size, l1_table_offset);
	}
	if (rc) {
		q->hdr = was;
		qcow2_array_free(&a);
		return rc;
	}
	q->l1 = a;
	if (old.n)
		qcow2_free(q, old.host, old.n * 8, false);
	qcow2_array_free(&old);
	return 0;
}

/* [co] What lies between the old end and the new reads as zeroes. */
static int zero_new_part(struct qcow2 *q, uint64_t from, uint64_t to)
{
	uint64_t end = (from + q->cluster_size - 1) & ~(q->cluster_size - 1);
	static const uint8_t zeroes[SECTOR];
	struct qcow2_map m;
	int rc = 0;

	if (end > to)
		end = to;
	for (; !rc && from < end; from += SECTOR) {
		struct iovec iov = { .iov_base = (void *)(uintptr_t)zeroes, .iov_len = SECTOR };

		rc = qcow2_map_at(q, from, SECTOR, &m);
		if (!rc && m.kind != QCOW2_K_ZERO &&
		    (m.kind != QCOW2_K_UNALLOCATED ||
		     (q->node->backing && from < q->node->backing->size)))
			rc = qcow2_write(q, from, SECTOR, &iov, 1, 0);
	}
	if (rc || !q->node->backing || from >= q->node->backing->size)
		return rc;
	if (to > q->node->backing->size)
		to = (q->node->backing->size + q->cluster_size - 1) & ~(q->cluster_size - 1);
	return from < to ? qcow2_map_zero(q, from, to - from, true) : 0;
}

static int grow(struct qcow2 *q, uint64_t size, struct err *e)
{
	uint64_t n = qcow2_l1_entries(q->cluster_bits, q->ext_l2, size), old = q->node->size;
	int rc = 0;

	if (size > INT64_MAX || n > QCOW2_L1_MAX / 8)
		return err_set(e, ERR_USAGE, EFBIG,
			       "%s: %" PRIu64 " bytes are more than clusters of %" PRIu64
			       " bytes can hold",
			       q->node->filename, size, q->cluster_size);
	if (n > q->l1.n)
		rc = qcow2_grow_l1(q, n);
	if (rc)
		return rc;
	q->node->size = size;
	rc = zero_new_part(q, old, size);
	if (rc)
		q->node->size = old;
	return rc;
}

static int resize(void *arg)
{
	struct call *c = arg;
	struct qcow2 *q = c->q;
	struct blk_node *n = q->node;
	uint64_t old = n->size, mask = q->cluster_size - 1, end;
	int rc = qcow2_begin_write(q);

	if (!rc)
		rc = qcow2_vmstate_clear(q);
	if (!rc)
		rc = qcow2_bitmap_mark(q, NULL);
	if (!rc && c->size > old)
		rc = grow(q, c->size, c->e);
	if (!rc && q->data_raw)
		rc = blk_node_truncate(q->data, c->size, c->e);
	if (!rc)
		rc = qcow2_write_back(q, true);
	if (rc)
		return rc;
	q->hdr.size = cpu_to_be64(c->size);
	rc = WRITE_FIELDS(q, size, size);
	if (rc) {
		q->hdr.size = cpu_to_be64(old);
		n->size = old;
		return rc;
	}
	/* Of a smaller disk, clusters that lie behind its end now. */
	end = (old + mask) & ~mask;
	n->size = c->size;
	rc = qcow2_bitmaps_resize(q, old);
	if (rc)
		return rc;
	c->size = (c->size + mask) & ~mask;
	return c->size < end ? qcow2_map_discard(q, c->size, end - c->size, true) : 0;
}

int qcow2_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	struct call c = { .q = q, .size = size, .e = e };
	int rc;

	if (!q->writable)
		return err_set(e, ERR_INPUT, EROFS, "%s cannot be written", n->filename);
	if (size % SECTOR)
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s: a size of %" PRIu64 " bytes is not a multiple of 512",
			       n->filename, size);
	if (be32_to_cpu(q->hdr.nb_snapshots) && !q->v3) {
		err_set(e, ERR_USAGE, ENOTSUP,
			"%s is of version 2 and has snapshots: its size stays", n->filename);
		err_hint(e, "delete them first (posada-img snapshot -d)");
		return -ENOTSUP;
	}
	rc = qcow2_bitmaps_may_resize(q, size, e);
	if (rc)
		return rc;
	if (e)
		*e->msg = '\0';
	rc = qcow2_run(q, resize, &c);
	if (rc && e && !*e->msg)
		err_set(e, ERR_INPUT, -rc, "%s: cannot change its size to %" PRIu64 ": %s",
			n->filename, size, strerror(-rc));
	return rc;
}

static void qcow2_describe(const struct blk_node *n, FILE *f)
{
	const struct qcow2 *q = qcow2_of(n);

	fprintf(f, "qcow2 version %d, clusters of %" PRIu64 " bytes%s", q->v3 ? 3 : 2,
		q->cluster_size, q->ext_l2 ? ", subclusters" : "");
	if (q->backing_name)
		fprintf(f, ", backing file %s", q->backing_name);
}

/* --- whole images
 * ---------------------------------------------------------------------------------------------- */

static uint32_t qcow2_cluster_size(const struct blk_node *n)
{
	return (uint32_t)qcow2_of(n)->cluster_size;
}

static const char *qcow2_backing_name(const struct blk_node *n, const char **format)
{
	if (format)
		*format = qcow2_of(n)->backing_format;
	return qcow2_of(n)->backing_name;
}

static int rewrite(void *arg)
{
	struct qcow2 *q = arg;
	int rc = qcow2_begin_write(q);

	return rc ? rc : qcow2_rewrite_header(q);
}

int qcow2_set_backing(struct blk_node *n, const char *backing, const char *format, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	char *name = backing ? strdup(backing) : NULL, *old_name = q->backing_name;
	char *fmt = backing && format ? strdup(format) : NULL, *old_fmt = q->backing_format;
	int rc;

	if ((backing && !name) || (backing && format && !fmt)) {
		free(name);
		free(fmt);
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	q->backing_name = name;
	q->backing_format = fmt;
	rc = q->data_raw && name ? -EINVAL : !q->writable ? -EROFS : 0;
	if (!rc && name && strlen(name) > QCOW2_BACKING_NAME_MAX)
		rc = -ENAMETOOLONG;
	if (!rc)
		rc = qcow2_ext_set(q, QCOW2_EXT_BACKING_FORMAT, fmt,
				   fmt ? (uint32_t)strlen(fmt) : 0);
	if (!rc)
		rc = qcow2_run(q, rewrite, q);
	if (rc) {
		q->backing_name = old_name;
		q->backing_format = old_fmt;
		old_name = name;
		old_fmt = fmt;
		qcow2_ext_set(q, QCOW2_EXT_BACKING_FORMAT, q->backing_format,
			      q->backing_format ? (uint32_t)strlen(q->backing_format) : 0);
		err_set(e, ERR_INPUT, -rc, "%s: cannot set its backing file to '%s': %s",
			n->filename, backing ? backing : "", strerror(-rc));
	}
	free(old_name);
	free(old_fmt);
	return rc;
}

/*
 * [co] Whether the file has less room on the host than its clusters in use take, by more
 * than holes of zeroes among data account for. 1 or 0, -errno.
 */
static int count_in_use(void *arg)
{
	struct qcow2 *q = arg;
	uint64_t all = q->node->file->size >> q->cluster_bits, n = 0, real, many, count;
	struct stat st;
	int rc = 0;

	if (stat(q->node->file->filename, &st))
		return -errno;
	real = (uint64_t)st.st_blocks * SECTOR >> q->cluster_bits;
	many = real * 10 / 9 > real + 2 ? real * 10 / 9 : real + 2;
	for (uint64_t i = 0; !rc && i < all && n < many && many <= all; i++) {
		rc = qcow2_refcount(q, i, &count);
		n += !!count;
	}
	return rc ? rc : n >= many;
}

static struct blk_node *qcow2_data_file(const struct blk_node *n)
{
	return qcow2_of(n)->data;
}

static bool qcow2_sparse_below(struct blk_node *n)
{
	return qcow2_run(qcow2_of(n), count_in_use, qcow2_of(n)) > 0;
}

static int forget_all(void *arg)
{
	struct qcow2 *q = arg;
	int rc = qcow2_begin_write(q);
	uint64_t len;

	for (uint64_t off = 0; !rc && off < q->node->size; off += len) {
		len = q->node->size - off < 1 << 30 ? q->node->size - off : 1 << 30;
		rc = qcow2_map_discard(q, off, len, true);
		if (!rc) /* so that little waits to be given back */
			rc = qcow2_write_back(q, true);
	}
	return rc;
}

static int qcow2_make_empty(struct blk_node *n, struct err *e)
{
	int rc = qcow2_run(qcow2_of(n), forget_all, qcow2_of(n));

	if (rc)
		err_set(e, ERR_INPUT, -rc, "%s: cannot forget its data: %s", n->filename,
			strerror(-rc));
	return rc;
}

static void info_bitmaps(struct qcow2 *q, json_t *info)
{
	struct blk_bitmap *list = NULL;
	json_t *array;
	size_t n = 0;

	if (qcow2_bitmap_list(q->node, &list, &n, NULL) || !n)
		return;
	array = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object(), *flags = json_array();

		if (list[i].in_use)
			json_array_append_new(flags, json_string("in-use"));
		if (list[i].enabled)
			json_array_append_new(flags, json_string("auto"));
		json_object_set_new(o, "flags", flags);
		json_object_set_new(o, "name", json_string(list[i].name));
		json_object_set_new(o, "granularity",
				    json_integer((json_int_t)list[i].granularity));
		json_array_append_new(array, o);
	}
	json_object_set_new(info, "bitmaps", array);
	blk_bitmaps_free(list, n);
}

static void *qcow2_info(const struct blk_node *n)
{
	struct qcow2 *q = qcow2_of(n);
	json_t *j = json_object();
	uint64_t in = be64_to_cpu(q->hdr.incompatible_features);
	uint32_t len = 0;
	const uint8_t *name = qcow2_ext_find(q, QCOW2_EXT_DATA_FILE, &len);

	json_object_set_new(j, "compat", json_string(q->v3 ? "1.1" : "0.10"));
	json_object_set_new(j, "compression-type", json_string(q->compression ? "zstd" : "zlib"));
	if (q->v3)
		json_object_set_new(j, "lazy-refcounts",
				    json_boolean(be64_to_cpu(q->hdr.compatible_features) &
						 QCOW2_COMPAT_LAZY_REFCOUNTS));
	info_bitmaps(q, j);
	json_object_set_new(j, "refcount-bits", json_integer(1 << q->ref_order));
	if (q->crypt) {
		json_object_set_new(j, "encrypt", qcow2_crypt_info(q));
		json_object_set_new(j, "encrypted", json_true());
	}
	if (q->v3) {
		json_object_set_new(j, "corrupt", json_boolean(in & QCOW2_INCOMPAT_CORRUPT));
		json_object_set_new(j, "extended-l2", json_boolean(q->ext_l2));
	}
	if (q->external && name)
		json_object_set_new(j, "data-file", json_stringn((const char *)name, len));
	if (q->external)
		json_object_set_new(j, "data-file-raw", json_boolean(q->data_raw));
	return j;
}

static const struct blk_image_ops image_ops = {
	.check = qcow2_check,
	.create_props = qcow2_create_props,
	.create = qcow2_create,
	.measure = qcow2_measure,
	.preallocate = qcow2_preallocate,
	.set_backing = qcow2_set_backing,
	.cluster_size = qcow2_cluster_size,
	.backing_name = qcow2_backing_name,
	.info = qcow2_info,
	.make_empty = qcow2_make_empty,
	.snap_list = qcow2_snap_list,
	.snap_create = qcow2_snap_create,
	.snap_save = qcow2_snap_save,
	.snap_apply = qcow2_snap_apply,
	.snap_delete = qcow2_snap_delete,
	.snap_load = qcow2_snap_load,
	.vmstate_write = qcow2_vmstate_write,
	.vmstate_read = qcow2_vmstate_read,
	.amend = qcow2_amend,
	.amend_props = qcow2_amend_props,
	.data_file = qcow2_data_file,
	.sparse_below = qcow2_sparse_below,
	.bitmap_list = qcow2_bitmap_list,
	.bitmap_add = qcow2_bitmap_add,
	.bitmap_remove = qcow2_bitmap_remove,
	.bitmap_clear = qcow2_bitmap_clear,
	.bitmap_enable = qcow2_bitmap_enable,
	.bitmap_merge = qcow2_bitmap_merge,
	.bitmap_measure = qcow2_bitmap_measure,
	.create_size = QCOW2_CREATE_SIZE,
};

const struct blk_driver blk_qcow2 = {
	.name = "qcow2",
	.desc = "QEMU's copy-on-write format, versions 2 and 3",
	.size = sizeof(struct qcow2),
	.props = qcow2_props,
	.probe = qcow2_probe,
	.open = qcow2_open,
	.close = qcow2_close,
	.submit = qcow2_submit,
	.poll = qcow2_poll,
	.in_flight = qcow2_in_flight,
	.attach = qcow2_attach,
	.detach = qcow2_detach,
	.truncate = qcow2_truncate,
	.reopen = qcow2_reopen,
	.status = qcow2_status,
	.place = qcow2_place,
	.describe = qcow2_describe,
	.image = &image_ops,
};
