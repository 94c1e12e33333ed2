/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over MMIO (virtio 1.2, section 4.2): the registers of version 2 and of
 * version 1, places and interrupt lines, and drivers that break the rules.
 */
#include "fake_virtio.h"

enum { RING0 = 0x10000, RING1 = 0x20000, DATA = 0x40000 };

enum reg {
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	GUEST_PAGE_SIZE = 0x028,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_ALIGN = 0x03c,
	QUEUE_PFN = 0x040,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC = 0x080,
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	QUEUE_RESET = 0x0c0,
	GENERATION = 0x0fc,
	CONFIG = 0x100,
};

static struct vtest *t;
static struct virtio_dev *v;
static struct gring ring[2];

static void add(const char *props)
{
	t = (struct vtest *)fake_add(&vtest_mmio_class, props);
	v = &t->v;
}

static uint64_t get_sized(unsigned reg, unsigned size)
{
	return guest_read(&fake.m.mmio, v->mmio.base + reg, size);
}

static uint32_t get(unsigned reg)
{
	return (uint32_t)get_sized(reg, 4);
}

static void set(unsigned reg, uint32_t val)
{
	guest_write(&fake.m.mmio, v->mmio.base + reg, val, 4);
}

static uint32_t status(uint32_t val)
{
	set(STATUS, val);
	return get(STATUS);
}

#define V1 VIRTIO_F(VIRTIO_F_VERSION_1)

static bool negotiate(uint64_t features)
{
	status(0);
	status(1);
	status(3);
	set(DRIVER_FEATURES_SEL, 1);
	set(DRIVER_FEATURES, (uint32_t)(features >> 32));
	set(DRIVER_FEATURES_SEL, 0);
	set(DRIVER_FEATURES, (uint32_t)features);
	return status(11) == 11;
}

static void set64(unsigned reg, uint64_t val)
{
	set(reg, (uint32_t)val);
	set(reg + 4, (uint32_t)(val >> 32));
}

static void set_up_queue(unsigned n)
{
	set(QUEUE_SEL, n);
	ck_assert_uint_eq(get(QUEUE_READY), 0);
	ring[n] = gring_at(n ? RING1 : RING0, get(QUEUE_NUM_MAX));
	set(QUEUE_NUM, ring[n].size);
	set64(QUEUE_DESC, ring[n].desc);
	set64(QUEUE_DRIVER, ring[n].avail);
	set64(QUEUE_DEVICE, ring[n].used);
	set(QUEUE_READY, 1);
	ck_assert_uint_eq(get(QUEUE_READY), 1);
}

static void start_driver(uint64_t more_features)
{
	ck_assert(negotiate(V1 | more_features));
	set_up_queue(0);
	set_up_queue(1);
	ck_assert_uint_eq(status(15), 15);
	fake_loop_run();
}

/* One request in queue n goes through. */
static void request(unsigned n)
{
	uint16_t used = gring_used(&ring[n]);

	gring_add(&ring[n], DATA, 8, true);
	set(QUEUE_NOTIFY, n);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[n]), (uint16_t)(used + 1));
}

START_TEST(registers)
{
	uint64_t offered;

	add("");
	ck_assert_uint_eq(get(0), 0x74726976);
	ck_assert_uint_eq(get(4), 2);
	ck_assert_uint_eq(get(8), 0x3e);
	ck_assert_uint_ne(get(0xc), 0);
	offered = get(DEVICE_FEATURES);
	set(DEVICE_FEATURES_SEL, 1);
	offered |= (uint64_t)get(DEVICE_FEATURES) << 32;
	ck_assert_uint_eq(offered, v->host_features);
	set(DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(get(DEVICE_FEATURES), 0);
	for (unsigned n = 0; n < 2; n++) {
		set(QUEUE_SEL, n);
		ck_assert_uint_eq(get(QUEUE_NUM_MAX), n ? 16 : 8);
		ck_assert_uint_eq(get(QUEUE_READY) | get(QUEUE_RESET), 0);
	}
	/* Queue numbers have 32 bits. */
	set(QUEUE_SEL, 0x10000);
	ck_assert_uint_eq(get(QUEUE_NUM_MAX) | get(QUEUE_READY), 0);
	set(QUEUE_NUM, 4);
	set(QUEUE_READY, 1);
	set(QUEUE_RESET, 1);
	set(QUEUE_NOTIFY, 0x10000);
	ck_assert_uint_eq(get(STATUS) | get(INTERRUPT_STATUS) | get(GENERATION), 0);
	/* There is no shared memory, of whatever number. */
	set(0x0ac, 1);
	for (unsigned reg = 0x0b0; reg < 0x0c0; reg += 4)
		ck_assert_uint_eq(get(reg), UINT32_MAX);
	/* Version 1's registers are not there. */
	set(QUEUE_SEL, 0);
	set(GUEST_PAGE_SIZE, 4096);
	set(QUEUE_ALIGN, 4096);
	set(QUEUE_PFN, 0x10);
	ck_assert_uint_eq(get(QUEUE_PFN) | get(QUEUE_READY), 0);
	/* Nor is what is written to the read-only ones. */
	set(0, 0);
	set(8, 0);
	set(QUEUE_NUM_MAX, 4);
	ck_assert_uint_eq(get(0), 0x74726976);
	ck_assert_uint_eq(get(QUEUE_NUM_MAX), 8);
}
END_TEST

/* Registers by 32 bits alone, the configuration space as one likes. */
START_TEST(widths)
{
	add("");
	ck_assert_uint_eq(get_sized(0, 1) | get_sized(0, 2) | get_sized(2, 2), 0);
	ck_assert_uint_eq(get_sized(0, 8), 0x0000000274726976);
	guest_write(&fake.m.mmio, v->mmio.base + STATUS, 1, 1);
	guest_write(&fake.m.mmio, v->mmio.base + STATUS, 1, 2);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert_uint_eq(get_sized(CONFIG, 1), 0x40);
	ck_assert_uint_eq(get_sized(CONFIG + 2, 2), 0x4342);
	ck_assert_uint_eq(get_sized(CONFIG + 4, 4), 0x47464544);
	ck_assert_uint_eq(get_sized(CONFIG + 8, 8), 0x4f4e4d4c4b4a4948);
	ck_assert_uint_eq(get_sized(CONFIG + 20, 4), 0x54);
	ck_assert_uint_eq(get_sized(CONFIG + 0xfc, 4), 0);
	guest_write(&fake.m.mmio, v->mmio.base + CONFIG + 3, 0x99, 1);
	ck_assert_uint_eq(get_sized(CONFIG + 2, 2), 0x9942);
	ck_assert_uint_eq(get_sized(CONFIG + 0x100, 4), UINT32_MAX); /* not ours any more */
}
END_TEST

START_TEST(negotiation)
{
	add("");
	ck_assert(negotiate(V1 | VIRTIO_F(TEST_F_A)));
	ck_assert(virtio_has(v, TEST_F_A));
	ck_assert(!negotiate(V1 | VIRTIO_F(4)));
	ck_assert(!negotiate(VIRTIO_F(TEST_F_A)));
	status(0);
	status(3);
	set(DRIVER_FEATURES_SEL, 0x10001);
	set(DRIVER_FEATURES, 1);
	set(DRIVER_FEATURES_SEL, 1);
	set(DRIVER_FEATURES, 1);
	ck_assert_uint_eq(status(11), 3);
	ck_assert(negotiate(V1));
	ck_assert_uint_eq(status(7), 15);
}
END_TEST

START_TEST(queue_sizes)
{
	static const uint32_t bad[] = { 0, 3, 16, 0x10004, UINT32_MAX };

	add("");
	negotiate(V1);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set(QUEUE_NUM, bad[i]);
		ck_assert_uint_eq(v->vq[0]->size, 8);
	}
	set(QUEUE_NUM, 4);
	ck_assert_uint_eq(v->vq[0]->size, 4);
}
END_TEST

/* Requests go through; the line is up until the driver has seen to all of it. */
START_TEST(requests)
{
	add("");
	ck_assert_uint_eq(v->mmio.irq_n, 5);
	start_driver(0);
	ck_assert_uint_eq(fake_bells_on(), 2);
	request(0);
	ck_assert_uint_eq(fake_bells.rung, 1);
	ck_assert(fake.irq[5]);
	ck_assert_uint_eq(get(INTERRUPT_STATUS), 1);
	virtio_config_changed(v);
	ck_assert_uint_eq(get(GENERATION), 1);
	ck_assert_uint_eq(get(INTERRUPT_STATUS), 3);
	set(INTERRUPT_ACK, 1);
	ck_assert_uint_eq(get(INTERRUPT_STATUS), 2);
	ck_assert(fake.irq[5]);
	ck_assert_uint_eq(fake.irq_rises[5], 1);
	set(INTERRUPT_ACK, 0xffffffff);
	ck_assert(!fake.irq[5]);
	request(1);
	ck_assert_uint_eq(fake_bells.rung, 2);
	ck_assert(fake.irq[5]);
	ck_assert_uint_eq(status(0), 0);
	ck_assert(!fake.irq[5]);
	ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
	ck_assert_uint_eq(fake_bells_on(), 0);
	start_driver(0);
	request(0);
}
END_TEST

START_TEST(requests_without_ioeventfd)
{
	fake_bells.none = true;
	add("");
	start_driver(0);
	request(0);
	request(1);
}
END_TEST

/* The value written is not the queue's number alone. */
START_TEST(notification_data)
{
	add("notification_data=on");
	start_driver(VIRTIO_F(VIRTIO_F_NOTIFICATION_DATA));
	gring_add(&ring[1], DATA, 8, true);
	set(QUEUE_NOTIFY, 0x00010001);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
	/* A driver that did not take it says a number. */
	start_driver(0);
	gring_add(&ring[1], DATA, 8, true);
	set(QUEUE_NOTIFY, 0x00010001);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 0);
	request(0);
}
END_TEST

START_TEST(queue_ready_and_reset)
{
	add("");
	start_driver(VIRTIO_F(VIRTIO_F_RING_RESET));
	t->hold = true;
	for (unsigned n = 0; n < 2; n++) {
		gring_add(&ring[n], DATA, 8, true);
		set(QUEUE_NOTIFY, n);
	}
	fake_loop_run();
	ck_assert_uint_eq(t->n_held, 2);
	set(QUEUE_SEL, 0);
	set(QUEUE_READY, 2);
	ck_assert_uint_eq(get(QUEUE_READY), 1);
	set(QUEUE_READY, 0);
	ck_assert_uint_eq(get(QUEUE_READY), 0);
	ck_assert_uint_eq(t->n_held, 1);
	set(QUEUE_SEL, 1);
	set(QUEUE_RESET, 1);
	ck_assert_uint_eq(get(QUEUE_READY) | get(QUEUE_RESET), 0);
	ck_assert_uint_eq(t->n_held, 0);
	ck_assert_uint_eq(fake_watched(), 0);
	t->hold = false;
	for (unsigned n = 0; n < 2; n++) {
		set_up_queue(n);
		request(n);
	}
}
END_TEST

START_TEST(needs_reset)
{
	add("");
	start_driver(0);
	gring_avail(&ring[0], 0x7fff);
	set(QUEUE_NOTIFY, 0);
	fake_loop_run();
	ck_assert_uint_eq(get(STATUS), 15 | VIRTIO_NEEDS_RESET);
	ck_assert_uint_eq(get(INTERRUPT_STATUS), 2);
	ck_assert(fake.irq[5]);
	start_driver(0);
	request(0);
}
END_TEST

START_TEST(machine_reset)
{
	add("");
	start_driver(0);
	t->hold = true;
	gring_add(&ring[0], DATA, 8, true);
	set(QUEUE_NOTIFY, 0);
	fake_loop_run();
	virtio_config_changed(v);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(t->n_held, 0);
	ck_assert_uint_eq(get(STATUS) | get(INTERRUPT_STATUS), 0);
	ck_assert(!fake.irq[5]);
	t->hold = false;
	start_driver(0);
	request(0);
}
END_TEST

/* --- version 1 ------------------------------------------------------------------------- */

static void legacy_queue(unsigned n, uint32_t align)
{
	set(QUEUE_SEL, n);
	ck_assert_uint_eq(get(QUEUE_PFN), 0);
	ring[n] = gring_at(n ? RING1 : RING0, 4);
	set(QUEUE_NUM, 4);
	set(QUEUE_ALIGN, align);
	set(QUEUE_PFN, (uint32_t)(ring[n].desc / 4096));
	ck_assert_uint_eq(get(QUEUE_PFN), ring[n].desc / 4096);
}

START_TEST(legacy)
{
	add("force-legacy=on,packed=on");
	ck_assert_uint_eq(get(4), 1);
	ck_assert_uint_eq(get(DEVICE_FEATURES), virtio_legacy_features(v));
	set(DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(get(DEVICE_FEATURES), 0);
	status(1);
	status(3);
	set(DRIVER_FEATURES_SEL, 0);
	set(DRIVER_FEATURES, 1u << TEST_F_A | 1u << 4);
	set(DRIVER_FEATURES_SEL, 1);
	set(DRIVER_FEATURES, 0xffffffff);
	ck_assert_uint_eq(v->features, VIRTIO_F(TEST_F_A));
	/* A driver of 1.0 in its transition tries this, and goes on. */
	ck_assert_uint_eq(status(11), 3);
	set(GUEST_PAGE_SIZE, 4096);
	legacy_queue(0, 4096);
	legacy_queue(1, 4096);
	ck_assert_uint_eq(v->vq[1]->size, 4);
	/* Version 2's registers are not there. */
	ck_assert_uint_eq(get(QUEUE_RESET), 0);
	set(QUEUE_READY, 0);
	set(QUEUE_DESC, 0x1000);
	ck_assert_uint_eq(v->vq[1]->desc, RING1);
	ck_assert_uint_eq(status(7), 7);
	ck_assert(v->legacy);
	request(0);
	request(1);
	ck_assert_uint_eq(get(INTERRUPT_STATUS), 1);
	/* the queue goes, and comes back */
	t->hold = true;
	gring_add(&ring[0], DATA, 8, true);
	set(QUEUE_NOTIFY, 0);
	fake_loop_run();
	set(QUEUE_SEL, 0);
	set(QUEUE_PFN, 0);
	ck_assert_uint_eq(t->n_held, 0);
	ck_assert_uint_eq(v->vq[0]->size, 4);
	t->hold = false;
	legacy_queue(0, 4096);
	request(0);
	/* A broken ring: no bit says so, and the device rests. */
	gring_avail(&ring[0], 0x7fff);
	set(QUEUE_NOTIFY, 0);
	fake_loop_run();
	ck_assert_uint_eq(get(STATUS), 7);
	ck_assert_uint_eq(fake_watched(), 0);
	status(0);
	ck_assert_uint_eq(get(QUEUE_PFN), 0);
}
END_TEST

START_TEST(legacy_layout)
{
	static const uint32_t bad[] = { 0, 3, 4095, UINT32_MAX };

	add("force-legacy=on");
	status(3);
	/* PFN without a page size, or with one that is none */
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set(GUEST_PAGE_SIZE, bad[i]);
		set(QUEUE_ALIGN, 4096);
		set(QUEUE_PFN, 0x10);
		ck_assert(!v->vq[0]->enabled);
		set(GUEST_PAGE_SIZE, 4096);
		set(QUEUE_ALIGN, bad[i]);
		set(QUEUE_PFN, 0x10);
		ck_assert(!v->vq[0]->enabled);
	}
	set(GUEST_PAGE_SIZE, 4096);
	set(QUEUE_ALIGN, 64);
	set(QUEUE_PFN, 0x10);
	ck_assert_uint_eq(v->vq[0]->desc, 0x10000);
	ck_assert_uint_eq(v->vq[0]->driver, 0x10080);
	ck_assert_uint_eq(v->vq[0]->device, 0x100c0);
	/* The available ring ends with used_event. */
	set(QUEUE_ALIGN, 4);
	set(QUEUE_PFN, 0x10);
	ck_assert_uint_eq(v->vq[0]->device, 0x10098);
	/* as far away as the registers can say */
	set(QUEUE_PFN, 0);
	set(GUEST_PAGE_SIZE, 1u << 31);
	set(QUEUE_ALIGN, 1u << 31);
	set(QUEUE_PFN, UINT32_MAX);
	status(7);
	ck_assert_uint_eq(fake_watched(), 0);
	ck_assert_uint_eq(t->starts, 0);
}
END_TEST

/* --- places and lines ---------------------------------------------------------------------- */

struct list {
	unsigned n;
	uint64_t base[16];
	unsigned irq[16];
};

static void note(void *ctx, uint64_t base, uint64_t size, unsigned irq)
{
	struct list *l = ctx;

	ck_assert_uint_eq(size, 0x200);
	l->base[l->n] = base;
	l->irq[l->n++] = irq;
}

static void refused(const char *props, const char *word)
{
	struct err e;

	ck_assert_int_lt(fake_try_add(&vtest_mmio_class, props, NULL, &e), 0);
	ck_assert_msg(strstr(e.msg, word) != NULL, "'%s' is not in: %s", word, e.msg);
}

START_TEST(places)
{
	static const unsigned irqs[] = { 5, 7, 9, 11, 12, 6 };
	struct list l = { 0 };

	add("");
	add("");
	add("addr=0xd0000600,irq=10");
	add("");
	add("");
	add("");
	add("");
	virtio_mmio_each(&fake.m, note, &l);
	ck_assert_uint_eq(l.n, 7);
	ck_assert_uint_eq(l.base[0], 0xd0000000);
	ck_assert_uint_eq(l.base[1], 0xd0000200);
	ck_assert_uint_eq(l.base[2], 0xd0000600);
	ck_assert_uint_eq(l.base[3], 0xd0000400);
	ck_assert_uint_eq(l.base[4], 0xd0000800);
	ck_assert_uint_eq(l.irq[2], 10);
	for (unsigned i = 0, k = 0; i < 7; i++)
		if (i != 2)
			ck_assert_uint_eq(l.irq[i], irqs[k++]);
	refused("addr=0xd0000200", "taken by virtio-test-device");
	refused("addr=0xd0000100", "not a multiple");
	refused("addr=0x1000", "RAM");
	refused("addr=0xfffffffffffffe00", "addr=");
	refused("irq=10", "irq=10");
	refused("irq=2", "irq=2");
	refused("irq=0", "irq");
	refused("irq=16", "irq");
	refused("force-legacy=on,iommu_platform=on", "iommu_platform");
	/* Lines end before places do. */
	for (unsigned i = 0; i < 6; i++)
		add("");
	refused("", "no interrupt line");
	/* Each has its own. */
	l.n = 0;
	virtio_mmio_each(&fake.m, note, &l);
	ck_assert_uint_eq(l.n, 13);
	for (unsigned i = 0; i < l.n; i++)
		for (unsigned k = 0; k < i; k++)
			ck_assert(l.irq[i] != l.irq[k] && l.base[i] != l.base[k]);
}
END_TEST

START_TEST(lines_of_the_board)
{
	struct list l = { 0 };

	fake.m.serial_mask = 0xf;
	fake_add(&i440fx_class, "");
	for (unsigned i = 0; i < 9; i++)
		add("");
	refused("", "no interrupt line");
	refused("irq=3", "irq=3");
	refused("irq=4", "irq=4");
	refused("irq=11", "irq=11");
	virtio_mmio_each(&fake.m, note, &l);
	for (unsigned i = 0; i < l.n; i++)
		ck_assert(l.irq[i] != 3 && l.irq[i] != 4 && l.irq[i] != 10 && l.irq[i] != 11);
}
END_TEST

/* --- hostile ---------------------------------------------------------------------------------- */

static void hammer(const char *props, uint64_t seed)
{
	static const uint32_t some[] = { 0,        1,          2,        3,      4,
					 7,        8,          11,       15,     16,
					 4096,     64,         RING0,    RING1,  RING0 >> 12,
					 1u << 31, UINT32_MAX, 16 << 20, 0xffff, DATA };

	add(props);
	for (unsigned i = 0; i < 60000; i++) {
		unsigned size = fake_random(&seed) % 4 ? 4 : 1u << fake_random(&seed) % 4;
		uint64_t off = fake_random(&seed) % 0x120, val = fake_random(&seed);

		if (fake_random(&seed) % 8)
			off &= ~3ull;
		if (fake_random(&seed) % 4)
			val = some[fake_random(&seed) % (sizeof(some) / sizeof(some[0]))];
		if (fake_random(&seed) % 3)
			guest_write(&fake.m.mmio, v->mmio.base + off, val, size);
		else
			get_sized((unsigned)off, size);
		t->hold = fake_random(&seed) % 8 == 0;
		if (fake_random(&seed) % 64 == 0 && !v->mmio.force_legacy && negotiate(V1)) {
			set_up_queue(0);
			set_up_queue(1);
			status(15);
		}
		if (fake_random(&seed) % 4 == 0)
			put16(RING0 + 2 * (fake_random(&seed) % 0x9000), (uint16_t)val);
		if (fake_random(&seed) % 3 == 0)
			fake_loop_run();
		if (t->n_held > TEST_MAX_HELD - 26) {
			vtest_stop(v, NULL);
			vq_flush(v->vq[0]);
			vq_flush(v->vq[1]);
		}
		if (fake_random(&seed) % 500 == 0)
			machine_reset_devices(&fake.m);
	}
	ck_assert_uint_gt(t->starts, 5);
	t->hold = false;
}

START_TEST(hostile)
{
	hammer("packed=on", 1);
	start_driver(0);
	request(0);
}
END_TEST

START_TEST(hostile_legacy)
{
	hammer("force-legacy=on", 2);
	status(0);
	status(3);
	set(GUEST_PAGE_SIZE, 4096);
	legacy_queue(0, 4096);
	status(7);
	request(0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		registers,
		widths,
		negotiation,
		queue_sizes,
		requests,
		requests_without_ioeventfd,
		notification_data,
		queue_ready_and_reset,
		needs_reset,
		machine_reset,
		legacy,
		legacy_layout,
		places,
		lines_of_the_board,
		hostile,
		hostile_legacy,
	};

	return fake_virtio_main("virtio-mmio", tests, sizeof(tests) / sizeof(tests[0]));
}
