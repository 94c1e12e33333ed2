/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oneinsn.S for a machine monitor that starts at a ROM's reset vector: 64 KiB
 * that end at 4 GiB, entered in real mode 16 bytes before the end.
 */
	.section .text
	.code16
	.fill 0xfff0, 1, 0xff
	out %al, $0xe9
	mov $0x501, %dx
	out %al, %dx
0:	cli
	hlt
	jmp 0b
	.balign 16, 0xff
	.section .note.GNU-stack, "", @progbits
