/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: giving options of an image other values (posada-img amend). What is asked for is
 * checked as a whole before anything is changed. Then each option is changed by steps after
 * each of which the image is whole: what the header will say is true before the
 * header says it, and each change of the header is within its first sector. Main thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "qcow2.h"

enum { COMPAT_V2, COMPAT_V3, COMPAT_CHOICES };
enum { SECTOR = 512 };

struct amend {
	/* the options; what was not given is as the image has it */
	int compat;
	char *backing_file, *backing_fmt, *data_file;
	bool data_file_raw, lazy;
	uint32_t refcount_bits;
	uint64_t size;
	struct luks_amend luks;

	bool crypt; /* one of encryption was given */
	struct qcow2 *q;
	const struct blk_amend *how;
	struct err *e;
};

static const char *const compat_choices[] = { "0.10", "1.1", "v2", "v3", NULL };

const struct prop qcow2_amend_props[] = {
	PROP(struct amend, backing_file, PROP_STR, "backing_file", NULL,
	     "image that shows where this one has nothing; its contents are not looked at"),
	PROP(struct amend, backing_fmt, PROP_STR, "backing_fmt", NULL, "its format"),
	PROP_CHOICE(struct amend, compat, "compat", NULL, compat_choices,
		    "version: 0.10 is 2, 1.1 is 3"),
	PROP(struct amend, data_file, PROP_STR, "data_file", NULL,
	     "name of the external data file, which the image has already"),
	PROP(struct amend, data_file_raw, PROP_BOOL, "data_file_raw", NULL,
	     "off: that file need not be a raw image any more"),
	LUKS_AMEND_PARAMS(struct amend, luks., "encrypt."),
	PROP(struct amend, lazy, PROP_BOOL, "lazy_refcounts", NULL,
	     "postpone refcount updates; repaired after a crash"),
	PROP(struct amend, refcount_bits, PROP_U32, "refcount_bits", NULL,
	     "width of refcounts: 1, 2, 4, 8, 16, 32, 64"),
	PROP(struct amend, size, PROP_SIZE, "size", NULL, "bytes of the disk"),
	PROP_END,
};

/* --- options --- */

static bool is_lazy(const struct qcow2 *q)
{
	return be64_to_cpu(q->hdr.compatible_features) & QCOW2_COMPAT_LAZY_REFCOUNTS;
}

static bool known(const struct prop *p, const char *key)
{
	while (p->name && strcmp(p->name, key) != 0)
		p++;
	return p->name;
}

static int check_keys(const struct opts *o, struct err *e)
{
	const char *names[64];
	size_t n = 0;

	for (const struct prop *p = qcow2_amend_props; p->name && n < ARRAY_SIZE(names); p++)
		names[n++] = p->name;
	for (size_t i = 0; i < o->n; i++) {
		const char *key = o->opt[i].key;

		if (known(qcow2_amend_props, key))
			continue;
		err_set(e, ERR_USAGE, EINVAL, "Invalid parameter '%s'", key);
		if (known(qcow2_create_props, key))
			err_hint(e, "This option is only supported for image creation");
		else
			err_suggest(e, key, names, n);
		return -EINVAL;
	}
	return 0;
}

static int take_options(struct amend *a, struct opts *o)
{
	const struct qcow2 *q = a->q;
	int rc = check_keys(o, a->e);

	props_defaults(qcow2_amend_props, a);
	a->compat = q->v3 ? COMPAT_V3 : COMPAT_V2;
	a->data_file_raw = q->data_raw;
	a->lazy = is_lazy(q);
	a->refcount_bits = 1u << q->ref_order;
	a->size = q->node->size;
	a->luks.keyslot = LUKS_SLOTS;
	a->luks.force = a->how->force;
	for (size_t i = 0; !rc && i < o->n; i++) {
		rc = props_set(qcow2_amend_props, a, o->opt[i].key, o->opt[i].val, a->e);
		o->opt[i].used = true;
		a->crypt |= !strncmp(o->opt[i].key, "encrypt.", 8);
	}
	a->compat %= COMPAT_CHOICES;
	return rc;
}

/* --- what cannot be --- */

static int refuse(const struct amend *a, const char *why, const char *hint)
{
	err_set(a->e, ERR_USAGE, EINVAL, "%s: %s", a->q->node->filename, why);
	if (hint)
		err_hint(a->e, "%s", hint);
	return -EINVAL;
}

static int check_v2_options(const struct amend *a)
{
	if (a->compat == COMPAT_V3)
		return 0;
	if (a->lazy && !is_lazy(a->q))
		return refuse(a,
			      "Lazy refcounts only supported with compatibility level 1.1 and "
			      "above (use compat=1.1 or greater)",
			      NULL);
	if (a->refcount_bits == 16)
		return 0;
	if (a->q->v3 && a->refcount_bits == 1u << a->q->ref_order)
		return refuse(a, "compat=0.10 requires refcount_bits=16", "add refcount_bits=16");
	return refuse(a,
		      "Refcount widths other than 16 bits require compatibility level 1.1 or above "
		      "(use compat=1.1 or greater)",
		      NULL);
}

/* Features that version 2 cannot have, and that cannot be taken away. */
static int check_downgrade(const struct amend *a)
{
	struct qcow2 *q = a->q;
	uint32_t len;

	if (!q->v3 || a->compat == COMPAT_V3)
		return 0;
	if (a->backing_file)
		return refuse(
			a,
			"compat=0.10 together with backing_file=: what is zero now could show "
			"the new file",
			"change one after the other");
	if (q->external)
		return refuse(a, "Cannot downgrade an image with a data file", NULL);
	if (q->ext_l2)
		return refuse(a,
			      "Cannot downgrade an image with incompatible features set: extended "
			      "L2 entries",
			      "convert it: posada-img convert -O qcow2 -o compat=0.10 OLD NEW");
	if (q->compression)
		return refuse(a,
			      "Cannot downgrade an image with incompatible features set: "
			      "compression type zstd",
			      "convert it: posada-img convert -O qcow2 -o compat=0.10 OLD NEW");
	if (qcow2_ext_find(q, QCOW2_EXT_BITMAPS, &len))
		return refuse(a, "Cannot downgrade an image with persistent bitmaps",
			      "remove them first");
	return 0;
}

static int check_options(const struct amend *a)
{
	const struct qcow2 *q = a->q;
	uint32_t bits = a->refcount_bits;
	int rc = check_v2_options(a);

	if (!rc)
		rc = check_downgrade(a);
	if (rc)
		return rc;
	if (!bits || bits > 64 || bits & (bits - 1))
		return refuse(a, "Refcount width must be a power of two and may not exceed 64 bits",
			      NULL);
	if (a->size % SECTOR)
		return refuse(a, "The new size must be a multiple of 512", NULL);
	if (a->data_file && !q->external)
		return refuse(a,
			      "data-file can only be set for images that use an external data file",
			      NULL);
	if (a->data_file_raw && !q->data_raw)
		return refuse(a, "data-file-raw cannot be set on existing images", NULL);
	if (a->backing_file && *a->backing_file && a->data_file_raw)
		return refuse(a,
			      "Backing file not supported with data_file_raw, whose file shows all",
			      NULL);
	if (a->backing_fmt && !(a->backing_file ? *a->backing_file : q->backing_name != NULL))
		return refuse(a, "backing_fmt= without a backing file", NULL);
	if (a->crypt && !q->crypt)
		return refuse(a, "Can't amend encryption options - encryption not present", NULL);
	return 0;
}

/* --- snapshots: their tables are not rewritten --- */

static int read_failed(const struct amend *a, const char *what, int rc)
{
	return err_set(a->e, ERR_INPUT, -rc, "%s: cannot read %s: %s", a->q->node->filename, what,
		       strerror(-rc));
}

/* [co] Whether an L2 table of a snapshot has clusters that only version 3 has. */
static int check_snapshot_table(const struct amend *a, uint64_t host, struct be64 *l2)
{
	struct qcow2 *q = a->q;
	int rc = co_pread(q->node->file, host, l2, q->cluster_size);

	if (rc)
		return read_failed(a, "a snapshot's L2 table", rc);
	for (uint64_t i = 0; i < q->l2_entries; i++) {
		uint64_t desc = be64_to_cpu(l2[i]);

		if (!(desc & QCOW2_COMPRESSED) && desc & QCOW2_ZERO)
			return refuse(a,
				      "Internal snapshots prevent downgrade of image: one has "
				      "clusters of zeroes, which version 2 does not know",
				      "delete the snapshots, or convert the image");
	}
	return 0;
}

/* [co] */
static int check_snapshot_l1(const struct amend *a, uint64_t host, uint64_t n)
{
	struct qcow2 *q = a->q;
	struct be64 *l1, *l2;
	int rc = 0;

	if (n > QCOW2_L1_MAX / 8)
		return refuse(a, "a snapshot's l1_size is more than 32 MiB", NULL);
	l1 = malloc(n * 8 + 8);
	l2 = malloc(q->cluster_size);
	if (!l1 || !l2)
		rc = err_set(a->e, ERR_HOST, ENOMEM, "out of memory");
	if (!rc && n && (rc = co_pread(q->node->file, host, l1, n * 8)))
		rc = read_failed(a, "a snapshot's L1 table", rc);
	for (uint64_t i = 0; !rc && i < n; i++) {
		uint64_t table = be64_to_cpu(l1[i]) & QCOW2_OFFSET_MASK;

		if (table)
			rc = check_snapshot_table(a, table, l2);
	}
	free(l1);
	free(l2);
	return rc;
}

/* [co] For version 2: the disk is as large as now, and the saved machine's size has 32 bits. */
static int check_snapshot_down(const struct amend *a, const struct qcow2_snapshot_entry *s,
			       const struct qcow2_snapshot_extra *x, uint32_t extra)
{
	if (extra >= 8 && be64_to_cpu(x->vm_state_size) > UINT32_MAX)
		return refuse(a,
			      "Internal snapshots prevent downgrade of image: a saved machine is "
			      "larger than 4 GiB",
			      "delete that snapshot");
	if (extra >= 16 && be64_to_cpu(x->disk_size) != a->size)
		return refuse(a,
			      "Internal snapshots prevent downgrade of image: one has another disk "
			      "size than the image",
			      "delete that snapshot");
	return check_snapshot_l1(a, be64_to_cpu(s->l1_offset), be32_to_cpu(s->l1_size));
}

/* [co] */
static int check_snapshots(const struct amend *a)
{
	struct qcow2 *q = a->q;
	uint64_t at = be64_to_cpu(q->hdr.snapshots_offset);
	int rc = 0;

	for (uint32_t i = 0; !rc && i < be32_to_cpu(q->hdr.nb_snapshots); i++) {
		struct qcow2_snapshot_entry s;
		struct qcow2_snapshot_extra x = { 0 };
		uint32_t extra;

		rc = co_pread(q->node->file, at, &s, sizeof(s));
		extra = rc ? 0 : be32_to_cpu(s.extra_size);
		if (!rc && extra)
			rc = co_pread(q->node->file, at + sizeof(s), &x,
				      extra < sizeof(x) ? extra : sizeof(x));
		if (rc)
			return read_failed(a, "the snapshot table", rc);
		if (a->compat == COMPAT_V2)
			rc = check_snapshot_down(a, &s, &x, extra);
		else if (extra < 16)
			rc = refuse(a,
				    "a snapshot does not say its disk's size, as version 3 wants",
				    "convert the image");
		at += sizeof(s) + (uint64_t)extra + be16_to_cpu(s.id_size) +
		      be16_to_cpu(s.name_size);
		at = (at + 7) & ~7ull;
	}
	return rc;
}

/* --- clusters of zeroes become data, or nothing where nothing shows --- */

/* [co] */
static int expand_cluster(struct qcow2 *q, uint64_t off)
{
	static const uint8_t zeroes[64 << 10] __attribute__((aligned(4096)));
	struct iovec iov[(2 << 20) / sizeof(zeroes)];
	unsigned n = 0;

	if (!qcow2_backed(q, off))
		return qcow2_map_set(q, off, 0, 0);
	for (uint64_t left = q->cluster_size; left; left -= iov[n++].iov_len)
		iov[n] = (struct iovec){ .iov_base = (void *)(uintptr_t)zeroes,
					 .iov_len = left < sizeof(zeroes) ? left : sizeof(zeroes) };
	return qcow2_write(q, off, q->cluster_size, iov, n, 0);
}

/* [co] Of one L2 table; what lies behind the disk's end, too. */
static int expand_table(struct qcow2 *q, uint64_t start)
{
	int rc = 0;

	for (uint64_t i = 0; !rc && i < q->l2_entries; i++) {
		uint64_t off = start + (i << q->cluster_bits), desc, bitmap;
		struct qcow2_table *t;

		rc = qcow2_l2_get(q, off, &t);
		if (rc || !t)
			return rc;
		qcow2_l2_read(q, t, (unsigned)(i & (q->slice_entries - 1)), &desc, &bitmap);
		rc = qcow2_check_desc(q, off, desc, bitmap);
		if (!rc && bitmap >> 32)
			rc = expand_cluster(q, off);
	}
	return rc;
}

/* [co] */
static int expand_zeroes(struct amend *a)
{
	struct qcow2 *q = a->q;
	int rc = 0;

	for (uint64_t i = 0; !rc && i < q->l1.n; i++) {
		if (qcow2_array_get(&q->l1, i)) {
			rc = expand_table(q, i * q->l2_entries << q->cluster_bits);
			if (!rc) /* so that little waits to be given back */
				rc = qcow2_write_back(q, false);
		}
		if (a->how->progress)
			a->how->progress(i + 1, q->l1.n);
	}
	return rc;
}

/* --- the version --- */

/* [co] The header anew; what it was when that fails, and then nothing more is written. */
static int switch_header(struct amend *a, const struct qcow2_header *was, uint32_t was_len)
{
	struct qcow2 *q = a->q;
	int rc = qcow2_rewrite_header(q);

	if (rc) {
		q->hdr = *was;
		q->hdr_len = was_len;
		q->writable = rc == -ENOSPC;
	}
	if (rc == -ENOSPC)
		return err_set(a->e, ERR_INPUT, ENOSPC,
			       "%s: the new header does not fit the first cluster",
			       q->node->filename);
	q->v3 = be32_to_cpu(q->hdr.version) == 3;
	return rc;
}

/* [co] */
static int upgrade(struct amend *a)
{
	struct qcow2 *q = a->q;
	struct qcow2_header was = q->hdr;
	uint32_t len = q->hdr_len;

	q->hdr.version = cpu_to_be32(3);
	q->hdr.header_length = cpu_to_be32(sizeof(q->hdr));
	q->hdr_len = sizeof(q->hdr);
	return switch_header(a, &was, len);
}

/* [co] */
static int downgrade(struct amend *a)
{
	struct qcow2 *q = a->q;
	struct qcow2_header was;
	uint32_t len = q->hdr_len;
	int rc = expand_zeroes(a);

	if (!rc)
		rc = qcow2_make_clean(q);
	if (!rc) /* names of features that are no more; and what is left is one sector */
		rc = qcow2_ext_set(q, QCOW2_EXT_FEATURE_NAMES, NULL, 0);
	if (rc)
		return rc;
	was = q->hdr;
	memset((char *)&q->hdr + QCOW2_V2_HEADER, 0, sizeof(q->hdr) - QCOW2_V2_HEADER);
	q->hdr.refcount_order = cpu_to_be32(4);
	q->hdr.version = cpu_to_be32(2);
	q->hdr_len = QCOW2_V2_HEADER;
	rc = switch_header(a, &was, len);
	if (!rc) {
		free(q->hdr_more);
		q->hdr_more = NULL;
	}
	return rc;
}

/* --- the rest --- */

/* [co] */
static int set_lazy(struct amend *a)
{
	struct qcow2 *q = a->q;
	uint64_t bits = be64_to_cpu(q->hdr.compatible_features);
	int rc = a->lazy ? 0 : qcow2_make_clean(q);

	if (rc)
		return rc;
	bits = a->lazy ? bits | QCOW2_COMPAT_LAZY_REFCOUNTS : bits & ~QCOW2_COMPAT_LAZY_REFCOUNTS;
	q->hdr.compatible_features = cpu_to_be64(bits);
	rc = qcow2_write_header(q, offsetof(struct qcow2_header, compatible_features),
				offsetof(struct qcow2_header, autoclear_features));
	if (rc)
		q->hdr.compatible_features = cpu_to_be64(bits ^ QCOW2_COMPAT_LAZY_REFCOUNTS);
	return rc;
}

/* [co] */
static int set_data_file(struct amend *a)
{
	struct qcow2 *q = a->q;
	uint64_t bits = be64_to_cpu(q->hdr.autoclear_features);
	int rc = 0;

	if (a->data_file)
		rc = qcow2_ext_set(q, QCOW2_EXT_DATA_FILE, *a->data_file ? a->data_file : NULL,
				   (uint32_t)strlen(a->data_file));
	if (rc || (!a->data_file && a->data_file_raw == q->data_raw))
		return rc;
	if (!a->data_file_raw)
		q->hdr.autoclear_features = cpu_to_be64(bits & ~QCOW2_AUTOCLEAR_DATA_FILE_RAW);
	rc = qcow2_rewrite_header(q);
	if (!rc)
		q->data_raw = a->data_file_raw;
	return rc;
}

static int set_backing(struct amend *a)
{
	struct qcow2 *q = a->q;
	const char *name = a->backing_file ? a->backing_file : q->backing_name;
	const char *format = a->backing_fmt ? a->backing_fmt : q->backing_format;
	char *copy = name && *name ? strdup(name) : NULL;
	char *fmt = format && *format ? strdup(format) : NULL;
	int rc = qcow2_set_backing(q->node, copy, fmt, a->e);

	free(copy);
	free(fmt);
	return rc;
}

/* [co] Version 3 before what needs it, version 2 after what it cannot have is gone. */
static int change(void *arg)
{
	struct amend *a = arg;
	struct qcow2 *q = a->q;
	uint32_t order = (uint32_t)__builtin_ctz(a->refcount_bits);
	bool up = a->compat == COMPAT_V3 && !q->v3, down = a->compat == COMPAT_V2 && q->v3;
	int rc = up || down ? check_snapshots(a) : 0;

	if (!rc)
		rc = qcow2_begin_write(q);
	if (!rc && up)
		rc = upgrade(a);
	if (!rc && a->crypt)
		rc = qcow2_crypt_amend(q, &a->luks, a->e);
	if (!rc && order != q->ref_order)
		rc = qcow2_set_refcount_order(q, order, a->how->progress, a->e);
	if (!rc)
		rc = set_data_file(a);
	if (!rc && (a->backing_file || a->backing_fmt))
		rc = set_backing(a);
	if (!rc && q->v3 && a->lazy != is_lazy(q) && !down)
		rc = set_lazy(a);
	if (!rc && a->size != q->node->size)
		rc = qcow2_truncate(q->node, a->size, a->e);
	if (!rc && down)
		rc = downgrade(a);
	return rc;
}

int qcow2_amend(struct blk_node *n, struct opts *o, const struct blk_amend *how, struct err *e)
{
	struct amend a = { .q = n->p, .how = how, .e = e };
	struct err own;
	int rc;

	a.e = e ? e : &own;
	*a.e = (struct err){ 0 };
	rc = take_options(&a, o);
	if (!rc)
		rc = check_options(&a);
	if (!rc && !a.q->writable)
		rc = err_set(a.e, ERR_INPUT, EROFS, "%s cannot be written", n->filename);
	if (!rc)
		rc = qcow2_run(a.q, change, &a);
	if (rc && !a.e->msg[0])
		err_set(a.e, ERR_INPUT, -rc, "%s: cannot change it: %s", n->filename,
			strerror(-rc));
	props_free(qcow2_amend_props, &a);
	return rc;
}
