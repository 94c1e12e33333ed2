/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg as firmware uses it, by the ports. Include it behind fake_machine.h. */
#ifndef POSADA_TEST_FW_CFG_GUEST_H
#define POSADA_TEST_FW_CFG_GUEST_H

#include "fw_cfg.h"

extern const struct dev_class fw_cfg_class;

static inline void fw_select(uint16_t key)
{
	outw(0x510, key);
}

static inline void fw_bytes(void *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)out)[i] = inb(0x511);
}

static inline uint32_t fw_be(unsigned n)
{
	uint32_t val = 0;

	while (n--)
		val = val << 8 | inb(0x511);
	return val;
}

/* The number of the file's item, 0: there is none. The directory's entries are in order. */
static inline uint16_t fw_find(const char *name, uint32_t *len)
{
	uint32_t n;

	fw_select(FW_CFG_FILE_DIR);
	n = fw_be(4);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t size = fw_be(4);
		uint16_t key = (uint16_t)fw_be(2);
		char text[56];

		ck_assert_uint_eq(fw_be(2), 0);
		ck_assert_uint_eq(key, FW_CFG_FILE_FIRST + i);
		fw_bytes(text, sizeof(text));
		ck_assert_uint_eq(text[55], 0);
		if (!strcmp(text, name)) {
			*len = size;
			return key;
		}
	}
	return 0;
}

/* The whole file; returns its length. */
static inline uint32_t fw_file(const char *name, void *out, size_t room)
{
	uint32_t len = 0;
	uint16_t key = fw_find(name, &len);

	ck_assert_msg(key, "no file %s", name);
	ck_assert_uint_le(len, room);
	fw_select(key);
	fw_bytes(out, len);
	return len;
}

#endif
