/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filter blkdebug: passes requests on to an image, but for those that a rule
 * makes fail or wait. For tests of all that lies above, and of guests.
 *
 *   -drive file=blkdebug:RULES:IMAGE,format=raw
 *   -blockdev
 * driver=blkdebug,node-name=d0,image=NODE,inject-error.0.iotype=write,inject-error.0.errno=ENOSPC
 *
 * The file RULES has a section for each rule, with the same keys:
 *
 *   [inject-error]
 *   iotype = "write"       # read, write, write-zeroes, discard, flush; none: all
 *   event = "write_aio"    # or by the event: read_aio, write_aio, flush_to_disk ...
 *   sector = "100"         # requests that touch it; none: all
 *   errno = "28"           # or ENOSPC; 0: no error. Without it EIO
 *   once = "on"            # the rule is used up by the first request
 *   delay-ns = "1000000"   # the request waits for that long
 *
 * The first rule that fits a request is carried out. Node's thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block_int.h"
#include "err.h"
#include "internal.h"
#include "opts.h"
#include "props.h"

enum { RULES_MAX = 256, LINE_MAX_LEN = 512, ALL_OPS = (1 << BLK_OPS) - 1 };

#define DELAY_MAX 3600000000000u

struct rule {
	unsigned ops; /* bit n: enum blk_op n */
	int error; /* 0: none */
	bool any_sector, once, spent;
	uint64_t sector, delay_ns;
};

struct blkdebug {
	char *config;
	struct rule *rule;
	unsigned n_rules;
	/* requests that wait: scratch[0] is when they go on, scratch[1] their error */
	struct blk_io *waiting;
	unsigned n_waiting;
	struct loop_timer timer;
};

static const struct prop blkdebug_props[] = {
	PROP(struct blkdebug, config, PROP_STR, "config", NULL, "file with rules"),
	PROP_END,
};

/* --- rules ---------------------------------------------------------------------------- */

static const char *const iotypes[] = {
	[BLK_READ] = "read",
	[BLK_WRITE] = "write",
	[BLK_FLUSH] = "flush",
	[BLK_DISCARD] = "discard",
	[BLK_WRITE_ZEROES] = "write-zeroes",
	[BLK_OPS] = "none",
};

static const struct {
	const char *name;
	unsigned ops;
} events[] = {
	{ "none", ALL_OPS },
	{ "read_aio", 1 << BLK_READ },
	{ "write_aio", 1 << BLK_WRITE | 1 << BLK_WRITE_ZEROES },
	{ "flush_to_os", 1 << BLK_FLUSH },
	{ "flush_to_disk", 1 << BLK_FLUSH },
};

static int parse_errno(const char *val, int *out, struct err *e)
{
	uint64_t n;
	int rc;

	for (int code = 1; code < 200; code++) {
		const char *name = strerrorname_np(code);

		if (name && !strcmp(name, val)) {
			*out = code;
			return 0;
		}
	}
	rc = parse_u64(val, &n, e);
	if (!rc && n < 4096) {
		*out = (int)n;
		return 0;
	}
	err_set(e, ERR_USAGE, EINVAL, "errno=%s: not an error", val);
	err_hint(e, "a number or a name, as in errno=28 or errno=ENOSPC");
	return -EINVAL;
}

static int parse_delay(const char *val, uint64_t *out, struct err *e)
{
	int rc = parse_u64(val, out, e);

	if (!rc && *out > DELAY_MAX)
		rc = err_set(e, ERR_USAGE, ERANGE, "delay-ns=%s: more than an hour", val);
	return rc;
}

static int parse_iotype(struct rule *r, const char *val, struct err *e)
{
	for (unsigned i = 0; i <= BLK_OPS; i++) {
		if (strcmp(iotypes[i], val) != 0)
			continue;
		r->ops = i == BLK_OPS ? ALL_OPS : 1u << i;
		return 0;
	}
	err_set(e, ERR_USAGE, EINVAL, "iotype=%s: no such kind of request", val);
	err_suggest(e, val, iotypes, ARRAY_SIZE(iotypes));
	return -EINVAL;
}

static int parse_event(struct rule *r, const char *val, struct err *e)
{
	const char *names[ARRAY_SIZE(events)];

	for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
		names[i] = events[i].name;
		if (strcmp(names[i], val) != 0)
			continue;
		r->ops &= events[i].ops;
		return 0;
	}
	err_set(e, ERR_USAGE, EINVAL, "event=%s: no such event", val);
	err_suggest(e, val, names, ARRAY_SIZE(names));
	return -EINVAL;
}

static int rule_key(struct rule *r, const char *key, const char *val, struct err *e)
{
	static const char *const keys[] = { "event", "iotype",      "errno",   "sector",
					    "once",  "immediately", "delay-ns" };
	bool ignored;

	if (!strcmp(key, "event"))
		return parse_event(r, val, e);
	if (!strcmp(key, "iotype"))
		return parse_iotype(r, val, e);
	if (!strcmp(key, "errno"))
		return parse_errno(val, &r->error, e);
	if (!strcmp(key, "sector")) {
		r->any_sector = !strcmp(val, "-1");
		return r->any_sector ? 0 : parse_u64(val, &r->sector, e);
	}
	if (!strcmp(key, "once"))
		return parse_bool(val, &r->once, e);
	/* Errors always come back on the loop, soon. */
	if (!strcmp(key, "immediately"))
		return parse_bool(val, &ignored, e);
	if (!strcmp(key, "delay-ns"))
		return parse_delay(val, &r->delay_ns, e);
	err_set(e, ERR_USAGE, EINVAL, "unknown key '%s'", key);
	err_suggest(e, key, keys, ARRAY_SIZE(keys));
	return -EINVAL;
}

/* Rule n, made with those before it where they are new. NULL with e filled. */
static struct rule *rule_at(struct blkdebug *d, uint64_t n, struct err *e)
{
	struct rule *r;

	if (n >= RULES_MAX) {
		err_set(e, ERR_USAGE, EINVAL, "more than %d rules", RULES_MAX);
		return NULL;
	}
	if (n < d->n_rules)
		return &d->rule[n];
	r = realloc(d->rule, (n + 1) * sizeof(*r));
	if (!r) {
		err_set(e, ERR_HOST, ENOMEM, "out of memory");
		return NULL;
	}
	d->rule = r;
	for (; d->n_rules <= n; d->n_rules++)
		r[d->n_rules] = (struct rule){ .ops = ALL_OPS, .error = EIO, .any_sector = true };
	return &r[n];
}

/* Keys inject-error.N.KEY. */
static int blkdebug_keys(struct blk_node *n, struct opts *o, struct err *e)
{
	static const char prefix[] = "inject-error.";
	struct blkdebug *d = n->p;

	for (size_t i = 0; i < o->n; i++) {
		struct opt *opt = &o->opt[i];
		const char *p = opt->key + sizeof(prefix) - 1;
		struct rule *r;
		char *key;
		unsigned long at;
		int rc;

		if (opt->used || strncmp(opt->key, prefix, sizeof(prefix) - 1) != 0)
			continue;
		at = strtoul(p, &key, 10);
		if (*p < '0' || *p > '9' || *key != '.')
			return err_set(e, ERR_USAGE, EINVAL, "%s: not inject-error.NUMBER.KEY",
				       opt->key);
		r = rule_at(d, at, e);
		if (!r)
			return -EINVAL;
		rc = rule_key(r, key + 1, opt->val, e);
		if (rc) {
			err_prefix(e, "inject-error.%lu: ", at);
			return rc;
		}
		opt->used = true;
	}
	return 0;
}

/* Cuts blanks at both ends, and a pair of quotes. */
static char *trim(char *s)
{
	size_t len;

	s += strspn(s, " \t");
	len = strlen(s);
	while (len && strchr(" \t\r\n", s[len - 1]))
		s[--len] = '\0';
	if (len >= 2 && *s == '"' && s[len - 1] == '"') {
		s[len - 1] = '\0';
		s++;
	}
	return s;
}

/* *r: the rule that the section is for. */
static int rules_line(struct blkdebug *d, char *line, struct rule **r, struct err *e)
{
	char *text, *eq;

	line[strcspn(line, "#")] = '\0';
	text = trim(line);
	if (!*text)
		return 0;
	if (*text == '[') {
		if (strcmp(text, "[inject-error]") != 0) {
			err_set(e, ERR_INPUT, EINVAL, "no such section: %s", text);
			err_hint(e, "known: [inject-error]");
			return -EINVAL;
		}
		*r = rule_at(d, d->n_rules, e);
		return *r ? 0 : -EINVAL;
	}
	eq = strchr(text, '=');
	if (!eq || !*r)
		return err_set(e, ERR_INPUT, EINVAL, "%s",
			       eq ? "a key before the first section"
				  : "neither [section] nor key = value");
	*eq = '\0';
	return rule_key(*r, trim(text), trim(eq + 1), e);
}

static int read_rules(struct blkdebug *d, struct err *e)
{
	FILE *f = fopen(d->config, "re");
	char line[LINE_MAX_LEN];
	struct rule *r = NULL;
	unsigned n = 0;
	int rc = 0;

	if (!f) {
		rc = errno;
		err_set(e, ERR_INPUT, rc, "config=%s: cannot read the rules: %s", d->config,
			strerror(rc));
		return -rc;
	}
	while (!rc && fgets(line, sizeof(line), f)) {
		n++;
		rc = rules_line(d, line, &r, e);
		if (rc)
			err_prefix(e, "config=%s, line %u: ", d->config, n);
	}
	if (!rc && ferror(f))
		rc = err_set(e, ERR_INPUT, EIO, "config=%s: cannot read the rules", d->config);
	fclose(f);
	return rc;
}

static bool fits(const struct rule *r, const struct blk_io *io)
{
	if (r->spent || !(r->ops & 1u << io->op))
		return false;
	if (r->any_sector)
		return true;
	return io->op != BLK_FLUSH && io->len && r->sector >= io->off / 512 &&
	       r->sector <= (io->off + io->len - 1) / 512;
}

/* --- requests ----------------------------------------------------------------------------- */

static void go_on(struct blk_node *n, struct blk_io *io, int error)
{
	if (error)
		blk_io_done_later(io, -error);
	else
		blk_node_submit(n->file, io);
}

/* UINT64_MAX: nothing waits. */
static uint64_t next_deadline(const struct blkdebug *d)
{
	uint64_t at = UINT64_MAX;

	for (const struct blk_io *io = d->waiting; io; io = io->next)
		if (io->scratch[0] < at)
			at = io->scratch[0];
	return at;
}

static void run_due(struct blk_node *n)
{
	struct blkdebug *d = n->p;
	struct blk_io *io, **at = &d->waiting;
	uint64_t now = loop_now_ns();

	while ((io = *at)) {
		if (io->scratch[0] > now) {
			at = &io->next;
			continue;
		}
		*at = io->next;
		d->n_waiting--;
		go_on(n, io, (int)io->scratch[1]);
	}
	if (d->waiting && n->loop)
		loop_timer_set(&d->timer, next_deadline(d));
}

static void blkdebug_timer(void *ctx)
{
	run_due(ctx);
}

static void wait_for(struct blk_node *n, struct blk_io *io, const struct rule *r)
{
	struct blkdebug *d = n->p;
	struct blk_io **at = &d->waiting;

	while (*at)
		at = &(*at)->next;
	io->scratch[0] = loop_now_ns() + r->delay_ns;
	io->scratch[1] = (uint64_t)r->error;
	io->next = NULL;
	*at = io;
	d->n_waiting++;
	if (n->loop)
		loop_timer_set(&d->timer, next_deadline(d));
}

static void blkdebug_submit(struct blk_node *n, struct blk_io *io)
{
	struct blkdebug *d = n->p;
	struct rule *r = NULL;

	for (unsigned i = 0; !r && i < d->n_rules; i++)
		if (fits(&d->rule[i], io))
			r = &d->rule[i];
	if (!r) {
		blk_node_submit(n->file, io);
		return;
	}
	r->spent = r->once;
	if (r->delay_ns)
		wait_for(n, io, r);
	else
		go_on(n, io, r->error);
}

static void blkdebug_poll(struct blk_node *n)
{
	struct blkdebug *d = n->p;
	uint64_t now = loop_now_ns(), at = next_deadline(d);
	struct timespec ts;

	if (d->waiting && at > now && !blk_node_in_flight(n->file)) {
		ts.tv_sec = (time_t)((at - now) / 1000000000u);
		ts.tv_nsec = (long)((at - now) % 1000000000u);
		nanosleep(&ts, NULL);
	}
	run_due(n);
	blk_node_poll(n->file);
}

static unsigned blkdebug_in_flight(const struct blk_node *n)
{
	return ((const struct blkdebug *)n->p)->n_waiting;
}

/* --- life ------------------------------------------------------------------------------------ */

static int blkdebug_open(struct blk_node *n, struct err *e)
{
	struct blkdebug *d = n->p;

	return d->config && *d->config ? read_rules(d, e) : 0;
}

static void blkdebug_close(struct blk_node *n)
{
	free(((struct blkdebug *)n->p)->rule);
}

static int blkdebug_attach(struct blk_node *n, struct loop *l, struct err *e)
{
	loop_timer_init(&((struct blkdebug *)n->p)->timer, l, blkdebug_timer, n);
	return 0;
}

static void blkdebug_detach(struct blk_node *n)
{
	loop_timer_cancel(&((struct blkdebug *)n->p)->timer);
}

static int blkdebug_refresh(struct blk_node *n, struct err *e)
{
	int rc = n->file->drv->refresh ? n->file->drv->refresh(n->file, e) : 0;

	n->size = n->file->size;
	return rc;
}

static int blkdebug_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	int rc = blk_node_truncate(n->file, size, e);

	n->size = n->file->size;
	return rc;
}

static int blkdebug_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
			   unsigned *flags)
{
	return blk_node_status(n->file, off, len, bytes, flags);
}

const struct blk_driver blk_blkdebug = {
	.name = "blkdebug",
	.desc = "makes requests to an image fail or wait, by rules",
	.filter = true,
	.child = "image",
	.size = sizeof(struct blkdebug),
	.props = blkdebug_props,
	.keys = blkdebug_keys,
	.open = blkdebug_open,
	.close = blkdebug_close,
	.submit = blkdebug_submit,
	.reopen = blk_reopen_nothing,
	.poll = blkdebug_poll,
	.in_flight = blkdebug_in_flight,
	.attach = blkdebug_attach,
	.detach = blkdebug_detach,
	.refresh = blkdebug_refresh,
	.truncate = blkdebug_truncate,
	.status = blkdebug_status,
};
