/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which display is started when none was asked for. */
#include <string.h>

#include "suite.h"
#include "display_class.h"

static struct display_choice choose(bool desktop, bool terminal)
{
	const struct display_scene s = { .desktop = desktop, .terminal = terminal };

	return display_choose(&s);
}

START_TEST(table)
{
	ck_assert_str_eq(choose(true, true).name, "sdl");
	ck_assert_str_eq(choose(true, false).name, "sdl");
	ck_assert_str_eq(choose(true, false).why, "there is a desktop session");
	ck_assert_str_eq(choose(true, false).where, "in a window");
	ck_assert_str_eq(choose(false, true).name, "text");
	ck_assert_str_eq(choose(false, true).why, "there is no desktop session; Ctrl-A h: help");
	ck_assert_str_eq(choose(false, true).where, "in this terminal");
	ck_assert_str_eq(choose(false, false).name, "web");
	ck_assert_str_eq(choose(false, false).why,
			 "there is neither a desktop session nor a free terminal");
	ck_assert_ptr_null(choose(false, false).where);
}
END_TEST

START_TEST(next)
{
	struct display_scene s = { .desktop = true, .terminal = true };

	ck_assert(display_choose_next(&s));
	ck_assert_str_eq(display_choose(&s).name, "text");
	ck_assert_str_eq(display_choose(&s).why, "no window can be made; Ctrl-A h: help");
	ck_assert(display_choose_next(&s));
	ck_assert_str_eq(display_choose(&s).name, "web");
	ck_assert_str_eq(display_choose(&s).why,
			 "no window can be made, and there is no free terminal");
	ck_assert(!display_choose_next(&s));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { table, next };

	return run_tests("display_choose", NULL, NULL, tests, sizeof(tests) / sizeof(*tests));
}
