/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands by which firmware places ACPI tables: it allocates memory for files, and adjusts
 * pointers and checksums in them. See loader.c. Main thread.
 */
#ifndef POSADA_HW_ACPI_LOADER_H
#define POSADA_HW_ACPI_LOADER_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct machine;

#define ACPI_TABLES_FILE "etc/acpi/tables"
#define ACPI_RSDP_FILE "etc/acpi/rsdp"

enum { ACPI_LOADER_MAX = 32, ACPI_LOADER_ENTRY = 128 };

struct acpi_loader {
	uint8_t entry[ACPI_LOADER_MAX][ACPI_LOADER_ENTRY];
	unsigned n;
};

void acpi_loader_init(struct acpi_loader *l);
/* At off in file lie size bytes that point into the tables, counted from their start. */
void acpi_loader_pointer(struct acpi_loader *l, const char *file, size_t off, unsigned size);
/* The byte at off makes [start, start + len) add up to 0; after all pointers within. */
void acpi_loader_checksum(struct acpi_loader *l, const char *file, size_t off, size_t start,
			  size_t len);
int acpi_loader_tell(const struct acpi_loader *l, struct machine *m, struct err *e);

#endif
