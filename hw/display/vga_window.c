/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Graphics memory at 0xa0000 without exits. In a chain-4 mode whose registers do nothing to data on
 * its way (mode 13h, and the banks of VBE's modes) a byte of the window is a byte of memory:
 * then the guest is let at it directly, when it has come the long way a few times. A guest
 * that changes banks all the time would pay more for the mapping, which takes as long as 40 exits
 * and more, than it would gain: so the count starts anew with each bank. What is written is
 * found by the dirty log.
 *
 * One thing is lost: reading so does not load the latches, which no chain-4 mode uses.
 *
 * The card's lock is held; any thread.
 */
#include <string.h>

#include "vga.h"

enum { HITS = 128, BANK = 64 << 10 };

/* Write mode 0 and read mode 0 with nothing but data. */
static bool plain(const struct vga *v)
{
	const uint8_t *gr = v->gr;

	return v->seq[4] & 0x08 && (v->seq[2] & 15) == 15 && !gr[1] && !gr[3] && !(gr[5] & 0x0b) &&
	       gr[8] == 0xff;
}

unsigned vga_windows(const struct vga *v, struct vga_window *w)
{
	uint32_t bank = vga_dispi_on(v) ? v->dispi[DISPI_BANK] * (uint32_t)BANK : 0;

	if (!plain(v) || v->gr[6] & 0x08)
		return 0;
	/* The window of 128 KiB knows no banks. */
	*w = v->gr[6] & 0x04 ? (struct vga_window){ .len = BANK, .at = bank }
			     : (struct vga_window){ .len = VGA_WINDOW_LEN };
	return 1;
}

static bool possible(const struct vga *v, const struct vga_window *w)
{
	return w->len && !((w->off | w->len | w->at) % VGA_PAGE) && w->off < VGA_WINDOW_LEN &&
	       w->len <= VGA_WINDOW_LEN - w->off && w->at < v->size && w->len <= v->size - w->at;
}

static bool same(const struct vga_window *a, const struct vga_window *b)
{
	return a->off == b->off && a->len == b->len && a->at == b->at;
}

static unsigned get(const struct vga *v, struct vga_window *w)
{
	memset(w, 0, VGA_WINDOWS * sizeof(*w));
	return v->windows ? v->windows(v, w) : vga_windows(v, w);
}

/* The dirty log of what is no longer mapped cannot be asked. */
static void drop(struct vga *v, unsigned i)
{
	struct vga_window_state *s = &v->window[i];

	s->hits = 0;
	if (!s->on)
		return;
	s->on = false;
	v->window_map(v->ctx, i, NULL);
	for (uint32_t byte = 0; byte < s->w.len; byte += VGA_PAGE)
		vga_mark(v, s->w.at + byte);
}

void vga_window_hit(struct vga *v, uint32_t off)
{
	struct vga_window now[VGA_WINDOWS];
	unsigned n = v->window_map && !v->no_windows ? get(v, now) : 0;

	for (unsigned i = 0; i < n; i++) {
		struct vga_window_state *s = &v->window[i];

		if (off < now[i].off || off - now[i].off >= now[i].len || !possible(v, &now[i]))
			continue;
		if (!same(&now[i], &s->w)) {
			drop(v, i);
			s->w = now[i];
		}
		if (s->on || ++s->hits < HITS)
			continue;
		if (v->window_map(v->ctx, i, &s->w))
			v->no_windows = true; /* no memory slots are left: never again */
		else
			s->on = true;
	}
}

void vga_window_check(struct vga *v)
{
	struct vga_window now[VGA_WINDOWS];
	unsigned n = get(v, now);

	for (unsigned i = 0; i < VGA_WINDOWS; i++)
		if (v->window[i].on && (i >= n || !same(&now[i], &v->window[i].w)))
			drop(v, i);
}

void vga_window_end(struct vga *v)
{
	for (unsigned i = 0; i < VGA_WINDOWS; i++)
		drop(v, i);
}
