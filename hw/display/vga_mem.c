/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VGA memory as the CPU sees it at 0xa0000: the window that the memory map select
 * names, the latches, and the graphics controller's read and write modes
 * (IBM VGA technical reference, "Graphics Controller Registers"). vCPU threads; the
 * card's lock is held. See vga.h for how planes lie in memory.
 */
#include "vga.h"

#include <string.h>

enum {
	GR_SET_RESET,
	GR_ENABLE_SET_RESET,
	GR_COMPARE,
	GR_ROTATE,
	GR_READ_MAP,
	GR_MODE,
	GR_MISC,
	GR_DONT_CARE,
	GR_BIT_MASK,
};
enum { SEQ_MAP_MASK = 2, SEQ_MODE = 4, SEQ_CHAIN4 = 0x08, SEQ_SEQUENTIAL = 0x04 };
enum { MODE_READ_COMPARE = 0x08, MODE_ODD_EVEN = 0x10 };
enum { BANK = 64 << 10 };

/* A byte in each of the planes whose bit is set. */
static uint32_t planes(unsigned bits)
{
	static const uint32_t of[16] = {
		0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff,
		0x00ffff00, 0x00ffffff, 0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff,
		0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
	};

	return of[bits & 15];
}

/* Where in the memory's CPU address space off lies, or VGA_NO_BYTE: outside of the window. */
static uint32_t window(const struct vga *v, uint32_t off)
{
	uint32_t bank = vga_dispi_on(v) ? v->dispi[DISPI_BANK] * (uint32_t)BANK : 0;

	if (v->hooks && v->hooks->window)
		return v->hooks->window(v, off);
	switch (v->gr[GR_MISC] >> 2 & 3) {
	case 0:
		return off;
	case 1:
		return off < 0x10000 ? off + bank : VGA_NO_BYTE;
	case 2:
		return off >= 0x10000 && off < 0x18000 ? off - 0x10000 : VGA_NO_BYTE;
	default:
		return off >= 0x18000 ? off - 0x18000 : VGA_NO_BYTE;
	}
}

/* Plane address a as a dword's place in memory, or VGA_NO_BYTE. */
static uint32_t dword_at(const struct vga *v, uint32_t a)
{
	if (!vga_dispi_on(v))
		a %= v->reach / 4;
	return a < v->size / 4 ? a * 4 : VGA_NO_BYTE;
}

static bool chained(const struct vga *v)
{
	return v->seq[SEQ_MODE] & SEQ_CHAIN4;
}

static uint8_t read_planes(struct vga *v, uint32_t at, unsigned plane)
{
	memcpy(&v->latch, v->mem + at, 4);
	if (v->gr[GR_MODE] & MODE_READ_COMPARE) {
		uint32_t differ =
			(v->latch ^ planes(v->gr[GR_COMPARE])) & planes(v->gr[GR_DONT_CARE]);

		differ |= differ >> 16;
		return (uint8_t) ~(differ | differ >> 8);
	}
	return (uint8_t)(v->latch >> 8 * plane);
}

/* One that comes while the guest could have it from memory: it is let through as it is there. */
static bool linear(struct vga *v, uint32_t off)
{
	if (off < VGA_LINEAR - VGA_WINDOW)
		return false;
	vga_linear_hit(v);
	return v->linear_on;
}

/* The dirty log does not see it. */
static void to_plane(struct vga *v, uint32_t at, uint8_t val)
{
	v->mem[at / 2 * 4 + at % 2] = val;
	vga_mark(v, at / 2 * 4);
	screen_touch(v->screen);
}

uint8_t vga_mem_read(struct vga *v, uint32_t off)
{
	uint32_t a = window(v, off), at;
	unsigned plane = v->gr[GR_READ_MAP];

	if (linear(v, off))
		return v->linear[off - (VGA_LINEAR - VGA_WINDOW)];
	if (a == VGA_NO_BYTE)
		return 0xff;
	if (chained(v)) {
		vga_window_hit(v, off);
		at = dword_at(v, a / 4);
		plane = a % 4;
	} else if (v->gr[GR_MODE] & MODE_ODD_EVEN) {
		at = dword_at(v, a / 2);
		plane = (plane & 2) | (a & 1);
	} else {
		at = dword_at(v, a);
	}
	return at == VGA_NO_BYTE ? 0xff : read_planes(v, at, plane);
}

static uint32_t four(uint8_t val)
{
	return val * 0x01010101u;
}

/* The logical function with the latches. */
static uint32_t combine(const struct vga *v, uint32_t val)
{
	switch (v->gr[GR_ROTATE] >> 3) {
	case 1:
		return val & v->latch;
	case 2:
		return val | v->latch;
	case 3:
		return val ^ v->latch;
	default:
		return val;
	}
}

/* What write mode makes of val, for all four planes. */
static uint32_t written(const struct vga *v, uint8_t val)
{
	unsigned turn = v->gr[GR_ROTATE] & 7;
	uint8_t turned = (uint8_t)(val >> turn | val << (8 - turn)), mask = v->gr[GR_BIT_MASK];
	uint32_t set = planes(v->gr[GR_ENABLE_SET_RESET]), out;

	switch (v->gr[GR_MODE] & 3) {
	case 0:
		out = combine(v, (four(turned) & ~set) | (planes(v->gr[GR_SET_RESET]) & set));
		break;
	case 1:
		return v->latch;
	case 2:
		out = combine(v, planes(val));
		break;
	default:
		mask &= turned;
		out = combine(v, planes(v->gr[GR_SET_RESET]));
		break;
	}
	return (out & four(mask)) | (v->latch & ~four(mask));
}

void vga_mem_write(struct vga *v, uint32_t off, uint8_t val)
{
	uint32_t a = window(v, off), at, old, now, mask = planes(v->seq[SEQ_MAP_MASK]);

	if (linear(v, off)) {
		v->linear[off - (VGA_LINEAR - VGA_WINDOW)] = val;
		to_plane(v, off - (VGA_LINEAR - VGA_WINDOW), val);
		return;
	}
	if (a == VGA_NO_BYTE)
		return;
	if (chained(v)) {
		vga_window_hit(v, off);
		at = dword_at(v, a / 4);
		mask &= 0xffu << 8 * (a % 4);
	} else if (!(v->seq[SEQ_MODE] & SEQ_SEQUENTIAL)) {
		at = dword_at(v, a / 2);
		mask &= a & 1 ? 0xff00ff00 : 0x00ff00ff;
	} else {
		at = dword_at(v, a);
	}
	if (at == VGA_NO_BYTE || !mask)
		return;
	memcpy(&old, v->mem + at, 4);
	now = (old & ~mask) | (written(v, val) & mask);
	if (now == old)
		return;
	memcpy(v->mem + at, &now, 4);
	v->font_changed |= ((now ^ old) & 0xffff0000) != 0;
	vga_mark(v, at);
	screen_touch(v->screen);
}
