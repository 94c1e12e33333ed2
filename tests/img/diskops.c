/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out operations on a disk image through the block layer, in the words of
 * qemu-io, so that one script makes the same disk with both:
 *
 *   diskops [-f FORMAT] FILE <SCRIPT
 *
 *   write [-c] -P BYTE OFFSET LENGTH      that byte; -c: compressed
 *   write [-c] -s PATTERN OFFSET LENGTH   a file's bytes, again and again
 *   write -z [-u] OFFSET LENGTH           zeroes; -u: may deallocate
 *   discard OFFSET LENGTH
 *   flush
 *
 * Numbers are bytes, in decimal. Exit status 1 after the first that fails. All on the main thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block_int.h"
#include "err.h"

enum { WORDS = 8, MOST = 64 << 20 };

struct op {
	enum blk_op op;
	unsigned flags;
	uint64_t off, len;
	int byte; /* -1: of the file */
	const char *pattern;
};

/* --- a line of the script --- */

static bool number(const char *word, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(word, &end, 10);
	return !errno && end != word && !*end;
}

static bool parse_option(struct op *o, char letter, const char *value)
{
	uint64_t byte;

	switch (letter) {
	case 'c':
		o->flags |= BLK_COMPRESSED;
		return true;
	case 'z':
		o->op = BLK_WRITE_ZEROES;
		return true;
	case 'u':
		o->flags |= BLK_UNMAP;
		return true;
	case 's':
		o->pattern = value;
		return value;
	case 'P':
		if (!value || !number(value, &byte) || byte > 255)
			return false;
		o->byte = (int)byte;
		return true;
	default:
		return false;
	}
}

static bool parse(char *line, struct op *o)
{
	char *word[WORDS], *save = NULL;
	unsigned n = 0, i = 1;

	for (char *w = strtok_r(line, " \n", &save); w && n < WORDS;
	     w = strtok_r(NULL, " \n", &save))
		word[n++] = w;
	*o = (struct op){ .op = BLK_WRITE, .byte = -1 };
	if (n == 1 && !strcmp(word[0], "flush")) {
		o->op = BLK_FLUSH;
		return true;
	}
	if (n == 3 && !strcmp(word[0], "discard"))
		o->op = BLK_DISCARD;
	else if (n < 4 || strcmp(word[0], "write") != 0)
		return false;
	for (; i < n - 2; i++) {
		bool valued = !strcmp(word[i], "-P") || !strcmp(word[i], "-s");

		if (word[i][0] != '-' || strlen(word[i]) != 2 ||
		    !parse_option(o, word[i][1], valued ? word[i + 1] : NULL))
			return false;
		i += valued;
	}
	return i == n - 2 && number(word[i], &o->off) && number(word[i + 1], &o->len) &&
	       o->len <= MOST && (o->op != BLK_WRITE || o->byte >= 0 || o->pattern);
}

/* --- carrying it out --- */

/* The bytes to write: malloc'd, or NULL. */
static uint8_t *contents(const struct op *o)
{
	uint8_t *buf = malloc(o->len ? o->len : 1);
	FILE *f = o->pattern ? fopen(o->pattern, "r") : NULL;
	size_t have = 0;

	if (buf && !o->pattern)
		memset(buf, o->byte, o->len);
	if (buf && f)
		have = fread(buf, 1, o->len, f);
	if (f)
		fclose(f);
	if (!buf || !o->pattern)
		return buf;
	if (!have) {
		free(buf);
		return NULL;
	}
	for (size_t i = have; i < o->len; i++)
		buf[i] = buf[i - have];
	return buf;
}

struct waiting {
	struct blk_io io; /* first */
	bool done;
	int ret;
};

static void on_done(struct blk_io *io, int ret)
{
	struct waiting *w = (struct waiting *)io;

	w->ret = ret;
	w->done = true;
}

static int run(struct blk_node *n, const struct op *o)
{
	struct iovec iov = { .iov_len = o->len };
	struct waiting w = { .io = { .op = o->op,
				     .flags = o->flags,
				     .off = o->off,
				     .len = o->len,
				     .iov = &iov,
				     .done = on_done } };

	if (o->op == BLK_WRITE) {
		iov.iov_base = contents(o);
		if (!iov.iov_base)
			return -ENOENT;
		w.io.n_iov = 1;
	}
	blk_node_submit(n, &w.io);
	while (!w.done)
		blk_node_poll(n);
	free(iov.iov_base);
	return w.ret;
}

static int run_script(struct blk_node *n, FILE *script)
{
	char line[256], copy[256];
	struct op o;
	int rc;

	for (unsigned at = 1; fgets(line, sizeof(line), script); at++) {
		memcpy(copy, line, sizeof(copy));
		if (!parse(copy, &o)) {
			fprintf(stderr, "diskops: line %u: cannot read: %s", at, line);
			return EXIT_FAILURE;
		}
		rc = run(n, &o);
		if (rc) {
			fprintf(stderr, "diskops: line %u: %s: %s", at, strerror(-rc), line);
			return EXIT_FAILURE;
		}
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct blk_open how = { .locking = true, .discard = true };
	const char *format = "qcow2";
	struct err e = { 0 };
	struct blk_node *n;
	int c, status;

	while ((c = getopt(argc, argv, "f:")) >= 0) {
		if (c != 'f')
			return EXIT_FAILURE;
		format = optarg;
	}
	if (optind + 1 != argc) {
		fputs("usage: diskops [-f FORMAT] FILE <SCRIPT\n", stderr);
		return EXIT_FAILURE;
	}
	if (blk_node_open_file(argv[optind], format, &how, &n, &e)) {
		err_print(&e);
		return EXIT_FAILURE;
	}
	status = run_script(n, stdin);
	blk_node_close(n);
	return status;
}
