/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Software interrupts in kernel mode: int3, int n, icebp, ud1, and where each returns to. */
#include "guest.h"

static unsigned hits;
static struct trap_frame last;

static void note(struct trap_frame *f)
{
	hits++;
	last = *f;
}

static void note_and_skip(struct trap_frame *f)
{
	note(f);
	f->rip = f->rbx;
}

static void hook(unsigned vector, void (*fn)(struct trap_frame *f))
{
	trap_handler[vector] = fn;
	hits = 0;
}

/* Runs insn with RBX = the address behind it; `at` is its own address. */
#define RUN(insn, at)                                                                              \
	asm volatile("lea 2f(%%rip), %%rbx\nlea 1f(%%rip), %0\n1: " insn "\n2:"                    \
		     : "=r"(at)                                                                    \
		     :                                                                             \
		     : "rbx", "memory", "cc")

void guest_main(void)
{
	uint64_t at, sp, flags;

	hook(3, note);
	RUN("int3", at);
	check(hits == 1 && last.rip == at + 1, "int3: vector 3, RIP behind it");
	asm volatile("mov %%rsp, %0" : "=r"(sp));
	check(last.cs == SEL_KCODE && last.rsp == sp, "int3: CS and RSP are in the frame");
	RUN(".byte 0xcd, 3", at);
	check(hits == 2 && last.rip == at + 2, "int 3 of two bytes: RIP behind it");
	hook(0x80, note);
	RUN("int $0x80", at);
	check(hits == 1 && last.rip == at + 2, "int 0x80: RIP behind it");
	irq_on();
	asm volatile("pushfq\npop %0" : "=r"(flags));
	RUN("int $0x80", at);
	irq_off();
	check((last.rflags & 0x200) && (flags & 0x200), "int 0x80: IF is in the frame");
	hook(0xfe, note);
	for (unsigned i = 0; i < 50; i++)
		asm volatile("int $0xfe");
	check(hits == 50, "int 0xfe, %u times", hits);
	trap_gate(0x81, 1, 0);
	hook(0x81, note);
	RUN("int $0x81", at);
	check(hits == 1 && last.rip == at + 2, "int 0x81 by an IST gate");
	hook(1, note);
	RUN(".byte 0xf1", at);
	check(hits == 1 && last.rip == at + 1, "icebp: vector 1, RIP behind it");
	hook(6, note_and_skip);
	RUN("ud1 %%eax, %%eax", at);
	check(hits == 1 && last.rip == at, "ud1: vector 6, RIP at it");
	RUN("ud2", at);
	check(hits == 2 && last.rip == at, "ud2: vector 6, RIP at it");
}
