/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img measure: how large a new image, or one converted from another, will be. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bitmaps.h"
#include "img.h"
#include "snapshots.h"

enum { NONE = -1 }; /* no bitmaps field */

struct measure {
	struct img_how how;
	const char *format, *snapshot;
	uint64_t size;
	struct opts o;
	bool json;
	struct img_new n;
};

/* Bytes that are neither zero nor another layer's to tell; in whole clusters of the new image. */
static int count_data(struct blk_node *src, uint64_t cluster, uint64_t *data)
{
	uint64_t counted = 0; /* up to here */
	struct img_below below = { 0 };
	struct img_place place;
	struct img_status s;

	*data = 0;
	for (uint64_t off = 0; off < src->size; off += s.bytes) {
		int rc = img_status_below(src, off, src->size - off, &below, &s, &place);
		uint64_t end;

		if (rc)
			return img_fail("%s: cannot find out what is at offset %" PRIu64 ": %s",
					src->filename, off, strerror(-rc));
		if (s.flags & BLK_ZERO)
			continue;
		end = (off + s.bytes + cluster - 1) / cluster * cluster;
		if (counted < off / cluster * cluster)
			counted = off / cluster * cluster;
		if (end > counted) {
			*data += end - counted;
			counted = end;
		}
	}
	return 0;
}

static uint64_t cluster_of(const struct img_new *n)
{
	char buf[64];
	const char *text = img_new_get(n, "cluster_size", buf);
	uint64_t size;

	return text && !parse_size(text, 1, &size, NULL) && size ? size : 512;
}

/* Whether images of both kinds may hold bitmaps, as those that convert --bitmaps copies. */
static bool may_have_bitmaps(const struct measure *m, const struct blk_node *src)
{
	const char *compat;
	char buf[64];

	if (!src || src->drv != m->n.drv || !img_may_have_bitmaps(src))
		return false;
	compat = img_new_get(&m->n, "compat", buf);
	return !compat || strcmp(compat, "0.10") != 0;
}

/* *bytes: -1 when there cannot be any. */
static int measure_bitmaps(const struct measure *m, struct blk_node *src, int64_t *bytes)
{
	uint64_t size;
	struct err e;

	*bytes = NONE;
	if (!may_have_bitmaps(m, src))
		return 0;
	if (src->drv->image->bitmap_measure(src, cluster_of(&m->n), &size, &e))
		return img_error(&e);
	*bytes = (int64_t)size;
	return 0;
}

static void print(const struct measure *m, uint64_t required, uint64_t full, int64_t bitmaps)
{
	if (m->json) {
		printf("{\n");
		if (bitmaps != NONE)
			printf("    \"bitmaps\": %" PRId64 ",\n", bitmaps);
		printf("    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n",
		       required, full);
		return;
	}
	printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", required, full);
	if (bitmaps != NONE)
		printf("bitmaps size: %" PRId64 "\n", bitmaps);
}

static int measure(struct measure *m, const struct blk_driver *drv, const char *name)
{
	struct blk_node *src = NULL;
	uint64_t data = 0, required, full;
	int64_t bitmaps;
	struct err e;
	int rc = 0;

	if (name && img_open(name, &m->how, &src))
		return 1;
	if (src && m->snapshot)
		rc = img_load_snapshot(src, m->snapshot);
	if (!rc && src) {
		m->n.c.size = src->size;
		rc = count_data(src, cluster_of(&m->n), &data);
	} else if (!rc && m->size != UINT64_MAX) {
		m->n.c.size = m->size;
	}
	m->n.c.backing = m->n.backing;
	if (!rc) {
		rc = drv->image->measure(&m->n.c, data, &required, &full, &e);
		if (rc)
			img_error(&e);
	}
	if (!rc)
		rc = measure_bitmaps(m, src, &bitmaps);
	if (!rc)
		print(m, required, full, bitmaps);
	if (src)
		blk_node_close(src);
	return rc ? 1 : 0;
}

static int run(struct measure *m, const char *name)
{
	const struct blk_driver *drv = img_format(m->format);

	if (!drv)
		return 1;
	if (img_wants_help(&m->o)) {
		img_options_help(drv, false);
		return 0;
	}
	if (!drv->image || !drv->image->measure)
		return img_fail("Block driver '%s' does not support size measurement", drv->name);
	return img_new_init(&m->n, drv, &m->o) ? 1 : measure(m, drv, name);
}

int img_measure(int argc, char **argv)
{
	struct measure m = { .how = { .look = true, .no_data = true },
			     .format = "raw",
			     .size = UINT64_MAX };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &m.how.format },
		{ 0, "image-opts", IMG_FLAG, &m.how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &m.how.share },
		{ 'O', NULL, IMG_TEXT, &m.format },
		{ 'o', NULL, IMG_LIST, &m.o },
		{ 'l', NULL, IMG_TEXT, &m.snapshot },
		{ 0, "size", IMG_SIZE, &m.size },
		{ 0, "output", IMG_OUTPUT, &m.json },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	int rc = 1;

	if (i < 0)
		return 1;
	if (argc - i > 1)
		img_fail("At most one filename argument is allowed.");
	else if (m.size != UINT64_MAX && i < argc)
		img_fail("--size N cannot be used together with a filename.");
	else if (m.size == UINT64_MAX && i == argc && !img_wants_help(&m.o))
		img_fail("Either --size N or one filename must be specified.");
	else
		rc = run(&m, argv[i]);
	img_new_free(&m.n);
	opts_free(&m.o);
	return rc;
}
