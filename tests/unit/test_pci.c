/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI bus as a guest sees it: configuration space, BARs, slots, and what gives out addresses.
 */
#include "pci_guest.h"

/* --- configuration mechanism 1 --------------------------------------------------------- */

START_TEST(mechanism)
{
	board();
	ck_assert_uint_eq(inl(0xcf8), 0);
	ck_assert_uint_eq(inl(0xcfc), 0xffffffff); /* not enabled */
	outl(0xcf8, 0xffffffff);
	ck_assert_uint_eq(inl(0xcf8), 0x80fffffc); /* reserved bits are 0 */
	ck_assert_uint_eq(inl(0xcfc), 0xffffffff);
	outl(0xcf8, 0x80000000);
	ck_assert_uint_eq(inl(0xcfc), 0x12378086);
	ck_assert_uint_eq(inw(0xcfe), 0x1237);
	ck_assert_uint_eq(inw(0xcfd), 0x3780);
	ck_assert_uint_eq(inb(0xcfd), 0x80);
	outl(0xcf8, 0x00000000);
	ck_assert_uint_eq(inl(0xcfc), 0xffffffff);
	outl(0xcf8, 0x80010000); /* bus 1 */
	ck_assert_uint_eq(inl(0xcfc), 0xffffffff);
	outl(0xcfc, 0);
	/* Narrow accesses do not reach the address register. */
	outl(0xcf8, 0x80000804);
	outb(0xcf8, 0x40);
	outw(0xcf8, 0x4040);
	outw(0xcfa, 0x4040);
	ck_assert_uint_eq(inl(0xcf8), 0x80000804);
	ck_assert_uint_eq(inb(0xcf8), 0xff);
	ck_assert_uint_eq(inw(0xcf8), 0xffff);
	/* A wide access ends where the dword does. */
	ck_assert_uint_eq(cfg_read(ISA_BRIDGE, 0, 4), 0x70008086);
	ck_assert_uint_eq(cfg_read(ISA_BRIDGE, 8, 4), 0x06010000);
	ck_assert_uint_eq(cfg_read(ISA_BRIDGE, 0x0e, 1), 0x80);
	ck_assert_uint_eq(cfg_read(DEVFN(2, 0), 0, 4), 0xffffffff);
	cfg_write(DEVFN(2, 0), 4, 0xffff, 4);
}
END_TEST

/* The ISA bridge's byte between the host bridge's dwords. */
START_TEST(reset_register)
{
	board();
	ck_assert_uint_eq(inb(ACPI_RESET_PORT), 0);
	outb(ACPI_RESET_PORT, 0x02);
	ck_assert_uint_eq(inb(ACPI_RESET_PORT), 0x02);
	ck_assert_uint_eq(fake.requests, 0);
	outb(ACPI_RESET_PORT, ACPI_RESET_VALUE);
	ck_assert_uint_eq(fake.requests, 1);
	ck_assert_int_eq(fake.last_request, MACHINE_RESET);
	outb(ACPI_RESET_PORT, 0x04);
	outb(ACPI_RESET_PORT, 0x0e);
	ck_assert_uint_eq(fake.requests, 3);
	ck_assert_uint_eq(inb(ACPI_RESET_PORT), 0x0a);
	outl(0xcf8, 0x8000ffff);
	outw(0xcf8, 0xffff);
	outb(0xcf8, 0xff);
	outb(0xcfa, 0xff);
	ck_assert_uint_eq(fake.requests, 3);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inb(ACPI_RESET_PORT), 0);
	ck_assert_uint_eq(inl(0xcf8), 0);
}
END_TEST

/* --- write masks ---------------------------------------------------------------------------- */

/* Ones to every byte, then zeros: the writable bits are those of mask[], and no others change. */
static void check_masks(unsigned devfn, const uint8_t *mask)
{
	uint8_t before[256];

	for (unsigned off = 0; off < 256; off++)
		before[off] = (uint8_t)cfg_read(devfn, off, 1);
	for (unsigned off = 0; off < 256; off++) {
		uint8_t now;

		cfg_write(devfn, off, 0xff, 1);
		now = (uint8_t)cfg_read(devfn, off, 1);
		ck_assert_msg(now == (before[off] | mask[off]), "%x, ones to %02x: %02x, was %02x",
			      devfn, off, now, before[off]);
		cfg_write(devfn, off, 0, 1);
		now = (uint8_t)cfg_read(devfn, off, 1);
		ck_assert_msg(now == (before[off] & ~mask[off]),
			      "%x, zeros to %02x: %02x, was %02x", devfn, off, now, before[off]);
		cfg_write(devfn, off, before[off], 1);
	}
	/* By dwords the same. */
	for (unsigned off = 0; off < 256; off += 4) {
		uint32_t was, want = 0, val;

		cfg_write(devfn, off, 0, 4);
		was = cfg_read(devfn, off, 4);
		for (unsigned i = 0; i < 4; i++)
			want |= (uint32_t)(mask[off + i]) << 8 * i;
		cfg_write(devfn, off, 0xffffffff, 4);
		val = cfg_read(devfn, off, 4);
		ck_assert_msg(val == (was | want), "%x, ones to dword %02x: %x", devfn, off, val);
		cfg_write(devfn, off, was, 4);
	}
}

START_TEST(masks)
{
	uint8_t m[256] = { [0x0c] = 0xff, [0x0d] = 0xf8, [0x3c] = 0xff };
	unsigned msi, msix;

	board();
	fake_add(&pci_testdev_class, "");
	m[0x59] = 0x30; /* PAM */
	memset(m + 0x5a, 0x33, 6);
	check_masks(HOST_BRIDGE, m);
	memset(m + 0x59, 0, 7);
	memset(m + 0x60, 0x8f, 4);
	check_masks(ISA_BRIDGE, m);
	memset(m + 0x60, 0, 4);
	m[4] = 0x07;
	m[5] = 0x04;
	m[0x10] = 0xe0; /* 32 I/O ports */
	memset(m + 0x11, 0xff, 3);
	m[0x15] = 0xf0; /* 4 KiB of memory */
	memset(m + 0x16, 0xff, 2);
	memset(m + 0x1a, 0xff, 6); /* 64 KiB, 64 bits */
	m[0x21] = 0xf0;
	memset(m + 0x22, 0xff, 2);
	msi = find_cap(DEVFN(2, 0), 0x05);
	m[msi + 2] = 0x01;
	m[msi + 4] = 0xfc;
	memset(m + msi + 5, 0xff, 9);
	m[msi + 16] = 0x01;
	msix = find_cap(DEVFN(2, 0), 0x11);
	m[msix + 3] = 0xc0;
	check_masks(DEVFN(2, 0), m);
}
END_TEST

START_TEST(write_1_to_clear)
{
	struct pci_fn *fn;

	board();
	fake_add(&pci_testdev_class, "");
	fn = pci_find(&fake.m, DEVFN(2, 0));
	pci_set16(fn, PCI_STATUS, 0xf910);
	cfg_write(DEVFN(2, 0), PCI_STATUS, 0x0000, 2);
	ck_assert_uint_eq(cfg_read(DEVFN(2, 0), PCI_STATUS, 2), 0xf910);
	cfg_write(DEVFN(2, 0), PCI_STATUS, 0x3000, 2);
	ck_assert_uint_eq(cfg_read(DEVFN(2, 0), PCI_STATUS, 2), 0xc910);
	cfg_write(DEVFN(2, 0), PCI_STATUS + 1, 0x81, 1);
	ck_assert_uint_eq(cfg_read(DEVFN(2, 0), PCI_STATUS, 2), 0x4810);
	cfg_write(DEVFN(2, 0), PCI_COMMAND, 0xffff0000, 4);
	ck_assert_uint_eq(cfg_read(DEVFN(2, 0), PCI_STATUS, 2), 0x0010);
}
END_TEST

START_TEST(header)
{
	board();
	fake_add(&pci_testdev_class, "addr=5,multifunction=on");
	fake_add(&pci_testdev_class, "addr=5.3,msi=off,vectors=0");
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0, 4), 0x7e571234);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 8, 4), 0xff000001);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0x0c, 4), 0x00800000);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 3), 0x0c, 4), 0);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0x2c, 4), 0x00011234);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0x3c, 4), 0x00000100);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 4, 4), 0x00100000);
	/* No capabilities: no pointer, and the status says so. */
	ck_assert_uint_eq(cfg_read(DEVFN(5, 3), 4, 4), 0);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 3), 0x34, 1), 0);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 1), 0, 4), 0xffffffff);
	/* A list that ends, in the space behind the header. */
	ck_assert_uint_eq(find_cap(DEVFN(5, 0), 0x11), 0x40);
	ck_assert_uint_eq(find_cap(DEVFN(5, 0), 0x05), 0x4c);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0x4d, 1), 0);
	/* Everything writable is 0 after a reset, and what is not stays. */
	cfg_write(DEVFN(5, 0), 4, 0x0407, 2);
	cfg_write(DEVFN(5, 0), 0x10, 0xc000, 4);
	cfg_write(DEVFN(5, 0), 0x3c, 11, 1);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 4, 4), 0x00100000);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0x10, 4), 1);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0x3c, 4), 0x00000100);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0, 4), 0x7e571234);
	ck_assert_uint_eq(fake.m.pio.n, 2);
	ck_assert_uint_eq(cfg_read(HOST_BRIDGE, 4, 4), 0x02800006);
	ck_assert_uint_eq(cfg_read(ISA_BRIDGE, 0x60, 4), 0x80808080);
}
END_TEST

/* --- BARs --------------------------------------------------------------------------------- */

#define DEV DEVFN(2, 0)

START_TEST(bar_sizes)
{
	static const struct {
		unsigned bar;
		uint32_t size;
	} rows[] = { { 0, 0xffffffe1 }, { 1, 0xfffff000 }, { 2, 0x0000000c },
		     { 3, 0xfffffffe }, { 4, 0xfffff000 }, { 5, 0 } };

	board();
	fake_add(&pci_testdev_class, "mem64=8G");
	for (unsigned on = 0; on < 2; on++) {
		/* Also with decoding on, when it must not show anywhere. */
		cfg_write(DEV, 4, on ? 7 : 0, 2);
		for (unsigned i = 0; i < 6; i++) {
			unsigned reg = 0x10 + 4 * rows[i].bar;
			uint32_t was = cfg_read(DEV, reg, 4);

			cfg_write(DEV, reg, 0xffffffff, 4);
			ck_assert_uint_eq(cfg_read(DEV, reg, 4), rows[i].size);
			ck_assert_uint_eq(fake.m.mmio.n, 0);
			ck_assert_uint_eq(fake.m.pio.n, 2);
			cfg_write(DEV, reg, was, 4);
			ck_assert_uint_eq(cfg_read(DEV, reg, 4), was);
		}
	}
	/* Both halves of 64 bits at once. */
	cfg_write(DEV, 0x18, 0xffffffff, 4);
	cfg_write(DEV, 0x1c, 0xffffffff, 4);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
}
END_TEST

START_TEST(bar_moves)
{
	board();
	fake_add(&pci_testdev_class, "");
	set_bar(DEV, 0, 0xc000);
	set_bar(DEV, 1, 0xe0000000);
	ck_assert_uint_eq(inl(0xc000), 0xffffffff); /* not decoded yet */
	ck_assert_uint_eq(mr(0xe0000000, 4), 0xffffffff);
	cfg_write(DEV, 4, 1, 2);
	ck_assert_uint_eq(inl(0xc000), TESTDEV);
	ck_assert_uint_eq(mr(0xe0000000, 4), 0xffffffff);
	cfg_write(DEV, 4, 3, 2);
	ck_assert_uint_eq(mr(0xe0000000, 4), TESTDEV);
	outl(0xc00c, 0x12345678);
	ck_assert_uint_eq(inw(0xc00e), 0x1234);
	ck_assert_uint_eq(mr(0xe000000c, 4), 0x12345678);
	set_bar(DEV, 0, 0xd000);
	ck_assert_uint_eq(inl(0xc000), 0xffffffff);
	ck_assert_uint_eq(inl(0xd00c), 0x12345678);
	/* The address takes effect byte by byte, too. */
	cfg_write(DEV, 0x11, 0xe0, 1);
	ck_assert_uint_eq(inl(0xd000), 0xffffffff);
	ck_assert_uint_eq(inl(0xe000), TESTDEV);
	for (unsigned i = 1; i < 100; i++) {
		set_bar(DEV, 1, 0xe0000000 + i * 4096);
		ck_assert_uint_eq(mr(0xe0000000 + i * 4096, 4), TESTDEV);
		ck_assert_uint_eq(mr(0xe0000000 + i * 4096 - 4096, 4), 0xffffffff);
	}
	cfg_write(DEV, 4, 1, 2);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
	cfg_write(DEV, 4, 2, 2);
	ck_assert_uint_eq(inl(0xe000), 0xffffffff);
	ck_assert_uint_eq(mr(0xe0000000 + 99 * 4096, 4), TESTDEV);
	/* Nowhere: 0, beyond the ports, at the very end of memory. */
	set_bar(DEV, 1, 0);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
	cfg_write(DEV, 4, 3, 2);
	set_bar(DEV, 0, 0x10000);
	ck_assert_uint_eq(fake.m.pio.n, 2);
	set_bar(DEV, 0, 0xffe0); /* the last ports are ports */
	ck_assert_uint_eq(inl(0xffe0), TESTDEV);
	set_bar(DEV, 1, 0xfffff000);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
	set_bar(DEV, 1, 0xffffe000);
	ck_assert_uint_eq(mr(0xffffe000, 4), TESTDEV);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
	ck_assert_uint_eq(fake.m.pio.n, 2);
}
END_TEST

START_TEST(bar_64)
{
	board();
	fake_add(&pci_testdev_class, "mem64=64K");
	set_bar64(DEV, 2, 0x8000000000);
	cfg_write(DEV, 4, 2, 2);
	mw(0x8000000010, 0x0123456789abcdef, 8);
	ck_assert_uint_eq(mr(0x8000000010, 8), 0x0123456789abcdef);
	ck_assert_uint_eq(mr(0x8000000013, 2), 0x6789);
	ck_assert_uint_eq(mr(0x800000f010, 4), 0x89abcdef); /* its end shows the same */
	ck_assert_uint_eq(mr(0x8000001000, 4), 0xffffffff); /* nothing between */
	ck_assert_uint_eq(mr(0x0000000010, 8), UINT64_MAX);
	/* One half at a time. */
	cfg_write(DEV, 0x1c, 0x81, 4);
	ck_assert_uint_eq(mr(0x8000000010, 8), UINT64_MAX);
	ck_assert_uint_eq(mr(0x8100000010, 8), 0x0123456789abcdef);
	cfg_write(DEV, 0x18, 0xc0000000, 4);
	ck_assert_uint_eq(mr(0x81c0000010, 8), 0x0123456789abcdef);
	cfg_write(DEV, 0x1c, 0, 4);
	ck_assert_uint_eq(mr(0xc0000010, 8), 0x0123456789abcdef);
	ck_assert_uint_eq(cfg_read(DEV, 0x18, 4), 0xc000000c);
	/* A BAR of more than 4 GiB has no address bits in its first half. */
	fake_add(&pci_testdev_class, "mem64=16G");
	set_bar64(DEVFN(3, 0), 2, 0x1234567b9abcdef0);
	ck_assert_uint_eq(cfg_read(DEVFN(3, 0), 0x18, 4), 0x0000000c);
	ck_assert_uint_eq(cfg_read(DEVFN(3, 0), 0x1c, 4), 0x12345678);
	cfg_write(DEVFN(3, 0), 4, 2, 2);
	mw(0x1234567800000000 + (16ull << 30) - 8, 5, 8);
	ck_assert_uint_eq(mr(0x1234567800000ff8, 8), 5);
}
END_TEST

START_TEST(bar_overlaps)
{
	board();
	fake_add(&pci_testdev_class, "vectors=0");
	fake_add(&pci_testdev_class, "vectors=0");
	for (unsigned slot = 2; slot < 4; slot++) {
		set_bar(DEVFN(slot, 0), 1, 0xe0000000);
		cfg_write(DEVFN(slot, 0), 4, 2, 2);
	}
	mw(0xe000000c, 7, 4);
	ck_assert_uint_eq(mr(0xe000000c, 4), 7);
	/* Whoever is there alone, answers; the other has what was its own. */
	cfg_write(DEVFN(3, 0), 4, 0, 2);
	ck_assert_uint_eq(mr(0xe000000c, 4), 0);
	cfg_write(DEVFN(3, 0), 4, 2, 2);
	set_bar(DEVFN(2, 0), 1, 0xe1000000);
	ck_assert_uint_eq(mr(0xe000000c, 4), 7);
	ck_assert_uint_eq(mr(0xe100000c, 4), 0);
	/* A small one in the middle of a large one. */
	set_bar64(DEVFN(2, 0), 2, 0xe0000000);
	mw(0xe0000020, 9, 4);
	set_bar(DEVFN(3, 0), 1, 0xe2000000);
	ck_assert_uint_eq(mr(0xe000f020, 4), mr(0xe0000020, 4));
}
END_TEST

START_TEST(bar_hooks)
{
	struct tfn *t;

	board();
	t = (struct tfn *)fake_add(&tfn_class, "");
	set_bar(DEV, 0, 0xe0000000);
	ck_assert_uint_eq(t->maps, 0);
	cfg_write(DEV, 4, 2, 2);
	ck_assert_uint_eq(t->maps, 1);
	ck_assert_uint_eq(t->base, 0xe0000000);
	ck_assert_uint_eq(mr(0xe0000000, 4), 'a');
	ck_assert_uint_eq(mr(0xe0001010, 4), 'b');
	ck_assert_uint_eq(mr(0xe0000100, 4), 0xffffffff);
	cfg_write(DEV, 4, 2, 2); /* nothing changes */
	set_bar(DEV, 0, 0xe0000000);
	ck_assert_uint_eq(t->maps, 1);
	set_bar(DEV, 0, 0xe0010000);
	ck_assert_uint_eq(t->unmaps, 1);
	ck_assert_uint_eq(t->maps, 2);
	ck_assert_uint_eq(t->base, 0xe0010000);
	/* Device-specific registers, through hooks that may take any lock. */
	ck_assert_uint_eq(cfg_read(DEV, t->cap + 4, 4), 1);
	ck_assert_uint_eq(cfg_read(DEV, t->cap + 4, 4), 2);
	cfg_write(DEV, t->cap + 8, 0xffffffff, 4);
	ck_assert_uint_eq(t->written, 0x00ffff00);
	ck_assert_uint_eq(cfg_read(DEV, t->cap + 8, 4), 0x00ffff00);
	pci_fn_unplug(&t->fn);
	ck_assert_uint_eq(t->unmaps, 2);
	ck_assert_uint_eq(cfg_read(DEV, 0, 4), 0xffffffff);
	pci_fn_unplug(&t->fn);
	ck_assert_uint_eq(t->unmaps, 2);
}
END_TEST

/* --- expansion ROM -------------------------------------------------------------------------- */

static char rom_dir[] = "/tmp/posada-pci-XXXXXX", rom_path[64];

static void make_rom(size_t size)
{
	FILE *f;

	if (!rom_path[0]) {
		ck_assert_ptr_nonnull(mkdtemp(rom_dir));
		snprintf(rom_path, sizeof(rom_path), "%s/rom", rom_dir);
	}
	f = fopen(rom_path, "wb");
	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < size; i++)
		fputc((int)(i % 251), f);
	ck_assert_int_eq(fclose(f), 0);
}

static void remove_rom(void)
{
	unlink(rom_path);
	rmdir(rom_dir);
}

START_TEST(rom)
{
	char props[128];

	board();
	make_rom(5000);
	snprintf(props, sizeof(props), "romfile=%s", rom_path);
	fake_add(&pci_testdev_class, props);
	remove_rom();
	cfg_write(DEV, 0x30, 0xfffff800, 4);
	ck_assert_uint_eq(cfg_read(DEV, 0x30, 4), 0xffffe000); /* 8 KiB */
	cfg_write(DEV, 0x30, 0xffffffff, 4);
	ck_assert_uint_eq(cfg_read(DEV, 0x30, 4), 0xffffe001);
	cfg_write(DEV, 0x30, 0xe0000000, 4);
	cfg_write(DEV, 4, 2, 2);
	ck_assert_uint_eq(mr(0xe0000000, 4), 0xffffffff); /* its own enable bit is off */
	cfg_write(DEV, 0x30, 0xe0000001, 4);
	ck_assert_uint_eq(mr(0xe0000000, 4), 0x03020100);
	ck_assert_uint_eq(mr(0xe0000000 + 4999, 1), 4999 % 251);
	ck_assert_uint_eq(mr(0xe0000000 + 4996, 8), 0xe6e5e4e3);
	ck_assert_uint_eq(mr(0xe0001ff8, 8), 0);
	mw(0xe0000000, 0, 4);
	ck_assert_uint_eq(mr(0xe0000000, 4), 0x03020100);
	cfg_write(DEV, 4, 0, 2);
	ck_assert_uint_eq(mr(0xe0000000, 4), 0xffffffff);
	/* Without one there is no register; "" is none. */
	fake_add(&pci_testdev_class, "romfile=");
	cfg_write(DEVFN(3, 0), 0x30, 0xffffffff, 4);
	ck_assert_uint_eq(cfg_read(DEVFN(3, 0), 0x30, 4), 0);
}
END_TEST

START_TEST(rom_errors)
{
	char props[128];

	board();
	refused("romfile=/nonexistent/rom", "romfile=/nonexistent/rom: No such file");
	refused("romfile=/tmp", "romfile=/tmp: not a regular file");
	refused("romfile=/dev/zero", "romfile=/dev/zero: not a regular file");
	make_rom(0);
	snprintf(props, sizeof(props), "romfile=%s", rom_path);
	refused(props, "the file is empty");
	ck_assert_int_eq(truncate(rom_path, (16 << 20) + 1), 0);
	refused(props, "larger than 16 MiB");
	ck_assert_int_eq(truncate(rom_path, 16 << 20), 0);
	fake_add(&pci_testdev_class, props);
	cfg_write(DEV, 0x30, 0xffffffff, 4);
	ck_assert_uint_eq(cfg_read(DEV, 0x30, 4), 0xff000001);
	remove_rom();
}
END_TEST

/* --- slots ------------------------------------------------------------------------------------ */

START_TEST(addresses)
{
	board();
	fake_add(&pci_testdev_class, "id=one");
	fake_add(&pci_testdev_class, "addr=3,bus=pci.0");
	fake_add(&pci_testdev_class, "");
	fake_add(&pci_testdev_class, "addr=1f.0,multifunction=on");
	fake_add(&pci_testdev_class, "addr=0x1F.7");
	fake_add(&pci_testdev_class, "addr=01.3"); /* the ISA bridge leaves room */
	ck_assert_uint_eq(cfg_read(DEVFN(2, 0), 0, 2), 0x1234);
	ck_assert_uint_eq(cfg_read(DEVFN(3, 0), 0, 2), 0x1234);
	ck_assert_uint_eq(cfg_read(DEVFN(4, 0), 0, 2), 0x1234);
	ck_assert_uint_eq(cfg_read(DEVFN(31, 0), 0, 2), 0x1234);
	ck_assert_uint_eq(cfg_read(DEVFN(31, 7), 0, 2), 0x1234);
	ck_assert_uint_eq(cfg_read(DEVFN(1, 3), 0, 2), 0x1234);
	refused("addr=2", "addr=2.0: pci-testdev (id one) is there already");
	refused("addr=3.0", "addr=3.0: pci-testdev is there already");
	refused("addr=0", "addr=0.0: i440fx is there already");
	refused("addr=1", "addr=1.0: piix3 is there already");
	refused("addr=20", "addr=20: there is no such slot");
	refused("addr=100000000000000000000", "there is no such slot");
	refused("addr=5.8", "addr=5.8: there is no such function");
	refused("addr=5.ffffffff1", "there is no such function");
	refused("addr=-1", "addr=-1: not a PCI address");
	refused("addr=", "addr=: not a PCI address");
	refused("addr=5.", "addr=5.: not a PCI address");
	refused("addr=.1", "addr=.1: not a PCI address");
	refused("addr=5.1.2", "not a PCI address");
	refused("addr=0x", "not a PCI address");
	refused("addr=5 ", "not a PCI address");
	refused("addr=2.1", "function 0 of the slot, pci-testdev (id one), is alone");
	refused("addr=6.1", "slot 6 has no function 0");
	refused("bus=pci.1", "bus=pci.1: there is no such PCI bus");
	refused("mem64=5000", "mem64=5000: not a power of two");
	refused("vectors=2049", "vectors=2049: 2049 is not between 0 and 2048");
}
END_TEST

START_TEST(slots_full)
{
	board();
	for (unsigned i = 2; i < 32; i++)
		fake_add(&pci_testdev_class, "vectors=0,msi=off");
	refused("", "no PCI slot is free");
	ck_assert_uint_eq(cfg_read(DEVFN(31, 0), 0, 2), 0x1234);
}
END_TEST

START_TEST(no_bus)
{
	struct pci_fn *none;

	refused("", "this machine has no PCI bus");
	none = pci_find(&fake.m, 0);
	ck_assert_ptr_null(none);
	ck_assert_uint_eq(pci_config_read(&fake.m, 0, 0, 4), 0xffffffff);
	pci_config_write(&fake.m, 0, 4, 0, 4);
	pci_assign_resources(&fake.m);
}
END_TEST

/* --- addresses given out -------------------------------------------------------------------- */

struct claim {
	uint64_t base, size;
	bool io;
};

static struct claim claims[256];
static unsigned n_claims;

static void collect(void *ctx, struct pci_fn *f)
{
	for (unsigned n = 0; n <= PCI_ROM_BAR; n++) {
		const struct pci_bar *b = &f->bar[n];

		if (!b->size)
			continue;
		ck_assert(b->mapped);
		ck_assert_uint_eq(b->base % b->size, 0);
		claims[n_claims++] =
			(struct claim){ b->base, b->size, (b->flags & PCI_BAR_IO) != 0 };
	}
}

/* All BARs are decoded, in their windows, and none lies in another. */
static void check_claims(void)
{
	uint64_t base64, size64;

	n_claims = 0;
	pci_mem64_window(&fake.m, &base64, &size64);
	pci_each(&fake.m, collect, NULL);
	for (unsigned i = 0; i < n_claims; i++) {
		const struct claim *a = &claims[i];

		if (a->io)
			ck_assert(a->base >= PCI_IO_BASE && a->base + a->size <= PCI_IO_END);
		else
			ck_assert((a->base >= PCI_MEM_BASE && a->base + a->size <= PCI_MEM_END) ||
				  (a->base >= base64 && a->base + a->size <= base64 + size64));
		for (unsigned k = 0; k < i; k++)
			ck_assert(claims[k].io != a->io || claims[k].base >= a->base + a->size ||
				  a->base >= claims[k].base + claims[k].size);
	}
}

START_TEST(assign)
{
	board();
	for (unsigned i = 0; i < 10; i++)
		fake_add(&pci_testdev_class, i % 2 ? "mem64=16M,vectors=300" : "mem64=8K");
	fake_add(&pci_testdev_class, "mem64=4G");
	fake_add(&pci_testdev_class, "mem64=512M");
	fake_add(&pci_testdev_class, "mem64=512M"); /* there is room for one below 4 GiB */
	for (unsigned round = 0; round < 2; round++) {
		pci_assign_resources(&fake.m);
		check_claims();
		ck_assert_uint_eq(n_claims, 13 * 4);
		ck_assert_uint_eq(fake.elcr, 1 << 10 | 1 << 11);
		ck_assert_uint_eq(cfg_read(ISA_BRIDGE, 0x60, 4), 0x0b0b0a0a);
		for (unsigned slot = 2; slot < 15; slot++) {
			static const uint8_t irq[] = { 11, 10, 10, 11 };

			ck_assert_uint_eq(cfg_read(DEVFN(slot, 0), 4, 2), 7);
			ck_assert_uint_eq(cfg_read(DEVFN(slot, 0), 0x3c, 1), irq[slot % 4]);
		}
		ck_assert_uint_ge(pci_find(&fake.m, DEVFN(12, 0))->bar[2].base, 1ull << 32);
		ck_assert_uint_lt(pci_find(&fake.m, DEVFN(2, 0))->bar[2].base, 1ull << 32);
		machine_reset_devices(&fake.m);
		ck_assert_uint_eq(fake.m.mmio.n, 0);
	}
}
END_TEST

START_TEST(assign_rom)
{
	char props[128];
	uint64_t at;

	board();
	make_rom(100 << 10);
	snprintf(props, sizeof(props), "romfile=%s", rom_path);
	fake_add(&pci_testdev_class, props);
	remove_rom();
	pci_assign_resources(&fake.m);
	at = cfg_read(DEV, 0x30, 4);
	ck_assert_uint_eq(at & 0x1ffff, 0); /* an address, and off */
	ck_assert_uint_ge(at, PCI_MEM_BASE);
	ck_assert_uint_lt(at, PCI_MEM_END);
	cfg_write(DEV, 0x30, (uint32_t)at | 1, 4);
	check_claims();
	ck_assert_uint_eq(n_claims, 5);
}
END_TEST

START_TEST(assign_no_room)
{
	struct pci_fn *fn;

	board();
	fake.m.phys_bits = 32; /* no window above 4 GiB */
	fake_add(&pci_testdev_class, "mem64=1G");
	fake_add(&pci_testdev_class, "");
	pci_assign_resources(&fake.m);
	fn = pci_find(&fake.m, DEV);
	ck_assert(!fn->bar[2].mapped);
	ck_assert(fn->bar[1].mapped);
	ck_assert(pci_find(&fake.m, DEVFN(3, 0))->bar[2].mapped);
}
END_TEST

START_TEST(window_64)
{
	static const struct {
		unsigned bits;
		uint64_t high, base, size;
	} rows[] = {
		{ 46, 0, 512ull << 30, 64ull << 30 },
		{ 40, 0, 512ull << 30, 64ull << 30 },
		{ 39, 0, 448ull << 30, 64ull << 30 },
		{ 39, 440ull << 30, 448ull << 30, 64ull << 30 },
		{ 39, 450ull << 30, 480ull << 30, 32ull << 30 },
		{ 39, 507ull << 30, 511ull << 30, 1ull << 30 },
		{ 39, 508ull << 30, 0, 0 },
		{ 36, 0, 32ull << 30, 32ull << 30 },
		{ 36, 50ull << 30, 56ull << 30, 8ull << 30 },
		{ 46, 508ull << 30, 512ull << 30, 64ull << 30 },
		{ 46, 509ull << 30, 576ull << 30, 64ull << 30 },
		{ 46, 4093ull << 30, 4160ull << 30, 64ull << 30 },
		{ 32, 0, 0, 0 },
		{ 33, 0, 4ull << 30, 4ull << 30 },
	};
	uint64_t was = fake.m.mem.ram_size;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t base, size;

		fake.m.phys_bits = rows[i].bits;
		fake.m.mem.ram_size = GMEM_LOW_MAX + rows[i].high;
		pci_mem64_window(&fake.m, &base, &size);
		ck_assert_msg(base == rows[i].base && size == rows[i].size,
			      "row %u: %llx bytes at %llx", i, (unsigned long long)size,
			      (unsigned long long)base);
		ck_assert(!size || base >= (4ull << 30) + rows[i].high);
	}
	fake.m.mem.ram_size = was;
}
END_TEST

START_TEST(irq_routes)
{
	struct acpi_pci_irq r[ACPI_PCI_IRQS];

	board();
	ck_assert_uint_eq(pci_irq_routes(&fake.m, r, ACPI_PCI_IRQS), 0);
	fake_add(&tfn_class, "addr=4,multifunction=on,pin=1");
	fake_add(&tfn_class, "addr=4.1,pin=4");
	fake_add(&tfn_class, "addr=4.2,pin=4");
	fake_add(&tfn_class, "addr=5,pin=0");
	fake_add(&tfn_class, "addr=1f,pin=2");
	ck_assert_uint_eq(pci_irq_routes(&fake.m, r, ACPI_PCI_IRQS), 3);
	ck_assert(r[0].slot == 4 && r[0].pin == 0 && r[0].gsi == 11);
	ck_assert(r[1].slot == 4 && r[1].pin == 3 && r[1].gsi == 11);
	ck_assert(r[2].slot == 31 && r[2].pin == 1 && r[2].gsi == 11);
	ck_assert_uint_eq(pci_irq_routes(&fake.m, r, 2), 2);
	/* The interrupt line registers say the same. */
	pci_assign_resources(&fake.m);
	ck_assert_uint_eq(cfg_read(DEVFN(4, 1), 0x3c, 1), 11);
	ck_assert_uint_eq(cfg_read(DEVFN(5, 0), 0x3c, 1), 0);
}
END_TEST

/* --- hostile guests ----------------------------------------------------------------------------
 */

/* Random writes of configuration space and of whatever lies in the windows. */
static void hammer(uint64_t *seed, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		unsigned devfn = fake_random(seed) % 4 << 3, off = fake_random(seed) % 256;
		unsigned size = 1u << fake_random(seed) % 3;
		uint64_t at = 0xe0000000 + fake_random(seed) % 0x4000;
		uint32_t val = fake_random(seed);

		switch (fake_random(seed) % 8) {
		case 0: /* a BAR to where others are */
			set_bar(devfn, fake_random(seed) % 6, 0xe0000000 + (val & 0x3000));
			break;
		case 1:
			cfg_write(devfn, 4, val, 2);
			break;
		case 2:
		case 3:
			cfg_write(devfn, off & ~(size - 1), val, size);
			break;
		case 4:
			cfg_read(devfn, off & ~(size - 1), size);
			break;
		case 5:
			mr(at, size * 2);
			break;
		default:
			mw(at, val % 3 ? val : val % 16, size * 2);
		}
	}
}

START_TEST(hostile)
{
	board();
	fake_add(&pci_testdev_class, "mem64=8K");
	fake_add(&tfn_class, "");
	for (uint64_t round = 0; round < 30; round++) {
		uint64_t seed = round;

		fake_hammer(0xcf8, 8, 1000, round);
		hammer(&seed, 3000);
		if (round % 3 == 0)
			machine_reset_devices(&fake.m);
	}
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
	ck_assert_uint_eq(fake.m.pio.n, 2);
	for (unsigned i = 0; i < 64; i++)
		ck_assert_ptr_null(fake.irqfd[i]);
	for (unsigned i = 0; i < 16; i++)
		ck_assert(!fake.irq[i]);
	ck_assert_uint_eq(cfg_read(HOST_BRIDGE, 0, 4), 0x12378086);
	ck_assert_uint_eq(cfg_read(DEV, 0, 4), 0x7e571234);
}
END_TEST

static _Atomic bool hammering;

static void *hammer_thread(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	while (hammering)
		hammer(&seed, 50);
	return NULL;
}

/* Devices come and go while two CPUs use whatever is there. */
START_TEST(plug_while_running)
{
	pthread_t thread[2];

	board();
	hammering = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, hammer_thread, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < 300; i++) {
		fake_add(&pci_testdev_class, "mem64=8K");
		fake_add(&tfn_class, "");
		/* The last two in the list: the board's own stay. */
		for (unsigned n = 0; n < 2; n++) {
			struct dev **last = &fake.m.devices, *d;

			while ((*last)->next)
				last = &(*last)->next;
			d = *last;
			*last = NULL;
			d->cls->fini(d);
			props_free(d->cls->props, d);
			free(d);
		}
	}
	hammering = false;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(fake.m.mmio.n, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		mechanism, reset_register,     masks,          write_1_to_clear, header,
		bar_sizes, bar_moves,          bar_64,         bar_overlaps,     bar_hooks,
		rom,       rom_errors,         addresses,      slots_full,       no_bus,
		assign,    assign_rom,         assign_no_room, window_64,        irq_routes,
		hostile,   plug_while_running,
	};

	return fake_main("pci", tests, sizeof(tests) / sizeof(tests[0]));
}
