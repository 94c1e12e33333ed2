/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio's transports as a driver uses them (Virtual I/O Device specification
 * 1.2): PCI by capabilities (4.1.4), legacy PCI (4.1.4.8), MMIO version 2 and 1
 * (4.2.2, 4.2.4); finding devices, initialisation (3.1), interrupts. The rings
 * are in vring.c.
 */
#include "virtio.h"
#include "pci.h"

#define PCI_VENDOR_VIRTIO 0x1af4

enum { VEC_INTX = 0x4e, VEC_TIMER = 0x4f, VEC_MSIX = 0x50 };

static volatile bool timed_out;
static struct vdev *irq_dev; /* whose interrupts they are: one device at a time has any */

static inline uint8_t rd8(uint64_t a)
{
	return *(volatile uint8_t *)a;
}
static inline uint16_t rd16(uint64_t a)
{
	return *(volatile uint16_t *)a;
}
static inline void wr8(uint64_t a, uint8_t v)
{
	*(volatile uint8_t *)a = v;
}
static inline void wr16(uint64_t a, uint16_t v)
{
	*(volatile uint16_t *)a = v;
}
static inline void wr64(uint64_t a, uint64_t v)
{
	mmio_write32(a, (uint32_t)v);
	mmio_write32(a + 4, (uint32_t)(v >> 32));
}

static uint32_t rd(uint64_t a, unsigned size)
{
	return size == 1 ? rd8(a) : size == 2 ? rd16(a) : mmio32(a);
}
static void wr(uint64_t a, unsigned size, uint32_t v)
{
	if (size == 1)
		wr8(a, (uint8_t)v);
	else if (size == 2)
		wr16(a, (uint16_t)v);
	else
		mmio_write32(a, v);
}

/* --- PCI by capabilities: struct virtio_pci_common_cfg --- */
enum common_reg {
	C_OFFERED_SELECT = 0x00,
	C_OFFERED = 0x04,
	C_FEATURES_SELECT = 0x08,
	C_FEATURES = 0x0c,
	C_CONFIG_VECTOR = 0x10,
	C_STATUS = 0x14,
	C_QUEUE_SELECT = 0x16,
	C_QUEUE_SIZE = 0x18,
	C_QUEUE_VECTOR = 0x1a,
	C_QUEUE_ENABLE = 0x1c,
	C_QUEUE_NOTIFY_OFF = 0x1e,
	C_QUEUE_DESC = 0x20,
	C_QUEUE_DRIVER = 0x28,
	C_QUEUE_DEVICE = 0x30,
};

static uint8_t modern_status(struct vdev *d)
{
	return rd8(d->common + C_STATUS);
}

static void modern_set_status(struct vdev *d, uint8_t v)
{
	wr8(d->common + C_STATUS, v);
}

static uint64_t modern_offered(struct vdev *d)
{
	uint64_t v;

	mmio_write32(d->common + C_OFFERED_SELECT, 0);
	v = mmio32(d->common + C_OFFERED);
	mmio_write32(d->common + C_OFFERED_SELECT, 1);
	return v | (uint64_t)mmio32(d->common + C_OFFERED) << 32;
}

static void modern_set_features(struct vdev *d, uint64_t v)
{
	mmio_write32(d->common + C_FEATURES_SELECT, 0);
	mmio_write32(d->common + C_FEATURES, (uint32_t)v);
	mmio_write32(d->common + C_FEATURES_SELECT, 1);
	mmio_write32(d->common + C_FEATURES, (uint32_t)(v >> 32));
}

static uint32_t modern_cfg_read(struct vdev *d, unsigned off, unsigned size)
{
	return rd(d->cfg + off, size);
}

static void modern_cfg_write(struct vdev *d, unsigned off, unsigned size, uint32_t v)
{
	wr(d->cfg + off, size, v);
}

static uint16_t modern_queue_max(struct vdev *d, unsigned q)
{
	wr16(d->common + C_QUEUE_SELECT, (uint16_t)q);
	return rd16(d->common + C_QUEUE_SIZE);
}

static void modern_queue_place(struct vdev *d, unsigned q, const struct vq_place *p)
{
	wr16(d->common + C_QUEUE_SELECT, (uint16_t)q);
	wr16(d->common + C_QUEUE_SIZE, p->size);
	wr64(d->common + C_QUEUE_DESC, p->desc);
	wr64(d->common + C_QUEUE_DRIVER, p->driver);
	wr64(d->common + C_QUEUE_DEVICE, p->device);
	wr16(d->common + C_CONFIG_VECTOR, d->irq == VIRQ_MSIX ? 0 : VIRTIO_NO_VECTOR);
	wr16(d->common + C_QUEUE_VECTOR, p->vector);
	wr16(d->common + C_QUEUE_ENABLE, 1);
}

static void modern_notify(struct vdev *d, unsigned q)
{
	wr16(vdev_doorbell(d, q), (uint16_t)q);
}

static uint8_t modern_read_isr(struct vdev *d)
{
	return rd8(d->isr);
}

static const struct vdev_ops modern_ops = {
	.status = modern_status,
	.set_status = modern_set_status,
	.offered = modern_offered,
	.set_features = modern_set_features,
	.cfg_read = modern_cfg_read,
	.cfg_write = modern_cfg_write,
	.queue_max = modern_queue_max,
	.queue_place = modern_queue_place,
	.notify = modern_notify,
	.read_isr = modern_read_isr,
};

/* --- legacy PCI: registers in I/O BAR 0 --- */
enum legacy_reg {
	L_OFFERED = 0x00,
	L_FEATURES = 0x04,
	L_QUEUE_PFN = 0x08,
	L_QUEUE_SIZE = 0x0c,
	L_QUEUE_SELECT = 0x0e,
	L_QUEUE_NOTIFY = 0x10,
	L_STATUS = 0x12,
	L_ISR = 0x13,
	L_CONFIG_VECTOR = 0x14, /* these two only while MSI-X is on */
	L_QUEUE_VECTOR = 0x16,
};

static uint8_t legacy_status(struct vdev *d)
{
	return inb(d->io + L_STATUS);
}

static void legacy_set_status(struct vdev *d, uint8_t v)
{
	outb(d->io + L_STATUS, v);
}

static uint64_t legacy_offered(struct vdev *d)
{
	return inl(d->io + L_OFFERED);
}

static void legacy_set_features(struct vdev *d, uint64_t v)
{
	outl(d->io + L_FEATURES, (uint32_t)v);
}

static uint16_t legacy_cfg_port(struct vdev *d, unsigned off)
{
	return (uint16_t)(d->io + (d->irq == VIRQ_MSIX ? 24 : 20) + off);
}

static uint32_t legacy_cfg_read(struct vdev *d, unsigned off, unsigned size)
{
	uint16_t port = legacy_cfg_port(d, off);

	return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

static void legacy_cfg_write(struct vdev *d, unsigned off, unsigned size, uint32_t v)
{
	uint16_t port = legacy_cfg_port(d, off);

	if (size == 1)
		outb(port, (uint8_t)v);
	else if (size == 2)
		outw(port, (uint16_t)v);
	else
		outl(port, v);
}

static uint16_t legacy_queue_max(struct vdev *d, unsigned q)
{
	outw(d->io + L_QUEUE_SELECT, (uint16_t)q);
	return inw(d->io + L_QUEUE_SIZE);
}

static void legacy_queue_place(struct vdev *d, unsigned q, const struct vq_place *p)
{
	outw(d->io + L_QUEUE_SELECT, (uint16_t)q);
	if (d->irq == VIRQ_MSIX) {
		outw(d->io + L_CONFIG_VECTOR, 0);
		outw(d->io + L_QUEUE_VECTOR, p->vector);
	}
	outl(d->io + L_QUEUE_PFN, (uint32_t)(p->desc >> 12));
}

static void legacy_notify(struct vdev *d, unsigned q)
{
	outw(d->io + L_QUEUE_NOTIFY, (uint16_t)q);
}

static uint8_t legacy_read_isr(struct vdev *d)
{
	return inb(d->io + L_ISR);
}

static const struct vdev_ops legacy_ops = {
	.status = legacy_status,
	.set_status = legacy_set_status,
	.offered = legacy_offered,
	.set_features = legacy_set_features,
	.cfg_read = legacy_cfg_read,
	.cfg_write = legacy_cfg_write,
	.queue_max = legacy_queue_max,
	.queue_place = legacy_queue_place,
	.notify = legacy_notify,
	.read_isr = legacy_read_isr,
};

/* --- MMIO --- */
#define MMIO_MAGIC 0x74726976
enum mmio_reg {
	M_MAGIC = 0x000,
	M_VERSION = 0x004,
	M_TYPE = 0x008,
	M_OFFERED = 0x010,
	M_OFFERED_SELECT = 0x014,
	M_FEATURES = 0x020,
	M_FEATURES_SELECT = 0x024,
	M_PAGE_SIZE = 0x028, /* version 1 */
	M_QUEUE_SELECT = 0x030,
	M_QUEUE_MAX = 0x034,
	M_QUEUE_SIZE = 0x038,
	M_QUEUE_ALIGN = 0x03c, /* version 1 */
	M_QUEUE_PFN = 0x040, /* version 1 */
	M_QUEUE_READY = 0x044,
	M_NOTIFY = 0x050,
	M_ISR = 0x060,
	M_ISR_ACK = 0x064,
	M_STATUS = 0x070,
	M_QUEUE_DESC = 0x080,
	M_QUEUE_DRIVER = 0x090,
	M_QUEUE_DEVICE = 0x0a0,
	M_CONFIG = 0x100,
};

static uint8_t mmio_status(struct vdev *d)
{
	return (uint8_t)mmio32(d->mmio + M_STATUS);
}

static void mmio_set_status(struct vdev *d, uint8_t v)
{
	mmio_write32(d->mmio + M_STATUS, v);
}

static uint64_t mmio_offered(struct vdev *d)
{
	uint64_t v;

	mmio_write32(d->mmio + M_OFFERED_SELECT, 0);
	v = mmio32(d->mmio + M_OFFERED);
	if (d->mmio_version == 1)
		return v;
	mmio_write32(d->mmio + M_OFFERED_SELECT, 1);
	return v | (uint64_t)mmio32(d->mmio + M_OFFERED) << 32;
}

static void mmio_set_features(struct vdev *d, uint64_t v)
{
	mmio_write32(d->mmio + M_FEATURES_SELECT, 0);
	mmio_write32(d->mmio + M_FEATURES, (uint32_t)v);
	if (d->mmio_version == 1)
		return;
	mmio_write32(d->mmio + M_FEATURES_SELECT, 1);
	mmio_write32(d->mmio + M_FEATURES, (uint32_t)(v >> 32));
}

static uint32_t mmio_cfg_read(struct vdev *d, unsigned off, unsigned size)
{
	return rd(d->mmio + M_CONFIG + off, size);
}

static void mmio_cfg_write(struct vdev *d, unsigned off, unsigned size, uint32_t v)
{
	wr(d->mmio + M_CONFIG + off, size, v);
}

static uint16_t mmio_queue_max(struct vdev *d, unsigned q)
{
	mmio_write32(d->mmio + M_QUEUE_SELECT, q);
	return (uint16_t)mmio32(d->mmio + M_QUEUE_MAX);
}

static void mmio_queue_place(struct vdev *d, unsigned q, const struct vq_place *p)
{
	mmio_write32(d->mmio + M_QUEUE_SELECT, q);
	mmio_write32(d->mmio + M_QUEUE_SIZE, p->size);
	if (d->mmio_version == 1) {
		mmio_write32(d->mmio + M_PAGE_SIZE, 4096);
		mmio_write32(d->mmio + M_QUEUE_ALIGN, 4096);
		mmio_write32(d->mmio + M_QUEUE_PFN, (uint32_t)(p->desc >> 12));
		return;
	}
	wr64(d->mmio + M_QUEUE_DESC, p->desc);
	wr64(d->mmio + M_QUEUE_DRIVER, p->driver);
	wr64(d->mmio + M_QUEUE_DEVICE, p->device);
	mmio_write32(d->mmio + M_QUEUE_READY, 1);
}

static void mmio_notify(struct vdev *d, unsigned q)
{
	mmio_write32(d->mmio + M_NOTIFY, q);
}

static uint8_t mmio_read_isr(struct vdev *d)
{
	uint32_t v = mmio32(d->mmio + M_ISR);

	if (v)
		mmio_write32(d->mmio + M_ISR_ACK, v);
	return (uint8_t)v;
}

static const struct vdev_ops mmio_ops = {
	.status = mmio_status,
	.set_status = mmio_set_status,
	.offered = mmio_offered,
	.set_features = mmio_set_features,
	.cfg_read = mmio_cfg_read,
	.cfg_write = mmio_cfg_write,
	.queue_max = mmio_queue_max,
	.queue_place = mmio_queue_place,
	.notify = mmio_notify,
	.read_isr = mmio_read_isr,
};

/* --- finding devices --- */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE };

static int find_pci(unsigned type, unsigned nth)
{
	/* Transitional ids, in the order of 0x1000..: each is its type's alone. */
	static const uint8_t transitional[] = { 1, VIRTIO_BLK, VIRTIO_BALLOON, VIRTIO_CONSOLE,
						8, VIRTIO_RNG };
	unsigned seen = 0;
	int devfn;

	for (unsigned n = 0;
	     (devfn = pci_find(PCI_VENDOR_VIRTIO, (uint16_t)(0x1040 + type), n)) >= 0; n++) {
		if (seen++ == nth)
			return devfn;
	}
	for (unsigned i = 0; i < sizeof transitional; i++) {
		if (transitional[i] != type)
			continue;
		for (unsigned n = 0;
		     (devfn = pci_find(PCI_VENDOR_VIRTIO, (uint16_t)(0x1000 + i), n)) >= 0; n++) {
			if (seen++ == nth)
				return devfn;
		}
	}
	return -1;
}

static bool find_modern(struct vdev *d)
{
	unsigned cap = 0;

	while ((cap = pci_find_cap((unsigned)d->devfn, PCI_CAP_VENDOR, cap))) {
		unsigned kind = pci_read8((unsigned)d->devfn, cap + 3);
		uint64_t pa;
		uint64_t va;

		if (kind < CAP_COMMON || kind > CAP_DEVICE)
			continue;
		pa = pci_bar_open((unsigned)d->devfn, pci_read8((unsigned)d->devfn, cap + 4)) +
		     pci_read32((unsigned)d->devfn, cap + 8);
		va = (uint64_t)map_phys(pa);
		if (kind == CAP_COMMON) {
			d->common = va;
		} else if (kind == CAP_ISR) {
			d->isr = va;
		} else if (kind == CAP_DEVICE) {
			d->cfg = va;
			d->cfg_len = pci_read32((unsigned)d->devfn, cap + 12);
		} else {
			d->notify = va;
			d->notify_len = pci_read32((unsigned)d->devfn, cap + 12);
			d->notify_multiplier = pci_read32((unsigned)d->devfn, cap + 16);
		}
	}
	d->ops = &modern_ops;
	return d->common && d->isr && d->notify;
}

static bool find_legacy(struct vdev *d)
{
	uint32_t bar = pci_read32((unsigned)d->devfn, PCI_BAR0);

	d->ops = &legacy_ops;
	d->cfg_len = 64;
	if (!(bar & 1))
		return false;
	d->io = (uint16_t)pci_bar_open((unsigned)d->devfn, 0);
	return d->io;
}

static const char *number(const char *p, uint64_t *v)
{
	unsigned base = p[0] == '0' && p[1] == 'x' ? 16 : 10;

	*v = 0;
	for (p += base == 16 ? 2 : 0;; p++) {
		unsigned digit = *p >= '0' && *p <= '9' ? (unsigned)(*p - '0')
				 : (*p | 32) >= 'a' && (*p | 32) <= 'f'
					 ? (unsigned)((*p | 32) - 'a' + 10)
					 : 99;

		if (digit >= base)
			return p;
		*v = *v * base + digit;
	}
}

static bool mmio_is(struct vdev *d, uint64_t base, unsigned *nth)
{
	if (mmio32(base + M_MAGIC) != MMIO_MAGIC || mmio32(base + M_TYPE) != d->type)
		return false;
	if ((*nth)--)
		return false;
	d->mmio = base;
	d->mmio_version = mmio32(base + M_VERSION);
	return true;
}

/* virtio_mmio.device=SIZE@BASE:IRQ, as Linux takes it; then the places where boards have them. */
static bool find_mmio(struct vdev *d, unsigned nth)
{
	static const char param[] = "virtio_mmio.device=";
	static const uint64_t board[] = { 0xd0000000, 0xfeb00000 };
	uint64_t base = arg_u64("mmio", 0), gsi = 0;

	d->ops = &mmio_ops;
	d->cfg_len = 0x100;
	d->gsi = (int)arg_u64("gsi", (uint64_t)-1);
	if (base)
		return mmio_is(d, base, &nth);
	for (const char *p = boot.cmdline; *p; p++) {
		if (strncmp(p, param, sizeof param - 1))
			continue;
		for (p += sizeof param; *p && *p != '@'; p++)
			;
		p = *p ? number(p + 1, &base) : p;
		if (*p == ':')
			number(p + 1, &gsi);
		if (mmio_is(d, base, &nth)) {
			d->gsi = (int)gsi;
			return true;
		}
	}
	for (unsigned b = 0; b < sizeof board / sizeof board[0]; b++) {
		for (unsigned i = 0; i < 32; i++) {
			if (mmio_is(d, board[b] + i * 0x200, &nth))
				return true;
		}
	}
	return false;
}

/* --- interrupts --- */
static void on_timer(struct trap_frame *f)
{
	(void)f;
	timed_out = true;
	lapic_eoi();
}

static void on_line(struct trap_frame *f)
{
	uint8_t isr = irq_dev->ops->read_isr(irq_dev);

	(void)f;
	irq_dev->queue_irqs += isr & 1;
	irq_dev->config_irqs += isr >> 1 & 1;
	lapic_eoi();
}

static void on_msix(struct trap_frame *f)
{
	if (f->vector == VEC_MSIX)
		irq_dev->config_irqs++;
	if (f->vector != VEC_MSIX || irq_dev->n_vectors == 1)
		irq_dev->queue_irqs++;
	lapic_eoi();
}

static void set_up_irq(struct vdev *d)
{
	irq_dev = d;
	lapic_init();
	clock_init();
	trap_handler[VEC_TIMER] = on_timer;
	if (d->irq == VIRQ_MSIX) {
		d->n_vectors = pci_msix_count((unsigned)d->devfn);
		if (d->n_vectors > 1 + VDEV_QUEUES)
			d->n_vectors = 1 + VDEV_QUEUES;
		for (unsigned i = 0; i < d->n_vectors; i++) {
			trap_handler[VEC_MSIX + i] = on_msix;
			pci_msix_vector((unsigned)d->devfn, i, VEC_MSIX + i);
		}
		pci_msix_enable((unsigned)d->devfn, true);
	} else if (d->irq == VIRQ_INTX) {
		trap_handler[VEC_INTX] = on_line;
		ioapic_route_level((unsigned)d->gsi, VEC_INTX);
	}
}

static enum virq irq_wanted(const struct vdev *d)
{
	bool poll = arg_is("irq", "poll") || !arg_is("irq", NULL);

	if (poll)
		return VIRQ_POLL;
	return d->transport != VT_MMIO && arg_is("irq", "msix") ? VIRQ_MSIX : VIRQ_INTX;
}

bool vdev_find(struct vdev *d, enum virtio_type type, unsigned nth)
{
	bool found;

	*d = (struct vdev){ .type = type, .devfn = -1, .gsi = -1 };
	d->transport = arg_is("transport", "legacy") ? VT_LEGACY
		       : arg_is("transport", "mmio") ? VT_MMIO
						     : VT_MODERN;
	d->irq = irq_wanted(d);
	if (d->transport == VT_MMIO) {
		found = find_mmio(d, nth);
	} else {
		unsigned line;

		d->devfn = find_pci(type, nth);
		if (d->devfn < 0)
			return false;
		if (pci_msix_count((unsigned)d->devfn))
			pci_msix_enable((unsigned)d->devfn, false);
		line = pci_read8((unsigned)d->devfn, PCI_IRQ_LINE);
		d->gsi = line && line < 16 ? (int)line : -1;
		found = d->transport == VT_LEGACY ? find_legacy(d) : find_modern(d);
	}
	if (found && d->irq == VIRQ_INTX && d->gsi < 0) {
		say("its interrupt's pin is not known\n");
		return false;
	}
	if (found && d->irq == VIRQ_MSIX && !pci_msix_count((unsigned)d->devfn)) {
		say("it has no MSI-X\n");
		return false;
	}
	if (found)
		set_up_irq(d);
	return found;
}

void vdev_need(struct vdev *d, enum virtio_type type)
{
	if (vdev_find(d, type, 0))
		return;
	check(false, "there is a virtio device of type %u", type);
	leave(EXIT_FAIL);
}

/* --- initialisation --- */
bool vdev_reset(struct vdev *d)
{
	uint64_t t0 = rdtsc();

	d->ops->set_status(d, 0);
	while (d->ops->status(d)) {
		if (ms_since(t0) > 5000)
			return false;
		pause();
	}
	d->features = 0;
	return true;
}

static uint64_t ring_features(const struct vdev *d)
{
	uint64_t v = 0;

	if (arg_u64("indirect", 1))
		v |= BIT(VF_INDIRECT);
	if (arg_u64("event_idx", 1))
		v |= BIT(VF_EVENT_IDX);
	if (arg_is("ring", "packed"))
		v |= BIT(VF_PACKED);
	if (d->transport == VT_MODERN || (d->transport == VT_MMIO && d->mmio_version == 2))
		v |= BIT(VF_VERSION_1);
	return v;
}

bool vdev_begin(struct vdev *d, uint64_t want)
{
	if (!vdev_reset(d))
		return false;
	d->ops->set_status(d, VS_ACKNOWLEDGE);
	d->ops->set_status(d, VS_ACKNOWLEDGE | VS_DRIVER);
	d->offered = d->ops->offered(d);
	d->features = d->offered & (want | ring_features(d));
	d->ops->set_features(d, d->features);
	if (!vdev_has(d, VF_VERSION_1))
		return true;
	d->ops->set_status(d, VS_ACKNOWLEDGE | VS_DRIVER | VS_FEATURES_OK);
	return d->ops->status(d) & VS_FEATURES_OK;
}

void vdev_driver_ok(struct vdev *d)
{
	d->ops->set_status(d, VS_ACKNOWLEDGE | VS_DRIVER | VS_DRIVER_OK |
				      (vdev_has(d, VF_VERSION_1) ? VS_FEATURES_OK : 0));
}

uint8_t vdev_status(struct vdev *d)
{
	return d->ops->status(d);
}

uint64_t vdev_doorbell(struct vdev *d, unsigned q)
{
	wr16(d->common + C_QUEUE_SELECT, (uint16_t)q);
	return d->notify + rd16(d->common + C_QUEUE_NOTIFY_OFF) * d->notify_multiplier;
}

uint64_t vdev_cfg64(struct vdev *d, unsigned off)
{
	uint32_t low, high;

	do { /* no generation in legacy: the same twice will do for all */
		high = vdev_cfg32(d, off + 4);
		low = vdev_cfg32(d, off);
	} while (high != vdev_cfg32(d, off + 4));
	return low | (uint64_t)high << 32;
}

uint32_t vdev_cfg32(struct vdev *d, unsigned off)
{
	return d->ops->cfg_read(d, off, 4);
}
uint16_t vdev_cfg16(struct vdev *d, unsigned off)
{
	return (uint16_t)d->ops->cfg_read(d, off, 2);
}
uint8_t vdev_cfg8(struct vdev *d, unsigned off)
{
	return (uint8_t)d->ops->cfg_read(d, off, 1);
}

/* --- waiting --- */
bool vdev_wait_status(struct vdev *d, uint8_t bits, unsigned ms)
{
	uint64_t t0 = rdtsc();

	while (!(d->ops->status(d) & bits)) {
		if (ms_since(t0) > ms)
			return false;
		pause();
	}
	return true;
}

/* Until any interrupt; the timer's is one, and is set anew when it has come too soon. */
static void sleep_until_irq(bool *armed, unsigned ms)
{
	if (!*armed || timed_out)
		lapic_timer_after(ms, VEC_TIMER);
	*armed = true;
	timed_out = false;
	wait_irq();
}

bool vdev_wait_config(struct vdev *d, unsigned n, unsigned ms)
{
	uint64_t t0 = rdtsc();
	bool armed = false;

	while (d->config_irqs < n && ms_since(t0) <= ms) {
		if (d->irq == VIRQ_POLL)
			d->config_irqs += d->ops->read_isr(d) >> 1 & 1;
		else
			sleep_until_irq(&armed, ms);
	}
	lapic_timer_after(0, VEC_TIMER);
	return d->config_irqs >= n;
}

bool vq_wait(struct vq *q, unsigned ms)
{
	uint64_t t0 = rdtsc();
	bool in_time = true, armed = false;

	if (vq_ready(q))
		return true;
	timed_out = false;
	while (!vq_ready(q)) {
		in_time = ms_since(t0) <= ms;
		if (!in_time)
			break;
		if (q->d->irq == VIRQ_POLL)
			pause();
		else
			sleep_until_irq(&armed, ms);
	}
	/* The timer found it, not the device's interrupt? */
	in_time &= !timed_out;
	if (!in_time)
		say("queue %u: %s after %lu ms\n", q->index,
		    vq_ready(q) ? "no interrupt, but something is there" : "nothing", ms_since(t0));
	lapic_timer_after(0, VEC_TIMER);
	return in_time;
}
