/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Computations of coroutines on other threads. */
#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../src/block/co_pool.h"
#include "co.h"
#include "err.h"
#include "loop.h"
#include "suite.h"

enum { JOBS = 50 };

static struct loop *l;
static struct err e;

static void setup(void)
{
	ck_assert_int_eq(loop_create(&l, &e), 0);
}

static void teardown(void)
{
	loop_destroy(l);
	co_thread_exit();
}

struct job {
	struct loop *l;
	uint64_t in, out;
	unsigned *left;
	bool elsewhere, back;
	pthread_t began;
};

static void compute(void *arg)
{
	struct job *j = arg;

	j->elsewhere = !pthread_equal(pthread_self(), j->began);
	j->out = j->in;
	for (unsigned i = 0; i < 10000; i++)
		j->out = j->out * 6364136223846793005u + 1;
}

static void in_coroutine(void *arg)
{
	struct job *j = arg;

	j->began = pthread_self();
	co_pool_run(j->l, compute, j);
	j->back = pthread_equal(pthread_self(), j->began);
	if (!--*j->left && j->l)
		loop_quit(j->l);
}

static void begin(struct job *jobs, struct loop *on, unsigned *left)
{
	*left = JOBS;
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct job){ .l = on, .in = i, .left = left };
		co_enter(co_create(in_coroutine, &jobs[i]));
	}
}

static void check(const struct job *jobs)
{
	for (unsigned i = 0; i < JOBS; i++) {
		struct job again = jobs[i];

		compute(&again);
		ck_assert_uint_eq(jobs[i].out, again.out);
		ck_assert(jobs[i].back);
		ck_assert(jobs[i].elsewhere == (jobs[i].l != NULL));
	}
}

START_TEST(goes_on_from_the_loop)
{
	struct job jobs[JOBS];
	unsigned left;

	begin(jobs, l, &left);
	ck_assert_uint_eq(left, JOBS);
	loop_run(l);
	ck_assert_uint_eq(left, 0);
	check(jobs);
}
END_TEST

START_TEST(goes_on_from_a_poll)
{
	struct job jobs[JOBS];
	unsigned left;

	begin(jobs, l, &left);
	while (left)
		co_pool_poll(l);
	check(jobs);
	/* What the loop was told of them meanwhile, and to quit, does no harm to others. */
	loop_run(l);
	begin(jobs, l, &left);
	loop_run(l);
	check(jobs);
}
END_TEST

START_TEST(without_a_loop_at_once)
{
	struct job jobs[JOBS];
	unsigned left;

	begin(jobs, NULL, &left);
	ck_assert_uint_eq(left, 0);
	check(jobs);
}
END_TEST

static void *with_a_loop_of_its_own(void *arg)
{
	struct job jobs[JOBS];
	struct loop *own;
	struct err mine;
	unsigned left;

	(void)arg;
	ck_assert_int_eq(loop_create(&own, &mine), 0);
	begin(jobs, own, &left);
	while (left)
		co_pool_poll(own);
	check(jobs);
	loop_destroy(own);
	co_thread_exit();
	return NULL;
}

START_TEST(loops_do_not_mix)
{
	pthread_t t[3];

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, with_a_loop_of_its_own, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { goes_on_from_the_loop, goes_on_from_a_poll,
				       without_a_loop_at_once, loops_do_not_mix };

	return run_tests("co_pool", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
