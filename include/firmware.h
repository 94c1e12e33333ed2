/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware of a PC: which file it is, and where it lies. Main thread, before
 * the guest runs.
 */
#ifndef POSADA_FIRMWARE_H
#define POSADA_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memmap.h"

struct config;
struct err;
struct machine;

/* A ROM image in host memory, whole pages of it. */
struct rom {
	uint8_t *host;
	size_t len; /* bytes of the file */
	size_t size; /* bytes mapped, a multiple of 4 KiB */
};

/*
 * A file of that name: as it stands when it has a slash or is there, else in the -L
 * directories, then in those of Debian's packages. -ENOENT names the package. *path is malloc'd.
 */
int firmware_find(const struct config *cfg, const char *name, char **path, struct err *e);
/* Reads it; at most max bytes. */
int rom_load(struct rom *r, const char *path, size_t max, struct err *e);
void rom_free(struct rom *r);

/* Whether a PC has firmware: a kernel that is named starts without, unless firmware is, too. */
bool firmware_wanted(const struct config *cfg);
/* The BIOS at the top of the first 4 GiB, and its last 128 KiB below 1 MiB (m->bios). */
int firmware_map(struct machine *m, const struct config *cfg, struct err *e);
void firmware_unmap(struct machine *m);

#define FIRMWARE_TOP 0x100000000ull

/* m->bios: what the board's firmware is. */
struct firmware {
	char *path; /* NULL: it is in a flash (-drive if=pflash) */
	uint64_t base; /* where it begins: flash goes below it */
	struct rom rom;
	struct mem_region high;
};

#endif
