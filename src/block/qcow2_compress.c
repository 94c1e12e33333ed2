/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: compressed clusters ("Compressed Clusters Descriptor" in the specification): raw
 * deflate with a window of 4 KiB (RFC 1951), or zstd frames (RFC 8878). The node's
 * thread, but for the two functions that know nothing of images.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "iov.h"
#include "qcow2.h"

enum { WINDOW_BITS = 12, MEM_LEVEL = 9 };

/* --- data --- */

static ssize_t deflate_all(const void *in, size_t len, void *out, size_t max)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)len };
	int rc = deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS, MEM_LEVEL,
			      Z_DEFAULT_STRATEGY);
	ssize_t n;

	if (rc != Z_OK)
		return -ENOMEM;
	z.next_out = out;
	z.avail_out = (uInt)max;
	rc = deflate(&z, Z_FINISH);
	n = rc == Z_STREAM_END ? (ssize_t)(max - z.avail_out) : 0;
	deflateEnd(&z);
	return n;
}

ssize_t qcow2_compress(int type, const void *in, size_t len, void *out, size_t max)
{
	size_t n;

	if (type == QCOW2_ZLIB)
		return deflate_all(in, len, out, max);
	n = ZSTD_compress(out, max, in, len, ZSTD_CLEVEL_DEFAULT);
	return ZSTD_isError(n) ? 0 : (ssize_t)n;
}

/* Decompression stops when the cluster is full: what follows is not of it. */
static int inflate_all(const void *in, size_t len, void *out, size_t out_len)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)len };
	int rc;

	z.next_out = out;
	z.avail_out = (uInt)out_len;
	if (inflateInit2(&z, -WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

static int zstd_all(const void *in, size_t len, void *out, size_t out_len)
{
	ZSTD_DStream *d = ZSTD_createDStream();
	ZSTD_outBuffer o = { .dst = out, .size = out_len };
	ZSTD_inBuffer i = { .src = in, .size = len };
	bool stuck = false;

	if (!d)
		return -ENOMEM;
	/* Frames may follow one another; sectors at the end hold other things. */
	while (o.pos < o.size && !stuck) {
		size_t was_in = i.pos, was_out = o.pos;

		stuck = ZSTD_isError(ZSTD_decompressStream(d, &o, &i)) ||
			(i.pos == was_in && o.pos == was_out);
	}
	ZSTD_freeDStream(d);
	return o.pos == o.size ? 0 : -EIO;
}

int qcow2_decompress(int type, const void *in, size_t len, void *out, size_t out_len)
{
	return type == QCOW2_ZLIB ? inflate_all(in, len, out, out_len)
				  : zstd_all(in, len, out, out_len);
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
		rc = qcow2_decompress(q->compression, packed, len, out, q->cluster_size);
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
