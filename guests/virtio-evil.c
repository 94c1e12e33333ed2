/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A malicious driver of virtio-blk: breaks one rule of virtio 1.2 after the
 * other. After each the machine must live, the device must work again after a reset, and where the
 * rings were broken it must have said so by NEEDS_RESET (section 2.1.2; legacy devices have no such
 * bit).
 *
 *   case=N     only this one (they are numbered in what is printed)
 *   verify=N   the disk has this pattern (see lib/blk.h; default 5)
 *   rounds=N   how often a device with reads in flight is reset (default 10)
 *   resets     only the resets in flight
 *   lenient    do not insist on NEEDS_RESET, nor that bad set-up is refused: for devices that let
 * pass what harms nobody
 */
#include "blk.h"
#include "pci.h"

enum { SIZE = 16, IN_FLIGHT = 32, PIECE = 65536, LINKS = 6 };

/* In which rings a case makes sense. */
enum { SPLIT = 1, PACKED = 2, ANY = SPLIT | PACKED };

enum expect {
	ALIVE, /* whatever: nothing breaks */
	BROKEN, /* NEEDS_RESET */
	DONE, /* the request is carried out */
};

enum { N = VD_NEXT, W = VD_WRITE, I = VD_INDIRECT };
#define SIZE_OF_QUEUE 0xfffe /* as `next`: the first index that is out of range */

struct link {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next; /* next: split rings and their tables only */
	bool at_ram_end; /* addr counts from the end of RAM below 4 GiB */
};

struct chain {
	const char *name;
	enum expect expect;
	unsigned kinds;
	struct link l[LINKS], table[LINKS];
	uint16_t head;
	uint16_t jump; /* of the avail index; 0 is 1 */
	bool no_indirect; /* without negotiating it */
};

static struct vdev dev;
static struct vq q;
static uint64_t start_mark, ram_end;
static struct vdesc tables[2][64] __attribute__((aligned(16)));
static struct blk_header header;
static volatile uint8_t status;
static uint8_t sector[8 * SECTOR] __attribute__((aligned(4096)));
static uint8_t *data;
static unsigned case_number;
static bool lenient;

#define HEADER                                                                                     \
	{                                                                                          \
		(uint64_t) & header, 16, N, 1                                                      \
	}
#define DATA                                                                                       \
	{                                                                                          \
		(uint64_t) sector, SECTOR, N | W, 2                                                \
	}
#define STATUS                                                                                     \
	{                                                                                          \
		(uint64_t) & status, 1, W, 0                                                       \
	}
#define TABLE (uint64_t) tables[0]
#define TABLE2 (uint64_t) tables[1]

static const struct chain chains[] = {
	{ "a good request", DONE, ANY, { HEADER, DATA, STATUS } },
	{ "a good request in an indirect table",
	  DONE,
	  ANY,
	  { { TABLE, 48, I, 0 } },
	  { HEADER, DATA, STATUS } },
	/* --- indices */
	{ "next is the queue's size",
	  BROKEN,
	  SPLIT,
	  { { (uint64_t)&header, 16, N, SIZE_OF_QUEUE }, DATA, STATUS } },
	{ "next is 65535", BROKEN, SPLIT, { { (uint64_t)&header, 16, N, 0xffff }, DATA, STATUS } },
	{ "head is the queue's size",
	  BROKEN,
	  SPLIT,
	  { HEADER, DATA, STATUS },
	  .head = SIZE_OF_QUEUE },
	{ "head is 65535", BROKEN, SPLIT, { HEADER, DATA, STATUS }, .head = 0xffff },
	{ "a loop of one", BROKEN, SPLIT, { { (uint64_t)&header, 16, N, 0 } } },
	{ "a loop of two", BROKEN, SPLIT, { HEADER, { (uint64_t)sector, SECTOR, N, 0 } } },
	{ "a loop of writable ones",
	  BROKEN,
	  SPLIT,
	  { HEADER, { (uint64_t)sector, SECTOR, N | W, 1 } } },
	{ "a loop in an indirect table",
	  BROKEN,
	  SPLIT,
	  { { TABLE, 48, I, 0 } },
	  { HEADER, { (uint64_t)sector, SECTOR, N | W, 1 }, STATUS } },
	{ "avail index jumps by the size and one",
	  BROKEN,
	  SPLIT,
	  { HEADER, DATA, STATUS },
	  .jump = SIZE_OF_QUEUE },
	{ "avail index jumps by 32768", BROKEN, SPLIT, { HEADER, DATA, STATUS }, .jump = 0x8000 },
	{ "avail index goes back", BROKEN, SPLIT, { HEADER, DATA, STATUS }, .jump = 0xffff },
	{ "the same head, again and again", ALIVE, SPLIT, { HEADER, DATA, STATUS }, .jump = SIZE },
	/* --- lengths and order */
	{ "no length", BROKEN, ANY, { HEADER, { (uint64_t)sector, 0, N | W, 2 }, STATUS } },
	{ "no length, readable", BROKEN, ANY, { { (uint64_t)&header, 0, N, 1 }, DATA, STATUS } },
	{ "no length at address 0", BROKEN, ANY, { HEADER, { 0, 0, N | W, 2 }, STATUS } },
	{ "readable after writable",
	  BROKEN,
	  ANY,
	  { { (uint64_t)sector, SECTOR, N | W, 1 }, { (uint64_t)&header, 16, N, 2 }, STATUS } },
	{ "readable at the end", BROKEN, ANY, { HEADER, DATA, { (uint64_t)&status, 1, 0, 0 } } },
	{ "only a header", ALIVE, ANY, { { (uint64_t)&header, 16, 0, 0 } } },
	{ "only a status", ALIVE, ANY, { STATUS } },
	{ "half a header", ALIVE, ANY, { { (uint64_t)&header, 8, N, 1 }, DATA, STATUS } },
	{ "a header that is too long",
	  ALIVE,
	  ANY,
	  { { (uint64_t)sector, 512, N, 1 }, DATA, STATUS } },
	{ "flags that do not exist",
	  ALIVE,
	  SPLIT,
	  { { (uint64_t)&header, 16, N | 0xfff0, 1 }, DATA, STATUS } },
	/* --- addresses */
	{ "an address that wraps",
	  BROKEN,
	  ANY,
	  { HEADER, { ~0ull - 100, SECTOR, N | W, 2 }, STATUS } },
	{ "an address up to the last byte of all",
	  BROKEN,
	  ANY,
	  { HEADER, { 0ull - SECTOR, SECTOR, N | W, 2 }, STATUS } },
	{ "a header at an address that wraps",
	  BROKEN,
	  ANY,
	  { { ~0ull - 3, 16, N, 1 }, DATA, STATUS } },
	{ "4 GiB from the first byte of RAM",
	  BROKEN,
	  ANY,
	  { HEADER, { 0, 0xffffffff, N | W, 2 }, STATUS } },
	{ "4 GiB from the last byte of RAM",
	  BROKEN,
	  ANY,
	  { HEADER, { -1ull, 0xffffffff, N | W, 2, true }, STATUS } },
	{ "across the end of RAM",
	  BROKEN,
	  ANY,
	  { HEADER, { -256ull, SECTOR, N | W, 2, true }, STATUS } },
	{ "behind RAM", BROKEN, ANY, { HEADER, { 0, SECTOR, N | W, 2, true }, STATUS } },
	{ "in the hole below 4 GiB",
	  BROKEN,
	  ANY,
	  { HEADER, { 0xfd000000, SECTOR, N | W, 2 }, STATUS } },
	{ "in the local APIC", BROKEN, ANY, { HEADER, { LAPIC_BASE, SECTOR, N | W, 2 }, STATUS } },
	{ "in the IOAPIC", BROKEN, ANY, { HEADER, { IOAPIC_BASE, SECTOR, N | W, 2 }, STATUS } },
	{ "at 1 TiB", BROKEN, ANY, { HEADER, { 1ull << 40, SECTOR, N | W, 2 }, STATUS } },
	{ "at 2^63", BROKEN, ANY, { HEADER, { 1ull << 63, SECTOR, N | W, 2 }, STATUS } },
	{ "a status in the hole", BROKEN, ANY, { HEADER, DATA, { 0xfd000000, 1, W, 0 } } },
	/* --- indirect tables */
	{ "a table of no length", BROKEN, ANY, { { TABLE, 0, I, 0 } }, { HEADER, DATA, STATUS } },
	{ "a table of 47 bytes", BROKEN, ANY, { { TABLE, 47, I, 0 } }, { HEADER, DATA, STATUS } },
	{ "a table of 8 bytes", BROKEN, ANY, { { TABLE, 8, I, 0 } }, { HEADER, DATA, STATUS } },
	{ "a table of 4 GiB",
	  BROKEN,
	  ANY,
	  { { TABLE, 0xfffffff0, I, 0 } },
	  { HEADER, DATA, STATUS } },
	{ "a table of 1 MiB",
	  BROKEN,
	  ANY,
	  { { TABLE, 0x100000, I, 0 } },
	  { HEADER, { (uint64_t)sector, SECTOR, N | W, 0xff00 }, STATUS } },
	{ "a table behind RAM", BROKEN, ANY, { { 0, 48, I, 0, true } } },
	{ "a table at an address that wraps", BROKEN, ANY, { { ~0ull - 15, 48, I, 0 } } },
	{ "a table in the hole", BROKEN, ANY, { { 0xfd000000, 48, I, 0 } } },
	{ "a table in a table",
	  BROKEN,
	  ANY,
	  { { TABLE, 48, I, 0 } },
	  { HEADER, { TABLE2, 16, I, 0 }, STATUS } },
	{ "a table in itself", BROKEN, ANY, { { TABLE, 16, I, 0 } }, { { TABLE, 16, I, 0 } } },
	{ "a table, and a next one",
	  BROKEN,
	  SPLIT,
	  { { TABLE, 48, I | N, 1 }, DATA, STATUS },
	  { HEADER, DATA, STATUS } },
	{ "a table's next is behind its end",
	  BROKEN,
	  SPLIT,
	  { { TABLE, 48, I, 0 } },
	  { HEADER, { (uint64_t)sector, SECTOR, N | W, 3 }, STATUS } },
	{ "a table that was not negotiated",
	  BROKEN,
	  ANY,
	  { { TABLE, 48, I, 0 } },
	  { HEADER, DATA, STATUS },
	  .no_indirect = true },
	/* --- packed rings */
	{ "a buffer id out of range",
	  ALIVE,
	  PACKED,
	  { HEADER, DATA, { (uint64_t)&status, 1, W, 0xffff } } },
};

/* --- the ring, written by hand --- */
static uint64_t real_addr(const struct link *l)
{
	return l->addr + (l->at_ram_end ? ram_end : 0);
}

static uint16_t real_index(uint16_t i)
{
	return i == SIZE_OF_QUEUE ? q.size : i;
}

static void fill_table(struct vdesc *t, const struct link *l)
{
	for (unsigned i = 0; i < LINKS; i++) {
		t[i].addr = real_addr(&l[i]);
		t[i].len = l[i].len;
		t[i].flags = q.packed ? 0 : l[i].flags;
		t[i].next = q.packed ? (uint16_t)(l[i].flags & ~N) : l[i].next;
	}
}

static void put_split(const struct chain *c)
{
	uint16_t jump = c->jump ? real_index(c->jump) : 1;

	if (c->jump == SIZE_OF_QUEUE)
		jump++;
	for (unsigned i = 0; i < LINKS; i++)
		q.desc[i] = (struct vdesc){ real_addr(&c->l[i]), c->l[i].len, c->l[i].flags,
					    real_index(c->l[i].next) };
	q.avail->ring[0] = real_index(c->head);
	q.avail->idx += jump;
}

static void put_packed(const struct chain *c)
{
	for (unsigned i = LINKS; i--;) {
		const struct link *l = &c->l[i];
		volatile struct vpdesc *d = &q.ring[i];

		if (!l->flags && !l->len && !l->addr)
			continue;
		d->addr = real_addr(l);
		d->len = l->len;
		d->id = l->flags & N ? 0 : l->next;
		asm volatile("" ::: "memory");
		d->flags = (uint16_t)(l->flags | VD_AVAIL);
	}
}

/* --- the device, good again --- */
static bool begin(bool indirect)
{
	uint16_t max;

	alloc_to(start_mark);
	if (!vdev_begin(&dev, 0))
		return check(false, "features accepted");
	if (!indirect && vdev_has(&dev, VF_INDIRECT)) {
		/* Once more, with what is wanted only. */
		vdev_reset(&dev);
		dev.features = dev.offered & (BIT(VF_VERSION_1) | BIT(VF_EVENT_IDX) |
					      (arg_is("ring", "packed") ? BIT(VF_PACKED) : 0));
		dev.ops->set_status(&dev, VS_ACKNOWLEDGE | VS_DRIVER);
		dev.ops->set_features(&dev, dev.features);
		dev.ops->set_status(&dev, VS_ACKNOWLEDGE | VS_DRIVER | VS_FEATURES_OK);
	}
	max = dev.ops->queue_max(&dev, 0);
	vq_make(&dev, &q, 0, dev.transport == VT_LEGACY || max < SIZE ? max : SIZE);
	header = (struct blk_header){ .type = BLK_IN };
	status = BLK_PENDING;
	return true;
}

static void go(void)
{
	dev.ops->queue_place(&dev, 0, &q.place);
	vdev_driver_ok(&dev);
}

static bool works_again(void)
{
	bool ok;

	alloc_to(start_mark);
	memset(data, 0, SECTOR);
	ok = vdev_begin(&dev, 0) && vq_setup(&dev, &q, 0);
	if (!ok)
		return false;
	vdev_driver_ok(&dev);
	ok = blk_do(&q, BLK_IN, 3, data, SECTOR) == BLK_OK;
	return ok && !pattern_check(data, 3 * SECTOR, SECTOR, (unsigned)arg_u64("verify", 5));
}

static bool needs_reset(void)
{
	return dev.ops->status(&dev) & VS_NEEDS_RESET;
}

/* Waits for something to happen; for BROKEN, until it has. */
static void outcome(enum expect expect)
{
	uint64_t t0 = rdtsc();
	unsigned most = expect == BROKEN && vdev_has(&dev, VF_VERSION_1) && !lenient ? 2000 : 20;

	while (!needs_reset() && ms_since(t0) < most && !(expect == DONE && vq_ready(&q)))
		pause();
	if (expect == DONE)
		check(status == BLK_OK && vq_ready(&q), "it is carried out");
	else if (expect == BROKEN && vdev_has(&dev, VF_VERSION_1) && !lenient)
		check(needs_reset(), "the device needs a reset");
	else
		say("%s\n", needs_reset()  ? "(needs a reset)"
			    : vq_ready(&q) ? "(something came back)"
					   : "(nothing)");
}

static bool wanted(const char *name)
{
	uint64_t only = arg_u64("case", 0);

	case_number++;
	if (only && only != case_number)
		return false;
	say("case %u: %s\n", case_number, name);
	return true;
}

static void run_chain(const struct chain *c)
{
	if (!(c->kinds & (arg_is("ring", "packed") ? PACKED : SPLIT)) || !wanted(c->name) ||
	    !begin(!c->no_indirect))
		return;
	fill_table(tables[0], c->table);
	tables[1][0] =
		(struct vdesc){ (uint64_t)sector, SECTOR, q.packed ? 0 : W, q.packed ? W : 0 };
	go();
	(q.packed ? put_packed : put_split)(c);
	vq_notify(&q);
	outcome(c->expect);
	check(works_again(), "the device works again");
}

/* --- cases that are not one chain --- */
struct set_up {
	const char *name;
	void (*run)(void);
	unsigned transports; /* bit VT_... */
	unsigned kinds;
};
enum { LEGACY = 1 << VT_LEGACY, MODERN = 1 << VT_MODERN, MMIO = 1 << VT_MMIO, ALL = 7 };

static const struct chain good = { "", DONE, ANY, { HEADER, DATA, STATUS } };

static void put_good(void)
{
	(q.packed ? put_packed : put_split)(&good);
}

static void after_bad_place(enum expect expect)
{
	go();
	put_good();
	vq_notify(&q);
	outcome(expect);
}

static void queue_sizes(void)
{
	static const uint16_t sizes[] = { 0, 3, 65535, 32769, 4097, 32768 };

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		if (i)
			begin(true);
		say("size %u: ", sizes[i]);
		q.place.size = sizes[i];
		after_bad_place(ALIVE);
	}
}

/* Each of the three parts of a ring in each bad place. */
static void ring_places(void)
{
	const uint64_t places[] = { 1,          0x1000003,  ~0ull - 64,   ~0ull & ~0xfffull,
				    1ull << 40, 0xfd000000, 0xffff0000,   0xf0000,
				    LAPIC_BASE, ram_end,    ram_end - 16, 1ull << 63 };

	for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
		for (unsigned part = 0; part < 3; part++) {
			uint64_t *at[] = { &q.place.desc, &q.place.driver, &q.place.device };
			bool well;

			if (i || part)
				begin(true);
			*at[part] = places[i];
			say("%s at %lx: ", (const char *[]){ "desc", "driver", "device" }[part],
			    places[i]);
			/* Where a board may have RAM, and packed event structures fit in 16 bytes.
			 */
			well = places[i] == 0xf0000 ||
			       (places[i] == ram_end - 16 && q.packed && part);
			after_bad_place(well ? ALIVE : BROKEN);
		}
	}
}

static void legacy_places(void)
{
	static const uint32_t pfns[] = { 0xffffffff, 0xfd000, 0xfee00, 0x80000000, 0x100000 };

	for (unsigned i = 0; i < sizeof pfns / sizeof pfns[0]; i++) {
		if (i)
			begin(true);
		q.place.desc = (uint64_t)pfns[i] << 12;
		go();
		vq_notify(&q);
		say("page %x: ", pfns[i]);
		outcome(ALIVE);
	}
}

static void enable_twice(void)
{
	struct vq_place again = q.place;

	go();
	dev.ops->queue_place(&dev, 0, &again);
	again.desc = 0xfd000000;
	again.driver = ~0ull;
	again.size = 3;
	dev.ops->queue_place(&dev, 0, &again); /* changed while enabled */
	put_good();
	vq_notify(&q);
	outcome(ALIVE);
}

static void unknown_features(void)
{
	static const uint64_t sets[] = { ~0ull, BIT(23) | BIT(VF_VERSION_1),
					 BIT(63) | BIT(VF_VERSION_1), BIT(45) | BIT(VF_VERSION_1),
					 0 };

	for (unsigned i = 0; i < sizeof sets / sizeof sets[0]; i++) {
		vdev_reset(&dev);
		dev.ops->set_status(&dev, VS_ACKNOWLEDGE | VS_DRIVER);
		dev.ops->set_features(&dev, sets[i]);
		dev.ops->set_status(&dev, VS_ACKNOWLEDGE | VS_DRIVER | VS_FEATURES_OK);
		if (dev.transport == VT_LEGACY || dev.mmio_version == 1 || lenient)
			say("features %lx: status %x\n", sets[i], dev.ops->status(&dev));
		else
			check(!(dev.ops->status(&dev) & VS_FEATURES_OK), "features %lx are refused",
			      sets[i]);
		dev.ops->queue_place(&dev, 0, &q.place);
		vdev_driver_ok(&dev);
		vq_notify(&q);
	}
}

static void no_features_ok(void)
{
	vdev_reset(&dev);
	dev.ops->set_status(&dev, VS_ACKNOWLEDGE | VS_DRIVER);
	dev.ops->queue_place(&dev, 0, &q.place);
	put_good();
	dev.ops->set_status(&dev, VS_ACKNOWLEDGE | VS_DRIVER | VS_DRIVER_OK);
	vq_notify(&q);
	outcome(ALIVE);
	vdev_reset(&dev);
	dev.ops->queue_place(&dev, 0, &q.place);
	dev.ops->set_status(&dev, VS_DRIVER_OK);
	vq_notify(&q);
	outcome(ALIVE);
}

static void early_doorbell(void)
{
	dev.ops->queue_place(&dev, 0, &q.place);
	put_good();
	vq_notify(&q);
	delay_us(20000);
	if (!lenient && dev.transport != VT_LEGACY)
		check(!vq_ready(&q) && status == BLK_PENDING, "nothing happens before DRIVER_OK");
	vdev_driver_ok(&dev);
	vq_notify(&q);
	outcome(DONE);
}

static void other_doorbells(void)
{
	static const unsigned queues[] = { 1, 7, 63, 64, 255, 1000, 0xfffe, 0xffff };

	go();
	for (unsigned i = 0; i < sizeof queues / sizeof queues[0]; i++) {
		if (dev.transport == VT_LEGACY || dev.transport == VT_MMIO)
			dev.ops->notify(&dev, queues[i]);
		else if (queues[i] * dev.notify_multiplier + 4 <= dev.notify_len)
			mmio_write32(dev.notify + queues[i] * dev.notify_multiplier, queues[i]);
	}
	if (dev.transport == VT_MODERN) {
		for (unsigned off = 0; off < dev.notify_len && off < 64; off++) {
			*(volatile uint8_t *)(dev.notify + off) = 0xff;
			*(volatile uint16_t *)(dev.notify + off) = 0xffff;
		}
	}
	put_good();
	vq_notify(&q);
	outcome(DONE);
}

static void other_queues(void)
{
	static const unsigned queues[] = { 60, 64, 255, 1000, 0xffff };
	struct vq_place bad = { ~0ull, ~0ull, ~0ull, 0xffff, 0xffff };

	for (unsigned i = 0; i < sizeof queues / sizeof queues[0]; i++) {
		check(dev.ops->queue_max(&dev, queues[i]) == 0, "there is no queue %u", queues[i]);
		dev.ops->queue_place(&dev, queues[i], &bad);
	}
	go();
	put_good();
	vq_notify(&q);
	outcome(DONE);
}

static void bad_vectors(void)
{
	struct vq_place p = q.place;
	uint64_t common = dev.common;
	unsigned vectors[] = { pci_msix_count((unsigned)dev.devfn), 0x7ff, 0x800, 0xfffe };

	for (unsigned i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		p.vector = (uint16_t)vectors[i];
		dev.ops->queue_place(&dev, 0, &p);
		check(*(volatile uint16_t *)(common + 0x1a) == VIRTIO_NO_VECTOR,
		      "queue vector %u is refused", vectors[i]);
		*(volatile uint16_t *)(common + 0x10) = (uint16_t)vectors[i];
		check(*(volatile uint16_t *)(common + 0x10) == VIRTIO_NO_VECTOR,
		      "configuration vector %u is refused", vectors[i]);
	}
	vdev_driver_ok(&dev);
	put_good();
	vq_notify(&q);
	outcome(ALIVE);
}

/* All registers with all kinds of values and widths, at all alignments. */
static void write_registers(uint64_t base, unsigned len, uint64_t skip)
{
	static const uint32_t values[] = { 0xffffffff, 0x80000000, 0x55aa1234, 1, 0 };

	for (unsigned off = 0; off < len; off++) {
		for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
			if (base + off == skip)
				continue;
			*(volatile uint8_t *)(base + off) = (uint8_t)values[i];
			*(volatile uint16_t *)(base + off) = (uint16_t)values[i];
			*(volatile uint32_t *)(base + off) = values[i];
			*(volatile uint64_t *)(base + off) = values[i] * 0x100000001ull;
		}
		(void)*(volatile uint64_t *)(base + off);
	}
}

static void all_registers(void)
{
	go();
	if (dev.transport == VT_MMIO) {
		write_registers(dev.mmio, 0x200 - 8, 0);
	} else if (dev.transport == VT_MODERN) {
		write_registers(dev.common, 0x40, 0);
		write_registers(dev.isr, 4, 0);
		write_registers(dev.cfg, dev.cfg_len < 128 ? dev.cfg_len : 128, 0);
		go();
		write_registers(dev.cfg, dev.cfg_len < 128 ? dev.cfg_len : 128, 0);
	} else {
		for (unsigned off = 0; off < 64; off++) {
			for (unsigned i = 0; i < 3; i++) {
				outb((uint16_t)(dev.io + off), (uint8_t)-i);
				outw((uint16_t)(dev.io + off), (uint16_t)-i);
				outl((uint16_t)(dev.io + off), -i);
				inl((uint16_t)(dev.io + off));
			}
		}
	}
}

/* The whole configuration space, BARs included; then as it was. */
static void pci_config(void)
{
	unsigned devfn = (unsigned)dev.devfn;
	uint32_t was[64];

	go();
	for (unsigned i = 0; i < 64; i++)
		was[i] = pci_read32(devfn, i * 4);
	for (unsigned i = 0; i < 64; i++) {
		static const uint32_t values[] = { 0xffffffff, 0, 0x5a5a5a5a };

		for (unsigned k = 0; k < 3; k++) {
			pci_write32(devfn, i * 4, values[k]);
			pci_write16(devfn, i * 4 + 2, (uint16_t)values[k]);
			pci_write8(devfn, i * 4 + 3, (uint8_t)values[k]);
			pci_write8(devfn, i * 4 + 1, (uint8_t)~values[k]);
		}
		if (i != 1)
			pci_write32(devfn, i * 4, was[i]);
	}
	for (unsigned i = 2; i < 64; i++)
		pci_write32(devfn, i * 4, was[i]);
	pci_write32(devfn, 4, was[1] & 0xffff);
	for (unsigned i = 0; i < 64; i++) {
		/* What a driver reads through the window into BARs is no register of its own. */
		if (pci_read32(devfn, i * 4) != was[i] && i != 1)
			say("register %x was %x, is %x\n", i * 4, was[i], pci_read32(devfn, i * 4));
	}
	check(pci_read32(devfn, 0) == was[0], "the ids stay");
}

/* The window into BARs in configuration space (4.1.4.9), to everywhere. */
static void pci_window(void)
{
	unsigned devfn = (unsigned)dev.devfn, cap = 0;
	static const uint32_t offs[] = {
		0, 1, 0x14, 0xfff, 0x3ffc, 0x4000, 0x7fffffff, 0xffffffff
	};
	static const uint32_t lens[] = { 0, 1, 2, 3, 4, 8, 0xffffffff };

	go();
	while ((cap = pci_find_cap(devfn, PCI_CAP_VENDOR, cap)) && pci_read8(devfn, cap + 3) != 5)
		;
	if (!cap) {
		say("no such window\n");
		return;
	}
	for (unsigned bar = 0; bar < 9; bar++) {
		pci_write8(devfn, cap + 4, (uint8_t)bar);
		for (unsigned i = 0; i < sizeof offs / sizeof offs[0]; i++) {
			for (unsigned k = 0; k < sizeof lens / sizeof lens[0]; k++) {
				pci_write32(devfn, cap + 8, offs[i]);
				pci_write32(devfn, cap + 12, lens[k]);
				pci_read32(devfn, cap + 16);
				pci_write32(devfn, cap + 16, 0xffffffff);
				pci_read8(devfn, cap + 17);
				pci_write16(devfn, cap + 18, 0);
			}
		}
	}
	pci_write8(devfn, cap + 4, 0xff);
	pci_read32(devfn, cap + 16);
	pci_write8(devfn, cap + 4, 0);
	pci_write32(devfn, cap + 8, 0);
	pci_write32(devfn, cap + 12, 0);
}

static void status_values(void)
{
	go();
	for (unsigned v = 255; v; v--)
		dev.ops->set_status(&dev, (uint8_t)v);
	vdev_reset(&dev);
	for (unsigned v = 1; v < 256; v <<= 1)
		dev.ops->set_status(&dev, (uint8_t)v);
	vq_notify(&q);
}

/* Rings that go on after a break: nothing more is done until the reset. */
static void after_break(void)
{
	struct chain c = good;

	c.l[1].len = 0;
	go();
	(q.packed ? put_packed : put_split)(&c);
	vq_notify(&q);
	outcome(BROKEN);
	if (!vdev_has(&dev, VF_VERSION_1) || lenient)
		return;
	status = BLK_PENDING;
	put_good();
	for (unsigned i = 0; i < 100; i++)
		vq_notify(&q);
	delay_us(20000);
	check(status == BLK_PENDING, "a broken device does nothing more");
}

/* An indirect table of n descriptors of one byte each. */
static void long_table(void)
{
	static const unsigned counts[] = { 300, 1000, 1025, 4096, 65536 };
	struct vdesc *t;

	for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		unsigned n = counts[i];
		struct chain c = { "", ALIVE, ANY, { { 0, n * 16, I, 0 } } };

		if (i)
			begin(true);
		t = alloc(n * 16ull, 4096);
		c.l[0].addr = (uint64_t)t;
		for (unsigned k = 0; k < n; k++)
			t[k] = (struct vdesc){
				(uint64_t)sector, k ? SECTOR : 16,
				q.packed ? 0 : (uint16_t)((k ? W : 0) | (k + 1 < n ? N : 0)),
				q.packed ? (k ? W : 0) : (uint16_t)(k + 1)
			};
		t[0].addr = (uint64_t)&header;
		t[n - 1].len = 1;
		t[n - 1].addr = (uint64_t)&status;
		go();
		(q.packed ? put_packed : put_split)(&c);
		vq_notify(&q);
		say("%u descriptors: ", n);
		outcome(ALIVE);
	}
}

/* A packed ring full of descriptors of which each has a next one. */
static void endless_packed(void)
{
	go();
	for (unsigned i = q.size; i--;)
		q.ring[i] = (struct vpdesc){ (uint64_t)&header, 16, 0, N | VD_AVAIL };
	vq_notify(&q);
	outcome(BROKEN);
}

/* What the code at CPL3 changes all the while, while the device looks at it. */
struct flip {
	volatile uint64_t *at;
	uint64_t good, bad, n;
};
static struct flip flip USER_DATA;

static USER void user_flip(uint64_t arg)
{
	struct flip f = flip;

	(void)arg;
	for (uint64_t i = 0; i < f.n; i++) {
		*f.at = f.bad;
		*f.at = f.good;
	}
	USER_EXIT(0);
}

/* A descriptor that changes between being checked and being used. */
static void racing(void)
{
	static const uint64_t bad[] = { 0,
					0xfd000000,
					~0ull - 100,
					0x00010000ffffffff,
					0xffff000200000000,
					0x0007000200000000 };
	unsigned rounds = 0;

	for (unsigned round = 0; round < 60; round++) {
		/* The address, or length, flags and next of the data's descriptor. */
		bool word = round % 6 >= 3;
		uint8_t *d;

		begin(true);
		go();
		d = q.packed ? (uint8_t *)&q.ring[1] : (uint8_t *)&q.desc[1];
		put_good();
		map_user((uint64_t)d, 16);
		flip = (struct flip){ (volatile uint64_t *)(d + (word ? 8 : 0)), 0, bad[round % 6],
				      20000 };
		flip.good = *flip.at;
		vq_notify(&q);
		user_run(user_flip, 0);
		rounds += needs_reset() || vq_ready(&q);
	}
	say("%u of 60 came to an end at once\n", rounds);
}

/* Reads in flight when the device is reset: none of their memory changes after it has finished. */
static void reset_in_flight(void)
{
	static struct blk_req req[IN_FLIGHT];
	uint64_t rounds = arg_u64("rounds", 10), changed = 0, done = 0, first;
	bool ok = true;

	for (uint64_t round = 0; round < rounds && ok; round++) {
		alloc_to(start_mark);
		ok = vdev_begin(&dev, 0) && vq_setup(&dev, &q, 0);
		vdev_driver_ok(&dev);
		for (unsigned i = 0; i < IN_FLIGHT; i++) {
			struct vbuf b = { (uint64_t)data + i * PIECE, PIECE };

			blk_queue(&q, &req[i], BLK_IN, i * (PIECE / SECTOR) % 4096, &b, 1, false);
		}
		vq_notify(&q);
		if (round & 1)
			delay_us((unsigned)round * 50);
		for (unsigned i = 0; i < IN_FLIGHT; i++)
			done += req[i].status == BLK_OK;
		ok = ok && vdev_reset(&dev);
		for (unsigned i = 0; i < IN_FLIGHT; i++)
			req[i].status = 0xa5;
		memset(data, 0x5a, IN_FLIGHT * PIECE);
		memset(q.desc ? (void *)q.used : (void *)q.ring, 0x5a, 64);
		delay_us(50000);
		changed += bytes_check(data, IN_FLIGHT * PIECE, 0x5a, &first);
		for (unsigned i = 0; i < IN_FLIGHT; i++)
			changed += req[i].status != 0xa5;
		for (unsigned i = 0; i < 64; i++)
			changed += ((volatile uint8_t *)(q.desc ? (void *)q.used
								: (void *)q.ring))[i] != 0x5a;
	}
	say("%lu of %lu reads were done before their reset\n", done, rounds * IN_FLIGHT);
	if (arg_is("resets", NULL)) /* with a slow disk */
		check(done < rounds * IN_FLIGHT, "some were in flight");
	check(ok && !changed, "nothing changes after a reset (%lu bytes did)", changed);
}

/* The same with the reset of one queue (2.6.1). */
static void queue_reset(void)
{
	static struct blk_req req[IN_FLIGHT];
	volatile uint16_t *reset = (volatile uint16_t *)(dev.common + 0x3a);
	uint64_t t0, changed;

	alloc_to(start_mark);
	if (!vdev_begin(&dev, BIT(VF_RING_RESET)) || !vdev_has(&dev, VF_RING_RESET)) {
		say("not offered\n");
		return;
	}
	vq_setup(&dev, &q, 0);
	vdev_driver_ok(&dev);
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		struct vbuf b = { (uint64_t)data + i * PIECE, PIECE };

		blk_queue(&q, &req[i], BLK_IN, 0, &b, 1, false);
	}
	vq_notify(&q);
	dev.ops->queue_max(&dev, 0);
	*reset = 1;
	for (t0 = rdtsc(); *reset && ms_since(t0) < 5000;)
		pause();
	check(!*reset, "the queue's reset has finished");
	check(!*(volatile uint16_t *)(dev.common + 0x1c), "the queue is off");
	memset(data, 0x5a, IN_FLIGHT * PIECE);
	delay_us(50000);
	changed = bytes_check(data, IN_FLIGHT * PIECE, 0x5a, NULL);
	check(!changed, "nothing changes after it (%lu bytes did)", changed);
	alloc_to(start_mark);
	check(vq_setup(&dev, &q, 0), "the queue is set up again");
	check(blk_do(&q, BLK_IN, 3, data, SECTOR) == BLK_OK &&
		      !pattern_check(data, 3 * SECTOR, SECTOR, (unsigned)arg_u64("verify", 5)),
	      "and works");
}

static const struct set_up set_ups[] = {
	{ "queue sizes", queue_sizes, MODERN | MMIO, SPLIT },
	{ "rings in bad places", ring_places, MODERN | MMIO, ANY },
	{ "rings in bad places, legacy", legacy_places, LEGACY, SPLIT },
	{ "a queue that is enabled again, and changed", enable_twice, ALL, ANY },
	{ "features that were not offered", unknown_features, ALL, ANY },
	{ "DRIVER_OK without FEATURES_OK", no_features_ok, ALL, ANY },
	{ "a doorbell before DRIVER_OK", early_doorbell, ALL, ANY },
	{ "doorbells of queues that do not exist", other_doorbells, ALL, ANY },
	{ "queues that do not exist", other_queues, ALL, ANY },
	{ "MSI-X vectors that do not exist", bad_vectors, MODERN, ANY },
	{ "everything in every register", all_registers, ALL, ANY },
	{ "everything in every byte of PCI configuration space", pci_config, MODERN | LEGACY, ANY },
	{ "the window in PCI configuration space", pci_window, MODERN, ANY },
	{ "all values of the status", status_values, ALL, ANY },
	{ "requests after a broken one", after_break, ALL, ANY },
	{ "long indirect tables", long_table, ALL, ANY },
	{ "a packed chain without end", endless_packed, MODERN | MMIO, PACKED },
	{ "a descriptor that changes while it is used", racing, ALL, ANY },
	{ "reset in flight", reset_in_flight, ALL, ANY },
	{ "reset of a queue in flight", queue_reset, MODERN, ANY },
};

static void run_set_up(const struct set_up *s)
{
	unsigned kind = arg_is("ring", "packed") ? PACKED : SPLIT;

	if (!(s->kinds & kind) || !(s->transports & 1u << dev.transport))
		return;
	/* Version 1 of MMIO places rings as legacy PCI does. */
	if (s->run == ring_places && dev.mmio_version == 1)
		return;
	if (!wanted(s->name) || !begin(true))
		return;
	s->run();
	check(works_again(), "the device works again");
}

static void stray(struct trap_frame *f)
{
	(void)f;
	lapic_eoi();
}

void guest_main(void)
{
	vdev_need(&dev, VIRTIO_BLK);
	lenient = arg_is("lenient", NULL);
	/* A device that writes to a local APIC's address sends an interrupt, where that is let
	 * pass. */
	for (unsigned i = 0x20; i < VEC_SPURIOUS && lenient; i++) {
		if (!trap_handler[i])
			trap_handler[i] = stray;
	}
	for (unsigned i = 0; i < boot.n_mem; i++) {
		uint64_t end = boot.mem[i].addr + boot.mem[i].size;

		if (boot.mem[i].type == 1 && end <= 0xc0000000 && end > ram_end)
			ram_end = end;
	}
	ram_end = (ram_end + 0xfffff) & ~0xfffffull; /* tables of the firmware's lie at its end */
	data = alloc(IN_FLIGHT * PIECE, 0x200000);
	map_user((uint64_t)data, IN_FLIGHT * PIECE);
	start_mark = alloc_mark();
	if (!check(works_again(), "the device works to begin with"))
		return;
	if (arg_is("resets", NULL)) {
		reset_in_flight();
		if (dev.transport == VT_MODERN)
			queue_reset();
		check(works_again(), "the device works again");
		return;
	}
	for (unsigned i = 0; i < sizeof chains / sizeof chains[0]; i++)
		run_chain(&chains[i]);
	for (unsigned i = 0; i < sizeof set_ups / sizeof set_ups[0]; i++)
		run_set_up(&set_ups[i]);
}
