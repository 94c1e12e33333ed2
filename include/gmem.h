/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory: host mappings that stand for ranges of guest-physical
 * addresses. RAM is one host mapping split around the PCI hole:
 *
 *   0 .. min(size, GMEM_LOW_MAX)            low RAM
 *   GMEM_LOW_MAX .. 4 GiB                   PCI hole, IOAPIC, LAPIC, firmware
 *   4 GiB .. 4 GiB + size - GMEM_LOW_MAX    high RAM
 *
 * Ranges do not change while a guest runs unless the VM is paused. All
 * accessors are for any thread. Guest RAM is shared with running vCPUs: copy a
 * field once, then check the copy.
 */
#ifndef POSADA_GMEM_H
#define POSADA_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define GMEM_LOW_MAX 0xc0000000ull
#define GMEM_HIGH_BASE 0x100000000ull
#define GMEM_MAX_RANGES 8

enum gmem_kind { GMEM_ANON, GMEM_MEMFD };

struct gmem_range {
	uint64_t gpa;
	uint64_t size;
	uint8_t *host;
	bool readonly; /* for the guest; the host can always write */
};

struct gmem {
	uint64_t ram_size; /* bytes, a multiple of 4 KiB */
	int memfd; /* -1 when anonymous */
	uint8_t *ram; /* the whole mapping, ram_size bytes */
	unsigned n;
	struct gmem_range range[GMEM_MAX_RANGES]; /* ascending gpa, no overlap */
};

/* Maps ram_size bytes of zeroed RAM lazily. -ENOMEM, -EINVAL. */
int gmem_init(struct gmem *g, uint64_t ram_size, enum gmem_kind kind, struct err *e);
/*
 * Asks the host for large pages: I/O past the page cache, which looks up each page, gets
 * cheaper, and a guest on hardware KVM faster. The first 2 MiB are left out: small
 * kernels touch little else, and need not wait for so much to be zeroed.
 */
void gmem_large_pages(struct gmem *g);
void gmem_fini(struct gmem *g);

/* Host address of [gpa, gpa+len) when the whole range lies in one RAM range, else NULL. */
void *gmem_ptr(const struct gmem *g, uint64_t gpa, size_t len);

/* Copy, crossing adjacent ranges. 0, or -EFAULT and nothing copied. */
int gmem_read(const struct gmem *g, uint64_t gpa, void *buf, size_t len);
int gmem_write(const struct gmem *g, uint64_t gpa, const void *buf, size_t len);

/*
 * Gives the host back the whole pages within [host, host+len), as gmem_ptr
 * returned it: they read as zeros from now on, also while the guest runs.
 * 0, -EFAULT when it is not writable RAM throughout, or the host's error.
 */
int gmem_discard(const struct gmem *g, void *host, size_t len);

/* RAM below the PCI hole, and RAM at and above 4 GiB, in bytes. */
uint64_t gmem_low_size(const struct gmem *g);
uint64_t gmem_high_size(const struct gmem *g);

#endif
