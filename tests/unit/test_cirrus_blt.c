/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BitBLT engine against blt_model.h: each kind of blit by hand, the register settings that
 * have broken other implementations, and random blits whose registers lean to where mistakes
 * are. The memory is between pages that nobody may touch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../../hw/display/cirrus_blt.h"
#include "blt_model.h"
#include "suite.h"

enum { SMALL = 64 << 10, PAGE = 4096, GUARD = 64 << 10, DATA = 8200 * 64 };

static struct cirrus_blt blt;
static struct model model;
static uint8_t gr[CIRRUS_GR], *area, *cpu_data;
static uint8_t told[1024], touched[1024];
static uint64_t seed;
static unsigned calls;

static void on_changed(void *ctx, uint32_t first, uint32_t len)
{
	/* Each of Check's assertions is a system call: here they are made only if they fail. */
	if (ctx != &blt || !len || first >= blt.size || len > blt.size - first)
		ck_abort_msg("told of %u bytes at %#x", len, first);
	for (uint32_t page = first / PAGE; page <= (first + len - 1) / PAGE; page++)
		told[page] = 1;
	calls++;
}

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static uint32_t below(uint32_t n)
{
	return rnd() % n;
}

static void use_memory(uint32_t size)
{
	area = mmap(NULL, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(area, MAP_FAILED);
	ck_assert(!mprotect(area + GUARD, size, PROT_READ | PROT_WRITE));
	memset(&blt, 0, sizeof(blt));
	blt.mem = area + GUARD;
	blt.size = model.size = size;
	blt.gr = gr;
	blt.changed = on_changed;
	blt.ctx = &blt;
	model.mem = malloc(size);
	model.touched = touched;
	for (uint32_t i = 0; i < size; i++)
		blt.mem[i] = (uint8_t)rnd();
	memcpy(model.mem, blt.mem, size);
}

static void setup(void)
{
	seed = 88172645463325252ull;
	memset(gr, 0, sizeof(gr));
	cpu_data = malloc(DATA);
	for (unsigned i = 0; i < DATA; i++)
		cpu_data[i] = (uint8_t)(i * 7 ^ i >> 5);
	model.data = cpu_data;
	use_memory(SMALL);
}

static void drop_memory(void)
{
	munmap(area, blt.size + 2 * GUARD);
	free(model.mem);
}

static void teardown(void)
{
	drop_memory();
	free(cpu_data);
}

/* --- registers -------------------------------------------------------------------- */

static void put(unsigned reg, uint32_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		gr[reg + i] = (uint8_t)(v >> 8 * i);
}

/* Of bytes and lines; the registers have one less. */
static void size(unsigned width, unsigned height)
{
	put(0x20, width - 1, 2);
	put(0x22, height - 1, 2);
}

static void pitches(unsigned dst, unsigned src)
{
	put(0x24, dst, 2);
	put(0x26, src, 2);
}

static void places(uint32_t dst, uint32_t src)
{
	put(0x28, dst, 3);
	put(0x2c, src, 3);
}

static void mode(uint8_t gr30, uint8_t rop, uint8_t gr33)
{
	gr[0x30] = gr30;
	gr[0x32] = rop;
	gr[0x33] = gr33;
}

static void colours(uint32_t fg, uint32_t bg)
{
	for (unsigned i = 0; i < 4; i++) {
		gr[i ? 0x11 + 2 * (i - 1) : 0x01] = (uint8_t)(fg >> 8 * i);
		gr[i ? 0x10 + 2 * (i - 1) : 0x00] = (uint8_t)(bg >> 8 * i);
	}
}

/* --- running ----------------------------------------------------------------------- */

/* What the CPU sends, in pieces of `piece` bytes, the last of which may be too long. */
static void send(unsigned total, unsigned piece)
{
	for (unsigned i = 0; i < total; i += piece) {
		uint64_t v = 0;

		if (!blt.waits)
			ck_abort_msg("takes no more data");
		memcpy(&v, cpu_data + i, piece);
		cirrus_blt_data(&blt, v, piece);
	}
}

static const char *describe(void)
{
	static char text[CIRRUS_GR * 3 + 1];

	for (unsigned i = 0; i < CIRRUS_GR; i++)
		sprintf(text + 3 * i, "%02x ", gr[i]);
	return text;
}

/* The blit that the registers say, by both; they must agree. */
static void both(unsigned piece)
{
	memcpy(model.gr, gr, sizeof(gr));
	memset(touched, 0, sizeof(touched));
	memset(told, 0, sizeof(told));
	model_blit(&model);
	cirrus_blt_start(&blt);
	if (blt.waits != model_from_cpu(&model) || model_cpu_bytes(&model) > DATA - 8)
		ck_abort_msg("waits or not: %s", describe());
	if (blt.waits)
		send(model_cpu_bytes(&model), piece);
	if (blt.waits || memcmp(model.mem, blt.mem, blt.size))
		ck_abort_msg("memory differs: %s", describe());
	for (uint32_t i = 0; i < blt.size / PAGE; i++)
		if (touched[i] > told[i])
			ck_abort_msg("page %u not told: %s", i, describe());
}

static uint32_t peek(uint32_t at, unsigned bytes)
{
	uint32_t v = 0;

	memcpy(&v, blt.mem + at, bytes);
	return v;
}

/* That the engine works as ever, after what came before. */
static void works(void)
{
	memset(gr, 0, sizeof(gr));
	size(4, 2);
	pitches(16, 8);
	places(0x100, 0x200);
	mode(0, 0x0d, 0);
	both(4);
	ck_assert(!memcmp(blt.mem + 0x110, blt.mem + 0x208, 4));
}

/* --- by hand ------------------------------------------------------------------------ */

START_TEST(copy_forward)
{
	memcpy(blt.mem + 0x1000, "abcdefgh", 8);
	memcpy(model.mem + 0x1000, "abcdefgh", 8);
	size(3, 2);
	pitches(10, 4);
	places(0x2000, 0x1000);
	mode(0, 0x0d, 0);
	both(4);
	ck_assert(!memcmp(blt.mem + 0x2000, "abc", 3));
	ck_assert(!memcmp(blt.mem + 0x200a, "efg", 3));
	ck_assert_uint_eq(calls, 1);
}
END_TEST

START_TEST(copy_backward)
{
	memcpy(blt.mem + 0x1000, "abcdefgh", 8);
	memcpy(model.mem + 0x1000, "abcdefgh", 8);
	size(3, 2);
	pitches(10, 4);
	places(0x200c, 0x1007);
	mode(1, 0x0d, 0);
	both(4);
	ck_assert(!memcmp(blt.mem + 0x200a, "fgh", 3));
	ck_assert(!memcmp(blt.mem + 0x2000, "bcd", 3));
}
END_TEST

/* A picture moved over itself, both ways: it arrives whole. */
START_TEST(copy_overlapping)
{
	uint8_t was[64 * 16];

	memcpy(was, blt.mem + 0x1000, sizeof(was));
	size(50, 15);
	pitches(64, 64);
	places(0x1000 + 14 * 64 + 49 + 64 + 3, 0x1000 + 14 * 64 + 49);
	mode(1, 0x0d, 0);
	both(4);
	for (unsigned y = 0; y < 15; y++)
		ck_assert(!memcmp(blt.mem + 0x1000 + 64 + 3 + 64 * y, was + 64 * y, 50));
	memcpy(was, blt.mem + 0x1000 + 64, 15 * 64);
	places(0x1000, 0x1000 + 64);
	mode(0, 0x0d, 0);
	both(4);
	for (unsigned y = 0; y < 15; y++)
		ck_assert(!memcmp(blt.mem + 0x1000 + 64 * y, was + 64 * y, 50));
}
END_TEST

static const uint8_t rops[16] = { 0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50,
				  0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda };

START_TEST(operations)
{
	/* of a source of 1100 and a destination of 1010, in both halves */
	static const uint8_t results[16] = { 0x00, 0x88, 0xaa, 0x44, 0x55, 0xcc, 0xff, 0x22,
					     0x66, 0xee, 0x11, 0x99, 0xdd, 0x33, 0xbb, 0x77 };

	size(13, 1);
	places(0x2000, 0x1000);
	memset(blt.mem + 0x1000, 0xcc, 13);
	memset(model.mem + 0x1000, 0xcc, 13);
	for (unsigned i = 0; i < 16; i++) {
		memset(blt.mem + 0x2000, 0xaa, 13);
		memset(model.mem + 0x2000, 0xaa, 13);
		mode(0, rops[i], 0);
		both(4);
		ck_assert_uint_eq(blt.mem[0x2000], results[i]);
		ck_assert_uint_eq(blt.mem[0x200c], results[i]);
	}
	for (unsigned i = 0; i < 256; i++) {
		mode(0, (uint8_t)i, 0);
		both(4);
	}
}
END_TEST

START_TEST(fill_all_depths)
{
	colours(0x44332211, 0);
	for (unsigned depth = 1; depth <= 4; depth++) {
		size(5 * depth, 3);
		pitches(100, 0);
		places(0x3001, 0);
		mode((uint8_t)(0xc0 | (depth - 1) << 4), 0x0d, 4);
		gr[0x2f] = 3; /* does not count */
		both(4);
		for (unsigned i = 0; i < 15; i++)
			ck_assert_uint_eq(peek(0x3001 + i / 5 * 100 + i % 5 * depth, depth),
					  0x44332211 & (~0u >> (32 - 8 * depth)));
	}
}
END_TEST

START_TEST(expand_opaque_and_transparent)
{
	uint32_t was[8];

	colours(0x11223344, 0x55667788);
	size(8 * 4, 1);
	places(0x4000, 0x5000);
	blt.mem[0x5000] = model.mem[0x5000] = 0xb1;
	mode(0xb0, 0x0d, 0);
	both(4);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(peek(0x4000 + 4 * i, 4),
				  0xb1 >> (7 - i) & 1 ? 0x11223344 : 0x55667788);
	for (unsigned inverted = 0; inverted < 2; inverted++) {
		uint32_t at = 0x4100 + 0x100 * inverted;

		memcpy(was, blt.mem + at, sizeof(was));
		places(at, 0x5000);
		mode(0xb8, 0x0d, inverted ? 2 : 0);
		gr[0x2f] = 2;
		both(4);
		for (unsigned i = 0; i < 8; i++) {
			uint32_t v = inverted ? 0x55667788 : 0x11223344;

			ck_assert_uint_eq(peek(at + 4 * i, 4),
					  i >= 2 && (0xb1 >> (7 - i) & 1) != inverted ? v : was[i]);
		}
	}
}
END_TEST

START_TEST(patterns)
{
	size(20, 17);
	pitches(64, 64);
	/* of bytes, from its fourth line on */
	places(0x4000, 0x5003);
	mode(0x40, 0x0d, 0);
	both(4);
	ck_assert_uint_eq(blt.mem[0x4000], blt.mem[0x5000 + 3 * 8]);
	ck_assert_uint_eq(blt.mem[0x4000 + 64 * 6 + 13], blt.mem[0x5000 + 1 * 8 + 5]);
	/* of bits */
	colours(0xaa, 0x55);
	mode(0xc0, 0x0d, 0);
	both(4);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(blt.mem[0x4000 + 64 * 6 + i],
				  blt.mem[0x5001] >> (7 - i % 8) & 1 ? 0xaa : 0x55);
	/* of three bytes a pixel: lines of 32 bytes */
	size(60, 9);
	places(0x4000, 0x5001);
	mode(0x60, 0x0d, 0);
	both(4);
	ck_assert_uint_eq(peek(0x4000 + 64 * 2 + 9 * 3, 3), peek(0x5000 + 32 * 3 + 3, 3));
}
END_TEST

START_TEST(transparent_colour)
{
	static const uint8_t line[] = { 1, 2, 1, 2, 3, 2, 1, 2, 0x81, 2 };
	static const uint8_t expect[] = { 9, 9, 9, 9, 3, 2, 9, 9, 9, 9 };

	memcpy(blt.mem + 0x1000, line, 10);
	memcpy(model.mem + 0x1000, line, 10);
	memset(blt.mem + 0x2000, 9, 10);
	memset(model.mem + 0x2000, 9, 10);
	size(10, 1);
	places(0x2000, 0x1000);
	mode(0x18, 0x0d, 0);
	put(0x34, 0x0201, 2);
	put(0x38, 0x0080, 2);
	both(4);
	ck_assert(!memcmp(blt.mem + 0x2000, expect, 10));
}
END_TEST

/* Lines of three bytes come as four; lines of bits as bytes or, if so wanted, as four. */
START_TEST(from_the_cpu)
{
	size(3, 4);
	pitches(16, 0);
	places(0x6000, 0);
	mode(0x04, 0x0d, 0);
	both(4);
	ck_assert(!memcmp(blt.mem + 0x6010, cpu_data + 4, 3));
	colours(0xff, 0);
	size(12, 5);
	for (unsigned piece = 1; piece <= 8; piece *= 2) {
		mode(0x84, 0x0d, 0);
		both(piece);
		ck_assert_uint_eq(blt.mem[0x6010], cpu_data[2] & 0x80 ? 0xff : 0);
		mode(0x84, 0x0d, 1);
		both(piece);
		ck_assert_uint_eq(blt.mem[0x6010], cpu_data[4] & 0x80 ? 0xff : 0);
		mode(0x44, 0x0d, 0);
		both(piece);
		mode(0xc4, 0x0d, 0);
		both(piece);
	}
}
END_TEST

/* A blit is done as it was when it was started. */
START_TEST(registers_change_while_it_waits)
{
	size(16, 2);
	pitches(16, 0);
	places(0x6000, 0);
	mode(0x04, 0x0d, 0);
	memcpy(model.gr, gr, sizeof(gr));
	model_blit(&model);
	cirrus_blt_start(&blt);
	send(20, 4);
	memset(gr, 0xff, sizeof(gr));
	for (unsigned i = 20; i < 32; i += 4) {
		uint32_t v;

		memcpy(&v, cpu_data + i, 4);
		cirrus_blt_data(&blt, v, 4);
	}
	ck_assert(!blt.waits);
	cirrus_blt_data(&blt, ~0ull, 8);
	ck_assert(!memcmp(model.mem, blt.mem, blt.size));
	works();
}
END_TEST

START_TEST(given_up_and_started_anew)
{
	size(16, 2);
	pitches(16, 0);
	places(0x6000, 0);
	mode(0x04, 0x0d, 0);
	memcpy(model.gr, gr, sizeof(gr));
	cirrus_blt_start(&blt);
	send(12, 4);
	cirrus_blt_reset(&blt);
	ck_assert(!blt.waits);
	cirrus_blt_data(&blt, 0, 8);
	ck_assert(!memcmp(model.mem, blt.mem, blt.size));
	cirrus_blt_start(&blt);
	send(12, 4);
	both(4);
	works();
}
END_TEST

START_TEST(control_and_status)
{
	uint8_t kept;

	size(4, 1);
	places(0x6000, 0x7000);
	mode(0, 0x0d, 0);
	kept = cirrus_blt_control(&blt, 0, 0x02);
	ck_assert_uint_eq(kept, 0);
	ck_assert_uint_eq(cirrus_blt_status(&blt, kept), 0);
	ck_assert(!memcmp(blt.mem + 0x6000, blt.mem + 0x7000, 4));
	ck_assert_uint_eq(cirrus_blt_control(&blt, 0, 0x80), 0x80);
	mode(4, 0x0d, 0);
	kept = cirrus_blt_control(&blt, 0x80, 0x82);
	ck_assert_uint_eq(cirrus_blt_status(&blt, kept), 0x8b);
	cirrus_blt_data(&blt, 0x0102, 2);
	kept = cirrus_blt_control(&blt, kept, 0x82); /* no new start */
	cirrus_blt_data(&blt, 0x0304, 2);
	ck_assert_uint_eq(peek(0x6000, 4), 0x03040102);
	ck_assert_uint_eq(cirrus_blt_status(&blt, kept), 0x80);
	kept = cirrus_blt_control(&blt, kept, 0x82);
	ck_assert(blt.waits);
	kept = cirrus_blt_control(&blt, kept, 0x84);
	ck_assert(!blt.waits);
	ck_assert_uint_eq(cirrus_blt_status(&blt, kept), 0x84);
}
END_TEST

/* --- what has broken others ----------------------------------------------------------- */

/* Blits whose source and destination go on beyond the end of the memory, heap overflows then. */
START_TEST(cve_2007_1320)
{
	static const uint8_t modes[] = { 0x00, 0x40, 0x80, 0xc0, 0x08, 0x88, 0xc8, 0x04, 0x84 };

	for (unsigned i = 0; i < sizeof(modes); i++) {
		for (unsigned ext = 0; ext < 8; ext++) {
			size(8192, 40);
			pitches(0x1fff, 0x1fff);
			places(0x3fffff, 0x3ffff0);
			mode(modes[i] | (uint8_t)((i & 3) << 4), 0x0d, (uint8_t)ext);
			both(8);
		}
	}
	works();
}
END_TEST

/* The same holes where the first fix had not looked: data from the CPU, and pitches of their own.
 */
START_TEST(cve_2008_4539)
{
	for (unsigned i = 0; i < 8; i++) {
		size(8192, 16);
		pitches(i & 1 ? 0x1fff : 1, i & 1 ? 1 : 0x1fff);
		places(SMALL - 1, SMALL - 8192);
		mode((uint8_t)((i & 2 ? 0x84 : 0x04) | (i & 4 ? 0x30 : 0)), 0x59, 0);
		both(4);
		mode(i & 2 ? 0x01 : 0x00, 0x59, 0);
		both(4);
	}
	works();
}
END_TEST

/* Addresses near the end with lines whose width exceeds the pitch: each was checked alone. */
START_TEST(cve_2014_8106)
{
	for (unsigned back = 0; back < 2; back++) {
		size(8192, 2);
		pitches(16, 16);
		places(SMALL - 32, SMALL - 16);
		mode((uint8_t)back, 0x0d, 0);
		both(4);
		places(16, 0);
		both(4);
		size(8192, 64);
		pitches(0, 0x1fff);
		both(4);
	}
	works();
}
END_TEST

/* Divisions by the pixel's size and by the pitch while they were none (and 2016-9922). */
START_TEST(cve_2016_9921)
{
	for (unsigned i = 0; i < 256; i++) {
		memset(gr, 0, sizeof(gr));
		size(1 + (i & 3), 1 + (i >> 6));
		places(i, 0x100);
		mode((uint8_t)i, 0x0d, 0);
		both(4);
	}
	works();
}
END_TEST

/* Copies backwards with a pitch that takes them below the memory's beginning. */
START_TEST(cve_2017_2615)
{
	for (unsigned i = 0; i < 4; i++) {
		size(i & 1 ? 8192 : 64, 64);
		pitches(0x1fff, i & 2 ? 0x1fff : 0);
		places(i, 0);
		mode(1, 0x0d, 0);
		both(4);
		mode(0x19, 0x0d, 0);
		both(4);
	}
	works();
}
END_TEST

/* Data from the CPU, to a destination and of a width that nothing had checked. */
START_TEST(cve_2017_2620)
{
	for (unsigned i = 0; i < 16; i++) {
		size(8192, 9);
		pitches(0x1fff, 0);
		places(0x3fffff - i, 0);
		mode((uint8_t)(0x04 | i << 4), 0x0d, 0);
		both(8);
		mode((uint8_t)(0x0c | i << 4), 0x0d, 3);
		both(8);
	}
	works();
}
END_TEST

/* Operations that read the destination or compare, and sources beyond the memory: they were read.
 */
START_TEST(cve_2017_7718)
{
	for (unsigned i = 0; i < 16; i++) {
		size(8191, 3);
		pitches(0x100, 0x1ffe);
		places(0x10, SMALL - 3);
		mode(0x08, rops[i], 0);
		both(4);
		mode(0x18, rops[i], 0);
		both(4);
		mode(0x00, rops[i], 0);
		both(4);
	}
	works();
}
END_TEST

/* A shift by a negative number when three-byte pixels are skipped: offsets of up to 31 bytes. */
START_TEST(skip_of_24_bits)
{
	for (unsigned i = 0; i < 256; i++) {
		size(1 + i % 40, 3);
		pitches(0x100, 0);
		places(0x1000, 0x2000 + i);
		gr[0x2f] = (uint8_t)i;
		for (unsigned kind = 0; kind < 8; kind++) {
			mode((uint8_t)(0x20 | kind << 6 | (kind & 4 ? 8 : 0)), 0x0d, 0);
			both(4);
		}
	}
	works();
}
END_TEST

/* --- at random ------------------------------------------------------------------------- */

static uint32_t near_edge(void)
{
	uint32_t edge = below(2) ? 0 : blt.size;

	return edge + below(600) - 300;
}

static uint32_t place(void)
{
	switch (below(4)) {
	case 0:
		return near_edge();
	case 1:
		return rnd();
	default:
		return 0x8000 + below(512);
	}
}

static uint32_t pitch(uint32_t width)
{
	switch (below(8)) {
	case 0:
		return 0;
	case 1:
		return rnd();
	case 2:
		return below(8);
	case 3:
		return width;
	default:
		return width + below(64);
	}
}

static void random_registers(void)
{
	bool wide = !below(300);
	uint32_t width = wide ? 1 + below(8192) : 1 + below(below(8) ? 48 : 300);
	uint32_t dst = place();

	for (unsigned i = 0; i < CIRRUS_GR; i++)
		gr[i] = (uint8_t)rnd();
	size(width, 1 + below(wide ? 4 : 12));
	pitches(pitch(width), pitch(width));
	places(dst, below(2) ? dst + below(200) - 100 : place());
	gr[0x30] &= (uint8_t) ~(below(64) ? 2 : 0); /* nothing but itself */
	if (below(8))
		gr[0x32] = rops[below(16)];
	if (below(2))
		gr[0x32] = 0x0d;
	/* The colour that is transparent is one that the source has. */
	if (below(4)) {
		gr[0x34] = blt.mem[(dst + 1) % blt.size];
		gr[0x35] = blt.mem[(dst + 2) % blt.size];
		put(0x38, below(2) ? 0 : 0xf0f0, 2);
	}
}

static void random_blits(unsigned n, uint64_t from)
{
	seed = from;
	for (unsigned i = 0; i < n; i++) {
		random_registers();
		both(1u << below(4));
		/* Few colours, so that comparisons of them are sometimes equal. */
		if (i % 64 == 0) {
			uint32_t at = below(blt.size - 1024);

			for (unsigned k = 0; k < 1024; k++)
				blt.mem[at + k] = model.mem[at + k] = (uint8_t)below(2);
		}
	}
}

START_TEST(differential)
{
	random_blits(60000, 0x9e3779b97f4a7c15ull * (unsigned)(_i + 1));
}
END_TEST

START_TEST(differential_smallest_memory)
{
	drop_memory();
	use_memory(CIRRUS_BLT_MEM_MIN);
	random_blits(30000, 77);
}
END_TEST

START_TEST(differential_large_memory)
{
	drop_memory();
	use_memory(1 << 20);
	random_blits(3000, 4711);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cirrus_blt");
	TCase *tc = tcase_create("engine"), *cves = tcase_create("cves"),
	      *random = tcase_create("random");
	const TTest *engine[] = {
		copy_forward,
		copy_backward,
		copy_overlapping,
		operations,
		fill_all_depths,
		expand_opaque_and_transparent,
		patterns,
		transparent_colour,
		from_the_cpu,
		registers_change_while_it_waits,
		given_up_and_started_anew,
		control_and_status,
	};
	const TTest *broke_others[] = {
		cve_2007_1320, cve_2008_4539, cve_2014_8106, cve_2016_9921,
		cve_2017_2615, cve_2017_2620, cve_2017_7718, skip_of_24_bits,
	};

	for (unsigned i = 0; i < sizeof(engine) / sizeof(engine[0]); i++)
		tcase_add_test(tc, engine[i]);
	for (unsigned i = 0; i < sizeof(broke_others) / sizeof(broke_others[0]); i++)
		tcase_add_test(cves, broke_others[i]);
	tcase_add_loop_test(random, differential, 0, 8);
	tcase_add_test(random, differential_smallest_memory);
	tcase_add_test(random, differential_large_memory);
	for (unsigned i = 0; i < 3; i++) {
		TCase *c = (TCase *[]){ tc, cves, random }[i];

		tcase_add_checked_fixture(c, setup, teardown);
		tcase_set_timeout(c, 120);
		suite_add_tcase(s, c);
	}
	return run_suite(s);
}
