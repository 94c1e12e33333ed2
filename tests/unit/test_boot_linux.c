/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Linux bzImages: what is in guest memory afterwards, and what is refused. */
#include "boot_images.h"

#include <sys/mman.h>

#define TEXT_ADDR 0x1000000ull
#define DATA_ADDR 0x1400000ull
#define TEXT_LEN 200000
#define DATA_LEN 70001
#define DATA_MEM 150000
#define ENTRY (TEXT_ADDR + 0x40)

static struct buf text, data, vmlinux;

/* Linked high, loaded low, entry given as physical address, something appended: as Linux is. */
static void setup(void)
{
	struct test_segment seg[2];

	text = buf_pattern(TEXT_LEN, 11);
	data = buf_pattern(DATA_LEN, 12);
	/* two pages of zeros, which a loader need not write */
	memset(text.p + 8192, 0, 8192);
	seg[0] = (struct test_segment){ PT_LOAD, 0xffffffff81000000, TEXT_ADDR, TEXT_LEN, text.p,
					text.len };
	seg[1] = (struct test_segment){ PT_LOAD, 0xffffffff81400000, DATA_ADDR, DATA_MEM, data.p,
					data.len };
	vmlinux = make_elf64(seg, 2, ENTRY);
	buf_add(&vmlinux, "relocations", 11);
}

static void teardown(void)
{
	free(text.p);
	free(data.p);
	free(vmlinux.p);
}

static void check_kernel_in_memory(struct boot_test *t)
{
	guest_has(t, TEXT_ADDR, text.p, text.len);
	guest_has(t, DATA_ADDR, data.p, data.len);
	guest_has_zeros(t, DATA_ADDR + DATA_LEN, DATA_MEM - DATA_LEN);
}

static struct linux_boot_params boot_params(struct boot_test *t)
{
	struct linux_boot_params bp;

	memcpy(&bp, guest(t, t->out.rsi, sizeof(bp)), sizeof(bp));
	return bp;
}

static const enum compression all[] = { COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_BZIP2, COMPRESS_LZMA,
					COMPRESS_XZ,   COMPRESS_LZ4,  COMPRESS_ZSTD };
#define N_ALL ((int)(sizeof(all) / sizeof(all[0])))

START_TEST(every_compression)
{
	struct buf img = make_bzimage_of(all[_i], vmlinux);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	ck_assert_msg(!boot_test_load(&t, img), "%s: %s", compression_name(all[_i]), t.e.msg);
	check_kernel_in_memory(&t);
	ck_assert_str_eq(t.out.format, "Linux bzImage");
	ck_assert(t.out.is_linux);
	ck_assert_int_eq(t.out.mode, BOOT_LONG64);
	ck_assert_uint_eq(t.out.rip, ENTRY);
	ck_assert_uint_eq(t.out.rsi, BOOT_INFO_ADDR);
	ck_assert_uint_eq(t.out.rsp, BOOT_STACK_TOP);
	ck_assert_uint_eq(t.out.cr3, BOOT_PAGE_TABLES);
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

/* At a reset RAM is full of what the guest left. */
START_TEST(again_over_dirty_ram)
{
	struct buf img = make_bzimage_of(COMPRESS_GZIP, vmlinux);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	memset(t.mem.ram, 0xa5, t.mem.ram_size);
	t.rq.ram_is_zero = false;
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	check_kernel_in_memory(&t);
	/* every entry of the tables that are read, unused ones too */
	for (unsigned i = 1; i < 512; i++)
		ck_assert_uint_eq(guest_u64(&t, BOOT_PAGE_TABLES + i * 8), 0);
	for (unsigned i = 4; i < 512; i++)
		ck_assert_uint_eq(guest_u64(&t, BOOT_PAGE_TABLES + 4096 + i * 8), 0);
	ck_assert_uint_eq(guest_u64(&t, BOOT_GDT_ADDR), 0);
	guest_has_zeros(&t, BOOT_INFO_ADDR, 0x70);
	guest_has(&t, BOOT_CMDLINE_ADDR, "", 1);
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

/* What the file does not fill must not become host memory: it costs time and space. */
START_TEST(fresh_ram_stays_untouched)
{
	struct test_segment seg = { PT_LOAD, 0, TEXT_ADDR, 40 * MiB, text.p, text.len };
	struct buf elf = make_elf64(&seg, 1, ENTRY), img = make_bzimage_of(COMPRESS_NONE, elf);
	unsigned char in_core[64 * MiB / 4096];
	unsigned pages = 0;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	ck_assert_int_eq(mincore(t.mem.ram, t.mem.ram_size, in_core), 0);
	for (unsigned i = 0; i < sizeof(in_core); i++)
		pages += in_core[i] & 1;
	ck_assert_uint_le(pages, TEXT_LEN / 4096 + 20);
	/* the two pages of zeros in the text */
	ck_assert_int_eq(in_core[(TEXT_ADDR + 8192) / 4096] & 1, 0);
	ck_assert_int_eq(in_core[(TEXT_ADDR + 12288) / 4096] & 1, 0);
	boot_test_fini(&t);
	free(img.p);
	free(elf.p);
}
END_TEST

START_TEST(boot_params_fields)
{
	struct buf img = make_bzimage_of(COMPRESS_XZ, vmlinux);
	struct linux_boot_params bp;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	t.rq.append = "console=ttyS0 quiet";
	t.rq.linux_extra = "noxsave";
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	bp = boot_params(&t);
	/* the image's own header, but for what a loader fills */
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.header), 0x53726448);
	ck_assert_uint_eq(le16_to_cpu(bp.hdr.version), 0x20f);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.kernel_alignment), 0x200000);
	ck_assert_uint_eq(le64_to_cpu(bp.hdr.pref_address), 0x1000000);
	ck_assert_uint_eq(bp.hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.cmd_line_ptr), BOOT_CMDLINE_ADDR);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.ramdisk_image), 0);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.ramdisk_size), 0);
	ck_assert_uint_eq(le64_to_cpu(bp.hdr.setup_data), 0);
	ck_assert_uint_eq(le64_to_cpu(bp.acpi_rsdp_addr), BOOT_ACPI_ADDR);
	ck_assert_uint_eq(bp.sentinel, 0);
	guest_has(&t, BOOT_CMDLINE_ADDR, "noxsave console=ttyS0 quiet", 28);
	ck_assert_uint_eq(bp.e820_entries, 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(le64_to_cpu(bp.e820_table[i].addr), t.rq.e820[i].addr);
		ck_assert_uint_eq(le64_to_cpu(bp.e820_table[i].size), t.rq.e820[i].size);
		ck_assert_uint_eq(le32_to_cpu(bp.e820_table[i].type), t.rq.e820[i].type);
	}
	/* and at its place by the protocol, in case the structs and the code agree on a wrong one
	 */
	ck_assert_uint_eq(*(const uint8_t *)guest(&t, BOOT_INFO_ADDR + 0x1e8, 1), 3);
	ck_assert_uint_eq(*(const uint8_t *)guest(&t, BOOT_INFO_ADDR + 0x210, 1), 0xff);
	ck_assert_uint_eq(guest_u64(&t, BOOT_INFO_ADDR + 0x70), BOOT_ACPI_ADDR);
	ck_assert_uint_eq(guest_u64(&t, BOOT_INFO_ADDR + 0x2d0 + 8), BOOT_EBDA_ADDR);
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

/* Translates as the processor does, from the tables in guest memory alone. */
static uint64_t translate(struct boot_test *t, uint64_t va)
{
	uint64_t entry = t->out.cr3;

	for (int shift = 39; shift >= 21; shift -= 9) {
		entry = guest_u64(t, (entry & ~0xfffull) + (va >> shift & 511) * 8);
		if ((entry & 3) != 3)
			return UINT64_MAX;
		ck_assert_int_eq(!!(entry & 0x80), shift == 21);
	}
	ck_assert_uint_eq(entry & 0x1fffff, 0x83);
	return (entry & ~0x1fffffull) | (va & 0x1fffff);
}

START_TEST(gdt_and_page_tables)
{
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux);
	static const uint64_t va[] = { 0,          0x1234,     ENTRY,     0x3fffffff,
				       0x40000000, 0xdeadbeef, 0xffffffff };
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	for (unsigned i = 0; i < sizeof(va) / sizeof(va[0]); i++)
		ck_assert_uint_eq(translate(&t, va[i]), va[i]);
	ck_assert_uint_eq(translate(&t, 0x100000000), UINT64_MAX);
	ck_assert_uint_eq(translate(&t, 0xffffffff81000000), UINT64_MAX);
	/* selector 0x10: 64-bit code (L, not D); 0x18: data, flat and writable */
	ck_assert_uint_eq(guest_u64(&t, BOOT_GDT_ADDR), 0);
	ck_assert_uint_eq(guest_u64(&t, BOOT_GDT_ADDR + 0x10), 0x00af9b000000ffff);
	ck_assert_uint_eq(guest_u64(&t, BOOT_GDT_ADDR + 0x18), 0x00cf93000000ffff);
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

START_TEST(initrd_high_and_aligned)
{
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux), rd = buf_pattern(100001, 13);
	const char *name = temp_file(rd);
	struct linux_boot_params bp;
	struct boot_test t;
	uint64_t at;

	boot_test_init(&t, 64 * MiB);
	t.rq.initrd = name;
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	bp = boot_params(&t);
	at = le32_to_cpu(bp.hdr.ramdisk_image);
	ck_assert_uint_eq(at, (64 * MiB - rd.len) & ~0xfffull);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.ramdisk_size), rd.len);
	guest_has(&t, at, rd.p, rd.len);

	/* initrd_addr_max is the last byte it may use */
	setup_header(img)->initrd_addr_max = cpu_to_le32(0x1ffffff);
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	bp = boot_params(&t);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.ramdisk_image), (32 * MiB - rd.len) & ~0xfffull);

	/* in the way of the kernel's data: next place below it, above its text */
	setup_header(img)->initrd_addr_max = cpu_to_le32(DATA_ADDR + 0xffff);
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	bp = boot_params(&t);
	at = le32_to_cpu(bp.hdr.ramdisk_image);
	ck_assert_uint_eq(at, (DATA_ADDR - rd.len) & ~0xfffull);
	guest_has(&t, at, rd.p, rd.len);
	check_kernel_in_memory(&t);
	boot_test_fini(&t);
	unlink(name);
	free(img.p);
	free(rd.p);
}
END_TEST

/* With 5 GiB the ramdisk stays below 2 GiB, and the map has the RAM above 4 GiB. */
START_TEST(much_ram)
{
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux), rd = buf_pattern(5000, 14);
	const char *name = temp_file(rd);
	struct linux_boot_params bp;
	struct boot_test t;

	boot_test_init(&t, 5120 * MiB);
	t.rq.initrd = name;
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	bp = boot_params(&t);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.ramdisk_image), 0x80000000 - 8192);
	ck_assert_uint_eq(bp.e820_entries, 4);
	ck_assert_uint_eq(le64_to_cpu(bp.e820_table[2].addr), 0x100000);
	ck_assert_uint_eq(le64_to_cpu(bp.e820_table[2].size), 0xc0000000 - 0x100000);
	ck_assert_uint_eq(le64_to_cpu(bp.e820_table[3].addr), 0x100000000);
	ck_assert_uint_eq(le64_to_cpu(bp.e820_table[3].size), 2048 * MiB);
	ck_assert_uint_eq(le32_to_cpu(bp.e820_table[3].type), E820_RAM);
	boot_test_fini(&t);
	unlink(name);
	free(img.p);
	free(rd.p);
}
END_TEST

START_TEST(e820_maps)
{
	static const struct {
		uint64_t ram;
		unsigned n;
		struct e820_entry e[4];
	} maps[] = {
		{ 0x80000, 1, { { 0, 0x80000, E820_RAM } } },
		{ MiB, 2, { { 0, 0x9fc00, E820_RAM }, { 0x9fc00, 0x60400, E820_RESERVED } } },
		{ 128 * MiB,
		  3,
		  { { 0, 0x9fc00, E820_RAM },
		    { 0x9fc00, 0x60400, E820_RESERVED },
		    { MiB, 127 * MiB, E820_RAM } } },
		{ 3072 * MiB,
		  3,
		  { { 0, 0x9fc00, E820_RAM },
		    { 0x9fc00, 0x60400, E820_RESERVED },
		    { MiB, 3071 * MiB, E820_RAM } } },
		{ 3072 * MiB + 4096,
		  4,
		  { { 0, 0x9fc00, E820_RAM },
		    { 0x9fc00, 0x60400, E820_RESERVED },
		    { MiB, 3071 * MiB, E820_RAM },
		    { 4096 * MiB, 4096, E820_RAM } } },
	};

	for (unsigned m = 0; m < sizeof(maps) / sizeof(maps[0]); m++) {
		struct boot_test t;

		boot_test_init(&t, maps[m].ram);
		ck_assert_uint_eq(t.rq.n_e820, maps[m].n);
		for (unsigned i = 0; i < maps[m].n; i++) {
			ck_assert_uint_eq(t.rq.e820[i].addr, maps[m].e[i].addr);
			ck_assert_uint_eq(t.rq.e820[i].size, maps[m].e[i].size);
			ck_assert_uint_eq(t.rq.e820[i].type, maps[m].e[i].type);
		}
		boot_test_fini(&t);
	}
}
END_TEST

START_TEST(command_line_limit)
{
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux);
	struct boot_test t;
	char line[2050];

	boot_test_init(&t, 64 * MiB);
	memset(line, 'x', sizeof(line));
	line[2047] = '\0';
	t.rq.append = line;
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	guest_has(&t, BOOT_CMDLINE_ADDR, line, 2048);
	line[2047] = 'x';
	line[2048] = '\0';
	boot_test_fails(&t, img, ERR_USAGE, "2048 bytes long, this kernel takes 2047");
	/* what is added counts, and is named */
	line[2040] = '\0';
	t.rq.linux_extra = "noxsave";
	boot_test_fails(&t, img, ERR_USAGE, "noxsave");
	ck_assert_ptr_nonnull(strstr(t.e.msg, "-append"));
	/* a header that promises the moon gets no more than there is room */
	setup_header(img)->cmdline_size = cpu_to_le32(0xffffffff);
	t.rq.linux_extra = NULL;
	t.rq.append = memset(malloc(BOOT_CMDLINE_MAX + 1), 'y', BOOT_CMDLINE_MAX);
	((char *)t.rq.append)[BOOT_CMDLINE_MAX] = '\0';
	boot_test_fails(&t, img, ERR_USAGE, "takes 65535");
	((char *)t.rq.append)[BOOT_CMDLINE_MAX - 1] = '\0';
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	guest_has(&t, BOOT_CMDLINE_ADDR, t.rq.append, BOOT_CMDLINE_MAX);
	free((char *)t.rq.append);
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

/* Headers of older protocols end earlier, and setup_sects may be 0 for 4. */
START_TEST(old_headers)
{
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux);
	struct linux_setup_header *h = setup_header(img);
	struct linux_boot_params bp;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	h->version = cpu_to_le16(0x208);
	h->jump[1] = 0x250 - 0x202;
	memset(img.p + 0x250, 0xee, 0x300 - 0x250);
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	bp = boot_params(&t);
	ck_assert_uint_eq(le64_to_cpu(bp.hdr.pref_address), 0);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.kernel_info_offset), 0);
	guest_has_zeros(&t, BOOT_INFO_ADDR + 0x250, 0x2d0 - 0x250);

	/* one that claims to be longer than any: what follows stays zero */
	h->jump[1] = 0x7f;
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	guest_has_zeros(&t, BOOT_INFO_ADDR + 0x26c, 0x2d0 - 0x26c);

	h->setup_sects = 0;
	h->payload_offset = cpu_to_le32(PAYLOAD_OFFSET - (4 - SETUP_SECTS) * 512);
	ck_assert_msg(!boot_test_load(&t, img), "%s", t.e.msg);
	check_kernel_in_memory(&t);
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

START_TEST(cut_short_anywhere)
{
	struct buf img = make_bzimage_of(COMPRESS_GZIP, vmlinux);
	size_t payload_end = img.len - 32;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	for (size_t len = 1; len < payload_end; len += len < 0x700 ? 1 : payload_end / 300) {
		int ret = boot_test_load(&t, (struct buf){ img.p, len });

		ck_assert_msg(ret < 0, "loads with %zu bytes", len);
		ck_assert_int_eq(t.e.status, ERR_INPUT);
		if (len > 0x206)
			ck_assert_msg(strstr(t.e.msg, "cut short") != NULL, "%zu: %s", len,
				      t.e.msg);
	}
	ck_assert_int_eq(boot_test_load(&t, (struct buf){ img.p, payload_end }), 0);
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

START_TEST(corrupt_payload)
{
	enum compression c = all[_i + 1];
	struct buf payload = make_payload(c, vmlinux), img;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	/* legacy lz4 has no checksum, and lzma next to none: spoil what they must notice */
	if (c == COMPRESS_LZ4)
		memset(payload.p + 4, 0xff, 4);
	else if (c == COMPRESS_LZMA)
		memset(payload.p + payload.len / 2, 0, payload.len / 2 - 4);
	else
		payload.p[payload.len / 2] ^= 0x40;
	img = make_bzimage(payload);
	boot_test_fails(&t, img, ERR_INPUT, compression_name(c));
	ck_assert_ptr_nonnull(strstr(t.e.msg, "damaged"));
	ck_assert_ptr_nonnull(strstr(t.e.msg, "-kernel KERNEL"));
	boot_test_fini(&t);
	free(img.p);
	free(payload.p);
}
END_TEST

/* Every single byte of header and payload start changed, in turn: nothing must crash. */
START_TEST(corrupt_header)
{
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux);
	size_t elf = (SETUP_SECTS + 1) * 512 + PAYLOAD_OFFSET;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	t.rq.ram_is_zero = false;
	for (size_t at = 0x1f0; at < elf + 0x100; at++) {
		if (at == 0x270)
			at = elf;
		for (unsigned bit = 0; bit < 8; bit++) {
			img.p[at] ^= 1 << bit;
			if (boot_test_load(&t, img))
				ck_assert_str_ne(t.e.msg, "");
			img.p[at] ^= 1 << bit;
		}
	}
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

START_TEST(larger_than_ram)
{
	struct test_segment seg = { PT_LOAD, 0, TEXT_ADDR, 100 * MiB, text.p, text.len };
	struct buf elf = make_elf64(&seg, 1, ENTRY), img = make_bzimage_of(COMPRESS_XZ, elf);
	struct buf zeros = buf_new(200 * MiB), bomb;
	struct boot_test t;

	/* in memory */
	boot_test_init(&t, 64 * MiB);
	boot_test_fails(&t, img, ERR_INPUT, "needs memory up to 116 MiB");
	ck_assert_ptr_nonnull(strstr(t.e.msg, "the guest has 64 MiB"));
	ck_assert_ptr_nonnull(strstr(t.e.hint, "-m 128M"));
	free(img.p);

	/* and already when unpacked */
	bomb = make_bzimage_of(COMPRESS_GZIP, zeros);
	boot_test_fails(&t, bomb, ERR_INPUT, "needs more than 200 MiB, the guest has 64 MiB");
	ck_assert_ptr_nonnull(strstr(t.e.hint, "-m 256M"));
	boot_test_fini(&t);
	free(bomb.p);
	free(zeros.p);
	free(elf.p);

	/* too little for anything */
	img = make_bzimage_of(COMPRESS_NONE, vmlinux);
	boot_test_init(&t, 512 * 1024);
	boot_test_fails(&t, img, ERR_INPUT, "the guest has 512 KiB");
	boot_test_fini(&t);
	boot_test_init(&t, MiB);
	boot_test_fails(&t, img, ERR_INPUT, "1 MiB of memory, too little for any kernel");
	boot_test_fini(&t);
	free(img.p);
}
END_TEST

START_TEST(initrd_does_not_fit)
{
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux), rd = buf_pattern(20 * MiB, 15);
	const char *name = temp_file(rd);
	struct boot_test t;

	boot_test_init(&t, 32 * MiB);
	t.rq.initrd = name;
	boot_test_fails(&t, img, ERR_INPUT, "20 MiB do not fit");
	ck_assert_ptr_nonnull(strstr(t.e.msg, "-initrd"));
	ck_assert_ptr_nonnull(strstr(t.e.msg, "32 MiB"));
	ck_assert_ptr_nonnull(strstr(t.e.hint, "-m 64M"));
	boot_test_fini(&t);

	boot_test_init(&t, 64 * MiB);
	t.rq.initrd = name;
	setup_header(img)->initrd_addr_max = cpu_to_le32(0xffffff);
	boot_test_fails(&t, img, ERR_INPUT, "only below 16 MiB");
	setup_header(img)->initrd_addr_max = cpu_to_le32(0);
	boot_test_fails(&t, img, ERR_INPUT, "only below");
	setup_header(img)->initrd_addr_max = cpu_to_le32(0xffffffff);
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	t.rq.initrd = "/nonexistent/initrd";
	boot_test_fails(&t, img, ERR_INPUT, "-initrd /nonexistent/initrd: there is no such file");
	t.rq.initrd = "/";
	boot_test_fails(&t, img, ERR_INPUT, "-initrd /: it is a directory");
	boot_test_fini(&t);
	unlink(name);
	free(img.p);
	free(rd.p);
}
END_TEST

START_TEST(kernels_of_other_kinds)
{
	struct test_segment seg = { PT_LOAD, 0, TEXT_ADDR, text.len, text.p, text.len };
	struct buf img = make_bzimage_of(COMPRESS_NONE, vmlinux),
		   elf32 = make_elf32(&seg, 1, ENTRY);
	struct linux_setup_header *h = setup_header(img);
	struct buf old32 = make_bzimage_of(COMPRESS_GZIP, elf32), junk = buf_pattern(5000, 16);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	h->xloadflags = cpu_to_le16(0);
	boot_test_fails(&t, img, ERR_INPUT, "32-bit Linux kernel (boot protocol 2.15)");
	ck_assert_ptr_nonnull(strstr(t.e.hint, "64-bit Linux bzImage"));
	/* before 2.12 the flag does not exist; the file inside decides */
	h->version = cpu_to_le16(0x20b);
	ck_assert_int_eq(boot_test_load(&t, img), 0);
	setup_header(old32)->version = cpu_to_le16(0x20b);
	boot_test_fails(&t, old32, ERR_INPUT, "32-bit Linux kernel");
	h->version = cpu_to_le16(0x207);
	boot_test_fails(&t, img, ERR_INPUT, "boot protocol 2.07, older than Linux 2.6.26");
	h->version = cpu_to_le16(0x20f);
	h->loadflags = 0;
	boot_test_fails(&t, img, ERR_INPUT, "zImage");
	free(img.p);

	img = make_bzimage(junk);
	boot_test_fails(&t, img, ERR_INPUT, "of no known compression");
	setup_header(img)->payload_length = cpu_to_le32(3);
	boot_test_fails(&t, img, ERR_INPUT, "damaged: its kernel has 3 bytes");
	setup_header(img)->payload_length = cpu_to_le32(0xffffffff);
	boot_test_fails(&t, img, ERR_INPUT, "cut short");
	setup_header(img)->payload_offset = cpu_to_le32(0xffffffff);
	boot_test_fails(&t, img, ERR_INPUT, "cut short");
	memcpy(junk.p, "\x89LZO\0\r\n\x1a\n", 9);
	free(img.p);
	img = make_bzimage(junk);
	boot_test_fails(&t, img, ERR_INPUT, "lzo data cannot be unpacked");
	free(img.p);
	img = make_bzimage_of(COMPRESS_GZIP, junk);
	boot_test_fails(&t, img, ERR_INPUT, "does not have an ELF file inside");
	boot_test_fini(&t);
	free(img.p);
	free(junk.p);
	free(elf32.p);
	free(old32.p);
}
END_TEST

/* A kernel may be linked anywhere, but not over what the loader itself needs. */
START_TEST(vmlinux_in_bad_places)
{
	struct buf elf = { malloc(vmlinux.len), vmlinux.len }, img;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	memcpy(elf.p, vmlinux.p, vmlinux.len);
	phdr64(elf, 0)->p_paddr = 0x9000;
	img = make_bzimage(elf);
	boot_test_fails(&t, img, ERR_INPUT, "taken by boot data");
	free(img.p);
	phdr64(elf, 0)->p_paddr = DATA_ADDR + 100;
	img = make_bzimage(elf);
	boot_test_fails(&t, img, ERR_INPUT, "overlaps");
	free(img.p);
	phdr64(elf, 0)->p_paddr = 0x2000000;
	phdr64(elf, 0)->p_vaddr = 0x2000000;
	img = make_bzimage(elf);
	boot_test_fails(&t, img, ERR_INPUT, "entry point 0x1000040");
	boot_test_fini(&t);
	free(img.p);
	free(elf.p);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("linux");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, every_compression, 0, N_ALL);
	tcase_add_test(tc, again_over_dirty_ram);
	tcase_add_test(tc, fresh_ram_stays_untouched);
	tcase_add_test(tc, boot_params_fields);
	tcase_add_test(tc, gdt_and_page_tables);
	tcase_add_test(tc, initrd_high_and_aligned);
	tcase_add_test(tc, much_ram);
	tcase_add_test(tc, e820_maps);
	tcase_add_test(tc, command_line_limit);
	tcase_add_test(tc, old_headers);
	tcase_add_test(tc, cut_short_anywhere);
	tcase_add_loop_test(tc, corrupt_payload, 0, N_ALL - 1);
	tcase_add_test(tc, corrupt_header);
	tcase_add_test(tc, larger_than_ram);
	tcase_add_test(tc, initrd_does_not_fit);
	tcase_add_test(tc, kernels_of_other_kinds);
	tcase_add_test(tc, vmlinux_in_bad_places);
	return run_case("boot: Linux bzImage", tc);
}
