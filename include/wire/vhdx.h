/* SPDX-License-Identifier: GPL-2.0-or-later */
/* [MS-VHDX]: Virtual Hard Disk v2 (VHDX) File Format. All is little-endian. */
#ifndef POSADA_WIRE_VHDX_H
#define POSADA_WIRE_VHDX_H

#include "wire/le.h"

/* Section 2.2: what lies where. */
#define VHDX_FILE_SIGNATURE "vhdxfile"
#define VHDX_HEADER1 (64u << 10)
#define VHDX_HEADER2 (128u << 10)
#define VHDX_REGIONS1 (192u << 10)
#define VHDX_REGIONS2 (256u << 10)
#define VHDX_REGIONS_SIZE (64u << 10)
#define VHDX_FIXED_END (1u << 20) /* all else lies behind it */

struct vhdx_guid {
	uint8_t b[16];
} __attribute__((packed));

struct vhdx_header {
	char signature[4]; /* "head" */
	struct le32 checksum; /* CRC-32C of the struct with zero here */
	struct le64 sequence_number;
	struct vhdx_guid file_write, data_write, log;
	struct le16 log_version, version;
	struct le32 log_length;
	struct le64 log_offset;
	uint8_t reserved[4016];
};
_Static_assert(sizeof(struct vhdx_header) == 4096, "vhdx header");

struct vhdx_region {
	struct vhdx_guid guid;
	struct le64 file_offset;
	struct le32 length, required;
};
#define VHDX_REGIONS_MOST 2047

struct vhdx_regions {
	char signature[4]; /* "regi" */
	struct le32 checksum; /* of all 64 KiB */
	struct le32 entry_count, reserved;
	struct vhdx_region entry[VHDX_REGIONS_MOST];
	uint8_t rest[16];
};
_Static_assert(sizeof(struct vhdx_regions) == VHDX_REGIONS_SIZE, "vhdx region table");

#define VHDX_GUID(a, b2, c, d, e, f, g, h, i, j, k)                                                \
	{                                                                                          \
		{                                                                                  \
			(a) & 0xff, (a) >> 8 & 0xff, (a) >> 16 & 0xff, (a) >> 24 & 0xff,           \
				(b2)&0xff, (b2) >> 8, (c)&0xff, (c) >> 8, d, e, f, g, h, i, j, k   \
		}                                                                                  \
	}
#define VHDX_BAT                                                                                   \
	VHDX_GUID(0x2dc27766u, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08)
#define VHDX_METADATA                                                                              \
	VHDX_GUID(0x8b7ca206u, 0x4790, 0x4b9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e)

/* Section 2.6: the metadata region begins with this table of 64 KiB. */
struct vhdx_item {
	struct vhdx_guid id;
	struct le32 offset, length; /* in the region */
	struct le32 flags, reserved;
};
#define VHDX_ITEMS_MOST 2047
#define VHDX_ITEM_REQUIRED 4u

struct vhdx_metadata {
	char signature[8]; /* "metadata" */
	struct le16 reserved, entry_count;
	uint8_t reserved2[20];
	struct vhdx_item entry[VHDX_ITEMS_MOST];
};
_Static_assert(sizeof(struct vhdx_metadata) == 64 << 10, "vhdx metadata table");

#define VHDX_FILE_PARAMETERS                                                                       \
	VHDX_GUID(0xcaa16737u, 0xfa36, 0x4d43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b)
#define VHDX_DISK_SIZE                                                                             \
	VHDX_GUID(0x2fa54224u, 0xcd1b, 0x4876, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8)
#define VHDX_DISK_ID                                                                               \
	VHDX_GUID(0xbeca12abu, 0xb2e6, 0x4523, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46)
#define VHDX_LOGICAL_SECTOR                                                                        \
	VHDX_GUID(0x8141bf1du, 0xa96f, 0x4709, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f)
#define VHDX_PHYSICAL_SECTOR                                                                       \
	VHDX_GUID(0xcda348c7u, 0x445d, 0x4471, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56)
#define VHDX_PARENT_LOCATOR                                                                        \
	VHDX_GUID(0xa8d35f2du, 0xb30b, 0x454d, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c)

struct vhdx_file_parameters {
	struct le32 block_size, flags;
};
#define VHDX_HAS_PARENT 2u

/* Section 2.5: entries of the block allocation table, struct le64. */
#define VHDX_STATE(entry) ((unsigned)((entry)&7))
#define VHDX_PLACE(entry) ((entry)&0xfffffffffff00000ull)
enum {
	VHDX_NOT_PRESENT,
	VHDX_UNDEFINED,
	VHDX_ZERO,
	VHDX_UNMAPPED,
	VHDX_FULLY_PRESENT = 6,
	VHDX_PARTIALLY_PRESENT = 7,
};

/* Section 2.3: the log, in sectors of 4 KiB. */
enum { VHDX_LOG_SECTOR = 4096 };

struct vhdx_log_entry {
	char signature[4]; /* "loge" */
	struct le32 checksum; /* of entry_length bytes */
	struct le32 entry_length, tail;
	struct le64 sequence_number;
	struct le32 descriptor_count, reserved;
	struct vhdx_guid log;
	struct le64 flushed_file_offset, last_file_offset;
};
_Static_assert(sizeof(struct vhdx_log_entry) == 64, "vhdx log entry");

struct vhdx_log_desc {
	char signature[4]; /* "desc" or "zero" */
	struct le32 trailing_bytes; /* "desc": the last 4 bytes of the sector */
	struct le64 leading_bytes; /* "desc": the first 8; "zero": how many bytes */
	struct le64 file_offset, sequence_number;
};
_Static_assert(sizeof(struct vhdx_log_desc) == 32, "vhdx log descriptor");

struct vhdx_log_data {
	char signature[4]; /* "data" */
	struct le32 sequence_high;
	uint8_t data[4084];
	struct le32 sequence_low;
};
_Static_assert(sizeof(struct vhdx_log_data) == VHDX_LOG_SECTOR, "vhdx log data sector");

#endif
