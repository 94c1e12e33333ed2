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
#include "log.h"
#include "machine.h"
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

/* The drives of a board while it is made. */
struct drives {
	struct drive *d;
	size_t n;
};

static int open_hd(struct machine *m, const struct config *cfg, unsigned i, struct drive *out,
		   struct err *e)
{
	char id[16];
	int rc;

	snprintf(id, sizeof(id), "hd%c", 'a' + i);
	rc = blk_add_file(m->blks, cfg->hd[i], id, false, false, out, e);
	if (rc) {
		err_prefix(e, "-%s %s: ", id, cfg->hd[i]);
		return rc;
	}
	out->iface = DRIVE_IF_DEFAULT;
	out->index = (int)i;
	return 0;
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
			rc = open_hd(m, cfg, i, &list->d[list->n++], e);
	for (size_t i = 0; !rc && i < cfg->drive.n; i++) {
		rc = blk_add_drive(m->blks, cfg->drive.s[i], &list->d[list->n++], e);
		if (rc)
			err_prefix(e, "-drive %s: ", cfg->drive.s[i]);
	}
	return rc;
}

/* The device that if= asks for. */
static int add_disk(struct machine *m, const struct drive *d, const char *disk, struct err *e)
{
	char text[192];
	int rc;

	switch (d->iface) {
	case DRIVE_IF_NONE:
		return 0;
	case DRIVE_IF_PFLASH:
		return err_set(e, ERR_USAGE, ENOTSUP,
			       "drive '%s': if=pflash needs firmware, which this version has not",
			       blk_id(d->blk));
	case DRIVE_IF_IDE:
	case DRIVE_IF_DEFAULT:
		if (d->cdrom) {
			err_set(e, ERR_USAGE, ENOTSUP,
				"drive '%s': there is no CD-ROM drive in this version",
				blk_id(d->blk));
			err_hint(e, "attach it as a disk: -drive file=...,readonly=on,if=virtio");
			return -ENOTSUP;
		}
		log_note("drive '%s' is a virtio disk: this version has no IDE "
			 "(if=virtio says the same without this note)",
			 blk_id(d->blk));
		break;
	case DRIVE_IF_VIRTIO:
		break;
	}
	snprintf(text, sizeof(text), "%s,drive=%s", disk, blk_id(d->blk));
	rc = machine_add_device_arg(m, text, e);
	return rc;
}

int board_add_devices(struct machine *m, const struct config *cfg, const char *disk, struct err *e)
{
	struct drives list = { .d = calloc(4 + cfg->drive.n, sizeof(*list.d)) };
	int rc;

	if (!list.d)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = open_all(m, cfg, &list, e);
	/* Those with an address of their own choosing come before those that take what is left. */
	for (size_t i = 0; !rc && i < cfg->device.n; i++)
		rc = machine_add_device_arg(m, cfg->device.s[i], e);
	for (size_t i = 0; !rc && i < list.n; i++)
		rc = add_disk(m, &list.d[i], disk, e);
	free(list.d);
	for (struct blk *b = NULL; !rc && (b = blk_next(m->blks, b));)
		if (!blk_attached(b))
			log_warn("drive '%s' has no device: the guest does not see it "
				 "(-device virtio-blk-pci,drive=%s)",
				 blk_id(b), blk_id(b));
	return rc;
}
