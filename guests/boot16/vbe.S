/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector that sets a VBE mode, fills all that it shows, and says on port 0xe9 what it set
 * ("WIDTH HEIGHT BITS PITCH", hex) and "drawn". The word at 0x1b0 is the mode; bit 14 has it drawn
 * through the linear framebuffer instead of the window's banks.
 *
 * Each 64 bytes of the framebuffer are 16 times the doubleword 0x9e3779b1 * n, n counting
 * them. tests/boot/vbe_picture.c knows it too.
 */
	.code16
	.set DEBUG_PORT, 0xe9
	.set INFO, 0x8000		/* the mode's: VBE 3.0, ModeInfoBlock */
	.set GRANULARITY, INFO + 4	/* word, KiB */
	.set PITCH, INFO + 0x10		/* word */
	.set WIDTH, INFO + 0x12
	.set HEIGHT, INFO + 0x14
	.set BITS, INFO + 0x19		/* byte */
	.set FRAMEBUFFER, INFO + 0x28
	.set CHUNKS, 1024		/* 64 bytes each, in a bank of 64 KiB */

	.text
	.globl _start
_start:
	ljmp $0, $1f
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	cld
	sti
	mov $0x4f01, %ax
	mov mode, %cx
	and $0x3fff, %cx
	mov $INFO, %di
	int $0x10
	cmp $0x004f, %ax
	jne failed
	mov $0x4f02, %ax
	mov mode, %bx
	or $0x8000, %bx			/* memory is not cleared */
	int $0x10
	cmp $0x004f, %ax
	jne failed
	mov WIDTH, %ax
	call say_hex
	mov HEIGHT, %ax
	call say_hex
	movzbw BITS, %ax
	call say_hex
	mov PITCH, %ax
	call say_hex
	mov $10, %al
	out %al, $DEBUG_PORT

	/* %ebp: how many chunks; %esi: the next one. */
	movzwl PITCH, %eax
	movzwl HEIGHT, %ebp
	imul %eax, %ebp
	add $63, %ebp
	shr $6, %ebp
	xor %esi, %esi
	testw $0x4000, mode
	jz banks

	/* Real mode with segments of 4 GiB. */
	cli
	lgdt gdtr
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	jmp 2f
2:	mov $8, %bx
	mov %bx, %es
	and $0xfe, %al
	mov %eax, %cr0
	ljmp $0, $3f
3:	xor %ax, %ax
	mov %ax, %es
	mov FRAMEBUFFER, %edi
4:	imul $0x9e3779b1, %esi, %eax
	mov $16, %ecx
	addr32 rep stosl
	inc %esi
	cmp %ebp, %esi
	jb 4b
	jmp done

banks:	mov $0xa000, %ax
	mov %ax, %es
	xor %dx, %dx
5:	push %dx
	mov $0x4f05, %ax
	xor %bx, %bx
	int $0x10
	xor %di, %di
6:	imul $0x9e3779b1, %esi, %eax
	mov $16, %cx
	rep stosl
	inc %esi
	test %di, %di
	jnz 6b
	mov $64, %ax
	xor %dx, %dx
	divw GRANULARITY
	pop %dx
	add %ax, %dx
	cmp %ebp, %esi
	jb 5b

done:	mov $text_drawn, %si
	jmp end
failed:	mov $text_failed, %si
end:	mov $7, %cx
	mov $DEBUG_PORT, %dx
	rep outsb
8:	hlt
	jmp 8b

/* %ax and a blank. */
say_hex:
	mov $4, %cx
7:	rol $4, %ax
	push %ax
	and $0x0f, %al
	cmp $10, %al
	sbb $0x69, %al			/* a digit, the old way */
	das
	out %al, $DEBUG_PORT
	pop %ax
	loop 7b
	mov $' ', %al
	out %al, $DEBUG_PORT
	ret

text_drawn:	.ascii "drawn\n\n"
text_failed:	.ascii "failed\n"
	.balign 8
gdt:	.quad 0, 0x00cf92000000ffff
gdtr:	.word . - gdt - 1
	.long gdt

	.org 0x1b0
mode:	.word 0x101
	.org 510
	.word 0xaa55
