/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Powers the machine off by ACPI S5: \_S5's sleep type from the DSDT, written
 * with SLP_EN to the PM1a control register (ACPI 6.4, sections 4.8.3.2, 7.4.2).
 * `button`: waits for the power button (SCI status bit) first; `enable`: having enabled
 * it, as systems do that look at it; `deaf`: and does not.
 */
#include "guest.h"

/* The first element of the package named _S5_; 0xff when there is none. */
static unsigned s5_type(const struct acpi_table *dsdt)
{
	const uint8_t *p = (const uint8_t *)dsdt + sizeof *dsdt;
	const uint8_t *end = (const uint8_t *)dsdt + dsdt->len - 8;

	for (; p < end; p++) {
		if (memcmp(p, "_S5_", 4) || p[4] != 0x12)
			continue;
		p += 5;
		p += 1 + (p[0] >> 6); /* package length */
		p++; /* number of elements */
		switch (*p) {
		case 0x00: /* ZeroOp */
		case 0x01: /* OneOp */
			return *p;
		case 0x0a: /* BytePrefix */
			return p[1];
		}
		break;
	}
	return 0xff;
}

void guest_main(void)
{
	const struct acpi_table *fadt = acpi_find("FACP"), *dsdt = acpi_find("DSDT");
	uint16_t cnt, evt;
	unsigned type;

	if (!check(fadt && dsdt, "there are a FADT and a DSDT"))
		return;
	cnt = *(const uint16_t *)((const uint8_t *)fadt + 64);
	evt = *(const uint16_t *)((const uint8_t *)fadt + 56);
	type = s5_type(dsdt);
	if (!check(type < 8, "\\_S5 names sleep type %u", type))
		return;
	if (!(inw(cnt) & 1)) {
		/* Firmware would have done it. */
		outb(*(const uint16_t *)((const uint8_t *)fadt + 48), ((const uint8_t *)fadt)[52]);
		check(inw(cnt) & 1, "ACPI mode is on");
	}
	if (arg_is("button", NULL)) {
		outw(evt, 0x100);
		if (arg_is("enable", NULL))
			outw(evt + 2, 0x100);
		say("waiting for the power button\n");
		while (!(inw(evt) & 0x100) || arg_is("deaf", NULL))
			delay_us(10000);
		outw(evt, 0x100);
		check(!(inw(evt) & 0x100), "power button status is cleared by a one");
	}
	say("powering off\n");
	outw(cnt, (uint16_t)(type << 10 | 1u << 13));
	for (unsigned i = 0; i < 100; i++)
		delay_us(50000);
	check(false, "the machine is off");
}
