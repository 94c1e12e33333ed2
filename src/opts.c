/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option strings: see include/opts.h. Pure text; any thread. */
#include "opts.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* Copies up to the next single comma, ",," becoming ","; returns what follows it, or NULL at the
 * end. */
static const char *next_part(const char *s, char *out)
{
	while (*s) {
		if (*s == ',') {
			if (s[1] != ',') {
				*out = '\0';
				return s + 1;
			}
			s++;
		}
		*out++ = *s++;
	}
	*out = '\0';
	return NULL;
}

static int add(struct opts *o, const char *key, const char *val, bool bare)
{
	struct opt *opt = realloc(o->opt, (o->n + 1) * sizeof(*opt));

	if (!opt)
		return -ENOMEM;
	o->opt = opt;
	opt = &o->opt[o->n];
	*opt = (struct opt){ .key = strdup(key), .val = strdup(val), .bare = bare };
	if (!opt->key || !opt->val) {
		free(opt->key);
		free(opt->val);
		return -ENOMEM;
	}
	o->n++;
	return 0;
}

int opts_add(struct opts *o, const char *key, const char *val)
{
	return add(o, key, val, false);
}

int opts_parse(struct opts *o, const char *text, const char *head_key, struct err *e)
{
	char *part = malloc(strlen(text) + 1);
	bool first = true;
	int rc = part ? 0 : -ENOMEM;

	memset(o, 0, sizeof(*o));
	while (!rc && text) {
		char *eq;

		text = next_part(text, part);
		eq = strchr(part, '=');
		if (eq)
			*eq = '\0';
		if (!*part && (eq || !first || text)) {
			rc = err_set(e, ERR_USAGE, EINVAL, "%s",
				     eq ? "an '=' without a name before it"
					: "an empty part between two commas");
			err_hint(e, "write ',,' for a comma inside a value");
		} else if (eq) {
			rc = add(o, part, eq + 1, false);
		} else if (first) {
			o->head = strdup(part);
			rc = !o->head ? -ENOMEM : head_key ? add(o, head_key, part, false) : 0;
		} else {
			rc = add(o, part, "on", true);
		}
		first = false;
	}
	free(part);
	if (rc == -ENOMEM)
		err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (rc)
		opts_free(o);
	return rc;
}

void opts_free(struct opts *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->opt[i].key);
		free(o->opt[i].val);
	}
	free(o->opt);
	free(o->head);
	memset(o, 0, sizeof(*o));
}

const char *opts_get(struct opts *o, const char *key)
{
	const char *val = NULL;

	for (size_t i = 0; i < o->n; i++) {
		if (!strcmp(o->opt[i].key, key)) {
			o->opt[i].used = true;
			val = o->opt[i].val;
		}
	}
	return val;
}

int opts_check_used(const struct opts *o, const char *const *known, size_t n, struct err *e)
{
	for (size_t i = 0; i < o->n; i++) {
		if (o->opt[i].used)
			continue;
		err_set(e, ERR_USAGE, EINVAL, "unknown key '%s'", o->opt[i].key);
		err_suggest(e, o->opt[i].key, known, n);
		return -EINVAL;
	}
	return 0;
}

int parse_bool(const char *text, bool *out, struct err *e)
{
	static const char *const yes[] = { "on", "yes", "true", "1" };
	static const char *const no[] = { "off", "no", "false", "0" };

	for (size_t i = 0; i < 4; i++) {
		if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
			*out = !strcmp(text, yes[i]);
			return 0;
		}
	}
	return err_set(e, ERR_USAGE, EINVAL, "'%s' is neither 'on' nor 'off'", text);
}

int parse_u64(const char *text, uint64_t *out, struct err *e)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	/* strtoull takes blanks and signs: "-1" would be a huge number. */
	if (text[0] < '0' || text[0] > '9' || *end)
		return err_set(e, ERR_USAGE, EINVAL, "'%s' is not a number", text);
	if (errno)
		return err_set(e, ERR_USAGE, ERANGE, "%s is too large", text);
	return 0;
}

int parse_size(const char *text, uint64_t unit, uint64_t *out, struct err *e)
{
	static const char suffixes[] = "BKMGTPE";
	const char *p = text;
	uint64_t whole = 0, frac = 0, frac_scale = 1;
	const char *suffix;
	unsigned __int128 total;
	bool overflow = false;

	if (*p < '0' || *p > '9')
		goto bad;
	while (*p >= '0' && *p <= '9')
		overflow |= __builtin_mul_overflow(whole, 10, &whole) ||
			    __builtin_add_overflow(whole, (uint64_t)(*p++ - '0'), &whole);
	if (*p == '.') {
		p++;
		if (*p < '0' || *p > '9')
			goto bad;
		/* Nine digits are finer than any byte count needs. */
		for (; *p >= '0' && *p <= '9'; p++) {
			if (frac_scale < 1000000000u) {
				frac = frac * 10 + (uint64_t)(*p - '0');
				frac_scale *= 10;
			}
		}
	}
	if (*p) {
		suffix = strchr(suffixes, *p >= 'a' ? *p - 'a' + 'A' : *p);
		if (!suffix)
			goto bad;
		unit = 1ull << (10 * (suffix - suffixes));
		p++;
		if (*p == 'i') /* "512MiB" as people write it */
			p++;
		if ((*p == 'B' || *p == 'b') && p[-1] != 'B' && p[-1] != 'b')
			p++;
		if (*p)
			goto bad;
	}
	total = (unsigned __int128)whole * unit + (unsigned __int128)frac * unit / frac_scale;
	if (overflow || total > UINT64_MAX)
		return err_set(e, ERR_USAGE, ERANGE, "%s is too large", text);
	*out = (uint64_t)total;
	return 0;
bad:
	err_set(e, ERR_USAGE, EINVAL, "'%s' is not a size", text);
	err_hint(e, "a number with an optional K, M, G or T behind it, as in 512M or 1.5G");
	return -EINVAL;
}

int parse_uuid(const char *text, uint8_t out[16], struct err *e)
{
	unsigned n = 0;

	memset(out, 0, 16);
	for (const char *p = text; *p; p++) {
		const char *digits = "0123456789abcdef", *digit;

		if (*p == '-' &&
		    (p - text == 8 || p - text == 13 || p - text == 18 || p - text == 23))
			continue;
		digit = strchr(digits, tolower((unsigned char)*p));
		if (!digit || n == 32) {
			n = 33;
			break;
		}
		out[n / 2] = (uint8_t)(out[n / 2] << 4 | (digit - digits));
		n++;
	}
	if (n != 32 || strlen(text) != 36) {
		err_set(e, ERR_USAGE, EINVAL, "'%s' is not a UUID", text);
		err_hint(e, "write it as 550e8400-e29b-41d4-a716-446655440000");
		return -EINVAL;
	}
	return 0;
}
