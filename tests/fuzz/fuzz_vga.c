/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes as a hostile guest of a VGA. They write and read registers, dispi's, and
 * memory, and say when the screen is drawn, also over a framebuffer that the guest wrote itself.
 * Whatever they do, nothing outside of the memory is touched and damage lies in the surface.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../../hw/display/vga.h"
#include "err.h"
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = VGA_MEM_MIN };

static struct machine m;
static struct vga v;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void on_damaged(void *ctx, unsigned x, unsigned y, unsigned width, unsigned height)
{
	const struct surface *s = &v.screen->surface;

	if (!width || !height || x > s->width || y > s->height || width > s->width - x ||
	    height > s->height - y)
		abort();
}

static struct viewer viewer = { .damaged = on_damaged };

/* Memory of its own each time, so that the sanitizer sees its ends. */
static void begin(void)
{
	struct err e;

	memset(&v, 0, sizeof(v));
	v.lock = &lock;
	v.name = "VGA";
	v.size = MEMORY;
	v.mem = calloc(1, MEMORY);
	if (!v.mem || vga_init(&v) || screen_create(&m, &vga_screen_ops, &v, &v.screen, &e))
		abort();
	v.screen->viewers = &viewer;
	vga_reset(&v);
	vga_port_write(&v, 0x3c2, 1);
	vga_port_write(&v, 0x3c0, 0x20);
	vga_port_write(&v, 0x3c4, 0);
	vga_port_write(&v, 0x3c5, 3);
}

static void end(void)
{
	v.screen->viewers = NULL;
	screen_destroy(v.screen);
	vga_fini(&v);
	free(v.mem);
}

/* A command of four bytes. Sizes that would make each drawing slow are cut. */
static void command(const uint8_t *c)
{
	static const unsigned index_port[4] = { 0x3c4, 0x3d4, 0x3ce, 0x3c0 };
	struct text_screen t = { 0 };

	switch (c[0] % 10) {
	case 0:
		vga_port_write(&v, VGA_PORTS + c[1] % VGA_PORTS_LEN, c[2]);
		break;
	case 1:
		vga_port_read(&v, VGA_PORTS + c[1] % VGA_PORTS_LEN);
		break;
	case 2:
	case 3:
		vga_port_read(&v, 0x3da);
		vga_port_write(&v, index_port[c[0] >> 4 & 3], c[1]);
		vga_port_write(&v, index_port[c[0] >> 4 & 3] + ((c[0] >> 4 & 3) != 3), c[2]);
		break;
	case 4:
		vga_mem_write(&v, (c[1] << 9 | c[2] << 1) % VGA_WINDOW_LEN, c[3]);
		break;
	case 5:
		vga_mem_read(&v, (c[1] << 9 | c[2] << 1 | c[3]) % VGA_WINDOW_LEN);
		break;
	case 6:
		vga_dispi_write(&v, c[1] % (DISPI_REGS + 1), (uint16_t)(c[2] << 8 | c[3]));
		break;
	case 7:
		vga_dispi_read(&v, c[1]);
		break;
	case 8:
		v.mem[(c[1] << 12 | c[2] << 4 | c[3]) % MEMORY] = c[3];
		vga_mark(&v, (unsigned)(c[1] << 12 | c[2] << 4 | c[3]) % MEMORY);
		break;
	default:
		vga_text(&v, &t);
		if (t.cell && t.cursor && (t.cursor_x >= t.columns || t.cursor_y >= t.rows))
			abort();
		free(t.cell);
		vga_screen_ops.update(&v, v.screen, c[1] & 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned draws = 0;

	begin();
	for (; size >= 4; data += 4, size -= 4) {
		if (data[0] % 10 == 9 && ++draws > 8)
			break;
		command(data);
	}
	vga_screen_ops.update(&v, v.screen, false);
	end();
	return 0;
}
