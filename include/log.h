/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages on stderr while a guest runs. Quiet unless a person must know.
 * Any thread.
 */
#ifndef POSADA_LOG_H
#define POSADA_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* Something went wrong or was changed on the user's behalf. "posada: ...". */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One-line facts that help but need no action. "posada: ...". */
void log_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Lets the first `burst` messages through, then one a second, counting the rest. */
struct log_limit {
	unsigned burst;
	unsigned seen;
	uint64_t last_ns;
	uint64_t dropped;
};

#define LOG_LIMIT_INIT                                                                             \
	{                                                                                          \
		.burst = 5                                                                         \
	}

/*
 * A guest's mistake: device `who`, rate-limited by l (one per device or queue;
 * callers hold the device lock).
 */
void log_guest(struct log_limit *l, const char *who, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
