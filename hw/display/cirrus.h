/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cirrus Logic's GD5446 without the bus it is on: a VGA with more registers, banks, pixels of 8
 * to 32 bits, a hardware cursor and a BitBLT engine (CL-GD5446 Technical Reference Manual). What
 * Linux's cirrusfb and cirrus drivers, X's and SeaBIOS's VGA BIOS do with it was looked at too.
 *
 * Threads: the card's lock is held in all functions; drawing is the main loop's, as in vga.h.
 */
#ifndef POSADA_CIRRUS_H
#define POSADA_CIRRUS_H

#include "cirrus_blt.h"
#include "vga.h"

enum {
	CIRRUS_SEQ = 32,
	CIRRUS_CRTC = 64,
	CIRRUS_APERTURE = 32 << 20, /* of BAR 0 */
	CIRRUS_BLT_APERTURE = 16 << 20, /* from here on: only data of blits */
	CIRRUS_MMIO_LEN = 4096, /* of BAR 1 */
	CIRRUS_MMIO_VGA = 0x20, /* ports 0x3c0 to 0x3df, from 0 on */
	CIRRUS_MMIO_BLT = 0x100, /* CIRRUS_MMIO_BLT_LEN bytes from here on */
	CIRRUS_MMIO_BLT_LEN = 0x100,
	CIRRUS_MMIO_LATE = 0x40, /* that many of them may come late, when cirrus_late says so */
	CIRRUS_CURSOR_MEM = 16 << 10, /* the end of memory: cursors' images */
};

enum cirrus_seq {
	SEQ_PIXEL_MASK = 0x02,
	SEQ_UNLOCK = 0x06,
	SEQ_EXTENDED = 0x07,
	SEQ_EEPROM = 0x08,
	SEQ_DRAM = 0x0f,
	SEQ_CURSOR_X = 0x10,
	SEQ_CURSOR_Y = 0x11,
	SEQ_CURSOR = 0x12,
	SEQ_CURSOR_IMAGE = 0x13,
	SEQ_CONFIG = 0x17,
};

enum cirrus_gr {
	GR_BACKGROUND = 0x00,
	GR_FOREGROUND = 0x01,
	GR_WRITE_MODE = 0x05,
	GR_MAP = 0x06,
	GR_BANK0 = 0x09,
	GR_BANK1 = 0x0a,
	GR_EXTENSIONS = 0x0b,
	GR_POWER = 0x0e,
	GR_BACKGROUND1 = 0x10,
	GR_FOREGROUND1 = 0x11,
	GR_BLT_DST_HIGH = 0x2a,
	GR_BLT_START = 0x31,
};

enum cirrus_crtc {
	CRTC_EXTENDED = 0x1a,
	CRTC_DISPLAY = 0x1b,
	CRTC_OVERLAY = 0x1d,
	CRTC_LATCH = 0x22,
	CRTC_ATTR_FLIP = 0x24,
	CRTC_ATTR_INDEX = 0x26,
	CRTC_ID = 0x27,
};

enum { CIRRUS_ID = 0xb8, CIRRUS_UNLOCKED = 0x12, CIRRUS_LOCKED = 0x0f };
enum { CURSOR_ON = 0x01, CURSOR_DAC = 0x02, CURSOR_64 = 0x04 };
enum { BLT_START = 0x02, BLT_AUTOSTART = 0x80 }; /* GR_BLT_START */
/* GR_EXTENSIONS */
enum {
	EXT_DUAL_BANK = 0x01,
	EXT_BY_8 = 0x02, /* an address is 8 bytes' */
	EXT_WRITE_MODES = 0x04, /* modes 4 and 5 are there */
	EXT_LATCH_8 = 0x08,
	EXT_BY_16 = 0x10, /* with EXT_WRITE_MODES: an address is 8 pixels' of 16 bits */
	EXT_BANK_16K = 0x20,
};

/* The hardware cursor as it is on the surface. */
struct cirrus_cursor {
	unsigned side; /* 0: there is none */
	unsigned x, y;
	uint32_t colour[2]; /* 0x00RRGGBB: background, foreground */
	uint8_t image[1024];
};

struct cirrus {
	struct vga vga; /* its fields given by the card are set; hooks are this card's */
	/* given by the bus: cirrus_direct may answer differently now; NULL: nobody asks */
	void (*access_changed)(struct cirrus *c);

	uint8_t seq_index, seq[CIRRUS_SEQ];
	uint8_t gr_index, gr[CIRRUS_GR];
	uint8_t crtc_index, crtc[CIRRUS_CRTC];
	unsigned cursor_x, cursor_y;
	uint8_t hidden_dac, dac_reads; /* of the mask, one after the other */
	uint8_t cursor_palette[16 * 3];
	uint64_t latch; /* 4 or 8 bytes of packed pixels */
	struct cirrus_blt blt;
	struct cirrus_cursor shown;
};

/* c->vga.mem, size and so on are set. -ENOMEM. */
int cirrus_init(struct cirrus *c);
void cirrus_fini(struct cirrus *c);
void cirrus_reset(struct cirrus *c);

/* Ports 0x3b0 to 0x3df, by bytes. */
uint8_t cirrus_port_read(struct cirrus *c, unsigned port);
void cirrus_port_write(struct cirrus *c, unsigned port, uint8_t val);
/* BAR 1, by bytes. */
uint8_t cirrus_mmio_read(struct cirrus *c, unsigned off);
void cirrus_mmio_write(struct cirrus *c, unsigned off, uint8_t val);

/* --- cirrus_mem.c --- */
/* The window at 0xa0000: off in [0, 128 KiB), 1 to 8 bytes. */
uint64_t cirrus_window_read(struct cirrus *c, uint32_t off, unsigned size);
void cirrus_window_write(struct cirrus *c, uint32_t off, uint64_t val, unsigned size);
/* BAR 0: off in [0, CIRRUS_APERTURE), 1 to 8 bytes. */
uint64_t cirrus_linear_read(struct cirrus *c, uint32_t off, unsigned size);
void cirrus_linear_write(struct cirrus *c, uint32_t off, uint64_t val, unsigned size);
/* Whether BAR 0's first bytes are memory and no more: the guest may have them directly. */
bool cirrus_direct(const struct cirrus *c);
/*
 * Whether the first CIRRUS_MMIO_LATE bytes of the BitBLT engine's registers only say what the next
 * blit is to be: none of them starts it, and the colours are of no use to the memory's planes.
 */
bool cirrus_late(const struct cirrus *c);
uint32_t cirrus_window(const struct vga *v, uint32_t off);
/* For vga_window.c: the banks, when they are memory and no more. */
unsigned cirrus_windows(const struct vga *v, struct vga_window *w);
/* Registers have changed that say how memory is reached. */
void cirrus_access(struct cirrus *c);

/* --- cirrus_mode.c --- */
void cirrus_mode(const struct vga *v, struct vga_mode *m);
void cirrus_overlay_begin(struct vga *v, unsigned *first, unsigned *end);
bool cirrus_overlay(const struct vga *v, unsigned y, uint32_t *line, unsigned width);

/* --- cirrus.c, for these --- */
/* Pixels lie one after the other, not in planes or characters. */
static inline bool cirrus_packed(const struct cirrus *c)
{
	return c->seq[SEQ_EXTENDED] & 1;
}
uint8_t cirrus_blt_reg_read(struct cirrus *c, unsigned off);
void cirrus_blt_reg_write(struct cirrus *c, unsigned off, uint8_t val);

#endif
