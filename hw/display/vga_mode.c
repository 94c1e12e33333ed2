/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VGA's registers say is to be shown, and where it lies in memory (FreeVGA, "CRT
 * Controller", "VGA Text Mode Operation"), and the "dispi" registers of Bochs (its
 * vbe_display_api.txt). Whatever they hold, the mode stays within the memory. The card's
 * lock is held.
 */
#include "vga.h"

#include <string.h>

enum { SEQ_DOT_DOUBLE = 0x08, SEQ_SCREEN_OFF = 0x20, SEQ_8_DOTS = 0x01 };
enum { GR_MODE_CGA = 0x20, GR_MODE_256 = 0x40 };
enum { DISPI_MAX_X = 8192, DISPI_MAX_Y = 8192 };

/* --- dispi -------------------------------------------------------------------------------- */

static unsigned dispi_bits(const struct vga *v)
{
	return v->dispi[DISPI_BPP] == 15 ? 16 : v->dispi[DISPI_BPP];
}

static uint32_t dispi_pitch(const struct vga *v)
{
	return v->dispi[DISPI_VIRT_WIDTH] * dispi_bits(v) / 8;
}

/* Brings the registers of a mode to what the memory has room for. */
static void dispi_fix(struct vga *v)
{
	uint16_t *r = v->dispi;
	uint32_t rows, start;

	switch (r[DISPI_BPP]) {
	case 4:
	case 8:
	case 15:
	case 16:
	case 24:
	case 32:
		break;
	default:
		r[DISPI_BPP] = 8;
	}
	r[DISPI_XRES] &= (uint16_t)~7u;
	if (!r[DISPI_XRES])
		r[DISPI_XRES] = 8;
	if (r[DISPI_XRES] > DISPI_MAX_X)
		r[DISPI_XRES] = DISPI_MAX_X;
	r[DISPI_VIRT_WIDTH] &= (uint16_t)~7u;
	if (r[DISPI_VIRT_WIDTH] < r[DISPI_XRES])
		r[DISPI_VIRT_WIDTH] = r[DISPI_XRES];
	if (r[DISPI_VIRT_WIDTH] > 2 * DISPI_MAX_X)
		r[DISPI_VIRT_WIDTH] = 2 * DISPI_MAX_X;
	rows = v->size / dispi_pitch(v);
	if (!r[DISPI_YRES])
		r[DISPI_YRES] = 1;
	if (r[DISPI_YRES] > DISPI_MAX_Y)
		r[DISPI_YRES] = DISPI_MAX_Y;
	if (r[DISPI_YRES] > rows)
		r[DISPI_YRES] = (uint16_t)rows;
	r[DISPI_VIRT_HEIGHT] = (uint16_t)(rows < UINT16_MAX ? rows : UINT16_MAX);
	if (r[DISPI_X_OFFSET] > r[DISPI_VIRT_WIDTH] - r[DISPI_XRES])
		r[DISPI_X_OFFSET] = (uint16_t)(r[DISPI_VIRT_WIDTH] - r[DISPI_XRES]);
	start = rows - r[DISPI_YRES];
	if (r[DISPI_Y_OFFSET] > start)
		r[DISPI_Y_OFFSET] = (uint16_t)start;
}

static void dispi_enable(struct vga *v, uint16_t val)
{
	bool was = vga_dispi_on(v);

	v->dispi[DISPI_ENABLE] = val;
	vga_linear_check(v);
	v->changed = true;
	if (!vga_dispi_on(v)) {
		v->dispi[DISPI_BANK] = 0;
		return;
	}
	if (!was) {
		v->dispi[DISPI_VIRT_WIDTH] = v->dispi[DISPI_XRES];
		v->dispi[DISPI_X_OFFSET] = v->dispi[DISPI_Y_OFFSET] = 0;
	}
	dispi_fix(v);
	if (!(val & DISPI_NOCLEAR))
		memset(v->mem, 0, (size_t)dispi_pitch(v) * v->dispi[DISPI_YRES]);
}

uint16_t vga_dispi_read(struct vga *v, unsigned reg)
{
	if (reg >= DISPI_REGS)
		return 0;
	if (v->dispi[DISPI_ENABLE] & DISPI_GETCAPS) {
		if (reg == DISPI_XRES)
			return DISPI_MAX_X;
		if (reg == DISPI_YRES)
			return DISPI_MAX_Y;
		if (reg == DISPI_BPP)
			return 32;
	}
	return v->dispi[reg];
}

void vga_dispi_write(struct vga *v, unsigned reg, uint16_t val)
{
	if (reg != DISPI_BANK)
		screen_touch(v->screen);
	switch (reg) {
	case DISPI_ID:
		if (val >= 0xb0c0 && val <= 0xb0c5)
			v->dispi[DISPI_ID] = val;
		break;
	case DISPI_ENABLE:
		dispi_enable(v, val);
		break;
	case DISPI_BANK:
		v->dispi[DISPI_BANK] = (uint16_t)(val % (v->size >> 16));
		vga_window_check(v);
		break;
	case DISPI_XRES:
	case DISPI_YRES:
	case DISPI_BPP:
	case DISPI_VIRT_WIDTH:
	case DISPI_X_OFFSET:
	case DISPI_Y_OFFSET:
		v->dispi[reg] = val;
		if (vga_dispi_on(v))
			dispi_fix(v);
		v->changed = true;
		break;
	default:
		break;
	}
}

static void dispi_mode(const struct vga *v, struct vga_mode *m)
{
	const uint16_t *r = v->dispi;

	switch (r[DISPI_BPP]) {
	case 4:
		m->kind = VGA_PLANAR;
		break;
	case 15:
		m->kind = VGA_15;
		break;
	case 16:
		m->kind = VGA_16;
		break;
	case 24:
		m->kind = VGA_24;
		break;
	case 32:
		m->kind = VGA_32;
		break;
	default:
		m->kind = VGA_8;
	}
	m->width = r[DISPI_XRES];
	m->height = m->split = r[DISPI_YRES];
	m->dots = m->scans = m->repeat = 1;
	m->pitch = dispi_pitch(v);
	m->start = r[DISPI_Y_OFFSET] * m->pitch;
	if (m->kind == VGA_PLANAR) {
		/* Widths are multiples of 8: a panned line is read no further than its end. */
		m->start += r[DISPI_X_OFFSET] / 8 * 4;
		m->pan = r[DISPI_X_OFFSET] % 8;
	} else {
		m->start += r[DISPI_X_OFFSET] * dispi_bits(v) / 8;
	}
}

/* --- the CRTC's ---------------------------------------------------------------------------- */

static unsigned pixel_pan(const struct vga *v, const struct vga_mode *m)
{
	unsigned pan = v->attr[0x13] & 0x0f;

	if (m->kind == VGA_8)
		return pan / 2 % 4;
	/* Nine dots a character are not shifted by 8, and by one more than any other value. */
	if (m->char_width == 9)
		return pan >= 8 ? 0 : pan + 1;
	return pan % 8;
}

static void scan_lines(const struct vga *v, struct vga_mode *m)
{
	const uint8_t *c = v->crtc;
	unsigned compare = c[0x18] | (c[0x07] & 0x10u) << 4 | (c[0x09] & 0x40u) << 3;

	m->height = (c[0x12] | (c[0x07] & 0x02u) << 7 | (c[0x07] & 0x40u) << 3) + 1;
	m->repeat = c[0x09] & 0x80 ? 2 : 1;
	m->scans = (c[0x09] & 0x1fu) + 1;
	m->first_scan = (c[0x08] & 0x1fu) % m->scans;
	m->split = compare + 1 < m->height ? compare + 1 : m->height;
}

static void crtc_mode(const struct vga *v, struct vga_mode *m)
{
	const uint8_t *c = v->crtc;
	unsigned chars = c[0x01] + 1u;

	if (!(v->gr[6] & 1))
		m->kind = VGA_TEXT;
	else if (v->gr[5] & GR_MODE_256)
		m->kind = VGA_8;
	else
		m->kind = v->gr[5] & GR_MODE_CGA ? VGA_CGA : VGA_PLANAR;
	scan_lines(v, m);
	m->dots = v->seq[1] & SEQ_DOT_DOUBLE ? 2 : 1;
	m->start = (((uint32_t)c[0x0c] << 8 | c[0x0d]) + (c[0x08] >> 5 & 3)) * 4;
	m->pitch = c[0x13] * 8u;
	m->wrap = v->reach;
	if (m->kind == VGA_TEXT) {
		m->columns = chars;
		m->char_width = v->seq[1] & SEQ_8_DOTS ? 8 : 9;
		m->width = chars * m->char_width * m->dots;
	} else {
		unsigned word = c[0x17] & 0x40 ? 1 : 0; /* byte mode counts twice as far */

		m->width = chars * 8 * m->dots;
		m->dots *= m->kind == VGA_8 ? 2 : 1;
		if (!(c[0x17] & 1))
			m->scan_bit[0] = 0x4000u << word;
		if (!(c[0x17] & 2))
			m->scan_bit[1] = 0x8000u << word;
	}
	m->pan = pixel_pan(v, m);
	m->pan_lower = !(v->attr[0x10] & 0x20);
}

void vga_mode_get(const struct vga *v, struct vga_mode *m)
{
	memset(m, 0, sizeof(*m));
	if (!(v->attr_index & 0x20))
		return;
	if (vga_dispi_on(v))
		dispi_mode(v, m);
	else if ((v->seq[0] & 3) == 3 && (v->stays_on || !(v->seq[1] & SEQ_SCREEN_OFF)))
		crtc_mode(v, m);
	if (m->kind != VGA_BLANK && v->hooks && v->hooks->mode)
		v->hooks->mode(v, m);
}

/* --- colours ---------------------------------------------------------------------------------- */

void vga_colours(const struct vga *v, uint32_t *out)
{
	bool wide = v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC;

	for (unsigned i = 0; i < 256; i++) {
		const uint8_t *entry = &v->palette[(i & v->dac_mask) * 3];

		out[i] = 0;
		for (unsigned part = 0; part < 3; part++) {
			unsigned x = entry[part];

			out[i] = out[i] << 8 | (wide ? x : (x & 0x3f) << 2 | (x >> 4 & 3));
		}
	}
}

void vga_colours16(const struct vga *v, const uint32_t *dac, uint32_t *out)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned index = v->attr[i] & 0x3f, select = v->attr[0x14];

		index |= (select & 0x0cu) << 4;
		if (v->attr[0x10] & 0x80)
			index = (index & 0xcf) | (select & 3u) << 4;
		out[i] = dac[index];
	}
}
