/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa-debug-exit: a write ends the program with exit status (value << 1) | 1.
 * So a test guest can say how it went, and never says 0 by accident.
 * vCPU threads; no state but the properties.
 */
#include "dev.h"

#include <stdint.h>

#include "bus.h"
#include "isa.h"
#include "machine.h"
#include "props.h"

struct debug_exit {
	struct dev dev;
	uint32_t iobase, iosize;
	struct io_region ports;
};

static uint64_t debug_exit_read(void *dev, uint64_t off, unsigned size)
{
	return 0;
}

static void debug_exit_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct debug_exit *x = dev;

	/* An exit status is eight bits. */
	machine_request(x->dev.m, MACHINE_EXIT, (int)((val << 1 | 1) & 0xff));
}

static const struct io_ops debug_exit_ops = {
	.read = debug_exit_read,
	.write = debug_exit_write,
	.min = 1,
	.max = 4,
};

static int debug_exit_init(struct dev *d, struct err *e)
{
	struct debug_exit *x = (struct debug_exit *)d;

	return isa_map(d, &x->ports, &debug_exit_ops, x->iobase, x->iosize, e);
}

static void debug_exit_fini(struct dev *d)
{
	isa_unmap(&((struct debug_exit *)d)->ports);
}

static const struct prop debug_exit_props[] = {
	PROP_RANGE(struct debug_exit, iobase, PROP_U32, "iobase", "0x501", 0, 0xffff, "first port"),
	PROP_RANGE(struct debug_exit, iosize, PROP_U32, "iosize", "2", 1, 4, "number of ports"),
	PROP_END,
};

const struct dev_class isa_debug_exit_class = {
	.name = "isa-debug-exit",
	.desc = "a port that ends the program with status (value << 1) | 1",
	.bus = DEV_BUS_ISA,
	.size = sizeof(struct debug_exit),
	.props = debug_exit_props,
	.init = debug_exit_init,
	.fini = debug_exit_fini,
};
