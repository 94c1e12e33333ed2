/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VGA: registers, memory and drawing, without the bus it is on (IBM VGA
 * technical reference; FreeVGA's documentation), and the Bochs "dispi"
 * registers for modes beyond it. Cards embed it.
 *
 * Memory is kept as a linear framebuffer has it: plane p of address a is byte 4a + p. In
 * chain-4 modes CPU address n is byte n; in odd/even modes it is plane n % 2 of address
 * n / 2, and the CRTC counts the same way, so that its word and doubleword modes need no
 * further thought.
 *
 * Threads: the card's lock is held in all functions (registers by vCPU threads, drawing by
 * the main loop, which takes it in vga_screen_ops).
 */
#ifndef POSADA_VGA_H
#define POSADA_VGA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "display.h"
#include "log.h"

enum {
	VGA_MEM_LEGACY = 256 << 10, /* bytes of an IBM VGA */
	VGA_MEM_MIN = 1 << 20,
	VGA_PAGE = 4096,
	VGA_PORTS = 0x3b0,
	VGA_PORTS_LEN = 0x30,
	VGA_WINDOW = 0xa0000,
	VGA_WINDOW_LEN = 0x20000,
	VGA_LINEAR = 0xb8000,
	VGA_LINEAR_LEN = 0x8000,
	VGA_WINDOWS = 2, /* parts of the window that are mapped by themselves */
};

/* Of the window: bytes [off, off + len) are memory from byte `at` on; whole pages all. */
struct vga_window {
	uint32_t off, len, at;
};

#define VGA_NO_BYTE UINT32_MAX

enum vga_dispi_reg {
	DISPI_ID,
	DISPI_XRES,
	DISPI_YRES,
	DISPI_BPP,
	DISPI_ENABLE,
	DISPI_BANK,
	DISPI_VIRT_WIDTH,
	DISPI_VIRT_HEIGHT,
	DISPI_X_OFFSET,
	DISPI_Y_OFFSET,
	DISPI_MEMORY_64K,
	DISPI_REGS,
};

enum vga_dispi_enable {
	DISPI_ENABLED = 0x01,
	DISPI_GETCAPS = 0x02,
	DISPI_8BIT_DAC = 0x20,
	DISPI_LFB = 0x40,
	DISPI_NOCLEAR = 0x80,
};

enum vga_kind {
	VGA_BLANK,
	VGA_TEXT,
	VGA_PLANAR, /* 16 colours, a plane a bit */
	VGA_CGA, /* 4 or 16 colours, two bits of each plane a pixel */
	VGA_8, /* a byte a pixel, through the DAC */
	VGA_15,
	VGA_16,
	VGA_24,
	VGA_32,
};

/* What the registers say is to be shown; all zero but for what its kind uses. */
struct vga_mode {
	enum vga_kind kind;
	unsigned width, height; /* of the surface */
	unsigned dots; /* surface pixels a pixel */
	unsigned scans; /* scan lines of a row of memory, or of a character */
	unsigned repeat; /* surface lines a scan line */
	unsigned first_scan; /* where in its first row the screen starts */
	uint32_t start, pitch; /* bytes */
	uint32_t wrap; /* addresses are taken modulo this, bytes; 0: they cannot go beyond */
	unsigned split; /* from this line on memory is shown from address 0 */
	unsigned pan; /* pixels that the screen is shifted to the left */
	bool pan_lower; /* below the split as well */
	uint32_t scan_bit[2]; /* address bits that are replaced by those of the scan line */
	/* text */
	unsigned columns, char_width;
};

struct vga;

/* What a card has beyond a VGA; any of them may be NULL. */
struct vga_hooks {
	/* Where off in the window lies among the bytes that the CPU sees, or VGA_NO_BYTE. */
	uint32_t (*window)(const struct vga *v, uint32_t off);
	/* m is what a VGA's registers say, and is not VGA_BLANK. */
	void (*mode)(const struct vga *v, struct vga_mode *m);
	/* Before graphics are drawn: lines [*first, *end) are to be drawn in any case. */
	void (*overlay_begin)(struct vga *v, unsigned *first, unsigned *end);
	/* Draws over line y, width pixels; false: there is nothing over it. */
	bool (*overlay)(const struct vga *v, unsigned y, uint32_t *line, unsigned width);
};

struct vga {
	/* given by the card */
	const struct vga_hooks *hooks; /* NULL: a VGA has all */
	pthread_mutex_t *lock;
	const char *name;
	uint8_t *mem;
	uint32_t size; /* bytes, a power of two, at least VGA_MEM_MIN */
	/* Adds pages that the guest wrote through a mapping; NULL: it has none. */
	void (*collect_dirty)(void *ctx, uint64_t *bitmap);
	/*
	 * A linear picture of text memory that the guest is let at directly, VGA_LINEAR_LEN
	 * bytes at VGA_LINEAR; NULL: there is none. See vga_linear.c.
	 */
	uint8_t *linear;
	int (*linear_map)(void *ctx, bool on);
	uint64_t (*linear_dirty)(void *ctx); /* a bit a page written since the last call */
	/*
	 * The screen sleeps: screen_touch when the guest writes to memory that it is let at
	 * directly. 0 or -errno. NULL: only when there is no such memory.
	 */
	int (*watch_memory)(void *ctx, bool on);
	/*
	 * Where reading and writing the window does no more than reading and writing memory;
	 * returns how many parts there are. NULL: vga_windows, as a VGA with dispi has it.
	 */
	unsigned (*windows)(const struct vga *v, struct vga_window *w);
	/* Lets the guest at part i directly; w: NULL: no longer. NULL: it cannot. See vga_window.c.
	 */
	int (*window_map)(void *ctx, unsigned i, const struct vga_window *w);
	void *ctx;

	struct vga_window_state {
		struct vga_window w;
		bool on; /* mapped */
		unsigned hits; /* accesses to it that came the long way */
	} window[VGA_WINDOWS];
	bool no_windows;
	/* the card's to change */
	uint32_t reach; /* bytes of memory that a VGA's addresses go around in */
	bool every_access; /* to text memory is to come to the card: no linear picture */
	bool stays_on; /* the sequencer's "screen off" is for bandwidth only */

	bool linear_on;
	unsigned linear_hits; /* accesses that it would have spared */
	struct screen *screen;
	struct log_limit log;
	uint8_t seq_index, seq[8];
	uint8_t gr_index, gr[16];
	uint8_t crtc_index, crtc[32];
	uint8_t attr_index, attr[32]; /* attr_index bit 5: the screen is on */
	bool attr_flip; /* the next write of 0x3c0 is data */
	uint8_t misc, feature;
	uint8_t dac_mask, dac_read, dac_write, dac_part, dac_held[3], palette[768];
	bool dac_reading;
	uint32_t latch;
	uint8_t dispi_index;
	uint16_t dispi[DISPI_REGS];

	/* drawing */
	uint64_t *dirty; /* a bit a page */
	bool changed; /* registers: all is to be drawn */
	bool font_changed;
	struct vga_mode shown;
	uint32_t *cells; /* of text: what was drawn */
	unsigned n_cells;
	uint64_t spread[256]; /* byte i: bit 7 - i of the index */
};

extern const struct screen_ops vga_screen_ops; /* card: the struct vga */

/* The fields given by the card are set. -ENOMEM. */
int vga_init(struct vga *v);
void vga_fini(struct vga *v);
void vga_reset(struct vga *v);

/* Ports 0x3b0 to 0x3df, by bytes. */
uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t val);
uint16_t vga_dispi_read(struct vga *v, unsigned reg);
void vga_dispi_write(struct vga *v, unsigned reg, uint16_t val);

/* The window at 0xa0000: off in [0, 128 KiB), a byte. */
uint8_t vga_mem_read(struct vga *v, uint32_t off);
void vga_mem_write(struct vga *v, uint32_t off, uint8_t val);

/* --- vga_linear.c --- */
/* An access to text memory came the long way. */
void vga_linear_hit(struct vga *v);
/* Registers have changed: is it still possible? */
void vga_linear_check(struct vga *v);
/* Brings v->mem up to date, to be drawn. */
void vga_linear_sync(struct vga *v);
void vga_linear_end(struct vga *v);

/* --- vga_window.c --- */
unsigned vga_windows(const struct vga *v, struct vga_window *w);
/* An access to the window came the long way. */
void vga_window_hit(struct vga *v, uint32_t off);
/* Registers have changed: does it show the same still? vga_linear_check calls it. */
void vga_window_check(struct vga *v);
void vga_window_end(struct vga *v);

/* --- vga_mode.c, vga_text.c: for vga_draw.c --- */
void vga_mode_get(const struct vga *v, struct vga_mode *m);
/* 0x00RRGGBB of the DAC's entries, as they are masked; of the 16 colours of text and planes. */
void vga_colours(const struct vga *v, uint32_t *out);
void vga_colours16(const struct vga *v, const uint32_t *dac, uint32_t *out);
void vga_draw_text(struct vga *v, const struct vga_mode *m, const uint32_t *colour, bool all);
bool vga_text(void *card, struct text_screen *t);
void vga_draw_lines(struct vga *v, const struct vga_mode *m, const uint32_t *dac,
		    const uint32_t *colour, bool all);

static inline bool vga_dispi_on(const struct vga *v)
{
	return v->dispi[DISPI_ENABLE] & DISPI_ENABLED;
}
static inline void vga_mark(struct vga *v, uint32_t byte)
{
	v->dirty[byte / VGA_PAGE / 64] |= 1ull << byte / VGA_PAGE % 64;
}

#endif
