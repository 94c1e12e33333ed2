/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI: the power management ports, and tables as a guest finds and follows them. */
#include "fake_machine.h"

#include <stdio.h>

#include "acpi.h"
#include "boot.h"
#include "fw_cfg_guest.h"
#include "pci.h"

extern const struct dev_class acpi_pm_class, acpi_pci_hotplug_class, i440fx_class, piix3_class;

enum { STS = ACPI_PM_BASE, EN = ACPI_PM_BASE + 2, CNT = ACPI_PM1_CNT, TMR = ACPI_PM_TMR };

#define PWRBTN 0x0100
#define SECOND 1000000000ull

static void add(void)
{
	fake_add(&acpi_pm_class, "");
}

/* --- fixed hardware ------------------------------------------------------------- */

START_TEST(pm_reset_state)
{
	add();
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(inl(STS), 0);
		ck_assert_uint_eq(inw(CNT), 0x0001); /* SCI_EN */
		ck_assert_uint_eq(inl(ACPI_GPE0), 0);
		ck_assert(!fake.irq[ACPI_SCI_IRQ]);
		ck_assert(!fake.m.power_button_heeded(fake.m.power_button_ctx));
		outw(EN, PWRBTN);
		fake.m.power_button(fake.m.power_button_ctx);
		ck_assert(fake.irq[ACPI_SCI_IRQ]);
		ck_assert(fake.m.power_button_heeded(fake.m.power_button_ctx));
		outw(CNT, 0x1402);
		outw(ACPI_GPE0 + 2, 0xffff);
		machine_reset_devices(&fake.m);
	}
	ck_assert_uint_eq(fake.requests, 0);
	machine_remove_devices(&fake.m);
	ck_assert_ptr_null(fake.m.power_button);
}
END_TEST

START_TEST(power_off)
{
	add();
	outw(CNT, ACPI_S5_SLP_TYP << 10); /* Linux writes the type first */
	ck_assert_uint_eq(fake.requests, 0);
	outw(CNT, ACPI_S5_SLP_TYP << 10 | 0x2000);
	ck_assert_uint_eq(fake.requests, 1);
	ck_assert_int_eq(fake.last_request, MACHINE_POWEROFF);
	ck_assert_uint_eq(inw(CNT), 0x0001); /* SLP_EN reads as 0 */
	outw(0x604, 0x2000); /* what small kernels do */
	ck_assert_uint_eq(fake.requests, 2);
	outb(0x605, 0x20);
	ck_assert_uint_eq(fake.requests, 3);
	outl(0x604, 0x2000);
	ck_assert_uint_eq(fake.requests, 4);
	ck_assert_int_eq(fake.last_request, MACHINE_POWEROFF);
	outw(CNT, 5 << 10 | 0x2000); /* no such sleep state */
	outw(CNT, 0x1c03);
	ck_assert_uint_eq(inw(CNT), 0x1c03);
	outb(0x604, 0x00); /* SCI_EN cannot be cleared, the other byte stays */
	ck_assert_uint_eq(inw(CNT), 0x1c01);
	ck_assert_uint_eq(fake.requests, 4);
}
END_TEST

START_TEST(power_button)
{
	add();
	fake.m.power_button(fake.m.power_button_ctx);
	ck_assert_uint_eq(inw(STS), PWRBTN);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]); /* not enabled */
	outw(EN, PWRBTN);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(inl(STS), PWRBTN << 16 | PWRBTN);
	outw(STS, (uint16_t)~PWRBTN); /* writing 0 clears nothing */
	ck_assert_uint_eq(inw(STS), PWRBTN);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	outw(STS, PWRBTN);
	ck_assert_uint_eq(inw(STS), 0);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(inw(EN), PWRBTN);
	fake.m.power_button(fake.m.power_button_ctx);
	fake.m.power_button(fake.m.power_button_ctx);
	ck_assert_uint_eq(fake.irq_rises[ACPI_SCI_IRQ], 2);
	ck_assert_uint_eq(fake.irq_sets[ACPI_SCI_IRQ], 3);
	outb(EN + 1, 0); /* by bytes too */
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(inb(STS + 1), PWRBTN >> 8);
	outb(STS + 1, PWRBTN >> 8);
	ck_assert_uint_eq(inl(STS), 0);
	outw(EN, 0xffff);
	ck_assert_uint_eq(inw(EN), 0x0721); /* reserved bits stay 0 */
	outl(STS, 0x0100ffff);
	ck_assert_uint_eq(inl(STS), 0x01000000);
}
END_TEST

START_TEST(pm_timer)
{
	uint32_t before, after;

	add();
	before = inl(TMR);
	fake_advance(SECOND);
	after = inl(TMR);
	ck_assert_uint_eq(after - before, 3579545);
	fake_advance(1000);
	ck_assert_uint_ge(inl(TMR) - after, 3);
	ck_assert_uint_le(inl(TMR) - after, 4);
	ck_assert_uint_eq(inw(TMR + 2), inl(TMR) >> 16);
	ck_assert_uint_eq(inb(TMR + 1), inl(TMR) >> 8 & 0xff);
	outl(TMR, 0);
	ck_assert_uint_ne(inl(TMR), 0);
	/* No overflow of our own arithmetic after years. */
	before = inl(TMR);
	fake_advance(20 * 365 * 86400 * SECOND);
	after = inl(TMR);
	ck_assert_uint_eq(after, (uint32_t)(before + 20ull * 365 * 86400 * 3579545));
}
END_TEST

/* TMR_STS when bit 31 changes: every 599.93 s. */
START_TEST(pm_timer_status)
{
	fake.now_ns = 650 * SECOND; /* bit 31 is set from the start */
	add();
	ck_assert_uint_eq(inw(STS), 0);
	fake_advance(540 * SECOND);
	ck_assert_uint_eq(inw(STS), 0);
	fake_advance(15 * SECOND);
	ck_assert_uint_eq(inw(STS), 0x0001);
	ck_assert_uint_eq(inw(STS), 0x0001);
	outw(STS, 0x0001);
	ck_assert_uint_eq(inw(STS), 0);
	ck_assert_uint_eq(fake_timers_set(), 0);
	outw(EN, 0x0001);
	fake_advance(580 * SECOND);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
	fake_advance(20 * SECOND);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(fake_timers_set(), 0);
	outw(STS, 0x0001);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
	fake_advance(600 * SECOND);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
}
END_TEST

START_TEST(gpe)
{
	add();
	outw(ACPI_GPE0, 0xffff);
	outw(ACPI_GPE0 + 2, 0x1234);
	ck_assert_uint_eq(inl(ACPI_GPE0), 0x12340000);
	outb(ACPI_GPE0 + 2, 0xff);
	ck_assert_uint_eq(inw(ACPI_GPE0 + 2), 0x12ff);
	outl(ACPI_GPE0, 0x00020000); /* event 1 enabled, as one access */
	ck_assert_uint_eq(inw(ACPI_GPE0 + 2), 0x0002);
	acpi_gpe_raise(&fake.m, 1);
	acpi_gpe_raise(&fake.m, 9);
	ck_assert_uint_eq(inw(ACPI_GPE0), 0x0202);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	outb(ACPI_GPE0 + 1, 0x02); /* clearing one leaves the other */
	ck_assert_uint_eq(inw(ACPI_GPE0), 0x0002);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	outb(ACPI_GPE0 + 2, 0); /* masked, as a handler does */
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(inb(ACPI_GPE0), 0x02);
	outb(ACPI_GPE0 + 2, 2);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	outb(ACPI_GPE0, 0x02);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
	acpi_gpe_raise(&fake.m, 1);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inl(ACPI_GPE0), 0);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
}
END_TEST

/* --- PCI devices that come and go ------------------------------------------------ */

enum { HP_UP = 0xae00, HP_DOWN = 0xae04, HP_EJECT = 0xae08, HP_RMV = 0xae0c, HP_BUS = 0xae10 };

static uint32_t ejected;

static void on_eject(void *ctx, unsigned slot)
{
	ck_assert_ptr_eq(ctx, &ejected);
	ck_assert(!(ejected & 1u << slot));
	ejected |= 1u << slot;
}

START_TEST(hotplug)
{
	static const struct acpi_hotplug_ops ops = { .eject = on_eject };

	add();
	fake_add(&acpi_pci_hotplug_class, "");
	ejected = 0;
	for (uint16_t port = HP_UP; port <= HP_BUS; port += 4)
		ck_assert_uint_eq(inl(port), 0);
	outw(ACPI_GPE0 + 2, 0x0002);
	/* It comes: as the method _E01 hears of it, once. */
	acpi_hotplug_removable(&fake.m, 4, true);
	acpi_hotplug_removable(&fake.m, 31, true);
	acpi_hotplug_tell(&fake.m, 4, true);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(inw(ACPI_GPE0), 0x0002);
	outw(ACPI_GPE0, 0x0002);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(inl(HP_DOWN), 0);
	ck_assert_uint_eq(inl(HP_UP), 1 << 4);
	ck_assert_uint_eq(inl(HP_UP), 0);
	ck_assert_uint_eq(inl(HP_RMV), 0x80000010);
	/* It is to go, until it is ejected. */
	acpi_hotplug_tell(&fake.m, 4, false);
	acpi_hotplug_tell(&fake.m, 31, false);
	ck_assert(fake.irq[ACPI_SCI_IRQ]);
	ck_assert_uint_eq(inl(HP_DOWN), 0x80000010);
	outl(HP_EJECT, 1 << 4); /* nobody is there to do it */
	ck_assert_uint_eq(inl(HP_DOWN), 0x80000010);
	acpi_hotplug_listen(&fake.m, &ops, &ejected);
	outl(HP_EJECT, 1 << 4);
	ck_assert_uint_eq(ejected, 1 << 4);
	ck_assert_uint_eq(inl(HP_DOWN), 0x80000000);
	ck_assert_uint_eq(inl(HP_EJECT), 0); /* no features */
	/* What cannot be removed stays; several at once. */
	acpi_hotplug_removable(&fake.m, 4, false);
	ejected = 0;
	outl(HP_EJECT, 0xffffffff);
	ck_assert_uint_eq(ejected, 0x80000000);
	/* There is one bus. */
	acpi_hotplug_tell(&fake.m, 31, true);
	ejected = 0;
	outl(HP_BUS, 1);
	ck_assert_uint_eq(inl(HP_BUS), 1);
	ck_assert_uint_eq(inl(HP_UP) | inl(HP_RMV), 0);
	outl(HP_EJECT, 0x80000000);
	ck_assert_uint_eq(ejected, 0);
	outl(HP_BUS, 0);
	ck_assert_uint_eq(inl(HP_UP), 0x80000000);
	outl(HP_UP, 0xffffffff); /* read-only, as all the others */
	outl(HP_DOWN, 0xffffffff);
	outl(HP_RMV, 0xffffffff);
	ck_assert_uint_eq(inl(HP_UP) | inl(HP_DOWN), 0);
	ck_assert_uint_eq(inl(HP_RMV), 0x80000000);
	/* A reset ends news; what is removable stays so. */
	acpi_hotplug_tell(&fake.m, 31, true);
	acpi_hotplug_tell(&fake.m, 31, false);
	outl(HP_BUS, 7);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inl(HP_UP) | inl(HP_DOWN) | inl(HP_BUS), 0);
	ck_assert_uint_eq(inl(HP_RMV), 0x80000000);
	acpi_hotplug_listen(&fake.m, NULL, NULL);
	fake_hammer(HP_UP, 0x14, 2000, 5);
	machine_remove_devices(&fake.m);
	ck_assert_ptr_null(fake.m.acpi_hotplug);
}
END_TEST

START_TEST(pm_hostile)
{
	add();
	for (unsigned i = 0; i < 200; i++) {
		fake_hammer(ACPI_PM_BASE, 0x24, 500, i);
		if (i % 10 == 0)
			fake.m.power_button(fake.m.power_button_ctx);
	}
	outl(STS, 0xffff);
	ck_assert(!fake.irq[ACPI_SCI_IRQ]);
}
END_TEST

/* --- tables ------------------------------------------------------------------------ */

static uint64_t le(const uint8_t *p, unsigned n)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < n; i++)
		val |= (uint64_t)p[i] << 8 * i;
	return val;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static const uint8_t *at(uint64_t gpa, size_t len)
{
	const uint8_t *p;

	ck_assert_uint_ge(gpa, BOOT_ACPI_ADDR);
	ck_assert_uint_le(gpa + len, 0x100000);
	p = gmem_ptr(&fake.m.mem, gpa, len);
	ck_assert_ptr_nonnull(p);
	return p;
}

/* A table with the common header, all of it checked. */
static const uint8_t *table(uint64_t gpa, const char *signature, uint8_t revision)
{
	const uint8_t *t = at(gpa, 36);
	size_t len = le(t + 4, 4);

	ck_assert_mem_eq(t, signature, 4);
	ck_assert_uint_ge(len, 36);
	t = at(gpa, len);
	ck_assert_uint_eq(sum(t, len), 0);
	ck_assert_uint_eq(t[8], revision);
	ck_assert_mem_eq(t + 10, "POSADA", 6);
	ck_assert_mem_eq(t + 16, "POSADAPC", 8);
	return t;
}

struct tables {
	const uint8_t *fadt, *madt, *dsdt, *facs;
};

/* Everything that the RSDP leads to. */
static struct tables follow(uint64_t rsdp)
{
	struct tables out = { 0 };
	const uint8_t *r, *xsdt;

	ck_assert_uint_eq(rsdp % 16, 0); /* so that a scan of 0xe0000 to 0xfffff finds it */
	r = at(rsdp, 36);
	ck_assert_mem_eq(r, "RSD PTR ", 8);
	ck_assert_uint_eq(sum(r, 20), 0);
	ck_assert_uint_eq(sum(r, 36), 0);
	ck_assert_mem_eq(r + 9, "POSADA", 6);
	ck_assert_uint_eq(r[15], 2);
	ck_assert_uint_eq(le(r + 16, 4), 0);
	ck_assert_uint_eq(le(r + 20, 4), 36);
	ck_assert_uint_eq(le(r + 33, 3), 0);

	xsdt = table(le(r + 24, 8), "XSDT", 1);
	ck_assert_uint_eq((le(xsdt + 4, 4) - 36) % 8, 0);
	for (size_t off = 36; off < le(xsdt + 4, 4); off += 8) {
		uint64_t gpa = le(xsdt + off, 8);
		const uint8_t *t = at(gpa, 36);

		if (!memcmp(t, "FACP", 4))
			out.fadt = table(gpa, "FACP", 6);
		else if (!memcmp(t, "APIC", 4))
			out.madt = table(gpa, "APIC", 5);
		else
			ck_abort_msg("unexpected table %.4s", (const char *)t);
	}
	ck_assert_ptr_nonnull(out.fadt);
	ck_assert_ptr_nonnull(out.madt);
	ck_assert_uint_eq(le(out.fadt + 4, 4), 276);
	out.dsdt = table(le(out.fadt + 140, 8), "DSDT", 2);
	ck_assert_uint_eq(le(out.fadt + 40, 4), le(out.fadt + 140, 8));
	ck_assert_uint_eq(le(out.fadt + 132, 8), 0); /* X_FIRMWARE_CTRL */
	ck_assert_uint_eq(le(out.fadt + 36, 4) % 64, 0);
	out.facs = at(le(out.fadt + 36, 4), 64);
	ck_assert_mem_eq(out.facs, "FACS", 4);
	ck_assert_uint_eq(le(out.facs + 4, 4), 64);
	ck_assert_uint_eq(le(out.facs + 8, 8), 0);
	ck_assert_uint_eq(out.facs[32], 2);
	return out;
}

static struct tables build(const struct acpi_config *cfg)
{
	uint64_t rsdp = 0;
	struct err e;

	/* What was there before must not show. */
	memset(gmem_ptr(&fake.m.mem, BOOT_ACPI_ADDR, 0x20000), 0xa5, 0x20000);
	ck_assert_int_eq(acpi_build(&fake.m.mem, cfg, &rsdp, &e), 0);
	return follow(rsdp);
}

/* Every entry of the MADT, once, well-formed; n CPUs. */
static void check_madt(const uint8_t *t, unsigned n)
{
	size_t len = le(t + 4, 4), off = 44;
	unsigned cpus = 0, ioapics = 0, overrides = 0, nmis = 0, x2nmis = 0;

	ck_assert_uint_eq(le(t + 36, 4), LAPIC_ADDR);
	ck_assert_uint_eq(le(t + 40, 4), 1);
	while (off < len) {
		const uint8_t *p = t + off;

		ck_assert_uint_ge(len - off, 2);
		ck_assert_uint_ge(p[1], 2);
		ck_assert_uint_le(off + p[1], len);
		switch (p[0]) {
		case 0:
			ck_assert_uint_eq(p[1], 8);
			ck_assert_uint_eq(p[2], cpus);
			ck_assert_uint_eq(p[3], cpus);
			ck_assert_uint_lt(cpus, 255);
			ck_assert_uint_eq(le(p + 4, 4), 1);
			cpus++;
			break;
		case 9:
			ck_assert_uint_eq(p[1], 16);
			ck_assert_uint_eq(le(p + 2, 2), 0);
			ck_assert_uint_eq(le(p + 4, 4), cpus);
			ck_assert_uint_eq(le(p + 8, 4), 1);
			ck_assert_uint_eq(le(p + 12, 4), cpus);
			ck_assert_uint_ge(cpus, 255);
			cpus++;
			break;
		case 1:
			ck_assert_uint_eq(p[1], 12);
			ck_assert_uint_eq(le(p + 4, 4), IOAPIC_ADDR);
			ck_assert_uint_eq(le(p + 8, 4), 0);
			ioapics++;
			break;
		case 2: /* the SCI alone, level-triggered and active high */
			ck_assert_uint_eq(p[1], 10);
			ck_assert_uint_eq(p[2], 0);
			ck_assert_uint_eq(p[3], ACPI_SCI_IRQ);
			ck_assert_uint_eq(le(p + 4, 4), ACPI_SCI_IRQ);
			ck_assert_uint_eq(le(p + 8, 2), 0x0d);
			overrides++;
			break;
		case 4:
			ck_assert_uint_eq(p[1], 6);
			ck_assert_uint_eq(p[2], 0xff);
			ck_assert_uint_eq(le(p + 3, 2), 0);
			ck_assert_uint_eq(p[5], 1);
			nmis++;
			break;
		case 10:
			ck_assert_uint_eq(p[1], 12);
			ck_assert_uint_eq(le(p + 4, 4), 0xffffffff);
			ck_assert_uint_eq(p[8], 1);
			x2nmis++;
			break;
		default:
			ck_abort_msg("entry of type %u", p[0]);
		}
		off += p[1];
	}
	ck_assert_uint_eq(off, len);
	ck_assert_uint_eq(cpus, n);
	ck_assert_uint_eq(ioapics, 1);
	ck_assert_uint_eq(overrides, 1);
	ck_assert_uint_eq(nmis, 1);
	ck_assert_uint_eq(x2nmis, n > 255);
}

START_TEST(tables_by_cpus)
{
	static const unsigned n[] = { 1, 2, 4, 254, 255, 256, 300, 4096 };

	for (unsigned i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
		struct tables t = build(&(struct acpi_config){
			.n_cpus = n[i], .serial_mask = 1, .i8042 = true, .rtc = true });

		check_madt(t.madt, n[i]);
	}
}
END_TEST

/* The FADT names the ports at which the device above answers. */
START_TEST(fadt)
{
	struct tables t = build(&(struct acpi_config){ .n_cpus = 1, .i8042 = true, .rtc = true });
	const uint8_t *f = t.fadt;
	static const struct {
		unsigned legacy, len, gas, ports;
	} blocks[] = {
		{ 56, 88, 148, 4 },
		{ 64, 89, 172, 2 },
		{ 76, 91, 208, 4 },
		{ 80, 92, 220, 4 },
	};
	uint32_t flags = (uint32_t)le(f + 112, 4);

	add();
	fake_add(&i440fx_class, "");
	fake_add(&piix3_class, ""); /* it has the reset register */
	ck_assert_uint_eq(le(f + 46, 2), ACPI_SCI_IRQ);
	ck_assert_uint_eq(le(f + 48, 4), 0); /* SMI_CMD: ACPI mode from the start */
	for (unsigned i = 0; i < 4; i++) {
		uint64_t port = le(f + blocks[i].legacy, 4);
		const struct io_region *r = bus_find(&fake.m.pio, port);

		ck_assert_ptr_nonnull(r);
		ck_assert_uint_eq(r->base, port);
		ck_assert_uint_eq(r->size, blocks[i].ports);
		ck_assert_uint_eq(f[blocks[i].len], blocks[i].ports);
		ck_assert_uint_eq(f[blocks[i].gas], 1);
		ck_assert_uint_eq(f[blocks[i].gas + 1], 8 * blocks[i].ports);
		ck_assert_uint_eq(f[blocks[i].gas + 2], 0);
		ck_assert_uint_eq(le(f + blocks[i].gas + 4, 8), port);
	}
	/* PM1b, PM2, GPE1 and what replaces the fixed hardware are not there. */
	ck_assert_uint_eq(le(f + 60, 4) | le(f + 68, 8) | le(f + 84, 4) | f[90] | f[93], 0);
	for (unsigned off = 160; off < 172; off++)
		ck_assert_uint_eq(f[off] | f[off + 24] | f[off + 36] | f[off + 72], 0);
	for (unsigned off = 244; off < 276; off++)
		ck_assert_uint_eq(f[off], 0);
	ck_assert_uint_gt(le(f + 96, 2), 100); /* no C2 */
	ck_assert_uint_gt(le(f + 98, 2), 1000); /* no C3 */
	ck_assert_uint_eq(f[131], 3); /* of ACPI 6.3 */
	ck_assert_uint_eq(flags, 1u << 0 | 1u << 2 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 10);
	/* The reset register, used as the specification says. */
	ck_assert_uint_eq(f[116], 1);
	ck_assert_uint_eq(f[117], 8);
	outb((uint16_t)le(f + 120, 8), f[128]);
	ck_assert_uint_eq(fake.requests, 1);
	ck_assert_int_eq(fake.last_request, MACHINE_RESET);
	/* and S5 with the type that \_S5 gives: see dsdt_s5 */
	ck_assert_uint_eq(f[108], 0x32);
	ck_assert_uint_eq(le(f + 109, 2), 0x07); /* legacy devices, 8042, no VGA */
	t = build(&(struct acpi_config){ .n_cpus = 1, .vga = true });
	ck_assert_uint_eq(le(t.fadt + 109, 2), 0x21); /* no CMOS clock */
	ck_assert_uint_eq(t.fadt[108], 0);
}
END_TEST

static const uint8_t *find(const uint8_t *dsdt, const char *name)
{
	size_t len = le(dsdt + 4, 4);

	for (size_t i = 36; i + 4 <= len; i++)
		if (!memcmp(dsdt + i, name, 4))
			return dsdt + i;
	return NULL;
}

/* How small kernels look for it: the name, a package, its first element. */
START_TEST(dsdt_s5)
{
	struct tables t = build(&(struct acpi_config){ .n_cpus = 1 });
	const uint8_t *p = find(t.dsdt, "_S5_");

	ck_assert_ptr_nonnull(p);
	ck_assert(p[-1] == 0x08 || (p[-2] == 0x08 && p[-1] == '\\'));
	ck_assert_uint_eq(p[4], 0x12);
	ck_assert_uint_eq(p[5] >> 6, 0);
	p += 7; /* package length, number of elements */
	if (*p == 0x0a)
		p++;
	ck_assert_uint_eq(*p, ACPI_S5_SLP_TYP);
}
END_TEST

START_TEST(dsdt_devices)
{
	static const struct {
		const char *name;
		struct acpi_config cfg;
	} rows[] = {
		{ "COM1", { .serial_mask = 1 } }, { "COM2", { .serial_mask = 2 } },
		{ "COM3", { .serial_mask = 4 } }, { "COM4", { .serial_mask = 8 } },
		{ "RTC_", { .rtc = true } },      { "KBD_", { .i8042 = true } },
		{ "PEVT", { .pvpanic = true } },  { "PCI0", { .pci = true } },
	};
	enum { N = sizeof(rows) / sizeof(rows[0]) };
	struct acpi_config all = {
		.n_cpus = 1,
		.serial_mask = 0xf,
		.i8042 = true,
		.rtc = true,
		.pvpanic = true,
		.pci = true,
	};

	for (unsigned i = 0; i < N; i++) {
		struct tables t = build(&rows[i].cfg);

		for (unsigned j = 0; j < N; j++)
			ck_assert_int_eq(find(t.dsdt, rows[j].name) != NULL, i == j);
		ck_assert_ptr_nonnull(find(build(&all).dsdt, rows[i].name));
	}
	ck_assert_ptr_null(find(build(&all).dsdt, "MOU_"));
	all.vga = true;
	ck_assert_ptr_nonnull(find(build(&all).dsdt, "MOU_"));
	all.i8042 = false;
	ck_assert_ptr_null(find(build(&all).dsdt, "MOU_"));
	/* A machine's usual set stays small: a guest interprets it slowly. */
	ck_assert_uint_le(le(build(&(struct acpi_config){ .n_cpus = 2,
							  .serial_mask = 1,
							  .i8042 = true,
							  .rtc = true,
							  .pci = true })
					     .dsdt +
				     4,
			     4),
			  512);
}
END_TEST

/* Slots, their methods and their event are for machines with firmware. */
START_TEST(dsdt_slots)
{
	struct acpi_config cfg = { .n_cpus = 1, .pci = true };
	const uint8_t *t = build(&cfg).dsdt;

	ck_assert_ptr_null(find(t, "SC0_"));
	ck_assert_ptr_null(find(t, "_GPE"));
	cfg.links = true;
	t = build(&cfg).dsdt;
	ck_assert_ptr_nonnull(find(t, "_E01"));
	ck_assert_ptr_nonnull(find(t, "PHPR"));
	for (unsigned slot = 0; slot < 32; slot++) {
		const uint8_t *end = t + le(t + 4, 4), *p = t;
		unsigned devices = 0, notified = 0, n = slot >= ACPI_HOTPLUG_FIRST;
		char name[5];

		snprintf(name, sizeof(name), "S%02X_", slot * 8);
		while ((p = memmem(p + 1, (size_t)(end - p - 1), name, 4))) {
			/* After "Device" and its length: _ADR, a double word; else after "Notify".
			 */
			if (p[-1] == 0x86) {
				/* And (Arg0, DWord, nothing) */
				ck_assert_mem_eq(p - 8, "\x68\x0c", 2);
				ck_assert_uint_eq(le(p - 6, 4), 1u << slot);
				notified++;
			} else {
				ck_assert_mem_eq(p + 4, "\x08_ADR\x0c", 6);
				ck_assert_uint_eq(le(p + 10, 4), slot << 16);
				ck_assert_mem_eq(p + 14, "\x08_SUN\x0a", 6);
				ck_assert_uint_eq(p[20], slot);
				devices++;
			}
		}
		ck_assert_uint_eq(devices, n);
		ck_assert_uint_eq(notified, n);
	}
}
END_TEST

/* The window above 4 GiB is the machine's; the one below is that of include/pci.h. */
START_TEST(dsdt_pci_windows)
{
	static const uint8_t dword[] = { 0x87, 0x17, 0x00, 0x00 };
	static const uint8_t qword[] = { 0x8a, 0x2b, 0x00, 0x00 };
	struct acpi_config cfg = { .n_cpus = 1,
				   .pci = true,
				   .pci_mem64_base = 0x123000000000,
				   .pci_mem64_size = 0x000400000000 };

	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *t = build(&cfg).dsdt, *p = t, *end = t + le(t + 4, 4);

		/* 0xa0000, then the window. */
		for (unsigned k = 0; k < 2; k++) {
			p = memmem(p + 1, (size_t)(end - p - 1), dword, sizeof(dword));
			ck_assert_ptr_nonnull(p);
		}
		ck_assert_uint_eq(le(p + 10, 4), PCI_MEM_BASE);
		ck_assert_uint_eq(le(p + 14, 4), PCI_MEM_END - 1);
		ck_assert_uint_eq(le(p + 22, 4), PCI_MEM_END - PCI_MEM_BASE);
		p = memmem(t, (size_t)(end - t), qword, sizeof(qword));
		ck_assert_ptr_nonnull(p);
		ck_assert_uint_eq(le(p + 14, 8), cfg.pci_mem64_base);
		ck_assert_uint_eq(le(p + 22, 8), i ? 0 : 0x1233ffffffff);
		ck_assert_uint_eq(le(p + 38, 8), cfg.pci_mem64_size);
		cfg.pci_mem64_base = cfg.pci_mem64_size = 0;
	}
	ck_assert_ptr_null(find(build(&cfg).dsdt, "_PRT"));
}
END_TEST

/* n entries of _PRT, for all pins of the slots from 1 on. */
static void set_irqs(struct acpi_config *cfg, unsigned n)
{
	cfg->pci = true;
	cfg->n_pci_irqs = n;
	for (unsigned i = 0; i < n; i++)
		cfg->pci_irq[i] = (struct acpi_pci_irq){ .slot = (uint8_t)(1 + i / 4),
							 .pin = (uint8_t)(i % 4),
							 .gsi = (uint8_t)(10 + i % 2) };
}

START_TEST(dsdt_prt)
{
	static const unsigned counts[] = { 1, 3, 4, 5, 100, ACPI_PCI_IRQS };

	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct acpi_config cfg = { .n_cpus = 1 };
		const uint8_t *t, *p;
		size_t bytes;

		set_irqs(&cfg, counts[i]);
		t = build(&cfg).dsdt;
		p = find(t, "_PRT");
		ck_assert_ptr_nonnull(p);
		ck_assert_uint_eq(p[-1], 0x08);
		ck_assert_uint_eq(p[4], 0x12);
		bytes = p[5] >> 6 ? 2 : 1;
		ck_assert_uint_eq(p[5 + bytes], counts[i]);
		p += 6 + bytes;
		for (unsigned k = 0; k < counts[i]; k++) {
			ck_assert_uint_eq(p[0], 0x12);
			ck_assert_uint_eq(p[2], 4);
			ck_assert_uint_eq(p[3], 0x0c);
			ck_assert_uint_eq(le(p + 4, 4), (1 + k / 4) << 16 | 0xffff);
			ck_assert_uint_eq(p[k % 4 > 1 ? 9 : 8], k % 4);
			ck_assert_uint_eq(p[p[1]], 10 + k % 2);
			p += 1 + p[1];
		}
		ck_assert_ptr_eq(p, t + le(t + 4, 4));
	}
}
END_TEST

START_TEST(no_room)
{
	struct acpi_config cfg = { .n_cpus = 100000 };
	uint64_t rsdp;
	struct err e;

	memset(&e, 0, sizeof(e));
	ck_assert_int_eq(acpi_build(&fake.m.mem, &cfg, &rsdp, &e), -E2BIG);
	ck_assert_ptr_nonnull(strstr(e.msg, "-smp 100000"));
	cfg.n_cpus = UINT32_MAX;
	ck_assert_int_eq(acpi_build(&fake.m.mem, &cfg, &rsdp, &e), -E2BIG);
	fake_teardown();
	fake_setup_ram(512 << 10);
	cfg.n_cpus = 1;
	ck_assert_int_eq(acpi_build(&fake.m.mem, &cfg, &rsdp, &e), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(e.msg, "-m"));
}
END_TEST

static void dump(const char *dir, const char *name, const uint8_t *t)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(t, 1, le(t + 4, 4), f), le(t + 4, 4));
	ck_assert_int_eq(fclose(f), 0);
}

/* The reference compiler reads every table, and compiles what it read, without a complaint. */
START_TEST(iasl)
{
	char dir[] = "/tmp/posada-acpi-XXXXXX", cmd[512];

	if (system("command -v iasl >/dev/null")) {
		printf("skipped: iasl is not installed\n");
		return;
	}
	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (unsigned i = 0; i < 2; i++) {
		struct acpi_config cfg = { .n_cpus = i ? 300 : 2,
					   .serial_mask = i ? 0xf : 1,
					   .i8042 = true,
					   .rtc = true,
					   .pvpanic = i,
					   .pci = true,
					   .links = i,
					   .pci_mem64_base = 512ull << 30,
					   .pci_mem64_size = 64ull << 30 };
		struct tables t;

		set_irqs(&cfg, i ? ACPI_PCI_IRQS : 2);
		t = build(&cfg);

		dump(dir, i ? "dsdt1" : "dsdt0", t.dsdt);
		dump(dir, i ? "facp1" : "facp0", t.fadt);
		dump(dir, i ? "apic1" : "apic0", t.madt);
		dump(dir, i ? "facs1" : "facs0", t.facs);
	}
	/* The header has the compiler's name and a checksum over it; the rest must be the same. */
	snprintf(cmd, sizeof(cmd),
		 "cd %s && (for t in *.aml; do iasl -d $t && iasl -we -p again ${t%%.aml}.dsl && "
		 "cmp -i 36 $t again.aml || exit 1; done) >log 2>&1; rc=$?; "
		 "grep -iE 'warning|error|invalid|unknown|bad ' log | grep -v '0 Errors, 0 "
		 "Warnings' "
		 "&& rc=1; [ $rc = 0 ] || cat log; rm -r %s; exit $rc",
		 dir, dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

/* --- tables that firmware places ---------------------------------------------------- */

struct placed {
	char name[56];
	uint64_t gpa;
	uint32_t len;
};

static struct placed *placed_of(struct placed *f, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(f[i].name, name))
			return &f[i];
	ck_abort_msg("file '%s' is not allocated", name);
	return NULL;
}

/*
 * Carries out the commands of etc/table-loader as SeaBIOS and OVMF do. Tables go to
 * `high` in the area that at() allows, the RSDP behind them. Returns the RSDP's place.
 */
static uint64_t load_tables(uint64_t high)
{
	static uint8_t script[32 * 128];
	uint32_t n = fw_file("etc/table-loader", script, sizeof(script));
	struct placed file[4];
	unsigned n_files = 0;

	ck_assert_uint_eq(n % 128, 0);
	for (const uint8_t *c = script; c < script + n; c += 128) {
		const char *name = (const char *)c + 4;
		struct placed *f, *to;
		uint64_t off, val = 0;

		ck_assert_uint_lt(strnlen(name, 56), 56);
		switch (le(c, 4)) {
		case 1: /* allocate: alignment, zone */
			ck_assert_uint_lt(n_files, 4);
			f = &file[n_files++];
			snprintf(f->name, sizeof(f->name), "%s", name);
			f->gpa = c[64] == 2 ? 0xff000 : high;
			ck_assert(c[64] == 1 || c[64] == 2);
			ck_assert_uint_eq(f->gpa % le(c + 60, 4), 0);
			f->len = fw_file(name, gmem_ptr(&fake.m.mem, f->gpa, 0x1000), 0x10000);
			break;
		case 2: /* pointer: file, offset, size */
			f = placed_of(file, n_files, name);
			to = placed_of(file, n_files, (const char *)c + 60);
			off = le(c + 116, 4);
			ck_assert(c[120] == 4 || c[120] == 8);
			ck_assert_uint_le(off + c[120], f->len);
			ck_assert_int_eq(gmem_read(&fake.m.mem, f->gpa + off, &val, c[120]), 0);
			ck_assert_uint_lt(val, to->len); /* it points into that file */
			val += to->gpa;
			ck_assert_int_eq(gmem_write(&fake.m.mem, f->gpa + off, &val, c[120]), 0);
			break;
		case 3: /* checksum: offset, start, length */
			f = placed_of(file, n_files, name);
			off = le(c + 60, 4);
			ck_assert_uint_le(le(c + 64, 4) + le(c + 68, 4), f->len);
			ck_assert_uint_lt(off, f->len);
			*(uint8_t *)gmem_ptr(&fake.m.mem, f->gpa + off, 1) -=
				sum(gmem_ptr(&fake.m.mem, f->gpa + le(c + 64, 4), 1),
				    le(c + 68, 4));
			break;
		default:
			ck_abort_msg("command %u", (unsigned)le(c, 4));
		}
	}
	return placed_of(file, n_files, "etc/acpi/rsdp")->gpa;
}

START_TEST(firmware_places_tables)
{
	static const uint64_t places[] = { 0xe0000, 0xe1340, 0xe8fc0 };
	struct acpi_config cfg = {
		.n_cpus = 3, .serial_mask = 1, .i8042 = true, .rtc = true, .pci = true
	};
	struct err e;

	fake_add(&fw_cfg_class, "");
	for (unsigned i = 0; i < 6; i++) {
		struct tables t, own;
		uint32_t dsdt_len;

		cfg.links = i >= 3;
		ck_assert_int_eq(acpi_tell_firmware(&fake.m, &cfg, &e), 0);
		memset(gmem_ptr(&fake.m.mem, BOOT_ACPI_ADDR, 0x20000), 0xa5, 0x20000);
		t = follow(load_tables(places[i % 3]));
		check_madt(t.madt, 3);
		ck_assert_uint_ge((uint64_t)(t.dsdt - (uint8_t *)fake.m.mem.ram), places[i % 3]);
		/* The same as those that posada places itself. */
		dsdt_len = (uint32_t)le(t.dsdt + 4, 4);
		{
			uint8_t *copy = malloc(dsdt_len);

			memcpy(copy, t.dsdt, dsdt_len);
			own = build(&cfg);
			ck_assert_uint_eq(le(own.dsdt + 4, 4), dsdt_len);
			ck_assert_mem_eq(own.dsdt, copy, dsdt_len);
			free(copy);
		}
	}
}
END_TEST

START_TEST(firmware_is_told_of_too_many)
{
	struct err e;

	fake_add(&fw_cfg_class, "");
	ck_assert_int_lt(acpi_tell_firmware(&fake.m, &(struct acpi_config){ .n_cpus = 1 << 20 },
					    &e),
			 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "-smp"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		pm_reset_state,
		power_off,
		power_button,
		pm_timer,
		pm_timer_status,
		gpe,
		hotplug,
		dsdt_slots,
		pm_hostile,
		tables_by_cpus,
		fadt,
		dsdt_s5,
		dsdt_devices,
		dsdt_pci_windows,
		dsdt_prt,
		no_room,
		iasl,
		firmware_places_tables,
		firmware_is_told_of_too_many,
	};

	return fake_main("acpi", tests, sizeof(tests) / sizeof(tests[0]));
}
