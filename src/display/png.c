/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Screenshots: a surface as a PNG or PPM file. Main loop. */
#include <png.h>

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "display.h"
#include "err.h"

static void pixels_to_rgb(const uint32_t *from, unsigned n, uint8_t *to)
{
	for (unsigned i = 0; i < n; i++) {
		*to++ = (uint8_t)(from[i] >> 16);
		*to++ = (uint8_t)(from[i] >> 8);
		*to++ = (uint8_t)from[i];
	}
}

/* Errors of the file stay with it. */
static void write_ppm(const struct surface *s, FILE *f, uint8_t *row)
{
	fprintf(f, "P6\n%u %u\n255\n", s->width, s->height);
	for (unsigned y = 0; y < s->height && !ferror(f); y++) {
		pixels_to_rgb(s->pixel + (size_t)y * s->width, s->width, row);
		fwrite(row, 3, s->width, f);
	}
}

static void on_error(png_structp png, png_const_charp msg)
{
	longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp msg)
{
}

/* False: out of memory, or the file's error. */
static bool write_png(const struct surface *s, FILE *f, uint8_t *row)
{
	png_structp png =
		png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning);
	png_infop info = png ? png_create_info_struct(png) : NULL;

	if (!info || setjmp(png_jmpbuf(png))) {
		png_destroy_write_struct(&png, &info);
		return false;
	}
	png_init_io(png, f);
	png_set_compression_level(png, 3);
	png_set_IHDR(png, info, s->width, s->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
		     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_write_info(png, info);
	for (unsigned y = 0; y < s->height; y++) {
		pixels_to_rgb(s->pixel + (size_t)y * s->width, s->width, row);
		png_write_row(png, row);
	}
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
	return true;
}

bool surface_format_known(const char *format)
{
	return !strcmp(format, "png") || !strcmp(format, "ppm");
}

int surface_write(const struct surface *s, const char *file, const char *format, struct err *e)
{
	size_t len = strlen(file);
	bool png = format ? !strcmp(format, "png") : len > 4 && !strcasecmp(file + len - 4, ".png");
	uint8_t *row = malloc(3 * (size_t)s->width);
	FILE *f = row ? fopen(file, "we") : NULL;
	bool ok = true;
	int code = errno;

	if (!row)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (f) {
		errno = 0;
		if (png)
			ok = write_png(s, f, row);
		else
			write_ppm(s, f, row);
		ok &= !ferror(f);
		code = errno ? errno : EIO;
		if (fclose(f) && ok) {
			ok = false;
			code = errno;
		}
	}
	free(row);
	return f && ok ? 0 : err_set(e, ERR_INPUT, code, "%s: %s", file, strerror(code));
}
