/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes as a hostile guest of the Cirrus card's BitBLT engine: registers, starts,
 * resets and data, in any order. The memory is an allocation of its own, so that the sanitizer sees
 * its ends. The first byte says how large it is and what is in it; commands follow, of three bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "../../hw/display/cirrus_blt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GR_HEIGHT_HIGH = 0x23, MOST_STARTS = 32, MOST_DATA = 1 << 16 };

static struct cirrus_blt blt;
static uint8_t gr[CIRRUS_GR], control;
static unsigned starts, sent;

static void on_changed(void *ctx, uint32_t first, uint32_t len)
{
	if (ctx != &blt || !len || first >= blt.size || len > blt.size - first)
		abort();
}

static void begin(uint8_t first)
{
	memset(&blt, 0, sizeof(blt));
	memset(gr, 0, sizeof(gr));
	control = 0;
	starts = sent = 0;
	blt.size = (uint32_t)CIRRUS_BLT_MEM_MIN << first % 4;
	blt.mem = malloc(blt.size);
	if (!blt.mem)
		abort();
	memset(blt.mem, first, blt.size);
	blt.gr = gr;
	blt.changed = on_changed;
	blt.ctx = &blt;
}

static void send(uint64_t v, unsigned size, unsigned times)
{
	for (unsigned i = 0; i < times && blt.waits && sent < MOST_DATA; i++) {
		cirrus_blt_data(&blt, v * (i + 1), size);
		sent += size;
	}
}

static void command(const uint8_t *c)
{
	switch (c[0] % 8) {
	case 0:
	case 1:
	case 2:
	case 3:
		/* High blits would just be slow. */
		gr[c[1] % CIRRUS_GR] = c[1] % CIRRUS_GR == GR_HEIGHT_HIGH ? 0 : c[2];
		break;
	case 4:
		starts++;
		cirrus_blt_start(&blt);
		break;
	case 5:
		starts++;
		control = cirrus_blt_control(&blt, control, c[1]);
		control = cirrus_blt_status(&blt, control);
		break;
	case 6:
		send(c[1] | (uint64_t)c[2] << 17, 1u << (c[0] >> 3 & 3), 1);
		break;
	default:
		send(c[1] * 0x0101010101010101ull, 1u << (c[0] >> 3 & 3), c[2] * 64u);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	begin(data[0]);
	for (data++, size--; size >= 3 && starts < MOST_STARTS; data += 3, size -= 3)
		command(data);
	free(blt.mem);
	return 0;
}
