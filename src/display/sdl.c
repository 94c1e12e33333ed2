/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -display sdl, the main loop's side: see sdl_int.h. Main loop, but for sdl_tell. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "loop.h"
#include "props.h"
#include "sdl_int.h"

/* --- to the window ------------------------------------------------------------------------ */

/* Locked. While one event waits to be seen, no further one need be pushed. */
static void wake(struct sdl_display *d)
{
	SDL_Event ev = { .type = SDL_USEREVENT };

	if (d->state == SDL_RUNNING && !d->woken)
		d->woken = sdl.PushEvent(&ev) > 0;
}

/* Locked. Those that do not fit become one with the last. */
static void add_dirty(struct sdl_display *d, unsigned x, unsigned y, unsigned width,
		      unsigned height)
{
	SDL_Rect *last = &d->dirty[SDL_RECTS - 1];
	int right = (int)(x + width), bottom = (int)(y + height);

	if (d->n_dirty < SDL_RECTS) {
		d->dirty[d->n_dirty++] = (SDL_Rect){ (int)x, (int)y, (int)width, (int)height };
		return;
	}
	right = right > last->x + last->w ? right : last->x + last->w;
	bottom = bottom > last->y + last->h ? bottom : last->y + last->h;
	last->x = last->x < (int)x ? last->x : (int)x;
	last->y = last->y < (int)y ? last->y : (int)y;
	last->w = right - last->x;
	last->h = bottom - last->y;
}

static void damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct sdl_display *d = ctx;
	const struct surface *s = &d->viewer.screen->surface;

	pthread_mutex_lock(&d->lock);
	if (d->pixel && x < d->width && y < d->height) {
		width = width < d->width - x ? width : d->width - x;
		height = height < d->height - y ? height : d->height - y;
		for (unsigned i = y; i < y + height; i++)
			memcpy(d->pixel + (size_t)i * d->width + x,
			       s->pixel + (size_t)i * s->width + x, width * sizeof(uint32_t));
		add_dirty(d, x, y, width, height);
	}
	pthread_mutex_unlock(&d->lock);
}

/* Without memory for it the window stays black. */
static void resized(void *ctx, const struct surface *s)
{
	struct sdl_display *d = ctx;
	size_t pixels = (size_t)s->width * s->height;
	uint32_t *pixel = calloc(pixels, sizeof(*pixel));

	if (pixel)
		memcpy(pixel, s->pixel, pixels * sizeof(*pixel));
	pthread_mutex_lock(&d->lock);
	free(d->pixel);
	d->pixel = pixel;
	d->width = s->width;
	d->height = s->height;
	d->resized = true;
	d->n_dirty = 0;
	pthread_mutex_unlock(&d->lock);
}

static void refreshed(void *ctx)
{
	struct sdl_display *d = ctx;

	pthread_mutex_lock(&d->lock);
	if (d->n_dirty || d->resized)
		wake(d);
	pthread_mutex_unlock(&d->lock);
}

static void pointer_changed(void *ctx, bool absolute)
{
	struct sdl_display *d = ctx;

	pthread_mutex_lock(&d->lock);
	d->absolute = absolute;
	wake(d);
	pthread_mutex_unlock(&d->lock);
}

/* --- from the window ------------------------------------------------------------------------- */

static void act(struct sdl_display *d, const struct sdl_event *ev)
{
	struct machine *m = d->display.m;

	switch (ev->what) {
	case SDL_KEY:
		input_key(m, ev->code, ev->down);
		break;
	case SDL_MOVE:
		input_move(m, ev->x, ev->y, ev->wheel, ev->code);
		break;
	case SDL_POINT:
		input_point(m, (unsigned)ev->x, (unsigned)ev->y, ev->wheel, ev->code);
		break;
	case SDL_RELEASE_ALL:
		input_release_all(m);
		break;
	case SDL_CTRL_ALT_DEL:
		input_sendkey(m, "ctrl-alt-delete", 0, NULL);
		break;
	case SDL_CLOSED:
		d->display.close(&d->display);
		break;
	}
}

static void take_events(void *ctx)
{
	struct sdl_display *d = ctx;
	struct sdl_event event[SDL_EVENTS];
	unsigned n;
	bool overrun;

	pthread_mutex_lock(&d->lock);
	n = d->n_events;
	memcpy(event, d->event, n * sizeof(event[0]));
	overrun = d->overrun;
	d->n_events = 0;
	d->posted = d->overrun = false;
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < n; i++)
		act(d, &event[i]);
	if (overrun)
		input_release_all(d->display.m);
}

/* Movements of the same kind and buttons become one. Locked. */
static bool joins_last(struct sdl_display *d, const struct sdl_event *ev)
{
	struct sdl_event *last = d->n_events ? &d->event[d->n_events - 1] : NULL;

	if (!last || last->what != ev->what || last->code != ev->code ||
	    (ev->what != SDL_MOVE && ev->what != SDL_POINT))
		return false;
	last->x = ev->x + (ev->what == SDL_MOVE ? last->x : 0);
	last->y = ev->y + (ev->what == SDL_MOVE ? last->y : 0);
	last->wheel += ev->wheel;
	return true;
}

void sdl_tell(struct sdl_display *d, const struct sdl_event *ev)
{
	bool post;

	pthread_mutex_lock(&d->lock);
	if (!joins_last(d, ev)) {
		if (d->n_events < SDL_EVENTS)
			d->event[d->n_events++] = *ev;
		else
			d->overrun = true;
	}
	post = !d->posted;
	d->posted = true;
	pthread_mutex_unlock(&d->lock);
	if (post)
		loop_post(d->display.loop, take_events, d);
}

/* --- its beginning and end ----------------------------------------------------------------------
 */

static int no_window(const char *why, struct err *e)
{
	err_set(e, ERR_UNAVAILABLE, ENOTCONN, "cannot open a window: %s", why);
	err_hint(e, "DISPLAY or WAYLAND_DISPLAY names the desktop; without one there are -display "
		    "text, -display web and -vnc");
	return -ENOTCONN;
}

/* Waits until the thread has its window, or says why not. */
static int start_thread(struct sdl_display *d, struct err *e)
{
	int rc = pthread_create(&d->thread, NULL, sdl_window_thread, d);
	bool running;

	if (rc)
		return err_set(e, ERR_HOST, rc, "cannot start a thread: %s", strerror(rc));
	d->started = true;
	pthread_setname_np(d->thread, "posada:window");
	pthread_mutex_lock(&d->lock);
	while (d->state == SDL_STARTING)
		pthread_cond_wait(&d->told, &d->lock);
	running = d->state == SDL_RUNNING;
	pthread_mutex_unlock(&d->lock);
	return running ? 0 : no_window(d->why, e);
}

static int start(struct display *display, struct err *e)
{
	struct sdl_display *d = (struct sdl_display *)display;
	pthread_mutexattr_t attr;
	int rc;

	/* A second lock by the same thread is an error, not a wait: see on_lost_server. */
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&d->lock, &attr);
	pthread_cond_init(&d->told, NULL);
	/* Without a desktop SDL would take the machine's own screen. */
	if (!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY") && !getenv("SDL_VIDEODRIVER"))
		return no_window("DISPLAY is not set", e);
	rc = sdl_load(e);
	rc = rc ? rc : start_thread(d, e);
	if (rc)
		return rc;
	d->viewer = (struct viewer){
		.resized = resized, .damaged = damaged, .refreshed = refreshed, .ctx = d
	};
	d->listener = (struct input_listener){ .pointer_changed = pointer_changed, .ctx = d };
	input_listen(display->m, &d->listener);
	pointer_changed(d, input_absolute(display->m));
	viewer_attach(&d->viewer, screen_first(display->m));
	refreshed(d);
	return 0;
}

/* The libraries' own ends would wait for what the thread has locked. */
static void end_without_them(int status, void *ctx)
{
	fflush(NULL);
	_exit(status);
}

static void stop(struct display *display)
{
	struct sdl_display *d = (struct sdl_display *)display;
	bool lost = false;

	if (d->started) {
		viewer_detach(&d->viewer);
		input_unlisten(display->m, &d->listener);
		pthread_mutex_lock(&d->lock);
		d->quit = true;
		d->woken = false;
		wake(d);
		lost = d->state == SDL_LOST;
		pthread_mutex_unlock(&d->lock);
	}
	/* A thread whose desktop is gone does not end before the process does. */
	if (lost)
		on_exit(end_without_them, NULL);
	else if (d->started)
		pthread_join(d->thread, NULL);
	free(d->pixel);
}

static const struct prop props[] = {
	PROP(struct sdl_display, full_screen, PROP_BOOL, "full-screen", "off",
	     "begin on the whole screen"),
	PROP_END,
};

const struct display_class display_sdl = {
	.name = "sdl",
	.desc = "a window (Ctrl-Alt-G frees or takes the pointer, Ctrl-Alt-F: full screen)",
	.props = props,
	.size = sizeof(struct sdl_display),
	.start = start,
	.stop = stop,
};
