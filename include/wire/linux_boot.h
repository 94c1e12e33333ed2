/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a boot loader and an x86 Linux kernel say to each other: the setup
 * header inside a bzImage, and boot_params, the "zero page". After the Linux
 * documentation: "The Linux/x86 Boot Protocol" and "Zero Page". Fields that
 * nothing here uses are left as padding.
 */
#ifndef POSADA_WIRE_LINUX_BOOT_H
#define POSADA_WIRE_LINUX_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "wire/le.h"

#define LINUX_SETUP_HEADER_OFFSET 0x1f1 /* in a bzImage and in boot_params alike */
#define LINUX_SETUP_HEADER_END 0x290 /* boot_params has other fields from here on */
#define LINUX_BOOT_FLAG 0xaa55
#define LINUX_HDRS_MAGIC 0x53726448u /* "HdrS" */
#define LINUX_LOADED_HIGH 0x01 /* loadflags: loaded at 1 MiB, a bzImage */
#define LINUX_CAN_USE_HEAP 0x80 /* loadflags: heap_end_ptr is valid */
#define LINUX_XLF_KERNEL_64 0x0001 /* xloadflags: has a 64-bit entry */
#define LINUX_LOADER_UNDEFINED 0xff /* type_of_loader: a loader without an assigned number */
#define LINUX_E820_ENTRIES 128

struct linux_setup_header {
	uint8_t setup_sects; /* 0x1f1: 512-byte sectors of setup code after the first; 0 means 4 */
	struct le16 root_flags;
	struct le32 syssize; /* 0x1f4: protected-mode code, 16-byte units */
	struct le16 ram_size;
	struct le16 vid_mode;
	struct le16 root_dev;
	struct le16 boot_flag; /* 0x1fe */
	uint8_t jump[2]; /* 0x200: a short jump; the header ends where it lands */
	struct le32 header; /* 0x202 */
	struct le16 version; /* 0x206 */
	struct le32 realmode_swtch;
	struct le16 start_sys_seg;
	struct le16 kernel_version;
	uint8_t type_of_loader; /* 0x210 */
	uint8_t loadflags;
	struct le16 setup_move_size;
	struct le32 code32_start;
	struct le32 ramdisk_image; /* 0x218 */
	struct le32 ramdisk_size;
	struct le32 bootsect_kludge;
	struct le16 heap_end_ptr;
	uint8_t ext_loader_ver;
	uint8_t ext_loader_type;
	struct le32 cmd_line_ptr; /* 0x228 */
	struct le32 initrd_addr_max; /* 2.03: last byte the ramdisk may use */
	struct le32 kernel_alignment;
	uint8_t relocatable_kernel;
	uint8_t min_alignment;
	struct le16 xloadflags; /* 0x236, 2.12 */
	struct le32 cmdline_size; /* 0x238, 2.06: bytes without the NUL */
	struct le32 hardware_subarch;
	struct le64 hardware_subarch_data;
	struct le32 payload_offset; /* 0x248, 2.08: from the start of the protected-mode code */
	struct le32 payload_length;
	struct le64 setup_data; /* 0x250 */
	struct le64 pref_address;
	struct le32 init_size; /* 0x260 */
	struct le32 handover_offset;
	struct le32 kernel_info_offset;
};

struct linux_e820_entry {
	struct le64 addr;
	struct le64 size;
	struct le32 type;
};

struct linux_boot_params {
	uint8_t screen_info[0x40];
	uint8_t pad1[0x70 - 0x40];
	struct le64 acpi_rsdp_addr; /* 0x070 */
	uint8_t pad2[0xc0 - 0x78];
	struct le32 ext_ramdisk_image; /* 0x0c0: upper halves */
	struct le32 ext_ramdisk_size;
	struct le32 ext_cmd_line_ptr;
	uint8_t pad3[0x1e8 - 0xcc];
	uint8_t e820_entries; /* 0x1e8 */
	uint8_t pad4[0x1ef - 0x1e9];
	uint8_t sentinel; /* 0x1ef: zero says that the rest is valid */
	uint8_t pad5;
	struct linux_setup_header hdr; /* 0x1f1 */
	uint8_t pad6[0x2d0 - 0x26c];
	struct linux_e820_entry e820_table[LINUX_E820_ENTRIES]; /* 0x2d0 */
	uint8_t pad7[0x1000 - 0xcd0];
};

/* What setup_data points to; `len` bytes follow. */
struct linux_setup_data {
	struct le64 next;
	struct le32 type, len;
};

#define LINUX_SETUP_DTB 2

_Static_assert(sizeof(struct linux_setup_data) == 16, "setup_data");
_Static_assert(sizeof(struct linux_setup_header) == 0x26c - 0x1f1, "setup_header");
_Static_assert(sizeof(struct linux_e820_entry) == 20, "e820 entry");
_Static_assert(sizeof(struct linux_boot_params) == 4096, "boot_params");
_Static_assert(offsetof(struct linux_boot_params, acpi_rsdp_addr) == 0x70, "acpi_rsdp_addr");
_Static_assert(offsetof(struct linux_boot_params, e820_entries) == 0x1e8, "e820_entries");
_Static_assert(offsetof(struct linux_boot_params, hdr) == LINUX_SETUP_HEADER_OFFSET, "hdr");
_Static_assert(offsetof(struct linux_boot_params, hdr.boot_flag) == 0x1fe, "boot_flag");
_Static_assert(offsetof(struct linux_boot_params, hdr.header) == 0x202, "header");
_Static_assert(offsetof(struct linux_boot_params, hdr.type_of_loader) == 0x210, "type_of_loader");
_Static_assert(offsetof(struct linux_boot_params, hdr.cmd_line_ptr) == 0x228, "cmd_line_ptr");
_Static_assert(offsetof(struct linux_boot_params, hdr.xloadflags) == 0x236, "xloadflags");
_Static_assert(offsetof(struct linux_boot_params, hdr.payload_offset) == 0x248, "payload_offset");
_Static_assert(offsetof(struct linux_boot_params, hdr.init_size) == 0x260, "init_size");
_Static_assert(offsetof(struct linux_boot_params, e820_table) == 0x2d0, "e820_table");

#endif
