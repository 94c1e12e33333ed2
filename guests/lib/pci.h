/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI for the bare-metal guests: configuration mechanism 1 (PCI Local Bus
 * Specification 3.0, section 3.2.2.3.2), BARs, capabilities, MSI-X. Bus 0 only;
 * bdf is bus << 8 | device << 3 | function.
 */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include <stdint.h>

uint8_t pci_read8(unsigned bdf, unsigned off);
uint16_t pci_read16(unsigned bdf, unsigned off);
uint32_t pci_read32(unsigned bdf, unsigned off);
void pci_write8(unsigned bdf, unsigned off, uint8_t val);
void pci_write16(unsigned bdf, unsigned off, uint16_t val);
void pci_write32(unsigned bdf, unsigned off, uint32_t val);

/* The nth function (from 0) with these ids; -1 when there is none. */
int pci_find(unsigned vendor, unsigned device, unsigned nth);
/*
 * Where BAR n is (a port number for an I/O BAR), 0 when there is none. Gives it an address if
 * it has none, and turns decoding and bus mastering on.
 */
uint64_t pci_bar(unsigned bdf, unsigned n);
/* Size of BAR n; 0 when there is none. */
uint64_t pci_bar_size(unsigned bdf, unsigned n);
/* The next capability with this id behind offset `after` (0: the first); 0 for none. */
unsigned pci_cap(unsigned bdf, unsigned id, unsigned after);
/* Entries of the MSI-X table; 0 without MSI-X. */
unsigned pci_msix_count(unsigned bdf);
/* Lets an entry raise an interrupt vector on CPU 0, and turns MSI-X on. False when there is no such
 * entry. */
bool pci_msix_enable(unsigned bdf, unsigned entry, unsigned vector);
/* Turns MSI-X off; INTx is in force again. */
void pci_msix_disable(unsigned bdf);

#endif
