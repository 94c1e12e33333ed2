/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option strings "head,key=value,key2=value2". A comma in a value is written
 * ",,". "key" alone means "key=on", "nokey" stays a key. Pure text, no I/O.
 */
#ifndef POSADA_OPTS_H
#define POSADA_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct opt {
	char *key;
	char *val;
	bool bare; /* "key" without "=" */
	bool used; /* for opts_check_used */
};

struct opts {
	char *head; /* the first part when it had no "=", or NULL */
	struct opt *opt;
	size_t n;
};

/*
 * Parses text. head_key: when the first part has no "=", it is stored as head
 * and also, unless head_key is NULL, as head_key=part.
 */
int opts_parse(struct opts *o, const char *text, const char *head_key, struct err *e);
void opts_free(struct opts *o);
/* Appends key=val. -ENOMEM. */
int opts_add(struct opts *o, const char *key, const char *val);

/* The last value of key, or NULL; marks it used. */
const char *opts_get(struct opts *o, const char *key);

/* -EINVAL naming the first key that nobody asked for, with the nearest of known[]. */
int opts_check_used(const struct opts *o, const char *const *known, size_t n, struct err *e);

/* on/off/yes/no/true/false/1/0 */
int parse_bool(const char *text, bool *out, struct err *e);
/* Decimal, 0x hex or 0 octal, whole string. */
int parse_u64(const char *text, uint64_t *out, struct err *e);
/* 550e8400-e29b-41d4-a716-446655440000, into bytes in the order written. */
int parse_uuid(const char *text, uint8_t out[16], struct err *e);
/* A number with suffix B K M G T P E (powers of 1024), fractions allowed ("1.5G"). unit: of a bare
 * number. */
int parse_size(const char *text, uint64_t unit, uint64_t *out, struct err *e);

#endif
