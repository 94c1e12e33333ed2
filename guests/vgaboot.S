/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector that draws by INT 10h, and says "drawn" on port 0xe9. The byte at its
 * offset 3 chooses: 't' a line of text, 'g' mode 13h, 'p' mode 12h, 'v' VBE mode 0x111
 * through the banked window.
 */
	.code16
	.globl start
start:	jmp	1f
	nop
what:	.byte	't'

1:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$start, %sp
	cld
	movb	what, %al
	cmpb	$'g', %al
	je	bytes
	cmpb	$'p', %al
	je	planes
	cmpb	$'v', %al
	je	vbe

	movw	$hello, %si
	movw	$0x0007, %bx
2:	lodsb
	testb	%al, %al
	jz	done
	movb	$0x0e, %ah
	int	$0x10
	jmp	2b

/* Line y has colour y. */
bytes:	movw	$0x0013, %ax
	int	$0x10
	movw	$0xa000, %ax
	movw	%ax, %es
	xorw	%di, %di
	xorw	%ax, %ax
3:	movw	$160, %cx
	rep stosw
	addw	$0x0101, %ax
	cmpb	$200, %al
	jne	3b
	jmp	done

/* Pixel 100 + i of line 50 has colour i. */
planes:	movw	$0x0012, %ax
	int	$0x10
	movw	$0x0c00, %ax
	xorw	%bx, %bx
	movw	$100, %cx
	movw	$50, %dx
4:	movb	$0x0c, %ah
	int	$0x10
	incw	%ax
	incw	%cx
	cmpw	$116, %cx
	jne	4b
	jmp	done

/* 640x480 of 16 bits: the first bank's first line is red, the second bank's first pixels are blue. */
vbe:	movw	$0x4f02, %ax
	movw	$0x0111, %bx
	int	$0x10
	movw	$0xa000, %ax
	movw	%ax, %es
	xorw	%di, %di
	movw	$0xf800, %ax
	movw	$640, %cx
	rep stosw
	movw	$0x4f05, %ax
	xorw	%bx, %bx
	movw	$1, %dx
	int	$0x10
	xorw	%di, %di
	movw	$0x001f, %ax
	movw	$16, %cx
	rep stosw

done:	movw	$drawn, %si
	movw	$6, %cx
	movw	$0xe9, %dx
	rep outsb
end:	sti
	hlt
	jmp	end

hello:	.asciz	"Hello by INT 10h\r\n"
drawn:	.ascii	"drawn\n"
	.org	510
	.byte	0x55, 0xaa
