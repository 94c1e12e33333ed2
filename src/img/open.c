/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images by what the command line says of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../block/internal.h"
#include "img.h"
#include "loop.h"

static const struct {
	const char *name;
	bool direct, no_flush, writethrough;
} caches[] = {
	{ "writeback", false, false, false }, { "none", true, false, false },
	{ "off", true, false, false },        { "writethrough", false, false, true },
	{ "directsync", true, false, true },  { "unsafe", false, true, false },
};

enum { CACHES = sizeof(caches) / sizeof(caches[0]) };

static int find_cache(const char *name)
{
	for (int i = 0; i < CACHES; i++)
		if (!name || !strcmp(caches[i].name, name))
			return i;
	return -1;
}

int img_check_cache(const char *name)
{
	const char *names[CACHES];
	struct err e;

	if (find_cache(name) >= 0)
		return 0;
	for (unsigned i = 0; i < CACHES; i++)
		names[i] = caches[i].name;
	err_set(&e, ERR_USAGE, EINVAL, "Invalid cache option: %s", name);
	err_suggest(&e, name, names, CACHES);
	img_error(&e);
	return -EINVAL;
}

bool img_writethrough(const char *name)
{
	int i = find_cache(name);

	return i >= 0 && caches[i].writethrough;
}

/* --- opening --- */

static struct blk_open open_how(const struct img_how *how)
{
	int i = find_cache(how->cache);
	unsigned c = i < 0 ? 0 : (unsigned)i;

	return (struct blk_open){
		.readonly = !how->write,
		.direct = caches[c].direct,
		.no_flush = caches[c].no_flush,
		.discard = true,
		.aio = how->aio,
		.locking = !how->share,
		.share_rw = how->share,
		.no_backing = how->no_backing,
		.repair = how->repair,
		.no_data = how->no_data,
		.bulk = how->bulk,
		.loop = img_loop(NULL),
	};
}

/* key=value,... or JSON: a node with driver=, or one whose format is looked up. */
static int open_opts(struct opts *o, const struct blk_open *how, struct blk_node **out,
		     struct err *e)
{
	const char *name = opts_get(o, "driver");
	const struct blk_driver *drv = name ? blk_driver_find(name) : NULL;
	struct blk_node *file;
	struct opts sub;
	bool probed;
	int rc;

	if (drv)
		return blk_node_open(drv, o, how, NULL, out, e);
	if (name)
		return blk_format_unknown(name, NULL, e);
	rc = blk_sub_opts(o, "file", &sub, e);
	if (!rc) {
		rc = blk_open_child("file", &sub, how, &file, e);
		blk_sub_opts_end(o, "file", &sub);
	}
	return rc ? rc : blk_open_format(file, NULL, o, how, out, &probed, e);
}

static bool is_json(const char *name)
{
	return !strncmp(name, "json:", 5);
}

/* All keys of an image: those given beside its name, and those that are the name. */
static int all_keys(const char *name, const struct img_how *how, struct opts *o, struct err *e)
{
	memset(o, 0, sizeof(*o));
	if (how->image_opts && !is_json(name))
		return opts_parse(o, name, NULL, e);
	for (size_t i = 0; how->keys && i < how->keys->n; i++)
		if (opts_add(o, how->keys->opt[i].key, how->keys->opt[i].val))
			return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	return is_json(name) ? blk_opts_from_json(o, name + 5, e) : 0;
}

static int open_text(const char *text, const struct img_how *i, const struct blk_open *how,
		     struct blk_node **out, struct err *e)
{
	struct opts o;
	int rc = all_keys(text, i, &o, e);

	if (!rc)
		rc = open_opts(&o, how, out, e);
	opts_free(&o);
	return rc;
}

static int open_plain(const char *name, const struct img_how *i, const struct blk_open *how,
		      struct blk_node **out, struct err *e)
{
	struct opts none = { 0 };
	struct blk_node *file;
	bool probed_raw;
	int rc;

	rc = blk_open_protocol(name, false, NULL, how, &file, e);
	if (!rc)
		rc = blk_open_format(file, i->format, i->keys ? i->keys : &none, how, out,
				     &probed_raw, e);
	if (!rc && probed_raw && i->write)
		img_warn("the format of '%s' was not given, and it looks like raw: "
			 "say -f raw if that is so",
			 name);
	return rc;
}

static int open_once(const char *name, const struct img_how *how, const struct blk_open *o,
		     struct blk_node **out, struct err *e)
{
	if (how->image_opts || is_json(name))
		return open_text(name, how, o, out, e);
	return open_plain(name, how, o, out, e);
}

int img_open(const char *name, const struct img_how *how, struct blk_node **out)
{
	struct blk_open o = open_how(how);
	struct err e, again;
	int rc;

	if (how->image_opts && how->format) {
		img_fail("--image-opts and --format are mutually exclusive");
		return -EINVAL;
	}
	if (how->share && how->write) {
		img_fail("Could not open '%s': -U is for reading, and this command writes", name);
		return -EINVAL;
	}
	rc = open_once(name, how, &o, out, &e);
	if (rc == -EBUSY && how->look) {
		o.locking = false;
		o.share_rw = true;
		rc = open_once(name, how, &o, out, &again);
		if (!rc)
			fprintf(stderr, "%s: %s: what is shown may change\n", err_program, e.msg);
		else
			e = again;
	}
	if (!rc)
		return 0;
	if (rc == -EBUSY)
		err_hint(&e, how->write ? "stop that first"
					: "stop that first, or read it as it is by -U");
	/* It may be there, and what it refers to is missing. */
	if (rc == -ENOENT && !e.hint[0] && access(name, F_OK))
		err_hint(&e, "look at the name, or make it by posada-img create");
	if (rc == -ENOKEY && how->key_hint)
		err_hint(&e, "%s", how->key_hint);
	err_prefix(&e, "Could not open '%s': ", name);
	img_error(&e);
	return rc;
}

int img_close(struct blk_node *n)
{
	int rc = 0;

	if (!n)
		return 0;
	if (!n->readonly)
		rc = blk_node_flush(n);
	if (rc)
		img_fail("%s: cannot write all to stable storage: %s", n->filename, strerror(-rc));
	blk_node_close(n);
	return rc;
}

/* --- formats and backing files --- */

const struct blk_driver *img_format(const char *name)
{
	const struct blk_driver *drv = blk_driver_find(name);
	const char *names[32];
	struct err e;
	size_t n = 0;

	if (drv && !drv->protocol && !drv->filter)
		return drv;
	for (unsigned i = 0; blk_drivers[i] && n < ARRAY_SIZE(names); i++)
		if (!blk_drivers[i]->protocol && !blk_drivers[i]->filter)
			names[n++] = blk_drivers[i]->name;
	err_set(&e, ERR_USAGE, EINVAL, "Unknown file format '%s'", name);
	err_suggest(&e, name, names, n);
	img_error(&e);
	return NULL;
}

const char *img_backing_name(const struct blk_node *n, const char **format)
{
	const char *none;

	if (!n->drv->image || !n->drv->image->backing_name)
		return NULL;
	return n->drv->image->backing_name(n, format ? format : &none);
}

static const char *path_of(const char *filename)
{
	return strncmp(filename, "file:", 5) ? filename : filename + 5;
}

void img_no_room(const char *filename, uint64_t left)
{
	char has[32], wants[32];
	struct statvfs fs;

	if (statvfs(path_of(filename), &fs))
		return;
	img_warn("the file system of '%s' has %s free; up to %s of the disk were still to be "
		 "written",
		 filename, img_pretty(has, (uint64_t)fs.f_bavail * fs.f_frsize),
		 img_pretty(wants, left));
}

void img_remove(const char *filename)
{
	const char *path = path_of(filename);
	struct stat st;

	if (!lstat(path, &st) && S_ISREG(st.st_mode) && !unlink(path))
		img_warn("'%s' is removed: it was not complete", filename);
}

/* Relative to the image's directory, unless a protocol says otherwise. */
char *img_backing_path(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');
	char *path;

	if (*name == '/' || !slash || name[strcspn(name, ":/")] == ':')
		return strdup(name);
	if (asprintf(&path, "%.*s%s", (int)(slash - image + 1), image, name) < 0)
		return NULL;
	return path;
}

int img_backing_keys(const char *name, const struct img_how *how, struct opts *out)
{
	struct opts all;
	struct err e;
	int rc = all_keys(name, how, &all, &e);

	memset(out, 0, sizeof(*out));
	if (!rc)
		rc = blk_sub_opts(&all, "backing", out, &e);
	opts_free(&all);
	return rc ? img_error(&e), rc : 0;
}

int img_open_backing(const struct blk_node *n, const char *name, const char *format,
		     const struct img_how *how, struct opts *keys, struct blk_node **out)
{
	char *path = img_backing_path(n->filename, name);
	const char *driver = opts_get(keys, "driver");
	struct img_how h = *how;
	int rc;

	if (!path) {
		img_fail("out of memory");
		return -ENOMEM;
	}
	h.format = driver ? driver : format;
	h.image_opts = false;
	h.keys = keys;
	rc = img_open(path, &h, out);
	free(path);
	return rc;
}

bool img_same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return !stat(a, &sa) && !stat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}
