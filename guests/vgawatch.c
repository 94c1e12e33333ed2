/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A card's linear framebuffer (Bochs's dispi, 640x480 of 32 bits) that nobody draws on but when
 * told to by a letter on COM1; until then the CPU halts. What comes first decides how the
 * host learns of it: k: a plain store; u: a 16-byte one at CPL3; l: a locked one; o: one beyond
 * what is shown; t: a register of the card: the mode is set anew, and all is black. k, u and l
 * paint the screen red, green and blue.
 */
#include "pci.h"

enum { COM1 = 0x3f8, VEC_COM1 = 0x44, WIDTH = 640, HEIGHT = 480, BYTES = WIDTH * HEIGHT * 4 };

static volatile char command;

static void on_serial(struct trap_frame *f)
{
	(void)f;
	while (!(inb(COM1 + 2) & 1))
		while (inb(COM1 + 5) & 1)
			command = (char)inb(COM1);
	lapic_eoi();
}

static void dispi(uint16_t reg, uint16_t val)
{
	outw(0x1ce, reg);
	outw(0x1cf, val);
}

static void mode(void)
{
	dispi(4, 0);
	dispi(1, WIDTH);
	dispi(2, HEIGHT);
	dispi(3, 32);
	dispi(4, 0x41);
	inb(0x3da);
	outb(0x3c0, 0x20);
}

static void paint(volatile uint64_t *fb, uint32_t rgb)
{
	uint64_t two = (uint64_t)rgb << 32 | rgb, n = BYTES / 8;

	asm volatile("rep stosq" : "+D"(fb), "+c"(n) : "a"(two) : "memory");
}

static USER void user_store(uint64_t fb)
{
	asm volatile("pcmpeqd %%xmm0, %%xmm0\n"
		     "psrld $24, %%xmm0\n"
		     "pslld $8, %%xmm0\n"
		     "movups %%xmm0, (%0)"
		     :
		     : "r"(fb)
		     : "memory");
	USER_EXIT(0);
}

static void obey(char c, uint8_t *fb)
{
	switch (c) {
	case 'k':
		*(volatile uint32_t *)fb = 0xff0000;
		paint((void *)fb, 0xff0000);
		break;
	case 'u':
		user_run(user_store, (uint64_t)fb);
		check(*(volatile uint64_t *)(fb + 8) == 0x0000ff000000ff00, "16 bytes are there");
		paint((void *)fb, 0x00ff00);
		break;
	case 'l':
		asm volatile("lock addl $2, %0" : "+m"(*(volatile uint32_t *)(fb + BYTES)));
		check(*(volatile uint32_t *)(fb + BYTES) == 2, "a locked addition was made once");
		paint((void *)fb, 0x0000ff);
		break;
	case 'o':
		*(volatile uint32_t *)(fb + (8 << 20)) += 1;
		break;
	case 't':
		mode();
		break;
	}
}

void guest_main(void)
{
	int devfn = pci_find(0x1234, 0x1111, 0);
	uint64_t fb = devfn < 0 ? 0 : pci_bar_open((unsigned)devfn, 0);

	if (!fb)
		leave_skip("no VGA card with dispi");
	map_user(fb, BYTES);
	lapic_init();
	trap_handler[VEC_COM1] = on_serial;
	outb(COM1 + 2, 0x07);
	inb(COM1);
	outb(COM1 + 4, 0x0b);
	ioapic_route(acpi_irq_gsi(4), VEC_COM1);
	outb(COM1 + 1, 1);
	mode();
	outb(0xe9, '!'); /* ready: nobody may be at COM1 yet */
	for (;;) {
		char c;

		irq_off();
		c = command;
		command = 0;
		if (!c) {
			wait_irq();
			continue;
		}
		irq_on();
		if (c == 'q')
			break;
		obey(c, (uint8_t *)fb);
		say("done %c\n", c);
	}
}
