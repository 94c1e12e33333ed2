/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vmdk: compressed grains. A grain is inflated whole, and kept for those who read the
 * rest of it: some of them, the least recently used go first. In coroutines of the node's
 * thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "co_io.h"
#include "iov.h"
#include "vmdk_int.h"

/* -EIO when it is damaged. */
static int inflate_grain(void *from, uint32_t len, void *to, uint32_t room, uint32_t *got)
{
	z_stream z = { .next_in = from, .avail_in = len, .next_out = to, .avail_out = room };
	int rc;

	if (inflateInit(&z) != Z_OK)
		return -ENOMEM;
	rc = inflate(&z, Z_FINISH);
	*got = (uint32_t)z.total_out;
	inflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : -EIO;
}

/* The grain at off of the file, which is grain bytes long when it is inflated, into to. */
static int read_packed(struct blk_node *file, uint64_t off, uint32_t grain, uint64_t sector,
		       uint8_t *to, uint32_t *got)
{
	struct vmdk_marker marker;
	uint8_t *packed;
	uint32_t len;
	int rc = co_pread(file, off, &marker, sizeof(marker));

	if (rc)
		return rc;
	len = le32_to_cpu(marker.size);
	if (le64_to_cpu(marker.value) != sector || !len || len > 2 * grain)
		return -EIO;
	packed = malloc(len);
	if (!packed)
		return -ENOMEM;
	rc = co_pread(file, off + sizeof(marker), packed, len);
	if (!rc)
		rc = inflate_grain(packed, len, to, grain, got);
	free(packed);
	return rc;
}

static struct vmdk_grain *find(struct vmdk *v, const struct mapping *m)
{
	for (unsigned i = 0; i < VMDK_GRAINS_CACHED; i++)
		if (v->grains[i].file == m->node && v->grains[i].off == m->off)
			return &v->grains[i];
	return NULL;
}

/* One that nobody is loading, or NULL. */
static struct vmdk_grain *oldest(struct vmdk *v)
{
	struct vmdk_grain *g = NULL;

	for (unsigned i = 0; i < VMDK_GRAINS_CACHED; i++)
		if (!v->grains[i].loading && (!g || v->grains[i].used < g->used))
			g = &v->grains[i];
	return g;
}

static int load(struct vmdk_grain *g, const struct mapping *m, uint32_t grain, uint64_t sector)
{
	uint8_t *data = realloc(g->data, grain);
	int rc;

	if (!data)
		return -ENOMEM;
	g->data = data;
	g->file = m->node;
	g->off = m->off;
	g->loading = true;
	rc = read_packed(m->node, m->off, grain, sector, g->data, &g->got);
	g->loading = false;
	if (rc)
		g->file = NULL;
	return rc;
}

/* Without a place in the cache: all are being loaded. */
static int unpack_apart(const struct mapping *m, uint32_t grain, uint64_t sector,
			const struct iovec *iov, unsigned n_iov)
{
	uint8_t *buf = malloc(grain);
	uint32_t got = 0;
	int rc = buf ? read_packed(m->node, m->off, grain, sector, buf, &got) : -ENOMEM;

	if (!rc && m->skip + m->bytes > got)
		rc = -EIO;
	if (!rc)
		iov_from_buf(iov, n_iov, 0, buf + m->skip, m->bytes);
	free(buf);
	return rc;
}

int vmdk_unpack(struct blk_node *n, const struct mapping *m, const struct iovec *iov,
		unsigned n_iov)
{
	struct vmdk *v = n->p;
	const struct vmdk_extent *x = &v->extent[vmdk_extent_at(v, m->start)];
	uint64_t sector = (m->start - m->skip - x->start) / VMDK_SECTOR;
	struct vmdk_grain *g;
	bool loaded = false;
	int rc = 0;

	while ((g = find(v, m)) && g->loading)
		co_queue_wait(&g->waiting);
	if (!g) {
		g = oldest(v);
		if (!g)
			return unpack_apart(m, x->grain, sector, iov, n_iov);
		rc = load(g, m, x->grain, sector);
		loaded = true;
	}
	g->used = ++v->clock;
	if (!rc && m->skip + m->bytes > g->got)
		rc = -EIO;
	if (!rc)
		iov_from_buf(iov, n_iov, 0, g->data + m->skip, m->bytes);
	/* Last: those who waited run at once, and may use the place for something else. */
	if (loaded)
		co_queue_wake_all(&g->waiting);
	return rc;
}

void vmdk_grains_free(struct vmdk *v)
{
	for (unsigned i = 0; v->grains && i < VMDK_GRAINS_CACHED; i++)
		free(v->grains[i].data);
	free(v->grains);
}
