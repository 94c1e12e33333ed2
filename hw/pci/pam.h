/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ROM and RAM below 1 MiB, as the host bridge's PAM registers choose. See pam.c. */
#ifndef POSADA_HW_PCI_PAM_H
#define POSADA_HW_PCI_PAM_H

#include <errno.h>
#include <stdint.h>

#include "bus.h"
#include "memmap.h"

struct machine;

enum { PAM_REG = 0x59, PAM_REGS = 7, PAM_AREAS = 13 };

struct pam {
	struct machine *m; /* NULL: not in use */
	struct mem_region area[PAM_AREAS];
	_Atomic uint8_t attr[PAM_AREAS]; /* PAM_READ, PAM_WRITE */
	struct io_region under;
};

/* For a machine with firmware (m->bios), at power-on: nothing is RAM. -errno. */
int pam_init(struct pam *p, struct machine *m);
void pam_fini(struct pam *p);
/* The PAM_REGS registers have these values. Does nothing when not in use. */
void pam_set(struct pam *p, const uint8_t *regs);

#endif
