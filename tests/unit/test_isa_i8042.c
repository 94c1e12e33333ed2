/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keyboard controller and its keyboard, as drivers and boot loaders talk to them. */
#include "fake_machine.h"
#include "input.h"

#include <linux/input-event-codes.h>

extern const struct dev_class i8042_class;

enum { DATA = 0x60, CMD = 0x64, STATUS = CMD, IRQ = 1, AUX_IRQ = 12 };

static void add(void)
{
	fake_add(&i8042_class, "");
}

static bool full(void)
{
	return inb(STATUS) & 0x01;
}

#define ck_next(byte)                                                                              \
	do {                                                                                       \
		ck_assert(full());                                                                 \
		ck_assert_uint_eq(inb(DATA), byte);                                                \
	} while (0)

START_TEST(power_on)
{
	add();
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(inb(STATUS), 0x14); /* tested, not locked, nothing there */
		outb(CMD, 0x20);
		ck_next(0x64); /* translation, second port off, no interrupts */
		ck_assert(!full());
		outb(CMD, 0x60);
		outb(DATA, 0x01);
		outb(DATA, 0xf2);
		machine_reset_devices(&fake.m);
		ck_assert(!fake.irq[IRQ]);
		outb(DATA, 0xee); /* not the parameter of something before the reset */
		ck_next(0xee);
		machine_reset_devices(&fake.m);
	}
}
END_TEST

/* Linux's i8042_controller_check, selftest, init, check_aux, and set-up for interrupts. */
START_TEST(linux_probe)
{
	add();
	for (int i = 0; full(); i++) {
		ck_assert_int_lt(i, 16);
		inb(DATA);
	}
	outb(CMD, 0xaa);
	ck_next(0x55);
	outb(CMD, 0x20);
	ck_next(0x64);
	ck_assert(inb(STATUS) & 0x10); /* else "Keylock active" */
	outb(CMD, 0x60);
	outb(DATA, 0x74); /* keyboard off while probing */
	outb(CMD, 0x20);
	ck_next(0x74);
	/* There is a second port: AUX_LOOP answers as it, and it can be switched off and on. */
	outb(CMD, 0xd3);
	outb(DATA, 0x5a);
	ck_assert_uint_eq(inb(STATUS) & 0x21, 0x21);
	ck_next(0x5a);
	outb(CMD, 0xa9);
	ck_next(0x00);
	outb(CMD, 0xa7);
	outb(CMD, 0x20);
	ck_next(0x74);
	outb(CMD, 0xa8);
	outb(CMD, 0x20);
	ck_next(0x54);
	/* i8042_aux_test_irq: the loop's byte comes with interrupt 12. */
	outb(CMD, 0x60);
	outb(DATA, 0x56);
	outb(CMD, 0xd3);
	outb(DATA, 0xa5);
	ck_assert(fake.irq[AUX_IRQ]);
	ck_assert(!fake.irq[IRQ]);
	ck_next(0xa5);
	ck_assert(!fake.irq[AUX_IRQ]);
	/* No multiplexer: the last byte of its knock comes back as it is. */
	outb(CMD, 0xd3);
	outb(DATA, 0xa4);
	ck_next(0xa4);
	outb(CMD, 0xab);
	ck_next(0x00);
	outb(CMD, 0xae);
	outb(CMD, 0x60);
	outb(DATA, 0x65);
	ck_assert(!fake.irq[IRQ]);
	/* atkbd: reset, identify, LEDs, rate, set, enable; each byte with an interrupt. */
	static const struct {
		uint8_t send, answer[3];
	} dialog[] = {
		{ 0xff, { 0xfa, 0xaa } }, { 0xf5, { 0xfa } }, { 0xf2, { 0xfa, 0xab, 0x41 } },
		{ 0xed, { 0xfa } },       { 0x02, { 0xfa } }, { 0xf3, { 0xfa } },
		{ 0x00, { 0xfa } },       { 0xf0, { 0xfa } }, { 0x02, { 0xfa } },
		{ 0xf4, { 0xfa } },
	};
	for (unsigned i = 0; i < sizeof(dialog) / sizeof(dialog[0]); i++) {
		outb(DATA, dialog[i].send);
		for (unsigned j = 0; j < 3 && dialog[i].answer[j]; j++) {
			ck_assert(fake.irq[IRQ]);
			fake.irq_rises[IRQ] = 0;
			ck_next(dialog[i].answer[j]);
			ck_assert_uint_eq(fake.irq_rises[IRQ], fake.irq[IRQ]); /* edges */
		}
		ck_assert(!full());
		ck_assert(!fake.irq[IRQ]);
	}
	ck_assert_uint_eq(fake.requests, 0);
}
END_TEST

START_TEST(keyboard)
{
	add();
	outb(CMD, 0x60);
	outb(DATA, 0x04); /* untranslated */
	outb(DATA, 0xf2);
	ck_next(0xfa);
	ck_next(0xab);
	ck_next(0x83);
	outb(DATA, 0xee);
	ck_next(0xee);
	outb(DATA, 0xf0); /* which set? */
	ck_next(0xfa);
	outb(DATA, 0x00);
	ck_next(0xfa);
	ck_next(0x02);
	outb(DATA, 0xf0);
	inb(DATA);
	outb(DATA, 0x03);
	ck_next(0xfa);
	outb(DATA, 0xf0);
	inb(DATA);
	outb(DATA, 0x00);
	inb(DATA);
	ck_next(0x03);
	outb(DATA, 0xf0);
	inb(DATA);
	outb(DATA, 0x05); /* no such set */
	ck_next(0xfe);
	outb(DATA, 0xf6); /* defaults */
	ck_next(0xfa);
	outb(DATA, 0xf0);
	inb(DATA);
	outb(DATA, 0x00);
	inb(DATA);
	ck_next(0x02);
	outb(DATA, 0xe0); /* not a command */
	ck_next(0xfe);
	outb(DATA, 0xf2);
	inb(DATA);
	inb(DATA);
	inb(DATA);
	outb(DATA, 0xfe); /* once more, please */
	ck_next(0x83);
	outb(DATA, 0xe0);
	ck_next(0xfe);
	outb(DATA, 0xfe); /* what counts is the last byte that was not this question */
	ck_next(0x83);
	/* A command instead of the parameter, and one before the answer is read. */
	outb(DATA, 0xed);
	ck_next(0xfa);
	outb(DATA, 0xf2);
	ck_next(0xfa);
	ck_next(0xab);
	outb(DATA, 0xee); /* 0x83 is on its way and stays */
	ck_next(0x83);
	ck_next(0xee);
	ck_assert(!full());
	outb(DATA, 0xf2);
	outb(DATA, 0xee); /* all but 0xfa is overruled */
	ck_next(0xfa);
	ck_next(0xee);
	ck_assert(!full());
	outb(DATA, 0xf0);
	ck_next(0xfa);
	outb(CMD, 0x60);
	outb(DATA, 0x44);
	outb(DATA, 0x00);
	ck_next(0xfa);
	ck_next(0x41); /* set 2, translated */
}
END_TEST

/* A keyboard that is switched off keeps its bytes; speaking to it switches it on. */
START_TEST(keyboard_off)
{
	add();
	outb(CMD, 0xad);
	outb(CMD, 0x20);
	ck_next(0x74);
	outb(DATA, 0xf2);
	outb(CMD, 0x20);
	ck_next(0xfa); /* was in the output buffer before the command */
	ck_next(0x64);
	outb(CMD, 0xad);
	inb(DATA); /* 0xab was there already */
	ck_assert(!full());
	outb(CMD, 0xae);
	ck_next(0x41);
}
END_TEST

START_TEST(controller)
{
	add();
	outb(CMD, 0xa4);
	ck_next(0xf1);
	outb(CMD, 0xc0);
	ck_next(0xa0);
	outb(CMD, 0xa8);
	outb(CMD, 0x20);
	ck_next(0x44);
	outb(CMD, 0xa7);
	outb(CMD, 0x20);
	ck_next(0x64);
	outb(CMD, 0x75); /* memory */
	outb(DATA, 0x99);
	outb(CMD, 0x35);
	ck_next(0x99);
	outb(CMD, 0xd2); /* as if from the keyboard */
	outb(DATA, 0x1c);
	ck_assert_uint_eq(inb(STATUS) & 0x29, 0x01);
	ck_next(0x1c);
	outb(CMD, 0xd4); /* to the second port, which that opens */
	outb(DATA, 0xff);
	ck_assert_uint_eq(inb(STATUS) & 0x61, 0x21);
	ck_next(0xfa);
	ck_next(0xaa);
	ck_next(0x00);
	ck_assert_uint_eq(inb(STATUS) & 0x61, 0);
	outb(CMD, 0x20);
	ck_next(0x44);
	outb(CMD, 0x12); /* nothing */
	ck_assert_uint_eq(inb(STATUS), 0x1c); /* the last write was a command */
	outb(CMD, 0x60);
	outb(DATA, 0x61); /* interrupt on, system flag off */
	ck_assert_uint_eq(inb(STATUS), 0x10);
	outb(CMD, 0xaa);
	ck_assert(fake.irq[IRQ]);
	outb(CMD, 0x12);
	ck_assert_uint_eq(fake.irq_sets[IRQ], 1);
	ck_next(0x55);
	ck_assert(!fake.irq[IRQ]);
	ck_assert_uint_eq(inb(STATUS) & 0x04, 0x04);
	outb(CMD, 0xd4);
	outb(DATA, 0xff);
	ck_assert(full());
	ck_assert(!fake.irq[IRQ]); /* the second port has an interrupt of its own */
	outb(CMD, 0x60);
	outb(DATA, 0x03);
	ck_assert(fake.irq[AUX_IRQ]);
	outb(CMD, 0xd0);
	ck_assert(full());
	ck_next(0xfa);
	ck_assert(!fake.irq[AUX_IRQ]);
	ck_next(0x23); /* the output port, as it was when it was asked */
	ck_next(0xaa);
	ck_assert(fake.irq[AUX_IRQ]);
}
END_TEST

/* Keys through the set of devices, translated, with an interrupt for each byte. */
START_TEST(keys)
{
	add();
	outb(CMD, 0x60);
	outb(DATA, 0x45);
	input_key(&fake.m, KEY_A, true);
	input_key(&fake.m, KEY_A, false);
	input_key(&fake.m, KEY_RIGHT, true);
	input_key(&fake.m, KEY_RIGHT, false);
	ck_assert_uint_eq(fake.irq_rises[IRQ], 1);
	ck_next(0x1e);
	ck_assert_uint_eq(fake.irq_rises[IRQ], 2);
	ck_next(0x9e);
	ck_next(0xe0);
	ck_next(0x4d);
	ck_next(0xe0);
	ck_next(0xcd);
	ck_assert(!full());
	ck_assert_uint_eq(fake.irq_rises[IRQ], 6);
	/* Held back while the port is off; answers come before what waits. */
	outb(CMD, 0xad);
	input_key(&fake.m, KEY_B, true);
	ck_assert(!full());
	outb(DATA, 0xee);
	ck_next(0xee);
	ck_next(0x30);
	input_key(&fake.m, KEY_B, false);
	ck_next(0xb0);
	/* Untranslated the break prefix is a byte. */
	outb(CMD, 0x60);
	outb(DATA, 0x05);
	input_key(&fake.m, KEY_A, true);
	input_key(&fake.m, KEY_A, false);
	ck_next(0x1c);
	ck_next(0xf0);
	ck_next(0x1c);
	outb(DATA, 0xf5); /* no keys, please */
	ck_next(0xfa);
	input_key(&fake.m, KEY_A, true);
	ck_assert(!full());
}
END_TEST

START_TEST(repeats)
{
	add();
	fake_advance(1); /* the news of a keyboard */
	ck_assert_uint_eq(fake_timers_set(), 0);
	input_key(&fake.m, KEY_A, true);
	ck_next(0x1e);
	fake_advance(499999999);
	ck_assert(!full());
	fake_advance(1);
	ck_next(0x1e);
	ck_assert(!full());
	fake_advance(91666665);
	ck_assert(!full());
	fake_advance(1);
	ck_next(0x1e);
	/* Another key: its own delay. */
	input_key(&fake.m, KEY_B, true);
	ck_next(0x30);
	fake_advance(499999999);
	ck_assert(!full());
	fake_advance(1);
	ck_next(0x30);
	input_key(&fake.m, KEY_B, false);
	ck_assert_uint_eq(fake_timers_set(), 0);
	ck_next(0xb0);
	input_release_all(&fake.m);
	ck_next(0x9e);
	/* At the rate that the guest has set; a second press changes nothing. */
	outb(DATA, 0xf3);
	ck_next(0xfa);
	outb(DATA, 0x00);
	ck_next(0xfa);
	input_key(&fake.m, KEY_A, true);
	ck_next(0x1e);
	fake_advance(200000000);
	input_key(&fake.m, KEY_A, true);
	fake_advance(50000000);
	ck_next(0x1e);
	fake_advance(33333333);
	ck_next(0x1e);
	/* A guest that is long away finds two at most, and it does not go on by itself. */
	fake_advance(10000000000);
	ck_next(0x1e);
	ck_next(0x1e);
	ck_assert(!full());
	outb(DATA, 0xf5);
	fake_advance(1); /* the news of its lamps */
	ck_assert_uint_eq(fake_timers_set(), 0);
	ck_next(0xfa);
	outb(DATA, 0xf4);
	ck_next(0xfa);
	input_key(&fake.m, KEY_C, true);
	fake_advance(1);
	ck_assert_uint_eq(fake_timers_set(), 1);
	machine_reset_devices(&fake.m);
	fake_advance(1);
	ck_assert_uint_eq(fake_timers_set(), 0);
	ck_assert(!full());
	input_key(&fake.m, KEY_D, true); /* and the controller goes with a key down */
}
END_TEST

START_TEST(movements)
{
	add();
	input_move(&fake.m, 1, 1, 0, 0);
	ck_assert(!full()); /* nobody has enabled it */
	outb(CMD, 0x60);
	outb(DATA, 0x47);
	outb(CMD, 0xd4);
	outb(DATA, 0xf4);
	ck_assert(fake.irq[AUX_IRQ]);
	ck_next(0xfa);
	input_move(&fake.m, 3, -4, 0, INPUT_RIGHT);
	ck_assert_uint_eq(inb(STATUS) & 0x21, 0x21);
	ck_assert(!fake.irq[IRQ]);
	ck_assert(fake.irq[AUX_IRQ]);
	ck_next(0x0a);
	input_key(&fake.m, KEY_A, true); /* among the bytes of a packet */
	ck_next(3);
	ck_assert_uint_eq(inb(STATUS) & 0x21, 0x01);
	ck_assert(fake.irq[IRQ]);
	ck_next(0x1e);
	ck_next(4);
	ck_assert(!full());
	ck_assert_uint_eq(fake.irq_rises[AUX_IRQ], 4); /* one for each byte */
	outb(CMD, 0xa7);
	input_move(&fake.m, 1, 0, 0, 0);
	ck_assert(!full());
	outb(CMD, 0xa8);
	ck_next(0x08);
}
END_TEST

static unsigned leds_seen;

static void see_leds(void *ctx, unsigned leds)
{
	leds_seen = leds;
}

START_TEST(lamps)
{
	struct input_listener l = { .leds = see_leds };

	add();
	leds_seen = 0;
	input_listen(&fake.m, &l);
	outb(DATA, 0xed);
	outb(DATA, 0x06);
	ck_assert_uint_eq(leds_seen, 0); /* told on the loop */
	fake_advance(1000);
	ck_assert_uint_eq(leds_seen, INPUT_LED_NUM | INPUT_LED_CAPS);
	machine_reset_devices(&fake.m);
	fake_advance(1000);
	ck_assert_uint_eq(leds_seen, 0);
	input_unlisten(&fake.m, &l);
}
END_TEST

START_TEST(output_port)
{
	add();
	outb(CMD, 0xd0);
	ck_next(0x03); /* A20 open */
	outb(CMD, 0xdd);
	outb(CMD, 0xd0);
	ck_next(0x01);
	outb(CMD, 0xdf);
	outb(CMD, 0xd0);
	ck_next(0x03);
	outb(CMD, 0xd1);
	outb(DATA, 0xdd); /* A20 closed, no reset */
	outb(CMD, 0xd0);
	ck_next(0x01);
	ck_assert_uint_eq(fake.requests, 0);
	outb(CMD, 0xd1);
	outb(DATA, 0xfe);
	ck_assert_uint_eq(fake.requests, 1);
	ck_assert_int_eq(fake.last_request, MACHINE_RESET);
	outb(CMD, 0xff); /* pulses nothing */
	outb(CMD, 0xfd);
	ck_assert_uint_eq(fake.requests, 1);
	outb(CMD, 0xfe);
	ck_assert_uint_eq(fake.requests, 2);
	outb(CMD, 0xf0);
	ck_assert_uint_eq(fake.requests, 3);
	ck_assert_int_eq(fake.last_request, MACHINE_RESET);
}
END_TEST

START_TEST(hostile)
{
	add();
	for (unsigned i = 0; i < 200; i++) {
		fake_hammer(DATA, 5, 500, i);
		for (unsigned j = 0; j < 100; j++) {
			input_key(&fake.m, (i + j) % 250, j & 1);
			input_move(&fake.m, (int)(i * j), INT32_MIN + (int)j, (int)j - 50, j % 32);
		}
	}
	outb(CMD, 0xad);
	outb(CMD, 0xa7);
	for (int i = 0; full(); i++) {
		ck_assert_int_lt(i, 32);
		inb(DATA);
	}
	outb(CMD, 0xaa);
	ck_next(0x55);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		power_on, linux_probe, keyboard, keyboard_off, controller, output_port,
		keys,     movements,   lamps,    hostile,      repeats,
	};

	return fake_main("i8042", tests, sizeof(tests) / sizeof(tests[0]));
}
