/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See mapped.h. A request that lies in one place goes on to the file as it is; others
 * are cut up by a coroutine of their own. Node's thread.
 */
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "co.h"
#include "co_io.h"
#include "err.h"
#include "internal.h"
#include "iov.h"
#include "log.h"

/* Blocks looked at for one answer. */
enum { RUN_MOST = 65536, SECTOR = 512 };

/* --- where a range lies ------------------------------------------------------------------- */

static bool continues(const struct mapping *m, const struct mapping *next)
{
	if (m->kind != next->kind)
		return false;
	return m->kind != MAP_DATA || (m->node == next->node && m->off + m->bytes == next->off);
}

/* Blocks that lie one after the other are one. */
static int map_run(struct blk_node *n, const struct mapped_ops *ops, uint64_t off, uint64_t len,
		   bool wait, struct mapping *m)
{
	struct mapping next;
	int rc = ops->map(n, off, len, wait, m);

	if (rc || m->kind == MAP_PACKED)
		return rc;
	for (unsigned i = 0; m->bytes < len && i < RUN_MOST; i++) {
		if (ops->map(n, off + m->bytes, len - m->bytes, false, &next) ||
		    !continues(m, &next))
			break;
		m->bytes += next.bytes;
	}
	return 0;
}

/* What is to be read of an image that was cut short is an error, not zeroes. */
static int in_file(struct mapping *m)
{
	if (m->kind != MAP_DATA)
		return 0;
	if (m->off >= m->node->size)
		return -EIO;
	if (m->bytes > m->node->size - m->off)
		m->bytes = m->node->size - m->off;
	return 0;
}

int mapped_status(struct blk_node *n, const struct mapped_ops *ops, uint64_t off, uint64_t len,
		  uint64_t *bytes, unsigned *flags)
{
	struct mapping m;
	unsigned below;
	int rc = map_run(n, ops, off, len, true, &m);

	if (!rc)
		rc = in_file(&m);
	if (rc)
		return rc;
	*bytes = m.bytes;
	*flags = m.kind == MAP_HOLE   ? BLK_ZERO
		 : m.kind == MAP_ZERO ? BLK_ZERO | BLK_ALLOCATED
				      : BLK_DATA | BLK_ALLOCATED;
	if (m.kind != MAP_DATA)
		return 0;
	rc = blk_node_status(m.node, m.off, m.bytes, bytes, &below);
	if (!rc && below & BLK_ZERO)
		*flags = BLK_ZERO | BLK_ALLOCATED;
	return rc;
}

/* --- entries that wait for a flush --- */

int mapped_dirty_add(struct mapped_dirty *d, uint32_t sector, uint32_t sectors)
{
	bool none = !mapped_dirty_any(d);

	if (!d->bits)
		d->bits = calloc(1, sectors / 8 + 1);
	if (!d->bits)
		return -ENOMEM;
	d->bits[sector / 8] |= (uint8_t)(1u << sector % 8);
	if (none || sector < d->from)
		d->from = sector;
	if (none || sector >= d->to)
		d->to = sector + 1;
	return 0;
}

static bool is_dirty(const struct mapped_dirty *d, uint32_t sector)
{
	return d->bits[sector / 8] & 1u << sector % 8;
}

int mapped_dirty_write(struct mapped_dirty *d, struct blk_node *file, uint64_t off,
		       const void *table)
{
	const uint8_t *bytes = table;

	while (d->from < d->to) {
		uint32_t first = d->from, end = first;
		int rc;

		while (end < d->to && is_dirty(d, end))
			end++;
		rc = end == first ? 0
				  : co_pwrite(file, off + (uint64_t)first * SECTOR,
					      bytes + (size_t)first * SECTOR,
					      (size_t)(end - first) * SECTOR, 0);
		if (rc)
			return rc;
		for (; first < end; first++)
			d->bits[first / 8] &= (uint8_t) ~(1u << first % 8);
		d->from = end == d->from ? end + 1 : end;
	}
	return 0;
}

int mapped_settle(struct blk_node *n, const struct mapped_ops *ops)
{
	int rc = ops->unsettled(n) ? ops->settle(n) : 0;

	if (rc)
		log_warn("%s: what was written last is lost: its tables cannot be written: %s",
			 n->filename, strerror(-rc));
	return rc;
}

/* --- requests --------------------------------------------------------------------------------- */

static void zero_iov(const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
}

static int read_part(struct blk_node *n, const struct mapped_ops *ops, struct mapping *m,
		     const struct iovec *iov, unsigned n_iov)
{
	switch (m->kind) {
	case MAP_DATA:
		return co_iov(m->node, BLK_READ, m->off, m->bytes, iov, n_iov, 0);
	case MAP_PACKED:
		return ops->unpack(n, m, iov, n_iov);
	default:
		zero_iov(iov, n_iov);
		return 0;
	}
}

static int write_part(struct blk_node *n, const struct mapped_ops *ops, struct mapping *m,
		      uint64_t off, const struct iovec *iov, unsigned n_iov, unsigned flags)
{
	if (m->kind == MAP_PACKED)
		return -ENOTSUP; /* it is written once */
	if (m->kind == MAP_DATA)
		return co_iov(m->node, BLK_WRITE, m->off, m->bytes, iov, n_iov, flags);
	return ops->allocate(n, off, m->bytes, iov, n_iov, flags);
}

/* How much of io, from `at` on, is done in one go. */
static int next_part(struct blk_node *n, const struct mapped_ops *ops, const struct blk_io *io,
		     uint64_t at, struct mapping *m)
{
	uint64_t off = io->off + at, in_block;
	int rc = map_run(n, ops, off, io->len - at, true, m);

	if (rc)
		return rc;
	if (io->op == BLK_READ)
		return in_file(m);
	if (m->kind == MAP_DATA && ops->begin_write && io->op != BLK_DISCARD)
		return ops->begin_write(n, off, true);
	if (io->op == BLK_WRITE && m->kind != MAP_DATA) {
		in_block = ops->block_size(n) - off % ops->block_size(n);
		if (m->bytes > in_block)
			m->bytes = in_block;
	}
	return 0;
}

static int do_part(struct blk_node *n, const struct mapped_ops *ops, const struct blk_io *io,
		   uint64_t at, struct mapping *m, struct iovec *iov)
{
	unsigned k;

	if (io->op == BLK_WRITE_ZEROES && m->kind == MAP_PACKED)
		return -ENOTSUP;
	if (io->op == BLK_WRITE_ZEROES)
		return m->kind == MAP_DATA ? co_zero(m->node, m->off, m->bytes, io->flags) : 0;
	if (io->op == BLK_DISCARD) /* the place is kept, and takes no room in the file */
		return m->kind == MAP_DATA ? co_discard(m->node, m->off, m->bytes) : 0;
	k = iov_slice(io->iov, io->n_iov, at, m->bytes, iov, io->n_iov);
	if (io->op == BLK_READ)
		return read_part(n, ops, m, iov, k);
	return write_part(n, ops, m, io->off + at, iov, k, io->flags);
}

/* What is to be durable at once may lie in a block whose entry is not. */
static bool wants_settling(const struct blk_node *n, const struct blk_io *io,
			   const struct mapped_ops *ops)
{
	return io->flags & BLK_FUA && io->op != BLK_READ && ops->unsettled && ops->unsettled(n);
}

/* A coroutine. */
static void run_flush(void *arg)
{
	struct blk_io *io = arg;
	const struct mapped_ops *ops = (const void *)(uintptr_t)io->scratch[0];

	blk_io_done_later(io, ops->settle(io->node));
}

/* A coroutine: io part by part. io->scratch[0] is the ops. */
static void run_parts(void *arg)
{
	struct blk_io *io = arg;
	const struct mapped_ops *ops = (const void *)(uintptr_t)io->scratch[0];
	struct blk_node *n = io->node;
	struct iovec *iov = malloc((io->n_iov + 1) * sizeof(*iov));
	int rc = iov ? 0 : -ENOMEM;
	struct mapping m;

	for (uint64_t at = 0; !rc && at < io->len; at += m.bytes) {
		rc = next_part(n, ops, io, at, &m);
		if (!rc)
			rc = do_part(n, ops, io, at, &m, iov);
	}
	free(iov);
	if (!rc && wants_settling(n, io, ops))
		rc = ops->settle(n);
	/* It may not have waited: we may still be inside submit. */
	blk_io_done_later(io, rc);
}

static void start(struct blk_io *io, const struct mapped_ops *ops, void (*run)(void *arg))
{
	struct co *co = co_create(run, io);

	io->scratch[0] = (uintptr_t)ops;
	if (co)
		co_enter(co);
	else
		blk_io_done_later(io, -ENOMEM);
}

static int refuse(const struct blk_node *n, const struct blk_io *io, const struct mapped_ops *ops)
{
	if (io->flags & BLK_COMPRESSED && !ops->compresses)
		return -ENOTSUP;
	if (io->op != BLK_READ && (n->readonly || !ops->allocate))
		return -EROFS;
	if (io->off > n->size || io->len > n->size - io->off)
		return -EIO;
	return 0;
}

void mapped_submit(struct blk_node *n, struct blk_io *io, const struct mapped_ops *ops)
{
	struct mapping m;
	int rc;

	if (io->op == BLK_FLUSH) {
		if (ops->unsettled && ops->unsettled(n))
			start(io, ops, run_flush);
		else
			blk_node_submit(n->file, io);
		return;
	}
	rc = refuse(n, io, ops);
	if (rc || !io->len) {
		blk_io_done_later(io, rc);
		return;
	}
	rc = map_run(n, ops, io->off, io->len, false, &m);
	if (!rc && io->op == BLK_READ)
		rc = in_file(&m);
	else if (!rc && m.kind == MAP_DATA && ops->begin_write && io->op != BLK_DISCARD)
		rc = ops->begin_write(n, io->off, false);
	if (rc && rc != -EAGAIN) {
		blk_io_done_later(io, rc);
	} else if (rc || m.bytes < io->len || m.kind == MAP_PACKED || wants_settling(n, io, ops)) {
		start(io, ops, run_parts);
	} else if (m.kind == MAP_DATA) {
		io->off = m.off;
		blk_node_submit(m.node, io);
	} else if (io->op == BLK_WRITE) {
		start(io, ops, run_parts);
	} else {
		if (io->op == BLK_READ)
			zero_iov(io->iov, io->n_iov);
		blk_io_done_later(io, 0);
	}
}

/* --- opening ---------------------------------------------------------------------------------- */

int mapped_read_only(struct blk_node *n, struct err *e)
{
	if (n->readonly)
		return 0;
	if (n->open.auto_readonly) {
		n->readonly = true;
		return 0;
	}
	err_set(e, ERR_USAGE, EROFS, "%s: images of format %s can be read, not written",
		n->filename, n->drv->name);
	err_hint(e, "add readonly=on, or convert it: posada-img convert -O qcow2 %s NEW",
		 n->filename);
	return -EROFS;
}

int mapped_bad(const struct blk_node *n, struct err *e, const char *field, uint64_t value,
	       const char *why)
{
	return err_set(e, ERR_INPUT, EINVAL, "%s: %s is %" PRIu64 ": %s", n->filename, field, value,
		       why);
}

int mapped_unsupported(const struct blk_node *n, struct err *e, const char *field, uint64_t value,
		       const char *why)
{
	return err_set(e, ERR_INPUT, ENOTSUP, "%s: %s is %" PRIu64 ": %s", n->filename, field,
		       value, why);
}

int mapped_read(struct blk_node *file, uint64_t off, void *buf, size_t len, const char *what,
		struct err *e)
{
	int rc;

	if (off > file->size || len > file->size - off)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: %s at offset %" PRIu64 " (%zu bytes) is beyond the end of the "
			       "file, which has %" PRIu64 " bytes",
			       file->filename, what, off, len, file->size);
	rc = blk_node_pread(file, off, buf, len);
	return rc ? err_set(e, ERR_INPUT, -rc, "%s: cannot read %s: %s", file->filename, what,
			    strerror(-rc))
		  : 0;
}

int mapped_read_table(struct blk_node *file, uint64_t off, uint64_t len, uint64_t room,
		      void **table, const char *what, struct err *e)
{
	int rc;

	if (len > MAPPED_TABLE_MOST || room > MAPPED_TABLE_MOST) {
		rc = err_set(e, ERR_INPUT, EFBIG,
			     "%s: %s has %" PRIu64 " bytes, more than the %u that are kept",
			     file->filename, what, len, MAPPED_TABLE_MOST);
		err_hint(e, "convert the image to qcow2");
		return rc;
	}
	if (off > file->size || len > file->size - off)
		return mapped_read(file, off, NULL, len, what, e);
	*table = calloc(1, room ? room : 1);
	if (!*table)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	return mapped_read(file, off, *table, len, what, e);
}

/* --- creating ----------------------------------------------------------------------------------
 */

int mapped_create_open(const char *filename, const struct blk_create *c, struct blk_node **file,
		       struct err *e)
{
	struct blk_open how = c->how ? *c->how : (struct blk_open){ .locking = true };
	int fd = open(filename, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

	if (fd < 0)
		return err_set(e, ERR_INPUT, errno, "cannot create '%s': %s", filename,
			       strerror(errno));
	close(fd);
	how.readonly = how.auto_readonly = false;
	return blk_open_protocol(filename, true, NULL, &how, file, e);
}

int mapped_create_file(const char *filename, uint64_t size, const struct blk_create *c,
		       struct blk_node **file, struct err *e)
{
	int rc = mapped_create_open(filename, c, file, e);

	if (rc)
		return rc;
	rc = blk_node_truncate(*file, 0, e);
	if (!rc)
		rc = blk_node_truncate(*file, size, e);
	if (rc)
		blk_node_close(*file);
	return rc;
}

int mapped_create_end(struct blk_node *file, int rc, struct err *e)
{
	if (!rc)
		rc = blk_node_flush(file);
	if (rc)
		err_set(e, ERR_INPUT, -rc, "cannot write '%s': %s", file->filename, strerror(-rc));
	blk_node_close(file);
	return rc;
}
