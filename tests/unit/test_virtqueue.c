/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues against a model driver: round trips of random chains, every rule
 * that a hostile driver may break, who tells whom and when, and a driver and a
 * device on two threads.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "suite.h"
#include "err.h"
#include "gmem.h"
#include "virtio.h"
#include "virtqueue.h"
#include "wire/virtio_ring.h"

/* ck_assert reports each check to the parent process: too slow for inner loops. */
#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			ck_abort_msg("%s", #cond);                                                 \
	} while (0)

/* Rounds of the long tests of one thread; where each access is checked, fewer will do. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { ROUNDS = 5000 };
#else
enum { ROUNDS = 70000 };
#endif

/* Where things lie in the guest's memory. */
enum {
	DESC = 0x100000,
	DRIVER = 0x200000,
	DEVICE = 0x300000,
	TABLES = 0x400000, /* TABLE bytes for each chain id */
	BUFFERS = 0x800000,
	RAM = 0x1000000,
};

enum { MAX_BUFS = 8, TABLE = MAX_BUFS * 16 };

static uint32_t rng = 1;

static uint32_t rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 17;
	rng ^= rng << 5;
	return rng % n;
}

/* --- the model driver ---------------------------------------------------------- */

struct buf {
	uint64_t addr;
	uint32_t len;
	bool write;
};

struct drv {
	struct gmem mem;
	struct virtqueue vq;
	unsigned size;
	uint64_t features;
	bool packed, event_idx;
	unsigned interrupts;
	sem_t irq; /* posted with each interrupt */

	/* split */
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	uint16_t avail_idx, kicked_idx, used_idx;
	/* packed */
	struct pvirtq_desc *ring;
	struct pvirtq_event_suppress *driver, *device;
	unsigned put, get, kicked_put; /* positions */
	unsigned put_since_kick;
	bool put_wrap, get_wrap, kicked_wrap;
	unsigned room;

	uint16_t *slots; /* by id */
	uint16_t *spare; /* FIFO of free descriptors (split) or buffer ids (packed) */
	unsigned spare_head, n_spare;
};

static struct drv *d;
static struct iovec iov[VQ_MAX_IOV];

static uint16_t ld16(const struct le16 *p, int order)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, order));
}

static void st16(struct le16 *p, uint16_t v, int order)
{
	__atomic_store_n((uint16_t *)(void *)p, htole16(v), order);
}

static void interrupt(struct virtqueue *vq)
{
	struct drv *v = vq->owner;

	v->interrupts++;
	sem_post(&v->irq);
}

static int start(struct drv *v, bool legacy)
{
	v->vq.size = v->size;
	return vq_start(&v->vq, &v->mem, v->features, legacy);
}

static uint64_t bit(unsigned n)
{
	return VIRTIO_F(n);
}

/* The driver's side of a queue, and its memory; the device has not started. */
static void new_driver(unsigned size, uint64_t features, uint64_t ram)
{
	struct err e;

	d = calloc(1, sizeof(*d));
	ck_assert_int_eq(gmem_init(&d->mem, ram, GMEM_ANON, &e), 0);
	d->size = size;
	d->features = features;
	d->packed = features & bit(VIRTIO_F_RING_PACKED);
	d->event_idx = features & bit(VIRTIO_F_EVENT_IDX);
	d->vq = (struct virtqueue){
		.max_size = size > VQ_MAX_SIZE ? VQ_MAX_SIZE : size,
		.desc = DESC,
		.driver = DRIVER,
		.device = DEVICE,
		.owner = d,
		.notify = interrupt,
	};
	sem_init(&d->irq, 0, 0);
	d->desc = (void *)(d->mem.ram + DESC);
	d->avail = (void *)(d->mem.ram + DRIVER);
	d->used = (void *)(d->mem.ram + DEVICE);
	d->ring = (void *)(d->mem.ram + DESC);
	d->driver = (void *)(d->mem.ram + DRIVER);
	d->device = (void *)(d->mem.ram + DEVICE);
	d->put_wrap = d->get_wrap = d->kicked_wrap = true;
	d->room = size;
	d->slots = calloc(size + 1, sizeof(*d->slots));
	d->spare = calloc(size + 1, sizeof(*d->spare));
	d->n_spare = size;
	for (unsigned i = 0; i < size; i++)
		d->spare[i] = i;
}

static void new_queue(unsigned size, uint64_t features)
{
	new_driver(size, features, RAM);
	ck_assert_int_eq(start(d, false), 0);
}

static void teardown(void)
{
	if (!d)
		return;
	vq_stop(&d->vq);
	gmem_fini(&d->mem);
	sem_destroy(&d->irq);
	free(d->slots);
	free(d->spare);
	free(d);
	d = NULL;
}

static uint16_t take_spare(void)
{
	uint16_t i = d->spare[d->spare_head];

	d->spare_head = (d->spare_head + 1) % d->size;
	d->n_spare--;
	return i;
}

static void give_spare(uint16_t i)
{
	d->spare[(d->spare_head + d->n_spare++) % d->size] = i;
}

static void set_desc(struct virtq_desc *t, uint64_t addr, uint32_t len, unsigned flags,
		     unsigned next)
{
	*t = (struct virtq_desc){ cpu_to_le64(addr), cpu_to_le32(len), cpu_to_le16(flags),
				  cpu_to_le16(next) };
}

static unsigned write_flag(const struct buf *b)
{
	return b->write ? VIRTQ_DESC_F_WRITE : 0;
}

static int add_split(const struct buf *b, unsigned n, bool indirect)
{
	unsigned need = indirect ? 1 : n;
	uint16_t i, head;

	if (d->n_spare < need)
		return -1;
	i = head = take_spare();
	d->slots[head] = need;
	if (indirect) {
		struct virtq_desc *t = (void *)(d->mem.ram + TABLES + head * TABLE);

		set_desc(&d->desc[head], TABLES + head * TABLE, n * 16, VIRTQ_DESC_F_INDIRECT, 0);
		for (unsigned k = 0; k < n; k++)
			set_desc(&t[k], b[k].addr, b[k].len,
				 write_flag(&b[k]) | (k + 1 < n ? VIRTQ_DESC_F_NEXT : 0), k + 1);
	} else {
		for (unsigned k = 0; k < n; k++) {
			uint16_t next = k + 1 < n ? take_spare() : 0;

			set_desc(&d->desc[i], b[k].addr, b[k].len,
				 write_flag(&b[k]) | (k + 1 < n ? VIRTQ_DESC_F_NEXT : 0), next);
			i = next;
		}
	}
	d->avail->ring[d->avail_idx++ % d->size] = cpu_to_le16(head);
	return head;
}

static void set_pdesc(struct pvirtq_desc *t, uint64_t addr, uint32_t len, uint16_t id)
{
	t->addr = cpu_to_le64(addr);
	t->len = cpu_to_le32(len);
	t->id = cpu_to_le16(id);
}

static uint16_t avail_flags(bool wrap)
{
	return wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED;
}

static int add_packed(const struct buf *b, unsigned n, bool indirect)
{
	unsigned need = indirect ? 1 : n, first = d->put;
	uint16_t first_flags = 0, id;

	if (d->room < need || !d->n_spare)
		return -1;
	id = take_spare();
	d->slots[id] = need;
	d->room -= need;
	if (indirect) {
		struct pvirtq_desc *t = (void *)(d->mem.ram + TABLES + id * TABLE);

		for (unsigned k = 0; k < n; k++) {
			set_pdesc(&t[k], b[k].addr, b[k].len, 0xabcd);
			t[k].flags = cpu_to_le16(write_flag(&b[k]));
		}
	}
	for (unsigned k = 0; k < need; k++) {
		uint16_t flags = avail_flags(d->put_wrap);

		if (indirect) {
			flags |= VIRTQ_DESC_F_INDIRECT;
			set_pdesc(&d->ring[d->put], TABLES + id * TABLE, n * 16, id);
		} else {
			flags |= write_flag(&b[k]) | (k + 1 < n ? VIRTQ_DESC_F_NEXT : 0);
			set_pdesc(&d->ring[d->put], b[k].addr, b[k].len, k + 1 < n ? 0xffff : id);
		}
		if (k)
			st16(&d->ring[d->put].flags, flags, __ATOMIC_RELAXED);
		else
			first_flags = flags;
		if (++d->put == d->size) {
			d->put = 0;
			d->put_wrap = !d->put_wrap;
		}
	}
	st16(&d->ring[first].flags, first_flags, __ATOMIC_SEQ_CST);
	d->put_since_kick += need;
	return id;
}

/* Makes a chain; its id, or -1 when there is no room. A split one is visible after publish(). */
static int add(const struct buf *b, unsigned n, bool indirect)
{
	return d->packed ? add_packed(b, n, indirect) : add_split(b, n, indirect);
}

static void publish(void)
{
	if (!d->packed)
		st16(&d->avail->idx, d->avail_idx, __ATOMIC_SEQ_CST);
}

/* Whether position at (with wrap) is one of the n from position from (with from_wrap) on. */
static bool among(unsigned at, bool wrap, unsigned from, bool from_wrap, unsigned n)
{
	while (n--) {
		if (at == from && wrap == from_wrap)
			return true;
		if (++from == d->size) {
			from = 0;
			from_wrap = !from_wrap;
		}
	}
	return false;
}

/* Must the driver ring after what it published since it last asked? */
static bool must_kick(void)
{
	bool kick;

	if (d->packed) {
		uint16_t flags = ld16(&d->device->flags, __ATOMIC_SEQ_CST);
		uint16_t at = ld16(&d->device->desc, __ATOMIC_SEQ_CST);

		REQUIRE(flags <= PVIRTQ_EVENT_DESC);
		REQUIRE(flags != PVIRTQ_EVENT_DESC || d->event_idx);
		kick = flags == PVIRTQ_EVENT_ENABLE ||
		       (flags == PVIRTQ_EVENT_DESC && among(at & 0x7fff, at >> 15, d->kicked_put,
							    d->kicked_wrap, d->put_since_kick));
		d->kicked_put = d->put;
		d->kicked_wrap = d->put_wrap;
		d->put_since_kick = 0;
		return kick;
	}
	if (d->event_idx) {
		uint16_t event = ld16(virtq_avail_event(d->used, d->size), __ATOMIC_SEQ_CST);

		REQUIRE(ld16(&d->used->flags, __ATOMIC_RELAXED) == 0);
		kick = (uint16_t)(d->avail_idx - event - 1) <
		       (uint16_t)(d->avail_idx - d->kicked_idx);
	} else {
		kick = !(ld16(&d->used->flags, __ATOMIC_SEQ_CST) & VIRTQ_USED_F_NO_NOTIFY);
	}
	d->kicked_idx = d->avail_idx;
	return kick;
}

static bool used_waits(void)
{
	uint16_t flags;

	if (!d->packed)
		return ld16(&d->used->idx, __ATOMIC_SEQ_CST) != d->used_idx;
	flags = ld16(&d->ring[d->get].flags, __ATOMIC_SEQ_CST);
	return !!(flags & PVIRTQ_DESC_F_USED) == d->get_wrap &&
	       !!(flags & PVIRTQ_DESC_F_AVAIL) == d->get_wrap;
}

/* Takes back a used chain: its id, or -1. */
static int reclaim(uint32_t *len)
{
	unsigned id;

	if (!used_waits())
		return -1;
	if (d->packed) {
		struct pvirtq_desc *t = &d->ring[d->get];

		id = le16_to_cpu(t->id);
		REQUIRE(id < d->size && d->slots[id]);
		*len = le32_to_cpu(t->len);
		REQUIRE(!(le16_to_cpu(t->flags) & VIRTQ_DESC_F_WRITE) == !*len);
		d->get += d->slots[id];
		if (d->get >= d->size) {
			d->get -= d->size;
			d->get_wrap = !d->get_wrap;
		}
		d->room += d->slots[id];
		give_spare(id);
	} else {
		struct virtq_used_elem *u = &d->used->ring[d->used_idx++ % d->size];
		unsigned i = id = le32_to_cpu(u->id);

		REQUIRE(id < d->size && d->slots[id]);
		*len = le32_to_cpu(u->len);
		for (unsigned k = 0; k < d->slots[id]; k++) {
			give_spare(i);
			i = le16_to_cpu(d->desc[i].next);
		}
	}
	d->slots[id] = 0;
	return (int)id;
}

/* The driver wants to be told when the next chain is used; true: there are some already. */
static bool arm(void)
{
	if (d->packed) {
		st16(&d->driver->desc, d->get | (d->get_wrap ? PVIRTQ_EVENT_WRAP : 0),
		     __ATOMIC_RELEASE);
		st16(&d->driver->flags, d->event_idx ? PVIRTQ_EVENT_DESC : PVIRTQ_EVENT_ENABLE,
		     __ATOMIC_SEQ_CST);
	} else if (d->event_idx) {
		st16(virtq_used_event(d->avail, d->size), d->used_idx, __ATOMIC_SEQ_CST);
	} else {
		st16(&d->avail->flags, 0, __ATOMIC_SEQ_CST);
	}
	return used_waits();
}

static void disarm(void)
{
	if (d->packed)
		st16(&d->driver->flags, PVIRTQ_EVENT_DISABLE, __ATOMIC_SEQ_CST);
	else if (!d->event_idx)
		st16(&d->avail->flags, VIRTQ_AVAIL_F_NO_INTERRUPT, __ATOMIC_SEQ_CST);
}

/* --- shorthands ------------------------------------------------------------------ */

static const struct buf one = { .addr = BUFFERS, .len = 16 };

static void offer(const struct buf *b, unsigned n, bool indirect)
{
	REQUIRE(add(b, n, indirect) >= 0);
	publish();
}

static struct vq_chain pop(void)
{
	struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };

	REQUIRE(vq_pop(&d->vq, &c) == 1);
	return c;
}

/* n chains of one buffer through the queue. */
static void pass(unsigned n)
{
	uint32_t len;

	while (n--) {
		struct vq_chain c;

		offer(&one, 1, false);
		c = pop();
		vq_push(&d->vq, &c, 0);
		vq_flush(&d->vq);
		REQUIRE(reclaim(&len) == c.id);
	}
}

static uint64_t features_of(int i)
{
	return bit(VIRTIO_F_VERSION_1) | (i & 1 ? bit(VIRTIO_F_RING_PACKED) : 0) |
	       (i & 2 ? bit(VIRTIO_F_EVENT_IDX) : 0) | (i & 4 ? bit(VIRTIO_F_IN_ORDER) : 0) |
	       (i & 8 ? bit(VIRTIO_F_INDIRECT_DESC) : 0);
}

enum { N_FEATURES = 16 };

/* --- what vq_start takes ------------------------------------------------------- */

static void refused(const char *rule)
{
	struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };

	ck_assert_int_eq(start(d, false), -EINVAL);
	ck_assert_str_eq(d->vq.broken, rule);
	ck_assert(!d->vq.started);
	ck_assert_int_eq(vq_pop(&d->vq, &c), -EPROTO);
	ck_assert(vq_empty(&d->vq));
	ck_assert(!vq_enable_notify(&d->vq));
	ck_assert_uint_eq(vq_outstanding(&d->vq), 0);
	d->vq.desc = DESC;
	d->vq.driver = DRIVER;
	d->vq.device = DEVICE;
}

START_TEST(start_checks_size)
{
	bool packed = _i;

	new_driver(VQ_MAX_SIZE, features_of(_i), RAM);
	d->size = 0;
	refused("a queue of size 0");
	d->size = VQ_MAX_SIZE + 1;
	refused("a queue larger than the device offers");
	d->size = 3;
	if (packed)
		ck_assert_int_eq(start(d, false), 0);
	else
		refused("a queue whose size is not a power of two");
	d->size = 0x7fff;
	if (packed)
		ck_assert_int_eq(start(d, false), 0);
	else
		refused("a queue whose size is not a power of two");
	d->size = VQ_MAX_SIZE;
	ck_assert_int_eq(start(d, false), 0);
	d->vq.max_size = 0xffff;
	d->size = VQ_MAX_SIZE + 1;
	refused("a queue larger than the device offers");
	d->size = VQ_MAX_SIZE;
	d->vq.max_size = 256;
	refused("a queue larger than the device offers");
	d->size = 256;
	ck_assert_int_eq(start(d, false), 0);
	ck_assert_ptr_null(d->vq.broken);
	ck_assert(d->vq.started);
}
END_TEST

START_TEST(start_checks_place)
{
	static const char misaligned[] = "a ring that is not aligned";
	static const char outside[] = "an address outside RAM";
	bool packed = _i;
	uint64_t *area[3], bytes[3], align[3];

	new_driver(256, features_of(_i), RAM);
	area[0] = &d->vq.desc, bytes[0] = 4096, align[0] = 16;
	area[1] = &d->vq.driver, bytes[1] = packed ? 4 : 518, align[1] = packed ? 4 : 2;
	area[2] = &d->vq.device, bytes[2] = packed ? 4 : 2054, align[2] = 4;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t last = (RAM - bytes[i]) & ~(align[i] - 1);

		*area[i] += align[i] / 2;
		refused(misaligned);
		*area[i] = RAM;
		refused(outside);
		*area[i] = last + align[i];
		refused(outside);
		*area[i] = -align[i];
		refused(bytes[i] > align[i] ? "an address that wraps around" : outside);
		*area[i] = 1ull << 63;
		refused(outside);
		*area[i] = last;
		ck_assert_int_eq(start(d, false), 0);
	}
}
END_TEST

START_TEST(start_checks_read_only_memory)
{
	static const char rule[] = "a writable address in read-only memory";
	static uint8_t rom[8192];

	new_driver(256, features_of(_i), RAM);
	d->mem.range[d->mem.n++] = (struct gmem_range){ 0xf0000000, sizeof(rom), rom, true };
	d->vq.device = 0xf0000000;
	refused(rule);
	d->vq.driver = 0xf0000000;
	ck_assert_int_eq(start(d, false), 0);
	d->vq.driver = DRIVER;
	d->vq.desc = 0xf0000000;
	if (_i)
		refused(rule);
	else
		ck_assert_int_eq(start(d, false), 0);
}
END_TEST

START_TEST(start_takes_features)
{
	new_driver(256, features_of(15), RAM);
	ck_assert_int_eq(start(d, false), 0);
	ck_assert(d->vq.packed && d->vq.in_order && d->vq.event_idx && d->vq.indirect);
	/* A legacy driver has no packed ring, whatever bits lie around. */
	ck_assert_int_eq(start(d, true), 0);
	ck_assert(!d->vq.packed && !d->vq.in_order && d->vq.event_idx && d->vq.indirect);
	d->features = 0;
	ck_assert_int_eq(start(d, false), 0);
	ck_assert(!d->vq.packed && !d->vq.in_order && !d->vq.event_idx && !d->vq.indirect);
}
END_TEST

START_TEST(stopped_queue_is_empty)
{
	struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };

	new_queue(4, features_of(_i));
	offer(&one, 1, false);
	pop();
	ck_assert_uint_eq(vq_outstanding(&d->vq), 1);
	vq_stop(&d->vq);
	vq_stop(&d->vq);
	ck_assert_uint_eq(vq_outstanding(&d->vq), 0);
	ck_assert_int_eq(vq_pop(&d->vq, &c), 0);
	ck_assert(vq_empty(&d->vq));
	ck_assert(!vq_enable_notify(&d->vq));
	vq_disable_notify(&d->vq);
	vq_flush(&d->vq);
	ck_assert_uint_eq(d->interrupts, 0);
	/* From the start again: the same chain is there. */
	ck_assert_int_eq(start(d, false), 0);
	ck_assert(!vq_empty(&d->vq));
	c = pop();
	ck_assert_uint_eq(c.out_len, 16);
}
END_TEST

/* --- round trips ----------------------------------------------------------------- */

static const unsigned sizes[] = { 1, 2, 3, 256, 32768 };
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

struct model_chain {
	struct buf b[MAX_BUFS];
	unsigned n;
	int id;
	uint32_t written;
};

/* Chains as the driver made them available, taken by the device, and used, in this order. */
struct model {
	struct model_chain *chain; /* ring of d->size */
	uint64_t added, popped, reclaimed;
	struct vq_chain *held; /* popped and not pushed */
	unsigned n_held;
	int *used; /* ids in the order pushed; ring of d->size */
	uint64_t pushed, flushed;
};

static struct model_chain *chain_at(struct model *m, uint64_t n)
{
	return &m->chain[n % d->size];
}

static struct model_chain *chain_by_id(struct model *m, int id)
{
	for (uint64_t n = m->reclaimed; n < m->reclaimed + d->size; n++)
		if (chain_at(m, n)->id == id)
			return chain_at(m, n);
	return NULL;
}

static bool model_add(struct model *m)
{
	struct model_chain c;
	bool indirect = d->features & bit(VIRTIO_F_INDIRECT_DESC) && rnd(2);
	unsigned max = indirect || d->size > MAX_BUFS ? MAX_BUFS : d->size;
	unsigned n_out;

	c.n = 1 + rnd(max);
	n_out = rnd(c.n + 1);
	for (unsigned i = 0; i < c.n; i++)
		c.b[i] = (struct buf){ BUFFERS + rnd(RAM - BUFFERS - 4096), 1 + rnd(4096),
				       i >= n_out };
	c.id = add(c.b, c.n, indirect);
	if (c.id < 0)
		return false;
	*chain_at(m, m->added++) = c;
	return true;
}

static void compare(const struct vq_chain *c, const struct model_chain *want)
{
	uint32_t len[2] = { 0, 0 };

	REQUIRE(c->id == want->id);
	REQUIRE(c->n_out + c->n_in == want->n);
	for (unsigned i = 0; i < want->n; i++) {
		REQUIRE(want->b[i].write == (i >= c->n_out));
		REQUIRE(c->iov[i].iov_base == d->mem.ram + want->b[i].addr);
		REQUIRE(c->iov[i].iov_len == want->b[i].len);
		len[want->b[i].write] += want->b[i].len;
	}
	REQUIRE(c->out_len == len[0] && c->in_len == len[1]);
}

static void model_pop(struct model *m)
{
	struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };
	bool some = m->popped < m->added;

	REQUIRE(vq_empty(&d->vq) == !some);
	REQUIRE(vq_pop(&d->vq, &c) == some);
	if (!some)
		return;
	compare(&c, chain_at(m, m->popped));
	if (!rnd(8)) {
		vq_unpop(&d->vq, &c);
		REQUIRE(!vq_empty(&d->vq));
		REQUIRE(vq_outstanding(&d->vq) == m->n_held);
		c = pop();
		compare(&c, chain_at(m, m->popped));
	}
	m->popped++;
	m->held[m->n_held++] = c;
	REQUIRE(vq_outstanding(&d->vq) == m->n_held);
}

static void model_push(struct model *m)
{
	struct model_chain *mc;
	struct vq_chain c;
	unsigned k;

	if (!m->n_held)
		return;
	k = rnd(m->n_held);
	c = m->held[k];
	m->held[k] = m->held[--m->n_held];
	mc = chain_by_id(m, c.id);
	mc->written = rnd(2) ? rnd(c.in_len + 1) : 0;
	vq_push(&d->vq, &c, mc->written);
	m->used[m->pushed++ % d->size] = c.id;
	REQUIRE(vq_outstanding(&d->vq) == m->n_held);
}

static void model_flush(struct model *m)
{
	unsigned before = d->interrupts;

	/* Nothing shows before the flush. */
	REQUIRE(m->reclaimed < m->flushed || !used_waits());
	vq_flush(&d->vq);
	m->flushed = m->pushed;
	REQUIRE(d->interrupts - before <= 1);
	before = d->interrupts;
	vq_flush(&d->vq);
	REQUIRE(d->interrupts == before);
}

static void model_reclaim(struct model *m)
{
	bool in_order = d->features & bit(VIRTIO_F_IN_ORDER);
	struct model_chain *mc;
	uint32_t len;
	int id;

	while ((id = reclaim(&len)) >= 0) {
		REQUIRE(m->reclaimed < m->pushed);
		mc = chain_by_id(m, id);
		REQUIRE(mc && len == mc->written);
		if (in_order)
			REQUIRE(mc == chain_at(m, m->reclaimed));
		else
			REQUIRE(id == m->used[m->reclaimed % d->size]);
		mc->id = -1;
		if (mc != chain_at(m, m->reclaimed)) {
			/* Out of order: what is older keeps its place. */
			uint64_t n = m->reclaimed;

			while (chain_at(m, n) != mc)
				n++;
			for (; n > m->reclaimed; n--)
				*chain_at(m, n) = *chain_at(m, n - 1);
			chain_at(m, n)->id = -1;
		}
		m->reclaimed++;
	}
}

START_TEST(round_trips)
{
	unsigned size = sizes[_i / N_FEATURES];
	uint64_t features = features_of(_i % N_FEATURES);
	uint64_t total = size > 1000 ? 3000 : ROUNDS;
	struct model m = { 0 };
	uint32_t len;

	if (!(features & bit(VIRTIO_F_RING_PACKED)) && size == 3)
		size = 4;
	rng = 1 + _i;
	new_queue(size, features);
	m.chain = calloc(size, sizeof(*m.chain));
	m.held = calloc(size, sizeof(*m.held));
	m.used = calloc(size, sizeof(*m.used));
	for (unsigned i = 0; i < size; i++)
		m.chain[i].id = -1;
	while (m.reclaimed < total) {
		for (unsigned n = rnd(size < 40 ? size + 1 : 40); n && m.added < total; n--)
			if (!model_add(&m))
				break;
		publish();
		for (unsigned n = rnd(12); n; n--)
			model_pop(&m);
		for (unsigned n = rnd(12); n; n--)
			model_push(&m);
		model_flush(&m);
		if (rnd(2))
			model_reclaim(&m);
	}
	ck_assert_uint_eq(m.reclaimed, m.added);
	ck_assert_uint_eq(vq_outstanding(&d->vq), 0);
	ck_assert_uint_eq(d->n_spare, size);
	ck_assert_int_eq(reclaim(&len), -1);
	ck_assert_ptr_null(d->vq.broken);
	free(m.chain);
	free(m.held);
	free(m.used);
}
END_TEST

/* The whole ring outstanding at once, several times around, used in order and backwards. */
START_TEST(full_rings)
{
	unsigned size = sizes[_i / N_FEATURES];
	uint64_t features = features_of(_i % N_FEATURES);
	bool in_order = features & bit(VIRTIO_F_IN_ORDER);
	struct vq_chain *held, c = { .iov = iov, .max = VQ_MAX_IOV };
	uint32_t len;

	if (!(features & bit(VIRTIO_F_RING_PACKED)) && size == 3)
		size = 4;
	new_queue(size, features);
	held = calloc(size, sizeof(*held));
	for (unsigned turn = 0; turn < 5; turn++) {
		for (unsigned i = 0; i < size; i++)
			offer(&one, 1, false);
		ck_assert_int_eq(add(&one, 1, false), -1);
		for (unsigned i = 0; i < size; i++)
			held[i] = pop();
		ck_assert_int_eq(vq_pop(&d->vq, &c), 0);
		ck_assert_uint_eq(vq_outstanding(&d->vq), size);
		for (unsigned i = 0; i < size; i++)
			vq_push(&d->vq, &held[turn & 1 ? size - 1 - i : i], 0);
		ck_assert_uint_eq(vq_outstanding(&d->vq), 0);
		ck_assert(!used_waits());
		vq_flush(&d->vq);
		for (unsigned i = 0; i < size; i++)
			REQUIRE(reclaim(&len) == held[turn & 1 && !in_order ? size - 1 - i : i].id);
		ck_assert_int_eq(reclaim(&len), -1);
	}
	free(held);
}
END_TEST

START_TEST(in_order_waits_for_the_oldest)
{
	struct vq_chain c[3];
	uint32_t len;

	new_queue(4, features_of(_i) | bit(VIRTIO_F_IN_ORDER));
	for (unsigned i = 0; i < 3; i++) {
		offer(&one, 1, false);
		c[i] = pop();
	}
	vq_push(&d->vq, &c[2], 2);
	vq_push(&d->vq, &c[1], 1);
	ck_assert_uint_eq(vq_outstanding(&d->vq), 1);
	vq_flush(&d->vq);
	ck_assert(!used_waits());
	ck_assert_uint_eq(d->interrupts, 0);
	vq_push(&d->vq, &c[0], 7);
	ck_assert(!used_waits());
	vq_flush(&d->vq);
	ck_assert_uint_eq(d->interrupts, 1);
	ck_assert_int_eq(reclaim(&len), c[0].id);
	ck_assert_uint_eq(len, 7);
	ck_assert_int_eq(reclaim(&len), c[1].id);
	ck_assert_uint_eq(len, 1);
	ck_assert_int_eq(reclaim(&len), c[2].id);
	ck_assert_uint_eq(len, 2);
}
END_TEST

START_TEST(unpop_several)
{
	struct vq_chain c[3], again;
	struct buf two[2] = { one, one };

	new_queue(4, features_of(_i));
	pass(2); /* so that a packed chain crosses the ring's end */
	offer(&one, 1, false);
	offer(two, 2, false);
	offer(&one, 1, false);
	for (unsigned i = 0; i < 3; i++)
		c[i] = pop();
	for (unsigned i = 3; i--;)
		vq_unpop(&d->vq, &c[i]);
	ck_assert_uint_eq(vq_outstanding(&d->vq), 0);
	ck_assert(vq_enable_notify(&d->vq));
	for (unsigned i = 0; i < 3; i++) {
		again = pop();
		ck_assert_uint_eq(again.id, c[i].id);
		ck_assert_uint_eq(again.seq, c[i].seq);
		ck_assert_uint_eq(again.n_out, i == 1 ? 2 : 1);
		vq_push(&d->vq, &again, 0);
	}
	vq_flush(&d->vq);
}
END_TEST

START_TEST(long_chains)
{
	struct vq_chain c;

	new_queue(VQ_MAX_IOV, features_of(_i));
	if (_i & 1) {
		struct pvirtq_desc *t = (void *)(d->mem.ram + TABLES);

		for (unsigned i = 0; i < VQ_MAX_IOV; i++)
			set_pdesc(&t[i], BUFFERS + i, 1, 0);
		set_pdesc(&d->ring[0], TABLES, VQ_MAX_IOV * 16, 5);
		d->ring[0].flags = cpu_to_le16(PVIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_INDIRECT);
	} else {
		for (unsigned i = 0; i < VQ_MAX_IOV; i++)
			set_desc(&d->desc[i], BUFFERS + i, 1,
				 i + 1 < VQ_MAX_IOV ? VIRTQ_DESC_F_NEXT : 0, i + 1);
		d->avail->idx = cpu_to_le16(1);
	}
	c = pop();
	ck_assert_uint_eq(c.n_out, VQ_MAX_IOV);
	ck_assert_uint_eq(c.out_len, VQ_MAX_IOV);
	ck_assert_ptr_eq(c.iov[VQ_MAX_IOV - 1].iov_base, d->mem.ram + BUFFERS + VQ_MAX_IOV - 1);
}
END_TEST

/* 2.7.5.3.2: direct descriptors, then a table, whose WRITE flag is ignored. */
START_TEST(split_direct_then_indirect)
{
	struct virtq_desc *t;
	struct vq_chain c;

	new_queue(4, features_of(8));
	t = (void *)(d->mem.ram + TABLES + 8); /* tables have no alignment */
	set_desc(&d->desc[2], BUFFERS, 1, VIRTQ_DESC_F_NEXT, 0);
	set_desc(&d->desc[0], TABLES + 8, 3 * 16, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE, 0);
	set_desc(&t[0], BUFFERS + 16, 2, VIRTQ_DESC_F_NEXT, 2);
	set_desc(&t[2], BUFFERS + 32, 3, VIRTQ_DESC_F_WRITE, 0);
	d->avail->ring[0] = cpu_to_le16(2);
	d->avail->idx = cpu_to_le16(1);
	c = pop();
	ck_assert_uint_eq(c.id, 2);
	ck_assert_uint_eq(c.slots, 2);
	ck_assert_uint_eq(c.n_out, 2);
	ck_assert_uint_eq(c.n_in, 1);
	ck_assert_uint_eq(c.out_len, 3);
	ck_assert_uint_eq(c.in_len, 3);
	ck_assert_ptr_eq(c.iov[2].iov_base, d->mem.ram + BUFFERS + 32);
}
END_TEST

/* RAM below and above the PCI hole, and ROM: each buffer wherever it lies. */
START_TEST(several_ranges)
{
	static uint8_t rom[4096];
	struct buf b[4] = {
		{ 0x1000, 1, false },
		{ GMEM_HIGH_BASE + 4095, 1, false },
		{ 0xffff0fff, 1, false },
		{ 0x2000, 1, true },
	};
	struct vq_chain c;

	new_driver(4, features_of(_i), GMEM_LOW_MAX + 4096);
	d->mem.range[2] = d->mem.range[1];
	d->mem.range[1] = (struct gmem_range){ 0xffff0000, sizeof(rom), rom, true };
	d->mem.n = 3;
	ck_assert_int_eq(start(d, false), 0);
	offer(b, 4, false);
	c = pop();
	ck_assert_ptr_eq(c.iov[0].iov_base, d->mem.ram + 0x1000);
	ck_assert_ptr_eq(c.iov[1].iov_base, d->mem.ram + GMEM_LOW_MAX + 4095);
	ck_assert_ptr_eq(c.iov[2].iov_base, rom + 0xfff);
	ck_assert_ptr_eq(c.iov[3].iov_base, d->mem.ram + 0x2000);
}
END_TEST

/* --- hostile drivers --------------------------------------------------------------- */

static void breaks(const char *rule)
{
	struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };
	unsigned outstanding = vq_outstanding(&d->vq);

	ck_assert_ptr_null(d->vq.broken);
	ck_assert_int_eq(vq_pop(&d->vq, &c), -EPROTO);
	ck_assert_str_eq(d->vq.broken, rule);
	/* From then on, too. */
	ck_assert_int_eq(vq_pop(&d->vq, &c), -EPROTO);
	ck_assert_str_eq(d->vq.broken, rule);
	ck_assert(vq_empty(&d->vq));
	ck_assert(!vq_enable_notify(&d->vq));
	vq_disable_notify(&d->vq);
	ck_assert_uint_eq(vq_outstanding(&d->vq), outstanding);
}

enum { NEXT = VIRTQ_DESC_F_NEXT, WRITE = VIRTQ_DESC_F_WRITE, INDIRECT = VIRTQ_DESC_F_INDIRECT };

/* Both kinds of ring: descriptor n of the ring, chained to n + 1 by NEXT. */
static void raw(unsigned n, uint64_t addr, uint32_t len, unsigned flags)
{
	if (d->packed) {
		set_pdesc(&d->ring[n], addr, len, n);
		d->ring[n].flags = cpu_to_le16(flags | PVIRTQ_DESC_F_AVAIL);
	} else {
		set_desc(&d->desc[n], addr, len, flags, n + 1);
	}
}

/* The same in an indirect table at TABLES. */
static void raw_table(unsigned n, uint64_t addr, uint32_t len, unsigned flags)
{
	if (d->packed) {
		struct pvirtq_desc *t = (void *)(d->mem.ram + TABLES + n * 16);

		set_pdesc(t, addr, len, 0);
		t->flags = cpu_to_le16(flags);
	} else {
		set_desc((void *)(d->mem.ram + TABLES + n * 16), addr, len, flags, n + 1);
	}
}

/* Split: makes the chain that begins with descriptor head available. */
static void raw_avail(unsigned head)
{
	uint16_t idx = le16_to_cpu(d->avail->idx);

	if (d->packed)
		return;
	d->avail->ring[idx % d->size] = cpu_to_le16(head);
	d->avail->idx = cpu_to_le16(idx + 1);
}

/* One descriptor in the ring and one in a table: each bad buffer is tried in both. */
static void bad_buffer(uint64_t addr, uint32_t len, unsigned flags, const char *rule)
{
	raw(0, addr, len, flags);
	raw_avail(0);
	breaks(rule);
	ck_assert_int_eq(start(d, false), 0);
	raw_table(0, BUFFERS, 1, NEXT);
	raw_table(1, addr, len, flags);
	raw(0, TABLES, 32, INDIRECT);
	breaks(rule);
	ck_assert_int_eq(start(d, false), 0);
	d->avail->idx = cpu_to_le16(0);
}

START_TEST(bad_buffers)
{
	static const char outside[] = "an address outside RAM";
	static const char wraps[] = "an address that wraps around";
	static uint8_t rom[4096];
	struct vq_chain c;

	new_driver(4, features_of(8 + _i), RAM);
	d->mem.range[d->mem.n++] = (struct gmem_range){ 0xffff0000, sizeof(rom), rom, true };
	ck_assert_int_eq(start(d, false), 0);
	bad_buffer(BUFFERS, 0, 0, "a buffer of no bytes");
	bad_buffer(BUFFERS, 0, WRITE, "a buffer of no bytes");
	bad_buffer(RAM, 1, 0, outside);
	bad_buffer(RAM - 1, 2, 0, outside);
	bad_buffer(RAM - 1, 2, WRITE, outside);
	bad_buffer(BUFFERS, UINT32_MAX - 1, 0, outside);
	bad_buffer(GMEM_LOW_MAX, 1, 0, outside);
	bad_buffer(1ull << 63, 1, 0, outside);
	bad_buffer(UINT64_MAX, 1, 0, outside);
	bad_buffer(UINT64_MAX, 2, 0, wraps);
	bad_buffer(UINT64_MAX - 0xff, 0x101, WRITE, wraps);
	bad_buffer(0xffff0000, 1, WRITE, "a writable address in read-only memory");
	bad_buffer(0xffff0000, 4097, 0, outside);
	/* Also when the same memory was read just before. */
	raw(0, 0xffff0000, 1, NEXT);
	raw(1, 0xffff0000, 1, WRITE);
	raw_avail(0);
	breaks("a writable address in read-only memory");
	ck_assert_int_eq(start(d, false), 0);
	d->avail->idx = cpu_to_le16(0);
	/* And the last that is good. */
	raw(0, RAM - 1, 1, 0);
	raw_avail(0);
	c = pop();
	ck_assert_ptr_eq(c.iov->iov_base, d->mem.ram + RAM - 1);
}
END_TEST

START_TEST(readable_after_writable)
{
	new_queue(4, features_of(8 + _i));
	raw(0, BUFFERS, 1, WRITE | NEXT);
	raw(1, BUFFERS, 1, 0);
	raw_avail(0);
	breaks("a readable buffer after a writable one");
	ck_assert_int_eq(start(d, false), 0);
	raw_table(0, BUFFERS, 1, WRITE | NEXT);
	raw_table(1, BUFFERS, 1, 0);
	raw(0, TABLES, 32, INDIRECT);
	breaks("a readable buffer after a writable one");
}
END_TEST

START_TEST(total_length)
{
	struct vq_chain c;

	new_driver(4, features_of(_i), GMEM_LOW_MAX);
	ck_assert_int_eq(start(d, false), 0);
	raw(0, 0, 1u << 31, NEXT);
	raw(1, 0, 1u << 31, 0);
	raw_avail(0);
	breaks("a chain of 4 GiB or more");
	ck_assert_int_eq(start(d, false), 0);
	raw(1, 0, 1u << 31, WRITE);
	breaks("a chain of 4 GiB or more");
	ck_assert_int_eq(start(d, false), 0);
	raw(0, 0, 1u << 31, WRITE | NEXT);
	breaks("a chain of 4 GiB or more");
	ck_assert_int_eq(start(d, false), 0);
	raw(0, 0, 1u << 31, NEXT);
	raw(1, 0, (1u << 31) - 1, WRITE);
	c = pop();
	ck_assert_uint_eq(c.out_len, 1u << 31);
	ck_assert_uint_eq(c.in_len, (1u << 31) - 1);
}
END_TEST

START_TEST(more_buffers_than_room)
{
	static const char rule[] = "more buffers in a chain than the device takes";
	struct iovec few[3], guard = { NULL, 0xabcd };
	struct vq_chain c = { .iov = few, .max = 2 };

	few[2] = guard;
	new_queue(VQ_MAX_SIZE, features_of(8 + _i));
	for (unsigned i = 0; i <= VQ_MAX_IOV; i++) {
		raw(i, BUFFERS, 1, i < VQ_MAX_IOV ? NEXT : 0);
		raw_table(i, BUFFERS, 1, i < VQ_MAX_IOV ? NEXT : 0);
	}
	raw_avail(0);
	ck_assert_int_eq(vq_pop(&d->vq, &c), -EPROTO);
	ck_assert_str_eq(d->vq.broken, rule);
	ck_assert_uint_eq(few[2].iov_len, guard.iov_len);
	ck_assert_int_eq(start(d, false), 0);
	breaks(rule);
	ck_assert_int_eq(start(d, false), 0);
	raw(0, TABLES, (VQ_MAX_IOV + 1) * 16, INDIRECT);
	breaks(rule);
}
END_TEST

START_TEST(indirect_tables)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		const char *rule;
	} bad[] = {
		{ TABLES, 0, "an indirect table whose size is not a multiple of 16" },
		{ TABLES, 1, "an indirect table whose size is not a multiple of 16" },
		{ TABLES, 15, "an indirect table whose size is not a multiple of 16" },
		{ TABLES, 17, "an indirect table whose size is not a multiple of 16" },
		{ TABLES, UINT32_MAX, "an indirect table whose size is not a multiple of 16" },
		{ TABLES, VQ_MAX_SIZE * 16 + 16, "an indirect table that is too big" },
		{ TABLES, 0xfffffff0, "an indirect table that is too big" },
		{ RAM, 16, "an address outside RAM" },
		{ RAM - 16, 32, "an address outside RAM" },
		{ UINT64_MAX - 15, 32, "an address that wraps around" },
		{ UINT64_MAX - 31, 32, "an address outside RAM" },
	};

	new_queue(4, features_of(8 + _i));
	raw_avail(0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		raw(0, bad[i].addr, bad[i].len, INDIRECT);
		breaks(bad[i].rule);
		ck_assert_int_eq(start(d, false), 0);
	}
	raw(0, TABLES, 16, INDIRECT);
	raw_table(0, BUFFERS, 16, INDIRECT);
	breaks("an indirect table within an indirect table");
	ck_assert_int_eq(start(d, false), 0);

	raw_table(0, BUFFERS, 16, 0);
	raw(0, TABLES, 16, INDIRECT | NEXT);
	raw(1, BUFFERS, 16, 0);
	breaks(_i ? "an indirect table in a list with others"
		  : "a chain that goes on after its indirect table");

	/* All that is right, but for the feature. */
	raw(0, TABLES, 16, INDIRECT);
	d->features &= ~bit(VIRTIO_F_INDIRECT_DESC);
	ck_assert_int_eq(start(d, false), 0);
	breaks("an indirect table without the feature");
	d->features |= bit(VIRTIO_F_INDIRECT_DESC);
	ck_assert_int_eq(start(d, false), 0);
	pop();
}
END_TEST

START_TEST(split_indexes)
{
	static const char loop[] = "a chain longer than the queue (a loop)";
	static const char beyond[] = "a descriptor's index beyond its table";

	new_queue(4, features_of(8));
	raw_avail(4);
	breaks("an available chain's index beyond the table");
	d->avail->ring[0] = cpu_to_le16(0xffff);
	ck_assert_int_eq(start(d, false), 0);
	breaks("an available chain's index beyond the table");

	d->avail->ring[0] = cpu_to_le16(3);
	raw(3, BUFFERS, 1, NEXT); /* to 4 */
	ck_assert_int_eq(start(d, false), 0);
	breaks(beyond);
	set_desc(&d->desc[3], BUFFERS, 1, NEXT, 0xffff);
	ck_assert_int_eq(start(d, false), 0);
	breaks(beyond);
	set_desc(&d->desc[3], BUFFERS, 1, NEXT, 3);
	ck_assert_int_eq(start(d, false), 0);
	breaks(loop);
	for (unsigned i = 0; i < 4; i++)
		set_desc(&d->desc[i], BUFFERS, 1, NEXT, (i + 1) % 4);
	ck_assert_int_eq(start(d, false), 0);
	breaks(loop);

	/* The same in a table of three. */
	raw(3, TABLES, 48, INDIRECT);
	for (unsigned i = 0; i < 3; i++)
		raw_table(i, BUFFERS, 1, NEXT); /* the last to 3 */
	ck_assert_int_eq(start(d, false), 0);
	breaks(beyond);
	set_desc((void *)(d->mem.ram + TABLES + 32), BUFFERS, 1, NEXT, 0);
	ck_assert_int_eq(start(d, false), 0);
	breaks("a loop in an indirect table");
}
END_TEST

START_TEST(split_available_index)
{
	static const char rule[] = "the available index jumps by more than the queue's size";

	new_queue(4, features_of(0));
	raw(0, BUFFERS, 1, 0);
	d->avail->idx = cpu_to_le16(5);
	breaks(rule);
	d->avail->idx = cpu_to_le16(0xffff);
	ck_assert_int_eq(start(d, false), 0);
	ck_assert(vq_enable_notify(&d->vq)); /* so that the device finds out */
	breaks(rule);
	/* Backwards, after progress. */
	d->avail->idx = cpu_to_le16(0);
	ck_assert_int_eq(start(d, false), 0);
	pass(2);
	d->avail->idx = cpu_to_le16(1);
	breaks(rule);
	/* The whole queue is no jump. */
	teardown();
	new_queue(VQ_MAX_SIZE, features_of(0));
	raw(0, BUFFERS, 1, 0);
	d->avail->idx = cpu_to_le16(VQ_MAX_SIZE);
	pop();
	ck_assert_int_eq(start(d, false), 0);
	d->avail->idx = cpu_to_le16(VQ_MAX_SIZE + 1);
	breaks(rule);
}
END_TEST

START_TEST(split_outstanding)
{
	struct vq_chain a;
	uint32_t len;

	new_queue(4, features_of(0));
	offer(&one, 1, false);
	a = pop();
	raw_avail(a.id);
	breaks("a chain made available again before it was used");
	/* The device still finishes what it has. */
	vq_push(&d->vq, &a, 0);
	vq_flush(&d->vq);
	ck_assert_int_eq(reclaim(&len), a.id);
	ck_assert_uint_eq(vq_outstanding(&d->vq), 0);
	teardown();

	/* Two descriptors outstanding, two free, a chain of three. */
	new_queue(4, features_of(0));
	offer((struct buf[]){ one, one }, 2, false);
	a = pop();
	raw(2, BUFFERS, 1, NEXT);
	raw(3, BUFFERS, 1, 0);
	raw_avail(2);
	set_desc(&d->desc[3], BUFFERS, 1, NEXT, 1);
	breaks("more descriptors outstanding than the queue has");
	teardown();

	/* What is pushed but not flushed is not the driver's yet. */
	new_queue(2, features_of(0));
	offer((struct buf[]){ one, one }, 2, false);
	a = pop();
	vq_push(&d->vq, &a, 0);
	raw_avail(0);
	breaks("more descriptors outstanding than the queue has");
}
END_TEST

START_TEST(packed_lists)
{
	static const char loop[] = "a chain longer than the queue (a loop)";

	new_queue(3, features_of(9));
	for (unsigned i = 0; i < 3; i++)
		raw(i, BUFFERS, 1, NEXT);
	breaks(loop);
	raw(2, BUFFERS, 1, 0);
	ck_assert_int_eq(start(d, false), 0);
	ck_assert_uint_eq(pop().n_out, 3);

	raw(2, TABLES, 16, INDIRECT);
	raw_table(0, BUFFERS, 1, 0);
	ck_assert_int_eq(start(d, false), 0);
	breaks("an indirect table in a list with others");

	teardown();
	new_queue(1, features_of(9));
	raw(0, BUFFERS, 1, NEXT);
	breaks(loop);
}
END_TEST

START_TEST(packed_ids)
{
	static const char beyond[] = "a buffer id beyond the queue's size";
	struct vq_chain a;
	uint32_t len;

	new_queue(3, features_of(9));
	raw(0, BUFFERS, 1, 0);
	d->ring[0].id = cpu_to_le16(3);
	breaks(beyond);
	d->ring[0].id = cpu_to_le16(0xffff);
	ck_assert_int_eq(start(d, false), 0);
	breaks(beyond);
	teardown();

	new_queue(3, features_of(9));
	offer(&one, 1, false);
	a = pop();
	raw(1, BUFFERS, 1, 0);
	d->ring[1].id = cpu_to_le16(a.id);
	breaks("a buffer id made available again before it was used");
	vq_push(&d->vq, &a, 3);
	vq_flush(&d->vq);
	ck_assert_int_eq(reclaim(&len), a.id);
	ck_assert_uint_eq(len, 3);
}
END_TEST

START_TEST(packed_outstanding)
{
	static const char rule[] = "more descriptors outstanding than the queue has";
	struct vq_chain a;

	new_queue(3, features_of(9));
	offer((struct buf[]){ one, one }, 2, false);
	pop();
	raw(2, BUFFERS, 1, NEXT); /* over the end, into what is outstanding */
	d->ring[0].flags = cpu_to_le16(PVIRTQ_DESC_F_USED);
	breaks(rule);
	teardown();

	/* Everything outstanding, and made available again. */
	new_queue(3, features_of(9));
	offer((struct buf[]){ one, one, one }, 3, false);
	a = pop();
	d->ring[0].flags = cpu_to_le16(PVIRTQ_DESC_F_USED);
	breaks(rule);
	ck_assert_int_eq(start(d, false), 0);
	d->ring[0].flags = cpu_to_le16(PVIRTQ_DESC_F_AVAIL | NEXT);
	a = pop();
	vq_push(&d->vq, &a, 0);
	d->ring[0].flags = cpu_to_le16(PVIRTQ_DESC_F_USED);
	breaks(rule);
}
END_TEST

/* A device that pushes what it does not have is our own mistake. */
START_TEST(push_twice)
{
	struct vq_chain c;

	new_queue(4, features_of(_i));
	offer(&one, 1, false);
	offer(&one, 1, false);
	c = pop();
	pop();
	vq_push(&d->vq, &c, 0);
	vq_push(&d->vq, &c, 0);
}
END_TEST

/* --- interrupts -------------------------------------------------------------------- */

/* Uses n chains of one descriptor in one flush; whether the driver was told. */
static bool use(unsigned n)
{
	unsigned before = d->interrupts;
	struct vq_chain c;
	uint32_t len;

	for (unsigned i = 0; i < n; i++) {
		offer(&one, 1, false);
		c = pop();
		vq_push(&d->vq, &c, 0);
		REQUIRE(d->interrupts == before);
	}
	vq_flush(&d->vq);
	for (unsigned i = 0; i < n; i++)
		REQUIRE(reclaim(&len) >= 0);
	REQUIRE(d->interrupts - before <= 1);
	return d->interrupts != before;
}

START_TEST(split_interrupts_by_flag)
{
	new_queue(4, features_of(0));
	st16(virtq_used_event(d->avail, 4), 1000, __ATOMIC_RELAXED); /* means nothing */
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned flags = rnd(4);

		st16(&d->avail->flags, flags, __ATOMIC_RELAXED);
		REQUIRE(use(1 + rnd(4)) == !(flags & VIRTQ_AVAIL_F_NO_INTERRUPT));
	}
}
END_TEST

/* used_event at each distance from what is used, over the wrap of the indexes. */
START_TEST(split_interrupts_by_index)
{
	new_queue(4, features_of(2));
	d->avail->flags = cpu_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT); /* means nothing */
	pass(65000);
	while (d->used_idx >= 65000 || d->used_idx < 500) {
		unsigned n = 1 + rnd(4);
		int event = (int)rnd(12) - 5;

		if (!rnd(20))
			event = 32768;
		st16(virtq_used_event(d->avail, 4), d->used_idx + event, __ATOMIC_RELAXED);
		REQUIRE(use(n) == (event >= 0 && event < (int)n));
	}
}
END_TEST

START_TEST(split_interrupts_of_a_big_batch)
{
	const int n = VQ_MAX_SIZE;
	const int at[] = { -1, 0, 1, n - 1, n, n + 1 };

	new_queue(n, features_of(2));
	pass(3);
	for (unsigned i = 0; i < 6; i++) {
		st16(virtq_used_event(d->avail, n), d->used_idx + at[i], __ATOMIC_RELAXED);
		REQUIRE(use(n) == (at[i] >= 0 && at[i] < n));
	}
}
END_TEST

START_TEST(packed_interrupts_by_flag)
{
	new_queue(3, features_of(1 + 2 * _i));
	d->driver->desc = cpu_to_le16(7);
	for (unsigned i = 0; i < 10000; i++) {
		unsigned flags = rnd(4);

		if (flags == PVIRTQ_EVENT_DESC && _i)
			continue;
		/* Reserved bits mean nothing; what has no meaning must not lose an interrupt. */
		st16(&d->driver->flags, flags | rnd(4) << 14, __ATOMIC_RELAXED);
		REQUIRE(use(1 + rnd(3)) == (flags != PVIRTQ_EVENT_DISABLE));
	}
}
END_TEST

/* The event at each position and wrap counter, batches of chains of all lengths. */
START_TEST(packed_interrupts_by_position)
{
	static const unsigned of_size[] = { 1, 2, 3, 7, 256, 32768 };
	unsigned size = of_size[_i];

	new_queue(size, features_of(3));
	d->driver->flags = cpu_to_le16(PVIRTQ_EVENT_DESC);
	for (unsigned i = 0; i < (size > 1000 ? 60 : ROUNDS / 4); i++) {
		unsigned slots = 0, chains = 0, from = d->get, before = d->interrupts, at;
		bool from_wrap = d->get_wrap, wrap = rnd(2);
		const struct buf b[MAX_BUFS] = { one, one, one, one, one, one, one, one };
		uint32_t len;

		do {
			unsigned n = 1 + rnd(MAX_BUFS);
			struct vq_chain c;

			if (n > size - slots)
				n = size - slots;
			offer(b, n, false);
			c = pop();
			vq_push(&d->vq, &c, 0);
			slots += n;
			chains++;
		} while (slots < size && rnd(size > 1000 ? 10000 : 4));
		/* Near the batch's ends, and anywhere. */
		at = from + (rnd(2) ? slots : 0) + size - 2 + rnd(4);
		at = rnd(2) ? at % size : rnd(size);
		d->driver->desc = cpu_to_le16(at | wrap << 15);
		vq_flush(&d->vq);
		REQUIRE(d->interrupts - before == among(at, wrap, from, from_wrap, slots));
		while (chains--)
			REQUIRE(reclaim(&len) >= 0);
	}
}
END_TEST

START_TEST(legacy_notify_on_empty)
{
	struct vq_chain a, b;

	new_driver(4, bit(VIRTIO_F_NOTIFY_ON_EMPTY) | (_i ? bit(VIRTIO_F_EVENT_IDX) : 0), RAM);
	ck_assert_int_eq(start(d, true), 0);
	d->avail->flags = cpu_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT);
	st16(virtq_used_event(d->avail, 4), 1000, __ATOMIC_RELAXED);
	offer(&one, 1, false);
	offer(&one, 1, false);
	a = pop();
	vq_push(&d->vq, &a, 0);
	vq_flush(&d->vq);
	ck_assert_uint_eq(d->interrupts, 0); /* one waits */
	b = pop();
	offer(&one, 1, false);
	a = pop();
	vq_push(&d->vq, &a, 0);
	vq_flush(&d->vq);
	ck_assert_uint_eq(d->interrupts, 0); /* one is in work */
	vq_push(&d->vq, &b, 0);
	vq_flush(&d->vq);
	ck_assert_uint_eq(d->interrupts, 1);

	/* It is a legacy feature: the same bit means nothing to others. */
	ck_assert_int_eq(start(d, false), 0);
	while (vq_pop(&d->vq, &a) == 1)
		vq_push(&d->vq, &a, 0);
	vq_flush(&d->vq);
	ck_assert_uint_eq(d->interrupts, 1);
}
END_TEST

/* --- doorbells --------------------------------------------------------------------- */

/*
 * The device asks to be told, the driver adds: told once. Not asked for: not
 * told. Over the wraps of all counters.
 */
START_TEST(doorbells)
{
	unsigned size = sizes[_i / 4];
	unsigned turns = size > 1000 ? 40 : ROUNDS / 2;
	struct vq_chain c = { .iov = iov, .max = VQ_MAX_IOV };
	uint32_t len;

	if (!(_i & 1) && size == 3)
		size = 4;
	new_queue(size, features_of(_i % 4));
	/* From the start the driver tells. */
	offer(&one, 1, false);
	ck_assert(must_kick());
	while (turns--) {
		unsigned n = 0, room;

		ck_assert_uint_le(d->n_spare, size);
		vq_disable_notify(&d->vq);
		vq_disable_notify(&d->vq);
		for (room = rnd(d->n_spare + 1); room && size > 1; room--)
			offer(&one, 1, false);
		must_kick(); /* what came before the device muted it */
		if (d->n_spare) {
			offer(&one, 1, false);
			REQUIRE(!must_kick());
		}
		REQUIRE(vq_enable_notify(&d->vq)); /* they are seen without */
		vq_disable_notify(&d->vq);
		while (vq_pop(&d->vq, &c) == 1) {
			vq_push(&d->vq, &c, 0);
			n++;
		}
		REQUIRE(!vq_enable_notify(&d->vq));
		REQUIRE(!vq_enable_notify(&d->vq));
		vq_flush(&d->vq);
		while (n--)
			REQUIRE(reclaim(&len) >= 0);
		for (room = 1 + rnd(d->n_spare); room; room--)
			offer(&one, 1, false);
		REQUIRE(must_kick());
	}
}
END_TEST

/* --- two threads ------------------------------------------------------------------- */

enum { BUFFERS_TO_PASS = 100000, SLOT = 64, SLOTS = 64 };

struct device_thread {
	sem_t doorbell;
	unsigned handled, sleeps;
};

/* Waits, but not for ever: a notification that never comes is a failure. */
static void wait_for(sem_t *s)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	while (sem_timedwait(s, &ts))
		REQUIRE(errno == EINTR);
}

static void *device_thread(void *arg)
{
	struct device_thread *t = arg;
	struct iovec v[8];
	struct vq_chain c = { .iov = v, .max = 8 }, later = { 0 };
	bool have_later = false;

	while (t->handled < BUFFERS_TO_PASS) {
		int rc;

		vq_disable_notify(&d->vq);
		do {
			while ((rc = vq_pop(&d->vq, &c)) > 0) {
				uint32_t in;

				REQUIRE(c.n_out == 1 && c.n_in == 1);
				memcpy(&in, v[0].iov_base, sizeof(in));
				in = ~in;
				memcpy(v[1].iov_base, &in, sizeof(in));
				t->handled++;
				/* Every third chain comes back after the one that follows it. */
				if (!have_later && t->handled % 3 == 0 &&
				    t->handled < BUFFERS_TO_PASS) {
					later = c;
					have_later = true;
					continue;
				}
				vq_push(&d->vq, &c, 4);
				if (have_later)
					vq_push(&d->vq, &later, 4);
				have_later = false;
				if (t->handled % 16 == 0)
					vq_flush(&d->vq);
			}
			REQUIRE(rc == 0);
		} while (vq_enable_notify(&d->vq));
		if (have_later)
			vq_push(&d->vq, &later, 4);
		have_later = false;
		vq_flush(&d->vq);
		if (t->handled < BUFFERS_TO_PASS) {
			t->sleeps++;
			wait_for(&t->doorbell);
		}
	}
	return NULL;
}

START_TEST(two_threads)
{
	struct device_thread dev = { .handled = 0 };
	unsigned added = 0, reclaimed = 0, kicks = 0;
	uint32_t sent[SLOTS], len;
	uint8_t slot_of[SLOTS]; /* by id */
	bool busy[SLOTS] = { false };
	uint64_t features = features_of(_i);
	pthread_t thread;

	rng = 77 + _i;
	new_queue(_i & 1 ? 48 : SLOTS, features);
	disarm();
	sem_init(&dev.doorbell, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, device_thread, &dev), 0);
	while (reclaimed < BUFFERS_TO_PASS) {
		unsigned n = 1 + rnd(16);
		int id;

		while (n-- && added < BUFFERS_TO_PASS) {
			unsigned s = 0;
			uint32_t x = rnd(UINT32_MAX);
			struct buf b[2];

			while (s < SLOTS && busy[s])
				s++;
			if (s == SLOTS)
				break;
			b[0] = (struct buf){ BUFFERS + s * SLOT, 4, false };
			b[1] = (struct buf){ BUFFERS + s * SLOT + 32, 4, true };
			memcpy(d->mem.ram + b[0].addr, &x, 4);
			id = add(b, 2, features & bit(VIRTIO_F_INDIRECT_DESC) && x & 1);
			if (id < 0)
				break;
			busy[s] = true;
			slot_of[id] = s;
			sent[s] = x;
			added++;
		}
		publish();
		if (must_kick()) {
			kicks++;
			sem_post(&dev.doorbell);
		}
		/* Goes on while there is room, and sleeps when there is none or all is sent. */
		if (added < BUFFERS_TO_PASS && d->n_spare > 8 && d->room > 8 && rnd(4))
			continue;
		if (!used_waits()) {
			if (!arm())
				wait_for(&d->irq);
			disarm();
		}
		while ((id = reclaim(&len)) >= 0) {
			unsigned s = slot_of[id];
			uint32_t x;

			memcpy(&x, d->mem.ram + BUFFERS + s * SLOT + 32, 4);
			REQUIRE(busy[s] && x == ~sent[s] && len == 4);
			busy[s] = false;
			reclaimed++;
		}
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(dev.handled, BUFFERS_TO_PASS);
	ck_assert_uint_eq(vq_outstanding(&d->vq), 0);
	/* Suppression works: fewer signals than chains, on both sides. */
	ck_assert_uint_lt(kicks, BUFFERS_TO_PASS);
	ck_assert_uint_lt(d->interrupts, BUFFERS_TO_PASS);
	sem_destroy(&dev.doorbell);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtqueue");
	TCase *set_up = tcase_create("start"), *trips = tcase_create("round trips");
	TCase *hostile = tcase_create("hostile"), *notify = tcase_create("notifications");
	TCase *threads = tcase_create("threads");
	TCase *all[] = { set_up, trips, hostile, notify, threads };

	for (unsigned i = 0; i < 5; i++) {
		tcase_add_checked_fixture(all[i], NULL, teardown);
		tcase_set_timeout(all[i], 240);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_loop_test(set_up, start_checks_size, 0, 2);
	tcase_add_loop_test(set_up, start_checks_place, 0, 2);
	tcase_add_loop_test(set_up, start_checks_read_only_memory, 0, 2);
	tcase_add_test(set_up, start_takes_features);
	tcase_add_loop_test(set_up, stopped_queue_is_empty, 0, 2);

	tcase_add_loop_test(trips, round_trips, 0, N_SIZES * N_FEATURES);
	tcase_add_loop_test(trips, full_rings, 0, N_SIZES * N_FEATURES);
	tcase_add_loop_test(trips, in_order_waits_for_the_oldest, 0, 2);
	tcase_add_loop_test(trips, unpop_several, 0, 8);
	tcase_add_loop_test(trips, long_chains, 8, 10);
	tcase_add_test(trips, split_direct_then_indirect);
	tcase_add_loop_test(trips, several_ranges, 0, 2);

	tcase_add_loop_test(hostile, bad_buffers, 0, 2);
	tcase_add_loop_test(hostile, readable_after_writable, 0, 2);
	tcase_add_loop_test(hostile, total_length, 0, 2);
	tcase_add_loop_test(hostile, more_buffers_than_room, 0, 2);
	tcase_add_loop_test(hostile, indirect_tables, 0, 2);
	tcase_add_test(hostile, split_indexes);
	tcase_add_test(hostile, split_available_index);
	tcase_add_test(hostile, split_outstanding);
	tcase_add_test(hostile, packed_lists);
	tcase_add_test(hostile, packed_ids);
	tcase_add_test(hostile, packed_outstanding);
	tcase_add_loop_test_raise_signal(hostile, push_twice, SIGABRT, 0, 6);

	tcase_add_test(notify, split_interrupts_by_flag);
	tcase_add_test(notify, split_interrupts_by_index);
	tcase_add_test(notify, split_interrupts_of_a_big_batch);
	tcase_add_loop_test(notify, packed_interrupts_by_flag, 0, 2);
	tcase_add_loop_test(notify, packed_interrupts_by_position, 0, 6);
	tcase_add_loop_test(notify, legacy_notify_on_empty, 0, 2);
	tcase_add_loop_test(notify, doorbells, 0, 4 * N_SIZES);

	tcase_add_loop_test(threads, two_threads, 0, N_FEATURES);
	return run_suite(s);
}
