/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img info. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "img.h"
#include "snapshots.h"

enum { CHAIN_MAX = 200 };

struct info {
	struct img_how how;
	bool json, chain;
};

/* What a file takes on the host. */
static uint64_t actual_size(const struct blk_node *n)
{
	struct stat st;

	while (n->file)
		n = n->file;
	return stat(n->filename, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static bool take_bool(json_t *specific, const char *key)
{
	bool on = json_is_true(json_object_get(specific, key));

	json_object_del(specific, key);
	return on;
}

/* --- as JSON --- */

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

/* Names in an image may be any bytes: JSON has only Unicode. */
static json_t *text_json(const char *text)
{
	json_t *v = json_string(text);
	char *copy = v ? NULL : strdup(text);

	for (char *c = copy; c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	if (copy)
		v = json_string(copy);
	free(copy);
	return v;
}

static json_t *snapshots_json(const struct blk_snapshot *list, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct blk_snapshot *s = &list[i];
		json_t *o = json_object();

		if (s->have_icount)
			set(o, "icount", json_integer((json_int_t)s->icount));
		set(o, "vm-clock-nsec", json_integer((json_int_t)(s->vm_clock_ns % 1000000000)));
		set(o, "name", text_json(s->name));
		set(o, "date-sec", json_integer((json_int_t)s->date_s));
		set(o, "date-nsec", json_integer(s->date_ns));
		set(o, "vm-clock-sec", json_integer((json_int_t)(s->vm_clock_ns / 1000000000)));
		set(o, "id", text_json(s->id));
		set(o, "vm-state-size", json_integer((json_int_t)s->vm_state_size));
		json_array_append_new(array, o);
	}
	return array;
}

struct facts {
	struct blk_node *n;
	const char *backing, *backing_format;
	char *full; /* path of the backing file */
	uint32_t cluster_size;
	struct blk_snapshot *snap;
	size_t n_snap;
	json_t *specific;
	bool dirty, encrypted;
};

static json_t *as_json(const struct facts *f)
{
	const struct blk_node *n = f->n;
	json_t *o = json_object(), *sp;

	if (f->backing_format)
		set(o, "backing-filename-format", json_string(f->backing_format));
	if (f->n_snap)
		set(o, "snapshots", snapshots_json(f->snap, f->n_snap));
	set(o, "virtual-size", json_integer((json_int_t)n->size));
	set(o, "filename", json_string(n->filename));
	if (f->cluster_size)
		set(o, "cluster-size", json_integer(f->cluster_size));
	set(o, "format", json_string(n->drv->name));
	set(o, "actual-size", json_integer((json_int_t)actual_size(n)));
	if (f->encrypted)
		set(o, "encrypted", json_true());
	if (f->specific) {
		sp = json_object();
		set(sp, "type", json_string(n->drv->name));
		json_object_set(sp, "data", f->specific);
		set(o, "format-specific", sp);
	}
	if (f->backing) {
		set(o, "full-backing-filename", json_string(f->full));
		set(o, "backing-filename", json_string(f->backing));
	}
	set(o, "dirty-flag", json_boolean(f->dirty));
	return o;
}

/* --- for people --- */

static void print_value(const json_t *v, int indent);

static void print_name(const char *key, int indent)
{
	printf("%*s", indent * 4, "");
	for (; *key; key++)
		putchar(*key == '-' ? ' ' : *key);
	putchar(':');
}

static void print_object(const json_t *v, int indent)
{
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)(uintptr_t)v, key, member)
	{
		print_name(key, indent);
		print_value(member, indent);
	}
}

static void print_array(const json_t *v, int indent)
{
	char name[24];
	json_t *member;
	size_t i;

	json_array_foreach(v, i, member)
	{
		snprintf(name, sizeof(name), "[%zu]", i);
		print_name(name, indent);
		print_value(member, indent);
	}
}

static void print_value(const json_t *v, int indent)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		putchar('\n');
		print_object(v, indent + 1);
		break;
	case JSON_ARRAY:
		putchar('\n');
		print_array(v, indent + 1);
		break;
	case JSON_STRING:
		printf(" %s\n", json_string_value(v));
		break;
	case JSON_INTEGER:
		printf(" %" JSON_INTEGER_FORMAT "\n", json_integer_value(v));
		break;
	default:
		printf(" %s\n", json_is_true(v) ? "true" : "false");
	}
}

static void print_backing(const struct facts *f)
{
	if (!f->backing)
		return;
	printf("backing file: %s", f->backing);
	if (strcmp(f->backing, f->full) != 0)
		printf(" (actual path: %s)", f->full);
	putchar('\n');
	if (f->backing_format)
		printf("backing file format: %s\n", f->backing_format);
}

static void print(const struct facts *f)
{
	const struct blk_node *n = f->n;
	char size[32], disk[32];

	printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
	       n->filename, n->drv->name, img_pretty(size, n->size), n->size,
	       img_pretty(disk, actual_size(n)));
	if (f->encrypted)
		printf("encrypted: yes\n");
	if (f->cluster_size)
		printf("cluster_size: %u\n", f->cluster_size);
	if (f->dirty)
		printf("cleanly shut down: no\n");
	print_backing(f);
	if (f->n_snap) {
		printf("Snapshot list:\n");
		img_print_snapshots(f->snap, f->n_snap);
	}
	if (f->specific && json_object_size(f->specific)) {
		printf("Format specific information:\n");
		print_object(f->specific, 1);
	}
}

/* --- one image, and those behind it --- */

static int gather(struct blk_node *n, struct facts *f)
{
	const struct blk_image_ops *ops = n->drv->image;
	struct blk_bitmap *bitmaps;
	size_t n_bitmaps;
	struct err e;

	f->n = n;
	if (!ops)
		return 0;
	f->backing = img_backing_name(n, &f->backing_format);
	if (f->backing && !(f->full = img_backing_path(n->filename, f->backing)))
		return img_fail("out of memory");
	f->cluster_size = ops->cluster_size ? ops->cluster_size(n) : 0;
	if (ops->snap_list && ops->snap_list(n, &f->snap, &f->n_snap, &e))
		return img_error(&e);
	if (ops->bitmap_list) {
		if (ops->bitmap_list(n, &bitmaps, &n_bitmaps, &e))
			return img_error(&e);
		blk_bitmaps_free(bitmaps, n_bitmaps);
	}
	f->specific = ops->info ? ops->info(n) : NULL;
	f->dirty = take_bool(f->specific, "dirty-flag");
	f->encrypted = take_bool(f->specific, "encrypted");
	return 0;
}

static void forget(struct facts *f)
{
	free(f->full);
	json_decref(f->specific);
	blk_snapshots_free(f->snap, f->n_snap);
	blk_node_close(f->n);
}

/* The same file twice in a chain would never end. */
static int check_loop(const struct facts *f, unsigned n)
{
	const char *next = f[n - 1].full;

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(f[i].n->filename, next) || img_same_file(f[i].n->filename, next))
			return img_fail("Backing file '%s' creates an infinite loop.", next);
	if (n == CHAIN_MAX)
		return img_fail("'%s' has more than %d backing files", f[0].n->filename, CHAIN_MAX);
	return 0;
}

/* All are looked at before the first is shown: of a broken chain nothing is. */
static int collect(struct info *in, const char *name, struct facts *f, unsigned *n)
{
	struct blk_node *node;

	for (;;) {
		if (img_open(name, &in->how, &node) || gather(node, &f[(*n)++]))
			return 1;
		if (!in->chain || !f[*n - 1].backing)
			return 0;
		if (check_loop(f, *n))
			return 1;
		name = f[*n - 1].full;
		in->how.format = f[*n - 1].backing_format;
		in->how.image_opts = false;
	}
}

static void show(const struct info *in, const struct facts *f, unsigned n)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n && !in->json; i++) {
		if (i)
			putchar('\n');
		print(&f[i]);
	}
	for (unsigned i = 0; i < n && in->json; i++)
		json_array_append_new(list, as_json(&f[i]));
	if (in->json) {
		json_dumpf(in->chain ? list : json_array_get(list, 0), stdout,
			   JSON_INDENT(4) | JSON_ENSURE_ASCII);
		putchar('\n');
	}
	json_decref(list);
}

int img_info(int argc, char **argv)
{
	/* Looking at an image needs none of those behind it. */
	struct info in = { .how = { .look = true, .no_backing = true, .no_data = true } };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &in.how.format },
		{ 0, "image-opts", IMG_FLAG, &in.how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &in.how.share },
		{ 0, "output", IMG_OUTPUT, &in.json },
		{ 0, "backing-chain", IMG_FLAG, &in.chain },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	struct facts *f;
	unsigned n = 0;
	int rc;

	if (i < 0)
		return 1;
	if (argc - i != 1)
		return img_misuse("Expecting one image file name");
	f = calloc(CHAIN_MAX, sizeof(*f));
	if (!f)
		return img_fail("out of memory");
	rc = collect(&in, argv[i], f, &n);
	if (!rc)
		show(&in, f, n);
	while (n)
		forget(&f[--n]);
	free(f);
	return rc;
}
