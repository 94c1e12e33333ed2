/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine for testing one device: real buses, memory, properties and device
 * life; fake clocks, timers, interrupt lines, requests and chardevs. Include it
 * in one test_*.c, which names its device's class itself (extern const struct
 * dev_class X_class), so that only that device is linked.
 *
 * What vectors raised is seen by fake_msi_taken. Time stands still but for fake_advance and
 * fake_set_wall. What a device asked for or put out is in `fake`.
 */
#ifndef POSADA_TEST_FAKE_MACHINE_H
#define POSADA_TEST_FAKE_MACHINE_H

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"
#include "chardev.h"
#include "dev.h"
#include "err.h"
#include "loop.h"
#include "machine.h"
#include "opts.h"

/* Both a backend and its front end's handle. */
struct chardev {
	const char *id;
	const struct chardev_client *client;
	void *ctx;
	/* output: what the device wrote, and how many bytes more it may */
	uint8_t out[65536];
	size_t out_n, out_room;
	bool short_write; /* the device is owed a call of writable */
	/* input that the device has not taken yet */
	uint8_t in[65536];
	size_t in_head, in_n;
	unsigned accepts;
};

static struct fake {
	struct machine m;
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	int64_t wall_ns; /* CLOCK_REALTIME */
	struct loop_timer *timers[8];
	bool irq[16];
	unsigned irq_sets[16], irq_rises[16]; /* calls, and rising edges among them */
	unsigned requests;
	enum machine_request last_request;
	int last_code;
	struct irqfd *irqfd[64]; /* those that raise their message */
	unsigned irqfd_sets; /* calls that changed one */
	struct msi_msg msi[64]; /* by machine_msi_send: the last ones */
	unsigned n_msi;
	uint16_t elcr;
	struct chardev chardev[2]; /* "c0" and "c1" */
} fake;

/* --- clocks and timers ------------------------------------------------------- */

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, id, ts);
	ts->tv_sec = fake.wall_ns / 1000000000;
	ts->tv_nsec = fake.wall_ns % 1000000000;
	return 0;
}

uint64_t loop_now_ns(void)
{
	return fake.now_ns;
}

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*cb)(void *ctx), void *ctx)
{
	*t = (struct loop_timer){ .loop = l, .cb = cb, .ctx = ctx };
}

void loop_timer_cancel(struct loop_timer *t)
{
	for (unsigned i = 0; i < 8; i++)
		if (fake.timers[i] == t)
			fake.timers[i] = NULL;
	t->deadline = 0;
}

void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns)
{
	unsigned i = 0;

	loop_timer_cancel(t);
	while (i < 8 && fake.timers[i])
		i++;
	ck_assert_uint_lt(i, 8);
	fake.timers[i] = t;
	t->deadline = deadline_ns ? deadline_ns : 1;
}

static inline void fake_set_wall(int64_t secs, int64_t ns)
{
	fake.wall_ns = secs * 1000000000 + ns;
}

static inline unsigned fake_timers_set(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 8; i++)
		n += fake.timers[i] != NULL;
	return n;
}

/* Moves both clocks and calls the timers that come due, each at its time. */
static inline void fake_advance(uint64_t ns)
{
	uint64_t end = fake.now_ns + ns;

	for (;;) {
		struct loop_timer *t = NULL;
		uint64_t at;

		for (unsigned i = 0; i < 8; i++)
			if (fake.timers[i] && (!t || fake.timers[i]->deadline < t->deadline))
				t = fake.timers[i];
		at = t && t->deadline < end ? t->deadline : end;
		if (at > fake.now_ns) {
			fake.wall_ns += (int64_t)(at - fake.now_ns);
			fake.now_ns = at;
		}
		if (!t || t->deadline > end)
			return;
		loop_timer_cancel(t);
		t->cb(t->ctx);
	}
}

/* --- chardevs ------------------------------------------------------------------ */

struct chardev *chardev_find(struct chardev_set *s, const char *id)
{
	for (unsigned i = 0; i < 2; i++)
		if (!strcmp(fake.chardev[i].id, id))
			return &fake.chardev[i];
	return NULL;
}

int chardev_attach(struct chardev *c, const struct chardev_client *client, void *ctx,
		   struct chardev_port **out, struct err *e)
{
	if (c->client)
		return err_set(e, ERR_USAGE, EBUSY, "in use");
	c->client = client;
	c->ctx = ctx;
	*out = (struct chardev_port *)c;
	return 0;
}

void chardev_detach(struct chardev_port *p)
{
	((struct chardev *)p)->client = NULL;
}

size_t chardev_write(struct chardev_port *p, const void *buf, size_t len)
{
	struct chardev *c = (struct chardev *)p;
	size_t n = len;

	if (!c)
		return len;
	if (n > c->out_room)
		n = c->out_room;
	if (n > sizeof(c->out) - c->out_n)
		n = sizeof(c->out) - c->out_n;
	memcpy(c->out + c->out_n, buf, n);
	c->out_n += n;
	c->out_room -= n;
	if (n < len)
		c->short_write = true;
	return n;
}

void chardev_accept(struct chardev_port *p)
{
	((struct chardev *)p)->accepts++;
}

/* The host takes `room` bytes more. */
static inline void fake_out_room(struct chardev *c, size_t room)
{
	c->out_room = room;
	if (c->short_write && room) {
		c->short_write = false;
		c->client->writable(c->ctx);
	}
}

/* Gives the device as much of the waiting input as it takes, as the loop would. */
static inline void fake_in_pump(struct chardev *c)
{
	while (c->in_n) {
		size_t n = c->client->can_read(c->ctx);

		if (!n)
			return;
		if (n > c->in_n)
			n = c->in_n;
		c->client->read(c->ctx, c->in + c->in_head, n);
		c->in_head += n;
		c->in_n -= n;
	}
	c->in_head = 0;
}

static inline void fake_in(struct chardev *c, const void *buf, size_t len)
{
	ck_assert_uint_le(c->in_head + c->in_n + len, sizeof(c->in));
	memcpy(c->in + c->in_head + c->in_n, buf, len);
	c->in_n += len;
	fake_in_pump(c);
}

/* --- the machine ------------------------------------------------------------------ */

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

static void fake_irq_set(void *ctx, unsigned n, bool level)
{
	fake.irq_sets[n]++;
	if (level && !fake.irq[n])
		fake.irq_rises[n]++;
	fake.irq[n] = level;
}

static void fake_request(struct machine *m, enum machine_request what, int code)
{
	fake.requests++;
	fake.last_request = what;
	fake.last_code = code;
}

static int fake_msi_send(struct machine *m, const struct msi_msg *msg)
{
	fake.msi[fake.n_msi++ % 64] = *msg;
	return 0;
}

static void fake_irqfd_off(struct irqfd *q)
{
	for (unsigned i = 0; i < 64; i++)
		if (fake.irqfd[i] == q)
			fake.irqfd[i] = NULL;
	q->on = false;
}

static int fake_irqfd_set(struct machine *m, struct irqfd *q, const struct msi_msg *msg)
{
	unsigned i = 0;

	if (q->on == (msg != NULL) &&
	    (!msg || (msg->addr == q->msg.addr && msg->data == q->msg.data)))
		return 0;
	fake.irqfd_sets++;
	fake_irqfd_off(q);
	if (!msg)
		return 0;
	while (i < 64 && fake.irqfd[i])
		i++;
	if (i == 64)
		return -ENOSPC;
	fake.irqfd[i] = q;
	q->msg = *msg;
	q->gsi = 24;
	q->on = true;
	return 0;
}

static void fake_irqfd_free(struct machine *m, struct irqfd *q)
{
	fake_irqfd_off(q);
	q->gsi = -1;
}

static void fake_set_elcr(struct machine *m, uint16_t level_mask)
{
	fake.elcr = level_mask;
}

static inline bool fake_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/*
 * As KVM hears eventfds: how often vectors that are not held back were raised
 * whose message is `data`, since the last call. (Raised twice may count as 1 there.)
 */
static inline unsigned fake_msi_taken(uint32_t data)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 64; i++) {
		eventfd_t count;

		if (fake.irqfd[i] && fake.irqfd[i]->msg.data == data &&
		    fake_readable(fake.irqfd[i]->fd) && !eventfd_read(fake.irqfd[i]->fd, &count))
			n += (unsigned)count;
	}
	return n;
}

static const struct machine_ops fake_machine_ops = {
	.request = fake_request,
	.msi_send = fake_msi_send,
	.irqfd_set = fake_irqfd_set,
	.irqfd_free = fake_irqfd_free,
	.set_elcr = fake_set_elcr,
};

static inline void fake_setup_ram(uint64_t ram)
{
	struct err e;

	memset(&fake, 0, sizeof(fake));
	fake.now_ns = 1000000000;
	fake_set_wall(1700000000, 0);
	fake.m.ops = &fake_machine_ops;
	fake.m.n_cpus = 1;
	fake.m.phys_bits = 46;
	bus_init(&fake.m.pio, false);
	bus_init(&fake.m.mmio, true);
	ck_assert_int_eq(gmem_init(&fake.m.mem, ram, GMEM_ANON, &e), 0);
	for (unsigned i = 0; i < 16; i++)
		fake.m.isa_irq[i] = (struct irq){ .set = fake_irq_set, .n = i };
	fake.chardev[0].id = "c0";
	fake.chardev[1].id = "c1";
	fake.chardev[0].out_room = fake.chardev[1].out_room = SIZE_MAX;
}

static inline void fake_setup(void)
{
	fake_setup_ram(16 << 20);
}

static inline void fake_teardown(void)
{
	machine_remove_devices(&fake.m);
	ck_assert_uint_eq(fake_timers_set(), 0); /* a device forgot one */
	ck_assert_uint_eq(fake.m.pio.n, 0);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
	bus_fini(&fake.m.pio);
	bus_fini(&fake.m.mmio);
	gmem_fini(&fake.m.mem);
}

/* As -device would, props "key=value,..." or "". */
static inline int fake_try_add(const struct dev_class *cls, const char *props, struct dev **out,
			       struct err *e)
{
	struct opts o;
	int rc;

	memset(e, 0, sizeof(*e));
	ck_assert_int_eq(opts_parse(&o, props, NULL, e), 0);
	rc = machine_add_device(&fake.m, cls, &o, out, e);
	opts_free(&o);
	return rc;
}

static inline struct dev *fake_add(const struct dev_class *cls, const char *props)
{
	struct dev *d = NULL;
	struct err e;
	int rc = fake_try_add(cls, props, &d, &e);

	ck_assert_msg(!rc, "%s: %s", cls->name, e.msg);
	return d;
}

static inline uint64_t fake_pio_in(uint16_t port, unsigned size)
{
	uint64_t val = 0;

	bus_read(&fake.m.pio, port, &val, size);
	return val;
}

static inline uint8_t inb(uint16_t port)
{
	return (uint8_t)fake_pio_in(port, 1);
}

static inline uint16_t inw(uint16_t port)
{
	return (uint16_t)fake_pio_in(port, 2);
}

static inline uint32_t inl(uint16_t port)
{
	return (uint32_t)fake_pio_in(port, 4);
}

static inline void outb(uint16_t port, uint8_t val)
{
	bus_write(&fake.m.pio, port, &val, 1);
}

static inline void outw(uint16_t port, uint16_t val)
{
	bus_write(&fake.m.pio, port, &val, 2);
}

static inline void outl(uint16_t port, uint32_t val)
{
	bus_write(&fake.m.pio, port, &val, 4);
}

/* --- hostile guests ------------------------------------------------------------------ */

static inline uint32_t fake_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

/* `rounds` accesses of any width to ports [base - 4, base + size + 4), with time going by. */
static inline void fake_hammer(uint16_t base, unsigned size, unsigned rounds, uint64_t seed)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint16_t port = (uint16_t)(base - 4 + fake_random(&seed) % (size + 8));
		uint64_t val = (uint64_t)fake_random(&seed) << 32 | fake_random(&seed);
		unsigned width = 1u << fake_random(&seed) % 4;

		if (fake_random(&seed) & 1)
			bus_write(&fake.m.pio, port, &val, width);
		else
			bus_read(&fake.m.pio, port, &val, width);
		if (fake_random(&seed) % 16 == 0)
			fake_advance(fake_random(&seed) % 300000000);
	}
}

/* Runs one suite whose tests each get a fresh machine. */
static inline int fake_main(const char *name, const TTest *const *tests, size_t n)
{
	return run_tests(name, fake_setup, fake_teardown, tests, n);
}

#endif
