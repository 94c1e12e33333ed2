/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DMA controllers' registers, as firmware and kernels set them up and look for them. */
#include "fake_machine.h"

extern const struct dev_class isa_dma_class;

/* Both controllers: the registers' first port, and how far apart they are. */
static const struct {
	uint16_t base;
	unsigned step;
} at[] = { { 0x00, 1 }, { 0xc0, 2 } };

static uint16_t port(unsigned i, unsigned reg)
{
	return (uint16_t)(at[i].base + reg * at[i].step);
}

START_TEST(counters)
{
	fake_add(&isa_dma_class, "");
	for (unsigned i = 0; i < 2; i++) {
		outb(port(i, 13), 0);
		for (unsigned reg = 0; reg < 8; reg++) {
			outb(port(i, reg), (uint8_t)(0x10 * i + reg));
			outb(port(i, reg), (uint8_t)(0x80 + reg));
		}
		for (unsigned reg = 0; reg < 8; reg++) {
			ck_assert_uint_eq(inb(port(i, reg)), 0x10 * i + reg);
			ck_assert_uint_eq(inb(port(i, reg)), 0x80 + reg);
		}
		/* The flip-flop is one for all, and can be put back. */
		inb(port(i, 0));
		ck_assert_uint_eq(inb(port(i, 1)), 0x81);
		inb(port(i, 0));
		outb(port(i, 12), 0);
		ck_assert_uint_eq(inb(port(i, 1)), 0x10 * i + 1);
		outb(port(i, 13), 0);
		ck_assert_uint_eq(inb(port(i, 2)), 0x10 * i + 2);
	}
}
END_TEST

START_TEST(masks)
{
	fake_add(&isa_dma_class, "");
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(inb(port(i, 15)), 0xff);
		outb(port(i, 10), 0x02);
		ck_assert_uint_eq(inb(port(i, 15)), 0xfb);
		outb(port(i, 10), 0x06);
		ck_assert_uint_eq(inb(port(i, 15)), 0xff);
		outb(port(i, 14), 0);
		ck_assert_uint_eq(inb(port(i, 15)), 0xf0);
		outb(port(i, 15), 0x05);
		ck_assert_uint_eq(inb(port(i, 15)), 0xf5);
		ck_assert_uint_eq(inb(port(i, 8)), 0x00);
		outb(port(i, 9), 0x05); /* channel 1 by software */
		ck_assert_uint_eq(inb(port(i, 8)), 0x20);
		outb(port(i, 13), 0);
		ck_assert_uint_eq(inb(port(i, 8)), 0x00);
		ck_assert_uint_eq(inb(port(i, 15)), 0xff);
		outb(port(i, 14), 0);
	}
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inb(port(0, 15)), 0xff);
}
END_TEST

START_TEST(pages)
{
	fake_add(&isa_dma_class, "");
	for (uint16_t p = 0x81; p <= 0x8f; p++)
		outb(p, (uint8_t)(p ^ 0x55));
	for (uint16_t p = 0x81; p <= 0x8f; p++)
		ck_assert_uint_eq(inb(p), p ^ 0x55);
	ck_assert_uint_eq(inb(0x80), 0xff); /* another device's */
	ck_assert_uint_eq(inb(0x90), 0xff);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inb(0x81), 0);
}
END_TEST

START_TEST(hostile)
{
	fake_add(&isa_dma_class, "");
	for (unsigned i = 0; i < 50; i++) {
		fake_hammer(0x04, 16, 200, i);
		fake_hammer(0xc0, 32, 200, i);
		fake_hammer(0x81, 15, 200, i);
	}
	ck_assert_uint_eq(fake.requests, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { counters, masks, pages, hostile };

	return fake_main("isa-dma", tests, sizeof(tests) / sizeof(tests[0]));
}
