/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drawing a VGA's graphics modes onto its screen's surface, by lines: one is drawn again
 * only when a page of its memory was written, or a register that matters. Main loop; the card's
 * lock is held but in update, which takes it.
 */
#include "vga.h"

#include <errno.h>
#include <string.h>

/* The longest line: 256 characters of 8 pixels of 32 bits, and one more for panning. */
enum { GATHERED_MAX = 257 * 8 * 4 };

/* --- one line each: n pixels from src, the first `pan` of them skipped -------------------- */

static void put(uint32_t **to, unsigned dots, uint32_t colour)
{
	for (unsigned i = 0; i < dots; i++)
		*(*to)++ = colour;
}

static uint64_t planar_pixels(const struct vga *v, const uint8_t *src)
{
	return v->spread[src[0]] | v->spread[src[1]] << 1 | v->spread[src[2]] << 2 |
	       v->spread[src[3]] << 3;
}

/* Planes 0 and 2 have the first four pixels, planes 1 and 3 the others. */
static uint64_t cga_pixels(const uint8_t *src)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < 8; i++) {
		unsigned shift = 6 - 2 * (i % 4), low = src[i / 4], high = src[2 + i / 4];

		out |= (uint64_t)((low >> shift & 3) | (high >> shift & 3) << 2) << 8 * i;
	}
	return out;
}

static void draw_16(const struct vga *v, const struct vga_mode *m, const uint8_t *src,
		    const uint32_t *colour, uint32_t *to, unsigned n, unsigned pan)
{
	uint8_t planes = v->attr[0x12] & 15;

	for (unsigned i = 0; i < n; src += 4) {
		uint64_t eight = m->kind == VGA_CGA ? cga_pixels(src) : planar_pixels(v, src);

		for (unsigned bit = pan; bit < 8 && i < n; bit++, i++)
			put(&to, m->dots, colour[eight >> 8 * bit & planes]);
		pan = 0;
	}
}

static void draw_8(const uint8_t *src, const uint32_t *dac, uint32_t *to, unsigned n, unsigned dots)
{
	for (unsigned i = 0; i < n; i++)
		put(&to, dots, dac[src[i]]);
}

/* bits of x, the lowest of which is at `at`, as 8 bits: the highest are repeated below. */
static uint32_t widen(unsigned x, unsigned at, unsigned bits)
{
	x = x >> at & ((1u << bits) - 1);
	return x << (8 - bits) | x >> (2 * bits - 8);
}

static void draw_direct(enum vga_kind kind, const uint8_t *src, uint32_t *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned p;

		switch (kind) {
		case VGA_15:
			p = src[2 * i] | src[2 * i + 1] << 8;
			to[i] = widen(p, 10, 5) << 16 | widen(p, 5, 5) << 8 | widen(p, 0, 5);
			break;
		case VGA_16:
			p = src[2 * i] | src[2 * i + 1] << 8;
			to[i] = widen(p, 11, 5) << 16 | widen(p, 5, 6) << 8 | widen(p, 0, 5);
			break;
		case VGA_24:
			to[i] = (uint32_t)(src[3 * i] | src[3 * i + 1] << 8 | src[3 * i + 2] << 16);
			break;
		default:
			to[i] = (uint32_t)(src[4 * i] | src[4 * i + 1] << 8 | src[4 * i + 2] << 16);
			break;
		}
	}
}

/* Bytes of memory that a line of n pixels is drawn from. */
static uint32_t line_bytes(const struct vga_mode *m, unsigned n, unsigned pan)
{
	switch (m->kind) {
	case VGA_PLANAR:
	case VGA_CGA:
		return (n + pan + 7) / 8 * 4;
	case VGA_8:
		return n + pan;
	case VGA_15:
	case VGA_16:
		return 2 * n;
	case VGA_24:
		return 3 * n;
	default:
		return 4 * n;
	}
}

static void draw_line(const struct vga *v, const struct vga_mode *m, const uint8_t *src,
		      const uint32_t *dac, const uint32_t *colour, uint32_t *to, unsigned pan)
{
	unsigned n = m->width / m->dots;

	switch (m->kind) {
	case VGA_PLANAR:
	case VGA_CGA:
		draw_16(v, m, src, colour, to, n, pan);
		break;
	case VGA_8:
		draw_8(src + pan, dac, to, n, m->dots);
		break;
	default:
		draw_direct(m->kind, src, to, n);
		break;
	}
}

/* --- which lines --------------------------------------------------------------------------- */

static bool is_dirty(const struct vga *v, uint32_t at, uint32_t len)
{
	for (uint32_t page = at / VGA_PAGE; page <= (at + len - 1) / VGA_PAGE; page++)
		if (v->dirty[page / 64] >> page % 64 & 1)
			return true;
	return false;
}

/* Where a line lies in memory. */
struct line {
	uint32_t at; /* bytes */
	uint32_t clear, set; /* bits of each address that are those of the scan line */
	unsigned pan; /* pixels to skip there */
};

static struct line line_of(const struct vga_mode *m, unsigned y)
{
	bool lower = y >= m->split;
	unsigned scan = lower ? (y - m->split) / m->repeat : y / m->repeat + m->first_scan;
	struct line l = { .at = (lower ? 0 : m->start) + scan / m->scans * m->pitch };

	scan %= m->scans;
	for (unsigned i = 0; i < 2; i++) {
		l.clear |= m->scan_bit[i];
		l.set |= scan >> i & 1 ? m->scan_bit[i] : 0;
	}
	l.pan = !lower || m->pan_lower ? m->pan : 0;
	l.at = m->wrap ? l.at % m->wrap : l.at;
	return l;
}

/* The line's memory in one piece; *dirty: it was written. */
static const uint8_t *line_source(const struct vga *v, const struct vga_mode *m,
				  const struct line *l, uint32_t len, uint8_t *gathered,
				  bool *dirty)
{
	if (!l->clear && (!m->wrap || l->at + len <= m->wrap)) {
		*dirty = is_dirty(v, l->at, len);
		return v->mem + l->at;
	}
	*dirty = false;
	for (uint32_t i = 0; i < len; i += 4) {
		uint32_t at = ((l->at + i) % m->wrap & ~l->clear) | l->set;

		*dirty |= is_dirty(v, at, 4);
		memcpy(gathered + i, v->mem + at, 4);
	}
	return gathered;
}

static void overlay_begin(struct vga *v, unsigned *first, unsigned *end)
{
	*first = *end = 0;
	if (v->hooks && v->hooks->overlay_begin)
		v->hooks->overlay_begin(v, first, end);
}

static bool overlay(const struct vga *v, unsigned y, uint32_t *line, unsigned width)
{
	return v->hooks && v->hooks->overlay && v->hooks->overlay(v, y, line, width);
}

void vga_draw_lines(struct vga *v, const struct vga_mode *m, const uint32_t *dac,
		    const uint32_t *colour, bool all)
{
	struct surface *s = &v->screen->surface;
	uint8_t gathered[GATHERED_MAX];
	struct line before = { .at = UINT32_MAX };
	unsigned first = 0, n = 0, again, again_end;

	overlay_begin(v, &again, &again_end);
	for (unsigned y = 0; y < m->height; y++) {
		uint32_t *to = s->pixel + (size_t)y * s->width;
		struct line l = line_of(m, y);
		uint32_t len = line_bytes(m, m->width / m->dots, l.pan);
		bool dirty;
		const uint8_t *src = line_source(v, m, &l, len, gathered, &dirty);

		if (!all && !dirty && (y < again || y >= again_end)) {
			if (n)
				screen_damage(v->screen, 0, first, m->width, n);
			n = 0;
			before.at = UINT32_MAX;
			continue;
		}
		if (!memcmp(&l, &before, sizeof(l)))
			memcpy(to, to - s->width, m->width * sizeof(*to));
		else
			draw_line(v, m, src, dac, colour, to, l.pan);
		before = l;
		if (overlay(v, y, to, m->width))
			before.at =
				UINT32_MAX; /* what lies over this line is not on the next one */
		first = n ? first : y;
		n++;
	}
	if (n)
		screen_damage(v->screen, 0, first, m->width, n);
}

/* --- a whole update -------------------------------------------------------------------------- */

static void draw_blank(struct vga *v)
{
	struct surface *s = &v->screen->surface;

	memset(s->pixel, 0, (size_t)s->width * s->height * sizeof(*s->pixel));
	screen_damage(v->screen, 0, 0, s->width, s->height);
}

static void draw(struct vga *v, bool all)
{
	uint32_t dac[256], colour[16];
	struct vga_mode m;

	vga_mode_get(v, &m);
	vga_linear_sync(v);
	if (v->collect_dirty)
		v->collect_dirty(v->ctx, v->dirty);
	if (m.kind == VGA_BLANK && m.kind == v->shown.kind && !all)
		return;
	all |= v->changed || memcmp(&m, &v->shown, sizeof(m)) != 0;
	all |= v->font_changed && m.kind == VGA_TEXT;
	if (m.kind != VGA_BLANK &&
	    (m.width != v->screen->surface.width || m.height != v->screen->surface.height)) {
		if (screen_resize(v->screen, m.width, m.height))
			return;
		all = true;
	}
	v->changed = v->font_changed = false;
	v->shown = m;
	vga_colours(v, dac);
	vga_colours16(v, dac, colour);
	if (m.kind == VGA_BLANK)
		draw_blank(v);
	else if (m.kind == VGA_TEXT)
		vga_draw_text(v, &m, colour, all);
	else
		vga_draw_lines(v, &m, dac, colour, all);
	memset(v->dirty, 0, (v->size / VGA_PAGE + 63) / 64 * sizeof(*v->dirty));
}

static void update(void *card, struct screen *s, bool all)
{
	struct vga *v = card;

	pthread_mutex_lock(v->lock);
	draw(v, all);
	pthread_mutex_unlock(v->lock);
}

/* What comes by registers says so always; screen_touch finds the screen asleep or not. */
static int watch(void *card, bool on)
{
	struct vga *v = card;

	if (v->watch_memory)
		return v->watch_memory(v->ctx, on);
	return v->collect_dirty || v->linear || v->window_map ? -ENOTSUP : 0;
}

const struct screen_ops vga_screen_ops = { .update = update, .text = vga_text, .watch = watch };
