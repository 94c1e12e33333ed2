/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between graphics cards and what shows them: a screen has a surface of pixels,
 * kept up to date by its card when it is asked to, and viewers (a terminal, VNC, a
 * window), which are told what changed. Main loop only; a card takes its lock itself.
 *
 * Nothing is drawn while nobody looks: the screen asks its card at most every
 * DISPLAY_REFRESH_MS while it has viewers, and once for each screendump. When nothing has
 * changed for DISPLAY_IDLE_MS the screen sleeps: the card is told to watch, and nobody
 * wakes up until it says that something was touched.
 */
#ifndef POSADA_DISPLAY_H
#define POSADA_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct machine;
struct screen;

enum { DISPLAY_REFRESH_MS = 30, DISPLAY_IDLE_MS = 500 };
enum { DISPLAY_MAX_SIDE = 16384, DISPLAY_MAX_PIXELS = 64 << 20 };

/* Pixels are 0x00RRGGBB, rows one after the other. */
struct surface {
	unsigned width, height;
	uint32_t *pixel;
};

/* A text mode's screen, for viewers that show letters rather than pixels. */
struct text_cell {
	uint8_t ch; /* of code page 437, when the guest uses the BIOS's font */
	uint8_t attr; /* blink or bright, background 3 bits, foreground 4 bits */
};

struct text_screen {
	unsigned columns, rows;
	struct text_cell *cell; /* malloc'd by the card, columns * rows; grown as needed */
	unsigned room; /* cells there is memory for */
	bool cursor; /* shown, at: */
	unsigned cursor_x, cursor_y;
	bool blink; /* bit 7 of attr blinks, else it is a bright background */
	uint32_t palette[16]; /* 0x00RRGGBB */
};

/* What a card does for its screen. */
struct screen_ops {
	/*
	 * Draws what has changed into the surface, calling screen_resize and screen_damage.
	 * all: everything, whether it changed or not.
	 */
	void (*update)(void *card, struct screen *s, bool all);
	/* Fills t and returns true in text modes. NULL: never. */
	bool (*text)(void *card, struct text_screen *t);
	/*
	 * on: from now on the card calls screen_touch at each change of what update would draw,
	 * also of memory that the guest writes directly. Off: it need not. 0, or -errno: it
	 * cannot now. NULL: it never can; the screen is looked at all the time.
	 */
	int (*watch)(void *card, bool on);
};

struct screen {
	struct machine *m;
	const struct screen_ops *ops;
	void *card;
	struct surface surface;
	struct viewer *viewers;
	struct screen *next; /* further cards' */
};

struct viewer {
	/* The surface has another size; its pixels are all new. */
	void (*resized)(void *ctx, const struct surface *s);
	void (*damaged)(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height);
	/* After each update, whether anything changed or not; may be NULL. */
	void (*refreshed)(void *ctx);
	void *ctx;
	/*
	 * It shows text modes by their letters, and makes them blink by itself: it is told of
	 * nothing that was drawn only because time has passed.
	 */
	bool letters;
	struct screen *screen; /* the display's */
	struct viewer *next;
};

/* --- a card's side --- */
int screen_create(struct machine *m, const struct screen_ops *ops, void *card, struct screen **out,
		  struct err *e);
void screen_destroy(struct screen *s); /* its viewers see a blank screen */
/* -EINVAL: beyond DISPLAY_MAX_*, -ENOMEM; the surface is then as before. */
int screen_resize(struct screen *s, unsigned width, unsigned height);
void screen_damage(struct screen *s, unsigned x, unsigned y, unsigned width, unsigned height);
/*
 * Something may look different now. Any thread, also with the card's lock held; cheap. NULL:
 * nothing. What the card's lock guards is changed and told of in one go, the lock held. A viewer
 * may say it too, that wants to be told refreshed.
 */
void screen_touch(struct screen *s);
/*
 * By update: draw again at this time (loop_now_ns) even when nothing is touched until then, such
 * as for a cursor that blinks. To be said in each update. What is damaged only because time has
 * passed is told by screen_damage_timed: it does not keep the screen awake.
 */
void screen_again(struct screen *s, uint64_t deadline_ns);
void screen_damage_timed(struct screen *s, unsigned x, unsigned y, unsigned width, unsigned height);

/* --- a viewer's side --- */
/* The machine's first screen, or NULL: it has no graphics card. */
struct screen *screen_first(struct machine *m);
/* Begins with resized and the whole as damaged. */
void viewer_attach(struct viewer *v, struct screen *s);
void viewer_detach(struct viewer *v); /* idempotent */
/* Brings the surface up to date now, for a screendump. */
void screen_refresh(struct screen *s);
/* As screen_ops.text; false in graphics modes. t->cell is the caller's to free. */
bool screen_text(struct screen *s, struct text_screen *t);
/* To a file; format: "png", "ppm", or NULL: as the file's name ends, ppm when not in .png. */
int surface_write(const struct surface *s, const char *file, const char *format, struct err *e);
bool surface_format_known(const char *format);

/* --- -screendump FILE[,after=SECONDS|,on=exit]: once by itself, at the end at the latest --- */
struct loop;
struct screendump;
int screendump_create(struct machine *m, struct loop *l, const char *arg, struct screendump **out,
		      struct err *e);
void screendump_end(struct screendump *d); /* the machine is still there; NULL: nothing */

#endif
