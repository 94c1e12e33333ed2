/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC board: which devices are always there, and which the command line
 * adds. Interrupt controllers and the timer are KVM's. Main thread, before the guest runs.
 *
 * A kernel named by -kernel is started by posada itself; without one, or with -bios, the
 * machine has firmware, and fw_cfg to tell it things.
 */
#include "board.h"
#include "config.h"
#include "firmware.h"
#include "machine.h"
#include "firmware/pc_firmware.h"

static const char *const on_board[] = {
	"i440fx", "piix3",   "piix3-ide", "mc146818rtc", "i8042",
	"port92", "acpi-pm", "piix4-pm",  "isa-post",
};

int machine_pc_init(struct machine *m, const struct config *cfg, struct err *e)
{
	bool firmware = !cfg->kernel || cfg->bios;
	int rc = firmware ? firmware_map(m, cfg, e) : 0;

	rc = rc ? rc : board_add(m, on_board, sizeof(on_board) / sizeof(on_board[0]), e);
	rc = rc || !firmware ? rc : pc_firmware_init(m, cfg, e);
	rc = rc ? rc : board_add_consoles(m, cfg, e);
	rc = rc ? rc : board_add_devices(m, cfg, "virtio-blk-pci", true, e);
	return rc || !firmware ? rc : pc_firmware_finish(m, cfg, e);
}
