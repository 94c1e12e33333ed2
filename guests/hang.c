/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Says "hanging" and never ends: `how=spin` (busy, interrupts off), `halt`
 * (halted for good), `idle` (halted, interrupts on), `user` (busy at CPL3),
 * `ports` (writes to a port all the time).
 */
#include "guest.h"

static USER void user_spin(uint64_t arg)
{
	(void)arg;
	for (;;)
		asm volatile("");
}

void guest_main(void)
{
	say("hanging\n");
	if (arg_is("how", "spin")) {
		for (;;)
			asm volatile("");
	}
	if (arg_is("how", "halt")) {
		for (;;)
			asm volatile("cli; hlt");
	}
	if (arg_is("how", "idle")) {
		for (;;)
			asm volatile("sti; hlt");
	}
	if (arg_is("how", "user"))
		user_run(user_spin, 0);
	if (arg_is("how", "ports")) {
		for (;;)
			outb(0x80, 0);
	}
	leave_skip("how=spin|halt|idle|user|ports");
}
