/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a hostile driver of virtio-blk on real rings, split and packed.
 * The input is a program of it: it writes descriptors, headers and rings, rings
 * doorbells, resets and resizes, while a fake drive completes requests in any
 * order, and some with errors. Whatever the drive is given must lie within
 * the disk and its buffers within guest memory; each request is done once. Run with
 * the corpus in tests/fuzz/corpus/virtio_blk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "err.h"
#include "iothread.h"
#include "iov.h"
#include "machine.h"
#include "props.h"
#include "virtio.h"
#include "wire/virtio_blk.h"
#include "wire/virtio_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_class virtio_blk_pci_class;

enum { QUEUES = 2, MAX_QUEUE = 16, RAM = 1 << 20, DISK = 1 << 18, PENDING_MOST = 1024 };
/* Guest addresses: each queue's rings in 4 KiB; then whatever the input puts there. */
enum { RINGS = 0x1000, BUFFERS = 0x4000 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* --- the input ---------------------------------------------------------------- */

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

/* --- fakes: drive, loop, transport --------------------------------------------- */

struct blk {
	uint64_t size;
	bool readonly, writeback;
	const struct blk_client *client;
	void *ctx;
	struct blk_req *pending[PENDING_MOST];
	unsigned n;
	struct blk_limits lim;
};

static struct blk disk;
static struct machine m;
static struct virtio_dev *v;
static struct loop_defer *deferred[QUEUES];
static unsigned n_deferred;
static unsigned next_sector;
static bool broken; /* a queue may have chains that are never used */
static uint8_t contents[DISK];

void blk_submit(struct blk *b, struct blk_req *r)
{
	must(b->n < PENDING_MOST && r->off <= b->size && r->len <= b->size - r->off);
	if (r->op == BLK_READ || r->op == BLK_WRITE) {
		must(iov_len(r->iov, r->n_iov) == r->len);
		for (unsigned i = 0; i < r->n_iov; i++) {
			const uint8_t *p = r->iov[i].iov_base;

			must(p >= m.mem.ram && r->iov[i].iov_len <= RAM &&
			     p + r->iov[i].iov_len <= m.mem.ram + RAM);
		}
	}
	must(r->op == BLK_READ || r->op == BLK_FLUSH || !b->readonly);
	b->pending[b->n++] = r;
}

static void finish(unsigned i, int ret)
{
	struct blk_req *r = disk.pending[i];

	disk.pending[i] = disk.pending[--disk.n];
	if (r->op == BLK_READ && !ret)
		iov_from_buf(r->iov, r->n_iov, 0, contents, r->len);
	r->done(r, ret);
}

void blk_drain(struct blk *b)
{
	while (b->n)
		finish(b->n - 1, b->n & 1 ? -EIO : 0);
}

uint64_t blk_size(const struct blk *b)
{
	return b->size;
}

bool blk_readonly(const struct blk *b)
{
	return b->readonly;
}

bool blk_writeback(const struct blk *b)
{
	return b->writeback;
}

void blk_set_writeback(struct blk *b, bool on)
{
	b->writeback = on;
}

bool blk_can_discard(const struct blk *b)
{
	return true;
}

const struct blk_limits *blk_limits(const struct blk *b)
{
	return &b->lim;
}

const char *blk_serial(const struct blk *b)
{
	return "serial";
}

int blk_get(struct blk_set *s, const char *id, struct blk **out, struct err *e)
{
	*out = &disk;
	return 0;
}

int blk_attach(struct blk *b, const struct blk_client *c, void *ctx, bool write, struct loop *loop,
	       struct err *e)
{
	b->client = c;
	b->ctx = ctx;
	return 0;
}

void blk_detach(struct blk *b)
{
	must(!b->n);
}

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
	must(n_deferred < QUEUES);
	deferred[n_deferred++] = d;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
	for (unsigned i = 0; i < n_deferred; i++)
		if (deferred[i] == d)
			deferred[i] = deferred[--n_deferred];
	d->queued = false;
}

void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	fn(ctx);
}

static void end_round(void)
{
	while (n_deferred) {
		struct loop_defer *d = deferred[--n_deferred];

		d->queued = false;
		d->cb(d->ctx);
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
	must(d->running);
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

/* --- the driver -------------------------------------------------------------------- */

static void notify(struct virtqueue *vq)
{
}

static void start_queue(unsigned q, uint16_t queue_size)
{
	struct virtqueue *vq = v->vq[q];

	vq->size = queue_size;
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
	must(!n_deferred && !disk.n);
	for (unsigned q = 0; q < QUEUES; q++) {
		must(broken || !vq_outstanding(v->vq[q]));
		vq_stop(v->vq[q]);
	}
	broken = false;
	v->type->reset(v);
}

static void start(uint8_t how)
{
	v->legacy = how & 1;
	v->features = v->host_features | VIRTIO_F(VIRTIO_F_INDIRECT_DESC);
	if (how & 2)
		v->features |= VIRTIO_F(VIRTIO_F_EVENT_IDX);
	if (how & 4)
		v->features |= VIRTIO_F(VIRTIO_F_RING_PACKED);
	if (how & 8)
		v->features |= VIRTIO_F(VIRTIO_F_IN_ORDER);
	if (how & 16)
		v->features &= ~VIRTIO_F(VIRTIO_BLK_F_FLUSH);
	if (!v->legacy)
		must(v->type->features_ok(v));
	for (unsigned q = 0; q < QUEUES; q++)
		start_queue(q, how & 32 ? MAX_QUEUE : 4);
	v->type->start(v);
	v->running = true;
}

static void make_device(void)
{
	struct err e;

	must(!gmem_init(&m.mem, RAM, GMEM_ANON, &e));
	m.n_cpus = 1;
	disk.writeback = true;
	disk.lim = (struct blk_limits){ .max_iov = 64 };
	v = calloc(1, virtio_blk_pci_class.size);
	must(v);
	v->dev.cls = &virtio_blk_pci_class;
	v->dev.m = &m;
	v->type = virtio_blk_pci_class.type;
	props_defaults(virtio_blk_pci_class.props, v);
	must(!props_set(virtio_blk_pci_class.props, v, "drive", "d", &e) &&
	     !props_set(virtio_blk_pci_class.props, v, "num-queues", "2", &e) &&
	     !props_set(virtio_blk_pci_class.props, v, "queue-size", "16", &e));
	must(!v->type->init(v, &e));
}

static uint64_t address(void)
{
	uint32_t n = number(2);

	/* Now and then beyond RAM. */
	return n >= 0xfff0 ? (uint64_t)n << 48 : BUFFERS + n * 4ull;
}

/* Descriptors of either ring have address and length at the same place. */
static void put_desc(struct virtqueue *vq)
{
	struct virtq_desc d = { .addr = cpu_to_le64(address()),
				.len = cpu_to_le32(number(2)),
				.flags = cpu_to_le16((uint16_t)number(2)),
				.next = cpu_to_le16(byte() % 18) };

	memcpy(m.mem.ram + vq->desc + byte() % MAX_QUEUE * sizeof(d), &d, sizeof(d));
}

static void put_header(void)
{
	struct virtio_blk_hdr h = { .type = cpu_to_le32(byte() % 20),
				    .sector = cpu_to_le64(number(2)) };

	memcpy(m.mem.ram + BUFFERS + number(2) * 4, &h, sizeof(h));
}

static void put_range(void)
{
	struct virtio_blk_range r = { .sector = cpu_to_le64(number(2)),
				      .num_sectors = cpu_to_le32(number(2)),
				      .flags = cpu_to_le32(byte() & 3) };

	memcpy(m.mem.ram + BUFFERS + number(2) * 4, &r, sizeof(r));
}

/* Header, data, status as they should be; often where the last one ended. Split rings. */
static void put_request(struct virtqueue *vq)
{
	struct virtq_desc *d = (struct virtq_desc *)(m.mem.ram + vq->desc);
	struct virtq_avail *a = (struct virtq_avail *)(m.mem.ram + vq->driver);
	unsigned i = byte() % (vq->size - 2), idx = le16_to_cpu(a->idx);
	uint8_t type = byte() % 16, where = byte(), sectors = byte() % 9;
	unsigned sector = where & 1 ? where : next_sector;
	struct virtio_blk_hdr h = { .type = cpu_to_le32(type), .sector = cpu_to_le64(sector) };
	uint64_t at = address() & 0x3ffff;

	memcpy(m.mem.ram + BUFFERS + i * 32, &h, sizeof(h));
	d[i] = (struct virtq_desc){ cpu_to_le64(BUFFERS + i * 32), cpu_to_le32(16),
				    cpu_to_le16(VIRTQ_DESC_F_NEXT), cpu_to_le16(i + 1) };
	d[i + 1] = (struct virtq_desc){ cpu_to_le64(at + BUFFERS), cpu_to_le32(sectors * 512u),
					cpu_to_le16(VIRTQ_DESC_F_NEXT | (type & 1 ? 0 : 2)),
					cpu_to_le16(i + 2) };
	next_sector = sector + sectors;
	if (!sectors)
		d[i].next = cpu_to_le16(i + 2);
	d[i + 2] = (struct virtq_desc){ cpu_to_le64(BUFFERS + i * 32 + 16), cpu_to_le32(1),
					cpu_to_le16(VIRTQ_DESC_F_WRITE), cpu_to_le16(0) };
	a->ring[idx % vq->size] = cpu_to_le16(i);
	a->idx = cpu_to_le16(idx + 1);
}

static void step(void)
{
	uint8_t what = byte(), buf[64];
	unsigned q = what >> 7, off;
	struct virtqueue *vq = v->vq[q];

	switch (what & 15) {
	case 0:
		put_desc(vq);
		break;
	case 1:
		put_header();
		break;
	case 2:
		put_range();
		break;
	case 3: /* available entry and index, or packed descriptors and event suppression */
		off = number(2) % 0x3fe;
		memcpy(m.mem.ram + vq->driver + off, (uint8_t[]){ byte(), byte() }, 2);
		break;
	case 4:
	case 5:
	case 6:
		if (!vq->packed)
			put_request(vq);
		break;
	case 7:
	case 8:
		if (v->running)
			v->type->kick(v, vq);
		break;
	case 9:
	case 10:
		if (disk.n)
			finish(byte() % disk.n, what & 16 ? -EIO : 0);
		break;
	case 11:
		end_round();
		break;
	case 12:
		stop();
		start(byte());
		break;
	case 13: /* reset of one queue */
		if (!v->running)
			break;
		v->type->stop(v, vq);
		vq_stop(vq);
		start_queue(q, byte() & 1 ? MAX_QUEUE : 8);
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
		/* Shrinks only when nothing is in flight, as the drive has checked those. */
		if (disk.n)
			break;
		disk.size = byte() * 1024u % (DISK + 1);
		disk.readonly = what & 16;
		disk.client->resized(disk.ctx);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!v)
		make_device();
	in = data;
	left = size;
	disk.size = DISK;
	disk.readonly = false;
	next_sector = 0;
	start(byte());
	while (left)
		step();
	stop();
	return 0;
}
