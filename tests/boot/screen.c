/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * screen: looks at a screendump (PPM, P6) as the boot tests do.
 *
 *	screen text KERNEL FILE		the text on a framebuffer console, by exact match of each
 *cell of 8 by 16 pixels with the font that is in the kernel (vmlinux) screen picture FILE [BITS]
 *whether it is the picture of guests/linux/programs/picture.h; of each colour the BITS highest bits
 *are compared (565; default 888) screen pixel FILE X Y		the pixel, as six hexadecimal digits
 *
 * A cell has two colours at most; what matches no character is shown as \xff, which no test
 *expects. Exit status: 0; 1: it is another picture; 2: a file cannot be used.
 */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../guests/linux/programs/picture.h"

enum { CELL_W = 8, CELL_H = 16, GLYPHS = 256, FONT_HEADER = 16, UNKNOWN = 0xff };

struct image {
	unsigned w, h;
	const uint8_t *rgb;
};

static void die(const char *file, const char *why)
{
	fprintf(stderr, "screen: %s: %s\n", file, why);
	exit(2);
}

static uint8_t *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *buf = NULL;
	long size = -1;

	if (f && !fseek(f, 0, SEEK_END))
		size = ftell(f);
	if (size < 0 || fseek(f, 0, SEEK_SET))
		die(path, "cannot be read");
	*len = (size_t)size;
	buf = malloc(*len + 1);
	if (!buf || fread(buf, 1, *len, f) != *len)
		die(path, "cannot be read");
	buf[*len] = 0;
	fclose(f);
	return buf;
}

static struct image read_ppm(const char *path)
{
	struct image im;
	size_t len;
	uint8_t *buf = read_file(path, &len);
	int at = 0;

	if (sscanf((char *)buf, "P6 %u %u 255%n", &im.w, &im.h, &at) != 2 || !at || im.w > 16384 ||
	    im.h > 16384 || len < (size_t)at + 1 + 3ul * im.w * im.h)
		die(path, "not a PPM file of 8 bits a colour");
	im.rgb = buf + at + 1;
	return im;
}

static uint32_t pixel(const struct image *im, unsigned x, unsigned y)
{
	const uint8_t *p = im->rgb + 3ul * (y * im->w + x);

	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* --- the kernel's font ------------------------------------------------------------- */

/* Where in the file what lies at address addr is; 0: nowhere. */
static size_t file_offset(const uint8_t *elf, size_t len, uint64_t addr, size_t size)
{
	const Elf64_Ehdr *eh = (const void *)elf;

	for (unsigned i = 0; i < eh->e_shnum; i++) {
		const Elf64_Shdr *sh = (const void *)(elf + eh->e_shoff + i * sizeof(*sh));
		uint64_t off = sh->sh_offset + (addr - sh->sh_addr);

		if (sh->sh_type == SHT_PROGBITS && addr >= sh->sh_addr &&
		    addr + size <= sh->sh_addr + sh->sh_size && off + size <= len)
			return off;
	}
	return 0;
}

/* Glyphs of 16 bytes each, the leftmost pixel in the highest bit (lib/fonts/font_8x16.c). */
static const uint8_t *kernel_font(const char *path)
{
	const size_t size = FONT_HEADER + GLYPHS * CELL_H;
	size_t len;
	const uint8_t *elf = read_file(path, &len);
	const Elf64_Ehdr *eh = (const void *)elf;

	if (len < sizeof(*eh) || memcmp(elf, ELFMAG, SELFMAG) ||
	    eh->e_shoff + eh->e_shnum * sizeof(Elf64_Shdr) > len)
		die(path, "not an ELF file");
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		const Elf64_Shdr *sh = (const void *)(elf + eh->e_shoff + i * sizeof(*sh));
		const Elf64_Shdr *names = sh + ((int)sh->sh_link - (int)i);

		if (sh->sh_type != SHT_SYMTAB || sh->sh_offset + sh->sh_size > len)
			continue;
		for (size_t n = 0; n < sh->sh_size / sizeof(Elf64_Sym); n++) {
			const Elf64_Sym *sym = (const Elf64_Sym *)(elf + sh->sh_offset) + n;
			const char *name = (const char *)elf + names->sh_offset + sym->st_name;
			size_t at;

			if (strcmp(name, "fontdata_8x16"))
				continue;
			at = file_offset(elf, len, sym->st_value, size);
			if (at)
				return elf + at + FONT_HEADER;
		}
	}
	die(path, "has no symbol fontdata_8x16");
	return NULL;
}

/* --- text ------------------------------------------------------------------------------ */

/* The cell's rows, bits set where a pixel is not as its first one; false: three colours. */
static int cell_bits(const struct image *im, unsigned left, unsigned top, uint8_t *rows)
{
	uint32_t first = pixel(im, left, top), other = first;

	for (unsigned y = 0; y < CELL_H; y++) {
		rows[y] = 0;
		for (unsigned x = 0; x < CELL_W; x++) {
			uint32_t is = pixel(im, left + x, top + y);

			if (is == first)
				continue;
			if (other != first && is != other)
				return 0;
			other = is;
			rows[y] |= (uint8_t)(0x80 >> x);
		}
	}
	return 1;
}

static int is_glyph(const uint8_t *font, unsigned c, const uint8_t *rows)
{
	int same = 1, inverse = 1;

	for (unsigned y = 0; y < CELL_H; y++) {
		same &= rows[y] == font[c * CELL_H + y];
		inverse &= (rows[y] ^ font[c * CELL_H + y]) == 0xff;
	}
	return same || inverse;
}

static int character(const uint8_t *font, const struct image *im, unsigned left, unsigned top)
{
	uint8_t rows[CELL_H];

	if (!cell_bits(im, left, top, rows))
		return UNKNOWN;
	for (int c = ' '; c < 127; c++)
		if (is_glyph(font, (unsigned)c, rows))
			return c;
	return UNKNOWN;
}

static int show_text(const char *kernel, const char *file)
{
	const uint8_t *font = kernel_font(kernel);
	struct image im = read_ppm(file);
	char line[16384 / CELL_W + 1];

	for (unsigned y = 0; y + CELL_H <= im.h; y += CELL_H) {
		unsigned n = 0;

		for (unsigned x = 0; x + CELL_W <= im.w; x += CELL_W)
			line[n++] = (char)character(font, &im, x, y);
		while (n && line[n - 1] == ' ')
			n--;
		line[n] = 0;
		puts(line);
	}
	return 0;
}

/* --- the picture ------------------------------------------------------------------------ */

static int compare(const char *file, unsigned bits)
{
	uint32_t mask = (0xff00u >> bits / 100 & 0xff) << 16 |
			(0xff00u >> bits / 10 % 10 & 0xff) << 8 | (0xff00u >> bits % 10 & 0xff);
	struct image im = read_ppm(file);

	for (unsigned y = 0; y < im.h; y++)
		for (unsigned x = 0; x < im.w; x++) {
			uint32_t is = pixel(&im, x, y), wanted = picture(x, y, im.w, im.h);

			if (!((is ^ wanted) & mask))
				continue;
			printf("%ux%u: pixel %u,%u is %06x, not %06x\n", im.w, im.h, x, y, is,
			       wanted);
			return 1;
		}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	struct image im;
	unsigned x, y;

	if (!strcmp(what, "text") && argc == 4)
		return show_text(argv[2], argv[3]);
	if (!strcmp(what, "picture") && argc <= 4)
		return compare(argv[2], argc == 4 ? (unsigned)atoi(argv[3]) : 888);
	if (!strcmp(what, "pixel") && argc == 5) {
		im = read_ppm(argv[2]);
		x = (unsigned)atoi(argv[3]);
		y = (unsigned)atoi(argv[4]);
		if (x >= im.w || y >= im.h)
			die(argv[2], "has no such pixel");
		printf("%06x\n", pixel(&im, x, y));
		return 0;
	}
	fputs("usage: screen text KERNEL FILE | picture FILE [BITS] | pixel FILE X Y\n", stderr);
	return 2;
}
