/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector that puts each key on the screen, and then on port 0xe9 as a character; it says
 * "ready" there first.
 */
	.code16
	.globl _start
_start:
	ljmp $0, $1f
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0x7c00, %sp
	cld
	mov $0x0003, %ax		/* 80x25, empty */
	int $0x10
	mov $0x01, %ah			/* no cursor that blinks */
	mov $0x2000, %cx
	int $0x10
	mov $ready, %si
2:	lodsb
	outb %al, $0xe9
	test %al, %al
	jnz 2b
3:	xor %ah, %ah
	int $0x16
	push %ax
	mov $0x0e, %ah
	mov $0x0007, %bx
	int $0x10
	pop %ax
	outb %al, $0xe9
	jmp 3b
ready:	.asciz "ready\n"
	.org 510
	.word 0xaa55
