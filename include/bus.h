/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PIO and MMIO buses: which device answers at an address.
 *
 * A region is a range of addresses with handlers. Handlers get the offset in
 * the region, never the absolute address; the core splits accesses wider than
 * ops->max, and widens those narrower than ops->min (a narrow write then reads
 * first). min and max of 0 mean 1 and 8. Values are little-endian numbers.
 *
 * Regions may overlap: the higher prio wins, then the one mapped last.
 * What no region claims reads as all ones and ignores writes.
 *
 * Threads: bus_read and bus_write are called by every vCPU thread without a
 * lock (they see a snapshot); they take region->lock, when it is set, around
 * the handler. bus_map and bus_unmap may be called by any thread, also from
 * inside a handler. After bus_unmap returns a vCPU may still be inside the
 * region's handler; bus_sync (main loop only, no device lock held) waits until none is.
 */
#ifndef POSADA_BUS_H
#define POSADA_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io_ops {
	uint64_t (*read)(void *dev, uint64_t off, unsigned size);
	void (*write)(void *dev, uint64_t off, uint64_t val, unsigned size);
	uint8_t min, max; /* access sizes the handlers take, bytes: 1, 2, 4 or 8 */
	/*
	 * Optional, for ports through which much data go (rep insw): count items of size bytes
	 * at the same offset, in one call. How many it took; the rest goes to read or write.
	 */
	unsigned (*read_many)(void *dev, uint64_t off, void *buf, unsigned size, unsigned count);
	unsigned (*write_many)(void *dev, uint64_t off, const void *buf, unsigned size,
			       unsigned count);
};

struct bus;

struct io_region {
	const char *name; /* shown by `info mtree` and in crash reports */
	const struct io_ops *ops;
	void *dev; /* first argument of the handlers */
	pthread_mutex_t *lock; /* taken around the handlers; NULL for none */
	uint64_t size; /* bytes */
	int prio;
	/*
	 * Writes to late_len bytes at `late` may reach the handler later, where the host can do so
	 * cheaply: before any other access of the CPU that made them. For registers that do nothing
	 * by themselves. bus_late changes late_len.
	 */
	uint64_t late;
	unsigned late_len;
	/* filled by the bus */
	struct bus *bus;
	uint64_t base;
	uint64_t seq;
};

#define BUS_DOORBELL_ANY (-1) /* any value written rings */
#define BUS_DOORBELL_LATE (-1) /* instead of an eventfd: writes are kept back */

/* Where doorbells go: KVM's ioeventfd, or a fake in tests. 0 or -errno. */
struct bus_doorbell_ops {
	int (*set)(void *ctx, bool mmio, uint64_t addr, unsigned size, int64_t match, int eventfd,
		   bool add);
};

struct bus_view;

struct bus {
	bool mmio; /* else port I/O */
	_Atomic(struct bus_view *) view;
	pthread_mutex_t lock; /* of writers; innermost but for malloc's */
	struct io_region **regions;
	unsigned n;
	uint64_t seq;
	const struct bus_doorbell_ops *doorbell_ops;
	void *doorbell_ctx;
	struct bus_doorbell *doorbells;
};

void bus_init(struct bus *b, bool mmio);
void bus_fini(struct bus *b);

void bus_map(struct bus *b, struct io_region *r, uint64_t base);
void bus_unmap(struct io_region *r);
/* Another late_len, for a region that is mapped to b or to nothing; what is kept back comes still.
 */
void bus_late(struct bus *b, struct io_region *r, unsigned late_len);
static inline bool bus_mapped(const struct io_region *r)
{
	return r->bus != NULL;
}

/* Access by a vCPU or a debugger. false when no region answered (reads give ones). */
bool bus_read(struct bus *b, uint64_t addr, void *buf, unsigned size);
bool bus_write(struct bus *b, uint64_t addr, const void *buf, unsigned size);
/* A string instruction's: count accesses of size bytes to the one address, in order. */
void bus_read_many(struct bus *b, uint64_t addr, void *buf, unsigned size, unsigned count);
void bus_write_many(struct bus *b, uint64_t addr, const void *buf, unsigned size, unsigned count);

/*
 * Waits until no thread is inside a handler it found before this call: after
 * bus_unmap and bus_sync a region's device may be freed. Not from inside a handler.
 */
void bus_sync(void);

/* The region that answers at addr, or NULL. For reports; same rules as bus_read. */
const struct io_region *bus_find(struct bus *b, uint64_t addr);

/* Calls fn for every mapped region in address order, writers locked out. */
void bus_each(struct bus *b, void (*fn)(void *ctx, const struct io_region *r), void *ctx);

/*
 * Makes writes of `size` bytes (0: any) at off of a mapped region signal
 * eventfd instead of calling the handler; `match` is the value, or
 * BUS_DOORBELL_ANY. 0, or -errno when the host has no such doorbell: the
 * handler then goes on being called. A doorbell rests while another region
 * covers its address, and goes when its region is unmapped.
 */
int bus_doorbell(struct io_region *r, uint64_t off, unsigned size, int64_t match, int eventfd);
void bus_doorbell_remove(struct io_region *r, uint64_t off, unsigned size, int64_t match,
			 int eventfd);

#endif
