/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Coroutines: switching, order of waiting, many at once, what is left on their stacks. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "co.h"
#include "suite.h"

static char trail[256];

static void note(const char *s)
{
	strncat(trail, s, sizeof(trail) - strlen(trail) - 1);
}

static void setup(void)
{
	trail[0] = 0;
}

static void teardown(void)
{
	co_thread_exit();
}

static void three_steps(void *arg)
{
	const char *name = arg;

	for (int i = 0; i < 3; i++) {
		note(name);
		if (i < 2)
			co_yield ();
	}
}

START_TEST(runs_from_yield_to_yield)
{
	struct co *a = co_create(three_steps, "a"), *b = co_create(three_steps, "b");

	ck_assert_ptr_null(co_self());
	co_enter(a);
	co_enter(b);
	note("|");
	co_enter(a);
	note("|");
	co_enter(b);
	co_enter(b);
	co_enter(a);
	ck_assert_str_eq(trail, "ab|a|bba");
	ck_assert_ptr_null(co_self());
}
END_TEST

static void inner(void *arg)
{
	ck_assert_ptr_ne(co_self(), arg);
	note("i");
	co_yield ();
	note("j");
}

static void outer(void *arg)
{
	struct co *me = co_self(), *c = co_create(inner, me);

	note("o");
	co_enter(c);
	ck_assert_ptr_eq(co_self(), me);
	note("p");
	co_yield ();
	co_enter(c);
	note("q");
}

START_TEST(coroutines_enter_coroutines)
{
	struct co *c = co_create(outer, NULL);

	co_enter(c);
	co_enter(c);
	ck_assert_str_eq(trail, "oipjq");
}
END_TEST

/* What a function keeps in registers and on the stack, and floating point, survives. */
static uint64_t sum_with_yields(unsigned seed, unsigned depth)
{
	volatile uint8_t pad[300];
	uint64_t a = seed, b = seed * 3, c = seed * 5;
	double d = seed * 0.5;

	memset((void *)(uintptr_t)pad, (int)seed, sizeof(pad));
	if (depth)
		a += sum_with_yields(seed + 1, depth - 1);
	co_yield ();
	for (unsigned i = 0; i < sizeof(pad); i++)
		if (pad[i] != (uint8_t)seed)
			return 0;
	return d == seed * 0.5 ? a + b + c : 0;
}

struct job {
	unsigned seed;
	uint64_t result;
	bool done;
};

static void work(void *arg)
{
	struct job *j = arg;

	j->result = sum_with_yields(j->seed, 40);
	j->done = true;
}

START_TEST(many_at_once_keep_their_stacks)
{
	enum { N = 300 };
	static struct job job[N];
	static struct co *co[N];
	bool left = true;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N; i++) {
			job[i] = (struct job){ .seed = i };
			co[i] = co_create(work, &job[i]);
			ck_assert_ptr_nonnull(co[i]);
		}
		for (left = true; left;) {
			left = false;
			for (unsigned i = 0; i < N; i++) {
				if (job[i].done)
					continue;
				co_enter(co[i]);
				left |= !job[i].done;
			}
		}
		for (unsigned i = 0; i < N; i++) {
			uint64_t want = 0;

			for (unsigned k = 0; k <= 40; k++)
				want += 9ull * (i + k);
			ck_assert_uint_eq(job[i].result, want);
		}
	}
}
END_TEST

static struct co_queue queue;
static struct co_lock lock;

static void waiter(void *arg)
{
	co_queue_wait(&queue);
	note(arg);
}

START_TEST(waiters_are_woken_in_order)
{
	ck_assert(!co_queue_wake(&queue));
	for (const char *const *s = (const char *const[]){ "1", "2", "3", "4", NULL }; *s; s++)
		co_enter(co_create(waiter, (void *)(uintptr_t)*s));
	ck_assert_str_eq(trail, "");
	ck_assert(co_queue_wake(&queue));
	ck_assert_str_eq(trail, "1");
	co_queue_wake_all(&queue);
	ck_assert_str_eq(trail, "1234");
	ck_assert(!co_queue_wake(&queue));
}
END_TEST

static void again(void *arg)
{
	co_queue_wait(&queue);
	note("x");
	co_queue_wait(&queue); /* wake_all wakes those who waited when it was called, once */
	note("y");
}

START_TEST(wake_all_wakes_no_newcomers)
{
	co_enter(co_create(again, NULL));
	co_queue_wake_all(&queue);
	ck_assert_str_eq(trail, "x");
	co_queue_wake_all(&queue);
	ck_assert_str_eq(trail, "xy");
}
END_TEST

static void critical(void *arg)
{
	co_lock(&lock);
	note("(");
	co_yield ();
	note(arg);
	note(")");
	co_unlock(&lock);
}

START_TEST(lock_lets_one_in_at_a_time)
{
	struct co *a = co_create(critical, "a"), *b = co_create(critical, "b"),
		  *c = co_create(critical, "c");

	co_enter(a);
	co_enter(b);
	co_enter(c);
	ck_assert_str_eq(trail, "(");
	co_enter(a); /* hands the lock to b */
	ck_assert_str_eq(trail, "(a)(");
	co_enter(b);
	ck_assert_str_eq(trail, "(a)(b)(");
	co_enter(c);
	ck_assert_str_eq(trail, "(a)(b)(c)");
	ck_assert(!lock.held);
}
END_TEST

static void *in_a_thread(void *arg)
{
	struct job j = { .seed = 7 };
	struct co *c = co_create(work, &j);

	while (!j.done)
		co_enter(c);
	co_thread_exit();
	*(uint64_t *)arg = j.result;
	return NULL;
}

START_TEST(threads_have_their_own)
{
	uint64_t result[4];
	pthread_t t[4];

	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, in_a_thread, &result[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		ck_assert_uint_eq(result[i], result[0]);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("co");
	TCase *t = tcase_create("co");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, runs_from_yield_to_yield);
	tcase_add_test(t, coroutines_enter_coroutines);
	tcase_add_test(t, many_at_once_keep_their_stacks);
	tcase_add_test(t, waiters_are_woken_in_order);
	tcase_add_test(t, wake_all_wakes_no_newcomers);
	tcase_add_test(t, lock_lets_one_in_at_a_time);
	tcase_add_test(t, threads_have_their_own);
	suite_add_tcase(s, t);
	return run_suite(s);
}
