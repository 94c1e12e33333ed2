/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block drivers for tests, and the table of drivers: `fake`, a disk in memory whose
 * requests wait for the test to complete them, fail, and come back in any order;
 * and `file`, the smallest driver of real files. Include it in one test_*.c.
 */
#ifndef POSADA_TEST_FAKE_DISK_H
#define POSADA_TEST_FAKE_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block.h"
#include "err.h"
#include "iov.h"
#include "opts.h"
#include "props.h"

enum { FAKE_LOG = 4096 };

/* What the next `fake` is to be like, and what happened to the last one. */
static struct {
	struct blk_limits lim;
	bool manual; /* requests wait for fake_complete, or a poll */
	unsigned unsupported; /* bit n: enum blk_op n is answered by -ENOTSUP */
	int (*decide)(const struct blk_io *io); /* their results; NULL: 0 */
	/* of the one that is open */
	struct blk_node *node;
	uint8_t *mem;
	struct blk_io *waiting[256];
	unsigned n_waiting;
	struct {
		enum blk_op op;
		unsigned flags, n_iov;
		uint64_t off, len;
	} log[FAKE_LOG];
	unsigned n_log;
	unsigned attached, detached, closed;
} fake_disk;

struct fake_props {
	uint64_t size;
	char *serial;
};

static const struct prop fake_disk_props[] = {
	PROP(struct fake_props, size, PROP_SIZE, "size", "1M", "bytes"),
	PROP(struct fake_props, serial, PROP_STR, "text", NULL, "any text"),
	PROP_END,
};

static int fake_open(struct blk_node *n, struct err *e)
{
	n->size = ((struct fake_props *)n->p)->size;
	n->lim = fake_disk.lim;
	fake_disk.node = n;
	fake_disk.mem = calloc(1, n->size + 1);
	fake_disk.n_waiting = fake_disk.n_log = 0;
	return fake_disk.mem ? 0 : -ENOMEM;
}

static void fake_close(struct blk_node *n)
{
	free(fake_disk.mem);
	fake_disk.mem = NULL;
	fake_disk.closed++;
}

/* Carries it out and gives its result. */
static int fake_carry_out(struct blk_io *io)
{
	int ret = fake_disk.decide ? fake_disk.decide(io) : 0;

	if (fake_disk.unsupported & 1u << io->op)
		return -ENOTSUP;
	if (ret)
		return ret;
	if (io->op == BLK_FLUSH)
		return 0;
	if (io->off + io->len > fake_disk.node->size)
		return -EIO;
	if (io->op == BLK_READ)
		iov_from_buf(io->iov, io->n_iov, 0, fake_disk.mem + io->off, io->len);
	else if (io->op == BLK_WRITE)
		iov_to_buf(io->iov, io->n_iov, 0, fake_disk.mem + io->off, io->len);
	else
		memset(fake_disk.mem + io->off, 0, io->len);
	return 0;
}

/* The request number i of those that wait. */
static inline void fake_complete(unsigned i)
{
	struct blk_io *io = fake_disk.waiting[i];
	int ret = fake_carry_out(io);

	fake_disk.n_waiting--;
	memmove(&fake_disk.waiting[i], &fake_disk.waiting[i + 1],
		(fake_disk.n_waiting - i) * sizeof(fake_disk.waiting[0]));
	io->done(io, ret);
}

static void fake_submit(struct blk_node *n, struct blk_io *io)
{
	unsigned at = fake_disk.n_log++ % FAKE_LOG;

	fake_disk.log[at].op = io->op;
	fake_disk.log[at].flags = io->flags;
	fake_disk.log[at].n_iov = io->n_iov;
	fake_disk.log[at].off = io->off;
	fake_disk.log[at].len = io->len;
	if (fake_disk.manual && fake_disk.n_waiting < 256)
		fake_disk.waiting[fake_disk.n_waiting++] = io;
	else
		blk_io_done_later(io, fake_carry_out(io));
}

static void fake_poll(struct blk_node *n)
{
	if (fake_disk.n_waiting)
		fake_complete(0);
}

static unsigned fake_in_flight(const struct blk_node *n)
{
	return fake_disk.n_waiting;
}

static int fake_attach(struct blk_node *n, struct loop *l, struct err *e)
{
	fake_disk.attached++;
	return 0;
}

static void fake_detach(struct blk_node *n)
{
	fake_disk.detached++;
}

static int fake_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	uint8_t *mem = realloc(fake_disk.mem, size + 1);

	if (!mem)
		return -ENOMEM;
	if (size > n->size)
		memset(mem + n->size, 0, size - n->size);
	fake_disk.mem = mem;
	n->size = size;
	return 0;
}

static const struct blk_driver fake_disk_driver = {
	.name = "fake",
	.desc = "a disk in memory",
	.protocol = true,
	.size = sizeof(struct fake_props),
	.props = fake_disk_props,
	.open = fake_open,
	.close = fake_close,
	.submit = fake_submit,
	.poll = fake_poll,
	.in_flight = fake_in_flight,
	.attach = fake_attach,
	.detach = fake_detach,
	.truncate = fake_truncate,
};

/* --- file: real files, blocking --- */

struct small_file {
	char *filename, *locking;
	int fd;
};

static const struct prop small_file_props[] = {
	PROP(struct small_file, filename, PROP_STR, "filename", NULL, "the file"),
	PROP(struct small_file, locking, PROP_STR, "locking", "auto", "auto, on or off"),
	PROP_END,
};

static int small_file_open(struct blk_node *n, struct err *e)
{
	struct small_file *f = n->p;
	struct flock lock = { .l_type = n->readonly ? F_RDLCK : F_WRLCK };
	struct stat st;

	if (!f->filename)
		return err_set(e, ERR_USAGE, EINVAL, "driver=file: filename= is missing");
	f->fd = open(f->filename, (n->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (f->fd < 0 && errno == EACCES && n->open.auto_readonly) {
		n->readonly = true;
		f->fd = open(f->filename, O_RDONLY | O_CLOEXEC);
	}
	if (f->fd < 0)
		return err_set(e, ERR_INPUT, errno, "cannot open '%s': %s", f->filename,
			       strerror(errno));
	fstat(f->fd, &st);
	n->size = (uint64_t)st.st_size;
	if (strcmp(f->locking, "off") != 0 && fcntl(f->fd, F_OFD_SETLK, &lock))
		return err_set(e, ERR_INPUT, EBUSY, "'%s' is locked by another process",
			       f->filename);
	return 0;
}

static void small_file_close(struct blk_node *n)
{
	struct small_file *f = n->p;

	if (f->fd > 0)
		close(f->fd);
}

static void small_file_submit(struct blk_node *n, struct blk_io *io)
{
	struct small_file *f = n->p;
	ssize_t got = (ssize_t)io->len;

	if (io->op == BLK_READ)
		got = preadv(f->fd, io->iov, (int)io->n_iov, (off_t)io->off);
	else if (io->op == BLK_WRITE)
		got = pwritev(f->fd, io->iov, (int)io->n_iov, (off_t)io->off);
	blk_io_done_later(io, got < 0 ? -errno : (uint64_t)got == io->len ? 0 : -EIO);
}

static int small_file_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	struct small_file *f = n->p;

	if (ftruncate(f->fd, (off_t)size))
		return err_set(e, ERR_INPUT, errno, "cannot resize '%s'", f->filename);
	n->size = size;
	return 0;
}

static const struct blk_driver small_file_driver = {
	.name = "file",
	.desc = "a file",
	.protocol = true,
	.size = sizeof(struct small_file),
	.props = small_file_props,
	.open = small_file_open,
	.close = small_file_close,
	.submit = small_file_submit,
	.truncate = small_file_truncate,
};

extern const struct blk_driver blk_raw, blk_blkdebug, blk_null_co, blk_null_aio;

const struct blk_driver *const blk_drivers[] = {
	&blk_raw,          &blk_blkdebug,      &blk_null_co, &blk_null_aio,
	&fake_disk_driver, &small_file_driver, NULL,
};

#endif
