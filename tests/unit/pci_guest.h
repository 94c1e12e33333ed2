/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A board with PCI, how a guest gets at it, and a function that tells the test
 * what the bus asks of it. For the tests of hw/pci.
 */
#ifndef POSADA_TEST_PCI_GUEST_H
#define POSADA_TEST_PCI_GUEST_H

#include "fake_machine.h"

#include <stdio.h>

#include "acpi.h"
#include "pci.h"
#include "props.h"

extern const struct dev_class i440fx_class, piix3_class, pci_testdev_class;

#define DEVFN(slot, fn) ((slot) << 3 | (fn))
#define HOST_BRIDGE DEVFN(0, 0)
#define ISA_BRIDGE DEVFN(1, 0)
#define TESTDEV 0x50434954u /* what pci-testdev's register 0 reads */

static inline void board(void)
{
	fake_add(&i440fx_class, "");
	fake_add(&piix3_class, "");
}

static inline uint32_t cfg_read(unsigned devfn, unsigned off, unsigned size)
{
	outl(0xcf8, 0x80000000 | devfn << 8 | (off & 0xfc));
	return (uint32_t)fake_pio_in((uint16_t)(0xcfc + (off & 3)), size);
}

static inline void cfg_write(unsigned devfn, unsigned off, uint32_t val, unsigned size)
{
	outl(0xcf8, 0x80000000 | devfn << 8 | (off & 0xfc));
	bus_write(&fake.m.pio, 0xcfc + (off & 3), &val, size);
}

static inline unsigned find_cap(unsigned devfn, uint8_t id)
{
	unsigned off = cfg_read(devfn, PCI_CAP_POINTER, 1);

	while (off && cfg_read(devfn, off, 1) != id) {
		ck_assert_uint_ge(off, 0x40);
		ck_assert_uint_eq(off % 4, 0);
		off = cfg_read(devfn, off + 1, 1);
	}
	return off;
}

static inline void set_bar(unsigned devfn, unsigned n, uint64_t base)
{
	cfg_write(devfn, 0x10 + 4 * n, (uint32_t)base, 4);
}

static inline void set_bar64(unsigned devfn, unsigned n, uint64_t base)
{
	cfg_write(devfn, 0x10 + 4 * n, (uint32_t)base, 4);
	cfg_write(devfn, 0x14 + 4 * n, (uint32_t)(base >> 32), 4);
}

static inline uint64_t mr(uint64_t at, unsigned size)
{
	uint64_t val = 0;

	bus_read(&fake.m.mmio, at, &val, size);
	return val;
}

static inline void mw(uint64_t at, uint64_t val, unsigned size)
{
	bus_write(&fake.m.mmio, at, &val, size);
}

/* -device pci-testdev,PROPS fails with this in its message, and a hint or at least a reason. */
static inline void refused(const char *props, const char *why)
{
	struct err e;

	ck_assert_int_lt(fake_try_add(&pci_testdev_class, props, NULL, &e), 0);
	ck_assert_msg(strstr(e.msg, why) != NULL, "%s: %s", props, e.msg);
}

/* --- a function that notes what happens to it --- */
struct tfn {
	struct dev dev;
	struct pci_fn fn;
	uint32_t pin;
	struct io_region a, b;
	unsigned maps, unmaps;
	uint64_t base; /* at the last map */
	unsigned cap;
	uint32_t reads, written;
};

static uint64_t tfn_read_a(void *dev, uint64_t off, unsigned size)
{
	return 'a';
}

static uint64_t tfn_read_b(void *dev, uint64_t off, unsigned size)
{
	return 'b';
}

static void tfn_cfg_read(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct tfn *t = fn->ctx;

	if (off != t->cap + 4)
		return;
	/* Neither lock is held by the caller. */
	pthread_mutex_lock(&t->dev.lock);
	ck_assert_ptr_nonnull(pci_find(t->dev.m, 0));
	t->reads++;
	pci_set32(fn, t->cap + 4, t->reads);
	pthread_mutex_unlock(&t->dev.lock);
}

static void tfn_cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct tfn *t = fn->ctx;

	pthread_mutex_lock(&t->dev.lock);
	if (off == t->cap + 8 && size == 4)
		t->written = pci_cfg32(fn, off);
	pthread_mutex_unlock(&t->dev.lock);
}

static void tfn_bar_mapped(struct pci_fn *fn, unsigned bar, bool mapped)
{
	struct tfn *t = fn->ctx;

	/* Its regions are on the bus at both times. */
	ck_assert(bus_mapped(&t->a) && bus_mapped(&t->b) && fn->bar[bar].mapped);
	if (mapped) {
		t->maps++;
		t->base = fn->bar[bar].base;
	} else {
		t->unmaps++;
	}
}

static int tfn_init(struct dev *d, struct err *e)
{
	static const struct io_ops ops_a = { .read = tfn_read_a }, ops_b = { .read = tfn_read_b };
	static const struct pci_fn_ops ops = {
		.cfg_read = tfn_cfg_read,
		.cfg_written = tfn_cfg_written,
		.bar_mapped = tfn_bar_mapped,
	};
	struct tfn *t = (struct tfn *)d;
	const struct pci_ident ident = {
		.vendor = 0x1234, .device = 1, .class_code = 0xff0000, .pin = (uint8_t)t->pin
	};
	int rc = pci_fn_init(&t->fn, d, &ident, &ops, t, e);

	if (rc)
		return rc;
	t->a = (struct io_region){ .name = "a", .ops = &ops_a, .dev = t, .size = 0x100 };
	t->b = (struct io_region){ .name = "b", .ops = &ops_b, .dev = t, .size = 0x100 };
	pci_bar_init(&t->fn, 0, PCI_BAR_MEM, 0x2000);
	pci_bar_add(&t->fn, 0, &t->a, 0);
	pci_bar_add(&t->fn, 0, &t->b, 0x1000);
	t->cap = pci_add_cap(&t->fn, PCI_CAP_VENDOR, 12);
	memset(t->fn.wmask + t->cap + 9, 0xff, 2);
	return pci_fn_plug(&t->fn, e);
}

static void tfn_reset(struct dev *d)
{
	pci_fn_reset(&((struct tfn *)d)->fn);
}

static void tfn_fini(struct dev *d)
{
	pci_fn_unplug(&((struct tfn *)d)->fn);
}

static const struct prop tfn_props[] = {
	PCI_FN_PROPS(struct tfn, fn),
	PROP(struct tfn, pin, PROP_U32, "pin", "0", "0: no INTx"),
	PROP_END,
};

static const struct dev_class tfn_class = {
	.name = "test-function",
	.bus = DEV_BUS_PCI,
	.size = sizeof(struct tfn),
	.props = tfn_props,
	.init = tfn_init,
	.reset = tfn_reset,
	.fini = tfn_fini,
};

#endif
