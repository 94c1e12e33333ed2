/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a terminal sends, as keys of a US keyboard (ECMA-48; xterm's "PC-Style
 * Function Keys"). Keys are held for a moment and follow one another at a pace that
 * a keyboard's buffer takes: pasted text is typed. Main loop.
 */
#include "text.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "input.h"

#define STEP_NS 8000000ull /* from a key's press to its release, and to the next one's */
#define ESCAPE_NS 100000000ull /* a lone Escape is one when nothing follows for so long */

enum { PRESS = 0x8000, SHIFT = 1, ALT = 2, CTRL = 4, MODIFIERS = 8 };
enum { PER_BYTE = 8 }; /* presses and releases that a byte may become, at most */

/* By ASCII code from 32 on; bit 7: with Shift. */
#define S(code) ((code) | 0x80)
static const uint8_t ascii[95] = {
	KEY_SPACE,
	S(KEY_1),
	S(KEY_APOSTROPHE),
	S(KEY_3),
	S(KEY_4),
	S(KEY_5),
	S(KEY_7),
	KEY_APOSTROPHE,
	S(KEY_9),
	S(KEY_0),
	S(KEY_8),
	S(KEY_EQUAL),
	KEY_COMMA,
	KEY_MINUS,
	KEY_DOT,
	KEY_SLASH,
	KEY_0,
	KEY_1,
	KEY_2,
	KEY_3,
	KEY_4,
	KEY_5,
	KEY_6,
	KEY_7,
	KEY_8,
	KEY_9,
	S(KEY_SEMICOLON),
	KEY_SEMICOLON,
	S(KEY_COMMA),
	KEY_EQUAL,
	S(KEY_DOT),
	S(KEY_SLASH),
	S(KEY_2),
	S(KEY_A),
	S(KEY_B),
	S(KEY_C),
	S(KEY_D),
	S(KEY_E),
	S(KEY_F),
	S(KEY_G),
	S(KEY_H),
	S(KEY_I),
	S(KEY_J),
	S(KEY_K),
	S(KEY_L),
	S(KEY_M),
	S(KEY_N),
	S(KEY_O),
	S(KEY_P),
	S(KEY_Q),
	S(KEY_R),
	S(KEY_S),
	S(KEY_T),
	S(KEY_U),
	S(KEY_V),
	S(KEY_W),
	S(KEY_X),
	S(KEY_Y),
	S(KEY_Z),
	KEY_LEFTBRACE,
	KEY_BACKSLASH,
	KEY_RIGHTBRACE,
	S(KEY_6),
	S(KEY_MINUS),
	KEY_GRAVE,
	KEY_A,
	KEY_B,
	KEY_C,
	KEY_D,
	KEY_E,
	KEY_F,
	KEY_G,
	KEY_H,
	KEY_I,
	KEY_J,
	KEY_K,
	KEY_L,
	KEY_M,
	KEY_N,
	KEY_O,
	KEY_P,
	KEY_Q,
	KEY_R,
	KEY_S,
	KEY_T,
	KEY_U,
	KEY_V,
	KEY_W,
	KEY_X,
	KEY_Y,
	KEY_Z,
	S(KEY_LEFTBRACE),
	S(KEY_BACKSLASH),
	S(KEY_RIGHTBRACE),
	S(KEY_GRAVE),
};

/* "ESC [ n ~" */
static const uint8_t by_number[] = {
	[1] = KEY_HOME,     [2] = KEY_INSERT, [3] = KEY_DELETE, [4] = KEY_END,  [5] = KEY_PAGEUP,
	[6] = KEY_PAGEDOWN, [7] = KEY_HOME,   [8] = KEY_END,    [11] = KEY_F1,  [12] = KEY_F2,
	[13] = KEY_F3,      [14] = KEY_F4,    [15] = KEY_F5,    [17] = KEY_F6,  [18] = KEY_F7,
	[19] = KEY_F8,      [20] = KEY_F9,    [21] = KEY_F10,   [23] = KEY_F11, [24] = KEY_F12,
};

/* "ESC [ X", "ESC O X" */
static unsigned by_letter(uint8_t c)
{
	switch (c) {
	case 'A':
		return KEY_UP;
	case 'B':
		return KEY_DOWN;
	case 'C':
		return KEY_RIGHT;
	case 'D':
		return KEY_LEFT;
	case 'F':
		return KEY_END;
	case 'H':
		return KEY_HOME;
	case 'P':
		return KEY_F1;
	case 'Q':
		return KEY_F2;
	case 'R':
		return KEY_F3;
	case 'S':
		return KEY_F4;
	default:
		return 0;
	}
}

/* --- the queue ---------------------------------------------------------------------------- */

static void add(struct text_keys *k, unsigned code, bool down)
{
	if (k->n == TEXT_KEYS)
		return;
	k->queue[(k->head + k->n++) % TEXT_KEYS] = (uint16_t)(code | (down ? PRESS : 0));
}

static void press(struct text_keys *k, unsigned code, unsigned modifiers)
{
	static const struct {
		unsigned bit, code;
	} keys[3] = { { SHIFT, KEY_LEFTSHIFT }, { ALT, KEY_LEFTALT }, { CTRL, KEY_LEFTCTRL } };

	if (!code)
		return;
	for (unsigned i = 0; i < 3; i++)
		if (modifiers & keys[i].bit)
			add(k, keys[i].code, true);
	add(k, code, true);
	add(k, code, false);
	for (unsigned i = 3; i-- > 0;)
		if (modifiers & keys[i].bit)
			add(k, keys[i].code, false);
}

/* --- the sequences --------------------------------------------------------------------------- */

static void press_byte(struct text_keys *k, uint8_t c, unsigned modifiers)
{
	if (c >= 32 && c < 127) {
		uint8_t key = ascii[c - 32];

		press(k, key & 0x7f, modifiers | (key & 0x80 ? SHIFT : 0));
		return;
	}
	switch (c) {
	case 8: /* of terminals whose Backspace is not DEL */
	case 127:
		press(k, KEY_BACKSPACE, modifiers);
		break;
	case '\t':
		press(k, KEY_TAB, modifiers);
		break;
	case '\r':
	case '\n':
		press(k, KEY_ENTER, modifiers);
		break;
	case 27:
		press(k, KEY_ESC, modifiers);
		break;
	case 0:
		press(k, KEY_SPACE, modifiers | CTRL);
		break;
	default:
		if (c < 27)
			press(k, ascii['a' + c - 1 - 32], modifiers | CTRL);
		else if (c < 32)
			press(k, ascii["\\]^_"[c - 28] - 32] & 0x7f, modifiers | CTRL);
		break;
	}
}

/* "ESC [ 5 ; 3 ~": parameters, and the letter that ends it. */
static void press_sequence(struct text_keys *k)
{
	unsigned param[2] = { 0, 0 }, n = 0, modifiers;
	uint8_t last = k->seq[k->seq_len - 1];

	for (unsigned i = 2; i + 1 < k->seq_len; i++) {
		uint8_t c = k->seq[i];

		if (c == ';' && n < 1)
			n++;
		else if (c >= '0' && c <= '9' && param[n] < 100)
			param[n] = param[n] * 10 + c - '0';
	}
	modifiers = param[1] ? (param[1] - 1) % MODIFIERS : 0;
	if (last == '~')
		press(k, param[0] < sizeof(by_number) ? by_number[param[0]] : 0, modifiers);
	else if (last == 'Z')
		press(k, KEY_TAB, SHIFT);
	else
		press(k, by_letter(last), modifiers);
}

/* Whether the sequence is complete with its last byte; it has been acted on then. */
static bool complete(struct text_keys *k)
{
	uint8_t c = k->seq[k->seq_len - 1];

	if (k->seq_len == 1)
		return false;
	if (k->seq_len == 2) {
		if (c == '[' || c == 'O')
			return false;
		press_byte(k, c, ALT);
		return true;
	}
	/* The Linux console's F1 to F5 are "ESC [ [ A" and so on. */
	if (k->seq_len == 3 && c == '[')
		return false;
	if (k->seq[2] == '[') {
		if (c >= 'A' && c <= 'E')
			press(k, KEY_F1 + c - 'A', 0);
		return true;
	}
	if (c < 0x40)
		return false;
	press_sequence(k);
	return true;
}

static void feed(struct text_keys *k, uint8_t c)
{
	if (!k->seq_len && c != 27) {
		press_byte(k, c, 0);
		return;
	}
	if (k->seq_len == 1 && c == 27) { /* twice: the first one was the key */
		press_byte(k, 27, 0);
		return;
	}
	/* Of one that is longer than any known only the end matters: it is none. */
	if (k->seq_len == sizeof(k->seq))
		k->seq_len--;
	k->seq[k->seq_len++] = c;
	if (complete(k))
		k->seq_len = 0;
}

/* What began as a sequence, and did not go on. */
static void give_up(struct text_keys *k)
{
	if (k->seq_len == 1)
		press_byte(k, 27, 0);
	else if (k->seq_len == 2)
		press_byte(k, k->seq[1], ALT);
	k->seq_len = 0;
}

/* --- time --------------------------------------------------------------------------------------
 */

static void go_on(struct text_keys *k)
{
	if (!k->timer.deadline && (k->n || k->seq_len))
		loop_timer_set(&k->timer, loop_now_ns() + (k->n ? STEP_NS : ESCAPE_NS));
}

static void on_timer(void *ctx)
{
	struct text_keys *k = ctx;
	bool modifier;

	if (!k->n)
		give_up(k);
	/* Modifiers come at once with the key they go with. */
	do {
		uint16_t event;
		unsigned code;

		if (!k->n)
			break;
		event = k->queue[k->head];
		code = event & 0x7fff;
		k->head = (k->head + 1) % TEXT_KEYS;
		k->n--;
		input_key(k->m, code, event & PRESS);
		modifier = code == KEY_LEFTSHIFT || code == KEY_LEFTALT || code == KEY_LEFTCTRL;
	} while (modifier);
	go_on(k);
	k->room(k->ctx);
}

void text_keys_init(struct text_keys *k, struct machine *m, struct loop *l, void (*room)(void *ctx),
		    void *ctx)
{
	*k = (struct text_keys){ .m = m, .room = room, .ctx = ctx };
	loop_timer_init(&k->timer, l, on_timer, k);
}

void text_keys_fini(struct text_keys *k)
{
	loop_timer_cancel(&k->timer);
}

size_t text_keys_room(const struct text_keys *k)
{
	return (TEXT_KEYS - k->n) / PER_BYTE;
}

void text_keys_feed(struct text_keys *k, const uint8_t *buf, size_t len)
{
	/* A sequence that goes on is not given up while it does. */
	if (k->seq_len && !k->n)
		loop_timer_cancel(&k->timer);
	for (size_t i = 0; i < len; i++)
		feed(k, buf[i]);
	go_on(k);
}
