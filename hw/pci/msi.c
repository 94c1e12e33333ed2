/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Message-signalled interrupts: MSI with one message, and MSI-X (PCI Local Bus
 * Specification 3.0, section 6.8).
 *
 * A vector is an eventfd that KVM turns into the message. While the vector is
 * held back (masked, disabled, or its function may not master the bus), KVM does not
 * listen, and what is raised stays in the eventfd: so a pending bit is
 * "the eventfd is readable", and raising takes no lock.
 *
 * Registers: vCPU threads, under the config lock. Raising: any thread.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev.h"
#include "err.h"
#include "log.h"
#include "machine.h"
#include "pci_int.h"

/* The MSI capability with a 64-bit address and mask bits; offsets in it. */
enum { MSI_CTL = 2, MSI_ADDR = 4, MSI_DATA = 12, MSI_MASK = 16, MSI_PENDING = 20, MSI_LEN = 24 };
enum { MSI_ENABLE = 0x0001, MSI_64BIT = 0x0080, MSI_CAN_MASK = 0x0100 };

enum { MSIX_CTL = 2, MSIX_TABLE = 4, MSIX_PBA = 8, MSIX_LEN = 12 };
enum { MSIX_ENABLE = 0x8000, MSIX_FUNCTION_MASK = 0x4000 };
enum { ENTRY_LEN = 16, ENTRY_DATA = 8, ENTRY_CTL = 12, ENTRY_MASKED = 1 };

#define MAX_VECTORS 2048u

static int vector_init(struct pci_vector *v, struct err *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return err_set(e, ERR_HOST, errno, "cannot make an eventfd for an interrupt: %s",
			       strerror(errno));
	v->irqfd = (struct irqfd){ .fd = fd, .gsi = -1 };
	v->allocated = true;
	return 0;
}

static void vector_free(struct pci_fn *fn, struct pci_vector *v)
{
	if (!v->allocated)
		return;
	machine_irqfd_free(fn->m, &v->irqfd);
	close(v->irqfd.fd);
	v->allocated = false;
}

/* msg NULL: holds it back. */
static void vector_set(struct pci_fn *fn, struct pci_vector *v, const struct msi_msg *msg)
{
	int rc = machine_irqfd_set(fn->m, &v->irqfd, msg);

	if (rc)
		log_warn("%s: the host refused a message-signalled interrupt: %s",
			 fn->dev->cls->name, strerror(-rc));
}

/* Forgets what was raised. */
static void vector_drain(struct pci_vector *v)
{
	eventfd_t count;

	eventfd_read(v->irqfd.fd, &count);
}

static bool vector_pending(const struct pci_vector *v)
{
	struct pollfd p = { .fd = v->irqfd.fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* A message is a write by the function, which must be allowed to write. */
static bool may_write(const struct pci_fn *fn)
{
	return fn->cfg[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

/* --- MSI ---------------------------------------------------------------------------- */

int pci_msi_init(struct pci_fn *fn, struct err *e)
{
	unsigned cap;
	int rc = vector_init(&fn->msi, e);

	if (rc)
		return rc;
	cap = pci_add_cap(fn, PCI_CAP_MSI, MSI_LEN);
	pci_set16(fn, cap + MSI_CTL, MSI_64BIT | MSI_CAN_MASK);
	fn->wmask[cap + MSI_CTL] = MSI_ENABLE;
	memset(fn->wmask + cap + MSI_ADDR, 0xff, 8);
	fn->wmask[cap + MSI_ADDR] = 0xfc;
	memset(fn->wmask + cap + MSI_DATA, 0xff, 2);
	fn->wmask[cap + MSI_MASK] = 1;
	fn->msi_cap = (uint8_t)cap;
	return 0;
}

bool pci_msi_enabled(const struct pci_fn *fn)
{
	return fn->msi_cap && pci_cfg_load(fn, fn->msi_cap + MSI_CTL) & MSI_ENABLE;
}

static void msi_update(struct pci_fn *fn)
{
	unsigned cap = fn->msi_cap;
	struct msi_msg msg = {
		.addr = pci_cfg32(fn, cap + MSI_ADDR) | (uint64_t)pci_cfg32(fn, cap + MSI_ADDR + 4)
								<< 32,
		.data = pci_cfg16(fn, cap + MSI_DATA),
	};
	bool live = pci_msi_enabled(fn) && may_write(fn) && !(fn->cfg[cap + MSI_MASK] & 1);

	vector_set(fn, &fn->msi, live ? &msg : NULL);
	if (!pci_msi_enabled(fn))
		vector_drain(&fn->msi);
}

void pci_msi_refresh(struct pci_fn *fn)
{
	if (fn->msi_cap)
		pci_cfg_store(fn, fn->msi_cap + MSI_PENDING, vector_pending(&fn->msi));
}

/* --- MSI-X -------------------------------------------------------------------------- */

bool pci_msix_enabled(const struct pci_fn *fn)
{
	return fn->msix_cap && pci_cfg_load(fn, fn->msix_cap + MSIX_CTL + 1) & MSIX_ENABLE >> 8;
}

/* Whether vectors that are not masked themselves may raise. */
static bool msix_live(const struct pci_fn *fn)
{
	return pci_msix_enabled(fn) && may_write(fn) &&
	       !(pci_cfg16(fn, fn->msix_cap + MSIX_CTL) & MSIX_FUNCTION_MASK);
}

static void entry_update(struct pci_fn *fn, unsigned n, bool live)
{
	const uint8_t *entry = fn->msix + ENTRY_LEN * n;
	struct msi_msg msg;

	memcpy(&msg.addr, entry, 8); /* the host is x86: little-endian */
	memcpy(&msg.data, entry + ENTRY_DATA, 4);
	live = live && !(entry[ENTRY_CTL] & ENTRY_MASKED);
	vector_set(fn, &fn->vector[n], live ? &msg : NULL);
}

static uint64_t table_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	memcpy(&val, ((struct pci_fn *)dev)->msix + off, size);
	return val;
}

static void table_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct pci_fn *fn = dev;
	unsigned n = (unsigned)(off / ENTRY_LEN);
	uint8_t *entry = fn->msix + ENTRY_LEN * n;

	memcpy(fn->msix + off, &val, size);
	/* Reserved bits stay 0. */
	entry[0] &= 0xfc;
	entry[ENTRY_CTL] &= ENTRY_MASKED;
	memset(entry + ENTRY_CTL + 1, 0, 3);
	entry_update(fn, n, msix_live(fn));
}

static const struct io_ops table_ops = {
	.read = table_read,
	.write = table_write,
	.min = 4,
	.max = 8,
};

/* Read-only; one bit a vector. */
static uint64_t pba_read(void *dev, uint64_t off, unsigned size)
{
	struct pci_fn *fn = dev;
	struct pollfd p[64];
	unsigned first = (unsigned)off * 8, n = 0;
	uint64_t val = 0;

	for (; n < 8 * size && first + n < fn->n_vectors; n++)
		p[n] = (struct pollfd){ .fd = fn->vector[first + n].irqfd.fd, .events = POLLIN };
	if (poll(p, n, 0) > 0)
		for (unsigned i = 0; i < n; i++)
			val |= (uint64_t)(p[i].revents & POLLIN ? 1 : 0) << i;
	return val;
}

static const struct io_ops pba_ops = { .read = pba_read, .min = 4, .max = 8 };

static void mask_all(struct pci_fn *fn)
{
	memset(fn->msix, 0, ENTRY_LEN * (size_t)fn->n_vectors);
	for (unsigned i = 0; i < fn->n_vectors; i++)
		fn->msix[ENTRY_LEN * i + ENTRY_CTL] = ENTRY_MASKED;
}

int pci_msix_init(struct pci_fn *fn, unsigned n_vectors, unsigned n, uint64_t table_off,
		  uint64_t pba_off, struct err *e)
{
	unsigned cap;

	assert(n_vectors >= 1 && n_vectors <= MAX_VECTORS && table_off % 8 == 0 &&
	       pba_off % 8 == 0);
	fn->vector = calloc(n_vectors, sizeof(*fn->vector));
	fn->msix = malloc(ENTRY_LEN * (size_t)n_vectors);
	if (!fn->vector || !fn->msix)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	fn->n_vectors = n_vectors;
	for (unsigned i = 0; i < n_vectors; i++) {
		int rc = vector_init(&fn->vector[i], e);

		if (rc)
			return rc;
	}
	mask_all(fn);
	/* In front of whatever else the device has in this BAR. */
	fn->msix_table = (struct io_region){ .name = "msix-table",
					     .ops = &table_ops,
					     .dev = fn,
					     .size = ENTRY_LEN * (uint64_t)n_vectors,
					     .prio = 1 };
	fn->msix_pba = (struct io_region){ .name = "msix-pba",
					   .ops = &pba_ops,
					   .dev = fn,
					   .size = (n_vectors + 63) / 64 * 8,
					   .prio = 1 };
	pci_bar_add(fn, n, &fn->msix_table, table_off);
	pci_bar_add(fn, n, &fn->msix_pba, pba_off);
	cap = pci_add_cap(fn, PCI_CAP_MSIX, MSIX_LEN);
	pci_set16(fn, cap + MSIX_CTL, (uint16_t)(n_vectors - 1));
	pci_set32(fn, cap + MSIX_TABLE, (uint32_t)table_off | n);
	pci_set32(fn, cap + MSIX_PBA, (uint32_t)pba_off | n);
	fn->wmask[cap + MSIX_CTL + 1] = (MSIX_ENABLE | MSIX_FUNCTION_MASK) >> 8;
	fn->msix_cap = (uint8_t)cap;
	return 0;
}

/* --- both --------------------------------------------------------------------------- */

bool pci_msi_owns(const struct pci_fn *fn, unsigned off, unsigned size)
{
	return (fn->msi_cap && pci_overlaps(off, size, fn->msi_cap, MSI_LEN)) ||
	       (fn->msix_cap && pci_overlaps(off, size, fn->msix_cap, MSIX_LEN));
}

void pci_vectors_update(struct pci_fn *fn)
{
	bool live = msix_live(fn);

	if (fn->msi_cap)
		msi_update(fn);
	for (unsigned i = 0; fn->msix_cap && i < fn->n_vectors; i++) {
		entry_update(fn, i, live);
		if (!pci_msix_enabled(fn))
			vector_drain(&fn->vector[i]);
	}
}

void pci_vectors_reset(struct pci_fn *fn)
{
	if (fn->msix_cap)
		mask_all(fn);
	pci_vectors_update(fn);
}

void pci_vectors_free(struct pci_fn *fn)
{
	for (unsigned i = 0; fn->vector && i < fn->n_vectors; i++)
		vector_free(fn, &fn->vector[i]);
	vector_free(fn, &fn->msi);
	free(fn->vector);
	free(fn->msix);
	fn->vector = NULL;
	fn->msix = NULL;
	fn->n_vectors = 0;
}

void pci_notify(struct pci_fn *fn, unsigned n)
{
	struct pci_vector *v = NULL;

	if (pci_msix_enabled(fn))
		v = n < fn->n_vectors ? &fn->vector[n] : NULL;
	else if (pci_msi_enabled(fn))
		v = n == 0 ? &fn->msi : NULL;
	/* It fails only when the count is at its end: pending, then. */
	if (v)
		eventfd_write(v->irqfd.fd, 1);
}
