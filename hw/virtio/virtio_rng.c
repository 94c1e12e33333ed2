/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-rng, an entropy source (Virtual I/O Device specification 1.2, section
 * 5.4): fills the buffers of its one queue with the host's random bytes, as fast as
 * max-bytes= a period= allows. Runs on the device's loop.
 */
#include "virtio.h"

#include <errno.h>
#include <sys/random.h>

#include "err.h"
#include "machine.h"

enum {
	QUEUE_SIZE = 8,
	/* A buffer is filled up to here; the driver learns how far. Keeps a loop's turn short. */
	CHAIN_MOST = 65536,
	/* Chains served before others on the loop have their turn. */
	BATCH = 4,
};

struct virtio_rng {
	struct virtio_dev v;
	uint64_t max_bytes; /* properties */
	uint32_t period_ms;

	struct virtqueue *vq;
	uint64_t left; /* bytes of this period */
	struct loop_timer refill;
};

/* Random bytes into iov, at most len; returns how many. */
static uint32_t fill(const struct iovec *iov, unsigned n, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t want = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;
		size_t got = 0;

		while (got < want) {
			ssize_t rc = getrandom((char *)iov[i].iov_base + got, want - got, 0);

			if (rc < 0 && errno == EINTR)
				continue;
			/* The host's memory of a guest's buffer is there; nothing else fails. */
			if (rc <= 0)
				return (uint32_t)(done + got);
			got += (size_t)rc;
		}
		done += got;
	}
	return (uint32_t)done;
}

/* Serves up to BATCH chains. 1: there may be more, 0: none is left, or -EPROTO. */
static int serve(struct virtio_rng *r)
{
	struct iovec iov[VQ_MAX_IOV];
	int rc = 1;

	for (unsigned i = 0; i < BATCH && r->left; i++) {
		struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };
		uint32_t n;

		rc = vq_pop(r->vq, &c);
		if (rc <= 0)
			break;
		n = fill(iov + c.n_out, c.n_in, r->left < CHAIN_MOST ? r->left : CHAIN_MOST);
		r->left -= n;
		vq_push(r->vq, &c, n);
	}
	vq_flush(r->vq);
	return rc;
}

static void rng_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_rng *r = (struct virtio_rng *)v;
	int rc;

	vq_disable_notify(vq);
	rc = serve(r);
	/* The period begins with the first byte taken from it. */
	if (r->left < r->max_bytes && !r->refill.deadline)
		loop_timer_set(&r->refill, loop_now_ns() + r->period_ms * 1000000ull);
	if (rc < 0)
		virtio_broken(v, "queue %u: %s", vq->index, vq->broken);
	else if (r->left && (rc || vq_enable_notify(vq)))
		virtio_requeue(vq);
	/* With nothing left, refilled() goes on. */
}

static void refilled(void *ctx)
{
	struct virtio_rng *r = ctx;

	r->left = r->max_bytes;
	virtio_requeue(r->vq);
}

static void rng_start(struct virtio_dev *v)
{
	struct virtio_rng *r = (struct virtio_rng *)v;

	r->left = r->max_bytes;
}

static void rng_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_rng *r = (struct virtio_rng *)v;

	loop_timer_cancel(&r->refill);
}

static int rng_init(struct virtio_dev *v, struct err *e)
{
	struct virtio_rng *r = (struct virtio_rng *)v;

	loop_timer_init(&r->refill, v->loop, refilled, r);
	r->vq = virtio_add_queue(v, QUEUE_SIZE);
	return r->vq ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

static const struct virtio_type rng_type = {
	.name = "virtio-rng",
	.id = 4,
	.legacy_pci_id = 0x1005,
	.pci_class = 0x00ff00,
	.init = rng_init,
	.start = rng_start,
	.kick = rng_kick,
	.stop = rng_stop,
};

static const struct prop rng_props[] = {
	PROP_RANGE(struct virtio_rng, max_bytes, PROP_SIZE, "max-bytes", "9223372036854775807", 1,
		   INT64_MAX, "bytes that the guest may take in a period"),
	PROP_RANGE(struct virtio_rng, period_ms, PROP_U32, "period", "65536", 1, UINT32_MAX,
		   "milliseconds of a period"),
	PROP_END,
};

VIRTIO_DEVICE(virtio_rng, virtio_rng, "virtio-rng", "random numbers from the host", rng_type,
	      rng_props);
