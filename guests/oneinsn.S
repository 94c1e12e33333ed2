/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest guest: its first instruction writes to the debug console, so
 * that a clock outside sees when the guest began to run; the next ones end it.
 * 64-bit ELF entry, no runtime.
 */
	.section .text
	.globl _start
_start:
	out %al, $0xe9
	mov $0x501, %edx
	out %al, %dx
0:	cli
	hlt
	jmp 0b
	.section .note.GNU-stack, "", @progbits
