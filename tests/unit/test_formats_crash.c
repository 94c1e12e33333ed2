/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vdi, vpc and vmdk when the power goes, as test_qcow2_crash.c does it for qcow2: random
 * requests run on an image in memory, and for each moment the file is made anew as a
 * cut may have left it (qcow2_cuts.h). Each such file must open for writing, and each sector of the
 * disk must be readable and show what was flushed, or something written there later.
 *
 * Blocks are made small, so that many get a place, several at the same time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"
#include "block_int.h"
#include "crash_disk.h"
#include "err.h"
#include "opts.h"
#include "props.h"
#include "qcow2_cuts.h"
#include "ram_disk.h"
#include "wire/vdi.h"
#include "wire/vhd.h"
#include "wire/vmdk.h"

enum { SLOTS = 6, BLOCK = 4096, WINDOW = 128, WINDOWS = 4, LENGTH_MOST = 40, REQUESTS = 220 };
enum { SECTORS = WINDOW * WINDOWS, ROOM = 4 << 20 };

struct workload {
	const char *format;
	uint64_t create; /* bytes, before blocks are made small */
	uint64_t stride; /* of the disk, from one window that is used to the next */
	void (*shrink)(struct ram_file *f);
};

static struct err e;
static char dir[64], image[96];
static struct ram_file file;
static const struct workload *work;
static unsigned seed;

static unsigned rnd(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (unsigned)(((uint64_t)(seed >> 4) * below) >> 28);
}

/* --- images of small blocks --- */

static void small_vdi(struct ram_file *f)
{
	struct vdi_header *h = (void *)f->data;

	h->block_size = cpu_to_le32(BLOCK);
	h->disk_size = cpu_to_le64((uint64_t)le32_to_cpu(h->blocks_in_image) * BLOCK);
}

static uint32_t sum_of(const void *p, size_t n)
{
	const uint8_t *bytes = p;
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += bytes[i];
	return ~sum;
}

static void small_vpc(struct ram_file *f)
{
	struct vhd_footer *foot = (void *)f->data;
	struct vhd_dynamic *d = (void *)(f->data + 512);

	d->block_size = cpu_to_be32(BLOCK);
	d->checksum = cpu_to_be32(0);
	d->checksum = cpu_to_be32(sum_of(d, sizeof(*d)));
	memcpy(foot->creator_app, "test", 4);
	foot->current_size = cpu_to_be64((uint64_t)be32_to_cpu(d->max_table_entries) * BLOCK);
	foot->checksum = cpu_to_be32(0);
	foot->checksum = cpu_to_be32(sum_of(foot, sizeof(*foot)));
	memcpy(f->data + f->size - 512, foot, 512);
}

/* Grains are smaller; only the first of the tables is there. */
static void small_vmdk(struct ram_file *f)
{
	struct vmdk_sparse *h = (void *)f->data;
	uint64_t gd = le64_to_cpu(h->gd_offset) * 512, rgd = le64_to_cpu(h->rgd_offset) * 512;

	h->grain_size = cpu_to_le64(BLOCK / 512);
	h->capacity = cpu_to_le64(le64_to_cpu(h->capacity) / 16);
	for (unsigned i = 1; i < WINDOWS; i++) {
		memset(f->data + gd + i * 4, 0, 4);
		memset(f->data + rgd + i * 4, 0, 4);
	}
}

/* The descriptor names the disk's size, too. */
static void small_vmdk_text(struct ram_file *f)
{
	char *at = memmem(f->data, f->size, "RW 262144 ", 10);

	ck_assert_ptr_nonnull(at);
	memcpy(at, "RW 16384  ", 10);
	small_vmdk(f);
}

static const struct workload workloads[] = {
	{ "vdi", (WINDOWS * WINDOW / 8) << 20, WINDOW *SECTOR, small_vdi },
	{ "vpc", (WINDOWS * WINDOW / 8) << 21, WINDOW *SECTOR, small_vpc },
	{ "vmdk", 128 << 20, 2 << 20, small_vmdk_text },
};
enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]) };

static void create(void)
{
	const struct blk_driver *drv = blk_driver_find(work->format);
	struct blk_create c = { .size = work->create };
	void *o = calloc(1, drv->image->create_size);

	ck_assert_ptr_nonnull(o);
	props_defaults(drv->image->create_props, o);
	c.opts = o;
	ck_assert_msg(!drv->image->create(image, &c, &e), "%s", e.msg);
	props_free(drv->image->create_props, o);
	free(o);
	ram_load(&file, image);
	work->shrink(&file);
}

static struct blk_node *open_image(struct ram_file *f, bool record)
{
	struct blk_open how = { .discard = true };
	struct blk_node *n = ram_node(f, false);
	struct opts none = { 0 };
	int rc;

	n = record ? cuts_above(n) : n;
	rc = blk_node_open(blk_driver_find(work->format), &none, &how, n, &n, &e);
	ck_assert_msg(!rc, "%s: %s", work->format, e.msg);
	return n;
}

/* --- requests --- */

static struct blk_node *node;
static unsigned left, busy;

static struct slot {
	struct blk_io io; /* first */
	struct iovec iov;
	uint64_t first, n; /* sectors that are used, counted together */
	unsigned act;
	bool busy;
} slots[SLOTS];

static uint64_t place_of(uint64_t sector)
{
	return sector / WINDOW * work->stride + sector % WINDOW * SECTOR;
}

static void on_done(struct blk_io *io, int ret)
{
	struct slot *s = (struct slot *)io;

	ck_assert_msg(!ret, "%s: op %d: %s", work->format, io->op, strerror(-ret));
	for (uint64_t i = 0; io->op == BLK_READ && i < s->n; i++)
		if (!may_be((uint8_t *)s->iov.iov_base + i * SECTOR, s->first + i, cuts_now, s->act,
			    0))
			ck_abort_msg("%s: a read of sector %" PRIu64, work->format, s->first + i);
	if (io->op == BLK_FLUSH)
		flushes[s->act].done = ++cuts_now;
	else if (io->op != BLK_READ)
		acts[s->act].done = ++cuts_now;
	s->busy = false;
	busy--;
}

static bool taken(const struct slot *own)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *s = &slots[i];

		if (s->busy && s->io.op != BLK_FLUSH && s->io.op != BLK_READ &&
		    own->first < s->first + s->n && s->first < own->first + own->n)
			return true;
	}
	return false;
}

static bool place(struct slot *s)
{
	for (unsigned i = 0; i < 20; i++) {
		s->first = rnd(SECTORS);
		s->n = 1 + rnd(rnd(3) ? 6 : LENGTH_MOST);
		if (s->n > WINDOW - s->first % WINDOW)
			s->n = WINDOW - s->first % WINDOW;
		if (s->io.op == BLK_READ || !taken(s))
			return true;
	}
	return false;
}

static void submit(struct slot *s)
{
	uint32_t value = s->io.op == BLK_WRITE ? FIRST_WRITE + n_acts : ZERO;

	if (s->io.op == BLK_FLUSH)
		s->act = add_flush();
	else if (s->io.op == BLK_READ)
		s->act = ++cuts_now;
	else
		s->act = add_act(s->first, s->first + s->n, value, NULL);
	if (s->io.op == BLK_DISCARD)
		acts[s->act].hint = true;
	if (s->io.op == BLK_WRITE || s->io.op == BLK_WRITE_ZEROES)
		acts[s->act].durable = s->io.flags & BLK_FUA;
	for (uint64_t i = 0; s->io.op == BLK_WRITE && i < s->n; i++)
		fill_sector((uint8_t *)s->iov.iov_base + i * SECTOR, value, s->first + i);
	if (s->io.op != BLK_FLUSH) {
		s->io.off = place_of(s->first);
		s->io.len = s->iov.iov_len = s->n * SECTOR;
	}
	if (s->io.op == BLK_WRITE || s->io.op == BLK_READ) {
		s->io.iov = &s->iov;
		s->io.n_iov = 1;
	}
	s->busy = true;
	busy++;
	blk_node_submit(node, &s->io);
}

static void next(struct slot *s)
{
	unsigned what = rnd(100);

	left--;
	s->io = (struct blk_io){ .done = on_done };
	s->io.op = what < 7    ? BLK_FLUSH
		   : what < 15 ? BLK_READ
		   : what < 20 ? BLK_DISCARD
		   : what < 28 ? BLK_WRITE_ZEROES
			       : BLK_WRITE;
	if (what >= 24 && what < 32)
		s->io.flags = BLK_FUA;
	if (s->io.op == BLK_FLUSH || place(s))
		submit(s);
}

/* --- cuts --- */

/* What becomes of a sector that may or may not have been written. */
static unsigned fate;

static unsigned written(unsigned below)
{
	switch (fate) {
	case 0: /* of a request all or nothing */
		return (cuts_at * 2654435761u ^ seed) >> 13 & 1;
	case 1:
		return 0;
	case 2:
		return 1;
	case 3:
		return !rnd(8);
	case 4:
		return !!rnd(8);
	default:
		return rnd(2);
	}
}

static void check_cut(const uint8_t *before, uint64_t size, struct ram_file *after, unsigned cut)
{
	static uint8_t buf[WINDOW * SECTOR];
	unsigned sure = flushed_at(cut);

	fate = rnd(6);
	memcpy(after->data, before, ROOM);
	after->size = size;
	cuts_replay(after->data, ROOM, &after->size, cut, written);
	node = open_image(after, false);
	for (unsigned w = 0; w < WINDOWS; w++) {
		int rc = blk_node_pread(node, place_of(w * WINDOW), buf, sizeof(buf));

		ck_assert_msg(!rc, "%s: cut %u: window %u: %s", work->format, cut, w,
			      strerror(-rc));
		for (unsigned i = 0; i < WINDOW; i++)
			if (!may_be(buf + i * SECTOR, w * WINDOW + i, cut, sure, cut))
				ck_abort_msg("%s: cut %u: sector %u is wrong", work->format, cut,
					     w * WINDOW + i);
	}
	/* Places behind what was lost are given out again. */
	ck_assert_int_eq(blk_node_pwrite(node, place_of(rnd(SECTORS)), buf, SECTOR), 0);
	blk_node_close(node);
}

START_TEST(power_cuts)
{
	struct ram_file after = ram_make(ROOM);
	uint8_t *before = malloc(ROOM);
	uint64_t size;
	unsigned last;

	work = &workloads[_i / 4];
	seed = 77 + (unsigned)_i;
	ram_rnd = rnd;
	create();
	memcpy(before, file.data, ROOM);
	size = file.size;
	cuts_begin();
	node = open_image(&file, true);
	left = REQUESTS;
	while (left || busy) {
		for (unsigned i = 0; i < SLOTS && left; i++)
			if (!slots[i].busy)
				next(&slots[i]);
		if (busy)
			blk_node_poll(node);
	}
	blk_node_close(node);
	cuts_recording = false;
	last = cuts_now;
	ck_assert_uint_gt(last, 500);
	for (unsigned cut = 1; cut <= last; cut++)
		check_cut(before, size, &after, cut);
	free(before);
	free(after.data);
}
END_TEST

static void setup(void)
{
	strcpy(dir, "/tmp/test_formats_crash.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	file = ram_make(ROOM);
	model = calloc(SECTORS, sizeof(*model));
	acts = calloc(ACTS, sizeof(*acts));
	for (unsigned i = 0; i < SLOTS; i++)
		slots[i].iov.iov_base = malloc(LENGTH_MOST * SECTOR);
}

static void teardown(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		free(slots[i].iov.iov_base);
	cuts_begin();
	free(cuts_events);
	free(acts);
	free(model);
	free(file.data);
	unlink(image);
	rmdir(dir);
}

int main(void)
{
	Suite *s = suite_create("formats crash");
	TCase *t = tcase_create("cuts");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, power_cuts, 0, 4 * WORKLOADS);
	suite_add_tcase(s, t);
	return run_suite(s);
}
