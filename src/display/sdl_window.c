/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display sdl, the window: see sdl_int.h. All of this runs on the window's thread, which sleeps in
 * SDL_WaitEvent, and draws when the main loop has pushed an event or the desktop wants it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "sdl_int.h"

struct window {
	struct sdl_display *d;
	SDL_Window *window;
	SDL_Renderer *renderer;
	SDL_Texture *texture; /* NULL: nothing to show */
	int width, height; /* the guest's screen */
	int asked_width, asked_height; /* the size we gave the window */
	bool sized_by_user, full_screen;
	bool absolute, grabbed, quit, redraw;
	unsigned buttons;
};

/* --- the picture --------------------------------------------------------------------------- */

/* As large as fits, in the guest's proportions, in the middle of width by height. */
static SDL_Rect placed(const struct window *w, int width, int height)
{
	SDL_Rect r = { 0, 0, width, height };

	if ((int64_t)width * w->height > (int64_t)height * w->width)
		r.w = (int)((int64_t)height * w->width / w->height);
	else
		r.h = (int)((int64_t)width * w->height / w->width);
	r.w = r.w ? r.w : 1;
	r.h = r.h ? r.h : 1;
	r.x = (width - r.w) / 2;
	r.y = (height - r.h) / 2;
	return r;
}

/* The guest has another mode: the window follows, unless somebody has given it a size. */
static void follow_size(struct window *w)
{
	Uint32 flags = sdl.GetWindowFlags(w->window);
	SDL_Rect room, r;

	if (w->sized_by_user ||
	    flags & (SDL_WINDOW_FULLSCREEN | SDL_WINDOW_FULLSCREEN_DESKTOP | SDL_WINDOW_MAXIMIZED))
		return;
	r = (SDL_Rect){ 0, 0, w->width, w->height };
	if (!sdl.GetDisplayUsableBounds(0, &room) && room.w > 0 && room.h > 0 &&
	    (r.w > room.w || r.h > room.h))
		r = placed(w, room.w, room.h);
	w->asked_width = r.w;
	w->asked_height = r.h;
	sdl.SetWindowSize(w->window, r.w, r.h);
}

/* Locked. */
static void update_texture(struct window *w)
{
	struct sdl_display *d = w->d;
	SDL_Rect all = { 0, 0, w->width, w->height };
	int pitch = w->width * (int)sizeof(uint32_t);

	if (!w->texture) {
		w->texture = sdl.CreateTexture(w->renderer, SDL_PIXELFORMAT_ARGB8888,
					       SDL_TEXTUREACCESS_STREAMING, w->width, w->height);
		if (!w->texture)
			return;
		sdl.SetTextureBlendMode(w->texture, SDL_BLENDMODE_NONE);
		d->dirty[0] = all;
		d->n_dirty = 1;
	}
	for (unsigned i = 0; i < d->n_dirty; i++) {
		const SDL_Rect *r = &d->dirty[i];

		sdl.UpdateTexture(w->texture, r, d->pixel + (size_t)r->y * d->width + r->x, pitch);
	}
	w->redraw = w->redraw || d->n_dirty;
}

static void set_grab(struct window *w, bool on);

/* What the main loop has for the window. */
static void take_news(struct window *w)
{
	struct sdl_display *d = w->d;
	bool was_absolute = w->absolute, resized;

	pthread_mutex_lock(&d->lock);
	d->woken = false;
	w->quit = d->quit;
	w->absolute = d->absolute;
	resized = d->resized;
	d->resized = false;
	if (resized && w->texture) {
		sdl.DestroyTexture(w->texture);
		w->texture = NULL;
	}
	if (resized) {
		w->width = (int)d->width;
		w->height = (int)d->height;
		w->redraw = true;
	}
	if (d->pixel && (d->n_dirty || resized || !w->texture))
		update_texture(w);
	d->n_dirty = 0;
	pthread_mutex_unlock(&d->lock);
	if (resized)
		follow_size(w);
	if (w->absolute != was_absolute)
		set_grab(w, false);
}

static void draw(struct window *w)
{
	int width = 0, height = 0;
	SDL_Rect r;

	w->redraw = false;
	sdl.RenderClear(w->renderer);
	if (w->texture && !sdl.GetRendererOutputSize(w->renderer, &width, &height)) {
		r = placed(w, width, height);
		sdl.RenderCopy(w->renderer, w->texture, NULL, &r);
	}
	sdl.RenderPresent(w->renderer);
}

/* --- grabbing ------------------------------------------------------------------------------- */

static void set_title(const struct window *w)
{
	char title[256];

	snprintf(title, sizeof(title), "%.128s%s", w->d->display.guest,
		 w->grabbed    ? " - Ctrl-Alt-G frees keyboard and pointer"
		 : w->absolute ? " - Ctrl-Alt-F full screen, Ctrl-Alt-D Ctrl-Alt-Delete"
			       : " - click to use the mouse, Ctrl-Alt-G to leave");
	sdl.SetWindowTitle(w->window, title);
}

static void tell(struct window *w, enum sdl_what what)
{
	sdl_tell(w->d, &(struct sdl_event){ .what = what });
}

/* A pointer that only moves is held in the window; a tablet's follows the desktop's. */
static void set_grab(struct window *w, bool on)
{
	w->grabbed = on;
	sdl.SetRelativeMouseMode(on && !w->absolute);
	sdl.SetWindowGrab(w->window, on);
	sdl.ShowCursor(on || w->absolute ? SDL_DISABLE : SDL_ENABLE);
	set_title(w);
}

static void let_go(struct window *w)
{
	w->buttons = 0;
	if (w->grabbed)
		set_grab(w, false);
	tell(w, SDL_RELEASE_ALL);
}

/* --- keys and pointer --------------------------------------------------------------------------
 */

/* Ctrl-Alt and a letter, at its place on a US keyboard, are for the window. */
static bool own_key(struct window *w, const SDL_Keysym *k)
{
	if (!(k->mod & KMOD_CTRL) || !(k->mod & KMOD_LALT) ||
	    (k->scancode != SDL_SCANCODE_G && k->scancode != SDL_SCANCODE_F &&
	     k->scancode != SDL_SCANCODE_D))
		return false;
	/* The guest has seen Ctrl and Alt go down. */
	tell(w, SDL_RELEASE_ALL);
	if (k->scancode == SDL_SCANCODE_G) {
		set_grab(w, !w->grabbed);
	} else if (k->scancode == SDL_SCANCODE_D) {
		tell(w, SDL_CTRL_ALT_DEL);
	} else {
		w->full_screen = !w->full_screen;
		sdl.SetWindowFullscreen(w->window,
					w->full_screen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
	}
	return true;
}

static void on_key(struct window *w, const SDL_KeyboardEvent *ev)
{
	struct sdl_event key = {
		.what = SDL_KEY,
		.code = sdl_key(ev->keysym.scancode),
		.down = ev->state == SDL_PRESSED,
	};

	if (key.down && !ev->repeat && own_key(w, &ev->keysym))
		return;
	if (key.code)
		sdl_tell(w->d, &key);
}

/* A place in the window as one on the guest's screen. */
static int scaled(int at, int first, int size)
{
	int64_t v = size > 1 ? (int64_t)(at - first) * INPUT_ABS_MAX / (size - 1) : 0;

	return v < 0 ? 0 : v > INPUT_ABS_MAX ? INPUT_ABS_MAX : (int)v;
}

static void send_pointer(struct window *w, int x, int y, int dx, int dy, int wheel)
{
	struct sdl_event ev = { .wheel = wheel, .code = w->buttons };
	int width = 1, height = 1;
	SDL_Rect r;

	if (w->absolute && w->texture) {
		sdl.GetWindowSize(w->window, &width, &height);
		r = placed(w, width, height);
		ev.what = SDL_POINT;
		ev.x = scaled(x, r.x, r.w);
		ev.y = scaled(y, r.y, r.h);
	} else if (w->grabbed) {
		ev.what = SDL_MOVE;
		ev.x = dx;
		ev.y = dy;
	} else {
		return;
	}
	sdl_tell(w->d, &ev);
}

static void on_button(struct window *w, const SDL_MouseButtonEvent *ev)
{
	static const uint8_t bits[] = {
		[SDL_BUTTON_LEFT] = INPUT_LEFT,   [SDL_BUTTON_MIDDLE] = INPUT_MIDDLE,
		[SDL_BUTTON_RIGHT] = INPUT_RIGHT, [SDL_BUTTON_X1] = INPUT_SIDE,
		[SDL_BUTTON_X2] = INPUT_EXTRA,
	};
	unsigned bit = ev->button < sizeof(bits) ? bits[ev->button] : 0;

	if (!w->absolute && !w->grabbed) {
		/* This click is for the window. */
		if (ev->state == SDL_PRESSED && ev->button == SDL_BUTTON_LEFT)
			set_grab(w, true);
		return;
	}
	w->buttons = ev->state == SDL_PRESSED ? w->buttons | bit : w->buttons & ~bit;
	send_pointer(w, ev->x, ev->y, 0, 0, 0);
}

static void on_wheel(struct window *w, const SDL_MouseWheelEvent *ev)
{
	int wheel = ev->direction == SDL_MOUSEWHEEL_FLIPPED ? -ev->y : ev->y;

	send_pointer(w, ev->mouseX, ev->mouseY, 0, 0, wheel);
}

/* --- events
 * --------------------------------------------------------------------------------------- */

static void on_window(struct window *w, const SDL_WindowEvent *ev)
{
	switch (ev->event) {
	case SDL_WINDOWEVENT_RESIZED:
		if (ev->data1 != w->asked_width || ev->data2 != w->asked_height)
			w->sized_by_user = true;
		w->redraw = true;
		break;
	case SDL_WINDOWEVENT_EXPOSED:
	case SDL_WINDOWEVENT_SIZE_CHANGED:
		w->redraw = true;
		break;
	case SDL_WINDOWEVENT_FOCUS_LOST:
		let_go(w);
		break;
	}
}

static void on_event(struct window *w, const SDL_Event *ev)
{
	switch (ev->type) {
	case SDL_QUIT:
		tell(w, SDL_CLOSED);
		break;
	case SDL_WINDOWEVENT:
		on_window(w, &ev->window);
		break;
	case SDL_KEYDOWN:
	case SDL_KEYUP:
		on_key(w, &ev->key);
		break;
	case SDL_MOUSEMOTION:
		send_pointer(w, ev->motion.x, ev->motion.y, ev->motion.xrel, ev->motion.yrel, 0);
		break;
	case SDL_MOUSEBUTTONDOWN:
	case SDL_MOUSEBUTTONUP:
		on_button(w, &ev->button);
		break;
	case SDL_MOUSEWHEEL:
		on_wheel(w, &ev->wheel);
		break;
	case SDL_RENDER_TARGETS_RESET:
	case SDL_RENDER_DEVICE_RESET:
		if (w->texture)
			sdl.DestroyTexture(w->texture);
		w->texture = NULL; /* made anew below */
		w->redraw = true;
		break;
	}
}

static void serve(struct window *w)
{
	enum { ROUND = 64 }; /* a flood of events does not keep the picture back */
	SDL_Event ev;

	while (!w->quit && sdl.WaitEvent(&ev)) {
		unsigned n = 0;

		do
			on_event(w, &ev);
		while (++n < ROUND && sdl.PollEvent(&ev));
		take_news(w);
		if (w->redraw && !w->quit)
			draw(w);
	}
}

/* --- the thread ----------------------------------------------------------------------------------
 */

static bool open_window(struct window *w)
{
	Uint32 flags = SDL_WINDOW_RESIZABLE;

	sdl.SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	sdl.SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
	sdl.SetHint(SDL_HINT_GRAB_KEYBOARD, "1");
	sdl.SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "linear");
	sdl.SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
	sdl.SetHint(SDL_HINT_MOUSE_RELATIVE_SCALING, "0");
	/* Of a desktop's two; not the machine's own screen when there is none. */
	if (!getenv("SDL_VIDEODRIVER"))
		sdl.SetHint(SDL_HINT_VIDEODRIVER, getenv("DISPLAY") ? "x11" : "wayland");
	sdl.SetMainReady();
	if (sdl.Init(SDL_INIT_VIDEO))
		return false;
	w->full_screen = w->d->full_screen;
	if (w->full_screen)
		flags |= SDL_WINDOW_FULLSCREEN_DESKTOP;
	w->window =
		sdl.CreateWindow(w->d->display.guest, SDL_WINDOWPOS_UNDEFINED,
				 SDL_WINDOWPOS_UNDEFINED, w->asked_width, w->asked_height, flags);
	if (!w->window)
		return false;
	w->renderer = sdl.CreateRenderer(w->window, -1, 0);
	if (!w->renderer)
		return false;
	sdl.StopTextInput(); /* keys, not what an input method makes of them */
	set_grab(w, false);
	return true;
}

static void close_window(struct window *w)
{
	if (w->texture)
		sdl.DestroyTexture(w->texture);
	if (w->renderer)
		sdl.DestroyRenderer(w->renderer);
	if (w->window)
		sdl.DestroyWindow(w->window);
	sdl.Quit();
}

static void set_state(struct sdl_display *d, int state, const char *why)
{
	pthread_mutex_lock(&d->lock);
	d->state = state;
	snprintf(d->why, sizeof(d->why), "%s", why);
	pthread_cond_signal(&d->told);
	pthread_mutex_unlock(&d->lock);
}

/*
 * Xlib ends the process when its server is gone, if this returns. The guest is worth more than
 * its window: the thread stays here, with whatever SDL and Xlib have locked.
 */
static struct sdl_display *shown; /* there is one */

static int on_lost_server(void *x_display)
{
	struct sdl_display *d = shown;

	if (!pthread_equal(pthread_self(), d->thread))
		return 0;
	pthread_mutex_lock(&d->lock); /* which this thread may hold already */
	d->state = SDL_LOST;
	pthread_mutex_unlock(&d->lock);
	tell(&(struct window){ .d = d }, SDL_RELEASE_ALL);
	log_warn("-display sdl: the desktop is gone; the guest goes on without its window");
	for (;;)
		pause();
}

static void survive_server(struct sdl_display *d)
{
	void *xlib = dlopen("libX11.so.6", RTLD_NOW | RTLD_NOLOAD);
	void *sym = xlib ? dlsym(xlib, "XSetIOErrorHandler") : NULL;
	void *(*set)(int (*handler)(void *x_display));

	if (!sym)
		return; /* another kind of desktop */
	shown = d;
	memcpy(&set, &sym, sizeof(set));
	set(on_lost_server);
}

void *sdl_window_thread(void *ctx)
{
	struct window w = { .d = ctx, .asked_width = 720, .asked_height = 400 };

	if (open_window(&w)) {
		survive_server(w.d);
		set_state(w.d, SDL_RUNNING, "");
		serve(&w);
		set_state(w.d, SDL_ENDED, "");
	} else {
		set_state(w.d, SDL_ENDED, sdl.GetError());
	}
	close_window(&w);
	return NULL;
}
