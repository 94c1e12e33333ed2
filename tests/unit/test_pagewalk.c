/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page walks of every paging mode over hand-made tables, right and hostile ones. */
#include <asm/processor-flags.h>
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "gmem.h"
#include "vcpu.h"
#include "vm.h"

#define RAM (4ull << 20)
#define LMA (1ull << 10)
#define NXE (1ull << 11)
#define P 1ull
#define W 2ull
#define U 4ull
#define A 0x20ull
#define D 0x40ull
#define PS 0x80ull
#define NX (1ull << 63)

static struct vm vm;
static struct vcpu vcpu = { .vm = &vm };
static struct kvm_sregs s;
static struct page_walk w;

static void setup(void)
{
	memset(&vm, 0, sizeof(vm));
	memset(&s, 0, sizeof(s));
	ck_assert_int_eq(gmem_init(&vm.m.mem, RAM, GMEM_ANON, NULL), 0);
}

static void teardown(void)
{
	gmem_fini(&vm.m.mem);
}

static void put64(uint64_t gpa, uint64_t val)
{
	ck_assert_int_eq(gmem_write(&vm.m.mem, gpa, &val, 8), 0);
}

static void put32(uint64_t gpa, uint32_t val)
{
	ck_assert_int_eq(gmem_write(&vm.m.mem, gpa, &val, 4), 0);
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t val;

	ck_assert_int_eq(gmem_read(&vm.m.mem, gpa, &val, 8), 0);
	return val;
}

static void mode_32bit(uint64_t cr4)
{
	s.cr0 = X86_CR0_PE | X86_CR0_PG;
	s.cr4 = cr4;
	s.cr3 = 0x1018; /* PWT and PCD are no address bits */
}

static void mode_pae(void)
{
	s.cr0 = X86_CR0_PE | X86_CR0_PG;
	s.cr4 = X86_CR4_PAE;
	s.cr3 = 0x1020;
}

static void mode_long(bool la57)
{
	s.cr0 = X86_CR0_PE | X86_CR0_PG;
	s.cr4 = X86_CR4_PAE | (la57 ? X86_CR4_LA57 : 0);
	s.cr3 = 0x1000 | 0x5; /* a PCID */
	s.efer = LMA | NXE;
}

#define GVA 0xffff812345678abcull /* indices of PML4 258, PDPT 141, PD 43, PT 120 */

/* Tables for GVA at 0x1000, 0x2000, 0x3000, 0x4000. */
static void map_4level(uint64_t leaf)
{
	put64(0x1000 + 258 * 8, 0x2000 | P | W | U);
	put64(0x2000 + 141 * 8, 0x3000 | P | W | U);
	put64(0x3000 + 43 * 8, 0x4000 | P | W | U);
	put64(0x4000 + 120 * 8, leaf);
}

static int walk(uint64_t gva)
{
	memset(&w, 0xa5, sizeof(w));
	return guest_page_walk(&vm, &s, gva, &w);
}

START_TEST(paging_off)
{
	ck_assert_int_eq(walk(0x12345), 0);
	ck_assert_uint_eq(w.gpa, 0x12345);
	ck_assert_uint_eq(w.levels, 0);
	ck_assert(w.present && w.user && w.writable && !w.nx);
	/* Linear addresses wrap at 4 GiB outside long mode. */
	ck_assert_int_eq(walk(0x1000ffff0), 0);
	ck_assert_uint_eq(w.gpa, 0xffff0);
}
END_TEST

START_TEST(four_level)
{
	mode_long(false);
	map_4level(0x55000 | P | W | NX);
	ck_assert_int_eq(walk(GVA), 0);
	ck_assert_uint_eq(w.gpa, 0x55abc);
	ck_assert_uint_eq(w.page_size, 4096);
	ck_assert_uint_eq(w.levels, 4);
	ck_assert_str_eq(w.e[0].name, "PML4");
	ck_assert_str_eq(w.e[3].name, "PT");
	ck_assert_uint_eq(w.e[0].entry_gpa, 0x1000 + 258 * 8);
	ck_assert_uint_eq(w.e[3].entry, 0x55000 | P | W | NX);
	ck_assert(w.present && !w.user && w.writable && w.nx);
	ck_assert_int_eq(w.stop, WALK_DONE);
}
END_TEST

START_TEST(rights_combine)
{
	mode_long(false);
	map_4level(0x55000 | P | W | U);
	put64(0x2000 + 141 * 8, 0x3000 | P | U | NX);
	ck_assert_int_eq(walk(GVA), 0);
	ck_assert(w.user && !w.writable && w.nx);
}
END_TEST

START_TEST(large_pages)
{
	mode_long(false);
	map_4level(0);
	put64(0x3000 + 43 * 8, 0x200000 | P | PS | 0x1000 /* PAT */);
	ck_assert_int_eq(walk(GVA), 0);
	ck_assert_uint_eq(w.gpa, 0x200000 | (GVA & 0x1fffff));
	ck_assert_uint_eq(w.page_size, 2 << 20);
	ck_assert_uint_eq(w.levels, 3);
	put64(0x2000 + 141 * 8, 0x40000000ull | P | PS);
	ck_assert_int_eq(walk(GVA), 0);
	ck_assert_uint_eq(w.gpa, 0x40000000ull | (GVA & 0x3fffffff)); /* mapped, though to no RAM */
	ck_assert_uint_eq(w.page_size, 1 << 30);
	ck_assert_uint_eq(w.levels, 2);
}
END_TEST

START_TEST(protection_keys_are_not_reserved)
{
	mode_long(false);
	map_4level(0x55000 | P | 0x7ffull << 52);
	ck_assert_int_eq(walk(GVA), 0);
	ck_assert_uint_eq(w.gpa, 0x55abc);
}
END_TEST

START_TEST(five_level)
{
	mode_long(true);
	/* Bits 56..48 of the address are entry 0x1ab of the PML5. */
	put64(0x1000 + 0x1ab * 8, 0x6000 | P | W);
	put64(0x6000 + 258 * 8, 0x2000 | P | W);
	put64(0x2000 + 141 * 8, 0x3000 | P | W);
	put64(0x3000 + 43 * 8, 0x4000 | P | W);
	put64(0x4000 + 120 * 8, 0x77000 | P);
	ck_assert_int_eq(walk(0xffab812345678abcull), 0);
	ck_assert_uint_eq(w.gpa, 0x77abc);
	ck_assert_uint_eq(w.levels, 5);
	ck_assert_str_eq(w.e[0].name, "PML5");
	ck_assert_int_eq(walk(0xfeab812345678abcull), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_NOT_CANONICAL);
}
END_TEST

START_TEST(pae)
{
	uint64_t gva = 0xc0a03123; /* PDPT 3, PD 5, PT 3 */

	mode_pae();
	s.efer = NXE;
	put64(0x1020 + 3 * 8, 0x2000 | P);
	put64(0x2000 + 5 * 8, 0x3000 | P | W | U);
	put64(0x3000 + 3 * 8, 0x99000 | P | W | U | NX);
	ck_assert_int_eq(walk(gva), 0);
	ck_assert_uint_eq(w.gpa, 0x99123);
	ck_assert_uint_eq(w.levels, 3);
	ck_assert(w.user && w.writable && w.nx); /* the PDPT entry takes no rights away */
	ck_assert_int_eq(walk(gva | 0xabcd00000000ull), 0);
	ck_assert_uint_eq(w.gpa, 0x99123);

	put64(0x2000 + 5 * 8, 0x200000 | P | PS);
	ck_assert_int_eq(walk(gva), 0);
	ck_assert_uint_eq(w.gpa, 0x200000 | (gva & 0x1fffff));

	put64(0x2000 + 5 * 8, 0x200000 | P | PS | 1ull << 52);
	ck_assert_int_eq(walk(gva), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_RESERVED);
	put64(0x1020 + 3 * 8, 0x2000 | P | W); /* W is reserved there */
	ck_assert_int_eq(walk(gva), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_RESERVED);
	ck_assert_uint_eq(w.bad_bits, W);
	ck_assert_uint_eq(w.levels, 1);
}
END_TEST

START_TEST(legacy_32bit)
{
	uint64_t gva = 0x00c03456; /* PD 3, PT 3 */

	mode_32bit(0);
	put32(0x1000 + 3 * 4, 0x2000 | P | W | U);
	put32(0x2000 + 3 * 4, 0x88000 | P | U);
	put32(0x2000 + 4 * 4, 0xffffffff); /* must not leak into the entry below it */
	ck_assert_int_eq(walk(gva), 0);
	ck_assert_uint_eq(w.gpa, 0x88456);
	ck_assert_uint_eq(w.e[1].entry, 0x88000 | P | U);
	ck_assert(w.user && !w.writable && !w.nx);

	/* PS counts only with CR4.PSE. */
	put32(0x1000 + 3 * 4, 0x2000 | P | W | U | PS);
	ck_assert_int_eq(walk(gva), 0);
	ck_assert_uint_eq(w.gpa, 0x88456);
	mode_32bit(X86_CR4_PSE);
	put32(0x1000 + 3 * 4, 0x00400000 | P | PS | 1u << 13); /* bit 13 is address bit 32 */
	ck_assert_int_eq(walk(gva), 0);
	ck_assert_uint_eq(w.gpa, 0x100400000ull | (gva & 0x3fffff));
	ck_assert_uint_eq(w.page_size, 4 << 20);
	put32(0x1000 + 3 * 4, 0x00400000 | P | PS | 1u << 21);
	ck_assert_int_eq(walk(gva), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_RESERVED);
	ck_assert_uint_eq(w.bad_bits, 1u << 21);
}
END_TEST

START_TEST(not_present)
{
	mode_long(false);
	map_4level(0x55000);
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_NOT_PRESENT);
	ck_assert_uint_eq(w.levels, 4);
	ck_assert(!w.present);
	put64(0x1000 + 258 * 8, 0);
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_uint_eq(w.levels, 1);
}
END_TEST

START_TEST(reserved_bits_in_long_mode)
{
	mode_long(false);
	map_4level(0x55000 | P | NX);
	s.efer = LMA; /* NX without EFER.NXE */
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_RESERVED);
	ck_assert_uint_eq(w.bad_bits, NX);
	s.efer = LMA | NXE;
	put64(0x3000 + 43 * 8, 0x202000 | P | PS);
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_uint_eq(w.bad_bits, 0x2000);
	put64(0x2000 + 141 * 8, 0x40200000ull | P | PS);
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_uint_eq(w.bad_bits, 0x200000);
	put64(0x1000 + 258 * 8, 0x2000 | P | PS);
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_uint_eq(w.bad_bits, PS);
	ck_assert_uint_eq(w.levels, 1);
}
END_TEST

START_TEST(tables_outside_ram)
{
	mode_long(false);
	map_4level(0x55000 | P);
	put64(0x3000 + 43 * 8, 0xffffffff000ull | P);
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_NO_RAM);
	ck_assert_uint_eq(w.levels, 4);
	ck_assert_uint_eq(w.e[3].entry_gpa, 0xffffffff000ull + 120 * 8);
	s.cr3 = ~0ull;
	ck_assert_int_eq(walk(GVA), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_NO_RAM);
	ck_assert_uint_eq(w.levels, 1);
}
END_TEST

START_TEST(not_canonical)
{
	mode_long(false);
	ck_assert_int_eq(walk(0x0000800000000000ull), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_NOT_CANONICAL);
	ck_assert_uint_eq(w.levels, 0);
	ck_assert_int_eq(walk(0x00007fffffffffffull), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_NOT_PRESENT);
	ck_assert_int_eq(walk(0xffff800000000000ull), -EFAULT);
	ck_assert_int_eq(w.stop, WALK_NOT_PRESENT);
}
END_TEST

/* Tables that are their own children end after as many levels as there are. */
START_TEST(recursive_tables)
{
	mode_long(false);
	for (unsigned i = 0; i < 512; i++)
		put64(0x1000 + i * 8, 0x1000 | P | W | U);
	ck_assert_int_eq(walk(GVA), 0);
	ck_assert_uint_eq(w.levels, 4);
	ck_assert_uint_eq(w.gpa, 0x1abc);
}
END_TEST

START_TEST(garbage)
{
	uint64_t *ram = gmem_ptr(&vm.m.mem, 0, RAM);

	srand(1);
	for (size_t i = 0; i < RAM / 8; i++)
		ram[i] = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t gva = (uint64_t)rand() << 33 ^ (uint64_t)rand();
		uint8_t buf[64];

		s.cr0 = i & 1 ? X86_CR0_PG | X86_CR0_PE : (uint64_t)rand();
		s.cr3 = i & 2 ? (uint64_t)rand() % RAM : (uint64_t)rand() << 30;
		s.cr4 = (uint64_t)rand();
		s.efer = (uint64_t)rand();
		if (walk((uint64_t)((int64_t)(gva << 16) >> 16)) == 0)
			ck_assert_int_eq(w.stop, WALK_DONE);
		else
			ck_assert_int_ne(w.stop, WALK_DONE);
		ck_assert_uint_le(w.levels, 5);
		vcpu_read_gva(&vcpu, &s, gva, buf, sizeof(buf));
		vcpu_write_gva(&vcpu, &s, gva, buf, sizeof(buf));
	}
}
END_TEST

START_TEST(copy_across_pages)
{
	char out[16], text[16] = "across the edge";

	mode_long(false);
	map_4level(0x55000 | P | W);
	put64(0x4000 + 121 * 8, 0x33000 | P | W); /* the next page lies elsewhere */
	ck_assert_int_eq(vcpu_write_gva(&vcpu, &s, (GVA | 0xfff) - 5, text, 16), 0);
	ck_assert_mem_eq(gmem_ptr(&vm.m.mem, 0x55ffa, 6), text, 6);
	ck_assert_mem_eq(gmem_ptr(&vm.m.mem, 0x33000, 10), text + 6, 10);
	ck_assert_int_eq(vcpu_read_gva(&vcpu, &s, (GVA | 0xfff) - 5, out, 16), 0);
	ck_assert_mem_eq(out, text, 16);
	put64(0x4000 + 121 * 8, 0);
	ck_assert_int_eq(vcpu_read_gva(&vcpu, &s, (GVA | 0xfff) - 5, out, 16), -EFAULT);
	ck_assert_int_eq(vcpu_read_gva(&vcpu, &s, (GVA | 0xfff) - 5, out, 6), 0);
	put64(0x4000 + 121 * 8, RAM | P | W); /* just past the end */
	ck_assert_int_eq(vcpu_read_gva(&vcpu, &s, (GVA | 0xfff) - 5, out, 16), -EFAULT);
}
END_TEST

START_TEST(writes_set_accessed_and_dirty)
{
	uint8_t b = 1;

	mode_long(false);
	map_4level(0x55000 | P | W);
	ck_assert_int_eq(vcpu_read_gva(&vcpu, &s, GVA, &b, 1), 0);
	ck_assert_uint_eq(get64(0x4000 + 120 * 8), 0x55000 | P | W);
	ck_assert_int_eq(vcpu_write_gva(&vcpu, &s, GVA, &b, 1), 0);
	ck_assert_uint_eq(get64(0x4000 + 120 * 8), 0x55000 | P | W | A | D);
	ck_assert_uint_eq(get64(0x1000 + 258 * 8), 0x2000 | P | W | U | A);
	mode_pae();
	s.efer = 0;
	put64(0x1020, 0x2000 | P);
	put64(0x2000, 0x3000 | P);
	put64(0x3000, 0x99000 | P);
	ck_assert_int_eq(vcpu_write_gva(&vcpu, &s, 0, &b, 1), 0);
	ck_assert_uint_eq(get64(0x1020), 0x2000 | P); /* A is a reserved bit there */
	ck_assert_uint_eq(get64(0x3000), 0x99000 | P | A | D);
	mode_32bit(0);
	put32(0x1000, 0x2000 | P);
	put32(0x2000, 0x88000 | P);
	put32(0x2004, 0x1234);
	ck_assert_int_eq(vcpu_write_gva(&vcpu, &s, 0, &b, 1), 0);
	ck_assert_uint_eq(get64(0x2000), (0x1234ull << 32) | 0x88000 | P | A | D);
}
END_TEST

static int no_slot(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		   bool readonly, bool log_dirty)
{
	return 0;
}

static const struct memmap_ops no_slots = { .set = no_slot };

START_TEST(rom_is_not_written)
{
	struct mem_region rom = { .name = "rom", .size = 4096, .readonly = true };
	uint8_t b = 1;

	rom.host = gmem_ptr(&vm.m.mem, 0x1000, 4096);
	memmap_init(&vm.m.map, &no_slots, NULL);
	ck_assert_int_eq(memmap_map(&vm.m.map, &rom, 0x1000), 0);
	ck_assert_int_eq(vcpu_write_gva(&vcpu, &s, 0x1000, &b, 1), -EFAULT);
	ck_assert_int_eq(vcpu_read_gva(&vcpu, &s, 0x1000, &b, 1), 0);
	ck_assert_uint_eq(b, 0);
	/* Where nothing is, nothing is read. */
	ck_assert_int_eq(memmap_set(&vm.m.map, &rom, NULL, false), 0);
	ck_assert_int_eq(vcpu_read_gva(&vcpu, &s, 0x1000, &b, 1), -EFAULT);
	memmap_fini(&vm.m.map);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pagewalk");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, paging_off);
	tcase_add_test(tc, four_level);
	tcase_add_test(tc, rights_combine);
	tcase_add_test(tc, large_pages);
	tcase_add_test(tc, protection_keys_are_not_reserved);
	tcase_add_test(tc, five_level);
	tcase_add_test(tc, pae);
	tcase_add_test(tc, legacy_32bit);
	tcase_add_test(tc, not_present);
	tcase_add_test(tc, reserved_bits_in_long_mode);
	tcase_add_test(tc, tables_outside_ram);
	tcase_add_test(tc, not_canonical);
	tcase_add_test(tc, recursive_tables);
	tcase_add_test(tc, garbage);
	tcase_add_test(tc, copy_across_pages);
	tcase_add_test(tc, writes_set_accessed_and_dirty);
	tcase_add_test(tc, rom_is_not_written);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
