/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ROM and RAM below 1 MiB by the host bridge's PAM registers (Intel 82441FX data sheet,
 * 3.2.18), as the guest sees them: through the memory map, and the bus where no memory is.
 */
#include "pci_guest.h"

#include "firmware.h"
#include "memmap.h"

enum { ROM_SIZE = 256 << 10, MIB = 1 << 20 };

static struct firmware bios;
static struct mem_region low;

static int set_slot(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		    bool readonly, bool log_dirty)
{
	return 0;
}

static const struct memmap_ops ops = { .set = set_slot };

/* Byte at a: of ROM 'R' + bits of the address; of RAM 'm'. */
static uint8_t rom_byte(uint32_t a)
{
	return (uint8_t)(0x80 | (a >> 12));
}

static void setup(void)
{
	fake_setup();
	memmap_init(&fake.m.map, &ops, NULL);
	low = (struct mem_region){ .name = "ram", .host = fake.m.mem.ram, .size = 16 * MIB };
	ck_assert_int_eq(memmap_map(&fake.m.map, &low, 0), 0);
	bios = (struct firmware){
		.rom = { .host = aligned_alloc(4096, ROM_SIZE), .len = ROM_SIZE, .size = ROM_SIZE }
	};
	for (uint32_t i = 0; i < ROM_SIZE; i++)
		bios.rom.host[i] = rom_byte(MIB - ROM_SIZE + i);
	memset(fake.m.mem.ram, 'm', 2 * MIB);
	fake.m.bios = &bios;
	board();
	machine_reset_devices(&fake.m);
}

static void teardown(void)
{
	machine_remove_devices(&fake.m);
	fake.m.bios = NULL;
	ck_assert_int_eq(memmap_unmap(&fake.m.map, &low), 0);
	ck_assert_uint_eq(fake.m.map.n, 0);
	memmap_fini(&fake.m.map);
	free(bios.rom.host);
	fake_teardown();
}

/* --- the guest --------------------------------------------------------------------- */

struct look {
	uint64_t gpa;
	uint8_t *host;
	bool readonly;
};

static void find(void *ctx, const struct mem_segment *s)
{
	struct look *l = ctx;

	if (l->gpa >= s->gpa && l->gpa - s->gpa < s->size && s->host) {
		l->host = s->host + (l->gpa - s->gpa);
		l->readonly = s->readonly;
	}
}

static uint8_t load(uint32_t gpa)
{
	struct look l = { .gpa = gpa };

	memmap_each(&fake.m.map, find, &l);
	return l.host ? *l.host : (uint8_t)mr(gpa, 1);
}

static void store(uint32_t gpa, uint8_t val)
{
	struct look l = { .gpa = gpa };

	memmap_each(&fake.m.map, find, &l);
	if (l.host && !l.readonly)
		*l.host = val;
	else
		mw(gpa, val, 1);
}

/* --- areas --------------------------------------------------------------------------- */

static const struct area {
	unsigned reg, shift;
	uint32_t base, size;
} areas[] = {
	{ 0x59, 4, 0xf0000, 0x10000 }, { 0x5a, 0, 0xc0000, 0x4000 }, { 0x5a, 4, 0xc4000, 0x4000 },
	{ 0x5b, 0, 0xc8000, 0x4000 },  { 0x5b, 4, 0xcc000, 0x4000 }, { 0x5c, 0, 0xd0000, 0x4000 },
	{ 0x5c, 4, 0xd4000, 0x4000 },  { 0x5d, 0, 0xd8000, 0x4000 }, { 0x5d, 4, 0xdc000, 0x4000 },
	{ 0x5e, 0, 0xe0000, 0x4000 },  { 0x5e, 4, 0xe4000, 0x4000 }, { 0x5f, 0, 0xe8000, 0x4000 },
	{ 0x5f, 4, 0xec000, 0x4000 },
};
enum { AREAS = sizeof(areas) / sizeof(areas[0]) };

/* What the ISA bus has there. */
static uint8_t isa_byte(uint32_t gpa)
{
	return gpa >= 0xe0000 ? rom_byte(gpa) : 0xff;
}

/* All of an area behaves as attr says; the RAM below it holds `ram` before, and is left with it. */
static void check_area(const struct area *a, unsigned attr)
{
	static const uint32_t places[] = { 0, 1, 0x1000, 0x3fff };

	for (unsigned i = 0; i < 5; i++) {
		uint32_t gpa = a->base + (i < 4 ? places[i] : a->size - 1);
		uint8_t *ram = fake.m.mem.ram + gpa;

		*ram = 'm';
		ck_assert_uint_eq(load(gpa), attr & 1 ? 'm' : isa_byte(gpa));
		store(gpa, 'w');
		ck_assert_msg(*ram == (attr & 2 ? 'w' : 'm'), "%x attribute %u", gpa, attr);
		ck_assert_uint_eq(load(gpa), attr & 1 ? *ram : isa_byte(gpa));
		*ram = 'm';
	}
}

START_TEST(power_on)
{
	for (unsigned i = 0; i < AREAS; i++)
		check_area(&areas[i], 0);
	ck_assert_uint_eq(load(0xfffff), rom_byte(0xfffff));
	ck_assert_uint_eq(load(0xbffff), 'm');
	ck_assert_uint_eq(load(MIB), 'm');
}
END_TEST

START_TEST(each_register_and_value)
{
	for (unsigned i = 0; i < AREAS; i++) {
		for (unsigned attr = 0; attr < 4; attr++) {
			/* The bits between are reserved. */
			cfg_write(HOST_BRIDGE, areas[i].reg, (attr | 0xc) << areas[i].shift, 1);
			check_area(&areas[i], attr);
			/* The others are as they were. */
			check_area(&areas[(i + 1) % AREAS], 0);
			check_area(&areas[(i + AREAS - 1) % AREAS], 0);
		}
		cfg_write(HOST_BRIDGE, areas[i].reg, 0, 1);
	}
}
END_TEST

/* As firmware does: RAM for writing, a copy, then RAM alone, which is then closed. */
START_TEST(shadowing)
{
	cfg_write(HOST_BRIDGE, 0x59, 0x20, 1);
	for (uint32_t gpa = 0xf0000; gpa < MIB; gpa += 0xff)
		store(gpa, load(gpa));
	cfg_write(HOST_BRIDGE, 0x59, 0x30, 1);
	for (uint32_t gpa = 0xf0000; gpa < MIB; gpa += 0xff)
		ck_assert_uint_eq(load(gpa), rom_byte(gpa));
	store(0xf1234, 'w');
	ck_assert_uint_eq(load(0xf1234), 'w');
	cfg_write(HOST_BRIDGE, 0x59, 0x10, 1);
	store(0xf1234, 'x');
	ck_assert_uint_eq(load(0xf1234), 'w');
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(load(0xf1234), rom_byte(0xf1234));
	ck_assert_uint_eq(fake.m.mem.ram[0xf1234], 'w');
}
END_TEST

START_TEST(several_at_once)
{
	cfg_write(HOST_BRIDGE, 0x5c, 0x21333333, 4); /* 5c to 5f */
	for (unsigned i = 5; i < 11; i++)
		check_area(&areas[i], 3);
	check_area(&areas[11], 1);
	check_area(&areas[12], 2);
	check_area(&areas[0], 0);
	ck_assert_uint_eq(cfg_read(HOST_BRIDGE, 0x5c, 4), 0x21333333);
}
END_TEST

/* A write of several bytes under ROM, and one at the end. */
START_TEST(wide_writes)
{
	cfg_write(HOST_BRIDGE, 0x59, 0x20, 1);
	mw(0xf0000, 0x1122334455667788, 8);
	ck_assert_uint_eq(fake.m.mem.ram[0xf0000], 0x88);
	ck_assert_uint_eq(fake.m.mem.ram[0xf0007], 0x11);
	mw(0xffffe, 0xabcd, 2);
	ck_assert_uint_eq(fake.m.mem.ram[0xfffff], 0xab);
	mw(0xeffff, 0xab, 1); /* the area before is closed */
	ck_assert_uint_eq(fake.m.mem.ram[0xeffff], 'm');
}
END_TEST

START_TEST(without_firmware)
{
	machine_remove_devices(&fake.m);
	fake.m.bios = NULL;
	board();
	machine_reset_devices(&fake.m);
	cfg_write(HOST_BRIDGE, 0x59, 0x20, 1);
	ck_assert_uint_eq(load(0xf0000), 'm');
	store(0xf0000, 'w');
	ck_assert_uint_eq(load(0xf0000), 'w');
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { power_on,    each_register_and_value,
				       shadowing,   several_at_once,
				       wide_writes, without_firmware };

	return run_tests("pam", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
