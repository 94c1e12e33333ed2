/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS structures and their entry point (DMTF DSP0134 2.8, sections 5 to 7): see
 * include/smbios.h. Fields are written by their offset in the specification's tables. Main
 * thread, no vCPU running.
 */
#include "smbios.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "err.h"
#include "fw_cfg.h"
#include "gmem.h"
#include "machine.h"
#include "smbios_opts.h"

#define AREA_START 0xf0000ull /* where an anchor is looked for */
#define AREA_END 0x100000ull

enum { FIXED_MAX = 64, STRINGS_MAX = 10, VERSION_MAJOR = 2, VERSION_MINOR = 8 };

/* The structures so far. */
struct tables {
	uint8_t *buf;
	size_t len;
	unsigned n, longest;
	bool full;
};

/* One of them. */
struct part {
	uint8_t b[FIXED_MAX];
	unsigned len; /* of the formatted area */
	const char *string[STRINGS_MAX];
	unsigned n_strings;
};

static void put(uint8_t *b, unsigned off, unsigned size, uint64_t val)
{
	for (unsigned i = 0; i < size; i++)
		b[off + i] = (uint8_t)(val >> 8 * i);
}

static struct part begin(uint8_t type, unsigned len, unsigned handle)
{
	struct part p = { .len = len };

	put(p.b, 0, 1, type);
	put(p.b, 1, 1, len);
	put(p.b, 2, 2, handle);
	return p;
}

/* A string's number goes to off; 0 is for none. */
static void text(struct part *p, unsigned off, const char *s, const char * or)
{
	s = s ? s : or ;
	if (!s || !*s)
		return;
	p->string[p->n_strings++] = s;
	p->b[off] = (uint8_t)p->n_strings;
}

static void append(struct tables *t, const void *bytes, size_t n)
{
	if (n > SMBIOS_TABLES_MAX - t->len) {
		t->full = true;
		return;
	}
	memcpy(t->buf + t->len, bytes, n);
	t->len += n;
}

static void end_strings(struct tables *t, size_t start, bool any)
{
	append(t, "\0", any ? 1 : 2);
	t->n++;
	if (t->len - start > t->longest)
		t->longest = (unsigned)(t->len - start);
}

static void end(struct tables *t, const struct part *p)
{
	size_t start = t->len;

	append(t, p->b, p->len);
	for (unsigned i = 0; i < p->n_strings; i++)
		append(t, p->string[i], strlen(p->string[i]) + 1);
	end_strings(t, start, p->n_strings);
}

/* --- the structures ---------------------------------------------------------------------- */

enum {
	HANDLE_BIOS = 0x0000,
	HANDLE_SYSTEM = 0x0100,
	HANDLE_BOARD = 0x0200,
	HANDLE_CHASSIS = 0x0300,
	HANDLE_CPU = 0x0400,
	HANDLE_OEM = 0x0b00,
	HANDLE_ARRAY = 0x1000,
	HANDLE_DIMM = 0x1100,
	HANDLE_RANGE = 0x1300,
	HANDLE_BOOT = 0x2000,
	HANDLE_END = 0x7f00,
	HANDLE_NONE = 0xffff,
	HANDLE_NO_ERRORS = 0xfffe,
};

static void bios(struct tables *t, const struct smbios_opts *o)
{
	struct part p = begin(0, 24, HANDLE_BIOS);

	text(&p, 4, o->value[BIOS_VENDOR], "Posada");
	text(&p, 5, o->value[BIOS_VERSION], POSADA_VERSION);
	put(p.b, 6, 2, 0xe800); /* segment: 96 KiB */
	text(&p, 8, o->value[BIOS_DATE], "11/20/2026");
	put(p.b, 10, 8, 1 << 3); /* characteristics are not told */
	put(p.b, 18, 1, 1); /* ACPI */
	put(p.b, 19, 1, 1 << 4 | 1 << 2 | (o->uefi ? 1 << 3 : 0)); /* a virtual machine */
	put(p.b, 20, 1, o->release ? o->release_major : 0);
	put(p.b, 21, 1, o->release ? o->release_minor : 0);
	put(p.b, 22, 2, 0xffff); /* no embedded controller */
	end(t, &p);
}

/* Section 7.2.1: the first three fields of a UUID are little-endian here. */
static void put_uuid(uint8_t *b, const uint8_t uuid[16])
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (unsigned i = 0; i < 16; i++)
		b[i] = uuid[order[i]];
}

static void system_info(struct tables *t, const struct smbios_opts *o)
{
	struct part p = begin(1, 27, HANDLE_SYSTEM);

	text(&p, 4, o->value[SYSTEM_MANUFACTURER], "Posada");
	text(&p, 5, o->value[SYSTEM_PRODUCT], "Standard PC (i440FX + PIIX, 1996)");
	text(&p, 6, o->value[SYSTEM_VERSION], "posada-" POSADA_VERSION);
	text(&p, 7, o->value[SYSTEM_SERIAL], NULL);
	put_uuid(p.b + 8, o->uuid);
	put(p.b, 24, 1, 6); /* woken by the power switch */
	text(&p, 25, o->value[SYSTEM_SKU], NULL);
	text(&p, 26, o->value[SYSTEM_FAMILY], NULL);
	end(t, &p);
}

static void board(struct tables *t, const struct smbios_opts *o)
{
	struct part p = begin(2, 15, HANDLE_BOARD);

	text(&p, 4, o->value[BOARD_MANUFACTURER], "Posada");
	text(&p, 5, o->value[BOARD_PRODUCT], NULL);
	text(&p, 6, o->value[BOARD_VERSION], NULL);
	text(&p, 7, o->value[BOARD_SERIAL], NULL);
	text(&p, 8, o->value[BOARD_ASSET], NULL);
	put(p.b, 9, 1, 1); /* a hosting board */
	text(&p, 10, o->value[BOARD_LOCATION], NULL);
	put(p.b, 11, 2, HANDLE_CHASSIS);
	put(p.b, 13, 1, 10); /* motherboard */
	end(t, &p);
}

static void chassis(struct tables *t, const struct smbios_opts *o)
{
	struct part p = begin(3, 22, HANDLE_CHASSIS);

	text(&p, 4, o->value[CHASSIS_MANUFACTURER], "Posada");
	put(p.b, 5, 1, 1); /* other */
	text(&p, 6, o->value[CHASSIS_VERSION], "posada-" POSADA_VERSION);
	text(&p, 7, o->value[CHASSIS_SERIAL], NULL);
	text(&p, 8, o->value[CHASSIS_ASSET], NULL);
	put(p.b, 9, 1, 3); /* states at start: safe */
	put(p.b, 10, 1, 3);
	put(p.b, 11, 1, 3);
	put(p.b, 12, 1, 2); /* security: unknown */
	text(&p, 21, o->value[CHASSIS_SKU], NULL);
	end(t, &p);
}

/* All processors are cores of one. */
static void cpu(struct tables *t, const struct smbios_opts *o, unsigned n_cpus)
{
	unsigned max = o->speed[0] ? o->speed[0] : 2000, count = n_cpus < 255 ? n_cpus : 255;
	struct part p = begin(4, 42, HANDLE_CPU);

	text(&p, 4, o->value[CPU_SOCKET], "CPU 0");
	put(p.b, 5, 1, 3); /* central processor */
	put(p.b, 6, 1, 1); /* family: other */
	text(&p, 7, o->value[CPU_MANUFACTURER], "Posada");
	text(&p, 16, o->value[CPU_VERSION], "posada-" POSADA_VERSION);
	put(p.b, 20, 2, max);
	put(p.b, 22, 2, o->speed[1] ? o->speed[1] : max);
	put(p.b, 24, 1, 0x41); /* there, and enabled */
	put(p.b, 25, 1, 1); /* socket: other */
	put(p.b, 26, 2, HANDLE_NONE); /* caches are CPUID's to tell */
	put(p.b, 28, 2, HANDLE_NONE);
	put(p.b, 30, 2, HANDLE_NONE);
	text(&p, 32, o->value[CPU_SERIAL], NULL);
	text(&p, 33, o->value[CPU_ASSET], NULL);
	text(&p, 34, o->value[CPU_PART], NULL);
	put(p.b, 35, 1, count);
	put(p.b, 36, 1, count);
	put(p.b, 37, 1, count);
	put(p.b, 38, 2, 2); /* characteristics: unknown */
	put(p.b, 40, 2, 1); /* family, again */
	end(t, &p);
}

static void oem_strings(struct tables *t, const struct smbios_opts *o)
{
	struct part p = begin(11, 5, HANDLE_OEM);
	size_t start = t->len;

	put(p.b, 4, 1, o->n_oem);
	append(t, p.b, p.len);
	for (unsigned i = 0; i < o->n_oem; i++)
		append(t, o->oem[i], strlen(o->oem[i]) + 1);
	end_strings(t, start, o->n_oem);
}

static void memory_array(struct tables *t, uint64_t ram)
{
	struct part p = begin(16, 23, HANDLE_ARRAY);
	uint64_t kib = ram >> 10;

	put(p.b, 4, 1, 3); /* on the system board */
	put(p.b, 5, 1, 3); /* system memory */
	put(p.b, 6, 1, 3); /* no error correction */
	put(p.b, 7, 4, kib < 0x80000000u ? kib : 0x80000000u);
	put(p.b, 11, 2, HANDLE_NO_ERRORS);
	put(p.b, 13, 2, 1); /* devices */
	put(p.b, 15, 8, kib < 0x80000000u ? 0 : ram);
	end(t, &p);
}

static void dimm(struct tables *t, const struct smbios_opts *o, uint64_t ram)
{
	struct part p = begin(17, 40, HANDLE_DIMM);
	uint64_t mib = (ram + (1 << 20) - 1) >> 20;

	put(p.b, 4, 2, HANDLE_ARRAY);
	put(p.b, 6, 2, HANDLE_NO_ERRORS);
	put(p.b, 8, 2, 0xffff); /* widths: unknown */
	put(p.b, 10, 2, 0xffff);
	put(p.b, 12, 2, mib < 0x7fff ? mib : 0x7fff); /* which sends the reader to 28 */
	put(p.b, 14, 1, 9); /* DIMM */
	text(&p, 16, o->value[DIMM_LOCATOR], "DIMM 0");
	text(&p, 17, o->value[DIMM_BANK], NULL);
	put(p.b, 18, 1, 7); /* RAM */
	put(p.b, 19, 2, 2); /* other */
	put(p.b, 21, 2, o->speed[2]);
	text(&p, 23, o->value[DIMM_MANUFACTURER], "Posada");
	text(&p, 24, o->value[DIMM_SERIAL], NULL);
	text(&p, 25, o->value[DIMM_ASSET], NULL);
	text(&p, 26, o->value[DIMM_PART], NULL);
	put(p.b, 28, 4, mib < 0x7fff ? 0 : mib);
	put(p.b, 32, 2, o->speed[2]);
	end(t, &p);
}

static void memory_range(struct tables *t, unsigned i, uint64_t start, uint64_t size)
{
	struct part p = begin(19, 31, HANDLE_RANGE + i);
	uint64_t last = start + size - 1;

	if (last >> 10 < 0xffffffffu) {
		put(p.b, 4, 4, start >> 10);
		put(p.b, 8, 4, last >> 10);
	} else { /* the reader goes on at 15 */
		put(p.b, 4, 4, 0xffffffffu);
		put(p.b, 8, 4, 0xffffffffu);
		put(p.b, 15, 8, start);
		put(p.b, 23, 8, last);
	}
	put(p.b, 12, 2, HANDLE_ARRAY);
	put(p.b, 14, 1, 1); /* devices in a row */
	end(t, &p);
}

/* Each type unless a file has it. */
static void all(struct tables *t, const struct smbios_opts *o, const struct gmem *mem,
		unsigned n_cpus)
{
	struct part boot = begin(32, 11, HANDLE_BOOT), last = begin(127, 4, HANDLE_END);

	if (!o->in_file[0])
		bios(t, o);
	if (!o->in_file[1])
		system_info(t, o);
	if (!o->in_file[2] && o->given[2])
		board(t, o);
	if (!o->in_file[3])
		chassis(t, o);
	if (!o->in_file[4])
		cpu(t, o, n_cpus);
	if (!o->in_file[11] && o->n_oem)
		oem_strings(t, o);
	if (!o->in_file[16])
		memory_array(t, mem->ram_size);
	if (!o->in_file[17])
		dimm(t, o, mem->ram_size);
	for (unsigned i = 0; !o->in_file[19] && i < mem->n; i++)
		memory_range(t, i, mem->range[i].gpa, mem->range[i].size);
	if (!o->in_file[32])
		end(t, &boot); /* its status, at 10, is 0: no error */
	if (o->file_len)
		append(t, o->file, o->file_len);
	t->n += o->file_n;
	if (o->file_longest > t->longest)
		t->longest = o->file_longest;
	end(t, &last);
}

/* --- the entry point (section 5.2.1) -------------------------------------------------------- */

static void set_sum(uint8_t *b, unsigned off, unsigned from, unsigned len)
{
	uint8_t sum = 0;

	b[off] = 0;
	for (unsigned i = 0; i < len; i++)
		sum += b[from + i];
	b[off] = (uint8_t)-sum;
}

static void set_address(uint8_t *anchor, uint64_t addr)
{
	put(anchor, 24, 4, addr);
	set_sum(anchor, 21, 16, 15);
	set_sum(anchor, 4, 0, SMBIOS_ANCHOR_LEN);
}

static void fill_anchor(uint8_t *anchor, const struct tables *t)
{
	memset(anchor, 0, SMBIOS_ANCHOR_LEN);
	memcpy(anchor, "_SM_", 4);
	put(anchor, 5, 1, SMBIOS_ANCHOR_LEN);
	put(anchor, 6, 1, VERSION_MAJOR);
	put(anchor, 7, 1, VERSION_MINOR);
	put(anchor, 8, 2, t->longest);
	memcpy(anchor + 16, "_DMI_", 5);
	put(anchor, 22, 2, t->len);
	put(anchor, 28, 2, t->n);
	put(anchor, 30, 1, VERSION_MAJOR << 4 | VERSION_MINOR);
	set_address(anchor, 0);
}

/* --- to the guest ---------------------------------------------------------------------------- */

int smbios_build(const struct config *cfg, const struct gmem *mem, unsigned n_cpus, uint8_t **out,
		 size_t *len, uint8_t anchor[SMBIOS_ANCHOR_LEN], struct err *e)
{
	struct tables t = { .buf = malloc(SMBIOS_TABLES_MAX) };
	struct smbios_opts o;
	int rc;

	*out = NULL;
	if (!t.buf)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = smbios_opts_parse(&o, cfg, e);
	if (!rc)
		all(&t, &o, mem, n_cpus);
	if (!rc && t.full)
		rc = err_set(e, ERR_USAGE, E2BIG, "-smbios: more than %d bytes in all",
			     SMBIOS_TABLES_MAX);
	smbios_opts_free(&o);
	if (rc) {
		free(t.buf);
		return rc;
	}
	fill_anchor(anchor, &t);
	*out = t.buf;
	*len = t.len;
	return 0;
}

static int place(struct machine *m, const uint8_t *tables, size_t len, uint8_t *anchor,
		 struct err *e)
{
	uint64_t at = (AREA_END - len - SMBIOS_ANCHOR_LEN - 1) & ~15ull;
	uint8_t *host = gmem_ptr(&m->mem, at, AREA_END - at);

	if (!host || at < AREA_START)
		return err_set(e, ERR_USAGE, ENOMEM, "-m: no room for SMBIOS below 1 MiB");
	set_address(anchor, at + SMBIOS_ANCHOR_LEN + 1);
	memcpy(host, anchor, SMBIOS_ANCHOR_LEN);
	memcpy(host + SMBIOS_ANCHOR_LEN + 1, tables, len);
	return 0;
}

int smbios_tell(struct machine *m, const struct config *cfg, struct err *e)
{
	uint8_t anchor[SMBIOS_ANCHOR_LEN], *tables;
	size_t len;
	int rc = smbios_build(cfg, &m->mem, m->n_cpus, &tables, &len, anchor, e);

	if (rc)
		return rc;
	if (m->fw_cfg) {
		rc = fw_cfg_set_file(m, SMBIOS_TABLES_FILE, tables, len, e);
		rc = rc ? rc : fw_cfg_set_file(m, SMBIOS_ANCHOR_FILE, anchor, sizeof(anchor), e);
	} else {
		rc = place(m, tables, len, anchor, e);
	}
	free(tables);
	return rc;
}
