/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of nodes: keys that every node takes, keys of children ("file.X"),
 * JSON as dotted keys, and what file names mean. Set-up time, main thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"
#include "opts.h"
#include "props.h"

/* --- keys that every node takes --- */

static const char *const general_keys[] = {
	"driver",         "node-name", "read-only", "auto-read-only", "cache.direct",
	"cache.no-flush", "discard",   "aio",       "force-share",    "share-rw",
};

size_t blk_known_keys(const struct blk_driver *drv, const char *names[], size_t max)
{
	size_t n = 0;

	for (; n < ARRAY_SIZE(general_keys) && n < max; n++)
		names[n] = general_keys[n];
	if (drv && !drv->protocol && n < max)
		names[n++] = drv->child ? drv->child : "file";
	if (drv && drv->image && drv->image->backing_name && n < max)
		names[n++] = "backing";
	for (const struct prop *p = drv ? drv->props : NULL; p && p->name && n < max; p++)
		names[n++] = p->name;
	return n;
}

static int take_bool(struct opts *o, const char *key, bool *out, struct err *e)
{
	const char *val = opts_get(o, key);
	int rc = val ? parse_bool(val, out, e) : 0;

	if (rc)
		err_prefix(e, "%s=%s: ", key, val);
	return rc;
}

/* Index into names of key's value, to *out; left alone without the key. */
static int take_choice(struct opts *o, const char *key, const char *const *names, size_t n,
		       int *out, struct err *e)
{
	const char *val = opts_get(o, key);

	if (!val)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(val, names[i])) {
			*out = (int)i;
			return 0;
		}
	}
	err_set(e, ERR_USAGE, EINVAL, "%s=%s: no such value", key, val);
	err_suggest(e, val, names, n);
	return -EINVAL;
}

static int take_aio(struct opts *o, struct blk_open *how, struct err *e)
{
	static const char *const names[] = { "threads", "native", "io_uring" };
	static const enum blk_aio kinds[] = { BLK_AIO_THREADS, BLK_AIO_NATIVE, BLK_AIO_IO_URING };
	int i = -1;
	int rc = take_choice(o, "aio", names, ARRAY_SIZE(names), &i, e);

	if (i >= 0)
		how->aio = kinds[i];
	if (rc || i != 1 || how->direct)
		return rc;
	err_set(e, ERR_USAGE, EINVAL,
		"aio=native needs a cache mode without the host's page cache (O_DIRECT)");
	err_hint(e, "add cache=none (or cache.direct=on), or leave out aio=");
	return -EINVAL;
}

int blk_take_keys(struct opts *o, struct blk_open *how, const char **name, struct err *e)
{
	static const char *const discard[] = { "ignore", "off", "unmap", "on" };
	int d = how->discard ? 2 : 0;
	int rc;

	*name = opts_get(o, "node-name");
	if ((rc = take_bool(o, "read-only", &how->readonly, e)) ||
	    (rc = take_bool(o, "auto-read-only", &how->auto_readonly, e)) ||
	    (rc = take_bool(o, "cache.direct", &how->direct, e)) ||
	    (rc = take_bool(o, "cache.no-flush", &how->no_flush, e)) ||
	    (rc = take_bool(o, "force-share", &how->share_rw, e)) ||
	    (rc = take_bool(o, "share-rw", &how->share_rw, e)) ||
	    (rc = take_choice(o, "discard", discard, ARRAY_SIZE(discard), &d, e)) ||
	    (rc = take_aio(o, how, e)))
		return rc;
	how->discard = d >= 2;
	return 0;
}

/* --- keys of children --- */

enum { DOTS_MAX = 20 }; /* in a key: each level of nodes is opened by recursion */

/* key without "child.", or NULL. */
static const char *below(const char *key, const char *child)
{
	size_t len = strlen(child);

	return !strncmp(key, child, len) && key[len] == '.' && key[len + 1] ? key + len + 1 : NULL;
}

bool blk_has_sub_opts(const struct opts *o, const char *child)
{
	for (size_t i = 0; i < o->n; i++)
		if (!o->opt[i].used && below(o->opt[i].key, child))
			return true;
	return false;
}

static unsigned dots(const char *key)
{
	unsigned n = 0;

	while (*key)
		n += *key++ == '.';
	return n;
}

int blk_sub_opts(const struct opts *o, const char *child, struct opts *sub, struct err *e)
{
	memset(sub, 0, sizeof(*sub));
	for (size_t i = 0; i < o->n; i++) {
		const char *key = below(o->opt[i].key, child);

		if (key && dots(key) > DOTS_MAX) {
			opts_free(sub);
			return err_set(e, ERR_USAGE, ELOOP, "nodes more than %d above one another",
				       DOTS_MAX);
		}
		if (key && !o->opt[i].used && opts_add(sub, key, o->opt[i].val)) {
			opts_free(sub);
			return err_set(e, ERR_HOST, ENOMEM, "out of memory");
		}
	}
	return 0;
}

/* Sub's keys are o's in the same order, then what was added to sub. */
void blk_sub_opts_end(struct opts *o, const char *child, struct opts *sub)
{
	size_t k = 0;

	for (size_t i = 0; i < o->n; i++)
		if (!o->opt[i].used && below(o->opt[i].key, child))
			o->opt[i].used = sub->opt[k++].used;
	opts_free(sub);
}

/* --- JSON --- */

enum { JSON_DEPTH = 16, KEY_MAX = 512 };

static int flatten(struct opts *o, char *key, size_t used, const json_t *v, unsigned depth,
		   struct err *e);

static int flatten_member(struct opts *o, char *key, size_t used, const char *name, const json_t *v,
			  unsigned depth, struct err *e)
{
	int n = snprintf(key + used, KEY_MAX - used, "%s%s", used ? "." : "", name);

	if (!*name)
		return err_set(e, ERR_USAGE, EINVAL, "JSON: a member without a name");
	if (n < 0 || (size_t)n >= KEY_MAX - used)
		return err_set(e, ERR_USAGE, EINVAL, "JSON: the names of members are too long");
	return flatten(o, key, used + (size_t)n, v, depth + 1, e);
}

static int no_value(const char *key, struct err *e)
{
	return err_set(e, ERR_USAGE, EINVAL,
		       "JSON: the value of '%s' is neither text, integer nor boolean", key);
}

static int flatten(struct opts *o, char *key, size_t used, const json_t *v, unsigned depth,
		   struct err *e)
{
	char text[32];
	const char *name;
	json_t *member;
	size_t i;
	int rc = 0;

	if (depth > JSON_DEPTH)
		return err_set(e, ERR_USAGE, EINVAL, "JSON: nested more than %d deep", JSON_DEPTH);
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		json_object_foreach((json_t *)(uintptr_t)v, name, member)
		{
			rc = flatten_member(o, key, used, name, member, depth, e);
			if (rc)
				return rc;
		}
		return 0;
	case JSON_ARRAY:
		json_array_foreach(v, i, member)
		{
			snprintf(text, sizeof(text), "%zu", i);
			rc = flatten_member(o, key, used, text, member, depth, e);
			if (rc)
				return rc;
		}
		return 0;
	case JSON_STRING:
		rc = opts_add(o, key, json_string_value(v));
		break;
	case JSON_INTEGER:
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		rc = opts_add(o, key, text);
		break;
	case JSON_NULL: /* "backing": null: there is none */
		if (used < 7 || strcmp(key + used - 7, "backing") != 0)
			return no_value(key, e);
		rc = opts_add(o, key, "null");
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		rc = opts_add(o, key, json_is_true(v) ? "on" : "off");
		break;
	default:
		return no_value(key, e);
	}
	return rc ? err_set(e, ERR_HOST, ENOMEM, "out of memory") : 0;
}

int blk_opts_from_json(struct opts *o, const char *text, struct err *e)
{
	char key[KEY_MAX] = "";
	json_error_t where;
	json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	int rc;

	if (!j)
		return err_set(e, ERR_USAGE, EINVAL, "JSON: line %d, column %d: %s", where.line,
			       where.column, where.text);
	if (json_is_object(j))
		rc = flatten(o, key, 0, j, 0, e);
	else
		rc = err_set(e, ERR_USAGE, EINVAL, "JSON: not an object {...}");
	json_decref(j);
	return rc;
}

/* --- what a file's name means --- */

/* Protocols that people know from elsewhere. */
static const char *const absent[] = { "nbd", "nbd+unix", "http",     "https", "ftp",     "ftps",
				      "ssh", "iscsi",    "rbd",      "nfs",   "gluster", "vvfat",
				      "fat", "nvme",     "sheepdog", "curl" };

static int unknown_protocol(const char *filename, size_t len, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		if (strlen(absent[i]) != len || strncmp(absent[i], filename, len))
			continue;
		err_set(e, ERR_USAGE, ENOTSUP, "'%s': images by %s are not supported", filename,
			absent[i]);
		err_hint(e, "copy it to a local file first, or attach it as a block device");
		return -ENOTSUP;
	}
	err_set(e, ERR_USAGE, EINVAL, "'%s': unknown protocol '%.*s'", filename, (int)len,
		filename);
	err_hint(e, "for a file of this name write file:%s", filename);
	return -EINVAL;
}

/* The driver of that name above nothing, with one more key. */
static int open_with(const char *driver, const char *key, const char *val, struct opts *o,
		     const struct blk_open *how, struct blk_node *file, struct blk_node **out,
		     struct err *e)
{
	const struct blk_driver *drv = blk_driver_find(driver);
	struct opts none = { 0 };
	int rc;

	if (!drv) {
		rc = err_set(e, ERR_USAGE, ENOTSUP, "there is no driver '%s' in this program",
			     driver);
		goto fail;
	}
	if (!o)
		o = &none;
	if (key && opts_add(o, key, val)) {
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
		goto fail;
	}
	rc = blk_node_open(drv, o, how, file, out, e);
	opts_free(&none);
	return rc;
fail:
	if (file)
		blk_node_close(file);
	return rc;
}

const char *blk_path_driver(const char *path)
{
	struct stat st;

	if (!stat(path, &st) && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)))
		return "host_device";
	return "file";
}

static int open_path(const char *path, struct opts *o, const struct blk_open *how,
		     struct blk_node **out, struct err *e)
{
	if (!*path) {
		err_set(e, ERR_USAGE, EINVAL, "the name of the file is empty");
		err_hint(e, "name a disk image or a block device");
		return -EINVAL;
	}
	return open_with(blk_path_driver(path), "filename", path, o, how, NULL, out, e);
}

/* "RULES:IMAGE" */
static int open_blkdebug(const char *names, struct opts *o, const struct blk_open *how,
			 struct blk_node **out, struct err *e)
{
	const char *colon = strchr(names, ':');
	struct blk_node *image;
	char *rules;
	int rc;

	if (!colon) {
		err_set(e, ERR_USAGE, EINVAL, "'blkdebug:%s' names no image", names);
		err_hint(e, "write blkdebug:RULES-FILE:IMAGE; the rules' name may be empty");
		return -EINVAL;
	}
	rules = strndup(names, (size_t)(colon - names));
	if (!rules)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = blk_open_protocol(colon + 1, false, NULL, how, &image, e);
	if (!rc)
		rc = open_with("blkdebug", *rules ? "config" : NULL, rules, o, how, image, out, e);
	free(rules);
	return rc;
}

/* "json:{...}": a node by its keys; o has more of them, or is NULL. */
static int open_json(const char *text, struct opts *o, const struct blk_open *how,
		     struct blk_node **out, struct err *e)
{
	struct opts none = { 0 };
	int rc;

	o = o ? o : &none;
	rc = blk_opts_from_json(o, text, e);
	if (!rc)
		rc = blk_open_child("json:", o, how, out, e);
	opts_free(&none);
	return rc;
}

int blk_open_protocol(const char *filename, bool literal, struct opts *o,
		      const struct blk_open *how, struct blk_node **out, struct err *e)
{
	size_t len = strcspn(filename, ":/");
	const char *rest = filename + len + 1;

	if (literal || filename[len] != ':')
		return open_path(filename, o, how, out, e);
	if (!strncmp(filename, "file:", 5))
		return open_path(rest, o, how, out, e);
	if (!strncmp(filename, "json:", 5))
		return open_json(rest, o, how, out, e);
	if (!strncmp(filename, "host_device:", 12))
		return open_with("host_device", "filename", rest, o, how, NULL, out, e);
	if (!strcmp(filename, "null-co://") || !strcmp(filename, "null-aio://"))
		return open_with(filename[5] == 'c' ? "null-co" : "null-aio", NULL, NULL, o, how,
				 NULL, out, e);
	if (!strncmp(filename, "blkdebug:", 9))
		return open_blkdebug(rest, o, how, out, e);
	return unknown_protocol(filename, len, e);
}

int blk_node_open_file(const char *filename, const char *format, const struct blk_open *how,
		       struct blk_node **out, struct err *e)
{
	struct opts none = { 0 };
	struct blk_node *file;
	bool probed;
	int rc;

	rc = blk_open_protocol(filename, false, NULL, how, &file, e);
	if (!rc)
		rc = blk_open_format(file, format, &none, how, out, &probed, e);
	return rc;
}
