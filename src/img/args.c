/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of subcommands, and messages. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../block/internal.h"
#include "img.h"
#include "secret.h"

/* --- messages --- */

__attribute__((format(printf, 2, 0))) static void say(const char *before, const char *fmt,
						      va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	fflush(stdout);
	fprintf(stderr, "%s: %s%s\n", err_program, before, text);
}

int img_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
	return 1;
}

int img_misuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try 'posada-img --help' for more information\n");
	return 1;
}

void img_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("warning: ", fmt, ap);
	va_end(ap);
}

int img_error(const struct err *e)
{
	fflush(stdout);
	err_print(e);
	return 1;
}

/* --- values --- */

/* Also 0x and hexadecimal digits. */
static int parse_number(const char *arg, uint64_t *out, struct err *e)
{
	char *end;

	if (strncmp(arg, "0x", 2) || !isxdigit((unsigned char)arg[2]))
		return parse_size(arg, 1, out, e);
	errno = 0;
	*out = strtoull(arg, &end, 16);
	if (!*end && !errno)
		return 0;
	return err_set(e, ERR_USAGE, EINVAL, "'%s' is not a number", arg);
}

int img_size(const char *what, const char *arg, uint64_t *out)
{
	struct err e;
	int rc = parse_number(arg, out, &e);

	if (!rc && *out > INT64_MAX)
		rc = err_set(&e, ERR_USAGE, ERANGE, "%s is more than %" PRId64, arg, INT64_MAX);
	if (!rc)
		return 0;
	err_prefix(&e, "Invalid %s specified: ", what);
	img_error(&e);
	return rc;
}

int img_number(const char *what, const char *arg, uint64_t min, uint64_t max, uint64_t *out)
{
	struct err e;
	int rc = parse_number(arg, out, &e);

	if (!rc && (*out < min || *out > max))
		rc = err_set(&e, ERR_USAGE, ERANGE, "%s. Must be between %" PRIu64 " and %" PRIu64,
			     arg, min, max);
	if (!rc)
		return 0;
	err_prefix(&e, "Invalid %s specified: ", what);
	img_error(&e);
	return rc;
}

const char *img_pretty(char buf[32], uint64_t bytes)
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	double n = (double)bytes;
	unsigned i = 0;

	/* Three digits at most in front of the point. */
	for (; n >= 1000 && i < 6; i++)
		n /= 1024;
	snprintf(buf, 32, "%0.3g %sB", n, units[i]);
	return buf;
}

/* --- options --- */

enum { OPTS_MAX = 40, LONG = 256 };

static int take_list(struct opts *to, const char *arg)
{
	struct opts more;
	struct err e;
	int rc = opts_parse(&more, arg, NULL, &e);

	/* A word by itself, as in "-o help". */
	if (!rc && more.head && !more.n)
		rc = opts_add(&more, more.head, "on");
	for (size_t i = 0; !rc && i < more.n; i++)
		rc = opts_add(to, more.opt[i].key, more.opt[i].val);
	if (rc) {
		err_prefix(&e, "Invalid options '%s': ", arg);
		img_error(&e);
		return rc;
	}
	opts_free(&more);
	return 0;
}

static int take_step(const struct img_opt *o, const char *arg)
{
	struct img_steps *s = o->to;

	if (s->n == sizeof(s->step) / sizeof(s->step[0]))
		return -img_fail("more than %u times something to be done", s->n);
	s->step[s->n++] = (struct img_step){ o->name, arg };
	return 0;
}

static bool has_argument(enum img_type type)
{
	return type != IMG_FLAG && type != IMG_STEP;
}

static int take(const struct img_opt *o, const char *arg)
{
	switch (o->type) {
	case IMG_FLAG:
		*(bool *)o->to = true;
		return 0;
	case IMG_TEXT:
		*(const char **)o->to = arg;
		return 0;
	case IMG_LIST:
		return take_list(o->to, arg);
	case IMG_SIZE:
		return img_size(o->name ? o->name : "size", arg, o->to);
	case IMG_OUTPUT:
		*(bool *)o->to = !strcmp(arg, "json");
		if (strcmp(arg, "json") && strcmp(arg, "human"))
			return -img_fail("--output must be used with human or json as argument.");
		return 0;
	case IMG_STEP:
	case IMG_STEP_OF:
		return take_step(o, arg);
	}
	return 0;
}

/* secret,id=ID,... or JSON */
static int add_object(const char *arg)
{
	struct opts o = { 0 };
	const char *type;
	struct err e;
	int rc;

	if (*arg == '{')
		rc = blk_opts_from_json(&o, arg, &e);
	else
		rc = opts_parse(&o, arg, "qom-type", &e);
	type = rc ? NULL : opts_get(&o, "qom-type");
	if (!rc && (!type || strcmp(type, "secret") != 0)) {
		rc = err_set(&e, ERR_USAGE, EINVAL, "images need no object '%s'", type ? type : "");
		err_hint(&e, "a passphrase is --object secret,id=ID,file=PATH");
	}
	if (!rc)
		rc = secret_add(&o, &e);
	opts_free(&o);
	if (rc) {
		err_prefix(&e, "--object: ");
		img_error(&e);
	}
	return rc;
}

static int unrecognized(char **argv, const struct img_opt *opts)
{
	const char *names[OPTS_MAX], *word = argv[optind - 1];
	char eq[64];
	struct err e;
	size_t n = 0;

	if (optopt && optopt < LONG && word[0] == '-' && word[1] != '-') {
		img_misuse("invalid option -- '%c'", optopt);
		return -1;
	}
	snprintf(eq, sizeof(eq), "%.*s", (int)strcspn(word, "="), word);
	err_set(&e, ERR_USAGE, 0, "unrecognized option '%s'", word);
	for (; opts->key || opts->name; opts++)
		if (opts->name)
			names[n++] = opts->name;
	err_suggest(&e, eq + 2, names, n);
	img_error(&e);
	fprintf(stderr, "Try 'posada-img --help' for more information\n");
	return -1;
}

/* Tables for getopt_long: its values are LONG and the index. */
static void tables(const struct img_opt *opts, struct option *longs, char *shorts)
{
	size_t n = 0;

	*shorts++ = ':';
	for (unsigned i = 0; opts[i].key || opts[i].name; i++) {
		bool arg = has_argument(opts[i].type);

		if (opts[i].name)
			longs[n++] = (struct option){ .name = opts[i].name,
						      .has_arg = arg,
						      .val = LONG + (int)i };
		if (opts[i].key)
			*shorts++ = opts[i].key;
		if (opts[i].key && arg)
			*shorts++ = ':';
	}
	longs[n++] = (struct option){ .name = "help", .val = 'h' };
	longs[n++] = (struct option){ .name = "object", .has_arg = 1, .val = LONG - 1 };
	longs[n] = (struct option){ 0 };
	*shorts++ = 'h';
	*shorts = 0;
}

static const struct img_opt *find(const struct img_opt *opts, int c)
{
	if (c >= LONG)
		return &opts[c - LONG];
	while (opts->key != c)
		opts++;
	return opts;
}

int img_parse(int argc, char **argv, const struct img_opt *opts)
{
	struct option longs[OPTS_MAX];
	char shorts[3 * OPTS_MAX];
	int c;

	tables(opts, longs, shorts);
	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (c == 'h') {
			img_help();
			exit(0);
		}
		if (c == ':') {
			img_misuse("option '%s' requires an argument", argv[optind - 1]);
			return -1;
		}
		if (c == '?')
			return unrecognized(argv, opts);
		if (c == LONG - 1 ? add_object(optarg) : take(find(opts, c), optarg))
			return -1;
	}
	return optind;
}
