/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng: what it fills, and how fast (virtio 1.2, section 5.4). */
#include "fake_virtio.h"

enum { RING = 0x10000, DATA = 0x100000 };

extern const struct dev_class virtio_rng_pci_class, virtio_rng_mmio_class;

static struct virtio_dev *v;
static struct gring ring;

static void set(unsigned reg, uint32_t val)
{
	guest_write(&fake.m.mmio, v->mmio.base + reg, val, 4);
}

/* A driver that is up. */
static void start(const char *props)
{
	v = (struct virtio_dev *)fake_add(&virtio_rng_mmio_class, props);
	set(0x70, 3);
	set(0x24, 1);
	set(0x20, 1);
	set(0x70, 11);
	ring = gring_at(RING, 8);
	set(0x38, 8);
	set(0x80, (uint32_t)ring.desc);
	set(0x90, (uint32_t)ring.avail);
	set(0xa0, (uint32_t)ring.used);
	set(0x44, 1);
	set(0x70, 15);
	ck_assert_uint_eq(v->status, 15);
}

static void kick(void)
{
	set(0x50, 0);
	fake_loop_run();
}

/* How many of len bytes at gpa are not 0. */
static unsigned filled(uint64_t gpa, unsigned len)
{
	const uint8_t *p = gmem_ptr(&fake.m.mem, gpa, len);
	unsigned n = 0;

	for (unsigned i = 0; i < len; i++)
		n += p[i] != 0;
	return n;
}

START_TEST(identity)
{
	fake_add(&i440fx_class, "");
	v = (struct virtio_dev *)fake_add(&virtio_rng_pci_class, "");
	ck_assert_uint_eq(pci_config_read(&fake.m, v->pci.fn.devfn, 0, 4), 0x10051af4);
	ck_assert_uint_eq(pci_config_read(&fake.m, v->pci.fn.devfn, PCI_SUBSYSTEM, 2), 4);
	v = (struct virtio_dev *)fake_add(&virtio_rng_pci_class, "disable-legacy=on");
	ck_assert_uint_eq(pci_config_read(&fake.m, v->pci.fn.devfn, 0, 4), 0x10441af4);
}
END_TEST

START_TEST(fills)
{
	start("");
	gring_add(&ring, DATA, 1000, true);
	kick();
	ck_assert_uint_eq(gring_used(&ring), 1);
	ck_assert_uint_eq(gring_used_len(&ring, 0), 1000);
	ck_assert_uint_gt(filled(DATA, 1000), 950);
	ck_assert_uint_eq(filled(DATA + 1000, 1000), 0);
	/* A chain of pieces, the first for us to read, which we do not touch. */
	gring_desc(&ring, 1, DATA + 0x2000, 100, 1, 2);
	gring_desc(&ring, 2, DATA + 0x3000, 100, 3, 3);
	gring_desc(&ring, 3, DATA + 0x4000, 200, 2, 0);
	gring_avail(&ring, 1);
	kick();
	ck_assert_uint_eq(gring_used_len(&ring, 1), 300);
	ck_assert_uint_eq(filled(DATA + 0x2000, 100), 0);
	ck_assert_uint_gt(filled(DATA + 0x3000, 100), 80);
	ck_assert_uint_gt(filled(DATA + 0x4000, 200), 180);
	/* Nothing to write into */
	ring.next = 4;
	gring_add(&ring, DATA, 10, false);
	kick();
	ck_assert_uint_eq(gring_used(&ring), 3);
	ck_assert_uint_eq(gring_used_len(&ring, 2), 0);
	ck_assert_uint_eq(v->status, 15);
}
END_TEST

START_TEST(a_large_buffer_in_part)
{
	start("");
	gring_add(&ring, DATA, 1 << 20, true);
	kick();
	ck_assert_uint_eq(gring_used_len(&ring, 0), 65536);
	ck_assert_uint_gt(filled(DATA, 65536), 65000);
	ck_assert_uint_eq(filled(DATA + 65536, 65536), 0);
}
END_TEST

/* 100 bytes a second, from the first one on. */
START_TEST(rate)
{
	start("max-bytes=100,period=1000");
	fake_advance(5000000000);
	ck_assert_uint_eq(fake_timers_set(), 0);
	gring_add(&ring, DATA, 60, true);
	kick();
	ck_assert_uint_eq(gring_used_len(&ring, 0), 60);
	fake_advance(500000000);
	gring_add(&ring, DATA, 60, true);
	gring_add(&ring, DATA, 60, true);
	kick();
	ck_assert_uint_eq(gring_used(&ring), 2);
	ck_assert_uint_eq(gring_used_len(&ring, 1), 40);
	kick();
	fake_advance(499000000);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring), 2);
	fake_advance(1000000);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring), 3);
	ck_assert_uint_eq(gring_used_len(&ring, 2), 60);
	/* What is not taken is not saved up. */
	fake_advance(10000000000);
	fake_loop_run();
	for (unsigned i = 0; i < 3; i++)
		gring_add(&ring, DATA, 60, true);
	kick();
	ck_assert_uint_eq(gring_used(&ring), 5);
	/* A reset stops the clock and drops what waits. */
	set(0x70, 0);
	ck_assert_uint_eq(fake_timers_set(), 0);
	fake_advance(10000000000);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring), 5);
}
END_TEST

/* More than one turn's worth: it comes back for the rest by itself. */
START_TEST(many)
{
	start("");
	for (unsigned i = 0; i < 8; i++)
		gring_add(&ring, DATA + 64 * i, 64, true);
	kick();
	ck_assert_uint_eq(gring_used(&ring), 8);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 8; i++)
			gring_add(&ring, DATA, 64, true);
		kick();
	}
	ck_assert_uint_eq(gring_used(&ring), 88);
}
END_TEST

START_TEST(broken)
{
	start("");
	gring_add(&ring, 16 << 20, 100, true);
	kick();
	ck_assert_uint_eq(v->status, 15 | VIRTIO_NEEDS_RESET);
}
END_TEST

START_TEST(bad_properties)
{
	struct err e;

	ck_assert_int_lt(fake_try_add(&virtio_rng_mmio_class, "max-bytes=0", NULL, &e), 0);
	ck_assert_int_lt(fake_try_add(&virtio_rng_mmio_class, "period=0", NULL, &e), 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		identity, fills, a_large_buffer_in_part, rate, many, broken, bad_properties,
	};

	return fake_virtio_main("virtio-rng", tests, sizeof(tests) / sizeof(tests[0]));
}
