/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What virtqueue.c shares with the two kinds of ring. A queue's loop calls all of it.
 *
 * Memory order. The driver runs on other CPUs while we work. Two kinds of pair
 * keep it right, and each access below that is part of one names its partner:
 *
 * - Publication: one side writes an entry, then release-stores the index (or
 *   flags) that hands it over; the other acquire-loads that index, then reads
 *   the entry.
 * - Store, then look (Dekker): we publish and then read whether the driver wants
 *   an interrupt, while it asks for one and then reads what is published. One
 *   of the two must see the other's store, or the driver sleeps for ever. That
 *   takes a full barrier between store and load on both sides. Ours is a
 *   sequentially consistent store (an XCHG on x86) followed by such a load.
 */
#ifndef POSADA_HW_VIRTIO_VQ_H
#define POSADA_HW_VIRTIO_VQ_H

#include <errno.h>

#include "virtqueue.h"
#include "wire/virtio_ring.h"

struct vq_split {
	const struct virtq_desc *desc;
	const struct virtq_avail *avail;
	struct virtq_used *used;
	uint16_t avail_idx; /* avail->idx when we last looked */
	uint16_t next_avail; /* the entry that vq_pop takes next; runs freely, as avail->idx does */
	uint16_t next_used; /* the entry that vq_push writes next */
};

struct vq_packed {
	struct pvirtq_desc *desc;
	const struct pvirtq_event_suppress *driver;
	struct pvirtq_event_suppress *device;
	uint16_t next_avail, next_used; /* positions in the ring */
	bool avail_wrap, used_wrap; /* their wrap counters */
	/* What was pushed first since the last flush: its flags hand over all of them. */
	uint16_t first_used, first_flags;
	bool first_wrap;
};

/* A chain that was pushed before one that came earlier (IN_ORDER). */
struct vq_done {
	uint32_t len;
	uint16_t id, slots;
	bool done;
};

struct vq_ring {
	uint16_t size;
	bool muted; /* the driver was asked not to ring */
	bool notify_on_empty;
	unsigned outstanding; /* chains popped and not pushed */
	unsigned in_flight; /* ring entries of chains popped and not yet published */
	unsigned pending, pending_slots; /* chains, and their ring entries, put but not published */
	struct gmem_range hot; /* where the last buffer lay */
	union {
		struct vq_split split;
		struct vq_packed packed;
	};
	uint16_t next_seq; /* vq_chain.seq of the next chain popped: 0 to size - 1 */
	uint16_t oldest_seq; /* IN_ORDER: of the oldest chain that the driver has not got back */
	struct vq_done *done; /* IN_ORDER: by seq; else NULL */
	bool busy[]; /* by chain id: the device has it */
};

int vq_split_start(struct virtqueue *vq);
int vq_split_pop(struct virtqueue *vq, struct vq_chain *chain);
void vq_split_unpop(struct vq_ring *r);
void vq_split_put(struct vq_ring *r, uint16_t id, uint32_t len);
bool vq_split_publish(struct virtqueue *vq); /* whether the driver wants to know */
bool vq_split_enable_notify(struct virtqueue *vq);
void vq_split_disable_notify(struct virtqueue *vq);
bool vq_split_empty(const struct vq_ring *r);

int vq_packed_start(struct virtqueue *vq);
int vq_packed_pop(struct virtqueue *vq, struct vq_chain *chain);
void vq_packed_unpop(struct vq_ring *r, unsigned slots);
void vq_packed_put(struct vq_ring *r, uint16_t id, uint32_t len, unsigned slots);
bool vq_packed_publish(struct virtqueue *vq);
bool vq_packed_enable_notify(struct virtqueue *vq);
void vq_packed_disable_notify(struct virtqueue *vq);
bool vq_packed_empty(const struct vq_ring *r);

/* The driver broke `rule`. Returns -EPROTO. */
int vq_break(struct virtqueue *vq, const char *rule);
/* The rule broken by a chain of more ring entries than are free. */
int vq_break_too_long(struct virtqueue *vq);
/*
 * Host address of [addr, addr + len) within one RAM range, which it remembers.
 * NULL: none, and the queue is broken.
 */
void *vq_find_host(struct virtqueue *vq, uint64_t addr, uint64_t len, bool writable);
/* Host address of one of the ring's own areas, or NULL and the queue is broken. */
void *vq_map_area(struct virtqueue *vq, uint64_t addr, uint64_t len, unsigned align, bool writable);
/* The table of n descriptors of 16 bytes behind an indirect descriptor; NULL: broken. */
const void *vq_map_indirect(struct virtqueue *vq, uint64_t addr, uint32_t len, unsigned *n);

static inline void *vq_host(struct virtqueue *vq, uint64_t addr, uint32_t len, bool writable)
{
	const struct gmem_range *hot = &vq->ring->hot;
	uint64_t off = addr - hot->gpa;

	if (__builtin_expect(off < hot->size && len <= hot->size - off &&
				     !(writable && hot->readonly),
			     true))
		return hot->host + off;
	return vq_find_host(vq, addr, len, writable);
}

/* One buffer more in the chain. 0 or -EPROTO. */
static inline int vq_add_buffer(struct virtqueue *vq, struct vq_chain *c, uint64_t addr,
				uint32_t len, bool writable)
{
	unsigned n = c->n_out + c->n_in;
	void *host;

	if (!len)
		return vq_break(vq, "a buffer of no bytes");
	if (n >= c->max)
		return vq_break(vq, "more buffers in a chain than the device takes");
	if (len > UINT32_MAX - c->out_len - c->in_len)
		return vq_break(vq, "a chain of 4 GiB or more");
	if (c->n_in && !writable)
		return vq_break(vq, "a readable buffer after a writable one");
	host = vq_host(vq, addr, len, writable);
	if (!host)
		return -EPROTO;
	c->iov[n] = (struct iovec){ .iov_base = host, .iov_len = len };
	if (writable) {
		c->n_in++;
		c->in_len += len;
	} else {
		c->n_out++;
		c->out_len += len;
	}
	return 0;
}

/* Descriptor fields, each read exactly once. An indirect table may lie at any address. */
static inline uint16_t vq_once16(const struct le16 *p)
{
	return le16toh(((const volatile struct le16 *)p)->raw);
}

static inline uint32_t vq_once32(const struct le32 *p)
{
	return le32toh(((const volatile struct le32 *)p)->raw);
}

static inline uint64_t vq_once64(const struct le64 *p)
{
	return le64toh(((const volatile struct le64 *)p)->raw);
}

/* Fields that hand something over; vq_map_area has seen to their alignment. */
static inline uint16_t vq_load16(const struct le16 *p, int order)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, order));
}

static inline void vq_store16(struct le16 *p, uint16_t v, int order)
{
	__atomic_store_n((uint16_t *)(void *)p, htole16(v), order);
}

#endif
