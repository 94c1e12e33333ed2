/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Screens: see include/display.h. Main loop. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "display.h"
#include "err.h"
#include "loop.h"
#include "machine.h"

#define REFRESH_NS (DISPLAY_REFRESH_MS * 1000000ull)
#define IDLE_NS (DISPLAY_IDLE_MS * 1000000ull)

/* What the public struct does not show. */
struct private_screen {
	struct screen s;
	struct loop_timer timer; /* the next time to draw at; armed while there are viewers */
	atomic_bool asleep; /* screen_touch sets the timer */
	bool watched; /* the card was told to watch */
	bool changed; /* something was damaged since it was last cleared */
	struct walk *walks; /* over the viewers, under way */
	uint64_t last_change, due, again; /* loop_now_ns; again: 0: not asked for */
};

/*
 * Over the viewers, any of which may leave while one of them is told something, and which may
 * make something be drawn that they are told of.
 */
struct walk {
	struct viewer *next;
	struct walk *outer;
};

static void walk_begin(struct private_screen *p, struct walk *w)
{
	*w = (struct walk){ .next = p->s.viewers, .outer = p->walks };
	p->walks = w;
}

static struct viewer *walk_next(struct private_screen *p, struct walk *w)
{
	struct viewer *v = w->next;

	if (v)
		w->next = v->next;
	else
		p->walks = w->outer;
	return v;
}

static void walks_leave(struct private_screen *p, const struct viewer *v)
{
	for (struct walk *w = p->walks; w; w = w->outer)
		if (w->next == v)
			w->next = v->next;
}

static void draw(struct private_screen *p, bool all)
{
	p->again = 0;
	if (p->s.ops)
		p->s.ops->update(p->s.card, &p->s, all);
}

/* timed: nothing was touched; what blinks was drawn. */
static void tell_refreshed(struct private_screen *p, bool timed)
{
	struct viewer *v;
	struct walk w;

	walk_begin(p, &w);
	while ((v = walk_next(p, &w)))
		if (v->refreshed && !(timed && v->letters))
			v->refreshed(v->ctx);
}

static void unwatch(struct private_screen *p)
{
	atomic_store(&p->asleep, false);
	if (p->watched)
		p->s.ops->watch(p->s.card, false);
	p->watched = false;
}

/*
 * The last look comes after the card has begun to watch: no change falls between the two. And
 * the card finds the screen asleep when it begins: what it says from then on is heard.
 */
static bool fall_asleep(struct private_screen *p)
{
	if (!p->s.ops->watch)
		return false;
	atomic_store(&p->asleep, true);
	p->watched = !p->s.ops->watch(p->s.card, true);
	if (!p->watched) {
		atomic_store(&p->asleep, false);
		return false;
	}
	p->changed = false;
	draw(p, false);
	tell_refreshed(p, false);
	if (p->changed && p->watched) {
		p->last_change = loop_now_ns();
		unwatch(p);
	}
	return p->watched;
}

static void on_timer(void *ctx)
{
	struct private_screen *p = ctx;
	bool sleeping = atomic_load(&p->asleep); /* else it was touched, or has not slept */
	uint64_t now = loop_now_ns();

	if (!sleeping) {
		/* Awake for a while whatever was touched, or a guest that writes where nobody
		 * looks would wake us at once each time. */
		if (p->watched)
			p->last_change = now;
		unwatch(p);
		p->changed = false;
	}
	draw(p, false);
	tell_refreshed(p, sleeping);
	if (!p->s.viewers)
		return;
	if (!sleeping) {
		if (p->changed)
			p->last_change = now;
		sleeping = now - p->last_change >= IDLE_NS && fall_asleep(p);
	}
	if (!p->s.viewers)
		return;
	if (!sleeping) {
		p->due = (now - p->due < REFRESH_NS ? p->due : now) + REFRESH_NS;
		loop_timer_set(&p->timer, p->due);
	}
	if (sleeping && p->again)
		loop_timer_set(&p->timer, p->again);
	/* A touch in between has set the timer already, perhaps before the line above did. */
	if (sleeping && !atomic_load(&p->asleep))
		loop_timer_set(&p->timer, now);
}

/* --- a card's side ------------------------------------------------------------------------ */

int screen_create(struct machine *m, const struct screen_ops *ops, void *card, struct screen **out,
		  struct err *e)
{
	struct private_screen *p = calloc(1, sizeof(*p));
	struct screen **last = &m->screens;

	if (!p)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	p->s = (struct screen){ .m = m, .ops = ops, .card = card };
	if (screen_resize(&p->s, 720, 400)) {
		free(p);
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	loop_timer_init(&p->timer, m->loop, on_timer, p);
	while (*last)
		last = &(*last)->next;
	*last = &p->s;
	*out = &p->s;
	return 0;
}

void screen_destroy(struct screen *s)
{
	struct private_screen *p = (struct private_screen *)s;
	size_t bytes = (size_t)s->surface.width * s->surface.height * sizeof(*s->surface.pixel);

	memset(s->surface.pixel, 0, bytes);
	screen_damage(s, 0, 0, s->surface.width, s->surface.height);
	while (s->viewers)
		viewer_detach(s->viewers);
	unwatch(p);
	loop_timer_cancel(&p->timer);
	for (struct screen **at = &s->m->screens; *at; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			break;
		}
	}
	free(s->surface.pixel);
	free(p);
}

int screen_resize(struct screen *s, unsigned width, unsigned height)
{
	uint32_t *pixel;
	struct viewer *v;
	struct walk w;

	if (!width || !height || width > DISPLAY_MAX_SIDE || height > DISPLAY_MAX_SIDE ||
	    (uint64_t)width * height > DISPLAY_MAX_PIXELS)
		return -EINVAL;
	pixel = calloc((size_t)width * height, sizeof(*pixel));
	if (!pixel)
		return -ENOMEM;
	free(s->surface.pixel);
	s->surface = (struct surface){ .width = width, .height = height, .pixel = pixel };
	((struct private_screen *)s)->changed = true;
	walk_begin((struct private_screen *)s, &w);
	while ((v = walk_next((struct private_screen *)s, &w)))
		if (v->resized)
			v->resized(v->ctx, &s->surface);
	return 0;
}

static void tell_damaged(struct private_screen *p, unsigned x, unsigned y, unsigned width,
			 unsigned height, bool timed)
{
	struct viewer *v;
	struct walk w;

	walk_begin(p, &w);
	while ((v = walk_next(p, &w)))
		if (v->damaged && !(timed && v->letters))
			v->damaged(v->ctx, x, y, width, height);
}

void screen_damage(struct screen *s, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct private_screen *p = (struct private_screen *)s;

	p->changed = true;
	tell_damaged(p, x, y, width, height, false);
}

void screen_damage_timed(struct screen *s, unsigned x, unsigned y, unsigned width, unsigned height)
{
	tell_damaged((struct private_screen *)s, x, y, width, height, true);
}

void screen_touch(struct screen *s)
{
	struct private_screen *p = (struct private_screen *)s;

	if (p && atomic_exchange(&p->asleep, false))
		loop_timer_set(&p->timer, loop_now_ns());
}

void screen_again(struct screen *s, uint64_t deadline_ns)
{
	struct private_screen *p = (struct private_screen *)s;
	struct viewer *v = s->viewers;

	while (v && v->letters)
		v = v->next;
	if (v && (!p->again || deadline_ns < p->again))
		p->again = deadline_ns;
}

/* --- a viewer's side ------------------------------------------------------------------------ */

struct screen *screen_first(struct machine *m)
{
	return m->screens;
}

void viewer_attach(struct viewer *v, struct screen *s)
{
	struct private_screen *p = (struct private_screen *)s;

	draw(p, false); /* what is new, for those who watch already */
	v->screen = s;
	v->next = s->viewers;
	s->viewers = v;
	if (v->resized)
		v->resized(v->ctx, &s->surface);
	if (v->damaged)
		v->damaged(v->ctx, 0, 0, s->surface.width, s->surface.height);
	unwatch(p);
	p->last_change = loop_now_ns();
	p->due = p->last_change + REFRESH_NS;
	loop_timer_set(&p->timer, p->due);
}

void viewer_detach(struct viewer *v)
{
	struct private_screen *p = (struct private_screen *)v->screen;

	if (!p)
		return;
	walks_leave(p, v);
	for (struct viewer **at = &p->s.viewers; *at; at = &(*at)->next) {
		if (*at == v) {
			*at = v->next;
			break;
		}
	}
	v->screen = NULL;
	if (p->s.viewers)
		return;
	unwatch(p);
	loop_timer_cancel(&p->timer);
}

void screen_refresh(struct screen *s)
{
	draw((struct private_screen *)s, false);
}

bool screen_text(struct screen *s, struct text_screen *t)
{
	return s->ops && s->ops->text && s->ops->text(s->card, t);
}
