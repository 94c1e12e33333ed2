/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDT, TSS and what happens on an exception: a registered handler, the end of
 * user_run(), a FIXUP of the instruction, or a report and the end. Intel SDM
 * volume 3, chapter 6.
 */
#include "guest.h"

struct gate {
	uint16_t off0, sel, attr, off1;
	uint32_t off2, zero;
};

struct tss {
	uint32_t zero0;
	uint64_t rsp[3], zero1, ist[7], zero2;
	uint16_t zero3, iomap;
} __attribute__((packed));

struct fixup {
	uint64_t at, to;
};

struct table_ptr {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

struct trap trap;
void (*trap_handler[256])(struct trap_frame *f);
extern const char trap_stubs[];
extern const struct fixup fixup_start[], fixup_end[];
extern uint64_t gdt[];
void user_enter(uint64_t rip, uint64_t rsp, uint64_t arg, uint64_t *saved_rsp);
_Noreturn void user_leave(uint64_t saved_rsp);
void trap_dispatch(struct trap_frame *f);

static struct gate idt[256] __attribute__((aligned(16)));
static struct tss tss;
static uint8_t trap_stack[16384] __attribute__((aligned(16)));
static uint8_t ist_stack[3][IST_SIZE] __attribute__((aligned(16)));
static uint8_t user_stack[16384] __attribute__((section(".user.bss"), aligned(16)));
static uint64_t user_saved_rsp; /* not 0 while user_run() is under way */

void trap_gate(unsigned vector, unsigned ist, unsigned dpl)
{
	uint64_t p = (uint64_t)trap_stubs + vector * 16;

	idt[vector] = (struct gate){ .off0 = (uint16_t)p,
				     .sel = SEL_KCODE,
				     .attr = (uint16_t)(0x8e00 | dpl << 13 | ist),
				     .off1 = (uint16_t)(p >> 16),
				     .off2 = (uint32_t)(p >> 32) };
}

uint64_t ist_top(unsigned ist)
{
	return (uint64_t)(ist_stack[ist - 1] + IST_SIZE);
}

void trap_init_ap(void)
{
	struct table_ptr p = { sizeof idt - 1, (uint64_t)idt };

	asm volatile("lidt %0" ::"m"(p));
}

void trap_init(void)
{
	uint64_t base = (uint64_t)&tss;

	for (unsigned i = 0; i < 256; i++)
		trap_gate(i, 0, i == 3 ? 3 : 0);
	tss.rsp[0] = (uint64_t)(trap_stack + sizeof trap_stack);
	for (unsigned i = 1; i <= 3; i++)
		tss.ist[i - 1] = ist_top(i);
	tss.iomap = sizeof tss;
	gdt[SEL_TSS / 8] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
			   (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	trap_init_ap();
	asm volatile("ltr %w0" ::"r"(SEL_TSS));
}

static void record(const struct trap_frame *f)
{
	trap = (struct trap){ .taken = true,
			      .vector = f->vector,
			      .error = f->error,
			      .rip = f->rip,
			      .cs = f->cs,
			      .rflags = f->rflags,
			      .rsp = f->rsp,
			      .cr2 = read_cr2(),
			      .handler_sp = (uint64_t)f,
			      .rax = f->rax,
			      .rdi = f->rdi };
}

void trap_dispatch(struct trap_frame *f)
{
	if (trap_handler[f->vector]) {
		trap_handler[f->vector](f);
		return;
	}
	if ((f->cs & 3) && user_saved_rsp) {
		uint64_t rsp = user_saved_rsp;

		user_saved_rsp = 0;
		record(f);
		user_leave(rsp);
	}
	for (const struct fixup *x = fixup_start; x < fixup_end; x++) {
		if (x->at == f->rip) {
			record(f);
			f->rip = x->to;
			return;
		}
	}
	say("unexpected exception %lu error %lx at %lx cs %lx rsp %lx cr2 %lx\n", f->vector,
	    f->error, f->rip, f->cs, f->rsp, read_cr2());
	leave(EXIT_TRAP);
}

void user_run(void (*fn)(uint64_t arg), uint64_t arg)
{
	trap = (struct trap){ 0 };
	/* 8 below the top: as if called, so that the compiler's stack alignment holds */
	user_enter((uint64_t)fn, (uint64_t)(user_stack + sizeof user_stack - 8), arg,
		   &user_saved_rsp);
}
