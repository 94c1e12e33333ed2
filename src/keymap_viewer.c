/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Viewers that send symbols instead of keys, such as VNC's (RFC 6143, 7.5.4): what they press and
 * let go becomes that of keys. Viewers are not trusted: they may send what no keyboard would. Main
 * loop.
 */
#include <linux/input-event-codes.h>
#include <string.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#include "input.h"
#include "keymap_int.h"

#define SLOTS                                                                                      \
	((int)(sizeof(((struct keymap_viewer *)0)->down) /                                         \
	       sizeof(((struct keymap_viewer *)0)->down[0])))

/* Keys that are there in all layouts, by names that the layout may not have for them. */
static const struct {
	uint32_t keysym;
	unsigned code;
} always[] = {
	{ XKB_KEY_Shift_L, KEY_LEFTSHIFT },
	{ XKB_KEY_Shift_R, KEY_RIGHTSHIFT },
	{ XKB_KEY_Control_L, KEY_LEFTCTRL },
	{ XKB_KEY_Control_R, KEY_RIGHTCTRL },
	{ XKB_KEY_Alt_L, KEY_LEFTALT },
	{ XKB_KEY_Alt_R, KEY_RIGHTALT },
	{ XKB_KEY_Meta_L, KEY_LEFTALT },
	{ XKB_KEY_Meta_R, KEY_RIGHTALT },
	{ XKB_KEY_ISO_Level3_Shift, KEY_RIGHTALT },
	{ XKB_KEY_Mode_switch, KEY_RIGHTALT },
	{ XKB_KEY_Super_L, KEY_LEFTMETA },
	{ XKB_KEY_Super_R, KEY_RIGHTMETA },
	{ XKB_KEY_Hyper_L, KEY_LEFTMETA },
	{ XKB_KEY_Hyper_R, KEY_RIGHTMETA },
	{ XKB_KEY_Caps_Lock, KEY_CAPSLOCK },
	{ XKB_KEY_Num_Lock, KEY_NUMLOCK },
	{ XKB_KEY_Scroll_Lock, KEY_SCROLLLOCK },
	{ XKB_KEY_Menu, KEY_COMPOSE },
	{ XKB_KEY_Multi_key, KEY_COMPOSE },
	{ XKB_KEY_Print, KEY_SYSRQ },
	{ XKB_KEY_Sys_Req, KEY_SYSRQ },
	{ XKB_KEY_Pause, KEY_PAUSE },
	{ XKB_KEY_Break, KEY_PAUSE },
	{ XKB_KEY_ISO_Left_Tab, KEY_TAB },
};

/* The keypad's two halves: with Num Lock and without. */
static const struct {
	uint32_t digit, plain_digit, move, plain_move;
} keypad[] = {
	{ XKB_KEY_KP_0, '0', XKB_KEY_KP_Insert, XKB_KEY_Insert },
	{ XKB_KEY_KP_1, '1', XKB_KEY_KP_End, XKB_KEY_End },
	{ XKB_KEY_KP_2, '2', XKB_KEY_KP_Down, XKB_KEY_Down },
	{ XKB_KEY_KP_3, '3', XKB_KEY_KP_Next, XKB_KEY_Next },
	{ XKB_KEY_KP_4, '4', XKB_KEY_KP_Left, XKB_KEY_Left },
	{ XKB_KEY_KP_6, '6', XKB_KEY_KP_Right, XKB_KEY_Right },
	{ XKB_KEY_KP_7, '7', XKB_KEY_KP_Home, XKB_KEY_Home },
	{ XKB_KEY_KP_8, '8', XKB_KEY_KP_Up, XKB_KEY_Up },
	{ XKB_KEY_KP_9, '9', XKB_KEY_KP_Prior, XKB_KEY_Prior },
	{ XKB_KEY_KP_5, '5', XKB_KEY_KP_Begin, XKB_KEY_KP_Begin },
	{ XKB_KEY_KP_Decimal, '.', XKB_KEY_KP_Delete, XKB_KEY_Delete },
	{ XKB_KEY_KP_Separator, ',', XKB_KEY_KP_Delete, XKB_KEY_Delete },
};

/* Num Lock at the viewer and in the guest need not agree: other keys give the same then. */
static uint32_t keypad_as_is(uint32_t keysym, bool num)
{
	for (size_t i = 0; i < sizeof(keypad) / sizeof(keypad[0]); i++) {
		if (keysym == keypad[i].digit && !num)
			return keypad[i].plain_digit;
		if (keysym == keypad[i].move && num)
			return keypad[i].plain_move;
	}
	return keysym;
}

/* --- keys that are down --------------------------------------------------------------------- */

/* 0: the first free one. -1: there is none. */
static int slot_of(const struct keymap_viewer *v, unsigned code)
{
	for (int i = 0; i < SLOTS; i++)
		if (v->down[i].code == code)
			return i;
	return -1;
}

static bool holds(const struct keymap_viewer *v, unsigned code)
{
	return slot_of(v, code) >= 0;
}

static unsigned held_mods(const struct keymap_viewer *v)
{
	return (holds(v, KEY_LEFTSHIFT) || holds(v, KEY_RIGHTSHIFT) ? KEYMAP_SHIFT : 0) |
	       (v->keymap->altgr && holds(v, KEY_RIGHTALT) ? KEYMAP_ALTGR : 0);
}

/* Shift and AltGr from what is held to `mods`, or back from there. */
static void change_mods(const struct keymap_viewer *v, unsigned mods, bool back)
{
	static const struct {
		unsigned mod, code;
		bool main; /* pressed when the modifier is not held */
	} keys[] = { { KEYMAP_SHIFT, KEY_LEFTSHIFT, true },
		     { KEYMAP_SHIFT, KEY_RIGHTSHIFT, false },
		     { KEYMAP_ALTGR, KEY_RIGHTALT, true } };
	unsigned held = held_mods(v);

	for (unsigned i = 0; i < 3; i++) {
		bool has = held & keys[i].mod, wants = mods & keys[i].mod;

		if (has == wants || (has && !holds(v, keys[i].code)) || (wants && !keys[i].main))
			continue;
		input_key(v->m, keys[i].code, wants != back);
	}
}

static void press(struct keymap_viewer *v, const struct keymap_key *key, uint32_t keysym)
{
	int slot = slot_of(v, key->code);

	/* A key that is down already is repeated. */
	slot = slot < 0 ? slot_of(v, 0) : slot;
	if (slot < 0)
		return;
	if (!key->any)
		change_mods(v, key->mods, false);
	input_key(v->m, key->code, true);
	if (!key->any)
		change_mods(v, key->mods, true);
	v->down[slot].keysym = keysym;
	v->down[slot].code = key->code;
}

static void let_go(struct keymap_viewer *v, int slot)
{
	input_key(v->m, v->down[slot].code, false);
	v->down[slot].code = 0;
}

/* --- symbols ---------------------------------------------------------------------------------- */

static unsigned keys_of(const struct keymap_viewer *v, uint32_t keysym, struct keymap_key key[2])
{
	unsigned leds = input_leds(v->m), n;

	keysym = keypad_as_is(keysym, leds & INPUT_LED_NUM);
	n = keymap_keys(v->keymap, keysym, held_mods(v), leds & INPUT_LED_CAPS, key);
	for (size_t i = 0; !n && i < sizeof(always) / sizeof(always[0]); i++) {
		if (always[i].keysym == keysym) {
			key[0] = (struct keymap_key){ .code = always[i].code, .any = true };
			n = 1;
		}
	}
	return n;
}

/* The viewer names it by what it gives now: its Shift may have changed meanwhile. */
static void symbol_up(struct keymap_viewer *v, uint32_t keysym)
{
	struct keymap_key key[2];
	unsigned n;
	int slot;

	for (int i = 0; i < SLOTS; i++) {
		if (v->down[i].code && v->down[i].keysym == keysym) {
			let_go(v, i);
			return;
		}
	}
	n = keys_of(v, keysym, key);
	slot = n ? slot_of(v, key[n - 1].code) : -1;
	if (slot >= 0)
		let_go(v, slot);
}

void keymap_symbol(struct keymap_viewer *v, uint32_t keysym, bool down)
{
	struct keymap_key key[2];
	unsigned n;

	if (!down) {
		symbol_up(v, keysym);
		return;
	}
	n = keys_of(v, keysym, key);
	if (!n)
		return;
	if (n == 2) {
		press(v, &key[0], keysym);
		if (holds(v, key[0].code))
			let_go(v, slot_of(v, key[0].code));
	}
	press(v, &key[n - 1], keysym);
}

void keymap_release(struct keymap_viewer *v)
{
	for (int i = 0; i < SLOTS; i++)
		if (v->down[i].code)
			let_go(v, i);
}
