/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE disks at the level of registers, against ATA/ATAPI-6 and Intel's data sheet of the
 * 82371SB: the controller, commands by PIO and DMA, errors, resets.
 */
#include "ide_guest.h"

#define LBA 0xe0

static void disk_with(const char *size, const char *drive, const char *dev)
{
	char props[128];

	add_fake(size, drive);
	snprintf(props, sizeof(props), "drive=d0%s", dev);
	fake_add(&ide_hd_class, props);
	power_up();
}

/* 200 GB of nothing. */
static void large_disk(const char *drive, const char *dev)
{
	char text[128];

	snprintf(text, sizeof(text),
		 "if=none,id=d0,format=raw,file.driver=null-co,file.size=200G%s", drive);
	add_drive(text);
	snprintf(text, sizeof(text), "drive=d0%s", dev);
	fake_add(&ide_hd_class, text);
	power_up();
}

static void disk(void)
{
	disk_with("64M", "", "");
}

/* Words of sectors [lba, lba + n) as add_fake made them. */
static void is_sectors(const void *buf, uint32_t lba, unsigned n)
{
	const uint32_t *w = buf;

	for (unsigned i = 0; i < n * 128; i++)
		ck_assert_uint_eq(w[i], lba + i / 128);
}

static uint16_t word(const uint8_t *id, unsigned n)
{
	return (uint16_t)(id[2 * n] | id[2 * n + 1] << 8);
}

static void identify(uint8_t device, uint8_t *id)
{
	command28(device, 0, 0, 0xec);
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	read_words(id, 512);
	ck_assert_uint_eq(in(R_COMMAND), READY);
	no_irq();
}

/* --- the controller -------------------------------------------------------------------- */

START_TEST(pci_function)
{
	add_fake("1M", "");
	fake_add(&ide_hd_class, "drive=d0");
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(cfg_read(IDE_FN, 0, 4), 0x70108086);
	ck_assert_uint_eq(cfg_read(IDE_FN, 8, 4) >> 8, 0x010180);
	ck_assert_uint_eq(cfg_read(IDE_FN, 0x3d, 1), 0);
	ck_assert_uint_eq(in(R_COMMAND), 0xff); /* not decoded yet */
	cfg_write(IDE_FN, 0x40, 0x8000, 2);
	ck_assert_uint_eq(in(R_COMMAND), 0xff);
	cfg_write(IDE_FN, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert_uint_eq(in(R_COMMAND), READY);
	ck_assert_uint_eq(alt_status(), READY);
	chan = 1;
	ck_assert_uint_eq(in(R_COMMAND), 0xff);
	cfg_write(IDE_FN, 0x42, 0x8000, 2);
	ck_assert_uint_eq(in(R_COMMAND), 0);
	cfg_write(IDE_FN, 0x20, 0xd001, 4);
	ck_assert_uint_eq(inb(0xd000), 0);
	outl(0xd00c, 0x12345677);
	ck_assert_uint_eq(inl(0xd00c), 0x12345674);
	ck_assert_uint_eq(inl(0xd004), 0);
	cfg_write(IDE_FN, 0x40, 0, 4);
	chan = 0;
	ck_assert_uint_eq(in(R_COMMAND), 0xff);
}
END_TEST

START_TEST(without_firmware)
{
	add_fake("1M", "");
	fake_add(&ide_hd_class, "drive=d0,bus=ide.1");
	power_up();
	ck_assert_uint_eq(cfg_read(IDE_FN, 0x40, 2), 0); /* nobody there: not to be looked at */
	ck_assert_uint_eq(cfg_read(IDE_FN, 0x42, 2), 0x8000);
	ck_assert_uint_eq(cfg_read(IDE_FN, 0x20, 4), BM | 1);
	chan = 1;
	ck_assert_uint_eq(in(R_COMMAND), READY);
	power_up();
	ck_assert_uint_eq(in(R_COMMAND), READY);
}
END_TEST

START_TEST(places)
{
	struct err e;

	add_fake("1M", "");
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "drive=d0,bus=ide.2", NULL, &e), 0);
	ck_assert(strstr(e.msg, "bus=ide.2") && strstr(e.hint, "ide.0"));
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "drive=d1", NULL, &e), 0);
	ck_assert(strstr(e.msg, "'d1'"));
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "", NULL, &e), 0);
	ck_assert(strstr(e.msg, "drive= is missing"));
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "drive=d0,serial=123456789012345678901", NULL,
				      &e),
			 0);
	ck_assert(strstr(e.msg, "serial=") && strstr(e.msg, "20"));
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "drive=d0,logical_block_size=4096", NULL, &e),
			 0);
	ck_assert(strstr(e.msg, "logical_block_size=4096"));
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "drive=d0,cyls=10", NULL, &e), 0);
	for (unsigned i = 0; i < 4; i++) {
		char drive[64], dev[32];

		snprintf(drive, sizeof(drive), "if=none,id=n%u,media=cdrom", i);
		add_drive(drive);
		snprintf(dev, sizeof(dev), "drive=n%u", i);
		fake_add(&ide_cd_class, dev);
	}
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "drive=d0", NULL, &e), 0);
	ck_assert(strstr(e.msg, "four") && strstr(e.hint, "if=virtio"));
	ck_assert_int_lt(fake_try_add(&ide_hd_class, "drive=d0,bus=ide.1,unit=0", NULL, &e), 0);
	ck_assert(strstr(e.msg, "bus=ide.1,unit=0"));
}
END_TEST

/* --- who is there ------------------------------------------------------------------------- */

START_TEST(signatures)
{
	disk();
	for (unsigned round = 0; round < 3; round++) {
		if (round == 1) {
			outb(control_port(), 4);
			ck_assert_uint_eq(in(R_COMMAND), BSY);
			outb(control_port(), 0);
		} else if (round == 2) {
			command28(LBA, 0x123456, 7, 0x90);
			ck_assert_uint_eq(took_irq(), READY);
		}
		ck_assert_uint_eq(in(R_COMMAND), READY);
		ck_assert_uint_eq(in(R_FEATURE), 1);
		ck_assert_uint_eq(in(R_COUNT), 1);
		ck_assert_uint_eq(in(R_LOW), 1);
		ck_assert_uint_eq(in(R_MID), 0);
		ck_assert_uint_eq(in(R_HIGH), 0);
		ck_assert_uint_eq(in(R_DEVICE), 0xa0);
	}
	/* What scanners write to see whether registers are there. */
	out(R_COUNT, 0x55);
	out(R_LOW, 0xaa);
	ck_assert_uint_eq(in(R_COUNT), 0x55);
	ck_assert_uint_eq(in(R_LOW), 0xaa);
	/* Drive 1 is not: drive 0 answers for it. */
	out(R_DEVICE, 0xb0);
	ck_assert_uint_eq(in(R_DEVICE), 0xb0);
	ck_assert_uint_eq(in(R_COMMAND), 0);
	ck_assert_uint_eq(alt_status(), 0);
	ck_assert_uint_eq(in(R_COUNT), 0x55);
	out(R_COMMAND, 0xec);
	run_loop();
	ck_assert_uint_eq(in(R_COMMAND), 0);
	no_irq();
	out(R_DEVICE, 0xa0);
	ck_assert_uint_eq(in(R_COMMAND), READY);
}
END_TEST

START_TEST(identity)
{
	uint8_t id[512], sum = 0;

	large_disk(",serial=S-1", ",model=A disk,ver=7,rotation_rate=1");
	identify(LBA, id);
	ck_assert_int_eq(memcmp(id + 20, "-S 1                ", 20), 0);
	ck_assert_int_eq(memcmp(id + 54, " Aidks    ", 10), 0);
	ck_assert_int_eq(memcmp(id + 46, " 7      ", 8), 0);
	ck_assert_uint_eq(word(id, 0), 0x40);
	ck_assert_uint_eq(word(id, 1), 16383);
	ck_assert_uint_eq(word(id, 3), 16);
	ck_assert_uint_eq(word(id, 6), 63);
	ck_assert_uint_eq(word(id, 60), 0xffff);
	ck_assert_uint_eq(word(id, 61), 0x0fff);
	ck_assert_uint_eq(word(id, 100) | (uint32_t)word(id, 101) << 16, 419430400);
	ck_assert_uint_eq(word(id, 47), 0x8010);
	ck_assert_uint_eq(word(id, 49) & 0x300, 0x300);
	ck_assert_uint_eq(word(id, 83), 0x7400);
	ck_assert_uint_eq(word(id, 85) & 0x21, 0x21);
	ck_assert_uint_eq(word(id, 217), 1);
	ck_assert_uint_eq(word(id, 169), 0);
	for (unsigned i = 0; i < 512; i++)
		sum = (uint8_t)(sum + id[i]);
	ck_assert_uint_eq(sum, 0);
}
END_TEST

/* --- PIO ------------------------------------------------------------------------------------ */

START_TEST(pio_read)
{
	uint8_t buf[512];

	disk();
	for (unsigned how = 0; how < 4; how++) {
		uint32_t lba = 1000 + how;

		command28(LBA, lba, 1, 0x20);
		ck_assert_uint_eq(alt_status() & (BSY | DRQ), BSY);
		no_irq();
		run_loop();
		ck_assert_uint_eq(took_irq(), READY | DRQ);
		if (how == 0)
			for (unsigned i = 0; i < 256; i++)
				memcpy(buf + 2 * i, &(uint16_t){ inw(port(0)) }, 2);
		else if (how == 1)
			for (unsigned i = 0; i < 128; i++)
				memcpy(buf + 4 * i, &(uint32_t){ inl(port(0)) }, 4);
		else if (how == 2)
			read_words(buf, 512);
		else
			bus_read_many(&fake.m.pio, port(0), buf, 4, 128);
		is_sectors(buf, lba, 1);
		ck_assert_uint_eq(in(R_COMMAND), READY);
		no_irq();
	}
}
END_TEST

/* An interrupt for each sector; the disk is asked once. */
START_TEST(pio_read_many)
{
	uint8_t buf[512];

	disk();
	command28(LBA, 77, 0, 0x20);
	run_loop();
	ck_assert_uint_eq(fake_disk.n_log, 1);
	for (unsigned i = 0; i < 256; i++) {
		ck_assert_uint_eq(took_irq(), READY | DRQ);
		read_words(buf, 512);
		is_sectors(buf, 77 + i, 1);
		run_loop();
	}
	no_irq();
	ck_assert_uint_eq(in(R_COMMAND), READY);
	ck_assert_uint_eq(fake_disk.n_log, 2);
}
END_TEST

START_TEST(read_multiple)
{
	uint8_t buf[8192], error;

	disk();
	ck_assert_uint_eq(simple28(LBA, 0, 3, 0xc6, &error), READY | ERR);
	ck_assert_uint_eq(error, ABRT);
	ck_assert_uint_eq(simple28(LBA, 0, 32, 0xc6, &error), READY | ERR);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xc6, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 0, 4, 0xc4, &error), READY | ERR);
	ck_assert_uint_eq(simple28(LBA, 0, 4, 0xc6, &error), READY);
	command28(LBA, 5, 10, 0xc4);
	run_loop();
	for (unsigned i = 0; i < 10; i += 4) {
		unsigned n = i == 8 ? 2 : 4;

		ck_assert_uint_eq(took_irq(), READY | DRQ);
		read_words(buf, n * 512 - 2);
		no_irq();
		ck_assert_uint_eq(alt_status(), READY | DRQ);
		read_words(buf + n * 512 - 2, 2);
		is_sectors(buf, 5 + i, n);
		run_loop();
	}
	no_irq();
	/* The same with 48-bit addresses. */
	command48(0xe0, 5, 3, 0x29);
	run_loop();
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	read_words(buf, 3 * 512);
	is_sectors(buf, 5, 3);
}
END_TEST

START_TEST(pio_write)
{
	static uint8_t data[300 * 512];

	disk();
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 512);
	command48(0xe0, 50, 300, 0x34);
	no_irq(); /* the first block is asked for without one */
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_uint_eq(in(R_COMMAND), READY | DRQ);
		write_words(data + i * 512, 512);
		run_loop();
		if (i < 299)
			ck_assert(fake.irq[14]);
	}
	ck_assert_uint_eq(took_irq(), READY);
	ck_assert_int_eq(memcmp(fake_disk.mem + 50 * 512, data, sizeof(data)), 0);
	is_sectors(fake_disk.mem + 49 * 512, 49, 1);
	is_sectors(fake_disk.mem + 350 * 512, 350, 1);
	ck_assert_uint_eq(fake_disk.n_log, 3);
	/* WRITE MULTIPLE, by dwords. */
	command28(LBA, 1, 20, 0xc5);
	bus_write_many(&fake.m.pio, port(0), data, 4, 16 * 128);
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	bus_write_many(&fake.m.pio, port(0), data + 16 * 512, 4, 4 * 128);
	ck_assert_uint_eq(alt_status() & (BSY | DRQ), BSY);
	run_loop();
	ck_assert_uint_eq(took_irq(), READY);
	ck_assert_int_eq(memcmp(fake_disk.mem + 512, data, 20 * 512), 0);
}
END_TEST

/* --- addresses ---------------------------------------------------------------------------------
 */

START_TEST(chs)
{
	uint8_t buf[512], error;

	disk();
	/* 64 MiB: 130 cylinders of 16 heads and 63 sectors */
	command28(0xa5, 0x000302 /* cylinder 3, sector 2 */, 1, 0x20);
	run_loop();
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	read_words(buf, 512);
	is_sectors(buf, (3 * 16 + 5) * 63 + 1, 1);
	/* Another geometry: 4 heads, 10 sectors. */
	command28(0xa3, 0, 10, 0x91);
	ck_assert_uint_eq(took_irq(), READY);
	command28(0xa2, 0x010a0a, 1, 0x20);
	run_loop();
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	read_words(buf, 512);
	is_sectors(buf, (0x10a * 4 + 2) * 10 + 9, 1);
	ck_assert_uint_eq(simple28(0xa4, 1, 1, 0x20, &error), READY | ERR); /* no head 4 */
	ck_assert_uint_eq(error, IDNF);
	ck_assert_uint_eq(simple28(0xa0, 0, 1, 0x20, &error), READY | ERR); /* no sector 0 */
	ck_assert_uint_eq(error, IDNF);
	ck_assert_uint_eq(simple28(0xa0, 11, 1, 0x20, &error), READY | ERR); /* nor 11 */
	command28(0xa0, 0, 0, 0x91);
	ck_assert_uint_eq(took_irq(), READY | ERR);
}
END_TEST

START_TEST(beyond_the_end)
{
	uint8_t error;

	disk();
	ck_assert_uint_eq(simple28(LBA, 131071, 1, 0x40, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 131072, 1, 0x20, &error), READY | ERR);
	ck_assert_uint_eq(error, IDNF);
	ck_assert_uint_eq(simple28(LBA, 131071, 2, 0x20, &error), READY | ERR);
	ck_assert_uint_eq(error, IDNF);
	ck_assert_uint_eq(in(R_LOW) | in(R_MID) << 8 | in(R_HIGH) << 16, 131072);
	command48(0xe0, 1ull << 40, 1, 0x24);
	ck_assert_uint_eq(took_irq(), READY | ERR);
	ck_assert_uint_eq(in(R_FEATURE), IDNF);
	ck_assert_uint_eq(fake_disk.log[fake_disk.n_log - 1].off, 131071 * 512);
}
END_TEST

START_TEST(high_order_bytes)
{
	uint8_t error;

	large_disk("", "");
	command48(0xe0, 0x12345678, 1, 0x42);
	run_loop();
	ck_assert_uint_eq(took_irq(), READY);
	command48(0xe0, 419430399, 1, 0x42);
	run_loop();
	ck_assert_uint_eq(took_irq(), READY);
	command48(0xe0, 419430400, 1, 0x42);
	ck_assert_uint_eq(took_irq(), READY | ERR);
	ck_assert_uint_eq(in(R_FEATURE), IDNF);
	command48(0xe0, 0x12345678, 1, 0x42);
	run_loop();
	ck_assert_uint_eq(took_irq(), READY);
	ck_assert_uint_eq(in(R_LOW), 0x78);
	outb(control_port(), 0x80);
	ck_assert_uint_eq(in(R_LOW), 0x12);
	ck_assert_uint_eq(in(R_COUNT), 0);
	out(R_COUNT, 9); /* a write ends it */
	ck_assert_uint_eq(in(R_COUNT), 9);
	ck_assert_uint_eq(in(R_LOW), 0x78);
	/* READ NATIVE MAX ADDRESS (EXT) */
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xf8, &error), READY);
	ck_assert_uint_eq(in(R_DEVICE), 0xef);
	ck_assert_uint_eq(in(R_LOW), 0xfe);
	command48(0xe0, 0, 0, 0x27);
	ck_assert_uint_eq(took_irq(), READY);
	ck_assert_uint_eq(in(R_LOW) | in(R_MID) << 8 | in(R_HIGH) << 16, 0xffffff);
	outb(control_port(), 0x80);
	ck_assert_uint_eq(in(R_LOW), 0x18);
}
END_TEST

/* --- DMA ----------------------------------------------------------------------------------------
 */

START_TEST(dma_read)
{
	disk();
	prd(0, DATA, 512, false);
	prd(1, DATA + 0x4000, 1024, false);
	prd(2, DATA + 0x4400, 2560, true); /* adjacent */
	bm_prepare(true);
	command28(LBA, 9, 8, 0xc8);
	ck_assert_uint_eq(alt_status(), READY | DRQ);
	bm_start();
	ck_assert_uint_eq(inb(bm_port(2)) & 7, 1);
	ck_assert_uint_eq(alt_status() & BSY, BSY);
	run_loop();
	ck_assert_uint_eq(bm_end(), 4);
	ck_assert_uint_eq(took_irq(), READY);
	is_sectors(guest(DATA), 9, 1);
	is_sectors(guest(DATA + 0x4000), 10, 7);
	ck_assert_uint_eq(fake_disk.log[0].n_iov, 2);
	outb(bm_port(2), 0x64);
	ck_assert_uint_eq(inb(bm_port(2)), 0x60);
	/* Started first, and then the command; 48 bits; 128 sectors into 64 KiB, whose count is 0.
	 */
	prd(0, DATA, 0, true);
	bm_prepare(true);
	bm_start();
	command48(0xe0, 1000, 128, 0x25);
	run_loop();
	ck_assert_uint_eq(bm_end(), 4);
	ck_assert_uint_eq(took_irq(), READY);
	is_sectors(guest(DATA), 1000, 128);
}
END_TEST

START_TEST(dma_write)
{
	disk();
	memset(guest(DATA), 0x5a, 4096);
	prd(0, DATA, 1536, false);
	prd(1, DATA + 0x800, 512, true);
	bm_prepare(false);
	command48(0xe0, 1, 4, 0x35);
	bm_start();
	run_loop();
	ck_assert_uint_eq(bm_end(), 4);
	ck_assert_uint_eq(took_irq(), READY);
	is_sectors(fake_disk.mem, 0, 1);
	for (unsigned i = 0; i < 4 * 512; i++)
		ck_assert_uint_eq(fake_disk.mem[512 + i], 0x5a);
	is_sectors(fake_disk.mem + 5 * 512, 5, 1);
	ck_assert_uint_eq(fake_disk.log[0].flags & BLK_FUA, 0);
	bm_prepare(false);
	command48(0xe0, 1, 4, 0x3d);
	bm_start();
	run_loop();
	ck_assert_uint_eq(fake_disk.log[1].flags & BLK_FUA, BLK_FUA);
	ck_assert_uint_eq(took_irq(), READY);
}
END_TEST

/* Tables that describe more or less than the command moves: 82371SB, "IDE status". */
START_TEST(dma_sizes)
{
	disk();
	prd(0, DATA, 4096, true);
	bm_prepare(true);
	command28(LBA, 3, 4, 0xc8);
	bm_start();
	run_loop();
	ck_assert_uint_eq(bm_end(), 5); /* still active: there is room left */
	ck_assert_uint_eq(took_irq(), READY);
	is_sectors(guest(DATA), 3, 4);
	ck_assert_uint_eq(guest(DATA)[2048], 0);
	ck_assert_uint_eq(inb(bm_port(2)) & 1, 0);

	prd(0, DATA, 1024, true);
	bm_prepare(true);
	command28(LBA, 20, 4, 0xc8);
	bm_start();
	run_loop();
	no_irq();
	ck_assert_uint_eq(bm_end(), 0);
	ck_assert_uint_eq(alt_status(), READY | DRQ); /* it waits for the rest to be taken */
	is_sectors(guest(DATA), 20, 2);
	outb(control_port(), 4);
	outb(control_port(), 0);
	ck_assert_uint_eq(in(R_COMMAND), READY);
	/* Of writes whole sectors arrive. */
	memset(guest(DATA), 0x77, 1024);
	prd(0, DATA, 700, true);
	bm_prepare(false);
	command28(LBA, 20, 4, 0xca);
	bm_start();
	run_loop();
	no_irq();
	ck_assert_uint_eq(fake_disk.mem[20 * 512 + 511], 0x77);
	is_sectors(fake_disk.mem + 21 * 512, 21, 1);
}
END_TEST

START_TEST(dma_bad_tables)
{
	uint8_t error;

	disk();
	for (unsigned i = 0; i < 4; i++) {
		unsigned reads = fake_disk.n_log;

		prd(0, DATA, 512, false);
		prd(1, i == 0 ? 0xfffffff0 : i == 1 ? (16 << 20) - 510 : DATA, 512, i < 2);
		bm_prepare(true);
		if (i == 2)
			outl(bm_port(4), 16 << 20); /* the table itself */
		if (i == 3) { /* it would go on behind a 64 KiB boundary */
			outl(bm_port(4), PRDS + 0xfff8);
			gmem_write(&fake.m.mem, PRDS + 0xfff8, guest(PRDS), 8);
		}
		command28(LBA, 3, 2, 0xc8);
		bm_start();
		run_loop();
		ck_assert_uint_eq(bm_end(), 6);
		error = in(R_FEATURE);
		ck_assert_uint_eq(took_irq(), READY | ERR);
		ck_assert_uint_eq(error, ABRT);
		ck_assert_uint_eq(fake_disk.n_log, reads);
	}
}
END_TEST

/* 8192 entries of 2 bytes, none the last, and a command that wants 32 MiB. */
START_TEST(dma_longest_table)
{
	disk();
	for (unsigned i = 0; i < 8192; i++)
		prd(i, DATA + 4 * i, 2, false);
	bm_prepare(true);
	command48(0xe0, 0, 0, 0x25);
	bm_start();
	run_loop();
	ck_assert_uint_eq(bm_end(), 6);
	ck_assert_uint_eq(took_irq(), READY | ERR);
	prd(8191, DATA, 2, true);
	bm_prepare(true);
	command48(0xe0, 0, 32, 0x25);
	bm_start();
	run_loop();
	ck_assert_uint_eq(bm_end(), 4);
	ck_assert_uint_eq(took_irq(), READY);
}
END_TEST

static unsigned n_kept_back;

static int set_bell(void *ctx, bool mmio, uint64_t addr, unsigned size, int64_t match, int fd,
		    bool add)
{
	if (fd == BUS_DOORBELL_LATE) { /* the parameters of commands alone */
		ck_assert(!mmio && (addr == 0x1f1 || addr == 0x171) && size == 5);
		n_kept_back += add ? 1u : -1u;
		return 0;
	}
	ck_assert(!mmio && size == 1);
	if (add) {
		ide_bells[n_ide_bells].addr = addr;
		ide_bells[n_ide_bells].match = match;
		ide_bells[n_ide_bells++].fd = fd;
	} else {
		n_ide_bells--;
	}
	return 0;
}

/* The write that starts it goes past the handler; everybody sees it in its place. */
START_TEST(doorbells)
{
	static const struct bus_doorbell_ops ops = { .set = set_bell };

	n_ide_bells = n_kept_back = 0;
	fake.m.pio.doorbell_ops = &ops;
	disk();
	ck_assert_uint_eq(n_ide_bells, 4);
	ck_assert_uint_eq(n_kept_back, 1); /* the other channel has no ports */
	for (unsigned how = 0; how < 4; how++) {
		memset(guest(DATA), 0, 1024);
		prd(0, DATA, 1024, true);
		bm_prepare(true);
		if (how != 3)
			command28(LBA, 9, 2, 0xc8);
		ring(BM, 9);
		if (how == 0)
			hear_bells();
		else if (how == 1)
			ck_assert_uint_eq(inb(bm_port(2)) & 7, 1);
		else if (how == 2)
			ck_assert_uint_eq(alt_status() & (BSY | DRQ), BSY);
		else
			command28(LBA, 9, 2, 0xc8);
		hear_bells();
		run_loop();
		ck_assert_uint_eq(bm_end(), 4);
		ck_assert_uint_eq(took_irq(), READY);
		is_sectors(guest(DATA), 9, 2);
	}
	/* Stopped before anybody heard of it; a reset. */
	command28(LBA, 9, 2, 0xc8);
	ring(BM, 9);
	outb(bm_port(0), 8);
	run_loop();
	ck_assert_uint_eq(inb(bm_port(2)) & 1, 0);
	ck_assert_uint_eq(took_irq(), READY | ERR);
	fake_disk.manual = true;
	bm_prepare(true);
	command28(LBA, 9, 2, 0xc8);
	ring(BM, 9);
	power_up();
	ck_assert_uint_eq(inb(bm_port(2)), 0);
	ck_assert_uint_eq(fake_disk.n_waiting, 0);
	hear_bells();
	run_loop();
	ck_assert_uint_eq(inb(bm_port(2)), 0);
	cfg_write(IDE_FN, PCI_COMMAND, 0, 2);
	ck_assert_uint_eq(n_ide_bells, 0);
	ck_assert_uint_eq(n_kept_back, 0);
}
END_TEST

START_TEST(no_mastering)
{
	disk();
	cfg_write(IDE_FN, PCI_COMMAND, PCI_COMMAND_IO, 2);
	prd(0, DATA, 512, true);
	bm_prepare(true);
	command28(LBA, 3, 1, 0xc8);
	bm_start();
	run_loop();
	no_irq();
	cfg_write(IDE_FN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
	run_loop();
	ck_assert_uint_eq(bm_end(), 4);
	is_sectors(guest(DATA), 3, 1);
}
END_TEST

/* The controller is idle when nothing can reach memory any more, not before. */
START_TEST(dma_stopped)
{
	disk();
	fake_disk.manual = true;
	prd(0, DATA, 1024, true);
	bm_prepare(true);
	command28(LBA, 3, 2, 0xc8);
	bm_start();
	run_loop();
	ck_assert_uint_eq(fake_disk.n_waiting, 1);
	outb(bm_port(0), 8);
	ck_assert_uint_eq(inb(bm_port(0)), 8);
	ck_assert_uint_eq(inb(bm_port(2)) & 7, 1);
	outb(bm_port(0), 9); /* cannot be started before */
	ck_assert_uint_eq(inb(bm_port(0)), 8);
	ck_assert_uint_eq(alt_status() & BSY, BSY);
	fake_complete(0);
	run_loop();
	ck_assert_uint_eq(inb(bm_port(2)) & 1, 0);
	ck_assert_uint_eq(in(R_FEATURE), ABRT);
	ck_assert_uint_eq(took_irq(), READY | ERR);
}
END_TEST

START_TEST(reset_in_flight)
{
	disk();
	fake_disk.manual = true;
	prd(0, DATA, 1024, true);
	bm_prepare(true);
	command28(LBA, 3, 2, 0xc8);
	bm_start();
	run_loop();
	outb(control_port(), 4);
	outb(control_port(), 0);
	ck_assert_uint_eq(alt_status(), BSY);
	out(R_COMMAND, 0xec); /* not heard */
	outb(control_port(), 4);
	outb(control_port(), 0);
	ck_assert_uint_eq(alt_status(), BSY);
	ck_assert_uint_eq(inb(bm_port(2)) & 1, 1);
	fake_complete(0);
	run_loop();
	no_irq();
	ck_assert_uint_eq(alt_status(), READY);
	ck_assert_uint_eq(inb(bm_port(2)) & 1, 0);
	ck_assert_uint_eq(in(R_COUNT), 1);
	/* While SRST is held nothing ends it. */
	bm_prepare(true);
	command28(LBA, 3, 2, 0xc8);
	bm_start();
	run_loop();
	outb(control_port(), 4);
	fake_complete(0);
	run_loop();
	ck_assert_uint_eq(alt_status(), BSY);
	outb(control_port(), 0);
	ck_assert_uint_eq(alt_status(), READY);
	/* A request that has not been submitted yet never is. */
	command28(LBA, 3, 1, 0x20);
	outb(control_port(), 4);
	outb(control_port(), 0);
	ck_assert_uint_eq(alt_status(), READY);
	run_loop();
	ck_assert_uint_eq(fake_disk.n_waiting, 0);
	no_irq();
	/* The machine's reset waits for the disk. */
	bm_prepare(true);
	command28(LBA, 3, 2, 0xc8);
	bm_start();
	run_loop();
	ck_assert_uint_eq(fake_disk.n_waiting, 1);
	power_up();
	ck_assert_uint_eq(fake_disk.n_waiting, 0);
	no_irq();
	ck_assert_uint_eq(alt_status(), READY);
	ck_assert_uint_eq(inb(bm_port(2)), 0);
}
END_TEST

/* --- errors of the medium -------------------------------------------------------------------- */

static uint64_t bad_sector;

static int fail_there(const struct blk_io *io)
{
	if (io->op == BLK_FLUSH)
		return -EIO;
	return io->off <= bad_sector * 512 && bad_sector * 512 < io->off + io->len ? -EIO : 0;
}

static uint32_t lba_now(void)
{
	return in(R_LOW) | (uint32_t)in(R_MID) << 8 | (uint32_t)in(R_HIGH) << 16;
}

START_TEST(bad_sectors)
{
	static uint8_t buf[512];
	uint8_t error;

	disk();
	fake_disk.decide = fail_there;
	bad_sector = 137;
	/* What is before it arrives. */
	command28(LBA, 100, 200, 0x20);
	run_loop();
	for (unsigned i = 100; i < 137; i++) {
		ck_assert_uint_eq(took_irq(), READY | DRQ);
		read_words(buf, 512);
		is_sectors(buf, i, 1);
		run_loop();
	}
	ck_assert_uint_eq(in(R_FEATURE), UNC);
	ck_assert_uint_eq(took_irq(), READY | ERR);
	ck_assert_uint_eq(lba_now(), 137);
	ck_assert_uint_gt(ide_host.errors, 0);
	/* By DMA, into two regions. */
	prd(0, DATA, 10240, false);
	prd(1, DATA + 0x8000, 0, true);
	bm_prepare(true);
	command48(0xe0, 100, 128, 0x25);
	bm_start();
	run_loop();
	ck_assert_uint_eq(bm_end() & 2, 0);
	ck_assert_uint_eq(in(R_FEATURE), UNC);
	ck_assert_uint_eq(took_irq(), READY | ERR);
	ck_assert_uint_eq(lba_now(), 137);
	is_sectors(guest(DATA), 100, 20);
	is_sectors(guest(DATA + 0x8000), 120, 17);
	ck_assert_uint_eq(simple28(LBA, 130, 20, 0x40, &error), READY | ERR);
	ck_assert_uint_eq(lba_now(), 137);
	/* A write */
	memset(guest(DATA), 0x33, 10240);
	bm_prepare(false);
	command28(LBA, 135, 10, 0xca);
	bm_start();
	run_loop();
	ck_assert_uint_eq(took_irq(), READY | ERR | DF);
	ck_assert_uint_eq(lba_now(), 137);
	ck_assert_uint_eq(fake_disk.mem[136 * 512], 0x33);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xe7, &error), READY | ERR | DF);
	ck_assert_uint_eq(error, ABRT);
	/* By cylinder, head and sector. */
	ck_assert_uint_eq(simple28(0xa2, 1 /* head 2, sector 1 is 126 */, 20, 0x40, &error),
			  READY | ERR);
	ck_assert_uint_eq(in(R_LOW), 12);
	ck_assert_uint_eq(in(R_DEVICE)&0x0f, 2);
}
END_TEST

/* --- interrupts
 * ----------------------------------------------------------------------------------- */

START_TEST(interrupt_line)
{
	uint8_t id[512];

	disk();
	outb(control_port(), 2);
	command28(LBA, 0, 0, 0xec);
	no_irq();
	ck_assert_uint_eq(inb(bm_port(2)) & 4, 0);
	ck_assert_uint_eq(alt_status(), READY | DRQ);
	outb(control_port(), 0); /* it was only held back */
	ck_assert(fake.irq[14]);
	ck_assert_uint_eq(inb(bm_port(2)) & 4, 4);
	out(R_DEVICE, 0xb0); /* another drive has the line */
	no_irq();
	out(R_DEVICE, LBA);
	ck_assert(fake.irq[14]);
	ck_assert_uint_eq(alt_status(), READY | DRQ); /* does not take it away */
	ck_assert(fake.irq[14]);
	out(R_COMMAND, 0xec); /* a command does */
	ck_assert_uint_eq(took_irq(), READY | DRQ);
	read_words(id, 512);
}
END_TEST

/* --- settings
 * --------------------------------------------------------------------------------------- */

static uint8_t feature(uint8_t what, uint8_t count)
{
	uint8_t error;

	out(R_FEATURE, what);
	return simple28(LBA, 0, count, 0xef, &error);
}

START_TEST(features)
{
	uint8_t id[512];
	struct blk *b;

	disk();
	b = blk_find(fake.m.blks, "d0");
	ck_assert_uint_eq(feature(0x03, 0x45), READY);
	identify(LBA, id);
	ck_assert_uint_eq(word(id, 88), 0x203f);
	ck_assert_uint_eq(word(id, 63), 0x0007);
	ck_assert_uint_eq(feature(0x03, 0x0c), READY);
	ck_assert_uint_eq(feature(0x03, 0x22), READY);
	ck_assert_uint_eq(feature(0x03, 0x46), READY | ERR);
	ck_assert_uint_eq(feature(0x03, 0x0d), READY | ERR);
	ck_assert_uint_eq(feature(0x03, 0x11), READY | ERR);
	identify(LBA, id);
	ck_assert_uint_eq(word(id, 63), 0x0407);
	ck_assert(blk_writeback(b));
	ck_assert_uint_eq(feature(0x82, 0), READY);
	ck_assert(!blk_writeback(b));
	identify(LBA, id);
	ck_assert_uint_eq(word(id, 85) & 0x20, 0);
	ck_assert_uint_eq(feature(0x02, 0), READY);
	ck_assert(blk_writeback(b));
	ck_assert_uint_eq(feature(0x82, 0), READY);
	power_up();
	ck_assert(blk_writeback(b));
	ck_assert_uint_eq(feature(0x55, 0), READY);
	identify(LBA, id);
	ck_assert_uint_eq(word(id, 85) & 0x40, 0);
	ck_assert_uint_eq(feature(0x99, 0), READY | ERR);
	ck_assert_uint_eq(feature(0x66, 0), READY);
}
END_TEST

START_TEST(power)
{
	uint8_t error;

	disk();
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xe5, &error), READY);
	ck_assert_uint_eq(in(R_COUNT), 0xff);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xe0, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xe5, &error), READY);
	ck_assert_uint_eq(in(R_COUNT), 0);
	ck_assert_uint_eq(simple28(LBA, 0, 1, 0x40, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0x98, &error), READY);
	ck_assert_uint_eq(in(R_COUNT), 0xff);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xe6, &error), READY);
	out(R_COMMAND, 0xec);
	no_irq();
	outb(control_port(), 4);
	outb(control_port(), 0);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xe1, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0x10, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 5, 0, 0x70, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 0xfffffff, 0, 0x70, &error), READY | ERR);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0x00, &error), READY | ERR);
	ck_assert_uint_eq(error, ABRT);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xa0, &error), READY | ERR);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0x08, &error), READY | ERR);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xe7, &error), READY);
	ck_assert_uint_eq(simple28(LBA, 0, 0, 0xea, &error), READY);
}
END_TEST

static uint8_t smart(uint8_t what, uint8_t log)
{
	uint8_t error;

	out(R_FEATURE, what);
	return simple28(LBA, 0xc24f00u | log, 1, 0xb0, &error);
}

START_TEST(smart_commands)
{
	uint8_t buf[512], sum = 0, error;

	disk();
	ck_assert_uint_eq(smart(0xda, 0), READY);
	ck_assert_uint_eq(in(R_MID), 0x4f);
	ck_assert_uint_eq(in(R_HIGH), 0xc2);
	ck_assert_uint_eq(smart(0xd0, 0), READY | DRQ);
	read_words(buf, 512);
	for (unsigned i = 0; i < 512; i++)
		sum = (uint8_t)(sum + buf[i]);
	ck_assert_uint_eq(sum, 0);
	ck_assert_uint_ne(buf[2], 0);
	ck_assert_uint_eq(smart(0xd1, 0), READY | DRQ);
	ck_assert_uint_eq(smart(0xd5, 1), READY | DRQ);
	ck_assert_uint_eq(smart(0xd5, 0x30), READY | ERR);
	ck_assert_uint_eq(smart(0xd9, 0), READY);
	ck_assert_uint_eq(smart(0xda, 0), READY | ERR);
	ck_assert_uint_eq(smart(0xd8, 0), READY);
	ck_assert_uint_eq(smart(0xda, 0), READY);
	out(R_FEATURE, 0xda);
	ck_assert_uint_eq(simple28(LBA, 0, 1, 0xb0, &error), READY | ERR);
}
END_TEST

/* --- TRIM
 * ------------------------------------------------------------------------------------------- */

static uint8_t trim(uint64_t a, unsigned n, uint64_t b, unsigned n2)
{
	uint64_t entry[2] = { a | (uint64_t)n << 48, b | (uint64_t)n2 << 48 };

	memset(guest(DATA), 0, 512);
	memcpy(guest(DATA), entry, 16);
	prd(0, DATA, 512, true);
	bm_prepare(false);
	out(R_FEATURE, 1);
	command48(0xe0, 0, 1, 0x06);
	bm_start();
	run_loop();
	bm_end();
	return took_irq();
}

START_TEST(trimming)
{
	uint8_t id[512];

	disk_with("64M", ",discard=unmap", "");
	identify(LBA, id);
	ck_assert_uint_eq(word(id, 169), 1);
	ck_assert_uint_eq(trim(100, 8, 131071, 1), READY);
	ck_assert_uint_eq(fake_disk.n_log, 2);
	ck_assert_int_eq(fake_disk.log[0].op, BLK_DISCARD);
	ck_assert_uint_eq(fake_disk.log[0].off, 51200);
	ck_assert_uint_eq(fake_disk.log[0].len, 4096);
	ck_assert_uint_eq(trim(0, 0, 131071, 2), READY | ERR);
	ck_assert_uint_eq(in(R_FEATURE), IDNF);
	ck_assert_uint_eq(fake_disk.n_log, 2);
	out(R_FEATURE, 2);
	command48(0xe0, 0, 1, 0x06);
	ck_assert_uint_eq(took_irq(), READY | ERR);
}
END_TEST

/* --- two drives
 * --------------------------------------------------------------------------------------- */

START_TEST(master_and_slave)
{
	uint8_t id[512];

	add_fake("1M", "");
	fake_add(&ide_hd_class, "drive=d0,unit=1,serial=second");
	add_drive("if=none,id=c,media=cdrom");
	fake_add(&ide_cd_class, "drive=c,unit=0");
	power_up();
	ck_assert_uint_eq(in(R_MID), 0x14);
	ck_assert_uint_eq(in(R_COMMAND), 0);
	out(R_DEVICE, 0xb0);
	ck_assert_uint_eq(in(R_COMMAND), READY);
	ck_assert_uint_eq(in(R_MID), 0);
	identify(0xf0, id);
	ck_assert_int_eq(memcmp(id + 20, "esocdn", 6), 0);
	ck_assert_uint_eq(word(id, 93), 0x6b00);
	command28(0xf0, 0, 0, 0x90);
	ck_assert_uint_eq(took_irq(), 0);
	ck_assert_uint_eq(in(R_DEVICE), 0xa0);
	ck_assert_uint_eq(in(R_HIGH), 0xeb);
}
END_TEST

START_TEST(hostile)
{
	uint64_t seed = 1;

	disk();
	for (unsigned i = 0; i < 30000; i++) {
		static const uint8_t commands[] = {
			0x20, 0x24, 0x25, 0x30, 0x34, 0x35, 0xc4, 0xc5,
			0xc8, 0xca, 0xec, 0xef, 0x40, 0xe7, 0x90, 0x06
		};
		uint32_t r = fake_random(&seed);

		if (r % 8 == 0)
			command28((uint8_t)(r >> 8), r >> 4, (uint8_t)(r >> 16 & 15),
				  commands[r >> 20 & 15]);
		fake_hammer(0x1f0, 8, 3, r);
		fake_hammer(0x3f6, 1, 1, r);
		fake_hammer(BM, 8, 2, r);
		if (r % 5 == 0)
			run_loop();
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		pci_function,    without_firmware,
		places,          signatures,
		identity,        pio_read,
		pio_read_many,   read_multiple,
		pio_write,       chs,
		beyond_the_end,  high_order_bytes,
		dma_read,        dma_write,
		dma_sizes,       dma_bad_tables,
		doorbells,       dma_longest_table,
		no_mastering,    dma_stopped,
		reset_in_flight, bad_sectors,
		interrupt_line,  features,
		power,           smart_commands,
		trimming,        master_and_slave,
		hostile,
	};

	return run_tests("ide", ide_setup, ide_teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
