/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiboot 1 kernels: by address fields and by ELF, modules, information; and wrong headers. */
#include "boot_images.h"

#define LOAD_ADDR 0x300000u
#define HEADER_AT 0x1000u /* in the file, which begins with something else */
#define LOAD_AT 0x800u
#define FILE_LEN 0x9003u
#define LOADED (FILE_LEN - LOAD_AT)
#define BSS_END (LOAD_ADDR + 0x40000u)
#define ENTRY (LOAD_ADDR + 0x900u)

static struct multiboot_header header(uint32_t flags)
{
	return (struct multiboot_header){
		.magic = cpu_to_le32(0x1badb002),
		.flags = cpu_to_le32(flags),
		.checksum = cpu_to_le32(-(0x1badb002 + flags)),
		.header_addr = cpu_to_le32(LOAD_ADDR + HEADER_AT - LOAD_AT),
		.load_addr = cpu_to_le32(LOAD_ADDR),
		.load_end_addr = cpu_to_le32(LOAD_ADDR + LOADED),
		.bss_end_addr = cpu_to_le32(BSS_END),
		.entry_addr = cpu_to_le32(ENTRY),
	};
}

static struct buf flat_kernel(struct multiboot_header h)
{
	struct buf b = buf_pattern(FILE_LEN, 31);

	memcpy(b.p + HEADER_AT, &h, sizeof(h));
	return b;
}

static struct multiboot_info info(struct boot_test *t)
{
	struct multiboot_info mbi;

	memcpy(&mbi, guest(t, t->out.rbx, sizeof(mbi)), sizeof(mbi));
	return mbi;
}

START_TEST(by_addresses)
{
	struct buf k = flat_kernel(header(0x10003));
	struct multiboot_mmap_entry map[4];
	struct multiboot_info mbi;
	struct boot_test t;

	boot_test_init(&t, 3200 * MiB);
	t.rq.append = "a=1 b";
	t.rq.linux_extra = "noxsave";
	ck_assert_msg(!boot_test_load(&t, k), "%s", t.e.msg);
	guest_has(&t, LOAD_ADDR, k.p + LOAD_AT, LOADED);
	guest_has_zeros(&t, LOAD_ADDR + LOADED, BSS_END - LOAD_ADDR - LOADED);
	ck_assert_str_eq(t.out.format, "Multiboot kernel");
	ck_assert(!t.out.is_linux);
	ck_assert_int_eq(t.out.mode, BOOT_PROT32);
	ck_assert_uint_eq(t.out.rip, ENTRY);
	ck_assert_uint_eq(t.out.rax, 0x2badb002);
	ck_assert_uint_eq(guest_u64(&t, BOOT_GDT_ADDR + 0x10), 0x00cf9b000000ffff);

	mbi = info(&t);
	/* memory, command line, modules, memory map, loader name: bits 0 2 3 6 9 */
	ck_assert_uint_eq(le32_to_cpu(mbi.flags), 0x24d);
	ck_assert_uint_eq(le32_to_cpu(mbi.mem_lower), 639);
	ck_assert_uint_eq(le32_to_cpu(mbi.mem_upper), 3071 * 1024);
	guest_has(&t, le32_to_cpu(mbi.cmdline), "KERNEL a=1 b", 13);
	guest_has(&t, le32_to_cpu(mbi.boot_loader_name), "Posada", 7);
	ck_assert_uint_eq(le32_to_cpu(mbi.mods_count), 0);
	ck_assert_uint_eq(le32_to_cpu(mbi.mmap_length), 4 * 24);
	memcpy(map, guest(&t, le32_to_cpu(mbi.mmap_addr), sizeof(map)), sizeof(map));
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(le32_to_cpu(map[i].size), 20);
		ck_assert_uint_eq(le64_to_cpu(map[i].addr), t.rq.e820[i].addr);
		ck_assert_uint_eq(le64_to_cpu(map[i].len), t.rq.e820[i].size);
		ck_assert_uint_eq(le32_to_cpu(map[i].type), t.rq.e820[i].type);
	}
	boot_test_fini(&t);
	free(k.p);
}
END_TEST

/* load_end_addr 0: to the end of the file; bss_end_addr 0: none. RAM is dirty. */
START_TEST(by_addresses_to_the_end)
{
	struct multiboot_header h = header(0x10000);
	struct boot_test t;
	struct buf k;

	h.load_end_addr = h.bss_end_addr = cpu_to_le32(0);
	k = flat_kernel(h);
	boot_test_init(&t, 64 * MiB);
	memset(t.mem.ram, 0xa5, t.mem.ram_size);
	t.rq.ram_is_zero = false;
	ck_assert_int_eq(boot_test_load(&t, k), 0);
	guest_has(&t, LOAD_ADDR, k.p + LOAD_AT, LOADED);
	guest_has(&t, LOAD_ADDR + LOADED, "\xa5", 1);
	free(k.p);

	h.bss_end_addr = cpu_to_le32(BSS_END);
	k = flat_kernel(h);
	ck_assert_int_eq(boot_test_load(&t, k), 0);
	guest_has_zeros(&t, LOAD_ADDR + LOADED, BSS_END - LOAD_ADDR - LOADED);
	guest_has(&t, BSS_END, "\xa5", 1);
	boot_test_fini(&t);
	free(k.p);
}
END_TEST

START_TEST(by_elf)
{
	struct multiboot_header h = header(0x3);
	struct buf text = buf_pattern(20000, 32), elf;
	struct test_segment seg = { PT_LOAD, 0xc0300000, LOAD_ADDR, 50000, text.p, text.len };
	struct boot_test t;

	memcpy(text.p + 64, &h, 12);
	boot_test_init(&t, 64 * MiB);
	for (unsigned is64 = 0; is64 < 2; is64++) {
		/* the entry as physical, then as virtual address */
		for (unsigned v = 0; v < 2; v++) {
			uint32_t entry = (v ? 0xc0300000 : LOAD_ADDR) + 0x500;

			elf = is64 ? make_elf64(&seg, 1, entry) : make_elf32(&seg, 1, entry);
			ck_assert_uint_eq((elf.len - text.len) % 4, 0); /* as the search goes */
			ck_assert_msg(!boot_test_load(&t, elf), "%s", t.e.msg);
			ck_assert_str_eq(t.out.format, "Multiboot kernel");
			ck_assert_uint_eq(t.out.rip, LOAD_ADDR + 0x500);
			ck_assert_int_eq(t.out.mode, BOOT_PROT32);
			guest_has(&t, LOAD_ADDR, text.p, text.len);
			free(elf.p);
		}
	}
	boot_test_fini(&t);
	free(text.p);
}
END_TEST

/* Within the first 8 KiB as a whole. */
START_TEST(header_position)
{
	struct multiboot_header h = header(0x10000);
	struct boot_test t;
	struct buf k;

	boot_test_init(&t, 64 * MiB);
	k = buf_new(20000);
	h.header_addr = cpu_to_le32(LOAD_ADDR + 8180);
	h.load_end_addr = cpu_to_le32(0);
	memcpy(k.p + 8180, &h, sizeof(h));
	ck_assert_int_eq(boot_test_load(&t, k), 0);
	memset(k.p, 0, k.len);
	h.header_addr = cpu_to_le32(LOAD_ADDR + 8184);
	memcpy(k.p + 8184, &h, sizeof(h));
	boot_test_fails(&t, k, ERR_INPUT, "checksum is wrong");
	boot_test_fini(&t);
	free(k.p);
}
END_TEST

START_TEST(modules)
{
	struct buf k = flat_kernel(header(0x10003)), a = buf_pattern(5000, 33),
		   b = buf_pattern(4096, 34);
	const char *name_a = temp_file(a), *name_b = temp_file(b);
	char text[300], first[100], comma_name[100];
	struct multiboot_module m[3];
	struct multiboot_info mbi;
	uint32_t start, end = 0;
	struct boot_test t;

	/* a name with a comma; arguments with blanks and a comma */
	snprintf(comma_name, sizeof(comma_name), "%s,x", name_b);
	ck_assert_int_eq(rename(name_b, comma_name), 0);
	snprintf(first, sizeof(first), "%s one two,three", name_a);
	snprintf(text, sizeof(text), "%s one two,,three,%s,,x,%s", name_a, name_b, name_a);

	boot_test_init(&t, 64 * MiB);
	t.rq.initrd = text;
	ck_assert_msg(!boot_test_load(&t, k), "%s", t.e.msg);
	mbi = info(&t);
	ck_assert_uint_eq(le32_to_cpu(mbi.mods_count), 3);
	memcpy(m, guest(&t, le32_to_cpu(mbi.mods_addr), sizeof(m)), sizeof(m));
	for (unsigned i = 0; i < 3; i++) {
		struct buf f = i == 1 ? b : a;

		start = le32_to_cpu(m[i].start);
		ck_assert_uint_eq(start % 4096, 0);
		ck_assert_uint_ge(start, i ? end : BSS_END);
		end = le32_to_cpu(m[i].end);
		ck_assert_uint_eq(end - start, f.len);
		guest_has(&t, start, f.p, f.len);
	}
	guest_has(&t, le32_to_cpu(m[0].string), first, strlen(first) + 1);
	guest_has(&t, le32_to_cpu(m[1].string), comma_name, strlen(comma_name) + 1);
	guest_has(&t, le32_to_cpu(m[2].string), name_a, strlen(name_a) + 1);
	boot_test_fini(&t);
	unlink(name_a);
	unlink(comma_name);
	free(k.p);
	free(a.p);
	free(b.p);
}
END_TEST

/* Of a kernel below 1 MiB: not squeezed in below the EBDA. */
START_TEST(modules_of_a_low_kernel)
{
	struct buf mod = buf_pattern(700000, 37), k;
	struct multiboot_header h = header(0x10003);
	const char *name = temp_file(mod);
	struct multiboot_module m;
	struct boot_test t;

	h.load_addr = cpu_to_le32(0x40000);
	h.header_addr = cpu_to_le32(0x40000 + HEADER_AT - LOAD_AT);
	h.load_end_addr = h.bss_end_addr = cpu_to_le32(0);
	h.entry_addr = cpu_to_le32(0x40000);
	k = flat_kernel(h);
	boot_test_init(&t, 64 * MiB);
	t.rq.initrd = name;
	ck_assert_msg(!boot_test_load(&t, k), "%s", t.e.msg);
	memcpy(&m, guest(&t, le32_to_cpu(info(&t).mods_addr), sizeof(m)), sizeof(m));
	ck_assert_uint_eq(le32_to_cpu(m.start), 0x100000);
	guest_has(&t, 0x100000, mod.p, mod.len);
	boot_test_fini(&t);
	unlink(name);
	free(mod.p);
	free(k.p);
}
END_TEST

START_TEST(bad_modules)
{
	struct buf k = flat_kernel(header(0x10003)), big = buf_pattern(62 * MiB, 35);
	struct buf small = buf_pattern(100, 36);
	const char *big_name = temp_file(big), *name = temp_file(small);
	char *text = malloc(40000);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	t.rq.initrd = big_name;
	boot_test_fails(&t, k, ERR_INPUT, "62 MiB do not fit");
	ck_assert_ptr_nonnull(strstr(t.e.hint, "-m 128M"));
	t.rq.initrd = "/nonexistent/module arg";
	boot_test_fails(&t, k, ERR_INPUT, "-initrd /nonexistent/module: there is no such file");
	snprintf(text, 40000, "%s,,,%s", name, name);
	t.rq.initrd = text;
	boot_test_fails(&t, k, ERR_INPUT, "no such file");
	snprintf(text, 40000, "%s a, %s", name, name);
	boot_test_fails(&t, k, ERR_USAGE, "no file name");
	snprintf(text, 40000, "%s,", name);
	boot_test_fails(&t, k, ERR_USAGE, "no file name");
	t.rq.initrd = "";
	boot_test_fails(&t, k, ERR_USAGE, "no file name");
	/* more text than there is room for */
	memset(text, 'x', 39999);
	text[39999] = '\0';
	memcpy(text, name, strlen(name));
	text[strlen(name)] = ' ';
	t.rq.initrd = text;
	boot_test_fails(&t, k, ERR_USAGE, "longer than");
	/* more modules than any kernel wants */
	text[0] = '\0';
	for (unsigned i = 0; i < 65; i++)
		sprintf(text + strlen(text), "%s%s", i ? "," : "", name);
	boot_test_fails(&t, k, ERR_USAGE, "more than 64");
	*strrchr(text, ',') = '\0';
	ck_assert_msg(!boot_test_load(&t, k), "%s", t.e.msg);
	ck_assert_uint_eq(le32_to_cpu(info(&t).mods_count), 64);
	boot_test_fini(&t);
	unlink(name);
	unlink(big_name);
	free(text);
	free(k.p);
	free(big.p);
	free(small.p);
}
END_TEST

#define FAILS(change, text)                                                                        \
	do {                                                                                       \
		h = header(0x10003);                                                               \
		change;                                                                            \
		k = flat_kernel(h);                                                                \
		boot_test_fails(&t, k, ERR_INPUT, text);                                           \
		free(k.p);                                                                         \
	} while (0)

START_TEST(bad_headers)
{
	struct multiboot_header h;
	struct boot_test t;
	struct buf k;

	boot_test_init(&t, 64 * MiB);
	FAILS(h.checksum = cpu_to_le32(1), "checksum is wrong");
	FAILS(h = header(0x10008), "demands features");
	FAILS(h = header(0x18000), "demands features");
	FAILS(h = header(0x3), "neither ELF nor has address fields");
	FAILS(h.load_addr = cpu_to_le32(0xffffffff), "wrong");
	FAILS(h.header_addr = cpu_to_le32(LOAD_ADDR - 1), "wrong");
	FAILS(h.header_addr = cpu_to_le32(LOAD_ADDR + HEADER_AT + 1), "wrong");
	FAILS(h.load_end_addr = cpu_to_le32(LOAD_ADDR + LOADED + 1), "cut short");
	FAILS(h.load_end_addr = cpu_to_le32(LOAD_ADDR), "wrong");
	FAILS(h.load_end_addr = cpu_to_le32(1), "wrong");
	FAILS(h.bss_end_addr = cpu_to_le32(LOAD_ADDR + LOADED - 1), "bss_end_addr");
	FAILS(h.bss_end_addr = cpu_to_le32(0xffffffff), "first 3 GiB");
	FAILS(h.bss_end_addr = cpu_to_le32(65 * MiB), "memory up to");
	FAILS(h.entry_addr = cpu_to_le32(LOAD_ADDR - 1), "entry_addr");
	FAILS(h.entry_addr = cpu_to_le32(BSS_END), "entry_addr");
	FAILS((h.load_addr = cpu_to_le32(0), h.header_addr = cpu_to_le32(HEADER_AT),
	       h.load_end_addr = cpu_to_le32(0)),
	      "taken by boot data");
	FAILS((h.load_addr = cpu_to_le32(0xfffffff0), h.header_addr = cpu_to_le32(0xfffffff4),
	       h.load_end_addr = h.bss_end_addr = cpu_to_le32(0)),
	      "first 3 GiB");
	boot_test_fini(&t);
}
END_TEST

/* The file ends within the header, or within what it promises. */
START_TEST(cut_short)
{
	struct buf k = flat_kernel(header(0x10003));
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	for (size_t len = HEADER_AT + 12; len < k.len; len += len < HEADER_AT + 40 ? 1 : 501)
		boot_test_fails(&t, (struct buf){ k.p, len }, ERR_INPUT, "cut short");
	boot_test_fini(&t);
	free(k.p);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("multiboot");

	tcase_add_test(tc, by_addresses);
	tcase_add_test(tc, by_addresses_to_the_end);
	tcase_add_test(tc, by_elf);
	tcase_add_test(tc, header_position);
	tcase_add_test(tc, modules);
	tcase_add_test(tc, modules_of_a_low_kernel);
	tcase_add_test(tc, bad_modules);
	tcase_add_test(tc, bad_headers);
	tcase_add_test(tc, cut_short);
	return run_case("boot: Multiboot", tc);
}
