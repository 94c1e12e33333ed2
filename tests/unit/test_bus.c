/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory and the buses: layout, overlaps, access sizes, doorbells, and map changes under
 * readers. */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "suite.h"
#include "bus.h"
#include "err.h"
#include "gmem.h"

/* --- guest memory ------------------------------------------------------------- */

START_TEST(memory_layout)
{
	static const uint8_t text[8] = "boundary";
	struct gmem g;
	uint8_t got[8];

	ck_assert_int_eq(gmem_init(&g, 5ull << 30, _i ? GMEM_MEMFD : GMEM_ANON, NULL), 0);
	ck_assert_uint_eq(gmem_low_size(&g), GMEM_LOW_MAX);
	ck_assert_uint_eq(gmem_high_size(&g), (5ull << 30) - GMEM_LOW_MAX);
	ck_assert_ptr_nonnull(gmem_ptr(&g, GMEM_LOW_MAX - 1, 1));
	ck_assert_ptr_null(gmem_ptr(&g, GMEM_LOW_MAX - 1, 2));
	ck_assert_ptr_null(gmem_ptr(&g, GMEM_LOW_MAX, 1));
	ck_assert_ptr_null(gmem_ptr(&g, GMEM_HIGH_BASE - 1, 1));
	ck_assert_ptr_nonnull(gmem_ptr(&g, GMEM_HIGH_BASE, (2ull << 30)));
	ck_assert_ptr_null(gmem_ptr(&g, GMEM_HIGH_BASE, (2ull << 30) + 1));
	ck_assert_ptr_null(gmem_ptr(&g, UINT64_MAX, 2));
	ck_assert_ptr_null(gmem_ptr(&g, 0, SIZE_MAX));
	ck_assert_int_eq(gmem_write(&g, GMEM_HIGH_BASE + 4096, text, 8), 0);
	ck_assert_int_eq(gmem_read(&g, GMEM_HIGH_BASE + 4096, got, 8), 0);
	ck_assert_mem_eq(got, text, 8);
	ck_assert_int_eq(gmem_write(&g, GMEM_LOW_MAX - 4, text, 8), -EFAULT);
	ck_assert_int_eq(gmem_read(&g, GMEM_LOW_MAX - 4, got, 4), 0);
	ck_assert_mem_eq(got, "\0\0\0\0", 4); /* nothing was copied */
	gmem_fini(&g);
}
END_TEST

START_TEST(memory_across_ranges)
{
	struct gmem g;
	uint8_t *host = malloc(8192), buf[4] = { 1, 2, 3, 4 }, got[4];

	/* Two ranges that touch in the guest but lie the other way round in the host. */
	memset(&g, 0, sizeof(g));
	g.n = 2;
	g.range[0] = (struct gmem_range){ .gpa = 0, .size = 4096, .host = host + 4096 };
	g.range[1] = (struct gmem_range){ .gpa = 4096, .size = 4096, .host = host };
	ck_assert_int_eq(gmem_write(&g, 4094, buf, 4), 0);
	ck_assert_uint_eq(host[8191], 2);
	ck_assert_uint_eq(host[0], 3);
	ck_assert_int_eq(gmem_read(&g, 4094, got, 4), 0);
	ck_assert_mem_eq(got, buf, 4);
	ck_assert_ptr_null(gmem_ptr(&g, 4094, 4));
	free(host);
}
END_TEST

START_TEST(no_memory)
{
	struct rlimit old, tight = { .rlim_cur = 1 << 30, .rlim_max = RLIM_INFINITY };
	struct err e = { 0 };
	struct gmem g;

#ifdef __SANITIZE_ADDRESS__
	return; /* the sanitizer itself needs the address space */
#endif
	getrlimit(RLIMIT_AS, &old);
	tight.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_AS, &tight);
	ck_assert_int_eq(gmem_init(&g, 8ull << 30, GMEM_ANON, &e), -ENOMEM);
	setrlimit(RLIMIT_AS, &old);
	ck_assert_int_eq(e.status, ERR_HOST);
	ck_assert_ptr_nonnull(strstr(e.msg, "8192 MiB"));
	ck_assert_ptr_nonnull(strstr(e.hint, "-m"));
	ck_assert_int_eq(gmem_init(&g, 1000, GMEM_ANON, &e), -EINVAL);
}
END_TEST

/* --- the bus -------------------------------------------------------------------- */

struct log {
	unsigned reads, writes;
	uint64_t off, val;
	unsigned size;
	uint64_t answer;
};

static uint64_t log_read(void *dev, uint64_t off, unsigned size)
{
	struct log *l = dev;

	l->reads++;
	l->off = off;
	l->size = size;
	return l->answer >> (8 * (off & 7));
}

static void log_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct log *l = dev;

	l->writes++;
	l->off = off;
	l->size = size;
	l->val = val;
}

static const struct io_ops any_size = { .read = log_read, .write = log_write };
static const struct io_ops bytes_only = { .read = log_read, .write = log_write, .max = 1 };
static const struct io_ops words_only = {
	.read = log_read, .write = log_write, .min = 4, .max = 4
};

static struct bus bus;
static struct log one, two;
static struct io_region r1, r2;

static void setup(void)
{
	bus_init(&bus, true);
	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
	one.answer = 0x1122334455667788;
	two.answer = 0xaaaaaaaaaaaaaaaa;
	r1 = (struct io_region){ .name = "one", .ops = &any_size, .dev = &one, .size = 16 };
	r2 = (struct io_region){ .name = "two", .ops = &any_size, .dev = &two, .size = 4 };
}

static void teardown(void)
{
	bus_fini(&bus);
}

static uint64_t rd(uint64_t addr, unsigned size)
{
	uint64_t val = 0;

	bus_read(&bus, addr, &val, size);
	return val;
}

START_TEST(nobody_answers)
{
	uint64_t val = 0;

	ck_assert(!bus_read(&bus, 0x1000, &val, 4));
	ck_assert_uint_eq(val, 0xffffffff);
	ck_assert(!bus_write(&bus, 0x1000, &val, 4));
	bus_map(&bus, &r1, 0x1000);
	ck_assert_uint_eq(rd(0xfff, 1), 0xff);
	ck_assert_uint_eq(rd(0x1010, 1), 0xff);
	ck_assert_uint_eq(one.reads, 0);
}
END_TEST

START_TEST(offsets_and_sizes)
{
	uint32_t val = 0xdeadbeef;

	bus_map(&bus, &r1, 0x1000);
	ck_assert_uint_eq(rd(0x1000, 8), 0x1122334455667788);
	ck_assert_uint_eq(rd(0x1004, 4), 0x11223344);
	ck_assert_uint_eq(one.off, 4);
	ck_assert_uint_eq(one.size, 4);
	bus_write(&bus, 0x1008, &val, 4);
	ck_assert_uint_eq(one.val, 0xdeadbeef);
	ck_assert_uint_eq(one.off, 8);
}
END_TEST

START_TEST(wide_accesses_are_split)
{
	r1.ops = &bytes_only;
	bus_map(&bus, &r1, 0x1000);
	ck_assert_uint_eq(rd(0x1000, 4), 0x55667788);
	ck_assert_uint_eq(one.reads, 4);
	ck_assert_uint_eq(one.size, 1);
	ck_assert_uint_eq(one.off, 3);
}
END_TEST

START_TEST(narrow_accesses_are_widened)
{
	uint8_t byte = 0xee;

	r1.ops = &words_only;
	bus_map(&bus, &r1, 0x1000);
	ck_assert_uint_eq(rd(0x1001, 1), 0x77);
	ck_assert_uint_eq(one.off, 0);
	ck_assert_uint_eq(one.size, 4);
	bus_write(&bus, 0x1002, &byte, 1);
	ck_assert_uint_eq(one.val, 0x55ee7788); /* read, changed, written */
	ck_assert_uint_eq(one.off, 0);
}
END_TEST

START_TEST(access_over_an_edge)
{
	bus_map(&bus, &r1, 0x1000);
	bus_map(&bus, &r2, 0x1010);
	ck_assert_uint_eq(rd(0x100e, 4), 0xaaaa1122);
	ck_assert_uint_eq(rd(0x1012, 8), 0xffffffffffffaaaa);
	ck_assert_uint_eq(rd(0xffc, 8), 0x55667788ffffffff);
}
END_TEST

START_TEST(overlaps)
{
	bus_map(&bus, &r1, 0x1000);
	bus_map(&bus, &r2, 0x1004); /* mapped last: in front */
	ck_assert_uint_eq(rd(0x1004, 4), 0xaaaaaaaa);
	ck_assert_uint_eq(rd(0x1000, 4), 0x55667788);
	ck_assert_uint_eq(rd(0x1008, 1), 0x88);
	ck_assert_str_eq(bus_find(&bus, 0x1007)->name, "two");
	bus_unmap(&r1);
	r1.prio = 1;
	bus_map(&bus, &r1, 0x1000);
	ck_assert_uint_eq(rd(0x1004, 4), 0x11223344);
	bus_unmap(&r1);
	ck_assert_uint_eq(rd(0x1004, 4), 0xaaaaaaaa);
	ck_assert_uint_eq(rd(0x1000, 4), 0xffffffff);
	ck_assert_ptr_null(bus_find(&bus, 0x1000));
}
END_TEST

START_TEST(end_of_address_space)
{
	bus_map(&bus, &r1, UINT64_MAX - 15);
	ck_assert_uint_eq(rd(UINT64_MAX, 1), 0x11);
	ck_assert_uint_eq(one.off, 15);
	bus_map(&bus, &r2, UINT64_MAX - 1); /* would wrap: not mapped */
	ck_assert(!bus_mapped(&r2));
}
END_TEST

static unsigned listed;
static uint64_t last_base;

static void list(void *ctx, const struct io_region *r)
{
	ck_assert_uint_ge(r->base, last_base);
	last_base = r->base;
	listed++;
}

START_TEST(listing_is_in_order)
{
	struct io_region many[20];

	for (unsigned i = 0; i < 20; i++) {
		many[i] = r2;
		bus_map(&bus, &many[i], 0x1000 + (i * 7 % 20) * 16);
	}
	bus_map(&bus, &r1, 0x1000);
	listed = 0;
	last_base = 0;
	bus_each(&bus, list, NULL);
	ck_assert_uint_eq(listed, 21);
	for (unsigned i = 0; i < 20; i++)
		bus_unmap(&many[i]);
}
END_TEST

/* A handler that reads another address on the same bus, as a bridge would. */
static uint64_t nested_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	bus_read(&bus, *(uint64_t *)dev, &val, size);
	return val;
}

START_TEST(nested_access)
{
	static const struct io_ops nested = { .read = nested_read };
	uint64_t target = 0x1000, self = 0x3000;
	struct io_region n1 = { .name = "n1", .ops = &nested, .dev = &target, .size = 8 };
	struct io_region n2 = { .name = "n2", .ops = &nested, .dev = &self, .size = 8 };

	bus_map(&bus, &r1, 0x1000);
	bus_map(&bus, &n1, 0x2000);
	bus_map(&bus, &n2, 0x3000);
	ck_assert_uint_eq(rd(0x2000, 8), 0x1122334455667788);
	ck_assert_uint_eq(rd(0x3000, 8),
			  UINT64_MAX); /* would go round for ever: ends in all ones */
	ck_assert_uint_eq(rd(0x2000, 8), 0x1122334455667788);
	bus_unmap(&n1);
	bus_unmap(&n2);
}
END_TEST

/* --- many at once --- */

static struct {
	unsigned calls, single, most;
	uint8_t next;
} fifo;

static uint64_t fifo_read(void *dev, uint64_t off, unsigned size)
{
	fifo.single++;
	return 0x1100u + off;
}

static unsigned fifo_read_many(void *dev, uint64_t off, void *buf, unsigned size, unsigned count)
{
	unsigned n = count < fifo.most ? count : fifo.most;

	fifo.calls++;
	if (off)
		return 0;
	for (unsigned i = 0; i < n * size; i++)
		((uint8_t *)buf)[i] = fifo.next++;
	return n;
}

static unsigned fifo_write_many(void *dev, uint64_t off, const void *buf, unsigned size,
				unsigned count)
{
	fifo.calls++;
	ck_assert_uint_eq(((const uint8_t *)buf)[0], fifo.next);
	fifo.next = (uint8_t)(fifo.next + count * size);
	return count;
}

START_TEST(many_at_once)
{
	static const struct io_ops ops = { .read = fifo_read,
					   .read_many = fifo_read_many,
					   .write_many = fifo_write_many };
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct io_region r = { .name = "fifo", .ops = &ops, .size = 4, .lock = &lock };
	uint8_t buf[64];

	bus_map(&bus, &r, 0x2000);
	memset(&fifo, 0, sizeof(fifo));
	fifo.most = 100;
	bus_read_many(&bus, 0x2000, buf, 2, 32);
	ck_assert_uint_eq(fifo.calls, 1);
	ck_assert_uint_eq(fifo.single, 0);
	for (unsigned i = 0; i < 64; i++)
		ck_assert_uint_eq(buf[i], i);
	/* What it does not take goes one by one, as do other ports. */
	fifo.most = 3;
	memset(&buf, 0, sizeof(buf));
	bus_read_many(&bus, 0x2000, buf, 2, 7);
	ck_assert_uint_eq(fifo.single, 1);
	ck_assert_uint_eq(buf[11], 75);
	ck_assert_uint_eq(buf[12] | buf[13] << 8, 0x1100);
	fifo.single = 0;
	bus_read_many(&bus, 0x2002, buf, 2, 3);
	ck_assert_uint_eq(fifo.single, 3);
	ck_assert_uint_eq(buf[4] | buf[5] << 8, 0x1102);
	/* Over the region's edge, and where nobody is. */
	bus_read_many(&bus, 0x2003, buf, 4, 2);
	ck_assert_uint_eq(buf[4], 0x03);
	ck_assert_uint_eq(buf[7], 0xff);
	bus_read_many(&bus, 0x9000, buf, 4, 2);
	ck_assert_uint_eq(buf[7], 0xff);
	for (unsigned i = 0; i < 64; i++)
		buf[i] = (uint8_t)(fifo.next + i);
	fifo.calls = 0;
	bus_write_many(&bus, 0x2000, buf, 4, 16);
	ck_assert_uint_eq(fifo.calls, 1);
	bus_unmap(&r);
}
END_TEST

/* --- doorbells ------------------------------------------------------------------ */

static struct {
	unsigned sets, active;
	uint64_t addr;
	int fail;
} bell;

static int fake_set(void *ctx, bool mmio, uint64_t addr, unsigned size, int64_t match, int fd,
		    bool add)
{
	if (bell.fail)
		return -bell.fail;
	bell.sets++;
	bell.active += add ? 1u : -1u;
	bell.addr = addr;
	return 0;
}

START_TEST(doorbells)
{
	static const struct bus_doorbell_ops ops = { .set = fake_set };

	memset(&bell, 0, sizeof(bell));
	ck_assert_int_eq(bus_doorbell(&r1, 0, 4, BUS_DOORBELL_ANY, 5), -EINVAL); /* not mapped */
	bus_map(&bus, &r1, 0x1000);
	ck_assert_int_eq(bus_doorbell(&r1, 4, 4, 1, 5), -ENOSYS);
	bus.doorbell_ops = &ops;
	ck_assert_int_eq(bus_doorbell(&r1, 16, 4, 1, 5), -EINVAL);
	ck_assert_int_eq(bus_doorbell(&r1, 4, 4, 1, 5), 0);
	ck_assert_uint_eq(bell.addr, 0x1004);
	ck_assert_uint_eq(bell.active, 1);
	bus_map(&bus, &r2, 0x1004); /* covered: rests */
	ck_assert_uint_eq(bell.active, 0);
	bus_unmap(&r2);
	ck_assert_uint_eq(bell.active, 1);
	bus_doorbell_remove(&r1, 4, 4, 1, 6); /* another one */
	ck_assert_uint_eq(bell.active, 1);
	bus_unmap(&r1);
	ck_assert_uint_eq(bell.active, 0);
	ck_assert_ptr_null(bus.doorbells);
	bus_map(&bus, &r1, 0x1000);
	bell.fail = ENOSPC;
	ck_assert_int_eq(bus_doorbell(&r1, 4, 4, 1, 5), -ENOSPC);
	ck_assert_ptr_null(bus.doorbells);
	bell.fail = 0;
	bus_doorbell(&r1, 8, 2, 0, 7);
	bus_doorbell_remove(&r1, 8, 2, 0, 7);
	ck_assert_uint_eq(bell.active, 0);
}
END_TEST

/* What may come late is told to the host while the region answers there. */
START_TEST(late_writes)
{
	static const struct bus_doorbell_ops ops = { .set = fake_set };

	memset(&bell, 0, sizeof(bell));
	r1.late = 8;
	r1.late_len = 4;
	bus_map(&bus, &r1, 0x1000); /* the host has nothing of the kind: no harm */
	bus_unmap(&r1);
	bus.doorbell_ops = &ops;
	bus_map(&bus, &r1, 0x1000);
	ck_assert_uint_eq(bell.active, 1);
	ck_assert_uint_eq(bell.addr, 0x1008);
	bus_map(&bus, &r1, 0x2000);
	ck_assert_uint_eq(bell.active, 1);
	ck_assert_uint_eq(bell.addr, 0x2008);
	bus_map(&bus, &r2, 0x2008);
	ck_assert_uint_eq(bell.active, 0);
	bus_late(&bus, &r1, 0); /* while another covers it */
	bus_late(&bus, &r1, 8);
	ck_assert_uint_eq(bell.active, 0);
	bus_unmap(&r2);
	ck_assert_uint_eq(bell.active, 1);
	bus_late(&bus, &r1, 0);
	ck_assert_uint_eq(bell.active, 0);
	ck_assert_ptr_null(bus.doorbells);
	bus_late(&bus, &r1, 4);
	ck_assert_uint_eq(bell.active, 1);
	ck_assert_uint_eq(bell.addr, 0x2008);
	bus_unmap(&r1);
	ck_assert_uint_eq(bell.active, 0);
	ck_assert_ptr_null(bus.doorbells);
	bus_late(&bus, &r1, 0); /* not mapped: for the next time */
	bus_map(&bus, &r1, 0x1000);
	ck_assert_uint_eq(bell.active, 0);
	bus_unmap(&r1);
}
END_TEST

/* --- threads ---------------------------------------------------------------------- */

static _Atomic bool stop;
static _Atomic bool freed;
static _Atomic unsigned inside, answers;

static uint64_t slow_read(void *dev, uint64_t off, unsigned size)
{
	ck_assert(!atomic_load(&freed));
	atomic_fetch_add(&inside, 1);
	for (volatile int i = 0; i < 200; i++)
		;
	ck_assert(!atomic_load(&freed));
	atomic_fetch_sub(&inside, 1);
	return 0x5a;
}

static void *reader(void *arg)
{
	while (!atomic_load(&stop)) {
		uint8_t val = 0;

		bus_read(&bus, 0x5000, &val, 1);
		ck_assert(val == 0x5a || val == 0xff);
		if (val == 0x5a)
			atomic_fetch_add(&answers, 1);
	}
	return NULL;
}

START_TEST(map_changes_under_readers)
{
	static const struct io_ops slow = { .read = slow_read };
	struct io_region r = { .name = "slow", .ops = &slow, .size = 1 };
	pthread_t t[3];

	atomic_store(&stop, false);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, reader, NULL);
	for (int i = 0; i < 1000; i++) {
		unsigned before = atomic_load(&answers);

		atomic_store(&freed, false);
		bus_map(&bus, &r, 0x5000);
		while (atomic_load(&answers) == before)
			sched_yield();
		bus_unmap(&r);
		bus_sync();
		/* From here on the device may be gone: no reader may be in its handler. */
		ck_assert_uint_eq(atomic_load(&inside), 0);
		atomic_store(&freed, true);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus");
	TCase *tc = tcase_create("memory"), *tb = tcase_create("bus");

	tcase_add_loop_test(tc, memory_layout, 0, 2);
	tcase_add_test(tc, memory_across_ranges);
	tcase_add_test(tc, no_memory);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tb, setup, teardown);
	tcase_set_timeout(tb, 60);
	tcase_add_test(tb, nobody_answers);
	tcase_add_test(tb, offsets_and_sizes);
	tcase_add_test(tb, wide_accesses_are_split);
	tcase_add_test(tb, narrow_accesses_are_widened);
	tcase_add_test(tb, access_over_an_edge);
	tcase_add_test(tb, overlaps);
	tcase_add_test(tb, end_of_address_space);
	tcase_add_test(tb, listing_is_in_order);
	tcase_add_test(tb, nested_access);
	tcase_add_test(tb, many_at_once);
	tcase_add_test(tb, doorbells);
	tcase_add_test(tb, late_writes);
	tcase_add_test(tb, map_changes_under_readers);
	suite_add_tcase(suite, tb);
	return run_suite(suite);
}
