/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio driver for the bare-metal guests (Virtual I/O Device specification
 * 1.2): every transport (section 4), both kinds of ring (2.7, 2.8), with what a
 * test wants to reach within them. How it drives is said on the command line:
 *
 *   transport=legacy|modern|mmio   (default modern)
 *   ring=split|packed  indirect=0|1  event_idx=0|1   (default split, 1, 1)
 *   irq=msix|intx|poll             (default poll; with mmio anything but poll is its interrupt)
 *   mmio=ADDR gsi=N                where the device is; else by virtio_mmio.device=, else searched
 * for qsize=N                        queue size, at most (default: what the device offers)
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "guest.h"

enum virtio_type {
	VIRTIO_BLK = 2,
	VIRTIO_CONSOLE = 3,
	VIRTIO_RNG = 4,
	VIRTIO_BALLOON = 5,
};

/* clang-format off */
enum virtio_status_bit {
	VS_ACKNOWLEDGE = 1, VS_DRIVER = 2, VS_DRIVER_OK = 4, VS_FEATURES_OK = 8,
	VS_NEEDS_RESET = 64, VS_FAILED = 128
};
enum virtio_feature_bit {
	VF_INDIRECT = 28, VF_EVENT_IDX = 29, VF_VERSION_1 = 32, VF_ACCESS_PLATFORM = 33,
	VF_PACKED = 34, VF_IN_ORDER = 35, VF_RING_RESET = 40
};
/* clang-format on */
#define BIT(n) (1ull << (n))

enum vtransport { VT_LEGACY, VT_MODERN, VT_MMIO };
enum virq { VIRQ_POLL, VIRQ_INTX, VIRQ_MSIX };

enum { VDEV_QUEUES = 16, VQ_INDIRECT_MAX = 32, VIRTIO_NO_VECTOR = 0xffff };

/* Where the queue is and how large: what the driver tells the device. */
struct vq_place {
	uint64_t desc, driver, device;
	uint16_t size, vector;
};

struct vdesc { /* split ring's descriptor, and those of indirect tables of split rings */
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
struct vpdesc { /* packed ring's descriptor */
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};
enum { VD_NEXT = 1, VD_WRITE = 2, VD_INDIRECT = 4, VD_AVAIL = 0x80, VD_USED = 0x8000 };

struct vavail {
	uint16_t flags, idx, ring[];
};
struct vused {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[];
};
struct vevent { /* packed ring's event suppression: flags 0 enable, 1 disable, 2 at off_wrap */
	uint16_t off_wrap, flags;
};

struct vdev;

struct vq {
	struct vdev *d;
	unsigned index;
	uint16_t size;
	bool packed;
	struct vq_place place;
	struct vdesc *desc; /* split */
	volatile struct vavail *avail;
	volatile struct vused *used;
	volatile uint16_t *used_event, *avail_event;
	volatile struct vpdesc *ring; /* packed */
	volatile struct vevent *driver, *device;
	struct vdesc *indirect; /* VQ_INDIRECT_MAX for each id */
	/* the driver's own state */
	uint16_t n_free; /* descriptors of the ring */
	uint16_t next_avail, next_used; /* split: free-running; packed: positions */
	uint16_t kicked; /* split: avail index at the last look whether to notify */
	bool avail_wrap, used_wrap; /* packed */
	uint16_t since_kick; /* packed: descriptors made available since */
	uint16_t *ids, n_ids; /* stack of free ids (split: heads of one descriptor at least) */
	uint16_t *chain; /* ring descriptors that id has */
	uint64_t *token;
	unsigned notified; /* doorbells rung */
};

struct vdev_ops;

struct vdev {
	enum vtransport transport;
	const struct vdev_ops *ops;
	unsigned type;
	int devfn; /* PCI; -1 */
	uint16_t io; /* legacy */
	uint64_t common, isr, cfg, notify; /* modern: virtual addresses */
	uint32_t notify_multiplier, notify_len, cfg_len;
	uint64_t mmio;
	unsigned mmio_version;
	int gsi; /* IOAPIC pin of INTx or mmio; -1 unknown */
	enum virq irq;
	unsigned n_vectors; /* MSI-X entries in use */
	uint64_t offered, features;
	struct vq *vq[VDEV_QUEUES];
	volatile unsigned queue_irqs, config_irqs;
};

/* A buffer of a chain. */
struct vbuf {
	uint64_t addr;
	uint32_t len;
};

struct vdev_ops {
	uint8_t (*status)(struct vdev *d);
	void (*set_status)(struct vdev *d, uint8_t v);
	uint64_t (*offered)(struct vdev *d);
	void (*set_features)(struct vdev *d, uint64_t v);
	/* The device's configuration, size 1, 2, 4 */
	uint32_t (*cfg_read)(struct vdev *d, unsigned off, unsigned size);
	void (*cfg_write)(struct vdev *d, unsigned off, unsigned size, uint32_t v);
	/* These two select the queue. 0: no such queue. */
	uint16_t (*queue_max)(struct vdev *d, unsigned q);
	void (*queue_place)(struct vdev *d, unsigned q, const struct vq_place *p); /* and enables */
	void (*notify)(struct vdev *d, unsigned q);
	uint8_t (*read_isr)(struct vdev *d); /* and acknowledges */
};

/*
 * Finds the nth device of a type by the command line's transport. Once it is found, the
 * library's interrupts and clock are ready, too.
 */
bool vdev_find(struct vdev *d, enum virtio_type type, unsigned nth);
/* The same for tests that cannot go on without: leaves by EXIT_FAIL. */
void vdev_need(struct vdev *d, enum virtio_type type);
/* Resets it and waits until it says so. */
bool vdev_reset(struct vdev *d);
/*
 * Reset, ACKNOWLEDGE, DRIVER, features: those of `want` (device's own bits) that are offered, and
 * the ring features that the command line asks for. False when FEATURES_OK does not stay.
 */
bool vdev_begin(struct vdev *d, uint64_t want);
void vdev_driver_ok(struct vdev *d);
static inline bool vdev_has(const struct vdev *d, unsigned bit)
{
	return d->features >> bit & 1;
}
uint8_t vdev_status(struct vdev *d);
/* Where queue q's doorbell is (modern); selects the queue. */
uint64_t vdev_doorbell(struct vdev *d, unsigned q);
uint64_t vdev_cfg64(struct vdev *d, unsigned off);
uint32_t vdev_cfg32(struct vdev *d, unsigned off);
uint16_t vdev_cfg16(struct vdev *d, unsigned off);
uint8_t vdev_cfg8(struct vdev *d, unsigned off);
/* Waits until the device's status has one of bits set. */
bool vdev_wait_status(struct vdev *d, uint8_t bits, unsigned ms);
/* Halts (irq=poll: polls, counting by the ISR) until there were n configuration interrupts in all.
 */
bool vdev_wait_config(struct vdev *d, unsigned n, unsigned ms);

/* Makes queue `index` and tells the device. False when the device has none. */
bool vq_setup(struct vdev *d, struct vq *q, unsigned index);
/* The same without telling the device, at most size entries. */
void vq_make(struct vdev *d, struct vq *q, unsigned index, uint16_t size);
/* One chain: n_out buffers that the device reads, then n_in that it writes. False when there is no
 * room. */
bool vq_add(struct vq *q, const struct vbuf *b, unsigned n_out, unsigned n_in, uint64_t token);
/* Rings the doorbell if the device wants it to be rung. */
void vq_kick(struct vq *q);
void vq_notify(struct vq *q); /* in any case */
bool vq_ready(const struct vq *q);
/* What the device is done with. */
bool vq_get(struct vq *q, uint64_t *token, uint32_t *len);
/* Waits until vq_ready(); false when it took too long or was not told by an interrupt. */
bool vq_wait(struct vq *q, unsigned ms);

#endif
