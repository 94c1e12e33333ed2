/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net's control queue: virtio 1.2, section 5.1.6.5. A message is answered
 * when it has been carried out; one that is malformed, unknown, or of a feature
 * that was not taken changes nothing. The device's loop.
 */
#include <errno.h>
#include <string.h>

#include "iov.h"
#include "queue_work.h"
#include "virtio_net.h"

/* A message as it lies in the guest's buffers. */
struct message {
	const struct iovec *iov;
	unsigned n_iov;
	size_t at, len; /* what has not been read is [at, len) */
};

static bool get(struct message *m, void *buf, size_t len)
{
	if (len > m->len - m->at)
		return false;
	m->at += iov_to_buf(m->iov, m->n_iov, m->at, buf, len);
	return true;
}

/* The same, when it is all there is. */
static bool get_last(struct message *m, void *buf, size_t len)
{
	return len == m->len - m->at && get(m, buf, len);
}

static bool set_rx_mode(struct virtio_net *s, unsigned mode, struct message *m)
{
	unsigned feature = mode < VIRTIO_NET_CTRL_RX_ALLUNI ? VIRTIO_NET_F_CTRL_RX
							    : VIRTIO_NET_F_CTRL_RX_EXTRA;
	uint8_t on;

	if (mode >= VIRTIO_NET_CTRL_RX_MODES || !virtio_has(&s->v, feature) ||
	    !get_last(m, &on, sizeof(on)))
		return false;
	s->filter.mode[mode] = on != 0;
	return true;
}

static bool get_macs(struct message *m, struct vnet_macs *list)
{
	struct le32 wire;
	uint32_t n;

	memset(list, 0, sizeof(*list));
	if (!get(m, &wire, sizeof(wire)))
		return false;
	n = le32_to_cpu(wire);
	if (n > (m->len - m->at) / 6)
		return false;
	list->overflow = n > VNET_MACS;
	list->n = list->overflow ? 0 : n;
	if (list->overflow) {
		m->at += n * 6ul;
		return true;
	}
	return get(m, list->mac, n * 6ul);
}

static bool set_macs(struct virtio_net *s, struct message *m)
{
	struct vnet_macs uni, multi;

	if (!virtio_has(&s->v, VIRTIO_NET_F_CTRL_RX) || !get_macs(m, &uni) ||
	    !get_macs(m, &multi) || m->at != m->len)
		return false;
	s->filter.uni = uni;
	s->filter.multi = multi;
	return true;
}

static bool set_mac(struct virtio_net *s, unsigned cmd, struct message *m)
{
	uint8_t mac[6];

	if (cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return set_macs(s, m);
	if (cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET || !virtio_has(&s->v, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    !get_last(m, mac, sizeof(mac)))
		return false;
	s->mac = vnet_mac_number(mac);
	return true;
}

static bool set_vlan(struct virtio_net *s, unsigned cmd, struct message *m)
{
	struct le16 wire;
	uint16_t id;

	if (cmd > VIRTIO_NET_CTRL_VLAN_DEL || !virtio_has(&s->v, VIRTIO_NET_F_CTRL_VLAN) ||
	    !get_last(m, &wire, sizeof(wire)))
		return false;
	id = le16_to_cpu(wire);
	if (id >= VNET_VLANS)
		return false;
	if (cmd == VIRTIO_NET_CTRL_VLAN_ADD)
		s->filter.vlan[id / 64] |= 1ull << id % 64;
	else
		s->filter.vlan[id / 64] &= ~(1ull << id % 64);
	return true;
}

static bool ack_announce(struct virtio_net *s, unsigned cmd)
{
	uint16_t bit = VIRTIO_NET_S_ANNOUNCE;

	return cmd == VIRTIO_NET_CTRL_ANNOUNCE_ACK &&
	       virtio_has(&s->v, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
	       atomic_fetch_and(&s->status, (uint16_t)~bit) & bit;
}

static bool set_pairs(struct virtio_net *s, unsigned cmd, struct message *m)
{
	struct le16 wire;

	return cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && virtio_has(&s->v, VIRTIO_NET_F_MQ) &&
	       get_last(m, &wire, sizeof(wire)) && !vnet_set_pairs(s, le16_to_cpu(wire));
}

static bool set_offloads(struct virtio_net *s, unsigned cmd, struct message *m)
{
	struct le64 wire;

	return cmd == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET &&
	       virtio_has(&s->v, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) &&
	       get_last(m, &wire, sizeof(wire)) && !vnet_set_offloads(s, le64_to_cpu(wire));
}

static bool carry_out(struct virtio_net *s, struct message *m)
{
	struct virtio_net_ctrl_hdr h;

	if (!get(m, &h, sizeof(h)))
		return false;
	switch (h.cls) {
	case VIRTIO_NET_CTRL_RX:
		return set_rx_mode(s, h.cmd, m);
	case VIRTIO_NET_CTRL_MAC:
		return set_mac(s, h.cmd, m);
	case VIRTIO_NET_CTRL_VLAN:
		return set_vlan(s, h.cmd, m);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return ack_announce(s, h.cmd);
	case VIRTIO_NET_CTRL_MQ:
		return set_pairs(s, h.cmd, m);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return set_offloads(s, h.cmd, m);
	default:
		return false;
	}
}

void vnet_ctrl(struct virtio_net *s, struct virtqueue *vq)
{
	struct iovec iov[VQ_MAX_IOV];
	struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };
	unsigned n = 0;

	if (!virtio_has(&s->v, VIRTIO_NET_F_CTRL_VQ))
		return;
	while (n++ < VNET_BATCH && queue_take(&s->v, vq, &c)) {
		struct message m = { .iov = iov, .n_iov = c.n_out, .len = c.out_len };
		uint8_t answer = carry_out(s, &m) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

		vq_push(vq, &c, (uint32_t)iov_from_buf(iov + c.n_out, c.n_in, 0, &answer, 1));
	}
	queue_flush(&s->v, vq);
	if (n > VNET_BATCH)
		virtio_requeue(vq);
}
