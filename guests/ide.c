/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE as a driver uses it: a disk by PIO, READ and WRITE MULTIPLE and bus-master DMA, a CD
 * by packets over PIO and DMA, with interrupts through the IOAPIC (ATA/ATAPI-6; Intel's
 * 82371SB). The disk, master of the first channel, holds pattern 5 and is
 * left with pattern 7; the CD, master of the second, holds pattern 9.
 *
 *   cd=empty|none   no medium is in it; there is no drive (the disk's tests alone)
 *   bench=MIB       reads that much by DMA, 256 KiB at a time, and says how long it took
 */
#include "blk.h"
#include "pci.h"

enum { IDE_FN = 1 << 3 | 1, VEC_DISK = 0x50, VEC_CD = 0x51, VEC_TIMER = 0x52, CD_BLOCK = 2048 };
/* clang-format off */
enum { ERR = 0x01, DRQ = 0x08, DRDY = 0x40, BSY = 0x80 };
enum { R_DATA, R_FEATURE, R_COUNT, R_LOW, R_MID, R_HIGH, R_DEVICE, R_COMMAND };
/* clang-format on */
enum { BM_START = 1, BM_TO_MEMORY = 8, BM_ACTIVE = 1, BM_ERROR = 2, BM_INT = 4 };
enum { DISK_BYTES = 4 << 20, BUFFER = 256 << 10, PATIENCE_MS = 20000 };

struct channel {
	uint16_t command, control, bm;
	unsigned irq, vector;
};

struct prd {
	uint32_t addr, count;
};

static struct channel disk = { 0x1f0, 0x3f6, 0, 14, VEC_DISK },
		      cd = { 0x170, 0x376, 0, 15, VEC_CD };
static volatile unsigned hits[256];
static uint8_t *buf;
static struct prd *prds;

/* --- interrupts ---------------------------------------------------------------------- */

static void on_irq(struct trap_frame *f)
{
	hits[f->vector]++;
	lapic_eoi();
}

/* One interrupt of the channel, counted from the last call. */
static bool wait_interrupt(const struct channel *c)
{
	hits[VEC_TIMER] = 0;
	lapic_timer_after(PATIENCE_MS, VEC_TIMER);
	while (!hits[c->vector] && !hits[VEC_TIMER])
		wait_irq();
	lapic_timer_after(0, VEC_TIMER);
	if (!hits[c->vector])
		return check(false, "an interrupt of IRQ %u", c->irq);
	hits[c->vector] = 0;
	return true;
}

/* --- registers ------------------------------------------------------------------------- */

static uint8_t status(const struct channel *c)
{
	return inb((uint16_t)(c->command + R_COMMAND));
}

static void set(const struct channel *c, unsigned reg, unsigned val)
{
	outb((uint16_t)(c->command + reg), (uint8_t)val);
}

static unsigned get(const struct channel *c, unsigned reg)
{
	return inb((uint16_t)(c->command + reg));
}

static void read_words(const struct channel *c, void *p, unsigned bytes)
{
	unsigned n = bytes / 2;

	asm volatile("rep insw" : "+D"(p), "+c"(n) : "d"(c->command) : "memory");
}

static void write_words(const struct channel *c, const void *p, unsigned bytes)
{
	unsigned n = bytes / 2;

	asm volatile("rep outsw" : "+S"(p), "+c"(n) : "d"(c->command) : "memory");
}

static void begin(uint64_t lba, unsigned count, unsigned command)
{
	set(&disk, R_DEVICE, 0x40);
	set(&disk, R_COUNT, count >> 8);
	set(&disk, R_LOW, lba >> 24);
	set(&disk, R_MID, lba >> 32);
	set(&disk, R_HIGH, lba >> 40);
	set(&disk, R_COUNT, count);
	set(&disk, R_LOW, lba);
	set(&disk, R_MID, lba >> 8);
	set(&disk, R_HIGH, lba >> 16);
	set(&disk, R_COMMAND, command);
}

static bool ended_well(const struct channel *c)
{
	return !(status(c) & (BSY | DRQ | ERR));
}

/* --- PIO --------------------------------------------------------------------------------- */

static bool read_pio(uint64_t lba, unsigned count, unsigned command, unsigned block)
{
	begin(lba, count, command);
	for (unsigned done = 0; done < count; done += block) {
		unsigned n = count - done < block ? count - done : block;

		if (!wait_interrupt(&disk) || (status(&disk) & (DRQ | ERR)) != DRQ)
			return false;
		read_words(&disk, buf + done * SECTOR, n * SECTOR);
	}
	return ended_well(&disk);
}

static bool write_pio(uint64_t lba, unsigned count, unsigned command, unsigned block)
{
	begin(lba, count, command);
	for (unsigned done = 0; done < count; done += block) {
		unsigned n = count - done < block ? count - done : block;

		if ((status(&disk) & (BSY | DRQ | ERR)) != DRQ)
			return false;
		write_words(&disk, buf + done * SECTOR, n * SECTOR);
		if (!wait_interrupt(&disk))
			return false;
	}
	return ended_well(&disk);
}

static void pio(void)
{
	uint8_t id[512];

	set(&disk, R_DEVICE, 0);
	set(&disk, R_COMMAND, 0xec);
	wait_interrupt(&disk);
	status(&disk);
	read_words(&disk, id, sizeof(id));
	check((id[83 * 2 + 1] & 0x44) == 0x44, "IDENTIFY DEVICE: 48-bit addresses");
	check(*(uint32_t *)(id + 200) == DISK_BYTES / SECTOR, "its size");
	check(read_pio(11, 5, 0x24, 1) && !pattern_check(buf, 11 * SECTOR, 5 * SECTOR, 5),
	      "READ SECTORS EXT");
	set(&disk, R_COUNT, 16);
	set(&disk, R_COMMAND, 0xc6);
	check(wait_interrupt(&disk) && ended_well(&disk), "SET MULTIPLE MODE");
	check(read_pio(100, 40, 0x29, 16) && !pattern_check(buf, 100 * SECTOR, 40 * SECTOR, 5),
	      "READ MULTIPLE EXT");
	pattern_fill(buf, 200 * SECTOR, 40 * SECTOR, 6);
	check(write_pio(200, 3, 0x34, 1), "WRITE SECTORS EXT");
	check(write_pio(200, 40, 0x39, 16), "WRITE MULTIPLE EXT");
	memset(buf, 0, 42 * SECTOR);
	check(read_pio(199, 42, 0x29, 16) && !pattern_check(buf, 199 * SECTOR, SECTOR, 5) &&
		      !pattern_check(buf + SECTOR, 200 * SECTOR, 40 * SECTOR, 6) &&
		      !pattern_check(buf + 41 * SECTOR, 240 * SECTOR, SECTOR, 5),
	      "what was written is there, and what is beside it");
	begin(DISK_BYTES / SECTOR, 1, 0x24);
	check(wait_interrupt(&disk) && status(&disk) & ERR && get(&disk, R_FEATURE) == 0x10,
	      "a sector beyond the end");
}

/* --- DMA ------------------------------------------------------------------------------------ */

/* The buffer's first len bytes, in regions of the sizes that a driver may use. */
static void make_table(uint32_t len)
{
	uint32_t at = 0, n = 0;

	while (at < len) {
		uint32_t part = n % 3 == 0 ? 512 : n % 3 == 1 ? 4096 : 65536;

		if (part > len - at)
			part = len - at;
		if (part > 65536 - (at & 65535))
			part = 65536 - (at & 65535);
		prds[n].addr = (uint32_t)(uint64_t)buf + at;
		prds[n].count = part & 0xffff;
		at += part;
		n++;
	}
	prds[n - 1].count |= 0x80000000;
}

static void prepare(const struct channel *c, bool to_memory, uint32_t len)
{
	make_table(len);
	outl((uint16_t)(c->bm + 4), (uint32_t)(uint64_t)prds);
	outb(c->bm, to_memory ? BM_TO_MEMORY : 0);
	outb((uint16_t)(c->bm + 2), BM_INT | BM_ERROR);
}

/* Starts it, waits for the interrupt, and stops it. */
static bool transfer(const struct channel *c)
{
	uint8_t end;

	outb(c->bm, inb(c->bm) | BM_START);
	if (!wait_interrupt(c))
		return false;
	end = inb((uint16_t)(c->bm + 2));
	outb(c->bm, inb(c->bm) & ~BM_START);
	return (end & (BM_INT | BM_ERROR | BM_ACTIVE)) == BM_INT && ended_well(c);
}

static bool disk_dma(uint64_t lba, unsigned count, bool read)
{
	prepare(&disk, read, count * SECTOR);
	begin(lba, count, read ? 0x25 : 0x35);
	return transfer(&disk);
}

static void dma(void)
{
	uint64_t bad = 0;
	bool ok = true;

	for (uint64_t at = 0; ok && at < DISK_BYTES; at += BUFFER) {
		memset(buf, 0, 64);
		ok = disk_dma(at / SECTOR, BUFFER / SECTOR, true);
		if (at)
			bad += pattern_check(buf, at, BUFFER, 5);
	}
	check(ok && !bad, "READ DMA EXT of the whole disk");
	for (uint64_t at = 0; ok && at < DISK_BYTES; at += BUFFER) {
		pattern_fill(buf, at, BUFFER, 7);
		ok = disk_dma(at / SECTOR, BUFFER / SECTOR, false);
	}
	check(ok, "WRITE DMA EXT");
	memset(buf, 0, BUFFER);
	check(disk_dma(3, 7, true) && !pattern_check(buf, 3 * SECTOR, 7 * SECTOR, 7),
	      "it is there");
	set(&disk, R_COMMAND, 0xea);
	check(wait_interrupt(&disk) && ended_well(&disk), "FLUSH CACHE EXT");
	prds[0] = (struct prd){ 0xfffff000, 0x80000000 | 512 };
	outb((uint16_t)(disk.bm + 2), BM_INT | BM_ERROR);
	begin(0, 1, 0x25);
	outb(disk.bm, BM_START | BM_TO_MEMORY);
	check(wait_interrupt(&disk) && inb((uint16_t)(disk.bm + 2)) & BM_ERROR &&
		      status(&disk) & ERR,
	      "a region that is not memory");
	outb(disk.bm, 0);
}

/* --- CD ----------------------------------------------------------------------------------------
 */

/* A packet; its data by PIO or DMA to the buffer. The status at its end. */
static uint8_t packet(const uint8_t *cdb, uint32_t len, bool by_dma)
{
	uint32_t at = 0;
	uint8_t st;

	set(&cd, R_DEVICE, 0);
	set(&cd, R_FEATURE, by_dma);
	set(&cd, R_MID, 0);
	set(&cd, R_HIGH, 0x10); /* 4 KiB at a time */
	if (by_dma)
		prepare(&cd, true, len);
	set(&cd, R_COMMAND, 0xa0);
	while ((st = status(&cd)) & BSY)
		pause();
	check((st & DRQ) && get(&cd, R_COUNT) == 1, "packet %x is asked for", cdb[0]);
	write_words(&cd, cdb, 12);
	if (by_dma)
		return transfer(&cd) ? status(&cd) : ERR;
	while (wait_interrupt(&cd) && (st = status(&cd)) & DRQ) {
		uint32_t n = get(&cd, R_MID) | get(&cd, R_HIGH) << 8;

		read_words(&cd, buf + at, n);
		at += n;
	}
	return at == len || st & ERR ? st : ERR;
}

static void cd_reads(uint32_t lba, uint8_t n, bool by_dma)
{
	const uint8_t read_10[12] = { 0x28, 0, 0, 0, (uint8_t)(lba >> 8), (uint8_t)lba, 0, 0, n };

	memset(buf, 0, n * CD_BLOCK);
	check(!(packet(read_10, n * CD_BLOCK, by_dma) & ERR) &&
		      !pattern_check(buf, lba * CD_BLOCK, n * CD_BLOCK, 9),
	      "READ (10) by %s: %u blocks", by_dma ? "DMA" : "PIO", n);
}

static void cdrom(void)
{
	static const uint8_t ready[12] = { 0x00 }, sense[12] = { 0x03, 0, 0, 0, 18 },
			     capacity[12] = { 0x25 };
	bool empty = arg_is("cd", "empty");

	set(&cd, R_DEVICE, 0);
	check(get(&cd, R_MID) == 0x14 && get(&cd, R_HIGH) == 0xeb, "the CD drive's signature");
	check(packet(ready, 0, false) & ERR && get(&cd, R_FEATURE) >> 4 == 6, "unit attention");
	check(!(packet(sense, 18, false) & ERR) && buf[2] == 6 && buf[12] == 0x29,
	      "because of the reset");
	check(!(packet(ready, 0, false) & ERR) == !empty, "ready, if a medium is in");
	if (empty) {
		packet(sense, 18, false);
		check(buf[2] == 2 && buf[12] == 0x3a, "none is");
		return;
	}
	check(!(packet(capacity, 8, false) & ERR) && buf[6] == 8 && !buf[7], "READ CAPACITY");
	cd_reads(16, 1, false);
	cd_reads(20, 61, false);
	cd_reads(16, 1, true);
	cd_reads(100, 100, true);
}

/* --- how fast
 * ------------------------------------------------------------------------------------- */

static void bench(uint64_t mib)
{
	uint64_t n = (mib << 20) / BUFFER, start;
	bool ok = true;

	disk_dma(0, BUFFER / SECTOR, true);
	start = rdtsc();
	for (uint64_t i = 0; ok && i < n; i++)
		ok = disk_dma(i * (BUFFER / SECTOR) % (DISK_BYTES / SECTOR), BUFFER / SECTOR, true);
	check(ok, "reads");
	say("bench: %lu reads of 256 KiB in %lu ms\n", n, ms_since(start));
}

static void open_channel(struct channel *c, uint16_t bm)
{
	c->bm = bm;
	trap_handler[c->vector] = on_irq;
	ioapic_route(acpi_irq_gsi(c->irq), c->vector);
	outb(c->control, 0);
}

void guest_main(void)
{
	uint16_t bm;

	if (!check(pci_read32(IDE_FN, PCI_VENDOR) == 0x70108086, "the controller is in slot 1"))
		return;
	check(pci_read16(IDE_FN, PCI_COMMAND) & PCI_IO, "firmware has turned it on");
	pci_command(IDE_FN, PCI_MASTER, 0);
	bm = (uint16_t)(pci_read32(IDE_FN, PCI_BAR0 + 16) & 0xfff0);
	lapic_init();
	clock_init();
	trap_handler[VEC_TIMER] = on_irq;
	buf = alloc(BUFFER, 2 << 20);
	prds = alloc(4096, 4096);
	map_user((uint64_t)buf, BUFFER);
	open_channel(&disk, bm);
	if (arg_u64("bench", 0)) {
		bench(arg_u64("bench", 0));
		return;
	}
	pio();
	dma();
	if (arg_is("cd", "none"))
		return;
	open_channel(&cd, (uint16_t)(bm + 8));
	cdrom();
}
