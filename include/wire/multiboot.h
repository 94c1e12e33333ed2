/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1: the header in a kernel and what the kernel finds behind EBX.
 * After the Multiboot Specification 0.6.96, chapter 3.
 */
#ifndef POSADA_WIRE_MULTIBOOT_H
#define POSADA_WIRE_MULTIBOOT_H

#include "wire/le.h"

#define MULTIBOOT_SEARCH 8192 /* the header lies within the first 8 KiB, 4-aligned */
#define MULTIBOOT_HEADER_MAGIC 0x1badb002u
#define MULTIBOOT_BOOT_MAGIC 0x2badb002u /* in EAX */

/* Flags of the header. Bits 0 to 15 are demands, the others offers. */
#define MULTIBOOT_PAGE_ALIGN (1u << 0) /* modules on page boundaries */
#define MULTIBOOT_MEMORY_INFO (1u << 1) /* mem_* wanted */
#define MULTIBOOT_VIDEO_MODE (1u << 2) /* a video mode is preferred */
#define MULTIBOOT_ADDRESSES (1u << 16) /* the address fields are valid */
#define MULTIBOOT_DEMANDS 0xffffu

struct multiboot_header {
	struct le32 magic;
	struct le32 flags;
	struct le32 checksum; /* magic + flags + checksum == 0 */
	/* with MULTIBOOT_ADDRESSES */
	struct le32 header_addr;
	struct le32 load_addr;
	struct le32 load_end_addr; /* 0: to the end of the file */
	struct le32 bss_end_addr; /* 0: no bss */
	struct le32 entry_addr;
};

#define MULTIBOOT_INFO_MEMORY (1u << 0)
#define MULTIBOOT_INFO_CMDLINE (1u << 2)
#define MULTIBOOT_INFO_MODS (1u << 3)
#define MULTIBOOT_INFO_MMAP (1u << 6)
#define MULTIBOOT_INFO_LOADER_NAME (1u << 9)

struct multiboot_info {
	struct le32 flags;
	struct le32 mem_lower, mem_upper; /* KiB from 0 and from 1 MiB */
	struct le32 boot_device;
	struct le32 cmdline;
	struct le32 mods_count, mods_addr;
	struct le32 syms[4];
	struct le32 mmap_length, mmap_addr; /* bytes */
	struct le32 drives_length, drives_addr;
	struct le32 config_table;
	struct le32 boot_loader_name;
	struct le32 apm_table;
	struct le32 vbe[4];
};

struct multiboot_module {
	struct le32 start, end; /* end: one past the last byte */
	struct le32 string;
	struct le32 reserved;
};

struct multiboot_mmap_entry {
	struct le32 size; /* of what follows */
	struct le64 addr;
	struct le64 len;
	struct le32 type; /* as in e820 */
};

_Static_assert(sizeof(struct multiboot_header) == 32, "multiboot_header");
_Static_assert(sizeof(struct multiboot_info) == 88, "multiboot_info");
_Static_assert(sizeof(struct multiboot_module) == 16, "multiboot_module");
_Static_assert(sizeof(struct multiboot_mmap_entry) == 24, "multiboot_mmap_entry");

#endif
