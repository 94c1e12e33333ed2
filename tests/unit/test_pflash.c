/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flash below 4 GiB: Intel's command set, what is memory and what is not, what the drive gets.
 */
#include "ide_guest.h"

#include "firmware.h"
#include "memmap.h"

extern const struct dev_class pflash_class;

enum { SIZE = 64 << 10, BLOCK = 4096 };
#define BASE (FIRMWARE_TOP - SIZE)

static struct firmware bios;
static struct dev *flash;

static int set_slot(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		    bool readonly, bool log_dirty)
{
	return 0;
}

static const struct memmap_ops map_ops = { .set = set_slot };

static void setup(void)
{
	ide_setup();
	memmap_init(&fake.m.map, &map_ops, NULL);
	bios = (struct firmware){ .base = FIRMWARE_TOP };
	fake.m.bios = &bios;
}

static void teardown(void)
{
	fake_disk.manual = false;
	if (flash)
		machine_remove_devices(&fake.m);
	flash = NULL;
	ck_assert_uint_eq(fake.m.map.n, 0);
	ck_assert_ptr_null(bios.rom.host);
	memmap_fini(&fake.m.map);
	fake.m.bios = NULL;
	ide_teardown();
}

static void add(const char *more)
{
	add_fake("64K", more);
	memset(fake_disk.mem, 0xff, SIZE);
	memcpy(fake_disk.mem + SIZE - 16, "reset vector is ", 16);
	flash = fake_add(&pflash_class, "drive=d0");
	machine_reset_devices(&fake.m);
	fake_disk.n_log = 0;
}

/* --- the guest ---------------------------------------------------------------------- */

struct look {
	uint64_t gpa;
	const uint8_t *host;
};

static void find(void *ctx, const struct mem_segment *s)
{
	struct look *l = ctx;

	if (l->gpa >= s->gpa && l->gpa - s->gpa < s->size && s->host) {
		ck_assert(s->readonly);
		l->host = s->host + (l->gpa - s->gpa);
	}
}

static bool is_memory(void)
{
	struct look l = { .gpa = BASE };

	memmap_each(&fake.m.map, find, &l);
	return l.host;
}

static uint8_t load(uint64_t off)
{
	struct look l = { .gpa = BASE + off };

	memmap_each(&fake.m.map, find, &l);
	return l.host ? *l.host : (uint8_t)mr(BASE + off, 1);
}

static void cycle(uint64_t off, uint8_t val)
{
	mw(BASE + off, val, 1);
}

static uint8_t status(void)
{
	cycle(0, 0x70);
	return load(0);
}

static void program(uint64_t off, uint8_t val)
{
	cycle(off, 0x40);
	cycle(off, val);
	ck_assert_uint_eq(load(off), 0x80); /* the status is shown */
	cycle(0, 0xff);
}

/* --- tests ---------------------------------------------------------------------------- */

START_TEST(array)
{
	add("");
	ck_assert(is_memory());
	ck_assert_uint_eq(load(0), 0xff);
	ck_assert_uint_eq(load(SIZE - 16), 'r');
	ck_assert_ptr_nonnull(bios.rom.host); /* for the end of it below 1 MiB */
	ck_assert_uint_eq(bios.rom.size, SIZE);
	cycle(5, 0x70);
	ck_assert(!is_memory());
	ck_assert_uint_eq(load(5), 0x80);
	ck_assert_uint_eq(mr(BASE + 8, 4), 0x80808080);
	cycle(9, 0xff);
	ck_assert(is_memory());
	cycle(0, 0x70);
	machine_reset_devices(&fake.m);
	ck_assert(is_memory());
	cycle(0, 0x77); /* no such command */
	ck_assert(is_memory());
	run_loop();
	ck_assert_uint_eq(fake_disk.n_log, 0);
}
END_TEST

START_TEST(programming)
{
	add("");
	program(0x1234, 0x5a);
	ck_assert(is_memory());
	ck_assert_uint_eq(load(0x1234), 0x5a);
	program(0x1234, 0xf0); /* bits are cleared only */
	ck_assert_uint_eq(load(0x1234), 0x50);
	cycle(0x2000, 0x10); /* the other command, 32 bits wide */
	mw(BASE + 0x2000, 0x11223344, 4);
	cycle(0, 0xff);
	ck_assert_uint_eq(load(0x2003), 0x11);
	ck_assert_uint_eq(fake_disk.mem[0x1234], 0xff);
	run_loop();
	ck_assert_uint_eq(fake_disk.mem[0x1234], 0x50);
	ck_assert_uint_eq(fake_disk.mem[0x2000], 0x44);
	ck_assert_uint_eq(fake_disk.n_log, 1); /* in one request */
	ck_assert_uint_eq(fake_disk.mem[SIZE - 16], 'r');
}
END_TEST

START_TEST(erasing)
{
	add("");
	program(BLOCK, 0);
	program(BLOCK + 4095, 1);
	program(2 * BLOCK, 2);
	cycle(BLOCK + 77, 0x20);
	cycle(BLOCK + 77, 0xd0);
	cycle(0, 0xff);
	ck_assert_uint_eq(load(BLOCK), 0xff);
	ck_assert_uint_eq(load(BLOCK + 4095), 0xff);
	ck_assert_uint_eq(load(2 * BLOCK), 2);
	cycle(0, 0x20);
	cycle(0, 0xff); /* not confirmed */
	ck_assert_uint_eq(status(), 0xb0);
	cycle(0, 0x50);
	ck_assert_uint_eq(status(), 0x80);
	run_loop();
	ck_assert_uint_eq(fake_disk.mem[BLOCK], 0xff);
	ck_assert_uint_eq(fake_disk.mem[2 * BLOCK], 2);
}
END_TEST

static void buffer(uint64_t off, const char *text, unsigned n)
{
	cycle(off, 0xe8);
	mw(BASE + off, n - 1, 2);
	for (unsigned i = 0; i < n; i++)
		cycle(off + i, (uint8_t)text[i]);
}

START_TEST(buffered)
{
	add("");
	buffer(0x100, "variables", 9);
	ck_assert_uint_eq(fake_disk.mem[0x100], 0xff);
	cycle(0x100, 0xd0);
	ck_assert_uint_eq(status(), 0x80);
	cycle(0, 0xff);
	ck_assert_mem_eq(bios.rom.host + 0x100, "variables\xff", 10);
	/* Not confirmed; too long; out of order. */
	buffer(0x200, "x", 1);
	cycle(0x200, 0xff);
	ck_assert_uint_eq(status(), 0xb0);
	cycle(0, 0x50);
	cycle(0, 0xe8);
	mw(BASE, 2048, 2);
	ck_assert_uint_eq(status(), 0xb0);
	cycle(0, 0x50);
	cycle(0, 0xe8);
	mw(BASE, 7, 2);
	cycle(0x300, 1);
	cycle(0x302, 1);
	ck_assert_uint_eq(status(), 0xb0);
	cycle(0, 0x50);
	/* Beyond the end. */
	buffer(SIZE - 1, "ab", 1);
	cycle(0, 0xd0);
	cycle(0, 0xff);
	run_loop();
	ck_assert_uint_eq(fake_disk.mem[0x200], 0xff);
	ck_assert_uint_eq(fake_disk.mem[0x300], 0xff);
	ck_assert_mem_eq(fake_disk.mem + 0x100, "variables", 9);
}
END_TEST

START_TEST(identification)
{
	add("");
	cycle(0, 0x90);
	ck_assert_uint_eq(load(0), 0x89); /* Intel */
	ck_assert_uint_eq(load(1), 0x18);
	ck_assert_uint_eq(load(BLOCK + 2), 0); /* not locked */
	cycle(0x55, 0x98);
	ck_assert_uint_eq(load(0x10), 'Q');
	ck_assert_uint_eq(load(0x12), 'Y');
	ck_assert_uint_eq(load(0x13), 1);
	ck_assert_uint_eq(1u << load(0x27), SIZE);
	ck_assert_uint_eq(load(0x2c), 1); /* one region of blocks: how many, how large */
	ck_assert_uint_eq((load(0x2d) | load(0x2e) << 8) + 1, SIZE / BLOCK);
	ck_assert_uint_eq((load(0x2f) | load(0x30) << 8) * 256, BLOCK);
	ck_assert_uint_eq(load(load(0x15)), 'P');
	for (unsigned i = 0; i < SIZE; i += 13)
		load(i);
}
END_TEST

START_TEST(read_only)
{
	add(",readonly=on");
	cycle(0, 0x40);
	cycle(0, 0);
	ck_assert_uint_eq(status(), 0x92);
	cycle(0, 0x50);
	cycle(0, 0x20);
	cycle(0, 0xd0);
	ck_assert_uint_eq(status(), 0xa2);
	cycle(0, 0xff);
	ck_assert_uint_eq(load(0), 0xff);
	cycle(0, 0x90);
	ck_assert_uint_eq(load(2), 1);
	run_loop();
	ck_assert_uint_eq(fake_disk.n_log, 0);
}
END_TEST

/* Programmed while the last write is on its way, and before the machine goes. */
START_TEST(nothing_is_lost)
{
	add("");
	fake_disk.manual = true;
	program(0, 1);
	run_loop();
	ck_assert_uint_eq(fake_disk.n_waiting, 1);
	program(0x800, 2);
	program(0x7000, 3);
	run_loop();
	ck_assert_uint_eq(fake_disk.n_waiting, 1);
	fake_disk.manual = false;
	machine_remove_devices(&fake.m);
	flash = NULL;
	ck_assert_uint_eq(fake_disk.mem[0], 1);
	ck_assert_uint_eq(fake_disk.mem[0x800], 2);
	ck_assert_uint_eq(fake_disk.mem[0x7000], 3);
	ck_assert_uint_eq(fake_disk.mem[0x900], 0xff);
}
END_TEST

START_TEST(nothing_is_lost_at_once)
{
	add("");
	program(0x123, 4);
	machine_remove_devices(&fake.m);
	flash = NULL;
	ck_assert_uint_eq(fake_disk.mem[0x123], 4);
}
END_TEST

static int no_writes(const struct blk_io *io)
{
	return io->op == BLK_WRITE ? -EIO : 0;
}

/* What a drive did not take is kept for the next change, and for the end. */
START_TEST(failed_writes_are_kept)
{
	add("");
	fake_disk.decide = no_writes;
	program(0x10, 1);
	run_loop();
	ck_assert_uint_eq(fake_disk.mem[0x10], 0xff);
	fake_disk.decide = NULL;
	run_loop();
	ck_assert_uint_eq(fake_disk.mem[0x10], 0xff); /* not for ever in vain */
	program(0x20, 2);
	run_loop();
	ck_assert_uint_eq(fake_disk.mem[0x10], 1);
	ck_assert_uint_eq(fake_disk.mem[0x20], 2);
	fake_disk.decide = no_writes;
	program(0x7000, 3);
	run_loop();
	fake_disk.decide = NULL;
	machine_remove_devices(&fake.m);
	flash = NULL;
	ck_assert_uint_eq(fake_disk.mem[0x7000], 3);
}
END_TEST

START_TEST(sizes)
{
	struct err e;

	add_fake("66048", "");
	ck_assert_int_lt(fake_try_add(&pflash_class, "drive=d0", &flash, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "66048 bytes is not a multiple of 4 KiB"));
	flash = NULL;
}
END_TEST

START_TEST(too_large)
{
	struct err e;

	bios.base = FIRMWARE_TOP - (16 << 20) + 4096;
	add_fake("8K", "");
	ck_assert_int_lt(fake_try_add(&pflash_class, "drive=d0", &flash, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "more than 16 MiB"));
	flash = NULL;
}
END_TEST

/* Any accesses at any place; the drive ends up with what the guest reads. */
START_TEST(hostile)
{
	uint64_t seed = 11;

	add("");
	for (unsigned i = 0; i < 200000; i++) {
		static const uint8_t likely[] = { 0xff, 0x40, 0xe8, 0x20, 0xd0, 0x90, 0x98, 0x50 };
		unsigned size = 1u << fake_random(&seed) % 4;
		uint64_t off = fake_random(&seed) % (SIZE - size + 1);

		if (fake_random(&seed) % 4)
			mw(BASE + off,
			   fake_random(&seed) % 2 ? likely[fake_random(&seed) % 8]
						  : fake_random(&seed),
			   size);
		else if (!is_memory())
			mr(BASE + off, size);
		if (i % 100 == 0)
			run_loop();
	}
	machine_reset_devices(&fake.m);
	run_loop();
	for (unsigned i = 0; i < SIZE; i++)
		ck_assert_uint_eq(fake_disk.mem[i], load(i));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { array,
				       programming,
				       erasing,
				       buffered,
				       identification,
				       read_only,
				       nothing_is_lost,
				       failed_writes_are_kept,
				       nothing_is_lost_at_once,
				       sizes,
				       too_large,
				       hostile };

	return run_tests("pflash", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
