/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that is typed: characters become keys of the layout, which go down and up in turn. Main
 * loop. */
#include <errno.h>
#include <linux/input-event-codes.h>

#include "err.h"
#include "input_int.h"
#include "keymap_int.h"

/* How long a key is down: as fast as firmware follows that looks for keys now and then. */
enum { HOLD_MS = 10 };

struct typing {
	struct machine *m; /* NULL: only counts */
	const struct keymap *k;
	bool caps;
	unsigned chords, lost;
};

/* The character at *at, which moves on; UINT32_MAX when it is not UTF-8. */
static uint32_t next_char(const uint8_t *s, size_t len, size_t *at)
{
	static const uint32_t least[4] = { 0, 0x80, 0x800, 0x10000 };
	uint8_t first = s[(*at)++];
	unsigned more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : 3;
	uint32_t c = more ? first & (0x3fu >> more) : first;

	if (more == 3 && first >> 3 != 30)
		return UINT32_MAX;
	for (unsigned i = 0; i < more; i++) {
		if (*at == len || s[*at] >> 6 != 2)
			return UINT32_MAX;
		c = c << 6 | (s[(*at)++] & 0x3f);
	}
	return c < least[more] || c > 0x10ffff ? UINT32_MAX : c;
}

static int type_key(struct typing *t, const struct keymap_key *key, struct err *e)
{
	unsigned codes[3], n = 0;

	t->chords++;
	if (!t->m)
		return 0;
	if (key->mods & KEYMAP_SHIFT)
		codes[n++] = KEY_LEFTSHIFT;
	if (key->mods & KEYMAP_ALTGR)
		codes[n++] = KEY_RIGHTALT;
	codes[n++] = key->code;
	return input_queue(t->m, codes, n, HOLD_MS, INPUT_QUEUE_MAX, e);
}

static int type_char(struct typing *t, uint32_t c, struct err *e)
{
	struct keymap_key key[2];
	unsigned n;
	int rc = 0;

	if (c == '\n' || c == '\t') {
		key[0] = (struct keymap_key){ .code = c == '\n' ? KEY_ENTER : KEY_TAB };
		return type_key(t, &key[0], e);
	}
	n = c < 32 || c > 0x10ffff
		    ? 0
		    : keymap_keys(t->k, c < 0x100 ? c : 0x01000000 | c, 0, t->caps, key);
	if (!n)
		t->lost++;
	for (unsigned i = 0; !rc && i < n; i++)
		rc = type_key(t, &key[i], e);
	return rc;
}

static int type_all(struct typing *t, const char *text, size_t len, struct err *e)
{
	const uint8_t *s = (const uint8_t *)text;
	int rc = 0;

	t->chords = t->lost = 0;
	for (size_t at = 0; !rc && at < len;) {
		uint32_t c = next_char(s, len, &at);

		/* The line ends of all systems. */
		if (c == '\r' && at < len && s[at] == '\n')
			continue;
		rc = type_char(t, c == '\r' ? '\n' : c, e);
	}
	return rc;
}

int keymap_type(struct machine *m, const struct keymap *k, const char *text, size_t len,
		unsigned *lost, struct err *e)
{
	struct typing t = { .k = k, .caps = input_leds(m) & INPUT_LED_CAPS };
	unsigned room = INPUT_QUEUE_MAX - input_queued(m);

	type_all(&t, text, len, NULL);
	if (t.chords > room) {
		err_set(e, ERR_USAGE, ENOSPC, "the text is %u keys long, and there is room for %u",
			t.chords, room);
		err_hint(e, "%d keys can wait to be typed; the rest can follow later",
			 INPUT_QUEUE_MAX);
		return -ENOSPC;
	}
	t.m = m;
	*lost = t.lost;
	return type_all(&t, text, len, e);
}
