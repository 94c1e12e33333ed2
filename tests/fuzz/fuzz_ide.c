/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a hostile driver of an IDE channel with a disk and a CD drive. The input is
 * a program of it: it writes registers, packets and tables for DMA, moves data by string
 * instructions, resets drives, channel and machine, while a fake block layer completes
 * requests in any order, and some with errors, and media come and go. Whatever the block layer
 * is given must lie within the disk and its buffers within memory; guest memory is written
 * to only while the bus master says that it is active. Run with tests/fuzz/corpus/ide.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "dev.h"
#include "err.h"
#include "iov.h"
#include "loop.h"
#include "machine.h"
#include "opts.h"
#include "pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_class i440fx_class, piix3_class, piix3_ide_class, ide_hd_class,
	ide_cd_class;

enum { RAM = 1 << 20, DISK = 1 << 20, PENDING_MOST = 16, IDE_FN = 1 << 3 | 1 };
enum { COMMAND = 0x1f0, CONTROL = 0x3f6, BM = 0xc000, TABLES = 0x10000, BUFFER_MOST = 64 << 10 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* --- the input ------------------------------------------------------------------- */

static const uint8_t *in;
static size_t left;

static uint8_t byte(void)
{
	if (!left)
		return 0;
	left--;
	return *in++;
}

static uint32_t number(unsigned bytes)
{
	uint32_t n = 0;

	while (bytes--)
		n = n << 8 | byte();
	return n;
}

/* --- the machine's rest ---------------------------------------------------------------- */

static struct machine m;
static uint8_t contents[DISK];

const struct dev_class *const dev_classes[] = { NULL };

const struct dev_class *dev_class_find(const char *name)
{
	return NULL;
}

int dev_unknown(const char *name, struct err *e)
{
	return -ENODEV;
}

static void port_out(uint16_t port, uint32_t val, unsigned size)
{
	bus_write(&m.pio, port, &val, size);
}

static uint32_t port_in(uint16_t port, unsigned size)
{
	uint32_t val = 0;

	bus_read(&m.pio, port, &val, size);
	return val;
}

static struct {
	void (*fn)(void *ctx);
	void *ctx;
} posted[PENDING_MOST];
static unsigned n_posted;

void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	must(n_posted < PENDING_MOST);
	posted[n_posted].fn = fn;
	posted[n_posted++].ctx = ctx;
}

/* No doorbells: what they do is in the registers' handlers. */
int loop_fd_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events,
		void (*cb)(void *ctx, uint32_t epoll_events), void *ctx)
{
	return -ENOSPC;
}

void loop_fd_del(struct loop_fd *f)
{
}

static void run_posted(void)
{
	while (n_posted) {
		n_posted--;
		posted[n_posted].fn(posted[n_posted].ctx);
	}
}

/* --- the block layer: a disk, and a CD drive --------------------------------------------- */

struct blk {
	uint64_t size;
	bool cd, writeback, loaded, tray_open;
	bool changed, refuse;
	const struct blk_client *client;
	void *ctx;
	struct blk_req *pending;
};

static struct blk drives[2] = { { .writeback = true }, { .cd = true } };

static bool in_ram(const struct iovec *iov)
{
	const uint8_t *p = iov->iov_base;

	return p >= m.mem.ram && p < m.mem.ram + RAM;
}

void blk_submit(struct blk *b, struct blk_req *r)
{
	must(!b->pending);
	b->pending = r;
	b->refuse = false;
	if (b->cd && !b->loaded)
		return;
	/* The disk may be smaller than when the command came. */
	b->refuse = r->op != BLK_FLUSH && (r->off > b->size || r->len > b->size - r->off);
	must(!b->refuse || b->changed);
	must(!b->cd || r->op == BLK_READ);
	if (r->op != BLK_READ && r->op != BLK_WRITE)
		return;
	must(r->len && iov_len(r->iov, r->n_iov) == r->len);
	for (unsigned i = 0; i < r->n_iov; i++) {
		const uint8_t *p = r->iov[i].iov_base;

		if (in_ram(&r->iov[i]))
			must(r->iov[i].iov_len <= (size_t)(m.mem.ram + RAM - p));
		else
			must(r->n_iov == 1 && r->len <= BUFFER_MOST);
	}
}

static void finish(struct blk *b, int ret)
{
	struct blk_req *r = b->pending;

	if (!r)
		return;
	b->pending = NULL;
	if (b->refuse)
		ret = -EIO;
	if (b->cd && !b->loaded)
		ret = -ENOMEDIUM;
	if (r->op == BLK_READ && in_ram(r->iov))
		must(port_in(BM + 2, 1) & 1);
	if (r->op == BLK_READ && !ret)
		iov_from_buf(r->iov, r->n_iov, 0, contents + r->off, r->len);
	r->done(r, ret);
}

void blk_drain(struct blk *b)
{
	while (b->pending)
		finish(b, 0);
}

int blk_get(struct blk_set *s, const char *id, struct blk **out, struct err *e)
{
	*out = &drives[*id == 'c'];
	return 0;
}

int blk_attach(struct blk *b, const struct blk_client *c, void *ctx, bool write, struct loop *loop,
	       struct err *e)
{
	b->client = c;
	b->ctx = ctx;
	return 0;
}

void blk_detach(struct blk *b)
{
}

const char *blk_id(const struct blk *b)
{
	return b->cd ? "c" : "d";
}

uint64_t blk_size(const struct blk *b)
{
	return b->size;
}

bool blk_writeback(const struct blk *b)
{
	return b->writeback;
}

void blk_set_writeback(struct blk *b, bool on)
{
	b->writeback = on;
}

bool blk_can_discard(const struct blk *b)
{
	return true;
}

const struct blk_limits *blk_limits(const struct blk *b)
{
	static const struct blk_limits lim = { .max_iov = 64 };

	return &lim;
}

const char *blk_serial(const struct blk *b)
{
	return NULL;
}

void blk_get_info(const struct blk *b, struct blk_info *out)
{
	*out = (struct blk_info){ .filename = "" };
}

bool blk_has_medium(const struct blk *b)
{
	return b->loaded;
}

uint64_t blk_image_size(const struct blk *b)
{
	return b->loaded ? b->size : 0;
}

bool blk_tray_open(const struct blk *b)
{
	return b->tray_open;
}

void blk_set_tray_lock(struct blk *b, bool locked)
{
}

void blk_move_tray(struct blk *b, bool open)
{
	b->tray_open = open;
}

/* --- what the input can do ------------------------------------------------------------------ */

static void power_up(void)
{
	machine_reset_devices(&m);
	must(!drives[0].pending && !drives[1].pending);
	/* What firmware does, but for looking at all of the bus. */
	pci_config_write(&m, IDE_FN, PCI_BAR0 + 16, BM, 4);
	pci_config_write(&m, IDE_FN, 0x40, 0x80008000, 4);
	pci_config_write(&m, IDE_FN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
	must(port_in(BM, 1) == 0 && port_in(CONTROL, 1) == 0x50);
}

static void add(const struct dev_class *cls, const char *props)
{
	struct opts o;
	struct err e;

	must(!opts_parse(&o, props, NULL, &e));
	must(!machine_add_device(&m, cls, &o, NULL, &e));
	opts_free(&o);
}

static int msi_send(struct machine *machine, const struct msi_msg *msg)
{
	return 0;
}

static void set_elcr(struct machine *machine, uint16_t mask)
{
}

static void request(struct machine *machine, enum machine_request what, int code)
{
}

static void make_machine(void)
{
	static const struct machine_ops ops = { .request = request,
						.msi_send = msi_send,
						.set_elcr = set_elcr };
	struct err e;

	must(!gmem_init(&m.mem, RAM, GMEM_ANON, &e));
	bus_init(&m.pio, false);
	bus_init(&m.mmio, true);
	m.ops = &ops;
	m.phys_bits = 40;
	drives[0].size = DISK;
	add(&i440fx_class, "");
	add(&piix3_class, "");
	add(&piix3_ide_class, "");
	add(&ide_hd_class, "drive=d,bus=ide.0,unit=0");
	add(&ide_cd_class, "drive=c,bus=ide.0,unit=1");
}

static void put_prd(void)
{
	uint32_t entry[2] = { number(2) * 16, number(2) };
	uint8_t flags = byte();

	if (flags & 1)
		entry[1] |= 0x80000000;
	if (flags & 2)
		entry[0] += 0xf0000;
	memcpy(m.mem.ram + TABLES + flags / 4 * 8, entry, 8);
}

/* Registers and a command, as a driver would. */
static void ata_command(void)
{
	static const uint8_t known[] = { 0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39,
					 0x3d, 0x40, 0x42, 0x06, 0xb0, 0xc4, 0xc5, 0xc6,
					 0xc8, 0xca, 0xce, 0xe7, 0xec, 0xef, 0xa1, 0x90 };
	uint8_t which = byte();

	for (unsigned reg = 1; reg < 7; reg++)
		port_out((uint16_t)(COMMAND + reg), byte(), 1);
	port_out(COMMAND + 7, which < sizeof(known) ? known[which] : which, 1);
}

static void packet(void)
{
	uint8_t feature = byte(), cdb[12];

	port_out(COMMAND + 6, 0xb0, 1);
	port_out(COMMAND + 1, feature & 1, 1);
	port_out(COMMAND + 4, number(2), 2);
	port_out(COMMAND + 7, 0xa0, 1);
	for (unsigned i = 0; i < sizeof(cdb); i++)
		cdb[i] = byte();
	bus_write_many(&m.pio, COMMAND, cdb, 2, 6);
}

static void string_io(bool write)
{
	static uint8_t buf[1024];
	unsigned size = 1u << byte() % 3, count = number(2) % (sizeof(buf) / 4) + 1;

	if (write)
		bus_write_many(&m.pio, COMMAND, buf, size, count);
	else
		bus_read_many(&m.pio, COMMAND, buf, size, count);
}

static void start_dma(uint8_t how)
{
	port_out(BM, 0, 1);
	port_out(BM + 2, 0x66, 1);
	port_out(BM + 4, TABLES + (how & 0xf0) * 8u, 4);
	port_out(BM, how & 8 ? 9 : 1, 1);
}

static void change_medium(void)
{
	struct blk *b = &drives[1];
	uint8_t how = byte();

	finish(b, -EIO);
	b->loaded = how & 1;
	b->tray_open = how & 2;
	b->size = b->loaded ? (how >> 2) * 4096u + (how & 4 ? 700 : 0) : 0;
	b->changed = true;
	b->client->medium_changed(b->ctx);
	if (how & 8)
		b->client->eject_request(b->ctx);
}

static void step(void)
{
	uint8_t what = byte();
	uint16_t port;

	switch (what & 15) {
	case 0:
		port = (uint16_t)(COMMAND + byte() % 8);
		port_out(port, number(2), 1u << what % 64 / 32);
		break;
	case 1:
		port_in((uint16_t)(COMMAND + byte() % 8), 1u << (what >> 4) % 3);
		break;
	case 2:
		ata_command();
		break;
	case 3:
		packet();
		break;
	case 4:
	case 5:
		string_io(what & 1);
		break;
	case 6:
		put_prd();
		break;
	case 7:
		start_dma(byte());
		break;
	case 8:
		port_out((uint16_t)(BM + byte() % 8), number(4), 1u << (what >> 4) % 3);
		break;
	case 9:
		port_out(CONTROL, byte(), 1);
		port_in(CONTROL, 1);
		break;
	case 10:
	case 11:
		run_posted();
		finish(&drives[what >> 4 & 1], what & 32 ? -EIO : 0);
		break;
	case 12:
		run_posted();
		break;
	case 13:
		pci_config_write(&m, IDE_FN, what & 16 ? 0x40 : PCI_COMMAND, number(2) | 5, 2);
		break;
	case 14:
		change_medium();
		break;
	case 15:
		/* Shrinks only when nothing is in flight, as the drive has checked those. */
		if (what & 16) {
			power_up();
		} else if (!drives[0].pending && !n_posted) {
			drives[0].changed = true;
			drives[0].size = (byte() + 1u) * (DISK / 256);
			drives[0].client->resized(drives[0].ctx);
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!m.ops)
		make_machine();
	in = data;
	left = size;
	run_posted();
	drives[0].size = DISK;
	drives[0].client->resized(drives[0].ctx);
	power_up();
	drives[0].changed = drives[1].changed = false;
	while (left)
		step();
	run_posted();
	finish(&drives[0], 0);
	finish(&drives[1], 0);
	return 0;
}
