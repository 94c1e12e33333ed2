/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes as a hostile guest of a VGA. They write and read registers, dispi's, and
 * memory, and say when the screen is drawn, also over a framebuffer that the guest wrote itself,
 * and over windows to it that are mapped for the guest. Whatever they do, nothing outside of the
 * memory is touched, damage lies in the surface, and what is drawn as memory changes is what is
 * drawn when all is.
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

/* --- what is mapped for the guest ------------------------------------------------------------- */

static struct vga_window mapped[VGA_WINDOWS]; /* len 0: not */
static bool text_mapped;
static uint64_t text_dirty, window_dirty[VGA_WINDOWS];

static int linear_map(void *ctx, bool on)
{
	if (on == text_mapped)
		abort();
	text_mapped = on;
	text_dirty = 0;
	return 0;
}

static uint64_t linear_dirty(void *ctx)
{
	uint64_t dirty = text_dirty;

	text_dirty = 0;
	return dirty;
}

static int window_map(void *ctx, unsigned i, const struct vga_window *w)
{
	if (i >= VGA_WINDOWS || !w == !mapped[i].len)
		abort();
	if (w && (!w->len || w->off + w->len > VGA_WINDOW_LEN || w->at > MEMORY ||
		  w->len > MEMORY - w->at || (w->off | w->len | w->at) % VGA_PAGE))
		abort();
	mapped[i] = w ? *w : (struct vga_window){ 0 };
	window_dirty[i] = 0;
	return 0;
}

static void collect_dirty(void *ctx, uint64_t *bitmap)
{
	for (unsigned i = 0; i < VGA_WINDOWS; i++) {
		for (unsigned page = 0; page < mapped[i].len / VGA_PAGE; page++)
			if (window_dirty[i] >> page & 1)
				vga_mark(&v, mapped[i].at + page * VGA_PAGE);
		window_dirty[i] = 0;
	}
}

/* Reads or writes a byte, or some, as the guest would. */
static void guest_access(uint32_t off, uint8_t val, bool write)
{
	for (unsigned i = 0; i < VGA_WINDOWS; i++) {
		const struct vga_window *w = &mapped[i];

		if (off - w->off >= w->len)
			continue;
		if (write) {
			v.mem[w->at + (off - w->off)] = val;
			window_dirty[i] |= 1ull << (off - w->off) / VGA_PAGE;
		}
		return;
	}
	if (text_mapped && off >= 0x18000) {
		if (write) {
			v.linear[off - 0x18000] = val;
			text_dirty |= 1ull << (off - 0x18000) / VGA_PAGE;
		}
		return;
	}
	if (write)
		vga_mem_write(&v, off, val);
	else
		vga_mem_read(&v, off);
}

/* Until what can be mapped is. */
static void knock(uint32_t off)
{
	for (unsigned i = 0; i < 200; i++)
		guest_access(off, (uint8_t)i, true);
}

static uint8_t *text_memory; /* v.linear goes to NULL when it cannot be mapped */

/* Memory of its own each time, so that the sanitizer sees its ends. */
static void begin(void)
{
	struct err e;

	memset(&v, 0, sizeof(v));
	v.lock = &lock;
	v.name = "VGA";
	v.size = MEMORY;
	v.mem = calloc(1, MEMORY);
	v.linear = text_memory = calloc(1, VGA_LINEAR_LEN);
	v.linear_map = linear_map;
	v.linear_dirty = linear_dirty;
	v.window_map = window_map;
	v.collect_dirty = collect_dirty;
	memset(mapped, 0, sizeof(mapped));
	text_mapped = false;
	if (!v.mem || !v.linear || vga_init(&v) ||
	    screen_create(&m, &vga_screen_ops, &v, &v.screen, &e))
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
	free(text_memory);
}

static void set(unsigned index_port, uint8_t index, uint8_t val)
{
	vga_port_write(&v, index_port, index);
	vga_port_write(&v, index_port + 1, val);
}

/* Registers as modes have them in which memory can be mapped: by chance they never come. */
static void as_in_a_mode(bool text, bool dispi)
{
	if (dispi && !vga_dispi_on(&v)) {
		vga_dispi_write(&v, DISPI_XRES, 64);
		vga_dispi_write(&v, DISPI_YRES, 50);
		vga_dispi_write(&v, DISPI_ENABLE, DISPI_ENABLED);
	}
	set(0x3c4, 2, text ? 0x03 : 0x0f);
	set(0x3c4, 4, text ? 0x02 : 0x0e);
	set(0x3ce, 1, 0);
	set(0x3ce, 3, 0);
	set(0x3ce, 5, text ? 0x10 : 0x40);
	set(0x3ce, 6, text ? 0x0e : 0x05);
	set(0x3ce, 8, 0xff);
}

/* Time goes by, so text may have blinked. */
static void expect_all(void)
{
	struct surface *s = &v.screen->surface;
	size_t bytes = (size_t)s->width * s->height * sizeof(*s->pixel);
	uint32_t *before = v.shown.kind == VGA_TEXT ? NULL : malloc(bytes);

	if (!before)
		return;
	memcpy(before, s->pixel, bytes);
	vga_screen_ops.update(&v, v.screen, true);
	if (memcmp(before, s->pixel, bytes))
		abort();
	free(before);
}

/* A command of four bytes. Sizes that would make each drawing slow are cut. */
static void command(const uint8_t *c)
{
	static const unsigned index_port[4] = { 0x3c4, 0x3d4, 0x3ce, 0x3c0 };
	struct text_screen t = { 0 };

	if (c[0] >= 250) {
		as_in_a_mode(c[1] & 1, c[1] & 2);
		knock(c[2] << 9 | c[3]);
		return;
	}
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
		guest_access((c[1] << 9 | c[2] << 1) % VGA_WINDOW_LEN, c[3], true);
		if (c[0] >> 6 == 3)
			knock((c[1] << 9 | c[2] << 1) % VGA_WINDOW_LEN);
		break;
	case 5:
		guest_access((c[1] << 9 | c[2] << 1 | c[3]) % VGA_WINDOW_LEN, 0, false);
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
		if (c[1] & 2)
			expect_all();
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
