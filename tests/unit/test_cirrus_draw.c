/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a cirrus-vga shows: pixels of each depth, where the screen starts and how long its lines
 * are, the hardware cursor, and no more drawn than changed.
 */
#include "cirrus_guest.h"

static void setup(void)
{
	fake_setup();
	cirrus_board("");
}

static void teardown(void)
{
	vga_board_end();
	fake_teardown();
}

/* --- modes ------------------------------------------------------------------------------- */

START_TEST(depths)
{
	static const struct {
		const struct packed_mode *m;
		uint32_t raw, rgb;
	} t[] = {
		{ &packed_15, 0x7c1f, 0xff00ff },     { &packed_15, 0x0210, 0x008484 },
		{ &packed_15, 0xfc00, 0xff0000 },     { &packed_16, 0xf81f, 0xff00ff },
		{ &packed_16, 0x0400, 0x008200 },     { &packed_24, 0x123456, 0x123456 },
		{ &packed_32, 0xff123456, 0x123456 },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		unsigned bytes = (t[i].m->bits + 7) / 8;
		uint32_t at = (640 * 10 + 20) * bytes;

		memset(mapped_at(FRAMEBUFFER), 0, 4 * MIB);
		set_packed(t[i].m);
		ck_assert_uint_eq(surface->width, 640);
		ck_assert_uint_eq(surface->height, 480);
		ck_assert_uint_eq(update()->damages, 0);
		fb_write(at, &t[i].raw, bytes);
		update();
		ck_assert_uint_eq(seen.damages, 1);
		ck_assert_uint_lt(seen.height, 10);
		ck_assert_msg(pixel(20, 10) == t[i].rgb, "%u bits: %06x", t[i].m->bits,
			      pixel(20, 10));
		ck_assert_uint_eq(pixel(19, 10), 0);
		ck_assert_uint_eq(pixel(21, 10), 0);
	}
}
END_TEST

START_TEST(bytes_through_the_dac)
{
	uint8_t val = 5;

	set_packed(&packed_8);
	fb_write(640 * 479 + 639, &val, 1);
	update();
	ck_assert_uint_eq(pixel(639, 479), dac_rgb(5));
	ck_assert_uint_eq(pixel(638, 479), dac_rgb(0));
	outb(0x3c6, 0x04);
	update();
	ck_assert_uint_eq(pixel(639, 479), dac_rgb(4));
}
END_TEST

START_TEST(other_sizes)
{
	static const struct packed_mode m[] = {
		{ 1024, 768, 24, 0x15, 0xe5 },
		{ 1280, 1024, 16, 0x17, 0xe1 },
		{ 800, 600, 24, 0x15, 0xe5 },
	};

	for (unsigned i = 0; i < 3; i++) {
		unsigned bytes = m[i].bits / 8;
		uint32_t val = 0xffffffff;

		memset(mapped_at(FRAMEBUFFER), 0, 4 * MIB);
		set_packed(&m[i]);
		ck_assert_uint_eq(surface->width, m[i].width);
		ck_assert_uint_eq(surface->height, m[i].height);
		fb_write((m[i].width * m[i].height - 1) * bytes, &val, bytes);
		update();
		ck_assert_uint_eq(pixel(m[i].width - 1, m[i].height - 1), 0xffffff);
		ck_assert_uint_eq(pixel(m[i].width - 2, m[i].height - 1), 0);
	}
}
END_TEST

/* Linux's cirrusfb at 1280x1024 of 8 bits: half as many characters, and every other line. */
START_TEST(two_pixels_at_a_time)
{
	static const struct packed_mode m = { 640, 512, 8, 0x17, 0x4a };
	uint8_t val = 9;

	set_packed(&m);
	put(SEQ, 7, 0xa1);
	put(CRTC, 0x17, 0xc7);
	set_pitch(1280);
	update();
	ck_assert_uint_eq(surface->width, 1280);
	ck_assert_uint_eq(surface->height, 1024);
	fb_write(1280 * 1023 + 1279, &val, 1);
	update();
	ck_assert_uint_eq(pixel(1279, 1023), dac_rgb(9));
}
END_TEST

START_TEST(interlaced)
{
	static const struct packed_mode m = { 640, 240, 8, 0x11, 0 };
	uint8_t val = 9;

	set_packed(&m);
	ck_assert_uint_eq(surface->height, 240);
	put(CRTC, 0x1a, 1);
	update();
	ck_assert_uint_eq(surface->height, 480);
	fb_write(640 * 301, &val, 1);
	update();
	ck_assert_uint_eq(pixel(0, 301), dac_rgb(9));
}
END_TEST

START_TEST(start_and_pitch)
{
	uint32_t red = 0xff0000;

	set_packed(&packed_32);
	set_pitch(3000); /* beyond 8 bits of 8 bytes */
	fb_write(3000 * 100 + 4 * 7, &red, 4);
	update();
	ck_assert_uint_eq(pixel(7, 100), 0xff0000);
	set_start(3000 * 60 + 4 * 3);
	update();
	ck_assert_uint_eq(pixel(4, 40), 0xff0000);
	ck_assert_uint_eq(pixel(7, 100), 0);
	/* Each bit of the start address. */
	for (uint32_t at = 4; at < 4 * MIB; at <<= 1) {
		fb_write(at, &red, 4);
		set_start(at);
		update();
		ck_assert_msg(pixel(0, 0) == 0xff0000, "start %x", at);
	}
}
END_TEST

START_TEST(the_end_of_memory_wraps)
{
	uint32_t red = 0xff0000, green = 0x00ff00;

	set_packed(&packed_32);
	set_start(4 * MIB - 8);
	fb_write(0, &red, 4);
	fb_write(4 * MIB - 8, &green, 4);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0x00ff00);
	ck_assert_uint_eq(pixel(1, 0), 0);
	ck_assert_uint_eq(pixel(2, 0), 0xff0000);
	/* What is beyond is seen when it changes. */
	green = 0x0000ff;
	fb_write(4, &green, 4);
	update();
	ck_assert_uint_eq(pixel(3, 0), 0x0000ff);
}
END_TEST

START_TEST(split)
{
	uint8_t val = 9;

	set_packed(&packed_8);
	fb_write(0, &val, 1);
	set_start(MIB);
	put(CRTC, 0x07, (uint8_t)(get(CRTC, 0x07) & ~0x10));
	put(CRTC, 0x09, 0);
	put(CRTC, 0x18, 99);
	update();
	ck_assert_uint_eq(pixel(0, 0), dac_rgb(0));
	ck_assert_uint_eq(pixel(0, 99), dac_rgb(0));
	ck_assert_uint_eq(pixel(0, 100), dac_rgb(9));
	ck_assert_uint_eq(pixel(0, 101), dac_rgb(0));
}
END_TEST

START_TEST(panning)
{
	uint8_t val = 9;

	set_packed(&packed_8);
	fb_write(3, &val, 1);
	put_attr(0x13, 4); /* two pixels of 256-colour modes */
	update();
	ck_assert_uint_eq(pixel(1, 0), dac_rgb(9));
	ck_assert_uint_eq(pixel(3, 0), dac_rgb(0));
	/* Direct colours do not pan. */
	set_packed(&packed_32);
	put_attr(0x13, 4);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0);
}
END_TEST

START_TEST(vga_modes_are_there)
{
	set_mode(&mode_13);
	poke(WINDOW + 320 * 3 + 2, 7);
	update();
	ck_assert_uint_eq(surface->width, 640);
	ck_assert_uint_eq(surface->height, 400);
	ck_assert_uint_eq(pixel(4, 6), dac_rgb(7));
	set_mode(&mode_12);
	poke(WINDOW + 80 * 3 + 2, 0x40);
	update();
	ck_assert_uint_eq(surface->height, 480);
	ck_assert_uint_eq(pixel(17, 3), colour16(15));
	set_mode(&mode_4);
	update();
	ck_assert_uint_eq(surface->height, 400);
	set_mode(&mode_3);
	update();
	ck_assert_uint_eq(surface->width, 720);
	/* From and to an extended one. */
	set_packed(&packed_16);
	ck_assert_uint_eq(surface->width, 640);
	put(SEQ, 7, 0);
	set_mode(&mode_3);
	update();
	ck_assert_uint_eq(surface->width, 720);
}
END_TEST

START_TEST(planes_beyond_256_kib_are_shown)
{
	set_mode(&mode_12);
	put(CRTC, 0x1b, 0x03); /* the start's bit 16: byte 256 KiB */
	put(GR, 9, 0x10);
	put(SEQ, 2, 0x0f);
	poke(WINDOW, 0x80);
	update();
	ck_assert_uint_eq(pixel(0, 0), colour16(15));
	poke(WINDOW, 0);
	put(GR, 9, 0);
	poke(WINDOW, 0x80);
	update();
	ck_assert_uint_eq(pixel(0, 0), colour16(0));
	put(CRTC, 0x1b, 0x01); /* goes around there */
	update();
	ck_assert_uint_eq(pixel(0, 0), colour16(15));
}
END_TEST

START_TEST(power_is_off)
{
	uint32_t red = 0xff0000;

	set_packed(&packed_32);
	fb_write(0, &red, 4);
	update();
	for (unsigned i = 2; i <= 6; i += 2) {
		put(GR, 0x0e, (uint8_t)i);
		update();
		ck_assert_uint_eq(pixel(0, 0), 0);
		put(GR, 0x0e, 0);
		update();
		ck_assert_uint_eq(pixel(0, 0), 0xff0000);
	}
	/* SeaBIOS sets the extended modes so. */
	put(SEQ, 1, 0x21);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0xff0000);
	set_mode(&mode_13);
	put(SEQ, 7, 0);
	put(SEQ, 1, 0x21);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0);
}
END_TEST

START_TEST(what_blits_draw_is_seen)
{
	set_packed(&packed_8);
	fb_poke(640 * 20, 3);
	update();
	/* One byte from line 20 to line 300. */
	put(GR, 0x20, 0);
	put(GR, 0x22, 0);
	put(GR, 0x28, (640 * 300) & 0xff);
	put(GR, 0x29, 640 * 300 >> 8 & 0xff);
	put(GR, 0x2a, 640 * 300 >> 16);
	put(GR, 0x2c, (640 * 20) & 0xff);
	put(GR, 0x2d, 640 * 20 >> 8);
	put(GR, 0x32, 0x0d);
	put(GR, 0x31, 0x02);
	update();
	ck_assert_uint_eq(pixel(0, 300), dac_rgb(3));
	ck_assert_uint_lt(seen.height, 20);
}
END_TEST

/* The dirty log is not lost with the mapping. */
START_TEST(what_was_written_before_a_blit_is_seen)
{
	uint8_t val = 8;

	set_packed(&packed_8);
	fb_write(640 * 50, &val, 1);
	put(GR, 0x20, 7);
	put(GR, 0x2a, 0x20);
	put(GR, 0x30, 4);
	put(GR, 0x32, 0x0d);
	put(GR, 0x31, 2);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	update();
	ck_assert_uint_eq(pixel(0, 50), dac_rgb(8));
	mw(WINDOW, 0, 8);
	update();
	for (unsigned i = 0; i < 16; i++)
		fb_peek(i);
	fb_write(640 * 51, &val, 1);
	set_bar(VGA, 0, 0xd0000000);
	update();
	ck_assert_uint_eq(pixel(0, 51), dac_rgb(8));
}
END_TEST

/* --- the cursor ------------------------------------------------------------------------------ */

enum { BG = 0x04080c, FG = 0xfbf3eb };

static void set_cursor(unsigned x, unsigned y, uint8_t attributes, uint8_t image)
{
	static const uint8_t bg[3] = { 1, 2, 3 }, fg[3] = { 62, 60, 58 };

	put(SEQ, 0x12, 2);
	outb(0x3c8, 0);
	for (unsigned i = 0; i < 3; i++)
		outb(0x3c9, bg[i]);
	outb(0x3c8, 15);
	for (unsigned i = 0; i < 3; i++)
		outb(0x3c9, fg[i]);
	put(SEQ, 0x13, image);
	put(SEQ, (uint8_t)(0x10 | (x & 7) << 5), (uint8_t)(x >> 3));
	put(SEQ, (uint8_t)(0x11 | (y & 7) << 5), (uint8_t)(y >> 3));
	put(SEQ, 0x12, attributes);
}

/* An image whose pixel (x, y) is of kind (x + y) % 4: transparent, inverted, background,
 * foreground. */
static void make_image(unsigned side, unsigned image)
{
	uint32_t base = 4 * MIB - 16384 + image * 256;
	uint8_t bits[1024] = { 0 };

	for (unsigned y = 0; y < side; y++) {
		for (unsigned x = 0; x < side; x++) {
			unsigned kind = (x + y) % 4;
			unsigned at = side == 32 ? y * 4 : y * 16, other = side == 32 ? 128 : 8;

			if (kind & 1)
				bits[at + x / 8] |= (uint8_t)(0x80 >> x % 8);
			if (kind & 2)
				bits[at + other + x / 8] |= (uint8_t)(0x80 >> x % 8);
		}
	}
	fb_write(base, bits, side * side / 4);
}

static void expect_cursor(unsigned at_x, unsigned at_y, unsigned side, uint32_t under)
{
	const uint32_t want[4] = { under, under ^ 0xffffff, BG, FG };

	for (unsigned y = 0; y < surface->height; y++) {
		for (unsigned x = 0; x < surface->width; x++) {
			bool in = x - at_x < side && y - at_y < side;
			uint32_t w = in ? want[(x - at_x + y - at_y) % 4] : under;

			if (pixel(x, y) != w)
				ck_abort_msg("%u,%u is %06x, not %06x", x, y, pixel(x, y), w);
		}
	}
}

START_TEST(cursor_of_32)
{
	set_packed(&packed_32);
	make_image(32, 0x3f);
	set_cursor(101, 203, 1, 0x3f);
	update();
	expect_cursor(101, 203, 32, 0);
	put(SEQ, 0x12, 0);
	update();
	expect_cursor(0, 0, 0, 0);
}
END_TEST

START_TEST(cursor_of_64)
{
	set_packed(&packed_8);
	make_image(64, 0x3c);
	set_cursor(0, 0, 5, 0x3f); /* the two lowest bits do not count */
	update();
	expect_cursor(0, 0, 64, dac_rgb(0));
	make_image(64, 0x14);
	set_cursor(77, 8, 5, 0x14);
	update();
	expect_cursor(77, 8, 64, dac_rgb(0));
}
END_TEST

START_TEST(cursor_at_the_edges)
{
	static const unsigned at[][2] = {
		{ 639, 479 }, { 600, 470 }, { 640, 480 }, { 2047, 2047 }, { 630, 0 }, { 0, 450 },
	};

	set_packed(&packed_16);
	make_image(64, 0);
	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		set_cursor(at[i][0], at[i][1], 5, 0);
		update();
		expect_cursor(at[i][0], at[i][1], 64, 0);
	}
}
END_TEST

START_TEST(cursor_draws_no_more_than_it_must)
{
	set_packed(&packed_32);
	make_image(32, 0);
	set_cursor(10, 100, 1, 0);
	update();
	ck_assert_uint_eq(update()->damages, 0);
	set_cursor(12, 90, 1, 0);
	update();
	ck_assert_uint_eq(seen.damages, 1);
	ck_assert_uint_eq(seen.y, 90);
	ck_assert_uint_eq(seen.height, 42);
	expect_cursor(12, 90, 32, 0);
	set_cursor(12, 110, 1, 0);
	update();
	ck_assert_uint_eq(seen.y, 90);
	ck_assert_uint_eq(seen.height, 52);
	expect_cursor(12, 110, 32, 0);
	put(SEQ, 0x12, 0);
	update();
	ck_assert_uint_eq(seen.y, 110);
	ck_assert_uint_eq(seen.height, 32);
	expect_cursor(0, 0, 0, 0);
	put(SEQ, 0x12, 1);
	update();
	ck_assert_uint_eq(seen.y, 110);
	ck_assert_uint_eq(seen.height, 32);
	/* Drawn over, it stays; a new image is seen. */
	fb_write(640 * 4 * 120, "\x00\x00\x00\x00", 4);
	update();
	expect_cursor(12, 110, 32, 0);
	fb_write(4 * MIB - 16384, "\xff", 1);
	update();
	ck_assert_uint_eq(seen.y, 110);
	ck_assert_uint_eq(pixel(12, 110), 0xffffff);
	/* Its colours. */
	put(SEQ, 0x12, 3);
	outb(0x3c8, 0);
	for (unsigned i = 0; i < 3; i++)
		outb(0x3c9, 63);
	update();
	ck_assert_uint_eq(pixel(12, 112), 0xffffff);
}
END_TEST

/* Lines that show the same memory are not copied with the cursor on them. */
START_TEST(cursor_over_lines_that_are_the_same)
{
	set_packed(&packed_32);
	set_pitch(0);
	put(CRTC, 0x09, 0xc0); /* each twice, moreover */
	make_image(32, 0);
	set_cursor(10, 101, 1, 0);
	update();
	expect_cursor(10, 101, 32, 0);
	set_cursor(10, 300, 1, 0);
	update();
	expect_cursor(10, 300, 32, 0);
}
END_TEST

START_TEST(text_has_no_such_cursor)
{
	set_mode(&mode_3);
	put(CRTC, 0x0a, 0x20);
	update();
	make_image(32, 0);
	set_cursor(10, 10, 1, 0);
	update();
	expect_cursor(0, 0, 0, colour16(0));
}
END_TEST

/* --- anything ----------------------------------------------------------------------------------
 */

START_TEST(hostile)
{
	static const uint16_t ports[] = { SEQ, CRTC, GR };
	uint64_t seed = 7;

	set_packed(&packed_32);
	for (unsigned i = 0; i < 6000; i++) {
		uint64_t r = random64(&seed);

		put(ports[r % 3], r >> 8 & 0x3f, (uint8_t)(r >> 16));
		if (i % 10 == 0) {
			hidden_dac((uint8_t)(r >> 24));
			put(SEQ, 0, 3);
			put(SEQ, 6, 0x12);
			put(SEQ, 1, 1);
			put(GR, 0x0e, 0);
			put(SEQ, 0x12, (uint8_t)(r >> 32));
			outb(0x3c2, 0xe3);
			put_attr(0x13, (uint8_t)(r >> 40));
		}
		if (i % 60 == 0) {
			if (r >> 48 & 1)
				put(SEQ, 7, (uint8_t)(r >> 48));
			update();
			ck_assert_uint_le(surface->width, 4096);
			ck_assert_uint_le(surface->height, 4096);
		}
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		depths,
		bytes_through_the_dac,
		other_sizes,
		two_pixels_at_a_time,
		interlaced,
		start_and_pitch,
		the_end_of_memory_wraps,
		split,
		panning,
		vga_modes_are_there,
		planes_beyond_256_kib_are_shown,
		power_is_off,
		what_blits_draw_is_seen,
		what_was_written_before_a_blit_is_seen,
		cursor_of_32,
		cursor_of_64,
		cursor_at_the_edges,
		cursor_draws_no_more_than_it_must,
		cursor_over_lines_that_are_the_same,
		text_has_no_such_cursor,
		hostile,
	};

	return run_tests("cirrus_draw", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
