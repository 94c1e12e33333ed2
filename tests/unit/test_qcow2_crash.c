/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 when the power goes. Random requests, several at a time, run on an image in memory
 * whose host answers in any order; each write, flush and change of size that reaches the
 * file is written down. Then, for each moment of that, the file is made anew as a cut at that
 * moment may have left it (qcow2_cuts.h): what no finished flush has made sure is there or not,
 * sector by sector. Each of these files must open, have no error that check finds (leaks
 * are fine), and show for each sector of the disk what was flushed, or something that was
 * written there later, and nothing else.
 *
 * QCOW2_SEED makes other histories, QCOW2_CUTS takes each cut so many times.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "suite.h"
#include "../../src/block/qcow2.h"
#include "block_int.h"
#include "err.h"
#include "crash_disk.h"
#include "opts.h"
#include "props.h"
#include "qcow2_cuts.h"
#include "ram_disk.h"

enum { SLOTS = 8, LENGTH_MOST = 160, SNAPSHOTS = 8, CUTS_WANTED = 10000 };

struct workload {
	const char *name, *options;
	uint64_t size; /* of the disk, in the end */
	uint64_t start; /* at first; 0: size */
	uint64_t backing; /* bytes behind it */
	unsigned requests; /* between two steps */
	unsigned steps; /* rounds of requests, then the next thing of steps' */
	bool dense; /* all in a few clusters: much is freed and used again */
	bool packed; /* many compressed writes */
	bool snapshots;
	bool moves_l1, moves_reftable; /* what must have happened in the end */
};

static const struct workload workloads[] = {
	{ "allocate", "cluster_size=64K", 4 << 20, .requests = 90, .steps = 1 },
	{ "small clusters", "cluster_size=512", 1 << 20, .requests = 90, .steps = 1 },
	{ "version 2", "cluster_size=4K,compat=0.10", 1 << 20, .requests = 90, .steps = 1 },
	{ "copy on write", "cluster_size=16K", 2 << 20, .backing = 3 << 19, .requests = 90,
	  .steps = 1 },
	{ "copy on write, version 2", "cluster_size=4K,compat=0.10", 1 << 20, .backing = 1 << 20,
	  .requests = 90, .steps = 1 },
	{ "reuse", "cluster_size=4K", 256 << 10, .requests = 130, .steps = 1, .dense = true },
	{ "reuse over a backing file", "cluster_size=1K,refcount_bits=1", 256 << 10,
	  .backing = 200 << 10, .requests = 130, .steps = 1, .dense = true },
	{ "subclusters", "cluster_size=16K,extended_l2=on", 1 << 20, .requests = 110, .steps = 1 },
	{ "subclusters, copy on write", "cluster_size=32K,extended_l2=on", 1 << 20,
	  .backing = 900 << 10, .requests = 110, .steps = 1, .dense = true },
	{ "compressed", "cluster_size=4K", 512 << 10, .requests = 110, .steps = 1, .packed = true,
	  .dense = true },
	{ "compressed, zstd", "cluster_size=8K,compression_type=zstd,refcount_bits=8", 512 << 10,
	  .backing = 100 << 10, .requests = 110, .steps = 1, .packed = true },
	{ "lazy", "cluster_size=4K,lazy_refcounts=on", 1 << 20, .requests = 90, .steps = 1 },
	{ "lazy, reuse", "cluster_size=2K,lazy_refcounts=on", 256 << 10, .backing = 256 << 10,
	  .requests = 130, .steps = 1, .dense = true },
	{ "L1 grows", "cluster_size=512", 1 << 20, .start = 64 << 10, .requests = 25, .steps = 5,
	  .moves_l1 = true },
	{ "size changes", "cluster_size=4K,extended_l2=off", 512 << 10, .start = 128 << 10,
	  .backing = 500 << 10, .requests = 25, .steps = 6 },
	{ "refcount table grows", "cluster_size=512,refcount_bits=64", 3 << 20, .requests = 140,
	  .steps = 1, .moves_reftable = true },
	{ "external data", "cluster_size=4K,data_file=DIR/data", 1 << 20, .requests = 90,
	  .steps = 1 },
	{ "external raw data", "cluster_size=16K,data_file=DIR/data,data_file_raw=on", 1 << 20,
	  .requests = 90, .steps = 1 },
	{ "snapshots", "cluster_size=4K", 256 << 10, .requests = 20, .steps = 8,
	  .snapshots = true },
	{ "snapshots over a backing file", "cluster_size=1K,refcount_bits=4", 128 << 10,
	  .backing = 100 << 10, .requests = 20, .steps = 8, .snapshots = true, .dense = true },
	{ "snapshots of subclusters", "cluster_size=16K,extended_l2=on", 512 << 10, .requests = 20,
	  .steps = 8, .snapshots = true },
	{ "snapshots of compressed data", "cluster_size=4K,refcount_bits=32", 256 << 10,
	  .requests = 20, .steps = 8, .snapshots = true, .packed = true },
	{ "snapshots, lazy", "cluster_size=4K,lazy_refcounts=on", 256 << 10, .requests = 20,
	  .steps = 8, .snapshots = true },
};
enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]) };

static const struct workload *work;
static struct err e;
static char dir[64], image[96], base_name[96], data_name[96];
static bool have_tool;
static unsigned *total; /* shared: each test is a process */

/* --- chance --- */

static unsigned seed;

static unsigned rnd(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (unsigned)(((uint64_t)(seed >> 4) * below) >> 28);
}

/* What becomes of a sector that may or may not have been written. */
static enum { COIN, WHOLE, LOST, KEPT, FEW, MOST, FATES } fate;
static unsigned fate_of_all;

static unsigned written(unsigned below)
{
	switch (fate) {
	case WHOLE: /* of a request all or nothing */
		return (cuts_at * 2654435761u ^ fate_of_all) >> 13 & 1;
	case LOST:
		return 0;
	case KEPT:
		return 1;
	case FEW:
		return !rnd(8);
	case MOST:
		return !!rnd(8);
	default:
		return rnd(2);
	}
}

/* --- what else there is beside the disk's contents ------------------------------ */

/* The disk's size: in effect when done, perhaps before. */
static struct {
	uint64_t size;
	unsigned sent, done;
} sizes[16];
static unsigned n_sizes;

static struct snapshot {
	char name[8];
	uint32_t *values;
	uint64_t size;
	unsigned made_sent, made, gone_sent, gone; /* moments; 0: not */
} snapshots[SNAPSHOTS];
static unsigned n_snapshots;

/* --- images ------------------------------------------------------------------------------ */

static struct ram_file file, data_file, backing_file;

static const struct blk_image_ops *ops(void)
{
	return blk_driver_find("qcow2")->image;
}

static void create(void)
{
	struct blk_create c = { .size = work->start ? work->start : work->size,
				.backing = work->backing ? "base" : NULL,
				.backing_format = "raw" };
	void *o = calloc(1, ops()->create_size);
	struct opts opts;
	int rc;

	ck_assert_ptr_nonnull(o);
	ck_assert_int_eq(opts_parse(&opts, work->options, NULL, &e), 0);
	for (size_t i = 0; i < opts.n; i++) {
		if (strncmp(opts.opt[i].val, "DIR/", 4))
			continue;
		free(opts.opt[i].val);
		opts.opt[i].val = strdup(data_name);
	}
	props_defaults(ops()->create_props, o);
	rc = props_apply(ops()->create_props, o, &opts, &e);
	ck_assert_msg(!rc, "%s", e.msg);
	c.opts = o;
	rc = ops()->create(image, &c, &e);
	ck_assert_msg(!rc, "%s", e.msg);
	props_free(ops()->create_props, o);
	opts_free(&opts);
	free(o);
}

static bool lazy(void)
{
	return strstr(work->options, "lazy");
}

static bool external(void)
{
	return strstr(work->options, "data_file=");
}

/*
 * Opens f with data d. The external data file that the image names is opened by the driver, and
 * then is replaced by what is in memory, as is the backing file.
 */
static struct blk_node *open_image(struct ram_file *f, struct ram_file *d, bool readonly,
				   bool record)
{
	struct blk_open how = { .readonly = readonly, .discard = true, .no_backing = true };
	struct blk_node *n = ram_node(f, readonly), *below;
	struct opts none = { 0 };
	int rc, err = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

	if (record)
		n = cuts_above_nr(n, 0);
	if (lazy()) /* each time it would say that it was repaired */
		dup2(null, STDERR_FILENO);
	rc = blk_node_open(blk_driver_find("qcow2"), &none, &how, n, &n, &e);
	dup2(err, STDERR_FILENO);
	close(err);
	close(null);
	ck_assert_msg(!rc, "%s: %s", work->name, e.msg);
	if (work->backing) {
		n->backing = ram_node(&backing_file, true);
		n->backing->parent = n;
	}
	if (external()) {
		blk_node_close(qcow2_of(n)->data);
		below = ram_node(d, readonly);
		qcow2_of(n)->data = record ? cuts_above_nr(below, 1) : below;
	}
	return n;
}

/* --- the requests ------------------------------------------------------------------------- */

static struct blk_node *node;
static unsigned left, busy;

static struct slot {
	struct blk_io io; /* first */
	struct iovec iov;
	unsigned act; /* in acts or flushes; of a read, when it was sent */
	bool busy;
} slots[SLOTS];

/* What was answered before the read began, or anything that was sent since. */
static void same_read(const struct slot *s)
{
	uint64_t first = s->io.off / SECTOR;

	for (uint64_t i = 0; i < s->io.len / SECTOR; i++)
		if (!may_be((uint8_t *)s->iov.iov_base + i * SECTOR, first + i, cuts_now, s->act,
			    0))
			ck_abort_msg("%s: a read of sector %" PRIu64 ", sent at %u", work->name,
				     first + i, s->act);
}

static void on_done(struct blk_io *io, int ret)
{
	struct slot *s = (struct slot *)io;

	ck_assert_msg(!ret, "%s: op %d at %#" PRIx64 ": %s", work->name, io->op, io->off,
		      strerror(-ret));
	if (io->op == BLK_READ)
		same_read(s);
	else if (io->op == BLK_FLUSH)
		flushes[s->act].done = ++cuts_now;
	else
		acts[s->act].done = ++cuts_now;
	s->busy = false;
	busy--;
}

static bool taken(uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].busy && slots[i].io.op != BLK_FLUSH && slots[i].io.op != BLK_READ &&
		    off < slots[i].io.off + slots[i].io.len && slots[i].io.off < off + len)
			return true;
	return false;
}

static uint64_t cluster(void)
{
	return ops()->cluster_size(node);
}

/* A place that no other request touches; false: none was found. */
static bool place(struct blk_io *io)
{
	uint64_t most = rnd(3) ? 16 : LENGTH_MOST, room = node->size;

	if (work->moves_reftable)
		most = LENGTH_MOST;
	if (work->dense && rnd(4) && room > 16 * cluster())
		room = 16 * cluster();
	for (unsigned i = 0; i < 20; i++) {
		io->len = SECTOR * (1 + (uint64_t)rnd((unsigned)most));
		io->off = SECTOR * (uint64_t)rnd((unsigned)(room / SECTOR));
		if (io->op == BLK_DISCARD || io->flags & BLK_COMPRESSED) {
			io->off = io->off / cluster() * cluster();
			io->len = cluster() * (io->op == BLK_DISCARD ? 1 + rnd(4) : 1);
		}
		if (io->len > node->size - io->off)
			io->len = node->size - io->off;
		if (io->len <= LENGTH_MOST * SECTOR &&
		    (io->op == BLK_READ || !taken(io->off, io->len)))
			return true;
	}
	return false;
}

static enum blk_op pick(unsigned *flags)
{
	unsigned n = rnd(100);

	*flags = 0;
	if (n < 8)
		return BLK_FLUSH;
	if (n >= (work->dense ? 85u : 93u))
		return BLK_READ;
	if (n < (work->dense ? 26u : 16u))
		return work->backing && strstr(work->options, "0.10") ? BLK_FLUSH : BLK_DISCARD;
	if (n < (work->dense ? 40u : 26u)) {
		*flags = rnd(2) ? BLK_UNMAP : 0;
		return BLK_WRITE_ZEROES;
	}
	if (n < (work->packed ? 70u : 44u) && !external())
		*flags = work->packed || n < 42 ? BLK_COMPRESSED : BLK_FUA;
	return BLK_WRITE;
}

static void submit(struct slot *s)
{
	uint64_t first = s->io.off / SECTOR, end = first + s->io.len / SECTOR;
	uint32_t value = s->io.op == BLK_WRITE ? FIRST_WRITE + n_acts : ZERO;

	if (s->io.op == BLK_FLUSH)
		s->act = add_flush();
	else if (s->io.op == BLK_READ)
		s->act = ++cuts_now;
	else
		s->act = add_act(first, end, value, NULL);
	if (s->io.op == BLK_DISCARD)
		acts[s->act].hint = strstr(work->options, "data_file_raw");
	if (s->io.op == BLK_WRITE) {
		acts[s->act].durable = s->io.flags & BLK_FUA;
		for (uint64_t at = first; at < end; at++)
			fill_sector((uint8_t *)s->iov.iov_base + (at - first) * SECTOR, value, at);
	}
	if (s->io.op == BLK_WRITE || s->io.op == BLK_READ) {
		s->iov.iov_len = s->io.len;
		s->io.iov = &s->iov;
		s->io.n_iov = 1;
	}
	s->busy = true;
	busy++;
	blk_node_submit(node, &s->io);
}

static void next(struct slot *s)
{
	left--;
	s->io = (struct blk_io){ .done = on_done };
	s->io.op = pick(&s->io.flags);
	if (s->io.flags & BLK_COMPRESSED && cluster() > LENGTH_MOST * SECTOR)
		s->io.flags = 0;
	if (s->io.op == BLK_FLUSH || place(&s->io))
		submit(s);
}

static void requests(unsigned n)
{
	left = n;
	while (left || busy) {
		for (unsigned i = 0; i < SLOTS && left; i++)
			if (!slots[i].busy)
				next(&slots[i]);
		if (busy)
			blk_node_poll(node);
	}
}

/* --- steps between them: each is durable, and so is all before it ----------------------- */

static void change_size(uint64_t size)
{
	uint64_t from = (size < node->size ? size : node->size) / SECTOR;
	uint64_t to = (size < node->size ? node->size : size) / SECTOR;
	unsigned flush = add_flush(), act = add_act(from, to, ZERO, NULL);

	ck_assert_uint_lt(n_sizes, 16);
	sizes[n_sizes].size = size;
	sizes[n_sizes].sent = ++cuts_now;
	ck_assert_msg(!blk_node_truncate(node, size, &e), "%s: %s", work->name, e.msg);
	sizes[n_sizes++].done = acts[act].done = flushes[flush].done = ++cuts_now;
	acts[act].durable = true;
}

/* Steps of L1 in one go, and smaller sizes in between. */
static void next_size(unsigned step)
{
	uint64_t size = work->start + (work->size - work->start) * (step + 1) / work->steps;

	if (!work->moves_l1 && step % 3 == 2)
		size = work->start / 2 + 7 * SECTOR;
	change_size(size / SECTOR * SECTOR);
}

static void take_snapshot(void)
{
	struct snapshot *s = &snapshots[n_snapshots++];
	size_t bytes = work->size / SECTOR * sizeof(*model);
	unsigned flush = add_flush();

	ck_assert_uint_le(n_snapshots, SNAPSHOTS);
	snprintf(s->name, sizeof(s->name), "s%u", n_snapshots % 100);
	s->values = malloc(bytes);
	ck_assert_ptr_nonnull(s->values);
	memcpy(s->values, model, bytes);
	s->size = node->size;
	s->made_sent = ++cuts_now;
	ck_assert_msg(!ops()->snap_create(node, s->name, &e), "%s: %s", work->name, e.msg);
	s->made = flushes[flush].done = ++cuts_now;
}

static struct snapshot *some_snapshot(void)
{
	unsigned i = rnd(n_snapshots);

	for (unsigned n = 0; n < n_snapshots; n++, i++)
		if (!snapshots[i % n_snapshots].gone)
			return &snapshots[i % n_snapshots];
	return NULL;
}

static void apply_snapshot(struct snapshot *s)
{
	unsigned flush = add_flush(), act = add_act(0, s->size / SECTOR, 0, s->values);

	ck_assert_msg(!ops()->snap_apply(node, s->name, &e), "%s: %s", work->name, e.msg);
	acts[act].done = flushes[flush].done = ++cuts_now;
	acts[act].durable = true;
}

static void delete_snapshot(struct snapshot *s)
{
	unsigned flush = add_flush();

	s->gone_sent = ++cuts_now;
	ck_assert_msg(!ops()->snap_delete(node, s->name, &e), "%s: %s", work->name, e.msg);
	s->gone = flushes[flush].done = ++cuts_now;
}

static void next_snapshot(unsigned step)
{
	struct snapshot *s = n_snapshots ? some_snapshot() : NULL;

	if (!s || step % 4 == 0 || step == 1)
		take_snapshot();
	else if (step % 4 == 3)
		delete_snapshot(s);
	else
		apply_snapshot(s);
}

/* --- what may be after a cut ---------------------------------------------------------------- */

static void same_size(const struct blk_node *n, unsigned cut)
{
	uint64_t sure = sizes[0].size;

	for (unsigned i = 0; i < n_sizes && sizes[i].sent <= cut; i++) {
		if (sizes[i].done <= cut)
			sure = sizes[i].size;
		else if (n->size == sizes[i].size)
			return;
	}
	ck_assert_uint_eq(n->size, sure);
}

static void same_disk(struct blk_node *n, unsigned cut)
{
	static uint8_t *buf;
	unsigned flushed = flushed_at(cut);
	uint64_t first, word;
	int rc;

	if (!buf)
		buf = malloc(work->size);
	rc = blk_node_pread(n, 0, buf, n->size);
	ck_assert_msg(!rc, "%s: cut %u: %s", work->name, cut, strerror(-rc));
	for (uint64_t s = 0; s < n->size / SECTOR; s++) {
		if (may_be(buf + s * SECTOR, s, cut, flushed, cut))
			continue;
		memcpy(&word, buf + s * SECTOR, 8);
		first = word >> 32;
		ck_abort_msg("%s: cut %u of %u: sector %" PRIu64 " of the disk holds %#" PRIx64
			     " of sector %" PRIu64 "%s; flushed at %u",
			     work->name, cut, cuts_now, s, first, word & UINT32_MAX,
			     memcmp(buf + s * SECTOR, buf + s * SECTOR + 8, SECTOR - 8) ? ", mixed"
											: "",
			     flushed);
	}
}

/* --- snapshots --- */

static bool listed(const struct blk_snapshot *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].name, name))
			return true;
	return false;
}

static void same_snapshot(const struct snapshot *s, struct ram_file *f, unsigned cut)
{
	struct blk_node *n = open_image(f, NULL, true, false);
	uint8_t *buf = malloc(s->size);
	int rc = ops()->snap_load(n, s->name, &e);

	ck_assert_msg(!rc, "%s: cut %u: %s", work->name, cut, e.msg);
	ck_assert_uint_eq(n->size, s->size);
	ck_assert_int_eq(blk_node_pread(n, 0, buf, s->size), 0);
	for (uint64_t at = 0; at < s->size / SECTOR; at++)
		if (!is_sector(buf + at * SECTOR, s->values[at], at))
			ck_abort_msg("%s: cut %u: sector %" PRIu64 " of snapshot %s", work->name,
				     cut, at, s->name);
	free(buf);
	blk_node_close(n);
}

static void same_snapshots(struct blk_node *n, struct ram_file *f, unsigned cut)
{
	struct blk_snapshot *list = NULL;
	size_t count = 0, known = 0;

	if (!work->snapshots)
		return;
	ck_assert_msg(!ops()->snap_list(n, &list, &count, &e), "%s: %s", work->name, e.msg);
	for (unsigned i = 0; i < n_snapshots; i++) {
		const struct snapshot *s = &snapshots[i];
		bool there = listed(list, count, s->name);

		known += there;
		ck_assert_msg(there || s->made > cut || (s->gone_sent && s->gone_sent <= cut),
			      "%s: cut %u: snapshot %s is lost", work->name, cut, s->name);
		ck_assert_msg(!there || (s->made_sent <= cut && (!s->gone || s->gone > cut)),
			      "%s: cut %u: snapshot %s is there", work->name, cut, s->name);
		if (there)
			same_snapshot(s, f, cut);
	}
	ck_assert_uint_eq(count, known);
	blk_snapshots_free(list, count);
}

/* --- a cut ----------------------------------------------------------------------------------- */

static void check(struct blk_node *n, unsigned cut, bool leaks)
{
	struct blk_check found = { 0 };
	int rc = ops()->check(n, 0, &found, &e);

	ck_assert_msg(!rc, "%s: cut %u: check: %s", work->name, cut, e.msg);
	ck_assert_msg(!found.corruptions && !found.check_errors && (leaks || !found.leaks),
		      "%s: cut %u of %u: %" PRIu64 " errors, %" PRIu64 " not checked, %" PRIu64
		      " leaks",
		      work->name, cut, cuts_now, found.corruptions, found.check_errors,
		      found.leaks);
}

/* Goes on writing to it, with whatever was lost. */
static void use_again(struct ram_file *f, struct ram_file *d, unsigned cut)
{
	static uint8_t buf[8 * SECTOR];
	struct blk_node *n = open_image(f, d, false, false);

	memset(buf, 0xa5, sizeof(buf));
	check(n, cut, true);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_int_eq(blk_node_pwrite(n,
						 rnd((unsigned)(n->size / SECTOR) - 8) *
							 (uint64_t)SECTOR,
						 buf, sizeof(buf)),
				 0);
	blk_node_close(n);
	n = open_image(f, d, true, false);
	check(n, cut, true);
	blk_node_close(n);
}

/* With the tool that everybody trusts. */
static void ask_tool(const struct ram_file *f, const struct ram_file *d)
{
	char cmd[512];

	if (!have_tool)
		return;
	ram_save(f, image);
	if (external())
		ram_save(d, data_name);
	snprintf(cmd, sizeof(cmd),
		 "qemu-img check -U -q %s >/dev/null 2>&1; s=$?; test $s = 0 -o $s = 3", image);
	ck_assert_msg(!system(cmd), "%s: %s", work->name, cmd);
}

static struct ram_file first_file, first_data; /* at the beginning */

static void remake(unsigned nr, struct ram_file *f, const struct ram_file *first, unsigned cut)
{
	/* What lay behind the end of the one before is zero again. */
	memset(f->data, 0, f->size);
	memcpy(f->data, first->data, first->size);
	f->size = first->size;
	cuts_replay_nr(nr, f->data, f->room, &f->size, cut, written);
}

static void judge(struct ram_file *f, struct ram_file *d, unsigned cut, unsigned n)
{
	struct blk_node *at;

	remake(0, f, &first_file, cut);
	if (external())
		remake(1, d, &first_data, cut);
	at = open_image(f, d, !lazy(), false);
	check(at, cut, true);
	same_size(at, cut);
	same_disk(at, cut);
	same_snapshots(at, f, cut);
	blk_node_close(at);
	if (n % 256 == 255)
		ask_tool(f, d);
	if (n % 16 == 7)
		use_again(f, d, cut);
}

/* --- a workload ------------------------------------------------------------------------------ */

static void prepare(void)
{
	uint64_t room = work->size * 5 + (4 << 20);

	model = calloc(work->size / SECTOR, sizeof(*model));
	acts = calloc(ACTS, sizeof(*acts));
	file = ram_make(room);
	data_file = ram_make(work->size + (1 << 20));
	backing_file = ram_make(work->backing + SECTOR);
	backing_file.size = work->backing;
	backed = work->backing / SECTOR;
	for (uint64_t s = 0; s < work->backing / SECTOR; s++)
		fill_sector(backing_file.data + s * SECTOR, BACKING, s);
	for (uint64_t s = 0; s < work->size / SECTOR; s++)
		model[s] = at_first(s);
	ram_save(&backing_file, base_name);
	create();
	ram_load(&file, image);
	if (external())
		ram_load(&data_file, data_name);
	first_file = ram_make(file.size + 1);
	first_file.size = file.size;
	memcpy(first_file.data, file.data, file.size);
	first_data = ram_make(data_file.size + 1);
	first_data.size = data_file.size;
	memcpy(first_data.data, data_file.data, data_file.size);
	for (unsigned i = 0; i < SLOTS; i++)
		slots[i].iov.iov_base = malloc(LENGTH_MOST * SECTOR);
}

static void happen(void)
{
	uint64_t l1, table;

	cuts_begin();
	/* Long reads: what they read may be freed and used again meanwhile. */
	ram_patience = work->dense ? 64 : 0;
	node = open_image(&file, &data_file, false, true);
	sizes[n_sizes++].size = node->size;
	l1 = be64_to_cpu(qcow2_of(node)->hdr.l1_table_offset);
	table = be64_to_cpu(qcow2_of(node)->hdr.refcount_table_offset);
	for (unsigned step = 0; step < work->steps; step++) {
		requests(work->requests);
		if (work->snapshots)
			next_snapshot(step);
		else if (work->start)
			next_size(step);
	}
	requests(work->requests / 2);
	ck_assert_msg(!work->moves_l1 || be64_to_cpu(qcow2_of(node)->hdr.l1_table_offset) != l1,
		      "L1 has not moved");
	ck_assert_msg(!work->moves_reftable ||
			      be64_to_cpu(qcow2_of(node)->hdr.refcount_table_offset) != table,
		      "the refcount table has not moved");
	blk_node_close(node);
	cuts_recording = false;
	ram_patience = 0;
}

START_TEST(power_cuts)
{
	unsigned times = getenv("QCOW2_CUTS") ? (unsigned)atoi(getenv("QCOW2_CUTS")) : 3;
	struct ram_file f, d;
	struct blk_node *at;
	unsigned n = 0;

	work = &workloads[_i];
	seed = 1 + (unsigned)_i * 77;
	if (getenv("QCOW2_SEED"))
		seed += (unsigned)atoi(getenv("QCOW2_SEED"));
	ram_rnd = rnd;
	prepare();
	happen();
	at = open_image(&file, &data_file, true, false);
	check(at, cuts_now, false);
	same_disk(at, cuts_now);
	blk_node_close(at);
	f = ram_make(file.room);
	d = ram_make(data_file.room);
	for (unsigned cut = 1; cut <= cuts_now; cut++) {
		for (unsigned i = 0; i < times; i++, n++) {
			fate = rnd(3) ? rnd(2) : rnd(FATES);
			fate_of_all = rnd(1u << 28);
			judge(&f, &d, cut, n);
		}
	}
	printf("%s: %u cuts, %u requests, %u reached the file\n", work->name, n, n_acts + n_flushes,
	       cuts_n);
	fflush(stdout);
	__atomic_add_fetch(total, n, __ATOMIC_RELAXED);
}
END_TEST

START_TEST(cuts_enough)
{
	printf("%u cuts in all\n", *total);
	fflush(stdout);
	ck_assert_uint_ge(*total, CUTS_WANTED);
}
END_TEST

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test_qcow2_crash.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	snprintf(base_name, sizeof(base_name), "%s/base", dir);
	snprintf(data_name, sizeof(data_name), "%s/data", dir);
	have_tool = !system("command -v qemu-img >/dev/null");
	e = (struct err){ 0 };
}

static void teardown(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

int main(void)
{
	Suite *s = suite_create("qcow2 crash");
	TCase *t = tcase_create("cuts");

	total = mmap(NULL, sizeof(*total), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, power_cuts, 0, WORKLOADS);
	tcase_add_test(t, cuts_enough);
	suite_add_tcase(s, t);
	return run_suite(s);
}
