/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net, a network card: virtio 1.2, section 5.1. Here are its properties,
 * features, configuration space, offloads and link; see virtio_net.h for the other parts.
 *
 * Configuration: vCPU threads, under dev.lock. link: the main loop. The rest is
 * the device's loop's.
 */
#include "virtio_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bootorder.h"
#include "config.h"
#include "err.h"
#include "firmware.h"
#include "iothread.h"
#include "machine.h"
#include "props.h"

/* PXE and UEFI drivers in one image, of iPXE's package. */
#define ROM_DEFAULT "efi-virtio.rom"

static const char *const duplex_names[] = { "unknown", "half", "full", NULL };
static const uint8_t duplex_wire[] = { VIRTIO_NET_DUPLEX_UNKNOWN, VIRTIO_NET_DUPLEX_HALF,
				       VIRTIO_NET_DUPLEX_FULL };

/* --- offloads ----------------------------------------------------------------------------- */

/* A feature of each direction, what it is to backends, and what it is nothing without. */
static const struct {
	uint8_t guest, host;
	unsigned offload, needs;
} offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_CSUM, NET_CSUM, 0 },
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_HOST_TSO4, NET_TSO4, NET_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_TSO6, NET_TSO6, NET_CSUM },
	{ VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_HOST_ECN, NET_ECN, NET_TSO4 | NET_TSO6 },
	{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_HOST_UFO, NET_UFO, NET_CSUM },
	{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_HOST_USO, NET_USO, NET_CSUM },
};

enum { OFFLOADS = sizeof(offloads) / sizeof(offloads[0]) };

unsigned vnet_guest_offloads(uint64_t features)
{
	unsigned got = 0;

	for (unsigned i = 0; i < OFFLOADS; i++)
		if (features >> offloads[i].guest & 1 &&
		    (!offloads[i].needs || got & offloads[i].needs))
			got |= offloads[i].offload;
	/* Backends do not tell the two of them apart. */
	if (!(features >> VIRTIO_NET_F_GUEST_USO6 & 1))
		got &= ~(unsigned)NET_USO;
	return got;
}

unsigned vnet_host_offloads(uint64_t features)
{
	unsigned got = 0;

	for (unsigned i = 0; i < OFFLOADS; i++)
		if (features >> offloads[i].host & 1 &&
		    (!offloads[i].needs || got & offloads[i].needs))
			got |= offloads[i].offload;
	return got;
}

bool vnet_header_ok(const struct virtio_net_hdr_v1 *h, unsigned agreed, size_t frame)
{
	unsigned gso = h->gso_type & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN, needs;

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	    (!(agreed & NET_CSUM) ||
	     le16_to_cpu(h->csum_start) + le16_to_cpu(h->csum_offset) + 2ul > frame))
		return false;
	switch (gso) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return !h->gso_type;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		needs = NET_TSO4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		needs = NET_TSO6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP:
		needs = NET_UFO;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		needs = NET_USO;
		break;
	default:
		return false;
	}
	if (gso != h->gso_type)
		needs |= NET_ECN;
	return (agreed & needs) == needs && le16_to_cpu(h->gso_size);
}

static unsigned mtu_most(const struct virtio_net *s)
{
	unsigned most = net_caps(s->net)->mtu;

	if (s->host_mtu > most)
		most = s->host_mtu;
	return most > VNET_MTU_DEFAULT ? most : VNET_MTU_DEFAULT;
}

int vnet_set_offloads(struct virtio_net *s, uint64_t features)
{
	unsigned got = vnet_guest_offloads(features);
	int rc;

	if (features & ~(s->v.features & VNET_GUEST_OFFLOADS))
		return -EINVAL;
	rc = net_set_header(s->net, s->header ? s->hdr_len : 0, got);
	if (rc)
		return rc;
	s->guest_offloads = features;
	s->frame_most = mtu_most(s) + VNET_FRAME_HEAD;
	if (got & (NET_TSO4 | NET_TSO6 | NET_UFO | NET_USO))
		s->frame_most = NET_FRAME_MOST;
	return 0;
}

int vnet_set_pairs(struct virtio_net *s, unsigned pairs)
{
	int rc = pairs && pairs <= s->max_pairs ? net_set_queues(s->net, pairs) : -EINVAL;

	if (rc)
		return rc;
	for (unsigned i = s->pairs; i < pairs; i++) {
		virtio_requeue(s->pair[i].rx);
		virtio_requeue(s->pair[i].tx);
	}
	s->pairs = pairs;
	return 0;
}

/* --- configuration space ---------------------------------------------------------------------- */

static void vnet_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);
	struct virtio_net_config c = {
		.status = cpu_to_le16(s->status),
		.max_virtqueue_pairs = cpu_to_le16((uint16_t)s->max_pairs),
		.mtu = cpu_to_le16((uint16_t)mtu_most(s)),
		.speed = cpu_to_le32(s->speed ? s->speed : UINT32_MAX),
		.duplex = duplex_wire[s->duplex],
	};

	vnet_mac_bytes(s->mac, c.mac);
	memcpy(buf, (const char *)&c + off, len);
}

/* Drivers of the legacy interface set the address so (5.1.4.3). */
static void vnet_config_write(struct virtio_dev *v, unsigned off, const void *buf, unsigned len)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);
	uint8_t mac[6];

	if (!v->legacy || off >= sizeof(mac))
		return;
	vnet_mac_bytes(s->mac, mac);
	memcpy(mac + off, buf, len < sizeof(mac) - off ? len : sizeof(mac) - off);
	s->mac = vnet_mac_number(mac);
}

/* --- the backend calls ---------------------------------------------------------------------- */

static void readable(void *ctx, unsigned queue)
{
	struct virtio_net *s = ctx;

	if (s->v.running && queue < s->max_pairs)
		loop_defer(s->v.loop, &s->pair[queue].rx_work);
}

static void writable(void *ctx, unsigned queue)
{
	struct virtio_net *s = ctx;

	if (s->v.running && queue < s->max_pairs)
		loop_defer(s->v.loop, &s->pair[queue].tx_work);
}

static void link_changed(void *ctx, bool up)
{
	struct virtio_net *s = ctx;
	uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;

	/* Who comes back to a network tells its switches where it is. */
	if (up && s->announce)
		status |= VIRTIO_NET_S_ANNOUNCE;
	s->status = status;
	virtio_config_changed(&s->v);
}

static const struct net_client vnet_client = { .readable = readable,
					       .writable = writable,
					       .link = link_changed };

static void rx_work(void *ctx)
{
	vnet_rx(ctx);
}

static void tx_work(void *ctx)
{
	struct vnet_pair *p = ctx;

	p->tx_waits = false;
	vnet_tx(p);
}

/* --- queues ---------------------------------------------------------------------------------- */

/* 5.1.2: which it is depends on whether the driver knows of more than two queues. */
static unsigned ctrl_queue(const struct virtio_net *s)
{
	return virtio_has(&s->v, VIRTIO_NET_F_MQ) ? 2 * s->max_pairs : 2;
}

static void vnet_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);

	if (vq->index == ctrl_queue(s))
		vnet_ctrl(s, vq);
	else if (vq->index < 2 * s->max_pairs && vq->index % 2)
		vnet_tx(&s->pair[vq->index / 2]);
	else if (vq->index < 2 * s->max_pairs)
		vnet_rx(&s->pair[vq->index / 2]);
}

static void vnet_start(struct virtio_dev *v)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);
	int rc;

	s->mergeable = virtio_has(v, VIRTIO_NET_F_MRG_RXBUF);
	s->hdr_len = v->legacy && !s->mergeable ? VIRTIO_NET_HDR_LEGACY : VNET_HEADER;
	s->announce = virtio_has(v, VIRTIO_NET_F_GUEST_ANNOUNCE);
	vnet_filter_reset(&s->filter, virtio_has(v, VIRTIO_NET_F_CTRL_VLAN));
	s->pairs = 1;
	rc = net_set_queues(s->net, 1);
	rc = rc ? rc : vnet_set_offloads(s, v->features & VNET_GUEST_OFFLOADS);
	if (rc)
		virtio_broken(v, "its backend cannot do what was agreed on: %s", strerror(-rc));
}

static void vnet_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);

	for (unsigned i = 0; i < s->max_pairs; i++) {
		struct vnet_pair *p = &s->pair[i];

		if (!vq || vq == p->rx) {
			loop_defer_cancel(v->loop, &p->rx_work);
			p->held = 0;
		}
		if (!vq || vq == p->tx) {
			loop_defer_cancel(v->loop, &p->tx_work);
			p->tx_waits = false;
		}
	}
}

static void vnet_reset(struct virtio_dev *v)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);

	s->mac = vnet_mac_number(s->own_mac);
	s->announce = false;
	atomic_fetch_and(&s->status, (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
}

/* --- life --------------------------------------------------------------------------------------
 */

static uint64_t offered(const struct virtio_net *s)
{
	static const uint8_t of_ctrl[] = { VIRTIO_NET_F_CTRL_RX,
					   VIRTIO_NET_F_CTRL_RX_EXTRA,
					   VIRTIO_NET_F_CTRL_VLAN,
					   VIRTIO_NET_F_MQ,
					   VIRTIO_NET_F_CTRL_MAC_ADDR,
					   VIRTIO_NET_F_GUEST_ANNOUNCE,
					   VIRTIO_NET_F_CTRL_GUEST_OFFLOADS };
	const struct net_caps *caps = net_caps(s->net);
	uint64_t f = VIRTIO_F(VIRTIO_NET_F_MAC);

	for (unsigned i = 0; i < 64; i++)
		if (s->want[i])
			f |= VIRTIO_F(i);
	for (unsigned i = 0; i < OFFLOADS; i++)
		if (!caps->header || !(caps->offloads & offloads[i].offload))
			f &= ~(VIRTIO_F(offloads[i].guest) | VIRTIO_F(offloads[i].host));
	/* A driver may rely on a feature coming with what it needs (5.1.3.1). */
	for (unsigned i = 0; i < OFFLOADS; i++) {
		if (offloads[i].needs & ~vnet_guest_offloads(f) && offloads[i].needs == NET_CSUM)
			f &= ~VIRTIO_F(offloads[i].guest);
		if (offloads[i].needs & ~vnet_host_offloads(f) && offloads[i].needs == NET_CSUM)
			f &= ~VIRTIO_F(offloads[i].host);
	}
	if (!(vnet_guest_offloads(f) & (NET_TSO4 | NET_TSO6)))
		f &= ~VIRTIO_F(VIRTIO_NET_F_GUEST_ECN);
	if (!(vnet_host_offloads(f) & (NET_TSO4 | NET_TSO6)))
		f &= ~VIRTIO_F(VIRTIO_NET_F_HOST_ECN);
	if (!(f >> VIRTIO_NET_F_GUEST_USO4 & 1))
		f &= ~VIRTIO_F(VIRTIO_NET_F_GUEST_USO6);
	if (s->max_pairs < 2)
		f &= ~VIRTIO_F(VIRTIO_NET_F_MQ);
	if (s->host_mtu || caps->mtu)
		f |= VIRTIO_F(VIRTIO_NET_F_MTU);
	if (s->speed || s->duplex)
		f |= VIRTIO_F(VIRTIO_NET_F_SPEED_DUPLEX);
	for (unsigned i = 0; !s->want[VIRTIO_NET_F_CTRL_VQ] && i < sizeof(of_ctrl); i++)
		f &= ~VIRTIO_F(of_ctrl[i]);
	return f;
}

static int attach(struct virtio_net *s, struct err *e)
{
	struct machine *m = s->v.dev.m;
	const struct net_caps *caps;
	int rc;

	if (!s->netdev) {
		err_set(e, ERR_USAGE, EINVAL, "netdev= is missing: which network is it on?");
		err_hint(e, "-netdev user,id=n0 and netdev=n0; or -nic user alone makes both");
		return -EINVAL;
	}
	rc = iothread_get(m, s->iothread, &s->v.loop, e);
	rc = rc ? rc : net_attach(m->nets, s->netdev, &vnet_client, s, s->v.loop, &s->net, e);
	rc = rc ? rc : net_mac_choose(s->net, m, s->mac_text, s->own_mac, e);
	if (rc)
		return rc;
	caps = net_caps(s->net);
	if (caps->mtu && s->host_mtu > caps->mtu)
		return err_set(e, ERR_USAGE, EINVAL, "host_mtu=%u: the one of %s is %u",
			       s->host_mtu, s->netdev, caps->mtu);
	s->max_pairs = s->want[VIRTIO_NET_F_MQ] && s->want[VIRTIO_NET_F_CTRL_VQ] ? caps->queues : 1;
	s->header = caps->header;
	s->status = net_link(s->net) ? VIRTIO_NET_S_LINK_UP : 0;
	s->mac = vnet_mac_number(s->own_mac);
	return 0;
}

static int power_of_two(uint16_t n, const char *name, struct err *e)
{
	if (!(n & (n - 1)))
		return 0;
	err_set(e, ERR_USAGE, EINVAL, "%s=%u: is not a power of two", name, n);
	err_hint(e, "64, 128, 256, 512; 256 is the default");
	return -EINVAL;
}

static int add_pair(struct virtio_net *s, unsigned i)
{
	struct vnet_pair *p = &s->pair[i];

	*p = (struct vnet_pair){
		.s = s,
		.n = i,
		.rx = virtio_add_queue(&s->v, s->rx_size),
		.tx = virtio_add_queue(&s->v, s->tx_size),
		.rx_work = { .cb = rx_work, .ctx = p },
		.tx_work = { .cb = tx_work, .ctx = p },
		.bounce = malloc(VNET_HEADER + NET_FRAME_MOST),
		.room = malloc(sizeof(*p->room)),
		.tx_iov = malloc(VNET_IOV * sizeof(*p->tx_iov)),
	};
	return p->rx && p->tx && p->bounce && p->room && p->tx_iov ? 0 : -ENOMEM;
}

static int add_queues(struct virtio_net *s, struct err *e)
{
	int rc = power_of_two(s->rx_size, "rx_queue_size", e);

	rc = rc ? rc : power_of_two(s->tx_size, "tx_queue_size", e);
	if (rc)
		return rc;
	for (unsigned i = 0; !rc && i < s->max_pairs; i++)
		rc = add_pair(s, i);
	if (!rc && s->want[VIRTIO_NET_F_CTRL_VQ] && !virtio_add_queue(&s->v, 64))
		rc = -ENOMEM;
	return rc ? err_set(e, ERR_HOST, ENOMEM, "out of memory") : 0;
}

/* What boots from the network; a machine without iPXE's package does without. */
static void default_rom(struct virtio_net *s)
{
	const struct machine *m = s->v.dev.m;
	struct err none;
	char *path = NULL;

	if (s->v.dev.cls->bus != DEV_BUS_PCI || s->v.pci.fn.romfile || !m->bios || !m->cfg ||
	    firmware_find(m->cfg, ROM_DEFAULT, &path, &none))
		return;
	s->v.pci.fn.romfile = path;
}

static int vnet_init(struct virtio_dev *v, struct err *e)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);
	int rc = attach(s, e);

	rc = rc ? rc : add_queues(s, e);
	rc = rc ? rc
		: bootorder_add(v->dev.m, &v->dev, s->bootindex, &v->pci.fn, "ethernet-phy@0", e);
	if (rc)
		return rc;
	default_rom(s);
	v->host_features = offered(s);
	v->config_size = sizeof(struct virtio_net_config);
	return 0;
}

static void vnet_fini(struct virtio_dev *v)
{
	struct virtio_net *s = container_of(v, struct virtio_net, v);

	net_detach(s->net);
	s->net = NULL;
	for (unsigned i = 0; i < NET_QUEUES_MOST; i++) {
		free(s->pair[i].bounce);
		free(s->pair[i].room);
		free(s->pair[i].tx_iov);
	}
}

#define FEATURE(bit, pname, phelp)                                                                 \
	PROP(struct virtio_net, want[VIRTIO_NET_F_##bit], PROP_BOOL, pname, "on", phelp)

static const struct prop vnet_props[] = {
	PROP(struct virtio_net, netdev, PROP_STR, "netdev", NULL, "the network: id of a -netdev"),
	PROP(struct virtio_net, mac_text, PROP_STR, "mac", NULL,
	     "its address; else one that is this guest's own and the same each time"),
	PROP_BOOTINDEX(struct virtio_net, bootindex),
	PROP(struct virtio_net, iothread, PROP_STR, "iothread", NULL,
	     "the -object iothread that does its work; else the main loop"),
	PROP_RANGE(struct virtio_net, rx_size, PROP_U16, "rx_queue_size", "256", 64,
		   VNET_QUEUE_MOST, "entries in each receive queue, a power of two"),
	PROP_RANGE(struct virtio_net, tx_size, PROP_U16, "tx_queue_size", "256", 64, VNET_TX_MOST,
		   "entries in each transmit queue, a power of two"),
	PROP_RANGE(struct virtio_net, host_mtu, PROP_U32, "host_mtu", NULL, 68, NET_MTU_MOST,
		   "the largest packet, told the guest; else the backend's"),
	PROP_RANGE(struct virtio_net, speed, PROP_U32, "speed", NULL, 0, INT32_MAX,
		   "of the link, Mbit/s, told the guest"),
	PROP_CHOICE(struct virtio_net, duplex, "duplex", "unknown", duplex_names,
		    "of the link, told the guest"),
	FEATURE(MRG_RXBUF, "mrg_rxbuf", "frames may be spread over several buffers"),
	FEATURE(STATUS, "status", "the guest hears of the link"),
	FEATURE(MQ, "mq", "as many pairs of queues as the backend has"),
	FEATURE(CSUM, "csum", "the guest may leave checksums to the host"),
	FEATURE(HOST_TSO4, "host_tso4", "and the cutting of TCP over IPv4"),
	FEATURE(HOST_TSO6, "host_tso6", "and of TCP over IPv6"),
	FEATURE(HOST_ECN, "host_ecn", "also with congestion notification"),
	FEATURE(HOST_UFO, "host_ufo", "and the fragmentation of UDP"),
	FEATURE(HOST_USO, "host_uso", "and the cutting of UDP"),
	FEATURE(GUEST_CSUM, "guest_csum", "frames may come without a checksum"),
	FEATURE(GUEST_TSO4, "guest_tso4", "and uncut, TCP over IPv4"),
	FEATURE(GUEST_TSO6, "guest_tso6", "TCP over IPv6"),
	FEATURE(GUEST_ECN, "guest_ecn", "also with congestion notification"),
	FEATURE(GUEST_UFO, "guest_ufo", "and unfragmented, UDP"),
	FEATURE(GUEST_USO4, "guest_uso4", "and uncut, UDP over IPv4"),
	FEATURE(GUEST_USO6, "guest_uso6", "UDP over IPv6"),
	FEATURE(CTRL_VQ, "ctrl_vq", "the control queue, which the following need"),
	FEATURE(CTRL_GUEST_OFFLOADS, "ctrl_guest_offloads", "the guest may change guest_* later"),
	FEATURE(CTRL_RX, "ctrl_rx", "the guest says which frames it wants"),
	FEATURE(CTRL_RX_EXTRA, "ctrl_rx_extra", "in more detail"),
	FEATURE(CTRL_VLAN, "ctrl_vlan", "and of which VLANs"),
	FEATURE(CTRL_MAC_ADDR, "ctrl_mac_addr", "the guest may change its address"),
	FEATURE(GUEST_ANNOUNCE, "guest_announce", "the guest announces itself when asked to"),
	PROP_END,
};

static const struct virtio_type vnet_type = {
	.name = "virtio-net",
	.id = 1,
	.legacy_pci_id = 0x1000,
	.pci_class = 0x020000, /* Ethernet */
	.init = vnet_init,
	.fini = vnet_fini,
	.reset = vnet_reset,
	.config_read = vnet_config_read,
	.config_write = vnet_config_write,
	.start = vnet_start,
	.kick = vnet_kick,
	.stop = vnet_stop,
};

VIRTIO_DEVICE(virtio_net, virtio_net, "virtio-net", "network card", vnet_type, vnet_props);
