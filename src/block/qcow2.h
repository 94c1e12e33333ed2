/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the qcow2 engine share. The format is in include/wire/qcow2.h.
 *
 *   qcow2.c           the driver: header, open, close, attach
 *   qcow2_io.c        requests: the fast path, and a coroutine for all else
 *   qcow2_map.c       L1 and L2: where guest clusters lie; allocation, copy on write, linking
 *   qcow2_refcount.c  refcounts: allocating and freeing host clusters
 *   qcow2_cache.c     tables in memory, and writing them back in order
 *   qcow2_compress.c  compressed clusters
 *   qcow2_amend.c     giving options of an image other values
 *   qcow2_width.c     refcounts of another width
 *   qcow2_create.c    making images
 *   qcow2_walk.c      counting what is referenced (qcow2_walk.h)
 *   qcow2_repair.c    refcounts made right by that: when an image is opened that was not closed
 *   qcow2_check.c     posada-img check
 *   qcow2_snapshot.c  snapshots
 *   qcow2_snaptable.c the table of snapshots
 *   qcow2_vmstate.c   the memory of a saved machine
 *   qcow2_switch.c    changing refcounts and tables all at once, for snapshots
 *   qcow2_crypt.c     encryption of data
 *   qcow2_bitmap.c    persistent dirty bitmaps: kept right while the disk is written
 *   qcow2_bitmap_ops.c  ... and what the image tool does to them
 *
 * Threads: the node's. A function marked [co] may wait for I/O, and must run in a coroutine:
 * a request's, or qcow2_run's. Between two waits nothing else runs, so what is looked
 * up stays true until the next [co] call, and no further.
 *
 * What keeps the image whole when the power goes: nothing on disk ever refers to a
 * cluster that is not counted there.
 * - Refcounts, L2 tables, L1 and the refcount table are changed in memory only and reach the
 *   disk by qcow2_write_back: refcounts, flush, refcount table, flush, L2, flush, L1. Tables
 *   that requests change meanwhile are written as they were when it began.
 * - A reference that is dropped gives its cluster back by qcow2_free, which
 *   lowers the refcount only after the tables without the reference are on disk and
 *   requests that may still use the old place have ended. So refcounts in memory
 *   may be written at any time.
 * - Data that were copied are on disk before the table that points to them, by the same flush.
 * - Snapshots change refcounts and the flags that depend on them in many tables at once: they
 *   are written elsewhere, and one sector of the header makes them the image's; see qcow2_switch.c.
 * - A repair (qcow2_check.c) sets refcounts first, those that rise and those that nothing
 *   refers to; then entries of tables, each in one sector; then the header's bits. Of what
 *   cannot be trusted a new one is written where nothing is, and the header switched last.
 *
 * Images whose tables overlap: before a cluster is taken, and before data are written in place,
 * qcow2_is_metadata asks whether a table is there, by a hash of what L1 and the refcount table
 * refer to. Such an image is marked as corrupt, and nothing more is written to it.
 */
#ifndef POSADA_QCOW2_INT_H
#define POSADA_QCOW2_INT_H

#include "block_int.h"
#include "co.h"
#include "co_io.h"
#include "internal.h"
#include "loop.h"
#include "luks.h"
#include "opts.h"
#include "props.h"
#include "slab.h"
#include "wire/qcow2.h"

#define QCOW2_L1_MAX (32u << 20) /* bytes */
#define QCOW2_REFTABLE_MAX (8u << 20) /* bytes */
enum {
	QCOW2_MIN_CLUSTER_BITS = 9,
	QCOW2_MAX_CLUSTER_BITS = 21,
	QCOW2_SNAPSHOTS_MAX = 65536,
	QCOW2_SNAPSHOT_EXTRA_MAX = 1024, /* bytes */
	QCOW2_BACKING_NAME_MAX = 1023,
	QCOW2_CHAIN_MAX = 200, /* images behind one another */
	QCOW2_SUBCLUSTERS = 32,
};

struct qcow2;

/* --- tables in memory ---------------------------------------------------------------- */

/* A slice of an L2 table or of a refcount block: a whole cluster of it when clusters are small. */
struct qcow2_table {
	void *data; /* cache->unit bytes, as on disk */
	struct slab_chunk *chunk; /* of data */
	void *frozen; /* what write-back shall write, when data has changed since it began */
	uint64_t host; /* where in the file */
	uint32_t slot;
	unsigned pins; /* not to be evicted */
	bool dirty; /* in the cache's dirty list */
	bool writing; /* to be written by the write-back that is going on */
	bool loading; /* data are not there yet */
	struct co_queue loaded;
	struct qcow2_table *next_dirty;
	struct qcow2_table *next_writing;
	unsigned ring; /* index in cache->ring */
};

struct qcow2_cache {
	struct qcow2 *q;
	uint32_t unit; /* bytes of a table */
	uint64_t n_slots;
	/* by place in the disk, or in the file; NULL: not in memory */
	struct qcow2_table **slot;
	/* The same for requests in a hurry, who miss the caches once less so. */
	void **ready; /* data, once they are there */
	uint8_t *used; /* since the clock's hand passed */
	struct slab mem; /* for data */
	struct qcow2_table **ring; /* all, for the clock */
	unsigned n, max, room, hand; /* tables there are, may be, have place in ring */
	struct qcow2_table *dirty; /* list */
	unsigned n_dirty;
};

/* A cache that has room for bytes of tables (two at least). -ENOMEM. */
int qcow2_cache_init(struct qcow2_cache *c, struct qcow2 *q, uint32_t unit, uint64_t n_slots,
		     uint64_t bytes);
void qcow2_cache_free(struct qcow2_cache *c);
/* More slots. -ENOMEM. */
int qcow2_cache_grow(struct qcow2_cache *c, uint64_t n_slots);
/*
 * [co] The table of slot, which lies at host in the file; read unless it is in
 * memory. zero: it is new and holds zeroes; nothing is read. 0 or -errno.
 */
int qcow2_cache_get(struct qcow2_cache *c, uint64_t slot, uint64_t host, bool zero,
		    struct qcow2_table **out);
/* The same without waiting: NULL when it is not in memory. */
static inline void *qcow2_cache_peek_data(const struct qcow2_cache *c, uint64_t slot)
{
	if (slot >= c->n_slots)
		return NULL;
	c->used[slot] = 1;
	return c->ready[slot];
}
static inline struct qcow2_table *qcow2_cache_peek(const struct qcow2_cache *c, uint64_t slot)
{
	return qcow2_cache_peek_data(c, slot) ? c->slot[slot] : NULL;
}
/* Before t->data is changed: it will be written back. -ENOMEM. Never waits. */
int qcow2_cache_dirty(struct qcow2_cache *c, struct qcow2_table *t);
/* Forgets tables without writing them: the file has changed below. Nothing waits for one. */
void qcow2_cache_drop(struct qcow2_cache *c, uint64_t first, uint64_t n);
/* Frees clean tables that nobody has used since the last call. */
void qcow2_cache_clean(struct qcow2_cache *c);

/*
 * [co] All changed tables to the file, in order; durable: on stable storage at the
 * end, data included. Then clusters that were given back are free. After an error
 * what was not written is still changed in memory.
 */
int qcow2_write_back(struct qcow2 *q, bool durable);
/* Whether write-back has anything to do. */
bool qcow2_is_dirty(const struct qcow2 *q);
/* [co] Only refcounts and their table, durable. For those that change the header or L1 by
 * themselves. */
int qcow2_write_refcounts(struct qcow2 *q);
int qcow2_write_refcounts_locked(struct qcow2 *q); /* write_lock is held */

/* --- an image ------------------------------------------------------------------------- */

/* Something for reuse: n bytes that refer to host clusters no more. */
struct qcow2_freed {
	uint64_t host, len;
	bool discard; /* tell the file too */
};

struct qcow2_freed_list {
	struct qcow2_freed *item;
	size_t n, room;
};

/* An array of be64 kept whole in memory and written in sectors: L1, refcount table. */
struct qcow2_array {
	struct be64 *entry;
	uint64_t n; /* entries */
	uint64_t host; /* in the file */
	uint8_t *changed; /* per sector of 512 bytes */
	uint64_t first_changed, end_changed; /* sectors */
	/* Bits of what the entries refer to, by a hash: qcow2_array_refers. */
	uint64_t *marks;
	uint64_t n_marks; /* words, a power of 2 */
	uint64_t marked; /* entries since they were made */
};

static inline uint64_t qcow2_array_get(const struct qcow2_array *a, uint64_t i)
{
	return i < a->n ? be64_to_cpu(a->entry[i]) : 0;
}
/* i < a->n; written back later. */
void qcow2_array_set(struct qcow2_array *a, uint64_t i, uint64_t value);
/* Whether an entry refers to the cluster at host. Fast, when none does. */
bool qcow2_array_refers(struct qcow2_array *a, uint64_t host);
void qcow2_array_free(struct qcow2_array *a);

/* Guest clusters that are being allocated; who touches them waits. */
struct qcow2_alloc {
	uint64_t start, end; /* guest bytes, whole clusters */
	struct co_queue waiters;
	struct qcow2_alloc *next;
};

/* A cluster that has been decompressed. */
struct qcow2_decompressed {
	uint64_t desc; /* of its L2 entry; 0: none */
	uint8_t *data;
	bool loading;
	struct co_queue loaded;
	uint64_t used; /* q->stamp of the last use */
};

/* A persistent dirty bitmap. */
struct qcow2_bitmap {
	struct qcow2_bitmap_entry entry; /* as in the file */
	char *name;
	uint8_t *extra; /* extra data, byte for byte; NULL: none */
	/* For each entry of its table: bits that are to be set in the file at close, or NULL. */
	uint8_t **bits;
	struct be64 *table; /* while it is being stored: the table with its changes */
	bool usable; /* not in use when it was opened, and its extra data do no harm */
	bool marking, marked; /* this program is marking, has marked it as in use in the file */
	bool lost; /* what was written is not known: it stays marked */
};

struct qcow2_bitmaps {
	struct qcow2_bitmap *item;
	size_t n;
	uint64_t dir, dir_size; /* the directory in the file, bytes */
	uint64_t memory; /* bytes in `bits` of all */
	bool loaded;
	bool tracking; /* some record what is written */
};

struct qcow2 {
	/* options */
	uint64_t l2_cache_size, refcount_cache_size, cache_size, clean_interval;
	bool want_lazy;
	char *data_file_name;
	char *crypt_format, *key_secret;

	/* what every request looks at */
	struct blk_node *node, *data; /* data: node->file, or the external data file */
	uint32_t cluster_bits, sub_bits; /* sub_bits == cluster_bits without subclusters */
	uint32_t slice_bits; /* log2 of the guest bytes that a slice of an L2 table maps */
	uint64_t cluster_size;
	bool ext_l2, external, data_raw;
	bool v3;
	bool writable; /* not read-only, not corrupt */
	bool begun; /* qcow2_begin_write has been */
	bool dirty_mark; /* the header says that refcounts may be wrong (lazy refcounts) */
	struct qcow2_cache l2, refs;
	struct qcow2_array l1, reftable;
	struct qcow2_alloc *allocs;

	/* NULL: data are as the guest has them. With it all requests go through coroutines. */
	struct qcow2_crypt *crypt;
	uint64_t crypt_host, crypt_len; /* of the LUKS header in the file */

	uint32_t l2_entries; /* of a table (a cluster) */
	uint32_t slice_entries;
	uint32_t entry_size; /* 8, or 16 with subclusters */
	uint32_t ref_order; /* log2 of a refcount's bits */
	uint64_t ref_max;
	uint32_t block_bits; /* log2 of the refcounts in a block */
	uint32_t ref_slice_bits; /* log2 of those in a slice */

	/* allocation; locks are taken in the order begin_lock, l1_lock, alloc_lock, write_lock */
	struct co_lock alloc_lock;
	uint64_t free_hint; /* no free cluster below */
	uint64_t virgin; /* clusters from here on have never been written: the file ends before */
	uint64_t packed_at; /* where compressed data may go on, 0: nowhere */

	/* write-back, and giving back */
	struct co_lock write_lock, l1_lock, begin_lock;
	struct qcow2_table *writing;
	struct qcow2_freed_list freed[2];
	unsigned live[2]; /* requests under way */
	unsigned epoch; /* which of these new requests and freed clusters belong to */
	bool unflushed; /* metadata were written since the last flush */

	/* requests */
	unsigned in_flight;
	unsigned in_pool; /* of these, what computes in co_pool.h */
	struct qcow2_pass *pass_pool;
	struct qcow2_request *request_pool;
	struct qcow2_decompressed plain[4]; /* the last clusters decompressed */
	uint64_t stamp;
	struct loop_timer clean_timer;

	/* the header */
	struct qcow2_header hdr; /* as in the file; of version 2 completed */
	uint32_t hdr_len; /* bytes of it that the file has */
	uint8_t *hdr_more; /* what follows those bytes, in a header that is longer */
	uint8_t *ext; /* extensions, byte for byte, without the end mark */
	size_t ext_len;
	char *backing_name, *backing_format; /* as in the file, or NULL */
	int compression; /* QCOW2_ZLIB, QCOW2_ZSTD */
	bool opened; /* open succeeded: close writes */
	bool corrupt; /* told already */
	bool dirty_mark_found; /* the dirty bit was set when it was opened */
	bool reftable_lost; /* the header's refcount table cannot be: opened to be repaired */
	struct qcow2_bitmaps bitmaps;
};

static inline struct qcow2 *qcow2_of(const struct blk_node *n)
{
	return n->p;
}

/* Whether something behind the image may show at off, opened (see no_backing) or not. */
static inline bool qcow2_backed(const struct qcow2 *q, uint64_t off)
{
	const struct blk_node *b = q->node->backing;

	if (off >= q->node->size)
		return false;
	return b ? off < b->size : q->backing_name && q->node->open.no_backing;
}

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes >> q->cluster_bits) + !!(bytes & (q->cluster_size - 1));
}

/* --- qcow2.c ---------------------------------------------------------------------------- */

/* Runs fn(arg) in a coroutine and polls until it returns; inside one already, just calls it. */
int qcow2_run(struct qcow2 *q, int (*fn)(void *arg), void *arg);
/*
 * [co] Before the first change of anything: clears the autoclear bits that this
 * program does not keep up to date, marks the image dirty when refcounts are lazy.
 */
int qcow2_begin_write(struct qcow2 *q);
/* [co] Some bytes of q->hdr, from field to end, to the file, durable. */
int qcow2_write_header(struct qcow2 *q, size_t from, size_t end);
/* [co] Header, extensions and backing name anew, durable. -ENOSPC: they do not fit the first
 * cluster. */
int qcow2_rewrite_header(struct qcow2 *q);
/* [co] All tables to the file, and the mark that refcounts may be wrong off the header. */
int qcow2_make_clean(struct qcow2 *q);
/* Bytes of a slice of a table, when there are so many of those clusters. */
uint32_t qcow2_slice_size(const struct qcow2 *q, uint64_t clusters);
int qcow2_set_backing(struct blk_node *n, const char *backing, const char *format, struct err *e);
int qcow2_truncate(struct blk_node *n, uint64_t size, struct err *e);
/* The extension of that type: its data in q->ext, and *len; NULL: there is none. */
uint8_t *qcow2_ext_find(struct qcow2 *q, uint32_t type, uint32_t *len);
/* Puts an extension in the place of the one of that type; data NULL: removes it. Memory only. */
int qcow2_ext_set(struct qcow2 *q, uint32_t type, const void *data, uint32_t len);
/*
 * Metadata contradict one another: says so once, marks the image in the file
 * (not when it is read-only), and stops all writing. Returns -EIO.
 */
int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* [co] A longer L1 table, elsewhere; the header names it, then the old one is given back. */
int qcow2_grow_l1(struct qcow2 *q, uint64_t n);
/*
 * Whether [host, host + len) touches the header, L1, an active L2 table, the refcount table or a
 * block of it, or the snapshot table. Asked for each cluster that is taken, and for each place that
 * data are written to: in an image whose tables overlap nothing is written over them, and what
 * the refcounts wrongly call free is not taken.
 */
bool qcow2_is_metadata(struct qcow2 *q, uint64_t host, uint64_t len);
/* Whether the cluster at host, which L1 calls an L2 table, is one of the other things of those. */
bool qcow2_is_other_table(struct qcow2 *q, uint64_t host);

/* --- qcow2_refcount.c -------------------------------------------------------------------- */

/* [co] The refcount of a host cluster (an index, not bytes). */
int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *out);
/*
 * [co] Adds delta (1 or -1, others for repair) to the refcounts of n clusters. All or none.
 * -ERANGE: more than the width holds, -EIO: below zero. Decreasing is for clusters that nothing on
 * disk refers to; else qcow2_free.
 */
int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta);
/* Refcount i of a block, and setting it: any width. */
uint64_t qcow2_ref_get(const void *block, uint32_t order, uint64_t i);
void qcow2_ref_set(void *block, uint32_t order, uint64_t i, uint64_t value);
/*
 * [co] Takes up to n free clusters in a row, counted once each; *got how many, *host where (bytes).
 * *zero: they read as zeroes. exact: all n or -ENOSPC.
 */
int qcow2_alloc(struct qcow2 *q, uint64_t n, bool exact, uint64_t *host, uint64_t *got, bool *zero);
/* One cluster that reads as zeroes, without waiting; 0: it takes qcow2_alloc. */
uint64_t qcow2_alloc_now(struct qcow2 *q);
/* [co] Takes len bytes for compressed data; may be in a cluster with others. */
int qcow2_alloc_packed(struct qcow2 *q, uint32_t len, uint64_t *host);
/*
 * A reference to all clusters that [host, host + len) touches has been dropped in memory. They
 * are counted down by a later write-back. -ENOMEM: they leak (no harm). Never waits.
 */
int qcow2_free(struct qcow2 *q, uint64_t host, uint64_t len, bool discard);
/* What an L2 entry refers to. */
void qcow2_free_entry(struct qcow2 *q, uint64_t desc, bool discard);
/* [co] By write-back, after its last flush: counts down what may be. */
int qcow2_free_apply(struct qcow2 *q);
/* The file reaches to the end of cluster at least. -errno (-ENOSPC). Never waits. */
int qcow2_extend_file(struct qcow2 *q, uint64_t cluster);

/* --- qcow2_map.c ------------------------------------------------------------------------- */

enum qcow2_kind {
	QCOW2_K_UNALLOCATED, /* the backing file's, or zeroes */
	QCOW2_K_ZERO,
	QCOW2_K_DATA,
	QCOW2_K_COMPRESSED,
};

/* What lies at a place of the disk. */
struct qcow2_map {
	enum qcow2_kind kind;
	uint64_t len; /* bytes from there on that are alike, and in a row in the file */
	bool placed; /* there is a place for the first byte in the file, used or not: */
	uint64_t host; /* where */
	uint64_t desc; /* the L2 entry of the first */
};

/* Both words of L2 entry i of a slice. Without subclusters the bitmap is made up for one. */
void qcow2_l2_read(const struct qcow2 *q, const struct qcow2_table *t, unsigned i, uint64_t *desc,
		   uint64_t *bitmap);
/* After qcow2_cache_dirty. */
void qcow2_l2_write(const struct qcow2 *q, struct qcow2_table *t, unsigned i, uint64_t desc,
		    uint64_t bitmap);
/* [co] The slice of an L2 table that maps off; *t NULL: there is none. off may lie beyond the disk
 * (vm state). */
int qcow2_l2_get(struct qcow2 *q, uint64_t off, struct qcow2_table **t);
/* [co] The same for changing: makes or copies the table. */
int qcow2_l2_get_writable(struct qcow2 *q, uint64_t off, struct qcow2_table **t);
/* [co] What lies at off, len bytes at most. */
int qcow2_map_at(struct qcow2 *q, uint64_t off, uint64_t len, struct qcow2_map *m);
/* -EIO, and the image marked, when a word of an L2 entry cannot be. */
int qcow2_check_desc(struct qcow2 *q, uint64_t off, uint64_t desc, uint64_t bitmap);
/* Where a compressed cluster lies: *host and *len bytes, which may end beyond the file. */
void qcow2_compressed_place(const struct qcow2 *q, uint64_t desc, uint64_t *host, uint32_t *len);

/* [co] Waits until no cluster of [off, off + len) is being allocated. */
void qcow2_wait_allocs(struct qcow2 *q, uint64_t off, uint64_t len);
static inline bool qcow2_alloc_overlaps(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	for (const struct qcow2_alloc *a = q->allocs; a; a = a->next)
		if (off < a->end && a->start < off + len)
			return true;
	return false;
}

/* [co] Part of a write, from off on: *done how much of it. Data are iov from skip on. */
int qcow2_map_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned n_iov, uint64_t skip, uint64_t *done);
/* [co] Whole subclusters become zeroes; unmap: gives their clusters back. */
int qcow2_map_zero(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap);
/* [co] Whole clusters are forgotten: what is read then is zeroes. full: reads the backing file. */
int qcow2_map_discard(struct qcow2 *q, uint64_t off, uint64_t len, bool full);
/* [co] Host clusters for all of [off, off + len) that has none, reading as before. For
 * preallocation. */
int qcow2_map_preallocate(struct qcow2 *q, uint64_t off, uint64_t len);
/* [co] An L2 entry, and what it referred to before is freed. off: a cluster's. */
int qcow2_map_set(struct qcow2 *q, uint64_t off, uint64_t desc, uint64_t bitmap);

/* --- qcow2_io.c --------------------------------------------------------------------------- */

void qcow2_submit(struct blk_node *n, struct blk_io *io);
void qcow2_io_free(struct qcow2 *q);
/* [co] Reads as the guest does; off + len may lie beyond the disk (vm state, reading zeroes behind
 * L1's end). */
int qcow2_read(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov, unsigned n_iov,
	       uint64_t skip);
int qcow2_read_buf(struct qcow2 *q, uint64_t off, void *buf, size_t len);
/* [co] Writes as the guest does; beyond the disk too, as far as L1 reaches. */
int qcow2_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
		unsigned n_iov, uint64_t skip);

/* --- qcow2_crypt.c --------------------------------------------------------------------------- */

/*
 * What the header says of encryption, and the key, unless only metadata are wanted (open.no_data).
 * -ENOKEY: none was given.
 */
int qcow2_crypt_open(struct qcow2 *q, struct err *e);
void qcow2_crypt_free(struct qcow2 *q);
/* [co] Of q->data, which hold guest offset off at host; to iov from skip on. */
int qcow2_crypt_read(struct qcow2 *q, uint64_t off, uint64_t host, uint64_t len,
		     const struct iovec *iov, unsigned n_iov, uint64_t skip);
/* [co] All of iov to q->data. iov's memory stays as it is. */
int qcow2_crypt_write(struct qcow2 *q, uint64_t host, uint64_t len, const struct iovec *iov,
		      unsigned n_iov);
/* "encrypt" of info: a new json_t *. */
void *qcow2_crypt_info(const struct qcow2 *q);
/* Key slots added or erased. */
int qcow2_crypt_amend(struct qcow2 *q, const struct luks_amend *a, struct err *e);

/* --- qcow2_compress.c ----------------------------------------------------------------------- */

/*
 * [co] A cluster of plain data, on another thread. Bytes of out that are used; 0: it does not get
 * smaller than the cluster; -errno.
 */
ssize_t qcow2_compress(struct qcow2 *q, const void *in, void *out);
/* [co] Of the compressed cluster that desc describes: len bytes from `in` on, to iov from skip on.
 */
int qcow2_read_compressed(struct qcow2 *q, uint64_t desc, uint64_t in, uint64_t len,
			  const struct iovec *iov, unsigned n_iov, uint64_t skip);
void qcow2_compress_free(struct qcow2 *q);
/* [co] Stores len bytes, compressed already, as the guest cluster at off. */
int qcow2_write_compressed(struct qcow2 *q, uint64_t off, const void *data, uint32_t len);

/* --- qcow2_create.c --------------------------------------------------------------------------- */

/* -o of create and convert. */
struct qcow2_create {
	uint64_t size;
	int compat, preallocation, compression;
	char *backing_file, *backing_fmt, *data_file;
	uint64_t cluster_size;
	uint32_t refcount_bits;
	bool lazy_refcounts, extended_l2, data_file_raw;
	bool old_encryption;
	char *crypt_format;
	struct luks_params luks;
};
#define QCOW2_CREATE_SIZE sizeof(struct qcow2_create)
extern const struct prop qcow2_create_props[];
int qcow2_create(const char *filename, const struct blk_create *c, struct err *e);
/* Room for all of the disk from `from` on. */
int qcow2_preallocate(struct blk_node *n, uint64_t from, const char *mode, struct err *e);
int qcow2_measure(const struct blk_create *c, uint64_t data, uint64_t *required,
		  uint64_t *fully_allocated, struct err *e);
/* Entries of L1 that a disk of size needs. */
uint64_t qcow2_l1_entries(uint32_t cluster_bits, bool ext_l2, uint64_t size);

/* --- qcow2_switch.c --------------------------------------------------------------------------- */

/* Room for one table a cluster, taken in advance. */
struct qcow2_pool {
	struct qcow2_freed_list runs;
	size_t run; /* that the next is taken from */
	uint64_t used; /* bytes of it */
};

/*
 * A change of the whole image that is there at once or not at all. Nothing else may be under
 * way. In this order: begin; clusters are taken (alloc, fill); fork; refcounts are changed by
 * qcow2_refcount_add, tables written to clusters that were taken; commit; end. Only after fork
 * refcounts may be changed, and then none may be taken.
 */
struct qcow2_switch {
	struct qcow2 *q;
	struct qcow2_freed_list fresh; /* taken: given back when it fails */
	struct qcow2_freed_list old; /* given back when it is done */
	struct qcow2_freed_list dropped; /* may be free when it is done: holes in the file */
	struct qcow2_pool pool; /* for L2 tables */
	struct qcow2_array before; /* the refcount table, while forked */
	bool forked, committed;
	uint8_t *buf; /* what is to be written next */
	size_t room, len;
	uint64_t at;
};

/* [co] All that is in memory is in the file then, and s can be ended. */
int qcow2_switch_begin(struct qcow2_switch *s, struct qcow2 *q);
/* [co] bytes in a row; 0 bytes lie at 0. */
int qcow2_switch_alloc(struct qcow2_switch *s, uint64_t bytes, uint64_t *host);
/* [co] n more clusters in the pool. */
int qcow2_switch_fill(struct qcow2_switch *s, uint64_t n);
/* The next of the pool; 0: it is empty, which is a mistake of the caller's. */
uint64_t qcow2_switch_take(struct qcow2_switch *s);
/* [co] From now on refcounts are a copy. */
int qcow2_switch_fork(struct qcow2_switch *s);
/* [co] Writes a table to a place that was taken; may be postponed until commit. */
int qcow2_switch_write(struct qcow2_switch *s, uint64_t host, const void *data, size_t len);
/* Bytes that the image refers to no more once this is done. -ENOMEM. */
int qcow2_switch_drop(struct qcow2_switch *s, uint64_t host, uint64_t len);
/* Data whose refcounts were lowered: those that nothing refers to become holes. */
void qcow2_switch_discard(struct qcow2_switch *s, uint64_t host, uint64_t len);
/* [co] The fields of *now from size to snapshots_offset, and the new refcounts, are the image's. */
int qcow2_switch_commit(struct qcow2_switch *s, const struct qcow2_header *now);
/* [co] Without commit before, or when that failed, all is as it was. */
void qcow2_switch_end(struct qcow2_switch *s);

/* --- qcow2_snaptable.c ------------------------------------------------------------------------ */

/* An entry of the snapshot table. */
struct qcow2_snap {
	struct qcow2_snapshot_entry fixed;
	uint8_t *extra; /* fixed.extra_size bytes, as in the file */
	char *id, *name; /* of fixed.id_size, name_size bytes and a NUL */
};

struct qcow2_snaps {
	struct qcow2_snap *s;
	uint32_t n;
	uint64_t bytes; /* of the table in the file */
};

/* [co] The table as in the file. To be freed also after an error. */
int qcow2_snaps_load(struct qcow2 *q, struct qcow2_snaps *t, struct err *e);
void qcow2_snaps_free(struct qcow2_snaps *t);
/* The snapshot of that id, else of that name; -1: there is none. */
long qcow2_snaps_find(const struct qcow2_snaps *t, const char *id_or_name);
/* Adds one, with an id of its own; what names clusters is left 0. */
int qcow2_snaps_add(struct qcow2 *q, struct qcow2_snaps *t, const struct blk_snapshot *info,
		    struct err *e);
void qcow2_snaps_remove(struct qcow2_snaps *t, long i);
/* Gives entry i the extra data that version 3 wants. -ENOMEM. */
int qcow2_snaps_complete(const struct qcow2 *q, struct qcow2_snaps *t, uint32_t i);
/* The table for the file: t->bytes of it, malloc'd; NULL: no memory. */
void *qcow2_snaps_pack(const struct qcow2_snaps *t);
uint64_t qcow2_snap_vm_size(const struct qcow2_snap *s);
/* Of the disk, when it was made; the size that it has when that is not recorded. */
uint64_t qcow2_snap_disk_size(const struct qcow2 *q, const struct qcow2_snap *s);

/* --- qcow2_snapshot.c ------------------------------------------------------------------------- */

int qcow2_snap_list(struct blk_node *n, struct blk_snapshot **list, size_t *count, struct err *e);
int qcow2_snap_create(struct blk_node *n, const char *name, struct err *e);
int qcow2_snap_save(struct blk_node *n, const struct blk_snapshot *info, struct err *e);
int qcow2_snap_apply(struct blk_node *n, const char *id_or_name, struct err *e);
int qcow2_snap_delete(struct blk_node *n, const char *id_or_name, struct err *e);
int qcow2_snap_load(struct blk_node *n, const char *id_or_name, struct err *e);

/* --- qcow2_vmstate.c -------------------------------------------------------------------------- */

/* L1 entries that the disk needs: what is behind them is a saved machine's. */
static inline uint64_t qcow2_disk_entries(const struct qcow2 *q)
{
	return qcow2_l1_entries(q->cluster_bits, q->ext_l2, be64_to_cpu(q->hdr.size));
}
int qcow2_vmstate_write(struct blk_node *n, uint64_t off, const void *buf, size_t len,
			struct err *e);
int qcow2_vmstate_read(struct blk_node *n, uint64_t off, void *buf, size_t len, struct err *e);
/* [co] Forgets what lies behind the disk. */
int qcow2_vmstate_clear(struct qcow2 *q);

/* --- qcow2_amend.c ---------------------------------------------------------------------------- */

extern const struct prop qcow2_amend_props[];
int qcow2_amend(struct blk_node *n, struct opts *o, const struct blk_amend *how, struct err *e);

/* --- qcow2_width.c ---------------------------------------------------------------------------- */

/*
 * [co] The refcount table and its blocks anew, with counts of 1 << order bits. Nothing
 * else goes on. progress: of blocks; may be NULL.
 */
int qcow2_set_refcount_order(struct qcow2 *q, uint32_t order,
			     void (*progress)(uint64_t done, uint64_t total), struct err *e);

/* --- qcow2_repair.c --------------------------------------------------------------------------- */

/* [co] Makes all refcounts right by what is referenced, and clears the dirty bit. */
int qcow2_rebuild_refcounts(struct qcow2 *q, struct err *e);

/* --- qcow2_check.c ---------------------------------------------------------------------------- */

int qcow2_check(struct blk_node *n, unsigned fix, struct blk_check *out, struct err *e);
/* --- qcow2_bitmap.c --------------------------------------------------------------------------- */

enum {
	QCOW2_BITMAPS_MAX = 65535,
	QCOW2_BITMAP_NAME_MAX = 1023,
	QCOW2_BITMAP_MIN_BITS = 9, /* granularity */
	QCOW2_BITMAP_MAX_BITS = 31,
};
#define QCOW2_BITMAP_DIR_MAX (1024ull * QCOW2_BITMAPS_MAX)
#define QCOW2_BITMAP_TABLE_MAX 0x8000000u /* entries */
#define QCOW2_BITMAP_LEN_MAX (1ull << 29) /* bits */

/* Reads the directory, once. None that may be believed: none are there. */
int qcow2_bitmaps_load(struct qcow2 *q, struct err *e);
/* Before the image is written: loads, and looks whether enabled bitmaps can be kept right. */
int qcow2_bitmaps_open(struct qcow2 *q, struct err *e);
/* [co] Before the first change: enabled bitmaps are marked as in use. */
int qcow2_bitmaps_begin(struct qcow2 *q);
/* [co] At close, everything that was recorded to the file; what is right is in use no more. */
void qcow2_bitmaps_store(struct qcow2 *q);
void qcow2_bitmaps_free(struct qcow2 *q);
/* [off, off + len) of the disk is about to change. Never waits. */
void qcow2_bitmaps_record(struct qcow2 *q, uint64_t off, uint64_t len);
static inline void qcow2_bitmaps_touch(struct qcow2 *q, uint64_t off, uint64_t len)
{
	if (q->bitmaps.tracking && len)
		qcow2_bitmaps_record(q, off, len);
}

/* --- for qcow2_bitmap_ops.c */
uint64_t qcow2_bitmap_len(const struct qcow2_bitmap *b, uint64_t disk); /* bits */
uint64_t qcow2_bitmap_entries(const struct qcow2 *q, uint64_t bits); /* of its table */
void qcow2_bitmap_done(struct qcow2 *q, struct qcow2_bitmap *b); /* frees what it has in memory */
/* Bits of entry i of the table, for setting; zeroes at first. NULL: no memory, and b is lost. */
uint8_t *qcow2_bitmap_part(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t i);
/* Drops the bits that were recorded, of entries from first on. */
void qcow2_bitmap_forget(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t first);
/* Sets bits that stand for [off, off + len) of the disk. */
void qcow2_bitmap_set(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t off, uint64_t len);
/* Looks for enabled bitmaps: q->bitmaps.tracking. */
void qcow2_bitmaps_choose(struct qcow2 *q);
/* [co] The table as in the file, checked: malloc'd. */
int qcow2_bitmap_table(struct qcow2 *q, const struct qcow2_bitmap *b, struct be64 **table);
/* [co] Marks b (NULL: all that are usable) as in use in the file, durable. */
int qcow2_bitmap_mark(struct qcow2 *q, struct qcow2_bitmap *b);
/* [co] A new directory, and the header says where; durable. The old one is given back. */
int qcow2_bitmaps_write(struct qcow2 *q);

/* --- qcow2_bitmap_ops.c ----------------------------------------------------------------------- */

/* Whether the bitmaps there are let the disk have another size. */
int qcow2_bitmaps_may_resize(struct qcow2 *q, uint64_t size, struct err *e);
/* [co] After the header says the new size; all usable bitmaps are marked. */
int qcow2_bitmaps_resize(struct qcow2 *q, uint64_t from);
int qcow2_bitmap_list(struct blk_node *n, struct blk_bitmap **list, size_t *count, struct err *e);
int qcow2_bitmap_add(struct blk_node *n, const struct blk_bitmap *b, struct err *e);
int qcow2_bitmap_remove(struct blk_node *n, const char *name, struct err *e);
int qcow2_bitmap_clear(struct blk_node *n, const char *name, struct err *e);
int qcow2_bitmap_enable(struct blk_node *n, const char *name, bool on, struct err *e);
int qcow2_bitmap_merge(struct blk_node *n, const char *name, struct blk_node *from,
		       const char *source, struct err *e);
int qcow2_bitmap_measure(struct blk_node *n, uint64_t cluster_size, uint64_t *bytes, struct err *e);

#endif
