/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What -smbios says, for the structures that smbios.c builds. Main thread. */
#ifndef POSADA_HW_SMBIOS_OPTS_H
#define POSADA_HW_SMBIOS_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct err;

/* Values of -smbios type=N,KEY=VALUE, in the order of smbios_opts.c's table. */
enum smbios_field {
	BIOS_VENDOR,
	BIOS_VERSION,
	BIOS_DATE,
	BIOS_RELEASE,
	BIOS_UEFI,
	SYSTEM_MANUFACTURER,
	SYSTEM_PRODUCT,
	SYSTEM_VERSION,
	SYSTEM_SERIAL,
	SYSTEM_UUID,
	SYSTEM_SKU,
	SYSTEM_FAMILY,
	BOARD_MANUFACTURER,
	BOARD_PRODUCT,
	BOARD_VERSION,
	BOARD_SERIAL,
	BOARD_ASSET,
	BOARD_LOCATION,
	CHASSIS_MANUFACTURER,
	CHASSIS_VERSION,
	CHASSIS_SERIAL,
	CHASSIS_ASSET,
	CHASSIS_SKU,
	CPU_SOCKET,
	CPU_MANUFACTURER,
	CPU_VERSION,
	CPU_SERIAL,
	CPU_ASSET,
	CPU_PART,
	CPU_MAX_SPEED,
	CPU_CURRENT_SPEED,
	DIMM_LOCATOR,
	DIMM_BANK,
	DIMM_MANUFACTURER,
	DIMM_SERIAL,
	DIMM_ASSET,
	DIMM_PART,
	DIMM_SPEED,
	SMBIOS_FIELDS
};

enum { OEM_STRINGS_MAX = 255, SMBIOS_TABLES_MAX = 0xf000 };

struct smbios_opts {
	char *value[SMBIOS_FIELDS]; /* NULL: not given */
	char *oem[OEM_STRINGS_MAX];
	unsigned n_oem;
	uint8_t uuid[16]; /* as written, first byte first */
	unsigned speed[3]; /* of the fields that have a speed, MHz; 0: not given */
	unsigned release_major, release_minor;
	bool release, uefi;
	bool given[256]; /* by type: something was said of it */
	uint8_t *file; /* whole structures, one after the other */
	size_t file_len;
	unsigned file_n, file_longest;
	bool in_file[256]; /* by type */
};

/* From cfg; -EINVAL ... name the option. smbios_opts_free also after an error. */
int smbios_opts_parse(struct smbios_opts *o, const struct config *cfg, struct err *e);
void smbios_opts_free(struct smbios_opts *o);

#endif
