/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intel MultiProcessor Specification 1.4, chapter 4: the configuration table. */
#ifndef POSADA_WIRE_MPTABLE_H
#define POSADA_WIRE_MPTABLE_H

#include "wire/le.h"

struct mp_floating {
	char sig[4]; /* "_MP_" */
	struct le32 table;
	uint8_t len; /* in 16 bytes */
	uint8_t rev, sum;
	uint8_t features[5];
};
_Static_assert(sizeof(struct mp_floating) == 16, "MP floating pointer");

struct mp_table {
	char sig[4]; /* "PCMP" */
	struct le16 len;
	uint8_t rev, sum;
	char oem[8], product[12];
	struct le32 oem_table;
	struct le16 oem_size, entries;
	struct le32 lapic;
	struct le16 ext_len;
	uint8_t ext_sum, reserved;
};
_Static_assert(sizeof(struct mp_table) == 44, "MP table header");

struct mp_cpu {
	uint8_t type; /* 0 */
	uint8_t apic_id, apic_version, flags;
	struct le32 signature, features;
	struct le32 reserved[2];
};
_Static_assert(sizeof(struct mp_cpu) == 20, "MP processor");

struct mp_bus {
	uint8_t type; /* 1 */
	uint8_t id;
	char name[6];
};
_Static_assert(sizeof(struct mp_bus) == 8, "MP bus");

struct mp_ioapic {
	uint8_t type; /* 2 */
	uint8_t id, version, flags;
	struct le32 addr;
};
_Static_assert(sizeof(struct mp_ioapic) == 8, "MP IOAPIC");

struct mp_interrupt {
	uint8_t type; /* 3: to an IOAPIC, 4: to local APICs */
	uint8_t kind; /* 0 INT, 1 NMI, 3 ExtINT */
	struct le16 flags;
	uint8_t bus, irq, dest, pin;
};
_Static_assert(sizeof(struct mp_interrupt) == 8, "MP interrupt");

#endif
