/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backing files by name and by keys, temporary overlays and commit (src/block/backing.c, overlay.c,
 * commit.c), on real files with the real formats.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/block/internal.h"
#include "suite.h"
#include "block.h"
#include "err.h"
#include "loop.h"
#include "opts.h"

enum { SIZE = 1 << 20 };

static char dir[64], before[200];
static struct loop *l;
static struct blk_set *set;
static struct drive d;
static struct err e;

static void fill(const char *name, int byte, size_t len)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	uint8_t *buf = malloc(len);

	ck_assert(fd >= 0 && buf);
	memset(buf, byte, len);
	ck_assert_int_eq(write(fd, buf, len), (ssize_t)len);
	close(fd);
	free(buf);
}

static void image(const char *name, const char *backing, const char *format)
{
	struct blk_create c = { .size = SIZE, .backing = backing, .backing_format = format };

	ck_assert_msg(!blk_driver_find("qcow2")->image->create(name, &c, &e), "%s", e.msg);
}

static void setup(void)
{
	ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
	strcpy(dir, "/tmp/test_backing.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	setenv("TMPDIR", dir, 1);
	ck_assert_int_eq(loop_create(&l, &e), 0);
	ck_assert_int_eq(blk_set_create(&set, l, NULL, &e), 0);
	fill("a.raw", 'a', SIZE);
	fill("b.raw", 'b', SIZE);
	image("top.qcow2", "a.raw", "raw");
}

static void teardown(void)
{
	char cmd[96];

	blk_set_destroy(set);
	loop_destroy(l);
	ck_assert_int_eq(chdir(before), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static struct blk_node *node_of(struct blk *b)
{
	struct blk_info i;

	blk_get_info(b, &i);
	return blk_node_find(i.node_name);
}

static int byte_at(struct blk_node *n, uint64_t off)
{
	uint8_t buf[512];

	ck_assert_int_eq(blk_node_pread(n, off, buf, sizeof(buf)), 0);
	return buf[0];
}

static int in_file(const char *name, off_t off)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	char c = 0;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &c, 1, off), 1);
	close(fd);
	return c;
}

static void write_byte(struct blk_node *n, uint64_t off, int byte)
{
	uint8_t buf[512];

	memset(buf, byte, sizeof(buf));
	ck_assert_int_eq(blk_node_pwrite(n, off, buf, sizeof(buf)), 0);
}

static void blockdev(const char *arg)
{
	memset(&e, 0, sizeof(e));
	ck_assert_msg(!blk_add_blockdev(set, arg, &e), "%s: %s", arg, e.msg);
}

static void drive(const char *arg)
{
	memset(&e, 0, sizeof(e));
	ck_assert_msg(!blk_add_drive(set, arg, &d, &e), "%s: %s", arg, e.msg);
}

#define TOP "driver=qcow2,node-name=top,file.driver=file,file.filename=top.qcow2"

/* What -blockdev says of the backing file, and what is read then. */
static const struct {
	const char *arg;
	int reads;
} keys[] = {
	{ TOP, 'a' },
	{ TOP ",backing=null", 0 },
	{ TOP ",backing=", 0 },
	{ TOP ",backing=other", 'b' },
	{ TOP ",backing.driver=raw,backing.file.driver=file,backing.file.filename=b.raw", 'b' },
	{ TOP ",backing.file.filename=b.raw", 'b' },
	{ TOP ",backing.driver=raw", 'a' },
	{ TOP ",backing.driver=null-co,backing.read-zeroes=on", 0 },
	{ "{\"driver\":\"qcow2\",\"node-name\":\"top\",\"backing\":null,"
	  "\"file\":{\"driver\":\"file\",\"filename\":\"top.qcow2\"}}",
	  0 },
	{ "{\"driver\":\"qcow2\",\"node-name\":\"top\",\"backing\":{\"driver\":\"raw\",\"file\":"
	  "{\"driver\":\"file\",\"filename\":\"b.raw\"}},"
	  "\"file\":{\"driver\":\"file\",\"filename\":\"top.qcow2\"}}",
	  'b' },
};

START_TEST(test_keys)
{
	if (strstr(keys[_i].arg, "=other"))
		blockdev("driver=raw,node-name=other,file.driver=file,file.filename=b.raw");
	blockdev(keys[_i].arg);
	ck_assert_int_eq(byte_at(blk_node_find("top"), 0), keys[_i].reads);
}
END_TEST

static const struct {
	const char *arg, *says;
} bad[] = {
	{ TOP ",backing=nobody", "backing=nobody: no node has this name" },
	{ TOP ",backing=used", "backing=used: node 'user' is above it already" },
	{ TOP ",backing=null,backing.driver=raw", "both backing= and backing.X=" },
	{ TOP ",backing.driver=qcow3", "qcow3" },
	{ TOP ",backing.driver=raw,backing.bogus=1", "bogus" },
	{ TOP ",backing.file.filename=none", "cannot open 'none'" },
	{ "driver=raw,node-name=x,file.driver=file,file.filename=a.raw,backing=null", "'backing'" },
	{ "{\"driver\":\"qcow2\",\"node-name\":\"top\",\"discard\":null}", "'discard'" },
};

START_TEST(test_bad_keys)
{
	blockdev("driver=file,node-name=used,filename=b.raw");
	blockdev("driver=raw,node-name=user,file=used");
	memset(&e, 0, sizeof(e));
	ck_assert_int_lt(blk_add_blockdev(set, bad[_i].arg, &e), 0);
	ck_assert_msg(strstr(e.msg, bad[_i].says), "%s: %s", bad[_i].arg, e.msg);
	ck_assert_ptr_null(blk_node_find("top"));
}
END_TEST

/* A node that is behind another is not a device's, and not twice behind. */
START_TEST(test_backing_node_is_taken)
{
	struct blk *b;

	blockdev("driver=raw,node-name=other,file.driver=file,file.filename=b.raw");
	blockdev(TOP ",backing=other");
	b = blk_find(set, "other");
	ck_assert_int_eq(blk_attach(b, NULL, NULL, true, l, &e), -EBUSY);
	ck_assert_int_eq(blk_commit(b, &e), -EBUSY);
	image("more.qcow2", NULL, NULL);
	ck_assert_int_lt(blk_add_blockdev(set,
					  "driver=qcow2,node-name=more,file.driver=file,"
					  "file.filename=more.qcow2,backing=other",
					  &e),
			 0);
	ck_assert_int_eq(blk_commit(blk_find(set, "top"), &e), 0);
}
END_TEST

START_TEST(test_drive_keys)
{
	drive("file=top.qcow2,if=none,id=x,format=qcow2,backing.driver=raw,"
	      "backing.file.filename=b.raw");
	ck_assert_int_eq(byte_at(node_of(d.blk), 0), 'b');
	drive("file=json:{\"driver\":\"qcow2\",,\"backing\":null,,\"read-only\":true,,"
	      "\"file\":{\"driver\":\"file\",,\"filename\":\"top.qcow2\",,\"locking\":\"off\"}},"
	      "if=none,id=y");
	ck_assert_int_eq(byte_at(node_of(d.blk), 0), 0);
}
END_TEST

/* The directory holds what it held. */
static unsigned files(void)
{
	FILE *f = popen("ls -A | wc -l", "r");
	unsigned n = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

/* Each format that can be written takes what is committed; the image stays as it was before. */
START_TEST(test_overlay)
{
	static const char *const args[] = {
		"file=a.raw,format=raw,if=none,snapshot=on",
		"file=top.qcow2,format=qcow2,if=none,snapshot=on",
		"file=a.raw,format=raw,if=none,snapshot=on,cache=none,aio=native",
		"file=a.raw,if=none,snapshot=on",
	};
	unsigned n_files = files();
	struct blk_node *n;
	struct blk_info i;

	drive(args[_i]);
	ck_assert_uint_eq(files(), n_files);
	blk_get_info(d.blk, &i);
	ck_assert_str_eq(i.format, "qcow2");
	ck_assert_ptr_nonnull(strstr(i.filename, "temporary overlay of"));
	n = node_of(d.blk);
	ck_assert(!blk_readonly(d.blk) && n->backing->readonly);
	ck_assert_uint_eq(blk_size(d.blk), SIZE);
	ck_assert_int_eq(byte_at(n, 4096), 'a');
	write_byte(n, 4096, 'w');
	write_byte(n, SIZE - 512, 'w');
	ck_assert_int_eq(blk_node_zero(n, 65536 * 3, 65536, 0), 0);
	ck_assert_int_eq(in_file("a.raw", 4096), 'a');

	for (unsigned round = 0; round < 2; round++) {
		ck_assert_msg(!blk_commit(d.blk, &e), "%s", e.msg);
		ck_assert_int_eq(byte_at(n->backing, 4096), 'w');
		ck_assert_int_eq(byte_at(n->backing, 4608), 'a');
		ck_assert_int_eq(byte_at(n->backing, SIZE - 512), 'w');
		ck_assert_int_eq(byte_at(n->backing, 65536 * 3), 0);
		ck_assert(n->backing->readonly);
		ck_assert_int_eq(blk_node_pwrite(n->backing, 0, dir, 1), -EROFS);
		ck_assert_int_eq(byte_at(n, 4096), 'w');
	}
	write_byte(n, 4096, 'x');
	ck_assert_int_eq(byte_at(n, 4096), 'x');
	ck_assert_int_eq(byte_at(n->backing, 4096), 'w');
	ck_assert_msg(!blk_commit(d.blk, &e), "%s", e.msg);
	ck_assert_int_eq(byte_at(n->backing, 4096), 'x');
	ck_assert_uint_eq(files(), n_files);
	/* The image below an overlay's image is never written. */
	ck_assert_int_eq(in_file("a.raw", 4096), _i == 1 ? 'a' : 'x');
}
END_TEST

/* A smaller backing file grows. */
START_TEST(test_commit_grows)
{
	fill("small.raw", 's', 65536);
	image("large.qcow2", "small.raw", "raw");
	drive("file=large.qcow2,format=qcow2,if=none");
	write_byte(node_of(d.blk), 200000, 'l');
	ck_assert_msg(!blk_commit(d.blk, &e), "%s", e.msg);
	ck_assert_int_eq(in_file("small.raw", 200000), 'l');
	ck_assert_int_eq(in_file("small.raw", 65535), 's');
	ck_assert_int_eq(in_file("small.raw", SIZE - 1), 0);
}
END_TEST

START_TEST(test_commit_refused)
{
	struct err f;

	drive("file=b.raw,format=raw,if=none");
	ck_assert_int_eq(blk_commit(d.blk, &e), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(e.msg, "b.raw has no backing file"));
	drive("file=top.qcow2,format=qcow2,if=none,readonly=on");
	ck_assert_int_eq(blk_commit(d.blk, &e), -EROFS);
	/* Its format is a guess: a guest's header of another stays out of it. */
	fill("probed.raw", 0, SIZE);
	image("guess.qcow2", "probed.raw", NULL);
	drive("file=guess.qcow2,format=qcow2,if=none");
	ck_assert_int_eq(blk_node_pwrite(node_of(d.blk), 0, "QFI\xfb", 4), 0);
	ck_assert_int_eq(blk_commit(d.blk, &f), -EPERM);
	ck_assert_ptr_nonnull(strstr(f.msg, "into an image of format qcow2"));
	ck_assert_int_eq(in_file("probed.raw", 0), 0);
	write_byte(node_of(d.blk), 0, 'p');
	ck_assert_int_eq(blk_commit(d.blk, &f), 0);
	ck_assert_int_eq(in_file("probed.raw", 0), 'p');
}
END_TEST

/* An image that somebody else reads is not written; nothing has changed then. */
START_TEST(test_commit_in_use)
{
	struct blk_open how = { .readonly = true, .locking = true };
	struct blk_node *other;

	drive("file=a.raw,format=raw,if=none,snapshot=on");
	write_byte(node_of(d.blk), 0, 'w');
	ck_assert_int_eq(blk_node_open_file("a.raw", "raw", &how, &other, &e), 0);
	ck_assert_int_eq(blk_commit(d.blk, &e), -EBUSY);
	ck_assert_int_eq(in_file("a.raw", 0), 'a');
	ck_assert_int_eq(byte_at(node_of(d.blk), 0), 'w');
	blk_node_close(other);
	ck_assert_msg(!blk_commit(d.blk, &e), "%s", e.msg);
	ck_assert_int_eq(in_file("a.raw", 0), 'w');
	/* The lock is that of a reader again. */
	ck_assert_int_eq(blk_node_open_file("a.raw", "raw", &how, &other, &e), 0);
	blk_node_close(other);
}
END_TEST

/* A name that was given to another file meanwhile: what is open is what is written. */
START_TEST(test_commit_renamed)
{
	drive("file=a.raw,format=raw,if=none,snapshot=on");
	write_byte(node_of(d.blk), 0, 'w');
	ck_assert_int_eq(rename("a.raw", "old.raw"), 0);
	fill("a.raw", 'n', SIZE);
	ck_assert_msg(!blk_commit(d.blk, &e), "%s", e.msg);
	ck_assert_int_eq(in_file("a.raw", 0), 'n');
	ck_assert_int_eq(in_file("old.raw", 0), 'w');
}
END_TEST

START_TEST(test_overlay_refused)
{
	setenv("TMPDIR", "/nowhere/at/all", 1);
	ck_assert_int_eq(blk_add_drive(set, "file=a.raw,format=raw,snapshot=on", &d, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "temporary overlay in '/nowhere/at/all' ($TMPDIR)"));
	ck_assert_ptr_nonnull(strstr(e.hint, "set TMPDIR"));
	setenv("TMPDIR", "a.raw", 1);
	ck_assert_int_lt(blk_add_drive(set, "file=a.raw,format=raw,snapshot=on", &d, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "Not a directory"));
	/* What is only read needs none. */
	drive("file=a.raw,format=raw,if=none,snapshot=on,readonly=on");
	ck_assert_str_eq(node_of(d.blk)->drv->name, "raw");
	setenv("TMPDIR", dir, 1);
	blk_snapshot_all(set);
	drive("file=a.raw,format=raw,if=none");
	ck_assert_ptr_nonnull(node_of(d.blk)->backing);
	drive("file=b.raw,format=raw,if=none,snapshot=off");
	ck_assert_ptr_null(node_of(d.blk)->backing);
}
END_TEST

START_TEST(test_loop_names)
{
	struct blk_open how = { .readonly = true };
	struct blk_node *n;

	image("one.qcow2", "two.qcow2", "qcow2");
	image("two.qcow2", "one.qcow2", "qcow2");
	ck_assert_int_eq(blk_node_open_file("one.qcow2", NULL, &how, &n, &e), -ELOOP);
	ck_assert_str_eq(e.msg, "two.qcow2: its backing files are a loop: one.qcow2 -> two.qcow2 "
				"-> one.qcow2");
	image("gone.qcow2", "none.raw", "raw");
	ck_assert_int_eq(blk_node_open_file("gone.qcow2", NULL, &how, &n, &e), -ENOENT);
	ck_assert_str_eq(e.msg, "gone.qcow2: backing file: cannot open 'none.raw': No such file or "
				"directory");
	ck_assert_ptr_nonnull(strstr(e.hint, "rebase -u"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("backing");
	TCase *t = tcase_create("backing");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_keys, 0, sizeof(keys) / sizeof(keys[0]));
	tcase_add_loop_test(t, test_bad_keys, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, test_backing_node_is_taken);
	tcase_add_test(t, test_drive_keys);
	tcase_add_loop_test(t, test_overlay, 0, 4);
	tcase_add_test(t, test_commit_grows);
	tcase_add_test(t, test_commit_refused);
	tcase_add_test(t, test_commit_in_use);
	tcase_add_test(t, test_commit_renamed);
	tcase_add_test(t, test_overlay_refused);
	tcase_add_test(t, test_loop_names);
	suite_add_tcase(s, t);
	return run_suite(s);
}
