/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI (Virtual I/O Device specification 1.2, section 4.1): the
 * modern interface, whose structures lie in BAR 4 where vendor capabilities
 * say; and the legacy one (4.1.4.10), whose registers are I/O BAR 0. A transitional
 * device has both, and a driver uses the one that it knows.
 *
 * Register handlers run on vCPU threads under dev.lock, BAR and configuration hooks
 * under the bridge's config lock, interrupts on any thread.
 */
#include "virtio.h"

#include <errno.h>
#include <string.h>

#include "err.h"
#include "machine.h"
#include "wire/le.h"

enum { VENDOR_REDHAT = 0x1af4, MODERN_ID = 0x1040, MODERN_SUBSYSTEM = 0x1100 };
enum { LEGACY_BAR = 0, MSIX_BAR = 1, MODERN_BAR = 4 };

/* BAR 4: each structure in a page of its own. */
enum { PAGE = 0x1000, COMMON_AT = 0, ISR_AT = PAGE, DEVICE_AT = 2 * PAGE, NOTIFY_AT = 3 * PAGE };

enum cfg_type { CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_PCI };

/* struct virtio_pci_cap and those that begin with it (4.1.4) */
enum cap {
	CAP_LEN = 2,
	CAP_TYPE = 3,
	CAP_BAR = 4,
	CAP_OFFSET = 8,
	CAP_LENGTH = 12,
	CAP_SIZE = 16,
	CAP_NOTIFY_MULTIPLIER = 16,
	CAP_PCI_DATA = 16,
};

/* struct virtio_pci_common_cfg (4.1.4.3) */
enum common {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_NOTIFY_DATA = 0x38,
	QUEUE_RESET = 0x3a,
	COMMON_SIZE = 0x3c,
};

/* The legacy header (4.1.4.10); the vectors are there while MSI-X is on. */
enum legacy {
	L_DEVICE_FEATURES = 0x00,
	L_DRIVER_FEATURES = 0x04,
	L_QUEUE_ADDRESS = 0x08,
	L_QUEUE_SIZE = 0x0c,
	L_QUEUE_SELECT = 0x0e,
	L_QUEUE_NOTIFY = 0x10,
	L_STATUS = 0x12,
	L_ISR = 0x13,
	L_CONFIG_VECTOR = 0x14,
	L_QUEUE_VECTOR = 0x16,
	L_CONFIG = 0x14, /* without MSI-X */
	L_CONFIG_MSIX = 0x18,
	L_PAGE_SHIFT = 12,
};

enum isr { ISR_QUEUE = 1, ISR_CONFIG = 2 };

enum { OFF, ON, AUTO };
static const char *const off_on[] = { "off", "on", NULL };
static const char *const off_on_auto[] = { "off", "on", "auto", NULL };

static struct virtio_dev *of_fn(struct pci_fn *fn)
{
	return fn->ctx;
}

static struct virtqueue *selected(struct virtio_dev *v)
{
	return virtio_queue(v, v->pci.queue_select);
}

static void complain(struct virtio_dev *v, const char *what, uint64_t off, unsigned size)
{
	log_guest(&v->log, v->dev.cls->name, "%s: no write of %u bytes at 0x%llx", what, size,
		  (unsigned long long)off);
}

/* --- interrupts, any thread --------------------------------------------------- */

static void raise_vector(struct virtio_dev *v, uint16_t vector, uint8_t isr)
{
	struct virtio_pci *p = &v->pci;

	if (pci_msix_enabled(&p->fn)) {
		if (vector != VIRTIO_NO_VECTOR)
			pci_notify(&p->fn, vector);
		return;
	}
	atomic_fetch_or(&p->isr_status, isr);
	pci_set_intx(&p->fn, true);
}

static void notify_queue(struct virtio_dev *v, struct virtqueue *vq)
{
	raise_vector(v, vq->vector, ISR_QUEUE);
}

static void notify_config(struct virtio_dev *v)
{
	raise_vector(v, v->pci.config_vector, ISR_CONFIG);
}

static uint8_t take_isr(struct virtio_pci *p)
{
	uint8_t isr = atomic_exchange(&p->isr_status, 0);

	pci_set_intx(&p->fn, false);
	/* One that came in between was lowered with the rest. */
	if (p->isr_status)
		pci_set_intx(&p->fn, true);
	return isr;
}

/* What a driver may ask for; others read back as none. */
static uint16_t usable_vector(const struct virtio_pci *p, uint64_t vector)
{
	return vector < p->fn.n_vectors ? (uint16_t)vector : VIRTIO_NO_VECTOR;
}

/* --- doorbells ------------------------------------------------------------------- */

static unsigned bell_stride(const struct virtio_pci *p)
{
	return p->page_per_vq ? PAGE : 4;
}

/*
 * Where the host has no doorbells (or none of any width, which is the cheapest
 * kind) the region's handler is called. Under bell_lock.
 */
static void set_bell(struct virtio_dev *v, unsigned n, bool on)
{
	struct virtio_pci *p = &v->pci;
	uint64_t at = (uint64_t)n * bell_stride(p);
	int fd = v->vq[n]->doorbell;

	if (p->bells_legacy && p->bar_mapped[LEGACY_BAR]) {
		if (on)
			bus_doorbell(&p->legacy, L_QUEUE_NOTIFY, 2, n, fd);
		else
			bus_doorbell_remove(&p->legacy, L_QUEUE_NOTIFY, 2, n, fd);
	} else if (!p->bells_legacy && p->bar_mapped[MODERN_BAR]) {
		if (!on) {
			bus_doorbell_remove(&p->notify, at, 0, BUS_DOORBELL_ANY, fd);
			bus_doorbell_remove(&p->notify, at, 2, BUS_DOORBELL_ANY, fd);
		} else if (bus_doorbell(&p->notify, at, 0, BUS_DOORBELL_ANY, fd)) {
			bus_doorbell(&p->notify, at, 2, BUS_DOORBELL_ANY, fd);
		}
	}
}

static void doorbell(struct virtio_dev *v, struct virtqueue *vq, bool on)
{
	struct virtio_pci *p = &v->pci;
	uint64_t bit = 1ull << vq->index;

	pthread_mutex_lock(&p->bell_lock);
	if (on)
		p->bells_legacy = v->legacy;
	p->bells = on ? p->bells | bit : p->bells & ~bit;
	set_bell(v, vq->index, on);
	pthread_mutex_unlock(&p->bell_lock);
}

/* A BAR takes its doorbells with it when it goes. */
static void bar_mapped(struct pci_fn *fn, unsigned bar, bool mapped)
{
	struct virtio_dev *v = of_fn(fn);
	struct virtio_pci *p = &v->pci;

	if (bar >= PCI_BARS)
		return;
	pthread_mutex_lock(&p->bell_lock);
	p->bar_mapped[bar] = mapped;
	if (mapped && bar == (p->bells_legacy ? LEGACY_BAR : MODERN_BAR))
		for (unsigned n = 0; n < v->n_queues; n++)
			if (p->bells >> n & 1)
				set_bell(v, n, true);
	pthread_mutex_unlock(&p->bell_lock);
}

static const struct virtio_transport_ops pci_transport = {
	.notify_queue = notify_queue,
	.notify_config = notify_config,
	.doorbell = doorbell,
};

/* --- registers of both interfaces ------------------------------------------------- */

static void reset_registers(struct virtio_pci *p)
{
	p->feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	p->config_vector = VIRTIO_NO_VECTOR;
	take_isr(p);
}

static void write_status(struct virtio_dev *v, uint8_t val, bool legacy)
{
	if (!v->started)
		v->legacy = legacy;
	virtio_set_status(v, val);
	if (!val)
		reset_registers(&v->pci);
}

/*
 * Drivers read a field as a whole; parts of one, or several, are put together
 * byte by byte. size_at[off] is the size of the field that begins at off.
 */
static uint64_t read_fields(struct virtio_dev *v, const uint8_t *size_at, unsigned n_bytes,
			    uint64_t (*get)(struct virtio_dev *v, unsigned field), uint64_t off,
			    unsigned size)
{
	uint64_t val = 0;

	if (off < n_bytes && size_at[off] == size)
		return get(v, (unsigned)off);
	for (unsigned i = 0; i < size && off + i < n_bytes; i++) {
		unsigned field = (unsigned)off + i;

		while (!size_at[field])
			field--;
		val |= (get(v, field) >> 8 * (off + i - field) & 0xff) << 8 * i;
	}
	return val;
}

/* --- modern: common configuration --------------------------------------------------- */

static const uint8_t common_size[COMMON_SIZE] = {
	[DEVICE_FEATURE_SELECT] = 4, [DEVICE_FEATURE] = 4,
	[DRIVER_FEATURE_SELECT] = 4, [DRIVER_FEATURE] = 4,
	[CONFIG_VECTOR] = 2,         [NUM_QUEUES] = 2,
	[DEVICE_STATUS] = 1,         [CONFIG_GENERATION] = 1,
	[QUEUE_SELECT] = 2,          [QUEUE_SIZE] = 2,
	[QUEUE_VECTOR] = 2,          [QUEUE_ENABLE] = 2,
	[QUEUE_NOTIFY_OFF] = 2,      [QUEUE_DESC] = 8,
	[QUEUE_DRIVER] = 8,          [QUEUE_DEVICE] = 8,
	[QUEUE_NOTIFY_DATA] = 2,     [QUEUE_RESET] = 2,
};

static uint64_t get_queue_field(const struct virtqueue *vq, unsigned field)
{
	switch (field) {
	case QUEUE_SIZE:
		return vq->size;
	case QUEUE_VECTOR:
		return vq->vector;
	case QUEUE_ENABLE:
		return vq->enabled;
	case QUEUE_NOTIFY_OFF:
	case QUEUE_NOTIFY_DATA:
		return vq->index;
	case QUEUE_DESC:
		return vq->desc;
	case QUEUE_DRIVER:
		return vq->driver;
	case QUEUE_DEVICE:
		return vq->device;
	default: /* QUEUE_RESET: over when the write returns */
		return 0;
	}
}

static uint64_t get_common(struct virtio_dev *v, unsigned field)
{
	const struct virtio_pci *p = &v->pci;
	const struct virtqueue *vq = selected(v);

	switch (field) {
	case DEVICE_FEATURE_SELECT:
		return p->feature_select;
	case DEVICE_FEATURE:
		return virtio_host_features(v, p->feature_select);
	case DRIVER_FEATURE_SELECT:
		return p->driver_feature_select;
	case DRIVER_FEATURE:
		return p->driver_feature_select > 1
			       ? 0
			       : (uint32_t)(v->features >> 32 * p->driver_feature_select);
	case CONFIG_VECTOR:
		return p->config_vector;
	case NUM_QUEUES:
		return v->n_queues;
	case DEVICE_STATUS:
		return v->status;
	case CONFIG_GENERATION:
		return (uint8_t)v->config_generation;
	case QUEUE_SELECT:
		return p->queue_select;
	default:
		return vq ? get_queue_field(vq, field) : 0;
	}
}

static uint64_t common_read(void *dev, uint64_t off, unsigned size)
{
	return read_fields(dev, common_size, COMMON_SIZE, get_common, off, size);
}

static void set_queue_field(struct virtio_dev *v, struct virtqueue *vq, unsigned field, bool high,
			    uint32_t val)
{
	switch (field) {
	case QUEUE_SIZE:
		virtio_set_queue_size(v, vq, val);
		break;
	case QUEUE_VECTOR:
		vq->vector = usable_vector(&v->pci, val);
		break;
	case QUEUE_ENABLE:
		if (val == 1)
			virtio_enable_queue(v, vq);
		break;
	case QUEUE_DESC:
		virtio_set_queue_addr(v, vq, &vq->desc, high, val);
		break;
	case QUEUE_DRIVER:
		virtio_set_queue_addr(v, vq, &vq->driver, high, val);
		break;
	case QUEUE_DEVICE:
		virtio_set_queue_addr(v, vq, &vq->device, high, val);
		break;
	case QUEUE_RESET:
		if (val == 1)
			virtio_reset_queue(v, vq);
		break;
	default: /* read-only */
		break;
	}
}

static void set_common(struct virtio_dev *v, unsigned field, bool high, uint32_t val)
{
	struct virtio_pci *p = &v->pci;
	struct virtqueue *vq = selected(v);

	switch (field) {
	case DEVICE_FEATURE_SELECT:
		p->feature_select = val;
		break;
	case DRIVER_FEATURE_SELECT:
		p->driver_feature_select = val;
		break;
	case DRIVER_FEATURE:
		virtio_set_driver_features(v, p->driver_feature_select, val);
		break;
	case CONFIG_VECTOR:
		p->config_vector = usable_vector(p, val);
		break;
	case DEVICE_STATUS:
		write_status(v, (uint8_t)val, false);
		break;
	case QUEUE_SELECT:
		p->queue_select = (uint16_t)val;
		break;
	default:
		if (vq)
			set_queue_field(v, vq, field, high, val);
	}
}

static void common_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	bool in = off < COMMON_SIZE;

	if (in && common_size[off] == size)
		set_common(dev, (unsigned)off, false, (uint32_t)val);
	else if (in && size == 4 && common_size[off] == 8)
		set_common(dev, (unsigned)off, false, (uint32_t)val);
	else if (in && size == 4 && off >= 4 && common_size[off - 4] == 8)
		set_common(dev, (unsigned)off - 4, true, (uint32_t)val);
	else
		complain(dev, "common configuration", off, size);
}

/* --- modern: the other structures ------------------------------------------------------ */

static uint64_t isr_read(void *dev, uint64_t off, unsigned size)
{
	return off ? 0 : take_isr(&((struct virtio_dev *)dev)->pci);
}

static void isr_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	complain(dev, "ISR", off, size);
}

static uint64_t config_read(void *dev, uint64_t off, unsigned size)
{
	struct le64 val = { 0 };

	virtio_config_read(dev, (unsigned)off, &val, size);
	return le64_to_cpu(val);
}

static void config_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct le64 wire = cpu_to_le64(val);

	virtio_config_write(dev, (unsigned)off, &wire, size);
}

static uint64_t notify_read(void *dev, uint64_t off, unsigned size)
{
	return 0;
}

/* The place says which queue; with NOTIFICATION_DATA the value says more, which is not needed. */
static void notify_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct virtio_dev *v = dev;

	virtio_kick(v, (unsigned)(off / bell_stride(&v->pci)));
}

static const struct io_ops common_ops = {
	.read = common_read,
	.write = common_write,
	.min = 1,
	.max = 4,
};
static const struct io_ops isr_ops = {
	.read = isr_read,
	.write = isr_write,
	.min = 1,
	.max = 4,
};
static const struct io_ops config_ops = {
	.read = config_read,
	.write = config_write,
	.min = 1,
	.max = 8,
};
static const struct io_ops notify_ops = {
	.read = notify_read,
	.write = notify_write,
	.min = 1,
	.max = 4,
};

/* --- legacy ------------------------------------------------------------------------------ */

static const uint8_t legacy_size[L_CONFIG_MSIX] = {
	[L_DEVICE_FEATURES] = 4, [L_DRIVER_FEATURES] = 4, [L_QUEUE_ADDRESS] = 4, [L_QUEUE_SIZE] = 2,
	[L_QUEUE_SELECT] = 2,    [L_QUEUE_NOTIFY] = 2,    [L_STATUS] = 1,        [L_ISR] = 1,
	[L_CONFIG_VECTOR] = 2,   [L_QUEUE_VECTOR] = 2,
};

static uint64_t get_legacy(struct virtio_dev *v, unsigned field)
{
	struct virtio_pci *p = &v->pci;
	const struct virtqueue *vq = selected(v);

	switch (field) {
	case L_DEVICE_FEATURES:
		return virtio_legacy_features(v);
	case L_DRIVER_FEATURES:
		return (uint32_t)v->features;
	case L_QUEUE_ADDRESS:
		return vq ? vq->desc >> L_PAGE_SHIFT : 0;
	case L_QUEUE_SIZE:
		return vq ? vq->max_size : 0;
	case L_QUEUE_SELECT:
		return p->queue_select;
	case L_STATUS:
		return v->status;
	case L_ISR:
		return take_isr(p);
	case L_CONFIG_VECTOR:
		return p->config_vector;
	case L_QUEUE_VECTOR:
		return vq ? vq->vector : VIRTIO_NO_VECTOR;
	default: /* L_QUEUE_NOTIFY */
		return 0;
	}
}

static void set_legacy(struct virtio_dev *v, unsigned field, uint32_t val)
{
	struct virtio_pci *p = &v->pci;
	struct virtqueue *vq = selected(v);

	switch (field) {
	case L_DRIVER_FEATURES:
		virtio_set_legacy_features(v, val);
		break;
	case L_QUEUE_ADDRESS:
		if (!v->started)
			v->legacy = true;
		if (vq && v->legacy)
			virtio_set_legacy_ring(v, vq, (uint64_t)val << L_PAGE_SHIFT,
					       1u << L_PAGE_SHIFT);
		break;
	case L_QUEUE_SELECT:
		p->queue_select = (uint16_t)val;
		break;
	case L_QUEUE_NOTIFY:
		virtio_kick(v, val);
		break;
	case L_STATUS:
		write_status(v, (uint8_t)val, true);
		break;
	case L_CONFIG_VECTOR:
		p->config_vector = usable_vector(p, val);
		break;
	case L_QUEUE_VECTOR:
		if (vq)
			vq->vector = usable_vector(p, val);
		break;
	default: /* read-only */
		break;
	}
}

static unsigned legacy_header(const struct virtio_dev *v)
{
	return pci_msix_enabled(&v->pci.fn) ? L_CONFIG_MSIX : L_CONFIG;
}

static uint64_t legacy_read(void *dev, uint64_t off, unsigned size)
{
	unsigned header = legacy_header(dev);

	if (off >= header)
		return config_read(dev, off - header, size);
	return read_fields(dev, legacy_size, header, get_legacy, off, size);
}

static void legacy_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	unsigned header = legacy_header(dev);

	if (off >= header)
		config_write(dev, off - header, val, size);
	else if (legacy_size[off] == size)
		set_legacy(dev, (unsigned)off, (uint32_t)val);
	else
		complain(dev, "legacy registers", off, size);
}

static const struct io_ops legacy_ops = {
	.read = legacy_read,
	.write = legacy_write,
	.min = 1,
	.max = 4,
};

/* --- the window into BAR 4 that lies in configuration space (4.1.4.9) -------------------- */

/* The structure in which a driver's window lies, and the offset in it; NULL when it is not right.
 */
static struct io_region *window(struct virtio_dev *v, uint64_t *off, unsigned *len)
{
	struct virtio_pci *p = &v->pci;
	const struct pci_bar *bar = &p->fn.bar[MODERN_BAR];
	unsigned cap = p->cfg_cap;

	*off = pci_cfg32(&p->fn, cap + CAP_OFFSET);
	*len = pci_cfg32(&p->fn, cap + CAP_LENGTH);
	if (p->fn.cfg[cap + CAP_BAR] != MODERN_BAR || (*len != 1 && *len != 2 && *len != 4) ||
	    *off % *len)
		return NULL;
	for (unsigned i = 0; i < bar->n; i++) {
		struct io_region *r = bar->part[i].region;
		uint64_t at = *off - bar->part[i].off;

		if (*off >= bar->part[i].off && at + *len <= r->size) {
			*off = at;
			return r;
		}
	}
	return NULL;
}

static bool in_window(const struct virtio_pci *p, unsigned off, unsigned size)
{
	unsigned data = p->cfg_cap + CAP_PCI_DATA;

	return p->cfg_cap && off < data + 4 && off + size > data;
}

static void cfg_read(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct virtio_dev *v = of_fn(fn);
	struct io_region *r;
	unsigned len;
	uint64_t at;

	if (!in_window(&v->pci, off, size))
		return;
	r = window(v, &at, &len);
	if (!r)
		return;
	pthread_mutex_lock(&v->dev.lock);
	pci_set32(fn, v->pci.cfg_cap + CAP_PCI_DATA, (uint32_t)r->ops->read(v, at, len));
	pthread_mutex_unlock(&v->dev.lock);
}

static void cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct virtio_dev *v = of_fn(fn);
	struct io_region *r;
	unsigned len;
	uint64_t at;

	if (!in_window(&v->pci, off, size))
		return;
	r = window(v, &at, &len);
	if (!r)
		return;
	pthread_mutex_lock(&v->dev.lock);
	r->ops->write(v, at, pci_cfg32(fn, v->pci.cfg_cap + CAP_PCI_DATA) & (~0u >> (32 - 8 * len)),
		      len);
	pthread_mutex_unlock(&v->dev.lock);
}

static const struct pci_fn_ops fn_ops = {
	.cfg_read = cfg_read,
	.cfg_written = cfg_written,
	.bar_mapped = bar_mapped,
};

/* --- set-up -------------------------------------------------------------------------------- */

static uint64_t pow2_up(uint64_t n, uint64_t least)
{
	while (least < n)
		least *= 2;
	return least;
}

static void add_region(struct virtio_dev *v, unsigned bar, struct io_region *r, const char *name,
		       const struct io_ops *ops, uint64_t off, uint64_t size)
{
	r->name = name;
	r->ops = ops;
	r->dev = v;
	r->lock = &v->dev.lock;
	r->size = size;
	pci_bar_add(&v->pci.fn, bar, r, off);
}

static unsigned add_cap(struct virtio_dev *v, enum cfg_type type, unsigned cap_len, uint32_t off,
			uint32_t len)
{
	struct pci_fn *fn = &v->pci.fn;
	unsigned cap = pci_add_cap(fn, PCI_CAP_VENDOR, cap_len);

	fn->cfg[cap + CAP_LEN] = (uint8_t)cap_len;
	fn->cfg[cap + CAP_TYPE] = (uint8_t)type;
	fn->cfg[cap + CAP_BAR] = type == CFG_PCI ? 0 : MODERN_BAR;
	pci_set32(fn, cap + CAP_OFFSET, off);
	pci_set32(fn, cap + CAP_LENGTH, len);
	return cap;
}

static void add_modern(struct virtio_dev *v)
{
	struct virtio_pci *p = &v->pci;
	struct pci_fn *fn = &p->fn;
	uint32_t notify_len = pow2_up((uint64_t)v->n_queues * bell_stride(p), PAGE);
	unsigned cap;

	pci_bar_init(fn, MODERN_BAR, PCI_BAR_MEM | PCI_BAR_64 | PCI_BAR_PREFETCH,
		     pow2_up(NOTIFY_AT + notify_len, 4 * PAGE));
	add_region(v, MODERN_BAR, &p->common, "virtio-pci common", &common_ops, COMMON_AT, PAGE);
	add_region(v, MODERN_BAR, &p->isr, "virtio-pci isr", &isr_ops, ISR_AT, PAGE);
	add_region(v, MODERN_BAR, &p->device, "virtio-pci device", &config_ops, DEVICE_AT, PAGE);
	add_region(v, MODERN_BAR, &p->notify, "virtio-pci notify", &notify_ops, NOTIFY_AT,
		   notify_len);
	add_cap(v, CFG_COMMON, CAP_SIZE, COMMON_AT, COMMON_SIZE);
	add_cap(v, CFG_ISR, CAP_SIZE, ISR_AT, 1);
	if (v->config_size)
		add_cap(v, CFG_DEVICE, CAP_SIZE, DEVICE_AT, (v->config_size + 3) & ~3u);
	cap = add_cap(v, CFG_NOTIFY, CAP_SIZE + 4, NOTIFY_AT, notify_len);
	pci_set32(fn, cap + CAP_NOTIFY_MULTIPLIER, bell_stride(p));
	p->cfg_cap = (uint8_t)add_cap(v, CFG_PCI, CAP_SIZE + 4, 0, 0);
	fn->wmask[p->cfg_cap + CAP_BAR] = 0xff;
	memset(&fn->wmask[p->cfg_cap + CAP_OFFSET], 0xff, 12);
}

static void add_legacy(struct virtio_dev *v)
{
	uint64_t size = pow2_up(L_CONFIG_MSIX + v->config_size, 32);

	pci_bar_init(&v->pci.fn, LEGACY_BAR, PCI_BAR_IO, size);
	add_region(v, LEGACY_BAR, &v->pci.legacy, "virtio-pci legacy", &legacy_ops, 0, size);
}

static int add_msix(struct virtio_dev *v, struct err *e)
{
	uint32_t n = v->pci.vectors == UINT32_MAX ? v->n_queues + 1 : v->pci.vectors;
	uint64_t size = pow2_up(2ull * 16 * n, PAGE);

	if (!n)
		return 0;
	/* 2048 is what the table's size field can say. */
	if (n > 2048) {
		err_set(e, ERR_USAGE, ERANGE, "%s: vectors=%u: MSI-X has 2048 vectors at most",
			v->dev.cls->name, n);
		return -ERANGE;
	}
	pci_bar_init(&v->pci.fn, MSIX_BAR, PCI_BAR_MEM, size);
	return pci_msix_init(&v->pci.fn, n, MSIX_BAR, 0, size / 2, e);
}

/* Which interfaces there are, from properties and what the type can. */
static int choose(struct virtio_dev *v, struct err *e)
{
	struct virtio_pci *p = &v->pci;
	const char *name = v->dev.cls->name;
	bool can = v->type->legacy_pci_id && !v->p_access_platform;

	p->has_modern = p->disable_modern == OFF;
	p->has_legacy = p->disable_legacy == OFF || (p->disable_legacy == AUTO && can);
	if (p->has_legacy && !v->type->legacy_pci_id) {
		err_set(e, ERR_USAGE, EINVAL, "%s: disable-legacy=off: it has no legacy interface",
			name);
		err_hint(e, "leave disable-legacy= out");
		return -EINVAL;
	}
	if (p->has_legacy && v->p_access_platform) {
		err_set(e, ERR_USAGE, EINVAL,
			"%s: iommu_platform=on: the legacy interface cannot offer it", name);
		err_hint(e, "leave disable-legacy= out, or set disable-legacy=on");
		return -EINVAL;
	}
	if (!p->has_legacy && !p->has_modern) {
		err_set(e, ERR_USAGE, EINVAL, "%s: disable-modern=on leaves no interface", name);
		err_hint(e, "use disable-modern=off%s", can ? " or disable-legacy=off" : "");
		return -EINVAL;
	}
	return 0;
}

static int init_fn(struct virtio_dev *v, struct err *e)
{
	const struct virtio_type *t = v->type;
	bool transitional = v->pci.has_legacy;
	struct pci_ident id = {
		.vendor = VENDOR_REDHAT,
		.device = transitional ? t->legacy_pci_id : MODERN_ID + t->id,
		.subsystem_vendor = VENDOR_REDHAT,
		.subsystem = transitional ? t->id : MODERN_SUBSYSTEM,
		.revision = transitional ? 0 : 1,
		.class_code = t->pci_class,
		.pin = 1,
	};

	return pci_fn_init(&v->pci.fn, &v->dev, &id, &fn_ops, v, e);
}

int virtio_pci_init(struct dev *d, struct err *e)
{
	struct virtio_dev *v = (struct virtio_dev *)d;
	int rc;

	pthread_mutex_init(&v->pci.bell_lock, NULL);
	rc = virtio_init(v, &pci_transport, e);
	rc = rc ? rc : choose(v, e);
	rc = rc ? rc : init_fn(v, e);
	if (rc)
		return rc;
	if (v->pci.has_legacy)
		add_legacy(v);
	if (v->pci.has_modern)
		add_modern(v);
	rc = add_msix(v, e);
	return rc ? rc : pci_fn_plug(&v->pci.fn, e);
}

void virtio_pci_reset(struct dev *d)
{
	struct virtio_dev *v = (struct virtio_dev *)d;

	virtio_reset(v);
	reset_registers(&v->pci);
	pci_fn_reset(&v->pci.fn);
}

void virtio_pci_fini(struct dev *d)
{
	struct virtio_dev *v = (struct virtio_dev *)d;

	pci_fn_hide(&v->pci.fn);
	/* Until it is stopped, its I/O thread sends interrupts. */
	virtio_fini(v);
	pci_fn_unplug(&v->pci.fn);
	pthread_mutex_destroy(&v->pci.bell_lock);
}

const struct prop virtio_pci_props[] = {
	VIRTIO_PROPS,
	PROP_CHOICE(struct virtio_dev, pci.disable_legacy, "disable-legacy", "auto", off_on_auto,
		    "no interface for drivers of virtio 0.9.5 (auto: if the type has none)"),
	PROP_CHOICE(struct virtio_dev, pci.disable_modern, "disable-modern", "off", off_on,
		    "no interface for drivers of virtio 1.0 and later"),
	PROP_RANGE(struct virtio_dev, pci.vectors, PROP_U32, "vectors", "4294967295", 0, UINT32_MAX,
		   "MSI-X vectors (4294967295: one a queue and one more; 0: no MSI-X)"),
	PROP(struct virtio_dev, pci.page_per_vq, PROP_BOOL, "page-per-vq", "off",
	     "each queue's doorbell in a page of its own"),
	PCI_FN_PROPS(struct virtio_dev, pci.fn),
	PROP_END,
};
