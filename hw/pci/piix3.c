/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ISA bridge, as Intel's 82371SB (PIIX3) shows itself: function 0 of slot 1,
 * with the registers that route PIRQA..D to ISA interrupts, and the reset control
 * register at port 0xcf9. (ELCR, at ports 0x4d0 and 0x4d1, is in KVM's PICs.)
 * vCPU threads; dev->lock guards routing, the config lock the reset register.
 */
#include "dev.h"

#include "acpi.h"
#include "bus.h"
#include "machine.h"
#include "pci_int.h"

/* PIRQ route control: bit 7 disables, bits 3..0 are the interrupt. */
enum { ROUTE_OFF = 0x80, ROUTE_IRQ = 0x0f };
/* Interrupts that PIRQs can be routed to; the others are the board's own. */
#define ROUTABLE 0xdef8u

enum { RESET_CPU = 0x04, RESET_KEPT = 0x0a };
/* In the dword at 0xcf8. */
#define RESET_OFFSET (ACPI_RESET_PORT & 3)

struct piix3 {
	struct dev dev;
	struct pci_fn fn;
	uint8_t reset_val;
};

/*
 * Bits 1 (hard) and 3 (full) choose the kind of reset, all alike here; bit 2
 * carries it out. Accesses of more than a byte are not for this register.
 */
static uint64_t reset_read(void *dev, uint64_t off, unsigned size)
{
	return off == RESET_OFFSET ? ((struct piix3 *)dev)->reset_val : UINT64_MAX;
}

static void reset_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct piix3 *p = dev;

	if (off != RESET_OFFSET)
		return;
	p->reset_val = val & RESET_KEPT;
	if (val & RESET_CPU)
		machine_request(p->dev.m, MACHINE_RESET, 0);
}

static const struct io_ops reset_ops = { .read = reset_read, .write = reset_write };

/* dev->lock held. */
static void route(struct piix3 *p)
{
	for (unsigned n = 0; n < PCI_PIRQS; n++) {
		uint8_t val = pci_cfg_load(&p->fn, PIIX3_ROUTE + n), irq = val & ROUTE_IRQ;
		bool on = !(val & ROUTE_OFF) && ROUTABLE & 1u << irq;

		pci_route_pirq(p->fn.host, n, on ? irq : PCI_NO_IRQ);
	}
}

static void cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct piix3 *p = fn->ctx;

	if (!pci_overlaps(off, size, PIIX3_ROUTE, PCI_PIRQS))
		return;
	pthread_mutex_lock(&p->dev.lock);
	route(p);
	pthread_mutex_unlock(&p->dev.lock);
}

static const struct pci_fn_ops fn_ops = { .cfg_written = cfg_written };

static void piix3_reset(struct dev *d)
{
	struct piix3 *p = (struct piix3 *)d;

	pci_fn_reset(&p->fn);
	pci_set32(&p->fn, PIIX3_ROUTE, ROUTE_OFF * 0x01010101u);
	route(p);
	p->reset_val = 0;
}

static int piix3_init(struct dev *d, struct err *e)
{
	static const struct pci_ident ident = {
		.vendor = 0x8086,
		.device = 0x7000,
		.class_code = 0x060100,
	};
	struct piix3 *p = (struct piix3 *)d;
	int rc;

	p->fn.multifunction = true; /* for the IDE and USB controllers of a PIIX3 */
	rc = pci_fn_init(&p->fn, d, &ident, &fn_ops, p, e);
	rc = rc ? rc : pci_fn_plug_at(&p->fn, PCI_DEVFN(1, 0), e);
	if (rc)
		return rc;
	/* It always answers for I/O and memory and masters the bus; its timing is "medium". */
	pci_set16(&p->fn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	p->fn.wmask[PCI_COMMAND] = 0;
	pci_set16(&p->fn, PCI_STATUS, 0x0200);
	for (unsigned n = 0; n < PCI_PIRQS; n++)
		p->fn.wmask[PIIX3_ROUTE + n] = ROUTE_OFF | ROUTE_IRQ;
	p->fn.host->router = &p->fn;
	p->fn.host->isa_ops = &reset_ops;
	p->fn.host->isa_dev = p;
	return 0;
}

static void piix3_fini(struct dev *d)
{
	struct piix3 *p = (struct piix3 *)d;

	if (p->fn.host) {
		p->fn.host->router = NULL;
		p->fn.host->isa_ops = NULL;
	}
	pci_fn_unplug(&p->fn);
}

const struct dev_class piix3_class = {
	.name = "piix3",
	.desc = "PCI to ISA bridge (Intel 82371SB)",
	.bus = DEV_BUS_PCI,
	.internal = true,
	.size = sizeof(struct piix3),
	.init = piix3_init,
	.reset = piix3_reset,
	.fini = piix3_fini,
};
