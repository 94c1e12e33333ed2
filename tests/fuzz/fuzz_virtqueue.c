/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes as a hostile driver of a virtqueue. They choose the ring
 * and its features, make chains, most of them nearly right, write over guest
 * memory, and say when the device pops, pushes and flushes. A broken queue is
 * reset and goes on, so that one input holds many chains.
 *
 * Whatever the driver does: the device never holds more than the queue's size,
 * each buffer lies within RAM (a writable one not within ROM), lengths are
 * those of the buffers, and nothing but the device's part of the ring is written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gmem.h"
#include "virtio.h"
#include "virtqueue.h"
#include "wire/virtio_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of the sanitizer's allocator. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* The guest's memory, and where things lie in it. */
enum {
	DESC = 0,
	DRIVER = 0x1000,
	DEVICE = 0x1400,
	TABLES = 0x2000, /* 32 tables of 16 entries */
	LOW = 0x8000,
	SHADOW = 0x4000, /* what only the driver writes, but for the device's part of the ring */
	HIGH_SIZE = 0x8000,
	ROM = 0xf0000,
	ROM_SIZE = 0x1000,
};

static _Alignas(16) uint8_t low[LOW], rom[ROM_SIZE], high[HIGH_SIZE], shadow[SHADOW];
static const struct gmem mem = {
	.ram_size = LOW + HIGH_SIZE,
	.memfd = -1,
	.n = 3,
	.range = { { 0, LOW, low, false },
		   { ROM, ROM_SIZE, rom, true },
		   { GMEM_HIGH_BASE, HIGH_SIZE, high, false } },
};

static const uint64_t addresses[16] = {
	0x4000,
	0x7000,
	0x7fff,
	GMEM_HIGH_BASE,
	GMEM_HIGH_BASE + HIGH_SIZE - 16,
	0,
	DRIVER,
	DEVICE,
	/* not for writing, or for nothing at all */
	ROM,
	ROM + ROM_SIZE - 1,
	LOW,
	GMEM_HIGH_BASE - 1,
	GMEM_HIGH_BASE + HIGH_SIZE,
	UINT64_MAX,
	UINT64_MAX - 0xfff,
	1ull << 63,
};
static const uint32_t lengths[8] = { 1, 16, 512, 4096, 0, 0x8000, 0x80000000, UINT32_MAX };

enum { MAX_SIZE = 256, MAX_IOV = 32 };

static struct virtqueue vq;
static uint64_t features;
static bool legacy, odd_place;
static struct vq_chain held[MAX_SIZE];
static unsigned n_held;
static bool is_held[VQ_MAX_SIZE]; /* by id */
static unsigned interrupts;
/* The driver's positions. */
static uint16_t avail_idx, next_desc;
static bool wrap;

static const uint8_t *input;
static size_t left;

static uint8_t byte(void)
{
	if (!left)
		return 0;
	left--;
	return *input++;
}

static uint16_t word(void)
{
	uint16_t hi = byte();

	return hi << 8 | byte();
}

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* The driver writes guest memory. */
static void poke(unsigned at, const void *p, unsigned n)
{
	memcpy(low + at, p, n);
	memcpy(shadow + at, p, n);
}

static void poke16(unsigned at, uint16_t v)
{
	poke(at, &v, 2);
}

static void on_notify(struct virtqueue *q)
{
	interrupts++;
}

/* --- the queue's life -------------------------------------------------------------- */

static const uint16_t sizes[16] = { 1, 2, 4, 8, 16, 32, 64, 256, 3, 5, 7, 255, 4, 4, 0, 0xffff };

static void choose_queue(void)
{
	static const uint64_t places[8] = {
		0, 0x1000, LOW, LOW - 16, ROM, 8, GMEM_HIGH_BASE, UINT64_MAX - 15
	};
	uint8_t f = byte(), s = byte();

	features = (f & 1 ? VIRTIO_F(VIRTIO_F_RING_PACKED) : 0) |
		   (f & 2 ? VIRTIO_F(VIRTIO_F_EVENT_IDX) : 0) |
		   (f & 4 ? VIRTIO_F(VIRTIO_F_IN_ORDER) : 0) |
		   (f & 8 ? VIRTIO_F(VIRTIO_F_INDIRECT_DESC) : 0) |
		   (f & 16 ? VIRTIO_F(VIRTIO_F_NOTIFY_ON_EMPTY) : 0);
	legacy = f & 32;
	vq.size = sizes[s & 15];
	vq.max_size = MAX_SIZE;
	vq.notify = on_notify;
	odd_place = f >> 6 == 3;
	vq.desc = odd_place ? places[byte() & 7] : DESC;
	vq.driver = odd_place ? places[byte() & 7] : DRIVER;
	vq.device = odd_place ? places[byte() & 7] : DEVICE;
}

/* Takes off what the device may have written: the used ring, or packed: ring and event. */
static void forget_device_part(void)
{
	bool packed = vq.packed;
	unsigned at = packed ? DESC : DEVICE;
	unsigned n = packed ? PVIRTQ_DESC_BYTES(vq.size) : VIRTQ_USED_BYTES(vq.size);

	memcpy(shadow + at, low + at, n);
	if (packed)
		memcpy(shadow + DEVICE, low + DEVICE, 4);
}

static void stop(void)
{
	bool started = vq.started;

	vq_stop(&vq);
	require(vq_outstanding(&vq) == 0);
	if (started && !odd_place) {
		forget_device_part();
		require(!memcmp(shadow, low, SHADOW));
	}
	for (unsigned i = 0; i < n_held; i++)
		is_held[held[i].id] = false;
	n_held = 0;
}

static void start(void)
{
	memset(low, 0, TABLES);
	memset(shadow, 0, TABLES);
	avail_idx = next_desc = 0;
	wrap = true;
	if (vq_start(&vq, &mem, features, legacy))
		require(vq.broken && !vq.started && !vq.ring);
	else
		require(!vq.broken && vq.started && vq.size <= MAX_SIZE);
}

/* --- the driver -------------------------------------------------------------------- */

/* A descriptor of either kind: they differ in the place of the last two fields. */
struct any_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t third, fourth;
};

/* What is wrong with one descriptor of the chain. */
static void spoil(struct any_desc *d, uint8_t how)
{
	switch (how & 7) {
	case 0:
		d->addr = addresses[how >> 4];
		break;
	case 1:
		d->len = lengths[how >> 5];
		break;
	case 2:
		d->third ^= 1 << (how >> 4);
		break;
	case 3:
		d->fourth ^= 1 << (how >> 4);
		break;
	case 4:
		d->third = word();
		break;
	case 5:
		d->fourth = word();
		break;
	case 6:
		d->addr = (uint64_t)word() << (how >> 3);
		d->len = word();
		break;
	default:
		for (unsigned i = 0; i < sizeof(*d); i++)
			((uint8_t *)d)[i] = byte();
	}
}

/* Descriptor k of n at `at`, entry i of its table of `of` entries. */
static void put_desc(unsigned at, unsigned k, unsigned n, unsigned i, unsigned of, bool in_table,
		     uint8_t shape, uint8_t bad, unsigned n_out)
{
	uint16_t flags =
		(k + 1 < n ? VIRTQ_DESC_F_NEXT : 0) | (k >= n_out ? VIRTQ_DESC_F_WRITE : 0);
	struct any_desc d = { .addr = addresses[shape + k & 7], .len = lengths[shape >> 3 & 1] };

	if (vq.packed) {
		d.third = next_desc;
		d.fourth = in_table ? flags & VIRTQ_DESC_F_WRITE
				    : flags | (wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED);
	} else {
		d.third = flags;
		d.fourth = (i + 1) % of;
	}
	if (shape & 0x80 && k == (shape >> 4 & 7) % n)
		spoil(&d, bad);
	poke(at, &d, sizeof(d));
}

static void put_table_ref(unsigned at, unsigned table, unsigned n, uint8_t shape, uint8_t bad)
{
	struct any_desc d = { .addr = table, .len = n * 16 };

	if (vq.packed) {
		d.third = next_desc;
		d.fourth =
			VIRTQ_DESC_F_INDIRECT | (wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED);
	} else {
		d.third = VIRTQ_DESC_F_INDIRECT;
	}
	if ((shape & 0xc0) == 0xc0)
		spoil(&d, bad);
	poke(at, &d, sizeof(d));
}

static void step(void)
{
	if (++next_desc >= vq.size) {
		next_desc = 0;
		wrap = !wrap;
	}
}

/* A chain of up to 16 buffers, in the ring or in a table; perhaps with one bad descriptor. */
static void make_chain(void)
{
	uint8_t form = byte(), shape = byte(), bad = shape & 0x80 ? byte() : 0;
	unsigned n = 1 + (form & 15), n_out = form >> 5, of = vq.size;
	unsigned table = TABLES + (next_desc & 31) * 256;
	uint16_t head = next_desc;

	if (!vq.started || odd_place)
		return;
	if (form & 16) {
		for (unsigned k = 0; k < n; k++)
			put_desc(table + k * 16, k, n, k, n, true, shape, bad, n_out);
		put_table_ref(DESC + next_desc * 16, table, n, shape, bad);
		step();
	} else {
		for (unsigned k = 0; k < n; k++) {
			put_desc(DESC + next_desc * 16, k, n, next_desc, of, false, shape, bad,
				 n_out);
			step();
		}
	}
	if (!vq.packed) {
		poke16(DRIVER + 4 + avail_idx % vq.size * 2, head);
		poke16(DRIVER + 2, ++avail_idx);
	}
}

/* Any bytes anywhere among the rings and tables, what the device wrote among them. */
static void overwrite(void)
{
	uint8_t n = 1 + (byte() & 7), buf[8];
	unsigned at = word() % (SHADOW - 8);

	for (unsigned i = 0; i < n; i++)
		buf[i] = byte();
	poke(at, buf, n);
}

/* What the driver says about interrupts, and the available index. */
static void driver_fields(void)
{
	switch (byte() & 3) {
	case 0:
		poke16(DRIVER, word());
		break;
	case 1:
		poke16(DRIVER + 2, word());
		break;
	case 2:
		poke16(DRIVER + 4 + 2 * (vq.size % MAX_SIZE), word());
		break;
	default:
		avail_idx += byte();
		poke16(DRIVER + 2, avail_idx);
	}
}

/* --- the device -------------------------------------------------------------------- */

static bool within(const void *p, size_t len, const uint8_t *area, size_t size)
{
	size_t off = (uintptr_t)p - (uintptr_t)area;

	return off < size && len <= size - off;
}

static void check_chain(const struct vq_chain *c)
{
	uint64_t len[2] = { 0, 0 };
	unsigned n = c->n_out + c->n_in;

	require(n >= 1 && n <= c->max);
	for (unsigned i = 0; i < n; i++) {
		const struct iovec *v = &c->iov[i];
		bool write = i >= c->n_out;

		require(v->iov_len);
		require(within(v->iov_base, v->iov_len, low, LOW) ||
			within(v->iov_base, v->iov_len, high, HIGH_SIZE) ||
			(!write && within(v->iov_base, v->iov_len, rom, ROM_SIZE)));
		len[write] += v->iov_len;
	}
	require(len[0] == c->out_len && len[1] == c->in_len);
	require(len[0] + len[1] <= UINT32_MAX);
	require(c->id < vq.size && c->slots >= 1 && c->slots <= vq.size);
	require(!is_held[c->id]);
}

static void pop(unsigned max)
{
	/* On the heap: a buffer too many is seen. */
	static struct iovec *iov;
	struct vq_chain c = { .max = max };
	bool empty = vq_empty(&vq);
	int rc;

	if (!iov)
		iov = malloc(MAX_IOV * sizeof(*iov));
	c.iov = iov + MAX_IOV - max;
	rc = vq_pop(&vq, &c);
	require(rc == 0 || rc == 1 || rc == -EPROTO);
	require((rc == -EPROTO) == (vq.broken != NULL));
	require(rc != 1 || !empty);
	require(rc != 0 || empty);
	if (rc == 1) {
		check_chain(&c);
		is_held[c.id] = true;
		require(n_held < vq.size);
		held[n_held++] = c;
	}
	require(vq_outstanding(&vq) == n_held);
}

static void push(unsigned k)
{
	struct vq_chain c;

	if (!n_held)
		return;
	k %= n_held;
	c = held[k];
	memmove(&held[k], &held[k + 1], (--n_held - k) * sizeof(c));
	is_held[c.id] = false;
	vq_push(&vq, &c, c.in_len);
	require(vq_outstanding(&vq) == n_held);
}

static void unpop(void)
{
	struct vq_chain c;

	/* Only what was popped last. */
	if (!n_held || vq.broken)
		return;
	c = held[--n_held];
	is_held[c.id] = false;
	vq_unpop(&vq, &c);
	require(vq_outstanding(&vq) == n_held);
}

static void flush(void)
{
	unsigned before = interrupts;

	vq_flush(&vq);
	require(interrupts - before <= 1);
}

static void run(void)
{
	bool may_unpop = false; /* the last thing was a pop that succeeded */

	while (left) {
		uint8_t op = byte();
		unsigned n = n_held;

		switch (op & 15) {
		case 0 ... 6:
			make_chain();
			if (op & 0x80)
				continue;
			pop(MAX_IOV);
			break;
		case 7:
			pop(1 + (op >> 4));
			break;
		case 8:
			for (unsigned i = op >> 4; i < 15 && !vq.broken; i++)
				pop(MAX_IOV);
			break;
		case 9:
			push(op >> 4);
			break;
		case 10:
			while (n_held)
				push(op >> 4);
			flush();
			break;
		case 11:
			flush();
			break;
		case 12:
			if (op & 16)
				vq_enable_notify(&vq);
			else
				vq_disable_notify(&vq);
			break;
		case 13:
			if (may_unpop)
				unpop();
			break;
		case 14:
			overwrite();
			break;
		default:
			if (op & 0x80) {
				stop();
				choose_queue();
				start();
			} else {
				driver_fields();
			}
		}
		may_unpop = n_held > n;
		if (vq.broken && vq.started) {
			/* What the device had still comes back; then the driver resets the queue.
			 */
			while (op & 16 && n_held)
				push(op >> 5);
			flush();
			stop();
			start();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t heap = 0;

	if (__sanitizer_get_current_allocated_bytes)
		heap = __sanitizer_get_current_allocated_bytes();
	memset(low + TABLES, 0, SHADOW - TABLES);
	memset(shadow + TABLES, 0, SHADOW - TABLES);
	input = data;
	left = size;
	choose_queue();
	start();
	run();
	/* However many chains there were: as much memory as one queue takes. */
	if (heap)
		require(__sanitizer_get_current_allocated_bytes() < heap + 65536);
	stop();
	return 0;
}
