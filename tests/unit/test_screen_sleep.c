/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Screens that sleep: when they do, what wakes them, and that no change is missed. */
#include "fake_machine.h"

#include "display.h"

#define MS 1000000ull
#define REFRESH_NS (DISPLAY_REFRESH_MS * MS)
#define IDLE_NS (DISPLAY_IDLE_MS * MS)

static struct card {
	struct screen *s;
	unsigned updates, watches;
	bool watching;
	int refuse; /* what watch returns */
	bool change; /* the next update finds something */
	bool touch_in_watch, touch_in_update, change_in_watch; /* once */
	uint64_t blink; /* half its time; 0: nothing blinks */
} card;

static void card_update(void *ctx, struct screen *s, bool all)
{
	card.updates++;
	if (card.change)
		screen_damage(s, 1, 2, 3, 4);
	card.change = false;
	if (card.touch_in_update)
		screen_touch(s);
	card.touch_in_update = false;
	if (card.blink) {
		screen_damage_timed(s, 5, 6, 7, 8);
		screen_again(s, fake.now_ns + card.blink + MS);
		screen_again(s, fake.now_ns + card.blink);
		screen_again(s, fake.now_ns + card.blink + MS);
	}
}

static int card_watch(void *ctx, bool on)
{
	ck_assert(on != card.watching);
	card.watches += on;
	if (on && card.refuse)
		return card.refuse;
	card.watching = on;
	if (on && card.change_in_watch) {
		card.change_in_watch = false;
		card.change = true;
	}
	if (on && card.touch_in_watch) {
		card.touch_in_watch = false;
		screen_touch(card.s);
	}
	return 0;
}

static const struct screen_ops ops = { .update = card_update, .watch = card_watch };
static const struct screen_ops no_watch_ops = { .update = card_update };

/* --- viewers -------------------------------------------------------------------------------- */

struct seen {
	unsigned damaged, refreshed;
	struct viewer v;
	struct viewer *leave[2]; /* when it is refreshed; when it is damaged */
};

static void on_damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct seen *seen = ctx;

	seen->damaged++;
	if (seen->leave[1])
		viewer_detach(seen->leave[1]);
}

static void on_refreshed(void *ctx)
{
	struct seen *seen = ctx;

	seen->refreshed++;
	if (seen->leave[0])
		viewer_detach(seen->leave[0]);
}

static struct seen a, b;

static void attach(struct seen *seen, bool letters)
{
	*seen = (struct seen){ .v = { .damaged = on_damaged,
				      .refreshed = on_refreshed,
				      .letters = letters,
				      .ctx = seen } };
	viewer_attach(&seen->v, card.s);
	seen->damaged = 0;
}

static void make(const struct screen_ops *with)
{
	struct err e;

	memset(&card, 0, sizeof(card));
	ck_assert_int_eq(screen_create(&fake.m, with, NULL, &card.s, &e), 0);
}

/* Until it sleeps. */
static void asleep(void)
{
	fake_advance(IDLE_NS + 2 * REFRESH_NS);
	ck_assert(card.watching);
	ck_assert_uint_eq(fake_timers_set(), 0);
	card.updates = card.watches = 0;
	a.damaged = a.refreshed = b.damaged = b.refreshed = 0;
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(sleeps_when_nothing_changes)
{
	make(&ops);
	attach(&a, false);
	fake_advance(IDLE_NS - REFRESH_NS);
	ck_assert_uint_eq(card.watches, 0);
	ck_assert_uint_eq(card.updates, 1 + (IDLE_NS - REFRESH_NS) / REFRESH_NS);
	asleep();
	fake_advance(100 * IDLE_NS);
	ck_assert_uint_eq(card.updates, 0);
	ck_assert_uint_eq(a.refreshed, 0);
	/* Who comes sees all, and it is awake for a while. */
	attach(&b, false);
	ck_assert(!card.watching);
	fake_advance(2 * REFRESH_NS);
	ck_assert_uint_eq(b.refreshed, 2);
	asleep();
	viewer_detach(&a.v);
	ck_assert(card.watching);
	viewer_detach(&b.v);
	ck_assert(!card.watching);
	screen_touch(card.s);
	ck_assert_uint_eq(fake_timers_set(), 0);
	screen_destroy(card.s);
}
END_TEST

START_TEST(a_touch_wakes_it)
{
	make(&ops);
	attach(&a, false);
	asleep();
	card.change = true;
	screen_touch(card.s);
	screen_touch(card.s);
	ck_assert_uint_eq(card.updates, 0); /* not here: any thread, locks held */
	fake_advance(0);
	ck_assert_uint_eq(card.updates, 1);
	ck_assert_uint_eq(a.damaged, 1);
	ck_assert_uint_eq(a.refreshed, 1);
	ck_assert(!card.watching);
	fake_advance(IDLE_NS - REFRESH_NS);
	ck_assert_uint_eq(card.watches, 0);
	ck_assert_uint_eq(card.updates, 1 + (IDLE_NS - REFRESH_NS) / REFRESH_NS);
	asleep();
	screen_touch(NULL);
	screen_touch(card.s);
	screen_destroy(card.s); /* the timer was set */
}
END_TEST

START_TEST(changes_keep_it_awake)
{
	make(&ops);
	attach(&a, false);
	for (unsigned i = 0; i < 20; i++) {
		card.change = true;
		fake_advance(IDLE_NS - REFRESH_NS);
	}
	ck_assert_uint_eq(card.watches, 0);
	ck_assert_uint_eq(a.damaged, 20);
	/* A screendump's look takes nothing from the viewers. */
	asleep();
	card.change = true;
	screen_refresh(card.s);
	ck_assert_uint_eq(a.damaged, 1);
	ck_assert(card.watching);
	screen_destroy(card.s);
}
END_TEST

START_TEST(cards_that_cannot_watch)
{
	make(&no_watch_ops);
	attach(&a, false);
	fake_advance(3000 * MS);
	ck_assert_uint_eq(a.refreshed, 100);
	screen_touch(card.s);
	screen_destroy(card.s);
	make(&ops);
	card.refuse = -ENOMEM;
	attach(&a, false);
	fake_advance(3000 * MS);
	ck_assert_uint_eq(a.refreshed, 100);
	ck_assert_uint_gt(card.watches, 10); /* it may be able to by now */
	screen_touch(card.s);
	card.refuse = 0;
	asleep();
	screen_destroy(card.s);
	ck_assert(!card.watching);
}
END_TEST

/* Between the look that found nothing and sleep. */
START_TEST(nothing_falls_between)
{
	make(&ops);
	attach(&a, false);
	card.touch_in_watch = true;
	fake_advance(IDLE_NS + REFRESH_NS);
	ck_assert_uint_eq(card.watches, 1);
	ck_assert(!card.watching);
	ck_assert_uint_eq(fake_timers_set(), 1);
	asleep();
	/* As the guest writes while it is looked at for the last time. */
	screen_touch(card.s);
	fake_advance(IDLE_NS - REFRESH_NS);
	card.change_in_watch = true;
	a.damaged = 0;
	fake_advance(3 * REFRESH_NS);
	ck_assert_uint_eq(a.damaged, 1);
	ck_assert(!card.watching);
	asleep();
	/* And while a cursor is drawn in its sleep. */
	card.blink = 100 * MS;
	screen_touch(card.s);
	fake_advance(IDLE_NS + 2 * REFRESH_NS);
	ck_assert(card.watching);
	card.touch_in_update = true;
	fake_advance(100 * MS);
	ck_assert(!card.watching);
	screen_destroy(card.s);
}
END_TEST

/* A guest that writes all the time where nobody looks costs no more than one that is seen. */
START_TEST(touches_without_changes)
{
	make(&ops);
	attach(&a, false);
	asleep();
	for (unsigned ms = 0; ms < 3000; ms++) {
		screen_touch(card.s);
		fake_advance(MS);
	}
	ck_assert_uint_le(card.updates, 3000 / DISPLAY_REFRESH_MS * 3 / 2);
	screen_destroy(card.s);
}
END_TEST

START_TEST(viewers_that_leave)
{
	make(&ops);
	/* The last, in the last look. */
	attach(&a, false);
	asleep();
	screen_touch(card.s);
	fake_advance(IDLE_NS);
	card.change_in_watch = true;
	a.leave[1] = &a.v;
	fake_advance(IDLE_NS);
	ck_assert_ptr_null(card.s->viewers);
	ck_assert(!card.watching);
	ck_assert_uint_eq(fake_timers_set(), 0);
	/* One throws out the other, which is the next to be told: b came later, and is first. */
	for (unsigned i = 0; i < 2; i++) {
		attach(&a, false);
		attach(&b, false);
		a.refreshed = b.refreshed = 0;
		b.leave[i] = &a.v;
		card.change = true;
		fake_advance(REFRESH_NS);
		ck_assert_ptr_null(a.v.screen);
		ck_assert_uint_eq(a.refreshed + (i ? a.damaged : 0), 0);
		ck_assert_uint_eq(b.refreshed, 1);
		viewer_detach(&b.v);
	}
	/* When a touch had set the timer. */
	attach(&a, false);
	asleep();
	screen_touch(card.s);
	viewer_detach(&a.v);
	fake_advance(IDLE_NS);
	ck_assert_uint_eq(card.updates, 0);
	ck_assert(!card.watching);
	screen_destroy(card.s);
}
END_TEST

START_TEST(what_blinks)
{
	make(&ops);
	card.blink = 100 * MS;
	attach(&a, false);
	attach(&b, true);
	/* It does not keep the screen awake; b, which blinks by itself, hears nothing of it. */
	fake_advance(IDLE_NS + 2 * REFRESH_NS);
	ck_assert(card.watching);
	ck_assert_uint_eq(fake_timers_set(), 1);
	a.damaged = a.refreshed = b.refreshed = card.updates = 0;
	fake_advance(1000 * MS);
	ck_assert_uint_eq(card.updates, 10);
	ck_assert_uint_eq(a.damaged, 10);
	ck_assert_uint_eq(a.refreshed, 10);
	ck_assert_uint_eq(b.refreshed, 0);
	ck_assert_uint_eq(b.damaged, 0);
	/* A screendump meanwhile does not make it miss the next. */
	a.damaged = 0;
	fake_advance(50 * MS);
	screen_refresh(card.s);
	fake_advance(50 * MS);
	ck_assert_uint_eq(a.damaged, 2);
	screen_touch(card.s);
	fake_advance(0);
	ck_assert_uint_eq(b.refreshed, 1);
	/* With b alone the screen sleeps for good. */
	viewer_detach(&a.v);
	asleep();
	fake_advance(100 * IDLE_NS);
	ck_assert_uint_eq(card.updates, 0);
	screen_destroy(card.s);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		sleeps_when_nothing_changes, a_touch_wakes_it,      changes_keep_it_awake,
		cards_that_cannot_watch,     nothing_falls_between, touches_without_changes,
		viewers_that_leave,          what_blinks,
	};

	return fake_main("screen_sleep", tests, sizeof(tests) / sizeof(tests[0]));
}
