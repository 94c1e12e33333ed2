/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keyboard layouts: the table of what each key gives, and which one is best for a symbol. See
 * keymap.h. Main loop.
 */
#include "keymap.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#include "err.h"
#include "input.h"
#include "keymap_int.h"
#include "log.h"

/* --- the table ------------------------------------------------------------------------ */

enum { UNICODE = 0x01000000 };

bool keymap_is_function(uint32_t keysym)
{
	if (keysym >= XKB_KEY_dead_grave && keysym <= XKB_KEY_dead_greek)
		return false;
	return (keysym >= 0xfd00 && keysym <= 0xffff && keysym != XKB_KEY_ISO_Left_Tab) ||
	       keysym >= 0x10000000;
}

uint32_t keymap_normal(uint32_t keysym)
{
	uint32_t c = keysym >> 24 == UNICODE >> 24 ? keysym & 0xffffff : 0;

	if (!c && keysym >= 0x100 && keysym < 0xfd00)
		c = keymap_xkb_unicode(keysym);
	return !c ? keysym : c < 0x100 ? c : UNICODE | c;
}

int keymap_add(struct keymap *k, uint32_t keysym, unsigned code, unsigned mods, bool caps)
{
	if (k->n == k->room) {
		size_t room = k->room ? k->room * 2 : 512;
		struct keymap_entry *more = realloc(k->entry, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		k->entry = more;
		k->room = room;
	}
	k->entry[k->n++] = (struct keymap_entry){
		.keysym = keymap_normal(keysym),
		.code = (uint16_t)code,
		.mods = (uint8_t)mods,
		.caps = caps,
	};
	return 0;
}

static int by_keysym(const void *a, const void *b)
{
	uint32_t x = ((const struct keymap_entry *)a)->keysym;
	uint32_t y = ((const struct keymap_entry *)b)->keysym;

	return x < y ? -1 : x > y;
}

int keymap_create(const char *layout, struct keymap **out, struct err *e)
{
	char name[KEYMAP_NAME], variant[KEYMAP_NAME];
	struct keymap *k;
	int rc = keymap_name(layout ? layout : "en-us", name, variant, e);

	if (rc)
		return rc;
	k = calloc(1, sizeof(*k));
	if (!k)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = keymap_xkb_fill(k, layout, name, variant, e);
	if (rc == -ENOENT && !layout) {
		log_note("%s: only the US layout is there", e->msg);
		rc = keymap_us_fill(k);
		if (rc)
			err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	if (rc) {
		if (layout && rc == -ENOENT)
			err_prefix(e, "-k %s: ", layout);
		keymap_free(k);
		return rc;
	}
	qsort(k->entry, k->n, sizeof(*k->entry), by_keysym);
	*out = k;
	return 0;
}

void keymap_free(struct keymap *k)
{
	if (!k)
		return;
	free(k->entry);
	free(k);
}

/* --- the best key ----------------------------------------------------------------------- */

/*
 * Shift is usual, AltGr is for what there is no other way to. Keys that not every keyboard has, or
 * that systems understand in different ways -- the one beside the left Shift, the keypad's --
 * come after those. That what is held must change costs a little.
 */
enum { COST_SHIFT = 1, COST_ALTGR = 6, COST_ODD = 4, COST_CHANGE = 2 };

static unsigned cost(const struct keymap_entry *t, unsigned held)
{
	bool main_block = t->code <= KEY_SPACE && t->code != KEY_KPASTERISK;

	return (t->mods & KEYMAP_SHIFT ? COST_SHIFT : 0) +
	       (t->mods & KEYMAP_ALTGR ? COST_ALTGR : 0) + (main_block ? 0 : COST_ODD) +
	       (held != t->mods ? COST_CHANGE : 0);
}

/*
 * Of two that cost the same: the digits' row has what is printed there, but for brackets and
 * backslash, which xkb has there too where they are on keys of their own.
 */
static bool better(const struct keymap_entry *a, const struct keymap_entry *b, unsigned held)
{
	unsigned x = cost(a, held), y = cost(b, held);
	bool bracket = a->keysym < 0x80 && strchr("[]{}\\", (int)a->keysym);

	return x != y ? x < y : bracket ? a->code > b->code : a->code < b->code;
}

static size_t first_of(const struct keymap *k, uint32_t keysym)
{
	size_t low = 0, high = k->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (k->entry[mid].keysym < keysym)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool keymap_best(const struct keymap *k, uint32_t keysym, unsigned held, bool caps,
		 struct keymap_key *out)
{
	const struct keymap_entry *best = NULL;

	keysym = keymap_normal(keysym);
	caps = caps && !keymap_is_function(keysym);
	for (size_t i = first_of(k, keysym); i < k->n && k->entry[i].keysym == keysym; i++) {
		const struct keymap_entry *t = &k->entry[i];

		if (t->caps == caps && (!best || better(t, best, held)))
			best = t;
	}
	if (!best)
		return false;
	*out = (struct keymap_key){ .code = best->code, .any = keymap_is_function(keysym) };
	out->mods = out->any ? 0 : best->mods;
	return true;
}

bool keymap_find(const struct keymap *k, uint32_t keysym, struct keymap_key *out)
{
	return keymap_best(k, keysym, 0, false, out);
}

unsigned keymap_keys(const struct keymap *k, uint32_t keysym, unsigned held, bool caps,
		     struct keymap_key out[2])
{
	struct keymap_compose two;

	if (keymap_best(k, keysym, held, caps, &out[0]))
		return 1;
	if (!keymap_compose_find(keymap_normal(keysym), &two) ||
	    !keymap_best(k, two.dead, held, caps, &out[0]) ||
	    !keymap_best(k, two.base, held, caps, &out[1]))
		return 0;
	return 2;
}
