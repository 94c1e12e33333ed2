/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames from a virtio-net guest: virtio 1.2, section 5.1.6.2. A frame goes to
 * the backend as it lies in guest memory; only its header is copied, so that what is
 * checked is what is sent. A backend without room keeps the queue waiting. The device's loop.
 */
#include <errno.h>

#include "iov.h"
#include "queue_work.h"
#include "virtio_net.h"

static void refuse(struct vnet_pair *p, const char *why, size_t len)
{
	struct virtio_net *s = p->s;

	net_dropped(s->net, p->n, true);
	log_guest(&s->v.loop_log, s->v.dev.id ? s->v.dev.id : s->v.dev.cls->name,
		  "queue %u: a chain of %zu bytes: %s: it is dropped", p->tx->index, len, why);
}

/* 0: it is done with, -EAGAIN: the backend has no room. */
static int send_chain(struct vnet_pair *p, const struct vq_chain *c)
{
	struct virtio_net *s = p->s;
	struct virtio_net_hdr_v1 h = { 0 };
	struct iovec *iov = c->iov;
	unsigned n = c->n_out;
	size_t frame = c->out_len - s->hdr_len;

	if (c->out_len <= s->hdr_len) {
		refuse(p, "shorter than its header and a byte", c->out_len);
		return 0;
	}
	if (frame > NET_FRAME_MOST) {
		refuse(p, "longer than a frame can be", c->out_len);
		return 0;
	}
	iov_to_buf(iov, n, 0, &h, s->hdr_len);
	h.num_buffers = cpu_to_le16(0);
	iov_discard_front(&iov, &n, s->hdr_len);
	if (!s->header)
		return net_send(s->net, p->n, iov, n) == -EAGAIN ? -EAGAIN : 0;
	if (!vnet_header_ok(&h, vnet_host_offloads(s->v.features), frame)) {
		refuse(p, "its header asks for what was not agreed on", c->out_len);
		return 0;
	}
	/* There is an entry before the first: see vnet_tx. */
	*--iov = (struct iovec){ .iov_base = &h, .iov_len = s->hdr_len };
	return net_send(s->net, p->n, iov, n + 1) == -EAGAIN ? -EAGAIN : 0;
}

void vnet_tx(struct vnet_pair *p)
{
	struct virtio_net *s = p->s;
	struct vq_chain c = { .iov = p->tx_iov + 1, .max = VNET_IOV - 1 };
	unsigned sent = 0;

	if (p->tx_waits || p->n >= s->pairs)
		return;
	while (sent < VNET_BATCH && queue_take(&s->v, p->tx, &c)) {
		if (send_chain(p, &c) == -EAGAIN) {
			vq_unpop(p->tx, &c);
			p->tx_waits = true;
			break;
		}
		vq_push(p->tx, &c, 0);
		sent++;
	}
	if (!sent)
		return;
	net_flush(s->net, p->n);
	queue_flush(&s->v, p->tx);
	if (sent == VNET_BATCH && !p->tx_waits)
		virtio_requeue(p->tx);
}
