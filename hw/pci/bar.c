/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Base address registers (PCI Local Bus Specification 3.0, section 6.2.5) and
 * the expansion ROM (section 6.3). Set-up on the main thread; moves on the
 * vCPU thread that wrote the register, under the config lock.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "firmware.h"
#include "machine.h"
#include "pci_int.h"

#define ROM_ENABLE 1u
#define ROM_MIN 2048u
#define ROM_MAX (16u << 20)

void pci_bar_init(struct pci_fn *fn, unsigned n, unsigned flags, uint64_t size)
{
	unsigned reg = pci_bar_reg(n);
	uint64_t mask = ~(size - 1);
	bool io = flags & PCI_BAR_IO;

	assert(size && !(size & (size - 1)) && size >= (io ? 4 : 16));
	assert(n < PCI_BARS || n == PCI_ROM_BAR);
	assert(!(flags & PCI_BAR_64) || n + 1 < PCI_BARS);
	assert(size <= 1u << 31 || flags & PCI_BAR_64);
	fn->bar[n] = (struct pci_bar){ .size = size, .flags = flags };
	fn->wmask[PCI_COMMAND] |= io ? PCI_COMMAND_IO : PCI_COMMAND_MEM;
	fn->cfg[reg] = n == PCI_ROM_BAR ? 0 : (uint8_t)flags;
	if (n == PCI_ROM_BAR)
		mask |= ROM_ENABLE;
	for (unsigned i = 0; i < (flags & PCI_BAR_64 ? 8 : 4); i++)
		fn->wmask[reg + i] = (uint8_t)(mask >> 8 * i);
}

void pci_bar_add(struct pci_fn *fn, unsigned n, struct io_region *r, uint64_t off)
{
	struct pci_bar *b = &fn->bar[n];

	assert(!b->mapped && b->n < PCI_BAR_REGIONS);
	assert(off <= b->size && r->size <= b->size - off);
	b->part[b->n].region = r;
	b->part[b->n++].off = off;
}

/* Whether the function decodes BAR n now, and at which address. */
static bool decoded(const struct pci_fn *fn, unsigned n, uint64_t *base)
{
	const struct pci_bar *b = &fn->bar[n];
	unsigned reg = pci_bar_reg(n);
	uint64_t top = b->flags & PCI_BAR_64 ? UINT64_MAX : UINT32_MAX;

	*base = pci_cfg32(fn, reg);
	if (n == PCI_ROM_BAR && !(*base & ROM_ENABLE))
		return false;
	if (!(fn->cfg[PCI_COMMAND] & (b->flags & PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEM)))
		return false;
	if (b->flags & PCI_BAR_64)
		*base |= (uint64_t)pci_cfg32(fn, reg + 4) << 32;
	*base &= ~(b->size - 1);
	if (b->flags & PCI_BAR_IO)
		top = UINT16_MAX + 1;
	/*
	 * 0 is no address. Nor is the highest one: it is what a register holds
	 * while a guest finds out its size, maybe with decoding on.
	 */
	return *base && *base < top - (b->size - 1);
}

static void unmap(struct pci_fn *fn, unsigned n)
{
	struct pci_bar *b = &fn->bar[n];

	if (!b->mapped)
		return;
	if (fn->ops && fn->ops->bar_mapped)
		fn->ops->bar_mapped(fn, n, false);
	for (unsigned i = 0; i < b->n; i++)
		bus_unmap(b->part[i].region);
	b->mapped = false;
}

static void map(struct pci_fn *fn, unsigned n, uint64_t base)
{
	struct pci_bar *b = &fn->bar[n];
	struct bus *bus = b->flags & PCI_BAR_IO ? &fn->m->pio : &fn->m->mmio;

	b->base = base;
	b->mapped = true;
	for (unsigned i = 0; i < b->n; i++)
		bus_map(bus, b->part[i].region, base + b->part[i].off);
	if (fn->ops && fn->ops->bar_mapped)
		fn->ops->bar_mapped(fn, n, true);
}

void pci_bars_update(struct pci_fn *fn)
{
	for (unsigned n = 0; n <= PCI_ROM_BAR; n++) {
		struct pci_bar *b = &fn->bar[n];
		uint64_t base;
		bool want = b->size && decoded(fn, n, &base);

		if (b->mapped && (!want || base != b->base))
			unmap(fn, n);
		if (want && !b->mapped)
			map(fn, n, base);
	}
}

void pci_bars_unmap(struct pci_fn *fn)
{
	for (unsigned n = 0; n <= PCI_ROM_BAR; n++)
		unmap(fn, n);
}

/* --- expansion ROM ------------------------------------------------------------------- */

static uint64_t rom_read(void *dev, uint64_t off, unsigned size)
{
	const struct pci_fn *fn = dev;
	uint64_t val = 0;

	/* The file's end is padded with zeros up to the BAR's. */
	if (off < fn->rom_len)
		memcpy(&val, fn->rom_data + off,
		       size < fn->rom_len - off ? size : fn->rom_len - off);
	return val;
}

static const struct io_ops rom_ops = { .read = rom_read, .min = 1, .max = 8 };

static int rom_unusable(const struct pci_fn *fn, int code, const char *why, struct err *e)
{
	return err_set(e, ERR_INPUT, code, "romfile=%s: %s", fn->romfile, why);
}

static int read_rom(struct pci_fn *fn, int fd, struct err *e)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return rom_unusable(fn, errno, strerror(errno), e);
	if (!S_ISREG(st.st_mode))
		return rom_unusable(fn, EINVAL, "not a regular file", e);
	if (!st.st_size)
		return rom_unusable(fn, EINVAL, "the file is empty", e);
	if (st.st_size > ROM_MAX)
		return rom_unusable(fn, EFBIG, "larger than 16 MiB, the most a PCI ROM can be", e);
	fn->rom_len = (size_t)st.st_size;
	fn->rom_data = malloc(fn->rom_len);
	if (!fn->rom_data)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	for (size_t done = 0; done < fn->rom_len; done += (size_t)n) {
		do {
			n = read(fd, fn->rom_data + done, fn->rom_len - done);
		} while (n < 0 && errno == EINTR);
		if (n <= 0)
			return rom_unusable(fn, n ? errno : EIO,
					    n ? strerror(errno) : "the file has been truncated", e);
	}
	return 0;
}

int pci_rom_load(struct pci_fn *fn, struct err *e)
{
	uint64_t size = ROM_MIN;
	char *path = NULL;
	int fd, rc;

	/* "romfile=" takes a ROM away that a device has by default. */
	if (!fn->romfile || !fn->romfile[0])
		return 0;
	if (fn->m->cfg && !strchr(fn->romfile, '/')) {
		rc = firmware_find(fn->m->cfg, fn->romfile, &path, e);
		if (rc) {
			err_prefix(e, "romfile=");
			return rc;
		}
	}
	fd = open(path ? path : fn->romfile, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	free(path);
	if (fd < 0)
		return rom_unusable(fn, errno, strerror(errno), e);
	rc = read_rom(fn, fd, e);
	close(fd);
	if (rc)
		return rc;
	while (size < fn->rom_len)
		size *= 2;
	fn->rom = (struct io_region){ .name = "pci-rom", .ops = &rom_ops, .dev = fn, .size = size };
	pci_bar_init(fn, PCI_ROM_BAR, PCI_BAR_MEM, size);
	pci_bar_add(fn, PCI_ROM_BAR, &fn->rom, 0);
	return 0;
}
