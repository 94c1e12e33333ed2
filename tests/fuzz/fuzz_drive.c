/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: any text as -drive (first byte even) or -blockdev (odd), several
 * in lines. No file is touched: the drivers of files are left out, so that only
 * null-co and what lies above it opens. Each drive that comes to be is read and written.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/fake_loop.h"
#include "block.h"
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct blk_driver blk_raw, blk_null_co, blk_null_aio;

/* blkdebug's rules are a file: it is fuzzed by its keys alone. */
static struct blk_driver debug;
extern const struct blk_driver blk_blkdebug;

const struct blk_driver *const blk_drivers[] = {
	&blk_raw, &debug, &blk_null_co, &blk_null_aio, NULL,
};

static int open_without_rules(struct blk_node *n, struct err *e)
{
	return 0;
}

/* A wait of the code under test passes at once. */
int nanosleep(const struct timespec *ts, struct timespec *left)
{
	fake_loop.now_ns += (uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec;
	return 0;
}

static unsigned done;

static void on_done(struct blk_req *r, int ret)
{
	done++;
}

static void exercise(struct blk *b)
{
	static uint8_t buf[4096];
	const struct iovec iov = { buf, sizeof(buf) };
	struct blk_req r[BLK_OPS] = { 0 };
	struct err e;

	if (blk_attach(b, NULL, NULL, !blk_readonly(b), &fake_loop, &e))
		return;
	done = 0;
	for (unsigned op = 0; op < BLK_OPS; op++) {
		r[op].op = op;
		r[op].len = op == BLK_FLUSH ? 0 : sizeof(buf);
		r[op].iov = &iov;
		r[op].n_iov = 1;
		r[op].done = on_done;
		blk_submit(b, &r[op]);
	}
	fake_advance(10000000000u);
	blk_detach(b);
	if (done != BLK_OPS)
		abort();
}

static void add(struct blk_set *s, char *line, bool blockdev)
{
	struct err e = { 0 };
	struct drive d;
	int rc = blockdev ? blk_add_blockdev(s, line, &e) : blk_add_drive(s, line, &d, &e);

	/* It is there, or it says why not. */
	if (rc > 0 || (rc && (!e.msg[0] || !e.status || rc != -e.code)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[4097], *at = text, *line;
	struct blk_set *s;
	struct err e;

	if (!size || size > sizeof(text) - 1)
		return 0;
	debug = blk_blkdebug;
	debug.open = open_without_rules;
	memcpy(text, data, size);
	text[size] = '\0';
	fake_loop.now_ns = 1000000000;
	if (blk_set_create(&s, &fake_loop, NULL, &e))
		abort();
	while ((line = strsep(&at, "\n"))) {
		if (*line)
			add(s, line + 1, *line & 1);
	}
	for (struct blk *b = NULL; (b = blk_next(s, b));)
		exercise(b);
	blk_set_destroy(s);
	fake_run();
	return 0;
}
