/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device classes and devices. A device is one file with one `struct dev_class`
 * and one line in hw/devices.c.
 *
 * Locking: dev->lock guards a device's registers. The bus takes it around
 * register handlers (set region->lock = &dev->lock); callbacks from the loop,
 * timers and chardevs take it themselves. Lock order: device lock, then a
 * backend's lock, then the bus's. irq_set, chardev_write, loop_timer_* and
 * machine_request may be called with the device lock held; loop_call may not.
 */
#ifndef POSADA_DEV_H
#define POSADA_DEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct err;
struct machine;
struct prop;
struct dev;

enum dev_bus {
	DEV_BUS_ISA,
	DEV_BUS_PCI,
	DEV_BUS_MMIO,
	DEV_BUS_SYSTEM,
	DEV_BUS_VIRTIO_SERIAL,
	DEV_BUS_IDE,
};

struct dev_class {
	const char *name; /* as in -device NAME */
	const char *alias; /* another name people know, or NULL */
	const char *desc; /* one line for -device help */
	enum dev_bus bus;
	bool internal; /* the machine makes it; not for -device */
	size_t size; /* of the device's struct, which begins with struct dev */
	const struct prop *props; /* NULL: none */
	const struct prop *bus_props; /* those of its bus or transport, the same struct; or NULL */
	const void *type; /* struct virtio_type of a virtio device */
	int (*init)(struct dev *d,
		    struct err *e); /* props are set; maps regions, attaches backends */
	void (*reset)(struct dev *d); /* to power-on state; vCPUs are stopped; may be NULL */
	void (*fini)(struct dev *d); /* accepts a half-made device; may be NULL */
};

struct dev {
	const struct dev_class *cls;
	char *id; /* from id=, or NULL */
	struct machine *m;
	pthread_mutex_t lock;
	struct dev *next;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* The table in hw/devices.c, NULL-ended. */
extern const struct dev_class *const dev_classes[];

/* By name or alias; NULL when unknown. */
const struct dev_class *dev_class_find(const char *name);
/* -EINVAL with the nearest device's name. */
int dev_unknown(const char *name, struct err *e);

#endif
