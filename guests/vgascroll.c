/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast text scrolls: 80x25 at 0xb8000 as a console does it, 24 lines moved up and one
 * blanked. `n=`: how often; `cpl=3`: from user mode, where a software KVM runs natively. Says
 * how many microseconds a scroll took.
 */
#include "guest.h"

enum { LINE = 160, LINES = 25 };

static const uint8_t seq[5] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t crtc[25] = { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
				  0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
				  0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff };
static const uint8_t gr[9] = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff };
static const uint8_t attr[21] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
				  0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00 };

static void put(uint16_t port, unsigned index, uint8_t val)
{
	outb(port, (uint8_t)index);
	outb(port + 1, val);
}

static void mode_3(void)
{
	outb(0x3c2, 0x67);
	for (unsigned i = 0; i < sizeof(seq); i++)
		put(0x3c4, i, seq[i]);
	put(0x3d4, 0x11, 0);
	for (unsigned i = 0; i < sizeof(crtc); i++)
		put(0x3d4, i, crtc[i]);
	for (unsigned i = 0; i < sizeof(gr); i++)
		put(0x3ce, i, gr[i]);
	inb(0x3da);
	for (unsigned i = 0; i < sizeof(attr); i++) {
		outb(0x3c0, (uint8_t)i);
		outb(0x3c0, attr[i]);
	}
	outb(0x3c0, 0x20);
}

static inline __attribute__((always_inline)) void scroll(uint64_t n)
{
	while (n--) {
		uint64_t to = 0xb8000, from = 0xb8000 + LINE, count = LINE * (LINES - 1) / 8;

		asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
		count = LINE / 8;
		asm volatile("rep stosq"
			     : "+D"(to), "+c"(count)
			     : "a"(0x0720072007200720ull + !n)
			     : "memory");
	}
}

static USER void user_scroll(uint64_t n)
{
	scroll(n);
	USER_EXIT(0);
}

static uint64_t tsc(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

void guest_main(void)
{
	uint64_t n = arg_u64("n", 10), took;

	lapic_init();
	clock_init();
	mode_3();
	map_user(0xb8000, 4096);
	scroll(1);
	took = tsc();
	if (arg_u64("cpl", 0) == 3)
		user_run(user_scroll, n);
	else
		scroll(n);
	took = tsc() - took;
	say("%lu us a scroll\n", took * 1000 / tsc_per_ms / n);
	check(*(volatile uint16_t *)(0xb8000 + LINE * (LINES - 1)) == 0x0720 + 1,
	      "the last line is blank");
}
