/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of PCI functions: INTx and its routing, MSI, MSI-X. */
#include "pci_guest.h"

#define DEV DEVFN(2, 0)
#define REGS 0xe0000000u /* BAR 1 of pci-testdev */
#define TABLE 0xe0100000u /* BAR 4 */
#define COMMAND 0x0006 /* memory and mastering */

static unsigned msi, msix;

/* A board and a pci-testdev whose BARs 1 and 4 are where the macros say. */
static struct pci_fn *start(const char *props)
{
	board();
	fake_add(&pci_testdev_class, props);
	set_bar(DEV, 1, REGS);
	set_bar(DEV, 4, TABLE);
	cfg_write(DEV, 4, COMMAND, 2);
	msi = find_cap(DEV, 0x05);
	msix = find_cap(DEV, 0x11);
	return pci_find(&fake.m, DEV);
}

static void raise_vector(unsigned n)
{
	mw(REGS + 4, n, 4);
}

static void set_intx(bool level)
{
	mw(REGS + 8, level, 4);
}

/* --- INTx ------------------------------------------------------------------------------- */

static void route(unsigned pirq, uint8_t val)
{
	cfg_write(ISA_BRIDGE, 0x60 + pirq, val, 1);
}

/* Which of the ISA interrupts are high. */
static unsigned lines(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 16; i++)
		n |= (unsigned)fake.irq[i] << i;
	return n;
}

START_TEST(intx)
{
	start("");
	set_intx(true);
	ck_assert_uint_eq(lines(), 0); /* routed nowhere yet */
	ck_assert_uint_eq(cfg_read(DEV, PCI_STATUS, 2), 0x0018);
	route(1, 10); /* slot 2's INTA# is PIRQB */
	ck_assert_uint_eq(lines(), 1 << 10);
	set_intx(false);
	ck_assert_uint_eq(lines(), 0);
	ck_assert_uint_eq(cfg_read(DEV, PCI_STATUS, 2), 0x0010);
	set_intx(true);
	/* Disabled: the line is low, the status shows it all the same. */
	cfg_write(DEV, 4, COMMAND | 0x0400, 2);
	ck_assert_uint_eq(lines(), 0);
	ck_assert_uint_eq(cfg_read(DEV, PCI_STATUS, 2), 0x0018);
	cfg_write(DEV, 5, 0, 1);
	ck_assert_uint_eq(lines(), 1 << 10);
	/* A function that signals by messages does not pull its pin. */
	cfg_write(DEV, msi + 2, 1, 2);
	ck_assert_uint_eq(lines(), 0);
	cfg_write(DEV, msi + 2, 0, 2);
	ck_assert_uint_eq(lines(), 1 << 10);
	cfg_write(DEV, msix + 2, 0x8000, 2);
	ck_assert_uint_eq(lines(), 0);
	cfg_write(DEV, msix + 2, 0, 2);
	ck_assert_uint_eq(lines(), 1 << 10);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(lines(), 0);
	ck_assert_uint_eq(cfg_read(DEV, PCI_STATUS, 2), 0x0010);
}
END_TEST

START_TEST(routing)
{
	start("");
	set_intx(true);
	for (unsigned val = 0; val < 256; val++) {
		static const unsigned routable = 0xdef8; /* not 0, 1, 2, 8, 13 */
		unsigned irq = val & 15;

		route(1, (uint8_t)val);
		ck_assert_uint_eq(cfg_read(ISA_BRIDGE, 0x61, 1), val & 0x8f);
		ck_assert_uint_eq(lines(), val & 0x80 ? 0 : routable & 1u << irq);
	}
	/* All four at once. */
	cfg_write(ISA_BRIDGE, 0x60, 0x0b0a0905, 4);
	ck_assert_uint_eq(lines(), 1 << 9);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(cfg_read(ISA_BRIDGE, 0x60, 4), 0x80808080);
	ck_assert_uint_eq(lines(), 0);
}
END_TEST

START_TEST(swizzle)
{
	struct tfn *t[4][5];

	board();
	cfg_write(ISA_BRIDGE, 0x60, 0x07060504, 4); /* PIRQA..D are 4 to 7 */
	for (unsigned slot = 2; slot < 6; slot++) {
		for (unsigned pin = 0; pin <= 4; pin++) {
			char props[64];

			snprintf(props, sizeof(props), "addr=%x.%u,multifunction=on,pin=%u", slot,
				 pin, pin);
			t[slot - 2][pin] = (struct tfn *)fake_add(&tfn_class, props);
		}
	}
	for (unsigned slot = 2; slot < 6; slot++) {
		for (unsigned pin = 1; pin <= 4; pin++) {
			struct pci_fn *fn = &t[slot - 2][pin]->fn;

			pci_set_intx(fn, true);
			/* Slot 1's INTA# is PIRQA; the next slot, and the next pin, one further. */
			ck_assert_uint_eq(lines(), 1u << (4 + (slot - 1 + pin - 1) % 4));
			pci_set_intx(fn, false);
			ck_assert_uint_eq(lines(), 0);
		}
		/* Without a pin it is wired nowhere. */
		pci_set_intx(&t[slot - 2][0]->fn, true);
		ck_assert_uint_eq(lines(), 0);
	}
}
END_TEST

/* A line is high as long as anyone pulls it, by whichever PIRQ. */
START_TEST(sharing)
{
	struct pci_fn *a, *b, *c;

	board();
	a = &((struct tfn *)fake_add(&tfn_class, "addr=2,pin=1"))->fn; /* PIRQB */
	b = &((struct tfn *)fake_add(&tfn_class, "addr=6,pin=1"))->fn; /* PIRQB */
	c = &((struct tfn *)fake_add(&tfn_class, "addr=3,pin=1"))->fn; /* PIRQC */
	cfg_write(ISA_BRIDGE, 0x60, 0x800b0b80, 4);
	pci_set_intx(a, true);
	pci_set_intx(a, true); /* twice is once */
	pci_set_intx(b, true);
	pci_set_intx(c, true);
	ck_assert_uint_eq(fake.irq_sets[11], 1);
	pci_set_intx(a, false);
	ck_assert_uint_eq(lines(), 1 << 11);
	pci_set_intx(c, false);
	ck_assert_uint_eq(lines(), 1 << 11);
	route(2, 5);
	pci_set_intx(c, true);
	ck_assert_uint_eq(lines(), 1 << 11 | 1 << 5);
	/* Rerouted while high: one line falls, the other stays up for both. */
	route(2, 11);
	ck_assert_uint_eq(lines(), 1 << 11);
	/* One that goes while it pulls lets go. */
	pci_fn_unplug(b);
	ck_assert_uint_eq(lines(), 1 << 11);
	pci_fn_unplug(c);
	ck_assert_uint_eq(lines(), 0);
	pci_set_intx(b, true);
	ck_assert_uint_eq(lines(), 0);
}
END_TEST

/* --- MSI-X -------------------------------------------------------------------------------- */

static void entry(unsigned n, uint32_t data, bool masked)
{
	mw(TABLE + 16 * n, 0xfee00000, 8);
	mw(TABLE + 16 * n + 8, data, 4);
	mw(TABLE + 16 * n + 12, masked, 4);
}

START_TEST(msix_table)
{
	start("vectors=5");
	ck_assert_uint_eq(cfg_read(DEV, msix + 2, 2), 4);
	ck_assert_uint_eq(cfg_read(DEV, msix + 4, 4), 0x00000004); /* in BAR 4 */
	ck_assert_uint_eq(cfg_read(DEV, msix + 8, 4), 0x00000054);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 5; i++) {
			ck_assert_uint_eq(mr(TABLE + 16 * i, 8), 0);
			ck_assert_uint_eq(mr(TABLE + 16 * i + 8, 8), 1ull << 32);
			mw(TABLE + 16 * i, UINT64_MAX, 8);
			mw(TABLE + 16 * i + 8, UINT64_MAX, 8);
			ck_assert_uint_eq(mr(TABLE + 16 * i, 8), UINT64_MAX - 3);
			ck_assert_uint_eq(mr(TABLE + 16 * i + 8, 8), 0x1ffffffff);
			mw(TABLE + 16 * i + 4, i, 4);
			ck_assert_uint_eq(mr(TABLE + 16 * i, 8), 0xfffffffc | (uint64_t)i << 32);
			mw(TABLE + 16 * i + 12, 0xfffffffe, 4);
			ck_assert_uint_eq(mr(TABLE + 16 * i + 12, 4), 0);
		}
		/* Pending bits are read-only; behind them is nothing. */
		mw(TABLE + 0x50, UINT64_MAX, 8);
		ck_assert_uint_eq(mr(TABLE + 0x50, 8), 0);
		ck_assert_uint_eq(mr(TABLE + 0x58, 8), UINT64_MAX);
		machine_reset_devices(&fake.m);
		set_bar(DEV, 1, REGS);
		set_bar(DEV, 4, TABLE);
		cfg_write(DEV, 4, COMMAND, 2);
	}
}
END_TEST

START_TEST(msix_raise)
{
	struct pci_fn *fn = start("");

	for (unsigned i = 0; i < 4; i++)
		entry(i, 0x40 + i, false);
	raise_vector(0);
	ck_assert_uint_eq(mr(TABLE + 0x40, 8), 0); /* not enabled: lost */
	cfg_write(DEV, msix + 2, 0x8000, 2);
	ck_assert(pci_msix_enabled(fn));
	ck_assert_uint_eq(fake_msi_taken(0x40), 0);
	for (unsigned i = 0; i < 4; i++) {
		raise_vector(i);
		for (unsigned k = 0; k < 4; k++)
			ck_assert_uint_eq(fake_msi_taken(0x40 + k), i == k);
	}
	ck_assert_uint_eq(fn->vector[2].irqfd.msg.addr, 0xfee00000);
	raise_vector(4); /* there is none */
	raise_vector(0xffffffff);
	/* A message changed while it is live. */
	mw(TABLE + 8, 0x55, 4);
	raise_vector(0);
	ck_assert_uint_eq(fake_msi_taken(0x40), 0);
	ck_assert_uint_eq(fake_msi_taken(0x55), 1);
	/* Disabled, nothing comes, and nothing is kept. */
	cfg_write(DEV, msix + 2, 0, 2);
	ck_assert(!pci_msix_enabled(fn));
	raise_vector(0);
	cfg_write(DEV, msix + 2, 0x8000, 2);
	ck_assert_uint_eq(fake_msi_taken(0x55), 0);
}
END_TEST

START_TEST(msix_masks)
{
	start("");
	for (unsigned i = 0; i < 4; i++)
		entry(i, 0x40 + i, i == 1);
	cfg_write(DEV, msix + 2, 0x8000, 2);
	raise_vector(1);
	raise_vector(1);
	ck_assert_uint_eq(fake_msi_taken(0x41), 0);
	ck_assert_uint_eq(mr(TABLE + 0x40, 8), 2);
	ck_assert_uint_eq(mr(TABLE + 0x40, 4), 2);
	ck_assert_uint_eq(mr(TABLE + 0x40, 1), 2);
	/* The message that counts is the one at the time of unmasking. */
	mw(TABLE + 16 + 8, 0x61, 4);
	mw(TABLE + 16 + 12, 0, 4);
	ck_assert_uint_ge(fake_msi_taken(0x61), 1);
	ck_assert_uint_eq(mr(TABLE + 0x40, 8), 0);
	/* Function mask: all of them; masked ones stay so when it goes. */
	mw(TABLE + 32 + 12, 1, 4);
	cfg_write(DEV, msix + 2, 0xc000, 2);
	for (unsigned i = 0; i < 4; i++)
		raise_vector(i);
	ck_assert_uint_eq(mr(TABLE + 0x40, 8), 0xf);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(fake_msi_taken(i == 1 ? 0x61 : 0x40 + i), 0);
	cfg_write(DEV, msix + 2, 0x8000, 2);
	ck_assert_uint_eq(fake_msi_taken(0x40), 1);
	ck_assert_uint_eq(fake_msi_taken(0x61), 1);
	ck_assert_uint_eq(fake_msi_taken(0x43), 1);
	ck_assert_uint_eq(mr(TABLE + 0x40, 8), 4);
	mw(TABLE + 32 + 12, 0, 4);
	ck_assert_uint_eq(fake_msi_taken(0x42), 1);
	/* A message is a write by a master. */
	cfg_write(DEV, 4, 2, 2);
	raise_vector(0);
	ck_assert_uint_eq(fake_msi_taken(0x40), 0);
	ck_assert_uint_eq(mr(TABLE + 0x40, 8), 1);
	cfg_write(DEV, 4, COMMAND, 2);
	ck_assert_uint_eq(fake_msi_taken(0x40), 1);
	/* What is pending at a reset is gone. */
	mw(TABLE + 12, 1, 4);
	raise_vector(0);
	machine_reset_devices(&fake.m);
	set_bar(DEV, 4, TABLE);
	cfg_write(DEV, 4, COMMAND, 2);
	cfg_write(DEV, msix + 2, 0x8000, 2);
	ck_assert_uint_eq(mr(TABLE + 0x40, 8), 0);
}
END_TEST

/* A route of KVM's is set when a vector's state changes, and not otherwise. */
START_TEST(msix_sets)
{
	unsigned before;

	start("");
	cfg_write(DEV, msix + 2, 0x8000, 2);
	entry(0, 0x40, false);
	before = fake.irqfd_sets;
	cfg_write(DEV, msix + 2, 0x8000, 2);
	cfg_write(DEV, 4, COMMAND, 2);
	cfg_write(DEV, 0x3c, 5, 1);
	mw(TABLE + 12, 0, 4);
	mw(TABLE + 8, 0x40, 4);
	ck_assert_uint_eq(fake.irqfd_sets, before);
	mw(TABLE + 12, 1, 4);
	ck_assert_uint_eq(fake.irqfd_sets, before + 1);
	mw(TABLE + 8, 0x41, 4);
	mw(TABLE, 0xfee01000, 4);
	ck_assert_uint_eq(fake.irqfd_sets, before + 1);
	mw(TABLE + 12, 0, 4);
	ck_assert_uint_eq(fake.irqfd_sets, before + 2);
}
END_TEST

START_TEST(msix_many)
{
	enum { N = 300, PBA = 16 * N };
	uint64_t bits[5];

	start("vectors=300");
	ck_assert_uint_eq(cfg_read(DEV, msix + 2, 2), N - 1);
	ck_assert_uint_eq(cfg_read(DEV, msix + 8, 4), PBA | 4);
	cfg_write(DEV, msix + 2, 0x8000, 2);
	for (unsigned i = 0; i < N; i += 7)
		raise_vector(i);
	for (unsigned i = 0; i < 5; i++) {
		bits[i] = mr(TABLE + PBA + 8 * i, 8);
		ck_assert_uint_eq(mr(TABLE + PBA + 8 * i + 4, 4), bits[i] >> 32);
	}
	for (unsigned i = 0; i < 5 * 64; i++)
		ck_assert_uint_eq(bits[i / 64] >> i % 64 & 1, i < N && i % 7 == 0);
}
END_TEST

/* --- MSI ------------------------------------------------------------------------------------ */

START_TEST(msi_message)
{
	struct pci_fn *fn = start("");

	ck_assert_uint_eq(cfg_read(DEV, msi + 2, 2), 0x0180);
	cfg_write(DEV, msi + 4, 0xfee00000, 4);
	cfg_write(DEV, msi + 12, 0x0047, 2);
	raise_vector(0);
	cfg_write(DEV, msi + 2, 0x0001, 2);
	ck_assert(pci_msi_enabled(fn));
	ck_assert_uint_eq(fake_msi_taken(0x47), 0); /* it was not enabled */
	raise_vector(0);
	raise_vector(1);
	ck_assert_uint_eq(fake_msi_taken(0x47), 1);
	ck_assert_uint_eq(fn->msi.irqfd.msg.addr, 0xfee00000);
	cfg_write(DEV, msi + 8, 0x12, 4);
	ck_assert_uint_eq(fn->msi.irqfd.msg.addr, 0x12fee00000);
	cfg_write(DEV, msi + 16, 1, 1);
	raise_vector(0);
	ck_assert_uint_eq(fake_msi_taken(0x47), 0);
	ck_assert_uint_eq(cfg_read(DEV, msi + 20, 4), 1);
	cfg_write(DEV, msi + 20, 0, 4); /* read-only */
	ck_assert_uint_eq(cfg_read(DEV, msi + 20, 4), 1);
	cfg_write(DEV, msi + 16, 0, 1);
	ck_assert_uint_eq(fake_msi_taken(0x47), 1);
	ck_assert_uint_eq(cfg_read(DEV, msi + 20, 4), 0);
	cfg_write(DEV, 4, 2, 2);
	raise_vector(0);
	ck_assert_uint_eq(fake_msi_taken(0x47), 0);
	cfg_write(DEV, 4, COMMAND, 2);
	ck_assert_uint_eq(fake_msi_taken(0x47), 1);
	/* MSI-X goes first where a guest has enabled both. */
	entry(0, 0x51, false);
	cfg_write(DEV, msix + 2, 0x8000, 2);
	raise_vector(0);
	ck_assert_uint_eq(fake_msi_taken(0x47), 0);
	ck_assert_uint_eq(fake_msi_taken(0x51), 1);
	machine_reset_devices(&fake.m);
	ck_assert(!pci_msi_enabled(fn) && !pci_msix_enabled(fn));
	ck_assert_uint_eq(cfg_read(DEV, msi + 4, 4), 0);
	for (unsigned i = 0; i < 64; i++)
		ck_assert_ptr_null(fake.irqfd[i]);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		intx,       routing,    swizzle,   sharing,   msix_table,
		msix_raise, msix_masks, msix_sets, msix_many, msi_message,
	};

	return fake_main("pci_irq", tests, sizeof(tests) / sizeof(tests[0]));
}
