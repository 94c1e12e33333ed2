/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the ISA devices share at set-up. Main thread. */
#ifndef POSADA_HW_ISA_H
#define POSADA_HW_ISA_H

#include <stdint.h>

struct chardev_client;
struct chardev_port;
struct dev;
struct err;
struct io_ops;
struct io_region;

#define ISA_PORTS 0x10000u /* size of the I/O address space */

/*
 * Maps `size` ports from base; the handlers run with d as their argument and
 * d->lock held. -EINVAL when they do not fit, -EBUSY when a device is there already.
 */
int isa_map(struct dev *d, struct io_region *r, const struct io_ops *ops, uint32_t base,
	    uint32_t size, struct err *e);
void isa_unmap(struct io_region *r);

/* Attaches d to the chardev called id; *out stays NULL when id is NULL. */
int isa_attach(struct dev *d, const char *id, const struct chardev_client *client,
	       struct chardev_port **out, struct err *e);

#endif
