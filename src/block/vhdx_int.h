/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of format vhdx share: checksums, and the log of an image. Node's thread. */
#ifndef POSADA_BLOCK_VHDX_INT_H
#define POSADA_BLOCK_VHDX_INT_H

#include "block_int.h"
#include "wire/vhdx.h"

/* Whether the CRC-32C of the n bytes at p, with zeroes at field, is what field holds. */
bool vhdx_checksum_ok(const void *p, size_t n, size_t field);

/* What a log that was not carried out would write. */
struct vhdx_patch {
	uint64_t off, len;
	const struct vhdx_log_desc *desc;
	const struct vhdx_log_data *data; /* NULL: zeroes */
};

struct vhdx_log {
	uint8_t *buf; /* the log twice, so that entries which wrap are in one piece */
	uint32_t size;
	struct vhdx_patch *patch;
	size_t n;
	uint64_t applied; /* bytes so far */
};

/* Reads the log that h names, and finds what it would write. -errno with e filled. */
int vhdx_log_read(struct blk_node *n, const struct vhdx_header *h, struct vhdx_log *log,
		  struct err *e);
/* Carries out in buf what concerns the len bytes from off on. */
int vhdx_log_apply(struct blk_node *n, struct vhdx_log *log, uint64_t off, void *buf, size_t len,
		   struct err *e);
void vhdx_log_free(struct vhdx_log *log);

#endif
