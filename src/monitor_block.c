/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor commands about drives: query-block, query-blockstats, block_resize,
 * block_set_io_throttle, eject, blockdev-change-medium and their text forms. Names and members as
 * in the QEMU Machine Protocol. Main loop only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block.h"
#include "err.h"
#include "monitor_int.h"
#include "opts.h"
#include "throttle.h"

/* Members of a drive's limits, in the order of enum throttle_kind. */
static const char *const limit_names[THROTTLE_KINDS] = {
	[THROTTLE_BPS_TOTAL] = "bps",    [THROTTLE_BPS_READ] = "bps_rd",
	[THROTTLE_BPS_WRITE] = "bps_wr", [THROTTLE_OPS_TOTAL] = "iops",
	[THROTTLE_OPS_READ] = "iops_rd", [THROTTLE_OPS_WRITE] = "iops_wr",
};

static struct blk *next_drive(struct mon *m, struct blk *after)
{
	struct blk_set *s = m->vm->m.blks;

	return s ? blk_next(s, after) : NULL;
}

static struct blk *drive_named(struct mon *m, const char *name, struct err *e)
{
	struct blk_set *s = m->vm->m.blks;
	struct blk *b = s ? blk_find(s, name) : NULL;
	const char *names[64];
	size_t n = 0;

	if (b)
		return b;
	err_set(e, ERR_USAGE, ENODEV, "Device '%s' not found", name);
	while ((b = next_drive(m, b)) && n < sizeof(names) / sizeof(names[0]))
		names[n++] = blk_id(b);
	err_suggest(e, name, names, n);
	return NULL;
}

/* By the first of these arguments that is there. */
static struct blk *drive_of(struct mon *m, const json_t *args, const char *key, const char *other,
			    struct err *e)
{
	const char *name = mon_str(args, key) ? mon_str(args, key) : mon_str(args, other);

	if (name)
		return drive_named(m, name, e);
	err_set(e, ERR_USAGE, EINVAL, "Parameter '%s' is missing", key);
	return NULL;
}

/* --- query-block --- */

static void set_int(json_t *j, const char *key, uint64_t n)
{
	json_object_set_new(j, key, json_integer((json_int_t)n));
}

static json_t *image(const struct blk *b, const struct blk_info *i)
{
	json_t *j = json_pack("{s:o, s:s, s:b}", "filename", mon_string(i->filename), "format",
			      i->format, "dirty-flag", 0);
	struct stat st;

	set_int(j, "virtual-size", blk_size(b));
	if (!stat(i->filename, &st) && S_ISREG(st.st_mode))
		set_int(j, "actual-size", (uint64_t)st.st_blocks * 512);
	return j;
}

static void add_limits(json_t *j, const struct blk_throttle *t)
{
	char key[32];

	for (unsigned k = 0; k < THROTTLE_KINDS; k++) {
		const struct throttle_limit *l = &t->limit[k];

		set_int(j, limit_names[k], l->avg);
		if (!l->max)
			continue;
		snprintf(key, sizeof(key), "%s_max", limit_names[k]);
		set_int(j, key, l->max);
		snprintf(key, sizeof(key), "%s_max_length", limit_names[k]);
		set_int(j, key, l->max_length ? l->max_length : 1);
	}
	if (t->iops_size)
		set_int(j, "iops_size", t->iops_size);
}

static json_t *inserted(const struct blk *b, const struct blk_info *i)
{
	json_t *j =
		json_pack("{s:o, s:o, s:s, s:b, s:b, s:i, s:i, s:s, s:o, s:{s:b, s:b, s:b}}",
			  "file", mon_string(i->filename), "node-name", mon_string(i->node_name),
			  "drv", i->format, "ro", blk_readonly(b), "encrypted", 0,
			  "backing_file_depth", (int)i->backing_depth, "write_threshold", 0,
			  "detect_zeroes", i->detect_zeroes, "image", image(b, i), "cache",
			  "writeback", i->writeback, "direct", i->direct, "no-flush", i->no_flush);

	if (i->backing)
		json_object_set_new(j, "backing_file", mon_string(i->backing));
	add_limits(j, blk_get_throttle(b));
	return j;
}

json_t *mon_query_block(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();

	for (struct blk *b = NULL; (b = next_drive(m, b));) {
		struct blk_info i;

		json_t *j;

		blk_get_info(b, &i);
		j = json_pack("{s:o, s:b, s:b, s:s, s:s}", "device", mon_string(blk_id(b)),
			      "locked", blk_tray_locked(b), "removable", blk_removable(b), "type",
			      "unknown", "io-status",
			      i.held_no_space ? "nospace"
			      : i.held        ? "failed"
					      : "ok");
		if (blk_removable(b))
			json_object_set_new(j, "tray_open", json_boolean(blk_tray_open(b)));
		if (blk_has_medium(b))
			json_object_set_new(j, "inserted", inserted(b, &i));
		json_array_append_new(list, j);
	}
	return list;
}

json_t *mon_info_block(struct mon *m, const json_t *args, struct err *e)
{
	const char *only = mon_str(args, "device");
	struct blk *one = only ? drive_named(m, only, e) : NULL;
	char *text = NULL;
	json_t *j = NULL;
	size_t size;
	FILE *f;

	if (only && !one)
		return NULL;
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	for (struct blk *b = NULL; (b = next_drive(m, b));) {
		if (one && one != b)
			continue;
		if (ftell(f) > 0)
			fputc('\n', f);
		blk_describe(b, f);
	}
	if (fclose(f) == 0 && text)
		j = mon_string(text);
	free(text);
	return j;
}

/* --- query-blockstats --- */

json_t *mon_query_blockstats(struct mon *m, const json_t *args, struct err *e)
{
	/* Zeroes are written, whatever carries it out. */
	static const struct {
		const char *name;
		enum blk_op op, also;
	} kinds[] = {
		{ "rd", BLK_READ, BLK_OPS },
		{ "wr", BLK_WRITE, BLK_WRITE_ZEROES },
		{ "flush", BLK_FLUSH, BLK_OPS },
		{ "unmap", BLK_DISCARD, BLK_OPS },
	};
	json_t *list = json_array();

	for (struct blk *b = NULL; (b = next_drive(m, b));) {
		json_t *stats = json_object();
		struct blk_stats st;
		struct blk_info i;
		char key[48];

		blk_get_stats(b, &st);
		blk_get_info(b, &i);
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
			const char *name = kinds[k].name;
			enum blk_op op = kinds[k].op, also = kinds[k].also;

#define SUM(field) (st.field[op] + (also < BLK_OPS ? st.field[also] : 0))
			snprintf(key, sizeof(key), "%s_operations", name);
			set_int(stats, key, SUM(ops));
			snprintf(key, sizeof(key), "%s_total_time_ns", name);
			set_int(stats, key, SUM(ns));
			snprintf(key, sizeof(key), "failed_%s_operations", name);
			set_int(stats, key, SUM(failed));
			if (op == BLK_FLUSH)
				continue;
			snprintf(key, sizeof(key), "%s_bytes", name);
			set_int(stats, key, SUM(bytes));
			snprintf(key, sizeof(key), "%s_merged", name);
			set_int(stats, key, SUM(merged));
#undef SUM
		}
		json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "device",
						      mon_string(blk_id(b)), "node-name",
						      mon_string(i.node_name), "stats", stats));
	}
	return list;
}

void mon_print_blockstats(FILE *f, const struct mon *m, const json_t *r)
{
	const json_t *drive, *n;
	const char *key;
	size_t i;

	json_array_foreach(r, i, drive)
	{
		fprintf(f, "%s:", mon_str(drive, "device"));
		json_object_foreach(json_object_get(drive, "stats"), key, n)
			fprintf(f, " %s=%" PRId64, key, (int64_t)json_integer_value(n));
		fputc('\n', f);
	}
}

/* --- errors --- */

json_t *mon_io_error_event(const struct vm *vm)
{
	int error = vm->io_error.error;
	struct blk_info i;

	blk_get_info(vm->io_error.blk, &i);
	return json_pack("{s:o, s:o, s:s, s:s, s:b, s:s}", "device",
			 mon_string(blk_id(vm->io_error.blk)), "node-name", mon_string(i.node_name),
			 "operation", vm->io_error.write ? "write" : "read", "action",
			 vm->io_error.action, "nospace", error == ENOSPC, "reason",
			 strerror(error));
}

json_t *mon_tray_event(const struct vm *vm)
{
	const char *id = blk_id(vm->tray.blk);

	return json_pack("{s:o, s:o, s:b}", "device", mon_string(id), "id", mon_string(id),
			 "tray-open", vm->tray.open);
}

/* --- changes --- */

json_t *mon_eject(struct mon *m, const json_t *args, struct err *e)
{
	struct blk *b = drive_of(m, args, "device", "id", e);

	return !b || blk_eject(b, mon_bool(args, "force"), e) ? NULL : mon_empty();
}

json_t *mon_change_medium(struct mon *m, const json_t *args, struct err *e)
{
	struct blk *b = drive_of(m, args, "device", "id", e);
	const char *mode = mon_str(args, "read-only-mode");

	if (!b)
		return NULL;
	if (mode && strcmp(mode, "retain") != 0 && strcmp(mode, "read-only") != 0) {
		err_set(e, ERR_USAGE, ENOTSUP, "read-only-mode '%s': media are read-only", mode);
		err_hint(e, "retain and read-only are possible");
		return NULL;
	}
	if (blk_change(b, mon_str(args, "filename"), mon_str(args, "format"),
		       mon_bool(args, "force"), e))
		return NULL;
	return mon_empty();
}

json_t *mon_block_resize(struct mon *m, const json_t *args, struct err *e)
{
	struct blk *b = drive_of(m, args, "device", "node-name", e);
	int64_t size = mon_int(args, "size", -1);

	if (!b)
		return NULL;
	if (size < 0) {
		err_set(e, ERR_USAGE, EINVAL, "Parameter 'size' expects a >0 size");
		return NULL;
	}
	return blk_resize(b, (uint64_t)size, e) ? NULL : mon_empty();
}

/* "block_resize d0 20G": a number without a suffix is in MiB. */
json_t *mon_block_resize_text(struct mon *m, const json_t *args, struct err *e)
{
	struct blk *b = drive_of(m, args, "device", "device", e);
	uint64_t size;

	if (!b || parse_size(mon_str(args, "size"), 1 << 20, &size, e))
		return NULL;
	return blk_resize(b, size, e) ? NULL : mon_empty();
}

/* "commit all|DRIVE": with all, drives that have nothing to commit are passed over. */
json_t *mon_commit(struct mon *m, const json_t *args, struct err *e)
{
	const char *name = mon_str(args, "device");
	struct blk *one;

	if (strcmp(name, "all") != 0) {
		one = drive_named(m, name, e);
		return one && !blk_commit(one, e) ? mon_empty() : NULL;
	}
	for (struct blk *b = NULL; (b = next_drive(m, b));)
		if (blk_has_backing(b) && !blk_readonly(b) && blk_commit(b, e))
			return NULL;
	return mon_empty();
}

static int take_limit(const json_t *args, const char *key, uint64_t *out, struct err *e)
{
	int64_t n = mon_int(args, key, 0);

	if (n < 0)
		return err_set(e, ERR_USAGE, EINVAL, "Parameter '%s' is below zero", key);
	*out = (uint64_t)n;
	return 0;
}

json_t *mon_block_set_io_throttle(struct mon *m, const json_t *args, struct err *e)
{
	struct blk *b = drive_of(m, args, "id", "device", e);
	struct blk_throttle t = { 0 };
	int rc = 0;

	if (!b)
		return NULL;
	for (unsigned k = 0; k < THROTTLE_KINDS && !rc; k++) {
		char key[32];

		rc = take_limit(args, limit_names[k], &t.limit[k].avg, e);
		snprintf(key, sizeof(key), "%s_max", limit_names[k]);
		if (!rc)
			rc = take_limit(args, key, &t.limit[k].max, e);
		snprintf(key, sizeof(key), "%s_max_length", limit_names[k]);
		if (!rc)
			rc = take_limit(args, key, &t.limit[k].max_length, e);
	}
	if (!rc)
		rc = take_limit(args, "iops_size", &t.iops_size, e);
	if (!rc)
		rc = blk_set_throttle(b, &t, e);
	return rc ? NULL : mon_empty();
}
