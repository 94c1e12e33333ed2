/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packed virtqueues: virtio 1.2, section 2.8. One ring of descriptors that the
 * driver makes available and we overwrite with used ones; each side has its
 * position in it, and a wrap counter that flips at the end of the ring. The
 * queue's loop calls this.
 */
#include "vq.h"

#include "virtqueue.h"
#include "wire/virtio_ring.h"

/* A descriptor's fields, copied once. */
struct copy {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

int vq_packed_start(struct virtqueue *vq)
{
	struct vq_packed *p = &vq->ring->packed;
	const unsigned event = sizeof(struct pvirtq_event_suppress);

	p->desc = vq_map_area(vq, vq->desc, PVIRTQ_DESC_BYTES(vq->size), PVIRTQ_DESC_ALIGN, true);
	p->driver = p->desc ? vq_map_area(vq, vq->driver, event, PVIRTQ_EVENT_ALIGN, false) : NULL;
	p->device = p->driver ? vq_map_area(vq, vq->device, event, PVIRTQ_EVENT_ALIGN, true) : NULL;
	p->avail_wrap = p->used_wrap = true;
	return p->device ? 0 : -EINVAL;
}

static void advance(uint16_t *pos, bool *wrap, unsigned slots, unsigned size)
{
	unsigned to = *pos + slots;

	if (to >= size) {
		to -= size;
		*wrap = !*wrap;
	}
	*pos = to;
}

static bool is_available(uint16_t flags, bool wrap)
{
	return !!(flags & PVIRTQ_DESC_F_AVAIL) == wrap && !!(flags & PVIRTQ_DESC_F_USED) != wrap;
}

static struct copy read_desc(const struct pvirtq_desc *d)
{
	return (struct copy){
		.addr = vq_once64(&d->addr),
		.len = vq_once32(&d->len),
		.id = vq_once16(&d->id),
		.flags = vq_once16(&d->flags),
	};
}

/* All entries of the table, in their order; but for WRITE they have no flags. */
static int add_table(struct virtqueue *vq, struct vq_chain *chain, uint64_t addr, uint32_t len)
{
	const struct pvirtq_desc *table;
	unsigned n;

	table = vq_map_indirect(vq, addr, len, &n);
	if (!table)
		return -EPROTO;
	for (unsigned i = 0; i < n; i++) {
		struct copy d = read_desc(&table[i]);
		int rc;

		if (d.flags & VIRTQ_DESC_F_INDIRECT)
			return vq_break(vq, "an indirect table within an indirect table");
		rc = vq_add_buffer(vq, chain, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
		if (rc)
			return rc;
	}
	return 0;
}

/* Follows the chain whose first descriptor is d, at position pos. 0 or -EPROTO. */
static int walk(struct virtqueue *vq, struct vq_chain *chain, unsigned pos, struct copy d)
{
	struct vq_ring *r = vq->ring;
	unsigned room = r->size - r->in_flight;
	int rc;

	for (chain->slots = 1;; chain->slots++) {
		if (chain->slots > room)
			return vq_break_too_long(vq);
		chain->id = d.id; /* the last one's counts */
		if (d.flags & VIRTQ_DESC_F_INDIRECT) {
			if (d.flags & VIRTQ_DESC_F_NEXT || chain->slots > 1)
				return vq_break(vq, "an indirect table in a list with others");
			return add_table(vq, chain, d.addr, d.len);
		}
		rc = vq_add_buffer(vq, chain, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
		if (rc || !(d.flags & VIRTQ_DESC_F_NEXT))
			return rc;
		if (++pos == r->size)
			pos = 0;
		d = read_desc(&r->packed.desc[pos]);
	}
}

int vq_packed_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	struct vq_ring *r = vq->ring;
	struct vq_packed *p = &r->packed;
	const struct pvirtq_desc *head = &p->desc[p->next_avail];
	struct copy d;
	int rc;

	/*
	 * Acquire: pairs with the driver's release of the first descriptor's
	 * flags, which it writes after the rest of the chain.
	 */
	d.flags = vq_load16(&head->flags, __ATOMIC_ACQUIRE);
	if (!is_available(d.flags, p->avail_wrap))
		return 0;
	d.addr = vq_once64(&head->addr);
	d.len = vq_once32(&head->len);
	d.id = vq_once16(&head->id);
	rc = walk(vq, chain, p->next_avail, d);
	if (rc)
		return rc;
	if (chain->id >= r->size)
		return vq_break(vq, "a buffer id beyond the queue's size");
	if (r->busy[chain->id])
		return vq_break(vq, "a buffer id made available again before it was used");
	advance(&p->next_avail, &p->avail_wrap, chain->slots, r->size);
	return 1;
}

void vq_packed_unpop(struct vq_ring *r, unsigned slots)
{
	struct vq_packed *p = &r->packed;

	/* Back is forward by a whole turn less, with the wrap counter as it was a turn ago. */
	if (p->next_avail < slots) {
		p->next_avail += r->size;
		p->avail_wrap = !p->avail_wrap;
	}
	p->next_avail -= slots;
}

void vq_packed_put(struct vq_ring *r, uint16_t id, uint32_t len, unsigned slots)
{
	struct vq_packed *p = &r->packed;
	struct pvirtq_desc *d = &p->desc[p->next_used];
	uint16_t flags = p->used_wrap ? PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0;

	if (len)
		flags |= VIRTQ_DESC_F_WRITE;
	d->id = cpu_to_le16(id);
	d->len = cpu_to_le32(len);
	/*
	 * The driver reads used descriptors in the ring's order, so that none
	 * shows before the first, whose flags vq_packed_publish stores.
	 */
	if (r->pending) {
		vq_store16(&d->flags, flags, __ATOMIC_RELAXED);
	} else {
		p->first_used = p->next_used;
		p->first_wrap = p->used_wrap;
		p->first_flags = flags;
	}
	advance(&p->next_used, &p->used_wrap, slots, r->size);
}

/* 2.8.10: whether position `event` (with its wrap counter) is among those just published. */
static bool event_passed(const struct vq_ring *r, uint16_t event)
{
	const struct vq_packed *p = &r->packed;
	bool wrap = event & PVIRTQ_EVENT_WRAP;
	int at = event & (PVIRTQ_EVENT_WRAP - 1), ahead;

	ahead = at - p->first_used + (wrap == p->first_wrap ? 0 : r->size);
	return ahead >= 0 && (unsigned)ahead < r->pending_slots;
}

bool vq_packed_publish(struct virtqueue *vq)
{
	struct vq_ring *r = vq->ring;
	struct vq_packed *p = &r->packed;
	uint16_t flags, event;

	/*
	 * Releases the descriptors that vq_packed_put wrote; pairs with the
	 * driver's acquire of these flags. And a full barrier before the loads
	 * below: it pairs with the driver's, between asking for an interrupt and
	 * looking at these flags once more.
	 */
	vq_store16(&p->desc[p->first_used].flags, p->first_flags, __ATOMIC_SEQ_CST);
	/* Flags before position: the driver writes them the other way round. */
	flags = vq_load16(&p->driver->flags, __ATOMIC_SEQ_CST) & PVIRTQ_EVENT_FLAGS_MASK;
	event = vq_load16(&p->driver->desc, __ATOMIC_RELAXED);
	if (flags == PVIRTQ_EVENT_DESC && vq->event_idx)
		return event_passed(r, event);
	return flags != PVIRTQ_EVENT_DISABLE;
}

bool vq_packed_enable_notify(struct virtqueue *vq)
{
	struct vq_packed *p = &vq->ring->packed;
	uint16_t event = p->next_avail | (p->avail_wrap ? PVIRTQ_EVENT_WRAP : 0);

	/* Position before flags; pairs with the driver, which reads them the other way round. */
	if (vq->event_idx)
		vq_store16(&p->device->desc, event, __ATOMIC_RELEASE);
	/*
	 * A full barrier before we look: it pairs with the driver's, between
	 * making a chain available and looking whether we want to be told.
	 */
	vq_store16(&p->device->flags, vq->event_idx ? PVIRTQ_EVENT_DESC : PVIRTQ_EVENT_ENABLE,
		   __ATOMIC_SEQ_CST);
	vq->ring->muted = false;
	return !vq_packed_empty(vq->ring);
}

void vq_packed_disable_notify(struct virtqueue *vq)
{
	struct vq_ring *r = vq->ring;

	if (r->muted)
		return;
	vq_store16(&r->packed.device->flags, PVIRTQ_EVENT_DISABLE, __ATOMIC_RELAXED);
	r->muted = true;
}

bool vq_packed_empty(const struct vq_ring *r)
{
	const struct vq_packed *p = &r->packed;
	uint16_t flags = vq_load16(&p->desc[p->next_avail].flags, __ATOMIC_SEQ_CST);

	return !is_available(flags, p->avail_wrap);
}
