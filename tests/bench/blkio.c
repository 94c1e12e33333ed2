/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block layer alone, as `qemu-img bench` measures QEMU's: requests one behind the
 * other through the image, so many in flight, and how many a second.
 *
 *   blkio [-c COUNT] [-d DEPTH] [-s SIZE] [-S STEP] [-w] [-R] [-l LENGTH] [-W COUNT] [-t CACHE]
 *         [-i AIO] [-f FORMAT] FILE
 *
 * -R: at random places, multiples of SIZE. -l: only in the first LENGTH bytes of the disk. -W:
 * COUNT requests before, that are not measured. CACHE: none or writeback. AIO: threads, native,
 * io_uring or auto.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "block_int.h"
#include "err.h"
#include "loop.h"

struct run {
	struct loop *loop;
	struct blk_node *node;
	uint64_t count, before, left, size, step, length, at, random;
	unsigned in_flight;
	enum blk_op op;
	bool at_random;
	int ret;
};

struct slot {
	struct blk_io io; /* first */
	struct iovec iov;
	struct run *run;
};

static uint64_t next_offset(struct run *r)
{
	uint64_t off = r->at;

	if (r->at_random) {
		r->random = r->random * 6364136223846793005u + 1442695040888963407u;
		return (r->random >> 20) % (r->length / r->size) * r->size;
	}
	r->at += r->step;
	if (r->at + r->size > r->length)
		r->at = 0;
	return off;
}

static void next(struct slot *s);

static void on_done(struct blk_io *io, int ret)
{
	struct slot *s = (struct slot *)io;
	struct run *r = s->run;

	r->in_flight--;
	if (ret)
		r->ret = ret;
	if (r->left && !r->ret)
		next(s);
	else if (!r->in_flight)
		loop_quit(r->loop);
}

static void next(struct slot *s)
{
	struct run *r = s->run;

	r->left--;
	r->in_flight++;
	s->io = (struct blk_io){ .op = r->op,
				 .off = next_offset(r),
				 .len = r->size,
				 .iov = &s->iov,
				 .n_iov = 1,
				 .done = on_done };
	blk_node_submit(r->node, &s->io);
}

static struct slot *make_slots(struct run *r, unsigned depth)
{
	struct slot *slots = calloc(depth, sizeof(*slots));
	void *buf;

	if (!slots || posix_memalign(&buf, 4096, r->size * depth))
		return NULL;
	memset(buf, 0, r->size * depth);
	for (unsigned i = 0; i < depth; i++) {
		slots[i].run = r;
		slots[i].iov =
			(struct iovec){ .iov_base = (char *)buf + i * r->size, .iov_len = r->size };
	}
	return slots;
}

static double seconds(const struct timeval *a)
{
	return (double)a->tv_sec + (double)a->tv_usec / 1e6;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return seconds(&u.ru_utime) + seconds(&u.ru_stime);
}

static void report(const struct run *r, double elapsed, double cpu)
{
	printf("Run completed in %.3f seconds.\n", elapsed);
	printf("%.0f requests a second, %.2f us of CPU a request\n", (double)r->count / elapsed,
	       cpu * 1e6 / (double)r->count);
}

static int set_aio(struct blk_open *how, const char *name)
{
	static const char *const names[] = { "auto", "threads", "native", "io_uring" };

	for (int i = 0; i < 4; i++) {
		if (!strcmp(names[i], name)) {
			how->aio = i;
			return 0;
		}
	}
	return -1;
}

static int usage(void)
{
	fputs("usage: blkio [-c COUNT] [-d DEPTH] [-s SIZE] [-S STEP] [-w] [-R] "
	      "[-l LENGTH] [-W COUNT] [-t none|writeback] [-i AIO] [-f FORMAT] FILE\n",
	      stderr);
	return EXIT_FAILURE;
}

/* Count requests, and how long they took. */
static double turn(struct run *r, struct slot *slots, unsigned depth, uint64_t count)
{
	uint64_t start = loop_now_ns();

	r->left = count;
	for (unsigned i = 0; i < depth && r->left; i++)
		next(&slots[i]);
	if (r->in_flight)
		loop_run(r->loop);
	return (double)(loop_now_ns() - start) / 1e9;
}

static int bench(struct run *r, unsigned depth, const struct blk_open *how, const char *format,
		 const char *file)
{
	struct slot *slots = make_slots(r, depth);
	struct err e = { 0 };
	double elapsed, cpu;

	if (!slots || loop_create(&r->loop, &e) ||
	    blk_node_open_file(file, format, how, &r->node, &e) ||
	    blk_node_attach(r->node, r->loop, &e)) {
		err_print(&e);
		return EXIT_FAILURE;
	}
	if (!r->length || r->length > r->node->size)
		r->length = r->node->size;
	if (r->size > r->length) {
		fputs("blkio: the image is smaller than a request\n", stderr);
		return EXIT_FAILURE;
	}
	turn(r, slots, depth, r->before);
	cpu = cpu_seconds();
	elapsed = r->ret ? 0 : turn(r, slots, depth, r->count);
	if (r->ret)
		fprintf(stderr, "blkio: %s\n", strerror(-r->ret));
	else
		report(r, elapsed, cpu_seconds() - cpu);
	blk_node_detach(r->node);
	blk_node_close(r->node);
	loop_destroy(r->loop);
	free(slots[0].iov.iov_base);
	free(slots);
	return r->ret ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct run r = { .count = 75000, .size = 4096, .op = BLK_READ, .random = 1 };
	struct blk_open how = { .readonly = true, .locking = true };
	const char *format = "raw";
	unsigned depth = 64;
	int c;

	while ((c = getopt(argc, argv, "c:d:s:S:wRl:W:t:i:f:")) >= 0) {
		if (c == 'c')
			r.count = strtoull(optarg, NULL, 0);
		else if (c == 'd')
			depth = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 's')
			r.size = strtoull(optarg, NULL, 0);
		else if (c == 'S')
			r.step = strtoull(optarg, NULL, 0);
		else if (c == 'w')
			r.op = BLK_WRITE;
		else if (c == 'R')
			r.at_random = true;
		else if (c == 'l')
			r.length = strtoull(optarg, NULL, 0);
		else if (c == 'W')
			r.before = strtoull(optarg, NULL, 0);
		else if (c == 't')
			how.direct = !strcmp(optarg, "none");
		else if (c == 'f')
			format = optarg;
		else if (c != 'i' || set_aio(&how, optarg))
			return usage();
	}
	if (optind + 1 != argc || !r.count || !depth || !r.size)
		return usage();
	how.readonly = r.op == BLK_READ;
	r.step = r.step ? r.step : r.size;
	return bench(&r, depth, &how, format, argv[optind]);
}
