/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file I/O: what the engines have in common. See include/aio.h.
 *
 * Requests of one round of the loop are queued; the deferred callback makes
 * operations of them, neighbours merged, hands them to the engine and looks
 * at once for what is done already, as I/O on cached pages usually is. The
 * rest shows by the engine's descriptor in the loop.
 *
 * The loop's thread, but aio_get and aio_put, which the main thread calls too.
 */
#include "aio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "aio_int.h"
#include "err.h"

/* Rounds that may complete without the loop looking at its other descriptors. */
enum { IN_LINE_MOST = 16 };

/* Shorter writes cost less than fallocate saves. */
enum { ROOM_FIRST_LEAST = 256 << 10 };

static pthread_mutex_t engines_lock = PTHREAD_MUTEX_INITIALIZER;
static struct aio *engines;

static void aio_kick(struct aio *a);

/* --- carrying out by system calls ------------------------------------------------ */

int aio_op_falloc(const struct aio_req *r)
{
	if (r->op == BLK_DISCARD || r->unmap)
		return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return FALLOC_FL_ZERO_RANGE; /* extends a file, as writing zeroes would */
}

static int64_t run_discard_dev(const struct aio_op *op)
{
	uint64_t range[2] = { op->off, op->len };

	return ioctl(op->reqs->fd, BLKDISCARD, range);
}

/* Only to be quicker: if there is no room the write says so. */
static void make_room(const struct aio_op *op)
{
	int rc = fallocate(op->reqs->fd, FALLOC_FL_KEEP_SIZE, (off_t)op->off, (off_t)op->len);

	(void)rc;
}

static int64_t run_once(const struct aio_op *op)
{
	const struct aio_req *r = op->reqs;

	switch (r->op) {
	case BLK_READ:
		return preadv(r->fd, op->iov, (int)op->n_iov, (off_t)op->off);
	case BLK_WRITE:
		if (r->room_first && op->len >= ROOM_FIRST_LEAST)
			make_room(op);
		return pwritev2(r->fd, op->iov, (int)op->n_iov, (off_t)op->off,
				r->fua ? RWF_DSYNC : 0);
	case BLK_FLUSH:
		return fdatasync(r->fd);
	case BLK_DISCARD:
		if (r->blkdev)
			return run_discard_dev(op);
		/* fall through */
	case BLK_WRITE_ZEROES:
		return fallocate(r->fd, aio_op_falloc(r), (off_t)op->off, (off_t)op->len);
	default:
		errno = ENOTSUP;
		return -1;
	}
}

int64_t aio_op_run(const struct aio_op *op)
{
	int64_t ret;

	do {
		ret = run_once(op);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

/*
 * For synchronous use there is no loop to come back to: operations wait in
 * a->pending until aio_poll, which carries them out itself.
 */
static void sync_send(struct aio *a)
{
	struct aio_op *op = aio_list_take(&a->pending);

	if (op)
		aio_op_ended(op, aio_op_run(op));
}

static const struct aio_engine aio_sync = { .name = "sync", .send = sync_send };

/* --- operations ------------------------------------------------------------------- */

/* NULL: no memory. */
static struct aio_op *op_new(struct aio *a, struct aio_req *r)
{
	struct aio_op *op = a->unused;

	if (op)
		a->unused = op->next;
	else if (!(op = malloc(sizeof(*op))))
		return NULL;
	op->a = a;
	op->next = NULL;
	op->reqs = r;
	op->iov = r->iov;
	op->n_iov = r->n_iov;
	op->own = NULL;
	op->off = r->off;
	op->len = r->len;
	op->moved = 0;
	op->blocking = false;
	return op;
}

static void op_free(struct aio_op *op)
{
	free(op->own);
	op->next = op->a->unused;
	op->a->unused = op;
}

static void req_done(struct aio *a, struct aio_req *r, int64_t ret)
{
	a->in_flight--;
	r->done(r, ret);
}

/* Frees op and calls back; merged neighbours got all they asked for. */
static void op_finish(struct aio_op *op, int64_t ret)
{
	struct aio *a = op->a;
	struct aio_req *r = op->reqs, *next;

	op_free(op);
	if (!r->merged) {
		req_done(a, r, ret);
		return;
	}
	for (; r; r = next) {
		next = r->merged;
		req_done(a, r, (int64_t)r->len);
	}
}

/* A merged operation went wrong somewhere: each request is tried by itself. */
static void op_split(struct aio_op *op)
{
	struct aio *a = op->a;
	struct aio_req *r = op->reqs, *next;

	op_free(op);
	for (; r; r = next) {
		next = r->merged;
		r->merged = NULL;
		op = op_new(a, r);
		if (op)
			aio_list_add(&a->pending, op);
		else
			req_done(a, r, -ENOMEM);
	}
}

/* Goes on behind the first n bytes; false: no memory. */
static bool op_advance(struct aio_op *op, uint64_t n)
{
	struct iovec *iov = malloc(op->n_iov * sizeof(*iov));
	unsigned i = 0, k = 0;
	uint64_t skip = n;

	if (!iov)
		return false;
	while (i < op->n_iov && skip >= op->iov[i].iov_len)
		skip -= op->iov[i++].iov_len;
	for (; i < op->n_iov; i++, k++) {
		iov[k].iov_base = (char *)op->iov[i].iov_base + skip;
		iov[k].iov_len = op->iov[i].iov_len - skip;
		skip = 0;
	}
	free(op->own);
	op->own = iov;
	op->iov = iov;
	op->n_iov = k;
	op->off += n;
	op->len -= n;
	op->moved += n;
	return true;
}

void aio_op_done(struct aio_op *op, int64_t ret)
{
	bool moves = op->reqs->op == BLK_READ || op->reqs->op == BLK_WRITE;

	if (ret == -EAGAIN || ret == -EINTR) {
		op->blocking = true;
		aio_list_add(&op->a->pending, op);
		return;
	}
	if (op->reqs->merged && ret != (int64_t)op->len) {
		op_split(op);
		return;
	}
	if (!moves || ret == (int64_t)op->len) {
		op_finish(op, ret < 0 ? ret : (int64_t)(op->moved + op->len));
		return;
	}
	if (ret > 0) {
		if (op_advance(op, (uint64_t)ret))
			aio_list_add(&op->a->pending, op);
		else
			op_finish(op, -ENOMEM);
		return;
	}
	/*
	 * The end of the file; O_DIRECT says EINVAL when the rest of a read that
	 * ended there is not aligned any more.
	 */
	if (op->reqs->op == BLK_READ && (!ret || (op->moved && ret == -EINVAL)))
		ret = (int64_t)op->moved;
	op_finish(op, ret);
}

void aio_op_ended(struct aio_op *op, int64_t ret)
{
	op->ret = ret;
	aio_list_add(&op->a->ended, op);
}

/* --- merging ------------------------------------------------------------------------ */

static bool may_merge(const struct aio_req *a, const struct aio_req *b)
{
	return (a->op == BLK_READ || a->op == BLK_WRITE) && a->op == b->op && a->fd == b->fd &&
	       a->fua == b->fua && a->off + a->len == b->off;
}

/*
 * Takes from the front of the queue what goes into one operation: how many
 * requests, and sums of their bytes and iovecs.
 */
static struct aio_req *take_run(struct aio *a, uint64_t *len, unsigned *n_iov, unsigned *n)
{
	struct aio_req *first = a->queue, *last = first;

	first->merged = NULL;
	*len = first->len;
	*n_iov = first->n_iov;
	*n = 1;
	for (struct aio_req *r = first->next; r && may_merge(last, r); r = r->next) {
		if (*n_iov + r->n_iov > AIO_MERGE_IOVS || *len + r->len > AIO_MERGE_BYTES)
			break;
		*len += r->len;
		*n_iov += r->n_iov;
		(*n)++;
		last->merged = r;
		r->merged = NULL;
		last = r;
	}
	a->queue = last->next;
	if (!a->queue)
		a->queue_end = &a->queue;
	return first;
}

static void make_op(struct aio *a)
{
	unsigned n_iov, n, k = 0;
	uint64_t len;
	struct aio_req *first = take_run(a, &len, &n_iov, &n);
	struct aio_op *op = op_new(a, first);

	if (op && n > 1) {
		op->own = malloc(n_iov * sizeof(*op->own));
		op->iov = op->own;
		op->n_iov = n_iov;
		op->len = len;
	}
	if (!op || (n > 1 && !op->own)) {
		if (op)
			op_free(op);
		for (struct aio_req *r = first, *next; r; r = next) {
			next = r->merged;
			req_done(a, r, -ENOMEM);
		}
		return;
	}
	for (struct aio_req *r = first; n > 1 && r; r = r->merged) {
		memcpy(op->own + k, r->iov, r->n_iov * sizeof(*r->iov));
		k += r->n_iov;
	}
	aio_list_add(&a->pending, op);
}

/* --- rounds ---------------------------------------------------------------------------- */

/* Callbacks may put the last reference: a lives until leave, which says whether it does on. */
static void enter(struct aio *a)
{
	a->nested++;
}

static void destroy(struct aio *a);

static bool leave(struct aio *a)
{
	if (--a->nested || !a->gone)
		return true;
	destroy(a);
	return false;
}

/* What is queued becomes operations, and these go out as far as there is room. */
static void send(struct aio *a)
{
	while (a->queue)
		make_op(a);
	if (a->pending.first || a->unsent)
		a->engine->send(a);
}

static bool reap(struct aio *a)
{
	struct aio_op *op;
	bool any = false;

	if (a->in_pool)
		aio_pool_reap(a);
	while ((op = aio_list_take(&a->ended))) {
		aio_op_done(op, op->ret);
		any = true;
	}
	if (a->in_kernel && a->engine->reap)
		any |= a->engine->reap(a);
	return any;
}

/* Sends and reaps; what waits for room or is to be continued goes out as well. */
static void aio_kick(struct aio *a)
{
	bool any;

	send(a);
	any = reap(a);
	if (any && a->pending.first)
		send(a);
	/* Does nothing else come back to what waits? */
	if (a->loop &&
	    (a->ended.first || a->unsent || (a->pending.first && !a->in_kernel && !a->in_pool)))
		loop_defer(a->loop, &a->defer);
}

static void on_defer(void *ctx)
{
	struct aio *a = ctx;

	enter(a);
	if (a->in_line++ < IN_LINE_MOST) {
		aio_kick(a);
	} else {
		send(a);
		if (a->ended.first)
			eventfd_write(a->efd, 1);
	}
	leave(a);
}

static void on_ready(void *ctx, uint32_t events)
{
	struct aio *a = ctx;

	enter(a);
	a->in_line = 0;
	aio_kick(a);
	leave(a);
}

static bool poll_engine(void *ctx)
{
	struct aio *a = ctx;

	if (!a->in_kernel && !a->in_pool)
		return false;
	a->in_line = 0;
	return aio_peek(a);
}

void aio_submit(struct aio *a, struct aio_req *r)
{
	r->next = NULL;
	*a->queue_end = r;
	a->queue_end = &r->next;
	a->in_flight++;
	if (a->loop)
		loop_defer(a->loop, &a->defer);
}

/* Until the kernel or the pool has something. */
static void wait_any(struct aio *a)
{
	struct pollfd p = { .fd = a->efd, .events = POLLIN };
	uint64_t n;

	if (poll(&p, 1, a->unsent ? 1 : -1) > 0 && read(a->efd, &n, sizeof(n)) < 0)
		return; /* another round of the caller's sees to it */
}

void aio_poll(struct aio *a)
{
	bool any;

	enter(a);
	do {
		send(a);
		any = reap(a);
		if (!any && (a->in_kernel || a->in_pool))
			wait_any(a);
	} while (!any && a->in_flight && !a->gone);
	if (a->loop && (a->queue || a->pending.first || a->ended.first))
		loop_defer(a->loop, &a->defer);
	leave(a);
}

bool aio_peek(struct aio *a)
{
	bool any;

	enter(a);
	any = reap(a);
	if (any)
		send(a);
	leave(a);
	return any;
}

unsigned aio_in_flight(const struct aio *a)
{
	return a->in_flight;
}

const char *aio_name(const struct aio *a)
{
	return a->engine->name;
}

/* --- life ----------------------------------------------------------------------------- */

static void destroy(struct aio *a)
{
	struct aio_op *op;

	if (a->loop) {
		loop_defer_cancel(a->loop, &a->defer);
		loop_fd_del(&a->watch);
		if (a->poller.ctx)
			loop_poller_del(a->loop, &a->poller);
	}
	if (a->engine->close)
		a->engine->close(a);
	aio_pool_leave(a);
	if (a->efd >= 0)
		close(a->efd);
	while ((op = a->unused)) {
		a->unused = op->next;
		free(op);
	}
	free(a);
}

static int open_engine(struct aio *a, const struct aio_engine *engine, struct err *e)
{
	int ret;

	a->engine = engine;
	ret = engine->open ? engine->open(a, e) : 0;
	if (ret)
		a->engine = &aio_sync;
	return ret;
}

static int pick_engine(struct aio *a, struct err *e)
{
	switch (a->kind) {
	case BLK_AIO_THREADS:
		return open_engine(a, &aio_threads, e);
	case BLK_AIO_NATIVE:
		return open_engine(a, &aio_libaio, e);
	case BLK_AIO_IO_URING:
		return open_engine(a, &aio_uring, e);
	default:
		if (!open_engine(a, &aio_uring, NULL))
			return 0;
		return open_engine(a, &aio_threads, e);
	}
}

static int watch(struct aio *a, struct err *e)
{
	/* Edge-triggered, its counter need not be read. */
	int ret = loop_fd_add(a->loop, &a->watch, a->efd, EPOLLIN | EPOLLET, on_ready, a);

	if (ret)
		return err_set(e, ERR_HOST, -ret, "the event loop refuses %s: %s", a->engine->name,
			       strerror(-ret));
	a->poller = (struct loop_poller){ .poll = poll_engine, .ctx = a };
	loop_poller_add(a->loop, &a->poller);
	return 0;
}

struct opening {
	struct aio *a;
	struct err *e;
	int ret;
};

/* On the loop's thread. */
static void open_here(void *ctx)
{
	struct opening *o = ctx;
	struct aio *a = o->a;

	/* Without a loop, an engine asked for by name is only to be there. */
	if (a->loop || a->kind != BLK_AIO_AUTO)
		o->ret = pick_engine(a, o->e);
	if (!o->ret && a->loop)
		o->ret = watch(a, o->e);
	if (o->ret) {
		destroy(a);
		return;
	}
	if (a->loop)
		return;
	if (a->engine->close)
		a->engine->close(a);
	a->engine = &aio_sync;
}

static void close_here(void *ctx)
{
	struct aio *a = ctx;

	if (a->nested)
		a->gone = true;
	else
		destroy(a);
}

static int create(struct loop *l, enum blk_aio kind, struct aio **out, struct err *e)
{
	struct aio *a = calloc(1, sizeof(*a));
	struct opening o = { .a = a, .e = e };

	if (!a)
		return err_set(e, ERR_HOST, ENOMEM, "no memory for asynchronous I/O");
	a->engine = &aio_sync;
	a->loop = l;
	a->kind = kind;
	a->refs = 1;
	a->queue_end = &a->queue;
	aio_list_init(&a->pending);
	aio_list_init(&a->ended);
	a->defer = (struct loop_defer){ .cb = on_defer, .ctx = a };
	a->efd = l ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	if (l && a->efd < 0) {
		o.ret = err_set(e, ERR_HOST, errno, "the host refuses an eventfd: %s",
				strerror(errno));
		err_hint(e, "raise the limit on open files (ulimit -n)");
		free(a);
		return o.ret;
	}
	if (l)
		loop_call(l, open_here, &o);
	else
		open_here(&o);
	*out = a;
	return o.ret;
}

int aio_get(struct loop *l, enum blk_aio kind, bool direct, struct aio **out, struct err *e)
{
	struct aio *a;
	int ret;

	if (kind == BLK_AIO_NATIVE && !direct) {
		err_set(e, ERR_USAGE, EINVAL,
			"aio=native needs cache.direct=on: Linux AIO is only asynchronous past the "
			"page cache");
		err_hint(e, "add cache=none (or cache.direct=on), or use aio=io_uring or "
			    "aio=threads");
		return -EINVAL;
	}
	pthread_mutex_lock(&engines_lock);
	for (a = engines; a && (a->loop != l || a->kind != kind); a = a->next)
		;
	if (a)
		a->refs++;
	pthread_mutex_unlock(&engines_lock);
	if (a) {
		*out = a;
		return 0;
	}
	ret = create(l, kind, &a, e);
	if (ret)
		return ret;
	pthread_mutex_lock(&engines_lock);
	a->next = engines;
	engines = a;
	pthread_mutex_unlock(&engines_lock);
	*out = a;
	return 0;
}

void aio_put(struct aio *a)
{
	struct aio **at = &engines;
	bool last;

	if (!a)
		return;
	pthread_mutex_lock(&engines_lock);
	last = !--a->refs;
	while (last && *at != a)
		at = &(*at)->next;
	if (last)
		*at = a->next;
	pthread_mutex_unlock(&engines_lock);
	if (!last)
		return;
	if (a->loop)
		loop_call(a->loop, close_here, a);
	else
		close_here(a);
}
