/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img bench: requests one behind the other, many at once, and how long they take. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../block/internal.h"
#include "img.h"
#include "loop.h"

struct slot {
	struct blk_io io;
	struct bench *b;
	struct iovec iov;
};

struct bench {
	struct img_how how;
	uint64_t count, depth, size, step, offset, pattern, flush_interval;
	bool write, quiet, native, no_drain, writethrough;
	/* running */
	struct blk_node *n;
	struct loop *loop;
	struct slot *slots, **unused;
	unsigned n_unused;
	struct blk_io flush;
	uint64_t left; /* to be submitted */
	uint64_t in_flight;
	uint64_t since_flush; /* requests */
	bool flushing;
	int ret;
	struct loop_defer more;
};

static void submit_more(void *ctx);

static void on_done(struct blk_io *io, int ret)
{
	struct slot *s = container_of(io, struct slot, io);
	struct bench *b = s->b;

	if (ret && !b->ret)
		b->ret = ret;
	b->unused[b->n_unused++] = s;
	b->in_flight--;
	loop_defer(b->loop, &b->more);
}

static void on_flushed(struct blk_io *io, int ret)
{
	struct bench *b = container_of(io, struct bench, flush);

	if (ret && !b->ret)
		b->ret = ret;
	b->flushing = false;
	b->in_flight--;
	loop_defer(b->loop, &b->more);
}

static void flush(struct bench *b)
{
	b->flush = (struct blk_io){ .op = BLK_FLUSH, .done = on_flushed };
	b->flushing = true;
	b->in_flight++;
	blk_node_submit(b->n, &b->flush);
}

static void submit(struct bench *b)
{
	struct slot *s = b->unused[--b->n_unused];

	s->io = (struct blk_io){ .op = b->write ? BLK_WRITE : BLK_READ,
				 .flags = b->writethrough ? BLK_FUA : 0,
				 .off = b->offset,
				 .len = b->size,
				 .iov = &s->iov,
				 .n_iov = 1,
				 .done = on_done };
	/* Back to the beginning at the end of the disk, aligned as before. */
	b->offset += b->step;
	if (b->offset > b->n->size - b->size)
		b->offset %= b->step;
	if (b->offset > b->n->size - b->size)
		b->offset = 0;
	b->left--;
	b->since_flush++;
	b->in_flight++;
	blk_node_submit(b->n, &s->io);
}

/* Requests before a flush end first, unless --no-drain. False: nothing more for now. */
static bool flush_if_due(struct bench *b)
{
	if (b->flushing && !b->no_drain)
		return false;
	if (!b->flush_interval || b->since_flush < b->flush_interval)
		return true;
	if (b->flushing || (b->in_flight && !b->no_drain))
		return false;
	b->since_flush = 0;
	flush(b);
	return b->no_drain;
}

static void submit_more(void *ctx)
{
	struct bench *b = ctx;

	while (!b->ret && b->left && b->n_unused && flush_if_due(b))
		submit(b);
	if (!b->in_flight && (b->ret || !b->left))
		loop_quit(b->loop);
}

static int run(struct bench *b)
{
	uint64_t t;
	struct err e;
	double secs;

	b->more.cb = submit_more;
	b->more.ctx = b;
	b->left = b->count;
	if (blk_node_attach(b->n, b->loop, &e))
		return img_error(&e);
	t = loop_now_ns();
	loop_defer(b->loop, &b->more);
	loop_run(b->loop);
	secs = (double)(loop_now_ns() - t) / 1e9;
	blk_node_detach(b->n);
	if (b->ret)
		return img_fail("Failed request: %s", strerror(-b->ret));
	printf("Run completed in %3.3f seconds.\n", secs);
	return 0;
}

static int buffers(struct bench *b)
{
	uint64_t size = (b->size + 4095) & ~4095ull;

	b->slots = calloc(b->depth, sizeof(*b->slots));
	b->unused = calloc(b->depth, sizeof(*b->unused));
	if (!b->slots || !b->unused)
		return img_fail("out of memory");
	for (uint64_t i = 0; i < b->depth; i++) {
		struct slot *s = &b->slots[i];

		s->b = b;
		s->iov.iov_len = b->size;
		s->iov.iov_base = aligned_alloc(4096, size ? size : 4096);
		if (!s->iov.iov_base)
			return img_fail("out of memory");
		memset(s->iov.iov_base, (int)b->pattern, size);
		b->unused[b->n_unused++] = s;
	}
	return 0;
}

static int check(const struct bench *b)
{
	if (b->flush_interval && !b->write)
		return img_fail("--flush-interval is only available in write tests");
	if (b->flush_interval && b->flush_interval < b->depth)
		return img_fail("Flush interval can't be smaller than depth");
	return 0;
}

static int take_aio(struct bench *b, const char *name)
{
	static const char *const names[] = { "threads", "native", "io_uring" };
	struct err e;

	if (b->native)
		b->how.aio = BLK_AIO_NATIVE;
	for (int i = 0; name && i < 3; i++) {
		if (!strcmp(names[i], name)) {
			b->how.aio = BLK_AIO_THREADS + i;
			return 0;
		}
	}
	if (!name)
		return 0;
	err_set(&e, ERR_USAGE, EINVAL, "Invalid aio option: %s", name);
	err_suggest(&e, name, names, 3);
	return img_error(&e);
}

static int bench(struct bench *b, const char *name)
{
	struct err e;
	int rc;

	b->how.write = b->write;
	b->how.look = !b->write;
	if (img_open(name, &b->how, &b->n))
		return 1;
	b->loop = img_loop(&e);
	if (!b->loop) {
		rc = img_error(&e);
	} else if (b->size > b->n->size) {
		rc = img_fail("The image has only %" PRIu64 " bytes", b->n->size);
	} else {
		printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
		       " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
		       b->count, b->write ? "write" : "read", b->size, b->depth, b->offset,
		       b->step);
		if (b->flush_interval)
			printf("Sending flush every %" PRIu64 " requests\n", b->flush_interval);
		rc = buffers(b);
		if (!rc)
			rc = run(b);
	}
	for (uint64_t i = 0; b->slots && i < b->depth; i++)
		free(b->slots[i].iov.iov_base);
	free(b->slots);
	free(b->unused);
	return img_close(b->n) ? 1 : rc;
}

struct texts {
	const char *count, *depth, *size, *step, *offset, *pattern, *flush, *aio;
};

static int numbers(struct bench *b, const struct texts *t)
{
	if ((t->count && img_number("request count", t->count, 0, INT32_MAX, &b->count)) ||
	    (t->depth && img_number("queue depth", t->depth, 1, INT32_MAX, &b->depth)) ||
	    (t->size && img_number("buffer size", t->size, 1, INT32_MAX, &b->size)) ||
	    (t->step && img_number("step_size", t->step, 0, INT32_MAX, &b->step)) ||
	    (t->offset && img_size("offset", t->offset, &b->offset)) ||
	    (t->pattern && img_number("pattern byte", t->pattern, 0, 255, &b->pattern)) ||
	    (t->flush && img_number("flush interval", t->flush, 0, INT32_MAX, &b->flush_interval)))
		return 1;
	if (!b->step)
		b->step = b->size;
	return take_aio(b, t->aio) || check(b) || img_check_cache(b->how.cache);
}

int img_bench(int argc, char **argv)
{
	struct bench b = { .count = 75000, .depth = 64, .size = 4096 };
	struct texts t = { NULL };
	const struct img_opt opts[] = {
		{ 'c', NULL, IMG_TEXT, &t.count },
		{ 'd', NULL, IMG_TEXT, &t.depth },
		{ 'f', "format", IMG_TEXT, &b.how.format },
		{ 0, "image-opts", IMG_FLAG, &b.how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &b.how.share },
		{ 'i', NULL, IMG_TEXT, &t.aio },
		{ 'n', NULL, IMG_FLAG, &b.native },
		{ 'o', NULL, IMG_TEXT, &t.offset },
		{ 'q', "quiet", IMG_FLAG, &b.quiet },
		{ 's', NULL, IMG_TEXT, &t.size },
		{ 'S', NULL, IMG_TEXT, &t.step },
		{ 't', NULL, IMG_TEXT, &b.how.cache },
		{ 'w', NULL, IMG_FLAG, &b.write },
		{ 0, "pattern", IMG_TEXT, &t.pattern },
		{ 0, "flush-interval", IMG_TEXT, &t.flush },
		{ 0, "no-drain", IMG_FLAG, &b.no_drain },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);

	if (i < 0)
		return 1;
	if (argc - i != 1)
		return img_misuse("Expecting one image file name");
	if (numbers(&b, &t))
		return 1;
	b.writethrough = img_writethrough(b.how.cache);
	return bench(&b, argv[i]);
}
