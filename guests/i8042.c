/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard controller: self test, interface test, command byte, output port. */
#include "guest.h"

static bool wait_status(uint8_t mask, uint8_t want)
{
	for (unsigned i = 0; i < 1000; i++) {
		if ((inb(0x64) & mask) == want)
			return true;
		delay_us(100);
	}
	return false;
}

static void flush(void)
{
	while (inb(0x64) & 1)
		inb(0x60);
}

/* Sends a controller command; returns its answer, or 0x100 when none comes. */
static unsigned command(uint8_t c)
{
	if (!wait_status(2, 0))
		return 0x100;
	outb(0x64, c);
	return wait_status(1, 1) ? inb(0x60) : 0x100;
}

void guest_main(void)
{
	unsigned byte;

	flush();
	check(command(0xaa) == 0x55, "self test says 0x55");
	check(command(0xab) == 0x00, "keyboard interface test says 0");
	byte = command(0x20);
	check(byte < 0x100, "command byte can be read (%x)", byte);
	outb(0x64, 0x60);
	wait_status(2, 0);
	outb(0x60, (uint8_t)((byte & ~0x03) | 0x10)); /* no interrupts, keyboard off */
	check(command(0x20) == ((byte & ~0x03u) | 0x10), "command byte can be written");
	check(command(0xd0) & 1, "output port: not in reset");
}
