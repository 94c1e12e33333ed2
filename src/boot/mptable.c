/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MultiProcessor table, where ACPI's tables lie on other machines. See include/devtree.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "acpi.h"
#include "boot.h"
#include "err.h"
#include "devtree.h"
#include "gmem.h"
#include "wire/mptable.h"

/* A system looks for the pointer from 0xf0000 on. */
#define MP_ADDR 0xf0000ull

enum { LAPIC_VERSION = 0x14, IOAPIC_VERSION = 0x11, ISA_IRQS = 16, ALL_APICS = 0xff };
enum { CPU_ENABLED = 1, CPU_BOOT = 2, IOAPIC_USABLE = 1 };
enum { KIND_INT = 0, KIND_NMI = 1, KIND_EXTINT = 3 };

struct writer {
	uint8_t *at, *end;
	unsigned entries;
};

static void put(struct writer *w, const void *entry, size_t len)
{
	w->entries++;
	if ((size_t)(w->end - w->at) >= len)
		memcpy(w->at, entry, len);
	w->at += len;
}

static void put_interrupt(struct writer *w, uint8_t type, uint8_t kind, uint8_t irq, uint8_t dest,
			  uint8_t pin)
{
	const struct mp_interrupt in = {
		.type = type, .kind = kind, .irq = irq, .dest = dest, .pin = pin
	};

	put(w, &in, sizeof(in));
}

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum += *b++;
	return (uint8_t)-sum;
}

static void put_entries(struct writer *w, unsigned n_cpus)
{
	const uint8_t ioapic_id = (uint8_t)n_cpus;
	const struct mp_bus isa = { .type = 1, .name = "ISA   " };
	const struct mp_ioapic ioapic = { .type = 2,
					  .id = ioapic_id,
					  .version = IOAPIC_VERSION,
					  .flags = IOAPIC_USABLE,
					  .addr = cpu_to_le32(IOAPIC_ADDR) };

	for (unsigned i = 0; i < n_cpus; i++) {
		const struct mp_cpu cpu = {
			.apic_id = (uint8_t)i,
			.apic_version = LAPIC_VERSION,
			.flags = CPU_ENABLED | (i ? 0 : CPU_BOOT),
			.signature = cpu_to_le32(0x600),
			.features = cpu_to_le32(0x201), /* FPU, APIC */
		};

		put(w, &cpu, sizeof(cpu));
	}
	put(w, &isa, sizeof(isa));
	put(w, &ioapic, sizeof(ioapic));
	for (uint8_t i = 0; i < ISA_IRQS; i++)
		if (i != 2) /* the second PIC's, which has no line of its own */
			put_interrupt(w, 3, KIND_INT, i, ioapic_id, i);
	put_interrupt(w, 4, KIND_EXTINT, 0, ALL_APICS, 0);
	put_interrupt(w, 4, KIND_NMI, 0, ALL_APICS, 1);
}

int mptable_build(struct gmem *mem, unsigned n_cpus, struct err *e)
{
	struct mp_floating fp = { .sig = "_MP_", .len = 1, .rev = 4 };
	struct mp_table head = {
		.sig = "PCMP", .rev = 4, .oem = "POSADA  ", .product = "MICRO       "
	};
	size_t room = BOOT_KERNEL_MIN - MP_ADDR;
	uint8_t *p = gmem_ptr(mem, MP_ADDR, room);
	struct writer w;
	size_t len;

	if (!p)
		return 0; /* less than 1 MiB of RAM: no kernel will fit either, and says so */
	w = (struct writer){ .at = p + sizeof(fp) + sizeof(head), .end = p + room };
	put_entries(&w, n_cpus);
	if (w.at > w.end)
		return err_set(e, ERR_USAGE, E2BIG, "-smp %u: the MultiProcessor table is full",
			       n_cpus);
	fp.table = cpu_to_le32((uint32_t)(MP_ADDR + sizeof(fp)));
	fp.sum = checksum(&fp, sizeof(fp));
	memcpy(p, &fp, sizeof(fp));
	p += sizeof(fp);
	len = (size_t)(w.at - p);
	head.len = cpu_to_le16((uint16_t)len);
	head.entries = cpu_to_le16((uint16_t)w.entries);
	head.lapic = cpu_to_le32(LAPIC_ADDR);
	memcpy(p, &head, sizeof(head));
	((struct mp_table *)(void *)p)->sum = checksum(p, len);
	return 0;
}
