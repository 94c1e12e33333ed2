/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and pointer on their way from displays and the monitor to the guest's devices: see
 * input.h. Main loop, but for input_set_leds and input_ready_changed.
 */
#include "input.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "input_int.h"
#include "log.h"
#include "loop.h"
#include "machine.h"

enum {
	CHORD_KEYS = 16,
	CHORDS = 256,
	CHORDS_FIRST = 32,
	CHORD_MS = 100,
	CHORD_MS_MAX = 60000,
	GAP_MS = 20
};

/* Keys that sendkey holds down together. */
struct chord {
	uint16_t key[CHORD_KEYS];
	uint8_t n;
	uint16_t ms;
};

struct input_set {
	struct machine *m;
	struct input_device *devices; /* the last one added is the first here */
	struct input_listener *listeners;
	struct input_device *keyboard; /* that heard of the keys which are down */
	uint8_t down[KEY_CNT / 8];
	unsigned buttons, x, y;
	bool absolute; /* what listeners were told */
	/* sendkey: chord[head] is down while held, then there is a gap. A ring that grows. */
	struct chord *chord;
	unsigned head, n, room;
	bool held;
	struct loop_timer typist;
	/* Devices' threads leave word here, and the loop passes it on. */
	_Atomic unsigned leds;
	unsigned leds_told;
	struct loop_timer news;
};

/* --- which device --------------------------------------------------------------- */

static bool is_keyboard(const struct input_device *d)
{
	return d->key;
}

static bool is_pointer(const struct input_device *d)
{
	return d->move || d->point;
}

/* The last one added that is ready; without one the first one, which may keep the event. */
static struct input_device *in_use(const struct input_set *s,
				   bool (*fits)(const struct input_device *d))
{
	struct input_device *found = NULL;

	for (struct input_device *d = s ? s->devices : NULL; d; d = d->next) {
		if (!fits(d))
			continue;
		if (!d->ready || d->ready(d->ctx))
			return d;
		found = d;
	}
	return found;
}

static void tell_listeners(struct input_set *s)
{
	unsigned leds = atomic_load(&s->leds);
	struct input_device *d = in_use(s, is_pointer);
	bool absolute = d && d->point;

	if (leds != s->leds_told) {
		s->leds_told = leds;
		for (struct input_listener *l = s->listeners; l; l = l->next)
			if (l->leds)
				l->leds(l->ctx, leds);
	}
	if (absolute == s->absolute)
		return;
	s->absolute = absolute;
	for (struct input_listener *l = s->listeners; l; l = l->next)
		if (l->pointer_changed)
			l->pointer_changed(l->ctx, absolute);
}

static void news(void *ctx)
{
	tell_listeners(ctx);
}

static void typist(void *ctx);

static struct input_set *set_of(struct machine *m)
{
	struct input_set *s = m->input;

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->m = m;
	loop_timer_init(&s->typist, m->loop, typist, s);
	loop_timer_init(&s->news, m->loop, news, s);
	m->input = s;
	m->input_end = input_free;
	return s;
}

void input_add(struct machine *m, struct input_device *d)
{
	struct input_set *s = set_of(m);

	if (!s) {
		log_warn("%s: not enough memory to connect it", d->name);
		return;
	}
	d->next = s->devices;
	s->devices = d;
	loop_timer_set(&s->news, loop_now_ns());
}

void input_remove(struct machine *m, struct input_device *d)
{
	struct input_set *s = m->input;
	struct input_device **at;

	if (!s)
		return;
	for (at = &s->devices; *at && *at != d; at = &(*at)->next)
		;
	if (!*at)
		return;
	*at = d->next;
	if (s->keyboard == d)
		s->keyboard = NULL;
	loop_timer_set(&s->news, loop_now_ns());
}

void input_listen(struct machine *m, struct input_listener *l)
{
	struct input_set *s = set_of(m);

	if (!s)
		return;
	l->next = s->listeners;
	s->listeners = l;
}

void input_unlisten(struct machine *m, struct input_listener *l)
{
	struct input_listener **at;

	if (!m->input)
		return;
	for (at = &m->input->listeners; *at && *at != l; at = &(*at)->next)
		;
	if (*at)
		*at = l->next;
}

void input_set_leds(struct machine *m, unsigned leds)
{
	struct input_set *s = m->input;

	if (s && atomic_exchange(&s->leds, leds) != leds)
		loop_timer_set(&s->news, loop_now_ns());
}

unsigned input_leds(struct machine *m)
{
	return m->input ? atomic_load(&m->input->leds) : 0;
}

void input_ready_changed(struct machine *m)
{
	if (m->input)
		loop_timer_set(&m->input->news, loop_now_ns());
}

void input_free(struct machine *m)
{
	struct input_set *s = m->input;

	if (!s)
		return;
	loop_timer_cancel(&s->typist);
	loop_timer_cancel(&s->news);
	free(s->chord);
	free(s);
	m->input = NULL;
}

bool input_each(struct machine *m, unsigned i, struct input_info *out)
{
	struct input_set *s = m->input;
	struct input_device *used = in_use(s, is_pointer);

	for (struct input_device *d = s ? s->devices : NULL; d; d = d->next) {
		if (!is_pointer(d) || i--)
			continue;
		*out = (struct input_info){ .name = d->name,
					    .current = d == used,
					    .absolute = d->point != NULL };
		return true;
	}
	return false;
}

/* --- keys ------------------------------------------------------------------------- */

static bool is_down(const struct input_set *s, unsigned code)
{
	return s->down[code / 8] >> code % 8 & 1;
}

/* Keys go down and come up at the same keyboard. */
static void use_keyboard(struct input_set *s, struct input_device *d)
{
	struct input_device *old = s->keyboard;

	if (old == d)
		return;
	for (unsigned code = 0; code < KEY_CNT; code++)
		if (old && is_down(s, code))
			old->key(old->ctx, code, false);
	memset(s->down, 0, sizeof(s->down));
	s->keyboard = d;
}

void input_key(struct machine *m, unsigned code, bool down)
{
	struct input_set *s = m->input;
	struct input_device *d = in_use(s, is_keyboard);

	if (!d || !code || code >= KEY_CNT)
		return;
	use_keyboard(s, d);
	if (!down && !is_down(s, code))
		return;
	if (down)
		s->down[code / 8] |= (uint8_t)(1u << code % 8);
	else
		s->down[code / 8] &= (uint8_t) ~(1u << code % 8);
	d->key(d->ctx, code, down);
}

void input_release_all(struct machine *m)
{
	struct input_set *s = m->input;

	if (!s)
		return;
	for (unsigned code = 0; code < KEY_CNT; code++)
		if (is_down(s, code))
			input_key(m, code, false);
	if (s->buttons)
		input_move(m, 0, 0, 0, 0);
}

/* --- the pointer -------------------------------------------------------------------- */

bool input_absolute(struct machine *m)
{
	struct input_device *d = in_use(m->input, is_pointer);

	return d && d->point;
}

/* Buttons and wheel reach a pointer also by an event of the other kind. */
void input_move(struct machine *m, int dx, int dy, int wheel, unsigned buttons)
{
	struct input_device *d = in_use(m->input, is_pointer);

	if (!d)
		return;
	m->input->buttons = buttons;
	if (d->move)
		d->move(d->ctx, dx, dy, wheel, buttons);
	else
		d->point(d->ctx, m->input->x, m->input->y, wheel, buttons);
}

void input_point(struct machine *m, unsigned x, unsigned y, int wheel, unsigned buttons)
{
	struct input_device *d = in_use(m->input, is_pointer);

	if (!d)
		return;
	m->input->buttons = buttons;
	m->input->x = x > INPUT_ABS_MAX ? INPUT_ABS_MAX : x;
	m->input->y = y > INPUT_ABS_MAX ? INPUT_ABS_MAX : y;
	if (d->point)
		d->point(d->ctx, m->input->x, m->input->y, wheel, buttons);
	else
		d->move(d->ctx, 0, 0, wheel, buttons);
}

unsigned input_buttons(struct machine *m)
{
	return m->input ? m->input->buttons : 0;
}

void input_place(struct machine *m, unsigned *x, unsigned *y)
{
	*x = m->input ? m->input->x : 0;
	*y = m->input ? m->input->y : 0;
}

/* --- sendkey ------------------------------------------------------------------------ */

static void after_ms(struct input_set *s, unsigned ms)
{
	loop_timer_set(&s->typist, loop_now_ns() + ms * 1000000ull);
}

static void press(struct input_set *s)
{
	const struct chord *c = &s->chord[s->head];

	s->held = true;
	after_ms(s, c->ms);
	for (unsigned i = 0; i < c->n; i++)
		input_key(s->m, c->key[i], true);
}

static void typist(void *ctx)
{
	struct input_set *s = ctx;
	const struct chord *c = &s->chord[s->head];

	if (!s->held) {
		if (s->n)
			press(s);
		return;
	}
	s->held = false;
	s->head = (s->head + 1) % s->room;
	s->n--;
	/* Also after the last one: what comes next must not be down before this is up. */
	after_ms(s, GAP_MS);
	for (unsigned i = c->n; i--;)
		input_key(s->m, c->key[i], false);
}

static bool grow(struct input_set *s)
{
	unsigned room = s->room ? s->room * 2 : CHORDS_FIRST;
	struct chord *c = calloc(room, sizeof(*c));

	if (!c)
		return false;
	for (unsigned i = 0; i < s->n; i++)
		c[i] = s->chord[(s->head + i) % s->room];
	free(s->chord);
	s->chord = c;
	s->room = room;
	s->head = 0;
	return true;
}

int input_type(struct machine *m, const unsigned *codes, unsigned n, unsigned ms, struct err *e)
{
	return input_queue(m, codes, n, ms, CHORDS, e);
}

unsigned input_queued(const struct machine *m)
{
	return m->input ? m->input->n : 0;
}

int input_queue(struct machine *m, const unsigned *codes, unsigned n, unsigned ms, unsigned limit,
		struct err *e)
{
	struct input_set *s = m->input;
	struct chord *c;

	if (!in_use(s, is_keyboard))
		return err_set(e, ERR_USAGE, ENODEV, "the machine has no keyboard");
	if (!n)
		return err_set(e, ERR_USAGE, EINVAL, "no key is named");
	if (n > CHORD_KEYS)
		return err_set(e, ERR_USAGE, E2BIG, "more than %d keys at a time", CHORD_KEYS);
	if (ms > CHORD_MS_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "keys are held for %d ms at most",
			       CHORD_MS_MAX);
	if (s->n >= limit)
		return err_set(e, ERR_USAGE, EAGAIN, "%u keys wait to be typed already", s->n);
	if (s->n == s->room && !grow(s))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	c = &s->chord[(s->head + s->n++) % s->room];
	*c = (struct chord){ .n = (uint8_t)n, .ms = (uint16_t)(ms ? ms : CHORD_MS) };
	for (unsigned i = 0; i < n; i++)
		c->key[i] = (uint16_t)codes[i];
	if (!s->typist.deadline)
		press(s);
	return 0;
}

int input_sendkey(struct machine *m, const char *keys, unsigned ms, struct err *e)
{
	unsigned codes[CHORD_KEYS + 1], n = 0;
	char name[32];

	for (const char *p = keys; *p && n <= CHORD_KEYS;) {
		size_t len = strcspn(p, "-");

		snprintf(name, sizeof(name), "%.*s", (int)(len < 31 ? len : 31), p);
		codes[n] = input_key_code(name);
		if (!codes[n++]) {
			err_set(e, ERR_USAGE, EINVAL, "there is no key '%s'", name);
			input_key_suggest(e, name);
			return -EINVAL;
		}
		p += len;
		if (*p && !*++p)
			return err_set(e, ERR_USAGE, EINVAL, "a key is missing after '%s'", keys);
	}
	return input_type(m, codes, n, ms, e);
}
