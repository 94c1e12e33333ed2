/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instructions that the carrier carries out by itself: against the same
 * instruction run natively where user mode may, against AMD APM and Intel SDM elsewhere.
 */
#include <check.h>
#include <stdio.h>

#include "suite.h"
#include "assist_machine.h"

#define RIP 0x100000u
#define TF (1ull << 8)
#define IF (1ull << 9)
#define NT (1ull << 14)
#define RF (1ull << 16)
#define AC (1ull << 18)
#define ZF (1ull << 6)

static struct assist_machine *m;
static struct insn_cpu *c;
static uint64_t seed;

static void setup(void)
{
	m = machine_new();
	c = &m->c;
	seed = 9;
}

static void teardown(void)
{
	machine_free(m);
}

static uint64_t rnd(void)
{
	return machine_random(&seed);
}

static void user_mode(void)
{
	c->sregs.cs.selector = 0x33;
	c->sregs.cs.dpl = 3;
	c->sregs.ss.selector = 0x2b;
	c->sregs.ss.dpl = 3;
}

/* 32-bit protected mode, flat. */
static void mode32(void)
{
	c->sregs.efer = 0;
	c->sregs.cr0 = 0x11;
	c->sregs.cs.l = 0;
	c->sregs.cs.db = 1;
}

/* An instruction that must raise an exception at itself; error: -1 for none. */
static void expect(enum insn_status s, unsigned vector, int error)
{
	ck_assert_int_eq(s, INSN_EVENT);
	ck_assert_uint_eq(c->event.vector, vector);
	ck_assert_int_eq(c->event.has_error, error >= 0);
	ck_assert(!c->event.software);
	if (error >= 0)
		ck_assert_uint_eq(c->event.error, (unsigned)error);
	ck_assert_uint_eq(c->regs.rip, RIP);
}

#define DONE(n, ...)                                                                               \
	do {                                                                                       \
		c->regs.rip = RIP;                                                                 \
		ck_assert_int_eq(STEP(m, __VA_ARGS__), INSN_DONE);                                 \
		ck_assert_uint_eq(c->regs.rip, RIP + (n));                                         \
	} while (0)
#define RAISES(vector, error, ...)                                                                 \
	do {                                                                                       \
		c->regs.rip = RIP;                                                                 \
		expect(STEP(m, __VA_ARGS__), (vector), (error));                                   \
	} while (0)

/* --- exceptions on purpose -------------------------------------------------- */

START_TEST(software_interrupts)
{
	c->regs.rip = RIP;
	ck_assert_int_eq(STEP(m, 0xcc), INSN_EVENT);
	ck_assert_uint_eq(c->event.vector, 3);
	ck_assert(!c->event.software && !c->event.has_error);
	ck_assert_uint_eq(c->regs.rip, RIP + 1);
	for (unsigned n = 0; n < 256; n++) {
		c->regs.rip = RIP;
		ck_assert_int_eq(STEP(m, 0xcd, (uint8_t)n), INSN_EVENT);
		ck_assert_uint_eq(c->event.vector, n);
		ck_assert(c->event.software && !c->event.has_error);
		ck_assert_uint_eq(c->regs.rip, RIP + 2);
	}
	c->regs.rip = RIP;
	ck_assert_int_eq(STEP(m, 0xf1), INSN_EVENT); /* icebp */
	ck_assert_uint_eq(c->event.vector, 1);
	ck_assert_uint_eq(c->event.dr6, 0);
	ck_assert_uint_eq(c->regs.rip, RIP + 1);
	RAISES(6, -1, 0xce); /* INTO is gone in 64-bit mode */
	mode32();
	DONE(1, 0xce);
	c->regs.rflags |= 1 << 11; /* OF */
	c->regs.rip = RIP;
	ck_assert_int_eq(STEP(m, 0xce), INSN_EVENT);
	ck_assert_uint_eq(c->event.vector, 4);
	ck_assert_uint_eq(c->regs.rip, RIP + 1);
}
END_TEST

START_TEST(undefined)
{
	RAISES(6, -1, 0x0f, 0x0b); /* ud2 */
	RAISES(6, -1, 0x0f, 0xb9, 0xc0); /* ud1 */
	RAISES(6, -1, 0x0f, 0xff, 0xc0); /* ud0 */
	RAISES(6, -1, 0x06); /* push %es, in 64-bit mode */
	RAISES(6, -1, 0x0f, 0x04); /* nothing at all */
	RAISES(6, -1, 0xf0, 0x0f, 0x01, 0xcb); /* lock stac */
	RAISES(6, -1, 0xf0, 0x0f, 0x58, 0xc1); /* lock addps */
}
END_TEST

START_TEST(trap_and_resume_flags)
{
	c->regs.rflags |= TF | RF;
	ck_assert_int_eq(STEP(m, 0x90), INSN_EVENT);
	ck_assert_uint_eq(c->event.vector, 1);
	ck_assert_uint_eq(c->event.dr6, 1 << 14);
	ck_assert_uint_eq(c->regs.rip, RIP + 1);
	ck_assert(!(c->regs.rflags & RF));
	ck_assert(c->regs.rflags & TF);
	/* An exception of its own comes first, and RF stays as it was. */
	c->regs.rflags |= RF;
	RAISES(6, -1, 0x0f, 0x0b);
	ck_assert(c->regs.rflags & RF);
}
END_TEST

/* Bytes that were not given are fetched from the guest. */
START_TEST(fetch)
{
	c->regs.rip = (uintptr_t)m->mem + 4094;
	memcpy((void *)(uintptr_t)c->regs.rip, "\x66\x0f\x38\x80", 4); /* needs five */
	m->forbidden = (uintptr_t)m->mem + 4096;
	/* Cut off by the page's end: no instruction. */
	ck_assert_int_eq(STEP(m, 0x66, 0x0f), INSN_EVENT);
	m->forbidden = 0;
	memcpy((void *)(uintptr_t)c->regs.rip, "\xf3\x0f\xb8\xc1", 4);
	c->regs.rcx = 0xff;
	ck_assert_int_eq(STEP(m, 0xf3, 0x0f), INSN_DONE); /* popcnt %ecx, %eax */
	ck_assert_uint_eq(c->regs.rax, 8);
}
END_TEST

/* --- short ones ------------------------------------------------------------------ */

START_TEST(stac_clac)
{
	c->cpuid[INSN_CPUID_7B] |= 1 << 20;
	DONE(3, 0x0f, 0x01, 0xcb);
	ck_assert_uint_eq(c->regs.rflags, 2 | AC);
	DONE(3, 0x0f, 0x01, 0xca);
	ck_assert_uint_eq(c->regs.rflags, 2);
	user_mode();
	RAISES(6, -1, 0x0f, 0x01, 0xcb);
	RAISES(6, -1, 0x0f, 0x01, 0xca);
	c->sregs.cs.selector = 0x10;
	c->cpuid[INSN_CPUID_7B] &= ~(1u << 20);
	RAISES(6, -1, 0x0f, 0x01, 0xcb);
}
END_TEST

START_TEST(cmpxchg16b)
{
	static _Alignas(16) unsigned __int128 native;

	if (!(c->cpuid[INSN_CPUID_1C] & 1 << 13)) {
		printf("skipped: this processor lacks cmpxchg16b\n");
		return;
	}
	for (unsigned i = 0; i < 100; i++) {
		uint64_t old[2] = { rnd() & 1, rnd() & 1 }, rax = rnd() & 1, rdx = rnd() & 1;
		uint64_t rbx = rnd(), rcx = rnd();
		bool locked = i & 1, zf;

		memcpy(&native, old, 16);
		memcpy(m->mem, old, 16);
		c->regs.rax = rax;
		c->regs.rdx = rdx;
		c->regs.rbx = rbx;
		c->regs.rcx = rcx;
		c->regs.rdi = (uintptr_t)m->mem;
		c->regs.rflags = rnd() & 0x8d5;
		__asm__ volatile("cmpxchg16b %0"
				 : "+m"(native), "+a"(rax), "+d"(rdx), "=@ccz"(zf)
				 : "b"(rbx), "c"(rcx));
		if (locked)
			DONE(5, 0xf0, 0x48, 0x0f, 0xc7, 0x0f);
		else
			DONE(4, 0x48, 0x0f, 0xc7, 0x0f);
		ck_assert_mem_eq(m->mem, &native, 16);
		ck_assert_uint_eq(c->regs.rax, rax);
		ck_assert_uint_eq(c->regs.rdx, rdx);
		ck_assert_int_eq(!!(c->regs.rflags & ZF), zf);
	}
	c->regs.rdi = (uintptr_t)m->mem + 8;
	RAISES(13, 0, 0x48, 0x0f, 0xc7, 0x0f);
	c->regs.rdi = (uintptr_t)m->mem;
	m->read_only = (uintptr_t)m->mem;
	RAISES(14, 3, 0x48, 0x0f, 0xc7, 0x0f);
	c->cpuid[INSN_CPUID_1C] &= ~(1u << 13);
	RAISES(6, -1, 0x48, 0x0f, 0xc7, 0x0f);
}
END_TEST

START_TEST(tsc_aux)
{
	c->cpuid[INSN_CPUID_X1D] |= 1 << 27;
	c->cpuid[INSN_CPUID_7C] |= 1 << 22;
	m->msr_index = 0xc0000103;
	m->msr_value = 0x123456789;
	c->regs.rax = c->regs.rdx = c->regs.rcx = ~0ull;
	DONE(3, 0x0f, 0x01, 0xf9); /* rdtscp */
	ck_assert_uint_eq(c->regs.rcx, 0x23456789);
	ck_assert_uint_eq(c->regs.rax, 0);
	ck_assert_uint_eq(c->regs.rdx, 0);
	DONE(4, 0xf3, 0x0f, 0xc7, 0xfb); /* rdpid %rbx */
	ck_assert_uint_eq(c->regs.rbx, 0x23456789);
	m->msr_index = 0x10;
	DONE(3, 0x0f, 0x01, 0xf9);
	ck_assert_uint_eq(c->regs.rax, 0x23456789);
	ck_assert_uint_eq(c->regs.rdx, 1);
	user_mode();
	DONE(3, 0x0f, 0x01, 0xf9);
	c->sregs.cr4 |= 4; /* TSD */
	RAISES(13, 0, 0x0f, 0x01, 0xf9);
	DONE(4, 0xf3, 0x0f, 0xc7, 0xfb);
	c->cpuid[INSN_CPUID_X1D] &= ~(1u << 27);
	c->cpuid[INSN_CPUID_7C] &= ~(1u << 22);
	RAISES(6, -1, 0x0f, 0x01, 0xf9);
	RAISES(6, -1, 0xf3, 0x0f, 0xc7, 0xfb);
}
END_TEST

START_TEST(cache_lines)
{
	c->cpuid[INSN_CPUID_7B] |= 1u << 23 | 1u << 24;
	c->cpuid[INSN_CPUID_X8B] |= 1;
	memset(m->mem, 0x77, MEM_SIZE);
	c->regs.rdi = (uintptr_t)m->mem + 200;
	DONE(4, 0x66, 0x0f, 0xae, 0x3f); /* clflushopt (%rdi) */
	DONE(4, 0x66, 0x0f, 0xae, 0x37); /* clwb */
	DONE(3, 0x0f, 0x1c, 0x07); /* cldemote */
	ck_assert_uint_eq(m->writes, 0);
	c->regs.rax = c->regs.rdi;
	DONE(3, 0x0f, 0x01, 0xfc); /* clzero */
	for (unsigned i = 0; i < MEM_SIZE; i++)
		ck_assert_uint_eq(m->mem[i], i >= 192 && i < 256 ? 0 : 0x77);
	m->forbidden = (uintptr_t)m->mem;
	RAISES(14, 0, 0x66, 0x0f, 0xae, 0x3f);
	RAISES(14, 0, 0x66, 0x0f, 0xae, 0x37);
	RAISES(14, 2, 0x0f, 0x01, 0xfc);
	c->regs.rdi = 1ull << 62;
	RAISES(13, 0, 0x66, 0x0f, 0xae, 0x3f);
	c->cpuid[INSN_CPUID_7B] = c->cpuid[INSN_CPUID_X8B] = 0;
	RAISES(6, -1, 0x66, 0x0f, 0xae, 0x3f);
	RAISES(6, -1, 0x66, 0x0f, 0xae, 0x37);
	RAISES(6, -1, 0x0f, 0x01, 0xfc);
}
END_TEST

START_TEST(monitor_mwait)
{
	c->regs.rax = (uintptr_t)m->mem;
	DONE(3, 0x0f, 0x01, 0xc8); /* monitor */
	DONE(3, 0x0f, 0x01, 0xc9); /* mwait */
	DONE(3, 0x0f, 0x01, 0xfa); /* monitorx */
	DONE(3, 0x0f, 0x01, 0xfb); /* mwaitx */
	c->regs.rcx = 1;
	RAISES(13, 0, 0x0f, 0x01, 0xc8);
	DONE(3, 0x0f, 0x01, 0xc9); /* wake even when interrupts are off */
	c->regs.rcx = 4;
	RAISES(13, 0, 0x0f, 0x01, 0xc9);
	c->regs.rcx = 0;
	m->forbidden = (uintptr_t)m->mem;
	RAISES(14, 0, 0x0f, 0x01, 0xc8);
	m->forbidden = 0;
	user_mode();
	RAISES(6, -1, 0x0f, 0x01, 0xc8);
	RAISES(6, -1, 0x0f, 0x01, 0xc9);
}
END_TEST

/* The first instructions of a page fault handler. */
START_TEST(handler_entry)
{
	uint64_t rsp = c->regs.rsp, val;

	c->regs.rflags |= 1 << 10;
	DONE(1, 0xfc); /* cld */
	ck_assert_uint_eq(c->regs.rflags, 2);
	DONE(4, 0xf3, 0x0f, 0x1e, 0xfa); /* endbr64 */
	DONE(1, 0x90);
	DONE(3, 0x0f, 0x1f, 0x00);
	DONE(9, 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0);
	c->regs.r13 = 0x1122334455667788;
	DONE(2, 0x41, 0x55); /* push %r13 */
	memcpy(&val, (void *)(uintptr_t)(rsp - 8), 8);
	ck_assert_uint_eq(val, 0x1122334455667788);
	DONE(2, 0x6a, 0xff); /* push $-1 */
	memcpy(&val, (void *)(uintptr_t)(rsp - 16), 8);
	ck_assert_uint_eq(val, ~0ull);
	DONE(5, 0x68, 0xf0, 0xff, 0xff, 0xff); /* push $-16 */
	memcpy(&val, (void *)(uintptr_t)(rsp - 24), 8);
	ck_assert_uint_eq(val, ~15ull);
	DONE(1, 0x54); /* push %rsp: its value before */
	memcpy(&val, (void *)(uintptr_t)(rsp - 32), 8);
	ck_assert_uint_eq(val, rsp - 24);
	ck_assert_uint_eq(c->regs.rsp, rsp - 32);
	c->regs.rip = RIP;
	ck_assert_int_eq(STEP(m, 0xe8, 0xf0, 0xff, 0xff, 0xff), INSN_DONE); /* call .-11 */
	ck_assert_uint_eq(c->regs.rip, RIP + 5 - 16);
	memcpy(&val, (void *)(uintptr_t)(rsp - 40), 8);
	ck_assert_uint_eq(val, RIP + 5);
	c->regs.rsp = (uintptr_t)m->mem + 4096;
	m->read_only = (uintptr_t)m->mem;
	RAISES(14, 3, 0x50);
	ck_assert_uint_eq(c->regs.rsp, (uintptr_t)m->mem + 4096);
	RAISES(14, 3, 0xe8, 0, 0, 0, 0);
}
END_TEST

/* ENTER of several levels, natively on a stack of its own. */
START_TEST(enter)
{
	static uint8_t stack[2048], mine[2048];
	static const uint64_t at = 1024;

#define NATIVE(level)                                                                              \
	__asm__ volatile(                                                                          \
		"mov %%rsp, %%r12\n	mov %%rbp, %%r13\n	mov %2, %%rsp\n	mov %3, %%rbp\n"            \
		"	enter $48, $" #level "\n"                                                  \
		"	mov %%rsp, %0\n	mov %%rbp, %1\n	mov %%r12, %%rsp\n	mov %%r13, %%rbp"             \
		: "=&a"(rsp), "=&b"(rbp)                                                           \
		: "c"(stack + at), "d"(stack + at + 512)                                           \
		: "r12", "r13", "memory")
	for (unsigned level = 0; level < 5; level++) {
		uint64_t rsp, rbp;

		for (size_t i = 0; i < sizeof(stack); i++)
			stack[i] = (uint8_t)rnd();
		memcpy(mine, stack, sizeof(mine));
		memcpy(m->mem, stack, sizeof(stack));
		if (level == 0)
			NATIVE(0);
		else if (level == 1)
			NATIVE(1);
		else if (level == 2)
			NATIVE(2);
		else if (level == 3)
			NATIVE(3);
		else
			NATIVE(31);
		c->regs.rsp = (uintptr_t)m->mem + at;
		c->regs.rbp = (uintptr_t)m->mem + at + 512;
		DONE(4, 0xc8, 48, 0, (uint8_t)(level == 4 ? 31 : level));
		ck_assert_uint_eq(c->regs.rsp - (uintptr_t)m->mem, rsp - (uintptr_t)stack);
		ck_assert_uint_eq(c->regs.rbp - (uintptr_t)m->mem, rbp - (uintptr_t)stack);
		/* Frame pointers differ by where the stacks are; signals may use what is below RSP.
		 */
		for (uint64_t off = rsp - (uintptr_t)stack; off < sizeof(stack); off += 8) {
			uint64_t a, b;

			memcpy(&a, stack + off, 8);
			memcpy(&b, m->mem + off, 8);
			if (a - (uintptr_t)stack < sizeof(stack))
				a += (uintptr_t)m->mem - (uintptr_t)stack;
			ck_assert_uint_eq(a, b);
		}
	}
#undef NATIVE
	m->read_only = (uintptr_t)m->mem;
	c->regs.rsp = (uintptr_t)m->mem + at;
	RAISES(14, 3, 0xc8, 0, 0, 1);
	ck_assert_uint_eq(c->regs.rsp, (uintptr_t)m->mem + at);
}
END_TEST

/* --- descriptors ----------------------------------------------------------------- */

static void set_gdt(unsigned sel, uint64_t desc)
{
	memcpy(m->mem + (sel & ~7u), &desc, 8);
}

static void gdt_at_mem(unsigned limit)
{
	c->sregs.gdt.base = (uintptr_t)m->mem;
	c->sregs.gdt.limit = (uint16_t)limit;
	c->sregs.ldt.unusable = 1;
}

struct answer {
	uint64_t val;
	bool zf;
};

/* op: 2 LAR, 3 LSL with 64-, 32- or 16-bit registers; -4 VERR, -5 VERW. */
static struct answer ask_carrier(int op, unsigned size, uint16_t sel)
{
	uint8_t prefix = size == 2 ? 0x66 : size == 8 ? 0x48 : 0x3e; /* DS: no effect */

	c->regs.rip = RIP;
	c->regs.rax = 0xa5a5a5a5a5a5a5a5;
	c->regs.rcx = sel | 0xbeef0000u;
	c->regs.rflags = 2;
	if (op > 0)
		ck_assert_int_eq(STEP(m, prefix, 0x0f, (uint8_t)op, 0xc1), INSN_DONE);
	else
		ck_assert_int_eq(STEP(m, 0x0f, 0x00, (uint8_t)(0xc1 | -op << 3)), INSN_DONE);
	return (struct answer){ c->regs.rax, c->regs.rflags & ZF };
}

static struct answer ask_processor(int op, unsigned size, uint16_t sel)
{
	struct answer a = { 0xa5a5a5a5a5a5a5a5, false };
	uint64_t s = sel;

#define ASK(insn) __asm__ volatile(insn : "+a"(a.val), "=@ccz"(a.zf) : "c"(s))
	if (op == 2 && size == 2)
		ASK("lar %%cx, %%ax");
	else if (op == 2 && size == 4)
		ASK("lar %%ecx, %%eax");
	else if (op == 2)
		ASK("lar %%rcx, %%rax");
	else if (op == 3 && size == 2)
		ASK("lsl %%cx, %%ax");
	else if (op == 3 && size == 4)
		ASK("lsl %%ecx, %%eax");
	else if (op == 3)
		ASK("lsl %%rcx, %%rax");
	else if (op == -4)
		ASK("verr %%cx");
	else
		ASK("verw %%cx");
#undef ASK
	return a;
}

/* Linux has the same descriptors on every processor (asm/segment.h): ask about those. */
START_TEST(descriptors_natively)
{
	static const struct {
		uint16_t sel;
		uint64_t desc;
	} gdt[] = {
		{ 0x08, 0x00cf9b000000ffff }, /* kernel code, 32-bit */
		{ 0x10, 0x00af9b000000ffff }, /* kernel code */
		{ 0x18, 0x00cf93000000ffff }, /* kernel data */
		{ 0x20, 0x00cffb000000ffff }, /* user code, 32-bit */
		{ 0x28, 0x00cff3000000ffff }, /* user data */
		{ 0x30, 0x00affb000000ffff }, /* user code */
		{ 0x40, 0x00008b0000004087 }, /* TSS */
	};
	static const int ops[] = { 2, 3, -4, -5 };

	gdt_at_mem(0x7f);
	user_mode();
	for (size_t g = 0; g < sizeof(gdt) / sizeof(gdt[0]); g++)
		set_gdt(gdt[g].sel, gdt[g].desc);
	for (size_t o = 0; o < 4; o++) {
		for (unsigned size = 2; size <= 8; size *= 2) {
			for (unsigned rpl = 0; rpl < 4; rpl++) {
				for (size_t g = 0; g <= sizeof(gdt) / sizeof(gdt[0]); g++) {
					uint16_t sel = (uint16_t)((g < 7 ? gdt[g].sel : 0) | rpl);
					struct answer a = ask_carrier(ops[o], size, sel);
					struct answer b = ask_processor(ops[o], size, sel);

					ck_assert_msg(
						a.val == b.val && a.zf == b.zf,
						"op %d size %u selector %x: %llx %d, natively "
						"%llx %d",
						ops[o], size, sel, (unsigned long long)a.val, a.zf,
						(unsigned long long)b.val, b.zf);
				}
				/* Beyond both tables, and in the empty LDT. */
				ck_assert(!ask_carrier(ops[o], size, 0xfff8).zf);
				ck_assert(!ask_processor(ops[o], size, 0xfff8).zf);
				ck_assert(!ask_carrier(ops[o], size, 4).zf);
				ck_assert(!ask_processor(ops[o], size, 4).zf);
			}
		}
	}
}
END_TEST

/* What no user may ask natively: the kernel's view, system types, LDT, faults. */
START_TEST(descriptors)
{
	struct answer a;

	gdt_at_mem(0xff);
	set_gdt(0x10, 0x00af9b000000ffff);
	set_gdt(0x18, 0x00cf93000000ffff);
	set_gdt(0x20, 0x0040910012345678); /* read-only data, byte limit */
	set_gdt(0x28, 0x0040990000001000); /* execute-only code */
	set_gdt(0x30, 0x00409f0000001000); /* conforming, DPL 0 */
	a = ask_carrier(2, 4, 0x10);
	ck_assert(a.zf && a.val == 0x00af9b00);
	a = ask_carrier(3, 4, 0x18);
	ck_assert(a.zf && a.val == 0xffffffff);
	ck_assert(!ask_carrier(2, 4, 0x13).zf); /* RPL 3, DPL 0 */
	ck_assert(ask_carrier(2, 4, 0x33).zf); /* conforming */
	a = ask_carrier(3, 4, 0x20);
	ck_assert(a.zf && a.val == 0x5678);
	ck_assert(ask_carrier(-4, 2, 0x20).zf && !ask_carrier(-5, 2, 0x20).zf);
	ck_assert(!ask_carrier(-4, 2, 0x28).zf && !ask_carrier(-5, 2, 0x28).zf);
	ck_assert(ask_carrier(-4, 2, 0x18).zf && ask_carrier(-5, 2, 0x18).zf);
	/* System types 0..15, in long mode and out of it (APM volume 3, LAR and LSL). */
	for (unsigned type = 0; type < 16; type++) {
		bool lar = type == 2 || type == 9 || type == 11 || type == 12;
		bool lsl = type == 2 || type == 9 || type == 11;

		set_gdt(0x40, 0x0000800000000067 | (uint64_t)type << 40);
		ck_assert_int_eq(ask_carrier(2, 4, 0x40).zf, lar);
		ck_assert_int_eq(ask_carrier(3, 4, 0x40).zf, lsl);
		ck_assert(!ask_carrier(-4, 2, 0x40).zf && !ask_carrier(-5, 2, 0x40).zf);
	}
	/* The LDT */
	c->sregs.ldt = (struct kvm_segment){ .base = (uintptr_t)m->mem + 0x80, .limit = 15 };
	memcpy(m->mem + 0x88, &(uint64_t){ 0x00cff3000000ffff }, 8);
	ck_assert(ask_carrier(2, 4, 0x0f).zf);
	ck_assert(!ask_carrier(2, 4, 0x17).zf);
	/* The limit counts to the descriptor's last byte. */
	c->sregs.gdt.limit = 0x16;
	ck_assert(!ask_carrier(2, 4, 0x10).zf);
	c->sregs.gdt.limit = 0x17;
	ck_assert(ask_carrier(2, 4, 0x10).zf);
	/* Memory: 16 bits, whatever the operand size; a fault in the table is a supervisor's. */
	memcpy(m->mem + 4096 - 2, &(uint16_t){ 0x10 }, 2);
	m->forbidden = (uintptr_t)m->mem + 4096;
	c->regs.rdi = m->forbidden - 2;
	DONE(4, 0x48, 0x0f, 0x02, 0x07); /* lar (%rdi), %rax */
	ck_assert(c->regs.rflags & ZF);
	m->forbidden = (uintptr_t)m->mem;
	c->regs.rcx = 0x10;
	RAISES(14, 0, 0x0f, 0x02, 0xc1);
	m->forbidden = 0;
	mode32();
	for (unsigned type = 0; type < 16; type++) {
		bool lsl = type == 1 || type == 2 || type == 3 || type == 9 || type == 11;
		bool lar = lsl || type == 4 || type == 5 || type == 12;

		c->sregs.gdt.limit = 0xff;
		set_gdt(0x40, 0x0000800000000067 | (uint64_t)type << 40);
		ck_assert_int_eq(ask_carrier(2, 4, 0x40).zf, lar);
		ck_assert_int_eq(ask_carrier(3, 4, 0x40).zf, lsl);
	}
	c->sregs.cr0 &= ~1ull; /* real mode */
	RAISES(6, -1, 0x0f, 0x02, 0xc1);
	RAISES(6, -1, 0x0f, 0x00, 0xe1);
}
END_TEST

/* --- privilege -------------------------------------------------------------------- */

/* The stack of mode32() is in low memory, where the machine has none: use base addresses. */
static void frame32(const uint32_t *words, unsigned n)
{
	memcpy(m->mem + 0x1000, words, n * 4);
	c->sregs.ss.base = (uintptr_t)m->mem & 0xffffffff;
	c->regs.rsp = 0x1000;
}

/* The machine's memory must be in reach of 32 bits: give it such an address by its base. */
static int low_read(struct insn_cpu *cpu, uint64_t lin, void *buf, size_t len, unsigned how)
{
	return machine_read(cpu, (uintptr_t)m->mem + (uint32_t)(lin - (uint32_t)(uintptr_t)m->mem),
			    buf, len, how);
}

static struct insn_ops low_ops;

static void iret_setup(void)
{
	mode32();
	low_ops = *c->ops;
	low_ops.read = low_read;
	c->ops = &low_ops;
	gdt_at_mem(0x3f);
	c->sregs.gdt.base = (uint32_t)(uintptr_t)m->mem;
	set_gdt(0x08, 0x00cf9b000000ffff);
	set_gdt(0x10, 0x00cf93000000ffff);
	set_gdt(0x18, 0x00cffb000000ffff);
	set_gdt(0x20, 0x00cff3000000ffff);
	set_gdt(0x28, 0x00cf1b000000ffff); /* code, not present */
	set_gdt(0x30, 0x00407b0000000fff); /* code of ring 3, not present */
	set_gdt(0x38, 0x0040fb0000000fff); /* code of ring 3, small */
	c->sregs.cs.selector = 0x08;
	c->sregs.ss.selector = 0x10;
	c->regs.rflags = 2;
}

START_TEST(iret_same_ring)
{
	iret_setup();
	frame32((const uint32_t[]){ 0x1234, 0xffff0008, 0x00240ed7 }, 3);
	c->regs.rip = RIP;
	ck_assert_int_eq(STEP(m, 0xcf), INSN_DONE);
	ck_assert_uint_eq(c->regs.rip, 0x1234);
	ck_assert_uint_eq(c->regs.rsp, 0x100c);
	/* ID, AC, status, TF and the like; bit 1 is always set */
	ck_assert_uint_eq(c->regs.rflags, 0x00240ed7);
	ck_assert_uint_eq(c->sregs.cs.selector, 8);
	ck_assert_uint_eq(c->sregs.cs.limit, 0xffffffff);
	ck_assert(c->sregs.cs.db && c->sregs.cs.type == 11 && c->sregs_dirty);
	/* 16 bits: the upper half of the flags stays */
	c->regs.rflags = 2 | AC;
	memcpy(m->mem + 0x1000, (const uint16_t[]){ 0x4321, 8, 0x0206 }, 6);
	c->regs.rsp = 0x1000;
	ck_assert_int_eq(STEP(m, 0x66, 0xcf), INSN_DONE);
	ck_assert_uint_eq(c->regs.rip, 0x4321);
	ck_assert_uint_eq(c->regs.rsp, 0x1006);
	ck_assert_uint_eq(c->regs.rflags, (0x0206 | AC));
}
END_TEST

START_TEST(iret_outer_ring)
{
	iret_setup();
	c->sregs.ds.selector = 0x10;
	c->sregs.es = c->sregs.ds;
	c->sregs.es.dpl = 3;
	frame32((const uint32_t[]){ 0x5678, 0x1b, 0x202, 0x2000, 0x23 }, 5);
	ck_assert_int_eq(STEP(m, 0xcf), INSN_DONE);
	ck_assert_uint_eq(c->regs.rip, 0x5678);
	ck_assert_uint_eq(c->regs.rsp, 0x2000);
	ck_assert_uint_eq(c->regs.rflags, 0x202);
	ck_assert_uint_eq(c->sregs.cs.selector, 0x1b);
	ck_assert_uint_eq(c->sregs.cs.dpl, 3);
	ck_assert_uint_eq(c->sregs.ss.selector, 0x23);
	ck_assert_uint_eq(c->sregs.ss.dpl, 3);
	/* The inner ring's data segment is gone, the outer ring's is not. */
	ck_assert(c->sregs.ds.unusable && !c->sregs.es.unusable);
}
END_TEST

START_TEST(iret_faults)
{
	static const struct {
		uint32_t words[5];
		uint8_t vector;
		int error;
	} bad[] = {
		{ { 0x1000, 0, 2 }, 13, 0 }, /* null CS */
		{ { 0x1000, 0x10, 2 }, 13, 0x10 }, /* data */
		{ { 0x1000, 0xff8, 2 }, 13, 0xff8 }, /* beyond the table */
		{ { 0x1000, 0x28, 2 }, 11, 0x28 }, /* not present */
		{ { 0x1000, 0x0b, 2 }, 13, 0x08 }, /* RPL 3, DPL 0 */
		{ { 0x1000, 0x33, 2, 0x2000, 0x23 }, 11, 0x30 }, /* outer, not present */
		{ { 0x1000, 0x1b, 2, 0x2000, 0x00 }, 13, 0 }, /* null SS */
		{ { 0x1000, 0x1b, 2, 0x2000, 0x13 }, 13, 0x10 }, /* SS of ring 0 */
		{ { 0x1000, 0x1b, 2, 0x2000, 0x1b }, 13, 0x18 }, /* SS is code */
		{ { 0x1000, 0x3b, 2, 0x2000, 0x23 }, 13, 0 }, /* EIP beyond the limit */
	};

	iret_setup();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct kvm_regs before;

		frame32(bad[i].words, 5);
		c->regs.rip = RIP;
		before = c->regs;
		expect(STEP(m, 0xcf), bad[i].vector, bad[i].error);
		ck_assert_mem_eq(&before, &c->regs, sizeof(before));
		ck_assert_uint_eq(c->sregs.cs.selector, 8);
	}
	/* Beyond what is done here, and said so. */
	frame32((const uint32_t[]){ 0x1000, 0x08, 0x20002 }, 3); /* VM */
	ck_assert_int_eq(STEP(m, 0xcf), INSN_UNSUPPORTED);
	c->regs.rflags |= NT;
	ck_assert_int_eq(STEP(m, 0xcf), INSN_UNSUPPORTED);
	/* From ring 3, IF and IOPL do not change. */
	c->regs.rflags = 2 | IF;
	c->sregs.cs.selector = 0x1b;
	frame32((const uint32_t[]){ 0x1000, 0x1b, 0x3002 }, 3);
	c->sregs.ss.dpl = 3;
	ck_assert_int_eq(STEP(m, 0xcf), INSN_DONE);
	ck_assert_uint_eq(c->regs.rflags, (2 | IF));
}
END_TEST

START_TEST(sysenter_sysexit)
{
	c->cpuid[INSN_CPUID_1D] |= 1 << 11;
	RAISES(13, 0, 0x0f, 0x34); /* SYSENTER_CS is 0 */
	m->msr_index = 0x174;
	m->msr_value = 0x10;
	c->regs.rflags = 2 | IF;
	c->regs.rip = RIP;
	user_mode();
	ck_assert_int_eq(STEP(m, 0x0f, 0x34), INSN_DONE);
	ck_assert_uint_eq(c->sregs.cs.selector, 0x10);
	ck_assert(c->sregs.cs.l && !c->sregs.cs.db && c->sregs.cs.dpl == 0);
	ck_assert_uint_eq(c->sregs.ss.selector, 0x18);
	ck_assert_uint_eq(c->sregs.ss.dpl, 0);
	ck_assert_uint_eq(c->regs.rflags, 2);
	ck_assert_uint_eq(c->regs.rip, 0); /* SYSENTER_EIP */
	ck_assert_uint_eq(c->regs.rsp, 0);
	c->regs.rdx = 0x1122334455;
	c->regs.rcx = 0x5544332211;
	ck_assert_int_eq(STEP(m, 0x48, 0x0f, 0x35), INSN_DONE); /* sysexitq */
	ck_assert_uint_eq(c->regs.rip, 0x1122334455);
	ck_assert_uint_eq(c->regs.rsp, 0x5544332211);
	ck_assert_uint_eq(c->sregs.cs.selector, 0x33);
	ck_assert_uint_eq(c->sregs.ss.selector, 0x3b);
	ck_assert(c->sregs.cs.l && c->sregs.cs.dpl == 3 && c->sregs.ss.dpl == 3);
	c->regs.rip = RIP;
	RAISES(13, 0, 0x0f, 0x35); /* not from ring 3 */
	c->sregs.cs.selector = 0x10;
	ck_assert_int_eq(STEP(m, 0x0f, 0x35), INSN_DONE);
	ck_assert_uint_eq(c->regs.rip, 0x22334455);
	ck_assert_uint_eq(c->sregs.cs.selector, 0x23);
	ck_assert(!c->sregs.cs.l && c->sregs.cs.db);
	c->cpuid[INSN_CPUID_1D] = 0;
	RAISES(6, -1, 0x0f, 0x34);
}
END_TEST

START_TEST(sysret)
{
	m->msr_index = 0xc0000081;
	m->msr_value = 0x0023001000000000;
	c->regs.rcx = 0x7f1122334455;
	c->regs.r11 = ~0ull;
	ck_assert_int_eq(STEP(m, 0x48, 0x0f, 0x07), INSN_DONE);
	ck_assert_uint_eq(c->regs.rip, 0x7f1122334455);
	ck_assert_uint_eq(c->sregs.cs.selector, 0x33);
	ck_assert_uint_eq(c->sregs.ss.selector, 0x2b);
	ck_assert(c->sregs.cs.l && c->sregs.cs.dpl == 3 && c->sregs.ss.dpl == 3);
	ck_assert_uint_eq(c->regs.rflags, 0x3c7fd7); /* neither RF nor VM */
	c->regs.rflags = 2;
	RAISES(13, 0, 0x48, 0x0f, 0x07); /* not from ring 3 */
	c->sregs.cs.selector = 0x10;
	ck_assert_int_eq(STEP(m, 0x0f, 0x07), INSN_DONE); /* to compatibility mode */
	ck_assert_uint_eq(c->sregs.cs.selector, 0x23);
	ck_assert_uint_eq(c->regs.rip, 0x22334455);
	ck_assert(!c->sregs.cs.l && c->sregs.cs.db);
	c->sregs.efer &= ~1ull;
	c->sregs.cs.l = 1;
	RAISES(6, -1, 0x48, 0x0f, 0x07);
}
END_TEST

START_TEST(invpcid)
{
	uint64_t *desc = (uint64_t *)(void *)m->mem;

	c->cpuid[INSN_CPUID_7B] |= 1 << 10;
	c->regs.rdi = (uintptr_t)m->mem;
#define INVPCID 0x66, 0x0f, 0x38, 0x82, 0x07 /* (%rdi), %rax */
	for (unsigned type = 0; type < 4; type++) {
		c->regs.rax = type;
		DONE(5, INVPCID);
		ck_assert(c->flush_tlb);
	}
	c->regs.rax = 4;
	RAISES(13, 0, INVPCID);
	ck_assert(!c->flush_tlb);
	c->regs.rax = 1;
	desc[0] = 7;
	RAISES(13, 0, INVPCID); /* CR4.PCIDE is clear */
	c->sregs.cr4 |= 1 << 17;
	DONE(5, INVPCID);
	desc[0] = 1 << 12;
	RAISES(13, 0, INVPCID);
	desc[0] = 0;
	desc[1] = 1ull << 60;
	DONE(5, INVPCID);
	c->regs.rax = 0;
	RAISES(13, 0, INVPCID); /* not canonical */
	m->forbidden = (uintptr_t)m->mem;
	RAISES(14, 0, INVPCID);
	user_mode();
	RAISES(13, 0, INVPCID);
	c->cpuid[INSN_CPUID_7B] = 0;
	RAISES(6, -1, INVPCID);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("assist_insn");
	TCase *t = tcase_create("insn");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, software_interrupts);
	tcase_add_test(t, undefined);
	tcase_add_test(t, trap_and_resume_flags);
	tcase_add_test(t, fetch);
	tcase_add_test(t, stac_clac);
	tcase_add_test(t, cmpxchg16b);
	tcase_add_test(t, tsc_aux);
	tcase_add_test(t, cache_lines);
	tcase_add_test(t, monitor_mwait);
	tcase_add_test(t, handler_entry);
	tcase_add_test(t, enter);
	tcase_add_test(t, descriptors_natively);
	tcase_add_test(t, descriptors);
	tcase_add_test(t, iret_same_ring);
	tcase_add_test(t, iret_outer_ring);
	tcase_add_test(t, iret_faults);
	tcase_add_test(t, sysenter_sysexit);
	tcase_add_test(t, sysret);
	tcase_add_test(t, invpcid);
	suite_add_tcase(s, t);
	return run_suite(s);
}
