/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables (ACPI 6.3, chapter 5) for a machine without firmware: see
 * include/acpi.h. Fields are written by their offset in the specification's
 * tables. The DSDT is firmware/dsdt.asl, less the devices that are absent; and the
 * interrupts of PCI's slots.
 */
#include "acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "err.h"
#include "fw_cfg.h"
#include "gmem.h"
#include "loader.h"

/* dsdt_aml_code[], which the Makefile makes from firmware/dsdt.asl */
#include "dsdt.h"

#define TABLES_END 0x100000ull

enum {
	HEADER_LEN = 36,
	RSDP_LEN = 36,
	RSDP_V1_LEN = 20,
	RSDP_XSDT = 24,
	FACS_LEN = 64,
	FADT_LEN = 276, /* revision 6 */
};

/* Offsets in the header that all tables but RSDP and FACS have. */
enum {
	H_LENGTH = 4,
	H_REVISION = 8,
	H_CHECKSUM = 9,
	H_OEM_ID = 10,
	H_OEM_TABLE_ID = 16,
	H_OEM_REVISION = 24,
	H_CREATOR_ID = 28,
	H_CREATOR_REVISION = 32,
};

/* The area the tables go to. */
struct area {
	uint8_t *host;
	uint64_t gpa; /* 0 for firmware, which will move them */
	size_t size, used;
	bool full; /* something found no room */
	struct acpi_loader *loader; /* what firmware must do after that; or NULL */
};

static void put(uint8_t *table, size_t off, unsigned size, uint64_t val)
{
	for (unsigned i = 0; i < size; i++)
		table[off + i] = (uint8_t)(val >> 8 * i);
}

/* len zeroed bytes; align is a power of two. NULL when the area is full. */
static uint8_t *area_alloc(struct area *a, size_t len, size_t align, uint64_t *gpa)
{
	size_t at = (a->used + align - 1) & ~(align - 1);

	if (at > a->size || len > a->size - at) {
		a->full = true;
		return NULL;
	}
	a->used = at + len;
	*gpa = a->gpa + at;
	memset(a->host + at, 0, len);
	return a->host + at;
}

static uint8_t *table_alloc(struct area *a, const char *signature, uint8_t revision, size_t len,
			    uint64_t *gpa)
{
	uint8_t *t = area_alloc(a, len, 16, gpa);

	if (!t)
		return NULL;
	memcpy(t, signature, 4);
	put(t, H_LENGTH, 4, len);
	put(t, H_REVISION, 1, revision);
	memcpy(t + H_OEM_ID, "POSADA", 6);
	memcpy(t + H_OEM_TABLE_ID, "POSADAPC", 8);
	put(t, H_OEM_REVISION, 4, 1);
	memcpy(t + H_CREATOR_ID, "PSDA", 4);
	put(t, H_CREATOR_REVISION, 4, 1);
	return t;
}

/* A table's address within another. */
static void put_ptr(const struct area *a, uint8_t *table, size_t off, unsigned size, uint64_t gpa)
{
	put(table, off, size, gpa);
	if (a->loader)
		acpi_loader_pointer(a->loader, ACPI_TABLES_FILE, (size_t)(table - a->host) + off,
				    size);
}

/* Makes the first len bytes add up to 0. */
static void set_sum(uint8_t *table, size_t len, size_t off)
{
	uint8_t sum = 0;

	table[off] = 0;
	for (size_t i = 0; i < len; i++)
		sum += table[i];
	table[off] = (uint8_t)-sum;
}

static void set_checksum(const struct area *a, uint8_t *table, size_t len)
{
	set_sum(table, len, H_CHECKSUM);
	if (a->loader)
		acpi_loader_checksum(a->loader, ACPI_TABLES_FILE,
				     (size_t)(table - a->host) + H_CHECKSUM,
				     (size_t)(table - a->host), len);
}

/* --- DSDT ---------------------------------------------------------------------- */

enum {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_DWORD = 0x0c,
	AML_SCOPE = 0x10,
	AML_PACKAGE = 0x12,
	AML_EXT = 0x5b,
	AML_EXT_DEVICE = 0x82,
};

/* PkgLength (section 20.2.4): the length, which counts from p; *bytes: its own. */
static size_t aml_pkg_length(const uint8_t *p, size_t *bytes)
{
	unsigned more = p[0] >> 6;
	size_t len = more ? p[0] & 0x0f : p[0] & 0x3f;

	for (unsigned i = 1; i <= more; i++)
		len |= (size_t)p[i] << (8 * i - 4);
	*bytes = 1 + more;
	return len;
}

/* Whether the machine has what a top-level "Scope (\_SB) { Device (NAME) }" describes. */
static bool scope_wanted(const uint8_t *scope, const struct acpi_config *c)
{
	const uint8_t *p = scope + 1;
	size_t bytes;

	aml_pkg_length(p, &bytes);
	p += bytes;
	/* Slots for hot-plug, and their event; the routing registers in the ISA bridge. */
	if (!memcmp(p, "._SB_PCI0", 9) || !memcmp(p, "_GPE", 4))
		return c->pci && c->links;
	if (memcmp(p, "_SB_", 4) || p[4] != AML_EXT || p[5] != AML_EXT_DEVICE)
		return true;
	p += 6;
	aml_pkg_length(p, &bytes);
	p += bytes;
	if (!memcmp(p, "COM", 3))
		return c->serial_mask & 1u << (p[3] - '1');
	if (!memcmp(p, "RTC_", 4))
		return c->rtc;
	if (!memcmp(p, "KBD_", 4))
		return c->i8042;
	/* Without a screen it would only cost a kernel's start the time to look for it. */
	if (!memcmp(p, "MOU_", 4))
		return c->i8042 && (c->links || c->vga);
	if (!memcmp(p, "PEVT", 4))
		return c->pvpanic;
	if (!memcmp(p, "PCI0", 4))
		return c->pci;
	if (!memcmp(p, "LNK", 3))
		return c->pci && c->links;
	return true;
}

/*
 * The window above 4 GiB is the DSDT's one QWord memory descriptor (section
 * 6.4.3.5.1); it depends on the machine's memory and CPU. Without one its length is 0.
 */
static void set_pci_window(uint8_t *scope, size_t len, const struct acpi_config *c)
{
	static const uint8_t head[] = { 0x8a, 0x2b, 0x00, 0x00 };
	uint8_t *p = memmem(scope, len, head, sizeof(head));

	if (!p)
		return;
	put(p, 14, 8, c->pci_mem64_base);
	put(p, 22, 8, c->pci_mem64_base + c->pci_mem64_size - (c->pci_mem64_size ? 1 : 0));
	put(p, 38, 8, c->pci_mem64_size);
}

/* An integer of a byte, 0 and 1 in the shortest form. */
static uint8_t *aml_byte(uint8_t *p, uint8_t val)
{
	if (val > 1)
		*p++ = AML_BYTE;
	*p++ = val;
	return p;
}

/* Bytes of a PkgLength in front of len bytes; enough for 4 KiB. */
static size_t aml_length_bytes(size_t len)
{
	return len + 1 < 64 ? 1 : 2;
}

static uint8_t *aml_put_length(uint8_t *p, size_t len)
{
	size_t bytes = aml_length_bytes(len);

	len += bytes;
	if (bytes == 1) {
		*p++ = (uint8_t)len;
	} else {
		*p++ = (uint8_t)(0x40 | (len & 0x0f));
		*p++ = (uint8_t)(len >> 4);
	}
	return p;
}

enum { PRT_ENTRY_MAX = 16, PRT_HEAD = 1 + 2 + 9 + 1 + 4 + 1 + 2 + 1 };

/*
 * Scope (\_SB.PCI0) { Name (_PRT, Package () { Package () { slot, pin, 0, gsi } ... }) }
 * (section 6.2.13). A source of 0 is a GSI, which a guest takes for
 * level-triggered and active low; KVM's IOAPIC goes by the level that a device
 * sets and not by the polarity. With firmware the source is a link device. An entry costs Linux on
 * a software KVM 8 ms, so there are no entries for empty slots. *len: what it takes at p.
 */
static void put_prt(uint8_t *p, size_t *len, const struct acpi_config *c)
{
	uint8_t list[ACPI_PCI_IRQS * PRT_ENTRY_MAX], *q = list, *start = p;
	size_t n, package;

	for (unsigned i = 0; i < c->n_pci_irqs; i++) {
		const struct acpi_pci_irq *irq = &c->pci_irq[i];
		uint8_t *entry = q;

		*q++ = AML_PACKAGE;
		*q++ = 0; /* its length, once known */
		*q++ = 4;
		*q++ = AML_DWORD;
		put(q, 0, 4, (uint32_t)irq->slot << 16 | 0xffff);
		q = aml_byte(q + 4, irq->pin);
		if (c->links) {
			memcpy(q, "LNK", 3);
			q[3] = (uint8_t)('A' + irq->link);
			q = aml_byte(q + 4, 0);
		} else {
			q = aml_byte(q, 0);
			q = aml_byte(q, irq->gsi);
		}
		entry[1] = (uint8_t)(q - entry - 1);
	}
	n = (size_t)(q - list);
	package = 1 + aml_length_bytes(n + 1) + n + 1;
	*p++ = AML_SCOPE;
	p = aml_put_length(p, 9 + 1 + 4 + package);
	memcpy(p, "._SB_PCI0", 9); /* "." is the prefix of two names */
	p += 9;
	*p++ = AML_NAME;
	memcpy(p, "_PRT", 4);
	p += 4;
	*p++ = AML_PACKAGE;
	p = aml_put_length(p, n + 1);
	*p++ = (uint8_t)c->n_pci_irqs;
	memcpy(p, list, n);
	*len = (size_t)(p - start) + n;
}

static uint64_t build_dsdt(struct area *a, const struct acpi_config *c)
{
	const uint8_t *end = dsdt_aml_code + sizeof(dsdt_aml_code);
	size_t len = HEADER_LEN, prt = 0;
	uint64_t gpa;
	size_t room = sizeof(dsdt_aml_code) + PRT_HEAD + PRT_ENTRY_MAX * (size_t)c->n_pci_irqs;
	uint8_t *t = table_alloc(a, "DSDT", 2, room, &gpa);

	if (!t)
		return 0;
	for (const uint8_t *p = dsdt_aml_code + HEADER_LEN; p < end;) {
		size_t bytes, term = 1 + aml_pkg_length(p + 1, &bytes);

		if (scope_wanted(p, c)) {
			memcpy(t + len, p, term);
			set_pci_window(t + len, term, c);
			len += term;
		}
		p += term;
	}
	if (c->pci && c->n_pci_irqs)
		put_prt(t + len, &prt, c);
	len += prt;
	put(t, H_LENGTH, 4, len);
	set_checksum(a, t, len);
	return gpa;
}

/* --- FACS, FADT ------------------------------------------------------------------ */

static uint64_t build_facs(struct area *a)
{
	uint64_t gpa;
	uint8_t *t = area_alloc(a, FACS_LEN, 64, &gpa);

	if (!t)
		return 0;
	memcpy(t, "FACS", 4);
	put(t, 4, 4, FACS_LEN);
	put(t, 32, 1, 2); /* version */
	return gpa;
}

enum { ACCESS_BYTE = 1, ACCESS_WORD = 2, ACCESS_DWORD = 3 };

/* A register block of `bytes` I/O ports as a Generic Address Structure (section 5.2.3.2). */
static void put_gas(uint8_t *t, size_t off, uint16_t port, unsigned bytes, unsigned access)
{
	put(t, off, 1, 1); /* system I/O */
	put(t, off + 1, 1, 8 * bytes);
	put(t, off + 3, 1, access);
	put(t, off + 4, 8, port);
}

enum { BOOT_LEGACY_DEVICES = 0x01, BOOT_8042 = 0x02, BOOT_NO_VGA = 0x04, BOOT_NO_RTC = 0x20 };
enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_NO_FIXED_RTC = 1 << 6, /* its alarm does not wake the machine */
	FADT_TIMER_32 = 1 << 8,
	FADT_RESET_REG = 1 << 10,
};

/* Section 5.2.9. The power button is the fixed one: its flag, "control method", is 0. */
static uint64_t build_fadt(struct area *a, const struct acpi_config *c, uint64_t facs,
			   uint64_t dsdt)
{
	uint64_t gpa;
	uint8_t *t = table_alloc(a, "FACP", 6, FADT_LEN, &gpa);

	if (!t)
		return 0;
	put_ptr(a, t, 36, 4, facs); /* 32 bits here, so X_FIRMWARE_CTRL at 132 must be 0 */
	put_ptr(a, t, 40, 4, dsdt);
	put(t, 46, 2, ACPI_SCI_IRQ);
	/* SMI_CMD at 48 is 0: there is no legacy mode to leave. */
	put(t, 56, 4, ACPI_PM_BASE); /* PM1a_EVT_BLK */
	put(t, 64, 4, ACPI_PM1_CNT); /* PM1a_CNT_BLK */
	put(t, 76, 4, ACPI_PM_TMR);
	put(t, 80, 4, ACPI_GPE0);
	put(t, 88, 1, 4); /* PM1_EVT_LEN */
	put(t, 89, 1, 2); /* PM1_CNT_LEN */
	put(t, 91, 1, 4); /* PM_TMR_LEN */
	put(t, 92, 1, 4); /* GPE0_BLK_LEN */
	put(t, 96, 2, 0xffff); /* P_LVL2_LAT: no C2 */
	put(t, 98, 2, 0xffff); /* P_LVL3_LAT: no C3 */
	put(t, 108, 1, c->rtc ? 0x32 : 0); /* CENTURY in CMOS */
	put(t, 109, 2,
	    BOOT_LEGACY_DEVICES | (c->i8042 ? BOOT_8042 : 0) | (c->vga ? 0 : BOOT_NO_VGA) |
		    (c->rtc ? 0 : BOOT_NO_RTC));
	put(t, 112, 4,
	    FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC | FADT_TIMER_32 |
		    FADT_RESET_REG);
	put_gas(t, 116, ACPI_RESET_PORT, 1, ACCESS_BYTE);
	put(t, 128, 1, ACPI_RESET_VALUE);
	put(t, 131, 1, 3); /* minor version: ACPI 6.3 */
	put_ptr(a, t, 140, 8, dsdt);
	put_gas(t, 148, ACPI_PM_BASE, 4, ACCESS_WORD);
	put_gas(t, 172, ACPI_PM1_CNT, 2, ACCESS_WORD);
	put_gas(t, 208, ACPI_PM_TMR, 4, ACCESS_DWORD);
	put_gas(t, 220, ACPI_GPE0, 4, ACCESS_BYTE);
	set_checksum(a, t, FADT_LEN);
	return gpa;
}

/* --- MADT --------------------------------------------------------------------------- */

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	MADT_X2APIC = 9,
	MADT_X2APIC_NMI = 10,
};
enum { MADT_FIXED_LEN = 44, LAPIC_LEN = 8, X2APIC_LEN = 16 };

#define FIRST_X2APIC_ID 255u /* an 8-bit id of 255 means every CPU */
#define CPU_ENABLED 1u
#define LEVEL_ACTIVE_HIGH 0xd

static uint64_t build_madt(struct area *a, const struct acpi_config *c)
{
	size_t n_lapic = c->n_cpus < FIRST_X2APIC_ID ? c->n_cpus : FIRST_X2APIC_ID;
	size_t n_x2apic = c->n_cpus - n_lapic;
	size_t len = MADT_FIXED_LEN + LAPIC_LEN * n_lapic + X2APIC_LEN * n_x2apic + 12 + 10 + 6 +
		     (n_x2apic ? 12 : 0);
	uint64_t gpa;
	uint8_t *t = table_alloc(a, "APIC", 5, len, &gpa), *p;

	if (!t)
		return 0;
	put(t, 36, 4, LAPIC_ADDR);
	put(t, 40, 4, 1); /* there is a pair of 8259 PICs too */
	p = t + MADT_FIXED_LEN;
	for (uint32_t id = 0; id < c->n_cpus; id++) {
		if (id < FIRST_X2APIC_ID) {
			put(p, 0, 1, MADT_LAPIC);
			put(p, 1, 1, LAPIC_LEN);
			put(p, 2, 1, id); /* processor UID */
			put(p, 3, 1, id);
			put(p, 4, 4, CPU_ENABLED);
			p += LAPIC_LEN;
		} else {
			put(p, 0, 1, MADT_X2APIC);
			put(p, 1, 1, X2APIC_LEN);
			put(p, 4, 4, id);
			put(p, 8, 4, CPU_ENABLED);
			put(p, 12, 4, id); /* processor UID */
			p += X2APIC_LEN;
		}
	}
	put(p, 0, 1, MADT_IOAPIC);
	put(p, 1, 1, 12);
	put(p, 4, 4, IOAPIC_ADDR); /* id at 2 and first interrupt at 8 are 0 */
	p += 12;
	/*
	 * ISA interrupts are IOAPIC pins of the same number, the timer's too (on
	 * other PCs it is pin 2); all are edge-triggered but the SCI.
	 */
	put(p, 0, 1, MADT_OVERRIDE);
	put(p, 1, 1, 10);
	put(p, 3, 1, ACPI_SCI_IRQ); /* of bus 0, ISA */
	put(p, 4, 4, ACPI_SCI_IRQ); /* GSI */
	put(p, 8, 2, LEVEL_ACTIVE_HIGH);
	p += 10;
	put(p, 0, 1, MADT_LAPIC_NMI);
	put(p, 1, 1, 6);
	put(p, 2, 1, 0xff); /* every processor */
	put(p, 5, 1, 1); /* LINT1 */
	p += 6;
	if (n_x2apic) {
		put(p, 0, 1, MADT_X2APIC_NMI);
		put(p, 1, 1, 12);
		put(p, 4, 4, 0xffffffff);
		put(p, 8, 1, 1);
	}
	set_checksum(a, t, len);
	return gpa;
}

/* --- XSDT, RSDP ------------------------------------------------------------------------- */

static uint64_t build_xsdt(struct area *a, const uint64_t *tables, size_t n)
{
	size_t len = HEADER_LEN + 8 * n;
	uint64_t gpa;
	uint8_t *t = table_alloc(a, "XSDT", 1, len, &gpa);

	if (!t)
		return 0;
	for (size_t i = 0; i < n; i++)
		put_ptr(a, t, HEADER_LEN + 8 * i, 8, tables[i]);
	set_checksum(a, t, len);
	return gpa;
}

static void fill_rsdp(uint8_t *t, uint64_t xsdt)
{
	memcpy(t, "RSD PTR ", 8);
	memcpy(t + 9, "POSADA", 6);
	put(t, 15, 1, 2); /* revision */
	put(t, 20, 4, RSDP_LEN);
	put(t, RSDP_XSDT, 8, xsdt);
	set_sum(t, RSDP_V1_LEN, 8);
	set_sum(t, RSDP_LEN, 32);
}

/* FACS, DSDT, FADT, MADT and XSDT. 0, or -ENOSPC. */
static int build_all(struct area *a, const struct acpi_config *c, uint64_t *xsdt)
{
	uint64_t facs = build_facs(a), dsdt = build_dsdt(a, c), tables[2];

	tables[0] = build_fadt(a, c, facs, dsdt);
	tables[1] = build_madt(a, c);
	*xsdt = build_xsdt(a, tables, 2);
	return a->full ? -ENOSPC : 0;
}

int acpi_build(struct gmem *mem, const struct acpi_config *c, uint64_t *rsdp, struct err *e)
{
	struct area a = { .gpa = BOOT_ACPI_ADDR, .size = TABLES_END - BOOT_ACPI_ADDR };
	uint64_t xsdt;
	uint8_t *t;

	a.host = gmem_ptr(mem, a.gpa, a.size);
	if (!a.host) {
		err_set(e, ERR_USAGE, ENOMEM, "-m: no room for the ACPI tables below 1 MiB");
		err_hint(e, "give the guest at least 1M of memory");
		return -ENOMEM;
	}
	t = area_alloc(&a, RSDP_LEN, 16, rsdp);
	if (build_all(&a, c, &xsdt))
		return err_set(e, ERR_USAGE, E2BIG,
			       "-smp %u: ACPI tables for so many CPUs do not fit below 1 MiB",
			       c->n_cpus);
	fill_rsdp(t, xsdt);
	return 0;
}

int acpi_tell_firmware(struct machine *m, const struct acpi_config *c, struct err *e)
{
	struct acpi_loader loader;
	struct area a = { .size = TABLES_END - BOOT_ACPI_ADDR, .loader = &loader };
	uint8_t rsdp[RSDP_LEN] = { 0 };
	uint64_t xsdt;
	int rc;

	a.host = calloc(1, a.size);
	if (!a.host)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	acpi_loader_init(&loader);
	if (build_all(&a, c, &xsdt)) {
		free(a.host);
		return err_set(e, ERR_USAGE, E2BIG, "-smp %u: too many CPUs for the ACPI tables",
			       c->n_cpus);
	}
	fill_rsdp(rsdp, xsdt);
	acpi_loader_pointer(&loader, ACPI_RSDP_FILE, RSDP_XSDT, 8);
	acpi_loader_checksum(&loader, ACPI_RSDP_FILE, 8, 0, RSDP_V1_LEN);
	acpi_loader_checksum(&loader, ACPI_RSDP_FILE, 32, 0, RSDP_LEN);
	rc = fw_cfg_set_file(m, ACPI_TABLES_FILE, a.host, a.used, e);
	rc = rc ? rc : fw_cfg_set_file(m, ACPI_RSDP_FILE, rsdp, sizeof(rsdp), e);
	rc = rc ? rc : acpi_loader_tell(&loader, m, e);
	free(a.host);
	return rc;
}
