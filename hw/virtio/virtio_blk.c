/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk, a disk: virtio 1.2, section 5.2. Here are its properties,
 * features, configuration space and cache mode; requests are in virtio_blk_req.c.
 *
 * Configuration: vCPU threads, under dev.lock. start: the device's loop.
 * resized: the main loop.
 */
#include "virtio_blk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bootorder.h"
#include "dev.h"
#include "err.h"
#include "iothread.h"
#include "log.h"
#include "machine.h"
#include "props.h"

/* What a request of the block layer may hold: below 2 GiB. */
#define MAX_RANGE_SECTORS 4194303
#define MAX_BLOCK (2u << 20)
/* One queue a CPU; more than these cost vectors and doorbells and gain nothing on one loop. */
#define MAX_AUTO_QUEUES 16u
/* Longer requests gain little from being merged and lose working side by side. */
#define MERGE_LEN (512u << 10)
#define MERGE_IOV 256u

enum { AUTO, ON, OFF };
static const char *const vblk_discard_names[] = { "auto", "on", "off", NULL };

/* --- cache mode -------------------------------------------------------------- */

static void apply_wce(void *ctx)
{
	struct virtio_blk *s = ctx;

	blk_set_writeback(s->blk, s->wce);
}

/*
 * A modern driver that cannot flush gets a writethrough cache (5.2.5.2). With
 * the legacy interface only DRIVER_OK may change the mode (5.2.5.3): vblk_start does.
 */
static bool vblk_features_ok(struct virtio_dev *v)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);

	s->wce = s->default_wce && virtio_has(v, VIRTIO_BLK_F_FLUSH);
	return true;
}

/* Without CONFIG_WCE the mode follows from FLUSH: a driver that never flushes has stable writes. */
static void vblk_start(struct virtio_dev *v)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);

	if (!virtio_has(v, VIRTIO_BLK_F_CONFIG_WCE))
		s->wce = s->default_wce && virtio_has(v, VIRTIO_BLK_F_FLUSH);
	apply_wce(s);
}

/* --- configuration space -------------------------------------------------------- */

/*
 * The driver reads the capacity in two halves and trusts them when the
 * generation was the same before and after. So what it reads changes with the
 * generation, not with the disk.
 */
static uint64_t capacity(struct virtio_blk *s)
{
	uint32_t generation = atomic_load(&s->v.config_generation);

	if (generation != s->generation_seen) {
		s->generation_seen = generation;
		s->capacity = blk_size(s->blk);
	}
	return s->capacity - s->capacity % s->logical_block_size;
}

static uint32_t seg_max(const struct virtio_blk *s)
{
	/* Header and status take a descriptor each. */
	uint32_t n = s->queue_size > 2 ? s->queue_size - 2u : 1;
	uint32_t most = blk_limits(s->blk)->max_iov;

	return most && n > most ? most : n;
}

static void fill_config(struct virtio_blk *s, struct virtio_blk_config *c)
{
	const struct blk_limits *lim = blk_limits(s->blk);
	uint32_t block = (uint32_t)s->logical_block_size;
	uint32_t discard_align = lim->discard_align > block ? lim->discard_align : block;
	uint64_t sectors = capacity(s) / VIRTIO_BLK_SECTOR, cylinders = sectors / (16 * 63);

	*c = (struct virtio_blk_config){
		.capacity = cpu_to_le64(sectors),
		.seg_max = cpu_to_le32(seg_max(s)),
		.geometry = { .cylinders =
				      cpu_to_le16(cylinders > 16383 ? 16383 : (uint16_t)cylinders),
			      .heads = 16,
			      .sectors = 63 },
		.blk_size = cpu_to_le32(block),
		.topology = { .physical_block_exp =
				      (uint8_t)__builtin_ctzll(s->physical_block_size / block),
			      .min_io_size = cpu_to_le16((uint16_t)(s->min_io_size / block)),
			      .opt_io_size = cpu_to_le32((uint32_t)(s->opt_io_size / block)) },
		.writeback = s->wce,
		.num_queues = cpu_to_le16(s->num_queues),
	};
	if (s->v.host_features & VIRTIO_F(VIRTIO_BLK_F_DISCARD)) {
		c->max_discard_sectors = cpu_to_le32(s->max_discard_sectors);
		c->max_discard_seg = cpu_to_le32(VBLK_MAX_RANGES);
		c->discard_sector_alignment = cpu_to_le32(discard_align / VIRTIO_BLK_SECTOR);
	}
	if (s->v.host_features & VIRTIO_F(VIRTIO_BLK_F_WRITE_ZEROES)) {
		c->max_write_zeroes_sectors = cpu_to_le32(s->max_write_zeroes_sectors);
		c->max_write_zeroes_seg = cpu_to_le32(VBLK_MAX_RANGES);
		c->write_zeroes_may_unmap = blk_can_discard(s->blk);
	}
}

static void vblk_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);
	struct virtio_blk_config c;

	fill_config(s, &c);
	memcpy(buf, (const char *)&c + off, len);
}

/* The cache mode is all that a driver may write, and with the legacy interface at any time. */
static void vblk_config_write(struct virtio_dev *v, unsigned off, const void *buf, unsigned len)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);
	unsigned at = offsetof(struct virtio_blk_config, writeback);
	bool may = v->legacy ? s->config_wce : virtio_has(v, VIRTIO_BLK_F_CONFIG_WCE);

	if (!may || at < off || at >= off + len)
		return;
	s->wce = ((const uint8_t *)buf)[at - off] != 0;
	loop_call(v->loop, apply_wce, s);
}

static void vblk_resized(void *ctx)
{
	struct virtio_blk *s = ctx;

	virtio_config_changed(&s->v);
}

/* --- life ----------------------------------------------------------------------- */

static void vblk_reset(struct virtio_dev *v)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);

	s->wce = s->default_wce;
}

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static int bad_size(struct err *e, const char *name, uint64_t val, const char *rule)
{
	return err_set(e, ERR_USAGE, EINVAL, "%s=%" PRIu64 ": %s", name, val, rule);
}

/* Sizes that were not given come from the drive; all must fit each other. */
static int settle_sizes(struct virtio_blk *s, struct err *e)
{
	const struct blk_limits *lim = blk_limits(s->blk);
	uint64_t block = s->logical_block_size;

	if (!power_of_two(block))
		return bad_size(e, "logical_block_size", block, "is not a power of two");
	if (!s->physical_block_size) {
		s->physical_block_size = block;
		if (power_of_two(lim->block_size) && lim->block_size > block)
			s->physical_block_size = lim->block_size;
	}
	if (!power_of_two(s->physical_block_size))
		return bad_size(e, "physical_block_size", s->physical_block_size,
				"is not a power of two");
	if (s->physical_block_size < block)
		return bad_size(e, "physical_block_size", s->physical_block_size,
				"is smaller than logical_block_size");
	if (s->min_io_size % block || s->min_io_size / block > UINT16_MAX)
		return bad_size(e, "min_io_size", s->min_io_size,
				"is not 0 to 65535 times logical_block_size");
	if (!s->opt_io_size)
		s->opt_io_size = lim->opt_io - lim->opt_io % block;
	if (s->opt_io_size % block)
		return bad_size(e, "opt_io_size", s->opt_io_size,
				"is not a multiple of logical_block_size");
	if (!power_of_two(s->queue_size)) {
		bad_size(e, "queue-size", s->queue_size, "is not a power of two");
		err_hint(e, "2, 4, 8 ... 1024; 256 is the default");
		return -EINVAL;
	}
	return 0;
}

static uint64_t offered(const struct virtio_blk *s)
{
	uint64_t f = VIRTIO_F(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_F(VIRTIO_BLK_F_GEOMETRY) |
		     VIRTIO_F(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_F(VIRTIO_BLK_F_FLUSH) |
		     VIRTIO_F(VIRTIO_BLK_F_TOPOLOGY);

	if (s->config_wce)
		f |= VIRTIO_F(VIRTIO_BLK_F_CONFIG_WCE);
	if (s->num_queues > 1)
		f |= VIRTIO_F(VIRTIO_BLK_F_MQ);
	if (blk_readonly(s->blk))
		return f | VIRTIO_F(VIRTIO_BLK_F_RO);
	if (s->discard == ON || (s->discard == AUTO && blk_can_discard(s->blk)))
		f |= VIRTIO_F(VIRTIO_BLK_F_DISCARD);
	if (s->write_zeroes)
		f |= VIRTIO_F(VIRTIO_BLK_F_WRITE_ZEROES);
	return f;
}

static void set_id(struct virtio_blk *s)
{
	const char *serial = s->serial ? s->serial : blk_serial(s->blk);
	size_t n = serial ? strlen(serial) : 0;

	if (n > sizeof(s->id)) {
		log_note("%s: of serial=%s the guest sees the first %zu bytes, as many as virtio "
			 "has room for",
			 s->v.dev.cls->name, serial, sizeof(s->id));
		n = sizeof(s->id);
	}
	if (n)
		memcpy(s->id, serial, n);
}

static int add_queues(struct virtio_blk *s, struct err *e)
{
	unsigned cpus = s->v.dev.m->n_cpus;

	if (!s->num_queues)
		s->num_queues = (uint16_t)(cpus < MAX_AUTO_QUEUES ? cpus : MAX_AUTO_QUEUES);
	for (unsigned i = 0; i < s->num_queues; i++) {
		struct virtqueue *vq = virtio_add_queue(&s->v, s->queue_size);

		if (!vq)
			return err_set(e, ERR_HOST, ENOMEM, "out of memory");
		vblk_init_queue(&s->queue[i], s, vq);
	}
	return 0;
}

static void vblk_take(void *ctx)
{
	struct virtio_blk *s = ctx;

	for (unsigned i = 0; s->v.running && i < s->v.n_queues; i++)
		if (s->v.vq[i]->started && !vq_empty(s->v.vq[i]))
			vblk_kick(&s->v, s->v.vq[i]);
}

static const struct blk_client vblk_client = { .resized = vblk_resized, .take = vblk_take };

static int attach(struct virtio_blk *s, struct err *e)
{
	struct machine *m = s->v.dev.m;
	struct blk *b;
	int rc;

	if (!s->drive) {
		err_set(e, ERR_USAGE, EINVAL, "drive= is missing: which disk is it?");
		err_hint(e, "-drive if=none,id=d0,file=FILE,format=raw and drive=d0; or "
			    "-drive if=virtio,file=FILE,format=raw alone makes both");
		return -EINVAL;
	}
	if (s->share_rw) {
		err_set(e, ERR_USAGE, ENOTSUP,
			"share-rw=on: the image has been locked when it was opened");
		err_hint(e, "say it there: -drive ...,share-rw=on");
		return -ENOTSUP;
	}
	rc = iothread_get(m, s->iothread, &s->v.loop, e);
	rc = rc ? rc : blk_get(m->blks, s->drive, &b, e);
	rc = rc ? rc : blk_attach(b, &vblk_client, s, !blk_readonly(b), s->v.loop, e);
	if (!rc)
		s->blk = b;
	return rc;
}

static int vblk_init(struct virtio_dev *v, struct err *e)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);
	const struct blk_limits *lim;
	int rc = attach(s, e);

	rc = rc ? rc : settle_sizes(s, e);
	rc = rc ? rc : add_queues(s, e);
	rc = rc ? rc : bootorder_add(v->dev.m, &v->dev, s->bootindex, &v->pci.fn, "disk@0,0", e);
	if (rc)
		return rc;
	lim = blk_limits(s->blk);
	s->merge_len = lim->max_len && lim->max_len < MERGE_LEN ? lim->max_len : MERGE_LEN;
	s->merge_iov = lim->max_iov && lim->max_iov < MERGE_IOV ? lim->max_iov : MERGE_IOV;
	s->default_wce = s->wce = blk_writeback(s->blk);
	s->capacity = blk_size(s->blk);
	set_id(s);
	v->host_features = offered(s);
	v->config_size = sizeof(struct virtio_blk_config);
	return 0;
}

static void vblk_fini(struct virtio_dev *v)
{
	struct virtio_blk *s = container_of(v, struct virtio_blk, v);

	vblk_free_requests(s);
	if (s->blk)
		blk_detach(s->blk);
	s->blk = NULL;
}

static const struct prop vblk_props[] = {
	PROP(struct virtio_blk, drive, PROP_DRIVE, "drive", NULL,
	     "the disk: id of a -drive, or node-name of a -blockdev"),
	PROP(struct virtio_blk, iothread, PROP_STR, "iothread", NULL,
	     "the -object iothread that does its work; else the main loop"),
	PROP(struct virtio_blk, serial, PROP_STR, "serial", NULL,
	     "serial number, 20 bytes; else the drive's"),
	PROP_RANGE(struct virtio_blk, num_queues, PROP_U16, "num-queues", NULL, 1,
		   VIRTIO_MAX_QUEUES, "request queues; one a CPU, up to 16, if not given"),
	PROP_RANGE(struct virtio_blk, queue_size, PROP_U16, "queue-size", "256", 2, 1024,
		   "entries in each queue, a power of two"),
	PROP_BOOTINDEX(struct virtio_blk, bootindex),
	PROP_RANGE(struct virtio_blk, logical_block_size, PROP_SIZE, "logical_block_size", "512",
		   512, MAX_BLOCK, "of a block, a power of two"),
	PROP_RANGE(struct virtio_blk, physical_block_size, PROP_SIZE, "physical_block_size", NULL,
		   512, MAX_BLOCK, "of a block of the host's, a power of two; else the drive's"),
	PROP_RANGE(struct virtio_blk, min_io_size, PROP_SIZE, "min_io_size", "0", 0, UINT32_MAX,
		   "smallest good request, 0: not known"),
	PROP_RANGE(struct virtio_blk, opt_io_size, PROP_SIZE, "opt_io_size", "0", 0, UINT32_MAX,
		   "best request, 0: the drive's"),
	PROP_CHOICE(struct virtio_blk, discard, "discard", "auto", vblk_discard_names,
		    "offer discard; auto: when the drive has discard=unmap"),
	PROP(struct virtio_blk, write_zeroes, PROP_BOOL, "write-zeroes", "on",
	     "offer writing of zeroes without data"),
	PROP_RANGE(struct virtio_blk, max_discard_sectors, PROP_U32, "max-discard-sectors",
		   "4194303", 1, MAX_RANGE_SECTORS, "most sectors of 512 bytes in one range"),
	PROP_RANGE(struct virtio_blk, max_write_zeroes_sectors, PROP_U32,
		   "max-write-zeroes-sectors", "4194303", 1, MAX_RANGE_SECTORS,
		   "most sectors of 512 bytes in one range"),
	PROP(struct virtio_blk, request_merging, PROP_BOOL, "request-merging", "on",
	     "pass adjacent requests on as one"),
	PROP(struct virtio_blk, config_wce, PROP_BOOL, "config-wce", "on",
	     "the guest may switch the write cache"),
	PROP(struct virtio_blk, share_rw, PROP_BOOL, "share-rw", "off",
	     "a property of the drive: -drive ...,share-rw=on"),
	PROP_END,
};

static const struct virtio_type vblk_type = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.polled = true,
	.legacy_pci_id = 0x1001,
	.pci_class = 0x010000, /* SCSI controller, as drivers expect of it */
	.init = vblk_init,
	.fini = vblk_fini,
	.reset = vblk_reset,
	.config_read = vblk_config_read,
	.config_write = vblk_config_write,
	.features_ok = vblk_features_ok,
	.start = vblk_start,
	.kick = vblk_kick,
	.stop = vblk_stop,
};

VIRTIO_DEVICE(virtio_blk, virtio_blk, "virtio-blk", "disk", vblk_type, vblk_props);
