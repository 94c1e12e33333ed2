/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raster operations and lines of Cirrus Logic's BitBLT engines, see cirrus_rop.h. Called under the
 * card's lock.
 */
#include "cirrus_rop.h"

#include <string.h>

/* Results of an operation by bits of source and destination: bit 2 * s + d. */
static const struct {
	uint8_t gr32, results;
} operations[] = {
	{ 0x00, 0x0 }, /* 0 */
	{ 0x90, 0x1 }, /* ~s & ~d */
	{ 0x50, 0x2 }, /* ~s & d */
	{ 0xd0, 0x3 }, /* ~s */
	{ 0x09, 0x4 }, /* s & ~d */
	{ 0x0b, 0x5 }, /* ~d */
	{ 0x59, 0x6 }, /* s ^ d */
	{ 0xda, 0x7 }, /* ~s | ~d */
	{ 0x05, 0x8 }, /* s & d */
	{ 0x95, 0x9 }, /* ~(s ^ d) */
	{ 0x06, 0xa }, /* d */
	{ 0xd6, 0xb }, /* ~s | d */
	{ 0x0d, 0xc }, /* s */
	{ 0xad, 0xd }, /* s | ~d */
	{ 0x6d, 0xe }, /* s | d */
	{ 0x0e, 0xf }, /* 1 */
};

enum { RESULTS_D = 0xa, RESULTS_S = 0xc };

static uint64_t ones(unsigned bit)
{
	return bit & 1 ? ~0ull : 0;
}

struct cirrus_rop cirrus_rop(uint8_t gr32)
{
	unsigned t = RESULTS_D;

	for (unsigned i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (operations[i].gr32 == gr32)
			t = operations[i].results;
	return (struct cirrus_rop){
		.x = ones(t),
		.xs = ones(t ^ t >> 2),
		.y = ones(t ^ t >> 1),
		.ys = ones(t ^ t >> 1 ^ t >> 2 ^ t >> 3),
		.copies = t == RESULTS_S,
		.keeps = t == RESULTS_D,
	};
}

static inline uint64_t operate(const struct cirrus_rop *r, uint64_t d, uint64_t s)
{
	return r->x ^ (s & r->xs) ^ (d & (r->y ^ (s & r->ys)));
}

static inline uint64_t load(const uint8_t *p, uint32_t len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

void cirrus_rop_line(const struct cirrus_rop *r, uint8_t *dst, const uint8_t *src,
		     const uint8_t *mask, uint32_t len)
{
	const struct cirrus_rop rop = *r;

	if (rop.copies && !mask) {
		memmove(dst, src, len);
		return;
	}
	while (len) {
		uint32_t n = len < 8 ? len : 8;
		uint64_t d, m, v;

		/* The common length as a constant: a load and a store rather than calls. */
		if (n == 8) {
			d = load(dst, 8);
			m = mask ? load(mask, 8) : ~0ull;
			v = d ^ ((operate(&rop, d, load(src, 8)) ^ d) & m);
			memcpy(dst, &v, 8);
		} else {
			d = load(dst, n);
			m = mask ? load(mask, n) : ~0ull;
			v = d ^ ((operate(&rop, d, load(src, n)) ^ d) & m);
			memcpy(dst, &v, n);
		}
		dst += n;
		src += n;
		mask = mask ? mask + n : NULL;
		len -= n;
	}
}

static inline __attribute__((always_inline)) void expand(uint8_t *out, const uint8_t *bits,
							 uint32_t pixels, uint32_t pixel,
							 uint32_t set, uint32_t clear)
{
	for (uint32_t i = 0; i < pixels; i += 8) {
		unsigned group = *bits++;

		for (unsigned k = 0; k < 8; k++) {
			uint32_t v = clear ^ ((set ^ clear) & -(group >> (7 - k) & 1));

			memcpy(out, &v, pixel == 3 ? 4 : pixel);
			out += pixel;
		}
	}
}

void cirrus_expand(uint8_t *out, const uint8_t *bits, uint32_t pixels, uint32_t pixel, uint32_t set,
		   uint32_t clear)
{
	switch (pixel) {
	case 1:
		expand(out, bits, pixels, 1, set, clear);
		break;
	case 2:
		expand(out, bits, pixels, 2, set, clear);
		break;
	case 3:
		expand(out, bits, pixels, 3, set, clear);
		break;
	default:
		expand(out, bits, pixels, 4, set, clear);
		break;
	}
}

void cirrus_repeat(uint8_t *out, uint32_t unit, uint32_t len)
{
	for (uint32_t have = unit; have < len;) {
		uint32_t n = have < len - have ? have : len - have;

		memcpy(out + have, out, n);
		have += n;
	}
}
