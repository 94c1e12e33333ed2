/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that have a place in the order of booting: m->boot_items. Main thread. */
#ifndef POSADA_HW_BOOTINDEX_H
#define POSADA_HW_BOOTINDEX_H

#include "bootorder.h"

struct boot_item {
	struct dev *dev;
	uint32_t index;
	const struct pci_fn *fn;
	const char *tail;
	struct boot_item *next; /* ascending by index */
};

#endif
