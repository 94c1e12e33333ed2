/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDENTIFY DEVICE (ATA/ATAPI-6, section 8.15; words 69 on ATA8-ACS) and
 * IDENTIFY PACKET DEVICE (8.16). Under the channel's lock.
 */
#include <string.h>

#include "ide_int.h"

/* Modes as SET FEATURES numbers them. */
enum { MODE_MULTIWORD = 4, MODE_ULTRA = 8 };
#define MAX_LBA28 0x0fffffffu

/* Two characters a word, the first in its upper half, padded with spaces. */
static void put_text(uint8_t *out, unsigned word, unsigned words, const char *text)
{
	for (unsigned i = 0; i < words * 2; i++)
		out[2 * word + (i ^ 1)] = *text ? (uint8_t)*text++ : ' ';
}

static void put32(uint8_t *out, unsigned word, uint32_t val)
{
	ide_put16(out, word, (uint16_t)val);
	ide_put16(out, word + 1, (uint16_t)(val >> 16));
}

/* Which modes there are, and in the upper half which one was chosen. */
static uint16_t modes(const struct ide_drive *d, unsigned kind, uint16_t known)
{
	if (d->transfer_mode >> 3 == kind)
		known |= (uint16_t)(0x100u << (d->transfer_mode & 7));
	return known;
}

static void common(const struct ide_drive *d, uint8_t *out)
{
	memset(out, 0, IDE_SECTOR);
	put_text(out, 10, 10, d->serial_text);
	put_text(out, 23, 4, d->version_text);
	put_text(out, 27, 20, d->model_text);
	ide_put16(out, 63, modes(d, MODE_MULTIWORD, 0x07));
	ide_put16(out, 64, 0x03); /* PIO modes 3 and 4 */
	for (unsigned w = 65; w <= 68; w++)
		ide_put16(out, w, 120); /* ns a cycle */
	ide_put16(out, 80, 0xf0); /* ATA/ATAPI-4 to 7 */
	ide_put16(out, 88, modes(d, MODE_ULTRA, 0x3f));
	/* 80 conductors; how the drive knows its number: by jumper */
	ide_put16(out, 93, d->unit ? 0x6b00 : 0x600b);
}

static void checksum(uint8_t *out)
{
	uint8_t sum = 0xa5;

	out[510] = 0xa5;
	for (unsigned i = 0; i < 510; i++)
		sum = (uint8_t)(sum + out[i]);
	out[511] = (uint8_t)-sum;
}

static void put_features(const struct ide_drive *d, uint8_t *out)
{
	/* NOP, look-ahead, write cache, power management, SMART */
	ide_put16(out, 82, 0x4069);
	/* FLUSH CACHE (EXT), 48-bit addresses */
	ide_put16(out, 83, 0x7400);
	/* FUA */
	ide_put16(out, 84, 0x4040);
	ide_put16(out, 85,
		  (uint16_t)(0x4008 | (d->lookahead ? 0x40 : 0) | (d->write_cache_on ? 0x20 : 0) |
			     (d->smart ? 1 : 0)));
	ide_put16(out, 86, 0x3400);
	ide_put16(out, 87, 0x4040);
}

static void put_sizes(const struct ide_drive *d, uint8_t *out)
{
	uint32_t chs = d->now.cyls * d->now.heads * d->now.secs;

	ide_put16(out, 1, (uint16_t)d->cyls);
	ide_put16(out, 3, (uint16_t)d->heads);
	ide_put16(out, 6, (uint16_t)d->secs);
	ide_put16(out, 54, (uint16_t)d->now.cyls);
	ide_put16(out, 55, (uint16_t)d->now.heads);
	ide_put16(out, 56, (uint16_t)d->now.secs);
	put32(out, 57, chs);
	put32(out, 60, d->sectors > MAX_LBA28 ? MAX_LBA28 : (uint32_t)d->sectors);
	put32(out, 100, (uint32_t)d->sectors);
	put32(out, 102, (uint32_t)(d->sectors >> 32));
	if (d->physical_block_size > IDE_SECTOR)
		ide_put16(out, 106,
			  (uint16_t)(0x6000 |
				     __builtin_ctzll(d->physical_block_size / IDE_SECTOR)));
	else
		ide_put16(out, 106, 0x4000);
	ide_put16(out, 209, 0x4000); /* sector 0 begins a physical block */
}

void ata_identify(const struct ide_drive *d, uint8_t *out)
{
	common(d, out);
	ide_put16(out, 0, 0x0040); /* a fixed disk */
	ide_put16(out, 47, 0x8010); /* 16 sectors a block at most */
	ide_put16(out, 48, 1); /* 32-bit PIO */
	ide_put16(out, 49, 0x0f00); /* IORDY, LBA, DMA */
	ide_put16(out, 50, 0x4000);
	ide_put16(out, 51, 0x0200);
	ide_put16(out, 53, 0x0007); /* words 54 to 58, 64 to 70 and 88 are valid */
	ide_put16(out, 59, d->multiple ? 0x0100 | d->multiple : 0);
	put_sizes(d, out);
	put_features(d, out);
	if (blk_can_discard(d->blk)) {
		ide_put16(out, 105, 1); /* blocks of ranges */
		ide_put16(out, 169, 1); /* TRIM */
	}
	ide_put16(out, 217, d->rotation_rate);
	checksum(out);
}

void atapi_identify(const struct ide_drive *d, uint8_t *out)
{
	common(d, out);
	/* a packet device, CD-ROM, removable, DRQ within 50 us, packets of 12 bytes */
	ide_put16(out, 0, 0x85c0);
	ide_put16(out, 49, 0x0f00);
	ide_put16(out, 53, 0x0006);
	ide_put16(out, 71, 30); /* ns: PACKET to bus release, SERVICE to BSY */
	ide_put16(out, 72, 30);
	ide_put16(out, 82, 0x4210); /* NOP, DEVICE RESET, PACKET */
	ide_put16(out, 83, 0x4000);
	ide_put16(out, 84, 0x4000);
	ide_put16(out, 85, 0x4210);
	ide_put16(out, 87, 0x4000);
	checksum(out);
}
