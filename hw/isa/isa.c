/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the ISA devices share at set-up: see isa.h. Main thread. */
#include "isa.h"

#include <errno.h>

#include "bus.h"
#include "chardev.h"
#include "dev.h"
#include "err.h"
#include "machine.h"

int isa_map(struct dev *d, struct io_region *r, const struct io_ops *ops, uint32_t base,
	    uint32_t size, struct err *e)
{
	const char *name = d->cls->name;

	if (base > ISA_PORTS - size) {
		err_set(e, ERR_USAGE, EINVAL, "%s: %u ports do not fit at I/O port 0x%x", name,
			size, base);
		err_hint(e, "the highest place for them is 0x%x", ISA_PORTS - size);
		return -EINVAL;
	}
	for (uint32_t port = base; port < base + size; port++) {
		const struct io_region *other = bus_find(&d->m->pio, port);

		if (!other)
			continue;
		err_set(e, ERR_USAGE, EBUSY, "%s: I/O port 0x%x is taken by %s", name, port,
			other->name);
		err_hint(e, "'-device %s,help' shows how to choose another port", name);
		return -EBUSY;
	}
	r->name = name;
	r->ops = ops;
	r->dev = d;
	r->lock = &d->lock;
	r->size = size;
	bus_map(&d->m->pio, r, base);
	return 0;
}

void isa_unmap(struct io_region *r)
{
	if (bus_mapped(r))
		bus_unmap(r);
}

int isa_attach(struct dev *d, const char *id, const struct chardev_client *client,
	       struct chardev_port **out, struct err *e)
{
	struct chardev *c;
	int rc;

	*out = NULL;
	if (!id)
		return 0;
	c = chardev_find(d->m->chardevs, id);
	if (!c) {
		err_set(e, ERR_USAGE, ENOENT, "%s: chardev=%s: there is no such chardev",
			d->cls->name, id);
		err_hint(e, "add -chardev BACKEND,id=%s", id);
		return -ENOENT;
	}
	rc = chardev_attach(c, client, d, out, e);
	if (rc)
		err_prefix(e, "%s: chardev=%s: ", d->cls->name, id);
	return rc;
}
