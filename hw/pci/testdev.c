/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci-testdev: a PCI function with one of everything, for tests and for
 * learning how PCI is driven. Vendor 1234, device 7e57.
 *
 *   BAR 0   I/O, 32 ports: registers
 *   BAR 1   32-bit memory, 4 KiB: the same registers
 *   BAR 2   64-bit prefetchable memory, mem64= bytes: 4 KiB of memory at its
 *           start, and the same 4 KiB at its end
 *   BAR 4   32-bit memory: MSI-X table at 0, pending bits behind it
 *
 * Registers, 32 bits each (narrower accesses work too):
 *   0x00    read: 0x50434954
 *   0x04    write n: raises vector n of MSI-X, or MSI's one when n is 0
 *   0x08    bit 0: INTA# is raised
 *   0x0c .. 0x1c   scratch: keep what is written
 *
 * vCPU threads; dev->lock guards everything.
 */
#include "dev.h"

#include <errno.h>
#include <string.h>

#include "bus.h"
#include "err.h"
#include "machine.h"
#include "pci.h"
#include "props.h"

#define IDENTITY 0x50434954u
#define MEM_SIZE 4096u
#define MAX_VECTORS 2048u

enum { REG_ID = 0x00, REG_RAISE = 0x04, REG_INTX = 0x08, REG_SCRATCH = 0x0c, REGS_LEN = 0x20 };
enum { BAR_IO = 0, BAR_MEM = 1, BAR_MEM64 = 2, BAR_MSIX = 4 };

struct testdev {
	struct dev dev;
	/* properties */
	uint64_t mem64;
	uint32_t vectors;
	bool msi;

	struct pci_fn fn;
	struct io_region io, regs, start, end;
	uint32_t reg[REGS_LEN / 4];
	uint8_t mem[MEM_SIZE];
};

/* --- registers ---------------------------------------------------------------------- */

static uint64_t regs_read(void *dev, uint64_t off, unsigned size)
{
	const struct testdev *t = dev;

	/* Scratch registers and INTX read back; RAISE reads 0. */
	if (off >= REGS_LEN)
		return 0;
	return off == REG_ID ? IDENTITY : t->reg[off / 4];
}

static void regs_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct testdev *t = dev;

	if (off == REG_RAISE) {
		pci_notify(&t->fn, (unsigned)val);
	} else if (off == REG_INTX) {
		t->reg[off / 4] = val & 1;
		pci_set_intx(&t->fn, val & 1);
	} else if (off >= REG_SCRATCH && off < REGS_LEN) {
		t->reg[off / 4] = (uint32_t)val;
	}
}

static const struct io_ops regs_ops = {
	.read = regs_read,
	.write = regs_write,
	.min = 4,
	.max = 4,
};

/* --- memory ------------------------------------------------------------------------- */

static uint64_t mem_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	memcpy(&val, ((struct testdev *)dev)->mem + off, size);
	return val;
}

static void mem_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	memcpy(((struct testdev *)dev)->mem + off, &val, size);
}

static const struct io_ops mem_ops = {
	.read = mem_read,
	.write = mem_write,
	.min = 1,
	.max = 8,
};

/* --- life --------------------------------------------------------------------------- */

static void add_region(struct testdev *t, struct io_region *r, unsigned bar, uint64_t off,
		       const struct io_ops *ops, uint64_t size)
{
	r->name = t->dev.cls->name;
	r->ops = ops;
	r->dev = t;
	r->lock = &t->dev.lock;
	r->size = size;
	pci_bar_add(&t->fn, bar, r, off);
}

static int add_bars(struct testdev *t, struct err *e)
{
	uint64_t table = 16 * (uint64_t)t->vectors, size = MEM_SIZE;

	if (t->mem64 < 2 * MEM_SIZE || t->mem64 & (t->mem64 - 1)) {
		err_set(e, ERR_USAGE, EINVAL, "mem64=%llu: not a power of two of 8K or more",
			(unsigned long long)t->mem64);
		return -EINVAL;
	}
	pci_bar_init(&t->fn, BAR_IO, PCI_BAR_IO, REGS_LEN);
	add_region(t, &t->io, BAR_IO, 0, &regs_ops, REGS_LEN);
	pci_bar_init(&t->fn, BAR_MEM, PCI_BAR_MEM, MEM_SIZE);
	t->regs.late = REG_SCRATCH;
	t->regs.late_len = 4;
	add_region(t, &t->regs, BAR_MEM, 0, &regs_ops, MEM_SIZE);
	pci_bar_init(&t->fn, BAR_MEM64, PCI_BAR_64 | PCI_BAR_PREFETCH, t->mem64);
	add_region(t, &t->start, BAR_MEM64, 0, &mem_ops, MEM_SIZE);
	add_region(t, &t->end, BAR_MEM64, t->mem64 - MEM_SIZE, &mem_ops, MEM_SIZE);
	if (!t->vectors)
		return 0;
	while (size < table + (t->vectors + 63) / 64 * 8)
		size *= 2;
	pci_bar_init(&t->fn, BAR_MSIX, PCI_BAR_MEM, size);
	return pci_msix_init(&t->fn, t->vectors, BAR_MSIX, 0, table, e);
}

static void testdev_reset(struct dev *d)
{
	struct testdev *t = (struct testdev *)d;

	memset(t->reg, 0, sizeof(t->reg));
	memset(t->mem, 0, sizeof(t->mem));
	pci_fn_reset(&t->fn);
}

static int testdev_init(struct dev *d, struct err *e)
{
	static const struct pci_ident ident = {
		.vendor = 0x1234,
		.device = 0x7e57,
		.subsystem_vendor = 0x1234,
		.subsystem = 0x0001,
		.revision = 1,
		.class_code = 0xff0000,
		.pin = 1,
	};
	struct testdev *t = (struct testdev *)d;
	int rc = pci_fn_init(&t->fn, d, &ident, NULL, t, e);

	rc = rc ? rc : add_bars(t, e);
	if (!rc && t->msi)
		rc = pci_msi_init(&t->fn, e);
	return rc ? rc : pci_fn_plug(&t->fn, e);
}

static void testdev_fini(struct dev *d)
{
	pci_fn_unplug(&((struct testdev *)d)->fn);
}

static const struct prop testdev_props[] = {
	PCI_FN_PROPS(struct testdev, fn),
	PROP(struct testdev, mem64, PROP_SIZE, "mem64", "64K", "size of BAR 2"),
	PROP_RANGE(struct testdev, vectors, PROP_U32, "vectors", "4", 0, MAX_VECTORS,
		   "MSI-X vectors; 0: no MSI-X"),
	PROP(struct testdev, msi, PROP_BOOL, "msi", "on", "has MSI"),
	PROP_END,
};

const struct dev_class pci_testdev_class = {
	.name = "pci-testdev",
	.desc = "PCI function with one of everything, for tests and learning",
	.bus = DEV_BUS_PCI,
	.size = sizeof(struct testdev),
	.props = testdev_props,
	.init = testdev_init,
	.reset = testdev_reset,
	.fini = testdev_fini,
};
