/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI bus: functions in their slots and their configuration spaces (PCI
 * Local Bus Specification 3.0, chapter 6). See include/pci.h.
 *
 * Configuration cycles come from vCPU threads and, from firmware's stand-in and
 * the monitor, from the main thread; plugging is the main thread's.
 */
#include "pci.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "err.h"
#include "machine.h"
#include "pci_int.h"

/* Status bits that a write of 1 clears: the parity and abort errors. */
#define STATUS_W1C 0xf900u
/* Slots 0 and 1 are the board's own. */
#define FIRST_FREE_SLOT 2u

void pci_host_init(struct pci_host *h, struct machine *m)
{
	h->m = m;
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_init(&h->irq_lock, NULL);
	memset(h->route, PCI_NO_IRQ, sizeof(h->route));
	m->pci = h;
}

void pci_host_fini(struct pci_host *h)
{
	if (!h->m)
		return;
	h->m->pci = NULL;
	h->m = NULL;
	pthread_mutex_destroy(&h->lock);
	pthread_mutex_destroy(&h->irq_lock);
}

/* --- making a function ------------------------------------------------------------ */

void pci_set16(struct pci_fn *fn, unsigned off, uint16_t val)
{
	pci_cfg_store(fn, off, (uint8_t)val);
	pci_cfg_store(fn, off + 1, (uint8_t)(val >> 8));
}

void pci_set32(struct pci_fn *fn, unsigned off, uint32_t val)
{
	pci_set16(fn, off, (uint16_t)val);
	pci_set16(fn, off + 2, (uint16_t)(val >> 16));
}

static void set_mask16(uint8_t *mask, unsigned off, uint16_t val)
{
	mask[off] = (uint8_t)val;
	mask[off + 1] = (uint8_t)(val >> 8);
}

int pci_fn_init(struct pci_fn *fn, struct dev *d, const struct pci_ident *id,
		const struct pci_fn_ops *ops, void *ctx, struct err *e)
{
	fn->dev = d;
	fn->m = d->m;
	fn->ops = ops;
	fn->ctx = ctx;
	fn->next_cap = 0x40;
	pci_set16(fn, PCI_VENDOR, id->vendor);
	pci_set16(fn, PCI_DEVICE, id->device);
	pci_set16(fn, PCI_SUBSYSTEM_VENDOR, id->subsystem_vendor);
	pci_set16(fn, PCI_SUBSYSTEM, id->subsystem);
	pci_set32(fn, PCI_REVISION, id->revision | id->class_code << 8);
	fn->cfg[PCI_HEADER_TYPE] = fn->multifunction ? PCI_HEADER_MULTI : 0;
	fn->cfg[PCI_INTERRUPT_PIN] = id->pin;
	/* I/O and memory decoding become writable with the first BAR of their kind. */
	set_mask16(fn->wmask, PCI_COMMAND,
		   PCI_COMMAND_MASTER | (id->pin ? PCI_COMMAND_INTX_OFF : 0));
	set_mask16(fn->w1cmask, PCI_STATUS, STATUS_W1C);
	fn->wmask[PCI_CACHE_LINE] = 0xff;
	fn->wmask[PCI_LATENCY] = 0xf8;
	fn->wmask[PCI_INTERRUPT_LINE] = 0xff;
	return pci_rom_load(fn, e);
}

unsigned pci_add_cap(struct pci_fn *fn, uint8_t id, unsigned len)
{
	unsigned off = fn->next_cap, link = PCI_CAP_POINTER;

	assert(off + len <= sizeof(fn->cfg));
	while (fn->cfg[link])
		link = fn->cfg[link] + 1u;
	fn->cfg[link] = (uint8_t)off;
	fn->cfg[off] = id;
	fn->cfg[off + 1] = 0;
	fn->cfg[PCI_STATUS] |= PCI_STATUS_CAPS;
	fn->next_cap = (uint8_t)((off + len + 3) & ~3u);
	return off;
}

void pci_fn_name(const struct pci_fn *fn, char *buf, size_t size)
{
	const struct dev *d = fn->dev;

	if (d->id)
		snprintf(buf, size, "%s (id %s)", d->cls->name, d->id);
	else
		snprintf(buf, size, "%s", d->cls->name);
}

/* --- slots --------------------------------------------------------------------------- */

/* Hex digits; a number beyond any address is as good as another. */
static bool parse_hex(const char **p, unsigned *out)
{
	const char *start = *p;

	for (*out = 0;; (*p)++) {
		char c = **p | 0x20;
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a' + 10);
		else
			return *p != start;
		if (*out < 0x100)
			*out = *out << 4 | digit;
	}
}

/* addr=SLOT[.FUNCTION], in hex, with or without 0x. */
static int parse_addr(const char *text, unsigned *devfn, struct err *e)
{
	const char *p = text;
	unsigned slot, func = 0;
	bool ok;

	if (p[0] == '0' && (p[1] | 0x20) == 'x')
		p += 2;
	ok = parse_hex(&p, &slot);
	if (ok && *p == '.') {
		p++;
		ok = parse_hex(&p, &func);
	}
	if (!ok || *p) {
		err_set(e, ERR_USAGE, EINVAL, "addr=%s: not a PCI address", text);
		err_hint(e, "an address is SLOT or SLOT.FUNCTION, in hex: addr=5, addr=1f.2");
		return -EINVAL;
	}
	if (slot >= PCI_SLOTS || func >= 8) {
		err_set(e, ERR_USAGE, ERANGE, "addr=%s: there is no such %s", text,
			func >= 8 ? "function" : "slot");
		err_hint(e, "slots are 0 to 1f, functions 0 to 7, in hex");
		return -ERANGE;
	}
	*devfn = PCI_DEVFN(slot, func);
	return 0;
}

/* The first function in a slot, or NULL. */
static struct pci_fn *slot_user(const struct pci_host *h, unsigned slot)
{
	for (unsigned func = 0; func < 8; func++)
		if (h->fn[PCI_DEVFN(slot, func)])
			return h->fn[PCI_DEVFN(slot, func)];
	return NULL;
}

/* Whether fn may be put at devfn. */
static int check_place(const struct pci_host *h, const struct pci_fn *fn, unsigned devfn,
		       struct err *e)
{
	unsigned slot = PCI_SLOT(devfn), func = PCI_FUNC(devfn);
	const struct pci_fn *there = h->fn[devfn], *first = h->fn[PCI_DEVFN(slot, 0)];
	char name[128];

	if (there) {
		pci_fn_name(there, name, sizeof(name));
		err_set(e, ERR_USAGE, EBUSY, "addr=%x.%x: %s is there already", slot, func, name);
		err_hint(e, "give one of the two another addr=, or none: then it gets a free slot");
		return -EBUSY;
	}
	if (!func)
		return 0;
	if (!first) {
		err_set(e, ERR_USAGE, EINVAL,
			"addr=%x.%x: slot %x has no function 0, without "
			"which a guest does not look further",
			slot, func, slot);
		err_hint(e, "put a device with addr=%x.0,multifunction=on before this one", slot);
		return -EINVAL;
	}
	if (!(first->cfg[PCI_HEADER_TYPE] & PCI_HEADER_MULTI)) {
		pci_fn_name(first, name, sizeof(name));
		err_set(e, ERR_USAGE, EINVAL,
			"addr=%x.%x: function 0 of the slot, %s, is alone "
			"there",
			slot, func, name);
		err_hint(e, "add multifunction=on to the device at addr=%x.0", slot);
		return -EINVAL;
	}
	return 0;
}

int pci_fn_plug_at(struct pci_fn *fn, unsigned devfn, struct err *e)
{
	struct pci_host *h = fn->m->pci;
	int rc;

	pthread_mutex_lock(&h->lock);
	rc = check_place(h, fn, devfn, e);
	if (!rc) {
		fn->devfn = (uint8_t)devfn;
		fn->host = h;
		fn->msix_table.lock = fn->msix_pba.lock = &h->lock;
		h->fn[devfn] = fn;
	}
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* The slots change on the main thread alone, so what is free now is free when it is plugged. */
static int free_slot(const struct pci_host *h, unsigned *devfn, struct err *e)
{
	for (unsigned slot = FIRST_FREE_SLOT; slot < PCI_SLOTS; slot++) {
		if (!slot_user(h, slot)) {
			*devfn = PCI_DEVFN(slot, 0);
			return 0;
		}
	}
	err_set(e, ERR_USAGE, ENOSPC, "no PCI slot is free");
	err_hint(e, "up to eight devices share a slot as its functions: addr=2.0,multifunction=on, "
		    "addr=2.1 ...");
	return -ENOSPC;
}

int pci_fn_plug(struct pci_fn *fn, struct err *e)
{
	struct pci_host *h = fn->m->pci;
	unsigned devfn;
	int rc;

	if (!h) {
		err_set(e, ERR_USAGE, ENODEV, "this machine has no PCI bus");
		err_hint(e, "'-machine pc' has one");
		return -ENODEV;
	}
	if (fn->bus_name && strcmp(fn->bus_name, "pci.0") && strcmp(fn->bus_name, "pci")) {
		err_set(e, ERR_USAGE, ENOENT, "bus=%s: there is no such PCI bus", fn->bus_name);
		err_hint(e, "the machine has one, pci.0");
		return -ENOENT;
	}
	rc = fn->addr ? parse_addr(fn->addr, &devfn, e) : free_slot(h, &devfn, e);
	return rc ? rc : pci_fn_plug_at(fn, devfn, e);
}

void pci_fn_hide(struct pci_fn *fn)
{
	struct pci_host *h = fn->host;

	if (!h)
		return;
	atomic_store(&fn->intx_level, false);
	pci_intx_update(fn);
	pthread_mutex_lock(&h->lock);
	h->fn[fn->devfn] = NULL;
	pci_bars_unmap(fn);
	fn->host = NULL;
	pthread_mutex_unlock(&h->lock);
	bus_sync();
}

void pci_fn_unplug(struct pci_fn *fn)
{
	pci_fn_hide(fn);
	pci_vectors_free(fn);
	free(fn->rom_data);
	fn->rom_data = NULL;
}

void pci_fn_reset(struct pci_fn *fn)
{
	struct pci_host *h = fn->host;

	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	for (unsigned off = 0; off < sizeof(fn->cfg); off++)
		pci_cfg_store(fn, off,
			      fn->cfg[off] & (uint8_t) ~(fn->wmask[off] | fn->w1cmask[off]));
	pci_bars_update(fn);
	pci_vectors_reset(fn);
	atomic_store(&fn->intx_level, false);
	pci_intx_update(fn);
	pthread_mutex_unlock(&h->lock);
}

struct pci_fn *pci_find(struct machine *m, unsigned devfn)
{
	struct pci_fn *fn;

	if (!m->pci || devfn >= PCI_FNS)
		return NULL;
	pthread_mutex_lock(&m->pci->lock);
	fn = m->pci->fn[devfn];
	pthread_mutex_unlock(&m->pci->lock);
	return fn;
}

void pci_each(struct machine *m, void (*fn)(void *ctx, struct pci_fn *f), void *ctx)
{
	if (!m->pci)
		return;
	pthread_mutex_lock(&m->pci->lock);
	for (unsigned devfn = 0; devfn < PCI_FNS; devfn++)
		if (m->pci->fn[devfn])
			fn(ctx, m->pci->fn[devfn]);
	pthread_mutex_unlock(&m->pci->lock);
}

/* --- configuration cycles ------------------------------------------------------------- */

/*
 * The lock is let go for the device's hook, which may want the device's. The
 * function's memory stays meanwhile: pci_fn_unplug waits for cycles under way.
 */
uint32_t pci_config_read(struct machine *m, unsigned devfn, unsigned off, unsigned size)
{
	struct pci_fn *fn = pci_find(m, devfn);
	uint8_t status;
	uint32_t val = 0;

	if (!fn)
		return UINT32_MAX;
	if (fn->ops && fn->ops->cfg_read)
		fn->ops->cfg_read(fn, off, size);
	pthread_mutex_lock(&m->pci->lock);
	status = fn->cfg[PCI_STATUS] & (uint8_t)~PCI_STATUS_INTX;
	if (atomic_load(&fn->intx_level))
		status |= PCI_STATUS_INTX;
	pci_cfg_store(fn, PCI_STATUS, status);
	pci_msi_refresh(fn);
	for (unsigned i = 0; i < size; i++)
		val |= (uint32_t)fn->cfg[off + i] << 8 * i;
	pthread_mutex_unlock(&m->pci->lock);
	return val;
}

static void written(struct pci_fn *fn, unsigned off, unsigned size)
{
	bool command = pci_overlaps(off, size, PCI_COMMAND, 2);

	if (command || pci_overlaps(off, size, PCI_BAR0, 4 * PCI_BARS) ||
	    pci_overlaps(off, size, PCI_ROM, 4))
		pci_bars_update(fn);
	if (command || pci_msi_owns(fn, off, size)) {
		pci_vectors_update(fn);
		pci_intx_update(fn);
	}
}

void pci_config_write(struct machine *m, unsigned devfn, unsigned off, uint32_t val, unsigned size)
{
	struct pci_fn *fn = pci_find(m, devfn);

	if (!fn)
		return;
	pthread_mutex_lock(&m->pci->lock);
	if (fn->host) {
		for (unsigned i = 0; i < size; i++) {
			uint8_t byte = (uint8_t)(val >> 8 * i), w = fn->wmask[off + i];
			uint8_t now = (uint8_t)((fn->cfg[off + i] & ~w) | (byte & w));

			pci_cfg_store(fn, off + i, now & (uint8_t) ~(byte & fn->w1cmask[off + i]));
		}
		written(fn, off, size);
	}
	pthread_mutex_unlock(&m->pci->lock);
	if (fn->ops && fn->ops->cfg_written)
		fn->ops->cfg_written(fn, off, size);
}
