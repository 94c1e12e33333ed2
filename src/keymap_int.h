/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the keyboard layouts share; see keymap.h. Main loop. */
#ifndef POSADA_KEYMAP_INT_H
#define POSADA_KEYMAP_INT_H

#include "keymap.h"

/* A key and what is held with it, and the symbol that this gives. */
struct keymap_entry {
	uint32_t keysym; /* as keymap_normal has it */
	uint16_t code;
	uint8_t mods;
	bool caps; /* while Caps Lock is on; else while it is off */
};

struct keymap {
	struct keymap_entry *entry; /* by keysym */
	size_t n, room;
	bool altgr; /* the right Alt key is AltGr */
};

/* A letter that a dead key and another one give. */
struct keymap_compose {
	uint32_t dead, base; /* symbols */
};

int keymap_add(struct keymap *k, uint32_t keysym, unsigned code, unsigned mods, bool caps);
/* Each symbol has one number: Unicode's, of which X11 has several names. */
uint32_t keymap_normal(uint32_t keysym);
/* Neither a letter nor a dead key: Return, F1, keypad, modifiers. */
bool keymap_is_function(uint32_t keysym);
/* keymap_find with what is held already, and whether Caps Lock is on. */
bool keymap_best(const struct keymap *k, uint32_t keysym, unsigned held, bool caps,
		 struct keymap_key *out);
/* The same for one key, or a dead key and the one that comes after it: how many, 0: none. */
unsigned keymap_keys(const struct keymap *k, uint32_t keysym, unsigned held, bool caps,
		     struct keymap_key out[2]);

/* keymap_names.c: -k's name as xkb's layout and variant, at most 32 bytes each with the NUL. */
enum { KEYMAP_NAME = 32 };
int keymap_name(const char *name, char *layout, char *variant, struct err *e);
void keymap_unknown(const char *name, struct err *e);

/* keymap_xkb.c: fills k with the layout's symbols. */
int keymap_xkb_fill(struct keymap *k, const char *name, const char *layout, const char *variant,
		    struct err *e);
/* The Unicode character of a symbol with an old number, or 0; 0 also without the library. */
uint32_t keymap_xkb_unicode(uint32_t keysym);

/* keymap_us.c: what there is without the library. */
int keymap_us_fill(struct keymap *k);

/* keymap_compose.c */
bool keymap_compose_find(uint32_t keysym, struct keymap_compose *out);

#endif
