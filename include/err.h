/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors that a person can act on.
 *
 * Every function that can fail for a reason the user must hear of takes a
 * `struct err *` last, fills it by err_set() and returns -errno. The message
 * names the option, the file, the field and the value; the hint says the way
 * out. Neither ends with a full stop or a newline; err_print() adds layout.
 */
#ifndef POSADA_ERR_H
#define POSADA_ERR_H

#include <stddef.h>

/* Process exit statuses, after <sysexits.h>; ERR_GUEST is our own. */
enum err_status {
	ERR_USAGE = 64, /* the command line is wrong */
	ERR_INPUT = 66, /* a file the user named cannot be opened or used */
	ERR_UNAVAILABLE = 69, /* KVM or a needed package is not there */
	ERR_HOST = 71, /* the host refused a resource */
	ERR_GUEST = 80, /* the guest died: triple fault, internal error ... */
};

struct err {
	enum err_status status;
	int code; /* positive errno */
	char msg[768];
	char hint[384];
};

/* Fills e (which may be NULL) and returns -code. */
int err_set(struct err *e, enum err_status status, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Sets or replaces the hint. */
void err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts text before the message: err_prefix(e, "-device %s: ", arg). */
void err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The program's name, with which messages on stderr begin: "posada". */
extern const char *err_program;

/* "posada: MSG" and "posada: HINT" on stderr. */
void err_print(const struct err *e);

/*
 * Adds "did you mean 'X'?" as the hint when one of the n names is near enough
 * to word; otherwise lists them when they are few. names may hold NULLs.
 */
void err_suggest(struct err *e, const char *word, const char *const *names, size_t n);

/* The nearest of n names by edit distance, or NULL when none is near. */
const char *suggest(const char *word, const char *const *names, size_t n);

#endif
