/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The picture that fbtest draws in the guest and tests/boot/screen expects on the host: bars above,
 * a gradient in the middle, a chess board below, and a frame of one pixel around it all.
 */
#ifndef POSADA_GUEST_PICTURE_H
#define POSADA_GUEST_PICTURE_H

#include <stdint.h>

/* What fbtest puts where a pointer is pressed: a square of this size around the place. */
enum { MARK_SIZE = 9, MARK_COLOUR = 0xff8000, KEY_COLOUR = 0x00ff80 };

/* The pixel at (x, y) of a picture of w by h, as 0xRRGGBB; w and h are 2 at least. */
static inline uint32_t picture(unsigned x, unsigned y, unsigned w, unsigned h)
{
	unsigned level;

	if (x == 0 || y == 0 || x == w - 1 || y == h - 1)
		return 0xff00ff;
	if (y < h / 3) {
		unsigned bar = x * 8 / w;

		return (bar & 4 ? 0xff0000u : 0) | (bar & 2 ? 0xff00u : 0) | (bar & 1 ? 0xffu : 0);
	}
	if (y < h * 2 / 3) {
		level = x * 255 / (w - 1);
		return level << 16 | (255 - level) << 8 | y * 255 / (h - 1);
	}
	return (x / 16 + y / 16) % 2 ? 0xf0f0f0 : 0x204060;
}

/* The place in 0 .. size - 1 of an absolute pointer's coordinate, 0 .. max. */
static inline unsigned place(int value, int max, unsigned size)
{
	return max > 0 && value > 0 ? (unsigned)((uint64_t)value * (size - 1) / (unsigned)max) : 0;
}

/* Key number `code` has a square of this size in rows from the top left corner on. */
enum { KEY_SIZE = 16 };

static inline void key_place(unsigned code, unsigned w, unsigned *x, unsigned *y)
{
	unsigned columns = w / KEY_SIZE;

	*x = code % columns * KEY_SIZE;
	*y = code / columns * KEY_SIZE;
}

#endif
