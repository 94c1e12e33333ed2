/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format raw: the bytes of the file are the bytes of the disk. offset= and size=
 * show a part of the file. Node's thread.
 *
 * Disks consist of sectors of 512 bytes; files need not. The disk of a file with
 * a part of a sector at its end is shown with all of it: what is beyond the
 * file's end reads as zeroes, and writing there makes the file longer.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "block_int.h"
#include "err.h"
#include "internal.h"
#include "iov.h"
#include "log.h"
#include "props.h"

enum { SECTOR = 512 };

struct raw {
	uint64_t offset, size; /* as given; size 0: to the end */
	uint64_t end; /* of what the file holds, counted from offset */
};

static const struct prop raw_props[] = {
	PROP(struct raw, offset, PROP_SIZE, "offset", "0", "where in the file the disk begins"),
	PROP(struct raw, size, PROP_SIZE, "size", NULL, "how much of the file is the disk"),
	PROP_END,
};

/* Lowest of all: what nobody else claims. */
static int raw_probe(const uint8_t *buf, size_t n, uint64_t size)
{
	return 1;
}

static uint64_t round_up(uint64_t n)
{
	return n > UINT64_MAX - SECTOR ? n / SECTOR * SECTOR : (n + SECTOR - 1) / SECTOR * SECTOR;
}

/* What the file has now. */
static int set_size(struct blk_node *n, struct err *e)
{
	struct raw *r = n->p;
	uint64_t have = n->file->size;

	if (r->offset > have) {
		err_set(e, ERR_USAGE, EINVAL,
			"offset=%" PRIu64 ": %s ends before that, at %" PRIu64, r->offset,
			n->filename, have);
		return -EINVAL;
	}
	have -= r->offset;
	if (r->size > have) {
		err_set(e, ERR_USAGE, EINVAL,
			"size=%" PRIu64 ": %s has only %" PRIu64 " bytes from offset %" PRIu64,
			r->size, n->filename, have, r->offset);
		return -EINVAL;
	}
	r->end = r->size ? r->size : have;
	n->size = round_up(r->end);
	return 0;
}

static int raw_open(struct blk_node *n, struct err *e)
{
	struct raw *r = n->p;
	int rc;

	if (r->size % SECTOR) {
		err_set(e, ERR_USAGE, EINVAL, "size=%" PRIu64 " is not a multiple of 512", r->size);
		err_hint(e, "%" PRIu64 " is", r->size / SECTOR * SECTOR);
		return -EINVAL;
	}
	rc = set_size(n, e);
	if (!rc && r->end % SECTOR)
		log_warn("%s: %" PRIu64 " bytes are not a multiple of 512; the disk is shown with "
			 "%" PRIu64 ", the rest reading as zeroes",
			 n->filename, r->end, n->size);
	return rc;
}

static int raw_refresh(struct blk_node *n, struct err *e)
{
	int rc = n->file->drv->refresh ? n->file->drv->refresh(n->file, e) : 0;

	return rc ? rc : set_size(n, e);
}

/* --- requests that touch the last sector of a file that ends inside it --- */

struct tail_io {
	struct blk_io io;
	struct blk_io *parent;
	struct blk_node *node;
	uint64_t end; /* of the request, on the disk */
	struct iovec iov[];
};

static void tail_done(struct blk_io *io, int ret)
{
	struct tail_io *t = container_of(io, struct tail_io, io);
	struct raw *r = t->node->p;
	struct blk_io *parent = t->parent;

	if (!ret && io->op == BLK_WRITE && t->end > r->end)
		r->end = t->end;
	free(t);
	parent->done(parent, ret);
}

static void zero_iov(const struct iovec *iov, unsigned n, uint64_t skip)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t part = iov[i].iov_len;

		if (skip < part)
			memset((char *)iov[i].iov_base + skip, 0, part - skip);
		skip -= skip < part ? skip : part;
	}
}

static void tail_submit(struct blk_node *n, struct blk_io *io)
{
	struct raw *r = n->p;
	/* How much of the request lies in the file. */
	uint64_t inside = io->off < r->end ? r->end - io->off : 0;
	struct tail_io *t;

	if (io->op == BLK_WRITE)
		inside = io->len;
	if (io->op == BLK_READ)
		zero_iov(io->iov, io->n_iov, inside);
	if (!inside) {
		blk_io_done_later(io, 0);
		return;
	}
	t = malloc(sizeof(*t) + io->n_iov * sizeof(t->iov[0]));
	if (!t) {
		blk_io_done_later(io, -ENOMEM);
		return;
	}
	t->parent = io;
	t->node = n;
	t->end = io->off + io->len;
	t->io = *io;
	t->io.done = tail_done;
	t->io.off += r->offset;
	t->io.len = inside;
	t->io.iov = t->iov;
	t->io.n_iov = iov_slice(io->iov, io->n_iov, 0, inside, t->iov, io->n_iov);
	blk_node_submit(n->file, &t->io);
}

static void raw_submit(struct blk_node *n, struct blk_io *io)
{
	struct raw *r = n->p;

	if (io->op != BLK_FLUSH) {
		if (io->off + io->len > r->end && r->end % SECTOR) {
			tail_submit(n, io);
			return;
		}
		io->off += r->offset;
	}
	blk_node_submit(n->file, io);
}

/* --- size and contents --- */

static int raw_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	struct raw *r = n->p;
	int rc;

	if (r->offset || r->size) {
		err_set(e, ERR_USAGE, ENOTSUP, "%s: a part of a file has no size of its own",
			n->filename);
		err_hint(e, "open it without offset= and size=");
		return -ENOTSUP;
	}
	rc = blk_node_truncate(n->file, size, e);
	return rc ? rc : set_size(n, e);
}

static int raw_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		      unsigned *flags)
{
	struct raw *r = n->p;

	if (off >= r->end) {
		*bytes = len;
		*flags = BLK_ZERO | BLK_ALLOCATED;
		return 0;
	}
	return blk_node_status(n->file, off + r->offset, len < r->end - off ? len : r->end - off,
			       bytes, flags);
}

static bool raw_place(struct blk_node *n, uint64_t off, uint64_t *at)
{
	*at = off + ((struct raw *)n->p)->offset;
	return true;
}

/* --- making images --- */

enum prealloc { PREALLOC_OFF, PREALLOC_FALLOC, PREALLOC_FULL };

struct raw_create {
	int prealloc;
	bool nocow;
	uint64_t extent_hint;
};

static const char *const prealloc_choices[] = { "off", "falloc", "full", NULL };

static const struct prop create_props[] = {
	PROP(struct raw_create, extent_hint, PROP_SIZE, "extent_size_hint", NULL,
	     "Extent size hint for the image file, 0 to disable"),
	PROP(struct raw_create, nocow, PROP_BOOL, "nocow", NULL,
	     "Turn off copy-on-write (valid only on btrfs)"),
	PROP_CHOICE(struct raw_create, prealloc, "preallocation", "off", prealloc_choices,
		    "Preallocation mode (allowed values: off, falloc, full)"),
	PROP_END,
};

static int host_error(struct err *e, int code, const char *what, const char *filename)
{
	err_set(e, ERR_HOST, code, "cannot %s '%s': %s", what, filename, strerror(code));
	if (code == ENOSPC)
		err_hint(e, "free some room on its file system, or preallocate nothing");
	return -code;
}

/* Zeroes, for every block of the file system to be there. */
static int write_out(int fd, uint64_t from, uint64_t end)
{
	static const char zeroes[256 << 10];

	while (from < end) {
		uint64_t len = end - from < sizeof(zeroes) ? end - from : sizeof(zeroes);
		ssize_t done = pwrite(fd, zeroes, len, (off_t)from);

		if (done < 0 && errno != EINTR)
			return errno;
		from += done > 0 ? (uint64_t)done : 0;
	}
	return fsync(fd) ? errno : 0;
}

/* By a descriptor of its own: the node goes on with the size that it has. */
static int make_room(const char *filename, uint64_t from, uint64_t end, enum prealloc mode,
		     struct err *e)
{
	int fd, code = 0;

	if (mode == PREALLOC_OFF || from >= end)
		return 0;
	fd = open(filename, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return host_error(e, errno, "open", filename);
	if (mode == PREALLOC_FALLOC)
		code = posix_fallocate(fd, (off_t)from, (off_t)(end - from));
	else
		code = write_out(fd, from, end);
	close(fd);
	return code ? host_error(e, code, "preallocate", filename) : 0;
}

static int raw_preallocate(struct blk_node *n, uint64_t from, const char *mode, struct err *e)
{
	for (int i = 0; prealloc_choices[i]; i++)
		if (!strcmp(prealloc_choices[i], mode))
			return make_room(n->filename, from, n->size, (enum prealloc)i, e);
	err_set(e, ERR_USAGE, EINVAL, "Unsupported preallocation mode: %s", mode);
	err_hint(e, "raw images know off, falloc and full");
	return -EINVAL;
}

/* An attribute of a file that holds nothing yet; only btrfs has it. */
static void set_nocow(const char *filename)
{
	int fd = open(filename, O_RDONLY | O_CLOEXEC);
	int flags;

	if (fd < 0)
		return;
	if (!ioctl(fd, FS_IOC_GETFLAGS, &flags)) {
		flags |= FS_NOCOW_FL;
		if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
			log_warn("%s: nocow=on has no effect on this file system", filename);
	}
	close(fd);
}

/* So that it can be opened, which locks it before anything is changed. */
static int make_file(const char *filename, bool *made, struct err *e)
{
	int fd = open(filename, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	int code = errno;

	*made = fd >= 0;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || code == EEXIST)
		return 0;
	err_set(e, ERR_INPUT, code, "Could not create '%s': %s", filename, strerror(code));
	if (code == ENOENT)
		err_hint(e, "its directory does not exist");
	return -code;
}

static int fill(struct blk_node *file, const struct blk_create *c, struct err *e)
{
	const struct raw_create *o = c->opts;
	int rc;

	if (!strcmp(file->drv->name, "file"))
		rc = blk_node_truncate(file, 0, e);
	else
		rc = 0;
	if (!rc && o->nocow)
		set_nocow(file->filename);
	if (!rc)
		rc = blk_node_truncate(file, c->size, e);
	if (!rc)
		rc = make_room(file->filename, 0, c->size, (enum prealloc)o->prealloc, e);
	return rc;
}

static int raw_create(const char *filename, const struct blk_create *c, struct err *e)
{
	struct blk_open how = *c->how;
	struct blk_node *file;
	bool made = false;
	int rc = 0;

	if (!strncmp(filename, "file:", 5))
		filename += 5;
	if (filename[strcspn(filename, ":/")] != ':')
		rc = make_file(filename, &made, e);
	how.readonly = false;
	if (!rc)
		rc = blk_open_protocol(filename, false, NULL, &how, &file, e);
	if (rc)
		return rc;
	rc = fill(file, c, e);
	blk_node_close(file);
	if (rc && made)
		unlink(filename);
	return rc;
}

static int raw_measure(const struct blk_create *c, uint64_t data, uint64_t *required,
		       uint64_t *fully_allocated, struct err *e)
{
	*required = *fully_allocated = round_up(c->size);
	return 0;
}

static const struct blk_image_ops raw_image = {
	.create_props = create_props,
	.create_size = sizeof(struct raw_create),
	.create = raw_create,
	.measure = raw_measure,
	.preallocate = raw_preallocate,
};

const struct blk_driver blk_raw = {
	.name = "raw",
	.desc = "the bytes of the file are the bytes of the disk",
	.size = sizeof(struct raw),
	.props = raw_props,
	.probe = raw_probe,
	.open = raw_open,
	.submit = raw_submit,
	.refresh = raw_refresh,
	.truncate = raw_truncate,
	.reopen = blk_reopen_nothing,
	.status = raw_status,
	.place = raw_place,
	.image = &raw_image,
};
