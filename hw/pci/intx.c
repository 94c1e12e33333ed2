/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INTA# .. INTD#: from a function's pin over the board's wires to a PIRQ input of
 * the ISA bridge, and from there to the ISA interrupt it is routed to (Intel
 * 82371SB data sheet, "Interrupt Steering"). Any thread.
 */
#include "machine.h"
#include "pci_int.h"

/* irq_lock held. Level-triggered inputs are shared: each is high while anyone pulls it. */
static void update_lines(struct pci_host *h)
{
	for (unsigned irq = 0; irq < 16; irq++) {
		bool level = false;

		for (unsigned n = 0; n < PCI_PIRQS; n++)
			level |= h->route[n] == irq && h->raised[n];
		if (level == h->line[irq])
			continue;
		h->line[irq] = level;
		irq_set(&h->m->isa_irq[irq], level);
	}
}

void pci_intx_update(struct pci_fn *fn)
{
	struct pci_host *h = fn->host;
	unsigned pin = pci_cfg_load(fn, PCI_INTERRUPT_PIN), n;
	bool level;

	if (!h || !pin)
		return;
	n = pci_pirq(fn->devfn, pin);
	pthread_mutex_lock(&h->irq_lock);
	level = atomic_load(&fn->intx_level) && !pci_msi_enabled(fn) && !pci_msix_enabled(fn) &&
		!(pci_cfg_load(fn, PCI_COMMAND + 1) & PCI_COMMAND_INTX_OFF >> 8);
	if (level != fn->intx_out) {
		fn->intx_out = level;
		if (level)
			h->raised[n]++;
		else
			h->raised[n]--;
		update_lines(h);
	}
	pthread_mutex_unlock(&h->irq_lock);
}

void pci_set_intx(struct pci_fn *fn, bool level)
{
	atomic_store(&fn->intx_level, level);
	pci_intx_update(fn);
}

void pci_route_pirq(struct pci_host *h, unsigned n, uint8_t irq)
{
	pthread_mutex_lock(&h->irq_lock);
	h->route[n] = irq;
	update_lines(h);
	pthread_mutex_unlock(&h->irq_lock);
}
