/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VirtualBox disk images, version 1.1: the header at the beginning of the file. */
#ifndef POSADA_WIRE_VDI_H
#define POSADA_WIRE_VDI_H

#include "wire/le.h"

#define VDI_SIGNATURE 0xbeda107fu
#define VDI_VERSION_1_1 0x00010001u

struct vdi_header {
	char text[64];
	struct le32 signature, version;
	struct le32 header_size; /* from here on */
	struct le32 image_type, image_flags;
	char description[256];
	struct le32 offset_bmap, offset_data;
	struct le32 cylinders, heads, sectors, sector_size;
	struct le32 unused1;
	struct le64 disk_size;
	struct le32 block_size, block_extra; /* extra: bytes before the data of each block */
	struct le32 blocks_in_image, blocks_allocated;
	uint8_t uuid_image[16], uuid_last_snap[16], uuid_link[16], uuid_parent[16];
	uint8_t unused2[56];
};
_Static_assert(sizeof(struct vdi_header) == 512, "vdi header");

enum { VDI_DYNAMIC = 1, VDI_STATIC = 2, VDI_UNDO = 3, VDI_DIFF = 4 };

/* The blocks map is an array of le32: block numbers from offset_data on, or these. */
#define VDI_UNALLOCATED 0xffffffffu
#define VDI_DISCARDED 0xfffffffeu

#endif
