/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The raster operations of Cirrus Logic's BitBLT engines (GD5446 Technical Reference Manual,
 * register GR32), and what makes lines for them of colours and bits. For cirrus_blt.c.
 */
#ifndef POSADA_CIRRUS_ROP_H
#define POSADA_CIRRUS_ROP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * An operation on the source s and the destination d, bit by bit, 64 of them at once:
 * x ^ (s & xs) ^ (d & (y ^ (s & ys))). Each is all ones or none.
 */
struct cirrus_rop {
	uint64_t x, xs, y, ys;
	bool copies; /* the result is the source */
	bool keeps; /* the result is the destination */
};

/* The operation that GR32 names. */
struct cirrus_rop cirrus_rop(uint8_t gr32);
/*
 * dst becomes what the operation makes of both, where mask's bits are set; mask NULL: everywhere.
 * src and dst may overlap only if the operation copies and mask is NULL.
 */
void cirrus_rop_line(const struct cirrus_rop *r, uint8_t *dst, const uint8_t *src,
		     const uint8_t *mask, uint32_t len);

enum { CIRRUS_EXPAND_SLACK = 8 * 4 }; /* bytes beyond the line that may be written */

/*
 * Draws pixels of `pixel` bytes each: set where bits has a one, the highest bit of a byte first,
 * clear elsewhere. Writes whole groups of eight, see CIRRUS_EXPAND_SLACK.
 */
void cirrus_expand(uint8_t *out, const uint8_t *bits, uint32_t pixels, uint32_t pixel, uint32_t set,
		   uint32_t clear);
/* Repeats the first unit bytes until there are len. */
void cirrus_repeat(uint8_t *out, uint32_t unit, uint32_t len);

#endif
