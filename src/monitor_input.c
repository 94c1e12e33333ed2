/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitor commands that press keys and move the mouse. Main loop only. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "err.h"
#include "input_int.h"
#include "keymap.h"
#include "monitor_int.h"

enum { KEYS_MAX = 16, MOVE_MAX = 100000 };

/* --- keys ------------------------------------------------------------------------- */

json_t *mon_sendkey(struct mon *m, const json_t *args, struct err *e)
{
	int64_t ms = mon_int(args, "hold-time", 0);

	if (ms < 0 || ms > UINT16_MAX)
		ms = UINT16_MAX; /* which is refused by name */
	return input_sendkey(&m->vm->m, mon_str(args, "keys"), (unsigned)ms, e) ? NULL
										: mon_empty();
}

static int bad_member(struct err *e, const char *what, const char *wanted)
{
	return err_set(e, ERR_USAGE, EINVAL, "%s: %s is wanted", what, wanted);
}

/* KeyValue: {"type": "qcode", "data": "a"} or {"type": "number", "data": 30}. */
static int key_value(const json_t *key, unsigned *code, struct err *e)
{
	const char *type = json_string_value(json_object_get(key, "type"));
	const json_t *data = json_object_get(key, "data");
	json_int_t number = json_integer_value(data);

	*code = 0;
	if (type && !strcmp(type, "qcode") && json_is_string(data)) {
		*code = input_key_code(json_string_value(data));
		if (*code)
			return 0;
		err_set(e, ERR_USAGE, EINVAL, "there is no key '%s'", json_string_value(data));
		input_key_suggest(e, json_string_value(data));
		return -EINVAL;
	}
	if (type && !strcmp(type, "number") && json_is_integer(data)) {
		if (number > 0 && number <= 0xff)
			*code = input_key_number((unsigned)number);
		return *code ? 0
			     : err_set(e, ERR_USAGE, EINVAL, "there is no key of number %lld",
				       (long long)number);
	}
	return bad_member(e, "key",
			  "{\"type\": \"qcode\", \"data\": NAME} or type \"number\" with a number");
}

json_t *mon_qmp_send_key(struct mon *m, const json_t *args, struct err *e)
{
	const json_t *keys = json_object_get(args, "keys");
	int64_t ms = mon_int(args, "hold-time", 0);
	unsigned codes[KEYS_MAX + 1], n = 0;

	for (; n < json_array_size(keys) && n <= KEYS_MAX; n++)
		if (key_value(json_array_get(keys, n), &codes[n], e))
			return NULL;
	if (ms < 0 || ms > UINT16_MAX)
		ms = UINT16_MAX;
	return input_type(&m->vm->m, codes, n, (unsigned)ms, e) ? NULL : mon_empty();
}

/* --- text --------------------------------------------------------------------------- */

static json_t *paste(struct mon *m, const char *text, size_t len, struct err *e)
{
	struct keymap *k;
	unsigned lost = 0;
	int rc = keymap_create(m->vm->cfg->layout, &k, e);

	if (rc)
		return NULL;
	rc = keymap_type(&m->vm->m, k, text, len, &lost, e);
	keymap_free(k);
	return rc ? NULL : json_pack("{s:i}", "lost", (int)lost);
}

json_t *mon_qmp_paste(struct mon *m, const json_t *args, struct err *e)
{
	const json_t *text = json_object_get(args, "text");

	return paste(m, json_string_value(text), json_string_length(text), e);
}

/* "\n" and "\t" stand for Enter and Tab, which a line cannot hold; "\\" for itself. */
json_t *mon_paste(struct mon *m, const json_t *args, struct err *e)
{
	char *text = strdup(mon_str(args, "text")), *to = text;
	json_t *result;

	if (!text) {
		err_set(e, ERR_HOST, ENOMEM, "out of memory");
		return NULL;
	}
	for (const char *from = text; *from; from++) {
		char next = *from == '\\' ? from[1] : '\0';

		*to++ = next == 'n' ? '\n' : next == 't' ? '\t' : *from;
		from += next == 'n' || next == 't' || next == '\\';
	}
	result = paste(m, text, (size_t)(to - text), e);
	free(text);
	return result;
}

void mon_print_paste(FILE *f, const struct mon *m, const json_t *r)
{
	json_int_t lost = json_integer_value(json_object_get(r, "lost"));

	if (lost)
		fprintf(f, "%lld character%s not in the keyboard layout (-k) and left out\n",
			(long long)lost, lost == 1 ? " is" : "s are");
}

/* --- the pointer -------------------------------------------------------------------- */

static int limited(int64_t v)
{
	return v > MOVE_MAX ? MOVE_MAX : v < -MOVE_MAX ? -MOVE_MAX : (int)v;
}

/* dz: as everywhere in the text monitor, positive is towards the user. */
json_t *mon_mouse_move(struct mon *m, const json_t *args, struct err *e)
{
	struct machine *mm = &m->vm->m;

	input_move(mm, limited(mon_int(args, "dx", 0)), limited(mon_int(args, "dy", 0)),
		   limited(mon_int(args, "dz", 0)), input_buttons(mm));
	return mon_empty();
}

json_t *mon_mouse_button(struct mon *m, const json_t *args, struct err *e)
{
	int64_t state = mon_int(args, "state", 0);

	input_move(&m->vm->m, 0, 0, 0,
		   (state & 1 ? INPUT_LEFT : 0) | (state & 2 ? INPUT_MIDDLE : 0) |
			   (state & 4 ? INPUT_RIGHT : 0));
	return mon_empty();
}

json_t *mon_query_mice(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();
	struct input_info info;

	for (unsigned i = 0; input_each(&m->vm->m, i, &info); i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:b, s:b}", "name", info.name,
						      "index", (int)i, "current", info.current,
						      "absolute", info.absolute));
	return list;
}

void mon_print_mice(FILE *f, const struct mon *m, const json_t *r)
{
	const json_t *mouse;
	size_t i;

	if (!json_array_size(r))
		fputs("No mouse devices connected\n", f);
	json_array_foreach(r, i, mouse)
		fprintf(f, "%c Mouse #%zu: %s%s\n", mon_bool(mouse, "current") ? '*' : ' ', i,
			mon_str(mouse, "name"), mon_bool(mouse, "absolute") ? " (absolute)" : "");
}

/* --- input-send-event ------------------------------------------------------------------ */

/* What the events of one command add up to, but for the keys. */
struct gathered {
	int dx, dy, wheel;
	unsigned x, y, buttons;
	bool moved, placed;
};

static int button_event(struct gathered *g, const json_t *data, struct err *e)
{
	static const struct {
		const char *name;
		unsigned bit;
		int wheel;
	} buttons[] = {
		{ "left", INPUT_LEFT, 0 },   { "middle", INPUT_MIDDLE, 0 },
		{ "right", INPUT_RIGHT, 0 }, { "side", INPUT_SIDE, 0 },
		{ "extra", INPUT_EXTRA, 0 }, { "wheel-up", 0, 1 },
		{ "wheel-down", 0, -1 },
	};
	const char *name = json_string_value(json_object_get(data, "button"));
	const json_t *down = json_object_get(data, "down");

	for (size_t i = 0; name && i < sizeof(buttons) / sizeof(buttons[0]); i++) {
		if (strcmp(name, buttons[i].name))
			continue;
		if (!json_is_boolean(down))
			return bad_member(e, "btn", "\"down\": true or false");
		g->buttons &= ~buttons[i].bit;
		if (json_is_true(down)) {
			g->buttons |= buttons[i].bit;
			g->wheel += buttons[i].wheel;
		}
		g->moved = true;
		return 0;
	}
	return bad_member(e, "btn",
			  "\"button\": left, middle, right, side, extra, wheel-up or "
			  "wheel-down");
}

static int axis_event(struct gathered *g, bool absolute, const json_t *data, struct err *e)
{
	const char *what = absolute ? "abs" : "rel";
	const char *axis = json_string_value(json_object_get(data, "axis"));
	const json_t *value = json_object_get(data, "value");
	json_int_t v = json_integer_value(value);
	bool is_y = axis && !strcmp(axis, "y");

	if (!axis || (strcmp(axis, "x") && !is_y))
		return bad_member(e, what, "\"axis\": \"x\" or \"y\"");
	if (!json_is_integer(value))
		return bad_member(e, what, "\"value\": a number");
	if (absolute) {
		if (v < 0 || v > INPUT_ABS_MAX)
			return bad_member(e, what, "a value from 0 to 32767");
		*(is_y ? &g->y : &g->x) = (unsigned)v;
		g->placed = true;
	} else {
		int *at = is_y ? &g->dy : &g->dx;

		*at = limited((int64_t)*at + limited(v));
		g->moved = true;
	}
	return 0;
}

/* One event; keys are pressed only when `act`, since first all are checked. */
static int one_event(struct mon *m, struct gathered *g, const json_t *event, bool act,
		     struct err *e)
{
	const char *type = json_string_value(json_object_get(event, "type"));
	const json_t *data = json_object_get(event, "data"), *down;
	unsigned code;

	if (type && !strcmp(type, "key")) {
		down = json_object_get(data, "down");
		if (key_value(json_object_get(data, "key"), &code, e))
			return -EINVAL;
		if (!json_is_boolean(down))
			return bad_member(e, "key", "\"down\": true or false");
		if (act)
			input_key(&m->vm->m, code, json_is_true(down));
		return 0;
	}
	if (type && !strcmp(type, "btn"))
		return button_event(g, data, e);
	if (type && (!strcmp(type, "rel") || !strcmp(type, "abs")))
		return axis_event(g, !strcmp(type, "abs"), data, e);
	return bad_member(e, "event", "\"type\": key, btn, rel or abs");
}

static int all_events(struct mon *m, struct gathered *g, const json_t *events, bool act,
		      struct err *e)
{
	const json_t *event;
	size_t i;

	*g = (struct gathered){ .buttons = input_buttons(&m->vm->m) };
	input_place(&m->vm->m, &g->x, &g->y);
	json_array_foreach(events, i, event) if (one_event(m, g, event, act, e)) return -EINVAL;
	return 0;
}

json_t *mon_input_send_event(struct mon *m, const json_t *args, struct err *e)
{
	const json_t *events = json_object_get(args, "events");
	struct gathered g;

	if (all_events(m, &g, events, false, e) || all_events(m, &g, events, true, e))
		return NULL;
	if (g.placed)
		input_point(&m->vm->m, g.x, g.y, g.moved ? g.wheel : 0, g.buttons);
	else if (g.moved)
		input_move(&m->vm->m, g.dx, g.dy, g.wheel, g.buttons);
	return mon_empty();
}
