/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VGA shows for random registers and memory, against a slow model that counts as the CRT
 * controller does, line after line and dot after dot (FreeVGA, "CRT Controller Registers", "VGA
 * Text Mode Operation", "Attribute Controller Registers"). And what is drawn bit by bit, as memory
 * changes, is what is drawn when all is drawn.
 */
#include "vga_guest.h"

enum { WINDOW = 0xa0000, ADDRESSES = 65536 };
/* Of blinking: see test_vga_draw.c. */
#define CURSOR_NS 228000000ull
#define BLINK_NS 456000000ull

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	return fake_random(&seed) % n;
}

static void setup(void)
{
	fake_setup();
	memset(slots, 0, sizeof(slots));
	no_windows = true;
	vga_board("vgamem_mb=1");
}

static void teardown(void)
{
	vga_board_end();
	fake_teardown();
}

/* --- the model ---------------------------------------------------------------------------------
 */

/* As written; what keeps the screen off or on is not among them. */
static struct {
	uint8_t seq[5], crtc[25], gr[9], attr[21], mem[4 * ADDRESSES];
} ref;

static uint8_t plane(unsigned p, uint32_t address)
{
	return ref.mem[address % ADDRESSES * 4 + p];
}

/* Of the sixteen colours. */
static uint32_t palette(unsigned i)
{
	unsigned index = ref.attr[i] & 0x3f;

	if (ref.attr[0x10] & 0x80)
		index = (index & 0x0f) | (ref.attr[0x14] & 3) << 4;
	return dac_rgb(index | (ref.attr[0x14] & 0x0c) << 4);
}

/* Of a counter's address, the bits that are the row scan counter's. */
static uint32_t scan_bits(uint32_t address, unsigned row_scan)
{
	bool words = !(ref.crtc[0x17] & 0x40);
	uint32_t out = words ? address << 1 : address;

	if (!(ref.crtc[0x17] & 1))
		out = (out & ~0x2000u) | (row_scan & 1) << 13;
	if (!(ref.crtc[0x17] & 2))
		out = (out & ~0x4000u) | (row_scan >> 1 & 1) << 14;
	return words ? out >> 1 : out;
}

/* The colour of dot `dot` of the character at an address, of its line row_scan. */
static uint32_t text_dot(uint32_t address, unsigned row_scan, unsigned dot)
{
	unsigned ch = plane(0, address), attr = plane(1, address);
	uint32_t cursor = (ref.crtc[0x0e] << 8 | ref.crtc[0x0f]) % ADDRESSES;
	unsigned first = ref.crtc[0x0a] & 31, last = ref.crtc[0x0b] & 31, select, font;
	bool blinks = ref.attr[0x10] & 8, on;
	unsigned fg = attr & 15, bg = blinks ? attr >> 4 & 7 : attr >> 4;

	select = attr & 8 ? (ref.seq[3] >> 2 & 3) | (ref.seq[3] >> 5 & 1) << 2
			  : (ref.seq[3] & 3) | (ref.seq[3] >> 4 & 1) << 2;
	font = (select & 3) * 0x4000 + (select >> 2) * 0x2000;
	if (dot < 8)
		on = plane(2, font + ch * 32 + row_scan) >> (7 - dot) & 1;
	else
		on = ref.attr[0x10] & 4 && ch >= 0xc0 && ch <= 0xdf &&
		     plane(2, font + ch * 32 + row_scan) & 1;
	if (row_scan == (ref.crtc[0x14] & 31) && (attr & 0x77) == 1)
		on = true;
	if (blinks && attr & 0x80 && fake.now_ns / BLINK_NS % 2)
		on = false;
	if (address % ADDRESSES == cursor && !(ref.crtc[0x0a] & 0x20) && row_scan >= first &&
	    row_scan <= last && fake.now_ns / CURSOR_NS % 2 == 0)
		on = true;
	return palette(on ? fg : bg);
}

static uint32_t graphics_dot(uint32_t address, unsigned dot)
{
	unsigned index = 0;

	if (ref.gr[5] & 0x40) /* four pixels, two dots each */
		return dac_rgb(plane(dot / 2, address));
	if (ref.gr[5] & 0x20) {
		unsigned shift = 6 - dot % 4 * 2, p = dot / 4;

		index = (plane(p, address) >> shift & 3) | (plane(p + 2, address) >> shift & 3)
								   << 2;
	} else {
		for (unsigned p = 0; p < 4; p++)
			index |= (plane(p, address) >> (7 - dot) & 1u) << p;
	}
	return palette(index & ref.attr[0x12] & 15);
}

static void expect_pixel(unsigned x, unsigned y, uint32_t want, const char *what)
{
	if (surface->pixel[y * surface->width + x] != want)
		ck_abort_msg("%s: %u,%u of %ux%u is %06x, not %06x", what, x, y, surface->width,
			     surface->height, surface->pixel[y * surface->width + x], want);
}

/* Dots that the picture is shifted to the left. */
static unsigned panning(unsigned dots)
{
	unsigned pan = ref.attr[0x13] & 15;

	if (dots == 9)
		return pan == 8 ? 0 : pan + 1;
	return ref.gr[6] & 1 && ref.gr[5] & 0x40 ? pan & ~1u : pan;
}

static void expect_line(unsigned y, uint32_t address, unsigned row_scan, unsigned pan,
			const char *what)
{
	bool text = !(ref.gr[6] & 1);
	unsigned dots = text && !(ref.seq[1] & 1) ? 9 : 8, wide = ref.seq[1] & 8 ? 2 : 1;

	for (unsigned x = 0; x < surface->width; x++) {
		unsigned at = x / wide + pan;
		uint32_t a = address + at / dots;

		expect_pixel(x, y,
			     text ? text_dot(a, row_scan, at % dots)
				  : graphics_dot(scan_bits(a, row_scan), at % dots),
			     what);
	}
}

static void expect_picture(const char *what)
{
	const uint8_t *c = ref.crtc;
	unsigned height = 1 + c[0x12] + (c[7] >> 1 & 1) * 256 + (c[7] >> 6 & 1) * 512;
	unsigned compare = c[0x18] + (c[7] >> 4 & 1) * 256 + (c[9] >> 6 & 1) * 512;
	unsigned dots = !(ref.gr[6] & 1) && !(ref.seq[1] & 1) ? 9 : 8;
	uint32_t address = c[0x0c] * 256 + c[0x0d] + (c[8] >> 5 & 3);
	unsigned row_scan = c[8] & 31, again = 0, pan = panning(dots);

	ck_assert_uint_eq(surface->width, (c[1] + 1u) * dots * (ref.seq[1] & 8 ? 2 : 1));
	ck_assert_uint_eq(surface->height, height);
	for (unsigned y = 0; y < height; y++) {
		expect_line(y, address, row_scan, pan, what);
		if (y == compare) {
			address = row_scan = again = 0;
			pan = ref.attr[0x10] & 0x20 ? 0 : pan;
		} else if (c[9] & 0x80 && !again) {
			again = 1;
		} else {
			again = 0;
			address += row_scan == (c[9] & 31u) ? c[0x13] * 2u : 0;
			row_scan = row_scan == (c[9] & 31u) ? 0 : row_scan + 1;
		}
	}
}

/* --- random guests -------------------------------------------------------------------------------
 */

static void set_registers(void)
{
	set_mode(&mode_13); /* what is not random */
	for (unsigned i = 1; i < 5; i++)
		put(SEQ, (uint8_t)i, ref.seq[i]);
	put(CRTC, 0x11, 0);
	for (unsigned i = 0; i < sizeof(ref.crtc); i++)
		put(CRTC, (uint8_t)i, ref.crtc[i]);
	for (unsigned i = 0; i < sizeof(ref.gr); i++)
		put(GR, (uint8_t)i, ref.gr[i]);
	for (unsigned i = 0; i < sizeof(ref.attr); i++)
		put_attr((uint8_t)i, ref.attr[i]);
}

static void random_crtc(bool text)
{
	uint8_t *c = ref.crtc;
	unsigned height = 1 + rnd(120), scans = 1 + rnd(text ? 32 : 4);

	memset(c, 0, sizeof(ref.crtc));
	c[0x01] = (uint8_t)rnd(40);
	c[0x12] = (uint8_t)(height - 1);
	c[0x09] = (uint8_t)((scans - 1) | rnd(2) << 7);
	c[0x08] = (uint8_t)((rnd(2) ? rnd(scans) : 0) | rnd(4) << 5);
	/* Where the screen is split: nowhere, or somewhere in it. */
	c[0x07] = 0x10;
	c[0x09] |= 0x40;
	if (rnd(2)) {
		c[0x07] = 0;
		c[0x09] &= (uint8_t)~0x40u;
		c[0x18] = (uint8_t)rnd(height + 5);
	}
	/* The end of memory is often seen. */
	c[0x0c] = (uint8_t)(rnd(2) ? 0xff : rnd(256));
	c[0x0d] = (uint8_t)rnd(256);
	c[0x13] = (uint8_t)rnd(60);
	c[0x14] = (uint8_t)rnd(32);
	c[0x17] = (uint8_t)(0xa0 | (rnd(2) ? 3 : rnd(4)) | rnd(2) << 6);
	c[0x0a] = (uint8_t)(rnd(scans) | (rnd(4) ? 0 : 0x20));
	c[0x0b] = (uint8_t)rnd(scans + 2);
	if (rnd(2)) { /* the cursor where the screen begins */
		unsigned at = (c[0x0c] << 8) + c[0x0d] + (c[8] >> 5) + rnd(c[1] + 1);

		c[0x0e] = (uint8_t)(at >> 8);
		c[0x0f] = (uint8_t)at;
	}
}

static void random_mode(void)
{
	unsigned kind = rnd(4);

	memset(&ref, 0, sizeof(ref) - sizeof(ref.mem));
	random_crtc(kind == 0);
	ref.seq[1] = (uint8_t)(rnd(2) | rnd(2) << 3);
	ref.seq[2] = 15;
	ref.seq[3] = (uint8_t)rnd(64);
	ref.seq[4] = 6;
	ref.gr[5] = (uint8_t)(kind == 2 ? 0x20 : kind == 3 ? 0x40 : 0);
	ref.gr[6] = kind ? 5 : 4;
	ref.gr[8] = 0xff;
	for (unsigned i = 0; i < 16; i++)
		ref.attr[i] = (uint8_t)rnd(64);
	ref.attr[0x10] = (uint8_t)((kind ? 1 : 0) | rnd(4) << 2 | rnd(2) << 5 | rnd(2) << 7);
	ref.attr[0x12] = (uint8_t)(rnd(2) ? 15 : rnd(16));
	ref.attr[0x14] = (uint8_t)rnd(16);
	if (rnd(2))
		ref.attr[0x13] = (uint8_t)rnd(kind || ref.seq[1] & 1 ? 8 : 9);
}

/* Some of the memory that is shown, or any; by the framebuffer, or by the window. */
static void random_writes(void)
{
	for (unsigned n = rnd(20); n; n--) {
		uint32_t at = ((ref.crtc[0x0c] << 8 | ref.crtc[0x0d]) + rnd(4000)) * 4 + rnd(4);
		uint8_t val = (uint8_t)rnd(256);

		at = rnd(4) ? at % sizeof(ref.mem) : rnd(sizeof(ref.mem));
		ref.mem[at] = val;
		if (rnd(2)) {
			fb_write(at, &val, 1);
			continue;
		}
		put(GR, 5, 0);
		put(GR, 6, (uint8_t)(5 & (ref.gr[6] | 4)));
		put(SEQ, 2, (uint8_t)(1 << at % 4));
		poke(WINDOW + at / 4, val);
		put(GR, 5, ref.gr[5]);
		put(GR, 6, ref.gr[6]);
		put(SEQ, 2, ref.seq[2]);
	}
}

static void random_memory(void)
{
	for (unsigned i = 0; i < sizeof(ref.mem); i++)
		ref.mem[i] = (uint8_t)rnd(256);
	fb_write(0, ref.mem, sizeof(ref.mem));
}

START_TEST(pictures)
{
	random_memory();
	for (unsigned round = 0; round < 1500; round++) {
		char what[80];

		random_mode();
		set_registers();
		fake_advance(rnd(500000000));
		update();
		snprintf(what, sizeof(what), "round %u, gr5 %x gr6 %x", round, ref.gr[5],
			 ref.gr[6]);
		expect_picture(what);
		random_writes();
		fake_advance(rnd(500000000));
		update();
		strcat(what, ", then");
		expect_picture(what);
	}
}
END_TEST

/* As a driver changes a few registers of a mode that is there. */
START_TEST(small_changes)
{
	random_memory();
	for (unsigned round = 0; round < 150; round++) {
		random_mode();
		set_registers();
		update();
		for (unsigned n = 0; n < 20; n++) {
			static const uint8_t index[] = { 0x0a, 0x0b, 0x0c, 0x0d, 0x0e,
							 0x0f, 0x13, 0x14, 0x18 };
			unsigned i = index[rnd(9)];
			char what[80];

			snprintf(what, sizeof(what), "round %u.%u", round, n);
			switch (rnd(4)) {
			case 0:
				ref.crtc[i] = (uint8_t)rnd(i == 0x0a || i == 0x0b ? 32 : 256);
				put(CRTC, (uint8_t)i, ref.crtc[i]);
				break;
			case 1:
				i = rnd(16);
				ref.attr[i] = (uint8_t)rnd(64);
				put_attr((uint8_t)i, ref.attr[i]);
				break;
			case 2:
				ref.seq[3] = (uint8_t)rnd(64);
				put(SEQ, 3, ref.seq[3]);
				break;
			default:
				random_writes();
				break;
			}
			fake_advance(rnd(300000000));
			update();
			expect_picture(what);
		}
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { pictures, small_changes };

	return run_tests("vga_pixels", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
