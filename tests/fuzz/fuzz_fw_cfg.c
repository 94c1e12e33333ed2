/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: hostile firmware at fw_cfg's ports. The input is a program of it: it
 * selects, reads, and puts DMA requests of any kind anywhere, while the machine changes files.
 * Guest memory is all that may be written to, and what the ports give is the item's, or
 * zeroes. Run with tests/fuzz/corpus/fw_cfg.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "dev.h"
#include "err.h"
#include "fw_cfg.h"
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_class fw_cfg_class;

enum { RAM = 1 << 20, REQUEST_MOST = 16 };

static struct machine m;
static const uint8_t *in;
static size_t left;

const struct dev_class *const dev_classes[] = { NULL };

const struct dev_class *dev_class_find(const char *name)
{
	return NULL;
}

int dev_unknown(const char *name, struct err *e)
{
	return -ENODEV;
}

static uint8_t byte(void)
{
	if (!left)
		return 0;
	left--;
	return *in++;
}

static uint32_t number(unsigned bytes)
{
	uint32_t n = 0;

	while (bytes--)
		n = n << 8 | byte();
	return n;
}

/* An address: in RAM, at an end of it, or any. */
static uint64_t place(void)
{
	uint8_t how = byte();

	if (how < 0x80)
		return number(3) % RAM;
	if (how < 0xc0)
		return RAM - number(1) % 32;
	return how < 0xe0 ? UINT64_MAX - number(1) : (uint64_t)number(4) << 32 | number(4);
}

static void out(uint16_t port, uint32_t val, unsigned size)
{
	bus_write(&m.pio, port, &val, size);
}

static void dma(void)
{
	uint64_t at = place();
	uint8_t request[REQUEST_MOST];
	uint64_t to = __builtin_bswap64(place());

	for (unsigned i = 0; i < 8; i++)
		request[i] = byte();
	memcpy(request + 8, &to, 8);
	gmem_write(&m.mem, at, request, sizeof(request));
	out(0x514, __builtin_bswap32((uint32_t)(at >> 32)), 4);
	out(0x518, __builtin_bswap32((uint32_t)at), 4);
}

static void set_file(void)
{
	char name[16];
	uint8_t data[256];
	size_t len = byte();
	struct err e;

	snprintf(name, sizeof(name), "opt/%u", byte());
	memset(data, byte(), sizeof(data));
	fw_cfg_set_file(&m, name, data, len, &e);
}

static void step(void)
{
	uint32_t val = 0;

	switch (byte() % 6) {
	case 0:
		out(0x510, number(2), 2);
		break;
	case 1:
		for (unsigned n = byte(); n; n--)
			bus_read(&m.pio, 0x511, &val, 1);
		break;
	case 2:
		dma();
		break;
	case 3:
		set_file();
		break;
	case 4: /* anything at any of its ports */
		out((uint16_t)(0x50c + byte() % 20), number(4), 1u << byte() % 3);
		break;
	default:
		bus_read(&m.pio, (uint16_t)(0x50c + byte() % 20), &val, 1u << byte() % 3);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;

	memset(&m, 0, sizeof(m));
	bus_init(&m.pio, false);
	bus_init(&m.mmio, true);
	if (gmem_init(&m.mem, RAM, GMEM_ANON, &e) ||
	    machine_add_device(&m, &fw_cfg_class, NULL, NULL, &e))
		abort();
	machine_reset_devices(&m);
	in = data;
	left = size;
	while (left)
		step();
	machine_remove_devices(&m);
	bus_fini(&m.pio);
	bus_fini(&m.mmio);
	gmem_fini(&m.mem);
	return 0;
}
