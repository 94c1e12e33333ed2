/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power management function of Intel's 82371AB (PIIX4), function 3 of slot 1: it
 * says where the ACPI ports lie (pm.c has what they do), and has an SMBus with nothing
 * on it, and the APM ports, which are memory. vCPU threads; dev->lock guards all.
 *
 * There is no SMM. Firmware that would set it up finds it set up already: the bit
 * of DEVACTB that lets APM commands raise SMIs is set from the start.
 */
#include "dev.h"

#include <stdint.h>

#include "acpi.h"
#include "bus.h"
#include "machine.h"
#include "../pci/pci_int.h"

enum {
	PMBA = 0x40, /* bits 15..6: the ports' base */
	DEVACTB = 0x58, /* bit 25: SMI by APM commands */
	PMREGMISC = 0x80, /* bit 0: the ports are on */
	SMBBA = 0x90, /* bits 15..4 */
	SMBHSTCFG = 0xd2, /* bit 0: the SMBus's ports are on */
};
enum { IO_SPACE = 0x01, DEVACTB_APMC_EN_BYTE = 0x02 };
enum { APM_PORT = 0xb2 };

/* SMBus host registers. */
enum { HST_STS = 0, HST_CNT = 2, HST_REGS = 16 };
enum { STS_DEV_ERR = 0x04, CNT_START = 0x40 };

struct piix4_pm {
	struct dev dev;
	struct pci_fn fn;
	struct io_region smbus, apm;
	uint16_t smbus_base; /* 0: off */
	uint8_t smbus_reg[HST_REGS], apm_reg[2];
};

/* --- SMBus and APM ---------------------------------------------------------------------- */

static uint64_t smbus_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct piix4_pm *)dev)->smbus_reg[off];
}

static void smbus_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct piix4_pm *p = dev;

	if (off == HST_STS) {
		p->smbus_reg[HST_STS] &= (uint8_t)~val;
		return;
	}
	p->smbus_reg[off] = (uint8_t)val;
	if (off != HST_CNT || !(val & CNT_START))
		return;
	/* No device acknowledges its address. */
	p->smbus_reg[HST_CNT] &= (uint8_t)~CNT_START;
	p->smbus_reg[HST_STS] |= STS_DEV_ERR;
}

static const struct io_ops smbus_ops = {
	.read = smbus_read,
	.write = smbus_write,
	.min = 1,
	.max = 1,
};

static uint64_t apm_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct piix4_pm *)dev)->apm_reg[off];
}

static void apm_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	((struct piix4_pm *)dev)->apm_reg[off] = (uint8_t)val;
}

static const struct io_ops apm_ops = { .read = apm_read, .write = apm_write, .min = 1, .max = 1 };

/* --- where the ports are ------------------------------------------------------------------ */

/* dev->lock held. */
static void place(struct piix4_pm *p)
{
	uint16_t base =
		(uint16_t)(pci_cfg_load(&p->fn, PMBA) | pci_cfg_load(&p->fn, PMBA + 1) << 8);
	uint16_t smbus =
		(uint16_t)(pci_cfg_load(&p->fn, SMBBA) | pci_cfg_load(&p->fn, SMBBA + 1) << 8);

	base &= 0xffc0;
	smbus &= 0xfff0;
	acpi_pm_place(p->dev.m, pci_cfg_load(&p->fn, PMREGMISC) & IO_SPACE ? base : 0);
	if (!(pci_cfg_load(&p->fn, SMBHSTCFG) & IO_SPACE))
		smbus = 0;
	if (smbus == p->smbus_base)
		return;
	if (bus_mapped(&p->smbus))
		bus_unmap(&p->smbus);
	if (smbus)
		bus_map(&p->dev.m->pio, &p->smbus, smbus);
	p->smbus_base = smbus;
}

static void cfg_written(struct pci_fn *fn, unsigned off, unsigned size)
{
	struct piix4_pm *p = fn->ctx;

	if (off < PMBA)
		return;
	pthread_mutex_lock(&p->dev.lock);
	place(p);
	pthread_mutex_unlock(&p->dev.lock);
}

static const struct pci_fn_ops fn_ops = { .cfg_written = cfg_written };

/* Kernels that are started without firmware find the ports where the ACPI tables say. */
static void piix4_pm_reset(struct dev *d)
{
	struct piix4_pm *p = (struct piix4_pm *)d;
	bool on = !d->m->bios;

	pci_fn_reset(&p->fn);
	pci_set32(&p->fn, PMBA, on ? ACPI_PM_BASE | IO_SPACE : IO_SPACE);
	pci_set32(&p->fn, SMBBA, IO_SPACE);
	p->fn.cfg[PMREGMISC] = on ? IO_SPACE : 0;
	p->fn.cfg[SMBHSTCFG] = 0;
	pci_set32(&p->fn, DEVACTB, 0);
	p->fn.cfg[DEVACTB + 3] = DEVACTB_APMC_EN_BYTE;
	for (unsigned i = 0; i < HST_REGS; i++)
		p->smbus_reg[i] = 0;
	p->apm_reg[0] = p->apm_reg[1] = 0;
	place(p);
}

static int piix4_pm_init(struct dev *d, struct err *e)
{
	static const struct pci_ident ident = {
		.vendor = 0x8086,
		.device = 0x7113,
		.revision = 3,
		.class_code = 0x068000,
	};
	struct piix4_pm *p = (struct piix4_pm *)d;
	int rc = pci_fn_init(&p->fn, d, &ident, &fn_ops, p, e);

	rc = rc ? rc : pci_fn_plug_at(&p->fn, PCI_DEVFN(1, 3), e);
	if (rc)
		return rc;
	pci_set16(&p->fn, PCI_STATUS, 0x0280);
	p->fn.wmask[PMBA] = 0xc0;
	p->fn.wmask[PMBA + 1] = 0xff;
	for (unsigned i = 0; i < 4; i++)
		p->fn.wmask[DEVACTB + i] = 0xff;
	p->fn.wmask[PMREGMISC] = IO_SPACE;
	p->fn.wmask[SMBBA] = 0xf0;
	p->fn.wmask[SMBBA + 1] = 0xff;
	p->fn.wmask[SMBHSTCFG] = 0x0f;
	p->smbus = (struct io_region){
		.name = "smbus", .ops = &smbus_ops, .dev = p, .lock = &d->lock, .size = HST_REGS
	};
	p->apm = (struct io_region){
		.name = "apm", .ops = &apm_ops, .dev = p, .lock = &d->lock, .size = 2
	};
	bus_map(&d->m->pio, &p->apm, APM_PORT);
	return 0;
}

static void piix4_pm_fini(struct dev *d)
{
	struct piix4_pm *p = (struct piix4_pm *)d;

	if (bus_mapped(&p->smbus))
		bus_unmap(&p->smbus);
	if (bus_mapped(&p->apm))
		bus_unmap(&p->apm);
	pci_fn_unplug(&p->fn);
}

const struct dev_class piix4_pm_class = {
	.name = "piix4-pm",
	.desc = "power management function (Intel 82371AB)",
	.bus = DEV_BUS_PCI,
	.internal = true,
	.size = sizeof(struct piix4_pm),
	.init = piix4_pm_init,
	.reset = piix4_pm_reset,
	.fini = piix4_pm_fini,
};
