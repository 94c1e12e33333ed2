/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of IDE disks: ATA/ATAPI-6, sections 6 and 8, and of ATA/ATAPI-7 and
 * ATA8-ACS those that systems use (FUA, TRIM). Commands begin on vCPU threads and go
 * on where their requests end, the main loop; always under the channel's lock.
 */
#include <errno.h>
#include <string.h>

#include "ide_int.h"
#include "iov.h"

/* What a command's code says about a transfer. */
enum {
	EXT = 0x01, /* 48-bit address, 16-bit count */
	OUT = 0x02, /* to the disk */
	MULTI = 0x04, /* several sectors with each interrupt */
	FUA = 0x08,
};

enum { BUFFER_SECTORS = IDE_BUFFER / IDE_SECTOR, MULTIPLE_MOST = 16 };
enum { POWER_STANDBY = 0x00, POWER_ACTIVE = 0xff };
enum { TRIM = 0x01, TRIM_BLOCKS = 1, TRIM_ENTRY = 8 };
#define MAX_LBA28 0x0fffffffu

/* --- addresses ---------------------------------------------------------------------- */

static uint64_t lba28(const struct ide_drive *d)
{
	return d->reg[IDE_LBA_LOW][0] | (uint32_t)d->reg[IDE_LBA_MID][0] << 8 |
	       (uint32_t)d->reg[IDE_LBA_HIGH][0] << 16 |
	       (uint32_t)(d->reg[IDE_DEVICE][0] & 0x0f) << 24;
}

static uint64_t lba48(const struct ide_drive *d)
{
	uint64_t lba = 0;

	for (unsigned i = 0; i < 3; i++)
		lba |= (uint64_t)d->reg[IDE_LBA_LOW + i][0] << 8 * i |
		       (uint64_t)d->reg[IDE_LBA_LOW + i][1] << (24 + 8 * i);
	return lba;
}

/* By cylinder, head and sector; beyond the disk when there is no such one. */
static uint64_t chs(const struct ide_drive *d)
{
	uint32_t cyl = d->reg[IDE_LBA_MID][0] | (uint32_t)d->reg[IDE_LBA_HIGH][0] << 8;
	uint32_t head = d->reg[IDE_DEVICE][0] & 0x0f, sec = d->reg[IDE_LBA_LOW][0];

	if (!sec || sec > d->now.secs || head >= d->now.heads || cyl >= d->now.cyls)
		return UINT64_MAX;
	return ((uint64_t)cyl * d->now.heads + head) * d->now.secs + sec - 1;
}

static uint64_t address(const struct ide_drive *d, unsigned how)
{
	if (how & EXT)
		return lba48(d);
	return d->reg[IDE_DEVICE][0] & IDE_LBA ? lba28(d) : chs(d);
}

static uint32_t count(const struct ide_drive *d, unsigned how)
{
	uint32_t n = d->reg[IDE_COUNT][0];

	if (how & EXT) {
		n |= (uint32_t)d->reg[IDE_COUNT][1] << 8;
		return n ? n : 65536;
	}
	return n ? n : 256;
}

/* As the command gave it, so that the registers can show another one. */
static void show_address(struct ide_drive *d, uint64_t lba)
{
	if (d->lba48) {
		for (unsigned i = 0; i < 3; i++) {
			d->reg[IDE_LBA_LOW + i][0] = (uint8_t)(lba >> 8 * i);
			d->reg[IDE_LBA_LOW + i][1] = (uint8_t)(lba >> (24 + 8 * i));
		}
		return;
	}
	if (!(d->reg[IDE_DEVICE][0] & IDE_LBA)) {
		uint64_t track = lba / d->now.secs;

		lba = lba % d->now.secs + 1 + (track / d->now.heads << 8) +
		      (track % d->now.heads << 24);
	}
	for (unsigned i = 0; i < 3; i++)
		d->reg[IDE_LBA_LOW + i][0] = (uint8_t)(lba >> 8 * i);
	d->reg[IDE_DEVICE][0] = (uint8_t)((d->reg[IDE_DEVICE][0] & 0xf0) | (lba >> 24 & 0x0f));
}

/* Takes the command's range; false when it is not on the disk, and the command has failed. */
static bool take_range(struct ide_drive *d, unsigned how)
{
	uint64_t lba = address(d, how), n = count(d, how);

	d->lba48 = how & EXT;
	d->power = POWER_ACTIVE;
	if (lba >= d->sectors || n > d->sectors - lba) {
		if (lba < d->sectors)
			show_address(d, d->sectors);
		ide_fail(d, IDE_IDNF);
		return false;
	}
	d->lba = lba;
	d->left = n;
	d->io_flags = how & FUA ? BLK_FUA : 0;
	return true;
}

/* --- ends ------------------------------------------------------------------------------ */

static void abort_command(struct ide_drive *d)
{
	ide_fail(d, IDE_ABRT);
}

/* What the block layer could not do, at byte off. */
static void io_failed(struct ide_drive *d, bool out, uint64_t off)
{
	show_address(d, off / IDE_SECTOR);
	ide_fail(d, out ? IDE_ABRT : IDE_UNC);
	if (out)
		d->status |= IDE_DF;
}

static void end_of_answer(struct ide_drive *d)
{
	d->status = IDE_DRDY | IDE_DSC;
}

void ata_answer(struct ide_drive *d, unsigned len)
{
	ide_pio(d, 0, len, end_of_answer);
	ide_raise(d);
}

/* --- reading by PIO: the buffer is filled in one go, and taken block by block ---------- */

static void fill_buffer(struct ide_drive *d);

static void block_taken(struct ide_drive *d)
{
	uint64_t n = (d->end - d->taken) / IDE_SECTOR;
	unsigned next;

	d->taken = d->end;
	d->lba += n;
	d->left -= n;
	if (!d->left) {
		d->status = IDE_DRDY | IDE_DSC;
		return;
	}
	if (d->taken == d->held) {
		fill_buffer(d);
		return;
	}
	next = d->held - d->taken;
	if (next > d->block * IDE_SECTOR)
		next = d->block * IDE_SECTOR;
	ide_pio(d, d->taken, d->taken + next, block_taken);
	ide_raise(d);
}

/* What could be read before a bad sector is given first; the next try then fails at once. */
static void buffer_filled(struct ide_drive *d, int ret)
{
	unsigned first;

	d->held = ret ? (unsigned)(d->io.off - d->lba * IDE_SECTOR) : d->held;
	d->taken = 0;
	if (!d->held) {
		io_failed(d, false, d->io.off);
		return;
	}
	first = d->held < d->block * IDE_SECTOR ? d->held : d->block * IDE_SECTOR;
	ide_pio(d, 0, first, block_taken);
	ide_raise(d);
}

static void fill_buffer(struct ide_drive *d)
{
	uint64_t n = d->left < BUFFER_SECTORS ? d->left : BUFFER_SECTORS;

	d->held = (unsigned)n * IDE_SECTOR;
	ide_submit_buffer(d, BLK_READ, 0, d->lba * IDE_SECTOR, d->held, buffer_filled);
}

/* --- writing by PIO: the host fills the buffer, which is written when full ---------------- */

static void block_given(struct ide_drive *d);

static unsigned next_block(const struct ide_drive *d)
{
	uint64_t n = d->left < d->block ? d->left : d->block;

	return (unsigned)n * IDE_SECTOR;
}

static void buffer_written(struct ide_drive *d, int ret)
{
	if (ret) {
		io_failed(d, true, d->io.off);
		return;
	}
	d->lba += d->held / IDE_SECTOR;
	d->held = 0;
	if (!d->left) {
		ide_end(d);
		return;
	}
	ide_pio(d, 0, next_block(d), block_given);
	ide_raise(d);
}

static void block_given(struct ide_drive *d)
{
	unsigned n = d->end - d->held;

	d->held = d->end;
	d->left -= n / IDE_SECTOR;
	if (d->left && d->held + next_block(d) <= IDE_BUFFER) {
		ide_pio(d, d->held, d->held + next_block(d), block_given);
		ide_raise(d);
		return;
	}
	ide_submit_buffer(d, BLK_WRITE, d->io_flags, d->lba * IDE_SECTOR, d->held, buffer_written);
}

static void pio_transfer(struct ide_drive *d, unsigned how)
{
	if (how & MULTI && !d->multiple) {
		abort_command(d);
		return;
	}
	if (!take_range(d, how))
		return;
	d->block = how & MULTI ? d->multiple : 1;
	d->held = d->taken = 0;
	if (how & OUT)
		ide_pio(d, 0, next_block(d), block_given); /* the first one without an interrupt */
	else
		fill_buffer(d);
}

/* --- DMA: between the drive and guest memory directly ---------------------------------------- */

static void dma_ended(struct ide_drive *d, int ret)
{
	switch (ide_dma_done(d->ch)) {
	case IDE_DMA_STOPPED:
		abort_command(d);
		return;
	case IDE_DMA_SHORT:
		if (!ret) {
			ide_dma_starve(d);
			return;
		}
		break;
	case IDE_DMA_DONE:
		break;
	}
	if (ret)
		io_failed(d, !d->dma_to_memory, d->io.off);
	else
		ide_end(d);
}

static void dma_go(struct ide_drive *d, const struct ide_map *map)
{
	uint64_t len = map->len;

	if (map->bad) {
		ide_dma_done(d->ch);
		abort_command(d);
		return;
	}
	if (!d->dma_to_memory)
		len -= len % IDE_SECTOR; /* half a sector is never written */
	if (len)
		ide_submit_map(d, d->dma_to_memory ? BLK_READ : BLK_WRITE, d->io_flags,
			       d->lba * IDE_SECTOR, len, map, dma_ended);
	else
		dma_ended(d, 0);
}

static void dma_transfer(struct ide_drive *d, unsigned how)
{
	if (take_range(d, how))
		ide_dma(d, d->left * IDE_SECTOR, !(how & OUT), dma_go);
}

/* --- READ VERIFY: reads, and keeps nothing ------------------------------------------------- */

static void verify_next(struct ide_drive *d);

static void verified(struct ide_drive *d, int ret)
{
	if (ret) {
		io_failed(d, false, d->io.off);
		return;
	}
	d->lba += d->held / IDE_SECTOR;
	d->left -= d->held / IDE_SECTOR;
	if (d->left)
		verify_next(d);
	else
		ide_end(d);
}

static void verify_next(struct ide_drive *d)
{
	uint64_t n = d->left < BUFFER_SECTORS ? d->left : BUFFER_SECTORS;

	d->held = (unsigned)n * IDE_SECTOR;
	ide_submit_buffer(d, BLK_READ, 0, d->lba * IDE_SECTOR, d->held, verified);
}

static void verify(struct ide_drive *d, unsigned how)
{
	if (take_range(d, how))
		verify_next(d);
}

static void seek(struct ide_drive *d, unsigned how)
{
	if (address(d, 0) >= d->sectors)
		ide_fail(d, IDE_IDNF);
	else
		ide_end(d);
}

/* --- TRIM (DATA SET MANAGEMENT): a block of ranges, one after the other ----------------------- */

static void trim_next(struct ide_drive *d);

static void trimmed(struct ide_drive *d, int ret)
{
	if (ret)
		io_failed(d, true, d->io.off);
	else
		trim_next(d);
}

/* Entries are 48 bits of address and 16 of length; those of length 0 are padding. */
static void trim_next(struct ide_drive *d)
{
	while (d->taken < d->held) {
		const uint8_t *p = d->buf + d->taken;
		uint64_t lba = 0, n = p[6] | (uint64_t)p[7] << 8;

		for (unsigned i = 0; i < 6; i++)
			lba |= (uint64_t)p[i] << 8 * i;
		d->taken += TRIM_ENTRY;
		if (!n)
			continue;
		if (lba >= d->sectors || n > d->sectors - lba) {
			ide_fail(d, IDE_IDNF);
			return;
		}
		ide_submit(d, BLK_DISCARD, 0, lba * IDE_SECTOR, n * IDE_SECTOR, NULL, 0, trimmed);
		return;
	}
	ide_end(d);
}

static void trim_go(struct ide_drive *d, const struct ide_map *map)
{
	iov_to_buf(map->iov, map->n, 0, d->buf, map->len);
	switch (ide_dma_done(d->ch)) {
	case IDE_DMA_STOPPED:
		abort_command(d);
		return;
	case IDE_DMA_SHORT:
		if (map->bad)
			abort_command(d);
		else
			ide_dma_starve(d);
		return;
	case IDE_DMA_DONE:
		break;
	}
	d->held = (unsigned)map->len;
	d->taken = 0;
	trim_next(d);
}

static void data_set_management(struct ide_drive *d, unsigned how)
{
	uint32_t n = d->reg[IDE_COUNT][0] | (uint32_t)d->reg[IDE_COUNT][1] << 8;

	d->lba48 = true;
	if (d->reg[IDE_FEATURE][0] != TRIM || !n || n > TRIM_BLOCKS || !blk_can_discard(d->blk)) {
		abort_command(d);
		return;
	}
	ide_dma(d, n * IDE_SECTOR, false, trim_go);
}

/* --- settings ------------------------------------------------------------------------------- */

static void flushed(struct ide_drive *d, int ret)
{
	if (ret)
		io_failed(d, true, 0);
	else
		ide_end(d);
}

static void flush(struct ide_drive *d, unsigned how)
{
	d->lba48 = how & EXT;
	ide_submit(d, BLK_FLUSH, 0, 0, 0, NULL, 0, flushed);
}

/* What is in the cache is written before it is turned off. */
static void cache_flushed(struct ide_drive *d, int ret)
{
	if (ret) {
		io_failed(d, true, 0);
		return;
	}
	d->write_cache_on = d->wanted_cache;
	blk_set_writeback(d->blk, d->write_cache_on);
	ide_end(d);
}

static void set_write_cache(struct ide_drive *d, bool on)
{
	d->lba48 = false;
	d->wanted_cache = on;
	ide_submit(d, BLK_FLUSH, 0, 0, 0, NULL, 0, cache_flushed);
}

/* Table 44 of ATA/ATAPI-6; all modes go at the same speed here. */
static bool transfer_mode_known(uint8_t mode)
{
	unsigned n = mode & 7;

	switch (mode >> 3) {
	case 0: /* PIO's default, without IORDY too */
		return n <= 1;
	case 1:
		return n <= 4;
	case 4: /* multiword DMA */
		return n <= 2;
	case 8: /* Ultra DMA */
		return n <= 5;
	default:
		return false;
	}
}

bool ata_set_transfer_mode(struct ide_drive *d)
{
	uint8_t mode = d->reg[IDE_COUNT][0];

	if (!transfer_mode_known(mode))
		return false;
	if (mode >= 0x10)
		d->transfer_mode = mode;
	return true;
}

static void set_features(struct ide_drive *d, unsigned how)
{
	switch (d->reg[IDE_FEATURE][0]) {
	case 0x02:
	case 0x82:
		set_write_cache(d, d->reg[IDE_FEATURE][0] == 0x02);
		return;
	case 0x03:
		if (!ata_set_transfer_mode(d))
			break;
		ide_end(d);
		return;
	case 0xaa:
	case 0x55:
		d->lookahead = d->reg[IDE_FEATURE][0] == 0xaa;
		ide_end(d);
		return;
	case 0x66: /* whether a software reset reverts settings: it never does */
	case 0xcc:
		ide_end(d);
		return;
	}
	abort_command(d);
}

static void set_geometry(struct ide_drive *d, uint32_t heads, uint32_t secs)
{
	uint64_t cyls = d->sectors / ((uint64_t)heads * secs);

	d->now = (struct ide_geometry){ .cyls = cyls > 65535 ? 65535 : (uint32_t)cyls,
					.heads = heads,
					.secs = secs };
}

static void initialize_parameters(struct ide_drive *d, unsigned how)
{
	uint32_t secs = d->reg[IDE_COUNT][0], heads = (d->reg[IDE_DEVICE][0] & 0x0f) + 1u;

	if (!secs) {
		abort_command(d);
		return;
	}
	set_geometry(d, heads, secs);
	ide_end(d);
}

static void set_multiple(struct ide_drive *d, unsigned how)
{
	uint8_t n = d->reg[IDE_COUNT][0];

	if (n > MULTIPLE_MOST || n & (n - 1)) {
		abort_command(d);
		return;
	}
	d->multiple = n;
	ide_end(d);
}

/* --- power ------------------------------------------------------------------------------------ */

static void check_power(struct ide_drive *d, unsigned how)
{
	d->reg[IDE_COUNT][0] = d->power;
	ide_end(d);
}

static void idle(struct ide_drive *d, unsigned how)
{
	d->power = POWER_ACTIVE;
	ide_end(d);
}

static void spun_down(struct ide_drive *d, int ret)
{
	if (ret) {
		io_failed(d, true, 0);
		return;
	}
	d->power = POWER_STANDBY;
	ide_end(d);
}

static void standby(struct ide_drive *d, unsigned how)
{
	d->lba48 = false;
	ide_submit(d, BLK_FLUSH, 0, 0, 0, NULL, 0, spun_down);
}

static void fell_asleep(struct ide_drive *d, int ret)
{
	spun_down(d, ret);
	d->asleep = !ret;
}

static void sleep_mode(struct ide_drive *d, unsigned how)
{
	d->lba48 = false;
	ide_submit(d, BLK_FLUSH, 0, 0, 0, NULL, 0, fell_asleep);
}

/* --- the rest -----------------------------------------------------------------------------------
 */

static void identify(struct ide_drive *d, unsigned how)
{
	ata_identify(d, d->buf);
	ata_answer(d, IDE_SECTOR);
}

static void read_native_max(struct ide_drive *d, unsigned how)
{
	uint64_t last = d->sectors - 1;

	d->lba48 = how & EXT;
	if (!(how & EXT)) {
		d->reg[IDE_DEVICE][0] |= IDE_LBA;
		if (last > MAX_LBA28 - 1)
			last = MAX_LBA28 - 1;
	}
	show_address(d, last);
	ide_end(d);
}

static void smart(struct ide_drive *d, unsigned how)
{
	ata_smart(d);
}

static void recalibrate(struct ide_drive *d, unsigned how)
{
	ide_end(d);
}

static const struct ata_command {
	void (*run)(struct ide_drive *d, unsigned how);
	unsigned how;
} commands[256] = {
	[0x06] = { data_set_management, EXT },
	[0x10 ... 0x1f] = { recalibrate, 0 },
	[0x20 ... 0x21] = { pio_transfer, 0 },
	[0x24] = { pio_transfer, EXT },
	[0x25] = { dma_transfer, EXT },
	[0x27] = { read_native_max, EXT },
	[0x29] = { pio_transfer, EXT | MULTI },
	[0x30 ... 0x31] = { pio_transfer, OUT },
	[0x34] = { pio_transfer, EXT | OUT },
	[0x35] = { dma_transfer, EXT | OUT },
	[0x39] = { pio_transfer, EXT | OUT | MULTI },
	[0x3d] = { dma_transfer, EXT | OUT | FUA },
	[0x40 ... 0x41] = { verify, 0 },
	[0x42] = { verify, EXT },
	[0x70 ... 0x7f] = { seek, 0 },
	[0x91] = { initialize_parameters, 0 },
	[0x94] = { standby, 0 },
	[0x95] = { idle, 0 },
	[0x96] = { standby, 0 },
	[0x97] = { idle, 0 },
	[0x98] = { check_power, 0 },
	[0x99] = { sleep_mode, 0 },
	[0xb0] = { smart, 0 },
	[0xc4] = { pio_transfer, MULTI },
	[0xc5] = { pio_transfer, OUT | MULTI },
	[0xc6] = { set_multiple, 0 },
	[0xc8 ... 0xc9] = { dma_transfer, 0 },
	[0xca ... 0xcb] = { dma_transfer, OUT },
	[0xce] = { pio_transfer, EXT | OUT | MULTI | FUA },
	[0xe0] = { standby, 0 },
	[0xe1] = { idle, 0 },
	[0xe2] = { standby, 0 },
	[0xe3] = { idle, 0 },
	[0xe5] = { check_power, 0 },
	[0xe6] = { sleep_mode, 0 },
	[0xe7] = { flush, 0 },
	[0xea] = { flush, EXT },
	[0xec] = { identify, 0 },
	[0xef] = { set_features, 0 },
	[0xf8] = { read_native_max, 0 },
};

/* Those that are not in the table (NOP among them) are aborted, as the standard has it. */
void ata_command(struct ide_drive *d)
{
	const struct ata_command *c = &commands[d->command];

	if (c->run)
		c->run(d, c->how);
	else
		abort_command(d);
}

void ata_power_on(struct ide_drive *d)
{
	d->now = (struct ide_geometry){ .cyls = d->cyls, .heads = d->heads, .secs = d->secs };
	d->multiple = MULTIPLE_MOST;
	d->transfer_mode = 0x22;
	d->smart = d->lookahead = true;
	d->power = POWER_ACTIVE;
	d->write_cache_on = d->default_cache;
	blk_set_writeback(d->blk, d->default_cache);
}
