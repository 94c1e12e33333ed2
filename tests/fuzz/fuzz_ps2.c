/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard and mouse: commands, keys and movements in any order, and what they send. Whatever
 * happens, they have no more to say than their buffers hold, and answer a reset.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../../hw/input/ps2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int ok)
{
	if (!ok)
		abort();
}

static int signed16(const uint8_t *p)
{
	return (int16_t)(p[0] | p[1] << 8) * 70000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ps2_keyboard k;
	struct ps2_mouse m;
	unsigned n;

	ps2_keyboard_power_on(&k);
	ps2_mouse_power_on(&m);
	for (size_t i = 0; i + 6 <= size; i += 6) {
		const uint8_t *p = data + i;

		switch (p[0] % 6) {
		case 0:
			ps2_keyboard_write(&k, p[1]);
			break;
		case 1:
			ps2_mouse_write(&m, p[1]);
			break;
		case 2:
			ps2_keyboard_key(&k, p[1] | (unsigned)p[2] << 8, p[3] & 1);
			break;
		case 3:
			ps2_mouse_move(&m, signed16(p + 1), signed16(p + 3), (int8_t)p[5],
				       p[0] >> 3);
			break;
		case 4:
			for (n = p[1]; n && ps2_keyboard_waits(&k); n--)
				ps2_keyboard_take(&k);
			break;
		case 5:
			for (n = p[1]; n && ps2_mouse_waits(&m); n--)
				ps2_mouse_take(&m);
			break;
		}
		expect(k.keys.n <= PS2_BYTES && k.answers.n <= PS2_BYTES);
		expect(m.n <= PS2_MOTIONS && m.packet_at <= m.packet_n && m.packet_n <= 4);
	}
	for (n = 0; ps2_keyboard_waits(&k); n++)
		ps2_keyboard_take(&k);
	expect(n <= 2 * PS2_BYTES);
	ps2_keyboard_write(&k, PS2_RESET);
	expect(ps2_keyboard_take(&k) == PS2_ACK && ps2_keyboard_take(&k) == PS2_SELF_TEST_OK);
	ps2_mouse_write(&m, PS2_RESET);
	expect(ps2_mouse_waits(&m) && ps2_mouse_take(&m) == PS2_ACK);
	expect(ps2_mouse_take(&m) == PS2_SELF_TEST_OK && ps2_mouse_take(&m) == 0);
	expect(!ps2_mouse_waits(&m) && !ps2_keyboard_waits(&k));
	return 0;
}
