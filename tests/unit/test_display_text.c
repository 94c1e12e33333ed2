/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display text: its output is read by a small terminal, keys go the other way. The chardev
 * is a fake, the screen is the test's.
 */
#include "fake_machine.h"

#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <pty.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "display.h"
#include "display_text.h"
#include "input.h"

enum { REFRESH_NS = DISPLAY_REFRESH_MS * 1000000 };

static const char *terminal_end;

void chardev_set_terminal_end(const char *text)
{
	terminal_end = text;
}

/* --- keys: "+30-30" is KEY_A pressed and released ---------------------------------------- */

static char keys[1024];

static void take_key(void *ctx, unsigned code, bool down)
{
	size_t n = strlen(keys);

	snprintf(keys + n, sizeof(keys) - n, "%c%u", down ? '+' : '-', code);
}

static struct input_device keyboard = { .name = "keyboard", .key = take_key };

/* --- the card -------------------------------------------------------------------------------- */

static struct {
	bool text, damage;
	unsigned columns, rows, cursor_x, cursor_y;
	bool cursor, blink;
	struct text_cell cell[50 * 132];
} card;

static void card_update(void *ctx, struct screen *s, bool all)
{
	if (card.damage)
		screen_damage(s, 0, 0, 1, 1);
	card.damage = false;
}

static bool card_text(void *ctx, struct text_screen *t)
{
	static const uint32_t palette[16] = { 0x000000, 0x0000aa, 0x00aa00, 0x00aaaa,
					      0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
					      0x555555, 0x5555ff, 0x55ff55, 0x55ffff,
					      0xff5555, 0xff55ff, 0xffff55, 0xffffff };

	if (!card.text)
		return false;
	t->columns = card.columns;
	t->rows = card.rows;
	t->cell = realloc(t->cell, sizeof(card.cell));
	memcpy(t->cell, card.cell, sizeof(card.cell));
	t->cursor = card.cursor;
	t->cursor_x = card.cursor_x;
	t->cursor_y = card.cursor_y;
	t->blink = card.blink;
	memcpy(t->palette, palette, sizeof(palette));
	return true;
}

static const struct screen_ops card_ops = { .update = card_update, .text = card_text };
static struct screen *screen;
static struct text_display *display;
static int master, tty;

static void put_text(unsigned x, unsigned y, const char *s, uint8_t attr)
{
	for (; *s; s++, x++)
		card.cell[y * card.columns + x] = (struct text_cell){ (uint8_t)*s, attr };
}

static void set_size(unsigned short columns, unsigned short rows)
{
	struct winsize ws = { .ws_col = columns, .ws_row = rows };

	ck_assert_int_eq(ioctl(tty, TIOCSWINSZ, &ws), 0);
}

/* --- a terminal: what it shows -------------------------------------------------------------- */

static struct {
	uint32_t ch[60][200];
	char style[60][200][48];
	char now[48];
	unsigned x, y, writes;
	bool cursor, alternate;
} vt;

static void vt_sequence(const char *params, char last)
{
	unsigned a = 1, b = 1;

	switch (last) {
	case 'H':
		sscanf(params, "%u;%u", &a, &b);
		vt.y = a - 1;
		vt.x = b - 1;
		break;
	case 'J':
		memset(vt.ch, 0, sizeof(vt.ch));
		break;
	case 'm':
		snprintf(vt.now, sizeof(vt.now), "%s", params);
		break;
	case 'h':
	case 'l':
		if (!strcmp(params, "?25"))
			vt.cursor = last == 'h';
		else if (!strcmp(params, "?1049"))
			vt.alternate = last == 'h';
		break;
	default:
		ck_abort_msg("sequence %s%c", params, last);
	}
}

/* Takes all output so far. */
static void vt_read(void)
{
	struct chardev *c = &fake.chardev[0];
	char params[64];

	for (size_t i = 0; i < c->out_n; i++) {
		uint8_t b = c->out[i];
		unsigned n = 0;

		if (b == 24)
			continue;
		if (b == 27) {
			ck_assert_uint_eq(c->out[++i], '[');
			for (i++; c->out[i] < 0x40; i++)
				params[n++] = (char)c->out[i];
			params[n] = 0;
			vt_sequence(params, (char)c->out[i]);
			continue;
		}
		ck_assert_uint_lt(vt.x, 200);
		ck_assert_uint_lt(vt.y, 60);
		vt.ch[vt.y][vt.x] = b < 0x80 ? b : b < 0xe0 ? b & 0x1f : b & 0x0f;
		for (; (c->out[i + 1] & 0xc0) == 0x80; i++)
			vt.ch[vt.y][vt.x] = vt.ch[vt.y][vt.x] << 6 | (c->out[i + 1] & 0x3f);
		strcpy(vt.style[vt.y][vt.x++], vt.now);
		vt.writes++;
	}
	c->out_n = 0;
}

static void frame(void)
{
	vt.writes = 0;
	fake_advance(REFRESH_NS);
	vt_read();
}

static void expect_text(unsigned x, unsigned y, const char *want)
{
	for (unsigned i = 0; want[i]; i++)
		ck_assert_msg(vt.ch[y][x + i] == (uint8_t)want[i], "%u,%u: %x, not %c", x + i, y,
			      vt.ch[y][x + i], want[i]);
}

static void setup(void)
{
	struct err e = { 0 };

	fake_setup();
	input_add(&fake.m, &keyboard);
	fake_advance(1);
	memset(&card, 0, sizeof(card));
	memset(&vt, 0, sizeof(vt));
	card.text = true;
	card.columns = 80;
	card.rows = 25;
	keys[0] = 0;
	for (unsigned i = 0; i < 80 * 25; i++)
		card.cell[i] = (struct text_cell){ ' ', 0x07 };
	setenv("COLORTERM", "truecolor", 1);
	ck_assert_int_eq(openpty(&master, &tty, NULL, NULL, NULL), 0);
	set_size(80, 25);
	ck_assert_int_eq(screen_create(&fake.m, &card_ops, &card, &screen, &e), 0);
	ck_assert_int_eq(text_display_create(&fake.m, NULL, &fake.chardev[0], tty, &display, &e),
			 0);
	fake.chardev[0].client->event(fake.chardev[0].ctx, CHARDEV_OPENED);
}

static void teardown(void)
{
	text_display_destroy(display);
	if (screen)
		screen_destroy(screen);
	close(master);
	close(tty);
	input_remove(&fake.m, &keyboard);
	fake_teardown();
}

/* --- what is shown ---------------------------------------------------------------------------- */

START_TEST(text_and_colours)
{
	put_text(3, 2, "Hello", 0x1e);
	put_text(0, 3, "\x01\xb0\xe9", 0x07);
	frame();
	ck_assert(vt.alternate);
	ck_assert_ptr_nonnull(strstr(terminal_end, "1049l"));
	expect_text(3, 2, "Hello ");
	ck_assert_str_eq(vt.style[2][3], "0;38;2;255;255;85;48;2;0;0;170");
	ck_assert_str_eq(vt.style[2][8], "0;38;2;170;170;170;48;2;0;0;0");
	ck_assert_uint_eq(vt.ch[3][0], 0x263a);
	ck_assert_uint_eq(vt.ch[3][1], 0x2591);
	ck_assert_uint_eq(vt.ch[3][2], 0x398);
	ck_assert(!vt.cursor);
}
END_TEST

START_TEST(only_changes_are_sent)
{
	put_text(0, 0, "abc", 0x07);
	frame();
	ck_assert_uint_eq(vt.writes, 80 * 25);
	fake_advance(REFRESH_NS);
	ck_assert_uint_eq(fake.chardev[0].out_n, 0);
	put_text(1, 0, "x", 0x07);
	frame();
	ck_assert_uint_eq(vt.writes, 1);
	expect_text(0, 0, "axc");
}
END_TEST

START_TEST(cursor_and_blinking)
{
	card.cursor = true;
	card.cursor_x = 5;
	card.cursor_y = 6;
	card.blink = true;
	put_text(0, 0, "x", 0x9f);
	frame();
	ck_assert(vt.cursor);
	ck_assert_uint_eq(vt.x, 5);
	ck_assert_uint_eq(vt.y, 6);
	ck_assert_str_eq(vt.style[0][0], "0;5;38;2;255;255;255;48;2;0;0;170");
	card.cursor_x = 7;
	frame();
	ck_assert_uint_eq(vt.writes, 0);
	ck_assert_uint_eq(vt.x, 7);
	card.cursor = card.blink = false;
	frame();
	ck_assert(!vt.cursor);
	ck_assert_str_eq(vt.style[0][0], "0;38;2;255;255;255;48;2;85;85;255");
}
END_TEST

START_TEST(the_terminal_changes_its_size)
{
	put_text(0, 24, "prompt", 0x07);
	put_text(0, 0, "first", 0x07);
	card.cursor = true;
	card.cursor_x = 6;
	card.cursor_y = 24;
	set_size(40, 10);
	frame();
	ck_assert_uint_eq(vt.writes, 400);
	expect_text(0, 9, "prompt");
	ck_assert_uint_eq(vt.x, 6);
	ck_assert_uint_eq(vt.y, 9);
	set_size(100, 30);
	frame();
	expect_text(0, 0, "first");
	expect_text(0, 24, "prompt");
	ck_assert_uint_eq(vt.ch[29][99], ' ');
	card.cursor_x = 60;
	put_text(60, 24, "!", 7);
	set_size(50, 30);
	frame();
	expect_text(49, 24, "!");
	ck_assert_uint_eq(vt.x, 49);
}
END_TEST

START_TEST(graphics_in_half_blocks)
{
	card.text = false;
	ck_assert_int_eq(screen_resize(screen, 640, 400), 0);
	for (unsigned i = 0; i < 640 * 400; i++)
		screen->surface.pixel[i] = i < 640 * 8 ? 0xff0000 : 0x0000ff;
	card.damage = true;
	frame();
	/* 80 by 50 halves; the first row of them is red. */
	ck_assert_uint_eq(vt.ch[0][0], 0x2580);
	ck_assert_str_eq(vt.style[0][0], "0;38;2;255;0;0;48;2;0;0;255");
	ck_assert_str_eq(vt.style[24][79], "0;38;2;0;0;255;48;2;0;0;255");
	fake_advance(REFRESH_NS);
	ck_assert_uint_eq(fake.chardev[0].out_n, 0);
	card.text = true;
	put_text(0, 0, "text", 0x07);
	frame();
	expect_text(0, 0, "text");
}
END_TEST

START_TEST(fewer_colours)
{
	static const struct {
		const char *term, *want;
	} terms[] = {
		{ "linux", "0;93;44" },
		{ "xterm-256color", "0;38;5;227;48;5;19" },
		{ "xterm-direct", "0;38;2;255;255;85;48;2;0;0;170" },
	};
	struct err e;

	unsetenv("COLORTERM");
	put_text(0, 0, "x", 0x1e);
	for (unsigned i = 0; i < 3; i++) {
		text_display_destroy(display);
		setenv("TERM", terms[i].term, 1);
		ck_assert_int_eq(text_display_create(&fake.m, NULL, &fake.chardev[0], tty, &display,
						     &e),
				 0);
		fake.chardev[0].client->event(fake.chardev[0].ctx, CHARDEV_OPENED);
		frame();
		ck_assert_str_eq(vt.style[0][0], terms[i].want);
	}
}
END_TEST

START_TEST(a_slow_line_drops_frames)
{
	struct chardev *c = &fake.chardev[0];
	unsigned total;

	frame();
	c->out_room = 10;
	put_text(0, 0, "one", 0x07);
	fake_advance(REFRESH_NS);
	for (unsigned i = 0; i < 100; i++) {
		put_text(0, 0, i % 2 ? "two" : "xyz", 0x07);
		fake_advance(REFRESH_NS);
	}
	ck_assert_uint_eq(c->out_n, 10);
	fake_out_room(c, SIZE_MAX);
	total = (unsigned)c->out_n;
	ck_assert_uint_lt(total, 200);
	vt_read();
	expect_text(0, 0, "one");
	frame();
	expect_text(0, 0, "two");
}
END_TEST

START_TEST(hidden_while_others_write)
{
	struct chardev *c = &fake.chardev[0];

	frame();
	c->client->event(c->ctx, CHARDEV_COVERED);
	vt_read();
	ck_assert(!vt.alternate);
	put_text(0, 0, "new", 0x07);
	frame();
	ck_assert_uint_eq(vt.writes, 0);
	c->client->event(c->ctx, CHARDEV_OPENED);
	frame();
	ck_assert(vt.alternate);
	expect_text(0, 0, "new");
	ck_assert_uint_eq(vt.writes, 80 * 25);
	/* After the help any key brings it back, and is not the guest's. */
	c->client->event(c->ctx, CHARDEV_COVERED);
	fake_in(c, "q", 1);
	fake_advance(REFRESH_NS * 10ull);
	vt_read();
	ck_assert(vt.alternate);
	ck_assert_str_eq(keys, "");
}
END_TEST

START_TEST(the_card_goes_first)
{
	screen_destroy(screen);
	screen = NULL;
	fake_advance(REFRESH_NS * 3ull);
	fake_in(&fake.chardev[0], "a", 1);
	fake_advance(REFRESH_NS * 3ull);
}
END_TEST

/* --- keys ------------------------------------------------------------------------------------- */

static void type(const char *s, size_t len, const char *want)
{
	keys[0] = 0;
	fake_in(&fake.chardev[0], s, len);
	fake_advance(1000000000);
	ck_assert_msg(!strcmp(keys, want), "got %s, wanted %s", keys, want);
}
#define TYPE(s, want) type(s, sizeof(s) - 1, want)

START_TEST(letters)
{
	TYPE("a", "+30-30");
	TYPE("A", "+42+30-30-42");
	TYPE("1!", "+2-2+42+2-2-42");
	TYPE("/?~", "+53-53+42+53-53-42+42+41-41-42");
	TYPE("\r", "+28-28");
	TYPE("\x7f", "+14-14");
	TYPE("\t", "+15-15");
	TYPE("\x03", "+29+46-46-29");
	TYPE("\x1c", "+29+43-43-29");
	TYPE("\0", "+29+57-57-29");
	TYPE("\x1bx", "+56+45-45-56");
	TYPE("\x1bX", "+42+56+45-45-56-42");
	TYPE("\x1b", "+1-1");
	TYPE("\x1b\x1b", "+1-1+1-1");
	TYPE("\xc3\xa9", "");
}
END_TEST

START_TEST(sequences)
{
	TYPE("\x1b[A\x1b[B\x1b[C\x1b[D", "+103-103+108-108+106-106+105-105");
	TYPE("\x1bOA", "+103-103");
	TYPE("\x1b[H\x1b[F", "+102-102+107-107");
	TYPE("\x1b[1~\x1b[2~\x1b[3~\x1b[4~\x1b[5~\x1b[6~",
	     "+102-102+110-110+111-111+107-107+104-104+109-109");
	TYPE("\x1bOP\x1bOS", "+59-59+62-62");
	TYPE("\x1b[15~\x1b[21~\x1b[24~", "+63-63+68-68+88-88");
	TYPE("\x1b[[A\x1b[[E", "+59-59+63-63");
	TYPE("\x1b[1;5C", "+29+106-106-29");
	TYPE("\x1b[3;3~", "+56+111-111-56");
	TYPE("\x1b[1;2P", "+42+59-59-42");
	TYPE("\x1b[Z", "+42+15-15-42");
	TYPE("\x1b[99~", "");
	TYPE("\x1b[99999999999999999999x", ""); /* too long */
}
END_TEST

START_TEST(a_sequence_in_pieces)
{
	keys[0] = 0;
	fake_in(&fake.chardev[0], "\x1b", 1);
	fake_advance(50000000);
	fake_in(&fake.chardev[0], "[", 1);
	fake_advance(50000000);
	fake_in(&fake.chardev[0], "A", 1);
	fake_advance(1000000000);
	ck_assert_str_eq(keys, "+103-103");
	keys[0] = 0;
	fake_in(&fake.chardev[0], "\x1b", 1);
	fake_advance(200000000);
	fake_in(&fake.chardev[0], "[A", 2);
	fake_advance(1000000000);
	ck_assert_str_eq(keys, "+1-1+26-26+42+30-30-42");
}
END_TEST

START_TEST(pasted_text_is_typed)
{
	char text[300];

	memset(text, 'a', sizeof(text));
	keys[0] = 0;
	fake_in(&fake.chardev[0], text, 3);
	fake_advance(1);
	ck_assert_str_eq(keys, "");
	fake_advance(8000000);
	ck_assert_str_eq(keys, "+30");
	fake_advance(8000000);
	ck_assert_str_eq(keys, "+30-30");
	fake_advance(1000000000);
	/* No more than there is room for is taken; the rest waits. */
	fake_in(&fake.chardev[0], text, 300);
	ck_assert_uint_gt(fake.chardev[0].in_n, 0);
	fake.chardev[0].accepts = 0;
	fake_advance(10000000000ull);
	ck_assert_uint_gt(fake.chardev[0].accepts, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		text_and_colours,
		only_changes_are_sent,
		cursor_and_blinking,
		the_terminal_changes_its_size,
		graphics_in_half_blocks,
		fewer_colours,
		a_slow_line_drops_frames,
		hidden_while_others_write,
		the_card_goes_first,
		letters,
		sequences,
		a_sequence_in_pieces,
		pasted_text_is_typed,
	};

	return run_tests("display_text", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
