/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -smbios type=N,KEY=VALUE... and -smbios file=FILE, with the keys people know from QEMU; see
 * smbios.h. A file's structures are checked as DSP0134, section 6.1, has them. Main thread.
 */
#include "smbios_opts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "err.h"
#include "opts.h"

enum { STRING_MAX = 4096, TYPE_OEM_STRINGS = 11, TYPE_END = 127 };

enum kind { TEXT, SPEED, RELEASE, SWITCH, UUID };

static const struct {
	uint8_t type;
	uint8_t kind;
	const char *key;
} fields[SMBIOS_FIELDS] = {
	[BIOS_VENDOR] = { 0, TEXT, "vendor" },
	[BIOS_VERSION] = { 0, TEXT, "version" },
	[BIOS_DATE] = { 0, TEXT, "date" },
	[BIOS_RELEASE] = { 0, RELEASE, "release" },
	[BIOS_UEFI] = { 0, SWITCH, "uefi" },
	[SYSTEM_MANUFACTURER] = { 1, TEXT, "manufacturer" },
	[SYSTEM_PRODUCT] = { 1, TEXT, "product" },
	[SYSTEM_VERSION] = { 1, TEXT, "version" },
	[SYSTEM_SERIAL] = { 1, TEXT, "serial" },
	[SYSTEM_UUID] = { 1, UUID, "uuid" },
	[SYSTEM_SKU] = { 1, TEXT, "sku" },
	[SYSTEM_FAMILY] = { 1, TEXT, "family" },
	[BOARD_MANUFACTURER] = { 2, TEXT, "manufacturer" },
	[BOARD_PRODUCT] = { 2, TEXT, "product" },
	[BOARD_VERSION] = { 2, TEXT, "version" },
	[BOARD_SERIAL] = { 2, TEXT, "serial" },
	[BOARD_ASSET] = { 2, TEXT, "asset" },
	[BOARD_LOCATION] = { 2, TEXT, "location" },
	[CHASSIS_MANUFACTURER] = { 3, TEXT, "manufacturer" },
	[CHASSIS_VERSION] = { 3, TEXT, "version" },
	[CHASSIS_SERIAL] = { 3, TEXT, "serial" },
	[CHASSIS_ASSET] = { 3, TEXT, "asset" },
	[CHASSIS_SKU] = { 3, TEXT, "sku" },
	[CPU_SOCKET] = { 4, TEXT, "sock_pfx" },
	[CPU_MANUFACTURER] = { 4, TEXT, "manufacturer" },
	[CPU_VERSION] = { 4, TEXT, "version" },
	[CPU_SERIAL] = { 4, TEXT, "serial" },
	[CPU_ASSET] = { 4, TEXT, "asset" },
	[CPU_PART] = { 4, TEXT, "part" },
	[CPU_MAX_SPEED] = { 4, SPEED, "max-speed" },
	[CPU_CURRENT_SPEED] = { 4, SPEED, "current-speed" },
	[DIMM_LOCATOR] = { 17, TEXT, "loc_pfx" },
	[DIMM_BANK] = { 17, TEXT, "bank" },
	[DIMM_MANUFACTURER] = { 17, TEXT, "manufacturer" },
	[DIMM_SERIAL] = { 17, TEXT, "serial" },
	[DIMM_ASSET] = { 17, TEXT, "asset" },
	[DIMM_PART] = { 17, TEXT, "part" },
	[DIMM_SPEED] = { 17, SPEED, "speed" },
};

static int check_text(const char *key, const char *val, struct err *e)
{
	if (strlen(val) > STRING_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "%s: longer than %d bytes", key, STRING_MAX);
	for (const char *p = val; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(e, ERR_USAGE, EINVAL,
				       "%s: there is a control character (0x%02x) in it", key,
				       (unsigned char)*p);
	return 0;
}

/* A speed in MHz, in 16 bits. */
static int take_speed(struct smbios_opts *o, unsigned field, const char *key, const char *val,
		      struct err *e)
{
	uint64_t mhz;

	if (parse_u64(val, &mhz, NULL) || mhz > UINT16_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "%s=%s: a number of MHz, up to 65535", key,
			       val);
	o->speed[field == CPU_MAX_SPEED ? 0 : field == CPU_CURRENT_SPEED ? 1 : 2] = (unsigned)mhz;
	return 0;
}

static int take_release(struct smbios_opts *o, const char *val, struct err *e)
{
	unsigned major, minor;
	int end = 0;

	if (sscanf(val, "%3u.%3u%n", &major, &minor, &end) != 2 || val[end] || major > 255 ||
	    minor > 255)
		return err_set(e, ERR_USAGE, EINVAL,
			       "release=%s: two numbers up to 255, as in 1.16", val);
	o->release_major = major;
	o->release_minor = minor;
	o->release = true;
	return 0;
}

static int take(struct smbios_opts *o, unsigned field, const char *val, struct err *e)
{
	const char *key = fields[field].key;
	int rc = check_text(key, val, e);

	if (!rc && fields[field].kind == SPEED)
		rc = take_speed(o, field, key, val, e);
	else if (!rc && fields[field].kind == RELEASE)
		rc = take_release(o, val, e);
	else if (!rc && fields[field].kind == SWITCH)
		rc = parse_bool(val, &o->uefi, e);
	else if (!rc && fields[field].kind == UUID)
		rc = parse_uuid(val, o->uuid, e);
	if (rc)
		return rc;
	free(o->value[field]);
	o->value[field] = strdup(val);
	return o->value[field] ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

static int take_oem(struct smbios_opts *o, const struct opts *opts, struct err *e)
{
	for (size_t i = 0; i < opts->n; i++) {
		int rc;

		if (strcmp(opts->opt[i].key, "value"))
			continue;
		rc = check_text("value", opts->opt[i].val, e);
		if (rc)
			return rc;
		if (!*opts->opt[i].val)
			return err_set(e, ERR_USAGE, EINVAL, "value=: the string is empty");
		if (o->n_oem == OEM_STRINGS_MAX)
			return err_set(e, ERR_USAGE, E2BIG, "more than %d values", OEM_STRINGS_MAX);
		o->oem[o->n_oem] = strdup(opts->opt[i].val);
		if (!o->oem[o->n_oem++])
			return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	return 0;
}

static int take_type(struct smbios_opts *o, struct opts *opts, struct err *e)
{
	const char *known[16] = { "type" }, *type_text = opts_get(opts, "type");
	size_t n = 1;
	uint64_t type;
	int rc = parse_u64(type_text, &type, NULL);

	if (rc || type > 255)
		return err_set(e, ERR_USAGE, EINVAL, "type=%s: a number up to 255", type_text);
	if (type == TYPE_OEM_STRINGS) {
		known[n++] = "value";
		opts_get(opts, "value");
		rc = take_oem(o, opts, e);
	}
	for (unsigned i = 0; !rc && i < SMBIOS_FIELDS; i++) {
		const char *val;

		if (fields[i].type != type)
			continue;
		known[n++] = fields[i].key;
		val = opts_get(opts, fields[i].key);
		if (val)
			rc = take(o, i, val, e);
	}
	if (n == 1) {
		err_set(e, ERR_USAGE, EINVAL, "type=%s: no such type is made", type_text);
		err_hint(e, "types 0, 1, 2, 3, 4, 11 and 17 can be described; others come by "
			    "-smbios file=FILE");
		return -EINVAL;
	}
	o->given[type] = true;
	return rc ? rc : opts_check_used(opts, known, n, e);
}

/* --- structures from a file ------------------------------------------------------------ */

/* The length of the structure at p with its strings; 0: it does not end. */
static size_t structure_length(const uint8_t *p, size_t room)
{
	if (room < 6 || p[1] < 4)
		return 0;
	for (size_t at = p[1]; at + 1 < room; at++)
		if (!p[at] && !p[at + 1])
			return at + 2;
	return 0;
}

static int check_structures(struct smbios_opts *o, const uint8_t *p, size_t len, struct err *e)
{
	size_t at = 0, n;

	if (!len)
		return err_set(e, ERR_INPUT, EINVAL, "the file is empty");
	for (; at < len; at += n) {
		n = structure_length(p + at, len - at);
		if (!n)
			return err_set(e, ERR_INPUT, EINVAL,
				       "at byte %zu there is no whole structure (header, fields, "
				       "strings and two zeros)",
				       at);
		if (p[at] == TYPE_END)
			return err_set(e, ERR_INPUT, EINVAL,
				       "at byte %zu is the end-of-table structure (type 127), "
				       "which is added anyway",
				       at);
		o->in_file[p[at]] = true;
		o->file_n++;
		if (n > o->file_longest)
			o->file_longest = (unsigned)n;
	}
	return 0;
}

static int take_file(struct smbios_opts *o, const char *name, struct err *e)
{
	FILE *f = fopen(name, "re");
	size_t room = SMBIOS_TABLES_MAX - o->file_len, n = 0;
	uint8_t *p = realloc(o->file, SMBIOS_TABLES_MAX + 1);
	int rc = 0, code = errno;

	if (p)
		o->file = p;
	if (!f)
		rc = err_set(e, ERR_INPUT, code, "cannot open it: %s", strerror(code));
	else if (!p)
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (!rc) {
		n = fread(p + o->file_len, 1, room + 1, f);
		if (ferror(f))
			rc = err_set(e, ERR_INPUT, errno, "cannot read it: %s", strerror(errno));
		else if (n > room)
			rc = err_set(e, ERR_INPUT, EFBIG, "more than %d bytes of structures",
				     SMBIOS_TABLES_MAX);
	}
	rc = rc ? rc : check_structures(o, p + o->file_len, n, e);
	if (!rc)
		o->file_len += n;
	if (f)
		fclose(f);
	return rc;
}

/* --- all of them ------------------------------------------------------------------------- */

static int take_option(struct smbios_opts *o, const char *arg, struct err *e)
{
	static const char *const known[] = { "file" };
	struct opts opts;
	const char *file;
	int rc = opts_parse(&opts, arg, "type", e);

	if (rc)
		return rc;
	file = opts_get(&opts, "file");
	if (file) {
		rc = opts_check_used(&opts, known, 1, e);
		rc = rc ? rc : take_file(o, file, e);
	} else if (opts_get(&opts, "type")) {
		rc = take_type(o, &opts, e);
	} else {
		rc = err_set(e, ERR_USAGE, EINVAL, "type=N or file=FILE is missing");
		err_hint(e, "as in -smbios type=1,serial=42");
	}
	opts_free(&opts);
	return rc;
}

int smbios_opts_parse(struct smbios_opts *o, const struct config *cfg, struct err *e)
{
	memset(o, 0, sizeof(*o));
	for (size_t i = 0; i < cfg->smbios.n; i++) {
		int rc = take_option(o, cfg->smbios.s[i], e);

		if (rc) {
			err_prefix(e, "-smbios %s: ", cfg->smbios.s[i]);
			return rc;
		}
	}
	/* -uuid is the machine's, and what type 1 says unless told otherwise. */
	if (!o->value[SYSTEM_UUID])
		memcpy(o->uuid, cfg->uuid, sizeof(o->uuid));
	for (unsigned i = 0; i < 256; i++)
		if (o->given[i] && o->in_file[i])
			return err_set(e, ERR_USAGE, EINVAL,
				       "-smbios: type %u comes from a file= and by type=%u", i, i);
	return 0;
}

void smbios_opts_free(struct smbios_opts *o)
{
	for (unsigned i = 0; i < SMBIOS_FIELDS; i++)
		free(o->value[i]);
	while (o->n_oem)
		free(o->oem[--o->n_oem]);
	free(o->file);
	o->file = NULL;
}
