/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the assist decides without KVM: detection, CPUID, Linux parameters, guest memory. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "../../src/assist_priv.h"
#include "gmem.h"
#include "vcpu.h"
#include "vm.h"

#define RAM (4ull << 20)
#define P 1ull
#define W 2ull
#define U 4ull
#define A 0x20ull
#define D 0x40ull

static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 e[8];
} table;

static struct kvm_cpuid2 *cpuid(void)
{
	memset(&table, 0, sizeof(table));
	table.head.nent = 5;
	table.e[0] = (struct kvm_cpuid_entry2){ .function = 0, .eax = 13 };
	table.e[1] = (struct kvm_cpuid_entry2){ .function = 1, .ecx = ~0u, .edx = ~0u };
	table.e[2] = (struct kvm_cpuid_entry2){ .function = 7, .ebx = ~0u, .ecx = ~0u, .edx = ~0u };
	table.e[3] = (struct kvm_cpuid_entry2){ .function = 7, .index = 1, .eax = ~0u, .edx = ~0u };
	table.e[4] =
		(struct kvm_cpuid_entry2){ .function = 0x40000001, .eax = 0x01007efb, .edx = 1 };
	return &table.head;
}

START_TEST(detect)
{
	struct kvm_cpuid2 *t = cpuid();

	ck_assert(!assist_detect(t)); /* a processor with SSE3 */
	table.e[1].ecx = 0x81202000; /* what a software KVM reports: no SSE3, no POPCNT */
	ck_assert(assist_detect(t));
	table.e[1].ecx = 1;
	ck_assert(!assist_detect(t));
	t->nent = 1; /* no leaf 1 at all */
	ck_assert(!assist_detect(t));
}
END_TEST

START_TEST(mask)
{
	struct vm vm = { 0 };
	struct kvm_cpuid2 *t = cpuid();

	assist_mask_cpuid(&vm, t);
	ck_assert_uint_eq(table.e[1].ecx, ~(1u << 13));
	ck_assert_uint_eq(table.e[1].edx, ~0u);
	ck_assert_uint_eq(table.e[2].edx, ~(1u << 4));
	ck_assert_uint_eq(table.e[2].ebx, ~0u);
	ck_assert_uint_eq(table.e[3].edx, ~0u); /* leaf 7, but another subleaf */
	ck_assert_uint_eq(table.e[4].eax, 0x0100000b);
	ck_assert_uint_eq(table.e[4].edx, 1);
	ck_assert_uint_eq(table.e[0].eax, 13);
}
END_TEST

/* Linux reads at most 127 characters, and numbers its bits 32 * word + bit. */
START_TEST(linux_params)
{
	struct vm vm = { 0 };
	const char *p = assist_linux_params(&vm), *eq = strchr(p, '=');
	char buf[256];
	unsigned n = 0;

	ck_assert_ptr_nonnull(eq);
	ck_assert_int_eq(strncmp(p, "clearcpuid=", 11), 0);
	ck_assert_uint_lt(strlen(eq + 1), 128);
	ck_assert_ptr_null(strchr(p, ' '));
	/* noxsave would have Linux switch processes without their AVX registers. */
	ck_assert_ptr_null(strstr(p, "noxsave"));
	snprintf(buf, sizeof(buf), "%s", eq + 1);
	for (char *s = strtok(buf, ","); s; s = strtok(NULL, ",")) {
		char *end;
		unsigned long bit = strtoul(s, &end, 10);

		ck_assert(!*end);
		ck_assert_uint_lt(bit, 20 * 32);
		n++;
	}
	ck_assert_uint_eq(n, 12);
	ck_assert_int_eq(strncmp(eq + 1, "308,", 4), 0); /* SMAP first: old kernels read one */
}
END_TEST

/* --- guest memory ------------------------------------------------------------- */

static struct vm vm;
static struct vcpu vcpu = { .vm = &vm };
static struct insn_cpu c;

static void put(uint64_t gpa, uint64_t val)
{
	ck_assert_int_eq(gmem_write(&vm.m.mem, gpa, &val, 8), 0);
}

static uint64_t get(uint64_t gpa)
{
	uint64_t val;

	ck_assert_int_eq(gmem_read(&vm.m.mem, gpa, &val, 8), 0);
	return val;
}

#define PT 0x4000u /* maps the first 2 MiB */

static void setup(void)
{
	memset(&vm, 0, sizeof(vm));
	memset(&c, 0, sizeof(c));
	ck_assert_int_eq(gmem_init(&vm.m.mem, RAM, GMEM_ANON, NULL), 0);
	put(0x1000, 0x2000 | P | W | U);
	put(0x2000, 0x3000 | P | W | U);
	put(0x3000, PT | P | W | U);
	c.ctx = &vcpu;
	c.sregs.cr0 = CR0_PE | CR0_PG | CR0_WP;
	c.sregs.cr4 = 0x20;
	c.sregs.cr3 = 0x1000;
	c.sregs.efer = 0xd00;
	c.sregs.cs.selector = 0x10;
	c.sregs.cs.l = 1;
	put(PT + 8 * 0x10, 0x10000 | P | W | U);
	put(PT + 8 * 0x11, 0x20000 | P | W | U); /* not next to each other */
	put(PT + 8 * 0x12, 0x12000 | P | W); /* a supervisor's */
	put(PT + 8 * 0x13, 0x13000 | P | U); /* read-only */
	put(PT + 8 * 0x15, 0xf0000000 | P | W | U); /* no RAM */
	put(PT + 8 * 0x16, 0x16000 | P | W | U | 1ull << 52 | 1ull << 51); /* past RAM */
}

static void teardown(void)
{
	gmem_fini(&vm.m.mem);
}

static void faults(int r, uint64_t cr2, uint32_t error)
{
	ck_assert_int_eq(r, -EFAULT);
	ck_assert_uint_eq(c.event.vector, 14);
	ck_assert(c.event.has_error);
	ck_assert_uint_eq(c.event.error, error);
	ck_assert_uint_eq(c.sregs.cr2, cr2);
	ck_assert(c.sregs_dirty);
}

START_TEST(memory)
{
	uint64_t v = 0;
	void *p;

	put(0x10ffc, 0x1111111122222222);
	put(0x20000, 0x3333333344444444);
	ck_assert_int_eq(assist_mem_read(&c, 0x10ffc, &v, 8, INSN_READ), 0);
	ck_assert_uint_eq(v, 0x4444444422222222); /* over the page boundary */
	ck_assert_uint_eq(get(PT + 8 * 0x10), (0x10000 | P | W | U | A));
	ck_assert_uint_eq(get(PT + 8 * 0x11), (0x20000 | P | W | U | A));
	ck_assert_uint_eq(get(0x1000), (0x2000 | P | W | U | A));
	v = 0x5566778899aabbcc;
	ck_assert_int_eq(assist_mem_write(&c, 0x10ffc, &v, 8, INSN_WRITE), 0);
	ck_assert_uint_eq(get(0x10ffc) & 0xffffffff, 0x99aabbcc);
	ck_assert_uint_eq(get(0x20000) & 0xffffffff, 0x55667788);
	ck_assert_uint_eq(get(PT + 8 * 0x10), (0x10000 | P | W | U | A | D));
	ck_assert_uint_eq(get(PT + 8 * 0x11), (0x20000 | P | W | U | A | D));
	ck_assert_uint_eq(get(0x3000), (PT | P | W | U | A));
	ck_assert_int_eq(assist_mem_map(&c, 0x11000, 16, &p), 0);
	ck_assert_ptr_eq(p, gmem_ptr(&vm.m.mem, 0x20000, 16));
	ck_assert_int_eq(assist_mem_map(&c, 0x10ff8, 16, &p), -EOPNOTSUPP); /* two pages */
}
END_TEST

START_TEST(page_faults)
{
	uint64_t v = 0, before;

	faults(assist_mem_read(&c, 0x14000, &v, 8, INSN_READ), 0x14000, 0);
	faults(assist_mem_write(&c, 0x14008, &v, 8, 0), 0x14008, 2);
	faults(assist_mem_write(&c, 0x13000, &v, 8, 0), 0x13000, 3);
	faults(assist_mem_read(&c, 0x13000, &v, 8, INSN_WRITE), 0x13000,
	       3); /* read, to be written */
	c.sregs.cr0 &= ~CR0_WP;
	ck_assert_int_eq(assist_mem_write(&c, 0x13000, &v, 8, 0), 0);
	c.sregs.cr0 |= CR0_WP;
	/* Nothing is written when the second page faults; the address is that page's. */
	put(PT + 8 * 0x11, 0);
	before = get(0x10ff8);
	v = ~before;
	faults(assist_mem_write(&c, 0x10ffc, &v, 8, 0), 0x11000, 2);
	ck_assert_uint_eq(get(0x10ff8), before);
	/* Users */
	c.sregs.cs.selector = 0x33;
	faults(assist_mem_read(&c, 0x12000, &v, 8, INSN_READ), 0x12000, 5);
	faults(assist_mem_read(&c, 0x14000, &v, 8, INSN_READ), 0x14000, 4);
	ck_assert_int_eq(assist_mem_read(&c, 0x12000, &v, 8, INSN_IMPLICIT), 0);
	ck_assert_int_eq(assist_mem_read(&c, 0x10000, &v, 8, INSN_READ), 0);
	c.sregs.cs.selector = 0x10;
	/* SMAP */
	c.sregs.cr4 |= CR4_SMAP;
	faults(assist_mem_read(&c, 0x10000, &v, 8, INSN_READ), 0x10000, 1);
	c.regs.rflags = RFLAGS_AC;
	ck_assert_int_eq(assist_mem_read(&c, 0x10000, &v, 8, INSN_READ), 0);
	faults(assist_mem_read(&c, 0x10000, &v, 8, INSN_IMPLICIT), 0x10000, 1);
	c.sregs.cr4 = 0x20;
	/* Reserved bits: NX without EFER.NXE */
	c.sregs.efer = 0x500;
	put(PT + 8 * 0x10, 0x10000 | P | W | U | 1ull << 63);
	faults(assist_mem_read(&c, 0x10000, &v, 8, INSN_READ), 0x10000, 9);
}
END_TEST

static int no_slot(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		   bool readonly, bool log_dirty)
{
	return 0;
}

static const struct memmap_ops no_slots = { .set = no_slot };

START_TEST(not_ram)
{
	struct mem_region rom = { .name = "rom", .size = 0x20000, .readonly = true };
	uint64_t v = 0;
	void *p;

	ck_assert_int_eq(assist_mem_read(&c, 0x15000, &v, 8, INSN_READ), -EOPNOTSUPP);
	ck_assert_int_eq(assist_mem_write(&c, 0x15000, &v, 8, 0), -EOPNOTSUPP);
	ck_assert_int_eq(assist_mem_read(&c, 0x16000, &v, 8, INSN_READ), -EOPNOTSUPP);
	rom.host = gmem_ptr(&vm.m.mem, 0, rom.size);
	memmap_init(&vm.m.map, &no_slots, NULL);
	ck_assert_int_eq(memmap_map(&vm.m.map, &rom, 0), 0);
	ck_assert_int_eq(assist_mem_read(&c, 0x10000, &v, 8, INSN_READ), 0);
	ck_assert_int_eq(assist_mem_write(&c, 0x10000, &v, 8, 0), -EOPNOTSUPP);
	ck_assert_int_eq(assist_mem_map(&c, 0x10000, 8, &p), -EOPNOTSUPP);
	c.sregs.cr0 = CR0_PE; /* paging off: addresses are physical, of 32 bits */
	put(0x2468, 0xabcdef);
	ck_assert_int_eq(assist_mem_read(&c, 0x100002468, &v, 8, INSN_READ), 0);
	ck_assert_uint_eq(v, 0xabcdef);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("assist_x86");
	TCase *t = tcase_create("x86"), *mem = tcase_create("memory");

	tcase_add_test(t, detect);
	tcase_add_test(t, mask);
	tcase_add_test(t, linux_params);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(mem, setup, teardown);
	tcase_add_test(mem, memory);
	tcase_add_test(mem, page_faults);
	tcase_add_test(mem, not_ram);
	suite_add_tcase(s, mem);
	return run_suite(s);
}
