/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over MMIO (Virtual I/O Device specification 1.2, section 4.2): one
 * page fragment of registers and one interrupt line a device, for machines
 * without PCI. Version 2 of the registers; version 1 (4.2.4, legacy) with
 * force-legacy=on.
 *
 * Register handlers run on vCPU threads under dev.lock, interrupts on any thread.
 */
#include "virtio.h"

#include <errno.h>
#include <string.h>

#include "err.h"
#include "machine.h"
#include "wire/le.h"

/* Where the first device is put when its user does not care, and how far apart they lie. */
#define FIRST_BASE 0xd0000000ull
#define LAST_BASE 0xd0100000ull
enum { SIZE = 0x200, CONFIG_AT = 0x100 };

enum { MAGIC = 0x74726976, VENDOR = 0x1af4 };

enum reg {
	MAGIC_VALUE = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	GUEST_PAGE_SIZE = 0x028, /* version 1 */
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_ALIGN = 0x03c, /* version 1 */
	QUEUE_PFN = 0x040, /* version 1 */
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_LEN_LOW = 0x0b0,
	SHM_BASE_HIGH = 0x0bc,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
};

enum isr { ISR_QUEUE = 1, ISR_CONFIG = 2 };

static struct virtqueue *selected(struct virtio_dev *v)
{
	return virtio_queue(v, v->mmio.queue_select);
}

/* --- interrupts, any thread ------------------------------------------------------ */

static void raise_isr(struct virtio_dev *v, uint32_t isr)
{
	atomic_fetch_or(&v->mmio.isr_status, isr);
	irq_set(&v->mmio.irq, true);
}

static void notify_queue(struct virtio_dev *v, struct virtqueue *vq)
{
	raise_isr(v, ISR_QUEUE);
}

static void notify_config(struct virtio_dev *v)
{
	raise_isr(v, ISR_CONFIG);
}

static void acknowledge(struct virtio_mmio *p, uint32_t isr)
{
	if (atomic_fetch_and(&p->isr_status, ~isr) & ~isr)
		return;
	irq_set(&p->irq, false);
	/* One that came in between was lowered with the rest. */
	if (p->isr_status)
		irq_set(&p->irq, true);
}

/*
 * All queues share a register, told apart by the value written. With
 * NOTIFICATION_DATA its upper half changes, and the handler is called.
 */
static void doorbell(struct virtio_dev *v, struct virtqueue *vq, bool on)
{
	struct io_region *r = &v->mmio.regs;

	if (on)
		bus_doorbell(r, QUEUE_NOTIFY, 4, vq->index, vq->doorbell);
	else
		bus_doorbell_remove(r, QUEUE_NOTIFY, 4, vq->index, vq->doorbell);
}

static const struct virtio_transport_ops mmio_transport = {
	.notify_queue = notify_queue,
	.notify_config = notify_config,
	.doorbell = doorbell,
};

/* --- registers --------------------------------------------------------------------- */

static void reset_registers(struct virtio_mmio *p)
{
	p->feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	p->page_size = p->queue_align = 0;
	acknowledge(p, UINT32_MAX);
}

static uint32_t get_queue_reg(const struct virtio_dev *v, const struct virtqueue *vq, unsigned reg)
{
	switch (reg) {
	case QUEUE_NUM_MAX:
		return vq->max_size;
	case QUEUE_READY:
		return vq->enabled;
	case QUEUE_PFN:
		return v->mmio.force_legacy && v->mmio.page_size
			       ? (uint32_t)(vq->desc / v->mmio.page_size)
			       : 0;
	default: /* QUEUE_RESET: over when the write returns; the others are write-only */
		return 0;
	}
}

static uint32_t device_features(const struct virtio_dev *v)
{
	if (!v->mmio.force_legacy)
		return virtio_host_features(v, v->mmio.feature_select);
	return v->mmio.feature_select ? 0 : virtio_legacy_features(v);
}

static uint32_t get_reg(struct virtio_dev *v, unsigned reg)
{
	const struct virtio_mmio *p = &v->mmio;
	const struct virtqueue *vq = selected(v);

	switch (reg) {
	case MAGIC_VALUE:
		return MAGIC;
	case VERSION:
		return p->force_legacy ? 1 : 2;
	case DEVICE_ID:
		return v->type->id;
	case VENDOR_ID:
		return VENDOR;
	case DEVICE_FEATURES:
		return device_features(v);
	case INTERRUPT_STATUS:
		return p->isr_status;
	case STATUS:
		return v->status;
	case CONFIG_GENERATION:
		return v->config_generation;
	case SHM_LEN_LOW ... SHM_BASE_HIGH:
		return UINT32_MAX; /* there is no shared memory region */
	default:
		return vq ? get_queue_reg(v, vq, reg) : 0;
	}
}

static bool is_pow2(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* QueuePFN of version 1: enables the queue, or with 0 disables it. */
static void set_pfn(struct virtio_dev *v, struct virtqueue *vq, uint32_t pfn)
{
	struct virtio_mmio *p = &v->mmio;

	if (pfn && (!is_pow2(p->page_size) || !is_pow2(p->queue_align))) {
		log_guest(&v->log, v->dev.cls->name,
			  "queue %u: a page size of %u and an alignment of %u are refused",
			  vq->index, p->page_size, p->queue_align);
		return;
	}
	virtio_set_legacy_ring(v, vq, (uint64_t)pfn * p->page_size, p->queue_align);
}

static void set_legacy_queue_reg(struct virtio_dev *v, struct virtqueue *vq, unsigned reg,
				 uint32_t val)
{
	switch (reg) {
	case QUEUE_NUM:
		virtio_set_queue_size(v, vq, val);
		break;
	case QUEUE_ALIGN:
		v->mmio.queue_align = val;
		break;
	case QUEUE_PFN:
		set_pfn(v, vq, val);
		break;
	}
}

static void set_queue_reg(struct virtio_dev *v, struct virtqueue *vq, unsigned reg, uint32_t val)
{
	bool high = reg & 4;

	switch (reg) {
	case QUEUE_NUM:
		virtio_set_queue_size(v, vq, val);
		break;
	case QUEUE_READY:
		if (val == 1)
			virtio_enable_queue(v, vq);
		else if (!val)
			virtio_disable_queue(v, vq);
		break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
		virtio_set_queue_addr(v, vq, &vq->desc, high, val);
		break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
		virtio_set_queue_addr(v, vq, &vq->driver, high, val);
		break;
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		virtio_set_queue_addr(v, vq, &vq->device, high, val);
		break;
	case QUEUE_RESET:
		if (val == 1)
			virtio_reset_queue(v, vq);
		break;
	}
}

static void set_driver_features(struct virtio_dev *v, uint32_t val)
{
	if (!v->mmio.force_legacy)
		virtio_set_driver_features(v, v->mmio.driver_feature_select, val);
	else if (!v->mmio.driver_feature_select)
		virtio_set_legacy_features(v, val);
}

static void set_status(struct virtio_dev *v, uint8_t val)
{
	if (!v->started)
		v->legacy = v->mmio.force_legacy;
	virtio_set_status(v, val);
	if (!val)
		reset_registers(&v->mmio);
}

static void set_reg(struct virtio_dev *v, unsigned reg, uint32_t val)
{
	struct virtio_mmio *p = &v->mmio;
	struct virtqueue *vq = selected(v);

	switch (reg) {
	case DEVICE_FEATURES_SEL:
		p->feature_select = val;
		break;
	case DRIVER_FEATURES:
		set_driver_features(v, val);
		break;
	case DRIVER_FEATURES_SEL:
		p->driver_feature_select = val;
		break;
	case GUEST_PAGE_SIZE:
		p->page_size = val;
		break;
	case QUEUE_SEL:
		p->queue_select = val;
		break;
	case QUEUE_NOTIFY:
		/* With NOTIFICATION_DATA the upper half tells more, which is not needed. */
		virtio_kick(v, virtio_has(v, VIRTIO_F_NOTIFICATION_DATA) ? val & 0xffff : val);
		break;
	case INTERRUPT_ACK:
		acknowledge(p, val);
		break;
	case STATUS:
		set_status(v, (uint8_t)val);
		break;
	default:
		if (vq && p->force_legacy)
			set_legacy_queue_reg(v, vq, reg, val);
		else if (vq)
			set_queue_reg(v, vq, reg, val);
	}
}

/* Registers are read and written as a whole (4.2.2.2); the configuration space as its fields are.
 */
static bool is_reg(struct virtio_dev *v, uint64_t off, unsigned size)
{
	if (size == 4) /* the bus makes aligned pieces */
		return true;
	log_guest(&v->log, v->dev.cls->name, "access of %u bytes to the register at 0x%llx", size,
		  (unsigned long long)off);
	return false;
}

static uint64_t mmio_read(void *dev, uint64_t off, unsigned size)
{
	struct virtio_dev *v = dev;
	struct le64 val = { 0 };

	if (off < CONFIG_AT)
		return is_reg(v, off, size) ? get_reg(v, (unsigned)off) : 0;
	virtio_config_read(v, (unsigned)off - CONFIG_AT, &val, size);
	return le64_to_cpu(val);
}

static void mmio_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct virtio_dev *v = dev;
	struct le64 wire = cpu_to_le64(val);

	if (off >= CONFIG_AT)
		virtio_config_write(v, (unsigned)off - CONFIG_AT, &wire, size);
	else if (is_reg(v, off, size))
		set_reg(v, (unsigned)off, (uint32_t)val);
}

static const struct io_ops mmio_ops = {
	.read = mmio_read,
	.write = mmio_write,
	.min = 1,
	.max = 4,
};

/* --- places and interrupt lines -------------------------------------------------------- */

static bool is_mmio(const struct dev *d)
{
	return d->cls->init == virtio_mmio_init;
}

void virtio_mmio_each(struct machine *m,
		      void (*fn)(void *ctx, uint64_t base, uint64_t size, unsigned irq), void *ctx)
{
	for (struct dev *d = m->devices; d; d = d->next)
		if (is_mmio(d))
			fn(ctx, ((struct virtio_dev *)d)->mmio.base, SIZE,
			   ((struct virtio_dev *)d)->mmio.irq_n);
}

/* What is at [base, base + SIZE), or NULL. */
static const struct io_region *neighbour(struct machine *m, uint64_t base)
{
	const struct io_region *r = NULL;

	for (unsigned off = 0; !r && off < SIZE; off += 4)
		r = bus_find(&m->mmio, base + off);
	return r;
}

static int choose_base(struct virtio_dev *v, struct err *e)
{
	struct virtio_mmio *p = &v->mmio;
	const char *name = v->dev.cls->name;
	const struct io_region *other;

	if (!p->base) {
		for (p->base = FIRST_BASE; p->base < LAST_BASE; p->base += SIZE)
			if (!neighbour(v->dev.m, p->base))
				return 0;
		return err_set(e, ERR_USAGE, ENOSPC, "%s: no place for its registers is left",
			       name);
	}
	if (p->base % SIZE || p->base > UINT64_MAX - SIZE) {
		err_set(e, ERR_USAGE, EINVAL, "%s: addr=0x%llx is not a multiple of 0x%x", name,
			(unsigned long long)p->base, SIZE);
		return -EINVAL;
	}
	if (gmem_ptr(&v->dev.m->mem, p->base, 1)) {
		err_set(e, ERR_USAGE, EBUSY, "%s: addr=0x%llx lies in RAM", name,
			(unsigned long long)p->base);
		err_hint(e, "leave addr= out, or take one from 0x%llx on", FIRST_BASE);
		return -EBUSY;
	}
	other = neighbour(v->dev.m, p->base);
	if (other) {
		err_set(e, ERR_USAGE, EBUSY, "%s: addr=0x%llx is taken by %s", name,
			(unsigned long long)p->base, other->name);
		err_hint(e, "leave addr= out: the next free place is taken then");
		return -EBUSY;
	}
	return 0;
}

static bool have_device(const struct machine *m, const char *name)
{
	for (const struct dev *d = m->devices; d; d = d->next)
		if (!strcmp(d->cls->name, name))
			return true;
	return false;
}

/* Interrupt lines that somebody pulls, as a mask: they cannot be shared as long as they are edges.
 */
static unsigned lines_taken(const struct machine *m)
{
	/* the timer, the cascade and the FPU */
	unsigned taken = 1u << 0 | 1u << 2 | 1u << 13;

	if (m->serial_mask & 0x5)
		taken |= 1u << 4;
	if (m->serial_mask & 0xa)
		taken |= 1u << 3;
	if (have_device(m, "i8042"))
		taken |= 1u << 1 | 1u << 12;
	if (have_device(m, "mc146818rtc"))
		taken |= 1u << 8;
	if (have_device(m, "acpi-pm"))
		taken |= 1u << 9;
	/* those that firmware routes PCI's to */
	if (m->pci)
		taken |= 1u << 10 | 1u << 11;
	for (const struct dev *d = m->devices; d; d = d->next)
		if (is_mmio(d))
			taken |= 1u << ((const struct virtio_dev *)d)->mmio.irq_n;
	return taken;
}

static int choose_irq(struct virtio_dev *v, struct err *e)
{
	static const uint8_t order[] = { 5, 7, 9, 10, 11, 12, 6, 14, 15, 3, 4, 8, 1 };
	unsigned taken = lines_taken(v->dev.m);

	if (!v->mmio.irq_n) {
		for (size_t i = 0; !v->mmio.irq_n && i < sizeof(order); i++)
			if (!(taken >> order[i] & 1))
				v->mmio.irq_n = order[i];
		if (!v->mmio.irq_n) {
			err_set(e, ERR_USAGE, ENOSPC, "%s: no interrupt line is left",
				v->dev.cls->name);
			err_hint(e, "put the device on PCI (-machine pc, and its name with -pci)");
			return -ENOSPC;
		}
	} else if (taken >> v->mmio.irq_n & 1) {
		err_set(e, ERR_USAGE, EBUSY, "%s: irq=%u: another device uses this line",
			v->dev.cls->name, v->mmio.irq_n);
		err_hint(e, "leave irq= out: the next free line is taken then");
		return -EBUSY;
	}
	v->mmio.irq = v->dev.m->isa_irq[v->mmio.irq_n];
	return 0;
}

/* --- set-up ------------------------------------------------------------------------------ */

int virtio_mmio_init(struct dev *d, struct err *e)
{
	struct virtio_dev *v = (struct virtio_dev *)d;
	struct virtio_mmio *p = &v->mmio;
	int rc = virtio_init(v, &mmio_transport, e);

	if (!rc && p->force_legacy && v->p_access_platform) {
		err_set(e, ERR_USAGE, EINVAL,
			"%s: iommu_platform=on: the legacy interface cannot offer it",
			d->cls->name);
		err_hint(e, "leave force-legacy= out");
		rc = -EINVAL;
	}
	rc = rc ? rc : choose_base(v, e);
	rc = rc ? rc : choose_irq(v, e);
	if (rc)
		return rc;
	p->regs = (struct io_region){
		.name = d->cls->name,
		.ops = &mmio_ops,
		.dev = v,
		.lock = &d->lock,
		.size = SIZE,
		.prio = 1, /* on a machine with PCI, in front of a BAR that is moved over it */
	};
	bus_map(&d->m->mmio, &p->regs, p->base);
	return 0;
}

void virtio_mmio_reset(struct dev *d)
{
	struct virtio_dev *v = (struct virtio_dev *)d;

	virtio_reset(v);
	reset_registers(&v->mmio);
}

void virtio_mmio_fini(struct dev *d)
{
	struct virtio_dev *v = (struct virtio_dev *)d;

	if (bus_mapped(&v->mmio.regs)) {
		bus_unmap(&v->mmio.regs);
		bus_sync();
	}
	virtio_fini(v);
}

const struct prop virtio_mmio_props[] = {
	VIRTIO_PROPS,
	PROP(struct virtio_dev, mmio.base, PROP_U64, "addr", NULL,
	     "where its registers are (a multiple of 512; else the next free place)"),
	PROP_RANGE(struct virtio_dev, mmio.irq_n, PROP_U32, "irq", NULL, 1, 15,
		   "its interrupt line (else the next free one)"),
	PROP(struct virtio_dev, mmio.force_legacy, PROP_BOOL, "force-legacy", "off",
	     "registers as before virtio 1.0 (version 1)"),
	PROP_END,
};
