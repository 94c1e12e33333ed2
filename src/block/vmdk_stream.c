/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vmdk: stream-optimized images being made. Grains are compressed one by one as they come,
 * each once; a flush puts the tables, the directory and the footer behind them. Until then the
 * file has no footer and is no image. In coroutines of the node's thread, under the image's
 * lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "co_io.h"
#include "err.h"
#include "iov.h"
#include "vmdk_int.h"

struct vmdk_stream {
	struct vmdk_sparse header;
	struct le32 *grain; /* the sector of each */
	uint64_t grains, tables;
	bool finished; /* nothing has been written since */
	uint8_t *buf, *packed; /* a grain; a sector's multiple that holds one compressed */
	size_t room; /* of packed */
};

int vmdk_stream_open(struct vmdk_extent *x, const struct vmdk_sparse *h, struct err *e)
{
	struct vmdk_stream *s = calloc(1, sizeof(*s));
	uint64_t per_table = (uint64_t)x->grain * x->gtes;

	x->stream = s;
	if (!s)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	s->header = *h;
	s->tables = (x->len + per_table - 1) / per_table;
	s->grains = s->tables * x->gtes;
	if (s->grains * sizeof(s->grain[0]) > MAPPED_TABLE_MOST)
		return mapped_unsupported(x->file, e, "VMDK field capacity",
					  le64_to_cpu(h->capacity),
					  "the grain tables would take more than 64 MiB");
	s->room = (sizeof(struct vmdk_marker) + compressBound(x->grain) + VMDK_SECTOR - 1) /
		  VMDK_SECTOR * VMDK_SECTOR;
	s->grain = calloc(s->grains, sizeof(s->grain[0]));
	s->buf = malloc(x->grain);
	s->packed = malloc(s->room);
	x->end = x->file->size;
	return s->grain && s->buf && s->packed ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

void vmdk_stream_free(struct vmdk_extent *x)
{
	struct vmdk_stream *s = x->stream;

	if (!s)
		return;
	free(s->grain);
	free(s->buf);
	free(s->packed);
	free(s);
	x->stream = NULL;
}

uint32_t vmdk_stream_entry(const struct vmdk_extent *x, uint64_t in_extent)
{
	return le32_to_cpu(x->stream->grain[in_extent / x->grain]);
}

/* Whole sectors behind what there is. */
static int append(struct vmdk_extent *x, const void *data, size_t len)
{
	int rc = x->end / VMDK_SECTOR > UINT32_MAX ? -EFBIG
						   : co_pwrite(x->file, x->end, data, len, 0);

	if (!rc)
		x->end += len;
	return rc;
}

int vmdk_stream_write(struct vmdk_extent *x, uint64_t in_extent, uint64_t len,
		      const struct iovec *iov, unsigned n_iov)
{
	struct vmdk_stream *s = x->stream;
	struct vmdk_marker *marker = (void *)s->packed;
	uLongf packed = s->room - sizeof(*marker);
	uint64_t index = in_extent / x->grain, at = x->end;
	size_t used;
	int rc;

	memset(s->buf, 0, x->grain);
	iov_to_buf(iov, n_iov, 0, s->buf + in_extent % x->grain, len);
	if (compress(s->packed + sizeof(*marker), &packed, s->buf, x->grain) != Z_OK)
		return -EIO;
	marker->value = cpu_to_le64(index * x->grain / VMDK_SECTOR);
	marker->size = cpu_to_le32((uint32_t)packed);
	used = sizeof(*marker) + packed;
	memset(s->packed + used, 0, s->room - used);
	s->finished = false;
	rc = append(x, s->packed, (used + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR);
	if (!rc)
		s->grain[index] = cpu_to_le32((uint32_t)(at / VMDK_SECTOR));
	return rc;
}

static int append_marker(struct vmdk_extent *x, unsigned type, uint64_t sectors)
{
	struct vmdk_meta_marker m = { .m.value = cpu_to_le64(sectors), .type = cpu_to_le32(type) };

	return append(x, &m, sizeof(m));
}

static bool is_empty(const struct le32 *table, uint32_t n)
{
	while (n && !le32_to_cpu(*table))
		table++, n--;
	return !n;
}

/* Tables that have an entry, and where they are. */
static int append_tables(struct vmdk_extent *x, struct le32 *gd)
{
	struct vmdk_stream *s = x->stream;
	size_t size = x->gtes * sizeof(struct le32);
	size_t whole = (size + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR;
	struct le32 table[VMDK_GTES_MOST];
	int rc = 0;

	memset(table, 0, sizeof(table));
	for (uint64_t i = 0; !rc && i < s->tables; i++) {
		if (is_empty(s->grain + i * x->gtes, x->gtes))
			continue;
		rc = append_marker(x, VMDK_MARK_GT, whole / VMDK_SECTOR);
		gd[i] = cpu_to_le32((uint32_t)(x->end / VMDK_SECTOR));
		memcpy(table, s->grain + i * x->gtes, size);
		if (!rc)
			rc = append(x, table, whole);
	}
	return rc;
}

int vmdk_stream_finish(struct vmdk_extent *x)
{
	struct vmdk_stream *s = x->stream;
	size_t size =
		(s->tables * sizeof(struct le32) + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR;
	struct le32 *gd;
	int rc;

	if (s->finished)
		return 0;
	gd = calloc(1, size ? size : VMDK_SECTOR);
	if (!gd)
		return -ENOMEM;
	rc = append_tables(x, gd);
	if (!rc)
		rc = append_marker(x, VMDK_MARK_GD, size / VMDK_SECTOR);
	s->header.gd_offset = cpu_to_le64(x->end / VMDK_SECTOR);
	if (!rc)
		rc = append(x, gd, size);
	if (!rc) /* what is referred to is there before the reference */
		rc = co_flush(x->file);
	if (!rc)
		rc = append_marker(x, VMDK_MARK_FOOTER, 1);
	if (!rc)
		rc = append(x, &s->header, sizeof(s->header));
	if (!rc)
		rc = append_marker(x, VMDK_MARK_END, 0);
	free(gd);
	s->finished = !rc;
	return rc;
}
