/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backing files: the image behind an image, which shows where that one has nothing. Its name and
 * format come from the image's header, or from the keys backing= and backing.X= of
 * -blockdev and -drive, which come first. Main thread.
 *
 * A name in a header is a path from the image's own folder, a protocol's name, or
 * "json:{...}". Images come from strangers, so a chain of them may be long, or bite its tail.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"
#include "log.h"
#include "opts.h"

enum { CHAIN_MAX = 200 }; /* images in a row; each is opened by recursion */

/* The images that are being opened, each the backing file of the one before. */
static const struct chain {
	const struct blk_node *node;
	dev_t dev;
	ino_t ino;
	const struct chain *above;
	unsigned depth;
} * chain;

/* --- names --- */

static bool has_protocol(const char *name)
{
	return *name != '/' && name[strcspn(name, ":/")] == ':';
}

char *blk_beside(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');
	char *path;

	if (*name == '/' || !slash || has_protocol(name))
		return strdup(name);
	if (asprintf(&path, "%.*s/%s", (int)(slash - image), image, name) < 0)
		return NULL;
	return path;
}

/* --- loops --- */

/* "a.qcow2 -> b.qcow2 -> " from c on down, without its beginning when there is no room. */
static void name_chain(const struct chain *c, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (; c; c = c->above) {
		size_t len = strlen(c->node->filename) + 4;

		if (used + len + 8 > size) {
			memmove(text + 7, text, used + 1);
			memcpy(text, "... -> ", 7);
			return;
		}
		memmove(text + len, text, used + 1);
		memcpy(text, c->node->filename, len - 4);
		memcpy(text + len - 4, " -> ", 4);
		used += len;
	}
}

static int check_loop(const struct blk_node *n, const char *path, struct err *e)
{
	const struct chain *c = chain;
	char text[512];
	struct stat st;

	if (stat(path, &st))
		return 0; /* opening it tells why */
	while (c && (c->dev != st.st_dev || c->ino != st.st_ino))
		c = c->above;
	if (!c)
		return 0;
	name_chain(chain, text, sizeof(text));
	return err_set(e, ERR_INPUT, ELOOP, "%s: its backing files are a loop: %s%s", n->filename,
		       text, path);
}

static int check_depth(const struct blk_node *n, struct err *e)
{
	if (!chain || chain->depth < CHAIN_MAX)
		return 0;
	err_set(e, ERR_INPUT, ELOOP, "%s: more than %d backing files in a row", n->filename,
		CHAIN_MAX);
	err_hint(e, "make one image of some: posada-img convert, or commit");
	return -ELOOP;
}

/* --- opening --- */

/* driver= of the keys, else the recorded format; it is above `file`, which is taken over. */
static int open_above(struct blk_node *n, struct blk_node *file, const char *format,
		      struct opts *keys, const struct blk_open *how, bool *probed_raw,
		      struct err *e)
{
	const char *driver = opts_get(keys, "driver");

	return blk_open_format(file, driver ? driver : format, keys, how, &n->backing, probed_raw,
			       e);
}

static int open_path(struct blk_node *n, const char *path, const char *format, struct opts *keys,
		     const struct blk_open *how, bool *probed_raw, struct err *e)
{
	struct blk_node *file;
	int rc = check_loop(n, path, e);

	if (!rc)
		rc = blk_open_protocol(path, *path == '/', NULL, how, &file, e);
	if (rc) {
		if (rc == -ENOENT || rc == -EISDIR)
			err_hint(e,
				 "when it is elsewhere now, say so: posada-img rebase -u -b "
				 "FILE -F FORMAT %s",
				 n->filename);
		return rc;
	}
	return open_above(n, file, format, keys, how, probed_raw, e);
}

/* keys describe all of it: a driver, or a file whose format is recorded or looked at. */
static int open_keys(struct blk_node *n, const char *format, struct opts *keys,
		     const struct blk_open *how, bool *probed_raw, struct err *e)
{
	const char *driver = opts_get(keys, "driver");
	const struct blk_driver *drv = driver ? blk_driver_find(driver) : NULL;
	struct blk_node *file;
	struct opts sub;
	int rc;

	if (drv)
		return blk_node_open(drv, keys, how, NULL, &n->backing, e);
	if (driver)
		return blk_format_unknown(driver, NULL, e);
	if (!blk_has_sub_opts(keys, "file")) {
		err_set(e, ERR_INPUT, EINVAL, "neither driver= nor file.filename= is given");
		err_hint(e, "name the image: backing.driver=qcow2,backing.file.filename=FILE");
		return -EINVAL;
	}
	rc = blk_sub_opts(keys, "file", &sub, e);
	if (!rc) {
		rc = blk_open_child("file", &sub, how, &file, e);
		blk_sub_opts_end(keys, "file", &sub);
	}
	return rc ? rc : open_above(n, file, format, keys, how, probed_raw, e);
}

static int open_json(struct blk_node *n, const char *text, const char *format, struct opts *keys,
		     const struct blk_open *how, bool *probed_raw, struct err *e)
{
	int rc = blk_opts_from_json(keys, text, e);

	return rc ? rc : open_keys(n, format, keys, how, probed_raw, e);
}

/* Whether the keys say which file it is, or that it is none. */
static bool names_file(struct opts *keys)
{
	const char *driver = opts_get(keys, "driver");
	const struct blk_driver *drv = driver ? blk_driver_find(driver) : NULL;

	if (drv && drv->protocol)
		return true;
	for (size_t i = 0; i < keys->n; i++)
		if (!strcmp(keys->opt[i].key, "file") || !strncmp(keys->opt[i].key, "file.", 5) ||
		    !strcmp(keys->opt[i].key, "filename"))
			return true;
	return false;
}

static void warn_probed(const struct blk_node *n, const char *name)
{
	const char *found = n->backing->drv->name;

	log_warn("%s: the format of its backing file '%s' is not recorded: taken for %s%s "
		 "(record it: posada-img rebase -u -b '%s' -F %s '%s')",
		 n->filename, name, found,
		 strcmp(found, "raw") ? ""
				      : "; another format's header at its beginning would be "
					"believed the next time",
		 name, found, n->filename);
}

static int open_it(struct blk_node *n, const char *name, const char *format, struct opts *keys,
		   struct err *e)
{
	struct blk_open how = n->open;
	bool probed_raw = false, by_keys = names_file(keys) || !name, driver;
	char *path;
	int rc;

	how.readonly = true;
	how.auto_readonly = how.repair = false;
	driver = opts_get(keys, "driver");
	if (!name && !driver && !names_file(keys))
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s has no backing file: backing.%s has no use", n->filename,
			       keys->opt[0].key);
	if (by_keys) {
		rc = open_keys(n, format, keys, &how, &probed_raw, e);
	} else if (!strncmp(name, "json:", 5)) {
		rc = open_json(n, name + 5, format, keys, &how, &probed_raw, e);
		driver = driver || strstr(name, "\"driver\"");
	} else {
		path = blk_beside(n->filename, name);
		rc = path ? open_path(n, path, format, keys, &how, &probed_raw, e)
			  : err_set(e, ERR_HOST, ENOMEM, "out of memory");
		free(path);
	}
	if (rc)
		return rc;
	n->backing->parent = n;
	n->backing->probed_raw = probed_raw;
	if (!format && !driver && !by_keys)
		warn_probed(n, name);
	return 0;
}

int blk_open_backing(struct blk_node *n, const char *name, const char *format, struct err *e)
{
	struct chain here = { .node = n, .above = chain };
	struct opts none = { 0 };
	struct opts *keys = n->backing_keys ? n->backing_keys : &none;
	struct stat st;
	int rc;

	if (n->backing || n->open.no_backing || (!name && !keys->n))
		return 0;
	rc = check_depth(n, e);
	if (!rc)
		rc = check_loop(n, n->filename, e);
	if (rc)
		return rc;
	if (!stat(n->filename, &st)) {
		here.dev = st.st_dev;
		here.ino = st.st_ino;
	}
	here.depth = chain ? chain->depth + 1 : 1;
	chain = &here;
	rc = open_it(n, name, format && *format ? format : NULL, keys, e);
	chain = here.above;
	opts_free(&none);
	if (rc && !(rc == -ELOOP))
		err_prefix(e, "%s: backing file: ", n->filename);
	if (rc == -ENOKEY)
		err_hint(e, "add -object secret,id=sec1,file=PATH, and at this image "
			    "backing.encrypt.key-secret=sec1 (backing.key-secret= for luks)");
	return rc;
}

/* --- keys of a node --- */

static int refer(struct blk_node *n, const char *name, struct err *e)
{
	struct blk_node *b = blk_node_find(name);

	if (!b) {
		err_set(e, ERR_USAGE, ENOENT, "backing=%s: no node has this name", name);
		err_hint(e, "make it first, by another -blockdev, or write backing=null for none");
		return -ENOENT;
	}
	if (b->parent)
		return err_set(e, ERR_USAGE, EBUSY, "backing=%s: node '%s' is above it already",
			       name, b->parent->name);
	if (b->loop)
		return err_set(e, ERR_USAGE, EBUSY, "backing=%s: a device uses this node itself",
			       name);
	b->refs++;
	b->parent = n;
	n->backing = b;
	return 0;
}

int blk_take_backing(struct blk_node *n, struct opts *o, struct opts *keys, struct err *e)
{
	bool nested = blk_has_sub_opts(o, "backing");
	const char *name;
	int rc;

	memset(keys, 0, sizeof(*keys));
	if (!n->drv->image || !n->drv->image->backing_name)
		return 0; /* the keys are unknown ones */
	name = opts_get(o, "backing");
	if (name && nested)
		return err_set(e, ERR_USAGE, EINVAL, "both backing= and backing.X= are given");
	if (name && *name && strcmp(name, "null") != 0)
		return refer(n, name, e);
	if (name)
		n->open.no_backing = true;
	if (!nested)
		return 0;
	rc = blk_sub_opts(o, "backing", keys, e);
	if (rc)
		return rc;
	/* Whoever opens the backing file looks at them. */
	for (size_t i = 0; i < o->n; i++)
		if (!strncmp(o->opt[i].key, "backing.", 8))
			o->opt[i].used = true;
	n->backing_keys = keys;
	return 0;
}
