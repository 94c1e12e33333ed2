/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI as a driver uses it, on a pci-testdev: configuration space, BARs of every
 * kind, moved while they are decoded, MSI-X, MSI, and INTx by PIC and IOAPIC.
 * The machine's firmware, or its stand-in, has given out addresses. Registers of the
 * device: hw/pci/testdev.c. `mem64=BYTES`: the size of its BAR 2.
 */
#include "pci.h"

enum { REG_ID = 0x00, REG_RAISE = 0x04, REG_INTX = 0x08, REG_SCRATCH = 0x0c };
#define IDENTITY 0x50434954u

enum { VEC_INTX = 0x50, VEC_MSI = 0x58, VEC_MSIX = 0x60, N_VECTORS = 4 };

static unsigned dev;
static uint64_t regs; /* BAR 1 */
static volatile unsigned hits[256], not_ours;

/* Waits until a vector has been raised n times, for some seconds at most. */
static bool wait_hits(unsigned vector, unsigned n)
{
	irq_on();
	for (unsigned i = 0; i < 3000 && hits[vector] < n; i++)
		delay_us(1000);
	irq_off();
	return hits[vector] == n;
}

/* Time enough for an interrupt that must not come. */
static void settle(void)
{
	irq_on();
	delay_us(5000);
	irq_off();
}

/* --- configuration space -------------------------------------------------------------- */

static void config(void)
{
	uint32_t ids = pci_read32(0, PCI_VENDOR);

	check(pci_read32(0, PCI_VENDOR) == 0x12378086, "slot 0 has the host bridge (%x)", ids);
	check(pci_read16(1 << 3, PCI_CLASS) == 0x0601, "slot 1 has the ISA bridge");
	check(pci_read32(30 << 3, PCI_VENDOR) == 0xffffffff, "an empty slot reads all ones");
	check(pci_read16(dev, PCI_DEVICE) == 0x7e57 && pci_read8(dev, PCI_DEVICE + 1) == 0x7e,
	      "words and bytes");
	pci_write32(dev, PCI_VENDOR, 0);
	check(pci_read16(dev, PCI_VENDOR) == 0x1234, "the vendor is read-only");
	outl(0xcf8, 0);
	check(inl(0xcfc) == 0xffffffff, "without the enable bit there is nothing");
	outl(0xcf8, 0x80010000);
	check(inl(0xcfc) == 0xffffffff, "nor on bus 1");
	outb(0xcf9, 0x02);
	check(inl(0xcf8) == 0x80010000 && inb(0xcf9) == 0x02,
	      "the reset control register is beside the address register");
	outb(0xcf9, 0);
}

/* --- BARs --------------------------------------------------------------------------------- */

static bool answers_io(uint64_t at)
{
	return inl((uint16_t)(at + REG_ID)) == IDENTITY;
}

static bool answers(uint64_t at)
{
	return mmio32(at + REG_ID) == IDENTITY;
}

static void io_bar(void)
{
	struct pci_bar b = pci_bar(dev, 0);

	check(b.io && b.size == 32 && b.base && b.base + b.size <= 0x10000, "BAR 0: I/O at %lx",
	      b.base);
	check(answers_io(b.base), "BAR 0 answers");
	outl((uint16_t)(b.base + REG_SCRATCH), 0x11223344);
	check(inb((uint16_t)(b.base + REG_SCRATCH + 1)) == 0x33, "by bytes, too");
	pci_bar_move(dev, 0, 0xe000);
	check(answers_io(0xe000) && !answers_io(b.base), "moved while decoded");
	check(inl(0xe000 + REG_SCRATCH) == 0x11223344, "it is the same device");
	pci_command(dev, 0, PCI_IO);
	check(!answers_io(0xe000), "decoding off");
	pci_command(dev, PCI_IO, 0);
	check(answers_io(0xe000), "and on again");
	pci_bar_move(dev, 0, b.base);
	check(answers_io(b.base), "moved back");
}

static void mem_bar(void)
{
	struct pci_bar b = pci_bar(dev, 1);
	bool ok = true;

	check(!b.io && !b.is64 && !b.prefetch && b.size == 4096 && b.base,
	      "BAR 1: 32-bit memory at %lx", b.base);
	check(answers(b.base), "BAR 1 answers");
	mmio_write32(b.base + REG_SCRATCH, 0x55667788);
	check(inl((uint16_t)(pci_bar_base(dev, 0) + REG_SCRATCH)) == 0x55667788,
	      "BAR 0 shows the same registers");
	for (unsigned i = 0; i < 20; i++) {
		uint64_t to = 0xd0000000 + i * 0x7000, was = pci_bar_base(dev, 1);

		pci_bar_move(dev, 1, to);
		ok &= answers(to) && !answers(was);
	}
	check(ok, "moved while decoded, 20 times");
	pci_command(dev, 0, PCI_MEM);
	check(!answers(pci_bar_base(dev, 1)), "decoding off");
	pci_command(dev, PCI_MEM, 0);
	pci_bar_move(dev, 1, b.base);
	check(answers(b.base), "moved back");
}

static void mem64_bar(void)
{
	struct pci_bar b = pci_bar(dev, 2);
	uint64_t high = 0x8100000000, size = arg_u64("mem64", 64 << 10);
	volatile uint64_t *p, *end;

	check(!b.io && b.is64 && b.prefetch && b.size == size && b.base,
	      "BAR 2: 64-bit prefetchable memory at %lx", b.base);
	check(size <= 512 << 20 ? b.base < 1ull << 32 : b.base >= 1ull << 32,
	      "below 4 GiB if it fits there");
	p = map_window(b.base);
	*p = 0x0123456789abcdef;
	check(*p == 0x0123456789abcdef, "BAR 2 keeps a quadword");
	high = (high + size - 1) & ~(size - 1);
	pci_bar_move(dev, 2, high);
	p = map_window(high);
	check(*p == 0x0123456789abcdef, "moved to %lx", high);
	p[1] = 5;
	end = map_window(high + size - 4096);
	check(end[0] == 0x0123456789abcdef && end[1] == 5, "its end answers");
	p = map_window(b.base);
	check(*p == ~0ull, "nothing is where it was");
	pci_bar_move(dev, 2, b.base);
	check(*p == 0x0123456789abcdef, "moved back");
}

/* Both BARs at one place: one of them answers, and both do again when they part. */
static void overlap(void)
{
	uint64_t one = pci_bar_base(dev, 1), two = pci_bar_base(dev, 2);

	if (two >> 32)
		return;
	pci_bar_move(dev, 2, 0xd0000000);
	pci_bar_move(dev, 1, 0xd0000000);
	check(answers(0xd0000000), "BAR 1 in front of BAR 2");
	pci_bar_move(dev, 1, one);
	check(answers(one) && mmio32(0xd0000000) == 0x89abcdef, "BAR 2 is seen again");
	pci_bar_move(dev, 2, two);
}

/* --- interrupts ---------------------------------------------------------------------------- */

static void message(struct trap_frame *f)
{
	hits[f->vector]++;
	lapic_eoi();
}

static void raise_vector(unsigned n)
{
	mmio_write32(regs + REG_RAISE, n);
}

static void msix(void)
{
	uint64_t table, pba;
	unsigned cap = pci_find_cap(dev, PCI_CAP_MSIX, 0);
	bool ok = true;

	if (!check(cap != 0, "there is MSI-X"))
		return;
	table = pci_msix_table(dev);
	pba = pci_msix_pba(dev);
	check((pci_read16(dev, cap + 2) & 0x7ff) == N_VECTORS - 1, "of %u vectors", N_VECTORS);
	check(mmio32(table + 12) == 1, "which begin masked");
	for (unsigned i = 0; i < N_VECTORS; i++) {
		trap_handler[VEC_MSIX + i] = message;
		pci_msix_vector(dev, i, VEC_MSIX + i);
	}
	pci_msix_enable(dev, true);
	for (unsigned round = 1; round <= 3; round++) {
		for (unsigned i = 0; i < N_VECTORS; i++) {
			raise_vector(i);
			ok &= wait_hits(VEC_MSIX + i, round);
		}
	}
	check(ok, "MSI-X: every vector comes, three times");
	raise_vector(N_VECTORS);

	mmio_write32(table + 16 + 12, 1);
	raise_vector(1);
	settle();
	check(hits[VEC_MSIX + 1] == 3, "a masked one does not come");
	check(mmio32(pba) == 2, "it is pending (%x)", mmio32(pba));
	mmio_write32(table + 16 + 12, 0);
	check(wait_hits(VEC_MSIX + 1, 4), "and comes when unmasked");
	check(mmio32(pba) == 0, "nothing is pending");

	pci_write16(dev, cap + 2, 0xc000);
	raise_vector(0);
	raise_vector(3);
	settle();
	check(hits[VEC_MSIX] == 3 && hits[VEC_MSIX + 3] == 3, "function mask holds all back");
	check(mmio32(pba) == 9, "both are pending (%x)", mmio32(pba));
	pci_write16(dev, cap + 2, 0x8000);
	check(wait_hits(VEC_MSIX, 4) && wait_hits(VEC_MSIX + 3, 4), "and come afterwards");

	pci_command(dev, 0, PCI_MASTER);
	raise_vector(2);
	settle();
	check(hits[VEC_MSIX + 2] == 3, "no message without bus mastering");
	pci_command(dev, PCI_MASTER, 0);
	check(wait_hits(VEC_MSIX + 2, 4), "it comes with it");

	mmio_write32(table + 8, VEC_MSIX + 3);
	raise_vector(0);
	check(wait_hits(VEC_MSIX + 3, 5) && hits[VEC_MSIX] == 4, "a message changed while live");
	pci_msix_enable(dev, false);
	raise_vector(0);
	settle();
	check(hits[VEC_MSIX + 3] == 5, "MSI-X off");
}

static void msi(void)
{
	unsigned cap = pci_find_cap(dev, PCI_CAP_MSI, 0);

	if (!check(cap != 0, "there is MSI"))
		return;
	trap_handler[VEC_MSI] = message;
	pci_msi(dev, VEC_MSI);
	raise_vector(0);
	check(wait_hits(VEC_MSI, 1), "MSI comes");
	pci_write32(dev, cap + 16, 1);
	raise_vector(0);
	settle();
	check(hits[VEC_MSI] == 1 && pci_read32(dev, cap + 20) == 1, "masked, it is pending");
	pci_write32(dev, cap + 16, 0);
	check(wait_hits(VEC_MSI, 2) && pci_read32(dev, cap + 20) == 0, "and comes when unmasked");
	pci_msi(dev, 0);
}

/*
 * The third time is enough: then the device lowers its line. As for every
 * driver whose line is shared, what the device did not raise does not count:
 * some KVMs deliver a level once more when it has just ended.
 */
static void intx_seen(struct trap_frame *f)
{
	if (!(mmio32(regs + REG_INTX) & 1))
		not_ours++;
	else if (++hits[f->vector] % 3 == 0)
		mmio_write32(regs + REG_INTX, 0);
}

static void intx_pic(struct trap_frame *f)
{
	intx_seen(f);
	pic_eoi((unsigned)f->vector - 0x20);
}

static void intx_apic(struct trap_frame *f)
{
	intx_seen(f);
	lapic_eoi();
}

static void intx(void)
{
	unsigned irq = pci_read8(dev, PCI_IRQ_LINE), vector = 0x20 + irq;
	bool ok;

	check(pci_read8(dev, PCI_IRQ_PIN) == 1, "it has INTA#");
	if (!check(irq >= 3 && irq < 16, "at interrupt %u", irq))
		return;
	check(inb(0x4d0 + irq / 8) >> irq % 8 & 1, "which is level-triggered");

	trap_handler[vector] = intx_pic;
	lapic_write(LAPIC_LINT0, 0x700); /* ExtINT: the PICs' output comes in here */
	pic_mask((uint16_t) ~(1u << irq | 1u << 2));
	mmio_write32(regs + REG_INTX, 1);
	ok = wait_hits(vector, 3);
	check(ok, "INTx by PIC: until it is lowered (%u times)", hits[vector]);
	settle();
	check(hits[vector] == 3, "and no more");
	pci_command(dev, PCI_INTX_OFF, 0);
	mmio_write32(regs + REG_INTX, 1);
	settle();
	check(hits[vector] == 3, "the command register disables it");
	check(pci_read16(dev, PCI_STATUS) & 8, "while the status register shows it");
	pci_command(dev, 0, PCI_INTX_OFF);
	check(wait_hits(vector, 6), "and it comes when enabled");
	check(!(pci_read16(dev, PCI_STATUS) & 8), "the status register shows nothing now");

	/* PIRQ routing: off, elsewhere, and back. */
	for (unsigned n = 0; n < 4; n++)
		pci_write8(1 << 3, 0x60 + n, 0x80);
	mmio_write32(regs + REG_INTX, 1);
	settle();
	check(hits[vector] == 6, "not routed, it does not come");
	for (unsigned n = 0; n < 4; n++)
		pci_write8(1 << 3, 0x60 + n, (uint8_t)irq);
	check(wait_hits(vector, 9), "routed, it does");
	pic_mask(0xffff);
	lapic_write(LAPIC_LINT0, 0x10700);

	trap_handler[VEC_INTX] = intx_apic;
	ioapic_write(0x10 + 2 * irq + 1, 0);
	ioapic_write(0x10 + 2 * irq, 0xa000 | VEC_INTX); /* level, active low */
	mmio_write32(regs + REG_INTX, 1);
	ok = wait_hits(VEC_INTX, 3);
	check(ok, "INTx by IOAPIC: until it is lowered (%u times)", hits[VEC_INTX]);
	settle();
	check(hits[VEC_INTX] == 3 && not_ours <= 1, "and no more");
	ioapic_route(irq, 0);
}

void guest_main(void)
{
	int devfn = pci_find(0x1234, 0x7e57, 0);

	if (!check(devfn >= 0, "there is a pci-testdev"))
		return;
	dev = (unsigned)devfn;
	say("pci-testdev in slot %u\n", dev >> 3);
	lapic_init();
	config();
	check((pci_read16(dev, PCI_COMMAND) & 7) == 7, "firmware has turned decoding on");
	io_bar();
	mem_bar();
	mem64_bar();
	overlap();
	regs = pci_bar_base(dev, 1);
	intx();
	msix();
	msi();
	pci_command(dev, 0, PCI_IO | PCI_MEM);
	check(!answers(regs), "decoding off");
}
