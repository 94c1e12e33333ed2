/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The debug console: bytes written to a port go to a chardev, and reading the
 * port gives a value by which a guest sees that it is there. Port 0xe9 is
 * Bochs's, 0x402 SeaBIOS's.
 *
 * vCPU threads and the main loop (chardev); dev->lock guards everything.
 */
#include "dev.h"

#include <stdint.h>
#include <string.h>

#include "bus.h"
#include "chardev.h"
#include "isa.h"
#include "log.h"
#include "machine.h"
#include "props.h"

/* The port has no way to say "wait", so what the chardev does not take waits here. */
#define BACKLOG 4096u

struct debugcon {
	struct dev dev;
	/* properties */
	char *chardev;
	uint32_t iobase, iobase2, readback;

	struct io_region port, port2;
	struct chardev_port *chardev_port;
	uint8_t backlog[BACKLOG];
	unsigned n;
	struct log_limit log;
};

static uint64_t debugcon_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct debugcon *)dev)->readback;
}

static void debugcon_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct debugcon *c = dev;
	uint8_t byte = (uint8_t)val;

	if (!c->n && chardev_write(c->chardev_port, &byte, 1) == 1)
		return;
	if (c->n < BACKLOG)
		c->backlog[c->n++] = byte;
	else
		log_guest(&c->log, c->dev.cls->name, "output lost: the chardev does not take it");
}

static const struct io_ops debugcon_ops = {
	.read = debugcon_read,
	.write = debugcon_write,
	.min = 1,
	.max = 1,
};

static void drain(struct debugcon *c)
{
	size_t done = c->n ? chardev_write(c->chardev_port, c->backlog, c->n) : 0;

	c->n -= (unsigned)done;
	memmove(c->backlog, c->backlog + done, c->n);
}

static void debugcon_writable(void *ctx)
{
	struct debugcon *c = ctx;

	pthread_mutex_lock(&c->dev.lock);
	drain(c);
	pthread_mutex_unlock(&c->dev.lock);
}

/* Output only. */
static size_t debugcon_can_read(void *ctx)
{
	return 0;
}

static void debugcon_input(void *ctx, const uint8_t *buf, size_t len)
{
}

static const struct chardev_client debugcon_client = {
	.can_read = debugcon_can_read,
	.read = debugcon_input,
	.writable = debugcon_writable,
};

static int debugcon_init(struct dev *d, struct err *e)
{
	struct debugcon *c = (struct debugcon *)d;
	int rc;

	c->log = (struct log_limit)LOG_LIMIT_INIT;
	rc = isa_attach(d, c->chardev, &debugcon_client, &c->chardev_port, e);
	if (!rc)
		rc = isa_map(d, &c->port, &debugcon_ops, c->iobase, 1, e);
	if (!rc && c->iobase2)
		rc = isa_map(d, &c->port2, &debugcon_ops, c->iobase2, 1, e);
	return rc;
}

static void debugcon_fini(struct dev *d)
{
	struct debugcon *c = (struct debugcon *)d;

	isa_unmap(&c->port);
	isa_unmap(&c->port2);
	drain(c);
	if (c->chardev_port)
		chardev_detach(c->chardev_port);
}

static const struct prop debugcon_props[] = {
	PROP(struct debugcon, chardev, PROP_CHARDEV, "chardev", NULL, "where the bytes go to"),
	PROP_RANGE(struct debugcon, iobase, PROP_U32, "iobase", "0xe9", 0, 0xffff, "the port"),
	PROP_RANGE(struct debugcon, iobase2, PROP_U32, "iobase2", NULL, 0, 0xffff,
		   "a second port that does the same, e.g. 0x402"),
	PROP_RANGE(struct debugcon, readback, PROP_U32, "readback", "0xe9", 0, 0xff,
		   "what reading the port gives"),
	PROP_END,
};

const struct dev_class isa_debugcon_class = {
	.name = "isa-debugcon",
	.desc = "debug console: a port whose bytes go to a chardev",
	.bus = DEV_BUS_ISA,
	.size = sizeof(struct debugcon),
	.props = debugcon_props,
	.init = debugcon_init,
	.fini = debugcon_fini,
};
