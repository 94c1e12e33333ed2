/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: requests. What can be answered from tables in memory goes to the file at
 * once: reads and overwrites of plainly mapped clusters, and first writes to clusters
 * that nothing is behind. All else is a coroutine. The node's thread.
 *
 * A first write without waiting changes the tables before its data are written. That
 * is right because the new cluster holds zeroes, as the guest's did: whoever reads
 * it, now or after a power cut, sees the old contents or the new.
 *
 * Each request counts as live while it may use places of the file that it has
 * looked up; see qcow2_free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iov.h"
#include "qcow2.h"

/* A request on its way to the file. */
struct qcow2_pass {
	struct blk_io io;
	struct blk_io *parent;
	struct qcow2 *q;
	unsigned epoch;
	struct qcow2_pass *next; /* in the pool */
};

/* A request in a coroutine. */
struct qcow2_request {
	struct blk_io *io;
	struct qcow2 *q;
	bool in_submit; /* its end must not be told yet */
	struct qcow2_request *next; /* in the pool */
};

/* --- parts of buffers --- */

static void zero_part(const struct iovec *iov, unsigned n, uint64_t skip, uint64_t len)
{
	for (unsigned i = 0; i < n && len; i++) {
		uint64_t part = iov[i].iov_len;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part -= skip;
		if (part > len)
			part = len;
		memset((char *)iov[i].iov_base + skip, 0, part);
		len -= part;
		skip = 0;
	}
}

/* [co] Reads into a part of iov. */
static int read_part(struct blk_node *n, uint64_t host, uint64_t len, const struct iovec *iov,
		     unsigned n_iov, uint64_t skip)
{
	struct iovec few[16], *part = n_iov <= 16 ? few : malloc(n_iov * sizeof(*part));
	unsigned k;
	int rc;

	if (!part)
		return -ENOMEM;
	k = iov_slice(iov, n_iov, skip, len, part, n_iov);
	rc = k ? co_iov(n, BLK_READ, host, len, part, k, 0) : -EINVAL;
	if (part != few)
		free(part);
	return rc;
}

/* [co] What lies behind the end of n reads as zeroes. */
static int read_to_end(struct blk_node *n, uint64_t size, uint64_t off, uint64_t len,
		       const struct iovec *iov, unsigned n_iov, uint64_t skip)
{
	uint64_t have = off >= size ? 0 : size - off < len ? size - off : len;

	if (have < len)
		zero_part(iov, n_iov, skip + have, len - have);
	return have ? read_part(n, off, have, iov, n_iov, skip) : 0;
}

/* --- reading and writing --- */

/* [co] */
static int read_backing(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
			unsigned n_iov, uint64_t skip)
{
	struct blk_node *b = q->node->backing;
	uint64_t size = b ? b->size : 0;

	/* Behind the end of the disk lies no guest's data but a saved machine. */
	if (size > q->node->size)
		size = q->node->size;
	return read_to_end(b, size, off, len, iov, n_iov, skip);
}

int qcow2_read(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov, unsigned n_iov,
	       uint64_t skip)
{
	struct qcow2_map m;
	int rc = 0;

	for (; !rc && len; off += m.len, skip += m.len, len -= m.len) {
		rc = qcow2_map_at(q, off, len, &m);
		if (rc)
			break;
		switch (m.kind) {
		case QCOW2_K_DATA:
			rc = q->crypt ? qcow2_crypt_read(q, off, m.host, m.len, iov, n_iov, skip)
				      : read_to_end(q->data, q->data->size, m.host, m.len, iov,
						    n_iov, skip);
			break;
		case QCOW2_K_COMPRESSED:
			rc = qcow2_read_compressed(q, m.desc, off & (q->cluster_size - 1), m.len,
						   iov, n_iov, skip);
			break;
		case QCOW2_K_UNALLOCATED:
			rc = read_backing(q, off, m.len, iov, n_iov, skip);
			break;
		case QCOW2_K_ZERO:
			zero_part(iov, n_iov, skip, m.len);
		}
	}
	return rc;
}

int qcow2_read_buf(struct qcow2 *q, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	return qcow2_read(q, off, len, &iov, 1, 0);
}

int qcow2_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
		unsigned n_iov, uint64_t skip)
{
	uint64_t done;
	int rc = 0;

	for (; !rc && len; off += done, skip += done, len -= done) {
		done = 0;
		rc = qcow2_map_write(q, off, len, iov, n_iov, skip, &done);
	}
	return rc;
}

/* [co] Zeroes as data: parts of clusters. */
static int write_zeroes(struct qcow2 *q, uint64_t off, uint64_t len)
{
	static const uint8_t zeroes[64 << 10] __attribute__((aligned(4096)));
	int rc = 0;

	while (!rc && len) {
		uint64_t part = len < sizeof(zeroes) ? len : sizeof(zeroes);
		struct iovec iov = { .iov_base = (void *)(uintptr_t)zeroes, .iov_len = part };

		rc = qcow2_write(q, off, part, &iov, 1, 0);
		off += part;
		len -= part;
	}
	return rc;
}

/* [co] A part of a subcluster: nothing to do when it reads as zeroes already. */
static int zero_edge(struct qcow2 *q, uint64_t off, uint64_t len)
{
	struct qcow2_map m;
	int rc;

	if (!len)
		return 0;
	qcow2_wait_allocs(q, off, len);
	rc = q->data_raw ? 0 : qcow2_map_at(q, off, len, &m);
	if (rc)
		return rc;
	if (!q->data_raw && m.len == len &&
	    (m.kind == QCOW2_K_ZERO || (m.kind == QCOW2_K_UNALLOCATED && !qcow2_backed(q, off))))
		return 0;
	return write_zeroes(q, off, len);
}

/* [co] Parts of subclusters at both ends are written, the rest is marked. */
static int zero_range(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap, bool fallback)
{
	uint64_t mask = (1ull << q->sub_bits) - 1, end = off + len;
	uint64_t start = (off + mask) & ~mask;
	uint64_t stop = end == q->node->size ? end : end & ~mask;
	int rc;

	if (start >= stop)
		return zero_edge(q, off, len);
	rc = zero_edge(q, off, start - off);
	if (!rc)
		rc = zero_edge(q, stop, end - stop);
	if (!rc)
		rc = qcow2_map_zero(q, start, stop - start, unmap);
	if (rc == -ENOTSUP && fallback)
		rc = write_zeroes(q, start, stop - start);
	return rc;
}

/* [co] Whole clusters within it. */
static int discard_range(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t mask = q->cluster_size - 1, end = off + len;
	uint64_t start = (off + mask) & ~mask;
	uint64_t stop = end == q->node->size ? end : end & ~mask;
	int rc = start < stop ? qcow2_map_discard(q, start, stop - start, false) : 0;

	/* What is given back needs room in memory until tables are written. */
	if (!rc && q->freed[q->epoch].n > 4096)
		rc = qcow2_write_back(q, false);
	return rc;
}

/* A cluster of a request's data in one piece, with zeroes behind its len bytes; buf: room for it.
 */
static const void *whole_cluster(const struct qcow2 *q, const struct blk_io *io, uint64_t at,
				 uint64_t len, uint8_t *buf)
{
	if (io->n_iov == 1 && len == q->cluster_size)
		return (const char *)io->iov->iov_base + at;
	iov_to_buf(io->iov, io->n_iov, at, buf, len);
	memset(buf + len, 0, q->cluster_size - len);
	return buf;
}

/* [co] Whole clusters, stored compressed where that makes them smaller. */
static int write_compressed(struct qcow2 *q, const struct blk_io *io)
{
	uint8_t *plain = malloc(q->cluster_size), *packed = malloc(q->cluster_size);
	int rc = plain && packed ? 0 : -ENOMEM;

	if (q->external || io->off & (q->cluster_size - 1))
		rc = -EINVAL;
	if (q->crypt)
		rc = -ENOTSUP;
	for (uint64_t at = 0; !rc && at < io->len; at += q->cluster_size) {
		uint64_t len = io->len - at < q->cluster_size ? io->len - at : q->cluster_size;
		const void *in;
		ssize_t n;

		if (len < q->cluster_size && io->off + io->len != q->node->size) {
			rc = -EINVAL;
			break;
		}
		in = whole_cluster(q, io, at, len, plain);
		n = qcow2_compress(q, in, packed);
		if (n < 0)
			rc = (int)n;
		else if (n)
			rc = qcow2_write_compressed(q, io->off + at, packed, (uint32_t)n);
		else
			rc = qcow2_write(q, io->off + at, len, io->iov, io->n_iov, at);
	}
	free(plain);
	free(packed);
	return rc;
}

/* --- requests in coroutines
 * -------------------------------------------------------------------------- */

/* [co] */
static int carry_out_write(struct qcow2 *q, struct blk_io *io)
{
	int rc = qcow2_begin_write(q);

	if (rc)
		return rc;
	if (io->op == BLK_DISCARD)
		return discard_range(q, io->off, io->len);
	if (io->op == BLK_WRITE_ZEROES)
		rc = zero_range(q, io->off, io->len, io->flags & BLK_UNMAP,
				!(io->flags & BLK_NO_FALLBACK));
	else if (io->flags & BLK_COMPRESSED)
		rc = write_compressed(q, io);
	else
		rc = qcow2_write(q, io->off, io->len, io->iov, io->n_iov, 0);
	if (!rc && io->flags & BLK_FUA)
		rc = qcow2_write_back(q, true);
	return rc;
}

/* [co] */
static int carry_out(struct qcow2 *q, struct blk_io *io)
{
	unsigned epoch = q->epoch;
	int rc;

	if (io->op == BLK_FLUSH)
		return q->writable ? qcow2_write_back(q, true) : 0;
	q->live[epoch]++;
	if (io->op == BLK_READ)
		rc = qcow2_read(q, io->off, io->len, io->iov, io->n_iov, 0);
	else
		rc = carry_out_write(q, io);
	q->live[epoch]--;
	return rc;
}

static void request(void *arg)
{
	struct qcow2_request *r = arg;
	struct qcow2 *q = r->q;
	struct blk_io *io = r->io;
	int rc = carry_out(q, io);
	bool in_submit = r->in_submit;

	r->next = q->request_pool;
	q->request_pool = r;
	q->in_flight--;
	if (in_submit)
		blk_io_done_later(io, rc);
	else
		io->done(io, rc);
}

static void start_request(struct qcow2 *q, struct blk_io *io)
{
	struct qcow2_request *r = q->request_pool;
	struct co *co;

	if (r)
		q->request_pool = r->next;
	else
		r = malloc(sizeof(*r));
	co = r ? co_create(request, r) : NULL;
	if (!co) {
		free(r);
		blk_io_done_later(io, -ENOMEM);
		return;
	}
	*r = (struct qcow2_request){ .io = io, .q = q, .in_submit = true };
	q->in_flight++;
	co_enter(co);
	/* Ended or not, it is in the pool or in use: memory of ours. */
	r->in_submit = false;
}

/* --- the fast path
 * ------------------------------------------------------------------------------------- */

static void pass_done(struct blk_io *io, int ret)
{
	struct qcow2_pass *p = container_of(io, struct qcow2_pass, io);
	struct blk_io *parent = p->parent;
	struct qcow2 *q = p->q;

	q->live[p->epoch]--;
	p->next = q->pass_pool;
	q->pass_pool = p;
	parent->done(parent, ret);
}

static bool pass_on(struct qcow2 *q, struct blk_io *io, uint64_t host)
{
	struct qcow2_pass *p = q->pass_pool;

	if (p)
		q->pass_pool = p->next;
	else if (!(p = malloc(sizeof(*p))))
		return false;
	p->parent = io;
	p->q = q;
	p->epoch = q->epoch;
	q->live[q->epoch]++;
	p->io.op = io->op;
	p->io.flags = io->flags;
	p->io.off = host;
	p->io.len = io->len;
	p->io.iov = io->iov;
	p->io.n_iov = io->n_iov;
	p->io.done = pass_done;
	blk_node_submit(q->data, &p->io);
	return true;
}

/* The entries of all that io touches, when they are one after the other in one slice. */
struct entries {
	struct be64 *table;
	unsigned first, n;
	uint64_t in; /* where in the first cluster */
};

static bool find_entries(const struct qcow2 *q, const struct blk_io *io, struct entries *e)
{
	uint64_t last = io->off + io->len - 1;

	if (io->off >> q->slice_bits != last >> q->slice_bits)
		return false;
	e->table = qcow2_cache_peek_data(&q->l2, io->off >> q->slice_bits);
	if (!e->table)
		return false;
	e->first = (unsigned)(io->off >> q->cluster_bits) & (q->slice_entries - 1);
	e->n = (unsigned)((last >> q->cluster_bits) - (io->off >> q->cluster_bits)) + 1;
	e->in = io->off & (q->cluster_size - 1);
	return true;
}

/* Bits of the subclusters of the i-th of its clusters that io touches. */
static uint64_t touched(const struct qcow2 *q, const struct blk_io *io, const struct entries *e,
			unsigned i)
{
	uint64_t last = io->off + io->len - 1, mask = q->cluster_size - 1;
	unsigned from = i ? 0 : (unsigned)(e->in >> q->sub_bits);
	unsigned to = (unsigned)((i + 1 < e->n ? mask : last & mask) >> q->sub_bits);

	return (2ull << to) - (1ull << from);
}

/*
 * Whether all clusters are stored, in a row, from *host on. with: bits that the
 * entries must have.
 */
static bool plain_row(const struct qcow2 *q, const struct blk_io *io, const struct entries *e,
		      uint64_t with, uint64_t *host)
{
	const uint64_t odd = QCOW2_COMPRESSED | QCOW2_L2_RESERVED | QCOW2_ZERO;
	const struct be64 *word = e->table;
	unsigned words = q->ext_l2 ? 2 : 1;
	uint64_t first = be64_to_cpu(word[e->first * words]);

	*host = (first & QCOW2_OFFSET_MASK) + e->in;
	for (unsigned i = 0; i < e->n; i++) {
		const struct be64 *w = word + (e->first + i) * words;
		uint64_t desc = be64_to_cpu(w[0]), place = desc & QCOW2_OFFSET_MASK;

		if (desc & odd || (desc & with) != with ||
		    place != (first & QCOW2_OFFSET_MASK) + ((uint64_t)i << q->cluster_bits))
			return false;
		if (!q->external && !place)
			return false;
		if (q->ext_l2) {
			uint64_t bitmap = be64_to_cpu(w[1]), mask = touched(q, io, e, i);

			if ((bitmap & mask) != mask || bitmap >> 32 & bitmap)
				return false;
		}
	}
	if (q->external)
		return first & QCOW2_COPIED && *host == io->off && *host + io->len <= q->data->size;
	return !(first & (q->cluster_size - 1) & QCOW2_OFFSET_MASK) &&
	       *host + io->len <= q->data->size;
}

static bool fast_read(struct qcow2 *q, struct blk_io *io)
{
	struct entries e;
	uint64_t host;

	return find_entries(q, io, &e) && plain_row(q, io, &e, 0, &host) && pass_on(q, io, host);
}

/* A cluster that nothing is behind gets its place here. */
static bool first_write(struct qcow2 *q, struct blk_io *io, const struct entries *e)
{
	unsigned words = q->ext_l2 ? 2 : 1;
	struct be64 *word = e->table + e->first * words;
	uint64_t l1, host;

	if (e->n != 1 || q->external || qcow2_alloc_overlaps(q, io->off, io->len) ||
	    (q->node->backing && io->off < q->node->backing->size + q->cluster_size) ||
	    (q->backing_name && !q->node->backing) || be64_to_cpu(word[0]) ||
	    (q->ext_l2 && be64_to_cpu(word[1])))
		return false;
	l1 = qcow2_array_get(&q->l1, (io->off >> q->cluster_bits) / q->l2_entries);
	if (!(l1 & QCOW2_COPIED))
		return false;
	host = qcow2_alloc_now(q);
	if (!host)
		return false;
	if (qcow2_cache_dirty(&q->l2, q->l2.slot[io->off >> q->slice_bits])) {
		qcow2_free(q, host, q->cluster_size, false);
		return false;
	}
	word[0] = cpu_to_be64(host | QCOW2_COPIED);
	if (q->ext_l2)
		word[1] = cpu_to_be64(0xffffffffu);
	if (pass_on(q, io, host + e->in))
		return true;
	/* The cluster stays, reading as zeroes as before; the write goes the other way. */
	return false;
}

static bool fast_write(struct qcow2 *q, struct blk_io *io)
{
	struct entries e;
	uint64_t host;

	if (!q->begun || !q->writable || io->flags & BLK_COMPRESSED ||
	    (io->flags & BLK_FUA && (qcow2_is_dirty(q) || q->unflushed)) ||
	    !find_entries(q, io, &e))
		return false;
	if (!plain_row(q, io, &e, q->external ? 0 : QCOW2_COPIED, &host))
		return !(io->flags & BLK_FUA) && first_write(q, io, &e);
	if (!q->external && qcow2_is_metadata(q, host, io->len))
		return false; /* told by the other path */
	return pass_on(q, io, host);
}

static int known(const struct qcow2 *q, const struct blk_io *io)
{
	uint64_t size = q->node->size;

	if (io->op == BLK_FLUSH)
		return 1;
	if (io->len > size || io->off > size - io->len)
		return -EIO;
	if (io->op != BLK_READ && !q->writable)
		return q->node->readonly ? -EROFS : -EIO;
	return io->len ? 1 : 0;
}

void qcow2_submit(struct blk_node *n, struct blk_io *io)
{
	struct qcow2 *q = qcow2_of(n);
	int ret = known(q, io);

	if (ret != 1) {
		blk_io_done_later(io, ret);
		return;
	}
	if (io->op != BLK_READ && io->op != BLK_FLUSH)
		qcow2_bitmaps_touch(q, io->off, io->len);
	if (!q->crypt &&
	    (io->op == BLK_READ ? fast_read(q, io) : io->op == BLK_WRITE && fast_write(q, io)))
		return;
	if (io->op == BLK_FLUSH && q->writable && !q->external && !qcow2_is_dirty(q)) {
		blk_node_submit(n->file, io);
		return;
	}
	start_request(q, io);
}

void qcow2_io_free(struct qcow2 *q)
{
	struct qcow2_pass *p;
	struct qcow2_request *r;

	while ((p = q->pass_pool)) {
		q->pass_pool = p->next;
		free(p);
	}
	while ((r = q->request_pool)) {
		q->request_pool = r->next;
		free(r);
	}
}
