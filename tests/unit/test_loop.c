/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop: order, waking, timers, and deletion in the middle of things. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"
#include "err.h"
#include "loop.h"

#define MS 1000000ull

static struct loop *l;

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(loop_create(&l, &e), 0);
}

static void teardown(void)
{
	loop_destroy(l);
}

static void quit(void *ctx)
{
	loop_quit(ctx);
}

static void *run(void *ctx)
{
	loop_run(ctx);
	return NULL;
}

static void sleep_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

/* --- posts and calls ------------------------------------------------------- */

enum { POSTERS = 8, POSTS = 5000 };

struct item {
	unsigned thread, seq;
};

static unsigned next_seq[POSTERS]; /* plain: the loop's thread alone touches it */
static unsigned in_callback;

static void take_item(void *ctx)
{
	struct item *it = ctx;

	ck_assert(loop_is_current(l));
	ck_assert_uint_eq(in_callback++, 0);
	ck_assert_uint_eq(it->seq, next_seq[it->thread]);
	next_seq[it->thread]++;
	in_callback--;
	free(it);
}

static void read_seq(void *ctx)
{
	struct item *it = ctx;

	it->seq = next_seq[it->thread];
}

static void *poster(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	ck_assert(!loop_is_current(l));
	for (unsigned i = 0; i < POSTS; i++) {
		struct item *it = malloc(sizeof(*it));

		*it = (struct item){ .thread = me, .seq = i };
		loop_post(l, take_item, it);
		if (i % 500 == 0) {
			struct item seen = { .thread = me };

			/* A call waits, and comes after what this thread posted before. */
			loop_call(l, read_seq, &seen);
			ck_assert_uint_eq(seen.seq, i + 1);
		}
	}
	return NULL;
}

START_TEST(posts_of_many_threads_in_order)
{
	pthread_t t[POSTERS], loop_thread;

	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run, l), 0);
	for (unsigned i = 0; i < POSTERS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, poster, (void *)(uintptr_t)i), 0);
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	loop_quit(l);
	pthread_join(loop_thread, NULL);
	/* Nothing posted before loop_run returned was left out. */
	for (unsigned i = 0; i < POSTERS; i++)
		ck_assert_uint_eq(next_seq[i], POSTS);
}
END_TEST

static char trail[64];

static void mark_a(void *ctx)
{
	strcat(trail, "a");
}

static void mark_b(void *ctx)
{
	strcat(trail, "b");
}

static void nested_call(void *ctx)
{
	loop_call(l, mark_a, NULL); /* at once: on the loop's thread it must not wait */
	strcat(trail, "-");
	loop_post(l, mark_b, NULL); /* later, although this post is being run */
	strcat(trail, "-");
}

START_TEST(call_on_own_thread_is_immediate)
{
	loop_call(l, mark_a, NULL); /* no loop_run yet: the creator owns the loop */
	ck_assert_str_eq(trail, "a");
	loop_post(l, nested_call, NULL);
	loop_quit(l);
	loop_run(l); /* returns although quit came first, and runs what was posted */
	ck_assert_str_eq(trail, "aa--b");

	/* And again: one quit ends one run. */
	loop_post(l, mark_b, NULL);
	loop_post(l, quit, l);
	loop_run(l);
	ck_assert_str_eq(trail, "aa--bb");
}
END_TEST

static atomic_bool waiter_running;
static unsigned plain_counter; /* not atomic: late calls must not overlap */

static void count_plain(void *ctx)
{
	ck_assert(loop_is_current(l));
	plain_counter++;
	if (ctx)
		loop_call(l, count_plain, NULL); /* nested, still no deadlock */
}

static void *late_caller(void *arg)
{
	for (int i = 0; i < 1000; i++)
		loop_call(l, count_plain, l);
	ck_assert(!loop_is_current(l));
	return NULL;
}

START_TEST(calls_after_the_end_are_run_by_the_caller)
{
	pthread_t t[4];

	loop_quit(l);
	loop_run(l);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, late_caller, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(plain_counter, 8000);
}
END_TEST

static void *early_caller(void *arg)
{
	atomic_store(&waiter_running, true);
	loop_call(l, count_plain, NULL);
	loop_quit(l);
	return NULL;
}

START_TEST(call_before_the_run_waits_for_it)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, early_caller, NULL), 0);
	while (!atomic_load(&waiter_running))
		sleep_ms(1);
	sleep_ms(20);
	loop_call(l, mark_a, NULL); /* orders our read below after nothing but our own thread */
	ck_assert_uint_eq(plain_counter, 0);
	loop_run(l);
	pthread_join(t, NULL);
	ck_assert_uint_eq(plain_counter, 1);
}
END_TEST

static void post_nothing(void *ctx)
{
}

START_TEST(late_posts_are_dropped_without_leak)
{
	loop_quit(l);
	loop_run(l);
	for (int i = 0; i < 10; i++)
		loop_post(l, mark_a, NULL);
	loop_post(l, post_nothing, NULL);
	loop_destroy(l);
	ck_assert_str_eq(trail, "");
	setup();
}
END_TEST

/* --- timers ---------------------------------------------------------------- */

struct tick {
	struct loop_timer t;
	uint64_t due;
	char name;
	struct tick *victim; /* cancelled by this one */
	bool last;
};

static void tick(void *ctx)
{
	struct tick *k = ctx;
	char s[2] = { k->name, 0 };

	ck_assert_uint_ge(loop_now_ns(), k->due); /* never early */
	ck_assert_uint_eq(k->t.deadline, 0);
	strcat(trail, s);
	if (k->victim)
		loop_timer_cancel(&k->victim->t);
	if (k->last)
		loop_quit(l);
}

static void arm(struct tick *k, uint64_t due)
{
	k->due = due;
	loop_timer_set(&k->t, due);
}

START_TEST(timers_by_deadline)
{
	struct tick k[8] = { 0 };
	uint64_t now = loop_now_ns();

	for (int i = 0; i < 8; i++) {
		k[i].name = (char)('a' + i);
		loop_timer_init(&k[i].t, l, tick, &k[i]);
	}
	arm(&k[0], now + 9 * MS);
	arm(&k[1], now + 3 * MS);
	arm(&k[2], now + 12 * MS);
	arm(&k[3], now + 3 * MS); /* the same deadline: in the order set */
	arm(&k[4], now + 1 * MS);
	arm(&k[4], now + 6 * MS + 1); /* moved later */
	arm(&k[5], now + 30 * MS);
	arm(&k[5], now + 2 * MS); /* moved earlier */
	arm(&k[6], now + 5 * MS);
	loop_timer_cancel(&k[6].t);
	loop_timer_cancel(&k[6].t); /* again, and one never armed */
	loop_timer_cancel(&k[7].t);
	k[2].last = true;
	loop_run(l);
	ck_assert_str_eq(trail, "fbdeac");
	ck_assert_uint_lt(loop_now_ns() - now, 2000 * MS);
}
END_TEST

START_TEST(cancel_of_an_expired_timer)
{
	struct tick k[4] = { 0 };

	for (int i = 0; i < 4; i++) {
		k[i].name = (char)('a' + i);
		loop_timer_init(&k[i].t, l, tick, &k[i]);
		arm(&k[i], loop_now_ns() - 5 * MS + (uint64_t)i); /* all due already */
	}
	k[0].victim = &k[1];
	k[3].last = true;
	loop_run(l);
	ck_assert_str_eq(trail, "acd");
}
END_TEST

static struct loop_timer greedy;
static unsigned greedy_runs;

static void greedy_cb(void *ctx)
{
	greedy_runs++;
	loop_timer_set(&greedy, 0); /* due at once, for ever */
}

static void fd_quit(void *ctx, uint32_t events)
{
	loop_quit(l);
}

START_TEST(greedy_timer_does_not_starve_fds)
{
	struct loop_fd f;
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	ck_assert_int_eq(loop_fd_add(l, &f, p[0], EPOLLIN, fd_quit, NULL), 0);
	loop_timer_init(&greedy, l, greedy_cb, NULL);
	loop_timer_set(&greedy, 1);
	loop_run(l);
	ck_assert_uint_ge(greedy_runs, 1);
	loop_timer_cancel(&greedy);
	loop_fd_del(&f);
	close(p[0]);
	close(p[1]);
}
END_TEST

static struct tick cross;

static void *set_cross(void *arg)
{
	sleep_ms(20); /* the loop is asleep on the far timer by now */
	arm(&cross, loop_now_ns() + 5 * MS);
	return NULL;
}

START_TEST(timer_set_by_another_thread_wakes_the_loop)
{
	struct tick far = { .name = 'z' };
	uint64_t start = loop_now_ns();
	pthread_t t;

	cross = (struct tick){ .name = 'x', .last = true };
	loop_timer_init(&far.t, l, tick, &far);
	loop_timer_init(&cross.t, l, tick, &cross);
	arm(&far, start + 60000 * MS);
	ck_assert_int_eq(pthread_create(&t, NULL, set_cross, NULL), 0);
	loop_run(l);
	pthread_join(t, NULL);
	ck_assert_str_eq(trail, "x");
	ck_assert_uint_lt(loop_now_ns() - start, 3000 * MS);
	loop_timer_cancel(&far.t);
}
END_TEST

static struct loop_timer racing[4];
static atomic_uint fired;

static void count_fired(void *ctx)
{
	atomic_fetch_add(&fired, 1);
}

static void *race_timers(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < 20000; i++) {
		struct loop_timer *t = &racing[rand_r(&seed) % 4];

		if (rand_r(&seed) % 3)
			loop_timer_set(t, loop_now_ns() + (uint64_t)(rand_r(&seed) % 20000));
		else
			loop_timer_cancel(t);
	}
	return NULL;
}

START_TEST(timers_set_and_cancelled_by_many_threads)
{
	pthread_t t[4], loop_thread;

	for (int i = 0; i < 4; i++)
		loop_timer_init(&racing[i], l, count_fired, NULL);
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run, l), 0);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, race_timers, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	/* The list is whole: each of them still fires when set, and stays quiet when cancelled. */
	for (int i = 0; i < 4; i++)
		loop_timer_cancel(&racing[i]);
	loop_call(l, post_nothing, NULL);
	atomic_store(&fired, 0);
	for (int i = 0; i < 3; i++)
		loop_timer_set(&racing[i], loop_now_ns() + MS);
	for (int i = 0; i < 1000 && atomic_load(&fired) < 3; i++)
		sleep_ms(1);
	sleep_ms(5);
	ck_assert_uint_eq(atomic_load(&fired), 3);
	loop_quit(l);
	pthread_join(loop_thread, NULL);
}
END_TEST

/* --- file descriptors ------------------------------------------------------ */

struct peer {
	struct loop_fd f;
	int p[2];
	unsigned calls;
	uint32_t events;
	struct peer **other; /* deleted and freed by the callback */
};

static struct peer *pa, *pb;

static struct peer *peer_new(void (*cb)(void *, uint32_t), uint32_t events)
{
	struct peer *p = calloc(1, sizeof(*p));

	ck_assert_int_eq(pipe(p->p), 0);
	ck_assert_int_eq(loop_fd_add(l, &p->f, p->p[0], events, cb, p), 0);
	return p;
}

static void peer_free(struct peer *p)
{
	loop_fd_del(&p->f);
	loop_fd_del(&p->f); /* idempotent */
	close(p->p[0]);
	if (p->p[1] >= 0)
		close(p->p[1]);
	free(p);
}

static void free_other(void *ctx, uint32_t events)
{
	struct peer *me = ctx;
	char c;

	ck_assert(events & EPOLLIN);
	ck_assert_int_eq(read(me->p[0], &c, 1), 1);
	me->calls++;
	if (*me->other) {
		peer_free(*me->other);
		*me->other = NULL;
	}
	loop_post(l, quit, l);
}

START_TEST(fd_deleted_by_another_fds_callback)
{
	struct peer *left;

	pa = peer_new(free_other, EPOLLIN);
	pb = peer_new(free_other, EPOLLIN);
	pa->other = &pb;
	pb->other = &pa;
	/* Both ready before the loop looks: they come in one batch. */
	ck_assert_int_eq(write(pa->p[1], "x", 1), 1);
	ck_assert_int_eq(write(pb->p[1], "x", 1), 1);
	loop_run(l);
	ck_assert((pa == NULL) != (pb == NULL));
	left = pa ? pa : pb;
	ck_assert_uint_eq(left->calls, 1);
	peer_free(left);
}
END_TEST

static void free_self(void *ctx, uint32_t events)
{
	peer_free(ctx);
	pa = NULL;
	loop_quit(l);
}

START_TEST(fd_deleted_by_its_own_callback)
{
	pa = peer_new(free_self, EPOLLIN);
	ck_assert_int_eq(write(pa->p[1], "x", 1), 1);
	loop_run(l);
	ck_assert_ptr_null(pa);
}
END_TEST

static void note_events(void *ctx, uint32_t events)
{
	struct peer *p = ctx;

	p->calls++;
	p->events |= events;
	loop_fd_mod(&p->f, 0);
}

START_TEST(fd_out_of_the_set_reports_nothing)
{
	struct loop_timer t;

	pa = peer_new(note_events, EPOLLIN);
	close(pa->p[1]); /* a hang-up, reported for ever by a set that has the fd */
	pa->p[1] = -1;
	loop_timer_init(&t, l, quit, l);
	loop_timer_set(&t, loop_now_ns() + 20 * MS);
	loop_run(l);
	ck_assert_uint_eq(pa->calls, 1);
	ck_assert_uint_eq(pa->events, EPOLLHUP);

	/* Back in the set it is told again. */
	ck_assert_int_eq(loop_fd_mod(&pa->f, EPOLLIN), 0);
	loop_timer_set(&t, loop_now_ns() + 20 * MS);
	loop_run(l);
	ck_assert_uint_eq(pa->calls, 2);
	peer_free(pa);
}
END_TEST

START_TEST(regular_file_is_refused)
{
	struct loop_fd f;
	FILE *tmp = tmpfile();

	ck_assert_int_eq(loop_fd_add(l, &f, fileno(tmp), EPOLLIN, fd_quit, NULL), -EPERM);
	loop_fd_del(&f); /* harmless */
	fclose(tmp);
}
END_TEST

static void *quit_soon(void *arg)
{
	sleep_ms(20);
	loop_quit(l);
	return NULL;
}

START_TEST(quit_from_another_thread_wakes_an_idle_loop)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, quit_soon, NULL), 0);
	loop_run(l);
	pthread_join(t, NULL);
}
END_TEST

static void timer_quit(void *ctx)
{
	loop_quit(l);
}

/* --- deferred work ------------------------------------------------------------ */

static struct {
	struct loop_defer d[3];
	char order[32];
} dd;

static void defer_note(const char *what)
{
	strncat(dd.order, what, sizeof(dd.order) - strlen(dd.order) - 1);
}

static void defer_a(void *ctx)
{
	defer_note("a");
	loop_defer(l, &dd.d[2]);
}

static void defer_b(void *ctx)
{
	defer_note("b");
}

static void defer_c(void *ctx)
{
	defer_note("c");
	loop_quit(l);
}

static void defer_from_post(void *ctx)
{
	defer_note("<");
	loop_defer(l, &dd.d[0]);
	loop_defer(l, &dd.d[1]);
	loop_defer(l, &dd.d[0]); /* once only */
	defer_note(">");
}

static void defer_setup(void)
{
	memset(&dd, 0, sizeof(dd));
	dd.d[0].cb = defer_a;
	dd.d[1].cb = defer_b;
	dd.d[2].cb = defer_c;
}

START_TEST(deferred_work_runs_after_the_callback_and_in_order)
{
	defer_setup();
	loop_post(l, defer_from_post, NULL);
	loop_post(l, defer_from_post, NULL);
	loop_run(l);
	ck_assert_str_eq(dd.order, "<><>abc");
}
END_TEST

static void defer_and_cancel(void *ctx)
{
	loop_defer(l, &dd.d[0]);
	loop_defer(l, &dd.d[1]);
	loop_defer_cancel(l, &dd.d[1]);
	loop_defer_cancel(l, &dd.d[0]);
	loop_defer(l, &dd.d[2]); /* the list's end is still right */
}

START_TEST(deferred_work_can_be_cancelled)
{
	defer_setup();
	loop_post(l, defer_and_cancel, NULL);
	loop_run(l);
	ck_assert_str_eq(dd.order, "c");
}
END_TEST

static void defer_again(void *ctx)
{
	unsigned *n = ctx;

	if (++*n < 100000)
		loop_defer(l, &dd.d[0]);
}

START_TEST(deferring_for_ever_does_not_starve_timers)
{
	struct loop_timer t;
	unsigned n = 0;

	dd.d[0] = (struct loop_defer){ .cb = defer_again, .ctx = &n };
	loop_timer_init(&t, l, timer_quit, NULL);
	loop_timer_set(&t, loop_now_ns() + 1);
	loop_defer(l, &dd.d[0]);
	loop_run(l);
	ck_assert_uint_ge(n, 1);
	ck_assert_uint_eq(n, 100000); /* what was deferred still ran before the end */
}
END_TEST

/* --- waiting that serves calls ---------------------------------------------------- */

static struct {
	_Atomic bool done;
	unsigned calls, posts;
} w;

static void count_call(void *ctx)
{
	w.calls++;
}

static void count_post(void *ctx)
{
	w.posts++;
}

static void *calls_the_waiting_loop(void *arg)
{
	loop_post(l, count_post, NULL);
	loop_call(l, count_call, NULL);
	loop_call(l, count_call, NULL);
	atomic_store(&w.done, true);
	loop_wake(l);
	return NULL;
}

static bool w_done(void *ctx)
{
	return atomic_load(&w.done);
}

static void wait_for_caller(void *ctx)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, calls_the_waiting_loop, NULL), 0);
	loop_wait(l, w_done, NULL);
	ck_assert_uint_eq(w.calls, 2);
	ck_assert_uint_eq(w.posts, 0); /* posts wait for the loop */
	pthread_join(t, NULL);
	loop_quit(l);
}

START_TEST(waiting_loop_serves_calls_but_not_posts)
{
	memset(&w, 0, sizeof(w));
	loop_post(l, wait_for_caller, NULL);
	loop_run(l);
	ck_assert_uint_eq(w.posts, 1);
}
END_TEST

/* --- polling ------------------------------------------------------------------------ */

static struct poll_model {
	struct loop_poller p;
	struct loop_fd f;
	int fd;
	unsigned polls, begins, ends, events;
	_Atomic bool work;
	bool rings; /* a ring is wanted: not polling */
	unsigned found;
} pm;

static bool pm_poll(void *ctx)
{
	pm.polls++;
	ck_assert(!pm.rings);
	if (!atomic_exchange(&pm.work, false))
		return false;
	pm.found++;
	return true;
}

static void pm_begin(void *ctx)
{
	pm.begins++;
	pm.rings = false;
}

static bool pm_end(void *ctx)
{
	pm.ends++;
	pm.rings = true;
	return false;
}

static void pm_event(void *ctx, uint32_t events)
{
	pm.events++;
}

static void *pm_feed(void *arg)
{
	uint64_t one = 1;

	for (unsigned i = 0; i < 2000; i++) {
		ck_assert_int_eq(write(pm.fd, &one, sizeof(one)), sizeof(one));
		for (uint64_t t = loop_now_ns() + 20000; loop_now_ns() < t;)
			;
	}
	loop_quit(l);
	return NULL;
}

START_TEST(loop_polls_when_sleeps_are_short)
{
	pthread_t t;

	memset(&pm, 0, sizeof(pm));
	pm.rings = true;
	pm.p = (struct loop_poller){ .poll = pm_poll, .begin = pm_begin, .end = pm_end };
	pm.fd = eventfd(0, EFD_NONBLOCK);
	ck_assert_int_eq(loop_fd_add(l, &pm.f, pm.fd, EPOLLIN | EPOLLET, pm_event, NULL), 0);
	loop_set_poll(l, 10000000);
	loop_poller_add(l, &pm.p);
	ck_assert_int_eq(pthread_create(&t, NULL, pm_feed, NULL), 0);
	loop_run(l);
	pthread_join(t, NULL);
	ck_assert_uint_gt(pm.polls, 0);
	ck_assert_uint_eq(pm.begins, pm.ends);
	ck_assert(pm.rings);
	loop_poller_del(l, &pm.p);
	loop_fd_del(&pm.f);
	close(pm.fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, posts_of_many_threads_in_order);
	tcase_add_test(t, call_on_own_thread_is_immediate);
	tcase_add_test(t, calls_after_the_end_are_run_by_the_caller);
	tcase_add_test(t, call_before_the_run_waits_for_it);
	tcase_add_test(t, late_posts_are_dropped_without_leak);
	tcase_add_test(t, timers_by_deadline);
	tcase_add_test(t, cancel_of_an_expired_timer);
	tcase_add_test(t, greedy_timer_does_not_starve_fds);
	tcase_add_test(t, timer_set_by_another_thread_wakes_the_loop);
	tcase_add_test(t, timers_set_and_cancelled_by_many_threads);
	tcase_add_test(t, fd_deleted_by_another_fds_callback);
	tcase_add_test(t, fd_deleted_by_its_own_callback);
	tcase_add_test(t, fd_out_of_the_set_reports_nothing);
	tcase_add_test(t, regular_file_is_refused);
	tcase_add_test(t, deferred_work_runs_after_the_callback_and_in_order);
	tcase_add_test(t, deferred_work_can_be_cancelled);
	tcase_add_test(t, deferring_for_ever_does_not_starve_timers);
	tcase_add_test(t, waiting_loop_serves_calls_but_not_posts);
	tcase_add_test(t, loop_polls_when_sleeps_are_short);
	tcase_add_test(t, quit_from_another_thread_wakes_an_idle_loop);
	suite_add_tcase(s, t);
	return run_suite(s);
}
