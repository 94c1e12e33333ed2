/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI as a device sees it: a function on bus 0 with a configuration space,
 * BARs, interrupts and capabilities (PCI Local Bus Specification 3.0, chapter 6).
 *
 * A device embeds a struct pci_fn anywhere in its own struct, puts the rows
 * PCI_FN_PROPS into its property table, and in its init calls pci_fn_init,
 * then pci_bar_init, pci_bar_add, pci_add_cap, pci_msi_init, pci_msix_init as
 * it needs, then pci_fn_plug, which makes it visible. pci_fn_unplug in its
 * fini accepts what was never plugged. Its reset calls pci_fn_reset.
 *
 * Locking: the bridge's config lock (inside pci.c) guards configuration spaces
 * and the bus's slots. It comes after a device's lock and before the bus's. Of
 * the hooks of struct pci_fn_ops, bar_mapped is called with it held; cfg_read
 * and cfg_written are called without it, on the vCPU thread that reads or wrote, so
 * that they may take the device's lock. The interrupt functions may be called
 * by any thread with any lock held.
 */
#ifndef POSADA_PCI_H
#define POSADA_PCI_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "irq.h"

struct dev;
struct err;
struct machine;
struct pci_fn;
struct pci_host;

enum pci_reg {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS_PROG = 0x09, /* three bytes: interface, subclass, class */
	PCI_CACHE_LINE = 0x0c,
	PCI_LATENCY = 0x0d,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_ROM = 0x30,
	PCI_CAP_POINTER = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
};

enum pci_command {
	PCI_COMMAND_IO = 0x0001,
	PCI_COMMAND_MEM = 0x0002,
	PCI_COMMAND_MASTER = 0x0004,
	PCI_COMMAND_INTX_OFF = 0x0400,
};

enum { PCI_HEADER_MULTI = 0x80 };

enum pci_status {
	PCI_STATUS_INTX = 0x0008,
	PCI_STATUS_CAPS = 0x0010,
};

enum { PCI_CAP_MSI = 0x05, PCI_CAP_VENDOR = 0x09, PCI_CAP_MSIX = 0x11 };

enum pci_bar_flags {
	PCI_BAR_IO = 1,
	PCI_BAR_MEM = 0,
	PCI_BAR_64 = 4, /* takes the next BAR's register too */
	PCI_BAR_PREFETCH = 8,
};

enum { PCI_BARS = 6, PCI_ROM_BAR = 6, PCI_BAR_REGIONS = 8, PCI_SLOTS = 32 };

struct pci_fn_ops {
	/* Device-specific configuration registers; may be NULL. off is absolute. The core has
	 * stored the masked bytes when cfg_written is called; it reads cfg after cfg_read. */
	void (*cfg_read)(struct pci_fn *fn, unsigned off, unsigned size);
	void (*cfg_written)(struct pci_fn *fn, unsigned off, unsigned size);
	/* A BAR has been mapped at base, or is about to be unmapped; for doorbells. Config lock
	 * held: no loop_call, no device lock. */
	void (*bar_mapped)(struct pci_fn *fn, unsigned bar, bool mapped);
	/* What firmware does to the function's own registers, for kernels that are loaded without
	 * one: part of pci_assign_resources. May be NULL. */
	void (*firmware)(struct pci_fn *fn);
};

struct pci_ident {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* class << 16 | subclass << 8 | interface */
	uint8_t pin; /* INTA# is 1; 0: no INTx */
};

struct pci_bar {
	uint64_t size; /* 0: not there */
	uint64_t base; /* where it is mapped; valid when mapped */
	unsigned flags;
	bool mapped;
	unsigned n;
	struct {
		struct io_region *region;
		uint64_t off;
	} part[PCI_BAR_REGIONS];
};

/* One MSI-X vector, or MSI message. */
struct pci_vector {
	struct irqfd irqfd;
	bool allocated;
};

struct pci_fn {
	/* properties */
	char *addr; /* "SLOT[.FN]", hex; NULL: the next free slot */
	char *bus_name; /* "pci.0" or NULL */
	bool multifunction;
	char *romfile; /* NULL: none */

	/* filled by pci_fn_init */
	struct dev *dev;
	struct machine *m;
	struct pci_host *host; /* NULL: not plugged */
	const struct pci_fn_ops *ops;
	void *ctx; /* the device's; for ops */
	uint8_t devfn;
	uint8_t cfg[256], wmask[256], w1cmask[256];
	struct pci_bar bar[PCI_BARS + 1];
	uint8_t next_cap;
	_Atomic bool intx_level;
	uint8_t msi_cap, msix_cap; /* offsets, 0: none */
	unsigned n_vectors;
	struct pci_vector *vector;
	struct io_region msix_table, msix_pba;
	uint8_t *msix; /* the table's bytes */
	struct pci_vector msi; /* its one message */
	bool intx_out; /* what the interrupt router hears; under its lock */
	struct io_region rom;
	uint8_t *rom_data;
	size_t rom_len;
};

#define PCI_FN_PROPS(st, field)                                                                    \
	PROP(st, field.addr, PROP_STR, "addr", NULL, "PCI address SLOT[.FUNCTION], hex"),          \
		PROP(st, field.bus_name, PROP_STR, "bus", NULL, "PCI bus; there is pci.0"),        \
		PROP(st, field.multifunction, PROP_BOOL, "multifunction", "off",                   \
		     "the slot has more functions than this one"),                                 \
		PROP(st, field.romfile, PROP_STR, "romfile", NULL, "expansion ROM, a file")

/* Fills the header; e names a bad addr=, bus= ... */
int pci_fn_init(struct pci_fn *fn, struct dev *d, const struct pci_ident *id,
		const struct pci_fn_ops *ops, void *ctx, struct err *e);
/* Makes it visible to the guest. -EBUSY when the slot is taken, -ENODEV without a PCI bus. */
int pci_fn_plug(struct pci_fn *fn, struct err *e);
/*
 * Takes it off the bus, waits until no vCPU is in its handlers, and frees what
 * pci_* made; idempotent. Main loop; while a vCPU may be waiting for the main
 * loop in a handler (loop_call), pause the guest first.
 */
void pci_fn_unplug(struct pci_fn *fn);
/*
 * Its first half: off the bus, but its interrupts can still be sent. For devices with work of
 * other threads, which must end before pci_fn_unplug.
 */
void pci_fn_hide(struct pci_fn *fn);
/* To power-on state: writable bits 0, BARs unmapped, vectors masked, INTx low. */
void pci_fn_reset(struct pci_fn *fn);

/* BAR n of size (a power of two; at least 16 bytes of memory, 4 of I/O). */
void pci_bar_init(struct pci_fn *fn, unsigned n, unsigned flags, uint64_t size);
/* A region that answers at off in BAR n while the BAR is mapped. */
void pci_bar_add(struct pci_fn *fn, unsigned n, struct io_region *r, uint64_t off);
/* A capability of len bytes (header included); returns its offset. */
unsigned pci_add_cap(struct pci_fn *fn, uint8_t id, unsigned len);
/* n_vectors in [1, 2048]; table and pending bits lie in BAR n at table_off and pba_off. */
int pci_msix_init(struct pci_fn *fn, unsigned n_vectors, unsigned n, uint64_t table_off,
		  uint64_t pba_off, struct err *e);
/* One 64-bit MSI with mask bits. */
int pci_msi_init(struct pci_fn *fn, struct err *e);

static inline uint16_t pci_cfg16(const struct pci_fn *fn, unsigned off)
{
	return (uint16_t)(fn->cfg[off] | fn->cfg[off + 1] << 8);
}
static inline uint32_t pci_cfg32(const struct pci_fn *fn, unsigned off)
{
	return pci_cfg16(fn, off) | (uint32_t)pci_cfg16(fn, off + 2) << 16;
}
void pci_set16(struct pci_fn *fn, unsigned off, uint16_t val);
void pci_set32(struct pci_fn *fn, unsigned off, uint32_t val);

/* --- interrupts, any thread --- */
/* INTx; the line stays low while the command register, MSI or MSI-X disables it. */
void pci_set_intx(struct pci_fn *fn, bool level);
bool pci_msix_enabled(const struct pci_fn *fn);
bool pci_msi_enabled(const struct pci_fn *fn);
/* Raises vector n of MSI-X or MSI (masked: stays pending). Out of range does nothing. */
void pci_notify(struct pci_fn *fn, unsigned n);

/* --- the bus, for the board and the monitor (main thread) --- */
/* The function at devfn, or NULL. */
struct pci_fn *pci_find(struct machine *m, unsigned devfn);
void pci_each(struct machine *m, void (*fn)(void *ctx, struct pci_fn *f), void *ctx);
/*
 * What firmware does, for kernels that are loaded without one: addresses for
 * all BARs, decoding on, interrupt lines routed and ELCR set.
 */
void pci_assign_resources(struct machine *m);

/*
 * A configuration cycle, as a guest's; size 1, 2 or 4, within a dword. vCPU
 * threads inside a bus handler (so that pci_fn_unplug can wait for them), and
 * the main thread; no lock held.
 */
uint32_t pci_config_read(struct machine *m, unsigned devfn, unsigned off, unsigned size);
void pci_config_write(struct machine *m, unsigned devfn, unsigned off, uint32_t val, unsigned size);
/* The function's device, as messages name it: "virtio-blk-pci (id d0)". */
void pci_fn_name(const struct pci_fn *fn, char *buf, size_t size);

/*
 * The GSIs that pci_assign_resources routes interrupts to: for each pin (0:
 * INTA#) of each slot that a function uses. Returns how many, at most max.
 */
struct acpi_pci_irq;
unsigned pci_irq_routes(struct machine *m, struct acpi_pci_irq *out, unsigned max);
/* The window above 4 GiB for this machine's RAM and address width; *size 0: there is none. */
void pci_mem64_window(const struct machine *m, uint64_t *base, uint64_t *size);

/* Windows that pci_assign_resources and the ACPI tables use. */
#define PCI_IO_BASE 0xc000u
#define PCI_IO_END 0x10000u
#define PCI_MEM_BASE 0xc0000000ull
#define PCI_MEM_END 0xfec00000ull
#define PCI_MEM64_BASE 0x8000000000ull /* 512 GiB, where RAM and CPU allow: pci_mem64_window */
#define PCI_MEM64_SIZE 0x1000000000ull

#endif
