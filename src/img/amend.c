/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img amend: other values of the options that an image was made with. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

struct amend {
	struct img_how how;
	struct opts o;
	bool progress, quiet, force;
};

static int amend(struct amend *a, const char *name)
{
	const struct blk_amend how = { .force = a->force, .progress = img_progress };
	struct blk_node *n;
	struct err e;
	int rc;

	if (img_open(name, &a->how, &n))
		return 1;
	if (!n->drv->image || !n->drv->image->amend) {
		img_fail("Format driver '%s' does not support option amendment", n->drv->name);
		img_close(n);
		return 1;
	}
	img_progress_begin(a->progress && !a->quiet);
	rc = n->drv->image->amend(n, &a->o, &how, &e);
	if (!rc)
		rc = opts_check_used(&a->o, NULL, 0, &e);
	img_progress_end(!rc);
	if (rc)
		img_error(&e);
	return img_close(n) || rc ? 1 : 0;
}

static int help(const struct amend *a)
{
	const struct blk_driver *drv = img_format(a->how.format ? a->how.format : "raw");

	if (!drv)
		return 1;
	if (!drv->image || !drv->image->amend)
		return img_fail("Format driver '%s' does not support option amendment", drv->name);
	img_amend_help(drv);
	return 0;
}

int img_amend(int argc, char **argv)
{
	struct amend a = { .how = { .write = true } };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &a.how.format },
		{ 0, "image-opts", IMG_FLAG, &a.how.image_opts },
		{ 't', NULL, IMG_TEXT, &a.how.cache },
		{ 'o', NULL, IMG_LIST, &a.o },
		{ 'p', NULL, IMG_FLAG, &a.progress },
		{ 'q', "quiet", IMG_FLAG, &a.quiet },
		{ 0, "force", IMG_FLAG, &a.force },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	int rc = 1;

	if (i < 0 || img_check_cache(a.how.cache))
		rc = 1;
	else if (!a.o.n)
		img_misuse("Must specify options (-o)");
	else if (img_wants_help(&a.o))
		rc = help(&a);
	else if (argc - i != 1)
		img_misuse("Expecting one image file name");
	else
		rc = amend(&a, argv[i]);
	opts_free(&a.o);
	return rc;
}
