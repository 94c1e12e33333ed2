/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that assembly and C share. Intel SDM volume 3, sections 2.5 and 4.5. */
#ifndef GUEST_DEFS_H
#define GUEST_DEFS_H

#define PTE_P 0x1
#define PTE_W 0x2
#define PTE_U 0x4
#define PTE_PCD 0x10
#define PTE_PS 0x80
#define PTE_NX (1ull << 63)

/* PE MP ET NE WP PG */
#define CR0_INIT 0x80010033
/* PAE OSFXSR OSXMMEXCPT */
#define CR4_INIT 0x620

#define MSR_EFER 0xc0000080
#define EFER_SCE 0x1
#define EFER_LME 0x100
#define EFER_NXE 0x800

#define SEL_CODE32 0x08
#define SEL_KCODE 0x10
#define SEL_KDATA 0x18
#define SEL_UCODE32 0x23
#define SEL_UDATA 0x2b
#define SEL_UCODE 0x33
#define SEL_ABSENT 0x38
#define SEL_TSS 0x40

#define AP_TRAMPOLINE 0x70000
#define AP_STACK_SIZE 4096
#define AP_MAX 16

#define IST_SIZE 4096

#endif
