/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC board: which devices are always there, and which the command line
 * adds. Interrupt controllers and the timer are KVM's. Main thread, before the guest runs.
 *
 * A kernel named by -kernel is started by posada itself; without one the machine has
 * firmware, and fw_cfg to tell it things.
 */
#include <errno.h>
#include <string.h>

#include "board.h"
#include "config.h"
#include "dev.h"
#include "err.h"
#include "firmware.h"
#include "machine.h"
#include "firmware/pc_firmware.h"

static const char *const on_board[] = {
	"i440fx", "piix3",   "piix3-ide", "mc146818rtc", "i8042",
	"port92", "acpi-pm", "piix4-pm",  "isa-post",    "isa-dma",
};

/* The graphics card: with firmware there is one unless it is not wanted. */
static int add_vga(struct machine *m, const struct config *cfg, bool firmware, struct err *e)
{
	bool wanted = cfg->vga ? strcmp(cfg->vga, "none") != 0 : firmware && !cfg->nodefaults;
	const char *name = cfg->vga && !strcmp(cfg->vga, "std") ? "VGA" : "cirrus-vga";
	int rc = wanted ? machine_add_device(m, dev_class_find(name), NULL, NULL, e) : 0;

	if (rc && cfg->vga)
		err_prefix(e, "-vga %s: ", cfg->vga);
	return rc;
}

int machine_pc_init(struct machine *m, const struct config *cfg, struct err *e)
{
	bool firmware = !cfg->kernel;
	int rc;

	if (cfg->kernel && cfg->bios) {
		err_set(e, ERR_USAGE, EINVAL,
			"-bios %s: a kernel named by -kernel is started "
			"without firmware",
			cfg->bios);
		err_hint(e, "leave out one of the two");
		return -EINVAL;
	}
	rc = firmware ? firmware_map(m, cfg, e) : 0;
	rc = rc ? rc : board_add(m, on_board, sizeof(on_board) / sizeof(on_board[0]), e);
	rc = rc || !firmware ? rc : pc_firmware_init(m, cfg, e);
	rc = rc ? rc : add_vga(m, cfg, firmware, e);
	rc = rc ? rc : board_add_consoles(m, cfg, e);
	rc = rc ? rc : board_add_devices(m, cfg, "virtio-blk-pci", true, e);
	return rc || !firmware ? rc : pc_firmware_finish(m, cfg, e);
}
