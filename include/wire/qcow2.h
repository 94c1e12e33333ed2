/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qcow2 image format, versions 2 and 3 (QEMU's docs/interop/qcow2.txt): all is big-endian. */
#ifndef POSADA_WIRE_QCOW2_H
#define POSADA_WIRE_QCOW2_H

#include "wire/be.h"

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */

struct qcow2_header {
	struct be32 magic, version;
	struct be64 backing_file_offset;
	struct be32 backing_file_size, cluster_bits;
	struct be64 size;
	struct be32 crypt_method, l1_size;
	struct be64 l1_table_offset, refcount_table_offset;
	struct be32 refcount_table_clusters, nb_snapshots;
	struct be64 snapshots_offset;
	/* version 3; of version 2 the header ends here, at byte 72 */
	struct be64 incompatible_features, compatible_features, autoclear_features;
	struct be32 refcount_order, header_length;
	/* optional, when header_length says so */
	uint8_t compression_type;
	uint8_t padding[7];
};
_Static_assert(sizeof(struct qcow2_header) == 112, "qcow2 header");
#define QCOW2_V2_HEADER 72
#define QCOW2_V3_HEADER 104

enum { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };
enum { QCOW2_ZLIB, QCOW2_ZSTD };

/* incompatible_features */
#define QCOW2_INCOMPAT_DIRTY 0x1ull
#define QCOW2_INCOMPAT_CORRUPT 0x2ull
#define QCOW2_INCOMPAT_DATA_FILE 0x4ull
#define QCOW2_INCOMPAT_COMPRESSION 0x8ull
#define QCOW2_INCOMPAT_EXTL2 0x10ull
#define QCOW2_INCOMPAT_KNOWN 0x1full
#define QCOW2_COMPAT_LAZY_REFCOUNTS 0x1ull
#define QCOW2_AUTOCLEAR_BITMAPS 0x1ull
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW 0x2ull

/* header extensions: `len` bytes follow, padded to 8 */
struct qcow2_ext {
	struct be32 type, len;
};
#define QCOW2_EXT_END 0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES 0x6803f857u
#define QCOW2_EXT_BITMAPS 0x23852875u
#define QCOW2_EXT_CRYPT 0x0537be77u
#define QCOW2_EXT_DATA_FILE 0x44415441u

struct qcow2_feature_name {
	uint8_t kind; /* 0 incompatible, 1 compatible, 2 autoclear */
	uint8_t bit;
	char name[46];
};
_Static_assert(sizeof(struct qcow2_feature_name) == 48, "qcow2 feature name");

struct qcow2_crypt_ext {
	struct be64 offset, len;
};

struct qcow2_bitmap_ext {
	struct be32 n, reserved;
	struct be64 dir_size, dir_offset;
};

struct qcow2_bitmap_entry {
	struct be64 table_offset;
	struct be32 table_size, flags;
	uint8_t type, granularity_bits;
	struct be16 name_size;
	struct be32 extra_size;
	/* extra data, name, padding to 8 */
};
_Static_assert(sizeof(struct qcow2_bitmap_entry) == 24, "qcow2 bitmap directory entry");
#define QCOW2_BITMAP_IN_USE 0x1u /* not up to date: whoever wrote the image has not closed it */
#define QCOW2_BITMAP_AUTO 0x2u /* records each write to the disk */
#define QCOW2_BITMAP_EXTRA_OK 0x4u /* usable without understanding its extra data */
#define QCOW2_BITMAP_FLAGS 0x7u
#define QCOW2_BITMAP_DIRTY 1 /* type: dirty tracking */
/* entries of a bitmap's table: an offset, or without one */
#define QCOW2_BITMAP_ONES 0x1ull
#define QCOW2_BITMAP_RESERVED 0xff000000000001feull

struct qcow2_snapshot_entry {
	struct be64 l1_offset;
	struct be32 l1_size;
	struct be16 id_size, name_size;
	struct be32 date_s, date_ns;
	struct be64 vm_clock_ns;
	struct be32 vm_state_size, extra_size;
	/* extra data, id, name, padding to 8 */
};
_Static_assert(sizeof(struct qcow2_snapshot_entry) == 40, "qcow2 snapshot entry");

struct qcow2_snapshot_extra {
	struct be64 vm_state_size, disk_size, icount;
};

/* L1 and L2 entries, refcount table entries */
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull
#define QCOW2_COPIED (1ull << 63) /* refcount is exactly 1 */
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO 1ull /* version 3 without subclusters */
#define QCOW2_L1_RESERVED 0x7f000000000001ffull
#define QCOW2_L2_RESERVED 0x3f000000000001feull
#define QCOW2_REFT_RESERVED 0x1ffull

#endif
