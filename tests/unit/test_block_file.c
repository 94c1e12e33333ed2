/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drivers file and host_device on real files: data at any alignment with and
 * without O_DIRECT, holes, sizes, full disks, locks against qemu-io, and what the messages say.
 * What this host cannot do is left out by name.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"
#include "aio.h"
#include "block_int.h"
#include "err.h"
#include "loop.h"
#include "opts.h"

static char dir[64], path[80];
static struct loop *l;
static struct blk_node *n;
static struct err e;

struct variant {
	enum blk_aio aio;
	bool direct;
};
static struct variant variants[6];
static int n_variants;

static void setup(void)
{
	strcpy(dir, "test_file-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	ck_assert_int_eq(loop_create(&l, &e), 0);
}

static void close_node(void)
{
	if (!n)
		return;
	blk_node_drain(n);
	blk_node_detach(n);
	blk_node_close(n);
	n = NULL;
}

static void teardown(void)
{
	close_node();
	loop_destroy(l);
	unlink(path);
	rmdir(dir);
}

static void make_file(uint64_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static int open_as(const char *driver, const char *more, struct blk_open how, struct blk_node **out)
{
	struct opts o;
	char text[256];
	int ret;

	snprintf(text, sizeof(text), "filename=%s%s", path, more);
	ck_assert_int_eq(opts_parse(&o, text, NULL, &e), 0);
	memset(&e, 0, sizeof(e));
	ret = blk_node_open(blk_driver_find(driver), &o, &how, NULL, out, &e);
	opts_free(&o);
	return ret;
}

static int try(struct blk_open how)
{
	return open_as("file", "", how, &n);
}

static void must_open(struct blk_open how)
{
	ck_assert_msg(!try(how), "%s", e.msg);
}

static void attach(void)
{
	ck_assert_msg(!blk_node_attach(n, l, &e), "%s", e.msg);
}

static bool says(const char *msg, const char *hint)
{
	return strstr(e.msg, msg) && strstr(e.hint, hint);
}

/* --- data ---------------------------------------------------------------------------- */

/* Parts of the disk whose ends are in the middle of blocks; one request in each at a time. */
enum { PARTS = 96, PART = 7001, ROUNDS = 5000, DISK = PARTS * PART };

struct part {
	struct blk_io io; /* first */
	struct iovec iov[4];
	uint8_t *mem, *buf;
	unsigned i;
};

static uint8_t *model;
static unsigned rounds, running;

static void next_op(struct part *p);

static void on_part(struct blk_io *io, int ret)
{
	struct part *p = (struct part *)io;

	ck_assert_int_eq(ret, 0);
	if (io->op == BLK_READ)
		ck_assert_mem_eq(p->buf, model + io->off, io->len);
	else if (io->op == BLK_WRITE)
		memcpy(model + io->off, p->buf, io->len);
	else if (io->op == BLK_WRITE_ZEROES)
		memset(model + io->off, 0, io->len);
	if (rounds) {
		rounds--;
		next_op(p);
	} else if (!--running) {
		loop_quit(l);
	}
}

static void cut(struct part *p, unsigned unit)
{
	unsigned at = 0, k = 0;

	while (at < p->io.len) {
		unsigned len = (unsigned)p->io.len - at;

		if (k < 3 && len > unit && rand() % 2)
			len = ((unsigned)rand() % (len / unit) + 1) * unit;
		p->iov[k++] = (struct iovec){ .iov_base = p->buf + at, .iov_len = len };
		at += len;
	}
	p->io.iov = p->iov;
	p->io.n_iov = k;
}

static void next_op(struct part *p)
{
	static const enum blk_op ops[] = { BLK_READ,  BLK_READ,  BLK_READ,        BLK_WRITE,
					   BLK_WRITE, BLK_WRITE, BLK_WRITE_ZEROES };
	unsigned from = (unsigned)rand() % PART, len = (unsigned)rand() % (PART - from) + 1;
	bool aligned = rand() % 4 == 0;
	uint64_t off = (uint64_t)p->i * PART + from;

	if (aligned) { /* whole blocks within the part */
		off = ((uint64_t)p->i * PART + 4095) / 4096 * 4096;
		len = rand() % 2 ? 512 : 1024;
	}
	p->buf = p->mem + (aligned || rand() % 2 ? 0 : rand() % 64);
	p->io = (struct blk_io){ .op = ops[rand() % 7], .off = off, .len = len, .done = on_part };
	if (rand() % 64 == 0)
		p->io.op = BLK_FLUSH;
	if (rand() % 64 == 0)
		p->io.flags |= BLK_FUA;
	if (rand() % 2)
		p->io.flags |= BLK_UNMAP;
	for (unsigned k = 0; p->io.op == BLK_WRITE && k < len; k++)
		p->buf[k] = (uint8_t)rand();
	cut(p, aligned ? 512 : 1);
	blk_node_submit(n, &p->io);
}

static void check_content(const char *file, const uint8_t *want, size_t size)
{
	uint8_t *got = malloc(size);
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(read(fd, got, size), (ssize_t)size);
	ck_assert_mem_eq(got, want, size);
	close(fd);
	free(got);
}

static void run_parts(void)
{
	struct part *parts = calloc(PARTS, sizeof(*parts));

	model = calloc(1, DISK);
	rounds = ROUNDS;
	running = PARTS;
	for (unsigned i = 0; i < PARTS; i++) {
		void *mem;

		ck_assert_int_eq(posix_memalign(&mem, 4096, PART + 64), 0);
		parts[i].mem = mem;
		parts[i].i = i;
		next_op(&parts[i]);
	}
	loop_run(l);
	ck_assert_uint_eq(blk_node_in_flight(n), 0);
	for (unsigned i = 0; i < PARTS; i++)
		free(parts[i].mem);
	free(parts);
}

START_TEST(any_alignment_matches_a_model)
{
	const struct variant *v = &variants[_i];

	make_file(DISK);
	must_open((struct blk_open){ .aio = v->aio, .direct = v->direct, .discard = true });
	attach();
	run_parts();
	close_node();
	check_content(path, model, DISK);
	free(model);
}
END_TEST

static unsigned to_come;
static int last_error;

static void on_count(struct blk_io *io, int ret)
{
	ck_assert_uint_gt(to_come, 0);
	to_come--;
	last_error = ret ? ret : last_error;
}

/* Writes of parts of one block, and one over all: a lost update shows. */
START_TEST(overlapping_partial_writes)
{
	enum { N = 64, LEN = 100 };
	struct part p[N] = { 0 };
	uint8_t data[N][LEN], whole[3000], got[8192], want[8192] = { 0 };
	const struct variant *v = &variants[_i];

	make_file(8192);
	must_open((struct blk_open){ .aio = v->aio, .direct = v->direct });
	attach();
	for (unsigned round = 0; round < 50; round++) {
		to_come = N;
		for (unsigned i = 0; i < N; i++) {
			bool over_all = i == N / 2;

			memset(data[i], (int)(round + i), LEN);
			memset(whole, 0xee, sizeof(whole));
			p[i].iov[0] = (struct iovec){ .iov_base = over_all ? whole : data[i],
						      .iov_len = over_all ? sizeof(whole) : LEN };
			p[i].io = (struct blk_io){ .op = BLK_WRITE,
						   .off = over_all ? 5000 : i * LEN + 10,
						   .len = p[i].iov[0].iov_len,
						   .iov = p[i].iov,
						   .n_iov = 1,
						   .done = on_count };
			/* the lower part of the disk only: what is over all lies above */
			if (!over_all && i >= 48)
				p[i].io.off = (i - 48) * LEN + 10;
			blk_node_submit(n, &p[i].io);
		}
		blk_node_drain(n);
		ck_assert_uint_eq(to_come, 0);
		ck_assert_int_eq(last_error, 0);
		ck_assert_int_eq(blk_node_pread(n, 0, got, sizeof(got)), 0);
		for (unsigned i = 0; i < 48; i++) {
			uint8_t b = got[i * LEN + 10];

			if (i * LEN + 10 + LEN > 5000 || i == N / 2)
				continue;
			/* One of the two that wrote there, and all of it. */
			ck_assert(b == (uint8_t)(round + i) ||
				  (i < 16 && b == (uint8_t)(round + i + 48)));
			for (unsigned k = 0; v->direct && k < LEN; k++)
				ck_assert_uint_eq(got[i * LEN + 10 + k], b);
		}
		ck_assert_mem_eq(got, want, 10);
		ck_assert_mem_eq(got + 8000, want, 192);
		ck_assert_mem_eq(got + 5000, whole, sizeof(whole));
	}
}
END_TEST

START_TEST(large_requests_through_buffers)
{
	enum { LEN = 5 << 20 };
	const struct variant *v = &variants[_i];
	uint8_t *data = malloc(LEN), *got = malloc(LEN);

	for (unsigned i = 0; i < LEN; i++)
		data[i] = (uint8_t)(i * 31 + i / 1000);
	make_file(LEN + 8192);
	must_open((struct blk_open){ .aio = v->aio, .direct = v->direct });
	ck_assert_int_eq(blk_node_pwrite(n, 777, data, LEN), 0);
	ck_assert_int_eq(blk_node_pread(n, 777, got, LEN), 0);
	ck_assert_mem_eq(got, data, LEN);
	attach();
	ck_assert_int_eq(blk_node_pread(n, 778, got, LEN - 1), 0);
	ck_assert_mem_eq(got, data + 1, LEN - 1);
	free(data);
	free(got);
}
END_TEST

/* More than the bound on buffers, all at once. */
START_TEST(many_buffers_take_turns)
{
	enum { N = 40, LEN = 1000001 };
	const struct variant *v = &variants[_i];
	struct part *p = calloc(N, sizeof(*p));
	uint8_t *data = malloc(LEN);

	memset(data, 0xa5, LEN);
	make_file((uint64_t)N * LEN);
	must_open((struct blk_open){ .aio = v->aio, .direct = v->direct });
	attach();
	to_come = N;
	for (unsigned i = 0; i < N; i++) {
		p[i].iov[0] = (struct iovec){ .iov_base = data, .iov_len = LEN };
		p[i].io = (struct blk_io){ .op = BLK_WRITE,
					   .off = (uint64_t)i * LEN,
					   .len = LEN,
					   .iov = p[i].iov,
					   .n_iov = 1,
					   .done = on_count };
		blk_node_submit(n, &p[i].io);
	}
	ck_assert_uint_eq(blk_node_in_flight(n), N);
	blk_node_drain(n);
	ck_assert_uint_eq(to_come, 0);
	ck_assert_int_eq(last_error, 0);
	for (unsigned i = 0; i < N; i++) {
		uint8_t ends[2];

		ck_assert_int_eq(blk_node_pread(n, (uint64_t)i * LEN, ends, 1), 0);
		ck_assert_int_eq(blk_node_pread(n, (uint64_t)i * LEN + LEN - 1, ends + 1, 1), 0);
		ck_assert_uint_eq(ends[0] & ends[1], 0xa5);
	}
	free(data);
	free(p);
}
END_TEST

START_TEST(size_that_is_no_multiple_of_blocks)
{
	const struct variant *v = &variants[_i];
	uint8_t data[16], got[16];
	struct stat st;

	make_file(10000);
	must_open((struct blk_open){ .aio = v->aio, .direct = v->direct });
	ck_assert_uint_eq(n->size, 10000);
	memset(data, 0x33, sizeof(data));
	ck_assert_int_eq(blk_node_pwrite(n, 10000 - 16, data, 16), 0);
	ck_assert_int_eq(blk_node_pread(n, 10000 - 16, got, 16), 0);
	ck_assert_mem_eq(got, data, 16);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 10000);
	/* It grows by what is written, not by blocks. */
	ck_assert_int_eq(blk_node_pwrite(n, 12345, data, 16), 0);
	ck_assert_uint_eq(n->size, 12345 + 16);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 12345 + 16);
	ck_assert_int_eq(blk_node_zero(n, 12000, 2000, BLK_UNMAP), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 14000);
	ck_assert_int_eq(blk_node_pread(n, 14000 - 8, got, 16), -EIO);
}
END_TEST

START_TEST(shrinking_file_is_an_error)
{
	const struct variant *v = &variants[_i];
	uint8_t got[8192];

	make_file(65536);
	must_open((struct blk_open){ .aio = v->aio, .direct = v->direct });
	attach();
	ck_assert_int_eq(truncate(path, 20000), 0);
	ck_assert_int_eq(blk_node_pread(n, 8192, got, 8192), 0);
	ck_assert_int_eq(blk_node_pread(n, 16384, got, 8192), -EIO);
	ck_assert_int_eq(blk_node_pread(n, 32768, got, 8192), -EIO);
	ck_assert_int_eq(blk_node_pread(n, 19999, got, 2), -EIO);
	ck_assert_int_eq(n->drv->refresh(n, &e), 0);
	ck_assert_uint_eq(n->size, 20000);
}
END_TEST

START_TEST(file_size_limit_passes_up)
{
	const struct variant *v = &variants[_i];
	struct rlimit old, lim;
	uint8_t *data = calloc(1, 65536);
	int ret;

	signal(SIGXFSZ, SIG_IGN);
	make_file(131072);
	must_open((struct blk_open){ .aio = v->aio, .direct = v->direct });
	attach();
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	lim = (struct rlimit){ .rlim_cur = 40960, .rlim_max = old.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
	ret = blk_node_pwrite(n, 0, data, 65536);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(ret, -EFBIG);
	ck_assert_int_eq(blk_node_pwrite(n, 0, data, 65536), 0);
	free(data);
}
END_TEST

/* --- holes, sizes -------------------------------------------------------------------- */

START_TEST(holes)
{
	uint8_t *data = malloc(1 << 20);
	struct blk_io io = { .op = BLK_DISCARD, .len = 65536, .done = on_count };
	uint64_t bytes;
	unsigned flags;
	struct stat st;

	memset(data, 1, 1 << 20);
	make_file(4 << 20);
	must_open((struct blk_open){ .discard = true });
	ck_assert_int_eq(blk_node_pwrite(n, 1 << 20, data, 1 << 20), 0);
	ck_assert_int_eq(blk_node_status(n, 0, 4 << 20, &bytes, &flags), 0);
	ck_assert_uint_eq(flags, BLK_ZERO | BLK_ALLOCATED);
	ck_assert_uint_eq(bytes, 1 << 20);
	ck_assert_int_eq(blk_node_status(n, (1 << 20) + 5, 3 << 20, &bytes, &flags), 0);
	ck_assert_uint_eq(flags, BLK_DATA | BLK_ALLOCATED);
	ck_assert_uint_eq(bytes, (1 << 20) - 5);
	ck_assert_int_eq(blk_node_status(n, 2 << 20, 2 << 20, &bytes, &flags), 0);
	ck_assert_uint_eq(flags, BLK_ZERO | BLK_ALLOCATED);
	ck_assert_uint_eq(bytes, 2 << 20);

	ck_assert_int_eq(blk_node_zero(n, 1 << 20, 1 << 19, BLK_UNMAP), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_le(st.st_blocks * 512, (1 << 19) + 65536);
	ck_assert_int_eq(blk_node_pread(n, (1 << 20) + 100, data, 100), 0);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_uint_eq(data[i], 0);
	/* Not to be unmapped: it stays allocated. */
	ck_assert_int_eq(blk_node_zero(n, 1 << 20, 1 << 19, 0), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_ge(st.st_blocks * 512, 1 << 20);

	io.off = 1 << 20;
	io.len = 1 << 20;
	to_come = 1;
	blk_node_submit(n, &io);
	blk_node_drain(n);
	ck_assert_int_eq(last_error, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_le(st.st_blocks * 512, 65536);
	free(data);
}
END_TEST

START_TEST(without_discard_nothing_is_given_back)
{
	uint8_t *data = malloc(65536);
	struct blk_io io = { .op = BLK_DISCARD, .len = 65536, .done = on_count };
	struct stat st;

	memset(data, 1, 65536);
	make_file(65536);
	must_open((struct blk_open){ 0 });
	ck_assert_int_eq(blk_node_pwrite(n, 0, data, 65536), 0);
	to_come = 1;
	blk_node_submit(n, &io);
	blk_node_drain(n);
	ck_assert_int_eq(blk_node_zero(n, 0, 65536, BLK_UNMAP), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_ge(st.st_blocks * 512, 65536);
	free(data);
}
END_TEST

START_TEST(truncating)
{
	struct stat st;

	make_file(4096);
	must_open((struct blk_open){ 0 });
	ck_assert_int_eq(blk_node_truncate(n, 1 << 20, &e), 0);
	ck_assert_uint_eq(n->size, 1 << 20);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 1 << 20);
	ck_assert_int_eq(blk_node_truncate(n, UINT64_C(1) << 62, &e), -EFBIG);
	ck_assert(says(path, "ulimit -f"));
}
END_TEST

START_TEST(read_only)
{
	char c = 0;

	make_file(0);
	must_open((struct blk_open){ .readonly = true });
	ck_assert_uint_eq(n->size, 0);
	ck_assert_int_eq(blk_node_pwrite(n, 0, &c, 1), -EROFS);
	ck_assert_int_eq(blk_node_zero(n, 0, 1, 0), -EROFS);
	ck_assert_int_eq(blk_node_flush(n), 0);
}
END_TEST

/* --- messages ------------------------------------------------------------------------ */

START_TEST(what_is_no_image)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	ck_assert_int_eq(try((struct blk_open){ 0 }), -ENOENT);
	ck_assert(says(path, "truncate -s"));
	ck_assert_int_eq(mkdir(path, 0755), 0);
	ck_assert_int_eq(try((struct blk_open){ 0 }), -EISDIR);
	ck_assert(says("a directory", "regular file"));
	ck_assert_int_eq(try((struct blk_open){ .readonly = true }), -EISDIR);
	rmdir(path);
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	ck_assert_int_eq(try((struct blk_open){ .readonly = true }), -EINVAL);
	ck_assert(says("a FIFO", "regular file"));
	unlink(path);
	strcpy(addr.sun_path, path);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(try((struct blk_open){ 0 }), -EINVAL);
	ck_assert(says("a socket", "regular file"));
	close(s);
	unlink(path);
	ck_assert_int_eq(symlink("/dev/null", path), 0);
	ck_assert_int_eq(try((struct blk_open){ 0 }), -EINVAL);
	ck_assert(says("a character device", "block device"));
	unlink(path);
	make_file(512);
	ck_assert_int_eq(open_as("host_device", "", (struct blk_open){ 0 }, &n), -EINVAL);
	ck_assert(says("regular file", "driver=file"));
}
END_TEST

START_TEST(file_that_others_protect)
{
	make_file(512);
	ck_assert_int_eq(chmod(path, 0444), 0);
	ck_assert_int_eq(chmod(dir, 0755), 0);
	if (!geteuid()) /* root may do all */
		ck_assert_int_eq(seteuid(65534), 0);
	ck_assert_int_eq(try((struct blk_open){ 0 }), -EACCES);
	ck_assert(says("for writing", "readonly=on"));
	must_open((struct blk_open){ .auto_readonly = true });
	ck_assert(n->readonly);
	close_node();
	must_open((struct blk_open){ .readonly = true });
	close_node();
	if (!getuid()) {
		ck_assert_int_eq(seteuid(0), 0);
		ck_assert_int_eq(chmod(path, 0), 0);
		ck_assert_int_eq(seteuid(65534), 0);
	} else {
		ck_assert_int_eq(chmod(path, 0), 0);
	}
	ck_assert_int_eq(try((struct blk_open){ .auto_readonly = true }), -EACCES);
	ck_assert(says("cannot open", "ls -l"));
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

/* --- locks --------------------------------------------------------------------------- */

static const struct blk_open locked = { .locking = true };
static const struct blk_open locked_ro = { .locking = true, .readonly = true };

START_TEST(two_drives_of_one_machine)
{
	struct blk_node *other;

	make_file(512);
	must_open(locked);
	ck_assert_int_eq(open_as("file", "", locked, &other), -EBUSY);
	ck_assert(says("another drive of this virtual machine", "image of its own"));
	ck_assert_int_eq(open_as("file", "", locked_ro, &other), -EBUSY);
	ck_assert_int_eq(open_as("file", "", (struct blk_open){ .locking = false }, &other), 0);
	blk_node_close(other);
	close_node();
	must_open(locked_ro);
	ck_assert_int_eq(open_as("file", "", locked, &other), -EBUSY);
	ck_assert_int_eq(open_as("file", "", locked_ro, &other), 0);
	blk_node_close(other);
	close_node();
	must_open((struct blk_open){ .locking = true, .share_rw = true });
	ck_assert_int_eq(open_as("file", "", locked, &other), -EBUSY);
	ck_assert_int_eq(open_as("file", "", (struct blk_open){ .locking = true, .share_rw = true },
				 &other),
			 0);
	blk_node_close(other);
	close_node();
	must_open(locked); /* a refused one leaves no lock behind */
}
END_TEST

/* qemu-io's exit status and the end of what it says. */
static int run_qemu(const char *args, char *said, size_t size)
{
	char cmd[256];
	FILE *f;
	size_t k;

	snprintf(cmd, sizeof(cmd), "%s %s 2>&1", args, path);
	f = popen(cmd, "re");
	k = fread(said, 1, size - 1, f);
	said[k] = 0;
	return pclose(f);
}

START_TEST(qemu_is_kept_out)
{
	char said[2000];

	make_file(65536);
	must_open(locked);
	ck_assert_int_ne(run_qemu("qemu-io -f raw -c 'write 0 512'", said, sizeof(said)), 0);
	ck_assert_ptr_nonnull(strstr(said, "lock"));
	ck_assert_int_eq(run_qemu("qemu-io -r -U -f raw -c 'read 0 512'", said, sizeof(said)), 0);
	close_node();
	must_open(locked_ro);
	ck_assert_int_ne(run_qemu("qemu-io -f raw -c 'write 0 512'", said, sizeof(said)), 0);
	ck_assert_int_eq(run_qemu("qemu-io -r -f raw -c 'read 0 512'", said, sizeof(said)), 0);
	close_node();
	must_open((struct blk_open){ .locking = true, .share_rw = true });
	ck_assert_int_eq(run_qemu("qemu-io -f raw -c 'write 0 512'", said, sizeof(said)), 0);
	close_node();
	ck_assert_int_eq(run_qemu("qemu-io -f raw -c 'write 0 512'", said, sizeof(said)), 0);
	/* A format whose tools keep writers to themselves. */
	ck_assert_int_eq(run_qemu("qemu-img create -q -f qcow2 -o size=1M", said, sizeof(said)), 0);
	must_open(locked);
	ck_assert_int_ne(run_qemu("qemu-img info", said, sizeof(said)), 0);
	ck_assert_ptr_nonnull(strstr(said, "lock"));
	ck_assert_int_eq(run_qemu("qemu-img info -U", said, sizeof(said)), 0);
}
END_TEST

/* Starts qemu-io and returns when it has the image. */
static pid_t start_qemu_io(bool readonly, int *in)
{
	int to[2], from[2];
	char text[64] = "";
	size_t k = 0;
	pid_t pid;

	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execlp("qemu-io", "qemu-io", "-f", "raw", path, readonly ? "-r" : NULL, NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	while (k < sizeof(text) - 1 && !strstr(text, "qemu-io>")) {
		ck_assert_int_eq(read(from[0], text + k, 1), 1);
		text[++k] = 0;
	}
	close(from[0]);
	*in = to[1];
	return pid;
}

START_TEST(qemu_has_it)
{
	char who[64];
	int in;
	pid_t pid;

	make_file(65536);
	pid = start_qemu_io(false, &in);
	snprintf(who, sizeof(who), "process %d (qemu-io)", (int)pid);
	ck_assert_int_eq(try(locked), -EBUSY);
	ck_assert(says(who, "stop that first"));
	ck_assert_ptr_nonnull(strstr(e.msg, path));
	ck_assert_int_eq(try(locked_ro), -EBUSY);
	ck_assert(says(who, "stop that first"));
	must_open((struct blk_open){ .locking = false });
	close_node();
	close(in);
	waitpid(pid, NULL, 0);
	pid = start_qemu_io(true, &in);
	must_open(locked); /* it denies nobody anything */
	close_node();
	must_open(locked_ro);
	close(in);
	waitpid(pid, NULL, 0);
}
END_TEST

/* --- file systems of our own --------------------------------------------------------- */

/* In this process alone; false: this host does not let us. */
static bool own_mount(const char *type, const char *options)
{
	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", dir, type, 0, options)) {
		fprintf(stderr, "test_block_file: left out: no mount of %s: %s\n", type,
			strerror(errno));
		return false;
	}
	return true;
}

static void own_umount(void)
{
	close_node();
	unlink(path);
	ck_assert_int_eq(umount2(dir, MNT_DETACH), 0);
}

START_TEST(full_disk)
{
	const struct variant *v = &variants[_i];
	uint8_t *data = malloc(65536);

	memset(data, 7, 65536);
	if (!own_mount("tmpfs", "size=128k")) {
		free(data);
		return;
	}
	make_file(1 << 20);
	if (try((struct blk_open){ .aio = v->aio, .direct = v->direct })) {
		fprintf(stderr, "test_block_file: left out: full disk: %s\n", e.msg);
	} else {
		attach();
		ck_assert_int_eq(blk_node_pwrite(n, 0, data, 65536), 0);
		ck_assert_int_eq(blk_node_pwrite(n, 65536, data, 65536), 0);
		ck_assert_int_eq(blk_node_pwrite(n, 131072, data, 65536), -ENOSPC);
		ck_assert_int_eq(blk_node_pread(n, 0, data, 65536), 0);
		/* Room again, and it goes on. */
		ck_assert_int_eq(truncate(path, 0), 0);
		ck_assert_int_eq(truncate(path, 1 << 20), 0);
		ck_assert_int_eq(blk_node_pwrite(n, 131072, data, 65536), 0);
	}
	own_umount();
	free(data);
}
END_TEST

/* tmpfs cannot ZERO_RANGE, and ramfs no fallocate at all. */
START_TEST(zeroes_are_written_where_the_file_system_cannot)
{
	uint8_t data[20000], got[20000];

	if (!own_mount(_i ? "ramfs" : "tmpfs", NULL))
		return;
	make_file(65536);
	must_open((struct blk_open){ .discard = true });
	memset(data, 9, sizeof(data));
	ck_assert_int_eq(blk_node_pwrite(n, 1000, data, sizeof(data)), 0);
	ck_assert_int_eq(blk_node_zero(n, 1000, 100, BLK_NO_FALLBACK), -ENOTSUP);
	ck_assert_int_eq(blk_node_zero(n, 1003, 10000, 0), 0);
	memset(data + 3, 0, 10000);
	ck_assert_int_eq(blk_node_zero(n, 1000 + 12000, 3000, BLK_UNMAP), 0);
	memset(data + 12000, 0, 3000);
	ck_assert_int_eq(blk_node_pread(n, 1000, got, sizeof(got)), 0);
	ck_assert_mem_eq(got, data, sizeof(got));
	own_umount();
}
END_TEST

START_TEST(file_system_without_o_direct)
{
	if (!own_mount("ramfs", NULL))
		return;
	make_file(65536);
	ck_assert_int_eq(try((struct blk_open){ .direct = true }), -EINVAL);
	ck_assert(says("O_DIRECT", "cache=writeback"));
	own_umount();
}
END_TEST

/* --- block devices ------------------------------------------------------------------- */

/* A loop device that goes when it is closed; -1: none here. */
static int make_loop(unsigned block, int flags, char *name, size_t size)
{
	struct loop_config c = { .block_size = block,
				 .info = { .lo_flags = LO_FLAGS_AUTOCLEAR | (unsigned)flags } };
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1, nr;

	c.fd = (unsigned)open(path, O_RDWR | O_CLOEXEC);
	for (unsigned tries = 0; ctl >= 0 && tries < 100; tries++) {
		nr = ioctl(ctl, LOOP_CTL_GET_FREE);
		snprintf(name, size, "/dev/loop%d", nr);
		fd = nr < 0 ? -1 : open(name, (flags ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (fd < 0 || !ioctl(fd, LOOP_CONFIGURE, &c))
			break;
		close(fd);
		fd = -1;
		if (errno != EBUSY)
			break;
	}
	if (fd < 0)
		fprintf(stderr, "test_block_file: left out: no loop device: %s\n", strerror(errno));
	close((int)c.fd);
	if (ctl >= 0)
		close(ctl);
	return fd;
}

START_TEST(block_device)
{
	char image[80], dev[32];
	unsigned block = _i & 1 ? 4096 : 512;
	bool direct = _i & 2;
	int fd;

	make_file((DISK + 4095) / 4096 * 4096);
	strcpy(image, path);
	fd = make_loop(block, 0, dev, sizeof(dev));
	if (fd < 0)
		return;
	strcpy(path, dev);
	ck_assert_msg(!open_as(_i & 4 ? "file" : "host_device", "",
			       (struct blk_open){ .direct = direct, .discard = true }, &n),
		      "%s", e.msg);
	ck_assert_uint_eq(n->size, (DISK + 4095) / 4096 * 4096);
	ck_assert_uint_ge(n->lim.block_size, block);
	if (direct)
		ck_assert_uint_eq(n->lim.align, block);
	attach();
	run_parts();
	ck_assert_int_eq(blk_node_zero(n, 0, 65536, BLK_UNMAP), 0);
	memset(model, 0, 65536);
	ck_assert_int_eq(blk_node_truncate(n, n->size + 1, &e), -ENOTSUP);
	ck_assert(says("block device", "lvextend"));
	ck_assert_int_eq(blk_node_flush(n), 0);
	close_node();
	check_content(path, model, DISK);
	free(model);
	close(fd);
	strcpy(path, image);
}
END_TEST

START_TEST(write_protected_device)
{
	char image[80], dev[32];
	int fd;

	make_file(65536);
	strcpy(image, path);
	fd = make_loop(512, LO_FLAGS_READ_ONLY, dev, sizeof(dev));
	if (fd < 0)
		return;
	strcpy(path, dev);
	ck_assert_int_lt(open_as("host_device", "", (struct blk_open){ 0 }, &n), 0);
	ck_assert(says("for writing", "readonly=on"));
	ck_assert_int_eq(open_as("host_device", "", (struct blk_open){ .auto_readonly = true }, &n),
			 0);
	ck_assert(n->readonly);
	close_node();
	close(fd);
	strcpy(path, image);
}
END_TEST

static void find_variants(void)
{
	static const struct variant all[] = {
		{ BLK_AIO_THREADS, false }, { BLK_AIO_IO_URING, false }, { BLK_AIO_THREADS, true },
		{ BLK_AIO_IO_URING, true }, { BLK_AIO_NATIVE, true },
	};

	char name[] = "test_file-XXXXXX";
	int fd = mkstemp(name), dio = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	struct loop *loop;
	struct aio *a;

	if (fd < 0 || loop_create(&loop, &e))
		exit(EXIT_FAILURE);
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].direct && dio < 0) {
			fprintf(stderr, "test_block_file: left out: no O_DIRECT here\n");
		} else if (aio_get(loop, all[i].aio, all[i].direct, &a, &e)) {
			fprintf(stderr, "test_block_file: left out: %s\n", e.msg);
		} else {
			aio_put(a);
			variants[n_variants++] = all[i];
		}
	}
	loop_destroy(loop);
	close(fd);
	if (dio >= 0)
		close(dio);
	unlink(name);
}

static bool have_qemu_io(void)
{
	bool have = !system("qemu-io --version >/dev/null 2>&1");

	if (!have)
		fprintf(stderr, "test_block_file: left out: locks against qemu-io: it is missing "
				"(package qemu-utils)\n");
	return have;
}

int main(void)
{
	Suite *s = suite_create("block_file");
	TCase *each = tcase_create("engines"), *tc = tcase_create("files");

	find_variants();
	tcase_add_checked_fixture(each, setup, teardown);
	tcase_set_timeout(each, 60);
	tcase_add_loop_test(each, any_alignment_matches_a_model, 0, n_variants);
	tcase_add_loop_test(each, overlapping_partial_writes, 0, n_variants);
	tcase_add_loop_test(each, large_requests_through_buffers, 0, n_variants);
	tcase_add_loop_test(each, many_buffers_take_turns, 0, n_variants);
	tcase_add_loop_test(each, size_that_is_no_multiple_of_blocks, 0, n_variants);
	tcase_add_loop_test(each, shrinking_file_is_an_error, 0, n_variants);
	tcase_add_loop_test(each, file_size_limit_passes_up, 0, n_variants);
	tcase_add_loop_test(each, full_disk, 0, n_variants);
	suite_add_tcase(s, each);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, holes);
	tcase_add_test(tc, without_discard_nothing_is_given_back);
	tcase_add_test(tc, truncating);
	tcase_add_test(tc, read_only);
	tcase_add_test(tc, what_is_no_image);
	tcase_add_test(tc, file_that_others_protect);
	tcase_add_test(tc, two_drives_of_one_machine);
	if (have_qemu_io()) {
		tcase_add_test(tc, qemu_is_kept_out);
		tcase_add_test(tc, qemu_has_it);
	}
	tcase_add_loop_test(tc, zeroes_are_written_where_the_file_system_cannot, 0, 2);
	tcase_add_test(tc, file_system_without_o_direct);
	tcase_add_loop_test(tc, block_device, 0, 8);
	tcase_add_test(tc, write_protected_device);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
