/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes as a hostile guest of a cirrus-vga. They write and read ports, registers in
 * memory, the window and the framebuffer, start blits and feed them, and say when the screen is
 * drawn. Whatever they do, nothing outside of the memory is touched and damage lies in the surface.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../../hw/display/cirrus.h"
#include "err.h"
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = VGA_MEM_MIN };

static struct machine m;
static struct cirrus c;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void on_damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	const struct surface *s = &c.vga.screen->surface;

	if (!width || !height || x > s->width || y > s->height || width > s->width - x ||
	    height > s->height - y)
		abort();
}

static struct viewer viewer = { .damaged = on_damaged };

static void put(unsigned port, uint8_t index, uint8_t val)
{
	cirrus_port_write(&c, port, index);
	cirrus_port_write(&c, port + 1, val);
}

/* Memory of its own each time, so that the sanitizer sees its ends. */
static void begin(void)
{
	struct vga *v = &c.vga;
	struct err e;

	memset(&c, 0, sizeof(c));
	v->lock = &lock;
	v->name = "cirrus-vga";
	v->size = MEMORY;
	v->mem = calloc(1, MEMORY);
	if (!v->mem || cirrus_init(&c) || screen_create(&m, &vga_screen_ops, v, &v->screen, &e))
		abort();
	v->screen->viewers = &viewer;
	cirrus_reset(&c);
	cirrus_port_write(&c, 0x3c2, 1);
	cirrus_port_write(&c, 0x3c0, 0x20);
	put(0x3c4, 0, 3);
	put(0x3c4, 6, 0x12);
}

static void end(void)
{
	c.vga.screen->viewers = NULL;
	screen_destroy(c.vga.screen);
	cirrus_fini(&c);
	free(c.vga.mem);
}

/* A command of five bytes. */
static void command(const uint8_t *p)
{
	static const unsigned index_port[4] = { 0x3c4, 0x3d4, 0x3ce, 0x3ce };
	uint32_t at = (uint32_t)(p[1] | p[2] << 8 | p[3] << 16);
	unsigned size = 1u << (p[0] >> 4 & 3);
	struct text_screen t = { 0 };

	switch (p[0] & 15) {
	case 0:
		cirrus_port_write(&c, VGA_PORTS + p[1] % VGA_PORTS_LEN, p[2]);
		break;
	case 1:
		cirrus_port_read(&c, VGA_PORTS + p[1] % VGA_PORTS_LEN);
		break;
	case 2:
	case 3:
	case 4:
		put(index_port[p[0] >> 4 & 3], p[1], p[2]);
		put(index_port[p[0] >> 6 & 3], p[3], p[4]);
		break;
	case 5:
		for (unsigned i = 0; i < 4; i++)
			cirrus_port_read(&c, 0x3c6);
		cirrus_port_write(&c, 0x3c6, p[1]);
		break;
	case 6:
	case 7:
		cirrus_mmio_write(&c, at % CIRRUS_MMIO_LEN, p[4]);
		break;
	case 8:
		cirrus_mmio_read(&c, at % CIRRUS_MMIO_LEN);
		break;
	case 9:
		at %= VGA_WINDOW_LEN;
		cirrus_window_write(&c, at & ~(size - 1), p[4] * 0x0102040810204081u, size);
		break;
	case 10:
		at %= VGA_WINDOW_LEN;
		cirrus_window_read(&c, at & ~(size - 1), size);
		break;
	case 11:
		at = at << 1 | p[0] >> 7;
		cirrus_linear_write(&c, at & ~(size - 1), p[4] * 0x0102040810204081u, size);
		break;
	case 12:
		at = at << 1 | p[0] >> 7;
		cirrus_linear_read(&c, at & ~(size - 1), size);
		break;
	case 13:
		/* Data for a blit that waits, many at once. */
		for (unsigned i = 0; c.blt.waits && i < p[1] * 16u; i++)
			cirrus_linear_write(&c, CIRRUS_BLT_APERTURE, p[2] * i, 8);
		break;
	case 14:
		cirrus_port_read(&c, 0x3da);
		cirrus_port_write(&c, 0x3c0, p[1]);
		cirrus_port_write(&c, 0x3c0, p[2]);
		break;
	default:
		vga_text(&c.vga, &t);
		if (t.cell && t.cursor && (t.cursor_x >= t.columns || t.cursor_y >= t.rows))
			abort();
		free(t.cell);
		vga_screen_ops.update(&c.vga, c.vga.screen, p[1] & 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned draws = 0;

	begin();
	for (; size >= 5; data += 5, size -= 5) {
		if ((data[0] & 15) == 15 && ++draws > 4) /* they take long */
			break;
		command(data);
	}
	vga_screen_ops.update(&c.vga, c.vga.screen, false);
	end();
	return 0;
}
