/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the block layer share: names and options of nodes, probing, a drive's front. */
#ifndef POSADA_BLOCK_INTERNAL_H
#define POSADA_BLOCK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "block.h"
#include "err.h"
#include "loop.h"
#include "throttle.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* --- options of nodes (node_opts.c) --- */

/* Names of a table of keys, for hints; each ends with what blk_driver's props add. */
#define BLK_KNOWN_MAX 128
/* Keys that every node takes and drv's own; returns how many. */
size_t blk_known_keys(const struct blk_driver *drv, const char *names[], size_t max);
/* Fills how from those keys of o that every node takes; *name: node-name= or NULL. */
int blk_take_keys(struct opts *o, struct blk_open *how, const char **name, struct err *e);

/* The keys of o that begin with "child." without that, in sub. */
int blk_sub_opts(const struct opts *o, const char *child, struct opts *sub, struct err *e);
/* Marks in o what has been used of sub, and frees sub. */
void blk_sub_opts_end(struct opts *o, const char *child, struct opts *sub);
bool blk_has_sub_opts(const struct opts *o, const char *child);

/* Adds the members of a JSON object to o: {"a":{"b":1}} as a.b=1. */
int blk_opts_from_json(struct opts *o, const char *text, struct err *e);

/* A child by its options: sub's keys are without "key.". Without driver= by its file name. */
int blk_open_child(const char *key, struct opts *sub, const struct blk_open *parent,
		   struct blk_node **out, struct err *e);
/* "file" or "host_device", by what is there. */
const char *blk_path_driver(const char *path);
/*
 * Opens the protocol that filename names: a path, "file:PATH", "null-co://",
 * "blkdebug:RULES:IMAGE". o: keys of the node, or NULL. literal: it is a path, whatever it holds.
 */
int blk_open_protocol(const char *filename, bool literal, struct opts *o,
		      const struct blk_open *how, struct blk_node **out, struct err *e);

/* --- backing files (backing.c) --- */

/* The file that name means in a header of image: beside it unless absolute or a protocol's;
 * malloc'd. */
char *blk_beside(const char *image, const char *name);
/*
 * Opens n->backing: what the header says (NULL: nothing), unless n's own keys say otherwise.
 * Without n->open.no_backing, and once.
 */
int blk_open_backing(struct blk_node *n, const char *name, const char *format, struct err *e);
/* Before n's driver opens it: backing= and backing.X= of o. keys is to be freed after that. */
int blk_take_backing(struct blk_node *n, struct opts *o, struct opts *keys, struct err *e);

/* --- probing (probe.c) --- */

enum { BLK_PROBE_SIZE = 2048 };

/* The format of buf: a driver's name, or one that this version cannot open; "raw" for all else. */
const char *blk_probe_buf(const uint8_t *buf, size_t n, uint64_t size);
/* The same for what file holds. -errno. */
int blk_probe(struct blk_node *file, const char **format, struct err *e);
/* -ENOTSUP for the names of formats that this version cannot open, else -EINVAL with a hint. */
int blk_format_unknown(const char *format, const char *looks_like, struct err *e);
/*
 * The format above file (taken over, also on failure); format NULL: probes.
 * *probed_raw: raw because nothing else was found in it.
 */
int blk_open_format(struct blk_node *file, const char *format, struct opts *o,
		    const struct blk_open *how, struct blk_node **out, bool *probed_raw,
		    struct err *e);

/* --- snapshot=on (overlay.c) --- */

/* A temporary image in front of base (taken over, also on failure). */
int blk_open_overlay(struct blk_node *base, const struct blk_open *how, struct blk_node **out,
		     struct err *e);

/* --- commit.c --- */

/* Whether top's first sector may be written to base, which was probed and found to be raw. */
int blk_check_commit(struct blk_node *top, const struct blk_node *base, struct err *e);

/* --- a drive's front (block.c) --- */

enum blk_detect { BLK_DETECT_OFF, BLK_DETECT_ON, BLK_DETECT_UNMAP };
enum blk_on_error { BLK_ERR_REPORT, BLK_ERR_IGNORE, BLK_ERR_STOP, BLK_ERR_ENOSPC };

extern const char *const blk_detect_names[], *const blk_on_error_names[];

struct blk_config {
	bool writeback;
	enum blk_detect detect;
	enum blk_on_error werror, rerror;
	bool probed_raw; /* see blk_open_format */
	const char *serial; /* or NULL */
	struct blk_throttle throttle;
	enum drive_if iface;
	int index; /* among the drives of iface; -1: of none */
};

/* A drive on root (taken over, also on failure); NULL: one without a medium. */
int blk_new(struct blk_set *s, const char *id, struct blk_node *root, const struct blk_config *c,
	    struct blk **out, struct err *e);
struct loop *blk_set_loop(const struct blk_set *s);
bool blk_set_snapshot(const struct blk_set *s); /* -snapshot */
/* Whether a drive has this place. */
bool blk_index_taken(const struct blk_set *s, enum drive_if iface, int index);
/* The drive whose image is the same file or device as filename; NULL: none. */
struct blk *blk_same_image(struct blk_set *s, const char *filename);

#endif
