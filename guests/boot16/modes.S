/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector, and more behind it, that draws a picture in each of a VGA's standard modes (IBM
 * VGA Technical Reference; INT 10h). It waits for a letter to be typed, draws that picture, and says
 * "drawn LETTER" on port 0xe9. What they are to look like is in tests/boot/pictures.
 *
 *   0 to 6, d, e, g to j  the mode of that number, j being 13h (without 7, for which SeaBIOS's VGA BIOS
 *      programs the CRTC at a port that is not there yet)
 *   k  mode 3 with a font of 8 lines of its own: 50 lines of text
 *   s  mode 3, split: from line 300 on the memory's beginning, above that moved by 2 rows, 3
 *      columns, 4 lines and 6 pixels
 *   p  mode 0dh, split likewise, with lines that are longer than the screen is wide
 *
 * Text: all characters, then all attributes, without blinking. Planes: bars of the 16 colours by
 * set/reset; bytes (x << plane) ^ y; half of the bars copied by write mode 1; a line of ones at the
 * end. CGA: four bytes of 00, 55, aa, ff each by turns, then bytes x ^ y. Bytes: the palette, then
 * x ^ y. A line of the BIOS's text is in each.
 */
	.code16
	.set DEBUG_PORT, 0xe9
	.set CRTC, 0x3d4
	.set SEQ, 0x3c4
	.set GRAPHICS, 0x3ce
	.set FONT, 0x9000
	.set STAGE2_SECTORS, 3
	/* The BIOS's data */
	.set COLUMNS, 0x44a		/* word; a planar mode's bytes a line, too */
	.set LAST_ROW, 0x484		/* byte */
	.set CHAR_LINES, 0x485		/* word */

	.macro reg port, index, value
	mov $\port, %dx
	mov $(\value) << 8 | (\index), %ax
	out %ax, %dx
	.endm

	.text
	.globl _start
_start:
	ljmp $0, $1f
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	sti
	cld
	mov $0x0200 + STAGE2_SECTORS, %ax
	mov $2, %cx			/* cylinder 0, sector 2 */
	xor %dh, %dh
	mov $0x7e00, %bx
	int $0x13
	mov $text_failed, %si
	jc 1f
	mov $text_ready, %si
1:	call say
	jmp next

/* SI: a string, to the debug port. */
say:	lodsb
	test %al, %al
	jz 1f
	out %al, $DEBUG_PORT
	jmp say
1:	ret

text_ready:	.asciz "ready\n"
text_failed:	.asciz "failed: the disk\n"
	.org 510
	.word 0xaa55

next:	xor %ah, %ah
	int $0x16
	mov $pictures, %si
3:	cmp %al, (%si)
	je 4f
	add $4, %si
	cmp $pictures_end, %si
	jb 3b
	jmp next
4:	mov %al, text_letter
	push %si
	movzbw 1(%si), %ax
	int $0x10
	pop %si
	call *2(%si)
	xor %ax, %ax
	mov %ax, %es
	mov $text_drawn, %si
	call say
	mov text_letter, %al
	out %al, $DEBUG_PORT
	mov $10, %al
	out %al, $DEBUG_PORT
	jmp next

	.macro picture letter, mode, how
	.byte \letter, \mode
	.word \how
	.endm
pictures:
	picture '0', 0x00, text
	picture '1', 0x01, text
	picture '2', 0x02, text
	picture '3', 0x03, text
	picture '4', 0x04, cga
	picture '5', 0x05, cga
	picture '6', 0x06, cga
	picture 'd', 0x0d, planes
	picture 'e', 0x0e, planes
	picture 'g', 0x10, planes
	picture 'h', 0x11, planes
	picture 'i', 0x12, planes
	picture 'j', 0x13, bytes
	picture 'k', 0x03, fifty
	picture 's', 0x03, split
	picture 'p', 0x0d, panned
pictures_end:

/* The BIOS's text in the last row. */
caption:
	mov $0x02, %ah
	xor %bh, %bh
	mov LAST_ROW, %dh
	xor %dl, %dl
	int $0x10
	mov $text_caption, %si
1:	lodsb
	test %al, %al
	jz 2f
	mov $0x0e, %ah
	mov $0x0007, %bx
	int $0x10
	jmp 1b
2:	ret

text:	mov $0x1003, %ax		/* bright backgrounds, no blinking */
	xor %bx, %bx
	int $0x10
	mov $0x01, %ah			/* no cursor */
	mov $0x2000, %cx
	int $0x10
	mov $0xb800, %ax
	mov %ax, %es
	xor %di, %di
	mov $0x1e00, %ax
2:	stosw
	inc %al
	jnz 2b
	mov COLUMNS, %bx
	shl $1, %bx			/* bytes of a row */
	imul $8, %bx, %di
	mov $'A', %ax
3:	stosw
	stosw
	inc %ah
	test $0x0f, %ah
	jnz 3b
	lea -64(%bx,%di), %di
	test %ah, %ah
	jnz 3b
	jmp caption

cga:	mov $0xb800, %ax
	mov %ax, %es
	xor %bx, %bx			/* y */
1:	mov %bx, %di
	shr $1, %di
	imul $80, %di
	test $1, %bl
	jz 2f
	add $0x2000, %di
2:	xor %cx, %cx			/* x */
3:	mov %cl, %al
	xor %bl, %al
	cmp $32, %bx
	jae 4f
	mov %cl, %al
	shr $2, %al
	and $3, %al
	mov $0x55, %ah
	mul %ah
4:	stosb
	inc %cx
	cmp $80, %cx
	jb 3b
	inc %bx
	cmp $200, %bx
	jb 1b
	jmp caption

planes:	mov COLUMNS, %bp
	call draw_planes
	call caption
/* A line of ones, the last. */
	movzbw LAST_ROW, %ax
	inc %ax
	mulw CHAR_LINES
	dec %ax
	mul %bp
	mov %ax, %di
	mov $0xa000, %ax
	mov %ax, %es
	mov $0xff, %al
	mov %bp, %cx
	rep stosb
	ret

/* %bp: bytes a line. */
draw_planes:
	mov $0xa000, %ax
	mov %ax, %es
	reg GRAPHICS, 1, 0x0f
	xor %bx, %bx			/* the colour */
1:	mov $GRAPHICS, %dx
	mov %bl, %ah
	xor %al, %al
	out %ax, %dx
	mov %bx, %di
	shl $1, %di
	mov $32, %cx
2:	stosw
	lea -2(%di), %di
	add %bp, %di
	loop 2b
	inc %bx
	cmp $16, %bl
	jb 1b
	reg GRAPHICS, 0, 0
	reg GRAPHICS, 1, 0

	xor %cx, %cx			/* the plane */
3:	mov $1, %ah
	shl %cl, %ah
	mov $2, %al
	mov $SEQ, %dx
	out %ax, %dx
	imul $32, %bp, %di
	mov $32, %bl			/* y */
4:	xor %dx, %dx			/* x */
5:	mov %dl, %al
	shl %cl, %al
	xor %bl, %al
	stosb
	inc %dx
	cmp %bp, %dx
	jb 5b
	inc %bl
	cmp $64, %bl
	jb 4b
	inc %cx
	cmp $4, %cl
	jb 3b
	reg SEQ, 2, 0x0f

	reg GRAPHICS, 5, 1		/* lines 16 to 31 once more, at line 80 */
	push %ds
	mov $0xa000, %ax
	mov %ax, %ds
	imul $16, %bp, %si
	imul $80, %bp, %di
	mov %si, %cx
	rep movsb
	pop %ds
	reg GRAPHICS, 5, 0
	ret

bytes:	mov $0xa000, %ax
	mov %ax, %es
	xor %di, %di
	xor %bx, %bx			/* y */
1:	xor %cx, %cx			/* x */
	mov %bl, %al			/* of the palette: (y / 8) * 16 + x / 20 */
	shr $3, %al
	shl $4, %al
	mov $20, %dl
2:	mov %al, %ah
	cmp $128, %bx
	jb 3f
	mov %cl, %ah
	xor %bl, %ah
3:	mov %ah, %es:(%di)
	inc %di
	dec %dl
	jnz 4f
	mov $20, %dl
	inc %al
4:	inc %cx
	cmp $320, %cx
	jb 2b
	inc %bx
	cmp $200, %bx
	jb 1b
	jmp caption

/* Line l of character c is c ^ (37 * l). */
fifty:	xor %ax, %ax
	mov %ax, %es
	mov $FONT, %di
	xor %ax, %ax			/* c */
1:	mov %al, %ah
	mov $8, %cx
	xor %dl, %dl
2:	mov %ah, %al
	xor %dl, %al
	stosb
	add $37, %dl
	loop 2b
	mov %ah, %al
	inc %al
	jnz 1b
	mov $0x1110, %ax
	mov $0x0800, %bx
	mov $256, %cx
	xor %dx, %dx
	mov $FONT, %bp
	int $0x10
	jmp text

split:	call text
	reg CRTC, 0x0d, 163
	reg CRTC, 0x08, 4
	reg CRTC, 0x09, 0x0f
	mov $0x2405, %bx
	jmp pan

panned:	reg CRTC, 0x13, 24		/* words */
	mov $48, %bp
	call draw_planes
	reg CRTC, 0x0d, 2
	reg CRTC, 0x09, 0x80
	mov $0x2103, %bx
/* BH: the attribute controller's mode, the lower part not panned; BL: pixels. */
pan:	reg CRTC, 0x18, 0x2b
	mov $0x3da, %dx
	in %dx, %al
	mov $0x3c0, %dx
	mov $0x30, %al
	out %al, %dx
	mov %bh, %al
	out %al, %dx
	mov $0x33, %al
	out %al, %dx
	mov %bl, %al
	out %al, %dx
	ret

text_caption:	.ascii "INT 10h draws picture "
text_letter:	.byte 0, 0
text_drawn:	.asciz "drawn "
	.org 512 * (1 + STAGE2_SECTORS)
