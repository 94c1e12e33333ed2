/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scan codes of keys, for ps2_keyboard.c. */
#ifndef POSADA_HW_INPUT_PS2_KEYS_H
#define POSADA_HW_INPUT_PS2_KEYS_H

#include <stdint.h>

#include "ps2.h"

/* 0xe0nn: nn after the prefix 0xe0. 0: the key has none in this set. */
struct ps2_code {
	uint16_t set2;
	uint8_t set3;
};

/* key: a code of linux/input-event-codes.h. */
struct ps2_code ps2_code(unsigned key);

#endif
