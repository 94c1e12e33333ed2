/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a BitBLT is to do, a pixel at a time and without any thought of speed: the model that
 * test_cirrus_blt.c compares the engine with. It follows the GD5446 Technical Reference Manual's
 * words, and what cirrus_blt.h says of things that the manual leaves open.
 */
#ifndef POSADA_TESTS_BLT_MODEL_H
#define POSADA_TESTS_BLT_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct model {
	uint8_t *mem;
	uint32_t size;
	uint8_t gr[0x40];
	uint8_t *touched; /* a byte a page of 4 KiB */
	const uint8_t *data; /* what the CPU sends, if it does */
};

static inline uint8_t *model_byte(struct model *m, int64_t at)
{
	int64_t r = at % (int64_t)m->size;

	return &m->mem[r < 0 ? r + m->size : r];
}

static inline unsigned model_reg16(const struct model *m, unsigned reg, unsigned mask)
{
	return (m->gr[reg] + 256u * m->gr[reg + 1]) & mask;
}

static inline unsigned model_width(const struct model *m)
{
	return model_reg16(m, 0x20, 0x1fff) + 1;
}

static inline unsigned model_height(const struct model *m)
{
	return model_reg16(m, 0x22, 0x7ff) + 1;
}

static inline unsigned model_depth(const struct model *m)
{
	return (m->gr[0x30] >> 4 & 3) + 1u;
}

static inline uint8_t model_operation(uint8_t op, uint8_t s, uint8_t d)
{
	switch (op) {
	case 0x00:
		return 0;
	case 0x05:
		return s & d;
	case 0x06:
		return d;
	case 0x09:
		return (uint8_t)(s & ~d);
	case 0x0b:
		return (uint8_t)~d;
	case 0x0d:
		return s;
	case 0x0e:
		return 0xff;
	case 0x50:
		return (uint8_t)(~s & d);
	case 0x59:
		return s ^ d;
	case 0x6d:
		return s | d;
	case 0x90:
		return (uint8_t) ~(s | d);
	case 0x95:
		return (uint8_t) ~(s ^ d);
	case 0xad:
		return (uint8_t)(s | ~d);
	case 0xd0:
		return (uint8_t)~s;
	case 0xd6:
		return (uint8_t)(~s | d);
	case 0xda:
		return (uint8_t) ~(s & d);
	default:
		return d;
	}
}

static inline bool model_fills(const struct model *m)
{
	return (m->gr[0x30] & 0xc0) == 0xc0 && m->gr[0x33] & 4;
}

static inline bool model_from_cpu(const struct model *m)
{
	return m->gr[0x30] & 4 && !(m->gr[0x30] & 2) && !model_fills(m);
}

/* Bytes a line that the CPU sends; of a pattern, its bytes at all. */
static inline unsigned model_cpu_line(const struct model *m)
{
	unsigned depth = model_depth(m), width = model_width(m), n = (width + depth - 1) / depth;

	switch (m->gr[0x30] & 0xc0) {
	case 0xc0:
		return 8;
	case 0x40:
		return depth == 3 ? 256 : 64 * depth;
	case 0x80:
		return m->gr[0x33] & 1 ? (n + 31) / 32 * 4 : (n + 7) / 8;
	default:
		return (width + 3) / 4 * 4;
	}
}

/* All of it. */
static inline unsigned model_cpu_bytes(const struct model *m)
{
	return model_cpu_line(m) * (m->gr[0x30] & 0x40 ? 1 : model_height(m));
}

struct model_source {
	uint8_t byte[4];
	bool bit, drawn;
};

/* The colour of the foreground (first 1) or the background (0). */
static inline void model_colour(const struct model *m, unsigned first, uint8_t *byte)
{
	byte[0] = m->gr[first];
	byte[1] = m->gr[0x10 + first];
	byte[2] = m->gr[0x12 + first];
	byte[3] = m->gr[0x14 + first];
}

static inline int64_t model_address(const struct model *m, unsigned reg)
{
	return m->gr[reg] + 256ll * m->gr[reg + 1] + 65536ll * (m->gr[reg + 2] & 0x3f);
}

/*
 * Pixel x of line y as the source has it. pattern: as it was at the beginning. have: how many
 * of the pixel's bytes belong to the blit, the lowest ones or, going backwards, the highest ones.
 */
static inline struct model_source model_pixel(struct model *m, const uint8_t *pattern, unsigned x,
					      unsigned y, unsigned have)
{
	unsigned depth = model_depth(m), n = (model_width(m) + depth - 1) / depth;
	unsigned from = 0, to = have;
	int64_t src = model_address(m, 0x2c);
	uint8_t mode = m->gr[0x30], ext = m->gr[0x33], byte;
	bool back = mode & 1 && !(mode & 0xc4), cpu = model_from_cpu(m), equal = true;
	struct model_source s = { .drawn = true };

	if (mode & 0x80) {
		unsigned row = (unsigned)(src + y) % 8;

		if (mode & 0x40)
			byte = pattern[row];
		else if (cpu)
			byte = m->data[y * model_cpu_line(m) + x / 8];
		else
			byte = *model_byte(m, src + (int64_t)y * ((n + 7) / 8) + x / 8);
		s.bit = model_fills(m) || byte >> (7 - x % 8) & 1;
		model_colour(m, s.bit, s.byte);
		if (mode & 8 && !model_fills(m))
			s.drawn = s.bit != !!(ext & 2);
		return s;
	}
	if (back) {
		from = depth - have;
		to = depth;
	}
	for (unsigned i = from; i < to; i++) {
		int64_t pitch = model_reg16(m, 0x26, 0x1fff);

		if (mode & 0x40)
			s.byte[i] =
				pattern[(unsigned)(src + y) % 8 * (depth == 3 ? 32 : 8 * depth) +
					x % 8 * depth + i];
		else if (cpu)
			s.byte[i] = m->data[y * model_cpu_line(m) + x * depth + i];
		else if (back)
			s.byte[i] = *model_byte(m, src - y * pitch - x * depth - (depth - 1 - i));
		else
			s.byte[i] = *model_byte(m, src + y * pitch + x * depth + i);
		if (i < 2 && (s.byte[i] ^ m->gr[0x34 + i]) & ~m->gr[0x38 + i])
			equal = false;
	}
	s.drawn = !(mode & 8 && depth <= 2 && equal);
	return s;
}

static inline void model_put(struct model *m, int64_t at, uint8_t s)
{
	uint8_t *d = model_byte(m, at), was = *d;

	*d = model_operation(m->gr[0x32], s, *d);
	if (*d != was)
		m->touched[(d - m->mem) / 4096] = 1;
}

static inline void model_blit(struct model *m)
{
	static struct model_source line[8192];
	unsigned depth = model_depth(m), width = model_width(m), n = (width + depth - 1) / depth;
	uint8_t mode = m->gr[0x30], pattern[256];
	unsigned skip = 0;
	bool back = mode & 1 && !(mode & 0xc4);

	if (mode & 2)
		return;
	for (unsigned i = 0; mode & 0x40 && i < sizeof(pattern); i++) {
		if (!model_from_cpu(m))
			pattern[i] = *model_byte(m, (model_address(m, 0x2c) & ~7ll) + i);
		else if (i < model_cpu_line(m))
			pattern[i] = m->data[i];
	}
	if (mode & 0xc0 && !model_fills(m))
		skip = depth == 3 ? m->gr[0x2f] & 0x1f : (m->gr[0x2f] & 7) * depth;
	for (unsigned y = 0; y < model_height(m); y++) {
		int64_t down = (int64_t)y * model_reg16(m, 0x24, 0x1fff);
		int64_t at = model_address(m, 0x28) + (back ? -down : down);

		for (unsigned x = 0; x < n; x++) {
			unsigned have = width - x * depth < depth ? width - x * depth : depth;

			line[x] = model_pixel(m, pattern, x, y, have);
		}
		for (unsigned i = 0; i < width; i++) {
			struct model_source *s = &line[i / depth];

			if (i < skip || !s->drawn)
				continue;
			if (back)
				model_put(m, at - i, s->byte[depth - 1 - i % depth]);
			else
				model_put(m, at + i, s->byte[i % depth]);
		}
	}
}

#endif
