/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors that a person can act on: see include/err.h. Any thread; no state. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *err_program = "posada";

int err_set(struct err *e, enum err_status status, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	e->status = status;
	e->code = code;
	e->hint[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	return -code;
}

void err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return;
	va_start(ap, fmt);
	vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
	va_end(ap);
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;
	int n;

	if (!e)
		return;
	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->msg))
		snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, "%s", old);
}

void err_print(const struct err *e)
{
	/* One write, so that messages of several threads do not mix. */
	if (e->hint[0])
		fprintf(stderr, "%s: %s\n%s: %s\n", err_program, e->msg, err_program, e->hint);
	else
		fprintf(stderr, "%s: %s\n", err_program, e->msg);
}

/* Edit distance with transpositions (Damerau, optimal string alignment), capped for long words. */
static unsigned distance(const char *a, const char *b)
{
	enum { MAX = 40 };
	size_t la = strlen(a), lb = strlen(b);
	unsigned d[MAX + 1][MAX + 1];

	if (la > MAX || lb > MAX)
		return MAX;
	for (size_t i = 0; i <= la; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[la][lb];
}

const char *suggest(const char *word, const char *const *names, size_t n)
{
	const char *best = NULL;
	unsigned best_d = 0;

	for (size_t i = 0; i < n; i++) {
		size_t longer;
		unsigned d;

		if (!names[i])
			continue;
		d = distance(word, names[i]);
		longer = strlen(word) > strlen(names[i]) ? strlen(word) : strlen(names[i]);
		/* A third of the letters may be wrong; a prefix of three letters counts as near. */
		if (d > (longer + 2) / 3 &&
		    !(strlen(word) >= 3 && !strncmp(word, names[i], strlen(word))))
			continue;
		if (!best || d < best_d) {
			best = names[i];
			best_d = d;
		}
	}
	return best;
}

void err_suggest(struct err *e, const char *word, const char *const *names, size_t n)
{
	const char *near = suggest(word, names, n);
	size_t used = 0;

	if (!e)
		return;
	if (near) {
		err_hint(e, "did you mean '%s'?", near);
		return;
	}
	used = (size_t)snprintf(e->hint, sizeof(e->hint), "known:");
	for (size_t i = 0; i < n; i++) {
		if (!names[i])
			continue;
		if (used + strlen(names[i]) + 2 >= sizeof(e->hint)) {
			e->hint[0] = '\0'; /* too many to be of help */
			return;
		}
		used += (size_t)snprintf(e->hint + used, sizeof(e->hint) - used, " %s", names[i]);
	}
	if (used == strlen("known:"))
		e->hint[0] = '\0';
}
