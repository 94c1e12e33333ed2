/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which format an image is of. Formats that this version cannot open are known by their
 * first bytes too, so that they are not taken for raw ones: the guest would see (and
 * write over) their headers. Set-up time, and on a write to sector 0 of a probed image.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "opts.h"

/* Signatures lie in the first sector, see blk_sector0_allowed. */
static const struct {
	const char *name;
	unsigned off, len;
	const char *magic;
} foreign[] = {
	{ "qcow", 0, 4, "QFI\xfb" },
	{ "qed", 0, 4, "QED" },
};

/* Format names that people may give for them, or for others that are known elsewhere. */
static const char *const absent[] = { "vhd", "qcow", "qed", "parallels", "bochs", "cloop", "dmg" };

const char *blk_probe_buf(const uint8_t *buf, size_t n, uint64_t size)
{
	const struct blk_driver *best = NULL;
	int best_score = 0;

	for (unsigned i = 0; blk_drivers[i]; i++) {
		int score = blk_drivers[i]->probe ? blk_drivers[i]->probe(buf, n, size) : 0;

		if (score > best_score) {
			best = blk_drivers[i];
			best_score = score;
		}
	}
	/* Raw claims everything, but with the least of certainty. */
	if (best && strcmp(best->name, "raw") != 0)
		return best->name;
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		if (n >= foreign[i].off + foreign[i].len &&
		    !memcmp(buf + foreign[i].off, foreign[i].magic, foreign[i].len))
			return foreign[i].name;
	return "raw";
}

const char *blk_probe_image(const uint8_t *buf, size_t n, uint64_t size)
{
	return blk_probe_buf(buf, n < BLK_PROBE_SIZE ? n : BLK_PROBE_SIZE, size);
}

int blk_probe(struct blk_node *file, const char **format, struct err *e)
{
	uint8_t buf[BLK_PROBE_SIZE];
	size_t n = file->size < sizeof(buf) ? (size_t)file->size : sizeof(buf);
	int rc = blk_node_pread(file, 0, buf, n);

	if (rc) {
		err_set(e, ERR_INPUT, -rc, "%s: cannot read its beginning to see its format: %s",
			file->filename, strerror(-rc));
		err_hint(e, "name the format by format=");
		return rc;
	}
	*format = blk_probe_buf(buf, n, file->size);
	return 0;
}

int blk_format_unknown(const char *format, const char *looks_like, struct err *e)
{
	const char *names[32];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		if (strcmp(absent[i], format) != 0)
			continue;
		err_set(e, ERR_INPUT, ENOTSUP, "format '%s' cannot be opened by this version%s%s",
			format, looks_like ? "; the image looks like " : "",
			looks_like ? looks_like : "");
		if (looks_like && !strcmp(looks_like, "raw"))
			err_hint(e, "write format=raw");
		else if (!strcmp(format, "vhd"))
			err_hint(e, "the name of that format is vpc");
		else
			err_hint(e, "convert it: qemu-img convert -O raw OLD NEW");
		return -ENOTSUP;
	}
	for (unsigned i = 0; blk_drivers[i] && n < ARRAY_SIZE(names); i++)
		names[n++] = blk_drivers[i]->name;
	err_set(e, ERR_USAGE, EINVAL, "there is no format or driver '%s'%s%s", format,
		looks_like ? "; the image looks like " : "", looks_like ? looks_like : "");
	err_suggest(e, format, names, n);
	return -EINVAL;
}

int blk_open_format(struct blk_node *file, const char *format, struct opts *o,
		    const struct blk_open *how, struct blk_node **out, bool *probed_raw,
		    struct err *e)
{
	const char *found = NULL;
	const struct blk_driver *drv;
	int rc;

	*probed_raw = false;
	drv = format ? blk_driver_find(format) : NULL;
	/* Whatever it holds can be opened as raw: no need to look. */
	if (!drv || strcmp(drv->name, "raw") != 0) {
		rc = blk_probe(file, &found, format ? NULL : e);
		if (rc && !format)
			goto fail;
	}
	if (!format) {
		drv = blk_driver_find(found);
		*probed_raw = !strcmp(found, "raw");
	}
	if (!drv && !format) {
		rc = err_set(e, ERR_INPUT, ENOTSUP,
			     "%s is an image of format %s, which this version cannot open",
			     file->filename, found);
		err_hint(e,
			 "convert it: qemu-img convert -O raw %s NEW; or, if its raw bytes are "
			 "meant, add format=raw",
			 file->filename);
		goto fail;
	}
	if (!drv) {
		rc = blk_format_unknown(format, found, e);
		err_prefix(e, "%s: ", file->filename);
		goto fail;
	}
	if (drv->protocol) {
		rc = err_set(e, ERR_USAGE, EINVAL, "'%s' is not a format of images", drv->name);
		goto fail;
	}
	rc = blk_node_open(drv, o, how, file, out, e);
	if (rc && format && found && strcmp(found, format) != 0 && e && !e->hint[0])
		err_hint(e, "the image looks like %s", found);
	return rc;
fail:
	blk_node_close(file);
	return rc;
}
