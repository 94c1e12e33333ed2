/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VGA's memory as the CPU finds it at 0xa0000, by random registers and accesses, against a slow
 * model: a byte of latch and of memory for each plane, treated bit by bit (IBM VGA technical
 * reference, "Graphics Controller Registers", "Sequencer Registers").
 */
#include "vga_guest.h"

enum { WINDOW = 0xa0000, ADDRESSES = 65536, MEMORY_MB = 1 };

static void setup(void)
{
	fake_setup();
	memset(slots, 0, sizeof(slots));
	no_windows = false;
	vga_board("vgamem_mb=1");
}

static void teardown(void)
{
	vga_board_end();
	fake_teardown();
}

/* --- the model ---------------------------------------------------------------------------------
 */

static struct {
	uint8_t plane[4][ADDRESSES], latch[4];
	uint8_t seq[8], gr[9];
} ref;

/* Where the CPU's address is in the part that the memory map select shows; false: nowhere. */
static bool ref_offset(uint32_t off, uint32_t *out)
{
	static const uint32_t base[4] = { 0, 0, 0x10000, 0x18000 };
	static const uint32_t size[4] = { 0x20000, 0x10000, 0x8000, 0x8000 };
	unsigned map = ref.gr[6] >> 2;

	*out = off - base[map];
	return off >= base[map] && *out < size[map];
}

/*
 * The address in the planes, and which of them an access can reach. Chained planes are one
 * after the other in the CPU's addresses.
 */
static unsigned ref_select(uint32_t off, bool write, uint32_t *address)
{
	bool odd_even = write ? !(ref.seq[4] & 4) : ref.gr[5] & 0x10;

	if (ref.seq[4] & 8) {
		*address = off / 4 % ADDRESSES;
		return 1u << off % 4;
	}
	if (odd_even) {
		*address = off / 2 % ADDRESSES;
		return off % 2 ? 0xa : 0x5;
	}
	*address = off % ADDRESSES;
	return 0xf;
}

static uint8_t ref_read(uint32_t off)
{
	unsigned reach, which;
	uint32_t a;
	uint8_t out = 0;

	if (!ref_offset(off, &off))
		return 0xff;
	reach = ref_select(off, false, &a);
	for (unsigned p = 0; p < 4; p++)
		ref.latch[p] = ref.plane[p][a];
	if (ref.gr[5] & 8) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bool equal = true;

			for (unsigned p = 0; p < 4; p++)
				if (ref.gr[7] >> p & 1 &&
				    (ref.latch[p] >> bit & 1) != (ref.gr[2] >> p & 1))
					equal = false;
			out |= equal << bit;
		}
		return out;
	}
	/* Of the planes that it can reach, the one that is asked for. */
	which = ref.gr[4];
	if (reach == 0x5 || reach == 0xa)
		which = (which & 2) | (reach == 0xa);
	else if (reach != 0xf)
		which = reach == 1 ? 0 : reach == 2 ? 1 : reach == 4 ? 2 : 3;
	return ref.latch[which];
}

static bool logic(unsigned function, bool data, bool latch)
{
	switch (function) {
	case 0:
		return data;
	case 1:
		return data && latch;
	case 2:
		return data || latch;
	default:
		return data != latch;
	}
}

static bool ref_bit(unsigned p, unsigned bit, uint8_t val)
{
	unsigned rotated = val >> (bit + ref.gr[3] % 8) % 8 & 1;
	bool latch = ref.latch[p] >> bit & 1, mask = ref.gr[8] >> bit & 1;
	bool set = ref.gr[0] >> p & 1, data = rotated;

	switch (ref.gr[5] & 3) {
	case 0:
		if (ref.gr[1] >> p & 1)
			data = set;
		break;
	case 1:
		return latch;
	case 2:
		data = val >> p & 1;
		break;
	default:
		data = set;
		mask = mask && rotated;
		break;
	}
	return mask ? logic(ref.gr[3] >> 3 & 3, data, latch) : latch;
}

static void ref_write(uint32_t off, uint8_t val)
{
	uint32_t a;
	unsigned reach;

	if (!ref_offset(off, &off))
		return;
	reach = ref_select(off, true, &a) & ref.seq[2];
	for (unsigned p = 0; p < 4; p++) {
		uint8_t out = 0;

		for (unsigned bit = 0; bit < 8; bit++)
			out |= ref_bit(p, bit, val) << bit;
		if (reach >> p & 1)
			ref.plane[p][a] = out;
	}
}

/* --- random guests -------------------------------------------------------------------------------
 */

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	return fake_random(&seed) % n;
}

static void set_seq(unsigned i, uint8_t val)
{
	static const uint8_t bits[5] = { 3, 0x3d, 0x0f, 0x3f, 0x0e };

	put(SEQ, (uint8_t)i, val);
	ref.seq[i] = val & bits[i];
}

static void set_gr(unsigned i, uint8_t val)
{
	static const uint8_t bits[9] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };

	put(GR, (uint8_t)i, val);
	ref.gr[i] = val & bits[i];
}

/* Registers as modes have them, so that what is mapped for the guest is often possible. */
static void set_all(const struct bios_mode *m)
{
	for (unsigned i = 1; i < 5; i++)
		set_seq(i, m->seq[i]);
	for (unsigned i = 0; i < 9; i++)
		set_gr(i, m->gr[i]);
}

static void change_registers(void)
{
	static const struct bios_mode *const modes[] = { &mode_3, &mode_4, &mode_12, &mode_13 };

	switch (rnd(12)) {
	case 0:
		set_all(modes[rnd(4)]);
		break;
	case 1:
		set_seq(2, (uint8_t)rnd(256));
		break;
	case 2:
		set_seq(4, (uint8_t)rnd(256));
		break;
	case 3:
		set_gr(6, (uint8_t)rnd(256));
		break;
	default:
		set_gr(rnd(9), (uint8_t)(rnd(3) ? rnd(256) : rnd(2) * 0xff));
		break;
	}
}

static void compare(unsigned round)
{
	const uint8_t *mem = direct(FRAMEBUFFER);

	update(); /* what the guest has written directly comes to the planes */
	for (unsigned a = 0; a < ADDRESSES; a++)
		for (unsigned p = 0; p < 4; p++)
			if (mem[4 * a + p] != ref.plane[p][a])
				ck_abort_msg("round %u: plane %u at %x is %x, not %x", round, p, a,
					     mem[4 * a + p], ref.plane[p][a]);
}

static unsigned directly[2]; /* accesses: text, graphics */

static void random_guest(unsigned rounds)
{
	bool latched = true; /* else memory that was read directly is not in the latches */

	memset(&ref, 0, sizeof(ref));
	for (unsigned round = 0; round < rounds; round++) {
		uint32_t at = rnd(0x20000), part = rnd(2) ? 0x400 : 0x20000;

		change_registers();
		for (unsigned n = rnd(400); n; n--) {
			uint32_t off = (at + rnd(part)) % 0x20000, sink;
			bool fast = direct(WINDOW + off) || linear();

			if (direct(WINDOW + off))
				directly[!linear()]++;
			if (!latched && !fast && ref_offset(off, &sink)) {
				ck_assert_uint_eq(guest_read(WINDOW + off), ref_read(off));
				latched = true;
			}
			if (!latched && !fast)
				continue;
			if (rnd(2)) {
				uint8_t val = (uint8_t)rnd(256);

				guest_write(WINDOW + off, val);
				ref_write(off, val);
			} else {
				uint8_t want = ref_read(off), got = guest_read(WINDOW + off);

				if (got != want)
					ck_abort_msg("round %u: %x at %x, not %x", round, got, off,
						     want);
				latched &= !fast && !linear() && !direct(WINDOW + off);
			}
		}
		if (round % 64 == 0)
			compare(round);
	}
	compare(rounds);
}

START_TEST(without_mappings)
{
	no_windows = true;
	seed = 1;
	random_guest(4000);
	ck_assert_ptr_null(linear());
}
END_TEST

START_TEST(with_mappings)
{
	seed = 2;
	random_guest(4000);
	ck_assert_uint_gt(directly[0], 5000);
	ck_assert_uint_gt(directly[1], 5000);
}
END_TEST

/* --- memory at 0xa0000 without exits
 * -------------------------------------------------------------- */

/* Comes the long way until it need not. */
static void knock(uint32_t addr)
{
	for (unsigned i = 0; i < 1000 && !direct(addr); i++)
		guest_write(addr, (uint8_t)i);
	ck_assert_ptr_nonnull(direct(addr));
}

START_TEST(mode_13_is_mapped)
{
	set_mode(&mode_13);
	update();
	ck_assert_ptr_null(direct(WINDOW));
	knock(WINDOW + 100);
	ck_assert_ptr_eq(direct(WINDOW), direct(FRAMEBUFFER));
	ck_assert_ptr_null(direct(WINDOW + 0x10000));
	update();
	guest_write(WINDOW + 320 * 3, 7);
	ck_assert_uint_eq(update()->damages, 1);
	ck_assert_uint_eq(pixel(0, 6), dac_rgb(7));
	ck_assert_uint_eq(update()->damages, 0);
	/* What was written at last is seen though the log can no longer be asked. */
	guest_write(WINDOW + 320 * 4, 9);
	window_dirty = 0;
	put(SEQ, 2, 0x0e);
	ck_assert_ptr_null(direct(WINDOW));
	ck_assert_uint_ge(update()->damages, 1);
	ck_assert_uint_eq(pixel(0, 8), dac_rgb(9));
	for (unsigned i = 0; i < 1000; i++)
		guest_write(WINDOW + i, 1);
	ck_assert_ptr_null(direct(WINDOW));
	put(SEQ, 2, 0x0f);
	knock(WINDOW);
	/* Nothing that does more than storing: one bit each. */
	for (unsigned i = 0; i < 9; i++) {
		static const uint8_t not [9] = { 0, 1, 0, 8, 0, 1, 4, 0, 0x80 };

		if (!not [i])
			continue;
		put(GR, (uint8_t)i, get(GR, (uint8_t)i) ^ not [i]);
		ck_assert_msg(i == 6 ? direct(WINDOW) != direct(FRAMEBUFFER) || !direct(WINDOW)
				     : !direct(WINDOW),
			      "GR%u", i);
		put(GR, (uint8_t)i, get(GR, (uint8_t)i) ^ not [i]);
		knock(WINDOW);
	}
	put(SEQ, 4, 6);
	ck_assert_ptr_null(direct(WINDOW));
}
END_TEST

static void dispi(uint16_t reg, uint16_t val)
{
	outw(0x1ce, reg);
	outw(0x1cf, val);
}

START_TEST(banks_are_mapped)
{
	set_mode(&mode_13);
	dispi(4, 0);
	dispi(1, 640);
	dispi(2, 480);
	dispi(3, 16);
	dispi(4, 1);
	update();
	for (unsigned bank = 0; bank < 16; bank += 5) {
		dispi(5, (uint16_t)bank);
		ck_assert_ptr_null(direct(WINDOW));
		knock(WINDOW + 0xffff);
		ck_assert_ptr_eq(direct(WINDOW), direct(FRAMEBUFFER) + bank * 0x10000);
		update();
		guest_write(WINDOW + 4096, 0xff);
		ck_assert_uint_eq(update()->damages, bank * 0x10000 + 4096 < 640 * 480 * 2);
	}
	/* A guest that is never long in a bank is not let in. */
	for (unsigned i = 0; i < 1000; i++) {
		dispi(5, i % 16);
		guest_write(WINDOW + i, (uint8_t)i);
		guest_read(WINDOW + i);
		ck_assert_ptr_null(direct(WINDOW));
	}
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_uint_eq(direct(FRAMEBUFFER)[i % 16 * 0x10000 + i], i & 0xff);
}
END_TEST

/* --- sleep
 * ------------------------------------------------------------------------------------------ */

static unsigned refreshes(void)
{
	memset(&seen, 0, sizeof(seen));
	fake_advance(0);
	return seen.refreshes;
}

/* Graphics, so that nothing blinks. */
static void sleep_in_13(void)
{
	fake_advance(2000000000);
	memset(&seen, 0, sizeof(seen));
	fake_advance(10000000000);
	ck_assert_uint_eq(seen.refreshes, 0);
}

#define WAKES(what)                                                                                \
	do {                                                                                       \
		sleep_in_13();                                                                     \
		what;                                                                              \
		ck_assert_msg(refreshes() == 1, #what " does not wake the screen");                \
	} while (0)

START_TEST(what_wakes_a_screen)
{
	unsigned cpu = 0;
	uint64_t val = 1;

	set_mode(&mode_13);
	WAKES(put(CRTC, 0x0d, 4));
	WAKES(put(SEQ, 1, 0x21));
	WAKES(put(SEQ, 1, 0x01));
	WAKES(put(GR, 5, 0x00));
	WAKES(put(GR, 5, 0x40));
	WAKES(outb(0x3c6, 0x0f));
	outb(0x3c8, 1);
	outb(0x3c9, 1);
	outb(0x3c9, 2);
	WAKES(outb(0x3c9, 3));
	inb(0x3da);
	WAKES(outb(ATTR, 0x31));
	WAKES(outb(ATTR, 5));
	WAKES(guest_write(WINDOW, 77));
	WAKES(outw(0x1ce, 1); outw(0x1cf, 800));
	WAKES(ck_assert(memmap_access(&fake.m.map, FRAMEBUFFER + 5, &val, 1, true)));
	WAKES(ck_assert(memmap_written(&fake.m.map, &cpu)));
	knock(WINDOW);
	WAKES(ck_assert(memmap_written(&fake.m.map, &cpu)));
	/* And what does not: looking. */
	sleep_in_13();
	inb(0x3da);
	outb(0x3d4, 1);
	guest_read(WINDOW + 5);
	guest_read(WINDOW + 0x12345);
	guest_write(WINDOW + 0x18000, 1);
	ck_assert_uint_eq(refreshes(), 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { without_mappings, with_mappings, mode_13_is_mapped,
				       banks_are_mapped, what_wakes_a_screen };

	return run_tests("vga_memory", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
