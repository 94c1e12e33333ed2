/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packet devices: how a command packet, its data and its status go over the
 * task file (ATA/ATAPI-6, section 9.8; SFF-8020i, section 5), and the commands of a CD and
 * DVD drive (SFF-8020i, section 10; MMC-6). What commands only tell is made in
 * atapi_data.c. Commands begin on vCPU threads and go on where their requests
 * end, the main loop; always under the channel's lock.
 */
#include "atapi.h"

#include <errno.h>
#include <string.h>

#include "iov.h"

/* The interrupt reason register: what the host is to do next. */
enum { REASON_STATUS = 0x03, REASON_PACKET = 0x01, REASON_READ = 0x02, REASON_WRITE = 0x00 };

enum { PACKET_DMA = 0x01, PACKET_OVERLAP = 0x02, LIMIT_MOST = 0xfffe };

/* --- the end of a packet command --------------------------------------------------------- */

void atapi_good(struct ide_drive *d)
{
	d->reg[IDE_COUNT][0] = REASON_STATUS;
	ide_end(d);
}

/* CHECK CONDITION: sense says why. */
void atapi_check(struct ide_drive *d, uint32_t sense)
{
	d->cd.sense = sense;
	d->reg[IDE_COUNT][0] = REASON_STATUS;
	ide_fail(d, (uint8_t)(SENSE_KEY(sense) << 4 | IDE_ABRT));
}

static void check_at(struct ide_drive *d, uint32_t sense, uint32_t lba)
{
	atapi_check(d, sense);
	d->cd.sense_info = lba;
	d->cd.have_info = true;
}

/* Neither memory for its data, nor an end: what the bus did to the command. */
static void dma_broken(struct ide_drive *d)
{
	atapi_check(d, SENSE_ABORTED);
}

/* --- data to the host ---------------------------------------------------------------------- */

static void refill(struct ide_drive *d);

static void chunk_taken(struct ide_drive *d);

/* The next part of what is in the buffer: whole blocks, if the host allows that many bytes. */
static void next_chunk(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;
	unsigned n = cd->fill - cd->at;

	if (n > cd->limit)
		n = cd->limit;
	if (n > cd->block_len && n < cd->fill - cd->at)
		n -= n % cd->block_len;
	d->reg[IDE_COUNT][0] = REASON_READ;
	d->reg[IDE_LBA_MID][0] = (uint8_t)n;
	d->reg[IDE_LBA_HIGH][0] = (uint8_t)(n >> 8);
	ide_pio(d, cd->at, cd->at + n, chunk_taken);
	ide_raise(d);
}

static void chunk_taken(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;

	cd->at = d->end;
	if (cd->at < cd->fill)
		next_chunk(d);
	else if (cd->n_blocks)
		refill(d);
	else
		atapi_good(d);
}

/* The buffer's bytes into the guest's memory; they begin there at cd->done. */
static void dma_out_of_buffer(struct ide_drive *d, const struct ide_map *map)
{
	struct ide_cd *cd = &d->cd;

	cd->done += iov_from_buf(map->iov, map->n, cd->done, d->buf, cd->fill);
}

static void end_of_dma(struct ide_drive *d)
{
	switch (ide_dma_done(d->ch)) {
	case IDE_DMA_STOPPED:
		dma_broken(d);
		break;
	case IDE_DMA_SHORT:
		ide_dma_starve(d);
		break;
	case IDE_DMA_DONE:
		atapi_good(d);
		break;
	}
}

static bool bad_map(struct ide_drive *d, const struct ide_map *map)
{
	if (!map->bad)
		return false;
	ide_dma_done(d->ch);
	dma_broken(d);
	return true;
}

static void reply_by_dma(struct ide_drive *d, const struct ide_map *map)
{
	if (bad_map(d, map))
		return;
	dma_out_of_buffer(d, map);
	end_of_dma(d);
}

/* The answer, len bytes of the buffer; the host has room for room bytes. */
static void reply(struct ide_drive *d, unsigned len, unsigned room)
{
	struct ide_cd *cd = &d->cd;

	cd->fill = len < room ? len : room;
	cd->at = cd->n_blocks = 0;
	cd->done = 0;
	cd->block_len = 1;
	if (!cd->fill)
		atapi_good(d);
	else if (cd->dma)
		ide_dma(d, cd->fill, true, reply_by_dma);
	else
		next_chunk(d);
}

/* --- reading blocks -------------------------------------------------------------------------- */

static void read_failed(struct ide_drive *d, int ret)
{
	if (ret == -ENOMEDIUM)
		atapi_check(d, SENSE_NO_MEDIUM);
	else
		check_at(d, SENSE_UNREADABLE, (uint32_t)(d->io.off / CD_BLOCK));
}

/* The end of what the image has, within the medium: as a drive sees a scratch. */
static bool at_missing_end(struct ide_drive *d)
{
	if (d->cd.lba < d->cd.good_blocks)
		return false;
	if (d->cd.loaded)
		check_at(d, SENSE_UNREADABLE, d->cd.lba);
	else
		atapi_check(d, SENSE_NO_MEDIUM);
	return true;
}

static void next_of_dma(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;

	dma_out_of_buffer(d, &cd->map);
	if (cd->n_blocks && cd->done < cd->map.len)
		refill(d);
	else
		end_of_dma(d);
}

/* Blocks were read into the buffer; of raw reads they get their frames there. */
static void filled(struct ide_drive *d, int ret)
{
	struct ide_cd *cd = &d->cd;
	unsigned n =
		(unsigned)((ret ? d->io.off - (uint64_t)cd->lba * CD_BLOCK : cd->fill) / CD_BLOCK);

	if (ret && (!n || ret == -ECANCELED)) {
		if (cd->dma)
			ide_dma_done(d->ch);
		if (ret == -ECANCELED)
			dma_broken(d);
		else
			read_failed(d, ret);
		return;
	}
	if (cd->block_len == CD_FRAME)
		atapi_frames(d->buf, cd->lba, n);
	cd->fill = n * cd->block_len;
	cd->at = 0;
	cd->lba += n;
	cd->n_blocks -= n;
	if (cd->dma)
		next_of_dma(d);
	else
		next_chunk(d);
}

static void refill(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;
	uint32_t n = IDE_BUFFER / cd->block_len;

	if (cd->n_blocks < n)
		n = cd->n_blocks;
	if (at_missing_end(d)) {
		if (cd->dma)
			ide_dma_done(d->ch);
		return;
	}
	if (n > cd->good_blocks - cd->lba)
		n = cd->good_blocks - cd->lba;
	cd->fill = n * CD_BLOCK;
	ide_submit_buffer(d, BLK_READ, 0, (uint64_t)cd->lba * CD_BLOCK, cd->fill, filled);
}

static void raw_by_dma(struct ide_drive *d, const struct ide_map *map)
{
	if (bad_map(d, map))
		return;
	d->cd.map = *map;
	refill(d);
}

/* Plain blocks go to guest memory directly. */
static void blocks_read(struct ide_drive *d, int ret)
{
	struct ide_cd *cd = &d->cd;

	if (!ret && cd->lba + cd->n_blocks > cd->good_blocks) {
		ide_dma_done(d->ch);
		check_at(d, SENSE_UNREADABLE, cd->good_blocks);
	} else if (ret && ret != -ECANCELED) {
		ide_dma_done(d->ch);
		read_failed(d, ret);
	} else {
		end_of_dma(d);
	}
}

static void blocks_by_dma(struct ide_drive *d, const struct ide_map *map)
{
	struct ide_cd *cd = &d->cd;
	uint64_t there =
		cd->lba < cd->good_blocks ? (uint64_t)(cd->good_blocks - cd->lba) * CD_BLOCK : 0;

	if (bad_map(d, map))
		return;
	if (!there) {
		blocks_read(d, 0);
		return;
	}
	ide_submit_map(d, BLK_READ, 0, (uint64_t)cd->lba * CD_BLOCK,
		       there < map->len ? there : map->len, map, blocks_read);
}

static void read_blocks(struct ide_drive *d, uint32_t lba, uint32_t n, unsigned block_len)
{
	struct ide_cd *cd = &d->cd;

	if (lba > cd->blocks || n > cd->blocks - lba) {
		atapi_check(d, SENSE_BEYOND_END);
		return;
	}
	cd->lba = lba;
	cd->n_blocks = n;
	cd->block_len = block_len;
	cd->done = 0;
	if (!n)
		atapi_good(d);
	else if (!cd->dma)
		refill(d);
	else
		ide_dma(d, (uint64_t)n * block_len, true,
			block_len == CD_BLOCK ? blocks_by_dma : raw_by_dma);
}

static void read_10(struct ide_drive *d)
{
	read_blocks(d, cdb32(d, 2), cdb16(d, 7), CD_BLOCK);
}

static void read_12(struct ide_drive *d)
{
	read_blocks(d, cdb32(d, 2), cdb32(d, 6), CD_BLOCK);
}

/* Which parts of a block byte 9 asks for: the data alone, or all of the 2352 bytes. */
static void read_cd_range(struct ide_drive *d, uint32_t lba, uint32_t n)
{
	const uint8_t *p = d->cd.packet;
	unsigned type = p[1] >> 2 & 7, parts = p[9] & 0xf8;

	if (type != CD_ANY_TYPE && type != CD_MODE_1)
		atapi_check(d, SENSE_WRONG_TRACK);
	else if (!parts)
		atapi_good(d);
	else if ((parts != 0x10 && parts != 0xf8) || p[10] & 7)
		atapi_check(d, SENSE_BAD_FIELD);
	else
		read_blocks(d, lba, n, parts == 0x10 ? CD_BLOCK : CD_FRAME);
}

static void read_cd(struct ide_drive *d)
{
	read_cd_range(d, cdb32(d, 2), (uint32_t)d->cd.packet[6] << 16 | cdb16(d, 7));
}

static uint32_t msf(const uint8_t *p)
{
	return ((uint32_t)p[0] * 60 + p[1]) * 75 + p[2];
}

static void read_cd_msf(struct ide_drive *d)
{
	uint32_t from = msf(d->cd.packet + 3), to = msf(d->cd.packet + 6);

	if (from < CD_LEAD_IN || to < from)
		atapi_check(d, SENSE_BAD_FIELD);
	else
		read_cd_range(d, from - CD_LEAD_IN, to - from);
}

static void seek(struct ide_drive *d)
{
	if (cdb32(d, 2) >= d->cd.blocks)
		atapi_check(d, SENSE_BEYOND_END);
	else
		atapi_good(d);
}

/* --- tray and medium -----------------------------------------------------------------------------
 */

static void prevent_removal(struct ide_drive *d)
{
	d->cd.locked = d->cd.packet[4] & 1;
	blk_set_tray_lock(d->blk, d->cd.locked);
	atapi_good(d);
}

/* The tray is the main loop's; until it has moved the drive is busy. */
static void start_stop(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;
	bool load_eject = cd->packet[4] & 2, start = cd->packet[4] & 1;

	if (cd->packet[4] >> 4 || !load_eject) {
		atapi_good(d);
	} else if (!start && cd->locked) {
		atapi_check(d, SENSE_LOCKED);
	} else {
		cd->move_tray = true;
		cd->move_to_open = !start;
		d->status = IDE_BSY;
		ide_post(d->ch);
	}
}

static void look_at_medium(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;
	uint64_t size = blk_image_size(d->blk), blocks = (size + CD_BLOCK - 1) / CD_BLOCK;
	bool was_there = cd->loaded;

	cd->tray_open = blk_tray_open(d->blk);
	cd->loaded = blk_has_medium(d->blk) && !cd->tray_open;
	cd->blocks = blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks;
	cd->good_blocks = size / CD_BLOCK < cd->blocks ? (uint32_t)(size / CD_BLOCK) : cd->blocks;
	if (cd->loaded) {
		cd->change_due = true;
		cd->event = EVENT_NEW_MEDIUM;
	} else if (was_there) {
		cd->event = EVENT_REMOVED;
	}
}

void atapi_main_loop(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;

	cd->move_tray = false;
	if (cd->move_to_open != cd->tray_open) {
		blk_move_tray(d->blk, cd->move_to_open);
		look_at_medium(d);
	}
	atapi_good(d);
}

void atapi_medium_changed(struct ide_drive *d)
{
	look_at_medium(d);
}

void atapi_eject_request(struct ide_drive *d)
{
	d->cd.event = EVENT_EJECT_REQUEST;
}

/* --- MODE SELECT: parameters from the host ------------------------------------------------------
 */

static void parameters_given(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;
	uint32_t sense;

	cd->at = d->end;
	if (cd->at < cd->fill) {
		atapi_want(d);
		return;
	}
	sense = atapi_mode_select(d);
	if (sense)
		atapi_check(d, sense);
	else
		atapi_good(d);
}

void atapi_want(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;
	unsigned n = cd->fill - cd->at < cd->limit ? cd->fill - cd->at : cd->limit;

	d->reg[IDE_COUNT][0] = REASON_WRITE;
	d->reg[IDE_LBA_MID][0] = (uint8_t)n;
	d->reg[IDE_LBA_HIGH][0] = (uint8_t)(n >> 8);
	ide_pio(d, cd->at, cd->at + n, parameters_given);
	ide_raise(d);
}

static void parameters_by_dma(struct ide_drive *d, const struct ide_map *map)
{
	uint32_t sense;

	if (bad_map(d, map))
		return;
	iov_to_buf(map->iov, map->n, 0, d->buf, map->len);
	sense = map->len == d->cd.fill ? atapi_mode_select(d) : 0;
	if (!sense) {
		end_of_dma(d);
		return;
	}
	ide_dma_done(d->ch);
	atapi_check(d, sense);
}

static void mode_select(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;

	cd->fill = cdb16(d, 7);
	cd->at = 0;
	if (cd->fill > IDE_BUFFER)
		cd->fill = IDE_BUFFER;
	if (!cd->fill)
		atapi_good(d);
	else if (cd->dma)
		ide_dma(d, cd->fill, false, parameters_by_dma);
	else
		atapi_want(d);
}

/* --- packets
 * ----------------------------------------------------------------------------------------- */

enum { MEDIUM = 0x01, /* needs one */ ALWAYS = 0x02 /* is carried out whatever has happened */ };

/* Either runs, or makes an answer; room for that is a number in the packet. */
static const struct packet_command {
	void (*run)(struct ide_drive *d);
	int (*answer)(struct ide_drive *d, uint8_t *out);
	uint8_t room_at, room_bytes;
	uint8_t flags;
} commands[256] = {
	[0x00] = { .run = atapi_good, .flags = MEDIUM }, /* TEST UNIT READY */
	[0x03] = { .answer = atapi_request_sense, .room_at = 4, .room_bytes = 1, .flags = ALWAYS },
	[0x12] = { .answer = atapi_inquiry, .room_at = 3, .room_bytes = 2, .flags = ALWAYS },
	[0x1b] = { .run = start_stop },
	[0x1e] = { .run = prevent_removal },
	[0x25] = { .answer = atapi_read_capacity, .flags = MEDIUM },
	[0x28] = { .run = read_10, .flags = MEDIUM },
	[0x2b] = { .run = seek, .flags = MEDIUM },
	[0x35] = { .run = atapi_good }, /* SYNCHRONIZE CACHE */
	[0x42] = { .answer = atapi_read_subchannel,
		   .room_at = 7,
		   .room_bytes = 2,
		   .flags = MEDIUM },
	[0x43] = { .answer = atapi_read_toc, .room_at = 7, .room_bytes = 2, .flags = MEDIUM },
	[0x46] = { .answer = atapi_get_configuration,
		   .room_at = 7,
		   .room_bytes = 2,
		   .flags = ALWAYS },
	[0x4a] = { .answer = atapi_get_event, .room_at = 7, .room_bytes = 2, .flags = ALWAYS },
	[0x51] = { .answer = atapi_disc_information,
		   .room_at = 7,
		   .room_bytes = 2,
		   .flags = MEDIUM },
	[0x52] = { .answer = atapi_track_information,
		   .room_at = 7,
		   .room_bytes = 2,
		   .flags = MEDIUM },
	[0x55] = { .run = mode_select },
	[0x5a] = { .answer = atapi_mode_sense, .room_at = 7, .room_bytes = 2 },
	[0xa8] = { .run = read_12, .flags = MEDIUM },
	[0xad] = { .answer = atapi_dvd_structure, .room_at = 8, .room_bytes = 2, .flags = MEDIUM },
	[0xb9] = { .run = read_cd_msf, .flags = MEDIUM },
	[0xbb] = { .run = atapi_good }, /* SET CD SPEED */
	[0xbd] = { .answer = atapi_mechanism_status, .room_at = 8, .room_bytes = 2 },
	[0xbe] = { .run = read_cd, .flags = MEDIUM },
};

/* What has happened since the last command is told first. */
static bool attention(struct ide_drive *d)
{
	uint32_t sense = atapi_take_attention(d);

	if (sense)
		atapi_check(d, sense);
	return sense != 0;
}

static unsigned room(const struct ide_drive *d, const struct packet_command *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->room_bytes; i++)
		n = n << 8 | d->cd.packet[c->room_at + i];
	return c->room_bytes ? n : IDE_BUFFER;
}

static void packet(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;
	const struct packet_command *c;
	int len;

	memcpy(cd->packet, d->buf, sizeof(cd->packet));
	c = &commands[cd->packet[0]];
	d->status = IDE_DRDY | IDE_DSC;
	if (c->answer != atapi_request_sense) {
		cd->sense = 0;
		cd->have_info = false;
	}
	if (!(c->flags & ALWAYS) && attention(d))
		return;
	if (!c->run && !c->answer) {
		atapi_check(d, SENSE_BAD_COMMAND);
		return;
	}
	if (c->flags & MEDIUM && !cd->loaded) {
		atapi_check(d, cd->tray_open ? SENSE_TRAY_OPEN : SENSE_NO_MEDIUM);
		return;
	}
	if (c->run) {
		c->run(d);
		return;
	}
	memset(d->buf, 0, CD_ANSWER_MOST);
	len = c->answer(d, d->buf);
	if (len < 0)
		atapi_check(d, cd->bad);
	else
		reply(d, (unsigned)len, room(d, c));
}

/* --- ATA commands
 * ---------------------------------------------------------------------------------- */

static void begin_packet(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;

	if (d->reg[IDE_FEATURE][0] & PACKET_OVERLAP) {
		ide_fail(d, IDE_ABRT);
		return;
	}
	cd->dma = d->reg[IDE_FEATURE][0] & PACKET_DMA;
	cd->limit = d->reg[IDE_LBA_MID][0] | (unsigned)d->reg[IDE_LBA_HIGH][0] << 8;
	cd->limit &= ~1u;
	if (!cd->limit)
		cd->limit = LIMIT_MOST;
	d->reg[IDE_COUNT][0] = REASON_PACKET;
	ide_pio(d, 0, sizeof(cd->packet), packet); /* without an interrupt: see IDENTIFY, word 0 */
}

static void no_disk(struct ide_drive *d)
{
	ide_finish_reset(d);
	ide_fail(d, IDE_ABRT);
}

void atapi_command(struct ide_drive *d)
{
	switch (d->command) {
	case 0xa0:
		begin_packet(d);
		break;
	case 0xa1:
		atapi_identify(d, d->buf);
		ata_answer(d, IDE_SECTOR);
		break;
	case 0x20: /* READ SECTORS, IDENTIFY DEVICE: who tries these sees that it is no disk */
	case 0xec:
		no_disk(d);
		break;
	case 0xef:
		if (d->reg[IDE_FEATURE][0] == 0x03 && ata_set_transfer_mode(d))
			ide_end(d);
		else
			ide_fail(d, IDE_ABRT);
		break;
	case 0xe5: /* CHECK POWER MODE */
		d->reg[IDE_COUNT][0] = 0xff;
		ide_end(d);
		break;
	case 0xe0: /* STANDBY, IDLE and SLEEP: a drive without a disc in motion has nothing to stop
		    */
	case 0xe1:
	case 0xe2:
	case 0xe3:
	case 0xe7: /* FLUSH CACHE */
		ide_end(d);
		break;
	case 0xe6:
		ide_end(d);
		d->asleep = true;
		break;
	default:
		ide_fail(d, IDE_ABRT);
	}
}

void atapi_power_on(struct ide_drive *d)
{
	struct ide_cd *cd = &d->cd;

	*cd = (struct ide_cd){ .reset_due = true };
	d->transfer_mode = 0x22;
	blk_set_tray_lock(d->blk, false);
	look_at_medium(d);
	cd->change_due = false;
	cd->event = 0;
}
