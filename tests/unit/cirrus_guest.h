/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A board with a cirrus-vga whose guest is the test. For the tests of hw/display/cirrus*. */
#ifndef POSADA_TEST_CIRRUS_GUEST_H
#define POSADA_TEST_CIRRUS_GUEST_H

#include "vga_guest.h"

extern const struct dev_class cirrus_vga_class;

enum { WINDOW = 0xa0000, MIB = 1 << 20 };

static inline void cirrus_board(const char *props)
{
	memset(slots, 0, sizeof(slots));
	memset(fb_dirty, 0, sizeof(fb_dirty));
	linear_dirty = 0;
	memmap_init(&fake.m.map, &slot_ops, NULL);
	board();
	fake_add(&cirrus_vga_class, props);
	set_bar(VGA, 0, FRAMEBUFFER);
	set_bar(VGA, 1, REGISTERS);
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM, 2);
	viewer = (struct viewer){ .resized = on_resized,
				  .damaged = on_damaged,
				  .refreshed = on_refreshed };
	viewer_attach(&viewer, screen_first(&fake.m));
	outb(0x3c2, 0x67);
	put(SEQ, 6, 0x12);
}

/* Where the guest has [gpa ...) as memory, or NULL: accesses come to the card. */
static inline uint8_t *mapped_at(uint64_t gpa)
{
	for (unsigned i = 0; i < MEMMAP_SLOTS; i++)
		if (slots[i].host && gpa - slots[i].gpa < slots[i].size)
			return slots[i].host + (gpa - slots[i].gpa);
	return NULL;
}

static inline uint64_t random64(uint64_t *seed)
{
	uint64_t high = fake_random(seed), middle = fake_random(seed);

	return high << 42 ^ middle << 21 ^ fake_random(seed);
}

static inline void hidden_dac(uint8_t val)
{
	inb(0x3c8);
	for (unsigned i = 0; i < 4; i++)
		inb(0x3c6);
	outb(0x3c6, val);
}

/* One of the extended modes, as SeaBIOS's VGA BIOS sets them. */
struct packed_mode {
	unsigned width, height, bits;
	uint8_t sr7, dac;
};

static const struct packed_mode packed_8 = { 640, 480, 8, 0x11, 0x00 };
static const struct packed_mode packed_15 = { 640, 480, 15, 0x17, 0xf0 };
static const struct packed_mode packed_16 = { 640, 480, 16, 0x17, 0xe1 };
static const struct packed_mode packed_24 = { 640, 480, 24, 0x15, 0xe5 };
static const struct packed_mode packed_32 = { 640, 480, 32, 0x19, 0xc5 };

static inline void set_pitch(unsigned bytes)
{
	put(CRTC, 0x13, (uint8_t)(bytes / 8));
	put(CRTC, 0x1b, (uint8_t)(0x22 | (bytes / 8 & 0x100) >> 4));
}

static inline void set_start(uint32_t bytes)
{
	uint32_t a = bytes / 4;

	put(CRTC, 0x0d, (uint8_t)a);
	put(CRTC, 0x0c, (uint8_t)(a >> 8));
	put(CRTC, 0x1b, (uint8_t)((get(CRTC, 0x1b) & 0xf2) | (a >> 16 & 1) | (a >> 15 & 0x0c)));
	put(CRTC, 0x1d, (uint8_t)(a >> 12 & 0x80));
}

static inline void set_packed(const struct packed_mode *m)
{
	static const uint8_t gr[9] = { 0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff };
	unsigned end = m->height - 1;

	outb(0x3c2, 0xe3);
	put(SEQ, 0, 3);
	put(SEQ, 1, 1);
	put(SEQ, 2, 0x0f);
	put(SEQ, 4, 0x0e);
	put(SEQ, 7, m->sr7);
	for (unsigned i = 0; i < sizeof(gr); i++)
		put(GR, (uint8_t)i, gr[i]);
	put(GR, 9, 0);
	put(GR, 0x0a, 0);
	put(GR, 0x0b, 0);
	put(CRTC, 0x11, 0);
	put(CRTC, 0x01, (uint8_t)(m->width / 8 - 1));
	put(CRTC, 0x07, (uint8_t)(0x10 | (end & 0x100) >> 7 | (end & 0x200) >> 3));
	put(CRTC, 0x08, 0);
	put(CRTC, 0x09, 0x40);
	put(CRTC, 0x12, (uint8_t)end);
	put(CRTC, 0x17, 0xc3);
	put(CRTC, 0x18, 0xff);
	put(CRTC, 0x1a, 0);
	set_pitch(m->width * ((m->bits + 7) / 8));
	set_start(0);
	hidden_dac(m->dac);
	for (unsigned i = 0; i < 16; i++)
		put_attr((uint8_t)i, (uint8_t)i);
	put_attr(0x10, 0x01);
	put_attr(0x13, 0);
	set_palette();
	update();
}

/* A byte of the framebuffer by the long way. */
static inline void fb_poke(uint32_t off, uint8_t val)
{
	poke(FRAMEBUFFER + off, val);
}

static inline uint8_t fb_peek(uint32_t off)
{
	return peek(FRAMEBUFFER + off);
}

#endif
