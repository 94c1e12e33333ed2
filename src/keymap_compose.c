/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What dead keys and the key after them give: the letters of Latin-1 and Latin Extended-A, and with
 * the space bar the sign itself, as X11, Windows and Linux's console have them. Main loop.
 */
#include <stddef.h>
#include <uchar.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#include "keymap_int.h"

/* clang-format off */
static const struct {
	uint32_t dead;
	const char32_t *base, *letter;
} table[] = {
	{ XKB_KEY_dead_grave, U"AEIOUaeiou ",
	  U"ÀÈÌÒÙàèìòù`" },
	{ XKB_KEY_dead_acute, U"AEIOUYaeiouyCcLlNnRrSsZz ",
	  U"ÁÉÍÓÚÝáéíóúýĆćĹĺŃńŔŕŚśŹź'" },
	{ XKB_KEY_dead_circumflex, U"AEIOUaeiouCcGgHhJjSsWwYy ",
	  U"ÂÊÎÔÛâêîôûĈĉĜĝĤĥĴĵŜŝŴŵŶŷ^" },
	{ XKB_KEY_dead_tilde, U"ANOanoIiUu ",
	  U"ÃÑÕãñõĨĩŨũ~" },
	{ XKB_KEY_dead_diaeresis, U"AEIOUaeiouyY ",
	  U"ÄËÏÖÜäëïöüÿŸ\"" },
	{ XKB_KEY_dead_abovering, U"AaUu ",
	  U"ÅåŮů°" },
	{ XKB_KEY_dead_caron, U"CcDdEeLlNnRrSsTtZz ",
	  U"ČčĎďĚěĽľŇňŘřŠšŤťŽžˇ" },
	{ XKB_KEY_dead_cedilla, U"CcGgKkLlNnRrSsTt ",
	  U"ÇçĢģĶķĻļŅņŖŗŞşŢţ¸" },
	{ XKB_KEY_dead_ogonek, U"AaEeIiUu ",
	  U"ĄąĘęĮįŲų˛" },
	{ XKB_KEY_dead_abovedot, U"CcEeGgIZz ",
	  U"ĊċĖėĠġİŻż˙" },
	{ XKB_KEY_dead_breve, U"AaEeGgIiOoUu ",
	  U"ĂăĔĕĞğĬĭŎŏŬŭ˘" },
	{ XKB_KEY_dead_doubleacute, U"OoUu ",
	  U"ŐőŰű˝" },
};
/* clang-format on */

bool keymap_compose_find(uint32_t keysym, struct keymap_compose *out)
{
	uint32_t letter = keysym & 0xffffff;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t j = 0; table[i].letter[j]; j++) {
			if (table[i].letter[j] != letter)
				continue;
			*out = (struct keymap_compose){ table[i].dead, table[i].base[j] };
			return true;
		}
	}
	/* A space after these two gives what is on the keys of ASCII. */
	if (letter == 0xb4 || letter == 0xa8) {
		*out = (struct keymap_compose){ .dead = letter == 0xb4 ? XKB_KEY_dead_acute
								       : XKB_KEY_dead_diaeresis };
		out->base = out->dead;
		return true;
	}
	return false;
}
