/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VGA registers and memory, as a guest finds them (IBM VGA technical reference, FreeVGA). */
#include "vga_guest.h"

enum { WINDOW = 0xa0000 };

static void setup(void)
{
	fake_setup();
	memset(slots, 0, sizeof(slots));
	vga_board("");
}

static void teardown(void)
{
	vga_board_end();
	fake_teardown();
}

/* --- registers ----------------------------------------------------------------------------- */

START_TEST(indexed_registers_keep_their_bits)
{
	put(SEQ, 2, 0xff);
	ck_assert_uint_eq(get(SEQ, 2), 0x0f);
	put(GR, 8, 0xa5);
	ck_assert_uint_eq(get(GR, 8), 0xa5);
	put(GR, 4, 0xff);
	ck_assert_uint_eq(get(GR, 4), 0x03);
	/* A word writes index and data. */
	outw(SEQ, 0x0502);
	ck_assert_uint_eq(get(SEQ, 2), 0x05);
	ck_assert_uint_eq(inb(SEQ), 2);
}
END_TEST

START_TEST(crtc_is_where_misc_says)
{
	outb(0x3c2, 0x67);
	ck_assert_uint_eq(inb(0x3cc), 0x67);
	put(0x3d4, 0x0e, 0x12);
	ck_assert_uint_eq(get(0x3d4, 0x0e), 0x12);
	ck_assert_uint_eq(inb(0x3b5), 0xff);
	outb(0x3c2, 0x66);
	ck_assert_uint_eq(get(0x3b4, 0x0e), 0x12);
	put(0x3d4, 0x0e, 0x34);
	ck_assert_uint_eq(inb(0x3d5), 0xff);
	ck_assert_uint_eq(get(0x3b4, 0x0e), 0x12);
}
END_TEST

START_TEST(crtc_registers_0_to_7_can_be_protected)
{
	outb(0x3c2, 0x67);
	put(CRTC, 0x11, 0x00);
	put(CRTC, 0x00, 0x5f);
	put(CRTC, 0x07, 0x0f);
	put(CRTC, 0x11, 0x80);
	put(CRTC, 0x00, 0x11);
	put(CRTC, 0x07, 0xf0);
	ck_assert_uint_eq(get(CRTC, 0x00), 0x5f);
	ck_assert_uint_eq(get(CRTC, 0x07), 0x1f); /* but for line compare bit 8 */
	put(CRTC, 0x09, 0x4f);
	ck_assert_uint_eq(get(CRTC, 0x09), 0x4f);
}
END_TEST

START_TEST(attribute_port_flips)
{
	outb(0x3c2, 0x67);
	inb(0x3da);
	outb(ATTR, 0x01);
	outb(ATTR, 0x2a);
	outb(ATTR, 0x02);
	outb(ATTR, 0x15);
	inb(0x3da);
	outb(ATTR, 0x01);
	ck_assert_uint_eq(inb(0x3c1), 0x2a);
	inb(0x3da);
	outb(ATTR, 0x22);
	ck_assert_uint_eq(inb(0x3c1), 0x15);
	ck_assert_uint_eq(inb(ATTR), 0x22);
}
END_TEST

START_TEST(dac_counts_on)
{
	outb(0x3c8, 10);
	for (unsigned i = 0; i < 6; i++)
		outb(0x3c9, (uint8_t)(i + 0x40)); /* six bits are kept */
	ck_assert_uint_eq(inb(0x3c8), 12);
	outb(0x3c7, 10);
	ck_assert_uint_eq(inb(0x3c7) & 3, 3);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(inb(0x3c9), i);
	outb(0x3c8, 255);
	ck_assert_uint_eq(inb(0x3c7) & 3, 0);
	outb(0x3c9, 1);
	outb(0x3c9, 2);
	outb(0x3c9, 3);
	ck_assert_uint_eq(inb(0x3c8), 0);
}
END_TEST

START_TEST(retrace_comes_and_goes)
{
	unsigned retrace = 0, shown = 0, frames = 0;
	uint8_t before = 0;

	outb(0x3c2, 0x67);
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t now = inb(0x3da);

		retrace += now & 8 ? 1 : 0;
		shown += now & 1 ? 0 : 1;
		frames += (now & 8) > (before & 8);
		ck_assert(!(now & 8) || now & 1); /* nothing is shown during retrace */
		before = now;
		fake_advance(100000);
	}
	ck_assert_uint_ge(frames, 6); /* 70 in a second */
	ck_assert_uint_le(frames, 8);
	ck_assert_uint_gt(retrace, 50);
	ck_assert_uint_gt(shown, 500);
}
END_TEST

/* --- memory ---------------------------------------------------------------------------------- */

/* Planes' bytes at an address, by read map select. */
static void expect_planes(uint32_t addr, uint8_t p0, uint8_t p1, uint8_t p2, uint8_t p3)
{
	const uint8_t want[4] = { p0, p1, p2, p3 };

	for (unsigned i = 0; i < 4; i++) {
		put(GR, 4, (uint8_t)i);
		ck_assert_msg(peek(addr) == want[i], "plane %u at %x: %x, not %x", i, addr,
			      peek(addr), want[i]);
	}
}

static void fill_planes(uint32_t addr, uint8_t p0, uint8_t p1, uint8_t p2, uint8_t p3)
{
	const uint8_t val[4] = { p0, p1, p2, p3 };

	put(GR, 1, 0);
	put(GR, 3, 0);
	put(GR, 5, 0);
	put(GR, 8, 0xff);
	for (unsigned i = 0; i < 4; i++) {
		put(SEQ, 2, (uint8_t)(1 << i));
		poke(addr, val[i]);
	}
	put(SEQ, 2, 0x0f);
}

START_TEST(write_mode_0)
{
	set_mode(&mode_12);
	fill_planes(WINDOW + 5, 0x11, 0x22, 0x44, 0x88);
	expect_planes(WINDOW + 5, 0x11, 0x22, 0x44, 0x88);
	/* Rotated right by 3, the low nibble from the latches. */
	put(GR, 3, 3);
	put(GR, 8, 0xf0);
	poke(WINDOW + 5, 0x81);
	expect_planes(WINDOW + 5, 0x31, 0x32, 0x34, 0x38);
	/* Set/reset in planes 0 and 2 instead of what the CPU writes. */
	put(GR, 3, 0);
	put(GR, 8, 0xff);
	put(GR, 1, 0x05);
	put(GR, 0, 0x04);
	poke(WINDOW + 5, 0x5a);
	expect_planes(WINDOW + 5, 0x00, 0x5a, 0xff, 0x5a);
	/* And the map mask. */
	put(GR, 1, 0);
	put(SEQ, 2, 0x02);
	poke(WINDOW + 5, 0x99);
	expect_planes(WINDOW + 5, 0x00, 0x99, 0xff, 0x5a);
}
END_TEST

START_TEST(logical_functions)
{
	static const uint8_t want[4] = { 0x0f, 0x03, 0x3f, 0x3c };

	set_mode(&mode_12);
	for (unsigned f = 0; f < 4; f++) {
		fill_planes(WINDOW, 0x33, 0x33, 0x33, 0x33);
		peek(WINDOW); /* latches */
		put(GR, 3, (uint8_t)(f << 3));
		poke(WINDOW, 0x0f);
		expect_planes(WINDOW, want[f], want[f], want[f], want[f]);
	}
}
END_TEST

START_TEST(write_mode_1_copies_latches)
{
	set_mode(&mode_12);
	fill_planes(WINDOW + 1, 0x12, 0x34, 0x56, 0x78);
	peek(WINDOW + 1);
	put(GR, 5, 1);
	poke(WINDOW + 9, 0xff);
	put(GR, 5, 0);
	expect_planes(WINDOW + 9, 0x12, 0x34, 0x56, 0x78);
}
END_TEST

START_TEST(write_mode_2_takes_a_colour)
{
	set_mode(&mode_12);
	fill_planes(WINDOW, 0x55, 0x55, 0x55, 0x55);
	peek(WINDOW);
	put(GR, 5, 2);
	put(GR, 8, 0x0f);
	poke(WINDOW, 0x0a);
	expect_planes(WINDOW, 0x50, 0x5f, 0x50, 0x5f);
}
END_TEST

START_TEST(write_mode_3_masks_by_data)
{
	set_mode(&mode_12);
	fill_planes(WINDOW, 0x00, 0xff, 0x00, 0xff);
	peek(WINDOW);
	put(GR, 5, 3);
	put(GR, 0, 0x03);
	put(GR, 8, 0x3c);
	poke(WINDOW, 0xf0); /* bits 5 and 4 */
	expect_planes(WINDOW, 0x30, 0xff, 0x00, 0xcf);
}
END_TEST

START_TEST(read_mode_1_compares)
{
	set_mode(&mode_12);
	fill_planes(WINDOW, 0xf0, 0xcc, 0xaa, 0x00);
	put(GR, 5, 8);
	put(GR, 2, 0x03);
	put(GR, 7, 0x0f);
	ck_assert_uint_eq(peek(WINDOW), 0x40); /* colour 3 is at bit 6 alone */
	put(GR, 7, 0x03);
	ck_assert_uint_eq(peek(WINDOW), 0xc0);
	put(GR, 7, 0x00);
	ck_assert_uint_eq(peek(WINDOW), 0xff);
}
END_TEST

START_TEST(text_memory_is_odd_and_even)
{
	set_mode(&mode_3);
	poke(0xb8000 + 6, 'A');
	poke(0xb8000 + 7, 0x1e);
	ck_assert_uint_eq(peek(0xb8000 + 6), 'A');
	ck_assert_uint_eq(peek(0xb8000 + 7), 0x1e);
	/* The same as planes. */
	put(GR, 5, 0);
	put(GR, 6, 4);
	put(GR, 4, 0);
	ck_assert_uint_eq(peek(WINDOW + 3), 'A');
	put(GR, 4, 1);
	ck_assert_uint_eq(peek(WINDOW + 3), 0x1e);
}
END_TEST

START_TEST(chain_4_is_linear)
{
	uint64_t eight = 0x0807060504030201;

	set_mode(&mode_13);
	bus_write(&fake.m.mmio, WINDOW + 0x1000, &eight, 8);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(peek(WINDOW + 0x1000 + i), i + 1);
	put(SEQ, 4, 6);
	expect_planes(WINDOW + 0x401, 5, 6, 7, 8);
}
END_TEST

START_TEST(windows)
{
	static const struct {
		uint32_t start, end;
	} window[4] = { { 0xa0000, 0xc0000 },
			{ 0xa0000, 0xb0000 },
			{ 0xb0000, 0xb8000 },
			{ 0xb8000, 0xc0000 } };

	set_mode(&mode_12);
	for (unsigned i = 0; i < 4; i++) {
		put(GR, 6, (uint8_t)(i << 2 | 1));
		for (uint32_t at = 0xa0000; at < 0xc0000; at += 0x7fff) {
			bool in = at >= window[i].start && at < window[i].end;

			poke(at, 0x5a);
			ck_assert_msg((peek(at) == 0x5a) == in, "map %u, %x", i, at);
		}
	}
}
END_TEST

/* --- text memory as memory ------------------------------------------------------------------- */

static void use_text(void)
{
	set_mode(&mode_3);
	for (unsigned i = 0; i < 40; i++)
		poke(0xb8000 + i, (uint8_t)i);
}

START_TEST(text_memory_becomes_memory)
{
	set_mode(&mode_3);
	ck_assert_ptr_null(linear());
	use_text();
	ck_assert_ptr_nonnull(linear());
	for (unsigned i = 0; i < 40; i++)
		ck_assert_uint_eq(linear()[i], i);
	/* What comes the long way is the same. */
	poke(0xb8000 + 0x7fff, 0x42);
	ck_assert_uint_eq(linear()[0x7fff], 0x42);
	linear_write(0x1001, 0x43);
	ck_assert_uint_eq(peek(0xb8000 + 0x1001), 0x43);
	/* To draw, the planes are brought up to date. */
	update();
	linear_write(100, 'x');
	update();
	ck_assert_uint_eq(seen.damages, 1);
	ck_assert_ptr_nonnull(linear());
	ck_assert_uint_eq(update()->damages, 0);
}
END_TEST

START_TEST(text_memory_becomes_planes_again)
{
	static const struct {
		uint16_t port;
		uint8_t index, val;
	} change[] = {
		{ SEQ, 2, 4 }, { SEQ, 4, 6 },   { SEQ, 4, 0x0a }, { GR, 1, 1 },    { GR, 3, 8 },
		{ GR, 4, 2 },  { GR, 5, 0 },    { GR, 5, 0x11 },  { GR, 5, 0x18 }, { GR, 6, 4 },
		{ GR, 6, 8 },  { GR, 6, 0x0f }, { GR, 8, 0x7f },
	};

	for (unsigned i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		use_text();
		ck_assert_ptr_nonnull(linear());
		linear_write(6, 'A');
		linear_write(7, 0x1e);
		linear_dirty = 0; /* it is copied whatever the log says */
		put(change[i].port, change[i].index, change[i].val);
		ck_assert_msg(!linear(), "%x index %u", change[i].port, change[i].index);
		set_mode(&mode_12);
		put(GR, 6, 5);
		expect_planes(WINDOW + 3, 'A', 0x1e, 0, 0);
	}
	/* Registers of other things change nothing. */
	use_text();
	put(CRTC, 0x0f, 9);
	put(GR, 0, 3);
	put(SEQ, 3, 4);
	ck_assert_ptr_nonnull(linear());
	machine_reset_devices(&fake.m);
	ck_assert_ptr_null(linear());
}
END_TEST

START_TEST(reset_turns_it_off)
{
	set_mode(&mode_13);
	poke(WINDOW, 7);
	update();
	machine_reset_devices(&fake.m);
	update();
	ck_assert_uint_eq(pixel(0, 0), 0);
	ck_assert_uint_eq(cfg_read(VGA, PCI_COMMAND, 2), 0);
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert_uint_eq(inb(0x3cc), 0);
}
END_TEST

/* The command register's bits are for the ISA addresses as well; the screen goes on. */
START_TEST(decoding)
{
	use_text();
	put(GR, 0, 5);
	outw(0x1ce, 1);
	outw(0x1cf, 800);
	ck_assert_ptr_nonnull(linear());
	/* Memory alone. */
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_MEM, 2);
	ck_assert_uint_eq(inb(0x3cc), 0xff);
	ck_assert_uint_eq(inw(0x1cf), 0xffff);
	put(GR, 0, 6);
	outw(0x1cf, 640);
	ck_assert_uint_eq(linear()[5], 5);
	/* Ports alone: what is there is not seen, nor written to, and comes back. */
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert_uint_eq(inb(0x3cc), 0x67);
	ck_assert_uint_eq(get(GR, 0), 5);
	ck_assert_uint_eq(inw(0x1cf), 800);
	ck_assert_ptr_null(linear());
	for (unsigned i = 0; i < 40; i++) {
		poke(0xb8000 + i, 0xee);
		ck_assert_uint_eq(peek(0xb8000 + i), 0xff);
	}
	ck_assert_uint_eq(mr(0xa0000, 4), 0xffffffff);
	ck_assert_ptr_null(linear());
	update();
	cfg_write(VGA, PCI_COMMAND + 1, 0, 1); /* the other half */
	ck_assert_uint_eq(peek(0xb8005), 0xff);
	/* As a byte, in a write of more. */
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM, 4);
	ck_assert_ptr_nonnull(linear());
	ck_assert_uint_eq(linear()[5], 5);
	cfg_write(VGA, PCI_COMMAND, 0, 1);
	ck_assert_uint_eq(inb(0x3cc), 0xff);
	ck_assert_ptr_null(linear());
}
END_TEST

/* There is one set of ISA addresses. */
START_TEST(second_card)
{
	struct err e;

	ck_assert_int_eq(fake_try_add(&vga_pci_class, "", NULL, &e), -EEXIST);
	ck_assert_str_eq(e.msg, "the machine has a graphics card already: vga");
	ck_assert_uint_eq(inb(0x3cc), 0); /* the first is there still */
}
END_TEST

START_TEST(hostile_ports)
{
	uint64_t seed = 1;

	set_mode(&mode_3);
	for (unsigned round = 0; round < 60; round++) {
		fake_hammer(0x3b0, 0x30, 300, seed++);
		fake_hammer(0x1ce, 2, 50, seed++);
		for (unsigned i = 0; i < 200; i++) {
			uint64_t val = (uint64_t)fake_random(&seed) << 32 | fake_random(&seed);
			uint32_t at = 0xa0000 + fake_random(&seed) % 0x20000;

			if (fake_random(&seed) & 1)
				bus_write(&fake.m.mmio, at, &val, 1u << fake_random(&seed) % 4);
			else
				bus_read(&fake.m.mmio, at, &val, 1u << fake_random(&seed) % 4);
		}
		inb(0x3da);
		inb(0x3ba);
		outb(ATTR, 0x20);
		put(SEQ, 0, 3);
		update();
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		indexed_registers_keep_their_bits,
		crtc_is_where_misc_says,
		crtc_registers_0_to_7_can_be_protected,
		attribute_port_flips,
		dac_counts_on,
		retrace_comes_and_goes,
		write_mode_0,
		logical_functions,
		write_mode_1_copies_latches,
		write_mode_2_takes_a_colour,
		write_mode_3_masks_by_data,
		read_mode_1_compares,
		text_memory_is_odd_and_even,
		chain_4_is_linear,
		windows,
		text_memory_becomes_memory,
		text_memory_becomes_planes_again,
		reset_turns_it_off,
		decoding,
		second_card,
		hostile_ports,
	};

	return run_tests("vga", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
