/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VGA shows: its modes compared with small expected pictures, and no more drawn than
 * changed. */
#include "vga_guest.h"

enum { WINDOW = 0xa0000, TEXT = 0xb8000 };
/* Halves of a blinking cursor's and of blinking characters' time. */
#define CURSOR_NS 228000000ull
#define BLINK_NS 456000000ull

static void setup(void)
{
	fake_setup();
	fake.now_ns = 0;
	memset(slots, 0, sizeof(slots));
	vga_board("");
}

static void teardown(void)
{
	vga_board_end();
	fake_teardown();
}

/* --- text ------------------------------------------------------------------------------------ */

/* A character whose lines are 0x80, 0x01, 0x55 and then 0xaa. */
static const uint8_t pattern[32] = { 0x80, 0x01, 0x55, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
				     0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa };
static const uint8_t solid[32] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
				   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* A text screen of blanks; characters 1 and 0xc4 are the pattern, 2 is solid. Cursor off. */
static void text_mode(void)
{
	set_mode(&mode_3);
	load_glyph(0, 1, pattern);
	load_glyph(0, 0xc1, pattern);
	load_glyph(0, 2, solid);
	put(CRTC, 0x0a, 0x20);
	for (unsigned i = 0; i < 80 * 25; i++) {
		poke(TEXT + 2 * i, 0);
		poke(TEXT + 2 * i + 1, 0x07);
	}
	update();
}

static void put_cell(unsigned column, unsigned row, uint8_t ch, uint8_t attr)
{
	poke(TEXT + 2 * (row * 80 + column), ch);
	poke(TEXT + 2 * (row * 80 + column) + 1, attr);
}

/* A line of pixels as a string: '#' for fg, '.' for bg. */
static void expect_line(unsigned x, unsigned y, const char *want, uint32_t fg, uint32_t bg)
{
	for (unsigned i = 0; want[i]; i++)
		ck_assert_msg(pixel(x + i, y) == (want[i] == '#' ? fg : bg),
			      "%u,%u is %06x, wanted %c", x + i, y, pixel(x + i, y), want[i]);
}

START_TEST(text_is_drawn)
{
	text_mode();
	ck_assert_uint_eq(surface->width, 720);
	ck_assert_uint_eq(surface->height, 400);
	put_cell(3, 2, 1, 0x1e);
	update();
	expect_line(27, 32, "#........", colour16(14), colour16(1));
	expect_line(27, 33, ".......#.", colour16(14), colour16(1));
	expect_line(27, 34, ".#.#.#.#.", colour16(14), colour16(1));
	expect_line(27, 47, "#.#.#.#..", colour16(14), colour16(1));
	expect_line(26, 33, ".", 0, colour16(0));
	expect_line(36, 33, ".", 0, colour16(0));
	/* The ninth column of line graphics repeats the eighth. */
	put_cell(3, 2, 0xc1, 0x1e);
	update();
	expect_line(27, 33, ".......##", colour16(14), colour16(1));
	expect_line(27, 47, "#.#.#.#..", colour16(14), colour16(1));
	put_attr(0x10, 0x08);
	update();
	expect_line(27, 33, ".......#.", colour16(14), colour16(1));
}
END_TEST

START_TEST(eight_dots_a_character)
{
	text_mode();
	put(SEQ, 1, 1);
	put_attr(0x13, 0);
	put_cell(3, 2, 1, 0x1e);
	update();
	ck_assert_uint_eq(surface->width, 640);
	expect_line(24, 33, ".......#", colour16(14), colour16(1));
	/* 40 columns, twice as wide. */
	put(SEQ, 1, 9);
	put(CRTC, 0x11, 0);
	put(CRTC, 1, 39);
	update();
	ck_assert_uint_eq(surface->width, 640);
	put_cell(3, 0, 1, 0x1e);
	update();
	expect_line(48, 0, "##..............", colour16(14), colour16(1));
	expect_line(48, 1, "..............##", colour16(14), colour16(1));
}
END_TEST

START_TEST(only_changed_cells_are_drawn)
{
	const struct seen *s;

	text_mode();
	s = update();
	ck_assert_uint_eq(s->damages, 0);
	put_cell(10, 5, 2, 0x07);
	s = update();
	ck_assert_uint_eq(s->damages, 1);
	ck_assert_uint_eq(s->x, 90);
	ck_assert_uint_eq(s->y, 80);
	ck_assert_uint_eq(s->width, 9);
	ck_assert_uint_eq(s->height, 16);
	put_cell(10, 5, 2, 0x07); /* the same again */
	s = update();
	ck_assert_uint_eq(s->damages, 0);
	/* Registers that stay as they are change nothing. */
	set_mode(&mode_3);
	put(CRTC, 0x0a, 0x20);
	update();
	put(CRTC, 0x13, 0x28);
	set_palette();
	ck_assert_uint_eq(update()->damages, 0);
	put_attr(0, 1);
	ck_assert_uint_eq(update()->pixels, 720 * 400);
}
END_TEST

START_TEST(palette_and_blank)
{
	text_mode();
	put_cell(0, 0, 2, 0x04);
	update();
	ck_assert_uint_eq(pixel(0, 0), dac_rgb(4));
	outb(0x3c8, 4);
	outb(0x3c9, 63);
	outb(0x3c9, 32);
	outb(0x3c9, 0);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0xff8200);
	put(SEQ, 1, 0x20);
	ck_assert_uint_eq(update()->pixels, 720 * 400);
	ck_assert_uint_eq(pixel(0, 0), 0);
	ck_assert_uint_eq(update()->pixels, 0);
	put(SEQ, 1, 0);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0xff8200);
}
END_TEST

START_TEST(cursor_blinks)
{
	const struct seen *s;

	text_mode();
	put(CRTC, 0x0a, 13);
	put(CRTC, 0x0b, 14);
	put(CRTC, 0x0e, 0);
	put(CRTC, 0x0f, 81);
	s = update();
	ck_assert_uint_eq(s->damages, 1);
	ck_assert_uint_eq(s->x, 9);
	ck_assert_uint_eq(s->y, 16);
	ck_assert_uint_eq(s->width, 9);
	expect_line(9, 28, ".........", colour16(7), colour16(0));
	expect_line(9, 29, "#########", colour16(7), colour16(0));
	expect_line(9, 30, "#########", colour16(7), colour16(0));
	expect_line(9, 31, ".........", colour16(7), colour16(0));
	fake_advance(CURSOR_NS + 1);
	update();
	expect_line(9, 29, ".........", colour16(7), colour16(0));
	fake_advance(CURSOR_NS);
	update();
	expect_line(9, 29, "#########", colour16(7), colour16(0));
	/* Moved: both places are drawn, and nothing else. */
	put(CRTC, 0x0f, 83);
	s = update();
	ck_assert_uint_eq(s->damages, 1);
	ck_assert_uint_eq(s->width, 27);
	expect_line(9, 29, ".........", colour16(7), colour16(0));
	expect_line(27, 29, "#########", colour16(7), colour16(0));
	put(CRTC, 0x0a, 0);
	update();
	expect_line(27, 16, "#########", colour16(7), colour16(0));
}
END_TEST

START_TEST(characters_blink_or_are_on_bright)
{
	text_mode();
	put_cell(0, 0, 2, 0x9f);
	update();
	expect_line(0, 0, "########.", colour16(15), colour16(1));
	fake_advance(BLINK_NS + 1);
	update();
	expect_line(0, 0, ".........", colour16(15), colour16(1));
	put_attr(0x10, 0x04);
	update();
	expect_line(0, 0, "########.", colour16(15), colour16(9));
}
END_TEST

START_TEST(underline)
{
	text_mode();
	put(CRTC, 0x14, 0x0f);
	put_cell(0, 0, 0, 0x01);
	put_cell(1, 0, 0, 0x07);
	update();
	expect_line(0, 14, ".........", colour16(1), colour16(0));
	expect_line(0, 15, "#########.........", colour16(1), colour16(0));
}
END_TEST

START_TEST(second_font)
{
	text_mode();
	load_glyph(2, 1, solid); /* map A may be the second 16 KiB */
	put_cell(0, 0, 1, 0x0f);
	update();
	expect_line(0, 0, "#........", colour16(15), colour16(0));
	put(SEQ, 3, 0x04);
	update();
	expect_line(0, 0, "########.", colour16(15), colour16(0));
	put_cell(0, 0, 1, 0x07);
	update();
	expect_line(0, 0, "#........", colour16(7), colour16(0));
	/* A font that changes is seen without a cell changing. */
	load_glyph(0, 1, solid);
	update();
	expect_line(0, 0, "########.", colour16(7), colour16(0));
	put(SEQ, 3, 0x10); /* map B: font 1, of the first 16 KiB's second half */
	update();
	expect_line(0, 0, ".........", colour16(7), colour16(0));
	load_glyph(1, 1, pattern);
	update();
	expect_line(0, 2, ".#.#.#.#.", colour16(7), colour16(0));
}
END_TEST

START_TEST(text_scrolls)
{
	text_mode();
	put_cell(0, 1, 2, 0x07);
	put(CRTC, 0x0d, 80); /* a row further */
	update();
	expect_line(0, 0, "########.", colour16(7), colour16(0));
	/* Four lines down, three dots to the left. */
	put(CRTC, 0x0d, 0);
	put(CRTC, 0x08, 4);
	put_attr(0x13, 2);
	put_cell(1, 1, 2, 0x07);
	put_cell(0, 1, 0, 0x07);
	update();
	expect_line(0, 11, ".........", colour16(7), colour16(0));
	expect_line(0, 12, "......########.", colour16(7), colour16(0));
	/* The last column is there in part. */
	put_cell(0, 2, 2, 0x07);
	update();
	expect_line(717, 12, "###", colour16(7), colour16(0));
}
END_TEST

START_TEST(split_screen)
{
	text_mode();
	put_cell(0, 0, 2, 0x07);
	put(CRTC, 0x0c, 0x10); /* the upper part is elsewhere, blank */
	put(CRTC, 0x18, 199);
	put(CRTC, 0x07, 0x0f);
	put(CRTC, 0x09, 0x0f);
	for (unsigned i = 0; i < 2000; i++) {
		put(GR, 6, 0x0e);
		poke(TEXT + 2 * (0x1000 + i) % 0x8000, 0);
	}
	update();
	expect_line(0, 199, ".........", colour16(7), colour16(0));
	expect_line(0, 200, "########.", colour16(7), colour16(0));
	expect_line(0, 215, "########.", colour16(7), colour16(0));
	expect_line(0, 216, ".........", colour16(7), colour16(0));
}
END_TEST

START_TEST(text_for_terminals)
{
	struct text_screen t = { 0 };

	text_mode();
	put_cell(79, 24, 'x', 0x9e);
	put(CRTC, 0x0a, 13);
	put(CRTC, 0x0e, 7);
	put(CRTC, 0x0f, 0xcf);
	ck_assert(screen_text(screen_first(&fake.m), &t));
	ck_assert_uint_eq(t.columns, 80);
	ck_assert_uint_eq(t.rows, 25);
	ck_assert_uint_eq(t.cell[1999].ch, 'x');
	ck_assert_uint_eq(t.cell[1999].attr, 0x9e);
	ck_assert(t.cursor);
	ck_assert_uint_eq(t.cursor_x, 79);
	ck_assert_uint_eq(t.cursor_y, 24);
	ck_assert(t.blink);
	ck_assert_uint_eq(t.palette[14], colour16(14));
	set_mode(&mode_13);
	ck_assert(!screen_text(screen_first(&fake.m), &t));
	free(t.cell);
}
END_TEST

/* --- graphics -----------------------------------------------------------------------------------
 */

START_TEST(planes_16_colours)
{
	const struct seen *s;

	set_mode(&mode_12);
	update();
	ck_assert_uint_eq(surface->width, 640);
	ck_assert_uint_eq(surface->height, 480);
	/* Pixels 0 to 7 of line 300, byte 2: colours 0 to 7. */
	put(SEQ, 2, 1);
	poke(WINDOW + 300 * 80 + 2, 0x55);
	put(SEQ, 2, 2);
	poke(WINDOW + 300 * 80 + 2, 0x33);
	put(SEQ, 2, 4);
	poke(WINDOW + 300 * 80 + 2, 0x0f);
	put(SEQ, 2, 8);
	poke(WINDOW + 300 * 80 + 3, 0x80);
	s = update();
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(pixel(16 + i, 300), colour16(i));
	ck_assert_uint_eq(pixel(24, 300), colour16(8));
	ck_assert_uint_eq(pixel(25, 300), colour16(0));
	/* Of all lines only those of the page that was written: 4 KiB are 12.8 lines. */
	ck_assert_uint_eq(s->damages, 1);
	ck_assert_uint_le(s->y, 300);
	ck_assert_uint_ge(s->y + s->height, 301);
	ck_assert_uint_le(s->height, 15);
	ck_assert_uint_eq(update()->damages, 0);
	put_attr(0x12, 0x07); /* plane 3 is not shown */
	update();
	ck_assert_uint_eq(pixel(24, 300), colour16(0));
	put_attr(0x13, 3);
	update();
	ck_assert_uint_eq(pixel(13, 300), colour16(0));
	ck_assert_uint_eq(pixel(14, 300), colour16(1));
}
END_TEST

START_TEST(bytes_256_colours)
{
	set_mode(&mode_13);
	update();
	ck_assert_uint_eq(surface->width, 640);
	ck_assert_uint_eq(surface->height, 400);
	poke(WINDOW + 320 * 100 + 7, 200);
	update();
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(pixel(14 + i % 2, 200 + i / 2), dac_rgb(200));
	ck_assert_uint_eq(pixel(16, 200), dac_rgb(0));
	ck_assert_uint_eq(pixel(14, 202), dac_rgb(0));
	/* A line and a pixel further. */
	put(CRTC, 0x0d, 80);
	put_attr(0x13, 2);
	update();
	ck_assert_uint_eq(pixel(12, 198), dac_rgb(200));
	ck_assert_uint_eq(pixel(14, 198), dac_rgb(0));
	/* Masked by the DAC. */
	outb(0x3c6, 0x0f);
	update();
	ck_assert_uint_eq(pixel(12, 198), dac_rgb(200 & 15));
}
END_TEST

START_TEST(the_end_of_memory_wraps)
{
	set_mode(&mode_13);
	poke(WINDOW, 77);
	put(CRTC, 0x0c, 0xff);
	put(CRTC, 0x0d, 0xff); /* the last dword */
	update();
	ck_assert_uint_eq(pixel(8, 0), dac_rgb(77));
	ck_assert_uint_eq(pixel(10, 0), dac_rgb(0));
	/* The line after it is at its own start. */
	poke(WINDOW + 316, 78);
	update();
	ck_assert_uint_eq(pixel(0, 2), dac_rgb(78));
}
END_TEST

START_TEST(split_graphics)
{
	set_mode(&mode_13);
	poke(WINDOW, 9);
	put(CRTC, 0x0c, 0x40);
	put(CRTC, 0x18, 99);
	put(CRTC, 0x07, 0x0f);
	put(CRTC, 0x09, 0x01);
	update();
	ck_assert_uint_eq(pixel(0, 0), dac_rgb(0));
	ck_assert_uint_eq(pixel(0, 99), dac_rgb(0));
	ck_assert_uint_eq(pixel(0, 100), dac_rgb(9));
	ck_assert_uint_eq(pixel(0, 101), dac_rgb(9));
	ck_assert_uint_eq(pixel(0, 102), dac_rgb(0));
}
END_TEST

START_TEST(cga_4_colours)
{
	static const uint8_t index[4] = { 0x00, 0x13, 0x15, 0x17 };

	set_mode(&mode_4);
	update();
	ck_assert_uint_eq(surface->width, 640);
	ck_assert_uint_eq(surface->height, 400);
	poke(TEXT + 3, 0x1b); /* pixels 12 to 15 of line 0: 0 1 2 3 */
	poke(TEXT + 0x2000 + 80, 0xe4); /* pixels 0 to 3 of line 3: 3 2 1 0 */
	update();
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(pixel(24 + 2 * i, 0), dac_rgb(index[i]));
		ck_assert_uint_eq(pixel(25 + 2 * i, 1), dac_rgb(index[i]));
		ck_assert_uint_eq(pixel(2 * i, 6), dac_rgb(index[3 - i]));
		ck_assert_uint_eq(pixel(2 * i, 7), dac_rgb(index[3 - i]));
		ck_assert_uint_eq(pixel(24 + 2 * i, 2), dac_rgb(0));
	}
}
END_TEST

/* --- dispi --------------------------------------------------------------------------------------
 */

enum { XRES = 1, YRES, BPP, ENABLE, BANK, VIRT_WIDTH, VIRT_HEIGHT, X_OFFSET, Y_OFFSET, MEMORY };

static void dispi(unsigned reg, uint16_t val)
{
	outw(0x1ce, (uint16_t)reg);
	outw(0x1cf, val);
}

static uint16_t dispi_get(unsigned reg)
{
	outw(0x1ce, (uint16_t)reg);
	return inw(0x1cf);
}

static void dispi_mode(unsigned x, unsigned y, unsigned bpp)
{
	dispi(ENABLE, 0);
	dispi(XRES, (uint16_t)x);
	dispi(YRES, (uint16_t)y);
	dispi(BPP, (uint16_t)bpp);
	dispi(ENABLE, 0x41);
	inb(0x3da);
	inb(0x3ba);
	outb(ATTR, 0x20);
	update();
}

START_TEST(dispi_registers)
{
	ck_assert_uint_eq(dispi_get(0), 0xb0c5);
	ck_assert_uint_eq(dispi_get(MEMORY), 256); /* 16 MiB */
	dispi(0, 0xb0c2);
	ck_assert_uint_eq(dispi_get(0), 0xb0c2);
	dispi(0, 0x1234);
	ck_assert_uint_eq(dispi_get(0), 0xb0c2);
	dispi(ENABLE, 2);
	ck_assert_uint_ge(dispi_get(XRES), 1920);
	ck_assert_uint_eq(dispi_get(BPP), 32);
	dispi_mode(1024, 768, 16);
	ck_assert_uint_eq(dispi_get(VIRT_WIDTH), 1024);
	ck_assert_uint_eq(dispi_get(VIRT_HEIGHT), 8192);
	dispi(VIRT_WIDTH, 2048);
	ck_assert_uint_eq(dispi_get(VIRT_HEIGHT), 4096);
	/* No further than the memory goes. */
	dispi(Y_OFFSET, 65535);
	ck_assert_uint_eq(dispi_get(Y_OFFSET), 4096 - 768);
	dispi(X_OFFSET, 65535);
	ck_assert_uint_eq(dispi_get(X_OFFSET), 1024);
	/* The same in memory. */
	ck_assert_uint_eq(peek(REGISTERS + 0x500 + 2 * XRES), 0);
	ck_assert_uint_eq(peek(REGISTERS + 0x501 + 2 * XRES), 4);
}
END_TEST

START_TEST(dispi_depths)
{
	static const struct {
		unsigned bpp;
		uint32_t raw, rgb;
	} depth[] = {
		{ 15, 0x7c1f, 0xff00ff }, { 15, 0x0210, 0x008484 },   { 16, 0xf81f, 0xff00ff },
		{ 16, 0x0400, 0x008200 }, { 24, 0x123456, 0x123456 }, { 32, 0xff123456, 0x123456 },
	};

	for (unsigned i = 0; i < sizeof(depth) / sizeof(depth[0]); i++) {
		unsigned bytes = (depth[i].bpp + 7) / 8;

		dispi_mode(640, 480, depth[i].bpp);
		ck_assert_uint_eq(surface->width, 640);
		ck_assert_uint_eq(surface->height, 480);
		ck_assert_uint_eq(update()->damages, 0);
		fb_write((640 * 10 + 20) * bytes, &depth[i].raw, bytes);
		update();
		ck_assert_uint_eq(seen.damages, 1);
		ck_assert_uint_lt(seen.height, 10);
		ck_assert_msg(pixel(20, 10) == depth[i].rgb, "%u bits: %06x", depth[i].bpp,
			      pixel(20, 10));
		ck_assert_uint_eq(pixel(21, 10), 0);
	}
}
END_TEST

START_TEST(dispi_8_bits)
{
	uint8_t val = 5;

	set_palette();
	dispi_mode(800, 600, 8);
	fb_write(800 * 599 + 799, &val, 1);
	update();
	ck_assert_uint_eq(pixel(799, 599), dac_rgb(5));
	/* 8 bits a part of a colour. */
	dispi(ENABLE, 0xe1);
	outb(0x3c8, 5);
	outb(0x3c9, 0x81);
	outb(0x3c9, 0x42);
	outb(0x3c9, 0x23);
	update();
	ck_assert_uint_eq(pixel(799, 599), 0x814223);
}
END_TEST

START_TEST(dispi_planes)
{
	set_mode(&mode_12);
	dispi_mode(800, 600, 4);
	put(SEQ, 2, 0x0a);
	poke(WINDOW + 100 * 400 / 4 + 1, 0x01);
	update();
	ck_assert_uint_eq(surface->width, 800);
	ck_assert_uint_eq(pixel(15, 100), colour16(10));
	ck_assert_uint_eq(pixel(16, 100), colour16(0));
}
END_TEST

START_TEST(dispi_bank_and_panning)
{
	set_mode(&mode_13);
	dispi_mode(640, 480, 8);
	dispi(BANK, 3);
	poke(WINDOW + 5, 66);
	dispi(VIRT_WIDTH, 1024);
	dispi(Y_OFFSET, 192);
	update();
	ck_assert_uint_eq(pixel(5, 0), dac_rgb(66));
	dispi(X_OFFSET, 5);
	update();
	ck_assert_uint_eq(pixel(0, 0), dac_rgb(66));
	ck_assert_uint_eq(peek(WINDOW + 5), 66);
}
END_TEST

START_TEST(dispi_clears_unless_told_not_to)
{
	uint32_t val = 0xffffff;

	dispi_mode(640, 480, 32);
	fb_write(0, &val, 4);
	dispi(ENABLE, 0);
	dispi(ENABLE, 0xc1);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0xffffff);
	dispi(ENABLE, 0);
	dispi(ENABLE, 0x41);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0);
}
END_TEST

START_TEST(dispi_hostile)
{
	uint64_t seed = 7;

	outb(ATTR, 0x20);
	for (unsigned i = 0; i < 400; i++) {
		/* Mostly small, that it is quick; now and then anything. */
		uint16_t val = (uint16_t)(fake_random(&seed) >> (fake_random(&seed) % 8 ? 7 : 0));

		dispi(fake_random(&seed) % 12, val);
		if (i % 5 == 0)
			dispi(ENABLE, 0x81);
		if (i % 16 == 0)
			update();
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		text_is_drawn,
		eight_dots_a_character,
		only_changed_cells_are_drawn,
		palette_and_blank,
		cursor_blinks,
		characters_blink_or_are_on_bright,
		underline,
		second_font,
		text_scrolls,
		split_screen,
		text_for_terminals,
		planes_16_colours,
		bytes_256_colours,
		the_end_of_memory_wraps,
		split_graphics,
		cga_4_colours,
		dispi_registers,
		dispi_depths,
		dispi_8_bits,
		dispi_planes,
		dispi_bank_and_panning,
		dispi_clears_unless_told_not_to,
		dispi_hostile,
	};

	return run_tests("vga_draw", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
