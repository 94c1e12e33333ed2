/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio (Virtual I/O Device specification 1.2): what device types and
 * transports share. Rings are in virtqueue.h.
 *
 * A device type is one file with a struct virtio_type and VIRTIO_DEVICE(...),
 * which makes its PCI and its MMIO device ("virtio-blk-pci", "virtio-blk-device").
 *
 * Two owners. Transport registers, status and feature negotiation run on the
 * vCPU thread that writes them, under dev.lock. Queues run on v->loop (the main
 * loop, or an iothread's). What crosses: DRIVER_OK starts the queues, reset, a
 * broken ring and queue reset stop them, each by loop_call from the vCPU
 * thread with dev.lock held. So code on v->loop never takes dev.lock; and the
 * main loop takes a virtio device's lock only while vCPUs are parked.
 */
#ifndef POSADA_VIRTIO_H
#define POSADA_VIRTIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dev.h"
#include "log.h"
#include "loop.h"
#include "pci.h"
#include "props.h"
#include "virtqueue.h"

struct virtio_dev;

enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Feature bits that the core handles; device types own 0..23 and 50..63. */
#define VIRTIO_F(n) (1ull << (n))
enum {
	VIRTIO_F_NOTIFY_ON_EMPTY = 24,
	VIRTIO_F_ANY_LAYOUT = 27,
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_ACCESS_PLATFORM = 33,
	VIRTIO_F_RING_PACKED = 34,
	VIRTIO_F_IN_ORDER = 35,
	VIRTIO_F_ORDER_PLATFORM = 36,
	VIRTIO_F_NOTIFICATION_DATA = 38,
	VIRTIO_F_RING_RESET = 40,
};

enum { VIRTIO_MAX_QUEUES = 64, VIRTIO_NO_VECTOR = 0xffff };

struct virtio_type {
	const char *name; /* "virtio-blk" */
	uint16_t id; /* section 5; PCI device id is 0x1040 + id */
	uint16_t legacy_pci_id; /* 0x1000...; 0: the type has no legacy form */
	bool polled; /* worth looking at before the loop sleeps: its queues are busy ones */
	uint32_t pci_class; /* class << 16 | subclass << 8 | interface */
	/*
	 * Props are set. Attaches backends, sets v->host_features (own bits),
	 * v->config_size and v->loop, and makes the queues by virtio_add_queue.
	 */
	int (*init)(struct virtio_dev *v, struct err *e);
	void (*fini)(struct virtio_dev *v); /* accepts a half-made one; no queue runs */
	/* To power-on state, after stop(); vCPU thread or main thread; may be NULL. */
	void (*reset)(struct virtio_dev *v);
	/*
	 * Device configuration space, vCPU thread, under dev.lock; off + len
	 * lies within config_size. Multi-byte fields are little-endian.
	 * config_write may be NULL: nothing is writable.
	 */
	void (*config_read)(struct virtio_dev *v, unsigned off, void *buf, unsigned len);
	void (*config_write)(struct virtio_dev *v, unsigned off, const void *buf, unsigned len);
	/* FEATURES_OK: v->features is what the driver took; false refuses. May be NULL. */
	bool (*features_ok)(struct virtio_dev *v);
	/* On v->loop. DRIVER_OK: features and rings are final; may be NULL. */
	void (*start)(struct virtio_dev *v);
	/* On v->loop: the driver (or nobody) rang; pop and work. */
	void (*kick)(struct virtio_dev *v, struct virtqueue *vq);
	/*
	 * On v->loop: when it returns no chain of vq (NULL: of any queue) is
	 * outstanding: waits for backends (blk_drain), drops the rest. What is
	 * pushed now still reaches the ring. May be NULL when kick finishes all it pops.
	 */
	void (*stop)(struct virtio_dev *v, struct virtqueue *vq);
};

/* What the core wants of a transport. Any thread. */
struct virtio_transport_ops {
	void (*notify_queue)(struct virtio_dev *v, struct virtqueue *vq); /* used buffer */
	void (*notify_config)(struct virtio_dev *v); /* config changed, or NEEDS_RESET */
	/* Doorbell writes of vq shall signal vq->doorbell from now on, or no more. Under dev.lock.
	 */
	void (*doorbell)(struct virtio_dev *v, struct virtqueue *vq, bool on);
};

/* The PCI transport's part (virtio_pci.c). */
struct virtio_pci {
	struct pci_fn fn;
	int disable_legacy, disable_modern; /* enum off/on/auto */
	uint32_t vectors; /* MSI-X vectors; UINT32_MAX: one a queue and one */
	bool page_per_vq;
	struct io_region legacy, common, isr, device, notify;
	uint32_t feature_select, driver_feature_select;
	uint16_t queue_select;
	_Atomic uint16_t config_vector;
	_Atomic uint8_t isr_status;
	uint8_t cfg_cap; /* offset of the configuration access capability */
	bool has_legacy, has_modern;
	/*
	 * Doorbells follow the BARs. bell_lock comes after the bridge's config
	 * lock (and so after dev.lock) and before the bus's.
	 */
	pthread_mutex_t bell_lock;
	uint64_t bells; /* bit n: queue n has its doorbell on */
	bool bells_legacy; /* those at the legacy port, else those of the notify region */
	bool bar_mapped[PCI_BARS];
};

/* The MMIO transport's part (virtio_mmio.c). */
struct virtio_mmio {
	struct io_region regs;
	struct irq irq;
	uint64_t base; /* properties; 0: the next free ones */
	uint32_t irq_n;
	bool force_legacy; /* version 1 of the registers */
	uint32_t feature_select, driver_feature_select;
	uint32_t queue_select;
	uint32_t page_size, queue_align; /* version 1 */
	_Atomic uint32_t isr_status;
};

struct virtio_dev {
	struct dev dev;
	const struct virtio_type *type;
	const struct virtio_transport_ops *transport;
	struct loop *loop; /* where queues run; set by init, else the main loop */
	uint64_t host_features; /* offered */
	uint64_t features; /* taken; final from FEATURES_OK on (legacy: DRIVER_OK) */
	bool legacy; /* the driver speaks 0.9.5: no VERSION_1, guest-endian (little) */
	_Atomic uint8_t status;
	_Atomic uint32_t config_generation;
	bool unknown_features; /* the driver took bits above 63 */
	bool started; /* under dev.lock: the queues are on v->loop, running or broken */
	struct loop_poller poller; /* on v->loop: looks at the queues before the loop sleeps */
	bool running; /* on v->loop: queues are served */
	unsigned n_queues;
	struct virtqueue *vq[VIRTIO_MAX_QUEUES];
	unsigned config_size;
	/* properties that every virtio device has */
	bool p_indirect, p_event_idx, p_packed, p_in_order, p_access_platform, p_ring_reset,
		p_notification_data;
	struct log_limit log; /* under dev.lock */
	struct log_limit loop_log; /* on v->loop */
	union {
		struct virtio_pci pci;
		struct virtio_mmio mmio;
	};
};

/* --- for device types --- */
/* In init: the next queue, of at most size entries (a power of two). */
struct virtqueue *virtio_add_queue(struct virtio_dev *v, unsigned size);
static inline bool virtio_has(const struct virtio_dev *v, unsigned bit)
{
	return v->features >> bit & 1;
}
/* The configuration space changed. Any thread, no lock needed. */
void virtio_config_changed(struct virtio_dev *v);
/*
 * On v->loop: the driver broke the rules: NEEDS_RESET, its queues rest until
 * it resets the device. Logged with why.
 */
void virtio_broken(struct virtio_dev *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* On v->loop: kick comes again for vq, after others on the loop have had their turn. */
void virtio_requeue(struct virtqueue *vq);

/* --- for transports (virtio.c); vCPU thread under dev.lock, or main with vCPUs parked --- */
/* After props: type->init, offered features. Before the transport shows itself. */
int virtio_init(struct virtio_dev *v, const struct virtio_transport_ops *t, struct err *e);
void virtio_fini(struct virtio_dev *v);
void virtio_reset(struct virtio_dev *v);
/* The driver writes device_status; a write of 0 resets. */
void virtio_set_status(struct virtio_dev *v, uint8_t val);
uint32_t virtio_host_features(const struct virtio_dev *v, uint32_t select); /* bits 32n.. */
void virtio_set_driver_features(struct virtio_dev *v, uint32_t select, uint32_t val);
/* The legacy interface's 32 bits; bits that are not offered are dropped, as it cannot refuse. */
uint32_t virtio_legacy_features(const struct virtio_dev *v);
void virtio_set_legacy_features(struct virtio_dev *v, uint32_t val);
/* Queue n, or NULL. */
struct virtqueue *virtio_queue(struct virtio_dev *v, unsigned n);
/* What the driver writes of a queue's set-up: refused while the queue is enabled. */
void virtio_set_queue_size(struct virtio_dev *v, struct virtqueue *vq, uint32_t size);
void virtio_set_queue_addr(struct virtio_dev *v, struct virtqueue *vq, uint64_t *addr, bool high,
			   uint32_t val);
/* The legacy layout at base; 0 disables the queue. align is a power of two. */
void virtio_set_legacy_ring(struct virtio_dev *v, struct virtqueue *vq, uint64_t base,
			    uint32_t align);
/* Queue enable and reset (queue_enable = 1, queue_reset = 1). */
void virtio_enable_queue(struct virtio_dev *v, struct virtqueue *vq);
void virtio_reset_queue(struct virtio_dev *v, struct virtqueue *vq);
/* The same as a reset, by a register that needs no feature for it. */
void virtio_disable_queue(struct virtio_dev *v, struct virtqueue *vq);
/* Bounds-checked configuration access; what lies outside reads 0. */
void virtio_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len);
void virtio_config_write(struct virtio_dev *v, unsigned off, const void *buf, unsigned len);
/* A doorbell that came as a register write (no ioeventfd). */
void virtio_kick(struct virtio_dev *v, unsigned queue);

/* What dev_class rows of each transport hold. */
int virtio_pci_init(struct dev *d, struct err *e);
void virtio_pci_reset(struct dev *d);
void virtio_pci_fini(struct dev *d);
int virtio_mmio_init(struct dev *d, struct err *e);
void virtio_mmio_reset(struct dev *d);
void virtio_mmio_fini(struct dev *d);
extern const struct prop virtio_pci_props[], virtio_mmio_props[];
/* Calls fn for each virtio-mmio device of m: where its registers are and its interrupt line. */
void virtio_mmio_each(struct machine *m,
		      void (*fn)(void *ctx, uint64_t base, uint64_t size, unsigned irq), void *ctx);

/* Rows of both transports' tables: features that the core offers. */
#define VIRTIO_PROPS                                                                               \
	PROP(struct virtio_dev, p_indirect, PROP_BOOL, "indirect_desc", "on",                      \
	     "offer indirect descriptors"),                                                        \
		PROP(struct virtio_dev, p_event_idx, PROP_BOOL, "event_idx", "on",                 \
		     "offer event indices, which save interrupts and doorbells"),                  \
		PROP(struct virtio_dev, p_packed, PROP_BOOL, "packed", "off",                      \
		     "offer packed rings"),                                                        \
		PROP(struct virtio_dev, p_in_order, PROP_BOOL, "in_order", "off",                  \
		     "offer completion in order"),                                                 \
		PROP(struct virtio_dev, p_access_platform, PROP_BOOL, "iommu_platform", "off",     \
		     "offer ACCESS_PLATFORM, and insist on it"),                                   \
		PROP(struct virtio_dev, p_ring_reset, PROP_BOOL, "queue_reset", "on",              \
		     "offer the reset of single queues"),                                          \
		PROP(struct virtio_dev, p_notification_data, PROP_BOOL, "notification_data",       \
		     "off", "offer doorbells that carry the ring's position")

/* ident: C name; st: the device's struct, beginning with struct virtio_dev. */
#define VIRTIO_DEVICE(ident, st, vname, vdesc, vtype, vprops)                                      \
	const struct dev_class ident##_pci_class = {                                               \
		.name = vname "-pci",                                                              \
		.alias = vname,                                                                    \
		.desc = vdesc,                                                                     \
		.bus = DEV_BUS_PCI,                                                                \
		.size = sizeof(struct st),                                                         \
		.props = (vprops),                                                                 \
		.bus_props = virtio_pci_props,                                                     \
		.type = &(vtype),                                                                  \
		.init = virtio_pci_init,                                                           \
		.reset = virtio_pci_reset,                                                         \
		.fini = virtio_pci_fini,                                                           \
	};                                                                                         \
	const struct dev_class ident##_mmio_class = {                                              \
		.name = vname "-device",                                                           \
		.desc = vdesc " (virtio-mmio)",                                                    \
		.bus = DEV_BUS_MMIO,                                                               \
		.size = sizeof(struct st),                                                         \
		.props = (vprops),                                                                 \
		.bus_props = virtio_mmio_props,                                                    \
		.type = &(vtype),                                                                  \
		.init = virtio_mmio_init,                                                          \
		.reset = virtio_mmio_reset,                                                        \
		.fini = virtio_mmio_fini,                                                          \
	}

#endif
