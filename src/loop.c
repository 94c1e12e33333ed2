/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop: see include/loop.h. epoll(7), one eventfd(2) to wake it, and
 * epoll_pwait2(2) for timers with nanoseconds and no descriptor of their own.
 *
 * Three system calls set it up. A post while the loop is busy costs none: the
 * eventfd is written only when the loop may be asleep (`sleeping`).
 *
 * `lock` guards posts, timers and the run state, and is never held in a
 * callback. File descriptors belong to the loop's thread and need no lock.
 */
#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "err.h"

enum { BATCH = 32, DEFERRED_MOST = 256 };

#define NS_PER_S 1000000000u

struct post {
	struct post *next;
	void (*fn)(void *ctx);
	void *ctx;
	bool *done; /* of a loop_call: on the waiting thread's stack, as this struct is */
};

struct loop {
	int epfd, wake_fd;
	bool have_pwait2; /* Linux 5.11; without it timers are whole milliseconds */

	/* What epoll_wait returned; loop_fd_del takes fds out of it. */
	struct epoll_event batch[BATCH];
	int batch_n;

	_Atomic(const char *) owner; /* &thread_tag of the loop's thread */

	pthread_mutex_t lock;
	pthread_cond_t call_done;
	bool sleeping, quit, finished;
	_Atomic bool poked; /* by another thread, since the loop last looked */
	struct post *posts, **posts_end;
	struct loop_timer *timers; /* by deadline; a handful, so a list will do */
	struct loop_timer *expired; /* taken out of timers, about to be called */

	/* deferred work; the loop's thread only */
	struct loop_defer *deferred, **deferred_end;
	struct loop_poller *pollers;
	uint64_t poll_max_ns, poll_ns; /* at most, and at present */
	uint64_t fds_seen; /* when descriptors were last looked at while polling */
	bool polling; /* pollers have begun */
	bool look_at_fds;

	pthread_cond_t look_again; /* for loop_wait */
	pthread_mutex_t late; /* serialises loop_calls after the end; taken before lock */
};

/* Its address tells threads apart. */
static _Thread_local char thread_tag;
/* The loop whose late call this thread runs. */
static _Thread_local const struct loop *late_loop;

int loop_create(struct loop **out, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct loop *l = calloc(1, sizeof(*l));
	int code;

	if (!l)
		return err_set(e, ERR_HOST, ENOMEM, "no memory for the event loop");
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* Edge-triggered, each write is reported once and the counter never has to be read. */
	if (l->epfd < 0 || l->wake_fd < 0 || epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wake_fd, &ev)) {
		code = errno;
		if (l->epfd >= 0)
			close(l->epfd);
		if (l->wake_fd >= 0)
			close(l->wake_fd);
		free(l);
		err_set(e, ERR_HOST, code, "the host refuses an event loop: %s", strerror(code));
		if (code == EMFILE || code == ENFILE)
			err_hint(e, "raise the limit on open files (ulimit -n)");
		return -code;
	}
	l->have_pwait2 = true;
	l->posts_end = &l->posts;
	l->deferred_end = &l->deferred;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->look_again, NULL);
	pthread_mutex_init(&l->late, NULL);
	pthread_cond_init(&l->call_done, NULL);
	atomic_store(&l->owner, &thread_tag);
	*out = l;
	return 0;
}

void loop_destroy(struct loop *l)
{
	struct post *p;

	if (!l)
		return;
	while ((p = l->posts)) {
		l->posts = p->next;
		free(p);
	}
	close(l->epfd);
	close(l->wake_fd);
	pthread_cond_destroy(&l->call_done);
	pthread_cond_destroy(&l->look_again);
	pthread_mutex_destroy(&l->late);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

bool loop_is_current(const struct loop *l)
{
	return atomic_load(&l->owner) == &thread_tag || late_loop == l;
}

/* Lock held. The loop looks at its lists before it sleeps, so only a sleeper needs waking. */
static void wake(struct loop *l)
{
	uint64_t one = 1;

	atomic_store_explicit(&l->poked, true, memory_order_relaxed);
	if (!l->sleeping)
		return;
	l->sleeping = false;
	/* Cannot fail: the counter would have to reach 2^64 - 1. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		l->sleeping = true;
}

void loop_quit(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->quit = true;
	wake(l);
	pthread_mutex_unlock(&l->lock);
}

/* --- posts ----------------------------------------------------------------- */

/* Lock held. */
static void post(struct loop *l, struct post *p)
{
	p->next = NULL;
	*l->posts_end = p;
	l->posts_end = &p->next;
	wake(l);
}

void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct post *p;

	/* Callers rely on fn being run; memory for 32 bytes comes back, or the host is lost. */
	while (!(p = malloc(sizeof(*p))))
		nanosleep(&pause, NULL);
	p->fn = fn;
	p->ctx = ctx;
	p->done = NULL;
	pthread_mutex_lock(&l->lock);
	post(l, p);
	pthread_mutex_unlock(&l->lock);
}

static void call_late(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&l->late);
	late_loop = l;
	fn(ctx);
	late_loop = NULL;
	pthread_mutex_unlock(&l->late);
}

void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	bool done = false;
	struct post p = { .fn = fn, .ctx = ctx, .done = &done };

	if (loop_is_current(l)) {
		fn(ctx);
		return;
	}
	pthread_mutex_lock(&l->lock);
	if (l->finished) {
		pthread_mutex_unlock(&l->lock);
		call_late(l, fn, ctx);
		return;
	}
	post(l, &p);
	pthread_cond_broadcast(&l->look_again);
	while (!done)
		pthread_cond_wait(&l->call_done, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

/* Lock held. Takes the first call (not post) out of the list; NULL when there is none. */
static struct post *take_call(struct loop *l)
{
	for (struct post **at = &l->posts; *at; at = &(*at)->next) {
		struct post *p = *at;

		if (!p->done)
			continue;
		*at = p->next;
		if (l->posts_end == &p->next)
			l->posts_end = at;
		return p;
	}
	return NULL;
}

void loop_wait(struct loop *l, bool (*done)(void *ctx), void *ctx)
{
	struct post *p;

	pthread_mutex_lock(&l->lock);
	while (!done(ctx)) {
		p = take_call(l);
		if (!p) {
			pthread_cond_wait(&l->look_again, &l->lock);
			continue;
		}
		pthread_mutex_unlock(&l->lock);
		p->fn(p->ctx);
		pthread_mutex_lock(&l->lock);
		*p->done = true;
		pthread_cond_broadcast(&l->call_done);
	}
	pthread_mutex_unlock(&l->lock);
}

void loop_wake(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	pthread_cond_broadcast(&l->look_again);
	pthread_mutex_unlock(&l->lock);
}

/* --- deferred work ----------------------------------------------------------- */

void loop_defer(struct loop *l, struct loop_defer *d)
{
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	*l->deferred_end = d;
	l->deferred_end = &d->next;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
	if (!d->queued)
		return;
	for (struct loop_defer **at = &l->deferred; *at; at = &(*at)->next) {
		if (*at != d)
			continue;
		*at = d->next;
		if (l->deferred_end == &d->next)
			l->deferred_end = at;
		break;
	}
	d->queued = false;
}

/* What these defer runs as well: at most a few rounds, so that descriptors get their turn. */
static void run_deferred(struct loop *l)
{
	for (unsigned i = 0; l->deferred && i < DEFERRED_MOST; i++) {
		struct loop_defer *d = l->deferred;

		l->deferred = d->next;
		if (!l->deferred)
			l->deferred_end = &l->deferred;
		d->queued = false;
		d->cb(d->ctx); /* may free d */
	}
}

/* --- polling --------------------------------------------------------------------- */

enum { POLL_FIRST_NS = 4000, SHORT_SLEEPS = 4, FDS_WAIT_NS = 20000 };

void loop_set_poll(struct loop *l, uint64_t max_ns)
{
	l->poll_max_ns = l->poll_ns = max_ns;
}

void loop_poller_add(struct loop *l, struct loop_poller *p)
{
	p->next = l->pollers;
	l->pollers = p;
	if (l->polling && p->begin)
		p->begin(p->ctx);
}

void loop_poller_del(struct loop *l, struct loop_poller *p)
{
	for (struct loop_poller **at = &l->pollers; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			return;
		}
	}
}

static void pollers_begin(struct loop *l)
{
	for (struct loop_poller *p = l->pollers; p; p = p->next)
		if (p->begin)
			p->begin(p->ctx);
	l->polling = true;
}

/* True when work came in between: no sleep yet. */
static bool pollers_end(struct loop *l)
{
	bool work = false;

	if (!l->polling)
		return false;
	l->polling = false;
	for (struct loop_poller *p = l->pollers; p; p = p->next)
		work |= p->end && p->end(p->ctx);
	return work || l->deferred;
}

/* Whether another thread wants the loop. */
static bool wanted(const struct loop *l)
{
	return atomic_load_explicit(&l->poked, memory_order_relaxed);
}

/*
 * Looks for work for so long. True when there is no need to sleep. Found work leaves the
 * pollers begun: the next will be found as well, without anybody ringing.
 */
static bool poll_for(struct loop *l, uint64_t ns)
{
	uint64_t now = loop_now_ns(), until = now + ns;
	bool work = false;

	if (!l->polling)
		pollers_begin(l);
	for (;;) {
		for (struct loop_poller *p = l->pollers; p; p = p->next)
			work |= p->poll(p->ctx);
		if (work || l->deferred || wanted(l))
			break;
		now = loop_now_ns();
		if (now >= until)
			return pollers_end(l);
		__builtin_ia32_pause();
	}
	/* While pollers have work the other descriptors wait, but not for long. */
	l->look_at_fds = now - l->fds_seen > FDS_WAIT_NS;
	if (l->look_at_fds)
		l->fds_seen = now;
	return true;
}

/*
 * What the last sleep teaches: it was short enough to have been polled away, or it
 * was not. Being rung and woken takes longer than being found polling, so sleeps of
 * some times the limit still count as short.
 */
static void adapt(struct loop *l, uint64_t slept_ns)
{
	if (slept_ns <= l->poll_ns)
		return;
	if (slept_ns > SHORT_SLEEPS * l->poll_max_ns)
		l->poll_ns = 0;
	else
		l->poll_ns = l->poll_ns ? l->poll_ns * 2 : POLL_FIRST_NS;
	if (l->poll_ns > l->poll_max_ns)
		l->poll_ns = l->poll_max_ns;
}

/* Runs what had been posted when it was called; what that posts waits for the next round. */
static void run_posts(struct loop *l)
{
	struct post *list, *p;

	pthread_mutex_lock(&l->lock);
	list = l->posts;
	l->posts = NULL;
	l->posts_end = &l->posts;
	pthread_mutex_unlock(&l->lock);

	while ((p = list)) {
		list = p->next;
		p->fn(p->ctx);
		if (!p->done) {
			free(p);
			continue;
		}
		pthread_mutex_lock(&l->lock);
		*p->done = true; /* p is gone once the lock is released */
		pthread_cond_broadcast(&l->call_done);
		pthread_mutex_unlock(&l->lock);
	}
}

/* --- timers ---------------------------------------------------------------- */

uint64_t loop_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*cb)(void *ctx), void *ctx)
{
	*t = (struct loop_timer){ .loop = l, .cb = cb, .ctx = ctx };
}

/* Lock held. Takes t out of whichever list it is in. */
static void timer_unlink(struct loop_timer *t)
{
	if (!t->deadline)
		return;
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	t->deadline = 0;
}

void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns)
{
	struct loop *l = t->loop;
	struct loop_timer **at;

	pthread_mutex_lock(&l->lock);
	timer_unlink(t);
	t->deadline = deadline_ns ? deadline_ns : 1;
	for (at = &l->timers; *at && (*at)->deadline <= t->deadline; at = &(*at)->next)
		;
	t->link = at;
	t->next = *at;
	if (t->next)
		t->next->link = &t->next;
	*at = t;
	if (l->timers == t)
		wake(l);
	pthread_mutex_unlock(&l->lock);
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t->loop)
		return;
	pthread_mutex_lock(&t->loop->lock);
	timer_unlink(t);
	pthread_mutex_unlock(&t->loop->lock);
}

/* Runs what is due now, each timer once even when its callback sets it in the past again. */
static void run_timers(struct loop *l)
{
	struct loop_timer *t, **end = &l->timers;
	uint64_t now;

	pthread_mutex_lock(&l->lock);
	if (!l->timers) {
		pthread_mutex_unlock(&l->lock);
		return;
	}
	now = loop_now_ns();
	while (*end && (*end)->deadline <= now)
		end = &(*end)->next;
	if (end != &l->timers) {
		l->expired = l->timers;
		l->timers = *end;
		*end = NULL;
		l->expired->link = &l->expired;
		if (l->timers)
			l->timers->link = &l->timers;
	}
	while ((t = l->expired)) {
		void (*cb)(void *ctx) = t->cb;
		void *ctx = t->ctx;

		timer_unlink(t);
		pthread_mutex_unlock(&l->lock);
		cb(ctx); /* may free t */
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
}

/* --- file descriptors ------------------------------------------------------ */

/* Drops events of f that were reported and not delivered yet. */
static void forget_pending(struct loop_fd *f)
{
	struct loop *l = f->loop;

	for (int i = 0; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == f)
			l->batch[i].data.ptr = NULL;
}

int loop_fd_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events,
		void (*cb)(void *ctx, uint32_t epoll_events), void *ctx)
{
	int ret;

	*f = (struct loop_fd){ .fd = fd, .cb = cb, .ctx = ctx, .loop = l };
	ret = loop_fd_mod(f, events);
	if (ret)
		f->loop = NULL;
	return ret;
}

int loop_fd_mod(struct loop_fd *f, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = f };
	int op;

	if (events == f->events)
		return 0;
	/* A set of no events would still report hang-ups, again and again. */
	op = !events ? EPOLL_CTL_DEL : f->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(f->loop->epfd, op, f->fd, &ev))
		return -errno;
	f->events = events;
	if (!events)
		forget_pending(f);
	return 0;
}

void loop_fd_del(struct loop_fd *f)
{
	if (!f->loop)
		return;
	if (f->events)
		epoll_ctl(f->loop->epfd, EPOLL_CTL_DEL, f->fd, NULL);
	f->events = 0;
	forget_pending(f);
	f->loop = NULL;
}

static void run_fds(struct loop *l)
{
	for (int i = 0; i < l->batch_n; i++) {
		struct loop_fd *f = l->batch[i].data.ptr;
		uint32_t events = l->batch[i].events;

		l->batch[i].data.ptr = NULL;
		if (!f) /* the wake-up, or deleted by a callback before this one */
			continue;
		events &= f->events | EPOLLERR | EPOLLHUP;
		if (events)
			f->cb(f->ctx, events); /* may free f */
	}
	l->batch_n = 0;
}

/* --- running --------------------------------------------------------------- */

/* Lock held. Nanoseconds to sleep at most; UINT64_MAX: until woken. */
static uint64_t sleep_ns(const struct loop *l)
{
	uint64_t now;

	if (l->posts || l->quit || l->deferred)
		return 0;
	if (!l->timers)
		return UINT64_MAX;
	now = loop_now_ns();
	return l->timers->deadline > now ? l->timers->deadline - now : 0;
}

static int wait_events(struct loop *l, uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / NS_PER_S),
			       .tv_nsec = (long)(ns % NS_PER_S) };
	uint64_t ms;
	int n;

	if (l->have_pwait2) {
		n = epoll_pwait2(l->epfd, l->batch, BATCH, ns == UINT64_MAX ? NULL : &ts, NULL);
		/* EPERM is what older container sandboxes answer to calls they do not know. */
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		l->have_pwait2 = false;
	}
	ms = ns / 1000000 + (ns % 1000000 != 0);
	return epoll_wait(l->epfd, l->batch, BATCH,
			  ns == UINT64_MAX  ? -1
			  : ms > 1000000000 ? 1000000000
					    : (int)ms);
}

void loop_run(struct loop *l)
{
	uint64_t ns, began;
	bool polled;
	int n;

	atomic_store(&l->owner, &thread_tag);
	pthread_mutex_lock(&l->lock);
	l->finished = false;
	while (!l->quit) {
		atomic_store_explicit(&l->poked, false, memory_order_relaxed);
		l->look_at_fds = true;
		ns = sleep_ns(l);
		if (ns && l->poll_ns && l->pollers) {
			pthread_mutex_unlock(&l->lock);
			polled = poll_for(l, ns < l->poll_ns ? ns : l->poll_ns);
			pthread_mutex_lock(&l->lock);
			ns = polled ? 0 : sleep_ns(l);
		}
		l->sleeping = ns != 0;
		pthread_mutex_unlock(&l->lock);

		began = ns && l->poll_max_ns ? loop_now_ns() : 0;
		n = l->look_at_fds ? wait_events(l, ns) : 0;
		l->batch_n = n < 0 ? 0 : n; /* EINTR: look round and wait again */
		if (began)
			adapt(l, loop_now_ns() - began);

		pthread_mutex_lock(&l->lock);
		l->sleeping = false;
		pthread_mutex_unlock(&l->lock);

		run_posts(l);
		run_timers(l);
		run_fds(l);
		run_deferred(l);
		pthread_mutex_lock(&l->lock);
	}
	if (l->polling) {
		pthread_mutex_unlock(&l->lock);
		pollers_end(l);
		pthread_mutex_lock(&l->lock);
	}
	while (l->posts || l->deferred) {
		pthread_mutex_unlock(&l->lock);
		run_posts(l);
		run_deferred(l);
		pthread_mutex_lock(&l->lock);
	}
	l->quit = false;
	l->finished = true;
	pthread_mutex_unlock(&l->lock);
}
