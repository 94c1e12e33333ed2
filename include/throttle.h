/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits on a drive by leaky buckets: an average rate, and a burst above it.
 * throttling.iops-total=, iops-read=, iops-write=, bps-total=, bps-read=,
 * bps-write=, each with -max= (burst rate) and -max-length= (seconds of burst),
 * and iops-size= (bytes that count as one operation). Pure arithmetic; time is given.
 */
#ifndef POSADA_THROTTLE_H
#define POSADA_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct opts;

enum throttle_kind {
	THROTTLE_BPS_TOTAL,
	THROTTLE_BPS_READ,
	THROTTLE_BPS_WRITE,
	THROTTLE_OPS_TOTAL,
	THROTTLE_OPS_READ,
	THROTTLE_OPS_WRITE,
	THROTTLE_KINDS
};

struct throttle_limit {
	uint64_t avg; /* a second; 0: none */
	uint64_t max; /* burst rate, a second; 0: avg / 10 worth of bucket */
	uint64_t max_length; /* seconds of burst; 1 at least */
};

struct blk_throttle {
	struct throttle_limit limit[THROTTLE_KINDS];
	uint64_t iops_size; /* 0: each request is one */
};

/* What has been let through. Zeroed to begin with. */
struct throttle_state {
	double level[THROTTLE_KINDS], burst_level[THROTTLE_KINDS];
	uint64_t last_ns;
};

/* Takes throttling.* keys (and -drive's older iops=, bps= ...) out of o. -EINVAL names the key. */
int throttle_parse(struct opts *o, struct blk_throttle *t, struct err *e);
/* total with read or write, max below avg ...: -EINVAL. */
int throttle_check(const struct blk_throttle *t, struct err *e);
bool throttle_on(const struct blk_throttle *t);
/* Nanoseconds until a request of this kind may go; 0: now. */
uint64_t throttle_wait(const struct blk_throttle *t, struct throttle_state *s, bool write,
		       uint64_t now_ns);
/* A request of len bytes goes. */
void throttle_account(const struct blk_throttle *t, struct throttle_state *s, bool write,
		      uint64_t len);

#endif
