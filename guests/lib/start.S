/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a bare-metal guest starts: from 32-bit protected mode (PVH, Multiboot)
 * or from 64-bit mode (ELF entry), to guest_start() in 64-bit mode with its
 * own GDT, stack and page tables. Also: trap entries, the way into and out of
 * CPL3, and the code at which other CPUs start.
 *
 * Page tables are data, not code that fills them: a KVM in software spends
 * half a microsecond on each instruction of kernel mode.
 */

#include "defs.h"

	.section .data
	.balign 4096
	.globl pml4, pdpt, pd0
pml4:
	.quad pdpt + PTE_P + PTE_W + PTE_U
	.fill 511, 8, 0
pdpt:	/* 4 GiB identity-mapped; a fifth entry is left to the guest (see map_window) */
	.quad pd0 + PTE_P + PTE_W + PTE_U
	.quad pd0 + 0x1000 + PTE_P + PTE_W + PTE_U
	.quad pd0 + 0x2000 + PTE_P + PTE_W + PTE_U
	.quad pd0 + 0x3000 + PTE_P + PTE_W + PTE_U
	.fill 508, 8, 0
pd0:	/* 2 MiB pages; only the one at 4 MiB is for CPL3 */
	.set page, 0
	.rept 2048
	.if page == 2
	.quad 0x400000 + PTE_P + PTE_W + PTE_PS + PTE_U
	.elseif page >= 0x600	/* from 3 GiB: devices */
	.quad (page << 21) + PTE_P + PTE_W + PTE_PS + PTE_PCD
	.else
	.quad (page << 21) + PTE_P + PTE_W + PTE_PS
	.endif
	.set page, page + 1
	.endr

	/* The selectors Linux uses, which a KVM in software may insist on. */
	.balign 16
	.globl gdt, gdt_end
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 0x08 32-bit code */
	.quad 0x00af9b000000ffff	/* 0x10 64-bit code */
	.quad 0x00cf93000000ffff	/* 0x18 data */
	.quad 0x00cffb000000ffff	/* 0x20 user 32-bit code */
	.quad 0x00cff3000000ffff	/* 0x28 user data */
	.quad 0x00affb000000ffff	/* 0x30 user 64-bit code */
	.quad 0x00cf13000000ffff	/* 0x38 data, not present: for #NP */
	.quad 0, 0			/* 0x40 TSS, filled by traps.c */
gdt_end:
	.globl gdt_ptr
gdt_ptr:
	.word gdt_end - gdt - 1
	.quad gdt

	.globl boot_eax, boot_ebx, boot_rsi
boot_eax: .long 0
boot_ebx: .long 0
boot_rsi: .quad 0

	.section .bss
	.balign 16
	.space 16384
	.globl stack_top
stack_top:

	.section .text
	.code32
	.globl start32
start32:
	cli
	cld
	mov %eax, boot_eax
	mov %ebx, boot_ebx
	lgdt gdt_ptr
	mov $CR4_INIT, %eax
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov $MSR_EFER, %ecx
	rdmsr
	or $EFER_LME, %eax
	wrmsr
	mov $CR0_INIT, %eax
	mov %eax, %cr0
	ljmp $SEL_KCODE, $enter64

	.code64
	.globl start64
start64:
	cli
	cld
	mov %rsi, boot_rsi
	lgdt gdt_ptr
	mov $CR4_INIT, %eax
	mov %rax, %cr4
	mov $pml4, %eax
	mov %rax, %cr3
	mov $CR0_INIT, %eax
	mov %rax, %cr0
	mov $stack_top, %esp
	push $SEL_KCODE
	push $enter64
	lretq
enter64:
	mov $SEL_KDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $stack_top, %esp
	xor %ebp, %ebp
	call guest_start
0:	cli
	hlt
	jmp 0b

/* --- traps: a stub a vector, then struct trap_frame on the stack ------------ */
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	.if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21)
	.else
	push $0
	.endif
	push $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

trap_common:
	push %rax
	push %rcx
	push %rdx
	push %rbx
	push %rbp
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	cld
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	call trap_dispatch
	mov %rbp, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rbp
	pop %rbx
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq

/* void user_enter(rip, rsp, arg, uint64_t *saved_rsp): comes back by user_leave() */
	.globl user_enter, user_leave
user_enter:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rcx)
	push $SEL_UDATA
	push %rsi
	push $0x202
	push $SEL_UCODE
	push %rdi
	mov %rdx, %rdi
	iretq

/* void user_leave(uint64_t saved_rsp) */
user_leave:
	mov %rdi, %rsp
	mov $SEL_KDATA, %eax
	mov %eax, %ss
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

/* --- other CPUs: copied to AP_TRAMPOLINE, entered there in real mode -------- */
	.globl ap_trampoline, ap_trampoline_end, ap_stack_next
	.code16
ap_trampoline:
	cli
	cld
	mov %cs, %ax
	mov %ax, %ds
	lgdtl ap_gdt_ptr - ap_trampoline
	mov $1, %eax
	mov %eax, %cr0
	ljmpl $SEL_CODE32, $(AP_TRAMPOLINE + ap32 - ap_trampoline)
	.code32
ap32:
	mov $SEL_KDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $CR4_INIT, %eax
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov $MSR_EFER, %ecx
	rdmsr
	or $EFER_LME, %eax
	wrmsr
	mov $CR0_INIT, %eax
	mov %eax, %cr0
	ljmp $SEL_KCODE, $ap64
	.balign 4
ap_gdt_ptr:
	.word gdt_end - gdt - 1
	.long gdt
ap_trampoline_end:
	.code64
ap64:
	mov $AP_STACK_SIZE, %eax
	lock xadd %rax, ap_stack_next
	lea AP_STACK_SIZE(%rax), %rsp
	xor %ebp, %ebp
	call ap_start
0:	cli
	hlt
	jmp 0b

	.section .data
ap_stack_next:
	.quad ap_stacks
	.section .bss
	.balign 16
	.globl ap_stacks
ap_stacks:
	.space AP_STACK_SIZE * AP_MAX
	.section .note.GNU-stack, "", @progbits
