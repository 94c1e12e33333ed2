/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon as its driver and the monitor see it: every queue, memory that
 * really goes back to the host, and drivers that break the rules.
 */
#include <sys/mman.h>

#include "balloon.h"
#include "virtio_guest.h"
#include "wire/virtio_balloon.h"

enum { INFLATE, DEFLATE, STATS, HINT, REPORT };
enum { PAGE = 4096, NUM_PAGES = 0, ACTUAL = 4, CMD_ID = 8, POISON = 12 };

#define F(name) VIRTIO_F(VIRTIO_BALLOON_F_##name)
#define MIB (1ull << 20)

static unsigned changes; /* BALLOON_CHANGE events */

static void changed(struct machine *m)
{
	changes++;
}

static void add(const char *props)
{
	char arg[128];

	snprintf(arg, sizeof(arg), "virtio-balloon-device,id=b%s", props);
	guest_add(arg);
	guest_use("b");
	guest.m.balloon_changed = changed;
	changes = 0;
}

static struct balloon_info info(void)
{
	struct balloon_info i;

	guest.m.balloon->info(guest.m.balloon_dev, &i);
	return i;
}

/* How many pages of [gpa, gpa+len) the host holds in memory. */
static size_t resident(uint64_t gpa, size_t len)
{
	static unsigned char vec[16384];
	size_t n = 0;

	ck_assert_uint_le(len / PAGE, sizeof(vec));
	ck_assert_int_eq(mincore(at(gpa), len, vec), 0);
	for (size_t i = 0; i < len / PAGE; i++)
		n += vec[i] & 1;
	return n;
}

/* Writes to all of it, as a guest in use would have. */
static void populate(uint64_t gpa, size_t len)
{
	memset(at(gpa), 0xa5, len);
	ck_assert_uint_eq(resident(gpa, len), len / PAGE);
}

static void write_pfn(uint64_t gpa, size_t i, uint32_t pfn)
{
	struct le32 wire = cpu_to_le32(pfn);

	ck_assert_int_eq(gmem_write(&guest.m.mem, gpa + 4 * i, &wire, 4), 0);
}

static void used_once(unsigned n)
{
	ck_assert_uint_eq(next_used(n, NULL), 0);
	ck_assert_uint_eq(n_used(n), 0);
	ck_assert(!needs_reset());
}

/* --- configuration space ------------------------------------------------------------ */

START_TEST(features)
{
	add("");
	ck_assert_uint_eq(reg_read(0x008), 5);
	ck_assert_uint_eq(offered() & 0xff, F(STATS_VQ) | F(PAGE_POISON));
	machine_remove_devices(&guest.m);
	ck_assert_ptr_null(guest.m.balloon);
	add(",deflate-on-oom=on,free-page-hint=on,free-page-reporting=on,page-poison=off");
	ck_assert_uint_eq(offered() & 0xff,
			  F(STATS_VQ) | F(DEFLATE_ON_OOM) | F(FREE_PAGE_HINT) | F(PAGE_REPORTING));
}
END_TEST

START_TEST(only_one)
{
	struct err e;

	add("");
	ck_assert_int_eq(guest_try("virtio-balloon-device", &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.msg, "the machine has a balloon"));
	ck_assert_ptr_nonnull(guest.m.balloon);
}
END_TEST

START_TEST(target_and_actual)
{
	uint32_t generation;

	add("");
	start(0, 0x3);
	ck_assert_uint_eq(info().actual, 16 * MIB);
	generation = reg_read(0x0fc);
	reg_write(0x064, 3);
	guest.m.balloon->set_target(guest.m.balloon_dev, 10 * MIB);
	ck_assert_uint_eq(config_read(NUM_PAGES), 6 * MIB / PAGE);
	ck_assert_uint_ne(reg_read(0x0fc), generation);
	ck_assert_uint_eq(reg_read(0x060), 2); /* configuration change */
	ck_assert_uint_eq(info().actual, 16 * MIB);
	ck_assert_uint_eq(info().target, 10 * MIB);
	/* The driver says how far it has come. */
	settle();
	ck_assert_uint_eq(changes, 0);
	reg_write(0x100 + ACTUAL, 100);
	settle();
	ck_assert_uint_eq(info().actual, 16 * MIB - 100 * PAGE);
	ck_assert_uint_eq(config_read(ACTUAL), 100);
	ck_assert_uint_eq(changes, 1);
	/* What it cannot have put in; and num_pages is not the driver's to write. */
	reg_write(0x100 + ACTUAL, UINT32_MAX);
	ck_assert_uint_eq(info().actual, 0);
	reg_write(0x100 + NUM_PAGES, 5);
	ck_assert_uint_eq(config_read(NUM_PAGES), 6 * MIB / PAGE);
	guest.m.balloon->set_target(guest.m.balloon_dev, UINT64_MAX);
	ck_assert_uint_eq(config_read(NUM_PAGES), 0);
	guest.m.balloon->set_target(guest.m.balloon_dev, 1);
	ck_assert_uint_eq(config_read(NUM_PAGES), 16 * MIB / PAGE - 1);
	reset();
	ck_assert_uint_eq(config_read(ACTUAL), 0);
	ck_assert_uint_eq(config_read(NUM_PAGES), 16 * MIB / PAGE - 1);
}
END_TEST

/* However often the driver writes it, there is an event a second. */
START_TEST(change_events_are_rare)
{
	uint64_t begin;

	add("");
	start(0, 0x3);
	begin = loop_now_ns();
	for (unsigned i = 1; i <= 300; i++) {
		reg_write(0x100 + ACTUAL, i);
		settle();
	}
	ck_assert_uint_ge(changes, 1);
	ck_assert_uint_le(changes, 1 + (loop_now_ns() - begin) / 1000000000);
	RUN_UNTIL(changes >= 2 && config_read(ACTUAL) == 300);
	/* The same value again is no change. */
	changes = 0;
	reg_write(0x100 + ACTUAL, 300);
	settle();
	ck_assert_uint_eq(changes, 0);
}
END_TEST

/* Legacy drivers write it byte by byte, and the last byte makes it count (5.5.6.0.1). */
START_TEST(actual_byte_by_byte)
{
	static const uint8_t bytes[] = { 0x34, 0x02, 0, 0 };

	add("");
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(config_read(ACTUAL), 0);
		bus_write(&guest.m.mmio, guest.base + 0x100 + ACTUAL + i, &bytes[i], 1);
	}
	ck_assert_uint_eq(config_read(ACTUAL), 0x234);
}
END_TEST

/* --- inflating ------------------------------------------------------------------------- */

/* Pages in any order, some twice, go back to the host; others stay. */
static void check_inflate(void)
{
	enum { FIRST = 2048, COUNT = 1024 }; /* page frames */
	uint64_t list = alloc(2 * COUNT * 4), seed = 7, gpa = (uint64_t)FIRST * PAGE;
	uint32_t pfn[COUNT];

	add("");
	start(0, 0x3);
	populate(gpa - PAGE, (COUNT + 2) * PAGE);
	for (uint32_t i = 0; i < COUNT; i++)
		pfn[i] = FIRST + i;
	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t k = guest_random(&seed) % COUNT, t = pfn[i];

		pfn[i] = pfn[k];
		pfn[k] = t;
	}
	for (size_t i = 0; i < COUNT; i++)
		write_pfn(list, i, pfn[i]);
	/* first the half of them, scattered, with some twice */
	write_pfn(list, COUNT / 2, pfn[0]);
	give(INFLATE, list, 4 * (COUNT / 2 + 1), false);
	used_once(INFLATE);
	ck_assert_uint_eq(resident(gpa - PAGE, (COUNT + 2) * PAGE), COUNT / 2 + 2);
	ck_assert_uint_eq(info().given_back, COUNT / 2 * PAGE);
	for (size_t i = 0; i < COUNT / 2; i++)
		ck_assert_uint_eq(resident((uint64_t)pfn[i] * PAGE, PAGE), 0);
	write_pfn(list, COUNT / 2, pfn[COUNT / 2]);
	give(INFLATE, list, 4 * COUNT, false);
	used_once(INFLATE);
	ck_assert_uint_eq(resident(gpa - PAGE, (COUNT + 2) * PAGE), 2);
	ck_assert_uint_eq(*(uint8_t *)at(gpa - 1), 0xa5);
	ck_assert_uint_eq(*(uint8_t *)at(gpa + COUNT * PAGE), 0xa5);
	/* Deflated, they are there again, and empty. */
	give(DEFLATE, list, 4 * COUNT, false);
	used_once(DEFLATE);
	for (size_t i = 0; i < COUNT * PAGE; i += 512)
		ck_assert_uint_eq(*(uint8_t *)at(gpa + i), 0);
	populate(gpa, COUNT * PAGE);
}

START_TEST(inflate_and_deflate)
{
	check_inflate();
}
END_TEST

START_TEST(inflate_memfd)
{
	guest_teardown();
	guest_setup_ram(16 << 20, GMEM_MEMFD);
	check_inflate();
}
END_TEST

/* RAM above 4 GiB is behind the low RAM on the host, but not in the guest. */
START_TEST(inflate_high_memory)
{
	uint64_t list = alloc(64);
	const uint64_t low = GMEM_LOW_MAX - PAGE, high = GMEM_HIGH_BASE;

	guest_teardown();
	guest_setup_ram(GMEM_LOW_MAX + 4 * MIB, GMEM_ANON);
	add("");
	start(0, 0x3);
	populate(low - PAGE, 2 * PAGE);
	populate(high, 2 * PAGE);
	write_pfn(list, 0, (uint32_t)(high / PAGE));
	write_pfn(list, 1, (uint32_t)(GMEM_LOW_MAX / PAGE)); /* in the hole */
	write_pfn(list, 2, (uint32_t)(low / PAGE));
	give(INFLATE, list, 12, false);
	used_once(INFLATE);
	ck_assert_uint_eq(resident(low - PAGE, 2 * PAGE), 1);
	ck_assert_uint_eq(resident(high, 2 * PAGE), 1);
	ck_assert_uint_eq(info().given_back, 2 * PAGE);
	/* and once more without the page between them */
	populate(low, PAGE);
	populate(high, PAGE);
	write_pfn(list, 1, (uint32_t)(low / PAGE));
	give(INFLATE, list, 8, false);
	used_once(INFLATE);
	ck_assert_uint_eq(resident(low, PAGE) + resident(high, PAGE), 0);
}
END_TEST

START_TEST(hostile_page_numbers)
{
	static const uint32_t bad[] = { UINT32_MAX, 0x80000000, 0x100000, 4096, 4097, 0xfee00 };
	uint64_t list = alloc(128 << 10), victim = alloc(PAGE);
	const struct seg pieces[] = {
		{ list, 1, false },
		{ list + 1, 2, false },
		{ list + 3, 6, false },
	};

	add("");
	start(0, 0x3);
	populate(victim, PAGE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		write_pfn(list, i, bad[i]);
	give(INFLATE, list, sizeof(bad), false);
	used_once(INFLATE);
	give(DEFLATE, list, sizeof(bad), false);
	used_once(DEFLATE);
	ck_assert_uint_eq(info().given_back, 0);
	/* Part of a number is none: the victim's is complete but for a byte. */
	write_pfn(list, 0, (uint32_t)(victim / PAGE));
	give(INFLATE, list, 3, false);
	used_once(INFLATE);
	ck_assert_uint_eq(resident(victim, PAGE), 1);
	/* Numbers over several descriptors, at odd places. */
	write_pfn(list, 1, UINT32_MAX);
	add_chain(INFLATE, pieces, 3);
	kick(INFLATE);
	used_once(INFLATE);
	ck_assert_uint_eq(resident(victim, PAGE), 0);
	/* Nothing to read. */
	give(INFLATE, list, 64, true);
	used_once(INFLATE);
	/* More at once than any driver has: what is behind the first 64 KiB does not count. */
	populate(victim, PAGE);
	for (size_t i = 0; i < (128 << 10) / 4; i++)
		write_pfn(list, i, UINT32_MAX);
	write_pfn(list, 16384, (uint32_t)(victim / PAGE));
	give(INFLATE, list, 128 << 10, false);
	RUN_UNTIL(n_used(INFLATE));
	used_once(INFLATE);
	ck_assert_uint_eq(resident(victim, PAGE), 1);
	/* A page that holds the ring itself: the guest's own loss. */
	write_pfn(list, 0, RINGS / PAGE);
	give(INFLATE, list, 4, false);
	ck_assert_uint_eq(n_used(DEFLATE), 0);
}
END_TEST

/* Work beyond one turn of the loop is done in the next ones. */
START_TEST(many_chains)
{
	uint64_t list = alloc(PAGE);

	add("");
	start(0, 0x3);
	write_pfn(list, 0, UINT32_MAX);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < QSIZE; i++)
			add_chain(DEFLATE, &(struct seg){ list, 4, false }, 1);
		kick(DEFLATE);
		RUN_UNTIL(n_used(DEFLATE) == QSIZE);
		while (n_used(DEFLATE))
			next_used(DEFLATE, NULL);
	}
	for (unsigned i = 0; i < 8; i++)
		add_chain(INFLATE, &(struct seg){ list, 64 << 10, false }, 1);
	kick(INFLATE);
	RUN_UNTIL(n_used(INFLATE) == 8);
}
END_TEST

START_TEST(random_page_numbers)
{
	uint64_t list = alloc(PAGE), keep = alloc(PAGE), seed = 3;

	add("");
	start(0, 0x3);
	populate(keep, PAGE);
	for (unsigned i = 0; i < 500; i++) {
		uint32_t len = guest_random(&seed) % PAGE + 1;

		for (size_t k = 0; k < len / 4; k++) {
			uint32_t pfn = guest_random(&seed) >> guest_random(&seed) % 32;

			/* its rings, its list and a page of its own it keeps */
			if (pfn < HEAP / PAGE + 8)
				pfn = HEAP / PAGE + 8;
			write_pfn(list, k, pfn);
		}
		give(INFLATE, list, len, false);
		used_once(INFLATE);
	}
	ck_assert_uint_eq(resident(keep, PAGE), 1);
	ck_assert_uint_gt(info().given_back, 0);
}
END_TEST

/* --- statistics -------------------------------------------------------------------------- */

static void write_stat(uint64_t gpa, size_t i, uint16_t tag, uint64_t val)
{
	const struct virtio_balloon_stat s = { cpu_to_le16(tag), cpu_to_le64(val) };

	gmem_write(&guest.m.mem, gpa + i * sizeof(s), &s, sizeof(s));
}

START_TEST(statistics)
{
	uint64_t buf = alloc(PAGE);

	add("");
	start(F(STATS_VQ), 0x7);
	ck_assert_int_eq(info().stat_time, 0);
	write_stat(buf, 0, VIRTIO_BALLOON_S_MEMTOT, 1000);
	write_stat(buf, 1, VIRTIO_BALLOON_S_SWAP_IN, UINT64_MAX);
	write_stat(buf, 2, 0xffff, 5); /* tags of another time */
	write_stat(buf, 3, VIRTIO_BALLOON_S_NR, 6);
	write_stat(buf, 4, VIRTIO_BALLOON_S_DIRECT_RECLAIM, 7);
	give(STATS, buf, 50, false);
	ck_assert_uint_eq(n_used(STATS), 0); /* kept, to ask with */
	ck_assert_int_ne(info().stat_time, 0);
	ck_assert_uint_eq(info().stat_given, 1u << VIRTIO_BALLOON_S_MEMTOT |
						     1u << VIRTIO_BALLOON_S_SWAP_IN |
						     1u << VIRTIO_BALLOON_S_DIRECT_RECLAIM);
	ck_assert_uint_eq(info().stat[VIRTIO_BALLOON_S_MEMTOT], 1000);
	ck_assert_uint_eq(info().stat[VIRTIO_BALLOON_S_SWAP_IN], UINT64_MAX);
	/* Asked again: the buffer comes back, and a new one is expected. */
	guest.m.balloon->set_polling(guest.m.balloon_dev, 3600);
	settle();
	used_once(STATS);
	ck_assert_uint_eq(info().polling_interval, 3600);
	write_stat(buf, 0, VIRTIO_BALLOON_S_MEMFREE, 44);
	give(STATS, buf, 10, false);
	ck_assert_uint_eq(info().stat_given, 1u << VIRTIO_BALLOON_S_MEMFREE);
	/* It asks by the clock. */
	guest.m.balloon->set_polling(guest.m.balloon_dev, 1);
	for (unsigned i = 0; i < 2; i++) {
		RUN_UNTIL(n_used(STATS));
		used_once(STATS);
		give(STATS, buf, 10, false);
	}
	guest.m.balloon->set_polling(guest.m.balloon_dev, 0);
	settle();
	ck_assert_uint_eq(n_used(STATS), 0);
}
END_TEST

START_TEST(polling_from_the_start)
{
	uint64_t buf = alloc(PAGE);

	add(",guest-stats-polling-interval=1");
	start(F(STATS_VQ), 0x7);
	give(STATS, buf, 10, false);
	RUN_UNTIL(n_used(STATS));
	reset();
	/* Nobody answers any more; the timer must not mind. */
	settle();
	start(0, 0x3);
	settle();
}
END_TEST

START_TEST(odd_statistics)
{
	static const uint32_t lens[] = { 1, 9, 11, 6, 4095, 65536 };
	uint64_t buf = alloc(65536);

	add("");
	start(F(STATS_VQ), 0x7);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		/* Each buffer drives out the one before: a driver has one only. */
		give(STATS, buf, lens[i], false);
		ck_assert_uint_eq(n_used(STATS), i);
		ck_assert(!needs_reset());
		ck_assert_uint_eq(info().stat_given, lens[i] >= 10);
	}
	give(STATS, buf, 100, true); /* nothing to read */
	ck_assert_uint_eq(info().stat_given, 0);
	/* The device keeps the last one when it is reset, and its queue starts anew. */
	start(F(STATS_VQ) | VIRTIO_F(VIRTIO_F_RING_RESET), 0x7);
	give(STATS, buf, 10, false);
	reset_queue(STATS);
	setup_queue(STATS);
	guest.m.balloon->set_polling(guest.m.balloon_dev, 1000);
	settle();
	ck_assert_uint_eq(n_used(STATS), 0);
	give(STATS, buf, 10, false);
	guest.m.balloon->set_polling(guest.m.balloon_dev, 1001);
	settle();
	used_once(STATS);
}
END_TEST

/* The first buffer of a legacy driver was never filled (5.5.6.3.3). */
START_TEST(legacy_statistics)
{
	uint64_t buf = alloc(PAGE);

	guest_add("virtio-balloon-device,id=b,force-legacy=on");
	guest_use("b");
	reset();
	reg_write(0x070, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	reg_write(0x024, 0);
	reg_write(0x020, (uint32_t)F(STATS_VQ));
	reg_write(0x028, 4096);
	for (unsigned n = 0; n < 3; n++) {
		/* the legacy layout at a place where this driver's ring can be made to fit: no
		 * queue is used but through the device's own hands */
		gq[n] = (struct gqueue){ .n = n };
		reg_write(0x030, n);
		reg_write(0x038, QSIZE);
		reg_write(0x03c, 1024);
		reg_write(0x040, (uint32_t)(ring_at(n) / 4096));
	}
	reg_write(0x070, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
	settle();
	write_stat(buf, 0, VIRTIO_BALLOON_S_MEMTOT, 1000);
	for (unsigned i = 0; i < 2; i++) {
		/* desc at 0, avail at 256, used at 1024 */
		struct {
			struct le64 addr;
			struct le32 len;
			struct le16 flags, next;
		} desc = { cpu_to_le64(buf), cpu_to_le32(10), { 0 }, { 0 } };

		gmem_write(&guest.m.mem, ring_at(STATS) + 16 * i, &desc, sizeof(desc));
		put16(ring_at(STATS) + 256 + 4 + 2 * i, (uint16_t)i);
		put16(ring_at(STATS) + 256 + 2, (uint16_t)(i + 1));
		kick(STATS);
		ck_assert_uint_eq(info().stat_given, i ? 1u << VIRTIO_BALLOON_S_MEMTOT : 0);
	}
}
END_TEST

/* --- reporting and hinting -------------------------------------------------------------------- */

/* Reported pages go; the parts of pages at the ends stay. */
START_TEST(reporting)
{
	uint64_t gpa = alloc(16 * PAGE);
	const struct seg segs[] = {
		{ gpa + PAGE, 4 * PAGE, true },
		{ gpa + 6 * PAGE + 8, 3 * PAGE, true },
		{ gpa + 12 * PAGE + 8, 100, true },
	};

	add(",free-page-reporting=on");
	start(F(PAGE_REPORTING), 0x13);
	populate(gpa, 16 * PAGE);
	add_chain(REPORT, segs, 3);
	kick(REPORT);
	used_once(REPORT);
	ck_assert_uint_eq(resident(gpa, 16 * PAGE), 16 - 4 - 2);
	ck_assert_uint_eq(resident(gpa + PAGE, 4 * PAGE), 0);
	ck_assert_uint_eq(resident(gpa + 7 * PAGE, 2 * PAGE), 0);
	ck_assert_uint_eq(*(uint8_t *)at(gpa + 6 * PAGE + 9), 0xa5);
	/* What the device may only read is not reported. */
	give(REPORT, gpa + 14 * PAGE, PAGE, false);
	used_once(REPORT);
	ck_assert_uint_eq(resident(gpa + 14 * PAGE, PAGE), 1);
}
END_TEST

/* Drivers that leave no gap use queue 2 for what section 5.5.2 numbers 4. */
START_TEST(reporting_without_gaps)
{
	uint64_t gpa = alloc(PAGE);

	add(",free-page-reporting=on,free-page-hint=on");
	start(F(PAGE_REPORTING), 0x7);
	populate(gpa, PAGE);
	give(2, gpa, PAGE, true);
	used_once(2);
	ck_assert_uint_eq(resident(gpa, PAGE), 0);
	ck_assert_int_eq(info().stat_time, 0);
}
END_TEST

/* A driver that fills free pages finds what it filled them with. */
START_TEST(reporting_with_poison)
{
	uint64_t gpa = alloc(PAGE);

	add(",free-page-reporting=on");
	for (unsigned taken = 0; taken < 2; taken++) {
		for (uint32_t poison = 0; poison < 2; poison++) {
			reset();
			reg_write(0x100 + POISON, poison * 0xaaaaaaaa);
			reg_write(0x070, 0); /* also forgets it */
			ck_assert_uint_eq(config_read(POISON), 0);
			start(F(PAGE_REPORTING) | (taken ? F(PAGE_POISON) : 0), 0x13);
			reg_write(0x100 + POISON, poison * 0xaaaaaaaa);
			ck_assert_uint_eq(config_read(POISON), poison * 0xaaaaaaaa);
			populate(gpa, PAGE);
			give(REPORT, gpa, PAGE, true);
			used_once(REPORT);
			ck_assert_uint_eq(resident(gpa, PAGE), taken && poison);
		}
	}
}
END_TEST

static void give_id(uint64_t buf, uint32_t id)
{
	write_pfn(buf, 0, id);
	give(HINT, buf, 4, false);
	ck_assert_uint_eq(next_used(HINT, NULL), 0);
}

START_TEST(hinting)
{
	uint64_t gpa = alloc(8 * PAGE), buf = alloc(64);
	uint32_t id, last = 0;
	struct err e;

	add(",free-page-hint=on");
	ck_assert_int_eq(guest.m.balloon->hint(guest.m.balloon_dev, &e), -ENOTSUP);
	start(F(FREE_PAGE_HINT), 0xb);
	ck_assert_uint_eq(config_read(CMD_ID), VIRTIO_BALLOON_CMD_ID_STOP);
	populate(gpa, 8 * PAGE);
	for (unsigned round = 0; round < 2; round++) {
		ck_assert_int_eq(guest.m.balloon->hint(guest.m.balloon_dev, &e), 0);
		ck_assert_int_eq(guest.m.balloon->hint(guest.m.balloon_dev, &e), -EBUSY);
		id = config_read(CMD_ID);
		ck_assert_uint_gt(id, 1);
		ck_assert_uint_ne(id, last);
		ck_assert(info().hinting);
		/* pages before the round's number, and those of another round, do not count */
		give(HINT, gpa, PAGE, true);
		used_once(HINT);
		give_id(buf, id + 7);
		give(HINT, gpa, PAGE, true);
		used_once(HINT);
		ck_assert_uint_eq(info().hint_bytes, 0);
		give_id(buf, id);
		give(HINT, gpa, 3 * PAGE, true);
		used_once(HINT);
		give(HINT, gpa + 4 * PAGE, 2 * PAGE, true);
		used_once(HINT);
		ck_assert_uint_eq(info().hint_bytes, 5 * PAGE);
		ck_assert_uint_eq(config_read(CMD_ID), id);
		give_id(buf, VIRTIO_BALLOON_CMD_ID_STOP);
		/* The driver may have its pages back, with all that is in them. */
		ck_assert_uint_eq(config_read(CMD_ID), VIRTIO_BALLOON_CMD_ID_DONE);
		ck_assert(!info().hinting && info().hinted);
		give(HINT, gpa, PAGE, true);
		used_once(HINT);
		give_id(buf, id);
		give(HINT, gpa, PAGE, true);
		used_once(HINT);
		ck_assert_uint_eq(info().hint_bytes, 5 * PAGE);
		ck_assert_uint_eq(resident(gpa, 8 * PAGE), 8);
		last = id;
	}
	/* An id of three bytes is none, and a reset ends a round. */
	ck_assert_int_eq(guest.m.balloon->hint(guest.m.balloon_dev, &e), 0);
	give(HINT, buf, 3, false);
	used_once(HINT);
	reset();
	ck_assert_uint_eq(config_read(CMD_ID), VIRTIO_BALLOON_CMD_ID_STOP);
	ck_assert(!info().hinting);
	start(0, 0x3);
	ck_assert_int_eq(guest.m.balloon->hint(guest.m.balloon_dev, &e), -ENOTSUP);
}
END_TEST

/* --- rings that break the rules ------------------------------------------------------------------
 */

START_TEST(broken_queues)
{
	add(",free-page-hint=on,free-page-reporting=on");
	for (unsigned n = INFLATE; n <= REPORT; n++) {
		uint64_t buf = alloc(64);

		start(F(STATS_VQ) | F(FREE_PAGE_HINT) | F(PAGE_REPORTING), 0x1f);
		give(STATS, buf, 10, false);
		ck_assert_uint_eq(n_used(STATS), 0);
		give(n, 1ull << 40, 4096, n == REPORT);
		ck_assert(needs_reset());
		guest.m.balloon->set_polling(guest.m.balloon_dev, n + 1);
		settle();
		ck_assert_uint_eq(n_used(STATS), 0);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		features,
		only_one,
		target_and_actual,
		change_events_are_rare,
		actual_byte_by_byte,
		inflate_and_deflate,
		inflate_memfd,
		inflate_high_memory,
		hostile_page_numbers,
		many_chains,
		random_page_numbers,
		statistics,
		polling_from_the_start,
		odd_statistics,
		legacy_statistics,
		reporting,
		reporting_without_gaps,
		reporting_with_poison,
		hinting,
		broken_queues,
	};

	return guest_main("virtio_balloon", tests, sizeof(tests) / sizeof(tests[0]));
}
