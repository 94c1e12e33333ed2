/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keyboard and mouse by interrupts: says every byte that comes with IRQ 1 and IRQ 12.
 * With "mouse" on the command line a mouse with a wheel is enabled first. Ends when Esc
 * (set 1: 0x01) has come up.
 */
#include "guest.h"

enum { VEC = 0x60, IRQ_KEYBOARD = 1, IRQ_MOUSE = 12, ESC_UP = 0x81 };

/* Bytes as they came; bit 8: from the mouse. */
static volatile uint16_t got[256];
static volatile unsigned n_got;
static volatile unsigned n_wrong;

static void take(bool mouse)
{
	uint8_t status = inb(0x64);

	/* Each interrupt is for one byte, and of its own port. */
	if (!(status & 1) || !(status & 0x20) == mouse)
		n_wrong++;
	if (n_got < 256)
		got[n_got] = inb(0x60) | (mouse ? 0x100 : 0);
	n_got++;
	lapic_eoi();
}

static void on_keyboard(struct trap_frame *f)
{
	take(false);
}

static void on_mouse(struct trap_frame *f)
{
	take(true);
}

static bool wait_status(uint8_t mask, uint8_t want)
{
	for (unsigned i = 0; i < 1000; i++) {
		if ((inb(0x64) & mask) == want)
			return true;
		delay_us(100);
	}
	return false;
}

/* To the mouse; returns its first answer, or 0x100. */
static unsigned mouse(uint8_t b)
{
	outb(0x64, 0xd4);
	wait_status(2, 0);
	outb(0x60, b);
	return wait_status(0x21, 0x21) ? inb(0x60) : 0x100;
}

static void mouse_on(void)
{
	static const uint8_t knock[] = { 0xf3, 200, 0xf3, 100, 0xf3, 80 };

	check(mouse(0xff) == 0xfa, "the mouse takes a reset");
	check(wait_status(0x21, 0x21) && inb(0x60) == 0xaa, "its self test is well");
	check(wait_status(0x21, 0x21) && inb(0x60) == 0x00, "it is a plain mouse");
	for (unsigned i = 0; i < sizeof(knock); i++)
		mouse(knock[i]);
	check(mouse(0xf2) == 0xfa && inb(0x60) == 3, "it has a wheel when asked for it");
	check(mouse(0xf4) == 0xfa, "it is enabled");
}

void guest_main(void)
{
	unsigned shown = 0;

	lapic_init();
	trap_handler[VEC] = on_keyboard;
	trap_handler[VEC + 1] = on_mouse;
	ioapic_route(IRQ_KEYBOARD, VEC);
	ioapic_route(IRQ_MOUSE, VEC + 1);
	outb(0x64, 0xa8);
	if (arg_is("mouse", NULL))
		mouse_on();
	outb(0x64, 0x60);
	wait_status(2, 0);
	outb(0x60, 0x47); /* both interrupts, translation */
	say("ready\n");
	for (bool end = false; !end;) {
		if (shown == n_got) {
			wait_irq();
			continue;
		}
		while (shown < n_got && shown < 256) {
			uint16_t b = got[shown++];

			say("%s %x\n", b & 0x100 ? "mouse" : "key", b & 0xffu);
			end = b == ESC_UP;
		}
	}
	check(n_got <= 256, "no more than 256 bytes came");
	check(!n_wrong, "every interrupt had its byte");
}
