/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMware Virtual Disk Format 5.0: hosted sparse extents. All is little-endian. */
#ifndef POSADA_WIRE_VMDK_H
#define POSADA_WIRE_VMDK_H

#include "wire/le.h"

enum { VMDK_SECTOR = 512 };

#define VMDK_SPARSE_MAGIC "KDMV"
#define VMDK_ESX_MAGIC "COWD"
#define VMDK_DESCRIPTOR_MAGIC "# Disk DescriptorFile"

/* Offsets and sizes are in sectors. */
struct vmdk_sparse {
	char magic[4];
	struct le32 version, flags;
	struct le64 capacity, grain_size;
	struct le64 descriptor_offset, descriptor_size;
	struct le32 gtes_per_gt; /* entries of a grain table */
	struct le64 rgd_offset, gd_offset; /* of the grain directories */
	struct le64 overhead;
	uint8_t unclean_shutdown;
	/* '\n' ' ' '\r' '\n': a transfer as text shows */
	char single_end_line, non_end_line, double_end_line[2];
	struct le16 compress_algorithm;
	uint8_t pad[433];
} __attribute__((packed));
_Static_assert(sizeof(struct vmdk_sparse) == 512, "vmdk sparse extent header");

#define VMDK_NEW_LINES 0x1u
#define VMDK_REDUNDANT 0x2u /* rgd_offset is used */
#define VMDK_ZEROED_GRAINS 0x4u
#define VMDK_COMPRESSED 0x10000u
#define VMDK_MARKERS 0x20000u
#define VMDK_FLAGS_KNOWN 0x30007u
#define VMDK_GD_AT_END UINT64_MAX /* the footer knows */
#define VMDK_DEFLATE 1

/* Entries of grain tables: le32, the sector of the grain, or these. */
#define VMDK_NO_GRAIN 0u
#define VMDK_ZEROED_GRAIN 1u /* with VMDK_ZEROED_GRAINS */

/* Before compressed grains (size bytes follow at once), and, with size 0, before tables. */
struct vmdk_marker {
	struct le64 value; /* of grains: the sector of the disk */
	struct le32 size;
};
_Static_assert(sizeof(struct vmdk_marker) == 12, "vmdk marker");

/* A marker of what is no grain takes a sector; value: sectors that follow. */
struct vmdk_meta_marker {
	struct vmdk_marker m; /* size 0 */
	struct le32 type;
	uint8_t pad[496];
};
_Static_assert(sizeof(struct vmdk_meta_marker) == 512, "vmdk metadata marker");

enum { VMDK_MARK_END = 0, VMDK_MARK_GT = 1, VMDK_MARK_GD = 2, VMDK_MARK_FOOTER = 3 };

#endif
