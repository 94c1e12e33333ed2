/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues: the rings of virtio 1.2, split (section 2.7) and packed
 * (section 2.8), as the device works them.
 *
 * The ring lies in guest memory that the driver goes on writing. Everything is
 * copied once and the copy checked: a descriptor table index out of range, a
 * chain longer than the queue (a loop), a zero length, an address that wraps or
 * lies outside RAM, a readable descriptor after a writable one, an indirect
 * table within an indirect table or of a bad size, more outstanding than the queue holds:
 * each breaks the queue. A broken queue gives -EPROTO until it is reset, and says why in
 * vq->broken.
 *
 * All functions are for the queue's loop, except where noted. A device does:
 *
 *	vq_disable_notify(vq);
 *	do {
 *		while ((rc = vq_pop(vq, &chain)) > 0)
 *			... vq_push(vq, &chain, written), now or later ...
 *	} while (rc == 0 && vq_enable_notify(vq));
 *	vq_flush(vq);		(after the batch; once, not for each chain)
 */
#ifndef POSADA_VIRTQUEUE_H
#define POSADA_VIRTQUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "gmem.h"
#include "loop.h"

enum {
	VQ_MAX_SIZE = 32768,
	VQ_MAX_IOV = 1024, /* descriptors in a chain, indirect ones counted */
};

/* A chain of buffers; iov and max are the caller's, the rest is filled by vq_pop. */
struct vq_chain {
	struct iovec *iov; /* n_out readable ones, then n_in writable ones */
	unsigned max; /* entries that iov has room for; a longer chain breaks the queue */
	unsigned n_out, n_in;
	uint32_t out_len, in_len; /* bytes; more than 2^32 - 1 breaks the queue */
	uint16_t id; /* head's index (split) or buffer id (packed) */
	uint16_t slots; /* ring entries it took (packed) */
	uint16_t seq; /* position in the order of availability, for IN_ORDER */
};

struct virtqueue {
	/* set by the transport while the queue is off; dev.lock */
	unsigned index; /* number in its device */
	uint16_t max_size; /* what the device offers */
	uint16_t size; /* what the driver chose */
	uint64_t desc, driver, device; /* guest-physical: descriptor ring, avail, used */
	bool enabled;
	_Atomic uint16_t vector; /* MSI-X vector; VIRTIO_NO_VECTOR */
	int doorbell; /* eventfd, -1 */
	struct loop_fd watch;
	void *owner; /* the struct virtio_dev */

	/* set by vq_start */
	const struct gmem *mem;
	void (*notify)(struct virtqueue *vq); /* raises the used-buffer interrupt; any thread */
	bool packed, event_idx, in_order, indirect;
	bool started;
	bool polled; /* its loop looks at it all the time: nobody need ring */
	const char *broken; /* NULL, or the rule that the driver broke */
	struct vq_ring *ring; /* virtqueue.c's own */
};

/*
 * Checks the rings' place (alignment, in RAM, sizes; packed: any size up to
 * 32768, split: a power of two) and begins with empty state. -EINVAL with
 * vq->broken set; -ENOMEM likewise. features: as negotiated.
 */
int vq_start(struct virtqueue *vq, const struct gmem *mem, uint64_t features, bool legacy);
/* Forgets everything; outstanding chains must not be pushed any more. Idempotent. */
void vq_stop(struct virtqueue *vq);

/* 1: a chain; 0: none; -EPROTO: broken. */
int vq_pop(struct virtqueue *vq, struct vq_chain *chain);
/* Gives the last popped chain back as if it had not been popped. */
void vq_unpop(struct virtqueue *vq, const struct vq_chain *chain);
/*
 * The device is done with chain and wrote `written` bytes into it. Nothing is
 * visible to the driver before vq_flush.
 */
void vq_push(struct virtqueue *vq, const struct vq_chain *chain, uint32_t written);
/* Publishes what was pushed with one store, and interrupts if the driver asked for it. */
void vq_flush(struct virtqueue *vq);

/* Notification suppression: true when chains came in meanwhile (go on popping). */
bool vq_enable_notify(struct virtqueue *vq);
void vq_disable_notify(struct virtqueue *vq);
/* Whether a chain is waiting (a peek). */
bool vq_empty(struct virtqueue *vq);
/* Chains popped and not pushed. */
unsigned vq_outstanding(const struct virtqueue *vq);

#endif
