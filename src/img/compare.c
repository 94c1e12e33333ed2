/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img compare. Exit status: 0 identical, 1 not, 2 to 4 could not find out. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../block/co_io.h"
#include "co.h"
#include "img.h"

enum { SAME = 0, DIFFERENT = 1, CANNOT_OPEN = 2, CANNOT_TELL = 3, CANNOT_READ = 4 };
enum { WORKERS = 4 };

struct compare {
	struct blk_node *node[2];
	uint64_t size; /* of the longer one */
	bool strict, quiet;
	struct co_lock lock;
	uint64_t next; /* compared or being compared before that */
	/* the lowest place that is not alike, and what to say */
	uint64_t at;
	int status;
	bool by_status; /* -s: allocated in one, not in the other */
};

/* A place that differs. What lies behind it need not be looked at. */
static void found(struct compare *c, uint64_t at, int status)
{
	if (at >= c->at)
		return;
	c->at = at;
	c->status = status;
}

struct piece {
	uint64_t off, len;
	bool zero[2];
};

/* What node i has at off; behind its end are zeroes. */
static int status(struct compare *c, int i, uint64_t off, uint64_t *len, bool *zero, bool *alloc)
{
	struct blk_node *n = c->node[i];
	struct img_status s = { .flags = BLK_ZERO };
	int rc;

	*alloc = false;
	if (off < n->size) {
		if (*len > n->size - off)
			*len = n->size - off;
		rc = img_status(n, NULL, off, *len, &s);
		if (rc)
			return rc;
		*len = s.bytes;
		*alloc = s.flags & BLK_ALLOCATED;
	}
	*zero = s.flags & BLK_ZERO;
	return 0;
}

/* The next piece that may differ: 1 when nothing is left. Under the lock, for it may wait. */
static int take(struct compare *c, struct piece *p)
{
	bool alloc[2];
	int rc;

	while (c->next < c->size && c->next < c->at) {
		p->off = c->next;
		p->len = c->size - c->next;
		for (int i = 0; i < 2; i++) {
			rc = status(c, i, p->off, &p->len, &p->zero[i], &alloc[i]);
			if (rc) {
				img_fail("%s: cannot find out what is at offset %" PRIu64 ": %s",
					 c->node[i]->filename, p->off, strerror(-rc));
				found(c, p->off, CANNOT_TELL);
				return 1;
			}
		}
		if (c->strict && alloc[0] != alloc[1]) {
			c->by_status = true;
			found(c, p->off, DIFFERENT);
			return 1;
		}
		if (!p->zero[0] || !p->zero[1]) {
			if (p->len > IMG_PIECE)
				p->len = IMG_PIECE;
			c->next += p->len;
			return 0;
		}
		c->next += p->len;
		img_progress(c->next, c->size);
	}
	return 1;
}

static int read_into(struct compare *c, int i, const struct piece *p, char *buf)
{
	int rc = co_pread(c->node[i], p->off, buf, p->len);

	if (!rc)
		return 0;
	img_fail("Error while reading offset %" PRIu64 " of %s: %s", p->off, c->node[i]->filename,
		 strerror(-rc));
	found(c, p->off, CANNOT_READ);
	return rc;
}

/* The first byte (in blocks of 512) that differs, or len. */
static uint64_t first_difference(const char *a, const char *b, uint64_t len)
{
	uint64_t off = 0;

	while (off < len) {
		uint64_t n = len - off < 512 ? len - off : 512;

		if (b ? memcmp(a + off, b + off, n) != 0 : !img_is_zero(a + off, n))
			return off;
		off += n;
	}
	return len;
}

static void compare(struct compare *c, const struct piece *p, char *bufs[2])
{
	const char *a = p->zero[0] ? bufs[1] : bufs[0];
	const char *b = p->zero[0] || p->zero[1] ? NULL : bufs[1];
	uint64_t at;

	for (int i = 0; i < 2; i++)
		if (!p->zero[i] && read_into(c, i, p, bufs[i]))
			return;
	if (b && !memcmp(a, b, p->len))
		return;
	at = first_difference(a, b, p->len);
	if (at < p->len)
		found(c, p->off + at, DIFFERENT);
}

static int step(struct img_work *w, void *ctx)
{
	struct compare *c = ctx;
	struct piece p;
	char *bufs[2];
	int rc;

	co_lock(&c->lock);
	rc = take(c, &p);
	co_unlock(&c->lock);
	if (rc)
		return rc;
	bufs[0] = img_buffer();
	bufs[1] = img_buffer();
	if (bufs[0] && bufs[1])
		compare(c, &p, bufs);
	else
		rc = -ENOMEM;
	img_buffer_done(bufs[0]);
	img_buffer_done(bufs[1]);
	img_progress(c->next, c->size);
	return rc;
}

static void report(const struct compare *c)
{
	uint64_t a = c->node[0]->size, b = c->node[1]->size;

	if (c->quiet || c->status > DIFFERENT)
		return;
	/* What differs before the shorter one ends is worse. */
	if (a != b && c->at >= (a < b ? a : b))
		printf("Warning: Image size mismatch!\n");
	if (c->status == SAME)
		printf("Images are identical.\n");
	else if (c->by_status)
		printf("Strict mode: Offset %" PRIu64 " block status mismatch!\n", c->at);
	else
		printf("Content mismatch at offset %" PRIu64 "!\n", c->at);
}

static int run(struct compare *c, bool progress)
{
	uint64_t a = c->node[0]->size, b = c->node[1]->size;
	struct img_work w = { .node = { c->node[0], c->node[1] },
			      .n_nodes = 2,
			      .n = WORKERS,
			      .step = step,
			      .ctx = c };
	struct err e;

	c->size = a > b ? a : b;
	c->at = UINT64_MAX;
	if (a != b && c->strict) {
		if (!c->quiet)
			printf("Strict mode: Image size mismatch!\n");
		return DIFFERENT;
	}
	img_progress_begin(progress && !c->quiet);
	if (img_work(&w, &e)) {
		img_error(&e);
		return CANNOT_TELL;
	}
	if (c->status == SAME && progress && !c->quiet)
		img_progress(c->size, c->size);
	report(c);
	img_progress_end(false);
	return c->status;
}

int img_compare(int argc, char **argv)
{
	struct img_how how = { .look = true };
	struct compare c = { .status = SAME };
	const char *format2 = NULL;
	bool progress = false;
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &how.format },
		{ 'F', NULL, IMG_TEXT, &format2 },
		{ 0, "image-opts", IMG_FLAG, &how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &how.share },
		{ 'T', NULL, IMG_TEXT, &how.cache },
		{ 'p', NULL, IMG_FLAG, &progress },
		{ 'q', "quiet", IMG_FLAG, &c.quiet },
		{ 's', NULL, IMG_FLAG, &c.strict },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	int status_ = CANNOT_OPEN;

	if (i < 0)
		return DIFFERENT;
	if (argc - i != 2)
		return img_misuse("Expecting two image file names");
	if (img_check_cache(how.cache))
		return CANNOT_OPEN;
	if (img_open(argv[i], &how, &c.node[0]))
		return CANNOT_OPEN;
	how.format = format2;
	if (!img_open(argv[i + 1], &how, &c.node[1])) {
		status_ = run(&c, progress);
		blk_node_close(c.node[1]);
	}
	blk_node_close(c.node[0]);
	return status_;
}
