/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC board: which devices are always there, and which the command line
 * adds. Interrupt controllers and the timer are KVM's. Main thread, before the guest runs.
 */
#include "board.h"
#include "machine.h"

static const char *const on_board[] = {
	"i440fx", "piix3", "piix3-ide", "mc146818rtc", "i8042", "port92", "acpi-pm", "isa-post",
};

int machine_pc_init(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = board_add(m, on_board, sizeof(on_board) / sizeof(on_board[0]), e);

	rc = rc ? rc : board_add_consoles(m, cfg, e);
	return rc ? rc : board_add_devices(m, cfg, "virtio-blk-pci", true, e);
}
