/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IDE controller of the board, as Intel's 82371SB (PIIX3) shows itself:
 * function 1 of slot 1, two channels at the ports and interrupts that PCs have had
 * them at from the start, and a bus master for each at BAR 4. A channel's
 * ports are there while its timing register has the decode bit set, which firmware
 * does (IDETIM, bit 15), and the function's I/O decoding is on. vCPU threads.
 */
#include "ide_int.h"

#include <errno.h>

#include "err.h"
#include "ide.h"
#include "machine.h"
#include "pci.h"

enum {
	IDETIM = 0x40, /* two bytes a channel */
	SIDETIM = 0x44,
	IDETIM_DECODE = 0x80, /* of its second byte */
	BUS_MASTER_BAR = 4,
	BUS_MASTER_SIZE = 16,
};

static const uint16_t command_base[2] = { 0x1f0, 0x170 }, control_base[2] = { 0x3f6, 0x376 };

struct piix3_ide {
	struct dev dev;
	struct pci_fn fn;
	struct ide_channel ch[2];
};

/* --- ports ------------------------------------------------------------------------ */

static void show(struct machine *m, struct io_region *r, uint16_t base, bool on)
{
	if (on && !bus_mapped(r))
		bus_map(&m->pio, r, base);
	else if (!on && bus_mapped(r))
		bus_unmap(r);
}

/* Ports and bus mastering follow the configuration space. */
static void update(struct piix3_ide *s)
{
	uint16_t command = pci_cfg16(&s->fn, PCI_COMMAND);

	for (unsigned i = 0; i < 2; i++) {
		struct ide_channel *ch = &s->ch[i];
		bool on = command & PCI_COMMAND_IO && s->fn.cfg[IDETIM + 2 * i + 1] & IDETIM_DECODE;

		pthread_mutex_lock(&ch->lock);
		show(ch->m, &ch->command_ports, command_base[i], on);
		show(ch->m, &ch->control_port, control_base[i], on);
		ch->master = command & PCI_COMMAND_MASTER;
		ide_dma_try(ch);
		pthread_mutex_unlock(&ch->lock);
	}
}

static void cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	if (off < PCI_COMMAND + 2 || (off < SIDETIM && off + size > IDETIM))
		update(fn->ctx);
}

static void bar_mapped(struct pci_fn *fn, unsigned bar, bool mapped)
{
	struct piix3_ide *s = fn->ctx;

	for (unsigned i = 0; mapped && i < 2; i++)
		ide_bell_map(&s->ch[i]);
}

/* Channels without a drive stay off: looking for one there takes kernels a long time. */
static void firmware(struct pci_fn *fn)
{
	struct piix3_ide *s = fn->ctx;

	for (unsigned i = 0; i < 2; i++)
		if (s->ch[i].drive[0] || s->ch[i].drive[1])
			pci_config_write(s->dev.m, fn->devfn, IDETIM + 2 * i + 1, IDETIM_DECODE, 1);
}

static const struct pci_fn_ops fn_ops = {
	.cfg_written = cfg_written,
	.bar_mapped = bar_mapped,
	.firmware = firmware,
};

/* --- life ------------------------------------------------------------------------- */

static void ide_reset(struct dev *d)
{
	struct piix3_ide *s = (struct piix3_ide *)d;

	pci_fn_reset(&s->fn);
	update(s);
	for (unsigned i = 0; i < 2; i++)
		ide_channel_reset(&s->ch[i]);
}

static void init_channel(struct piix3_ide *s, unsigned i)
{
	static const char *const names[2] = { "ide.0", "ide.1" };
	struct ide_channel *ch = &s->ch[i];
	const struct io_region r = { .name = names[i], .dev = ch, .lock = &ch->lock };

	ide_channel_init(ch, s->dev.m, i);
	ch->fn = &s->fn;
	ch->command_ports = ch->control_port = ch->bm_ports = r;
	ch->command_ports.ops = &ide_command_ops;
	ch->command_ports.size = IDE_REGS;
	/* Parameters of the command to come: the write of the device or command register brings
	 * them. */
	ch->command_ports.late = IDE_FEATURE;
	ch->command_ports.late_len = IDE_LBA_HIGH - IDE_FEATURE + 1;
	ch->control_port.ops = &ide_control_ops;
	ch->control_port.size = 1;
	ch->bm_ports.ops = &ide_bm_ops;
	ch->bm_ports.size = BUS_MASTER_SIZE / 2;
	pci_bar_add(&s->fn, BUS_MASTER_BAR, &ch->bm_ports, i * BUS_MASTER_SIZE / 2);
}

static int ide_init(struct dev *d, struct err *e)
{
	static const struct pci_ident ident = {
		.vendor = 0x8086,
		.device = 0x7010,
		.class_code = 0x010180, /* legacy ports, bus master */
	};
	static char place[] = "1.1";
	struct piix3_ide *s = (struct piix3_ide *)d;
	int rc = pci_fn_init(&s->fn, d, &ident, &fn_ops, s, e);

	if (rc)
		return rc;
	pci_bar_init(&s->fn, BUS_MASTER_BAR, PCI_BAR_IO, BUS_MASTER_SIZE);
	for (unsigned i = 0; i < 2; i++)
		init_channel(s, i);
	for (unsigned off = IDETIM; off <= SIDETIM; off++)
		s->fn.wmask[off] = 0xff;
	pci_set16(&s->fn, PCI_STATUS, 0x0280); /* medium timing, fast back-to-back */
	if (!s->ch[0].bm.iov || !s->ch[1].bm.iov)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	s->fn.addr = place;
	return pci_fn_plug(&s->fn, e);
}

static void ide_fini(struct dev *d)
{
	struct piix3_ide *s = (struct piix3_ide *)d;

	for (unsigned i = 0; i < 2; i++) {
		bus_unmap(&s->ch[i].command_ports);
		bus_unmap(&s->ch[i].control_port);
	}
	pci_fn_unplug(&s->fn);
	for (unsigned i = 0; i < 2; i++)
		if (s->ch[i].m)
			ide_channel_fini(&s->ch[i]);
}

const struct dev_class piix3_ide_class = {
	.name = "piix3-ide",
	.desc = "IDE controller (Intel 82371SB)",
	.bus = DEV_BUS_PCI,
	.internal = true,
	.size = sizeof(struct piix3_ide),
	.init = ide_init,
	.reset = ide_reset,
	.fini = ide_fini,
};

/* --- drives ------------------------------------------------------------------------ */

struct ide_channel *ide_find_channel(struct machine *m, unsigned index)
{
	for (struct dev *d = m->devices; d; d = d->next)
		if (d->cls == &piix3_ide_class)
			return &((struct piix3_ide *)d)->ch[index];
	return NULL;
}

bool ide_taken(struct machine *m, unsigned n)
{
	struct ide_channel *ch = ide_find_channel(m, n / 2);

	return ch && ch->drive[n % 2];
}
