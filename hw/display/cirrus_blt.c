/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BitBLT engine of Cirrus Logic's GD5446, see cirrus_blt.h. All kinds of blits come to the
 * same: a line of source is made, it is said by a mask which of it counts if not all does, and the
 * raster operation is done on it and on the destination. Lines that go over the end of the memory
 * are taken out of it in two parts and put back so. Called under the card's lock.
 */
#include "cirrus_blt.h"

#include <string.h>

enum gr {
	GR_BG = 0x00,
	GR_FG = 0x01,
	GR_BG_1 = 0x10,
	GR_WIDTH = 0x20,
	GR_HEIGHT = 0x22,
	GR_DST_PITCH = 0x24,
	GR_SRC_PITCH = 0x26,
	GR_DST = 0x28,
	GR_SRC = 0x2c,
	GR_SKIP = 0x2f,
	GR_MODE = 0x30,
	GR_ROP = 0x32,
	GR_MODE_EXT = 0x33,
	GR_KEY = 0x34,
	GR_KEY_MASK = 0x38, /* what is set does not count */
};

enum mode {
	MODE_BACKWARD = 0x01,
	MODE_TO_SYSTEM = 0x02,
	MODE_FROM_SYSTEM = 0x04,
	MODE_TRANSPARENT = 0x08,
	MODE_PIXEL = 4, /* bits 4 and 5: bytes a pixel, less one */
	MODE_PATTERN = 0x40,
	MODE_EXPAND = 0x80,
};

enum mode_ext {
	EXT_DWORDS =
		0x01, /* lines of bits that the CPU sends are padded to dwords, else to bytes */
	EXT_INVERT = 0x02,
	EXT_FILL = 0x04,
};

enum control {
	CONTROL_BUSY = 0x01,
	CONTROL_START = 0x02,
	CONTROL_RESET = 0x04,
	CONTROL_IN_PROGRESS = 0x08,
	CONTROL_QUEUED = 0x10,
};

/* Gaps of less than a page between lines are told as changed, too. */
enum { GAP = 4096, LINE = CIRRUS_BLT_WIDTH + CIRRUS_EXPAND_SLACK };

static uint32_t number(const struct cirrus_blt *b, unsigned reg, unsigned bits)
{
	return (b->gr[reg] | (uint32_t)b->gr[reg + 1] << 8) & ((1u << bits) - 1);
}

static uint32_t address(const struct cirrus_blt *b, unsigned reg)
{
	return (number(b, reg, 16) | (uint32_t)(b->gr[reg + 2] & 0x3f) << 16) & (b->size - 1);
}

static uint32_t colour(const struct cirrus_blt *b, unsigned reg)
{
	const uint8_t *high = b->gr + GR_BG_1 + reg;

	return b->gr[reg] | (uint32_t)high[0] << 8 | (uint32_t)high[2] << 16 |
	       (uint32_t)high[4] << 24;
}

static enum cirrus_blt_kind kind(uint8_t mode, uint8_t ext)
{
	switch (mode & (MODE_EXPAND | MODE_PATTERN)) {
	case MODE_EXPAND | MODE_PATTERN:
		return ext & EXT_FILL ? BLT_FILL : BLT_MONO_PATTERN;
	case MODE_EXPAND:
		return BLT_EXPAND;
	case MODE_PATTERN:
		return BLT_PATTERN;
	default:
		return BLT_COPY;
	}
}

static void read_registers(const struct cirrus_blt *b, struct cirrus_blt_op *op)
{
	uint8_t mode = b->gr[GR_MODE], ext = b->gr[GR_MODE_EXT], skip = b->gr[GR_SKIP];
	bool expands = mode & MODE_EXPAND;

	op->kind = kind(mode, ext);
	op->rop = cirrus_rop(b->gr[GR_ROP]);
	op->width = number(b, GR_WIDTH, 13) + 1;
	op->height = number(b, GR_HEIGHT, 11) + 1;
	op->dst_pitch = number(b, GR_DST_PITCH, 13);
	op->src_pitch = number(b, GR_SRC_PITCH, 13);
	op->dst = address(b, GR_DST);
	op->src = address(b, GR_SRC);
	op->pixel = (mode >> MODE_PIXEL & 3) + 1u;
	op->skip = op->pixel == 3 ? skip & 0x1f : (skip & 7) * op->pixel;
	if (op->kind == BLT_COPY || op->kind == BLT_FILL)
		op->skip = 0;
	op->backward = op->kind == BLT_COPY && mode & MODE_BACKWARD && !(mode & MODE_FROM_SYSTEM);
	op->transparent =
		mode & MODE_TRANSPARENT && op->kind != BLT_FILL && (expands || op->pixel <= 2);
	op->invert = op->transparent && expands && ext & EXT_INVERT;
	op->fg = colour(b, GR_FG);
	op->bg = colour(b, GR_BG);
	op->key = (uint16_t)number(b, GR_KEY, 16);
	op->key_mask = (uint16_t)~number(b, GR_KEY_MASK, 16);
	op->pattern_line = op->kind == BLT_MONO_PATTERN ? 1 : op->pixel == 3 ? 32 : 8 * op->pixel;
}

/* --- memory ----------------------------------------------------------------------- */

static uint32_t wrap(const struct cirrus_blt *b, uint32_t at)
{
	return at & (b->size - 1);
}

/* len bytes from at on, where they are, or in buf if they go over the end. */
static uint8_t *fetch(const struct cirrus_blt *b, uint32_t at, uint32_t len, uint8_t *buf)
{
	uint32_t first = b->size - at;

	if (len <= first)
		return b->mem + at;
	memcpy(buf, b->mem + at, first);
	memcpy(buf + first, b->mem, len - first);
	return buf;
}

static void tell(struct cirrus_blt *b)
{
	if (b->changed_first != b->changed_end)
		b->changed(b->ctx, b->changed_first, b->changed_end - b->changed_first);
	b->changed_first = b->changed_end = 0;
}

static void touched(struct cirrus_blt *b, uint32_t first, uint32_t len)
{
	uint32_t end = first + len;

	if (b->changed_first == b->changed_end || first >= b->changed_end + GAP ||
	    b->changed_first >= end + GAP) {
		tell(b);
		b->changed_first = first;
		b->changed_end = end;
		return;
	}
	if (first < b->changed_first)
		b->changed_first = first;
	if (end > b->changed_end)
		b->changed_end = end;
}

/* --- lines ------------------------------------------------------------------------- */

/* Draws a line whose first byte is at `at`, after those that are skipped. */
static void draw(struct cirrus_blt *b, uint32_t at, const uint8_t *src, const uint8_t *mask)
{
	const struct cirrus_blt_op *op = &b->op;
	uint32_t skip = op->skip, len = op->width - skip, first;
	uint8_t buf[CIRRUS_BLT_WIDTH], *dst;

	if (op->rop.keeps || skip >= op->width)
		return;
	at = wrap(b, at + skip);
	first = b->size - at;
	dst = fetch(b, at, len, buf);
	cirrus_rop_line(&op->rop, dst, src + skip, mask ? mask + skip : NULL, len);
	if (dst != buf) {
		touched(b, at, len);
		return;
	}
	memcpy(b->mem + at, buf, first);
	memcpy(b->mem, buf + first, len - first);
	touched(b, at, first);
	touched(b, 0, len - first);
}

/* Ones where the source is not of the transparent colour. */
static void key_mask(const struct cirrus_blt_op *op, const uint8_t *src, uint8_t *mask)
{
	uint8_t key[2] = { (uint8_t)op->key, (uint8_t)(op->key >> 8) };
	uint8_t bits[2] = { (uint8_t)op->key_mask, (uint8_t)(op->key_mask >> 8) };
	uint32_t i = 0, end = op->width;

	if (op->pixel == 1) {
		for (; i < end; i++)
			mask[i] = (src[i] ^ key[0]) & bits[0] ? 0xff : 0;
		return;
	}
	/* Half a pixel is at the end, which is the lower one when going backwards. */
	if (end % 2 && op->backward) {
		mask[0] = (src[0] ^ key[1]) & bits[1] ? 0xff : 0;
		i = 1;
	} else if (end % 2) {
		end--;
		mask[end] = (src[end] ^ key[0]) & bits[0] ? 0xff : 0;
	}
	for (; i < end; i += 2) {
		uint16_t v;

		memcpy(&v, src + i, 2);
		v = (v ^ op->key) & op->key_mask ? 0xffff : 0;
		memcpy(mask + i, &v, 2);
	}
}

/* A line of pixels; src is not in the memory unless the operation just copies. */
static void draw_pixels(struct cirrus_blt *b, uint32_t at, const uint8_t *src)
{
	uint8_t mask[CIRRUS_BLT_WIDTH];

	if (b->op.transparent)
		key_mask(&b->op, src, mask);
	draw(b, at, src, b->op.transparent ? mask : NULL);
}

static void set_pixel(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static void solid_line(const struct cirrus_blt_op *op, uint32_t v, uint8_t *out)
{
	set_pixel(out, v);
	cirrus_repeat(out, op->pixel, op->width);
}

static uint32_t pixels(const struct cirrus_blt_op *op)
{
	return (op->width + op->pixel - 1) / op->pixel;
}

/* A line of bits. A transparent one is of one colour, and the bits say where it is. */
static void draw_bits(struct cirrus_blt *b, uint32_t at, const uint8_t *bits)
{
	const struct cirrus_blt_op *op = &b->op;
	uint32_t flip = op->invert ? ~0u : 0;
	uint8_t out[LINE], solid[LINE];

	if (op->transparent) {
		solid_line(op, op->invert ? op->bg : op->fg, solid);
		cirrus_expand(out, bits, pixels(op), op->pixel, ~flip, flip);
		draw(b, at, solid, out);
	} else {
		cirrus_expand(out, bits, pixels(op), op->pixel, op->fg, op->bg);
		draw(b, at, out, NULL);
	}
}

/* --- blits --------------------------------------------------------------------------- */

static void copy(struct cirrus_blt *b)
{
	const struct cirrus_blt_op *op = &b->op;
	uint32_t down = op->backward ? op->width - 1 : 0;
	uint32_t dst = op->dst - down, src = op->src - down;
	uint32_t dst_step = op->backward ? -op->dst_pitch : op->dst_pitch;
	uint32_t src_step = op->backward ? -op->src_pitch : op->src_pitch;
	bool in_place = op->rop.copies && !op->transparent;

	for (uint32_t y = 0; y < op->height; y++) {
		uint8_t buf[CIRRUS_BLT_WIDTH], *s = fetch(b, wrap(b, src), op->width, buf);

		if (s != buf && !in_place)
			s = memcpy(buf, s, op->width);
		draw_pixels(b, dst, s);
		dst += dst_step;
		src += src_step;
	}
}

static void fill(struct cirrus_blt *b)
{
	const struct cirrus_blt_op *op = &b->op;
	uint8_t line[LINE];

	solid_line(op, op->fg, line);
	for (uint32_t y = 0; y < op->height; y++)
		draw(b, op->dst + y * op->dst_pitch, line, NULL);
}

static void expand(struct cirrus_blt *b)
{
	const struct cirrus_blt_op *op = &b->op;
	uint32_t len = (pixels(op) + 7) / 8;
	uint8_t bits[CIRRUS_BLT_WIDTH / 8];

	for (uint32_t y = 0; y < op->height; y++)
		draw_bits(b, op->dst + y * op->dst_pitch,
			  fetch(b, wrap(b, op->src + y * len), len, bits));
}

static void mono_pattern(struct cirrus_blt *b)
{
	const struct cirrus_blt_op *op = &b->op;
	uint8_t bits[CIRRUS_BLT_WIDTH / 8];

	for (uint32_t y = 0; y < op->height; y++) {
		memset(bits, op->pattern[(op->src + y) % 8], (pixels(op) + 7) / 8);
		draw_bits(b, op->dst + y * op->dst_pitch, bits);
	}
}

static void pattern(struct cirrus_blt *b)
{
	const struct cirrus_blt_op *op = &b->op;
	uint8_t line[LINE];

	for (uint32_t y = 0; y < op->height; y++) {
		memcpy(line, op->pattern + (op->src + y) % 8 * op->pattern_line, op->pattern_line);
		cirrus_repeat(line, 8 * op->pixel, op->width);
		draw_pixels(b, op->dst + y * op->dst_pitch, line);
	}
}

/* The lowest bits of a pattern's address say which of its lines is the first. */
static void load_pattern(struct cirrus_blt *b)
{
	struct cirrus_blt_op *op = &b->op;
	uint8_t buf[CIRRUS_BLT_PATTERN];
	uint32_t len = 8 * op->pattern_line;

	memcpy(op->pattern, fetch(b, op->src & ~7u, len, buf), len);
}

static void run(struct cirrus_blt *b)
{
	switch (b->op.kind) {
	case BLT_COPY:
		copy(b);
		break;
	case BLT_PATTERN:
		pattern(b);
		break;
	case BLT_EXPAND:
		expand(b);
		break;
	case BLT_MONO_PATTERN:
		mono_pattern(b);
		break;
	case BLT_FILL:
		fill(b);
		break;
	}
	tell(b);
}

static bool of_pattern(const struct cirrus_blt_op *op)
{
	return op->kind == BLT_PATTERN || op->kind == BLT_MONO_PATTERN;
}

/* --- the system's memory as the source ------------------------------------------------ */

static void wait_for_data(struct cirrus_blt *b)
{
	const struct cirrus_blt_op *op = &b->op;

	b->lines_left = of_pattern(op) ? 1 : op->height;
	b->dst = op->dst;
	b->line_have = 0;
	if (of_pattern(op))
		b->line_len = 8 * op->pattern_line;
	else if (op->kind == BLT_COPY)
		b->line_len = (op->width + 3) & ~3u;
	else if (b->gr[GR_MODE_EXT] & EXT_DWORDS)
		b->line_len = (pixels(op) + 31) / 32 * 4;
	else
		b->line_len = (pixels(op) + 7) / 8;
	b->waits = true;
}

static void draw_data(struct cirrus_blt *b)
{
	struct cirrus_blt_op *op = &b->op;

	if (of_pattern(op)) {
		memcpy(op->pattern, b->line, b->line_len);
		run(b);
		return;
	}
	if (op->kind == BLT_COPY)
		draw_pixels(b, b->dst, b->line);
	else
		draw_bits(b, b->dst, b->line);
	b->dst += op->dst_pitch;
}

void cirrus_blt_data(struct cirrus_blt *b, uint64_t val, unsigned size)
{
	for (unsigned i = 0; i < size && b->waits; i++) {
		b->line[b->line_have++] = (uint8_t)(val >> 8 * i);
		if (b->line_have < b->line_len)
			continue;
		draw_data(b);
		b->line_have = 0;
		b->waits = --b->lines_left;
	}
	tell(b);
}

/* --- control ----------------------------------------------------------------------- */

void cirrus_blt_start(struct cirrus_blt *b)
{
	struct cirrus_blt_op *op = &b->op;
	uint8_t mode = b->gr[GR_MODE];

	b->waits = false;
	if (mode & MODE_TO_SYSTEM)
		return;
	read_registers(b, op);
	if (mode & MODE_FROM_SYSTEM && op->kind != BLT_FILL) {
		wait_for_data(b);
		return;
	}
	if (of_pattern(op))
		load_pattern(b);
	run(b);
}

void cirrus_blt_reset(struct cirrus_blt *b)
{
	b->waits = false;
}

uint8_t cirrus_blt_control(struct cirrus_blt *b, uint8_t was, uint8_t val)
{
	if (val & CONTROL_RESET)
		cirrus_blt_reset(b);
	else if (val & CONTROL_START && !(b->waits && was & CONTROL_START))
		cirrus_blt_start(b);
	/* The start bit goes back by itself at a blit's end, so that it may be set again. */
	val &= (uint8_t) ~(CONTROL_BUSY | CONTROL_IN_PROGRESS | CONTROL_QUEUED);
	return b->waits ? val : val & (uint8_t)~CONTROL_START;
}

uint8_t cirrus_blt_status(const struct cirrus_blt *b, uint8_t kept)
{
	if (b->waits)
		return kept | CONTROL_BUSY | CONTROL_IN_PROGRESS;
	return kept & (uint8_t)~CONTROL_START;
}
