/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks as devices and the board see them. A `struct blk` is a drive: an id, a
 * tree of nodes below it (a format on a file), and a front that checks,
 * throttles, retries and counts. What is below is in block_int.h.
 *
 *   -drive file=disk.img,format=raw,if=virtio,cache=none,id=d0
 *   -blockdev driver=raw,node-name=d0,file.driver=file,file.filename=disk.img
 *
 * A blk belongs to one loop: requests are submitted there and complete there.
 * Functions are for that loop's thread unless marked otherwise; making,
 * attaching and removing are for the main thread while no request is in flight.
 */
#ifndef POSADA_BLOCK_H
#define POSADA_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "block_int.h"

struct blk;
struct blk_set;
struct err;
struct loop;
struct opts;

/* --- requests --- */

/*
 * Off and len are bytes, any alignment, within the disk. The struct and iov are the
 * caller's until done, which runs exactly once, on the blk's loop, never
 * inside blk_submit. ret: 0 or -errno; a short read never happens (what lies
 * past the end of a file that shrank is -EIO).
 */
struct blk_req {
	enum blk_op op;
	unsigned flags; /* BLK_FUA, BLK_UNMAP */
	uint64_t off, len;
	const struct iovec *iov; /* READ and WRITE: len bytes in all */
	unsigned n_iov;
	void (*done)(struct blk_req *r, int ret);
	/* the front's */
	struct blk *blk;
	struct blk_io io;
	struct blk_req *next, *prev;
	uint64_t start_ns;
	uint64_t mark;
};

void blk_submit(struct blk *b, struct blk_req *r);
/*
 * Waits until nothing is in flight. What is held back by throttling goes out now;
 * what is held back by werror=stop is completed with its error.
 */
void blk_drain(struct blk *b);

/* --- a drive's properties --- */
const char *blk_id(const struct blk *b);
uint64_t blk_size(const struct blk *b); /* bytes, a multiple of 512; any thread */
bool blk_readonly(const struct blk *b);
/* Whether a finished write may still be lost by a power cut, so that FLUSH matters. */
bool blk_writeback(const struct blk *b);
/* From now on writes are (not) followed by a flush of their own: the guest's write cache setting.
 */
void blk_set_writeback(struct blk *b, bool on);
bool blk_can_discard(const struct blk *b); /* discard=unmap */
const struct blk_limits *blk_limits(const struct blk *b);
const char *blk_serial(const struct blk *b); /* -drive serial=, or NULL */

/* --- devices --- */
struct blk_client {
	void (*resized)(void *ctx); /* blk_size has changed; main loop */
	/*
	 * The VM stops: submits what the guest has asked for so far, so that nothing is left to
	 * begin later. The drive's loop. NULL: there never is any.
	 */
	void (*take)(void *ctx);
	/* Devices with removable media; main loop. Tray or medium are not what they were. */
	void (*medium_changed)(void *ctx);
	/* The eject button was pressed while the guest had locked the tray. */
	void (*eject_request)(void *ctx);
};
/*
 * The one device of a drive. write: it must be writable, else -EROFS naming the
 * way out. loop: where its requests will run. -EBUSY when another device has it.
 */
int blk_attach(struct blk *b, const struct blk_client *c, void *ctx, bool write, struct loop *loop,
	       struct err *e);
/* Drains, and gives it back to the main loop. */
void blk_detach(struct blk *b);
/* For a property drive=ID: finds it and -ENOENT names the way out. */
int blk_get(struct blk_set *s, const char *id, struct blk **out, struct err *e);

/* --- removable media: a drive can be without one --- */
bool blk_has_medium(const struct blk *b);
/* What the image holds, in bytes; not rounded to sectors. 0 without a medium. */
uint64_t blk_image_size(const struct blk *b);
bool blk_tray_open(const struct blk *b); /* any thread, as the next two */
bool blk_tray_locked(const struct blk *b);
void blk_set_tray_lock(struct blk *b, bool locked);
bool blk_removable(const struct blk *b); /* its device takes other media */
/* The tray has been moved, by guest or person: the host hears of it. Main loop. */
void blk_move_tray(struct blk *b, bool open);
/*
 * Opens the tray and takes the medium out. -EBUSY when the guest has locked
 * the tray (it is asked to let go) unless force. Main thread.
 */
int blk_eject(struct blk *b, bool force, struct err *e);
/* Another medium, read-only, and closes the tray. format NULL: probes. Main thread. */
int blk_change(struct blk *b, const char *filename, const char *format, bool force, struct err *e);

/* --- the set of a VM --- */

/* What the VM is told of; main loop. */
struct blk_host {
	/* werror=stop or enospc: the guest must pause; it is asked to go on by resume */
	void (*stop)(void *ctx, struct blk *b, bool write, int error);
	void (*resume)(void *ctx,
		       struct blk *b); /* a held request went through: there is room again */
	/* each error told to the guest or held: for QMP's BLOCK_IO_ERROR */
	void (*io_error)(void *ctx, struct blk *b, bool write, int error, const char *action);
	void (*tray_moved)(void *ctx, struct blk *b, bool open); /* QMP's DEVICE_TRAY_MOVED */
	void *ctx;
};

int blk_set_create(struct blk_set **out, struct loop *main_loop, const struct blk_host *host,
		   struct err *e);
/* Flushes and closes all. No device is attached any more. Reports what could not be written. */
void blk_set_destroy(struct blk_set *s);
/* All drives: drain and flush (the VM stops). Main thread, vCPUs parked. */
void blk_drain_all(struct blk_set *s);
/* The VM goes on: requests held by werror=stop are tried again. Main thread. */
void blk_retry_all(struct blk_set *s);

/* "-drive ARG": what the board needs to know to make its device. */
enum drive_if { DRIVE_IF_DEFAULT, DRIVE_IF_IDE, DRIVE_IF_VIRTIO, DRIVE_IF_NONE, DRIVE_IF_PFLASH };
struct drive {
	struct blk *blk;
	enum drive_if iface;
	int index; /* -1: next free */
	bool cdrom; /* media=cdrom */
};
/* -snapshot: drives that do not say otherwise have snapshot=on from now on. */
void blk_snapshot_all(struct blk_set *s);
/* Opens what arg says. Messages do not repeat the option; the caller prefixes it. */
int blk_add_drive(struct blk_set *s, const char *arg, struct drive *out, struct err *e);
/* -hda FILE, -cdrom FILE: the file's name may hold commas and is not parsed. */
int blk_add_file(struct blk_set *s, const char *file, const char *id, bool cdrom, bool snapshot,
		 struct drive *out, struct err *e);
/* A CD drive without a medium. */
int blk_add_empty(struct blk_set *s, const char *id, struct drive *out, struct err *e);
/* "-blockdev": key=value pairs or JSON. Makes a node, and a blk of the node's name. */
int blk_add_blockdev(struct blk_set *s, const char *arg, struct err *e);

struct blk *blk_find(struct blk_set *s, const char *id); /* or node name; NULL */
struct blk *blk_next(struct blk_set *s, struct blk *after); /* NULL: the first */
bool blk_attached(const struct blk *b);
/* New size in bytes; the device hears of it. -ENOTSUP, -EINVAL ... Main thread. */
int blk_resize(struct blk *b, uint64_t size, struct err *e);

/*
 * Counters for the monitor; any thread, each value by itself. ops and bytes are of
 * requests that succeeded, ns is the time of all, failed counts each error.
 */
struct blk_stats {
	uint64_t ops[BLK_OPS], bytes[BLK_OPS], ns[BLK_OPS], failed[BLK_OPS], merged[BLK_OPS];
};
void blk_get_stats(const struct blk *b, struct blk_stats *out);
/* What the monitor shows; texts live as long as the blk. Main thread. */
struct blk_info {
	const char *filename, *format, *node_name; /* "" without a medium */
	const char *detect_zeroes; /* "off", "on", "unmap" */
	const char *werror, *rerror;
	const char *backing; /* the file of its backing file; NULL: none */
	unsigned backing_depth;
	bool writeback, direct, no_flush;
	bool held; /* requests wait for blk_retry_all after an error */
	bool held_no_space; /* ... because the host has no room */
};
void blk_get_info(const struct blk *b, struct blk_info *out);
/* "info block" line(s) of one drive. */
void blk_describe(const struct blk *b, FILE *f);

/*
 * What a drive has written over its backing file (with snapshot=on: since it began) goes to
 * that file. Main thread; the guest's requests wait meanwhile.
 */
int blk_commit(struct blk *b, struct err *e);
bool blk_has_backing(const struct blk *b);

struct blk_throttle; /* throttle.h: limits by I/O operations and bytes */
int blk_set_throttle(struct blk *b, const struct blk_throttle *t, struct err *e);
const struct blk_throttle *blk_get_throttle(const struct blk *b);

/*
 * The format of an image of size bytes that begins with buf: a name, perhaps of one that this
 * version cannot open; "raw" for all else.
 */
const char *blk_probe_image(const uint8_t *buf, size_t n, uint64_t size);

/* "-drive help", "-blockdev help": formats and protocols. */
void blk_help(FILE *f);

#endif
