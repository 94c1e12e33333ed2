/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the assist replaces in firmware, and what it leaves (src/assist_firmware.c). */
#include <check.h>
#include <string.h>

#include "assist.h"
#include "suite.h"

static const uint8_t loop[11] = {
	0x85, 0xc9, 0x74, 0x06, 0x49, 0x88, 0x14, 0x08, 0xeb, 0xf6, 0xc3
};

START_TEST(loops_are_found)
{
	uint8_t image[64];

	memset(image, 0x90, sizeof(image));
	ck_assert_uint_eq(assist_firmware(image, sizeof(image)), 0);
	memcpy(image, loop, sizeof(loop));
	memcpy(image + sizeof(image) - sizeof(loop), loop, sizeof(loop));
	ck_assert_uint_eq(assist_firmware(image, sizeof(image)), 2);
	ck_assert_uint_eq(image[0], 0x57);
	ck_assert_uint_eq(image[8], 0xc3);
	ck_assert_uint_eq(image[sizeof(loop)], 0x90);
	ck_assert_uint_eq(image[sizeof(image) - sizeof(loop)], 0x57);
	ck_assert_uint_eq(assist_firmware(image, sizeof(image)), 0);
}
END_TEST

START_TEST(others_are_left)
{
	uint8_t image[32], before[32];

	memset(image, 0, sizeof(image));
	memcpy(image + 3, loop, sizeof(loop));
	image[3 + 9]++;
	/* Cut short at the end of the image. */
	memcpy(image + 22, loop, 10);
	memcpy(before, image, sizeof(image));
	ck_assert_uint_eq(assist_firmware(image, sizeof(image)), 0);
	ck_assert_mem_eq(image, before, sizeof(image));
	ck_assert_uint_eq(assist_firmware(image, 0), 0);
}
END_TEST

int main(void)
{
	const TTest *tests[] = { loops_are_found, others_are_left };

	return run_tests("assist_firmware", NULL, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
