/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk's requests: virtio 1.2, section 5.2.6. All of it runs on the
 * device's loop.
 *
 * A request is a chain of at least 16 readable bytes, the header, and at least
 * one writable byte, the last, for the status. How they are cut into
 * descriptors is the driver's choice (2.7.4), so bytes are counted here, never
 * descriptors. A chain without room for the two breaks the queue; whatever
 * else is wrong with a request is its status.
 *
 * What is adjacent on the disk and in one queue's batch goes to the drive as
 * one request; should that fail, each goes by itself, so that only the bad one
 * fails. What completes in one round of the loop is published once.
 */
#include "virtio_blk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "iov.h"

enum { SMALL_IOV = 8 };

struct vblk_req {
	struct blk_req io; /* the drive's: this request, or this and all that are merged into it */
	struct vblk_queue *q;
	struct vblk_req *next; /* the next free one; or the next that is merged into one */
	struct vq_chain chain;
	uint8_t *status; /* in guest memory */
	uint32_t filled; /* bytes of data that it writes when it succeeds */
	/* READ and WRITE: this request alone, so that it can be tried again alone */
	uint64_t len;
	unsigned n_iov;
	/* io's buffers: its own n_iov first, then those of what is merged into it */
	struct iovec *iov;
	unsigned iov_room;
	struct iovec small[SMALL_IOV];
	/* DISCARD and WRITE_ZEROES: one after the other; malloc'd */
	struct virtio_blk_range *ranges;
	unsigned n_ranges, range;
};

/* A popped chain without header and status. */
struct body {
	struct virtio_blk_hdr hdr;
	struct iovec *out, *in;
	unsigned n_out, n_in;
	uint64_t out_len, in_len;
};

/* Adjacent requests of one kick that will go to the drive as one. */
struct batch {
	struct vblk_req *head, *tail;
};

/* --- the queue's requests ---------------------------------------------------- */

static bool make_pool(struct vblk_queue *q)
{
	q->pool = calloc(q->vq->max_size, sizeof(*q->pool));
	if (!q->pool)
		return false;
	for (unsigned i = q->vq->max_size; i--;) {
		struct vblk_req *r = &q->pool[i];

		r->q = q;
		r->iov = r->small;
		r->iov_room = SMALL_IOV;
		r->next = q->free;
		q->free = r;
	}
	return true;
}

void vblk_free_requests(struct virtio_blk *s)
{
	for (unsigned i = 0; i < s->v.n_queues; i++) {
		struct vblk_queue *q = &s->queue[i];

		if (!q->pool)
			continue;
		for (unsigned k = 0; k < q->vq->max_size; k++)
			if (q->pool[k].iov != q->pool[k].small)
				free(q->pool[k].iov);
		free(q->pool);
		q->pool = q->free = NULL;
	}
}

static void put_free(struct vblk_req *r)
{
	r->next = r->q->free;
	r->q->free = r;
}

/*
 * Adds buffers to r's, of which there are have. A request that once needed many
 * keeps the room, so that long ones do not allocate each time either.
 */
static bool add_iov(struct vblk_req *r, unsigned have, const struct iovec *iov, unsigned n)
{
	if (have + n > r->iov_room) {
		unsigned room = have + n > 2 * r->iov_room ? have + n : 2 * r->iov_room;
		struct iovec *more = malloc(room * sizeof(*more));

		if (!more)
			return false;
		memcpy(more, r->iov, have * sizeof(*more));
		if (r->iov != r->small)
			free(r->iov);
		r->iov = more;
		r->iov_room = room;
	}
	memcpy(r->iov + have, iov, n * sizeof(*iov));
	return true;
}

/* --- to the drive and back ----------------------------------------------------- */

static void publish(void *ctx)
{
	struct vblk_queue *q = ctx;

	vq_flush(q->vq);
}

void vblk_init_queue(struct vblk_queue *q, struct virtio_blk *s, struct virtqueue *vq)
{
	q->s = s;
	q->vq = vq;
	q->publish = (struct loop_defer){ .cb = publish, .ctx = q };
}

/* The used length counts bytes from the first on (2.7.8): data that was not filled ends it. */
static void complete(struct vblk_req *r, enum virtio_blk_status status)
{
	uint32_t data = r->chain.in_len - 1;
	uint32_t filled = status == VIRTIO_BLK_S_OK ? r->filled : 0;

	*r->status = (uint8_t)status;
	vq_push(r->q->vq, &r->chain, filled == data ? data + 1 : filled);
	put_free(r);
	loop_defer(r->q->s->v.loop, &r->q->publish);
}

static void submit(struct vblk_req *r)
{
	blk_submit(r->q->s->blk, &r->io);
}

/* The next of r's ranges that is not empty; false when there is none. */
static bool submit_range(struct vblk_req *r)
{
	while (r->range < r->n_ranges) {
		const struct virtio_blk_range *range = &r->ranges[r->range++];

		r->io.off = le64_to_cpu(range->sector) * VIRTIO_BLK_SECTOR;
		r->io.len = (uint64_t)le32_to_cpu(range->num_sectors) * VIRTIO_BLK_SECTOR;
		r->io.flags = le32_to_cpu(range->flags) & VIRTIO_BLK_RANGE_UNMAP ? BLK_UNMAP : 0;
		if (!r->io.len)
			continue;
		submit(r);
		return true;
	}
	return false;
}

static void free_ranges(struct vblk_req *r)
{
	if (r->n_ranges)
		free(r->ranges);
	r->n_ranges = 0;
}

static void submit_singly(struct vblk_req *r)
{
	while (r) {
		struct vblk_req *next = r->next;

		r->next = NULL;
		r->io.len = r->len;
		r->io.n_iov = r->n_iov;
		submit(r);
		r = next;
	}
}

static void done(struct blk_req *io, int ret)
{
	struct vblk_req *r = container_of(io, struct vblk_req, io);

	if (ret && r->next) {
		submit_singly(r);
		return;
	}
	if (!ret && submit_range(r))
		return;
	free_ranges(r);
	while (r) {
		struct vblk_req *next = r->next;

		complete(r, ret ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		r = next;
	}
}

/* --- batches ---------------------------------------------------------------------- */

static void batch_submit(struct batch *b)
{
	if (b->head)
		submit(b->head);
	b->head = b->tail = NULL;
}

static bool batch_merge(const struct virtio_blk *s, struct batch *b, struct vblk_req *r)
{
	struct blk_req *all = &b->head->io;

	if (all->op != r->io.op || all->off + all->len != r->io.off ||
	    all->len + r->len > s->merge_len || all->n_iov + r->n_iov > s->merge_iov ||
	    !add_iov(b->head, all->n_iov, r->iov, r->n_iov))
		return false;
	all->iov = b->head->iov;
	all->n_iov += r->n_iov;
	all->len += r->len;
	b->tail->next = r;
	b->tail = r;
	return true;
}

static void batch_add(const struct virtio_blk *s, struct batch *b, struct vblk_req *r)
{
	if (b->head && s->request_merging && batch_merge(s, b, r))
		return;
	batch_submit(b);
	b->head = b->tail = r;
}

/* --- kinds of requests -------------------------------------------------------------- */

/* What a kind answers when it has not finished the request. */
enum { PENDING = -1 };

static bool in_disk(const struct virtio_blk *s, uint64_t sector, uint64_t len)
{
	uint64_t size = blk_size(s->blk), off;

	return !__builtin_mul_overflow(sector, VIRTIO_BLK_SECTOR, &off) && off <= size &&
	       len <= size - off;
}

static int begin_rw(struct virtio_blk *s, struct vblk_req *r, enum blk_op op, const struct body *b,
		    struct batch *batch)
{
	const struct iovec *iov = op == BLK_READ ? b->in : b->out;
	unsigned n = op == BLK_READ ? b->n_in : b->n_out;
	uint64_t len = op == BLK_READ ? b->in_len : b->out_len;
	uint64_t sector = le64_to_cpu(b->hdr.sector);

	if (op == BLK_WRITE && blk_readonly(s->blk))
		return VIRTIO_BLK_S_IOERR;
	if (len % VIRTIO_BLK_SECTOR || !in_disk(s, sector, len))
		return VIRTIO_BLK_S_IOERR;
	if (!len)
		return VIRTIO_BLK_S_OK;
	if (!add_iov(r, 0, iov, n))
		return VIRTIO_BLK_S_IOERR;
	r->len = r->io.len = len;
	r->n_iov = r->io.n_iov = n;
	r->io.op = op;
	r->io.off = sector * VIRTIO_BLK_SECTOR;
	r->io.iov = r->iov;
	r->filled = op == BLK_READ ? (uint32_t)len : 0;
	batch_add(s, batch, r);
	return PENDING;
}

static int begin_flush(struct vblk_req *r)
{
	r->io.op = BLK_FLUSH;
	r->io.off = r->io.len = 0;
	submit(r);
	return PENDING;
}

static int get_id(const struct virtio_blk *s, struct vblk_req *r, const struct body *b)
{
	r->filled = (uint32_t)iov_from_buf(b->in, b->n_in, 0, s->id, sizeof(s->id));
	return VIRTIO_BLK_S_OK;
}

/* Bits that are not for it make it unsupported, whatever else is wrong with it (5.2.6.2). */
static int check_ranges(const struct virtio_blk *s, const struct vblk_req *r)
{
	bool discard = r->io.op == BLK_DISCARD;
	uint32_t allowed = discard ? 0 : VIRTIO_BLK_RANGE_UNMAP;
	uint32_t most = discard ? s->max_discard_sectors : s->max_write_zeroes_sectors;

	for (unsigned i = 0; i < r->n_ranges; i++)
		if (le32_to_cpu(r->ranges[i].flags) & ~allowed)
			return VIRTIO_BLK_S_UNSUPP;
	for (unsigned i = 0; i < r->n_ranges; i++) {
		uint32_t n = le32_to_cpu(r->ranges[i].num_sectors);

		if (n > most ||
		    !in_disk(s, le64_to_cpu(r->ranges[i].sector), (uint64_t)n * VIRTIO_BLK_SECTOR))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static int begin_ranges(struct virtio_blk *s, struct vblk_req *r, enum blk_op op,
			const struct body *b)
{
	unsigned n = (unsigned)(b->out_len / sizeof(struct virtio_blk_range));
	int status;

	if (blk_readonly(s->blk))
		return VIRTIO_BLK_S_IOERR;
	if (!virtio_has(&s->v,
			op == BLK_DISCARD ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES))
		return VIRTIO_BLK_S_UNSUPP;
	if (!n || b->out_len % sizeof(struct virtio_blk_range) || n > VBLK_MAX_RANGES)
		return VIRTIO_BLK_S_IOERR;
	r->ranges = malloc(n * sizeof(*r->ranges));
	if (!r->ranges)
		return VIRTIO_BLK_S_IOERR;
	iov_to_buf(b->out, b->n_out, 0, r->ranges, n * sizeof(*r->ranges));
	r->n_ranges = n;
	r->range = 0;
	r->io.op = op;
	status = check_ranges(s, r);
	if (status == VIRTIO_BLK_S_OK && submit_range(r))
		return PENDING;
	free_ranges(r);
	return status;
}

static int begin(struct virtio_blk *s, struct vblk_req *r, const struct body *b,
		 struct batch *batch)
{
	uint32_t type = le32_to_cpu(b->hdr.type);

	r->io.flags = 0;
	r->filled = 0;
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return begin_rw(s, r, BLK_READ, b, batch);
	case VIRTIO_BLK_T_OUT:
		return begin_rw(s, r, BLK_WRITE, b, batch);
	case VIRTIO_BLK_T_GET_ID:
		return get_id(s, r, b);
	}
	/* The drive sees these in their place among reads and writes. */
	batch_submit(batch);
	switch (type) {
	case VIRTIO_BLK_T_FLUSH_OUT:
		if (!s->v.legacy)
			return VIRTIO_BLK_S_UNSUPP;
		/* fall through */
	case VIRTIO_BLK_T_FLUSH:
		return begin_flush(r);
	case VIRTIO_BLK_T_DISCARD:
		return begin_ranges(s, r, BLK_DISCARD, b);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return begin_ranges(s, r, BLK_WRITE_ZEROES, b);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* --- queues ------------------------------------------------------------------------------ */

/* Takes header and status off r's chain. NULL, or what is wrong with it. */
static const char *open_chain(struct vblk_req *r, struct body *b)
{
	const struct vq_chain *c = &r->chain;
	const struct iovec *last;

	if (c->out_len < sizeof(b->hdr))
		return "a request is too short for its header";
	if (!c->in_len)
		return "a request has no room for its status";
	b->out = c->iov;
	b->n_out = c->n_out;
	b->in = c->iov + c->n_out;
	b->n_in = c->n_in;
	iov_to_buf(b->out, b->n_out, 0, &b->hdr, sizeof(b->hdr));
	iov_discard_front(&b->out, &b->n_out, sizeof(b->hdr));
	last = &b->in[b->n_in - 1];
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	iov_discard_back(b->in, &b->n_in, 1);
	b->out_len = c->out_len - sizeof(b->hdr);
	b->in_len = c->in_len - 1;
	return NULL;
}

/*
 * Takes what the queue has: 0, or -EPROTO and *why. It ends: before they are
 * published, no more descriptors can be taken than the queue has.
 */
static int pop_all(struct vblk_queue *q, struct batch *batch, const char **why)
{
	struct iovec iov[VQ_MAX_IOV];
	struct body b;
	int rc;

	for (;;) {
		struct vblk_req *r = q->free;

		assert(r); /* for as many as the queue can have outstanding */
		r->chain.iov = iov;
		r->chain.max = VQ_MAX_IOV;
		rc = vq_pop(q->vq, &r->chain);
		if (rc <= 0) {
			*why = q->vq->broken;
			return rc;
		}
		*why = open_chain(r, &b);
		if (*why)
			return -EPROTO;
		q->free = r->next;
		r->next = NULL;
		r->io.done = done;
		rc = begin(q->s, r, &b, batch);
		if (rc != PENDING)
			complete(r, (enum virtio_blk_status)rc);
	}
}

void vblk_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);
	struct vblk_queue *q = &s->queue[vq->index];
	struct batch batch = { NULL, NULL };
	const char *why;
	int rc;

	if (!q->pool && !make_pool(q)) {
		virtio_broken(v, "queue %u: no memory for its requests", vq->index);
		return;
	}
	/* Ahead of what the drive defers, so that the driver does not wait for its sending. */
	loop_defer(v->loop, &q->publish);
	vq_disable_notify(vq);
	do
		rc = pop_all(q, &batch, &why);
	while (!rc && vq_enable_notify(vq));
	batch_submit(&batch);
	if (rc)
		virtio_broken(v, "queue %u: %s", vq->index, why);
}

void vblk_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);

	blk_drain(s->blk);
	for (unsigned i = 0; i < v->n_queues; i++) {
		struct vblk_queue *q = &s->queue[i];

		if (!q->pool || (vq && q->vq != vq))
			continue;
		loop_defer_cancel(v->loop, &q->publish);
		vq_flush(q->vq);
	}
	if (vq)
		return;
	vblk_free_requests(s);
	blk_set_writeback(s->blk, s->default_wce);
}
