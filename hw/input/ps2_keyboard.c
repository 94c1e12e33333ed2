/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PS/2 keyboard of 101 keys and more: its commands, and scan codes in sets 1, 2 and 3
 * (IBM PS/2 technical reference, Keyboards). See ps2.h. The keyboard controller's lock is held.
 *
 * The key that was pressed last repeats until it or another one moves, after the delay and at
 * the rate that the guest has set. In set 3 every key makes, breaks and repeats.
 */
#include <linux/input-event-codes.h>
#include <string.h>

#include "ps2.h"
#include "ps2_keys.h"

/* Commands that only keyboards have. */
enum {
	KBD_LEDS = 0xed,
	KBD_SCAN_SET = 0xf0,
	KBD_ALL_KEYS_FIRST = 0xf7, /* to 0xfa: how keys of set 3 behave; accepted */
	KBD_ALL_KEYS_LAST = 0xfa,
	KBD_KEY_FIRST = 0xfb, /* to 0xfd: the same for the keys that follow */
	KBD_KEY_LAST = 0xfd,
};

enum { MOD_CTRL = 0x03, MOD_SHIFT = 0x0c, MOD_ALT = 0x30 };
enum { RATE_POWER_ON = 0x2b, LEDS_MASK = 0x07, BREAK = 0xf0 };

/* Room that presses leave free, so that keys which are down can come up. */
#define ROOM_FOR_BREAKS 32u

bool ps2_put(struct ps2_bytes *q, const uint8_t *bytes, unsigned n)
{
	if (n > PS2_BYTES - q->n)
		return false;
	for (unsigned i = 0; i < n; i++)
		q->b[(q->head + q->n++) % PS2_BYTES] = bytes[i];
	return true;
}

uint8_t ps2_take(struct ps2_bytes *q)
{
	uint8_t b = q->b[q->head];

	q->head = (q->head + 1) % PS2_BYTES;
	q->n--;
	return b;
}

/* --- what the controller sees ----------------------------------------------------- */

void ps2_keyboard_power_on(struct ps2_keyboard *k)
{
	*k = (struct ps2_keyboard){ .scan_set = 2, .rate = RATE_POWER_ON, .enabled = true };
}

bool ps2_keyboard_waits(const struct ps2_keyboard *k)
{
	return k->answers.n || k->keys.n;
}

uint8_t ps2_keyboard_take(struct ps2_keyboard *k)
{
	uint8_t b = ps2_take(k->answers.n ? &k->answers : &k->keys);

	if (!k->keys.n)
		k->overrun = false;
	if (b != PS2_ASK_AGAIN)
		k->last_sent = b;
	return b;
}

static void answer(struct ps2_keyboard *k, uint8_t b)
{
	ps2_put(&k->answers, &b, 1);
}

static void parameter(struct ps2_keyboard *k, uint8_t cmd, uint8_t val)
{
	switch (cmd) {
	case KBD_LEDS:
		k->leds = val & LEDS_MASK;
		break;
	case PS2_RATE:
		k->rate = val;
		break;
	case KBD_SCAN_SET:
		if (val > 3) {
			answer(k, PS2_ASK_AGAIN);
			return;
		}
		answer(k, PS2_ACK);
		if (val)
			k->scan_set = val;
		else
			answer(k, k->scan_set);
		return;
	default: /* keys are named until a command comes */
		k->pending = cmd;
	}
	answer(k, PS2_ACK);
}

static void defaults(struct ps2_keyboard *k, bool enabled)
{
	k->scan_set = 2;
	k->rate = RATE_POWER_ON;
	k->keys.n = 0;
	k->held = 0;
	k->overrun = false;
	k->enabled = enabled;
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t val)
{
	uint8_t cmd = k->pending, modifiers = k->modifiers;

	k->pending = 0;
	/* A command overrules the answers that have not been sent yet. */
	k->answers.n = 0;
	/* Every parameter is below 0x80; anything else is a new command. */
	if (cmd && val < 0x80) {
		parameter(k, cmd, val);
		return;
	}
	switch (val) {
	case KBD_KEY_FIRST ... KBD_KEY_LAST:
	case KBD_LEDS:
	case KBD_SCAN_SET:
	case PS2_RATE:
		k->pending = val;
		break;
	case PS2_ECHO:
		answer(k, PS2_ECHO);
		return;
	case PS2_IDENTIFY:
		answer(k, PS2_ACK);
		answer(k, 0xab);
		answer(k, 0x83);
		return;
	case PS2_ENABLE:
		k->keys.n = 0;
		k->held = 0;
		k->overrun = false;
		k->enabled = true;
		break;
	case PS2_DISABLE:
		defaults(k, false);
		break;
	case PS2_DEFAULTS:
		defaults(k, k->enabled);
		break;
	case KBD_ALL_KEYS_FIRST ... KBD_ALL_KEYS_LAST:
		break;
	case PS2_RESEND:
		answer(k, k->last_sent);
		return;
	case PS2_RESET:
		ps2_keyboard_power_on(k);
		k->modifiers = modifiers; /* fingers stay where they are */
		answer(k, PS2_ACK);
		answer(k, PS2_SELF_TEST_OK);
		return;
	default:
		answer(k, PS2_ASK_AGAIN);
		return;
	}
	answer(k, PS2_ACK);
}

/* --- keys ---------------------------------------------------------------------------- */

/* Bytes that a key sends, in set 2 until they are put into the queue. */
struct sequence {
	uint8_t b[12];
	unsigned n;
};

static void add(struct sequence *s, uint16_t code, bool down)
{
	if (code >> 8)
		s->b[s->n++] = (uint8_t)(code >> 8);
	if (!down)
		s->b[s->n++] = BREAK;
	s->b[s->n++] = (uint8_t)code;
}

/* Shift is sent along, as if the key were Shift-* on an older keyboard. */
static void print_screen(const struct ps2_keyboard *k, struct sequence *s, bool down, bool repeat)
{
	if (k->modifiers & MOD_ALT) {
		add(s, 0x84, down);
		return;
	}
	if (down && !repeat && !(k->modifiers & (MOD_CTRL | MOD_SHIFT)))
		add(s, 0xe012, true);
	add(s, 0xe07c, down);
	if (!down && !(k->modifiers & (MOD_CTRL | MOD_SHIFT)))
		add(s, 0xe012, false);
}

/* Breaks at once, and never repeats. With Ctrl it is Break, the older Scroll Lock's other use. */
static void pause_key(const struct ps2_keyboard *k, struct sequence *s, bool down)
{
	uint16_t code = k->modifiers & MOD_CTRL ? 0xe07e : 0xe114;

	if (!down)
		return;
	add(s, code, true);
	if (code == 0xe114)
		add(s, 0x77, true);
	add(s, code, false);
	if (code == 0xe114)
		add(s, 0x77, false);
}

/* As the controller would, which nobody asks to when the keyboard speaks set 1 itself. */
static void to_set1(struct sequence *s)
{
	unsigned n = 0;
	uint8_t up = 0;

	for (unsigned i = 0; i < s->n; i++) {
		if (s->b[i] == BREAK) {
			up = 0x80;
			continue;
		}
		s->b[n++] = ps2_translate(s->b[i]) | up;
		up = 0;
	}
	s->n = n;
}

static void note_modifier(struct ps2_keyboard *k, unsigned code, bool down)
{
	static const uint16_t keys[] = { KEY_LEFTCTRL,   KEY_RIGHTCTRL, KEY_LEFTSHIFT,
					 KEY_RIGHTSHIFT, KEY_LEFTALT,   KEY_RIGHTALT };

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i] != code)
			continue;
		k->modifiers &= (uint8_t) ~(1u << i);
		k->modifiers |= (uint8_t)(down << i);
	}
}

static void send(struct ps2_keyboard *k, const struct sequence *s, bool down)
{
	uint8_t lost = k->scan_set == 1 ? 0xff : 0x00;

	if (k->keys.n + s->n <= PS2_BYTES - (down ? ROOM_FOR_BREAKS : 1)) {
		ps2_put(&k->keys, s->b, s->n);
	} else if (!k->overrun) {
		k->overrun = true;
		ps2_put(&k->keys, &lost, 1);
	}
}

/* A press, a repeat of it, or a release. */
static void stroke(struct ps2_keyboard *k, unsigned code, bool down, bool repeat)
{
	struct ps2_code c = ps2_code(code);
	struct sequence s = { .n = 0 };

	if (k->scan_set == 3) {
		if (c.set3)
			add(&s, c.set3, down);
	} else if (code == KEY_SYSRQ) {
		print_screen(k, &s, down, repeat);
	} else if (code == KEY_PAUSE) {
		pause_key(k, &s, down);
	} else if (c.set2) {
		add(&s, c.set2, down);
	}
	if (k->scan_set == 1)
		to_set1(&s);
	if (s.n)
		send(k, &s, down);
}

void ps2_keyboard_key(struct ps2_keyboard *k, unsigned code, bool down)
{
	/* Displays may pass on the repeats of a keyboard of their own. */
	if (down && code == k->held)
		return;
	note_modifier(k, code, down);
	if (!k->enabled)
		return;
	if (down) {
		k->held = code == KEY_PAUSE && k->scan_set != 3 ? 0 : code;
		k->repeating = false;
	} else if (code == k->held) {
		k->held = 0;
	}
	stroke(k, code, down, false);
}

/* Bits 6 and 5: quarters of a second; below: (8 + A) * 2^B 240ths. */
uint64_t ps2_keyboard_repeat_ns(const struct ps2_keyboard *k)
{
	unsigned delay = k->rate >> 5 & 3, a = k->rate & 7, b = k->rate >> 3 & 3;

	return k->repeating ? ((8ull + a) << b) * 1000000000 / 240 : (delay + 1) * 250000000ull;
}

void ps2_keyboard_repeat(struct ps2_keyboard *k)
{
	k->repeating = true;
	/* A guest that is slow to listen is not to be flooded, nor to hear of them afterwards. */
	if (!ps2_keyboard_waits(k))
		stroke(k, k->held, true, true);
}
