/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img snapshot, and snapshots for other subcommands. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bitmaps.h"
#include "img.h"
#include "snapshots.h"

/* A name goes to a terminal: no control characters, whoever chose it. */
static void print_name(const char *name, int width)
{
	for (; *name; name++, width--)
		putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
	printf("%*s", width > 0 ? width : 0, "");
}

void img_print_snapshots(const struct blk_snapshot *list, size_t n)
{
	printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
	       "ICOUNT");
	for (size_t i = 0; i < n; i++) {
		const struct blk_snapshot *s = &list[i];
		time_t when = (time_t)s->date_s;
		uint64_t secs = s->vm_clock_ns / 1000000000;
		char size[32], date[64] = "", clock[64], icount[24] = "";
		struct tm tm;

		if (localtime_r(&when, &tm))
			strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
		snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02u:%02u.%03u", secs / 3600,
			 (unsigned)(secs / 60 % 60), (unsigned)(secs % 60),
			 (unsigned)(s->vm_clock_ns / 1000000 % 1000));
		if (s->have_icount)
			snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
		print_name(s->id, 9);
		putchar(' ');
		print_name(s->name, 16);
		printf(" %8s%20s%13s%11s\n", img_pretty(size, s->vm_state_size), date, clock,
		       icount);
	}
}

/* --- choosing one --- */

/* The snapshot with that id or name; NULL matches any, both NULL none. */
static const char *choose(const struct blk_snapshot *list, size_t n, const char *id,
			  const char *name)
{
	for (size_t i = 0; i < n; i++)
		if ((id || name) && (!id || !strcmp(list[i].id, id)) &&
		    (!name || !strcmp(list[i].name, name)))
			return list[i].id;
	return NULL;
}

static const char *choose_by(const struct blk_snapshot *list, size_t n, const char *param)
{
	const char *id;
	struct opts o;

	if (strncmp(param, "snapshot.", 9)) {
		id = choose(list, n, param, NULL);
		return id ? id : choose(list, n, NULL, param);
	}
	if (opts_parse(&o, param, NULL, NULL))
		return NULL;
	id = choose(list, n, opts_get(&o, "snapshot.id"), opts_get(&o, "snapshot.name"));
	opts_free(&o);
	return id;
}

int img_load_snapshot(struct blk_node *n, const char *param)
{
	const struct blk_image_ops *ops = n->drv->image;
	struct blk_snapshot *list = NULL;
	const char *id;
	size_t count = 0;
	struct err e;
	int rc;

	if (!ops || !ops->snap_list || !ops->snap_load) {
		img_fail("Failed to load snapshot: format %s has no snapshots", n->drv->name);
		return -ENOTSUP;
	}
	rc = ops->snap_list(n, &list, &count, &e);
	if (rc) {
		img_error(&e);
		return rc;
	}
	id = choose_by(list, count, param);
	if (id)
		rc = ops->snap_load(n, id, &e);
	else
		rc = err_set(&e, ERR_USAGE, ENOENT, "Can't find snapshot '%s' in %s", param,
			     n->filename);
	blk_snapshots_free(list, count);
	if (rc) {
		err_prefix(&e, "Failed to load snapshot: ");
		img_error(&e);
	}
	return rc;
}

/* --- the subcommand --- */

struct snapshot {
	struct img_how how;
	bool list, quiet;
	const char *apply, *create, *remove;
};

static int show(struct blk_node *n)
{
	struct blk_snapshot *list = NULL;
	size_t count = 0;
	struct err e;

	if (!n->drv->image || !n->drv->image->snap_list)
		return 0;
	if (n->drv->image->snap_list(n, &list, &count, &e))
		return img_error(&e);
	if (count) {
		printf("Snapshot list:\n");
		img_print_snapshots(list, count);
	}
	blk_snapshots_free(list, count);
	return 0;
}

static int change(struct blk_node *n, const char *verb, const char *name,
		  int (*op)(struct blk_node *n, const char *name, struct err *e))
{
	struct err e;
	int rc;

	if (op)
		rc = op(n, name, &e);
	else
		rc = err_set(&e, ERR_USAGE, ENOTSUP, "format %s has no snapshots", n->drv->name);
	if (!rc)
		return 0;
	err_prefix(&e, "Could not %s snapshot '%s': ", verb, name);
	return img_error(&e);
}

/* By its name only, as scripts expect; ids are for programs. */
static int remove_by_name(struct blk_node *n, const char *name, struct err *e)
{
	struct blk_snapshot *list = NULL;
	const char *id;
	size_t count = 0;
	int rc = n->drv->image->snap_list(n, &list, &count, e);

	if (rc)
		return rc;
	id = choose(list, count, NULL, name);
	rc = id ? n->drv->image->snap_delete(n, id, e)
		: err_set(e, ERR_USAGE, ENOENT, "%s has no snapshot of that name", n->filename);
	blk_snapshots_free(list, count);
	return rc;
}

static int act(const struct snapshot *s, struct blk_node *n)
{
	static const struct blk_image_ops none;
	const struct blk_image_ops *ops = n->drv->image ? n->drv->image : &none;

	if (s->create)
		return change(n, "create", s->create, ops->snap_create);
	if (s->apply && img_has_bitmaps(n))
		return img_fail("Could not apply snapshot '%s': Device has active dirty bitmaps",
				s->apply);
	if (s->apply)
		return change(n, "apply", s->apply, ops->snap_apply);
	if (s->remove)
		return change(n, "delete", s->remove, ops->snap_delete ? remove_by_name : NULL);
	return show(n);
}

int img_snapshot(int argc, char **argv)
{
	struct snapshot s = { .list = false };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &s.how.format },
		{ 0, "image-opts", IMG_FLAG, &s.how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &s.how.share },
		{ 'q', "quiet", IMG_FLAG, &s.quiet },
		{ 'l', "list", IMG_FLAG, &s.list },
		{ 'a', NULL, IMG_TEXT, &s.apply },
		{ 'c', NULL, IMG_TEXT, &s.create },
		{ 'd', NULL, IMG_TEXT, &s.remove },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	struct blk_node *n;
	int rc;

	if (i < 0)
		return 1;
	if (s.list + !!s.apply + !!s.create + !!s.remove > 1)
		return img_misuse("Cannot mix '-l', '-a', '-c', '-d'");
	if (argc - i != 1)
		return img_misuse("Expecting one image file name");
	s.how.write = s.apply || s.create || s.remove;
	s.how.look = s.how.no_data = !s.how.write;
	/* Applying may make the disk larger than its backing file; no data of that are needed. */
	if (img_open(argv[i], &s.how, &n))
		return 1;
	rc = act(&s, n);
	return img_close(n) ? 1 : rc;
}
