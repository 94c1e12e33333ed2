/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img bitmap, and persistent bitmaps for other subcommands. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmaps.h"
#include "img.h"

static const struct blk_image_ops *ops_of(const struct blk_node *n)
{
	static const struct blk_image_ops none;

	return n->drv->image ? n->drv->image : &none;
}

/* --- for convert and others --- */

bool img_may_have_bitmaps(const struct blk_node *n)
{
	const char *compat;
	json_t *info;
	bool may;

	if (!ops_of(n)->bitmap_list)
		return false;
	/* Version 2 of qcow2 has none. */
	info = ops_of(n)->info(n);
	compat = json_string_value(json_object_get(info, "compat"));
	may = !compat || strcmp(compat, "0.10") != 0;
	json_decref(info);
	return may;
}

bool img_has_bitmaps(struct blk_node *n)
{
	struct blk_bitmap *list;
	size_t count;

	if (!ops_of(n)->bitmap_list || ops_of(n)->bitmap_list(n, &list, &count, NULL))
		return false;
	blk_bitmaps_free(list, count);
	return count;
}

int img_check_bitmaps(struct blk_node *n, bool skip_broken)
{
	struct blk_bitmap *list;
	size_t count;
	struct err e;
	int rc = 0;

	if (!img_may_have_bitmaps(n))
		return img_fail("Source lacks bitmap support");
	if (ops_of(n)->bitmap_list(n, &list, &count, &e))
		return img_error(&e);
	for (size_t i = 0; i < count && !skip_broken && !rc; i++) {
		if (!list[i].in_use)
			continue;
		err_set(&e, ERR_INPUT, EINVAL, "Cannot copy inconsistent bitmap '%s'",
			list[i].name);
		err_hint(&e, "Try --skip-broken-bitmaps, or use 'posada-img bitmap --remove' to "
			     "delete it");
		rc = img_error(&e);
	}
	blk_bitmaps_free(list, count);
	return rc;
}

static int copy_one(struct blk_node *from, struct blk_node *to, const struct blk_bitmap *b)
{
	struct err e;

	if (b->in_use) {
		img_warn("Skipping inconsistent bitmap '%s'", b->name);
		return 0;
	}
	if (ops_of(to)->bitmap_add(to, b, &e)) {
		err_prefix(&e, "Failed to create bitmap %s: ", b->name);
		return img_error(&e);
	}
	if (ops_of(to)->bitmap_merge(to, b->name, from, b->name, &e)) {
		err_prefix(&e, "Failed to populate bitmap %s: ", b->name);
		return img_error(&e);
	}
	return 0;
}

int img_copy_bitmaps(struct blk_node *from, struct blk_node *to)
{
	struct blk_bitmap *list;
	size_t count;
	struct err e;
	int rc = 0;

	if (ops_of(from)->bitmap_list(from, &list, &count, &e))
		return img_error(&e);
	if (count && from->drv != to->drv)
		rc = img_fail("Format driver '%s' does not support bitmaps", to->drv->name);
	for (size_t i = 0; i < count && !rc; i++)
		rc = copy_one(from, to, &list[i]);
	blk_bitmaps_free(list, count);
	return rc;
}

/* --- the subcommand --- */

struct bitmap {
	struct img_how how, from;
	struct img_steps steps;
	const char *granularity_text, *source;
	uint64_t granularity;
	const char *name;
	struct blk_node *n, *src;
};

static int unsupported(const struct blk_node *n, struct err *e)
{
	return err_set(e, ERR_USAGE, ENOTSUP, "images of format %s have no bitmaps", n->drv->name);
}

static int merge(const struct bitmap *b, const char *source, struct err *e)
{
	struct blk_node *from = b->src ? b->src : b->n;

	if (from->drv != b->n->drv)
		return unsupported(from, e);
	return ops_of(b->n)->bitmap_merge(b->n, b->name, from, source, e);
}

static int act(const struct bitmap *b, const struct img_step *s)
{
	const struct blk_image_ops *ops = ops_of(b->n);
	struct blk_bitmap new = { .name = (char *)(uintptr_t)b->name,
				  .granularity = b->granularity,
				  .enabled = true };
	struct err e;
	int rc;

	if (!ops->bitmap_add)
		rc = unsupported(b->n, &e);
	else if (!strcmp(s->what, "add"))
		rc = ops->bitmap_add(b->n, &new, &e);
	else if (!strcmp(s->what, "remove"))
		rc = ops->bitmap_remove(b->n, b->name, &e);
	else if (!strcmp(s->what, "clear"))
		rc = ops->bitmap_clear(b->n, b->name, &e);
	else if (!strcmp(s->what, "merge"))
		rc = merge(b, s->arg, &e);
	else
		rc = ops->bitmap_enable(b->n, b->name, !strcmp(s->what, "enable"), &e);
	if (!rc)
		return 0;
	err_prefix(&e, "Operation %s on bitmap %.200s failed: ", s->what, b->name);
	return img_error(&e);
}

static bool has_step(const struct bitmap *b, const char *what)
{
	for (unsigned i = 0; i < b->steps.n; i++)
		if (!strcmp(b->steps.step[i].what, what))
			return true;
	return false;
}

static int check(struct bitmap *b, int operands)
{
	if (b->granularity_text && img_size("granularity", b->granularity_text, &b->granularity))
		return 1;
	if (operands != 2)
		return img_misuse("Expecting filename and bitmap name");
	if (!b->steps.n)
		return img_misuse("Need at least one of --add, --remove, --clear, --enable, "
				  "--disable, or --merge");
	if (b->granularity_text && !has_step(b, "add"))
		return img_misuse("granularity only supported with --add");
	if (b->from.format && !b->source)
		return img_misuse("-F only supported with -b");
	if (b->source && !has_step(b, "merge"))
		return img_misuse("Merge bitmap source file only supported with --merge");
	return 0;
}

static int bitmap(struct bitmap *b, const char *file)
{
	int rc = 0;

	if (b->source && img_open(b->source, &b->from, &b->src))
		return 1;
	if (img_open(file, &b->how, &b->n))
		rc = 1;
	for (unsigned i = 0; !rc && i < b->steps.n; i++)
		rc = act(b, &b->steps.step[i]);
	if (img_close(b->n))
		rc = 1;
	if (b->src)
		blk_node_close(b->src);
	return rc;
}

int img_bitmap(int argc, char **argv)
{
	struct bitmap b = { .how = { .write = true, .no_backing = true },
			    .from = { .look = true, .no_backing = true } };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &b.how.format },
		{ 0, "image-opts", IMG_FLAG, &b.how.image_opts },
		{ 'b', "source-file", IMG_TEXT, &b.source },
		{ 'F', "source-format", IMG_TEXT, &b.from.format },
		{ 'g', "granularity", IMG_TEXT, &b.granularity_text },
		{ 0, "add", IMG_STEP, &b.steps },
		{ 0, "remove", IMG_STEP, &b.steps },
		{ 0, "clear", IMG_STEP, &b.steps },
		{ 0, "enable", IMG_STEP, &b.steps },
		{ 0, "disable", IMG_STEP, &b.steps },
		{ 0, "merge", IMG_STEP_OF, &b.steps },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);

	if (i < 0 || check(&b, argc - i))
		return 1;
	b.name = argv[i + 1];
	return bitmap(&b, argv[i]);
}
