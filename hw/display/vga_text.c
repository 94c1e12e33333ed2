/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text modes (FreeVGA, "VGA Text Mode Operation"): characters in plane 0, attributes in
 * plane 1, fonts in plane 2. A cell is drawn again only when it changed: v->cells holds
 * what each of the screen's cells shows. Main loop; the card's lock is held.
 */
#include "vga.h"

#include <stdlib.h>
#include <string.h>

#include "loop.h"

/*
 * CELL_CURSOR: the cursor is there, and how: its lines are in bits 19 to 28. CELL_HIDDEN, of
 * the cursor, and CELL_DARK, of the character: time has come to blink.
 */
enum {
	CELL_CURSOR = 1 << 16,
	CELL_DARK = 1 << 17,
	CELL_NONE = 1 << 18,
	CELL_HIDDEN = 1 << 29,
	CELL_TIMED = CELL_DARK | CELL_HIDDEN,
};
enum { ATTR_LINE_GRAPHICS = 0x04, ATTR_BLINK = 0x08, FONT_BYTES = 8192 };
/* The cursor changes every 16 frames of 70 Hz, characters every 32. */
enum { CURSOR_HALF_NS = 228000000, BLINK_HALF_NS = 456000000 };

/* One of the two parts of a split screen. */
struct part {
	unsigned top, end; /* surface lines */
	uint32_t start; /* bytes */
	unsigned first_scan, pan;
};

static unsigned cell_height(const struct vga_mode *m)
{
	return m->scans * m->repeat;
}

static unsigned part_rows(const struct vga_mode *m, const struct part *p)
{
	unsigned lines = p->end - p->top + p->first_scan * m->repeat;

	return (lines + cell_height(m) - 1) / cell_height(m);
}

static void get_parts(const struct vga_mode *m, struct part *part)
{
	part[0] = (struct part){
		.end = m->split, .start = m->start, .first_scan = m->first_scan, .pan = m->pan
	};
	part[1] = (struct part){ .top = m->split,
				 .end = m->height,
				 .pan = m->pan_lower ? m->pan : 0 };
}

static uint32_t cell_address(const struct vga_mode *m, const struct part *p, unsigned row,
			     unsigned column)
{
	return (p->start + row * m->pitch + column * 4) % m->wrap;
}

static uint32_t cursor_address(const struct vga *v)
{
	return ((uint32_t)v->crtc[0x0e] << 8 | v->crtc[0x0f]) * 4 % VGA_MEM_LEGACY;
}

static bool cursor_on(const struct vga *v)
{
	return !(v->crtc[0x0a] & 0x20) && (v->crtc[0x0a] & 0x1f) <= (v->crtc[0x0b] & 0x1f);
}

/* Fonts 0 to 7 by the character map select register: the one of attributes with bit 3 set. */
static uint32_t font_base(const struct vga *v, bool bit3)
{
	unsigned s = v->seq[3];
	unsigned low = bit3 ? s >> 2 & 3 : s & 3, high = bit3 ? s >> 5 & 1 : s >> 4 & 1;

	/* The low two bits choose 16 KiB, the high one which half of these. */
	return (low * 2 + high) * FONT_BYTES * 4 + 2;
}

/* A line of a character, the leftmost dot in bit 8. */
static unsigned glyph_line(const struct vga *v, const struct vga_mode *m, uint32_t cell,
			   unsigned scan)
{
	unsigned ch = cell & 0xff, attr = cell >> 8 & 0xff, dots;

	if ((cell & (CELL_CURSOR | CELL_HIDDEN)) == CELL_CURSOR &&
	    scan >= (v->crtc[0x0a] & 0x1fu) && scan <= (v->crtc[0x0b] & 0x1fu))
		return 0x1ff;
	if (cell & CELL_DARK)
		return 0;
	if (scan == (v->crtc[0x14] & 0x1fu) && (attr & 0x77) == 0x01)
		return 0x1ff;
	dots = v->mem[font_base(v, attr & 8) + (ch * 32 + scan) * 4] * 2u;
	if (m->char_width == 9 && v->attr[0x10] & ATTR_LINE_GRAPHICS && (ch & 0xe0) == 0xc0)
		dots |= dots >> 1 & 1;
	return dots;
}

/* Draws what of the cell at x, y (of the surface, maybe left of it or above the part) is seen. */
static void draw_cell(struct vga *v, const struct vga_mode *m, const struct part *p, int x, int y,
		      uint32_t cell, const uint32_t *colour)
{
	struct surface *s = &v->screen->surface;
	unsigned attr = cell >> 8 & 0xff;
	uint32_t fg = colour[attr & 15];
	uint32_t bg = colour[v->attr[0x10] & ATTR_BLINK ? attr >> 4 & 7 : attr >> 4];
	int width = (int)(m->char_width * m->dots);

	for (unsigned line = 0; line < cell_height(m); line++) {
		unsigned bits;
		int at = y + (int)line;

		if (at < (int)p->top || at >= (int)p->end)
			continue;
		bits = glyph_line(v, m, cell, line / m->repeat);
		for (int i = 0; i < width; i++)
			if (x + i >= 0 && x + i < (int)s->width)
				s->pixel[(size_t)at * s->width + (unsigned)(x + i)] =
					bits << (unsigned)i / m->dots & 0x100 ? fg : bg;
	}
}

static void sooner(uint64_t *again, uint64_t now, uint64_t half)
{
	uint64_t next = (now / half + 1) * half;

	*again = next < *again ? next : *again;
}

/* How a cell is to look now; *again: when it is to look otherwise, if that is before *again. */
static uint32_t cell_now(const struct vga *v, uint32_t at, bool cursor, uint64_t now,
			 uint64_t *again)
{
	uint32_t cell = v->mem[at] | (uint32_t)v->mem[at + 1] << 8;

	if (cursor && at == cursor_address(v)) {
		cell |= CELL_CURSOR | (v->crtc[0x0a] & 0x1fu) << 19 | (v->crtc[0x0b] & 0x1fu) << 24;
		cell |= now / CURSOR_HALF_NS % 2 ? CELL_HIDDEN : 0;
		sooner(again, now, CURSOR_HALF_NS);
	}
	if (cell & 0x8000 && v->attr[0x10] & ATTR_BLINK) {
		cell |= now / BLINK_HALF_NS % 2 ? CELL_DARK : 0;
		sooner(again, now, BLINK_HALF_NS);
	}
	return cell;
}

/* Part of a row of cells was drawn; timed: only because time has passed. */
static void tell(struct vga *v, bool timed, int x, int y, int end_x, int end_y)
{
	(timed ? screen_damage_timed : screen_damage)(v->screen, (unsigned)x, (unsigned)y,
						      (unsigned)(end_x - x), (unsigned)(end_y - y));
}

static unsigned draw_part(struct vga *v, const struct vga_mode *m, const struct part *p,
			  unsigned next, const uint32_t *colour, uint64_t *again)
{
	uint64_t now = loop_now_ns();
	bool cursor = cursor_on(v);
	int width = (int)(m->char_width * m->dots);
	/* A screen that is shifted to the left shows a part of one more column. */
	unsigned columns = m->columns + (p->pan != 0), rows = part_rows(m, p);

	for (unsigned row = 0; row < rows; row++) {
		int y = (int)(p->top + row * cell_height(m)) - (int)(p->first_scan * m->repeat);
		int top = y < (int)p->top ? (int)p->top : y;
		int end = y + (int)cell_height(m), first = -1, last = 0;
		bool timed = true;

		end = end > (int)p->end ? (int)p->end : end;
		for (unsigned column = 0; column < columns; column++, next++) {
			uint32_t cell =
				cell_now(v, cell_address(m, p, row, column), cursor, now, again);
			int x = (int)column * width - (int)(p->pan * m->dots);

			if (v->cells[next] == cell)
				continue;
			timed &= !((v->cells[next] ^ cell) & ~(uint32_t)CELL_TIMED);
			v->cells[next] = cell;
			draw_cell(v, m, p, x, y, cell, colour);
			first = first < 0 ? (x > 0 ? x : 0) : first;
			last = x + width < (int)m->width ? x + width : (int)m->width;
		}
		if (first >= 0 && last > first && end > top)
			tell(v, timed, first, top, last, end);
	}
	return next;
}

static bool make_room(struct vga *v, unsigned n)
{
	uint32_t *grown;

	if (n <= v->n_cells)
		return true;
	grown = realloc(v->cells, n * sizeof(*grown));
	if (!grown)
		return false;
	v->cells = grown;
	v->n_cells = n;
	return true;
}

void vga_draw_text(struct vga *v, const struct vga_mode *m, const uint32_t *colour, bool all)
{
	uint64_t again = UINT64_MAX;
	struct part part[2];
	unsigned n;

	get_parts(m, part);
	n = (part_rows(m, &part[0]) + part_rows(m, &part[1])) * (m->columns + 1);
	if (!make_room(v, n))
		return;
	for (unsigned i = 0; all && i < n; i++)
		v->cells[i] = CELL_NONE;
	n = draw_part(v, m, &part[0], 0, colour, &again);
	draw_part(v, m, &part[1], n, colour, &again);
	if (again != UINT64_MAX)
		screen_again(v->screen, again);
}

/* --- for viewers that show letters ----------------------------------------------------------- */

static void fill_cells(const struct vga *v, const struct vga_mode *m, struct text_screen *t)
{
	struct text_cell *out = t->cell;
	struct part part[2];

	get_parts(m, part);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned row = 0; row < part_rows(m, &part[i]); row++) {
			for (unsigned column = 0; column < m->columns; column++) {
				uint32_t at = cell_address(m, &part[i], row, column);

				if (cursor_on(v) && at == cursor_address(v)) {
					t->cursor = true;
					t->cursor_x = column;
					t->cursor_y = (unsigned)(out - t->cell) / m->columns;
				}
				*out++ = (struct text_cell){ v->mem[at], v->mem[at + 1] };
			}
		}
	}
}

bool vga_text(void *card, struct text_screen *t)
{
	struct vga *v = card;
	struct text_cell *grown = t->cell;
	uint32_t dac[256];
	struct part part[2];
	struct vga_mode m;
	unsigned n;

	pthread_mutex_lock(v->lock);
	vga_mode_get(v, &m);
	vga_linear_sync(v);
	if (m.kind == VGA_TEXT) {
		get_parts(&m, part);
		t->columns = m.columns;
		t->rows = part_rows(&m, &part[0]) + part_rows(&m, &part[1]);
		n = t->columns * t->rows;
		if (n > t->room) {
			grown = realloc(t->cell, n * sizeof(*grown));
			if (grown) {
				t->cell = grown;
				t->room = n;
			}
		}
		if (grown) {
			t->cursor = false;
			t->blink = v->attr[0x10] & ATTR_BLINK;
			vga_colours(v, dac);
			vga_colours16(v, dac, t->palette);
			fill_cells(v, &m, t);
		}
	}
	pthread_mutex_unlock(v->lock);
	return m.kind == VGA_TEXT && grown;
}
