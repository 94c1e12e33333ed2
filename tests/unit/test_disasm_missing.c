/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disassembly on a host without the Zydis library: this program's zydis() stands for the loader. */
#include <check.h>
#include <errno.h>

#include "suite.h"
#include "err.h"
#include "report.h"
#include "zydis_lazy.h"

const struct zydis_api *zydis(struct err *e)
{
	err_set(e, ERR_UNAVAILABLE, ENOENT, "cannot use the Zydis disassembler library");
	err_hint(e, "install the package libzydis4.0");
	return NULL;
}

START_TEST(names_the_package)
{
	char out[160];

	ck_assert_uint_eq(disasm((const uint8_t[]){ 0x90 }, 1, 0, 64, out, sizeof(out)), 0);
	ck_assert_str_eq(out, "(to see the instruction, install the package libzydis4.0)");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disasm without Zydis");
	TCase *tc = tcase_create("all");

	tcase_add_test(tc, names_the_package);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
