/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measures the text screen: scrolls it `n=N` times (default 1000), as a console does by memmove,
 * and writes a line at its end each time. At CPL3, which runs natively also where KVM does kernel
 * mode in software. The text mode is set here (80x25, IBM VGA technical reference, mode 3).
 */
#include "guest.h"

enum { SCREEN = 0xb8000, COLUMNS = 80, ROWS = 25, ROW = COLUMNS * 2 };

static const uint8_t seq[] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t crtc[] = { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
				0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x0e,
				0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff };
static const uint8_t graphics[] = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff };
static const uint8_t attributes[] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
				      0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
				      0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00 };

static uint64_t ticks USER_DATA;

static USER void user_scroll(uint64_t n)
{
	volatile uint64_t *screen = (volatile uint64_t *)SCREEN;
	uint64_t t0 = rdtsc();

	for (uint64_t i = 0; i < n; i++) {
		unsigned k = 0;

		for (; k < ROW * (ROWS - 1) / 8; k++)
			screen[k] = screen[k + ROW / 8];
		for (; k < ROW * ROWS / 8; k++)
			screen[k] = 0x0720072007200720ull + i % 64;
	}
	ticks = rdtsc() - t0;
	USER_EXIT(0);
}

static void indexed(uint16_t port, const uint8_t *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		outw(port, (uint16_t)(v[i] << 8 | i));
}

static void set_mode(void)
{
	outb(0x3c2, 0x67);
	indexed(0x3c4, seq, sizeof seq);
	outw(0x3d4, 0x0e11); /* lets at what follows */
	indexed(0x3d4, crtc, sizeof crtc);
	indexed(0x3ce, graphics, sizeof graphics);
	inb(0x3da);
	for (unsigned i = 0; i < sizeof attributes; i++) {
		outb(0x3c0, (uint8_t)i);
		outb(0x3c0, attributes[i]);
	}
	outb(0x3c0, 0x20);
}

void guest_main(void)
{
	uint64_t n = arg_u64("n", 1000);
	volatile uint16_t *screen = (volatile uint16_t *)SCREEN;

	lapic_init();
	clock_init();
	set_mode();
	screen[0] = 0x0741;
	if (screen[0] != 0x0741)
		leave_skip("no graphics card");
	map_user(SCREEN, ROW * ROWS);
	user_run(user_scroll, n);
	check(trap.vector == 3, "the user's part came to its end (%lu at %lx, %lx)", trap.vector,
	      trap.rip, trap.cr2);
	check(n < ROWS || screen[0] == 0x0720 + (n - ROWS) % 64,
	      "the first line is that of %u before", ROWS);
	if (n)
		say("textscroll: %lu ns each, %lu a second\n",
		    ticks * 1000 / (tsc_per_ms / 1000) / n, n * tsc_per_ms * 1000 / ticks);
}
