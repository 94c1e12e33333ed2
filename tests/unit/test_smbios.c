/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS structures, field by field, and what -smbios may say. */
#include "suite.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "err.h"
#include "gmem.h"
#include "smbios.h"

static struct config cfg;
static struct gmem mem;
static uint8_t *tables, anchor[SMBIOS_ANCHOR_LEN];
static size_t len;
static struct err err;

static void setup(void)
{
	memset(&cfg, 0, sizeof(cfg));
	mem = (struct gmem){ .ram_size = 64 << 20, .n = 1 };
	mem.range[0].gpa = 0;
	mem.range[0].size = 64 << 20;
	tables = NULL;
}

static void teardown(void)
{
	free(tables);
	free(cfg.smbios.s);
}

static int build(unsigned n_cpus)
{
	free(tables);
	return smbios_build(&cfg, &mem, n_cpus, &tables, &len, anchor, &err);
}

static void say(const char *arg)
{
	ck_assert_int_eq(config_add(&cfg.smbios, arg, &err), 0);
}

static uint64_t le(const uint8_t *p, unsigned off, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = size; i--;)
		v = v << 8 | p[off + i];
	return v;
}

static const uint8_t *next(const uint8_t *s)
{
	s += s[1];
	while (s[0] || s[1])
		s++;
	return s + 2;
}

/* The k-th structure of a type, or NULL. */
static const uint8_t *find(uint8_t type, unsigned k)
{
	for (const uint8_t *s = tables; s < tables + len; s = next(s))
		if (s[0] == type && !k--)
			return s;
	return NULL;
}

static const char *string(const uint8_t *s, unsigned off)
{
	const char *p = (const char *)s + s[1];

	if (!s[off])
		return "";
	for (unsigned i = 1; i < s[off]; i++)
		p += strlen(p) + 1;
	return p;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t v = 0;

	while (n--)
		v += p[n];
	return v;
}

START_TEST(plain)
{
	const uint8_t *s;
	unsigned n = 0, longest = 0;

	ck_assert_int_eq(build(4), 0);
	ck_assert_mem_eq(anchor, "_SM_", 4);
	ck_assert_uint_eq(sum(anchor, 31), 0);
	ck_assert_uint_eq(sum(anchor + 16, 15), 0);
	ck_assert_uint_eq(le(anchor, 22, 2), len);
	for (s = tables; s < tables + len; s = next(s)) {
		n++;
		if (next(s) - s > longest)
			longest = (unsigned)(next(s) - s);
	}
	ck_assert_ptr_eq(s, tables + len);
	ck_assert_uint_eq(le(anchor, 28, 2), n);
	ck_assert_uint_eq(le(anchor, 8, 2), longest);
	ck_assert_uint_lt(len, 800); /* it is built at each start */
	ck_assert_str_eq(string(find(0, 0), 4), "Posada");
	ck_assert_str_eq(string(find(1, 0), 7), "");
	ck_assert_uint_eq(le(find(4, 0), 35, 1), 4);
	ck_assert_uint_eq(le(find(17, 0), 12, 2), 64);
	ck_assert_uint_eq(le(find(19, 0), 4, 4), 0);
	ck_assert_uint_eq(le(find(19, 0), 8, 4), (64 << 10) - 1);
	ck_assert_uint_eq(le(find(16, 0), 7, 4), 64 << 10);
	ck_assert_ptr_null(find(2, 0));
	ck_assert_ptr_null(find(11, 0));
	ck_assert_ptr_nonnull(find(32, 0));
	s = find(127, 0);
	ck_assert_ptr_nonnull(s);
	ck_assert_ptr_eq(next(s), tables + len);
	/* No handle twice. */
	for (s = tables; s < tables + len; s = next(s))
		for (const uint8_t *t = next(s); t < tables + len; t = next(t))
			ck_assert_uint_ne(le(s, 2, 2), le(t, 2, 2));
}
END_TEST

START_TEST(large)
{
	mem.ram_size = 6ull << 40;
	mem.n = 2;
	mem.range[0].size = 3ull << 30;
	mem.range[1].gpa = 1ull << 32;
	mem.range[1].size = mem.ram_size - mem.range[0].size;
	ck_assert_int_eq(build(1), 0);
	ck_assert_uint_eq(le(find(17, 0), 12, 2), 0x7fff);
	ck_assert_uint_eq(le(find(17, 0), 28, 4), 6 << 20);
	ck_assert_uint_eq(le(find(16, 0), 7, 4), 0x80000000);
	ck_assert_uint_eq(le(find(16, 0), 15, 8), 6ull << 40);
	ck_assert_uint_eq(le(find(19, 0), 8, 4), (3 << 20) - 1);
	ck_assert_uint_eq(le(find(19, 1), 4, 4), 0xffffffff);
	ck_assert_uint_eq(le(find(19, 1), 15, 8), 1ull << 32);
	ck_assert_uint_eq(le(find(19, 1), 23, 8), (1ull << 32) + mem.range[1].size - 1);
}
END_TEST

START_TEST(options)
{
	static const uint8_t uuid[] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
					0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	const uint8_t *s;

	for (unsigned i = 0; i < 16; i++)
		cfg.uuid[i] = (uint8_t)(0x11 * i);
	say("type=0,vendor=V,version=W,date=D,release=1.16,uefi=on");
	say("type=1,manufacturer=M,product=P,version=X,serial=S,sku=K,family=F");
	say("type=2,manufacturer=a,product=b,version=c,serial=d,asset=e,location=f");
	say("type=3,manufacturer=g,version=h,serial=i,asset=j,sku=k");
	say("type=4,sock_pfx=l,manufacturer=m,version=n,serial=o,asset=p,part=q,max-speed=3000,"
	    "current-speed=2500");
	say("type=11,value=one,value=two");
	say("11,value=three");
	say("type=17,loc_pfx=r,bank=s,manufacturer=t,serial=u,asset=v,part=w,speed=1600");
	say("type=1,serial=later");
	ck_assert_msg(!build(1), "%s", err.msg);
	s = find(0, 0);
	ck_assert_str_eq(string(s, 4), "V");
	ck_assert_str_eq(string(s, 5), "W");
	ck_assert_str_eq(string(s, 8), "D");
	ck_assert_uint_eq(le(s, 20, 2), 16 << 8 | 1);
	ck_assert_uint_eq(s[19], 0x1c);
	s = find(1, 0);
	ck_assert_str_eq(string(s, 4), "M");
	ck_assert_str_eq(string(s, 5), "P");
	ck_assert_str_eq(string(s, 6), "X");
	ck_assert_str_eq(string(s, 7), "later");
	ck_assert_str_eq(string(s, 25), "K");
	ck_assert_str_eq(string(s, 26), "F");
	ck_assert_mem_eq(s + 8, uuid, 16);
	s = find(2, 0);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(*string(s, 4 + i), 'a' + i);
	ck_assert_str_eq(string(s, 10), "f");
	ck_assert_uint_eq(le(s, 11, 2), le(find(3, 0), 2, 2));
	s = find(3, 0);
	ck_assert_str_eq(string(s, 4), "g");
	ck_assert_str_eq(string(s, 6), "h");
	ck_assert_str_eq(string(s, 21), "k");
	s = find(4, 0);
	ck_assert_str_eq(string(s, 4), "l");
	ck_assert_str_eq(string(s, 34), "q");
	ck_assert_uint_eq(le(s, 20, 2), 3000);
	ck_assert_uint_eq(le(s, 22, 2), 2500);
	s = find(11, 0);
	ck_assert_uint_eq(s[4], 3);
	ck_assert_str_eq(string(s, 4), "three");
	s = find(17, 0);
	ck_assert_str_eq(string(s, 16), "r");
	ck_assert_str_eq(string(s, 26), "w");
	ck_assert_uint_eq(le(s, 21, 2), 1600);
}
END_TEST

START_TEST(too_much)
{
	char arg[4096 + 32];

	memset(arg, 'x', sizeof(arg));
	memcpy(arg, "type=11,value=", 14);
	arg[14 + 4096] = 0;
	for (int i = 0; i < 14; i++)
		say(arg);
	ck_assert_msg(!build(1), "%s", err.msg);
	say(arg);
	ck_assert_int_eq(build(1), -E2BIG);
	arg[14 + 4096] = 'x';
	arg[14 + 4097] = 0;
	teardown();
	setup();
	say(arg);
	ck_assert_int_eq(build(1), -EINVAL);
}
END_TEST

START_TEST(empty_values)
{
	say("type=1,manufacturer=,product=,version=");
	say("type=3,manufacturer=,version=");
	ck_assert_int_eq(build(1), 0);
	ck_assert_uint_eq(find(1, 0)[4], 0); /* no string, not an empty one */
	ck_assert_uint_eq(find(3, 0)[4], 0);
	ck_assert_ptr_nonnull(find(127, 0));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { plain, large, options, too_much, empty_values };

	return run_tests("smbios", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
