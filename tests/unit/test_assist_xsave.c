/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XSAVE and its relatives in the carrier, against the processor's: random states, masks and
 * areas. XSAVES and XRSTORS, which only kernels may use, against the compacted format they share.
 */
#include <check.h>
#include <stdio.h>

#include "suite.h"
#include "assist_machine.h"

#define AREA 2048u /* offset in the machine's memory; 64-byte aligned */
#define RUNS 400
#define USED 2432u /* x87, SSE, AVX, AVX-512 */

static uint64_t seed;

static uint64_t rnd(void)
{
	return machine_random(&seed);
}

static uint64_t header(const uint8_t *area, unsigned n)
{
	uint64_t v;

	memcpy(&v, area + 512 + 8 * n, 8);
	return v;
}

static void set_header(uint8_t *area, unsigned n, uint64_t v)
{
	memcpy(area + 512 + 8 * n, &v, 8);
}

/* A state that the processor has held: what it saves after it has loaded a random one. */
static void random_state(uint8_t *area, uint64_t xcr0)
{
	uint32_t mxcsr = 0x1f80 ^ ((uint32_t)rnd() & (rnd() & 1 ? 0xffff : 0));
	uint16_t fcw = 0x37f;

	for (size_t i = 0; i < XSAVE_AREA; i += 8) {
		uint64_t v = rnd();

		memcpy(area + i, &v, 8);
	}
	memset(area + 512, 0, 64);
	set_header(area, 0, xcr0 & rnd());
	memset(area, 0, 32);
	memcpy(area, &fcw, 2);
	area[4] = (uint8_t)rnd();
	memcpy(area + 8, &(uint64_t){ rnd() & 0x7fffffffffff }, 8);
	memcpy(area + 16, &(uint64_t){ rnd() & 0x7fffffffffff }, 8);
	memcpy(area + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++)
		memset(area + 32 + 16 * i + 10, 0, 6);
	__asm__ volatile("xrstor64 %0\n	xsave64 %0\n	fninit\n	emms"
			 : "+m"(*(uint8_t(*)[XSAVE_AREA])area)
			 : "a"(0xe7), "d"(0)
			 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
			   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	__asm__ volatile("ldmxcsr %0" ::"m"((uint32_t){ 0x1f80 }));
}

enum form { XSAVE, XSAVE64, XSAVEOPT, XSAVEOPT64, XSAVEC, XSAVEC64, XRSTOR, XRSTOR64 };

/* All with the operand at (%rdi). */
static const struct {
	const char *name;
	uint8_t code[4], len;
	int bit; /* of CPUID 0xd.1 EAX; -1: none needed */
} forms[] = {
	[XSAVE] = { "xsave", { 0x0f, 0xae, 0x27 }, 3, -1 },
	[XSAVE64] = { "xsave64", { 0x48, 0x0f, 0xae, 0x27 }, 4, -1 },
	[XSAVEOPT] = { "xsaveopt", { 0x0f, 0xae, 0x37 }, 3, 0 },
	[XSAVEOPT64] = { "xsaveopt64", { 0x48, 0x0f, 0xae, 0x37 }, 4, 0 },
	[XSAVEC] = { "xsavec", { 0x0f, 0xc7, 0x27 }, 3, 1 },
	[XSAVEC64] = { "xsavec64", { 0x48, 0x0f, 0xc7, 0x27 }, 4, 1 },
	[XRSTOR] = { "xrstor", { 0x0f, 0xae, 0x2f }, 3, -1 },
	[XRSTOR64] = { "xrstor64", { 0x48, 0x0f, 0xae, 0x2f }, 4, -1 },
};

/* Loads state, runs the form on area with mask, and saves the state again. */
static void native(enum form f, uint8_t *state, uint8_t *area, uint64_t mask)
{
#define RUN(insn)                                                                                  \
	__asm__ volatile(                                                                          \
		"mov $0xe7, %%eax\n	xor %%edx, %%edx\n	xrstor64 (%0)\n"                            \
		"	mov %2, %%rax\n	mov %2, %%rdx\n	shr $32, %%rdx\n"                                \
		"	" insn " (%1)\n"                                                           \
		"	mov $0xe7, %%eax\n	xor %%edx, %%edx\n	xsave64 (%0)\n"                            \
		"	fninit\n	push $0x1f80\n	ldmxcsr (%%rsp)\n	pop %%rax\n" ::    \
			"r"(state),                                                                \
		"D"(area), "r"(mask)                                                               \
		: "rax", "rdx", "memory", "cc")
	switch (f) {
	case XSAVE:
		RUN("xsave");
		break;
	case XSAVE64:
		RUN("xsave64");
		break;
	case XSAVEOPT:
		RUN("xsaveopt");
		break;
	case XSAVEOPT64:
		RUN("xsaveopt64");
		break;
	case XSAVEC:
		RUN("xsavec");
		break;
	case XSAVEC64:
		RUN("xsavec64");
		break;
	case XRSTOR:
		RUN("xrstor");
		break;
	case XRSTOR64:
		RUN("xrstor64");
		break;
	}
#undef RUN
}

static struct assist_machine *m;

static void setup(void)
{
	m = machine_new();
	seed = 7;
}

static void teardown(void)
{
	machine_free(m);
}

static bool have(enum form f)
{
	if (forms[f].bit < 0 || (m->c.cpuid[INSN_CPUID_D1A] >> forms[f].bit & 1))
		return true;
	printf("skipped: this processor lacks %s\n", forms[f].name);
	return false;
}

static enum insn_status carry(enum form f, uint64_t mask)
{
	m->c.regs.rax = (rnd() & ~0xffffffffull) | (uint32_t)mask;
	m->c.regs.rdx = (rnd() & ~0xffffffffull) | mask >> 32;
	m->c.regs.rdi = (uintptr_t)m->mem + AREA;
	m->c.fpu_loaded = true;
	return machine_step(m, forms[f].code, forms[f].len);
}

static uint64_t random_mask(void)
{
	return rnd() & 1 ? ~0ull : rnd();
}

/*
 * Which components count as in use is up to the processor, and a context switch of
 * the host, or of what it runs on, between loading and saving changes it. Such runs cannot be
 * compared; there are few.
 */
#define UNSURE_MAX (RUNS / 100) /* seen: one, on a busy machine */

START_TEST(save)
{
	static _Alignas(64) uint8_t state[XSAVE_AREA], area[XSAVE_AREA];
	enum form f = (enum form)_i;
	unsigned unsure = 0;

	for (unsigned run = 0; run < RUNS && (run || have(f)); run++) {
		uint64_t mask = random_mask();

		random_state(state, m->c.xcr0);
		for (size_t i = 0; i < sizeof(area); i++)
			area[i] = (uint8_t)rnd();
		memcpy(m->xsave, state, sizeof(state));
		memcpy(m->mem + AREA, area, sizeof(area));
		native(f, state, area, mask);
		ck_assert_int_eq(carry(f, mask), INSN_DONE);
		if (header(m->mem + AREA, 0) != header(area, 0) && ++unsure <= UNSURE_MAX)
			continue;
		for (size_t i = 0; memcmp(m->mem + AREA, area, sizeof(area)) && i < sizeof(area);
		     i++)
			ck_assert_msg(m->mem[AREA + i] == area[i],
				      "%s, mask %llx, run %u: byte %zu is %02x, natively %02x",
				      forms[f].name, (unsigned long long)mask, run, i,
				      m->mem[AREA + i], area[i]);
		ck_assert(!m->c.fpu_dirty);
	}
}
END_TEST

/* compacted: areas as XSAVEC writes them. */
static void restore(enum form f, bool compacted)
{
	static _Alignas(64) uint8_t state[XSAVE_AREA], area[XSAVE_AREA], other[XSAVE_AREA];
	unsigned unsure = 0;

	for (unsigned run = 0; run < RUNS; run++) {
		uint64_t mask = random_mask();

		random_state(other, m->c.xcr0);
		random_state(state, m->c.xcr0);
		memset(area, 0, sizeof(area));
		native(compacted ? XSAVEC64 : XSAVE64, other, area, random_mask());
		set_header(area, 0, header(area, 0) & random_mask());
		memcpy(m->xsave, state, sizeof(state));
		memcpy(m->mem + AREA, area, sizeof(area));
		native(f, state, area, mask);
		ck_assert_int_eq(carry(f, mask), INSN_DONE);
		ck_assert(m->c.fpu_dirty);
		/* XSTATE_BV may differ: the processor may call a component in use that is not. */
		ck_assert_uint_eq(header(m->xsave, 0) & ~m->c.xcr0, 0);
		if ((header(state, 0) & ~header(m->xsave, 0)) && ++unsure <= UNSURE_MAX)
			continue;
		ck_assert_msg(!(header(state, 0) & ~header(m->xsave, 0)),
			      "run %u: components %llx are in use, natively %llx", run,
			      (unsigned long long)header(m->xsave, 0),
			      (unsigned long long)header(state, 0));
		set_header(m->xsave, 0, header(state, 0));
		for (size_t i = 0; memcmp(m->xsave, state, USED) && i < USED; i++)
			ck_assert_msg(m->xsave[i] == state[i],
				      "%s%s, mask %llx, run %u: byte %zu is %02x, natively %02x",
				      forms[f].name, compacted ? " compacted" : "",
				      (unsigned long long)mask, run, i, m->xsave[i], state[i]);
	}
}

START_TEST(restore_standard)
{
	restore(_i ? XRSTOR64 : XRSTOR, false);
}
END_TEST

START_TEST(restore_compacted)
{
	if (have(XSAVEC))
		restore(_i ? XRSTOR64 : XRSTOR, true);
}
END_TEST

static void expect_vector(enum insn_status s, unsigned vector)
{
	ck_assert_int_eq(s, INSN_EVENT);
	ck_assert_uint_eq(m->c.event.vector, vector);
	ck_assert(m->c.event.has_error == (vector >= 10 && vector <= 14));
	ck_assert_uint_eq(m->c.event.error, 0);
	ck_assert_uint_eq(m->c.regs.rip, 0x100000);
}

/* Areas that a processor refuses with #GP, each broken in one place. */
START_TEST(bad_areas)
{
	uint8_t *area = m->mem + AREA;
	uint64_t compact = 1ull << 63;

	memset(area, 0, XSAVE_AREA);
	ck_assert_int_eq(carry(XRSTOR64, 0), INSN_DONE);
	m->c.regs.rip = 0x100000;
	set_header(area, 0, 1ull << 9); /* not enabled */
	expect_vector(carry(XRSTOR64, 0), 13);
	set_header(area, 0, 0);
	set_header(area, 1, 1); /* XCOMP_BV without its top bit */
	expect_vector(carry(XRSTOR64, 0), 13);
	set_header(area, 1, 0);
	set_header(area, 2, 1); /* reserved */
	expect_vector(carry(XRSTOR64, 0), 13);
	set_header(area, 2, 0);
	area[26] = 1; /* reserved bit of MXCSR */
	expect_vector(carry(XRSTOR64, 2), 13);
	expect_vector(carry(XRSTOR64, 4), 13);
	ck_assert_int_eq(carry(XRSTOR64, 1), INSN_DONE); /* not looked at */
	m->c.regs.rip = 0x100000;
	area[26] = 0;
	if (have(XSAVEC)) {
		set_header(area, 1, compact | 3);
		set_header(area, 0, 4); /* not in XCOMP_BV */
		expect_vector(carry(XRSTOR64, 0), 13);
		set_header(area, 1, compact | 1ull << 9);
		set_header(area, 0, 0);
		expect_vector(carry(XRSTOR64, 0), 13);
		for (unsigned n = 2; n < 8; n++) {
			set_header(area, 1, compact | 3);
			set_header(area, n, 1);
			expect_vector(carry(XRSTOR64, 0), 13);
			set_header(area, n, 0);
		}
		ck_assert_int_eq(carry(XRSTOR64, 0), INSN_DONE);
	}
}
END_TEST

START_TEST(checks)
{
	const uint64_t cr0 = m->c.sregs.cr0, cr4 = m->c.sregs.cr4;

	for (enum form f = XSAVE; f <= XRSTOR64; f++) {
		if (!have(f))
			continue;
		m->c.regs.rip = 0x100000;
		m->c.sregs.cr4 = cr4 & ~(1ull << 18);
		expect_vector(carry(f, 3), 6);
		m->c.sregs.cr4 = cr4;
		m->c.sregs.cr0 = cr0 | 8;
		expect_vector(carry(f, 3), 7);
		m->c.sregs.cr0 = cr0;
		m->c.regs.rdi = (uintptr_t)m->mem + AREA + 8;
		expect_vector(machine_step(m, forms[f].code, forms[f].len), 13);
		m->c.regs.rdi = 1ull << 63;
		expect_vector(machine_step(m, forms[f].code, forms[f].len), 13);
		m->forbidden = (uintptr_t)m->mem;
		ck_assert_int_eq(carry(f, 3), INSN_EVENT);
		ck_assert_uint_eq(m->c.event.vector, 14);
		m->forbidden = 0;
		if (f < XRSTOR) {
			m->read_only = (uintptr_t)m->mem;
			ck_assert_int_eq(carry(f, 3), INSN_EVENT);
			ck_assert_uint_eq(m->c.event.vector, 14);
			ck_assert_uint_eq(m->c.event.error, 3);
			m->read_only = 0;
		}
		if (forms[f].bit >= 0) {
			uint32_t d1a = m->c.cpuid[INSN_CPUID_D1A];

			m->c.cpuid[INSN_CPUID_D1A] = d1a & ~(1u << forms[f].bit);
			expect_vector(carry(f, 3), 6);
			m->c.cpuid[INSN_CPUID_D1A] = d1a;
		}
	}
}
END_TEST

/* XSAVES writes what XSAVEC does, when no supervisor state is on; XRSTORS reads it. */
START_TEST(supervisor)
{
	static const uint8_t xsaves64[] = { 0x48, 0x0f, 0xc7, 0x2f };
	static const uint8_t xrstors64[] = { 0x48, 0x0f, 0xc7, 0x1f };
	static uint8_t by_xsavec[XSAVE_AREA];

	m->c.cpuid[INSN_CPUID_D1A] |= 1u << 1 | 1u << 3;
	random_state(m->xsave, m->c.xcr0);
	memset(m->mem + AREA, 0, XSAVE_AREA);
	ck_assert_int_eq(carry(XSAVEC64, ~0ull), INSN_DONE);
	memcpy(by_xsavec, m->mem + AREA, XSAVE_AREA);
	memset(m->mem + AREA, 0, XSAVE_AREA);
	ck_assert_int_eq(machine_step(m, xsaves64, 4), INSN_DONE);
	ck_assert_mem_eq(m->mem + AREA, by_xsavec, XSAVE_AREA);
	memset(m->xsave + 160, 0xee, 256);
	ck_assert_int_eq(machine_step(m, xrstors64, 4), INSN_DONE);
	if (header(by_xsavec, 0) & 2)
		ck_assert_mem_eq(m->xsave + 160, by_xsavec + 160, 256);
	/* The standard format is not for XRSTORS. */
	m->c.regs.rip = 0x100000;
	set_header(m->mem + AREA, 1, 0);
	expect_vector(machine_step(m, xrstors64, 4), 13);
	m->c.sregs.cs.selector = 0x33;
	expect_vector(machine_step(m, xsaves64, 4), 13);
	expect_vector(machine_step(m, xrstors64, 4), 13);
	m->c.cpuid[INSN_CPUID_D1A] &= ~(1u << 3);
	expect_vector(machine_step(m, xsaves64, 4), 6);
	expect_vector(machine_step(m, xrstors64, 4), 6);
}
END_TEST

/* Components that are aligned in the compacted format: a layout of no processor here. */
START_TEST(alignment)
{
	uint8_t *area = m->mem + AREA;

	m->c.cpuid[INSN_CPUID_D1A] |= 2;
	memset(&m->layout, 0, sizeof(m->layout));
	m->layout.mask = 0x67;
	m->layout.offset[2] = 576;
	m->layout.size[2] = 16;
	m->layout.offset[5] = 1024;
	m->layout.size[5] = 64;
	m->layout.align64[5] = true;
	m->layout.offset[6] = 1200;
	m->layout.size[6] = 8;
	m->c.xcr0 = 0x67;
	memset(m->xsave, 0, XSAVE_AREA);
	set_header(m->xsave, 0, 0x67);
	memset(m->xsave + 576, 0xa2, 16);
	memset(m->xsave + 1024, 0xa5, 64);
	memset(m->xsave + 1200, 0xa6, 8);
	memset(area, 0x11, XSAVE_AREA);
	ck_assert_int_eq(carry(XSAVEC64, 0x64), INSN_DONE);
	ck_assert_uint_eq(header(area, 1), (0x64 | 1ull << 63));
	for (unsigned i = 576; i < 1024; i++)
		ck_assert_uint_eq(area[i], i < 592   ? 0xa2
					   : i < 640 ? 0x11
					   : i < 704 ? 0xa5
					   : i < 712 ? 0xa6
						     : 0x11);
	memset(m->xsave + 576, 0, 1000);
	for (unsigned n = 2; n < 8; n++)
		set_header(area, n, 0);
	ck_assert_int_eq(carry(XRSTOR64, 0x24), INSN_DONE);
	ck_assert_uint_eq(m->xsave[576], 0xa2);
	ck_assert_uint_eq(m->xsave[1024], 0xa5);
	ck_assert_uint_eq(m->xsave[1087], 0xa5);
	ck_assert_uint_eq(m->xsave[1200], 0);
}
END_TEST

START_TEST(xgetbv_xsetbv)
{
	uint64_t all = m->c.xcr0_allowed;
	uint32_t lo, hi;

	m->c.regs.rcx = 0xabcd00000000; /* only ECX counts */
	ck_assert_int_eq(STEP(m, 0x0f, 0x01, 0xd0), INSN_DONE);
	ck_assert_uint_eq(m->c.regs.rax, (uint32_t)m->c.xcr0);
	ck_assert_uint_eq(m->c.regs.rdx, m->c.xcr0 >> 32);
	m->c.xcr0 = 0x1234567800000003; /* to see both halves */
	ck_assert_int_eq(STEP(m, 0x0f, 0x01, 0xd0), INSN_DONE);
	ck_assert_uint_eq(m->c.regs.rax, 3);
	ck_assert_uint_eq(m->c.regs.rdx, 0x12345678);
	m->c.xcr0 = all;
	if (m->c.cpuid[INSN_CPUID_D1A] & 4) {
		m->c.regs.rcx = 1;
		set_header(m->xsave, 0, 3);
		m->c.fpu_loaded = true;
		ck_assert_int_eq(STEP(m, 0x0f, 0x01, 0xd0), INSN_DONE);
		ck_assert_uint_eq(m->c.regs.rax, 3);
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(1));
		ck_assert_uint_eq(hi, 0);
		ck_assert_uint_eq(lo & ~(uint32_t)machine_host_xcr0(), 0);
	}
	m->c.regs.rip = 0x100000;
	m->c.regs.rcx = 2;
	expect_vector(STEP(m, 0x0f, 0x01, 0xd0), 13);

	m->c.regs.rcx = 0;
	m->c.regs.rdx = 0;
	m->c.regs.rax = 3;
	ck_assert_int_eq(STEP(m, 0x0f, 0x01, 0xd1), INSN_DONE);
	ck_assert_uint_eq(m->c.xcr0, 3);
	ck_assert(m->c.xcr0_dirty);
	m->c.regs.rip = 0x100000;
	/* x87 is a must, AVX needs SSE, AVX-512 is all or none, and with AVX; nothing unknown. */
	for (unsigned v = 0; v < 256; v++) {
		bool ok = (v & 1) && (!(v & 4) || (v & 2)) &&
			  ((v & 0xe0) == 0 || (v & 0xe0) == 0xe0) && (!(v & 0xe0) || (v & 4)) &&
			  !(v & ~all);

		m->c.regs.rax = v;
		m->c.regs.rip = 0x100000;
		if (ok)
			ck_assert_int_eq(STEP(m, 0x0f, 0x01, 0xd1), INSN_DONE);
		else
			expect_vector(STEP(m, 0x0f, 0x01, 0xd1), 13);
	}
	m->c.regs.rip = 0x100000;
	m->c.regs.rax = 1;
	m->c.regs.rdx = 1;
	expect_vector(STEP(m, 0x0f, 0x01, 0xd1), 13);
	m->c.regs.rdx = 0;
	m->c.regs.rcx = 1;
	expect_vector(STEP(m, 0x0f, 0x01, 0xd1), 13);
	m->c.regs.rcx = 0;
	m->c.sregs.cs.selector = 0x33;
	expect_vector(STEP(m, 0x0f, 0x01, 0xd1), 13);
	m->c.sregs.cr4 &= ~(1ull << 18);
	expect_vector(STEP(m, 0x0f, 0x01, 0xd1), 6);
	expect_vector(STEP(m, 0x0f, 0x01, 0xd0), 6);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("assist_xsave");
	TCase *t = tcase_create("xsave");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, save, XSAVE, XRSTOR);
	tcase_add_loop_test(t, restore_standard, 0, 2);
	tcase_add_loop_test(t, restore_compacted, 0, 2);
	tcase_add_test(t, bad_areas);
	tcase_add_test(t, checks);
	tcase_add_test(t, supervisor);
	tcase_add_test(t, alignment);
	tcase_add_test(t, xgetbv_xsetbv);
	suite_add_tcase(s, t);
	return run_suite(s);
}
