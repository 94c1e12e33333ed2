/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order of booting. A bootindex= becomes a line of fw_cfg's file "bootorder", a
 * device's Open Firmware path (IEEE 1275; SeaBIOS, Runtime_config); -boot order=
 * becomes the boot flags in CMOS at 0x3d and 0x38, which count for what has no
 * bootindex. See include/bootorder.h. Main thread.
 */
#include "bootindex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "err.h"
#include "fw_cfg.h"
#include "rtc.h"
#include "machine.h"
#include "opts.h"
#include "pci.h"
#include "wire/le.h"

enum { CMOS_BOOT_1 = 0x3d, CMOS_BOOT_2 = 0x38, CMOS_NO_FLOPPY_CHECK = 0x01 };
enum { LINE_MAX_LEN = 128, ORDER_MAX = 3 };

/* --- -boot ---------------------------------------------------------------------- */

static int check_order(const char *key, const char *order, struct err *e)
{
	for (const char *p = order; *p; p++) {
		if (!strchr("acdn", *p)) {
			err_set(e, ERR_USAGE, EINVAL, "%s=%s: there is no boot device '%c'", key,
				order, *p);
			err_hint(e, "a floppy, c hard disk, d CD-ROM, n network: -boot order=dc");
			return -EINVAL;
		}
		if (strchr(p + 1, *p))
			return err_set(e, ERR_USAGE, EINVAL, "%s=%s: '%c' is there twice", key,
				       order, *p);
	}
	return 0;
}

static int keep_order(struct opts *o, const char *key, char **out, struct err *e)
{
	const char *val = opts_get(o, key);
	int rc = val ? check_order(key, val, e) : 0;

	if (rc || !val)
		return rc;
	free(*out);
	*out = strdup(val);
	return *out ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

static int keep_switch(struct opts *o, const char *key, bool *out, struct err *e)
{
	const char *val = opts_get(o, key);

	if (!val)
		return 0;
	if (strcmp(val, "on") && strcmp(val, "off"))
		return err_set(e, ERR_USAGE, EINVAL, "%s=%s: on or off", key, val);
	*out = !strcmp(val, "on");
	return 0;
}

static int keep_ms(struct opts *o, const char *key, uint32_t max, bool *have, uint32_t *out,
		   struct err *e)
{
	const char *val = opts_get(o, key);
	uint64_t n = 0;
	int rc = val ? parse_u64(val, &n, e) : 0;

	if (rc || !val)
		return rc;
	if (n > max)
		return err_set(e, ERR_USAGE, ERANGE, "%s=%s: at most %u milliseconds", key, val,
			       max);
	*have = true;
	*out = (uint32_t)n;
	return 0;
}

int bootorder_parse(struct boot_opts *b, const char *arg, struct err *e)
{
	static const char *const known[] = { "order",  "once",        "menu",
					     "strict", "splash-time", "reboot-timeout" };
	struct opts o;
	int rc = opts_parse(&o, arg, "order", e);

	if (rc)
		return rc;
	rc = keep_order(&o, "order", &b->order, e);
	rc = rc ? rc : keep_order(&o, "once", &b->once, e);
	rc = rc ? rc : keep_switch(&o, "menu", &b->menu, e);
	rc = rc ? rc : keep_switch(&o, "strict", &b->strict, e);
	rc = rc ? rc : keep_ms(&o, "splash-time", 0xffff, &b->have_wait, &b->splash_time, e);
	rc = rc ? rc
		: keep_ms(&o, "reboot-timeout", 0xffff, &b->have_reboot, &b->reboot_timeout, e);
	rc = rc ? rc : opts_check_used(&o, known, sizeof(known) / sizeof(known[0]), e);
	opts_free(&o);
	return rc;
}

/* --- for the firmware ------------------------------------------------------------- */

/* In CMOS: 1 floppy, 2 disk, 3 CD-ROM, 4 network; the first in the low half of 0x3d. */
static void set_cmos(struct machine *m, const char *order)
{
	uint8_t code[ORDER_MAX] = { 0 };

	for (unsigned i = 0; i < ORDER_MAX && order[i]; i++)
		code[i] = order[i] == 'a' ? 1 : order[i] == 'c' ? 2 : order[i] == 'd' ? 3 : 4;
	rtc_set_cmos(m, CMOS_BOOT_1, (uint8_t)(code[1] << 4 | code[0]));
	rtc_set_cmos(m, CMOS_BOOT_2, (uint8_t)(code[2] << 4 | CMOS_NO_FLOPPY_CHECK));
}

static const char *order_of(const struct boot_opts *b)
{
	return b->order ? b->order : "cdn";
}

static int tell_items(struct machine *m, bool strict, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	bool any = strict || m->boot_rom;
	int rc;

	if (!f)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (m->boot_rom)
		fprintf(f, "/rom@%s\n", m->boot_rom);
	for (const struct boot_item *i = m->boot_items; i; i = i->next) {
		if (!i->fn->host)
			continue;
		any = true;
		fprintf(f, "/pci@i0cf8/pci@%x", i->fn->devfn >> 3);
		if (i->fn->devfn & 7)
			fprintf(f, ",%x", i->fn->devfn & 7);
		fprintf(f, "%s%s\n", *i->tail ? "/" : "", i->tail);
	}
	if (strict)
		fputs("HALT\n", f);
	rc = fclose(f) ? err_set(e, ERR_HOST, ENOMEM, "out of memory") : 0;
	/* The NUL at its end belongs to the file, in place of the last newline. */
	if (!rc && any)
		text[len - 1] = 0;
	rc = rc || !any ? rc : fw_cfg_set_file(m, "bootorder", text, len, e);
	free(text);
	return rc;
}

int bootorder_tell(struct machine *m, const struct boot_opts *b, struct err *e)
{
	struct le16 wait = cpu_to_le16((uint16_t)b->splash_time);
	/* Unless it is told, the BIOS tries again every minute. */
	struct le32 fail = cpu_to_le32(b->have_reboot ? b->reboot_timeout : UINT32_MAX);
	int rc = tell_items(m, b->strict, e);

	set_cmos(m, b->once ? b->once : order_of(b));
	rc = rc ? rc : fw_cfg_set16(m, FW_CFG_BOOT_MENU, b->menu, e);
	if (!rc && b->have_wait)
		rc = fw_cfg_set_file(m, "etc/boot-menu-wait", &wait, sizeof(wait), e);
	if (!rc)
		rc = fw_cfg_set_file(m, "etc/boot-fail-wait", &fail, sizeof(fail), e);
	return rc;
}

void bootorder_reset(struct machine *m, const struct boot_opts *b)
{
	set_cmos(m, order_of(b));
}
