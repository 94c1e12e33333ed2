/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits on a drive: see include/throttle.h. Pure arithmetic; any thread. */
#include "throttle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "err.h"
#include "opts.h"

/* Rates beyond this are as good as none, and make sums overflow. */
#define RATE_MAX 1000000000000000ull /* 10^15 */
#define LENGTH_MAX 86400u /* a day of burst */

static const struct {
	const char *name; /* throttling.NAME */
	const char *old; /* -drive's first names for it */
	const char *old_max;
} names[THROTTLE_KINDS] = {
	[THROTTLE_BPS_TOTAL] = { "bps-total", "bps", "bps_max" },
	[THROTTLE_BPS_READ] = { "bps-read", "bps_rd", "bps_rd_max" },
	[THROTTLE_BPS_WRITE] = { "bps-write", "bps_wr", "bps_wr_max" },
	[THROTTLE_OPS_TOTAL] = { "iops-total", "iops", "iops_max" },
	[THROTTLE_OPS_READ] = { "iops-read", "iops_rd", "iops_rd_max" },
	[THROTTLE_OPS_WRITE] = { "iops-write", "iops_wr", "iops_wr_max" },
};

/* The buckets that a request of either direction is counted in. */
static const enum throttle_kind counted[2][4] = {
	{ THROTTLE_BPS_TOTAL, THROTTLE_OPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_OPS_READ },
	{ THROTTLE_BPS_TOTAL, THROTTLE_OPS_TOTAL, THROTTLE_BPS_WRITE, THROTTLE_OPS_WRITE },
};

static int take(struct opts *o, const char *key, uint64_t *out, struct err *e)
{
	const char *val = opts_get(o, key);
	int rc = val ? parse_size(val, 1, out, e) : 0;

	if (rc)
		err_prefix(e, "%s=%s: ", key, val);
	return rc;
}

int throttle_parse(struct opts *o, struct blk_throttle *t, struct err *e)
{
	char key[64];
	int rc = 0;

	if (opts_get(o, "throttling.group")) {
		err_set(e, ERR_USAGE, ENOTSUP, "throttling.group=: drives cannot share limits");
		err_hint(e, "give each drive limits of its own");
		return -ENOTSUP;
	}
	for (unsigned k = 0; k < THROTTLE_KINDS && !rc; k++) {
		struct throttle_limit *l = &t->limit[k];

		rc = take(o, names[k].old, &l->avg, e);
		if (!rc)
			rc = take(o, names[k].old_max, &l->max, e);
		snprintf(key, sizeof(key), "throttling.%s", names[k].name);
		if (!rc)
			rc = take(o, key, &l->avg, e);
		snprintf(key, sizeof(key), "throttling.%s-max", names[k].name);
		if (!rc)
			rc = take(o, key, &l->max, e);
		snprintf(key, sizeof(key), "throttling.%s-max-length", names[k].name);
		if (!rc)
			rc = take(o, key, &l->max_length, e);
	}
	if (!rc)
		rc = take(o, "iops_size", &t->iops_size, e);
	if (!rc)
		rc = take(o, "throttling.iops-size", &t->iops_size, e);
	return rc ? rc : throttle_check(t, e);
}

static int check_limit(const struct throttle_limit *l, const char *name, struct err *e)
{
	if (l->avg > RATE_MAX || l->max > RATE_MAX)
		return err_set(e, ERR_USAGE, ERANGE, "throttling.%s: more than %llu a second", name,
			       RATE_MAX);
	if (l->max_length > LENGTH_MAX)
		return err_set(e, ERR_USAGE, ERANGE,
			       "throttling.%s-max-length=%" PRIu64 ": more than %u seconds", name,
			       l->max_length, LENGTH_MAX);
	if (l->max && !l->avg) {
		err_set(e, ERR_USAGE, EINVAL,
			"throttling.%s-max: a burst needs a limit that it exceeds", name);
		err_hint(e, "add throttling.%s=", name);
		return -EINVAL;
	}
	if (l->max && l->max < l->avg)
		return err_set(e, ERR_USAGE, EINVAL,
			       "throttling.%s-max=%" PRIu64 " is below throttling.%s=%" PRIu64,
			       name, l->max, name, l->avg);
	if (l->max_length > 1 && !l->max) {
		err_set(e, ERR_USAGE, EINVAL,
			"throttling.%s-max-length: a length of burst without a rate of burst",
			name);
		err_hint(e, "add throttling.%s-max=", name);
		return -EINVAL;
	}
	return 0;
}

int throttle_check(const struct blk_throttle *t, struct err *e)
{
	bool ops = false;

	for (unsigned k = 0; k < THROTTLE_KINDS; k += 3) {
		const struct throttle_limit *l = &t->limit[k];

		if ((l[0].avg && (l[1].avg || l[2].avg)) || (l[0].max && (l[1].max || l[2].max)))
			return err_set(e, ERR_USAGE, EINVAL,
				       "throttling: %s together with %s or %s", names[k].name,
				       names[k + 1].name, names[k + 2].name);
	}
	for (unsigned k = 0; k < THROTTLE_KINDS; k++) {
		int rc = check_limit(&t->limit[k], names[k].name, e);

		if (rc)
			return rc;
		ops |= k >= THROTTLE_OPS_TOTAL && t->limit[k].avg;
	}
	if (t->iops_size && !ops) {
		err_set(e, ERR_USAGE, EINVAL, "throttling.iops-size without a limit on operations");
		err_hint(e, "add throttling.iops-total=");
		return -EINVAL;
	}
	return 0;
}

bool throttle_on(const struct blk_throttle *t)
{
	for (unsigned k = 0; k < THROTTLE_KINDS; k++)
		if (t->limit[k].avg)
			return true;
	return false;
}

/*
 * Buckets are drained at the rate that is allowed and filled by what goes. The
 * level may stand at most as high as the bucket: a tenth of a second at the
 * average rate or, with bursts, all that a burst of full length brings in. A second,
 * small bucket that is drained at the burst rate holds the burst to that rate.
 */
static double room(const struct throttle_limit *l)
{
	return l->max ? (double)l->max * (double)(l->max_length ? l->max_length : 1)
		      : (double)l->avg / 10;
}

static bool long_burst(const struct throttle_limit *l)
{
	return l->max && l->max_length > 1;
}

static void drain_bucket(double *level, uint64_t rate, double seconds)
{
	*level -= (double)rate * seconds;
	if (*level < 0)
		*level = 0;
}

static void drain_all(const struct blk_throttle *t, struct throttle_state *s, uint64_t now_ns)
{
	double seconds;

	if (now_ns <= s->last_ns)
		return;
	seconds = (double)(now_ns - s->last_ns) / 1e9;
	s->last_ns = now_ns;
	for (unsigned k = 0; k < THROTTLE_KINDS; k++) {
		drain_bucket(&s->level[k], t->limit[k].avg, seconds);
		drain_bucket(&s->burst_level[k], t->limit[k].max, seconds);
	}
}

/* Nanoseconds until what is too much has drained; rounded up, so that it has then. */
static uint64_t until(double excess, uint64_t rate)
{
	return excess <= 0 ? 0 : (uint64_t)(excess / (double)rate * 1e9) + 1;
}

uint64_t throttle_wait(const struct blk_throttle *t, struct throttle_state *s, bool write,
		       uint64_t now_ns)
{
	uint64_t wait = 0;

	drain_all(t, s, now_ns);
	for (unsigned i = 0; i < 4; i++) {
		enum throttle_kind k = counted[write][i];
		const struct throttle_limit *l = &t->limit[k];
		uint64_t w;

		if (!l->avg)
			continue;
		w = until(s->level[k] - room(l), l->avg);
		if (!w && long_burst(l))
			w = until(s->burst_level[k] - (double)l->max / 10, l->max);
		if (w > wait)
			wait = w;
	}
	return wait;
}

void throttle_account(const struct blk_throttle *t, struct throttle_state *s, bool write,
		      uint64_t len)
{
	for (unsigned i = 0; i < 4; i++) {
		enum throttle_kind k = counted[write][i];
		double units = (double)len;

		if (k >= THROTTLE_OPS_TOTAL)
			units = t->iops_size && len > t->iops_size
					? (double)len / (double)t->iops_size
					: 1;
		s->level[k] += units;
		s->burst_level[k] += units;
	}
}
