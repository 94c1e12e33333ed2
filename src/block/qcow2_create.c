/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: making images. Options are those of qemu-img, by the same names. An empty image
 * is the header, the refcount table, blocks for all of these, and the L1 table, in
 * this order; preallocation opens it and fills it. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "opts.h"
#include "qcow2.h"
#include "secret.h"

enum { COMPAT_V2, COMPAT_V3 };
enum { PREALLOC_OFF, PREALLOC_METADATA, PREALLOC_FALLOC, PREALLOC_FULL };
enum { SECTOR = 512 };

static const char *const compat_choices[] = { "0.10", "1.1", "v2", "v3", NULL };
static const char *const prealloc_choices[] = { "off", "metadata", "falloc", "full", NULL };
static const char *const compression_choices[] = { "zlib", "zstd", NULL };

const struct prop qcow2_create_props[] = {
	PROP(struct qcow2_create, size, PROP_SIZE, "size", NULL, "bytes of the disk"),
	PROP_CHOICE(struct qcow2_create, compat, "compat", "1.1", compat_choices,
		    "version: 0.10 is 2, 1.1 is 3"),
	PROP(struct qcow2_create, backing_file, PROP_STR, "backing_file", NULL,
	     "image that shows where this one has nothing"),
	PROP(struct qcow2_create, backing_fmt, PROP_STR, "backing_fmt", NULL, "its format"),
	PROP(struct qcow2_create, cluster_size, PROP_SIZE, "cluster_size", "64K",
	     "unit of allocation: 512 to 2M, a power of 2"),
	PROP_CHOICE(struct qcow2_create, preallocation, "preallocation", "off", prealloc_choices,
		    "what is allocated at once"),
	PROP(struct qcow2_create, lazy_refcounts, PROP_BOOL, "lazy_refcounts", "off",
	     "postpone refcount updates; repaired after a crash"),
	PROP(struct qcow2_create, refcount_bits, PROP_U32, "refcount_bits", "16",
	     "width of refcounts: 1, 2, 4, 8, 16, 32, 64"),
	PROP(struct qcow2_create, extended_l2, PROP_BOOL, "extended_l2", "off",
	     "32 subclusters in a cluster"),
	PROP_CHOICE(struct qcow2_create, compression, "compression_type", "zlib",
		    compression_choices, "of compressed clusters"),
	PROP(struct qcow2_create, data_file, PROP_STR, "data_file", NULL,
	     "file that holds the data, apart from the image"),
	PROP(struct qcow2_create, data_file_raw, PROP_BOOL, "data_file_raw", "off",
	     "that file is a raw image at any time"),
	PROP(struct qcow2_create, old_encryption, PROP_BOOL, "encryption", "off",
	     "the old encryption, which is not made any more; see encrypt.format"),
	PROP(struct qcow2_create, crypt_format, PROP_STR, "encrypt.format", NULL,
	     "luks: encrypts the data"),
	LUKS_PARAMS(struct qcow2_create, luks., "encrypt."),
	PROP_END,
};

/* An image that is being made. */
struct plan {
	const char *filename;
	struct qcow2_create o; /* texts are the caller's */
	uint64_t size;
	const char *backing, *backing_format;
	bool v3;
	uint32_t cluster_bits, ref_order;
	uint64_t l1_entries;
	/* clusters */
	uint64_t table, blocks, l1, crypt;
	uint64_t crypt_bytes; /* of the LUKS header; 0: none */
	struct blk_node *file, *data; /* data: NULL: in the image */
};

/* --- options --- */

static bool is_power(uint64_t v)
{
	return v && !(v & (v - 1));
}

static int refuse(const struct plan *p, struct err *e, const char *why)
{
	return err_set(e, ERR_USAGE, EINVAL, "%s: %s", p->filename, why);
}

static int check_v2(const struct plan *p, struct err *e)
{
	const struct qcow2_create *o = &p->o;
	const char *what = o->lazy_refcounts        ? "lazy_refcounts=on"
			   : o->refcount_bits != 16 ? "refcount_bits other than 16"
			   : o->extended_l2         ? "extended_l2=on"
			   : o->compression         ? "compression_type=zstd"
			   : o->data_file           ? "data_file="
						    : NULL;

	if (!what || p->v3)
		return 0;
	err_set(e, ERR_USAGE, EINVAL, "%s: %s needs version 3 of the format", p->filename, what);
	err_hint(e, "use compat=1.1");
	return -EINVAL;
}

static int check_crypt(struct plan *p, struct err *e)
{
	const struct qcow2_create *o = &p->o;
	const struct luks_params *l = &o->luks;
	bool aes = o->crypt_format && !strcmp(o->crypt_format, "aes");

	if (o->old_encryption || aes) {
		err_set(e, ERR_USAGE, ENOTSUP,
			"%s: %s: the old AES encryption is not made any more, as it is weak",
			p->filename, aes ? "encrypt.format=aes" : "encryption=on");
		err_hint(e, "use encrypt.format=luks,encrypt.key-secret=ID");
		return -ENOTSUP;
	}
	if (!o->crypt_format) {
		if (!l->key_secret && !l->cipher_alg && !l->cipher_mode && !l->ivgen_alg &&
		    !l->ivgen_hash_alg && !l->hash_alg)
			return 0;
		return refuse(p, e, "options encrypt.X need encrypt.format=luks");
	}
	if (strcmp(o->crypt_format, "luks") != 0) {
		err_set(e, ERR_USAGE, EINVAL, "%s: encrypt.format=%s is not known", p->filename,
			o->crypt_format);
		err_hint(e, "known: luks");
		return -EINVAL;
	}
	if (o->data_file_raw)
		return refuse(p, e, "data_file_raw=on together with encryption");
	return luks_header_size(l, &p->crypt_bytes, e);
}

static int check_options(struct plan *p, struct err *e)
{
	const struct qcow2_create *o = &p->o;

	if (!is_power(o->cluster_size) || o->cluster_size < 512 || o->cluster_size > 2 << 20)
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s: cluster_size=%" PRIu64 ": not a power of 2 between 512 and 2M",
			       p->filename, o->cluster_size);
	if (!is_power(o->refcount_bits) || o->refcount_bits > 64)
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s: refcount_bits=%u: not a power of 2 up to 64", p->filename,
			       o->refcount_bits);
	if (o->extended_l2 && o->cluster_size < 16384)
		return refuse(p, e, "extended_l2=on needs a cluster_size of 16K at least");
	if (o->data_file_raw && !o->data_file)
		return refuse(p, e, "data_file_raw=on needs data_file=");
	if (o->data_file_raw && p->backing)
		return refuse(p, e, "data_file_raw=on together with a backing file");
	if (p->backing && o->preallocation && !o->extended_l2)
		return refuse(p, e, "preallocation with a backing file needs extended_l2=on");
	if (p->backing && strlen(p->backing) > QCOW2_BACKING_NAME_MAX)
		return refuse(p, e, "the backing file's name has more than 1023 bytes");
	return check_v2(p, e);
}

/* Clusters that count so many, themselves included. */
static void count_refs(struct plan *p, uint64_t clusters)
{
	unsigned bits = p->cluster_bits + 3 - p->ref_order;
	uint64_t blocks = 0, table = 1, all;

	do {
		p->blocks = blocks;
		p->table = table;
		all = clusters + blocks + table;
		blocks = (all + (1ull << bits) - 1) >> bits;
		table = (blocks * 8 + (1ull << p->cluster_bits) - 1) >> p->cluster_bits;
	} while (blocks != p->blocks || table != p->table);
}

static int plan(struct plan *p, const struct blk_create *c, struct err *e)
{
	uint64_t mask;
	int rc;

	if (c->opts)
		p->o = *(const struct qcow2_create *)c->opts;
	else
		props_defaults(qcow2_create_props, &p->o);
	p->size = c->size ? c->size : p->o.size;
	p->size = (p->size + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
	p->backing = c->backing ? c->backing : p->o.backing_file;
	p->backing_format = c->backing ? c->backing_format : p->o.backing_fmt;
	p->v3 = p->o.compat % 2 == COMPAT_V3;
	rc = check_options(p, e);
	if (!rc)
		rc = check_crypt(p, e);
	if (rc)
		return rc;
	if (p->o.data_file_raw && !p->o.preallocation)
		p->o.preallocation = PREALLOC_METADATA;
	p->cluster_bits = (uint32_t)__builtin_ctzll(p->o.cluster_size);
	p->ref_order = (uint32_t)__builtin_ctz(p->o.refcount_bits);
	p->l1_entries = qcow2_l1_entries(p->cluster_bits, p->o.extended_l2, p->size);
	if (p->size > INT64_MAX || p->l1_entries > QCOW2_L1_MAX / 8)
		return err_set(e, ERR_USAGE, EFBIG,
			       "%s: %" PRIu64 " bytes are more than clusters of %" PRIu64
			       " bytes can hold",
			       p->filename, p->size, p->o.cluster_size);
	mask = p->o.cluster_size - 1;
	p->l1 = (p->l1_entries * 8 + mask) >> p->cluster_bits;
	p->crypt = (p->crypt_bytes + mask) >> p->cluster_bits;
	count_refs(p, 1 + p->l1 + p->crypt);
	return 0;
}

/* --- the empty image
 * ------------------------------------------------------------------------------ */

static size_t put_ext(uint8_t *buf, size_t at, uint32_t type, const void *data, size_t len)
{
	struct qcow2_ext x = { cpu_to_be32(type), cpu_to_be32((uint32_t)len) };

	memcpy(buf + at, &x, sizeof(x));
	memcpy(buf + at + sizeof(x), data, len);
	return at + sizeof(x) + ((len + 7) & ~(size_t)7);
}

static size_t put_text(uint8_t *buf, size_t at, uint32_t type, const char *text)
{
	return text ? put_ext(buf, at, type, text, strlen(text)) : at;
}

static size_t put_features(uint8_t *buf, size_t at)
{
	static const struct qcow2_feature_name names[] = {
		{ 0, 0, "dirty bit" },
		{ 0, 1, "corrupt bit" },
		{ 0, 2, "external data file" },
		{ 0, 3, "compression type" },
		{ 0, 4, "extended L2 entries" },
		{ 1, 0, "lazy refcounts" },
		{ 2, 0, "bitmaps" },
		{ 2, 1, "raw external data" },
	};

	return put_ext(buf, at, QCOW2_EXT_FEATURE_NAMES, names, sizeof(names));
}

static struct qcow2_header header_of(const struct plan *p)
{
	const struct qcow2_create *o = &p->o;
	uint64_t in = 0;

	in |= o->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0;
	in |= o->compression ? QCOW2_INCOMPAT_COMPRESSION : 0;
	in |= o->extended_l2 ? QCOW2_INCOMPAT_EXTL2 : 0;
	return (struct qcow2_header){
		.magic = cpu_to_be32(QCOW2_MAGIC),
		.version = cpu_to_be32(p->v3 ? 3 : 2),
		.cluster_bits = cpu_to_be32(p->cluster_bits),
		.crypt_method = cpu_to_be32(p->crypt ? QCOW2_CRYPT_LUKS : QCOW2_CRYPT_NONE),
		.size = cpu_to_be64(p->size),
		.l1_size = cpu_to_be32((uint32_t)p->l1_entries),
		.l1_table_offset =
			cpu_to_be64(p->l1 ? (1 + p->table + p->blocks) << p->cluster_bits : 0),
		.refcount_table_offset = cpu_to_be64(1ull << p->cluster_bits),
		.refcount_table_clusters = cpu_to_be32((uint32_t)p->table),
		.incompatible_features = cpu_to_be64(in),
		.compatible_features =
			cpu_to_be64(o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0),
		.autoclear_features =
			cpu_to_be64(o->data_file_raw ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0),
		.refcount_order = cpu_to_be32(p->ref_order),
		.header_length = cpu_to_be32(sizeof(struct qcow2_header)),
		.compression_type = (uint8_t)o->compression,
	};
}

static uint64_t crypt_host(const struct plan *p)
{
	return (1 + p->table + p->blocks + p->l1) << p->cluster_bits;
}

/* The first cluster. The table of names is left out where clusters are too small for it. */
static int write_header(const struct plan *p, struct err *e)
{
	size_t cluster = p->o.cluster_size, name = p->backing ? strlen(p->backing) : 0;
	size_t fixed = p->v3 ? sizeof(struct qcow2_header) : QCOW2_V2_HEADER, at = fixed;
	struct qcow2_header h = header_of(p);
	uint8_t *buf;
	int rc;

	if (fixed + name + 5 * 16 + (p->backing_format ? strlen(p->backing_format) : 0) +
		    (p->o.data_file ? strlen(p->o.data_file) : 0) >
	    cluster)
		return refuse(p, e, "the names do not fit the header: use a larger cluster_size");
	buf = calloc(1, cluster + 4096);
	if (!buf)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (p->backing)
		at = put_text(buf, at, QCOW2_EXT_BACKING_FORMAT, p->backing_format);
	at = put_text(buf, at, QCOW2_EXT_DATA_FILE, p->o.data_file);
	if (p->crypt) {
		struct qcow2_crypt_ext x = { cpu_to_be64(crypt_host(p)),
					     cpu_to_be64(p->crypt_bytes) };

		at = put_ext(buf, at, QCOW2_EXT_CRYPT, &x, sizeof(x));
	}
	if (p->v3 && at + 8 * sizeof(struct qcow2_feature_name) + 16 + name <= cluster)
		at = put_features(buf, at);
	at += sizeof(struct qcow2_ext); /* the end mark */
	if (name) {
		memcpy(buf + at, p->backing, name);
		h.backing_file_offset = cpu_to_be64(at);
		h.backing_file_size = cpu_to_be32((uint32_t)name);
	}
	memcpy(buf, &h, fixed);
	rc = blk_node_pwrite(p->file, 0, buf, cluster);
	free(buf);
	return rc;
}

static int write_refs(const struct plan *p)
{
	uint64_t used = 1 + p->table + p->blocks + p->l1 + p->crypt;
	unsigned bits = p->cluster_bits + 3 - p->ref_order;
	uint8_t *buf = malloc(p->o.cluster_size);
	int rc = buf ? 0 : -ENOMEM;
	uint64_t n = p->o.cluster_size / 8;

	for (uint64_t i = 0; !rc && i < p->blocks; i++) {
		memset(buf, 0, p->o.cluster_size);
		for (uint64_t k = 0; k < 1ull << bits && (i << bits) + k < used; k++)
			qcow2_ref_set(buf, p->ref_order, k, 1);
		rc = blk_node_pwrite(p->file, (1 + p->table + i) << p->cluster_bits, buf,
				     p->o.cluster_size);
	}
	for (uint64_t i = 0; !rc && i < p->table; i++) {
		memset(buf, 0, p->o.cluster_size);
		for (uint64_t k = 0; k < n && i * n + k < p->blocks; k++)
			((struct be64 *)(void *)buf)[k] =
				cpu_to_be64((1 + p->table + i * n + k) << p->cluster_bits);
		rc = blk_node_pwrite(p->file, (1 + i) << p->cluster_bits, buf, p->o.cluster_size);
	}
	free(buf);
	return rc;
}

/* There must be a file before it can be opened and locked. */
static int make_file(const char *name, struct err *e)
{
	size_t proto = strcspn(name, ":/");
	const char *path = strncmp(name, "file:", 5) ? name : name + 5;
	int fd;

	if (path == name && *name != '/' && name[proto] == ':')
		return 0; /* a protocol's */
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	if (fd < 0) {
		int code = errno;

		return err_set(e, ERR_INPUT, code, "cannot create '%s': %s", path, strerror(code));
	}
	close(fd);
	return 0;
}

/* Locked, and as it was. */
static int open_file(const char *name, const struct blk_create *c, struct blk_node **out,
		     struct err *e)
{
	struct blk_open how = { .locking = true };
	int rc = make_file(name, e);

	if (c->how)
		how = *c->how;
	how.readonly = how.auto_readonly = false;
	how.discard = true;
	return rc ? rc : blk_open_protocol(name, false, NULL, &how, out, e);
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Both, before anything is cut off either: one that is in use costs neither its contents. */
static int open_files(struct plan *p, const struct blk_create *c, struct err *e)
{
	int rc = open_file(p->filename, c, &p->file, e);

	if (rc || !p->o.data_file)
		return rc;
	if (same_file(p->filename, p->o.data_file))
		rc = err_set(e, ERR_USAGE, EINVAL, "'%s' is the image itself", p->o.data_file);
	else
		rc = open_file(p->o.data_file, c, &p->data, e);
	if (rc) {
		err_prefix(e, "data_file: ");
		blk_node_close(p->file);
	}
	return rc;
}

/* Of a device nothing can be cut off. */
static int empty(struct blk_node *file, uint64_t size, struct err *e)
{
	int rc = blk_node_truncate(file, 0, e);

	return rc ? rc : blk_node_truncate(file, size, e);
}

static int luks_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	const struct plan *p = ctx;

	return blk_node_pread(p->file, crypt_host(p) + off, buf, len);
}

static int luks_write(void *ctx, uint64_t off, const void *buf, size_t len)
{
	const struct plan *p = ctx;

	return blk_node_pwrite(p->file, crypt_host(p) + off, buf, len);
}

/* A new key, for whoever has the passphrase. */
static int write_luks(struct plan *p, const void *pass, size_t len, struct err *e)
{
	struct luks_file f = { .image = p->filename,
			       .size = p->crypt_bytes,
			       .read = luks_read,
			       .write = luks_write,
			       .ctx = p };
	int rc = blk_node_zero(p->file, crypt_host(p), p->crypt << p->cluster_bits, BLK_UNMAP);

	return rc ? rc : luks_create(&f, &p->o.luks, pass, len, NULL, e);
}

static int get_secret(const struct plan *p, const void **pass, size_t *len, struct err *e)
{
	int rc = 0;

	if (p->crypt && !p->o.luks.key_secret) {
		rc = refuse(p, e, "encrypt.format=luks needs encrypt.key-secret=");
		err_hint(e, "add -object secret,id=sec0,file=PATH and encrypt.key-secret=sec0");
	} else if (p->crypt) {
		rc = secret_get(p->o.luks.key_secret, pass, len, e);
		if (rc)
			err_prefix(e, "%s: encrypt.", p->filename);
	}
	return rc;
}

static int write_image(struct plan *p, const void *pass, size_t len, struct err *e)
{
	uint64_t l1 = (1 + p->table + p->blocks) << p->cluster_bits;
	int rc = empty(p->file, l1 + ((p->l1 + p->crypt) << p->cluster_bits), e);

	if (rc)
		return rc;
	e->msg[0] = '\0';
	rc = write_refs(p);
	if (!rc)
		rc = blk_node_zero(p->file, l1, p->l1 << p->cluster_bits, BLK_UNMAP);
	if (!rc && p->crypt)
		rc = write_luks(p, pass, len, e);
	/* The header last: what is no image yet does not look like one. */
	if (!rc)
		rc = blk_node_flush(p->file);
	if (!rc)
		rc = write_header(p, e);
	if (!rc)
		rc = blk_node_flush(p->file);
	if (rc && !e->msg[0])
		err_set(e, ERR_INPUT, -rc, "cannot write '%s': %s", p->filename, strerror(-rc));
	return rc;
}

static int write_empty(struct plan *p, const struct blk_create *c, struct err *e)
{
	const void *pass = NULL;
	size_t len = 0;
	int rc = get_secret(p, &pass, &len, e);

	if (!rc)
		rc = open_files(p, c, e);
	if (rc)
		return rc;
	if (p->data) {
		rc = empty(p->data, p->size, e);
		if (rc)
			err_prefix(e, "data_file: ");
	}
	if (!rc)
		rc = write_image(p, pass, len, e);
	if (p->data)
		blk_node_close(p->data);
	blk_node_close(p->file);
	return rc;
}

/* --- preallocation --- */

struct fill {
	struct qcow2 *q;
	int how;
	uint64_t from; /* on the disk */
};

/* [co] The same of encrypted data: zeroes are not zero on the host. */
static int fill_encrypted(struct qcow2 *q, int how, uint64_t from)
{
	static const uint8_t zeroes[1 << 16] __attribute__((aligned(4096)));
	uint64_t size = q->node->size,
		 step = how == PREALLOC_FULL ? sizeof(zeroes) : q->cluster_size;
	struct qcow2_map m;
	int rc = 0;

	for (uint64_t off = from; !rc && how > PREALLOC_METADATA && off < size; off += step) {
		uint64_t n = size - off < step ? size - off : step;
		struct iovec iov = { .iov_base = (void *)(uintptr_t)zeroes, .iov_len = n };

		if (how == PREALLOC_FULL) {
			rc = qcow2_write(q, off, n, &iov, 1, 0);
			continue;
		}
		rc = qcow2_map_at(q, off, n, &m);
		if (!rc && m.host)
			rc = co_zero(q->data, m.host, q->cluster_size, 0);
	}
	return rc;
}

/* [co] Room on the host for what is mapped. */
static int fill_data(struct qcow2 *q, int how, uint64_t from)
{
	static const uint8_t zeroes[1 << 20] __attribute__((aligned(4096)));
	uint64_t size = q->node->size;
	struct qcow2_map m;
	int rc = 0;

	for (uint64_t off = from; !rc && off < size; off += m.len) {
		rc = qcow2_map_at(q, off, size - off, &m);
		if (rc || m.kind != QCOW2_K_DATA)
			continue;
		if (how == PREALLOC_FALLOC)
			rc = co_zero(q->data, m.host, m.len, 0);
		for (uint64_t at = 0; how == PREALLOC_FULL && !rc && at < m.len;
		     at += sizeof(zeroes)) {
			uint64_t n = m.len - at < sizeof(zeroes) ? m.len - at : sizeof(zeroes);

			rc = co_pwrite(q->data, m.host + at, zeroes, n, 0);
		}
	}
	return rc;
}

/* [co] */
static int preallocate(void *arg)
{
	struct fill *f = arg;
	struct qcow2 *q = f->q;
	int rc = qcow2_begin_write(q);

	if (!rc)
		rc = qcow2_map_preallocate(q, f->from, q->node->size - f->from);
	if (!rc)
		rc = q->crypt ? fill_encrypted(q, f->how, f->from) : fill_data(q, f->how, f->from);
	return rc ? rc : qcow2_write_back(q, true);
}

static int fill_image(const struct plan *p, const struct blk_create *c, struct err *e)
{
	struct blk_open how = { .locking = true };
	struct opts keys = { 0 };
	struct blk_node *file, *n;
	struct fill f;
	bool probed;
	int rc;

	if (p->o.preallocation == PREALLOC_OFF)
		return 0;
	if (c->how)
		how = *c->how;
	how.readonly = false;
	if (p->crypt && opts_add(&keys, "encrypt.key-secret", p->o.luks.key_secret))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = blk_open_protocol(p->filename, false, NULL, &how, &file, e);
	if (!rc)
		rc = blk_open_format(file, "qcow2", &keys, &how, &n, &probed, e);
	opts_free(&keys);
	if (rc)
		return rc;
	f = (struct fill){ .q = qcow2_of(n), .how = p->o.preallocation };
	rc = qcow2_run(f.q, preallocate, &f);
	blk_node_close(n);
	if (rc)
		err_set(e, ERR_INPUT, -rc, "'%s': preallocation=%s: %s", p->filename,
			prealloc_choices[p->o.preallocation], strerror(-rc));
	return rc;
}

int qcow2_preallocate(struct blk_node *n, uint64_t from, const char *mode, struct err *e)
{
	struct qcow2 *q = qcow2_of(n);
	struct fill f = { .q = q, .from = (from + q->cluster_size - 1) & ~(q->cluster_size - 1) };
	int rc;

	while (prealloc_choices[f.how] && strcmp(prealloc_choices[f.how], mode) != 0)
		f.how++;
	if (f.from >= n->size)
		return 0;
	rc = qcow2_run(q, preallocate, &f);
	return rc ? err_set(e, ERR_INPUT, -rc, "%s: preallocation=%s: %s", n->filename, mode,
			    strerror(-rc))
		  : 0;
}

int qcow2_create(const char *filename, const struct blk_create *c, struct err *e)
{
	struct plan p = { .filename = filename };
	struct err own;
	int rc;

	e = e ? e : &own;
	rc = plan(&p, c, e);
	if (!rc)
		rc = write_empty(&p, c, e);
	return rc ? rc : fill_image(&p, c, e);
}

int qcow2_measure(const struct blk_create *c, uint64_t data, uint64_t *required,
		  uint64_t *fully_allocated, struct err *e)
{
	struct plan p = { .filename = "measure" };
	uint64_t mask, clusters, tables, entries, meta;
	int rc = plan(&p, c, e);

	if (rc)
		return rc;
	mask = p.o.cluster_size - 1;
	clusters = (p.size + mask) >> p.cluster_bits;
	entries = p.o.cluster_size / (p.o.extended_l2 ? 16 : 8);
	tables = (clusters + entries - 1) / entries;
	if (p.o.preallocation == PREALLOC_FALLOC || p.o.preallocation == PREALLOC_FULL)
		data = p.size;
	data = p.o.data_file ? 0 : ((data + mask) & ~mask) >> p.cluster_bits;
	if (p.o.data_file)
		clusters = 0;
	count_refs(&p, 1 + p.l1 + p.crypt + tables + clusters);
	meta = 1 + p.l1 + p.crypt + tables + p.table + p.blocks;
	*required = (meta + (data < clusters ? data : clusters)) << p.cluster_bits;
	*fully_allocated = (meta + clusters) << p.cluster_bits;
	return 0;
}
