/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of qcow2 on real files: random requests, many at a time, against a model in
 * memory, at several geometries, closed and opened again; qemu-img, where it is
 * installed, finds nothing wrong and the same contents. Then headers that must be refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"
#include "qcow2_cuts.h"
#include "block_int.h"
#include "err.h"
#include "iov.h"
#include "loop.h"
#include "opts.h"
#include "props.h"
#include "wire/qcow2.h"

enum { SLOTS = 24, BUF = 384 << 10 };

static struct err e;
static char dir[64], image[128], base[128], expect[128];
static bool have_tool;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test_qcow2.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	snprintf(base, sizeof(base), "%s/base.img", dir);
	snprintf(expect, sizeof(expect), "%s/expect.raw", dir);
	have_tool = !system("command -v qemu-img >/dev/null");
	e = (struct err){ 0 };
}

static void teardown(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static const struct blk_driver *driver(void)
{
	return blk_driver_find("qcow2");
}

/* Returns the result of create. */
static int create(const char *name, const char *options, uint64_t size, const char *backing,
		  const char *backing_format)
{
	const struct blk_image_ops *ops = driver()->image;
	struct blk_create c = { .size = size,
				.backing = backing,
				.backing_format = backing_format };
	void *o = calloc(1, ops->create_size);
	struct opts opts;
	int rc;

	ck_assert_ptr_nonnull(o);
	ck_assert_int_eq(opts_parse(&opts, options, NULL, &e), 0);
	/* DIR stands for where the test's files are. */
	for (size_t i = 0; i < opts.n; i++) {
		char *val = opts.opt[i].val;

		if (strncmp(val, "DIR/", 4))
			continue;
		ck_assert_int_gt(asprintf(&opts.opt[i].val, "%s%s", dir, val + 3), 0);
		free(val);
	}
	props_defaults(ops->create_props, o);
	rc = props_apply(ops->create_props, o, &opts, &e);
	ck_assert_msg(!rc, "%s", e.msg);
	c.opts = o;
	rc = ops->create(name, &c, &e);
	props_free(ops->create_props, o);
	opts_free(&opts);
	free(o);
	return rc;
}

static struct blk_node *open_image(const char *name, bool readonly)
{
	struct blk_open how = { .readonly = readonly, .locking = true, .discard = true };
	struct blk_node *n = NULL;
	int rc = blk_node_open_file(name, "qcow2", &how, &n, &e);

	ck_assert_msg(!rc, "%s", e.msg);
	return n;
}

__attribute__((format(printf, 1, 2))) static void tool(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	if (!have_tool)
		return;
	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	ck_assert_msg(!system(cmd), "%s", cmd);
}

/* --- random requests against a model ---------------------------------------------------------- */

struct geometry {
	const char *options;
	uint64_t size;
	const char *backing; /* format of a backing file, or NULL */
	uint64_t backing_size;
	const char *open; /* keys of -blockdev */
};

static const struct geometry geometries[] = {
	{ "cluster_size=64K", 8 << 20 },
	{ "cluster_size=512", 3 << 20 },
	{ "cluster_size=4K,refcount_bits=64", 6 << 20 },
	{ "cluster_size=2M", 24 << 20 },
	{ "compat=0.10", 8 << 20 },
	{ "compat=0.10,cluster_size=1K", 2 << 20, "raw", 1 << 20 },
	{ "extended_l2=on,cluster_size=64K", 8 << 20 },
	{ "extended_l2=on,cluster_size=128K", (8 << 20) - 512, "raw", 8 << 20 },
	{ "refcount_bits=1,cluster_size=4K", 4 << 20 },
	{ "refcount_bits=2", 4 << 20, "qcow2", 3 << 20 },
	{ "refcount_bits=4,cluster_size=8K", 4 << 20 },
	{ "refcount_bits=8,compression_type=zstd", 4 << 20 },
	{ "refcount_bits=32,cluster_size=16K", 4 << 20, "raw", 8 << 20 },
	{ "lazy_refcounts=on", 8 << 20, "raw", 5 << 20 },
	{ "preallocation=metadata,cluster_size=32K", 8 << 20 },
	{ "data_file=DIR/data.raw,cluster_size=4K", 4 << 20 },
	{ "data_file=DIR/data.raw,data_file_raw=on", (4 << 20) + 512 },
	{ "cluster_size=512", 3 << 20, "raw", 2 << 20, "tiny" },
	{ "cluster_size=4K,extended_l2=off", (5 << 20) + 1536, "qcow2", (4 << 20) + 512, "tiny" },
};

/* --- a host that fails now and then: between the format and the file --- */

static unsigned failing; /* one request of so many; 0: none */
static bool flaky_below; /* the next image is opened above it */
static unsigned rnd(unsigned below);

static void flaky_submit(struct blk_node *n, struct blk_io *io)
{
	if (failing && !rnd(failing))
		blk_io_done_later(io, rnd(2) ? -ENOSPC : -EIO);
	else
		blk_node_submit(n->file, io);
}

static int flaky_open(struct blk_node *n, struct err *err)
{
	return 0;
}

static int flaky_truncate(struct blk_node *n, uint64_t size, struct err *err)
{
	int rc = failing && !rnd(failing) ? -ENOSPC : blk_node_truncate(n->file, size, err);

	n->size = n->file->size;
	return rc;
}

static const struct blk_driver flaky = {
	.name = "flaky",
	.filter = true,
	.open = flaky_open,
	.submit = flaky_submit,
	.truncate = flaky_truncate,
};

static const struct geometry *geo;
/* --- a host whose power is cut: what the guest was told, besides what qcow2_cuts.h has --- */

enum { GUEST_EVENTS = 200000, GUEST_FLUSHES = 64 };

static struct cuts_event *guest_events;
static unsigned n_guest_events;

static struct guest_flush {
	unsigned sent, done;
	uint8_t *model;
} guest_flushes[GUEST_FLUSHES];
static unsigned n_guest_flushes;

static uint8_t *unsure; /* per sector: a write has failed */
static uint8_t *model;
static struct blk_node *node;
static struct loop *loop;
static unsigned seed, left, busy;

static unsigned rnd(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (unsigned)(((uint64_t)(seed >> 4) * below) >> 28);
}

static struct slot {
	struct blk_io io; /* first */
	unsigned event; /* in guest_events or guest_flushes, from 1 on */
	struct iovec iov[3];
	uint8_t *buf;
	bool busy;
} slots[SLOTS];

static void next(struct slot *s);

/* The disk's contents at off. */
static void same(const uint8_t *buf, uint64_t off, uint64_t len)
{
	uint64_t i = 0;

	if (!memcmp(buf, model + off, len))
		return;
	while (i < len && (buf[i] == model[off + i] || unsure[(off + i) / 512]))
		i++;
	if (i == len)
		return;
	ck_abort_msg("%s: offset %#" PRIx64 " (read of %#" PRIx64 " from %#" PRIx64
		     ") is %#x, not %#x",
		     geo->options, off + i, len, off, buf[i], model[off + i]);
}

static void on_done(struct blk_io *io, int ret)
{
	struct slot *s = (struct slot *)io;

	if (ret && failing && s->io.op != BLK_READ && s->io.op != BLK_FLUSH)
		memset(unsure + s->io.off / 512, 1, (s->io.len + 511) / 512);
	ck_assert_msg(!ret || failing, "op %d off %#" PRIx64 " len %#" PRIx64 ": %s", s->io.op,
		      s->io.off, s->io.len, strerror(-ret));
	if (!ret && s->io.op == BLK_WRITE)
		memset(unsure + s->io.off / 512, 0, s->io.len / 512);
	if (s->io.op == BLK_READ && !ret)
		same(s->buf, s->io.off, s->io.len);
	s->busy = false;
	busy--;
	if (cuts_recording && s->event && s->io.op == BLK_FLUSH)
		guest_flushes[s->event - 1].done = ++cuts_now;
	else if (cuts_recording && s->event)
		guest_events[s->event - 1].done = ++cuts_now;
	if (left)
		next(s);
	else if (!busy)
		loop_quit(loop);
}

static bool taken(uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].busy && slots[i].io.op != BLK_FLUSH &&
		    off < slots[i].io.off + slots[i].io.len && slots[i].io.off < off + len)
			return true;
	return false;
}

static bool compressible(void)
{
	return !strstr(geo->options, "data_file");
}

static uint64_t cluster_of(void)
{
	return driver()->image->cluster_size(node);
}

/* A place that no other request touches: small ones mostly, now and then many clusters. */
static void place(struct blk_io *io)
{
	uint64_t most = rnd(4) ? 16384 : BUF;

	do {
		io->len = 512ull * (1 + rnd((unsigned)(most / 512)));
		io->off = 512ull * rnd((unsigned)(geo->size / 512));
		if (io->flags & BLK_COMPRESSED) {
			io->off = io->off / cluster_of() * cluster_of();
			io->len = cluster_of();
		}
		if (io->len > geo->size - io->off)
			io->len = geo->size - io->off;
	} while (io->len > BUF || taken(io->off, io->len));
}

/* What the disk shows where something was discarded: what can be asked for is only whole clusters.
 */
static void model_discard(uint64_t off, uint64_t len)
{
	uint64_t c = cluster_of(), start = (off + c - 1) / c * c;
	uint64_t end = off + len == geo->size ? geo->size : (off + len) / c * c;

	if (strstr(geo->options, "compat=0.10") && geo->backing)
		ck_abort_msg("not predictable");
	if (start < end)
		memset(model + start, 0, end - start);
}

static void fill(struct slot *s)
{
	uint8_t start = (uint8_t)rnd(256);

	for (uint64_t i = 0; i < s->io.len; i++)
		s->buf[i] = (uint8_t)(start + i / 512 + (i & 7));
	memcpy(model + s->io.off, s->buf, s->io.len);
}

/* A request of the guest's is about to be sent. */
static void note_guest(struct slot *s)
{
	s->event = 0;
	if (s->io.op == BLK_FLUSH && n_guest_flushes < GUEST_FLUSHES) {
		struct guest_flush *f = &guest_flushes[n_guest_flushes++];

		*f = (struct guest_flush){ .sent = ++cuts_now, .model = malloc(geo->size) };
		memcpy(f->model, model, geo->size);
		s->event = n_guest_flushes;
	} else if (s->io.op != BLK_READ && s->io.op != BLK_FLUSH) {
		guest_events[n_guest_events++] = (struct cuts_event){
			.op = s->io.op, .off = s->io.off, .len = s->io.len, .sent = ++cuts_now
		};
		s->event = n_guest_events;
	}
}

static void next(struct slot *s)
{
	static const enum blk_op ops[] = { BLK_READ,  BLK_READ,  BLK_READ,    BLK_WRITE,
					   BLK_WRITE, BLK_WRITE, BLK_DISCARD, BLK_WRITE_ZEROES,
					   BLK_WRITE, BLK_FLUSH };
	unsigned n = rnd(300);
	enum blk_op op = ops[n % 9];

	if (n == 9 || (cuts_recording && n >= 10 && n < 20))
		op = BLK_FLUSH;
	if (op == BLK_DISCARD && strstr(geo->options, "compat=0.10") && geo->backing)
		op = BLK_READ;
	s->io = (struct blk_io){ .op = op, .done = on_done, .iov = s->iov };
	if (op == BLK_WRITE && n >= 290 && compressible() && cluster_of() <= BUF)
		s->io.flags = BLK_COMPRESSED;
	else if (op == BLK_WRITE && n >= 280)
		s->io.flags = BLK_FUA;
	if (op == BLK_WRITE_ZEROES && rnd(2))
		s->io.flags = BLK_UNMAP;
	if (op != BLK_FLUSH)
		place(&s->io);
	if (op == BLK_WRITE)
		fill(s);
	else if (op == BLK_WRITE_ZEROES)
		memset(model + s->io.off, 0, s->io.len);
	else if (op == BLK_DISCARD)
		model_discard(s->io.off, s->io.len);
	if (op == BLK_READ || op == BLK_WRITE) {
		uint64_t a = s->io.len > 1024 ? 512 + rnd(64) : s->io.len;

		s->iov[0] = (struct iovec){ s->buf, a };
		s->iov[1] = (struct iovec){ s->buf + a, s->io.len - a };
		s->io.n_iov = a < s->io.len ? 2 : 1;
	}
	s->busy = true;
	busy++;
	left--;
	if (cuts_recording)
		note_guest(s);
	blk_node_submit(node, &s->io);
}

static void write_file(const char *name, const uint8_t *data, uint64_t size)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

static void make_backing(void)
{
	struct blk_node *b;
	uint8_t *data;

	if (!geo->backing)
		return;
	data = malloc(geo->backing_size);
	for (uint64_t i = 0; i < geo->backing_size; i++)
		data[i] = (uint8_t)(i / 512 * 7 + 1);
	memcpy(model, data, geo->backing_size < geo->size ? geo->backing_size : geo->size);
	if (!strcmp(geo->backing, "raw")) {
		write_file(base, data, geo->backing_size);
	} else {
		ck_assert_int_eq(create(base, "", geo->backing_size, NULL, NULL), 0);
		b = open_image(base, false);
		ck_assert_int_eq(blk_node_pwrite(b, 0, data, geo->backing_size), 0);
		blk_node_close(b);
	}
	free(data);
}

static void verify(void)
{
	uint8_t *buf = malloc(geo->size);

	ck_assert_ptr_nonnull(buf);
	ck_assert_int_eq(blk_node_pread(node, 0, buf, geo->size), 0);
	same(buf, 0, geo->size);
	free(buf);
}

static void open_again(void)
{
	struct blk_open how = { .locking = true, .discard = true };
	struct blk_node *file;
	struct opts o;
	int rc;

	ck_assert_int_eq(opts_parse(&o,
				    geo->open ? "l2-cache-size=8K,refcount-cache-size=8K" : "x=y",
				    NULL, &e),
			 0);
	if (!geo->open) {
		opts_free(&o);
		o = (struct opts){ 0 };
	}
	ck_assert_int_eq(blk_node_open_file(image, "raw", &how, &file, &e), 0);
	if (flaky_below) {
		struct opts none = { 0 };

		ck_assert_int_eq(blk_node_open(&flaky, &none, &how, file, &file, &e), 0);
	}
	if (cuts_recording)
		file = cuts_above(file);
	rc = blk_node_open(driver(), &o, &how, file, &node, &e);
	ck_assert_msg(!rc, "%s", e.msg);
	opts_free(&o);
}

static void start(unsigned which)
{
	geo = &geometries[which];
	seed = 1 + which;
	if (getenv("QCOW2_SEED"))
		seed += (unsigned)atoi(getenv("QCOW2_SEED"));
	model = calloc(1, geo->size > geo->backing_size ? geo->size : geo->backing_size);
	unsure = calloc(1, geo->size / 512 + 1);
	ck_assert(model && unsure);
	make_backing();
	ck_assert_msg(!create(image, geo->options, geo->size, geo->backing ? "base.img" : NULL,
			      geo->backing),
		      "%s", e.msg);
	for (unsigned i = 0; i < SLOTS; i++)
		ck_assert_int_eq(posix_memalign((void **)&slots[i].buf, 4096, BUF), 0);
}

static void finish(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		free(slots[i].buf);
	free(model);
	free(unsure);
}

/* Opens the image, sends so many requests through a loop, and leaves it open. */
static void session(unsigned requests)
{
	open_again();
	ck_assert_uint_eq(node->size, geo->size);
	ck_assert_int_eq(loop_create(&loop, &e), 0);
	ck_assert_int_eq(blk_node_attach(node, loop, &e), 0);
	left = requests;
	failing = flaky_below ? 25 : 0;
	for (unsigned i = 0; i < SLOTS; i++)
		next(&slots[i]);
	loop_run(loop);
}

static void end_session(void)
{
	blk_node_detach(node);
	loop_destroy(loop);
	blk_node_close(node);
}

START_TEST(random_requests)
{
	start((unsigned)_i);
	for (unsigned round = 0; round < 3; round++) {
		session(1000);
		verify();
		end_session();
		tool("qemu-img check -U -q %s >&2", image);
		write_file(expect, model, geo->size);
		tool("qemu-img compare -U -q -f qcow2 -F raw %s %s >&2", image, expect);
	}
	open_again();
	verify();
	blk_node_close(node);
	finish();
}
END_TEST

/* Whatever fails, the image stays whole: clusters may be lost (exit status 3), data may not. */
START_TEST(failing_host)
{
	start((unsigned)_i);
	if (!strstr(geo->options, "lazy"))
		for (unsigned round = 0; round < 3; round++) {
			flaky_below = true;
			session(600);
			failing = flaky_below = 0;
			verify();
			end_session();
			tool("qemu-img check -U -q %s >&2; s=$?; test $s = 0 -o $s = 3", image);
			open_again();
			verify();
			blk_node_close(node);
		}
	finish();
}
END_TEST

/* What a flush that was answered before `cut` has promised. */
static void expect_flushed(unsigned cut)
{
	const struct guest_flush *f = NULL;

	for (unsigned i = 0; i < n_guest_flushes; i++)
		if (guest_flushes[i].done && guest_flushes[i].done <= cut &&
		    (!f || guest_flushes[i].sent > f->sent))
			f = &guest_flushes[i];
	memset(unsure, !f, geo->size / 512 + 1);
	if (!f)
		return;
	memcpy(model, f->model, geo->size);
	for (unsigned i = 0; i < n_guest_events; i++) {
		const struct cuts_event *v = &guest_events[i];

		if (v->sent <= cut && (v->sent > f->sent || !v->done || v->done > f->sent))
			memset(unsure + v->off / 512, 1, (v->len + 511) / 512);
	}
}

START_TEST(power_cut)
{
	static const unsigned which[] = { 0, 1, 2, 5, 6, 7, 9, 10, 13, 17, 18 };
	unsigned cuts = getenv("QCOW2_CUTS") ? (unsigned)atoi(getenv("QCOW2_CUTS")) : 10;
	uint64_t room = 96 << 20, start_size, size;
	uint8_t *before = calloc(1, room), *disk = malloc(room);
	FILE *f;

	guest_events = calloc(GUEST_EVENTS, sizeof(*guest_events));
	ck_assert(before && disk && guest_events);
	start(which[_i]);
	f = fopen(image, "r");
	start_size = fread(before, 1, room, f);
	fclose(f);
	cuts_begin();
	session(700);
	cuts_recording = false;
	end_session();
	for (unsigned i = 0; i < cuts; i++) {
		unsigned cut = 1 + rnd(cuts_now);

		memcpy(disk, before, room);
		size = start_size;
		cuts_replay(disk, room, &size, cut, rnd);
		write_file(image, disk, size);
		if (!strstr(geo->options, "lazy"))
			tool("qemu-img check -U -q %s >&2; s=$?; test $s = 0 -o $s = 3", image);
		expect_flushed(cut);
		open_again();
		verify();
		blk_node_close(node);
		tool("qemu-img check -U -q %s >&2; s=$?; test $s = 0 -o $s = 3", image);
	}
	free(before);
	free(disk);
	finish();
}
END_TEST

/* --- what must be refused --- */

static void patch(uint64_t off, const void *data, size_t len)
{
	int fd = open(image, O_RDWR);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, len, (off_t)off), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

static void patch32(size_t off, uint32_t value)
{
	struct be32 v = cpu_to_be32(value);

	patch(off, &v, sizeof(v));
}

static void patch64(size_t off, uint64_t value)
{
	struct be64 v = cpu_to_be64(value);

	patch(off, &v, sizeof(v));
}

static int try_open(bool readonly)
{
	struct blk_open how = { .readonly = readonly, .locking = true };
	struct blk_node *n;
	int rc;

	e = (struct err){ 0 };
	rc = blk_node_open_file(image, "qcow2", &how, &n, &e);
	if (!rc)
		blk_node_close(n);
	return rc;
}

#define FIELD(name) offsetof(struct qcow2_header, name)
#define WIDE 8
static const struct bad {
	size_t off;
	unsigned size;
	uint64_t value;
	const char *says; /* NULL: it is fine */
} bad_fields[] = {
	{ FIELD(magic), 4, 0, "not a qcow2 image" },
	{ FIELD(version), 4, 0, "version is 0" },
	{ FIELD(version), 4, 1, "version is 1" },
	{ FIELD(version), 4, 4, "version is 4" },
	{ FIELD(version), 4, UINT32_MAX, "version is 4294967295" },
	{ FIELD(cluster_bits), 4, 0, "cluster_bits is 0" },
	{ FIELD(cluster_bits), 4, 8, "cluster_bits is 8" },
	{ FIELD(cluster_bits), 4, 22, "cluster_bits is 22" },
	{ FIELD(cluster_bits), 4, UINT32_MAX, "cluster_bits is 4294967295" },
	{ FIELD(size), WIDE, UINT64_MAX, "size is 18446744073709551615" },
	{ FIELD(size), WIDE, 1ull << 62, "size is 4611686018427387904" },
	{ FIELD(size), WIDE, 1ull << 40, "l1_size is 1" },
	{ FIELD(size), WIDE, 0, NULL },
	{ FIELD(crypt_method), 4, 1, "AES" },
	{ FIELD(crypt_method), 4, 2, "LUKS" },
	{ FIELD(crypt_method), 4, 3, "crypt_method is 3" },
	{ FIELD(l1_size), 4, 0, "l1_size is 0" },
	{ FIELD(l1_size), 4, UINT32_MAX, "l1_size is 4294967295" },
	{ FIELD(l1_size), 4, (4 << 20) + 1, "l1_size is 4194305" },
	{ FIELD(l1_size), 4, 4 << 20, "reaches behind the end" },
	{ FIELD(l1_table_offset), WIDE, 0, "l1_table_offset is 0" },
	{ FIELD(l1_table_offset), WIDE, 4097, "l1_table_offset is 4097" },
	{ FIELD(l1_table_offset), WIDE, 1ull << 40, "l1_table_offset is 1099511627776" },
	{ FIELD(l1_table_offset), WIDE, ~0xfffull, "behind the end" },
	{ FIELD(l1_table_offset), WIDE, 4096, "overlaps" },
	{ FIELD(refcount_table_offset), WIDE, 0, "refcount_table_offset is 0" },
	{ FIELD(refcount_table_offset), WIDE, 4095, "refcount_table_offset is 4095" },
	{ FIELD(refcount_table_offset), WIDE, 1ull << 62, "refcount_table_offset is" },
	{ FIELD(refcount_table_clusters), 4, 0, "refcount_table_clusters is 0" },
	{ FIELD(refcount_table_clusters), 4, UINT32_MAX, "refcount_table_clusters is 4294967295" },
	{ FIELD(refcount_table_clusters), 4, 2049, "refcount_table_clusters is 2049" },
	{ FIELD(nb_snapshots), 4, UINT32_MAX, "nb_snapshots is 4294967295" },
	{ FIELD(nb_snapshots), 4, 65537, "nb_snapshots is 65537" },
	{ FIELD(nb_snapshots), 4, 1, "snapshots_offset is 0" },
	{ FIELD(incompatible_features), WIDE, 0x20, "bit 5" },
	{ FIELD(incompatible_features), WIDE, 1ull << 63, "bit 63" },
	{ FIELD(incompatible_features), WIDE, 2, "corrupt" },
	{ FIELD(incompatible_features), WIDE, 4, "does not name it" },
	{ FIELD(incompatible_features), WIDE, 8, "compression_type is 0" },
	{ FIELD(incompatible_features), WIDE, 16, "cluster_bits is 12" },
	{ FIELD(incompatible_features), WIDE, 1, NULL },
	{ FIELD(compatible_features), WIDE, UINT64_MAX, NULL },
	{ FIELD(autoclear_features), WIDE, ~2ull, NULL },
	{ FIELD(autoclear_features), WIDE, 2, "autoclear_features is 2" },
	{ FIELD(refcount_order), 4, 7, "refcount_order is 7" },
	{ FIELD(refcount_order), 4, UINT32_MAX, "refcount_order is 4294967295" },
	{ FIELD(header_length), 4, 0, "header_length is 0" },
	{ FIELD(header_length), 4, 100, "header_length is 100" },
	{ FIELD(header_length), 4, 105, "header_length is 105" },
	{ FIELD(header_length), 4, 4104, "header_length is 4104" },
	{ FIELD(header_length), 4, UINT32_MAX, "header_length is 4294967295" },
	{ FIELD(compression_type), 1, 1, "compression_type is 1" },
	{ FIELD(compression_type), 1, 255, "compression_type is 255" },
	{ FIELD(backing_file_size), 4, UINT32_MAX, NULL }, /* there is no offset */
	{ FIELD(backing_file_offset), WIDE, UINT64_MAX, NULL }, /* there is no name */
};

START_TEST(bad_header_fields)
{
	const struct bad *b = &bad_fields[_i];
	int rc;

	ck_assert_int_eq(create(image, "cluster_size=4K", 1 << 20, NULL, NULL), 0);
	if (b->size == 8)
		patch64(b->off, b->value);
	else if (b->size == 4)
		patch32(b->off, (uint32_t)b->value);
	else
		patch(b->off, &(uint8_t){ (uint8_t)b->value }, 1);
	rc = try_open(false);
	if (!b->says) {
		ck_assert_msg(!rc, "%s", e.msg);
		return;
	}
	ck_assert_int_lt(rc, 0);
	ck_assert_msg(strstr(e.msg, b->says) && strstr(e.msg, image), "'%s' in: %s", b->says,
		      e.msg);
}
END_TEST

START_TEST(bad_backing_name)
{
	ck_assert_int_eq(create(image, "cluster_size=4K", 1 << 20, NULL, NULL), 0);
	patch64(FIELD(backing_file_offset), 4000);
	patch32(FIELD(backing_file_size), 1024);
	ck_assert_int_lt(try_open(false), 0);
	ck_assert_msg(strstr(e.msg, "backing_file_size is 1024"), "%s", e.msg);
	patch32(FIELD(backing_file_size), 97);
	ck_assert_int_lt(try_open(false), 0);
	ck_assert_msg(strstr(e.msg, "backing_file_offset is 4000"), "%s", e.msg);
	patch64(FIELD(backing_file_offset), 8);
	ck_assert_int_lt(try_open(false), 0);
	ck_assert_msg(strstr(e.msg, "backing_file_offset is 8"), "%s", e.msg);
}
END_TEST

/* The feature's name comes from the image. */
START_TEST(unknown_feature)
{
	static const char name[] = "time travel";

	ck_assert_int_eq(create(image, "", 1 << 20, NULL, NULL), 0);
	patch64(FIELD(incompatible_features), 1ull << 7);
	/* The table follows the header; its first entry gets another bit and name. */
	patch(sizeof(struct qcow2_header) + 8 + 1, &(uint8_t){ 7 }, 1);
	patch(sizeof(struct qcow2_header) + 8 + 2, name, sizeof(name));
	ck_assert_int_eq(try_open(true), -ENOTSUP);
	ck_assert_msg(strstr(e.msg, "'time travel'"), "%s", e.msg);
}
END_TEST

START_TEST(marked_corrupt)
{
	ck_assert_int_eq(create(image, "", 1 << 20, NULL, NULL), 0);
	patch64(FIELD(incompatible_features), 2);
	ck_assert_int_eq(try_open(false), -EROFS);
	ck_assert_int_eq(try_open(true), 0);
}
END_TEST

START_TEST(backing_files)
{
	char other[160];

	ck_assert_int_eq(create(image, "", 1 << 20, "gone.img", "raw"), 0);
	ck_assert_int_eq(try_open(false), -ENOENT);
	ck_assert_msg(strstr(e.msg, "gone.img") && strstr(e.msg, image), "%s", e.msg);
	/* itself, and by way of another */
	ck_assert_int_eq(create(image, "", 1 << 20, "disk.qcow2", "qcow2"), 0);
	ck_assert_int_eq(try_open(true), -ELOOP);
	snprintf(other, sizeof(other), "%s/other.qcow2", dir);
	ck_assert_int_eq(create(image, "", 1 << 20, "other.qcow2", "qcow2"), 0);
	ck_assert_int_eq(create(other, "", 1 << 20, "disk.qcow2", "qcow2"), 0);
	ck_assert_int_eq(try_open(true), -ELOOP);
	ck_assert_msg(strstr(e.msg, "loop"), "%s", e.msg);
	/* no format recorded: what it looks like */
	ck_assert_int_eq(create(other, "", 1 << 20, NULL, NULL), 0);
	ck_assert_int_eq(create(image, "", 1 << 20, "other.qcow2", NULL), 0);
	ck_assert_int_eq(try_open(false), 0);
}
END_TEST

static int read_first(void)
{
	struct blk_node *n = open_image(image, true);
	uint8_t buf[512];
	int rc = blk_node_pread(n, 0, buf, sizeof(buf));

	blk_node_close(n);
	return rc;
}

static int write_first(void)
{
	struct blk_node *n = open_image(image, false);
	uint8_t buf[512] = { 1 };
	int rc = blk_node_pwrite(n, 0, buf, sizeof(buf));

	blk_node_close(n);
	return rc;
}

/* Clusters: header, refcount table, block, L1, and after a write L2, data. */
enum { REFTABLE = 4096, L1 = 3 * 4096, L2 = 4 * 4096 };

static const struct bad bad_entries[] = {
	{ L1, 8, 0x8000000000000000ull | (L2 + 512), "misaligned L2 table" },
	{ L1, 8, 0x8000000000000000ull | 1ull << 40, "L2 table behind the end" },
	{ L1, 8, 0x8000000000000000ull | 1, "L1 entry with reserved bits" },
	{ L1, 8, 0xc100000000004000ull, "more reserved bits" },
	{ L2, 8, 0x8000000000000000ull | 512, "misaligned data" },
	{ L2, 8, 0x8000000000000000ull | 1ull << 50, "data behind the end" },
	{ L2, 8, 0x8000000000005002ull, "L2 entry with reserved bits" },
	{ L2, 8, 0x4000000000000000ull | 1ull << 45, "compressed data behind the end" },
};

START_TEST(bad_table_entries)
{
	const struct bad *b = &bad_entries[_i];

	ck_assert_int_eq(create(image, "cluster_size=4K", 1 << 20, NULL, NULL), 0);
	ck_assert_int_eq(write_first(), 0);
	patch64(b->off, b->value);
	ck_assert_msg(read_first() == -EIO, "%s", b->says);
	ck_assert_msg(write_first() == -EIO, "%s", b->says);
	ck_assert_msg(try_open(false) == -EROFS, "%s is marked as corrupt", b->says);
}
END_TEST

/* Data that would be written over tables. */
START_TEST(data_over_metadata)
{
	static const uint64_t places[] = { REFTABLE, L1 };

	ck_assert_int_eq(create(image, "cluster_size=4K", 1 << 20, NULL, NULL), 0);
	ck_assert_int_eq(write_first(), 0);
	patch64(L2, 0x8000000000000000ull | places[_i]);
	ck_assert_int_eq(write_first(), -EIO);
	ck_assert_int_eq(try_open(false), -EROFS);
	ck_assert_int_eq(try_open(true), 0);
}
END_TEST

/* A free cluster where metadata lie. */
START_TEST(wrong_refcounts)
{
	ck_assert_int_eq(create(image, "cluster_size=4K", 1 << 20, NULL, NULL), 0);
	patch(2 * 4096, (uint8_t[8]){ 0 }, 8);
	ck_assert_int_eq(write_first(), -EIO);
	ck_assert_int_eq(try_open(false), -EROFS);
}
END_TEST

START_TEST(sizes)
{
	struct blk_node *n;
	uint8_t buf[512];

	ck_assert_int_eq(create(image, "cluster_size=512", 1 << 20, NULL, NULL), 0);
	ck_assert_int_eq(write_first(), 0);
	n = open_image(image, false);
	ck_assert_int_eq(blk_node_truncate(n, 1ull << 32, &e), 0);
	ck_assert_uint_eq(n->size, 1ull << 32);
	ck_assert_int_eq(blk_node_pwrite(n, (1ull << 32) - 512, "x", 1), 0);
	ck_assert_int_eq(blk_node_truncate(n, 1ull << 50, &e), -EFBIG);
	ck_assert_int_eq(blk_node_truncate(n, 100, &e), -EINVAL);
	blk_node_close(n);
	tool("qemu-img check -U -q %s >&2", image);
	n = open_image(image, false);
	ck_assert_int_eq(blk_node_truncate(n, 1024, &e), 0);
	ck_assert_int_eq(blk_node_truncate(n, 1ull << 32, &e), 0);
	ck_assert_int_eq(blk_node_pread(n, (1ull << 32) - 512, buf, 512), 0);
	ck_assert_int_eq(buf[0], 0);
	ck_assert_int_eq(blk_node_pread(n, 0, buf, 512), 0);
	ck_assert_int_eq(buf[0], 1);
	blk_node_close(n);
	tool("qemu-img check -U -q %s >&2", image);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("qcow2");
	TCase *t = tcase_create("requests");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, random_requests, 0, sizeof(geometries) / sizeof(geometries[0]));
	tcase_add_loop_test(t, power_cut, 0, 11);
	tcase_add_loop_test(t, failing_host, 0, sizeof(geometries) / sizeof(geometries[0]));
	suite_add_tcase(s, t);
	t = tcase_create("refused");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, bad_header_fields, 0, sizeof(bad_fields) / sizeof(bad_fields[0]));
	tcase_add_test(t, bad_backing_name);
	tcase_add_test(t, unknown_feature);
	tcase_add_test(t, marked_corrupt);
	tcase_add_test(t, backing_files);
	tcase_add_loop_test(t, bad_table_entries, 0, sizeof(bad_entries) / sizeof(bad_entries[0]));
	tcase_add_loop_test(t, data_over_metadata, 0, 2);
	tcase_add_test(t, wrong_refcounts);
	tcase_add_test(t, sizes);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
