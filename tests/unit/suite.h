/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of each test program's main(). */
#ifndef POSADA_TESTS_SUITE_H
#define POSADA_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs the suite, frees it, and returns main's exit status. */
static inline int run_suite(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
