/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk's contents while requests are under way, and what of them may be there after a
 * power cut. Time is counted in the moments of qcow2_cuts.h. Requests that are
 * under way together never touch the same sector.
 */
#ifndef POSADA_TESTS_CRASH_DISK_H
#define POSADA_TESTS_CRASH_DISK_H

#include <string.h>

#include "suite.h"
#include "qcow2_cuts.h"

enum { SECTOR = 512, ACTS = 4096 };

/*
 * A sector holds 64 times its value and its number: a value is a write's, BACKING, or 0,
 * all zeroes.
 */
enum { ZERO, BACKING, FIRST_WRITE };

static uint32_t *model; /* value of each sector, after all that was sent */

static uint64_t word_of(uint32_t value, uint64_t sector)
{
	return value == ZERO ? 0 : (uint64_t)value << 32 | sector;
}

static inline void fill_sector(uint8_t *buf, uint32_t value, uint64_t sector)
{
	uint64_t w = word_of(value, sector);

	for (unsigned i = 0; i < SECTOR; i += 8)
		memcpy(buf + i, &w, 8);
}

static bool is_sector(const uint8_t *buf, uint32_t value, uint64_t sector)
{
	uint64_t w = word_of(value, sector);

	return !memcmp(buf, &w, 8) && !memcmp(buf, buf + 8, SECTOR - 8);
}

/* What happened to a part of the disk, in the order in which it was sent. */
struct act {
	uint64_t first, end; /* sectors */
	uint32_t value;
	const uint32_t *values; /* of the whole disk instead, or NULL */
	unsigned sent, done; /* moments; done 0: not yet */
	bool durable; /* when done */
	bool hint; /* a discard that need not show, not even in the end */
};
static struct act *acts;
static unsigned n_acts;

/* Each that was answered makes sure what was answered before it was sent. */
static struct {
	unsigned sent, done;
} flushes[ACTS];
static unsigned n_flushes;

static uint64_t backed; /* sectors that show BACKING at first */

static inline unsigned add_act(uint64_t first, uint64_t end, uint32_t value, const uint32_t *values)
{
	ck_assert_uint_lt(n_acts, ACTS);
	acts[n_acts] = (struct act){
		.first = first, .end = end, .value = value, .values = values, .sent = ++cuts_now
	};
	for (uint64_t s = first; s < end; s++)
		model[s] = values ? values[s] : value;
	return n_acts++;
}

static inline unsigned add_flush(void)
{
	ck_assert_uint_lt(n_flushes, ACTS);
	flushes[n_flushes].sent = ++cuts_now;
	flushes[n_flushes].done = 0;
	return n_flushes++;
}

/* The last of the guest's flushes that was answered: when it was sent. */
static inline unsigned flushed_at(unsigned cut)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < n_flushes; i++)
		if (flushes[i].done && flushes[i].done <= cut && flushes[i].sent > sent)
			sent = flushes[i].sent;
	return sent;
}

static uint32_t act_value(const struct act *a, uint64_t sector)
{
	return a->values ? a->values[sector] : a->value;
}

static uint32_t at_first(uint64_t sector)
{
	return sector < backed ? BACKING : ZERO;
}

/*
 * Whether the sector may hold that, going back from what was sent last, by `cut`: to what was
 * answered before `sure` was, or makes sure itself and was answered by `durable`.
 */
static inline bool may_be(const uint8_t *buf, uint64_t sector, unsigned cut, unsigned sure,
			  unsigned durable)
{
	for (unsigned i = n_acts; i-- > 0;) {
		const struct act *a = &acts[i];

		if (a->sent > cut || sector < a->first || sector >= a->end)
			continue;
		if (is_sector(buf, act_value(a, sector), sector))
			return true;
		if (a->done && !a->hint && (a->done < sure || (a->durable && a->done <= durable)))
			return false;
	}
	return is_sector(buf, at_first(sector), sector);
}

#endif
