/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a GD5446's registers say is to be shown: starts, pitches and pixels beyond a VGA's, and the
 * hardware cursor (CL-GD5446 TRM, SR7, SR10 to SR13, CR1A, CR1B, CR1D, GRE and the hidden DAC
 * register). Whatever they hold, the mode stays within the memory: its addresses wrap around.
 * The card's lock is held.
 */
#include <string.h>

#include "cirrus.h"

enum { CRTC_INTERLACED = 0x01, CRTC_MODE_LINES_DOUBLE = 0x04, POWER_SYNC_OFF = 0x06 };
enum { CURSOR_LINE_32 = 4, CURSOR_PLANE_32 = 128, CURSOR_LINE_64 = 16, CURSOR_PLANE_64 = 8 };
/* Hidden DAC: 8-bit pixels, two at a time (1280x1024); 5-6-5 rather than 5-5-5 */
enum { DAC_DOUBLE_MASK = 0xcf, DAC_DOUBLE = 0x4a, DAC_FORMAT = 0x0f, DAC_565 = 0x01 };

static enum vga_kind packed_kind(const struct cirrus *c)
{
	switch (c->seq[SEQ_EXTENDED] >> 1 & 7) {
	case 1:
	case 3:
		return (c->hidden_dac & DAC_FORMAT) == DAC_565 ? VGA_16 : VGA_15;
	case 2:
		return VGA_24;
	case 4:
		return VGA_32;
	default:
		return VGA_8;
	}
}

static void packed_mode(const struct cirrus *c, struct vga_mode *m)
{
	const struct vga *v = &c->vga;

	m->kind = packed_kind(c);
	m->width = (v->crtc[0x01] + 1u) * 8;
	if (m->kind == VGA_8 && (c->hidden_dac & DAC_DOUBLE_MASK) == DAC_DOUBLE)
		m->width *= 2;
	m->dots = 1;
	m->wrap = v->size;
	m->scan_bit[0] = m->scan_bit[1] = 0;
	m->pan = m->kind == VGA_8 ? (v->attr[0x13] & 15u) / 2 % 4 : 0;
	if (v->crtc[0x17] & CRTC_MODE_LINES_DOUBLE) {
		m->height *= 2;
		m->split *= 2;
	}
}

void cirrus_mode(const struct vga *v, struct vga_mode *m)
{
	const struct cirrus *c = (const struct cirrus *)v;
	unsigned display = c->crtc[CRTC_DISPLAY];
	uint32_t high = (display & 1u) << 16 | (display & 0x0cu) << 15 |
			(c->crtc[CRTC_OVERLAY] & 0x80u) << 12;

	if (c->gr[GR_POWER] & POWER_SYNC_OFF) {
		memset(m, 0, sizeof(*m)); /* the monitor is off */
		return;
	}
	m->start += high * 4;
	m->pitch += (display & 0x10u) << 7;
	if (c->crtc[CRTC_EXTENDED] & CRTC_INTERLACED) {
		m->height *= 2;
		m->split *= 2;
	}
	if (cirrus_packed(c) && m->kind != VGA_TEXT)
		packed_mode(c, m);
}

/* --- the cursor ------------------------------------------------------------------------------ */

/* 0x00RRGGBB of an entry of the cursor's palette. */
static uint32_t cursor_colour(const struct cirrus *c, unsigned entry)
{
	uint32_t out = 0;

	for (unsigned part = 0; part < 3; part++) {
		unsigned x = c->cursor_palette[entry * 3 + part] & 0x3f;

		out = out << 8 | x << 2 | x >> 4;
	}
	return out;
}

static void cursor_now(const struct cirrus *c, struct cirrus_cursor *now)
{
	const struct vga *v = &c->vga;
	bool big = c->seq[SEQ_CURSOR] & CURSOR_64;
	unsigned image = c->seq[SEQ_CURSOR_IMAGE] & (big ? 0x3c : 0x3f);

	memset(now, 0, sizeof(*now));
	if (!(c->seq[SEQ_CURSOR] & CURSOR_ON))
		return;
	now->side = big ? 64 : 32;
	now->x = c->cursor_x;
	now->y = c->cursor_y;
	now->colour[0] = cursor_colour(c, 0);
	now->colour[1] = cursor_colour(c, 15);
	memcpy(now->image, v->mem + v->size - CIRRUS_CURSOR_MEM + image * 256, big ? 1024 : 256);
}

void cirrus_overlay_begin(struct vga *v, unsigned *first, unsigned *end)
{
	struct cirrus *c = (struct cirrus *)v;
	struct cirrus_cursor now, *was = &c->shown;

	cursor_now(c, &now);
	if (!memcmp(&now, was, sizeof(now)))
		return;
	*first = now.side && (!was->side || now.y < was->y) ? now.y : was->y;
	*end = now.y + now.side > was->y + was->side ? now.y + now.side : was->y + was->side;
	*was = now;
}

bool cirrus_overlay(const struct vga *v, unsigned y, uint32_t *line, unsigned width)
{
	const struct cirrus_cursor *s = &((const struct cirrus *)v)->shown;
	const uint8_t *plane0, *plane1;

	if (y < s->y || y - s->y >= s->side)
		return false;
	y -= s->y;
	plane0 = s->image + y * (s->side == 64 ? CURSOR_LINE_64 : CURSOR_LINE_32);
	plane1 = plane0 + (s->side == 64 ? CURSOR_PLANE_64 : CURSOR_PLANE_32);
	for (unsigned i = 0; i < s->side && s->x + i < width; i++) {
		bool bit0 = plane0[i / 8] << i % 8 & 0x80, bit1 = plane1[i / 8] << i % 8 & 0x80;

		if (bit1)
			line[s->x + i] = s->colour[bit0];
		else if (bit0)
			line[s->x + i] ^= 0xffffff;
	}
	return true;
}
