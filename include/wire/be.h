/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Big-endian integers as they lie in files: structs, as in wire/le.h. */
#ifndef POSADA_WIRE_BE_H
#define POSADA_WIRE_BE_H

#include <endian.h>
#include <stdint.h>

struct be16 {
	uint16_t raw;
} __attribute__((packed));

struct be32 {
	uint32_t raw;
} __attribute__((packed));

struct be64 {
	uint64_t raw;
} __attribute__((packed));

static inline struct be16 cpu_to_be16(uint16_t v)
{
	return (struct be16){ htobe16(v) };
}

static inline struct be32 cpu_to_be32(uint32_t v)
{
	return (struct be32){ htobe32(v) };
}

static inline struct be64 cpu_to_be64(uint64_t v)
{
	return (struct be64){ htobe64(v) };
}

static inline uint16_t be16_to_cpu(struct be16 v)
{
	return be16toh(v.raw);
}

static inline uint32_t be32_to_cpu(struct be32 v)
{
	return be32toh(v.raw);
}

static inline uint64_t be64_to_cpu(struct be64 v)
{
	return be64toh(v.raw);
}

#endif
