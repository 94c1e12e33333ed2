/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory map as the loader tells it: sane, complete, and true. The first
 * and last page of each RAM range are written and read back, also above 4 GiB.
 * Command line: ram=BYTES (the machine's -m), slack=BYTES that may be missing.
 */
#include "guest.h"

/* RAM that a PC hides between the EBDA and 1 MiB. */
#define LEGACY_HOLE (0x100000 - 0x9fc00)

static bool page_works(uint64_t pa, uint64_t pattern)
{
	volatile uint64_t *p = map_window(pa);
	uint64_t first = p[0], last = p[511];
	bool ok;

	p[0] = pattern;
	p[511] = ~pattern;
	ok = p[0] == pattern && p[511] == ~pattern;
	p[0] = first;
	p[511] = last;
	return ok;
}

void guest_main(void)
{
	uint64_t total = 0, high = 0, want = arg_u64("ram", 0), slack = arg_u64("slack", 0);

	say("memory map by %s\n", boot.name);
	check(boot.n_mem > 0, "there is a memory map");
	for (unsigned i = 0; i < boot.n_mem; i++) {
		const struct mem_range *r = &boot.mem[i];

		say("%lx-%lx type %u\n", r->addr, r->addr + r->size - 1, r->type);
		check(r->size && r->addr + r->size > r->addr, "range %u has a size", i);
		for (unsigned k = 0; k < i; k++) {
			const struct mem_range *o = &boot.mem[k];

			if (r->addr < o->addr + o->size && o->addr < r->addr + r->size)
				check(false, "range %u does not overlap range %u", i, k);
		}
		if (r->type != 1)
			continue;
		total += r->size;
		if (r->addr >= 1ull << 32)
			high += r->size;
		/* Whole pages only; page 0 is left alone by convention. */
		uint64_t first = (r->addr + 0xfff) & ~0xfffull;
		uint64_t last = ((r->addr + r->size) & ~0xfffull) - 0x1000;

		if (first == 0)
			first = 0x1000;
		check(page_works(first, 0x1122334455667788 + i), "first page of %u works", i);
		check(page_works(last, 0x8877665544332211 + i), "last page of %u works", i);
	}
	/* The same pages again, to see that no two of them are one. */
	for (unsigned pass = 0; pass < 2; pass++) {
		bool ok = true;

		for (unsigned i = 0; i < boot.n_mem; i++) {
			const struct mem_range *r = &boot.mem[i];
			volatile uint64_t *p;

			if (r->type != 1 || r->addr < 0x100000)
				continue;
			p = map_window(((r->addr + r->size) & ~0xfffull) - 8);
			if (pass == 0)
				*p = r->addr ^ 0x5a5a;
			else
				ok &= *p == (r->addr ^ 0x5a5a);
		}
		if (pass == 1)
			check(ok, "no range is another's alias");
	}
	say("RAM: %lu bytes, %lu of them above 4 GiB\n", total, high);
	if (want) {
		uint64_t have = total + LEGACY_HOLE;

		check(have <= want && want - have <= slack, "%lu of %lu bytes are in the map", have,
		      want);
	}
}
