/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Little-endian integers as they lie in files, guest memory and on wires.
 * They are structs, so that using one without conversion does not compile, and
 * they have no alignment, so that wire structs need no packing of their own.
 */
#ifndef POSADA_WIRE_LE_H
#define POSADA_WIRE_LE_H

#include <endian.h>
#include <stdint.h>

struct le16 {
	uint16_t raw;
} __attribute__((packed));

struct le32 {
	uint32_t raw;
} __attribute__((packed));

struct le64 {
	uint64_t raw;
} __attribute__((packed));

static inline struct le16 cpu_to_le16(uint16_t v)
{
	return (struct le16){ htole16(v) };
}

static inline struct le32 cpu_to_le32(uint32_t v)
{
	return (struct le32){ htole32(v) };
}

static inline struct le64 cpu_to_le64(uint64_t v)
{
	return (struct le64){ htole64(v) };
}

static inline uint16_t le16_to_cpu(struct le16 v)
{
	return le16toh(v.raw);
}

static inline uint32_t le32_to_cpu(struct le32 v)
{
	return le32toh(v.raw);
}

static inline uint64_t le64_to_cpu(struct le64 v)
{
	return le64toh(v.raw);
}

#endif
