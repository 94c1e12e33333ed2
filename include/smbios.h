/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS: what the machine says that it is (DMTF DSP0134, version 2.8), told to the
 * firmware, or placed below 1 MiB for kernels that are started without one. Main thread,
 * no vCPU running.
 */
#ifndef POSADA_SMBIOS_H
#define POSADA_SMBIOS_H

#include <stddef.h>
#include <stdint.h>

struct config;
struct err;
struct gmem;
struct machine;

#define SMBIOS_ANCHOR_LEN 31u
#define SMBIOS_ANCHOR_FILE "etc/smbios/smbios-anchor"
#define SMBIOS_TABLES_FILE "etc/smbios/smbios-tables"

/*
 * The structures, malloc'd, by cfg's -smbios and -uuid; mem and n_cpus say what there is. The
 * anchor is for address 0: smbios_tell and firmware finish it. -EINVAL names the -smbios that is
 * wrong.
 */
int smbios_build(const struct config *cfg, const struct gmem *mem, unsigned n_cpus, uint8_t **out,
		 size_t *len, uint8_t anchor[SMBIOS_ANCHOR_LEN], struct err *e);
/* Tells m's firmware, or puts it all below 1 MiB; again at each reset. */
int smbios_tell(struct machine *m, const struct config *cfg, struct err *e);

#endif
