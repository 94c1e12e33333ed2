/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all virtio devices share, between a transport's registers and a device
 * type: status, features, queues' life, configuration space (Virtual I/O Device
 * specification 1.2, chapters 2 and 3). See include/virtio.h for who calls
 * what on which thread.
 */
#include "virtio.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "err.h"
#include "machine.h"

static const char *who(const struct virtio_dev *v)
{
	return v->dev.id ? v->dev.id : v->dev.cls->name;
}

struct virtqueue *virtio_queue(struct virtio_dev *v, unsigned n)
{
	return n < v->n_queues ? v->vq[n] : NULL;
}

/* --- queues on v->loop ------------------------------------------------------- */

static void rung(void *ctx, uint32_t events)
{
	struct virtqueue *vq = ctx;
	struct virtio_dev *v = vq->owner;

	v->type->kick(v, vq);
}

static void ring(struct virtqueue *vq)
{
	uint64_t one = 1;

	/* Nobody reads the counter; should it ever be full, the bell is ringing already. */
	if (vq->doorbell >= 0 && write(vq->doorbell, &one, sizeof(one)) < 0)
		return;
}

void virtio_requeue(struct virtqueue *vq)
{
	ring(vq);
}

/* --- queues looked at before the loop sleeps: the driver need not ring meanwhile --- */

static bool poll_queues(void *ctx)
{
	struct virtio_dev *v = ctx;
	bool work = false;

	for (unsigned i = 0; v->running && i < v->n_queues; i++) {
		if (!v->vq[i]->started || vq_empty(v->vq[i]))
			continue;
		v->type->kick(v, v->vq[i]);
		work = true;
	}
	return work;
}

static void poll_begin(void *ctx)
{
	struct virtio_dev *v = ctx;

	for (unsigned i = 0; v->running && i < v->n_queues; i++) {
		v->vq[i]->polled = true;
		vq_disable_notify(v->vq[i]);
	}
}

static bool poll_end(void *ctx)
{
	struct virtio_dev *v = ctx;
	bool work = false;

	for (unsigned i = 0; i < v->n_queues; i++)
		v->vq[i]->polled = false;
	for (unsigned i = 0; v->running && i < v->n_queues; i++) {
		if (!v->vq[i]->started || !vq_enable_notify(v->vq[i]))
			continue;
		v->type->kick(v, v->vq[i]);
		work = true;
	}
	return work;
}

static void poll_on(struct virtio_dev *v)
{
	v->poller = (struct loop_poller){
		.poll = poll_queues, .begin = poll_begin, .end = poll_end, .ctx = v
	};
	loop_poller_add(v->loop, &v->poller);
}

static void poll_off(struct virtio_dev *v)
{
	if (v->poller.ctx)
		loop_poller_del(v->loop, &v->poller);
	v->poller.ctx = NULL;
	for (unsigned i = 0; i < v->n_queues; i++)
		v->vq[i]->polled = false;
}

static bool start_queue(struct virtio_dev *v, struct virtqueue *vq)
{
	if (vq_start(vq, &v->dev.m->mem, v->features, v->legacy)) {
		virtio_broken(v, "queue %u: %s", vq->index, vq->broken ? vq->broken : "no memory");
		return false;
	}
	return true;
}

/*
 * Edge-triggered, each write to the eventfd is reported once and none has to
 * be read. Rung once for what the driver made available before; not served at once,
 * as a vCPU is waiting.
 */
static void watch_queue(struct virtio_dev *v, struct virtqueue *vq)
{
	ring(vq);
	if (vq->doorbell < 0 ||
	    loop_fd_add(v->loop, &vq->watch, vq->doorbell, EPOLLIN | EPOLLET, rung, vq))
		virtio_broken(v, "queue %u: the host has no event descriptor left for it",
			      vq->index);
}

static void start_on_loop(void *ctx)
{
	struct virtio_dev *v = ctx;

	v->running = true;
	for (unsigned i = 0; v->running && i < v->n_queues; i++)
		if (v->vq[i]->enabled)
			start_queue(v, v->vq[i]);
	if (v->running && v->type->start)
		v->type->start(v);
	for (unsigned i = 0; v->running && i < v->n_queues; i++)
		if (v->vq[i]->enabled)
			watch_queue(v, v->vq[i]);
	if (v->running && v->type->polled)
		poll_on(v);
}

static void stop_on_loop(void *ctx)
{
	struct virtio_dev *v = ctx;

	v->running = false;
	poll_off(v);
	for (unsigned i = 0; i < v->n_queues; i++)
		loop_fd_del(&v->vq[i]->watch);
	if (v->type->stop)
		v->type->stop(v, NULL);
	for (unsigned i = 0; i < v->n_queues; i++)
		vq_stop(v->vq[i]);
}

static void start_queue_on_loop(void *ctx)
{
	struct virtqueue *vq = ctx;
	struct virtio_dev *v = vq->owner;

	if (v->running && start_queue(v, vq))
		watch_queue(v, vq);
}

static void stop_queue_on_loop(void *ctx)
{
	struct virtqueue *vq = ctx;
	struct virtio_dev *v = vq->owner;

	loop_fd_del(&vq->watch);
	if (vq->started && v->type->stop)
		v->type->stop(v, vq);
	vq_stop(vq);
}

void virtio_broken(struct virtio_dev *v, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	if (!v->running)
		return;
	v->running = false;
	for (unsigned i = 0; i < v->n_queues; i++)
		loop_fd_del(&v->vq[i]->watch);
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	log_guest(&v->loop_log, who(v), "%s: the device rests until it is reset", why);
	/* Legacy drivers know no such bit. */
	if (v->legacy)
		return;
	atomic_fetch_or(&v->status, VIRTIO_NEEDS_RESET);
	if (v->status & VIRTIO_DRIVER_OK)
		v->transport->notify_config(v);
}

/* --- queues, from a vCPU ------------------------------------------------------- */

static void bell_on(struct virtio_dev *v, struct virtqueue *vq)
{
	if (vq->doorbell < 0)
		vq->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vq->doorbell >= 0)
		v->transport->doorbell(v, vq, true);
}

static void bell_off(struct virtio_dev *v, struct virtqueue *vq)
{
	if (vq->doorbell >= 0)
		v->transport->doorbell(v, vq, false);
}

static void start(struct virtio_dev *v)
{
	if (v->started)
		return;
	v->started = true;
	for (unsigned i = 0; i < v->n_queues; i++)
		if (v->vq[i]->enabled)
			bell_on(v, v->vq[i]);
	loop_call(v->loop, start_on_loop, v);
}

static void stop(struct virtio_dev *v)
{
	if (!v->started)
		return;
	v->started = false;
	for (unsigned i = 0; i < v->n_queues; i++)
		if (v->vq[i]->enabled)
			bell_off(v, v->vq[i]);
	loop_call(v->loop, stop_on_loop, v);
}

/* As after power-on; the queue is off. */
static void forget_queue(struct virtqueue *vq)
{
	vq->size = vq->max_size;
	vq->desc = vq->driver = vq->device = 0;
	vq->enabled = false;
	vq->vector = VIRTIO_NO_VECTOR;
}

void virtio_kick(struct virtio_dev *v, unsigned queue)
{
	struct virtqueue *vq = virtio_queue(v, queue);

	if (!vq) {
		log_guest(&v->log, who(v), "doorbell of queue %u, which does not exist", queue);
		return;
	}
	/* Legacy drivers are known to use the device before they set DRIVER_OK (3.1.2). */
	if (!v->started && v->legacy && vq->enabled)
		start(v);
	else if (v->started && vq->enabled)
		ring(vq);
}

static bool may_set_up(struct virtio_dev *v, const struct virtqueue *vq)
{
	if (vq->enabled)
		log_guest(&v->log, who(v), "queue %u is set up while it is enabled", vq->index);
	return !vq->enabled;
}

void virtio_set_queue_size(struct virtio_dev *v, struct virtqueue *vq, uint32_t size)
{
	bool packed = virtio_has(v, VIRTIO_F_RING_PACKED);

	if (!may_set_up(v, vq))
		return;
	if (!size || size > vq->max_size || (!packed && (size & (size - 1)))) {
		log_guest(&v->log, who(v), "queue %u: size %u is refused (%s%u at most)", vq->index,
			  size, packed ? "" : "a power of two, ", vq->max_size);
		return;
	}
	vq->size = (uint16_t)size;
}

void virtio_set_queue_addr(struct virtio_dev *v, struct virtqueue *vq, uint64_t *addr, bool high,
			   uint32_t val)
{
	if (!may_set_up(v, vq))
		return;
	if (high)
		*addr = (uint32_t)*addr | (uint64_t)val << 32;
	else
		*addr = (*addr & ~(uint64_t)UINT32_MAX) | val;
}

void virtio_set_legacy_ring(struct virtio_dev *v, struct virtqueue *vq, uint64_t base,
			    uint32_t align)
{
	virtio_disable_queue(v, vq);
	if (!base)
		return;
	vq->desc = base;
	vq->driver = base + 16ull * vq->size;
	/* flags, idx, the ring and used_event */
	vq->device = (vq->driver + 6 + 2ull * vq->size + align - 1) & ~((uint64_t)align - 1);
	virtio_enable_queue(v, vq);
}

void virtio_enable_queue(struct virtio_dev *v, struct virtqueue *vq)
{
	if (vq->enabled)
		return;
	vq->enabled = true;
	if (!v->started)
		return;
	bell_on(v, vq);
	loop_call(v->loop, start_queue_on_loop, vq);
}

void virtio_disable_queue(struct virtio_dev *v, struct virtqueue *vq)
{
	uint16_t vector = vq->vector, size = vq->size;

	if (!vq->enabled)
		return;
	if (v->started) {
		bell_off(v, vq);
		loop_call(v->loop, stop_queue_on_loop, vq);
	}
	forget_queue(vq);
	/* The legacy interface takes only the ring's address away. */
	if (v->legacy) {
		vq->vector = vector;
		vq->size = size;
	}
}

void virtio_reset_queue(struct virtio_dev *v, struct virtqueue *vq)
{
	if (!virtio_has(v, VIRTIO_F_RING_RESET)) {
		log_guest(&v->log, who(v), "reset of queue %u without RING_RESET", vq->index);
		return;
	}
	virtio_disable_queue(v, vq);
	forget_queue(vq);
}

static void notify(struct virtqueue *vq)
{
	struct virtio_dev *v = vq->owner;

	v->transport->notify_queue(v, vq);
}

struct virtqueue *virtio_add_queue(struct virtio_dev *v, unsigned size)
{
	struct virtqueue *vq = v->n_queues < VIRTIO_MAX_QUEUES ? calloc(1, sizeof(*vq)) : NULL;

	if (!vq)
		return NULL;
	vq->index = v->n_queues;
	vq->max_size = (uint16_t)size;
	vq->doorbell = -1;
	vq->owner = v;
	vq->notify = notify;
	forget_queue(vq);
	v->vq[v->n_queues++] = vq;
	return vq;
}

/* --- features and status ---------------------------------------------------------- */

uint32_t virtio_host_features(const struct virtio_dev *v, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(v->host_features >> 32 * select);
}

void virtio_set_driver_features(struct virtio_dev *v, uint32_t select, uint32_t val)
{
	if (v->status & VIRTIO_FEATURES_OK) {
		log_guest(&v->log, who(v), "features are written after FEATURES_OK");
		return;
	}
	if (select == 0)
		v->features = (v->features & ~(uint64_t)UINT32_MAX) | val;
	else if (select == 1)
		v->features = (uint32_t)v->features | (uint64_t)val << 32;
	else if (val)
		v->unknown_features = true;
}

uint32_t virtio_legacy_features(const struct virtio_dev *v)
{
	return (uint32_t)(v->host_features | VIRTIO_F(VIRTIO_F_ANY_LAYOUT) |
			  VIRTIO_F(VIRTIO_F_NOTIFY_ON_EMPTY));
}

void virtio_set_legacy_features(struct virtio_dev *v, uint32_t val)
{
	if (v->started) {
		log_guest(&v->log, who(v), "features are written while the device runs");
		return;
	}
	v->legacy = true;
	v->features = val & virtio_legacy_features(v);
}

/* FEATURES_OK: whether the driver may have what it took (2.2). */
static bool features_ok(struct virtio_dev *v)
{
	uint64_t never = v->features & ~v->host_features;
	const char *why;

	if (v->unknown_features || never) {
		log_guest(&v->log, who(v), "features 0x%llx were never offered: refused",
			  (unsigned long long)never);
		return false;
	}
	if (!virtio_has(v, VIRTIO_F_VERSION_1))
		why = "VERSION_1 is not taken";
	else if (v->p_access_platform && !virtio_has(v, VIRTIO_F_ACCESS_PLATFORM))
		why = "ACCESS_PLATFORM is not taken";
	else if (v->type->features_ok && !v->type->features_ok(v))
		why = "they do not go together";
	else
		return true;
	log_guest(&v->log, who(v), "features 0x%llx are refused: %s",
		  (unsigned long long)v->features, why);
	return false;
}

void virtio_set_status(struct virtio_dev *v, uint8_t val)
{
	uint8_t old = v->status;

	if (!val) {
		virtio_reset(v);
		return;
	}
	if (old & ~val & ~VIRTIO_NEEDS_RESET)
		log_guest(&v->log, who(v), "status bits 0x%02x are cleared without a reset",
			  old & ~val & ~VIRTIO_NEEDS_RESET);
	val &= (uint8_t) ~(old | VIRTIO_NEEDS_RESET);
	/* Before 1.0 there was no FEATURES_OK. */
	if (v->legacy || ((val & VIRTIO_FEATURES_OK) && !features_ok(v)))
		val &= (uint8_t)~VIRTIO_FEATURES_OK;
	if ((val & VIRTIO_DRIVER_OK) && !v->legacy && !((old | val) & VIRTIO_FEATURES_OK)) {
		log_guest(&v->log, who(v), "DRIVER_OK without FEATURES_OK: refused");
		val &= (uint8_t)~VIRTIO_DRIVER_OK;
	}
	atomic_fetch_or(&v->status, val);
	if (val & VIRTIO_DRIVER_OK)
		start(v);
}

void virtio_reset(struct virtio_dev *v)
{
	stop(v);
	for (unsigned i = 0; i < v->n_queues; i++)
		forget_queue(v->vq[i]);
	v->features = 0;
	v->unknown_features = false;
	v->legacy = false;
	if (v->type->reset)
		v->type->reset(v);
	v->status = 0;
}

/* --- configuration space ------------------------------------------------------------ */

/* How many of len bytes at off there are. */
static unsigned config_room(const struct virtio_dev *v, unsigned off, unsigned len)
{
	if (off >= v->config_size)
		return 0;
	return len < v->config_size - off ? len : v->config_size - off;
}

void virtio_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	unsigned n = config_room(v, off, len);

	memset(buf, 0, len);
	if (n)
		v->type->config_read(v, off, buf, n);
}

void virtio_config_write(struct virtio_dev *v, unsigned off, const void *buf, unsigned len)
{
	unsigned n = config_room(v, off, len);

	if (n < len || !v->type->config_write)
		log_guest(&v->log, who(v), "%u bytes at 0x%x of its configuration are read-only",
			  len, off);
	if (n && v->type->config_write)
		v->type->config_write(v, off, buf, n);
}

void virtio_config_changed(struct virtio_dev *v)
{
	atomic_fetch_add(&v->config_generation, 1);
	if (v->status & VIRTIO_DRIVER_OK)
		v->transport->notify_config(v);
}

/* --- life --------------------------------------------------------------------------- */

static void offer(struct virtio_dev *v, bool on, unsigned bit)
{
	if (on)
		v->host_features |= VIRTIO_F(bit);
}

int virtio_init(struct virtio_dev *v, const struct virtio_transport_ops *t, struct err *e)
{
	int rc;

	v->type = v->dev.cls->type;
	v->transport = t;
	v->loop = v->dev.m->loop;
	v->log = v->loop_log = (struct log_limit)LOG_LIMIT_INIT;
	rc = v->type->init(v, e);
	if (rc)
		return rc;
	offer(v, true, VIRTIO_F_VERSION_1);
	offer(v, v->p_indirect, VIRTIO_F_INDIRECT_DESC);
	offer(v, v->p_event_idx, VIRTIO_F_EVENT_IDX);
	offer(v, v->p_packed, VIRTIO_F_RING_PACKED);
	offer(v, v->p_in_order, VIRTIO_F_IN_ORDER);
	offer(v, v->p_access_platform, VIRTIO_F_ACCESS_PLATFORM);
	offer(v, v->p_ring_reset, VIRTIO_F_RING_RESET);
	offer(v, v->p_notification_data, VIRTIO_F_NOTIFICATION_DATA);
	return 0;
}

void virtio_fini(struct virtio_dev *v)
{
	if (!v->type)
		return;
	stop(v);
	if (v->type->fini)
		v->type->fini(v);
	for (unsigned i = 0; i < v->n_queues; i++) {
		if (v->vq[i]->doorbell >= 0)
			close(v->vq[i]->doorbell);
		free(v->vq[i]);
		v->vq[i] = NULL;
	}
	v->n_queues = 0;
}
