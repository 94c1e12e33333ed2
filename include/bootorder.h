/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the firmware boots from first: devices with a bootindex=, and -boot. Main
 * thread, while the machine is made.
 */
#ifndef POSADA_BOOTORDER_H
#define POSADA_BOOTORDER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct dev;
struct err;
struct machine;
struct opts;
struct pci_fn;

#define BOOTINDEX_NONE 0x7fffffffu
#define PROP_BOOTINDEX(st, field)                                                                  \
	PROP_RANGE(st, field, PROP_U32, "bootindex", "0x7fffffff", 0, 0x7fffffff,                  \
		   "place in the order of booting, 0 first")

/* -boot */
struct boot_opts {
	char *order, *once; /* letters: a floppy, c disk, d CD-ROM, n network; or NULL */
	bool menu, strict;
	bool have_wait, have_reboot;
	uint32_t splash_time, reboot_timeout; /* ms */
};

/*
 * d boots at place index (BOOTINDEX_NONE: nothing is recorded). fn: the PCI
 * function it is or hangs off, plugged by the time the machine is complete; else it is left
 * out. tail: Open Firmware's path below that, such as "disk@0,0"; static or
 * the device's. -EEXIST names both devices that want one place.
 */
int bootorder_add(struct machine *m, struct dev *d, uint32_t index, const struct pci_fn *fn,
		  const char *tail, struct err *e);
/* -boot ARG; fills b, whose strings are malloc'd. */
int bootorder_parse(struct boot_opts *b, const char *arg, struct err *e);
/* All devices are there: tells the firmware. */
int bootorder_tell(struct machine *m, const struct boot_opts *b, struct err *e);
/* Before each start of the firmware but the first: once= is over. */
void bootorder_reset(struct machine *m, const struct boot_opts *b);
/* The device goes; also when it was never added. */
void bootorder_remove(struct machine *m, const struct dev *d);

#endif
