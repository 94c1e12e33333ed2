/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PIIX4's power management function (Intel 82371AB data sheet, chapter 7): bases, SMBus, APM.
 */
#include "pci_guest.h"

#include "firmware.h"

extern const struct dev_class acpi_pm_class, piix4_pm_class;

#define PM DEVFN(1, 3)
enum { PMBA = 0x40, DEVACTB = 0x58, PMREGMISC = 0x80, SMBBA = 0x90, SMBHSTCFG = 0xd2 };

static struct firmware bios;

static void add(bool firmware)
{
	fake.m.bios = NULL;
	board();
	fake_add(&acpi_pm_class, "");
	fake.m.bios = firmware ? &bios : NULL;
	fake_add(&piix4_pm_class, "");
	machine_reset_devices(&fake.m);
}

static const char *at_port(uint16_t port)
{
	const struct io_region *r = bus_find(&fake.m.pio, port);

	return r ? r->name : "";
}

START_TEST(identity)
{
	add(true);
	ck_assert_uint_eq(cfg_read(PM, 0, 4), 0x71138086);
	ck_assert_uint_eq(cfg_read(PM, 8, 4) >> 8, 0x068000);
	ck_assert_uint_eq(cfg_read(PM, PMBA, 4), 1); /* it is an I/O base, and off */
	ck_assert_uint_eq(cfg_read(PM, PMREGMISC, 1), 0);
	ck_assert_uint_eq(cfg_read(PM, DEVACTB, 4) >> 25 & 1, 1); /* no SMM is to be set up */
}
END_TEST

/* Firmware puts the ports where it likes; the timer goes on there. */
START_TEST(ports_move)
{
	uint32_t before;

	add(true);
	ck_assert_str_eq(at_port(0x608), "");
	cfg_write(PM, PMBA, 0x600, 4);
	ck_assert_str_eq(at_port(0x608), "");
	cfg_write(PM, PMREGMISC, 1, 1);
	before = inl(0x608);
	fake_advance(1000000000);
	ck_assert_uint_eq(inl(0x608) - before, 3579545);
	cfg_write(PM, PMBA, 0x640, 2);
	ck_assert_uint_ne(inl(0x648), 0xffffffff);
	ck_assert_str_eq(at_port(0x608), "");
	cfg_write(PM, PMBA, 0xb03f, 2); /* the low six bits are fixed */
	ck_assert_uint_eq(cfg_read(PM, PMBA, 4), 0xb001);
	ck_assert_str_eq(at_port(0x608), "");
	ck_assert_uint_ne(inl(0xb008), 0xffffffff);
	outw(0xb004, 0x2000); /* S5 */
	ck_assert_uint_eq(fake.requests, 1);
	cfg_write(PM, PMREGMISC, 0, 1);
	ck_assert_uint_eq(inl(0xb008), 0xffffffff);
	cfg_write(PM, PMREGMISC, 1, 1);
	ck_assert_uint_ne(inl(0xb008), 0xffffffff);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inl(0xb008), 0xffffffff);
	ck_assert_uint_eq(cfg_read(PM, PMBA, 4), 1);
}
END_TEST

START_TEST(without_firmware)
{
	add(false);
	ck_assert_uint_eq(cfg_read(PM, PMBA, 4), ACPI_PM_BASE | 1);
	ck_assert_uint_eq(cfg_read(PM, PMREGMISC, 1), 1);
	ck_assert_uint_ne(inl(ACPI_PM_TMR), 0xffffffff);
	machine_reset_devices(&fake.m);
	ck_assert_uint_ne(inl(ACPI_PM_TMR), 0xffffffff);
}
END_TEST

START_TEST(smbus_is_empty)
{
	add(true);
	cfg_write(PM, SMBBA, 0x700, 4);
	ck_assert_uint_eq(inb(0x700), 0xff);
	cfg_write(PM, SMBHSTCFG, 1, 1);
	ck_assert_uint_eq(inb(0x700), 0);
	outb(0x704, 0xa1); /* address 0x50, a memory module's */
	ck_assert_uint_eq(inb(0x704), 0xa1);
	outb(0x702, 0x48); /* byte data, start */
	ck_assert_uint_eq(inb(0x700), 0x04); /* device error */
	ck_assert_uint_eq(inb(0x702), 0x08); /* START reads as 0 */
	outb(0x700, 0x02);
	ck_assert_uint_eq(inb(0x700), 0x04);
	outb(0x700, 0x04);
	ck_assert_uint_eq(inb(0x700), 0);
	cfg_write(PM, SMBBA, 0x710, 4);
	ck_assert_str_eq(at_port(0x700), "");
	ck_assert_str_eq(at_port(0x710), "smbus");
	cfg_write(PM, SMBHSTCFG, 0, 1);
	ck_assert_str_eq(at_port(0x710), "");
}
END_TEST

START_TEST(apm)
{
	add(true);
	outb(0xb2, 0x12);
	outb(0xb3, 0x34);
	ck_assert_uint_eq(inw(0xb2), 0x3412);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inw(0xb2), 0);
}
END_TEST

/* Any base, any time: no port is left behind. */
START_TEST(hostile)
{
	uint64_t seed = 3;

	add(true);
	for (unsigned i = 0; i < 5000; i++) {
		static const uint8_t regs[] = { PMBA, PMREGMISC, SMBBA, SMBHSTCFG, DEVACTB };
		unsigned off = regs[fake_random(&seed) % 5] + fake_random(&seed) % 2;

		cfg_write(PM, off & ~1u, fake_random(&seed), 1u << fake_random(&seed) % 2);
	}
	fake_hammer(0xb2, 2, 1000, 5);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { identity,       ports_move, without_firmware,
				       smbus_is_empty, apm,        hostile };

	return fake_main("piix4_pm", tests, sizeof(tests) / sizeof(tests[0]));
}
