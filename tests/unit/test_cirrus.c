/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cirrus-vga's registers and memory, as a guest finds them (CL-GD5446 TRM): each register, the
 * hidden DAC, banks, and the ways of writing packed pixels against a slow model of them.
 */
#include "cirrus_guest.h"

static void setup(void)
{
	fake_setup();
	cirrus_board("");
}

static void teardown(void)
{
	vga_board_end();
	fake_teardown();
}

/* --- registers ----------------------------------------------------------------------------- */

START_TEST(who_it_is)
{
	ck_assert_uint_eq(cfg_read(VGA, PCI_VENDOR, 4), 0x00b81013);
	ck_assert_uint_eq(cfg_read(VGA, PCI_REVISION, 4) >> 8, 0x030000);
	ck_assert_uint_eq(cfg_read(VGA, PCI_SUBSYSTEM_VENDOR, 4), 0x11001af4);
	cfg_write(VGA, PCI_BAR0, 0xffffffff, 4);
	ck_assert_uint_eq(cfg_read(VGA, PCI_BAR0, 4), 0xfe000008); /* 32 MiB */
	cfg_write(VGA, PCI_BAR0 + 4, 0xffffffff, 4);
	ck_assert_uint_eq(cfg_read(VGA, PCI_BAR0 + 4, 4), 0xfffff000);
	ck_assert_uint_eq(get(CRTC, 0x27), 0xb8);
}
END_TEST

START_TEST(sr6_locks)
{
	static const uint8_t keys[] = { 0x12, 0x92, 0xf2, 0x1a };

	put(SEQ, 9, 0x55);
	put(GR, 9, 0x56);
	put(CRTC, 0x1a, 0x57);
	for (unsigned i = 0; i < 256; i++) {
		put(SEQ, 6, (uint8_t)i);
		ck_assert_uint_eq(get(SEQ, 6), (i & 0x17) == 0x12 ? 0x12 : 0x0f);
	}
	put(SEQ, 6, 0);
	ck_assert_uint_eq(get(SEQ, 6), 0x0f);
	ck_assert_uint_eq(get(SEQ, 9), 0xff);
	ck_assert_uint_eq(get(GR, 9), 0xff);
	ck_assert_uint_eq(get(CRTC, 0x1a), 0xff);
	ck_assert_uint_eq(get(CRTC, 0x27), 0xff);
	put(SEQ, 9, 1);
	put(GR, 9, 2);
	put(CRTC, 0x1a, 3);
	/* A VGA's own are there all the time. */
	put(SEQ, 2, 5);
	put(GR, 8, 6);
	put(CRTC, 0x0e, 7);
	ck_assert_uint_eq(get(SEQ, 2), 5);
	ck_assert_uint_eq(get(GR, 8), 6);
	ck_assert_uint_eq(get(CRTC, 0x0e), 7);
	for (unsigned i = 0; i < sizeof(keys); i++) {
		put(SEQ, 6, 0);
		put(SEQ, 6, keys[i]);
		ck_assert_uint_eq(get(SEQ, 6), 0x12);
	}
	ck_assert_uint_eq(get(SEQ, 9), 0x55);
	ck_assert_uint_eq(get(GR, 9), 0x56);
	ck_assert_uint_eq(get(CRTC, 0x1a), 0x57);
}
END_TEST

struct bits {
	uint8_t index, mask, fixed; /* bits that can be written; that read as 1 */
};

static void check_bits(uint16_t port, const struct bits *b, size_t n)
{
	static const uint8_t values[] = { 0xff, 0x00, 0xa5, 0x5a };

	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < sizeof(values); k++) {
			uint8_t want = (uint8_t)((values[k] & b[i].mask) | b[i].fixed), is;

			put(port, b[i].index, values[k]);
			is = get(port, b[i].index);
			ck_assert_msg(is == want, "%x index %02x: wrote %02x, read %02x, not %02x",
				      port, b[i].index, values[k], is, want);
			ck_assert_uint_eq(inb(port), b[i].index);
		}
		put(port, b[i].index, 0);
	}
}

START_TEST(sequencer_registers)
{
	static const struct bits b[] = {
		{ 0x07, 0xff, 0 }, { 0x09, 0xff, 0 }, { 0x0a, 0xff, 0 }, { 0x0b, 0x7f, 0 },
		{ 0x0c, 0x7f, 0 }, { 0x0d, 0x7f, 0 }, { 0x0e, 0x7f, 0 }, { 0x0f, 0x67, 0x98 },
		{ 0x10, 0xff, 0 }, { 0x11, 0xff, 0 }, { 0x12, 0x87, 0 }, { 0x13, 0x3f, 0 },
		{ 0x14, 0xff, 0 }, { 0x15, 0xff, 0 }, { 0x16, 0xff, 0 }, { 0x17, 0xc7, 0x20 },
		{ 0x18, 0xff, 0 }, { 0x19, 0x00, 0 }, { 0x1a, 0x00, 0 }, { 0x1b, 0xff, 0 },
		{ 0x1c, 0xff, 0 }, { 0x1d, 0xff, 0 }, { 0x1e, 0xff, 0 }, { 0x1f, 0xff, 0 },
	};

	check_bits(SEQ, b, sizeof(b) / sizeof(b[0]));
	/* All of SR2 with GRB's bit 2 only. */
	put(SEQ, 2, 0xfa);
	ck_assert_uint_eq(get(SEQ, 2), 0x0a);
	put(GR, 0x0b, 4);
	ck_assert_uint_eq(get(SEQ, 2), 0xfa);
	/* No monitor pulls the lines of DDC. */
	put(SEQ, 8, 0x03);
	ck_assert_uint_eq(get(SEQ, 8), 0x03);
	put(SEQ, 8, 0x40);
	ck_assert_uint_eq(get(SEQ, 8), 0xc4);
}
END_TEST

START_TEST(graphics_registers)
{
	static const struct bits b[] = {
		{ 0x00, 0xff, 0 }, { 0x01, 0xff, 0 }, { 0x02, 0x0f, 0 }, { 0x03, 0x1f, 0 },
		{ 0x06, 0x0f, 0 }, { 0x08, 0xff, 0 }, { 0x09, 0xff, 0 }, { 0x0a, 0xff, 0 },
		{ 0x0b, 0x3f, 0 }, { 0x0c, 0xff, 0 }, { 0x0d, 0xff, 0 }, { 0x0e, 0xff, 0 },
		{ 0x10, 0xff, 0 }, { 0x11, 0xff, 0 }, { 0x12, 0xff, 0 }, { 0x13, 0xff, 0 },
		{ 0x14, 0xff, 0 }, { 0x15, 0xff, 0 }, { 0x16, 0x00, 0 }, { 0x17, 0x00, 0 },
		{ 0x18, 0xff, 0 }, { 0x20, 0xff, 0 }, { 0x21, 0x1f, 0 }, { 0x22, 0xff, 0 },
		{ 0x23, 0x07, 0 }, { 0x24, 0xff, 0 }, { 0x25, 0x1f, 0 }, { 0x26, 0xff, 0 },
		{ 0x27, 0x1f, 0 }, { 0x28, 0xff, 0 }, { 0x29, 0xff, 0 }, { 0x2a, 0x3f, 0 },
		{ 0x2c, 0xff, 0 }, { 0x2d, 0xff, 0 }, { 0x2e, 0x3f, 0 }, { 0x2f, 0xff, 0 },
		{ 0x30, 0xff, 0 }, { 0x32, 0xff, 0 }, { 0x33, 0xff, 0 }, { 0x34, 0xff, 0 },
		{ 0x35, 0xff, 0 }, { 0x38, 0xff, 0 }, { 0x39, 0xff, 0 },
	};

	check_bits(GR, b, sizeof(b) / sizeof(b[0]));
	/* GR5's bit 2 is there with the write modes that it chooses. */
	put(GR, 5, 0x44);
	ck_assert_uint_eq(get(GR, 5), 0x40);
	put(GR, 0x0b, 4);
	ck_assert_uint_eq(get(GR, 5), 0x44);
}
END_TEST

START_TEST(crtc_registers)
{
	static const struct bits b[] = {
		{ 0x0e, 0xff, 0 }, { 0x19, 0xff, 0 }, { 0x1a, 0xff, 0 }, { 0x1b, 0xff, 0 },
		{ 0x1d, 0xff, 0 }, { 0x25, 0, 0 },    { 0x27, 0, 0xb8 },
	};

	check_bits(CRTC, b, sizeof(b) / sizeof(b[0]));
	/* Indexes that go beyond a VGA's are not taken for them. */
	put(CRTC, 0x0e, 0x12);
	put(CRTC, 0x2e, 0x34);
	ck_assert_uint_eq(get(CRTC, 0x0e), 0x12);
	put(CRTC, 0x8e, 0x34);
	ck_assert_uint_eq(get(CRTC, 0x8e), 0xff);
	ck_assert_uint_eq(get(CRTC, 0x0e), 0x12);
	/* The attribute controller's state. */
	inb(0x3da);
	ck_assert_uint_eq(get(CRTC, 0x24), 0);
	outb(ATTR, 0x2c);
	ck_assert_uint_eq(get(CRTC, 0x24), 0x80);
	ck_assert_uint_eq(get(CRTC, 0x26), 0x2c);
	/* At the monochrome base as well. */
	outb(0x3c2, 0x66);
	put(0x3b4, 0x1a, 0x99);
	ck_assert_uint_eq(get(0x3b4, 0x1a), 0x99);
	ck_assert_uint_eq(inb(0x3d5), 0xff);
}
END_TEST

START_TEST(crtc_reads_the_latch)
{
	set_mode(&mode_12);
	for (unsigned plane = 0; plane < 4; plane++) {
		put(SEQ, 2, (uint8_t)(1 << plane));
		poke(WINDOW + 9, (uint8_t)(0x10 + plane));
	}
	peek(WINDOW + 9);
	for (unsigned plane = 0; plane < 4; plane++) {
		put(GR, 4, (uint8_t)plane);
		ck_assert_uint_eq(get(CRTC, 0x22), 0x10 + plane);
	}
}
END_TEST

START_TEST(memory_size_is_told)
{
	static const struct {
		const char *props;
		uint8_t srf;
	} t[] = { { "vgamem_mb=1", 0x10 }, { "vgamem_mb=2", 0x18 }, { "vgamem_mb=4", 0x98 } };

	for (unsigned i = 0; i < 3; i++) {
		teardown();
		fake_setup();
		cirrus_board(t[i].props);
		ck_assert_uint_eq(get(SEQ, 0x0f), t[i].srf);
	}
}
END_TEST

START_TEST(bad_properties)
{
	static const char *const bad[] = { "vgamem_mb=0", "vgamem_mb=3", "vgamem_mb=16" };
	struct err e;

	teardown();
	fake_setup();
	memset(slots, 0, sizeof(slots));
	memmap_init(&fake.m.map, &slot_ops, NULL);
	board();
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_lt(fake_try_add(&cirrus_vga_class, bad[i], NULL, &e), 0);
		ck_assert_ptr_nonnull(strstr(e.msg, "vgamem_mb"));
	}
	fake_add(&cirrus_vga_class, "");
	ck_assert_int_lt(fake_try_add(&cirrus_vga_class, "", NULL, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "has a graphics card already: cirrus-vga"));
	fake_teardown();
	setup();
}
END_TEST

START_TEST(command_register_decides_who_answers)
{
	put(SEQ, 9, 0x77);
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_MEM, 2);
	ck_assert_uint_eq(inb(SEQ + 1), 0xff);
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert_uint_eq(get(SEQ, 9), 0x77);
	ck_assert_uint_eq(peek(WINDOW), 0xff);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM, 2);
	ck_assert_ptr_nonnull(mapped_at(FRAMEBUFFER));
}
END_TEST

START_TEST(hidden_dac_after_four_reads)
{
	outb(0x3c6, 0xff);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(inb(0x3c6), 0xff);
	outb(0x3c6, 0xe1);
	/* One access only. */
	ck_assert_uint_eq(inb(0x3c6), 0xff);
	outb(0x3c6, 0x3f);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(inb(0x3c6), 0x3f);
	ck_assert_uint_eq(inb(0x3c6), 0xe1);
	ck_assert_uint_eq(inb(0x3c6), 0x3f);
	/* Another port between them begins anew. */
	inb(0x3c8);
	for (unsigned i = 0; i < 3; i++)
		inb(0x3c6);
	inb(0x3c8);
	inb(0x3c6);
	outb(0x3c6, 0x11);
	ck_assert_uint_eq(inb(0x3c6), 0x11);
	hidden_dac(0xc5);
	ck_assert_uint_eq(inb(0x3c6), 0x11);
	for (unsigned i = 0; i < 3; i++)
		inb(0x3c6);
	ck_assert_uint_eq(inb(0x3c6), 0xc5);
}
END_TEST

START_TEST(cursor_palette_is_another)
{
	static const uint8_t bg[3] = { 1, 2, 3 }, fg[3] = { 61, 62, 0x7f };

	set_palette();
	put(SEQ, 0x12, 2);
	outb(0x3c8, 0);
	for (unsigned i = 0; i < 3; i++)
		outb(0x3c9, bg[i]);
	outb(0x3c8, 15);
	for (unsigned i = 0; i < 3; i++)
		outb(0x3c9, fg[i]);
	ck_assert_uint_eq(inb(0x3c8), 16);
	outb(0x3c7, 15);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(inb(0x3c9), fg[i] & 0x3f);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(inb(0x3c9), bg[i]); /* 16 is 0 */
	put(SEQ, 0x12, 0);
	outb(0x3c7, 15);
	ck_assert_uint_eq(inb(0x3c9), 15);
	ck_assert_uint_eq(inb(0x3c9), 63 - 15);
}
END_TEST

static struct {
	uint64_t addr;
	unsigned size, active;
} late;

static int late_set(void *ctx, bool mmio, uint64_t addr, unsigned size, int64_t match, int eventfd,
		    bool add)
{
	ck_assert_int_eq(eventfd, BUS_DOORBELL_LATE);
	ck_assert(mmio);
	late.addr = addr;
	late.size = size;
	late.active += add ? 1 : -1;
	return 0;
}

/* What describes a blit may come late, unless it starts one or is of use to planes. */
START_TEST(late_registers)
{
	static const struct bus_doorbell_ops ops = { .set = late_set };

	memset(&late, 0, sizeof(late));
	fake.m.mmio.doorbell_ops = &ops;
	put(GR, 0x31, 0);
	ck_assert_uint_eq(late.active, 0);
	put(SEQ, 7, 1);
	ck_assert_uint_eq(late.active, 1);
	ck_assert_uint_eq(late.addr, REGISTERS + 0x100);
	ck_assert_uint_eq(late.size, 0x40);
	poke(REGISTERS + 0x140, 0x80);
	ck_assert_uint_eq(late.active, 0);
	set_bar(VGA, 1, REGISTERS + MIB);
	ck_assert_uint_eq(late.active, 0);
	poke(REGISTERS + MIB + 0x140, 0);
	ck_assert_uint_eq(late.active, 1);
	ck_assert_uint_eq(late.addr, REGISTERS + MIB + 0x100);
	set_bar(VGA, 1, REGISTERS);
	ck_assert_uint_eq(late.active, 1);
	ck_assert_uint_eq(late.addr, REGISTERS + 0x100);
	put(SEQ, 7, 0);
	ck_assert_uint_eq(late.active, 0);
	put(SEQ, 7, 1);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(late.active, 0);
	fake.m.mmio.doorbell_ops = NULL;
}
END_TEST

START_TEST(reset_without_a_bios)
{
	static char bios;

	put(SEQ, 0, 0);
	machine_reset_devices(&fake.m);
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert_uint_eq(inb(0x3cc), 0x67);
	ck_assert_uint_eq(get(SEQ, 0), 3);
	ck_assert_uint_eq(get(SEQ, 6), 0x12);
	ck_assert_uint_eq(inb(0x3c6), 0xff);
	/* One that is there does it all by itself. */
	fake.m.bios = (struct firmware *)&bios;
	machine_reset_devices(&fake.m);
	cfg_write(VGA, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert_uint_eq(inb(0x3cc), 0);
	ck_assert_uint_eq(get(SEQ, 0), 0);
	ck_assert_uint_eq(get(SEQ, 6), 0x0f);
	fake.m.bios = NULL;
}
END_TEST

START_TEST(registers_in_memory)
{
	static const uint8_t blt[] = { 0x00, 0x10, 0x12, 0x14, 0x01, 0x11, 0x13, 0x15, 0x20,
				       0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
				       0x2a, 0xff, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0xff, 0x32,
				       0x33, 0x34, 0x35, 0xff, 0xff, 0x38, 0x39 };

	/* VGA's, as Linux's driver has them. */
	poke(REGISTERS + 4, 9);
	poke(REGISTERS + 5, 0x42);
	ck_assert_uint_eq(get(SEQ, 9), 0x42);
	poke(REGISTERS + 0x14, 0x1a);
	poke(REGISTERS + 0x15, 0x43);
	ck_assert_uint_eq(get(CRTC, 0x1a), 0x43);
	mw(REGISTERS + 0x0e, 0x4409, 2);
	ck_assert_uint_eq(get(GR, 9), 0x44);
	for (unsigned i = 0; i < sizeof(blt); i++) {
		poke(REGISTERS + 0x100 + i, (uint8_t)(i & 7));
		if (blt[i] != 0xff)
			ck_assert_uint_eq(get(GR, blt[i]), i & 7);
		ck_assert_uint_eq(peek(REGISTERS + 0x100 + i), blt[i] == 0xff ? 0xff : i & 7);
	}
	ck_assert_uint_eq(peek(REGISTERS + 0x140), 0);
	ck_assert_uint_eq(peek(REGISTERS + 0x20), 0xff);
	ck_assert_uint_eq(peek(REGISTERS + 0xfff), 0xff);
	/* At the window's end, too, and at the framebuffer's. */
	put(SEQ, 0x17, 0x04);
	poke(WINDOW + 0x18008, 0x66);
	ck_assert_uint_eq(get(GR, 0x20), 0x66);
	ck_assert_uint_eq(peek(WINDOW + 0x18008), 0x66);
	ck_assert_ptr_nonnull(mapped_at(FRAMEBUFFER));
	put(SEQ, 0x17, 0x44);
	poke(WINDOW + 0x18008, 0x55);
	ck_assert_uint_eq(get(GR, 0x20), 0x66);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	fb_poke(4 * MIB - 0x100 + 8, 0x33);
	ck_assert_uint_eq(get(GR, 0x20), 0x33);
	ck_assert_uint_eq(fb_peek(4 * MIB - 0x100 + 8), 0x33);
}
END_TEST

/* --- the window ----------------------------------------------------------------------------------
 */

START_TEST(banks)
{
	uint64_t seed = 1;

	set_packed(&packed_8);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t r = random64(&seed);
		uint8_t grb = (uint8_t)(r & 0x21),
			bank[2] = { (uint8_t)(r >> 8), (uint8_t)(r >> 16) };
		uint32_t off = r >> 24 & 0xffff, at = off, unit = grb & 0x20 ? 16384 : 4096;
		uint8_t val = (uint8_t)(r >> 40);

		put(GR, 9, bank[0]);
		put(GR, 0x0a, bank[1]);
		put(GR, 0x0b, grb);
		if (grb & 1)
			at = off % 32768 + bank[off / 32768] * unit;
		else
			at = off + bank[0] * unit;
		at %= 4 * MIB;
		poke(WINDOW + off, val);
		ck_assert_uint_eq(fb_peek(at), val);
		fb_poke(at, (uint8_t)~val);
		ck_assert_uint_eq(peek(WINDOW + off), (uint8_t)~val);
	}
	/* Which parts of the window answer. */
	put(GR, 9, 0);
	put(GR, 0x0b, 0);
	poke(WINDOW + 0x10005, 0x77);
	ck_assert_uint_eq(peek(WINDOW + 0x10005), 0xff);
	put(GR, 6, 0x01); /* 128 KiB */
	poke(WINDOW + 0x10005, 0x77);
	ck_assert_uint_eq(fb_peek(0x10005), 0x77);
	put(GR, 6, 0x0d);
	put(GR, 9, 9); /* knows no banks */
	ck_assert_uint_eq(peek(WINDOW + 5), 0xff);
	poke(WINDOW + 0x18006, 0x78);
	ck_assert_uint_eq(fb_peek(6), 0x78);
}
END_TEST

START_TEST(planes_beyond_256_kib)
{
	set_mode(&mode_12);
	put(SEQ, 2, 0x02);
	put(GR, 9, 0x10); /* 64 KiB a plane */
	poke(WINDOW, 0x5a);
	ck_assert_uint_eq(fb_peek(1), 0x5a); /* goes around */
	put(CRTC, 0x1b, 0x02);
	poke(WINDOW, 0xa5);
	ck_assert_uint_eq(fb_peek(1), 0x5a);
	ck_assert_uint_eq(fb_peek(0x40001), 0xa5);
}
END_TEST

/* --- packed pixels against a model --------------------------------------------------------------
 */

static uint8_t model[4 * MIB];
static uint8_t model_latch[8];

struct writing {
	uint8_t grb, mode, sr2, fg[2], bg[2];
};

static uint32_t model_address(const struct writing *w, uint32_t off)
{
	if ((w->grb & 0x14) == 0x14)
		return off * 16 % sizeof(model);
	if (w->grb & 2)
		return off * 8 % sizeof(model);
	return off;
}

static void model_write(const struct writing *w, uint32_t off, uint8_t val)
{
	uint32_t at = model_address(w, off);
	unsigned mode = w->mode & (w->grb & 4 ? 7 : 3), n = w->grb & 8 ? 8 : 4;
	bool wide = (w->grb & 0x14) == 0x14;

	if (mode == 1) {
		for (unsigned i = 0; i < n; i++)
			if (!(w->grb & 4) || w->sr2 >> (7 - i) & 1)
				model[at / n * n + i] = model_latch[i];
	} else if (mode == 4 || mode == 5) {
		for (unsigned i = 0; i < 8; i++) {
			bool one = val >> (7 - i) & 1;

			if (!(w->sr2 >> (7 - i) & 1) || (!one && mode == 4))
				continue;
			if (wide) {
				model[(at + 2 * i) % sizeof(model)] = one ? w->fg[0] : w->bg[0];
				model[(at + 2 * i + 1) % sizeof(model)] = one ? w->fg[1] : w->bg[1];
			} else {
				model[(at + i) % sizeof(model)] = one ? w->fg[0] : w->bg[0];
			}
		}
	} else {
		model[at] = val;
	}
}

static uint8_t model_read(const struct writing *w, uint32_t off)
{
	uint32_t at = model_address(w, off);
	unsigned n = w->grb & 8 ? 8 : 4;

	memset(model_latch, 0, sizeof(model_latch));
	memcpy(model_latch, model + at / n * n, n);
	return model[at];
}

static void set_writing(const struct writing *w)
{
	put(GR, 0x0b, w->grb);
	put(GR, 5, (uint8_t)(0x40 | w->mode));
	put(SEQ, 2, w->sr2);
	put(GR, 0, w->bg[0]);
	put(GR, 0x10, w->bg[1]);
	put(GR, 1, w->fg[0]);
	put(GR, 0x11, w->fg[1]);
}

static void random_writing(uint64_t *seed, struct writing *w)
{
	static const uint8_t modes[] = { 0, 1, 4, 5 };
	uint64_t r = random64(seed);

	w->grb = r & 0x1e;
	w->mode = modes[r >> 8 & 3];
	w->sr2 = r >> 16 & 1 ? 0xff : (uint8_t)(r >> 17);
	w->fg[0] = (uint8_t)(r >> 25);
	w->fg[1] = (uint8_t)(r >> 33);
	w->bg[0] = (uint8_t)(r >> 41);
	w->bg[1] = (uint8_t)(r >> 49);
	set_writing(w);
}

START_TEST(write_modes_4_and_5)
{
	static const struct writing m4 = { 0x06, 4, 0xff, { 0x11, 0 }, { 0x22, 0 } };
	static const struct writing m5 = { 0x06, 5, 0x7f, { 0x11, 0 }, { 0x22, 0 } };
	static const struct writing wide = { 0x16, 5, 0xff, { 0x11, 0x33 }, { 0x22, 0x44 } };
	static const uint8_t want4[] = { 0x11, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0x11 };
	static const uint8_t want5[] = { 0xee, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x11 };
	static const uint8_t want16[] = { 0x11, 0x33, 0x22, 0x44, 0x22, 0x44 };

	set_packed(&packed_8);
	for (unsigned i = 0; i < 64; i++)
		fb_poke(64 + i, 0xee);
	set_writing(&m4);
	poke(WINDOW + 8, 0x81);
	set_writing(&m5);
	poke(WINDOW + 9, 0x81);
	set_writing(&wide);
	poke(WINDOW + 6, 0x80);
	put(GR, 0x0b, 0);
	put(GR, 5, 0x40);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_uint_eq(fb_peek(64 + i), want4[i]);
		ck_assert_uint_eq(fb_peek(72 + i), want5[i]);
	}
	for (unsigned i = 0; i < sizeof(want16); i++)
		ck_assert_uint_eq(fb_peek(96 + i), want16[i]);
}
END_TEST

START_TEST(eight_latches_copy)
{
	set_packed(&packed_8);
	for (unsigned i = 0; i < 16; i++)
		fb_poke(i, (uint8_t)(i + 1));
	put(GR, 0x0b, 0x0a);
	put(GR, 5, 0x41);
	peek(WINDOW + 1);
	poke(WINDOW + 9, 0);
	put(GR, 0x0b, 0);
	put(GR, 5, 0x40);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(fb_peek(72 + i), i + 9);
	ck_assert_uint_eq(fb_peek(80), 0);
}
END_TEST

START_TEST(writing_as_the_model_does)
{
	uint64_t seed = 11;
	struct writing w = { 0 };

	set_packed(&packed_8);
	for (unsigned i = 0; i < 65536; i++) {
		model[i] = (uint8_t)fake_random(&seed);
		fb_poke(i, model[i]);
	}
	for (unsigned i = 0; i < 60000; i++) {
		uint64_t r = random64(&seed);
		uint32_t off = r & (r >> 16 & 1 ? 0xffff : 0xff);
		bool linear = r >> 17 & 1;
		uint32_t base = linear ? FRAMEBUFFER : WINDOW;

		if (i % 16 == 0)
			random_writing(&seed, &w);
		if (r >> 18 & 1) {
			/* Plain framebuffer memory has no latches. */
			bool latches = !linear || !mapped_at(FRAMEBUFFER);

			if (latches)
				ck_assert_uint_eq(peek(base + off), model_read(&w, off));
		} else {
			poke(base + off, (uint8_t)(r >> 24));
			model_write(&w, off, (uint8_t)(r >> 24));
		}
	}
	put(GR, 0x0b, 0);
	put(GR, 5, 0x40);
	for (unsigned i = 0; i < sizeof(model); i++)
		if (fb_peek(i) != model[i])
			ck_abort_msg("byte %x is %x, not %x", i, fb_peek(i), model[i]);
}
END_TEST

/* --- the framebuffer -------------------------------------------------------------------------- */

START_TEST(framebuffer_is_memory)
{
	uint8_t *m = mapped_at(FRAMEBUFFER);

	ck_assert_ptr_nonnull(m);
	ck_assert_ptr_eq(mapped_at(FRAMEBUFFER + 4 * MIB - 1), m + 4 * MIB - 1);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER + 4 * MIB));
	m[5] = 0x12;
	/* It is there again up to 16 MiB; from there on it only takes data. */
	ck_assert_uint_eq(fb_peek(8 * MIB + 5), 0x12);
	fb_poke(12 * MIB + 6, 0x34);
	ck_assert_uint_eq(m[6], 0x34);
	ck_assert_uint_eq(fb_peek(16 * MIB + 5), 0xff);
	fb_poke(16 * MIB + 5, 0x56);
	ck_assert_uint_eq(m[5], 0x12);
	mw(FRAMEBUFFER + 4 * MIB - 4, 0x8877665544332211, 8); /* the end goes around */
	ck_assert_uint_eq(m[4 * MIB - 4], 0x11);
	ck_assert_uint_eq(m[3], 0x88);
}
END_TEST

/* A blit of 8 bytes from the CPU to `to`. */
static void blit_from_cpu(uint32_t to)
{
	static const uint8_t zero[] = { 0x21, 0x22, 0x23, 0x24, 0x25, 0x26,
					0x27, 0x2c, 0x2d, 0x2e, 0x2f, 0x33 };

	for (unsigned i = 0; i < sizeof(zero); i++)
		put(GR, zero[i], 0);
	put(GR, 0x20, 7);
	put(GR, 0x28, (uint8_t)to);
	put(GR, 0x29, (uint8_t)(to >> 8));
	put(GR, 0x2a, (uint8_t)(to >> 16));
	put(GR, 0x30, 0x04);
	put(GR, 0x32, 0x0d);
	put(GR, 0x31, 0x02);
}

START_TEST(blits_take_data_everywhere)
{
	static const uint32_t places[] = { WINDOW, WINDOW + 0x18000, FRAMEBUFFER + 77,
					   FRAMEBUFFER + 16 * MIB, FRAMEBUFFER + 32 * MIB - 8 };
	uint8_t *m = mapped_at(FRAMEBUFFER);

	set_packed(&packed_8);
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		uint32_t to = 1000 * i + 3000;

		blit_from_cpu(to);
		ck_assert_uint_eq(get(GR, 0x31) & 0x0b, 0x0b);
		ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
		mw(places[i], 0x04030201, 4);
		ck_assert_uint_eq(get(GR, 0x31) & 0x0b, 0x0b);
		mw(places[i], 0x08070605, 4);
		ck_assert_uint_eq(get(GR, 0x31), 0);
		for (unsigned k = 0; k < 8; k++)
			ck_assert_uint_eq(m[to + k], k + 1);
	}
	/* Given up. */
	blit_from_cpu(0);
	put(GR, 0x31, 0x04);
	ck_assert_uint_eq(get(GR, 0x31) & 0x0b, 0);
	fb_poke(2, 0x99);
	ck_assert_uint_eq(m[2], 0x99);
}
END_TEST

START_TEST(autostart)
{
	uint8_t *m = mapped_at(FRAMEBUFFER);

	m[0] = 0x5c;
	blit_from_cpu(0);
	put(GR, 0x31, 4);
	put(GR, 0x30, 0);
	put(GR, 0x31, 0x80);
	put(GR, 0x29, 1);
	ck_assert_uint_eq(m[0x100], 0);
	put(GR, 0x2a, 0);
	ck_assert_uint_eq(m[0x100], 0x5c);
	ck_assert_uint_eq(get(GR, 0x31), 0x80);
}
END_TEST

START_TEST(memory_comes_back_after_some_accesses)
{
	set_packed(&packed_8);
	blit_from_cpu(0);
	mw(WINDOW, 0, 8);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	for (unsigned i = 0; i < 15; i++)
		fb_poke(i, 1);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	fb_poke(15, 1);
	ck_assert_ptr_nonnull(mapped_at(FRAMEBUFFER));
	/* So it does when writing was more than storing. */
	put(GR, 0x0b, 6);
	put(GR, 5, 0x45);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	for (unsigned i = 0; i < 100; i++)
		fb_poke(i, 1);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	put(GR, 5, 0x40);
	put(GR, 0x0b, 0);
	for (unsigned i = 0; i < 16; i++)
		fb_peek(i);
	ck_assert_ptr_nonnull(mapped_at(FRAMEBUFFER));
	/* Where the BAR is. */
	set_bar(VGA, 0, 0xd0000000);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	ck_assert_ptr_nonnull(mapped_at(0xd0000000));
	blit_from_cpu(0);
	set_bar(VGA, 0, FRAMEBUFFER);
	ck_assert_ptr_null(mapped_at(FRAMEBUFFER));
	mw(WINDOW, 0, 8);
	for (unsigned i = 0; i < 16; i++)
		fb_peek(i);
	ck_assert_ptr_nonnull(mapped_at(FRAMEBUFFER));
}
END_TEST

START_TEST(text_is_a_linear_picture_until_it_cannot_be)
{
	set_mode(&mode_3);
	for (unsigned i = 0; i < 40; i++)
		poke(0xb8000 + i, 1);
	ck_assert_ptr_nonnull(linear());
	put(SEQ, 0x17, 0x04); /* the registers lie there */
	ck_assert_ptr_null(linear());
	put(SEQ, 0x17, 0);
	for (unsigned i = 0; i < 40; i++)
		poke(0xb8000 + i, 1);
	ck_assert_ptr_nonnull(linear());
	blit_from_cpu(0x1000);
	ck_assert_ptr_null(linear());
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		who_it_is,
		sr6_locks,
		sequencer_registers,
		graphics_registers,
		crtc_registers,
		crtc_reads_the_latch,
		memory_size_is_told,
		bad_properties,
		command_register_decides_who_answers,
		hidden_dac_after_four_reads,
		cursor_palette_is_another,
		late_registers,
		reset_without_a_bios,
		registers_in_memory,
		banks,
		planes_beyond_256_kib,
		write_modes_4_and_5,
		eight_latches_copy,
		writing_as_the_model_does,
		framebuffer_is_memory,
		blits_take_data_everywhere,
		autostart,
		memory_comes_back_after_some_accesses,
		text_is_a_linear_picture_until_it_cannot_be,
	};

	return run_tests("cirrus", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
