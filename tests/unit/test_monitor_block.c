/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unit tests of the monitor's commands about drives (src/monitor_block.c), on fake disks. */
#include <stdio.h>

#include "suite.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "monitor.h"
#include "throttle.h"
#include "vm.h"

/* Of monitor.c, which would bring the whole of the VM with it. */
int64_t mon_int(const json_t *args, const char *name, int64_t def)
{
	const json_t *v = json_object_get(args, name);

	return v ? json_integer_value(v) : def;
}

bool mon_bool(const json_t *args, const char *name)
{
	return json_is_true(json_object_get(args, name));
}

const char *mon_str(const json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

json_t *mon_empty(void)
{
	return json_object();
}

json_t *mon_string(const char *s)
{
	return json_string(s);
}

static struct vm vm;
static struct mon mon = { .vm = &vm };
static struct blk *d0;
static struct err e;

static void setup(void)
{
	struct drive d;

	ck_assert_int_eq(blk_set_create(&vm.m.blks, &fake_loop, NULL, &e), 0);
	ck_assert_int_eq(blk_add_drive(vm.m.blks, "driver=fake,if=none,id=d0,node-name=n0", &d, &e),
			 0);
	d0 = d.blk;
	ck_assert_int_eq(blk_add_drive(vm.m.blks,
				       "file=null-co://,format=raw,if=virtio,readonly=on,"
				       "cache=directsync,bps=10M,bps_max=20M,iops=5,iops_size=4096",
				       &d, &e),
			 0);
	ck_assert_int_eq(blk_attach(d0, NULL, NULL, true, &fake_loop, &e), 0);
}

static void teardown(void)
{
	blk_set_destroy(vm.m.blks);
}

typedef json_t *handler(struct mon *m, const json_t *args, struct err *e);

static json_t *ask(handler *run, const char *args)
{
	json_t *j = json_loads(args, 0, NULL), *r;

	ck_assert_ptr_nonnull(j);
	memset(&e, 0, sizeof(e));
	r = run(&mon, j, &e);
	json_decref(j);
	return r;
}

static void succeeds(handler *run, const char *args)
{
	json_t *r = ask(run, args);

	ck_assert_msg(r != NULL, "%s: %s", args, e.msg);
	json_decref(r);
}

static void refuses(handler *run, const char *args, int code, const char *says)
{
	ck_assert_ptr_null(ask(run, args));
	ck_assert_int_eq(e.code, code);
	ck_assert_msg(strstr(e.msg, says) != NULL, "%s: %s", args, e.msg);
}

static const json_t *at(const json_t *j, const char *path)
{
	char word[64];

	while (j && *path) {
		size_t n = strcspn(path, "/");

		snprintf(word, sizeof(word), "%.*s", (int)n, path);
		j = json_object_get(j, word);
		path += n + (path[n] != '\0');
	}
	return j;
}

static const char *text_at(const json_t *j, const char *path)
{
	return json_string_value(at(j, path));
}

static uint64_t int_at(const json_t *j, const char *path)
{
	ck_assert_msg(json_is_integer(at(j, path)), "%s", path);
	return (uint64_t)json_integer_value(at(j, path));
}

START_TEST(test_query_block)
{
	json_t *r = ask(mon_query_block, "{}"), *d;

	ck_assert_uint_eq(json_array_size(r), 2);
	d = json_array_get(r, 0);
	ck_assert_str_eq(text_at(d, "device"), "d0");
	ck_assert_str_eq(text_at(d, "io-status"), "ok");
	ck_assert_str_eq(text_at(d, "inserted/node-name"), "n0");
	ck_assert_str_eq(text_at(d, "inserted/drv"), "fake");
	ck_assert_uint_eq(int_at(d, "inserted/image/virtual-size"), 1 << 20);
	ck_assert_uint_eq(int_at(d, "inserted/bps"), 0);
	ck_assert(json_is_false(at(d, "inserted/ro")));
	ck_assert(json_is_true(at(d, "inserted/cache/writeback")));
	d = json_array_get(r, 1);
	ck_assert_str_eq(text_at(d, "device"), "virtio0");
	ck_assert_str_eq(text_at(d, "inserted/drv"), "raw");
	ck_assert_str_eq(text_at(d, "inserted/file"), "null-co://");
	ck_assert(json_is_true(at(d, "inserted/ro")));
	ck_assert(json_is_false(at(d, "inserted/cache/writeback")));
	ck_assert(json_is_true(at(d, "inserted/cache/direct")));
	ck_assert_uint_eq(int_at(d, "inserted/bps"), 10 << 20);
	ck_assert_uint_eq(int_at(d, "inserted/bps_max"), 20 << 20);
	ck_assert_uint_eq(int_at(d, "inserted/bps_max_length"), 1);
	ck_assert_uint_eq(int_at(d, "inserted/iops"), 5);
	ck_assert_uint_eq(int_at(d, "inserted/iops_size"), 4096);
	json_decref(r);
}
END_TEST

static int no_room(const struct blk_io *io)
{
	return io->op == BLK_WRITE ? -ENOSPC : 0;
}

static void ignore_done(struct blk_req *r, int ret)
{
}

static void ignore_stop(void *ctx, struct blk *b, bool write, int error)
{
}

static struct blk_req request;
static char page[4096];
static const struct iovec iov = { page, 4096 };

static void submit(enum blk_op op)
{
	request = (struct blk_req){
		.op = op, .len = 4096, .iov = &iov, .n_iov = 1, .done = ignore_done
	};
	blk_submit(d0, &request);
	fake_run();
}

START_TEST(test_io_status)
{
	static const struct blk_host host = { .stop = ignore_stop };
	struct drive d;
	json_t *r;

	blk_set_destroy(vm.m.blks);
	ck_assert_int_eq(blk_set_create(&vm.m.blks, &fake_loop, &host, &e), 0);
	ck_assert_int_eq(blk_add_drive(vm.m.blks, "driver=fake,if=none", &d, &e), 0);
	d0 = d.blk;
	ck_assert_int_eq(blk_attach(d0, NULL, NULL, true, &fake_loop, &e), 0);
	fake_disk.decide = no_room;
	submit(BLK_WRITE);
	r = ask(mon_query_block, "{}");
	ck_assert_str_eq(text_at(json_array_get(r, 0), "io-status"), "nospace");
	json_decref(r);
}
END_TEST

START_TEST(test_blockstats)
{
	char *text = NULL;
	size_t size;
	json_t *r, *d;
	FILE *f;

	submit(BLK_READ);
	submit(BLK_WRITE);
	submit(BLK_WRITE_ZEROES);
	fake_disk.decide = no_room;
	submit(BLK_WRITE);
	r = ask(mon_query_blockstats, "{}");
	d = json_array_get(r, 0);
	ck_assert_str_eq(text_at(d, "device"), "d0");
	ck_assert_str_eq(text_at(d, "node-name"), "n0");
	ck_assert_uint_eq(int_at(d, "stats/rd_operations"), 1);
	ck_assert_uint_eq(int_at(d, "stats/rd_bytes"), 4096);
	ck_assert_uint_eq(int_at(d, "stats/wr_operations"), 2);
	ck_assert_uint_eq(int_at(d, "stats/wr_bytes"), 8192);
	ck_assert_uint_eq(int_at(d, "stats/failed_wr_operations"), 1);
	ck_assert_uint_eq(int_at(d, "stats/flush_operations"), 0);
	f = open_memstream(&text, &size);
	mon_print_blockstats(f, &mon, r);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "d0: "));
	ck_assert_ptr_nonnull(strstr(text, " wr_bytes=8192"));
	free(text);
	json_decref(r);
}
END_TEST

START_TEST(test_info_block)
{
	json_t *r = ask(mon_info_block, "{}");

	ck_assert_ptr_nonnull(strstr(json_string_value(r), "d0 (n0): fake:// (fake)\n"));
	ck_assert_ptr_nonnull(strstr(json_string_value(r), "\n\nvirtio0 ("));
	json_decref(r);
	r = ask(mon_info_block, "{\"device\":\"virtio0\"}");
	ck_assert_ptr_null(strstr(json_string_value(r), "d0 (n0)"));
	json_decref(r);
	refuses(mon_info_block, "{\"device\":\"d1\"}", ENODEV, "Device 'd1' not found");
	ck_assert_str_eq(e.hint, "did you mean 'd0'?");
}
END_TEST

START_TEST(test_resize)
{
	succeeds(mon_block_resize, "{\"device\":\"d0\",\"size\":2097152}");
	ck_assert_uint_eq(blk_size(d0), 2 << 20);
	succeeds(mon_block_resize, "{\"node-name\":\"n0\",\"size\":4096}");
	ck_assert_uint_eq(blk_size(d0), 4096);
	succeeds(mon_block_resize_text, "{\"device\":\"d0\",\"size\":\"3\"}");
	ck_assert_uint_eq(blk_size(d0), 3 << 20);
	succeeds(mon_block_resize_text, "{\"device\":\"d0\",\"size\":\"64K\"}");
	ck_assert_uint_eq(blk_size(d0), 64 << 10);
	refuses(mon_block_resize, "{\"size\":4096}", EINVAL, "Parameter 'device' is missing");
	refuses(mon_block_resize, "{\"device\":\"x\",\"size\":4096}", ENODEV, "Device 'x'");
	refuses(mon_block_resize, "{\"device\":\"d0\",\"size\":-1}", EINVAL, "'size' expects");
	refuses(mon_block_resize, "{\"device\":\"d0\",\"size\":1}", EINVAL, "multiple of 512");
	refuses(mon_block_resize, "{\"device\":\"virtio0\",\"size\":512}", EROFS, "read-only");
	refuses(mon_block_resize_text, "{\"device\":\"d0\",\"size\":\"big\"}", EINVAL,
		"not a size");
	ck_assert_uint_eq(blk_size(d0), 64 << 10);
}
END_TEST

#define ALL(dev, bps, rd)                                                                          \
	"{" dev "\"bps\":" bps ",\"bps_rd\":" rd                                                   \
	",\"bps_wr\":0,\"iops\":3,\"iops_rd\":0,\"iops_wr\":0,\"iops_max\":9,"                     \
	"\"iops_max_length\":2,\"iops_size\":512}"

START_TEST(test_throttle)
{
	const struct blk_throttle *t = blk_get_throttle(d0);

	succeeds(mon_block_set_io_throttle, ALL("\"id\":\"d0\",", "7", "0"));
	ck_assert_uint_eq(t->limit[THROTTLE_BPS_TOTAL].avg, 7);
	ck_assert_uint_eq(t->limit[THROTTLE_OPS_TOTAL].avg, 3);
	ck_assert_uint_eq(t->limit[THROTTLE_OPS_TOTAL].max, 9);
	ck_assert_uint_eq(t->limit[THROTTLE_OPS_TOTAL].max_length, 2);
	ck_assert_uint_eq(t->iops_size, 512);
	refuses(mon_block_set_io_throttle, ALL("\"device\":\"d0\",", "7", "8"), EINVAL,
		"bps-total together with");
	refuses(mon_block_set_io_throttle, ALL("\"device\":\"d0\",", "-7", "0"), EINVAL,
		"Parameter 'bps' is below zero");
	refuses(mon_block_set_io_throttle, ALL("\"device\":\"dd\",", "7", "0"), ENODEV, "'dd'");
	refuses(mon_block_set_io_throttle, ALL("", "7", "0"), EINVAL, "Parameter 'id' is missing");
	ck_assert_uint_eq(t->limit[THROTTLE_BPS_TOTAL].avg, 7);
}
END_TEST

static unsigned looks, asked;

static void medium_changed(void *ctx)
{
	looks++;
}

static void eject_request(void *ctx)
{
	asked++;
}

START_TEST(test_media)
{
	static const struct blk_client client = { .medium_changed = medium_changed,
						  .eject_request = eject_request };
	struct drive d;
	json_t *r;

	ck_assert_int_eq(blk_add_empty(vm.m.blks, "cd0", &d, &e), 0);
	ck_assert_int_eq(blk_attach(d.blk, &client, NULL, false, &fake_loop, &e), 0);
	refuses(mon_eject, "{\"device\":\"d0\"}", ENOTSUP, "not removable");
	refuses(mon_change_medium, "{\"device\":\"d0\",\"filename\":\"x\"}", ENOTSUP,
		"not removable");
	refuses(mon_change_medium, "{\"device\":\"cd0\",\"filename\":\"/no/such\"}", ENOENT,
		"/no/such");
	refuses(mon_change_medium,
		"{\"id\":\"cd0\",\"filename\":\"null-co://\",\"read-only-mode\":\"read-write\"}",
		ENOTSUP, "read-only");
	r = ask(mon_query_block, "{}");
	ck_assert_ptr_null(at(json_array_get(r, 2), "inserted"));
	ck_assert(json_is_true(at(json_array_get(r, 2), "removable")));
	ck_assert(json_is_false(at(json_array_get(r, 2), "tray_open")));
	json_decref(r);
	succeeds(mon_change_medium,
		 "{\"id\":\"cd0\",\"filename\":\"null-co://\",\"format\":\"raw\"}");
	ck_assert_uint_ge(looks, 2);
	r = ask(mon_query_block, "{}");
	ck_assert_str_eq(text_at(json_array_get(r, 2), "inserted/drv"), "raw");
	ck_assert(json_is_true(at(json_array_get(r, 2), "inserted/ro")));
	json_decref(r);
	blk_set_tray_lock(d.blk, true);
	refuses(mon_eject, "{\"device\":\"cd0\"}", EBUSY, "is locked");
	ck_assert_uint_eq(asked, 1);
	ck_assert(blk_has_medium(d.blk));
	succeeds(mon_eject, "{\"device\":\"cd0\",\"force\":true}");
	ck_assert(!blk_has_medium(d.blk));
	refuses(mon_block_resize, "{\"device\":\"cd0\",\"size\":512}", ENOMEDIUM, "no medium");
	r = ask(mon_info_block, "{\"device\":\"cd0\"}");
	ck_assert_str_eq(json_string_value(r),
			 "cd0: [not inserted]\n    Removable device: locked, tray open\n"
			 "    Size:             0 bytes\n    Cache mode:       writeback\n");
	json_decref(r);
	blk_detach(d.blk);
}
END_TEST

START_TEST(test_no_drives)
{
	struct vm none = { 0 };
	struct mon m = { .vm = &none };
	json_t *empty = json_object(), *r;

	r = mon_query_block(&m, empty, &e);
	ck_assert_uint_eq(json_array_size(r), 0);
	json_decref(r);
	r = mon_query_blockstats(&m, empty, &e);
	ck_assert_uint_eq(json_array_size(r), 0);
	json_decref(r);
	r = mon_info_block(&m, empty, &e);
	ck_assert_str_eq(json_string_value(r), "");
	json_decref(r);
	json_decref(empty);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("monitor_block");
	TCase *t = tcase_create("drives");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_query_block);
	tcase_add_test(t, test_io_status);
	tcase_add_test(t, test_blockstats);
	tcase_add_test(t, test_info_block);
	tcase_add_test(t, test_resize);
	tcase_add_test(t, test_throttle);
	tcase_add_test(t, test_media);
	tcase_add_test(t, test_no_drives);
	suite_add_tcase(s, t);
	return run_suite(s);
}
