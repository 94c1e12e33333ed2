/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI for the bare-metal guests: configuration mechanism 1, BARs, MSI-X (PCI
 * Local Bus Specification 3.0, sections 3.2.2.3.2, 6.2.5 and 6.8.2).
 */
#include "guest.h"
#include "pci.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define COMMAND 0x04
#define HEADER_TYPE 0x0e
#define BAR0 0x10
#define CAP_POINTER 0x34
#define CAP_MSIX 0x11

/* Where BARs go that nobody gave an address. */
#define IO_FIRST 0xd000
#define MEM_FIRST 0xe8000000

static uint16_t select(unsigned bdf, unsigned off)
{
	outl(CONFIG_ADDRESS, 0x80000000u | bdf << 8 | (off & 0xfc));
	return (uint16_t)(CONFIG_DATA + (off & 3));
}

uint8_t pci_read8(unsigned bdf, unsigned off)
{
	return inb(select(bdf, off));
}
uint16_t pci_read16(unsigned bdf, unsigned off)
{
	return inw(select(bdf, off));
}
uint32_t pci_read32(unsigned bdf, unsigned off)
{
	return inl(select(bdf, off));
}
void pci_write8(unsigned bdf, unsigned off, uint8_t val)
{
	outb(select(bdf, off), val);
}
void pci_write16(unsigned bdf, unsigned off, uint16_t val)
{
	outw(select(bdf, off), val);
}
void pci_write32(unsigned bdf, unsigned off, uint32_t val)
{
	outl(select(bdf, off), val);
}

int pci_find(unsigned vendor, unsigned device, unsigned nth)
{
	for (unsigned bdf = 0; bdf < 256; bdf++) {
		uint32_t id = pci_read32(bdf, 0);

		if (id == (vendor | device << 16) && !nth--)
			return (int)bdf;
		if (!(bdf & 7) && (id == 0xffffffff || !(pci_read8(bdf, HEADER_TYPE) & 0x80)))
			bdf += 7; /* no device there, or one function only */
	}
	return -1;
}

static bool bar_is_io(uint32_t low)
{
	return low & 1;
}
static bool bar_is_64(uint32_t low)
{
	return (low & 7) == 4;
}

uint64_t pci_bar_size(unsigned bdf, unsigned n)
{
	unsigned off = BAR0 + n * 4;
	uint16_t command = pci_read16(bdf, COMMAND);
	uint32_t low = pci_read32(bdf, off), high;
	uint64_t mask;

	pci_write16(bdf, COMMAND,
		    command & ~3u); /* or it would answer at the address of the probe */
	pci_write32(bdf, off, 0xffffffff);
	mask = pci_read32(bdf, off);
	pci_write32(bdf, off, low);
	if (!mask) {
		pci_write16(bdf, COMMAND, command);
		return 0;
	}
	mask = bar_is_io(low) ? (mask & ~3ull) | ~0xffffull : (mask & ~15ull) | ~0xffffffffull;
	if (bar_is_64(low)) {
		high = pci_read32(bdf, off + 4);
		pci_write32(bdf, off + 4, 0xffffffff);
		mask = (mask & 0xffffffff) | (uint64_t)pci_read32(bdf, off + 4) << 32;
		pci_write32(bdf, off + 4, high);
	}
	pci_write16(bdf, COMMAND, command);
	return -mask;
}

static uint64_t assign(unsigned bdf, unsigned off, uint32_t low, uint64_t size)
{
	static uint64_t next_io = IO_FIRST, next_mem = MEM_FIRST;
	uint64_t *next = bar_is_io(low) ? &next_io : &next_mem, at;

	at = (*next + size - 1) & -size;
	*next = at + size;
	pci_write32(bdf, off, (uint32_t)at);
	if (bar_is_64(low))
		pci_write32(bdf, off + 4, 0);
	return at;
}

uint64_t pci_bar(unsigned bdf, unsigned n)
{
	unsigned off = BAR0 + n * 4;
	uint32_t low = pci_read32(bdf, off);
	uint64_t addr = low & (bar_is_io(low) ? ~3u : ~15u), size;

	if (bar_is_64(low))
		addr |= (uint64_t)pci_read32(bdf, off + 4) << 32;
	if (!addr) {
		size = pci_bar_size(bdf, n);
		if (!size)
			return 0;
		addr = assign(bdf, off, low, size);
	}
	pci_write16(bdf, COMMAND, pci_read16(bdf, COMMAND) | 7);
	return addr;
}

unsigned pci_cap(unsigned bdf, unsigned id, unsigned after)
{
	unsigned off = pci_read8(bdf, after ? after + 1 : CAP_POINTER);

	if (!(pci_read16(bdf, 6) & 0x10))
		return 0;
	for (unsigned i = 0; i < 64 && (off & 0xfc); i++) {
		off &= 0xfc;
		if (pci_read8(bdf, off) == id)
			return off;
		off = pci_read8(bdf, off + 1);
	}
	return 0;
}

unsigned pci_msix_count(unsigned bdf)
{
	unsigned cap = pci_cap(bdf, CAP_MSIX, 0);

	return cap ? (pci_read16(bdf, cap + 2) & 0x7ffu) + 1 : 0;
}

bool pci_msix_enable(unsigned bdf, unsigned entry, unsigned vector)
{
	unsigned cap = pci_cap(bdf, CAP_MSIX, 0);
	uint32_t where;
	uint8_t *slot;

	if (entry >= pci_msix_count(bdf))
		return false;
	where = pci_read32(bdf, cap + 4);
	slot = (uint8_t *)map_phys(pci_bar(bdf, where & 7) + (where & ~7u)) + entry * 16;
	mmio_write32((uint64_t)slot + 12, 1); /* masked while it changes */
	mmio_write32((uint64_t)slot, LAPIC_BASE);
	mmio_write32((uint64_t)slot + 4, 0);
	mmio_write32((uint64_t)slot + 8, vector);
	mmio_write32((uint64_t)slot + 12, 0);
	pci_write16(bdf, cap + 2, (uint16_t)((pci_read16(bdf, cap + 2) & 0x3fff) | 0x8000));
	return true;
}

void pci_msix_disable(unsigned bdf)
{
	unsigned cap = pci_cap(bdf, CAP_MSIX, 0);

	if (cap)
		pci_write16(bdf, cap + 2, pci_read16(bdf, cap + 2) & 0x3fff);
}
