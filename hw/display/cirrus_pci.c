/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cirrus-vga: Cirrus Logic's GD5446 on PCI (CL-GD5446 TRM, chapter "PCI Configuration Registers"),
 * a VGA at the ISA addresses. BAR 0 is 32 MiB: the framebuffer, and from 16 MiB on an aperture for
 * what blits wait for. BAR 1 has the registers: VGA's at 0, the BitBLT engine's at 0x100.
 *
 * The guest has the framebuffer as memory as long as nothing but memory answers there
 * (cirrus_direct); what it wrote is asked of the memory map's dirty log. When a blit waits for
 * data, or a write is to do more than store a byte, the memory goes, and comes back only after a
 * few accesses that it would have spared: many small blits do not change the map each time.
 *
 * Writes to registers that only describe a blit may come late, together with the one that starts
 * it, while that is all that they do (cirrus_late).
 *
 * Registers: vCPU threads, dev->lock. BARs: any vCPU thread, the PCI config lock held. Both kinds
 * change the map, under map_lock, which comes after these two and before the map's.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "bus.h"
#include "cirrus.h"
#include "dev.h"
#include "err.h"
#include "machine.h"
#include "memmap.h"
#include "pci.h"
#include "props.h"
#include "vga_memory.h"

enum { BAR_FRAMEBUFFER = 0, BAR_REGS = 1, MAP_AFTER = 16 /* accesses */ };

struct cirrus_pci {
	struct cirrus cirrus; /* first: its hooks get it */
	struct vga_memory memory;
	void (*collect)(void *ctx, uint64_t *bitmap); /* the memory's */
	pthread_mutex_t map_lock;
	bool bar_on, direct; /* BAR 0 is decoded; its memory may be mapped */
	uint64_t bar_base;
	unsigned spared;
	_Atomic bool lost; /* the dirty log of a BAR that went */
};

struct cirrus_dev {
	struct dev dev;
	uint32_t vgamem_mb; /* property */
	struct pci_fn fn;
	struct cirrus_pci p;
	struct mem_region hole;
	struct mem_region cover; /* hides all that lies in the window while it is not decoded */
	struct io_region ports, window, framebuffer, regs;
	bool decodes_io, decodes_mem; /* PCI's command register: also for the ISA addresses */
};

static struct cirrus_dev *dev_of(void *p)
{
	return container_of(p, struct cirrus_dev, p);
}

/* --- handlers ------------------------------------------------------------------------------ */

static uint64_t ports_read(void *dev, uint64_t off, unsigned size)
{
	return dev_of(dev)->decodes_io ? cirrus_port_read(dev, VGA_PORTS + (unsigned)off) : 0xff;
}

static void ports_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (dev_of(dev)->decodes_io)
		cirrus_port_write(dev, VGA_PORTS + (unsigned)off, (uint8_t)val);
}

static const struct io_ops ports_ops = {
	.read = ports_read, .write = ports_write, .min = 1, .max = 1
};

static uint64_t window_read(void *dev, uint64_t off, unsigned size)
{
	if (!dev_of(dev)->decodes_mem)
		return UINT64_MAX;
	return cirrus_window_read(dev, (uint32_t)off, size);
}

static void window_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (dev_of(dev)->decodes_mem)
		cirrus_window_write(dev, (uint32_t)off, val, size);
}

static const struct io_ops window_ops = { .read = window_read, .write = window_write };

static uint64_t regs_read(void *dev, uint64_t off, unsigned size)
{
	return cirrus_mmio_read(dev, (unsigned)off);
}

static void regs_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	cirrus_mmio_write(dev, (unsigned)off, (uint8_t)val);
}

static const struct io_ops regs_ops = {
	.read = regs_read, .write = regs_write, .min = 1, .max = 1
};

/* --- the framebuffer ------------------------------------------------------------------------ */

/* map_lock is held. */
static void map(struct cirrus_pci *p)
{
	if (p->bar_on && p->direct && !p->memory.bar.mapped)
		vga_memory_bar(&p->memory, true, p->bar_base);
}

static void access_changed(struct cirrus *c)
{
	struct cirrus_pci *p = (struct cirrus_pci *)c;
	struct cirrus_dev *d = dev_of(p);
	unsigned late = cirrus_late(c) ? CIRRUS_MMIO_LATE : 0;

	pthread_mutex_lock(&p->map_lock);
	if (d->regs.late_len != late)
		bus_late(&d->dev.m->mmio, &d->regs, late);
	p->direct = cirrus_direct(c);
	if (!p->direct)
		p->spared = 0;
	if (!p->direct && p->memory.bar.mapped) {
		memmap_dirty(&p->memory.m->map, &p->memory.bar, c->vga.dirty);
		vga_memory_bar(&p->memory, false, 0);
	}
	pthread_mutex_unlock(&p->map_lock);
}

static void spare(struct cirrus_pci *p, uint64_t off)
{
	if (off >= p->cirrus.vga.size)
		return;
	pthread_mutex_lock(&p->map_lock);
	if (p->direct && ++p->spared >= MAP_AFTER)
		map(p);
	pthread_mutex_unlock(&p->map_lock);
}

static uint64_t framebuffer_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = cirrus_linear_read(dev, (uint32_t)off, size);

	spare(dev, off);
	return val;
}

static void framebuffer_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	cirrus_linear_write(dev, (uint32_t)off, val, size);
	spare(dev, off);
}

static const struct io_ops framebuffer_ops = { .read = framebuffer_read,
					       .write = framebuffer_write };

static void bar_mapped(struct pci_fn *fn, unsigned bar, bool mapped)
{
	struct cirrus_pci *p = fn->ctx;

	if (bar != BAR_FRAMEBUFFER)
		return;
	pthread_mutex_lock(&p->map_lock);
	p->bar_on = mapped;
	p->bar_base = fn->bar[bar].base;
	if (mapped)
		map(p);
	else if (p->memory.bar.mapped) {
		vga_memory_bar(&p->memory, false, 0);
		atomic_store(&p->lost, true);
	}
	pthread_mutex_unlock(&p->map_lock);
}

static void collect_dirty(void *ctx, uint64_t *bitmap)
{
	struct cirrus_pci *p = container_of(ctx, struct cirrus_pci, memory);

	if (atomic_exchange(&p->lost, false))
		memset(bitmap, 0xff, p->cirrus.vga.size / VGA_PAGE / 8);
	p->collect(ctx, bitmap);
}

/* The ISA addresses answer when the command register lets the card decode I/O and memory. */
static void update_decoding(struct cirrus_dev *d)
{
	uint16_t command = pci_cfg16(&d->fn, PCI_COMMAND);

	d->decodes_io = command & PCI_COMMAND_IO;
	d->decodes_mem = command & PCI_COMMAND_MEM;
	if (d->decodes_mem)
		memmap_unmap(&d->dev.m->map, &d->cover);
	else if (!d->cover.mapped)
		memmap_map(&d->dev.m->map, &d->cover, VGA_WINDOW);
}

static void cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct cirrus_dev *d = dev_of(fn->ctx);

	if (off > PCI_COMMAND + 1 || off + size <= PCI_COMMAND)
		return;
	pthread_mutex_lock(&d->dev.lock);
	update_decoding(d);
	pthread_mutex_unlock(&d->dev.lock);
}

static const struct pci_fn_ops fn_ops = { .bar_mapped = bar_mapped, .cfg_written = cfg_written };

/* --- life --------------------------------------------------------------------------------------
 */

/*
 * What the card's BIOS does before all else, where there is none to do it: Linux's driver takes it
 * that the extended registers are unlocked, the sequencer runs, and the CRTC is at 0x3d4.
 */
static void start_without_bios(struct cirrus *c)
{
	static const struct {
		uint16_t port;
		uint8_t val;
	} out[] = {
		{ 0x3c2, 0x67 },
		{ 0x3c4, 0x00 },
		{ 0x3c5, 0x03 },
		{ 0x3c4, SEQ_UNLOCK },
		{ 0x3c5, CIRRUS_UNLOCKED },
		{ 0x3c6, 0xff },
	};

	for (unsigned i = 0; i < sizeof(out) / sizeof(out[0]); i++)
		cirrus_port_write(c, out[i].port, out[i].val);
}

static void cirrus_dev_reset(struct dev *dev)
{
	struct cirrus_dev *d = (struct cirrus_dev *)dev;

	cirrus_reset(&d->p.cirrus);
	if (!dev->m->bios)
		start_without_bios(&d->p.cirrus);
	pci_fn_reset(&d->fn);
	update_decoding(d);
}

static int make_memory(struct cirrus_dev *d, struct err *e)
{
	struct vga *v = &d->p.cirrus.vga;

	if (d->vgamem_mb & (d->vgamem_mb - 1)) {
		err_set(e, ERR_USAGE, EINVAL, "vgamem_mb=%u: not 1, 2 or 4", d->vgamem_mb);
		err_hint(e, "a GD5446 has 4 MiB at most; -vga std may have more");
		return -EINVAL;
	}
	v->lock = &d->dev.lock;
	v->name = d->dev.cls->name;
	if (vga_memory_create(&d->p.memory, d->dev.m, v, d->vgamem_mb << 20))
		return err_set(e, ERR_HOST, ENOMEM, "no memory for a framebuffer of %u MiB",
			       d->vgamem_mb);
	d->p.collect = v->collect_dirty;
	v->collect_dirty = collect_dirty;
	d->p.cirrus.access_changed = access_changed;
	return cirrus_init(&d->p.cirrus) ? err_set(e, ERR_HOST, ENOMEM, "out of memory") : 0;
}

static struct io_region region(struct cirrus_dev *d, const char *name, const struct io_ops *ops,
			       uint64_t size)
{
	return (struct io_region){
		.name = name, .ops = ops, .dev = &d->p, .lock = &d->dev.lock, .size = size
	};
}

static int map_isa(struct cirrus_dev *d, struct err *e)
{
	struct machine *m = d->dev.m;

	d->ports = region(d, "cirrus-vga", &ports_ops, VGA_PORTS_LEN);
	d->window = region(d, "cirrus-window", &window_ops, VGA_WINDOW_LEN);
	d->cover = (struct mem_region){ .name = "vga-off", .size = VGA_WINDOW_LEN, .prio = 3 };
	d->hole = (struct mem_region){ .name = "vga-window", .size = VGA_WINDOW_LEN, .prio = 1 };
	if (memmap_map(&m->map, &d->hole, VGA_WINDOW))
		return err_set(e, ERR_HOST, EIO, "KVM refused the VGA's window at 0xa0000");
	bus_map(&m->mmio, &d->window, VGA_WINDOW);
	bus_map(&m->pio, &d->ports, VGA_PORTS);
	return 0;
}

static void make_bars(struct cirrus_dev *d)
{
	d->framebuffer = region(d, "cirrus-framebuffer", &framebuffer_ops, CIRRUS_APERTURE);
	pci_bar_init(&d->fn, BAR_FRAMEBUFFER, PCI_BAR_MEM | PCI_BAR_PREFETCH, CIRRUS_APERTURE);
	pci_bar_add(&d->fn, BAR_FRAMEBUFFER, &d->framebuffer, 0);
	d->regs = region(d, "cirrus-registers", &regs_ops, CIRRUS_MMIO_LEN);
	d->regs.late = CIRRUS_MMIO_BLT;
	pci_bar_init(&d->fn, BAR_REGS, PCI_BAR_MEM, CIRRUS_MMIO_LEN);
	pci_bar_add(&d->fn, BAR_REGS, &d->regs, 0);
	/* It decodes the ports of a VGA, which no BAR tells of. */
	d->fn.wmask[PCI_COMMAND] |= PCI_COMMAND_IO;
}

/* Its BIOS, for the machine's: a kernel that is started without one has no use for it. */
static int default_rom(struct cirrus_dev *d, struct err *e)
{
	if (d->fn.romfile || !d->dev.m->bios)
		return 0;
	d->fn.romfile = strdup("vgabios-cirrus.bin");
	return d->fn.romfile ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

/* Who else has a VGA's ports has its window as well. */
static int check_alone(struct machine *m, struct err *e)
{
	const struct io_region *other = bus_find(&m->pio, VGA_PORTS);

	if (!other)
		return 0;
	err_set(e, ERR_USAGE, EEXIST, "the machine has a graphics card already: %s", other->name);
	err_hint(e, "name one card only: by -vga, or by -device");
	return -EEXIST;
}

static int cirrus_dev_init(struct dev *dev, struct err *e)
{
	/* Linux's cirrus driver wants this subsystem. */
	static const struct pci_ident ident = {
		.vendor = 0x1013,
		.device = 0x00b8,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = 0x030000,
	};
	struct cirrus_dev *d = (struct cirrus_dev *)dev;
	int rc;

	pthread_mutex_init(&d->p.map_lock, NULL);
	rc = check_alone(dev->m, e);
	rc = rc ? rc : make_memory(d, e);
	rc = rc ? rc : default_rom(d, e);
	rc = rc ? rc : pci_fn_init(&d->fn, dev, &ident, &fn_ops, &d->p, e);
	if (rc)
		return rc;
	make_bars(d);
	rc = map_isa(d, e);
	rc = rc ? rc : pci_fn_plug(&d->fn, e);
	return rc ? rc
		  : screen_create(dev->m, &vga_screen_ops, &d->p.cirrus.vga,
				  &d->p.cirrus.vga.screen, e);
}

static void cirrus_dev_fini(struct dev *dev)
{
	struct cirrus_dev *d = (struct cirrus_dev *)dev;
	struct vga *v = &d->p.cirrus.vga;

	struct screen *s = v->screen;

	/* CPUs may be at its registers still, and touch the screen. */
	pthread_mutex_lock(&dev->lock);
	v->screen = NULL;
	pthread_mutex_unlock(&dev->lock);
	if (s)
		screen_destroy(s);
	pci_fn_unplug(&d->fn);
	if (bus_mapped(&d->ports))
		bus_unmap(&d->ports);
	if (bus_mapped(&d->window))
		bus_unmap(&d->window);
	memmap_unmap(&dev->m->map, &d->cover);
	memmap_unmap(&dev->m->map, &d->hole);
	vga_memory_unmap(&d->p.memory);
	cirrus_fini(&d->p.cirrus);
	vga_memory_destroy(&d->p.memory);
	pthread_mutex_destroy(&d->p.map_lock);
}

static const struct prop cirrus_props[] = {
	PCI_FN_PROPS(struct cirrus_dev, fn),
	PROP_RANGE(struct cirrus_dev, vgamem_mb, PROP_U32, "vgamem_mb", "4", 1, 4,
		   "memory of the card, MiB: 1, 2 or 4"),
	PROP_END,
};

const struct dev_class cirrus_vga_class = {
	.name = "cirrus-vga",
	.desc = "graphics card: Cirrus Logic GD5446, with a BitBLT engine",
	.bus = DEV_BUS_PCI,
	.size = sizeof(struct cirrus_dev),
	.props = cirrus_props,
	.init = cirrus_dev_init,
	.reset = cirrus_dev_reset,
	.fini = cirrus_dev_fini,
};
