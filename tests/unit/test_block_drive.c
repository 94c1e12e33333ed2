/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of -drive, -blockdev and -hda (src/block/drive.c, node_opts.c, probe.c):
 * each key, each refusal and what it says, probing, names. Loop and disks are fakes.
 */
#include <stdio.h>

#include "suite.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "throttle.h"

static struct err e;
static struct blk_set *set;
static struct drive d;
static char dir[64];

static void setup(void)
{
	char path[128];
	FILE *f;

	snprintf(dir, sizeof(dir), "/tmp/test_drive.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(blk_set_create(&set, &fake_loop, NULL, &e), 0);
	snprintf(path, sizeof(path), "%s/disk.img", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(ftruncate(fileno(f), 1 << 20), 0);
	fclose(f);
}

static void teardown(void)
{
	char cmd[96];

	blk_set_destroy(set);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static int drive(const char *arg)
{
	memset(&e, 0, sizeof(e));
	return blk_add_drive(set, arg, &d, &e);
}

static void ok(const char *arg)
{
	ck_assert_msg(drive(arg) == 0, "%s: %s", arg, e.msg);
}

/* Fails, says this, and its hint that; and leaves no drive behind. */
static void fails(const char *arg, const char *says, const char *hint)
{
	struct blk *last = NULL;
	unsigned before = 0, after = 0;

	while ((last = blk_next(set, last)))
		before++;
	ck_assert_msg(drive(arg) < 0, "%s: no error", arg);
	ck_assert_int_ne(e.code, 0);
	ck_assert_msg(strstr(e.msg, says) != NULL, "%s: %s", arg, e.msg);
	ck_assert_msg(!hint || strstr(e.hint, hint) != NULL, "%s: %s", arg, e.hint);
	while ((last = blk_next(set, last)))
		after++;
	ck_assert_uint_eq(before, after);
}

static void make_file(const char *name, const void *data, size_t n)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, n, f), n);
	ck_assert_int_eq(ftruncate(fileno(f), 65536), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* --- names and places --- */

static const struct {
	const char *arg, *id;
	enum drive_if iface;
	int index;
	bool cdrom;
} places[] = {
	{ "file=disk.img,format=raw,if=virtio", "virtio0", DRIVE_IF_VIRTIO, -1, false },
	{ "file=disk.img,format=raw,if=virtio,index=3", "virtio3", DRIVE_IF_VIRTIO, 3, false },
	{ "file=disk.img,format=raw,if=virtio,bus=0,unit=2", "virtio2", DRIVE_IF_VIRTIO, 2, false },
	{ "file=disk.img,format=raw,if=none", "none0", DRIVE_IF_NONE, -1, false },
	{ "file=disk.img,format=raw", "ide0-hd0", DRIVE_IF_DEFAULT, -1, false },
	{ "file=disk.img,format=raw,if=ide,index=3", "ide1-hd1", DRIVE_IF_IDE, 3, false },
	{ "file=disk.img,format=raw,if=ide,bus=1,unit=0", "ide1-hd0", DRIVE_IF_IDE, 2, false },
	{ "file=disk.img,format=raw,if=ide,bus=1", "ide1-hd0", DRIVE_IF_IDE, 2, false },
	{ "file=disk.img,media=cdrom,index=2", "ide1-cd0", DRIVE_IF_DEFAULT, 2, true },
	{ "file=disk.img,media=disk", "ide0-hd0", DRIVE_IF_DEFAULT, -1, false },
	{ "file=disk.img,format=raw,if=pflash", "pflash0", DRIVE_IF_PFLASH, -1, false },
	{ "file=disk.img,format=raw,if=none,id=my-disk_1.a", "my-disk_1.a", DRIVE_IF_NONE, -1,
	  false },
};

START_TEST(test_place)
{
	ok(places[_i].arg);
	ck_assert_str_eq(blk_id(d.blk), places[_i].id);
	ck_assert_int_eq(d.iface, places[_i].iface);
	ck_assert_int_eq(d.index, places[_i].index);
	ck_assert_int_eq(d.cdrom, places[_i].cdrom);
	ck_assert_int_eq(blk_readonly(d.blk), d.cdrom);
	ck_assert_ptr_eq(blk_find(set, places[_i].id), d.blk);
}
END_TEST

START_TEST(test_names_in_turn)
{
	ok("driver=null-co,if=virtio");
	ok("driver=null-co,if=virtio");
	ck_assert_str_eq(blk_id(d.blk), "virtio1");
	ok("driver=null-co,if=virtio,index=5");
	ok("driver=null-co");
	ok("driver=null-co");
	ck_assert_str_eq(blk_id(d.blk), "ide0-hd1");
	ok("driver=null-co");
	ck_assert_str_eq(blk_id(d.blk), "ide1-hd0");
	fails("driver=null-co,if=virtio,index=5", "index=5: another drive of this kind has it",
	      NULL);
	ok("driver=null-co,if=none,index=5");
	/* A name that somebody took is left out. */
	ok("driver=null-co,if=none,id=virtio2");
	ok("driver=null-co,if=virtio");
	ck_assert_str_eq(blk_id(d.blk), "virtio3");
}
END_TEST

START_TEST(test_find)
{
	struct blk *b;

	ck_assert_int_eq(blk_get(set, "d0", &b, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "no drive has the id 'd0'"));
	ck_assert_str_eq(e.hint, "add -drive file=FILE,if=none,id=d0");
	ok("driver=null-co,if=none,id=disk0,node-name=n0");
	ck_assert_int_eq(blk_get(set, "disk0", &b, &e), 0);
	ck_assert_int_eq(blk_get(set, "n0", &b, &e), 0);
	ck_assert_ptr_eq(b, d.blk);
	ck_assert_int_eq(blk_get(set, "dsik0", &b, &e), -ENOENT);
	ck_assert_str_eq(e.hint, "did you mean 'disk0'?");
}
END_TEST

/* --- refusals --- */

static const struct {
	const char *arg, *says, *hint;
} refused[] = {
	{ "", "file= is missing", "file=FILE,format=raw" },
	{ "disk.img", "'disk.img' has no '='", "write file=disk.img" },
	{ "file=disk.img,,if=none", "No such file", NULL },
	{ "file=", "name of the file is empty", NULL },
	{ "if=virtio,format=raw", "file= is missing", "file=FILE" },
	{ "file=disk.img,if=scsi", "if=scsi: this version has no such devices", "if=virtio" },
	{ "file=disk.img,if=floppy", "if=floppy: this version", "if=virtio" },
	{ "file=disk.img,if=sd", "if=sd: this version", "if=virtio" },
	{ "file=disk.img,if=mtd", "if=mtd: this version", "if=virtio" },
	{ "file=disk.img,if=xen", "if=xen: this version", "if=virtio" },
	{ "file=disk.img,if=virtoi", "if=virtoi: no such value", "did you mean 'virtio'?" },
	{ "file=disk.img,index=x", "index=x: 'x' is not a number", NULL },
	{ "file=disk.img,index=4", "index=4: not between 0 and 3", NULL },
	{ "file=disk.img,if=virtio,index=256", "index=256: not between 0 and 255", NULL },
	{ "file=disk.img,if=virtio,bus=1", "bus=1: not between 0 and 0", NULL },
	{ "file=disk.img,unit=2", "unit=2: not between 0 and 1", NULL },
	{ "file=disk.img,index=0,unit=0", "index= together with bus= or unit=", NULL },
	{ "file=disk.img,media=tape", "media=tape: no such value", "known: disk cdrom" },
	{ "file=disk.img,cache=nome", "cache=nome: no such value", "did you mean 'none'?" },
	{ "file=disk.img,cache=write", "cache=write: no such value", "did you mean 'write" },
	{ "file=disk.img,cache.direct=maybe", "cache.direct=maybe: 'maybe' is neither", NULL },
	{ "file=disk.img,cache.writeback=2", "cache.writeback=2: '2' is neither", NULL },
	{ "file=disk.img,aio=posix", "aio=posix: no such value", "threads native io_uring" },
	{ "file=disk.img,aio=native", "aio=native needs a cache mode without", "cache=none" },
	{ "file=disk.img,aio=native,cache=none,cache.direct=off", "aio=native needs",
	  "cache=none" },
	{ "file=disk.img,discard=maybe", "discard=maybe: no such value", "ignore" },
	{ "file=disk.img,detect-zeroes=yes", "detect-zeroes=yes: no such value", "off on unmap" },
	{ "file=disk.img,detect-zeroes=unmap", "detect-zeroes=unmap needs discard=unmap",
	  "add discard=unmap" },
	{ "file=disk.img,readonly=perhaps", "readonly=perhaps: 'perhaps' is neither",
	  "on, off or auto" },
	{ "file=disk.img,id=1", "id=1: not a name", "a letter, then" },
	{ "file=disk.img,id=a b", "id=a b: not a name", "a letter, then" },
	{ "file=disk.img,id=", "id=: not a name", "a letter, then" },
	{ "file=disk.img,werror=panic", "werror=panic: no such value", "report" },
	{ "file=disk.img,rerror=enospc", "rerror=enospc: no such value",
	  "known: report ignore stop" },
	{ "file=disk.img,snapshot=maybe", "snapshot=maybe: 'maybe' is neither", NULL },
	{ "file=disk.img,copy-on-read=on", "copy-on-read=on: this version does not copy", NULL },
	{ "file=disk.img,throttling.iops=5", "unknown key 'throttling.iops'",
	  "did you mean 'throttling.iops" },
	{ "file=disk.img,throttling.iops-total=5,throttling.iops-read=5", "iops-total together",
	  NULL },
	{ "file=disk.img,throttling.group=a", "drives cannot share limits", NULL },
	{ "file=disk.img,format=raw,cahce=none", "unknown key 'cahce'", "did you mean 'cache'?" },
	{ "file=disk.img,fromat=raw", "unknown key 'fromat'", "did you mean 'format'?" },
	{ "file=disk.img,file.lokcing=off", "driver file: unknown key 'lokcing'",
	  "did you mean 'locking'?" },
	{ "file=disk.img,format=raw,ofset=512", "unknown key 'ofset'", "did you mean 'offset'?" },
	{ "file=disk.img,format=rwa", "there is no format or driver 'rwa'", "did you mean 'raw'?" },
	{ "file=disk.img,format=qed",
	  "disk.img: format 'qed' cannot be opened by this version; "
	  "the image looks like raw",
	  "write format=raw" },
	{ "file=disk.img,format=raw,driver=file", "format=raw and driver=file", NULL },
	{ "file=disk.img,format=file", "'file' is not a format of images", "file.driver=file" },
	{ "file=disk.img,format=raw,offset=2M", "offset=2097152: disk.img ends before", NULL },
	{ "file=disk.img,format=raw,size=2M", "size=2097152: disk.img has only 1048576", NULL },
	{ "file=disk.img,format=raw,size=1000", "size=1000 is not a multiple of 512", "512 is" },
	{ "file=disk.img,format=raw,size=x", "size=x: 'x' is not a size", NULL },
	{ "file=nbd://host/x,format=raw", "images by nbd are not supported", "local file" },
	{ "file=https://host/x", "images by https are not supported", "local file" },
	{ "file=weird:name", "unknown protocol 'weird'", "file:weird:name" },
	{ "file=blkdebug:rules", "names no image", "blkdebug:RULES-FILE:IMAGE" },
	{ "file=blkdebug:none.rules:disk.img", "config=none.rules: cannot read the rules", NULL },
	{ "file=no.img,format=raw", "cannot open 'no.img': No such file", NULL },
	{ "file.driver=file,format=raw", "file", NULL },
	{ "file.driver=nil,format=raw", "file: there is no format or driver 'nil'",
	  "did you mean" },
	{ "file.x=y,format=raw", "file.driver= is missing", NULL },
	{ "file=disk.img,node-name=", "node-name= is empty", NULL },
	{ "file=disk.img,node-name=#block0", "made up by the program", NULL },
	{ "file=json:{,format=raw", "file: JSON: line 1", NULL },
	{ "file=json:[1]", "file: JSON: not an object", NULL },
	{ "file=json:{\"driver\":\"raw\"}", "file= is missing", NULL },
	{ "file=json:{\"driver\":\"null-co\",,\"size\":1.5}", "the value of 'size' is neither",
	  NULL },
	{ "file=json:{\"driver\":\"null-co\",,\"size\":null}", "the value of 'size' is neither",
	  NULL },
	{ "driver=null-co,latency-ns=-1", "latency-ns=-1: '-1' is not a number", NULL },
	{ "driver=null-co,latency=1", "unknown key 'latency'", "did you mean 'latency-ns'?" },
};

START_TEST(test_refused)
{
	fails(refused[_i].arg, refused[_i].says, refused[_i].hint);
	ck_assert_ptr_null(blk_next(set, NULL));
}
END_TEST

START_TEST(test_twice)
{
	fails("file=disk.img,cache=none,cache=nome", "cache=nome", NULL);
	ok("file=disk.img,format=raw,if=none,id=d0");
	fails("file=disk.img,format=raw,if=none,id=d0",
	      "id=d0: another drive or node has this name", NULL);
	/* The lock that is in the way is the first drive's. */
	fails("file=disk.img,format=raw,if=none,id=d1",
	      "disk.img: drive 'd0' has this image already", "drive=d0");
	fails("file=./disk.img,format=raw,if=none,id=d1", "drive 'd0' has this image already",
	      "drive=d0");
	fails("file=file:disk.img,format=raw,if=none,id=d1", "disk.img: drive 'd0' has this image",
	      NULL);
	ok("file=disk.img,format=raw,if=none,id=d1,file.locking=off");
}
END_TEST

START_TEST(test_shared_readonly)
{
	ok("file=disk.img,format=raw,if=none,id=d0,readonly=on");
	ok("file=disk.img,format=raw,if=none,id=d1,ro=on");
	ok("file=disk.img,format=raw,if=none,id=d2,read-only=on");
	fails("file=disk.img,format=raw,if=none,id=d3", "drive 'd0' has this image already",
	      "readonly=on");
}
END_TEST

START_TEST(test_node_names)
{
	ok("driver=null-co,if=none,id=d0,node-name=n0");
	fails("driver=null-co,if=none,id=n0", "another drive or node", NULL);
	fails("driver=null-co,if=none,id=d1,node-name=n0", "node-name=n0", NULL);
	fails("driver=null-co,if=none,id=d1,node-name=d0", "node-name=d0: a drive has this id",
	      NULL);
	/* Other keys do not make a name of a node go away or stay behind. */
	fails("driver=null-co,if=none,id=d1,node-name=n1,bogus=1", "unknown key 'bogus'", NULL);
	ok("driver=null-co,if=none,id=d1,node-name=n1");
}
END_TEST

/* --- what is kept --- */

START_TEST(test_properties)
{
	struct blk_info i;

	ok("file=disk.img,format=raw,if=none,serial=ABC 123,werror=stop,rerror=ignore,"
	   "detect-zeroes=unmap,discard=unmap,throttling.bps-total=5M,iops_rd=7");
	ck_assert_str_eq(blk_serial(d.blk), "ABC 123");
	ck_assert(blk_can_discard(d.blk));
	blk_get_info(d.blk, &i);
	ck_assert_str_eq(i.werror, "stop");
	ck_assert_str_eq(i.rerror, "ignore");
	ck_assert_str_eq(i.detect_zeroes, "unmap");
	ck_assert_str_eq(i.filename, "disk.img");
	ck_assert_str_eq(i.format, "raw");
	ck_assert_int_eq(i.node_name[0], '#');
	ck_assert_uint_eq(blk_get_throttle(d.blk)->limit[THROTTLE_BPS_TOTAL].avg, 5 << 20);
	ck_assert_uint_eq(blk_get_throttle(d.blk)->limit[THROTTLE_OPS_READ].avg, 7);
	ok("driver=null-co,if=none");
	ck_assert_ptr_null(blk_serial(d.blk));
	ck_assert(!blk_can_discard(d.blk));
	blk_get_info(d.blk, &i);
	ck_assert_str_eq(i.werror, "enospc");
	ck_assert_str_eq(i.rerror, "report");
	ck_assert_str_eq(i.detect_zeroes, "off");
	ck_assert_str_eq(i.filename, "null-co://");
}
END_TEST

START_TEST(test_open_flags)
{
	static const struct {
		const char *keys;
		struct blk_open how;
	} rows[] = {
		{ "", { .locking = true } },
		{ "cache=none", { .locking = true, .direct = true } },
		{ "cache=none,aio=native",
		  { .locking = true, .direct = true, .aio = BLK_AIO_NATIVE } },
		{ "aio=threads", { .locking = true, .aio = BLK_AIO_THREADS } },
		{ "aio=io_uring", { .locking = true, .aio = BLK_AIO_IO_URING } },
		{ "readonly=on", { .locking = true, .readonly = true } },
		{ "readonly=auto", { .locking = true, .auto_readonly = true } },
		{ "ro=auto", { .locking = true, .auto_readonly = true } },
		{ "auto-read-only=on", { .locking = true, .auto_readonly = true } },
		{ "share-rw=on", { .locking = true, .share_rw = true } },
		{ "cache=unsafe", { .locking = true, .no_flush = true } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char arg[128];
		struct blk_open how = rows[i].how;

		/* Below a format, and by itself. */
		snprintf(arg, sizeof(arg), "format=raw,file.driver=fake,if=none%s%s",
			 *rows[i].keys ? "," : "", rows[i].keys);
		ok(arg);
		how.loop = &fake_loop;
		how.discard = true; /* what the format passes on */
		ck_assert_msg(!memcmp(&fake_disk.node->open, &how, sizeof(how)), "%s",
			      rows[i].keys);
		ck_assert_ptr_eq(fake_disk.node->parent->file, fake_disk.node);
		ck_assert(!fake_disk.node->parent->open.discard);
		blk_set_destroy(set);
		ck_assert_int_eq(blk_set_create(&set, &fake_loop, NULL, &e), 0);
	}
}
END_TEST

START_TEST(test_child_overrides)
{
	ok("format=raw,file.driver=fake,file.cache.direct=off,file.discard=ignore,"
	   "file.node-name=below,file.size=64K,cache=none,discard=unmap,if=none");
	ck_assert(!fake_disk.node->open.direct);
	ck_assert(!fake_disk.node->open.discard);
	ck_assert(fake_disk.node->parent->open.direct);
	ck_assert(fake_disk.node->parent->open.discard);
	ck_assert_ptr_eq(blk_node_find("below"), fake_disk.node);
	ck_assert_uint_eq(blk_size(d.blk), 65536);
}
END_TEST

START_TEST(test_discard_below)
{
	/* What may be discarded is decided by the drive; what lies below carries it out. */
	ok("file=disk.img,format=raw,if=none,file.node-name=f0");
	ck_assert(!blk_can_discard(d.blk));
	ck_assert(blk_node_find("f0")->open.discard);
	ok("file=null-co://"
	   ",format=raw,if=none,file.node-name=f1,file.discard=ignore,discard=unmap");
	ck_assert(blk_can_discard(d.blk));
	ck_assert(!blk_node_find("f1")->open.discard);
}
END_TEST

START_TEST(test_readonly_below)
{
	fails("format=raw,file.driver=fake,file.read-only=on,if=none", "is read-only",
	      "add read-only=on");
	ok("format=raw,file.driver=fake,file.read-only=on,if=none,readonly=on");
	blk_set_destroy(set);
	ck_assert_int_eq(blk_set_create(&set, &fake_loop, NULL, &e), 0);
	ok("format=raw,file.driver=fake,file.read-only=on,if=none,readonly=auto");
	ck_assert(blk_readonly(d.blk));
}
END_TEST

/* --- names of files --- */

START_TEST(test_file_names)
{
	static const char zero[512];

	make_file("a:b", zero, sizeof(zero));
	make_file("c,d", zero, sizeof(zero));
	make_file("file:x", zero, sizeof(zero));
	make_file("json:{}", zero, sizeof(zero));
	ok("file=file:a:b,format=raw,if=none");
	ok("file=./a:b,format=raw,if=none,file.locking=off");
	ok("file=c,,d,format=raw,if=none");
	ok("file.filename=file:x,format=raw,if=none");
	ok("file=null-co://,format=raw,if=none");
	ck_assert_uint_eq(blk_size(d.blk), 1 << 30);
	ok("file=null-aio://,file.size=2M,if=none");
	ck_assert_uint_eq(blk_size(d.blk), 2 << 20);
	/* -hda: the name is a path, whatever it looks like. */
	ck_assert_int_eq(blk_add_file(set, "json:{}", "hd0", false, false, &d, &e), 0);
	ck_assert_str_eq(blk_id(d.blk), "hd0");
	ck_assert_int_eq(d.iface, DRIVE_IF_DEFAULT);
	ck_assert_int_eq(d.index, -1);
	ck_assert_int_eq(blk_add_file(set, "disk.img", NULL, true, false, &d, &e), 0);
	ck_assert_str_eq(blk_id(d.blk), "ide0-cd0");
	ck_assert(d.cdrom && blk_readonly(d.blk));
	ck_assert_int_eq(blk_add_file(set, "disk.img", "hd0", true, false, &d, &e), -EEXIST);
	ck_assert_int_eq(blk_add_file(set, "disk.img", NULL, false, true, &d, &e), -ENOTSUP);
	ck_assert_int_eq(blk_add_file(set, "null-co://", NULL, false, false, &d, &e), -ENOENT);
	ck_assert_int_eq(blk_add_file(set, "json:{}", NULL, false, false, &d, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.msg, "drive 'hd0' has this image"));
}
END_TEST

START_TEST(test_json)
{
	ok("file=json:{\"driver\":\"raw\",,\"offset\":512,,\"file\":{\"driver\":\"file\",,"
	   "\"filename\":\"disk.img\",,\"read-only\":false}},if=none,id=j0");
	ck_assert_uint_eq(blk_size(d.blk), (1 << 20) - 512);
	ok("file=json:{\"driver\":\"null-co\",,\"size\":1048576,,\"read-zeroes\":true},if=none");
	ck_assert_uint_eq(blk_size(d.blk), 1 << 20);
	ok("file=json:{\"file\":{\"driver\":\"null-co\"}},if=none,format=raw");
	ok("file=json:{\"driver\":\"raw\",,\"file.driver\":\"null-co\"},if=none");
}
END_TEST

/* --- probing --- */

static const struct {
	unsigned off, len;
	const char *bytes, *format;
} images[] = {
	{ 0, 4, "QED", "qed" },
};

START_TEST(test_foreign)
{
	uint8_t data[512] = { 0 };
	char says[64];

	memcpy(data + images[_i].off, images[_i].bytes, images[_i].len);
	make_file("foreign", data, sizeof(data));
	snprintf(says, sizeof(says), "foreign is an image of format %s", images[_i].format);
	fails("file=foreign,if=none", says, "qemu-img convert -O raw foreign NEW");
	fails("file=foreign,if=none,readonly=on", says, "format=raw");
	fails("file=foreign,if=none,format=qcow", "the image looks like", "qemu-img convert");
	ck_assert_ptr_nonnull(strstr(e.msg, images[_i].format));
	ok("file=foreign,if=none,format=raw");
	/* Cut short, it is no such image. */
	make_file("cut", data, sizeof(data));
	ck_assert_int_eq(truncate("cut", images[_i].off + images[_i].len - 1), 0);
	ok("file=cut,if=none");
}
END_TEST

/* What is on stderr from a drive. */
static void warns(const char *arg, const char *text)
{
	char buf[4096] = "";
	int old = dup(2), fd;

	fd = open("stderr", O_RDWR | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	dup2(fd, 2);
	ok(arg);
	dup2(old, 2);
	close(old);
	ck_assert_int_ge(pread(fd, buf, sizeof(buf) - 1, 0), 0);
	close(fd);
	if (text)
		ck_assert_msg(strstr(buf, text) != NULL, "%s: %s", arg, buf);
	else
		ck_assert_str_eq(buf, "");
}

START_TEST(test_probed_raw)
{
	static const char data[700];

	warns("file=disk.img,if=none,id=d0", "format=raw");
	warns("file=disk.img,if=none,format=raw,file.locking=off", NULL);
	/* Nothing can be written there. */
	warns("file=disk.img,if=none,readonly=on,file.locking=off", NULL);
	warns("file=disk.img,media=cdrom,file.locking=off", NULL);
	make_file("odd", data, sizeof(data));
	ck_assert_int_eq(truncate("odd", 700), 0);
	warns("file=odd,if=none,format=raw", "700 bytes are not a multiple of 512");
	ck_assert_uint_eq(blk_size(d.blk), 1024);
	make_file("empty", data, 0);
	ck_assert_int_eq(truncate("empty", 0), 0);
	ok("file=empty,if=none");
	ck_assert_uint_eq(blk_size(d.blk), 0);
}
END_TEST

START_TEST(test_unreadable_header)
{
	make_file("rules", "[inject-error]\niotype=read\n", 27);
	ck_assert_int_eq(truncate("rules", 27), 0);
	fails("file=blkdebug:rules:disk.img,if=none", "cannot read its beginning", "format=");
	ok("file=blkdebug:rules:disk.img,if=none,format=raw");
	ok("file=blkdebug::null-co://,if=none,format=raw");
}
END_TEST

/* --- -blockdev --- */

static int blockdev(const char *arg)
{
	memset(&e, 0, sizeof(e));
	return blk_add_blockdev(set, arg, &e);
}

static const struct {
	const char *arg, *says;
} wrong_blockdevs[] = {
	{ "", "driver= is missing" },
	{ "node-name=a", "driver= is missing" },
	{ "driver=null-co", "node-name= is missing" },
	{ "driver=qed,node-name=a", "format 'qed' cannot be opened by this version" },
	{ "driver=nul-co,node-name=a", "there is no format or driver 'nul-co'" },
	{ "driver=raw,node-name=a", "driver raw needs a node below it" },
	{ "driver=raw,node-name=a,file=b", "file=b: no node has this name" },
	{ "driver=raw,node-name=a,file=b,file.driver=null-co", "both file= and file.X= are given" },
	{ "driver=null-co,node-name=a,bogus=1", "driver null-co: unknown key 'bogus'" },
	{ "driver=raw,node-name=a,file.driver=null-co,file.bogus=1",
	  "file: driver null-co: unknown key 'bogus'" },
	{ "driver=null-co,node-name=a,detect-zeroes=unmap", "needs discard=unmap" },
	{ "driver=null-co,node-name=a,detect-zeroes=x", "detect-zeroes=x: no such value" },
	{ "driver=null-co,node-name=a,aio=native", "aio=native needs" },
	{ "driver=null-co,node-name=a,read-only=x", "read-only=x" },
	{ "driver=null-co,node-name=taken", "node-name=taken: another" },
	{ "driver=blkdebug,node-name=a,image=taken,inject-error.x.errno=1",
	  "inject-error.x.errno: not inject-error.NUMBER.KEY" },
	{ "driver=blkdebug,node-name=a,image=taken,inject-error.5000.errno=1", "more than 256" },
	{ "driver=blkdebug,node-name=a,image=taken,inject-error.0.ernno=1",
	  "inject-error.0: unknown key 'ernno'" },
	{ "driver=blkdebug,node-name=a,image=taken,injct-error.0.errno=1", "unknown key 'injct" },
	{ "{", "JSON: line 1" },
	{ "{\"driver\":\"null-co\",\"node-name\":\"a\",\"node-name\":\"b\"}", "duplicate" },
	{ "{\"driver\":\"null-co\",\"node-name\":\"a\",\"\":1}", "a member without a name" },
	{ "{\"driver\":\"null-co\",\"node-name\":\"a\",\"x\":{\"y\":[1]}}", "unknown key 'x.y.0'" },
	{ "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":"
	  "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}}}}}}}}}",
	  "nested more than" },
};

START_TEST(test_wrong_blockdev)
{
	ck_assert_int_eq(blockdev("driver=null-co,node-name=taken"), 0);
	ck_assert_int_lt(blockdev(wrong_blockdevs[_i].arg), 0);
	ck_assert_msg(strstr(e.msg, wrong_blockdevs[_i].says) != NULL, "%s: %s",
		      wrong_blockdevs[_i].arg, e.msg);
	ck_assert_ptr_null(blk_find(set, "a"));
	ck_assert_ptr_null(blk_node_find("a"));
}
END_TEST

START_TEST(test_blockdev)
{
	struct blk *b;

	ck_assert_int_eq(blockdev("driver=file,node-name=f0,filename=disk.img"), 0);
	ck_assert_int_eq(blockdev("raw,node-name=r0,file=f0,offset=4096"), 0);
	ck_assert_int_eq(blockdev("{\"driver\":\"raw\",\"node-name\":\"r1\",\"read-only\":true,"
				  "\"file\":{\"driver\":\"null-co\",\"size\":4096}}"),
			 0);
	b = blk_find(set, "r0");
	ck_assert_uint_eq(blk_size(b), (1 << 20) - 4096);
	ck_assert(!blk_readonly(b));
	b = blk_find(set, "r1");
	ck_assert_uint_eq(blk_size(b), 4096);
	ck_assert(blk_readonly(b));
	/* One node above another, no more. */
	ck_assert_int_eq(blockdev("driver=raw,node-name=r2,file=f0"), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.msg, "node 'r0' is above it already"));
	ck_assert_int_eq(blockdev("driver=raw,node-name=r2,file=r2"), -ENOENT);
	ck_assert_int_eq(blockdev("driver=raw,node-name=r2,file=ff0"), -ENOENT);
	ck_assert_str_eq(e.hint, "did you mean 'f0'?");
	/* One that a device has, neither. */
	ck_assert_int_eq(blk_attach(blk_find(set, "r1"), NULL, NULL, false, &fake_loop, &e), 0);
	ck_assert_int_eq(blockdev("driver=raw,node-name=r2,file=r1"), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.msg, "a device uses this node itself"));
}
END_TEST

START_TEST(test_deep)
{
	char arg[512];
	int rc = 0;

	ck_assert_int_eq(blockdev("driver=null-co,node-name=n0"), 0);
	for (unsigned i = 1; !rc && i < 40; i++) {
		snprintf(arg, sizeof(arg), "driver=raw,node-name=n%u,file=n%u", i, i - 1);
		rc = blockdev(arg);
	}
	ck_assert_int_eq(rc, -ELOOP);
	ck_assert_ptr_nonnull(strstr(e.msg, "more than 16 nodes"));
}
END_TEST

START_TEST(test_long_texts)
{
	static char arg[200000];
	size_t n = (size_t)sprintf(arg, "driver=raw,node-name=a");

	/* Nested further than a stack should hold. */
	for (unsigned depth = 1; depth < 300; depth++) {
		arg[n++] = ',';
		for (unsigned i = 0; i < depth; i++)
			n += (size_t)sprintf(arg + n, "file.");
		n += (size_t)sprintf(arg + n, "driver=raw");
		if (n > sizeof(arg) - 2000)
			break;
	}
	ck_assert_int_eq(blockdev(arg), -ELOOP);
}
END_TEST

START_TEST(test_describe)
{
	char *text = NULL;
	size_t size;
	FILE *f;

	ok("file=disk.img,format=raw,if=none,id=d0,readonly=on,cache=directsync,"
	   "throttling.iops-total=7,node-name=n0");
	f = open_memstream(&text, &size);
	blk_describe(d.blk, f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "d0 (n0): disk.img (raw, read-only)\n"));
	ck_assert_ptr_nonnull(strstr(text, "Cache mode:       writethrough, direct\n"));
	ck_assert_ptr_nonnull(strstr(text, "iops=7"));
	ck_assert_ptr_nonnull(strstr(text, "not attached"));
	free(text);
	f = open_memstream(&text, &size);
	blk_help(f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "  raw "));
	ck_assert_ptr_nonnull(strstr(text, "  blkdebug "));
	ck_assert_ptr_nonnull(strstr(text, "latency-ns="));
	free(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("block_drive");
	TCase *t = tcase_create("drive");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_place, 0, sizeof(places) / sizeof(places[0]));
	tcase_add_test(t, test_names_in_turn);
	tcase_add_test(t, test_find);
	tcase_add_loop_test(t, test_refused, 0, sizeof(refused) / sizeof(refused[0]));
	tcase_add_test(t, test_twice);
	tcase_add_test(t, test_shared_readonly);
	tcase_add_test(t, test_node_names);
	tcase_add_test(t, test_properties);
	tcase_add_test(t, test_open_flags);
	tcase_add_test(t, test_child_overrides);
	tcase_add_test(t, test_discard_below);
	tcase_add_test(t, test_readonly_below);
	tcase_add_test(t, test_file_names);
	tcase_add_test(t, test_json);
	tcase_add_loop_test(t, test_foreign, 0, sizeof(images) / sizeof(images[0]));
	tcase_add_test(t, test_probed_raw);
	tcase_add_test(t, test_unreadable_header);
	tcase_add_loop_test(t, test_wrong_blockdev, 0,
			    sizeof(wrong_blockdevs) / sizeof(wrong_blockdevs[0]));
	tcase_add_test(t, test_blockdev);
	tcase_add_test(t, test_deep);
	tcase_add_test(t, test_long_texts);
	tcase_add_test(t, test_describe);
	suite_add_tcase(s, t);
	return run_suite(s);
}
