/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit: what an image has of its own is written to its backing file, and the image is empty
 * then. The backing file's data are on stable storage before the image forgets its own:
 * whatever happens in between, the two together show the same disk. The node's thread,
 * nothing in flight, blocking.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "log.h"

enum { PIECE = 1 << 20, SECTOR = 512 };

/*
 * The backing file was taken for raw because nothing else was found in it. What a guest wrote
 * to its own sector 0 must not become the header of another format there.
 */
int blk_check_commit(struct blk_node *top, const struct blk_node *base, struct err *e)
{
	uint8_t sector[SECTOR] = { 0 };
	const char *format;
	int rc;

	if (top->size < SECTOR)
		return 0;
	rc = blk_node_pread(top, 0, sector, SECTOR);
	if (rc)
		return err_set(e, ERR_INPUT, -rc, "%s: cannot read its first sector: %s",
			       top->filename, strerror(-rc));
	format = blk_probe_buf(sector, SECTOR, top->size);
	if (!strcmp(format, "raw"))
		return 0;
	err_set(e, ERR_INPUT, EPERM,
		"the format of %s was not given, and raw was guessed: the first sector of %s "
		"would turn it into an image of format %s",
		base->filename, top->filename, format);
	err_hint(e, "record the format: posada-img rebase -u -b %s -F raw IMAGE", base->filename);
	return -EPERM;
}

static int write_zeroes(struct blk_node *base, uint64_t off, uint64_t len, void *buf)
{
	int rc = blk_node_zero(base, off, len, BLK_UNMAP);

	if (rc != -ENOTSUP)
		return rc;
	memset(buf, 0, PIECE);
	for (rc = 0; !rc && len;) {
		uint64_t n = len < PIECE ? len : PIECE;

		rc = blk_node_pwrite(base, off, buf, n);
		off += n;
		len -= n;
	}
	return rc;
}

/* Bytes from off on, of one kind; *done: how many that were. */
static int copy_piece(struct blk_node *top, struct blk_node *base, uint64_t off, void *buf,
		      uint64_t *done, struct err *e)
{
	const struct blk_node *at = top;
	unsigned flags;
	int rc = blk_node_status(top, off, top->size - off, done, &flags);

	if (rc || !(flags & BLK_ALLOCATED))
		goto out;
	if (flags & BLK_ZERO) {
		at = base;
		rc = write_zeroes(base, off, *done, buf);
		goto out;
	}
	if (*done > PIECE)
		*done = PIECE;
	rc = blk_node_pread(top, off, buf, *done);
	if (!rc) {
		at = base;
		rc = blk_node_pwrite(base, off, buf, *done);
	}
out:
	if (rc)
		err_set(e, ERR_HOST, -rc, "cannot %s %s at byte %" PRIu64 ": %s",
			at == top ? "read" : "write to", at->filename, off, strerror(-rc));
	return rc;
}

static int copy_all(struct blk_node *top, struct blk_node *base, struct err *e)
{
	uint64_t done;
	void *buf;
	int rc = 0;

	if (top->size > base->size)
		rc = blk_node_truncate(base, top->size, e);
	if (rc)
		return rc;
	if (posix_memalign(&buf, 4096, PIECE))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	for (uint64_t off = 0; !rc && off < top->size; off += done)
		rc = copy_piece(top, base, off, buf, &done, e);
	free(buf);
	if (rc)
		return rc;
	rc = blk_node_flush(base);
	if (rc)
		err_set(e, ERR_HOST, -rc, "cannot write all of %s to stable storage: %s",
			base->filename, strerror(-rc));
	return rc;
}

int blk_node_commit(struct blk_node *top, struct err *e)
{
	struct blk_node *base = top->backing;
	bool was_readonly;
	struct err end;
	int rc;

	if (!base) {
		err_set(e, ERR_USAGE, ENOTSUP, "%s has no backing file", top->filename);
		err_hint(e, "only what was written over a backing file, or with snapshot=on, can "
			    "be committed");
		return -ENOTSUP;
	}
	if (top->readonly)
		return err_set(e, ERR_USAGE, EROFS, "%s is open read-only", top->filename);
	rc = base->probed_raw ? blk_check_commit(top, base, e) : 0;
	if (rc)
		return rc;
	was_readonly = base->readonly;
	rc = blk_node_reopen(base, false, e);
	if (rc)
		return rc;
	rc = copy_all(top, base, e);
	if (!rc && top->drv->image && top->drv->image->make_empty)
		rc = top->drv->image->make_empty(top, e);
	if (was_readonly && blk_node_reopen(base, true, &end))
		log_warn("%s stays open for writing: %s", base->filename, end.msg);
	return rc;
}
