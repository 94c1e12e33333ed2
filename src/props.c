/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties: see include/props.h. Set-up time, main thread. */
#include "props.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "opts.h"

static const uint64_t type_max[] = {
	[PROP_U8] = UINT8_MAX,   [PROP_U16] = UINT16_MAX,  [PROP_U32] = UINT32_MAX,
	[PROP_U64] = UINT64_MAX, [PROP_SIZE] = UINT64_MAX,
};

static const char *const type_names[] = {
	[PROP_BOOL] = "on|off", [PROP_U8] = "NUMBER",          [PROP_U16] = "NUMBER",
	[PROP_U32] = "NUMBER",  [PROP_U64] = "NUMBER",         [PROP_SIZE] = "SIZE",
	[PROP_STR] = "TEXT",    [PROP_CHARDEV] = "CHARDEV-ID", [PROP_DRIVE] = "DRIVE-ID",
};

static int set_number(const struct prop *p, void *field, const char *val, struct err *e)
{
	uint64_t max = p->max ? p->max : type_max[p->type];
	uint64_t n;
	int rc;

	rc = p->type == PROP_SIZE ? parse_size(val, 1, &n, e) : parse_u64(val, &n, e);
	if (rc)
		return rc;
	if (n < p->min || n > max)
		return err_set(e, ERR_USAGE, ERANGE, "%s is not between %" PRIu64 " and %" PRIu64,
			       val, p->min, max);
	switch (p->type) {
	case PROP_U8:
		*(uint8_t *)field = (uint8_t)n;
		break;
	case PROP_U16:
		*(uint16_t *)field = (uint16_t)n;
		break;
	case PROP_U32:
		*(uint32_t *)field = (uint32_t)n;
		break;
	default:
		*(uint64_t *)field = n;
	}
	return 0;
}

static int set_choice(const struct prop *p, void *field, const char *val, struct err *e)
{
	size_t n = 0;

	for (; p->choices[n]; n++) {
		if (!strcmp(val, p->choices[n])) {
			*(int *)field = (int)n;
			return 0;
		}
	}
	err_set(e, ERR_USAGE, EINVAL, "no such value '%s'", val);
	err_suggest(e, val, p->choices, n);
	return -EINVAL;
}

static int set_field(const struct prop *p, void *obj, const char *val, struct err *e)
{
	void *field = (char *)obj + p->offset;

	switch (p->type) {
	case PROP_BOOL:
		return parse_bool(val, field, e);
	case PROP_STR:
	case PROP_CHARDEV:
	case PROP_DRIVE:
		free(*(char **)field);
		*(char **)field = strdup(val);
		return *(char **)field ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
	case PROP_ENUM:
		return set_choice(p, field, val, e);
	default:
		return set_number(p, field, val, e);
	}
}

void props_defaults(const struct prop *props, void *obj)
{
	for (const struct prop *p = props; p && p->name; p++)
		if (p->def)
			set_field(p, obj, p->def, NULL);
}

/* a and b: two tables of the same object; either may be NULL. */
static int set_in(const struct prop *a, const struct prop *b, void *obj, const char *name,
		  const char *val, struct err *e)
{
	const struct prop *const tables[] = { a, b };
	const char *names[96];
	size_t n = 0;

	for (unsigned i = 0; i < 2; i++) {
		for (const struct prop *p = tables[i]; p && p->name; p++) {
			if (!strcmp(p->name, name)) {
				int rc = set_field(p, obj, val, e);

				if (rc)
					err_prefix(e, "%s=%s: ", name, val);
				return rc;
			}
			if (n < sizeof(names) / sizeof(names[0]))
				names[n++] = p->name;
		}
	}
	err_set(e, ERR_USAGE, EINVAL, "no property '%s'", name);
	err_suggest(e, name, names, n);
	return -EINVAL;
}

int props_set(const struct prop *props, void *obj, const char *name, const char *val, struct err *e)
{
	return set_in(props, NULL, obj, name, val, e);
}

int props_apply_both(const struct prop *props, const struct prop *more, void *obj, struct opts *o,
		     struct err *e)
{
	for (size_t i = 0; i < o->n; i++) {
		int rc;

		if (o->opt[i].used)
			continue;
		rc = set_in(props, more, obj, o->opt[i].key, o->opt[i].val, e);
		if (rc)
			return rc;
		o->opt[i].used = true;
	}
	return 0;
}

int props_apply(const struct prop *props, void *obj, struct opts *o, struct err *e)
{
	return props_apply_both(props, NULL, obj, o, e);
}

void props_free(const struct prop *props, void *obj)
{
	for (const struct prop *p = props; p && p->name; p++) {
		if (p->type == PROP_STR || p->type == PROP_CHARDEV || p->type == PROP_DRIVE) {
			char **s = (char **)(void *)((char *)obj + p->offset);

			free(*s);
			*s = NULL;
		}
	}
}

void props_help(const struct prop *props, FILE *f)
{
	for (const struct prop *p = props; p && p->name; p++) {
		char label[96];
		size_t used = (size_t)snprintf(label, sizeof(label), "%s=", p->name);

		if (p->type == PROP_ENUM) {
			for (size_t i = 0; p->choices[i] && used < sizeof(label); i++)
				used += (size_t)snprintf(label + used, sizeof(label) - used, "%s%s",
							 i ? "|" : "", p->choices[i]);
		} else {
			snprintf(label + used, sizeof(label) - used, "%s", type_names[p->type]);
		}
		fprintf(f, "  %-24s %s", label, p->help ? p->help : "");
		if (p->def)
			fprintf(f, " (default: %s)", p->def);
		fputc('\n', f);
	}
}
