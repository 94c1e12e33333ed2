/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VGA: the graphics card of Bochs and QEMU ("-vga std", QEMU's docs/specs/standard-vga): a
 * VGA at the ISA addresses, whose framebuffer is BAR 0, and whose registers are at ports
 * and, in BAR 2, in memory: VGA's at 0x400, dispi's at 0x500.
 *
 * The framebuffer is memory that the guest sees directly; what it wrote there is asked of
 * the memory map's dirty log when the screen is drawn. Registers: vCPU threads, dev->lock.
 */
#include <errno.h>
#include <string.h>

#include "bus.h"
#include "dev.h"
#include "err.h"
#include "firmware.h"
#include "machine.h"
#include "memmap.h"
#include "pci.h"
#include "props.h"
#include "vga.h"
#include "vga_memory.h"

enum { BAR_MEM = 0, BAR_REGS = 2, REGS_LEN = 4096 };
/* Index and data are words at 0x1ce and 0x1cf: counted from 0x1cd the data is aligned. */
enum { DISPI_PORTS = 0x1cd, DISPI_PORTS_LEN = 4, DISPI_INDEX = 1, DISPI_DATA = 2 };
enum { MMIO_VGA = 0x400, MMIO_VGA_END = 0x420, MMIO_DISPI = 0x500 };

struct vga_pci {
	struct dev dev;
	uint32_t vgamem_mb; /* property */
	struct pci_fn fn;
	struct vga vga;
	struct vga_memory memory;
	struct mem_region hole;
	struct mem_region cover; /* hides all that lies in the window while it is not decoded */
	struct io_region ports, dispi, window, regs;
	bool decodes_io, decodes_mem; /* PCI's command register: also for the ISA addresses */
};

static struct vga_pci *card_of(void *vga)
{
	return container_of(vga, struct vga_pci, vga);
}

/* --- the ISA addresses ------------------------------------------------------------------ */

static uint64_t ports_read(void *dev, uint64_t off, unsigned size)
{
	return card_of(dev)->decodes_io ? vga_port_read(dev, VGA_PORTS + (unsigned)off) : 0xff;
}

static void ports_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (card_of(dev)->decodes_io)
		vga_port_write(dev, VGA_PORTS + (unsigned)off, (uint8_t)val);
}

static const struct io_ops ports_ops = {
	.read = ports_read, .write = ports_write, .min = 1, .max = 1
};

static uint64_t window_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	if (!card_of(dev)->decodes_mem)
		return UINT64_MAX;
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)vga_mem_read(dev, (uint32_t)off + i) << 8 * i;
	return val;
}

static void window_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	for (unsigned i = 0; card_of(dev)->decodes_mem && i < size; i++)
		vga_mem_write(dev, (uint32_t)off + i, (uint8_t)(val >> 8 * i));
}

static const struct io_ops window_ops = { .read = window_read, .write = window_write };

/* A word at the index port comes as two bytes, the second one at the data's; it is 0. */
static uint64_t dispi_read(void *dev, uint64_t off, unsigned size)
{
	struct vga *v = dev;

	if (!card_of(dev)->decodes_io)
		return 0xffff;
	if (off == DISPI_INDEX)
		return v->dispi_index;
	return off == DISPI_DATA && size == 2 ? vga_dispi_read(v, v->dispi_index) : 0;
}

static void dispi_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct vga *v = dev;

	if (!card_of(dev)->decodes_io)
		return;
	if (off == DISPI_INDEX)
		v->dispi_index = (uint8_t)val;
	else if (off == DISPI_DATA && size == 2)
		vga_dispi_write(v, v->dispi_index, (uint16_t)val);
}

static const struct io_ops dispi_ops = {
	.read = dispi_read, .write = dispi_write, .min = 1, .max = 2
};

/* --- registers in memory ------------------------------------------------------------------ */

static uint64_t regs_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	if (off >= MMIO_DISPI && off < MMIO_DISPI + 2 * DISPI_REGS)
		return vga_dispi_read(dev, (unsigned)(off - MMIO_DISPI) / 2) >> 8 * (off & 1);
	for (unsigned i = 0; i < size; i++)
		if (off + i >= MMIO_VGA && off + i < MMIO_VGA_END)
			val |= (uint64_t)vga_port_read(dev, (unsigned)(off + i - MMIO_VGA + 0x3c0))
			       << 8 * i;
	return val;
}

static void regs_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (off >= MMIO_DISPI && off < MMIO_DISPI + 2 * DISPI_REGS) {
		if (size == 2)
			vga_dispi_write(dev, (unsigned)(off - MMIO_DISPI) / 2, (uint16_t)val);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		if (off + i >= MMIO_VGA && off + i < MMIO_VGA_END)
			vga_port_write(dev, (unsigned)(off + i - MMIO_VGA + 0x3c0),
				       (uint8_t)(val >> 8 * i));
}

static const struct io_ops regs_ops = {
	.read = regs_read, .write = regs_write, .min = 1, .max = 2
};

/* --- the framebuffer ------------------------------------------------------------------------ */

static void bar_mapped(struct pci_fn *fn, unsigned bar, bool mapped)
{
	struct vga_pci *p = fn->ctx;

	if (bar == BAR_MEM)
		vga_memory_bar(&p->memory, mapped, fn->bar[bar].base);
}

/* The ISA addresses answer when the command register lets the card decode I/O and memory. */
static void update_decoding(struct vga_pci *p)
{
	uint16_t command = pci_cfg16(&p->fn, PCI_COMMAND);

	p->decodes_io = command & PCI_COMMAND_IO;
	p->decodes_mem = command & PCI_COMMAND_MEM;
	if (p->decodes_mem)
		memmap_unmap(&p->dev.m->map, &p->cover);
	else if (!p->cover.mapped)
		memmap_map(&p->dev.m->map, &p->cover, VGA_WINDOW);
}

static void cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct vga_pci *p = fn->ctx;

	if (off != PCI_COMMAND) /* its second byte is about other things */
		return;
	pthread_mutex_lock(&p->dev.lock);
	update_decoding(p);
	pthread_mutex_unlock(&p->dev.lock);
}

static const struct pci_fn_ops fn_ops = { .bar_mapped = bar_mapped, .cfg_written = cfg_written };

/* --- life --------------------------------------------------------------------------------------
 */

static void vga_pci_reset(struct dev *d)
{
	struct vga_pci *p = (struct vga_pci *)d;

	vga_reset(&p->vga);
	pci_fn_reset(&p->fn);
	update_decoding(p);
}

static int make_memory(struct vga_pci *p, struct err *e)
{
	struct vga *v = &p->vga;

	if (p->vgamem_mb & (p->vgamem_mb - 1)) {
		err_set(e, ERR_USAGE, EINVAL, "vgamem_mb=%u: not a power of two", p->vgamem_mb);
		err_hint(e, "16 is enough for 2560x1600, 64 for 5120x2880");
		return -EINVAL;
	}
	v->lock = &p->dev.lock;
	v->name = p->dev.cls->name;
	if (vga_memory_create(&p->memory, p->dev.m, v, p->vgamem_mb << 20))
		return err_set(e, ERR_HOST, ENOMEM, "no memory for a framebuffer of %u MiB",
			       p->vgamem_mb);
	return vga_init(v) ? err_set(e, ERR_HOST, ENOMEM, "out of memory") : 0;
}

static struct io_region region(struct vga_pci *p, const char *name, const struct io_ops *ops,
			       uint64_t size)
{
	return (struct io_region){
		.name = name, .ops = ops, .dev = &p->vga, .lock = &p->dev.lock, .size = size
	};
}

static int map_isa(struct vga_pci *p, struct err *e)
{
	struct machine *m = p->dev.m;

	p->ports = region(p, "vga", &ports_ops, VGA_PORTS_LEN);
	p->dispi = region(p, "vga-dispi", &dispi_ops, DISPI_PORTS_LEN);
	p->window = region(p, "vga-window", &window_ops, VGA_WINDOW_LEN);
	p->hole = (struct mem_region){ .name = "vga-window", .size = VGA_WINDOW_LEN, .prio = 1 };
	p->cover = (struct mem_region){ .name = "vga-off", .size = VGA_WINDOW_LEN, .prio = 3 };
	if (memmap_map(&m->map, &p->hole, VGA_WINDOW))
		return err_set(e, ERR_HOST, EIO, "KVM refused the VGA's window at 0xa0000");
	bus_map(&m->mmio, &p->window, VGA_WINDOW);
	bus_map(&m->pio, &p->ports, VGA_PORTS);
	bus_map(&m->pio, &p->dispi, DISPI_PORTS);
	return 0;
}

static void make_bars(struct vga_pci *p)
{
	pci_bar_init(&p->fn, BAR_MEM, PCI_BAR_MEM | PCI_BAR_PREFETCH, p->vga.size);
	p->regs = region(p, "vga-registers", &regs_ops, REGS_LEN);
	pci_bar_init(&p->fn, BAR_REGS, PCI_BAR_MEM, REGS_LEN);
	pci_bar_add(&p->fn, BAR_REGS, &p->regs, 0);
	/* It decodes the ports of a VGA, which no BAR tells of. */
	p->fn.wmask[PCI_COMMAND] |= PCI_COMMAND_IO;
}

/* Its BIOS, for the machine's: a kernel that is started without one has no use for it. */
static int default_rom(struct vga_pci *p, struct err *e)
{
	if (p->fn.romfile || !p->dev.m->bios)
		return 0;
	p->fn.romfile = strdup("vgabios-stdvga.bin");
	return p->fn.romfile ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
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

static int vga_pci_init(struct dev *d, struct err *e)
{
	static const struct pci_ident ident = {
		.vendor = 0x1234,
		.device = 0x1111,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.revision = 2,
		.class_code = 0x030000,
	};
	struct vga_pci *p = (struct vga_pci *)d;
	int rc = check_alone(d->m, e);

	rc = rc ? rc : make_memory(p, e);
	rc = rc ? rc : default_rom(p, e);
	rc = rc ? rc : pci_fn_init(&p->fn, d, &ident, &fn_ops, p, e);
	if (rc)
		return rc;
	make_bars(p);
	rc = map_isa(p, e);
	rc = rc ? rc : pci_fn_plug(&p->fn, e);
	return rc ? rc : screen_create(d->m, &vga_screen_ops, &p->vga, &p->vga.screen, e);
}

static void vga_pci_fini(struct dev *d)
{
	struct vga_pci *p = (struct vga_pci *)d;
	struct screen *s = p->vga.screen;

	/* CPUs may be at its registers still, and touch the screen. */
	pthread_mutex_lock(&d->lock);
	p->vga.screen = NULL;
	pthread_mutex_unlock(&d->lock);
	if (s)
		screen_destroy(s);
	pci_fn_unplug(&p->fn);
	if (bus_mapped(&p->ports))
		bus_unmap(&p->ports);
	if (bus_mapped(&p->dispi))
		bus_unmap(&p->dispi);
	if (bus_mapped(&p->window))
		bus_unmap(&p->window);
	memmap_unmap(&d->m->map, &p->cover);
	memmap_unmap(&d->m->map, &p->hole);
	vga_memory_unmap(&p->memory);
	vga_fini(&p->vga);
	vga_memory_destroy(&p->memory);
}

static const struct prop vga_pci_props[] = {
	PCI_FN_PROPS(struct vga_pci, fn),
	PROP_RANGE(struct vga_pci, vgamem_mb, PROP_U32, "vgamem_mb", "16", 1, 256,
		   "memory of the card, MiB; a power of two"),
	PROP_END,
};

const struct dev_class vga_pci_class = {
	.name = "VGA",
	.desc = "graphics card: a VGA with Bochs's VBE modes",
	.bus = DEV_BUS_PCI,
	.size = sizeof(struct vga_pci),
	.props = vga_pci_props,
	.init = vga_pci_init,
	.reset = vga_pci_reset,
	.fini = vga_pci_fini,
};
