/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg's file "etc/table-loader": a list of 128-byte commands, each with names of
 * files of 56 bytes, as SeaBIOS and OVMF carry out (their sources' romfile_loader and
 * QemuLoader describe the layout). See loader.h. Main thread.
 */
#include "loader.h"

#include <stdio.h>
#include <string.h>

#include "fw_cfg.h"
#include "wire/le.h"

enum { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct command {
	struct le32 command;
	char file[FW_CFG_NAME_MAX + 1];
	union {
		struct {
			struct le32 align;
			uint8_t zone;
		} allocate;
		struct {
			char pointee[FW_CFG_NAME_MAX + 1];
			struct le32 off;
			uint8_t size;
		} pointer;
		struct {
			struct le32 off, start, len;
		} checksum;
		uint8_t pad[ACPI_LOADER_ENTRY - 4 - FW_CFG_NAME_MAX - 1];
	};
} __attribute__((packed));
_Static_assert(sizeof(struct command) == ACPI_LOADER_ENTRY, "table-loader command");

static void add(struct acpi_loader *l, struct command c, uint32_t command, const char *file)
{
	c.command = cpu_to_le32(command);
	snprintf(c.file, sizeof(c.file), "%s", file);
	if (l->n < ACPI_LOADER_MAX)
		memcpy(l->entry[l->n++], &c, sizeof(c));
}

void acpi_loader_init(struct acpi_loader *l)
{
	memset(l, 0, sizeof(*l));
	/* The FACS must lie at a multiple of 64; systems look for the RSDP in the last 64 KiB. */
	add(l, (struct command){ .allocate = { cpu_to_le32(64), ZONE_HIGH } }, ALLOCATE,
	    ACPI_TABLES_FILE);
	add(l, (struct command){ .allocate = { cpu_to_le32(16), ZONE_FSEG } }, ALLOCATE,
	    ACPI_RSDP_FILE);
}

void acpi_loader_pointer(struct acpi_loader *l, const char *file, size_t off, unsigned size)
{
	add(l,
	    (struct command){ .pointer = { .pointee = ACPI_TABLES_FILE,
					   .off = cpu_to_le32((uint32_t)off),
					   .size = (uint8_t)size } },
	    ADD_POINTER, file);
}

void acpi_loader_checksum(struct acpi_loader *l, const char *file, size_t off, size_t start,
			  size_t len)
{
	add(l,
	    (struct command){ .checksum = { cpu_to_le32((uint32_t)off),
					    cpu_to_le32((uint32_t)start),
					    cpu_to_le32((uint32_t)len) } },
	    ADD_CHECKSUM, file);
}

int acpi_loader_tell(const struct acpi_loader *l, struct machine *m, struct err *e)
{
	return fw_cfg_set_file(m, "etc/table-loader", l->entry, l->n * sizeof(l->entry[0]), e);
}
