/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts and IRET in 32-bit protected mode without paging: int n, an
 * exception, an interrupt's flags. No runtime: leaves by isa-debug-exit with
 * 0x10, or with 0x11 and the number of the failed step on COM1.
 */
#define SEL_CODE 0x08
#define SEL_DATA 0x10

	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.section .data
	.balign 8
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_ptr:
	.word . - gdt - 1
	.long gdt
	.balign 8
idt:	.fill 0x40, 8, 0
idt_ptr:
	.word . - idt - 1
	.long idt

	.section .bss
	.space 4096
stack:

	.section .text
	.code32
	.globl start
start:
	cli
	cld
	lgdt gdt_ptr
	ljmp $SEL_CODE, $1f
1:	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $stack, %esp

	/* IRET by hand: flags, CS, EIP */
	mov $'1', %bl
	pushl $0x0003		/* CF and the bit that is always 1 */
	pushl $SEL_CODE
	pushl $2f
	iretl
	jmp fail
2:	jnc fail
	cmp $stack, %esp
	jne fail

	/* int n through an interrupt gate, and back */
	mov $'2', %bl
	mov $0x30, %ecx
	mov $on_int, %edx
	call gate
	mov $6, %ecx
	mov $on_ud, %edx
	call gate
	lidt idt_ptr
	xor %esi, %esi
	int $0x30
	cmp $1, %esi
	jne fail
	cmp $stack, %esp
	jne fail

	/* an exception whose handler steps over the instruction */
	mov $'3', %bl
	xor %esi, %esi
	ud2
	cmp $2, %esi
	jne fail

	/* IRET turns interrupts on, and off again */
	mov $'4', %bl
	pushl $0x202
	pushl $SEL_CODE
	pushl $3f
	iretl
3:	pushf
	pop %eax
	cli
	test $0x200, %eax
	jz fail
	mov $0x10, %al
	jmp leave
fail:	mov $0x3f8, %edx
	mov %bl, %al
	outb %al, %dx
	mov $0x11, %al
leave:	mov $0x501, %edx
	outb %al, %dx
4:	hlt
	jmp 4b

/* Interrupt gate of vector ECX to EDX. */
gate:	lea idt(,%ecx,8), %edi
	mov %dx, (%edi)
	movw $SEL_CODE, 2(%edi)
	movw $0x8e00, 4(%edi)
	shr $16, %edx
	mov %dx, 6(%edi)
	ret
on_int:	inc %esi
	iretl
on_ud:	add $2, %esi
	addl $2, (%esp)
	iretl
	.section .note.GNU-stack, "", @progbits
