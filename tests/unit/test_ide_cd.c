/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE CD drives at the level of registers and packets, against ATA/ATAPI-6,
 * SFF-8020i and MMC: data by PIO and DMA, what the drive tells, errors, changes of
 * the medium, by the guest and from outside.
 */
#include "ide_guest.h"

enum { CD_BLOCK = 2048, FRAME = 2352 };

static uint8_t buf[1 << 20];
static unsigned chunks; /* data interrupts of the last packet */
static struct blk *cd_blk;
static char dir[] = "/tmp/ide-cd-XXXXXX";

/* --- packets ----------------------------------------------------------------------------- */

static void send(const uint8_t *cdb, uint8_t feature, uint16_t limit)
{
	out(R_DEVICE, 0xa0);
	out(R_FEATURE, feature);
	out(R_MID, (uint8_t)limit);
	out(R_HIGH, (uint8_t)(limit >> 8));
	out(R_COMMAND, 0xa0);
	ck_assert_uint_eq(alt_status(), READY | DRQ);
	ck_assert_uint_eq(in(R_COUNT), 1); /* the drive wants a command */
	no_irq();
	write_words(cdb, 12);
	run_loop();
}

/* By PIO: how many bytes came, or -sense key. */
static int pio(const uint8_t *cdb, uint16_t limit)
{
	int total = 0;

	send(cdb, 0, limit);
	for (chunks = 0;; chunks++) {
		uint8_t st = took_irq();
		unsigned n = in(R_MID) | (unsigned)in(R_HIGH) << 8;

		if (!(st & DRQ)) {
			ck_assert_uint_eq(in(R_COUNT), 3);
			return st & ERR ? -(in(R_FEATURE) >> 4) : total;
		}
		ck_assert_uint_eq(in(R_COUNT), 2);
		ck_assert_uint_le(n, limit ? limit & 0xfffeu : 0xfffe);
		ck_assert_uint_gt(n, 0);
		read_words(buf + total, (n + 1) & ~1u);
		total += (int)n;
		run_loop();
	}
}

/* By DMA to DATA, len bytes: 0, or -sense key; *bm: the bus master's status. */
static int dma(const uint8_t *cdb, uint32_t len, uint8_t *bm)
{
	uint8_t st;
	unsigned i = 0;

	for (; len > 0x8000; len -= 0x8000, i++)
		prd(i, DATA + i * 0x8000, 0x8000, false);
	prd(i, DATA + i * 0x8000, (uint16_t)len, true);
	bm_prepare(true);
	send(cdb, 1, 0);
	bm_start();
	run_loop();
	*bm = bm_end();
	if (!fake.irq[irq_no()])
		return -100;
	st = took_irq();
	ck_assert_uint_eq(in(R_COUNT), 3);
	return st & ERR ? -(in(R_FEATURE) >> 4) : 0;
}

#define PACKET(...) ((const uint8_t[12]){ __VA_ARGS__ })

static int simple(uint8_t op)
{
	return pio(PACKET(op), 0xfffe);
}

/* Key, code and qualifier of the last error. */
static uint32_t sense(void)
{
	ck_assert_int_eq(pio(PACKET(0x03, 0, 0, 0, 18), 0xfffe), 18);
	ck_assert_uint_eq(buf[0] & 0x7f, 0x70);
	ck_assert_uint_eq(buf[7], 10);
	return (uint32_t)buf[2] << 16 | (uint32_t)buf[12] << 8 | buf[13];
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* --- media ----------------------------------------------------------------------------------- */

/* blocks on a disk in memory; each word is the number of its 512 bytes. */
static void loaded(const char *size)
{
	cd_blk = add_fake(size, ",media=cdrom");
	fake_add(&ide_cd_class, "drive=d0,serial=cd1");
	power_up();
	ck_assert_int_eq(simple(0x00), -6);
	ck_assert_uint_eq(sense(), 0x062900);
	ck_assert_int_eq(simple(0x00), 0);
}

static void empty(void)
{
	cd_blk = add_drive("if=none,id=d0,media=cdrom");
	fake_add(&ide_cd_class, "drive=d0");
	power_up();
	ck_assert_int_eq(simple(0x00), -6);
}

static const char *make_file(const char *name, size_t size, uint8_t fill)
{
	static char path[2][64];
	static unsigned which;
	char *p = path[which++ % 2];
	FILE *f;

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	f = fopen(p, "w");
	ck_assert_ptr_nonnull(f);
	memset(buf, fill, sizeof(buf));
	for (; size > sizeof(buf); size -= sizeof(buf))
		ck_assert_uint_eq(fwrite(buf, sizeof(buf), 1, f), 1);
	fwrite(buf, 1, size, f);
	fclose(f);
	return p;
}

static void are_blocks(const uint8_t *p, uint32_t lba, unsigned n)
{
	for (unsigned i = 0; i < n * CD_BLOCK / 4; i++) {
		uint32_t w;

		memcpy(&w, p + 4 * i, 4);
		ck_assert_uint_eq(w, lba * 4 + i / 128);
	}
}

/* --- the drive ----------------------------------------------------------------------------- */

START_TEST(signature)
{
	uint8_t id[512];

	loaded("1M");
	for (unsigned i = 0; i < 4; i++) {
		if (i == 0) {
			out(R_COMMAND, 0x08);
		} else if (i == 1) {
			outb(control_port(), 4);
			outb(control_port(), 0);
		} else {
			out(R_COMMAND, i == 2 ? 0xec : 0x20);
			ck_assert_uint_eq(took_irq(), READY | ERR);
			ck_assert_uint_eq(in(R_FEATURE), ABRT);
		}
		if (i < 2) {
			ck_assert_uint_eq(in(R_COMMAND), 0);
			ck_assert_uint_eq(in(R_FEATURE), 1);
		}
		ck_assert_uint_eq(in(R_COUNT), 1);
		ck_assert_uint_eq(in(R_LOW), 1);
		ck_assert_uint_eq(in(R_MID), 0x14);
		ck_assert_uint_eq(in(R_HIGH), 0xeb);
	}
	out(R_COMMAND, 0xa1);
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	read_words(id, 512);
	ck_assert_uint_eq(id[0] | id[1] << 8, 0x85c0);
	ck_assert_int_eq(memcmp(id + 54, "OPASADD", 7), 0);
	ck_assert_int_eq(memcmp(id + 20, "dc 1", 4), 0);
	/* A soft reset forgets no unit attention, and makes none. */
	ck_assert_int_eq(simple(0x00), 0);
	out(R_FEATURE, 0x03);
	out(R_COUNT, 0x22);
	out(R_COMMAND, 0xef);
	ck_assert_uint_eq(took_irq(), READY);
	out(R_COMMAND, 0xc8);
	ck_assert_uint_eq(took_irq(), READY | ERR);
}
END_TEST

START_TEST(inquiry)
{
	loaded("1M");
	ck_assert_int_eq(pio(PACKET(0x12, 0, 0, 0, 96), 0xfffe), 36);
	ck_assert_uint_eq(buf[0], 5);
	ck_assert_uint_eq(buf[1], 0x80);
	ck_assert_uint_eq(buf[4], 31);
	ck_assert_int_eq(memcmp(buf + 8, "POSADA  DVD-ROM         1.0 ", 28), 0);
	ck_assert_int_eq(pio(PACKET(0x12, 0, 0, 0, 5), 0xfffe), 5);
	ck_assert_int_eq(pio(PACKET(0x12, 1, 0, 0, 96), 0xfffe), -5);
	ck_assert_uint_eq(sense(), 0x052400);
	ck_assert_int_eq(simple(0xff), -5);
	ck_assert_uint_eq(sense(), 0x052000);
	ck_assert_uint_eq(sense(), 0); /* told once */
	/* Overlapped commands are not. */
	out(R_FEATURE, 2);
	out(R_COMMAND, 0xa0);
	ck_assert_uint_eq(took_irq(), READY | ERR);
}
END_TEST

START_TEST(byte_counts)
{
	loaded("1M");
	/* An answer in parts: the limit's lowest bit does not count. */
	ck_assert_int_eq(pio(PACKET(0x12, 0, 0, 0, 36), 11), 36);
	ck_assert_uint_eq(chunks, 4);
	ck_assert_int_eq(memcmp(buf + 8, "POSADA  DVD-ROM         1.0 ", 28), 0);
	ck_assert_int_eq(pio(PACKET(0x12, 0, 0, 0, 35), 10), 35); /* an odd one at the end */
	ck_assert_int_eq(pio(PACKET(0x12, 0, 0, 0, 36), 0), 36);
	ck_assert_uint_eq(chunks, 1);
	ck_assert_int_eq(pio(PACKET(0x12, 0, 0, 0, 0), 0), 0);
	ck_assert_uint_eq(chunks, 0);
}
END_TEST

/* --- reading -----------------------------------------------------------------------------------
 */

START_TEST(read_pio)
{
	loaded("1M"); /* 512 blocks */
	ck_assert_int_eq(simple(0x25), 8);
	ck_assert_uint_eq(be32(buf), 511);
	ck_assert_uint_eq(be32(buf + 4), 2048);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 16, 0, 0, 1), 2048), 2048);
	are_blocks(buf, 16, 1);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 100, 0, 0, 77), 2048), 77 * 2048);
	ck_assert_uint_eq(chunks, 77);
	are_blocks(buf, 100, 77);
	ck_assert_int_eq(pio(PACKET(0xa8, 0, 0, 0, 0, 100, 0, 0, 0, 77), 0xfffe), 77 * 2048);
	ck_assert_uint_eq(chunks, 5); /* 31 blocks fit; the buffer has 32 */
	are_blocks(buf, 100, 77);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 3, 0, 0, 2), 512), 4096);
	ck_assert_uint_eq(chunks, 8);
	are_blocks(buf, 3, 2);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 3), 2048), 0);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 1, 255, 0, 0, 2), 2048), -5);
	ck_assert_uint_eq(sense(), 0x052100);
	ck_assert_int_eq(pio(PACKET(0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 2048),
			 -5);
	ck_assert_int_eq(pio(PACKET(0x2b, 0, 0, 0, 1, 255), 2048), 0);
	ck_assert_int_eq(pio(PACKET(0x2b, 0, 0, 0, 2, 0), 2048), -5);
}
END_TEST

START_TEST(read_dma)
{
	uint8_t bm;

	loaded("1M");
	ck_assert_int_eq(dma(PACKET(0x28, 0, 0, 0, 0, 9, 0, 0, 40), 40 * 2048, &bm), 0);
	ck_assert_uint_eq(bm, 4);
	are_blocks(guest(DATA), 9, 40);
	ck_assert_uint_eq(fake_disk.log[fake_disk.n_log - 1].len, 40 * 2048); /* in one go */
	ck_assert_int_eq(dma(PACKET(0x12, 0, 0, 0, 36), 36, &bm), 0);
	ck_assert_uint_eq(bm, 4);
	ck_assert_int_eq(memcmp(guest(DATA) + 8, "POSADA", 6), 0);
	/* More room than data, and less. */
	ck_assert_int_eq(dma(PACKET(0x12, 0, 0, 0, 36), 64, &bm), 0);
	ck_assert_uint_eq(bm, 5);
	ck_assert_int_eq(dma(PACKET(0x28, 0, 0, 0, 0, 9, 0, 0, 2), 2048, &bm), -100);
	ck_assert_uint_eq(bm, 0);
	out(R_COMMAND, 0x08);
	ck_assert_int_eq(simple(0x00), 0);
	/* Nowhere. */
	prd(0, 0xf0000000, 2048, true);
	bm_prepare(true);
	send(PACKET(0x28, 0, 0, 0, 0, 9, 0, 0, 1), 1, 0);
	bm_start();
	run_loop();
	ck_assert_uint_eq(bm_end(), 6);
	ck_assert_uint_eq(took_irq(), READY | ERR);
	ck_assert_uint_eq(sense(), 0x0b0000);
}
END_TEST

/* A whole frame: sync, address as time, mode, data. */
static void is_frame(const uint8_t *p, uint32_t lba)
{
	uint32_t f = lba + 150;

	ck_assert_int_eq(memcmp(p, "\0\377\377\377\377\377\377\377\377\377\377\0", 12), 0);
	ck_assert_uint_eq((p[12] >> 4) * 10u + (p[12] & 15), f / 4500);
	ck_assert_uint_eq((p[13] >> 4) * 10u + (p[13] & 15), f / 75 % 60);
	ck_assert_uint_eq((p[14] >> 4) * 10u + (p[14] & 15), f % 75);
	ck_assert_uint_eq(p[15], 1);
	are_blocks(p + 16, lba, 1);
}

START_TEST(read_cd)
{
	uint8_t bm;

	loaded("1M");
	ck_assert_int_eq(pio(PACKET(0xbe, 0, 0, 0, 0, 20, 0, 0, 3, 0x10), 0xfffe), 3 * 2048);
	are_blocks(buf, 20, 3);
	ck_assert_int_eq(pio(PACKET(0xbe, 0, 0, 0, 0, 20, 0, 0, 70, 0xf8), 0xfffe), 70 * FRAME);
	for (unsigned i = 0; i < 70; i++)
		is_frame(buf + i * FRAME, 20 + i);
	ck_assert_int_eq(dma(PACKET(0xbe, 4 << 0, 0, 0, 0, 20, 0, 0, 70, 0xf8), 70 * FRAME, &bm),
			 -5);
	ck_assert_uint_eq(sense(), 0x056400); /* no audio here */
	ck_assert_int_eq(dma(PACKET(0xbe, 2 << 2, 0, 0, 0, 20, 0, 0, 70, 0xf8), 70 * FRAME, &bm),
			 0);
	ck_assert_uint_eq(bm, 4);
	for (unsigned i = 0; i < 70; i++)
		is_frame(guest(DATA) + i * FRAME, 20 + i);
	ck_assert_int_eq(pio(PACKET(0xb9, 0, 0, 0, 2, 20, 0, 2, 22, 0x10), 0xfffe), 2 * 2048);
	are_blocks(buf, 20, 2);
	ck_assert_int_eq(pio(PACKET(0xb9, 0, 0, 0, 1, 20, 0, 2, 22, 0x10), 0xfffe), -5);
	ck_assert_int_eq(pio(PACKET(0xbe, 0, 0, 0, 0, 20, 0, 0, 3, 0), 0xfffe), 0);
	ck_assert_int_eq(pio(PACKET(0xbe, 0, 0, 0, 0, 20, 0, 0, 3, 0x78), 0xfffe), -5);
	ck_assert_int_eq(pio(PACKET(0xbe, 0, 0, 0, 2, 0, 0, 0, 1, 0xf8), 0xfffe), -5);
	ck_assert_uint_eq(sense(), 0x052100);
}
END_TEST

static uint64_t bad_block;

static int fail_there(const struct blk_io *io)
{
	return io->off <= bad_block * 2048 && bad_block * 2048 < io->off + io->len ? -EIO : 0;
}

START_TEST(scratches)
{
	uint8_t bm;

	loaded("1M");
	fake_disk.decide = fail_there;
	bad_block = 45;
	for (unsigned i = 0; i < 3; i++) {
		if (i == 0) {
			ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 40, 0, 0, 20), 2048), -3);
			ck_assert_uint_eq(chunks, 5);
			are_blocks(buf, 40, 5);
		} else if (i == 1) {
			ck_assert_int_eq(dma(PACKET(0x28, 0, 0, 0, 0, 40, 0, 0, 20), 20 * 2048,
					     &bm),
					 -3);
			are_blocks(guest(DATA), 40, 5);
		} else {
			ck_assert_int_eq(dma(PACKET(0xbe, 0, 0, 0, 0, 40, 0, 0, 20, 0xf8),
					     20 * FRAME, &bm),
					 -3);
		}
		ck_assert_uint_eq(sense(), 0x031100);
		ck_assert_uint_eq(buf[0], 0xf0);
		ck_assert_uint_eq(be32(buf + 3), 45);
	}
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 46, 0, 0, 20), 2048), 20 * 2048);
}
END_TEST

/* --- what it tells ------------------------------------------------------------------------------
 */

START_TEST(table_of_contents)
{
	loaded("10M"); /* 5120 blocks: 01:10:20 with the lead-in */
	ck_assert_int_eq(pio(PACKET(0x43, 0, 0, 0, 0, 0, 0, 1, 0), 0xfffe), 20);
	ck_assert_int_eq(memcmp(buf, "\0\22\1\1\0\24\1\0\0\0\0\0\0\24\252\0\0\0\24\0", 20), 0);
	ck_assert_int_eq(pio(PACKET(0x43, 2, 0, 0, 0, 0, 0, 1, 0), 0xfffe), 20);
	ck_assert_int_eq(memcmp(buf + 8, "\0\0\2\0\0\24\252\0\0\1\12\24", 12), 0);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 0, 0, 0, 0, 0xaa, 1, 0), 0xfffe), 12);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 0, 0, 0, 0, 2, 1, 0), 0xfffe), -5);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 1, 0, 0, 0, 0, 1, 0), 0xfffe), 12);
	ck_assert_int_eq(memcmp(buf, "\0\12\1\1\0\24\1\0\0\0\0\0", 12), 0);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 0, 0, 0, 0, 0, 1, 0, 0x40), 0xfffe), 12);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 2, 0, 0, 0, 0, 1, 0), 0xfffe), 48);
	ck_assert_uint_eq(be16(buf), 46);
	ck_assert_uint_eq(buf[4 + 22 + 3], 0xa2);
	ck_assert_int_eq(memcmp(buf + 4 + 22 + 8, "\1\12\24", 3), 0);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 3, 0, 0, 0, 0, 1, 0), 0xfffe), -5);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 4), 0xfffe), 4);
	ck_assert_int_eq(pio(PACKET(0x51, 0, 0, 0, 0, 0, 0, 1, 0), 0xfffe), 34);
	ck_assert_uint_eq(buf[2], 0x0e);
	ck_assert_int_eq(pio(PACKET(0x52, 1, 0, 0, 0, 1, 0, 1, 0), 0xfffe), 36);
	ck_assert_uint_eq(be32(buf + 24), 5120);
	ck_assert_int_eq(pio(PACKET(0x42, 2, 0x40, 1, 0, 0, 0, 0, 16), 0xfffe), 16);
	ck_assert_int_eq(pio(PACKET(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), 0xfffe), 8);
	ck_assert_int_eq(pio(PACKET(0xad, 0, 0, 0, 0, 0, 0, 0, 16, 0), 0xfffe), -5); /* a CD */
	ck_assert_uint_eq(sense(), 0x053002);
	ck_assert_int_eq(simple(0x35), 0);
}
END_TEST

START_TEST(mode_pages)
{
	static const uint8_t select[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 6, 0x20, 9, 0, 0, 0, 0 };
	uint8_t bm;

	loaded("1M");
	ck_assert_int_eq(pio(PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128), 0xfffe), 30);
	ck_assert_uint_eq(be16(buf), 28);
	ck_assert_uint_eq(buf[2], 1);
	ck_assert_uint_eq(buf[8], 0x2a);
	ck_assert_uint_eq(buf[9], 20);
	ck_assert_uint_eq(buf[14], 0x29); /* tray, eject, lock */
	ck_assert_int_eq(pio(PACKET(0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0), 0xfffe),
			 8 + 8 + 16 + 12 + 10 + 22);
	ck_assert_int_eq(pio(PACKET(0x5a, 0, 0x3e, 0, 0, 0, 0, 1, 0), 0xfffe), -5);
	ck_assert_int_eq(pio(PACKET(0x5a, 0, 0xc1, 0, 0, 0, 0, 1, 0), 0xfffe), -5);
	ck_assert_uint_eq(sense(), 0x053900);
	/* MODE SELECT, in two parts. */
	send(PACKET(0x55, 0x10, 0, 0, 0, 0, 0, 0, 16), 0, 10);
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	ck_assert_uint_eq(in(R_COUNT), 0);
	ck_assert_uint_eq(in(R_MID), 10);
	write_words(select, 10);
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	ck_assert_uint_eq(in(R_MID), 6);
	write_words(select + 10, 6);
	ck_assert_uint_eq(took_irq(), READY);
	ck_assert_int_eq(pio(PACKET(0x5a, 0, 0x01, 0, 0, 0, 0, 0, 128), 0xfffe), 16);
	ck_assert_uint_eq(buf[10], 0x20);
	ck_assert_uint_eq(buf[11], 9);
	/* By DMA, and wrong. */
	memcpy(guest(DATA), select, 16);
	guest(DATA)[8] = 0x05;
	ck_assert_int_eq(dma(PACKET(0x55, 0x10, 0, 0, 0, 0, 0, 0, 16), 16, &bm), -5);
	ck_assert_uint_eq(sense(), 0x052600);
	guest(DATA)[8] = 0x01;
	guest(DATA)[9] = 7;
	ck_assert_int_eq(dma(PACKET(0x55, 0x10, 0, 0, 0, 0, 0, 0, 16), 16, &bm), -5);
	guest(DATA)[9] = 6;
	ck_assert_int_eq(dma(PACKET(0x55, 0x10, 0, 0, 0, 0, 0, 0, 16), 16, &bm), 0);
}
END_TEST

/* The descriptor of a feature in the last GET CONFIGURATION; NULL. */
static const uint8_t *feature(unsigned code, unsigned len)
{
	for (const uint8_t *p = buf + 8; p < buf + len; p += 4 + p[3])
		if (be16(p) == code)
			return p;
	return NULL;
}

START_TEST(configuration)
{
	int n;

	loaded("1M");
	n = pio(PACKET(0x46, 0, 0, 0, 0, 0, 0, 4, 0), 0xfffe);
	ck_assert_int_gt(n, 60);
	ck_assert_uint_eq(be32(buf), (uint32_t)n - 4);
	ck_assert_uint_eq(be16(buf + 6), 0x08); /* a CD-ROM */
	ck_assert_uint_eq(feature(0x001e, (unsigned)n)[2] & 1, 1);
	ck_assert_uint_eq(feature(0x001f, (unsigned)n)[2] & 1, 0);
	ck_assert_uint_eq(feature(3, (unsigned)n)[4], 0x29);
	ck_assert_int_eq(pio(PACKET(0x46, 2, 0, 3, 0, 0, 0, 4, 0), 0xfffe), 16);
	ck_assert_int_eq(pio(PACKET(0x46, 2, 0, 0x33, 0, 0, 0, 4, 0), 0xfffe), 8);
	n = pio(PACKET(0x46, 1, 0, 0, 0, 0, 0, 4, 0), 0xfffe);
	ck_assert_ptr_null(feature(0x001f, (unsigned)n));
	ck_assert_int_eq(pio(PACKET(0x46, 3, 0, 0, 0, 0, 0, 4, 0), 0xfffe), -5);
}
END_TEST

START_TEST(dvd)
{
	cd_blk = add_drive("if=none,id=d0,media=cdrom,format=raw,file.driver=null-co,file.size=4G");
	fake_add(&ide_cd_class, "drive=d0");
	power_up();
	ck_assert_int_eq(simple(0x00), -6);
	ck_assert_int_gt(pio(PACKET(0x46, 0, 0, 0, 0, 0, 0, 4, 0), 0xfffe), 0);
	ck_assert_uint_eq(be16(buf + 6), 0x10);
	ck_assert_int_eq(pio(PACKET(0xad, 0, 0, 0, 0, 0, 0, 0, 16, 0), 0xfffe), 2052);
	ck_assert_uint_eq(be32(buf + 12), 0x30000 + (1 << 21) - 1);
	ck_assert_int_eq(pio(PACKET(0xad, 0, 0, 0, 0, 0, 0, 1, 16, 0), 0xfffe), 8);
	ck_assert_int_eq(pio(PACKET(0xad, 0, 0, 0, 0, 0, 0, 9, 16, 0), 0xfffe), -5);
	ck_assert_int_eq(simple(0x25), 8);
	ck_assert_uint_eq(be32(buf), (1 << 21) - 1);
}
END_TEST

/* --- the tray ------------------------------------------------------------------------------------
 */

static unsigned event(void)
{
	ck_assert_int_eq(pio(PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0xfffe), 8);
	ck_assert_uint_eq(be16(buf), 6);
	ck_assert_uint_eq(buf[2], 4);
	return buf[4] << 8u | buf[5];
}

START_TEST(no_medium)
{
	empty();
	ck_assert_uint_eq(sense(), 0x062900);
	ck_assert_int_eq(simple(0x00), -2);
	ck_assert_uint_eq(sense(), 0x023a01);
	ck_assert_int_eq(simple(0x25), -2);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 2048), -2);
	ck_assert_int_eq(pio(PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 12), 2048), -2);
	ck_assert_int_eq(pio(PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128), 0xfffe), 30);
	ck_assert_uint_eq(buf[2], 0x70);
	ck_assert_int_gt(pio(PACKET(0x46, 0, 0, 0, 0, 0, 0, 4, 0), 0xfffe), 0);
	ck_assert_uint_eq(be16(buf + 6), 0);
	ck_assert_uint_eq(event(), 0x0000);
	ck_assert_int_eq(pio(PACKET(0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8), 0xfffe), -5);
	ck_assert_int_eq(pio(PACKET(0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8), 0xfffe), 4);
	ck_assert_uint_eq(buf[2], 0x80);
}
END_TEST

START_TEST(guest_ejects)
{
	loaded("1M");
	ck_assert_int_eq(pio(PACKET(0x1e, 0, 0, 0, 1), 0), 0);
	ck_assert(blk_tray_locked(cd_blk));
	ck_assert_int_eq(pio(PACKET(0x1b, 0, 0, 0, 2), 0), -5);
	ck_assert_uint_eq(sense(), 0x055302);
	ck_assert_uint_eq(ide_host.trays, 0);
	ck_assert_int_eq(pio(PACKET(0x1e, 0, 0, 0, 0), 0), 0);
	ck_assert_int_eq(pio(PACKET(0x1b, 0, 0, 0, 2), 0), 0);
	ck_assert_uint_eq(ide_host.trays, 1);
	ck_assert(ide_host.tray_open && blk_tray_open(cd_blk));
	ck_assert_int_eq(simple(0x00), -2);
	ck_assert_uint_eq(sense(), 0x023a02);
	ck_assert_uint_eq(event(), 0x0301);
	ck_assert_uint_eq(event(), 0x0001);
	ck_assert_int_eq(pio(PACKET(0x1b, 0, 0, 0, 3), 0), 0);
	ck_assert(!ide_host.tray_open);
	ck_assert_uint_eq(event(), 0x0202);
	ck_assert_int_eq(simple(0x00), -6);
	ck_assert_uint_eq(sense(), 0x062800);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 2048), 2048);
	are_blocks(buf, 1, 1);
	ck_assert_int_eq(pio(PACKET(0x1b, 0, 0, 0, 0), 0), 0); /* stop, start, power states */
	ck_assert_int_eq(pio(PACKET(0x1b, 0, 0, 0, 1), 0), 0);
	ck_assert_int_eq(pio(PACKET(0x1b, 0, 0, 0, 0x30), 0), 0);
	ck_assert_int_eq(simple(0x00), 0);
}
END_TEST

START_TEST(change_from_outside)
{
	struct err e = { 0 };

	empty();
	ck_assert_int_eq(blk_change(cd_blk, make_file("a", 8192, 'a'), "raw", false, &e), 0);
	run_loop();
	ck_assert_uint_eq(ide_host.trays, 2);
	ck_assert(!ide_host.tray_open);
	ck_assert_uint_eq(event(), 0x0202);
	ck_assert_int_eq(simple(0x25), -6);
	ck_assert_uint_eq(sense(), 0x062800);
	ck_assert_int_eq(simple(0x25), 8);
	ck_assert_uint_eq(be32(buf), 3);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 3, 0, 0, 1), 2048), 2048);
	ck_assert_uint_eq(buf[0], 'a');
	/* Locked: the guest is asked, and it stays. */
	ck_assert_int_eq(pio(PACKET(0x1e, 0, 0, 0, 1), 0), 0);
	ck_assert_int_eq(blk_eject(cd_blk, false, &e), -EBUSY);
	ck_assert(strstr(e.msg, "locked"));
	ck_assert_uint_eq(event(), 0x0102);
	ck_assert_int_eq(blk_change(cd_blk, make_file("b", 4096, 'b'), NULL, false, &e), -EBUSY);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 3, 0, 0, 1), 2048), 2048);
	/* By force */
	ck_assert_int_eq(blk_change(cd_blk, make_file("b", 4096, 'b'), NULL, true, &e), 0);
	ck_assert_int_eq(simple(0x00), -6);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 2048), 2048);
	ck_assert_uint_eq(buf[0], 'b');
	/* What cannot be opened leaves the old one where it is. */
	ck_assert_int_lt(blk_change(cd_blk, "/nowhere/at/all", NULL, true, &e), 0);
	ck_assert(strstr(e.msg, "/nowhere/at/all"));
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 2048), 2048);
	ck_assert_int_eq(blk_eject(cd_blk, true, &e), 0);
	ck_assert(!blk_has_medium(cd_blk) && blk_tray_open(cd_blk));
	ck_assert_int_eq(simple(0x00), -2);
	ck_assert_int_eq(blk_eject(cd_blk, false, &e), 0);
	run_loop();
}
END_TEST

/* A change under a read waits for it; what is left of it finds another medium, or none. */
START_TEST(change_in_flight)
{
	struct err e = { 0 };

	loaded("1M");
	fake_disk.manual = true;
	send(PACKET(0x28, 0, 0, 0, 0, 1, 0, 0, 40), 0, 2048);
	ck_assert_uint_eq(fake_disk.n_waiting, 1);
	ck_assert_int_eq(blk_eject(cd_blk, false, &e), 0);
	ck_assert_uint_eq(fake_disk.closed, 1);
	for (unsigned i = 0; i < 32; i++) {
		ck_assert_uint_eq(took_irq(), READY | DRQ);
		read_words(buf, 2048);
		run_loop();
	}
	ck_assert_uint_eq(took_irq(), READY | ERR);
	ck_assert_uint_eq(in(R_FEATURE) >> 4, 2);
}
END_TEST

START_TEST(truncated)
{
	struct err e = { 0 };
	uint8_t bm;

	empty();
	ck_assert_int_eq(simple(0x00), -2);
	ck_assert_int_eq(blk_change(cd_blk, make_file("t", 10 * 2048 + 700, 't'), "raw", false, &e),
			 0);
	ck_assert_int_eq(simple(0x00), -6);
	ck_assert_int_eq(simple(0x25), 8);
	ck_assert_uint_eq(be32(buf), 10);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 9, 0, 0, 1), 2048), 2048);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 8, 0, 0, 3), 2048), -3);
	ck_assert_uint_eq(chunks, 2);
	ck_assert_uint_eq(sense(), 0x031100);
	ck_assert_uint_eq(be32(buf + 3), 10);
	ck_assert_int_eq(dma(PACKET(0x28, 0, 0, 0, 0, 8, 0, 0, 3), 3 * 2048, &bm), -3);
	ck_assert_uint_eq(guest(DATA)[4095], 't');
	ck_assert_int_eq(dma(PACKET(0x28, 0, 0, 0, 0, 10, 0, 0, 1), 2048, &bm), -3);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 10, 0, 0, 1), 2048), -3);
	ck_assert_int_eq(pio(PACKET(0x28, 0, 0, 0, 0, 11, 0, 0, 1), 2048), -5);
}
END_TEST

/* --- resets -------------------------------------------------------------------------------------
 */

START_TEST(device_reset)
{
	loaded("1M");
	fake_disk.manual = true;
	prd(0, DATA, 2048, true);
	bm_prepare(true);
	send(PACKET(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 1, 0);
	bm_start();
	run_loop();
	ck_assert_uint_eq(alt_status() & BSY, BSY);
	out(R_COMMAND, 0xa1); /* not now */
	out(R_COMMAND, 0x08);
	ck_assert_uint_eq(alt_status(), BSY); /* as long as memory may be written to */
	fake_complete(0);
	run_loop();
	ck_assert_uint_eq(alt_status(), 0);
	no_irq();
	ck_assert_uint_eq(in(R_HIGH), 0xeb);
	fake_disk.manual = false;
	ck_assert_int_eq(simple(0x00), 0);
	/* Stopped under it. */
	fake_disk.manual = true;
	bm_prepare(true);
	send(PACKET(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 1, 0);
	bm_start();
	run_loop();
	outb(bm_port(0), 8);
	fake_complete(0);
	run_loop();
	ck_assert_uint_eq(inb(bm_port(2)) & 1, 0);
	ck_assert_uint_eq(took_irq(), READY | ERR);
}
END_TEST

START_TEST(hostile)
{
	uint64_t seed = 7;

	loaded("1M");
	for (unsigned i = 0; i < 4000; i++) {
		static const uint8_t ops[] = { 0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28,
					       0x2b, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x52,
					       0x55, 0x5a, 0xa8, 0xad, 0xb9, 0xbd, 0xbe };
		uint32_t r = fake_random(&seed);
		uint8_t cdb[12];

		for (unsigned k = 0; k < 12; k++)
			cdb[k] = fake_random(&seed) & 3 ? 0 : (uint8_t)fake_random(&seed);
		cdb[0] = ops[r % sizeof(ops)];
		out(R_FEATURE, r >> 8 & 1);
		out(R_COMMAND, 0xa0);
		write_words(cdb, 12);
		for (unsigned k = 0; k < (r >> 12 & 3); k++)
			bus_read_many(&fake.m.pio, port(0), buf, 4, r >> 16 & 0x3ff);
		fake_hammer(0x1f0, 8, r >> 28, r);
		fake_hammer(BM, 8, r >> 29, r);
		if (r & 0x40)
			run_loop();
	}
}
END_TEST

static void setup(void)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ide_setup();
}

static void teardown(void)
{
	static const char *const names[] = { "a", "b", "t" };
	char path[64];

	ide_teardown();
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

int main(void)
{
	const TTest *const tests[] = {
		signature,
		inquiry,
		byte_counts,
		read_pio,
		read_dma,
		read_cd,
		scratches,
		table_of_contents,
		mode_pages,
		configuration,
		dvd,
		no_medium,
		guest_ejects,
		change_from_outside,
		change_in_flight,
		truncated,
		device_reset,
		hostile,
	};

	return run_tests("ide-cd", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
