/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What device types do with a queue on its loop, again and again. */
#ifndef POSADA_HW_VIRTIO_QUEUE_WORK_H
#define POSADA_HW_VIRTIO_QUEUE_WORK_H

#include "virtio.h"

static inline bool queue_runs(const struct virtio_dev *v, const struct virtqueue *vq)
{
	return v->running && vq->started && !vq->broken;
}

/*
 * Pops the next chain; when there is none, kick will be called for the next
 * one. False: none now, or the queue has ended.
 */
static inline bool queue_take(struct virtio_dev *v, struct virtqueue *vq, struct vq_chain *chain)
{
	int rc;

	if (!queue_runs(v, vq))
		return false;
	vq_disable_notify(vq);
	do
		rc = vq_pop(vq, chain);
	while (rc == 0 && vq_enable_notify(vq));
	if (rc < 0)
		virtio_broken(v, "queue %u: %s", vq->index, vq->broken);
	return rc > 0;
}

/* After a batch of vq_push. */
static inline void queue_flush(struct virtio_dev *v, struct virtqueue *vq)
{
	if (queue_runs(v, vq))
		vq_flush(vq);
}

#endif
