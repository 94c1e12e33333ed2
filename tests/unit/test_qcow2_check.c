/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of checking and repairing qcow2 images: images with random bits of their
 * metadata changed are sound after one repair, and a power cut at any point of a repair leaves
 * no more damage than there was, and all that could be read.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"
#include "block_int.h"
#include "err.h"
#include "iov.h"
#include "opts.h"
#include "props.h"
#include "wire/qcow2.h"

enum { DISK = 1 << 20, PIECE = 4096, EVENTS = 20000, FLIPS = 150 };

static struct err e;
static char dir[64], image[128];
static bool have_tool;
static unsigned seed;

static uint8_t *whole; /* the image's file, before it is damaged */
static size_t whole_len;
static uint8_t *model; /* the disk */

static unsigned rnd(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test_qcow2_check.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	have_tool = !system("command -v qemu-img >/dev/null");
	model = calloc(1, DISK);
	seed = 1;
}

static void teardown(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
	free(model);
	free(whole);
}

/* --- images --- */

static void write_file(const uint8_t *data, size_t len)
{
	FILE *f = fopen(image, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void read_file(void)
{
	FILE *f = fopen(image, "r");
	struct stat st;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fstat(fileno(f), &st), 0);
	free(whole);
	whole_len = (size_t)st.st_size;
	whole = malloc(whole_len);
	ck_assert_uint_eq(fread(whole, 1, whole_len, f), whole_len);
	fclose(f);
}

static struct blk_node *open_how(bool readonly, bool repair)
{
	struct blk_open how = { .readonly = readonly, .repair = repair, .no_flush = true };
	struct blk_node *n;

	return blk_node_open_file(image, "qcow2", &how, &n, &e) ? NULL : n;
}

static void create(const char *options)
{
	const struct blk_image_ops *ops = blk_driver_find("qcow2")->image;
	struct blk_create c = { .size = DISK };
	void *o = calloc(1, ops->create_size);
	struct opts opts;
	int rc;

	ck_assert_int_eq(opts_parse(&opts, options, NULL, &e), 0);
	props_defaults(ops->create_props, o);
	ck_assert_msg(!props_apply(ops->create_props, o, &opts, &e), "%s", e.msg);
	c.opts = o;
	rc = ops->create(image, &c, &e);
	ck_assert_msg(!rc, "%s", e.msg);
	props_free(ops->create_props, o);
	opts_free(&opts);
	free(o);
}

/* An image with data in a third of its disk; whole and model are what it holds. */
static void make_image(const char *options)
{
	struct blk_node *n;

	create(options);
	n = open_how(false, false);
	ck_assert_msg(n, "%s", e.msg);
	for (unsigned at = 0; at < DISK; at += PIECE) {
		if (rnd(3))
			continue;
		for (unsigned i = 0; i < PIECE; i++)
			model[at + i] = (uint8_t)rnd(256);
		ck_assert_int_eq(blk_node_pwrite(n, at, model + at, PIECE), 0);
	}
	blk_node_close(n);
	read_file();
}

static unsigned told, serious;

static void on_line(void *ctx, const char *line)
{
	told++;
	/* A flag that is not set costs a copy, no more. */
	serious += !strstr(line, "OFLAG_COPIED") || !strstr(line, "refcount=1");
	if (getenv("QCOW2_VERBOSE"))
		puts(line);
}

/* One check, or repair, of a node. */
static struct blk_check check_node(struct blk_node *n, unsigned fix)
{
	struct blk_check r = { .say = on_line };
	int rc;

	serious = 0;
	rc = n->drv->image->check(n, fix, &r, &e);

	ck_assert_msg(!rc, "%s", e.msg);
	ck_assert(told || !(r.corruptions + r.leaks + r.corruptions_fixed + r.leaks_fixed));
	told = 0;
	return r;
}

static struct blk_check check_image(unsigned fix)
{
	struct blk_node *n = open_how(!fix, true);
	struct blk_check r;

	ck_assert_msg(n, "%s", e.msg);
	r = check_node(n, fix);
	blk_node_close(n);
	return r;
}

static bool tool_finds_nothing(void)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd), "qemu-img check -q %s 2>&1", image);
	return !have_tool || !system(cmd);
}

static const char *const geometries[] = {
	"cluster_size=64K",
	"cluster_size=4K",
	"cluster_size=512",
	"cluster_size=4K,compat=0.10",
	"cluster_size=16K,extended_l2=on",
	"cluster_size=4K,refcount_bits=1",
	"cluster_size=4K,refcount_bits=64",
	"cluster_size=4K,lazy_refcounts=on",
};
enum { GEOMETRIES = sizeof(geometries) / sizeof(geometries[0]) };

/* --- bits of metadata changed at random --- */

static uint64_t be64_at(const uint8_t *buf, uint64_t at)
{
	struct be64 v;

	memcpy(&v, buf + at, sizeof(v));
	return be64_to_cpu(v);
}

/* Where a table of the image lies; random among them. */
static uint64_t some_table(const struct qcow2_header *h, size_t *len)
{
	uint64_t l1 = be64_to_cpu(h->l1_table_offset);
	uint64_t refs = be64_to_cpu(h->refcount_table_offset), n = be32_to_cpu(h->l1_size);

	*len = 1u << be32_to_cpu(h->cluster_bits);
	switch (rnd(8)) {
	case 0:
		*len = n * 8;
		return l1;
	case 1:
		*len = 16;
		return refs;
	case 2:
		return be64_at(whole, refs) & QCOW2_OFFSET_MASK;
	case 3: /* of the header what is not the geometry */
		*len = 20;
		return offsetof(struct qcow2_header, refcount_table_offset);
	default: /* of L2 tables what the disk has */
		if ((size_t)DISK >> be32_to_cpu(h->cluster_bits) < *len / 16)
			*len = ((size_t)DISK >> be32_to_cpu(h->cluster_bits)) * 8;
		return be64_at(whole, l1 + 8 * rnd((unsigned)n)) & QCOW2_OFFSET_MASK;
	}
}

static void damage(uint8_t *copy)
{
	struct qcow2_header h;

	memcpy(&h, whole, sizeof(h));
	memcpy(copy, whole, whole_len);
	for (unsigned n = 1 + rnd(6); n; n--) {
		size_t len;
		uint64_t at = some_table(&h, &len);
		/* Entries at the beginning are more likely to be in use. */
		uint64_t in = rnd(2) && len > 64 ? rnd(64) : rnd((unsigned)len);

		if (!at || at + in >= whole_len)
			continue;
		if (rnd(2))
			copy[at + in] ^= (uint8_t)(1u << rnd(8));
		else
			copy[at + in] = (uint8_t)rnd(256);
	}
	write_file(copy, whole_len);
}

static void read_all(void)
{
	struct blk_node *n = open_how(true, false);
	uint8_t *buf = malloc(DISK);

	ck_assert_msg(n, "%s", e.msg);
	ck_assert_int_eq(blk_node_pread(n, 0, buf, DISK), 0);
	blk_node_close(n);
	free(buf);
}

/* It can be written to; what is written is there, and nothing else has been touched. */
static void write_all(void)
{
	struct blk_node *n = open_how(false, false);
	uint8_t *buf = malloc(DISK);

	ck_assert_msg(n, "%s", e.msg);
	ck_assert_int_eq(blk_node_pwrite(n, 0, model, DISK), 0);
	blk_node_close(n);
	n = open_how(true, false);
	ck_assert_int_eq(blk_node_pread(n, 0, buf, DISK), 0);
	ck_assert_mem_eq(buf, model, DISK);
	blk_node_close(n);
	free(buf);
}

/* With few bits for refcounts some clusters have more references than can be told. */
static bool may_stay(unsigned which, const struct blk_check *r)
{
	return r->corruptions && strstr(geometries[which], "refcount_bits=1");
}

START_TEST(random_damage)
{
	struct blk_check r;
	uint8_t *copy;
	unsigned found = 0, opened = 0;

	make_image(geometries[_i]);
	copy = malloc(whole_len);
	for (unsigned i = 0; i < FLIPS; i++) {
		struct blk_node *n;

		seed = (unsigned)_i * 1000 + i;
		damage(copy);
		n = open_how(true, true);
		if (!n)
			continue;
		opened++;
		r = check_node(n, 0);
		blk_node_close(n);
		found += r.corruptions || r.leaks;
		ck_assert_uint_eq(r.check_errors, 0);
		if (i % 3 == 0)
			check_image(BLK_FIX_LEAKS);
		check_image(BLK_FIX_LEAKS | BLK_FIX_ERRORS);
		r = check_image(0);
		if (may_stay((unsigned)_i, &r))
			continue;
		ck_assert_msg(!r.corruptions && !r.leaks && !r.check_errors,
			      "damage %u: %u corruptions, %u leaks stay", i,
			      (unsigned)r.corruptions, (unsigned)r.leaks);
		if (i % 8 == 0)
			ck_assert_msg(tool_finds_nothing(), "damage %u", i);
		if (r.compressed_clusters)
			continue; /* of random bits */
		read_all();
		write_all();
		/* What else referred to a cluster may be its only user now. */
		check_image(0);
		ck_assert_msg(!serious, "damage %u: not sound after writing", i);
	}
	ck_assert_uint_gt(opened, FLIPS / 2);
	ck_assert_uint_gt(found, FLIPS / 4);
	free(copy);
}
END_TEST

/* --- a power cut while it is repaired --- */

static struct event {
	enum blk_op op;
	uint64_t off, len;
	uint8_t *data;
} * events;
static unsigned n_events;

static int recorder_open(struct blk_node *n, struct err *err)
{
	return 0;
}

static void recorder_submit(struct blk_node *n, struct blk_io *io)
{
	if (io->op != BLK_READ) {
		struct event *v = &events[n_events++];

		ck_assert_uint_lt(n_events, EVENTS);
		*v = (struct event){ .op = io->op, .off = io->off, .len = io->len };
		if (io->op == BLK_WRITE) {
			v->data = malloc(io->len);
			iov_to_buf(io->iov, io->n_iov, 0, v->data, io->len);
		}
	}
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
	.filter = true,
	.open = recorder_open,
	.submit = recorder_submit,
	.truncate = recorder_truncate,
};

static void record_repair(void)
{
	struct blk_open how = { .repair = true, .no_flush = true };
	struct opts none = { 0 };
	struct blk_node *n;

	n_events = 0;
	ck_assert_int_eq(blk_node_open_file(image, "raw", &how, &n, &e), 0);
	ck_assert_int_eq(blk_node_open(&recorder, &none, &how, n, &n, &e), 0);
	ck_assert_msg(!blk_node_open(blk_driver_find("qcow2"), &none, &how, n, &n, &e), "%s",
		      e.msg);
	check_node(n, BLK_FIX_LEAKS | BLK_FIX_ERRORS);
	blk_node_close(n);
}

/* The file as a power cut before event `cut` may leave it. */
static size_t replay(const uint8_t *before, size_t len, unsigned cut, uint8_t *out)
{
	unsigned flushed = 0;

	memset(out, 0, 2 * whole_len + (16 << 20));
	memcpy(out, before, len);
	for (unsigned i = 0; i < cut; i++)
		if (events[i].op == BLK_FLUSH)
			flushed = i;
	for (unsigned i = 0; i < cut; i++) {
		const struct event *v = &events[i];

		for (uint64_t at = 0; v->op == BLK_WRITE && at < v->len; at += 512) {
			uint64_t part = v->len - at < 512 ? v->len - at : 512;

			/* Each sector is there or not, when no flush came behind it. */
			if (i < flushed || rnd(2)) {
				memcpy(out + v->off + at, v->data + at, part);
				len = v->off + at + part > len ? v->off + at + part : len;
			}
		}
	}
	return len;
}

/* What can be read of the image as it is: a byte for each piece, and the data in buf. */
static void readable(uint8_t *ok, uint8_t *buf)
{
	struct blk_node *n = open_how(true, true);

	ck_assert_msg(n, "%s", e.msg);
	for (unsigned i = 0; i < DISK / PIECE; i++)
		ok[i] = !blk_node_pread(n, i * PIECE, buf + i * PIECE, PIECE);
	blk_node_close(n);
}

START_TEST(power_cut_in_repair)
{
	uint8_t ok[DISK / PIECE], ok_now[DISK / PIECE], *buf = malloc(DISK), *now = malloc(DISK);
	uint8_t *copy, *out;

	make_image(geometries[_i]);
	copy = malloc(whole_len);
	out = malloc(2 * whole_len + (16 << 20));
	events = calloc(EVENTS, sizeof(*events));
	for (unsigned i = 0; i < 24; i++) {
		struct blk_check was, is;
		struct blk_node *n;

		seed = (unsigned)_i * 77 + i;
		damage(copy);
		n = open_how(true, true);
		if (!n)
			continue;
		was = check_node(n, 0);
		blk_node_close(n);
		if (was.compressed_clusters)
			continue;
		readable(ok, buf);
		record_repair();
		for (unsigned cut = 0; cut <= n_events; cut += 1 + n_events / 12) {
			write_file(out, replay(copy, whole_len, cut, out));
			is = check_image(0);
			/* A leak that is gone may leave a flag that is not set yet. */
			ck_assert_msg(is.corruptions + is.leaks <= was.corruptions + was.leaks + 2,
				      "damage %u, cut at %u of %u: %u and %u instead of %u and %u",
				      i, cut, n_events, (unsigned)is.corruptions,
				      (unsigned)is.leaks, (unsigned)was.corruptions,
				      (unsigned)was.leaks);
			readable(ok_now, now);
			for (unsigned k = 0; k < DISK / PIECE; k++)
				ck_assert_msg(!ok[k] || (ok_now[k] &&
							 !memcmp(buf + k * PIECE, now + k * PIECE,
								 PIECE)),
					      "damage %u, cut at %u: lost %u", i, cut, k);
		}
		while (n_events)
			free(events[--n_events].data);
	}
	free(events);
	free(buf);
	free(now);
	free(copy);
	free(out);
}
END_TEST

/* --- single things --- */

static void poke64(uint64_t at, uint64_t v)
{
	struct be64 x = cpu_to_be64(v);

	memcpy(whole + at, &x, sizeof(x));
	write_file(whole, whole_len);
}

/* A table that is something else, too, is not written to: it gets a place of its own. */
START_TEST(shared_table_is_copied)
{
	uint64_t l1, l2, data;
	struct blk_check r;

	make_image("cluster_size=64K");
	l1 = be64_at(whole, offsetof(struct qcow2_header, l1_table_offset));
	l2 = be64_at(whole, l1) & QCOW2_OFFSET_MASK;
	data = be64_at(whole, l2 + 8) & QCOW2_OFFSET_MASK;
	/* Its second cluster's data are taken for the table of the disk. */
	memset(whole + data, 0, 65536);
	poke64(data + 16, 0x1234567890abcdefull);
	poke64(l1, data | QCOW2_COPIED);
	poke64(data + 8, data | QCOW2_COPIED);
	r = check_image(BLK_FIX_LEAKS | BLK_FIX_ERRORS);
	ck_assert_uint_eq(r.corruptions, 0);
	r = check_image(0);
	ck_assert_uint_eq(r.corruptions + r.leaks, 0);
	ck_assert(tool_finds_nothing());
	/* What the guest reads there is as before. */
	read_file();
	ck_assert_uint_eq(be64_at(whole, data + 16), 0x1234567890abcdefull);
}
END_TEST

/* L1 entries that all name one table, whose entries all name one cluster. */
START_TEST(many_references_take_little_time)
{
	uint64_t l1, l2, n;
	struct blk_check r;

	make_image("cluster_size=512");
	l1 = be64_at(whole, offsetof(struct qcow2_header, l1_table_offset));
	l2 = be64_at(whole, l1) & QCOW2_OFFSET_MASK;
	n = DISK / 512 / 64;
	for (unsigned i = 0; i < 64; i++)
		poke64(l2 + 8 * i, l2 + 512);
	for (unsigned i = 0; i < n; i++)
		poke64(l1 + 8 * i, l2);
	r = check_image(0);
	ck_assert_uint_gt(r.corruptions, 0);
	/* Read once. */
	ck_assert_uint_eq(r.allocated_clusters, 64);
	check_image(BLK_FIX_LEAKS | BLK_FIX_ERRORS);
	r = check_image(0);
	ck_assert_uint_eq(r.corruptions + r.leaks, 0);
}
END_TEST

/* The header's refcount table is nowhere: only a repair opens the image. */
START_TEST(lost_refcount_table)
{
	struct blk_node *n;
	struct blk_check r;

	make_image("cluster_size=4K");
	poke64(offsetof(struct qcow2_header, refcount_table_offset), 0x7000000000ull);
	ck_assert_ptr_null(open_how(true, false));
	ck_assert(strstr(e.msg, "refcount_table_offset"));
	n = open_how(true, true);
	ck_assert_ptr_nonnull(n);
	blk_node_close(n);
	r = check_image(BLK_FIX_LEAKS | BLK_FIX_ERRORS);
	ck_assert_uint_gt(r.corruptions_fixed, 0);
	r = check_image(0);
	ck_assert_uint_eq(r.corruptions + r.leaks, 0);
	ck_assert(tool_finds_nothing());
	read_all();
	write_all();
}
END_TEST

/* It is read and checked, and not written, until it has been repaired. */
START_TEST(marked_corrupt)
{
	struct blk_node *n;

	make_image("cluster_size=4K");
	poke64(offsetof(struct qcow2_header, incompatible_features), QCOW2_INCOMPAT_CORRUPT);
	ck_assert_ptr_null(open_how(false, false));
	ck_assert(strstr(e.hint, "check -r all"));
	read_all();
	check_image(BLK_FIX_LEAKS);
	n = open_how(false, false);
	ck_assert_msg(n, "%s", e.msg);
	blk_node_close(n);
}
END_TEST

/* A write to what is also a table, or a block of refcounts, is refused, and the image is marked. */
START_TEST(writes_over_tables)
{
	static const uint8_t data[PIECE];

	for (unsigned i = 0; i < 4; i++) {
		uint64_t l1, l2, refs, over;
		struct blk_node *n;

		make_image("cluster_size=4K");
		l1 = be64_at(whole, offsetof(struct qcow2_header, l1_table_offset));
		refs = be64_at(whole, offsetof(struct qcow2_header, refcount_table_offset));
		l2 = be64_at(whole, l1) & QCOW2_OFFSET_MASK;
		over = i & 1 ? be64_at(whole, refs) : l2;
		ck_assert_uint_ne(over, 0);
		if (i & 2) /* an entry, which says that it may be written to */
			poke64(l2, over | QCOW2_COPIED);
		else /* what can be had next */
			memset(whole + be64_at(whole, refs) + 2 * (over >> 12), 0, 2);
		write_file(whole, whole_len);
		n = open_how(false, false);
		ck_assert_msg(n, "%s", e.msg);
		for (unsigned at = 0; at < DISK; at += PIECE)
			if (i & 2 ? !at : !be64_at(whole, l2 + at / PIECE * 8)) {
				ck_assert_int_eq(blk_node_pwrite(n, at, data, PIECE), -EIO);
				break;
			}
		blk_node_close(n);
		ck_assert_ptr_null(open_how(false, false));
		check_image(BLK_FIX_LEAKS | BLK_FIX_ERRORS);
		n = open_how(false, false);
		ck_assert_msg(n, "%s", e.msg);
		blk_node_close(n);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qcow2_check");
	TCase *tc = tcase_create("qcow2_check");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, random_damage, 0, GEOMETRIES);
	tcase_add_loop_test(tc, power_cut_in_repair, 0, GEOMETRIES);
	tcase_add_test(tc, shared_table_is_copied);
	tcase_add_test(tc, many_references_take_little_time);
	tcase_add_test(tc, lost_refcount_table);
	tcase_add_test(tc, marked_corrupt);
	tcase_add_test(tc, writes_over_tables);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
