/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 header (specification 0.6.96, section 3.1). With MB_RAW it gives load
 * addresses, so that the file may be a flat binary instead of an ELF file.
 */
	.section .multiboot, "a"
	.balign 4
#ifdef MB_RAW
#define FLAGS 0x10003
#else
#define FLAGS 0x3
#endif
header:
	.long 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
#ifdef MB_RAW
	.long header, image_start, 0, image_end, start32
#endif
	.section .note.GNU-stack, "", @progbits
