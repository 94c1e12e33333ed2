/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MC146818 clock and CMOS memory, register by register. */
#include "fake_machine.h"

extern const struct dev_class mc146818rtc_class;

enum { IRQ = 8 };
enum { SEC, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, MDAY, MON, YEAR, A, B, C, D };
enum { CENTURY = 0x32 };

#define NS 1000000000ull

static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static void cmos_set(uint8_t reg, uint8_t val)
{
	outb(0x70, reg);
	outb(0x71, val);
}

static void add(void)
{
	fake_add(&mc146818rtc_class, "");
}

/* Host time in UTC. */
static void wall(int year, int mon, int day, int hour, int min, int sec)
{
	struct tm tm = { .tm_year = year - 1900,
			 .tm_mon = mon - 1,
			 .tm_mday = day,
			 .tm_hour = hour,
			 .tm_min = min,
			 .tm_sec = sec };

	fake_set_wall(timegm(&tm), 0);
}

static void ck_time(uint8_t century, uint8_t year, uint8_t mon, uint8_t mday, uint8_t hour,
		    uint8_t min, uint8_t sec)
{
	ck_assert_uint_eq(cmos(CENTURY), century);
	ck_assert_uint_eq(cmos(YEAR), year);
	ck_assert_uint_eq(cmos(MON), mon);
	ck_assert_uint_eq(cmos(MDAY), mday);
	ck_assert_uint_eq(cmos(HOUR), hour);
	ck_assert_uint_eq(cmos(MIN), min);
	ck_assert_uint_eq(cmos(SEC), sec);
}

START_TEST(host_time)
{
	wall(2026, 11, 20, 17, 45, 59);
	add();
	ck_time(0x20, 0x26, 0x11, 0x20, 0x17, 0x45, 0x59);
	ck_assert_uint_eq(cmos(WDAY), 6); /* Friday */
	fake_advance(NS);
	ck_time(0x20, 0x26, 0x11, 0x20, 0x17, 0x46, 0x00);
	ck_assert_uint_eq(cmos(D), 0x80);
	ck_assert_uint_eq(cmos(B), 0x02);
	ck_assert_uint_eq(cmos(A), 0x26);
	ck_assert_uint_eq(inb(0x70), 0xff);
	ck_assert_uint_eq(fake_timers_set(), 0); /* an idle clock wakes nobody */
}
END_TEST

START_TEST(formats)
{
	static const struct {
		uint8_t b, hour[5];
	} rows[] = {
		{ 0x02, { 0x00, 0x11, 0x12, 0x13, 0x23 } }, /* BCD, 24 hours */
		{ 0x06, { 0, 11, 12, 13, 23 } }, /* binary, 24 */
		{ 0x00, { 0x12, 0x11, 0x92, 0x81, 0x91 } }, /* BCD, 12: bit 7 is PM */
		{ 0x04, { 12, 11, 0x8c, 0x81, 0x8b } }, /* binary, 12 */
	};
	static const int hours[] = { 0, 11, 12, 13, 23 };

	for (unsigned r = 0; r < 4; r++) {
		add();
		cmos_set(B, rows[r].b);
		for (unsigned h = 0; h < 5; h++) {
			wall(1999, 12, 31, hours[h], 58, 0);
			ck_assert_uint_eq(cmos(HOUR), rows[r].hour[h]);
			ck_assert_uint_eq(cmos(MIN), rows[r].b & 4 ? 58 : 0x58);
			ck_assert_uint_eq(cmos(YEAR), rows[r].b & 4 ? 99 : 0x99);
			ck_assert_uint_eq(cmos(CENTURY), rows[r].b & 4 ? 19 : 0x19);
		}
		/* And the other way: the guest sets the hour, the clock runs, 24-hour BCD reads it.
		 */
		for (unsigned h = 0; h < 5; h++) {
			cmos_set(B, rows[r].b | 0x80);
			cmos_set(HOUR, rows[r].hour[h]);
			cmos_set(B, rows[r].b);
			cmos_set(B, 0x02);
			ck_assert_uint_eq(cmos(HOUR), rows[0].hour[h]);
			cmos_set(B, rows[r].b);
		}
		machine_remove_devices(&fake.m);
	}
}
END_TEST

START_TEST(bases)
{
	fake.m.rtc.offset_s = 3600 * 24 + 5;
	wall(2026, 1, 31, 10, 0, 0);
	add();
	ck_time(0x20, 0x26, 0x02, 0x01, 0x10, 0x00, 0x05);
	machine_remove_devices(&fake.m);
	fake.m.rtc.offset_s = INT64_MIN / 2; /* cannot be shown, must not overflow */
	add();
	cmos(YEAR);
	machine_remove_devices(&fake.m);
	fake.m.rtc.offset_s = INT64_MAX / 2;
	add();
	cmos(YEAR);
	machine_remove_devices(&fake.m);
	fake.m.rtc.offset_s = 0;
	fake.m.rtc.localtime = true;
	setenv("TZ", "EST5", 1);
	tzset();
	add();
	ck_time(0x20, 0x26, 0x01, 0x31, 0x05, 0x00, 0x00);
}
END_TEST

START_TEST(setting_the_time)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	fake.wall_ns += 300000000;
	cmos_set(B, 0x82);
	cmos_set(SEC, 0x58);
	cmos_set(MIN, 0x59);
	cmos_set(HOUR, 0x23);
	cmos_set(MDAY, 0x28);
	cmos_set(MON, 0x02);
	cmos_set(YEAR, 0x24);
	fake_advance(10 * NS); /* updates are inhibited */
	ck_time(0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58);
	cmos_set(B, 0x02);
	ck_time(0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58);
	fake_advance(699999999); /* the divider went on: 0.3 s into the second */
	ck_assert_uint_eq(cmos(SEC), 0x58);
	fake_advance(1);
	ck_assert_uint_eq(cmos(SEC), 0x59);
	fake_advance(NS);
	ck_time(0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00); /* a leap year */
	ck_assert_uint_eq(cmos(WDAY), 5);
	/* It stays set over a reset of the machine. */
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inb(0x71), 0x00); /* the index is 0 again */
	ck_time(0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00);
	/* Without SET a single register can be written as well. */
	cmos_set(CENTURY, 0x19);
	ck_time(0x19, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00);
	/* Long before 1970, with a fraction of a second. */
	fake_advance(NS * 3 / 2);
	ck_time(0x19, 0x24, 0x02, 0x29, 0x00, 0x00, 0x01);
	/* What the counter cannot hold ends at its limits. */
	cmos_set(CENTURY, 0x99);
	ck_time(0x21, 0x60, 0x02, 0x18, 0x10, 0x40, 0x00);
}
END_TEST

START_TEST(divider_reset)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	cmos_set(A, 0x76);
	fake_advance(5 * NS);
	ck_assert_uint_eq(cmos(SEC), 0x00);
	cmos_set(A, 0x26);
	fake_advance(NS / 2 - 1);
	ck_assert_uint_eq(cmos(SEC), 0x00);
	fake_advance(1); /* the first update comes after half a second */
	ck_assert_uint_eq(cmos(SEC), 0x01);
}
END_TEST

/* It starts when it is let go, also when the clock is still stopped by SET then. */
START_TEST(divider_reset_and_set)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	fake_advance(NS / 5);
	cmos_set(B, 0x82);
	cmos_set(A, 0x76);
	fake_advance(NS);
	cmos_set(A, 0x26);
	fake_advance(NS / 10);
	cmos_set(B, 0x02);
	fake_advance(NS * 4 / 10 - 1);
	ck_assert_uint_eq(cmos(SEC), 0x00);
	fake_advance(1);
	ck_assert_uint_eq(cmos(SEC), 0x01);
	/* The same with the other one last. */
	cmos_set(B, 0x82);
	cmos_set(A, 0x66);
	cmos_set(SEC, 0x30);
	cmos_set(B, 0x02);
	fake_advance(3 * NS);
	ck_assert_uint_eq(cmos(SEC), 0x30);
	ck_assert_uint_eq(cmos(A), 0x66); /* and no update is on its way */
	cmos_set(A, 0x26);
	fake_advance(NS / 2 - 1);
	ck_assert_uint_eq(cmos(SEC), 0x30);
	fake_advance(1);
	ck_assert_uint_eq(cmos(SEC), 0x31);
}
END_TEST

/* Register B is memory but for what SET does; a reset leaves SET, DM, 24/12 and DSE. C and D are
 * read-only. */
START_TEST(control_bits)
{
	add();
	/* Daylight saving is not kept: the night of the last Sunday of October has no hour twice.
	 */
	wall(2026, 10, 25, 1, 59, 59);
	cmos_set(B, 0x03);
	fake_advance(NS);
	ck_time(0x20, 0x26, 0x10, 0x25, 0x02, 0x00, 0x00);
	for (unsigned b = 0; b < 256; b++) {
		cmos_set(B, (uint8_t)b);
		ck_assert_uint_eq(cmos(B), b & 0x80 ? b & ~0x10u : b);
	}
	cmos_set(B, 0xff);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(cmos(B), 0x87);
	cmos_set(B, 0x02);
	cmos_set(A, 0x2f);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(cmos(A), 0x2f);
	cmos_set(D, 0x00);
	ck_assert_uint_eq(cmos(D), 0x80);
	cmos_set(A, 0x20);
	cmos(C);
	cmos_set(C, 0xff);
	ck_assert_uint_eq(cmos(C), 0x00);
}
END_TEST

/* Flags come whether they interrupt or not; IRQF is for those that do; a read takes all. */
START_TEST(flags)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	for (uint8_t enabled = 0; enabled < 8; enabled++) {
		cmos_set(A, 0x26);
		for (uint8_t reg = SEC_ALARM; reg <= HOUR_ALARM; reg += 2)
			cmos_set(reg, 0xc0);
		cmos(C);
		cmos_set(B, (uint8_t)(0x02 | enabled << 4));
		fake_advance(NS);
		ck_assert_uint_eq(fake.irq[IRQ], enabled != 0);
		ck_assert_uint_eq(cmos(C), enabled ? 0xf0 : 0x70);
		ck_assert(!fake.irq[IRQ]);
		ck_assert_uint_eq(cmos(C), 0);
		/* Taking the enable away takes the interrupt away, not the flag. */
		fake_advance(NS);
		cmos_set(B, 0x02);
		ck_assert(!fake.irq[IRQ]);
		ck_assert_uint_eq(cmos(C), 0x70);
	}
}
END_TEST

START_TEST(centuries)
{
	static const struct {
		uint8_t b, before[6], after[6];
	} rows[] = {
		{ 0x02, { 0x19, 0x99, 0x12, 0x31, 0x23, 0x59 }, { 0x20, 0, 1, 1, 0, 0 } },
		{ 0x06, { 19, 99, 12, 31, 23, 59 }, { 20, 0, 1, 1, 0, 0 } },
		{ 0x00, { 0x19, 0x99, 0x12, 0x31, 0x91, 0x59 }, { 0x20, 0, 1, 1, 0x12, 0 } },
		{ 0x04, { 20, 99, 12, 31, 0x8b, 59 }, { 21, 0, 1, 1, 12, 0 } },
		{ 0x02, { 0x20, 0x00, 0x02, 0x28, 0x23, 0x59 }, { 0x20, 0, 2, 0x29, 0, 0 } },
		{ 0x02, { 0x21, 0x00, 0x02, 0x28, 0x23, 0x59 }, { 0x21, 0, 3, 1, 0, 0 } },
	};
	static const uint8_t regs[] = { CENTURY, YEAR, MON, MDAY, HOUR, MIN };

	add();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cmos_set(B, rows[i].b | 0x80);
		for (unsigned j = 0; j < 6; j++)
			cmos_set(regs[j], rows[i].before[j]);
		cmos_set(SEC, rows[i].b & 4 ? 59 : 0x59);
		cmos_set(B, rows[i].b);
		for (unsigned j = 0; j < 6; j++)
			ck_assert_uint_eq(cmos(regs[j]), rows[i].before[j]);
		fake_advance(NS);
		for (unsigned j = 0; j < 6; j++)
			ck_assert_msg(cmos(regs[j]) == rows[i].after[j], "row %u, %02x: %02x", i,
				      regs[j], cmos(regs[j]));
	}
}
END_TEST

START_TEST(update_in_progress)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	ck_assert_uint_eq(cmos(A), 0x26);
	fake_advance(NS - 244001);
	ck_assert_uint_eq(cmos(A), 0x26);
	fake_advance(2);
	ck_assert_uint_eq(cmos(A), 0xa6);
	cmos_set(A, 0xff & ~0x50); /* UIP is read-only */
	ck_assert_uint_eq(cmos(A), 0xaf);
	fake_advance(244000);
	ck_assert_uint_eq(cmos(A), 0x2f);
	cmos_set(B, 0x82);
	fake_advance(NS - 1000);
	ck_assert_uint_eq(cmos(A), 0x2f); /* no updates, no UIP */
}
END_TEST

START_TEST(update_interrupt)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	ck_assert_uint_eq(cmos(C), 0);
	fake_advance(NS);
	ck_assert_uint_eq(cmos(C) & 0xb0, 0x10); /* the flag alone */
	ck_assert_uint_eq(cmos(C) & 0xb0, 0);
	cmos_set(B, 0x12);
	fake_advance(NS - 1);
	ck_assert(!fake.irq[IRQ]);
	fake_advance(1);
	ck_assert(fake.irq[IRQ]);
	fake_advance(5 * NS); /* stays until read, and costs no more wake-ups */
	ck_assert_uint_eq(fake.irq_sets[IRQ], 1);
	ck_assert_uint_eq(fake_timers_set(), 0);
	ck_assert_uint_eq(cmos(C) & 0xb0, 0x90);
	ck_assert(!fake.irq[IRQ]);
	ck_assert_uint_eq(cmos(C), 0);
	fake_advance(NS);
	ck_assert_uint_eq(fake.irq_rises[IRQ], 2);
	/* SET switches it off. */
	cmos_set(B, 0x92);
	ck_assert_uint_eq(cmos(B), 0x82);
	ck_assert(!fake.irq[IRQ]);
	cmos(C);
	fake_advance(5 * NS);
	ck_assert_uint_eq(cmos(C) & 0x10, 0);
	/* A flag set before its interrupt is enabled gives it at once. */
	cmos_set(B, 0x02);
	fake_advance(2 * NS);
	cmos_set(B, 0x12);
	ck_assert(fake.irq[IRQ]);
	machine_reset_devices(&fake.m);
	ck_assert(!fake.irq[IRQ]);
	ck_assert_uint_eq(cmos(B), 0x02);
	ck_assert_uint_eq(cmos(C), 0);
}
END_TEST

START_TEST(alarm_interrupt)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	cmos_set(SEC_ALARM, 0x05);
	cmos_set(MIN_ALARM, 0x01);
	cmos_set(HOUR_ALARM, 0x12);
	ck_assert_uint_eq(cmos(MIN_ALARM), 0x01);
	cmos_set(B, 0x22);
	fake_advance(65 * NS - 1);
	ck_assert(!fake.irq[IRQ]);
	fake_advance(1);
	ck_assert(fake.irq[IRQ]);
	ck_assert_uint_eq(cmos(C) & 0xa0, 0xa0);
	fake_advance(86400 * NS - 1);
	ck_assert(!fake.irq[IRQ]);
	fake_advance(1);
	ck_assert(fake.irq[IRQ]);
	cmos(C);
	/* 0xc0 and above match anything: once a minute. */
	cmos_set(MIN_ALARM, 0xc0);
	cmos_set(HOUR_ALARM, 0xff);
	for (int i = 0; i < 3; i++) {
		fake_advance(60 * NS);
		ck_assert_uint_eq(cmos(C) & 0xa0, 0xa0);
	}
	/* Polled, long after, without an interrupt; and never for an alarm at no time. */
	cmos_set(B, 0x02);
	cmos_set(HOUR_ALARM, 0x23);
	fake_advance(4 * 86400 * NS);
	ck_assert_uint_eq(cmos(C) & 0xa0, 0x20);
	cmos_set(HOUR_ALARM, 0x77);
	fake_advance(4 * 86400 * NS);
	ck_assert_uint_eq(cmos(C) & 0xa0, 0);
	cmos_set(HOUR_ALARM, 0xbf); /* below 0xc0 it is an hour that never comes */
	fake_advance(2 * 86400 * NS);
	ck_assert_uint_eq(cmos(C) & 0xa0, 0);
}
END_TEST

/* In each format, at midnight and at noon; not while SET inhibits the updates. */
START_TEST(alarm_formats)
{
	static const struct {
		uint8_t b, hour[4], min;
	} rows[] = {
		{ 0x02, { 0x00, 0x12, 0x13, 0x23 }, 0x45 },
		{ 0x06, { 0, 12, 13, 23 }, 45 },
		{ 0x00, { 0x12, 0x92, 0x81, 0x91 }, 0x45 },
		{ 0x04, { 12, 0x8c, 0x81, 0x8b }, 45 },
	};
	static const int hours[] = { 0, 12, 13, 23 };

	for (unsigned i = 0; i < 4; i++) {
		for (unsigned h = 0; h < 4; h++) {
			add();
			cmos_set(B, rows[i].b);
			cmos_set(SEC_ALARM, 0);
			cmos_set(MIN_ALARM, rows[i].min);
			cmos_set(HOUR_ALARM, rows[i].hour[h]);
			wall(2026, 11, 20, hours[h], 44, 59);
			cmos(C);
			cmos_set(B, rows[i].b | 0x20);
			fake_advance(NS);
			ck_assert(fake.irq[IRQ]);
			ck_assert_uint_eq(cmos(C) & 0xa0, 0xa0);
			fake_advance(12 * 3600 *
				     NS); /* the other half of the day is another hour */
			ck_assert(!fake.irq[IRQ]);
			cmos_set(B, rows[i].b | 0xa0);
			fake_advance(2 * 86400 * NS);
			ck_assert_uint_eq(cmos(C) & 0x30, 0x10);
			machine_remove_devices(&fake.m);
		}
	}
}
END_TEST

START_TEST(periodic_interrupt)
{
	static const unsigned hz[16] = { 0,   256, 128, 8192, 4096, 2048, 1024, 512,
					 256, 128, 64,  32,   16,   8,    4,    2 };

	wall(2026, 11, 20, 12, 0, 0);
	add();
	for (unsigned rate = 0; rate < 16; rate++) {
		unsigned count = 0;

		cmos_set(A, (uint8_t)(0x20 | rate));
		cmos(C);
		cmos_set(B, 0x42);
		if (!rate)
			ck_assert_uint_eq(fake_timers_set(), 0);
		for (unsigned i = 0; i < 20000; i++) {
			fake_advance(50000);
			if (!fake.irq[IRQ])
				continue;
			ck_assert_uint_eq(cmos(C) & 0xc0, 0xc0);
			count++;
		}
		ck_assert_msg(count == hz[rate], "rate %u: %u in a second, not %u", rate, count,
			      hz[rate]);
		cmos_set(B, 0x02);
	}
	/* Together with the update interrupt, neither holds the other back. */
	cmos_set(A, 0x2f);
	cmos(C);
	cmos_set(B, 0x52);
	fake_advance(NS / 2);
	ck_assert(fake.irq[IRQ]);
	ck_assert_uint_eq(cmos(C) & 0xd0, 0xc0);
	fake_advance(NS / 2);
	ck_assert_uint_eq(cmos(C) & 0xd0, 0xd0);
	/* It needs no update cycles, but a divider. */
	cmos_set(B, 0xc2);
	fake_advance(NS);
	ck_assert_uint_eq(cmos(C) & 0x40, 0x40);
	cmos_set(A, 0x7f);
	cmos(C);
	fake_advance(5 * NS);
	ck_assert_uint_eq(cmos(C) & 0x40, 0);
}
END_TEST

START_TEST(host_clock_is_set)
{
	wall(2026, 11, 20, 12, 0, 0);
	add();
	cmos_set(B, 0x32);
	wall(2025, 1, 1, 0, 0, 0); /* backwards */
	ck_time(0x20, 0x25, 0x01, 0x01, 0x00, 0x00, 0x00);
	cmos(C);
	fake_advance(NS);
	ck_assert(fake.irq[IRQ]);
	cmos(C);
	wall(2040, 1, 1, 0, 0, 0);
	ck_assert_uint_eq(cmos(C) & 0x10, 0x10);
	ck_time(0x20, 0x40, 0x01, 0x01, 0x00, 0x00, 0x00);
}
END_TEST

START_TEST(memory)
{
	add();
	for (unsigned i = 0x33; i < 128; i++)
		cmos_set((uint8_t)i, (uint8_t)(i * 3));
	for (unsigned i = 0x33; i < 128; i++)
		ck_assert_uint_eq(cmos((uint8_t)(i | 0x80)), (uint8_t)(i * 3)); /* NMI mask bit */
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(cmos(0x7f), (uint8_t)(0x7f * 3));
	cmos_set(0x0f, 0x0a);
	ck_assert_uint_eq(cmos(0x0f), 0x0a);
}
END_TEST

static unsigned cmos_le(uint8_t reg, unsigned n)
{
	unsigned val = 0;

	for (unsigned i = 0; i < n; i++)
		val |= (unsigned)cmos((uint8_t)(reg + i)) << 8 * i;
	return val;
}

START_TEST(memory_sizes)
{
	static const struct {
		uint64_t ram;
		unsigned base_kib, ext_kib, above_16m, high;
	} rows[] = {
		{ 512 << 10, 512, 0, 0, 0 },          { 16 << 20, 640, 15360, 0, 0 },
		{ 64ull << 20, 640, 64512, 768, 0 },  { 128ull << 20, 640, 65535, 1792, 0 },
		{ 3ull << 30, 640, 65535, 48896, 0 }, { 5ull << 30, 640, 65535, 48896, 0x8000 },
	};

	fake_teardown();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned sum = 0;

		fake_setup_ram(rows[i].ram);
		add();
		ck_assert_uint_eq(cmos_le(0x15, 2), rows[i].base_kib);
		ck_assert_uint_eq(cmos_le(0x17, 2), rows[i].ext_kib);
		ck_assert_uint_eq(cmos_le(0x30, 2), rows[i].ext_kib);
		ck_assert_uint_eq(cmos_le(0x34, 2), rows[i].above_16m);
		ck_assert_uint_eq(cmos_le(0x5b, 3), rows[i].high);
		ck_assert_uint_eq(cmos(0x5f), 0); /* further processors */
		ck_assert_uint_eq(cmos(0x10), 0); /* no floppy drives */
		ck_assert_uint_eq(cmos(0x12), 0);
		for (uint8_t reg = 0x10; reg <= 0x2d; reg++)
			sum += cmos(reg);
		ck_assert_uint_eq(cmos(0x2e) << 8 | cmos(0x2f), sum);
		fake_teardown();
	}
	fake_setup();
}
END_TEST

START_TEST(hostile)
{
	add();
	for (unsigned i = 0; i < 200; i++) {
		uint64_t seed = i;

		/* Aim at the clock's registers, by way of every width. */
		for (unsigned j = 0; j < 100; j++) {
			cmos_set((uint8_t)(fake_random(&seed) % 14), (uint8_t)fake_random(&seed));
			cmos((uint8_t)(fake_random(&seed) % 14));
			if (j % 10 == 0)
				fake_advance(fake_random(&seed) % 2000000000);
			if (j % 25 == 0)
				cmos_set(CENTURY, (uint8_t)fake_random(&seed));
		}
		fake_hammer(0x70, 2, 100, seed);
	}
	cmos_set(A, 0x26);
	cmos_set(B, 0x82);
	cmos_set(CENTURY, 0x20);
	cmos_set(YEAR, 0x30);
	cmos_set(MON, 0x01);
	cmos_set(MDAY, 0x02);
	cmos_set(HOUR, 0x03);
	cmos_set(MIN, 0x04);
	cmos_set(SEC, 0x05);
	cmos_set(B, 0x02);
	ck_time(0x20, 0x30, 0x01, 0x02, 0x03, 0x04, 0x05);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		host_time,
		formats,
		bases,
		setting_the_time,
		divider_reset,
		update_in_progress,
		update_interrupt,
		alarm_interrupt,
		periodic_interrupt,
		host_clock_is_set,
		memory,
		memory_sizes,
		divider_reset_and_set,
		control_bits,
		flags,
		centuries,
		alarm_formats,
		hostile,
	};

	return fake_main("rtc", tests, sizeof(tests) / sizeof(tests[0]));
}
