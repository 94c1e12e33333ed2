/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measures BitBLTs of a Cirrus GD5446 (Technical Reference Manual, memory-mapped BitBLT registers):
 * `bench=N` (default 1000) of each kind, and a sixteenth as many scrolls of a screen of
 * 640x480 pixels of 32 bits. Looks afterwards whether the right pixels are there. Each blit is
 * four writes of registers and a look at the status, as drivers do it, at CPL3, which runs
 * natively also where KVM does kernel mode in software.
 */
#include "pci.h"

enum { CIRRUS_VENDOR = 0x1013, CIRRUS_GD5446 = 0x00b8 };

enum { PITCH = 640 * 4, BOX = 64 * 4, LINES = 64, CHARACTER = 16 };

/* Registers of BAR 1. */
enum blt_reg {
	BLT_BG = 0x100,
	BLT_FG = 0x104,
	BLT_SIZE = 0x108, /* width less one, height less one */
	BLT_PITCHES = 0x10c, /* destination's, source's */
	BLT_DST = 0x110,
	BLT_SRC = 0x114,
	BLT_MODE = 0x118,
	BLT_ROP = 0x11a,
	BLT_EXT = 0x11b,
	BLT_STATUS = 0x140,
};

enum {
	STATUS_BUSY = 0x01,
	STATUS_START = 0x02,
	STATUS_AUTOSTART = 0x80,
	ROP_COPY = 0x0d,
	EXT_FILL = 0x04
};
enum { MODE_COPY = 0x00, MODE_FILL = 0xf0, MODE_EXPAND = 0xb0 };

/* Where things are in the memory: the screen's beginning, and beyond its end. */
enum { AT_BOX = 100 * PITCH + 100 * 4, AT_BITS = 480 * PITCH };

/* What the code at CPL3 works on. */
struct bench {
	uint64_t regs;
	uint64_t n;
	uint32_t size, dst, src;
	uint64_t ticks;
};
static struct bench bench USER_DATA;

static USER void user_bench(uint64_t unused)
{
	struct bench *b = &bench;
	volatile uint32_t *size = (volatile uint32_t *)(b->regs + BLT_SIZE);
	volatile uint32_t *dst = (volatile uint32_t *)(b->regs + BLT_DST);
	volatile uint32_t *src = (volatile uint32_t *)(b->regs + BLT_SRC);
	volatile uint8_t *status = (volatile uint8_t *)(b->regs + BLT_STATUS);
	uint64_t t0 = rdtsc();

	for (uint64_t i = 0; i < b->n; i++) {
		*size = b->size;
		*dst = b->dst;
		*src = b->src;
		*status = STATUS_START;
		while (*status & STATUS_BUSY)
			;
	}
	b->ticks = rdtsc() - t0;
	USER_EXIT(0);
}

static void reg8(unsigned reg, uint8_t v)
{
	*(volatile uint8_t *)(bench.regs + reg) = v;
}

static void reg32(unsigned reg, uint32_t v)
{
	mmio_write32(bench.regs + reg, v);
}

static void indexed(uint16_t port, uint8_t index, uint8_t v)
{
	outw(port, (uint16_t)(v << 8 | index));
}

/* Extensions unlocked; 640x480 pixels of 32 bits. */
static void set_mode(void)
{
	static const uint8_t crtc[][2] = {
		{ 0x11, 0x00 }, { 0x00, 0x5f }, { 0x01, 0x4f }, { 0x06, 0x0b },
		{ 0x07, 0x3e }, { 0x09, 0x40 }, { 0x12, 0xdf }, { 0x13, 0x40 },
		{ 0x17, 0xe3 }, { 0x18, 0xff }, { 0x1b, 0x32 },
	};

	indexed(0x3c4, 0x06, 0x12);
	indexed(0x3c4, 0x02, 0x0f);
	indexed(0x3c4, 0x04, 0x0e);
	indexed(0x3c4, 0x07, 0x19);
	for (unsigned i = 0; i < sizeof crtc / sizeof crtc[0]; i++)
		indexed(0x3d4, crtc[i][0], crtc[i][1]);
	indexed(0x3ce, 0x05, 0x40);
	indexed(0x3ce, 0x06, 0x05);
	indexed(0x3ce, 0x0e, 0x20); /* lets at GR33 */
	reg8(BLT_STATUS, 0x04);
	reg8(BLT_STATUS, 0x00);
}

static void measure(const char *name, uint64_t n, uint8_t mode, uint8_t ext)
{
	reg32(BLT_PITCHES, PITCH << 16 | PITCH);
	reg8(BLT_MODE, mode);
	reg8(BLT_ROP, ROP_COPY);
	reg8(BLT_EXT, ext);
	bench.n = n;
	user_run(user_bench, 0);
	check(trap.vector == 3, "%s came to its end (%lu at %lx, %lx)", name, trap.vector, trap.rip,
	      trap.cr2);
	if (bench.ticks / n)
		say("blt %s: %lu ns each, %lu a second\n", name,
		    bench.ticks * 1000 / (tsc_per_ms / 1000) / n,
		    n * tsc_per_ms * 1000 / bench.ticks);
}

static void box(uint32_t dst, uint32_t src)
{
	bench.size = (LINES - 1) << 16 | (BOX - 1);
	bench.dst = dst;
	bench.src = src;
}

/*
 * Registers that wait for a blit's start may be kept back by the host, but never beyond what looks
 * at them, nor when one of them is the start.
 */
static void order(volatile uint32_t *screen)
{
	reg32(BLT_DST, 0x123456);
	check((mmio32(bench.regs + BLT_DST) & 0xffffff) == 0x123456, "a register reads as written");
	reg32(BLT_PITCHES, PITCH << 16 | PITCH);
	reg8(BLT_MODE, MODE_FILL);
	reg8(BLT_ROP, ROP_COPY);
	reg8(BLT_EXT, EXT_FILL);
	reg32(BLT_SIZE, 3);
	reg32(BLT_DST, AT_BOX);
	reg32(BLT_FG, 0x00010203);
	outw(0x3ce, STATUS_START << 8 | 0x31);
	check(screen[AT_BOX / 4] == 0x00010203, "a blit started by a port has its registers");
	reg8(BLT_STATUS, STATUS_AUTOSTART);
	reg32(BLT_FG, 0x00040506);
	reg32(BLT_DST, AT_BOX);
	check(screen[AT_BOX / 4] == 0x00040506, "a destination starts a blit by itself");
	reg8(BLT_STATUS, 0);
	reg32(BLT_FG, 0x00070809);
	reg32(BLT_DST, AT_BOX);
	check(screen[AT_BOX / 4] == 0x00040506, "and no more afterwards");
	reg32(BLT_FG, 0x00aabbcc);
}

void guest_main(void)
{
	uint64_t n = arg_u64("bench", 1000), scrolls = n / 16 + 1;
	volatile uint32_t *screen;
	int dev = pci_find(CIRRUS_VENDOR, CIRRUS_GD5446, 0);

	if (dev < 0)
		leave_skip("no Cirrus card");
	lapic_init();
	clock_init();
	bench.regs = pci_bar_open((unsigned)dev, 1);
	screen = (volatile uint32_t *)pci_bar_open((unsigned)dev, 0);
	if (!check(bench.regs && screen && n, "the card's memory is at %lx, its registers at %lx",
		   (uint64_t)screen, bench.regs))
		return;
	map_user(bench.regs, 4096);
	set_mode();
	for (unsigned i = 0; i < 64 * 640; i++)
		screen[i] = 0x01000000 + i;
	for (unsigned i = 0; i < LINES * 8 / 4; i++)
		screen[AT_BITS / 4 + i] = 0xf00f5aa5;
	reg32(BLT_FG, 0x00aabbcc);
	reg32(BLT_BG, 0x00112233);

	order(screen);
	box(AT_BOX, 0);
	measure("copy", n, MODE_COPY, 0);
	check(screen[AT_BOX / 4] == 0x01000000 &&
		      screen[(AT_BOX + 63 * PITCH) / 4 + 63] == 0x01000000 + 63 * 640 + 63,
	      "the copy is there");
	measure("fill", n, MODE_FILL, EXT_FILL);
	check(screen[AT_BOX / 4] == 0x00aabbcc &&
		      screen[(AT_BOX + 63 * PITCH) / 4 + 63] == 0x00aabbcc,
	      "the box is filled");
	box(AT_BOX, AT_BITS);
	measure("expand", n, MODE_EXPAND, 0);
	check(screen[AT_BOX / 4] == 0x00aabbcc && screen[AT_BOX / 4 + 1] == 0x00112233 &&
		      screen[AT_BOX / 4 + 9] == 0x00aabbcc,
	      "bits are expanded");
	bench.size = (480 - CHARACTER - 1) << 16 | (PITCH - 1);
	bench.dst = 0;
	bench.src = CHARACTER * PITCH;
	screen[479 * 640] = 0x12345678;
	measure("scroll", scrolls, MODE_COPY, 0);
	check(screen[(479 - CHARACTER) * 640] == 0x12345678, "the screen has moved up");
}
