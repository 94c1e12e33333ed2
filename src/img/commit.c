/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * posada-img commit: what an image has of its own goes to a file behind it.
 *
 * The base is opened for writing with what is behind it; the layers above each by
 * itself, for they could not be locked twice, and only data of their own are wanted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../block/co_io.h"
#include "../block/internal.h"
#include "co.h"
#include "img.h"
#include "loop.h"

enum { LAYERS = 50, WORKERS = 8 };

struct commit {
	struct img_how how;
	const char *base_name;
	bool keep, progress, quiet;
	bool base_probed; /* the format of the base is recorded nowhere */

	struct blk_node *layer[LAYERS]; /* [0]: the image */
	unsigned n; /* without the base */
	struct blk_node *base;
	unsigned flags;
	struct co_lock lock;
	uint64_t next, size;
	uint64_t rate, begun_ns, done; /* bytes a second, 0: any; when it began; bytes copied */
};

/* --- copying --- */

/* The topmost layer that decides at off, or NULL; *len: for how far. */
static int who(struct commit *c, uint64_t off, uint64_t *len, struct blk_node **n, unsigned *flags)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct blk_node *l = c->layer[i];
		uint64_t bytes = *len;
		int rc;

		*n = l;
		if (off >= l->size) {
			/* Longer layers above see zeroes here, whatever is below. */
			*flags = BLK_ZERO | BLK_ALLOCATED;
			return 0;
		}
		if (bytes > l->size - off)
			bytes = l->size - off;
		rc = blk_node_status(l, off, bytes, len, flags);
		if (rc || (*flags & BLK_ALLOCATED))
			return rc;
	}
	*n = NULL;
	return 0;
}

static int take(struct commit *c, uint64_t *off, uint64_t *len, struct blk_node **n, bool *zero)
{
	unsigned flags;
	int rc;

	while (c->next < c->size) {
		*off = c->next;
		*len = c->size - c->next;
		rc = who(c, *off, len, n, &flags);
		if (rc)
			return rc;
		*zero = flags & BLK_ZERO;
		if (*n && !*zero && *len > IMG_PIECE)
			*len = IMG_PIECE;
		c->next += *len;
		if (*n)
			return 0;
	}
	return 1;
}

static int step(struct img_work *w, void *ctx)
{
	struct commit *c = ctx;
	struct blk_node *n;
	uint64_t off, len;
	bool zero;
	char *buf;
	int rc;

	co_lock(&c->lock);
	rc = take(c, &off, &len, &n, &zero);
	co_unlock(&c->lock);
	if (rc)
		return rc;
	img_progress(off, c->size);
	if (zero) {
		rc = co_zero(c->base, off, len, c->flags | BLK_UNMAP);
	} else {
		buf = img_buffer();
		rc = buf ? co_pread(n, off, buf, len) : -ENOMEM;
		if (!rc)
			rc = co_pwrite(c->base, off, buf, len, c->flags);
		img_buffer_done(buf);
		c->done += len;
	}
	img_limit_rate(c->rate, c->begun_ns, c->done);
	return rc;
}

/* Of a base whose format is recorded nowhere: no layer may turn it into another. */
static int check_format(struct commit *c, struct err *e)
{
	int rc = 0;

	if (!c->base_probed || strcmp(c->base->drv->name, "raw") != 0)
		return 0;
	for (unsigned i = 0; !rc && i < c->n; i++)
		rc = blk_check_commit(c->layer[i], c->base, e);
	return rc;
}

static int copy(struct commit *c)
{
	struct img_work w = { .n = WORKERS, .step = step, .ctx = c };
	struct err e;
	int rc;

	c->size = c->layer[0]->size;
	if (check_format(c, &e))
		return img_error(&e);
	if (c->size > c->base->size && blk_node_truncate(c->base, c->size, &e))
		return img_error(&e);
	for (unsigned i = 0; i < c->n; i++)
		w.node[w.n_nodes++] = c->layer[i];
	w.node[w.n_nodes++] = c->base;
	c->begun_ns = loop_now_ns();
	img_progress_begin(c->progress && !c->quiet);
	rc = img_work(&w, &e);
	if (!rc)
		rc = blk_node_flush(c->base);
	img_progress_end(!rc);
	return rc ? img_fail("Could not commit to '%s': %s", c->base->filename, strerror(-rc)) : 0;
}

/* --- the chain --- */

static bool is_base(const struct commit *c, const char *name, const char *path)
{
	return !c->base_name || !strcmp(c->base_name, name) || !strcmp(c->base_name, path);
}

/* Opens what is behind the lowest layer; keys are of that, and then of what is behind it. */
static int open_next(struct commit *c, struct opts *keys, bool *last)
{
	const struct blk_node *above = c->layer[c->n - 1];
	const char *format, *backing = img_backing_name(above, &format);
	struct img_how how = c->how;
	struct opts below;
	char *path;
	int rc;

	if (!backing && c->n == 1)
		return img_fail("Image does not have a backing file");
	if (!backing)
		return img_fail("Did not find '%s' in the backing chain of '%s'", c->base_name,
				c->layer[0]->filename);
	path = img_backing_path(above->filename, backing);
	if (!path)
		return img_fail("out of memory");
	*last = is_base(c, backing, path);
	how.write = *last;
	how.no_backing = !*last;
	how.image_opts = false;
	how.key_hint = IMG_BACKING_KEY_HINT;
	c->base_probed = !format;
	if (c->n == LAYERS)
		rc = img_fail("more than %d images behind '%s'", LAYERS, c->layer[0]->filename);
	else if (img_open_backing(above, backing, format, &how, keys,
				  *last ? &c->base : &c->layer[c->n]))
		rc = 1;
	else
		rc = 0;
	how.keys = keys;
	if (!rc && !*last) {
		c->n++;
		rc = img_backing_keys(path, &how, &below) ? 1 : 0;
		opts_free(keys);
		*keys = below;
	}
	free(path);
	return rc;
}

/* Opens layers down to the base. */
static int open_chain(struct commit *c, const char *name)
{
	struct opts keys;
	bool last = false;
	int rc;

	if (img_open(name, &c->how, &c->layer[0]))
		return 1;
	c->n = 1;
	rc = img_backing_keys(name, &c->how, &keys) ? 1 : 0;
	while (!rc && !last)
		rc = open_next(c, &keys, &last);
	opts_free(&keys);
	return rc;
}

/* What is in the backing file now need not be here, too. */
static int empty(struct commit *c)
{
	struct blk_node *top = c->layer[0];
	struct err e;

	if (c->keep || c->n > 1 || !top->drv->image || !top->drv->image->make_empty)
		return 0;
	return top->drv->image->make_empty(top, &e) ? img_error(&e) : 0;
}

int img_commit(int argc, char **argv)
{
	struct commit c = { .how = { .no_backing = true, .write = true } };
	const char *rate = NULL;
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &c.how.format },
		{ 0, "image-opts", IMG_FLAG, &c.how.image_opts },
		{ 't', NULL, IMG_TEXT, &c.how.cache },
		{ 'b', NULL, IMG_TEXT, &c.base_name },
		{ 'd', NULL, IMG_FLAG, &c.keep },
		{ 'p', NULL, IMG_FLAG, &c.progress },
		{ 'q', "quiet", IMG_FLAG, &c.quiet },
		{ 'r', NULL, IMG_TEXT, &rate },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	int rc;

	if (i < 0 || img_check_cache(c.how.cache) ||
	    (rate && img_size("rate limit", rate, &c.rate)))
		return 1;
	if (argc - i != 1)
		return img_misuse("Expecting one image file name");
	c.flags = img_writethrough(c.how.cache) ? BLK_FUA : 0;
	rc = open_chain(&c, argv[i]);
	if (!rc)
		rc = copy(&c);
	if (!rc)
		rc = empty(&c);
	if (img_close(c.base))
		rc = 1;
	while (c.n--)
		if (img_close(c.layer[c.n]))
			rc = 1;
	if (!rc && !c.quiet)
		printf("Image committed.\n");
	return rc;
}
