/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text memory without exits. As long as the registers are those of a colour text mode, a
 * byte written at 0xb8000 + n does nothing but change plane n % 2 at address n / 2, and
 * reading finds it there: then the guest may have a linear picture of both planes as
 * memory. It is made when the guest has come the long way a few times, and copied back when a
 * register makes the planes something else, such as to load a font. What was written meanwhile
 * is found by the dirty log when the screen is drawn.
 *
 * The card's lock is held; any thread.
 */
#include <string.h>

#include "vga.h"

enum { HITS = 16, CELLS = VGA_LINEAR_LEN / 2, PAGE_CELLS = VGA_PAGE / 2 };

static bool possible(const struct vga *v)
{
	const uint8_t *gr = v->gr, *seq = v->seq;

	/* Odd/even addressing of planes 0 and 1 at 0xb8000; write mode 0, nothing but data. */
	return v->linear && !v->every_access && !vga_dispi_on(v) && (seq[2] & 15) == 3 &&
	       !(seq[4] & 0x0c) && !gr[1] && !gr[3] && !(gr[4] & 2) && (gr[5] & 0x1b) == 0x10 &&
	       (gr[6] & 0x0d) == 0x0c && gr[8] == 0xff;
}

static void to_planes(struct vga *v, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++) {
		uint8_t *dword = v->mem + i * 4u, *pair = v->linear + i * 2u;

		if (!memcmp(dword, pair, 2))
			continue;
		memcpy(dword, pair, 2);
		vga_mark(v, i * 4);
	}
}

static void begin(struct vga *v)
{
	for (unsigned i = 0; i < CELLS; i++)
		memcpy(v->linear + i * 2u, v->mem + i * 4u, 2);
	if (v->linear_map(v->ctx, true))
		v->linear = NULL; /* no memory slots are left: never again */
	else
		v->linear_on = true;
}

void vga_linear_hit(struct vga *v)
{
	if (!v->linear_on && v->linear && ++v->linear_hits >= HITS && possible(v))
		begin(v);
}

void vga_linear_end(struct vga *v)
{
	v->linear_hits = 0;
	if (!v->linear_on)
		return;
	v->linear_on = false;
	v->linear_map(v->ctx, false);
	to_planes(v, 0, CELLS);
}

void vga_linear_check(struct vga *v)
{
	vga_window_check(v);
	if (v->linear_on && !possible(v))
		vga_linear_end(v);
}

void vga_linear_sync(struct vga *v)
{
	uint64_t dirty = v->linear_on ? v->linear_dirty(v->ctx) : 0;

	for (unsigned page = 0; page < VGA_LINEAR_LEN / VGA_PAGE; page++)
		if (dirty >> page & 1)
			to_planes(v, page * PAGE_CELLS, PAGE_CELLS);
}
