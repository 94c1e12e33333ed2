/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of encrypted qcow2 images on real files: random requests of any alignment, many at
 * a time, against a model, at several geometries, compared by qemu-img where it is installed;
 * images of qemu-img's; keys that are wrong or missing; headers that must be refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"
#include "block.h"
#include "block_int.h"
#include "err.h"
#include "loop.h"
#include "opts.h"
#include "props.h"
#include "secret.h"
#include "wire/luks.h"
#include "wire/qcow2.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { MODEL_MAX = 24 << 20, TOOL_TRIES = 20 };

static struct err e;
static char dir[64], image[128], base[128], plain[128];
static bool have_tool;
static uint8_t *model, *got;
static unsigned seed;

static void add_secret(const char *text)
{
	struct opts o;

	ck_assert_int_eq(opts_parse(&o, text, NULL, &e), 0);
	ck_assert_msg(!secret_add(&o, &e), "%s", e.msg);
	opts_free(&o);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test_qcow2_crypt.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	snprintf(base, sizeof(base), "%s/base.qcow2", dir);
	snprintf(plain, sizeof(plain), "%s/plain.raw", dir);
	have_tool = !system("command -v qemu-img >/dev/null");
	e = (struct err){ 0 };
	add_secret("id=s,data=pw");
	add_secret("id=wrong,data=PW");
	add_secret("id=new,data=another");
	model = calloc(1, MODEL_MAX);
	got = malloc(MODEL_MAX);
	seed = 1;
}

static void teardown(void)
{
	char cmd[96];

	free(model);
	free(got);
	secrets_wipe();
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static unsigned rnd(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (unsigned)(((uint64_t)(seed >> 4) * below) >> 28);
}

static bool says(const char *text)
{
	return strstr(e.msg, text) || strstr(e.hint, text);
}

static const struct blk_driver *driver(void)
{
	return blk_driver_find("qcow2");
}

static int try_create(const char *name, const char *options, uint64_t size, const char *backing)
{
	const struct blk_image_ops *ops = driver()->image;
	struct blk_create c = { .size = size,
				.backing = backing,
				.backing_format = backing ? "qcow2" : NULL };
	void *o = calloc(1, ops->create_size);
	struct opts opts;
	int rc;

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
	e = (struct err){ 0 };
	rc = ops->create(name, &c, &e);
	props_free(ops->create_props, o);
	opts_free(&opts);
	free(o);
	return rc;
}

#define LUKS "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1"

static void must_create(const char *name, const char *more, uint64_t size, const char *backing)
{
	char text[256];

	snprintf(text, sizeof(text), LUKS "%s%s", *more ? "," : "", more);
	ck_assert_msg(!try_create(name, text, size, backing), "%s", e.msg);
}

static struct blk_open how = { .locking = true, .discard = true };

static int try_open(const char *name, const char *keys, struct blk_node **n)
{
	struct opts o = { 0 };
	char text[512];
	int rc;

	snprintf(text, sizeof(text), "file.driver=file,file.filename=%s%s%s", name,
		 *keys ? "," : "", keys);
	ck_assert_int_eq(opts_parse(&o, text, NULL, &e), 0);
	e = (struct err){ 0 };
	rc = blk_node_open(driver(), &o, &how, NULL, n, &e);
	opts_free(&o);
	return rc;
}

static struct blk_node *must_open(const char *name, const char *keys)
{
	struct blk_node *n = NULL;

	ck_assert_msg(!try_open(name, keys, &n), "%s", e.msg);
	return n;
}

#define KEY "encrypt.key-secret=s"

__attribute__((format(printf, 1, 2))) static int shell(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

#define run(...) ck_assert_msg(!shell(__VA_ARGS__), "a command failed, see above")
#define SECRET "--object secret,id=s,data=pw"
#define OPTS "--image-opts driver=qcow2,encrypt.key-secret=s,file.filename="

static void write_plain(uint64_t size)
{
	FILE *f = fopen(plain, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(model, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

/* What qemu-img sees is what the model says. */
static void compare_by_tool(uint64_t size, const char *more)
{
	if (!have_tool)
		return;
	write_plain(size);
	run("qemu-img check -q " SECRET " " OPTS "%s%s", image, more);
	run("qemu-img compare -q " SECRET " " OPTS "%s%s driver=raw,file.filename=%s", image, more,
	    plain);
}

/* qemu-img gives up when it finds the clock of a busy machine too coarse: again, then. */
static void create_by_tool(const char *name, const char *options)
{
	for (int i = 0; i < TOOL_TRIES; i++)
		if (!shell("qemu-img create -q -f qcow2 " SECRET " -o " LUKS "%s %s 4M 2>>%s/log",
			   options, name, dir))
			return;
	ck_abort_msg("qemu-img cannot make an image");
}

/* --- random requests ---------------------------------------------------------------------------
 */

static const struct geometry {
	const char *options;
	uint64_t size, backing_size; /* 0: none */
} geometries[] = {
	{ "", 8 << 20, 0 },
	{ "cluster_size=512", 2 << 20, 0 },
	{ "cluster_size=4K,refcount_bits=64", 4 << 20, 3 << 20 },
	{ "cluster_size=2M", 20 << 20, 9 << 20 },
	{ "compat=0.10,cluster_size=32K", 4 << 20, 0 },
	{ "compat=0.10,cluster_size=4K,preallocation=metadata", 2 << 20, 0 },
	{ "extended_l2=on", 8 << 20, 8 << 20 },
	{ "extended_l2=on,cluster_size=16K,encrypt.cipher-alg=aes-128", 4 << 20, 1 << 20 },
	{ "data_file=DIR/data.raw,cluster_size=8K", 4 << 20, 0 },
	{ "preallocation=metadata", 4 << 20, 0 },
	{ "preallocation=falloc,cluster_size=16K", 4 << 20, 0 },
	{ "preallocation=full,lazy_refcounts=on", 4 << 20, 0 },
	{ "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,cluster_size=1K", 2 << 20, 0 },
};

enum { SLOTS = 16, BUF = 160 << 10 };

static struct slot {
	struct blk_io io; /* first */
	struct iovec iov[2];
	uint8_t buf[BUF], copy[BUF];
	bool busy;
} slots[SLOTS];

static struct blk_node *node;
static struct loop *loop;
static uint64_t disk;
static unsigned left, busy;

static void next(struct slot *s);

static void on_done(struct blk_io *io, int ret)
{
	struct slot *s = (struct slot *)io;

	ck_assert_msg(!ret, "op %d at %#" PRIx64 " + %#" PRIx64 ": %s", io->op, io->off, io->len,
		      strerror(-ret));
	if (io->op == BLK_READ)
		ck_assert_mem_eq(s->buf, model + s->io.off, s->io.len);
	/* Nobody writes to the guest's memory. */
	if (io->op == BLK_WRITE)
		ck_assert_mem_eq(s->buf, s->copy, s->io.len);
	s->busy = false;
	busy--;
	if (left)
		next(s);
	else if (!busy)
		loop_quit(loop);
}

/* Bytes that no other request touches; those may lie in the same sectors. */
static void place(struct blk_io *io)
{
	bool sectors = !rnd(3), again = true;

	while (again) {
		io->len = 1 + rnd(rnd(3) ? 6000 : BUF - 1);
		io->off = rnd((unsigned)disk);
		if (sectors) {
			io->len = (io->len + 511) / 512 * 512;
			io->off = io->off / 512 * 512;
		}
		if (io->len > disk - io->off)
			io->len = disk - io->off;
		again = false;
		for (unsigned i = 0; i < SLOTS; i++) {
			const struct blk_io *o = &slots[i].io;

			again |= slots[i].busy && io->off < o->off + o->len &&
				 o->off < io->off + io->len;
		}
	}
}

static void next(struct slot *s)
{
	unsigned n = rnd(10);

	s->io = (struct blk_io){ .op = n < 4   ? BLK_READ
				       : n < 9 ? BLK_WRITE
					       : BLK_WRITE_ZEROES,
				 .done = on_done };
	place(&s->io);
	if (s->io.op == BLK_WRITE) {
		uint8_t start = (uint8_t)rnd(256);

		for (uint64_t i = 0; i < s->io.len; i++)
			s->buf[i] = s->copy[i] = (uint8_t)(start + i / 100);
		memcpy(model + s->io.off, s->buf, s->io.len);
		s->io.flags = rnd(20) ? 0 : BLK_FUA;
	} else if (s->io.op == BLK_WRITE_ZEROES) {
		memset(model + s->io.off, 0, s->io.len);
		s->io.flags = rnd(2) ? BLK_UNMAP : 0;
	}
	if (s->io.op != BLK_WRITE_ZEROES) {
		uint64_t a = s->io.len > 700 ? 100 + rnd(500) : s->io.len;

		s->iov[0] = (struct iovec){ s->buf, a };
		s->iov[1] = (struct iovec){ s->buf + a, s->io.len - a };
		s->io.iov = s->iov;
		s->io.n_iov = a < s->io.len ? 2 : 1;
	}
	s->busy = true;
	busy++;
	left--;
	blk_node_submit(node, &s->io);
}

static void session(unsigned requests)
{
	node = must_open(image, KEY);
	ck_assert_uint_eq(node->size, disk);
	ck_assert_int_eq(loop_create(&loop, &e), 0);
	ck_assert_int_eq(blk_node_attach(node, loop, &e), 0);
	left = requests;
	for (unsigned i = 0; i < SLOTS; i++)
		next(&slots[i]);
	loop_run(loop);
	blk_node_detach(node);
	loop_destroy(loop);
	ck_assert_int_eq(blk_node_pread(node, 0, got, disk), 0);
	ck_assert_mem_eq(got, model, disk);
	blk_node_close(node);
}

static void make_backing(uint64_t size)
{
	struct blk_node *b;

	if (!size)
		return;
	ck_assert_msg(!try_create(base, "", size, NULL), "%s", e.msg);
	b = must_open(base, "");
	for (uint64_t i = 0; i < size; i++)
		model[i] = (uint8_t)(i / 512 * 7 + 1);
	ck_assert_int_eq(blk_node_pwrite(b, 0, model, size), 0);
	blk_node_close(b);
}

START_TEST(random_requests)
{
	const struct geometry *g = &geometries[_i];

	disk = g->size;
	make_backing(g->backing_size);
	must_create(image, g->options, disk, g->backing_size ? "base.qcow2" : NULL);
	node = must_open(image, KEY);
	ck_assert_int_eq(blk_node_pread(node, 0, got, disk), 0);
	ck_assert_mem_eq(got, model, disk);
	blk_node_close(node);
	for (unsigned i = 0; i < 3; i++) {
		seed = 1 + i + 10 * (unsigned)_i;
		session(250);
	}
	compare_by_tool(disk, "");
}
END_TEST

/* --- a sector and a part of it, at the same time --- */

static unsigned pending;
static struct blk_io *held; /* writes that the file has not seen yet */
static struct loop_timer release_timer;
static bool hold;

static void release(void *ctx)
{
	struct blk_node *file = ctx;
	struct blk_io *io = held;

	held = io->next;
	if (held)
		loop_timer_set(&release_timer, loop_now_ns() + 1000000);
	blk_node_submit(file, io);
}

/* Reads overtake writes, which go one by one, in their order. */
static void slow_submit(struct blk_node *n, struct blk_io *io)
{
	struct blk_io **end = &held;

	if (!hold || io->op != BLK_WRITE) {
		blk_node_submit(n->file, io);
		return;
	}
	if (!held)
		loop_timer_set(&release_timer, loop_now_ns() + 1000000);
	while (*end)
		end = &(*end)->next;
	io->next = NULL;
	*end = io;
}

static int slow_open(struct blk_node *n, struct err *err)
{
	return 0;
}

static int slow_truncate(struct blk_node *n, uint64_t size, struct err *err)
{
	int rc = blk_node_truncate(n->file, size, err);

	n->size = n->file->size;
	return rc;
}

static const struct blk_driver slow = {
	.name = "slow",
	.filter = true,
	.open = slow_open,
	.submit = slow_submit,
	.truncate = slow_truncate,
};

static struct blk_node *open_slow(void)
{
	struct opts o, none = { 0 };
	struct blk_node *n = NULL;

	ck_assert_int_eq(opts_parse(&o, KEY, NULL, &e), 0);
	ck_assert_int_eq(blk_node_open_file(image, "raw", &how, &n, &e), 0);
	ck_assert_int_eq(blk_node_open(&slow, &none, &how, n, &n, &e), 0);
	ck_assert_msg(!blk_node_open(driver(), &o, &how, n, &n, &e), "%s", e.msg);
	opts_free(&o);
	return n;
}

static void count_down(struct blk_io *io, int ret)
{
	ck_assert_int_eq(ret, 0);
	if (!--pending)
		loop_quit(loop);
}

/* Whichever bytes the part does not name are the sector's, not those of before. */
START_TEST(test_parts_wait)
{
	enum { PAIRS = 8 };
	static uint8_t whole[512], part[10];
	struct iovec iov[2] = { { whole, sizeof(whole) }, { part, sizeof(part) } };
	static struct blk_io io[2 * PAIRS];

	must_create(image, "", 1 << 20, NULL);
	node = open_slow();
	ck_assert_int_eq(blk_node_pwrite(node, 0, model, PAIRS * 512), 0);
	ck_assert_int_eq(loop_create(&loop, &e), 0);
	ck_assert_int_eq(blk_node_attach(node, loop, &e), 0);
	loop_timer_init(&release_timer, loop, release, node->file->file);
	for (unsigned round = 1; round < 6; round++) {
		memset(whole, (int)round, sizeof(whole));
		memset(part, (int)round + 100, sizeof(part));
		pending = 2 * PAIRS;
		hold = true;
		for (unsigned i = 0; i < 2 * PAIRS; i++) {
			bool small = (i + round) & 1;

			io[i] = (struct blk_io){ .op = BLK_WRITE,
						 .off = i / 2 * 512 + (small ? 100 : 0),
						 .len = iov[small].iov_len,
						 .iov = &iov[small],
						 .n_iov = 1,
						 .done = count_down };
			blk_node_submit(node, &io[i]);
		}
		loop_run(loop);
		hold = false;
		for (unsigned i = 0; i < PAIRS; i++) {
			ck_assert_int_eq(blk_node_pread(node, i * 512, got, 512), 0);
			for (unsigned k = 0; k < 512; k++)
				ck_assert_msg(got[k] == round || (k >= 100 && k < 110 &&
								  got[k] == round + 100),
					      "round %u, byte %u is %u", round, k, got[k]);
		}
	}
	blk_node_detach(node);
	loop_destroy(loop);
	blk_node_close(node);
}
END_TEST

/* --- what lies in the file ----------------------------------------------------------------------
 */

static const char text[] = "In the beginning there was nothing, which nobody could read; then "
			   "there was this sentence.";

static bool file_holds(const char *name, const char *what)
{
	FILE *f = fopen(name, "re");
	size_t n = f ? fread(got, 1, MODEL_MAX, f) : 0;

	ck_assert_ptr_nonnull(f);
	fclose(f);
	return memmem(got, n, what, strlen(what)) != NULL;
}

START_TEST(test_no_plain_text)
{
	char buf[512] = "";

	/* Also what is copied from the backing file when a part of a cluster is written. */
	ck_assert_int_eq(try_create(base, "", 1 << 20, NULL), 0);
	node = must_open(base, "");
	ck_assert_int_eq(blk_node_pwrite(node, 70000, text, sizeof(text)), 0);
	blk_node_close(node);
	ck_assert(file_holds(base, text));
	must_create(image, "", 1 << 20, "base.qcow2");
	node = must_open(image, KEY);
	ck_assert_int_eq(blk_node_pwrite(node, 80000, text, sizeof(text)), 0);
	ck_assert_int_eq(blk_node_pwrite(node, 300001, text, sizeof(text)), 0);
	ck_assert_int_eq(blk_node_pread(node, 70000, buf, sizeof(text)), 0);
	ck_assert_str_eq(buf, text);
	blk_node_close(node);
	ck_assert(!file_holds(image, text));
	ck_assert(!file_holds(image, "nobody"));
	node = must_open(image, KEY);
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(blk_node_pread(node, 300001, buf, sizeof(text)), 0);
	ck_assert_str_eq(buf, text);
	blk_node_close(node);
}
END_TEST

static int last_ret;
static bool last_done;

static void note(struct blk_io *io, int ret)
{
	last_done = true;
	last_ret = ret;
}

static int run_io(struct blk_node *n, struct blk_io *io)
{
	io->done = note;
	last_done = false;
	blk_node_submit(n, io);
	while (!last_done)
		blk_node_poll(n);
	return last_ret;
}

START_TEST(test_not_compressed)
{
	struct iovec iov = { .iov_base = model, .iov_len = 65536 };
	struct blk_io io = {
		.op = BLK_WRITE, .flags = BLK_COMPRESSED, .len = 65536, .iov = &iov, .n_iov = 1
	};
	uint64_t at;

	must_create(image, "", 1 << 20, NULL);
	node = must_open(image, KEY);
	ck_assert_int_eq(run_io(node, &io), -ENOTSUP);
	ck_assert_int_eq(blk_node_pwrite(node, 0, model, 65536), 0);
	/* Nor can anyone copy the file's bytes for the guest's. */
	ck_assert(!driver()->place(node, 0, &at));
	blk_node_close(node);
}
END_TEST

/* --- keys
 * ----------------------------------------------------------------------------------------- */

START_TEST(test_keys)
{
	struct blk_node *n = NULL;
	uint8_t buf[512];
	json_t *info, *crypt;

	must_create(image, "", 1 << 20, NULL);
	ck_assert_int_eq(try_open(image, "", &n), -ENOKEY);
	ck_assert(says("encrypt.key-secret= is missing") && says(image));
	ck_assert(says("-object secret,id=") && says("encrypt.key-secret=sec0"));
	ck_assert_int_eq(try_open(image, "encrypt.key-secret=none", &n), -ENOENT);
	ck_assert(says("encrypt.key-secret=none: no secret"));
	ck_assert_int_eq(try_open(image, "encrypt.key-secret=wrong", &n), -EACCES);
	ck_assert(says("fits none of its key slots"));
	ck_assert_int_eq(try_open(image, KEY ",encrypt.format=aes", &n), -EINVAL);
	ck_assert(says("encrypt.format=aes") && says("luks"));
	blk_node_close(must_open(image, KEY ",encrypt.format=luks"));

	/* Looking at tables takes no key; data are not to be had. */
	how.no_data = true;
	n = must_open(image, "");
	how.no_data = false;
	ck_assert_int_eq(blk_node_pwrite(n, 0, buf, 512), -EACCES);
	info = driver()->image->info(n);
	crypt = json_object_get(info, "encrypt");
	ck_assert(json_is_true(json_object_get(info, "encrypted")));
	ck_assert_str_eq(json_string_value(json_object_get(crypt, "format")), "luks");
	ck_assert_str_eq(json_string_value(json_object_get(crypt, "cipher-mode")), "xts");
	json_decref(info);
	blk_node_close(n);

	/* A key for what is not encrypted would be a false promise. */
	ck_assert_int_eq(try_create(image, "", 1 << 20, NULL), 0);
	ck_assert_int_eq(try_open(image, KEY, &n), -EINVAL);
	ck_assert(says("is not encrypted"));
}
END_TEST

START_TEST(test_read_without_key)
{
	struct blk_node *n;
	uint8_t buf[512];

	must_create(image, "", 1 << 20, NULL);
	n = must_open(image, KEY);
	ck_assert_int_eq(blk_node_pwrite(n, 0, memset(buf, 7, 512), 512), 0);
	blk_node_close(n);
	how.no_data = true;
	n = must_open(image, "");
	how.no_data = false;
	ck_assert_int_eq(blk_node_pread(n, 0, buf, 512), -EACCES);
	blk_node_close(n);
}
END_TEST

START_TEST(test_encrypted_backing)
{
	struct blk_node *n = NULL;
	char buf[512];

	must_create(base, "", 1 << 20, NULL);
	n = must_open(base, KEY);
	ck_assert_int_eq(blk_node_pwrite(n, 1000, text, sizeof(text)), 0);
	blk_node_close(n);
	ck_assert_int_eq(try_create(image, "", 1 << 20, "base.qcow2"), 0);
	ck_assert_int_eq(try_open(image, "", &n), -ENOKEY);
	ck_assert(says("backing file") && says("backing.encrypt.key-secret="));
	n = must_open(image, "backing." KEY);
	ck_assert_int_eq(blk_node_pread(n, 1000, buf, sizeof(text)), 0);
	ck_assert_str_eq(buf, text);
	ck_assert_int_eq(blk_node_pwrite(n, 0, "x", 1), 0);
	ck_assert_int_eq(blk_node_pread(n, 1000, buf, sizeof(text)), 0);
	ck_assert_str_eq(buf, text);
	blk_node_close(n);
	ck_assert_int_eq(try_open(image, "backing.bogus=1", &n), -EINVAL);
	ck_assert(says("bogus"));
	ck_assert_int_eq(try_open(base, KEY ",backing." KEY, &n), -EINVAL);
	ck_assert(says("has no backing file"));
}
END_TEST

/* -drive: keys of encryption are taken before the format is known, and only then. */
START_TEST(test_drive)
{
	static const struct {
		const char *keys, *says; /* NULL: it opens */
	} cases[] = {
		{ KEY, NULL },
		{ KEY ",format=qcow2", NULL },
		{ "format=qcow2", "encrypt.key-secret= is missing" },
		{ "encrypt.key-secret=wrong", "fits none" },
		{ "encrypt.bogus=1", "bogus" },
		{ KEY ",format=raw", "encrypt.key-secret" },
		{ "key-secret=s", "key-secret" },
		{ KEY ",backing." KEY, "has no backing file" },
		{ "bogus=1", "unknown key 'bogus'" },
	};
	struct blk_set *set;
	struct drive d;
	char arg[256];

	must_create(image, "", 1 << 20, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int rc;

		ck_assert_int_eq(loop_create(&loop, &e), 0);
		ck_assert_int_eq(blk_set_create(&set, loop, NULL, &e), 0);
		snprintf(arg, sizeof(arg), "if=none,file=%s,%s", image, cases[i].keys);
		e = (struct err){ 0 };
		rc = blk_add_drive(set, arg, &d, &e);
		ck_assert_msg(!rc == !cases[i].says, "%s: %s", arg, e.msg);
		ck_assert_msg(!rc || says(cases[i].says), "%s: %s (%s)", arg, e.msg, e.hint);
		blk_set_destroy(set);
		loop_destroy(loop);
	}
}
END_TEST

START_TEST(test_create_refused)
{
	static const struct {
		const char *options, *says;
		int rc;
	} bad[] = {
		{ "encryption=on", "not made any more", -ENOTSUP },
		{ "encrypt.format=aes,encrypt.key-secret=s", "encrypt.format=luks", -ENOTSUP },
		{ "encrypt.format=rot13", "rot13", -EINVAL },
		{ "encrypt.format=luks", "needs encrypt.key-secret=", -EINVAL },
		{ "encrypt.format=luks,encrypt.key-secret=none", "none: no secret", -ENOENT },
		{ "encrypt.key-secret=s", "need encrypt.format=luks", -EINVAL },
		{ LUKS ",encrypt.cipher-alg=des", "des", -EINVAL },
		{ LUKS ",data_file=DIR/d,data_file_raw=on", "data_file_raw", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int rc = try_create(image, bad[i].options, 1 << 20, NULL);

		ck_assert_msg(rc == bad[i].rc && says(bad[i].says), "%s: %d %s (%s)",
			      bad[i].options, rc, e.msg, e.hint);
		ck_assert_int_ne(access(image, F_OK), 0);
	}
}
END_TEST

/* --- hostile headers
 * ------------------------------------------------------------------------------ */

static void poke(uint64_t at, const void *data, size_t len)
{
	int fd = open(image, O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, data, len, (off_t)at), (ssize_t)len);
	close(fd);
}

static void poke64(uint64_t at, uint64_t v)
{
	struct be64 w = cpu_to_be64(v);

	poke(at, &w, sizeof(w));
}

static void poke32(uint64_t at, uint32_t v)
{
	struct be32 w = cpu_to_be32(v);

	poke(at, &w, sizeof(w));
}

static void refused(const char *what)
{
	struct blk_node *n = NULL;

	ck_assert_int_lt(try_open(image, KEY, &n), 0);
	ck_assert_msg(says(what), "%s", e.msg);
	how.no_data = true;
	ck_assert_int_lt(try_open(image, "", &n), 0);
	how.no_data = false;
}

START_TEST(test_hostile_header)
{
	enum { EXT = 112, OFFSET = EXT + 8, LEN = EXT + 16 };
	struct qcow2_ext head;
	struct qcow2_crypt_ext x;
	uint64_t host, len;
	int fd;

	must_create(image, "", 1 << 20, NULL);
	fd = open(image, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &head, sizeof(head), EXT), sizeof(head));
	ck_assert_int_eq(pread(fd, &x, sizeof(x), OFFSET), sizeof(x));
	close(fd);
	ck_assert_uint_eq(be32_to_cpu(head.type), QCOW2_EXT_CRYPT);
	host = be64_to_cpu(x.offset);
	len = be64_to_cpu(x.len);
	ck_assert_uint_eq(len, 2068480);

	poke64(OFFSET, host + 512);
	refused("offset");
	poke64(OFFSET, 0);
	refused("inside the header");
	poke64(OFFSET, 65536); /* the refcount table */
	refused("overlaps other tables");
	poke64(OFFSET, 1ull << 40);
	refused("behind the end");
	poke64(OFFSET, UINT64_MAX & ~65535ull);
	refused("behind the end");
	poke64(OFFSET, host);
	poke64(LEN, 0);
	refused("0 bytes, and the header has");
	poke64(LEN, 591);
	refused("591 bytes");
	poke64(LEN, len - 1);
	refused("payload-offset");
	poke64(LEN, UINT64_MAX);
	refused("length");
	/* A long file with nothing in it makes no work of a header. */
	ck_assert_int_eq(truncate(image, 1ull << 40), 0);
	poke64(LEN, (1ull << 40) - host);
	refused("more than 64 MiB");
	poke64(LEN, len);
	poke32(EXT + 4, 15);
	refused("less than 16");
	poke32(EXT + 4, 16);
	poke32(EXT, 0x12345678);
	refused("no extension says");
	poke32(EXT, QCOW2_EXT_CRYPT);
	poke32(32, 3);
	refused("crypt_method");
	poke32(32, 2);
	poke(host, "LUXS", 4);
	refused("no magic number");
	poke(host, "LUKS", 4);
	blk_node_close(must_open(image, KEY));
}
END_TEST

/* --- images of qemu-img's
 * --------------------------------------------------------------------------- */

START_TEST(test_from_tool)
{
	static const char *const kinds[] = {
		"", ",cluster_size=4k,encrypt.cipher-alg=aes-128",
		",encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
		",extended_l2=on,compat=1.1"
	};
	struct blk_node *n;

	if (!have_tool)
		return;
	create_by_tool(image, kinds[_i]);
	run("qemu-io " SECRET " " OPTS
	    "%s -c 'write -q -P 0x77 100k 300k' -c 'write -q -P 0x66 1000001 99' "
	    "-c 'write -q -P 0x33 3M 1M' -c 'write -q -z 3200k 64k' >%s/log",
	    image, dir);
	memset(model + 102400, 0x77, 307200);
	memset(model + 1000001, 0x66, 99);
	memset(model + (3 << 20), 0x33, 1 << 20);
	memset(model + (3200 << 10), 0, 64 << 10);
	n = must_open(image, KEY);
	ck_assert_int_eq(blk_node_pread(n, 0, got, 4 << 20), 0);
	ck_assert_mem_eq(got, model, 4 << 20);
	ck_assert_int_eq(blk_node_pwrite(n, 200001, text, sizeof(text)), 0);
	memcpy(model + 200001, text, sizeof(text));
	blk_node_close(n);
	compare_by_tool(4 << 20, "");
}
END_TEST

START_TEST(test_old_aes)
{
	struct blk_node *n = NULL;
	json_t *info;

	if (!have_tool)
		return;
	/* At most 16 bytes of the passphrase count. */
	run("qemu-img create -q -f qcow2 " SECRET
	    " -o encrypt.format=aes,encrypt.key-secret=s,cluster_size=4k %s 4M",
	    image);
	run("qemu-io " SECRET " " OPTS "%s -c 'write -q -P 0x77 100k 300k' "
	    "-c 'write -q -P 0x55 2M 1M' -c 'write -q -P 0x66 7k 1k' >%s/log",
	    image, dir);
	memset(model + 102400, 0x77, 307200);
	memset(model + (2 << 20), 0x55, 1 << 20);
	memset(model + 7168, 0x66, 1024);
	ck_assert_int_eq(try_open(image, KEY, &n), -EROFS);
	ck_assert(says("can only be read") && says("posada-img convert"));
	how.auto_readonly = true;
	n = must_open(image, KEY);
	how.auto_readonly = false;
	ck_assert(n->readonly);
	blk_node_close(n);
	how.readonly = true;
	n = must_open(image, KEY);
	ck_assert_int_eq(blk_node_pread(n, 0, got, 4 << 20), 0);
	ck_assert_mem_eq(got, model, 4 << 20);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t off = rnd(4000000), len = 1 + rnd(20000);

		ck_assert_int_eq(blk_node_pread(n, off, got, len), 0);
		ck_assert_mem_eq(got, model + off, len);
	}
	ck_assert_int_eq(blk_node_pwrite(n, 0, model, 512), -EROFS);
	info = driver()->image->info(n);
	ck_assert_str_eq(json_string_value(
				 json_object_get(json_object_get(info, "encrypt"), "format")),
			 "aes");
	json_decref(info);
	blk_node_close(n);
	ck_assert_int_eq(try_open(image, "", &n), -ENOKEY);
	how.readonly = false;
}
END_TEST

/* --- key slots
 * ------------------------------------------------------------------------------------- */

static int try_amend(const char *keys, const char *options, bool force)
{
	const struct blk_amend a = { .force = force };
	struct blk_node *n = must_open(image, keys);
	struct opts o;
	int rc;

	ck_assert_int_eq(opts_parse(&o, options, NULL, &e), 0);
	e = (struct err){ 0 };
	rc = driver()->image->amend(n, &o, &a, &e);
	opts_free(&o);
	blk_node_close(n);
	return rc;
}

START_TEST(test_key_slots)
{
	struct blk_node *n = NULL;

	must_create(image, "", 4 << 20, NULL);
	n = must_open(image, KEY);
	memset(model, 0x42, 100000);
	ck_assert_int_eq(blk_node_pwrite(n, 0, model, 4 << 20), 0);
	blk_node_close(n);
	ck_assert_int_eq(try_amend(KEY, "encrypt.state=active", false), -EINVAL);
	ck_assert(says("new-secret= is required"));
	ck_assert_int_eq(try_amend(KEY, "encrypt.new-secret=new", false), -EINVAL);
	ck_assert(says("state="));
	ck_assert_int_eq(try_amend(KEY,
				   "encrypt.state=active,encrypt.new-secret=new,"
				   "encrypt.keyslot=0",
				   false),
			 -EEXIST);
	ck_assert_int_eq(try_amend(KEY,
				   "encrypt.state=active,encrypt.new-secret=new,"
				   "encrypt.keyslot=8",
				   false),
			 -ERANGE);
	ck_assert_int_eq(try_amend(KEY, "encrypt.state=inactive,encrypt.keyslot=0", false),
			 -EINVAL);
	ck_assert(says("refusing"));
	ck_assert_msg(!try_amend(KEY,
				 "encrypt.state=active,encrypt.new-secret=new,"
				 "encrypt.keyslot=6,encrypt.iter-time=1",
				 false),
		      "%s", e.msg);
	ck_assert_msg(!try_amend("encrypt.key-secret=new",
				 "encrypt.state=active,"
				 "encrypt.new-secret=s,encrypt.iter-time=1",
				 false),
		      "%s", e.msg);
	blk_node_close(must_open(image, KEY));
	blk_node_close(must_open(image, "encrypt.key-secret=new"));
	compare_by_tool(4 << 20, "");

	/* Both slots of the old passphrase. */
	ck_assert_int_eq(try_amend(KEY, "encrypt.state=inactive,encrypt.old-secret=wrong", false),
			 -EACCES);
	ck_assert_msg(!try_amend(KEY, "encrypt.state=inactive,encrypt.old-secret=s", false), "%s",
		      e.msg);
	ck_assert_int_eq(try_open(image, KEY, &n), -EACCES);
	ck_assert(says("(1)"));
	n = must_open(image, "encrypt.key-secret=new");
	ck_assert_int_eq(blk_node_pread(n, 0, got, 4 << 20), 0);
	ck_assert_mem_eq(got, model, 4 << 20);
	blk_node_close(n);
	ck_assert_int_eq(try_amend("encrypt.key-secret=new",
				   "encrypt.state=inactive,"
				   "encrypt.keyslot=6",
				   false),
			 -EINVAL);
	ck_assert_msg(!try_amend("encrypt.key-secret=new",
				 "encrypt.state=inactive,"
				 "encrypt.keyslot=6",
				 true),
		      "%s", e.msg);
	ck_assert_int_eq(try_open(image, "encrypt.key-secret=new", &n), -EACCES);
	ck_assert(says("all key slots are disabled"));
}
END_TEST

START_TEST(test_slots_full)
{
	int i = 1;

	must_create(image, "", 1 << 20, NULL);
	for (; i < LUKS_SLOTS; i++)
		ck_assert_int_eq(try_amend(KEY,
					   "encrypt.state=active,encrypt.new-secret=new,"
					   "encrypt.iter-time=1",
					   false),
				 0);
	ck_assert_int_eq(try_amend(KEY, "encrypt.state=active,encrypt.new-secret=new", false),
			 -EINVAL);
	ck_assert(says("all keyslots are in use"));
	ck_assert_msg(!try_amend(KEY, "encrypt.state=inactive,encrypt.old-secret=new", false), "%s",
		      e.msg);
	blk_node_close(must_open(image, KEY));
}
END_TEST

START_TEST(test_slots_and_tool)
{
	if (!have_tool)
		return;
	create_by_tool(image, "");
	run("qemu-io " SECRET " " OPTS "%s -c 'write -q -P 0x77 0 64k' >%s/log", image, dir);
	memset(model, 0x77, 65536);
	ck_assert_msg(!try_amend(KEY,
				 "encrypt.state=active,encrypt.new-secret=new,"
				 "encrypt.iter-time=1",
				 false),
		      "%s", e.msg);
	ck_assert_int_eq(try_amend(KEY, "encrypt.state=inactive,encrypt.keyslot=0", false), 0);
	write_plain(4 << 20);
	run("qemu-img compare -q --object secret,id=n,data=another --image-opts "
	    "driver=qcow2,encrypt.key-secret=n,file.filename=%s driver=raw,file.filename=%s",
	    image, plain);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_drive,
		test_parts_wait,
		test_no_plain_text,
		test_not_compressed,
		test_keys,
		test_read_without_key,
		test_encrypted_backing,
		test_create_refused,
		test_hostile_header,
		test_old_aes,
		test_key_slots,
		test_slots_full,
		test_slots_and_tool,
	};
	Suite *s = suite_create("qcow2_crypt");
	TCase *tc = tcase_create("crypt");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(tc, random_requests, 0, ARRAY_SIZE(geometries));
	tcase_add_loop_test(tc, test_from_tool, 0, 4);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
