/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's pair of DMA controllers, Intel 8237A, and their page registers: channels 0 to 3
 * at ports 0x00 to 0x0f, 4 to 7 at every second port from 0xc0, pages at 0x81 to
 * 0x8f. Firmware and kernels set them up; there is no device here that asks for a
 * transfer, so nothing is ever moved. vCPU threads; dev->lock guards everything.
 */
#include "dev.h"

#include <stdint.h>
#include <string.h>

#include "bus.h"
#include "isa.h"
#include "machine.h"

enum { DMA1_PORT = 0x00, DMA2_PORT = 0xc0, PAGE_PORT = 0x81, PAGES = 15 };

/* The registers from 8 on; below are each channel's address and count. */
enum {
	STATUS_COMMAND = 8, /* status when read */
	REQUEST = 9,
	MASK_ONE = 10,
	MODE = 11,
	CLEAR_FLIP_FLOP = 12,
	MASTER_CLEAR = 13, /* the temporary register when read */
	CLEAR_MASK = 14,
	MASK_ALL = 15,
};

enum { SELECT = 0x03, SET = 0x04, MASKS = 0x0f };

struct controller {
	struct io_region ports;
	unsigned shift; /* of port numbers */
	uint16_t reg[8]; /* even: a channel's address; odd: its count */
	bool high; /* the flip-flop: which half of reg comes next */
	uint8_t command, request, mask;
	uint8_t mode[4];
};

struct dma {
	struct dev dev;
	struct controller c[2];
	struct io_region pages;
	uint8_t page[PAGES];
};

static void master_clear(struct controller *c)
{
	c->high = false;
	c->command = c->request = 0;
	c->mask = MASKS;
}

static uint64_t dma_read(void *dev, uint64_t off, unsigned size)
{
	struct controller *c = dev;
	unsigned reg = (unsigned)off >> c->shift;

	if (reg < 8) {
		c->high = !c->high;
		return c->high ? c->reg[reg] & 0xff : c->reg[reg] >> 8;
	}
	switch (reg) {
	case STATUS_COMMAND: /* no channel has come to its end */
		return (uint64_t)c->request << 4;
	case MASK_ALL:
		return 0xf0 | c->mask;
	default:
		return 0;
	}
}

static void select_bit(uint8_t *bits, uint64_t val)
{
	uint8_t bit = (uint8_t)(1u << (val & SELECT));

	*bits = val & SET ? *bits | bit : *bits & (uint8_t)~bit;
}

static void dma_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct controller *c = dev;
	unsigned reg = (unsigned)off >> c->shift;

	if (reg < 8) {
		if (c->high)
			c->reg[reg] = (uint16_t)((c->reg[reg] & 0xff) | val << 8);
		else
			c->reg[reg] = (uint16_t)((c->reg[reg] & 0xff00) | val);
		c->high = !c->high;
		return;
	}
	switch (reg) {
	case STATUS_COMMAND:
		c->command = (uint8_t)val;
		break;
	case REQUEST:
		select_bit(&c->request, val);
		break;
	case MASK_ONE:
		select_bit(&c->mask, val);
		break;
	case MODE:
		c->mode[val & SELECT] = (uint8_t)val;
		break;
	case CLEAR_FLIP_FLOP:
		c->high = false;
		break;
	case MASTER_CLEAR:
		master_clear(c);
		break;
	case CLEAR_MASK:
		c->mask = 0;
		break;
	case MASK_ALL:
		c->mask = val & MASKS;
		break;
	}
}

static const struct io_ops dma_ops = { .read = dma_read, .write = dma_write, .min = 1, .max = 1 };

/* Those that belong to no channel are memory, too. */
static uint64_t page_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct dma *)dev)->page[off];
}

static void page_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	((struct dma *)dev)->page[off] = (uint8_t)val;
}

static const struct io_ops page_ops = {
	.read = page_read,
	.write = page_write,
	.min = 1,
	.max = 1,
};

static void dma_reset(struct dev *d)
{
	struct dma *p = (struct dma *)d;

	for (unsigned i = 0; i < 2; i++) {
		master_clear(&p->c[i]);
		memset(p->c[i].reg, 0, sizeof(p->c[i].reg));
		memset(p->c[i].mode, 0, sizeof(p->c[i].mode));
	}
	memset(p->page, 0, sizeof(p->page));
}

static int dma_init(struct dev *d, struct err *e)
{
	struct dma *p = (struct dma *)d;
	int rc = isa_map(d, &p->c[0].ports, &dma_ops, DMA1_PORT, 16, e);

	p->c[1].shift = 1;
	rc = rc ? rc : isa_map(d, &p->c[1].ports, &dma_ops, DMA2_PORT, 32, e);
	rc = rc ? rc : isa_map(d, &p->pages, &page_ops, PAGE_PORT, PAGES, e);
	/* No vCPU runs yet. */
	p->c[0].ports.dev = &p->c[0];
	p->c[1].ports.dev = &p->c[1];
	return rc;
}

static void dma_fini(struct dev *d)
{
	struct dma *p = (struct dma *)d;

	isa_unmap(&p->c[0].ports);
	isa_unmap(&p->c[1].ports);
	isa_unmap(&p->pages);
}

const struct dev_class isa_dma_class = {
	.name = "isa-dma",
	.desc = "DMA controllers (Intel 8237A)",
	.bus = DEV_BUS_ISA,
	.internal = true,
	.size = sizeof(struct dma),
	.init = dma_init,
	.reset = dma_reset,
	.fini = dma_fini,
};
