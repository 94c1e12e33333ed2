/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file I/O of one loop: io_uring, Linux AIO (libaio), or a thread
 * pool. Requests that are queued in one round of the loop go to the kernel in one
 * batch (loop_defer); neighbours in a batch are merged. Engines are shared by
 * all files of a loop. Loop's thread only.
 */
#ifndef POSADA_AIO_H
#define POSADA_AIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "block_int.h"

struct aio;
struct err;
struct loop;

/* One operation on a host file; embedded in the file driver's own request. */
struct aio_req {
	enum blk_op op;
	int fd;
	uint64_t off, len;
	const struct iovec *iov;
	unsigned n_iov;
	bool fua; /* RWF_DSYNC */
	bool blkdev; /* fd is a block device: BLKDISCARD, BLKZEROOUT */
	bool unmap; /* WRITE_ZEROES: punch a hole rather than allocate */
	bool direct; /* fd is open with O_DIRECT */
	bool room_first; /* a long WRITE to the page cache: fallocate before */
	void (*done)(struct aio_req *r, int64_t ret); /* bytes done, or -errno; may be short */
	struct aio_req *next, *merged;
	int64_t ret;
};

/*
 * The engine of kind for loop l (NULL: for synchronous use through aio_poll
 * alone); the same one each time, counted. AUTO: io_uring, or threads where the kernel
 * has none or forbids it. NATIVE and IO_URING fail with the reason instead.
 * aio_get and aio_put: the main thread too.
 */
int aio_get(struct loop *l, enum blk_aio kind, bool direct, struct aio **out, struct err *e);
void aio_put(struct aio *a);
const char *
aio_name(const struct aio *a); /* "io_uring", "native", "threads"; "sync" without loop */

void aio_submit(struct aio *a, struct aio_req *r);
/* Sends what is queued, waits for at least one completion if any is in flight, runs callbacks. */
void aio_poll(struct aio *a);
unsigned aio_in_flight(const struct aio *a);

/*
 * Looks for completions without a system call: true when any callback ran. For a loop that
 * polls before it sleeps.
 */
bool aio_peek(struct aio *a);

#endif
