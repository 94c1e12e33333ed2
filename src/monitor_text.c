/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text form of the monitor: commands a person types, a line at a time, on
 * a raw terminal or over a socket. Main loop only.
 *
 * Keys: Backspace, Ctrl-U (the line), Ctrl-W (a word), Ctrl-A/E, the arrows,
 * Ctrl-C (start over), Tab (completes a command's name), Ctrl-L (redraw).
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "monitor_int.h"
#include "opts.h"

#define PROMPT "(posada) "
#define LINE_MAX_LEN 4095
#define HISTORY 32
#define NAMES_MAX 256

/* --- names --- */

/* The text name i of a row (0: its name, 1: its alias), or NULL. */
static const char *name_of(const struct mon_cmd *c, unsigned i)
{
	return i ? c->alias : c->text;
}

/* All text names that begin with prefix. */
static size_t all_names(const char *prefix, const char *names[NAMES_MAX])
{
	size_t n = 0;

	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		for (unsigned i = 0; i < 2; i++) {
			const char *s = name_of(c, i);

			if (s && !strncmp(s, prefix, strlen(prefix)) && n < NAMES_MAX)
				names[n++] = s;
		}
	}
	return n;
}

static const struct mon_cmd *find(const char *name)
{
	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		if ((c->text && !strcmp(c->text, name)) || (c->alias && !strcmp(c->alias, name)))
			return c;
	}
	return NULL;
}

static const struct mon_cmd *find_or_suggest(const char *name, struct err *e)
{
	const struct mon_cmd *c = find(name);
	const char *names[NAMES_MAX], *near;

	if (c)
		return c;
	err_set(e, ERR_USAGE, ENOENT, "unknown command: '%s'", name);
	near = suggest(name, names, all_names("", names));
	if (near)
		err_hint(e, "did you mean '%s'?", near);
	else
		err_hint(e, "'help' lists the commands");
	return NULL;
}

/* --- help --- */

static void print_usage(FILE *f, const struct mon_cmd *c)
{
	fprintf(f, "%s", c->text);
	if (c->alias)
		fprintf(f, "|%s", c->alias);
	for (const struct mon_arg *a = c->args; a->name; a++) {
		fputs(a->optional ? " [" : " ", f);
		if (a->type == MON_FLAG)
			fprintf(f, "-%c", a->name[0]);
		else if (a->type == MON_FMT)
			fputs("/FMT", f);
		else
			fputs(a->name, f);
		if (a->optional)
			fputc(']', f);
	}
}

/* One command, or all of "info", or all others with info == false. */
static json_t *describe(const struct mon_cmd *only, bool info)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	json_t *j;

	if (!f)
		return NULL;
	for (const struct mon_cmd *c = only ? only : mon_cmds; c->run; c++) {
		if (!c->text || (!only && info != !strncmp(c->text, "info ", 5)))
			continue;
		print_usage(f, c);
		fprintf(f, " -- %s\n", c->help);
		if (only)
			break;
	}
	if (!only && !info)
		fprintf(f,
			"FMT is /COUNT FORMAT SIZE without blanks, e.g. /8xg\n"
			"  FORMAT: x d u o c, i (instructions); SIZE: b h w g (1 2 4 8 bytes)\n");
	if (fclose(f) != 0 || !text) {
		free(text);
		return NULL;
	}
	j = mon_string(text);
	free(text);
	return j;
}

json_t *mon_help(struct mon *m, const json_t *args, struct err *e)
{
	const char *name = mon_str(args, "command");
	const struct mon_cmd *c;

	if (!name)
		return describe(NULL, false);
	if (!strcmp(name, "info"))
		return describe(NULL, true);
	c = find_or_suggest(name, e);
	return c ? describe(c, false) : NULL;
}

json_t *mon_info(struct mon *m, const json_t *args, struct err *e)
{
	return describe(NULL, true);
}

/* --- results as text --- */

static void print_value(FILE *f, const json_t *v, int indent);

static void print_scalar(FILE *f, const json_t *v)
{
	if (json_is_string(v))
		fputs(json_string_value(v), f);
	else if (json_is_integer(v))
		fprintf(f, "%lld", (long long)json_integer_value(v));
	else if (json_is_real(v))
		fprintf(f, "%g", json_real_value(v));
	else
		fputs(json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null", f);
}

static void print_member(FILE *f, const char *key, const json_t *v, int indent)
{
	fprintf(f, "%*s%s:", indent, "", key);
	if (json_is_object(v) || json_is_array(v)) {
		fputc('\n', f);
		print_value(f, v, indent + 2);
	} else {
		fputc(' ', f);
		print_scalar(f, v);
		fputc('\n', f);
	}
}

/* The generic form: "key: value" lines, nested ones indented, list items with a dash. */
static void print_value(FILE *f, const json_t *v, int indent)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, item) print_member(f, key, item, indent);
	} else if (json_is_array(v)) {
		json_array_foreach(v, i, item)
		{
			if (json_is_object(item) || json_is_array(item)) {
				fprintf(f, "%*s-\n", indent, "");
				print_value(f, item, indent + 2);
			} else {
				fprintf(f, "%*s- ", indent, "");
				print_scalar(f, item);
				fputc('\n', f);
			}
		}
	} else {
		const char *s = json_string_value(v);

		print_scalar(f, v);
		if (!s || (*s && s[strlen(s) - 1] != '\n'))
			fputc('\n', f);
	}
}

/* --- a line --- */

static const char *skip_blanks(const char *p)
{
	while (isspace((unsigned char)*p))
		p++;
	return p;
}

/*
 * Takes a word at *p into out (of the line's size or more): up to a blank,
 * or between double quotes with \" \\ \n \r \t. parens: blanks inside round brackets
 * belong to it.
 */
static int take_word(const char **p, char *out, bool parens, struct err *e)
{
	const char *s = *p;
	int depth = 0;

	if (*s == '"' && !parens) {
		for (s++; *s != '"'; s++) {
			if (*s == '\\' && s[1]) {
				static const char from[] = "nrt\"\\", to[] = "\n\r\t\"\\";
				const char *at = strchr(from, *++s);

				if (!at)
					return err_set(e, ERR_USAGE, EINVAL,
						       "unknown escape '\\%c'", *s);
				*out++ = to[at - from];
				continue;
			}
			if (!*s)
				return err_set(e, ERR_USAGE, EINVAL,
					       "the string has no closing '\"'");
			*out++ = *s;
		}
		s++;
	} else {
		for (; *s && (!isspace((unsigned char)*s) || depth > 0); s++) {
			depth += parens ? (*s == '(') - (*s == ')') : 0;
			*out++ = *s;
		}
	}
	*out = '\0';
	*p = s;
	return 0;
}

/* Takes argument a from *p into args; 0 also when it is optional and absent. word: a line's size.
 */
static int take_arg(struct mon *m, const struct mon_arg *a, const char **p, json_t *args,
		    char *word, struct err *e)
{
	json_t *val = NULL;
	const char *s = skip_blanks(*p);
	uint64_t num;
	bool on;

	*p = s;
	if (a->type == MON_FLAG) {
		if (s[0] != '-' || s[1] != a->name[0] || (s[2] && !isspace((unsigned char)s[2])))
			return 0;
		*p = s + 2;
		val = json_true();
	} else if (a->type == MON_FMT && *s != '/') {
		return 0;
	} else if (!*s) {
		if (a->optional)
			return 0;
		return err_set(e, ERR_USAGE, EINVAL, "parameter '%s' is missing", a->name);
	} else if (a->type == MON_REST) {
		*p = s + strlen(s);
		strcpy(word, s);
		for (size_t n = strlen(word); n && isspace((unsigned char)word[n - 1]); n--)
			word[n - 1] = '\0';
		val = mon_string(word);
	} else {
		if (a->type == MON_INT && !a[1].name) {
			strcpy(word, s); /* the last one: blanks belong to the expression */
			*p = s + strlen(s);
		} else if (take_word(p, word, a->type == MON_INT, e) < 0) {
			return -EINVAL;
		}
		if (a->type == MON_INT) {
			if (mon_eval(m, word, &num, e) < 0)
				return -EINVAL;
			val = json_integer((json_int_t)num);
		} else if (a->type == MON_BOOL) {
			if (parse_bool(word, &on, e) < 0)
				return -EINVAL;
			val = json_boolean(on);
		} else {
			val = mon_string(word);
		}
	}
	if (json_object_set_new(args, a->name, val) < 0)
		return err_set(e, ERR_HOST, ENOMEM, "not enough memory for the command");
	return 0;
}

/* Finds the command of a line and its arguments. The result is in *c; -errno with e. */
static int parse_line(struct mon *m, const char *line, const struct mon_cmd **c, json_t *args,
		      struct err *e)
{
	char word[LINE_MAX_LEN + 1], two[LINE_MAX_LEN + 1];
	const char *p = skip_blanks(line), *rest;
	size_t n = strcspn(p, " \t/");
	int ret;

	*c = NULL;
	snprintf(word, sizeof(word), "%.*s", (int)n, p);
	p += n;
	rest = skip_blanks(p);
	if (!strcmp(word, "info") && *rest) {
		n = strcspn(rest, " \t");
		snprintf(two, sizeof(two), "info %.*s", (int)n, rest);
		*c = find_or_suggest(two, e);
		p = rest + n;
	} else {
		*c = find_or_suggest(word, e);
	}
	if (!*c)
		return -ENOENT;
	for (const struct mon_arg *a = (*c)->args; a->name; a++) {
		ret = take_arg(m, a, &p, args, word, e);
		if (ret < 0)
			return ret;
	}
	p = skip_blanks(p);
	if (*p)
		return err_set(e, ERR_USAGE, EINVAL, "'%s' is more than the command takes", p);
	return 0;
}

static void run_line(struct mon *m, const char *line, FILE *f)
{
	const struct mon_cmd *c;
	json_t *args, *result = NULL;
	struct err e;

	if (!*skip_blanks(line))
		return;
	if (strlen(line) > LINE_MAX_LEN) {
		fprintf(f, "Error: the line is longer than %d bytes\n", LINE_MAX_LEN);
		return;
	}
	args = json_object();
	if (parse_line(m, line, &c, args, &e) < 0) {
		fprintf(f, "%s%s\n", c ? "Error: " : "", e.msg);
		if (e.hint[0])
			fprintf(f, "%s\n", e.hint);
		if (c) {
			fputs("Usage: ", f);
			print_usage(f, c);
			fputc('\n', f);
		}
		json_decref(args);
		return;
	}
	result = mon_run(m, c, args, &e);
	json_decref(args);
	if (!result) {
		fprintf(f, "Error: %s\n", e.msg);
		if (e.hint[0])
			fprintf(f, "%s\n", e.hint);
	} else if (c->print) {
		c->print(f, m, result);
	} else {
		print_value(f, result, 0);
	}
	json_decref(result);
}

char *mon_text_run(struct mon *m, const char *line)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	run_line(m, line, f);
	if (fclose(f) == 0 && text)
		return text;
	free(text);
	return NULL;
}

/* --- the line editor --- */

struct text {
	struct mon_session s; /* first member */
	bool greeted;
	char line[LINE_MAX_LEN + 1]; /* NUL-terminated */
	size_t len, pos; /* pos: the cursor, <= len */
	bool after_cr; /* "\r\n" is one end of line */
	enum { KEY_PLAIN, KEY_ESC, KEY_CSI } key;
	unsigned csi_arg;
	char *history[HISTORY]; /* oldest first */
	unsigned n_history, at; /* at: the entry shown, n_history for the new line */
};

static void put(struct text *t, const char *s)
{
	mon_write(&t->s, s, strlen(s));
}

/* Text with "\n" ends as a raw terminal wants them. */
static void put_lines(struct text *t, const char *s)
{
	while (*s) {
		size_t n = strcspn(s, "\n");

		mon_write(&t->s, s, n);
		s += n;
		if (*s) {
			mon_write(&t->s, "\r\n", 2);
			s++;
		}
	}
}

static void redraw(struct text *t)
{
	char back[32];

	put(t, "\r" PROMPT);
	mon_write(&t->s, t->line, t->len);
	put(t, "\033[K");
	if (t->pos < t->len) {
		snprintf(back, sizeof(back), "\033[%zuD", t->len - t->pos);
		put(t, back);
	}
}

static void set_line(struct text *t, const char *s)
{
	snprintf(t->line, sizeof(t->line), "%s", s);
	t->len = t->pos = strlen(t->line);
}

static void insert(struct text *t, char c)
{
	if (t->len == LINE_MAX_LEN)
		return;
	memmove(t->line + t->pos + 1, t->line + t->pos, t->len - t->pos + 1);
	t->line[t->pos++] = c;
	t->len++;
	if (t->pos == t->len)
		mon_write(&t->s, &c, 1);
	else
		redraw(t);
}

/* Deletes [from, pos). */
static void delete_back(struct text *t, size_t from)
{
	memmove(t->line + from, t->line + t->pos, t->len - t->pos + 1);
	t->len -= t->pos - from;
	t->pos = from;
	redraw(t);
}

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t char_before(const struct text *t, size_t pos)
{
	if (pos)
		pos--;
	while (pos && is_continuation(t->line[pos]))
		pos--;
	return pos;
}

static size_t char_after(const struct text *t, size_t pos)
{
	if (pos < t->len)
		pos++;
	while (pos < t->len && is_continuation(t->line[pos]))
		pos++;
	return pos;
}

static size_t word_before(const struct text *t, size_t pos)
{
	while (pos && t->line[pos - 1] == ' ')
		pos--;
	while (pos && t->line[pos - 1] != ' ')
		pos--;
	return pos;
}

static void remember(struct text *t)
{
	char *copy;

	if (!t->len || (t->n_history && !strcmp(t->history[t->n_history - 1], t->line)))
		return;
	copy = strdup(t->line);
	if (!copy)
		return;
	if (t->n_history == HISTORY) {
		free(t->history[0]);
		memmove(t->history, t->history + 1, sizeof(t->history) - sizeof(t->history[0]));
		t->n_history--;
	}
	t->history[t->n_history++] = copy;
}

static void show_history(struct text *t, int step)
{
	unsigned to = t->at + (unsigned)step;

	if (to > t->n_history) /* also below 0 */
		return;
	t->at = to;
	set_line(t, to == t->n_history ? "" : t->history[to]);
	redraw(t);
}

/*
 * Completes the line up to the next blank of the names that begin with it; lists them when
 * there is nothing more in common.
 */
static void complete(struct text *t)
{
	const char *names[NAMES_MAX];
	size_t n, common, words = 0;

	if (t->pos != t->len)
		return;
	n = all_names(t->line, names);
	if (!n)
		return;
	/* How far all go together, and not beyond the word in hand. */
	common = t->len + strcspn(names[0] + t->len, " ");
	for (size_t i = 1; i < n; i++) {
		size_t k = t->len;

		while (k < common && names[i][k] == names[0][k])
			k++;
		common = k;
	}
	if (common > t->len) {
		for (size_t k = t->len; k < common; k++)
			insert(t, names[0][k]);
		for (size_t i = 0; i < n; i++)
			words += names[i][common] && names[i][common] != ' ';
		if (!words)
			insert(t, ' ');
		return;
	}
	put(t, "\r\n");
	for (size_t i = 0; i < n; i++) {
		const char *blank = strchr(names[i] + t->len, ' ');

		if (blank)
			continue; /* "info" stands for its commands */
		put(t, names[i]);
		put(t, "  ");
	}
	put(t, "\r\n");
	redraw(t);
}

static void enter(struct text *t)
{
	char *out;

	put(t, "\r\n");
	remember(t);
	t->at = t->n_history;
	out = mon_text_run(&t->s.mon, t->line);
	put_lines(t, out ? out : "Error: not enough memory\n");
	free(out);
	set_line(t, "");
	if (!t->s.mon.vm->quitting)
		put(t, PROMPT);
}

static void control_key(struct text *t, char c)
{
	switch (c) {
	case 'A' & 31:
		t->pos = 0;
		break;
	case 'B' & 31:
		t->pos = char_before(t, t->pos);
		break;
	case 'C' & 31:
		put(t, "^C\r\n");
		set_line(t, "");
		t->at = t->n_history;
		break;
	case 'E' & 31:
		t->pos = t->len;
		break;
	case 'F' & 31:
		t->pos = char_after(t, t->pos);
		break;
	case '\b':
	case 127:
		delete_back(t, char_before(t, t->pos));
		return;
	case '\t':
		complete(t);
		return;
	case 'K' & 31:
		t->line[t->len = t->pos] = '\0';
		break;
	case 'L' & 31:
		put(t, "\033[H\033[2J");
		break;
	case 'N' & 31:
		show_history(t, 1);
		return;
	case 'P' & 31:
		show_history(t, -1);
		return;
	case 'U' & 31:
		delete_back(t, 0);
		return;
	case 'W' & 31:
		delete_back(t, word_before(t, t->pos));
		return;
	default:
		return;
	}
	redraw(t);
}

/* The last byte of ESC [ number: arrows, Home, End, Delete. */
static void csi_key(struct text *t, char c)
{
	static const char keys[] = "ABCDHF";
	static const char means[] = { 'P' & 31, 'N' & 31, 'F' & 31, 'B' & 31, 'A' & 31, 'E' & 31 };
	const char *at = strchr(keys, c);

	if (at && *at) {
		control_key(t, means[at - keys]);
	} else if (c == '~' && t->csi_arg == 3 && t->pos < t->len) {
		t->pos = char_after(t, t->pos);
		delete_back(t, char_before(t, t->pos));
	} else if (c == '~' && (t->csi_arg == 1 || t->csi_arg == 7)) {
		control_key(t, 'A' & 31);
	} else if (c == '~' && (t->csi_arg == 4 || t->csi_arg == 8)) {
		control_key(t, 'E' & 31);
	}
}

static void type(struct text *t, char c)
{
	bool after_cr = t->after_cr;

	t->after_cr = c == '\r';
	switch (t->key) {
	case KEY_ESC:
		t->key = c == '[' || c == 'O' ? KEY_CSI : KEY_PLAIN;
		t->csi_arg = 0;
		return;
	case KEY_CSI:
		if (c >= '0' && c <= '9') {
			t->csi_arg = (t->csi_arg * 10 + (unsigned)(c - '0')) % 1000;
		} else if (c >= 0x40 && c <= 0x7e) {
			t->key = KEY_PLAIN;
			csi_key(t, c);
		} else if (c != ';') {
			t->key = KEY_PLAIN;
		}
		return;
	case KEY_PLAIN:
		break;
	}
	if (c == '\033')
		t->key = KEY_ESC;
	else if (c == '\r' || (c == '\n' && !after_cr))
		enter(t);
	else if ((unsigned char)c < 0x20 || c == 127)
		control_key(t, c);
	else
		insert(t, c);
}

/* A byte at a time: one keystroke can mean much output, and the session watches how much waits. */
static size_t text_feed(struct mon_session *s, const uint8_t *buf, size_t len)
{
	type((struct text *)s, (char)buf[0]);
	return 1;
}

static void text_opened(struct mon_session *s)
{
	struct text *t = (struct text *)s;

	if (s->shared || t->greeted)
		put(t, "\r\n"); /* the guest's console may have left the cursor anywhere */
	if (!t->greeted)
		put(t, "posada " POSADA_VERSION " monitor - type 'help' for more information\r\n");
	t->greeted = true;
	redraw(t);
}

static void text_closed(struct mon_session *s)
{
	struct text *t = (struct text *)s;

	while (t->n_history)
		free(t->history[--t->n_history]);
	t->at = 0;
	t->greeted = false;
	t->after_cr = false;
	t->key = KEY_PLAIN;
	set_line(t, "");
}

const struct mon_form mon_text_form = {
	.size = sizeof(struct text),
	.opened = text_opened,
	.closed = text_closed,
	.feed = text_feed,
};
