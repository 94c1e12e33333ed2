/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the boards have in common: devices that the command line asks for. Main thread. */
#ifndef POSADA_HW_BOARD_H
#define POSADA_HW_BOARD_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct err;
struct machine;

/* The n devices that a board always has. */
int board_add(struct machine *m, const char *const *names, size_t n, struct err *e);
/* -serial and -debugcon. */
int board_add_consoles(struct machine *m, const struct config *cfg, struct err *e);
/*
 * -blockdev, -drive, -hda .. -hdd, -cdrom and -device, and a device for each drive
 * that wants one: of class disk ("virtio-blk-pci") or, where there is no if= and
 * ide says that the board has a controller, an IDE drive.
 */
int board_add_devices(struct machine *m, const struct config *cfg, const char *disk, bool ide,
		      struct err *e);

#endif
