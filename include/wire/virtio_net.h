/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network device as the driver sees it: virtio 1.2, section 5.1. */
#ifndef POSADA_WIRE_VIRTIO_NET_H
#define POSADA_WIRE_VIRTIO_NET_H

#include <stddef.h>

#include "wire/le.h"

enum {
	VIRTIO_NET_F_CSUM = 0,
	VIRTIO_NET_F_GUEST_CSUM = 1,
	VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
	VIRTIO_NET_F_MTU = 3,
	VIRTIO_NET_F_MAC = 5,
	VIRTIO_NET_F_GUEST_TSO4 = 7,
	VIRTIO_NET_F_GUEST_TSO6 = 8,
	VIRTIO_NET_F_GUEST_ECN = 9,
	VIRTIO_NET_F_GUEST_UFO = 10,
	VIRTIO_NET_F_HOST_TSO4 = 11,
	VIRTIO_NET_F_HOST_TSO6 = 12,
	VIRTIO_NET_F_HOST_ECN = 13,
	VIRTIO_NET_F_HOST_UFO = 14,
	VIRTIO_NET_F_MRG_RXBUF = 15,
	VIRTIO_NET_F_STATUS = 16,
	VIRTIO_NET_F_CTRL_VQ = 17,
	VIRTIO_NET_F_CTRL_RX = 18,
	VIRTIO_NET_F_CTRL_VLAN = 19,
	VIRTIO_NET_F_CTRL_RX_EXTRA = 20,
	VIRTIO_NET_F_GUEST_ANNOUNCE = 21,
	VIRTIO_NET_F_MQ = 22,
	VIRTIO_NET_F_CTRL_MAC_ADDR = 23,
	VIRTIO_NET_F_GUEST_USO4 = 54,
	VIRTIO_NET_F_GUEST_USO6 = 55,
	VIRTIO_NET_F_HOST_USO = 56,
	VIRTIO_NET_F_SPEED_DUPLEX = 63,
};

enum { VIRTIO_NET_S_LINK_UP = 1, VIRTIO_NET_S_ANNOUNCE = 2 };
enum { VIRTIO_NET_DUPLEX_HALF = 0, VIRTIO_NET_DUPLEX_FULL = 1, VIRTIO_NET_DUPLEX_UNKNOWN = 0xff };

/* 5.1.4 */
struct virtio_net_config {
	uint8_t mac[6];
	struct le16 status;
	struct le16 max_virtqueue_pairs;
	struct le16 mtu;
	struct le32 speed; /* Mbit/s; all bits set: not known */
	uint8_t duplex;
} __attribute__((packed));

enum { VIRTIO_NET_HDR_F_NEEDS_CSUM = 1, VIRTIO_NET_HDR_F_DATA_VALID = 2 };

enum {
	VIRTIO_NET_HDR_GSO_NONE = 0,
	VIRTIO_NET_HDR_GSO_TCPV4 = 1,
	VIRTIO_NET_HDR_GSO_UDP = 3,
	VIRTIO_NET_HDR_GSO_TCPV6 = 4,
	VIRTIO_NET_HDR_GSO_UDP_L4 = 5,
	VIRTIO_NET_HDR_GSO_ECN = 0x80, /* beside one of the others */
};

/* 5.1.6: before each frame. Legacy drivers without MRG_RXBUF have none of num_buffers. */
struct virtio_net_hdr_v1 {
	uint8_t flags;
	uint8_t gso_type;
	struct le16 hdr_len;
	struct le16 gso_size;
	struct le16 csum_start;
	struct le16 csum_offset;
	struct le16 num_buffers; /* chains that the frame was put into */
};

enum { VIRTIO_NET_HDR_LEGACY = 10 }; /* bytes */

/* 5.1.6.5: the control queue. Class, command, what it is about; one byte of answer. */
struct virtio_net_ctrl_hdr {
	uint8_t cls;
	uint8_t cmd;
};

enum { VIRTIO_NET_OK = 0, VIRTIO_NET_ERR = 1 };

enum {
	VIRTIO_NET_CTRL_RX = 0,
	VIRTIO_NET_CTRL_MAC = 1,
	VIRTIO_NET_CTRL_VLAN = 2,
	VIRTIO_NET_CTRL_ANNOUNCE = 3,
	VIRTIO_NET_CTRL_MQ = 4,
	VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5,
};

enum {
	VIRTIO_NET_CTRL_RX_PROMISC = 0,
	VIRTIO_NET_CTRL_RX_ALLMULTI = 1,
	VIRTIO_NET_CTRL_RX_ALLUNI = 2, /* this and those that follow: CTRL_RX_EXTRA */
	VIRTIO_NET_CTRL_RX_NOMULTI = 3,
	VIRTIO_NET_CTRL_RX_NOUNI = 4,
	VIRTIO_NET_CTRL_RX_NOBCAST = 5,
	VIRTIO_NET_CTRL_RX_MODES = 6,
};

enum { VIRTIO_NET_CTRL_MAC_TABLE_SET = 0, VIRTIO_NET_CTRL_MAC_ADDR_SET = 1 };
enum { VIRTIO_NET_CTRL_VLAN_ADD = 0, VIRTIO_NET_CTRL_VLAN_DEL = 1 };
enum { VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0 };
enum { VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0 };
enum { VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0 };

_Static_assert(sizeof(struct virtio_net_config) == 17, "section 5.1.4");
_Static_assert(offsetof(struct virtio_net_config, speed) == 12, "section 5.1.4");
_Static_assert(sizeof(struct virtio_net_hdr_v1) == 12, "section 5.1.6");
_Static_assert(offsetof(struct virtio_net_hdr_v1, num_buffers) == 10, "section 5.1.6");

#endif
