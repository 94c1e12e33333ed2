/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A frame of characters on a terminal (ECMA-48, and xterm's control sequences for 256 and for
 * 24-bit colours): only what changed is sent. Main loop.
 */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The glyphs of an IBM PC's character generator; control characters have some, too. */
const uint16_t text_cp437[256] = {
	0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022, 0x25d8, 0x25cb, 0x25d9,
	0x2642, 0x2640, 0x266a, 0x266b, 0x263c, 0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7,
	0x25ac, 0x21a8, 0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc, 0x0020,
	0x0021, 0x0022, 0x0023, 0x0024, 0x0025, 0x0026, 0x0027, 0x0028, 0x0029, 0x002a, 0x002b,
	0x002c, 0x002d, 0x002e, 0x002f, 0x0030, 0x0031, 0x0032, 0x0033, 0x0034, 0x0035, 0x0036,
	0x0037, 0x0038, 0x0039, 0x003a, 0x003b, 0x003c, 0x003d, 0x003e, 0x003f, 0x0040, 0x0041,
	0x0042, 0x0043, 0x0044, 0x0045, 0x0046, 0x0047, 0x0048, 0x0049, 0x004a, 0x004b, 0x004c,
	0x004d, 0x004e, 0x004f, 0x0050, 0x0051, 0x0052, 0x0053, 0x0054, 0x0055, 0x0056, 0x0057,
	0x0058, 0x0059, 0x005a, 0x005b, 0x005c, 0x005d, 0x005e, 0x005f, 0x0060, 0x0061, 0x0062,
	0x0063, 0x0064, 0x0065, 0x0066, 0x0067, 0x0068, 0x0069, 0x006a, 0x006b, 0x006c, 0x006d,
	0x006e, 0x006f, 0x0070, 0x0071, 0x0072, 0x0073, 0x0074, 0x0075, 0x0076, 0x0077, 0x0078,
	0x0079, 0x007a, 0x007b, 0x007c, 0x007d, 0x007e, 0x2302, 0x00c7, 0x00fc, 0x00e9, 0x00e2,
	0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4,
	0x00c5, 0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9, 0x00ff, 0x00d6,
	0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192, 0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1,
	0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
	0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551,
	0x2557, 0x255d, 0x255c, 0x255b, 0x2510, 0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c,
	0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567, 0x2568,
	0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588,
	0x2584, 0x258c, 0x2590, 0x2580, 0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5,
	0x03c4, 0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229, 0x2261, 0x00b1,
	0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248, 0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f,
	0x00b2, 0x25a0, 0x00a0,
};

enum text_colours text_colours_of(const char *term, const char *colorterm)
{
	if (colorterm && (!strcmp(colorterm, "truecolor") || !strcmp(colorterm, "24bit")))
		return TEXT_24BIT;
	if (term && strstr(term, "direct"))
		return TEXT_24BIT;
	return term && strstr(term, "256color") ? TEXT_256 : TEXT_16;
}

/* --- output ------------------------------------------------------------------------------ */

static void add(struct text_frame *f, const char *s, size_t len)
{
	if (f->out_room - f->out_len < len) {
		size_t room = 2 * (f->out_len + len) + 4096;
		char *grown = realloc(f->out, room);

		if (!grown) {
			f->out_lost = true;
			return;
		}
		f->out = grown;
		f->out_room = room;
	}
	memcpy(f->out + f->out_len, s, len);
	f->out_len += len;
}

void text_frame_puts(struct text_frame *f, const char *s)
{
	add(f, s, strlen(s));
}

static void put_utf8(struct text_frame *f, uint32_t ch)
{
	char s[3];
	size_t n = 0;

	if (ch < 0x80) {
		s[n++] = (char)ch;
	} else if (ch < 0x800) {
		s[n++] = (char)(0xc0 | ch >> 6);
		s[n++] = (char)(0x80 | (ch & 0x3f));
	} else {
		s[n++] = (char)(0xe0 | (ch >> 12 & 0x0f));
		s[n++] = (char)(0x80 | (ch >> 6 & 0x3f));
		s[n++] = (char)(0x80 | (ch & 0x3f));
	}
	add(f, s, n);
}

/* --- colours ------------------------------------------------------------------------------- */

static unsigned distance(uint32_t a, uint32_t b)
{
	unsigned sum = 0;

	for (unsigned shift = 0; shift < 24; shift += 8) {
		int d = (int)(a >> shift & 0xff) - (int)(b >> shift & 0xff);

		sum += (unsigned)(d * d);
	}
	return sum;
}

/* The nearest of a terminal's 16, in its order. */
static unsigned nearest16(uint32_t rgb)
{
	static const uint32_t ansi[16] = {
		0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa,
		0x555555, 0xff5555, 0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff,
	};
	unsigned best = 0;

	for (unsigned i = 1; i < 16; i++)
		if (distance(rgb, ansi[i]) < distance(rgb, ansi[best]))
			best = i;
	return best;
}

/* Of xterm's cube of 6 by 6 by 6: 0, 95, 135 ... 255. */
static unsigned nearest256(uint32_t rgb)
{
	unsigned index = 0;

	for (int shift = 16; shift >= 0; shift -= 8) {
		unsigned x = rgb >> shift & 0xff;

		index = index * 6 + (x < 48 ? 0 : x < 115 ? 1 : (x - 35) / 40);
	}
	return 16 + index;
}

static void colour(const struct text_frame *f, char *buf, size_t size, uint32_t rgb, bool back)
{
	unsigned base = back ? 40 : 30, i;

	switch (f->colours) {
	case TEXT_16:
		i = nearest16(rgb);
		snprintf(buf, size, ";%u", i < 8 ? base + i : base + 60 + i - 8);
		break;
	case TEXT_256:
		snprintf(buf, size, ";%u;5;%u", base + 8, nearest256(rgb));
		break;
	case TEXT_24BIT:
		snprintf(buf, size, ";%u;2;%u;%u;%u", base + 8, rgb >> 16 & 0xff, rgb >> 8 & 0xff,
			 rgb & 0xff);
		break;
	}
}

static void rendition(struct text_frame *f, const struct text_glyph *g)
{
	char fg[24], bg[24], all[64];

	colour(f, fg, sizeof(fg), g->fg, false);
	colour(f, bg, sizeof(bg), g->bg, true);
	snprintf(all, sizeof(all), "\033[0%s%s%sm", g->blink ? ";5" : "", fg, bg);
	text_frame_puts(f, all);
}

/* --- the frame ------------------------------------------------------------------------------ */

int text_frame_resize(struct text_frame *f, unsigned columns, unsigned rows)
{
	struct text_glyph *now = calloc((size_t)columns * rows, sizeof(*now));
	struct text_glyph *shown = calloc((size_t)columns * rows, sizeof(*shown));

	if (!now || !shown) {
		free(now);
		free(shown);
		return -ENOMEM;
	}
	free(f->now);
	free(f->shown);
	f->now = now;
	f->shown = shown;
	f->columns = columns;
	f->rows = rows;
	f->all = true;
	text_frame_clear(f);
	return 0;
}

void text_frame_free(struct text_frame *f)
{
	free(f->now);
	free(f->shown);
	free(f->out);
	memset(f, 0, sizeof(*f));
}

void text_frame_clear(struct text_frame *f)
{
	for (size_t i = 0; i < (size_t)f->columns * f->rows; i++)
		f->now[i] = (struct text_glyph){ .ch = ' ' };
	f->cursor = false;
}

static bool same(const struct text_glyph *a, const struct text_glyph *b)
{
	return a->ch == b->ch && a->fg == b->fg && a->bg == b->bg && a->blink == b->blink;
}

static void go_to(struct text_frame *f, unsigned x, unsigned y)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "\033[%u;%uH", y + 1, x + 1);
	text_frame_puts(f, buf);
}

/* True when something was sent: the terminal's cursor is then elsewhere. */
static bool draw_changes(struct text_frame *f)
{
	const struct text_glyph *last = NULL;
	size_t next = SIZE_MAX; /* where the terminal writes next */

	for (size_t i = 0; i < (size_t)f->columns * f->rows; i++) {
		const struct text_glyph *g = &f->now[i];

		if (!f->all && same(g, &f->shown[i]))
			continue;
		if (!last)
			text_frame_puts(f, "\033[?25l");
		if (next != i || i % f->columns == 0)
			go_to(f, (unsigned)(i % f->columns), (unsigned)(i / f->columns));
		if (!last || last->fg != g->fg || last->bg != g->bg || last->blink != g->blink)
			rendition(f, g);
		put_utf8(f, g->ch);
		f->shown[i] = *g;
		last = g;
		next = i + 1;
	}
	return last;
}

void text_frame_draw(struct text_frame *f)
{
	bool moved;

	if (f->all)
		text_frame_puts(f, "\033[0m\033[2J\033[?25l");
	moved = draw_changes(f);
	moved |= f->all || f->cursor_shown != f->cursor || f->shown_x != f->cursor_x ||
		 f->shown_y != f->cursor_y;
	if (moved && f->cursor) {
		go_to(f, f->cursor_x, f->cursor_y);
		text_frame_puts(f, "\033[?25h");
	} else if (moved) {
		text_frame_puts(f, "\033[?25l");
	}
	f->cursor_shown = f->cursor;
	f->shown_x = f->cursor_x;
	f->shown_y = f->cursor_y;
	f->all = f->out_lost;
	f->out_lost = false;
}
