/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: qcow2 images. The input begins with how the image is opened (a byte), how many
 * operations follow (a byte) and these (3 bytes each: which, where, how much); the rest is
 * the file, see mem_disk.h. All that is behind the image or beside it (backing files, data
 * files) is another part of the same file.
 *
 * What holds for any image: an error has a message, answers are within what was asked for. What
 * holds for an image in which check finds no error and that uses no cluster twice: nothing
 * that is done to it brings an error.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/block/qcow2.h"
#include "mem_disk.h"
#include "opts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct blk_driver blk_raw, blk_qcow2;

const struct blk_driver *const blk_drivers[] = { &blk_raw, &blk_qcow2, &mem_disk, NULL };

/* Of the first byte. */
enum { WRITE = 1, NO_BACKING = 2, SMALL_CACHES = 4, REPAIR = 8, LAZY = 16 };

enum {
	OPS_MOST = 32,
	LENGTH_MOST = 256 << 10,
	CHECKED_MOST = 8 << 20,
	PREALLOCATE_MOST = 64 << 20
};

static uint8_t buf[LENGTH_MOST];

static int told(int rc, const struct err *e)
{
	/* It is done, or it says why not. */
	if (rc > 0 || (rc && (!e->msg[0] || !e->status)))
		abort();
	return rc;
}

static struct blk_node *open_image(unsigned flags)
{
	struct blk_open how = { .readonly = !(flags & WRITE),
				.discard = true,
				.no_backing = flags & NO_BACKING };
	struct opts o = { 0 };
	struct blk_node *n = NULL;
	struct err e = { 0 };
	bool probed;
	int rc;

	if (flags & SMALL_CACHES &&
	    (opts_add(&o, "l2-cache-size", "1K") || opts_add(&o, "refcount-cache-size", "1K")))
		abort();
	if (flags & LAZY && opts_add(&o, "lazy-refcounts", "on"))
		abort();
	rc = told(blk_open_format(mem_disk_node(&how), "qcow2", &o, &how, &n, &probed, &e), &e);
	opts_free(&o);
	return rc ? NULL : n;
}

/* --- operations ------------------------------------------------------------------------- */

/* All magnitudes, from both ends. */
static uint64_t place(uint64_t size, uint8_t where)
{
	uint64_t at = where & 64 ? size >> (where & 63) : (uint64_t)(where & 63) * 4096;

	if (where & 128)
		at = size - (at < size ? at : size);
	return at / 512 * 512;
}

static uint64_t length(uint64_t left, uint8_t much)
{
	uint64_t len = much & 128 ? (uint64_t)(much & 127) * 512 : 512ull << (much & 15);

	return len < left ? len : left;
}

static void ask_status(struct blk_node *n, uint64_t off, uint64_t len)
{
	uint64_t bytes, at;
	unsigned flags;

	if (!len || blk_node_status(n, off, len, &bytes, &flags))
		return;
	if (!bytes || bytes > len)
		abort();
	if (n->drv->place)
		n->drv->place(n, off, &at);
}

static const char *some_snapshot(const struct blk_snapshot *list, size_t count, uint8_t where)
{
	return count ? list[where % count].id : "none";
}

static void use_snapshots(struct blk_node *n, unsigned op, uint8_t where)
{
	const struct blk_image_ops *ops = n->drv->image;
	struct blk_snapshot *list = NULL;
	struct err e = { 0 };
	size_t count = 0;

	if (told(ops->snap_list(n, &list, &count, &e), &e))
		return;
	if (op == 0)
		told(ops->snap_create(n, where & 1 ? "made" : "made again", &e), &e);
	else if (op == 1)
		told(ops->snap_apply(n, some_snapshot(list, count, where), &e), &e);
	else if (op == 2)
		told(ops->snap_delete(n, some_snapshot(list, count, where), &e), &e);
	blk_snapshots_free(list, count);
}

static void read_snapshot(struct blk_node *n, uint8_t where)
{
	const struct blk_image_ops *ops = n->drv->image;
	struct blk_snapshot *list = NULL;
	struct err e = { 0 };
	size_t count = 0;

	if (told(ops->snap_list(n, &list, &count, &e), &e))
		return;
	if (count && !told(ops->snap_load(n, some_snapshot(list, count, where), &e), &e))
		blk_node_pread(n, 0, buf, n->size < LENGTH_MOST ? n->size : LENGTH_MOST);
	blk_snapshots_free(list, count);
}

static void change_image(struct blk_node *n, uint8_t where, uint8_t much)
{
	const struct blk_image_ops *ops = n->drv->image;
	struct err e = { 0 };
	uint64_t size = place(n->size, where) + length(UINT64_MAX, much);

	switch (much & 7) {
	case 0:
		told(ops->set_backing(n, where & 1 ? "mem+other" : NULL, where & 2 ? "raw" : NULL,
				      &e),
		     &e);
		break;
	case 1:
		/* Work for each cluster of the disk is not endless, but long. */
		if (ops->preallocate && n->size <= PREALLOCATE_MOST)
			told(ops->preallocate(n, place(n->size, where), "metadata", &e), &e);
		break;
	case 2:
		told(ops->make_empty(n, &e), &e);
		break;
	default:
		told(blk_node_truncate(n, size, &e), &e);
	}
}

static void carry_out(struct blk_node *n, const uint8_t *op)
{
	uint64_t off = place(n->size, op[1]), len;

	if (off > n->size)
		off = n->size;
	len = length(n->size - off, op[2]);
	if (len > LENGTH_MOST)
		len = LENGTH_MOST;
	memset(buf, op[1] ^ op[2], len);
	switch (op[0] & 15) {
	case 0:
	case 1:
		blk_node_pread(n, off, buf, len);
		break;
	case 2:
		ask_status(n, off, n->size - off);
		break;
	case 3:
	case 4:
	case 5:
		blk_node_pwrite(n, off, buf, len);
		break;
	case 6:
		blk_node_zero(n, off, len, op[0] & 16 ? BLK_UNMAP : 0);
		break;
	case 7:
		mem_disk_run(n, BLK_DISCARD, 0, off, len, NULL);
		break;
	case 8:
		mem_disk_run(n, BLK_WRITE, BLK_COMPRESSED, off, len, buf);
		break;
	case 9:
		blk_node_flush(n);
		break;
	case 10:
	case 11:
	case 12:
		if (!n->readonly)
			use_snapshots(n, (op[0] & 15) - 10u, op[1]);
		break;
	case 13:
		if (n->readonly)
			read_snapshot(n, op[1]);
		break;
	default:
		if (!n->readonly)
			change_image(n, op[1], op[2]);
	}
}

/* --- */

static void look_at_all(struct blk_node *n)
{
	const struct blk_image_ops *ops = n->drv->image;
	const char *format;
	json_t *info;
	FILE *f = fopen("/dev/null", "w");

	if (!f)
		abort();
	n->drv->describe(n, f);
	fclose(f);
	ops->cluster_size(n);
	ops->backing_name(n, &format);
	info = ops->info(n);
	if (!info)
		abort();
	json_decref(info);
}

/*
 * Whether no cluster is counted more than once. Without snapshots and compressed clusters that
 * is how it is; a hostile image can have data that are a table, too, and be well counted.
 */
static int count_once(void *arg)
{
	struct qcow2 *q = arg;
	uint64_t refcount;

	for (uint64_t i = 0; i < qcow2_clusters(q, q->node->file->size); i++)
		if (qcow2_refcount(q, i, &refcount) || refcount > 1)
			return -EIO;
	return 0;
}

/* Whether it was checked, and has no error. */
static bool is_sound(unsigned fix, bool once)
{
	struct blk_node *n = open_image(NO_BACKING | (fix ? WRITE : 0));
	struct blk_check found = { 0 };
	struct err e = { 0 };
	bool sound = false;

	if (!n)
		return false;
	/* Data that lie outside are in the same file here, and may be written over tables. */
	if (!qcow2_of(n)->external && mem_disk_file.size <= CHECKED_MOST)
		sound = !told(n->drv->image->check(n, fix, &found, &e), &e) && !found.corruptions &&
			!found.check_errors &&
			(!once || !qcow2_run(qcow2_of(n), count_once, qcow2_of(n)));
	blk_node_close(n);
	return sound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk_node *n;
	unsigned flags, n_ops;
	bool sound;

	if (size < 2)
		return 0;
	flags = data[0];
	n_ops = data[1] % OPS_MOST;
	if (size < 2 + 3 * n_ops || !mem_disk_load(data + 2 + 3 * n_ops, size - 2 - 3 * n_ops))
		return 0;
	sound = is_sound(0, true);
	if (flags & REPAIR && !sound && flags & WRITE)
		sound = is_sound(BLK_FIX_LEAKS | BLK_FIX_ERRORS, true) && is_sound(0, true);
	n = open_image(flags);
	if (!n)
		return 0;
	look_at_all(n);
	for (unsigned i = 0; i < n_ops; i++)
		carry_out(n, data + 2 + 3 * i);
	blk_node_flush(n);
	if (blk_node_in_flight(n))
		abort();
	blk_node_close(n);
	if (sound && flags & WRITE && mem_disk_file.size <= CHECKED_MOST && !is_sound(0, false))
		abort();
	return 0;
}
