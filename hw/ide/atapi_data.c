/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a CD and DVD drive tells of itself and its medium: SFF-8020i, section 10,
 * and MMC-6, section 6. A medium is one session with one data track, a DVD
 * when it is larger than any CD. Under the channel's lock.
 */
#include <string.h>

#include "atapi.h"

enum { CD_BLOCKS_MOST = 80 * 60 * 75 + 75 * 60 * 10 }; /* 90 minutes */
enum { PROFILE_NONE = 0, PROFILE_CD = 0x08, PROFILE_DVD = 0x10 };
enum { DATA_TRACK = 0x14, LEAD_OUT = 0xaa };

static void put16(uint8_t *p, uint32_t val)
{
	p[0] = (uint8_t)(val >> 8);
	p[1] = (uint8_t)val;
}

static void put32(uint8_t *p, uint32_t val)
{
	put16(p, val >> 16);
	put16(p + 2, val);
}

static int refuse(struct ide_drive *d, uint32_t sense)
{
	d->cd.bad = sense;
	return -1;
}

static bool is_dvd(const struct ide_drive *d)
{
	return d->cd.blocks > CD_BLOCKS_MOST;
}

/* Minute, second and frame of a block. */
static void put_msf(uint8_t *p, uint32_t lba)
{
	uint32_t frame = lba + CD_LEAD_IN;

	p[0] = (uint8_t)(frame / (60 * 75));
	p[1] = (uint8_t)(frame / 75 % 60);
	p[2] = (uint8_t)(frame % 75);
}

/* As a block's number, or as its time: four bytes. */
static void put_place(uint8_t *p, uint32_t lba, bool as_msf)
{
	if (as_msf)
		put_msf(p + 1, lba);
	else
		put32(p, lba);
}

static uint8_t bcd(unsigned n)
{
	return (uint8_t)(n / 10 % 10 << 4 | n % 10);
}

/* Error correction is left out: who reads frames of an image looks at data. From the last on, for
 * frames are longer. */
void atapi_frames(uint8_t *buf, uint32_t lba, unsigned n)
{
	while (n--) {
		uint8_t *to = buf + (size_t)n * CD_FRAME, at[3];

		memmove(to + 16, buf + (size_t)n * CD_BLOCK, CD_BLOCK);
		memset(to, 0xff, 12);
		to[0] = to[11] = 0;
		put_msf(at, lba + n);
		for (unsigned i = 0; i < 3; i++)
			to[12 + i] = bcd(at[i]);
		to[15] = 1; /* mode */
		memset(to + 16 + CD_BLOCK, 0, CD_FRAME - 16 - CD_BLOCK);
	}
}

/* --- the drive -------------------------------------------------------------------------- */

uint32_t atapi_take_attention(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;

	if (cd->reset_due) {
		cd->reset_due = false;
		return SENSE_RESET;
	}
	if (cd->change_due) {
		cd->change_due = false;
		return SENSE_CHANGED;
	}
	return 0;
}

int atapi_request_sense(struct ide_drive *d, uint8_t *out)
{
	struct ide_cd *cd = &d->cd;
	uint32_t sense = cd->sense ? cd->sense : atapi_take_attention(d);

	out[0] = cd->have_info ? 0xf0 : 0x70;
	out[2] = (uint8_t)(sense >> 16);
	if (cd->have_info)
		put32(out + 3, cd->sense_info);
	out[7] = 10; /* bytes behind this one */
	out[12] = (uint8_t)(sense >> 8);
	out[13] = (uint8_t)sense;
	cd->sense = 0;
	cd->have_info = false;
	return 18;
}

static void put_text(uint8_t *p, size_t len, const char *text)
{
	memset(p, ' ', len);
	memcpy(p, text, strlen(text) < len ? strlen(text) : len);
}

/* The vendor is the model's first word. */
int atapi_inquiry(struct ide_drive *d, uint8_t *out)
{
	size_t vendor = strcspn(d->model_text, " ");
	const char *product = d->model_text + vendor + strspn(d->model_text + vendor, " ");
	char name[9] = "";

	if (d->cd.packet[1] & 3 || d->cd.packet[2])
		return refuse(d, SENSE_BAD_FIELD);
	memcpy(name, d->model_text, vendor < 8 ? vendor : 8);
	out[0] = 0x05; /* a CD or DVD drive */
	out[1] = 0x80; /* removable medium */
	out[3] = 0x21; /* ATAPI; this form of answer */
	out[4] = 31;
	put_text(out + 8, 8, name);
	put_text(out + 16, 16, *product ? product : d->model_text);
	put_text(out + 32, 4, d->version_text);
	return 36;
}

int atapi_mechanism_status(struct ide_drive *d, uint8_t *out)
{
	out[1] = d->cd.tray_open ? 0x10 : 0;
	out[5] = 1;
	return 8;
}

/* Class 4, media, is the only one in which anything ever happens. */
int atapi_get_event(struct ide_drive *d, uint8_t *out)
{
	struct ide_cd *cd = &d->cd;

	if (!(cd->packet[1] & 1)) /* only when asked, never by itself */
		return refuse(d, SENSE_BAD_FIELD);
	out[3] = 0x10; /* what there is */
	if (!(cd->packet[4] & 0x10)) {
		put16(out, 2);
		out[2] = 0x80;
		return 4;
	}
	put16(out, 6);
	out[2] = 0x04;
	out[4] = cd->event;
	out[5] = (uint8_t)((cd->loaded ? 2 : 0) | (cd->tray_open ? 1 : 0));
	cd->event = 0;
	return 8;
}

/* --- features (MMC-6, section 5.3) ---------------------------------------------------------- */

struct feature {
	uint16_t code;
	uint8_t flags; /* version << 2, persistent, current */
	uint8_t len, data[8];
};

enum { F_CURRENT = 1, F_ALWAYS = 3, F_CD = 4, F_DVD = 8 /* current with such a medium */ };

static const struct feature features[] = {
	{ 0x0001, F_ALWAYS | 2 << 2, 8, { 0, 0, 0, 2, 1 } }, /* core, over ATAPI */
	{ 0x0002, F_ALWAYS | 1 << 2, 4, { 2 } }, /* events are polled for */
	{ 0x0003, F_ALWAYS, 4, { 0x29 } }, /* tray, eject, lock */
	{ 0x0010, 0, 8, { 0, 0, 8, 0, 0, 1 } }, /* random reading of 2048 bytes */
	{ 0x001d, 0, 0, { 0 } }, /* multi-read */
	{ 0x001e, 2 << 2, 4, { 0 } }, /* CD read */
	{ 0x001f, 0, 4, { 0 } }, /* DVD read */
	{ 0x0100, F_ALWAYS, 0, { 0 } }, /* power management */
	{ 0x0105, F_ALWAYS, 4, { 0 } }, /* timeout */
};

static bool feature_current(const struct ide_drive *d, const struct feature *f)
{
	if (f->flags & F_CURRENT)
		return true;
	if (!d->cd.loaded)
		return false;
	return f->code == 0x001e ? !is_dvd(d) : f->code == 0x001f ? is_dvd(d) : true;
}

static uint8_t *put_profiles(const struct ide_drive *d, uint8_t *p, uint16_t profile)
{
	static const uint16_t profiles[] = { PROFILE_DVD, PROFILE_CD };

	put16(p, 0);
	p[2] = F_ALWAYS;
	p[3] = 8;
	p += 4;
	for (unsigned i = 0; i < 2; i++, p += 4) {
		put16(p, profiles[i]);
		p[2] = profiles[i] == profile;
	}
	return p;
}

int atapi_get_configuration(struct ide_drive *d, uint8_t *out)
{
	unsigned which = d->cd.packet[1] & 3, from = cdb16(d, 2);
	uint16_t profile = !d->cd.loaded ? PROFILE_NONE : is_dvd(d) ? PROFILE_DVD : PROFILE_CD;
	uint8_t *p = out + 8;

	if (which == 3)
		return refuse(d, SENSE_BAD_FIELD);
	if (!from)
		p = put_profiles(d, p, profile);
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];
		bool current = feature_current(d, f);

		if (which == 2 ? f->code != from : f->code < from || (which == 1 && !current))
			continue;
		put16(p, f->code);
		p[2] = (uint8_t)((f->flags & ~1) | current);
		p[3] = f->len;
		memcpy(p + 4, f->data, f->len);
		p += 4 + f->len;
	}
	put32(out, (uint32_t)(p - out) - 4);
	put16(out + 6, profile);
	return (int)(p - out);
}

/* --- mode pages (SFF-8020i, section 10.8.6) -------------------------------------------------- */

enum { PAGE_RECOVERY = 0x01, PAGE_AUDIO = 0x0e, PAGE_POWER = 0x1a, PAGE_TIMEOUT = 0x1d };
enum { PAGE_CAPABILITIES = 0x2a, PAGE_ALL = 0x3f };
enum { MODE_HEADER = 8, PAGE_CHANGEABLE = 1, PAGE_SAVED = 3 };

static const struct page {
	uint8_t code, len; /* bytes behind these two */
	uint8_t data[20];
} pages[] = {
	{ PAGE_RECOVERY, 6, { 0x00, 0x05 } },
	{ PAGE_AUDIO, 14, { 0x04, 0, 0, 0, 0, 0x4b, 1, 0xff, 2, 0xff } },
	{ PAGE_POWER, 10, { 0 } },
	{ PAGE_TIMEOUT, 8, { 0, 0, 0, 0, 0, 0x3c, 0, 0x3c } },
	/* reads CD-R, CD-RW and DVD-ROM, multi-session, mode 2; tray, lock, eject; speeds in KB/s
	 */
	{ PAGE_CAPABILITIES,
	  20,
	  { 0x3b, 0x00, 0x70, 0x00, 0x29, 0x00, 0x02, 0xc2, 0x00, 0x02, 0x02, 0x00, 0x02, 0xc2 } },
};

static uint8_t *put_page(const struct ide_drive *d, const struct page *page, unsigned what,
			 uint8_t *p)
{
	p[0] = page->code;
	p[1] = page->len;
	if (what != PAGE_CHANGEABLE)
		memcpy(p + 2, page->data, page->len);
	if (page->code == PAGE_RECOVERY) {
		p[2] = what == PAGE_CHANGEABLE ? 0xff : what ? page->data[0] : d->cd.recovery;
		p[3] = what == PAGE_CHANGEABLE ? 0xff : what ? page->data[1] : d->cd.retries;
	}
	if (page->code == PAGE_CAPABILITIES && what != PAGE_CHANGEABLE && d->cd.locked)
		p[6] |= 0x02;
	return p + 2 + page->len;
}

static uint8_t medium_type(const struct ide_drive *d)
{
	if (d->cd.tray_open)
		return 0x71;
	return d->cd.loaded ? 0x01 : 0x70;
}

int atapi_mode_sense(struct ide_drive *d, uint8_t *out)
{
	unsigned code = d->cd.packet[2] & 0x3f, what = d->cd.packet[2] >> 6;
	uint8_t *p = out + MODE_HEADER;

	if (what == PAGE_SAVED)
		return refuse(d, SENSE_NOT_SAVED);
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (code == PAGE_ALL || pages[i].code == code)
			p = put_page(d, &pages[i], what, p);
	if (p == out + MODE_HEADER)
		return refuse(d, SENSE_BAD_FIELD);
	put16(out, (uint32_t)(p - out) - 2);
	out[2] = medium_type(d);
	return (int)(p - out);
}

/* Only error recovery is remembered; of the other pages the form is looked at. */
uint32_t atapi_mode_select(struct ide_drive *d)
{
	const uint8_t *p = d->buf + MODE_HEADER, *end = d->buf + d->cd.fill;

	if (d->cd.fill < MODE_HEADER)
		return SENSE_BAD_LENGTH;
	while (p < end) {
		size_t i = 0, n = sizeof(pages) / sizeof(pages[0]);

		if (end - p < 2)
			return SENSE_BAD_LENGTH;
		while (i < n && pages[i].code != (p[0] & 0x3f))
			i++;
		if (i == n)
			return SENSE_BAD_PARAMETER;
		if (p[1] > end - p - 2 || p[1] < 2)
			return SENSE_BAD_LENGTH;
		if (pages[i].code == PAGE_RECOVERY) {
			d->cd.recovery = p[2];
			d->cd.retries = p[3];
		}
		p += 2 + p[1];
	}
	return 0;
}

/* --- the medium ----------------------------------------------------------------------------- */

int atapi_read_capacity(struct ide_drive *d, uint8_t *out)
{
	put32(out, d->cd.blocks ? d->cd.blocks - 1 : 0);
	put32(out + 4, CD_BLOCK);
	return 8;
}

/* Where a head stands that plays nothing. */
int atapi_read_subchannel(struct ide_drive *d, uint8_t *out)
{
	bool as_msf = d->cd.packet[1] & 2;

	out[1] = 0x15; /* no audio */
	if (!(d->cd.packet[2] & 0x40))
		return 4;
	if (d->cd.packet[3] != 1)
		return refuse(d, SENSE_BAD_FIELD);
	put16(out + 2, 12);
	out[4] = 1;
	out[5] = DATA_TRACK;
	out[6] = out[7] = 1;
	put_place(out + 8, 0, as_msf);
	put_place(out + 12, 0, as_msf);
	return 16;
}

static uint8_t *put_track(uint8_t *p, uint8_t number, uint32_t lba, bool as_msf)
{
	p[1] = DATA_TRACK;
	p[2] = number;
	put_place(p + 4, lba, as_msf);
	return p + 8;
}

static int toc(struct ide_drive *d, uint8_t *out)
{
	bool as_msf = d->cd.packet[1] & 2;
	uint8_t from = d->cd.packet[6], *p = out + 4;

	if (from > 1 && from != LEAD_OUT)
		return refuse(d, SENSE_BAD_FIELD);
	out[2] = out[3] = 1; /* first and last track */
	if (from <= 1)
		p = put_track(p, 1, 0, as_msf);
	p = put_track(p, LEAD_OUT, d->cd.blocks, as_msf);
	put16(out, (uint32_t)(p - out) - 2);
	return (int)(p - out);
}

static int session_info(struct ide_drive *d, uint8_t *out)
{
	put16(out, 10);
	out[2] = out[3] = 1;
	put_track(out + 4, 1, 0, d->cd.packet[1] & 2);
	return 12;
}

/* As the lead-in has it: an entry each for first track, last track, lead-out, and the track. */
static int full_toc(struct ide_drive *d, uint8_t *out)
{
	static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };
	uint8_t *p = out + 4;

	out[2] = out[3] = 1;
	for (unsigned i = 0; i < sizeof(points); i++, p += 11) {
		p[0] = 1; /* session */
		p[1] = DATA_TRACK;
		p[3] = points[i];
		if (points[i] == 0xa2)
			put_msf(p + 8, d->cd.blocks);
		else if (points[i] == 1)
			put_msf(p + 8, 0);
		else
			p[8] = 1;
	}
	put16(out, (uint32_t)(p - out) - 2);
	return (int)(p - out);
}

/* The format is in byte 2; SFF-8020i has it in the last one. */
int atapi_read_toc(struct ide_drive *d, uint8_t *out)
{
	unsigned format = d->cd.packet[2] & 0x0f;

	switch (format ? format : d->cd.packet[9] >> 6) {
	case 0:
		return toc(d, out);
	case 1:
		return session_info(d, out);
	case 2:
		return full_toc(d, out);
	default:
		return refuse(d, SENSE_BAD_FIELD);
	}
}

int atapi_disc_information(struct ide_drive *d, uint8_t *out)
{
	if (d->cd.packet[1] & 7)
		return refuse(d, SENSE_BAD_FIELD);
	put16(out, 32);
	out[2] = 0x0e; /* complete, and its last session too */
	out[3] = out[4] = out[5] = out[6] =
		1; /* first track; sessions; first and last track of it */
	out[7] = 0x20; /* unrestricted use */
	put32(out + 16, UINT32_MAX); /* of lead-in and lead-out: nothing can be added */
	put32(out + 20, UINT32_MAX);
	return 34;
}

/* By a block's address, a track's or a session's number: all are the one. */
int atapi_track_information(struct ide_drive *d, uint8_t *out)
{
	unsigned by = d->cd.packet[1] & 3;
	uint32_t n = cdb32(d, 2);

	if (by == 3 || (by ? n != 1 : n >= d->cd.blocks))
		return refuse(d, SENSE_BAD_FIELD);
	put16(out, 34);
	out[2] = out[3] = 1;
	out[5] = 0x04; /* data */
	out[6] = 0x01;
	put32(out + 24, d->cd.blocks);
	return 36;
}

int atapi_dvd_structure(struct ide_drive *d, uint8_t *out)
{
	if (d->cd.packet[1] & 0x0f)
		return refuse(d, SENSE_BAD_FIELD);
	if (!is_dvd(d))
		return refuse(d, SENSE_WRONG_MEDIUM);
	switch (d->cd.packet[7]) {
	case 0: /* physical format */
		if (d->cd.packet[6])
			return refuse(d, SENSE_BAD_FIELD);
		put16(out, 2048 + 2);
		out[4] = 0x01; /* DVD-ROM, version 1 */
		out[5] = 0x0f; /* 120 mm, any speed */
		out[6] = 0x01; /* one layer, embossed */
		put32(out + 8, 0x30000);
		put32(out + 12, 0x30000 + d->cd.blocks - 1);
		return 2048 + 4;
	case 1: /* copyright: none */
		put16(out, 6);
		return 8;
	case 4: /* what the manufacturer says: nothing */
		put16(out, 2048 + 2);
		return 2048 + 4;
	default:
		return refuse(d, SENSE_BAD_FIELD);
	}
}
