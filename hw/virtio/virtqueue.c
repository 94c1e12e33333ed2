/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues, what both kinds of ring have in common: see include/virtqueue.h.
 * Where the memory of rings and buffers lies on the host, what is outstanding,
 * the order of use, and the interrupt. The queue's loop calls this.
 *
 * The ring's areas are translated once, at the start: memory ranges do not
 * change while a guest runs.
 */
#include "virtqueue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "gmem.h"
#include "virtio.h"
#include "vq.h"

int vq_break(struct virtqueue *vq, const char *rule)
{
	vq->broken = rule;
	return -EPROTO;
}

int vq_break_too_long(struct virtqueue *vq)
{
	return vq_break(vq, vq->ring->in_flight ? "more descriptors outstanding than the queue has"
						: "a chain longer than the queue (a loop)");
}

void *vq_find_host(struct virtqueue *vq, uint64_t addr, uint64_t len, bool writable)
{
	uint64_t end;

	if (__builtin_add_overflow(addr, len - 1, &end)) {
		vq_break(vq, "an address that wraps around");
		return NULL;
	}
	for (unsigned i = 0; i < vq->mem->n; i++) {
		const struct gmem_range *range = &vq->mem->range[i];

		if (addr < range->gpa || end - range->gpa >= range->size)
			continue;
		if (writable && range->readonly) {
			vq_break(vq, "a writable address in read-only memory");
			return NULL;
		}
		vq->ring->hot = *range;
		return range->host + (addr - range->gpa);
	}
	vq_break(vq, "an address outside RAM");
	return NULL;
}

void *vq_map_area(struct virtqueue *vq, uint64_t addr, uint64_t len, unsigned align, bool writable)
{
	if (addr & (align - 1)) {
		vq_break(vq, "a ring that is not aligned");
		return NULL;
	}
	return vq_find_host(vq, addr, len, writable);
}

const void *vq_map_indirect(struct virtqueue *vq, uint64_t addr, uint32_t len, unsigned *n)
{
	const char *rule = NULL;

	if (!vq->indirect)
		rule = "an indirect table without the feature";
	else if (!len || len % sizeof(struct virtq_desc))
		rule = "an indirect table whose size is not a multiple of 16";
	else if (len > VQ_MAX_SIZE * sizeof(struct virtq_desc))
		rule = "an indirect table that is too big";
	if (rule) {
		vq_break(vq, rule);
		return NULL;
	}
	*n = len / sizeof(struct virtq_desc);
	return vq_host(vq, addr, len, false);
}

static const char *bad_size(const struct virtqueue *vq)
{
	if (!vq->size)
		return "a queue of size 0";
	if (vq->size > vq->max_size || vq->size > VQ_MAX_SIZE)
		return "a queue larger than the device offers";
	if (!vq->packed && vq->size & (vq->size - 1))
		return "a queue whose size is not a power of two";
	return NULL;
}

int vq_start(struct virtqueue *vq, const struct gmem *mem, uint64_t features, bool legacy)
{
	struct vq_ring *r;
	int rc;

	vq_stop(vq);
	vq->mem = mem;
	vq->packed = !legacy && features & VIRTIO_F(VIRTIO_F_RING_PACKED);
	vq->in_order = !legacy && features & VIRTIO_F(VIRTIO_F_IN_ORDER);
	vq->event_idx = features & VIRTIO_F(VIRTIO_F_EVENT_IDX);
	vq->indirect = features & VIRTIO_F(VIRTIO_F_INDIRECT_DESC);
	vq->broken = bad_size(vq);
	if (vq->broken)
		return -EINVAL;
	r = calloc(1, sizeof(*r) + vq->size * sizeof(r->busy[0]));
	if (r && vq->in_order)
		r->done = calloc(vq->size, sizeof(r->done[0]));
	if (!r || (vq->in_order && !r->done)) {
		free(r);
		vq->broken = "the host has no memory for the queue";
		return -ENOMEM;
	}
	r->size = vq->size;
	r->notify_on_empty = legacy && features & VIRTIO_F(VIRTIO_F_NOTIFY_ON_EMPTY);
	vq->ring = r;
	rc = vq->packed ? vq_packed_start(vq) : vq_split_start(vq);
	if (rc) {
		const char *rule = vq->broken;

		vq_stop(vq);
		vq->broken = rule;
		return rc;
	}
	vq->started = true;
	return 0;
}

void vq_stop(struct virtqueue *vq)
{
	if (vq->ring)
		free(vq->ring->done);
	free(vq->ring);
	vq->ring = NULL;
	vq->started = false;
	vq->broken = NULL;
}

static uint16_t next_seq(const struct vq_ring *r, uint16_t seq)
{
	return seq + 1 == r->size ? 0 : seq + 1;
}

int vq_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	struct vq_ring *r = vq->ring;
	int rc;

	if (vq->broken)
		return -EPROTO;
	if (!r)
		return 0;
	chain->n_out = chain->n_in = 0;
	chain->out_len = chain->in_len = 0;
	rc = vq->packed ? vq_packed_pop(vq, chain) : vq_split_pop(vq, chain);
	if (rc <= 0)
		return rc;
	r->busy[chain->id] = true;
	r->outstanding++;
	r->in_flight += chain->slots;
	chain->seq = r->next_seq;
	r->next_seq = next_seq(r, chain->seq);
	return 1;
}

void vq_unpop(struct virtqueue *vq, const struct vq_chain *chain)
{
	struct vq_ring *r = vq->ring;

	assert(r->busy[chain->id] && next_seq(r, chain->seq) == r->next_seq);
	if (vq->packed)
		vq_packed_unpop(r, chain->slots);
	else
		vq_split_unpop(r);
	r->busy[chain->id] = false;
	r->outstanding--;
	r->in_flight -= chain->slots;
	r->next_seq = chain->seq;
}

/* The next used element of the ring, not yet visible. */
static void put(struct virtqueue *vq, uint16_t id, uint32_t len, unsigned slots)
{
	struct vq_ring *r = vq->ring;

	if (vq->packed)
		vq_packed_put(r, id, len, slots);
	else
		vq_split_put(r, id, len);
	r->busy[id] = false;
	r->pending++;
	r->pending_slots += slots;
}

/* Keeps the chain until all that came before it have been pushed, too. */
static void push_in_order(struct virtqueue *vq, const struct vq_chain *chain, uint32_t written)
{
	struct vq_ring *r = vq->ring;
	struct vq_done *d = &r->done[chain->seq];

	assert(!d->done);
	*d = (struct vq_done){
		.id = chain->id, .slots = chain->slots, .len = written, .done = true
	};
	while ((d = &r->done[r->oldest_seq])->done) {
		put(vq, d->id, d->len, d->slots);
		d->done = false;
		r->oldest_seq = next_seq(r, r->oldest_seq);
	}
}

void vq_push(struct virtqueue *vq, const struct vq_chain *chain, uint32_t written)
{
	struct vq_ring *r = vq->ring;

	assert(r->busy[chain->id]);
	r->outstanding--;
	if (vq->in_order)
		push_in_order(vq, chain, written);
	else
		put(vq, chain->id, written, chain->slots);
}

void vq_flush(struct virtqueue *vq)
{
	struct vq_ring *r = vq->ring;
	bool wanted;

	if (!r || !r->pending)
		return;
	wanted = vq->packed ? vq_packed_publish(vq) : vq_split_publish(vq);
	r->in_flight -= r->pending_slots;
	r->pending = r->pending_slots = 0;
	if (wanted || (r->notify_on_empty && !r->in_flight && vq_empty(vq)))
		vq->notify(vq);
}

bool vq_enable_notify(struct virtqueue *vq)
{
	if (!vq->ring || vq->broken)
		return false;
	if (vq->polled)
		return !vq_empty(vq);
	return vq->packed ? vq_packed_enable_notify(vq) : vq_split_enable_notify(vq);
}

void vq_disable_notify(struct virtqueue *vq)
{
	if (!vq->ring)
		return;
	if (vq->packed)
		vq_packed_disable_notify(vq);
	else
		vq_split_disable_notify(vq);
}

bool vq_empty(struct virtqueue *vq)
{
	if (!vq->ring || vq->broken)
		return true;
	return vq->packed ? vq_packed_empty(vq->ring) : vq_split_empty(vq->ring);
}

unsigned vq_outstanding(const struct virtqueue *vq)
{
	return vq->ring ? vq->ring->outstanding : 0;
}
