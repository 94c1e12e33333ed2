/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For testing virtio devices with fake_machine.h: an event loop that runs when
 * the test says so (fake_loop_run), a host with ioeventfds (guest_write rings
 * them as KVM would), a driver's side of a split ring in guest memory, and two
 * device types: virtio-test, which echoes or holds what it gets, and virtio-new,
 * which has no legacy form and no configuration space.
 */
#ifndef POSADA_TEST_FAKE_VIRTIO_H
#define POSADA_TEST_FAKE_VIRTIO_H

#include "fake_machine.h"

#include "pci.h"
#include "virtio.h"
#include "wire/le.h"

extern const struct dev_class i440fx_class, piix3_class;

/* --- the loop: watches eventfds, runs calls at once ------------------------------ */

static struct fake_loop {
	struct loop_fd *fd[128];
	struct loop_defer *deferred[8];
	unsigned calls; /* of loop_call */
	struct loop_poller *poller;
	bool refuse_fds; /* loop_fd_add fails */
} fake_loop;

int loop_fd_mod(struct loop_fd *f, uint32_t events)
{
	f->events = events;
	return 0;
}

void loop_fd_del(struct loop_fd *f)
{
	for (unsigned i = 0; i < 128; i++)
		if (fake_loop.fd[i] == f)
			fake_loop.fd[i] = NULL;
	f->events = 0;
}

int loop_fd_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events,
		void (*cb)(void *ctx, uint32_t epoll_events), void *ctx)
{
	unsigned i = 0;

	if (fake_loop.refuse_fds)
		return -ENOSPC;
	loop_fd_del(f);
	*f = (struct loop_fd){ .fd = fd, .cb = cb, .ctx = ctx, .loop = l, .events = events };
	while (i < 128 && fake_loop.fd[i])
		i++;
	ck_assert_uint_lt(i, 128);
	fake_loop.fd[i] = f;
	return 0;
}

void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	fake_loop.calls++;
	fn(ctx);
}

void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	fn(ctx);
}

bool loop_is_current(const struct loop *l)
{
	return true;
}

void loop_defer(struct loop *l, struct loop_defer *d)
{
	unsigned i = 0;

	if (d->queued)
		return;
	while (i < 8 && fake_loop.deferred[i])
		i++;
	ck_assert_uint_lt(i, 8);
	fake_loop.deferred[i] = d;
	d->queued = true;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
	for (unsigned i = 0; i < 8; i++)
		if (fake_loop.deferred[i] == d)
			fake_loop.deferred[i] = NULL;
	d->queued = false;
}

/* This loop does not poll by itself: tests call the poller of the one device that has one. */
void loop_poller_add(struct loop *l, struct loop_poller *p)
{
	fake_loop.poller = p;
}

void loop_poller_del(struct loop *l, struct loop_poller *p)
{
	ck_assert_ptr_eq(fake_loop.poller, p);
	fake_loop.poller = NULL;
}

static inline unsigned fake_watched(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 128; i++)
		n += fake_loop.fd[i] != NULL;
	return n;
}

/* One round: every descriptor that is ready, then what was deferred. How many callbacks ran. */
static inline unsigned fake_loop_round(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 128; i++) {
		struct loop_fd *f = fake_loop.fd[i];
		eventfd_t count;

		/* Edge-triggered: seen once. */
		if (!f || !fake_readable(f->fd) || eventfd_read(f->fd, &count))
			continue;
		f->cb(f->ctx, f->events);
		n++;
	}
	for (unsigned i = 0; i < 8; i++) {
		struct loop_defer *d = fake_loop.deferred[i];

		if (!d)
			continue;
		loop_defer_cancel(NULL, d);
		d->cb(d->ctx);
		n++;
	}
	return n;
}

static inline unsigned fake_loop_run(void)
{
	unsigned total = 0, n;

	while ((n = fake_loop_round())) {
		total += n;
		ck_assert_uint_lt(total, 100000); /* it never comes to rest */
	}
	return total;
}

/* --- ioeventfds ---------------------------------------------------------------------- */

struct fake_bell {
	bool on, mmio;
	uint64_t addr;
	unsigned size;
	int64_t match;
	int fd;
};

static struct fake_bells {
	struct fake_bell bell[128];
	bool none, no_any_width; /* what the host cannot do */
	unsigned rung;
} fake_bells;

static int fake_bell_set(void *ctx, bool mmio, uint64_t addr, unsigned size, int64_t match, int fd,
			 bool add)
{
	const struct fake_bell want = { true, mmio, addr, size, match, fd };

	if (add && (fake_bells.none || (!size && fake_bells.no_any_width)))
		return -ENOSYS;
	for (unsigned i = 0; i < 128; i++) {
		struct fake_bell *b = &fake_bells.bell[i];
		bool same = b->on && b->mmio == mmio && b->addr == addr && b->size == size &&
			    b->match == match && b->fd == fd;

		if (add ? b->on : !same)
			continue;
		*b = add ? want : (struct fake_bell){ 0 };
		return 0;
	}
	return -ENOENT;
}

static const struct bus_doorbell_ops fake_bell_ops = { .set = fake_bell_set };

static inline unsigned fake_bells_on(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 128; i++)
		n += fake_bells.bell[i].on;
	return n;
}

/* A vCPU's write: rings a bell or reaches the bus. */
static inline void guest_write(struct bus *bus, uint64_t addr, uint64_t val, unsigned size)
{
	for (unsigned i = 0; i < 128; i++) {
		struct fake_bell *b = &fake_bells.bell[i];

		if (b->on && b->mmio == bus->mmio && b->addr == addr &&
		    (!b->size || b->size == size) &&
		    (b->match == BUS_DOORBELL_ANY || (uint64_t)b->match == val)) {
			fake_bells.rung++;
			eventfd_write(b->fd, 1);
			return;
		}
	}
	bus_write(bus, addr, &val, size);
}

static inline uint64_t guest_read(struct bus *bus, uint64_t addr, unsigned size)
{
	uint64_t val = 0;

	bus_read(bus, addr, &val, size);
	return val;
}

/* --- the driver's side of a split ring ------------------------------------------------- */

struct gring {
	unsigned size;
	uint64_t desc, avail, used;
	uint16_t added;
	uint16_t next; /* descriptor */
	uint16_t seen;
};

static inline void put16(uint64_t gpa, uint16_t val)
{
	struct le16 wire = cpu_to_le16(val);

	ck_assert_int_eq(gmem_write(&fake.m.mem, gpa, &wire, 2), 0);
}

static inline uint16_t get16(uint64_t gpa)
{
	struct le16 wire;

	ck_assert_int_eq(gmem_read(&fake.m.mem, gpa, &wire, 2), 0);
	return le16_to_cpu(wire);
}

static inline uint32_t get32(uint64_t gpa)
{
	return get16(gpa) | (uint32_t)get16(gpa + 2) << 16;
}

/* Cleared rings of `size` entries at gpa, a page boundary, in the legacy layout. */
static inline struct gring gring_at(uint64_t gpa, unsigned size)
{
	struct gring g = { .size = size, .desc = gpa, .avail = gpa + 16 * size };

	g.used = (g.avail + 6 + 2 * size + 4095) & ~4095ull;
	memset(gmem_ptr(&fake.m.mem, gpa, g.used + 6 + 8 * size - gpa), 0,
	       g.used + 6 + 8 * size - gpa);
	return g;
}

static inline void gring_desc(const struct gring *g, unsigned n, uint64_t addr, uint32_t len,
			      unsigned flags, unsigned next)
{
	struct {
		struct le64 addr;
		struct le32 len;
		struct le16 flags, next;
	} d = { cpu_to_le64(addr), cpu_to_le32(len), cpu_to_le16((uint16_t)flags),
		cpu_to_le16((uint16_t)next) };

	ck_assert_int_eq(gmem_write(&fake.m.mem, g->desc + 16 * n, &d, sizeof(d)), 0);
}

/* Makes the chain that begins at descriptor head available. */
static inline void gring_avail(struct gring *g, unsigned head)
{
	put16(g->avail + 4 + 2 * (g->added % g->size), (uint16_t)head);
	put16(g->avail + 2, ++g->added);
}

/* A buffer of one descriptor; for the device to write when `in`. Returns its head. */
static inline unsigned gring_add(struct gring *g, uint64_t addr, uint32_t len, bool in)
{
	unsigned head = g->next++ % g->size;

	gring_desc(g, head, addr, len, in ? 2 : 0, 0);
	gring_avail(g, head);
	return head;
}

static inline uint16_t gring_used(const struct gring *g)
{
	return get16(g->used + 2);
}

static inline uint32_t gring_used_len(const struct gring *g, unsigned n)
{
	return get32(g->used + 4 + 8 * (n % g->size) + 4);
}

/* --- device types ----------------------------------------------------------------------- */

enum { TEST_F_A = 3, TEST_F_REFUSED = 5, TEST_CONFIG = 21, TEST_MAX_HELD = 32 };

struct vtest {
	struct virtio_dev v;
	uint8_t config[TEST_CONFIG];
	bool hold; /* pop and keep */
	unsigned starts, kicks, stops, resets;
	struct {
		struct vq_chain c;
		struct virtqueue *vq;
	} held[TEST_MAX_HELD];
	unsigned n_held;
};

static inline void vtest_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct vtest *t = (struct vtest *)v;
	struct iovec iov[16];
	int rc;

	t->kicks++;
	for (;;) {
		struct vq_chain c = { .iov = iov, .max = 16 };

		rc = vq_pop(vq, &c);
		if (rc <= 0)
			break;
		if (t->hold) {
			ck_assert_uint_lt(t->n_held, TEST_MAX_HELD);
			t->held[t->n_held].c = c;
			t->held[t->n_held++].vq = vq;
			continue;
		}
		for (unsigned i = 0; i < c.n_in; i++)
			memset(iov[c.n_out + i].iov_base, 0xab, iov[c.n_out + i].iov_len);
		vq_push(vq, &c, c.in_len);
	}
	vq_flush(vq);
	if (rc < 0)
		virtio_broken(v, "queue %u: %s", vq->index, vq->broken);
}

/* Completes what is held of vq (NULL: of all). */
static inline void vtest_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	struct vtest *t = (struct vtest *)v;
	unsigned kept = 0;

	t->stops++;
	for (unsigned i = 0; i < t->n_held; i++) {
		if (vq && t->held[i].vq != vq)
			t->held[kept++] = t->held[i];
		else
			vq_push(t->held[i].vq, &t->held[i].c, 0);
	}
	t->n_held = kept;
}

static inline void vtest_start(struct virtio_dev *v)
{
	((struct vtest *)v)->starts++;
}

static inline void vtest_reset(struct virtio_dev *v)
{
	struct vtest *t = (struct vtest *)v;

	ck_assert_uint_eq(t->n_held, 0); /* stop comes first */
	t->resets++;
	memset(t->config + 16, 0, 4);
}

static inline bool vtest_features_ok(struct virtio_dev *v)
{
	return !virtio_has(v, TEST_F_REFUSED);
}

static inline void vtest_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	ck_assert_uint_le(off + len, TEST_CONFIG);
	memcpy(buf, ((struct vtest *)v)->config + off, len);
}

static inline void vtest_config_write(struct virtio_dev *v, unsigned off, const void *buf,
				      unsigned len)
{
	ck_assert_uint_le(off + len, TEST_CONFIG);
	memcpy(((struct vtest *)v)->config + off, buf, len);
}

static inline int vtest_init(struct virtio_dev *v, struct err *e)
{
	struct vtest *t = (struct vtest *)v;

	v->config_size = TEST_CONFIG;
	v->host_features = VIRTIO_F(TEST_F_A) | VIRTIO_F(TEST_F_REFUSED) | VIRTIO_F(50);
	for (unsigned i = 0; i < TEST_CONFIG; i++)
		t->config[i] = (uint8_t)(0x40 + i);
	virtio_add_queue(v, 8);
	virtio_add_queue(v, 16);
	return 0;
}

static const struct virtio_type vtest_type = {
	.name = "virtio-test",
	.polled = true,
	.id = 0x3e,
	.legacy_pci_id = 0x103e,
	.pci_class = 0x058000,
	.init = vtest_init,
	.reset = vtest_reset,
	.config_read = vtest_config_read,
	.config_write = vtest_config_write,
	.features_ok = vtest_features_ok,
	.start = vtest_start,
	.kick = vtest_kick,
	.stop = vtest_stop,
};

static inline int vnew_init(struct virtio_dev *v, struct err *e)
{
	virtio_add_queue(v, 8);
	return 0;
}

static const struct virtio_type vnew_type = {
	.name = "virtio-new",
	.id = 0x3f,
	.pci_class = 0x058000,
	.init = vnew_init,
	.kick = vtest_kick,
};

extern const struct dev_class vtest_pci_class, vtest_mmio_class, vnew_pci_class, vnew_mmio_class;
VIRTIO_DEVICE(vtest, vtest, "virtio-test", "for tests", vtest_type, NULL);
VIRTIO_DEVICE(vnew, vtest, "virtio-new", "for tests", vnew_type, NULL);

/* --- set-up ------------------------------------------------------------------------------- */

static inline void fake_virtio_setup(void)
{
	fake_setup();
	memset(&fake_loop, 0, sizeof(fake_loop));
	memset(&fake_bells, 0, sizeof(fake_bells));
	fake.m.loop = (struct loop *)&fake_loop;
	fake.m.pio.doorbell_ops = fake.m.mmio.doorbell_ops = &fake_bell_ops;
}

static inline void fake_virtio_teardown(void)
{
	machine_remove_devices(&fake.m);
	ck_assert_uint_eq(fake_watched(), 0);
	ck_assert_uint_eq(fake_bells_on(), 0);
	fake_teardown();
}

static inline int fake_virtio_main(const char *name, const TTest *const *tests, size_t n)
{
	return run_tests(name, fake_virtio_setup, fake_virtio_teardown, tests, n);
}

#endif
