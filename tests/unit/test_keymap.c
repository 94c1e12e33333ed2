/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard layouts: which keys give a symbol, viewers that send symbols, and text that is typed. */
#include "fake_machine.h"

#include <dlfcn.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#include "input.h"
#include "keymap.h"
#include "lazy.h"

#define MS 1000000ull
#define S KEYMAP_SHIFT
#define G KEYMAP_ALTGR
#define U(c) (0x01000000 + (c))

/* --- the library, or its absence ------------------------------------------------------ */

static bool no_library;

int lazy_load(const struct lazy_lib *lib, void *api, struct err *e)
{
	void *l = dlopen(lib->soname, RTLD_NOW | RTLD_LOCAL);

	if (no_library || !l) {
		err_set(e, ERR_UNAVAILABLE, ENOENT, "cannot load the library for %s", lib->use);
		err_hint(e, "install the package %s", lib->package);
		return -ENOENT;
	}
	for (const struct lazy_symbol *s = lib->symbols; s->name; s++) {
		void *sym = dlsym(l, s->name);

		ck_assert_ptr_nonnull(sym);
		memcpy((char *)api + s->slot, &sym, sizeof(sym));
	}
	return 0;
}

/* --- a keyboard that writes down what it hears ------------------------------------------- */

static struct keyboard {
	struct input_device d;
	char text[1 << 18];
	size_t n;
	bool down[KEY_CNT];
	unsigned n_down;
} kbd;

static void key(void *ctx, unsigned code, bool down)
{
	struct keyboard *k = ctx;

	if (k->n + 8 < sizeof(k->text))
		k->n += (size_t)snprintf(k->text + k->n, 8, "%c%u ", down ? '+' : '-', code);
	if (k->down[code] != down)
		k->n_down += down ? 1u : -1u;
	k->down[code] = down;
}

static const char *heard(void)
{
	static char text[sizeof(kbd.text)];

	memcpy(text, kbd.text, kbd.n);
	text[kbd.n] = '\0';
	kbd.n = 0;
	return text;
}

static struct keymap *map;
static struct keymap_viewer viewer;

static void use(const char *layout)
{
	struct err e = { 0 };

	ck_assert_msg(!keymap_create(layout, &map, &e), "%s", e.msg);
	memset(&kbd, 0, sizeof(kbd));
	kbd.d = (struct input_device){ .name = "keyboard", .key = key, .ctx = &kbd };
	input_add(&fake.m, &kbd.d);
	viewer = (struct keymap_viewer){ .m = &fake.m, .keymap = map };
}

static void done(void)
{
	keymap_free(map);
	map = NULL;
	input_remove(&fake.m, &kbd.d);
	input_free(&fake.m);
}

static void symbol(uint32_t keysym, bool down, const char *is)
{
	const char *was;

	keymap_symbol(&viewer, keysym, down);
	was = heard();
	ck_assert_msg(!strcmp(was, is), "symbol %#x %d: '%s', not '%s'", keysym, down, was, is);
}

/* --- tables -------------------------------------------------------------------------------- */

struct row {
	uint32_t keysym;
	unsigned code, mods;
};

static void finds(const char *layout, const struct row *rows)
{
	struct keymap_key k;

	use(layout);
	for (; rows->keysym; rows++) {
		ck_assert_msg(keymap_find(map, rows->keysym, &k), "%s: no %#x", layout,
			      rows->keysym);
		ck_assert_msg(k.code == rows->code && k.mods == rows->mods && !k.any,
			      "%s: %#x is %u with %u", layout, rows->keysym, k.code, k.mods);
	}
	done();
}

START_TEST(layouts)
{
	static const struct row us[] = {
		{ 'a', KEY_A, 0 },
		{ 'A', KEY_A, S },
		{ '1', KEY_1, 0 },
		{ '!', KEY_1, S },
		{ ';', KEY_SEMICOLON, 0 },
		{ '<', KEY_COMMA, S },
		{ '>', KEY_DOT, S },
		{ '|', KEY_BACKSLASH, S },
		{ '\\', KEY_BACKSLASH, 0 },
		{ ' ', KEY_SPACE, 0 },
		{ '~', KEY_GRAVE, S },
		{ '(', KEY_9, S },
		{ 0 },
	};
	static const struct row es[] = {
		{ XKB_KEY_ntilde, KEY_SEMICOLON, 0 },
		{ XKB_KEY_Ntilde, KEY_SEMICOLON, S },
		{ '@', KEY_2, G },
		{ '|', KEY_1, G },
		{ '#', KEY_3, G },
		{ '<', KEY_102ND, 0 },
		{ '>', KEY_102ND, S },
		{ '/', KEY_7, S },
		{ '\\', KEY_GRAVE, G },
		{ '{', KEY_APOSTROPHE, G },
		{ ']', KEY_RIGHTBRACE, G },
		{ XKB_KEY_dead_acute, KEY_APOSTROPHE, 0 },
		{ XKB_KEY_dead_diaeresis, KEY_APOSTROPHE, S },
		{ '\'', KEY_MINUS, 0 },
		{ XKB_KEY_EuroSign, KEY_E, G },
		{ U(0x20ac), KEY_E, G },
		{ 0 },
	};
	static const struct row de[] = {
		{ 'z', KEY_Y, 0 },
		{ 'y', KEY_Z, 0 },
		{ XKB_KEY_ssharp, KEY_MINUS, 0 },
		{ '@', KEY_Q, G },
		{ '|', KEY_102ND, G },
		{ '/', KEY_7, S },
		{ '-', KEY_SLASH, 0 },
		{ XKB_KEY_udiaeresis, KEY_LEFTBRACE, 0 },
		{ '\\', KEY_MINUS, G },
		{ 0 },
	};
	static const struct row fr[] = {
		{ 'a', KEY_Q, 0 },
		{ 'q', KEY_A, 0 },
		{ 'm', KEY_SEMICOLON, 0 },
		{ '1', KEY_1, S },
		{ '&', KEY_1, 0 },
		{ '<', KEY_102ND, 0 },
		{ XKB_KEY_eacute, KEY_2, 0 },
		{ '@', KEY_0, G },
		{ '.', KEY_COMMA, S },
		{ 0 },
	};
	static const struct row ru[] = {
		{ XKB_KEY_Cyrillic_ef, KEY_A, 0 },
		{ U(0x444), KEY_A, 0 },
		{ U(0x424), KEY_A, S },
		{ XKB_KEY_Cyrillic_IO, KEY_GRAVE, S },
		{ '.', KEY_SLASH, 0 },
		{ '7', KEY_7, 0 },
		{ 0 },
	};
	static const struct row br[] = { { '/', KEY_RO, 0 }, { 0 } };
	static const struct row gb[] = {
		{ '|', KEY_102ND, S }, { '"', KEY_2, S }, { '#', KEY_BACKSLASH, 0 }, { 0 }
	};
	static const struct row intl[] = { { XKB_KEY_eacute, KEY_E, G }, { 0 } };

	finds(NULL, us);
	finds("en-us", us);
	finds("es", es);
	finds("de", de);
	finds("fr", fr);
	finds("ru", ru);
	finds("pt-br", br);
	finds("en-gb", gb);
	finds("us(intl)", intl);
}
END_TEST

START_TEST(all_named_layouts)
{
	static const char *const names[] = {
		"ar", "bepo",  "cz", "da", "de",    "de-ch", "en-gb", "en-us", "es",
		"et", "fi",    "fo", "fr", "fr-be", "fr-ca", "fr-ch", "hr",    "hu",
		"is", "it",    "ja", "lt", "lv",    "mk",    "nl",    "no",    "pl",
		"pt", "pt-br", "ru", "sl", "sv",    "th",    "tr",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct keymap_key k;

		use(names[i]);
		ck_assert_msg(keymap_find(map, XKB_KEY_Return, &k) && k.code == KEY_ENTER && k.any,
			      "%s", names[i]);
		ck_assert_msg(keymap_find(map, ' ', &k), "%s has no space", names[i]);
		done();
	}
}
END_TEST

START_TEST(keys_without_letters)
{
	static const struct row rows[] = {
		{ XKB_KEY_F1, KEY_F1, 0 },
		{ XKB_KEY_F12, KEY_F12, 0 },
		{ XKB_KEY_Return, KEY_ENTER, 0 },
		{ XKB_KEY_Tab, KEY_TAB, 0 },
		{ XKB_KEY_Escape, KEY_ESC, 0 },
		{ XKB_KEY_BackSpace, KEY_BACKSPACE, 0 },
		{ XKB_KEY_Delete, KEY_DELETE, 0 },
		{ XKB_KEY_Left, KEY_LEFT, 0 },
		{ XKB_KEY_KP_7, KEY_KP7, 0 },
		{ XKB_KEY_KP_Home, KEY_KP7, 0 },
		{ XKB_KEY_KP_Add, KEY_KPPLUS, 0 },
		{ XKB_KEY_KP_Enter, KEY_KPENTER, 0 },
		{ XKB_KEY_Shift_L, KEY_LEFTSHIFT, 0 },
		{ XKB_KEY_Shift_R, KEY_RIGHTSHIFT, 0 },
		{ XKB_KEY_Control_R, KEY_RIGHTCTRL, 0 },
		{ XKB_KEY_Alt_L, KEY_LEFTALT, 0 },
		{ XKB_KEY_Super_L, KEY_LEFTMETA, 0 },
		{ XKB_KEY_Menu, KEY_COMPOSE, 0 },
		{ XKB_KEY_Caps_Lock, KEY_CAPSLOCK, 0 },
		{ XKB_KEY_Print, KEY_SYSRQ, 0 },
		{ XKB_KEY_Pause, KEY_PAUSE, 0 },
	};
	struct keymap_key k;

	use("es");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_msg(keymap_find(map, rows[i].keysym, &k), "no %#x", rows[i].keysym);
		ck_assert_uint_eq(k.code, rows[i].code);
		ck_assert(k.any);
	}
	ck_assert(keymap_find(map, XKB_KEY_ISO_Level3_Shift, &k) && k.code == KEY_RIGHTALT);
	done();
}
END_TEST

START_TEST(unknown)
{
	static const char *const bad[] = { "",
					   "ess(",
					   "es()",
					   "../us",
					   "us,ru",
					   "es)x",
					   "(",
					   "us(intl)x",
					   "us(nosuch)",
					   "nosuchlayout",
					   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	struct keymap *k;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&e, 0, sizeof(e));
		ck_assert_msg(keymap_create(bad[i], &k, &e) == -EINVAL, "%s", bad[i]);
		ck_assert_int_eq(e.status, ERR_USAGE);
		ck_assert_ptr_nonnull(strstr(e.msg, "-k "));
	}
	ck_assert_int_eq(keymap_create("en-su", &k, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.hint, "'en-us'"));
}
END_TEST

START_TEST(without_library)
{
	struct keymap_key k;
	struct keymap *other;
	struct err e;

	no_library = true;
	ck_assert_int_eq(keymap_create("es", &other, &e), -ENOENT);
	ck_assert_int_eq(e.status, ERR_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(e.hint, "libxkbcommon0"));
	use(NULL);
	for (unsigned c = 32; c < 127; c++)
		ck_assert_msg(keymap_find(map, c, &k), "no %c", c);
	ck_assert(keymap_find(map, '"', &k) && k.code == KEY_APOSTROPHE && k.mods == S);
	ck_assert(keymap_find(map, XKB_KEY_F12, &k) && k.code == KEY_F12);
	ck_assert(!keymap_find(map, XKB_KEY_ntilde, &k));
	symbol(XKB_KEY_Control_L, true, "+29 ");
	symbol('c', true, "+46 ");
	done();
}
END_TEST

START_TEST(without_data)
{
	struct keymap_key k;
	struct keymap *other;
	struct err e;

	setenv("XKB_CONFIG_ROOT", "/nonexistent", 1);
	setenv("HOME", "/nonexistent", 1);
	unsetenv("XDG_CONFIG_HOME");
	setenv("XKB_CONFIG_EXTRA_PATH", "/nonexistent", 1);
	ck_assert_int_eq(keymap_create("es", &other, &e), -ENOENT);
	ck_assert_int_eq(e.status, ERR_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(e.hint, "xkb-data"));
	use(NULL);
	ck_assert(keymap_find(map, 'a', &k) && k.code == KEY_A);
	done();
	unsetenv("XKB_CONFIG_ROOT");
	unsetenv("XKB_CONFIG_EXTRA_PATH");
}
END_TEST

/* What it says of a symbol agrees with the plain table: random numbers, of all kinds. */
START_TEST(random_symbols)
{
	uint64_t seed = 1;
	unsigned found = 0;

	use("es");
	for (unsigned i = 0; i < 200000; i++) {
		uint32_t r = fake_random(&seed), shift = fake_random(&seed) % 33;
		uint32_t sym = shift == 32 ? 0 : (r << 1 | (fake_random(&seed) & 1)) >> shift;
		struct keymap_key k;

		if (!keymap_find(map, sym, &k))
			continue;
		found++;
		ck_assert_uint_gt(k.code, 0);
		ck_assert_uint_lt(k.code, 256);
		ck_assert_uint_le(k.mods, S | G);
		ck_assert(!k.any || !k.mods);
	}
	ck_assert_uint_gt(found, 1000);
	done();
}
END_TEST

/* --- viewers -----------------------------------------------------------------------------------
 */

START_TEST(viewer_fits_modifiers)
{
	use("es");
	symbol('a', true, "+30 ");
	symbol('a', true, "+30 ");
	symbol('a', false, "-30 ");
	symbol('a', false, "");
	/* Without Shift, and with one too many. */
	symbol('A', true, "+42 +30 -42 ");
	symbol('A', false, "-30 ");
	symbol(XKB_KEY_Shift_R, true, "+54 ");
	symbol('A', true, "+30 ");
	symbol('b', true, "-54 +48 +54 ");
	symbol('b', false, "-48 ");
	/* Its Shift comes up before the letter, which has another name then. */
	symbol(XKB_KEY_Shift_R, false, "-54 ");
	symbol('a', false, "-30 ");
	symbol('A', false, "");
	/* Shift and Left is what it is. */
	symbol(XKB_KEY_Shift_L, true, "+42 ");
	symbol(XKB_KEY_Left, true, "+105 ");
	symbol(' ', true, "+57 ");
	symbol(XKB_KEY_Left, false, "-105 ");
	symbol(' ', false, "-57 ");
	symbol('@', true, "-42 +100 +3 +42 -100 ");
	symbol('@', false, "-3 ");
	symbol(XKB_KEY_Shift_L, false, "-42 ");
	symbol(XKB_KEY_ISO_Level3_Shift, true, "+100 ");
	symbol('@', true, "+3 ");
	symbol('2', true, "-100 +3 +100 ");
	symbol('2', false, "-3 ");
	symbol(XKB_KEY_ISO_Level3_Shift, false, "-100 ");
	symbol(XKB_KEY_Alt_R, true, "+100 ");
	keymap_release(&viewer);
	ck_assert_str_eq(heard(), "-100 ");
	ck_assert_uint_eq(kbd.n_down, 0);
	done();
	/* Where the right Alt is none, it does not count. */
	use("en-us");
	symbol(XKB_KEY_Alt_R, true, "+100 ");
	symbol('a', true, "+30 ");
	keymap_release(&viewer);
	done();
}
END_TEST

START_TEST(viewer_dead_keys)
{
	use("es");
	symbol(XKB_KEY_dead_acute, true, "+40 ");
	symbol(XKB_KEY_dead_acute, false, "-40 ");
	/* Letters that were put together at the viewer. */
	symbol(XKB_KEY_aacute, true, "+40 -40 +30 ");
	symbol(XKB_KEY_aacute, false, "-30 ");
	symbol(XKB_KEY_Udiaeresis, true, "+42 +40 -42 -40 +42 +22 -42 ");
	symbol(XKB_KEY_Udiaeresis, false, "-22 ");
	symbol(XKB_KEY_Cyrillic_a, true, "");
	symbol(XKB_KEY_Cyrillic_a, false, "");
	ck_assert_uint_eq(kbd.n_down, 0);
	done();
	use("de");
	symbol('^', true, "+41 -41 +57 ");
	symbol('^', false, "-57 ");
	done();
}
END_TEST

START_TEST(viewer_locks)
{
	use("en-us");
	input_set_leds(&fake.m, INPUT_LED_CAPS);
	symbol('A', true, "+30 ");
	symbol('A', false, "-30 ");
	symbol('a', true, "+42 +30 -42 ");
	symbol('a', false, "-30 ");
	symbol('!', true, "+42 +2 -42 ");
	symbol('!', false, "-2 ");
	symbol('1', true, "+2 ");
	symbol('1', false, "-2 ");
	/* Num Lock is off in the guest: its keypad has no digits. */
	symbol(XKB_KEY_KP_7, true, "+8 ");
	symbol(XKB_KEY_KP_7, false, "-8 ");
	symbol(XKB_KEY_KP_Home, true, "+71 ");
	symbol(XKB_KEY_KP_Home, false, "-71 ");
	input_set_leds(&fake.m, INPUT_LED_NUM);
	symbol(XKB_KEY_KP_7, true, "+71 ");
	symbol(XKB_KEY_KP_7, false, "-71 ");
	symbol(XKB_KEY_KP_Home, true, "+102 ");
	symbol(XKB_KEY_KP_Home, false, "-102 ");
	symbol(XKB_KEY_KP_Add, true, "+78 ");
	symbol(XKB_KEY_KP_Add, false, "-78 ");
	done();
}
END_TEST

START_TEST(viewer_hostile)
{
	uint64_t seed = 7;

	use("fr");
	/* More keys than a hand has. */
	for (uint32_t c = 0; c < 26; c++)
		keymap_symbol(&viewer, 'a' + c, true);
	ck_assert_uint_eq(kbd.n_down, 16);
	keymap_release(&viewer);
	ck_assert_uint_eq(kbd.n_down, 0);
	keymap_release(&viewer);
	for (uint32_t c = 0; c < 26; c++)
		keymap_symbol(&viewer, 'a' + c, false);
	ck_assert_uint_eq(kbd.n_down, 0);
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t r = fake_random(&seed), sym;

		switch (r % 4) {
		case 0:
			sym = 0xff00 + (r >> 8) % 256;
			break;
		case 1:
			sym = 0xfe00 + (r >> 8) % 256;
			break;
		case 2:
			sym = r;
			break;
		default:
			sym = (r >> 8) % 256;
		}
		keymap_symbol(&viewer, sym, fake_random(&seed) % 3 < 2);
		kbd.n = 0;
		if (i % 64 == 0)
			input_set_leds(&fake.m, fake_random(&seed) & 7);
		ck_assert_uint_le(kbd.n_down, 16);
	}
	keymap_release(&viewer);
	ck_assert_uint_eq(kbd.n_down, 0);
	done();
}
END_TEST

/* --- text ----------------------------------------------------------------------------------------
 */

static void types(const char *text, unsigned lost, const char *is)
{
	struct err e = { 0 };
	unsigned n = 99;

	ck_assert_msg(!keymap_type(&fake.m, map, text, strlen(text), &n, &e), "%s", e.msg);
	ck_assert_uint_eq(n, lost);
	fake_advance(60000 * MS);
	ck_assert_str_eq(heard(), is);
	ck_assert_uint_eq(kbd.n_down, 0);
}

START_TEST(text_as_keys)
{
	use("es");
	types("aA@", 0, "+30 -30 +42 +30 -30 -42 +100 +3 -3 -100 ");
	types("x\ty\r\nz\n\r", 0, "+45 -45 +15 -15 +21 -21 +28 -28 +44 -44 +28 -28 +28 -28 ");
	types("\xc3\xb1\xe2\x82\xac", 0, "+39 -39 +100 +18 -18 -100 "); /* n with tilde, Euro */
	types("\xc3\xa1", 0, "+40 -40 +30 -30 "); /* a with acute */
	/* What there is no key for, and what is no UTF-8. */
	types("a\xd0\xb0\x62", 1, "+30 -30 +48 -48 ");
	types("\x1b\x01 \x7f", 3, "+57 -57 ");
	types("\xff\xc3", 2, "");
	types("\xc0\xa0\xed\xa0\x80\xf8\xf0\x80\x80\x80", 4, "");
	types("", 0, "");
	input_set_leds(&fake.m, INPUT_LED_CAPS);
	types("aA", 0, "+42 +30 -30 -42 +30 -30 ");
	done();
}
END_TEST

START_TEST(text_at_a_pace)
{
	struct err e = { 0 };
	unsigned lost;

	use(NULL);
	ck_assert_int_eq(keymap_type(&fake.m, map, "ab", 2, &lost, &e), 0);
	ck_assert_int_eq(keymap_type(&fake.m, map, "c", 1, &lost, &e), 0);
	ck_assert_str_eq(heard(), "+30 ");
	fake_advance(9 * MS);
	ck_assert_str_eq(heard(), "");
	fake_advance(2 * MS);
	ck_assert_str_eq(heard(), "-30 ");
	fake_advance(15 * MS);
	ck_assert_str_eq(heard(), "");
	fake_advance(1000 * MS);
	ck_assert_str_eq(heard(), "+48 -48 +46 -46 ");
	done();
}
END_TEST

/* More comes while what waits goes round the end of its ring. */
START_TEST(text_that_goes_on)
{
	static const char letters[] = "qwertyuiopasdfghjklzxcvbnmqwertyuiopasdfghjklzxcvbnm";
	struct err e = { 0 };
	unsigned lost, n = 0;

	use(NULL);
	for (size_t i = 0; i < 3; i++) {
		static const size_t at[] = { 0, 25, 40, sizeof(letters) - 1 };

		ck_assert_int_eq(keymap_type(&fake.m, map, letters + at[i], at[i + 1] - at[i],
					     &lost, &e),
				 0);
		if (i == 0)
			fake_advance(15 * 30 * MS);
	}
	fake_advance(60000 * MS);
	for (const char *p = heard(); *p; p++) {
		struct keymap_key k;

		if (*p != '+')
			continue;
		ck_assert(keymap_find(map, (uint8_t)letters[n++], &k));
		ck_assert_int_eq(atoi(p + 1), (int)k.code);
	}
	ck_assert_uint_eq(n, sizeof(letters) - 1);
	done();
}
END_TEST

START_TEST(text_too_long)
{
	enum { LONG = 20000 };
	static char much[LONG];
	struct err e = { 0 };
	unsigned lost, n = 0;

	use(NULL);
	memset(much, 'a', LONG);
	ck_assert_int_eq(keymap_type(&fake.m, map, much, LONG, &lost, &e), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(e.msg, "20000 keys"));
	ck_assert_str_eq(heard(), ""); /* nothing of it */
	memset(much, '\x1b', LONG);
	ck_assert_int_eq(keymap_type(&fake.m, map, much, LONG, &lost, &e), 0);
	ck_assert_uint_eq(lost, LONG);
	for (unsigned i = 0; i < LONG; i++)
		much[i] = "abc"[i % 3];
	ck_assert_int_eq(keymap_type(&fake.m, map, much, 10000, &lost, &e), 0);
	fake_advance(3000 * MS);
	ck_assert_int_eq(keymap_type(&fake.m, map, much, 10000, &lost, &e), -ENOSPC);
	ck_assert_int_ne(input_sendkey(&fake.m, "a", 0, &e), 0);
	ck_assert_int_eq(keymap_type(&fake.m, map, much + 1, 6000, &lost, &e), 0);
	fake_advance(1000000 * MS);
	for (const char *p = heard(); *p; p++) {
		if (*p == '+') {
			static const int codes[3] = { KEY_A, KEY_B, KEY_C };
			unsigned at = n < 10000 ? n : n - 10000 + 1;

			ck_assert_int_eq(atoi(p + 1), codes[at % 3]);
			n++;
		}
	}
	ck_assert_uint_eq(n, 16000);
	ck_assert_uint_eq(kbd.n_down, 0);
	done();
}
END_TEST

START_TEST(text_without_keyboard)
{
	struct err e = { 0 };
	unsigned lost;

	use(NULL);
	input_remove(&fake.m, &kbd.d);
	ck_assert_int_eq(keymap_type(&fake.m, map, "a", 1, &lost, &e), -ENODEV);
	done();
}
END_TEST

int main(void)
{
	static const TTest *tests[20];
	size_t n = 0;

	tests[n++] = layouts;
	tests[n++] = all_named_layouts;
	tests[n++] = keys_without_letters;
	tests[n++] = unknown;
	tests[n++] = without_library;
	tests[n++] = without_data;
	tests[n++] = random_symbols;
	tests[n++] = viewer_fits_modifiers;
	tests[n++] = viewer_dead_keys;
	tests[n++] = viewer_locks;
	tests[n++] = viewer_hostile;
	tests[n++] = text_as_keys;
	tests[n++] = text_at_a_pace;
	tests[n++] = text_that_goes_on;
	tests[n++] = text_too_long;
	tests[n++] = text_without_keyboard;
	return fake_main("keymap", tests, n);
}
