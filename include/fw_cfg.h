/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg: items and named files that firmware and kernels read from the machine
 * (QEMU's interface, docs/specs/fw_cfg; Linux's qemu_fw_cfg driver reads it too). Files
 * are added by the board and by devices while the machine is made or reset, vCPUs
 * stopped; main thread.
 */
#ifndef POSADA_FW_CFG_H
#define POSADA_FW_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct machine;

enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00, /* "QEMU" */
	FW_CFG_ID = 0x01, /* le32: interfaces there are */
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03, /* le64, bytes */
	FW_CFG_NOGRAPHIC = 0x04, /* le16 */
	FW_CFG_NB_CPUS = 0x05, /* le16 */
	FW_CFG_KERNEL_ADDR = 0x07, /* le32; so are sizes and addresses below */
	FW_CFG_KERNEL_SIZE = 0x08,
	FW_CFG_INITRD_ADDR = 0x0a,
	FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_BOOT_DEVICE = 0x0c,
	FW_CFG_BOOT_MENU = 0x0e, /* le16 */
	FW_CFG_MAX_CPUS = 0x0f, /* le16 */
	FW_CFG_KERNEL_DATA = 0x11,
	FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_ADDR = 0x13,
	FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_SETUP_ADDR = 0x16,
	FW_CFG_SETUP_SIZE = 0x17,
	FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20,
	FW_CFG_IRQ0_OVERRIDE = 0x8002,
};

enum { FW_CFG_NAME_MAX = 55, FW_CFG_FILES = 96 };

/* An item, or a file; what it was before is replaced. Data are copied. -ENOMEM. */
int fw_cfg_set(struct machine *m, uint16_t key, const void *data, size_t len, struct err *e);
int fw_cfg_set16(struct machine *m, uint16_t key, uint16_t val, struct err *e);
int fw_cfg_set32(struct machine *m, uint16_t key, uint32_t val, struct err *e);
/* -ENAMETOOLONG, -ENOSPC: more than FW_CFG_FILES. */
int fw_cfg_set_file(struct machine *m, const char *name, const void *data, size_t len,
		    struct err *e);
/* -fw_cfg [name=]NAME,file=FILE|string=TEXT */
int fw_cfg_add_arg(struct machine *m, const char *arg, struct err *e);

#endif
