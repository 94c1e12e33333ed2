/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways for a guest to die: `how=triple` (triple fault), `how=unmapped`
 * (executes where nothing is).
 */
#include "guest.h"

void guest_main(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	say("dying: %s\n", boot.cmdline);
	if (arg_is("how", "triple")) {
		asm volatile("lidt %0\nud2" ::"m"(none));
	} else if (arg_is("how", "unmapped")) {
		asm volatile("jmp *%0" ::"r"(0xd0000000ull));
	}
	leave_skip("how=triple|unmapped");
}
