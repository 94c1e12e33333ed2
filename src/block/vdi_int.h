/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of format vdi share. */
#ifndef POSADA_BLOCK_VDI_INT_H
#define POSADA_BLOCK_VDI_INT_H

#include "block_int.h"
#include "co.h"
#include "mapped.h"
#include "wire/vdi.h"

enum { VDI_SECTOR = 512, VDI_PER_SECTOR = VDI_SECTOR / sizeof(struct le32) };

struct vdi {
	struct vdi_header header;
	struct le32 *map; /* whole sectors */
	uint32_t blocks, block_size;
	uint64_t data; /* where the blocks begin */
	uint32_t allocated; /* entries of the map that have a block */
	uint32_t next; /* the first block at the end of the file that no entry has */
	struct mapped_dirty dirty; /* of the map */
	struct co_lock lock; /* held while a block is allocated, or the map written */
};

static inline bool vdi_has_block(uint32_t entry)
{
	return entry != VDI_UNALLOCATED && entry != VDI_DISCARDED;
}

static inline uint64_t vdi_place(const struct vdi *v, uint32_t block)
{
	return v->data + (uint64_t)block * v->block_size;
}

/* The map says so of block index, in memory until it is settled. -ENOMEM. */
int vdi_enter(struct vdi *v, uint32_t index, uint32_t entry);
/* The data and then the map are durable. In a coroutine, or blocking. */
int vdi_settle(struct blk_node *n);

/* --- vdi_check.c --- */
int vdi_check(struct blk_node *n, unsigned fix, struct blk_check *out, struct err *e);

#endif
