/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a PC tells its firmware. Main thread. */
#ifndef POSADA_HW_PC_FIRMWARE_H
#define POSADA_HW_PC_FIRMWARE_H

struct config;
struct err;
struct machine;

/* All devices are there: the rest of what the firmware is told. */
int pc_firmware_finish(struct machine *m, const struct config *cfg, struct err *e);
/* cfg->kernel and what goes with it, for firmware to start. */
int pc_firmware_kernel(struct machine *m, const struct config *cfg, struct err *e);
/* Makes fw_cfg, and the items that do not depend on devices. */
int pc_firmware_init(struct machine *m, const struct config *cfg, struct err *e);

#endif
