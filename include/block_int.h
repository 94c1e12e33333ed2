/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Below a drive: nodes. A node is a format (raw, qcow2) or a filter
 * (blkdebug) above another node, or a protocol (file, null) at the bottom.
 * A driver is one file with a struct blk_driver and a line in
 * src/block/drivers.c. Nodes know nothing of devices, KVM or the front.
 *
 * Threads: a node belongs to the loop it is attached to, and all its
 * functions run there; before attach and after detach, on the main thread.
 */
#ifndef POSADA_BLOCK_INT_H
#define POSADA_BLOCK_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

struct blk_driver;
struct blk_node;
struct err;
struct loop;
struct opts;
struct prop;

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_WRITE_ZEROES, BLK_OPS };

enum blk_flags {
	BLK_FUA = 1, /* WRITE, WRITE_ZEROES: on stable storage when done */
	BLK_UNMAP = 2, /* WRITE_ZEROES: may deallocate */
	BLK_COMPRESSED = 8, /* WRITE of whole clusters: store them compressed */
	BLK_NO_FALLBACK = 4, /* WRITE_ZEROES: -ENOTSUP rather than writing zeroes out */
};

/*
 * A request to a node. The one who submits owns it until done. A node may pass
 * the same blk_io on to its child (filters, raw), changing off and node, not done.
 */
struct blk_io {
	enum blk_op op;
	unsigned flags;
	uint64_t off, len;
	const struct iovec *iov;
	unsigned n_iov;
	void (*done)(struct blk_io *io, int ret); /* once, on the loop, never inside submit */
	/* the owner's of the moment: the node that has it */
	struct blk_node *node;
	struct blk_io *next;
	uint64_t scratch[8];
};

/* What a node wants of requests; the front sees the limits of the whole tree. */
struct blk_limits {
	uint32_t align; /* offsets and lengths that need no read-modify-write: 1, 512, 4096 */
	uint32_t mem_align; /* of buffers; others are bounced */
	uint32_t max_iov;
	uint64_t max_len; /* bytes of a read or write */
	uint32_t block_size; /* physical block, to show the guest */
	uint32_t opt_io; /* best request size, 0: unknown */
	uint64_t max_discard, max_zeroes; /* 0: no limit */
	uint32_t discard_align;
};

/* How a node is opened. */
struct blk_open {
	bool readonly;
	bool auto_readonly; /* fall back to read-only rather than fail */
	bool direct; /* cache.direct: O_DIRECT */
	bool no_flush; /* cache.no-flush: FLUSH does nothing (cache=unsafe) */
	bool discard; /* discard=unmap: pass DISCARD on */
	int aio; /* enum blk_aio */
	bool locking; /* lock the image against other programs */
	bool share_rw; /* others may write too */
	bool no_backing; /* do not open backing files: only this layer is looked at */
	bool repair; /* open for repairing: damage that is marked does not refuse writing */
	struct loop *loop; /* the main loop */
};

enum blk_aio { BLK_AIO_AUTO, BLK_AIO_THREADS, BLK_AIO_NATIVE, BLK_AIO_IO_URING };

struct blk_driver {
	const char *name; /* as in driver= and format= */
	const char *desc;
	bool protocol; /* opens something of the host's; else it has a child `file` */
	bool filter; /* passes data through unchanged: not a format */
	const char *child; /* the key of its child; NULL: "file" */
	size_t size; /* of its private struct */
	const struct prop *props; /* into the private struct; for -blockdev and -drive file.X= */
	/* How sure it is that the first n bytes of a file are of this format: 0..100. */
	int (*probe)(const uint8_t *buf, size_t n, uint64_t size);
	/*
	 * Props and node->open are set; node->file is open already. Fills
	 * node->size and node->lim. Messages name the file and the field.
	 */
	int (*open)(struct blk_node *n, struct err *e);
	/* Before open: takes keys that no table of props can name ("inject-error.0.errno"). May be
	 * NULL. */
	int (*keys)(struct blk_node *n, struct opts *o, struct err *e);
	void (*close)(struct blk_node *n); /* nothing in flight; accepts half-open */
	void (*submit)(struct blk_node *n, struct blk_io *io);
	/*
	 * Sends what is queued and waits until at least one request in flight, if any, is
	 * done; its children's too. NULL: the child's.
	 */
	void (*poll)(struct blk_node *n);
	unsigned (*in_flight)(const struct blk_node *n); /* without children; NULL: none */
	/* Both on l's thread. */
	int (*attach)(struct blk_node *n, struct loop *l, struct err *e); /* may be NULL */
	void (*detach)(struct blk_node *n); /* nothing in flight; may be NULL */
	/* Looks at the file again: its size may have changed. May be NULL. */
	int (*refresh)(struct blk_node *n, struct err *e);
	int (*truncate)(struct blk_node *n, uint64_t size, struct err *e); /* NULL: cannot */
	/*
	 * What lies at off: *bytes how far the answer holds. BLK_DATA, BLK_ZERO,
	 * BLK_ALLOCATED flags; NULL: all data. Blocking.
	 */
	int (*status)(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		      unsigned *flags);
	/*
	 * Where in n->file the data at off lie as the guest sees them, and after them all that
	 * status told in one go from off on. False: nowhere (compressed, encrypted,
	 * another file). NULL: never. Blocking.
	 */
	bool (*place)(struct blk_node *n, uint64_t off, uint64_t *at);
	void (*describe)(const struct blk_node *n, FILE *f); /* format-specific, may be NULL */
	const struct blk_image_ops *image; /* making and managing images; NULL: none of it */
};

/* --- what the image tool and the monitor do to whole images. Main thread, blocking. --- */

struct blk_create {
	uint64_t size;
	const char *backing, *backing_format; /* NULL: none */
	const void *opts; /* of create_size bytes, by create_props */
	const struct blk_open *how;
};

struct blk_check {
	/* found; the first two are fatal to data, leaks only waste room */
	uint64_t corruptions, leaks, check_errors;
	uint64_t corruptions_fixed, leaks_fixed;
	uint64_t image_end_offset;
	uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
	/* each finding as a line "ERROR cluster ..."; may be NULL */
	void (*say)(void *ctx, const char *line);
	void *ctx;
};
enum { BLK_FIX_LEAKS = 1, BLK_FIX_ERRORS = 2 };

struct blk_snapshot {
	char *id, *name; /* malloc'd */
	uint64_t vm_state_size, disk_size;
	uint64_t date_s, vm_clock_ns, icount;
	uint32_t date_ns;
	bool have_icount;
};

struct blk_image_ops {
	const struct prop *create_props; /* -o of create and convert */
	size_t create_size;
	/* Writes an empty image to filename, over what is there. */
	int (*create)(const char *filename, const struct blk_create *c, struct err *e);
	/* fix: BLK_FIX_ bits; the node is writable then. -errno only when it could not check. */
	int (*check)(struct blk_node *n, unsigned fix, struct blk_check *out, struct err *e);
	/* Snapshots; *list is malloc'd, each freed by blk_snapshots_free. */
	int (*snap_list)(struct blk_node *n, struct blk_snapshot **list, size_t *count,
			 struct err *e);
	int (*snap_create)(struct blk_node *n, const char *name, struct err *e);
	int (*snap_apply)(struct blk_node *n, const char *id_or_name, struct err *e);
	int (*snap_delete)(struct blk_node *n, const char *id_or_name, struct err *e);
	/* Reads go to this snapshot from now on (convert -l); the node is read-only. */
	int (*snap_load)(struct blk_node *n, const char *id_or_name, struct err *e);
	/* New values of create options; keys taken are marked. */
	int (*amend)(struct blk_node *n, struct opts *o, struct err *e);
	/* Writes another backing file into the header; NULL: none. Data are not looked at. */
	int (*set_backing)(struct blk_node *n, const char *backing, const char *format,
			   struct err *e);
	/* Room that an image of size bytes, data of them allocated, takes by these options. */
	int (*measure)(const struct blk_create *c, uint64_t data, uint64_t *required,
		       uint64_t *fully_allocated, struct err *e);
	uint32_t (*cluster_size)(const struct blk_node *n);
	const char *(*backing_name)(const struct blk_node *n, const char **format);
	/*
	 * The "format-specific" data of info; a new reference (jansson's json_t). May be NULL.
	 * Its booleans "dirty-flag" and "encrypted" are shown with the general data.
	 */
	void *(*info)(const struct blk_node *n);
	/*
	 * After truncate has made the disk longer than from: room for all of that. mode:
	 * "metadata", "falloc", "full". NULL: cannot.
	 */
	int (*preallocate)(struct blk_node *n, uint64_t from, const char *mode, struct err *e);
	/* Forgets all data of the disk: the backing file shows again. NULL: cannot. */
	int (*make_empty)(struct blk_node *n, struct err *e);
	/*
	 * A saved machine, kept behind the disk. vmstate_write comes first, off from 0 on;
	 * snap_save then makes a snapshot of the disk and of the first vm_state_size bytes, by
	 * info's name, sizes and times (its id and disk_size are made up), and nothing is left
	 * behind the disk. vmstate_read reads what snap_apply or snap_load have brought back.
	 * Nothing else is under way, as with all changes of snapshots. NULL: cannot.
	 */
	int (*vmstate_write)(struct blk_node *n, uint64_t off, const void *buf, size_t len,
			     struct err *e);
	int (*vmstate_read)(struct blk_node *n, uint64_t off, void *buf, size_t len, struct err *e);
	int (*snap_save)(struct blk_node *n, const struct blk_snapshot *info, struct err *e);
};

void blk_snapshots_free(struct blk_snapshot *list, size_t count);

enum blk_status_flags {
	BLK_DATA = 1, /* stored bytes */
	BLK_ZERO = 2, /* reads as zeroes */
	BLK_ALLOCATED = 4, /* this layer decides, not its backing file */
};

struct blk_node {
	const struct blk_driver *drv;
	void *p; /* drv->size bytes */
	char *name; /* node-name= or made up "#block012" */
	char *filename; /* of the file at the bottom; for messages */
	struct blk_open open;
	bool readonly; /* as opened */
	uint64_t size; /* bytes */
	struct blk_limits lim;
	struct blk_node *file, *backing;
	struct blk_node *parent; /* whose child it is; a node has one at most */
	struct loop *loop; /* attached to; else NULL */
	unsigned refs;
	struct blk_node *next; /* in the list of all, for blk_node_find */
};

extern const struct blk_driver *const blk_drivers[]; /* NULL-ended; src/block/drivers.c */
const struct blk_driver *blk_driver_find(const char *name);

/*
 * Opens a node: o holds driver's keys (used ones are marked), child keys as
 * "file.X". file may be given instead (taken over, also on failure). -errno.
 */
int blk_node_open(const struct blk_driver *drv, struct opts *o, const struct blk_open *how,
		  struct blk_node *file, struct blk_node **out, struct err *e);
/* Opens filename by the format of that name (NULL: probes) on the file protocol. */
int blk_node_open_file(const char *filename, const char *format, const struct blk_open *how,
		       struct blk_node **out, struct err *e);
void blk_node_close(struct blk_node *n); /* drops a reference; closes children */
int blk_node_attach(struct blk_node *n, struct loop *l, struct err *e); /* with children */
void blk_node_detach(struct blk_node *n);

static inline void blk_node_submit(struct blk_node *n, struct blk_io *io)
{
	io->node = n;
	n->drv->submit(n, io);
}
unsigned blk_node_in_flight(const struct blk_node *n); /* with children */
void blk_node_drain(struct blk_node *n);
/* Sends what is queued and waits for a completion, if anything is in flight; with children. */
void blk_node_poll(struct blk_node *n);
/* By node-name= or made-up name; NULL. Main thread. */
struct blk_node *blk_node_find(const char *name);

/*
 * Blocking, for opening, the image tool and set-up: submits and polls. On the
 * node's thread. 0 or -errno; a read past the end is -EIO.
 */
int blk_node_pread(struct blk_node *n, uint64_t off, void *buf, size_t len);
int blk_node_pwrite(struct blk_node *n, uint64_t off, const void *buf, size_t len);
int blk_node_flush(struct blk_node *n);
int blk_node_zero(struct blk_node *n, uint64_t off, uint64_t len, unsigned flags);
int blk_node_truncate(struct blk_node *n, uint64_t size, struct err *e);
int blk_node_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		    unsigned *flags);

/*
 * Completes io later: from the loop (loop_defer) or from poll. For drivers that know
 * the answer inside submit.
 */
void blk_io_done_later(struct blk_io *io, int ret);
/* Runs those of the calling thread; drivers' poll functions call it. True when any ran. */
bool blk_run_later(void);

#endif
