/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The formats, filters and protocols of the block layer: one line each. */
#include "block_int.h"

#include <stddef.h>

extern const struct blk_driver blk_raw, blk_qcow2, blk_luks, blk_vdi, blk_vhdx, blk_vmdk, blk_vpc,
	blk_blkdebug, blk_file, blk_host_device, blk_null_co, blk_null_aio;

/* clang-format off */
const struct blk_driver *const blk_drivers[] = {
	/* formats */
	&blk_raw,
	&blk_qcow2,
	&blk_luks,
	&blk_vdi,
	&blk_vhdx,
	&blk_vmdk,
	&blk_vpc,
	/* filters */
	&blk_blkdebug,
	/* protocols */
	&blk_file,
	&blk_host_device,
	&blk_null_co,
	&blk_null_aio,
	NULL,
};
/* clang-format on */
