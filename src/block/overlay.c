/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot=on: a temporary qcow2 image in front of a drive's own, which is only read. The file has
 * no name from the beginning, so that nothing is left of it however the program ends. Main
 * thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "opts.h"

/* Where it goes, and what says so. */
struct place {
	const char *dir, *why;
};

static struct place find_place(void)
{
	const char *dir = getenv("TMPDIR");

	if (dir && *dir)
		return (struct place){ dir, "$TMPDIR" };
	return (struct place){ "/var/tmp", "TMPDIR is not set" };
}

static int no_overlay(const struct place *p, int code, struct err *e)
{
	err_set(e, ERR_HOST, code,
		"snapshot=on: cannot make the temporary overlay in '%s' (%s): %s", p->dir, p->why,
		strerror(code));
	err_hint(e, "set TMPDIR to a directory that can be written and has room for what the "
		    "guest writes");
	return -code;
}

/* -errno */
static int open_nameless(const struct place *p)
{
	int fd = open(p->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *name;

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	/* Its file system knows no such files. */
	if (asprintf(&name, "%s/posada.XXXXXX", p->dir) < 0)
		return -ENOMEM;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	else
		unlink(name);
	free(name);
	return fd;
}

/* What messages call it: it has no path. */
static int rename_nodes(struct blk_node *top, const struct blk_node *base, const struct place *p)
{
	for (struct blk_node *n = top; n; n = n->file) {
		char *text;

		if (asprintf(&text, "temporary overlay of %s in %s", base->filename, p->dir) < 0)
			return -ENOMEM;
		free(n->filename);
		n->filename = text;
	}
	return 0;
}

/* An empty image in the file `path`, and above it, with base (not taken over) behind. */
static int make(const char *path, struct blk_node *base, const struct blk_open *how,
		struct blk_node **out, struct err *e)
{
	const struct blk_driver *drv = blk_driver_find("qcow2");
	struct blk_create c = { .size = base->size, .how = how };
	struct opts o = { 0 };
	struct blk_node *file;
	int rc;

	if (!drv)
		return -ENOTSUP;
	rc = drv->image->create(path, &c, e);
	if (!rc)
		rc = blk_open_protocol(path, true, NULL, how, &file, e);
	if (rc)
		return rc;
	if (opts_add(&o, "backing", base->name)) {
		blk_node_close(file);
		return -ENOMEM;
	}
	rc = blk_node_open(drv, &o, how, file, out, e);
	opts_free(&o);
	return rc;
}

int blk_open_overlay(struct blk_node *base, const struct blk_open *how, struct blk_node **out,
		     struct err *e)
{
	struct place p = find_place();
	/* Nobody needs it after a power cut. */
	struct blk_open own = { .no_flush = true, .discard = how->discard, .loop = how->loop };
	int fd = open_nameless(&p), rc = fd < 0 ? fd : 0;
	char path[40];

	/* Native requests want O_DIRECT, which is of no use here. */
	own.aio = how->aio == BLK_AIO_NATIVE ? BLK_AIO_AUTO : how->aio;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!rc)
		rc = make(path, base, &own, out, e);
	if (!rc)
		rc = rename_nodes(*out, base, &p);
	else
		no_overlay(&p, -rc, e);
	if (fd >= 0)
		close(fd);
	blk_node_close(base); /* the overlay has it */
	return rc;
}
