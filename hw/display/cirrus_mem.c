/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of a GD5446 as the CPU sees it, in the window at 0xa0000 and in BAR 0 (CL-GD5446 TRM,
 * chapters "Extended Registers", GR5, GR9 to GRB, and "Host Interface"). vCPU threads; the
 * card's lock is held.
 *
 * Planes and characters are the VGA's affair (vga_mem.c), with this card's banks. Where pixels
 * are packed, set/reset, rotation and bit mask have no part: GR0 and GR1 hold colours.
 */
#include <string.h>

#include "cirrus.h"

enum { CONFIG_MMIO = 0x04, CONFIG_MMIO_LINEAR = 0x40, WINDOW_MMIO = 0x18000 };
enum { WRITE_MODES = 0x07, VGA_WRITE_MODES = 0x03 };

static unsigned write_mode(const struct cirrus *c)
{
	bool more = c->gr[GR_EXTENSIONS] & EXT_WRITE_MODES;

	return c->gr[GR_WRITE_MODE] & (more ? WRITE_MODES : VGA_WRITE_MODES);
}

static bool by_16(const struct cirrus *c)
{
	return c->gr[GR_EXTENSIONS] & EXT_BY_16 && c->gr[GR_EXTENSIONS] & EXT_WRITE_MODES;
}

/* Whether writing packed pixels is more than storing bytes. */
static bool special(const struct cirrus *c)
{
	unsigned mode = write_mode(c);

	return cirrus_packed(c) &&
	       (c->gr[GR_EXTENSIONS] & EXT_BY_8 || by_16(c) || mode == 1 || mode == 4 || mode == 5);
}

static bool mmio_at(const struct cirrus *c, uint8_t where)
{
	return (c->seq[SEQ_CONFIG] & (CONFIG_MMIO | CONFIG_MMIO_LINEAR)) == (CONFIG_MMIO | where);
}

bool cirrus_direct(const struct cirrus *c)
{
	return !c->blt.waits && !special(c) && !mmio_at(c, CONFIG_MMIO_LINEAR);
}

bool cirrus_late(const struct cirrus *c)
{
	return cirrus_packed(c) && !(c->gr[GR_BLT_START] & BLT_AUTOSTART);
}

void cirrus_access(struct cirrus *c)
{
	struct vga *v = &c->vga;

	v->reach = c->crtc[CRTC_DISPLAY] & 2 ? v->size : VGA_MEM_LEGACY;
	v->every_access = c->blt.waits || cirrus_packed(c) || mmio_at(c, 0);
	/* SeaBIOS's VGA BIOS sets the extended modes with the screen off, and leaves it so. */
	v->stays_on = cirrus_packed(c);
	vga_linear_check(v);
	if (c->access_changed)
		c->access_changed(c);
}

/* --- packed pixels --------------------------------------------------------------------------- */

static void store(struct cirrus *c, uint32_t at, uint8_t val)
{
	struct vga *v = &c->vga;

	at &= v->size - 1;
	if (v->mem[at] == val)
		return;
	v->mem[at] = val;
	v->font_changed = true; /* it may be read as planes later */
	vga_mark(v, at);
}

/* Eight pixels of one colour, or two: a bit each of val, the first is the highest. */
static void expand(struct cirrus *c, uint32_t at, uint8_t val)
{
	const uint8_t *gr = c->gr;
	unsigned bytes = by_16(c) ? 2 : 1;

	for (unsigned i = 0; i < 8; i++) {
		bool on = val << i & 0x80;

		if (!(c->seq[SEQ_PIXEL_MASK] << i & 0x80) || (!on && write_mode(c) == 4))
			continue;
		store(c, at + i * bytes, gr[on ? GR_FOREGROUND : GR_BACKGROUND]);
		if (bytes == 2)
			store(c, at + i * 2 + 1, gr[on ? GR_FOREGROUND1 : GR_BACKGROUND1]);
	}
}

static unsigned latch_bytes(const struct cirrus *c)
{
	return c->gr[GR_EXTENSIONS] & EXT_LATCH_8 ? 8 : 4;
}

static void store_latch(struct cirrus *c, uint32_t at)
{
	unsigned n = latch_bytes(c);
	bool masked = c->gr[GR_EXTENSIONS] & EXT_WRITE_MODES;

	for (unsigned i = 0; i < n; i++)
		if (!masked || c->seq[SEQ_PIXEL_MASK] << i & 0x80)
			store(c, (at & ~(n - 1)) + i, (uint8_t)(c->latch >> 8 * i));
}

static uint32_t packed_address(const struct cirrus *c, uint32_t a)
{
	unsigned shift = by_16(c) ? 4 : c->gr[GR_EXTENSIONS] & EXT_BY_8 ? 3 : 0;

	return a << shift & (c->vga.size - 1);
}

static uint8_t packed_read(struct cirrus *c, uint32_t a)
{
	uint32_t at = packed_address(c, a);
	unsigned n = latch_bytes(c);

	c->latch = 0;
	memcpy(&c->latch, c->vga.mem + (at & ~(n - 1)), n);
	return c->vga.mem[at];
}

static void packed_write(struct cirrus *c, uint32_t a, uint8_t val)
{
	uint32_t at = packed_address(c, a);

	switch (write_mode(c)) {
	case 1:
		store_latch(c, at);
		break;
	case 4:
	case 5:
		expand(c, at, val);
		break;
	default:
		store(c, at, val);
		break;
	}
}

/* --- the window ----------------------------------------------------------------------------------
 */

uint32_t cirrus_window(const struct vga *v, uint32_t off)
{
	const struct cirrus *c = (const struct cirrus *)v;
	unsigned map = v->gr[GR_MAP] >> 2 & 3, shift, bank;

	if (map == 2)
		return off >= 0x10000 && off < 0x18000 ? off - 0x10000 : VGA_NO_BYTE;
	if (map == 3)
		return off >= 0x18000 ? off - 0x18000 : VGA_NO_BYTE;
	if (map == 1 && off >= 0x10000)
		return VGA_NO_BYTE;
	shift = c->gr[GR_EXTENSIONS] & EXT_BANK_16K ? 14 : 12;
	bank = c->gr[GR_BANK0];
	if (c->gr[GR_EXTENSIONS] & EXT_DUAL_BANK) {
		bank = c->gr[off & 0x8000 ? GR_BANK1 : GR_BANK0];
		off &= ~0x8000u;
	}
	return off + (bank << shift);
}

static struct vga_window bank_window(const struct cirrus *c, uint32_t off, uint32_t len)
{
	uint32_t end = cirrus_packed(c) ? c->vga.size : c->vga.reach;
	struct vga_window w = { .off = off, .len = len, .at = cirrus_window(&c->vga, off) };

	if (w.at >= end)
		w.len = 0;
	else if (w.len > end - w.at)
		w.len = end - w.at; /* what goes around comes the long way */
	return w;
}

unsigned cirrus_windows(const struct vga *v, struct vga_window *w)
{
	const struct cirrus *c = (const struct cirrus *)v;
	bool dual = c->gr[GR_EXTENSIONS] & EXT_DUAL_BANK, whole = !(v->gr[GR_MAP] & 0x04);

	if (c->blt.waits || special(c) || mmio_at(c, 0) || v->gr[GR_MAP] & 0x08 || (dual && whole))
		return 0;
	if (!cirrus_packed(c) && !vga_windows(v, w))
		return 0;
	w[0] = bank_window(c, 0, dual ? 0x8000 : whole ? VGA_WINDOW_LEN : 0x10000);
	if (dual)
		w[1] = bank_window(c, 0x8000, 0x8000);
	return dual ? 2 : 1;
}

static bool window_mmio(const struct cirrus *c, uint32_t off)
{
	return mmio_at(c, 0) && off >= WINDOW_MMIO && off < WINDOW_MMIO + CIRRUS_MMIO_BLT_LEN;
}

static uint8_t window_read(struct cirrus *c, uint32_t off)
{
	uint32_t a;

	if (window_mmio(c, off))
		return cirrus_blt_reg_read(c, off - WINDOW_MMIO);
	if (!cirrus_packed(c))
		return vga_mem_read(&c->vga, off);
	vga_window_hit(&c->vga, off);
	a = cirrus_window(&c->vga, off);
	return a == VGA_NO_BYTE ? 0xff : packed_read(c, a);
}

static void window_write(struct cirrus *c, uint32_t off, uint8_t val)
{
	uint32_t a;

	if (window_mmio(c, off)) {
		cirrus_blt_reg_write(c, off - WINDOW_MMIO, val);
		return;
	}
	if (!cirrus_packed(c)) {
		vga_mem_write(&c->vga, off, val);
		return;
	}
	vga_window_hit(&c->vga, off);
	a = cirrus_window(&c->vga, off);
	if (a != VGA_NO_BYTE)
		packed_write(c, a, val);
}

/* True: a blit has taken it. */
static bool blit_data(struct cirrus *c, uint64_t val, unsigned size)
{
	if (!c->blt.waits)
		return false;
	cirrus_blt_data(&c->blt, val, size);
	if (!c->blt.waits)
		cirrus_access(c);
	return true;
}

uint64_t cirrus_window_read(struct cirrus *c, uint32_t off, unsigned size)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)window_read(c, off + i) << 8 * i;
	return val;
}

void cirrus_window_write(struct cirrus *c, uint32_t off, uint64_t val, unsigned size)
{
	if (window_mmio(c, off) || !blit_data(c, val, size))
		for (unsigned i = 0; i < size; i++)
			window_write(c, off + i, (uint8_t)(val >> 8 * i));
	screen_touch(c->vga.screen);
}

/* --- BAR 0 -------------------------------------------------------------------------------------
 */

/* The memory is there again and again below the blits' aperture. */
static uint32_t linear_address(const struct cirrus *c, uint32_t off)
{
	return off & (c->vga.size - 1);
}

static bool linear_mmio(const struct cirrus *c, uint32_t off)
{
	return mmio_at(c, CONFIG_MMIO_LINEAR) &&
	       linear_address(c, off) >= c->vga.size - CIRRUS_MMIO_BLT_LEN;
}

static uint8_t linear_read(struct cirrus *c, uint32_t off)
{
	if (off >= CIRRUS_BLT_APERTURE)
		return 0xff;
	if (linear_mmio(c, off))
		return cirrus_blt_reg_read(c, off % CIRRUS_MMIO_BLT_LEN);
	return cirrus_packed(c) ? packed_read(c, off) : c->vga.mem[linear_address(c, off)];
}

static void linear_write(struct cirrus *c, uint32_t off, uint8_t val)
{
	if (off >= CIRRUS_BLT_APERTURE)
		return;
	if (linear_mmio(c, off))
		cirrus_blt_reg_write(c, off % CIRRUS_MMIO_BLT_LEN, val);
	else if (special(c))
		packed_write(c, off, val);
	else
		store(c, off, val);
}

uint64_t cirrus_linear_read(struct cirrus *c, uint32_t off, unsigned size)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)linear_read(c, off + i) << 8 * i;
	return val;
}

void cirrus_linear_write(struct cirrus *c, uint32_t off, uint64_t val, unsigned size)
{
	bool mmio = off < CIRRUS_BLT_APERTURE && linear_mmio(c, off);

	if (mmio || !blit_data(c, val, size))
		for (unsigned i = 0; i < size; i++)
			linear_write(c, off + i, (uint8_t)(val >> 8 * i));
	screen_touch(c->vga.screen);
}
