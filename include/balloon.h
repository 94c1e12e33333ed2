/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's memory balloon as the monitor sees it: a device sets
 * machine.balloon and machine.balloon_dev in its init. Everything is for the
 * main loop's thread.
 */
#ifndef POSADA_BALLOON_H
#define POSADA_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

struct dev;
struct err;

enum { BALLOON_STATS = 16 };

struct balloon_info {
	uint64_t actual; /* bytes of RAM that the guest has now */
	uint64_t target; /* bytes it has been asked to do with */
	uint64_t given_back; /* bytes the host has got back, all in all */
	/* What the guest says of itself; stat[n] counts when bit n of stat_given is set. */
	uint64_t stat[BALLOON_STATS]; /* by enum virtio_balloon_tag */
	uint32_t stat_given;
	int64_t stat_time; /* seconds since 1970; 0: it never said anything */
	uint32_t polling_interval; /* seconds; 0: not asked */
	/* free page hinting */
	bool hinting; /* a round is going on */
	bool hinted; /* a round has ended; hint_bytes is its result */
	uint64_t hint_bytes;
};

struct balloon_ops {
	void (*info)(struct dev *d, struct balloon_info *out);
	/* Asks the guest to do with `bytes` of RAM; more than there is means all of it. */
	void (*set_target)(struct dev *d, uint64_t bytes);
	/* How often to ask the guest for statistics, in seconds; 0: not any more. */
	void (*set_polling)(struct dev *d, uint32_t seconds);
	/* Asks the guest which pages are free. -ENOTSUP, -EBUSY. */
	int (*hint)(struct dev *d, struct err *e);
};

#endif
