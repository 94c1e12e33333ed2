/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libslirp on an event loop. Its interface is poll(2)'s: before a sleep it is asked what it waits
 * for (slirp_pollfds_fill), afterwards told what there is (slirp_pollfds_poll). Between the two
 * here is a table of its descriptors: it is asked once after each round of the loop in which it was
 * given something, and only what has changed goes to the kernel. When nothing happens nothing
 * runs. All on the card's loop; without a card descriptors only come and go.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "user.h"

#define MS 1000000ull

enum {
	IDLE_MS = 1000, /* what libslirp wants to sleep when it has no timer */
	TICK_NS = 10000000,
	/* Longer than fragments wait for each other, which nothing else tells of. */
	QUIET_S = 35,
	PAUSE_FRAMES = NET_FIFO_FRAMES / 2,
	RESUME_FRAMES = NET_FIFO_FRAMES / 4,
};

struct user_fd {
	struct user *u;
	struct loop_fd lfd; /* lfd.loop NULL: not on the loop */
	int fd;
	int wanted, got; /* SLIRP_POLL_ */
	bool was_read; /* it has been connected */
	struct user_fd *next;
};

struct user_timer {
	struct user *u;
	struct loop_timer timer;
	uint64_t at_ns; /* 0: not set */
	SlirpTimerCb cb;
	void *ctx;
	struct user_timer *next;
};

/* --- descriptors ---------------------------------------------------------------------------- */

static struct user_fd *fd_find(const struct user *u, int fd)
{
	return fd >= 0 && (unsigned)fd < u->n_fds ? u->fds[fd] : NULL;
}

static void fd_forget(struct user *u, int fd)
{
	struct user_fd *f = fd_find(u, fd);

	if (!f)
		return;
	loop_fd_del(&f->lfd);
	u->fds[fd] = NULL;
	for (struct user_fd **at = &u->first_fd; *at; at = &(*at)->next) {
		if (*at == f) {
			*at = f->next;
			break;
		}
	}
	free(f);
}

static struct user_fd *fd_make(struct user *u, int fd)
{
	struct user_fd *f = calloc(1, sizeof(*f));

	if (f && (unsigned)fd >= u->n_fds) {
		unsigned n = ((unsigned)fd + 64) & ~63u;
		struct user_fd **more = realloc(u->fds, n * sizeof(struct user_fd *));

		if (!more) {
			free(f);
			return NULL;
		}
		memset(more + u->n_fds, 0, (n - u->n_fds) * sizeof(struct user_fd *));
		u->fds = more;
		u->n_fds = n;
	}
	if (!f)
		return NULL;
	f->u = u;
	f->fd = fd;
	f->next = u->first_fd;
	u->first_fd = f;
	u->fds[fd] = f;
	return f;
}

static void on_fd(void *ctx, uint32_t events)
{
	struct user_fd *f = ctx;

	if (events & EPOLLIN)
		f->got |= SLIRP_POLL_IN;
	if (events & EPOLLOUT)
		f->got |= SLIRP_POLL_OUT;
	if (events & EPOLLPRI)
		f->got |= SLIRP_POLL_PRI;
	if (events & EPOLLERR)
		f->got |= SLIRP_POLL_ERR;
	if (events & (EPOLLHUP | EPOLLRDHUP))
		f->got |= SLIRP_POLL_HUP;
	f->u->events = true;
	user_poll_kick(f->u);
}

/* A number that comes again is another descriptor. */
static void on_register(int fd, void *ctx)
{
	fd_forget(ctx, fd);
}

static void on_unregister(int fd, void *ctx)
{
	fd_forget(ctx, fd);
}

/* --- what libslirp waits for ------------------------------------------------------------------ */

static int on_add_poll(int fd, int events, void *ctx)
{
	struct user *u = ctx;
	struct user_fd *f = fd_find(u, fd);

	if (!f)
		f = fd_make(u, fd);
	if (!f)
		return -1;
	f->wanted = events;
	if (events & SLIRP_POLL_IN)
		f->was_read = true;
	return fd;
}

static int on_get_revents(int fd, void *ctx)
{
	struct user_fd *f = fd_find(ctx, fd);
	int got;

	if (!f)
		return 0;
	got = f->got;
	/*
	 * It takes an error for something to read, and asserts that it has room: where it has none
	 * it did not ask to read, and writing finds the error as well.
	 */
	if (!(f->wanted & SLIRP_POLL_IN) && f->was_read && got)
		got = f->wanted & SLIRP_POLL_OUT;
	return got;
}

static uint32_t ask(struct user *u)
{
	uint32_t timeout = UINT32_MAX;

	for (struct user_fd *f = u->first_fd; f; f = f->next)
		f->wanted = 0;
	user_api.pollfds_fill(u->slirp, &timeout, on_add_poll, u);
	return timeout;
}

static uint32_t epoll_events(const struct user *u, int wanted)
{
	uint32_t events = 0;

	if (wanted & SLIRP_POLL_IN && !u->paused)
		events |= EPOLLIN;
	if (wanted & SLIRP_POLL_PRI && !u->paused)
		events |= EPOLLPRI;
	if (wanted & SLIRP_POLL_OUT)
		events |= EPOLLOUT;
	return events;
}

static void watch(struct user *u)
{
	u->paused = u->queued >= (u->paused ? RESUME_FRAMES : PAUSE_FRAMES);
	for (struct user_fd *f = u->first_fd; f; f = f->next) {
		uint32_t events = epoll_events(u, f->wanted);

		if (f->lfd.loop)
			loop_fd_mod(&f->lfd, events);
		else if (events)
			loop_fd_add(u->n.loop, &f->lfd, f->fd, events, on_fd, f);
	}
}

/* --- time ------------------------------------------------------------------------------------- */

void user_poll_tick(struct user *u)
{
	uint64_t now = loop_now_ns();

	if (now - u->ticked_ns < TICK_NS)
		return;
	u->ticked_ns = now;
	user_api.pollfds_poll(u->slirp, 1, on_get_revents, u); /* timers, and no descriptors */
}

/* Lock held. Sockets that wait for connections are all there is. */
static bool only_forwards(const struct user *u)
{
	char *text = user_api.connection_info(u->slirp), *line, *rest;
	bool only = text;

	if (text && (line = strtok_r(text, "\n", &rest)))
		while (only && (line = strtok_r(NULL, "\n", &rest)))
			only = strstr(line, "[HOST_FORWARD]");
	user_api.free(text);
	return only;
}

/*
 * Lock held. Its slow timer runs for any TCP socket, also for one that waits for connections to a
 * forwarded port: half a second is what an idle guest would never sleep longer than.
 */
static void set_timer(struct user *u, uint32_t timeout)
{
	uint64_t now = loop_now_ns();

	if (timeout >= IDLE_MS || (now - u->active_ns > QUIET_S * 1000 * MS && only_forwards(u)))
		loop_timer_cancel(&u->timer);
	else
		loop_timer_set(&u->timer, now + timeout * MS);
}

/* --- a round ---------------------------------------------------------------------------------- */

static void on_defer(void *ctx)
{
	struct user *u = ctx;
	uint32_t timeout;

	pthread_mutex_lock(&user_lock);
	/* Frames may have come since it was asked: what it wants is what it wants now. */
	timeout = ask(u);
	if (u->events) {
		u->events = false;
		u->active_ns = u->ticked_ns = loop_now_ns();
		user_api.pollfds_poll(u->slirp, 0, on_get_revents, u);
		for (struct user_fd *f = u->first_fd; f; f = f->next)
			f->got = 0;
		timeout = ask(u);
	}
	set_timer(u, timeout);
	pthread_mutex_unlock(&user_lock);
	watch(u);
}

static void on_timer(void *ctx)
{
	struct user *u = ctx;

	pthread_mutex_lock(&user_lock);
	u->ticked_ns = loop_now_ns();
	user_api.pollfds_poll(u->slirp, 1, on_get_revents, u);
	pthread_mutex_unlock(&user_lock);
	user_poll_kick(u);
}

void user_poll_kick(struct user *u)
{
	if (u->running)
		loop_defer(u->n.loop, &u->defer);
}

/* --- libslirp's callbacks ------------------------------------------------------------------------
 */

static ssize_t on_packet(const void *buf, size_t len, void *ctx)
{
	struct user *u = ctx;
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	if (u->running) {
		u->queued++; /* before the card is told, and takes it */
		if (!net_fifo_put(u->fifo, &iov, 1))
			return (ssize_t)len;
		u->queued--;
	}
	u->n.stats[0].rx_dropped++; /* it comes again, or does not matter */
	return (ssize_t)len;
}

static void on_guest_error(const char *text, void *ctx)
{
	struct user *u = ctx;

	log_guest(&u->log, u->n.id, "%s", text);
}

static int64_t on_clock(void *ctx)
{
	return (int64_t)loop_now_ns();
}

static void on_notify(void *ctx)
{
	user_poll_kick(ctx);
}

static void on_user_timer(void *ctx)
{
	struct user_timer *t = ctx;
	struct user *u = t->u;

	t->at_ns = 0;
	pthread_mutex_lock(&user_lock);
	t->cb(t->ctx);
	pthread_mutex_unlock(&user_lock);
	user_poll_kick(u);
}

static void *on_timer_new(SlirpTimerCb cb, void *cb_ctx, void *ctx)
{
	struct user *u = ctx;
	struct user_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	*t = (struct user_timer){ .u = u, .cb = cb, .ctx = cb_ctx, .next = u->timers };
	u->timers = t;
	return t;
}

static void on_timer_mod(void *timer, int64_t expire_ms, void *ctx)
{
	struct user_timer *t = timer;

	if (!t)
		return;
	t->at_ns = (uint64_t)expire_ms * MS;
	if (t->u->running)
		loop_timer_set(&t->timer, t->at_ns);
}

static void on_timer_free(void *timer, void *ctx)
{
	struct user *u = ctx;
	struct user_timer *t = timer;

	for (struct user_timer **at = &u->timers; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	if (t && u->running)
		loop_timer_cancel(&t->timer);
	free(t);
}

const SlirpCb user_callbacks = {
	.send_packet = on_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register,
	.unregister_poll_fd = on_unregister,
	.notify = on_notify,
};

/* --- a card comes and goes ------------------------------------------------------------------- */

void user_poll_start(struct user *u)
{
	u->running = true;
	u->paused = u->events = false;
	u->defer = (struct loop_defer){ .cb = on_defer, .ctx = u };
	loop_timer_init(&u->timer, u->n.loop, on_timer, u);
	for (struct user_timer *t = u->timers; t; t = t->next) {
		loop_timer_init(&t->timer, u->n.loop, on_user_timer, t);
		if (t->at_ns)
			loop_timer_set(&t->timer, t->at_ns);
	}
	user_poll_kick(u);
}

void user_poll_stop(struct user *u)
{
	u->running = false;
	loop_timer_cancel(&u->timer);
	loop_defer_cancel(u->n.loop, &u->defer);
	for (struct user_timer *t = u->timers; t; t = t->next)
		loop_timer_cancel(&t->timer);
	for (struct user_fd *f = u->first_fd; f; f = f->next) {
		loop_fd_del(&f->lfd);
		f->got = 0;
	}
}

void user_poll_free(struct user *u)
{
	while (u->first_fd)
		fd_forget(u, u->first_fd->fd);
	free(u->fds);
}
