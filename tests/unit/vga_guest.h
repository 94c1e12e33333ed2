/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A board with a VGA whose guest is the test: modes as a video BIOS sets them, a viewer that
 * writes down what it was told. For the tests of hw/display.
 */
#ifndef POSADA_TEST_VGA_GUEST_H
#define POSADA_TEST_VGA_GUEST_H

#include "pci_guest.h"

#include "display.h"
#include "memmap.h"

extern const struct dev_class vga_pci_class;

#define VGA DEVFN(2, 0)
#define FRAMEBUFFER 0xe0000000u
#define REGISTERS 0xe2000000u
enum { SEQ = 0x3c4, CRTC = 0x3d4, GR = 0x3ce, ATTR = 0x3c0 };

/* --- memory slots: KVM's part ------------------------------------------------------------ */

static struct {
	uint64_t gpa, size;
	uint8_t *host;
	bool dirty;
} slots[MEMMAP_SLOTS];

static bool no_windows; /* KVM has no slots for what is at 0xa0000 */

static int slot_set(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		    bool readonly, bool log_dirty)
{
	if (no_windows && size && gpa >= 0xa0000 && gpa < 0xc0000)
		return -ENOSPC;
	slots[slot].gpa = gpa;
	slots[slot].size = size;
	slots[slot].host = host;
	return 0;
}

/* The pages that fb_write has written. */
static uint64_t fb_dirty[16384 / 64];

/* And those of text memory that linear_write has, and of the window, each 64 KiB of it. */
static uint64_t linear_dirty, window_dirty;

static int slot_get_dirty(void *ctx, unsigned slot, uint64_t *bitmap)
{
	if (slots[slot].gpa == 0xb8000) {
		*bitmap = linear_dirty;
		linear_dirty = 0;
		return 0;
	}
	if (slots[slot].gpa == 0xa0000) {
		*bitmap = window_dirty;
		window_dirty = 0;
		return 0;
	}
	memcpy(bitmap, fb_dirty, slots[slot].size / 4096 / 8);
	memset(fb_dirty, 0, sizeof(fb_dirty));
	return 0;
}

static const struct memmap_ops slot_ops = { .set = slot_set, .get_dirty = slot_get_dirty };

/* KVM cannot write to memory that is watched. */
static inline void before_direct_write(void)
{
	static unsigned cpu;

	memmap_written(&fake.m.map, &cpu);
}

static inline void fb_write(uint32_t off, const void *buf, unsigned len)
{
	before_direct_write();
	for (unsigned i = 0; i < MEMMAP_SLOTS; i++)
		if (slots[i].host && slots[i].gpa == FRAMEBUFFER)
			memcpy(slots[i].host + off, buf, len);
	for (unsigned i = off; i < off + len; i++)
		fb_dirty[i / 4096 / 64] |= 1ull << i / 4096 % 64;
}

/* Where the guest sees gpa directly, or NULL: accesses come to the device. */
static inline uint8_t *direct(uint64_t gpa)
{
	for (unsigned i = 0; i < MEMMAP_SLOTS; i++)
		if (gpa - slots[i].gpa < slots[i].size)
			return slots[i].host + (gpa - slots[i].gpa);
	return NULL;
}

static inline uint8_t *linear(void)
{
	return direct(0xb8000);
}

static inline void linear_write(unsigned off, uint8_t val)
{
	before_direct_write();
	linear()[off] = val;
	linear_dirty |= 1ull << off / 4096;
}

/* --- the viewer --------------------------------------------------------------------------- */

static struct seen {
	unsigned resizes, damages, refreshes;
	unsigned x, y, width, height; /* the last damage */
	uint64_t pixels; /* of all damage */
} seen;
static struct viewer viewer;
static const struct surface *surface;

static void on_resized(void *ctx, const struct surface *s)
{
	seen.resizes++;
	surface = s;
}

static void on_damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	ck_assert_uint_le(x + width, surface->width);
	ck_assert_uint_le(y + height, surface->height);
	seen.damages++;
	seen.pixels += (uint64_t)width * height;
	seen.x = x;
	seen.y = y;
	seen.width = width;
	seen.height = height;
}

static void on_refreshed(void *ctx)
{
	seen.refreshes++;
}

/* What an update tells, after it. */
static inline const struct seen *update(void)
{
	memset(&seen, 0, sizeof(seen));
	screen_refresh(screen_first(&fake.m));
	return &seen;
}

static inline uint32_t pixel(unsigned x, unsigned y)
{
	ck_assert_uint_lt(x, surface->width);
	ck_assert_uint_lt(y, surface->height);
	return surface->pixel[y * surface->width + x];
}

/* --- the guest --------------------------------------------------------------------------- */

static inline void vga_board(const char *props)
{
	memmap_init(&fake.m.map, &slot_ops, NULL);
	board();
	fake_add(&vga_pci_class, props);
	set_bar(VGA, 0, FRAMEBUFFER);
	set_bar(VGA, 2, REGISTERS);
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM, 2);
	viewer = (struct viewer){ .resized = on_resized,
				  .damaged = on_damaged,
				  .refreshed = on_refreshed };
	viewer_attach(&viewer, screen_first(&fake.m));
}

static inline void vga_board_end(void)
{
	viewer_detach(&viewer);
}

static inline void put(uint16_t index_port, uint8_t index, uint8_t val)
{
	outb(index_port, index);
	outb(index_port + 1, val);
}

static inline uint8_t get(uint16_t index_port, uint8_t index)
{
	outb(index_port, index);
	return inb(index_port + 1);
}

static inline void put_attr(uint8_t index, uint8_t val)
{
	inb(0x3da);
	outb(ATTR, index);
	outb(ATTR, val);
	outb(ATTR, 0x20);
}

static inline void poke(uint32_t addr, uint8_t val)
{
	bus_write(&fake.m.mmio, addr, &val, 1);
}

static inline uint8_t peek(uint32_t addr)
{
	uint8_t val = 0;

	bus_read(&fake.m.mmio, addr, &val, 1);
	return val;
}

/* As the guest writes and reads: memory where it is let at some, else the device. */
static inline void guest_write(uint32_t addr, uint8_t val)
{
	uint8_t *at = direct(addr);

	if (!at) {
		poke(addr, val);
		return;
	}
	before_direct_write();
	*at = val;
	if (addr >= 0xb8000 && linear())
		linear_dirty |= 1ull << (addr - 0xb8000) / 4096;
	else
		window_dirty |= 1ull << (addr - 0xa0000) / 4096;
}

static inline uint8_t guest_read(uint32_t addr)
{
	const uint8_t *at = direct(addr);

	return at ? *at : peek(addr);
}

/* IBM's parameters for a BIOS mode. */
struct bios_mode {
	uint8_t misc, seq[5], crtc[25], gr[9], attr[21];
};

#define ATTR16                                                                                     \
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e,  \
		0x3f

static const struct bios_mode mode_3 = {
	0x67,
	{ 0x03, 0x00, 0x03, 0x00, 0x02 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	  0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
	{ 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff },
	{ ATTR16, 0x0c, 0x00, 0x0f, 0x08, 0x00 },
};
static const struct bios_mode mode_4 = {
	0x63,
	{ 0x03, 0x09, 0x03, 0x00, 0x02 },
	{ 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
	  0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff },
	{ 0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x00, 0xff },
	{ 0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12,
	  0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x03, 0x00, 0x00 },
};
static const struct bios_mode mode_12 = {
	0xe3,
	{ 0x03, 0x01, 0x0f, 0x00, 0x06 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
	  0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff },
	{ 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff },
	{ ATTR16, 0x01, 0x00, 0x0f, 0x00, 0x00 },
};
static const struct bios_mode mode_13 = {
	0x63,
	{ 0x03, 0x01, 0x0f, 0x00, 0x0e },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
	  0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
	{ 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff },
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0x00, 0x0f, 0x00, 0x00 },
};

/* Entry i of the palette is i, 63 - i, i ^ 21; that as a pixel: */
static inline uint32_t dac_rgb(unsigned i)
{
	unsigned rgb[3] = { i & 63, 63 - (i & 63), (i & 63) ^ 21 };
	uint32_t out = 0;

	for (unsigned part = 0; part < 3; part++)
		out = out << 8 | rgb[part] << 2 | rgb[part] >> 4;
	return out;
}

static inline void set_palette(void)
{
	outb(0x3c6, 0xff);
	outb(0x3c8, 0);
	for (unsigned i = 0; i < 256; i++) {
		outb(0x3c9, i & 63);
		outb(0x3c9, 63 - (i & 63));
		outb(0x3c9, (i & 63) ^ 21);
	}
}

static inline void set_mode(const struct bios_mode *m)
{
	outb(0x3c2, m->misc);
	for (unsigned i = 0; i < sizeof(m->seq); i++)
		put(SEQ, (uint8_t)i, m->seq[i]);
	put(CRTC, 0x11, 0);
	for (unsigned i = 0; i < sizeof(m->crtc); i++)
		put(CRTC, (uint8_t)i, m->crtc[i]);
	for (unsigned i = 0; i < sizeof(m->gr); i++)
		put(GR, (uint8_t)i, m->gr[i]);
	for (unsigned i = 0; i < sizeof(m->attr); i++)
		put_attr((uint8_t)i, m->attr[i]);
	set_palette();
}

/* The colour of attribute nibble i in modes with ATTR16. */
static inline uint32_t colour16(unsigned i)
{
	static const uint8_t index[16] = { ATTR16 };

	return dac_rgb(index[i]);
}

/* As a BIOS loads a font: every line of character ch is `bits`. */
static inline void load_glyph(unsigned font, uint8_t ch, const uint8_t lines[32])
{
	put(SEQ, 2, 4);
	put(SEQ, 4, 6);
	put(GR, 5, 0);
	put(GR, 6, 4);
	for (unsigned i = 0; i < 32; i++)
		poke(0xa0000 + font * 0x2000 + ch * 32u + i, lines[i]);
	put(SEQ, 2, 3);
	put(SEQ, 4, 2);
	put(GR, 5, 0x10);
	put(GR, 6, 0x0e);
}

#endif
