/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE from the inside: what the files of this folder share.
 *
 *   piix3_ide.c   the PCI function: where the ports are, reset
 *   ide_port.c    a channel: task file, selection, resets, PIO (ATA/ATAPI-6)
 *   bmdma.c       its bus master: registers and descriptor tables (82371SB)
 *   ide_bell.c    doorbells by which it is started
 *   ide_io.c      requests to the block layer and back
 *   ata.c         commands of disks; ata_identify.c, ata_smart.c: what they tell of themselves
 *   atapi.c       packet commands (SFF-8020i, MMC); atapi_data.c: what they answer
 *   ide_drive.c   the devices ide-hd and ide-cd
 *
 * Threads: a channel's lock guards the channel and its drives. vCPU threads
 * hold it in every register access and never wait there for a drive: requests
 * are handed to the main loop, on which they are submitted and end. Nothing may be
 * held when a drive is drained.
 */
#ifndef POSADA_HW_IDE_INT_H
#define POSADA_HW_IDE_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "bus.h"
#include "dev.h"
#include "log.h"
#include "loop.h"

struct gmem;
struct ide_channel;
struct ide_drive;
struct irq;
struct machine;

/* Registers by their offset from the command block's first port. */
enum ide_reg {
	IDE_DATA,
	IDE_FEATURE, /* read: error */
	IDE_COUNT, /* of packet commands: interrupt reason */
	IDE_LBA_LOW, /* sector number */
	IDE_LBA_MID, /* cylinder low; of packet commands: byte count low */
	IDE_LBA_HIGH, /* cylinder high; byte count high */
	IDE_DEVICE,
	IDE_COMMAND, /* read: status */
	IDE_REGS
};

enum ide_status {
	IDE_ERR = 0x01, /* of packet commands: CHK */
	IDE_DRQ = 0x08,
	IDE_DSC = 0x10, /* seek complete */
	IDE_DF = 0x20, /* device fault */
	IDE_DRDY = 0x40,
	IDE_BSY = 0x80,
};

enum ide_error {
	IDE_ABRT = 0x04,
	IDE_IDNF = 0x10, /* there is no such sector */
	IDE_UNC = 0x40, /* its data cannot be read */
};

enum ide_device_bits { IDE_DEV1 = 0x10, IDE_LBA = 0x40, IDE_DEVICE_ONES = 0xa0 };
enum ide_control { IDE_NIEN = 0x02, IDE_SRST = 0x04, IDE_HOB = 0x80 };

enum {
	IDE_SECTOR = 512,
	IDE_BUFFER = 64 << 10, /* of a drive */
	IDE_PRD_MOST = 8192, /* entries of a table: it does not cross 64 KiB */
	IDE_BELLS = 2, /* of a channel: to start its bus master in either direction */
};

/* --- the bus master (bmdma.c) --- */

enum ide_bm_bits {
	IDE_BM_START = 0x01, /* command */
	IDE_BM_TO_MEMORY = 0x08,
	IDE_BM_ACTIVE = 0x01, /* status */
	IDE_BM_ERROR = 0x02,
	IDE_BM_INT = 0x04,
	IDE_BM_CAPABLE = 0x60,
};

struct ide_bm {
	uint8_t command, status;
	uint32_t table;
	bool armed; /* started, and nothing has been moved since */
	struct ide_drive *owner; /* whose data are being moved; a request may be in flight */
	bool exhausted, is_short; /* the transfer takes all that the table describes; wants more */
	struct iovec *iov; /* IDE_PRD_MOST of them */
};

enum ide_dma_end {
	IDE_DMA_DONE,
	IDE_DMA_SHORT, /* the drive has more, for which there is no memory: it waits for ever */
	IDE_DMA_STOPPED, /* by the guest */
};

/* Guest memory that a table describes. */
struct ide_map {
	struct iovec *iov;
	unsigned n;
	uint64_t len; /* at most what was asked for */
	bool bad; /* the table or an address in it is not memory: nothing is moved */
};

/* --- requests (ide_io.c) --- */

/* What a drive does with the block layer: one thing at a time. */
struct ide_io {
	struct blk_req req;
	bool queued; /* to be submitted by the main loop */
	bool in_flight;
	bool abandoned; /* by a reset: its end is all that matters */
	enum blk_op op;
	unsigned flags;
	unsigned grain; /* bytes: the smallest part that is tried by itself when a larger failed */
	uint64_t off, left, piece;
	struct iovec *iov, *part; /* what is left of the buffers; a piece of them, malloc'd */
	unsigned n_iov;
	struct iovec one;
	/* ret: 0 or -errno, off then is where it failed. The channel's lock is held. */
	void (*done)(struct ide_drive *d, int ret);
};

/* --- a packet device (atapi.c) --- */

struct ide_cd {
	bool loaded; /* a medium is in, and the tray is closed */
	bool tray_open, locked;
	bool reset_due, change_due; /* unit attention: power-on; another medium */
	uint8_t event; /* of the media class, to be told once */
	uint32_t sense; /* SENSE() of the last command; 0: none */
	uint32_t sense_info; /* the block, when have_info */
	bool have_info;
	uint32_t bad; /* why there is no answer */
	uint32_t blocks; /* of 2048 bytes */
	uint32_t good_blocks; /* of them: those that are wholly in the image */
	bool move_tray, move_to_open; /* the main loop is to */
	uint8_t recovery, retries; /* mode page 01 */
	/* the command */
	uint8_t packet[12];
	unsigned limit; /* bytes that a DRQ may bring, even */
	bool dma;
	unsigned fill, at; /* bytes in the buffer; of them: moved */
	uint32_t lba, n_blocks; /* what is to be read after them */
	unsigned block_len; /* bytes of a block as the host gets it */
	struct ide_map map; /* of DMA through the buffer, and how much is in it */
	uint64_t done;
};

/* --- drives --- */

struct ide_geometry {
	uint32_t cyls, heads, secs;
};

struct ide_drive {
	struct dev dev;
	/* properties */
	char *drive_id, *bus, *serial, *model, *version;
	uint32_t unit_choice, bootindex;
	uint32_t cyls, heads, secs;
	uint16_t rotation_rate;
	uint64_t logical_block_size, physical_block_size, discard_granularity;
	int write_cache;

	struct ide_channel *ch; /* NULL: not attached */
	unsigned unit;
	bool atapi;
	struct blk *blk;
	char serial_text[21], model_text[41], version_text[9];
	struct log_limit log;
	uint64_t sectors; /* of 512 bytes */

	/* task file: [0] written last, [1] before that */
	uint8_t reg[IDE_COMMAND][2];
	uint8_t status, error;
	bool intrq;
	bool resetting; /* signature and status are due when its request has ended */
	bool diagnosing; /* ... and an interrupt: EXECUTE DEVICE DIAGNOSTIC */
	uint8_t command;

	uint8_t *buf; /* IDE_BUFFER bytes */
	unsigned pos, end; /* of buf: what the host is to read or write by PIO */
	void (*pio_done)(struct ide_drive *d); /* it has */

	/* The drive is ready for a transfer by DMA; called when the bus master is, too */
	uint64_t dma_len;
	bool dma_to_memory;
	void (*dma_go)(struct ide_drive *d, const struct ide_map *map);

	struct ide_io io;

	/* disks */
	struct ide_geometry now; /* as INITIALIZE DEVICE PARAMETERS set it */
	uint8_t multiple; /* sectors of a block; 0: off */
	uint8_t transfer_mode;
	bool smart, lookahead;
	bool write_cache_on, wanted_cache;
	bool default_cache;
	uint8_t power; /* what CHECK POWER MODE tells */
	bool asleep;
	uint64_t lba; /* of the command under way: next sector that goes through the buffer */
	uint64_t left; /* sectors */
	unsigned block; /* sectors that each DRQ brings */
	unsigned held, taken; /* bytes in the buffer, and of them: taken by the host */
	bool lba48;
	unsigned io_flags;

	struct ide_cd cd;
};

struct ide_channel {
	pthread_mutex_t lock;
	struct machine *m;
	const struct pci_fn *fn; /* the controller */
	unsigned index;
	const struct irq *irq;
	bool irq_level; /* as it was last set */
	uint8_t selected; /* the drive whose registers are read */
	uint8_t control;
	bool master; /* the PCI function may master the bus */
	struct ide_drive *drive[2];
	struct ide_bm bm;
	bool posted; /* ide_run_queued is on its way to the main loop */
	bool in_done; /* ... or will be called by the caller of a done */
	struct io_region command_ports, control_port, bm_ports;
	struct {
		int fd; /* -1: none */
		struct loop_fd watch;
	} bell[IDE_BELLS];
};

/* --- ide_port.c; the channel's lock is held --- */
void ide_channel_init(struct ide_channel *ch, struct machine *m, unsigned index);
void ide_channel_fini(struct ide_channel *ch);
/* To power-on state, with its drives. Lock not held; no vCPU running. */
void ide_channel_reset(struct ide_channel *ch);
/* Signature, status and diagnostic code after a reset of any kind. */
void ide_finish_reset(struct ide_drive *d);
/* The interrupt line follows the drives. */
void ide_update_irq(struct ide_channel *ch);
void ide_raise(struct ide_drive *d);
/* The command ends: status without BSY, an interrupt. */
void ide_end(struct ide_drive *d);
void ide_fail(struct ide_drive *d, uint8_t error);
/* Data of the buffer for the host to read or write; done when it has. */
void ide_pio(struct ide_drive *d, unsigned pos, unsigned end, void (*done)(struct ide_drive *d));
extern const struct io_ops ide_command_ops, ide_control_ops;

/* --- piix3_ide.c --- */
/* NULL: the machine has no controller. Main thread. */
struct ide_channel *ide_find_channel(struct machine *m, unsigned index);

/* --- bmdma.c --- */
extern const struct io_ops ide_bm_ops;
void ide_bm_reset(struct ide_bm *bm);
/*
 * The drive wants to move len bytes; go is called at once or when the bus master is
 * started. It calls ide_dma_done when it is over, before it raises the interrupt.
 */
void ide_dma(struct ide_drive *d, uint64_t len, bool to_memory,
	     void (*go)(struct ide_drive *d, const struct ide_map *map));
/* Both sides may be ready now. */
void ide_dma_try(struct ide_channel *ch);
enum ide_dma_end ide_dma_done(struct ide_channel *ch);
/* The guest has stopped the bus master under this drive's transfer. */
bool ide_dma_stopped(const struct ide_drive *d);
/* The drive waits for somebody to take or bring more data. */
void ide_dma_starve(struct ide_drive *d);

/* What is written to the command register. */
void ide_bm_command(struct ide_channel *ch, uint8_t val);

/* --- ide_bell.c --- */
void ide_bell_init(struct ide_channel *ch);
void ide_bell_fini(struct ide_channel *ch);
/* The bus master's ports have been mapped. No lock of the channel's held. */
void ide_bell_map(struct ide_channel *ch);
/* Carries out what was written by doorbell. */
void ide_bell_hear(struct ide_channel *ch);
/* The same where it could make a difference: before an access that is not the bus master's. */
static inline void ide_bell_sync(struct ide_channel *ch)
{
	for (unsigned i = 0; i < 2; i++)
		if (ch->drive[i] && ch->drive[i]->dma_go)
			ide_bell_hear(ch);
}

/* --- ide_io.c --- */
/* Reads, writes, discards or flushes; off and len are bytes. iov must stay until done. */
void ide_submit(struct ide_drive *d, enum blk_op op, unsigned flags, uint64_t off, uint64_t len,
		struct iovec *iov, unsigned n_iov, void (*done)(struct ide_drive *d, int ret));
/* The same with the first len bytes of what a table describes. */
void ide_submit_map(struct ide_drive *d, enum blk_op op, unsigned flags, uint64_t off, uint64_t len,
		    const struct ide_map *map, void (*done)(struct ide_drive *d, int ret));
/* The same with the drive's buffer. */
void ide_submit_buffer(struct ide_drive *d, enum blk_op op, unsigned flags, uint64_t off,
		       unsigned len, void (*done)(struct ide_drive *d, int ret));
/* Asks the main loop to call ide_run_queued. */
void ide_post(struct ide_channel *ch);
/* Main loop, lock held: submits what is queued. */
void ide_run_queued(struct ide_channel *ch);
/* Forgets the drive's request; true while it is still in flight, and the drive must stay busy. */
bool ide_abandon(struct ide_drive *d);
/* blk_client.take: struct ide_drive *ctx. Lock not held. */
void ide_take(void *ctx);
/* Main thread, lock not held: waits for the drive's request. */
void ide_drain(struct ide_drive *d);

/* --- ata.c --- */
void ata_command(struct ide_drive *d);
void ata_power_on(struct ide_drive *d);
/* Bytes of the buffer that the host reads as the command's answer. */
void ata_answer(struct ide_drive *d, unsigned len);
/* By SET FEATURES, subcommand 03: false when there is no such mode. */
bool ata_set_transfer_mode(struct ide_drive *d);

/* --- ata_identify.c, ata_smart.c --- */
void ata_identify(const struct ide_drive *d, uint8_t *out);
void atapi_identify(const struct ide_drive *d, uint8_t *out);
void ata_smart(struct ide_drive *d);

/* --- atapi.c --- */
void atapi_command(struct ide_drive *d);
void atapi_power_on(struct ide_drive *d);
/* Main loop, lock held: what only it may do for the drive. */
void atapi_main_loop(struct ide_drive *d);
void atapi_medium_changed(struct ide_drive *d);
void atapi_eject_request(struct ide_drive *d);

/* 16-bit words of IDENTIFY data, and numbers as packets have them. */
static inline void ide_put16(uint8_t *buf, unsigned word, uint16_t val)
{
	buf[2 * word] = (uint8_t)val;
	buf[2 * word + 1] = (uint8_t)(val >> 8);
}

#endif
