/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device whose queues run on a thread of their own, with vCPUs that
 * reset it while requests are in flight, and a host that changes its configuration:
 * what crosses between its two owners. Meant for TSan.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "dev.h"
#include "err.h"
#include "loop.h"
#include "machine.h"
#include "virtio.h"
#include "wire/le.h"

enum { ROUNDS = 400, QUEUES = 2, SIZE = 8 };
enum { RING = 0x10000, RING_STEP = 0x10000, DATA = 0x80000 };

/* No device by name: machine.c alone must not link them all. */
const struct dev_class *const dev_classes[] = { NULL };

const struct dev_class *dev_class_find(const char *name)
{
	return NULL;
}

int dev_unknown(const char *name, struct err *e)
{
	return err_set(e, ERR_USAGE, EINVAL, "no device '%s'", name);
}

/* --- a device that holds each request for a while ------------------------------------ */

struct slow {
	struct virtio_dev v;
	struct {
		struct iovec iov[4];
		struct vq_chain c;
		struct virtqueue *vq;
	} held[QUEUES * SIZE];
	unsigned n_held;
	struct loop_timer timer;
	_Atomic unsigned done;
};

static void complete(struct slow *s, const struct virtqueue *vq)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < s->n_held; i++) {
		if (vq && s->held[i].vq != vq) {
			s->held[kept++] = s->held[i];
			continue;
		}
		vq_push(s->held[i].vq, &s->held[i].c, s->held[i].c.in_len);
		vq_flush(s->held[i].vq);
		atomic_fetch_add(&s->done, 1);
	}
	s->n_held = kept;
}

static void expired(void *ctx)
{
	complete(ctx, NULL);
}

static void slow_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct slow *s = (struct slow *)v;
	int rc = 0;

	while (s->n_held < QUEUES * SIZE) {
		s->held[s->n_held].c = (struct vq_chain){ .iov = s->held[s->n_held].iov, .max = 4 };
		s->held[s->n_held].vq = vq;
		rc = vq_pop(vq, &s->held[s->n_held].c);
		if (rc <= 0)
			break;
		s->n_held++;
	}
	if (rc < 0)
		virtio_broken(v, "queue %u: %s", vq->index, vq->broken);
	if (s->n_held)
		loop_timer_set(&s->timer, loop_now_ns() + 100000);
}

static void slow_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	complete((struct slow *)v, vq);
}

static void slow_fini(struct virtio_dev *v)
{
	loop_timer_cancel(&((struct slow *)v)->timer);
}

static int slow_init(struct virtio_dev *v, struct err *e)
{
	for (unsigned i = 0; i < QUEUES; i++)
		virtio_add_queue(v, SIZE);
	loop_timer_init(&((struct slow *)v)->timer, v->loop, expired, v);
	return 0;
}

static const struct virtio_type slow_type = {
	.name = "virtio-slow",
	.id = 0x3e,
	.init = slow_init,
	.fini = slow_fini,
	.kick = slow_kick,
	.stop = slow_stop,
};

extern const struct dev_class slow_pci_class, slow_mmio_class;
VIRTIO_DEVICE(slow, slow, "virtio-slow", "for tests", slow_type, NULL);

/* --- a machine ---------------------------------------------------------------------------- */

static struct machine m;
static struct slow *s;
static pthread_t loop_thread;
static _Atomic unsigned irqs;
static _Atomic bool over;

static void count_irq(void *ctx, unsigned n, bool level)
{
	if (level)
		atomic_fetch_add(&irqs, 1);
}

static void *run(void *ctx)
{
	loop_run(ctx);
	return NULL;
}

static void setup(void)
{
	struct dev *d;
	struct err e;

	memset(&m, 0, sizeof(m));
	bus_init(&m.pio, false);
	bus_init(&m.mmio, true);
	ck_assert_int_eq(gmem_init(&m.mem, 1 << 20, GMEM_ANON, &e), 0);
	for (unsigned i = 0; i < 16; i++)
		m.isa_irq[i] = (struct irq){ .set = count_irq, .n = i };
	ck_assert_int_eq(loop_create(&m.loop, &e), 0);
	ck_assert_int_eq(machine_add_device(&m, &slow_mmio_class, NULL, &d, &e), 0);
	s = (struct slow *)d;
	atomic_store(&over, false);
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run, m.loop), 0);
}

static void teardown(void)
{
	machine_remove_devices(&m); /* while its loop runs */
	loop_quit(m.loop);
	pthread_join(loop_thread, NULL);
	loop_destroy(m.loop);
	bus_fini(&m.pio);
	bus_fini(&m.mmio);
	gmem_fini(&m.mem);
}

/* --- drivers -------------------------------------------------------------------------------- */

static void set(unsigned reg, uint32_t val)
{
	bus_write(&m.mmio, s->v.mmio.base + reg, &val, 4);
}

static uint32_t get(unsigned reg)
{
	uint32_t val = 0;

	bus_read(&m.mmio, s->v.mmio.base + reg, &val, 4);
	return val;
}

static uint8_t *ram(uint64_t gpa)
{
	return gmem_ptr(&m.mem, gpa, 1);
}

static void set_up_queue(unsigned n)
{
	uint32_t at = RING + n * RING_STEP;

	memset(ram(at), 0, RING_STEP / 2);
	for (unsigned i = 0; i < SIZE; i++) {
		uint8_t *d = ram(at + 16 * i);

		*(struct le64 *)d = cpu_to_le64(DATA + 64 * i);
		*(struct le32 *)(d + 8) = cpu_to_le32(64);
		*(struct le16 *)(d + 12) = cpu_to_le16(2);
	}
	set(0x30, n);
	set(0x38, SIZE);
	set(0x80, at);
	set(0x90, at + 0x1000);
	set(0xa0, at + 0x2000);
	set(0x44, 1);
}

/* All entries of the queue's ring, once; what the device reads is published as a driver does. */
static void submit(unsigned n)
{
	uint8_t *avail = ram(RING + n * RING_STEP + 0x1000);

	for (unsigned i = 0; i < SIZE; i++)
		*(struct le16 *)(avail + 4 + 2 * i) = cpu_to_le16((uint16_t)i);
	__atomic_store_n((uint16_t *)(void *)(avail + 2), SIZE, __ATOMIC_RELEASE);
	set(0x50, n);
}

static unsigned used(unsigned n)
{
	return __atomic_load_n((uint16_t *)(void *)(ram(RING + n * RING_STEP + 0x2000) + 2),
			       __ATOMIC_ACQUIRE);
}

static void start_driver(uint64_t features)
{
	set(0x70, 3);
	set(0x24, 1);
	set(0x20, (uint32_t)(features >> 32));
	set(0x70, 11);
	for (unsigned n = 0; n < QUEUES; n++)
		set_up_queue(n);
	set(0x70, 15);
	ck_assert_uint_eq(get(0x70), 15);
}

#define V1 VIRTIO_F(VIRTIO_F_VERSION_1)

/* Another vCPU, which looks on and acknowledges, and the host's resizing. */
static void *onlooker(void *ctx)
{
	while (!atomic_load(&over)) {
		get(0x70);
		get(0xfc);
		set(0x64, get(0x60));
		set(0x50, 1);
		virtio_config_changed(&s->v);
	}
	return NULL;
}

START_TEST(resets_in_flight)
{
	pthread_t other;

	ck_assert_int_eq(pthread_create(&other, NULL, onlooker, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned before[QUEUES];

		start_driver(V1);
		for (unsigned n = 0; n < QUEUES; n++)
			submit(n);
		/* sometimes all of it is done, sometimes nothing */
		while (i % 3 == 0 && used(0) + used(1) < 2 * SIZE)
			sched_yield();
		set(0x70, 0);
		ck_assert_uint_eq(get(0x70), 0);
		/* From here on the memory is the driver's. */
		for (unsigned n = 0; n < QUEUES; n++)
			before[n] = used(n);
		memset(ram(DATA), 0, 64 * SIZE);
		sched_yield();
		for (unsigned n = 0; n < QUEUES; n++)
			ck_assert_uint_eq(used(n), before[n]);
	}
	atomic_store(&over, true);
	pthread_join(other, NULL);
	ck_assert_uint_gt(s->done, ROUNDS);
	ck_assert_uint_gt(irqs, 0);
}
END_TEST

START_TEST(queue_resets_in_flight)
{
	pthread_t other;

	ck_assert_int_eq(pthread_create(&other, NULL, onlooker, NULL), 0);
	start_driver(V1 | VIRTIO_F(VIRTIO_F_RING_RESET));
	submit(1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		submit(0);
		while (i % 3 == 0 && used(0) < SIZE)
			sched_yield();
		set(0x30, 0);
		set(0xc0, 1);
		ck_assert_uint_eq(get(0x44), 0);
		set_up_queue(0);
	}
	while (used(1) < SIZE)
		sched_yield();
	ck_assert_uint_eq(get(0x70), 15);
	atomic_store(&over, true);
	pthread_join(other, NULL);
	submit(0); /* and the device goes while that is in flight */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-threads");
	TCase *tc = tcase_create("threads");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, resets_in_flight);
	tcase_add_test(tc, queue_resets_in_flight);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
