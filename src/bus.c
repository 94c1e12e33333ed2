/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PIO and MMIO buses: see include/bus.h.
 *
 * Writers (bus_map, bus_unmap) keep a list of regions, make from it a new
 * sorted array of non-overlapping segments, and publish that with one pointer
 * store. Readers take no lock: they publish the array they are looking at in a
 * slot of their own (a hazard pointer), and a writer frees an old array only when no
 * slot names it. That needs no help from the vCPU loop, and a vCPU that stays in
 * KVM_RUN for hours holds nothing back.
 */
#include "bus.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct segment {
	uint64_t start, last; /* inclusive, so that the top of the address space fits */
	struct io_region *region;
	uint64_t base; /* of the region, in this view: it may be moved while somebody reads */
};

struct bus_view {
	struct bus_view *next_retired;
	size_t n;
	struct segment seg[];
};

struct bus_doorbell {
	struct bus_doorbell *next;
	struct io_region *region;
	uint64_t off;
	unsigned size;
	int64_t match;
	int eventfd;
	bool active;
};

/* --- readers and reclamation --------------------------------------------- */

/* A handler may itself access a bus (DMA to a device), so a thread has a few slots. */
#define NESTING 4

struct reader {
	struct reader *next;
	_Atomic bool in_use;
	unsigned depth; /* owner only */
	_Atomic(struct bus_view *) held[NESTING];
	_Atomic uint64_t entered; /* odd while inside an access; for bus_sync */
};

static _Atomic(struct reader *) readers;
static __thread struct reader *self;
static pthread_key_t reader_key;
static pthread_once_t reader_once = PTHREAD_ONCE_INIT;
/* Views that a reader may still hold; under retired_lock. */
static struct bus_view *retired;
static pthread_mutex_t retired_lock = PTHREAD_MUTEX_INITIALIZER;

static void reader_release(void *r)
{
	atomic_store(&((struct reader *)r)->in_use, false);
}

static void make_key(void)
{
	pthread_key_create(&reader_key, reader_release);
}

/* This thread's slots; made at its first access and handed on when it ends. NULL without memory. */
static struct reader *reader_self(void)
{
	struct reader *r;

	if (self)
		return self;
	pthread_once(&reader_once, make_key);
	for (r = atomic_load(&readers); r; r = r->next) {
		bool free_slot = false;

		if (atomic_compare_exchange_strong(&r->in_use, &free_slot, true))
			break;
	}
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return NULL;
		r->in_use = true;
		r->next = atomic_load(&readers);
		while (!atomic_compare_exchange_weak(&readers, &r->next, r))
			;
	}
	pthread_setspecific(reader_key, r);
	self = r;
	return r;
}

/* *out: the current view (NULL when it is empty), safe from being freed until view_put. */
static bool view_get(struct bus *b, struct reader *r, const struct bus_view **out)
{
	struct bus_view *v;

	if (r->depth == NESTING)
		return false;
	/* Before the first look at the view: whom bus_sync sees outside will see the new view. */
	if (r->depth == 0)
		atomic_fetch_add(&r->entered, 1);
	v = atomic_load(&b->view);
	for (;;) {
		struct bus_view *again;

		/* Sequentially consistent: the slot must be seen before the second look. */
		atomic_store(&r->held[r->depth], v);
		again = atomic_load(&b->view);
		if (again == v)
			break;
		v = again;
	}
	r->depth++;
	*out = v;
	return true;
}

static void view_put(struct reader *r)
{
	r->depth--;
	atomic_store_explicit(&r->held[r->depth], NULL, memory_order_release);
	if (r->depth == 0)
		atomic_fetch_add_explicit(&r->entered, 1, memory_order_release);
}

static bool view_held(const struct bus_view *v)
{
	for (struct reader *r = atomic_load(&readers); r; r = r->next)
		for (unsigned i = 0; i < NESTING; i++)
			if (atomic_load(&r->held[i]) == v)
				return true;
	return false;
}

static void view_retire(struct bus_view *v)
{
	struct bus_view **p = &retired;

	pthread_mutex_lock(&retired_lock);
	if (v) {
		v->next_retired = retired;
		retired = v;
	}
	while (*p) {
		struct bus_view *old = *p;

		if (view_held(old)) {
			p = &old->next_retired;
			continue;
		}
		*p = old->next_retired;
		free(old);
	}
	pthread_mutex_unlock(&retired_lock);
}

void bus_sync(void)
{
	for (struct reader *r = atomic_load(&readers); r; r = r->next) {
		uint64_t seen = atomic_load(&r->entered);

		if (r == self)
			continue;
		while ((seen & 1) && atomic_load(&r->entered) == seen)
			usleep(50);
	}
}

/* --- writers --------------------------------------------------------------- */

static uint64_t region_last(const struct io_region *r)
{
	return r->base + r->size - 1;
}

/* Whether a is in front of b where both claim an address. */
static bool wins(const struct io_region *a, const struct io_region *b)
{
	return a->prio != b->prio ? a->prio > b->prio : a->seq > b->seq;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * Cuts the address space at every region's first address and behind every
 * region's last, and gives each piece to the region in front. Quadratic in the number of
 * regions (tens) and run only when the map changes.
 */
static struct bus_view *build_view(const struct bus *b)
{
	size_t max = 2 * (size_t)b->n + 1, cuts = 0;
	struct bus_view *v = malloc(sizeof(*v) + max * sizeof(v->seg[0]));
	uint64_t *cut = malloc((max + 1) * sizeof(*cut));

	if (!v || !cut) {
		free(v);
		free(cut);
		return NULL;
	}
	v->n = 0;
	for (unsigned i = 0; i < b->n; i++) {
		cut[cuts++] = b->regions[i]->base;
		if (region_last(b->regions[i]) != UINT64_MAX)
			cut[cuts++] = region_last(b->regions[i]) + 1;
	}
	qsort(cut, cuts, sizeof(*cut), compare_u64);
	for (size_t c = 0; c < cuts; c++) {
		uint64_t start = cut[c];
		uint64_t last = c + 1 < cuts ? cut[c + 1] - 1 : UINT64_MAX;
		struct io_region *front = NULL;

		if (c + 1 < cuts && cut[c + 1] == start)
			continue;
		for (unsigned i = 0; i < b->n; i++) {
			struct io_region *r = b->regions[i];

			if (r->base <= start && region_last(r) >= start &&
			    (!front || wins(r, front)))
				front = r;
		}
		if (!front)
			continue;
		if (v->n && v->seg[v->n - 1].region == front && v->seg[v->n - 1].last + 1 == start)
			v->seg[v->n - 1].last = last;
		else
			v->seg[v->n++] = (struct segment){ start, last, front, front->base };
	}
	free(cut);
	return v;
}

static const struct segment *view_find(const struct bus_view *v, uint64_t addr)
{
	size_t lo = 0, hi = v ? v->n : 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (addr < v->seg[mid].start)
			hi = mid;
		else if (addr > v->seg[mid].last)
			lo = mid + 1;
		else
			return &v->seg[mid];
	}
	return NULL;
}

/* First claimed address above addr, for stepping over a gap; 0 when there is none. */
static uint64_t view_next(const struct bus_view *v, uint64_t addr)
{
	for (size_t i = 0; v && i < v->n; i++)
		if (v->seg[i].start > addr)
			return v->seg[i].start;
	return 0;
}

static int doorbell_set(struct bus *b, struct bus_doorbell *d, bool add)
{
	int rc;

	if (d->active == add)
		return 0;
	if (!b->doorbell_ops)
		return -ENOSYS;
	rc = b->doorbell_ops->set(b->doorbell_ctx, b->mmio, d->region->base + d->off, d->size,
				  d->match, d->eventfd, add);
	if (!rc || !add)
		d->active = add;
	return rc;
}

/* Publishes the regions as they now are; lock held. Doorbells follow who answers at their address.
 */
static void publish(struct bus *b)
{
	struct bus_view *v = build_view(b), *old;

	if (!v)
		return; /* out of memory: the map stays as it was, which no guest can provoke alone
			 */
	old = atomic_exchange(&b->view, v);
	view_retire(old);
	for (struct bus_doorbell *d = b->doorbells; d; d = d->next) {
		const struct segment *s = view_find(v, d->region->base + d->off);

		doorbell_set(b, d, s && s->region == d->region);
	}
}

void bus_init(struct bus *b, bool mmio)
{
	memset(b, 0, sizeof(*b));
	b->mmio = mmio;
	pthread_mutex_init(&b->lock, NULL);
}

void bus_fini(struct bus *b)
{
	while (b->n)
		bus_unmap(b->regions[b->n - 1]);
	view_retire(atomic_exchange(&b->view, NULL));
	free(b->regions);
	b->regions = NULL;
	pthread_mutex_destroy(&b->lock);
}

/* Without memory for it, writes just come in time. It rests until doorbell_set. */
static struct bus_doorbell *keep_back(struct bus *b, struct io_region *r)
{
	struct bus_doorbell *d = r->late_len ? malloc(sizeof(*d)) : NULL;

	if (!d)
		return NULL;
	*d = (struct bus_doorbell){ .next = b->doorbells,
				    .region = r,
				    .off = r->late,
				    .size = r->late_len,
				    .match = BUS_DOORBELL_ANY,
				    .eventfd = BUS_DOORBELL_LATE };
	b->doorbells = d;
	return d;
}

static void keep_back_no_more(struct bus *b, const struct io_region *r)
{
	struct bus_doorbell **p = &b->doorbells, *d;

	while (*p && ((*p)->region != r || (*p)->eventfd != BUS_DOORBELL_LATE))
		p = &(*p)->next;
	d = *p;
	if (!d)
		return;
	doorbell_set(b, d, false);
	*p = d->next;
	free(d);
}

void bus_late(struct bus *b, struct io_region *r, unsigned late_len)
{
	const struct segment *s;
	struct bus_doorbell *d;

	pthread_mutex_lock(&b->lock);
	keep_back_no_more(b, r);
	r->late_len = late_len;
	d = r->bus ? keep_back(b, r) : NULL;
	if (d) {
		s = view_find(atomic_load(&b->view), r->base + r->late);
		doorbell_set(b, d, s && s->region == r);
	}
	pthread_mutex_unlock(&b->lock);
}

void bus_map(struct bus *b, struct io_region *r, uint64_t base)
{
	struct io_region **grown;

	if (r->bus)
		bus_unmap(r);
	pthread_mutex_lock(&b->lock);
	grown = realloc(b->regions, (b->n + 1) * sizeof(*grown));
	if (grown && r->size && base + r->size - 1 >= base) {
		b->regions = grown;
		b->regions[b->n++] = r;
		r->bus = b;
		r->base = base;
		r->seq = ++b->seq;
		keep_back(b, r);
		publish(b);
	} else if (grown) {
		b->regions = grown;
	}
	pthread_mutex_unlock(&b->lock);
}

void bus_unmap(struct io_region *r)
{
	struct bus *b = r->bus;
	struct bus_doorbell **d;

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	for (d = &b->doorbells; *d;) {
		struct bus_doorbell *gone = *d;

		if (gone->region != r) {
			d = &gone->next;
			continue;
		}
		doorbell_set(b, gone, false);
		*d = gone->next;
		free(gone);
	}
	for (unsigned i = 0; i < b->n; i++) {
		if (b->regions[i] == r) {
			memmove(&b->regions[i], &b->regions[i + 1],
				(b->n - i - 1) * sizeof(struct io_region *));
			b->n--;
			break;
		}
	}
	r->bus = NULL;
	publish(b);
	pthread_mutex_unlock(&b->lock);
}

int bus_doorbell(struct io_region *r, uint64_t off, unsigned size, int64_t match, int eventfd)
{
	struct bus *b = r->bus;
	struct bus_doorbell *d;
	const struct segment *s;
	int rc = 0;

	if (!b || off >= r->size)
		return -EINVAL;
	d = malloc(sizeof(*d));
	if (!d)
		return -ENOMEM;
	*d = (struct bus_doorbell){
		.region = r, .off = off, .size = size, .match = match, .eventfd = eventfd
	};
	pthread_mutex_lock(&b->lock);
	s = view_find(atomic_load(&b->view), r->base + off);
	if (s && s->region == r)
		rc = doorbell_set(b, d, true);
	if (!rc) {
		d->next = b->doorbells;
		b->doorbells = d;
	}
	pthread_mutex_unlock(&b->lock);
	if (rc)
		free(d);
	return rc;
}

void bus_doorbell_remove(struct io_region *r, uint64_t off, unsigned size, int64_t match,
			 int eventfd)
{
	struct bus *b = r->bus;

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	for (struct bus_doorbell **p = &b->doorbells; *p; p = &(*p)->next) {
		struct bus_doorbell *d = *p;

		if (d->region == r && d->off == off && d->size == size && d->match == match &&
		    d->eventfd == eventfd) {
			doorbell_set(b, d, false);
			*p = d->next;
			free(d);
			break;
		}
	}
	pthread_mutex_unlock(&b->lock);
}

/* --- access ----------------------------------------------------------------- */

static uint64_t load_le(const uint8_t *p, unsigned size)
{
	uint64_t val = 0;

	memcpy(&val, p, size); /* the host is x86: little-endian */
	return val;
}

/* The widest access at off, within left bytes, that ops takes: aligned, a power of two. */
static unsigned piece(const struct io_ops *ops, uint64_t off, unsigned left)
{
	unsigned max = ops->max ? ops->max : 8, n = 1;

	while (n * 2 <= left && n * 2 <= max && off % (n * 2) == 0)
		n *= 2;
	return n;
}

static void region_read(const struct io_region *r, uint64_t off, uint8_t *buf, unsigned size)
{
	while (size) {
		unsigned n = piece(r->ops, off, size), wide = n < r->ops->min ? r->ops->min : n;
		uint64_t base = off & ~(uint64_t)(wide - 1);
		uint64_t val = UINT64_MAX;

		if (r->ops->read && base + wide <= r->size)
			val = r->ops->read(r->dev, base, wide);
		val >>= 8 * (off - base);
		memcpy(buf, &val, n);
		off += n;
		buf += n;
		size -= n;
	}
}

static void region_write(const struct io_region *r, uint64_t off, const uint8_t *buf, unsigned size)
{
	while (size) {
		unsigned n = piece(r->ops, off, size), wide = n < r->ops->min ? r->ops->min : n;
		uint64_t base = off & ~(uint64_t)(wide - 1);
		uint64_t val = load_le(buf, n);

		if (wide != n && base + wide <= r->size) {
			uint64_t old = r->ops->read ? r->ops->read(r->dev, base, wide) : 0;

			memcpy((uint8_t *)&old + (off - base), buf, n);
			val = load_le((uint8_t *)&old, wide);
		}
		if (r->ops->write && base + wide <= r->size)
			r->ops->write(r->dev, base, val, wide);
		off += n;
		buf += n;
		size -= n;
	}
}

static bool bus_access(struct bus *b, uint64_t addr, uint8_t *buf, unsigned size, bool write)
{
	struct reader *r = reader_self();
	const struct bus_view *v;
	bool answered = false;

	if (!write)
		memset(buf, 0xff, size);
	if (!r || !view_get(b, r, &v))
		return false;
	while (size) {
		const struct segment *s = view_find(v, addr);
		uint64_t room = s ? s->last - addr : view_next(v, addr) - addr - 1;
		unsigned n = room < size - 1 ? (unsigned)room + 1 : size;

		if (s) {
			const struct io_region *reg = s->region;

			if (reg->lock)
				pthread_mutex_lock(reg->lock);
			if (write)
				region_write(reg, addr - s->base, buf, n);
			else
				region_read(reg, addr - s->base, buf, n);
			if (reg->lock)
				pthread_mutex_unlock(reg->lock);
			answered = true;
		}
		addr += n;
		buf += n;
		size -= n;
	}
	view_put(r);
	return answered;
}

bool bus_read(struct bus *b, uint64_t addr, void *buf, unsigned size)
{
	return bus_access(b, addr, buf, size, false);
}

bool bus_write(struct bus *b, uint64_t addr, const void *buf, unsigned size)
{
	return bus_access(b, addr, (uint8_t *)(uintptr_t)buf, size, true);
}

/* What one region's handler of many takes of count accesses to addr; how many those are. */
static unsigned take_many(struct bus *b, uint64_t addr, uint8_t *buf, unsigned size, unsigned count,
			  bool write)
{
	struct reader *r = reader_self();
	const struct bus_view *v;
	const struct segment *s;
	unsigned done = 0;

	if (!r || !view_get(b, r, &v))
		return 0;
	s = view_find(v, addr);
	if (s && s->last - addr >= size - 1) {
		const struct io_region *reg = s->region;
		uint64_t off = addr - s->base;

		if (reg->lock)
			pthread_mutex_lock(reg->lock);
		if (write && reg->ops->write_many)
			done = reg->ops->write_many(reg->dev, off, buf, size, count);
		else if (!write && reg->ops->read_many)
			done = reg->ops->read_many(reg->dev, off, buf, size, count);
		if (reg->lock)
			pthread_mutex_unlock(reg->lock);
	}
	view_put(r);
	return done;
}

void bus_read_many(struct bus *b, uint64_t addr, void *buf, unsigned size, unsigned count)
{
	uint8_t *p = buf;

	while (count) {
		unsigned done = count > 1 ? take_many(b, addr, p, size, count, false) : 0;

		if (!done) {
			bus_access(b, addr, p, size, false);
			done = 1;
		}
		p += (size_t)done * size;
		count -= done;
	}
}

void bus_write_many(struct bus *b, uint64_t addr, const void *buf, unsigned size, unsigned count)
{
	uint8_t *p = (uint8_t *)(uintptr_t)buf;

	while (count) {
		unsigned done = count > 1 ? take_many(b, addr, p, size, count, true) : 0;

		if (!done) {
			bus_access(b, addr, p, size, true);
			done = 1;
		}
		p += (size_t)done * size;
		count -= done;
	}
}

const struct io_region *bus_find(struct bus *b, uint64_t addr)
{
	const struct segment *s;
	const struct io_region *found;

	pthread_mutex_lock(&b->lock);
	s = view_find(atomic_load(&b->view), addr);
	found = s ? s->region : NULL;
	pthread_mutex_unlock(&b->lock);
	return found;
}

void bus_each(struct bus *b, void (*fn)(void *ctx, const struct io_region *r), void *ctx)
{
	uint64_t seen_base = 0, seen_seq = 0;

	pthread_mutex_lock(&b->lock);
	for (unsigned done = 0; done < b->n; done++) {
		const struct io_region *next = NULL;

		for (unsigned i = 0; i < b->n; i++) {
			const struct io_region *r = b->regions[i];
			bool after =
				r->base > seen_base || (r->base == seen_base && r->seq > seen_seq);

			if (after && (!next || r->base < next->base ||
				      (r->base == next->base && r->seq < next->seq)))
				next = r;
		}
		if (!next)
			break;
		fn(ctx, next);
		seen_base = next->base;
		seen_seq = next->seq;
	}
	pthread_mutex_unlock(&b->lock);
}
