/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keyboard layouts: which key, with which others held, gives a symbol (-k es). Displays that
 * get symbols (VNC) and text that is pasted need them; the guest has a layout of its own, which is
 * to be the same. The layouts are those of xkeyboard-config. Main loop.
 */
#ifndef POSADA_KEYMAP_H
#define POSADA_KEYMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct keymap;
struct machine;

enum keymap_mods { KEYMAP_SHIFT = 1, KEYMAP_ALTGR = 2 };

struct keymap_key {
	unsigned code; /* KEY_A ... as in input.h */
	unsigned mods; /* those that must be down, and no others */
	bool any; /* no letter but F1, Return, Shift ...: whatever else is down */
};

/*
 * layout: as in -k: "es", "en-us", "de-ch", "fr" ... or xkb's own names, "us(intl)"; NULL:
 * en-us. -EINVAL: unknown, with the nearest; ERR_UNAVAILABLE: the library or its data are not
 * there.
 */
int keymap_create(const char *layout, struct keymap **out, struct err *e);
void keymap_free(struct keymap *k);
void keymap_help(void); /* -k help */

/*
 * keysym: X11's number. The key that gives it with the fewest modifiers, while Caps Lock is
 * off. Letters that take a dead key first are not found here; keymap_type and keymap_symbol
 * know them.
 */
bool keymap_find(const struct keymap *k, uint32_t keysym, struct keymap_key *out);

/*
 * Types UTF-8 text: presses and releases with the modifiers that it takes, at a speed guests can
 * follow. Symbols that the layout has not are left out; their number is in *lost. Text that is
 * still being typed goes first; -ENOSPC: too much waits.
 */
int keymap_type(struct machine *m, const struct keymap *k, const char *text, size_t len,
		unsigned *lost, struct err *e);

/*
 * A viewer that sends symbols: presses what they stand for, and lets modifiers go or presses
 * them for the time of a key when those that are down do not fit.
 */
struct keymap_viewer {
	struct machine *m;
	const struct keymap *keymap;
	struct {
		uint32_t keysym;
		unsigned code;
	} down[16]; /* keys that are down, with the symbol that they were pressed for; code 0: free
		     */
};

void keymap_symbol(struct keymap_viewer *v, uint32_t keysym, bool down);
/* All that it holds come up: the viewer has left. */
void keymap_release(struct keymap_viewer *v);

#endif
