/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first words: who started us, with what command line and which modules. */
#include "guest.h"

void guest_main(void)
{
	uint64_t cr0, cr4;

	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	say("Hello from 64-bit mode\n");
	say("booted by: %s\n", boot.name);
	say("command line: [%s]\n", boot.cmdline);
	for (unsigned i = 0; i < boot.n_mod; i++) {
		const uint8_t *p = (const uint8_t *)boot.mod[i].addr;
		uint32_t sum = 0;

		for (uint64_t k = 0; k < boot.mod[i].size; k++)
			sum += p[k];
		say("module %u: %lu bytes, sum %u, [%s]\n", i, boot.mod[i].size, sum,
		    boot.mod[i].args);
		check(!(boot.mod[i].addr & 0xfff), "module %u begins on a page", i);
	}
	check((cr0 & 0x80000001) == 0x80000001, "protected mode and paging are on");
	check(cr4 & 0x20, "physical address extension is on");
	check(rdmsr(MSR_EFER) & 0x400, "long mode is active");
}
