/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unit tests of throttling's arithmetic (include/throttle.h), against figures worked out by hand.
 */
#include <errno.h>
#include <string.h>

#include "suite.h"
#include "err.h"
#include "opts.h"
#include "throttle.h"

#define MS 1000000ull
#define S (1000 * MS)

static struct err e;

static int parse(const char *text, struct blk_throttle *t)
{
	struct opts o;
	int rc;

	memset(&e, 0, sizeof(e));
	memset(t, 0, sizeof(*t));
	ck_assert_int_eq(opts_parse(&o, text, NULL, &e), 0);
	rc = throttle_parse(&o, t, &e);
	if (!rc)
		rc = opts_check_used(&o, NULL, 0, &e);
	opts_free(&o);
	return rc;
}

/* How many requests of len bytes go between now and end, each as soon as it may. */
static unsigned run(const struct blk_throttle *t, struct throttle_state *s, bool write,
		    uint64_t len, uint64_t *now, uint64_t end)
{
	unsigned n = 0;

	while (*now < end) {
		uint64_t wait = throttle_wait(t, s, write, *now);

		if (wait) {
			*now += wait;
			continue;
		}
		throttle_account(t, s, write, len);
		n++;
	}
	return n;
}

static void near(double is, double should, double part)
{
	ck_assert_msg(is >= should * (1 - part) && is <= should * (1 + part), "%f, not about %f",
		      is, should);
}

START_TEST(test_none)
{
	struct blk_throttle t = { 0 };
	struct throttle_state s = { 0 };

	ck_assert(!throttle_on(&t));
	ck_assert_int_eq(throttle_check(&t, &e), 0);
	for (unsigned i = 0; i < 1000; i++) {
		ck_assert_uint_eq(throttle_wait(&t, &s, i & 1, S), 0);
		throttle_account(&t, &s, i & 1, 1 << 20);
	}
}
END_TEST

START_TEST(test_iops)
{
	struct blk_throttle t;
	struct throttle_state s = { 0 };
	uint64_t now = S;

	ck_assert_int_eq(parse("throttling.iops-total=100", &t), 0);
	ck_assert(throttle_on(&t));
	/* The bucket holds a tenth of a second: ten, and one more when it is just full. */
	for (unsigned i = 0; i < 11; i++) {
		ck_assert_uint_eq(throttle_wait(&t, &s, false, now), 0);
		throttle_account(&t, &s, false, 4096);
	}
	/* One too many, at 100 a second: 10 ms. */
	ck_assert_uint_ge(throttle_wait(&t, &s, false, now), 10 * MS);
	ck_assert_uint_le(throttle_wait(&t, &s, false, now), 10 * MS + 10);
	/* Writes are counted in the same bucket. */
	ck_assert_uint_ge(throttle_wait(&t, &s, true, now), 10 * MS);
	/* Then 100 a second, whatever their direction. */
	now += 10 * MS + 1;
	near(run(&t, &s, true, 4096, &now, now + 10 * S), 1000, 0.01);
}
END_TEST

START_TEST(test_bytes)
{
	struct blk_throttle t;
	struct throttle_state s = { 0 };
	uint64_t now = S;

	ck_assert_int_eq(parse("throttling.bps-write=1M", &t), 0);
	near(run(&t, &s, true, 65536, &now, now + 20 * S), 20 * 16, 0.02);
	/* Reads have no limit. */
	for (unsigned i = 0; i < 1000; i++) {
		ck_assert_uint_eq(throttle_wait(&t, &s, false, now), 0);
		throttle_account(&t, &s, false, 1 << 20);
	}
	/* A single request larger than the bucket goes, and those after it pay for it. */
	memset(&s, 0, sizeof(s));
	ck_assert_uint_eq(throttle_wait(&t, &s, true, now), 0);
	throttle_account(&t, &s, true, 10 << 20);
	near((double)throttle_wait(&t, &s, true, now), 9.9e9, 0.001);
}
END_TEST

START_TEST(test_burst)
{
	struct blk_throttle t;
	struct throttle_state s = { 0 };
	uint64_t now = S, start = now;

	ck_assert_int_eq(parse("throttling.iops-total=100,throttling.iops-total-max=1000,"
			       "throttling.iops-total-max-length=5",
			       &t),
			 0);
	/* 1000 a second until 5000 are in the bucket, of which 100 a second have drained. */
	near(run(&t, &s, false, 4096, &now, start + 5 * S), 5000 + 100, 0.02);
	/* 500 more fill it at that rate; then the average. */
	now = now < start + 10 * S ? start + 10 * S : now;
	run(&t, &s, false, 4096, &now, start + 12 * S);
	near(run(&t, &s, false, 4096, &now, now + 10 * S), 1000, 0.02);
	/* A rest of 50 s empties it: a burst of full length again. */
	now += 60 * S;
	near(run(&t, &s, false, 4096, &now, now + 5 * S), 5100, 0.02);
}
END_TEST

START_TEST(test_short_burst)
{
	struct blk_throttle t;
	struct throttle_state s = { 0 };
	uint64_t now = S;

	/* Without a length: all of one second's burst at once. */
	ck_assert_int_eq(parse("throttling.bps-read=1M,throttling.bps-read-max=8M", &t), 0);
	for (unsigned i = 0; i <= 8; i++) {
		ck_assert_uint_eq(throttle_wait(&t, &s, false, now), 0);
		throttle_account(&t, &s, false, 1 << 20);
	}
	near((double)throttle_wait(&t, &s, false, now), 1e9, 0.001);
}
END_TEST

START_TEST(test_iops_size)
{
	struct blk_throttle t;
	struct throttle_state s = { 0 };
	uint64_t now = S;

	ck_assert_int_eq(parse("throttling.iops-total=100,throttling.iops-size=4096", &t), 0);
	/* 64 KiB count as 16, 512 bytes as one. */
	near(run(&t, &s, false, 65536, &now, now + 16 * S), 100, 0.05);
	now += 10 * S;
	near(run(&t, &s, false, 512, &now, now + 10 * S), 1010, 0.02);
}
END_TEST

START_TEST(test_two_limits)
{
	struct blk_throttle t;
	struct throttle_state s = { 0 };
	uint64_t now = S;

	/* The one that is hit sooner counts: 1M/4K = 256 a second, less than 1000. */
	ck_assert_int_eq(parse("throttling.iops-total=1000,throttling.bps-total=1M", &t), 0);
	near(run(&t, &s, true, 4096, &now, now + 20 * S), 20 * 256, 0.02);
	now += 10 * S;
	near(run(&t, &s, true, 512, &now, now + 20 * S), 20 * 1000, 0.02);
}
END_TEST

START_TEST(test_old_names)
{
	struct blk_throttle t;

	ck_assert_int_eq(parse("bps_rd=1,bps_wr=2,iops_rd=3,iops_wr=4,bps_rd_max=5,bps_wr_max=6,"
			       "iops_rd_max=7,iops_wr_max=8,iops_size=9",
			       &t),
			 0);
	ck_assert_uint_eq(t.limit[THROTTLE_BPS_READ].avg, 1);
	ck_assert_uint_eq(t.limit[THROTTLE_BPS_WRITE].avg, 2);
	ck_assert_uint_eq(t.limit[THROTTLE_OPS_READ].avg, 3);
	ck_assert_uint_eq(t.limit[THROTTLE_OPS_WRITE].avg, 4);
	ck_assert_uint_eq(t.limit[THROTTLE_BPS_READ].max, 5);
	ck_assert_uint_eq(t.limit[THROTTLE_BPS_WRITE].max, 6);
	ck_assert_uint_eq(t.limit[THROTTLE_OPS_READ].max, 7);
	ck_assert_uint_eq(t.limit[THROTTLE_OPS_WRITE].max, 8);
	ck_assert_uint_eq(t.iops_size, 9);
	ck_assert_int_eq(parse("bps=1,iops=2,bps_max=3,iops_max=4", &t), 0);
	ck_assert_uint_eq(t.limit[THROTTLE_BPS_TOTAL].avg, 1);
	ck_assert_uint_eq(t.limit[THROTTLE_OPS_TOTAL].avg, 2);
	ck_assert_uint_eq(t.limit[THROTTLE_BPS_TOTAL].max, 3);
	ck_assert_uint_eq(t.limit[THROTTLE_OPS_TOTAL].max, 4);
}
END_TEST

/* What is wrong, and a part of what is said about it. */
static const struct {
	const char *text, *says;
} wrong[] = {
	{ "throttling.iops-total=x", "throttling.iops-total=x: 'x' is not a size" },
	{ "throttling.iops-total=10,throttling.iops-read=10", "iops-total together with" },
	{ "throttling.bps-total=10,throttling.bps-write=10", "bps-total together with" },
	{ "throttling.bps-total=10,throttling.bps-total-max=20,throttling.bps-write-max=30",
	  "bps-total together with" },
	{ "throttling.iops-read-max=10", "throttling.iops-read-max: a burst needs a limit" },
	{ "throttling.iops-read=100,throttling.iops-read-max=10",
	  "throttling.iops-read-max=10 is below throttling.iops-read=100" },
	{ "throttling.iops-read=100,throttling.iops-read-max-length=10",
	  "a length of burst without a rate" },
	{ "throttling.iops-read=100,throttling.iops-read-max=200,"
	  "throttling.iops-read-max-length=1000000",
	  "more than 86400 seconds" },
	{ "throttling.bps-total=16E", "too large" },
	{ "throttling.bps-total=15E", "throttling.bps-total: more than 1000000000000000 a second" },
	{ "throttling.bps-total=10,throttling.iops-size=4096",
	  "iops-size without a limit on operations" },
	{ "throttling.iops-total=10,throttling.group=g", "drives cannot share limits" },
};

START_TEST(test_wrong)
{
	struct blk_throttle t;

	ck_assert_int_lt(parse(wrong[_i].text, &t), 0);
	ck_assert_msg(strstr(e.msg, wrong[_i].says) != NULL, "%s: %s", wrong[_i].text, e.msg);
}
END_TEST

START_TEST(test_time_backwards)
{
	struct blk_throttle t;
	struct throttle_state s = { 0 };

	ck_assert_int_eq(parse("iops=10", &t), 0);
	ck_assert_uint_eq(throttle_wait(&t, &s, false, 5 * S), 0);
	throttle_account(&t, &s, false, 1);
	throttle_account(&t, &s, false, 1);
	near((double)throttle_wait(&t, &s, false, 4 * S), 1e8, 0.001);
	near((double)throttle_wait(&t, &s, false, 5 * S), 1e8, 0.001);
	ck_assert_uint_eq(throttle_wait(&t, &s, false, 6 * S), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("throttle");
	TCase *t = tcase_create("throttle");

	tcase_add_test(t, test_none);
	tcase_add_test(t, test_iops);
	tcase_add_test(t, test_bytes);
	tcase_add_test(t, test_burst);
	tcase_add_test(t, test_short_burst);
	tcase_add_test(t, test_iops_size);
	tcase_add_test(t, test_two_limits);
	tcase_add_test(t, test_old_names);
	tcase_add_loop_test(t, test_wrong, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(t, test_time_backwards);
	suite_add_tcase(s, t);
	return run_suite(s);
}
