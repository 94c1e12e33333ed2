/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keyboard layouts of xkeyboard-config by libxkbcommon, which is loaded when the first one is
 * needed. Its key codes are Linux's plus 8 (the rules "evdev"). Main loop.
 */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <stddef.h>
#include <xkbcommon/xkbcommon.h>

#include "err.h"
#include "input_int.h"
#include "keymap_int.h"
#include "lazy.h"

enum { XKB_CODE = 8 };

static struct {
	__typeof__(&xkb_context_new) context_new;
	__typeof__(&xkb_context_unref) context_unref;
	__typeof__(&xkb_context_set_log_fn) context_set_log_fn;
	__typeof__(&xkb_context_include_path_append_default) context_include_path_append_default;
	__typeof__(&xkb_keymap_new_from_names) keymap_new_from_names;
	__typeof__(&xkb_keymap_unref) keymap_unref;
	__typeof__(&xkb_keymap_mod_get_index) keymap_mod_get_index;
	__typeof__(&xkb_state_new) state_new;
	__typeof__(&xkb_state_unref) state_unref;
	__typeof__(&xkb_state_update_mask) state_update_mask;
	__typeof__(&xkb_state_key_get_one_sym) state_key_get_one_sym;
	__typeof__(&xkb_keysym_to_utf32) keysym_to_utf32;
} api;
static bool loaded;

#define SYMBOL(name)                                                                               \
	{                                                                                          \
		"xkb_" #name, offsetof(__typeof__(api), name)                                      \
	}

static int load(struct err *e)
{
	static const struct lazy_symbol symbols[] = {
		SYMBOL(context_new),
		SYMBOL(context_unref),
		SYMBOL(context_set_log_fn),
		SYMBOL(context_include_path_append_default),
		SYMBOL(keymap_new_from_names),
		SYMBOL(keymap_unref),
		SYMBOL(keymap_mod_get_index),
		SYMBOL(state_new),
		SYMBOL(state_unref),
		SYMBOL(state_update_mask),
		SYMBOL(state_key_get_one_sym),
		SYMBOL(keysym_to_utf32),
		{ NULL, 0 },
	};
	static const struct lazy_lib lib = {
		.soname = "libxkbcommon.so.0",
		.package = "libxkbcommon0",
		.use = "keyboard layouts",
		.symbols = symbols,
	};
	int rc = loaded ? 0 : lazy_load(&lib, &api, e);

	loaded = !rc;
	return rc;
}

uint32_t keymap_xkb_unicode(uint32_t keysym)
{
	return loaded ? api.keysym_to_utf32(keysym) : 0;
}

/* --- the symbols of all keys ------------------------------------------------------- */

/* Bits of an xkb_state. */
struct masks {
	xkb_mod_mask_t shift, altgr, caps, num;
};

static xkb_mod_mask_t mask_of(struct xkb_keymap *map, const char *name)
{
	xkb_mod_index_t i = api.keymap_mod_get_index(map, name);

	return i == XKB_MOD_INVALID ? 0 : 1u << i;
}

static int add(struct keymap *k, struct xkb_state *s, unsigned code, unsigned mods, bool caps)
{
	xkb_keysym_t sym = api.state_key_get_one_sym(s, code + XKB_CODE);

	return sym == XKB_KEY_NoSymbol ? 0 : keymap_add(k, sym, code, mods, caps);
}

static bool is_keypad(unsigned code)
{
	return code >= KEY_KP7 && code <= KEY_KPDOT;
}

/* All keys that a guest's keyboard has, which are those that have names. */
static int add_all(struct keymap *k, struct xkb_state *s, const struct masks *m)
{
	int rc = 0;

	api.state_update_mask(s, 0, 0, m->num, 0, 0, 0);
	for (unsigned code = KEY_KP7; !rc && code <= KEY_KPDOT; code++)
		if (is_keypad(code))
			rc = add(k, s, code, 0, false);
	for (unsigned i = 0; !rc && i < 8; i++) {
		unsigned mods = i & 3;
		bool caps = i & 4;

		if (mods & KEYMAP_ALTGR && !k->altgr)
			continue;
		api.state_update_mask(s,
				      (mods & KEYMAP_SHIFT ? m->shift : 0) |
					      (mods & KEYMAP_ALTGR ? m->altgr : 0),
				      0, caps ? m->caps : 0, 0, 0, 0);
		for (unsigned code = 1; !rc && code < KEY_MICMUTE; code++)
			if (input_key_name(code) && !(is_keypad(code) && mods))
				rc = add(k, s, code, mods, caps);
	}
	return rc;
}

static int fill(struct keymap *k, struct xkb_keymap *map)
{
	struct xkb_state *s = api.state_new(map);
	const struct masks m = {
		.shift = mask_of(map, "Shift"),
		.altgr = mask_of(map, "Mod5"),
		.caps = mask_of(map, "Lock"),
		.num = mask_of(map, "Mod2"),
	};
	int rc;

	if (!s)
		return -ENOMEM;
	k->altgr =
		api.state_key_get_one_sym(s, KEY_RIGHTALT + XKB_CODE) == XKB_KEY_ISO_Level3_Shift;
	rc = add_all(k, s, &m);
	api.state_unref(s);
	return rc;
}

/* --- the layout ---------------------------------------------------------------------- */

static struct xkb_keymap *compile(struct xkb_context *c, const char *layout, const char *variant)
{
	const struct xkb_rule_names names = {
		.rules = "evdev",
		.model = "pc105",
		.layout = layout,
		.variant = variant,
		.options = "",
	};

	return api.keymap_new_from_names(c, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
}

__attribute__((format(printf, 3, 0))) static void
say_nothing(struct xkb_context *c, enum xkb_log_level level, const char *format, va_list args)
{
}

static int no_data(struct err *e)
{
	err_set(e, ERR_UNAVAILABLE, ENOENT, "cannot read the descriptions of keyboard layouts");
	err_hint(e, "install the package xkb-data");
	return -ENOENT;
}

int keymap_xkb_fill(struct keymap *k, const char *name, const char *layout, const char *variant,
		    struct err *e)
{
	struct xkb_context *c;
	struct xkb_keymap *map;
	int rc = load(e);

	if (rc)
		return rc;
	c = api.context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES | XKB_CONTEXT_NO_DEFAULT_INCLUDES);
	if (!c)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	api.context_set_log_fn(c, say_nothing);
	api.context_include_path_append_default(c); /* without it nothing is found below */
	map = compile(c, layout, variant);
	if (map) {
		rc = fill(k, map);
		if (rc)
			err_set(e, ERR_HOST, ENOMEM, "out of memory");
	} else {
		/* Either it is not there, or nothing is. */
		map = compile(c, "us", "");
		rc = map ? -EINVAL : no_data(e);
		if (map)
			keymap_unknown(name, e);
	}
	api.keymap_unref(map);
	api.context_unref(c);
	return rc;
}
