/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which frames a virtio-net guest wants: virtio 1.2, section 5.1.6.5. The device's loop. */
#include <string.h>

#include "virtio_net.h"

enum { ETHERTYPE_AT = 12, ETHERTYPE_VLAN = 0x8100 };

void vnet_filter_reset(struct vnet_filter *f, bool by_vlan)
{
	memset(f, 0, sizeof(*f));
	f->mode[VIRTIO_NET_CTRL_RX_PROMISC] = true;
	f->by_vlan = by_vlan;
}

static bool of_vlan(const struct vnet_filter *f, const uint8_t *head, size_t len)
{
	unsigned id;

	if (!f->by_vlan || len < ETHERTYPE_AT + 4 ||
	    (head[ETHERTYPE_AT] << 8 | head[ETHERTYPE_AT + 1]) != ETHERTYPE_VLAN)
		return true;
	id = (head[ETHERTYPE_AT + 2] & 0xfu) << 8 | head[ETHERTYPE_AT + 3];
	return f->vlan[id / 64] >> id % 64 & 1;
}

static bool listed(const struct vnet_macs *list, const uint8_t *mac)
{
	if (list->overflow)
		return true;
	for (unsigned i = 0; i < list->n; i++)
		if (!memcmp(list->mac[i], mac, 6))
			return true;
	return false;
}

bool vnet_wanted(const struct virtio_net *s, const uint8_t *head, size_t len)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const struct vnet_filter *f = &s->filter;
	const bool *mode = f->mode;
	uint8_t own[6];

	if (len < 6 || mode[VIRTIO_NET_CTRL_RX_PROMISC])
		return len >= 6;
	if (!of_vlan(f, head, len))
		return false;
	if (!memcmp(head, broadcast, 6))
		return !mode[VIRTIO_NET_CTRL_RX_NOBCAST];
	if (head[0] & 1)
		return !mode[VIRTIO_NET_CTRL_RX_NOMULTI] &&
		       (mode[VIRTIO_NET_CTRL_RX_ALLMULTI] || listed(&f->multi, head));
	if (mode[VIRTIO_NET_CTRL_RX_NOUNI])
		return false;
	if (mode[VIRTIO_NET_CTRL_RX_ALLUNI] || listed(&f->uni, head))
		return true;
	vnet_mac_bytes(s->mac, own);
	return !memcmp(head, own, 6);
}
