/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files named without an option: what they are, and the options that stand for them. */
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "autodetect.h"
#include "config.h"
#include "err.h"

static uint8_t head[36864];

/* A file's first bytes: text at a place. */
static void put(size_t at, const char *bytes, size_t len)
{
	memcpy(head + at, bytes, len);
}

static void start(void)
{
	memset(head, 0, sizeof(head));
}

#define KIND(size) autodetect_kind(head, sizeof(head), size)

START_TEST(kinds)
{
	ck_assert_int_eq(KIND(1 << 20), FILE_UNKNOWN); /* zeros */
	put(32769, "CD001", 5);
	ck_assert_int_eq(KIND(1 << 20), FILE_ISO);
	put(510, "\x55\xaa", 2); /* for a USB stick as well */
	ck_assert_int_eq(KIND(1 << 20), FILE_ISO);
	ck_assert_int_eq(autodetect_kind(head, 32768, 32768), FILE_DISK);

	start();
	put(510, "\x55\xaa", 2);
	ck_assert_int_eq(KIND(1 << 20), FILE_DISK);
	ck_assert_int_eq(KIND((1 << 20) + 7), FILE_UNKNOWN); /* no whole sectors */
	put(514, "HdrS", 4);
	ck_assert_int_eq(KIND((1 << 20) + 7), FILE_KERNEL);

	start();
	put(512, "EFI PART", 8);
	ck_assert_int_eq(KIND(1 << 20), FILE_DISK);
	start();
	put(0, "QFI\xfb\0\0\0\3", 8);
	ck_assert_int_eq(KIND(1 << 20), FILE_DISK);
	start();
	put(0, "KDMV\1\0\0\0", 8);
	ck_assert_int_eq(KIND(1 << 20), FILE_DISK);
	start();
	put(0,
	    "\x7f"
	    "ELF\2\1\1",
	    7);
	ck_assert_int_eq(KIND(1 << 20), FILE_KERNEL);
	start();
	put(4096, "\x02\xb0\xad\x1b\0\0\0\0\xfe\x4f\x52\xe4", 12);
	ck_assert_int_eq(KIND(1 << 20), FILE_KERNEL);
	put(4104, "\xff", 1); /* its checksum */
	ck_assert_int_eq(KIND(1 << 20), FILE_UNKNOWN);
	start();
	put(0, "070701", 6);
	ck_assert_int_eq(KIND(1 << 20), FILE_INITRD);
	start();
	put(0, "\x1f\x8b\x08", 3);
	ck_assert_int_eq(KIND(1 << 20), FILE_COMPRESSED);
	start();
	put(0, "#!/bin/sh\n", 10);
	ck_assert_int_eq(KIND(1 << 20), FILE_UNKNOWN);
}
END_TEST

/* Each length, also none. */
START_TEST(short_files)
{
	memset(head, 0x55, sizeof(head));
	for (size_t n = 0; n <= 600; n++) {
		uint8_t *exact = malloc(n ? n : 1);

		memcpy(exact, head, n);
		ck_assert_int_eq(autodetect_kind(exact, n, n), FILE_UNKNOWN);
		free(exact);
	}
}
END_TEST

/* --- whole command lines ------------------------------------------------------------- */

static char dir[] = "/tmp/autodetect-XXXXXX", said[2048];
static struct config cfg;
static struct err err;

static void file(const char *name, size_t at, const char *bytes, size_t len)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	start();
	put(at, bytes, len);
	ck_assert_uint_eq(fwrite(head, 1, sizeof(head), f), sizeof(head));
	ck_assert_int_eq(fclose(f), 0);
}

static void make_files(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	file("a.iso", 32769, "CD001", 5);
	file("b.iso", 32769, "CD001", 5);
	file("1.img", 510, "\x55\xaa", 2);
	file("2.qcow2", 0, "QFI\xfb\0\0\0\3", 8);
	file("3 c.img", 512, "EFI PART", 8);
	file("4.img", 510, "\x55\xaa", 2);
	file("kernel", 0,
	     "\x7f"
	     "ELF\2\1\1",
	     7);
	file("root.cpio", 0, "070701", 6);
	file("x.gz", 0, "\x1f\x8b\x08", 3);
	file("script", 0, "#!/bin/sh\n", 10);
	ck_assert_int_eq(mkdir("dir", 0700), 0);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	ck_assert_int_eq(fclose(fopen("empty", "w")), 0);
}

static void remove_files(void)
{
	static const char *const names[] = { "a.iso",   "b.iso",  "1.img",  "2.qcow2",
					     "3 c.img", "4.img",  "kernel", "root.cpio",
					     "x.gz",    "script", "fifo",   "empty" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(names[i]);
	rmdir("dir");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
}

/* Parses a line whose words are separated by | and returns the status; said is what stderr got. */
static int run(const char *line)
{
	static char words[256];
	char *argv[16] = { "posada" };
	int argc = 1, rc, saved = dup(2);
	FILE *f = tmpfile();
	size_t n;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok(words, "|"); w; w = strtok(NULL, "|"))
		argv[argc++] = w;
	err = (struct err){ 0 };
	fflush(stderr);
	dup2(fileno(f), 2);
	rc = cmdline_parse(argc, argv, &cfg, &err);
	rc = rc ? rc : autodetect(&cfg, argc, argv, &err);
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	rewind(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = 0;
	fclose(f);
	return rc;
}

START_TEST(command_lines)
{
	static const struct {
		const char *line, *same;
		unsigned mib;
	} good[] = {
		{ "a.iso", "posada -cdrom a.iso -m 512 -boot d\n", 512 },
		{ "2.qcow2", "posada -hda 2.qcow2 -m 512\n", 512 },
		{ "1.img|a.iso", "posada -hda 1.img -cdrom a.iso -m 512 -boot once=d\n", 512 },
		{ "a.iso|-boot|c|-m|64", "posada -boot c -m 64 -cdrom a.iso\n", 64 },
		{ "1.img|2.qcow2|3 c.img", "posada -hda 1.img -hdb 2.qcow2 -hdd '3 c.img' -m 512\n",
		  512 },
		{ "-hda|x|1.img", "posada -hda x -hdb 1.img -m 512\n", 512 },
		{ "-nodefaults|1.img|1.img|1.img",
		  "posada -nodefaults -hda 1.img -hdb 1.img -hdc 1.img -m 512\n", 512 },
		{ "kernel", "posada -kernel kernel\n", 128 },
		{ "kernel|root.cpio", "posada -kernel kernel -initrd root.cpio\n", 128 },
		{ "root.cpio|kernel|-append|a b",
		  "posada -append 'a b' -initrd root.cpio -kernel kernel\n", 128 },
		{ "x.gz|kernel", "posada -initrd x.gz -kernel kernel\n", 128 },
		{ "x.gz|root.cpio", "posada -kernel x.gz -initrd root.cpio\n", 128 },
		{ "-kernel|k|x.gz", "posada -kernel k -initrd x.gz\n", 128 },
		{ "kernel|1.img|a.iso", "posada -kernel kernel -hda 1.img -cdrom a.iso\n", 128 },
		{ "-m|64", "", 64 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(run(good[i].line) == 0, "%s: %s", good[i].line, err.msg);
		ck_assert_msg(strstr(said, good[i].same) != NULL, "%s: said %s", good[i].line,
			      said);
		ck_assert_uint_eq(cfg.ram_size, (uint64_t)good[i].mib << 20);
		cmdline_free(&cfg);
	}
}
END_TEST

START_TEST(options_are_set)
{
	ck_assert_int_eq(run("1.img|a.iso"), 0);
	ck_assert_str_eq(cfg.hd[0], "1.img");
	ck_assert_str_eq(cfg.cdrom, "a.iso");
	ck_assert_str_eq(cfg.boot.once, "d");
	cmdline_free(&cfg);
	ck_assert_int_eq(run("a.iso"), 0);
	ck_assert_str_eq(cfg.boot.order, "d");
	cmdline_free(&cfg);
	ck_assert_int_eq(run("kernel|x.gz"), 0);
	ck_assert_str_eq(cfg.kernel, "kernel");
	ck_assert_str_eq(cfg.initrd, "x.gz");
	cmdline_free(&cfg);
}
END_TEST

START_TEST(bad)
{
	static const struct {
		const char *line, *msg, *hint;
	} lines[] = {
		{ "nothing", "nothing: No such file", "-help" },
		{ "dir", "dir is a directory", "-fsdev" },
		{ "fifo", "fifo is neither", "" },
		{ "empty", "empty is empty", "" },
		{ "script", "it looks like a script", "-hda" },
		{ "root.cpio", "root.cpio is an initial ramdisk, and there is no kernel",
		  "posada KERNEL" },
		{ "a.iso|b.iso", "b.iso: there is a -cdrom already, a.iso", "" },
		{ "-cdrom|a.iso|b.iso", "b.iso: there is a -cdrom already", "" },
		{ "kernel|kernel", "there is a -kernel already", "" },
		{ "kernel|x.gz|root.cpio", "there is a -initrd already, x.gz", "" },
		{ "1.img|2.qcow2|3 c.img|4.img", "4.img: no place is left", "if=virtio" },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		ck_assert_msg(run(lines[i].line) < 0, "accepted: %s", lines[i].line);
		ck_assert_msg(strstr(err.msg, lines[i].msg) != NULL, "%s: '%s'", lines[i].line,
			      err.msg);
		ck_assert_msg(strstr(err.hint, lines[i].hint) != NULL, "%s: hint '%s'",
			      lines[i].line, err.hint);
		ck_assert_str_eq(said, "");
		cmdline_free(&cfg);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("autodetect");
	TCase *pure = tcase_create("kinds"), *lines = tcase_create("command lines");

	tcase_add_checked_fixture(pure, start, NULL);
	tcase_add_test(pure, kinds);
	tcase_add_test(pure, short_files);
	suite_add_tcase(s, pure);
	tcase_add_checked_fixture(lines, make_files, remove_files);
	tcase_add_test(lines, command_lines);
	tcase_add_test(lines, options_are_set);
	tcase_add_test(lines, bad);
	suite_add_tcase(s, lines);
	return run_suite(s);
}
