/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the text display share: the terminal's frame, and its keys. */
#ifndef POSADA_TEXT_H
#define POSADA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

struct machine;

/* --- text_frame.c: what the terminal shows, and how it gets there ---------------------- */

enum text_colours { TEXT_16, TEXT_256, TEXT_24BIT };

/* A character on the terminal. Colours are 0x00RRGGBB. */
struct text_glyph {
	uint32_t ch; /* Unicode */
	uint32_t fg, bg;
	bool blink;
};

struct text_frame {
	unsigned columns, rows;
	struct text_glyph *now, *shown; /* what it is to show, and does */
	bool all; /* nothing is known of what it shows */
	enum text_colours colours;
	bool cursor; /* wanted, at: */
	unsigned cursor_x, cursor_y;
	bool cursor_shown;
	unsigned shown_x, shown_y;
	/* output that is not yet with the terminal */
	char *out;
	size_t out_len, out_room;
	bool out_lost; /* no memory for some of it */
};

/* Another size; all will be drawn. -ENOMEM. */
int text_frame_resize(struct text_frame *f, unsigned columns, unsigned rows);
void text_frame_free(struct text_frame *f);
/* Blank, to be filled anew. */
void text_frame_clear(struct text_frame *f);
/* Adds to out what makes the terminal show `now`. */
void text_frame_draw(struct text_frame *f);
void text_frame_puts(struct text_frame *f, const char *s);
/* What the terminal said of its colours in the environment. */
enum text_colours text_colours_of(const char *term, const char *colorterm);
/* Of code page 437, as its glyphs look. */
extern const uint16_t text_cp437[256];

/* --- text_messages.c: standard error, while the screen is shown ------------------------ */

struct text_messages {
	bool held;
	int terminal, file;
};

void text_messages_hold(struct text_messages *t);
void text_messages_let_go(struct text_messages *t);

/* --- text_keys.c: what the terminal sends as keys pressed ----------------------------- */

enum { TEXT_KEYS = 512 };

struct text_keys {
	struct machine *m;
	void (*room)(void *ctx); /* it may take more than before */
	void *ctx;
	struct loop_timer timer;
	uint8_t seq[16]; /* an escape sequence so far */
	unsigned seq_len;
	/* Presses and releases to come: the code, and bit 15 for a press. */
	uint16_t queue[TEXT_KEYS];
	unsigned head, n;
};

void text_keys_init(struct text_keys *k, struct machine *m, struct loop *l, void (*room)(void *ctx),
		    void *ctx);
void text_keys_fini(struct text_keys *k);
size_t text_keys_room(const struct text_keys *k); /* bytes it takes now */
void text_keys_feed(struct text_keys *k, const uint8_t *buf, size_t len);

#endif
