/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MC146818 real-time clock: prints the time, checks that it is one and moves on. */
#include "guest.h"

static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static unsigned bcd(uint8_t v)
{
	return (v >> 4) * 10u + (v & 15);
}

static void wait_second(void)
{
	uint8_t s = cmos(0);

	for (unsigned i = 0; i < 300 && cmos(0) == s; i++)
		delay_us(10000);
	check(cmos(0) != s, "the seconds move on");
}

void guest_main(void)
{
	uint8_t b = cmos(0xb);
	unsigned t[6];
	static const uint8_t regs[6] = { 9, 8, 7, 4, 2, 0 };

	check(cmos(0xd) & 0x80, "the clock's battery is good");
	check(!(b & 4) && (b & 2), "BCD, 24 hours");
	wait_second();
	while (cmos(0xa) & 0x80)
		pause();
	for (unsigned i = 0; i < 6; i++)
		t[i] = bcd(cmos(regs[i]));
	say("time %u-%u-%u %u:%u:%u\n", bcd(cmos(0x32)) * 100 + t[0], t[1], t[2], t[3], t[4], t[5]);
	check(t[1] >= 1 && t[1] <= 12 && t[2] >= 1 && t[2] <= 31 && t[3] < 24 && t[4] < 60 &&
		      t[5] < 60,
	      "it is a time");
	/* Set seconds with the clock halted; they stay, then move on. */
	outb(0x70, 0xb);
	outb(0x71, 0x82);
	outb(0x70, 0);
	outb(0x71, 0x30);
	check(cmos(0) == 0x30, "the seconds can be set");
	delay_us(50000);
	outb(0x70, 0xb);
	outb(0x71, 0x02);
	wait_second();
	check(bcd(cmos(0)) >= 30 && bcd(cmos(0)) < 40, "and go on from there");
	/* A register of plain memory. */
	outb(0x70, 0x7f);
	outb(0x71, 0xa5);
	check(cmos(0x7f) == 0xa5, "CMOS memory keeps a byte");
}
