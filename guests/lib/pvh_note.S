/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ELF note that makes a file a PVH kernel: XEN_ELFNOTE_PHYS32_ENTRY (18), its 32-bit entry. */
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 8, 18
	.asciz "Xen"
	.quad start32
	.section .note.GNU-stack, "", @progbits
