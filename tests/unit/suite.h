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

/* A suite of the n tests, each between setup and teardown. */
static inline int run_tests(const char *name, void (*setup)(void), void (*teardown)(void),
			    const TTest *const *tests, size_t n)
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	for (size_t i = 0; i < n; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	return run_suite(s);
}

#endif
