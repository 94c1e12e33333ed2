/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic, by which a guest kernel says that it crashed: reading the port
 * gives the events understood, writing one reports it. Linux finds the port
 * through the ACPI device QEMU0001.
 * vCPU threads; no state but the properties.
 */
#include "dev.h"

#include <stdint.h>

#include "bus.h"
#include "isa.h"
#include "log.h"
#include "machine.h"
#include "props.h"

enum { USUAL_PORT = 0x505 };
enum { EVENT_PANICKED = 0x01, EVENT_CRASH_LOADED = 0x02 };

struct pvpanic {
	struct dev dev;
	uint32_t ioport, events;
	struct io_region port;
	struct log_limit log;
};

static uint64_t pvpanic_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct pvpanic *)dev)->events;
}

static void pvpanic_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct pvpanic *p = dev;

	if (val & ~(uint64_t)p->events)
		log_guest(&p->log, p->dev.cls->name, "unknown event in 0x%02x", (unsigned)val);
	if (val & p->events & EVENT_PANICKED)
		machine_request(p->dev.m, MACHINE_PANIC, 0);
	else if (val & p->events & EVENT_CRASH_LOADED)
		machine_request(p->dev.m, MACHINE_CRASH_LOADED, 0);
}

static const struct io_ops pvpanic_ops = {
	.read = pvpanic_read,
	.write = pvpanic_write,
	.min = 1,
	.max = 1,
};

static int pvpanic_init(struct dev *d, struct err *e)
{
	struct pvpanic *p = (struct pvpanic *)d;

	int rc;

	p->log = (struct log_limit)LOG_LIMIT_INIT;
	rc = isa_map(d, &p->port, &pvpanic_ops, p->ioport, 1, e);
	if (!rc && p->ioport == USUAL_PORT)
		d->m->pvpanic = true;
	return rc;
}

static void pvpanic_fini(struct dev *d)
{
	struct pvpanic *p = (struct pvpanic *)d;

	if (bus_mapped(&p->port) && p->ioport == USUAL_PORT)
		d->m->pvpanic = false;
	isa_unmap(&p->port);
}

static const struct prop pvpanic_props[] = {
	PROP_RANGE(struct pvpanic, ioport, PROP_U32, "ioport", "0x505", 0, 0xffff, "the port"),
	PROP_RANGE(struct pvpanic, events, PROP_U32, "events", "3", 0, 3,
		   "events offered: 1 panicked, 2 crash kernel loaded"),
	PROP_END,
};

const struct dev_class pvpanic_class = {
	.name = "pvpanic",
	.desc = "a port by which the guest says that it crashed",
	.bus = DEV_BUS_ISA,
	.size = sizeof(struct pvpanic),
	.props = pvpanic_props,
	.init = pvpanic_init,
	.fini = pvpanic_fini,
};
