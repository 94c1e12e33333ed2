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
	/* filled by the map */
	uint64_t gpa, seq;
	bool mapped;
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
 * Host address of [gpa, gpa + len) as the guest sees it, when one region has it all, else
 * NULL; write: and the guest may write there. It stays good as long as the region's memory.
 */
void *memmap_ptr(struct memmap *mm, uint64_t gpa, size_t len, bool write);

/*
 * Which pages of r the guest has written since the last call: bits are ORed into bitmap (one for
 * each page of r, rounded up to 64).
 */
int memmap_dirty(struct memmap *mm, struct mem_region *r, uint64_t *bitmap);

/* Calls fn for what the guest sees, in address order, the lock held. */
void memmap_each(struct memmap *mm, void (*fn)(void *ctx, const struct mem_segment *s), void *ctx);

#endif
