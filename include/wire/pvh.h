/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x86/HVM direct boot ABI ("PVH"): what a kernel with the ELF note
 * XEN_ELFNOTE_PHYS32_ENTRY finds behind EBX when it is entered. After Xen's
 * public documentation of the ABI and of struct hvm_start_info, version 1.
 */
#ifndef POSADA_WIRE_PVH_H
#define POSADA_WIRE_PVH_H

#include "wire/le.h"

#define PVH_NOTE_OWNER "Xen"
#define PVH_NOTE_PHYS32_ENTRY 18
#define PVH_START_MAGIC 0x336ec578u

struct pvh_start_info {
	struct le32 magic;
	struct le32 version; /* 1: with a memory map */
	struct le32 flags;
	struct le32 nr_modules;
	struct le64 modlist_paddr;
	struct le64 cmdline_paddr;
	struct le64 rsdp_paddr;
	struct le64 memmap_paddr;
	struct le32 memmap_entries;
	struct le32 reserved;
};

struct pvh_module {
	struct le64 paddr;
	struct le64 size;
	struct le64 cmdline_paddr;
	struct le64 reserved;
};

struct pvh_memmap_entry {
	struct le64 addr;
	struct le64 size;
	struct le32 type; /* as in e820 */
	struct le32 reserved;
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "hvm_start_info");
_Static_assert(sizeof(struct pvh_module) == 32, "hvm_modlist_entry");
_Static_assert(sizeof(struct pvh_memmap_entry) == 24, "hvm_memmap_table_entry");

#endif
