/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel of two drives as the host sees it: the command block's and control
 * block's registers, selection, interrupts, resets and data by PIO (ATA/ATAPI-6,
 * sections 7 and 9). What the host writes goes to both drives; what it reads
 * comes from the selected one. vCPU threads, under the channel's lock.
 */
#include "ide_int.h"

#include <stdlib.h>
#include <string.h>

#include "iov.h"
#include "irq.h"
#include "machine.h"

enum { EXECUTE_DIAGNOSTIC = 0x90, DEVICE_RESET = 0x08, DIAGNOSTIC_PASSED = 0x01 };

static struct ide_drive *selected(const struct ide_channel *ch)
{
	return ch->drive[ch->selected];
}

/* --- interrupts ----------------------------------------------------------------- */

/* The drive that is not selected, and one with nIEN, let go of the line. */
void ide_update_irq(struct ide_channel *ch)
{
	const struct ide_drive *d = selected(ch);
	bool level = d && d->intrq && !(ch->control & IDE_NIEN);

	if (level == ch->irq_level)
		return;
	ch->irq_level = level;
	if (level)
		ch->bm.status |= IDE_BM_INT;
	irq_set(ch->irq, level);
}

void ide_raise(struct ide_drive *d)
{
	d->intrq = true;
	ide_update_irq(d->ch);
}

/* --- the end of commands ---------------------------------------------------------- */

void ide_end(struct ide_drive *d)
{
	d->status = IDE_DRDY | IDE_DSC;
	ide_raise(d);
}

void ide_fail(struct ide_drive *d, uint8_t error)
{
	d->status = IDE_DRDY | IDE_DSC | IDE_ERR;
	d->error = error;
	ide_raise(d);
}

void ide_pio(struct ide_drive *d, unsigned pos, unsigned end, void (*done)(struct ide_drive *d))
{
	d->pos = pos;
	d->end = end;
	d->pio_done = done;
	d->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
}

/* --- resets ------------------------------------------------------------------------- */

/* What the drive was doing is over; true while a request is still on its way. */
static bool cut_short(struct ide_drive *d)
{
	d->pos = d->end = 0;
	d->pio_done = NULL;
	d->dma_go = NULL;
	d->intrq = false;
	return ide_abandon(d);
}

/* ATA/ATAPI-6, section 9.12: how a drive shows what it is. */
void ide_finish_reset(struct ide_drive *d)
{
	d->resetting = false;
	memset(d->reg, 0, sizeof(d->reg));
	d->reg[IDE_COUNT][0] = d->reg[IDE_LBA_LOW][0] = 1;
	if (d->atapi) {
		d->reg[IDE_LBA_MID][0] = 0x14;
		d->reg[IDE_LBA_HIGH][0] = 0xeb;
	}
	d->error = DIAGNOSTIC_PASSED;
	d->status = d->atapi ? 0 : IDE_DRDY | IDE_DSC;
	d->asleep = false;
	if (d->diagnosing)
		ide_raise(d);
	d->diagnosing = false;
}

/* The drive stays busy until no request of it can touch memory any more. */
static void reset_drive(struct ide_drive *d)
{
	d->status = IDE_BSY;
	d->resetting = true;
	d->diagnosing = false;
	if (!cut_short(d))
		ide_finish_reset(d);
}

static void begin_soft_reset(struct ide_channel *ch)
{
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *d = ch->drive[i];

		if (!d)
			continue;
		cut_short(d);
		d->status = IDE_BSY;
		d->resetting = false;
	}
	ide_update_irq(ch);
}

static void end_soft_reset(struct ide_channel *ch)
{
	ch->selected = 0;
	for (unsigned i = 0; i < 2; i++)
		if (ch->drive[i])
			reset_drive(ch->drive[i]);
}

/* Both drives carry it out; drive 0 speaks for the two. */
static void diagnose(struct ide_channel *ch)
{
	struct ide_drive *speaker = ch->drive[0] ? ch->drive[0] : ch->drive[1];

	ch->selected = 0;
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *d = ch->drive[i];

		if (!d)
			continue;
		reset_drive(d);
		if (d != speaker)
			continue;
		d->diagnosing = true;
		if (!d->resetting)
			ide_finish_reset(d);
	}
	ide_update_irq(ch);
}

void ide_channel_reset(struct ide_channel *ch)
{
	for (unsigned i = 0; i < 2; i++)
		if (ch->drive[i])
			ide_drain(ch->drive[i]);
	pthread_mutex_lock(&ch->lock);
	ide_bm_reset(&ch->bm);
	ch->selected = ch->control = 0;
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *d = ch->drive[i];

		if (!d)
			continue;
		if (d->atapi)
			atapi_power_on(d);
		else
			ata_power_on(d);
		reset_drive(d);
	}
	ide_update_irq(ch);
	pthread_mutex_unlock(&ch->lock);
}

/* --- the command block ---------------------------------------------------------------- */

static void command(struct ide_channel *ch, uint8_t val)
{
	struct ide_drive *d = selected(ch);

	if (d && d->status & IDE_BSY &&
	    !(d->atapi && val == DEVICE_RESET && !(ch->control & IDE_SRST)))
		return;
	if (val == EXECUTE_DIAGNOSTIC) {
		diagnose(ch);
		return;
	}
	if (!d || (d->asleep && val != DEVICE_RESET))
		return;
	if (d->atapi && val == DEVICE_RESET) {
		reset_drive(d);
		ide_update_irq(ch);
		return;
	}
	/* A command that comes while the last one waits for data is the last one's end. */
	cut_short(d);
	ide_update_irq(ch);
	d->command = val;
	d->error = 0;
	d->status = IDE_DRDY | IDE_DSC;
	if (d->atapi)
		atapi_command(d);
	else
		ata_command(d);
}

static void write_register(struct ide_channel *ch, unsigned reg, uint8_t val)
{
	const struct ide_drive *d = selected(ch);

	if (reg == IDE_COMMAND) {
		command(ch, val);
		return;
	}
	if (d && d->status & IDE_BSY)
		return;
	ch->control &= (uint8_t)~IDE_HOB;
	for (unsigned i = 0; i < 2; i++) {
		if (!ch->drive[i])
			continue;
		ch->drive[i]->reg[reg][1] = ch->drive[i]->reg[reg][0];
		ch->drive[i]->reg[reg][0] = val;
	}
	if (reg == IDE_DEVICE) {
		ch->selected = (val & IDE_DEV1) != 0;
		ide_update_irq(ch);
	}
}

/* Of the selected drive; where there is none the other one answers, with a status of 0. */
static uint8_t status(const struct ide_channel *ch)
{
	const struct ide_drive *d = selected(ch);

	return d ? d->status : 0;
}

static uint8_t read_register(struct ide_channel *ch, unsigned reg)
{
	struct ide_drive *d = selected(ch);
	uint8_t val;

	if (reg == IDE_COMMAND) {
		if (d) {
			d->intrq = false;
			ide_update_irq(ch);
		}
		return status(ch);
	}
	if (!d)
		d = ch->drive[!ch->selected];
	if (!d)
		return 0;
	if (reg == IDE_FEATURE)
		return d->error;
	if (reg != IDE_DEVICE)
		return d->reg[reg][ch->control & IDE_HOB ? 1 : 0];
	val = (uint8_t)(d->reg[reg][0] & ~IDE_DEV1) | IDE_DEVICE_ONES;
	return ch->selected ? val | IDE_DEV1 : val;
}

/* --- data ------------------------------------------------------------------------------- */

/* Moves up to len bytes of the block that waits for the host, in whole items of size. */
static unsigned move(struct ide_channel *ch, void *buf, unsigned len, unsigned size, bool write)
{
	struct ide_drive *d = selected(ch);
	unsigned n;

	if (!d || !(d->status & IDE_DRQ) || d->pos == d->end)
		return 0;
	n = d->end - d->pos;
	if (n > len)
		n = len;
	if (n > size)
		n -= n % size;
	if (write)
		memcpy(d->buf + d->pos, buf, n);
	else
		memcpy(buf, d->buf + d->pos, n);
	d->pos += n;
	if (d->pos == d->end) {
		d->status &= (uint8_t)~IDE_DRQ;
		d->pio_done(d);
	}
	return n;
}

static uint64_t command_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	ide_bell_sync(dev);
	if (off == IDE_DATA) {
		move(dev, &val, size, size, false);
		return val;
	}
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)read_register(dev, (unsigned)off + i) << 8 * i;
	return val;
}

static void command_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	ide_bell_sync(dev);
	if (off == IDE_DATA) {
		move(dev, &val, size, size, true);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		write_register(dev, (unsigned)off + i, (uint8_t)(val >> 8 * i));
}

static unsigned data_read_many(void *dev, uint64_t off, void *buf, unsigned size, unsigned count)
{
	unsigned n = off == IDE_DATA ? move(dev, buf, size * count, size, false) : 0;

	return n < size ? 0 : n / size;
}

static unsigned data_write_many(void *dev, uint64_t off, const void *buf, unsigned size,
				unsigned count)
{
	unsigned n =
		off == IDE_DATA ? move(dev, (void *)(uintptr_t)buf, size * count, size, true) : 0;

	return n < size ? 0 : n / size;
}

const struct io_ops ide_command_ops = {
	.read = command_read,
	.write = command_write,
	.min = 1,
	.max = 4,
	.read_many = data_read_many,
	.write_many = data_write_many,
};

/* --- the control block -------------------------------------------------------------------- */

static uint64_t control_read(void *dev, uint64_t off, unsigned size)
{
	ide_bell_sync(dev);
	return status(dev);
}

static void control_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct ide_channel *ch = dev;
	uint8_t was = ch->control;

	ide_bell_sync(ch);
	ch->control = (uint8_t)val;
	if (val & ~(uint64_t)was & IDE_SRST)
		begin_soft_reset(ch);
	else if (was & ~val & IDE_SRST)
		end_soft_reset(ch);
	ide_update_irq(ch);
}

const struct io_ops ide_control_ops = {
	.read = control_read,
	.write = control_write,
	.min = 1,
	.max = 1,
};

/* --- life ------------------------------------------------------------------------------------ */

void ide_channel_init(struct ide_channel *ch, struct machine *m, unsigned index)
{
	pthread_mutex_init(&ch->lock, NULL);
	ch->m = m;
	ch->index = index;
	ch->irq = &m->isa_irq[index ? 15 : 14];
	ch->bm.iov = calloc(IDE_PRD_MOST, sizeof(*ch->bm.iov));
	ide_bell_init(ch);
}

void ide_channel_fini(struct ide_channel *ch)
{
	ide_bell_fini(ch);
	free(ch->bm.iov);
	ch->bm.iov = NULL;
	pthread_mutex_destroy(&ch->lock);
}
