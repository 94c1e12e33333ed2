/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI bus from the inside: what the files of this folder share. Devices
 * use include/pci.h.
 *
 * Lock order: config lock, then the bus's or irq_lock; irq_lock is a leaf, so
 * that devices may set their interrupts with any lock held.
 */
#ifndef POSADA_HW_PCI_INT_H
#define POSADA_HW_PCI_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "pci.h"

/* PIIX3's routing registers, of PIRQA..D. */
enum { PIIX3_ROUTE = 0x60 };
enum { PCI_FNS = 256, PCI_PIRQS = 4, PCI_NO_IRQ = 0xff };

#define PCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))
#define PCI_SLOT(devfn) ((devfn) >> 3)
#define PCI_FUNC(devfn) ((devfn)&7)

struct pci_host {
	struct machine *m;
	pthread_mutex_t lock; /* the config lock */
	uint32_t address; /* CONFIG_ADDRESS */
	struct pci_fn *fn[PCI_FNS];
	/* Who answers what is no configuration cycle at 0xcf8..0xcfb; the ISA bridge. */
	const struct io_ops *isa_ops;
	void *isa_dev;
	/* The ISA bridge, whose registers route PIRQ n; NULL: none */
	struct pci_fn *router;

	pthread_mutex_t irq_lock;
	unsigned raised[PCI_PIRQS]; /* how many functions pull PIRQ n */
	uint8_t route[PCI_PIRQS]; /* ISA interrupt of PIRQ n, or PCI_NO_IRQ */
	bool line[16]; /* what the ISA interrupts were last set to */
};

void pci_host_init(struct pci_host *h, struct machine *m);
void pci_host_fini(struct pci_host *h);

/* pci_fn_plug at a place of the board's choice. */
int pci_fn_plug_at(struct pci_fn *fn, unsigned devfn, struct err *e);

/* --- bar.c; config lock held --- */
/* Maps, moves and unmaps BARs as the configuration space now says. */
void pci_bars_update(struct pci_fn *fn);
void pci_bars_unmap(struct pci_fn *fn);
/* romfile= into the expansion ROM's BAR. */
int pci_rom_load(struct pci_fn *fn, struct err *e);
/* Registers with a BAR's address: its first one's offset in configuration space. */
static inline unsigned pci_bar_reg(unsigned n)
{
	return n == PCI_ROM_BAR ? PCI_ROM : PCI_BAR0 + 4 * n;
}

/* --- msi.c; config lock held but for free --- */
/* Lets vectors raise, or holds them back, as the configuration space and table now say. */
void pci_vectors_update(struct pci_fn *fn);
void pci_vectors_reset(struct pci_fn *fn);
void pci_vectors_free(struct pci_fn *fn);
/* Whether a configuration access touches the MSI or MSI-X capability. */
bool pci_msi_owns(const struct pci_fn *fn, unsigned off, unsigned size);
/* Brings the register up to date that shows what is pending. */
void pci_msi_refresh(struct pci_fn *fn);

/* --- intx.c; takes irq_lock --- */
/* The PIRQ that pin (1: INTA#) of a slot is wired to. */
static inline unsigned pci_pirq(unsigned devfn, unsigned pin)
{
	/* Slot 1's INTA# is PIRQA, the next slot's PIRQB...: as PC firmware expects it. */
	return (PCI_SLOT(devfn) + pin - 2) % PCI_PIRQS;
}
/* The line follows what the function wants and its configuration space allows. */
void pci_intx_update(struct pci_fn *fn);
/* PIRQ n now leads to an ISA interrupt, or to none (PCI_NO_IRQ). */
void pci_route_pirq(struct pci_host *h, unsigned n, uint8_t irq);

/* Whether an access of size bytes at off touches the register of len bytes at reg. */
static inline bool pci_overlaps(unsigned off, unsigned size, unsigned reg, unsigned len)
{
	return off < reg + len && reg < off + size;
}

/* One byte, which an interrupt function may be reading without the lock. */
static inline uint8_t pci_cfg_load(const struct pci_fn *fn, unsigned off)
{
	return __atomic_load_n(&fn->cfg[off], __ATOMIC_RELAXED);
}
static inline void pci_cfg_store(struct pci_fn *fn, unsigned off, uint8_t val)
{
	__atomic_store_n(&fn->cfg[off], val, __ATOMIC_RELAXED);
}

#endif
