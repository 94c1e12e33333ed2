/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's balloon commands, in JSON and as text, over a balloon that only remembers. */
#include <check.h>

#include "suite.h"
#include "balloon.h"
#include "fake_monitor.h"

static struct balloon_info now;
static unsigned hints;
static int hint_rc;

static void get_info(struct dev *d, struct balloon_info *out)
{
	*out = now;
}

static void set_target(struct dev *d, uint64_t bytes)
{
	now.target = bytes;
}

static void set_polling(struct dev *d, uint32_t seconds)
{
	now.polling_interval = seconds;
}

static int hint(struct dev *d, struct err *e)
{
	hints++;
	return hint_rc ? err_set(e, ERR_USAGE, -hint_rc, "no hints") : 0;
}

static const struct balloon_ops ops = {
	.info = get_info,
	.set_target = set_target,
	.set_polling = set_polling,
	.hint = hint,
};

static struct chardev qmp;

static void setup(void)
{
	struct err e;

	fake_init();
	memset(&qmp, 0, sizeof(qmp));
	memset(&now, 0, sizeof(now));
	hints = 0;
	hint_rc = 0;
	fake.vm.m.balloon = &ops;
	ck_assert_int_eq(monitor_add_qmp(&fake.vm, &qmp, &e), 0);
	fake_open(&qmp);
	fake_input(&qmp, "{\"execute\":\"qmp_capabilities\"}", 30, 64);
}

static void teardown(void)
{
	fake_fini();
	free(qmp.out);
}

/* What comes back for a request of JSON. */
static const char *ask(const char *text)
{
	qmp.len = 0;
	fake_input(&qmp, text, strlen(text), 4096);
	return qmp.out;
}

static const char *said(const char *text)
{
	static char copy[4096];
	struct mon m = { .vm = &fake.vm };
	char *out = mon_text_run(&m, text);

	snprintf(copy, sizeof(copy), "%s", out);
	free(out);
	return copy;
}

static void ck_has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "no <%s> in <%s>", part, text);
}

START_TEST(no_balloon)
{
	static const char *const commands[] = {
		"{\"execute\":\"query-balloon\"}",
		"{\"execute\":\"balloon\",\"arguments\":{\"value\":1}}",
		"{\"execute\":\"x-balloon-stats\",\"arguments\":{\"seconds\":1}}",
		"{\"execute\":\"x-balloon-hint\"}",
	};

	fake.vm.m.balloon = NULL;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		ck_has(ask(commands[i]), "\"class\": \"DeviceNotActive\", \"desc\": \"No balloon "
					 "device has been activated");
	ck_has(said("info balloon"), "-device virtio-balloon-pci");
}
END_TEST

START_TEST(target)
{
	ck_has(ask("{\"execute\":\"balloon\",\"arguments\":{\"value\":1048577}}"),
	       "\"return\": {}");
	ck_assert_uint_eq(now.target, 1048577);
	ck_assert_str_eq(said("balloon 0x10"), "");
	ck_assert_uint_eq(now.target, 16 << 20);
	ck_has(ask("{\"execute\":\"balloon\",\"arguments\":{\"value\":0}}"),
	       "Parameter 'value' expects a size");
	ck_has(ask("{\"execute\":\"balloon\",\"arguments\":{\"value\":-5}}"),
	       "Parameter 'value' expects a size");
	ck_has(said("balloon 0"), "up to 2 MiB");
	ck_has(said("balloon 1<<50"), "Parameter 'mib' expects a size");
	ck_has(said("balloon -1"), "Parameter 'mib' expects a size");
	ck_assert_uint_eq(now.target, 16 << 20);
}
END_TEST

START_TEST(query)
{
	now.actual = 96 << 20;
	now.target = 64 << 20;
	now.given_back = 32 << 20;
	ck_assert_str_eq(ask("{\"execute\":\"query-balloon\"}"),
			 "{\"return\": {\"actual\": 100663296, \"x-target\": 67108864, "
			 "\"x-given-back\": 33554432, \"guest-stats-polling-interval\": 0}}\r\n");
	ck_assert_str_eq(said("info balloon"),
			 "balloon: actual=96\n  target=64\n  given back=32\n");
	now.stat_time = 1234;
	now.stat_given = 1u << 4 | 1u << 15;
	now.stat[4] = 4096;
	now.stat[15] = UINT64_MAX; /* more than JSON's integers hold */
	now.hinted = true;
	now.hint_bytes = 5 << 20;
	ck_has(ask("{\"execute\":\"query-balloon\"}"),
	       "\"stats\": {\"stat-free-memory\": 4096, \"stat-direct-reclaims\": "
	       "9223372036854775807}, \"last-update\": 1234, \"x-free-page-hint\": {\"running\": "
	       "false, \"bytes\": 5242880}");
	ck_has(said("info balloon"), "  free-memory=4096\n  direct-reclaims=9223372036854775807\n"
				     "  hinted as free=5\n");
	now.hinting = true;
	ck_has(said("info balloon"), "hinted as free=5 so far\n");
}
END_TEST

START_TEST(polling)
{
	ck_has(ask("{\"execute\":\"x-balloon-stats\",\"arguments\":{\"seconds\":7}}"), "{}");
	ck_assert_uint_eq(now.polling_interval, 7);
	ck_assert_str_eq(said("balloon_stats 0"), "");
	ck_assert_uint_eq(now.polling_interval, 0);
	ck_has(said("balloon_stats -1"), "'seconds' expects a number");
	ck_has(said("balloon_stats 0x100000000"), "'seconds' expects a number");
	ck_assert_uint_eq(now.polling_interval, 0);
}
END_TEST

START_TEST(hinting)
{
	ck_assert_str_eq(said("balloon_hint"), "");
	ck_assert_uint_eq(hints, 1);
	hint_rc = -EBUSY;
	ck_has(ask("{\"execute\":\"x-balloon-hint\"}"), "\"class\": \"GenericError\", \"desc\": "
							"\"no hints\"");
}
END_TEST

START_TEST(event)
{
	now.actual = 5 << 20;
	qmp.len = 0;
	fake_tell("BALLOON_CHANGE");
	ck_has(qmp.out, "\"event\": \"BALLOON_CHANGE\", \"data\": {\"actual\": 5242880}");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("monitor_balloon");
	TCase *tc = tcase_create("monitor_balloon");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, no_balloon);
	tcase_add_test(tc, target);
	tcase_add_test(tc, query);
	tcase_add_test(tc, polling);
	tcase_add_test(tc, hinting);
	tcase_add_test(tc, event);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
