/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine with a real loop, real chardevs and virtio over MMIO, and a small
 * driver for its devices: registers by bus accesses, split rings in guest
 * memory, no event index. For the tests of one device type each.
 */
#ifndef POSADA_TEST_VIRTIO_GUEST_H
#define POSADA_TEST_VIRTIO_GUEST_H

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"
#include "bus.h"
#include "chardev.h"
#include "dev.h"
#include "err.h"
#include "loop.h"
#include "machine.h"
#include "virtio.h"
#include "wire/le.h"

enum {
	QSIZE = 16, /* entries of each queue, as this driver sets it up */
	RINGS = 0x10000, /* queue n has 4 KiB from RINGS + 4096 * n on */
	HEAP = 0x100000, /* buffers, from here up */
};

static struct guest {
	struct machine m;
	struct loop *loop;
	char dir[64];
	uint64_t base; /* of the registers of the device in hand */
	struct virtio_dev *v;
	uint64_t heap;
} guest;

struct gqueue {
	unsigned n;
	uint16_t next, added, seen; /* next free descriptor; avail.idx; used entries looked at */
};

static struct gqueue gq[VIRTIO_MAX_QUEUES];

/* --- the machine ------------------------------------------------------------------- */

static inline void no_irq(void *ctx, unsigned n, bool level)
{
}

static inline void no_request(struct machine *m, enum machine_request what, int code)
{
}

static inline void guest_setup_ram(uint64_t ram, enum gmem_kind kind)
{
	static const struct machine_ops ops = { .request = no_request };
	struct err e = { 0 };

	signal(SIGPIPE, SIG_IGN);
	memset(&guest, 0, sizeof(guest));
	strcpy(guest.dir, "/tmp/posada-virtio.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(guest.dir));
	ck_assert_int_eq(loop_create(&guest.loop, &e), 0);
	guest.m.ops = &ops;
	guest.m.loop = guest.loop;
	guest.m.n_cpus = 1;
	ck_assert_int_eq(chardev_set_create(&guest.m.chardevs, guest.loop, NULL, &e), 0);
	bus_init(&guest.m.pio, false);
	bus_init(&guest.m.mmio, true);
	ck_assert_int_eq(gmem_init(&guest.m.mem, ram, kind, &e), 0);
	for (unsigned i = 0; i < 16; i++)
		guest.m.isa_irq[i] = (struct irq){ .set = no_irq, .n = i };
	guest.heap = HEAP;
}

static inline void guest_setup(void)
{
	guest_setup_ram(16 << 20, GMEM_ANON);
}

static inline void guest_teardown(void)
{
	machine_remove_devices(&guest.m);
	chardev_set_destroy(guest.m.chardevs);
	loop_destroy(guest.loop);
	ck_assert_uint_eq(guest.m.mmio.n, 0);
	bus_fini(&guest.m.pio);
	bus_fini(&guest.m.mmio);
	gmem_fini(&guest.m.mem);
	ck_assert_int_eq(rmdir(guest.dir), 0);
}

static inline void guest_stop_loop(void *ctx)
{
	loop_quit(guest.loop);
}

/* Lets the loop do all that can be done now, and what that brings with it. */
static inline void settle(void)
{
	for (unsigned i = 0; i < 12; i++) {
		loop_post(guest.loop, guest_stop_loop, NULL);
		loop_run(guest.loop);
	}
}

/* Runs the loop until expr holds; fails after ten seconds. */
#define RUN_UNTIL(expr)                                                                            \
	do {                                                                                       \
		uint64_t end_ = loop_now_ns() + 10000000000ull;                                    \
		while (!(expr)) {                                                                  \
			ck_assert_msg(loop_now_ns() < end_, "timed out: " #expr);                  \
			settle();                                                                  \
		}                                                                                  \
	} while (0)

/* As -device would. */
static inline int guest_try(const char *arg, struct err *e)
{
	memset(e, 0, sizeof(*e));
	return machine_add_device_arg(&guest.m, arg, e);
}

static inline void guest_add(const char *arg)
{
	struct err e;

	ck_assert_msg(guest_try(arg, &e) == 0, "%s", e.msg);
}

/* Turns to the virtio device with this id. */
static inline void guest_use(const char *id)
{
	guest.v = (struct virtio_dev *)machine_find_device(&guest.m, id);
	ck_assert_ptr_nonnull(guest.v);
	guest.base = guest.v->mmio.base;
}

/* --- registers ---------------------------------------------------------------------- */

static inline uint32_t reg_read(unsigned off)
{
	struct le32 val = { 0 };

	bus_read(&guest.m.mmio, guest.base + off, &val, 4);
	return le32_to_cpu(val);
}

static inline void reg_write(unsigned off, uint32_t val)
{
	struct le32 wire = cpu_to_le32(val);

	bus_write(&guest.m.mmio, guest.base + off, &wire, 4);
}

static inline uint32_t config_read(unsigned off)
{
	return reg_read(0x100 + off);
}

static inline uint64_t offered(void)
{
	uint64_t low;

	reg_write(0x014, 0);
	low = reg_read(0x010);
	reg_write(0x014, 1);
	return low | (uint64_t)reg_read(0x010) << 32;
}

static inline bool needs_reset(void)
{
	return reg_read(0x070) & VIRTIO_NEEDS_RESET;
}

static inline void reset(void)
{
	reg_write(0x070, 0);
	ck_assert_uint_eq(reg_read(0x070), 0);
}

static inline void set_addr(unsigned reg, uint64_t addr)
{
	reg_write(reg, (uint32_t)addr);
	reg_write(reg + 4, (uint32_t)(addr >> 32));
}

static inline uint64_t ring_at(unsigned n)
{
	return RINGS + 4096 * n;
}

static inline void setup_queue(unsigned n)
{
	static const uint8_t zeros[4096];

	gmem_write(&guest.m.mem, ring_at(n), zeros, sizeof(zeros));
	gq[n] = (struct gqueue){ .n = n };
	reg_write(0x030, n);
	ck_assert_uint_ge(reg_read(0x034), QSIZE);
	reg_write(0x038, QSIZE);
	set_addr(0x080, ring_at(n));
	set_addr(0x090, ring_at(n) + 1024);
	set_addr(0x0a0, ring_at(n) + 2048);
	reg_write(0x044, 1);
	ck_assert_uint_eq(reg_read(0x044), 1);
}

static inline void reset_queue(unsigned n)
{
	reg_write(0x030, n);
	reg_write(0x0c0, 1);
	ck_assert_uint_eq(reg_read(0x044), 0);
}

/* Reset to DRIVER_OK with these features and VERSION_1; queues: a mask. */
static inline void start(uint64_t features, uint64_t queues)
{
	features |= VIRTIO_F(VIRTIO_F_VERSION_1);
	reset();
	reg_write(0x070, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	reg_write(0x024, 0);
	reg_write(0x020, (uint32_t)features);
	reg_write(0x024, 1);
	reg_write(0x020, (uint32_t)(features >> 32));
	reg_write(0x070, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	ck_assert(reg_read(0x070) & VIRTIO_FEATURES_OK);
	for (unsigned n = 0; n < VIRTIO_MAX_QUEUES; n++)
		if (queues >> n & 1)
			setup_queue(n);
	reg_write(0x070,
		  VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	settle();
}

/* --- memory and rings ------------------------------------------------------------------- */

static inline uint64_t alloc(size_t len)
{
	uint64_t gpa = guest.heap;

	guest.heap += (len + 4095) & ~4095ull;
	ck_assert_ptr_nonnull(gmem_ptr(&guest.m.mem, gpa, len));
	return gpa;
}

static inline void *at(uint64_t gpa)
{
	void *p = gmem_ptr(&guest.m.mem, gpa, 1);

	ck_assert_ptr_nonnull(p);
	return p;
}

static inline void put16(uint64_t gpa, uint16_t val)
{
	struct le16 wire = cpu_to_le16(val);

	ck_assert_int_eq(gmem_write(&guest.m.mem, gpa, &wire, 2), 0);
}

static inline uint32_t get32(uint64_t gpa)
{
	struct le32 wire;

	ck_assert_int_eq(gmem_read(&guest.m.mem, gpa, &wire, 4), 0);
	return le32_to_cpu(wire);
}

struct seg {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

/* Makes a chain available, without ringing; returns its head. */
static inline unsigned add_chain(unsigned n, const struct seg *seg, unsigned count)
{
	struct gqueue *q = &gq[n];
	unsigned head = q->next % QSIZE;

	for (unsigned i = 0; i < count; i++) {
		unsigned d = q->next++ % QSIZE;
		bool last = i + 1 == count;
		struct {
			struct le64 addr;
			struct le32 len;
			struct le16 flags, next;
		} desc = {
			.addr = cpu_to_le64(seg[i].gpa),
			.len = cpu_to_le32(seg[i].len),
			.flags = cpu_to_le16((seg[i].write ? 2 : 0) | (last ? 0 : 1)),
			.next = cpu_to_le16((uint16_t)((d + 1) % QSIZE)),
		};

		gmem_write(&guest.m.mem, ring_at(n) + 16 * d, &desc, sizeof(desc));
	}
	put16(ring_at(n) + 1024 + 4 + 2 * (q->added % QSIZE), (uint16_t)head);
	put16(ring_at(n) + 1024 + 2, ++q->added);
	return head;
}

static inline void kick(unsigned n)
{
	reg_write(0x050, n);
	settle();
}

static inline unsigned give(unsigned n, uint64_t gpa, uint32_t len, bool write)
{
	const struct seg s = { gpa, len, write };
	unsigned head = add_chain(n, &s, 1);

	kick(n);
	return head;
}

/* How many chains have been used that were not looked at yet. */
static inline unsigned n_used(unsigned n)
{
	return (uint16_t)((get32(ring_at(n) + 2048) >> 16) - gq[n].seen);
}

/* Looks at the next used chain; its written length, its head in *head (or NULL). */
static inline uint32_t next_used(unsigned n, unsigned *head)
{
	uint64_t e = ring_at(n) + 2048 + 4 + 8ull * (gq[n].seen % QSIZE);

	ck_assert_uint_gt(n_used(n), 0);
	gq[n].seen++;
	if (head)
		*head = get32(e);
	return get32(e + 4);
}

static inline uint32_t guest_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

/* Runs one suite whose tests each get a fresh machine. */
static inline int guest_main(const char *name, const TTest *const *tests, size_t n)
{
	return run_tests(name, guest_setup, guest_teardown, tests, n);
}

#endif
