/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COM1 by interrupt (IRQ 4 through the IOAPIC): sends a line by transmitter
 * interrupts, then echoes what it receives, line by line, until "quit".
 */
#include "guest.h"

#define COM1 0x3f8
#define VEC_COM1 0x44

static char in[512];
static volatile unsigned n_in, rx_irqs, tx_irqs;
static const char *volatile out;

static void on_serial(struct trap_frame *f)
{
	uint8_t iir;

	(void)f;
	while (!((iir = inb(COM1 + 2)) & 1)) {
		switch (iir & 0xe) {
		case 0x4: /* data */
		case 0xc: /* data that has waited in the FIFO */
			rx_irqs++;
			while (inb(COM1 + 5) & 1) {
				char c = (char)inb(COM1);

				if (n_in < sizeof in)
					in[n_in++] = c;
			}
			break;
		case 0x2: /* transmitter empty */
			tx_irqs++;
			for (unsigned i = 0; i < 16 && *out; i++)
				outb(COM1, (uint8_t)*out++);
			if (!*out)
				outb(COM1 + 1, 1);
			break;
		default:
			inb(COM1 + 5);
			inb(COM1 + 6);
		}
	}
	lapic_eoi();
}

void guest_main(void)
{
	static const char text[] = "sent by interrupts, sixteen bytes at a time\r\n";
	unsigned begin = 0;

	lapic_init();
	trap_handler[VEC_COM1] = on_serial;
	outb(COM1 + 2, 0x07); /* FIFOs on, empty, trigger at 1 */
	check((inb(COM1 + 2) & 0xc0) == 0xc0, "COM1 has FIFOs");
	outb(COM1 + 4, 0x0b); /* OUT2 lets interrupts through */
	ioapic_route(acpi_irq_gsi(4), VEC_COM1);
	out = text;
	outb(COM1 + 1, 3);
	while (*out)
		wait_irq();
	check(tx_irqs >= 3, "transmitter interrupts came");
	say("ready\n");
	for (;;) {
		unsigned end = begin;

		irq_off();
		while (end < n_in && in[end] != '\n' && in[end] != '\r')
			end++;
		if (end == n_in) {
			wait_irq();
			continue;
		}
		say("got [");
		for (unsigned i = begin; i < end; i++)
			putch(in[i]);
		say("]\n");
		if (end - begin == 4 && !memcmp(in + begin, "quit", 4))
			break;
		begin = end + 1;
		if (begin == n_in)
			begin = n_in = 0;
	}
	check(rx_irqs > 0, "receiver interrupts came");
}
