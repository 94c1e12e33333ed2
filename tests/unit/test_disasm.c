/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disassembly in the three widths, and what it says of bytes that are no instruction. */
#include <check.h>
#include <string.h>

#include "suite.h"
#include "report.h"

static char out[160];

#define DISASM(bits, rip, ...)                                                                     \
	disasm((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), rip,    \
	       bits, out, sizeof(out))

START_TEST(widths)
{
	ck_assert_uint_eq(DISASM(64, 0x1000, 0x48, 0x89, 0xc3), 3);
	ck_assert_str_eq(out, "mov rbx, rax");
	ck_assert_uint_eq(DISASM(32, 0x1000, 0xb8, 0x34, 0x12, 0x00, 0x00), 5);
	ck_assert_str_eq(out, "mov eax, 0x1234");
	ck_assert_uint_eq(DISASM(16, 0x1000, 0xb8, 0x34, 0x12), 3);
	ck_assert_str_eq(out, "mov ax, 0x1234");
	ck_assert_uint_eq(DISASM(64, 0, 0xf3, 0x48, 0x0f, 0xb8, 0xc3), 5);
	ck_assert_str_eq(out, "popcnt rax, rbx");
}
END_TEST

START_TEST(branches_are_absolute)
{
	ck_assert_uint_eq(DISASM(64, 0xffffffff81000000, 0xe8, 0xfb, 0x0f, 0x00, 0x00), 5);
	ck_assert_str_eq(out, "call 0xFFFFFFFF81001000");
	ck_assert_uint_eq(DISASM(16, 0xfffe, 0xeb, 0x02), 2); /* wraps at 64 KiB */
	ck_assert_str_eq(out, "jmp 0x0002");
}
END_TEST

START_TEST(only_the_first)
{
	ck_assert_uint_eq(DISASM(64, 0, 0x0f, 0x0b, 0x90, 0x90), 2);
	ck_assert_str_eq(out, "ud2");
}
END_TEST

START_TEST(none)
{
	ck_assert_uint_eq(DISASM(64, 0, 0x06), 0); /* push es: not in 64-bit mode */
	ck_assert_str_eq(out, "(not an instruction)");
	ck_assert_uint_eq(DISASM(32, 0, 0x06), 1);
	ck_assert_uint_eq(DISASM(64, 0, 0x48, 0x8b), 0);
	ck_assert_str_eq(out, "(cut off)");
	ck_assert_uint_eq(disasm(NULL, 0, 0, 64, out, sizeof(out)), 0);
	ck_assert_int_eq(out[0], '(');
	ck_assert_uint_eq(DISASM(8, 0, 0x90), 0);
	ck_assert_str_eq(out, "(no decoder for 8-bit code)");
}
END_TEST

/* A buffer too small for the text is no overrun. */
START_TEST(narrow_output)
{
	char small[8] = "1234567";

	disasm((const uint8_t[]){ 0x48, 0x89, 0xc3 }, 3, 0, 64, small, 4);
	ck_assert_ptr_nonnull(memchr(small, '\0', 4));
	ck_assert_str_eq(small + 4, "567");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disasm");
	TCase *tc = tcase_create("all");

	tcase_add_test(tc, widths);
	tcase_add_test(tc, branches_are_absolute);
	tcase_add_test(tc, only_the_first);
	tcase_add_test(tc, none);
	tcase_add_test(tc, narrow_output);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
