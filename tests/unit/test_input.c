/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and movements on their way to devices, and keys by name. */
#include "fake_machine.h"

#include <linux/input-event-codes.h>
#include <stdarg.h>
#include <stdio.h>

#include "input.h"

#define MS 1000000ull

/* A device that writes down what it hears. */
struct recorder {
	struct input_device d;
	bool is_ready;
	char text[512];
};

static struct recorder kbd[2], rel, abs_;

__attribute__((format(printf, 2, 3))) static void note(struct recorder *r, const char *fmt, ...)
{
	size_t n = strlen(r->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text + n, sizeof(r->text) - n, fmt, ap);
	va_end(ap);
}

static bool ready(void *ctx)
{
	return ((struct recorder *)ctx)->is_ready;
}

static void key(void *ctx, unsigned code, bool down)
{
	note(ctx, "%c%u ", down ? '+' : '-', code);
}

static void move(void *ctx, int dx, int dy, int wheel, unsigned buttons)
{
	note(ctx, "%d,%d,%d,%u ", dx, dy, wheel, buttons);
}

static void point(void *ctx, unsigned x, unsigned y, int wheel, unsigned buttons)
{
	note(ctx, "@%u,%u,%d,%u ", x, y, wheel, buttons);
}

static void make(struct recorder *r, const char *name)
{
	*r = (struct recorder){ .d = { .name = name, .ready = ready, .ctx = r }, .is_ready = true };
}

static void add_keyboard(struct recorder *r)
{
	make(r, "keyboard");
	r->d.key = key;
	input_add(&fake.m, &r->d);
}

/* What it heard since the last time. */
static const char *heard(struct recorder *r)
{
	static char text[512];

	strcpy(text, r->text);
	r->text[0] = 0;
	return text;
}

START_TEST(keys_to_the_last_ready)
{
	input_key(&fake.m, KEY_A, true); /* nobody there */
	add_keyboard(&kbd[0]);
	input_key(&fake.m, KEY_A, true);
	input_key(&fake.m, KEY_A, true); /* repeats */
	input_key(&fake.m, KEY_A, false);
	input_key(&fake.m, KEY_A, false); /* it is up already */
	input_key(&fake.m, 0, true);
	input_key(&fake.m, KEY_CNT, true);
	input_key(&fake.m, 1u << 31, true);
	ck_assert_str_eq(heard(&kbd[0]), "+30 +30 -30 ");
	add_keyboard(&kbd[1]);
	kbd[1].is_ready = false;
	input_key(&fake.m, KEY_A, true);
	input_key(&fake.m, KEY_B, true);
	ck_assert_str_eq(heard(&kbd[0]), "+30 +48 ");
	/* Another keyboard comes into use: keys come up where they went down. */
	kbd[1].is_ready = true;
	input_key(&fake.m, KEY_C, true);
	ck_assert_str_eq(heard(&kbd[0]), "-30 -48 ");
	ck_assert_str_eq(heard(&kbd[1]), "+46 ");
	input_key(&fake.m, KEY_A, false);
	ck_assert_str_eq(heard(&kbd[1]), "");
	/* None is ready: the first may keep it. */
	kbd[0].is_ready = kbd[1].is_ready = false;
	input_key(&fake.m, KEY_D, true);
	ck_assert_str_eq(heard(&kbd[1]), "-46 ");
	ck_assert_str_eq(heard(&kbd[0]), "+32 ");
	input_remove(&fake.m, &kbd[0].d);
	input_remove(&fake.m, &kbd[0].d);
	input_release_all(&fake.m);
	ck_assert_str_eq(heard(&kbd[0]), "");
}
END_TEST

START_TEST(release_all)
{
	add_keyboard(&kbd[0]);
	make(&rel, "mouse");
	rel.d.move = move;
	input_add(&fake.m, &rel.d);
	input_key(&fake.m, KEY_LEFTSHIFT, true);
	input_key(&fake.m, KEY_A, true);
	input_move(&fake.m, 0, 0, 0, INPUT_LEFT);
	heard(&kbd[0]);
	heard(&rel);
	input_release_all(&fake.m);
	input_release_all(&fake.m);
	ck_assert_str_eq(heard(&kbd[0]), "-30 -42 ");
	ck_assert_str_eq(heard(&rel), "0,0,0,0 ");
}
END_TEST

static unsigned changes;
static bool absolute_now;

static void pointer_changed(void *ctx, bool absolute)
{
	changes++;
	absolute_now = absolute;
}

START_TEST(pointers)
{
	struct input_listener l = { .pointer_changed = pointer_changed };
	struct input_info info;

	changes = 0;
	make(&rel, "mouse");
	rel.d.move = move;
	make(&abs_, "tablet");
	abs_.d.point = point;
	abs_.is_ready = false;
	input_add(&fake.m, &rel.d);
	input_add(&fake.m, &abs_.d);
	input_listen(&fake.m, &l);
	ck_assert(!input_absolute(&fake.m));
	input_move(&fake.m, 1, -2, 3, INPUT_RIGHT);
	input_point(&fake.m, 5, 6, 1, INPUT_LEFT); /* its place is not for this one */
	ck_assert_str_eq(heard(&rel), "1,-2,3,2 0,0,1,1 ");
	abs_.is_ready = true;
	input_ready_changed(&fake.m);
	ck_assert_uint_eq(changes, 0); /* told on the loop */
	fake_advance(1);
	ck_assert_uint_eq(changes, 1);
	ck_assert(absolute_now && input_absolute(&fake.m));
	input_point(&fake.m, 100, 40000, 0, 0);
	input_move(&fake.m, 9, 9, -1, INPUT_MIDDLE);
	ck_assert_str_eq(heard(&abs_), "@100,32767,0,0 @100,32767,-1,4 ");
	ck_assert_uint_eq(input_buttons(&fake.m), INPUT_MIDDLE);
	ck_assert(input_each(&fake.m, 0, &info));
	ck_assert_str_eq(info.name, "tablet");
	ck_assert(info.current && info.absolute);
	ck_assert(input_each(&fake.m, 1, &info));
	ck_assert(!info.current && !info.absolute);
	ck_assert(!input_each(&fake.m, 2, &info));
	input_unlisten(&fake.m, &l);
	input_unlisten(&fake.m, &l);
	input_remove(&fake.m, &abs_.d);
	fake_advance(1);
	ck_assert_uint_eq(changes, 1);
}
END_TEST

START_TEST(sendkey)
{
	struct err e;

	ck_assert_int_eq(input_sendkey(&fake.m, "a", 0, &e), -ENODEV);
	add_keyboard(&kbd[0]);
	ck_assert_int_eq(input_sendkey(&fake.m, "ctrl-alt-delete", 50, &e), 0);
	ck_assert_str_eq(heard(&kbd[0]), "+29 +56 +111 ");
	ck_assert_int_eq(input_sendkey(&fake.m, "shift-minus", 0, &e), 0);
	fake_advance(49 * MS);
	ck_assert_str_eq(heard(&kbd[0]), "");
	fake_advance(1 * MS);
	ck_assert_str_eq(heard(&kbd[0]), "-111 -56 -29 ");
	fake_advance(20 * MS);
	ck_assert_str_eq(heard(&kbd[0]), "+42 +12 ");
	fake_advance(100 * MS);
	ck_assert_str_eq(heard(&kbd[0]), "-12 -42 ");
	fake_advance(1000 * MS);
	ck_assert_str_eq(heard(&kbd[0]), "");
	ck_assert_int_eq(input_sendkey(&fake.m, "0x1e-0xe-0xc8", 1, &e), 0);
	fake_advance(1000 * MS);
	ck_assert_str_eq(heard(&kbd[0]), "+30 +14 +103 -103 -14 -30 ");
}
END_TEST

START_TEST(sendkey_errors)
{
	struct err e = { 0 };

	add_keyboard(&kbd[0]);
	ck_assert_int_eq(input_sendkey(&fake.m, "ctrl-escpe", 0, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "'escpe'"));
	ck_assert_ptr_nonnull(strstr(e.hint, "'esc"));
	ck_assert_int_eq(input_sendkey(&fake.m, "", 0, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "-", 0, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "a-", 0, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "a--b", 0, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "0x0", 0, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "0x1ee", 0, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "0x1ez", 0, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "a", 60001, &e), -EINVAL);
	ck_assert_int_eq(input_sendkey(&fake.m, "a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q", 0, &e),
			 -E2BIG);
	ck_assert_int_eq(input_sendkey(&fake.m,
				       "a-very-long-name-that-is-longer-than-any-key-has-"
				       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
				       0, &e),
			 -EINVAL);
	ck_assert_str_eq(heard(&kbd[0]), "");
	for (unsigned i = 0; i < 256; i++)
		ck_assert_int_eq(input_sendkey(&fake.m, "a", 1, &e), 0);
	ck_assert_int_eq(input_sendkey(&fake.m, "a", 1, &e), -EAGAIN);
	fake_advance(30 * MS);
	ck_assert_int_eq(input_sendkey(&fake.m, "a", 1, &e), 0);
}
END_TEST

START_TEST(names)
{
	ck_assert_uint_eq(input_key_code("a"), KEY_A);
	ck_assert_uint_eq(input_key_code("9"), KEY_9);
	ck_assert_uint_eq(input_key_code("f24"), KEY_F24);
	ck_assert_uint_eq(input_key_code("ret"), KEY_ENTER);
	ck_assert_uint_eq(input_key_code("kp_0"), KEY_KP0);
	ck_assert_uint_eq(input_key_code("less"), KEY_102ND);
	ck_assert_uint_eq(input_key_code("0xb8"), KEY_RIGHTALT);
	ck_assert_uint_eq(input_key_code("A"), 0);
	ck_assert_uint_eq(input_key_code(""), 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		keys_to_the_last_ready, release_all, pointers, sendkey, sendkey_errors, names,
	};

	return fake_main("input", tests, sizeof(tests) / sizeof(tests[0]));
}
