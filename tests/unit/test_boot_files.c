/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What -kernel may name by mistake: files that cannot be read, and files that are no kernels. */
#include "boot_images.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int load_file(struct boot_test *t, const char *name)
{
	t->rq.kernel = name;
	memset(&t->e, 0, sizeof(t->e));
	return boot_load(&t->rq, &t->out, &t->e);
}

static void file_fails(struct boot_test *t, const char *name, const char *text)
{
	ck_assert_int_lt(load_file(t, name), 0);
	ck_assert_msg(strstr(t->e.msg, text) != NULL, "'%s' is not in '%s'", text, t->e.msg);
	ck_assert_int_eq(strncmp(t->e.msg, "-kernel ", 8), 0);
	ck_assert_ptr_nonnull(strstr(t->e.msg, name));
	ck_assert_int_eq(t->e.status, ERR_INPUT);
}

START_TEST(good_file)
{
	struct buf text = buf_pattern(5000, 41);
	struct test_segment seg = { PT_LOAD, 0x200000, 0x200000, 5000, text.p, text.len };
	struct buf elf = make_elf64(&seg, 1, 0x200000);
	const char *name = temp_file(elf);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	ck_assert_msg(!load_file(&t, name), "%s", t.e.msg);
	guest_has(&t, 0x200000, text.p, text.len);
	boot_test_fini(&t);
	unlink(name);
	free(elf.p);
	free(text.p);
}
END_TEST

START_TEST(unreadable_files)
{
	struct buf empty = { NULL, 0 };
	const char *name = temp_file(empty);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct boot_test t;
	int fd;

	boot_test_init(&t, 64 * MiB);
	file_fails(&t, "/nonexistent/kernel", "there is no such file");
	file_fails(&t, "/tmp", "it is a directory");
	file_fails(&t, "/dev/zero", "it is a device");
	file_fails(&t, name, "the file is empty");
	unlink(name);
	/* must not wait for a writer */
	ck_assert_int_eq(mkfifo(name, 0600), 0);
	file_fails(&t, name, "it is a pipe");
	unlink(name);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", name);
	ck_assert_int_eq(bind(fd, (void *)&sun, sizeof(sun)), 0);
	file_fails(&t, name, "it is a socket");
	close(fd);
	unlink(name);
	ck_assert_int_eq(symlink(name, name), 0);
	file_fails(&t, name, "cannot be opened");
	unlink(name);
	boot_test_fini(&t);
}
END_TEST

START_TEST(no_permission)
{
	struct buf b = buf_pattern(100, 42);
	const char *name = temp_file(b);
	struct boot_test t;

	ck_assert_int_eq(chmod(name, 0), 0);
	boot_test_init(&t, 64 * MiB);
	/* In this test's own process; root could read it all the same. */
	if (!geteuid())
		ck_assert_int_eq(seteuid(65534), 0);
	file_fails(&t, name, "no permission");
	ck_assert_str_ne(t.e.hint, "");
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
	boot_test_fini(&t);
	unlink(name);
	free(b.p);
}
END_TEST

static const struct {
	unsigned at;
	const char *bytes;
	unsigned len;
	const char *text;
} looks[] = {
	{ 0, "#!/bin/sh\n", 10, "a script" },
	{ 0, "QFI\xfb\0\0\0\3", 8, "a qcow2 disk image" },
	{ 0, "KDMV\1", 5, "a VMDK disk image" },
	{ 0, "vhdxfile", 8, "a VHDX disk image" },
	{ 64, "\x7f\x10\xda\xbe", 4, "a VDI disk image" },
	{ 0x8001, "CD001\1", 6, "an ISO 9660" },
	{ 0, "070701", 6, "a cpio archive (an initramfs goes to -initrd)" },
	{ 257, "ustar", 5, "a tar archive" },
	{ 0, "PK\3\4", 4, "a zip archive" },
	{ 0, "!<arch>\ndebian-binary", 21, "Debian package" },
	{ 0x438, "\x53\xef", 2, "an ext2/3/4 file system" },
	{ 56, "ARM\x64", 4, "a Linux kernel for AArch64" },
	{ 512, "EFI PART", 8, "a disk image with a GPT" },
	{ 510, "\x55\xaa", 2, "a boot sector or disk image" },
	{ 0x400, "\xd6\x50\x52\xe8", 4, "a Multiboot 2 kernel" },
	{ 0x400, "\x02\xb0\xad\x1b", 4, "checksum is wrong" },
	{ 0, "MZ", 2, "a DOS program, or a Linux kernel cut short" },
	{ 0, "", 0, "a file of zeros" },
	{ 0, "\1\2\3\4\5\6\7\x08\x09", 9,
	  "no known format, with first bytes 01 02 03 04 05 06 07 08" },
};

START_TEST(what_it_looks_like)
{
	struct buf b = buf_new(0x9000);
	struct boot_test t;

	memcpy(b.p + looks[_i].at, looks[_i].bytes, looks[_i].len);
	boot_test_init(&t, 64 * MiB);
	boot_test_fails(&t, b, ERR_INPUT, looks[_i].text);
	ck_assert_ptr_nonnull(strstr(t.e.hint, "Multiboot kernel"));
	/* any shorter, nothing may be read beyond its end */
	for (size_t len = 1; len < 0x9000; len += len < 1100 ? 1 : 4093)
		ck_assert_int_lt(boot_test_load(&t, (struct buf){ b.p, len }), 0);
	boot_test_fini(&t);
	free(b.p);
}
END_TEST

START_TEST(more_looks)
{
	struct buf b = buf_new(1000);
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	memcpy(b.p, "MZ", 2);
	b.p[60] = 0x80;
	memcpy(b.p + 0x80, "PE\0\0", 4);
	boot_test_fails(&t, b, ERR_INPUT, "EFI program without Linux setup header");
	/* its offset points out of the file */
	memset(b.p + 60, 0xff, 4);
	boot_test_fails(&t, b, ERR_INPUT, "DOS program");
	free(b.p);
	b = (struct buf){ (uint8_t *)"just some words\n", 16 };
	boot_test_fails(&t, b, ERR_INPUT, "a text file");
	b = (struct buf){ (uint8_t *)"x", 1 };
	boot_test_fails(&t, b, ERR_INPUT, "a text file");
	boot_test_fini(&t);
}
END_TEST

/* Random bytes behind every magic number that leads somewhere: no crash, always a message. */
START_TEST(noise)
{
	static const struct {
		unsigned at;
		const char *bytes;
		unsigned len;
	} magic[] = { { 0,
			"\x7f"
			"ELF\2\1\1",
			7 },
		      { 0,
			"\x7f"
			"ELF\1\1\1",
			7 },
		      { 0, "\x1f\x8b\x08", 3 },
		      { 0, "BZh9", 4 },
		      { 0,
			"\xfd"
			"7zXZ",
			6 },
		      { 0, "\x28\xb5\x2f\xfd", 4 },
		      { 0, "\x02\x21\x4c\x18", 4 },
		      { 0, "\x04\x22\x4d\x18", 4 },
		      { 0, "\x5d\0\0\x80\0", 5 },
		      { 0x1fe, "\x55\xaa\xeb\x6aHdrS\x0f\2", 10 } };
	struct boot_test t;

	boot_test_init(&t, 64 * MiB);
	t.rq.ram_is_zero = false;
	for (unsigned i = 0; i < 10 * 200; i++) {
		struct buf b = buf_pattern(100 + i * 3, i);

		if (b.len > magic[i % 10].at + magic[i % 10].len)
			memcpy(b.p + magic[i % 10].at, magic[i % 10].bytes, magic[i % 10].len);
		if (boot_test_load(&t, b))
			ck_assert_str_ne(t.e.msg, "");
		free(b.p);
	}
	boot_test_fini(&t);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("files");

	tcase_add_test(tc, good_file);
	tcase_add_test(tc, unreadable_files);
	tcase_add_test(tc, no_permission);
	tcase_add_loop_test(tc, what_it_looks_like, 0, (int)(sizeof(looks) / sizeof(looks[0])));
	tcase_add_test(tc, more_looks);
	tcase_add_test(tc, noise);
	return run_case("boot: files", tc);
}
