/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * same_picture FILE.ppm FILE.png: whether a screendump is a picture, pixel by pixel. Exit status 1,
 * the first pixel that is another and how many are, when it is not.
 */
#include <png.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(FILE *f, unsigned width, unsigned height, const uint8_t *want)
{
	unsigned wrong = 0;
	uint8_t is[3];

	for (unsigned y = 0; y < height; y++) {
		for (unsigned x = 0; x < width; x++, want += 3) {
			if (fread(is, 3, 1, f) != 1) {
				printf("it ends in line %u\n", y);
				return 1;
			}
			if (memcmp(is, want, 3) && !wrong++)
				printf("pixel %u,%u is %02x%02x%02x, not %02x%02x%02x\n", x, y,
				       is[0], is[1], is[2], want[0], want[1], want[2]);
		}
	}
	if (wrong)
		printf("%u pixels are wrong\n", wrong);
	return wrong > 0;
}

int main(int argc, char **argv)
{
	png_image png = { .version = PNG_IMAGE_VERSION };
	FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL;
	unsigned width, height;
	uint8_t *want;
	int rc;

	if (!f || fscanf(f, "P6 %u %u 255", &width, &height) != 2 || getc(f) == EOF) {
		fprintf(stderr, "usage: same_picture FILE.ppm FILE.png\n");
		return 64;
	}
	if (!png_image_begin_read_from_file(&png, argv[2])) {
		fprintf(stderr, "%s: %s\n", argv[2], png.message);
		return 66;
	}
	png.format = PNG_FORMAT_RGB;
	want = malloc(PNG_IMAGE_SIZE(png));
	if (!want || !png_image_finish_read(&png, NULL, want, 0, NULL)) {
		fprintf(stderr, "%s: %s\n", argv[2], png.message);
		return 66;
	}
	if (png.width != width || png.height != height) {
		printf("%ux%u, not %ux%u\n", width, height, png.width, png.height);
		rc = 1;
	} else {
		rc = compare(f, width, height, want);
	}
	free(want);
	fclose(f);
	return rc;
}
