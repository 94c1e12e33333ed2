/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The POST code port 0x80: the last byte written can be read back, by the
 * guest and, through bus_read, by a crash report.
 *
 * A kernel that delays by writing here does so tens of thousands of times, so
 * this is the cheapest handler there is: no lock, one store. vCPU threads.
 */
#include "dev.h"

#include <stdatomic.h>
#include <stdint.h>

#include "bus.h"
#include "isa.h"
#include "machine.h"

enum { POST_PORT = 0x80 };

struct post {
	struct dev dev;
	struct io_region port;
	_Atomic uint8_t code;
};

static uint64_t post_read(void *dev, uint64_t off, unsigned size)
{
	return atomic_load_explicit(&((struct post *)dev)->code, memory_order_relaxed);
}

static void post_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	atomic_store_explicit(&((struct post *)dev)->code, (uint8_t)val, memory_order_relaxed);
}

static const struct io_ops post_ops = {
	.read = post_read,
	.write = post_write,
	.min = 1,
	.max = 1,
};

static void post_reset(struct dev *d)
{
	atomic_store(&((struct post *)d)->code, 0);
}

static int post_init(struct dev *d, struct err *e)
{
	struct post *p = (struct post *)d;
	int rc = isa_map(d, &p->port, &post_ops, POST_PORT, 1, e);

	p->port.lock = NULL; /* no vCPU runs yet */
	return rc;
}

static void post_fini(struct dev *d)
{
	isa_unmap(&((struct post *)d)->port);
}

const struct dev_class isa_post_class = {
	.name = "isa-post",
	.desc = "POST code port 0x80",
	.bus = DEV_BUS_ISA,
	.internal = true,
	.size = sizeof(struct post),
	.init = post_init,
	.reset = post_reset,
	.fini = post_fini,
};
