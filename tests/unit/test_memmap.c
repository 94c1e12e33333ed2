/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regions of guest memory that cover one another, seen as slots (include/memmap.h). */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memmap.h"
#include "suite.h"

#define PAGE 4096u
#define K 1024u

/* What KVM was told. */
static struct {
	struct {
		uint64_t gpa, size;
		uint8_t *host;
		bool readonly, log;
	} slot[MEMMAP_SLOTS];
	unsigned calls;
	int fail; /* what the next calls return */
	uint64_t dirty; /* of every slot, page 0 on */
} kvm;

static uint8_t *ram, *rom;
static struct memmap mm;
static struct mem_region low;

static int set(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host, bool readonly,
	       bool log)
{
	ck_assert_uint_lt(slot, MEMMAP_SLOTS);
	kvm.calls++;
	/* A slot's size cannot change while it is there, nor may slots overlap. */
	if (size) {
		ck_assert_uint_eq(kvm.slot[slot].size, 0);
		for (unsigned i = 0; i < MEMMAP_SLOTS; i++)
			if (kvm.slot[i].size)
				ck_assert(gpa + size <= kvm.slot[i].gpa ||
					  kvm.slot[i].gpa + kvm.slot[i].size <= gpa);
	}
	kvm.slot[slot].gpa = gpa;
	kvm.slot[slot].size = size;
	kvm.slot[slot].host = host;
	kvm.slot[slot].readonly = readonly;
	kvm.slot[slot].log = log;
	return kvm.fail;
}

static int get_dirty(void *ctx, unsigned slot, uint64_t *bitmap)
{
	ck_assert(kvm.slot[slot].log);
	bitmap[0] = kvm.dirty;
	return kvm.fail;
}

static const struct memmap_ops ops = { .set = set, .get_dirty = get_dirty };

/* The slot that has gpa, or -1. */
static int slot_at(uint64_t gpa)
{
	for (int i = 0; i < MEMMAP_SLOTS; i++)
		if (gpa - kvm.slot[i].gpa < kvm.slot[i].size)
			return i;
	return -1;
}

static uint8_t *host_at(uint64_t gpa)
{
	int i = slot_at(gpa);

	return i < 0 ? NULL : kvm.slot[i].host + (gpa - kvm.slot[i].gpa);
}

static void setup(void)
{
	memset(&kvm, 0, sizeof(kvm));
	ram = calloc(1, 1024 * K);
	rom = calloc(1, 128 * K);
	memmap_init(&mm, &ops, NULL);
	low = (struct mem_region){ .name = "ram", .host = ram, .size = 1024 * K };
	ck_assert_int_eq(memmap_map(&mm, &low, 0), 0);
}

static void teardown(void)
{
	memmap_fini(&mm);
	free(ram);
	free(rom);
}

START_TEST(one_region_is_one_slot)
{
	ck_assert_uint_eq(kvm.calls, 1);
	ck_assert_ptr_eq(host_at(0), ram);
	ck_assert_ptr_eq(host_at(1024 * K - 1), ram + 1024 * K - 1);
	ck_assert_int_eq(slot_at(1024 * K), -1);
	ck_assert(!kvm.slot[slot_at(0)].readonly);
	ck_assert_int_eq(memmap_unmap(&mm, &low), 0);
	ck_assert_int_eq(slot_at(0), -1);
	ck_assert_int_eq(memmap_unmap(&mm, &low), 0);
	ck_assert_uint_eq(kvm.calls, 2);
}
END_TEST

START_TEST(what_covers_wins)
{
	struct mem_region hole = { .name = "vga", .size = 128 * K, .prio = 1 };
	struct mem_region bios = {
		.name = "bios", .host = rom, .size = 128 * K, .readonly = true, .prio = 1
	};
	struct mem_region over = { .name = "over", .host = ram, .size = PAGE, .prio = 1 };
	struct mem_region under = { .name = "under", .host = rom, .size = 8 * PAGE, .prio = -1 };

	ck_assert_int_eq(memmap_map(&mm, &hole, 640 * K), 0);
	ck_assert_int_eq(memmap_map(&mm, &bios, 896 * K), 0);
	ck_assert_ptr_eq(host_at(640 * K - 1), ram + 640 * K - 1);
	ck_assert_int_eq(slot_at(640 * K), -1);
	ck_assert_int_eq(slot_at(768 * K - 1), -1);
	ck_assert_ptr_eq(host_at(768 * K), ram + 768 * K);
	ck_assert_ptr_eq(host_at(896 * K), rom);
	ck_assert(kvm.slot[slot_at(896 * K)].readonly);
	ck_assert(!kvm.slot[slot_at(896 * K - 1)].readonly);
	/* Of equals the last. */
	ck_assert_int_eq(memmap_map(&mm, &over, 900 * K), 0);
	ck_assert_ptr_eq(host_at(900 * K), ram);
	ck_assert_ptr_eq(host_at(900 * K + PAGE), rom + 4 * K + PAGE);
	/* Below RAM nothing shows, beyond its end it does. */
	ck_assert_int_eq(memmap_map(&mm, &under, 1024 * K - 4 * PAGE), 0);
	ck_assert_ptr_eq(host_at(1024 * K - 1), rom + 128 * K - 1);
	ck_assert_ptr_eq(host_at(1024 * K), rom + 4 * PAGE);
	memmap_unmap(&mm, &over);
	memmap_unmap(&mm, &bios);
	memmap_unmap(&mm, &hole);
	ck_assert_ptr_eq(host_at(700 * K), ram + 700 * K);
	ck_assert_ptr_eq(host_at(1000 * K), ram + 1000 * K);
}
END_TEST

/* CPUs may be running from a slot: it is left alone when it stays as it is. */
START_TEST(what_stays_is_not_touched)
{
	struct mem_region a = { .name = "a", .host = rom, .size = 16 * K, .prio = 1 };
	struct mem_region b = { .name = "b", .host = rom + 16 * K, .size = 16 * K, .prio = 1 };
	unsigned calls;

	memmap_begin(&mm);
	memmap_map(&mm, &a, 768 * K);
	memmap_map(&mm, &b, 784 * K);
	ck_assert_uint_eq(kvm.calls, 1);
	ck_assert_int_eq(memmap_commit(&mm), 0);
	/* RAM goes, and comes back in two parts round the two. */
	ck_assert_uint_eq(kvm.calls, 1 + 1 + 4);
	calls = kvm.calls;
	ck_assert_int_eq(memmap_set(&mm, &a, ram + 768 * K, false), 0);
	ck_assert_uint_eq(kvm.calls, calls + 2);
	ck_assert_ptr_eq(host_at(768 * K), ram + 768 * K);
	ck_assert_int_eq(memmap_set(&mm, &a, ram + 768 * K, true), 0);
	ck_assert(kvm.slot[slot_at(768 * K)].readonly);
	ck_assert_uint_eq(kvm.calls, calls + 4);
	ck_assert_int_eq(memmap_set(&mm, &a, ram + 768 * K, true), 0);
	ck_assert_uint_eq(kvm.calls, calls + 4);
	ck_assert_int_eq(memmap_set(&mm, &a, NULL, false), 0);
	ck_assert_int_eq(slot_at(768 * K), -1);
	ck_assert_ptr_eq(host_at(784 * K), rom + 16 * K);
}
END_TEST

START_TEST(access_follows_the_map)
{
	struct mem_region bios = {
		.name = "bios", .host = rom, .size = 64 * K, .readonly = true, .prio = 1
	};
	struct mem_region hole = { .name = "hole", .size = 64 * K, .prio = 1 };
	uint32_t val = 0x11223344, got = 0;

	memmap_map(&mm, &bios, 960 * K);
	memmap_map(&mm, &hole, 640 * K);
	ck_assert(memmap_access(&mm, 100, &val, 4, true));
	ck_assert(!memcmp(ram + 100, &val, 4));
	ck_assert(memmap_access(&mm, 100, &got, 4, false));
	ck_assert_uint_eq(got, val);
	ck_assert(!memmap_access(&mm, 960 * K, &val, 4, true));
	ck_assert_uint_eq(rom[0], 0);
	rom[1] = 7;
	ck_assert(memmap_access(&mm, 960 * K, &got, 4, false));
	ck_assert_uint_eq(got, 7 << 8);
	ck_assert(!memmap_access(&mm, 640 * K, &got, 4, false));
	ck_assert(!memmap_access(&mm, 1024 * K, &got, 4, false));
	ck_assert(!memmap_access(&mm, 1024 * K - 2, &got, 4, false));
	ck_assert(!memmap_access(&mm, UINT64_MAX - 1, &got, 4, false));
}
END_TEST

START_TEST(dirty_pages_of_a_region)
{
	struct mem_region fb = {
		.name = "fb", .host = rom, .size = 128 * K, .log_dirty = true, .prio = 1
	};
	struct mem_region split = { .name = "split", .size = 4 * PAGE, .prio = 2 };
	uint64_t bits[1] = { 0 };

	memmap_map(&mm, &fb, 0xa0000);
	kvm.dirty = 5;
	ck_assert_int_eq(memmap_dirty(&mm, &fb, bits), 0);
	ck_assert_uint_eq(bits[0], 5);
	/* In two parts, at pages 0 to 7 and from 12 on; bits add up. */
	memmap_map(&mm, &split, 0xa0000 + 8 * PAGE);
	kvm.dirty = 2 | 1ull << 40;
	ck_assert_int_eq(memmap_dirty(&mm, &fb, bits), 0);
	ck_assert_uint_eq(bits[0], 5 | 2 | 1 << 13);
	kvm.fail = -EFAULT;
	ck_assert_int_eq(memmap_dirty(&mm, &fb, bits), -EFAULT);
}
END_TEST

START_TEST(refusals)
{
	struct mem_region many[MEMMAP_REGIONS];
	struct mem_region odd = { .name = "odd", .host = rom, .size = 100 };
	int rc = 0;

	ck_assert_int_eq(memmap_map(&mm, &odd, 0), -EINVAL);
	odd.size = PAGE;
	ck_assert_int_eq(memmap_map(&mm, &odd, 1), -EINVAL);
	ck_assert_int_eq(memmap_map(&mm, &odd, UINT64_MAX - PAGE + 1), -EINVAL);
	ck_assert_int_eq(memmap_map(&mm, &low, 0), -EINVAL);
	for (unsigned i = 0; i < MEMMAP_REGIONS && !rc; i++) {
		many[i] = (struct mem_region){ .name = "x", .host = rom, .size = PAGE, .prio = 1 };
		rc = memmap_map(&mm, &many[i], 2 * i * PAGE);
	}
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_ptr_eq(host_at(2 * PAGE), rom);
	kvm.fail = -EINVAL;
	ck_assert_int_eq(memmap_unmap(&mm, &many[0]), -EINVAL);
}
END_TEST

/* --- watching ------------------------------------------------------------------------------ */

static unsigned told[2];

static void on_written(void *ctx)
{
	++*(unsigned *)ctx;
}

/* Whether a write of one byte there, by the kernel for somebody, is let through. */
static bool can_write(uint8_t *at)
{
	int pipes[2];
	bool ok;

	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	ok = read(pipes[0], at, 1) == 1;
	ck_assert(ok || errno == EFAULT);
	close(pipes[0]);
	close(pipes[1]);
	return ok;
}

START_TEST(watched_memory)
{
	struct mem_twin twin[2];
	struct mem_watch w[2];
	unsigned cpu[2] = { 0 };

	memset(told, 0, sizeof(told));
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(mem_twin_create(&twin[i], "test", 4 * PAGE), 0);
		w[i] = (struct mem_watch){ .host = twin[i].guest,
					   .size = twin[i].size,
					   .written = on_written,
					   .ctx = &told[i] };
	}
	ck_assert(!memmap_written(&mm, &cpu[0])); /* it was something else */
	ck_assert_int_eq(memmap_watch(&mm, &w[0]), 0);
	ck_assert_int_eq(memmap_watch(&mm, &w[0]), 0);
	ck_assert(!can_write(twin[0].guest + 3 * PAGE));
	ck_assert_int_eq(twin[0].guest[0], 0);
	twin[0].own[5] = 7;
	ck_assert_int_eq(twin[0].guest[5], 7);
	/* Two CPUs that wrote at once. */
	ck_assert(memmap_written(&mm, &cpu[0]));
	ck_assert(memmap_written(&mm, &cpu[1]));
	ck_assert_uint_eq(told[0], 1);
	ck_assert(can_write(twin[0].guest));
	ck_assert(!memmap_written(&mm, &cpu[0]));
	ck_assert(!memmap_written(&mm, &cpu[1]));
	/* One wrote, and the watch was taken back before that was known. */
	ck_assert_int_eq(memmap_watch(&mm, &w[0]), 0);
	ck_assert_int_eq(memmap_watch(&mm, &w[1]), 0);
	ck_assert(!can_write(twin[1].guest));
	memmap_unwatch(&mm, &w[0]);
	ck_assert(can_write(twin[0].guest));
	ck_assert(!can_write(twin[1].guest));
	memmap_unwatch(&mm, &w[1]);
	memmap_unwatch(&mm, &w[1]);
	ck_assert(memmap_written(&mm, &cpu[1]));
	ck_assert_uint_eq(told[0], 1);
	ck_assert_uint_eq(told[1], 0);
	for (unsigned i = 0; i < 2; i++)
		mem_twin_destroy(&twin[i]);
	mem_twin_destroy(&twin[0]);
}
END_TEST

/* As KVM brings writes of instructions that it emulates. */
START_TEST(writes_for_the_guest)
{
	struct mem_region fb = { .name = "fb", .log_dirty = true, .prio = 1 };
	struct mem_region split = { .name = "split", .size = PAGE, .prio = 2 };
	uint64_t bits[1] = { 0 };
	struct mem_watch w;
	struct mem_twin twin;
	uint8_t *p;

	told[0] = 0;
	ck_assert_int_eq(mem_twin_create(&twin, "test", 8 * PAGE), 0);
	fb.host = twin.guest;
	fb.own = twin.own;
	fb.size = twin.size;
	w = (struct mem_watch){
		.host = twin.guest, .size = twin.size, .written = on_written, .ctx = &told[0]
	};
	ck_assert_int_eq(memmap_map(&mm, &fb, 0xa0000), 0);
	ck_assert_int_eq(memmap_map(&mm, &split, 0xa0000 + 2 * PAGE), 0);
	ck_assert_int_eq(memmap_watch(&mm, &w), 0);
	ck_assert(memmap_access(&mm, 100, bits, 1, true)); /* RAM: nobody's concern */
	ck_assert_ptr_eq(memmap_ptr(&mm, 0xa0000, PAGE, false), twin.own);
	ck_assert(memmap_access(&mm, 0xa0000, bits, 8, false));
	ck_assert_uint_eq(told[0], 0);
	bits[0] = 0x55;
	ck_assert(memmap_access(&mm, 0xa0000 + 5 * PAGE - 4, bits, 8, true));
	ck_assert_uint_eq(told[0], 1);
	ck_assert_uint_eq(twin.guest[5 * PAGE - 4], 0x55);
	bits[0] = 0;
	ck_assert_int_eq(memmap_dirty(&mm, &fb, bits), 0);
	ck_assert_uint_eq(bits[0], 3 << 4);
	ck_assert_int_eq(memmap_watch(&mm, &w), 0);
	p = memmap_ptr(&mm, 0xa0000 + PAGE, 1, true);
	ck_assert_uint_eq(told[0], 2);
	/* What is written by the pointer may come after the look. */
	bits[0] = 0;
	ck_assert_int_eq(memmap_dirty(&mm, &fb, bits), 0);
	*p = 1;
	bits[0] = 0;
	ck_assert_int_eq(memmap_dirty(&mm, &fb, bits), 0);
	ck_assert_uint_eq(bits[0], 1 << 1);
	bits[0] = 0;
	ck_assert_int_eq(memmap_dirty(&mm, &fb, bits), 0);
	ck_assert_uint_eq(bits[0], 0);
	memmap_unmap(&mm, &fb);
	mem_twin_destroy(&twin);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		one_region_is_one_slot, what_covers_wins,        what_stays_is_not_touched,
		access_follows_the_map, dirty_pages_of_a_region, refusals,
		watched_memory,         writes_for_the_guest,
	};

	return run_tests("memmap", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
