/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual Hard Disk Image Format Specification 1.0 (Microsoft, 2006): all is big-endian. */
#ifndef POSADA_WIRE_VHD_H
#define POSADA_WIRE_VHD_H

#include "wire/be.h"

#define VHD_COOKIE "conectix"
#define VHD_DYNAMIC_COOKIE "cxsparse"
#define VHD_VERSION 0x00010000u
#define VHD_NO_OFFSET UINT64_MAX

/* The last 512 bytes of the file; of dynamic disks, also the first. */
struct vhd_footer {
	char cookie[8];
	struct be32 features, version;
	struct be64 data_offset; /* of the dynamic header */
	struct be32 timestamp; /* seconds since 2000 */
	char creator_app[4];
	struct be32 creator_version;
	char creator_os[4];
	struct be64 original_size, current_size;
	struct be16 cylinders;
	uint8_t heads, sectors;
	struct be32 type;
	struct be32 checksum; /* of the footer: the complement of the sum of its other bytes */
	uint8_t uuid[16];
	uint8_t saved_state;
	uint8_t reserved[427];
};
_Static_assert(sizeof(struct vhd_footer) == 512, "vhd footer");

enum { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vhd_dynamic {
	char cookie[8];
	struct be64 data_offset; /* unused */
	struct be64 table_offset; /* of the block allocation table */
	struct be32 version, max_table_entries, block_size, checksum;
	uint8_t parent_uuid[16];
	struct be32 parent_timestamp, reserved1;
	uint8_t parent_name[512];
	uint8_t parent_locators[8][24];
	uint8_t reserved2[256];
};
_Static_assert(sizeof(struct vhd_dynamic) == 1024, "vhd dynamic header");

/*
 * The block allocation table is an array of be32: the sector where a block begins, or this. A
 * block begins with a bitmap of its sectors, in whole sectors.
 */
#define VHD_UNALLOCATED 0xffffffffu

#endif
