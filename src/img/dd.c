/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img dd: copies blocks of a disk into a new image. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

struct dd {
	struct img_how how;
	const char *in, *out, *format;
	uint64_t bs, count, skip;
	bool have_count;
};

static int operand(struct dd *d, char *word)
{
	char *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	const char *val = eq ? eq + 1 : "";

	if (eq && len == 2 && !strncmp(word, "if", 2)) {
		d->in = val;
	} else if (eq && len == 2 && !strncmp(word, "of", 2)) {
		d->out = val;
	} else if (eq && len == 2 && !strncmp(word, "bs", 2)) {
		return img_number("bs", val, 1, INT32_MAX, &d->bs);
	} else if (eq && len == 5 && !strncmp(word, "count", 5)) {
		d->have_count = true;
		return img_size("count", val, &d->count);
	} else if (eq && len == 4 && !strncmp(word, "skip", 4)) {
		return img_size("skip", val, &d->skip);
	} else {
		return img_fail("unrecognized operand %.*s", (int)len, word);
	}
	return 0;
}

/* Zeroes are skipped: the output is new, and reads so. */
static int copy(struct blk_node *from, uint64_t off, struct blk_node *to, uint64_t size)
{
	char *buf = img_buffer();
	struct img_status s;
	int rc = buf ? 0 : -ENOMEM;

	for (uint64_t done = 0; !rc && done < size; done += s.bytes) {
		uint64_t len = size - done;

		rc = img_status(from, NULL, off + done, len, &s);
		if (rc || (s.flags & BLK_ZERO))
			continue;
		if (s.bytes > IMG_PIECE)
			s.bytes = IMG_PIECE;
		rc = blk_node_pread(from, off + done, buf, s.bytes);
		if (!rc && !img_is_zero(buf, s.bytes))
			rc = blk_node_pwrite(to, done, buf, s.bytes);
	}
	img_buffer_done(buf);
	return rc ? img_fail("error while copying: %s", strerror(-rc)) : 0;
}

static int dd(struct dd *d, struct blk_node *from, const struct blk_driver *drv)
{
	struct img_how how = { .format = drv->name, .write = true };
	struct opts none = { 0 };
	struct img_new new;
	struct blk_node *to;
	uint64_t skip, size = from->size, max;
	int rc;

	if (__builtin_mul_overflow(d->bs, d->skip, &skip) || skip > from->size) {
		img_fail("%s: cannot skip to specified offset", d->in);
		skip = from->size;
	}
	if (d->have_count && !__builtin_mul_overflow(d->bs, d->count, &max) && size > max)
		size = max;
	/* As dd does: count counts from the beginning of the input. */
	size = size > skip ? size - skip : 0;
	rc = img_new_init(&new, drv, &none);
	new.c.size = size;
	if (!rc)
		rc = img_new_make(&new, d->out);
	img_new_free(&new);
	if (rc || img_open(d->out, &how, &to))
		return 1;
	rc = copy(from, skip, to, size);
	return img_close(to) ? 1 : rc;
}

int img_dd(int argc, char **argv)
{
	struct dd d = { .how = { .look = true }, .format = "raw", .bs = 512 };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &d.how.format },
		{ 'O', NULL, IMG_TEXT, &d.format },
		{ 0, "image-opts", IMG_FLAG, &d.how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &d.how.share },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	const struct blk_driver *drv;
	struct blk_node *from;
	int rc;

	if (i < 0)
		return 1;
	for (; i < argc; i++)
		if (operand(&d, argv[i]))
			return 1;
	if (!d.in || !d.out)
		return img_fail("Must specify both input and output files");
	drv = img_format(d.format);
	if (!drv || img_open(d.in, &d.how, &from))
		return 1;
	rc = img_same_file(d.in, d.out) ? img_fail("'%s' is both input and output", d.out)
					: dd(&d, from, drv);
	blk_node_close(from);
	return rc;
}
