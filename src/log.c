/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages on stderr while a guest runs: see include/log.h. Any thread. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "err.h"

__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	fprintf(stderr, "%s: %s\n", err_program, text);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void log_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void log_guest(struct log_limit *l, const char *who, const char *fmt, ...)
{
	struct timespec ts;
	char text[512];
	uint64_t now;
	va_list ap;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	if (l->seen >= l->burst && now - l->last_ns < 1000000000u) {
		l->dropped++;
		return;
	}
	l->seen++;
	l->last_ns = now;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (l->dropped)
		fprintf(stderr, "posada: guest: %s: %s (and %llu more like it)\n", who, text,
			(unsigned long long)l->dropped);
	else
		fprintf(stderr, "posada: guest: %s: %s\n", who, text);
	l->dropped = 0;
}
