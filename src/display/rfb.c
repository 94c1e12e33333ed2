/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RFB server's side of the main loop: see rfb.h and rfb_int.h. It watches the screen while
 * somebody has joined, fills frames of clients that are ready, and hands keys and pointer on.
 * With nothing to do nobody wakes up: not here, nor in a client's thread.
 */
#include "rfb.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../input_int.h"
#include "err.h"
#include "log.h"
#include "rfb_int.h"

void rfb_ring(int eventfd)
{
	uint64_t one = 1;

	/* Full, which it never is, it has been rung. */
	while (write(eventfd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* --- frames ----------------------------------------------------------------------------------- */

static const struct surface *surface_of(const struct rfb *r)
{
	return r->viewer.screen ? &r->viewer.screen->surface : NULL;
}

static void end_client(struct rfb_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->quit = true;
	pthread_mutex_unlock(&c->lock);
	shutdown(c->fd, SHUT_RDWR);
	rfb_ring(c->wake_fd);
}

/* Lock held. The frame gets the surface's size, or is emptied: all of it is new. */
static int new_frame(struct rfb_client *c, const struct surface *s)
{
	bool resize = !c->frame || c->can_resize;
	unsigned width = resize ? s->width : c->width, height = resize ? s->height : c->height;
	uint32_t *frame = calloc((size_t)width * height, sizeof(*frame));

	if (!frame || rfb_tiles_init(&c->fresh, width, height)) {
		free(frame);
		return -ENOMEM;
	}
	free(c->frame);
	c->frame = frame;
	c->resized = c->resized || width != c->width || height != c->height;
	c->width = width;
	c->height = height;
	rfb_tiles_mark(&c->fresh, 0, 0, width, height);
	rfb_tiles_mark(&c->dirty, 0, 0, s->width, s->height);
	return 0;
}

/* Lock held: gives a client that waits what has changed. */
static int fill_ready(struct rfb_client *c, const struct surface *s)
{
	bool fits = c->width == s->width && c->height == s->height;
	int rc = 0;

	if (!fits && (c->can_resize || c->refit))
		rc = new_frame(c, s);
	c->refit = false;
	if (!rc && c->dirty.any)
		rfb_tiles_copy(&c->dirty, s, c->frame, c->width, c->height, &c->fresh);
	c->stale = false;
	return rc;
}

static void fill(struct rfb_client *c)
{
	const struct surface *s = surface_of(c->server);
	bool ring = false;
	int rc = 0;

	if (!c->here || !s)
		return;
	pthread_mutex_lock(&c->lock);
	c->stale |= c->dirty.any;
	if (c->ready && c->stale) {
		rc = fill_ready(c, s);
		ring = c->fresh.any || c->resized;
		c->ready = !ring;
	}
	pthread_mutex_unlock(&c->lock);
	if (rc)
		end_client(c);
	else if (ring)
		rfb_ring(c->wake_fd);
}

static void damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct rfb *r = ctx;

	for (struct rfb_client *c = r->clients; c; c = c->next)
		if (c->here)
			rfb_tiles_mark(&c->dirty, x, y, width, height);
}

/* A client that cannot follow sees what fits into the size that it knows. */
static void resized(void *ctx, const struct surface *s)
{
	struct rfb *r = ctx;

	for (struct rfb_client *c = r->clients; c; c = c->next) {
		if (!c->here)
			continue;
		c->refit = true;
		if (rfb_tiles_init(&c->dirty, s->width, s->height)) {
			end_client(c);
			c->here = false;
			continue;
		}
		rfb_tiles_mark(&c->dirty, 0, 0, s->width, s->height);
	}
}

static void refreshed(void *ctx)
{
	struct rfb *r = ctx;

	for (struct rfb_client *c = r->clients; c; c = c->next)
		fill(c);
}

/* --- keys and pointer ----------------------------------------------------------------------------
 */

static void press_code(struct rfb_client *c, unsigned scan, bool down)
{
	unsigned code = input_key_number(scan);

	if (!code)
		return;
	if (down)
		c->codes[scan / 8] |= (uint8_t)(1u << scan % 8);
	else
		c->codes[scan / 8] &= (uint8_t) ~(1u << scan % 8);
	input_key(c->server->m, code, down);
}

/* Of the protocol's buttons. */
static unsigned buttons_of(unsigned mask)
{
	return (mask & 1 ? INPUT_LEFT : 0) | (mask & 2 ? INPUT_MIDDLE : 0) |
	       (mask & 4 ? INPUT_RIGHT : 0) | (mask & 128 ? INPUT_SIDE : 0);
}

static unsigned scaled(int at, unsigned size)
{
	uint64_t to = size > 1 ? (uint64_t)at * INPUT_ABS_MAX / (size - 1) : 0;

	return to > INPUT_ABS_MAX ? INPUT_ABS_MAX : (unsigned)to;
}

/* The wheel's turns are buttons that are pressed and let go. */
static void point(struct rfb_client *c, const struct rfb_event *e)
{
	const struct surface *s = surface_of(c->server);
	unsigned pressed = e->buttons & ~c->buttons, buttons = buttons_of(e->buttons);
	int wheel = !!(pressed & 8) - !!(pressed & 16);
	int dx = c->placed ? e->x - c->x : 0, dy = c->placed ? e->y - c->y : 0;

	c->buttons = e->buttons;
	if (e->type == RFB_MOVE) {
		input_move(c->server->m, e->x, e->y, wheel, buttons);
		return;
	}
	c->placed = true;
	c->x = e->x;
	c->y = e->y;
	if (!input_absolute(c->server->m))
		input_move(c->server->m, dx, dy, wheel, buttons);
	else if (s)
		input_point(c->server->m, scaled(e->x, s->width), scaled(e->y, s->height), wheel,
			    buttons);
}

static void take_event(struct rfb_client *c, const struct rfb_event *e)
{
	switch (e->type) {
	case RFB_KEY_SYMBOL:
		keymap_symbol(&c->keys, e->key, e->down);
		break;
	case RFB_KEY_CODE:
		press_code(c, e->key, e->down);
		break;
	case RFB_POINT:
	case RFB_MOVE:
		point(c, e);
		break;
	}
}

/* A client that leaves holds nothing any more. */
static void let_go(struct rfb_client *c)
{
	keymap_release(&c->keys);
	for (unsigned scan = 0; scan < 256; scan++)
		if (c->codes[scan / 8] >> scan % 8 & 1)
			press_code(c, scan, false);
	if (buttons_of(c->buttons))
		input_move(c->server->m, 0, 0, 0, 0);
	c->buttons = 0;
}

static void tell_all(struct rfb *r, const unsigned *leds, const bool *absolute)
{
	for (struct rfb_client *c = r->clients; c; c = c->next) {
		pthread_mutex_lock(&c->lock);
		if (leds)
			c->leds = *leds;
		if (absolute)
			c->absolute = *absolute;
		pthread_mutex_unlock(&c->lock);
		if (c->here)
			rfb_ring(c->wake_fd);
	}
}

static void leds_changed(void *ctx, unsigned leds)
{
	struct rfb *r = ctx;

	r->leds = leds;
	tell_all(r, &leds, NULL);
}

static void pointer_changed(void *ctx, bool absolute)
{
	tell_all(ctx, NULL, &absolute);
}

/* --- clients come and go
 * -------------------------------------------------------------------------- */

static bool anybody_here(const struct rfb *r)
{
	for (struct rfb_client *c = r->clients; c; c = c->next)
		if (c->here)
			return true;
	return false;
}

static int begin_frame(struct rfb_client *c, const struct surface *s)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	rc = new_frame(c, s);
	if (!rc)
		rfb_tiles_copy(&c->dirty, s, c->frame, c->width, c->height, &c->fresh);
	c->resized = false;
	c->leds = c->server->leds;
	c->absolute = input_absolute(c->server->m);
	c->joined = !rc;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

static void join(struct rfb_client *c)
{
	struct rfb *r = c->server;
	struct screen *screen = screen_first(r->m);
	const struct surface *s;

	if (screen && !r->viewer.screen)
		viewer_attach(&r->viewer, screen);
	s = surface_of(r);
	if (!s || rfb_tiles_init(&c->dirty, s->width, s->height) || begin_frame(c, s)) {
		end_client(c);
		return;
	}
	c->here = true;
	rfb_ring(c->wake_fd);
	for (struct rfb_client *other = r->clients; other; other = other->next)
		if (r->exclusive && !c->shared && other != c && other->here)
			end_client(other);
}

static void free_client(struct rfb_client *c)
{
	pthread_join(c->thread, NULL);
	let_go(c);
	rfb_tiles_free(&c->dirty);
	rfb_tiles_free(&c->fresh);
	rfb_tiles_free(&c->send);
	free(c->frame);
	pthread_mutex_destroy(&c->lock);
	close(c->wake_fd);
	close(c->fd);
	free(c);
}

/* Its thread has ended, or is about to. */
static void remove_client(struct rfb_client *c)
{
	struct rfb *r = c->server;
	struct rfb_client **at = &r->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	r->n_clients--;
	free_client(c);
	if (!anybody_here(r))
		viewer_detach(&r->viewer);
}

/* What its thread has left. */
static void hear(struct rfb_client *c)
{
	struct rfb_event event[RFB_EVENTS];
	bool asks, gone, stalled;
	unsigned n;

	pthread_mutex_lock(&c->lock);
	n = c->n_events;
	memcpy(event, c->event, n * sizeof(event[0]));
	c->n_events = 0;
	stalled = c->stalled;
	asks = c->asks;
	gone = c->gone;
	c->stalled = c->asks = false;
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < n; i++)
		take_event(c, &event[i]);
	if (stalled)
		rfb_ring(c->wake_fd);
	if (asks)
		join(c);
	if (gone)
		remove_client(c);
	else
		fill(c);
}

static void on_news(void *ctx, uint32_t events)
{
	struct rfb *r = ctx;
	struct rfb_client *next;
	uint64_t rings;

	if (read(r->news.fd, &rings, sizeof(rings)) < 0)
		return;
	for (struct rfb_client *c = r->clients; c; c = next) {
		next = c->next;
		hear(c);
	}
}

/* "127.0.0.1:40000"; of a unix socket: nothing. */
static void name_peer(struct rfb_client *c)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	char host[INET6_ADDRSTRLEN + 20], port[8];

	if (getpeername(c->fd, (struct sockaddr *)&a, &len) || a.ss_family == AF_UNIX ||
	    getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	snprintf(c->peer, sizeof(c->peer), a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
		 port);
}

static int start_thread(struct rfb_client *c)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&c->thread, NULL, rfb_client_run, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

int rfb_add_client(struct rfb *r, int fd, bool websocket)
{
	struct rfb_client *c = r->n_clients < RFB_CLIENTS_MOST ? calloc(1, sizeof(*c)) : NULL;
	int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), on = 1;
	int rc = r->n_clients < RFB_CLIENTS_MOST && wake_fd >= 0 ? -ENOMEM : -EMFILE;

	if (!c || wake_fd < 0)
		goto fail;
	c->server = r;
	c->fd = fd;
	c->wake_fd = wake_fd;
	c->websocket = c->by_websocket = websocket;
	c->keys = (struct keymap_viewer){ .m = r->m, .keymap = r->keymap };
	c->told_leds = c->told_absolute = -1;
	pthread_mutex_init(&c->lock, NULL);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* Of no meaning to unix sockets. A peer that has vanished is found by and by. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	name_peer(c);
	rc = start_thread(c);
	if (rc)
		goto fail_lock;
	c->next = r->clients;
	r->clients = c;
	r->n_clients++;
	return 0;
fail_lock:
	pthread_mutex_destroy(&c->lock);
fail:
	free(c);
	if (wake_fd >= 0)
		close(wake_fd);
	close(fd);
	return rc;
}

unsigned rfb_clients(const struct rfb *r)
{
	return r->n_clients;
}

bool rfb_client_info(const struct rfb *r, unsigned i, struct rfb_client_info *out)
{
	const struct rfb_client *c = r->clients;

	while (c && i--)
		c = c->next;
	if (!c)
		return false;
	*out = (struct rfb_client_info){ .peer = c->peer,
					 .websocket = c->by_websocket,
					 .in = c->here };
	return true;
}

/* --- the server
 * ------------------------------------------------------------------------------------ */

void rfb_set_password(struct rfb *r, const char *password)
{
	pthread_mutex_lock(&r->lock);
	r->need_password = true;
	memset(r->password, 0, sizeof(r->password));
	strncpy(r->password, password, RFB_PASSWORD);
	pthread_mutex_unlock(&r->lock);
	if (strlen(password) > RFB_PASSWORD)
		log_warn("VNC looks at the first %d characters of a password only", RFB_PASSWORD);
}

static int create_news(struct rfb *r, struct loop *l, struct err *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), rc = fd < 0 ? -errno : 0;

	if (!rc)
		rc = loop_fd_add(l, &r->news, fd, EPOLLIN, on_news, r);
	if (rc)
		err_set(e, ERR_HOST, -rc, "cannot wait for clients: %s", strerror(-rc));
	if (rc && fd >= 0)
		close(fd);
	return rc;
}

int rfb_create(struct machine *m, struct loop *l, const struct rfb_opts *o, struct rfb **out,
	       struct err *e)
{
	struct rfb *r;
	int rc = rfb_encoder_load(e);

	if (rc)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	r->m = m;
	r->exclusive = o->exclusive;
	snprintf(r->name, sizeof(r->name), "%s", o->name ? o->name : "Posada");
	pthread_mutex_init(&r->lock, NULL);
	r->need_password = o->need_password;
	if (o->password)
		rfb_set_password(r, o->password);
	r->viewer = (struct viewer){
		.resized = resized, .damaged = damaged, .refreshed = refreshed, .ctx = r
	};
	r->input = (struct input_listener){ .leds = leds_changed,
					    .pointer_changed = pointer_changed,
					    .ctx = r };
	rc = keymap_create(o->layout, &r->keymap, e);
	rc = rc ? rc : create_news(r, l, e);
	if (rc) {
		keymap_free(r->keymap);
		pthread_mutex_destroy(&r->lock);
		free(r);
		return rc;
	}
	input_listen(m, &r->input);
	*out = r;
	return 0;
}

void rfb_destroy(struct rfb *r)
{
	if (!r)
		return;
	viewer_detach(&r->viewer);
	for (struct rfb_client *c = r->clients; c; c = c->next)
		end_client(c);
	while (r->clients)
		remove_client(r->clients);
	input_unlisten(r->m, &r->input);
	close(r->news.fd);
	loop_fd_del(&r->news);
	keymap_free(r->keymap);
	explicit_bzero(r->password, sizeof(r->password));
	pthread_mutex_destroy(&r->lock);
	free(r);
}
