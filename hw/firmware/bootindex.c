/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bootindex=: devices say their place in the order of booting, which bootorder.c tells
 * the firmware. See include/bootorder.h. Main thread.
 */
#include "bootindex.h"

#include <errno.h>
#include <stdlib.h>

#include "dev.h"
#include "err.h"
#include "machine.h"

static const char *name_of(const struct dev *d)
{
	return d->id ? d->id : d->cls->name;
}

int bootorder_add(struct machine *m, struct dev *d, uint32_t index, const struct pci_fn *fn,
		  const char *tail, struct err *e)
{
	struct boot_item **at = &m->boot_items, *item;

	if (index == BOOTINDEX_NONE)
		return 0;
	while (*at && (*at)->index < index)
		at = &(*at)->next;
	if (*at && (*at)->index == index) {
		err_set(e, ERR_USAGE, EEXIST, "bootindex=%u: %s has that place already", index,
			name_of((*at)->dev));
		err_hint(e, "give each device a bootindex of its own");
		return -EEXIST;
	}
	item = malloc(sizeof(*item));
	if (!item)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	*item = (struct boot_item){ d, index, fn, tail, *at };
	*at = item;
	return 0;
}

void bootorder_remove(struct machine *m, const struct dev *d)
{
	struct boot_item **at = &m->boot_items;

	while (*at) {
		struct boot_item *item = *at;

		if (item->dev != d) {
			at = &item->next;
			continue;
		}
		*at = item->next;
		free(item);
	}
}
