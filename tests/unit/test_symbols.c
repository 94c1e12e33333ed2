/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Symbol lookup in hand-made ELF files, right, cut short and corrupt ones. */
#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"
#include "report.h"

#define TEXT 0xffffffff81000000ull
#define PHYS 0x1000000ull

/* The file: header, one segment, four sections (null, .text, .symtab, .strtab), symbols, names. */
struct image64 {
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	Elf64_Shdr sh[4];
	Elf64_Sym sym[10];
	char names[128];
};

static struct image64 image;
static char dir[32];
static char path[64];
static unsigned n_files;
static char out[SYMBOL_MAX];

static uint32_t add_name(const char *name)
{
	static uint32_t used;
	uint32_t at;

	if (!image.names[1])
		used = 1;
	at = used;
	ck_assert_uint_lt(used + strlen(name) + 1, sizeof(image.names));
	strcpy(image.names + used, name);
	used += (uint32_t)strlen(name) + 1;
	return at;
}

static void set_symbol(unsigned i, const char *name, uint64_t addr, uint64_t size, unsigned type,
		       unsigned bind, uint16_t section)
{
	image.sym[i] = (Elf64_Sym){ .st_name = add_name(name),
				    .st_info = ELF64_ST_INFO(bind, type),
				    .st_shndx = section,
				    .st_value = addr,
				    .st_size = size };
}

static void build(void)
{
	memset(&image, 0, sizeof(image));
	memcpy(image.eh.e_ident, ELFMAG, SELFMAG);
	image.eh.e_ident[EI_CLASS] = ELFCLASS64;
	image.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	image.eh.e_type = ET_EXEC;
	image.eh.e_machine = EM_X86_64;
	image.eh.e_phoff = offsetof(struct image64, ph);
	image.eh.e_phentsize = sizeof(Elf64_Phdr);
	image.eh.e_phnum = 1;
	image.eh.e_shoff = offsetof(struct image64, sh);
	image.eh.e_shentsize = sizeof(Elf64_Shdr);
	image.eh.e_shnum = 4;
	image.ph = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_vaddr = TEXT, .p_paddr = PHYS, .p_memsz = 0x4000
	};
	image.sh[1] = (Elf64_Shdr){ .sh_type = SHT_PROGBITS,
				    .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
				    .sh_addr = TEXT,
				    .sh_size = 0x1000 };
	image.sh[2] = (Elf64_Shdr){ .sh_type = SHT_SYMTAB,
				    .sh_offset = offsetof(struct image64, sym),
				    .sh_size = sizeof(image.sym),
				    .sh_link = 3,
				    .sh_entsize = sizeof(Elf64_Sym) };
	image.sh[3] = (Elf64_Shdr){ .sh_type = SHT_STRTAB,
				    .sh_offset = offsetof(struct image64, names),
				    .sh_size = sizeof(image.names) };
	/* Not in order of address. */
	set_symbol(1, "second", TEXT + 0x100, 0x80, STT_FUNC, STB_GLOBAL, 1);
	set_symbol(2, "first", TEXT, 0x40, STT_FUNC, STB_GLOBAL, 1);
	set_symbol(3, "inner", TEXT + 0x110, 0x8, STT_NOTYPE, STB_LOCAL, 1);
	set_symbol(4, "label", TEXT + 0x200, 0, STT_NOTYPE, STB_LOCAL, 1);
	set_symbol(5, "same_global", TEXT + 0x300, 0x10, STT_FUNC, STB_GLOBAL, 1);
	set_symbol(6, "same_local", TEXT + 0x300, 0x10, STT_FUNC, STB_LOCAL, 1);
	set_symbol(7, "data", TEXT + 0x80, 0x20, STT_OBJECT, STB_GLOBAL, 1);
	set_symbol(8, "absolute", TEXT + 0x90, 0x20, STT_FUNC, STB_GLOBAL, SHN_ABS);
	set_symbol(9, "bad\x1bname", TEXT + 0x400, 0x10, STT_FUNC, STB_GLOBAL, 1);
}

/* Each file under a new name: a path is read once. */
static void save(const void *data, size_t len)
{
	int fd;

	if (path[0])
		unlink(path);
	snprintf(path, sizeof(path), "%s/%u", dir, n_files++);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static const char *at(uint64_t addr)
{
	bool found = symbol_lookup(path, addr, out, sizeof(out));

	ck_assert_int_eq(found, out[0] != '\0');
	return out;
}

static void setup(void)
{
	strcpy(dir, "/tmp/test_symbols.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	path[0] = '\0';
	build();
}

static void teardown(void)
{
	if (path[0])
		unlink(path);
	rmdir(dir);
}

START_TEST(nearest_function)
{
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT), "first+0x0/0x40");
	ck_assert_str_eq(at(TEXT + 0x3f), "first+0x3f/0x40");
	ck_assert_str_eq(at(TEXT + 0x40), ""); /* past its end */
	ck_assert_str_eq(at(TEXT - 1), "");
	ck_assert_str_eq(at(TEXT + 0x105), "second+0x5/0x80");
	ck_assert_str_eq(at(0), "");
	ck_assert_str_eq(at(~0ull), "");
}
END_TEST

START_TEST(nested_and_equal)
{
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT + 0x112), "inner+0x2/0x8");
	ck_assert_str_eq(at(TEXT + 0x118), "second+0x18/0x80"); /* after the inner one's end */
	ck_assert_str_eq(at(TEXT + 0x305), "same_global+0x5/0x10");
}
END_TEST

START_TEST(labels_reach_to_the_next)
{
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT + 0x2ff), "label+0xff");
	image.sh[1].sh_size = 0x280; /* ... but not past their section */
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT + 0x27f), "label+0x7f");
	ck_assert_str_eq(at(TEXT + 0x280), "");
}
END_TEST

START_TEST(only_code)
{
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT + 0x85), "");
	ck_assert_str_eq(at(TEXT + 0x95), "");
	image.sh[1].sh_flags = SHF_ALLOC;
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT), "");
}
END_TEST

START_TEST(physical_addresses)
{
	save(&image, sizeof(image));
	ck_assert_str_eq(at(PHYS + 0x101), "second+0x1/0x80");
	ck_assert_str_eq(at(PHYS + 0x4000 + 0x101), "");
	image.ph.p_memsz = 0x101;
	save(&image, sizeof(image));
	ck_assert_str_eq(at(PHYS + 0x100), "second+0x0/0x80");
	ck_assert_str_eq(at(PHYS + 0x101), "");
}
END_TEST

START_TEST(no_control_characters)
{
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT + 0x401), "bad?name+0x1/0x10");
}
END_TEST

START_TEST(narrow_output)
{
	char small[6];

	save(&image, sizeof(image));
	ck_assert(symbol_lookup(path, TEXT, small, sizeof(small)));
	ck_assert_str_eq(small, "first");
}
END_TEST

START_TEST(elf32)
{
	struct {
		Elf32_Ehdr eh;
		Elf32_Phdr ph;
		Elf32_Shdr sh[4];
		Elf32_Sym sym[2];
		char names[8];
	} i32 = { .names = "\0entry" };

	memcpy(i32.eh.e_ident, ELFMAG, SELFMAG);
	i32.eh.e_ident[EI_CLASS] = ELFCLASS32;
	i32.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	i32.eh.e_type = ET_EXEC;
	i32.eh.e_machine = EM_386;
	i32.eh.e_phoff = (uint32_t)((char *)&i32.ph - (char *)&i32);
	i32.eh.e_phentsize = sizeof(Elf32_Phdr);
	i32.eh.e_phnum = 1;
	i32.eh.e_shoff = (uint32_t)((char *)i32.sh - (char *)&i32);
	i32.eh.e_shentsize = sizeof(Elf32_Shdr);
	i32.eh.e_shnum = 4;
	i32.ph = (Elf32_Phdr){
		.p_type = PT_LOAD, .p_vaddr = 0xc0100000, .p_paddr = 0x100000, .p_memsz = 0x1000
	};
	i32.sh[1] = (Elf32_Shdr){ .sh_type = SHT_PROGBITS,
				  .sh_flags = SHF_EXECINSTR,
				  .sh_addr = 0xc0100000,
				  .sh_size = 0x1000 };
	i32.sh[2] = (Elf32_Shdr){ .sh_type = SHT_SYMTAB,
				  .sh_offset = (uint32_t)((char *)i32.sym - (char *)&i32),
				  .sh_size = sizeof(i32.sym),
				  .sh_link = 3,
				  .sh_entsize = sizeof(Elf32_Sym) };
	i32.sh[3] = (Elf32_Shdr){ .sh_type = SHT_STRTAB,
				  .sh_offset = (uint32_t)((char *)i32.names - (char *)&i32),
				  .sh_size = sizeof(i32.names) };
	i32.sym[1] = (Elf32_Sym){ .st_name = 1,
				  .st_info = ELF32_ST_INFO(STB_GLOBAL, STT_FUNC),
				  .st_shndx = 1,
				  .st_value = 0xc0100010,
				  .st_size = 0x20 };
	save(&i32, sizeof(i32));
	ck_assert_str_eq(at(0xc0100018), "entry+0x8/0x20");
	ck_assert_str_eq(at(0x100018), "entry+0x8/0x20");
}
END_TEST

START_TEST(not_an_elf)
{
	ck_assert(!symbol_lookup(NULL, TEXT, out, sizeof(out)));
	ck_assert_str_eq(out, "");
	ck_assert(!symbol_lookup("/nonexistent", TEXT, out, sizeof(out)));
	ck_assert(!symbol_lookup("/", TEXT, out, sizeof(out)));
	ck_assert(!symbol_lookup("/dev/zero", TEXT, out, sizeof(out)));
	save("MZ", 2);
	ck_assert_str_eq(at(TEXT), "");
	image.eh.e_machine = EM_AARCH64;
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT), "");
	if (path[0])
		unlink(path);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0); /* must not wait for a writer */
	ck_assert_str_eq(at(TEXT), "");
}
END_TEST

/* Cut short anywhere: no symbols, or the right ones. */
START_TEST(truncated)
{
	for (size_t len = 0; len < sizeof(image); len += 7) {
		save(&image, len);
		ck_assert_str_eq(at(TEXT + 0x105), "");
	}
}
END_TEST

/* Every byte of the headers and symbols set to extremes: only survival is asked for. */
START_TEST(corrupt)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct image64 good = image;

	for (size_t i = 0; i < offsetof(struct image64, names); i += i < 0x200 ? 1 : 5) {
		image = good;
		((uint8_t *)&image)[i] = values[i % sizeof(values)];
		save(&image, sizeof(image));
		symbol_lookup(path, TEXT + 0x105, out, sizeof(out));
		ck_assert_ptr_nonnull(memchr(out, '\0', sizeof(out)));
	}
	image = good;
	memset(image.names, 'x', sizeof(image.names)); /* no NUL at all */
	save(&image, sizeof(image));
	ck_assert_int_eq(at(TEXT)[0], 'x');
	image = good;
	image.eh.e_shoff = ~0ull - 8;
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT), "");
	image = good;
	image.sh[2].sh_link = 9;
	save(&image, sizeof(image));
	ck_assert_str_eq(at(TEXT), "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("symbols");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nearest_function);
	tcase_add_test(tc, nested_and_equal);
	tcase_add_test(tc, labels_reach_to_the_next);
	tcase_add_test(tc, only_code);
	tcase_add_test(tc, physical_addresses);
	tcase_add_test(tc, no_control_characters);
	tcase_add_test(tc, narrow_output);
	tcase_add_test(tc, elf32);
	tcase_add_test(tc, not_an_elf);
	tcase_add_test(tc, truncated);
	tcase_add_test(tc, corrupt);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
