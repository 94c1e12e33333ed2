/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -drive, -blockdev and -hda: from an option's text to a drive. Names and meanings of
 * keys are QEMU's. What is about nodes is read by them (node.c); this file reads
 * what is about the drive. Main thread.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "log.h"
#include "opts.h"

/* A drive while its option is read. */
struct request {
	struct opts o;
	struct blk_open how;
	struct blk_config cfg;
	const char *file; /* file=, or NULL */
	bool literal; /* file is a path, whatever it looks like */
	const char *format, *id, *node_name;
	bool cdrom, snapshot;
};

/* For hints; what nodes take is added. */
static const char *const drive_keys[] = { "file",
					  "if",
					  "index",
					  "bus",
					  "unit",
					  "media",
					  "format",
					  "driver",
					  "cache",
					  "cache.writeback",
					  "detect-zeroes",
					  "readonly",
					  "ro",
					  "id",
					  "serial",
					  "werror",
					  "rerror",
					  "snapshot",
					  "copy-on-read",
					  "throttling.iops-total",
					  "throttling.iops-read",
					  "throttling.iops-write",
					  "throttling.bps-total",
					  "throttling.bps-read",
					  "throttling.bps-write",
					  "throttling.iops-size",
					  "file.locking",
					  "file.filename",
					  "file.driver" };

/* --- values ------------------------------------------------------------------------ */

static int choice(struct opts *o, const char *key, const char *const *names, size_t n, int *out,
		  struct err *e)
{
	const char *val = opts_get(o, key);

	for (size_t i = 0; val && i < n; i++) {
		if (!strcmp(val, names[i])) {
			*out = (int)i;
			return 0;
		}
	}
	if (!val)
		return 0;
	err_set(e, ERR_USAGE, EINVAL, "%s=%s: no such value", key, val);
	err_suggest(e, val, names, n);
	return -EINVAL;
}

static int boolean(struct opts *o, const char *key, bool *out, struct err *e)
{
	const char *val = opts_get(o, key);
	int rc = val ? parse_bool(val, out, e) : 0;

	if (rc)
		err_prefix(e, "%s=%s: ", key, val);
	return rc;
}

/* *out: -1 without the key. */
static int number(struct opts *o, const char *key, uint64_t max, int *out, struct err *e)
{
	const char *val = opts_get(o, key);
	uint64_t n;
	int rc;

	*out = -1;
	if (!val)
		return 0;
	rc = parse_u64(val, &n, e);
	if (rc) {
		err_prefix(e, "%s=%s: ", key, val);
		return rc;
	}
	if (n > max)
		return err_set(e, ERR_USAGE, ERANGE, "%s=%s: not between 0 and %" PRIu64, key, val,
			       max);
	*out = (int)n;
	return 0;
}

/* --- keys of -drive ------------------------------------------------------------------ */

static int take_if(struct request *r, struct err *e)
{
	static const char *const names[] = { "ide", "virtio", "none", "pflash" };
	static const char *const absent[] = { "scsi", "floppy", "sd", "mtd", "xen" };
	const char *val = opts_get(&r->o, "if");
	int i = 0;

	for (size_t k = 0; val && k < ARRAY_SIZE(absent); k++) {
		if (strcmp(val, absent[k]) != 0)
			continue;
		err_set(e, ERR_USAGE, ENOTSUP, "if=%s: this version has no such devices", val);
		err_hint(e, "use if=virtio");
		return -ENOTSUP;
	}
	r->cfg.iface = val ? DRIVE_IF_IDE : DRIVE_IF_DEFAULT;
	if (val) {
		int rc = choice(&r->o, "if", names, ARRAY_SIZE(names), &i, e);

		if (rc)
			return rc;
		r->cfg.iface = (enum drive_if)(DRIVE_IF_IDE + i);
	}
	return 0;
}

static bool is_ide(enum drive_if iface)
{
	return iface == DRIVE_IF_IDE || iface == DRIVE_IF_DEFAULT;
}

/* index=, or bus= and unit=: IDE has two disks on each of two buses. */
static int take_place(struct request *r, struct err *e)
{
	bool ide = is_ide(r->cfg.iface);
	int index, bus, unit, rc;

	if ((rc = number(&r->o, "index", ide ? 3 : 255, &index, e)) ||
	    (rc = number(&r->o, "bus", ide ? 1 : 0, &bus, e)) ||
	    (rc = number(&r->o, "unit", ide ? 1 : 255, &unit, e)))
		return rc;
	if (index >= 0 && (bus >= 0 || unit >= 0))
		return err_set(e, ERR_USAGE, EINVAL, "index= together with bus= or unit=");
	if (bus >= 0 || unit >= 0)
		index = (bus > 0 ? bus : 0) * (ide ? 2 : 0) + (unit > 0 ? unit : 0);
	r->cfg.index = index;
	return 0;
}

static int take_media(struct request *r, struct err *e)
{
	static const char *const names[] = { "disk", "cdrom" };
	int i = 0;
	int rc = choice(&r->o, "media", names, ARRAY_SIZE(names), &i, e);

	r->cdrom = i == 1;
	r->how.readonly = r->cdrom;
	return rc;
}

static int take_cache(struct request *r, struct err *e)
{
	static const struct {
		bool direct, writeback, no_flush;
	} modes[] = {
		{ true, true, false }, /* none */
		{ true, true, false }, /* off: its older name */
		{ false, true, false }, /* writeback */
		{ false, false, false }, /* writethrough */
		{ true, false, false }, /* directsync */
		{ false, true, true }, /* unsafe */
	};
	static const char *const names[] = { "none",         "off",        "writeback",
					     "writethrough", "directsync", "unsafe" };
	int i = 2;
	int rc = choice(&r->o, "cache", names, ARRAY_SIZE(names), &i, e);

	r->how.direct = modes[i].direct;
	r->how.no_flush = modes[i].no_flush;
	r->cfg.writeback = modes[i].writeback;
	return rc ? rc : boolean(&r->o, "cache.writeback", &r->cfg.writeback, e);
}

static int take_readonly(struct request *r, struct err *e)
{
	static const char *const keys[] = { "ro", "read-only", "readonly" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *val = opts_get(&r->o, keys[i]);
		int rc;

		if (!val)
			continue;
		if (!strcmp(val, "auto") && i != 1) {
			r->how.auto_readonly = true;
			continue;
		}
		rc = boolean(&r->o, keys[i], &r->how.readonly, e);
		if (rc) {
			err_hint(e, "on, off or auto");
			return rc;
		}
	}
	return 0;
}

static int take_refused(struct request *r, struct err *e)
{
	bool copy = false;
	int rc;

	if ((rc = boolean(&r->o, "snapshot", &r->snapshot, e)) ||
	    (rc = boolean(&r->o, "copy-on-read", &copy, e)))
		return rc;
	if (copy) {
		err_set(e, ERR_USAGE, ENOTSUP,
			"copy-on-read=on: this version does not copy what is read from a backing "
			"file");
		err_hint(e, "leave it out");
		return -ENOTSUP;
	}
	return 0;
}

static int take_policies(struct request *r, struct err *e)
{
	int detect = BLK_DETECT_OFF, werror = BLK_ERR_ENOSPC, rerror = BLK_ERR_REPORT, rc;

	if ((rc = choice(&r->o, "detect-zeroes", blk_detect_names, 3, &detect, e)) ||
	    (rc = choice(&r->o, "werror", blk_on_error_names, 4, &werror, e)) ||
	    (rc = choice(&r->o, "rerror", blk_on_error_names, 3, &rerror, e)) ||
	    (rc = throttle_parse(&r->o, &r->cfg.throttle, e)))
		return rc;
	r->cfg.detect = (enum blk_detect)detect;
	r->cfg.werror = (enum blk_on_error)werror;
	r->cfg.rerror = (enum blk_on_error)rerror;
	r->cfg.serial = opts_get(&r->o, "serial");
	return 0;
}

/* After what nodes take has been read into how. */
static int check_detect(const struct request *r, struct err *e)
{
	if (r->cfg.detect != BLK_DETECT_UNMAP || r->how.discard)
		return 0;
	err_set(e, ERR_USAGE, EINVAL, "detect-zeroes=unmap needs discard=unmap");
	err_hint(e, "add discard=unmap, or use detect-zeroes=on");
	return -EINVAL;
}

static int take_format(struct request *r, struct err *e)
{
	const char *driver = opts_get(&r->o, "driver");

	r->format = opts_get(&r->o, "format");
	if (r->format && driver && strcmp(r->format, driver) != 0)
		return err_set(e, ERR_USAGE, EINVAL, "format=%s and driver=%s", r->format, driver);
	if (!r->format)
		r->format = driver;
	return 0;
}

static bool well_formed(const char *id)
{
	if (!isalpha((unsigned char)*id))
		return false;
	while (isalnum((unsigned char)*id) || (*id && strchr("-._", *id)))
		id++;
	return !*id;
}

static int take_id(struct blk_set *s, struct request *r, struct err *e)
{
	r->id = opts_get(&r->o, "id");
	if (r->id && !well_formed(r->id)) {
		err_set(e, ERR_USAGE, EINVAL, "id=%s: not a name", r->id);
		err_hint(e, "a letter, then letters, digits, '-', '.' and '_'");
		return -EINVAL;
	}
	if (r->id && (blk_find(s, r->id) || blk_node_find(r->id)))
		return err_set(e, ERR_USAGE, EEXIST, "id=%s: another drive or node has this name",
			       r->id);
	return 0;
}

static int take_keys(struct blk_set *s, struct request *r, struct err *e)
{
	int rc;

	r->how.locking = true;
	if ((rc = take_if(r, e)) || (rc = take_place(r, e)) || (rc = take_media(r, e)) ||
	    (rc = take_cache(r, e)) || (rc = take_readonly(r, e)) || (rc = take_refused(r, e)) ||
	    (rc = take_policies(r, e)) || (rc = take_format(r, e)) || (rc = take_id(s, r, e)) ||
	    (rc = blk_take_keys(&r->o, &r->how, &r->node_name, e)) || (rc = check_detect(r, e)))
		return rc;
	if (r->node_name && blk_find(s, r->node_name))
		return err_set(e, ERR_USAGE, EEXIST, "node-name=%s: a drive has this id",
			       r->node_name);
	if (r->cfg.index >= 0 && blk_index_taken(s, r->cfg.iface, r->cfg.index))
		return err_set(e, ERR_USAGE, EEXIST, "index=%d: another drive of this kind has it",
			       r->cfg.index);
	return 0;
}

/* --- opening -------------------------------------------------------------------------- */

/*
 * Keys that the format may turn out to have when it is looked up.
 */
static bool perhaps(const char *key)
{
	return !strncmp(key, "encrypt.", 8) || !strcmp(key, "key-secret") ||
	       !strncmp(key, "backing.", 8);
}

/*
 * A key that neither the drive nor the format knows, told before anything is
 * opened. Formats that are yet to be probed take none but raw's, and those of encryption.
 */
static int check_keys(const struct request *r, const struct blk_driver *drv, struct err *e)
{
	const char *names[BLK_KNOWN_MAX];
	size_t n = blk_known_keys(drv ? drv : blk_driver_find("raw"), names, ARRAY_SIZE(names));
	size_t known = n;

	for (size_t i = 0; i < ARRAY_SIZE(drive_keys) && n < ARRAY_SIZE(names); i++)
		names[n++] = drive_keys[i];
	if (drv && drv->keys)
		return 0;
	for (size_t i = 0; i < r->o.n; i++) {
		const struct opt *opt = &r->o.opt[i];
		size_t k = 0;

		while (k < known && strcmp(names[k], opt->key) != 0)
			k++;
		if (opt->used || k < known || !strncmp(opt->key, "file.", 5) ||
		    (!drv && perhaps(opt->key)) ||
		    (drv && drv->image && drv->image->backing_name &&
		     !strncmp(opt->key, "backing.", 8)))
			continue;
		err_set(e, ERR_USAGE, EINVAL, "unknown key '%s'", opt->key);
		err_suggest(e, opt->key, names, n);
		if (opt->bare && !suggest(opt->key, names, n))
			err_hint(e, "a comma within a file's name is written twice: ',,'");
		return -EINVAL;
	}
	return 0;
}

/* What file= and file.X= say: the node below the format. */
static int open_file(struct request *r, struct blk_node **out, struct err *e)
{
	struct blk_open how = r->how;
	struct opts sub;
	int rc = blk_sub_opts(&r->o, "file", &sub, e);

	if (rc)
		return rc;
	how.discard = true;
	if (r->file)
		rc = blk_open_protocol(r->file, r->literal, &sub, &how, out, e);
	else
		rc = blk_open_child("file", &sub, &how, out, e);
	blk_sub_opts_end(&r->o, "file", &sub);
	return rc;
}

static int open_root(struct request *r, struct blk_node **out, struct err *e)
{
	const struct blk_driver *drv = r->format ? blk_driver_find(r->format) : NULL;
	struct blk_node *file;
	int rc = check_keys(r, drv, e);

	if (rc)
		return rc;
	if (r->file && drv && drv->protocol) {
		err_set(e, ERR_USAGE, EINVAL, "'%s' is not a format of images", drv->name);
		err_hint(e, "add file.driver=%s, and leave out format=", drv->name);
		return -EINVAL;
	}
	/* A protocol or filter by its name, with nothing of ours above it. */
	if (drv && (drv->protocol || drv->filter) && !r->file && !blk_has_sub_opts(&r->o, "file"))
		return blk_node_open(drv, &r->o, &r->how, NULL, out, e);
	if (!r->file && !blk_has_sub_opts(&r->o, "file")) {
		err_set(e, ERR_USAGE, EINVAL, "file= is missing");
		err_hint(e, "name the disk image: file=FILE,format=raw");
		return -EINVAL;
	}
	rc = open_file(r, &file, e);
	return rc ? rc
		  : blk_open_format(file, r->format, &r->o, &r->how, out, &r->cfg.probed_raw, e);
}

/* A CD drive for which no image is named is empty: *out is NULL. */
static int open_medium(struct request *r, struct blk_node **out, struct err *e)
{
	const struct blk_driver *drv = r->format ? blk_driver_find(r->format) : NULL;
	bool named = (r->file && *r->file) || blk_has_sub_opts(&r->o, "file") ||
		     (drv && (drv->protocol || drv->filter));

	*out = NULL;
	if (r->cdrom && !named)
		return check_keys(r, drv, e);
	return open_root(r, out, e);
}

/* The path that r's image has on the host, or NULL. */
static const char *path_of(struct request *r)
{
	const char *path = r->file ? r->file : opts_get(&r->o, "file.filename");

	return path && !r->literal && !strncmp(path, "file:", 5) ? path + 5 : path;
}

/* A lock that is in the way may be this process's own. */
static void tell_twice(struct blk_set *s, struct request *r, int rc, struct err *e)
{
	const char *path = path_of(r);
	struct blk *other;

	if (rc != -EAGAIN && rc != -EBUSY && rc != -EACCES)
		return;
	other = path ? blk_same_image(s, path) : NULL;
	if (!other)
		return;
	err_set(e, ERR_USAGE, EBUSY, "%s: drive '%s' has this image already", path, blk_id(other));
	err_hint(e,
		 "give the device drive=%s, or use a copy of the image; two drives may share an "
		 "image if both are readonly=on",
		 blk_id(other));
}

/* --- names of drives ---------------------------------------------------------------------- */

static void name_for(const struct request *r, int index, char *out, size_t size)
{
	const char *kind = r->cdrom ? "cd" : "hd";

	switch (r->cfg.iface) {
	case DRIVE_IF_VIRTIO:
		snprintf(out, size, "virtio%d", index);
		break;
	case DRIVE_IF_NONE:
		snprintf(out, size, "none%d", index);
		break;
	case DRIVE_IF_PFLASH:
		snprintf(out, size, "pflash%d", index);
		break;
	default:
		snprintf(out, size, "ide%d-%s%d", index / 2, kind, index % 2);
	}
}

static void make_id(struct blk_set *s, const struct request *r, char *out, size_t size)
{
	int index = r->cfg.index >= 0 ? r->cfg.index : 0;

	for (;; index++) {
		name_for(r, index, out, size);
		if (!blk_find(s, out) && !blk_node_find(out))
			return;
	}
}

/* --- the options ------------------------------------------------------------------------------ */

static int finish(struct blk_set *s, struct request *r, struct drive *out, struct err *e)
{
	struct blk_node *root;
	struct blk *b;
	char id[32];
	int rc;

	r->how.loop = blk_set_loop(s);
	/* What nobody writes needs no overlay. */
	r->snapshot = r->snapshot && !r->how.readonly;
	r->how.readonly = r->how.readonly || r->snapshot;
	rc = open_medium(r, &root, e);
	if (rc) {
		tell_twice(s, r, rc, e);
		return rc;
	}
	if (r->snapshot && root) {
		rc = blk_open_overlay(root, &r->how, &root, e);
		if (rc)
			return rc;
		r->cfg.probed_raw = false; /* sector 0 is the overlay's */
	}
	make_id(s, r, id, sizeof(id));
	rc = blk_new(s, r->id ? r->id : id, root, &r->cfg, &b, e);
	if (rc)
		return rc;
	/* Nobody can write what lies in a file that is read-only, or in none. */
	if (r->cfg.probed_raw && !blk_readonly(b))
		log_warn("drive '%s': the format of %s was not given, and raw was guessed: the "
			 "guest could write the header of another format there, so writes to "
			 "sector 0 are looked at; -drive file=...,format=raw allows them",
			 blk_id(b), root->filename);
	*out = (struct drive){
		.blk = b, .iface = r->cfg.iface, .index = r->cfg.index, .cdrom = r->cdrom
	};
	return 0;
}

/* Takes the last file= out of o, to *val (the caller's to free). */
static void drop_file(struct opts *o, char **val)
{
	*val = NULL;
	for (size_t i = o->n; i-- > 0;) {
		if (strcmp(o->opt[i].key, "file") != 0)
			continue;
		if (*val)
			free(o->opt[i].val);
		else
			*val = o->opt[i].val;
		free(o->opt[i].key);
		memmove(&o->opt[i], &o->opt[i + 1], (o->n - i - 1) * sizeof(o->opt[0]));
		o->n--;
	}
}

/* file=json:{...} stands for the keys in it. */
static int expand_json(struct request *r, char **file, struct err *e)
{
	int rc;

	if (!*file || strncmp(*file, "json:", 5) != 0)
		return 0;
	rc = blk_opts_from_json(&r->o, *file + 5, e);
	if (rc)
		err_prefix(e, "file: ");
	free(*file);
	*file = NULL;
	return rc;
}

int blk_add_drive(struct blk_set *s, const char *arg, struct drive *out, struct err *e)
{
	struct request r = { .snapshot = blk_set_snapshot(s) };
	char *file = NULL;
	int rc;

	rc = opts_parse(&r.o, arg, NULL, e);
	if (rc)
		return rc;
	if (r.o.head && *r.o.head) {
		err_set(e, ERR_USAGE, EINVAL, "'%s' has no '='", r.o.head);
		err_hint(e, "write file=%s", r.o.head);
		rc = -EINVAL;
	}
	if (!rc) {
		drop_file(&r.o, &file);
		rc = expand_json(&r, &file, e);
		r.file = file;
	}
	if (!rc)
		rc = take_keys(s, &r, e);
	if (!rc)
		rc = finish(s, &r, out, e);
	free(file);
	opts_free(&r.o);
	return rc;
}

int blk_add_file(struct blk_set *s, const char *file, const char *id, bool cdrom, bool snapshot,
		 struct drive *out, struct err *e)
{
	struct request r = {
		.file = file,
		.literal = true,
		.id = id,
		.cdrom = cdrom,
		.snapshot = snapshot || blk_set_snapshot(s),
		.how = { .readonly = cdrom, .locking = true },
		.cfg = { .writeback = true,
			 .werror = BLK_ERR_ENOSPC,
			 .iface = DRIVE_IF_DEFAULT,
			 .index = -1 },
	};
	int rc;

	if (id && blk_find(s, id))
		return err_set(e, ERR_USAGE, EEXIST, "another drive has the id '%s'", id);
	rc = finish(s, &r, out, e);
	opts_free(&r.o);
	return rc;
}

int blk_add_empty(struct blk_set *s, const char *id, struct drive *out, struct err *e)
{
	return blk_add_file(s, NULL, id, true, false, out, e);
}

static int open_blockdev(struct blk_set *s, struct opts *o, struct err *e)
{
	struct blk_config cfg = {
		.writeback = true, .werror = BLK_ERR_ENOSPC, .iface = DRIVE_IF_NONE, .index = -1
	};
	struct blk_open how = { .locking = true, .loop = blk_set_loop(s) };
	const char *driver = opts_get(o, "driver"), *name = opts_get(o, "node-name");
	const struct blk_driver *drv = driver ? blk_driver_find(driver) : NULL;
	int detect = BLK_DETECT_OFF, rc;
	struct blk_node *root;
	struct blk *b;

	if (!drv) {
		if (driver && *driver)
			return blk_format_unknown(driver, NULL, e);
		err_set(e, ERR_USAGE, EINVAL, "driver= is missing");
		err_hint(e, "-blockdev help shows the drivers");
		return -EINVAL;
	}
	if (!name) {
		err_set(e, ERR_USAGE, EINVAL, "node-name= is missing");
		err_hint(e, "a device names it: -device virtio-blk-pci,drive=NODE-NAME");
		return -EINVAL;
	}
	if (blk_find(s, name))
		return err_set(e, ERR_USAGE, EEXIST, "node-name=%s: another drive has this name",
			       name);
	rc = choice(o, "detect-zeroes", blk_detect_names, 3, &detect, e);
	if (rc)
		return rc;
	cfg.detect = (enum blk_detect)detect;
	rc = blk_node_open(drv, o, &how, NULL, &root, e);
	if (rc)
		return rc;
	if (cfg.detect == BLK_DETECT_UNMAP && !root->open.discard) {
		blk_node_close(root);
		err_set(e, ERR_USAGE, EINVAL, "detect-zeroes=unmap needs discard=unmap");
		err_hint(e, "add discard=unmap, or use detect-zeroes=on");
		return -EINVAL;
	}
	return blk_new(s, name, root, &cfg, &b, e);
}

int blk_add_blockdev(struct blk_set *s, const char *arg, struct err *e)
{
	struct opts o = { 0 };
	int rc;

	if (*arg == '{')
		rc = blk_opts_from_json(&o, arg, e);
	else
		rc = opts_parse(&o, arg, "driver", e);
	if (!rc)
		rc = open_blockdev(s, &o, e);
	opts_free(&o);
	return rc;
}
