/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI for bare-metal guests: configuration mechanism 1, BARs, MSI and MSI-X
 * (PCI Local Bus Specification 3.0). A function is named by devfn, slot << 3 | function.
 */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include "guest.h"

/* clang-format off */
enum pci_reg {
	PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06,
	PCI_REVISION = 0x08, PCI_CLASS = 0x0a, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c, PCI_SUBSYSTEM = 0x2e, PCI_ROM = 0x30,
	PCI_CAPS = 0x34, PCI_IRQ_LINE = 0x3c, PCI_IRQ_PIN = 0x3d
};
/* clang-format on */

/* Bits of PCI_COMMAND. */
#define PCI_IO 0x0001
#define PCI_MEM 0x0002
#define PCI_MASTER 0x0004
#define PCI_INTX_OFF 0x0400

#define PCI_CAP_MSI 0x05
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX 0x11

uint8_t pci_read8(unsigned devfn, unsigned off);
uint16_t pci_read16(unsigned devfn, unsigned off);
uint32_t pci_read32(unsigned devfn, unsigned off);
void pci_write8(unsigned devfn, unsigned off, uint8_t v);
void pci_write16(unsigned devfn, unsigned off, uint16_t v);
void pci_write32(unsigned devfn, unsigned off, uint32_t v);

/* The nth (from 0) function with these ids, or -1. */
int pci_find(uint16_t vendor, uint16_t device, unsigned nth);
/* The first capability with this id behind `after` (0: from the start), or 0. */
unsigned pci_find_cap(unsigned devfn, uint8_t id, unsigned after);
void pci_command(unsigned devfn, uint16_t set, uint16_t clear);

struct pci_bar {
	uint64_t base, size; /* size 0: there is none */
	bool io, is64, prefetch;
};

/* BAR n (0..5; 6 is the ROM's); decoding is off while its size is found out. */
struct pci_bar pci_bar(unsigned devfn, unsigned n);
/* Its address alone, without finding out the size. */
uint64_t pci_bar_base(unsigned devfn, unsigned n);
void pci_bar_move(unsigned devfn, unsigned n, uint64_t base);
/*
 * The address of BAR n ready for use: one is given to it if it has none, and decoding and
 * bus mastering are turned on. 0: there is no such BAR.
 */
uint64_t pci_bar_open(unsigned devfn, unsigned n);

/* A message that raises a vector on CPU 0: fixed, edge-triggered. */
#define MSI_ADDR 0xfee00000u
#define MSI_DATA(vector) ((uint32_t)(vector))

/* MSI's one message; vector 0 turns it off. */
void pci_msi(unsigned devfn, unsigned vector);
/* Entries of the MSI-X table; 0 without MSI-X. */
unsigned pci_msix_count(unsigned devfn);
/* MSI-X as a whole, and one of its vectors. vector 0 masks it. */
void pci_msix_enable(unsigned devfn, bool on);
void pci_msix_vector(unsigned devfn, unsigned n, unsigned vector);
/* The physical addresses of the table and the pending bits; 0 without MSI-X. */
uint64_t pci_msix_table(unsigned devfn);
uint64_t pci_msix_pba(unsigned devfn);

#endif
