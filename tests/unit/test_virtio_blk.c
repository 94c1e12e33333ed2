/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk on real rings in guest memory, as a driver sees it. The drive, the
 * loop and the transport are fakes: the drive keeps each request until the test
 * says in which order they complete and which fail; deferred work runs when the
 * test says that a round of the loop is over.
 */
#include "fake_machine.h"

#include <stdarg.h>

#include "block.h"
#include "iothread.h"
#include "iov.h"
#include "props.h"
#include "virtio.h"
#include "wire/virtio_blk.h"
#include "wire/virtio_ring.h"

extern const struct dev_class virtio_blk_pci_class, virtio_blk_mmio_class;

#define SECTOR VIRTIO_BLK_SECTOR

/* --- the fake drive ------------------------------------------------------------ */

enum { PENDING_MOST = 4096, LOG_MOST = 4096 };

struct blk {
	uint8_t *data;
	uint64_t size;
	bool readonly, writeback, can_discard;
	const char *serial;
	struct blk_limits lim;
	const struct blk_client *client;
	void *ctx;
	struct loop *loop;
	struct blk_req *pending[PENDING_MOST];
	unsigned n_pending;
	struct blk_req log[LOG_MOST]; /* copies of what was submitted */
	unsigned n_log;
	uint64_t bad_off, bad_len; /* requests that touch it fail */
	bool bad_flush, submitting;
	void (*on_submit)(void);
	unsigned drains;
};

static struct blk disk;

static struct loop *const main_loop = (struct loop *)&disk.size, *const io_loop =
									 (struct loop *)&disk.data;

void blk_submit(struct blk *b, struct blk_req *r)
{
	ck_assert_ptr_eq(b, &disk);
	ck_assert_uint_lt(b->n_pending, PENDING_MOST);
	ck_assert_uint_le(r->off, b->size);
	ck_assert_uint_le(r->len, b->size - r->off);
	if (r->op == BLK_READ || r->op == BLK_WRITE) {
		ck_assert_uint_gt(r->len, 0);
		ck_assert_uint_eq(iov_len(r->iov, r->n_iov), r->len);
	} else if (r->op != BLK_FLUSH) {
		ck_assert_uint_gt(r->len, 0);
	}
	if (r->op != BLK_READ && r->op != BLK_FLUSH)
		ck_assert(!b->readonly);
	ck_assert(r->op != BLK_DISCARD || !(r->flags & BLK_UNMAP));
	b->pending[b->n_pending++] = r;
	if (b->n_log < LOG_MOST)
		b->log[b->n_log++] = *r;
	if (b->on_submit)
		b->on_submit();
}

static int carry_out(struct blk *b, struct blk_req *r)
{
	if (r->op == BLK_FLUSH)
		return b->bad_flush ? -EIO : 0;
	if (r->off < b->bad_off + b->bad_len && b->bad_off < r->off + r->len)
		return -EIO;
	if (r->op == BLK_READ)
		iov_from_buf(r->iov, r->n_iov, 0, b->data + r->off, r->len);
	else if (r->op == BLK_WRITE)
		iov_to_buf(r->iov, r->n_iov, 0, b->data + r->off, r->len);
	else if (r->op == BLK_WRITE_ZEROES)
		memset(b->data + r->off, 0, r->len);
	return 0;
}

/* The i-th of those in flight is done. */
static void finish(unsigned i)
{
	struct blk_req *r = disk.pending[i];

	ck_assert_uint_lt(i, disk.n_pending);
	memmove(&disk.pending[i], &disk.pending[i + 1],
		(--disk.n_pending - i) * sizeof(disk.pending[0]));
	r->done(r, carry_out(&disk, r));
}

void blk_drain(struct blk *b)
{
	b->drains++;
	while (b->n_pending)
		finish(b->n_pending / 2);
}

uint64_t blk_size(const struct blk *b)
{
	return b->size;
}

bool blk_readonly(const struct blk *b)
{
	return b->readonly;
}

bool blk_writeback(const struct blk *b)
{
	return b->writeback;
}

void blk_set_writeback(struct blk *b, bool on)
{
	b->writeback = on;
}

bool blk_can_discard(const struct blk *b)
{
	return b->can_discard;
}

const struct blk_limits *blk_limits(const struct blk *b)
{
	return &b->lim;
}

const char *blk_serial(const struct blk *b)
{
	return b->serial;
}

int blk_get(struct blk_set *s, const char *id, struct blk **out, struct err *e)
{
	if (strcmp(id, "d0"))
		return err_set(e, ERR_USAGE, ENOENT, "no drive '%s'", id);
	*out = &disk;
	return 0;
}

int blk_attach(struct blk *b, const struct blk_client *c, void *ctx, bool write, struct loop *loop,
	       struct err *e)
{
	ck_assert(!write || !b->readonly);
	if (b->client)
		return err_set(e, ERR_USAGE, EBUSY, "in use");
	b->client = c;
	b->ctx = ctx;
	b->loop = loop;
	return 0;
}

void blk_detach(struct blk *b)
{
	ck_assert_ptr_nonnull(b->client);
	ck_assert_uint_eq(b->n_pending, 0);
	b->client = NULL;
}

int iothread_get(struct machine *m, const char *id, struct loop **out, struct err *e)
{
	if (id && strcmp(id, "io0"))
		return err_set(e, ERR_USAGE, ENOENT, "iothread=%s: no such iothread", id);
	*out = id ? io_loop : main_loop;
	return 0;
}

/* --- the fake loop --------------------------------------------------------------- */

static struct loop_defer *deferred[VIRTIO_MAX_QUEUES];
static unsigned n_deferred;

void loop_defer(struct loop *l, struct loop_defer *d)
{
	ck_assert_ptr_eq(l, disk.loop);
	if (d->queued)
		return;
	d->queued = true;
	ck_assert_uint_lt(n_deferred, VIRTIO_MAX_QUEUES);
	deferred[n_deferred++] = d;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
	for (unsigned i = 0; i < n_deferred; i++)
		if (deferred[i] == d)
			deferred[i] = deferred[--n_deferred];
	d->queued = false;
}

void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	ck_assert_ptr_eq(l, disk.loop);
	fn(ctx);
}

static void end_round(void)
{
	while (n_deferred) {
		struct loop_defer *d = deferred[0];

		memmove(deferred, deferred + 1, --n_deferred * sizeof(deferred[0]));
		d->queued = false;
		d->cb(d->ctx);
	}
}

/* --- the fake transport ------------------------------------------------------------ */

const struct prop virtio_pci_props[] = { PROP_END }, virtio_mmio_props[] = { PROP_END };

static struct virtio_dev *v;
static unsigned interrupts[VIRTIO_MAX_QUEUES], config_interrupts;
static char broken[256];

struct virtqueue *virtio_add_queue(struct virtio_dev *d, unsigned size)
{
	struct virtqueue *vq = calloc(1, sizeof(*vq));

	ck_assert_uint_lt(d->n_queues, VIRTIO_MAX_QUEUES);
	vq->index = d->n_queues;
	vq->max_size = vq->size = (uint16_t)size;
	vq->owner = d;
	return d->vq[d->n_queues++] = vq;
}

void virtio_broken(struct virtio_dev *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(broken, sizeof(broken), fmt, ap);
	va_end(ap);
	atomic_fetch_or(&d->status, VIRTIO_NEEDS_RESET);
	d->running = false;
}

void virtio_config_changed(struct virtio_dev *d)
{
	atomic_fetch_add(&d->config_generation, 1);
	config_interrupts++;
}

static void stop(void)
{
	if (!v->vq[0]->started)
		return;
	v->running = false;
	v->type->stop(v, NULL);
	for (unsigned i = 0; i < v->n_queues; i++) {
		ck_assert_uint_eq(vq_outstanding(v->vq[i]), 0);
		vq_stop(v->vq[i]);
	}
	ck_assert_uint_eq(n_deferred, 0);
}

static void reset_device(struct dev *d)
{
	stop();
	v->features = 0;
	v->legacy = false;
	v->status = 0;
	v->type->reset(v);
}

int virtio_pci_init(struct dev *d, struct err *e)
{
	v = (struct virtio_dev *)d;
	v->type = d->cls->type;
	v->loop = d->m->loop;
	return v->type->init(v, e);
}

void virtio_pci_reset(struct dev *d)
{
	reset_device(d);
}

void virtio_pci_fini(struct dev *d)
{
	struct virtio_dev *half = (struct virtio_dev *)d;

	if (!half->type) /* its properties were refused */
		return;
	if (half == v && v->n_queues)
		stop();
	half->type->fini(half);
	for (unsigned i = 0; i < half->n_queues; i++)
		free(half->vq[i]);
}

int virtio_mmio_init(struct dev *d, struct err *e)
{
	return virtio_pci_init(d, e);
}

void virtio_mmio_reset(struct dev *d)
{
	reset_device(d);
}

void virtio_mmio_fini(struct dev *d)
{
	virtio_pci_fini(d);
}

static void on_interrupt(struct virtqueue *vq)
{
	interrupts[vq->index]++;
}

/* --- the driver ---------------------------------------------------------------------- */

/*
 * Guest memory: each queue's rings in 64 KiB from 64 KiB on; from 8 MiB on a slot of
 * 4 KiB for the headers and status bytes of each request, and 4 KiB for its data.
 */
#define RINGS 0x10000ull
#define SLOTS 0x800000ull
#define SLOT_BYTES 0x2000ull
enum { MAX_CHAIN = 64, N_SLOTS = 1000 };

struct seg {
	uint64_t gpa;
	uint32_t len;
	bool in;
};

static struct ring {
	unsigned size;
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	uint16_t avail_idx, used_seen;
	unsigned next_desc; /* tests do not wrap around while chains are outstanding */
} rings[VIRTIO_MAX_QUEUES];

/* A request of the test's. */
struct req {
	unsigned q;
	uint16_t head;
	uint64_t slot, data; /* addresses */
	bool used;
	uint32_t len; /* of the used element */
};

static struct req *of_head[VIRTIO_MAX_QUEUES][1024];
static struct req *order[4096]; /* as they were used */
static unsigned n_used, n_slots;

static void *gpa(uint64_t addr, size_t len)
{
	void *p = gmem_ptr(&fake.m.mem, addr, len);

	ck_assert_ptr_nonnull(p);
	return p;
}

static void start_ring(unsigned q)
{
	struct virtqueue *vq = v->vq[q];
	struct ring *r = &rings[q];
	uint64_t at = RINGS + q * 0x10000ull;

	memset(gpa(at, 0x10000), 0, 0x10000);
	vq->desc = at;
	vq->driver = at + 0x8000;
	vq->device = at + 0xa000;
	vq->notify = on_interrupt;
	ck_assert_int_eq(vq_start(vq, &fake.m.mem, v->features, v->legacy), 0);
	*r = (struct ring){ .size = vq->size,
			    .desc = gpa(vq->desc, 1),
			    .avail = gpa(vq->driver, 1),
			    .used = gpa(vq->device, 1) };
}

/* Reset, negotiation, DRIVER_OK. */
static void start(uint64_t features, bool legacy)
{
	reset_device(&v->dev);
	ck_assert_uint_eq(features & ~(v->host_features | VIRTIO_F(VIRTIO_F_VERSION_1)), 0);
	v->legacy = legacy;
	v->features = features | (legacy ? 0 : VIRTIO_F(VIRTIO_F_VERSION_1));
	if (!legacy)
		ck_assert(v->type->features_ok(v));
	for (unsigned q = 0; q < v->n_queues; q++)
		start_ring(q);
	n_used = n_slots = 0;
	memset(interrupts, 0, sizeof(interrupts));
	config_interrupts = 0;
	broken[0] = 0;
	v->type->start(v);
	v->running = true;
}

static void add(const char *props)
{
	fake_add(&virtio_blk_pci_class, props);
	start(v->host_features, false);
}

/* Makes a chain available. */
static uint16_t add_chain(unsigned q, const struct seg *seg, unsigned n)
{
	struct ring *r = &rings[q];
	uint16_t head = (uint16_t)(r->next_desc % r->size);

	for (unsigned i = 0; i < n; i++) {
		unsigned at = r->next_desc++ % r->size;
		uint16_t flags =
			(i + 1 < n ? VIRTQ_DESC_F_NEXT : 0) | (seg[i].in ? VIRTQ_DESC_F_WRITE : 0);

		r->desc[at] =
			(struct virtq_desc){ .addr = cpu_to_le64(seg[i].gpa),
					     .len = cpu_to_le32(seg[i].len),
					     .flags = cpu_to_le16(flags),
					     .next = cpu_to_le16((uint16_t)((at + 1) % r->size)) };
	}
	r->avail->ring[r->avail_idx++ % r->size] = cpu_to_le16(head);
	r->avail->idx = cpu_to_le16(r->avail_idx);
	return head;
}

static void set_header(uint64_t addr, uint32_t type, uint64_t sector)
{
	struct virtio_blk_hdr h = { .type = cpu_to_le32(type), .sector = cpu_to_le64(sector) };

	memcpy(gpa(addr, sizeof(h)), &h, sizeof(h));
}

/* A slot with a header, and a status that the device must overwrite. */
static struct req new_req(unsigned q, uint32_t type, uint64_t sector)
{
	struct req t = { .q = q, .slot = SLOTS + n_slots++ % N_SLOTS * SLOT_BYTES };

	t.data = t.slot + 4096;
	set_header(t.slot, type, sector);
	*(uint8_t *)gpa(t.slot + 16, 1) = 0xee;
	return t;
}

static void post(struct req *t, const struct seg *seg, unsigned n)
{
	t->head = add_chain(t->q, seg, n);
	of_head[t->q][t->head] = t;
}

/* Header, data of len bytes (none if 0), status: each in a descriptor of its own. */
static void post_plain(struct req *t, uint32_t len, bool in)
{
	struct seg seg[3] = { { t->slot, 16, false }, { t->data, len, in } };
	unsigned n = len ? 2 : 1;

	seg[n++] = (struct seg){ t->slot + 16, 1, true };
	post(t, seg, n);
}

static void make(struct req *t, unsigned q, uint32_t type, uint64_t sector, uint32_t len)
{
	*t = new_req(q, type, sector);
	post_plain(t, len, type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID);
}

static void kick(unsigned q)
{
	v->type->kick(v, v->vq[q]);
}

static void collect(unsigned q)
{
	struct ring *r = &rings[q];

	while (r->used_seen != le16_to_cpu(r->used->idx)) {
		struct virtq_used_elem *u = &r->used->ring[r->used_seen++ % r->size];
		struct req *t = of_head[q][le32_to_cpu(u->id) % 1024];

		ck_assert_ptr_nonnull(t);
		ck_assert_msg(!t->used, "used twice");
		of_head[q][le32_to_cpu(u->id)] = NULL;
		t->used = true;
		t->len = le32_to_cpu(u->len);
		order[n_used++ % 4096] = t;
	}
}

/* Everything completes, in order. */
static void settle(void)
{
	do {
		while (disk.n_pending)
			finish(0);
		end_round();
	} while (disk.n_pending);
	for (unsigned q = 0; q < v->n_queues; q++)
		collect(q);
}

static uint8_t status(const struct req *t)
{
	return *(uint8_t *)gpa(t->slot + 16, 1);
}

static void *data(const struct req *t)
{
	return gpa(t->data, 4096);
}

#define ck_status(t, want)                                                                         \
	do {                                                                                       \
		ck_assert((t)->used);                                                              \
		ck_assert_uint_eq(status(t), want);                                                \
	} while (0)

/* One request alone, carried out; its status. */
static uint8_t run(struct req *t, uint32_t type, uint64_t sector, uint32_t len)
{
	make(t, 0, type, sector, len);
	kick(0);
	settle();
	ck_assert(t->used);
	return status(t);
}

#define ck_submitted(i, want_op, want_off, want_len)                                               \
	do {                                                                                       \
		ck_assert_uint_lt(i, disk.n_log);                                                  \
		ck_assert_int_eq(disk.log[i].op, want_op);                                         \
		ck_assert_uint_eq(disk.log[i].off, want_off);                                      \
		ck_assert_uint_eq(disk.log[i].len, want_len);                                      \
	} while (0)

static void setup(void)
{
	fake_setup();
	memset(&disk, 0, sizeof(disk));
	disk.size = 1 << 20;
	disk.data = malloc(disk.size);
	for (uint64_t i = 0; i < disk.size; i++)
		disk.data[i] = (uint8_t)(i * 7 + i / 512);
	disk.writeback = true;
	disk.lim = (struct blk_limits){ .align = 1, .mem_align = 1, .max_iov = 1024 };
	fake.m.loop = main_loop;
	memset(of_head, 0, sizeof(of_head));
	n_deferred = 0;
	v = NULL;
}

static void teardown(void)
{
	fake_teardown();
	ck_assert_ptr_null(disk.client);
	free(disk.data);
}

/* --- set-up -------------------------------------------------------------------------- */

static struct virtio_blk_config config(void)
{
	struct virtio_blk_config c;

	ck_assert_uint_eq(v->config_size, sizeof(c));
	v->type->config_read(v, 0, &c, sizeof(c));
	return c;
}

static bool offers(unsigned bit)
{
	return v->host_features >> bit & 1;
}

START_TEST(default_configuration)
{
	struct virtio_blk_config c;

	add("drive=d0");
	c = config();
	ck_assert_uint_eq(le64_to_cpu(c.capacity), 2048);
	ck_assert_uint_eq(le32_to_cpu(c.size_max), 0);
	ck_assert_uint_eq(le32_to_cpu(c.seg_max), 254);
	ck_assert_uint_eq(c.geometry.heads, 16);
	ck_assert_uint_eq(c.geometry.sectors, 63);
	ck_assert_uint_eq(le16_to_cpu(c.geometry.cylinders), 2);
	ck_assert_uint_eq(le32_to_cpu(c.blk_size), 512);
	ck_assert_uint_eq(c.topology.physical_block_exp, 0);
	ck_assert_uint_eq(c.writeback, 1);
	ck_assert_uint_eq(le16_to_cpu(c.num_queues), 1);
	ck_assert_uint_eq(le32_to_cpu(c.max_discard_sectors), 0);
	ck_assert_uint_eq(le32_to_cpu(c.max_write_zeroes_sectors), 4194303);
	ck_assert_uint_eq(le32_to_cpu(c.max_write_zeroes_seg), 256);
	ck_assert_uint_eq(c.write_zeroes_may_unmap, 0);
	ck_assert_uint_eq(v->host_features & 0xffffff,
			  1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_GEOMETRY |
				  1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_FLUSH |
				  1 << VIRTIO_BLK_F_TOPOLOGY | 1 << VIRTIO_BLK_F_CONFIG_WCE |
				  1 << VIRTIO_BLK_F_WRITE_ZEROES);
	ck_assert_ptr_eq(disk.loop, main_loop);
}
END_TEST

START_TEST(configuration_by_properties)
{
	struct virtio_blk_config c;
	uint8_t part[4];

	disk.can_discard = true;
	disk.lim.block_size = 4096;
	disk.lim.opt_io = 65536;
	disk.lim.discard_align = 4096;
	disk.lim.max_iov = 100;
	disk.size -= 512; /* not a whole number of blocks */
	add("drive=d0,num-queues=5,queue-size=1024,logical_block_size=1K,min_io_size=2048,"
	    "max-discard-sectors=77,max-write-zeroes-sectors=99,iothread=io0,config-wce=off");
	c = config();
	ck_assert_uint_eq(le64_to_cpu(c.capacity), 2046);
	ck_assert_uint_eq(le32_to_cpu(c.seg_max), 100);
	ck_assert_uint_eq(le32_to_cpu(c.blk_size), 1024);
	ck_assert_uint_eq(c.topology.physical_block_exp, 2);
	ck_assert_uint_eq(le16_to_cpu(c.topology.min_io_size), 2);
	ck_assert_uint_eq(le32_to_cpu(c.topology.opt_io_size), 64);
	ck_assert_uint_eq(le16_to_cpu(c.num_queues), 5);
	ck_assert_uint_eq(le32_to_cpu(c.max_discard_sectors), 77);
	ck_assert_uint_eq(le32_to_cpu(c.max_discard_seg), 256);
	ck_assert_uint_eq(le32_to_cpu(c.discard_sector_alignment), 8);
	ck_assert_uint_eq(le32_to_cpu(c.max_write_zeroes_sectors), 99);
	ck_assert_uint_eq(c.write_zeroes_may_unmap, 1);
	ck_assert(offers(VIRTIO_BLK_F_MQ));
	ck_assert(offers(VIRTIO_BLK_F_DISCARD));
	ck_assert(!offers(VIRTIO_BLK_F_CONFIG_WCE));
	ck_assert_ptr_eq(disk.loop, io_loop);
	ck_assert_uint_eq(v->n_queues, 5);
	ck_assert_uint_eq(v->vq[4]->max_size, 1024);
	/* In parts, as drivers read it. */
	v->type->config_read(v, offsetof(struct virtio_blk_config, num_queues), part, 2);
	ck_assert_uint_eq(part[0], 5);
	v->type->config_read(v, 59, part, 1);
	ck_assert_uint_eq(part[0], 0);
}
END_TEST

START_TEST(offers_by_property_and_drive)
{
	static const struct {
		const char *props;
		bool readonly, can_discard, discard, zeroes;
	} rows[] = {
		{ "drive=d0", false, false, false, true },
		{ "drive=d0", false, true, true, true },
		{ "drive=d0,discard=on", false, false, true, true },
		{ "drive=d0,discard=off,write-zeroes=off", false, true, false, false },
		{ "drive=d0,discard=on", true, true, false, false },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		disk.readonly = rows[i].readonly;
		disk.can_discard = rows[i].can_discard;
		add(rows[i].props);
		ck_assert(offers(VIRTIO_BLK_F_DISCARD) == rows[i].discard);
		ck_assert(offers(VIRTIO_BLK_F_WRITE_ZEROES) == rows[i].zeroes);
		ck_assert(offers(VIRTIO_BLK_F_RO) == rows[i].readonly);
		machine_remove_devices(&fake.m);
	}
	disk.readonly = false;
	fake.m.n_cpus = 4;
	add("drive=d0");
	ck_assert_uint_eq(v->n_queues, 4);
	machine_remove_devices(&fake.m);
	fake.m.n_cpus = 200;
	add("drive=d0");
	ck_assert_uint_eq(v->n_queues, 16);
	machine_remove_devices(&fake.m);
	fake_add(&virtio_blk_mmio_class, "drive=d0,num-queues=64");
	ck_assert_uint_eq(v->n_queues, 64);
}
END_TEST

START_TEST(bad_properties)
{
	static const struct {
		const char *props, *says;
	} rows[] = {
		{ "", "drive= is missing" },
		{ "drive=nope", "'nope'" },
		{ "drive=d0,iothread=zz", "iothread=zz" },
		{ "drive=d0,queue-size=3", "queue-size=3: is not a power of two" },
		{ "drive=d0,queue-size=0", "queue-size=0" },
		{ "drive=d0,queue-size=2048", "between 2 and 1024" },
		{ "drive=d0,num-queues=0", "num-queues=0" },
		{ "drive=d0,num-queues=65", "between 1 and 64" },
		{ "drive=d0,logical_block_size=513", "logical_block_size=513" },
		{ "drive=d0,logical_block_size=4194304", "logical_block_size=4194304" },
		{ "drive=d0,physical_block_size=1000", "physical_block_size=1000" },
		{ "drive=d0,logical_block_size=4096,physical_block_size=512", "smaller than" },
		{ "drive=d0,min_io_size=100", "min_io_size=100" },
		{ "drive=d0,min_io_size=33554432", "min_io_size=33554432" },
		{ "drive=d0,opt_io_size=100", "opt_io_size=100" },
		{ "drive=d0,max-discard-sectors=0", "max-discard-sectors=0" },
		{ "drive=d0,discard=maybe", "maybe" },
		{ "drive=d0,share-rw=on", "share-rw=on" },
	};
	struct err e;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_msg(fake_try_add(&virtio_blk_pci_class, rows[i].props, NULL, &e) < 0,
			      "%s", rows[i].props);
		ck_assert_msg(strstr(e.msg, rows[i].says), "%s: %s", rows[i].props, e.msg);
		ck_assert_ptr_null(disk.client);
	}
	fake_try_add(&virtio_blk_pci_class, "", NULL, &e);
	ck_assert_ptr_nonnull(strstr(e.hint, "drive=d0"));
	add("drive=d0");
	ck_assert_int_eq(fake_try_add(&virtio_blk_pci_class, "drive=d0", NULL, &e), -EBUSY);
	v = (struct virtio_dev *)fake.m.devices;
}
END_TEST

/* --- requests ------------------------------------------------------------------------- */

START_TEST(reads_and_writes)
{
	struct req t;

	add("drive=d0");
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 5, 1024), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(data(&t), disk.data + 5 * SECTOR, 1024);
	ck_assert_uint_eq(t.len, 1025);
	ck_submitted(0, BLK_READ, 5 * SECTOR, 1024);

	make(&t, 0, VIRTIO_BLK_T_OUT, 2046, 1024);
	memset(data(&t), 0x5a, 1024);
	kick(0);
	ck_assert_uint_eq(status(&t), 0xee);
	settle();
	ck_status(&t, VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(t.len, 1);
	ck_assert_uint_eq(disk.data[disk.size - 1025], (uint8_t)((disk.size - 1025) * 7 + 2045));
	ck_assert_uint_eq(disk.data[disk.size - 1024], 0x5a);
	ck_assert_uint_eq(disk.data[disk.size - 1], 0x5a);

	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_submitted(3, BLK_FLUSH, 0, 0);
	ck_assert_uint_eq(t.len, 1);
	/* Nothing to do is done. */
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 2048, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_OUT, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 4);
}
END_TEST

START_TEST(host_errors)
{
	struct req t;

	add("drive=d0");
	disk.bad_off = 10 * SECTOR;
	disk.bad_len = 1;
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 10, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(t.len, 0); /* no data, so nothing from the first byte on */
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_OUT, 9, 1024), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(t.len, 1);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 11, 512), VIRTIO_BLK_S_OK);
	disk.bad_flush = true;
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
}
END_TEST

START_TEST(out_of_range)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} rows[] = {
		{ 2047, 512, VIRTIO_BLK_S_OK },
		{ 2047, 1024, VIRTIO_BLK_S_IOERR },
		{ 2048, 512, VIRTIO_BLK_S_IOERR },
		{ 2049, 0, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX / 512, 512, VIRTIO_BLK_S_IOERR },
		{ 1ull << 55, 512, VIRTIO_BLK_S_IOERR }, /* times 512 is 0 */
		{ 0, 511, VIRTIO_BLK_S_IOERR },
		{ 0, 513, VIRTIO_BLK_S_IOERR },
		{ 0, 1, VIRTIO_BLK_S_IOERR },
	};
	struct req t;

	add("drive=d0");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, rows[i].sector, rows[i].len),
				  rows[i].status);
		ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_OUT, rows[i].sector, rows[i].len),
				  rows[i].status);
	}
	ck_assert_uint_eq(disk.n_log, 2);
	ck_assert_str_eq(broken, "");
}
END_TEST

START_TEST(readonly_drive)
{
	struct virtio_blk_range range = { .num_sectors = cpu_to_le32(1) };
	struct req t;

	disk.readonly = true;
	add("drive=d0");
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_OUT, 0, 0), VIRTIO_BLK_S_IOERR);
	for (unsigned type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
		make(&t, 0, type, 0, sizeof(range));
		memcpy(data(&t), &range, sizeof(range));
		kick(0);
		settle();
		ck_status(&t, VIRTIO_BLK_S_IOERR);
	}
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(unsupported)
{
	static const uint32_t types[] = {
		2, 3, 5, 6, 7, 9, 10, 12, 14, 16, 0x80000000, UINT32_MAX
	};
	struct req t;

	add("drive=d0,write-zeroes=off");
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		ck_assert_uint_eq(run(&t, types[i], 0, 512), VIRTIO_BLK_S_UNSUPP);
		ck_assert_uint_eq(t.len, 1);
	}
	/* Not offered, so not known. */
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(disk.n_log, 0);
	/* Legacy drivers have a second name for FLUSH. */
	start(0, true);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_FLUSH_OUT, 0, 0), VIRTIO_BLK_S_OK);
	ck_submitted(0, BLK_FLUSH, 0, 0);
}
END_TEST

START_TEST(get_id)
{
	struct req t;
	static const struct {
		uint32_t room, used;
	} rows[] = { { 20, 21 }, { 5, 6 }, { 1, 2 }, { 30, 20 }, { 0, 1 } };

	disk.serial = "drive's";
	add("drive=d0,serial=WD-12345");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t n = rows[i].room < 20 ? rows[i].room : 20;

		make(&t, 0, VIRTIO_BLK_T_GET_ID, 0, rows[i].room);
		memset(data(&t), 0xcc, 64);
		kick(0);
		settle();
		ck_status(&t, VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(t.len, rows[i].used);
		ck_assert_mem_eq(data(&t), "WD-12345\0\0\0\0\0\0\0\0\0\0\0\0", n);
		ck_assert_uint_eq(((uint8_t *)data(&t))[n], 0xcc);
	}
	machine_remove_devices(&fake.m);
	add("drive=d0");
	run(&t, VIRTIO_BLK_T_GET_ID, 0, 20);
	ck_assert_mem_eq(data(&t), "drive's\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	machine_remove_devices(&fake.m);
	add("drive=d0,serial=0123456789abcdefghijKLM");
	run(&t, VIRTIO_BLK_T_GET_ID, 0, 20);
	ck_assert_mem_eq(data(&t), "0123456789abcdefghij", 20);
	machine_remove_devices(&fake.m);
	disk.serial = NULL;
	add("drive=d0");
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(data(&t), "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
}
END_TEST

/* --- discard and write zeroes ----------------------------------------------------------- */

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

static uint8_t run_ranges(struct req *t, uint32_t type, const struct range *range, unsigned n,
			  unsigned extra)
{
	struct virtio_blk_range *w;

	make(t, 0, type, 0, (uint32_t)(n * sizeof(*w)) + extra);
	w = data(t);
	for (unsigned i = 0; i < n; i++)
		w[i] = (struct virtio_blk_range){ cpu_to_le64(range[i].sector),
						  cpu_to_le32(range[i].n),
						  cpu_to_le32(range[i].flags) };
	kick(0);
	settle();
	ck_assert(t->used);
	ck_assert_uint_eq(t->len, 1);
	return status(t);
}

START_TEST(ranges)
{
	static const struct range three[] = { { 1, 2, 0 }, { 100, 0, 0 }, { 2040, 8, 0 } };
	static const struct range unmap[] = { { 4, 4, VIRTIO_BLK_RANGE_UNMAP }, { 9, 1, 0 } };
	static const struct range none[] = { { 0, 0, 0 } };
	struct req t;

	disk.can_discard = true;
	add("drive=d0");
	ck_assert_uint_eq(run_ranges(&t, VIRTIO_BLK_T_DISCARD, three, 3, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 2);
	ck_submitted(0, BLK_DISCARD, 1 * SECTOR, 2 * SECTOR);
	ck_submitted(1, BLK_DISCARD, 2040 * SECTOR, 8 * SECTOR);
	ck_assert_uint_eq(run_ranges(&t, VIRTIO_BLK_T_WRITE_ZEROES, unmap, 2, 0), VIRTIO_BLK_S_OK);
	ck_submitted(2, BLK_WRITE_ZEROES, 4 * SECTOR, 4 * SECTOR);
	ck_assert_uint_eq(disk.log[2].flags, BLK_UNMAP);
	ck_submitted(3, BLK_WRITE_ZEROES, 9 * SECTOR, SECTOR);
	ck_assert_uint_eq(disk.log[3].flags, 0);
	ck_assert_uint_eq(disk.data[9 * SECTOR], 0);
	ck_assert_uint_eq(run_ranges(&t, VIRTIO_BLK_T_DISCARD, none, 1, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 4);
	/* The first that fails ends it. */
	disk.bad_off = 1 * SECTOR;
	disk.bad_len = 1;
	ck_assert_uint_eq(run_ranges(&t, VIRTIO_BLK_T_DISCARD, three, 3, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(disk.n_log, 5);
	/* A plain request afterwards has no flags of theirs. */
	ck_assert_uint_eq(run_ranges(&t, VIRTIO_BLK_T_WRITE_ZEROES, unmap, 1, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_OUT, 20, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(disk.log[5].flags, BLK_UNMAP);
	ck_assert_uint_eq(disk.log[6].flags, 0);
}
END_TEST

START_TEST(bad_ranges)
{
	static const struct {
		uint32_t type;
		struct range range[2];
		unsigned n, extra;
		uint8_t status;
	} rows[] = {
		{ VIRTIO_BLK_T_DISCARD, { { 0, 1, 1 } }, 1, 0, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 1, 2 } }, 1, 0, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 0, 1, 2 } }, 1, 0, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 0, 1, 1u << 31 } }, 1, 0, VIRTIO_BLK_S_UNSUPP },
		/* unknown bits count before the range does */
		{ VIRTIO_BLK_T_DISCARD,
		  { { 9999, 1, 0 }, { 0, 1, 1 } },
		  2,
		  0,
		  VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 0, 0 } }, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 1, 0 } }, 1, 8, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 1, 0 } }, 0, 15, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, { { 2047, 2, 0 } }, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 1, 0 }, { 2048, 1, 0 } }, 2, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { UINT64_MAX, 1, 0 } }, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 1, UINT32_MAX, 0 } }, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 1ull << 55, 1, 0 } }, 1, 0, VIRTIO_BLK_S_IOERR },
		/* more than max-discard-sectors, max-write-zeroes-sectors */
		{ VIRTIO_BLK_T_DISCARD, { { 0, 101, 0 } }, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 0, 201, 0 } }, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 100, 0 } }, 1, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 0, 200, 0 } }, 1, 0, VIRTIO_BLK_S_OK },
	};
	struct req t;

	disk.can_discard = true;
	add("drive=d0,max-discard-sectors=100,max-write-zeroes-sectors=200");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned before = disk.n_log;

		ck_assert_msg(run_ranges(&t, rows[i].type, rows[i].range, rows[i].n,
					 rows[i].extra) == rows[i].status,
			      "row %u: %u", i, status(&t));
		ck_assert_uint_eq(disk.n_log - before, rows[i].status == VIRTIO_BLK_S_OK);
	}
	/* One more than max_discard_seg: two descriptors of 2 KiB and a bit of the slot. */
	t = new_req(0, VIRTIO_BLK_T_DISCARD, 0);
	memset(gpa(t.data, 4096), 0, 4096);
	post(&t,
	     (struct seg[]){ { t.slot, 16, false },
			     { t.data, 4096, false },
			     { t.data, 16, false },
			     { t.slot + 16, 1, true } },
	     4);
	kick(0);
	settle();
	ck_status(&t, VIRTIO_BLK_S_IOERR);
	/* And exactly as many, all empty. */
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_DISCARD, 0, 4096), VIRTIO_BLK_S_OK);
}
END_TEST

/* --- layouts ---------------------------------------------------------------------------- */

/* Cuts the range into pieces of `piece` bytes. */
static unsigned cut(struct seg *out, uint64_t at, uint32_t len, uint32_t piece, bool in)
{
	unsigned n = 0;

	for (; len; n++) {
		uint32_t part = len < piece ? len : piece;

		out[n] = (struct seg){ at, part, in };
		at += part;
		len -= part;
	}
	return n;
}

/* Header, data and status lie one after the other, cut anywhere. */
START_TEST(any_layout)
{
	static const uint32_t pieces[] = { 1, 3, 16, 17, 511, 512, 529, 4096 };
	struct seg seg[MAX_CHAIN * 64];

	add("drive=d0,queue-size=1024");
	for (unsigned i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		for (unsigned k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
			struct req t;
			unsigned n;

			/* write: header and data run on; status has its own */
			t = new_req(0, VIRTIO_BLK_T_OUT, 7);
			t.data = t.slot + 100;
			set_header(t.data, VIRTIO_BLK_T_OUT, 7);
			memset(gpa(t.data + 16, 512), (int)(i * 16 + k), 512);
			n = cut(seg, t.data, 16 + 512, pieces[i], false);
			seg[n++] = (struct seg){ t.slot + 16, 1, true };
			post(&t, seg, n);
			kick(0);
			settle();
			ck_status(&t, VIRTIO_BLK_S_OK);
			ck_assert_uint_eq(disk.data[7 * SECTOR], i * 16 + k);
			ck_assert_uint_eq(disk.data[8 * SECTOR - 1], i * 16 + k);

			/* read: data and status run on; the last byte of all is the status */
			t = new_req(0, VIRTIO_BLK_T_IN, 7);
			n = cut(seg, t.slot, 16, pieces[k], false);
			n += cut(seg + n, t.data, 512 + 1, pieces[i], true);
			*(uint8_t *)gpa(t.data + 512, 1) = 0xee;
			memset(data(&t), 0xff, 512);
			post(&t, seg, n);
			kick(0);
			settle();
			ck_assert(t.used);
			ck_assert_uint_eq(t.len, 513);
			ck_assert_uint_eq(*(uint8_t *)gpa(t.data + 512, 1), VIRTIO_BLK_S_OK);
			ck_assert_mem_eq(data(&t), disk.data + 7 * SECTOR, 512);
		}
	}
	ck_assert_str_eq(broken, "");
}
END_TEST

/* Buffers of the wrong direction are no data. */
START_TEST(extra_buffers)
{
	struct req t;

	add("drive=d0");
	t = new_req(0, VIRTIO_BLK_T_IN, 3);
	post(&t,
	     (struct seg[]){ { t.slot, 16, false },
			     { t.slot + 64, 100, false },
			     { t.data, 512, true },
			     { t.slot + 16, 1, true } },
	     4);
	kick(0);
	settle();
	ck_status(&t, VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(data(&t), disk.data + 3 * SECTOR, 512);

	t = new_req(0, VIRTIO_BLK_T_OUT, 3);
	memset(data(&t), 0x77, 512);
	post(&t,
	     (struct seg[]){ { t.slot, 16, false },
			     { t.data, 512, false },
			     { t.slot + 64, 100, true },
			     { t.slot + 16, 1, true } },
	     4);
	kick(0);
	settle();
	ck_status(&t, VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(disk.data[3 * SECTOR], 0x77);
	ck_assert_uint_eq(t.len, 0); /* those 100 bytes were not written */
}
END_TEST

/* Longer than what a request has room for from the start; and again, in what it has grown to. */
START_TEST(long_chains)
{
	struct seg seg[1024];

	add("drive=d0,queue-size=1024");
	for (unsigned segs = 1; segs <= 1022; segs = segs * 2 + 1) {
		struct req t = new_req(0, VIRTIO_BLK_T_IN, 0);
		unsigned n = 1;

		seg[0] = (struct seg){ t.slot, 16, false };
		for (; n <= segs; n++)
			seg[n] = (struct seg){ t.data + (n - 1) % 8 * 512, 512, true };
		seg[n++] = (struct seg){ t.slot + 16, 1, true };
		post(&t, seg, n);
		kick(0);
		settle();
		ck_status(&t, VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(t.len, segs * 512 + 1);
		ck_assert_mem_eq(gpa(t.data + (segs - 1) % 8 * 512, 512),
				 disk.data + (segs - 1) * 512, 512);
	}
}
END_TEST

START_TEST(malformed_chains)
{
	static const struct {
		struct seg seg[3];
		unsigned n;
		const char *says;
	} rows[] = {
		{ { { 0, 16, false } }, 1, "no room for its status" },
		{ { { 0, 16, false }, { 4096, 512, false } }, 2, "no room for its status" },
		{ { { 0, 15, false }, { 16, 1, true } }, 2, "too short for its header" },
		{ { { 0, 8, false }, { 8, 7, false }, { 16, 1, true } }, 3, "too short" },
		{ { { 16, 1, true } }, 1, "too short for its header" },
		{ { { 4096, 512, true }, { 16, 1, true } }, 2, "too short for its header" },
	};

	add("drive=d0,num-queues=2");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct req good[3], bad;
		struct seg seg[3];

		start(v->host_features, false);
		make(&good[0], 1, VIRTIO_BLK_T_IN, 0, 512);
		kick(1);
		make(&good[1], 0, VIRTIO_BLK_T_IN, 0, 512);
		bad = new_req(0, VIRTIO_BLK_T_IN, 0);
		for (unsigned k = 0; k < rows[i].n; k++) {
			seg[k] = rows[i].seg[k];
			seg[k].gpa += bad.slot;
		}
		post(&bad, seg, rows[i].n);
		make(&good[2], 0, VIRTIO_BLK_T_IN, 0, 512);
		kick(0);
		ck_assert_msg(strstr(broken, rows[i].says), "row %u: %s", i, broken);
		ck_assert_ptr_nonnull(strstr(broken, "queue 0"));
		/* What was asked for before still completes, nothing after it does. */
		settle();
		ck_status(&good[0], VIRTIO_BLK_S_OK);
		ck_status(&good[1], VIRTIO_BLK_S_OK);
		ck_assert(!bad.used);
		ck_assert(!good[2].used);
		vq_stop(v->vq[0]); /* the bad chain stays outstanding */
		start_ring(0);
		of_head[0][bad.head] = of_head[0][good[2].head] = NULL;
	}
	/* A broken ring is told the same way. */
	start(v->host_features, false);
	rings[0].avail->idx = cpu_to_le16(300);
	kick(0);
	ck_assert_ptr_nonnull(strstr(broken, "queue 0: "));
	ck_assert(!v->running);
}
END_TEST

/* --- merging ------------------------------------------------------------------------------- */

static void make_many(struct req *t, unsigned n, uint32_t type, uint64_t sector, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		make(&t[i], 0, type, sector + i * len / SECTOR, len);
		memset(data(&t[i]), (int)(0x10 + i), len);
	}
}

START_TEST(merges_what_is_adjacent)
{
	struct req w[20], r[20];

	add("drive=d0");
	make_many(w, 20, VIRTIO_BLK_T_OUT, 8, 4096);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 1);
	ck_submitted(0, BLK_WRITE, 8 * SECTOR, 20 * 4096);
	settle();
	make_many(r, 20, VIRTIO_BLK_T_IN, 8, 4096);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 2);
	settle();
	for (unsigned i = 0; i < 20; i++) {
		ck_status(&w[i], VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(w[i].len, 1);
		ck_status(&r[i], VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(r[i].len, 4097);
		ck_assert_uint_eq(disk.data[8 * SECTOR + i * 4096], 0x10 + i);
		ck_assert_mem_eq(data(&r[i]), data(&w[i]), 4096);
		ck_assert_ptr_eq(order[i], &w[i]);
	}
	ck_assert_uint_eq(interrupts[0], 2);
}
END_TEST

START_TEST(merges_nothing_else)
{
	/* Neighbours in the queue, none of which may become one request. */
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t len;
	} rows[] = {
		{ VIRTIO_BLK_T_OUT, 0, 1024 }, { VIRTIO_BLK_T_OUT, 1, 512 }, /* overlaps */
		{ VIRTIO_BLK_T_OUT, 1, 512 }, /* again */
		{ VIRTIO_BLK_T_OUT, 3, 512 }, /* a gap */
		{ VIRTIO_BLK_T_OUT, 2, 512 }, /* descends */
		{ VIRTIO_BLK_T_IN, 3, 512 }, /* another kind */
		{ VIRTIO_BLK_T_OUT, 4, 512 },  { VIRTIO_BLK_T_FLUSH, 0, 0 },
		{ VIRTIO_BLK_T_OUT, 5, 512 }, /* after a flush */
	};
	struct req t[9];

	add("drive=d0,num-queues=2");
	for (unsigned i = 0; i < 9; i++)
		make(&t[i], 0, rows[i].type, rows[i].sector, rows[i].len);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 9);
	for (unsigned i = 0; i < 9; i++) {
		enum blk_op op = rows[i].type == VIRTIO_BLK_T_IN    ? BLK_READ
				 : rows[i].type == VIRTIO_BLK_T_OUT ? BLK_WRITE
								    : BLK_FLUSH;

		ck_submitted(i, op, rows[i].sector * SECTOR, rows[i].len); /* and in order */
	}
	settle();
	/* Nor across kicks or queues. */
	disk.n_log = 0;
	make(&t[0], 0, VIRTIO_BLK_T_IN, 0, 512);
	kick(0);
	make(&t[1], 0, VIRTIO_BLK_T_IN, 1, 512);
	kick(0);
	make(&t[2], 1, VIRTIO_BLK_T_IN, 2, 512);
	kick(1);
	ck_assert_uint_eq(disk.n_log, 3);
	settle();
	/* What is answered at once does not come between. */
	disk.n_log = 0;
	make(&t[0], 0, VIRTIO_BLK_T_IN, 0, 512);
	make(&t[1], 0, VIRTIO_BLK_T_GET_ID, 0, 20);
	make(&t[2], 0, VIRTIO_BLK_T_IN, 9999, 512);
	make(&t[3], 0, VIRTIO_BLK_T_IN, 1, 512);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 1);
	settle();
	ck_status(&t[3], VIRTIO_BLK_S_OK);
	/* Nor when it is off. */
	machine_remove_devices(&fake.m);
	add("drive=d0,request-merging=off");
	disk.n_log = 0;
	make_many(t, 4, VIRTIO_BLK_T_IN, 0, 512);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 4);
	settle();
}
END_TEST

START_TEST(merges_within_bounds)
{
	static struct req t[300];

	add("drive=d0,queue-size=1024");
	make_many(t, 200, VIRTIO_BLK_T_IN, 0, 4096);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 2); /* 512 KiB */
	ck_submitted(0, BLK_READ, 0, 512 << 10);
	settle();
	disk.n_log = 0;
	make_many(t, 300, VIRTIO_BLK_T_IN, 0, 512);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 2); /* 256 buffers */
	ck_assert_uint_eq(disk.log[0].n_iov, 256);
	settle();
	machine_remove_devices(&fake.m);
	disk.lim.max_iov = 3;
	disk.lim.max_len = 4096;
	add("drive=d0");
	disk.n_log = 0;
	make_many(t, 6, VIRTIO_BLK_T_IN, 0, 512);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 2);
	settle();
	disk.n_log = 0;
	make_many(t, 4, VIRTIO_BLK_T_IN, 0, 2048);
	kick(0);
	ck_assert_uint_eq(disk.n_log, 2);
	settle();
}
END_TEST

/* When a merged request fails, only the bad one of it fails. */
START_TEST(merged_failure)
{
	struct req t[10];

	add("drive=d0");
	for (unsigned bad = 0; bad < 10; bad++) {
		disk.n_log = 0;
		disk.bad_off = (8 + bad) * SECTOR;
		disk.bad_len = SECTOR;
		make_many(t, 10, bad & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 8, 512);
		kick(0);
		ck_assert_uint_eq(disk.n_log, 1);
		settle();
		ck_assert_uint_eq(disk.n_log, 11);
		for (unsigned i = 0; i < 10; i++) {
			ck_submitted(1 + i, bad & 1 ? BLK_READ : BLK_WRITE, (8 + i) * SECTOR, 512);
			ck_status(&t[i], i == bad ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
			if (i != bad && !(bad & 1))
				ck_assert_uint_eq(disk.data[(8 + i) * SECTOR], 0x10 + i);
			if (i != bad && bad & 1)
				ck_assert_mem_eq(data(&t[i]), disk.data + (8 + i) * SECTOR, 512);
		}
	}
}
END_TEST

/* --- completion, reset -------------------------------------------------------------------------
 */

START_TEST(completes_in_any_order)
{
	static const unsigned pick[] = { 3, 0, 1, 0, 0 };
	static const unsigned want[] = { 3, 0, 2, 1, 4 };
	struct req t[5];

	add("drive=d0");
	for (unsigned i = 0; i < 5; i++)
		make(&t[i], 0, VIRTIO_BLK_T_IN, 100 * i, 512);
	kick(0);
	ck_assert_uint_eq(disk.n_pending, 5);
	for (unsigned i = 0; i < 5; i++) {
		finish(pick[i]);
		collect(0);
		ck_assert_uint_eq(n_used, 0); /* not before the round is over */
	}
	end_round();
	settle();
	ck_assert_uint_eq(n_used, 5);
	ck_assert_uint_eq(interrupts[0], 1);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_ptr_eq(order[i], &t[want[i]]);
}
END_TEST

START_TEST(publishes_once_a_round)
{
	struct req t[40];

	add("drive=d0,num-queues=2");
	for (unsigned i = 0; i < 20; i++)
		make(&t[i], i & 1, VIRTIO_BLK_T_GET_ID, 0, 20);
	kick(0);
	kick(1);
	for (unsigned i = 20; i < 40; i++)
		make(&t[i], i & 1, VIRTIO_BLK_T_IN, 10 * i, 512);
	kick(0);
	kick(1);
	while (disk.n_pending)
		finish(0);
	ck_assert_uint_eq(interrupts[0] + interrupts[1], 0);
	settle();
	ck_assert_uint_eq(interrupts[0], 1);
	ck_assert_uint_eq(interrupts[1], 1);
	ck_assert_uint_eq(n_used, 40);
}
END_TEST

/* What completes in the round of a kick is published before the drive sends what the kick brought.
 */
static unsigned sent_after;

static void send_deferred(void *ctx)
{
	sent_after = interrupts[0];
}

static void defer_sending(void)
{
	static struct loop_defer send = { .cb = send_deferred };

	loop_defer(disk.loop, &send);
}

START_TEST(publishes_before_the_drive_sends)
{
	struct req t[2];

	add("drive=d0");
	make(&t[0], 0, VIRTIO_BLK_T_IN, 0, 512);
	kick(0);
	end_round();
	disk.on_submit = defer_sending;
	make(&t[1], 0, VIRTIO_BLK_T_IN, 9, 512);
	kick(0);
	finish(0);
	end_round();
	ck_assert_uint_eq(sent_after, 1);
	settle();
	ck_status(&t[1], VIRTIO_BLK_S_OK);
}
END_TEST

/* Without event indices the ring's flag says whether the driver has to ring. */
START_TEST(doorbell_is_off_while_working)
{
	struct req t;

	add("drive=d0");
	make(&t, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
	kick(0);
	ck_assert_uint_eq(le16_to_cpu(rings[0].used->flags), 0);
	settle();
}
END_TEST

/* A driver that adds a chain for each that is taken. */
static struct req relay[64];
static unsigned relay_n, relay_max;

static void relay_next(void)
{
	ck_assert_uint_eq(le16_to_cpu(rings[0].used->flags), VIRTQ_USED_F_NO_NOTIFY);
	if (relay_n < relay_max) {
		make(&relay[relay_n], 0, VIRTIO_BLK_T_FLUSH, 0, 0);
		relay_n++;
	}
}

START_TEST(sees_what_comes_while_working)
{
	add("drive=d0,queue-size=16");
	disk.on_submit = relay_next;
	relay_max = 8;
	relay_n = 1;
	make(&relay[0], 0, VIRTIO_BLK_T_FLUSH, 0, 0);
	kick(0);
	ck_assert_uint_eq(disk.n_pending, 8); /* noticed without a doorbell */
	ck_assert_uint_eq(le16_to_cpu(rings[0].used->flags), 0);
	settle();
	ck_assert_uint_eq(n_used, 8);
}
END_TEST

START_TEST(reset_in_flight)
{
	struct req t[30];

	add("drive=d0,num-queues=3");
	for (unsigned round = 0; round < 3; round++) {
		disk.n_log = 0;
		disk.bad_off = round == 1 ? 2 * SECTOR : 0; /* merged, and tried again meanwhile */
		disk.bad_len = round == 1 ? 1 : 0;
		for (unsigned i = 0; i < 30; i++)
			make(&t[i], i % 3, VIRTIO_BLK_T_OUT, i / 3 + 50 * (i % 3), 512);
		for (unsigned q = 0; q < 3; q++)
			kick(q);
		if (round == 2)
			finish(1);
		ck_assert_uint_gt(disk.n_pending, 0);
		stop();
		ck_assert_uint_eq(disk.n_pending, 0);
		/* What was done in time is in the ring. */
		for (unsigned q = 0; q < 3; q++)
			collect(q);
		for (unsigned i = 0; i < 30; i++)
			ck_status(&t[i],
				  round == 1 && i == 6 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		start(v->host_features, false);
	}
	make(&t[0], 2, VIRTIO_BLK_T_IN, 0, 512);
	kick(2);
	settle();
	ck_status(&t[0], VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(queue_reset_in_flight)
{
	struct req t[4];

	add("drive=d0,num-queues=2");
	make(&t[0], 0, VIRTIO_BLK_T_IN, 0, 512);
	make(&t[1], 1, VIRTIO_BLK_T_IN, 9, 512);
	kick(0);
	kick(1);
	v->type->stop(v, v->vq[1]);
	ck_assert_uint_eq(vq_outstanding(v->vq[1]), 0);
	collect(1);
	ck_status(&t[1], VIRTIO_BLK_S_OK);
	vq_stop(v->vq[1]);
	/* Another size, the same device; the other queue goes on. */
	v->vq[1]->size = 64;
	start_ring(1);
	make(&t[2], 1, VIRTIO_BLK_T_IN, 4, 512);
	make(&t[3], 0, VIRTIO_BLK_T_IN, 5, 512);
	kick(1);
	kick(0);
	settle();
	ck_status(&t[0], VIRTIO_BLK_S_OK);
	ck_status(&t[2], VIRTIO_BLK_S_OK);
	ck_status(&t[3], VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(multi_queue)
{
	static struct req t[64 * 4];

	add("drive=d0,num-queues=64,queue-size=16");
	for (unsigned i = 0; i < 256; i++)
		make(&t[i], i % 64, i & 64 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, i * 7, 512);
	for (unsigned q = 0; q < 64; q++)
		kick(q);
	ck_assert_uint_eq(disk.n_pending, 256);
	settle();
	for (unsigned i = 0; i < 256; i++)
		ck_status(&t[i], VIRTIO_BLK_S_OK);
	for (unsigned q = 0; q < 64; q++)
		ck_assert_uint_eq(interrupts[q], 1);
}
END_TEST

/* --- cache mode, size ---------------------------------------------------------------------------
 */

#define F_WCE VIRTIO_F(VIRTIO_BLK_F_CONFIG_WCE)
#define F_FLUSH VIRTIO_F(VIRTIO_BLK_F_FLUSH)

static void write_config(unsigned off, const char *bytes, unsigned len)
{
	v->type->config_write(v, off, bytes, len);
}

START_TEST(cache_mode)
{
	/* drive: what the drive is set to; field and mode: after DRIVER_OK */
	static const struct {
		bool legacy, drive;
		uint64_t features;
		bool field, mode;
	} rows[] = {
		{ false, true, F_WCE | F_FLUSH, true, true },
		{ false, true, F_FLUSH, true, true },
		{ false, true, 0, false, false },
		{ false, true, F_WCE, false, false },
		{ false, false, F_WCE | F_FLUSH, false, false },
		{ false, false, F_FLUSH, false, false },
		{ true, true, F_WCE | F_FLUSH, true, true },
		{ true, true, F_WCE, true, true },
		{ true, true, 0, false, false },
		{ true, true, F_FLUSH, true, true },
	};
	static const char zeroes[64];

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		disk.writeback = rows[i].drive;
		add("drive=d0");
		start(rows[i].features, rows[i].legacy);
		ck_assert_msg(config().writeback == rows[i].field, "row %u", i);
		ck_assert_msg(disk.writeback == rows[i].mode, "row %u", i);
		/* The field switches it, given CONFIG_WCE or the legacy interface. */
		write_config(32, "\0", 1);
		if (rows[i].features & F_WCE || rows[i].legacy)
			ck_assert(!disk.writeback && !config().writeback);
		else
			ck_assert(disk.writeback == rows[i].mode);
		write_config(30, "\0\0\1\0", 4); /* as a part of more */
		if (rows[i].features & F_WCE || rows[i].legacy)
			ck_assert(disk.writeback && config().writeback);
		else
			ck_assert(disk.writeback == rows[i].mode);
		/* A reset brings the drive's own mode back. */
		write_config(32, "\0", 1);
		reset_device(&v->dev);
		ck_assert(disk.writeback == rows[i].drive);
		ck_assert(config().writeback == rows[i].drive);
		machine_remove_devices(&fake.m);
	}
	disk.writeback = true;
	add("drive=d0,config-wce=off");
	write_config(32, "\0", 1);
	ck_assert(disk.writeback);
	machine_remove_devices(&fake.m);
	/* Everything else is read-only. */
	add("drive=d0");
	write_config(0, zeroes, 32);
	write_config(33, zeroes + 16, 3);
	ck_assert(disk.writeback);
	ck_assert_uint_eq(le64_to_cpu(config().capacity), 2048);
	ck_assert_uint_eq(le16_to_cpu(config().num_queues), 1);
}
END_TEST

START_TEST(resize)
{
	struct req t;

	add("drive=d0");
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 2040, 4096), VIRTIO_BLK_S_OK);
	disk.size = 1 << 19;
	/* Requests follow at once; what the driver reads changes with the generation. */
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 2040, 4096), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(le64_to_cpu(config().capacity), 2048);
	disk.client->resized(disk.ctx);
	ck_assert_uint_eq(config_interrupts, 1);
	ck_assert_uint_eq(le64_to_cpu(config().capacity), 1024);
	disk.size = 1 << 20;
	disk.client->resized(disk.ctx);
	ck_assert_uint_eq(le64_to_cpu(config().capacity), 2048);
	ck_assert_uint_eq(run(&t, VIRTIO_BLK_T_IN, 2040, 4096), VIRTIO_BLK_S_OK);
}
END_TEST

/* --- a hostile driver
 * ------------------------------------------------------------------------------ */

static uint32_t random_len(uint64_t *seed)
{
	static const uint32_t lens[] = { 1, 2, 8, 15, 16, 17, 32, 511, 512, 513, 1024, 4096, 8192 };

	if (fake_random(seed) % 64 == 0)
		return fake_random(seed);
	return lens[fake_random(seed) % (sizeof(lens) / sizeof(lens[0]))];
}

static void random_chain(unsigned q, uint64_t *seed)
{
	static const uint32_t types[] = { 0, 1, 4, 5, 8, 11, 13, 14, 0, 1, 0, 1 };
	static struct req junk[VIRTIO_MAX_QUEUES][1024];
	uint64_t at = SLOTS + fake_random(seed) % 256 * 0x1000;
	struct seg seg[12];
	unsigned n = 0, n_out = 1 + fake_random(seed) % 4, n_in = fake_random(seed) % 4;
	uint64_t sector = fake_random(seed) % 8 ? fake_random(seed) % 2100
						: (uint64_t)fake_random(seed) << 33;
	uint16_t head;

	set_header(at, fake_random(seed) % 32 ? types[fake_random(seed) % 12] : fake_random(seed),
		   sector);
	if (fake_random(seed) % 16) /* mostly well-formed */
		seg[n++] = (struct seg){ at, 16, false };
	while (n < n_out)
		seg[n++] = (struct seg){ at + 16 * fake_random(seed), random_len(seed), false };
	for (unsigned i = 0; i < n_in; i++)
		seg[n++] = (struct seg){ SLOTS + fake_random(seed) % 0x200000, random_len(seed),
					 true };
	if (fake_random(seed) % 16)
		seg[n++] = (struct seg){ at + 20, 1, true };
	head = add_chain(q, seg, n);
	junk[q][head] = (struct req){ .q = q, .head = head };
	of_head[q][head] = &junk[q][head];
}

START_TEST(hostile)
{
	uint64_t seed = 20260101;
	unsigned resets = 0, used = 0;

	disk.can_discard = true;
	add("drive=d0,num-queues=2,queue-size=64");
	for (unsigned round = 0; round < 30000; round++) {
		unsigned q = fake_random(&seed) % 2;

		for (unsigned i = 1 + fake_random(&seed) % 4; i--;)
			random_chain(q, &seed);
		if (fake_random(&seed) % 512 == 0)
			rings[q].avail->ring[rings[q].avail_idx % 64] =
				cpu_to_le16((uint16_t)fake_random(&seed));
		kick(q);
		disk.bad_off = fake_random(&seed) % disk.size;
		disk.bad_len = fake_random(&seed) % 4096;
		while (disk.n_pending && fake_random(&seed) % 8)
			finish(fake_random(&seed) % disk.n_pending);
		if (fake_random(&seed) % 4 == 0)
			end_round();
		if (fake_random(&seed) % 64 == 0)
			config();
		disk.n_log = 0;
		if (broken[0] || fake_random(&seed) % 256 == 0) {
			while (disk.n_pending)
				blk_drain(&disk);
			used += rings[0].used_seen + rings[1].used_seen;
			v->running = false;
			v->type->stop(v, NULL);
			for (unsigned i = 0; i < 2; i++)
				vq_stop(v->vq[i]); /* broken ones have chains left */
			ck_assert_uint_eq(n_deferred, 0);
			start(v->host_features, false);
			resets++;
		} else {
			/* Descriptors are not used again while a chain may hold them. */
			settle();
		}
	}
	ck_assert_uint_gt(resets, 100);
	ck_assert_uint_gt(used, 1000);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		default_configuration,
		configuration_by_properties,
		offers_by_property_and_drive,
		bad_properties,
		reads_and_writes,
		host_errors,
		out_of_range,
		readonly_drive,
		unsupported,
		get_id,
		ranges,
		bad_ranges,
		any_layout,
		extra_buffers,
		long_chains,
		malformed_chains,
		merges_what_is_adjacent,
		merges_nothing_else,
		merges_within_bounds,
		merged_failure,
		completes_in_any_order,
		publishes_once_a_round,
		publishes_before_the_drive_sends,
		doorbell_is_off_while_working,
		sees_what_comes_while_working,
		reset_in_flight,
		queue_reset_in_flight,
		multi_queue,
		cache_mode,
		resize,
		hostile,
	};
	Suite *s = suite_create("virtio-blk");
	TCase *tc = tcase_create("virtio-blk");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
