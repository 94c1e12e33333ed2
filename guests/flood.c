/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes `n=N` times to port 0x80 and says how many TSC ticks each took: for benchmarks. */
#include "guest.h"

void guest_main(void)
{
	uint64_t n = arg_u64("n", 10000), t0 = rdtsc();

	for (uint64_t i = 0; i < n; i++)
		outb(0x80, (uint8_t)i);
	say("%lu writes, %lu ticks each\n", n, (rdtsc() - t0) / n);
}
