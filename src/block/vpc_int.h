/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of format vpc share. */
#ifndef POSADA_BLOCK_VPC_INT_H
#define POSADA_BLOCK_VPC_INT_H

#include "block_int.h"
#include "props.h"
#include "wire/vhd.h"

enum { VHD_SECTOR = 512 };

/* The largest geometry: larger disks have this one. */
#define VHD_CHS_MOST (65535u * 16 * 255)

/* Of n bytes at p but for the four at `field`. */
uint32_t vhd_checksum(const void *p, size_t n, size_t field);

/* --- vpc_create.c --- */
struct vpc_create {
	int subformat;
	bool force_size;
};
enum { VPC_CREATE_SIZE = sizeof(struct vpc_create) };
extern const struct prop vpc_create_props[];
int vpc_create(const char *filename, const struct blk_create *c, struct err *e);

#endif
