/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The micro board: serial ports and virtio-mmio devices, for minimal kernels
 * and for reading. No PCI, no ACPI tables, no firmware: the guest learns of the devices
 * from a flattened device tree and from its command line (src/boot/fdt.c), of
 * other CPUs from a MultiProcessor table (src/boot/mptable.c).
 *
 * The keyboard controller is there to be asked for a reset, the ACPI registers
 * for power-off (port 0x604). Main thread, before the guest runs.
 */
#include "board.h"
#include "machine.h"

static const char *const on_board[] = {
	"mc146818rtc",
	"i8042",
	"acpi-pm",
	"isa-post",
};

int machine_micro_init(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = board_add(m, on_board, sizeof(on_board) / sizeof(on_board[0]), e);

	rc = rc ? rc : board_add_consoles(m, cfg, e);
	return rc ? rc : board_add_devices(m, cfg, "virtio-blk-device", false, e);
}
