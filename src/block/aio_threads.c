/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pool of threads that carry operations out by blocking system calls: the
 * engine "threads", and the other engines' way for what the kernel cannot do
 * asynchronously. One pool for the process: threads come on demand and go
 * when they have had nothing to do for a while.
 *
 * `lock` guards the queue, the sleepers and the counts. A thread gives an operation
 * back by a list that the loop takes as a whole, and writes the eventfd only when
 * that list was empty: one wake-up for all that is done by the time the loop looks.
 *
 * File systems let one thread at a time write to a file's pages: a second one would spin
 * for the lock on a CPU that others need. So such writes to one file go one by one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "aio_int.h"
#include "err.h"

enum {
	THREADS_MOST = 64,
	IDLE_SECONDS = 10,
	STACK = 128 << 10,
	/* A copy of more than that keeps the loop from its other work; it goes to a thread. */
	CACHED_MOST = 128 << 10,
	WRITE_WAITS_NS = 200000,
	WAIT_MOST_NS = 20000000,
};

/* A thread's place to sleep; outlives the thread, as who wakes it may still be busy with it. */
struct bed {
	pthread_cond_t cond; /* on CLOCK_MONOTONIC */
	bool woken;
	struct bed *next;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t left; /* an engine's last operation is out of a thread's hands */
	struct aio_list queue;
	unsigned threads;
	unsigned looking; /* that will look at the queue before they sleep */
	struct bed beds[THREADS_MOST];
	struct bed *asleep; /* the last to lie down is the first to be woken: its caches are warm */
	struct bed *empty;
	int written[THREADS_MOST]; /* files that a thread writes to the page cache of */
	unsigned n_written;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER };

static pthread_once_t pool_once = PTHREAD_ONCE_INIT;

static void pool_init(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	for (unsigned i = 0; i < THREADS_MOST; i++) {
		pthread_cond_init(&pool.beds[i].cond, &attr);
		pool.beds[i].next = pool.empty;
		pool.empty = &pool.beds[i];
	}
	pthread_condattr_destroy(&attr);
	aio_list_init(&pool.queue);
}

/* Not the lock: once op is on the list its owner may free it. */
static void give_back(struct aio_op *op, struct aio *a)
{
	struct aio_op *head = atomic_load_explicit(&a->pool_done, memory_order_relaxed);

	do {
		op->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&a->pool_done, &head, op,
							memory_order_release,
							memory_order_relaxed));
	if (!head)
		eventfd_write(a->efd, 1);
}

/* --- one by one --- */

static bool one_by_one(const struct aio_op *op)
{
	const struct aio_req *r = op->reqs;

	return r->op == BLK_WRITE && !r->direct && !r->fua && !r->blkdev;
}

/* Lock held. */
static int *find_written(int fd)
{
	for (unsigned i = 0; i < pool.n_written; i++)
		if (pool.written[i] == fd)
			return &pool.written[i];
	return NULL;
}

/* Lock held. Whether op must wait for another thread's. */
static bool must_wait(const struct aio_op *op)
{
	return one_by_one(op) && find_written(op->reqs->fd);
}

/* Lock held. Where in the queue the first is that may begin; there NULL: none. */
static struct aio_op **find_ready(void)
{
	struct aio_op **at = &pool.queue.first;

	while (*at && must_wait(*at))
		at = &(*at)->next;
	return at;
}

/* Lock held. */
static struct aio_op *take_ready(void)
{
	struct aio_op **at = find_ready(), *op = *at;

	if (!op)
		return NULL;
	*at = op->next;
	if (!op->next)
		pool.queue.end = at;
	if (one_by_one(op))
		pool.written[pool.n_written++] = op->reqs->fd;
	return op;
}

static void *worker(void *arg);

static bool start_thread(struct bed *bed)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t t;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t, &attr, worker, bed);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return !rc;
}

/*
 * Lock held. One thread more for the queue, unless one is about to look at it anyway.
 * Threads wake one another, each when it has taken an operation and sees more: what is
 * quickly done is done by few. *wake: to be signalled once the lock is released. False
 * when nobody will come.
 */
static bool one_more(struct bed **wake)
{
	*wake = NULL;
	if (pool.looking)
		return true;
	if (pool.asleep) {
		*wake = pool.asleep;
		pool.asleep = (*wake)->next;
		(*wake)->woken = true;
		pool.looking++;
		return true;
	}
	if (pool.threads < THREADS_MOST && start_thread(pool.empty)) {
		pool.empty = pool.empty->next;
		pool.threads++;
		pool.looking++;
	}
	return pool.threads > 0;
}

/* Lock held, and released meanwhile. False: nobody woke us for a long time. */
static bool sleep_in(struct bed *b)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	pool.looking--;
	b->woken = false;
	b->next = pool.asleep;
	pool.asleep = b;
	while (!b->woken && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&b->cond, &pool.lock, &until);
	if (b->woken)
		return true;
	for (struct bed **at = &pool.asleep; *at; at = &(*at)->next) {
		if (*at == b) {
			*at = b->next;
			break;
		}
	}
	return false;
}

/* Lock held, and released meanwhile. */
static void carry_out(struct aio_op *op)
{
	struct aio *a = op->a;
	struct bed *wake = NULL;
	int fd = one_by_one(op) ? op->reqs->fd : -1;

	pool.looking--;
	if (*find_ready())
		one_more(&wake);
	pthread_mutex_unlock(&pool.lock);
	if (wake)
		pthread_cond_signal(&wake->cond);
	op->ret = aio_op_run(op);
	/* Before the loop hears of it: what it sends next finds this thread. */
	pthread_mutex_lock(&pool.lock);
	pool.looking++;
	if (fd >= 0) {
		*find_written(fd) = pool.written[pool.n_written - 1];
		pool.n_written--;
	}
	pthread_mutex_unlock(&pool.lock);
	give_back(op, a);
	pthread_mutex_lock(&pool.lock);
	if (!--a->workers)
		pthread_cond_broadcast(&pool.left);
}

static void *worker(void *arg)
{
	struct bed *bed = arg;
	struct aio_op *op;

	pthread_mutex_lock(&pool.lock);
	do {
		while ((op = take_ready()))
			carry_out(op);
	} while (sleep_in(bed));
	bed->next = pool.empty;
	pool.empty = bed;
	pool.threads--;
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

void aio_pool_add(struct aio_op *op)
{
	struct bed *wake = NULL;
	bool ok;

	pthread_once(&pool_once, pool_init);
	pthread_mutex_lock(&pool.lock);
	ok = must_wait(op) || one_more(&wake);
	if (ok) {
		op->a->workers++;
		aio_list_add(&pool.queue, op);
	}
	pthread_mutex_unlock(&pool.lock);
	if (wake)
		pthread_cond_signal(&wake->cond);
	if (ok)
		op->a->in_pool++;
	else /* The host refuses even one thread: slow rather than stuck. */
		aio_op_ended(op, aio_op_run(op));
}

void aio_pool_reap(struct aio *a)
{
	struct aio_op *op, *next, *first = NULL;

	if (!atomic_load_explicit(&a->pool_done, memory_order_relaxed))
		return;
	op = atomic_exchange_explicit(&a->pool_done, NULL, memory_order_acquire);
	for (; op; op = next) { /* the first done comes first */
		next = op->next;
		op->next = first;
		first = op;
	}
	for (op = first; op; op = next) {
		next = op->next;
		a->in_pool--;
		aio_op_ended(op, op->ret);
	}
}

void aio_pool_leave(struct aio *a)
{
	pthread_mutex_lock(&pool.lock);
	while (a->workers)
		pthread_cond_wait(&pool.left, &pool.lock);
	pthread_mutex_unlock(&pool.lock);
}

/* --- the engine ----------------------------------------------------------------------- */

/* What is in the page cache is sooner copied than handed to a thread. */
static bool read_cached(struct aio_op *op)
{
	const struct aio_req *r = op->reqs;
	ssize_t n;

	if (r->op != BLK_READ || r->direct || op->blocking || op->len > CACHED_MOST)
		return false;
	n = preadv2(r->fd, op->iov, (int)op->n_iov, (off_t)op->off, RWF_NOWAIT);
	if (n <= 0)
		return false;
	if ((uint64_t)n < op->len)
		op->blocking = true; /* the rest is not there */
	aio_op_ended(op, n);
	return true;
}

/*
 * A write to the page cache, too, is sooner done than handed on: as long as the file system
 * does not wait. When one did, threads do it for a hundred times as long: so the loop waits
 * for at most a hundredth of its time.
 */
bool aio_write_cached(struct aio *a, struct aio_op *op)
{
	const struct aio_req *r = op->reqs;
	uint64_t began, took;

	if (r->op != BLK_WRITE || r->direct || r->fua || op->blocking || op->len > CACHED_MOST)
		return false;
	began = loop_now_ns();
	if (began < a->writes_wait_until)
		return false;
	aio_op_ended(op, aio_op_run(op));
	took = loop_now_ns() - began;
	if (took > WRITE_WAITS_NS)
		a->writes_wait_until = began + 100 * (took < WAIT_MOST_NS ? took : WAIT_MOST_NS);
	return true;
}

static void threads_send(struct aio *a)
{
	struct aio_op *op;

	while ((op = aio_list_take(&a->pending)))
		if (!read_cached(op) && !aio_write_cached(a, op))
			aio_pool_add(op);
}

const struct aio_engine aio_threads = { .name = "threads", .send = threads_send };
