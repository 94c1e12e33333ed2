/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames that wait for a card, of backends that are handed them: a ring of copies, bounded in
 * number and in bytes. See net_int.h; the card's loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iov.h"
#include "net_int.h"

struct net_fifo {
	struct net *n;
	uint8_t *frame[NET_FIFO_FRAMES];
	uint32_t len[NET_FIFO_FRAMES];
	unsigned first, count;
	size_t bytes;
	bool waited; /* net_fifo_recv found nothing: the card is to be told */
};

int net_fifo_create(struct net *n, struct net_fifo **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->n = n;
	(*out)->waited = true;
	return 0;
}

static void drop_first(struct net_fifo *f)
{
	free(f->frame[f->first]);
	f->bytes -= f->len[f->first];
	f->first = (f->first + 1) % NET_FIFO_FRAMES;
	f->count--;
}

void net_fifo_clear(struct net_fifo *f)
{
	while (f->count)
		drop_first(f);
	f->waited = true;
}

void net_fifo_free(struct net_fifo *f)
{
	if (f)
		net_fifo_clear(f);
	free(f);
}

bool net_fifo_room(const struct net_fifo *f)
{
	return f->count < NET_FIFO_FRAMES && f->bytes + NET_FRAME_MOST <= NET_FIFO_BYTES;
}

int net_fifo_put(struct net_fifo *f, const struct iovec *iov, unsigned n_iov)
{
	size_t len = iov_len(iov, n_iov);
	unsigned at = (f->first + f->count) % NET_FIFO_FRAMES;
	uint8_t *copy;

	if (len > NET_FRAME_MOST)
		return -EMSGSIZE;
	if (!net_fifo_room(f))
		return -ENOBUFS;
	copy = malloc(len ? len : 1);
	if (!copy)
		return -ENOBUFS;
	iov_to_buf(iov, n_iov, 0, copy, len);
	f->frame[at] = copy;
	f->len[at] = (uint32_t)len;
	f->count++;
	f->bytes += len;
	if (f->waited) {
		f->waited = false;
		net_readable(f->n, 0);
	}
	return 0;
}

ssize_t net_fifo_recv(struct net_fifo *f, const struct iovec *iov, unsigned n_iov)
{
	static const uint8_t no_header[16];
	size_t hdr = f->n->hdr_len, room = iov_len(iov, n_iov), len;

	/* What has no room is lost, as in a card whose buffers are too small. */
	while (f->count && hdr + f->len[f->first] > room) {
		f->n->stats[0].rx_dropped++;
		drop_first(f);
	}
	if (!f->count) {
		f->waited = true;
		return -EAGAIN;
	}
	len = f->len[f->first];
	iov_from_buf(iov, n_iov, 0, no_header, hdr);
	iov_from_buf(iov, n_iov, hdr, f->frame[f->first], len);
	drop_first(f);
	return (ssize_t)(hdr + len);
}
