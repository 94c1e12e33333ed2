/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames to a virtio-net guest: virtio 1.2, section 5.1.6.4. A frame is read from
 * the backend straight into the guest's buffers: as many chains are popped as
 * the longest agreed on needs, those that it did not fill serve the next one, and at
 * the end of the turn the rest is given back. When the guest has buffers, but fewer than that,
 * the frame is read into a buffer of ours, and waits there if it has to. The device's loop.
 */
#include <errno.h>
#include <string.h>

#include "iov.h"
#include "queue_work.h"
#include "virtio_net.h"

/* --- room -------------------------------------------------------------------------------- */

static void room_reset(struct vnet_room *r)
{
	r->first = r->end = r->iov_first = r->iov_end = 0;
	r->bytes = 0;
}

/* What is left goes to the front, so that there is space for more. */
static void room_pack(struct vnet_room *r)
{
	unsigned n = r->end - r->first, n_iov = r->iov_end - r->iov_first;

	if (!r->first)
		return;
	memmove(r->chain, r->chain + r->first, n * sizeof(r->chain[0]));
	memmove(r->iov, r->iov + r->iov_first, n_iov * sizeof(r->iov[0]));
	r->first = r->iov_first = 0;
	r->end = n;
	r->iov_end = n_iov;
}

/* One more chain. False: there is none to be had now. */
static bool room_add(struct vnet_pair *p)
{
	struct virtio_net *s = p->s;
	struct vnet_room *r = p->room;
	struct vq_chain *c;

	if (r->end == VNET_QUEUE_MOST || r->iov_end > VQ_MAX_IOV)
		room_pack(r);
	/* Nor will a guest whose whole ring is here ever add to it. */
	r->full = r->end == VNET_QUEUE_MOST || r->iov_end > VQ_MAX_IOV ||
		  r->iov_end - r->iov_first >= p->rx->size;
	if (r->full)
		return false;
	for (;;) {
		c = &r->chain[r->end];
		c->iov = r->iov + r->iov_end;
		c->max = VQ_MAX_IOV;
		if (!queue_take(&s->v, p->rx, c))
			return false;
		if (!c->n_out && c->in_len > s->hdr_len)
			break;
		/* Only what was popped last can be given back: it waits until it is the only one.
		 */
		if (r->end > r->first) {
			vq_unpop(p->rx, c);
			r->full = true;
			return false;
		}
		log_guest(&s->v.loop_log, s->v.dev.id ? s->v.dev.id : s->v.dev.cls->name,
			  "queue %u: a buffer of %u bytes to write to and %u to read cannot be "
			  "received into",
			  p->rx->index, c->in_len, c->out_len);
		vq_push(p->rx, c, 0);
	}
	r->end++;
	r->iov_end += c->n_in;
	r->bytes += c->in_len;
	return true;
}

/* Room for len bytes, if the guest has it; without MRG_RXBUF one chain is all there can be. */
static void room_make(struct vnet_pair *p, size_t len)
{
	struct vnet_room *r = p->room;

	if (r->first == r->end)
		room_reset(r);
	while ((p->s->mergeable ? r->bytes < len : r->first == r->end) && room_add(p))
		;
}

static void room_give_back(struct vnet_pair *p)
{
	struct vnet_room *r = p->room;

	while (queue_runs(&p->s->v, p->rx) && r->end > r->first)
		vq_unpop(p->rx, &r->chain[--r->end]);
	room_reset(r);
}

/* The first len bytes of the room hold a frame with its header. */
static void room_use(struct vnet_pair *p, size_t len)
{
	struct vnet_room *r = p->room;
	struct iovec *iov = r->iov + r->iov_first;
	unsigned n_iov = r->iov_end - r->iov_first;
	struct le16 num;
	uint16_t chains = 0;

	for (size_t done = 0; done < len; chains++)
		done += r->chain[r->first + chains].in_len;
	num = cpu_to_le16(chains);
	if (p->s->hdr_len == VNET_HEADER)
		iov_from_buf(iov, n_iov, offsetof(struct virtio_net_hdr_v1, num_buffers), &num,
			     sizeof(num));
	while (len) {
		struct vq_chain *c = &r->chain[r->first++];
		size_t part = len < c->in_len ? len : c->in_len;

		vq_push(p->rx, c, (uint32_t)part);
		r->iov_first += c->n_in;
		r->bytes -= c->in_len;
		len -= part;
	}
}

/* --- frames --------------------------------------------------------------------------------- */

/* iov begins with the header: whether what lies there is for the guest. */
static bool take(struct vnet_pair *p, const struct iovec *iov, unsigned n_iov, size_t len)
{
	struct virtio_net *s = p->s;
	struct virtio_net_hdr_v1 h = { 0 };
	uint8_t head[16];
	size_t n;

	if (len < s->hdr_len)
		return false;
	n = iov_to_buf(iov, n_iov, s->hdr_len, head, sizeof(head));
	if (n > len - s->hdr_len)
		n = len - s->hdr_len;
	if (!vnet_wanted(s, head, n))
		return false;
	if (!s->header)
		return true;
	iov_to_buf(iov, n_iov, 0, &h, s->hdr_len);
	if (vnet_header_ok(&h, vnet_guest_offloads(s->guest_offloads), len - s->hdr_len))
		return true;
	net_dropped(s->net, p->n, false);
	return false;
}

/* As net_recv, always with a header of the guest's. */
static ssize_t recv_frame(struct vnet_pair *p, struct iovec *iov, unsigned n_iov)
{
	static const uint8_t none[VNET_HEADER];
	struct virtio_net *s = p->s;
	struct iovec cut;
	size_t skip = s->hdr_len;
	unsigned i = 0;
	ssize_t len;

	if (s->header)
		return net_recv(s->net, p->n, iov, n_iov);
	iov_from_buf(iov, n_iov, 0, none, skip);
	/* Each chain is longer than that. */
	while (iov[i].iov_len <= skip)
		skip -= iov[i++].iov_len;
	cut = iov[i];
	iov[i].iov_base = (uint8_t *)cut.iov_base + skip;
	iov[i].iov_len -= skip;
	len = net_recv(s->net, p->n, iov + i, n_iov - i);
	iov[i] = cut;
	return len < 0 ? len : len + (ssize_t)s->hdr_len;
}

/* By way of the bounce buffer. False: nothing more can be done now. */
static bool rx_bounced(struct vnet_pair *p)
{
	struct virtio_net *s = p->s;
	struct vnet_room *r = p->room;
	struct iovec b = { .iov_base = p->bounce, .iov_len = VNET_HEADER + NET_FRAME_MOST };
	ssize_t len;

	if (!p->held) {
		len = recv_frame(p, &b, 1);
		if (len < 0)
			return false;
		if (!take(p, &b, 1, (size_t)len))
			return true;
		p->held = (size_t)len;
	}
	if (p->held > r->bytes && !r->full)
		return false;
	if (p->held > r->bytes) {
		net_dropped(s->net, p->n, false);
		p->held = 0;
		return true;
	}
	iov_from_buf(r->iov + r->iov_first, r->iov_end - r->iov_first, 0, p->bounce, p->held);
	room_use(p, p->held);
	p->held = 0;
	return true;
}

static bool rx_one(struct vnet_pair *p)
{
	struct virtio_net *s = p->s;
	struct vnet_room *r = p->room;
	size_t most = p->held ? p->held : s->hdr_len + s->frame_most;
	struct iovec *iov;
	unsigned n_iov;
	ssize_t len;

	room_make(p, most);
	if (r->first == r->end || !queue_runs(&s->v, p->rx))
		return false;
	iov = r->iov + r->iov_first;
	n_iov = r->iov_end - r->iov_first;
	if (p->held || n_iov > VNET_IOV || (s->mergeable && r->bytes < most))
		return rx_bounced(p);
	len = recv_frame(p, iov, n_iov);
	if (len < 0)
		return false;
	if (take(p, iov, n_iov, (size_t)len))
		room_use(p, (size_t)len);
	return true;
}

void vnet_rx(struct vnet_pair *p)
{
	struct virtio_net *s = p->s;
	unsigned n = 0;

	if (p->n >= s->pairs || !queue_runs(&s->v, p->rx))
		return;
	room_reset(p->room);
	while (n < VNET_BATCH && rx_one(p))
		n++;
	room_give_back(p);
	queue_flush(&s->v, p->rx);
	if (n == VNET_BATCH && queue_runs(&s->v, p->rx))
		virtio_requeue(p->rx);
}
