/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes the PCI bus's place until it is there: devices that need it refuse to be made. */
#include <errno.h>

#include "err.h"
#include "pci.h"

#define WEAK __attribute__((weak))

WEAK void pci_set32(struct pci_fn *fn, unsigned off, uint32_t val)
{
}
WEAK bool pci_msix_enabled(const struct pci_fn *fn)
{
	return false;
}
WEAK void pci_notify(struct pci_fn *fn, unsigned n)
{
}
WEAK void pci_set_intx(struct pci_fn *fn, bool level)
{
}
WEAK int pci_fn_init(struct pci_fn *fn, struct dev *d, const struct pci_ident *id,
		     const struct pci_fn_ops *ops, void *ctx, struct err *e)
{
	return err_set(e, ERR_USAGE, ENODEV, "this machine has no PCI bus");
}
WEAK int pci_fn_plug(struct pci_fn *fn, struct err *e)
{
	return -ENODEV;
}
WEAK void pci_fn_unplug(struct pci_fn *fn)
{
}
WEAK void pci_fn_reset(struct pci_fn *fn)
{
}
WEAK void pci_bar_init(struct pci_fn *fn, unsigned n, unsigned flags, uint64_t size)
{
}
WEAK void pci_bar_add(struct pci_fn *fn, unsigned n, struct io_region *r, uint64_t off)
{
}
WEAK unsigned pci_add_cap(struct pci_fn *fn, uint8_t id, unsigned len)
{
	return 0x40;
}
WEAK int pci_msix_init(struct pci_fn *fn, unsigned n_vectors, unsigned n, uint64_t table_off,
		       uint64_t pba_off, struct err *e)
{
	return 0;
}
