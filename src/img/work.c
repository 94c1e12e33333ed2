/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Coroutines that do the same work side by side, on the one loop of the program. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "co.h"
#include "img.h"
#include "loop.h"

struct running {
	struct img_work *w;
	unsigned left;
	int ret;
	struct loop *loop;
	struct loop_defer start;
};

struct loop *img_loop(struct err *e)
{
	static struct loop *loop;

	if (!loop)
		loop_create(&loop, e);
	return loop;
}

static void worker(void *arg)
{
	struct running *r = arg;
	int ret = 0;

	while (!ret && !r->ret)
		ret = r->w->step(r->w, r->w->ctx);
	if (ret < 0 && !r->ret)
		r->ret = ret;
	if (!--r->left)
		loop_quit(r->loop);
}

/* On the loop, so that what the workers submit first goes out together. */
static void start(void *arg)
{
	struct running *r = arg;
	unsigned n = r->w->n;
	unsigned made = 0;

	r->left = n + 1;
	for (; made < n; made++) {
		struct co *c = co_create(worker, r);

		if (!c)
			break;
		co_enter(c);
	}
	if (!made)
		r->ret = -ENOMEM;
	r->left -= n - made + 1;
	if (!r->left)
		loop_quit(r->loop);
}

static int attach(struct img_work *w, struct loop *l, struct err *e)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		int rc = blk_node_attach(w->node[i], l, e);

		while (rc && i--)
			blk_node_detach(w->node[i]);
		if (rc)
			return rc;
	}
	return 0;
}

int img_work(struct img_work *w, struct err *e)
{
	struct running r = { .w = w, .loop = img_loop(e) };
	int rc = r.loop ? attach(w, r.loop, e) : -ENOMEM;

	if (rc)
		return rc;
	e->msg[0] = 0;
	r.start.cb = start;
	r.start.ctx = &r;
	loop_defer(r.loop, &r.start);
	loop_run(r.loop);
	for (unsigned i = 0; i < w->n_nodes; i++) {
		blk_node_drain(w->node[i]);
		blk_node_detach(w->node[i]);
	}
	if (r.ret && !e->msg[0])
		err_set(e, ERR_HOST, -r.ret, "%s", strerror(-r.ret));
	return r.ret;
}

void img_limit_rate(uint64_t rate, uint64_t begun_ns, uint64_t done)
{
	struct timespec ts;
	uint64_t due;

	if (!rate)
		return;
	due = begun_ns + (uint64_t)((unsigned __int128)done * 1000000000 / rate);
	ts = (struct timespec){ .tv_sec = (time_t)(due / 1000000000),
				.tv_nsec = (long)(due % 1000000000) };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* --- buffers --- */

/* Those that wait for reuse, each pointing to the next. */
static void *spare;

void *img_buffer(void)
{
	void *buf = spare;

	if (!buf)
		return aligned_alloc(4096, IMG_PIECE);
	memcpy(&spare, buf, sizeof(spare));
	return buf;
}

void img_buffer_done(void *buf)
{
	if (!buf)
		return;
	memcpy(buf, &spare, sizeof(spare));
	spare = buf;
}
