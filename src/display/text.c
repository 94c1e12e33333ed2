/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display text: see include/display_text.h. The terminal is a mux of chardevs, so that Ctrl-A
 * means what it does with -nographic; while the monitor has it, or help is shown, the
 * display is hidden. Nothing new is drawn before the terminal has taken what was: a slow
 * line shows fewer frames. Main loop.
 */
#include "display_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "chardev.h"
#include "display.h"
#include "err.h"
#include "input.h"
#include "text.h"

/* The alternate screen without wrapping at its edge, and back. */
#define ENTER "\033[?1049h\033[?7l"
#define LEAVE "\033[0m\033[?25h\033[?7h\033[?1049l"

enum { COLUMNS = 80, ROWS = 25, SIDE_MAX = 1000, SAMPLES = 4, UPPER_HALF = 0x2580 };

struct text_display {
	struct viewer viewer;
	struct machine *m;
	struct chardev_port *port;
	int tty_fd;
	bool active; /* else somebody else writes to the terminal */
	bool damaged; /* pixels changed; of graphics modes */
	bool was_text;
	struct text_screen text;
	struct text_frame frame;
	struct text_keys keys;
	struct text_messages messages;
};

/* --- text modes -------------------------------------------------------------------------- */

static struct text_glyph glyph(const struct text_screen *t, const struct text_cell *c)
{
	bool blink = t->blink && c->attr & 0x80;

	return (struct text_glyph){
		.ch = text_cp437[c->ch],
		.fg = t->palette[c->attr & 15],
		.bg = t->palette[t->blink ? c->attr >> 4 & 7 : c->attr >> 4],
		.blink = blink,
	};
}

/* A terminal that is too small shows the part with the cursor. */
static unsigned first_shown(unsigned have, unsigned room, unsigned cursor)
{
	if (have <= room || cursor < room)
		return 0;
	return cursor - room + 1 < have - room ? cursor - room + 1 : have - room;
}

static void fill_text(struct text_display *d)
{
	const struct text_screen *t = &d->text;
	struct text_frame *f = &d->frame;
	unsigned left = first_shown(t->columns, f->columns, t->cursor ? t->cursor_x : 0);
	unsigned top = first_shown(t->rows, f->rows, t->cursor ? t->cursor_y : 0);

	text_frame_clear(f);
	for (unsigned y = 0; y < f->rows && y + top < t->rows; y++)
		for (unsigned x = 0; x < f->columns && x + left < t->columns; x++)
			f->now[y * f->columns + x] =
				glyph(t, &t->cell[(y + top) * t->columns + x + left]);
	f->cursor = t->cursor && t->cursor_x >= left && t->cursor_x - left < f->columns &&
		    t->cursor_y >= top && t->cursor_y - top < f->rows;
	f->cursor_x = f->cursor ? t->cursor_x - left : 0;
	f->cursor_y = f->cursor ? t->cursor_y - top : 0;
}

/* --- graphics modes ------------------------------------------------------------------------ */

/* The mean of some points of the part of the surface that (x, y) of width by height stands for. */
static uint32_t sample(const struct surface *s, unsigned x, unsigned y, unsigned width,
		       unsigned height)
{
	unsigned sum[3] = { 0 };

	for (unsigned i = 0; i < SAMPLES * SAMPLES; i++) {
		uint64_t sx = (x * SAMPLES + i % SAMPLES) * (uint64_t)s->width / (width * SAMPLES);
		uint64_t sy =
			(y * SAMPLES + i / SAMPLES) * (uint64_t)s->height / (height * SAMPLES);
		uint32_t p = s->pixel[sy * s->width + sx];

		for (unsigned part = 0; part < 3; part++)
			sum[part] += p >> 8 * part & 0xff;
	}
	for (unsigned part = 0; part < 3; part++)
		sum[part] /= SAMPLES * SAMPLES;
	return sum[2] << 16 | sum[1] << 8 | sum[0];
}

/* Half a character is about a square: the picture keeps its shape. */
static void fill_graphics(struct text_display *d)
{
	const struct surface *s = &d->viewer.screen->surface;
	struct text_frame *f = &d->frame;
	unsigned width = f->columns, height = f->rows * 2;

	if ((uint64_t)width * s->height > (uint64_t)height * s->width)
		width = (unsigned)((uint64_t)height * s->width / s->height);
	else
		height = (unsigned)((uint64_t)width * s->height / s->width);
	width = width ? width : 1;
	height = height ? height : 1;
	text_frame_clear(f);
	for (unsigned y = 0; y < height; y++) {
		for (unsigned x = 0; x < width; x++) {
			struct text_glyph *g = &f->now[y / 2 * f->columns + x];
			uint32_t rgb = sample(s, x, y, width, height);

			g->ch = UPPER_HALF;
			if (y % 2)
				g->bg = rgb;
			else
				g->fg = rgb;
		}
	}
}

/* --- the terminal ----------------------------------------------------------------------------- */

static void flush(struct text_display *d)
{
	struct text_frame *f = &d->frame;
	size_t done = f->out_len ? chardev_write(d->port, f->out, f->out_len) : 0;

	memmove(f->out, f->out + done, f->out_len - done);
	f->out_len -= done;
}

/* A screen that sleeps is woken up by SIGWINCH (main.c). */
static void follow_size(struct text_display *d)
{
	struct winsize ws;
	unsigned columns = COLUMNS, rows = ROWS;

	if (!ioctl(d->tty_fd, TIOCGWINSZ, &ws) && ws.ws_col && ws.ws_row) {
		columns = ws.ws_col < SIDE_MAX ? ws.ws_col : SIDE_MAX;
		rows = ws.ws_row < SIDE_MAX ? ws.ws_row : SIDE_MAX;
	}
	if (columns != d->frame.columns || rows != d->frame.rows) {
		text_frame_resize(&d->frame, columns, rows);
		d->damaged = true;
	}
}

static void refreshed(void *ctx)
{
	struct text_display *d = ctx;
	bool is_text;

	if (!d->active || d->frame.out_len)
		return;
	follow_size(d);
	if (!d->frame.now)
		return;
	is_text = screen_text(d->viewer.screen, &d->text);
	if (is_text)
		fill_text(d);
	else if (d->damaged || d->was_text || d->frame.all)
		fill_graphics(d);
	else
		return;
	d->was_text = is_text;
	d->damaged = false;
	text_frame_draw(&d->frame);
	flush(d);
}

static void damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct text_display *d = ctx;

	d->damaged = true;
}

static void show(struct text_display *d)
{
	if (d->active)
		return;
	d->active = true;
	text_messages_hold(&d->messages);
	d->frame.all = true;
	text_frame_puts(&d->frame, ENTER);
	flush(d);
}

static void hide(struct text_display *d)
{
	if (!d->active)
		return;
	d->active = false;
	d->frame.out_len = 0; /* it may be cut in a sequence: CAN ends that */
	text_frame_puts(&d->frame, "\030" LEAVE);
	flush(d);
	text_messages_let_go(&d->messages);
}

/* --- the front end ---------------------------------------------------------------------------- */

static size_t can_read(void *ctx)
{
	return text_keys_room(&((struct text_display *)ctx)->keys);
}

static void on_read(void *ctx, const uint8_t *buf, size_t len)
{
	struct text_display *d = ctx;

	/* A key after the help that hid it. */
	if (!d->active)
		show(d);
	else
		text_keys_feed(&d->keys, buf, len);
}

static void on_room(void *ctx)
{
	chardev_accept(((struct text_display *)ctx)->port);
}

static void writable(void *ctx)
{
	flush(ctx);
}

static void on_event(void *ctx, enum chardev_event ev)
{
	if (ev == CHARDEV_OPENED)
		show(ctx);
	else if (ev == CHARDEV_COVERED)
		hide(ctx);
}

static const struct chardev_client client = {
	.can_read = can_read,
	.read = on_read,
	.writable = writable,
	.event = on_event,
};

int text_display_create(struct machine *m, struct loop *l, struct chardev *c, int tty_fd,
			struct text_display **out, struct err *e)
{
	struct screen *s = screen_first(m);
	struct text_display *d;
	int rc;

	if (!s) {
		err_set(e, ERR_USAGE, ENODEV, "-display text: the machine has no graphics card");
		err_hint(e, "add one with -vga std, or use -nographic");
		return -ENODEV;
	}
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	*d = (struct text_display){ .m = m, .tty_fd = tty_fd };
	d->frame.colours = text_colours_of(getenv("TERM"), getenv("COLORTERM"));
	text_keys_init(&d->keys, m, l, on_room, d);
	rc = chardev_attach(c, &client, d, &d->port, e);
	if (rc) {
		free(d);
		return rc;
	}
	d->viewer = (struct viewer){ .damaged = damaged, .refreshed = refreshed, .ctx = d };
	chardev_set_terminal_end(LEAVE);
	viewer_attach(&d->viewer, s);
	*out = d;
	return 0;
}

void text_display_destroy(struct text_display *d)
{
	if (!d)
		return;
	viewer_detach(&d->viewer);
	hide(d); /* what was said meanwhile is for the screen that comes back */
	if (!d->frame.out_len)
		chardev_set_terminal_end(NULL);
	text_keys_fini(&d->keys);
	chardev_detach(d->port);
	text_frame_free(&d->frame);
	free(d->text.cell);
	free(d);
}
