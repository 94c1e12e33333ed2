/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "info pci" and query-pci: the functions on the PCI bus. Main loop only. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "dev.h"
#include "monitor_int.h"
#include "pci.h"

/* PCI Local Bus Specification 3.0, appendix D: class and subclass. */
static const char *class_name(unsigned class_code)
{
	static const struct {
		uint16_t class_code;
		const char *name;
	} names[] = {
		{ 0x0000, "Device" },
		{ 0x0001, "VGA controller" },
		{ 0x0100, "SCSI controller" },
		{ 0x0101, "IDE controller" },
		{ 0x0106, "SATA controller" },
		{ 0x0108, "NVMe controller" },
		{ 0x0180, "Storage controller" },
		{ 0x0200, "Ethernet controller" },
		{ 0x0280, "Network controller" },
		{ 0x0300, "VGA controller" },
		{ 0x0380, "Display controller" },
		{ 0x0401, "Audio controller" },
		{ 0x0500, "RAM controller" },
		{ 0x0600, "Host bridge" },
		{ 0x0601, "ISA bridge" },
		{ 0x0604, "PCI bridge" },
		{ 0x0680, "Bridge" },
		{ 0x0700, "Serial port" },
		{ 0x0780, "Communication controller" },
		{ 0x0c03, "USB controller" },
		{ 0x0c05, "SMBus" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].class_code == class_code)
			return names[i].name;
	return NULL;
}

static json_t *regions(const struct pci_fn *f)
{
	json_t *list = json_array();

	for (unsigned n = 0; n <= PCI_ROM_BAR; n++) {
		const struct pci_bar *b = &f->bar[n];
		bool io = b->flags & PCI_BAR_IO;
		json_t *r;

		if (!b->size)
			continue;
		/* -1: not decoded */
		r = json_pack("{s:i, s:s, s:I, s:I}", "bar", (int)n, "type", io ? "io" : "memory",
			      "address", b->mapped ? (json_int_t)b->base : (json_int_t)-1, "size",
			      (json_int_t)b->size);
		if (!io) {
			json_object_set_new(r, "prefetch",
					    json_boolean(b->flags & PCI_BAR_PREFETCH));
			json_object_set_new(r, "mem_type_64", json_boolean(b->flags & PCI_BAR_64));
		}
		json_array_append_new(list, r);
	}
	return list;
}

/* The bus's lock is held: f's registers stand still. */
static void add_function(void *ctx, struct pci_fn *f)
{
	unsigned class_code = pci_cfg16(f, PCI_CLASS_PROG + 1);
	unsigned pin = f->cfg[PCI_INTERRUPT_PIN], subsystem = pci_cfg16(f, PCI_SUBSYSTEM);
	unsigned vendor = pci_cfg16(f, PCI_SUBSYSTEM_VENDOR);
	json_t *id = json_pack("{s:i, s:i}", "device", (int)pci_cfg16(f, PCI_DEVICE), "vendor",
			       (int)pci_cfg16(f, PCI_VENDOR));
	json_t *cls = json_pack("{s:i}", "class", (int)class_code), *j;

	if (vendor || subsystem) {
		json_object_set_new(id, "subsystem", json_integer(subsystem));
		json_object_set_new(id, "subsystem-vendor", json_integer(vendor));
	}
	if (class_name(class_code))
		json_object_set_new(cls, "desc", mon_string(class_name(class_code)));
	j = json_pack("{s:i, s:i, s:i, s:o, s:o, s:i, s:o, s:o}", "bus", 0, "slot", f->devfn >> 3,
		      "function", f->devfn & 7, "class_info", cls, "id", id, "irq_pin", (int)pin,
		      "qdev_id", mon_string(f->dev->id ? f->dev->id : ""), "regions", regions(f));
	if (pin)
		json_object_set_new(j, "irq", json_integer(f->cfg[PCI_INTERRUPT_LINE]));
	json_array_append_new(ctx, j);
}

json_t *mon_query_pci(struct mon *m, const json_t *args, struct err *e)
{
	json_t *devices = json_array();

	if (!m->vm->m.pci) {
		json_decref(devices);
		return json_array();
	}
	pci_each(&m->vm->m, add_function, devices);
	return json_pack("[{s:i, s:o}]", "bus", 0, "devices", devices);
}

static void print_region(FILE *f, const json_t *r)
{
	uint64_t base = (uint64_t)mon_int(r, "address", 0);
	uint64_t last = base + (uint64_t)mon_int(r, "size", 0) - 1;
	int bar = (int)mon_int(r, "bar", 0);

	if (!strcmp(mon_str(r, "type"), "io"))
		fprintf(f, "      BAR%d: I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n", bar, base,
			last);
	else
		fprintf(f, "      BAR%d: %d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n",
			bar, mon_bool(r, "mem_type_64") ? 64 : 32,
			mon_bool(r, "prefetch") ? " prefetchable" : "", base, last);
}

static void print_function(FILE *f, const json_t *d)
{
	const json_t *id = json_object_get(d, "id"), *cls = json_object_get(d, "class_info"), *r;
	const char *desc = mon_str(cls, "desc");
	size_t i;

	fprintf(f, "  Bus %2d, device %3d, function %d:\n", (int)mon_int(d, "bus", 0),
		(int)mon_int(d, "slot", 0), (int)mon_int(d, "function", 0));
	if (desc)
		fprintf(f, "    %s", desc);
	else
		fprintf(f, "    Class %04x", (unsigned)mon_int(cls, "class", 0));
	fprintf(f, ": PCI device %04x:%04x\n", (unsigned)mon_int(id, "vendor", 0),
		(unsigned)mon_int(id, "device", 0));
	if (json_object_get(id, "subsystem"))
		fprintf(f, "      PCI subsystem %04x:%04x\n",
			(unsigned)mon_int(id, "subsystem-vendor", 0),
			(unsigned)mon_int(id, "subsystem", 0));
	if (mon_int(d, "irq_pin", 0))
		fprintf(f, "      IRQ %d, pin %c\n", (int)mon_int(d, "irq", 0),
			(char)('A' + mon_int(d, "irq_pin", 0) - 1));
	json_array_foreach(json_object_get(d, "regions"), i, r) print_region(f, r);
	fprintf(f, "      id \"%s\"\n", mon_str(d, "qdev_id"));
}

void mon_print_pci(FILE *f, const struct mon *m, const json_t *result)
{
	const json_t *bus, *d;
	size_t i, k;

	if (!json_array_size(result))
		fputs("No PCI buses\n", f);
	json_array_foreach(result, i, bus) json_array_foreach(json_object_get(bus, "devices"), k, d)
		print_function(f, d);
}
