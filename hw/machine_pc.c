/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC board: which devices are always there, and which the command line
 * adds. Interrupt controllers and the timer are KVM's. Main thread, before the guest runs.
 *
 * A kernel named by -kernel is started by posada itself. Without one, or with firmware named
 * beside it, the machine has firmware, and fw_cfg to tell it things.
 */
#include <string.h>

#include "board.h"
#include "config.h"
#include "dev.h"
#include "err.h"
#include "firmware.h"
#include "machine.h"
#include "firmware/pc_firmware.h"

static const char *const on_board[] = {
	"i440fx",   "piix3",    "piix3-ide", "mc146818rtc",      "i8042", "port92", "acpi-pm",
	"piix4-pm", "isa-post", "isa-dma",   "acpi-pci-hotplug",
};

/* Whether a -device is a graphics card. */
static bool names_vga(const struct config *cfg)
{
	static const char *const cards[] = { "VGA", "cirrus-vga" };

	for (size_t i = 0; i < cfg->device.n; i++) {
		const char *arg = cfg->device.s[i];
		size_t len = strcspn(arg, ",");

		for (size_t k = 0; k < sizeof(cards) / sizeof(cards[0]); k++)
			if (strlen(cards[k]) == len && !strncmp(arg, cards[k], len))
				return true;
	}
	return false;
}

/* The graphics card: with firmware there is one unless it is not wanted, or is a -device. */
static int add_vga(struct machine *m, const struct config *cfg, bool firmware, struct err *e)
{
	bool wanted = cfg->vga ? strcmp(cfg->vga, "none") != 0
			       : firmware && !cfg->nodefaults && !names_vga(cfg);
	const char *name = cfg->vga && !strcmp(cfg->vga, "std") ? "VGA" : "cirrus-vga";
	int rc = wanted ? machine_add_device(m, dev_class_find(name), NULL, NULL, e) : 0;

	if (rc && cfg->vga)
		err_prefix(e, "-vga %s: ", cfg->vga);
	return rc;
}

int machine_pc_init(struct machine *m, const struct config *cfg, struct err *e)
{
	bool firmware = firmware_wanted(cfg);
	int rc = firmware ? firmware_map(m, cfg, e) : 0;

	rc = rc ? rc : board_add(m, on_board, sizeof(on_board) / sizeof(on_board[0]), e);
	rc = rc || !firmware ? rc : pc_firmware_init(m, cfg, e);
	rc = rc || !firmware || !cfg->kernel ? rc : pc_firmware_kernel(m, cfg, e);
	rc = rc ? rc : add_vga(m, cfg, firmware, e);
	rc = rc ? rc : board_add_consoles(m, cfg, e);
	rc = rc ? rc : board_add_devices(m, cfg, "virtio-blk-pci", true, e);
	return rc || !firmware ? rc : pc_firmware_finish(m, cfg, e);
}
