/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BitBLT engine of Cirrus Logic's GD5446 (GD5446 Technical Reference Manual, chapter "BitBLT
 * Engine", registers GR0, GR1, GR10 to GR15 and GR20 to GR39), without the card it is in:
 * registers in, memory changed. Every address is taken modulo the memory's size and every
 * access is within it, whatever the registers say.
 *
 * The card's lock is held. A blit is done when cirrus_blt_start returns, but for those whose source
 * is the system's memory: these wait for their data, which the card hands on as the CPU writes it.
 */
#ifndef POSADA_CIRRUS_BLT_H
#define POSADA_CIRRUS_BLT_H

#include <stdbool.h>
#include <stdint.h>

enum { CIRRUS_GR = 0x40, CIRRUS_BLT_LINE = 8192 + 8 };

struct cirrus_blt {
	/* given by the card */
	uint8_t *mem;
	uint32_t size; /* bytes, a power of two */
	const uint8_t *gr; /* CIRRUS_GR graphics registers, as written */
	/* len bytes from first on, within the memory, have changed. */
	void (*changed)(void *ctx, uint32_t first, uint32_t len);
	void *ctx;

	/* of a blit from the system's memory */
	bool waits; /* for data */
	uint32_t lines_left, line_len, line_have; /* bytes of source a line; those that are here */
	uint32_t dst; /* of the next line */
	uint8_t line[CIRRUS_BLT_LINE];
};

/* GR31's bit 1 was set. Impossible blits (no width ...) do nothing. */
void cirrus_blt_start(struct cirrus_blt *b);
/* size bytes (1, 2, 4 or 8) that the CPU wrote while b->waits; lowest first. */
void cirrus_blt_data(struct cirrus_blt *b, uint64_t val, unsigned size);
/* GR31's bit 2, or a reset of the card: a blit that waits is given up. */
void cirrus_blt_reset(struct cirrus_blt *b);

#endif
