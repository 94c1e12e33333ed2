/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues from the driver's side: split rings (virtio 1.2, section 2.7) and
 * packed rings (2.8), with indirect descriptors and event suppression.
 *
 * x86 keeps the order of stores and of loads, so a compiler barrier is enough
 * everywhere but where a store must be seen before a later load is done:
 * making a chain available, then looking whether the device wants a doorbell.
 */
#include "virtio.h"

static inline void barrier(void)
{
	asm volatile("" ::: "memory");
}
static inline void full_barrier(void)
{
	asm volatile("mfence" ::: "memory");
}

static void make_split(struct vq *q)
{
	/* The legacy layout, which suits all: descriptors, avail, and used from the next page on.
	 */
	uint64_t used_off = ((uint64_t)q->size * 18 + 6 + 4095) & ~4095ull;
	uint8_t *p = alloc(used_off + (uint64_t)q->size * 8 + 6, 4096);

	q->desc = (void *)p;
	q->avail = (void *)(p + q->size * 16);
	q->used = (void *)(p + used_off);
	q->used_event = (void *)&q->avail->ring[q->size];
	q->avail_event = (void *)&q->used->ring[q->size];
	q->place.desc = (uint64_t)q->desc;
	q->place.driver = (uint64_t)q->avail;
	q->place.device = (uint64_t)q->used;
}

static void make_packed(struct vq *q)
{
	q->ring = alloc(q->size * 16ull, 4096);
	q->driver = alloc(4, 4);
	q->device = alloc(4, 4);
	q->place.desc = (uint64_t)q->ring;
	q->place.driver = (uint64_t)q->driver;
	q->place.device = (uint64_t)q->device;
	q->avail_wrap = q->used_wrap = true;
}

/* Tells the device after which completion the next interrupt is due: the next one, or none. */
static void arm_interrupt(struct vq *q)
{
	bool poll = q->d->irq == VIRQ_POLL, event_idx = vdev_has(q->d, VF_EVENT_IDX);

	if (q->packed) {
		q->driver->off_wrap = (uint16_t)(q->next_used | q->used_wrap << 15);
		q->driver->flags = poll ? 1 : event_idx ? 2 : 0;
	} else if (event_idx) {
		*q->used_event = (uint16_t)(poll ? q->next_used - 1 : q->next_used);
	} else {
		q->avail->flags = poll;
	}
}

void vq_make(struct vdev *d, struct vq *q, unsigned index, uint16_t size)
{
	*q = (struct vq){ .d = d, .index = index, .size = size };
	q->packed = vdev_has(d, VF_PACKED);
	q->place.size = size;
	q->place.vector = VIRTIO_NO_VECTOR;
	if (d->irq == VIRQ_MSIX)
		q->place.vector =
			(uint16_t)(index + 1 < d->n_vectors ? index + 1 : d->n_vectors - 1);
	if (q->packed)
		make_packed(q);
	else
		make_split(q);
	q->n_free = size;
	q->ids = alloc(size * 2ull, 16);
	q->chain = alloc(size * 2ull, 16);
	q->token = alloc(size * 8ull, 16);
	if (vdev_has(d, VF_INDIRECT))
		q->indirect = alloc(size * 16ull * VQ_INDIRECT_MAX, 16);
	for (unsigned i = 0; i < size; i++)
		q->ids[i] = (uint16_t)(size - 1 - i);
	q->n_ids = size;
	arm_interrupt(q);
	d->vq[index] = q;
}

bool vq_setup(struct vdev *d, struct vq *q, unsigned index)
{
	uint16_t max = d->ops->queue_max(d, index);
	uint64_t size = arg_u64("qsize", max);

	if (!max)
		return false;
	/* Legacy PCI cannot tell the device a size of the driver's own. */
	if (!size || size > max || d->transport == VT_LEGACY)
		size = max;
	vq_make(d, q, index, (uint16_t)size);
	d->ops->queue_place(d, index, &q->place);
	return true;
}

static uint16_t desc_flags(unsigned i, unsigned n_out, unsigned n)
{
	return (uint16_t)((i >= n_out ? VD_WRITE : 0) | (i + 1 < n ? VD_NEXT : 0));
}

/* Fills an indirect table, and gives the one buffer that stands for it. */
static struct vbuf fill_indirect(struct vq *q, uint16_t id, const struct vbuf *b, unsigned n_out,
				 unsigned n)
{
	struct vdesc *t = q->indirect + (uint64_t)id * VQ_INDIRECT_MAX;

	for (unsigned i = 0; i < n; i++) {
		t[i].addr = b[i].addr;
		t[i].len = b[i].len;
		if (q->packed) { /* there: id, which is ignored; then flags, of which only WRITE
				    counts */
			t[i].flags = 0;
			t[i].next = i >= n_out ? VD_WRITE : 0;
		} else {
			t[i].flags = desc_flags(i, n_out, n);
			t[i].next = (uint16_t)(i + 1);
		}
	}
	return (struct vbuf){ (uint64_t)t, n * 16 };
}

/* Split: descriptors of a chain are taken from the ids, the first one being the head. */
static void add_split(struct vq *q, uint16_t head, const struct vbuf *b, unsigned n_out, unsigned n,
		      uint16_t flags)
{
	uint16_t at = head;

	for (unsigned i = 0; i < n; i++) {
		struct vdesc *t = &q->desc[at];

		t->addr = b[i].addr;
		t->len = b[i].len;
		t->flags = flags ? flags : desc_flags(i, n_out, n);
		if (i + 1 < n)
			at = t->next = q->ids[--q->n_ids];
	}
	q->avail->ring[q->next_avail % q->size] = head;
	barrier();
	q->avail->idx = ++q->next_avail;
}

/* Packed: the first descriptor's flags come last, as they make the whole chain available. */
static void add_packed(struct vq *q, uint16_t id, const struct vbuf *b, unsigned n_out, unsigned n,
		       uint16_t flags)
{
	volatile struct vpdesc *first = &q->ring[q->next_avail];
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		volatile struct vpdesc *t = &q->ring[q->next_avail];
		uint16_t f = flags ? flags : desc_flags(i, n_out, n);

		f |= q->avail_wrap ? VD_AVAIL : VD_USED;
		t->addr = b[i].addr;
		t->len = b[i].len;
		t->id = id;
		if (i)
			t->flags = f;
		else
			first_flags = f;
		if (++q->next_avail == q->size) {
			q->next_avail = 0;
			q->avail_wrap = !q->avail_wrap;
		}
	}
	barrier();
	first->flags = first_flags;
	q->since_kick += n;
}

bool vq_add(struct vq *q, const struct vbuf *b, unsigned n_out, unsigned n_in, uint64_t token)
{
	unsigned n = n_out + n_in;
	bool indirect = q->indirect && n > 1 && n <= VQ_INDIRECT_MAX;
	struct vbuf table;
	uint16_t id;

	if (!n || (indirect ? 1 : n) > q->n_free || !q->n_ids)
		return false;
	id = q->ids[--q->n_ids];
	q->token[id] = token;
	if (indirect) {
		table = fill_indirect(q, id, b, n_out, n);
		b = &table;
		n_out = n = 1;
	}
	q->chain[id] = (uint16_t)n;
	q->n_free -= n;
	(q->packed ? add_packed : add_split)(q, id, b, n_out, n, indirect ? VD_INDIRECT : 0);
	return true;
}

static bool wants_doorbell_split(struct vq *q)
{
	uint16_t event = *q->avail_event, now = q->next_avail, then = q->kicked;

	q->kicked = now;
	if (!vdev_has(q->d, VF_EVENT_IDX))
		return !(q->used->flags & 1);
	/* Section 2.7.10: the event lies among what was added since the last look. */
	return (uint16_t)(now - event - 1) < (uint16_t)(now - then);
}

static bool wants_doorbell_packed(struct vq *q)
{
	uint16_t flags = q->device->flags, off_wrap = q->device->off_wrap, n = q->since_kick;
	int event = off_wrap & 0x7fff;

	q->since_kick = 0;
	if (flags != 2)
		return flags == 0;
	/* Positions counted in this round: one of the round before is by the ring's size less. */
	if ((off_wrap >> 15) != q->avail_wrap)
		event -= q->size;
	return (uint16_t)(q->next_avail - event - 1) < n;
}

void vq_notify(struct vq *q)
{
	q->notified++;
	q->d->ops->notify(q->d, q->index);
}

void vq_kick(struct vq *q)
{
	full_barrier();
	if (q->packed ? wants_doorbell_packed(q) : wants_doorbell_split(q))
		vq_notify(q);
}

bool vq_ready(const struct vq *q)
{
	uint16_t flags;

	if (!q->packed)
		return q->used->idx != q->next_used;
	flags = q->ring[q->next_used].flags;
	return !(flags & VD_AVAIL) == !(flags & VD_USED) && !(flags & VD_USED) == !q->used_wrap;
}

/* Gives the descriptors of a split chain back; a head's are found by its chain. */
static void free_split(struct vq *q, uint16_t head)
{
	uint16_t at = head, n = q->chain[head];

	for (unsigned i = 0; i < n; i++) {
		uint16_t next = q->desc[at].next;

		q->ids[q->n_ids++] = at;
		at = next;
	}
}

static uint16_t get_split(struct vq *q, uint32_t *len)
{
	uint16_t slot = q->next_used % q->size;
	uint32_t id = q->used->ring[slot].id;

	*len = q->used->ring[slot].len;
	q->next_used++;
	if (id >= q->size || !q->chain[id]) {
		check(false, "queue %u: used id %u was not available", q->index, id);
		leave(EXIT_FAIL);
	}
	free_split(q, (uint16_t)id);
	return (uint16_t)id;
}

static uint16_t get_packed(struct vq *q, uint32_t *len)
{
	uint16_t id = q->ring[q->next_used].id;

	*len = q->ring[q->next_used].len;
	if (id >= q->size || !q->chain[id]) {
		check(false, "queue %u: used id %u was not available", q->index, id);
		leave(EXIT_FAIL);
	}
	q->next_used += q->chain[id];
	if (q->next_used >= q->size) {
		q->next_used -= q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->ids[q->n_ids++] = id;
	return id;
}

bool vq_get(struct vq *q, uint64_t *token, uint32_t *len)
{
	uint16_t id;

	if (!vq_ready(q))
		return false;
	barrier();
	id = q->packed ? get_packed(q, len) : get_split(q, len);
	*token = q->token[id];
	q->n_free += q->chain[id];
	q->chain[id] = 0;
	arm_interrupt(q);
	full_barrier(); /* before vq_ready() is asked whether there is more already */
	return true;
}
