/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * posada-img: what its subcommands share. Options, output and exit statuses are
 * those that scripts written for qemu-img expect; messages on stderr are our own.
 *
 * One thread runs it all: a subcommand opens images, which are moved to the one
 * loop when it needs requests in parallel (img_work).
 */
#ifndef POSADA_IMG_H
#define POSADA_IMG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block_int.h"
#include "err.h"
#include "opts.h"

struct img_command {
	const char *name;
	int (*run)(int argc, char **argv); /* the exit status */
	const char *usage; /* behind the name */
};

int img_amend(int argc, char **argv);
int img_bench(int argc, char **argv);
int img_bitmap(int argc, char **argv);
int img_check(int argc, char **argv);
int img_commit(int argc, char **argv);
int img_compare(int argc, char **argv);
int img_convert(int argc, char **argv);
int img_create(int argc, char **argv);
int img_dd(int argc, char **argv);
int img_info(int argc, char **argv);
int img_map(int argc, char **argv);
int img_measure(int argc, char **argv);
int img_rebase(int argc, char **argv);
int img_resize(int argc, char **argv);
int img_snapshot(int argc, char **argv);

void img_help(void); /* main.c */

/* --- messages (args.c): all return 1, the exit status of most failures --- */
int img_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, and where to read about the command line. */
int img_misuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int img_error(const struct err *e);
void img_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- the command line (args.c) --- */

enum img_type {
	IMG_FLAG, /* bool */
	IMG_TEXT, /* const char * */
	IMG_LIST, /* struct opts, given as often as one likes: -o a=1,b=2 */
	IMG_SIZE, /* uint64_t, K, M ... */
	IMG_OUTPUT, /* bool: --output=json rather than human */
	IMG_STEP, /* struct img_steps: what to do, in the order of the command line */
	IMG_STEP_OF, /* the same, with an argument */
};

struct img_steps {
	struct img_step {
		const char *what, *arg; /* the option's name, its argument */
	} step[64];
	unsigned n;
};

struct img_opt {
	char key; /* 'f' for -f; 0: only the long name */
	const char *name; /* NULL: only the short one; both: ends the table */
	enum img_type type;
	void *to;
};

/* Also takes --help, and --object for secrets. Index of the first operand, or -1: told. */
int img_parse(int argc, char **argv, const struct img_opt *opts);
/* A size up to INT64_MAX; what: "image size". -errno: told. */
int img_size(const char *what, const char *text, uint64_t *out);
int img_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* "196 KiB" */
const char *img_pretty(char buf[32], uint64_t bytes);

/* --- images (open.c) --- */

struct img_how {
	const char *format; /* NULL: look */
	bool image_opts; /* the name is key=value,... */
	bool write;
	bool share; /* -U */
	bool look; /* only to look at: when it is in use say so, and do without a lock */
	bool no_backing;
	bool repair; /* though damage is marked, or hides what can be made anew */
	bool no_data; /* data are not looked at: an encrypted image needs no key */
	struct opts *keys; /* of the image, beside its name; NULL: none */
	const char *key_hint; /* how to give the key of an encrypted image; NULL: as ever */
	bool bulk; /* much will be written, in long runs */
	const char *cache; /* -t, -T; NULL: writeback */
	int aio;
};

/* The image, or -errno: told. */
int img_open(const char *name, const struct img_how *how, struct blk_node **out);
/*
 * What the options or the JSON of an image say of the one behind it, backing.X
 * without "backing."; to be freed. -errno: told.
 */
int img_backing_keys(const char *name, const struct img_how *how, struct opts *out);
#define IMG_BACKING_KEY_HINT                                                                       \
	"add --object secret,id=sec1,file=PATH, and name the image above by --image-opts "         \
	"driver=qcow2,file.filename=NAME,backing.encrypt.key-secret=sec1"
/* Opens an image's backing file by its recorded name, with such keys. */
int img_open_backing(const struct blk_node *n, const char *name, const char *format,
		     const struct img_how *how, struct opts *keys, struct blk_node **out);
/* Flushes what was open for writing and closes. NULL: nothing. -errno: told. */
int img_close(struct blk_node *n);
/* Whether writes must reach stable storage each (writethrough, directsync). */
bool img_writethrough(const char *cache);
/* -errno: told */
int img_check_cache(const char *cache);
/* The driver of that format that can make images; NULL: told. */
const struct blk_driver *img_format(const char *name);
/* The path of backing file `name` of an image; malloc'd. */
char *img_backing_path(const char *image, const char *name);
/* Adds to a message of -ENOSPC: how much room there is, and left bytes were still to be written. */
void img_no_room(const char *filename, uint64_t left);
/* Removes a regular file that holds half of an image; devices stay. */
void img_remove(const char *filename);
/* What the header says; NULL: none. */
const char *img_backing_name(const struct blk_node *n, const char **format);
bool img_same_file(const char *a, const char *b);

/* --- contents (status.c) --- */

/* What lies at a place of a disk, all layers considered. */
struct img_status {
	uint64_t bytes;
	unsigned flags; /* BLK_DATA, BLK_ZERO, BLK_ALLOCATED */
	unsigned depth; /* of the layer that says so */
	struct blk_node *node; /* that layer */
};
/* base: layers from that one down do not count; NULL: all do. */
int img_status(struct blk_node *n, const struct blk_node *base, uint64_t off, uint64_t len,
	       struct img_status *out);
/* Where that is stored; file: NULL: nowhere. */
struct img_place {
	struct blk_node *file;
	uint64_t off;
};
/* What img_status_below has asked a layer already; zeroed to begin with. */
struct img_below {
	const struct blk_node *asked;
	bool sparse;
};
/* The same, and what is stored but was never written in the file below is told as zeroes. */
int img_status_below(struct blk_node *n, uint64_t off, uint64_t len, struct img_below *b,
		     struct img_status *out, struct img_place *place);
bool img_is_zero(const void *buf, size_t len);

/* --- work in parallel (work.c) --- */

/*
 * Runs step(ctx) in n coroutines, over and over until it returns 1 (nothing is
 * left) or -errno (all end; the first such error is returned), with the nodes on the loop. step
 * may wait by co_io.h.
 */
struct img_work {
	struct blk_node *node[64];
	unsigned n_nodes;
	unsigned n; /* coroutines */
	int (*step)(struct img_work *w, void *ctx);
	void *ctx;
};
int img_work(struct img_work *w, struct err *e);
/* Waits until `done` bytes since begun_ns are no more than rate bytes a second; 0: never. */
void img_limit_rate(uint64_t rate, uint64_t begun_ns, uint64_t done);
/* Buffers of IMG_PIECE bytes, aligned to pages, kept for reuse. NULL: no memory. */
enum { IMG_PIECE = 1 << 20 };
void *img_buffer(void);
void img_buffer_done(void *buf);
struct loop *img_loop(struct err *e);

/* --- progress (progress.c) --- */
void img_progress_begin(bool show); /* -p */
void img_progress(uint64_t done, uint64_t total);
void img_progress_end(bool complete);

/* --- making images (create.c) --- */

/* -o of create and convert, sorted out. */
struct img_new {
	const struct blk_driver *drv;
	struct blk_create c;
	struct blk_open how;
	void *opts; /* c.opts */
	bool have_size;
	char *backing, *backing_format; /* c.backing ... */
};
/* o: size, backing_file and backing_fmt are taken out. -errno: told. */
int img_new_init(struct img_new *n, const struct blk_driver *drv, struct opts *o);
int img_new_make(struct img_new *n, const char *filename);
void img_new_free(struct img_new *n);
/* The value of an option as text, or NULL: not set. */
const char *img_new_get(const struct img_new *n, const char *name, char buf[64]);
/* "-o help"; file: for a file that was named. */
bool img_wants_help(const struct opts *o);
void img_options_help(const struct blk_driver *drv, bool file);
/* Of amend. */
void img_amend_help(const struct blk_driver *drv);

#endif
