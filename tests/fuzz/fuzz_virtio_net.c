/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a hostile driver of virtio-net on real rings, split and packed, and a hostile
 * network behind it. The input is a program of both: descriptors, rings, control messages,
 * doorbells, resets; frames of any length with any header, a backend that is full, a cable that is
 * pulled out. What the backend is given must lie within guest memory but for the header, whose
 * offloads must have been agreed on; no turn is without end. Run with the corpus in
 * tests/fuzz/corpus/virtio_net.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/net/net_int.h"
#include "err.h"
#include "iothread.h"
#include "iov.h"
#include "machine.h"
#include "props.h"
#include "virtio.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_class virtio_net_pci_class;

enum { QUEUES = 5, RING = 64, RAM = 1 << 20, DEFERRED = 8, HDR = 12 };
/* Guest addresses: each queue's rings in 4 KiB; then whatever the input puts there. */
enum { RINGS = 0x1000, BUFFERS = 0x8000 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* --- the input ------------------------------------------------------------------------------- */

static const uint8_t *in;
static size_t left;

static uint8_t byte(void)
{
	if (!left)
		return 0;
	left--;
	return *in++;
}

static uint32_t number(unsigned bytes)
{
	uint32_t n = 0;

	while (bytes--)
		n = n << 8 | byte();
	return n;
}

/* --- the backend ------------------------------------------------------------------------------ */

static struct machine m;
static struct virtio_dev *v;
static struct net *net;
static unsigned agreed; /* of frames that come */
static bool headers; /* the backend's frames can have one */
static bool broken; /* a queue may have chains that are never used */
static struct {
	unsigned n, len;
	struct virtio_net_hdr_v1 h;
} coming; /* as many more of these frames */
static unsigned room;

static bool in_ram(const struct iovec *iov)
{
	const uint8_t *p = iov->iov_base;

	return p >= m.mem.ram && iov->iov_len <= RAM && p + iov->iov_len <= m.mem.ram + RAM;
}

static int backend_open(struct net *n, struct err *e)
{
	n->caps =
		(struct net_caps){ .queues = 2, .header = headers, .offloads = headers ? 0x3f : 0 };
	return 0;
}

static void backend_close(struct net *n)
{
}

static int backend_start(struct net *n, struct err *e)
{
	net = n;
	return 0;
}

static void backend_stop(struct net *n)
{
}

static int backend_set_header(struct net *n, unsigned hdr_len, unsigned offloads)
{
	must(hdr_len == 10 || hdr_len == HDR);
	agreed = offloads;
	return 0;
}

static int backend_set_queues(struct net *n, unsigned queues)
{
	return 0;
}

static ssize_t backend_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	static uint8_t frame[HDR + NET_FRAME_MOST];
	unsigned hdr = n->hdr_len, len = hdr + coming.len;

	must(queue < n->queues && n_iov && n_iov <= 1024);
	if (!coming.n)
		return -EAGAIN;
	coming.n--;
	/* Shorter than its header, now and then. */
	if (coming.len == 1)
		len = hdr / 2;
	if (len > iov_len(iov, n_iov))
		return -EAGAIN;
	memcpy(frame, &coming.h, hdr);
	must(iov_from_buf(iov, n_iov, 0, frame, len) == len);
	return (ssize_t)len;
}

static ssize_t backend_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	unsigned hdr = n->hdr_len, first = hdr ? 1 : 0;

	must(queue < n->queues && n_iov > first && n_iov <= 1024);
	must(!hdr || iov[0].iov_len == hdr);
	for (unsigned i = first; i < n_iov; i++)
		must(in_ram(&iov[i]));
	if (hdr) {
		struct virtio_net_hdr_v1 h = { 0 };

		memcpy(&h, iov[0].iov_base, hdr);
		must(!h.gso_type ||
		     v->features &
			     (VIRTIO_F(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_F(VIRTIO_NET_F_HOST_TSO6) |
			      VIRTIO_F(VIRTIO_NET_F_HOST_UFO) | VIRTIO_F(VIRTIO_NET_F_HOST_USO)));
		must(!(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
		     v->features & VIRTIO_F(VIRTIO_NET_F_CSUM));
	}
	if (!room)
		return -EAGAIN;
	room--;
	return (ssize_t)iov_len(iov, n_iov);
}

static const struct prop no_props[] = { PROP_END };

static const struct net_class backend = {
	.name = "backend",
	.desc = "the fuzzer's",
	.props = no_props,
	.size = sizeof(struct net),
	.open = backend_open,
	.close = backend_close,
	.start = backend_start,
	.stop = backend_stop,
	.set_header = backend_set_header,
	.set_queues = backend_set_queues,
	.recv = backend_recv,
	.send = backend_send,
};

extern const struct net_class *const net_classes[];
const struct net_class *const net_classes[] = { &backend, NULL };

/* --- fakes: loop, transport ---------------------------------------------------------------------
 */

static struct loop_defer *deferred[DEFERRED];
static unsigned n_deferred;
static bool requeued[QUEUES];

int iothread_get(struct machine *machine, const char *id, struct loop **out, struct err *e)
{
	*out = NULL;
	return 0;
}

void loop_defer(struct loop *l, struct loop_defer *d)
{
	if (d->queued)
		return;
	d->queued = true;
	must(n_deferred < DEFERRED);
	deferred[n_deferred++] = d;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
	for (unsigned i = 0; i < n_deferred; i++)
		if (deferred[i] == d)
			deferred[i] = deferred[--n_deferred];
	d->queued = false;
}

void virtio_requeue(struct virtqueue *vq)
{
	requeued[vq->index] = true;
}

static void end_round(void)
{
	while (n_deferred) {
		struct loop_defer *d = deferred[--n_deferred];

		d->queued = false;
		d->cb(d->ctx);
	}
	for (unsigned q = 0; q < QUEUES; q++) {
		if (requeued[q] && v->running)
			v->type->kick(v, v->vq[q]);
		requeued[q] = false;
	}
}

const struct prop virtio_pci_props[] = { PROP_END }, virtio_mmio_props[] = { PROP_END };

struct virtqueue *virtio_add_queue(struct virtio_dev *d, unsigned size)
{
	struct virtqueue *vq = calloc(1, sizeof(*vq));

	must(vq && d->n_queues < QUEUES);
	vq->index = d->n_queues;
	vq->max_size = (uint16_t)size;
	return d->vq[d->n_queues++] = vq;
}

void virtio_broken(struct virtio_dev *d, const char *fmt, ...)
{
	d->running = false;
	broken = true;
}

void virtio_config_changed(struct virtio_dev *d)
{
	atomic_fetch_add(&d->config_generation, 1);
}

/* The class names these; the target makes its device itself. */
int virtio_pci_init(struct dev *d, struct err *e)
{
	return -ENODEV;
}

void virtio_pci_reset(struct dev *d)
{
}

void virtio_pci_fini(struct dev *d)
{
}

int virtio_mmio_init(struct dev *d, struct err *e)
{
	return -ENODEV;
}

void virtio_mmio_reset(struct dev *d)
{
}

void virtio_mmio_fini(struct dev *d)
{
}

/* --- the driver
 * ----------------------------------------------------------------------------------- */

static void notify(struct virtqueue *vq)
{
}

static void start_queue(unsigned q, uint16_t size)
{
	struct virtqueue *vq = v->vq[q];

	vq->size = size;
	vq->desc = RINGS + q * 0x1000;
	vq->driver = vq->desc + 0x400;
	vq->device = vq->desc + 0x800;
	vq->notify = notify;
	memset(m.mem.ram + vq->desc, 0, 0x1000);
	must(!vq_start(vq, &m.mem, v->features, v->legacy));
}

static void stop(void)
{
	v->running = false;
	v->type->stop(v, NULL);
	must(!n_deferred);
	for (unsigned q = 0; q < QUEUES; q++) {
		must(broken || !vq_outstanding(v->vq[q]));
		vq_stop(v->vq[q]);
		requeued[q] = false;
	}
	broken = false;
	v->type->reset(v);
}

static void start(void)
{
	uint8_t how = byte();
	/* Three bytes of the device's own features that are not taken. */
	uint64_t not = number(3);

	v->legacy = how & 1;
	v->features = (v->host_features & ~not ) | VIRTIO_F(VIRTIO_F_INDIRECT_DESC);
	if (how & 2)
		v->features |= VIRTIO_F(VIRTIO_F_EVENT_IDX);
	if (how & 4)
		v->features |= VIRTIO_F(VIRTIO_F_RING_PACKED);
	if (how & 8)
		v->features |= VIRTIO_F(VIRTIO_F_IN_ORDER);
	v->running = true;
	for (unsigned q = 0; q < QUEUES; q++)
		start_queue(q, how & 16 ? 4 : 16);
	v->type->start(v);
}

static struct virtio_dev *make_device(const char *id)
{
	const struct dev_class *c = &virtio_net_pci_class;
	struct virtio_dev *d = calloc(1, c->size);
	struct err e;

	must(d);
	d->dev.cls = c;
	d->dev.m = &m;
	d->type = c->type;
	d->loop_log = d->log = (struct log_limit)LOG_LIMIT_INIT;
	props_defaults(c->props, d);
	must(!net_add(m.nets, id, &e));
	must(!props_set(c->props, d, "netdev", id + strlen("backend,id="), &e));
	must(!props_set(c->props, d, "mac", headers ? "52:54:00:00:00:01" : "52:54:00:00:00:02",
			&e));
	must(!d->type->init(d, &e));
	return d;
}

static struct {
	struct virtio_dev *v;
	struct net *net;
} made[2];

static void make_devices(void)
{
	static const char *const ids[] = { "backend,id=plain", "backend,id=header" };
	struct err e;

	must(!gmem_init(&m.mem, RAM, GMEM_ANON, &e) && !net_set_create(&m.nets, NULL, &e));
	m.n_cpus = 1;
	for (unsigned i = 0; i < 2; i++) {
		headers = i;
		made[i].v = make_device(ids[i]);
		made[i].net = net;
	}
}

static uint64_t address(void)
{
	uint32_t n = number(2);

	/* Now and then beyond RAM. */
	return n >= 0xfff0 ? (uint64_t)n << 48 : BUFFERS + n * 4ull;
}

static void put_desc(struct virtqueue *vq)
{
	struct virtq_desc d = { .addr = cpu_to_le64(address()),
				.len = cpu_to_le32(number(2)),
				.flags = cpu_to_le16((uint16_t)number(2)),
				.next = cpu_to_le16(byte() % 18) };

	memcpy(m.mem.ram + vq->desc + byte() % 16 * sizeof(d), &d, sizeof(d));
}

/* Chains as drivers make them; split rings. Room for frames, a frame, or a control message. */
static void put_chain(struct virtqueue *vq)
{
	struct virtq_desc *d = (struct virtq_desc *)(m.mem.ram + vq->desc);
	struct virtq_avail *a = (struct virtq_avail *)(m.mem.ram + vq->driver);
	bool ctrl = vq->index == 4 || (vq->index == 2 && !virtio_has(v, VIRTIO_NET_F_MQ));
	bool rx = !ctrl && vq->index % 2 == 0;
	unsigned i = byte() % (vq->size - 1u), idx = le16_to_cpu(a->idx);
	uint32_t len = number(2);
	uint64_t at = BUFFERS + i * 0x10000ull % 0xe0000;
	uint8_t *p = m.mem.ram + at;

	if (ctrl) {
		len = 2 + len % 32;
		for (unsigned k = 0; k < len; k++)
			p[k] = byte();
		p[0] %= 7;
		p[1] %= 7;
	} else if (!rx) {
		struct virtio_net_hdr_v1 h = { .flags = byte() & 3,
					       .gso_type = byte(),
					       .gso_size = cpu_to_le16(byte()),
					       .csum_start = cpu_to_le16(byte()),
					       .csum_offset = cpu_to_le16(byte()) };

		memcpy(p, &h, sizeof(h));
	}
	d[i] = (struct virtq_desc){ cpu_to_le64(at), cpu_to_le32(len ? len : 1),
				    cpu_to_le16(ctrl ? VIRTQ_DESC_F_NEXT
						: rx ? VIRTQ_DESC_F_WRITE
						     : 0),
				    cpu_to_le16((uint16_t)(i + 1)) };
	if (ctrl)
		d[i + 1] = (struct virtq_desc){ cpu_to_le64(at + 64), cpu_to_le32(1),
						cpu_to_le16(VIRTQ_DESC_F_WRITE), cpu_to_le16(0) };
	a->ring[idx % vq->size] = cpu_to_le16((uint16_t)i);
	a->idx = cpu_to_le16((uint16_t)(idx + 1));
}

static void frames_come(void)
{
	uint8_t many = byte();

	coming.n = many & 0x80 ? 1000 : many & 7;
	coming.len = number(2) + (many & 0x40 ? 18 : 0);
	coming.h = (struct virtio_net_hdr_v1){ .flags = byte() & 3,
					       .gso_type = byte(),
					       .gso_size = cpu_to_le16(byte()),
					       .csum_start = cpu_to_le16(byte()),
					       .csum_offset = cpu_to_le16(byte()) };
	net_readable(net, many >> 3 & 1);
}

static void step(void)
{
	uint8_t what = byte(), buf[32];
	unsigned q = (what >> 4) % QUEUES, off;
	struct virtqueue *vq = v->vq[q];
	struct err e;

	switch (what & 15) {
	case 0:
		put_desc(vq);
		break;
	case 1: /* available entry and index, or packed descriptors and event suppression */
		off = number(2) % 0x3fe;
		memcpy(m.mem.ram + vq->driver + off, (uint8_t[]){ byte(), byte() }, 2);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		if (!vq->packed)
			put_chain(vq);
		break;
	case 6:
	case 7:
	case 8:
		if (v->running)
			v->type->kick(v, vq);
		break;
	case 9:
		frames_come();
		break;
	case 10:
		room = byte() & 15;
		net_writable(net, q & 1);
		break;
	case 11:
		end_round();
		break;
	case 12:
		stop();
		start();
		break;
	case 13: /* reset of one queue */
		if (!v->running)
			break;
		v->type->stop(v, vq);
		vq_stop(vq);
		start_queue(q, byte() & 1 ? 16 : 8);
		requeued[q] = false;
		break;
	case 14:
		off = byte() % v->config_size;
		memset(buf, byte(), sizeof(buf));
		if (what & 16)
			v->type->config_write(v, off, buf, 1);
		else
			v->type->config_read(v, off, buf, v->config_size - off);
		break;
	case 15:
		must(!net_set_link(m.nets, net_id(net), byte() & 1, &e));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	unsigned which;

	if (!made[0].v)
		make_devices();
	in = data;
	left = size;
	which = byte() & 1;
	v = made[which].v;
	net = made[which].net;
	room = 100;
	coming.n = 0;
	must(!net_set_link(m.nets, net_id(net), true, &e));
	start();
	while (left)
		step();
	stop();
	return 0;
}
