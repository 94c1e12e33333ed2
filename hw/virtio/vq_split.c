/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueues: virtio 1.2, section 2.7. A table of descriptors, a ring of
 * chains that the driver makes available and a ring of those that we have used.
 * The queue's loop calls this.
 */
#include "vq.h"

#include "virtqueue.h"
#include "wire/virtio_ring.h"

int vq_split_start(struct virtqueue *vq)
{
	struct vq_split *s = &vq->ring->split;
	unsigned size = vq->size;

	s->desc = vq_map_area(vq, vq->desc, VIRTQ_DESC_BYTES(size), VIRTQ_DESC_ALIGN, false);
	s->avail = s->desc ? vq_map_area(vq, vq->driver, VIRTQ_AVAIL_BYTES(size), VIRTQ_AVAIL_ALIGN,
					 false)
			   : NULL;
	s->used = s->avail ? vq_map_area(vq, vq->device, VIRTQ_USED_BYTES(size), VIRTQ_USED_ALIGN,
					 true)
			   : NULL;
	return s->used ? 0 : -EINVAL;
}

/* Looks for more available entries: 1, 0 or -EPROTO. */
static int look(struct virtqueue *vq)
{
	struct vq_split *s = &vq->ring->split;
	/* Acquire: pairs with the driver's release of idx after the entries and descriptors. */
	uint16_t idx = vq_load16(&s->avail->idx, __ATOMIC_ACQUIRE);
	uint16_t waiting = idx - s->next_avail;

	if (waiting > vq->ring->size)
		return vq_break(vq, "the available index jumps by more than the queue's size");
	s->avail_idx = idx;
	return waiting != 0;
}

/* Follows the chain from table entry i, into an indirect table if it ends in one. */
static int walk(struct virtqueue *vq, struct vq_chain *chain, unsigned i)
{
	struct vq_ring *r = vq->ring;
	const struct virtq_desc *table = r->split.desc;
	unsigned n = r->size, room = r->size - r->in_flight, steps = 0;
	bool indirect = false;

	for (;;) {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
		int rc;

		if (i >= n)
			return vq_break(vq, "a descriptor's index beyond its table");
		if (steps == room)
			return indirect ? vq_break(vq, "a loop in an indirect table")
					: vq_break_too_long(vq);
		steps++;
		addr = vq_once64(&table[i].addr);
		len = vq_once32(&table[i].len);
		flags = vq_once16(&table[i].flags);
		if (flags & VIRTQ_DESC_F_INDIRECT) {
			if (indirect)
				return vq_break(vq, "an indirect table within an indirect table");
			if (flags & VIRTQ_DESC_F_NEXT)
				return vq_break(vq,
						"a chain that goes on after its indirect table");
			table = vq_map_indirect(vq, addr, len, &n);
			if (!table)
				return -EPROTO;
			chain->slots = steps;
			indirect = true;
			room = n;
			steps = i = 0;
			continue;
		}
		rc = vq_add_buffer(vq, chain, addr, len, flags & VIRTQ_DESC_F_WRITE);
		if (rc)
			return rc;
		if (!(flags & VIRTQ_DESC_F_NEXT))
			break;
		i = vq_once16(&table[i].next);
	}
	if (!indirect)
		chain->slots = steps;
	return 1;
}

int vq_split_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	struct vq_ring *r = vq->ring;
	struct vq_split *s = &r->split;
	uint16_t head;
	int rc;

	if (s->next_avail == s->avail_idx) {
		rc = look(vq);
		if (rc <= 0)
			return rc;
	}
	head = vq_once16(&s->avail->ring[s->next_avail & (r->size - 1)]);
	if (head >= r->size)
		return vq_break(vq, "an available chain's index beyond the table");
	if (r->busy[head])
		return vq_break(vq, "a chain made available again before it was used");
	chain->id = head;
	rc = walk(vq, chain, head);
	if (rc == 1)
		s->next_avail++;
	return rc;
}

void vq_split_unpop(struct vq_ring *r)
{
	r->split.next_avail--;
}

void vq_split_put(struct vq_ring *r, uint16_t id, uint32_t len)
{
	struct vq_split *s = &r->split;

	s->used->ring[s->next_used++ & (r->size - 1)] =
		(struct virtq_used_elem){ .id = cpu_to_le32(id), .len = cpu_to_le32(len) };
}

bool vq_split_publish(struct virtqueue *vq)
{
	struct vq_ring *r = vq->ring;
	struct vq_split *s = &r->split;
	uint16_t event;

	/*
	 * Releases the entries that vq_split_put wrote; pairs with the driver's
	 * acquire of used->idx. And a full barrier before the loads below: it
	 * pairs with the driver's, between asking for an interrupt and looking at
	 * used->idx once more.
	 */
	vq_store16(&s->used->idx, s->next_used, __ATOMIC_SEQ_CST);
	if (!vq->event_idx)
		return !(vq_load16(&s->avail->flags, __ATOMIC_SEQ_CST) &
			 VIRTQ_AVAIL_F_NO_INTERRUPT);
	/* 2.7.7: when entry number used_event is among those just published. */
	event = vq_load16(virtq_used_event(s->avail, r->size), __ATOMIC_SEQ_CST);
	return (uint16_t)(s->next_used - 1 - event) < r->pending;
}

bool vq_split_enable_notify(struct virtqueue *vq)
{
	struct vq_ring *r = vq->ring;
	struct vq_split *s = &r->split;

	/*
	 * A full barrier before we look: it pairs with the driver's, between
	 * making a chain available and looking whether we want to be told.
	 */
	if (vq->event_idx)
		vq_store16(virtq_avail_event(s->used, r->size), s->next_avail, __ATOMIC_SEQ_CST);
	else if (r->muted)
		vq_store16(&s->used->flags, 0, __ATOMIC_SEQ_CST);
	r->muted = false;
	return vq_load16(&s->avail->idx, __ATOMIC_SEQ_CST) != s->next_avail;
}

void vq_split_disable_notify(struct virtqueue *vq)
{
	struct vq_ring *r = vq->ring;

	/* With EVENT_IDX flags must be 0; avail_event falls behind by itself. */
	if (vq->event_idx || r->muted)
		return;
	vq_store16(&r->split.used->flags, VIRTQ_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	r->muted = true;
}

bool vq_split_empty(const struct vq_ring *r)
{
	const struct vq_split *s = &r->split;

	return s->next_avail == s->avail_idx &&
	       vq_load16(&s->avail->idx, __ATOMIC_RELAXED) == s->next_avail;
}
