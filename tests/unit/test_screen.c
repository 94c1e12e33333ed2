/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Screens: a card on one side, viewers on the other, and files of what is shown. */
#include "fake_machine.h"

#include <stdio.h>

#include "display.h"

enum { REFRESH_NS = DISPLAY_REFRESH_MS * 1000000 };

static struct card {
	unsigned updates;
	bool change;
} card;

static void card_update(void *ctx, struct screen *s, bool all)
{
	struct card *c = ctx;

	c->updates++;
	if (c->change)
		screen_damage(s, 1, 2, 3, 4);
}

static const struct screen_ops card_ops = { .update = card_update };

struct seen {
	unsigned resized, damaged, refreshed, width, height, x, y;
	struct viewer v;
	struct viewer *leave;
};

static void on_resized(void *ctx, const struct surface *s)
{
	struct seen *seen = ctx;

	seen->resized++;
	seen->width = s->width;
	seen->height = s->height;
}

static void on_damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct seen *seen = ctx;

	seen->damaged++;
	seen->x = x;
	seen->y = y;
}

static void on_refreshed(void *ctx)
{
	struct seen *seen = ctx;

	seen->refreshed++;
	if (seen->leave)
		viewer_detach(seen->leave);
}

static struct screen *make(void)
{
	struct screen *s;
	struct err e;

	card = (struct card){ 0 };
	ck_assert_int_eq(screen_create(&fake.m, &card_ops, &card, &s, &e), 0);
	return s;
}

static void watch(struct seen *seen, struct screen *s)
{
	*seen = (struct seen){ .v = { .resized = on_resized,
				      .damaged = on_damaged,
				      .refreshed = on_refreshed,
				      .ctx = seen } };
	viewer_attach(&seen->v, s);
}

START_TEST(nothing_is_drawn_while_nobody_looks)
{
	struct screen *s = make();
	struct seen a;

	ck_assert_ptr_eq(screen_first(&fake.m), s);
	fake_advance(10ull * REFRESH_NS);
	ck_assert_uint_eq(card.updates, 0);
	ck_assert_uint_eq(fake_timers_set(), 0);
	watch(&a, s);
	card.updates = 0;
	fake_advance(10ull * REFRESH_NS);
	ck_assert_uint_eq(card.updates, 10);
	ck_assert_uint_eq(a.refreshed, 10);
	viewer_detach(&a.v);
	viewer_detach(&a.v);
	ck_assert_uint_eq(fake_timers_set(), 0);
	screen_refresh(s);
	ck_assert_uint_eq(card.updates, 11);
	screen_destroy(s);
	ck_assert_ptr_null(screen_first(&fake.m));
}
END_TEST

START_TEST(viewers_hear_of_changes)
{
	struct screen *s = make();
	struct seen a, b;

	watch(&a, s);
	ck_assert_uint_eq(a.resized, 1);
	ck_assert_uint_eq(a.damaged, 1);
	watch(&b, s);
	ck_assert_uint_eq(b.damaged, 1);
	ck_assert_int_eq(screen_resize(s, 1024, 768), 0);
	ck_assert_uint_eq(a.width, 1024);
	ck_assert_uint_eq(b.height, 768);
	card.change = true;
	fake_advance(REFRESH_NS);
	ck_assert_uint_eq(a.damaged, 2);
	ck_assert_uint_eq(b.damaged, 2);
	ck_assert_uint_eq(b.x, 1);
	ck_assert_uint_eq(b.y, 2);
	/* One that leaves while it is told. */
	a.leave = &a.v;
	b.leave = &b.v;
	fake_advance(REFRESH_NS);
	ck_assert_ptr_null(s->viewers);
	ck_assert_uint_eq(fake_timers_set(), 0);
	screen_destroy(s);
}
END_TEST

START_TEST(impossible_sizes)
{
	struct screen *s = make();

	ck_assert_int_eq(screen_resize(s, 0, 10), -EINVAL);
	ck_assert_int_eq(screen_resize(s, 10, DISPLAY_MAX_SIDE + 1), -EINVAL);
	ck_assert_int_eq(screen_resize(s, DISPLAY_MAX_SIDE, DISPLAY_MAX_SIDE), -EINVAL);
	ck_assert_uint_eq(s->surface.width, 720);
	screen_destroy(s);
}
END_TEST

START_TEST(a_card_that_goes_leaves_its_viewers)
{
	struct screen *s = make();
	struct seen a;

	watch(&a, s);
	screen_destroy(s);
	ck_assert_ptr_null(a.v.screen);
	ck_assert_uint_eq(a.damaged, 2);
	viewer_detach(&a.v);
}
END_TEST

START_TEST(files)
{
	char path[] = "/tmp/test_screen_XXXXXX", buf[64];
	struct screen *s = make();
	struct err e = { 0 };
	FILE *f;

	close(mkstemp(path));
	ck_assert_int_eq(screen_resize(s, 2, 1), 0);
	s->surface.pixel[0] = 0x010203;
	s->surface.pixel[1] = 0xa0b0c0;
	ck_assert_int_eq(surface_write(&s->surface, path, NULL, &e), 0);
	f = fopen(path, "r");
	ck_assert_uint_eq(fread(buf, 1, sizeof(buf), f), 17);
	ck_assert(!memcmp(buf, "P6\n2 1\n255\n\x01\x02\x03\xa0\xb0\xc0", 17));
	fclose(f);
	ck_assert_int_eq(surface_write(&s->surface, path, "png", &e), 0);
	f = fopen(path, "r");
	ck_assert_uint_gt(fread(buf, 1, sizeof(buf), f), 40);
	ck_assert(!memcmp(buf, "\x89PNG\r\n\x1a\n", 8));
	fclose(f);
	unlink(path);
	ck_assert_int_eq(surface_write(&s->surface, "/nonexistent/x.png", NULL, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "/nonexistent/x.png"));
	if (!access("/dev/full", W_OK)) {
		ck_assert_int_eq(surface_write(&s->surface, "/dev/full", "png", &e), -ENOSPC);
		ck_assert_int_eq(surface_write(&s->surface, "/dev/full", "ppm", &e), -ENOSPC);
	}
	screen_destroy(s);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		nothing_is_drawn_while_nobody_looks,
		viewers_hear_of_changes,
		impossible_sizes,
		a_card_that_goes_leaves_its_viewers,
		files,
	};

	return fake_main("screen", tests, sizeof(tests) / sizeof(tests[0]));
}
