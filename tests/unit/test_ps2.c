/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PS/2 keyboard and mouse: what they answer, and what keys and movements become. */
#include "suite.h"

#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>

#include "input.h"
#include "../../hw/input/ps2.h"
#include "../../hw/input/ps2_keys.h"

static struct ps2_keyboard k;
static struct ps2_mouse m;

static void setup(void)
{
	ps2_keyboard_power_on(&k);
	ps2_mouse_power_on(&m);
}

static void teardown(void)
{
}

/* All that a device has to say, as hexadecimal text. */
static const char *keys(void)
{
	static char text[1024];
	size_t n = 0;

	text[0] = 0;
	while (ps2_keyboard_waits(&k))
		n += (size_t)sprintf(text + n, "%s%02x", n ? " " : "", ps2_keyboard_take(&k));
	return text;
}

static const char *mouse(void)
{
	static char text[4096];
	size_t n = 0;

	text[0] = 0;
	while (ps2_mouse_waits(&m)) {
		n += (size_t)sprintf(text + n, "%s%02x", n ? " " : "", ps2_mouse_take(&m));
		ck_assert_uint_lt(n, sizeof(text) - 8);
	}
	return text;
}

#define ck_keys(expected) ck_assert_str_eq(keys(), expected)
#define ck_mouse(expected) ck_assert_str_eq(mouse(), expected)

static void stroke(unsigned code)
{
	ps2_keyboard_key(&k, code, true);
	ps2_keyboard_key(&k, code, false);
}

static void set(uint8_t scan_set)
{
	ps2_keyboard_write(&k, 0xf0);
	ps2_keyboard_write(&k, scan_set);
	keys();
}

/* --- keyboard --------------------------------------------------------------------- */

START_TEST(scan_codes)
{
	static const struct {
		unsigned key;
		const char *set1, *set2, *set3;
	} rows[] = {
		{ KEY_ESC, "01 81", "76 f0 76", "08 f0 08" },
		{ KEY_A, "1e 9e", "1c f0 1c", "1c f0 1c" },
		{ KEY_BACKSLASH, "2b ab", "5d f0 5d", "5c f0 5c" },
		{ KEY_102ND, "56 d6", "61 f0 61", "13 f0 13" },
		{ KEY_LEFTCTRL, "1d 9d", "14 f0 14", "11 f0 11" },
		{ KEY_CAPSLOCK, "3a ba", "58 f0 58", "14 f0 14" },
		{ KEY_F7, "41 c1", "83 f0 83", "37 f0 37" },
		{ KEY_F12, "58 d8", "07 f0 07", "5e f0 5e" },
		{ KEY_KPENTER, "e0 1c e0 9c", "e0 5a e0 f0 5a", "79 f0 79" },
		{ KEY_KPMINUS, "4a ca", "7b f0 7b", "84 f0 84" },
		{ KEY_RIGHTALT, "e0 38 e0 b8", "e0 11 e0 f0 11", "39 f0 39" },
		{ KEY_DELETE, "e0 53 e0 d3", "e0 71 e0 f0 71", "64 f0 64" },
		{ KEY_LEFTMETA, "e0 5b e0 db", "e0 1f e0 f0 1f", "8b f0 8b" },
		{ KEY_MUTE, "e0 20 e0 a0", "e0 23 e0 f0 23", "" },
		{ KEY_YEN, "7d fd", "6a f0 6a", "5d f0 5d" },
		{ KEY_SYSRQ, "e0 2a e0 37 e0 b7 e0 aa", "e0 12 e0 7c e0 f0 7c e0 f0 12",
		  "57 f0 57" },
		{ KEY_PAUSE, "e1 1d 45 e1 9d c5", "e1 14 77 e1 f0 14 f0 77", "62 f0 62" },
		{ 0, "", "", "" },
		{ KEY_MAX, "", "", "" },
		{ 100000, "", "", "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set(1);
		stroke(rows[i].key);
		ck_keys(rows[i].set1);
		set(2);
		stroke(rows[i].key);
		ck_keys(rows[i].set2);
		set(3);
		stroke(rows[i].key);
		ck_keys(rows[i].set3);
	}
}
END_TEST

/* What the controller makes of set 2 are Linux's own numbers, for the keys of an old keyboard. */
START_TEST(translation)
{
	for (unsigned key = KEY_ESC; key <= KEY_F12; key++) {
		struct ps2_code c = ps2_code(key);

		if (!c.set2 || c.set2 >> 8)
			continue;
		ck_assert_uint_eq(ps2_translate((uint8_t)c.set2), key);
	}
	ck_assert_uint_eq(ps2_translate(0xe0), 0xe0);
	ck_assert_uint_eq(ps2_translate(0xfa), 0xfa);
	/* No two keys share a code. */
	for (unsigned a = 1; a < KEY_CNT; a++)
		for (unsigned b = a + 1; b < KEY_CNT; b++) {
			struct ps2_code x = ps2_code(a), y = ps2_code(b);

			ck_assert(!x.set2 || x.set2 != y.set2);
			ck_assert(!x.set3 || x.set3 != y.set3);
		}
}
END_TEST

START_TEST(with_modifiers)
{
	ps2_keyboard_key(&k, KEY_RIGHTCTRL, true);
	keys();
	stroke(KEY_PAUSE);
	ck_keys("e0 7e e0 f0 7e"); /* Break */
	stroke(KEY_SYSRQ);
	ck_keys("e0 7c e0 f0 7c");
	ps2_keyboard_key(&k, KEY_RIGHTCTRL, false);
	ps2_keyboard_key(&k, KEY_LEFTALT, true);
	keys();
	stroke(KEY_SYSRQ);
	ck_keys("84 f0 84");
	ps2_keyboard_key(&k, KEY_LEFTALT, false);
	keys();
	stroke(KEY_SYSRQ);
	ck_keys("e0 12 e0 7c e0 f0 7c e0 f0 12");
}
END_TEST

START_TEST(commands_and_keys)
{
	stroke(KEY_A);
	ps2_keyboard_write(&k, 0xed); /* lamps: typed keys stay, behind the answer */
	ck_assert_uint_eq(ps2_keyboard_take(&k), 0xfa);
	ps2_keyboard_write(&k, 0x05);
	ck_keys("fa 1c f0 1c");
	ck_assert_uint_eq(k.leds, INPUT_LED_SCROLL | INPUT_LED_CAPS);
	ps2_keyboard_write(&k, 0xf3);
	ps2_keyboard_write(&k, 0x7f);
	ck_keys("fa");
	ck_assert_uint_eq(k.rate, 0x7f);
	/* Default and disable: the buffer is emptied, and keys are not looked at. */
	set(1);
	stroke(KEY_A);
	ps2_keyboard_write(&k, 0xf5);
	stroke(KEY_B);
	ck_keys("fa");
	ck_assert_uint_eq(k.scan_set, 2);
	ps2_keyboard_write(&k, 0xf4);
	stroke(KEY_B);
	ck_keys("fa 32 f0 32");
	/* Keys of set 3, one after the other, until another command. */
	ps2_keyboard_write(&k, 0xfc);
	ps2_keyboard_write(&k, 0x1c);
	ck_keys("fa");
	ps2_keyboard_write(&k, 0x1d);
	ck_keys("fa");
	ps2_keyboard_write(&k, 0xf2);
	ck_keys("fa ab 83");
	ps2_keyboard_write(&k, 0x1c);
	ck_keys("fe");
	ps2_keyboard_write(&k, 0xff);
	ck_keys("fa aa");
	ck_assert_uint_eq(k.leds, 0);
}
END_TEST

START_TEST(overrun)
{
	const char *all;
	unsigned down[KEY_CNT] = { 0 }, seen = 0;

	/* Nobody reads: then an overrun code, and keys that are down still come up. */
	for (unsigned key = KEY_1; key <= KEY_F10; key++)
		ps2_keyboard_key(&k, key, true);
	for (unsigned key = KEY_1; key <= KEY_F10; key++)
		ps2_keyboard_key(&k, key, false);
	for (unsigned i = 0; i < 1000; i++)
		stroke(KEY_PAUSE);
	all = keys();
	ck_assert_uint_le(strlen(all) / 3 + 1, PS2_BYTES);
	ck_assert_ptr_nonnull(strstr(all, " 00"));
	ck_assert_ptr_null(strstr(strstr(all, " 00") + 1, " 00")); /* said once */
	stroke(KEY_A);
	ck_keys("1c f0 1c");
	/* In set 1 the code is another. */
	set(1);
	for (unsigned i = 0; i < 100; i++)
		stroke(KEY_A);
	ck_assert_ptr_nonnull(strstr(keys(), "ff"));
	/* Whatever went down comes up, with ten fingers. */
	set(2);
	for (unsigned i = 0; i < 1000; i++)
		ps2_keyboard_key(&k, KEY_1 + i % 10, true);
	for (unsigned i = 0; i < 10; i++)
		ps2_keyboard_key(&k, KEY_1 + i, false);
	while (ps2_keyboard_waits(&k)) {
		uint8_t b = ps2_keyboard_take(&k);
		bool up = b == 0xf0;

		if (up)
			b = ps2_keyboard_take(&k);
		down[b] = !up;
		seen++;
	}
	ck_assert_uint_gt(seen, 20);
	for (unsigned i = 0; i < KEY_CNT; i++)
		ck_assert(!down[i] || i == 0);
}
END_TEST

START_TEST(repeats)
{
	static const struct {
		uint8_t rate;
		uint64_t delay_ms, period_us;
	} rows[] = {
		{ 0x00, 250, 33333 },
		{ 0x2b, 500, 91666 }, /* as at power-on */
		{ 0x5f, 750, 500000 },
		{ 0x74, 1000, 200000 },
	};

	ck_assert_uint_eq(ps2_keyboard_repeat_ns(&k) / 1000000, 500);
	for (unsigned i = 0; i < 4; i++) {
		ps2_keyboard_write(&k, 0xf3);
		ps2_keyboard_write(&k, rows[i].rate);
		ck_keys("fa");
		ps2_keyboard_key(&k, KEY_RIGHT, true);
		ck_assert_uint_eq(k.held, KEY_RIGHT);
		ck_assert_uint_eq(ps2_keyboard_repeat_ns(&k), rows[i].delay_ms * 1000000);
		ck_keys("e0 74");
		for (unsigned j = 0; j < 2; j++) {
			ps2_keyboard_repeat(&k);
			ck_assert_uint_eq(ps2_keyboard_repeat_ns(&k) / 1000, rows[i].period_us);
			ck_keys("e0 74");
		}
		/* Whoever presses it repeats it as well. */
		ps2_keyboard_key(&k, KEY_RIGHT, true);
		ck_keys("");
		ps2_keyboard_key(&k, KEY_RIGHT, false);
		ck_assert_uint_eq(k.held, 0);
		ck_keys("e0 f0 74");
	}
	/* The last one pressed; when another comes up it goes on. */
	ps2_keyboard_key(&k, KEY_A, true);
	ps2_keyboard_repeat(&k);
	ps2_keyboard_key(&k, KEY_B, true);
	ck_assert_uint_eq(k.held, KEY_B);
	ck_assert(!k.repeating);
	ps2_keyboard_key(&k, KEY_A, false);
	ck_assert_uint_eq(k.held, KEY_B);
	ps2_keyboard_key(&k, KEY_A, true);
	ps2_keyboard_key(&k, KEY_A, false);
	ck_assert_uint_eq(k.held, 0); /* B is down, and has ceased */
	keys();
	/* A guest that does not listen gets one, whatever the time. */
	ps2_keyboard_key(&k, KEY_A, true);
	keys();
	for (unsigned i = 0; i < 1000; i++)
		ps2_keyboard_repeat(&k);
	ck_keys("1c");
	/* The shift that goes with Print Screen is sent once; Pause does not repeat. */
	ps2_keyboard_key(&k, KEY_SYSRQ, true);
	ck_keys("e0 12 e0 7c");
	ps2_keyboard_repeat(&k);
	ck_keys("e0 7c");
	ps2_keyboard_key(&k, KEY_PAUSE, true);
	ck_assert_uint_eq(k.held, 0);
	keys();
	/* Commands that empty the buffer end it. */
	static const uint8_t commands[] = { 0xf4, 0xf6, 0xff, 0xf5 };
	for (unsigned i = 0; i < sizeof(commands); i++) {
		ps2_keyboard_key(&k, KEY_A, true);
		ck_assert_uint_eq(k.held, KEY_A);
		ps2_keyboard_write(&k, commands[i]);
		ck_assert_uint_eq(k.held, 0);
		ps2_keyboard_key(&k, KEY_A, false);
		keys();
	}
	ps2_keyboard_key(&k, KEY_A, true); /* disabled */
	ck_assert_uint_eq(k.held, 0);
}
END_TEST

/* --- mouse ------------------------------------------------------------------------ */

static void tell(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		ps2_mouse_write(&m, bytes[i]);
		if (i < n - 1)
			mouse();
	}
}
#define TELL(...) tell((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

START_TEST(mouse_commands)
{
	TELL(0xff);
	ck_mouse("fa aa 00");
	TELL(0xf2);
	ck_mouse("fa 00");
	TELL(0xe9);
	ck_mouse("fa 00 02 64"); /* stream mode, off, 4 counts a mm, 100 a second */
	TELL(0xe8, 0x03);
	ck_mouse("fa");
	TELL(0xf3, 40);
	ck_mouse("fa");
	TELL(0xe7);
	TELL(0xf4);
	TELL(0xe9);
	ck_mouse("fa 30 03 28");
	TELL(0xf0);
	TELL(0xe9);
	ck_mouse("fa 70 03 28");
	TELL(0xea);
	TELL(0xe6);
	TELL(0xf5);
	TELL(0xe9);
	ck_mouse("fa 00 03 28");
	TELL(0xfe);
	ck_mouse("fa 00 03 28");
	TELL(0xf6);
	TELL(0xe9);
	ck_mouse("fa 00 02 64");
	TELL(0x12);
	ck_mouse("fe");
	/* Everything comes back, but for the end of it. */
	TELL(0xee);
	ck_mouse("fa");
	TELL(0xf2);
	ck_mouse("f2");
	TELL(0xe9);
	ck_mouse("e9");
	TELL(0xec);
	ck_mouse("fa");
	TELL(0xf2);
	ck_mouse("fa 00");
}
END_TEST

START_TEST(mouse_kinds)
{
	TELL(0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2);
	ck_mouse("fa 00"); /* not without a wheel first */
	TELL(0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2);
	ck_mouse("fa 03");
	TELL(0xf4);
	mouse();
	ps2_mouse_move(&m, 0, 0, 1, INPUT_SIDE);
	ck_mouse("08 00 00 ff"); /* away from the user; no fourth button here */
	TELL(0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2);
	ck_mouse("fa 04");
	ps2_mouse_move(&m, 0, 0, -2, INPUT_SIDE | INPUT_EXTRA | INPUT_LEFT);
	ck_mouse("09 00 00 32");
	ps2_mouse_move(&m, 0, 0, 10, 0);
	ck_mouse("08 00 00 09 08 00 00 0d"); /* in two packets */
	TELL(0xff);
	mouse();
	TELL(0xf2);
	ck_mouse("fa 00");
}
END_TEST

START_TEST(mouse_packets)
{
	ps2_mouse_move(&m, 1, 1, 0, 0);
	ck_mouse("");
	TELL(0xf4);
	ck_mouse("fa");
	ps2_mouse_move(&m, 0, 0, 0, 0);
	ck_mouse("");
	ps2_mouse_move(&m, 5, 3, 0, INPUT_LEFT);
	ck_mouse("29 05 fd"); /* up is positive there */
	ps2_mouse_move(&m, -5, -3, 0, INPUT_RIGHT | INPUT_MIDDLE);
	ck_mouse("1e fb 03");
	ps2_mouse_move(&m, 0, 0, 0, 0);
	ck_mouse("08 00 00");
	/* While nobody reads, movements add up; clicks stay apart. */
	ps2_mouse_move(&m, 1, 0, 0, 0);
	ps2_mouse_move(&m, 1, 2, 0, 0);
	ps2_mouse_move(&m, 0, 0, 0, INPUT_LEFT);
	ps2_mouse_move(&m, 0, 0, 0, 0);
	ps2_mouse_move(&m, 4, 0, 0, 0);
	ck_mouse("28 02 fe 09 00 00 08 04 00");
	/* More than fits. */
	ps2_mouse_move(&m, 600, -300, 0, 0);
	ck_mouse("08 ff ff 08 ff 2d 08 5a 00");
	ps2_mouse_move(&m, INT32_MIN, 0, 0, 0);
	ps2_mouse_move(&m, INT32_MIN, 0, 0, 0);
	ck_assert(ps2_mouse_waits(&m));
	ck_assert_uint_eq(ps2_mouse_take(&m), 0x18);
	TELL(0xf4); /* forgets what was to come */
	ck_assert_uint_eq(ps2_mouse_take(&m), 0xfa);
	/* Scaling is for streams only. */
	TELL(0xe7);
	mouse();
	ps2_mouse_move(&m, 4, -7, 0, 0);
	ck_mouse("08 06 0e");
	TELL(0xf0);
	mouse();
	ps2_mouse_move(&m, 4, 0, 0, 0);
	ck_mouse(""); /* asked for only */
	TELL(0xeb);
	ck_mouse("fa 08 04 00");
	TELL(0xeb);
	ck_mouse("fa 08 00 00");
}
END_TEST

START_TEST(mouse_clicks)
{
	unsigned downs = 0;
	uint8_t b;

	TELL(0xf4);
	mouse();
	for (unsigned i = 0; i < 15; i++) {
		ps2_mouse_move(&m, 1, 0, 0, INPUT_LEFT);
		ps2_mouse_move(&m, 1, 0, 0, 0);
	}
	while (ps2_mouse_waits(&m)) {
		b = ps2_mouse_take(&m);
		downs += b & 1;
		ps2_mouse_take(&m);
		ps2_mouse_take(&m);
	}
	ck_assert_uint_eq(downs, 15);
	/* Beyond what it keeps, the last state counts. */
	for (unsigned i = 0; i < 1000; i++)
		ps2_mouse_move(&m, 0, 0, 0, i & 1 ? INPUT_LEFT : INPUT_RIGHT);
	b = 0;
	while (ps2_mouse_waits(&m)) {
		b = ps2_mouse_take(&m);
		ps2_mouse_take(&m);
		ps2_mouse_take(&m);
	}
	ck_assert_uint_eq(b, 0x09);
	/* A command in the middle of a packet cuts it off; the buttons are told again. */
	ps2_mouse_move(&m, 0, 0, 0, INPUT_MIDDLE);
	ck_assert(ps2_mouse_waits(&m));
	ps2_mouse_take(&m);
	TELL(0xe9);
	ck_mouse("fa 22 02 64 0c 00 00");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		scan_codes,     translation, with_modifiers, commands_and_keys, overrun,
		mouse_commands, mouse_kinds, mouse_packets,  mouse_clicks,      repeats,
	};

	return run_tests("ps2", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
