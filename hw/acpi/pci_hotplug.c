/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers by which ACPI's methods (firmware/dsdt.asl) learn of PCI devices that come and are
 * to go, and let go of them: QEMU's interface, docs/specs/acpi_pci_hotplug, at port 0xae00.
 * News is a general purpose event, GPE.1. There is bus 0 alone, whose slots are bits.
 *
 * vCPU threads (registers) and the main loop (news); dev->lock guards all. Lock order: this
 * device's, then the power management device's.
 */
#include "dev.h"

#include <stdint.h>

#include "acpi.h"
#include "bus.h"
#include "log.h"
#include "machine.h"

enum { HOTPLUG_PORT = 0xae00, HOTPLUG_LEN = 0x14, HOTPLUG_GPE = 1 };
enum {
	UP = 0x00, /* slots with a new device; reading takes them */
	DOWN = 0x04, /* slots whose device is to go, until it is ejected */
	EJECT = 0x08, /* written: slots; read: features, of which there are none */
	REMOVABLE = 0x0c,
	BUS = 0x10, /* whose slots the others are about */
};

struct acpi_hotplug {
	struct dev dev;
	struct io_region ports;
	uint32_t up, down, removable, bus;
	const struct acpi_hotplug_ops *ops; /* NULL: nobody can eject anything */
	void *ctx;
	struct log_limit log;
};

static void eject(struct acpi_hotplug *h, uint32_t slots)
{
	for (unsigned slot = 0; slot < 32; slot++) {
		if (!(slots & 1u << slot))
			continue;
		if (h->ops && h->removable & 1u << slot) {
			h->down &= ~(1u << slot);
			h->ops->eject(h->ctx, slot);
		} else {
			log_guest(&h->log, h->dev.cls->name,
				  "slot %u is to be ejected, which stays where it is", slot);
		}
	}
}

static uint64_t ports_read(void *dev, uint64_t off, unsigned size)
{
	struct acpi_hotplug *h = dev;
	uint32_t val = 0;

	if (off == BUS)
		return h->bus;
	if (h->bus)
		return 0;
	switch (off) {
	case UP:
		val = h->up;
		h->up = 0;
		break;
	case DOWN:
		val = h->down;
		break;
	case REMOVABLE:
		val = h->removable;
		break;
	}
	return val;
}

static void ports_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct acpi_hotplug *h = dev;

	if (off == BUS)
		h->bus = (uint32_t)val;
	else if (off == EJECT && !h->bus)
		eject(h, (uint32_t)val);
}

static const struct io_ops ports_ops = {
	.read = ports_read,
	.write = ports_write,
	.min = 4,
	.max = 4,
};

/* --- for who plugs ------------------------------------------------------------------------ */

void acpi_hotplug_listen(struct machine *m, const struct acpi_hotplug_ops *ops, void *ctx)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)m->acpi_hotplug;

	pthread_mutex_lock(&h->dev.lock);
	h->ops = ops;
	h->ctx = ctx;
	pthread_mutex_unlock(&h->dev.lock);
}

void acpi_hotplug_removable(struct machine *m, unsigned slot, bool removable)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)m->acpi_hotplug;

	pthread_mutex_lock(&h->dev.lock);
	if (removable)
		h->removable |= 1u << slot;
	else
		h->removable &= ~(1u << slot);
	pthread_mutex_unlock(&h->dev.lock);
}

void acpi_hotplug_tell(struct machine *m, unsigned slot, bool comes)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)m->acpi_hotplug;

	pthread_mutex_lock(&h->dev.lock);
	if (comes)
		h->up |= 1u << slot;
	else
		h->down |= 1u << slot;
	acpi_gpe_raise(m, HOTPLUG_GPE);
	pthread_mutex_unlock(&h->dev.lock);
}

/* --- life ---------------------------------------------------------------------------------- */

/* Which devices are there is seen by looking: there is no news. */
static void hotplug_reset(struct dev *d)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)d;

	h->up = h->down = h->bus = 0;
}

static int hotplug_init(struct dev *d, struct err *e)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)d;

	h->log = (struct log_limit)LOG_LIMIT_INIT;
	h->ports = (struct io_region){ .name = "acpi-pci-hotplug",
				       .ops = &ports_ops,
				       .dev = h,
				       .lock = &d->lock,
				       .size = HOTPLUG_LEN };
	bus_map(&d->m->pio, &h->ports, HOTPLUG_PORT);
	d->m->acpi_hotplug = d;
	return 0;
}

static void hotplug_fini(struct dev *d)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)d;

	if (d->m->acpi_hotplug == d)
		d->m->acpi_hotplug = NULL;
	if (bus_mapped(&h->ports))
		bus_unmap(&h->ports);
}

const struct dev_class acpi_pci_hotplug_class = {
	.name = "acpi-pci-hotplug",
	.desc = "ACPI's registers for PCI devices that come and go",
	.bus = DEV_BUS_SYSTEM,
	.internal = true,
	.size = sizeof(struct acpi_hotplug),
	.init = hotplug_init,
	.reset = hotplug_reset,
	.fini = hotplug_fini,
};
