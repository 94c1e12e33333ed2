/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img check. Exit status: 0 sound, 1 not checked, 2 corrupt, 3 leaks only, 63 no checks for
 * this format. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

enum { SOUND = 0, NOT_CHECKED = 1, CORRUPT = 2, LEAKY = 3, UNSUPPORTED = 63 };

struct check {
	struct img_how how;
	const char *repair;
	bool json, quiet;
};

static void say(void *ctx, const char *line)
{
	const struct check *c = ctx;

	if (!c->quiet)
		fprintf(stderr, "%s\n", line);
}

/* Those that are zero are left out, but for check-errors. */
static void set(json_t *o, const char *key, uint64_t n)
{
	if (n)
		json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void print_json(const struct blk_node *n, const struct blk_check *r)
{
	json_t *o = json_object();

	set(o, "image-end-offset", r->image_end_offset);
	set(o, "total-clusters", r->total_clusters);
	set(o, "corruptions", r->corruptions);
	set(o, "leaks", r->leaks);
	set(o, "corruptions-fixed", r->corruptions_fixed);
	set(o, "leaks-fixed", r->leaks_fixed);
	json_object_set_new(o, "check-errors", json_integer((json_int_t)r->check_errors));
	set(o, "allocated-clusters", r->allocated_clusters);
	set(o, "fragmented-clusters", r->fragmented_clusters);
	set(o, "compressed-clusters", r->compressed_clusters);
	json_object_set_new(o, "filename", json_string(n->filename));
	json_object_set_new(o, "format", json_string(n->drv->name));
	json_dumpf(o, stdout, JSON_INDENT(4));
	putchar('\n');
	json_decref(o);
}

static void print(const struct blk_check *r)
{
	if (!r->corruptions && !r->leaks && !r->check_errors)
		printf("No errors were found on the image.\n");
	if (r->corruptions)
		printf("\n%" PRIu64 " errors were found on the image.\nData may be corrupted, or "
		       "further writes to the image may corrupt it.\n",
		       r->corruptions);
	if (r->leaks)
		printf("\n%" PRIu64 " leaked clusters were found on the image.\nThis means waste "
		       "of disk space, but no harm to data.\n",
		       r->leaks);
	if (r->check_errors)
		printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
		       r->check_errors);
	if (r->total_clusters && r->allocated_clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
		       "compressed clusters\n",
		       r->allocated_clusters, r->total_clusters,
		       (double)r->allocated_clusters * 100 / (double)r->total_clusters,
		       (double)r->fragmented_clusters * 100 / (double)r->allocated_clusters,
		       (double)r->compressed_clusters * 100 / (double)r->allocated_clusters);
	if (r->image_end_offset)
		printf("Image end offset: %" PRIu64 "\n", r->image_end_offset);
}

static int run(const struct check *c, struct blk_node *n, unsigned fix, struct blk_check *r)
{
	struct err e;
	int rc;

	*r = (struct blk_check){ .say = say, .ctx = (void *)(uintptr_t)c };
	fflush(stdout);
	rc = n->drv->image->check(n, fix, r, &e);
	if (!rc)
		return 0;
	err_prefix(&e, "Check failed: ");
	img_error(&e);
	return rc;
}

static int check(const struct check *c, struct blk_node *n, unsigned fix)
{
	struct blk_check r, fixed = { 0 };

	if (run(c, n, fix, &r))
		return NOT_CHECKED;
	if (r.corruptions_fixed || r.leaks_fixed) {
		fixed = r;
		if (!c->json && !c->quiet)
			printf("The following inconsistencies were found and repaired:\n\n"
			       "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
			       "Double checking the fixed image now...\n",
			       r.leaks_fixed, r.corruptions_fixed);
		if (run(c, n, 0, &r))
			return NOT_CHECKED;
		r.corruptions_fixed = fixed.corruptions_fixed;
		r.leaks_fixed = fixed.leaks_fixed;
	}
	if (c->json)
		print_json(n, &r);
	else if (!c->quiet)
		print(&r);
	if (r.corruptions)
		return CORRUPT;
	if (r.leaks)
		return LEAKY;
	return r.check_errors ? NOT_CHECKED : SOUND;
}

static int repairs(const char *what, unsigned *fix)
{
	*fix = 0;
	if (!what)
		return 0;
	*fix = BLK_FIX_LEAKS;
	if (!strcmp(what, "all"))
		*fix |= BLK_FIX_ERRORS;
	else if (strcmp(what, "leaks") != 0)
		return img_misuse("Unknown option value for -r (expecting 'leaks' or 'all'): %s",
				  what);
	return 0;
}

int img_check(int argc, char **argv)
{
	struct check c = { .how = { .no_backing = true, .repair = true } };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &c.how.format },
		{ 0, "image-opts", IMG_FLAG, &c.how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &c.how.share },
		{ 'T', NULL, IMG_TEXT, &c.how.cache },
		{ 'r', "repair", IMG_TEXT, &c.repair },
		{ 0, "output", IMG_OUTPUT, &c.json },
		{ 'q', "quiet", IMG_FLAG, &c.quiet },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	struct blk_node *n;
	unsigned fix;
	int status;

	if (i < 0 || repairs(c.repair, &fix) || img_check_cache(c.how.cache))
		return NOT_CHECKED;
	if (argc - i != 1)
		return img_misuse("Expecting one image file name");
	c.how.write = fix;
	c.how.look = !fix;
	if (img_open(argv[i], &c.how, &n))
		return NOT_CHECKED;
	if (n->drv->image && n->drv->image->check) {
		status = check(&c, n, fix);
	} else {
		img_fail("This image format does not support checks");
		status = UNSUPPORTED;
	}
	return img_close(n) ? NOT_CHECKED : status;
}
