/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What PC firmware does about PCI before it starts a kernel, for kernels that
 * are loaded without firmware: see pci_assign_resources in include/pci.h.
 * Main thread, no vCPU running; again at each reset.
 */
#include "acpi.h"
#include "gmem.h"
#include "log.h"
#include "machine.h"
#include "pci_int.h"

/* ISA interrupts of PIRQA..D. */
static const uint8_t pirq_irq[PCI_PIRQS] = { 10, 10, 11, 11 };

/* Addresses given away from the bottom up: [next, end) is free. */
struct window {
	uint64_t next, end;
};

static bool take(struct window *w, uint64_t size, uint64_t *at)
{
	*at = (w->next + size - 1) & ~(size - 1);
	if (*at < w->next || *at > w->end || w->end - *at < size)
		return false;
	w->next = *at + size;
	return true;
}

void pci_mem64_window(const struct machine *m, uint64_t *base, uint64_t *size)
{
	uint64_t limit = 1ull << m->phys_bits;
	uint64_t ram_end = GMEM_HIGH_BASE + gmem_high_size(&m->mem);

	*base = PCI_MEM64_BASE;
	*size = PCI_MEM64_SIZE;
	if (*base < ram_end)
		*base = (ram_end + *size - 1) & ~(*size - 1);
	if (*base + *size <= limit)
		return;
	/* At the top of what the CPU can address, and smaller if need be. */
	for (; *size >= 1ull << 30; *size /= 2) {
		*base = limit - *size;
		if (*size < limit && *base >= ram_end)
			return;
	}
	*base = *size = 0;
}

static void set_bar(struct machine *m, const struct pci_fn *fn, unsigned n, uint64_t at)
{
	unsigned reg = pci_bar_reg(n);

	pci_config_write(m, fn->devfn, reg, (uint32_t)at, 4);
	if (fn->bar[n].flags & PCI_BAR_64)
		pci_config_write(m, fn->devfn, reg + 4, (uint32_t)(at >> 32), 4);
}

static void place(struct machine *m, const struct pci_fn *fn, unsigned n, struct window *w,
		  struct window *more)
{
	uint64_t size = fn->bar[n].size, at;
	char name[128];

	if (take(w, size, &at) || (more && take(more, size, &at))) {
		set_bar(m, fn, n, at);
		return;
	}
	pci_fn_name(fn, name, sizeof(name));
	log_warn("%s: no PCI addresses are left for its BAR %u (%llu bytes)", name, n,
		 (unsigned long long)size);
}

/*
 * Places all BARs whose flags, of PCI_BAR_IO and PCI_BAR_64, are kind: the
 * biggest first, so that no room is lost to alignment. more: a second window, or NULL.
 */
static void place_all(struct machine *m, unsigned kind, struct window *w, struct window *more)
{
	struct pci_fn *const *fn = m->pci->fn;
	uint64_t sizes = 0;

	/* Each size is a power of two; most are not there. */
	for (unsigned i = 0; i < PCI_FNS; i++)
		for (unsigned n = 0; fn[i] && n <= PCI_BARS; n++)
			sizes |= fn[i]->bar[n].size;
	for (uint64_t size = 1ull << 63; size; size /= 2)
		for (unsigned i = 0; sizes & size && i < PCI_FNS; i++)
			for (unsigned n = 0; fn[i] && n <= PCI_BARS; n++)
				if (fn[i]->bar[n].size == size &&
				    (fn[i]->bar[n].flags & (PCI_BAR_IO | PCI_BAR_64)) == kind)
					place(m, fn[i], n, w, more);
}

static void enable(struct machine *m, struct pci_fn *fn)
{
	unsigned on =
		fn->wmask[PCI_COMMAND] & (PCI_COMMAND_IO | PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	unsigned pin = fn->cfg[PCI_INTERRUPT_PIN];

	pci_config_write(m, fn->devfn, PCI_COMMAND, fn->cfg[PCI_COMMAND] | on, 2);
	if (pin)
		pci_config_write(m, fn->devfn, PCI_INTERRUPT_LINE,
				 pirq_irq[pci_pirq(fn->devfn, pin)], 1);
	if (fn->ops && fn->ops->firmware)
		fn->ops->firmware(fn);
}

void pci_assign_resources(struct machine *m)
{
	struct window io = { PCI_IO_BASE, PCI_IO_END }, mem = { PCI_MEM_BASE, PCI_MEM_END };
	struct window mem64;
	uint16_t level = 0;
	uint64_t size;

	if (!m->pci)
		return;
	pci_mem64_window(m, &mem64.next, &size);
	mem64.end = mem64.next + size;
	place_all(m, PCI_BAR_IO, &io, NULL);
	place_all(m, PCI_BAR_MEM, &mem, NULL);
	/* Below 4 GiB as long as there is room, where kernels of every width find them. */
	place_all(m, PCI_BAR_64, &mem, &mem64);
	for (unsigned devfn = 0; devfn < PCI_FNS; devfn++)
		if (m->pci->fn[devfn])
			enable(m, m->pci->fn[devfn]);
	if (!m->pci->router)
		return;
	for (unsigned n = 0; n < PCI_PIRQS; n++) {
		level |= (uint16_t)(1u << pirq_irq[n]);
		pci_config_write(m, m->pci->router->devfn, PIIX3_ROUTE + n, pirq_irq[n], 1);
	}
	machine_set_elcr(m, level);
}

unsigned pci_irq_routes(struct machine *m, struct acpi_pci_irq *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; m->pci && i < PCI_SLOTS * 4 && n < max; i++) {
		unsigned slot = i / 4, pin = i % 4;
		bool used = false;

		for (unsigned func = 0; func < 8; func++) {
			const struct pci_fn *fn = m->pci->fn[PCI_DEVFN(slot, func)];

			used |= fn && fn->cfg[PCI_INTERRUPT_PIN] == pin + 1;
		}
		if (used)
			out[n++] = (struct acpi_pci_irq){
				.slot = (uint8_t)slot,
				.pin = (uint8_t)pin,
				.link = (uint8_t)pci_pirq(PCI_DEVFN(slot, 0), pin + 1),
				.gsi = pirq_irq[pci_pirq(PCI_DEVFN(slot, 0), pin + 1)],
			};
	}
	return n;
}
