/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * posada-img rebase: gives an image another backing file. In the safe mode what the
 * image shows stays as it is: where old and new backing file differ, the old one's data
 * are written into the image first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../block/co_io.h"
#include "co.h"
#include "img.h"

enum { WORKERS = 4 };

struct rebase {
	struct img_how how, from;
	struct opts keys; /* of the old backing file */
	const char *backing, *backing_format;
	bool unsafe, progress, quiet;

	struct blk_node *n; /* without its backing file */
	struct blk_node *old, *new; /* backing files; NULL: none */
	uint64_t cluster;
	unsigned flags;
	struct co_lock lock;
	uint64_t next;
};

/* --- the safe mode --- */

/* Bytes of a backing file; behind its end are zeroes. */
static int read_backing(struct blk_node *b, uint64_t off, char *buf, uint64_t len)
{
	uint64_t have = b && off < b->size ? b->size - off : 0;

	if (have > len)
		have = len;
	memset(buf + have, 0, len - have);
	return have ? co_pread(b, off, buf, have) : 0;
}

/* The next part that the image does not have itself; whole clusters as far as it goes. */
static int take(struct rebase *r, uint64_t *off, uint64_t *len)
{
	unsigned flags;
	int rc;

	while (r->next < r->n->size) {
		*off = r->next;
		rc = blk_node_status(r->n, *off, r->n->size - *off, len, &flags);
		if (rc)
			return rc;
		if (!(flags & BLK_ALLOCATED) && *len > IMG_PIECE - *off % IMG_PIECE)
			*len = IMG_PIECE - *off % IMG_PIECE;
		r->next += *len;
		if (!(flags & BLK_ALLOCATED))
			return 0;
	}
	return 1;
}

static int write_run(struct rebase *r, uint64_t off, const char *data, uint64_t len)
{
	if (img_is_zero(data, len))
		return co_zero(r->n, off, len, r->flags);
	return co_pwrite(r->n, off, data, len, r->flags);
}

/* Cluster by cluster, so that no more than needed is copied. */
static int keep_differing(struct rebase *r, uint64_t off, uint64_t len, const char *old,
			  const char *new)
{
	uint64_t part;
	int rc = 0;

	for (uint64_t at = 0; !rc && at < len; at += part) {
		part = r->cluster - (off + at) % r->cluster;
		if (part > len - at)
			part = len - at;
		if (memcmp(old + at, new + at, part) != 0)
			rc = write_run(r, off + at, old + at, part);
	}
	return rc;
}

static int step(struct img_work *w, void *ctx)
{
	struct rebase *r = ctx;
	char *old, *new;
	uint64_t off, len;
	int rc;

	co_lock(&r->lock);
	rc = take(r, &off, &len);
	co_unlock(&r->lock);
	if (rc)
		return rc;
	old = img_buffer();
	new = img_buffer();
	rc = old && new ? read_backing(r->old, off, old, len) : -ENOMEM;
	if (!rc)
		rc = read_backing(r->new, off, new, len);
	if (!rc)
		rc = keep_differing(r, off, len, old, new);
	img_buffer_done(old);
	img_buffer_done(new);
	img_progress(r->next, r->n->size);
	return rc;
}

static int merge(struct rebase *r)
{
	const struct blk_image_ops *ops = r->n->drv->image;
	struct img_work w = {
		.node = { r->n }, .n_nodes = 1, .n = WORKERS, .step = step, .ctx = r
	};
	struct err e;
	int rc;

	r->cluster = ops->cluster_size ? ops->cluster_size(r->n) : 65536;
	if (r->old)
		w.node[w.n_nodes++] = r->old;
	if (r->new)
		w.node[w.n_nodes++] = r->new;
	rc = img_work(&w, &e);
	if (!rc)
		rc = blk_node_flush(r->n);
	return rc ? img_fail("error while rebasing '%s': %s", r->n->filename, strerror(-rc)) : 0;
}

/* --- both modes --- */

static int open_backing(struct rebase *r, const char *what, const char *name, const char *format,
			struct opts *keys, struct blk_node **out)
{
	char *path = img_backing_path(r->n->filename, name);
	int rc;

	if (!path)
		return img_fail("out of memory");
	if (img_same_file(path, r->n->filename))
		rc = img_fail("the %s backing file '%s' is the image itself", what, name);
	else
		rc = img_open_backing(r->n, name, format, &r->from, keys, out) ? 1 : 0;
	free(path);
	return rc;
}

/* An image may not be behind itself. */
static int check_loop(const struct rebase *r)
{
	for (const struct blk_node *b = r->new; b; b = b->backing)
		if (img_same_file(b->filename, r->n->filename))
			return img_fail("'%s' has '%s' behind it", r->backing, r->n->filename);
	return 0;
}

static int safe(struct rebase *r)
{
	const char *format, *old = img_backing_name(r->n, &format);
	struct opts none = { 0 };

	r->from.key_hint = IMG_BACKING_KEY_HINT;
	if (old && open_backing(r, "old", old, format, &r->keys, &r->old))
		return 1;
	r->from.key_hint =
		"add --object secret,id=sec1,file=PATH, and give the new backing file as -b "
		"'json:{\"driver\":\"qcow2\",\"encrypt.key-secret\":\"sec1\","
		"\"file.filename\":\"NAME\"}'";
	if (*r->backing && open_backing(r, "new", r->backing, r->backing_format, &none, &r->new))
		return 1;
	return check_loop(r) || merge(r);
}

static int set(struct rebase *r)
{
	const char *name = r->backing && *r->backing ? r->backing : NULL;
	struct err e;
	int rc;

	rc = r->n->drv->image->set_backing(r->n, name, name ? r->backing_format : NULL, &e);
	if (!rc)
		return 0;
	err_prefix(&e, "Could not change the backing file to '%s': ", name ? name : "");
	return img_error(&e);
}

static int rebase(struct rebase *r)
{
	int rc = 0;

	if (!r->n->drv->image || !r->n->drv->image->set_backing)
		return img_fail("'%s': images of format %s have no backing file", r->n->filename,
				r->n->drv->name);
	if (r->backing_format && !blk_driver_find(r->backing_format))
		return img_fail("Invalid format name: '%s'", r->backing_format);
	if (r->backing && *r->backing && !r->backing_format)
		return img_fail("Could not change the backing file to '%s': backing format must be "
				"specified",
				r->backing);
	img_progress_begin(r->progress && !r->quiet);
	if (!r->unsafe)
		rc = safe(r);
	if (!rc)
		rc = set(r);
	img_progress_end(!rc);
	return rc;
}

int img_rebase(int argc, char **argv)
{
	struct rebase r = { .how = { .write = true, .no_backing = true },
			    .from = { .look = true } };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &r.how.format },
		{ 0, "image-opts", IMG_FLAG, &r.how.image_opts },
		{ 't', NULL, IMG_TEXT, &r.how.cache },
		{ 'T', NULL, IMG_TEXT, &r.from.cache },
		{ 'U', "force-share", IMG_FLAG, &r.from.share },
		{ 'b', NULL, IMG_TEXT, &r.backing },
		{ 'F', NULL, IMG_TEXT, &r.backing_format },
		{ 'u', NULL, IMG_FLAG, &r.unsafe },
		{ 'p', NULL, IMG_FLAG, &r.progress },
		{ 'q', "quiet", IMG_FLAG, &r.quiet },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	int rc;

	if (i < 0 || img_check_cache(r.how.cache) || img_check_cache(r.from.cache))
		return 1;
	if (argc - i != 1)
		return img_misuse("Expecting one image file name");
	if (!r.unsafe && !r.backing)
		return img_misuse("Must specify backing file (-b) or use unsafe mode (-u)");
	r.flags = img_writethrough(r.how.cache) ? BLK_FUA : 0;
	if (img_open(argv[i], &r.how, &r.n))
		return 1;
	rc = img_backing_keys(argv[i], &r.how, &r.keys) ? 1 : rebase(&r);
	opts_free(&r.keys);
	if (r.old)
		blk_node_close(r.old);
	if (r.new)
		blk_node_close(r.new);
	return img_close(r.n) ? 1 : rc;
}
