/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the drivers `file` and `host_device` share. */
#ifndef POSADA_FILE_INT_H
#define POSADA_FILE_INT_H

#include "aio.h"
#include "block_int.h"

enum file_locking { FILE_LOCK_AUTO, FILE_LOCK_ON, FILE_LOCK_OFF };

/* A request in the hands of the driver. */
struct file_req {
	struct aio_req aio;
	struct file *f;
	struct blk_io *io;
	struct file_req *next, *prev; /* in one of the lists of struct file, or unused */
	/* the whole blocks that it touches */
	uint64_t start, end;
	bool rmw; /* writes a part of a block */
	bool extends; /* ends behind the end of the file */
	bool listed; /* in f->writes */
	/* through a buffer, piece by piece */
	char *buf;
	size_t buf_size; /* 0: none wanted */
	uint64_t pos; /* bytes of the request that are done */
	uint64_t piece, piece_end; /* whole blocks of the piece: offsets in the file */
	struct iovec iov;
};

struct file_list {
	struct file_req *first, **end;
};

struct file {
	/* properties */
	char *filename;
	int locking;

	struct blk_node *node;
	int fd;
	bool blkdev, direct;
	bool room_first; /* of struct aio_req */
	uint32_t align, mem_align; /* of O_DIRECT; else 1 */
	uint32_t sector; /* of a device; else 1 */
	struct aio *aio; /* the loop's, or idle */
	struct aio *idle; /* while there is no loop */

	unsigned in_flight; /* requests, waiting ones too */
	struct file_req *unused;
	/* kept for O_DIRECT with blocks: */
	struct file_req *writes; /* at the kernel */
	struct file_list waiting; /* for writes that overlap, or for buffers; oldest first */
	unsigned n_rmw; /* in both */
	uint64_t buffered; /* bytes of buffers */

	bool no_punch, no_zero_range, no_discard; /* what the host has refused once */
	int flush_error;
};

/* --- file_io.c --- */
void file_submit(struct blk_node *n, struct blk_io *io);
void file_io_init(struct file *f);
void file_io_free(struct file *f);

/* --- file_lock.c --- */
/* As established tools do. -EBUSY names the process that has the image. */
int file_lock(struct file *f, bool write, struct err *e);
void file_unlock(const struct file *f);

/* --- file_claim.c --- */
/* Of a device that refuses to be opened exclusively: says who has it. -EBUSY. */
int file_claimed(const struct file *f, struct err *e);

#endif
