/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The front of a drive: what lies between a device and the nodes. It refuses
 * what the disk cannot do, holds back what throttling or an error delays,
 * applies the cache mode and the error policy, and counts.
 *
 * A request is the device's, then, one after the other: queued by throttling
 * (blk->queue), with the nodes (blk_io), perhaps held after an error (blk->held),
 * and done. All this is on the drive's loop and takes neither lock nor memory, but
 * for requests larger than the nodes take (struct parts).
 *
 * The host hears of errors through a timer on the main loop, which any thread can
 * set; blk->note_lock guards what it is to be told.
 */
#include "block.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"
#include "iov.h"
#include "log.h"

#define RETRY_NS 1000000000u /* between looks whether a full disk has room again */
#define SAY_NS 1000000000u /* between messages about errors */

enum { SECTOR = 512, NOTES = 16, TRAY_NOTES = 8, ZERO_IOV = 16 };

const char *const blk_detect_names[] = { "off", "on", "unmap", NULL };
const char *const blk_on_error_names[] = { "report", "ignore", "stop", "enospc", NULL };

struct queue {
	struct blk_req *first, **end;
};

struct note {
	bool write;
	int error;
	const char *action;
};

struct blk {
	/* what every request looks at */
	struct blk_node *root; /* NULL: no medium */
	uint64_t size;
	bool refuse_writes; /* read-only, or its device only reads */
	bool discard;
	bool through; /* writes are on stable storage when done */
	bool no_flush;
	bool detect; /* writes of zeroes are found */
	bool throttled;
	unsigned in_flight; /* given to us and not done */
	unsigned n_held; /* of them: held */
	uint64_t writes; /* done, ever; and how many of them a flush has covered */
	uint64_t flushed;
	struct blk_req *retrying; /* the one that shows whether there is room again */
	struct blk_stats stats;

	struct blk_set *set;
	struct blk *next;
	char *id, *serial;
	struct blk_config cfg;
	bool readonly;
	uint8_t *sector0; /* of an image probed as raw; see sector0_allowed */
	struct log_limit log;

	struct blk_node nothing; /* stands for the root of an empty drive in requests */
	bool tray_open, tray_locked; /* any thread */
	struct loop *loop; /* NULL: no device */
	const struct blk_client *client;
	void *client_ctx;

	struct throttle_state throttle_state;
	struct queue queue[2]; /* reads, writes */
	unsigned last_dir;
	struct loop_timer throttle_timer;

	struct queue held;
	bool giving_up; /* drained for good: nothing is held */
	unsigned draining;
	struct loop_timer retry_timer;

	pthread_mutex_t note_lock;
	struct note note[NOTES];
	unsigned n_notes, lost_notes;
	bool tray_note[TRAY_NOTES]; /* where it went */
	unsigned n_tray_notes;
	bool want_stop, told_stop;
	struct note stop;
	struct loop_timer note_timer; /* on the main loop */
	uint64_t said_ns; /* when a person was last told of an error; main loop's */
	uint64_t unsaid; /* errors since */
};

struct blk_set {
	struct blk *blks;
	struct loop *loop;
	struct blk_host host;
	bool snapshot;
};

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->end = &q->first;
}

static void queue_add(struct queue *q, struct blk_req *r)
{
	r->next = NULL;
	*q->end = r;
	q->end = &r->next;
}

static struct blk_req *queue_take(struct queue *q)
{
	struct blk_req *r = q->first;

	if (!r)
		return NULL;
	q->first = r->next;
	if (!q->first)
		q->end = &q->first;
	return r;
}

static void queue_push_front(struct queue *q, struct blk_req *r)
{
	r->next = q->first;
	if (!q->first)
		q->end = &r->next;
	q->first = r;
}

/* --- telling the host ------------------------------------------------------------ */

static bool no_space(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* Main loop. One line a second at most. */
static void say_error(struct blk *b, const struct note *n)
{
	uint64_t now = loop_now_ns();

	if (n->action == blk_on_error_names[BLK_ERR_IGNORE])
		return;
	if (b->said_ns && now - b->said_ns < SAY_NS) {
		b->unsaid++;
		return;
	}
	if (b->unsaid)
		log_warn("drive '%s': %s %s failed: %s (and %" PRIu64 " more errors before)", b->id,
			 n->write ? "writing to" : "reading", b->root->filename, strerror(n->error),
			 b->unsaid);
	else
		log_warn("drive '%s': %s %s failed: %s", b->id, n->write ? "writing to" : "reading",
			 b->root->filename, strerror(n->error));
	b->said_ns = now;
	b->unsaid = 0;
}

static void say_stopped(const struct blk *b, const struct note *n)
{
	if (no_space(n->error))
		log_warn("drive '%s': the host has no room for %s; the guest waits until it has",
			 b->id, b->root->filename);
	else
		log_warn("drive '%s': the guest is stopped by this error; 'cont' tries again",
			 b->id);
}

/* Main loop. */
static void deliver(void *ctx)
{
	struct blk *b = ctx;
	const struct blk_host *h = &b->set->host;
	struct note notes[NOTES], stop;
	bool was, want, tray[TRAY_NOTES];
	unsigned n, lost, n_tray;

	pthread_mutex_lock(&b->note_lock);
	n = b->n_notes;
	memcpy(notes, b->note, n * sizeof(notes[0]));
	lost = b->lost_notes;
	b->n_notes = b->lost_notes = 0;
	n_tray = b->n_tray_notes;
	memcpy(tray, b->tray_note, sizeof(tray));
	b->n_tray_notes = 0;
	was = b->told_stop;
	want = b->told_stop = b->want_stop;
	stop = b->stop;
	pthread_mutex_unlock(&b->note_lock);

	for (unsigned i = 0; i < n; i++) {
		say_error(b, &notes[i]);
		if (h->io_error)
			h->io_error(h->ctx, b, notes[i].write, notes[i].error, notes[i].action);
	}
	b->unsaid += lost;
	for (unsigned i = 0; h->tray_moved && i < n_tray; i++)
		h->tray_moved(h->ctx, b, tray[i]);
	if (want && !was) {
		say_stopped(b, &stop);
		h->stop(h->ctx, b, stop.write, stop.error);
	} else if (was && !want) {
		log_note("drive '%s': there is room again, and the guest goes on", b->id);
		if (h->resume)
			h->resume(h->ctx, b);
	}
}

static void tell_error(struct blk *b, bool write, int error, enum blk_on_error action)
{
	struct note n = { .write = write, .error = error, .action = blk_on_error_names[action] };

	pthread_mutex_lock(&b->note_lock);
	if (b->n_notes < NOTES)
		b->note[b->n_notes++] = n;
	else
		b->lost_notes++;
	if (action == BLK_ERR_STOP) {
		b->want_stop = true;
		b->stop = n;
	}
	pthread_mutex_unlock(&b->note_lock);
	loop_timer_set(&b->note_timer, 1);
}

static void tell_room(struct blk *b)
{
	pthread_mutex_lock(&b->note_lock);
	b->want_stop = false;
	pthread_mutex_unlock(&b->note_lock);
	loop_timer_set(&b->note_timer, 1);
}

/* --- the end of a request ---------------------------------------------------------- */

static void retried(struct blk *b);

/* One thread writes, others read. */
static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static void finish(struct blk *b, struct blk_req *r, int ret)
{
	enum blk_op op = r->op;

	if (!ret) {
		count(&b->stats.ops[op], 1);
		count(&b->stats.bytes[op], r->len);
	}
	count(&b->stats.ns[op], loop_now_ns() - r->start_ns);
	if (op == BLK_FLUSH) {
		if (!ret && r->mark > b->flushed)
			b->flushed = r->mark;
	} else if (op != BLK_READ) {
		b->writes++;
	}
	b->in_flight--;
	r->done(r, ret);
}

static void end(struct blk *b, struct blk_req *r, int ret)
{
	bool first = b->retrying == r;

	finish(b, r, ret);
	if (first)
		retried(b);
}

static enum blk_on_error action_for(const struct blk *b, bool write, int ret)
{
	enum blk_on_error a = write ? b->cfg.werror : b->cfg.rerror;

	if (a == BLK_ERR_ENOSPC)
		a = no_space(-ret) ? BLK_ERR_STOP : BLK_ERR_REPORT;
	if (a == BLK_ERR_STOP && (b->giving_up || !b->set->host.stop))
		a = BLK_ERR_REPORT;
	return a;
}

/* The main thread looks at it (blk_get_info). */
static void set_held(struct blk *b, unsigned n)
{
	__atomic_store_n(&b->n_held, n, __ATOMIC_RELAXED);
}

static void hold(struct blk *b, struct blk_req *r, int ret)
{
	r->mark = (uint64_t)-ret;
	if (b->retrying == r) {
		b->retrying = NULL;
		queue_push_front(&b->held, r);
	} else {
		queue_add(&b->held, r);
	}
	set_held(b, b->n_held + 1);
	if (no_space(-ret) && b->loop)
		loop_timer_set(&b->retry_timer, loop_now_ns() + RETRY_NS);
}

static void write_zeroes_out(struct blk *b, struct blk_req *r);

static void failed(struct blk *b, struct blk_req *r, int ret)
{
	bool write = r->op != BLK_READ;
	enum blk_on_error a;

	/* Discarding is a hint, and zeroes can be written. */
	if (ret == -ENOTSUP && r->op == BLK_DISCARD) {
		end(b, r, 0);
		return;
	}
	if (ret == -ENOTSUP && r->op == BLK_WRITE_ZEROES && !(r->flags & BLK_NO_FALLBACK)) {
		write_zeroes_out(b, r);
		return;
	}
	count(&b->stats.failed[r->op], 1);
	a = action_for(b, write, ret);
	tell_error(b, write, -ret, a);
	if (a == BLK_ERR_STOP) {
		hold(b, r, ret);
		return;
	}
	end(b, r, a == BLK_ERR_IGNORE ? 0 : ret);
}

static void io_done(struct blk_io *io, int ret)
{
	struct blk_req *r = container_of(io, struct blk_req, io);

	if (ret < 0)
		failed(r->blk, r, ret);
	else
		end(r->blk, r, 0);
}

/* Those that never went to the nodes: their error is the device's and no policy applies. */
static void refused_done(struct blk_io *io, int ret)
{
	struct blk_req *r = container_of(io, struct blk_req, io);

	if (ret < 0)
		count(&r->blk->stats.failed[r->op], 1);
	end(r->blk, r, ret);
}

static void done_at_once(struct blk *b, struct blk_req *r, int ret)
{
	r->io.node = b->root ? b->root : &b->nothing;
	r->io.done = refused_done;
	blk_io_done_later(&r->io, ret);
}

/* --- requests in parts: larger than the nodes take, and zeroes written out ------------- */

static uint8_t zeroes[64 << 10] __attribute__((aligned(4096))); /* never written */

struct parts {
	struct blk_io io;
	struct blk_req *r;
	uint64_t at, now; /* bytes done; in this part */
	unsigned iov_at; /* where in r->iov the next part begins */
	size_t iov_off;
	bool zero_out;
	unsigned n_iov;
	struct iovec iov[];
};

static uint64_t part_most(const struct blk *b, const struct parts *p)
{
	const struct blk_limits *l = &b->root->lim;
	uint64_t left = p->r->len - p->at, most = l->max_len;

	if (p->zero_out) {
		if (most > ZERO_IOV * sizeof(zeroes))
			most = ZERO_IOV * sizeof(zeroes);
	} else if (p->io.op == BLK_DISCARD || p->io.op == BLK_WRITE_ZEROES) {
		most = p->io.op == BLK_DISCARD ? l->max_discard : l->max_zeroes;
		if (!most)
			most = left;
	}
	return left < most ? left : most;
}

/* The next buffers of the request, most bytes at the most; returns how many bytes. */
static uint64_t part_iov(struct parts *p, uint64_t most)
{
	uint64_t n = 0;

	p->io.n_iov = 0;
	while (n < most && p->io.n_iov < p->n_iov) {
		const struct iovec *from = &p->r->iov[p->iov_at];
		size_t len = from->iov_len - p->iov_off;

		if (len > most - n)
			len = most - n;
		p->iov[p->io.n_iov++] = (struct iovec){
			.iov_base = (char *)from->iov_base + p->iov_off,
			.iov_len = len,
		};
		n += len;
		p->iov_off += len;
		if (p->iov_off == from->iov_len) {
			p->iov_at++;
			p->iov_off = 0;
		}
	}
	return n;
}

static uint64_t zero_iov(struct parts *p, uint64_t most)
{
	uint64_t n = 0;

	for (p->io.n_iov = 0; n < most && p->io.n_iov < p->n_iov; p->io.n_iov++) {
		size_t len = most - n < sizeof(zeroes) ? most - n : sizeof(zeroes);

		p->iov[p->io.n_iov] = (struct iovec){ .iov_base = zeroes, .iov_len = len };
		n += len;
	}
	return n;
}

static void next_part(struct blk *b, struct parts *p)
{
	uint64_t most = part_most(b, p);

	p->io.off = p->r->off + p->at;
	if (p->zero_out)
		most = zero_iov(p, most);
	else if (p->n_iov)
		most = part_iov(p, most);
	p->now = p->io.len = most;
	blk_node_submit(b->root, &p->io);
}

static void part_done(struct blk_io *io, int ret)
{
	struct parts *p = container_of(io, struct parts, io);
	struct blk_req *r = p->r;

	p->at += p->now;
	if (!ret && p->at < r->len) {
		next_part(r->blk, p);
		return;
	}
	free(p);
	io_done(&r->io, ret);
}

/* op and flags: of r->io, as the cache mode made them. */
static void send_parts(struct blk *b, struct blk_req *r, bool zero_out)
{
	bool data = r->io.op == BLK_READ || r->io.op == BLK_WRITE;
	unsigned n_iov = zero_out ? ZERO_IOV : data ? r->n_iov : 0;
	struct parts *p;

	if (n_iov > b->root->lim.max_iov)
		n_iov = b->root->lim.max_iov;
	p = malloc(sizeof(*p) + n_iov * sizeof(p->iov[0]));
	if (!p) {
		done_at_once(b, r, -ENOMEM);
		return;
	}
	*p = (struct parts){ .r = r, .zero_out = zero_out, .n_iov = n_iov };
	p->io.op = zero_out ? BLK_WRITE : r->io.op;
	p->io.flags = r->io.flags & (zero_out ? BLK_FUA : ~0u);
	p->io.iov = p->iov;
	p->io.done = part_done;
	next_part(b, p);
}

static void write_zeroes_out(struct blk *b, struct blk_req *r)
{
	send_parts(b, r, true);
}

/* --- to the nodes --------------------------------------------------------------------- */

static bool is_zero(const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const char *p = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		if (len && (*p || memcmp(p, p + 1, len - 1) != 0))
			return false;
	}
	return true;
}

/* A write of zeroes becomes WRITE_ZEROES; FUA and UNMAP as the modes say. */
static void apply_modes(struct blk *b, struct blk_io *io)
{
	if (b->detect && io->op == BLK_WRITE && is_zero(io->iov, io->n_iov)) {
		io->op = BLK_WRITE_ZEROES;
		if (b->cfg.detect == BLK_DETECT_UNMAP)
			io->flags |= BLK_UNMAP;
	}
	if (b->through)
		io->flags |= BLK_FUA;
	if (b->no_flush)
		io->flags &= ~(unsigned)BLK_FUA;
	if (!b->discard)
		io->flags &= ~(unsigned)BLK_UNMAP;
}

static bool too_large(const struct blk *b, const struct blk_io *io)
{
	const struct blk_limits *l = &b->root->lim;

	switch (io->op) {
	case BLK_READ:
	case BLK_WRITE:
		return io->len > l->max_len || io->n_iov > l->max_iov;
	case BLK_DISCARD:
		return l->max_discard && io->len > l->max_discard;
	case BLK_WRITE_ZEROES:
		return l->max_zeroes && io->len > l->max_zeroes;
	default:
		return false;
	}
}

static void send(struct blk *b, struct blk_req *r)
{
	struct blk_io *io = &r->io;

	io->op = r->op;
	io->flags = r->flags;
	io->off = r->off;
	io->len = r->len;
	io->iov = r->iov;
	io->n_iov = r->n_iov;
	io->done = io_done;
	if (io->op == BLK_WRITE || io->op == BLK_WRITE_ZEROES)
		apply_modes(b, io);
	if (too_large(b, io))
		send_parts(b, r, false);
	else
		blk_node_submit(b->root, io);
}

/*
 * An image was opened as raw because nothing else was found in it. Were its
 * guest to write the header of another format, the next start would open it as
 * that, and with names of the host's files in it. b->sector0 is what the sector will hold.
 */
static bool sector0_allowed(struct blk *b, const struct blk_req *r)
{
	uint8_t old[SECTOR];
	const char *format;

	if (r->off >= SECTOR)
		return true;
	memcpy(old, b->sector0, SECTOR);
	iov_to_buf(r->iov, r->n_iov, 0, b->sector0 + r->off, SECTOR - r->off);
	format = blk_probe_buf(b->sector0, SECTOR, b->size);
	if (!strcmp(format, "raw"))
		return true;
	memcpy(b->sector0, old, SECTOR);
	log_guest(&b->log, b->id,
		  "a write to sector 0 is refused: it would turn the image into one of format %s "
		  "(if it may, add format=raw to the drive)",
		  format);
	return false;
}

/* 1: it goes to the nodes; 0 or -errno: that is its result. */
static int check(struct blk *b, struct blk_req *r)
{
	if (!b->root)
		return -ENOMEDIUM;
	if (r->op == BLK_FLUSH) {
		r->mark = b->writes;
		return !b->no_flush && b->flushed != b->writes && !b->readonly;
	}
	if (r->len > b->size || r->off > b->size - r->len)
		return -EIO;
	if (r->op == BLK_READ)
		return r->len != 0;
	if (b->refuse_writes)
		return -EROFS;
	if (!r->len || (r->op == BLK_DISCARD && !b->discard))
		return 0;
	if (b->sector0 && r->op == BLK_WRITE && !sector0_allowed(b, r))
		return -EPERM;
	return 1;
}

/* --- throttling --------------------------------------------------------------------------- */

static bool limited(enum blk_op op)
{
	return op == BLK_READ || op == BLK_WRITE || op == BLK_WRITE_ZEROES;
}

/* Lets go of what may; directions take turns, so that neither starves under a common limit. */
static void pump(struct blk *b)
{
	uint64_t now = loop_now_ns(), soonest = UINT64_MAX;
	unsigned blocked = 0;

	while (blocked < 2) {
		unsigned dir = b->last_dir ^= 1;
		struct blk_req *r = b->queue[dir].first;
		uint64_t wait = 0;

		if (r && b->throttled && !b->draining)
			wait = throttle_wait(&b->cfg.throttle, &b->throttle_state, dir, now);
		if (!r || wait) {
			if (r && wait < soonest)
				soonest = wait;
			blocked++;
			continue;
		}
		/* The other direction may not have been asked since. */
		blocked = 0;
		soonest = UINT64_MAX;
		throttle_account(&b->cfg.throttle, &b->throttle_state, dir, r->len);
		send(b, queue_take(&b->queue[dir]));
	}
	if (soonest != UINT64_MAX)
		loop_timer_set(&b->throttle_timer, now + soonest);
}

static void throttle_timer(void *ctx)
{
	pump(ctx);
}

void blk_submit(struct blk *b, struct blk_req *r)
{
	int rc;

	r->blk = b;
	b->in_flight++;
	r->start_ns = loop_now_ns();
	rc = check(b, r);
	if (rc <= 0) {
		done_at_once(b, r, rc);
	} else if (b->throttled && limited(r->op)) {
		queue_add(&b->queue[r->op != BLK_READ], r);
		pump(b);
	} else {
		send(b, r);
	}
}

/* --- held requests ---------------------------------------------------------------------------- */

/* The first one came to an end: there is room again, and the rest follows. */
static void retried(struct blk *b)
{
	unsigned n = b->n_held;

	b->retrying = NULL;
	set_held(b, 0);
	while (n--)
		send(b, queue_take(&b->held));
	tell_room(b);
}

static void retry_timer(void *ctx)
{
	struct blk *b = ctx;

	if (b->retrying || !b->held.first)
		return;
	b->retrying = queue_take(&b->held);
	set_held(b, b->n_held - 1);
	send(b, b->retrying);
}

static void give_up_held(struct blk *b)
{
	struct blk_req *r;

	while ((r = queue_take(&b->held))) {
		set_held(b, b->n_held - 1);
		finish(b, r, -(int)r->mark);
	}
	/* Nothing waits any more: the next error is news. */
	pthread_mutex_lock(&b->note_lock);
	b->want_stop = b->told_stop = false;
	pthread_mutex_unlock(&b->note_lock);
}

/* --- draining ------------------------------------------------------------------------------------
 */

static void drain(struct blk *b, bool give_up)
{
	bool before = b->giving_up;

	b->draining++;
	b->giving_up = before || give_up;
	for (;;) {
		pump(b);
		if (give_up)
			give_up_held(b);
		if (b->in_flight == b->n_held)
			break;
		if (b->root)
			blk_node_poll(b->root);
		else
			blk_run_later();
	}
	b->giving_up = before;
	b->draining--;
}

void blk_drain(struct blk *b)
{
	drain(b, true);
}

/* Runs fn(b) where b's requests run. */
static void on_loop(struct blk *b, void (*fn)(void *ctx), void *ctx)
{
	loop_call(b->loop ? b->loop : b->set->loop, fn, ctx);
}

static int flush(struct blk *b)
{
	uint64_t mark = b->writes;
	int rc;

	if (!b->root || b->readonly || b->no_flush || b->flushed == mark)
		return 0;
	rc = blk_node_flush(b->root);
	if (!rc)
		b->flushed = mark;
	else
		log_warn("drive '%s': what was written to %s is not on stable storage: %s", b->id,
			 b->root->filename, strerror(-rc));
	return rc;
}

static void drain_for_stop(void *ctx)
{
	struct blk *b = ctx;

	/* Doorbells may have rung that the loop has not heard yet. */
	if (b->client && b->client->take)
		b->client->take(b->client_ctx);
	drain(b, false);
	flush(b);
}

void blk_drain_all(struct blk_set *s)
{
	for (struct blk *b = s->blks; b; b = b->next)
		if (b->loop)
			on_loop(b, drain_for_stop, b);
}

static void retry_held(void *ctx)
{
	struct blk *b = ctx;
	unsigned n = b->n_held;

	loop_timer_cancel(&b->retry_timer);
	set_held(b, 0);
	while (n--)
		send(b, queue_take(&b->held));
}

void blk_retry_all(struct blk_set *s)
{
	for (struct blk *b = s->blks; b; b = b->next) {
		if (!b->loop)
			continue;
		pthread_mutex_lock(&b->note_lock);
		b->want_stop = b->told_stop = false;
		pthread_mutex_unlock(&b->note_lock);
		on_loop(b, retry_held, b);
	}
}

/* --- devices
 * --------------------------------------------------------------------------------------- */

struct move {
	struct blk *b;
	struct loop *loop;
	struct err *e;
	int rc;
};

static void attach_on_loop(void *ctx)
{
	struct move *m = ctx;
	struct blk *b = m->b;

	b->nothing.loop = m->loop;
	m->rc = b->root ? blk_node_attach(b->root, m->loop, m->e) : 0;
	if (m->rc)
		return;
	loop_timer_init(&b->throttle_timer, m->loop, throttle_timer, b);
	loop_timer_init(&b->retry_timer, m->loop, retry_timer, b);
}

int blk_attach(struct blk *b, const struct blk_client *c, void *ctx, bool write, struct loop *loop,
	       struct err *e)
{
	struct move m = { .b = b, .loop = loop, .e = e };

	if (b->loop) {
		err_set(e, ERR_USAGE, EBUSY, "drive '%s' is used by another device", b->id);
		err_hint(e, "a drive that a -device names needs if=none, and one device");
		return -EBUSY;
	}
	if (b->root && b->root->parent) {
		err_set(e, ERR_USAGE, EBUSY, "node '%s' is used by node '%s' above it", b->id,
			b->root->parent->name);
		err_hint(e, "name that one: drive=%s", b->root->parent->name);
		return -EBUSY;
	}
	if (write && b->readonly) {
		err_set(e, ERR_USAGE, EROFS, "drive '%s' is read-only, and the device writes",
			b->id);
		err_hint(e, "make the image writable and leave out readonly=on, or use a device "
			    "that only reads");
		return -EROFS;
	}
	loop_call(loop, attach_on_loop, &m);
	if (m.rc)
		return m.rc;
	b->loop = loop;
	b->client = c;
	b->client_ctx = ctx;
	b->refuse_writes = b->readonly || !write;
	return 0;
}

static void detach_on_loop(void *ctx)
{
	struct blk *b = ctx;

	drain(b, true);
	loop_timer_cancel(&b->throttle_timer);
	loop_timer_cancel(&b->retry_timer);
	if (b->root)
		blk_node_detach(b->root);
	b->nothing.loop = NULL;
}

void blk_detach(struct blk *b)
{
	if (!b->loop)
		return;
	loop_call(b->loop, detach_on_loop, b);
	b->loop = NULL;
	b->client = NULL;
	b->refuse_writes = b->readonly;
}

bool blk_attached(const struct blk *b)
{
	return b->loop != NULL;
}

int blk_get(struct blk_set *s, const char *id, struct blk **out, struct err *e)
{
	const char *names[64];
	size_t n = 0;

	*out = blk_find(s, id);
	if (*out)
		return 0;
	err_set(e, ERR_USAGE, ENOENT, "no drive has the id '%s'", id);
	for (struct blk *b = s->blks; b && n < ARRAY_SIZE(names); b = b->next)
		names[n++] = b->id;
	if (n)
		err_suggest(e, id, names, n);
	else
		err_hint(e, "add -drive file=FILE,if=none,id=%s", id);
	return -ENOENT;
}

/* --- properties
 * --------------------------------------------------------------------------------------- */

const char *blk_id(const struct blk *b)
{
	return b->id;
}

uint64_t blk_size(const struct blk *b)
{
	return __atomic_load_n(&b->size, __ATOMIC_RELAXED);
}

bool blk_readonly(const struct blk *b)
{
	return b->readonly;
}

bool blk_writeback(const struct blk *b)
{
	return !__atomic_load_n(&b->through, __ATOMIC_RELAXED);
}

void blk_set_writeback(struct blk *b, bool on)
{
	__atomic_store_n(&b->through, !on, __ATOMIC_RELAXED);
}

bool blk_can_discard(const struct blk *b)
{
	return b->discard && !b->readonly;
}

const struct blk_limits *blk_limits(const struct blk *b)
{
	static const struct blk_limits none = { .align = 1, .mem_align = 1, .max_iov = 1 };

	return b->root ? &b->root->lim : &none;
}

const char *blk_serial(const struct blk *b)
{
	return b->serial;
}

void blk_get_stats(const struct blk *b, struct blk_stats *out)
{
	const uint64_t *from = (const uint64_t *)(const void *)&b->stats;
	uint64_t *to = (uint64_t *)(void *)out;

	for (size_t i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void blk_get_info(const struct blk *b, struct blk_info *out)
{
	*out = (struct blk_info){
		.filename = b->root ? b->root->filename : "",
		.format = b->root ? b->root->drv->name : "",
		.node_name = b->root ? b->root->name : "",
		.detect_zeroes = blk_detect_names[b->cfg.detect],
		.werror = blk_on_error_names[b->cfg.werror],
		.rerror = blk_on_error_names[b->cfg.rerror],
		.writeback = blk_writeback(b),
		.direct = b->root && b->root->open.direct,
		.no_flush = b->no_flush,
		.backing = b->root && b->root->backing ? b->root->backing->filename : NULL,
	};
	for (const struct blk_node *n = b->root ? b->root->backing : NULL; n; n = n->backing)
		out->backing_depth++;
	pthread_mutex_lock((pthread_mutex_t *)(uintptr_t)&b->note_lock);
	out->held = __atomic_load_n(&b->n_held, __ATOMIC_RELAXED) != 0;
	out->held_no_space = out->held && no_space(b->stop.error);
	pthread_mutex_unlock((pthread_mutex_t *)(uintptr_t)&b->note_lock);
}

void blk_describe(const struct blk *b, FILE *f)
{
	static const char *const kinds[] = {
		"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"
	};
	struct blk_info i;

	blk_get_info(b, &i);
	if (b->root)
		fprintf(f, "%s (%s): %s (%s%s)\n", b->id, i.node_name, i.filename, i.format,
			b->readonly ? ", read-only" : "");
	else
		fprintf(f, "%s: [not inserted]\n", b->id);
	if (blk_removable(b))
		fprintf(f, "    Removable device: %slocked, tray %s\n",
			blk_tray_locked(b) ? "" : "not ", blk_tray_open(b) ? "open" : "closed");
	fprintf(f, "    Size:             %" PRIu64 " bytes\n", blk_size(b));
	if (i.backing)
		fprintf(f, "    Backing file:     %s (chain depth: %u)\n", i.backing,
			i.backing_depth);
	fprintf(f, "    Cache mode:       %s%s%s\n", i.writeback ? "writeback" : "writethrough",
		i.direct ? ", direct" : "", i.no_flush ? ", ignore flushes" : "");
	if (b->cfg.detect != BLK_DETECT_OFF)
		fprintf(f, "    Detect zeroes:    %s\n", i.detect_zeroes);
	if (i.held)
		fprintf(f, "    Waiting:          requests failed (%s)\n",
			i.held_no_space ? "no space" : "I/O error");
	if (b->throttled) {
		fputs("    I/O throttling:  ", f);
		for (unsigned k = 0; k < THROTTLE_KINDS; k++)
			fprintf(f, " %s=%" PRIu64, kinds[k], b->cfg.throttle.limit[k].avg);
		fputc('\n', f);
	}
	for (const struct blk_node *n = b->root; n; n = n->file) {
		if (!n->drv->describe)
			continue;
		fprintf(f, "    Driver %s: ", n->drv->name);
		n->drv->describe(n, f);
		fputc('\n', f);
	}
	if (!b->loop)
		fputs("    [not attached to a device]\n", f);
}

/* --- removable media --- */

bool blk_has_medium(const struct blk *b)
{
	return b->root != NULL;
}

uint64_t blk_image_size(const struct blk *b)
{
	const struct blk_node *n = b->root;

	if (!n)
		return 0;
	/* raw pads the last sector */
	if (n->file && !n->backing && n->file->size < n->size && n->size - n->file->size < SECTOR)
		return n->file->size;
	return n->size;
}

bool blk_tray_open(const struct blk *b)
{
	return __atomic_load_n(&b->tray_open, __ATOMIC_RELAXED);
}

bool blk_tray_locked(const struct blk *b)
{
	return __atomic_load_n(&b->tray_locked, __ATOMIC_RELAXED);
}

void blk_set_tray_lock(struct blk *b, bool locked)
{
	__atomic_store_n(&b->tray_locked, locked, __ATOMIC_RELAXED);
}

bool blk_removable(const struct blk *b)
{
	return b->client && b->client->medium_changed;
}

void blk_move_tray(struct blk *b, bool open)
{
	if (blk_tray_open(b) == open)
		return;
	__atomic_store_n(&b->tray_open, open, __ATOMIC_RELAXED);
	pthread_mutex_lock(&b->note_lock);
	/* Of a tray that goes to and fro only where it is now matters. */
	if (b->n_tray_notes == TRAY_NOTES)
		b->n_tray_notes -= 2;
	b->tray_note[b->n_tray_notes++] = open;
	pthread_mutex_unlock(&b->note_lock);
	loop_timer_set(&b->note_timer, 1);
}

static void take_size(struct blk *b);

struct swap {
	struct blk *b;
	struct blk_node *root;
	struct err *e;
	int rc;
};

static void swap_on_loop(void *ctx)
{
	struct swap *s = ctx;
	struct blk *b = s->b;

	drain(b, true);
	if (b->root) {
		blk_node_detach(b->root);
		blk_node_close(b->root);
	}
	b->root = NULL;
	__atomic_store_n(&b->size, 0, __ATOMIC_RELAXED);
	if (!s->root)
		return;
	s->rc = blk_node_attach(s->root, b->loop, s->e);
	if (s->rc) {
		blk_node_close(s->root);
		return;
	}
	b->root = s->root;
	take_size(b);
}

static int swap_medium(struct blk *b, struct blk_node *root, struct err *e)
{
	struct swap s = { .b = b, .root = root, .e = e };

	on_loop(b, swap_on_loop, &s);
	b->client->medium_changed(b->client_ctx);
	return s.rc;
}

static int open_tray(struct blk *b, bool force, struct err *e)
{
	if (!blk_removable(b)) {
		err_set(e, ERR_USAGE, ENOTSUP, "Device '%s' is not removable", b->id);
		err_hint(e, "only the media of CD drives can be changed");
		return -ENOTSUP;
	}
	if (blk_tray_open(b))
		return 0;
	if (blk_tray_locked(b)) {
		b->client->eject_request(b->client_ctx);
		if (!force) {
			err_set(e, ERR_USAGE, EBUSY,
				"Device '%s' is locked and force was not specified, wait for tray "
				"to "
				"open and try again",
				b->id);
			err_hint(e, "the guest has been asked to let go of the medium");
			return -EBUSY;
		}
	}
	blk_move_tray(b, true);
	b->client->medium_changed(b->client_ctx);
	return 0;
}

int blk_eject(struct blk *b, bool force, struct err *e)
{
	int rc = open_tray(b, force, e);

	return rc ? rc : swap_medium(b, NULL, e);
}

/* The new image is opened first: when that fails the old one stays. */
int blk_change(struct blk *b, const char *filename, const char *format, bool force, struct err *e)
{
	const struct blk_open how = { .readonly = true, .locking = true, .loop = b->set->loop };
	struct blk_node *root = NULL;
	int rc = 0;

	if (blk_removable(b))
		rc = blk_node_open_file(filename, format, &how, &root, e);
	if (rc)
		return rc;
	rc = open_tray(b, force, e);
	if (rc) {
		if (root)
			blk_node_close(root);
		return rc;
	}
	rc = swap_medium(b, root, e);
	if (rc)
		return rc;
	blk_move_tray(b, false);
	b->client->medium_changed(b->client_ctx);
	return 0;
}

/* --- limits --- */

struct set_throttle {
	struct blk *b;
	const struct blk_throttle *t;
};

static void set_throttle(void *ctx)
{
	struct set_throttle *s = ctx;
	struct blk *b = s->b;

	b->cfg.throttle = *s->t;
	b->throttled = throttle_on(s->t);
	memset(&b->throttle_state, 0, sizeof(b->throttle_state));
	pump(b);
}

int blk_set_throttle(struct blk *b, const struct blk_throttle *t, struct err *e)
{
	struct set_throttle s = { .b = b, .t = t };
	int rc = throttle_check(t, e);

	if (!rc)
		on_loop(b, set_throttle, &s);
	return rc;
}

const struct blk_throttle *blk_get_throttle(const struct blk *b)
{
	return &b->cfg.throttle;
}

/* --- size --- */

/* Of the root, in whole sectors. */
static void take_size(struct blk *b)
{
	if (b->root->size % SECTOR)
		log_warn("%s: %" PRIu64 " bytes are not a multiple of 512; the rest is left out "
			 "(driver raw above it would show it)",
			 b->root->filename, b->root->size);
	__atomic_store_n(&b->size, b->root->size / SECTOR * SECTOR, __ATOMIC_RELAXED);
}

struct resize {
	struct blk *b;
	uint64_t size;
	struct err *e;
	int rc;
};

static void resize_on_loop(void *ctx)
{
	struct resize *r = ctx;

	drain(r->b, false);
	r->rc = blk_node_truncate(r->b->root, r->size, r->e);
	if (!r->rc)
		take_size(r->b);
}

int blk_resize(struct blk *b, uint64_t size, struct err *e)
{
	struct resize r = { .b = b, .size = size, .e = e };

	if (!b->root)
		return err_set(e, ERR_USAGE, ENOMEDIUM, "drive '%s' has no medium", b->id);
	if (size % SECTOR || size > INT64_MAX) {
		err_set(e, ERR_USAGE, EINVAL, "drive '%s': %" PRIu64 " bytes %s", b->id, size,
			size % SECTOR ? "are not a multiple of 512"
				      : "are more than a file can have");
		if (size % SECTOR)
			err_hint(e, "%" PRIu64 " is", size / SECTOR * SECTOR);
		return -EINVAL;
	}
	on_loop(b, resize_on_loop, &r);
	if (r.rc) {
		err_prefix(e, "drive '%s': ", b->id);
		return r.rc;
	}
	if (b->client && b->client->resized)
		b->client->resized(b->client_ctx);
	return 0;
}

/* --- commit --- */

struct commit {
	struct blk *b;
	struct err *e;
	int rc;
};

static void commit_on_loop(void *ctx)
{
	struct commit *c = ctx;

	drain(c->b, false);
	c->rc = blk_node_commit(c->b->root, c->e);
}

int blk_commit(struct blk *b, struct err *e)
{
	struct commit c = { .b = b, .e = e };

	if (b->root->parent)
		return err_set(e, ERR_USAGE, EBUSY, "node '%s' is used by node '%s' above it",
			       b->id, b->root->parent->name);
	on_loop(b, commit_on_loop, &c);
	if (c.rc)
		err_prefix(e, "drive '%s': ", b->id);
	return c.rc;
}

bool blk_has_backing(const struct blk *b)
{
	return b->root->backing != NULL;
}

/* --- the set --- */

int blk_set_create(struct blk_set **out, struct loop *main_loop, const struct blk_host *host,
		   struct err *e)
{
	struct blk_set *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	s->loop = main_loop;
	if (host)
		s->host = *host;
	*out = s;
	return 0;
}

struct loop *blk_set_loop(const struct blk_set *s)
{
	return s->loop;
}

bool blk_set_snapshot(const struct blk_set *s)
{
	return s->snapshot;
}

void blk_snapshot_all(struct blk_set *s)
{
	s->snapshot = true;
}

static void blk_free(struct blk *b)
{
	loop_timer_cancel(&b->note_timer);
	pthread_mutex_destroy(&b->note_lock);
	if (b->root)
		blk_node_close(b->root);
	free(b->sector0);
	free(b->serial);
	free(b->id);
	free(b);
}

void blk_set_destroy(struct blk_set *s)
{
	struct blk *b;

	if (!s)
		return;
	for (b = s->blks; b; b = b->next) {
		blk_detach(b);
		flush(b);
	}
	while ((b = s->blks)) {
		s->blks = b->next;
		blk_free(b);
	}
	free(s);
}

/* What the first sector holds now, to judge writes to it. */
static int load_sector0(struct blk *b, struct err *e)
{
	size_t n = b->size < SECTOR ? 0 : SECTOR;
	int rc;

	b->sector0 = calloc(1, SECTOR);
	if (!b->sector0)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = blk_node_pread(b->root, 0, b->sector0, n);
	return rc ? err_set(e, ERR_INPUT, -rc, "%s: cannot read its first sector: %s",
			    b->root->filename, strerror(-rc))
		  : 0;
}

static void set_modes(struct blk *b, const struct blk_config *c)
{
	const struct blk_node *root = b->root;

	b->cfg = *c;
	b->cfg.serial = NULL;
	b->readonly = b->refuse_writes = !root || root->readonly;
	b->discard = root && root->open.discard;
	b->no_flush = root && root->open.no_flush;
	b->through = !c->writeback;
	b->detect = c->detect != BLK_DETECT_OFF;
	b->throttled = throttle_on(&c->throttle);
	b->writes = 1; /* whoever had the image before may have left it in the host's memory */
	b->log = (struct log_limit)LOG_LIMIT_INIT;
	for (unsigned i = 0; i < 2; i++)
		queue_init(&b->queue[i]);
	queue_init(&b->held);
	pthread_mutex_init(&b->note_lock, NULL);
	loop_timer_init(&b->note_timer, b->set->loop, deliver, b);
}

int blk_new(struct blk_set *s, const char *id, struct blk_node *root, const struct blk_config *c,
	    struct blk **out, struct err *e)
{
	struct blk *b = calloc(1, sizeof(*b)), **end = &s->blks;
	int rc = 0;

	if (!b || !(b->id = strdup(id)) || (c->serial && !(b->serial = strdup(c->serial)))) {
		if (b)
			free(b->id);
		free(b);
		if (root)
			blk_node_close(root);
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	b->set = s;
	b->root = root;
	set_modes(b, c);
	if (root)
		take_size(b);
	if (c->probed_raw && !b->readonly)
		rc = load_sector0(b, e);
	if (rc) {
		blk_free(b);
		return rc;
	}
	while (*end)
		end = &(*end)->next;
	*end = b;
	*out = b;
	return 0;
}

struct blk *blk_find(struct blk_set *s, const char *id)
{
	for (struct blk *b = s->blks; b; b = b->next)
		if (!strcmp(b->id, id) || (b->root && !strcmp(b->root->name, id)))
			return b;
	return NULL;
}

struct blk *blk_next(struct blk_set *s, struct blk *after)
{
	return after ? after->next : s->blks;
}

bool blk_index_taken(const struct blk_set *s, enum drive_if iface, int index)
{
	for (const struct blk *b = s->blks; b; b = b->next)
		if (b->cfg.iface == iface && b->cfg.index == index)
			return true;
	return false;
}

struct blk *blk_same_image(struct blk_set *s, const char *filename)
{
	struct stat a, o;

	if (stat(filename, &a))
		return NULL;
	for (struct blk *b = s->blks; b; b = b->next) {
		for (const struct blk_node *n = b->root; n; n = n->backing) {
			if (stat(n->filename, &o))
				continue;
			if (S_ISBLK(a.st_mode) ? S_ISBLK(o.st_mode) && a.st_rdev == o.st_rdev
					       : a.st_dev == o.st_dev && a.st_ino == o.st_ino)
				return b;
		}
	}
	return NULL;
}
