/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of keys: those of QEMU's monitor (QMP's QKeyCode, and what people type for some of
 * them), for the codes of linux/input-event-codes.h. Main loop only.
 */
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "input_int.h"

static const struct {
	const char *name;
	unsigned code;
} keys[] = {
	{ "a", KEY_A },
	{ "b", KEY_B },
	{ "c", KEY_C },
	{ "d", KEY_D },
	{ "e", KEY_E },
	{ "f", KEY_F },
	{ "g", KEY_G },
	{ "h", KEY_H },
	{ "i", KEY_I },
	{ "j", KEY_J },
	{ "k", KEY_K },
	{ "l", KEY_L },
	{ "m", KEY_M },
	{ "n", KEY_N },
	{ "o", KEY_O },
	{ "p", KEY_P },
	{ "q", KEY_Q },
	{ "r", KEY_R },
	{ "s", KEY_S },
	{ "t", KEY_T },
	{ "u", KEY_U },
	{ "v", KEY_V },
	{ "w", KEY_W },
	{ "x", KEY_X },
	{ "y", KEY_Y },
	{ "z", KEY_Z },
	{ "0", KEY_0 },
	{ "1", KEY_1 },
	{ "2", KEY_2 },
	{ "3", KEY_3 },
	{ "4", KEY_4 },
	{ "5", KEY_5 },
	{ "6", KEY_6 },
	{ "7", KEY_7 },
	{ "8", KEY_8 },
	{ "9", KEY_9 },
	{ "f1", KEY_F1 },
	{ "f2", KEY_F2 },
	{ "f3", KEY_F3 },
	{ "f4", KEY_F4 },
	{ "f5", KEY_F5 },
	{ "f6", KEY_F6 },
	{ "f7", KEY_F7 },
	{ "f8", KEY_F8 },
	{ "f9", KEY_F9 },
	{ "f10", KEY_F10 },
	{ "f11", KEY_F11 },
	{ "f12", KEY_F12 },
	{ "f13", KEY_F13 },
	{ "f14", KEY_F14 },
	{ "f15", KEY_F15 },
	{ "f16", KEY_F16 },
	{ "f17", KEY_F17 },
	{ "f18", KEY_F18 },
	{ "f19", KEY_F19 },
	{ "f20", KEY_F20 },
	{ "f21", KEY_F21 },
	{ "f22", KEY_F22 },
	{ "f23", KEY_F23 },
	{ "f24", KEY_F24 },
	{ "kp_0", KEY_KP0 },
	{ "kp_1", KEY_KP1 },
	{ "kp_2", KEY_KP2 },
	{ "kp_3", KEY_KP3 },
	{ "kp_4", KEY_KP4 },
	{ "kp_5", KEY_KP5 },
	{ "kp_6", KEY_KP6 },
	{ "kp_7", KEY_KP7 },
	{ "kp_8", KEY_KP8 },
	{ "kp_9", KEY_KP9 },
	{ "esc", KEY_ESC },
	{ "escape", KEY_ESC },
	{ "minus", KEY_MINUS },
	{ "equal", KEY_EQUAL },
	{ "backspace", KEY_BACKSPACE },
	{ "tab", KEY_TAB },
	{ "ret", KEY_ENTER },
	{ "enter", KEY_ENTER },
	{ "bracket_left", KEY_LEFTBRACE },
	{ "bracket_right", KEY_RIGHTBRACE },
	{ "semicolon", KEY_SEMICOLON },
	{ "apostrophe", KEY_APOSTROPHE },
	{ "grave_accent", KEY_GRAVE },
	{ "backslash", KEY_BACKSLASH },
	{ "comma", KEY_COMMA },
	{ "dot", KEY_DOT },
	{ "slash", KEY_SLASH },
	{ "less", KEY_102ND },
	{ "<", KEY_102ND },
	{ "spc", KEY_SPACE },
	{ "space", KEY_SPACE },
	{ "shift", KEY_LEFTSHIFT },
	{ "shift_r", KEY_RIGHTSHIFT },
	{ "ctrl", KEY_LEFTCTRL },
	{ "ctrl_r", KEY_RIGHTCTRL },
	{ "alt", KEY_LEFTALT },
	{ "alt_r", KEY_RIGHTALT },
	{ "altgr", KEY_RIGHTALT },
	{ "meta_l", KEY_LEFTMETA },
	{ "meta_r", KEY_RIGHTMETA },
	{ "menu", KEY_COMPOSE },
	{ "compose", KEY_COMPOSE },
	{ "caps_lock", KEY_CAPSLOCK },
	{ "num_lock", KEY_NUMLOCK },
	{ "scroll_lock", KEY_SCROLLLOCK },
	{ "print", KEY_SYSRQ },
	{ "sysrq", KEY_SYSRQ },
	{ "pause", KEY_PAUSE },
	{ "home", KEY_HOME },
	{ "end", KEY_END },
	{ "pgup", KEY_PAGEUP },
	{ "pgdn", KEY_PAGEDOWN },
	{ "insert", KEY_INSERT },
	{ "delete", KEY_DELETE },
	{ "left", KEY_LEFT },
	{ "right", KEY_RIGHT },
	{ "up", KEY_UP },
	{ "down", KEY_DOWN },
	{ "kp_divide", KEY_KPSLASH },
	{ "kp_multiply", KEY_KPASTERISK },
	{ "asterisk", KEY_KPASTERISK },
	{ "kp_subtract", KEY_KPMINUS },
	{ "kp_add", KEY_KPPLUS },
	{ "kp_enter", KEY_KPENTER },
	{ "kp_decimal", KEY_KPDOT },
	{ "kp_equals", KEY_KPEQUAL },
	{ "kp_comma", KEY_KPCOMMA },
	{ "ro", KEY_RO },
	{ "yen", KEY_YEN },
	{ "hiragana", KEY_HIRAGANA },
	{ "katakanahiragana", KEY_KATAKANAHIRAGANA },
	{ "henkan", KEY_HENKAN },
	{ "muhenkan", KEY_MUHENKAN },
	{ "lang1", KEY_HANGEUL },
	{ "lang2", KEY_HANJA },
	{ "power", KEY_POWER },
	{ "sleep", KEY_SLEEP },
	{ "wake", KEY_WAKEUP },
	{ "audiomute", KEY_MUTE },
	{ "volumedown", KEY_VOLUMEDOWN },
	{ "volumeup", KEY_VOLUMEUP },
	{ "audionext", KEY_NEXTSONG },
	{ "audioprev", KEY_PREVIOUSSONG },
	{ "audiostop", KEY_STOPCD },
	{ "audioplay", KEY_PLAYPAUSE },
	{ "mediaselect", KEY_MEDIA },
	{ "mail", KEY_MAIL },
	{ "calculator", KEY_CALC },
	{ "computer", KEY_COMPUTER },
	{ "ac_home", KEY_HOMEPAGE },
	{ "ac_back", KEY_BACK },
	{ "ac_forward", KEY_FORWARD },
	{ "ac_refresh", KEY_REFRESH },
	{ "ac_bookmarks", KEY_BOOKMARKS },
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

/* Scan codes of set 1 with the prefix 0xe0, here their bit 7: in sendkey's numbers. */
static const struct {
	uint8_t scan;
	uint16_t code;
} extended[] = {
	{ 0x9c, KEY_KPENTER }, { 0x9d, KEY_RIGHTCTRL }, { 0xb5, KEY_KPSLASH },
	{ 0xb7, KEY_SYSRQ },   { 0xb8, KEY_RIGHTALT },  { 0xc6, KEY_PAUSE },
	{ 0xc7, KEY_HOME },    { 0xc8, KEY_UP },        { 0xc9, KEY_PAGEUP },
	{ 0xcb, KEY_LEFT },    { 0xcd, KEY_RIGHT },     { 0xcf, KEY_END },
	{ 0xd0, KEY_DOWN },    { 0xd1, KEY_PAGEDOWN },  { 0xd2, KEY_INSERT },
	{ 0xd3, KEY_DELETE },  { 0xdb, KEY_LEFTMETA },  { 0xdc, KEY_RIGHTMETA },
	{ 0xdd, KEY_COMPOSE },
};

unsigned input_key_number(unsigned scan)
{
	/* Without a prefix the codes are Linux's own, up to F12. */
	if (scan <= KEY_F12)
		return scan;
	for (size_t i = 0; i < sizeof(extended) / sizeof(extended[0]); i++)
		if (extended[i].scan == scan)
			return extended[i].code;
	return 0;
}

unsigned input_key_code(const char *name)
{
	char *end;
	unsigned long scan;

	for (size_t i = 0; i < N_KEYS; i++)
		if (!strcmp(keys[i].name, name))
			return keys[i].code;
	if (strncmp(name, "0x", 2))
		return 0;
	scan = strtoul(name, &end, 16);
	return *end || scan > 0xff ? 0 : input_key_number((unsigned)scan);
}

const char *input_key_name(unsigned code)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if (keys[i].code == code)
			return keys[i].name;
	return NULL;
}

void input_key_suggest(struct err *e, const char *name)
{
	const char *names[N_KEYS], *near;

	for (size_t i = 0; i < N_KEYS; i++)
		names[i] = keys[i].name;
	near = suggest(name, names, N_KEYS);
	if (near)
		err_hint(e, "did you mean '%s'?", near);
	else
		err_hint(e, "keys have names such as a, ret, spc, f1, ctrl, minus; '-' joins "
			    "them: ctrl-alt-delete");
}
