/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues as they lie in guest memory: virtio 1.2, sections 2.7 (split) and
 * 2.8 (packed).
 */
#ifndef POSADA_WIRE_VIRTIO_RING_H
#define POSADA_WIRE_VIRTIO_RING_H

#include <stddef.h>

#include "wire/le.h"

/* Flags of a descriptor of either kind, and those that only packed ones have. */
enum {
	VIRTQ_DESC_F_NEXT = 1 << 0,
	VIRTQ_DESC_F_WRITE = 1 << 1, /* used, packed: the device wrote something */
	VIRTQ_DESC_F_INDIRECT = 1 << 2,
	PVIRTQ_DESC_F_AVAIL = 1 << 7,
	PVIRTQ_DESC_F_USED = 1 << 15,
};

/* 2.7.5: the descriptor table, and an indirect table. */
struct virtq_desc {
	struct le64 addr;
	struct le32 len;
	struct le16 flags;
	struct le16 next;
};

enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1, VIRTQ_USED_F_NO_NOTIFY = 1 };

/* 2.7.6: written by the driver. ring has as many entries as the queue, then used_event. */
struct virtq_avail {
	struct le16 flags;
	struct le16 idx;
	struct le16 ring[];
};

struct virtq_used_elem {
	struct le32 id; /* the chain's first descriptor */
	struct le32 len; /* bytes written into it */
};

/* 2.7.8: written by the device. ring has as many entries as the queue, then avail_event. */
struct virtq_used {
	struct le16 flags;
	struct le16 idx;
	struct virtq_used_elem ring[];
};

/* Bytes of each part; the event fields always count, as in the specification's table. */
#define VIRTQ_DESC_BYTES(size) (16ul * (size))
#define VIRTQ_AVAIL_BYTES(size) (6ul + 2ul * (size))
#define VIRTQ_USED_BYTES(size) (6ul + 8ul * (size))
enum { VIRTQ_DESC_ALIGN = 16, VIRTQ_AVAIL_ALIGN = 2, VIRTQ_USED_ALIGN = 4 };

static inline struct le16 *virtq_used_event(const struct virtq_avail *a, unsigned size)
{
	return (struct le16 *)(uintptr_t)&a->ring[size];
}

static inline struct le16 *virtq_avail_event(const struct virtq_used *u, unsigned size)
{
	return (struct le16 *)(uintptr_t)&u->ring[size];
}

/* 2.8.13: written by both sides. */
struct pvirtq_desc {
	struct le64 addr;
	struct le32 len;
	struct le16 id;
	struct le16 flags;
};

enum { PVIRTQ_EVENT_ENABLE = 0, PVIRTQ_EVENT_DISABLE = 1, PVIRTQ_EVENT_DESC = 2 };
enum { PVIRTQ_EVENT_FLAGS_MASK = 3, PVIRTQ_EVENT_WRAP = 1 << 15 };

/* 2.8.14: one written by the driver, one by the device. */
struct pvirtq_event_suppress {
	struct le16 desc; /* position in the ring, and its wrap counter in bit 15 */
	struct le16 flags;
};

#define PVIRTQ_DESC_BYTES(size) (16ul * (size))
enum { PVIRTQ_DESC_ALIGN = 16, PVIRTQ_EVENT_ALIGN = 4 };

_Static_assert(sizeof(struct virtq_desc) == 16, "virtq_desc");
_Static_assert(offsetof(struct virtq_desc, next) == 14, "virtq_desc.next");
_Static_assert(sizeof(struct virtq_avail) == 4, "virtq_avail");
_Static_assert(sizeof(struct virtq_used_elem) == 8, "virtq_used_elem");
_Static_assert(sizeof(struct virtq_used) == 4, "virtq_used");
_Static_assert(sizeof(struct pvirtq_desc) == 16, "pvirtq_desc");
_Static_assert(offsetof(struct pvirtq_desc, flags) == 14, "pvirtq_desc.flags");
_Static_assert(sizeof(struct pvirtq_event_suppress) == 4, "pvirtq_event_suppress");

#endif
