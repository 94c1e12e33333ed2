/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hangs off the ports of the keyboard controller: a keyboard and a mouse, which speak
 * in bytes (IBM PS/2 technical reference, Keyboard and Mouse). The controller
 * writes to them, and takes bytes when they have some. Its lock guards them.
 */
#ifndef POSADA_HW_INPUT_PS2_H
#define POSADA_HW_INPUT_PS2_H

#include <stdbool.h>
#include <stdint.h>

enum ps2_byte {
	PS2_ECHO = 0xee,
	PS2_IDENTIFY = 0xf2,
	PS2_RATE = 0xf3,
	PS2_ENABLE = 0xf4,
	PS2_DISABLE = 0xf5,
	PS2_DEFAULTS = 0xf6,
	PS2_RESEND = 0xfe,
	PS2_RESET = 0xff,

	PS2_SELF_TEST_OK = 0xaa,
	PS2_ACK = 0xfa,
	PS2_ASK_AGAIN = 0xfe,
};

#define PS2_BYTES 64u

struct ps2_bytes {
	uint8_t b[PS2_BYTES];
	unsigned head, n;
};

/* All of it or nothing, since half a sequence would be something else. */
bool ps2_put(struct ps2_bytes *q, const uint8_t *bytes, unsigned n);
uint8_t ps2_take(struct ps2_bytes *q); /* there is one */

struct ps2_keyboard {
	struct ps2_bytes keys, answers; /* answers go first */
	uint8_t pending; /* the command whose parameter comes next, or 0 */
	uint8_t scan_set, last_sent;
	uint8_t rate, leds;
	bool enabled; /* keys are looked at */
	bool overrun; /* the host was told that keys were lost */
	uint8_t modifiers; /* that are down, see ps2_keyboard.c */
	unsigned held; /* the key that repeats, or 0 */
	bool repeating; /* it has done so before */
};

void ps2_keyboard_power_on(struct ps2_keyboard *k);
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t val);
bool ps2_keyboard_waits(const struct ps2_keyboard *k); /* with a byte */
uint8_t ps2_keyboard_take(struct ps2_keyboard *k);
/* code: see input.h. Presses of the key that repeats by itself are nothing new. */
void ps2_keyboard_key(struct ps2_keyboard *k, unsigned code, bool down);
/* Nanoseconds from the press of k->held, or from its last repeat, to its next. */
uint64_t ps2_keyboard_repeat_ns(const struct ps2_keyboard *k);
void ps2_keyboard_repeat(struct ps2_keyboard *k);
/* What the controller makes of a byte of set 2, which it does to all but 0xf0: set 1. */
uint8_t ps2_translate(uint8_t set2);

/* Movement that has not been sent, up to a change of the buttons. */
struct ps2_motion {
	int dx, dy, wheel; /* as in input.h */
	unsigned buttons;
};

#define PS2_MOTIONS 32u

struct ps2_mouse {
	struct ps2_bytes answers;
	uint8_t packet[4];
	unsigned packet_n, packet_at; /* bytes of it, and how many were taken */
	struct ps2_motion motion[PS2_MOTIONS];
	unsigned head, n;
	bool owed; /* a packet, even though nothing moved: one was cut off */
	uint8_t pending; /* the command whose parameter comes next, or 0 */
	uint8_t id; /* 0, 3 with a wheel, 4 with five buttons as well */
	uint8_t rates[3]; /* the last ones set, the newest last */
	uint8_t resolution;
	bool twice, remote, wrap, enabled;
	unsigned buttons; /* that are down now */
	uint8_t sent[4]; /* for PS2_RESEND */
	unsigned sent_n;
};

void ps2_mouse_power_on(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t val);
bool ps2_mouse_waits(struct ps2_mouse *m);
uint8_t ps2_mouse_take(struct ps2_mouse *m);
bool ps2_mouse_listens(const struct ps2_mouse *m); /* the guest wants to hear of movements */
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int wheel, unsigned buttons);

#endif
