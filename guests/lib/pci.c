/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI for bare-metal guests: see pci.h. */
#include "pci.h"

static uint16_t select(unsigned devfn, unsigned off)
{
	outl(0xcf8, 0x80000000u | devfn << 8 | (off & 0xfc));
	return (uint16_t)(0xcfc + (off & 3));
}

uint8_t pci_read8(unsigned devfn, unsigned off)
{
	return inb(select(devfn, off));
}

uint16_t pci_read16(unsigned devfn, unsigned off)
{
	return inw(select(devfn, off));
}

uint32_t pci_read32(unsigned devfn, unsigned off)
{
	return inl(select(devfn, off));
}

void pci_write8(unsigned devfn, unsigned off, uint8_t v)
{
	outb(select(devfn, off), v);
}

void pci_write16(unsigned devfn, unsigned off, uint16_t v)
{
	outw(select(devfn, off), v);
}

void pci_write32(unsigned devfn, unsigned off, uint32_t v)
{
	outl(select(devfn, off), v);
}

int pci_find(uint16_t vendor, uint16_t device, unsigned nth)
{
	for (unsigned devfn = 0; devfn < 256; devfn++) {
		/* Functions 1 to 7 are there only where function 0 says so. */
		if ((devfn & 7) && !(pci_read8(devfn & ~7u, PCI_HEADER_TYPE) & 0x80))
			continue;
		if (pci_read32(devfn, PCI_VENDOR) == (vendor | (uint32_t)device << 16) && !nth--)
			return (int)devfn;
	}
	return -1;
}

unsigned pci_find_cap(unsigned devfn, uint8_t id, unsigned after)
{
	unsigned off;

	if (!(pci_read16(devfn, PCI_STATUS) & 0x10))
		return 0;
	off = pci_read8(devfn, after ? after + 1 : PCI_CAPS);
	/* No list is longer than the space it lies in: a bad one may be a circle. */
	for (unsigned i = 0; off && i < 48; i++) {
		if (pci_read8(devfn, off) == id)
			return off;
		off = pci_read8(devfn, off + 1);
	}
	return 0;
}

void pci_command(unsigned devfn, uint16_t set, uint16_t clear)
{
	pci_write16(devfn, PCI_COMMAND,
		    (uint16_t)((pci_read16(devfn, PCI_COMMAND) | set) & ~clear));
}

static unsigned bar_reg(unsigned n)
{
	return n == 6 ? PCI_ROM : PCI_BAR0 + 4 * n;
}

static uint64_t bar_flags(unsigned n, uint32_t val)
{
	return n == 6 ? 0x7ff : val & 1 ? 3 : 15;
}

static bool bar_is64(unsigned n, uint32_t val)
{
	return n < 5 && (val & 7) == 4;
}

uint64_t pci_bar_base(unsigned devfn, unsigned n)
{
	uint32_t lo = pci_read32(devfn, bar_reg(n));
	uint64_t hi = bar_is64(n, lo) ? pci_read32(devfn, bar_reg(n) + 4) : 0;

	return (hi << 32 | lo) & ~bar_flags(n, lo);
}

struct pci_bar pci_bar(unsigned devfn, unsigned n)
{
	unsigned reg = bar_reg(n);
	uint16_t command = pci_read16(devfn, PCI_COMMAND);
	uint32_t lo = pci_read32(devfn, reg), hi = 0;
	uint64_t mask;
	struct pci_bar b = {
		.base = pci_bar_base(devfn, n),
		.io = n < 6 && lo & 1,
		.is64 = bar_is64(n, lo),
		.prefetch = n < 6 && !(lo & 1) && lo & 8,
	};

	pci_write16(devfn, PCI_COMMAND, command & (uint16_t) ~(PCI_IO | PCI_MEM));
	pci_write32(devfn, reg, n == 6 ? 0xfffff800 : 0xffffffff);
	mask = pci_read32(devfn, reg) & ~bar_flags(n, lo);
	pci_write32(devfn, reg, lo);
	if (b.is64) {
		hi = pci_read32(devfn, reg + 4);
		pci_write32(devfn, reg + 4, 0xffffffff);
		mask |= (uint64_t)pci_read32(devfn, reg + 4) << 32;
		pci_write32(devfn, reg + 4, hi);
	} else if (mask) {
		mask |= ~0ull << 32;
	}
	pci_write16(devfn, PCI_COMMAND, command);
	b.size = mask ? ~mask + 1 : 0;
	return b;
}

void pci_bar_move(unsigned devfn, unsigned n, uint64_t base)
{
	uint32_t lo = pci_read32(devfn, bar_reg(n));

	pci_write32(devfn, bar_reg(n), (uint32_t)base | (uint32_t)(lo & bar_flags(n, lo)));
	if (bar_is64(n, lo))
		pci_write32(devfn, bar_reg(n) + 4, (uint32_t)(base >> 32));
}

uint64_t pci_bar_open(unsigned devfn, unsigned n)
{
	/* Out of the way of what boards and firmware give out. */
	static uint64_t next_io = 0xd000, next_mem = 0xe8000000;
	uint64_t base = pci_bar_base(devfn, n), *next;
	struct pci_bar b;

	if (!base) {
		b = pci_bar(devfn, n);
		if (!b.size)
			return 0;
		next = b.io ? &next_io : &next_mem;
		base = (*next + b.size - 1) & -b.size;
		*next = base + b.size;
		pci_bar_move(devfn, n, base);
	}
	pci_command(devfn, PCI_IO | PCI_MEM | PCI_MASTER, 0);
	return base;
}

void pci_msi(unsigned devfn, unsigned vector)
{
	unsigned cap = pci_find_cap(devfn, PCI_CAP_MSI, 0);
	uint16_t ctl = pci_read16(devfn, cap + 2);

	if (vector) {
		pci_write32(devfn, cap + 4, MSI_ADDR);
		if (ctl & 0x80)
			pci_write32(devfn, cap + 8, 0);
		pci_write16(devfn, cap + (ctl & 0x80 ? 12 : 8), (uint16_t)MSI_DATA(vector));
	}
	pci_write16(devfn, cap + 2, (uint16_t)(vector ? ctl | 1 : ctl & ~1));
}

static uint64_t msix_area(unsigned devfn, unsigned reg)
{
	unsigned cap = pci_find_cap(devfn, PCI_CAP_MSIX, 0);
	uint32_t at;

	if (!cap)
		return 0;
	at = pci_read32(devfn, cap + reg);
	return pci_bar_base(devfn, at & 7) + (at & ~7u);
}

uint64_t pci_msix_table(unsigned devfn)
{
	return msix_area(devfn, 4);
}

uint64_t pci_msix_pba(unsigned devfn)
{
	return msix_area(devfn, 8);
}

unsigned pci_msix_count(unsigned devfn)
{
	unsigned cap = pci_find_cap(devfn, PCI_CAP_MSIX, 0);

	return cap ? (pci_read16(devfn, cap + 2) & 0x7ffu) + 1 : 0;
}

void pci_msix_enable(unsigned devfn, bool on)
{
	unsigned cap = pci_find_cap(devfn, PCI_CAP_MSIX, 0);
	uint16_t ctl = pci_read16(devfn, cap + 2) & (uint16_t)~0xc000;

	pci_write16(devfn, cap + 2, (uint16_t)(on ? ctl | 0x8000 : ctl));
}

void pci_msix_vector(unsigned devfn, unsigned n, unsigned vector)
{
	uint64_t entry = (uint64_t)map_phys(pci_msix_table(devfn)) + 16 * n;

	mmio_write32(entry + 12, 1); /* masked while it changes */
	if (!vector)
		return;
	mmio_write32(entry, MSI_ADDR);
	mmio_write32(entry + 4, 0);
	mmio_write32(entry + 8, MSI_DATA(vector));
	mmio_write32(entry + 12, 0);
}
