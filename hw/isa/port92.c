/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System control port A (0x92) of the IBM PS/2: fast A20 gate and fast reset.
 * vCPU threads, under dev->lock.
 */
#include "dev.h"

#include <stdint.h>

#include "bus.h"
#include "isa.h"
#include "machine.h"

enum { PORT92 = 0x92, FAST_RESET = 0x01, A20 = 0x02 };

struct port92 {
	struct dev dev;
	struct io_region port;
	uint8_t val;
};

static uint64_t port92_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct port92 *)dev)->val;
}

static void port92_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct port92 *p = dev;
	bool reset = val & ~(uint64_t)p->val & FAST_RESET;

	p->val = (uint8_t)val;
	if (reset)
		machine_request(p->dev.m, MACHINE_RESET, 0);
}

static const struct io_ops port92_ops = {
	.read = port92_read,
	.write = port92_write,
	.min = 1,
	.max = 1,
};

static void port92_reset(struct dev *d)
{
	((struct port92 *)d)->val = A20; /* as firmware leaves it, and the gate is always open */
}

static int port92_init(struct dev *d, struct err *e)
{
	return isa_map(d, &((struct port92 *)d)->port, &port92_ops, PORT92, 1, e);
}

static void port92_fini(struct dev *d)
{
	isa_unmap(&((struct port92 *)d)->port);
}

const struct dev_class port92_class = {
	.name = "port92",
	.desc = "system control port A: fast reset",
	.bus = DEV_BUS_ISA,
	.internal = true,
	.size = sizeof(struct port92),
	.init = port92_init,
	.reset = port92_reset,
	.fini = port92_fini,
};
