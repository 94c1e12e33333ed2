/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resets the machine by `how=cf9|i8042|acpi|port92`, `times=N` times (1). RAM survives a
 * reset, so a counter in it says how often it happened: at 24 MiB, where no firmware writes.
 */
#include "guest.h"

struct counter {
	uint64_t magic, boots;
};
#define COUNTER ((volatile struct counter *)0x1800000)
#define MAGIC 0x7265736574206d65

void guest_main(void)
{
	volatile struct counter *c = COUNTER;
	uint64_t times = arg_u64("times", 1);
	const struct acpi_table *fadt;

	asm volatile("" : "+r"(c)); /* the compiler must not think it knows this memory */
	if (c->magic != MAGIC) {
		c->magic = MAGIC;
		c->boots = 0;
	}
	c->boots++;
	say("boot %lu\n", c->boots);
	if (c->boots > times) {
		c->magic = 0;
		check(true, "back after %lu resets", times);
		return;
	}
	if (arg_is("how", "cf9")) {
		outb(0xcf9, 2);
		outb(0xcf9, 6);
	} else if (arg_is("how", "i8042")) {
		outb(0x64, 0xfe);
	} else if (arg_is("how", "port92")) {
		outb(0x92, (uint8_t)(inb(0x92) | 1));
	} else if (arg_is("how", "acpi")) {
		fadt = acpi_find("FACP");
		if (!check(fadt != NULL && fadt->len >= 129, "FADT has a reset register"))
			return;
		outb(*(const uint16_t *)((const uint8_t *)fadt + 120),
		     ((const uint8_t *)fadt)[128]);
	} else {
		leave_skip("how=cf9|i8042|acpi|port92");
	}
	/* A reset may take a moment. */
	for (unsigned i = 0; i < 100; i++)
		delay_us(50000);
	check(false, "the machine was reset");
}
