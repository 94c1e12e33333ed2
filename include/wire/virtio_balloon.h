/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The traditional memory balloon as the driver sees it: virtio 1.2, section 5.5. */
#ifndef POSADA_WIRE_VIRTIO_BALLOON_H
#define POSADA_WIRE_VIRTIO_BALLOON_H

#include <stddef.h>

#include "wire/le.h"

enum {
	VIRTIO_BALLOON_F_MUST_TELL_HOST = 0,
	VIRTIO_BALLOON_F_STATS_VQ = 1,
	VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2,
	VIRTIO_BALLOON_F_FREE_PAGE_HINT = 3,
	VIRTIO_BALLOON_F_PAGE_POISON = 4,
	VIRTIO_BALLOON_F_PAGE_REPORTING = 5,
};

enum { VIRTIO_BALLOON_PFN_SHIFT = 12 }; /* whatever the guest's page size */

/* Values of free_page_hint_cmd_id; others are rounds of hinting. */
enum { VIRTIO_BALLOON_CMD_ID_STOP = 0, VIRTIO_BALLOON_CMD_ID_DONE = 1 };

struct virtio_balloon_config {
	struct le32 num_pages;
	struct le32 actual; /* written by the driver */
	struct le32 free_page_hint_cmd_id;
	struct le32 poison_val; /* written by the driver */
};

/* Tags up to 9 are of virtio 1.2; 10 to 15 came later (Linux 6.12). */
enum virtio_balloon_tag {
	VIRTIO_BALLOON_S_SWAP_IN = 0,
	VIRTIO_BALLOON_S_SWAP_OUT = 1,
	VIRTIO_BALLOON_S_MAJFLT = 2,
	VIRTIO_BALLOON_S_MINFLT = 3,
	VIRTIO_BALLOON_S_MEMFREE = 4,
	VIRTIO_BALLOON_S_MEMTOT = 5,
	VIRTIO_BALLOON_S_AVAIL = 6,
	VIRTIO_BALLOON_S_CACHES = 7,
	VIRTIO_BALLOON_S_HTLB_PGALLOC = 8,
	VIRTIO_BALLOON_S_HTLB_PGFAIL = 9,
	VIRTIO_BALLOON_S_OOM_KILL = 10,
	VIRTIO_BALLOON_S_ALLOC_STALL = 11,
	VIRTIO_BALLOON_S_ASYNC_SCAN = 12,
	VIRTIO_BALLOON_S_DIRECT_SCAN = 13,
	VIRTIO_BALLOON_S_ASYNC_RECLAIM = 14,
	VIRTIO_BALLOON_S_DIRECT_RECLAIM = 15,
	VIRTIO_BALLOON_S_NR,
};

struct virtio_balloon_stat {
	struct le16 tag;
	struct le64 val;
};

_Static_assert(sizeof(struct virtio_balloon_config) == 16, "section 5.5.4");
_Static_assert(offsetof(struct virtio_balloon_config, poison_val) == 12, "section 5.5.4");
_Static_assert(sizeof(struct virtio_balloon_stat) == 10, "section 5.5.6.3");

#endif
