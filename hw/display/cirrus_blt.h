/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BitBLT engine of Cirrus Logic's GD5446 (GD5446 Technical Reference Manual, chapter "BitBLT
 * Engine", registers GR0, GR1, GR10 to GR15 and GR20 to GR39), without the card it is in:
 * registers in, memory changed. Every address is taken modulo the memory's size and every
 * access is within it, whatever the registers say.
 *
 * The card's lock is held. A blit is done when cirrus_blt_start returns, but for those whose source
 * is the system's memory: these wait for their data, which the card hands on as the CPU writes it.
 *
 * Registers but GR31 only say what the next blit is to be: writes to them may come late (see struct
 * io_region), as long as GR31's autostart, which makes GR2A start a blit, is off. Autostart itself
 * is the card's.
 *
 * What the manual leaves open is done like this:
 * - The source of a line is read before the line is drawn, a pattern before the first line.
 * - Only plain copies go backwards; patterns and colour expansion have no use for it.
 * - A width that is no multiple of the pixel's ends within a pixel; what is beyond stays.
 * - Transparency compares the source, and only where pixels are of 8 or 16 bits.
 * - With GR33's bit 1 transparent colour expansion draws the background and leaves out the
 *   foreground; it is of no effect without transparency.
 * - Operations that GR32 does not know draw nothing, as do blits to the system's memory, which
 *   this chip has not.
 */
#ifndef POSADA_CIRRUS_BLT_H
#define POSADA_CIRRUS_BLT_H

#include <stdbool.h>
#include <stdint.h>

#include "cirrus_rop.h"

enum {
	CIRRUS_GR = 0x40,
	CIRRUS_BLT_WIDTH = 8192, /* bytes a line, at most */
	CIRRUS_BLT_LINE = CIRRUS_BLT_WIDTH + 8,
	CIRRUS_BLT_MEM_MIN = 2 * CIRRUS_BLT_WIDTH, /* so that no line meets itself */
	CIRRUS_BLT_PATTERN = 8 * 32, /* bytes of the largest pattern */
};

enum cirrus_blt_kind {
	BLT_COPY,
	BLT_PATTERN,
	BLT_EXPAND,
	BLT_MONO_PATTERN,
	BLT_FILL,
};

/* What the registers said when the blit was started. */
struct cirrus_blt_op {
	enum cirrus_blt_kind kind;
	bool backward, transparent, invert;
	struct cirrus_rop rop;
	uint32_t width, height; /* bytes, lines */
	uint32_t dst, dst_pitch, src, src_pitch;
	uint32_t pixel; /* bytes */
	uint32_t skip; /* bytes that are left out at a line's beginning */
	uint32_t fg, bg;
	uint16_t key, key_mask; /* bits of the mask that are set take part */
	uint32_t pattern_line; /* bytes of a line of the pattern */
	uint8_t pattern[CIRRUS_BLT_PATTERN];
};

struct cirrus_blt {
	/* given by the card */
	uint8_t *mem;
	uint32_t size; /* bytes, a power of two, at least CIRRUS_BLT_MEM_MIN */
	const uint8_t *gr; /* CIRRUS_GR graphics registers, as written */
	/* len bytes from first on, within the memory, have changed. */
	void (*changed)(void *ctx, uint32_t first, uint32_t len);
	void *ctx;

	struct cirrus_blt_op op;
	uint32_t changed_first, changed_end; /* not told yet; empty: equal */
	/* of a blit from the system's memory */
	bool waits; /* for data */
	uint32_t lines_left, line_len, line_have; /* bytes of source a line; those that are here */
	uint32_t dst; /* of the next line */
	uint8_t line[CIRRUS_BLT_LINE];
};

/* GR31's bit 1 was set. Impossible blits do nothing. */
void cirrus_blt_start(struct cirrus_blt *b);
/* size bytes (1, 2, 4 or 8) that the CPU wrote while b->waits; lowest first. */
void cirrus_blt_data(struct cirrus_blt *b, uint64_t val, unsigned size);
/* GR31's bit 2, or a reset of the card: a blit that waits is given up. */
void cirrus_blt_reset(struct cirrus_blt *b);
/*
 * GR31 was written: resets or starts as its bits say; the value is what the register keeps.
 * Instead of calling the two above by hand.
 */
uint8_t cirrus_blt_control(struct cirrus_blt *b, uint8_t was, uint8_t val);
/* What GR31 reads as, kept being what cirrus_blt_control returned. */
uint8_t cirrus_blt_status(const struct cirrus_blt *b, uint8_t kept);

#endif
