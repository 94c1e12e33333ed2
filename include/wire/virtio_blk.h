/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio 1.2, section 5.2 "Block Device": its configuration space and requests. */
#ifndef POSADA_WIRE_VIRTIO_BLK_H
#define POSADA_WIRE_VIRTIO_BLK_H

#include <stddef.h>
#include <stdint.h>

#include "wire/le.h"

enum { VIRTIO_ID_BLOCK = 2 };

/* All sizes on the wire are in these, whatever blk_size says. */
#define VIRTIO_BLK_SECTOR 512u

/* 5.2.3: feature bits. */
enum virtio_blk_feature {
	VIRTIO_BLK_F_SEG_MAX = 2,
	VIRTIO_BLK_F_GEOMETRY = 4,
	VIRTIO_BLK_F_RO = 5,
	VIRTIO_BLK_F_BLK_SIZE = 6,
	VIRTIO_BLK_F_SCSI = 7, /* legacy; never offered */
	VIRTIO_BLK_F_FLUSH = 9,
	VIRTIO_BLK_F_TOPOLOGY = 10,
	VIRTIO_BLK_F_CONFIG_WCE = 11,
	VIRTIO_BLK_F_MQ = 12,
	VIRTIO_BLK_F_DISCARD = 13,
	VIRTIO_BLK_F_WRITE_ZEROES = 14,
};

/* 5.2.4: the configuration space. Sectors are of 512 bytes, blocks of blk_size. */
struct virtio_blk_config {
	struct le64 capacity; /* sectors */
	struct le32 size_max; /* bytes in a segment; not offered */
	struct le32 seg_max; /* segments in a request */
	struct {
		struct le16 cylinders;
		uint8_t heads, sectors;
	} geometry;
	struct le32 blk_size; /* bytes */
	struct {
		uint8_t physical_block_exp; /* a physical block is 2^this blocks */
		uint8_t alignment_offset;
		struct le16 min_io_size; /* blocks */
		struct le32 opt_io_size; /* blocks */
	} topology;
	uint8_t writeback; /* the driver may write it, given CONFIG_WCE */
	uint8_t unused0;
	struct le16 num_queues;
	struct le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	struct le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
};
_Static_assert(sizeof(struct virtio_blk_config) == 60, "5.2.4");
_Static_assert(offsetof(struct virtio_blk_config, geometry) == 16, "5.2.4");
_Static_assert(offsetof(struct virtio_blk_config, topology) == 24, "5.2.4");
_Static_assert(offsetof(struct virtio_blk_config, writeback) == 32, "5.2.4");
_Static_assert(offsetof(struct virtio_blk_config, num_queues) == 34, "5.2.4");
_Static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) == 56, "5.2.4");

/* 5.2.6: a request begins with this; data and a status byte follow. */
struct virtio_blk_hdr {
	struct le32 type;
	struct le32 reserved;
	struct le64 sector;
};
_Static_assert(sizeof(struct virtio_blk_hdr) == 16, "5.2.6");

enum virtio_blk_type {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_FLUSH_OUT = 5, /* legacy: the same */
	VIRTIO_BLK_T_GET_ID = 8,
	VIRTIO_BLK_T_DISCARD = 11,
	VIRTIO_BLK_T_WRITE_ZEROES = 13,
};

enum virtio_blk_status { VIRTIO_BLK_S_OK, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP };

enum { VIRTIO_BLK_ID_BYTES = 20 };

/* The data of DISCARD and WRITE_ZEROES is one or more of these. */
struct virtio_blk_range {
	struct le64 sector;
	struct le32 num_sectors;
	struct le32 flags;
};
_Static_assert(sizeof(struct virtio_blk_range) == 16, "5.2.6");

enum { VIRTIO_BLK_RANGE_UNMAP = 1 }; /* WRITE_ZEROES may deallocate */

#endif
