/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices ide-hd and ide-cd: where they are, what they are called, and
 * the drive of the block layer that is behind them. Main thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atapi.h"
#include "bootorder.h"
#include "err.h"
#include "machine.h"
#include "props.h"

enum { AUTO, ON, OFF };
static const char *const cache_names[] = { "auto", "on", "off", NULL };

enum { UNIT_AUTO = 2 };
/* A BIOS reaches no further by its interface of cylinders; its other way of counting them. */
enum { BIOS_CYLINDERS = 1024, CMOS_LBA = 1 };

/* --- its place -------------------------------------------------------------------- */

static int bus_number(const char *name)
{
	if (!strncmp(name, "ide.", 4) && (name[4] == '0' || name[4] == '1') && !name[5])
		return name[4] - '0';
	return -1;
}

static int no_place(const struct ide_drive *d, int bus, struct err *e)
{
	if (bus >= 0 && d->unit_choice != UNIT_AUTO) {
		err_set(e, ERR_USAGE, EBUSY, "bus=ide.%d,unit=%u: another drive is there", bus,
			d->unit_choice);
	} else if (bus >= 0) {
		err_set(e, ERR_USAGE, EBUSY, "bus=ide.%d: it has two drives already", bus);
	} else {
		err_set(e, ERR_USAGE, EBUSY,
			"no place is free: IDE has room for four drives, two on each of ide.0 and "
			"ide.1");
		err_hint(e, "attach more disks as virtio disks: -drive file=FILE,if=virtio, or "
			    "-device virtio-blk-pci");
		return -EBUSY;
	}
	err_hint(e, "leave bus= and unit= out to take a free place, or use virtio-blk-pci");
	return -EBUSY;
}

/* bus= and unit=, or the first place that is free. */
static int find_place(struct ide_drive *d, struct err *e)
{
	int bus = d->bus ? bus_number(d->bus) : -1;

	if (d->bus && bus < 0) {
		err_set(e, ERR_USAGE, ENODEV, "bus=%s: there is no such IDE bus", d->bus);
		err_hint(e, "the machine has ide.0 and ide.1");
		return -ENODEV;
	}
	if (!ide_find_channel(d->dev.m, 0)) {
		err_set(e, ERR_USAGE, ENODEV, "this machine has no IDE controller");
		err_hint(e, "'-machine pc' has one; or use a virtio disk");
		return -ENODEV;
	}
	for (unsigned i = 0; i < 4; i++) {
		struct ide_channel *ch = ide_find_channel(d->dev.m, i / 2);

		if ((bus >= 0 && i / 2 != (unsigned)bus) || ch->drive[i % 2] ||
		    (d->unit_choice != UNIT_AUTO && i % 2 != d->unit_choice))
			continue;
		d->ch = ch;
		d->unit = i % 2;
		return 0;
	}
	return no_place(d, bus, e);
}

/* --- its name and size ------------------------------------------------------------- */

static int set_text(char *out, size_t room, const char *name, const char *text, struct err *e)
{
	size_t n = strlen(text);

	if (n >= room) {
		err_set(e, ERR_USAGE, EINVAL,
			"%s=%s: longer than the %zu characters that ATA has "
			"room for",
			name, text, room - 1);
		err_hint(e, "shorten it");
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~')
			return err_set(e, ERR_USAGE, EINVAL, "%s=: not all of it is ASCII", name);
	memcpy(out, text, n + 1);
	return 0;
}

static int set_texts(struct ide_drive *d, struct err *e)
{
	const char *serial = d->serial ? d->serial : blk_serial(d->blk);
	char made_up[24];
	int rc;

	if (!serial || !*serial) {
		snprintf(made_up, sizeof(made_up), "PO%05u", d->ch->index * 2 + d->unit + 1);
		serial = made_up;
	}
	rc = set_text(d->serial_text, sizeof(d->serial_text), "serial", serial, e);
	rc = rc ? rc
		: set_text(d->model_text, sizeof(d->model_text), "model",
			   d->model   ? d->model
			   : d->atapi ? "POSADA DVD-ROM"
				      : "POSADA HARDDISK",
			   e);
	return rc ? rc
		  : set_text(d->version_text, sizeof(d->version_text), "ver",
			     d->version ? d->version : "1.0", e);
}

/* As BIOSes and drives have done since ATA-1: 16 heads of 63 sectors. */
static int settle_geometry(struct ide_drive *d, struct err *e)
{
	d->sectors = blk_size(d->blk) / IDE_SECTOR;
	if (d->cyls && d->heads && d->secs)
		return 0;
	if (d->cyls || d->heads || d->secs) {
		err_set(e, ERR_USAGE, EINVAL, "a geometry is all three of cyls=, heads= and secs=");
		err_hint(e, "leave them out: guests have not looked at them for decades");
		return -EINVAL;
	}
	d->heads = 16;
	d->secs = 63;
	d->cyls = d->sectors / (16 * 63) > 16383 ? 16383 : (uint32_t)(d->sectors / (16 * 63));
	if (d->cyls < 2)
		d->cyls = 2;
	return 0;
}

static int settle_blocks(struct ide_drive *d, struct err *e)
{
	const struct blk_limits *lim = blk_limits(d->blk);
	uint64_t p = d->physical_block_size;

	if (d->logical_block_size != IDE_SECTOR) {
		err_set(e, ERR_USAGE, ENOTSUP,
			"logical_block_size=%" PRIu64 ": sectors of IDE disks have 512 bytes",
			d->logical_block_size);
		err_hint(e, "a virtio-blk-pci disk can have larger ones; physical_block_size= is "
			    "free here, too");
		return -ENOTSUP;
	}
	if (!p)
		p = lim->block_size > IDE_SECTOR && !(lim->block_size & (lim->block_size - 1))
			    ? lim->block_size
			    : IDE_SECTOR;
	if (p & (p - 1))
		return err_set(e, ERR_USAGE, EINVAL,
			       "physical_block_size=%" PRIu64 ": is not a power of two", p);
	d->physical_block_size = p;
	if (!d->discard_granularity)
		d->discard_granularity = IDE_SECTOR;
	return 0;
}

/* --- life ----------------------------------------------------------------------------- */

static void resized(void *ctx)
{
	struct ide_drive *d = ctx;

	pthread_mutex_lock(&d->ch->lock);
	d->sectors = blk_size(d->blk) / IDE_SECTOR;
	pthread_mutex_unlock(&d->ch->lock);
}

/* A download that was cut short is what this usually is. */
static void warn_if_truncated(const struct ide_drive *d)
{
	uint64_t size = blk_image_size(d->blk);
	struct blk_info i;

	if (!(size % CD_BLOCK))
		return;
	blk_get_info(d->blk, &i);
	log_warn("drive '%s': the %" PRIu64
		 " bytes of %s are no whole number of CD blocks of 2048: "
		 "is it a truncated image? The guest cannot read the last block",
		 blk_id(d->blk), size, i.filename);
}

static void medium_changed(void *ctx)
{
	struct ide_drive *d = ctx;

	pthread_mutex_lock(&d->ch->lock);
	atapi_medium_changed(d);
	pthread_mutex_unlock(&d->ch->lock);
	if (d->cd.loaded)
		warn_if_truncated(d);
}

static void eject_request(void *ctx)
{
	struct ide_drive *d = ctx;

	pthread_mutex_lock(&d->ch->lock);
	atapi_eject_request(d);
	pthread_mutex_unlock(&d->ch->lock);
}

static const struct blk_client cd_client = {
	.take = ide_take,
	.medium_changed = medium_changed,
	.eject_request = eject_request,
};

static const struct blk_client disk_client = { .resized = resized, .take = ide_take };

static int attach(struct ide_drive *d, const struct blk_client *client, struct err *e)
{
	struct blk *b;
	int rc;

	if (!d->drive_id) {
		err_set(e, ERR_USAGE, EINVAL, "drive= is missing: which disk is it?");
		err_hint(e,
			 "-drive if=none,id=d0,file=FILE and drive=d0; or -drive if=ide,file=FILE "
			 "alone makes both");
		return -EINVAL;
	}
	rc = blk_get(d->dev.m->blks, d->drive_id, &b, e);
	rc = rc ? rc : blk_attach(b, client, d, !d->atapi, d->dev.m->loop, e);
	if (rc)
		return rc;
	d->blk = b;
	d->buf = aligned_alloc(4096, IDE_BUFFER);
	if (!d->buf)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	memset(d->buf, 0, IDE_BUFFER);
	return 0;
}

/* In the order of booting, by the path that firmware knows it by. */
static int boot_place(struct ide_drive *d, struct err *e)
{
	static const char *const path[2][2] = {
		{ "drive@0/disk@0", "drive@0/disk@1" },
		{ "drive@1/disk@0", "drive@1/disk@1" },
	};

	return bootorder_add(d->dev.m, &d->dev, d->bootindex, d->ch->fn,
			     path[d->ch->index][d->unit], e);
}

/* Visible to the guest from now on, as after power-on. */
static void appear(struct ide_drive *d)
{
	struct ide_channel *ch = d->ch;

	d->log = (struct log_limit)LOG_LIMIT_INIT;
	pthread_mutex_lock(&ch->lock);
	ch->drive[d->unit] = d;
	if (d->atapi)
		atapi_power_on(d);
	else
		ata_power_on(d);
	ide_finish_reset(d);
	pthread_mutex_unlock(&ch->lock);
}

static int hd_init(struct dev *dev, struct err *e)
{
	struct ide_drive *d = (struct ide_drive *)dev;
	int rc = find_place(d, e);

	rc = rc ? rc : attach(d, &disk_client, e);
	rc = rc ? rc : settle_geometry(d, e);
	rc = rc ? rc : settle_blocks(d, e);
	rc = rc ? rc : set_texts(d, e);
	rc = rc ? rc : boot_place(d, e);
	if (rc)
		return rc;
	if (d->cyls > BIOS_CYLINDERS)
		dev->m->disk_translation |= CMOS_LBA << 2 * (2 * d->ch->index + d->unit);
	d->io.grain = IDE_SECTOR;
	d->default_cache = d->write_cache == AUTO ? blk_writeback(d->blk) : d->write_cache == ON;
	blk_set_writeback(d->blk, d->default_cache);
	appear(d);
	return 0;
}

static int cd_init(struct dev *dev, struct err *e)
{
	struct ide_drive *d = (struct ide_drive *)dev;
	int rc;

	d->atapi = true;
	rc = find_place(d, e);
	rc = rc ? rc : attach(d, &cd_client, e);
	rc = rc ? rc : set_texts(d, e);
	rc = rc ? rc : boot_place(d, e);
	if (rc)
		return rc;
	d->io.grain = CD_BLOCK;
	warn_if_truncated(d);
	appear(d);
	return 0;
}

static void drive_fini(struct dev *dev)
{
	struct ide_drive *d = (struct ide_drive *)dev;

	if (d->ch && d->ch->drive[d->unit] == d) {
		pthread_mutex_lock(&d->ch->lock);
		ide_abandon(d);
		pthread_mutex_unlock(&d->ch->lock);
	}
	if (d->blk)
		blk_detach(d->blk);
	if (d->ch && d->ch->drive[d->unit] == d) {
		pthread_mutex_lock(&d->ch->lock);
		d->ch->drive[d->unit] = NULL;
		ide_update_irq(d->ch);
		pthread_mutex_unlock(&d->ch->lock);
	}
	free(d->io.part);
	free(d->buf);
}

#define DRIVE_PROPS                                                                                \
	PROP(struct ide_drive, drive_id, PROP_DRIVE, "drive", NULL,                                \
	     "what is in it: id of a -drive, or node-name of a -blockdev"),                        \
		PROP(struct ide_drive, bus, PROP_STR, "bus", NULL,                                 \
		     "ide.0 or ide.1; else the first with room"),                                  \
		PROP_RANGE(struct ide_drive, unit_choice, PROP_U32, "unit", "2", 0, UNIT_AUTO,     \
			   "0 (master) or 1 (slave); 2: the first that is free"),                  \
		PROP(struct ide_drive, serial, PROP_STR, "serial", NULL,                           \
		     "serial number, 20 characters; else the drive's"),                            \
		PROP(struct ide_drive, model, PROP_STR, "model", NULL, "model, 40 characters"),    \
		PROP(struct ide_drive, version, PROP_STR, "ver", NULL,                             \
		     "firmware revision, 8 characters"),                                           \
		PROP_BOOTINDEX(struct ide_drive, bootindex)

static const struct prop hd_props[] = {
	DRIVE_PROPS,
	PROP_RANGE(struct ide_drive, cyls, PROP_U32, "cyls", NULL, 1, 65535,
		   "cylinders of its geometry, if BIOS should not see the usual one"),
	PROP_RANGE(struct ide_drive, heads, PROP_U32, "heads", NULL, 1, 16, "heads"),
	PROP_RANGE(struct ide_drive, secs, PROP_U32, "secs", NULL, 1, 255, "sectors of a track"),
	PROP_CHOICE(struct ide_drive, write_cache, "write-cache", "auto", cache_names,
		    "whether it is on at first; auto: by the drive's cache="),
	PROP(struct ide_drive, rotation_rate, PROP_U16, "rotation_rate", NULL,
	     "in a minute; 1: it does not rotate, 0: not told"),
	PROP_RANGE(struct ide_drive, discard_granularity, PROP_SIZE, "discard_granularity", NULL,
		   512, 2u << 20, "of TRIM, 512 at least"),
	PROP(struct ide_drive, logical_block_size, PROP_SIZE, "logical_block_size", "512",
	     "of a sector: 512"),
	PROP_RANGE(struct ide_drive, physical_block_size, PROP_SIZE, "physical_block_size", NULL,
		   512, 32u << 20, "of a block of the host's, a power of two; else the drive's"),
	PROP_END,
};

const struct dev_class ide_hd_class = {
	.name = "ide-hd",
	.desc = "IDE disk",
	.bus = DEV_BUS_IDE,
	.size = sizeof(struct ide_drive),
	.props = hd_props,
	.init = hd_init,
	.fini = drive_fini,
};

static const struct prop cd_props[] = { DRIVE_PROPS, PROP_END };

const struct dev_class ide_cd_class = {
	.name = "ide-cd",
	.desc = "IDE CD and DVD drive",
	.bus = DEV_BUS_IDE,
	.size = sizeof(struct ide_drive),
	.props = cd_props,
	.init = cd_init,
	.fini = drive_fini,
};
