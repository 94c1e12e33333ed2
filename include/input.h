/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and pointer: from displays, the monitor and tests to keyboards and mice. Keys are
 * Linux's event codes (linux/input-event-codes.h, KEY_A ...), which name places on
 * the keyboard, not letters. Main loop only; devices take their lock themselves.
 *
 * Several keyboards or pointers may be there: the last one added that is ready (its driver
 * has enabled it) gets the events, as on a desk the one somebody uses; the PS/2 ones are first.
 */
#ifndef POSADA_INPUT_H
#define POSADA_INPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct machine;

enum input_button {
	INPUT_LEFT = 1,
	INPUT_RIGHT = 2,
	INPUT_MIDDLE = 4,
	INPUT_SIDE = 8,
	INPUT_EXTRA = 16,
};

enum { INPUT_ABS_MAX = 0x7fff };
enum input_leds { INPUT_LED_SCROLL = 1, INPUT_LED_NUM = 2, INPUT_LED_CAPS = 4 };

/* A keyboard or pointer device. Functions that it has not are NULL. */
struct input_device {
	const char *name; /* "PS/2 keyboard" */
	bool (*ready)(void *ctx); /* the guest listens */
	void (*key)(void *ctx, unsigned code, bool down);
	/* Right and down are positive; wheel: away from the user is positive. */
	void (*move)(void *ctx, int dx, int dy, int wheel, unsigned buttons);
	/* 0 .. INPUT_ABS_MAX from the top left corner of the screen. */
	void (*point)(void *ctx, unsigned x, unsigned y, int wheel, unsigned buttons);
	void *ctx;
	struct input_device *next; /* the set's */
};

/* Who shows the keyboard's lamps. */
struct input_listener {
	void (*leds)(void *ctx, unsigned leds);
	void (*pointer_changed)(void *ctx, bool absolute); /* another pointer is in use */
	void *ctx;
	struct input_listener *next;
};

void input_add(struct machine *m, struct input_device *d);
void input_remove(struct machine *m, struct input_device *d); /* idempotent */
void input_listen(struct machine *m, struct input_listener *l);
void input_unlisten(struct machine *m, struct input_listener *l);

/* Down, or up. What nobody takes is lost. */
void input_key(struct machine *m, unsigned code, bool down);
/* All keys that are down come up: the display lost its focus, or its viewer left. */
void input_release_all(struct machine *m);
/* Whether the pointer in use is absolute: then displays send places, else movements. */
bool input_absolute(struct machine *m);
void input_move(struct machine *m, int dx, int dy, int wheel, unsigned buttons);
void input_point(struct machine *m, unsigned x, unsigned y, int wheel, unsigned buttons);
unsigned input_buttons(struct machine *m); /* those that are down */
/* Where an absolute pointer was put last. */
void input_place(struct machine *m, unsigned *x, unsigned *y);
unsigned input_leds(struct machine *m); /* the lamps that are lit; any thread */
/* By a device: its lamps; any thread. */
void input_set_leds(struct machine *m, unsigned leds);
/* By a device whose ready() says something else now; any thread. */
void input_ready_changed(struct machine *m);

struct input_info {
	const char *name;
	bool current, absolute;
};
/* The i-th pointer, the last one added first; false: there are no more. */
bool input_each(struct machine *m, unsigned i, struct input_info *out);

/*
 * "ctrl-alt-delete", "a", "shift-a", "f1", "0x1e": pressed in order, held for ms, and
 * released; further ones wait until these are up. -EINVAL names the key that is not known, and
 * the nearest.
 */
int input_sendkey(struct machine *m, const char *keys, unsigned ms, struct err *e);
/* The same for n codes. */
int input_type(struct machine *m, const unsigned *codes, unsigned n, unsigned ms, struct err *e);
/* Key names of sendkey and QMP's qcodes to codes; 0: unknown. */
unsigned input_key_code(const char *name);
void input_free(struct machine *m);

#endif
