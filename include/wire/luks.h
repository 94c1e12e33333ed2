/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of LUKS version 1: "LUKS1 On-Disk Format Specification" 1.2.3, figures 1 to 3. */
#ifndef POSADA_WIRE_LUKS_H
#define POSADA_WIRE_LUKS_H

#include <stdint.h>

#include "wire/be.h"

#define LUKS_MAGIC "LUKS\xba\xbe"
#define LUKS_SLOT_ACTIVE 0x00ac71f3u
#define LUKS_SLOT_DISABLED 0x0000deadu
enum {
	LUKS_MAGIC_LEN = 6,
	LUKS_SECTOR = 512,
	LUKS_SLOTS = 8,
	LUKS_SALT = 32,
	LUKS_DIGEST = 20,
	LUKS_NAME = 32,
	LUKS_UUID = 40,
	LUKS_STRIPES = 4000, /* the only number in use */
};

struct luks_wire_slot {
	struct be32 active, iterations;
	uint8_t salt[LUKS_SALT];
	struct be32 key_offset, stripes; /* offset in sectors */
};
_Static_assert(sizeof(struct luks_wire_slot) == 48, "LUKS key slot");

struct luks_wire_header {
	uint8_t magic[LUKS_MAGIC_LEN];
	struct be16 version;
	char cipher[LUKS_NAME], mode[LUKS_NAME], hash[LUKS_NAME];
	struct be32 payload_offset; /* sectors */
	struct be32 key_bytes;
	uint8_t digest[LUKS_DIGEST], digest_salt[LUKS_SALT];
	struct be32 digest_iterations;
	char uuid[LUKS_UUID];
	struct luks_wire_slot slot[LUKS_SLOTS];
};
_Static_assert(sizeof(struct luks_wire_header) == 592, "LUKS header");

#endif
