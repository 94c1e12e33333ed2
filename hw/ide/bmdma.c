/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel's bus master (Intel 82371SB data sheet, "Bus Master IDE"): its
 * registers, and the tables of physical region descriptors that say where in guest
 * memory a drive's data go. A table is read when the transfer begins, each entry
 * once, and drives then work on guest memory directly. vCPU threads and the
 * main loop, under the channel's lock.
 */
#include "ide_int.h"

#include "gmem.h"
#include "machine.h"
#include "wire/le.h"

/* An entry of a table. */
struct prd {
	struct le32 addr; /* bit 0 is not there */
	struct le32 count; /* bits 15..1: bytes, 0 for 64 KiB; bit 31: the last entry */
};
_Static_assert(sizeof(struct prd) == 8, "two dwords");

#define PRD_LAST 0x80000000u
enum { PRD_COUNT = 0xfffe, PRD_MOST = 0x10000, TABLE_END = 0xffff };

/* --- tables ---------------------------------------------------------------------- */

static void *find(const struct gmem *g, uint64_t addr, uint64_t len, bool writable)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct gmem_range *r = &g->range[i];

		if (addr < r->gpa || addr - r->gpa >= r->size || len > r->size - (addr - r->gpa))
			continue;
		return writable && r->readonly ? NULL : r->host + (addr - r->gpa);
	}
	return NULL;
}

/* Adjacent regions are one buffer. */
static void add_region(struct ide_map *map, uint8_t *host, size_t len)
{
	struct iovec *last = map->n ? &map->iov[map->n - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == host)
		last->iov_len += len;
	else
		map->iov[map->n++] = (struct iovec){ .iov_base = host, .iov_len = len };
	map->len += len;
}

/*
 * What the table describes, len bytes at most. It ends at a multiple of 64 KiB, which it
 * must not cross, so that a table without an end is one.
 */
static struct ide_map read_table(struct ide_channel *ch, uint64_t len, bool to_memory)
{
	const struct gmem *g = &ch->m->mem;
	struct ide_map map = { .iov = ch->bm.iov };
	uint32_t at = ch->bm.table;

	ch->bm.exhausted = false;
	do {
		struct prd prd;
		uint32_t count, part;
		uint8_t *host;

		map.bad = true;
		if (gmem_read(g, at, &prd, sizeof(prd)))
			break;
		count = le32_to_cpu(prd.count) & PRD_COUNT;
		if (!count)
			count = PRD_MOST;
		part = len - map.len < count ? (uint32_t)(len - map.len) : count;
		host = find(g, le32_to_cpu(prd.addr) & ~1u, part, to_memory);
		if (!host)
			break;
		map.bad = false;
		add_region(&map, host, part);
		if (le32_to_cpu(prd.count) & PRD_LAST) {
			ch->bm.exhausted = part == count;
			break;
		}
		at += sizeof(prd);
		map.bad = map.len < len && !(at & TABLE_END);
	} while (map.len < len && !map.bad);
	if (map.bad)
		map.len = map.n = 0;
	return map;
}

/* --- transfers -------------------------------------------------------------------- */

void ide_dma(struct ide_drive *d, uint64_t len, bool to_memory,
	     void (*go)(struct ide_drive *d, const struct ide_map *map))
{
	d->dma_len = len;
	d->dma_to_memory = to_memory;
	d->dma_go = go;
	ide_dma_starve(d);
	ide_dma_try(d->ch);
}

void ide_dma_starve(struct ide_drive *d)
{
	d->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
}

void ide_dma_try(struct ide_channel *ch)
{
	struct ide_drive *d = ch->drive[ch->selected];
	struct ide_bm *bm = &ch->bm;
	void (*go)(struct ide_drive *, const struct ide_map *);
	struct ide_map map;

	if (!bm->armed || bm->owner || !ch->master || !d || !d->dma_go)
		return;
	map = read_table(ch, d->dma_len, d->dma_to_memory);
	bm->armed = false;
	bm->owner = d;
	bm->is_short = map.len < d->dma_len;
	if (map.bad) {
		log_guest(&d->log, d->dev.cls->name,
			  "the DMA table at 0x%x is not memory, or leads to what is not",
			  bm->table);
		bm->status |= IDE_BM_ERROR;
		bm->exhausted = true;
	}
	go = d->dma_go;
	d->dma_go = NULL;
	go(d, &map);
}

bool ide_dma_stopped(const struct ide_drive *d)
{
	return d->ch->bm.owner == d && !(d->ch->bm.command & IDE_BM_START);
}

enum ide_dma_end ide_dma_done(struct ide_channel *ch)
{
	struct ide_bm *bm = &ch->bm;
	bool stopped = !(bm->command & IDE_BM_START);

	bm->owner = NULL;
	if (stopped || bm->exhausted)
		bm->status &= (uint8_t)~IDE_BM_ACTIVE;
	if (stopped)
		return IDE_DMA_STOPPED;
	return bm->is_short ? IDE_DMA_SHORT : IDE_DMA_DONE;
}

/* --- registers --------------------------------------------------------------------- */

/*
 * While data are being moved stopping is a wish: the controller stays active until
 * nothing can reach memory any more, and is not started again before.
 */
void ide_bm_command(struct ide_channel *ch, uint8_t val)
{
	struct ide_bm *bm = &ch->bm;
	uint8_t was = bm->command;

	if (bm->owner) {
		bm->command = was & (IDE_BM_TO_MEMORY | (val & IDE_BM_START));
		return;
	}
	bm->command = val & (IDE_BM_START | IDE_BM_TO_MEMORY);
	if (val & ~was & IDE_BM_START) {
		bm->status |= IDE_BM_ACTIVE;
		bm->armed = true;
		ide_dma_try(ch);
	} else if (!(val & IDE_BM_START)) {
		bm->status &= (uint8_t)~IDE_BM_ACTIVE;
		bm->armed = false;
	}
}

static uint8_t read_byte(const struct ide_bm *bm, unsigned off)
{
	switch (off) {
	case 0:
		return bm->command;
	case 2:
		return bm->status;
	case 4:
	case 5:
	case 6:
	case 7:
		return bm->table >> 8 * (off - 4) & 0xff;
	default:
		return 0;
	}
}

static uint64_t bm_read(void *dev, uint64_t off, unsigned size)
{
	struct ide_channel *ch = dev;
	uint64_t val = 0;

	ide_bell_hear(ch);
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)read_byte(&ch->bm, (unsigned)off + i) << 8 * i;
	return val;
}

static void write_byte(struct ide_channel *ch, unsigned off, uint8_t val)
{
	struct ide_bm *bm = &ch->bm;
	unsigned shift = 8 * (off & 3);

	if (off == 0)
		ide_bm_command(ch, val);
	else if (off == 2)
		bm->status = (uint8_t)((val & IDE_BM_CAPABLE) | (bm->status & IDE_BM_ACTIVE) |
				       (bm->status & ~val & (IDE_BM_INT | IDE_BM_ERROR)));
	else if (off >= 4)
		bm->table = (bm->table & ~(0xffu << shift)) | ((uint32_t)val << shift & ~3u);
}

static void bm_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	ide_bell_hear(dev);
	for (unsigned i = 0; i < size; i++)
		write_byte(dev, (unsigned)off + i, (uint8_t)(val >> 8 * i));
}

/* A table's address comes by one access: bells are listened for once in each. */
const struct io_ops ide_bm_ops = { .read = bm_read, .write = bm_write, .min = 1, .max = 4 };

void ide_bm_reset(struct ide_bm *bm)
{
	*bm = (struct ide_bm){ .iov = bm->iov };
}
