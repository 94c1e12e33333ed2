/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A board with an IDE controller on the real block layer, and a driver's side of it:
 * registers, PIO, tables for DMA. The main loop runs when the test says so. Include it in one
 * test_*.c.
 */
#ifndef POSADA_TEST_IDE_GUEST_H
#define POSADA_TEST_IDE_GUEST_H

#include "pci_guest.h"

#include "block.h"
#include "fake_disk.h"
#include "opts.h"

extern const struct dev_class piix3_ide_class, ide_hd_class, ide_cd_class;

#define IDE_FN DEVFN(1, 1)
#define BM 0xc000 /* where pci_assign_resources puts the bus master */
#define PRDS 0x10000 /* guest addresses: a table, and data */
#define DATA 0x20000

/* clang-format off */
enum { ERR = 0x01, DRQ = 0x08, DSC = 0x10, DF = 0x20, DRDY = 0x40, BSY = 0x80, READY = DRDY | DSC };
enum { ABRT = 0x04, IDNF = 0x10, UNC = 0x40 };
enum { R_DATA, R_FEATURE, R_COUNT, R_LOW, R_MID, R_HIGH, R_DEVICE, R_COMMAND };
/* clang-format on */

/* --- the loop ------------------------------------------------------------------------ */

static struct {
	struct {
		void (*fn)(void *ctx);
		void *ctx;
	} post[64];
	unsigned n_posts;
	struct loop_defer *deferred[16];
	unsigned n_deferred;
} ide_loop;

void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	ck_assert_uint_lt(ide_loop.n_posts, 64);
	ide_loop.post[ide_loop.n_posts].fn = fn;
	ide_loop.post[ide_loop.n_posts++].ctx = ctx;
}

void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	fn(ctx);
}

bool loop_is_current(const struct loop *l)
{
	return true;
}

void loop_defer(struct loop *l, struct loop_defer *d)
{
	if (d->queued)
		return;
	ck_assert_uint_lt(ide_loop.n_deferred, 16);
	ide_loop.deferred[ide_loop.n_deferred++] = d;
	d->queued = true;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
	for (unsigned i = 0; i < ide_loop.n_deferred; i++)
		if (ide_loop.deferred[i] == d)
			ide_loop.deferred[i--] = ide_loop.deferred[--ide_loop.n_deferred];
	d->queued = false;
}

/* Doorbells, which ring when the test says so. */
static struct loop_fd *bells[8];
static struct {
	uint64_t addr;
	int64_t match;
	int fd;
} ide_bells[8];
static unsigned n_ide_bells;

int loop_fd_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events,
		void (*cb)(void *ctx, uint32_t epoll_events), void *ctx)
{
	unsigned i = 0;

	*f = (struct loop_fd){ .fd = fd, .cb = cb, .ctx = ctx, .events = events };
	while (bells[i])
		ck_assert_uint_lt(++i, 8);
	bells[i] = f;
	return 0;
}

void loop_fd_del(struct loop_fd *f)
{
	for (unsigned i = 0; i < 8; i++)
		if (bells[i] == f)
			bells[i] = NULL;
}

/* As KVM does it: nobody's handler is called. */
static inline void ring(uint16_t addr, uint8_t val)
{
	for (unsigned i = 0; i < n_ide_bells; i++) {
		if (ide_bells[i].addr == addr && ide_bells[i].match == val) {
			eventfd_write(ide_bells[i].fd, 1);
			return;
		}
	}
	ck_abort_msg("no doorbell for %x at %x", val, addr);
}

static inline void hear_bells(void)
{
	for (unsigned i = 0; i < 8; i++)
		if (bells[i] && fake_readable(bells[i]->fd))
			bells[i]->cb(bells[i]->ctx, bells[i]->events);
}

/* What has been posted or deferred, and timers that are due. */
static inline void run_loop(void)
{
	for (unsigned rounds = 0; ide_loop.n_posts || ide_loop.n_deferred; rounds++) {
		ck_assert_uint_lt(rounds, 100000);
		if (ide_loop.n_posts) {
			void (*fn)(void *) = ide_loop.post[0].fn;
			void *ctx = ide_loop.post[0].ctx;

			memmove(&ide_loop.post[0], &ide_loop.post[1],
				--ide_loop.n_posts * sizeof(ide_loop.post[0]));
			fn(ctx);
		} else {
			struct loop_defer *d = ide_loop.deferred[--ide_loop.n_deferred];

			d->queued = false;
			d->cb(d->ctx);
		}
	}
	fake_advance(0);
}

/* --- the machine ------------------------------------------------------------------------ */

static struct {
	unsigned errors; /* told by the drive */
	unsigned trays;
	bool tray_open;
} ide_host;

static void note_error(void *ctx, struct blk *b, bool write, int error, const char *action)
{
	ide_host.errors++;
}

static void note_tray(void *ctx, struct blk *b, bool open)
{
	ide_host.trays++;
	ide_host.tray_open = open;
}

/* What the block layer asks of its users. */
static int well_formed(const struct blk_io *io)
{
	if (io->op == BLK_READ || io->op == BLK_WRITE)
		ck_assert_uint_eq(iov_len(io->iov, io->n_iov), io->len);
	return 0;
}

static inline void ide_setup(void)
{
	static const struct blk_host host = { .io_error = note_error, .tray_moved = note_tray };
	struct err e;

	fake_setup();
	memset(&ide_loop, 0, sizeof(ide_loop));
	memset(&ide_host, 0, sizeof(ide_host));
	memset(&fake_disk, 0, sizeof(fake_disk));
	fake_disk.lim = (struct blk_limits){
		.align = 1, .mem_align = 1, .max_iov = 1024, .max_len = 1 << 30
	};
	fake_disk.decide = well_formed;
	fake.m.loop = (struct loop *)&ide_loop;
	ck_assert_int_eq(blk_set_create(&fake.m.blks, fake.m.loop, &host, &e), 0);
	board();
	fake_add(&piix3_ide_class, "");
}

static inline void ide_teardown(void)
{
	fake_disk.manual = false;
	machine_remove_devices(&fake.m);
	run_loop();
	blk_set_destroy(fake.m.blks);
	fake_teardown();
}

/* A -drive for a device to be put in front of. */
static inline struct blk *add_drive(const char *arg)
{
	struct drive d;
	struct err e = { 0 };
	int rc = blk_add_drive(fake.m.blks, arg, &d, &e);

	ck_assert_msg(!rc, "%s: %s", arg, e.msg);
	return d.blk;
}

/* A disk in memory with the number of each sector in each of its words. */
static inline struct blk *add_fake(const char *size, const char *more)
{
	char arg[256];
	struct blk *b;

	snprintf(arg, sizeof(arg), "if=none,id=d0,format=raw,file.driver=fake,file.size=%s%s", size,
		 more);
	b = add_drive(arg);
	for (uint64_t i = 0; i < fake_disk.node->size; i += 4)
		memcpy(fake_disk.mem + i, &(uint32_t){ (uint32_t)(i / 512) }, 4);
	return b;
}

/* As without firmware: BARs, decoding, bus mastering. */
static inline void power_up(void)
{
	machine_reset_devices(&fake.m);
	pci_assign_resources(&fake.m);
}

/* --- registers ---------------------------------------------------------------------------- */

static unsigned chan; /* the channel in use */

static inline uint16_t port(unsigned reg)
{
	return (uint16_t)((chan ? 0x170 : 0x1f0) + reg);
}

static inline uint16_t control_port(void)
{
	return chan ? 0x376 : 0x3f6;
}

static inline uint16_t bm_port(unsigned off)
{
	return (uint16_t)(BM + chan * 8 + off);
}

static inline unsigned irq_no(void)
{
	return chan ? 15 : 14;
}

static inline uint8_t in(unsigned reg)
{
	return inb(port(reg));
}

static inline void out(unsigned reg, uint8_t val)
{
	outb(port(reg), val);
}

static inline uint8_t alt_status(void)
{
	return inb(control_port());
}

/* Registers of a 28-bit command; device is 0xe0 for LBA and drive 0. */
static inline void command28(uint8_t device, uint32_t lba, uint8_t count, uint8_t cmd)
{
	out(R_DEVICE, (uint8_t)(device | (lba >> 24 & 0x0f)));
	out(R_COUNT, count);
	out(R_LOW, (uint8_t)lba);
	out(R_MID, (uint8_t)(lba >> 8));
	out(R_HIGH, (uint8_t)(lba >> 16));
	out(R_COMMAND, cmd);
}

static inline void command48(uint8_t device, uint64_t lba, uint16_t count, uint8_t cmd)
{
	out(R_DEVICE, device);
	out(R_COUNT, (uint8_t)(count >> 8));
	out(R_LOW, (uint8_t)(lba >> 24));
	out(R_MID, (uint8_t)(lba >> 32));
	out(R_HIGH, (uint8_t)(lba >> 40));
	out(R_COUNT, (uint8_t)count);
	out(R_LOW, (uint8_t)lba);
	out(R_MID, (uint8_t)(lba >> 8));
	out(R_HIGH, (uint8_t)(lba >> 16));
	out(R_COMMAND, cmd);
}

/* The interrupt has come, once; reading the status takes it away. */
static inline uint8_t took_irq(void)
{
	uint8_t st;

	ck_assert(fake.irq[irq_no()]);
	st = in(R_COMMAND);
	ck_assert(!fake.irq[irq_no()]);
	return st;
}

static inline void no_irq(void)
{
	ck_assert(!fake.irq[irq_no()]);
}

/* A command without data: its status, and the error register in *error. */
static inline uint8_t simple28(uint8_t device, uint32_t lba, uint8_t count, uint8_t cmd,
			       uint8_t *error)
{
	command28(device, lba, count, cmd);
	run_loop();
	*error = in(R_FEATURE);
	return took_irq();
}

static inline void read_words(void *buf, unsigned bytes)
{
	bus_read_many(&fake.m.pio, port(R_DATA), buf, 2, bytes / 2);
}

static inline void write_words(const void *buf, unsigned bytes)
{
	bus_write_many(&fake.m.pio, port(R_DATA), buf, 2, bytes / 2);
}

/* --- DMA ---------------------------------------------------------------------------------- */

static inline void prd(unsigned i, uint32_t addr, uint16_t count, bool last)
{
	uint32_t entry[2] = { addr, count | (last ? 0x80000000u : 0) };

	ck_assert_int_eq(gmem_write(&fake.m.mem, PRDS + i * 8, entry, 8), 0);
}

static inline uint8_t *guest(uint32_t addr)
{
	return gmem_ptr(&fake.m.mem, addr, 1);
}

static inline void bm_prepare(bool to_memory)
{
	outb(bm_port(0), to_memory ? 8 : 0);
	outb(bm_port(2), 0x66);
	outl(bm_port(4), PRDS);
}

static inline void bm_start(void)
{
	outb(bm_port(0), inb(bm_port(0)) | 1);
}

/* The bus master's status when the transfer is over, which the driver then stops. */
static inline uint8_t bm_end(void)
{
	uint8_t st = inb(bm_port(2));

	outb(bm_port(0), inb(bm_port(0)) & 0xfe);
	return st & 7;
}

#endif
