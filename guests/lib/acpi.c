/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding ACPI tables and what the MADT says (ACPI 6.4, sections 5.2.5 to 5.2.12). */
#include "guest.h"

struct rsdp {
	char sig[8];
	uint8_t sum;
	char oem[6];
	uint8_t rev;
	uint32_t rsdt;
	uint32_t len;
	uint64_t xsdt;
	uint8_t ext_sum, reserved[3];
} __attribute__((packed));

bool acpi_sum_ok(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return sum == 0;
}

uint64_t acpi_rsdp(void)
{
	if (boot.rsdp)
		return boot.rsdp;
	for (uint64_t p = 0xe0000; p < 0x100000; p += 16) {
		if (!memcmp((const void *)p, "RSD PTR ", 8) && acpi_sum_ok((const void *)p, 20))
			return p;
	}
	return 0;
}

const struct acpi_table *acpi_find(const char *sig)
{
	const struct rsdp *r = (const void *)acpi_rsdp();
	const struct acpi_table *root, *t;
	unsigned width;

	if (!r)
		return NULL;
	width = r->rev >= 2 && r->xsdt ? 8 : 4;
	root = (const void *)(width == 8 ? r->xsdt : r->rsdt);
	if (!memcmp(root->sig, sig, 4))
		return root;
	for (uint64_t off = sizeof *root; off + width <= root->len; off += width) {
		uint64_t addr = 0;

		memcpy(&addr, (const uint8_t *)root + off, width);
		t = (const void *)addr;
		if (!memcmp(t->sig, sig, 4))
			return t;
		/* The DSDT is not in the list; the FADT leads to it. */
		if (!memcmp(sig, "DSDT", 4) && !memcmp(t->sig, "FACP", 4)) {
			uint32_t low;
			uint64_t x = 0;

			memcpy(&low, (const uint8_t *)t + 40, 4);
			if (t->len >= 148)
				memcpy(&x, (const uint8_t *)t + 140, 8);
			return (const void *)(x ? x : low);
		}
	}
	return NULL;
}

/* Calls fn for each MADT entry of a type. */
static void madt_each(uint8_t type, void (*fn)(const uint8_t *entry, void *ctx), void *ctx)
{
	const struct acpi_table *t = acpi_find("APIC");
	const uint8_t *p, *end;

	if (!t)
		return;
	p = (const uint8_t *)t + 44;
	end = (const uint8_t *)t + t->len;
	for (; p + 2 <= end && p[1] >= 2; p += p[1]) {
		if (p[0] == type)
			fn(p, ctx);
	}
}

struct gsi_search {
	unsigned irq;
	uint32_t gsi;
};

static void match_override(const uint8_t *e, void *ctx)
{
	struct gsi_search *s = ctx;

	if (e[3] == s->irq)
		memcpy(&s->gsi, e + 4, 4);
}

uint32_t acpi_irq_gsi(unsigned irq)
{
	struct gsi_search s = { irq, irq };

	madt_each(2, match_override, &s);
	return s.gsi;
}

struct cpu_list {
	uint8_t *ids;
	unsigned n, max;
};

static void add_cpu(const uint8_t *e, void *ctx)
{
	struct cpu_list *l = ctx;

	if ((e[4] & 1) && l->n < l->max)
		l->ids[l->n++] = e[3];
}

unsigned acpi_cpus(uint8_t *apic_ids, unsigned max)
{
	struct cpu_list l = { apic_ids, 0, max };

	madt_each(0, add_cpu, &l);
	return l.n;
}
