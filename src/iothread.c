/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O threads: see include/iothread.h. Main thread; the threads run only their loops. */
#include "iothread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "loop.h"
#include "machine.h"

struct iothread {
	char *id;
	struct loop *loop;
	pthread_t thread;
	sem_t runs; /* posted from inside loop_run: from now on the loop is the thread's */
	int tid;
	struct iothread *next;
};

static void on_loop(void *ctx)
{
	struct iothread *t = ctx;

	t->tid = gettid();
	sem_post(&t->runs);
}

static void *run(void *arg)
{
	struct iothread *t = arg;

	loop_run(t->loop);
	return NULL;
}

static struct iothread *find(struct machine *m, const char *id)
{
	struct iothread *t = m->iothreads;

	while (t && strcmp(t->id, id))
		t = t->next;
	return t;
}

int iothread_add(struct machine *m, const char *id, uint64_t poll_max_ns, struct err *e)
{
	struct iothread *t, **end = &m->iothreads;
	sigset_t all, old;
	char name[16];
	int rc;

	if (find(m, id))
		return err_set(e, ERR_USAGE, EEXIST, "id=%s: another object has this id", id);
	t = calloc(1, sizeof(*t));
	if (!t || !(t->id = strdup(id))) {
		free(t);
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	rc = loop_create(&t->loop, e);
	if (rc)
		goto fail;
	loop_set_poll(t->loop, poll_max_ns);
	sem_init(&t->runs, 0, 0);
	loop_post(t->loop, on_loop, t);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t->thread, NULL, run, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		rc = err_set(e, ERR_HOST, rc, "the host refuses a thread for iothread '%s': %s", id,
			     strerror(rc));
		goto fail;
	}
	snprintf(name, sizeof(name), "io %s", id);
	pthread_setname_np(t->thread, name);
	while (sem_wait(&t->runs))
		;
	while (*end)
		end = &(*end)->next;
	*end = t;
	return 0;
fail:
	if (t->loop)
		loop_destroy(t->loop);
	free(t->id);
	free(t);
	return rc;
}

struct loop *iothread_loop(struct machine *m, const char *id)
{
	struct iothread *t = find(m, id);

	return t ? t->loop : NULL;
}

int iothread_get(struct machine *m, const char *id, struct loop **out, struct err *e)
{
	*out = id ? iothread_loop(m, id) : m->loop;
	if (*out)
		return 0;
	err_set(e, ERR_USAGE, ENOENT, "iothread=%s: no -object iothread has this id", id);
	err_hint(e, "add -object iothread,id=%s", id);
	return -ENOENT;
}

void iothreads_destroy(struct machine *m)
{
	struct iothread *t;

	while ((t = m->iothreads)) {
		m->iothreads = t->next;
		loop_quit(t->loop);
		pthread_join(t->thread, NULL);
		loop_destroy(t->loop);
		free(t->id);
		free(t);
	}
}

void iothread_each(struct machine *m, void (*fn)(void *ctx, const char *id, int tid), void *ctx)
{
	for (struct iothread *t = m->iothreads; t; t = t->next)
		fn(ctx, t->id, t->tid);
}
