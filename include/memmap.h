/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest sees as memory: regions of host memory at guest-physical
 * addresses, which may cover one another. RAM lies at the bottom; firmware, the
 * shadows of ROMs below 1 MiB, a graphics card's windows and flash lie above it. A region
 * without host memory is a hole: accesses there, as those where no region is, and
 * writes to a region that is read-only, go to the MMIO bus (bus.h).
 *
 * Where regions overlap the higher prio wins, then the one mapped last. What wins is
 * given to KVM as memory slots. Devices' access to memory (gmem.h) is another
 * thing: it always reaches RAM.
 *
 * Threads: any, also inside a register handler with the device's lock held;
 * the map's lock is a leaf. While a slot changes, another CPU may find nothing there for
 * a moment: memmap_access carries such an access out.
 */
#ifndef POSADA_MEMMAP_H
#define POSADA_MEMMAP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem_region {
	const char *name; /* shown by `info mtree` */
	uint8_t *host; /* size bytes, page-aligned; NULL: a hole */
	uint64_t size; /* bytes, whole pages */
	bool readonly; /* for the guest */
	bool log_dirty; /* memmap_dirty will be asked */
	int prio; /* RAM has 0 */
	/* The same memory as host, mapped once more for whoever is not the guest; NULL: host. */
	uint8_t *own;
	/* filled by the map */
	uint64_t gpa, seq;
	bool mapped;
	/*
	 * With log_dirty: pages written not by the guest but for it, [0] since memmap_dirty was
	 * called, [1] before that: these may have been under way then.
	 */
	struct mem_noted {
		uint64_t first, end;
	} noted[2];
};

/* How slots are set: KVM's, or a fake in tests. 0 or -errno. */
struct memmap_ops {
	/* size 0: the slot goes */
	int (*set)(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		   bool readonly, bool log_dirty);
	/* A bit for each page written since the last call. */
	int (*get_dirty)(void *ctx, unsigned slot, uint64_t *bitmap);
};

#define MEMMAP_REGIONS 64
#define MEMMAP_SLOTS 128

/*
 * Memory of which somebody wants to know when the guest writes there next, without looking for
 * it: see memmap_watch. It was made by mem_twin_create, whole.
 */
struct mem_watch {
	uint8_t *host; /* page-aligned */
	uint64_t size;
	/* Once; on a vCPU's thread, the map's lock held: nothing of the map may be called. */
	void (*written)(void *ctx);
	void *ctx;
	/* filled by the map */
	bool armed;
	struct mem_watch *next;
};

/* Memory mapped twice: for regions' host, and for everybody else. */
struct mem_twin {
	uint8_t *guest, *own;
	uint64_t size;
};

/* A part of a region that the guest sees. */
struct mem_segment {
	struct mem_region *region;
	uint64_t gpa, size;
	uint8_t *host; /* NULL: a hole */
	bool readonly, log_dirty;
	unsigned slot;
};

struct memmap {
	pthread_mutex_t lock;
	const struct memmap_ops *ops;
	void *ctx;
	struct mem_region *region[MEMMAP_REGIONS];
	unsigned n;
	struct mem_segment seg[MEMMAP_SLOTS]; /* ascending */
	unsigned n_segs;
	uint64_t seq;
	unsigned batch; /* changes are held back while it is not 0 */
	struct mem_watch *watches;
	unsigned watch_seq; /* counts the times that one ended */
};

void memmap_init(struct memmap *mm, const struct memmap_ops *ops, void *ctx);
void memmap_fini(struct memmap *mm);

/*
 * Changes take effect at once, or together at the end of a batch. 0 or -errno:
 * -ENOSPC when there are too many regions, else what KVM said; the guest then sees less than
 * it should.
 */
int memmap_map(struct memmap *mm, struct mem_region *r, uint64_t gpa);
int memmap_unmap(struct memmap *mm, struct mem_region *r); /* idempotent */
/* Another host memory for a region, of the same size. */
int memmap_set(struct memmap *mm, struct mem_region *r, uint8_t *host, bool readonly);
void memmap_begin(struct memmap *mm);
int memmap_commit(struct memmap *mm);

/*
 * An access that KVM did not find memory for and no device claimed: carried out when
 * there is memory by now. Within a page. False: there is none.
 */
bool memmap_access(struct memmap *mm, uint64_t gpa, void *buf, unsigned len, bool write);

/*
 * Address of [gpa, gpa + len) as the guest sees it, when one region has it all, else
 * NULL; write: and the guest may write there; that counts as written, if it is done at once.
 * It stays good as long as the region's memory.
 */
void *memmap_ptr(struct memmap *mm, uint64_t gpa, size_t len, bool write);

/*
 * Which pages of r the guest has written since the last call: bits are ORed into bitmap (one for
 * each page of r, rounded up to 64).
 */
int memmap_dirty(struct memmap *mm, struct mem_region *r, uint64_t *bitmap);

/* Zeroes, whole pages. 0 or -errno. */
int mem_twin_create(struct mem_twin *t, const char *name, uint64_t size);
void mem_twin_destroy(struct mem_twin *t); /* also one that is all zero */

/*
 * From now on until the guest has written there, through whatever regions have w->host as
 * theirs, or memmap_unwatch: reads cost nothing, the first write one exit, whatever instruction
 * it is. w->written is told then. 0 or -errno.
 */
int memmap_watch(struct memmap *mm, struct mem_watch *w);
void memmap_unwatch(struct memmap *mm, struct mem_watch *w); /* idempotent; it is told no more */
/*
 * KVM could not write to memory for the guest. True: some was watched, and is no longer: once
 * more. *seen is the CPU's own, 0 at first: of two CPUs that write at once one finds that the
 * other has been here.
 */
bool memmap_written(struct memmap *mm, unsigned *seen);

/* Calls fn for what the guest sees, in address order, the lock held. */
void memmap_each(struct memmap *mm, void (*fn)(void *ctx, const struct mem_segment *s), void *ctx);

#endif
