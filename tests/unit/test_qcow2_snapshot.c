/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of snapshots in qcow2 images, on real files: random sequences against a model, some
 * steps by qemu-img where it is installed; power cuts and failing requests at any
 * moment of a change; refcounts too narrow; the memory of a machine; tables that nobody made.
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
#include "../../src/block/co_io.h"
#include "block_int.h"
#include "err.h"
#include "opts.h"
#include "props.h"
#include "wire/qcow2.h"

enum { SNAPS = 6, ROOM = 64 << 20, DISK_MOST = 12 << 20 };

static struct err e;
static char dir[64], image[128], base[128], expect[128];
static bool have_tool;
static struct blk_node *node;
static unsigned seed;

static unsigned rnd(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (unsigned)(((uint64_t)(seed >> 4) * below) >> 28);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test_qcow2_snap.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	snprintf(base, sizeof(base), "%s/base.img", dir);
	snprintf(expect, sizeof(expect), "%s/expect.raw", dir);
	have_tool = !system("command -v qemu-img >/dev/null");
	e = (struct err){ 0 };
	seed = 7;
}

static void teardown(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static const struct blk_image_ops *ops(void)
{
	return blk_driver_find("qcow2")->image;
}

static void create(const char *options, uint64_t size, bool backed)
{
	struct blk_create c = { .size = size,
				.backing = backed ? "base.img" : NULL,
				.backing_format = backed ? "raw" : NULL };
	void *o = calloc(1, ops()->create_size);
	struct opts opts;

	ck_assert_ptr_nonnull(o);
	ck_assert_int_eq(opts_parse(&opts, options, NULL, &e), 0);
	props_defaults(ops()->create_props, o);
	ck_assert_msg(!props_apply(ops()->create_props, o, &opts, &e), "%s", e.msg);
	c.opts = o;
	ck_assert_msg(!ops()->create(image, &c, &e), "%s", e.msg);
	props_free(ops()->create_props, o);
	opts_free(&opts);
	free(o);
}

/* Returns the exit status. */
__attribute__((format(printf, 1, 2))) static int tool(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	rc = system(cmd);
	ck_assert(WIFEXITED(rc));
	return WEXITSTATUS(rc);
}

/* What their check says: 0, or 3 for leaks where those may be. */
static void sound(bool leaks)
{
	int status = have_tool ? tool("qemu-img check -U %s >%s.check 2>&1", image, image) : 0;

	if (status && !(leaks && status == 3))
		tool("cat %s.check >&2", image);
	ck_assert_msg(!status || (leaks && status == 3), "qemu-img check: %d", status);
}

/* --- a host that fails at one request --- */

static unsigned fail_at; /* the requests until then; 0: never */
static bool failed;

static void flaky_submit(struct blk_node *n, struct blk_io *io)
{
	if (fail_at && !--fail_at) {
		failed = true;
		blk_io_done_later(io, io->op == BLK_WRITE ? -ENOSPC : -EIO);
	} else {
		blk_node_submit(n->file, io);
	}
}

static int flaky_truncate(struct blk_node *n, uint64_t size, struct err *err)
{
	int rc;

	failed |= fail_at == 1;
	rc = fail_at && !--fail_at ? -ENOSPC : blk_node_truncate(n->file, size, err);
	n->size = n->file->size;
	return rc;
}

static const struct blk_driver flaky = {
	.name = "flaky",
	.filter = true,
	.open = cuts_open,
	.submit = flaky_submit,
	.truncate = flaky_truncate,
};

/* --- opening --- */

enum above { PLAIN, RECORDER, FLAKY };

static void open_as(enum above what, bool readonly, const char *keys)
{
	struct blk_open how = { .readonly = readonly, .locking = true, .discard = true };
	struct opts o = { 0 }, none = { 0 };
	struct blk_node *file;
	int rc;

	ck_assert_msg(!blk_node_open_file(image, "raw", &how, &file, &e), "%s", e.msg);
	if (what == RECORDER)
		file = cuts_above(file);
	if (what == FLAKY)
		ck_assert_int_eq(blk_node_open(&flaky, &none, &how, file, &file, &e), 0);
	if (keys)
		ck_assert_int_eq(opts_parse(&o, keys, NULL, &e), 0);
	rc = blk_node_open(blk_driver_find("qcow2"), &o, &how, file, &node, &e);
	ck_assert_msg(!rc, "%s", e.msg);
	opts_free(&o);
}

static void shut(void)
{
	blk_node_close(node);
	node = NULL;
}

/* --- the model --- */

struct disk {
	uint64_t size;
	uint8_t *data; /* DISK_MOST bytes */
};

static struct model {
	struct disk disk;
	struct snap {
		char name[24];
		struct disk disk;
		uint64_t vm_size;
		uint8_t vm; /* what its bytes are made from */
	} snap[SNAPS];
	unsigned n;
} m, was;

static uint8_t *backing; /* base.img's data, DISK_MOST bytes, or NULL */

static void copy_disk(struct disk *to, const struct disk *from)
{
	if (!to->data)
		to->data = malloc(DISK_MOST);
	ck_assert_ptr_nonnull(to->data);
	to->size = from->size;
	memcpy(to->data, from->data, from->size);
}

static void copy_model(struct model *to, const struct model *from)
{
	copy_disk(&to->disk, &from->disk);
	for (unsigned i = 0; i < from->n; i++) {
		copy_disk(&to->snap[i].disk, &from->snap[i].disk);
		memcpy(to->snap[i].name, from->snap[i].name, sizeof(to->snap[i].name));
		to->snap[i].vm_size = from->snap[i].vm_size;
		to->snap[i].vm = from->snap[i].vm;
	}
	to->n = from->n;
}

static uint8_t vm_byte(uint8_t vm, uint64_t off)
{
	return (uint8_t)(vm + off / 512 + (off & 31));
}

static void same_disk(const struct disk *d, const char *what)
{
	uint8_t *buf = malloc(d->size);

	ck_assert_ptr_nonnull(buf);
	ck_assert_uint_eq(node->size, d->size);
	ck_assert_int_eq(blk_node_pread(node, 0, buf, d->size), 0);
	/* Each assertion that holds is noted in a file: not one a byte. */
	for (uint64_t i = 0; i < d->size; i++)
		if (buf[i] != d->data[i])
			ck_abort_msg("%s: offset %#" PRIx64 " is %#x, not %#x", what, i, buf[i],
				     d->data[i]);
	free(buf);
}

static void same_vm(const struct snap *s)
{
	uint8_t *buf = malloc(s->vm_size + 1);

	ck_assert_ptr_nonnull(buf);
	ck_assert_msg(!ops()->vmstate_read(node, 0, buf, s->vm_size, &e), "%s", e.msg);
	for (uint64_t i = 0; i < s->vm_size; i++)
		if (buf[i] != vm_byte(s->vm, i))
			ck_abort_msg("%s: byte %#" PRIx64 " of the machine", s->name, i);
	free(buf);
}

/* The list of the image that is open. */
static bool same_list(const struct model *x)
{
	struct blk_snapshot *list;
	size_t n;
	bool same;

	ck_assert_msg(!ops()->snap_list(node, &list, &n, &e), "%s", e.msg);
	same = n == x->n;
	for (size_t i = 0; same && i < n; i++)
		same = !strcmp(list[i].name, x->snap[i].name) &&
		       list[i].vm_state_size == x->snap[i].vm_size &&
		       list[i].disk_size == x->snap[i].disk.size;
	blk_snapshots_free(list, n);
	return same;
}

/* Everything, in an image that is closed. */
static void same_all(const struct model *x)
{
	open_as(PLAIN, true, NULL);
	ck_assert(same_list(x));
	same_disk(&x->disk, "the disk");
	shut();
	for (unsigned i = 0; i < x->n; i++) {
		open_as(PLAIN, true, NULL);
		ck_assert_msg(!ops()->snap_load(node, x->snap[i].name, &e), "%s", e.msg);
		same_disk(&x->snap[i].disk, x->snap[i].name);
		same_vm(&x->snap[i]);
		shut();
	}
}

static void write_file(const char *name, const uint8_t *data, uint64_t size)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

/* The same by their tool, which shows snapshots with the size that the disk has now. */
static void they_agree(const struct model *x)
{
	if (!have_tool)
		return;
	write_file(expect, x->disk.data, x->disk.size);
	ck_assert_int_eq(tool("qemu-img compare -q -f qcow2 -F raw %s %s >&2", image, expect), 0);
	for (unsigned i = 0; i < x->n; i++) {
		const struct snap *s = &x->snap[i];
		uint64_t size = s->disk.size < x->disk.size ? s->disk.size : x->disk.size;

		write_file(expect, s->disk.data, s->disk.size);
		ck_assert_int_eq(
			tool("cd %s && qemu-img convert -l snapshot.name=%s -O raw %s s.raw "
			     "&& cmp -n %" PRIu64 " s.raw %s >&2",
			     dir, s->name, image, size, expect),
			0);
	}
}

/* --- steps, on the image that is open; each in the model as well --- */

struct geometry {
	const char *options;
	uint64_t size;
	bool backed;
	const char *keys;
};

static const struct geometry geometries[] = {
	{ "cluster_size=64K", 3 << 20, false, NULL },
	{ "cluster_size=512", 1 << 20, true, NULL },
	{ "cluster_size=512,refcount_bits=64", 1 << 20, false, "cache-size=2K" },
	{ "cluster_size=4K,refcount_bits=4", 3 << 20, false, NULL },
	{ "cluster_size=2M", 5 << 20, true, NULL },
	{ "compat=0.10,cluster_size=1K", 1 << 20, false, NULL },
	{ "extended_l2=on,cluster_size=16K", 2 << 20, true, NULL },
	{ "lazy_refcounts=on,cluster_size=4K,compression_type=zstd", 3 << 20, true, NULL },
	{ "cluster_size=8K,refcount_bits=8,preallocation=metadata", 3 << 20, false, NULL },
};
enum { GEOMETRIES = sizeof(geometries) / sizeof(geometries[0]) };

static const struct geometry *geo;

static bool v3(void)
{
	return !strstr(geo->options, "compat=0.10");
}

static void start(unsigned which)
{
	struct disk *d = &m.disk;

	geo = &geometries[which];
	seed = which + 1;
	if (getenv("QCOW2_SEED"))
		seed += (unsigned)atoi(getenv("QCOW2_SEED"));
	d->data = calloc(1, DISK_MOST);
	ck_assert_ptr_nonnull(d->data);
	d->size = geo->size;
	if (geo->backed) {
		backing = calloc(1, DISK_MOST);
		for (uint64_t i = 0; i < geo->size / 2; i++)
			backing[i] = (uint8_t)(i / 512 * 7 + 1);
		write_file(base, backing, geo->size / 2);
		memcpy(d->data, backing, geo->size / 2);
	}
	create(geo->options, geo->size, geo->backed);
}

static void finish(void)
{
	struct model *both[] = { &m, &was };

	for (unsigned k = 0; k < 2; k++) {
		free(both[k]->disk.data);
		for (unsigned i = 0; i < SNAPS; i++)
			free(both[k]->snap[i].disk.data);
		memset(both[k], 0, sizeof(*both[k]));
	}
	free(backing);
	backing = NULL;
}

static uint64_t cluster_size(void)
{
	return ops()->cluster_size(node);
}

static void step_write(bool compressed)
{
	uint64_t c = cluster_size(), len = 512 * (1 + rnd(200)), off, i;
	struct iovec iov;
	uint8_t start_at = (uint8_t)rnd(256);

	if (compressed && c > m.disk.size)
		return;
	if (compressed)
		len = c;
	if (len > m.disk.size)
		len = 512;
	off = 512 * (uint64_t)rnd((unsigned)((m.disk.size - len) / 512 + 1));
	if (compressed)
		off = off / c * c;
	for (i = 0; i < len; i++)
		m.disk.data[off + i] = (uint8_t)(start_at + i / 512 + (i & 3));
	iov = (struct iovec){ m.disk.data + off, len };
	if (!compressed) {
		ck_assert_int_eq(blk_node_pwrite(node, off, m.disk.data + off, len), 0);
		return;
	}
	ck_assert_int_eq(co_iov(node, BLK_WRITE, off, len, &iov, 1, BLK_COMPRESSED), 0);
}

static void step_zero(void)
{
	uint64_t len = 512 * (1 + rnd(400)), off;

	if (len > m.disk.size)
		len = 512;
	off = 512 * (uint64_t)rnd((unsigned)((m.disk.size - len) / 512 + 1));
	memset(m.disk.data + off, 0, len);
	ck_assert_int_eq(blk_node_zero(node, off, len, rnd(2) ? BLK_UNMAP : 0), 0);
}

static void model_create(const char *name, uint64_t vm_size, uint8_t vm)
{
	struct snap *s = &m.snap[m.n++];

	snprintf(s->name, sizeof(s->name), "%s", name);
	s->vm_size = vm_size;
	s->vm = vm;
	copy_disk(&s->disk, &m.disk);
}

static void model_delete(unsigned i)
{
	free(m.snap[i].disk.data);
	memmove(&m.snap[i], &m.snap[i + 1], (--m.n - i) * sizeof(m.snap[i]));
	m.snap[m.n].disk.data = NULL;
}

static void new_name(char name[24])
{
	static unsigned n;

	snprintf(name, 24, "s%u%.*s", n, (int)rnd(12), "-and-so-on.");
	n++;
}

static void save_vm(const char *name, uint64_t size, uint8_t vm)
{
	struct blk_snapshot info = { .name = (char *)(uintptr_t)name,
				     .vm_state_size = size,
				     .date_s = 1500000000,
				     .vm_clock_ns = 3723004000000 };
	uint8_t *buf = malloc(size);

	ck_assert_ptr_nonnull(buf);
	for (uint64_t i = 0; i < size; i++)
		buf[i] = vm_byte(vm, i);
	for (uint64_t at = 0, part; at < size; at += part) {
		part = size - at < 70000 ? size - at : 70000;
		ck_assert_msg(!ops()->vmstate_write(node, at, buf + at, part, &e), "%s", e.msg);
	}
	free(buf);
	ck_assert_msg(!ops()->snap_save(node, &info, &e), "%s", e.msg);
}

/* A change of snapshots, by ours; or by theirs between closing and opening. */
static void step_snapshot(enum above above)
{
	bool theirs = have_tool && above == PLAIN && !rnd(4);
	unsigned i = m.n ? rnd(m.n) : 0, what = rnd(5);
	char name[24];

	/* Theirs may leak when the disk's size changes. */
	if (m.n && m.snap[i].disk.size != m.disk.size)
		theirs = false;
	if (theirs)
		shut();
	if (!m.n || (what < 2 && m.n < SNAPS)) {
		uint64_t vm = theirs || rnd(3) ? 0 : 1 + rnd(300000);

		new_name(name);
		if (theirs)
			ck_assert_int_eq(tool("qemu-img snapshot -c %s %s", name, image), 0);
		else if (vm)
			save_vm(name, vm, (uint8_t)(m.n * 3));
		else
			ck_assert_msg(!ops()->snap_create(node, name, &e), "%s", e.msg);
		model_create(name, vm, (uint8_t)(m.n * 3));
	} else if (what < 4) {
		if (theirs)
			ck_assert_int_eq(tool("qemu-img snapshot -a %s %s", m.snap[i].name, image),
					 0);
		else
			ck_assert_msg(!ops()->snap_apply(node, m.snap[i].name, &e), "%s", e.msg);
		copy_disk(&m.disk, &m.snap[i].disk);
	} else {
		if (theirs)
			ck_assert_int_eq(tool("qemu-img snapshot -d %s %s", m.snap[i].name, image),
					 0);
		else
			ck_assert_msg(!ops()->snap_delete(node, m.snap[i].name, &e), "%s", e.msg);
		model_delete(i);
	}
	if (theirs)
		open_as(PLAIN, false, geo->keys);
}

/* A new size: what the disk had at a larger one does not come back, unless it is behind it. */
static void step_resize(void)
{
	uint64_t size = 512 * (1 + (uint64_t)rnd((unsigned)(geo->size / 512) * 2));
	struct disk *d = &m.disk;

	if (!v3())
		return;
	if (size > d->size)
		memset(d->data + d->size, 0, size - d->size);
	d->size = size;
	ck_assert_msg(!blk_node_truncate(node, size, &e), "%s", e.msg);
}

static void step(void)
{
	unsigned what = rnd(24);

	if (what < 12)
		step_write(false);
	else if (what < 15)
		step_write(true);
	else if (what < 17 && v3())
		step_zero();
	else if (what < 18)
		step_resize();
	else
		step_snapshot(PLAIN);
}

START_TEST(random_steps)
{
	start((unsigned)_i);
	for (unsigned round = 0; round < 6; round++) {
		open_as(PLAIN, false, geo->keys);
		for (unsigned i = 0; i < 16; i++)
			step();
		same_disk(&m.disk, "the disk");
		shut();
		sound(false);
		same_all(&m);
		if (round % 2)
			they_agree(&m);
	}
	/* When all are gone, nothing is shared and nothing is lost. */
	open_as(PLAIN, false, geo->keys);
	while (m.n) {
		ck_assert_msg(!ops()->snap_delete(node, m.snap[0].name, &e), "%s", e.msg);
		model_delete(0);
	}
	shut();
	sound(false);
	same_all(&m);
	finish();
}
END_TEST

/* --- power cuts --- */

static uint64_t read_image(uint8_t *buf)
{
	FILE *f = fopen(image, "r");
	uint64_t n;

	ck_assert_ptr_nonnull(f);
	n = fread(buf, 1, ROOM, f);
	fclose(f);
	return n;
}

/* As far as anything has been written. */
static uint64_t most_bytes(uint64_t most)
{
	for (unsigned i = 0; i < cuts_n; i++)
		if (cuts_events[i].off + cuts_events[i].len > most)
			most = cuts_events[i].off + cuts_events[i].len;
	ck_assert_uint_le(most, ROOM);
	return most;
}

/* The image is as before the change or as after it, whole. */
static const struct model *before_or_after(void)
{
	bool lazy = strstr(geo->options, "lazy");
	const struct model *x;

	if (!lazy)
		sound(true);
	open_as(PLAIN, false, NULL);
	x = same_list(&was) ? &was : &m;
	if (x == &was && same_list(&m)) { /* apply */
		uint8_t *buf = malloc(node->size);

		if (node->size == m.disk.size && !blk_node_pread(node, 0, buf, node->size) &&
		    !memcmp(buf, m.disk.data, node->size))
			x = &m;
		free(buf);
	}
	shut();
	sound(true);
	same_all(x);
	return x;
}

START_TEST(power_cut)
{
	unsigned cuts = getenv("QCOW2_CUTS") ? (unsigned)atoi(getenv("QCOW2_CUTS")) : 4;
	uint8_t *before = malloc(ROOM), *disk = malloc(ROOM), *after = malloc(ROOM);
	uint64_t before_size, after_size, size, most;

	start((unsigned)_i);
	for (unsigned round = 0; round < 5; round++) {
		open_as(PLAIN, false, NULL);
		for (unsigned i = 0; i < 8; i++)
			step_write(!rnd(5));
		if (round > 2)
			step_snapshot(RECORDER);
		shut();
		copy_model(&was, &m);
		before_size = read_image(before);
		cuts_begin();
		open_as(RECORDER, false, NULL);
		step_snapshot(RECORDER);
		shut();
		cuts_recording = false;
		after_size = read_image(after);
		most = most_bytes(before_size);
		sound(false);
		for (unsigned i = 0; i < cuts; i++) {
			memcpy(disk, before, before_size);
			memset(disk + before_size, 0, most - before_size);
			size = before_size;
			cuts_replay(disk, most, &size, 1 + rnd(cuts_now), rnd);
			write_file(image, disk, size);
			before_or_after();
		}
		write_file(image, after, after_size);
	}
	free(before);
	free(after);
	free(disk);
	finish();
}
END_TEST

/* --- requests that fail --- */

enum change { CREATE, APPLY_ONE, DELETE };

/* One change, in the model whether it succeeds or not. */
static int change(enum change what)
{
	unsigned i = m.n ? rnd(m.n) : 0;
	char name[24];
	int rc;

	if (what == CREATE || !m.n) {
		new_name(name);
		rc = ops()->snap_create(node, name, &e);
		model_create(name, 0, 0);
	} else if (what == APPLY_ONE) {
		rc = ops()->snap_apply(node, m.snap[i].name, &e);
		copy_disk(&m.disk, &m.snap[i].disk);
	} else {
		rc = ops()->snap_delete(node, m.snap[i].name, &e);
		model_delete(i);
	}
	return rc;
}

/* What fails changes nothing; the image stays whole, and can be used. */
START_TEST(failing_host)
{
	unsigned at = 1;

	start((unsigned)_i);
	for (unsigned tries = 0; tries < 24; tries++) {
		const struct model *x;
		int rc;

		open_as(PLAIN, false, NULL);
		step_write(!rnd(5));
		if (m.n == SNAPS) {
			ck_assert_int_eq(ops()->snap_delete(node, m.snap[0].name, &e), 0);
			model_delete(0);
		}
		shut();
		copy_model(&was, &m);
		open_as(FLAKY, false, NULL);
		failed = false;
		fail_at = at;
		rc = change(tries % 3);
		fail_at = 0;
		ck_assert(failed || !rc);
		same_disk(rc ? &was.disk : &m.disk, "the disk");
		shut();
		x = before_or_after();
		ck_assert(rc || x == &m);
		if (x != &m)
			copy_model(&m, x);
		/* Each try begins without leaks. */
		if (have_tool)
			ck_assert_int_eq(tool("qemu-img check -q -r leaks %s >&2", image), 0);
		at = failed ? at + 1 + rnd(5) : 1;
	}
	finish();
}
END_TEST

/* --- refcounts that are too narrow --- */

static void expect_range(const char *bits)
{
	ck_assert_int_eq(ops()->snap_create(node, "more", &e), -ERANGE);
	ck_assert_ptr_nonnull(strstr(e.msg, bits));
}

START_TEST(narrow_refcounts)
{
	static const char *const options[] = { "refcount_bits=1", "refcount_bits=2",
					       "refcount_bits=4" };
	static const char *const said[] = { "refcount_bits is 1:", "refcount_bits is 2:",
					    "refcount_bits is 4:" };
	unsigned most = (1u << (1u << _i)) - 2;
	char name[16];

	start(0);
	create(options[_i], geo->size, false);
	open_as(PLAIN, false, NULL);
	/* Nothing is in it that could have two references. */
	ck_assert_msg(!ops()->snap_create(node, "empty", &e), "%s", e.msg);
	ck_assert_msg(!ops()->snap_delete(node, "empty", &e), "%s", e.msg);
	ck_assert_int_eq(blk_node_pwrite(node, 0, m.disk.data, 300000), 0);
	for (unsigned i = 0; i < most; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ck_assert_msg(!ops()->snap_create(node, name, &e), "%s", e.msg);
	}
	expect_range(said[_i]);
	shut();
	sound(false);
	open_as(PLAIN, false, NULL);
	expect_range(said[_i]);
	if (most) { /* as many references as before */
		ck_assert_msg(!ops()->snap_apply(node, "n0", &e), "%s", e.msg);
		ck_assert_msg(!ops()->snap_delete(node, "n1", &e), "%s", e.msg);
		ck_assert_msg(!ops()->snap_create(node, "again", &e), "%s", e.msg);
	}
	shut();
	sound(false);
	open_as(PLAIN, true, NULL);
	same_disk(&m.disk, "the disk");
	shut();
	finish();
}
END_TEST

/* Many compressed clusters in one of the file: each is a reference. */
START_TEST(narrow_for_compressed)
{
	struct iovec iov;

	start(0);
	create("refcount_bits=4,cluster_size=64K", geo->size, false);
	open_as(PLAIN, false, NULL);
	for (uint64_t at = 0; at < 9 * 65536; at += 65536) {
		iov = (struct iovec){ m.disk.data + at, 65536 };
		memset(iov.iov_base, (int)(at >> 16) + 1, 65536);
		ck_assert_int_eq(co_iov(node, BLK_WRITE, at, 65536, &iov, 1, BLK_COMPRESSED), 0);
	}
	expect_range("refcount_bits is 4:");
	shut();
	sound(false);
	open_as(PLAIN, true, NULL);
	same_disk(&m.disk, "the disk");
	shut();
	finish();
}
END_TEST

/* --- the memory of a machine --- */

START_TEST(vm_state)
{
	struct blk_snapshot *list;
	uint8_t some[512] = { 0 };
	size_t n;

	start((unsigned)_i);
	open_as(PLAIN, false, geo->keys);
	step_write(false);
	save_vm("one", 700001, 5);
	model_create("one", 700001, 5);
	/* Nothing of it is left on the disk's side. */
	ck_assert_int_eq(ops()->vmstate_read(node, 0, some, sizeof(some), &e), 0);
	ck_assert_int_eq(memcmp(some, (uint8_t[sizeof(some)]){ 0 }, sizeof(some)), 0);
	step_write(false);
	save_vm("two", 100, 9);
	model_create("two", 100, 9);
	ck_assert_int_eq(ops()->snap_list(node, &list, &n, &e), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(list[0].vm_state_size, 700001);
	ck_assert_uint_eq(list[0].vm_clock_ns, 3723004000000);
	ck_assert_uint_eq(list[0].date_s, 1500000000);
	ck_assert(!list[0].have_icount);
	blk_snapshots_free(list, n);
	shut();
	sound(false);
	same_all(&m);
	if (have_tool)
		ck_assert_int_eq(tool("TZ=UTC qemu-img snapshot -l %s | grep -q '^1 *one *684 KiB "
				      "2017-07-14 02:40:00 01:02:03.004 *$'",
				      image),
				 0);
	/* What they bring back, ours reads; and the other way round. */
	if (have_tool)
		ck_assert_int_eq(tool("qemu-img snapshot -a one %s", image), 0);
	open_as(PLAIN, false, geo->keys);
	if (!have_tool)
		ck_assert_int_eq(ops()->snap_apply(node, "one", &e), 0);
	copy_disk(&m.disk, &m.snap[0].disk);
	same_vm(&m.snap[0]);
	/* A snapshot without it, and another size: it goes. */
	ck_assert_int_eq(ops()->snap_create(node, "three", &e), 0);
	model_create("three", 0, 0);
	ck_assert_int_eq(ops()->snap_apply(node, "one", &e), 0);
	same_vm(&m.snap[0]);
	if (v3()) {
		memset(m.disk.data + m.disk.size, 0, DISK_MOST - m.disk.size);
		m.disk.size = DISK_MOST;
		ck_assert_msg(!blk_node_truncate(node, m.disk.size, &e), "%s", e.msg);
		same_disk(&m.disk, "the longer disk");
	}
	shut();
	sound(false);
	same_all(&m);
	/* More than was written; more than there can be. */
	open_as(PLAIN, false, NULL);
	ck_assert_int_eq(ops()->snap_save(node,
					  &(struct blk_snapshot){ .name = (char[]){ "x" },
								  .vm_state_size = 1ull << 50 },
					  &e),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "vm_state_size"));
	ck_assert_int_eq(ops()->vmstate_write(node, INT64_MAX - 5, some, sizeof(some), &e), -EFBIG);
	ck_assert_int_eq(ops()->vmstate_write(node, UINT64_MAX, some, sizeof(some), &e), -EFBIG);
	shut();
	open_as(PLAIN, true, NULL);
	ck_assert_int_eq(ops()->vmstate_write(node, 0, some, sizeof(some), &e), -EROFS);
	ck_assert_int_eq(ops()->snap_create(node, "x", &e), -EROFS);
	shut();
	finish();
}
END_TEST

/* --- tables that nobody made --- */

static void patch(uint64_t off, const void *data, size_t len)
{
	int fd = open(image, O_RDWR);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, len, (off_t)off), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

static void peek(uint64_t off, void *data, size_t len)
{
	int fd = open(image, O_RDONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, data, len, (off_t)off), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

static uint64_t table_at(void)
{
	struct qcow2_header h;

	peek(0, &h, sizeof(h));
	return be64_to_cpu(h.snapshots_offset);
}

static void two_snapshots(void)
{
	start(0);
	open_as(PLAIN, false, NULL);
	step_write(false);
	ck_assert_int_eq(ops()->snap_create(node, "one", &e), 0);
	model_create("one", 0, 0);
	step_write(false);
	ck_assert_int_eq(ops()->snap_create(node, "two", &e), 0);
	model_create("two", 0, 0);
	step_write(false);
	shut();
}

enum { LIST = 1, APPLY = 2, REMOVE = 4, LOAD = 8, OPEN = 16, ALL = 15 };

static const struct {
	size_t off; /* in the first entry, or from HEADER on in the header */
	unsigned size;
	uint64_t value;
	unsigned refused;
	const char *says;
} bad[] = {
#define ENTRY(field) offsetof(struct qcow2_snapshot_entry, field)
#define EXTRA(field)                                                                               \
	(sizeof(struct qcow2_snapshot_entry) + offsetof(struct qcow2_snapshot_extra, field))
#define HEADER (1u << 20)
	{ ENTRY(l1_offset), 8, 0, APPLY | REMOVE | LOAD, "l1_table_offset" },
	{ ENTRY(l1_offset), 8, 0x10001, APPLY | REMOVE | LOAD, "l1_table_offset" },
	{ ENTRY(l1_offset), 8, 1ull << 60, APPLY | REMOVE | LOAD, "l1_table_offset" },
	{ ENTRY(l1_offset), 8, UINT64_MAX, APPLY | REMOVE | LOAD, "l1_table_offset" },
	{ ENTRY(l1_size), 4, 4194305, ALL, "entry 0: l1_size is 4194305" },
	{ ENTRY(l1_size), 4, UINT32_MAX, ALL, "entry 0: l1_size is 4294967295" },
	{ ENTRY(extra_size), 4, 1025, ALL, "entry 0: extra_data_size is 1025" },
	{ ENTRY(extra_size), 4, UINT32_MAX, ALL, "entry 0: extra_data_size" },
	{ EXTRA(disk_size), 8, UINT64_MAX, APPLY | LOAD, "disk_size" },
	{ EXTRA(disk_size), 8, 1ull << 62, APPLY, "disk_size" },
	{ HEADER + offsetof(struct qcow2_header, nb_snapshots), 4, 65537, OPEN, "nb_snapshots" },
	{ HEADER + offsetof(struct qcow2_header, nb_snapshots), 4, UINT32_MAX, OPEN,
	  "nb_snapshots" },
	{ HEADER + offsetof(struct qcow2_header, snapshots_offset), 8, 1ull << 60, OPEN,
	  "snapshots_offset" },
	{ HEADER + offsetof(struct qcow2_header, snapshots_offset), 8, 0x200, OPEN,
	  "snapshots_offset" },
};

static void refused(unsigned i, int rc, unsigned op)
{
	ck_assert_msg(!!rc == !!(bad[i].refused & op), "%u: op %u: %d (%s)", i, op, rc, e.msg);
	if (rc)
		ck_assert_msg(strstr(e.msg, bad[i].says), "%u: %s", i, e.msg);
	e = (struct err){ 0 };
}

START_TEST(bad_tables)
{
	struct blk_open how = { .readonly = true };
	struct blk_snapshot *list;
	struct be64 v64 = cpu_to_be64(bad[_i].value);
	struct be32 v32 = cpu_to_be32((uint32_t)bad[_i].value);
	uint64_t at;
	size_t n;
	int rc;

	two_snapshots();
	at = bad[_i].off >= HEADER ? bad[_i].off - HEADER : table_at() + bad[_i].off;
	patch(at, bad[_i].size == 8 ? (void *)&v64 : (void *)&v32, bad[_i].size);
	rc = blk_node_open_file(image, "qcow2", &how, &node, &e);
	refused((unsigned)_i, rc, OPEN);
	if (!rc) {
		rc = ops()->snap_list(node, &list, &n, &e);
		if (!rc)
			blk_snapshots_free(list, n);
		refused((unsigned)_i, rc, LIST);
		refused((unsigned)_i, ops()->snap_load(node, "1", &e), LOAD);
		shut();
		open_as(PLAIN, false, NULL);
		if (bad[_i].refused & APPLY)
			refused((unsigned)_i, ops()->snap_apply(node, "1", &e), APPLY);
		if (bad[_i].refused & REMOVE)
			refused((unsigned)_i, ops()->snap_delete(node, "1", &e), REMOVE);
		/* The disk itself has nothing to do with that. */
		same_disk(&m.disk, "the disk");
		step_write(false);
		same_disk(&m.disk, "the disk");
		shut();
	}
	finish();
}
END_TEST

/* Entries of L1 and L2 that a snapshot refers to. */
START_TEST(bad_references)
{
	static const uint64_t l1_value[] = { 0x10001, 1ull << 50, 0x200, 0x3f00000000010000 };
	static const uint64_t l2_value[] = { 0x10200, 1ull << 50, 0x200, 0x7fffffffffffffff };
	struct qcow2_snapshot_entry s;
	struct be64 entry, was_entry;
	uint64_t l1, l2;

	two_snapshots();
	peek(table_at(), &s, sizeof(s));
	l1 = be64_to_cpu(s.l1_offset);
	peek(l1, &entry, sizeof(entry));
	l2 = be64_to_cpu(entry) & QCOW2_OFFSET_MASK;
	for (unsigned i = 0; i < 8; i++) {
		uint64_t at = i < 4 ? l1 : l2 + 8 * (2 << 20 >> 16);

		peek(at, &was_entry, sizeof(was_entry));
		entry = cpu_to_be64(i < 4 ? l1_value[i] : l2_value[i - 4]);
		patch(at, &entry, sizeof(entry));
		open_as(PLAIN, false, NULL);
		ck_assert_int_eq(ops()->snap_apply(node, "one", &e), -EIO);
		ck_assert_msg(strstr(e.msg, i < 4 ? "L1 entry 0" : "L2 entry of guest cluster 32"),
			      "%s", e.msg);
		ck_assert_int_eq(ops()->snap_delete(node, "one", &e), -EIO);
		ck_assert(same_list(&m));
		same_disk(&m.disk, "the disk");
		shut();
		patch(at, &was_entry, sizeof(was_entry));
		sound(false);
	}
	same_all(&m);
	finish();
}
END_TEST

/* Sets the flag "copied" of all that the only L2 table of an L1 table refers to. */
static void mark_copied(uint64_t l1)
{
	struct be64 entry;
	uint64_t l2;

	peek(l1, &entry, sizeof(entry));
	l2 = be64_to_cpu(entry) & QCOW2_OFFSET_MASK;
	for (uint64_t at = l2; at < l2 + 65536; at += 8) {
		peek(at, &entry, sizeof(entry));
		if (!entry.raw)
			continue;
		entry = cpu_to_be64(be64_to_cpu(entry) | QCOW2_COPIED);
		patch(at, &entry, sizeof(entry));
	}
}

/* In tables of snapshots only, such flags may say anything: they do not survive. */
START_TEST(flags_of_snapshots)
{
	struct qcow2_snapshot_entry s;

	two_snapshots();
	peek(table_at(), &s, sizeof(s));
	mark_copied(be64_to_cpu(s.l1_offset));
	sound(false);
	open_as(PLAIN, false, NULL);
	ck_assert_msg(!ops()->snap_apply(node, "one", &e), "%s", e.msg);
	copy_disk(&m.disk, &m.snap[0].disk);
	shut();
	sound(false);
	open_as(PLAIN, false, NULL);
	for (unsigned i = 0; i < 30; i++)
		step_write(false);
	shut();
	sound(false);
	same_all(&m);
	finish();
}
END_TEST

/* In a table that the disk shares they are wrong, and would cost a snapshot its data. */
START_TEST(flags_of_the_disk)
{
	struct qcow2_header h;

	two_snapshots();
	open_as(PLAIN, false, NULL);
	ck_assert_int_eq(ops()->snap_create(node, "three", &e), 0);
	model_create("three", 0, 0);
	shut();
	peek(0, &h, sizeof(h));
	mark_copied(be64_to_cpu(h.l1_table_offset));
	open_as(PLAIN, false, NULL);
	ck_assert_int_eq(ops()->snap_create(node, "four", &e), -EIO);
	ck_assert_msg(strstr(e.msg, "flag 'copied' of L1 entry 0"), "%s", e.msg);
	shut();
	same_all(&m);
	finish();
}
END_TEST

/* As many entries as there may be, of nothing, and the file ends within the last. */
START_TEST(short_table)
{
	struct blk_snapshot *list = NULL;
	struct be32 n = cpu_to_be32(65536);
	struct be64 at = cpu_to_be64(32 << 20);
	size_t count;

	two_snapshots();
	patch(offsetof(struct qcow2_header, nb_snapshots), &n, sizeof(n));
	patch(offsetof(struct qcow2_header, snapshots_offset), &at, sizeof(at));
	ck_assert_int_eq(truncate(image, (32 << 20) + 65536 * 40), 0);
	open_as(PLAIN, true, NULL);
	ck_assert_msg(!ops()->snap_list(node, &list, &count, &e), "%s", e.msg);
	ck_assert_uint_eq(count, 65536);
	blk_snapshots_free(list, count);
	shut();
	/* One more is too many. */
	open_as(PLAIN, false, NULL);
	ck_assert_int_eq(ops()->snap_create(node, "more", &e), -EFBIG);
	shut();
	ck_assert_int_eq(truncate(image, (32 << 20) + 65536 * 40 - 512), 0);
	open_as(PLAIN, true, NULL);
	ck_assert_int_eq(ops()->snap_list(node, &list, &count, &e), -EINVAL);
	ck_assert_msg(strstr(e.msg, "nb_snapshots is 65536"), "%s", e.msg);
	shut();
	finish();
}
END_TEST

/* Extra data of a kind that nobody knows stay, byte for byte; so do those that are too short. */
START_TEST(extra_data)
{
	struct {
		struct qcow2_snapshot_entry s;
		uint8_t rest[88];
	} entry, again;
	struct qcow2_snapshot_entry *s = &entry.s;
	uint32_t extra = _i ? 8 : 60;

	two_snapshots();
	open_as(PLAIN, false, NULL);
	ck_assert_int_eq(ops()->snap_delete(node, "two", &e), 0);
	shut();
	memset(&entry, 0, sizeof(entry));
	peek(table_at(), s, sizeof(*s));
	peek(table_at() + sizeof(*s), entry.rest, extra < 24 ? extra : 24);
	s->extra_size = cpu_to_be32(extra);
	for (unsigned i = 24; i < extra; i++)
		entry.rest[i] = (uint8_t)(i * 7);
	memcpy(entry.rest + extra, "1one", 4);
	patch(table_at(), &entry, sizeof(entry));
	open_as(PLAIN, false, NULL);
	ck_assert_int_eq(ops()->snap_create(node, "three", &e), 0);
	ck_assert_int_eq(ops()->snap_apply(node, "one", &e), 0);
	ck_assert_int_eq(ops()->snap_delete(node, "three", &e), 0);
	shut();
	peek(table_at(), &again, sizeof(*s) + extra + 4);
	ck_assert_int_eq(memcmp(&entry, &again, sizeof(*s) + extra + 4), 0);
	copy_disk(&m.disk, &m.snap[0].disk);
	open_as(PLAIN, true, NULL);
	same_disk(&m.disk, "the disk");
	shut();
	finish();
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 240);
	suite_add_tcase(s, t);
	return t;
}

static Suite *suite(void)
{
	Suite *s = suite_create("qcow2 snapshots");
	TCase *t;

	tcase_add_loop_test(add_case(s, "random"), random_steps, 0, GEOMETRIES);
	tcase_add_loop_test(add_case(s, "cuts"), power_cut, 0, GEOMETRIES);
	tcase_add_loop_test(add_case(s, "failing"), failing_host, 0, 6);
	t = add_case(s, "narrow");
	tcase_add_loop_test(t, narrow_refcounts, 0, 3);
	tcase_add_test(t, narrow_for_compressed);
	tcase_add_loop_test(add_case(s, "machine"), vm_state, 0, GEOMETRIES);
	t = add_case(s, "tables");
	tcase_add_loop_test(t, bad_tables, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(t, bad_references);
	tcase_add_test(t, flags_of_snapshots);
	tcase_add_test(t, flags_of_the_disk);
	tcase_add_test(t, short_table);
	tcase_add_loop_test(t, extra_data, 0, 2);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
