/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge, as Intel's 82441FX (i440FX) shows itself: PCI bus 0 behind
 * configuration mechanism 1 (PCI Local Bus Specification 3.0, section
 * 3.2.2.3.2). vCPU threads; the config lock guards everything.
 */
#include "dev.h"

#include "bus.h"
#include "err.h"
#include "machine.h"
#include "pam.h"
#include "pci_int.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };
enum { ADDRESS_ENABLE = 0x80000000, ADDRESS_BITS = 0x80fffffc };

struct i440fx {
	struct dev dev;
	struct pci_fn fn;
	struct pci_host host;
	struct io_region address, data;
	struct pam pam;
};

/* Only a dword is the address register; other accesses go on to the ISA bridge. */
static uint64_t address_read(void *dev, uint64_t off, unsigned size)
{
	const struct pci_host *h = dev;

	if (size == 4)
		return h->address;
	return h->isa_ops ? h->isa_ops->read(h->isa_dev, off, size) : UINT64_MAX;
}

static void address_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct pci_host *h = dev;

	if (size == 4)
		h->address = (uint32_t)val & ADDRESS_BITS;
	else if (h->isa_ops)
		h->isa_ops->write(h->isa_dev, off, val, size);
}

static const struct io_ops address_ops = {
	.read = address_read,
	.write = address_write,
	.min = 1,
	.max = 4,
};

/* Which register the data port shows; false: none, there is no bus but 0. */
static bool selected(struct pci_host *h, unsigned *devfn, unsigned *reg)
{
	uint32_t address;

	pthread_mutex_lock(&h->lock);
	address = h->address;
	pthread_mutex_unlock(&h->lock);
	*devfn = address >> 8 & 0xff;
	*reg = address & 0xff;
	return address & ADDRESS_ENABLE && !(address >> 16 & 0xff);
}

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
	struct pci_host *h = dev;
	unsigned devfn, reg;

	if (!selected(h, &devfn, &reg))
		return UINT64_MAX;
	return pci_config_read(h->m, devfn, reg + (unsigned)off, size);
}

static void data_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct pci_host *h = dev;
	unsigned devfn, reg;

	if (selected(h, &devfn, &reg))
		pci_config_write(h->m, devfn, reg + (unsigned)off, (uint32_t)val, size);
}

static const struct io_ops data_ops = {
	.read = data_read,
	.write = data_write,
	.min = 1,
	.max = 4,
};

/* The config lock is not held: two CPUs that write these at once see one after the other. */
static void cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct i440fx *b = fn->ctx;
	uint8_t regs[PAM_REGS];

	if (!pci_overlaps(off, size, PAM_REG, PAM_REGS))
		return;
	pthread_mutex_lock(&b->dev.lock);
	for (unsigned i = 0; i < PAM_REGS; i++)
		regs[i] = pci_cfg_load(fn, PAM_REG + i);
	pam_set(&b->pam, regs);
	pthread_mutex_unlock(&b->dev.lock);
}

static const struct pci_fn_ops fn_ops = { .cfg_written = cfg_written };

/*
 * At power-on nothing below 1 MiB but above 768 KiB is RAM. Kernels that are
 * started without firmware find all of it to be, as firmware would leave it.
 */
static void reset_pam(struct i440fx *b)
{
	for (unsigned i = 0; i < PAM_REGS; i++)
		b->fn.cfg[PAM_REG + i] = b->pam.m ? 0 : i ? 0x33 : 0x30;
	pam_set(&b->pam, &b->fn.cfg[PAM_REG]);
}

static void i440fx_reset(struct dev *d)
{
	struct i440fx *b = (struct i440fx *)d;

	pci_fn_reset(&b->fn);
	reset_pam(b);
	b->host.address = 0;
}

static int i440fx_init(struct dev *d, struct err *e)
{
	static const struct pci_ident ident = {
		.vendor = 0x8086,
		.device = 0x1237,
		.revision = 2,
		.class_code = 0x060000,
	};
	struct i440fx *b = (struct i440fx *)d;
	int rc;

	pci_host_init(&b->host, d->m);
	rc = pci_fn_init(&b->fn, d, &ident, &fn_ops, b, e);
	if (rc)
		return rc;
	/* It always answers for memory and masters the bus; its timing is "medium". */
	pci_set16(&b->fn, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	b->fn.wmask[PCI_COMMAND] = 0;
	pci_set16(&b->fn, PCI_STATUS, 0x0280);
	for (unsigned i = 0; i < PAM_REGS; i++)
		b->fn.wmask[PAM_REG + i] = i ? 0x33 : 0x30;
	if (d->m->bios && pam_init(&b->pam, d->m))
		return err_set(e, ERR_HOST, EIO, "KVM refused memory for the shadow of the BIOS");
	b->address = (struct io_region){ .name = "pci-config-address",
					 .ops = &address_ops,
					 .dev = &b->host,
					 .lock = &b->host.lock,
					 .size = 4 };
	b->data = (struct io_region){
		.name = "pci-config-data", .ops = &data_ops, .dev = &b->host, .size = 4
	};
	bus_map(&d->m->pio, &b->address, CONFIG_ADDRESS);
	bus_map(&d->m->pio, &b->data, CONFIG_DATA);
	return pci_fn_plug_at(&b->fn, PCI_DEVFN(0, 0), e);
}

static void i440fx_fini(struct dev *d)
{
	struct i440fx *b = (struct i440fx *)d;

	if (bus_mapped(&b->address))
		bus_unmap(&b->address);
	if (bus_mapped(&b->data))
		bus_unmap(&b->data);
	pam_fini(&b->pam);
	pci_fn_unplug(&b->fn);
	pci_host_fini(&b->host);
}

const struct dev_class i440fx_class = {
	.name = "i440fx",
	.desc = "PCI host bridge (Intel 82441FX)",
	.bus = DEV_BUS_SYSTEM,
	.internal = true,
	.size = sizeof(struct i440fx),
	.init = i440fx_init,
	.reset = i440fx_reset,
	.fini = i440fx_fini,
};
