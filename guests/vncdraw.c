/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Draws for ever: 1024x768 pixels of 32 bits on a VGA with the registers of Bochs (-vga std), by
 * code at CPL3, which is fast where KVM is software. Says "drawing" first.
 *
 *   fill=solid  the whole screen has one colour, and then another (default)
 *   fill=lines  each line has its own
 *   still       only one picture, and says "drawn" then
 */
#include "guest.h"
#include "pci.h"

enum { WIDTH = 1024, HEIGHT = 768, DISPI_INDEX = 0x1ce, DISPI_DATA = 0x1cf };
enum { XRES = 1, YRES = 2, BPP = 3, ENABLE = 4, ENABLED = 1, LINEAR = 0x40 };

static struct {
	uint64_t *frame;
	bool lines, still;
} draw USER_DATA;

static void dispi(unsigned reg, unsigned val)
{
	outw(DISPI_INDEX, (uint16_t)reg);
	outw(DISPI_DATA, (uint16_t)val);
}

static USER void user_draw(uint64_t seed)
{
	for (uint32_t n = 1;; n++) {
		uint64_t *to = draw.frame;

		for (uint32_t y = 0; y < HEIGHT; y++) {
			uint64_t colour =
				(n * 0x030507 + (draw.lines ? y * 0x010301 : 0)) & 0xffffff;
			uint64_t count = WIDTH / 2;

			asm volatile("rep stosq"
				     : "+D"(to), "+c"(count)
				     : "a"(colour | colour << 32)
				     : "memory");
		}
		if (draw.still)
			USER_EXIT(0);
	}
}

void guest_main(void)
{
	int vga = pci_find(0x1234, 0x1111, 0);
	uint64_t base = vga < 0 ? 0 : pci_bar_open((unsigned)vga, 0);

	if (!base)
		leave_skip("no -vga std");
	dispi(ENABLE, 0);
	dispi(XRES, WIDTH);
	dispi(YRES, HEIGHT);
	dispi(BPP, 32);
	dispi(ENABLE, ENABLED | LINEAR);
	inb(0x3da);
	outb(0x3c0, 0x20); /* the screen is on */
	draw.frame = map_phys(base);
	draw.lines = arg_is("fill", "lines");
	draw.still = arg_is("still", NULL);
	map_user((uint64_t)draw.frame, WIDTH * HEIGHT * 4);
	say("drawing\n");
	user_run(user_draw, 0);
	say("drawn\n");
	for (;;)
		wait_irq();
}
