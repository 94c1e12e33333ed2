/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file in memory, for fuzz targets of image formats: a protocol driver of the name "file".
 * Include it in one source file, which lists mem_disk in its blk_drivers and no other
 * protocol; then nothing touches the host's files.
 *
 * Images are mostly holes, so inputs hold only what is not: a header of 8 bytes, the file's
 * size (le64); then records, each le32 sector of 512 bytes, le16 length, and as many bytes
 * of data, up to the end of the input. tests/fuzz/pack makes them of images.
 */
#ifndef POSADA_FUZZ_MEM_DISK_H
#define POSADA_FUZZ_MEM_DISK_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_int.h"
#include "err.h"
#include "opts.h"
#include "props.h"
#include "wire/le.h"

/* A write beyond either is -ENOSPC, as on a full disk. */
#define MEM_DISK_SIZE_MOST (1ull << 41)
#define MEM_DISK_BYTES_MOST (32ull << 20)

enum { MEM_PAGE = 4096, MEM_SLOTS = 4096, MEM_NODES = 8 };

struct mem_page {
	uint64_t number;
	struct mem_page *next;
	uint8_t data[MEM_PAGE];
};

/*
 * The one file there is; nodes share it. A name with '+' is the part from here on, so that
 * an image can have another as its extent or backing file; one with "none" is not there.
 */
#define MEM_DISK_SECOND (64u << 10)

static struct {
	uint64_t size, bytes;
	struct mem_page *slot[MEM_SLOTS];
	uint64_t requests; /* since the last load: a target can tell endless work */
	unsigned nodes; /* that are open: no more than MEM_NODES, however long the chain of files */
} mem_disk_file;

static struct mem_page *mem_disk_page(uint64_t number, bool make)
{
	struct mem_page **at = &mem_disk_file.slot[number % MEM_SLOTS];

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	if (*at || !make || mem_disk_file.bytes >= MEM_DISK_BYTES_MOST)
		return *at;
	*at = calloc(1, sizeof(**at));
	if (!*at)
		abort();
	(*at)->number = number;
	mem_disk_file.bytes += MEM_PAGE;
	return *at;
}

static inline void mem_disk_reset(void)
{
	for (unsigned i = 0; i < MEM_SLOTS; i++) {
		struct mem_page *p;

		while ((p = mem_disk_file.slot[i])) {
			mem_disk_file.slot[i] = p->next;
			free(p);
		}
	}
	mem_disk_file.size = mem_disk_file.bytes = mem_disk_file.requests = 0;
}

/* op READ or WRITE, or WRITE_ZEROES and DISCARD with buf NULL. */
static inline int mem_disk_copy(enum blk_op op, uint64_t off, uint8_t *buf, uint64_t len)
{
	while (len) {
		uint32_t in = (uint32_t)(off % MEM_PAGE);
		uint32_t part = len < MEM_PAGE - in ? (uint32_t)len : MEM_PAGE - in;
		struct mem_page *p = mem_disk_page(off / MEM_PAGE, op == BLK_WRITE);

		if (op == BLK_WRITE && !p)
			return -ENOSPC;
		if (op == BLK_WRITE)
			memcpy(p->data + in, buf, part);
		else if (op == BLK_READ && p)
			memcpy(buf, p->data + in, part);
		else if (op == BLK_READ)
			memset(buf, 0, part);
		else if (p)
			memset(p->data + in, 0, part);
		buf = buf ? buf + part : NULL;
		off += part;
		len -= part;
	}
	return 0;
}

/* Fills the file from an input; false when there is not even a size. */
static inline bool mem_disk_load(const uint8_t *data, size_t n)
{
	struct le64 size;

	mem_disk_reset();
	if (n < sizeof(size))
		return false;
	memcpy(&size, data, sizeof(size));
	mem_disk_file.size = le64_to_cpu(size) % MEM_DISK_SIZE_MOST;
	data += sizeof(size);
	n -= sizeof(size);
	while (n >= 6) {
		struct le32 sector;
		struct le16 len;
		uint64_t off, part;

		memcpy(&sector, data, 4);
		memcpy(&len, data + 4, 2);
		data += 6;
		n -= 6;
		off = (uint64_t)le32_to_cpu(sector) * 512;
		part = le16_to_cpu(len) < n ? le16_to_cpu(len) : n;
		if (off < mem_disk_file.size)
			mem_disk_copy(BLK_WRITE, off, (uint8_t *)(uintptr_t)data,
				      part < mem_disk_file.size - off ? part
								      : mem_disk_file.size - off);
		data += part;
		n -= part;
	}
	return true;
}

/* --- the driver ---------------------------------------------------------------------------- */

struct mem_disk {
	char *filename;
	uint64_t base; /* where in the file it begins */
	bool opened;
};

static const struct prop mem_disk_props[] = {
	PROP(struct mem_disk, filename, PROP_STR, "filename", NULL, "any name"),
	PROP_END,
};

static uint64_t mem_disk_size(const struct blk_node *n)
{
	uint64_t base = ((const struct mem_disk *)n->p)->base;

	return mem_disk_file.size > base ? mem_disk_file.size - base : 0;
}

static int mem_disk_open(struct blk_node *n, struct err *e)
{
	struct mem_disk *d = n->p;

	if (!d->filename)
		return err_set(e, ERR_USAGE, EINVAL, "filename= is missing");
	if (strstr(d->filename, "none"))
		return err_set(e, ERR_INPUT, ENOENT, "%s is not there", d->filename);
	if (mem_disk_file.nodes >= MEM_NODES)
		return err_set(e, ERR_HOST, EMFILE, "%s: too many files are open", d->filename);
	mem_disk_file.nodes++;
	d->opened = true;
	d->base = strchr(d->filename, '+') ? MEM_DISK_SECOND : 0;
	n->size = mem_disk_size(n);
	return 0;
}

static void mem_disk_close(struct blk_node *n)
{
	mem_disk_file.nodes -= ((struct mem_disk *)n->p)->opened;
}

static int mem_disk_write(const struct blk_node *n, const struct blk_io *io)
{
	uint64_t at = io->off + ((const struct mem_disk *)n->p)->base, end = at + io->len;
	int rc = 0;

	if (io->off > MEM_DISK_SIZE_MOST || io->len > MEM_DISK_SIZE_MOST - io->off)
		return -ENOSPC;
	for (unsigned i = 0; !rc && i < io->n_iov; i++) {
		rc = mem_disk_copy(io->op, at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	if (!io->n_iov)
		rc = mem_disk_copy(io->op, at, NULL, io->len);
	if (!rc && end > mem_disk_file.size)
		mem_disk_file.size = end;
	return rc;
}

static int mem_disk_read(const struct blk_node *n, const struct blk_io *io)
{
	uint64_t at = io->off + ((const struct mem_disk *)n->p)->base;
	size_t len = 0;

	for (unsigned i = 0; i < io->n_iov; i++)
		len += io->iov[i].iov_len;
	/* Whoever reads past the end, or with the wrong buffers, has not looked. */
	if (len != io->len || io->off > n->size || io->len > n->size - io->off)
		abort();
	for (unsigned i = 0; i < io->n_iov; i++) {
		mem_disk_copy(BLK_READ, at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return 0;
}

static void mem_disk_submit(struct blk_node *n, struct blk_io *io)
{
	int rc = 0;

	mem_disk_file.requests++;
	switch (io->op) {
	case BLK_READ:
		rc = mem_disk_read(n, io);
		break;
	case BLK_WRITE:
	case BLK_WRITE_ZEROES:
		rc = n->readonly ? -EROFS : mem_disk_write(n, io);
		n->size = mem_disk_size(n);
		break;
	case BLK_DISCARD:
		rc = io->off > n->size || io->len > n->size - io->off
			     ? -EIO
			     : mem_disk_copy(BLK_DISCARD, io->off + ((struct mem_disk *)n->p)->base,
					     NULL, io->len);
		break;
	default:
		break;
	}
	blk_io_done_later(io, rc);
}

static void mem_disk_poll(struct blk_node *n)
{
	blk_run_later();
}

static int mem_disk_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	size += ((struct mem_disk *)n->p)->base;
	if (size > MEM_DISK_SIZE_MOST)
		return err_set(e, ERR_INPUT, EFBIG, "%s: too large", n->filename);
	for (uint64_t at = size; at < mem_disk_file.size && at < size + MEM_PAGE; at++)
		mem_disk_copy(BLK_DISCARD, at, NULL, 1);
	for (unsigned i = 0; i < MEM_SLOTS; i++)
		for (struct mem_page *p = mem_disk_file.slot[i]; p; p = p->next)
			if (p->number * MEM_PAGE >= size)
				memset(p->data, 0, MEM_PAGE);
	mem_disk_file.size = size;
	n->size = mem_disk_size(n);
	return 0;
}

static const struct blk_driver mem_disk = {
	.name = "file",
	.desc = "memory",
	.protocol = true,
	.size = sizeof(struct mem_disk),
	.props = mem_disk_props,
	.open = mem_disk_open,
	.close = mem_disk_close,
	.submit = mem_disk_submit,
	.poll = mem_disk_poll,
	.truncate = mem_disk_truncate,
};

/* The node of the file, as the part of `file` of a format's node. */
static inline struct blk_node *mem_disk_node(const struct blk_open *how)
{
	struct opts o = { 0 };
	struct blk_node *n;
	struct err e;

	if (opts_add(&o, "filename", "mem/disk") || blk_node_open(&mem_disk, &o, how, NULL, &n, &e))
		abort();
	opts_free(&o);
	return n;
}

struct mem_disk_wait {
	struct blk_io io; /* first */
	bool done;
	int ret;
};

static inline void mem_disk_done(struct blk_io *io, int ret)
{
	struct mem_disk_wait *w = (struct mem_disk_wait *)io;

	w->ret = ret;
	w->done = true;
}

/* Any request, waiting for its end. */
static inline int mem_disk_run(struct blk_node *n, enum blk_op op, unsigned flags, uint64_t off,
			       uint64_t len, void *data)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct mem_disk_wait w = { .io = { .op = op,
					   .flags = flags,
					   .off = off,
					   .len = len,
					   .iov = &iov,
					   .n_iov = data ? 1 : 0,
					   .done = mem_disk_done } };

	blk_node_submit(n, &w.io);
	while (!w.done)
		blk_node_poll(n);
	return w.ret;
}

#endif
