/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VGA registers (IBM VGA technical reference, chapter "Registers"; FreeVGA, "VGA
 * I/O Port Index"). vCPU threads; the card's lock is held.
 *
 * Ports 0x3b4, 0x3b5 and 0x3ba answer when the miscellaneous output register says
 * monochrome, else those at 0x3d4, 0x3d5 and 0x3da do.
 */
#include "vga.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"

enum {
	PORT_ATTR = 0x3c0,
	PORT_ATTR_READ = 0x3c1,
	PORT_MISC = 0x3c2, /* read: input status 0 */
	PORT_ENABLE = 0x3c3,
	PORT_SEQ_INDEX = 0x3c4,
	PORT_SEQ = 0x3c5,
	PORT_DAC_MASK = 0x3c6,
	PORT_DAC_READ = 0x3c7, /* read: its state */
	PORT_DAC_WRITE = 0x3c8,
	PORT_DAC = 0x3c9,
	PORT_FEATURE = 0x3ca,
	PORT_MISC_READ = 0x3cc,
	PORT_GR_INDEX = 0x3ce,
	PORT_GR = 0x3cf,
	/* of either base */
	PORT_CRTC_INDEX = 0x4,
	PORT_CRTC = 0x5,
	PORT_STATUS = 0xa, /* write: the feature register */
};

enum { MISC_COLOUR = 0x01, ATTR_SCREEN_ON = 0x20, CRTC_PROTECT = 0x80 };

/* Bits that keep what is written. */
static const uint8_t seq_bits[8] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t gr_bits[16] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };
static const uint8_t attr_bits[32] = {
	0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
	0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f,
};

enum { CRTC_REGS = 0x19 };

/* --- timing ------------------------------------------------------------------------ */

/*
 * A frame of 70 Hz, 449 lines of which the first 400 are shown. Vertical retrace is said
 * to last as long as nothing is shown: a guest that leaves KVM for each look would miss two
 * lines' worth.
 */
enum { FRAME_NS = 14268000, LINES = 449, LINES_SHOWN = 400, LINE_NS = FRAME_NS / LINES };
enum { STATUS_BLANK = 0x01, STATUS_RETRACE = 0x08 };

static uint8_t input_status(void)
{
	uint64_t t = loop_now_ns() % FRAME_NS;

	if (t >= (uint64_t)LINE_NS * LINES_SHOWN)
		return STATUS_BLANK | STATUS_RETRACE;
	/* The last fifth of each line is horizontal blanking. */
	return t % LINE_NS > LINE_NS / 5 * 4 ? STATUS_BLANK : 0;
}

/* --- the DAC ------------------------------------------------------------------------- */

static uint8_t dac_load(struct vga *v)
{
	uint8_t val = v->palette[v->dac_read * 3 + v->dac_part];

	if (++v->dac_part == 3) {
		v->dac_part = 0;
		v->dac_read++;
	}
	return val;
}

static void dac_store(struct vga *v, uint8_t val)
{
	uint8_t *entry = &v->palette[v->dac_write * 3];

	v->dac_held[v->dac_part] = v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC ? val : val & 0x3f;
	if (++v->dac_part < 3)
		return;
	v->dac_part = 0;
	v->changed |= memcmp(entry, v->dac_held, 3) != 0;
	memcpy(entry, v->dac_held, 3);
	v->dac_write++;
	screen_touch(v->screen);
}

/* --- writes --------------------------------------------------------------------------- */

/*
 * Of a register that struct vga_mode does not tell all of. What only changes how the CPU gets at
 * memory makes nothing be drawn again, nor does the cursor.
 */
static void set(struct vga *v, uint8_t *reg, uint8_t val)
{
	v->changed |= *reg != val;
	*reg = val;
}

static void write_attr(struct vga *v, uint8_t val)
{
	v->attr_flip = !v->attr_flip;
	if (v->attr_flip)
		v->attr_index = val & 0x3f; /* and whether the screen is on */
	else
		set(v, &v->attr[v->attr_index & 0x1f], val & attr_bits[v->attr_index & 0x1f]);
	screen_touch(v->screen);
}

static void write_seq(struct vga *v, uint8_t val)
{
	if (v->seq_index == 3) /* which fonts are in use */
		set(v, &v->seq[3], val);
	else
		v->seq[v->seq_index] = val;
	vga_linear_check(v);
	screen_touch(v->screen);
}

static void write_gr(struct vga *v, uint8_t val)
{
	v->gr[v->gr_index] = val;
	vga_linear_check(v);
	screen_touch(v->screen);
}

static void write_crtc(struct vga *v, uint8_t val)
{
	unsigned i = v->crtc_index;

	if (i >= CRTC_REGS)
		return;
	if (i < 8 && v->crtc[0x11] & CRTC_PROTECT) {
		/* All but a bit of the line compare register. */
		if (i != 7)
			return;
		val = (v->crtc[7] & (uint8_t)~0x10) | (val & 0x10);
	}
	if (i == 0x14) /* where the underline is */
		set(v, &v->crtc[i], val);
	else
		v->crtc[i] = val;
	screen_touch(v->screen);
}

/* Which of the three ports of both bases it is, when this one answers; else 0. */
static unsigned based(const struct vga *v, unsigned port)
{
	unsigned base = v->misc & MISC_COLOUR ? 0x3d0 : 0x3b0;

	return port >= base && port < base + 0x10 ? port - base : 0;
}

static void write_based(struct vga *v, unsigned port, uint8_t val)
{
	switch (port) {
	case PORT_CRTC_INDEX:
		v->crtc_index = val & 0x1f;
		break;
	case PORT_CRTC:
		write_crtc(v, val);
		break;
	case PORT_STATUS:
		v->feature = val;
		break;
	}
}

void vga_port_write(struct vga *v, unsigned port, uint8_t val)
{
	switch (port) {
	case PORT_ATTR:
		write_attr(v, val);
		break;
	case PORT_MISC:
		v->misc = val;
		break;
	case PORT_SEQ_INDEX:
		v->seq_index = val & 7;
		break;
	case PORT_SEQ:
		write_seq(v, val & seq_bits[v->seq_index]);
		break;
	case PORT_DAC_MASK:
		set(v, &v->dac_mask, val);
		screen_touch(v->screen);
		break;
	case PORT_DAC_READ:
		v->dac_read = val;
		v->dac_part = 0;
		v->dac_reading = true;
		break;
	case PORT_DAC_WRITE:
		v->dac_write = val;
		v->dac_part = 0;
		v->dac_reading = false;
		break;
	case PORT_DAC:
		dac_store(v, val);
		break;
	case PORT_GR_INDEX:
		v->gr_index = val & 0x0f;
		break;
	case PORT_GR:
		write_gr(v, val & gr_bits[v->gr_index]);
		break;
	default:
		write_based(v, based(v, port), val);
		break;
	}
}

/* --- reads ------------------------------------------------------------------------------ */

static uint8_t read_based(struct vga *v, unsigned port)
{
	switch (port) {
	case PORT_CRTC_INDEX:
		return v->crtc_index;
	case PORT_CRTC:
		return v->crtc_index < CRTC_REGS ? v->crtc[v->crtc_index] : 0;
	case PORT_STATUS:
		v->attr_flip = false;
		return input_status();
	default:
		return 0xff;
	}
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
	switch (port) {
	case PORT_ATTR:
		return v->attr_index;
	case PORT_ATTR_READ:
		return v->attr[v->attr_index & 0x1f];
	case PORT_MISC:
		return 0x10; /* a monitor is there */
	case PORT_ENABLE:
		return 1;
	case PORT_SEQ_INDEX:
		return v->seq_index;
	case PORT_SEQ:
		return v->seq[v->seq_index];
	case PORT_DAC_MASK:
		return v->dac_mask;
	case PORT_DAC_READ:
		return v->dac_reading ? 3 : 0;
	case PORT_DAC_WRITE:
		return v->dac_write;
	case PORT_DAC:
		return dac_load(v);
	case PORT_FEATURE:
		return v->feature;
	case PORT_MISC_READ:
		return v->misc;
	case PORT_GR_INDEX:
		return v->gr_index;
	case PORT_GR:
		return v->gr[v->gr_index];
	default:
		return read_based(v, based(v, port));
	}
}

/* --- life ---------------------------------------------------------------------------------- */

/*
 * As on power-on, before a video BIOS has been there. Memory is left as it is: a
 * system that comes up again may like to see what was there.
 */
void vga_reset(struct vga *v)
{
	vga_linear_end(v);
	vga_window_end(v);
	memset(v->seq, 0, sizeof(v->seq));
	memset(v->gr, 0, sizeof(v->gr));
	memset(v->crtc, 0, sizeof(v->crtc));
	memset(v->attr, 0, sizeof(v->attr));
	memset(v->palette, 0, sizeof(v->palette));
	memset(v->dispi, 0, sizeof(v->dispi));
	v->seq_index = v->gr_index = v->crtc_index = v->attr_index = v->dispi_index = 0;
	v->attr_flip = v->dac_reading = false;
	v->misc = v->feature = 0;
	v->dac_mask = 0xff;
	v->dac_read = v->dac_write = v->dac_part = 0;
	v->latch = 0;
	v->reach = VGA_MEM_LEGACY;
	v->every_access = v->stays_on = false;
	v->dispi[DISPI_ID] = 0xb0c5;
	v->dispi[DISPI_MEMORY_64K] = (uint16_t)(v->size >> 16);
	v->changed = true;
	screen_touch(v->screen);
}

int vga_init(struct vga *v)
{
	for (unsigned i = 0; i < 256; i++)
		for (unsigned bit = 0; bit < 8; bit++)
			v->spread[i] |= (uint64_t)(i >> (7 - bit) & 1) << 8 * bit;
	v->log = (struct log_limit)LOG_LIMIT_INIT;
	v->reach = VGA_MEM_LEGACY;
	v->dirty = calloc((v->size / VGA_PAGE + 63) / 64, sizeof(*v->dirty));
	return v->dirty ? 0 : -ENOMEM;
}

void vga_fini(struct vga *v)
{
	free(v->dirty);
	free(v->cells);
	v->dirty = NULL;
	v->cells = NULL;
}
