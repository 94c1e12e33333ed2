/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers of a GD5446 beyond a VGA's (CL-GD5446 TRM, chapters "Extended Registers" and
 * "Memory-mapped I/O"). vCPU threads; the card's lock is held.
 *
 * SR6 locks the extended registers against writing and reading, not what they do.
 */
#include "cirrus.h"

#include <string.h>

enum {
	PORT_SEQ_INDEX = 0x3c4,
	PORT_SEQ = 0x3c5,
	PORT_DAC_MASK = 0x3c6, /* after four reads: the hidden DAC register */
	PORT_DAC_READ = 0x3c7,
	PORT_DAC_WRITE = 0x3c8,
	PORT_DAC = 0x3c9,
	PORT_GR_INDEX = 0x3ce,
	PORT_GR = 0x3cf,
	/* of either base */
	PORT_CRTC_INDEX = 0x4,
	PORT_CRTC = 0x5,
};
enum { MISC_COLOUR = 0x01, SEQ_VGA = 6, GR_VGA = 9, CRTC_VGA = 0x19 };
enum { HIDDEN_DAC_READS = 4, CURSOR_ENTRIES = 16 };
enum { UNLOCK_BITS = 0x17, EEPROM_DDC = 0x40, DDC_LINES = 0x84, CONFIG_PCI = 0x20 };
/* Memory's size: 64 bits wide, and two banks; a half or a quarter of it. */
enum { DRAM_SIZE = 0x98, DRAM_1M = 0x10, DRAM_2M = 0x18, DRAM_4M = 0x98 };

/* Bits that keep what is written. */
static const uint8_t seq_bits[CIRRUS_SEQ] = {
	[0x07] = 0xff, [0x08] = 0xff, [0x09] = 0xff, [0x0a] = 0xff, [0x0b] = 0x7f, [0x0c] = 0x7f,
	[0x0d] = 0x7f, [0x0e] = 0x7f, [0x0f] = 0x67, [0x10] = 0xff, [0x11] = 0xff, [0x12] = 0x87,
	[0x13] = 0x3f, [0x14] = 0xff, [0x15] = 0xff, [0x16] = 0xff, [0x17] = 0xc7, [0x18] = 0xff,
	[0x1b] = 0xff, [0x1c] = 0xff, [0x1d] = 0xff, [0x1e] = 0xff, [0x1f] = 0xff,
};
static const uint8_t gr_bits[CIRRUS_GR] = {
	[0x00] = 0xff,
	[0x01] = 0xff,
	[0x09] = 0xff,
	[0x0a] = 0xff,
	[0x0b] = 0x3f,
	[0x0c] = 0xff,
	[0x0d] = 0xff,
	[0x0e] = 0xff,
	[0x10] = 0xff,
	[0x11] = 0xff,
	[0x12] = 0xff,
	[0x13] = 0xff,
	[0x14] = 0xff,
	[0x15] = 0xff,
	[0x18] = 0xff,
	[0x19] = 0xff,
	[0x1a] = 0xff,
	[0x1b] = 0xff,
	[0x1c] = 0xff,
	[0x1d] = 0xff,
	[0x1e] = 0xff,
	[0x1f] = 0xff,
	/* the BitBLT engine's: width, height, pitches, addresses ... */
	[0x20] = 0xff,
	[0x21] = 0x1f,
	[0x22] = 0xff,
	[0x23] = 0x07,
	[0x24] = 0xff,
	[0x25] = 0x1f,
	[0x26] = 0xff,
	[0x27] = 0x1f,
	[0x28] = 0xff,
	[0x29] = 0xff,
	[0x2a] = 0x3f,
	[0x2c] = 0xff,
	[0x2d] = 0xff,
	[0x2e] = 0x3f,
	[0x2f] = 0xff,
	[0x30] = 0xff,
	[0x31] = 0xf0,
	[0x32] = 0xff,
	[0x33] = 0xff,
	[0x34] = 0xff,
	[0x35] = 0xff,
	[0x38] = 0xff,
	[0x39] = 0xff,
};

static bool locked(const struct cirrus *c)
{
	return c->seq[SEQ_UNLOCK] != CIRRUS_UNLOCKED;
}

/* How memory is reached, or what is shown, may be another now. */
static void changed(struct cirrus *c)
{
	cirrus_access(c);
	screen_touch(c->vga.screen);
}

/* --- the sequencer's -------------------------------------------------------------------- */

/* The three lowest bits of the cursor's place come with the index. */
static unsigned cursor_place(const struct cirrus *c, uint8_t val)
{
	return val * 8u + (c->seq_index >> 5);
}

static void seq_write(struct cirrus *c, uint8_t val)
{
	unsigned i = c->seq_index % CIRRUS_SEQ;

	if (i < SEQ_VGA) {
		if (i == SEQ_PIXEL_MASK)
			c->seq[i] = val;
		vga_port_write(&c->vga, PORT_SEQ, val);
		return;
	}
	if (i == SEQ_UNLOCK) {
		bool key = (val & UNLOCK_BITS) == CIRRUS_UNLOCKED;

		c->seq[i] = key ? CIRRUS_UNLOCKED : CIRRUS_LOCKED;
		return;
	}
	if (locked(c))
		return;
	c->seq[i] = (uint8_t)((c->seq[i] & ~seq_bits[i]) | (val & seq_bits[i]));
	if (i == SEQ_CURSOR_X)
		c->cursor_x = cursor_place(c, val);
	else if (i == SEQ_CURSOR_Y)
		c->cursor_y = cursor_place(c, val);
	changed(c);
}

static uint8_t seq_read(struct cirrus *c)
{
	unsigned i = c->seq_index % CIRRUS_SEQ;

	if (i == SEQ_PIXEL_MASK && c->gr[GR_EXTENSIONS] & EXT_WRITE_MODES)
		return c->seq[i];
	if (i < SEQ_VGA)
		return vga_port_read(&c->vga, PORT_SEQ);
	if (i != SEQ_UNLOCK && locked(c))
		return 0xff;
	/* No monitor answers on its data channel: both lines are high. */
	if (i == SEQ_EEPROM && c->seq[i] & EEPROM_DDC)
		return c->seq[i] | DDC_LINES;
	return c->seq[i];
}

/* --- the graphics controller's ------------------------------------------------------------ */

static void blt_control(struct cirrus *c, uint8_t val)
{
	uint8_t *kept = &c->gr[GR_BLT_START];

	*kept = cirrus_blt_control(&c->blt, *kept, val);
}

/*
 * Of GR9 on, and the two below that hold colours. From GR10 on they are for the BitBLT engine: they
 * change nothing else, unless they start it.
 */
static void gr_set(struct cirrus *c, unsigned i, uint8_t val)
{
	bool autostart = i == GR_BLT_DST_HIGH && c->gr[GR_BLT_START] & BLT_AUTOSTART;

	if (i == GR_BLT_START) {
		blt_control(c, val);
	} else {
		c->gr[i] = val & gr_bits[i];
		if (autostart)
			blt_control(c, c->gr[GR_BLT_START] | BLT_START);
	}
	if (i < GR_BACKGROUND1 || i == GR_BLT_START || autostart)
		changed(c);
}

static uint8_t gr_get(const struct cirrus *c, unsigned i)
{
	return i == GR_BLT_START ? cirrus_blt_status(&c->blt, c->gr[i]) : c->gr[i];
}

static void gr_write(struct cirrus *c, uint8_t val)
{
	unsigned i = c->gr_index % CIRRUS_GR;

	if (i < GR_VGA) {
		/* As the VGA has it, but for bits that are this card's alone. */
		c->gr[i] = val;
		vga_port_write(&c->vga, PORT_GR, val);
		if (i == GR_WRITE_MODE)
			cirrus_access(c);
	} else if (!locked(c)) {
		gr_set(c, i, val);
	}
}

static uint8_t gr_read(struct cirrus *c)
{
	unsigned i = c->gr_index % CIRRUS_GR;

	if (i == GR_WRITE_MODE && c->gr[GR_EXTENSIONS] & EXT_WRITE_MODES)
		return c->vga.gr[i] | (c->gr[i] & 4);
	if (i == GR_BACKGROUND || i == GR_FOREGROUND)
		return c->gr[i];
	if (i < GR_VGA)
		return vga_port_read(&c->vga, PORT_GR);
	return locked(c) ? 0xff : gr_get(c, i);
}

/* --- the CRTC's ------------------------------------------------------------------------------ */

static void crtc_write(struct cirrus *c, unsigned port, uint8_t val)
{
	unsigned i = c->crtc_index;

	if (i < CRTC_VGA) {
		vga_port_write(&c->vga, port, val);
		return;
	}
	if (i >= CIRRUS_CRTC || (i >= CRTC_LATCH && i <= CRTC_ID) || locked(c))
		return;
	c->crtc[i] = val;
	changed(c);
}

static uint8_t crtc_read(struct cirrus *c, unsigned port)
{
	const struct vga *v = &c->vga;
	unsigned i = c->crtc_index;

	if (i < CRTC_VGA)
		return vga_port_read(&c->vga, port);
	switch (i) {
	case CRTC_LATCH:
		return (uint8_t)(v->latch >> 8 * (v->gr[4] & 3));
	case CRTC_ATTR_FLIP:
		return v->attr_flip ? 0x80 : 0;
	case CRTC_ATTR_INDEX:
		return v->attr_index;
	default:
		return i >= CIRRUS_CRTC || locked(c) ? 0xff : c->crtc[i];
	}
}

/* --- the DAC -------------------------------------------------------------------------------- */

static void mask_write(struct cirrus *c, uint8_t val)
{
	if (c->dac_reads < HIDDEN_DAC_READS) {
		vga_port_write(&c->vga, PORT_DAC_MASK, val);
		return;
	}
	c->hidden_dac = val;
	screen_touch(c->vga.screen);
}

static uint8_t mask_read(struct cirrus *c)
{
	if (c->dac_reads < HIDDEN_DAC_READS) {
		c->dac_reads++;
		return vga_port_read(&c->vga, PORT_DAC_MASK);
	}
	c->dac_reads = 0;
	return c->hidden_dac;
}

/* The cursor's colours take the place of the first 16, by the VGA's counters. */
static void cursor_palette_write(struct cirrus *c, uint8_t val)
{
	struct vga *v = &c->vga;

	v->dac_held[v->dac_part] = val & 0x3f;
	if (++v->dac_part < 3)
		return;
	memcpy(&c->cursor_palette[v->dac_write % CURSOR_ENTRIES * 3], v->dac_held, 3);
	v->dac_part = 0;
	v->dac_write++;
	screen_touch(v->screen);
}

static uint8_t cursor_palette_read(struct cirrus *c)
{
	struct vga *v = &c->vga;
	uint8_t val = c->cursor_palette[v->dac_read % CURSOR_ENTRIES * 3 + v->dac_part];

	if (++v->dac_part == 3) {
		v->dac_part = 0;
		v->dac_read++;
	}
	return val;
}

/* --- ports -------------------------------------------------------------------------------------
 */

/* Which of the CRTC's ports it is, when it is the one that answers; else 0. */
static unsigned crtc_port(const struct cirrus *c, unsigned port)
{
	unsigned base = c->vga.misc & MISC_COLOUR ? 0x3d0 : 0x3b0;

	return port == base + PORT_CRTC_INDEX || port == base + PORT_CRTC ? port - base : 0;
}

static void port_write(struct cirrus *c, unsigned port, uint8_t val)
{
	switch (crtc_port(c, port)) {
	case PORT_CRTC_INDEX:
		c->crtc_index = val;
		break;
	case PORT_CRTC:
		crtc_write(c, port, val);
		return;
	}
	vga_port_write(&c->vga, port, val);
}

void cirrus_port_write(struct cirrus *c, unsigned port, uint8_t val)
{
	bool cursor = c->seq[SEQ_CURSOR] & CURSOR_DAC;

	switch (port) {
	case PORT_SEQ:
		seq_write(c, val);
		break;
	case PORT_GR:
		gr_write(c, val);
		break;
	case PORT_DAC_MASK:
		mask_write(c, val);
		break;
	case PORT_SEQ_INDEX:
		c->seq_index = val;
		vga_port_write(&c->vga, port, val);
		break;
	case PORT_GR_INDEX:
		c->gr_index = val;
		vga_port_write(&c->vga, port, val);
		break;
	default:
		if (port == PORT_DAC && cursor)
			cursor_palette_write(c, val);
		else
			port_write(c, port, val);
		break;
	}
	if (port >= PORT_DAC_MASK && port <= PORT_DAC)
		c->dac_reads = 0;
}

uint8_t cirrus_port_read(struct cirrus *c, unsigned port)
{
	if (port >= PORT_DAC_READ && port <= PORT_DAC)
		c->dac_reads = 0;
	switch (port) {
	case PORT_SEQ_INDEX:
		return c->seq_index;
	case PORT_SEQ:
		return seq_read(c);
	case PORT_GR_INDEX:
		return c->gr_index;
	case PORT_GR:
		return gr_read(c);
	case PORT_DAC_MASK:
		return mask_read(c);
	case PORT_DAC:
		if (c->seq[SEQ_CURSOR] & CURSOR_DAC)
			return cursor_palette_read(c);
		break;
	}
	switch (crtc_port(c, port)) {
	case PORT_CRTC_INDEX:
		return c->crtc_index;
	case PORT_CRTC:
		return crtc_read(c, port);
	default:
		return vga_port_read(&c->vga, port);
	}
}

/* --- registers in memory ---------------------------------------------------------------------- */

enum { NONE = 0xff, BLT_MMIO_START = 0x40 };

/* GRs by their place, but for GR31. */
static const uint8_t blt_gr[] = {
	0x00, 0x10, 0x12, 0x14, /* background colour */
	0x01, 0x11, 0x13, 0x15, /* foreground colour */
	0x20, 0x21, 0x22, 0x23, /* width, height */
	0x24, 0x25, 0x26, 0x27, /* pitches: destination, source */
	0x28, 0x29, 0x2a, NONE, /* destination */
	0x2c, 0x2d, 0x2e, 0x2f, /* source, write mask */
	0x30, NONE, 0x32, 0x33, /* mode, raster operation, more modes */
	0x34, 0x35, NONE, NONE, /* the transparent colour */
	0x38, 0x39, /* its mask */
};

static unsigned blt_reg(unsigned off)
{
	if (off == BLT_MMIO_START)
		return GR_BLT_START;
	return off < sizeof(blt_gr) ? blt_gr[off] : NONE;
}

uint8_t cirrus_blt_reg_read(struct cirrus *c, unsigned off)
{
	unsigned i = blt_reg(off);

	return i == NONE ? 0xff : gr_get(c, i);
}

void cirrus_blt_reg_write(struct cirrus *c, unsigned off, uint8_t val)
{
	unsigned i = blt_reg(off);

	if (i == NONE)
		return;
	if (i < GR_VGA)
		c->vga.gr[i] = val & 0x0f;
	gr_set(c, i, val);
}

uint8_t cirrus_mmio_read(struct cirrus *c, unsigned off)
{
	if (off < CIRRUS_MMIO_VGA)
		return cirrus_port_read(c, 0x3c0 + off);
	if (off >= CIRRUS_MMIO_BLT && off < CIRRUS_MMIO_BLT + CIRRUS_MMIO_BLT_LEN)
		return cirrus_blt_reg_read(c, off - CIRRUS_MMIO_BLT);
	return 0xff;
}

void cirrus_mmio_write(struct cirrus *c, unsigned off, uint8_t val)
{
	if (off < CIRRUS_MMIO_VGA)
		cirrus_port_write(c, 0x3c0 + off, val);
	else if (off >= CIRRUS_MMIO_BLT && off < CIRRUS_MMIO_BLT + CIRRUS_MMIO_BLT_LEN)
		cirrus_blt_reg_write(c, off - CIRRUS_MMIO_BLT, val);
}

/* --- life
 * ------------------------------------------------------------------------------------------
 */

/* The BitBLT engine has written [first, first + len). */
static void blt_changed(void *ctx, uint32_t first, uint32_t len)
{
	struct vga *v = &((struct cirrus *)ctx)->vga;

	for (uint32_t page = first / VGA_PAGE; len && page <= (first + len - 1) / VGA_PAGE; page++)
		vga_mark(v, page * VGA_PAGE);
	v->font_changed = true;
}

static const struct vga_hooks hooks = {
	.window = cirrus_window,
	.mode = cirrus_mode,
	.overlay_begin = cirrus_overlay_begin,
	.overlay = cirrus_overlay,
};

int cirrus_init(struct cirrus *c)
{
	c->vga.hooks = &hooks;
	c->vga.windows = cirrus_windows;
	c->blt.mem = c->vga.mem;
	c->blt.size = c->vga.size;
	c->blt.gr = c->gr;
	c->blt.changed = blt_changed;
	c->blt.ctx = c;
	return vga_init(&c->vga);
}

void cirrus_fini(struct cirrus *c)
{
	vga_fini(&c->vga);
}

void cirrus_reset(struct cirrus *c)
{
	uint32_t size = c->vga.size;

	cirrus_blt_reset(&c->blt);
	memset(c->seq, 0, sizeof(c->seq));
	memset(c->gr, 0, sizeof(c->gr));
	memset(c->crtc, 0, sizeof(c->crtc));
	memset(c->cursor_palette, 0, sizeof(c->cursor_palette));
	c->seq_index = c->gr_index = c->crtc_index = 0;
	c->cursor_x = c->cursor_y = 0;
	c->hidden_dac = c->dac_reads = 0;
	c->latch = 0;
	c->seq[SEQ_UNLOCK] = CIRRUS_LOCKED;
	c->seq[SEQ_DRAM] = size >= 4 << 20 ? DRAM_4M : size >= 2 << 20 ? DRAM_2M : DRAM_1M;
	c->seq[SEQ_CONFIG] = CONFIG_PCI;
	c->crtc[CRTC_ID] = CIRRUS_ID;
	vga_reset(&c->vga);
	changed(c);
}
