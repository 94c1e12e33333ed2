/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies where on a disk of several layers, and whether bytes are zeroes. */
#include <string.h>

#include "img.h"

/*
 * What a layer does not decide is the next one's. What none decides, or lies behind the
 * end of a shorter backing file, reads as zeroes; the layer that found that out says so.
 */
int img_status(struct blk_node *n, const struct blk_node *base, uint64_t off, uint64_t len,
	       struct img_status *out)
{
	int rc;

	*out = (struct img_status){ .bytes = len, .node = n };
	for (;;) {
		rc = blk_node_status(n, off, out->bytes, &out->bytes, &out->flags);
		if (rc)
			return rc;
		if ((out->flags & BLK_ALLOCATED) || !n->backing || n->backing == base)
			break;
		if (off >= n->backing->size) {
			out->flags |= BLK_ZERO;
			break;
		}
		if (out->bytes > n->backing->size - off)
			out->bytes = n->backing->size - off;
		n = n->backing;
		out->node = n;
		out->depth++;
	}
	if (!(out->flags & BLK_ALLOCATED) && (!base || n->backing != base))
		out->flags = BLK_ZERO;
	return 0;
}

static struct blk_node *data_file(const struct blk_node *n)
{
	const struct blk_image_ops *ops = n->drv->image;

	return ops && ops->data_file ? ops->data_file(n) : n->file;
}

/* Asked once for each layer: it may take long. */
static bool is_sparse(struct img_below *b, struct blk_node *n)
{
	bool (*ask)(struct blk_node *) = n->drv->image ? n->drv->image->sparse_below : NULL;

	if (b->asked != n) {
		b->asked = n;
		b->sparse = ask && ask(n);
	}
	return b->sparse;
}

int img_status_below(struct blk_node *n, uint64_t off, uint64_t len, struct img_below *b,
		     struct img_status *out, struct img_place *place)
{
	uint64_t bytes;
	unsigned flags;
	int rc = img_status(n, NULL, off, len, out);

	*place = (struct img_place){ 0 };
	if (rc || !out->node->drv->place || !out->node->drv->place(out->node, off, &place->off))
		return rc;
	place->file = data_file(out->node);
	if (!(out->flags & BLK_DATA) || out->flags & BLK_ZERO || !is_sparse(b, out->node) ||
	    blk_node_status(place->file, place->off, out->bytes, &bytes, &flags))
		return 0;
	out->flags |= flags & BLK_ZERO;
	if (bytes && bytes < out->bytes)
		out->bytes = bytes;
	return 0;
}

bool img_is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	/* Data are mostly told from zeroes by their first bytes. */
	for (; len >= 64; p += 64, len -= 64) {
		uint64_t v[8];

		memcpy(v, p, 64);
		if (v[0] | v[1] | v[2] | v[3] | v[4] | v[5] | v[6] | v[7])
			return false;
	}
	while (len--)
		if (*p++)
			return false;
	return true;
}
