/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables as an operating system walks them (ACPI 6.4, chapter 5), and
 * the PM timer. `cpus=N`: how many there must be; `old` allows ACPI 1.0 tables.
 */
#include "guest.h"

static uint32_t field32(const struct acpi_table *t, unsigned off)
{
	uint32_t v;

	memcpy(&v, (const uint8_t *)t + off, 4);
	return v;
}

static uint64_t field64(const struct acpi_table *t, unsigned off)
{
	uint64_t v;

	memcpy(&v, (const uint8_t *)t + off, 8);
	return v;
}

static void table(const struct acpi_table *t)
{
	say("%c%c%c%c revision %u, %u bytes at %lx\n", t->sig[0], t->sig[1], t->sig[2], t->sig[3],
	    t->rev, t->len, (uint64_t)t);
	check(t->len >= sizeof *t && acpi_sum_ok(t, t->len), "checksum");
}

static void walk(const uint8_t *rsdp)
{
	const struct acpi_table *root;
	uint32_t rsdt, len;
	uint64_t xsdt;

	check(!memcmp(rsdp, "RSD PTR ", 8), "RSDP has its signature");
	check(acpi_sum_ok(rsdp, 20), "RSDP checksum");
	say("RSDP revision %u at %lx\n", rsdp[15], (uint64_t)rsdp);
	if (arg_is("old", NULL) && rsdp[15] < 2) {
		memcpy(&rsdt, rsdp + 16, 4);
		root = (const void *)(uint64_t)rsdt;
		table(root);
		for (unsigned off = sizeof *root; off < root->len; off += 4)
			table((const void *)(uint64_t)field32(root, off));
		return;
	}
	check(rsdp[15] >= 2, "RSDP is of ACPI 2.0 or later");
	memcpy(&len, rsdp + 20, 4);
	check(len >= 36 && acpi_sum_ok(rsdp, len), "RSDP extended checksum");
	memcpy(&xsdt, rsdp + 24, 8);
	root = (const void *)xsdt;
	check(!memcmp(root->sig, "XSDT", 4), "the RSDP leads to an XSDT");
	table(root);
	for (unsigned off = sizeof *root; off < root->len; off += 8)
		table((const void *)field64(root, off));
}

static void fadt(void)
{
	const struct acpi_table *t = acpi_find("FACP"), *dsdt = acpi_find("DSDT");
	uint32_t tmr, evt, cnt, a, b, ticks;
	bool forward = true;

	if (!check(t != NULL, "there is an FADT"))
		return;
	if (check(dsdt != NULL && !memcmp(dsdt->sig, "DSDT", 4), "the FADT leads to a DSDT"))
		table(dsdt);
	evt = field32(t, 56);
	cnt = field32(t, 64);
	tmr = field32(t, 76);
	say("PM1a event %x control %x timer %x, SCI %u\n", evt, cnt, tmr, field32(t, 46) & 0xffff);
	check(evt && cnt, "PM1a blocks are there");
	check(field32(t, 36) % 64 == 0, "FACS is aligned");
	if (!arg_is("old", NULL)) {
		check(t->rev >= 3 && t->len >= 244, "FADT is of ACPI 2.0 or later");
		check(field64(t, 148 + 4) == evt && field64(t, 172 + 4) == cnt &&
			      field64(t, 208 + 4) == tmr,
		      "the extended blocks are the same");
		check(field32(t, 112) & 1u << 10, "there is a reset register");
		check(field64(t, 116 + 4) == 0xcf9 && ((const uint8_t *)t)[128] == 6,
		      "which is 6 to port 0xcf9");
	}
	if (!check(tmr != 0, "there is a PM timer"))
		return;
	a = inl((uint16_t)tmr);
	delay_us(20000);
	b = inl((uint16_t)tmr);
	ticks = (b - a) & 0xffffff;
	/* 3.579545 MHz; late is no fault of the timer's */
	check(ticks >= 60000 && ticks < 3000000, "PM timer: %u ticks in 20 ms", ticks);
	for (unsigned i = 0; i < 100; i++) {
		a = inl((uint16_t)tmr);
		forward &= ((a - b) & 0xffffff) < 0x800000;
		b = a;
	}
	check(forward, "PM timer never goes back");
}

static void madt(void)
{
	const struct acpi_table *t = acpi_find("APIC");
	unsigned cpus = 0, ioapics = 0, overrides = 0;
	bool bsp = false;
	uint8_t self = (uint8_t)(lapic_read(LAPIC_ID) >> 24);

	if (!check(t != NULL, "there is an MADT"))
		return;
	check(field32(t, 36) == LAPIC_BASE, "MADT: local APIC address");
	for (uint32_t off = 44; off < t->len;) {
		const uint8_t *e = (const uint8_t *)t + off;
		uint32_t v;

		if (e[1] < 2 || off + e[1] > t->len) {
			check(false, "MADT: entry at %u has a length", off);
			break;
		}
		memcpy(&v, e + 4, 4);
		switch (e[0]) {
		case 0:
			cpus += v & 1;
			bsp |= e[3] == self;
			break;
		case 1:
			ioapics++;
			check(v == IOAPIC_BASE, "MADT: IOAPIC address");
			check((ioapic_read(0) >> 24 & 15) == e[2], "MADT: IOAPIC ID %u is its own",
			      e[2]);
			break;
		case 2:
			overrides++;
			say("IRQ %u is GSI %u\n", e[3], v);
			break;
		}
		off += e[1];
	}
	say("%u CPUs, %u IOAPICs, %u overrides\n", cpus, ioapics, overrides);
	check(cpus == arg_u64("cpus", 1), "MADT: number of CPUs");
	check(bsp, "MADT: the CPU that runs is among them");
	check(ioapics == 1, "MADT: one IOAPIC");
}

void guest_main(void)
{
	uint64_t rsdp = acpi_rsdp();

	if (!check(rsdp != 0, "there is an RSDP"))
		return;
	check(boot.kind == BOOT_MULTIBOOT || boot.rsdp == rsdp, "the loader told where");
	walk((const uint8_t *)rsdp);
	fadt();
	madt();
}
