/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16550A serial port, register by register, as its data sheet and drivers see it. */
#include "fake_machine.h"

extern const struct dev_class isa_serial_class;

enum { BASE = 0x3f8, IRQ = 4 };
enum { DATA = BASE, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

#define OUT2 0x08
#define LOOP 0x10

static struct chardev *const c = &fake.chardev[0];

static void add(void)
{
	fake_add(&isa_serial_class, "chardev=c0");
}

static void outs(const char *s)
{
	while (*s)
		outb(DATA, (uint8_t)*s++);
}

#define ck_output(text)                                                                            \
	do {                                                                                       \
		ck_assert_uint_eq(c->out_n, sizeof(text) - 1);                                     \
		ck_assert_mem_eq(c->out, text, sizeof(text) - 1);                                  \
	} while (0)

START_TEST(reset_state)
{
	add();
	for (int round = 0; round < 2; round++) {
		ck_assert_uint_eq(inb(IER), 0);
		ck_assert_uint_eq(inb(IIR), 0x01);
		ck_assert_uint_eq(inb(LCR), 0);
		ck_assert_uint_eq(inb(MCR), 0);
		ck_assert_uint_eq(inb(LSR), 0x60);
		ck_assert_uint_eq(inb(MSR), 0xb0);
		ck_assert(!fake.irq[IRQ]);
		outb(LCR, 0x80);
		ck_assert_uint_eq(inw(DATA), 12); /* 9600 baud */
		outb(LCR, 0);
		for (unsigned port = BASE + 1; port < BASE + 8; port++)
			outb((uint16_t)port, 0x0f);
		outb(FCR, 0x01);
		fake_in(c, "abc", 3);
		machine_reset_devices(&fake.m);
	}
}
END_TEST

START_TEST(registers)
{
	add();
	outb(SCR, 0x5a);
	ck_assert_uint_eq(inb(SCR), 0x5a);
	outb(IER, 0xff);
	ck_assert_uint_eq(inb(IER), 0x0f);
	outb(MCR, 0xff);
	ck_assert_uint_eq(inb(MCR), 0x1f);
	outb(MCR, 0);
	outb(LCR, 0x9b);
	outb(DATA, 0x34);
	outb(IER, 0x12);
	ck_assert_uint_eq(inb(DATA), 0x34);
	ck_assert_uint_eq(inb(IER), 0x12);
	ck_assert_uint_eq(inw(DATA), 0x1234);
	outb(LCR, 0x1b);
	ck_assert_uint_eq(inb(LCR), 0x1b);
	ck_assert_uint_eq(inb(IER), 0x0f);
	ck_assert_uint_eq(c->out_n, 0);
	/* LSR and MSR are read-only. */
	outb(LSR, 0xff);
	outb(MSR, 0xff);
	ck_assert_uint_eq(inb(LSR), 0x60);
}
END_TEST

/* The steps of Linux's 8250 driver, autoconfig() and startup, in its order. */
START_TEST(linux_autoprobe)
{
	uint8_t saved_lcr, dll, dlm, iir1, iir2, lsr;
	int count = 0;

	add();
	outb(IER, 0);
	ck_assert_uint_eq(inb(IER) & 0x0f, 0);
	outb(IER, 0x0f);
	ck_assert_uint_eq(inb(IER) & 0x0f, 0x0f);
	outb(IER, 0);
	outb(MCR, LOOP | 0x0a);
	ck_assert_uint_eq(inb(MSR) & 0xf0, 0x90);
	outb(MCR, 0);
	/* 16550 and later by the FIFO bits in IIR; 0xc0 means 16550A */
	outb(LCR, 0);
	outb(FCR, 0x01);
	ck_assert_uint_eq(inb(IIR) >> 6, 3);
	/* Not a 16650 (EFR by LCR 0xbf) nor a 16750 (FCR bit 5 behind DLAB). */
	outb(LCR, 0x80);
	outb(FCR, 0x01);
	outb(FCR, 0x21);
	ck_assert_uint_eq(inb(IIR) >> 5, 6);
	outb(LCR, 0);
	/* size_fifo(): 256 bytes in loopback; as many come back as the FIFO holds. */
	saved_lcr = inb(LCR);
	outb(LCR, 0);
	outb(FCR, 0x07);
	outb(MCR, LOOP);
	outb(LCR, 0x80);
	dll = inb(DATA);
	dlm = inb(IER);
	outb(DATA, 1);
	outb(IER, 0);
	outb(LCR, 0x03);
	for (int i = 0; i < 256; i++)
		outb(DATA, (uint8_t)i);
	for (; count < 256 && inb(LSR) & 0x01; count++)
		ck_assert_uint_eq(inb(DATA), (uint8_t)count);
	ck_assert_int_eq(count, 16);
	outb(FCR, 0);
	outb(MCR, 0);
	outb(LCR, 0x80);
	outb(DATA, dll);
	outb(IER, dlm);
	outb(LCR, saved_lcr);
	ck_assert_uint_eq(c->out_n, 0);
	/* Startup: THRE is reported again when THRI is enabled anew. */
	outb(FCR, 0x01);
	outb(FCR, 0x07);
	outb(FCR, 0);
	inb(LSR);
	inb(DATA);
	inb(IIR);
	inb(MSR);
	ck_assert_uint_ne(inb(LSR), 0xff);
	outb(LCR, 0x03);
	outb(MCR, OUT2);
	outb(IER, 0x02);
	iir1 = inb(IIR);
	outb(IER, 0);
	outb(IER, 0x02);
	iir2 = inb(IIR);
	outb(IER, 0);
	ck_assert_uint_eq(iir1 & 0x0f, 0x02);
	ck_assert_uint_eq(iir2 & 0x0f, 0x02);
	/* and transmitter-empty comes with an interrupt. */
	outb(IER, 0x02);
	lsr = inb(LSR);
	ck_assert(lsr & 0x40);
	ck_assert_uint_eq(inb(IIR) & 0x01, 0);
	outb(IER, 0);
	ck_assert(!fake.irq[IRQ]);
}
END_TEST

START_TEST(output_at_once)
{
	add();
	outs("hello");
	ck_output("hello");
	ck_assert_uint_eq(inb(LSR), 0x60);
	ck_assert_uint_eq(fake.irq_sets[IRQ], 0);
}
END_TEST

START_TEST(output_without_chardev)
{
	fake_add(&isa_serial_class, "");
	outs("swallowed");
	ck_assert_uint_eq(inb(LSR), 0x60);
}
END_TEST

/* A host that takes nothing: THRE stays clear, and what was written comes later, in order. */
START_TEST(output_waits)
{
	add();
	outb(FCR, 0x01);
	outb(MCR, OUT2);
	outb(IER, 0x02);
	ck_assert(fake.irq[IRQ]);
	c->out_room = 2;
	outs("ab");
	ck_assert_uint_eq(inb(LSR), 0x60);
	outs("cdefg");
	ck_assert_uint_eq(inb(LSR), 0);
	ck_assert(!fake.irq[IRQ]);
	ck_assert_uint_eq(inb(IIR), 0xc1);
	outb(IER, 0);
	outb(IER, 0x02);
	ck_assert(!fake.irq[IRQ]); /* not empty */
	c->out_room = 1; /* what is written now must not overtake */
	outs("h");
	ck_output("ab");
	fake_out_room(c, 3);
	ck_output("abcde");
	ck_assert_uint_eq(inb(LSR), 0);
	/* A FIFO reset and a machine reset do not take back what was sent. */
	outb(FCR, 0x07);
	fake_out_room(c, 1);
	ck_output("abcdef");
	ck_assert(!fake.irq[IRQ]);
	fake_out_room(c, SIZE_MAX);
	ck_output("abcdefgh");
	ck_assert_uint_eq(inb(LSR), 0x60);
	ck_assert(fake.irq[IRQ]);
	ck_assert_uint_eq(inb(IIR), 0xc2);
	ck_assert(!fake.irq[IRQ]);
}
END_TEST

/* A driver that does not look at THRE, and a device that is removed with bytes waiting. */
START_TEST(output_backlog)
{
	add();
	c->out_room = 0;
	for (int i = 0; i < 5000; i++)
		outb(DATA, (uint8_t)(i * 7));
	ck_assert_uint_eq(inb(LSR) & 0x60, 0);
	fake_out_room(c, 1000);
	ck_assert_uint_eq(c->out_n, 1000);
	for (int i = 0; i < 500; i++) /* wraps round */
		outb(DATA, (uint8_t)((4096 + i) * 7));
	fake_out_room(c, 3000);
	c->out_room = SIZE_MAX;
	machine_remove_devices(&fake.m);
	ck_assert_uint_eq(c->out_n, 4596);
	for (int i = 0; i < 4596; i++)
		ck_assert_uint_eq(c->out[i], (uint8_t)(i * 7));
	ck_assert_ptr_null(c->client);
}
END_TEST

START_TEST(thre_interrupt)
{
	add();
	outb(FCR, 0x01);
	outb(MCR, OUT2);
	outb(IER, 0x02); /* THRE is set already */
	ck_assert(fake.irq[IRQ]);
	ck_assert_uint_eq(inb(IIR), 0xc2);
	ck_assert_uint_eq(inb(IIR), 0xc1);
	ck_assert(!fake.irq[IRQ]);
	outb(IER, 0x02); /* not enabled anew: nothing */
	ck_assert(!fake.irq[IRQ]);
	fake.irq_sets[IRQ] = 0;
	outs("sixteen bytes ok");
	ck_assert(fake.irq[IRQ]);
	ck_assert_uint_eq(fake.irq_sets[IRQ], 1); /* a call costs the host microseconds */
	outb(IER, 0);
	ck_assert(!fake.irq[IRQ]);
	outb(IER, 0x02);
	ck_assert(fake.irq[IRQ]);
}
END_TEST

/* Without FIFOs each character must give an edge, even to a guest that never reads IIR. */
START_TEST(thre_edges_without_fifo)
{
	add();
	outb(MCR, OUT2);
	outb(IER, 0x02);
	fake.irq_rises[IRQ] = 0;
	outs("abc");
	ck_assert_uint_eq(fake.irq_rises[IRQ], 3);
}
END_TEST

START_TEST(out2_and_loopback_gate_the_line)
{
	add();
	outb(IER, 0x02);
	ck_assert_uint_eq(inb(LSR), 0x60);
	ck_assert(!fake.irq[IRQ]);
	outb(MCR, OUT2);
	ck_assert(fake.irq[IRQ]);
	outb(MCR, OUT2 | LOOP);
	ck_assert(!fake.irq[IRQ]);
	outb(MCR, OUT2);
	ck_assert(fake.irq[IRQ]);
	outb(MCR, 0);
	ck_assert(!fake.irq[IRQ]);
}
END_TEST

START_TEST(receive_without_fifo)
{
	add();
	outb(MCR, OUT2);
	outb(IER, 0x01);
	ck_assert(!fake.irq[IRQ]);
	fake_in(c, "xyz", 3);
	ck_assert(fake.irq[IRQ]);
	ck_assert_uint_eq(c->in_n, 2);
	ck_assert_uint_eq(inb(LSR), 0x61);
	ck_assert_uint_eq(inb(IIR), 0x04);
	ck_assert_uint_eq(inb(DATA), 'x');
	ck_assert(!fake.irq[IRQ]);
	ck_assert_uint_eq(inb(IIR), 0x01);
	ck_assert_uint_eq(c->accepts, 1);
	fake_in_pump(c);
	ck_assert_uint_eq(inb(DATA), 'y');
	fake_in_pump(c);
	ck_assert_uint_eq(inb(DATA), 'z');
	ck_assert_uint_eq(inb(LSR), 0x60);
	ck_assert_uint_eq(fake.irq_rises[IRQ], 3);
	ck_assert_uint_eq(c->accepts, 2); /* the last time nothing was held back */
	ck_assert_uint_eq(inb(DATA), 0); /* nothing there */
}
END_TEST

START_TEST(receive_triggers)
{
	static const unsigned level[] = { 1, 4, 8, 14 };

	add();
	outb(MCR, OUT2);
	outb(IER, 0x01);
	for (unsigned i = 0; i < 4; i++) {
		outb(FCR, (uint8_t)(i << 6 | 0x03));
		fake_in(c, "0123456789abcdef", level[i] - 1);
		ck_assert_uint_eq(inb(IIR), level[i] > 1 ? 0xcc : 0xc1);
		fake_in(c, "X", 1);
		ck_assert_uint_eq(inb(IIR), 0xc4);
		ck_assert(fake.irq[IRQ]);
		/* One read brings it below the level: only the time-out is left, later. */
		inb(DATA);
		ck_assert_uint_eq(inb(IIR), 0xc1);
		while (inb(LSR) & 0x01)
			inb(DATA);
		ck_assert(!fake.irq[IRQ]);
	}
}
END_TEST

/* Four characters of 10 bits at the divisor's rate after the last character was read. */
START_TEST(character_timeout)
{
	add();
	outb(LCR, 0x83);
	outb(DATA, 1); /* 115200 baud: 347 us */
	outb(IER, 0);
	outb(LCR, 0x03);
	outb(FCR, 0x81);
	outb(MCR, OUT2);
	outb(IER, 0x01);
	fake_in(c, "abcd", 4);
	ck_assert_uint_eq(inb(IIR), 0xcc); /* a burst below the level is not held back */
	ck_assert_uint_eq(inb(DATA), 'a');
	ck_assert(!fake.irq[IRQ]);
	fake_advance(300000);
	ck_assert(!fake.irq[IRQ]);
	ck_assert_uint_eq(inb(DATA), 'b'); /* begins anew */
	fake_advance(340000);
	ck_assert(!fake.irq[IRQ]);
	fake_advance(10000);
	ck_assert(fake.irq[IRQ]);
	ck_assert_uint_eq(inb(IIR), 0xcc);
	ck_assert_uint_eq(inb(IIR), 0xcc); /* reading IIR does not clear it, reading data does */
	ck_assert_uint_eq(inb(DATA), 'c');
	ck_assert_uint_eq(inb(DATA), 'd');
	fake_advance(10000000);
	ck_assert(!fake.irq[IRQ]);
	ck_assert_uint_eq(inb(IIR), 0xc1);
	/* Enabled late, with characters waiting. */
	outb(IER, 0);
	fake_in(c, "ef", 2);
	ck_assert_uint_eq(inb(IIR), 0xc1);
	inb(DATA);
	outb(IER, 0x01);
	ck_assert_uint_eq(inb(IIR), 0xcc);
}
END_TEST

START_TEST(fifo_control)
{
	add();
	outb(FCR, 0xc0); /* without bit 0 nothing is programmed */
	ck_assert_uint_eq(inb(IIR), 0x01);
	outb(FCR, 0x01);
	fake_in(c, "0123456789abcdefREST", 20);
	ck_assert_uint_eq(c->in_n, 4);
	outb(FCR, 0x03);
	ck_assert_uint_eq(inb(LSR), 0x60);
	outb(MCR, 0);
	ck_assert_uint_eq(c->accepts, 1); /* asked for once is enough */
	fake_in_pump(c);
	ck_assert_uint_eq(inb(DATA), 'R');
	/* Turning FIFOs off or on clears them. */
	outb(FCR, 0x00);
	ck_assert_uint_eq(inb(LSR), 0x60);
	fake_in(c, "q", 1);
	outb(FCR, 0x01);
	ck_assert_uint_eq(inb(LSR), 0x60);
}
END_TEST

START_TEST(overrun)
{
	add();
	outb(MCR, LOOP);
	outs("ab");
	ck_assert_uint_eq(inb(LSR), 0x63);
	ck_assert_uint_eq(inb(LSR), 0x61); /* cleared by reading */
	ck_assert_uint_eq(inb(DATA), 'b'); /* the holding register is overwritten */
	outb(FCR, 0x01);
	outs("0123456789abcdefg");
	outb(IER, 0x04);
	ck_assert_uint_eq(inb(IIR), 0xc6);
	ck_assert_uint_eq(inb(LSR), 0x63);
	ck_assert_uint_eq(inb(IIR), 0xc1);
	for (const char *p = "0123456789abcdef"; *p; p++) /* a full FIFO is kept */
		ck_assert_uint_eq(inb(DATA), (uint8_t)*p);
	ck_assert_uint_eq(inb(LSR), 0x60);
}
END_TEST

START_TEST(line_break)
{
	add();
	outb(FCR, 0x01);
	outb(MCR, OUT2);
	outb(IER, 0x05);
	fake_in(c, "a", 1);
	c->client->event(c->ctx, CHARDEV_BREAK);
	fake_in(c, "b", 1);
	/* The error shows when its character is the next to be read; bit 7 before. */
	ck_assert_uint_eq(inb(LSR), 0xe1);
	ck_assert_uint_eq(inb(IIR), 0xc4);
	ck_assert_uint_eq(inb(DATA), 'a');
	ck_assert_uint_eq(inb(IIR), 0xc6);
	ck_assert_uint_eq(inb(LSR), 0xf1);
	ck_assert_uint_eq(inb(LSR), 0x61);
	ck_assert_uint_eq(inb(DATA), 0);
	ck_assert_uint_eq(inb(DATA), 'b');
	/* Read without a look at LSR, the error goes with its character. */
	c->client->event(c->ctx, CHARDEV_BREAK);
	ck_assert_uint_eq(inb(DATA), 0);
	ck_assert_uint_eq(inb(LSR), 0x60);
	c->client->event(c->ctx, CHARDEV_OPENED);
	c->client->event(c->ctx, CHARDEV_CLOSED);
	ck_assert_uint_eq(inb(LSR), 0x60);
	ck_assert_uint_eq(inb(MSR), 0xb0);
}
END_TEST

START_TEST(interrupt_priority)
{
	add();
	outb(FCR, 0x41);
	outb(MCR, OUT2 | LOOP);
	inb(MSR);
	outb(MCR, OUT2 | LOOP | 0x02); /* delta CTS */
	outs("0123");
	outs("4567890123456"); /* overrun */
	outb(IER, 0x0f);
	ck_assert_uint_eq(inb(IIR), 0xc6);
	ck_assert_uint_eq(inb(LSR) & 0x02, 0x02);
	ck_assert_uint_eq(inb(IIR), 0xc4);
	for (int i = 0; i < 13; i++)
		inb(DATA);
	ck_assert_uint_eq(inb(IIR), 0xc2); /* below the trigger, no time-out yet */
	fake_advance(100000000);
	ck_assert_uint_eq(inb(IIR), 0xcc);
	for (int i = 0; i < 3; i++)
		inb(DATA);
	ck_assert_uint_eq(inb(IIR), 0xc0);
	ck_assert_uint_eq(inb(MSR), 0x91);
	ck_assert_uint_eq(inb(IIR), 0xc1);
}
END_TEST

START_TEST(modem_status)
{
	add();
	outb(MCR, LOOP);
	ck_assert_uint_eq(inb(MSR), 0x0b); /* CTS, DSR, DCD fell */
	outb(MCR, LOOP | 0x01);
	ck_assert_uint_eq(inb(MSR), 0x22); /* DTR -> DSR */
	outb(MCR, LOOP | 0x02);
	ck_assert_uint_eq(inb(MSR), 0x13); /* RTS -> CTS */
	outb(MCR, LOOP | 0x04);
	ck_assert_uint_eq(inb(MSR), 0x41); /* OUT1 -> RI; its rise is no event */
	outb(MCR, LOOP | 0x08);
	ck_assert_uint_eq(inb(MSR), 0x8c); /* OUT2 -> DCD; RI's trailing edge is */
	outb(MCR, 0);
	ck_assert_uint_eq(inb(MSR), 0xb3);
	outb(IER, 0x08);
	ck_assert_uint_eq(inb(IIR), 0x01);
	outb(MCR, OUT2);
	ck_assert_uint_eq(inb(MSR), 0xb0); /* not looped back: no change */
	outb(MCR, OUT2 | LOOP);
	outb(MCR, OUT2);
	ck_assert_uint_eq(inb(IIR), 0x00);
	ck_assert(fake.irq[IRQ]);
	inb(MSR);
	ck_assert(!fake.irq[IRQ]);
}
END_TEST

/* Input that was on its way when the guest went into loopback or turned its FIFO off. */
START_TEST(input_is_never_lost)
{
	add();
	outb(FCR, 0x01);
	ck_assert_uint_eq(c->client->can_read(c->ctx), 16);
	outb(MCR, LOOP);
	c->client->read(c->ctx, (const uint8_t *)"0123456789abcdef", 16);
	ck_assert_uint_eq(inb(LSR), 0x60);
	ck_assert_uint_eq(c->client->can_read(c->ctx), 0);
	outs("L");
	ck_assert_uint_eq(inb(DATA), 'L');
	ck_assert_uint_eq(inb(LSR), 0x60);
	outb(FCR, 0);
	ck_assert_uint_eq(c->accepts, 0);
	outb(MCR, 0);
	for (const char *p = "0123456789abcdef"; *p; p++) {
		ck_assert_uint_eq(inb(LSR), 0x61);
		ck_assert_uint_eq(inb(DATA), (uint8_t)*p);
	}
	ck_assert_uint_eq(inb(LSR), 0x60);
	ck_assert_uint_ge(c->accepts, 1);
	ck_assert_uint_eq(c->client->can_read(c->ctx), 1);
}
END_TEST

/* Thousands of bytes both ways, a guest that reads when interrupted, a host that stutters. */
START_TEST(streams)
{
	uint64_t seed = 42;
	size_t got = 0, sent = 0;

	add();
	outb(FCR, 0xc1);
	outb(MCR, OUT2);
	outb(IER, 0x03);
	for (int i = 0; i < 20000; i++) {
		uint8_t b = (uint8_t)(i * 13 + (i >> 8));

		fake_in(c, &b, 1);
	}
	c->out_room = 0;
	for (unsigned rounds = 0; got < 20000 || sent < 20000; rounds++) {
		uint8_t iir;

		ck_assert_uint_lt(rounds, 1000000);
		fake_in_pump(c);
		if (fake_random(&seed) % 4 == 0)
			fake_out_room(c, fake_random(&seed) % 50);
		if (!fake.irq[IRQ]) {
			fake_advance(50000);
			continue;
		}
		iir = inb(IIR) & 0x0f;
		ck_assert_uint_ne(iir, 0x01);
		if (iir == 0x04 || iir == 0x0c) {
			for (unsigned n = fake_random(&seed) % 20; n && inb(LSR) & 0x01; n--) {
				ck_assert_uint_eq(inb(DATA), (uint8_t)(got * 13 + (got >> 8)));
				got++;
			}
		} else if (iir == 0x02) {
			for (int n = 0; n < 16 && sent < 20000; n++, sent++)
				outb(DATA, (uint8_t)(sent * 11));
		}
	}
	fake_out_room(c, SIZE_MAX);
	ck_assert_uint_eq(c->out_n, 20000);
	for (size_t i = 0; i < 20000; i++)
		ck_assert_uint_eq(c->out[i], (uint8_t)(i * 11));
}
END_TEST

START_TEST(places)
{
	struct err e;

	fake_add(&isa_serial_class, "chardev=c0");
	fake_add(&isa_serial_class, "index=2,chardev=c1");
	ck_assert_uint_eq(fake.m.serial_mask, 0x5);
	fake_add(&isa_serial_class, "");
	ck_assert_uint_eq(fake.m.serial_mask, 0x7);
	outb(0x2ff, 0x77);
	ck_assert_uint_eq(inb(0x2ff), 0x77);
	ck_assert_uint_eq(inb(0x2ef), 0xff);
	outb(0x3e8, '!');
	ck_assert_uint_eq(fake.chardev[1].out_n, 1);
	/* Not where the ACPI tables say that COM4 is. */
	fake_add(&isa_serial_class, "iobase=0x1000,irq=11");
	ck_assert_uint_eq(fake.m.serial_mask, 0x7);
	outb(0x1001, 0x02);
	outb(0x1004, OUT2);
	ck_assert(fake.irq[11]);

	ck_assert_int_eq(fake_try_add(&isa_serial_class, "", NULL, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.msg, "COM1 to COM4"));
	ck_assert_int_eq(fake_try_add(&isa_serial_class, "index=0", NULL, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.msg, "0x3f8 is taken by isa-serial"));
	ck_assert_int_eq(fake_try_add(&isa_serial_class, "index=3,iobase=0xfffc", NULL, &e),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.hint, "0xfff8"));
	ck_assert_int_eq(fake_try_add(&isa_serial_class, "index=3,chardev=c7", NULL, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "c7"));
	ck_assert_int_eq(fake_try_add(&isa_serial_class, "index=3,chardev=c0", NULL, &e), -EBUSY);
	ck_assert_int_lt(fake_try_add(&isa_serial_class, "index=4", NULL, &e), 0);
	ck_assert_uint_eq(fake.m.serial_mask, 0x7);
	machine_remove_devices(&fake.m);
	ck_assert_uint_eq(fake.m.serial_mask, 0);
}
END_TEST

START_TEST(hostile)
{
	uint64_t seed = 7;

	add();
	for (unsigned i = 0; i < 300; i++) {
		uint8_t junk[40];

		for (unsigned j = 0; j < sizeof(junk); j++)
			junk[j] = (uint8_t)fake_random(&seed);
		c->in_head = c->in_n = 0;
		fake_in(c, junk, sizeof(junk));
		if (i % 3 == 0)
			c->client->event(c->ctx, CHARDEV_BREAK);
		c->out_n = 0;
		fake_hammer(BASE, 8, 300, seed + i);
		fake_out_room(c, fake_random(&seed) % 100);
		if (i % 50 == 0)
			machine_reset_devices(&fake.m);
	}
	/* It still works. */
	c->in_head = c->in_n = 0;
	machine_reset_devices(&fake.m);
	c->out_n = 0;
	fake_out_room(c, SIZE_MAX);
	c->out_n = 0;
	outs("ok");
	ck_output("ok");
	outb(FCR, 0x01);
	while (inb(LSR) & 0x01)
		inb(DATA);
	fake_in(c, "i", 1);
	ck_assert_uint_eq(inb(DATA), 'i');
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		reset_state,
		registers,
		linux_autoprobe,
		output_at_once,
		output_without_chardev,
		output_waits,
		output_backlog,
		thre_interrupt,
		thre_edges_without_fifo,
		out2_and_loopback_gate_the_line,
		receive_without_fifo,
		receive_triggers,
		character_timeout,
		fifo_control,
		overrun,
		line_break,
		interrupt_priority,
		modem_status,
		input_is_never_lost,
		streams,
		places,
		hostile,
	};

	return fake_main("serial", tests, sizeof(tests) / sizeof(tests[0]));
}
