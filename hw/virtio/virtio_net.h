/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net's parts: the device as it is configured (virtio_net.c), frames to
 * the guest (virtio_net_rx.c) and from it (virtio_net_tx.c), which ones it wants
 * (virtio_net_filter.c) and what it says about that (virtio_net_ctrl.c).
 */
#ifndef POSADA_HW_VIRTIO_NET_H
#define POSADA_HW_VIRTIO_NET_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "net.h"
#include "virtio.h"
#include "wire/virtio_net.h"

enum {
	VNET_QUEUE_MOST = 1024, /* entries */
	VNET_TX_MOST = 512, /* with the header, a chain is what one system call takes */
	VNET_BATCH = 256, /* frames, before others on the loop have their turn */
	VNET_IOV = IOV_MAX, /* what one system call takes */
	VNET_MACS = 64, /* of each kind; with more, all are let through */
	VNET_VLANS = 4096,
	VNET_FRAME_HEAD = 14 + 4, /* Ethernet's header, with a VLAN tag */
	VNET_MTU_DEFAULT = 1500,
	VNET_HEADER = sizeof(struct virtio_net_hdr_v1),
};

/* Chains popped from a receive queue that frames are read into; nothing outlives a turn. */
struct vnet_room {
	struct vq_chain chain[VNET_QUEUE_MOST];
	unsigned first, end;
	struct iovec iov[2 * VQ_MAX_IOV];
	unsigned iov_first, iov_end;
	size_t bytes;
	bool full; /* there can be no more */
};

struct vnet_pair {
	struct virtio_net *s;
	unsigned n;
	struct virtqueue *rx, *tx;
	/* the loop's */
	struct loop_defer rx_work, tx_work; /* the backend has frames, or room */
	bool tx_waits; /* for room */
	/* A frame that the guest has too few buffers for at the moment, in its bounce buffer. */
	size_t held;
	uint8_t *bounce;
	struct vnet_room *room;
	struct iovec *tx_iov;
};

struct vnet_macs {
	unsigned n;
	bool overflow; /* there were more */
	uint8_t mac[VNET_MACS][6];
};

/* Which frames the guest wants. The loop's. */
struct vnet_filter {
	bool mode[VIRTIO_NET_CTRL_RX_MODES];
	bool by_vlan;
	struct vnet_macs uni, multi;
	uint64_t vlan[VNET_VLANS / 64];
};

struct virtio_net {
	struct virtio_dev v;
	/* properties */
	char *netdev, *iothread, *mac_text;
	uint32_t bootindex, speed, host_mtu;
	int duplex;
	uint16_t rx_size, tx_size;
	bool want[64]; /* by feature bit */

	struct net *net; /* NULL: not attached */
	unsigned max_pairs;
	uint8_t own_mac[6]; /* that of power-on */
	_Atomic uint64_t mac; /* now; first byte lowest */
	_Atomic uint16_t status;
	_Atomic bool announce; /* the driver took GUEST_ANNOUNCE */
	/* the loop's */
	unsigned pairs; /* in use */
	unsigned hdr_len; /* the guest's */
	unsigned frame_most; /* that is received */
	bool mergeable, header; /* the backend's frames have it, too */
	uint64_t guest_offloads; /* feature bits */
	struct vnet_filter filter;
	struct vnet_pair pair[NET_QUEUES_MOST];
};

static inline void vnet_mac_bytes(uint64_t mac, uint8_t out[6])
{
	for (unsigned i = 0; i < 6; i++)
		out[i] = (uint8_t)(mac >> 8 * i);
}

static inline uint64_t vnet_mac_number(const uint8_t mac[6])
{
	uint64_t n = 0;

	for (unsigned i = 6; i--;)
		n = n << 8 | mac[i];
	return n;
}

/* All of these: v->loop. */

/* --- virtio_net.c --- */
/* The offloads of frames that come: checked, feature bits. 0 or -errno. */
int vnet_set_offloads(struct virtio_net *s, uint64_t features);
int vnet_set_pairs(struct virtio_net *s, unsigned pairs);
/* Of guest_offloads, or of what the driver said in its features: enum net_offload. */
unsigned vnet_guest_offloads(uint64_t features);
unsigned vnet_host_offloads(uint64_t features);
#define VNET_GUEST_OFFLOADS                                                                        \
	(VIRTIO_F(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_F(VIRTIO_NET_F_GUEST_TSO4) |                   \
	 VIRTIO_F(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_F(VIRTIO_NET_F_GUEST_ECN) |                    \
	 VIRTIO_F(VIRTIO_NET_F_GUEST_UFO) | VIRTIO_F(VIRTIO_NET_F_GUEST_USO4) |                    \
	 VIRTIO_F(VIRTIO_NET_F_GUEST_USO6))
/* Whether a header asks for no more than these: enum net_offload. */
bool vnet_header_ok(const struct virtio_net_hdr_v1 *h, unsigned offloads, size_t frame);

/* --- virtio_net_rx.c, virtio_net_tx.c --- */
void vnet_rx(struct vnet_pair *p);
void vnet_tx(struct vnet_pair *p);

/* --- virtio_net_filter.c --- */
/* What a driver finds: all frames, until it says otherwise. by_vlan: of no VLAN. */
void vnet_filter_reset(struct vnet_filter *f, bool by_vlan);
/* head: the frame's first bytes, 16 at most of which len are there. */
bool vnet_wanted(const struct virtio_net *s, const uint8_t *head, size_t len);

/* --- virtio_net_ctrl.c --- */
void vnet_ctrl(struct virtio_net *s, struct virtqueue *vq);

#endif
