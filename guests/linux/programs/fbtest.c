/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fbtest [-i] [-g]: draws the picture of picture.h on /dev/fb0, after a line with the framebuffer's
 * geometry. "fbtest: drawn" comes when all of it is there. With -i it goes on: where a pointer's
 * left button is pressed it draws a square, a key's square is at a place by its number (see
 * picture.h), and each is said in a line; it ends when Esc comes up. With -g it only says
 * the geometry.
 */
#include <errno.h>
#include <linux/fb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "inputs.h"
#include "picture.h"

static struct screen {
	struct fb_var_screeninfo var;
	struct fb_fix_screeninfo fix;
	uint8_t *pixels;
	unsigned bytes; /* of a pixel */
} s;

static void die(const char *what)
{
	fprintf(stderr, "fbtest: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void open_screen(void)
{
	int fd = open("/dev/fb0", O_RDWR);

	if (fd < 0)
		die("/dev/fb0");
	if (ioctl(fd, FBIOGET_VSCREENINFO, &s.var) || ioctl(fd, FBIOGET_FSCREENINFO, &s.fix))
		die("geometry");
	printf("fbtest: %s %ux%ux%u stride %u red %u:%u green %u:%u blue %u:%u\n", s.fix.id,
	       s.var.xres, s.var.yres, s.var.bits_per_pixel, s.fix.line_length, s.var.red.length,
	       s.var.red.offset, s.var.green.length, s.var.green.offset, s.var.blue.length,
	       s.var.blue.offset);
	s.bytes = s.var.bits_per_pixel / 8;
	s.pixels = mmap(NULL, s.fix.smem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s.pixels == MAP_FAILED)
		die("mmap");
}

static uint32_t component(uint32_t value, const struct fb_bitfield *f)
{
	return f->length ? value >> (8 - f->length) << f->offset : 0;
}

static void put(uint8_t *at, uint32_t rgb)
{
	uint32_t raw = component(rgb >> 16, &s.var.red) | component(rgb >> 8 & 0xff, &s.var.green) |
		       component(rgb & 0xff, &s.var.blue);

	memcpy(at, &raw, s.bytes); /* the processor is a little-endian one */
}

static void draw_picture(void)
{
	for (unsigned y = 0; y < s.var.yres; y++)
		for (unsigned x = 0; x < s.var.xres; x++)
			put(s.pixels + y * s.fix.line_length + x * s.bytes,
			    picture(x, y, s.var.xres, s.var.yres));
}

static void square(int left, int top, int size, uint32_t rgb)
{
	for (int y = top; y < top + size; y++)
		for (int x = left; x < left + size; x++)
			if (x >= 0 && y >= 0 && x < (int)s.var.xres && y < (int)s.var.yres)
				put(s.pixels + (unsigned)y * s.fix.line_length +
					    (unsigned)x * s.bytes,
				    rgb);
}

static int limited(int v, unsigned size)
{
	return v < 0 ? 0 : v >= (int)size ? (int)size - 1 : v;
}

static int axis_max(int fd, unsigned axis)
{
	struct input_absinfo abs;

	return ioctl(fd, EVIOCGABS(axis), &abs) ? 0 : abs.maximum;
}

static void interact(void)
{
	int x = (int)s.var.xres / 2, y = (int)s.var.yres / 2, i;
	bool pressed = false, ended = false;
	struct input_event ev;
	struct inputs in;
	unsigned kx, ky;

	inputs_open(&in);
	puts("fbtest: ready");
	while (!ended && (i = inputs_read(&in, &ev)) >= 0) {
		if (ev.type == EV_REL && ev.code == REL_X)
			x = limited(x + ev.value, s.var.xres);
		else if (ev.type == EV_REL && ev.code == REL_Y)
			y = limited(y + ev.value, s.var.yres);
		else if (ev.type == EV_ABS && ev.code == ABS_X)
			x = (int)place(ev.value, axis_max(in.fd[i].fd, ABS_X), s.var.xres);
		else if (ev.type == EV_ABS && ev.code == ABS_Y)
			y = (int)place(ev.value, axis_max(in.fd[i].fd, ABS_Y), s.var.yres);
		else if (ev.type == EV_KEY && ev.code == BTN_LEFT)
			pressed = ev.value;
		if (ev.type == EV_KEY && ev.code < BTN_MISC && ev.value == 1) {
			key_place(ev.code, s.var.xres, &kx, &ky);
			square((int)kx, (int)ky, KEY_SIZE, KEY_COLOUR);
			printf("fbtest: key %u at %u,%u\n", ev.code, kx, ky);
		}
		ended = ev.type == EV_KEY && ev.code == KEY_ESC && !ev.value;
		if (ev.type == EV_SYN && pressed) {
			square(x - MARK_SIZE / 2, y - MARK_SIZE / 2, MARK_SIZE, MARK_COLOUR);
			printf("fbtest: pressed at %d,%d\n", x, y);
		}
	}
}

int main(int argc, char **argv)
{
	bool interactive = argc == 2 && !strcmp(argv[1], "-i");
	bool only_geometry = argc == 2 && !strcmp(argv[1], "-g");

	if (argc > 1 && !interactive && !only_geometry) {
		fputs("usage: fbtest [-i | -g]\n", stderr);
		return EXIT_FAILURE;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	open_screen();
	if (only_geometry)
		return EXIT_SUCCESS;
	if (s.bytes < 2 || s.bytes > 4) {
		fputs("fbtest: only 15 to 32 bits a pixel can be drawn on\n", stderr);
		return EXIT_FAILURE;
	}
	draw_picture();
	puts("fbtest: drawn");
	if (interactive)
		interact();
	return EXIT_SUCCESS;
}
