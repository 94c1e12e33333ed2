/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Screens: see include/display.h. Main loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "display.h"
#include "err.h"
#include "loop.h"
#include "machine.h"

/* What the public struct does not show. */
struct private_screen {
	struct screen s;
	struct loop_timer timer;
};

static void draw(struct screen *s, bool all)
{
	if (s->ops)
		s->ops->update(s->card, s, all);
}

static void tell_refreshed(struct screen *s)
{
	struct viewer *next;

	for (struct viewer *v = s->viewers; v; v = next) {
		next = v->next; /* a viewer may leave */
		if (v->refreshed)
			v->refreshed(v->ctx);
	}
}

static void on_timer(void *ctx)
{
	struct private_screen *p = ctx;

	draw(&p->s, false);
	loop_timer_set(&p->timer, loop_now_ns() + DISPLAY_REFRESH_MS * 1000000ull);
	tell_refreshed(&p->s);
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

	if (!width || !height || width > DISPLAY_MAX_SIDE || height > DISPLAY_MAX_SIDE ||
	    (uint64_t)width * height > DISPLAY_MAX_PIXELS)
		return -EINVAL;
	pixel = calloc((size_t)width * height, sizeof(*pixel));
	if (!pixel)
		return -ENOMEM;
	free(s->surface.pixel);
	s->surface = (struct surface){ .width = width, .height = height, .pixel = pixel };
	for (struct viewer *v = s->viewers; v; v = v->next)
		if (v->resized)
			v->resized(v->ctx, &s->surface);
	return 0;
}

void screen_damage(struct screen *s, unsigned x, unsigned y, unsigned width, unsigned height)
{
	for (struct viewer *v = s->viewers; v; v = v->next)
		if (v->damaged)
			v->damaged(v->ctx, x, y, width, height);
}

/* --- a viewer's side ------------------------------------------------------------------------ */

struct screen *screen_first(struct machine *m)
{
	return m->screens;
}

void viewer_attach(struct viewer *v, struct screen *s)
{
	struct private_screen *p = (struct private_screen *)s;

	draw(s, false); /* what is new, for those who watch already */
	v->screen = s;
	v->next = s->viewers;
	s->viewers = v;
	if (v->resized)
		v->resized(v->ctx, &s->surface);
	if (v->damaged)
		v->damaged(v->ctx, 0, 0, s->surface.width, s->surface.height);
	if (!v->next)
		loop_timer_set(&p->timer, loop_now_ns() + DISPLAY_REFRESH_MS * 1000000ull);
}

void viewer_detach(struct viewer *v)
{
	struct private_screen *p = (struct private_screen *)v->screen;

	if (!p)
		return;
	for (struct viewer **at = &p->s.viewers; *at; at = &(*at)->next) {
		if (*at == v) {
			*at = v->next;
			break;
		}
	}
	v->screen = NULL;
	if (!p->s.viewers)
		loop_timer_cancel(&p->timer);
}

void screen_refresh(struct screen *s)
{
	draw(s, false);
}

bool screen_text(struct screen *s, struct text_screen *t)
{
	return s->ops && s->ops->text && s->ops->text(s->card, t);
}
