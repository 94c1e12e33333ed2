/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img resize. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

struct resize {
	struct img_how how;
	const char *mode;
	bool shrink, quiet;
};

/* *to: what "100M", "+1G" or "-1G" makes of a disk of n->size. */
static int new_size(const struct blk_node *n, const char *text, uint64_t *to)
{
	char sign = *text == '+' || *text == '-' ? *text : 0;
	uint64_t by;
	int rc = img_size("image size", text + !!sign, &by);

	if (rc)
		return rc;
	*to = by;
	if (sign == '-')
		*to = by < n->size ? n->size - by : 0;
	else if (sign && __builtin_add_overflow(n->size, by, to))
		*to = UINT64_MAX;
	if (*to && *to <= INT64_MAX)
		return 0;
	img_fail("New image size must be positive, and %" PRId64 " at most", INT64_MAX);
	return -ERANGE;
}

static int preallocates(const struct resize *r, const struct blk_node *n)
{
	static const char *const modes[] = { "off", "metadata", "falloc", "full" };
	struct err e;

	if (!r->mode || !strcmp(r->mode, "off"))
		return 0;
	for (unsigned i = 1; i < 4; i++) {
		if (strcmp(r->mode, modes[i]) != 0)
			continue;
		if (n->drv->image && n->drv->image->preallocate)
			return 1;
		img_fail("format %s cannot preallocate", n->drv->name);
		return -ENOTSUP;
	}
	err_set(&e, ERR_USAGE, EINVAL, "Invalid preallocation mode '%s'", r->mode);
	err_suggest(&e, r->mode, modes, 4);
	img_error(&e);
	return -EINVAL;
}

static int resize(const struct resize *r, struct blk_node *n, const char *text)
{
	int prealloc = preallocates(r, n);
	uint64_t from = n->size, to;
	struct err e;
	int rc;

	if (prealloc < 0 || new_size(n, text, &to))
		return 1;
	if (to <= from && prealloc)
		return img_fail("Preallocation can only be used for growing images");
	if (to < from && !r->shrink) {
		img_fail("Use the --shrink option to perform a shrink operation.");
		img_warn("Shrinking an image will delete all data beyond the shrunken image's end. "
			 "Before performing such an operation, make sure there is no important "
			 "data there.");
		return 1;
	}
	rc = blk_node_truncate(n, to, &e);
	if (!rc && prealloc)
		rc = n->drv->image->preallocate(n, from, r->mode, &e);
	return rc ? img_error(&e) : 0;
}

int img_resize(int argc, char **argv)
{
	struct resize r = { .how = { .write = true } };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &r.how.format },
		{ 0, "image-opts", IMG_FLAG, &r.how.image_opts },
		{ 0, "preallocation", IMG_TEXT, &r.mode },
		{ 0, "shrink", IMG_FLAG, &r.shrink },
		{ 'q', "quiet", IMG_FLAG, &r.quiet },
		{ 0 },
	};
	const char *size = argc > 2 ? argv[argc - 1] : NULL;
	struct blk_node *n;
	int i, rc;

	/* The last word is the size: "-1G" is no option. */
	if (size)
		argv[--argc] = NULL;
	i = img_parse(argc, argv, opts);
	if (i < 0)
		return 1;
	if (!size)
		return img_misuse("Not enough arguments");
	if (argc - i != 1)
		return img_misuse("Expecting image file name and size");
	if (img_open(argv[i], &r.how, &n))
		return 1;
	rc = resize(&r, n, size);
	if (img_close(n))
		rc = 1;
	if (!rc && !r.quiet)
		printf("Image resized.\n");
	return rc;
}
