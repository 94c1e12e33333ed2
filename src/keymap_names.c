/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of keyboard layouts: those that QEMU's users know, and xkeyboard-config's own, "de" or
 * "us(intl)". Main loop.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "keymap_int.h"

/* Those of which xkb has the same name are here too: to be listed, and to be the nearest. */
static const struct {
	const char *name, *layout, *variant;
} names[] = {
	{ "ar", "ara", "" },     { "bepo", "fr", "bepo" }, { "cz", "cz", "" },
	{ "da", "dk", "" },      { "de", "de", "" },       { "de-ch", "ch", "" },
	{ "en-gb", "gb", "" },   { "en-us", "us", "" },    { "es", "es", "" },
	{ "et", "ee", "" },      { "fi", "fi", "" },       { "fo", "fo", "" },
	{ "fr", "fr", "" },      { "fr-be", "be", "" },    { "fr-ca", "ca", "" },
	{ "fr-ch", "ch", "fr" }, { "hr", "hr", "" },       { "hu", "hu", "" },
	{ "is", "is", "" },      { "it", "it", "" },       { "ja", "jp", "" },
	{ "lt", "lt", "" },      { "lv", "lv", "" },       { "mk", "mk", "" },
	{ "nl", "nl", "" },      { "no", "no", "" },       { "pl", "pl", "" },
	{ "pt", "pt", "" },      { "pt-br", "br", "" },    { "ru", "ru", "" },
	{ "sl", "si", "" },      { "sv", "se", "" },       { "th", "th", "" },
	{ "tr", "tr", "" },
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

void keymap_unknown(const char *name, struct err *e)
{
	const char *known[N_NAMES];

	for (size_t i = 0; i < N_NAMES; i++)
		known[i] = names[i].name;
	err_set(e, ERR_USAGE, EINVAL, "-k %s: no such keyboard layout", name);
	err_suggest(e, name, known, N_NAMES);
}

static bool is_word(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("_-", s[i]))
			return false;
	return len && len < KEYMAP_NAME;
}

int keymap_name(const char *name, char *layout, char *variant, struct err *e)
{
	size_t len = strcspn(name, "("), in;

	for (size_t i = 0; i < N_NAMES; i++) {
		if (strcmp(names[i].name, name))
			continue;
		strcpy(layout, names[i].layout);
		strcpy(variant, names[i].variant);
		return 0;
	}
	in = name[len] ? strcspn(name + len + 1, ")") : 0;
	if (!is_word(name, len) ||
	    (name[len] && (!is_word(name + len + 1, in) || strcmp(name + len + 1 + in, ")")))) {
		keymap_unknown(name, e);
		return -EINVAL;
	}
	snprintf(layout, KEYMAP_NAME, "%.*s", (int)len, name);
	snprintf(variant, KEYMAP_NAME, "%.*s", (int)in, name[len] ? name + len + 1 : "");
	return 0;
}

void keymap_help(void)
{
	puts("Keyboard layouts (-k LAYOUT), to be the same as the guest's own:");
	for (size_t i = 0; i < N_NAMES; i++)
		printf("%s%s", i % 12 ? " " : i ? "\n  " : "  ", names[i].name);
	puts("\nand all of xkb by their names there: \"us(intl)\", \"de(neo)\" ...");
}
