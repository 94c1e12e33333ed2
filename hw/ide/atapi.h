/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CD and DVD drive's two halves: the protocol and commands that move
 * something (atapi.c), and answers (atapi_data.c).
 */
#ifndef POSADA_HW_ATAPI_H
#define POSADA_HW_ATAPI_H

#include "ide_int.h"

enum {
	CD_BLOCK = 2048,
	CD_FRAME = 2352, /* with sync, header and error correction */
	CD_LEAD_IN = 150, /* blocks before the first: address 00:02:00 */
	CD_ANSWER_MOST = 4096,
};

/* Kinds of blocks that READ CD can ask for. */
enum { CD_ANY_TYPE = 0, CD_MODE_1 = 2 };

/* Sense key, additional sense code and its qualifier. */
#define SENSE(key, asc, ascq) ((uint32_t)((key) << 16 | (asc) << 8 | (ascq)))
#define SENSE_KEY(sense) ((sense) >> 16)
#define SENSE_NO_MEDIUM SENSE(2, 0x3a, 0x01)
#define SENSE_TRAY_OPEN SENSE(2, 0x3a, 0x02)
#define SENSE_UNREADABLE SENSE(3, 0x11, 0x00)
#define SENSE_BAD_COMMAND SENSE(5, 0x20, 0x00)
#define SENSE_BEYOND_END SENSE(5, 0x21, 0x00)
#define SENSE_BAD_FIELD SENSE(5, 0x24, 0x00)
#define SENSE_BAD_PARAMETER SENSE(5, 0x26, 0x00)
#define SENSE_BAD_LENGTH SENSE(5, 0x1a, 0x00)
#define SENSE_NOT_SAVED SENSE(5, 0x39, 0x00)
#define SENSE_WRONG_MEDIUM SENSE(5, 0x30, 0x02)
#define SENSE_LOCKED SENSE(5, 0x53, 0x02)
#define SENSE_WRONG_TRACK SENSE(5, 0x64, 0x00)
#define SENSE_CHANGED SENSE(6, 0x28, 0x00)
#define SENSE_RESET SENSE(6, 0x29, 0x00)
#define SENSE_ABORTED SENSE(0xb, 0x00, 0x00)

/* Events of the media class (MMC-6, table 292). */
enum { EVENT_EJECT_REQUEST = 1, EVENT_NEW_MEDIUM = 2, EVENT_REMOVED = 3 };

static inline uint16_t cdb16(const struct ide_drive *d, unsigned at)
{
	return (uint16_t)(d->cd.packet[at] << 8 | d->cd.packet[at + 1]);
}

static inline uint32_t cdb32(const struct ide_drive *d, unsigned at)
{
	return (uint32_t)cdb16(d, at) << 16 | cdb16(d, at + 2);
}

/* --- atapi.c --- */
void atapi_good(struct ide_drive *d);
void atapi_check(struct ide_drive *d, uint32_t sense);
/* The host is to write the next bytes of cd->fill. */
void atapi_want(struct ide_drive *d);

/* --- atapi_data.c --- */
/*
 * Answers: into out, CD_ANSWER_MOST zeroes; how many bytes, or -1 with cd->bad set to
 * the sense.
 */
int atapi_request_sense(struct ide_drive *d, uint8_t *out);
int atapi_inquiry(struct ide_drive *d, uint8_t *out);
int atapi_read_capacity(struct ide_drive *d, uint8_t *out);
int atapi_read_subchannel(struct ide_drive *d, uint8_t *out);
int atapi_read_toc(struct ide_drive *d, uint8_t *out);
int atapi_get_configuration(struct ide_drive *d, uint8_t *out);
int atapi_get_event(struct ide_drive *d, uint8_t *out);
int atapi_disc_information(struct ide_drive *d, uint8_t *out);
int atapi_track_information(struct ide_drive *d, uint8_t *out);
int atapi_mode_sense(struct ide_drive *d, uint8_t *out);
int atapi_dvd_structure(struct ide_drive *d, uint8_t *out);
int atapi_mechanism_status(struct ide_drive *d, uint8_t *out);

/* The sense of what has happened to the drive and was not told yet; 0: nothing. */
uint32_t atapi_take_attention(struct ide_drive *d);
/* Parameters are in the buffer, cd->fill bytes: 0, or the sense of what is wrong with them. */
uint32_t atapi_mode_select(struct ide_drive *d);
/* n blocks of 2048 bytes in buf become as many of 2352. */
void atapi_frames(uint8_t *buf, uint32_t lba, unsigned n);

#endif
