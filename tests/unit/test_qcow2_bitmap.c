/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of qcow2's persistent dirty bitmaps: random writes against a model, whose bits
 * are read from the file by a parser of the test's own; what is kept as it was; the image as
 * a power cut may leave it; directories that must be refused. qemu-img, where it is
 * installed, finds nothing wrong.
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
#include "opts.h"
#include "props.h"
#include "wire/qcow2.h"

enum { DISK = 6 << 20 };

static struct err e;
static char dir[64], image[128], other[128];
static bool have_tool;
static uint8_t *file_data;
static uint64_t file_size;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test_qcow2_bitmap.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	snprintf(other, sizeof(other), "%s/other.qcow2", dir);
	have_tool = !system("command -v qemu-img >/dev/null");
	e = (struct err){ 0 };
}

static void teardown(void)
{
	char cmd[96];

	free(file_data);
	file_data = NULL;
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
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

static void sound(const char *name)
{
	tool("qemu-img check -q %s >&2", name);
}

static const struct blk_image_ops *ops(void)
{
	return blk_driver_find("qcow2")->image;
}

static void create(const char *name, const char *options, uint64_t size)
{
	struct blk_create c = { .size = size };
	void *o = calloc(1, ops()->create_size);
	struct opts opts;

	ck_assert_ptr_nonnull(o);
	ck_assert_int_eq(opts_parse(&opts, options, NULL, &e), 0);
	props_defaults(ops()->create_props, o);
	ck_assert_msg(!props_apply(ops()->create_props, o, &opts, &e), "%s", e.msg);
	c.opts = o;
	ck_assert_msg(!ops()->create(name, &c, &e), "%s", e.msg);
	props_free(ops()->create_props, o);
	opts_free(&opts);
	free(o);
}

static int try_open(const char *name, bool readonly, struct blk_node **n)
{
	struct blk_open how = { .readonly = readonly, .locking = true, .discard = true };

	return blk_node_open_file(name, "qcow2", &how, n, &e);
}

static struct blk_node *open_image(const char *name)
{
	struct blk_node *n = NULL;

	ck_assert_msg(!try_open(name, false, &n), "%s", e.msg);
	return n;
}

static void add_to(struct blk_node *n, const char *name, uint64_t granularity, bool enabled)
{
	struct blk_bitmap b = { .name = (char *)(uintptr_t)name,
				.granularity = granularity,
				.enabled = enabled };

	ck_assert_msg(!ops()->bitmap_add(n, &b, &e), "%s", e.msg);
}

static void add(const char *name, uint64_t granularity, bool enabled)
{
	struct blk_node *n = open_image(image);

	add_to(n, name, granularity, enabled);
	blk_node_close(n);
}

/* --- what the file says ----------------------------------------------------------------------- */

static void load_file(const char *name)
{
	FILE *f = fopen(name, "r");
	struct stat st;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fstat(fileno(f), &st), 0);
	free(file_data);
	file_size = (uint64_t)st.st_size;
	file_data = malloc(file_size);
	ck_assert_ptr_nonnull(file_data);
	ck_assert_uint_eq(fread(file_data, 1, file_size, f), file_size);
	fclose(f);
}

static void store_file(const char *name, const uint8_t *data, uint64_t size)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

struct found {
	uint64_t ext, entry; /* where in the file: the extension's data, the directory entry */
	uint32_t flags;
	unsigned granularity_bits;
	struct be64 *table;
	uint64_t entries;
	uint8_t *extra;
	uint32_t extra_size;
};

static const struct qcow2_header *header(void)
{
	return (const void *)file_data;
}

static uint64_t cluster(void)
{
	return 1ull << be32_to_cpu(header()->cluster_bits);
}

/* Where the data of the bitmaps extension are; 0: there is none, or it is not to be believed. */
static uint64_t find_ext(void)
{
	uint64_t at = be32_to_cpu(header()->header_length);
	struct qcow2_ext x;

	if (!(be64_to_cpu(header()->autoclear_features) & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	for (;; at += sizeof(x) + ((be32_to_cpu(x.len) + 7u) & ~7u)) {
		memcpy(&x, file_data + at, sizeof(x));
		if (be32_to_cpu(x.type) == QCOW2_EXT_BITMAPS)
			return at + sizeof(x);
		if (!be32_to_cpu(x.type))
			return 0;
	}
}

static bool find(const char *name, struct found *f)
{
	struct qcow2_bitmap_entry b;
	struct qcow2_bitmap_ext x;
	uint64_t at;

	*f = (struct found){ .ext = find_ext() };
	if (!f->ext)
		return false;
	memcpy(&x, file_data + f->ext, sizeof(x));
	at = be64_to_cpu(x.dir_offset);
	for (uint32_t i = 0; i < be32_to_cpu(x.n); i++) {
		uint32_t extra;
		uint16_t len;

		ck_assert_uint_le(at + sizeof(b), file_size);
		memcpy(&b, file_data + at, sizeof(b));
		extra = be32_to_cpu(b.extra_size);
		len = be16_to_cpu(b.name_size);
		if (len == strlen(name) && !memcmp(file_data + at + sizeof(b) + extra, name, len)) {
			f->entry = at;
			f->flags = be32_to_cpu(b.flags);
			f->granularity_bits = b.granularity_bits;
			f->entries = be32_to_cpu(b.table_size);
			f->table = (void *)(file_data + be64_to_cpu(b.table_offset));
			f->extra = file_data + at + sizeof(b);
			f->extra_size = extra;
			return true;
		}
		at += (sizeof(b) + extra + len + 7) & ~7ull;
	}
	return false;
}

static bool bit_of(const struct found *f, uint64_t bit)
{
	uint64_t part = cluster() * 8, v, host;

	ck_assert_uint_lt(bit / part, f->entries);
	v = be64_to_cpu(f->table[bit / part]);
	host = v & QCOW2_OFFSET_MASK;
	if (!host)
		return v & QCOW2_BITMAP_ONES;
	ck_assert_uint_le(host + cluster(), file_size);
	return file_data[host + bit % part / 8] >> bit % 8 & 1;
}

/* --- the model: sectors that were written, by when bitmaps were made ----------------------------
 */

static uint8_t touched[DISK / 512];
static unsigned seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

static bool wants(unsigned granularity_bits, uint64_t bit)
{
	uint64_t n = (1ull << granularity_bits) / 512;

	for (uint64_t s = bit * n; s < (bit + 1) * n && s < DISK / 512; s++)
		if (touched[s])
			return true;
	return false;
}

static void expect(const char *name, uint32_t flags)
{
	struct found f;
	uint64_t n;

	load_file(image);
	ck_assert_msg(find(name, &f), "%s is not there", name);
	ck_assert_msg(f.flags == flags, "%s: flags %#x instead of %#x", name, f.flags, flags);
	n = (DISK + (1ull << f.granularity_bits) - 1) >> f.granularity_bits;
	for (uint64_t i = 0; i < n; i++)
		ck_assert_msg(bit_of(&f, i) == wants(f.granularity_bits, i),
			      "%s: bit %" PRIu64 " is %d", name, i, bit_of(&f, i));
}

static void random_change(struct blk_node *n)
{
	static uint8_t buf[200 << 10];
	uint64_t len = 512ull * (1 + rnd(rnd(4) ? 16 : sizeof(buf) / 512)), off;

	off = 512ull * rnd((unsigned)((DISK - len) / 512 + 1));
	memset(touched + off / 512, 1, len / 512);
	memset(buf, (int)seed, sizeof(buf));
	switch (rnd(4)) {
	case 0:
		ck_assert_int_eq(blk_node_zero(n, off, len, rnd(2) ? BLK_UNMAP : 0), 0);
		break;
	default:
		ck_assert_int_eq(blk_node_pwrite(n, off, buf, len), 0);
	}
}

static const char *const geometries[] = {
	"cluster_size=64K", "cluster_size=512", "cluster_size=4K,refcount_bits=1",
	"cluster_size=2M",  "extended_l2=on",   "lazy_refcounts=on,cluster_size=4K",
};
enum { GEOMETRIES = sizeof(geometries) / sizeof(geometries[0]) };

START_TEST(random_writes)
{
	seed = 1 + (unsigned)_i;
	memset(touched, 0, sizeof(touched));
	create(image, geometries[_i], DISK);
	add("small", 512, true);
	add("middle", 0, true);
	add("large", 1 << 20, true);
	add("off", 4096, false);
	for (unsigned round = 0; round < 4; round++) {
		struct blk_node *n = open_image(image);

		for (unsigned i = 0; i < 40; i++)
			random_change(n);
		blk_node_close(n);
		sound(image);
		expect("small", QCOW2_BITMAP_AUTO);
		expect("middle", QCOW2_BITMAP_AUTO);
		expect("large", QCOW2_BITMAP_AUTO);
	}
	memset(touched, 0, sizeof(touched));
	expect("off", 0);
	tool("qemu-io -c 'write 1M 64k' -c 'discard 3M 64k' %s >/dev/null", image);
	sound(image);
}
END_TEST

START_TEST(discards)
{
	struct blk_node *n;

	memset(touched, 0, sizeof(touched));
	create(image, "", DISK);
	add("b", 65536, true);
	n = open_image(image);
	ck_assert_int_eq(blk_node_zero(n, 1 << 20, 65536, BLK_UNMAP), 0);
	memset(touched + (1 << 20) / 512, 1, 128);
	blk_node_close(n);
	expect("b", QCOW2_BITMAP_AUTO);
	n = open_image(image);
	ck_assert_int_eq(ops()->make_empty(n, &e), 0);
	blk_node_close(n);
	expect("b", QCOW2_BITMAP_AUTO);
}
END_TEST

/* --- what the image tool does -------------------------------------------------------------------
 */

static int try_add(struct blk_node *n, const char *name, uint64_t granularity)
{
	struct blk_bitmap b = { .name = (char *)(uintptr_t)name, .granularity = granularity };

	return ops()->bitmap_add(n, &b, &e);
}

START_TEST(refused_bitmaps)
{
	static char name[1100];
	struct blk_node *n;

	memset(name, 'a', sizeof(name) - 1);
	create(image, "", DISK);
	n = open_image(image);
	ck_assert_int_eq(try_add(n, "b", 0), 0);
	ck_assert_int_eq(try_add(n, "b", 0), -EEXIST);
	ck_assert_int_eq(try_add(n, "", 0), -EINVAL);
	ck_assert_int_eq(try_add(n, "c", 256), -EINVAL);
	ck_assert_int_eq(try_add(n, "c", 1000), -EINVAL);
	ck_assert_int_eq(try_add(n, "c", 4ull << 30), -EINVAL);
	ck_assert_int_eq(try_add(n, name, 0), -EINVAL);
	name[1023] = '\0';
	ck_assert_int_eq(try_add(n, name, 2ull << 30), 0);
	ck_assert_int_eq(ops()->bitmap_remove(n, "c", &e), -ENOENT);
	ck_assert_int_eq(ops()->bitmap_clear(n, "c", &e), -ENOENT);
	ck_assert_int_eq(ops()->bitmap_enable(n, "c", true, &e), -ENOENT);
	ck_assert_int_eq(ops()->bitmap_merge(n, "b", n, "c", &e), -ENOENT);
	blk_node_close(n);
	sound(image);
	create(image, "", 1ull << 40);
	n = open_image(image);
	ck_assert_int_eq(try_add(n, "b", 1024), -EFBIG);
	blk_node_close(n);
	create(image, "compat=0.10", DISK);
	n = open_image(image);
	ck_assert_int_eq(try_add(n, "b", 0), -ENOTSUP);
	blk_node_close(n);
	ck_assert_int_eq(try_open(image, true, &n), 0);
	blk_node_close(n);
}
END_TEST

START_TEST(add_clear_remove)
{
	struct blk_node *n;
	struct found f;

	seed = 7;
	memset(touched, 0, sizeof(touched));
	create(image, geometries[_i], DISK);
	add("a", 0, true);
	n = open_image(image);
	random_change(n);
	add_to(n, "later", 512, true);
	blk_node_close(n);
	expect("a", QCOW2_BITMAP_AUTO);
	n = open_image(image);
	ck_assert_int_eq(ops()->bitmap_enable(n, "a", false, &e), 0);
	ck_assert_int_eq(ops()->bitmap_clear(n, "later", &e), 0);
	memset(touched, 0, sizeof(touched));
	random_change(n);
	blk_node_close(n);
	expect("later", QCOW2_BITMAP_AUTO);
	sound(image);
	ck_assert(find("a", &f) && f.flags == 0);
	n = open_image(image);
	ck_assert_int_eq(ops()->bitmap_remove(n, "later", &e), 0);
	ck_assert_int_eq(ops()->bitmap_clear(n, "a", &e), 0);
	ck_assert_int_eq(ops()->bitmap_enable(n, "a", true, &e), 0);
	blk_node_close(n);
	memset(touched, 0, sizeof(touched));
	expect("a", QCOW2_BITMAP_AUTO);
	ck_assert(!find("later", &f));
	sound(image);
	n = open_image(image);
	ck_assert_int_eq(ops()->bitmap_remove(n, "a", &e), 0);
	blk_node_close(n);
	load_file(image);
	ck_assert_uint_eq(find_ext(), 0);
	sound(image);
}
END_TEST

/* Of another granularity, and from another image. */
START_TEST(merging)
{
	struct blk_node *n, *from;

	seed = 11;
	memset(touched, 0, sizeof(touched));
	create(image, "cluster_size=4K", DISK);
	create(other, "cluster_size=64K", DISK);
	add("fine", 512, true);
	add("coarse", 128 << 10, false);
	n = open_image(image);
	for (unsigned i = 0; i < 10; i++)
		random_change(n);
	/* What has been recorded is merged too, in the file or not yet. */
	ck_assert_int_eq(ops()->bitmap_merge(n, "coarse", n, "fine", &e), 0);
	blk_node_close(n);
	expect("coarse", 0);
	n = open_image(image);
	from = open_image(other);
	add_to(n, "empty", 512, false);
	add_to(from, "far", 512, true);
	ck_assert_int_eq(ops()->bitmap_merge(from, "far", n, "fine", &e), 0);
	ck_assert_int_eq(ops()->bitmap_merge(n, "empty", from, "far", &e), 0);
	blk_node_close(from);
	blk_node_close(n);
	expect("empty", 0);
	sound(image);
	sound(other);
	create(other, "", DISK * 2);
	n = open_image(image);
	from = open_image(other);
	add_to(from, "b", 0, true);
	ck_assert_int_eq(ops()->bitmap_merge(n, "fine", from, "b", &e), -EINVAL);
	blk_node_close(from);
	blk_node_close(n);
}
END_TEST

START_TEST(resizing)
{
	struct blk_node *n;

	seed = 13;
	memset(touched, 0, sizeof(touched));
	create(image, geometries[_i], DISK);
	add("b", 512, true);
	add("off", 512, false);
	n = open_image(image);
	for (unsigned i = 0; i < 10; i++)
		random_change(n);
	ck_assert_int_eq(ops()->bitmap_merge(n, "off", n, "b", &e), 0);
	ck_assert_int_eq(blk_node_truncate(n, 3 * DISK, &e), 0);
	random_change(n);
	blk_node_close(n);
	sound(image);
	expect("b", QCOW2_BITMAP_AUTO);
	n = open_image(image);
	ck_assert_int_eq(blk_node_truncate(n, DISK / 4 + 1024, &e), 0);
	if (_i % 2) {
		blk_node_close(n);
		sound(image);
		n = open_image(image);
	}
	memset(touched + (DISK / 4 + 1024) / 512, 0, sizeof(touched) - (DISK / 4 + 1024) / 512);
	ck_assert_int_eq(blk_node_truncate(n, DISK, &e), 0);
	ck_assert_int_eq(ops()->bitmap_clear(n, "off", &e), 0);
	ck_assert_int_eq(ops()->bitmap_merge(n, "off", n, "b", &e), 0);
	blk_node_close(n);
	sound(image);
	if (_i % 2) {
		expect("b", QCOW2_BITMAP_AUTO);
		expect("off", 0);
	}
}
END_TEST

/* --- what is kept as it is ----------------------------------------------------------------------
 */

static void patch(uint64_t off, const void *data, size_t len)
{
	int fd = open(image, O_RDWR);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, len, (off_t)off), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

static void patch32(uint64_t off, uint32_t value)
{
	struct be32 v = cpu_to_be32(value);

	patch(off, &v, sizeof(v));
}

static void write_once(void)
{
	struct blk_node *n = open_image(image);

	ck_assert_int_eq(blk_node_pwrite(n, 65536, "x", 1), 0);
	blk_node_close(n);
}

static uint32_t flags_of(const char *name)
{
	struct found f;

	load_file(image);
	ck_assert_msg(find(name, &f), "%s is not there", name);
	return f.flags;
}

START_TEST(inconsistent)
{
	struct blk_bitmap *list;
	struct blk_node *n;
	struct found f;
	size_t count;

	create(image, "", DISK);
	add("a", 0, true);
	add("b", 0, true);
	load_file(image);
	ck_assert(find("a", &f));
	patch32(f.entry + offsetof(struct qcow2_bitmap_entry, flags),
		QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
	write_once();
	ck_assert_uint_eq(flags_of("a"), QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
	ck_assert_uint_eq(flags_of("b"), QCOW2_BITMAP_AUTO);
	n = open_image(image);
	ck_assert_int_eq(ops()->bitmap_list(n, &list, &count, &e), 0);
	ck_assert_uint_eq(count, 2);
	ck_assert(list[0].in_use && list[0].enabled && !list[1].in_use);
	blk_bitmaps_free(list, count);
	ck_assert_int_eq(ops()->bitmap_clear(n, "a", &e), -EINVAL);
	ck_assert_int_eq(ops()->bitmap_enable(n, "a", false, &e), -EINVAL);
	ck_assert_int_eq(ops()->bitmap_merge(n, "b", n, "a", &e), -EINVAL);
	ck_assert_int_eq(ops()->bitmap_merge(n, "a", n, "b", &e), -EINVAL);
	ck_assert_int_eq(blk_node_truncate(n, 2 * DISK, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "'a' is inconsistent"));
	ck_assert_int_eq(ops()->bitmap_remove(n, "a", &e), 0);
	blk_node_close(n);
	sound(image);
}
END_TEST

/* Opening, and reading, is no use. */
START_TEST(unwritten)
{
	struct blk_node *n;
	uint8_t buf[512];
	uint8_t *was;
	uint64_t size;

	create(image, "", DISK);
	add("a", 0, true);
	load_file(image);
	was = file_data;
	size = file_size;
	file_data = NULL;
	n = open_image(image);
	ck_assert_int_eq(blk_node_pread(n, 0, buf, 512), 0);
	blk_node_close(n);
	load_file(image);
	ck_assert(size == file_size && !memcmp(was, file_data, size));
	free(was);
}
END_TEST

/* A program that ends without closing the image. */
START_TEST(killed)
{
	struct blk_node *n;
	pid_t pid;
	int status;

	create(image, "", DISK);
	add("a", 0, true);
	add("off", 0, false);
	pid = fork();
	if (!pid) {
		n = open_image(image);
		_exit(blk_node_pwrite(n, 0, "x", 1) ? 1 : 0);
	}
	ck_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
	ck_assert_uint_eq(flags_of("a"), QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
	ck_assert_uint_eq(flags_of("off"), 0);
	write_once();
	ck_assert_uint_eq(flags_of("a"), QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
}
END_TEST

/* The whole disk may be another, then. */
START_TEST(applied_snapshot)
{
	struct blk_node *n;

	memset(touched, 0, sizeof(touched));
	create(image, "", DISK);
	write_once();
	n = open_image(image);
	ck_assert_int_eq(ops()->snap_create(n, "s", &e), 0);
	blk_node_close(n);
	add("b", 65536, true);
	add("off", 65536, false);
	expect("b", QCOW2_BITMAP_AUTO);
	n = open_image(image);
	ck_assert_int_eq(ops()->snap_apply(n, "s", &e), 0);
	blk_node_close(n);
	sound(image);
	expect("off", 0);
	memset(touched, 1, sizeof(touched));
	expect("b", QCOW2_BITMAP_AUTO);
	/* Of another size: the bitmaps would have to have it, too. */
	n = open_image(image);
	ck_assert_int_eq(blk_node_truncate(n, DISK * 2, &e), 0);
	blk_node_close(n);
	n = open_image(image);
	ck_assert_int_eq(ops()->snap_apply(n, "s", &e), -EBUSY);
	ck_assert_msg(strstr(e.msg, "has bitmaps"), "%s", e.msg);
	ck_assert_uint_eq(n->size, DISK * 2);
	blk_node_close(n);
	sound(image);
}
END_TEST

/* Another program has written the image, and cleared the bit that it does not know. */
START_TEST(not_believed)
{
	struct blk_bitmap *list;
	struct blk_node *n;
	size_t count;

	create(image, "", DISK);
	add("a", 0, true);
	patch(offsetof(struct qcow2_header, autoclear_features), (uint8_t[8]){ 0 }, 8);
	n = open_image(image);
	ck_assert_int_eq(ops()->bitmap_list(n, &list, &count, &e), 0);
	ck_assert_uint_eq(count, 0);
	blk_node_close(n);
	write_once();
	load_file(image);
	ck_assert_uint_eq(find_ext(), 0);
	memset(touched, 0, sizeof(touched));
	add("b", 0, true);
	expect("b", QCOW2_BITMAP_AUTO);
}
END_TEST

/* What such bitmaps have is free again after the repair of an image that was not closed. */
START_TEST(not_believed_and_dirty)
{
	struct be64 dirty = cpu_to_be64(QCOW2_INCOMPAT_DIRTY);
	struct found f;
	struct blk_check c = { 0 };
	struct blk_node *n;

	create(image, "", DISK);
	add("a", 0, true);
	load_file(image);
	ck_assert(find("a", &f));
	patch(offsetof(struct qcow2_header, autoclear_features), (uint8_t[8]){ 0 }, 8);
	patch(offsetof(struct qcow2_header, incompatible_features), &dirty, sizeof(dirty));
	blk_node_close(open_image(image));
	ck_assert_int_eq(try_open(image, true, &n), 0);
	ck_assert_int_eq(ops()->check(n, 0, &c, &e), 0);
	ck_assert_uint_eq(c.leaks + c.corruptions + c.check_errors, 0);
	blk_node_close(n);
	sound(image);
}
END_TEST

/* Gives bitmap "a" (12 bytes of a name) 8 bytes of extra data. */
static void add_extra(uint32_t flags)
{
	struct found f;

	create(image, "", DISK);
	add("a___________", 0, true);
	load_file(image);
	ck_assert(find("a___________", &f));
	patch(f.entry + sizeof(struct qcow2_bitmap_entry), "EXTRA!!!a___", 12);
	patch32(f.entry + offsetof(struct qcow2_bitmap_entry, flags), flags);
	patch(f.entry + offsetof(struct qcow2_bitmap_entry, name_size), (uint8_t[2]){ 0, 4 }, 2);
	patch32(f.entry + offsetof(struct qcow2_bitmap_entry, extra_size), 8);
}

static void expect_extra(uint32_t flags)
{
	struct found f;

	load_file(image);
	ck_assert(find("a___", &f));
	ck_assert_uint_eq(f.flags, flags);
	ck_assert(f.extra_size == 8 && !memcmp(f.extra, "EXTRA!!!", 8));
}

START_TEST(extra_data)
{
	add_extra(QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_OK);
	write_once();
	expect_extra(QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_OK);
	add("b", 0, true);
	expect_extra(QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_OK);
	/* Without knowing what they mean it cannot be kept right. */
	add_extra(QCOW2_BITMAP_AUTO);
	write_once();
	expect_extra(QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
	add_extra(0);
	write_once();
	expect_extra(0);
}
END_TEST

/* --- power cuts ---------------------------------------------------------------------------------
 */

enum { EVENTS = 600 };
static struct event {
	bool flush, guest; /* guest: a request begins here */
	uint64_t off, len;
	uint8_t *data;
} events[EVENTS];
static unsigned n_events;

static void note(const struct blk_io *io)
{
	struct event *v = &events[n_events++];
	uint64_t at = 0;

	ck_assert_uint_lt(n_events, EVENTS);
	*v = (struct event){ .flush = io->op == BLK_FLUSH, .off = io->off, .len = io->len };
	if (v->flush)
		return;
	v->data = calloc(1, io->len);
	for (unsigned i = 0; io->op == BLK_WRITE && i < io->n_iov; i++) {
		memcpy(v->data + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static int recorder_open(struct blk_node *n, struct err *err)
{
	n->size = n->file->size;
	n->lim = n->file->lim;
	return 0;
}

static void recorder_submit(struct blk_node *n, struct blk_io *io)
{
	if (io->op != BLK_READ)
		note(io);
	blk_node_submit(n->file, io);
}

static int recorder_truncate(struct blk_node *n, uint64_t size, struct err *err)
{
	int rc = blk_node_truncate(n->file, size, err);

	n->size = n->file->size;
	return rc;
}

static const struct blk_driver recorder = {
	.name = "recorder",
	.size = 1,
	.open = recorder_open,
	.submit = recorder_submit,
	.truncate = recorder_truncate,
};

static struct blk_node *open_recorded(void)
{
	struct blk_open how = { .locking = true, .discard = true };
	struct blk_node *file, *n;
	struct opts none = { 0 };

	ck_assert_int_eq(blk_node_open_file(image, "raw", &how, &file, &e), 0);
	ck_assert_int_eq(blk_node_open(&recorder, &none, &how, file, &file, &e), 0);
	ck_assert_int_eq(blk_node_open(blk_driver_find("qcow2"), &none, &how, file, &n, &e), 0);
	return n;
}

/* What may be on the disk: all up to the last flush before the cut, and sectors of the rest. */
static uint8_t *cut_disk(const uint8_t *before, uint64_t before_size, unsigned cut, uint64_t room)
{
	uint8_t *disk = calloc(1, room);
	unsigned sure = 0;

	memcpy(disk, before, before_size);
	for (unsigned i = 0; i < cut; i++)
		if (events[i].flush)
			sure = i;
	for (unsigned i = 0; i < cut; i++) {
		const struct event *v = &events[i];

		for (uint64_t at = 0, end; !v->flush && !v->guest && at < v->len; at = end) {
			end = ((v->off + at) / 512 + 1) * 512 - v->off;
			end = end < v->len ? end : v->len;
			if (i < sure || rnd(2))
				memcpy(disk + v->off + at, v->data + at, end - at);
		}
	}
	return disk;
}

/* The directory has as many entries as it says. */
static void check_directory(void)
{
	struct qcow2_bitmap_entry b;
	struct qcow2_bitmap_ext x;
	uint64_t ext = find_ext(), at, end;

	if (!ext)
		return;
	memcpy(&x, file_data + ext, sizeof(x));
	at = be64_to_cpu(x.dir_offset);
	end = at + be64_to_cpu(x.dir_size);
	for (uint32_t i = 0; i < be32_to_cpu(x.n); i++) {
		ck_assert_uint_le(at + sizeof(b), end);
		memcpy(&b, file_data + at, sizeof(b));
		ck_assert_uint_eq(b.type, QCOW2_BITMAP_DIRTY);
		at += (sizeof(b) + be32_to_cpu(b.extra_size) + be16_to_cpu(b.name_size) + 7) &
		      ~7ull;
	}
	ck_assert_uint_eq(at, end);
}

/* Bits of a bitmap that is not in use are right, as soon as data may have been written. */
static void check_cut(unsigned cut)
{
	bool asked = false, marked = false, begun = false;
	struct found f;

	check_directory();
	if (!find("b", &f) || f.flags & QCOW2_BITMAP_IN_USE)
		return;
	for (unsigned i = 0; i < cut; i++) {
		begun |= marked && !events[i].flush;
		marked |= asked && events[i].flush;
		asked |= events[i].guest;
	}
	for (uint64_t i = 0; begun && i << f.granularity_bits < DISK; i++)
		ck_assert_msg(!wants(f.granularity_bits, i) || bit_of(&f, i),
			      "cut at %u of %u: bit %" PRIu64 " is missing", cut, n_events, i);
}

/* An unknown extension before that of bitmaps, so that its data cross the border of a sector. */
static void cross_sectors(void)
{
	const struct qcow2_ext unknown = { cpu_to_be32(0x12345678), cpu_to_be32(376) };

	patch(sizeof(struct qcow2_header), &unknown, sizeof(unknown));
}

START_TEST(power_cut)
{
	uint64_t before_size, room;
	struct blk_node *n;
	uint8_t *before;

	seed = 5 + (unsigned)_i;
	memset(touched, 0, sizeof(touched));
	create(image, geometries[_i], DISK);
	if (_i == 3 || _i == 5)
		cross_sectors();
	add("b", 512, true);
	if (_i % 2) {
		n = open_image(image);
		random_change(n);
		blk_node_close(n);
	}
	load_file(image);
	before = file_data;
	before_size = file_size;
	file_data = NULL;
	n = open_recorded();
	for (unsigned i = 0; i < 3; i++) {
		events[n_events++] = (struct event){ .guest = true };
		random_change(n);
	}
	if (_i % 2)
		add_to(n, "more", 512, true);
	blk_node_close(n);
	expect("b", QCOW2_BITMAP_AUTO);
	room = file_size + (64 << 20);
	for (unsigned cut = 0; cut <= n_events; cut++) {
		for (unsigned i = 0; i < 12; i++) {
			free(file_data);
			file_data = cut_disk(before, before_size, cut, room);
			check_cut(cut);
		}
		/* At the end, what refers to what is written. */
		if (cut % 8 && cut + 24 < n_events)
			continue;
		store_file(other, file_data, file_size);
		tool("qemu-img check -q %s >/dev/null 2>&1; s=$?; test $s = 0 -o $s = 3", other);
		blk_node_close(open_image(other));
	}
	for (unsigned i = 0; i < n_events; i++)
		free(events[i].data);
	free(before);
}
END_TEST

/* --- what must be refused
 * ------------------------------------------------------------------------- */

enum where { EXT, ENTRY };
static const struct bad {
	enum where where;
	size_t off, size;
	uint64_t value;
	const char *says;
} bad[] = {
#define X(field) EXT, offsetof(struct qcow2_bitmap_ext, field)
#define B(field) ENTRY, offsetof(struct qcow2_bitmap_entry, field)
	{ X(n), 4, 0, "nb_bitmaps is 0" },
	{ X(n), 4, 1, "bitmap_directory_size is 64" },
	{ X(n), 4, 3, "bitmap_directory_size is 64" },
	{ X(n), 4, 65536, "nb_bitmaps is 65536" },
	{ X(n), 4, UINT32_MAX, "nb_bitmaps is 4294967295" },
	{ X(reserved), 4, 1, "reserved is 1" },
	{ X(dir_size), 8, 0, "bitmap_directory_size is 0" },
	{ X(dir_size), 8, 63, "bitmap 1: extra_data_size is 0" },
	{ X(dir_size), 8, 72, "bitmap_directory_size is 72" },
	{ X(dir_size), 8, 65535 * 1024 + 1, "bitmap_directory_size is 67107841" },
	{ X(dir_size), 8, UINT64_MAX, "bitmap_directory_size" },
	{ X(dir_offset), 8, 0, "bitmap_directory_offset is 0" },
	{ X(dir_offset), 8, 65537, "bitmap_directory_offset is 65537" },
	{ X(dir_offset), 8, 0x10000, "other metadata lie there" },
	{ X(dir_offset), 8, 1ull << 50, "reaches behind the end" },
	{ X(dir_offset), 8, 0xffffffffffff0000ull, "reaches behind the end" },
	{ B(table_offset), 8, 0, "bitmap 0: bitmap_table_offset is 0" },
	{ B(table_offset), 8, 4711, "bitmap 0: bitmap_table_offset is 4711" },
	{ B(table_offset), 8, 0x10000, "other metadata lie there" },
	{ B(table_offset), 8, 1ull << 45, "reaches behind the end" },
	{ B(table_size), 4, 0, "bitmap_table_size is 0" },
	{ B(table_size), 4, 2, "bitmap_table_size is 2" },
	{ B(table_size), 4, UINT32_MAX, "bitmap_table_size is 4294967295" },
	{ B(flags), 4, 8, "flags is 8" },
	{ B(flags), 4, 0x80000002, "flags is 2147483650" },
	{ B(type), 1, 0, "type is 0" },
	{ B(type), 1, 2, "type is 2" },
	{ B(granularity_bits), 1, 8, "granularity_bits is 8" },
	{ B(granularity_bits), 1, 32, "granularity_bits is 32" },
	{ B(granularity_bits), 1, 255, "granularity_bits is 255" },
	{ B(granularity_bits), 1, 9, NULL }, /* one entry still is enough */
	{ B(name_size), 2, 0, "name_size is 0" },
	{ B(name_size), 2, 1024, "name_size is 1024" },
	{ B(name_size), 2, 65535, "name_size is 65535" },
	{ B(name_size), 2, 2, "the name has a NUL" },
	{ B(extra_size), 4, UINT32_MAX, "extra_data_size is 4294967295" },
	{ B(extra_size), 4, 41, "extra_data_size is 41" },
#undef X
#undef B
};

START_TEST(bad_fields)
{
	const struct bad *b = &bad[_i];
	struct be64 value = cpu_to_be64(b->value << (64 - 8 * b->size));
	struct blk_bitmap *list = NULL;
	struct blk_node *n;
	struct found f;
	json_t *info;
	size_t count;
	int rc;

	create(image, "", DISK);
	add("a", 0, true);
	add("b", 0, true);
	load_file(image);
	ck_assert(find("a", &f));
	patch((b->where == EXT ? f.ext : f.entry) + b->off, &value, b->size);
	rc = try_open(image, false, &n);
	ck_assert_msg(!rc == !b->says, "case %d: %s", _i, rc ? e.msg : "opened");
	if (!rc) {
		blk_node_close(n);
		return;
	}
	ck_assert_int_eq(rc, -EINVAL);
	ck_assert_msg(strstr(e.msg, b->says), "%s", e.msg);
	/* Its data can be read. */
	ck_assert_int_eq(try_open(image, true, &n), 0);
	ck_assert_int_eq(ops()->bitmap_list(n, &list, &count, &e), -EINVAL);
	info = ops()->info(n);
	ck_assert_ptr_nonnull(info);
	json_decref(info);
	blk_node_close(n);
}
END_TEST

/* A table that refers to what it may not is not written through. */
START_TEST(bad_tables)
{
	static const uint64_t values[] = {
		0x10000, 0x30000, 512, 1ull << 50, 2, 1ull << 60, 0x50001
	};
	struct be64 v = cpu_to_be64(values[_i]);
	struct found f;

	create(image, "", DISK);
	add("a", 0, true);
	load_file(image);
	ck_assert(find("a", &f));
	patch((uint64_t)((uint8_t *)f.table - file_data), &v, sizeof(v));
	write_once();
	ck_assert_uint_eq(flags_of("a"), QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
}
END_TEST

/* All ones without a cluster. */
START_TEST(all_ones)
{
	struct be64 v = cpu_to_be64(1);
	struct found f;
	struct blk_node *n;

	create(image, "", DISK);
	add("a", 0, true);
	add("b", 512, true);
	load_file(image);
	ck_assert(find("a", &f));
	patch((uint64_t)((uint8_t *)f.table - file_data), &v, sizeof(v));
	write_once();
	n = open_image(image);
	ck_assert_int_eq(ops()->bitmap_merge(n, "b", n, "a", &e), 0);
	blk_node_close(n);
	memset(touched, 1, sizeof(touched));
	expect("a", QCOW2_BITMAP_AUTO);
	expect("b", QCOW2_BITMAP_AUTO);
	sound(image);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("qcow2_bitmap");
	TCase *t = tcase_create("bitmaps");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, random_writes, 0, GEOMETRIES);
	tcase_add_test(t, discards);
	tcase_add_test(t, applied_snapshot);
	tcase_add_test(t, refused_bitmaps);
	tcase_add_loop_test(t, add_clear_remove, 0, GEOMETRIES);
	tcase_add_test(t, merging);
	tcase_add_loop_test(t, resizing, 0, GEOMETRIES);
	tcase_add_test(t, inconsistent);
	tcase_add_test(t, unwritten);
	tcase_add_test(t, killed);
	tcase_add_test(t, not_believed);
	tcase_add_test(t, not_believed_and_dirty);
	tcase_add_test(t, extra_data);
	tcase_add_loop_test(t, power_cut, 0, GEOMETRIES);
	tcase_add_loop_test(t, bad_fields, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_loop_test(t, bad_tables, 0, 7);
	tcase_add_test(t, all_ones);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
