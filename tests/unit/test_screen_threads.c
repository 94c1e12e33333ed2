/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that draws at the moment at which its screen falls asleep: on a real loop. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "suite.h"
#include "display.h"
#include "err.h"
#include "loop.h"
#include "machine.h"

enum { ROUNDS = 6 };

static struct machine m;
static struct screen *s;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned drawn, shown; /* by the guest; on the screen: under lock */
static unsigned watches;

static void update(void *card, struct screen *screen, bool all)
{
	pthread_mutex_lock(&lock);
	if (shown != drawn)
		screen_damage(screen, 0, 0, 1, 1);
	shown = drawn;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static int watch(void *card, bool on)
{
	pthread_mutex_lock(&lock);
	watches += on;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	return 0;
}

/* Each round a little later after the screen began to fall asleep. */
static void *guest(void *arg)
{
	unsigned seen = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < ROUNDS; i++) {
		while (watches == seen)
			pthread_cond_wait(&cond, &lock);
		seen = watches;
		pthread_mutex_unlock(&lock);
		for (unsigned wait = 0; wait < i * 200; wait++)
			sched_yield();
		pthread_mutex_lock(&lock);
		drawn++;
		screen_touch(s);
		while (shown != drawn)
			pthread_cond_wait(&cond, &lock);
	}
	pthread_mutex_unlock(&lock);
	loop_quit(m.loop);
	return NULL;
}

START_TEST(no_change_is_missed)
{
	static const struct screen_ops ops = { .update = update, .watch = watch };
	struct viewer viewer = { 0 };
	pthread_t thread;
	struct err e;

	memset(&m, 0, sizeof(m));
	ck_assert_int_eq(loop_create(&m.loop, &e), 0);
	ck_assert_int_eq(screen_create(&m, &ops, NULL, &s, &e), 0);
	viewer_attach(&viewer, s);
	ck_assert_int_eq(pthread_create(&thread, NULL, guest, NULL), 0);
	loop_run(m.loop);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(shown, ROUNDS);
	screen_destroy(s);
	loop_destroy(m.loop);
}
END_TEST

static void nothing(void)
{
}

int main(void)
{
	const TTest *const tests[] = { no_change_is_missed };

	return run_tests("screen_threads", nothing, nothing, tests, 1);
}
