/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk's two halves: the device as it is configured (virtio_blk.c), and
 * its requests (virtio_blk_req.c).
 */
#ifndef POSADA_HW_VIRTIO_BLK_H
#define POSADA_HW_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "loop.h"
#include "virtio.h"
#include "wire/virtio_blk.h"

/* Ranges in one DISCARD or WRITE_ZEROES request. */
#define VBLK_MAX_RANGES 256u

struct vblk_req;

struct vblk_queue {
	struct virtio_blk *s;
	struct virtqueue *vq;
	/* the loop's */
	struct vblk_req *pool; /* vq->max_size of them; made by the first kick */
	struct vblk_req *free;
	struct loop_defer publish; /* vq_flush, at the end of the loop's round */
};

struct virtio_blk {
	struct virtio_dev v;
	/* properties */
	char *drive, *serial, *iothread;
	uint32_t bootindex;
	uint16_t num_queues, queue_size;
	uint64_t logical_block_size, physical_block_size, min_io_size, opt_io_size;
	int discard; /* enum of vblk_discard_names */
	bool write_zeroes, request_merging, config_wce, share_rw;
	uint32_t max_discard_sectors, max_write_zeroes_sectors;

	struct blk *blk; /* NULL: not attached */
	char id[VIRTIO_BLK_ID_BYTES]; /* what GET_ID answers */
	bool default_wce; /* the drive's own cache mode */
	/* dev.lock */
	bool wce; /* the configuration space's `writeback` */
	uint64_t capacity; /* bytes, as the driver saw it at generation_seen */
	uint32_t generation_seen;
	unsigned merge_iov; /* most buffers and bytes in a merged request */
	uint64_t merge_len;
	struct vblk_queue queue[VIRTIO_MAX_QUEUES];
};

/* --- virtio_blk_req.c --- */
void vblk_init_queue(struct vblk_queue *q, struct virtio_blk *s, struct virtqueue *vq);
/* See struct virtio_type. On v->loop. */
void vblk_kick(struct virtio_dev *v, struct virtqueue *vq);
void vblk_stop(struct virtio_dev *v, struct virtqueue *vq);
/* Frees the queues' requests; none is outstanding. */
void vblk_free_requests(struct virtio_blk *s);

#endif
