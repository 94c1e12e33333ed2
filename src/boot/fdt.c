/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine as a flattened device tree, by libfdt: see include/devtree.h. Main thread. */
#include "devtree.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acpi.h"
#include "boot.h"
#include "err.h"
#include "gmem.h"

enum { FDT_MAX = 192 << 10 };
enum { PHANDLE_IOAPIC = 1, PHANDLE_LAPIC = 2 };
/* Second cell of an IOAPIC interrupt. */
enum { EDGE_RISING = 0, LEVEL_HIGH = 2 };

static const struct {
	uint16_t port;
	unsigned irq;
} serial[4] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

/*
 * The results of the calls below are not looked at: FDT_MAX is enough for the largest
 * machine with the longest command line, which fdt_build checks (and a test the rest).
 */
static void cells(void *t, const char *name, const uint32_t *val, unsigned n)
{
	fdt32_t be[8];

	for (unsigned i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(val[i]);
	fdt_property(t, name, be, (int)(n * sizeof(be[0])));
}

#define CELLS(t, name, ...)                                                                        \
	cells(t, name, (const uint32_t[]){ __VA_ARGS__ },                                          \
	      sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static void reg64(void *t, uint64_t base, uint64_t size)
{
	CELLS(t, "reg", (uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(size >> 32),
	      (uint32_t)size);
}

static void begin(void *t, const char *name, uint64_t unit)
{
	char full[48];

	snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)unit);
	fdt_begin_node(t, full);
}

static void add_cpus(void *t, const struct fdt_machine *d)
{
	fdt_begin_node(t, "cpus");
	fdt_property_u32(t, "#address-cells", 1);
	fdt_property_u32(t, "#size-cells", 0);
	for (unsigned i = 0; i < d->n_cpus; i++) {
		begin(t, "cpu", i);
		fdt_property_string(t, "device_type", "cpu");
		fdt_property_string(t, "compatible", "intel,ce4100");
		fdt_property_u32(t, "reg", i);
		fdt_property_u32(t, "lapic", PHANDLE_LAPIC);
		fdt_end_node(t);
	}
	fdt_end_node(t);
}

static void add_memory(void *t, const struct gmem *mem)
{
	for (unsigned i = 0; i < mem->n; i++) {
		begin(t, "memory", mem->range[i].gpa);
		fdt_property_string(t, "device_type", "memory");
		reg64(t, mem->range[i].gpa, mem->range[i].size);
		fdt_end_node(t);
	}
}

static void add_apics(void *t)
{
	begin(t, "interrupt-controller", IOAPIC_ADDR);
	fdt_property_string(t, "compatible", "intel,ce4100-ioapic");
	fdt_property(t, "interrupt-controller", NULL, 0);
	fdt_property_u32(t, "#interrupt-cells", 2);
	fdt_property_u32(t, "phandle", PHANDLE_IOAPIC);
	reg64(t, IOAPIC_ADDR, 0x1000);
	fdt_end_node(t);
	begin(t, "interrupt-controller", LAPIC_ADDR);
	fdt_property_string(t, "compatible", "intel,ce4100-lapic");
	fdt_property_u32(t, "phandle", PHANDLE_LAPIC);
	reg64(t, LAPIC_ADDR, 0x1000);
	fdt_end_node(t);
}

/* Ports are in the address space 1 of the ISA binding. */
static void add_isa(void *t, const struct fdt_machine *d)
{
	fdt_begin_node(t, "isa");
	fdt_property_string(t, "compatible", "isa");
	fdt_property_u32(t, "#address-cells", 2);
	fdt_property_u32(t, "#size-cells", 1);
	CELLS(t, "ranges", 1, 0, 0, 0, 0x10000);
	begin(t, "rtc", 0x70);
	fdt_property_string(t, "compatible", "motorola,mc146818");
	CELLS(t, "reg", 1, 0x70, 2);
	CELLS(t, "interrupts", 8, EDGE_RISING);
	fdt_end_node(t);
	for (unsigned i = 0; i < 4; i++) {
		if (!(d->serial_mask >> i & 1))
			continue;
		begin(t, "serial", serial[i].port);
		fdt_property_string(t, "compatible", "ns16550a");
		CELLS(t, "reg", 1, serial[i].port, 8);
		CELLS(t, "interrupts", serial[i].irq, EDGE_RISING);
		fdt_property_u32(t, "clock-frequency", 1843200);
		fdt_end_node(t);
	}
	fdt_end_node(t);
}

static void add_virtio(void *t, const struct fdt_machine *d)
{
	for (unsigned i = 0; i < d->n_virtio; i++) {
		begin(t, "virtio_mmio", d->virtio[i].base);
		fdt_property_string(t, "compatible", "virtio,mmio");
		reg64(t, d->virtio[i].base, d->virtio[i].size);
		/* The line is a level, but ISA interrupts are edges where no one says else. */
		CELLS(t, "interrupts", d->virtio[i].irq, EDGE_RISING);
		fdt_end_node(t);
	}
}

static void add_pci(void *t)
{
	fdt_begin_node(t, "pci");
	fdt_property_string(t, "compatible", "intel,ce4100-pci");
	fdt_property_string(t, "device_type", "pci");
	fdt_property_u32(t, "#address-cells", 3);
	fdt_property_u32(t, "#size-cells", 2);
	CELLS(t, "bus-range", 0, 0);
	fdt_end_node(t);
}

static void write_tree(void *t, const struct fdt_machine *d)
{
	char name[64];

	fdt_finish_reservemap(t);
	fdt_begin_node(t, "");
	snprintf(name, sizeof(name), "posada,%s", d->model);
	fdt_property_string(t, "compatible", name);
	fdt_property_string(t, "model", name);
	fdt_property_u32(t, "#address-cells", 2);
	fdt_property_u32(t, "#size-cells", 2);
	fdt_property_u32(t, "interrupt-parent", PHANDLE_IOAPIC);
	fdt_begin_node(t, "chosen");
	if (d->bootargs)
		fdt_property_string(t, "bootargs", d->bootargs);
	fdt_end_node(t);
	add_cpus(t, d);
	add_memory(t, d->mem);
	fdt_begin_node(t, "soc");
	fdt_property_string(t, "compatible", "simple-bus");
	fdt_property_u32(t, "#address-cells", 2);
	fdt_property_u32(t, "#size-cells", 2);
	fdt_property(t, "ranges", NULL, 0);
	add_apics(t);
	add_isa(t, d);
	if (d->pci)
		add_pci(t);
	add_virtio(t, d);
	fdt_end_node(t);
	fdt_end_node(t);
}

int fdt_build(const struct fdt_machine *d, void **out, size_t *len, struct err *e)
{
	void *t;
	int rc;

	if (d->bootargs && strlen(d->bootargs) >= BOOT_CMDLINE_MAX)
		return err_set(e, ERR_USAGE, E2BIG, "-append: %zu bytes are more than %llu",
			       strlen(d->bootargs), (unsigned long long)BOOT_CMDLINE_MAX - 1);
	t = malloc(FDT_MAX);

	if (!t || fdt_create(t, FDT_MAX)) {
		free(t);
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	write_tree(t, d);
	rc = fdt_finish(t);
	if (rc) {
		free(t);
		return err_set(e, ERR_HOST, E2BIG, "no device tree: %s", fdt_strerror(rc));
	}
	*out = t;
	*len = fdt_totalsize(t);
	return 0;
}
