/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A US keyboard's ASCII, for hosts without the library that knows layouts. Main loop. */
#include <linux/input-event-codes.h>
#include <stddef.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#include "keymap_int.h"

/* Rows of keys whose codes follow one another, without and with Shift. */
static const struct {
	unsigned first;
	const char *plain, *shifted;
} rows[] = {
	{ KEY_1, "1234567890-=", "!@#$%^&*()_+" },
	{ KEY_Q, "qwertyuiop[]", "QWERTYUIOP{}" },
	{ KEY_A, "asdfghjkl;'`", "ASDFGHJKL:\"~" },
	{ KEY_BACKSLASH, "\\zxcvbnm,./", "|ZXCVBNM<>?" },
	{ KEY_SPACE, " ", " " },
};

/* Before the shift key of the third row stands a code of its own: KEY_GRAVE follows '. */
_Static_assert(KEY_APOSTROPHE + 1 == KEY_GRAVE && KEY_BACKSLASH + 1 == KEY_Z, "rows of keys");

static const struct {
	uint32_t keysym;
	unsigned code;
} others[] = {
	{ XKB_KEY_Escape, KEY_ESC },
	{ XKB_KEY_BackSpace, KEY_BACKSPACE },
	{ XKB_KEY_Tab, KEY_TAB },
	{ XKB_KEY_Return, KEY_ENTER },
	{ XKB_KEY_F1, KEY_F1 },
	{ XKB_KEY_F2, KEY_F2 },
	{ XKB_KEY_F3, KEY_F3 },
	{ XKB_KEY_F4, KEY_F4 },
	{ XKB_KEY_F5, KEY_F5 },
	{ XKB_KEY_F6, KEY_F6 },
	{ XKB_KEY_F7, KEY_F7 },
	{ XKB_KEY_F8, KEY_F8 },
	{ XKB_KEY_F9, KEY_F9 },
	{ XKB_KEY_F10, KEY_F10 },
	{ XKB_KEY_F11, KEY_F11 },
	{ XKB_KEY_F12, KEY_F12 },
	{ XKB_KEY_Home, KEY_HOME },
	{ XKB_KEY_Up, KEY_UP },
	{ XKB_KEY_Prior, KEY_PAGEUP },
	{ XKB_KEY_Left, KEY_LEFT },
	{ XKB_KEY_Right, KEY_RIGHT },
	{ XKB_KEY_End, KEY_END },
	{ XKB_KEY_Down, KEY_DOWN },
	{ XKB_KEY_Next, KEY_PAGEDOWN },
	{ XKB_KEY_Insert, KEY_INSERT },
	{ XKB_KEY_Delete, KEY_DELETE },
	{ XKB_KEY_KP_Enter, KEY_KPENTER },
	{ XKB_KEY_KP_Add, KEY_KPPLUS },
	{ XKB_KEY_KP_Subtract, KEY_KPMINUS },
	{ XKB_KEY_KP_Multiply, KEY_KPASTERISK },
	{ XKB_KEY_KP_Divide, KEY_KPSLASH },
};

int keymap_us_fill(struct keymap *k)
{
	int rc = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned j = 0; !rc && rows[i].plain[j]; j++) {
			unsigned code = rows[i].first + j;
			char lower = rows[i].plain[j], upper = rows[i].shifted[j];
			bool letter = lower >= 'a' && lower <= 'z';

			rc = keymap_add(k, (uint8_t)lower, code, 0, false);
			rc = rc ? rc : keymap_add(k, (uint8_t)upper, code, KEYMAP_SHIFT, false);
			rc = rc ? rc
				: keymap_add(k, (uint8_t)(letter ? upper : lower), code, 0, true);
			rc = rc ? rc
				: keymap_add(k, (uint8_t)(letter ? lower : upper), code,
					     KEYMAP_SHIFT, true);
		}
	}
	for (size_t i = 0; !rc && i < sizeof(others) / sizeof(others[0]); i++)
		rc = keymap_add(k, others[i].keysym, others[i].code, 0, false);
	return rc;
}
