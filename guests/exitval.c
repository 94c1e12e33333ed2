/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ends with the value of `value=N`, written with `width=1|2|4`, to isa-debug-exit. */
#include "guest.h"

void guest_main(void)
{
	uint32_t v = (uint32_t)arg_u64("value", 0);

	say("leaving with %u\n", v);
	switch (arg_u64("width", 1)) {
	case 1:
		outb(DEBUG_EXIT_PORT, (uint8_t)v);
		break;
	case 2:
		outw(DEBUG_EXIT_PORT, (uint16_t)v);
		break;
	default:
		outl(DEBUG_EXIT_PORT, v);
	}
	say("still here\n");
	for (;;)
		asm volatile("cli; hlt");
}
