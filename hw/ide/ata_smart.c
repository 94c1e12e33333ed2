/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMART (ATA/ATAPI-6, section 8.55): a disk that is well, with the few
 * attributes that tools look for. Under the channel's lock.
 */
#include <string.h>

#include "ide_int.h"

enum { KEY_MID = 0x4f, KEY_HIGH = 0xc2 };

/* Values of the feature register. */
enum smart_command {
	READ_DATA = 0xd0,
	READ_THRESHOLDS = 0xd1,
	AUTOSAVE = 0xd2,
	SAVE = 0xd3,
	EXECUTE_OFFLINE = 0xd4,
	READ_LOG = 0xd5,
	ENABLE = 0xd8,
	DISABLE = 0xd9,
	RETURN_STATUS = 0xda,
};

enum smart_log { LOG_DIRECTORY, LOG_ERRORS, LOG_SELF_TESTS = 6 };

static const struct {
	uint8_t id, flags, threshold;
	uint8_t raw;
} attributes[] = {
	{ 1, 0x03, 6, 0 }, /* read errors */
	{ 3, 0x03, 0, 0 }, /* spin-up time */
	{ 4, 0x02, 20, 1 }, /* starts */
	{ 5, 0x03, 36, 0 }, /* reallocated sectors */
	{ 9, 0x03, 0, 1 }, /* hours */
	{ 12, 0x03, 0, 1 }, /* power cycles */
	{ 190, 0x03, 69, 31 }, /* temperature */
};

enum { ATTRIBUTE = 12, N_ATTRIBUTES = sizeof(attributes) / sizeof(attributes[0]) };

static void checksum(uint8_t *buf)
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < IDE_SECTOR - 1; i++)
		sum = (uint8_t)(sum + buf[i]);
	buf[IDE_SECTOR - 1] = (uint8_t)-sum;
}

static void answer(struct ide_drive *d)
{
	checksum(d->buf);
	ata_answer(d, IDE_SECTOR);
}

static void read_data(struct ide_drive *d)
{
	uint8_t *buf = d->buf;

	memset(buf, 0, IDE_SECTOR);
	buf[0] = 1; /* revision */
	for (unsigned i = 0; i < N_ATTRIBUTES; i++) {
		uint8_t *a = buf + 2 + i * ATTRIBUTE;

		a[0] = attributes[i].id;
		a[1] = attributes[i].flags;
		a[3] = a[4] = 100; /* now and at worst */
		a[5] = attributes[i].raw;
	}
	buf[362] = 0x02; /* off-line tests: done, and none under way */
	buf[364] = 0x20; /* seconds of one */
	buf[367] = 0x19; /* off-line and self-tests */
	buf[368] = 0x03; /* attributes are saved */
	buf[370] = 0x01; /* there are error logs */
	buf[372] = 2; /* minutes of a short self-test */
	buf[373] = 54;
	answer(d);
}

static void read_thresholds(struct ide_drive *d)
{
	memset(d->buf, 0, IDE_SECTOR);
	d->buf[0] = 1;
	for (unsigned i = 0; i < N_ATTRIBUTES; i++) {
		d->buf[2 + i * ATTRIBUTE] = attributes[i].id;
		d->buf[3 + i * ATTRIBUTE] = attributes[i].threshold;
	}
	answer(d);
}

static void read_log(struct ide_drive *d)
{
	memset(d->buf, 0, IDE_SECTOR);
	switch (d->reg[IDE_LBA_LOW][0]) {
	case LOG_DIRECTORY:
		d->buf[0] = 1;
		d->buf[2 * LOG_ERRORS] = 1; /* sectors of it */
		d->buf[2 * LOG_SELF_TESTS] = 1;
		ata_answer(d, IDE_SECTOR);
		break;
	case LOG_ERRORS:
	case LOG_SELF_TESTS:
		d->buf[0] = 1;
		answer(d);
		break;
	default:
		ide_fail(d, IDE_ABRT);
	}
}

void ata_smart(struct ide_drive *d)
{
	uint8_t what = d->reg[IDE_FEATURE][0];

	if (d->reg[IDE_LBA_MID][0] != KEY_MID || d->reg[IDE_LBA_HIGH][0] != KEY_HIGH ||
	    (!d->smart && what != ENABLE)) {
		ide_fail(d, IDE_ABRT);
		return;
	}
	switch (what) {
	case READ_DATA:
		read_data(d);
		break;
	case READ_THRESHOLDS:
		read_thresholds(d);
		break;
	case READ_LOG:
		read_log(d);
		break;
	case ENABLE:
	case DISABLE:
		d->smart = what == ENABLE;
		ide_end(d);
		break;
	case RETURN_STATUS: /* the key itself: no threshold has been passed */
	case AUTOSAVE:
	case SAVE:
	case EXECUTE_OFFLINE: /* tests end at once, and well */
		ide_end(d);
		break;
	default:
		ide_fail(d, IDE_ABRT);
	}
}
