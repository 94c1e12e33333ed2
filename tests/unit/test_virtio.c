/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio core and its PCI transport (virtio 1.2, chapters 2 and 3, section
 * 4.1): registers of the modern and the legacy interface, negotiation, queues'
 * life, doorbells, interrupts, and drivers that break the rules.
 */
#include "fake_virtio.h"

enum { RING0 = 0x10000, RING1 = 0x20000, DATA = 0x40000 };

static struct vtest *t;
static struct virtio_dev *v;
static unsigned devfn;
static struct gring ring[2];

/* --- a driver ------------------------------------------------------------------------ */

static struct virtio_dev *add(const struct dev_class *cls, const char *props)
{
	if (!fake.m.pci) {
		fake_add(&i440fx_class, "");
		fake_add(&piix3_class, "");
	}
	t = (struct vtest *)fake_add(cls, props);
	v = &t->v;
	devfn = v->pci.fn.devfn;
	pci_assign_resources(&fake.m);
	return v;
}

static uint32_t cfg(unsigned off, unsigned size)
{
	return pci_config_read(&fake.m, devfn, off, size);
}

static void set_cfg(unsigned off, uint32_t val, unsigned size)
{
	pci_config_write(&fake.m, devfn, off, val, size);
}

/* The n-th (from 0) capability of a kind; type 0: any. 0: there is none. */
static unsigned find_cap(unsigned id, unsigned type)
{
	for (unsigned at = cfg(PCI_CAP_POINTER, 1); at; at = cfg(at + 1, 1))
		if (cfg(at, 1) == id && (!type || cfg(at + 3, 1) == type))
			return at;
	return 0;
}

static uint64_t bar(unsigned n)
{
	ck_assert(v->pci.fn.bar[n].mapped);
	return v->pci.fn.bar[n].base;
}

static uint64_t get(unsigned reg, unsigned size)
{
	return guest_read(&fake.m.mmio, bar(4) + reg, size);
}

static void set(unsigned reg, uint64_t val, unsigned size)
{
	guest_write(&fake.m.mmio, bar(4) + reg, val, size);
}

enum { ISR = 0x1000, CONFIG = 0x2000, NOTIFY = 0x3000 };
enum { STATUS = 0x14, SELECT = 0x16, SIZE = 0x18, VECTOR = 0x1a, ENABLE = 0x1c, RESET = 0x3a };

static uint8_t status(uint8_t val)
{
	set(STATUS, val, 1);
	return (uint8_t)get(STATUS, 1);
}

static void take_features(uint64_t features)
{
	set(0x08, 0, 4);
	set(0x0c, (uint32_t)features, 4);
	set(0x08, 1, 4);
	set(0x0c, features >> 32, 4);
}

/* As far as FEATURES_OK; whether it stuck. */
static bool negotiate(uint64_t features)
{
	status(0);
	status(VIRTIO_ACKNOWLEDGE);
	status(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	take_features(features);
	return status(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK) & VIRTIO_FEATURES_OK;
}

static void set_addresses(const struct gring *g)
{
	set(0x20, g->desc, 8);
	set(0x28, (uint32_t)g->avail, 4);
	set(0x2c, g->avail >> 32, 4);
	set(0x30, g->used, 8);
}

static void set_up_queue(unsigned n)
{
	set(SELECT, n, 2);
	ring[n] = gring_at(n ? RING1 : RING0, (unsigned)get(SIZE, 2));
	set_addresses(&ring[n]);
	set(VECTOR, n + 1, 2);
	set(ENABLE, 1, 2);
}

static void msix_on(void)
{
	unsigned cap = find_cap(PCI_CAP_MSIX, 0);

	for (unsigned i = 0; i < v->pci.fn.n_vectors; i++) {
		uint64_t entry = bar(1) + 16 * i;

		guest_write(&fake.m.mmio, entry, 0xfee00000, 4);
		guest_write(&fake.m.mmio, entry + 8, 100 + i, 4);
		guest_write(&fake.m.mmio, entry + 12, 0, 4);
	}
	set_cfg(cap + 2, 0x8000, 2);
	set(0x10, 0, 2);
}

#define V1 VIRTIO_F(VIRTIO_F_VERSION_1)

/* A driver that is up, with both queues and MSI-X. */
static void start_driver(uint64_t more_features)
{
	msix_on();
	ck_assert(negotiate(V1 | more_features));
	set(0x10, 0, 2);
	set_up_queue(0);
	set_up_queue(1);
	ck_assert_uint_eq(status(15), 15);
	fake_loop_run();
}

static void ring_bell(unsigned n)
{
	set(NOTIFY + 4 * n, n, 2);
}

/* What the tests say of an interrupt: vector n's message is 100 + n. */
static unsigned vector_taken(unsigned n)
{
	return fake_msi_taken(100 + n);
}

/* --- who it is --------------------------------------------------------------------------- */

START_TEST(identity)
{
	add(&vtest_pci_class, "");
	ck_assert_uint_eq(cfg(PCI_VENDOR, 4), 0x103e1af4);
	ck_assert_uint_eq(cfg(PCI_REVISION, 4), 0x05800000);
	ck_assert_uint_eq(cfg(PCI_SUBSYSTEM_VENDOR, 4), 0x003e1af4);
	ck_assert_uint_eq(cfg(PCI_INTERRUPT_PIN, 1), 1);
	ck_assert_uint_eq(cfg(PCI_BAR0, 4) & 3, 1);
	ck_assert_uint_eq(v->pci.fn.bar[0].size, 64); /* 24 + 21 */
	ck_assert_uint_eq(cfg(PCI_BAR0 + 16, 4) & 15, PCI_BAR_64 | PCI_BAR_PREFETCH);
	ck_assert_uint_eq(v->pci.fn.bar[4].size, 0x4000);
	ck_assert_uint_eq(v->pci.fn.n_vectors, 3);
}
END_TEST

START_TEST(identity_modern)
{
	add(&vtest_pci_class, "disable-legacy=on");
	ck_assert_uint_eq(cfg(PCI_VENDOR, 4), 0x107e1af4);
	ck_assert_uint_eq(cfg(PCI_REVISION, 1), 1);
	ck_assert_uint_ge(cfg(PCI_SUBSYSTEM, 2), 0x40);
	ck_assert_uint_eq(cfg(PCI_BAR0, 4), 0);
}
END_TEST

START_TEST(identity_legacy)
{
	add(&vtest_pci_class, "disable-modern=on,vectors=0");
	ck_assert_uint_eq(cfg(PCI_VENDOR, 4), 0x103e1af4);
	ck_assert_uint_eq(find_cap(PCI_CAP_VENDOR, 0), 0);
	ck_assert_uint_eq(find_cap(PCI_CAP_MSIX, 0), 0);
	ck_assert_uint_eq(v->pci.fn.bar[1].size, 0);
	ck_assert_uint_eq(v->pci.fn.bar[4].size, 0);
}
END_TEST

START_TEST(identity_new)
{
	add(&vnew_pci_class, "vectors=5");
	ck_assert_uint_eq(cfg(PCI_VENDOR, 4), 0x107f1af4);
	ck_assert_uint_eq(v->pci.fn.bar[0].size, 0);
	ck_assert_uint_eq(v->pci.fn.n_vectors, 5);
	/* no configuration space, no capability for it */
	ck_assert_uint_eq(find_cap(PCI_CAP_VENDOR, 4), 0);
	ck_assert_uint_eq(get(CONFIG, 4), 0);
}
END_TEST

static void refused(const struct dev_class *cls, const char *props, const char *word)
{
	struct err e;

	ck_assert_int_lt(fake_try_add(cls, props, NULL, &e), 0);
	ck_assert_msg(strstr(e.msg, word) != NULL, "'%s' is not in: %s", word, e.msg);
}

START_TEST(bad_properties)
{
	refused(&vtest_pci_class, "", "no PCI bus");
	fake_add(&i440fx_class, "");
	refused(&vnew_pci_class, "disable-legacy=off", "disable-legacy=off");
	refused(&vnew_pci_class, "disable-modern=on", "disable-modern=on");
	refused(&vtest_pci_class, "disable-modern=on,disable-legacy=on", "disable-modern=on");
	refused(&vtest_pci_class, "disable-legacy=off,iommu_platform=on", "iommu_platform");
	refused(&vtest_pci_class, "vectors=2049", "vectors=2049");
	refused(&vtest_pci_class, "addr=40", "addr=40");
	/* auto steps back instead */
	add(&vtest_pci_class, "iommu_platform=on");
	ck_assert_uint_eq(v->pci.fn.bar[0].size, 0);
	add(&vtest_pci_class, "vectors=2048");
	ck_assert_uint_eq(v->pci.fn.bar[1].size, 65536);
}
END_TEST

static void check_cap(unsigned type, unsigned len, uint32_t off, uint32_t length)
{
	unsigned cap = find_cap(PCI_CAP_VENDOR, type);

	ck_assert_uint_ne(cap, 0);
	ck_assert_uint_eq(cfg(cap + 2, 1), len);
	ck_assert_uint_eq(cfg(cap + 4, 1), 4);
	ck_assert_uint_eq(cfg(cap + 8, 4), off);
	ck_assert_uint_eq(cfg(cap + 12, 4), length);
}

START_TEST(capabilities)
{
	unsigned cap;

	add(&vtest_pci_class, "");
	check_cap(1, 16, 0, 0x3c);
	check_cap(2, 20, NOTIFY, 0x1000);
	check_cap(3, 16, ISR, 1);
	check_cap(4, 16, CONFIG, 24);
	ck_assert_uint_eq(cfg(find_cap(PCI_CAP_VENDOR, 2) + 16, 4), 4);
	cap = find_cap(PCI_CAP_VENDOR, 5);
	ck_assert_uint_eq(cfg(cap + 2, 1), 20);
	/* The others are read-only. */
	cap = find_cap(PCI_CAP_VENDOR, 1);
	set_cfg(cap + 8, 0xffffffff, 4);
	ck_assert_uint_eq(cfg(cap + 8, 4), 0);
}
END_TEST

/* --- common configuration ------------------------------------------------------------------ */

START_TEST(common_features)
{
	uint64_t offered;

	add(&vtest_pci_class, "");
	ck_assert_uint_eq(get(0, 4), 0);
	offered = get(4, 4);
	set(0, 1, 4);
	ck_assert_uint_eq(get(0, 4), 1);
	offered |= get(4, 4) << 32;
	ck_assert_uint_eq(offered, 0x28ull | V1 | VIRTIO_F(50) | VIRTIO_F(VIRTIO_F_INDIRECT_DESC) |
					   VIRTIO_F(VIRTIO_F_EVENT_IDX) |
					   VIRTIO_F(VIRTIO_F_RING_RESET));
	set(0, 2, 4);
	ck_assert_uint_eq(get(4, 4), 0);
	set(4, 0xffffffff, 4); /* read-only */
	set(0, 0xffffffff, 4);
	ck_assert_uint_eq(get(4, 4), 0);
	set(8, 1, 4);
	set(0xc, 0x12345678, 4);
	ck_assert_uint_eq(get(0xc, 4), 0x12345678);
	set(8, 0, 4);
	ck_assert_uint_eq(get(0xc, 4), 0);
	set(8, 5, 4);
	ck_assert_uint_eq(get(0xc, 4), 0);
}
END_TEST

START_TEST(offered_by_properties)
{
	const uint64_t all = VIRTIO_F(VIRTIO_F_RING_PACKED) | VIRTIO_F(VIRTIO_F_IN_ORDER) |
			     VIRTIO_F(VIRTIO_F_ACCESS_PLATFORM) |
			     VIRTIO_F(VIRTIO_F_NOTIFICATION_DATA);
	const uint64_t usual = VIRTIO_F(VIRTIO_F_RING_RESET) | VIRTIO_F(VIRTIO_F_EVENT_IDX) |
			       VIRTIO_F(VIRTIO_F_INDIRECT_DESC);

	add(&vtest_pci_class, "packed=on,in_order=on,iommu_platform=on,notification_data=on,"
			      "queue_reset=off,event_idx=off,indirect_desc=off");
	ck_assert_uint_eq(v->host_features & (all | usual), all);
	add(&vtest_pci_class, "");
	ck_assert_uint_eq(v->host_features & (all | usual), usual);
}
END_TEST

START_TEST(common_registers)
{
	add(&vtest_pci_class, "");
	ck_assert_uint_eq(get(0x10, 2), VIRTIO_NO_VECTOR);
	ck_assert_uint_eq(get(0x12, 2), 2);
	ck_assert_uint_eq(get(STATUS, 1), 0);
	ck_assert_uint_eq(get(0x15, 1), 0);
	for (unsigned n = 0; n < 2; n++) {
		set(SELECT, n, 2);
		ck_assert_uint_eq(get(SELECT, 2), n);
		ck_assert_uint_eq(get(SIZE, 2), n ? 16 : 8);
		ck_assert_uint_eq(get(VECTOR, 2), VIRTIO_NO_VECTOR);
		ck_assert_uint_eq(get(ENABLE, 2), 0);
		ck_assert_uint_eq(get(0x1e, 2), n);
		ck_assert_uint_eq(get(0x20, 8) | get(0x28, 8) | get(0x30, 8), 0);
		ck_assert_uint_eq(get(0x38, 2), n);
		ck_assert_uint_eq(get(RESET, 2), 0);
	}
	/* the last byte, and what lies behind */
	ck_assert_uint_eq(get(0x3b, 1), 0);
	ck_assert_uint_eq(get(0x3c, 4), 0);
	ck_assert_uint_eq(get(0xffc, 4), 0);
}
END_TEST

/* Whole, by halves, by bytes, and several at once. */
START_TEST(common_widths)
{
	add(&vtest_pci_class, "");
	set(SELECT, 1, 2);
	set(0x20, 0x1122334455667000, 8);
	ck_assert_uint_eq(get(0x20, 8), 0x1122334455667000);
	ck_assert_uint_eq(get(0x24, 4), 0x11223344);
	set(0x24, 0xaabbccdd, 4);
	ck_assert_uint_eq(get(0x20, 8), 0xaabbccdd55667000);
	set(0x20, 0x8000, 4);
	ck_assert_uint_eq(get(0x20, 8), 0xaabbccdd00008000);
	ck_assert_uint_eq(get(0x21, 1), 0x80);
	ck_assert_uint_eq(get(0x26, 2), 0xaabb);
	ck_assert_uint_eq(get(0x10, 4), 0x0002ffff);
	ck_assert_uint_eq(get(0x14, 4), 0x00010000);
	/* Parts of a field are not written. */
	set(0x20, 0xff, 1);
	set(0x22, 0xffff, 2);
	set(SELECT, 0, 1);
	set(SIZE, 0, 4);
	ck_assert_uint_eq(get(0x20, 8), 0xaabbccdd00008000);
	ck_assert_uint_eq(get(SELECT, 2), 1);
	ck_assert_uint_eq(get(SIZE, 2), 16);
}
END_TEST

START_TEST(no_such_queue)
{
	add(&vtest_pci_class, "");
	set(SELECT, 2, 2);
	ck_assert_uint_eq(get(SIZE, 2), 0);
	set(SIZE, 4, 2);
	set(VECTOR, 0, 2);
	set(0x20, 0x1000, 8);
	set(ENABLE, 1, 2);
	set(RESET, 1, 2);
	for (unsigned off = SIZE; off < 0x3c; off++)
		ck_assert_uint_eq(get(off, 1), 0);
	set(SELECT, 0xffff, 2);
	ck_assert_uint_eq(get(SIZE, 2), 0);
	set(NOTIFY + 8, 2, 2);
	set(NOTIFY + 0xffe, 2, 2);
	ck_assert_uint_eq(get(NOTIFY, 2), 0);
}
END_TEST

/* --- negotiation and status ---------------------------------------------------------------------
 */

START_TEST(negotiation)
{
	add(&vtest_pci_class, "");
	ck_assert(negotiate(V1 | VIRTIO_F(TEST_F_A) | VIRTIO_F(50)));
	ck_assert(virtio_has(v, TEST_F_A));
	/* No change of mind. */
	take_features(V1);
	ck_assert(virtio_has(v, TEST_F_A));
	ck_assert(negotiate(V1));
	ck_assert(!virtio_has(v, TEST_F_A));
	/* Bits never offered, of the type, of the core, and beyond 63 */
	ck_assert(!negotiate(V1 | VIRTIO_F(4)));
	ck_assert(!negotiate(V1 | VIRTIO_F(VIRTIO_F_RING_PACKED)));
	ck_assert(!negotiate(V1 | VIRTIO_F(63)));
	ck_assert(!negotiate(0));
	ck_assert(!negotiate(VIRTIO_F(TEST_F_A)));
	/* The type's veto */
	ck_assert(!negotiate(V1 | VIRTIO_F(TEST_F_REFUSED)));
	/* The refused driver may try again. */
	take_features(V1);
	ck_assert_uint_eq(status(11), 11);
}
END_TEST

START_TEST(negotiation_beyond)
{
	add(&vtest_pci_class, "");
	status(3);
	take_features(V1);
	set(8, 2, 4);
	set(0xc, 0, 4);
	ck_assert_uint_eq(status(11), 11);
	status(0);
	status(3);
	take_features(V1);
	set(8, 2, 4);
	set(0xc, 1, 4);
	ck_assert_uint_eq(status(11), 3);
	ck_assert(negotiate(V1));
}
END_TEST

START_TEST(access_platform)
{
	add(&vtest_pci_class, "iommu_platform=on");
	ck_assert(!negotiate(V1));
	ck_assert(negotiate(V1 | VIRTIO_F(VIRTIO_F_ACCESS_PLATFORM)));
}
END_TEST

START_TEST(status_bits)
{
	add(&vtest_pci_class, "");
	ck_assert_uint_eq(status(1), 1);
	/* FAILED is the driver's, NEEDS_RESET the device's. */
	ck_assert_uint_eq(status(1 | VIRTIO_FAILED | VIRTIO_NEEDS_RESET), 1 | VIRTIO_FAILED);
	/* None goes away but by a reset. */
	ck_assert_uint_eq(status(2), 3 | VIRTIO_FAILED);
	ck_assert_uint_eq(status(0), 0);
	/* DRIVER_OK comes after FEATURES_OK. */
	ck_assert_uint_eq(status(3), 3);
	ck_assert_uint_eq(status(7), 3);
	ck_assert_uint_eq(t->starts, 0);
	take_features(V1);
	ck_assert_uint_eq(status(15), 15);
	ck_assert_uint_eq(t->starts, 1);
	ck_assert_uint_eq(status(15), 15);
	ck_assert_uint_eq(t->starts, 1);
}
END_TEST

/* --- queues
 * ------------------------------------------------------------------------------------------ */

START_TEST(queue_sizes)
{
	static const uint16_t bad[] = { 0, 3, 5, 12, 16, 0x8000, 0xffff };

	add(&vtest_pci_class, "");
	negotiate(V1);
	set(SELECT, 0, 2);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set(SIZE, bad[i], 2);
		ck_assert_uint_eq(get(SIZE, 2), 8);
	}
	set(SIZE, 4, 2);
	ck_assert_uint_eq(get(SIZE, 2), 4);
	set(SIZE, 1, 2);
	ck_assert_uint_eq(get(SIZE, 2), 1);
	status(0);
	ck_assert_uint_eq(get(SIZE, 2), 8);
}
END_TEST

START_TEST(queue_sizes_packed)
{
	add(&vtest_pci_class, "packed=on");
	negotiate(V1 | VIRTIO_F(VIRTIO_F_RING_PACKED));
	set(SIZE, 3, 2);
	ck_assert_uint_eq(get(SIZE, 2), 3);
	set(SIZE, 0, 2);
	set(SIZE, 9, 2);
	ck_assert_uint_eq(get(SIZE, 2), 3);
}
END_TEST

START_TEST(enabled_queue_is_fixed)
{
	add(&vtest_pci_class, "");
	negotiate(V1);
	set(ENABLE, 0, 2);
	set(ENABLE, 2, 2);
	ck_assert_uint_eq(get(ENABLE, 2), 0);
	set_up_queue(0);
	ck_assert_uint_eq(get(ENABLE, 2), 1);
	set(SIZE, 4, 2);
	set(0x20, 0x5000, 8);
	set(0x28, 0x5000, 8);
	set(0x30, 0x5000, 8);
	set(ENABLE, 0, 2);
	ck_assert_uint_eq(get(SIZE, 2), 8);
	ck_assert_uint_eq(get(0x20, 8), ring[0].desc);
	ck_assert_uint_eq(get(0x28, 8), ring[0].avail);
	ck_assert_uint_eq(get(0x30, 8), ring[0].used);
	ck_assert_uint_eq(get(ENABLE, 2), 1);
}
END_TEST

/* A request goes through: the doorbell is KVM's, the interrupt the queue's vector. */
START_TEST(requests)
{
	add(&vtest_pci_class, "");
	start_driver(0);
	ck_assert_uint_eq(fake_bells_on(), 2);
	vector_taken(1);
	gring_add(&ring[0], DATA, 100, true);
	ring_bell(0);
	ck_assert_uint_eq(fake_bells.rung, 1);
	ck_assert_uint_eq(gring_used(&ring[0]), 0);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
	ck_assert_uint_eq(gring_used_len(&ring[0], 0), 100);
	ck_assert_uint_eq(get16(DATA + 98), 0xabab);
	ck_assert_uint_eq(get16(DATA + 100), 0);
	ck_assert_uint_eq(vector_taken(1), 1);
	ck_assert_uint_eq(vector_taken(2) + vector_taken(0), 0);
	gring_add(&ring[1], DATA, 8, true);
	ring_bell(1);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
	ck_assert_uint_eq(vector_taken(2), 1);
	/* INTx and ISR have no part in it. */
	ck_assert_uint_eq(get(ISR, 1), 0);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(fake.irq_rises[i], 0);
}
END_TEST

/* What was made available before DRIVER_OK is served then, without a doorbell. */
START_TEST(first_kick)
{
	add(&vtest_pci_class, "");
	negotiate(V1);
	set_up_queue(1);
	gring_add(&ring[1], DATA, 8, true);
	ring_bell(1); /* too early, and lost */
	ck_assert_uint_eq(fake_loop_run(), 0);
	ck_assert_uint_eq(t->kicks, 0);
	status(15);
	ck_assert_uint_eq(t->kicks, 0); /* the vCPU has not waited for it */
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
	/* The other queue was not enabled. */
	ck_assert_uint_eq(t->kicks, 1);
	ck_assert_uint_eq(fake_watched(), 1);
}
END_TEST

/* Between a poller's begin and end nobody need ring; afterwards the bell is wanted, as before. */
START_TEST(polled_queues_want_no_bell)
{
	struct loop_poller *p;

	add(&vtest_pci_class, "");
	start_driver(0);
	fake_loop_run();
	p = fake_loop.poller;
	ck_assert_ptr_nonnull(p);
	p->begin(p->ctx);
	ck_assert_uint_eq(get16(ring[0].used), 1); /* NO_NOTIFY */
	ck_assert(!p->poll(p->ctx));
	gring_add(&ring[0], DATA, 8, true);
	ck_assert(p->poll(p->ctx));
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
	/* What a device does when it has served all does not ask for bells. */
	ck_assert(!vq_enable_notify(((struct virtio_dev *)t)->vq[0]));
	ck_assert_uint_eq(get16(ring[0].used), 1);
	/* What comes without a bell at the last moment is served by end. */
	gring_add(&ring[0], DATA, 8, true);
	ck_assert(p->end(p->ctx));
	ck_assert_uint_eq(gring_used(&ring[0]), 2);
	ck_assert_uint_eq(get16(ring[0].used), 0);
	ck_assert(!p->end(p->ctx));
	status(0);
	ck_assert_ptr_null(fake_loop.poller);
}
END_TEST

/* Without KVM's doorbells the notify region's handler takes their place. */
START_TEST(requests_without_ioeventfd)
{
	fake_bells.none = true;
	add(&vtest_pci_class, "");
	start_driver(0);
	ck_assert_uint_eq(fake_bells_on(), 0);
	for (unsigned n = 0; n < 2; n++) {
		gring_add(&ring[n], DATA, 8, true);
		ring_bell(n);
		fake_loop_run();
		ck_assert_uint_eq(gring_used(&ring[n]), 1);
	}
}
END_TEST

START_TEST(requests_without_any_width)
{
	fake_bells.no_any_width = true;
	add(&vtest_pci_class, "");
	start_driver(0);
	ck_assert_uint_eq(fake_bells_on(), 2);
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	ck_assert_uint_eq(fake_bells.rung, 1);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
	status(0);
	ck_assert_uint_eq(fake_bells_on(), 0);
}
END_TEST

START_TEST(notification_data)
{
	add(&vtest_pci_class, "notification_data=on");
	start_driver(VIRTIO_F(VIRTIO_F_NOTIFICATION_DATA));
	gring_add(&ring[1], DATA, 8, true);
	set(NOTIFY + 4, 0x00010001, 4);
	ck_assert_uint_eq(fake_bells.rung, 1);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
}
END_TEST

START_TEST(page_per_vq)
{
	add(&vtest_pci_class, "page-per-vq=on");
	ck_assert_uint_eq(cfg(find_cap(PCI_CAP_VENDOR, 2) + 16, 4), 4096);
	check_cap(2, 20, NOTIFY, 0x2000);
	start_driver(0);
	gring_add(&ring[1], DATA, 8, true);
	set(NOTIFY + 4, 1, 2); /* still queue 0's page */
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 0);
	set(NOTIFY + 4096, 1, 2);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
	ck_assert_uint_eq(fake_bells.rung, 1);
}
END_TEST

/* Doorbells follow the BAR, and go with a reset. */
START_TEST(doorbells_move)
{
	uint64_t old;

	add(&vtest_pci_class, "");
	start_driver(0);
	old = bar(4);
	set_cfg(PCI_BAR0 + 16, (uint32_t)old + 0x100000, 4);
	ck_assert_uint_eq(bar(4), old + 0x100000);
	ck_assert_uint_eq(fake_bells_on(), 2);
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	ck_assert_uint_eq(fake_bells.rung, 1);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
	/* no decoding, no doorbells */
	set_cfg(PCI_COMMAND, 0, 2);
	ck_assert_uint_eq(fake_bells_on(), 0);
	set_cfg(PCI_COMMAND, 7, 2);
	ck_assert_uint_eq(fake_bells_on(), 2);
	status(0);
	ck_assert_uint_eq(fake_bells_on(), 0);
	set_cfg(PCI_COMMAND, 0, 2);
	set_cfg(PCI_COMMAND, 7, 2);
	ck_assert_uint_eq(fake_bells_on(), 0);
}
END_TEST

/* --- interrupts
 * ------------------------------------------------------------------------------------------ */

static unsigned intx_line(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 16; i++)
		n += fake.irq[i];
	return n;
}

START_TEST(vectors)
{
	add(&vtest_pci_class, "");
	/* three vectors: others read back as none */
	set(0x10, 2, 2);
	ck_assert_uint_eq(get(0x10, 2), 2);
	set(0x10, 3, 2);
	ck_assert_uint_eq(get(0x10, 2), VIRTIO_NO_VECTOR);
	set(VECTOR, 2, 2);
	ck_assert_uint_eq(get(VECTOR, 2), 2);
	set(VECTOR, 0xfffe, 2);
	ck_assert_uint_eq(get(VECTOR, 2), VIRTIO_NO_VECTOR);
	start_driver(0);
	/* Queues share one, and one has none. */
	set(SELECT, 0, 2);
	set(VECTOR, 2, 2);
	set(SELECT, 1, 2);
	set(VECTOR, VIRTIO_NO_VECTOR, 2);
	vector_taken(1);
	vector_taken(2);
	for (unsigned n = 0; n < 2; n++) {
		gring_add(&ring[n], DATA, 8, true);
		ring_bell(n);
		fake_loop_run();
		ck_assert_uint_eq(gring_used(&ring[n]), 1);
	}
	ck_assert_uint_eq(vector_taken(2), 1);
	ck_assert_uint_eq(vector_taken(1), 0);
	/* A reset takes them away. */
	status(0);
	ck_assert_uint_eq(get(0x10, 2), VIRTIO_NO_VECTOR);
	set(SELECT, 0, 2);
	ck_assert_uint_eq(get(VECTOR, 2), VIRTIO_NO_VECTOR);
}
END_TEST

START_TEST(no_msix)
{
	add(&vtest_pci_class, "vectors=0");
	set(0x10, 0, 2);
	ck_assert_uint_eq(get(0x10, 2), VIRTIO_NO_VECTOR);
	set(VECTOR, 0, 2);
	ck_assert_uint_eq(get(VECTOR, 2), VIRTIO_NO_VECTOR);
}
END_TEST

/* MSI-X off: the line, and the status register which lowers it when read. */
START_TEST(intx)
{
	add(&vtest_pci_class, "");
	ck_assert(negotiate(V1));
	set_up_queue(0);
	status(15);
	ck_assert_uint_eq(intx_line(), 0);
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	ck_assert_uint_eq(intx_line(), 1);
	virtio_config_changed(v);
	/* Its neighbours are not the register, nor is it writable. */
	ck_assert_uint_eq(get(ISR + 1, 1), 0);
	set(ISR, 0, 1);
	ck_assert_uint_eq(intx_line(), 1);
	ck_assert_uint_eq(get(ISR, 1), 3);
	ck_assert_uint_eq(intx_line(), 0);
	ck_assert_uint_eq(get(ISR, 1), 0);
	virtio_config_changed(v);
	ck_assert_uint_eq(intx_line(), 1);
	status(0);
	ck_assert_uint_eq(intx_line(), 0);
	ck_assert_uint_eq(get(ISR, 1), 0);
}
END_TEST

/* --- configuration space
 * ------------------------------------------------------------------------------------ */

START_TEST(config_space)
{
	uint8_t dirty[4] = { 1, 2, 3, 4 };

	add(&vtest_pci_class, "");
	ck_assert_uint_eq(get(CONFIG, 1), 0x40);
	ck_assert_uint_eq(get(CONFIG + 2, 2), 0x4342);
	ck_assert_uint_eq(get(CONFIG + 4, 4), 0x47464544);
	ck_assert_uint_eq(get(CONFIG + 8, 8), 0x4f4e4d4c4b4a4948);
	/* 21 bytes, and nothing behind */
	ck_assert_uint_eq(get(CONFIG + 20, 4), 0x54);
	ck_assert_uint_eq(get(CONFIG + 21, 1), 0);
	ck_assert_uint_eq(get(CONFIG + 0xffc, 4), 0);
	set(CONFIG + 16, 0x11223344, 4);
	ck_assert_uint_eq(get(CONFIG + 16, 4), 0x11223344);
	set(CONFIG + 20, 0xffffffff, 4);
	ck_assert_uint_eq(get(CONFIG + 20, 4), 0xff);
	set(CONFIG + 24, 0xffffffff, 4);
	virtio_config_read(v, 20, dirty, 4);
	ck_assert_uint_eq(dirty[0], 0xff);
	ck_assert_uint_eq(dirty[1] | dirty[2] | dirty[3], 0);
}
END_TEST

START_TEST(config_generation)
{
	add(&vtest_pci_class, "");
	msix_on();
	virtio_config_changed(v);
	ck_assert_uint_eq(get(0x15, 1), 1);
	/* No interrupt before DRIVER_OK. */
	ck_assert_uint_eq(vector_taken(0), 0);
	start_driver(0);
	vector_taken(0);
	virtio_config_changed(v);
	ck_assert_uint_eq(get(0x15, 1), 2);
	ck_assert_uint_eq(vector_taken(0), 1);
	for (unsigned i = 0; i < 254; i++)
		virtio_config_changed(v);
	ck_assert_uint_eq(get(0x15, 1), 0);
}
END_TEST

/* --- broken drivers, resets
 * ------------------------------------------------------------------------------------ */

static void break_ring(unsigned n)
{
	gring_avail(&ring[n], 0x7fff);
	ring_bell(n);
	fake_loop_run();
}

START_TEST(needs_reset)
{
	unsigned kicks;

	add(&vtest_pci_class, "");
	start_driver(0);
	vector_taken(0);
	break_ring(1);
	ck_assert_uint_eq(get(STATUS, 1), 15 | VIRTIO_NEEDS_RESET);
	ck_assert_uint_eq(vector_taken(0), 1);
	/* It rests, the other queue as well. */
	kicks = t->kicks;
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	ring_bell(1);
	fake_loop_run();
	ck_assert_uint_eq(t->kicks, kicks);
	ck_assert_uint_eq(fake_watched(), 0);
	ck_assert_uint_eq(vector_taken(0), 0);
	/* And comes back. */
	ck_assert_uint_eq(status(0), 0);
	start_driver(0);
	gring_add(&ring[1], DATA, 8, true);
	ring_bell(1);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
}
END_TEST

/* Rings that are no rings are found at DRIVER_OK. */
START_TEST(bad_rings)
{
	static const uint64_t bad[] = { 0x10001, 16 << 20, 0xfffffffffffff000, 0xfffffffffffffff0 };

	add(&vtest_pci_class, "");
	for (unsigned i = 0; i < 3 * sizeof(bad) / sizeof(bad[0]); i++) {
		negotiate(V1);
		set(SELECT, 0, 2);
		set_addresses(&(struct gring){ .desc = 0x1000, .avail = 0x2000, .used = 0x3000 });
		set(0x20 + 8 * (i % 3), bad[i / 3], 8);
		set(ENABLE, 1, 2);
		ck_assert_uint_eq(status(15), 15 | VIRTIO_NEEDS_RESET);
		ck_assert_uint_eq(t->starts, 0);
		ck_assert_uint_eq(fake_watched(), 0);
	}
}
END_TEST

START_TEST(no_descriptor_left)
{
	add(&vtest_pci_class, "");
	negotiate(V1);
	set_up_queue(0);
	fake_loop.refuse_fds = true;
	ck_assert_uint_eq(status(15), 15 | VIRTIO_NEEDS_RESET);
	fake_loop.refuse_fds = false;
	ck_assert(negotiate(V1));
	set_up_queue(0);
	ck_assert_uint_eq(status(15), 15);
}
END_TEST

/* Requests in flight: when the status reads 0 nothing of them is left. */
START_TEST(reset_in_flight)
{
	add(&vtest_pci_class, "");
	start_driver(0);
	t->hold = true;
	for (unsigned i = 0; i < 5; i++)
		gring_add(&ring[i & 1], DATA, 8, true);
	ring_bell(0);
	ring_bell(1);
	fake_loop_run();
	ck_assert_uint_eq(t->n_held, 5);
	ring_bell(0); /* rung, and not heard yet */
	ck_assert_uint_eq(status(0), 0);
	ck_assert_uint_eq(t->n_held, 0);
	ck_assert_uint_eq(t->stops, 1);
	ck_assert_uint_eq(fake_watched(), 0);
	vector_taken(1);
	vector_taken(2);
	ck_assert_uint_eq(fake_loop_run(), 0);
	ck_assert_uint_eq(vector_taken(0) + vector_taken(1) + vector_taken(2), 0);
	/* Everything is as it was in the beginning. */
	for (unsigned n = 0; n < 2; n++) {
		set(SELECT, n, 2);
		ck_assert_uint_eq(get(SIZE, 2), n ? 16 : 8);
		ck_assert_uint_eq(get(ENABLE, 2), 0);
		ck_assert_uint_eq(get(0x20, 8) | get(0x28, 8) | get(0x30, 8), 0);
	}
	set(SELECT, 1, 2);
	set(0, 1, 4);
	status(0);
	ck_assert_uint_eq(get(SELECT, 2) | get(0, 4) | get(8, 4), 0);
	/* It stops only what was started. */
	ck_assert_uint_eq(t->stops, 1);
	ck_assert_uint_eq(v->features, 0);
	/* A driver that comes next finds it in order. */
	t->hold = false;
	start_driver(0);
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
}
END_TEST

START_TEST(queue_reset)
{
	add(&vtest_pci_class, "");
	start_driver(VIRTIO_F(VIRTIO_F_RING_RESET));
	t->hold = true;
	for (unsigned i = 0; i < 4; i++)
		gring_add(&ring[i & 1], DATA, 8, true);
	ring_bell(0);
	ring_bell(1);
	fake_loop_run();
	ck_assert_uint_eq(t->n_held, 4);
	set(SELECT, 0, 2);
	set(RESET, 0, 2);
	ck_assert_uint_eq(t->n_held, 4);
	set(RESET, 1, 2);
	ck_assert_uint_eq(t->n_held, 2);
	ck_assert_uint_eq(get(RESET, 2), 0);
	ck_assert_uint_eq(get(ENABLE, 2), 0);
	ck_assert_uint_eq(get(0x20, 8), 0);
	ck_assert_uint_eq(get(VECTOR, 2), VIRTIO_NO_VECTOR);
	ck_assert_uint_eq(fake_bells_on(), 1);
	ck_assert_uint_eq(fake_watched(), 1);
	ring_bell(0);
	ck_assert_uint_eq(fake_loop_run(), 0);
	/* The other one goes on. */
	ck_assert_uint_eq(get(STATUS, 1), 15);
	t->hold = false;
	gring_add(&ring[1], DATA, 8, true);
	ring_bell(1);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
	/* What was set up meanwhile goes, too; then it begins anew, with another size. */
	set(SIZE, 4, 2);
	set(RESET, 1, 2);
	ck_assert_uint_eq(get(SIZE, 2), 8);
	set(SIZE, 4, 2);
	set_up_queue(0);
	ck_assert_uint_eq(ring[0].size, 4);
	ck_assert_uint_eq(fake_bells_on(), 2);
	for (unsigned i = 0; i < 4; i++)
		gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 4);
}
END_TEST

START_TEST(queue_reset_refused)
{
	add(&vtest_pci_class, "");
	start_driver(0);
	set(SELECT, 0, 2);
	set(RESET, 1, 2);
	ck_assert_uint_eq(get(ENABLE, 2), 1);
	ck_assert_uint_eq(t->stops, 0);
}
END_TEST

/* A ring that is bad when its queue is enabled again breaks the device. */
START_TEST(queue_reset_bad_ring)
{
	add(&vtest_pci_class, "");
	start_driver(VIRTIO_F(VIRTIO_F_RING_RESET));
	set(SELECT, 0, 2);
	set(RESET, 1, 2);
	set(0x20, 0x10008, 8);
	set(ENABLE, 1, 2);
	ck_assert_uint_eq(get(STATUS, 1), 15 | VIRTIO_NEEDS_RESET);
	/* and then nothing starts */
	set(RESET, 1, 2);
	set_up_queue(0);
	ck_assert_uint_eq(fake_watched(), 0);
}
END_TEST

START_TEST(machine_reset)
{
	add(&vtest_pci_class, "");
	start_driver(0);
	t->hold = true;
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(t->n_held, 0);
	ck_assert(!v->pci.fn.bar[4].mapped);
	ck_assert_uint_eq(fake_bells_on(), 0);
	pci_assign_resources(&fake.m);
	ck_assert_uint_eq(get(STATUS, 1), 0);
	t->hold = false;
	start_driver(0);
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
	/* Removed while a request is in flight (at the teardown). */
	t->hold = true;
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	ck_assert_uint_eq(t->n_held, 1);
}
END_TEST

/* --- the window in configuration space
 * ---------------------------------------------------------------------------- */

static void open_window(unsigned n, uint32_t off, uint32_t len)
{
	unsigned cap = find_cap(PCI_CAP_VENDOR, 5);

	set_cfg(cap + 4, n, 1);
	set_cfg(cap + 8, off, 4);
	set_cfg(cap + 12, len, 4);
}

START_TEST(cfg_window)
{
	static const uint32_t bad[][3] = {
		{ 4, STATUS, 0 },          { 4, STATUS, 3 },     { 4, STATUS, 8 },
		{ 4, STATUS - 2, 4 },      { 0, STATUS, 1 },     { 5, STATUS, 1 },
		{ 4, 0x4000 + STATUS, 1 }, { 4, 0xfffffffc, 4 }, { 4, 0xffff, 1 },
		{ 4, STATUS, 0xffffffff },
	};
	unsigned data;

	add(&vtest_pci_class, "");
	data = find_cap(PCI_CAP_VENDOR, 5) + 16;
	open_window(4, STATUS, 1);
	set_cfg(data, 0xffffff03, 4);
	ck_assert_uint_eq(get(STATUS, 1), 3);
	ck_assert_uint_eq(cfg(data, 1), 3);
	open_window(4, CONFIG + 4, 4);
	ck_assert_uint_eq(cfg(data, 4), 0x47464544);
	open_window(4, SELECT, 2);
	set_cfg(data, 1, 2);
	ck_assert_uint_eq(get(SELECT, 2), 1);
	open_window(4, SIZE, 2);
	set_cfg(data, 0xffff0004, 4);
	ck_assert_uint_eq(get(SIZE, 2), 4);
	/* with decoding off, too */
	set_cfg(PCI_COMMAND, 0, 2);
	open_window(4, 0x12, 2);
	ck_assert_uint_eq(cfg(data, 4), 2);
	set_cfg(PCI_COMMAND, 7, 2);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_window(bad[i][0], bad[i][1], bad[i][2]);
		set_cfg(data, 0, 4);
		cfg(data, 4);
		ck_assert_uint_eq(get(STATUS, 1), 3);
	}
	/* Its doorbell rings, too. */
	start_driver(0);
	gring_add(&ring[1], DATA, 8, true);
	open_window(4, NOTIFY + 4, 2);
	set_cfg(data, 1, 2);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
}
END_TEST

/* --- legacy
 * ---------------------------------------------------------------------------------------------------------
 */

static uint64_t lget(unsigned reg, unsigned size)
{
	return guest_read(&fake.m.pio, bar(0) + reg, size);
}

static void lset(unsigned reg, uint64_t val, unsigned size)
{
	guest_write(&fake.m.pio, bar(0) + reg, val, size);
}

static void legacy_queue(unsigned n)
{
	lset(0xe, n, 2);
	ring[n] = gring_at(n ? RING1 : RING0, (unsigned)lget(0xc, 2));
	lset(8, ring[n].desc >> 12, 4);
}

START_TEST(legacy_registers)
{
	add(&vtest_pci_class, "packed=on");
	/* 32 bits, with what only legacy devices have */
	ck_assert_uint_eq(lget(0, 4), 0x28u | 1u << VIRTIO_F_INDIRECT_DESC |
					      1u << VIRTIO_F_EVENT_IDX | 1u << VIRTIO_F_ANY_LAYOUT |
					      1u << VIRTIO_F_NOTIFY_ON_EMPTY);
	lset(4, 0xffffffff, 4);
	ck_assert_uint_eq(lget(4, 4), lget(0, 4)); /* cannot refuse: takes what there is */
	ck_assert_uint_eq(lget(8, 4), 0);
	ck_assert_uint_eq(lget(0xc, 2), 8);
	lset(0xe, 1, 2);
	ck_assert_uint_eq(lget(0xc, 2), 16);
	lset(0xc, 4, 2); /* read-only */
	ck_assert_uint_eq(lget(0xc, 2), 16);
	ck_assert_uint_eq(lget(0xc, 4), 0x00010010);
	lset(8, 0x123, 4);
	ck_assert_uint_eq(lget(8, 4), 0x123);
	ck_assert_uint_eq(v->vq[1]->desc, 0x123000);
	ck_assert_uint_eq(v->vq[1]->driver, 0x123100);
	ck_assert_uint_eq(v->vq[1]->device, 0x124000);
	lset(8, 0, 4);
	ck_assert_uint_eq(lget(8, 4), 0);
	ck_assert(!v->vq[1]->enabled);
	lset(0xe, 2, 2);
	ck_assert_uint_eq(lget(0xc, 2), 0);
	lset(8, 0x123, 4);
	ck_assert_uint_eq(lget(8, 4), 0);
	lset(0x12, 1, 1);
	lset(0x12, 3, 1);
	ck_assert_uint_eq(lget(0x12, 1), 3);
	lset(0x12, 11, 1); /* there was no FEATURES_OK */
	ck_assert_uint_eq(lget(0x12, 1), 3);
	lset(0x12, 0, 1);
	ck_assert_uint_eq(lget(0x12, 1) | lget(4, 4) | lget(0xe, 2), 0);
	/* The configuration space moves when there are vectors. */
	ck_assert_uint_eq(lget(0x14, 4), 0x43424140);
	lset(0x14 + 16, 0x55, 1);
	ck_assert_uint_eq(lget(0x14 + 16, 1), 0x55);
	msix_on();
	ck_assert_uint_eq(lget(0x18, 4), 0x43424140);
	ck_assert_uint_eq(lget(0x18 + 16, 1), 0x55);
	lset(0xe, 0, 2);
	ck_assert_uint_eq(lget(0x16, 2), VIRTIO_NO_VECTOR);
	lset(0x14, 2, 2);
	lset(0x16, 1, 2);
	ck_assert_uint_eq(lget(0x14, 4), 0x00010002);
	lset(0x14, 3, 2);
	lset(0x16, 3, 2);
	ck_assert_uint_eq(lget(0x14, 4), 0xffffffff);
	ck_assert_uint_eq(lget(63, 1), 0);
}
END_TEST

START_TEST(legacy_driver)
{
	add(&vtest_pci_class, "");
	lset(0x12, 0, 1);
	lset(0x12, 1, 1);
	lset(0x12, 3, 1);
	lset(4, VIRTIO_F(TEST_F_A), 4);
	legacy_queue(0);
	legacy_queue(1);
	lset(0x12, 7, 1);
	ck_assert_uint_eq(lget(0x12, 1), 7);
	ck_assert(v->legacy);
	ck_assert(virtio_has(v, TEST_F_A));
	ck_assert_uint_eq(fake_bells_on(), 2);
	for (unsigned n = 0; n < 2; n++) {
		gring_add(&ring[n], DATA, 8, true);
		lset(0x10, n, 2);
		ck_assert_uint_eq(fake_bells.rung, n + 1);
		fake_loop_run();
		ck_assert_uint_eq(gring_used(&ring[n]), 1);
		ck_assert_uint_eq(intx_line(), 1);
		ck_assert_uint_eq(lget(0x13, 1), 1);
		ck_assert_uint_eq(intx_line(), 0);
	}
	lset(0x10, 2, 2); /* no such queue */
	lset(4, 0, 4); /* too late */
	ck_assert(virtio_has(v, TEST_F_A));
	virtio_config_changed(v);
	ck_assert_uint_eq(lget(0x13, 1), 2);
	/* It takes one queue away. */
	t->hold = true;
	gring_add(&ring[0], DATA, 8, true);
	lset(0x10, 0, 2);
	fake_loop_run();
	lset(0xe, 0, 2);
	lset(8, 0, 4);
	ck_assert_uint_eq(t->n_held, 0);
	ck_assert_uint_eq(fake_bells_on(), 1);
	t->hold = false;
	legacy_queue(0);
	gring_add(&ring[0], DATA, 8, true);
	lset(0x10, 0, 2);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
	/* A broken ring: there is no bit to say it with. */
	gring_avail(&ring[1], 0x7fff);
	lget(0x13, 1);
	lset(0x10, 1, 2);
	fake_loop_run();
	ck_assert_uint_eq(lget(0x12, 1), 7);
	ck_assert_uint_eq(intx_line(), 0);
	ck_assert_uint_eq(fake_watched(), 0);
	/* A modern driver takes over. */
	lset(0x12, 0, 1);
	start_driver(0);
	ck_assert(!v->legacy);
	lset(0xe, 0, 2);
	lset(8, 0x55, 4); /* not in the middle of its work */
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
}
END_TEST

/* Which interface a driver speaks is seen by the status that it writes. */
START_TEST(legacy_or_modern)
{
	add(&vtest_pci_class, "");
	lset(0x12, 7, 1);
	ck_assert_uint_eq(lget(0x12, 1), 7);
	lset(0x12, 0, 1);
	/* firmware looked, the kernel goes on without a reset */
	lset(0x12, 3, 1);
	status(3);
	take_features(V1);
	ck_assert_uint_eq(status(11), 11);
}
END_TEST

START_TEST(legacy_vectors)
{
	add(&vtest_pci_class, "");
	msix_on();
	lset(0x12, 3, 1);
	legacy_queue(0);
	lset(0x16, 1, 2);
	lset(0x14, 0, 2);
	lset(0x12, 7, 1);
	gring_add(&ring[0], DATA, 8, true);
	lset(0x10, 0, 2);
	fake_loop_run();
	ck_assert_uint_eq(vector_taken(1), 1);
	virtio_config_changed(v);
	ck_assert_uint_eq(vector_taken(0), 1);
	ck_assert_uint_eq(intx_line(), 0);
	/* The queue goes, and keeps its vector. */
	lset(8, 0, 4);
	ck_assert_uint_eq(lget(0x16, 2), 1);
	ck_assert(v->legacy);
	lset(0x12, 0, 1);
	ck_assert(!v->legacy);
	ck_assert_uint_eq(lget(0x16, 2), VIRTIO_NO_VECTOR);
}
END_TEST

/* Old drivers use a queue before DRIVER_OK. */
START_TEST(legacy_early)
{
	add(&vtest_pci_class, "");
	lset(0x12, 3, 1);
	lset(0x10, 0, 2); /* nothing there yet */
	ck_assert_uint_eq(t->starts, 0);
	legacy_queue(0);
	gring_add(&ring[0], DATA, 8, true);
	lset(0x10, 0, 2);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
	/* The other queue and DRIVER_OK may come later. */
	legacy_queue(1);
	lset(0x12, 7, 1);
	gring_add(&ring[1], DATA, 8, true);
	lset(0x10, 1, 2);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[1]), 1);
	ck_assert_uint_eq(t->starts, 1);
}
END_TEST

/* --- hostile
 * ------------------------------------------------------------------------------------------------------------
 */

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	return fake_random(&seed) % n;
}

/* Mostly values that mean something to some register. */
static uint64_t any_value(void)
{
	static const uint64_t some[] = { 0,          1,
					 2,          3,
					 4,          7,
					 8,          11,
					 15,         16,
					 0x10,       0x4f,
					 0xffff,     RING0,
					 RING1,      RING0 >> 12,
					 DATA,       16 << 20,
					 1u << 31,   UINT32_MAX,
					 UINT64_MAX, 0x7fffffffffffffff };

	if (rnd(4))
		return some[rnd(sizeof(some) / sizeof(some[0]))];
	return (uint64_t)fake_random(&seed) << 32 | fake_random(&seed);
}

static void hammer_step(void)
{
	static const unsigned pages[] = { 0, 0, 0, ISR, CONFIG, NOTIFY };
	unsigned size = 1u << rnd(4), page = pages[rnd(6)];
	uint64_t off = rnd(4) ? rnd(0x48) : rnd(0x1000);
	bool mapped4 = v->pci.fn.bar[4].mapped, mapped0 = v->pci.fn.bar[0].mapped;

	switch (rnd(10)) {
	case 0:
		if (mapped0)
			lget(rnd(66), size);
		break;
	case 1:
	case 2:
		if (mapped0)
			lset(rnd(66), any_value(), size);
		break;
	case 3:
		if (mapped4)
			get(page + (unsigned)off, size);
		break;
	case 4:
		set_cfg(find_cap(PCI_CAP_VENDOR, 5) + 4 + rnd(16), (uint32_t)any_value(), 1);
		cfg(rnd(252) & ~3u, 4);
		break;
	case 5:
		/* garbage where rings may be */
		put16((rnd(2) ? RING0 : RING1) + rnd(0x1200) * 2, (uint16_t)any_value());
		break;
	case 6:
		if (mapped4 && !rnd(3) && negotiate(V1 | (rnd(2) ? VIRTIO_F(40) : 0))) {
			set_up_queue(0);
			set_up_queue(1);
			status(15);
		}
		t->hold = rnd(2);
		break;
	default:
		if (mapped4)
			set(page + (unsigned)off, any_value(), size);
	}
}

static void hammer(const char *props, uint64_t start)
{
	seed = start;
	add(&vtest_pci_class, props);
	for (unsigned i = 0; i < 60000; i++) {
		hammer_step();
		if (!rnd(3))
			fake_loop_run();
		if (t->n_held > TEST_MAX_HELD - 26) {
			vtest_stop(v, NULL);
			vq_flush(v->vq[0]);
			vq_flush(v->vq[1]);
		}
		if (!rnd(500)) {
			machine_reset_devices(&fake.m);
			pci_assign_resources(&fake.m);
		}
	}
	ck_assert_uint_gt(t->starts, 20); /* it got somewhere */
	status(0);
	start_driver(0);
	t->hold = false;
	gring_add(&ring[0], DATA, 8, true);
	ring_bell(0);
	fake_loop_run();
	ck_assert_uint_eq(gring_used(&ring[0]), 1);
}

START_TEST(hostile)
{
	hammer("", 1);
}
END_TEST

START_TEST(hostile_packed)
{
	hammer("packed=on,in_order=on,page-per-vq=on", 2);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		identity,
		identity_modern,
		identity_legacy,
		identity_new,
		bad_properties,
		capabilities,
		common_features,
		offered_by_properties,
		common_registers,
		common_widths,
		no_such_queue,
		negotiation,
		negotiation_beyond,
		access_platform,
		status_bits,
		queue_sizes,
		queue_sizes_packed,
		enabled_queue_is_fixed,
		requests,
		first_kick,
		polled_queues_want_no_bell,
		requests_without_ioeventfd,
		requests_without_any_width,
		notification_data,
		page_per_vq,
		doorbells_move,
		vectors,
		no_msix,
		intx,
		config_space,
		config_generation,
		needs_reset,
		bad_rings,
		no_descriptor_left,
		reset_in_flight,
		queue_reset,
		queue_reset_refused,
		queue_reset_bad_ring,
		machine_reset,
		cfg_window,
		legacy_registers,
		legacy_driver,
		legacy_or_modern,
		legacy_vectors,
		legacy_early,
		hostile,
		hostile_packed,
	};

	return fake_virtio_main("virtio", tests, sizeof(tests) / sizeof(tests[0]));
}
