/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See co_pool.h. Threads are started when there is work for them, and stay. What they have done
 * waits in a list for its loop's thread, which a post wakes.
 */
#include "co_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "co.h"
#include "loop.h"

struct job {
	void (*fn)(void *arg);
	void *arg;
	struct co *co;
	struct loop *loop;
	struct job *next;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t more_done;
	struct job *first, **end;
	struct job *done; /* of all loops, the last first */
	unsigned threads, idle, waiting; /* waiting: jobs in the list */
	unsigned most; /* threads; 0: not known yet */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER,
	   .work = PTHREAD_COND_INITIALIZER,
	   .more_done = PTHREAD_COND_INITIALIZER };

/* Lock held. One of l's that is done, or NULL. */
static struct job *take_done(const struct loop *l)
{
	struct job *j;

	for (struct job **at = &pool.done; (j = *at); at = &j->next) {
		if (j->loop == l) {
			*at = j->next;
			break;
		}
	}
	return j;
}

/* On l's thread. Another poll may have been quicker: then there is nothing left. */
static void go_on(void *arg)
{
	struct loop *l = arg;
	struct job *j;

	do {
		pthread_mutex_lock(&pool.lock);
		j = take_done(l);
		pthread_mutex_unlock(&pool.lock);
		if (j)
			co_enter(j->co);
	} while (j);
}

void co_pool_poll(struct loop *l)
{
	struct job *j;

	pthread_mutex_lock(&pool.lock);
	while (!(j = take_done(l)))
		pthread_cond_wait(&pool.more_done, &pool.lock);
	pthread_mutex_unlock(&pool.lock);
	co_enter(j->co);
}

static struct job *next_job(void)
{
	struct job *j;

	pthread_mutex_lock(&pool.lock);
	pool.idle++;
	while (!pool.first)
		pthread_cond_wait(&pool.work, &pool.lock);
	pool.idle--;
	j = pool.first;
	pool.first = j->next;
	pool.waiting--;
	pthread_mutex_unlock(&pool.lock);
	return j;
}

/* A job lies on its coroutine's stack: it is gone as soon as that goes on. */
static void *serve(void *unused)
{
	for (;;) {
		struct job *j = next_job();

		j->fn(j->arg);
		pthread_mutex_lock(&pool.lock);
		j->next = pool.done;
		pool.done = j;
		/* With the lock: who sees that the job is done may end the loop. */
		loop_post(j->loop, go_on, j->loop);
		pthread_cond_broadcast(&pool.more_done);
		pthread_mutex_unlock(&pool.lock);
	}
	return NULL;
}

/* With the lock. False: there is no thread at all. */
static bool start_thread(void)
{
	sigset_t all, old;
	pthread_t t;

	if (!pool.most) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);

		pool.most = cpus > 0 ? (unsigned)cpus : 1;
	}
	if (pool.idle > pool.waiting || pool.threads >= pool.most)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (!pthread_create(&t, NULL, serve, NULL)) {
		pthread_detach(t);
		pool.threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pool.threads;
}

void co_pool_run(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct job j = { .fn = fn, .arg = arg, .co = co_self(), .loop = l };
	bool queued = false;

	if (l && j.co) {
		pthread_mutex_lock(&pool.lock);
		queued = start_thread();
		if (queued) {
			if (!pool.first)
				pool.end = &pool.first;
			*pool.end = &j;
			pool.end = &j.next;
			pool.waiting++;
			pthread_cond_signal(&pool.work);
		}
		pthread_mutex_unlock(&pool.lock);
	}
	if (queued)
		co_yield ();
	else
		fn(arg);
}
