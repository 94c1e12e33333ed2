/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of amending qcow2 images: each option, the contents and the checks of qemu-img
 * (where it is installed) afterwards; what must be refused; and the power cut between any two
 * writes, with any of those that no flush had ordered missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"
#include "block_int.h"
#include "err.h"
#include "iov.h"
#include "opts.h"
#include "props.h"
#include "secret.h"
#include "wire/qcow2.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { SIZE = 2 << 20, BASE = 1 << 20, EVENTS = 20000 };

static struct err e;
static char dir[64], image[128], base[128];
static bool have_tool;
static uint8_t model[SIZE], got[2 * SIZE];
static unsigned seed;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	static const char *const secrets[] = { "id=s,data=pw", "id=new,data=another" };

	snprintf(dir, sizeof(dir), "%s/test_qcow2_amend.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	snprintf(base, sizeof(base), "%s/base.img", dir);
	have_tool = !system("command -v qemu-img >/dev/null");
	e = (struct err){ 0 };
	seed = 1;
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
		struct opts o;

		ck_assert_int_eq(opts_parse(&o, secrets[i], NULL, &e), 0);
		ck_assert_int_eq(secret_add(&o, &e), 0);
		opts_free(&o);
	}
}

static void teardown(void)
{
	char cmd[96];

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

/* DIR stands for where the test's files are. */
static void parse(struct opts *o, const char *options)
{
	ck_assert_int_eq(opts_parse(o, options, NULL, &e), 0);
	for (size_t i = 0; i < o->n; i++) {
		char *val = o->opt[i].val;

		if (strncmp(val, "DIR/", 4))
			continue;
		ck_assert_int_gt(asprintf(&o->opt[i].val, "%s%s", dir, val + 3), 0);
		free(val);
	}
}

static void must_create(const char *options, bool backed)
{
	const struct blk_image_ops *ops = driver()->image;
	struct blk_create c = { .size = SIZE,
				.backing = backed ? "base.img" : NULL,
				.backing_format = backed ? "raw" : NULL };
	void *o = calloc(1, ops->create_size);
	struct opts opts;

	parse(&opts, options);
	props_defaults(ops->create_props, o);
	ck_assert_msg(!props_apply(ops->create_props, o, &opts, &e), "%s", e.msg);
	c.opts = o;
	ck_assert_msg(!ops->create(image, &c, &e), "%s", e.msg);
	props_free(ops->create_props, o);
	opts_free(&opts);
	free(o);
}

/* --- a file whose changes are written down
 * -------------------------------------------------------- */

static struct event {
	enum blk_op op; /* BLK_OPS: the file's size becomes off */
	uint64_t off, len;
	uint8_t *data;
} events[EVENTS];
static unsigned n_events;
static bool recording;

struct recorded {
	struct blk_io io; /* first */
	struct blk_io *parent;
};

static void note(enum blk_op op, uint64_t off, uint64_t len, uint8_t *data)
{
	ck_assert_uint_lt(n_events, EVENTS);
	events[n_events++] = (struct event){ op, off, len, data };
}

static void recorder_done(struct blk_io *io, int ret)
{
	struct recorded *r = (struct recorded *)io;
	struct blk_io *parent = r->parent;

	/* Ordered is what was done when the flush began: writes are noted as they end. */
	if (recording && io->op != BLK_READ) {
		uint8_t *data = io->op == BLK_WRITE ? malloc(io->len) : NULL;

		if (data)
			iov_to_buf(io->iov, io->n_iov, 0, data, io->len);
		note(io->op, io->off, io->len, data);
	}
	free(r);
	parent->done(parent, ret);
}

static void recorder_submit(struct blk_node *n, struct blk_io *io)
{
	struct recorded *r = malloc(sizeof(*r));

	r->io = *io;
	r->parent = io;
	r->io.done = recorder_done;
	blk_node_submit(n->file, &r->io);
}

static int recorder_truncate(struct blk_node *n, uint64_t size, struct err *err)
{
	int rc = blk_node_truncate(n->file, size, err);

	if (recording)
		note(BLK_OPS, size, 0, NULL);
	n->size = n->file->size;
	return rc;
}

static int recorder_open(struct blk_node *n, struct err *err)
{
	return 0;
}

static const struct blk_driver recorder = {
	.name = "recorder",
	.filter = true,
	.open = recorder_open,
	.submit = recorder_submit,
	.truncate = recorder_truncate,
};

static int try_open(const char *keys, bool readonly, struct blk_node **n)
{
	struct blk_open how = { .locking = true, .discard = true, .readonly = readonly };
	struct opts o = { 0 }, none = { 0 };
	struct blk_node *file;
	int rc;

	if (*keys)
		parse(&o, keys);
	ck_assert_msg(!blk_node_open_file(image, "raw", &how, &file, &e), "%s", e.msg);
	ck_assert_int_eq(blk_node_open(&recorder, &none, &how, file, &file, &e), 0);
	rc = blk_node_open(driver(), &o, &how, file, n, &e);
	opts_free(&o);
	return rc;
}

static struct blk_node *must_open(const char *keys, bool readonly)
{
	struct blk_node *n = NULL;

	ck_assert_msg(!try_open(keys, readonly, &n), "%s", e.msg);
	return n;
}

static int try_amend(const char *keys, const char *options)
{
	static const struct blk_amend how;
	struct blk_node *n = must_open(keys, false);
	struct opts o;
	int rc;

	parse(&o, options);
	e = (struct err){ 0 };
	rc = driver()->image->amend(n, &o, &how, &e);
	for (size_t i = 0; !rc && i < o.n; i++)
		ck_assert(o.opt[i].used);
	opts_free(&o);
	blk_node_close(n);
	return rc;
}

__attribute__((format(printf, 1, 2))) static int shell(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Exit status 0: sound; 3: leaks. */
static int check_by_tool(const char *keys)
{
	if (!have_tool)
		return 0;
	if (*keys)
		return shell("qemu-img check -q --object secret,id=s,data=pw --image-opts "
			     "driver=qcow2,file.filename=%s,%s >/dev/null 2>&1",
			     image, keys);
	return shell("qemu-img check -q -f qcow2 %s >/dev/null 2>&1", image);
}

/* --- contents
 * ---------------------------------------------------------------------------------------- */

static void make_base(void)
{
	FILE *f = fopen(base, "we");

	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < BASE; i++)
		model[i] = (uint8_t)(i / 512 * 7 + 1);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(model, 1, BASE, f), BASE);
	ck_assert_int_eq(fclose(f), 0);
}

/* Data, zeroes stored and not, holes: with a backing file also where that has something. */
static void fill(const char *keys, bool backed)
{
	struct blk_node *n = must_open(keys, false);
	uint64_t cluster = driver()->image->cluster_size(n);

	if (!backed)
		memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < 60; i++) {
		uint64_t len = 512ull * (1 + rnd(64)), off = 512ull * rnd(SIZE / 512 - 64);
		unsigned what = rnd(4);

		if (what < 2) {
			memset(model + off, (int)(i + 1), len);
			ck_assert_int_eq(blk_node_pwrite(n, off, model + off, len), 0);
			continue;
		}
		off = off / cluster * cluster;
		len = (len + cluster - 1) / cluster * cluster;
		if (len > SIZE - off)
			len = SIZE - off;
		memset(model + off, 0, len);
		ck_assert_int_eq(blk_node_zero(n, off, len, what == 2 ? BLK_UNMAP : 0), 0);
	}
	blk_node_close(n);
}

static void same_contents(const char *keys)
{
	struct blk_node *n = must_open(keys, true);
	uint64_t size = n->size < SIZE ? n->size : SIZE;

	ck_assert_uint_le(n->size, sizeof(got));
	ck_assert_int_eq(blk_node_pread(n, 0, got, n->size), 0);
	ck_assert_mem_eq(got, model, size);
	for (uint64_t i = size; i < n->size; i++)
		ck_assert_uint_eq(got[i], 0);
	blk_node_close(n);
}

/* --- what comes out
 * ------------------------------------------------------------------------------------ */

#define KEY "encrypt.key-secret=s"
#define LUKS "encrypt.format=luks,encrypt.iter-time=1," KEY

static const struct change {
	const char *create, *amend, *keys;
	bool backed;
	const char *field, *value; /* of info */
} changes[] = {
	{ "", "compat=0.10", "", false, "compat", "0.10" },
	{ "", "compat=v2", "", true, "compat", "0.10" },
	{ "lazy_refcounts=on,refcount_bits=64", "compat=0.10,refcount_bits=16,lazy_refcounts=off",
	  "", true, "compat", "0.10" },
	{ "cluster_size=512", "compat=0.10", "", true, "compat", "0.10" },
	{ "cluster_size=2M", "compat=0.10", "", true, "compat", "0.10" },
	{ LUKS, "compat=0.10", KEY, true, "compat", "0.10" },
	{ "compat=0.10", "compat=1.1", "", true, "compat", "1.1" },
	{ "compat=0.10,cluster_size=512", "compat=v3,lazy_refcounts=on,refcount_bits=1", "", false,
	  "lazy-refcounts", "true" },
	{ "", "lazy_refcounts=on", "", true, "lazy-refcounts", "true" },
	{ "lazy_refcounts=on", "lazy_refcounts=off", "", false, "lazy-refcounts", "false" },
	{ "", "refcount_bits=1", "", true, "refcount-bits", "1" },
	{ "refcount_bits=1", "refcount_bits=64", "", true, "refcount-bits", "64" },
	{ "cluster_size=512", "refcount_bits=64", "", false, "refcount-bits", "64" },
	{ "cluster_size=512,refcount_bits=64", "refcount_bits=2", "", true, "refcount-bits", "2" },
	{ "extended_l2=on,refcount_bits=8", "refcount_bits=32", "", true, "refcount-bits", "32" },
	{ "cluster_size=4K,lazy_refcounts=on", "refcount_bits=4", "", false, "refcount-bits", "4" },
	{ LUKS, "refcount_bits=8", KEY, false, "refcount-bits", "8" },
	{ "data_file=DIR/data", "refcount_bits=8", "", false, "refcount-bits", "8" },
	{ "", "size=3M", "", true, "compat", "1.1" },
	{ "", "size=1M", "", false, "compat", "1.1" },
	{ "compat=0.10", "size=3M,compat=1.1,refcount_bits=8", "", true, "refcount-bits", "8" },
	{ "", "size=3M,compat=0.10", "", true, "compat", "0.10" },
	{ LUKS, "encrypt.state=active,encrypt.new-secret=new,encrypt.iter-time=1,encrypt.keyslot=6",
	  KEY, false, "compat", "1.1" },
};

static void check_field(const char *keys, const char *field, const char *value)
{
	struct blk_node *n = must_open(keys, true);
	json_t *info = driver()->image->info(n);
	json_t *v = json_object_get(info, field);
	char text[32] = "";

	if (json_is_string(v))
		snprintf(text, sizeof(text), "%s", json_string_value(v));
	else if (json_is_integer(v))
		snprintf(text, sizeof(text), "%d", (int)json_integer_value(v));
	else if (v)
		snprintf(text, sizeof(text), "%s", json_is_true(v) ? "true" : "false");
	ck_assert_str_eq(text, value);
	json_decref(info);
	blk_node_close(n);
}

START_TEST(test_changes)
{
	const struct change *c = &changes[_i];
	struct blk_node *n;

	seed = 7 + (unsigned)_i;
	make_base();
	must_create(c->create, c->backed);
	fill(c->keys, c->backed);
	ck_assert_msg(!try_amend(c->keys, c->amend), "%s: %s", c->amend, e.msg);
	check_field(c->keys, c->field, c->value);
	same_contents(c->keys);
	ck_assert_int_eq(check_by_tool(c->keys), 0);
	/* It goes on being an image: what is allocated next is counted right. */
	n = must_open(c->keys, false);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t off = 512ull * rnd(BASE / 512 - 64);

		memset(model + off, (int)(100 + i), 20000);
		ck_assert_int_eq(blk_node_pwrite(n, off, model + off, 20000), 0);
	}
	blk_node_close(n);
	same_contents(c->keys);
	ck_assert_int_eq(check_by_tool(c->keys), 0);
}
END_TEST

START_TEST(test_names)
{
	struct blk_node *n;
	const char *format;

	make_base();
	must_create("data_file=DIR/data,data_file_raw=on", false);
	ck_assert_int_eq(shell("mv %s/data %s/data2", dir, dir), 0);
	n = must_open("data-file.filename=DIR/data2", false);
	{
		static const struct blk_amend how;
		struct opts o;

		parse(&o, "data_file=DIR/data2,data_file_raw=off");
		ck_assert_msg(!driver()->image->amend(n, &o, &how, &e), "%s", e.msg);
		opts_free(&o);
	}
	blk_node_close(n);
	check_field("", "data-file-raw", "false");
	ck_assert_int_eq(check_by_tool(""), 0);

	must_create("", false);
	ck_assert_msg(!try_amend("", "backing_file=base.img,backing_fmt=raw"), "%s", e.msg);
	n = must_open("", true);
	ck_assert_str_eq(driver()->image->backing_name(n, &format), "base.img");
	ck_assert_str_eq(format, "raw");
	ck_assert_int_eq(blk_node_pread(n, 0, got, SIZE), 0);
	ck_assert_mem_eq(got, model, SIZE);
	blk_node_close(n);
	ck_assert_msg(!try_amend("", "backing_file="), "%s", e.msg);
	n = must_open("", true);
	ck_assert_ptr_null(driver()->image->backing_name(n, &format));
	blk_node_close(n);
	ck_assert_int_eq(check_by_tool(""), 0);
}
END_TEST

/* --- what is refused, and changes nothing
 * ----------------------------------------------------------------- */

static void read_image(uint8_t **data, size_t *len)
{
	FILE *f = fopen(image, "re");
	struct stat st;

	ck_assert(f && !fstat(fileno(f), &st));
	*len = (size_t)st.st_size;
	*data = malloc(*len + 1);
	ck_assert_uint_eq(fread(*data, 1, *len, f), *len);
	fclose(f);
}

START_TEST(test_refused)
{
	static const struct {
		const char *create, *amend, *says;
	} bad[] = {
		{ "", "bogus=on", "Invalid parameter 'bogus'" },
		{ "", "lazy_refcount=on", "lazy_refcounts" },
		{ "", "cluster_size=4K", "only supported for image creation" },
		{ "", "compat=0.9", "compat" },
		{ "", "compat=0.10,lazy_refcounts=on", "Lazy refcounts only supported" },
		{ "", "compat=0.10,refcount_bits=8", "Refcount widths other than 16" },
		{ "refcount_bits=8", "compat=0.10", "compat=0.10 requires refcount_bits=16" },
		{ "compat=0.10", "refcount_bits=32", "compat=1.1" },
		{ "compat=0.10", "lazy_refcounts=on", "compat=1.1" },
		{ "", "refcount_bits=3", "power of two" },
		{ "", "refcount_bits=128", "may not exceed 64" },
		{ "", "refcount_bits=0", "power of two" },
		{ "", "size=1000", "multiple of 512" },
		{ "", "data_file=x", "only be set for images that use an external" },
		{ "", "data_file_raw=on", "cannot be set on existing" },
		{ "data_file=DIR/data", "data_file_raw=on", "cannot be set on existing" },
		{ "data_file=DIR/data", "compat=0.10", "with a data file" },
		{ "extended_l2=on", "compat=0.10", "extended L2 entries" },
		{ "compression_type=zstd", "compat=0.10", "compression type" },
		{ "", "backing_fmt=raw", "without a backing file" },
		{ "", "compat=0.10,backing_file=base.img", "one after the other" },
		{ "", "encrypt.state=active", "encryption not present" },
		{ "", "encrypt.iter-time=5", "encryption not present" },
	};
	uint8_t *before, *after;
	size_t n_before, n_after;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		must_create(bad[i].create, false);
		read_image(&before, &n_before);
		ck_assert_int_lt(try_amend("", bad[i].amend), 0);
		ck_assert_msg(says(bad[i].says), "%s: %s (%s)", bad[i].amend, e.msg, e.hint);
		read_image(&after, &n_after);
		ck_assert_uint_eq(n_before, n_after);
		ck_assert_mem_eq(before, after, n_before);
		free(before);
		free(after);
	}
}
END_TEST

START_TEST(test_snapshots)
{
	if (!have_tool)
		return;
	make_base();
	must_create("", false);
	fill("", false);
	ck_assert_int_eq(shell("qemu-img snapshot -c one %s", image), 0);
	fill("", true);
	ck_assert_int_eq(shell("qemu-img snapshot -c two %s", image), 0);
	/* Three references to a cluster are more than one bit says. */
	ck_assert_int_lt(try_amend("", "refcount_bits=1"), 0);
	ck_assert_msg(says("Cannot decrease refcount entry width to 1 bits") && says("refcount of"),
		      "%s", e.msg);
	ck_assert_int_eq(check_by_tool(""), 0);
	ck_assert_msg(!try_amend("", "refcount_bits=2"), "%s", e.msg);
	ck_assert_int_eq(check_by_tool(""), 0);
	same_contents("");
	ck_assert_int_lt(try_amend("", "refcount_bits=16,compat=0.10"), 0);
	ck_assert_msg(says("Internal snapshots prevent downgrade"), "%s", e.msg);
	ck_assert_int_eq(check_by_tool(""), 0);

	/* Without zeroes in them snapshots stay; made bigger, they do not fit. */
	must_create("", false);
	ck_assert_int_eq(shell("qemu-img snapshot -c one %s", image), 0);
	ck_assert_msg(!try_amend("", "compat=0.10"), "%s", e.msg);
	ck_assert_int_eq(check_by_tool(""), 0);
	ck_assert_msg(!try_amend("", "compat=1.1,size=3M"), "%s", e.msg);
	ck_assert_int_eq(check_by_tool(""), 0);
	ck_assert_int_lt(try_amend("", "compat=0.10"), 0);
	ck_assert_msg(says("another disk size"), "%s", e.msg);
}
END_TEST

/* --- power cuts
 * ------------------------------------------------------------------------------------------- */

static void apply(int fd, const struct event *ev, uint64_t len)
{
	if (ev->op == BLK_WRITE)
		ck_assert_int_eq(pwrite(fd, ev->data, len, (off_t)ev->off), (ssize_t)len);
	else if (ev->op == BLK_OPS)
		ck_assert_int_eq(ftruncate(fd, (off_t)ev->off), 0);
	else if (ev->op != BLK_FLUSH && ev->len) {
		uint8_t *zero = calloc(1, ev->len);

		ck_assert_int_eq(pwrite(fd, zero, ev->len, (off_t)ev->off), (ssize_t)ev->len);
		free(zero);
	}
}

/* The file as of event `cut`; of what came after the last flush, what `seed` says. */
static void rebuild(const uint8_t *start, size_t n, unsigned cut, bool some)
{
	int fd = open(image, O_RDWR | O_TRUNC | O_CLOEXEC);
	unsigned flushed = 0;

	ck_assert_int_eq(pwrite(fd, start, n, 0), (ssize_t)n);
	for (unsigned i = 0; i < cut; i++)
		if (events[i].op == BLK_FLUSH)
			flushed = i;
	for (unsigned i = 0; i < cut; i++) {
		uint64_t len = events[i].len;

		if (some && i > flushed && events[i].op != BLK_OPS && rnd(2))
			continue;
		/* Sectors are whole, a write of many need not be. */
		if (some && i > flushed && events[i].op == BLK_WRITE && len > 512 &&
		    events[i].off % 512 == 0 && !rnd(3))
			len = 512 * (1 + rnd((unsigned)(len / 512)));
		apply(fd, &events[i], len);
	}
	close(fd);
}

static bool is_dirty(void)
{
	struct qcow2_header h;
	int fd = open(image, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(pread(fd, &h, sizeof(h), 0), sizeof(h));
	close(fd);
	return be32_to_cpu(h.version) == 3 &&
	       be64_to_cpu(h.incompatible_features) & QCOW2_INCOMPAT_DIRTY;
}

/* A key slot that is active holds a key. */
static void same_key(const char *keys)
{
	struct blk_node *n = must_open(keys, true);
	json_t *info = driver()->image->info(n);
	json_t *slot =
		json_array_get(json_object_get(json_object_get(info, "encrypt"), "slots"), 6);
	bool active = json_is_true(json_object_get(slot, "active"));

	json_decref(info);
	blk_node_close(n);
	if (active)
		blk_node_close(must_open("encrypt.key-secret=new", true));
}

START_TEST(test_power_cut)
{
	const struct change *c = &changes[_i];
	uint8_t *start;
	size_t n;
	unsigned step;

	if (strstr(c->create, "DIR") || strstr(c->amend, "size="))
		return; /* another file; a disk of another size */
	seed = 7 + (unsigned)_i;
	make_base();
	must_create(c->create, c->backed);
	fill(c->keys, c->backed);
	read_image(&start, &n);
	n_events = 0;
	recording = true;
	ck_assert_msg(!try_amend(c->keys, c->amend), "%s", e.msg);
	recording = false;
	ck_assert_uint_gt(n_events, 0);
	step = n_events / 60 + 1;
	for (unsigned cut = 0; cut <= n_events; cut++) {
		for (unsigned k = 0; k < 3; k++) {
			int status;

			rebuild(start, n, cut, k);
			same_contents(c->keys);
			if (*c->keys)
				same_key(c->keys);
			if (is_dirty())
				blk_node_close(must_open(c->keys, false));
			if (k > 1 || cut % step)
				continue;
			status = check_by_tool(c->keys);
			ck_assert_msg(!status || status == 3, "%s, cut at %u: check says %d",
				      c->amend, cut, status);
		}
	}
	for (unsigned i = 0; i < n_events; i++)
		free(events[i].data);
	free(start);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qcow2_amend");
	TCase *tc = tcase_create("amend");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_changes, 0, ARRAY_SIZE(changes));
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_snapshots);
	tcase_add_loop_test(tc, test_power_cut, 0, ARRAY_SIZE(changes));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
