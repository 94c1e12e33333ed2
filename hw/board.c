/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See board.h. Main thread, before the guest runs. */
#include "board.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "chardev.h"
#include "config.h"
#include "dev.h"
#include "err.h"
#include "firmware.h"
#include "ide.h"
#include "log.h"
#include "machine.h"
#include "nic.h"
#include "opts.h"

#define MAX_SERIAL 4

int board_add(struct machine *m, const char *const *names, size_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++)
		rc = machine_add_device(m, dev_class_find(names[i]), NULL, NULL, e);
	return rc;
}

/* --- consoles ------------------------------------------------------------------ */

/* Makes the backend named by a legacy option and a device in front of it. */
static int add_with_backend(struct machine *m, const char *option, const char *arg, const char *id,
			    const char *device, struct err *e)
{
	struct chardev *c;
	char text[256];
	int rc = chardev_from_legacy(m->chardevs, arg, id, &c, e);

	if (!rc && c) {
		if (!strncmp(arg, "chardev:", 8))
			id = arg + 8;
		snprintf(text, sizeof(text), "%s,chardev=%s", device, id);
		rc = machine_add_device_arg(m, text, e);
	}
	if (rc)
		err_prefix(e, "-%s %s: ", option, arg);
	return rc;
}

int board_add_consoles(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = 0;

	if (cfg->serial.n > MAX_SERIAL)
		return err_set(e, ERR_USAGE, EINVAL, "-serial %s: a PC has %d serial ports",
			       cfg->serial.s[MAX_SERIAL], MAX_SERIAL);
	for (size_t i = 0; !rc && i < cfg->serial.n; i++) {
		char id[16], device[32];

		snprintf(id, sizeof(id), "serial%zu", i);
		snprintf(device, sizeof(device), "isa-serial,index=%zu", i);
		rc = add_with_backend(m, "serial", cfg->serial.s[i], id, device, e);
	}
	if (!rc && cfg->debugcon)
		rc = add_with_backend(m, "debugcon", cfg->debugcon, "debugcon",
				      "isa-debugcon,iobase2=0x402", e);
	return rc;
}

/* --- disks ----------------------------------------------------------------------- */

/* A drive of the command line while the board is made. */
struct entry {
	struct drive d;
	const char *option, *arg; /* where it comes from */
	bool has_device;
};

struct drives {
	struct entry *e;
	size_t n;
};

static struct entry *new_entry(struct drives *list, const char *option, const char *arg)
{
	struct entry *x = &list->e[list->n++];

	*x = (struct entry){ .option = option, .arg = arg };
	return x;
}

static int of_entry(const struct entry *x, int rc, struct err *e)
{
	if (rc)
		err_prefix(e, "-%s %s: ", x->option, x->arg);
	return rc;
}

static int open_hd(struct machine *m, const struct config *cfg, unsigned i, struct drives *list,
		   struct err *e)
{
	static const char *const names[] = { "hda", "hdb", "hdc", "hdd" };
	struct entry *x = new_entry(list, names[i], cfg->hd[i]);
	int rc = blk_add_file(m->blks, x->arg, names[i], false, false, &x->d, e);

	x->d.iface = DRIVE_IF_DEFAULT;
	x->d.index = (int)i;
	return of_entry(x, rc, e);
}

enum { CD_PLACE = 2 };
#define CD_ID "ide1-cd0"

static int open_cdrom(struct machine *m, const struct config *cfg, struct drives *list,
		      struct err *e)
{
	struct entry *x = new_entry(list, "cdrom", cfg->cdrom);
	int rc;

	if (cfg->hd[CD_PLACE]) {
		err_set(e, ERR_USAGE, EEXIST, "the CD drive is in the place of -hdc, which is %s",
			cfg->hd[CD_PLACE]);
		err_hint(e, "use -hdd for the disk, or -drive file=FILE,if=virtio");
		return of_entry(x, -EEXIST, e);
	}
	rc = blk_add_file(m->blks, x->arg, CD_ID, true, false, &x->d, e);
	x->d.iface = DRIVE_IF_DEFAULT;
	x->d.index = CD_PLACE;
	return of_entry(x, rc, e);
}

static int open_all(struct machine *m, const struct config *cfg, struct drives *list, struct err *e)
{
	int rc = 0;

	if (cfg->snapshot)
		blk_snapshot_all(m->blks);
	if (cfg->snapshot && cfg->blockdev.n) {
		err_set(e, ERR_USAGE, ENOTSUP, "-snapshot: -blockdev %s would be written to",
			cfg->blockdev.s[0]);
		err_hint(
			e,
			"-snapshot is for -drive and -hda; make an overlay for it by posada-img "
			"create -b, or give a -drive of yours snapshot=on and leave out -snapshot");
		return -ENOTSUP;
	}
	for (size_t i = 0; !rc && i < cfg->blockdev.n; i++) {
		rc = blk_add_blockdev(m->blks, cfg->blockdev.s[i], e);
		if (rc)
			err_prefix(e, "-blockdev %s: ", cfg->blockdev.s[i]);
	}
	for (unsigned i = 0; !rc && i < 4; i++)
		if (cfg->hd[i])
			rc = open_hd(m, cfg, i, list, e);
	if (!rc && cfg->cdrom)
		rc = open_cdrom(m, cfg, list, e);
	for (size_t i = 0; !rc && i < cfg->drive.n; i++) {
		struct entry *x = new_entry(list, "drive", cfg->drive.s[i]);

		rc = of_entry(x, blk_add_drive(m->blks, x->arg, &x->d, e), e);
	}
	return rc;
}

static bool is_ide(const struct entry *x, bool ide)
{
	return x->d.iface == DRIVE_IF_IDE || (x->d.iface == DRIVE_IF_DEFAULT && ide);
}

static int add_ide_drive(struct machine *m, struct blk *b, bool cdrom, unsigned place,
			 struct err *e)
{
	char text[192];

	snprintf(text, sizeof(text), "ide-%s,drive=%s,bus=ide.%u,unit=%u", cdrom ? "cd" : "hd",
		 blk_id(b), place / 2, place % 2);
	return machine_add_device_arg(m, text, e);
}

/* At its index, or in the first place that is free. */
static int add_ide(struct machine *m, struct entry *x, bool ide, struct err *e)
{
	unsigned place = x->d.index >= 0 ? (unsigned)x->d.index : 0;

	x->has_device = true;
	if (!ide) {
		err_set(e, ERR_USAGE, ENODEV, "this machine has no IDE controller");
		err_hint(e, "'-machine pc' has one; or use if=virtio");
		return of_entry(x, -ENODEV, e);
	}
	while (x->d.index < 0 && place < IDE_PLACES && ide_taken(m, place))
		place++;
	if (place == IDE_PLACES) {
		err_set(e, ERR_USAGE, EBUSY,
			"no place is left for it: IDE has room for four drives");
		err_hint(e, "add if=virtio to it, or to another drive");
		return of_entry(x, -EBUSY, e);
	}
	if (ide_taken(m, place)) {
		err_set(e, ERR_USAGE, EEXIST, "index=%u: another drive is there", place);
		err_hint(e, "leave index= out to take a free place");
		return of_entry(x, -EEXIST, e);
	}
	return of_entry(x, add_ide_drive(m, x->d.blk, x->d.cdrom, place, e), e);
}

/* The device that if= asks for. */
static int add_disk(struct machine *m, struct entry *x, const char *disk, bool ide, struct err *e)
{
	char text[192];

	if (x->has_device || x->d.iface == DRIVE_IF_NONE || x->d.iface == DRIVE_IF_PFLASH)
		return 0;
	if (is_ide(x, ide))
		return add_ide(m, x, ide, e);
	if (x->d.cdrom) {
		err_set(e, ERR_USAGE, ENOTSUP, "there is no virtio CD drive%s",
			ide ? "" : ", and this machine has no other");
		err_hint(e, ide ? "leave if=virtio out"
				: "attach it as a disk: -drive file=...,readonly=on,if=virtio");
		return of_entry(x, -ENOTSUP, e);
	}
	snprintf(text, sizeof(text), "%s,drive=%s", disk, blk_id(x->d.blk));
	return machine_add_device_arg(m, text, e);
}

/*
 * An empty CD drive, as PCs come with one, unless there is another or its place is taken. Kernels
 * that are started without firmware need not spend time on looking into it.
 */
static int add_default_cd(struct machine *m, const struct config *cfg, struct err *e)
{
	struct drive d;
	int rc;

	if (cfg->nodefaults || !m->bios || ide_taken(m, CD_PLACE))
		return 0;
	for (const struct dev *dev = m->devices; dev; dev = dev->next)
		if (!strcmp(dev->cls->name, "ide-cd"))
			return 0;
	rc = blk_add_empty(m->blks, blk_find(m->blks, CD_ID) ? NULL : CD_ID, &d, e);
	return rc ? rc : add_ide_drive(m, d.blk, true, CD_PLACE, e);
}

/* --- flash ---------------------------------------------------------------------------- */

enum { FLASH_UNITS = 2 };

static int add_flash_drive(struct machine *m, struct entry *x, struct err *e)
{
	struct opts o = { 0 };
	int rc;

	if (!m->bios) {
		err_set(e, ERR_USAGE, ENODEV, "if=pflash: this machine has no firmware");
		err_hint(e, "leave out -machine micro");
		return of_entry(x, -ENODEV, e);
	}
	if (x->d.index == 0 && m->bios->path) {
		err_set(e, ERR_USAGE, EEXIST, "unit=0 is the firmware, and so is -bios %s",
			m->bios->path);
		return of_entry(x, -EEXIST, e);
	}
	rc = opts_add(&o, "drive", blk_id(x->d.blk));
	rc = rc ? err_set(e, ERR_HOST, ENOMEM, "out of memory")
		: machine_add_device(m, dev_class_find("pflash"), &o, NULL, e);
	opts_free(&o);
	return of_entry(x, rc, e);
}

/* Unit by unit, downwards from 4 GiB: the firmware, and its variables. */
static int add_flash(struct machine *m, struct drives *list, struct err *e)
{
	struct entry *unit[FLASH_UNITS] = { NULL };
	int rc = 0;

	for (size_t i = 0; i < list->n; i++) {
		struct entry *x = &list->e[i];

		if (x->d.iface != DRIVE_IF_PFLASH)
			continue;
		if (x->d.index < 0)
			x->d.index = unit[0] ? 1 : 0;
		if (x->d.index >= FLASH_UNITS || unit[x->d.index]) {
			err_set(e, ERR_USAGE, EEXIST, "if=pflash,unit=%d: %s", x->d.index,
				x->d.index >= FLASH_UNITS ? "there are units 0 and 1"
							  : "another flash is there");
			return of_entry(x, -EEXIST, e);
		}
		unit[x->d.index] = x;
	}
	if (unit[1] && !unit[0] && m->bios && !m->bios->path) {
		err_set(e, ERR_USAGE, EINVAL, "if=pflash,unit=1: there is no unit 0");
		err_hint(e, "unit 0 is the firmware itself, such as OVMF_CODE.fd; or name a -bios");
		return of_entry(unit[1], -EINVAL, e);
	}
	for (unsigned i = 0; !rc && i < FLASH_UNITS; i++)
		if (unit[i])
			rc = add_flash_drive(m, unit[i], e);
	return rc;
}

static int add_all(struct machine *m, const struct config *cfg, struct drives *list,
		   const char *disk, bool ide, struct err *e)
{
	int rc = 0;

	/* Those with a place of their own choosing come before those that take what is left. */
	for (size_t i = 0; !rc && i < list->n; i++)
		if (is_ide(&list->e[i], ide) && list->e[i].d.index >= 0)
			rc = add_ide(m, &list->e[i], ide, e);
	for (size_t i = 0; !rc && i < cfg->device.n; i++)
		rc = machine_add_device_arg(m, cfg->device.s[i], e);
	for (size_t i = 0; !rc && i < list->n; i++)
		rc = add_disk(m, &list->e[i], disk, ide, e);
	return !rc && ide ? add_default_cd(m, cfg, e) : rc;
}

int board_add_devices(struct machine *m, const struct config *cfg, const char *disk, bool ide,
		      struct err *e)
{
	struct drives list = { .e = calloc(5 + cfg->drive.n, sizeof(*list.e)) };
	int rc;

	if (!list.e)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = open_all(m, cfg, &list, e);
	rc = rc ? rc : add_flash(m, &list, e);
	rc = rc ? rc : nic_add_netdevs(m, cfg, e);
	rc = rc ? rc : add_all(m, cfg, &list, disk, ide, e);
	rc = rc ? rc : nic_add(m, cfg, e);
	free(list.e);
	for (struct blk *b = NULL; !rc && (b = blk_next(m->blks, b));)
		if (!blk_attached(b))
			log_warn("drive '%s' has no device: the guest does not see it "
				 "(-device virtio-blk-pci,drive=%s)",
				 blk_id(b), blk_id(b));
	return rc;
}
