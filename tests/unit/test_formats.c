/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The formats vdi, vmdk, vhdx and vpc: images of the real qemu-img are read and compared, vdi
 * images written here are looked at by qemu-img, and damaged headers and tables are
 * refused or read rightly. What needs qemu-img is left out by name without it.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/block/co_io.h"
#include "../../src/block/internal.h"
#include "opts.h"
#include "props.h"
#include "suite.h"
#include "block_int.h"
#include "err.h"
#include "loop.h"
#include "wire/vdi.h"
#include "wire/vhd.h"
#include "wire/vhdx.h"
#include "wire/vmdk.h"

/* Not a multiple of any block, and over the 32 MiB of a grain table. */
enum { SIZE = (35 << 20) + 3 * 512 };
#define MIB (1u << 20)
/* Where qemu-img puts it in a VHDX image. */
#define BAT (2 * MIB)

static char dir[64], path[128];
static uint8_t *model, *back;
static struct blk_node *n;
static struct loop *l;
static struct err e;
static bool have_qemu_img;

/* --- files and programs
 * --------------------------------------------------------------------------- */

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *fmt, ...)
{
	char cmd[1024];
	int len = snprintf(cmd, sizeof(cmd), "cd %s && ", dir);
	va_list ap;

	va_start(ap, fmt);
	len += vsnprintf(cmd + len, sizeof(cmd) - (size_t)len, fmt, ap);
	va_end(ap);
	snprintf(cmd + len, sizeof(cmd) - (size_t)len, " >>log 2>&1");
	return system(cmd);
}

#define sh_ok(...) ck_assert_int_eq(sh(__VA_ARGS__), 0)

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_at(const char *name, uint64_t off, const void *data, size_t len)
{
	int fd = open(in_dir(name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, len, (off_t)off), (ssize_t)len);
	close(fd);
}

static void read_at(const char *name, uint64_t off, void *data, size_t len)
{
	int fd = open(in_dir(name), O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, data, len, (off_t)off), (ssize_t)len);
	close(fd);
}

static uint64_t size_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(stat(in_dir(name), &st), 0);
	return (uint64_t)st.st_size;
}

/* Data at the beginning, across blocks, alone in a block, and at the very end. */
static void make_model(void)
{
	static const struct {
		uint32_t off, len;
	} parts[] = {
		{ 0, 100000 },     { 2 * MIB - 4096, 8192 },     { 5 * MIB + 512, 3 * MIB },
		{ 20 * MIB, 512 }, { 32 * MIB - 65536, 131072 }, { SIZE - 1024, 1024 },
	};

	uint32_t x = 1;

	srandom(1);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		for (uint32_t k = 0; k < parts[i].len; k++) {
			x = x * 1664525 + 1013904223;
			/* Compressible, but not by much. */
			model[parts[i].off + k] = (uint8_t)((x >> 24) % 64 + 1);
		}
	}
}

static void setup(void)
{
	strcpy(dir, "test_formats-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	model = calloc(1, SIZE);
	back = malloc(SIZE);
	ck_assert(model && back);
	make_model();
	write_at("raw", 0, model, SIZE);
	ck_assert_int_eq(loop_create(&l, &e), 0);
}

static void close_node(void)
{
	if (!n)
		return;
	blk_node_drain(n);
	blk_node_detach(n);
	blk_node_close(n);
	n = NULL;
}

static void teardown(void)
{
	char cmd[80];

	close_node();
	loop_destroy(l);
	free(model);
	free(back);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static int try(const char *name, const char *format, bool readonly)
{
	struct blk_open how = { .readonly = readonly };

	memset(&e, 0, sizeof(e));
	return blk_node_open_file(in_dir(name), format, &how, &n, &e);
}

static void must_open(const char *name, const char *format, bool readonly)
{
	ck_assert_msg(!try(name, format, readonly), "%s", e.msg);
}

/* Not opened, with a message that holds text and names the file. */
static void refused(const char *name, const char *format, const char *text)
{
	int rc = try(name, format, true);

	ck_assert_msg(rc < 0, "%s was opened", name);
	ck_assert_int_eq(rc, -e.code);
	ck_assert_msg(strstr(e.msg, text) && strstr(e.msg, dir), "'%s' is not in: %s", text, e.msg);
}

/* --- reading
 * ------------------------------------------------------------------------------------------ */

static const struct variant {
	const char *format, *options, *name;
	bool sparse;
} variants[] = {
	{ "vdi", "static=off", "vdi", true },
	{ "vdi", "static=on", "vdi", false },
	{ "vmdk", "subformat=monolithicSparse", "vmdk", true },
	{ "vmdk", "subformat=monolithicSparse,zeroed_grain=on", "vmdk", true },
	{ "vmdk", "subformat=monolithicFlat", "vmdk", false },
	{ "vmdk", "subformat=twoGbMaxExtentSparse", "vmdk", true },
	{ "vmdk", "subformat=twoGbMaxExtentFlat", "vmdk", false },
	{ "vmdk", "subformat=streamOptimized", "vmdk", true },
	{ "vhdx", "subformat=dynamic", "vhdx", true },
	{ "vhdx", "subformat=dynamic,block_size=1M", "vhdx", true },
	{ "vhdx", "subformat=fixed", "vhdx", false },
	{ "vpc", "subformat=dynamic", "vpc", true },
	{ "vpc", "subformat=dynamic,force_size=on", "vpc", true },
	{ "vpc", "subformat=fixed,force_size=on", NULL, false }, /* NULL: not probed */
};
enum { VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static void make_variant(const struct variant *v, const char *name)
{
	sh_ok("qemu-img convert -f raw -O %s -o %s raw %s", v->format, v->options, name);
}

/* What the disk began with is there still. */
static void compare_start(void)
{
	for (uint64_t at = 0; at < SIZE; at += MIB)
		ck_assert_int_eq(blk_node_pread(n, at, back + at,
						SIZE - at < MIB ? SIZE - at : MIB),
				 0);
	ck_assert_mem_eq(back, model, SIZE);
}

/* The whole disk is the model, and zeroes behind it. */
static int read_all(void)
{
	static uint8_t more[MIB];
	uint64_t at = 0;
	int rc = 0;

	for (; !rc && at < SIZE && at < n->size; at += MIB)
		rc = blk_node_pread(n, at, back + at, SIZE - at < MIB ? SIZE - at : MIB);
	for (at = SIZE; !rc && at < n->size && at < SIZE + 8 * MIB; at += 512) {
		rc = blk_node_pread(n, at, more, 512);
		for (unsigned i = 0; !rc && i < 512; i++)
			if (more[i])
				return -EBADMSG;
	}
	return rc;
}

static void compare_all(void)
{
	memset(back, 0xaa, SIZE);
	ck_assert_uint_ge(n->size, SIZE);
	ck_assert_int_eq(read_all(), 0);
	ck_assert_mem_eq(back, model, SIZE);
}

static bool all_zero(const uint8_t *p, uint64_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

/* Status covers the disk, and what it calls zeroes is. */
static void check_status(bool sparse)
{
	uint64_t off = 0, bytes, zeroes = 0;
	unsigned flags;

	while (off < SIZE) {
		ck_assert_int_eq(blk_node_status(n, off, SIZE - off, &bytes, &flags), 0);
		ck_assert(bytes && bytes <= SIZE - off);
		ck_assert(!(flags & BLK_ZERO) == !!(flags & BLK_DATA));
		if (flags & BLK_ZERO) {
			ck_assert(all_zero(model + off, bytes));
			zeroes += bytes;
		}
		off += bytes;
	}
	if (sparse)
		ck_assert_uint_gt(zeroes, SIZE / 4);
}

/* Requests of any size and alignment, many at a time, on a loop. */
struct request {
	struct blk_io io; /* first */
	struct iovec iov[3];
	uint8_t *buf;
	uint64_t from; /* io.off is the node's to change */
	uint32_t len;
};
enum { PARALLEL = 24, REQUEST_MOST = 3 << 20 };

static unsigned left, running;

static void next_read(struct request *q)
{
	uint32_t a, b;

	q->len = random() % 4 ? (uint32_t)(random() % 20000 + 3)
			      : (uint32_t)random() % REQUEST_MOST + 3;
	q->from = (uint64_t)random() % (SIZE - q->len + 1);
	a = (uint32_t)random() % (q->len - 2) + 1;
	b = a + (uint32_t)random() % (q->len - a) + 1;
	b = b > q->len ? q->len : b;
	q->iov[0] = (struct iovec){ q->buf, a };
	q->iov[1] = (struct iovec){ q->buf + a, b - a };
	q->iov[2] = (struct iovec){ q->buf + b, q->len - b };
	q->io.op = BLK_READ;
	q->io.off = q->from;
	q->io.len = q->len;
	q->io.iov = q->iov;
	q->io.n_iov = 3;
	blk_node_submit(n, &q->io);
}

static void on_read(struct blk_io *io, int ret)
{
	struct request *q = (struct request *)io;

	ck_assert_int_eq(ret, 0);
	ck_assert_mem_eq(q->buf, model + q->from, q->len);
	if (left) {
		left--;
		next_read(q);
	} else if (!--running) {
		loop_quit(l);
	}
}

static void random_reads(void)
{
	static struct request q[PARALLEL];

	ck_assert_msg(!blk_node_attach(n, l, &e), "%s", e.msg);
	left = 600;
	running = PARALLEL;
	for (unsigned i = 0; i < PARALLEL; i++) {
		q[i] = (struct request){ .buf = malloc(REQUEST_MOST + 3) };
		ck_assert_ptr_nonnull(q[i].buf);
		q[i].io.done = on_read;
		next_read(&q[i]);
	}
	loop_run(l);
	ck_assert_uint_eq(blk_node_in_flight(n), 0);
	for (unsigned i = 0; i < PARALLEL; i++)
		free(q[i].buf);
	blk_node_detach(n);
}

START_TEST(test_read)
{
	const struct variant *v = &variants[_i];

	make_variant(v, "image");
	must_open("image", v->name ? NULL : v->format, true);
	ck_assert_str_eq(n->drv->name, v->format);
	compare_all();
	check_status(v->sparse);
	random_reads();
	if (v->sparse)
		ck_assert_uint_ge(n->drv->image->cluster_size(n), 65536);
	close_node();
	/* Written only if that is possible. */
	if (!strcmp(v->format, "vhdx") || strstr(v->options, "streamOptimized")) {
		ck_assert_int_eq(try("image", v->format, false), -EROFS);
		ck_assert_ptr_nonnull(strstr(e.msg, "can be read, not written"));
	}
}
END_TEST

START_TEST(test_auto_readonly)
{
	struct blk_open how = { .auto_readonly = true };
	uint8_t sector[512] = { 0 };

	make_variant(&variants[_i], "image");
	ck_assert_int_eq(blk_node_open_file(in_dir("image"), NULL, &how, &n, &e), 0);
	ck_assert(n->readonly);
	ck_assert_int_eq(blk_node_pwrite(n, 0, sector, 512), -EROFS);
	ck_assert_int_eq(blk_node_zero(n, 0, 512, 0), -EROFS);
	ck_assert_int_eq(blk_node_flush(n), 0);
}
END_TEST

/* A disk of more tables than are cached at a time. */
START_TEST(test_vmdk_many_tables)
{
	static const uint64_t far = 3ull << 40;
	uint8_t data[512], got[512];

	sh_ok("qemu-img create -f vmdk -o zeroed_grain=on image 1T");
	sh_ok("qemu-io -f vmdk -c 'write -P 1 0 64k' -c 'write -P 2 32G 64k' -c 'write -z 64G 64k' "
	      "-c 'write -P 3 1048575M 1M' image");
	must_open("image", NULL, true);
	ck_assert_uint_eq(n->size, 1ull << 40);
	for (unsigned i = 0; i < 3; i++) {
		static const uint64_t at[] = { 0, 32ull << 30, (1ull << 40) - 512 };

		for (unsigned k = 0; k < 2; k++) {
			memset(data, (int)i + 1, 512);
			ck_assert_int_eq(blk_node_pread(n, at[i], got, 512), 0);
			ck_assert_mem_eq(got, data, 512);
		}
	}
	ck_assert_int_eq(blk_node_pread(n, 64ull << 30, got, 512), 0);
	memset(data, 0, 512);
	ck_assert_mem_eq(got, data, 512);
	ck_assert_int_eq(blk_node_pread(n, far, got, 512), -EIO);
}
END_TEST

/* By the first sector alone: that is what writes to a probed raw image are judged by. */
START_TEST(test_probe)
{
	static const struct {
		unsigned off;
		const char *bytes, *format;
	} magics[] = {
		{ 0, "KDMV", "vmdk" },
		{ 0, "COWD", "vmdk" },
		{ 0, "# Disk DescriptorFile", "vmdk" },
		{ 64, "\x7f\x10\xda\xbe", "vdi" },
		{ 0, "vhdxfile", "vhdx" },
		{ 0, "conectix", "vpc" },
	};

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		uint8_t buf[512] = { 0 };
		size_t end = magics[i].off + strlen(magics[i].bytes);

		memcpy(buf + magics[i].off, magics[i].bytes, strlen(magics[i].bytes));
		ck_assert_str_eq(blk_probe_buf(buf, 512, MIB), magics[i].format);
		ck_assert_str_eq(blk_probe_buf(buf, end, end), magics[i].format);
		ck_assert_str_eq(blk_probe_buf(buf, end - 1, end - 1), "raw");
		buf[magics[i].off]++;
		ck_assert_str_eq(blk_probe_buf(buf, 512, MIB), "raw");
	}
}
END_TEST

/* Past 4 GiB, where the table has an entry of another kind between those of blocks. */
START_TEST(test_vhdx_bitmap_entry)
{
	uint8_t got[512], want[512];

	sh_ok("qemu-img create -f vhdx -o block_size=1M image 6G");
	sh_ok("qemu-io -f vhdx -c 'write -P 1 4095M 1M' -c 'write -P 2 4G 1M' -c 'write -P 3 6143M "
	      "1M' "
	      "image");
	must_open("image", NULL, true);
	for (unsigned i = 0; i < 3; i++) {
		static const uint64_t at[] = { 4095, 4096, 6143 };

		memset(want, (int)i + 1, sizeof(want));
		ck_assert_int_eq(blk_node_pread(n, at[i] * MIB + 1536, got, 512), 0);
		ck_assert_mem_eq(got, want, 512);
	}
	ck_assert_int_eq(blk_node_pread(n, 4097ull * MIB, got, 512), 0);
	ck_assert(all_zero(got, 512));
}
END_TEST

/* A grain that is another's is not taken. */
START_TEST(test_vmdk_wrong_marker)
{
	struct le64 sector = cpu_to_le64(128);

	make_variant(&variants[7], "image");
	write_at("image", 128 * 512, &sector, sizeof(sector));
	must_open("image", NULL, true);
	ck_assert_int_eq(blk_node_pread(n, 512, back, 512), -EIO);
	ck_assert_int_eq(blk_node_pread(n, 65536, back, 512), 0);
	ck_assert_mem_eq(back, model + 65536, 512);
}
END_TEST

/* --- vdi, written
 * ---------------------------------------------------------------------------------- */

static void create_vdi(bool fixed, uint64_t size)
{
	const struct blk_driver *drv = blk_driver_find("vdi");
	struct blk_create c = { .size = size, .opts = &fixed };

	ck_assert_uint_eq(drv->image->create_size, sizeof(fixed));
	memset(&e, 0, sizeof(e));
	ck_assert_msg(!drv->image->create(in_dir("image"), &c, &e), "%s", e.msg);
}

enum { WRITE_PARTS = 40 };

/* Each request has a part of the disk of its own, which shares blocks with the next. */
static void next_write(struct request *q, unsigned i)
{
	uint32_t part = SIZE / WRITE_PARTS;
	uint32_t len = (uint32_t)random() % (random() % 5 ? 9000 : part) + 1;
	uint64_t from = (uint64_t)i * part + (uint64_t)random() % (part - len + 1);
	unsigned kind = (unsigned)random() % 8;

	q->from = from;
	q->len = len;
	q->io.op = kind == 0 ? BLK_WRITE_ZEROES : kind == 1 ? BLK_READ : BLK_WRITE;
	q->io.flags = kind == 2 ? BLK_FUA : 0;
	if (q->io.op == BLK_WRITE)
		memset(q->buf, (int)(random() % 255 + 1), len);
	q->iov[0] = (struct iovec){ q->buf, len / 2 };
	q->iov[1] = (struct iovec){ q->buf + len / 2, len - len / 2 };
	q->io.iov = q->iov;
	q->io.n_iov = q->io.op == BLK_WRITE_ZEROES ? 0 : 2;
	q->io.off = from;
	q->io.len = len;
	blk_node_submit(n, &q->io);
}

static void on_write(struct blk_io *io, int ret)
{
	struct request *q = (struct request *)io;
	static struct request *first;

	ck_assert_int_eq(ret, 0);
	first = first ? first : q;
	if (io->op == BLK_READ)
		ck_assert_mem_eq(q->buf, model + q->from, q->len);
	else if (io->op == BLK_WRITE)
		memcpy(model + q->from, q->buf, q->len);
	else
		memset(model + q->from, 0, q->len);
	if (left) {
		left--;
		next_write(q, (unsigned)(q->from / (SIZE / WRITE_PARTS)));
	} else if (!--running) {
		loop_quit(l);
	}
}

static void random_writes(unsigned count)
{
	static struct request q[WRITE_PARTS];

	ck_assert_msg(!blk_node_attach(n, l, &e), "%s", e.msg);
	left = count;
	running = WRITE_PARTS;
	for (unsigned i = 0; i < WRITE_PARTS; i++) {
		q[i] = (struct request){ .buf = malloc(SIZE / WRITE_PARTS) };
		ck_assert_ptr_nonnull(q[i].buf);
		q[i].io.done = on_write;
		next_write(&q[i], i);
	}
	loop_run(l);
	for (unsigned i = 0; i < WRITE_PARTS; i++)
		free(q[i].buf);
	blk_node_detach(n);
}

/* Made by us, or (by_qemu) by qemu-img; the options are the same. */
static const struct written {
	const char *format, *options;
	bool by_qemu;
} written[] = {
	{ "vdi", "static=off", false },
	{ "vdi", "static=on", false },
	{ "vdi", "static=off", true },
	{ "vdi", "static=on", true },
	{ "vpc", "subformat=dynamic,force_size=on", false },
	{ "vpc", "subformat=fixed,force_size=on", false },
	{ "vpc", "subformat=dynamic,force_size=on", true },
	{ "vpc", "subformat=fixed,force_size=on", true },
	{ "vmdk", "subformat=monolithicSparse", false },
	{ "vmdk", "subformat=monolithicSparse,zeroed_grain=on", false },
	{ "vmdk", "subformat=monolithicFlat", false },
	{ "vmdk", "subformat=monolithicSparse", true },
	{ "vmdk", "subformat=monolithicFlat", true },
	{ "vmdk", "subformat=twoGbMaxExtentSparse", true },
	{ "vmdk", "subformat=twoGbMaxExtentFlat", true },
};
enum { WRITTEN = sizeof(written) / sizeof(written[0]) };

/* By the driver, with options as text. */
static int create(const char *name, const char *format, const char *options, uint64_t size)
{
	const struct blk_driver *drv = blk_driver_find(format);
	void *o = calloc(1, drv->image->create_size);
	struct blk_create c = { .size = size, .opts = o };
	struct opts text;
	int rc;

	memset(&e, 0, sizeof(e));
	ck_assert_ptr_nonnull(o);
	props_defaults(drv->image->create_props, o);
	rc = opts_parse(&text, options, NULL, &e);
	if (!rc)
		rc = props_apply(drv->image->create_props, o, &text, &e);
	if (!rc)
		rc = drv->image->create(in_dir(name), &c, &e);
	opts_free(&text);
	props_free(drv->image->create_props, o);
	free(o);
	return rc;
}

static void make_written(const struct written *w)
{
	if (w->by_qemu) {
		sh_ok("qemu-img convert -f raw -O %s -o %s raw image", w->format, w->options);
		return;
	}
	memset(model, 0, SIZE);
	ck_assert_msg(!create("image", w->format, w->options, SIZE), "%s", e.msg);
}

/* qemu-img agrees about all of it. */
static void qemu_agrees(const char *format)
{
	if (!have_qemu_img)
		return;
	write_at("raw", 0, model, SIZE);
	if (strcmp(format, "vpc") != 0) /* it has no check of these */
		sh_ok("qemu-img check -f %s image", format);
	sh_ok("qemu-img compare -f %s -F raw image raw", format);
}

/* What qemu-img does not look at: copies of tables, and of the footer, are the same. */
static void check_copies(const struct written *w)
{
	enum { RGD = 21, DIR = 1, TABLES = 8 }; /* sectors, of a disk of two tables */
	static uint8_t one[TABLES * 512], other[TABLES * 512];

	if (w->by_qemu)
		return;
	if (strstr(w->options, "dynamic")) {
		read_at("image", 0, one, 512);
		read_at("image", size_of("image") - 512, other, 512);
		ck_assert_mem_eq(one, other, 512);
	} else if (strstr(w->options, "Sparse")) {
		read_at("image", (RGD + DIR) * 512, one, sizeof(one));
		read_at("image", (RGD + DIR + TABLES + DIR) * 512, other, sizeof(other));
		ck_assert(!all_zero(one, sizeof(one)));
		ck_assert_mem_eq(one, other, sizeof(one));
	}
}

START_TEST(test_write)
{
	const struct written *w = &written[_i];
	struct blk_check found = { 0 };

	if (w->by_qemu && !have_qemu_img)
		return;
	make_written(w);
	must_open("image", w->format, false);
	ck_assert_uint_eq(n->size, SIZE);
	compare_all();
	random_writes(400);
	compare_all();
	ck_assert_int_eq(blk_node_flush(n), 0);
	check_status(false);
	if (n->drv->image->check) {
		ck_assert_int_eq(n->drv->image->check(n, 0, &found, &e), 0);
		ck_assert_uint_eq(found.corruptions, 0);
	}
	close_node();
	qemu_agrees(w->format);
	check_copies(w);
	/* And again, on what is there now. */
	must_open("image", w->format, false);
	random_writes(200);
	close_node();
	qemu_agrees(w->format);
	must_open("image", w->format, true);
	compare_all();
	ck_assert_int_eq(blk_node_pwrite(n, 0, model, 512), -EROFS);
}
END_TEST

/* What others say the disk is, changes when it is written, once. */
START_TEST(test_vmdk_cid)
{
	char before[10240], after[10240];

	ck_assert_int_eq(create("image", "vmdk", "subformat=monolithicSparse", SIZE), 0);
	read_at("image", 512, before, sizeof(before));
	must_open("image", NULL, false);
	ck_assert_int_eq(blk_node_pread(n, 0, back, 512), 0);
	close_node();
	read_at("image", 512, after, sizeof(after));
	ck_assert_mem_eq(before, after, sizeof(before));
	must_open("image", NULL, false);
	ck_assert_int_eq(blk_node_pwrite(n, 0, model, 512), 0);
	read_at("image", 512, after, sizeof(after));
	ck_assert_mem_ne(before, after, sizeof(before));
	ck_assert_int_eq(blk_node_pwrite(n, 1 << 20, model, 512), 0);
	read_at("image", 512, before, sizeof(before));
	ck_assert_mem_eq(before, after, sizeof(before));
}
END_TEST

/* Sectors that Virtual PC did not mark as written count from then on. */
START_TEST(test_vpc_bitmap)
{
	static const uint8_t none[512];
	uint8_t bits[512];

	ck_assert_int_eq(create("image", "vpc", "force_size=on", 4 * MIB), 0);
	must_open("image", NULL, false);
	ck_assert_int_eq(blk_node_pwrite(n, 0, model, 512), 0);
	close_node();
	read_at("image", 2048, bits, 512); /* the first block is right behind the table */
	ck_assert_uint_eq(bits[0], 0xff);
	write_at("image", 2048, none, 512);
	must_open("image", NULL, false);
	ck_assert_int_eq(blk_node_pwrite(n, 4096, model, 512), 0);
	read_at("image", 2048, bits, 512);
	ck_assert_uint_eq(bits[0], 0xff);
	ck_assert_uint_eq(bits[511], 0xff);
}
END_TEST

/* An entry that is no place of a block: reading shows an error there, writing nothing. */
START_TEST(test_vpc_bad_entry)
{
	struct be32 entry = cpu_to_be32(1);

	ck_assert_int_eq(create("image", "vpc", "force_size=on", 4 * MIB), 0);
	write_at("image", 1536, &entry, sizeof(entry));
	ck_assert_int_lt(try("image", NULL, false), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "entry 0 of the VHD block allocation table is 1"));
	must_open("image", NULL, true);
}
END_TEST

/* A stream is written grain by grain; until it is flushed it is no image. */
START_TEST(test_vmdk_stream)
{
	ck_assert_int_eq(create("image", "vmdk", "subformat=streamOptimized", SIZE), 0);
	refused("image", NULL, "footer");
	must_open("image", NULL, false);
	for (uint64_t off = 0; off < SIZE; off += 65536) {
		uint64_t len = SIZE - off < 65536 ? SIZE - off : 65536;

		if (all_zero(model + off, len))
			continue;
		ck_assert_int_eq(blk_node_pwrite(n, off, model + off, len), 0);
		if (off == 0)
			ck_assert_int_eq(blk_node_pwrite(n, off, model, 512), -ENOTSUP);
	}
	compare_all();
	ck_assert_int_eq(blk_node_flush(n), 0);
	close_node();
	qemu_agrees("vmdk");
	must_open("image", NULL, true);
	compare_all();
	random_reads();
	close_node();
	/* Now it is only read. */
	ck_assert_int_eq(try("image", NULL, false), -EROFS);
	ck_assert_ptr_nonnull(strstr(e.msg, "streamOptimized can be read, not written"));
	/* Not flushed: nothing pretends to be good. */
	ck_assert_int_eq(create("half", "vmdk", "subformat=streamOptimized", SIZE), 0);
	must_open("half", NULL, false);
	ck_assert_int_eq(blk_node_pwrite(n, 0, model, 65536), 0);
	close_node();
	refused("half", NULL, "footer");
}
END_TEST

START_TEST(test_create_refused)
{
	static const struct {
		const char *format, *options;
		uint64_t size;
		int rc;
		const char *says;
	} bad[] = {
		{ "vpc", "", 0, -EINVAL, "size 0" },
		{ "vpc", "", 3ull << 40, -EFBIG, "size 3298534883328" },
		{ "vpc", "subformat=diff", MIB, -EINVAL, "subformat" },
		{ "vmdk", "subformat=twoGbMaxExtentSparse", MIB, -ENOTSUP, "twoGbMaxExtentSparse" },
		{ "vmdk", "subformat=vmfs", MIB, -EINVAL, "subformat" },
		{ "vmdk", "", 1ull << 60, -EFBIG, "size 1152921504606846976" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(create("image", bad[i].format, bad[i].options, bad[i].size),
				 bad[i].rc);
		ck_assert_msg(strstr(e.msg, bad[i].says), "%s", e.msg);
		ck_assert_int_ne(access(in_dir("image"), F_OK), 0);
	}
}
END_TEST

/* Room is given back to the host, and the block reads as zeroes. */
START_TEST(test_discard)
{
	static const char *const formats[] = { "vdi", "vpc", "vmdk" };
	struct blk_open how = { .discard = true };

	ck_assert_int_eq(create("image", formats[_i], _i == 1 ? "force_size=on" : "", 8 * MIB), 0);
	ck_assert_int_eq(blk_node_open_file(in_dir("image"), NULL, &how, &n, &e), 0);
	memset(back, 5, 4 * MIB);
	ck_assert_int_eq(blk_node_pwrite(n, 0, back, 4 * MIB), 0);
	ck_assert_int_eq(co_discard(n, MIB, 2 * MIB), 0);
	ck_assert_int_eq(co_discard(n, 6 * MIB, MIB), 0); /* never written */
	ck_assert_int_eq(blk_node_pread(n, 0, back, 4 * MIB), 0);
	ck_assert_uint_eq(back[MIB - 1], 5);
	ck_assert(all_zero(back + MIB, 2 * MIB));
	ck_assert_uint_eq(back[3 * MIB], 5);
	ck_assert_int_eq(blk_node_zero(n, 3 * MIB, MIB, BLK_UNMAP), 0);
	ck_assert_int_eq(blk_node_pread(n, 3 * MIB, back, MIB), 0);
	ck_assert(all_zero(back, MIB));
}
END_TEST

/* In the room that the map has, past it, and in steps; static ones, too. */
START_TEST(test_vdi_grow)
{
	static const uint64_t steps[] = { (40 << 20), (200 << 20), 3ull << 30, 2ull << 40 };
	bool fixed = _i;
	unsigned n_steps = fixed ? 2 : 4;
	uint8_t sector[512], want[512];

	make_variant(&variants[fixed], "image");
	must_open("image", NULL, false);
	for (unsigned i = 0; i < n_steps; i++) {
		uint64_t before = n->size;

		ck_assert_msg(!blk_node_truncate(n, steps[i], &e), "%s", e.msg);
		ck_assert_uint_eq(n->size, steps[i]);
		memset(want, (int)i + 1, 512);
		ck_assert_int_eq(blk_node_pread(n, before, sector, 512), 0);
		ck_assert(all_zero(sector, 512));
		ck_assert_int_eq(blk_node_pwrite(n, steps[i] - 512, want, 512), 0);
		if (i % 2) {
			close_node();
			must_open("image", NULL, false);
		}
		compare_start();
		for (unsigned k = 0; k <= i; k++) {
			memset(want, (int)k + 1, 512);
			ck_assert_int_eq(blk_node_pread(n, steps[k] - 512, sector, 512), 0);
			ck_assert_mem_eq(sector, want, 512);
		}
		if (have_qemu_img)
			sh_ok("qemu-img check -f vdi image");
	}
	ck_assert_int_eq(blk_node_truncate(n, MIB, &e), -ENOTSUP);
	ck_assert_int_eq(blk_node_truncate(n, 32ull << 40, &e), -EFBIG);
	close_node();
	if (have_qemu_img)
		sh_ok("qemu-io -f vdi -c 'read -P 1 41942528 512' -c 'read -P 2 209714688 512' "
		      "image "
		      "| grep -c 'read 512' | grep -qx 2");
}
END_TEST

START_TEST(test_vdi_sizes)
{
	static const uint64_t sizes[] = { 0,   1,         512,        MIB - 512,
					  MIB, MIB + 512, 1ull << 40, (uint64_t)16 << 40 };
	uint8_t sector[512];
	const struct blk_driver *drv = blk_driver_find("vdi");
	struct blk_create c = { .size = ((uint64_t)16 << 40) + 1 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		create_vdi(false, sizes[i]);
		must_open("image", NULL, false);
		ck_assert_uint_eq(n->size, (sizes[i] + 511) / 512 * 512);
		if (n->size) {
			memset(sector, 7, 512);
			ck_assert_int_eq(blk_node_pwrite(n, n->size - 512, sector, 512), 0);
			ck_assert_int_eq(blk_node_pread(n, n->size - 512, sector, 512), 0);
			ck_assert_uint_eq(sector[511], 7);
		}
		ck_assert_int_eq(blk_node_pwrite(n, n->size, sector, 512), -EIO);
		close_node();
		if (have_qemu_img && sizes[i] && sizes[i] % 512 == 0)
			sh_ok("qemu-img check -f vdi image");
	}
	ck_assert_int_eq(drv->image->create(in_dir("image"), &c, &e), -EFBIG);
	c.size = 1 << 20;
	c.backing = "base";
	ck_assert_int_eq(drv->image->create(in_dir("image"), &c, &e), -ENOTSUP);
	c.backing = NULL;
	ck_assert_int_eq(drv->image->create(in_dir("no/image"), &c, &e), -ENOENT);
}
END_TEST

/* An image whose counter and map differ, and two blocks in one place. */
START_TEST(test_vdi_check)
{
	struct blk_check found = { 0 };
	struct le32 two[2] = { cpu_to_le32(0), cpu_to_le32(0) };

	create_vdi(false, 4 * MIB);
	write_at("image", 512, two, sizeof(two));
	must_open("image", NULL, true);
	ck_assert_int_eq(n->drv->image->check(n, 0, &found, &e), 0);
	/* And that place is not in the file. */
	ck_assert_uint_eq(found.corruptions, 3);
	ck_assert_uint_eq(found.total_clusters, 4);
	ck_assert_int_eq(n->drv->image->check(n, BLK_FIX_ERRORS, &found, &e), -EROFS);
	/* Cut short: what is missing is no zeroes. */
	ck_assert_int_eq(blk_node_pread(n, 0, back, 512), -EIO);
	ck_assert_int_eq(blk_node_pread(n, 2 * MIB, back, 512), 0);
}
END_TEST

static void check_vdi(unsigned fix, uint64_t corruptions, uint64_t leaks)
{
	struct blk_check found = { 0 };
	struct blk_open how = { .readonly = !fix, .repair = true };

	ck_assert_int_eq(blk_node_open_file(in_dir("image"), "vdi", &how, &n, &e), 0);
	ck_assert_msg(!n->drv->image->check(n, fix, &found, &e), "%s", e.msg);
	ck_assert_uint_eq(found.corruptions, fix & BLK_FIX_ERRORS ? 0 : corruptions);
	ck_assert_uint_eq(found.corruptions_fixed, fix & BLK_FIX_ERRORS ? corruptions : 0);
	ck_assert_uint_eq(found.leaks, fix ? 0 : leaks);
	ck_assert_uint_eq(found.leaks_fixed, fix ? leaks : 0);
	close_node();
}

/* What can be read stays, and what cannot reads as zeroes. */
START_TEST(test_vdi_repair)
{
	static const uint32_t entries[] = { 5, 2, 2, 1u << 30, 9, VDI_UNALLOCATED, 0, 11 };
	static const uint8_t shows[] = { 5, 2, 2, 0, 9, 0, 0, 11 };
	struct le32 map[8], count = cpu_to_le32(4711);
	uint8_t *block = malloc(MIB);

	ck_assert_ptr_nonnull(block);
	create_vdi(false, 8 * MIB);
	for (unsigned i = 0; i < 12; i++) {
		memset(block, (int)i, MIB);
		write_at("image", MIB * i + 1024, block, i == 11 ? 4096 : MIB);
	}
	for (unsigned i = 0; i < 8; i++)
		map[i] = cpu_to_le32(entries[i]);
	write_at("image", 512, map, sizeof(map));
	write_at("image", offsetof(struct vdi_header, blocks_allocated), &count, 4);
	/* 2 a second time, 1 << 30, 9 and 11 of 8, the count. */
	check_vdi(0, 5, 0);
	check_vdi(BLK_FIX_ERRORS | BLK_FIX_LEAKS, 4, 4);
	check_vdi(0, 0, 0);
	if (have_qemu_img)
		sh_ok("qemu-img check -f vdi image");
	ck_assert_uint_eq(size_of("image"), 1024 + 6 * MIB);
	must_open("image", "vdi", false);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_int_eq(blk_node_pread(n, i * MIB, block, MIB), 0);
		for (unsigned k = 0; k < MIB; k += 512)
			ck_assert_uint_eq(block[k], i == 7 && k >= 4096 ? 0 : shows[i]);
	}
	ck_assert_int_eq(blk_node_pwrite(n, 3 * MIB, model, MIB), 0);
	close_node();
	check_vdi(0, 0, 0);
	free(block);
}
END_TEST

/* Leaks alone: between blocks, and behind them. */
START_TEST(test_vdi_leaks)
{
	static const uint32_t entries[] = { 6, 1, 3, VDI_DISCARDED };
	struct le32 map[8], count = cpu_to_le32(3);
	uint8_t *block = malloc(MIB);

	ck_assert_ptr_nonnull(block);
	create_vdi(false, 8 * MIB);
	for (unsigned i = 0; i < 8; i++) {
		memset(block, (int)i, MIB);
		write_at("image", MIB * i + 1024, block, MIB);
		map[i] = cpu_to_le32(i < 4 ? entries[i] : VDI_UNALLOCATED);
	}
	write_at("image", 512, map, sizeof(map));
	write_at("image", offsetof(struct vdi_header, blocks_allocated), &count, 4);
	check_vdi(0, 0, 5);
	check_vdi(BLK_FIX_LEAKS, 0, 5);
	check_vdi(0, 0, 0);
	if (have_qemu_img)
		sh_ok("qemu-img check -f vdi image");
	ck_assert_uint_eq(size_of("image"), 1024 + 3 * MIB);
	must_open("image", "vdi", true);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(blk_node_pread(n, i * MIB, block, MIB), 0);
		for (unsigned k = 0; k < MIB; k += 512)
			ck_assert_uint_eq(block[k], i < 3 ? entries[i] : 0);
	}
	free(block);
}
END_TEST

/* A block that was discarded reads as zeroes and can be written. */
START_TEST(test_vdi_discarded)
{
	struct le32 entry = cpu_to_le32(VDI_DISCARDED);
	uint8_t sector[512];
	unsigned flags;
	uint64_t bytes;

	create_vdi(false, 4 * MIB);
	write_at("image", 512 + 4, &entry, 4);
	must_open("image", NULL, false);
	ck_assert_int_eq(blk_node_pread(n, MIB, sector, 512), 0);
	ck_assert_uint_eq(sector[0], 0);
	ck_assert_int_eq(blk_node_status(n, MIB, 2 * MIB, &bytes, &flags), 0);
	ck_assert_uint_eq(bytes, MIB);
	ck_assert_uint_eq(flags, BLK_ZERO | BLK_ALLOCATED);
	memset(sector, 9, 512);
	ck_assert_int_eq(blk_node_pwrite(n, MIB + 512, sector, 512), 0);
	ck_assert_int_eq(blk_node_pread(n, MIB + 512, back, 512), 0);
	ck_assert_mem_eq(back, sector, 512);
}
END_TEST

/* --- damaged headers
 * ------------------------------------------------------------------------------------ */

/* The checksum of a VHD footer or dynamic header. */
static void mend_vhd(uint8_t *p, size_t len, size_t field)
{
	uint32_t sum = 0;
	struct be32 be;

	memset(p + field, 0, 4);
	for (size_t i = 0; i < len; i++)
		sum += p[i];
	be = cpu_to_be32(~sum);
	memcpy(p + field, &be, 4);
}

static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t c = UINT32_MAX;

	while (len--) {
		c ^= *p++;
		for (unsigned i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
	}
	return ~c;
}

static void mend_vhdx(uint8_t *p, size_t len)
{
	struct le32 le;

	memset(p + 4, 0, 4);
	le = cpu_to_le32(crc32c(p, len));
	memcpy(p + 4, &le, 4);
}

/* A checksummed part of a file. */
struct part {
	uint64_t off; /* UINT64_MAX - k: k + 1 from the end */
	uint32_t len;
	int checksum; /* -1: none; of VHD: where; of VHDX: 4 */
};

static const struct field {
	const char *what;
	unsigned variant;
	struct part part;
	unsigned off, size;
	bool garbage; /* a table may be taken from elsewhere, with nothing to tell */
} fields[] = {
#define VDI_F(f, g)                                                                                \
	{                                                                                          \
		"vdi " #f, 0, { 0, 512, -1 }, offsetof(struct vdi_header, f),                      \
			sizeof(((struct vdi_header *)0)->f), g                                     \
	}
	VDI_F(signature, false),
	VDI_F(version, false),
	VDI_F(header_size, false),
	VDI_F(image_type, false),
	VDI_F(image_flags, false),
	VDI_F(offset_bmap, true),
	VDI_F(offset_data, true),
	VDI_F(cylinders, false),
	VDI_F(heads, false),
	VDI_F(sectors, false),
	VDI_F(sector_size, false),
	VDI_F(disk_size, false),
	VDI_F(block_size, false),
	VDI_F(block_extra, false),
	VDI_F(blocks_in_image, false),
	VDI_F(blocks_allocated, false),
	{ "vdi map", 0, { 512, 4, -1 }, 0, 4, true },
#define VMDK_F(f, v, g)                                                                            \
	{                                                                                          \
		"vmdk " #f, v, { 0, 512, -1 }, offsetof(struct vmdk_sparse, f),                    \
			sizeof(((struct vmdk_sparse *)0)->f), g                                    \
	}
#define VMDK_FIELDS(v)                                                                             \
	VMDK_F(magic, v, false), VMDK_F(version, v, false), VMDK_F(flags, v, true),                \
		VMDK_F(capacity, v, false), VMDK_F(grain_size, v, true),                           \
		VMDK_F(descriptor_offset, v, false), VMDK_F(descriptor_size, v, false),            \
		VMDK_F(gtes_per_gt, v, true), VMDK_F(rgd_offset, v, false),                        \
		VMDK_F(gd_offset, v, true), VMDK_F(overhead, v, false),                            \
		VMDK_F(unclean_shutdown, v, false), VMDK_F(single_end_line, v, false),             \
		VMDK_F(compress_algorithm, v, false)
	VMDK_FIELDS(2),
	VMDK_FIELDS(7),
	/* where qemu-img puts them */
	{ "vmdk directory", 2, { 26 * 512, 4, -1 }, 0, 4, true },
	{ "vmdk table", 2, { 27 * 512, 4, -1 }, 0, 4, true },
	{ "vmdk packed directory", 7, { 26 * 512, 4, -1 }, 0, 4, true },
	{ "vmdk packed table", 7, { 27 * 512, 4, -1 }, 0, 4, true },
	{ "vmdk marker", 7, { 128 * 512, 12, -1 }, 0, 8, false },
	{ "vmdk marker size", 7, { 128 * 512, 12, -1 }, 8, 4, false },
	{ "vmdk packed data", 7, { 128 * 512, 14, -1 }, 12, 2, false },
#define FOOTER(f, v, at, g)                                                                        \
	{                                                                                          \
		"vhd footer " #f, v, { at, 512, offsetof(struct vhd_footer, checksum) },           \
			offsetof(struct vhd_footer, f), sizeof(((struct vhd_footer *)0)->f), g     \
	}
#define FOOTER_FIELDS(v, at, g)                                                                    \
	FOOTER(cookie, v, at, false), FOOTER(features, v, at, false),                              \
		FOOTER(version, v, at, false), FOOTER(data_offset, v, at, false),                  \
		FOOTER(creator_app, v, at, false), FOOTER(original_size, v, at, false),            \
		FOOTER(current_size, v, at, false), FOOTER(cylinders, v, at, false),               \
		FOOTER(heads, v, at, false), FOOTER(sectors, v, at, false),                        \
		FOOTER(type, v, at, false), FOOTER(saved_state, v, at, false)
	FOOTER_FIELDS(12, 0, false),
	FOOTER_FIELDS(13, UINT64_MAX - 511, false),
#define DYNAMIC(f, g)                                                                              \
	{                                                                                          \
		"vhd dynamic " #f, 12, { 512, 1024, offsetof(struct vhd_dynamic, checksum) },      \
			offsetof(struct vhd_dynamic, f), sizeof(((struct vhd_dynamic *)0)->f), g   \
	}
	DYNAMIC(cookie, false),
	DYNAMIC(data_offset, false),
	DYNAMIC(table_offset, true),
	DYNAMIC(version, false),
	DYNAMIC(max_table_entries, false),
	DYNAMIC(block_size, true),
	{ "vhd table", 12, { 1536, 4, -1 }, 0, 4, true },
#define HEADER(f, at)                                                                              \
	{                                                                                          \
		"vhdx header " #f, 9, { at, 4096, 4 }, offsetof(struct vhdx_header, f),            \
			sizeof(((struct vhdx_header *)0)->f), false                                \
	}
#define HEADER_FIELDS(at)                                                                          \
	HEADER(signature, at), HEADER(sequence_number, at), HEADER(file_write, at),                \
		HEADER(log, at), HEADER(log_version, at), HEADER(version, at),                     \
		HEADER(log_length, at), HEADER(log_offset, at)
	HEADER_FIELDS(VHDX_HEADER1),
	HEADER_FIELDS(VHDX_HEADER2),
#define REGION(what, off, size)                                                                    \
	{                                                                                          \
		"vhdx region " what, 9, { VHDX_REGIONS1, VHDX_REGIONS_SIZE, 4 }, off, size, true   \
	}
	REGION("signature", 0, 4),
	REGION("count", 8, 4),
	REGION("guid", 16, 8),
	REGION("offset", 32, 8),
	REGION("length", 40, 4),
	REGION("required", 44, 4),
	REGION("2 guid", 48, 8),
	REGION("2 offset", 64, 8),
	REGION("2 length", 72, 4),
/* where qemu-img puts it */
#define META(what, off, size, g)                                                                   \
	{                                                                                          \
		"vhdx metadata " what, 9, { 3 * MIB, 65536, -1 }, off, size, g                     \
	}
	META("signature", 0, 8, false),
	META("count", 10, 2, false),
	META("guid", 32, 8, false),
	META("offset", 48, 4, true),
	META("length", 52, 4, false),
	META("flags", 56, 4, false),
	META("2 guid", 64, 8, false),
	META("2 offset", 80, 4, true),
	META("3 offset", 112, 4, true),
	META("4 offset", 144, 4, true),
	META("5 offset", 176, 4, true),
#define ITEM(what, off, size)                                                                      \
	{                                                                                          \
		"vhdx item " what, 9, { 3 * MIB + 65536, 64, -1 }, off, size, true                 \
	}
	ITEM("block size", 0, 4),
	ITEM("flags", 4, 4),
	ITEM("3", 8, 8),
	ITEM("4", 16, 8),
	ITEM("5", 24, 8),
	ITEM("6", 32, 8),
	ITEM("7", 40, 4),
	{ "vhdx table", 9, { 2 * MIB, 8, -1 }, 0, 8, true },
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

/* The number of size bytes at p plus add, with its own order of bytes. */
static void add_to(uint8_t *p, unsigned size, bool big, int add)
{
	for (unsigned i = 0; i < size; i++) {
		unsigned at = big ? size - 1 - i : i;
		int sum = p[at] + add;

		p[at] = (uint8_t)sum;
		add = sum < 0 ? -1 : sum > 255 ? 1 : 0;
	}
}

static void change(const struct field *f, unsigned how, uint8_t *part)
{
	bool big = !strcmp(variants[f->variant].format, "vpc");

	if (how < 2)
		memset(part + f->off, how ? 0xff : 0, f->size);
	else
		add_to(part + f->off, f->size, big, how == 2 ? 1 : -1);
	if (f->part.checksum < 0)
		return;
	if (big)
		mend_vhd(part, f->part.len, (size_t)f->part.checksum);
	else
		mend_vhdx(part, f->part.len);
}

/* The blocks where something begins or ends. The first error, or -EBADMSG for other contents. */
static int sample(void)
{
	static const uint32_t at[] = { 0,        65536,      2 * MIB - 4096, 5 * MIB,
				       8 * MIB,  20 * MIB,   32 * MIB - 512, 32 * MIB,
				       33 * MIB, SIZE - 4096 };
	uint8_t buf[4096];

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		uint64_t len = at[i] < n->size ? n->size - at[i] : 0;
		int rc;

		if (len > sizeof(buf))
			len = sizeof(buf);
		rc = blk_node_pread(n, at[i], buf, len);
		if (rc)
			return rc;
		if (at[i] + len > SIZE)
			len = SIZE - at[i];
		if (memcmp(buf, model + at[i], len) != 0)
			return -EBADMSG;
	}
	return 0;
}

/* An error that says what is wrong, or a disk as it was, as far as it can be read. */
static void look_at(const struct field *f, unsigned how)
{
	int rc = try("image", variants[f->variant].format, true);

	if (rc) {
		ck_assert_msg(rc == -e.code && strstr(e.msg, dir), "%s, change %u: %d, '%s'",
			      f->what, how, rc, e.msg);
		return;
	}
	rc = sample();
	ck_assert_msg(f->garbage || rc != -EBADMSG, "%s, change %u: other contents", f->what, how);
	close_node();
}

START_TEST(test_fields)
{
	const struct variant *v = &variants[_i];
	uint8_t *part = malloc(65536), *old = malloc(65536);
	unsigned checked = 0;

	make_variant(v, "image");
	for (unsigned i = 0; i < FIELDS; i++) {
		const struct field *f = &fields[i];
		uint64_t off = f->part.off;

		if (f->variant != (unsigned)_i)
			continue;
		if (f->part.off > UINT64_MAX / 2)
			off = size_of("image") - (UINT64_MAX - f->part.off) - 1;
		read_at("image", off, old, f->part.len);
		for (unsigned how = 0; how < 4; how++) {
			memcpy(part, old, f->part.len);
			change(f, how, part);
			write_at("image", off, part, f->part.len);
			look_at(f, how);
			checked++;
		}
		write_at("image", off, old, f->part.len);
	}
	/* As it was. */
	if (checked) {
		must_open("image", v->format, true);
		compare_all();
	}
	free(part);
	free(old);
}
END_TEST

/* Cut short anywhere in its metadata, and without its end. */
START_TEST(test_short)
{
	static const uint32_t sizes[] = { 0,       1,       4,       63,     68,     100,    511,
					  512,     513,     1024,    1535,   1536,   2048,   13312,
					  13824,   65535,   65536,   69632,  131072, 196608, 262144,
					  1048576, 2097152, 3145728, 3145735 };
	const struct variant *v = &variants[_i];

	make_variant(v, "image");
	for (size_t i = sizeof(sizes) / sizeof(sizes[0]); i--;) {
		int rc;

		if (size_of("image") <= sizes[i])
			continue;
		ck_assert_int_eq(truncate(in_dir("image"), sizes[i]), 0);
		rc = try("image", v->format, true);
		if (rc) {
			ck_assert_msg(strstr(e.msg, dir), "%s at %u: '%s'", v->options, sizes[i],
				      e.msg);
			continue;
		}
		/* Of a descriptor that was cut short there may be enough. */
		rc = sample();
		ck_assert_int_ne(rc, -EBADMSG);
		ck_assert(rc || sizes[i] < 512);
		close_node();
	}
}
END_TEST

/* What is refused by name. */
START_TEST(test_refused)
{
	static const uint8_t one = 1;
	struct le32 type = cpu_to_le32(VDI_DIFF);
	struct vhd_footer f;
	uint8_t header[4096];
	struct le32 flags = cpu_to_le32(VHDX_HAS_PARENT);

	create_vdi(false, MIB);
	write_at("image", offsetof(struct vdi_header, image_type), &type, 4);
	refused("image", NULL, "image_type is 4: differencing images are not supported");
	create_vdi(false, MIB);
	write_at("image", offsetof(struct vdi_header, uuid_parent), &one, 1);
	refused("image", NULL, "uuid_parent is not zero");
	create_vdi(false, 64 * MIB);
	type = cpu_to_le32(64);
	write_at("image", 512 + 4, &type, 4);
	refused("image", NULL, "entry 1 of the VDI blocks map is 64: there are only 64 blocks");
	write_at("image", 0, "COWD", 4);
	refused("image", "vmdk", "sparse extents of ESX are not supported");
	refused("image", "vhdx", "this is not a VHDX image");
	refused("image", "vpc", "there is no VHD footer");
	write_at("image", 0, "QQQQ", 4);
	refused("image", "vmdk", "this is not a VMDK image");
	if (!have_qemu_img)
		return;
	make_variant(&variants[12], "vhd");
	read_at("vhd", 0, &f, sizeof(f));
	f.type = cpu_to_be32(VHD_DIFFERENCING);
	write_at("vhd", 0, &f, sizeof(f));
	refused("vhd", NULL, "VHD footer field checksum");
	mend_vhd((uint8_t *)&f, sizeof(f), offsetof(struct vhd_footer, checksum));
	write_at("vhd", 0, &f, sizeof(f));
	refused("vhd", NULL, "VHD footer field type is 4: differencing disks are not supported");
	make_variant(&variants[9], "vhdx");
	write_at("vhdx", 3 * MIB + 65536 + 4, &flags, 4);
	refused("vhdx", NULL, "HasParent is set: differencing disks are not supported");
	make_variant(&variants[9], "vhdx");
	memset(header, 0, sizeof(header));
	write_at("vhdx", VHDX_HEADER1, header, sizeof(header));
	must_open("vhdx", NULL, true);
	close_node();
	write_at("vhdx", VHDX_HEADER2, header, sizeof(header));
	refused("vhdx", NULL, "both VHDX headers are damaged");
}
END_TEST

/* --- vmdk's descriptors and footers
 * ------------------------------------------------------------------- */

static void descriptor(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void descriptor(const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int len = snprintf(text, sizeof(text), "# Disk DescriptorFile\nversion=1\nCID=12345678\n");

	va_start(ap, fmt);
	len += vsnprintf(text + len, sizeof(text) - (size_t)len, fmt, ap);
	va_end(ap);
	unlink(in_dir("image.vmdk"));
	write_at("image.vmdk", 0, text, (size_t)len);
}

#define FLAT_TYPE "parentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"

START_TEST(test_vmdk_descriptor)
{
	json_t *info;
	uint64_t bytes;
	unsigned flags;

	/* Three extents: the middle of the model, zeroes, and its beginning. */
	descriptor(FLAT_TYPE
		   "\r\nRW 2048 FLAT \"raw\" 10240\r\n  RDONLY 100 ZERO\nRW 7 VMFS \"raw\"\n"
		   "ddb.adapterType = \"ide\"\nnot a key\n");
	must_open("image.vmdk", NULL, true);
	ck_assert_uint_eq(n->size, 2155 * 512);
	ck_assert_int_eq(blk_node_attach(n, l, &e), 0);
	ck_assert_int_eq(blk_node_pread(n, 0, back, 2155 * 512), 0);
	ck_assert_mem_eq(back, model + 10240 * 512, MIB);
	ck_assert(all_zero(back + MIB, 100 * 512));
	ck_assert_mem_eq(back + MIB + 51200, model, 7 * 512);
	ck_assert_int_eq(blk_node_status(n, MIB, 2000, &bytes, &flags), 0);
	ck_assert(bytes == 2000 && flags == (BLK_ZERO | BLK_ALLOCATED));
	info = n->drv->image->info(n);
	ck_assert_int_eq(json_integer_value(json_object_get(info, "cid")), 0x12345678);
	ck_assert_str_eq(json_string_value(json_object_get(info, "create-type")), "monolithicFlat");
	ck_assert_uint_eq(json_array_size(json_object_get(info, "extents")), 3);
	json_decref(info);
	close_node();
}
END_TEST

static const struct {
	const char *text, *says;
} descriptors[] = {
	{ FLAT_TYPE "RW 8 FLAT \"../raw\" 0\n", "only files in the descriptor's own folder" },
	{ FLAT_TYPE "RW 8 FLAT \"/etc/passwd\" 0\n", "'/etc/passwd': only files in" },
	{ FLAT_TYPE "RW 8 FLAT \"..\"\n", "only files in" },
	{ FLAT_TYPE "RW 8 FLAT \"sub/raw\"\n", "only files in" },
	{ FLAT_TYPE "RW 8 FLAT \"\"\n", "only files in" },
	{ FLAT_TYPE "RW 8 FLAT\n", "only files in" },
	{ FLAT_TYPE "RW 8 FLAT \"raw\n", "only files in" },
	{ FLAT_TYPE "RW 8 FLAT \"none\" 0\n", "extent: cannot open" },
	{ FLAT_TYPE "RW 99999999 FLAT \"raw\" 0\n", "and the VMDK descriptor wants 51199999488" },
	{ FLAT_TYPE "RW 8 FLAT \"raw\" 71683\n", "the VMDK descriptor wants 4096 from" },
	{ FLAT_TYPE "RW 8 FLAT \"raw\" -1\n", "not a number of sectors" },
	{ FLAT_TYPE "RW 0 FLAT \"raw\"\n", "not a number of sectors" },
	{ FLAT_TYPE "RW 8x FLAT \"raw\"\n", "not a number of sectors" },
	{ FLAT_TYPE "RW 18446744073709551616 ZERO\n", "not a number of sectors" },
	{ FLAT_TYPE "RW \n", "not a number of sectors" },
	{ FLAT_TYPE "RW 8\n", "only FLAT, VMFS, SPARSE and ZERO" },
	{ FLAT_TYPE "RW 8 VMFSRDM \"raw\"\n", "the type of an extent is 'VMFSRDM'" },
	{ FLAT_TYPE "NOACCESS 8 ZERO\n", "only RW and RDONLY" },
	{ FLAT_TYPE "RW 8 SPARSE \"raw\"\n", "magicNumber is not 'KDMV'" },
	{ FLAT_TYPE, "there is no extent" },
	{ "RW 8 ZERO\n", "there is no createType=" },
	{ "createType=\"vmfsSparse\"\nRW 8 ZERO\n", "createType=vmfsSparse: this kind" },
	{ "createType=custom\nRW 8 ZERO\n", "createType=custom: this kind" },
	{ FLAT_TYPE "parentCID=00000001\nRW 8 ZERO\n", "parentCID=00000001: images with a parent" },
	{ FLAT_TYPE "parentFileNameHint=\"x\"\n", "parentFileNameHint=x: images with a parent" },
	{ FLAT_TYPE "CID=123456789\n", "CID=123456789: not a hexadecimal number" },
	{ FLAT_TYPE "version=4\n", "version=4: only 1 to 3" },
	{ FLAT_TYPE "version=0\n", "version=0: only 1 to 3" },
};

START_TEST(test_vmdk_bad_descriptor)
{
	descriptor("%s", descriptors[_i].text);
	refused("image.vmdk", NULL, descriptors[_i].says);
}
END_TEST

START_TEST(test_vmdk_large_descriptor)
{
	char *text;

	descriptor(FLAT_TYPE "RW 8 ZERO\n");
	ck_assert_int_eq(truncate(in_dir("image.vmdk"), MIB), 0);
	must_open("image.vmdk", NULL, true);
	close_node();
	ck_assert_int_eq(truncate(in_dir("image.vmdk"), MIB + 1), 0);
	refused("image.vmdk", NULL, "more than 1 MiB");
	/* More extents than files may be open. */
	text = malloc(MIB);
	strcpy(text, "");
	for (unsigned i = 0, len = 0; i < 5000; i++)
		len += (unsigned)sprintf(text + len, "RW 8 ZERO\n");
	descriptor(FLAT_TYPE);
	write_at("image.vmdk", size_of("image.vmdk"), text, strlen(text));
	refused("image.vmdk", NULL, "more than 4096 extents");
	free(text);
}
END_TEST

/* As streams are written: the header does not know where the directory will be. */
static void move_to_footer(void)
{
	struct le64 at_end = cpu_to_le64(VMDK_GD_AT_END);
	uint64_t end = (size_of("image") + 511) / 512 * 512;
	uint8_t sectors[3 * 512] = { 0 };

	sectors[0] = 1;
	sectors[12] = 3;
	read_at("image", 0, sectors + 512, 512);
	write_at("image", end, sectors, sizeof(sectors));
	write_at("image", offsetof(struct vmdk_sparse, gd_offset), &at_end, 8);
}

START_TEST(test_vmdk_footer)
{
	struct le64 at_end = cpu_to_le64(VMDK_GD_AT_END);
	uint64_t footer;

	make_variant(&variants[7], "image");
	move_to_footer();
	must_open("image", NULL, true);
	compare_all();
	close_node();
	footer = size_of("image") - 1024;
	write_at("image", footer + offsetof(struct vmdk_sparse, gd_offset), &at_end, 8);
	refused("image", NULL, "gdOffset of the footer");
	write_at("image", footer, "VMDK", 4);
	refused("image", NULL, "footer: ");
}
END_TEST

/* One of several. */
START_TEST(test_vmdk_lone_extent)
{
	make_variant(&variants[5], "image.vmdk");
	refused("image-s001.vmdk", NULL, "the file is one extent of an image of several");
}
END_TEST

/* --- vhdx's log
 * ----------------------------------------------------------------------------------------- */

/* A log entry that writes the 4 KiB at off; data NULL: zeroes. Two sectors, or one. */
static uint32_t log_entry(uint32_t at, uint32_t tail, uint64_t number, uint64_t off,
			  const uint8_t *data)
{
	uint8_t buf[8192] = { 0 };
	struct vhdx_log_entry *h = (void *)buf;
	struct vhdx_log_desc *d = (void *)(h + 1);
	struct vhdx_log_data *s = (void *)(buf + 4096);
	uint32_t len = data ? 8192 : 4096;

	memcpy(h->signature, "loge", 4);
	h->entry_length = cpu_to_le32(len);
	h->tail = cpu_to_le32(tail);
	h->sequence_number = cpu_to_le64(number);
	h->descriptor_count = cpu_to_le32(1);
	memset(&h->log, 0x77, 16);
	h->flushed_file_offset = h->last_file_offset = cpu_to_le64(size_of("image"));
	d->file_offset = cpu_to_le64(off);
	d->sequence_number = cpu_to_le64(number);
	memcpy(d->signature, data ? "desc" : "zero", 4);
	d->leading_bytes = cpu_to_le64(4096);
	if (data) {
		memcpy(&d->leading_bytes, data, 8);
		memcpy(&d->trailing_bytes, data + 4092, 4);
		memcpy(s->signature, "data", 4);
		s->sequence_high = cpu_to_le32((uint32_t)(number >> 32));
		s->sequence_low = cpu_to_le32((uint32_t)number);
		memcpy(s->data, data + 8, 4084);
	}
	mend_vhdx(buf, len);
	/* The ring may end inside. */
	for (uint32_t i = 0; i < len; i += 4096)
		write_at("image", MIB + (at + i) % MIB, buf + i, 4096);
	return (at + len) % MIB;
}

/* The newer header says that there is a log. */
static void begin_log(void)
{
	struct vhdx_header h[2];
	unsigned newer;

	read_at("image", VHDX_HEADER1, &h[0], sizeof(h[0]));
	read_at("image", VHDX_HEADER2, &h[1], sizeof(h[1]));
	newer = le64_to_cpu(h[1].sequence_number) > le64_to_cpu(h[0].sequence_number);
	ck_assert_uint_eq(le32_to_cpu(h[newer].log_length), MIB);
	ck_assert_uint_eq(le64_to_cpu(h[newer].log_offset), MIB);
	memset(&h[newer].log, 0x77, 16);
	mend_vhdx((uint8_t *)&h[newer], sizeof(h[newer]));
	write_at("image", newer ? VHDX_HEADER2 : VHDX_HEADER1, &h[newer], sizeof(h[newer]));
}

/* The BAT is only in the log; at the end of the ring, with older entries before it. */
START_TEST(test_vhdx_log)
{
	static const uint8_t wrong[4096] = { 6, 0, 0x50 };
	uint8_t bat[4096], sector[4096] = { 0 };
	uint32_t at = MIB - 3 * 4096, tail = at;

	make_variant(&variants[9], "image");
	read_at("image", BAT, bat, sizeof(bat));
	write_at("image", BAT, sector, sizeof(sector));
	begin_log();
	refused("image", NULL, "its VHDX log is damaged: it has no valid sequence");
	/* An older sequence, which must not count; then one of three that wraps. */
	log_entry(20 * 4096, 20 * 4096, 5, BAT, wrong);
	at = log_entry(at, tail, 41, BAT, NULL);
	at = log_entry(at, tail, 42, BAT, wrong);
	log_entry(at, tail, 43, BAT, bat);
	must_open("image", NULL, true);
	compare_all();
	close_node();
	/* The file was not touched; qemu-img carries out the same. */
	read_at("image", BAT, sector, sizeof(sector));
	ck_assert_uint_eq(sector[0], 0);
	sh_ok("qemu-img check -f vhdx -r all image");
	read_at("image", BAT, sector, sizeof(sector));
	ck_assert_mem_eq(sector, bat, sizeof(bat));
	must_open("image", NULL, true);
	compare_all();
}
END_TEST

START_TEST(test_vhdx_bad_log)
{
	uint8_t bat[4096];
	struct le32 number = cpu_to_le32(9);

	make_variant(&variants[9], "image");
	read_at("image", BAT, bat, sizeof(bat));
	begin_log();
	log_entry(0, 0, 1, BAT, bat);
	must_open("image", NULL, true);
	close_node();
	/* A tail that is no entry; a torn data sector; no valid checksum. */
	log_entry(0, 4096, 1, BAT, bat);
	refused("image", NULL, "no valid sequence");
	log_entry(0, 0, 1, BAT, bat);
	write_at("image", MIB + 4096 + 4092, &number, 4);
	refused("image", NULL, "no valid sequence");
	/* What is not metadata. */
	log_entry(0, 0, 1, 8 * MIB, bat);
	refused("image", NULL, "changes 4096 bytes at offset 8388608, outside of BAT and metadata");
	log_entry(0, 0, 1, BAT, bat);
	ck_assert_int_eq(truncate(in_dir("image"), (off_t)size_of("image") - MIB), 0);
	refused("image", NULL, "FlushedFileOffset");
}
END_TEST

/* --- all of it
 * -----------------------------------------------------------------------------------------------
 */

int main(void)
{
	Suite *s = suite_create("formats");
	TCase *t = tcase_create("alone"), *q = tcase_create("qemu-img");

	have_qemu_img = !system("qemu-img --version >/dev/null 2>&1");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_probe);
	tcase_add_loop_test(t, test_write, 0, WRITTEN);
	tcase_add_test(t, test_vmdk_cid);
	tcase_add_test(t, test_vpc_bitmap);
	tcase_add_test(t, test_vpc_bad_entry);
	tcase_add_test(t, test_vmdk_stream);
	tcase_add_test(t, test_create_refused);
	tcase_add_loop_test(t, test_discard, 0, 3);
	tcase_add_test(t, test_vdi_sizes);
	tcase_add_test(t, test_vdi_check);
	tcase_add_test(t, test_vdi_repair);
	tcase_add_test(t, test_vdi_leaks);
	tcase_add_test(t, test_vdi_discarded);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_vmdk_descriptor);
	tcase_add_loop_test(t, test_vmdk_bad_descriptor, 0,
			    sizeof(descriptors) / sizeof(descriptors[0]));
	tcase_add_test(t, test_vmdk_large_descriptor);
	suite_add_tcase(s, t);
	if (!have_qemu_img) {
		puts("skipped: images of the other program: qemu-img is missing");
		return run_suite(s);
	}
	tcase_add_checked_fixture(q, setup, teardown);
	tcase_set_timeout(q, 120);
	tcase_add_loop_test(q, test_read, 0, VARIANTS);
	tcase_add_loop_test(q, test_auto_readonly, 7, 9);
	tcase_add_loop_test(q, test_vdi_grow, 0, 2);
	tcase_add_test(q, test_vmdk_many_tables);
	tcase_add_test(q, test_vhdx_bitmap_entry);
	tcase_add_test(q, test_vmdk_wrong_marker);
	tcase_add_loop_test(q, test_fields, 0, VARIANTS);
	tcase_add_loop_test(q, test_short, 0, VARIANTS);
	tcase_add_test(q, test_vmdk_footer);
	tcase_add_test(q, test_vmdk_lone_extent);
	tcase_add_test(q, test_vhdx_log);
	tcase_add_test(q, test_vhdx_bad_log);
	suite_add_tcase(s, q);
	return run_suite(s);
}
