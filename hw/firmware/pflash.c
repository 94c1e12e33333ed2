/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallel flash below 4 GiB, for firmware (unit 0) and its variables (unit 1, below
 * that): bytes wide, in blocks of 4 KiB, with Intel's command set (JEDEC JESD68 and Intel AP-646,
 * Common Flash Interface, vendor command set 1; the 28F128J3 data sheet for commands and status).
 * -drive if=pflash,unit=N.
 *
 * It is read as memory, without leaving the guest. Writes leave it, and so do reads while it
 * shows its status or identification. What was programmed goes to the drive from the main
 * loop; nothing is lost that was there when the guest stopped. vCPU threads, main loop;
 * dev->lock guards everything but the bytes that are being written out.
 */
#include "dev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "block.h"
#include "bus.h"
#include "err.h"
#include "firmware.h"
#include "log.h"
#include "loop.h"
#include "machine.h"
#include "props.h"

enum { BLOCK = 4096, BUFFER = 2048, SIZE_MAX_ALL = 16 << 20 };

enum command {
	READ_ARRAY = 0xff,
	READ_ID = 0x90,
	READ_QUERY = 0x98,
	READ_STATUS = 0x70,
	CLEAR_STATUS = 0x50,
	PROGRAM = 0x40,
	PROGRAM_2 = 0x10,
	PROGRAM_BUFFER = 0xe8,
	ERASE = 0x20,
	LOCK = 0x60,
	CONFIRM = 0xd0,
};

enum status {
	READY = 0x80,
	ERASE_FAILED = 0x20,
	PROGRAM_FAILED = 0x10,
	SEQUENCE_WRONG = ERASE_FAILED | PROGRAM_FAILED,
	LOCKED = 0x02,
};

struct pflash {
	struct dev dev;
	/* properties */
	char *drive_id;

	struct blk *blk;
	uint8_t *data;
	uint64_t size, base;
	bool readonly;
	struct mem_region memory;
	struct io_region io;
	struct log_limit log;

	uint8_t shows; /* READ_ARRAY, READ_ID, READ_QUERY or READ_STATUS */
	uint8_t command; /* whose further cycles are due; 0: none */
	uint8_t status;
	unsigned buffer_left; /* bytes of PROGRAM_BUFFER still to come */
	bool buffer_counted;
	uint8_t buffer[BUFFER];
	uint64_t buffer_at; /* of its first byte, and how many there are */
	unsigned buffer_n;

	/* What the drive does not have yet; lo == hi: nothing. */
	uint64_t dirty_lo, dirty_hi;
	struct pflash_call *call; /* on its way to the main loop; NULL: none */
	bool in_flight, write_failed;
	struct blk_req req;
	struct iovec iov;
};

/* --- to the drive ---------------------------------------------------------------------- */

static void written(struct blk_req *req, int ret);

static void add_dirty(struct pflash *p, uint64_t off, uint64_t len)
{
	if (p->dirty_lo == p->dirty_hi) {
		p->dirty_lo = off;
		p->dirty_hi = off + len;
	}
	p->dirty_lo = off < p->dirty_lo ? off : p->dirty_lo;
	p->dirty_hi = off + len > p->dirty_hi ? off + len : p->dirty_hi;
}

/* Main loop, dev->lock held. */
static void write_out(struct pflash *p)
{
	if (p->in_flight || p->dirty_lo == p->dirty_hi)
		return;
	p->iov = (struct iovec){ p->data + p->dirty_lo, p->dirty_hi - p->dirty_lo };
	p->req = (struct blk_req){ .op = BLK_WRITE,
				   .off = p->dirty_lo,
				   .len = p->iov.iov_len,
				   .iov = &p->iov,
				   .n_iov = 1,
				   .done = written };
	p->dirty_lo = p->dirty_hi = 0;
	p->in_flight = true;
	blk_submit(p->blk, &p->req);
}

static void written(struct blk_req *req, int ret)
{
	struct pflash *p = (struct pflash *)((char *)req - offsetof(struct pflash, req));

	if (ret && !p->write_failed)
		log_warn("flash %s: what the guest programmed could not be written: %s",
			 p->drive_id, strerror(-ret));
	pthread_mutex_lock(&p->dev.lock);
	p->write_failed = ret != 0;
	p->in_flight = false;
	/* It is tried again with the next change, and when the VM stops or ends. */
	if (ret)
		add_dirty(p, req->off, req->len);
	else
		write_out(p);
	pthread_mutex_unlock(&p->dev.lock);
}

static void take(void *ctx)
{
	struct pflash *p = ctx;

	pthread_mutex_lock(&p->dev.lock);
	write_out(p);
	pthread_mutex_unlock(&p->dev.lock);
}

/* What is posted may come when the flash is gone. */
struct pflash_call {
	struct pflash *p;
};

static void posted(void *ctx)
{
	struct pflash_call *call = ctx;

	if (call->p) {
		pthread_mutex_lock(&call->p->dev.lock);
		call->p->call = NULL;
		pthread_mutex_unlock(&call->p->dev.lock);
		take(call->p);
	}
	free(call);
}

static void changed(struct pflash *p, uint64_t off, uint64_t len)
{
	add_dirty(p, off, len);
	if (p->call)
		return;
	p->call = malloc(sizeof(*p->call));
	if (p->call) { /* else the next change, a stop or the end takes it */
		p->call->p = p;
		loop_post(p->dev.m->loop, posted, p->call);
	}
}

/* --- cells -------------------------------------------------------------------------------- */

/* Programming clears bits, and sets none. */
static void program(struct pflash *p, uint64_t off, const uint8_t *bytes, uint64_t len)
{
	if (p->readonly || len > p->size - off) {
		p->status |= PROGRAM_FAILED | (p->readonly ? LOCKED : 0);
		return;
	}
	for (uint64_t i = 0; i < len; i++)
		p->data[off + i] &= bytes[i];
	changed(p, off, len);
}

static void erase(struct pflash *p, uint64_t off)
{
	off -= off % BLOCK;
	if (p->readonly) {
		p->status |= ERASE_FAILED | LOCKED;
		return;
	}
	memset(p->data + off, 0xff, BLOCK);
	changed(p, off, BLOCK);
}

/* --- commands ------------------------------------------------------------------------------- */

/* Reads leave the guest unless the array is shown. */
static void show(struct pflash *p, uint8_t what)
{
	bool was_array = p->shows == READ_ARRAY;

	p->shows = what;
	if (was_array != (what == READ_ARRAY))
		memmap_set(&p->dev.m->map, &p->memory, what == READ_ARRAY ? p->data : NULL, true);
}

static void begin(struct pflash *p, uint8_t command)
{
	switch (command) {
	case READ_ARRAY:
	case READ_ID:
	case READ_QUERY:
	case READ_STATUS:
		show(p, command);
		return;
	case CLEAR_STATUS:
		p->status = READY;
		return;
	case PROGRAM:
	case PROGRAM_2:
	case PROGRAM_BUFFER:
	case ERASE:
	case LOCK:
		p->command = command;
		p->buffer_counted = false;
		p->buffer_n = 0;
		show(p, READ_STATUS);
		return;
	default:
		log_guest(&p->log, "pflash", "there is no command 0x%02x", command);
		show(p, READ_ARRAY);
	}
}

static void wrong_sequence(struct pflash *p)
{
	p->status |= SEQUENCE_WRONG;
	p->command = 0;
}

/* The count less one, then that many bytes at rising places, then CONFIRM. */
static void buffer_cycle(struct pflash *p, uint64_t off, uint64_t val, unsigned size)
{
	if (!p->buffer_counted) {
		p->buffer_counted = true;
		p->buffer_left = (unsigned)(val & 0xffff) + 1;
		p->buffer_at = off;
		if (p->buffer_left > BUFFER)
			wrong_sequence(p);
		return;
	}
	if (!p->buffer_left) {
		if ((uint8_t)val == CONFIRM) {
			program(p, p->buffer_at, p->buffer, p->buffer_n);
			p->command = 0;
		} else {
			wrong_sequence(p);
		}
		return;
	}
	if (!p->buffer_n)
		p->buffer_at = off;
	if (off != p->buffer_at + p->buffer_n || size > p->buffer_left) {
		wrong_sequence(p);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		p->buffer[p->buffer_n++] = (uint8_t)(val >> 8 * i);
	p->buffer_left -= size;
}

static void pflash_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct pflash *p = dev;
	uint8_t bytes[8];

	switch (p->command) {
	case 0:
		begin(p, (uint8_t)val);
		break;
	case PROGRAM:
	case PROGRAM_2:
		for (unsigned i = 0; i < size; i++)
			bytes[i] = (uint8_t)(val >> 8 * i);
		program(p, off, bytes, size);
		p->command = 0;
		break;
	case ERASE:
		if ((uint8_t)val == CONFIRM)
			erase(p, off);
		else
			p->status |= SEQUENCE_WRONG;
		p->command = 0;
		break;
	case LOCK: /* blocks are never locked, and locking one does nothing */
		p->command = 0;
		break;
	default:
		buffer_cycle(p, off, val, size);
	}
}

/* --- what is read ---------------------------------------------------------------------------- */

/* CFI: the query structure from 0x10 on. */
static uint8_t query(const struct pflash *p, uint64_t off)
{
	unsigned blocks = (unsigned)(p->size / BLOCK) - 1, log2 = 0;
	const uint8_t table[] = {
		[0x10] = 'Q',
		'R',
		'Y',
		0x01,
		0,
		0x31,
		0,
		0,
		0,
		0,
		0,
		[0x1b] = 0x45,
		0x55,
		0,
		0, /* 4.5 to 5.5 V */
		[0x1f] = 0x07,
		0x07,
		0x0a,
		0,
		0x04,
		0x04,
		0x04,
		0, /* times: typical, most */
		[0x28] = 0,
		0,
		11,
		0, /* 8 bits wide; a buffer of 2^11 */
		[0x2c] = 1,
		(uint8_t)blocks,
		(uint8_t)(blocks >> 8),
		(uint8_t)(BLOCK / 256),
		0,
		[0x31] = 'P',
		'R',
		'I',
		'1',
		'0',
	};

	while ((uint64_t)1 << log2 < p->size)
		log2++;
	if (off == 0x27)
		return (uint8_t)log2;
	return off < sizeof(table) ? table[off] : 0;
}

static uint8_t read_byte(const struct pflash *p, uint64_t off)
{
	switch (p->shows) {
	case READ_ARRAY: /* written to just now */
		return p->data[off];
	case READ_ID: /* manufacturer, device, the block's lock */
		off %= BLOCK;
		return off == 0 ? 0x89 : off == 1 ? 0x18 : off == 2 ? p->readonly : 0;
	case READ_QUERY:
		return query(p, off);
	default:
		return p->status;
	}
}

static uint64_t pflash_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)read_byte(dev, off + i) << 8 * i;
	return val;
}

static const struct io_ops pflash_ops = { .read = pflash_read, .write = pflash_write };

/* --- life --------------------------------------------------------------------------------------
 */

static const struct blk_client client = { .take = take };

static void loaded(struct blk_req *req, int ret)
{
	struct pflash *p = (struct pflash *)((char *)req - offsetof(struct pflash, req));

	p->in_flight = ret != 0;
}

/* All of the drive. */
static int load(struct pflash *p, struct err *e)
{
	p->data = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->data == MAP_FAILED) {
		p->data = NULL;
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	p->iov = (struct iovec){ p->data, p->size };
	p->req = (struct blk_req){
		.op = BLK_READ, .len = p->size, .iov = &p->iov, .n_iov = 1, .done = loaded
	};
	p->in_flight = true;
	blk_submit(p->blk, &p->req);
	blk_drain(p->blk);
	if (!p->in_flight)
		return 0;
	p->in_flight = false;
	return err_set(e, ERR_INPUT, EIO, "it cannot be read");
}

/* Below what is there already. */
static int place(struct pflash *p, struct err *e)
{
	struct firmware *f = p->dev.m->bios;

	p->size = blk_size(p->blk);
	if (!p->size || p->size % BLOCK || blk_image_size(p->blk) != p->size) {
		err_set(e, ERR_INPUT, EINVAL,
			"its size of %llu bytes is not a multiple of 4 KiB, as a flash has",
			(unsigned long long)blk_image_size(p->blk));
		err_hint(e, "OVMF's are OVMF_CODE.fd and OVMF_VARS.fd");
		return -EINVAL;
	}
	if (p->size > SIZE_MAX_ALL || f->base - p->size < FIRMWARE_TOP - SIZE_MAX_ALL) {
		err_set(e, ERR_INPUT, EFBIG, "with it there are more than 16 MiB of flash");
		return -EFBIG;
	}
	p->base = f->base - p->size;
	return 0;
}

static int map(struct pflash *p, struct err *e)
{
	struct machine *m = p->dev.m;
	int rc;

	p->memory = (struct mem_region){
		.name = "pflash", .host = p->data, .size = p->size, .readonly = true, .prio = 1
	};
	p->io = (struct io_region){ .name = "pflash",
				    .ops = &pflash_ops,
				    .dev = p,
				    .lock = &p->dev.lock,
				    .size = p->size };
	rc = memmap_map(&m->map, &p->memory, p->base);
	if (rc)
		return err_set(e, ERR_HOST, -rc, "KVM refused memory for it: %s", strerror(-rc));
	bus_map(&m->mmio, &p->io, p->base);
	if (m->bios->base == FIRMWARE_TOP) /* the first: below 1 MiB, too */
		m->bios->rom = (struct rom){ p->data, p->size, p->size };
	m->bios->base = p->base;
	return 0;
}

static void pflash_reset(struct dev *d)
{
	struct pflash *p = (struct pflash *)d;

	p->command = 0;
	p->status = READY;
	show(p, READ_ARRAY);
}

static int pflash_init(struct dev *d, struct err *e)
{
	struct pflash *p = (struct pflash *)d;
	struct blk *b;
	int rc = blk_get(d->m->blks, p->drive_id, &b, e);

	p->shows = READ_ARRAY;
	p->status = READY;
	p->log = (struct log_limit)LOG_LIMIT_INIT;
	rc = rc ? rc : blk_attach(b, &client, p, !blk_readonly(b), d->m->loop, e);
	if (rc)
		return rc;
	p->blk = b;
	p->readonly = blk_readonly(b);
	rc = place(p, e);
	rc = rc ? rc : load(p, e);
	return rc ? rc : map(p, e);
}

static void pflash_fini(struct dev *d)
{
	struct pflash *p = (struct pflash *)d;

	if (bus_mapped(&p->io))
		bus_unmap(&p->io);
	if (p->data && d->m->bios && d->m->bios->rom.host == p->data)
		d->m->bios->rom = (struct rom){ 0 };
	memmap_unmap(&d->m->map, &p->memory);
	if (p->call)
		p->call->p = NULL;
	if (p->blk) {
		take(p);
		blk_detach(p->blk);
	}
	if (p->data)
		munmap(p->data, p->size);
}

static const struct prop pflash_props[] = {
	PROP(struct pflash, drive_id, PROP_DRIVE, "drive", NULL, "what is in it"), PROP_END
};

const struct dev_class pflash_class = {
	.name = "pflash",
	.desc = "parallel flash (Intel command set)",
	.bus = DEV_BUS_SYSTEM,
	.internal = true,
	.size = sizeof(struct pflash),
	.props = pflash_props,
	.init = pflash_init,
	.reset = pflash_reset,
	.fini = pflash_fini,
};
