/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels: PVH, 64-bit entry, compressed as a whole; and damaged ones. */
#include "boot_images.h"

#define LOAD_ADDR 0x200000ull
#define LEN 100000
#define MEM 300000
#define ENTRY (LOAD_ADDR + 0x123)
#define ELF_LIMIT 64 /* loadable segments */

static struct buf text;

static void setup(void)
{
	text = buf_pattern(LEN, 21);
}

static void teardown(void)
{
	free(text.p);
}

static struct test_segment text_segment(void)
{
	return (struct test_segment){ PT_LOAD, LOAD_ADDR, LOAD_ADDR, MEM, text.p, text.len };
}

static struct buf plain_elf(void)
{
	struct test_segment seg = text_segment();

	return make_elf64(&seg, 1, ENTRY);
}

/* PVH note of desc_len bytes at the end of other notes. */
static struct buf pvh_elf(uint64_t entry, uint32_t desc_len, const char *first_owner, bool is64)
{
	struct buf notes = buf_new(0), elf;
	struct le64 desc = cpu_to_le64(entry);
	struct test_segment seg[2];

	add_note(&notes, first_owner, 257, "odd", 3);
	add_note(&notes, "Xen", 6, "linux", 6);
	add_note(&notes, "Xem", PVH_NOTE_PHYS32_ENTRY, "\1\1\1\1", 4);
	/* an owner that only begins with "Xen" and a NUL */
	add_note(&notes, "Xen+abc", PVH_NOTE_PHYS32_ENTRY, "\2\2\2\2", 4);
	notes.p[notes.len - 9] = '\0';
	add_note(&notes, "Xen", PVH_NOTE_PHYS32_ENTRY, &desc, desc_len);
	seg[0] = text_segment();
	seg[1] = (struct test_segment){ PT_NOTE, 0, 0, notes.len, notes.p, notes.len };
	elf = is64 ? make_elf64(seg, 2, ENTRY) : make_elf32(seg, 2, ENTRY);
	free(notes.p);
	return elf;
}

static void check_text(struct boot_test *t)
{
	guest_has(t, LOAD_ADDR, text.p, text.len);
	guest_has_zeros(t, LOAD_ADDR + LEN, MEM - LEN);
}

START_TEST(pvh_entry)
{
	static const struct {
		uint32_t desc_len;
		bool is64;
	} v[] = { { 4, true }, { 8, true }, { 4, false } };
	struct buf elf = pvh_elf(LOAD_ADDR + 0x850, v[_i].desc_len, "GNU", v[_i].is64);
	struct buf rd = buf_pattern(12345, 22);
	const char *name = temp_file(rd);
	struct pvh_memmap_entry map[4];
	struct pvh_start_info si;
	struct pvh_module mod;
	struct boot_test t;

	boot_test_init(&t, 3200 * MiB);
	t.rq.initrd = name;
	t.rq.append = "debug";
	t.rq.linux_extra = "noxsave";
	ck_assert_msg(!boot_test_load(&t, elf), "%s", t.e.msg);
	check_text(&t);
	ck_assert_str_eq(t.out.format, "ELF with PVH note");
	ck_assert(!t.out.is_linux);
	ck_assert_int_eq(t.out.mode, BOOT_PROT32);
	ck_assert_uint_eq(t.out.rip, LOAD_ADDR + 0x850);
	ck_assert_uint_eq(t.out.rbx, BOOT_INFO_ADDR);
	/* flat 32-bit descriptors */
	ck_assert_uint_eq(guest_u64(&t, BOOT_GDT_ADDR + 0x10), 0x00cf9b000000ffff);
	ck_assert_uint_eq(guest_u64(&t, BOOT_GDT_ADDR + 0x18), 0x00cf93000000ffff);

	memcpy(&si, guest(&t, t.out.rbx, sizeof(si)), sizeof(si));
	ck_assert_uint_eq(le32_to_cpu(si.magic), 0x336ec578);
	ck_assert_uint_eq(le32_to_cpu(si.version), 1);
	ck_assert_uint_eq(le64_to_cpu(si.rsdp_paddr), BOOT_ACPI_ADDR);
	/* not Linux: nothing is added to the command line */
	guest_has(&t, le64_to_cpu(si.cmdline_paddr), "debug", 6);

	ck_assert_uint_eq(le32_to_cpu(si.nr_modules), 1);
	memcpy(&mod, guest(&t, le64_to_cpu(si.modlist_paddr), sizeof(mod)), sizeof(mod));
	ck_assert_uint_eq(le64_to_cpu(mod.size), rd.len);
	ck_assert_uint_eq(le64_to_cpu(mod.paddr) & 0xfff, 0);
	guest_has(&t, le64_to_cpu(mod.paddr), rd.p, rd.len);

	ck_assert_uint_eq(le32_to_cpu(si.memmap_entries), 4);
	memcpy(map, guest(&t, le64_to_cpu(si.memmap_paddr), sizeof(map)), sizeof(map));
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(le64_to_cpu(map[i].addr), t.rq.e820[i].addr);
		ck_assert_uint_eq(le64_to_cpu(map[i].size), t.rq.e820[i].size);
		ck_assert_uint_eq(le32_to_cpu(map[i].type), t.rq.e820[i].type);
	}
	boot_test_fini(&t);
	unlink(name);
	free(elf.p);
	free(rd.p);
}
END_TEST

START_TEST(pvh_linux)
{
	struct buf elf = pvh_elf(LOAD_ADDR, 8, "Linux", true);
	struct pvh_start_info si;
	struct boot_test t;
	char line[2049];

	boot_test_init(&t, 64 * MiB);
	t.rq.linux_extra = "noxsave";
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	ck_assert(t.out.is_linux);
	guest_has(&t, BOOT_CMDLINE_ADDR, "noxsave", 8);
	memcpy(&si, guest(&t, t.out.rbx, sizeof(si)), sizeof(si));
	ck_assert_uint_eq(le32_to_cpu(si.nr_modules), 0);
	ck_assert_uint_eq(le64_to_cpu(si.modlist_paddr), 0);
	/* Linux would cut it off silently */
	memset(line, 'x', 2048);
	line[2048] = '\0';
	t.rq.append = line;
	boot_test_fails(&t, elf, ERR_USAGE, "takes 2047");
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

START_TEST(pvh_note_odd)
{
	struct buf elf = pvh_elf(LOAD_ADDR, 8, "GNU", true);
	struct boot_test t;
	uint8_t *note;

	boot_test_init(&t, 64 * MiB);
	/* entry outside */
	note = elf.p + phdr64(elf, 1)->p_offset + phdr64(elf, 1)->p_filesz - 8;
	memcpy(note, "\0\0\0\0\1\0\0\0", 8);
	boot_test_fails(&t, elf, ERR_INPUT, "PVH entry point 0x100000000");
	free(elf.p);

	/* A description of another size is no entry point: the ELF entry is used. */
	elf = pvh_elf(LOAD_ADDR, 2, "GNU", true);
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	ck_assert_int_eq(t.out.mode, BOOT_LONG64);
	free(elf.p);

	/* Sizes that reach beyond the segment, or wrap: the notes end there. */
	static const uint32_t bad[] = { 0xffffffff, 0xfffffff0, 0x7fffffff, 0x100 };

	for (unsigned i = 0; i < 4; i++) {
		for (unsigned field = 0; field < 2; field++) {
			struct le32 v = cpu_to_le32(bad[i]);

			elf = pvh_elf(LOAD_ADDR, 4, "GNU", true);
			memcpy(elf.p + phdr64(elf, 1)->p_offset + field * 4, &v, 4);
			ck_assert_int_eq(boot_test_load(&t, elf), 0);
			ck_assert_int_eq(t.out.mode, BOOT_LONG64);
			free(elf.p);
		}
	}
	/* and note segments cut at each byte, the file's last */
	elf = pvh_elf(LOAD_ADDR, 4, "GNU", true);
	for (uint64_t n = phdr64(elf, 1)->p_filesz; n--;) {
		phdr64(elf, 1)->p_filesz = n;
		elf.len--;
		ck_assert_int_eq(boot_test_load(&t, elf), 0);
		ck_assert_int_eq(t.out.mode, BOOT_LONG64);
	}
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

START_TEST(plain_64_bit)
{
	struct buf elf = plain_elf(), rd = buf_pattern(777, 23);
	const char *name = temp_file(rd);
	struct linux_boot_params bp;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	t.rq.initrd = name;
	t.rq.append = "one two";
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	check_text(&t);
	ck_assert_str_eq(t.out.format, "64-bit ELF");
	ck_assert(!t.out.is_linux);
	ck_assert_int_eq(t.out.mode, BOOT_LONG64);
	ck_assert_uint_eq(t.out.rip, ENTRY);
	ck_assert_uint_eq(t.out.rsi, BOOT_INFO_ADDR);
	memcpy(&bp, guest(&t, t.out.rsi, sizeof(bp)), sizeof(bp));
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.header), 0x53726448);
	ck_assert_uint_eq(le16_to_cpu(bp.hdr.boot_flag), 0xaa55);
	ck_assert_uint_eq(bp.e820_entries, 3);
	guest_has(&t, le32_to_cpu(bp.hdr.ramdisk_image), rd.p, rd.len);
	ck_assert_uint_eq(le32_to_cpu(bp.hdr.ramdisk_size), rd.len);
	guest_has(&t, le32_to_cpu(bp.hdr.cmd_line_ptr), "one two", 8);
	boot_test_fini(&t);
	unlink(name);
	free(elf.p);
	free(rd.p);
}
END_TEST

/* An entry given as a virtual address of a kernel linked high. */
START_TEST(virtual_entry)
{
	struct test_segment seg = { PT_LOAD, 0xffffffff80200000, LOAD_ADDR, MEM, text.p, text.len };
	struct buf elf = make_elf64(&seg, 1, 0xffffffff80200123);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	ck_assert_uint_eq(t.out.rip, ENTRY);
	free(elf.p);
	/* An address that could be either is virtual. */
	seg.vaddr = LOAD_ADDR - 4096;
	elf = make_elf64(&seg, 1, LOAD_ADDR + 16);
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	ck_assert_uint_eq(t.out.rip, LOAD_ADDR + 4096 + 16);
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

START_TEST(linux_by_its_banner)
{
	struct boot_test t;
	struct buf elf;

	memcpy(text.p + 5000, "Linux version 6.1.0", 19);
	elf = plain_elf();
	boot_test_init(&t, 64 * MiB);
	t.rq.linux_extra = "noxsave";
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	ck_assert(t.out.is_linux);
	ck_assert_str_eq(t.out.format, "Linux vmlinux");
	guest_has(&t, BOOT_CMDLINE_ADDR, "noxsave", 8);
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

START_TEST(compressed_as_a_whole)
{
	static const enum compression c[] = { COMPRESS_GZIP, COMPRESS_XZ, COMPRESS_ZSTD };
	struct buf elf = plain_elf(), packed = pack(c[_i], elf), junk = buf_pattern(50000, 24),
		   twice;
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	ck_assert_msg(!boot_test_load(&t, packed), "%s", t.e.msg);
	check_text(&t);
	ck_assert_uint_eq(t.out.rip, ENTRY);
	/* but only once */
	twice = pack(c[_i], packed);
	boot_test_fails(&t, twice, ERR_INPUT, "compressed twice");
	packed.len /= 2;
	boot_test_fails(&t, packed, ERR_INPUT, "cut short");
	free(packed.p);
	packed = pack(c[_i], junk);
	boot_test_fails(&t, packed, ERR_INPUT, "unpacked from");
	ck_assert_ptr_nonnull(strstr(t.e.msg, "no known format"));
	free(packed.p);
	memcpy(junk.p, "070701", 6);
	packed = pack(c[_i], junk);
	boot_test_fails(&t, packed, ERR_INPUT, "a cpio archive");
	free(packed.p);
	junk.len = 0;
	packed = pack(c[_i], junk);
	if (packed.len >= 16)
		boot_test_fails(&t, packed, ERR_INPUT, "an empty file");
	boot_test_fini(&t);
	free(packed.p);
	free(twice.p);
	free(junk.p);
	free(elf.p);
}
END_TEST

START_TEST(compressed_bomb)
{
	struct buf zeros = buf_new(100 * MiB), packed = pack(COMPRESS_GZIP, zeros);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	boot_test_fails(&t, packed, ERR_INPUT, "unpacks to more than the guest's 64 MiB");
	boot_test_fini(&t);
	free(packed.p);
	free(zeros.p);
}
END_TEST

static Elf64_Ehdr *ehdr(struct buf b)
{
	return (Elf64_Ehdr *)(void *)b.p;
}

#define FAILS(change, text)                                                                        \
	do {                                                                                       \
		elf = plain_elf();                                                                 \
		change;                                                                            \
		boot_test_fails(&t, elf, ERR_INPUT, text);                                         \
		free(elf.p);                                                                       \
	} while (0)

START_TEST(bad_headers)
{
	struct boot_test t;
	struct buf elf;

	boot_test_init(&t, 64 * MiB);
	FAILS(ehdr(elf)->e_machine = EM_AARCH64, "ELF file for AArch64");
	FAILS(ehdr(elf)->e_machine = EM_RISCV, "ELF file for RISC-V");
	FAILS(ehdr(elf)->e_machine = 0xfff0, "ELF file for another machine");
	FAILS(ehdr(elf)->e_ident[EI_DATA] = ELFDATA2MSB, "big-endian");
	FAILS(ehdr(elf)->e_ident[EI_CLASS] = 7, "damaged");
	FAILS(ehdr(elf)->e_type = ET_REL, "object file");
	FAILS(ehdr(elf)->e_type = ET_CORE, "core dump");
	FAILS(ehdr(elf)->e_type = 99, "unknown type");
	FAILS(ehdr(elf)->e_phnum = 0, "no program headers");
	FAILS(ehdr(elf)->e_phnum = 0xffff, "65535 program headers");
	FAILS(ehdr(elf)->e_phentsize = 55, "program headers of 55 bytes");
	FAILS(ehdr(elf)->e_phoff = elf.len, "cut short");
	FAILS(ehdr(elf)->e_phoff = UINT64_MAX, "cut short");
	FAILS(ehdr(elf)->e_phoff = UINT64_MAX - 55, "cut short");
	FAILS(ehdr(elf)->e_entry = LOAD_ADDR + MEM, "entry point");
	FAILS(ehdr(elf)->e_entry = LOAD_ADDR - 1, "entry point");
	FAILS(ehdr(elf)->e_entry = 0, "entry point");
	boot_test_fini(&t);
}
END_TEST

START_TEST(bad_segments)
{
	struct boot_test t;
	struct buf elf;

	boot_test_init(&t, 64 * MiB);
	FAILS(phdr64(elf, 0)->p_type = PT_NULL, "no segment to load");
	FAILS(phdr64(elf, 0)->p_type = PT_INTERP, "dynamically linked");
	FAILS(phdr64(elf, 0)->p_memsz = 0, "no segment to load");
	FAILS(phdr64(elf, 0)->p_filesz++, "cut short");
	FAILS(phdr64(elf, 0)->p_filesz = UINT64_MAX, "cut short");
	FAILS(phdr64(elf, 0)->p_offset = UINT64_MAX - 10, "cut short");
	FAILS(phdr64(elf, 0)->p_memsz = LEN - 1, "damaged");
	FAILS(phdr64(elf, 0)->p_paddr = UINT64_MAX - LEN, "wraps round");
	FAILS(phdr64(elf, 0)->p_memsz = UINT64_MAX - 5, "wraps round");
	FAILS(phdr64(elf, 0)->p_paddr = 0, "taken by boot data");
	FAILS(phdr64(elf, 0)->p_paddr = BOOT_CMDLINE_ADDR + BOOT_CMDLINE_MAX - 1,
	      "taken by boot data");
	FAILS(phdr64(elf, 0)->p_paddr = 0x90000, "not RAM");
	FAILS(phdr64(elf, 0)->p_paddr = 0x100000 - 4096, "not RAM");
	FAILS(phdr64(elf, 0)->p_paddr = 64 * MiB - MEM + 1, "memory up to");
	FAILS(phdr64(elf, 0)->p_paddr = 0xbfffffff, "first 3 GiB");
	FAILS(phdr64(elf, 0)->p_paddr = 0xc0000000, "first 3 GiB");
	FAILS(phdr64(elf, 0)->p_paddr = 0x100000000, "first 3 GiB");
	FAILS(phdr64(elf, 0)->p_memsz = 0x700000000, "first 3 GiB");
	/* the last place where it fits, and room between boot data and EBDA */
	elf = plain_elf();
	phdr64(elf, 0)->p_paddr = 64 * MiB - MEM;
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	guest_has(&t, 64 * MiB - MEM, text.p, text.len);
	phdr64(elf, 0)->p_memsz = LEN;
	phdr64(elf, 0)->p_paddr = BOOT_CMDLINE_ADDR + BOOT_CMDLINE_MAX;
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

START_TEST(too_many_segments)
{
	static struct test_segment seg[ELF_LIMIT + 1];
	struct boot_test t;
	struct buf elf;

	boot_test_init(&t, 64 * MiB);
	for (unsigned i = 0; i < ELF_LIMIT + 1; i++)
		seg[i] = (struct test_segment){
			PT_LOAD, LOAD_ADDR + i * 8192, LOAD_ADDR + i * 8192, 8192, text.p, 100
		};
	elf = make_elf64(seg, ELF_LIMIT, LOAD_ADDR);
	ck_assert_int_eq(boot_test_load(&t, elf), 0);
	guest_has(&t, LOAD_ADDR + (ELF_LIMIT - 1) * 8192, text.p, 100);
	free(elf.p);
	elf = make_elf64(seg, ELF_LIMIT + 1, LOAD_ADDR);
	boot_test_fails(&t, elf, ERR_INPUT, "more than 64 segments");
	free(elf.p);
	/* byte-exact neighbours are fine, one byte of overlap is not */
	seg[1].paddr--;
	elf = make_elf64(seg, 2, LOAD_ADDR);
	boot_test_fails(&t, elf, ERR_INPUT, "overlaps");
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

START_TEST(cut_short_anywhere)
{
	struct buf elf = pvh_elf(LOAD_ADDR, 8, "GNU", true);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	for (size_t len = 4; len < elf.len; len += len < 400 ? 1 : 997)
		boot_test_fails(&t, (struct buf){ elf.p, len }, ERR_INPUT, "cut short");
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

START_TEST(elf32_without_note)
{
	struct test_segment seg = text_segment();
	struct buf elf = make_elf32(&seg, 1, ENTRY);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	boot_test_fails(&t, elf, ERR_INPUT, "32-bit ELF file without Multiboot header or PVH note");
	/* the x32 ABI */
	((Elf32_Ehdr *)(void *)elf.p)->e_machine = EM_X86_64;
	boot_test_fails(&t, elf, ERR_INPUT, "x32");
	boot_test_fini(&t);
	free(elf.p);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("elf");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, pvh_entry, 0, 3);
	tcase_add_test(tc, pvh_linux);
	tcase_add_test(tc, pvh_note_odd);
	tcase_add_test(tc, plain_64_bit);
	tcase_add_test(tc, virtual_entry);
	tcase_add_test(tc, linux_by_its_banner);
	tcase_add_loop_test(tc, compressed_as_a_whole, 0, 3);
	tcase_add_test(tc, compressed_bomb);
	tcase_add_test(tc, bad_headers);
	tcase_add_test(tc, bad_segments);
	tcase_add_test(tc, too_many_segments);
	tcase_add_test(tc, cut_short_anywhere);
	tcase_add_test(tc, elf32_without_note);
	return run_case("boot: ELF", tc);
}
