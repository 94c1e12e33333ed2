/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Says to pvpanic (port 0x505) that this guest crashed. `event=N`: 1 panicked, 2 crash loaded. */
#include "guest.h"

void guest_main(void)
{
	unsigned supported = inb(0x505);

	say("pvpanic supports %u\n", supported);
	if (supported == 0xff)
		leave_skip("no pvpanic device");
	check(supported & 1, "panics can be told");
	outb(0x505, (uint8_t)arg_u64("event", 1));
	say("told\n");
}
