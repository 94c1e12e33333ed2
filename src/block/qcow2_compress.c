/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: compressed clusters ("Compressed Clusters Descriptor" in the specification): raw
 * deflate with a window of 4 KiB (RFC 1951), or zstd frames (RFC 8878). The node's
 * thread; the work on the data is done on threads of co_pool.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "co_pool.h"
#include "iov.h"
#include "qcow2.h"

/*
 * Levels from which on more work makes data smaller by a fiftieth at most: the window and the
 * cluster are too small for it to pay.
 */
enum { WINDOW_BITS = 12, MEM_LEVEL = 8, DEFLATE_LEVEL = 5, ZSTD_LEVEL = 2 };

/* --- data, on any thread --- */

/* What a thread keeps, as making it takes about as long as a cluster. NULL: not made yet. */
struct codec {
	z_stream *deflate, *inflate;
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
};

static pthread_once_t codec_once = PTHREAD_ONCE_INIT;
static pthread_key_t codec_key;
static bool have_key;

static void codec_free(void *arg)
{
	struct codec *c = arg;

	if (c->deflate)
		deflateEnd(c->deflate);
	if (c->inflate)
		inflateEnd(c->inflate);
	free(c->deflate);
	free(c->inflate);
	ZSTD_freeCCtx(c->compress);
	ZSTD_freeDCtx(c->decompress);
	free(c);
}

static void make_key(void)
{
	have_key = !pthread_key_create(&codec_key, codec_free);
}

/* NULL: no memory. */
static struct codec *codec_get(void)
{
	struct codec *c;

	pthread_once(&codec_once, make_key);
	c = have_key ? pthread_getspecific(codec_key) : NULL;
	if (c || !have_key)
		return c;
	c = calloc(1, sizeof(*c));
	if (c && pthread_setspecific(codec_key, c)) {
		free(c);
		c = NULL;
	}
	return c;
}

static z_stream *deflate_get(struct codec *c)
{
	z_stream *z = c->deflate;

	if (z)
		return deflateReset(z) == Z_OK ? z : NULL;
	z = calloc(1, sizeof(*z));
	if (z && deflateInit2(z, DEFLATE_LEVEL, Z_DEFLATED, -WINDOW_BITS, MEM_LEVEL,
			      Z_DEFAULT_STRATEGY) != Z_OK) {
		free(z);
		z = NULL;
	}
	c->deflate = z;
	return z;
}

static z_stream *inflate_get(struct codec *c)
{
	z_stream *z = c->inflate;

	if (z)
		return inflateReset(z) == Z_OK ? z : NULL;
	z = calloc(1, sizeof(*z));
	if (z && inflateInit2(z, -WINDOW_BITS) != Z_OK) {
		free(z);
		z = NULL;
	}
	c->inflate = z;
	return z;
}

static ssize_t deflate_all(struct codec *c, const void *in, size_t len, void *out, size_t max)
{
	z_stream *z = deflate_get(c);

	if (!z)
		return -ENOMEM;
	z->next_in = (Bytef *)(uintptr_t)in;
	z->avail_in = (uInt)len;
	z->next_out = out;
	z->avail_out = (uInt)max;
	return deflate(z, Z_FINISH) == Z_STREAM_END ? (ssize_t)(max - z->avail_out) : 0;
}

static ssize_t zstd_compress(struct codec *c, const void *in, size_t len, void *out, size_t max)
{
	size_t n;

	if (!c->compress && !(c->compress = ZSTD_createCCtx()))
		return -ENOMEM;
	n = ZSTD_compressCCtx(c->compress, out, max, in, len, ZSTD_LEVEL);
	return ZSTD_isError(n) ? 0 : (ssize_t)n;
}

/* Stops when the cluster is full: what follows is not of it. */
static int inflate_all(struct codec *c, const void *in, size_t len, void *out, size_t out_len)
{
	z_stream *z = inflate_get(c);
	int rc;

	if (!z)
		return -ENOMEM;
	z->next_in = (Bytef *)(uintptr_t)in;
	z->avail_in = (uInt)len;
	z->next_out = out;
	z->avail_out = (uInt)out_len;
	rc = inflate(z, Z_FINISH);
	return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && !z->avail_out ? 0 : -EIO;
}

static int zstd_decompress(struct codec *c, const void *in, size_t len, void *out, size_t out_len)
{
	ZSTD_outBuffer o = { .dst = out, .size = out_len };
	ZSTD_inBuffer i = { .src = in, .size = len };
	bool stuck = false;

	if (!c->decompress && !(c->decompress = ZSTD_createDCtx()))
		return -ENOMEM;
	ZSTD_DCtx_reset(c->decompress, ZSTD_reset_session_only);
	/* Frames may follow one another; sectors at the end hold other things. */
	while (o.pos < o.size && !stuck) {
		size_t was_in = i.pos, was_out = o.pos;

		stuck = ZSTD_isError(ZSTD_decompressStream(c->decompress, &o, &i)) ||
			(i.pos == was_in && o.pos == was_out);
	}
	return o.pos == o.size ? 0 : -EIO;
}

struct work {
	int type;
	const void *in;
	void *out;
	size_t in_len, out_len;
	ssize_t ret;
};

static void compress_work(void *arg)
{
	struct work *w = arg;
	struct codec *c = codec_get();

	w->ret = !c                      ? -ENOMEM
		 : w->type == QCOW2_ZLIB ? deflate_all(c, w->in, w->in_len, w->out, w->out_len)
					 : zstd_compress(c, w->in, w->in_len, w->out, w->out_len);
}

static void decompress_work(void *arg)
{
	struct work *w = arg;
	struct codec *c = codec_get();

	w->ret = !c                      ? -ENOMEM
		 : w->type == QCOW2_ZLIB ? inflate_all(c, w->in, w->in_len, w->out, w->out_len)
					 : zstd_decompress(c, w->in, w->in_len, w->out, w->out_len);
}

/* [co] */
static ssize_t run_work(struct qcow2 *q, void (*fn)(void *arg), struct work *w)
{
	w->type = q->compression;
	q->in_pool++;
	co_pool_run(q->node->loop, fn, w);
	q->in_pool--;
	return w->ret;
}

ssize_t qcow2_compress(struct qcow2 *q, const void *in, void *out)
{
	struct work w = {
		.in = in, .in_len = q->cluster_size, .out = out, .out_len = q->cluster_size - 1
	};

	return run_work(q, compress_work, &w);
}

/* [co] Exactly a cluster comes out, or -EIO. */
static int decompress(struct qcow2 *q, const void *in, size_t len, void *out)
{
	struct work w = { .in = in, .in_len = len, .out = out, .out_len = q->cluster_size };

	return (int)run_work(q, decompress_work, &w);
}

/* --- reading --- */

/* [co] */
static int load(struct qcow2 *q, uint64_t desc, uint8_t *out)
{
	uint64_t host, size = q->node->file->size;
	uint32_t len;
	uint8_t *packed;
	int rc;

	qcow2_compressed_place(q, desc, &host, &len);
	/* The last sector need not be all there. */
	if (host >= size)
		return -EIO;
	if (len > size - host)
		len = (uint32_t)(size - host);
	packed = malloc(len);
	if (!packed)
		return -ENOMEM;
	rc = co_pread(q->node->file, host, packed, len);
	if (!rc)
		rc = decompress(q, packed, len, out);
	free(packed);
	return rc;
}

/* The place for desc: where it is, or the one unused for longest; NULL: all are being filled. */
static struct qcow2_decompressed *find_place(struct qcow2 *q, uint64_t desc)
{
	struct qcow2_decompressed *best = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(q->plain); i++) {
		struct qcow2_decompressed *d = &q->plain[i];

		if (d->desc == desc)
			return d;
		if (!d->loading && (!best || d->used < best->used))
			best = d;
	}
	return best;
}

/* [co] Fills d; those who want the same cluster wait. */
static int fill(struct qcow2 *q, struct qcow2_decompressed *d, uint64_t desc)
{
	int rc;

	if (!d->data && !(d->data = malloc(q->cluster_size)))
		return -ENOMEM;
	d->desc = desc;
	d->loading = true;
	rc = load(q, desc, d->data);
	d->loading = false;
	if (rc)
		d->desc = 0;
	return rc;
}

int qcow2_read_compressed(struct qcow2 *q, uint64_t desc, uint64_t in, uint64_t len,
			  const struct iovec *iov, unsigned n_iov, uint64_t skip)
{
	struct qcow2_decompressed *d, own = { 0 };
	int rc = 0;

	while ((d = find_place(q, desc)) && d->desc == desc && d->loading)
		co_queue_wait(&d->loaded);
	if (!d)
		d = &own;
	if (d->desc != desc)
		rc = fill(q, d, desc);
	if (!rc) {
		d->used = ++q->stamp;
		iov_from_buf(iov, n_iov, skip, d->data + in, len);
	}
	co_queue_wake_all(&d->loaded);
	free(own.data);
	return rc;
}

void qcow2_compress_free(struct qcow2 *q)
{
	for (unsigned i = 0; i < ARRAY_SIZE(q->plain); i++)
		free(q->plain[i].data);
}

/* --- writing --- */

static void forget(struct qcow2 *q, uint64_t desc)
{
	for (unsigned i = 0; i < ARRAY_SIZE(q->plain); i++)
		if (q->plain[i].desc == desc && !q->plain[i].loading)
			q->plain[i].desc = 0;
}

int qcow2_write_compressed(struct qcow2 *q, uint64_t off, const void *data, uint32_t len)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t host, sectors, desc;
	int rc = qcow2_alloc_packed(q, len, &host);

	if (rc)
		return rc;
	sectors = ((host + len - 1) >> 9) - (host >> 9);
	desc = QCOW2_COMPRESSED | sectors << x | host;
	if (host >> (x < 56 ? x : 56))
		rc = -EFBIG;
	else if (qcow2_is_metadata(q, host, len))
		rc = qcow2_corrupt(q, "%#" PRIx64 " is free and holds metadata", host);
	if (!rc)
		rc = co_pwrite(q->node->file, host, data, len, 0);
	if (!rc) {
		forget(q, desc);
		rc = qcow2_map_set(q, off, desc, 0);
	}
	if (rc) {
		uint64_t first = host >> q->cluster_bits;

		qcow2_refcount_add(q, first, ((host + len - 1) >> q->cluster_bits) - first + 1, -1);
	}
	return rc;
}
