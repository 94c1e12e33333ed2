/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine as a flattened device tree (Devicetree Specification 0.4, with the
 * bindings that Linux has for x86: its Documentation/devicetree/bindings, x86/ce4100
 * and interrupt-controller/intel,ce4100-ioapic), and the MultiProcessor table for
 * kernels that know neither it nor ACPI. Main thread.
 */
#ifndef POSADA_DEVTREE_H
#define POSADA_DEVTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct gmem;

enum { FDT_DEVICES_MAX = 32 };

struct fdt_machine {
	const char *model; /* "pc", "micro" */
	const struct gmem *mem;
	unsigned n_cpus;
	unsigned serial_mask; /* bit n: COM(n+1) exists */
	bool pci;
	const char *bootargs; /* or NULL */
	unsigned n_virtio;
	struct {
		uint64_t base, size;
		unsigned irq;
	} virtio[FDT_DEVICES_MAX]; /* virtio-mmio */
};

/* *out is malloc'd. -ENOMEM. */
int fdt_build(const struct fdt_machine *d, void **out, size_t *len, struct err *e);

/*
 * Intel MultiProcessor Specification 1.4: the floating pointer and the table below
 * 1 MiB. CPU n has local APIC id n; ISA interrupt n is pin n of the IOAPIC. More than
 * 16 bits of entries are an error: -E2BIG.
 */
int mptable_build(struct gmem *mem, unsigned n_cpus, struct err *e);

#endif
