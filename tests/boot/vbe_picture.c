/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vbe_picture FILE.ppm WIDTH HEIGHT BITS PITCH: whether a screendump is what guests/boot16/vbe.S
 * draws in such a mode, pixel by pixel. Eight bits a pixel are by the palette that the BIOS loads:
 * pixels of one value have one colour, those of 0 to 15 the CGA's. Exit status 1, and the first
 * pixel that is wrong, when it is not.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { UNKNOWN = 1 << 24 };

static uint32_t palette[256] = {
	0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
	0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff,
};

/* Byte n of the framebuffer. */
static unsigned byte(uint32_t n)
{
	return (uint8_t)(n / 64 * 0x9e3779b1u >> 8 * (n % 4));
}

static unsigned scale(unsigned x, unsigned bits)
{
	x &= (1u << bits) - 1;
	return x << (8 - bits) | x >> (2 * bits - 8);
}

static uint32_t expected(uint32_t at, unsigned bits, uint32_t is)
{
	unsigned word = byte(at) | byte(at + 1) << 8;

	switch (bits) {
	case 8:
		if (palette[byte(at)] == UNKNOWN)
			palette[byte(at)] = is;
		return palette[byte(at)];
	case 15:
		return scale(word >> 10, 5) << 16 | scale(word >> 5, 5) << 8 | scale(word, 5);
	case 16:
		return scale(word >> 11, 5) << 16 | scale(word >> 5, 6) << 8 | scale(word, 5);
	default:
		return word | byte(at + 2) << 16;
	}
}

int main(int argc, char **argv)
{
	unsigned width, height, arg[4];
	FILE *f = argc == 6 ? fopen(argv[1], "rb") : NULL;

	if (!f || fscanf(f, "P6 %u %u 255", &width, &height) != 2 || getc(f) == EOF) {
		fprintf(stderr, "usage: vbe_picture FILE.ppm WIDTH HEIGHT BITS PITCH\n");
		return 64;
	}
	for (unsigned i = 0; i < 4; i++)
		arg[i] = (unsigned)strtoul(argv[2 + i], NULL, 0);
	for (unsigned i = 16; i < 256; i++)
		palette[i] = UNKNOWN;
	if (width != arg[0] || height != arg[1]) {
		printf("%ux%u, not %ux%u\n", width, height, arg[0], arg[1]);
		return 1;
	}
	for (unsigned y = 0; y < height; y++) {
		for (unsigned x = 0; x < width; x++) {
			uint32_t is = (uint32_t)getc(f) << 16, want;

			is |= (uint32_t)getc(f) << 8;
			is |= (uint32_t)getc(f);
			want = expected(y * arg[3] + x * ((arg[2] + 7) / 8), arg[2], is);
			if (is == want)
				continue;
			printf("%u,%u is %06x, not %06x\n", x, y, is, want);
			return 1;
		}
	}
	fclose(f);
	return 0;
}
