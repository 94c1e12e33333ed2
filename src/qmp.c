/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JSON form of the monitor: the QEMU Machine Protocol as its public
 * specification describes it (docs/interop/qmp-spec), over any stream.
 * Main loop only.
 *
 *   server: {"QMP": {"version": {...}, "capabilities": []}}
 *   client: {"execute": "qmp_capabilities"}         server: {"return": {}}
 *   client: {"execute": "stop", "id": 1}            server: {"return": {}, "id": 1}
 *   at any time then, server: {"event": "STOP", "timestamp": {...}}
 *
 * Input is a stream of JSON values with nothing but blanks needed between them.
 * A splitter finds where a value ends, byte by byte, so that no input is looked
 * at twice; jansson then parses the whole value. After input that cannot be
 * JSON the rest of the line is skipped; a byte 0xff, which no UTF-8 text has,
 * always starts over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "monitor_int.h"

#define QMP_VALUE_MAX (1u << 20) /* bytes */
#define QMP_DEPTH_MAX 256

enum split {
	SPLIT_IDLE, /* between values */
	SPLIT_VALUE, /* inside brackets */
	SPLIT_STRING, /* inside quotes, also within brackets */
	SPLIT_WORD, /* a number or a keyword outside of brackets */
	SPLIT_SKIP, /* after an error, up to the end of the line */
};

struct qmp {
	struct mon_session s; /* first member */
	enum split state;
	char quote; /* that ends the string */
	bool escape;
	char open[QMP_DEPTH_MAX]; /* the brackets, outermost first */
	unsigned depth;
	const char *refuse; /* why the value, once complete, is not looked at */
	char *buf;
	size_t len, cap;
	bool answered; /* something was sent while looking at the input */
};

/* --- answers --- */

static void send(struct qmp *q, json_t *j)
{
	char *text = j ? json_dumps(j, JSON_ENSURE_ASCII) : NULL;

	json_decref(j);
	if (!text)
		return;
	mon_write(&q->s, text, strlen(text));
	mon_write(&q->s, "\r\n", 2);
	free(text);
	q->answered = true;
}

static void send_error(struct qmp *q, const char *cls, const struct err *e, json_t *id)
{
	char text[sizeof(e->msg) + sizeof(e->hint) + 2];
	json_t *j;

	snprintf(text, sizeof(text), "%s%s%s", e->msg, e->hint[0] ? "; " : "", e->hint);
	j = json_pack("{s:{s:s, s:o}}", "error", "class", cls, "desc", mon_string(text));
	if (j && id)
		json_object_set(j, "id", id);
	send(q, j);
}

static void syntax_error(struct qmp *q, const char *what)
{
	struct err e;

	err_set(&e, ERR_USAGE, EINVAL, "JSON parse error, %s", what);
	send_error(q, "GenericError", &e, NULL);
}

json_t *mon_qmp_capabilities(struct mon *m, const json_t *args, struct err *e)
{
	const json_t *enable = json_object_get(args, "enable");

	if (json_array_size(enable)) {
		const char *name = json_string_value(json_array_get(enable, 0));

		err_set(e, ERR_USAGE, EINVAL, "Capability %s not available",
			name ? name : "(not a name)");
		return NULL;
	}
	m->negotiated = true;
	return mon_empty();
}

/* --- commands --- */

static const struct mon_cmd *find(const char *name, struct err *e)
{
	const char *names[256];
	size_t n = 0;
	const char *near;

	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		if (!c->qmp)
			continue;
		if (!strcmp(c->qmp, name))
			return c;
		if (n < sizeof(names) / sizeof(names[0]))
			names[n++] = c->qmp;
	}
	err_set(e, ERR_USAGE, ENOENT, "The command %s has not been found", name);
	near = suggest(name, names, n);
	if (near)
		err_hint(e, "did you mean '%s'?", near);
	return NULL;
}

static const char *error_class(const struct err *e)
{
	if (e->code == ENODEV)
		return "DeviceNotFound";
	return e->code == ENOTCONN ? "DeviceNotActive" : "GenericError";
}

/* Checks the request's own members. 0 or -EINVAL. */
static int check_request(const json_t *req, struct err *e)
{
	static const char *const members[] = { "execute", "arguments", "id" };
	const json_t *v;
	const char *key;
	json_t *val;

	json_object_foreach((json_t *)req, key, val)
	{
		if (!strcmp(key, "execute") || !strcmp(key, "arguments") || !strcmp(key, "id"))
			continue;
		err_set(e, ERR_USAGE, EINVAL, "QMP input member '%s' is unexpected", key);
		err_suggest(e, key, members, 3);
		return -EINVAL;
	}
	v = json_object_get(req, "execute");
	if (!v)
		return err_set(e, ERR_USAGE, EINVAL, "QMP input lacks member 'execute'");
	if (!json_is_string(v))
		return err_set(e, ERR_USAGE, EINVAL, "QMP input member 'execute' must be a string");
	v = json_object_get(req, "arguments");
	if (v && !json_is_object(v))
		return err_set(e, ERR_USAGE, EINVAL,
			       "QMP input member 'arguments' must be an object");
	return 0;
}

static void execute(struct qmp *q, const json_t *req, json_t *id)
{
	json_t *args, *none, *result, *reply;
	const struct mon_cmd *c;
	struct err e;

	if (check_request(req, &e) < 0) {
		send_error(q, "GenericError", &e, id);
		return;
	}
	c = find(json_string_value(json_object_get(req, "execute")), &e);
	if (!q->s.mon.negotiated && (!c || c->run != mon_qmp_capabilities)) {
		err_set(&e, ERR_USAGE, EPERM,
			"Expecting capabilities negotiation with 'qmp_capabilities'");
		c = NULL;
	} else if (q->s.mon.negotiated && c && c->run == mon_qmp_capabilities) {
		err_set(&e, ERR_USAGE, EALREADY,
			"Capabilities negotiation is already complete, command ignored");
		c = NULL;
	}
	if (!c) {
		send_error(q, "CommandNotFound", &e, id);
		return;
	}
	none = json_object();
	args = json_object_get(req, "arguments");
	if (!args)
		args = none;
	result = NULL;
	if (mon_check_args(c, args, &e) == 0)
		result = mon_run(&q->s.mon, c, args, &e);
	json_decref(none);
	if (!result) {
		send_error(q, error_class(&e), &e, id);
		return;
	}
	reply = json_pack("{s:o}", "return", result);
	if (reply && id)
		json_object_set(reply, "id", id);
	send(q, reply);
}

/* A whole value is in q->buf. */
static void value_complete(struct qmp *q)
{
	const char *refuse = q->refuse;
	json_error_t je;
	struct err e;
	json_t *j;

	q->state = SPLIT_IDLE;
	q->refuse = NULL;
	if (refuse) {
		q->len = 0;
		syntax_error(q, refuse);
		return;
	}
	j = json_loadb(q->buf, q->len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &je);
	q->len = 0;
	if (!j) {
		syntax_error(q, je.text);
		return;
	}
	if (json_is_object(j)) {
		execute(q, j, json_object_get(j, "id"));
	} else {
		err_set(&e, ERR_USAGE, EINVAL, "QMP input must be a JSON object");
		send_error(q, "GenericError", &e, NULL);
	}
	json_decref(j);
}

/* --- the splitter --- */

static void start_over(struct qmp *q, enum split state)
{
	q->state = state;
	q->depth = 0;
	q->escape = false;
	q->refuse = NULL;
	q->len = 0;
}

static void keep(struct qmp *q, char c)
{
	if (q->refuse)
		return;
	if (q->len == q->cap) {
		size_t cap = q->cap ? q->cap * 2 : 256;
		char *p = cap <= QMP_VALUE_MAX ? realloc(q->buf, cap) : NULL;

		if (!p) {
			q->refuse = "the value is larger than 1 MiB";
			return;
		}
		q->buf = p;
		q->cap = cap;
	}
	q->buf[q->len++] = c;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * Inside a string. 'Single quotes', which people type to spare their shell's,
 * are rewritten as JSON's own.
 */
static void in_string(struct qmp *q, char c)
{
	if (q->escape) {
		q->escape = false;
		if (c != '\'')
			keep(q, '\\');
		keep(q, c);
	} else if (c == '\\') {
		q->escape = true;
	} else if (c == q->quote) {
		keep(q, '"');
		q->state = SPLIT_VALUE;
		if (!q->depth)
			value_complete(q);
	} else {
		if (c == '"')
			keep(q, '\\');
		keep(q, c);
	}
}

/* Outside strings and words: brackets, quotes, and what lies between. */
static void in_value(struct qmp *q, char c)
{
	switch (c) {
	case '"':
	case '\'':
		keep(q, '"');
		q->quote = c;
		q->state = SPLIT_STRING;
		return;
	case '{':
	case '[':
		if (q->depth < QMP_DEPTH_MAX)
			q->open[q->depth] = c;
		else
			q->refuse = "the value is nested too deeply";
		q->depth++;
		break;
	case '}':
	case ']':
		/* Beyond the limit only the number of brackets is known. */
		if (q->depth == 0 || (q->depth <= QMP_DEPTH_MAX &&
				      q->open[q->depth - 1] != (c == '}' ? '{' : '['))) {
			start_over(q, SPLIT_SKIP);
			syntax_error(q, c == '}' ? "unexpected '}'" : "unexpected ']'");
			return;
		}
		q->depth--;
		break;
	}
	keep(q, c);
	if (!q->depth)
		value_complete(q);
}

/* Takes one byte; false: take it again, it begins something new. */
static bool split(struct qmp *q, char c)
{
	if ((unsigned char)c == 0xff || ((unsigned char)c < 0x20 && !is_blank(c))) {
		start_over(q, (unsigned char)c == 0xff ? SPLIT_IDLE : SPLIT_SKIP);
		syntax_error(q, "invalid byte");
		return true;
	}
	switch (q->state) {
	case SPLIT_SKIP:
		if (c == '\n')
			q->state = SPLIT_IDLE;
		return true;
	case SPLIT_IDLE:
		if (is_blank(c))
			return true;
		if (strchr("{[\"'", c)) {
			q->state = SPLIT_VALUE;
			in_value(q, c);
		} else if (strchr("}],:", c)) {
			start_over(q, SPLIT_SKIP);
			syntax_error(q, "expecting value");
		} else {
			q->state = SPLIT_WORD;
			keep(q, c);
		}
		return true;
	case SPLIT_WORD:
		if (is_blank(c) || strchr("{}[],:\"'", c)) {
			value_complete(q);
			return false;
		}
		keep(q, c);
		return true;
	case SPLIT_STRING:
		if (c == '\n' || c == '\r' || c == '\t') {
			start_over(q, c == '\n' ? SPLIT_IDLE : SPLIT_SKIP);
			syntax_error(q, "control character in a string");
			return true;
		}
		in_string(q, c);
		return true;
	case SPLIT_VALUE:
		in_value(q, c);
		return true;
	}
	return true;
}

static size_t qmp_feed(struct mon_session *s, const uint8_t *buf, size_t len)
{
	struct qmp *q = (struct qmp *)s;
	size_t i = 0;

	/* Not beyond an answer: the session then looks at how much output waits. */
	q->answered = false;
	while (i < len && !(q->answered && i)) {
		if (split(q, (char)buf[i]))
			i++;
	}
	return i;
}

/* --- the peer --- */

static json_t *timestamp(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return json_pack("{s:I, s:I}", "seconds", (json_int_t)ts.tv_sec, "microseconds",
			 (json_int_t)ts.tv_nsec / 1000);
}

static void qmp_event(struct mon_session *s, const char *name, json_t *data)
{
	struct qmp *q = (struct qmp *)s;
	json_t *j;

	if (!s->mon.negotiated)
		return;
	j = json_pack("{s:o, s:s}", "timestamp", timestamp(), "event", name);
	if (j && data)
		json_object_set(j, "data", data);
	send(q, j);
}

static void qmp_closed(struct mon_session *s)
{
	struct qmp *q = (struct qmp *)s;

	start_over(q, SPLIT_IDLE);
	s->mon.negotiated = false;
	free(q->buf);
	q->buf = NULL;
	q->cap = 0;
}

static void qmp_opened(struct mon_session *s)
{
	struct qmp *q = (struct qmp *)s;

	qmp_closed(s);
	send(q, json_pack("{s:{s:o, s:[]}}", "QMP", "version", mon_version(), "capabilities"));
}

const struct mon_form mon_qmp_form = {
	.size = sizeof(struct qmp),
	.opened = qmp_opened,
	.closed = qmp_closed,
	.feed = qmp_feed,
	.event = qmp_event,
};
