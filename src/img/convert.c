/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * posada-img convert: one or more disks, one behind the other, into a new image.
 *
 * Several coroutines take pieces of the disk in order; each reads its piece,
 * looks for zeroes, and writes. Writes begin in the order of the disk (not with
 * -W), so that formats that allocate lay it out so, but they need not end in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../block/co_io.h"
#include "../block/internal.h"
#include "co.h"
#include "img.h"
#include "loop.h"
#include "props.h"
#include "snapshots.h"

enum { SOURCES = 60, RUNS = IMG_PIECE / 512, SPARSE = 4096 };

struct source {
	struct blk_node *n;
	const struct blk_node *base; /* what this layer and those below have is the target's backing
					file's, too; or NULL */
	uint64_t start; /* on the disk that is made */
	int fd; /* for copy_file_range, or -1 */
};

struct convert {
	struct img_how from, to;
	struct opts o;
	const char *format, *backing, *backing_format, *snapshot, *workers, *sparse_text,
		*rate_text;
	bool target_opts, target_is_zero, offload, compress, progress, quiet, keep, out_of_order,
		salvage, bitmaps;
	uint64_t sparse, rate;
	const char *output;

	struct source src[SOURCES];
	unsigned n_src;
	uint64_t total;
	struct blk_node *dst;
	int dst_fd;
	uint64_t unit; /* zeroes are looked for in pieces of so many bytes */
	bool zeroed; /* what is not written reads as zeroes */
	bool backed; /* ... or as the backing file */
	unsigned write_flags;

	/* under way */
	struct co_lock lock; /* of what take() uses */
	unsigned at_src;
	uint64_t next; /* pieces before that have been taken */
	struct img_status now; /* what lies there, for now.bytes */
	uint64_t done;
	uint64_t taken, turn; /* numbers of pieces: the next, the one that may begin to write */
	struct co_queue waiting; /* for their turn */
	uint64_t begun_ns;
};

enum kind { READ, ZEROES };

struct piece {
	struct source *s;
	uint64_t off, len; /* on the new disk */
	uint64_t number;
	enum kind kind;
	char *buf;
};

/* --- what comes next --- */

/* Nothing need be done about it. */
static bool skip(const struct convert *c)
{
	if (!(c->now.flags & (BLK_ALLOCATED | BLK_ZERO | BLK_DATA)) && c->backed)
		return true;
	return (c->now.flags & BLK_ZERO) && c->zeroed && c->sparse;
}

static int look(struct convert *c, struct source *s)
{
	uint64_t off = c->next - s->start;
	int rc;

	rc = img_status(s->n, s->base, off, s->n->size - off, &c->now);
	if (rc)
		img_fail("error while reading block status at offset %" PRIu64 " of %s: %s", off,
			 s->n->filename, strerror(-rc));
	return rc;
}

/* Where a piece that begins at off must end: whole units, and not in the next buffer. */
static uint64_t piece_end(const struct convert *c, uint64_t off)
{
	uint64_t most = c->compress ? c->unit : IMG_PIECE;

	return (off / most + 1) * most;
}

/*
 * Where the rest of a unit is something else than its beginning, both are
 * read as one: a compressed cluster is written once.
 */
static void whole_unit(struct convert *c, const struct source *s)
{
	uint64_t end = c->next + c->now.bytes;
	uint64_t unit_end = (c->next / c->unit + 1) * c->unit;
	uint64_t src_end = s->start + s->n->size;

	if (unit_end > src_end)
		unit_end = src_end;
	if (end >= unit_end || !c->compress)
		return;
	c->now.bytes = unit_end - c->next;
	c->now.flags = BLK_DATA | BLK_ALLOCATED;
}

static int take(struct convert *c, struct piece *p)
{
	while (c->next < c->total) {
		struct source *s = &c->src[c->at_src];
		int rc;

		if (c->next == s->start + s->n->size) {
			c->at_src++;
			continue;
		}
		if (!c->now.bytes) {
			rc = look(c, s);
			if (rc)
				return rc;
			whole_unit(c, s);
		}
		p->s = s;
		p->off = c->next;
		p->len = c->now.bytes;
		if (!skip(c)) {
			p->kind = c->now.flags & BLK_ZERO ? ZEROES : READ;
			if ((p->kind == READ || !c->sparse) &&
			    p->len > piece_end(c, p->off) - p->off)
				p->len = piece_end(c, p->off) - p->off;
			p->number = c->taken++;
		}
		c->next += p->len;
		c->now.bytes -= p->len;
		if (!skip(c))
			return 0;
		c->done += p->len;
	}
	return 1;
}

/* --- reading --- */

/* Piece by piece: what cannot be read becomes zeroes. */
static void salvage(struct convert *c, const struct piece *p)
{
	uint64_t off = p->off - p->s->start;

	for (uint64_t at = 0; at < p->len; at += 512) {
		uint64_t len = p->len - at < 512 ? p->len - at : 512;
		int rc = co_pread(p->s->n, off + at, p->buf + at, len);

		if (!rc)
			continue;
		memset(p->buf + at, 0, len);
		if (!c->quiet)
			img_warn("error while reading offset %" PRIu64 ": %s", off + at,
				 strerror(-rc));
	}
}

static int read_piece(struct convert *c, const struct piece *p)
{
	uint64_t off = p->off - p->s->start;
	int rc = co_pread(p->s->n, off, p->buf, p->len);

	if (!rc)
		return 0;
	if (c->salvage) {
		salvage(c, p);
		return 0;
	}
	img_fail("error while reading at byte %" PRIu64 " of %s: %s", off, p->s->n->filename,
		 strerror(-rc));
	return rc;
}

/* --- writing --- */

/* A write of a run of units that are all data or all zeroes. */
struct run {
	struct blk_io io;
	struct iovec iov;
	struct writing *w;
};

struct writing {
	struct run *run;
	unsigned n, left;
	int ret;
	struct co *co; /* sleeps until left is 0 */
};

static void on_written(struct blk_io *io, int ret)
{
	struct writing *w = container_of(io, struct run, io)->w;

	if (ret && !w->ret)
		w->ret = ret;
	if (!--w->left && w->co)
		co_enter(w->co);
}

static void add_run(struct convert *c, struct writing *w, const struct piece *p, uint64_t at,
		    uint64_t len, bool zero)
{
	struct run *r;

	if (zero && c->zeroed)
		return;
	r = &w->run[w->n++];
	r->iov = (struct iovec){ .iov_base = zero ? NULL : p->buf + at, .iov_len = len };
	r->io = (struct blk_io){ .op = zero ? BLK_WRITE_ZEROES : BLK_WRITE,
				 .flags = c->write_flags | (zero ? BLK_UNMAP : 0),
				 .off = p->off + at,
				 .len = len,
				 .iov = zero ? NULL : &r->iov,
				 .n_iov = zero ? 0 : 1,
				 .done = on_written };
	if (zero)
		r->io.flags &= ~(unsigned)BLK_COMPRESSED;
	r->w = w;
}

static void find_runs(struct convert *c, struct writing *w, const struct piece *p)
{
	uint64_t begun = 0, at = 0, len;
	bool zero = false;

	for (; at < p->len; at += len) {
		bool z;

		len = c->unit - (p->off + at) % c->unit;
		if (len > p->len - at)
			len = p->len - at;
		z = c->sparse && img_is_zero(p->buf + at, len);
		if (at && z != zero) {
			add_run(c, w, p, begun, at - begun, zero);
			begun = at;
		}
		zero = z;
	}
	add_run(c, w, p, begun, p->len - begun, zero);
}

static void wait_turn(struct convert *c, const struct piece *p)
{
	while (!c->out_of_order && c->turn != p->number)
		co_queue_wait(&c->waiting);
}

static void pass_turn(struct convert *c)
{
	c->turn++;
	co_queue_wake_all(&c->waiting);
}

/* The turn goes on as soon as all writes are on their way. */
static int write_runs(struct convert *c, struct writing *w, const struct piece *p)
{
	w->left = w->n;
	wait_turn(c, p);
	for (unsigned i = 0; i < w->n; i++)
		blk_node_submit(c->dst, &w->run[i].io);
	pass_turn(c);
	w->co = co_self();
	while (w->left)
		co_yield ();
	if (w->ret)
		img_fail("error while writing at byte %" PRIu64 " of %s: %s", p->off,
			 c->dst->filename, strerror(-w->ret));
	return w->ret;
}

static int copy(struct convert *c, struct piece *p)
{
	struct writing w = { .n = 0 };
	int rc = 0;

	w.run = malloc((p->len / c->unit + 2) * sizeof(*w.run));
	p->buf = img_buffer();
	if (!w.run || !p->buf) {
		rc = -ENOMEM;
		pass_turn(c);
	} else if (p->kind == READ) {
		rc = read_piece(c, p);
		if (rc)
			pass_turn(c);
	} else {
		memset(p->buf, 0, p->len);
	}
	if (!rc) {
		find_runs(c, &w, p);
		rc = write_runs(c, &w, p);
	}
	free(w.run);
	img_buffer_done(p->buf);
	return rc;
}

static int write_zeroes(struct convert *c, const struct piece *p)
{
	struct writing w = { .n = 0 };
	struct run r;

	w.run = &r;
	add_run(c, &w, p, 0, p->len, true);
	return write_runs(c, &w, p);
}

/* --- by the kernel --- */

/* 0, or -EOPNOTSUPP: not this way. */
static int offload(struct convert *c, const struct piece *p)
{
	loff_t in = (loff_t)(p->off - p->s->start), out = (loff_t)p->off;
	uint64_t left = p->len;

	while (left) {
		ssize_t n = copy_file_range(p->s->fd, &in, c->dst_fd, &out, left, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EOPNOTSUPP;
		left -= (uint64_t)n;
	}
	return 0;
}

static int raw_fd(const struct blk_node *n, int flags)
{
	uint64_t at;

	if (strcmp(n->drv->name, "raw") || strcmp(n->file->drv->name, "file") ||
	    !n->drv->place((struct blk_node *)(uintptr_t)n, 0, &at) || at)
		return -1;
	return open(n->file->filename, flags | O_CLOEXEC);
}

/* --- the work --- */

static void limit_rate(struct convert *c)
{
	uint64_t due;
	struct timespec ts;

	if (!c->rate)
		return;
	due = c->begun_ns + (uint64_t)((unsigned __int128)c->done * 1000000000 / c->rate);
	ts = (struct timespec){ .tv_sec = (time_t)(due / 1000000000),
				.tv_nsec = (long)(due % 1000000000) };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static int step(struct img_work *w, void *ctx)
{
	struct convert *c = ctx;
	struct piece p;
	int rc;

	co_lock(&c->lock);
	rc = take(c, &p);
	co_unlock(&c->lock);
	if (rc)
		return rc;
	if (p.kind == ZEROES && c->sparse) {
		rc = write_zeroes(c, &p);
	} else if (p.kind == READ && c->dst_fd >= 0 && p.s->fd >= 0 && !offload(c, &p)) {
		wait_turn(c, &p);
		pass_turn(c);
	} else {
		rc = copy(c, &p);
	}
	c->done += p.len;
	img_progress(c->done, c->total);
	limit_rate(c);
	return rc;
}

static int run(struct convert *c, unsigned workers)
{
	struct img_work w = { .n = workers, .step = step, .ctx = c };
	struct err e;
	int rc;

	for (unsigned i = 0; i < c->n_src; i++)
		w.node[w.n_nodes++] = c->src[i].n;
	w.node[w.n_nodes++] = c->dst;
	c->begun_ns = loop_now_ns();
	img_progress_begin(c->progress && !c->quiet);
	rc = img_work(&w, &e);
	if (rc == -ENOMEM)
		img_error(&e);
	img_progress_end(!rc);
	return rc ? 1 : 0;
}

/* --- setting up --- */

/* Which layer of the source the new backing file stands for. */
static const struct blk_node *find_base(const struct blk_node *n, const char *backing)
{
	for (const struct blk_node *b = n->backing; b; b = b->backing)
		if (img_same_file(b->filename, backing))
			return b;
	return n->backing;
}

static int open_sources(struct convert *c, char **names, int n)
{
	if (n > SOURCES)
		return img_fail("more than %d input images", SOURCES);
	if (c->snapshot && n > 1)
		return img_fail("No support for concatenating multiple snapshot");
	for (int i = 0; i < n; i++) {
		struct source *s = &c->src[i];

		s->fd = -1;
		if (!c->from.image_opts && img_same_file(names[i], c->output))
			return img_fail("'%s' is both input and output", names[i]);
		if (img_open(names[i], &c->from, &s->n))
			return 1;
		c->n_src++;
		if (c->snapshot && img_load_snapshot(s->n, c->snapshot))
			return 1;
		s->start = c->total;
		c->total += s->n->size;
		if (c->offload)
			s->fd = raw_fd(s->n, O_RDONLY);
	}
	return 0;
}

static bool can_compress(const struct blk_driver *drv)
{
	const struct prop *p = drv->image ? drv->image->create_props : NULL;

	for (; p && p->name; p++)
		if (!strcmp(p->name, "compression_type"))
			return true;
	return false;
}

static int add(struct opts *o, const char *key, const char *val)
{
	return val && opts_add(o, key, val) ? img_fail("out of memory") : 0;
}

static int make_target(struct convert *c, const struct blk_driver *drv)
{
	struct img_new new = { .drv = NULL };
	const char *prealloc;
	char buf[64];
	int rc = 1;

	if (add(&c->o, "backing_file", c->backing) || add(&c->o, "backing_fmt", c->backing_format))
		return 1;
	if (!img_new_init(&new, drv, &c->o)) {
		prealloc = img_new_get(&new, "preallocation", buf);
		new.c.size = c->total;
		c->backed = new.backing;
		c->zeroed = !c->backed;
		if (new.backing && !drv->image->backing_name)
			img_fail("Backing file not supported for file format '%s'", drv->name);
		else if (new.backing && !new.backing_format)
			img_fail("Use of backing file requires explicit backing format");
		else if (c->compress && prealloc && strcmp(prealloc, "off") != 0)
			img_fail("Compression and preallocation not supported at the same time");
		else
			rc = img_new_make(&new, c->output);
	}
	img_new_free(&new);
	return rc ? 1 : 0;
}

static int open_target(struct convert *c, const struct blk_driver *drv)
{
	const struct blk_node *bottom;

	c->to.write = true;
	c->to.format = c->target_opts ? NULL : drv->name;
	c->to.image_opts = c->target_opts;
	if (!c->to.cache)
		c->to.cache = "unsafe";
	if (img_open(c->output, &c->to, &c->dst))
		return 1;
	if (c->dst->size < c->total)
		return img_fail("output file is smaller than input file");
	for (bottom = c->dst; bottom->file; bottom = bottom->file)
		;
	if (c->keep)
		c->zeroed = c->target_is_zero;
	else if (strcmp(bottom->drv->name, "file") != 0)
		c->zeroed = false; /* a device holds what it held */
	if (c->offload)
		c->dst_fd = raw_fd(c->dst, O_WRONLY);
	return 0;
}

static void set_units(struct convert *c)
{
	const struct blk_image_ops *ops = c->dst->drv->image;
	uint64_t cluster = ops && ops->cluster_size ? ops->cluster_size(c->dst) : 0;

	c->unit = c->sparse ? c->sparse : SPARSE;
	/* Part of a cluster takes all of it. */
	if (c->unit < cluster)
		c->unit = cluster < IMG_PIECE ? cluster : IMG_PIECE;
	if (c->compress)
		c->unit = cluster ? cluster : c->unit;
	if (c->unit > IMG_PIECE && !c->compress)
		c->unit = IMG_PIECE;
	c->write_flags =
		(c->compress ? BLK_COMPRESSED : 0) | (img_writethrough(c->to.cache) ? BLK_FUA : 0);
}

static int convert(struct convert *c, char **names, int n, unsigned workers)
{
	const struct blk_driver *drv = NULL;

	if (!c->target_opts && !(drv = img_format(c->format)))
		return 1;
	if (drv && c->compress && !can_compress(drv))
		return img_fail("Compression not supported for this file format");
	if (open_sources(c, names, n))
		return 1;
	if (!c->keep && make_target(c, drv))
		return 1;
	if (open_target(c, drv))
		return 1;
	for (unsigned i = 0; i < c->n_src; i++)
		if (c->backed && c->backing)
			c->src[i].base = find_base(c->src[i].n, c->backing);
	set_units(c);
	return run(c, workers);
}

static void finish(struct convert *c, int *rc)
{
	if (c->dst && img_close(c->dst))
		*rc = 1;
	for (unsigned i = 0; i < c->n_src; i++) {
		if (c->src[i].fd >= 0)
			close(c->src[i].fd);
		blk_node_close(c->src[i].n);
	}
	if (c->dst_fd >= 0)
		close(c->dst_fd);
	opts_free(&c->o);
}

/* --- the command line --- */

static int take_sparse(struct convert *c)
{
	if (!c->sparse_text)
		return 0;
	if (!parse_size(c->sparse_text, 1, &c->sparse, NULL) && c->sparse % 512 == 0 &&
	    c->sparse <= 16 << 20)
		return 0;
	return img_fail("Invalid buffer size for sparse output specified. Valid sizes are "
			"multiples of 512 up to %d. Select 0 to disable sparse detection (fully "
			"allocates output).",
			16 << 20);
}

static int take_workers(const struct convert *c, unsigned *n)
{
	uint64_t v = 8;

	if (c->workers && (parse_u64(c->workers, &v, NULL) || !v || v > 16))
		return img_fail("Invalid number of coroutines. Allowed number of coroutines is "
				"between 1 and 16");
	*n = (unsigned)v;
	return 0;
}

static int check(const struct convert *c)
{
	if (c->offload && c->sparse_text)
		return img_fail("Cannot enable copy offloading when -S is used");
	if (c->offload && c->compress)
		return img_fail("Cannot enable copy offloading when -c is used");
	if (c->target_opts && !c->keep)
		return img_fail("--target-image-opts requires use of -n flag");
	if (c->target_is_zero && !c->keep)
		return img_fail("--target-is-zero requires use of -n flag");
	if (c->bitmaps)
		return img_fail("--bitmaps: copying bitmaps is not supported");
	if (c->keep && c->o.n)
		img_warn("-o has no effect when skipping image creation");
	return img_check_cache(c->from.cache) || img_check_cache(c->to.cache);
}

int img_convert(int argc, char **argv)
{
	struct convert c = { .format = "raw", .sparse = SPARSE, .dst_fd = -1 };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &c.from.format },
		{ 0, "image-opts", IMG_FLAG, &c.from.image_opts },
		{ 'U', "force-share", IMG_FLAG, &c.from.share },
		{ 'T', NULL, IMG_TEXT, &c.from.cache },
		{ 't', NULL, IMG_TEXT, &c.to.cache },
		{ 'O', NULL, IMG_TEXT, &c.format },
		{ 'o', NULL, IMG_LIST, &c.o },
		{ 'B', NULL, IMG_TEXT, &c.backing },
		{ 'F', NULL, IMG_TEXT, &c.backing_format },
		{ 'l', NULL, IMG_TEXT, &c.snapshot },
		{ 'm', NULL, IMG_TEXT, &c.workers },
		{ 'S', NULL, IMG_TEXT, &c.sparse_text },
		{ 'r', NULL, IMG_TEXT, &c.rate_text },
		{ 'C', NULL, IMG_FLAG, &c.offload },
		{ 'c', NULL, IMG_FLAG, &c.compress },
		{ 'n', NULL, IMG_FLAG, &c.keep },
		{ 'p', NULL, IMG_FLAG, &c.progress },
		{ 'q', "quiet", IMG_FLAG, &c.quiet },
		{ 'W', NULL, IMG_FLAG, &c.out_of_order },
		{ 0, "salvage", IMG_FLAG, &c.salvage },
		{ 0, "bitmaps", IMG_FLAG, &c.bitmaps },
		{ 0, "target-image-opts", IMG_FLAG, &c.target_opts },
		{ 0, "target-is-zero", IMG_FLAG, &c.target_is_zero },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	unsigned workers = 8;
	int rc = 1;

	if (i < 0 || take_workers(&c, &workers) || take_sparse(&c) ||
	    (c.rate_text && img_size("rate limit", c.rate_text, &c.rate)) || check(&c)) {
		rc = 1;
	} else if (img_wants_help(&c.o)) {
		const struct blk_driver *drv = img_format(c.format);

		rc = !drv;
		if (drv)
			img_options_help(drv, true);
	} else if (argc - i < 2) {
		img_fail("Must specify image file name");
	} else {
		c.output = argv[argc - 1];
		rc = convert(&c, argv + i, argc - i - 1, workers);
	}
	finish(&c, &rc);
	return rc;
}
