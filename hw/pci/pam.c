/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bridge's programmable attribute map (Intel 82441FX data sheet, PAM0 to PAM6 at 0x59):
 * whether reads and writes of each part of 0xc0000 to 0xfffff go to RAM or to
 * the ISA bus, where the firmware's ROM answers in the last 128 KiB. Config
 * writes of vCPU threads, and reset.
 *
 * Reads from ROM with writes to RAM cannot be had as memory: such writes leave the
 * guest and are carried out here.
 */
#include "pam.h"

#include <endian.h>
#include <string.h>

#include "firmware.h"
#include "gmem.h"
#include "log.h"
#include "machine.h"

#define PAM_BASE 0xc0000u
#define PAM_END 0x100000u
#define ROM_BASE 0xe0000u
enum { PAM_READ = 1, PAM_WRITE = 2 };

/* Area 0 is the last 64 KiB, by the high half of PAM0; then 12 of 16 KiB by halves. */
static uint32_t area_base(unsigned i)
{
	return i ? PAM_BASE + (i - 1) * 0x4000 : 0xf0000;
}

static uint32_t area_size(unsigned i)
{
	return i ? 0x4000 : 0x10000;
}

static unsigned attributes(const uint8_t *regs, unsigned i)
{
	return i ? regs[(i + 1) / 2] >> (i % 2 ? 0 : 4) : regs[0] >> 4;
}

static unsigned area_at(uint32_t gpa)
{
	return gpa >= 0xf0000 ? 0 : 1 + (gpa - PAM_BASE) / 0x4000;
}

/* The ROM's bytes at an address below 1 MiB, or NULL. */
static uint8_t *rom_at(const struct machine *m, uint32_t gpa)
{
	const struct rom *r = &m->bios->rom;
	uint32_t below_end = PAM_END - gpa;

	return gpa >= ROM_BASE && below_end <= r->size ? r->host + r->size - below_end : NULL;
}

static void write_under(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct pam *p = dev;
	uint32_t gpa = PAM_BASE + (uint32_t)off;
	uint64_t le = htole64(val);

	if (p->attr[area_at(gpa)] == PAM_WRITE)
		gmem_write(&p->m->mem, gpa, &le, size);
}

static uint64_t read_under(void *dev, uint64_t off, unsigned size)
{
	return UINT64_MAX;
}

static const struct io_ops under_ops = { .read = read_under, .write = write_under };

void pam_set(struct pam *p, const uint8_t *regs)
{
	int rc;

	if (!p->m)
		return;
	memmap_begin(&p->m->map);
	for (unsigned i = 0; i < PAM_AREAS; i++) {
		unsigned attr = attributes(regs, i) & (PAM_READ | PAM_WRITE);
		uint32_t gpa = area_base(i);
		bool ram = attr & PAM_READ;

		p->attr[i] = (uint8_t)attr;
		memmap_set(&p->m->map, &p->area[i], ram ? p->m->mem.ram + gpa : rom_at(p->m, gpa),
			   !(ram && attr & PAM_WRITE));
	}
	rc = memmap_commit(&p->m->map);
	if (rc)
		log_warn("the memory below 1 MiB is not as the guest set it: %s", strerror(-rc));
}

int pam_init(struct pam *p, struct machine *m)
{
	int rc = 0;

	p->under = (struct io_region){
		.name = "pam", .ops = &under_ops, .dev = p, .size = PAM_END - PAM_BASE, .prio = -1
	};
	p->m = m;
	memmap_begin(&m->map);
	for (unsigned i = 0; !rc && i < PAM_AREAS; i++) {
		p->area[i] = (struct mem_region){ .name = "pam",
						  .host = rom_at(m, area_base(i)),
						  .size = area_size(i),
						  .readonly = true,
						  .prio = 1 };
		rc = memmap_map(&m->map, &p->area[i], area_base(i));
	}
	rc = memmap_commit(&m->map) < 0 && !rc ? -EIO : rc;
	bus_map(&m->mmio, &p->under, PAM_BASE);
	return rc;
}

void pam_fini(struct pam *p)
{
	if (!p->m)
		return;
	bus_unmap(&p->under);
	for (unsigned i = 0; i < PAM_AREAS; i++)
		memmap_unmap(&p->m->map, &p->area[i]);
	p->m = NULL;
}
