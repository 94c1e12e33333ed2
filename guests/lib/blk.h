/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guests that drive virtio-blk share (virtio 1.2, section 5.2). */
#ifndef GUEST_BLK_H
#define GUEST_BLK_H

#include "virtio.h"

/* clang-format off */
enum blk_feature {
	BF_SIZE_MAX = 1, BF_SEG_MAX = 2, BF_GEOMETRY = 4, BF_RO = 5, BF_BLK_SIZE = 6, BF_FLUSH = 9,
	BF_TOPOLOGY = 10, BF_CONFIG_WCE = 11, BF_MQ = 12, BF_DISCARD = 13, BF_WRITE_ZEROES = 14
};
enum blk_request_type {
	BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11,
	BLK_WRITE_ZEROES = 13
};
enum blk_config {
	BC_CAPACITY = 0x00, BC_SIZE_MAX = 0x08, BC_SEG_MAX = 0x0c, BC_GEOMETRY = 0x10,
	BC_BLK_SIZE = 0x14, BC_TOPOLOGY = 0x18, BC_WRITEBACK = 0x20, BC_NUM_QUEUES = 0x22,
	BC_MAX_DISCARD = 0x24, BC_DISCARD_SEG = 0x28, BC_MAX_ZEROES = 0x30
};
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2, BLK_PENDING = 0xee };
/* clang-format on */

enum { SECTOR = 512 };

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk_range { /* of discard and write zeroes */
	uint64_t sector;
	uint32_t sectors, flags;
};

/* One request; must stay in place until it is done. */
struct blk_req {
	struct blk_header h;
	volatile uint8_t status;
	uint32_t written; /* what the device said in the used ring */
};

/*
 * Queues a request with data buffers b[n] (at most 30), which the device reads (out) or writes.
 * Does not ring. False when there is no room.
 */
bool blk_queue(struct vq *q, struct blk_req *r, uint32_t type, uint64_t sector,
	       const struct vbuf *b, unsigned n, bool out);
/* Takes one finished request; NULL when none comes within ms. */
struct blk_req *blk_done(struct vq *q, unsigned ms);
/* A whole request with one buffer (len 0: none); its status, BLK_PENDING if it does not end. */
uint8_t blk_do(struct vq *q, uint32_t type, uint64_t sector, void *buf, uint32_t len);

/*
 * The pattern that disks are filled with, which other programs can make, too: text, one number of
 * 15 digits and a newline every 16 bytes. The line at byte 16 * n of the disk is seed * 10^12 + n.
 * Both run at CPL3, which is fast everywhere; buf must be let to CPL3 by map_user().
 */
void pattern_fill(void *buf, uint64_t disk_off, uint64_t len, unsigned seed);
/* How many lines differ. */
uint64_t pattern_check(const void *buf, uint64_t disk_off, uint64_t len, unsigned seed);
/* How many bytes differ from byte, and where the first is. */
uint64_t bytes_check(const void *buf, uint64_t len, uint8_t byte, uint64_t *first);

#endif
