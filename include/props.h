/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties: one row says a field's name, type, default, range and help. The
 * same row parses "-device X,name=value", prints "-device X,help" and serves
 * the monitor, so that they cannot drift apart.
 */
#ifndef POSADA_PROPS_H
#define POSADA_PROPS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct opts;

enum prop_type {
	PROP_BOOL, /* bool */
	PROP_U8, /* uint8_t */
	PROP_U16, /* uint16_t */
	PROP_U32, /* uint32_t */
	PROP_U64, /* uint64_t */
	PROP_SIZE, /* uint64_t, K/M/G suffixes */
	PROP_STR, /* char *, malloc'd or NULL */
	PROP_ENUM, /* int, index into choices */
	PROP_CHARDEV, /* char *: the id of a -chardev */
	PROP_DRIVE /* char *: the id of a -drive or -blockdev */
};

struct prop {
	const char *name; /* NULL ends a table */
	enum prop_type type;
	size_t offset;
	const char *def; /* parsed like a user's value; NULL: zeroed, and no default shown */
	const char *help;
	uint64_t min, max; /* of numbers; max 0: the type's */
	const char *const *choices; /* of PROP_ENUM, NULL-ended */
};

#define PROP(st, field, ptype, pname, pdef, phelp)                                                 \
	{                                                                                          \
		.name = (pname), .type = (ptype), .offset = offsetof(st, field), .def = (pdef),    \
		.help = (phelp)                                                                    \
	}
#define PROP_RANGE(st, field, ptype, pname, pdef, pmin, pmax, phelp)                               \
	{                                                                                          \
		.name = (pname), .type = (ptype), .offset = offsetof(st, field), .def = (pdef),    \
		.help = (phelp), .min = (pmin), .max = (pmax)                                      \
	}
#define PROP_CHOICE(st, field, pname, pdef, pchoices, phelp)                                       \
	{                                                                                          \
		.name = (pname), .type = PROP_ENUM, .offset = offsetof(st, field), .def = (pdef),  \
		.help = (phelp), .choices = (pchoices)                                             \
	}
#define PROP_END                                                                                   \
	{                                                                                          \
		.name = NULL                                                                       \
	}

void props_defaults(const struct prop *props, void *obj);
/* -EINVAL with the nearest name, or what values the property takes. */
int props_set(const struct prop *props, void *obj, const char *name, const char *val,
	      struct err *e);
/* Every unused key of o; marks them used. */
int props_apply(const struct prop *props, void *obj, struct opts *o, struct err *e);
/* The same for an object whose properties are in two tables. */
int props_apply_both(const struct prop *props, const struct prop *more, void *obj, struct opts *o,
		     struct err *e);
void props_free(const struct prop *props, void *obj);
/* One line a property: "  name=TYPE   help (default: X)". */
void props_help(const struct prop *props, FILE *f);

#endif
