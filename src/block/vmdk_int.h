/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of format vmdk share: the descriptor. Main thread. */
#ifndef POSADA_BLOCK_VMDK_INT_H
#define POSADA_BLOCK_VMDK_INT_H

#include <stdint.h>

struct err;

enum { VMDK_EXTENTS_MOST = 4096 };
#define VMDK_DESCRIPTOR_MOST (1u << 20)

enum vmdk_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_desc_extent {
	enum vmdk_kind kind;
	uint64_t sectors, offset; /* offset: of FLAT, in its file */
	char *name; /* a file's name in the image's folder; into the text */
};

struct vmdk_desc {
	uint32_t cid, parent_cid;
	char create_type[32];
	struct vmdk_desc_extent *extent;
	unsigned n;
};

/* Takes text apart (it is changed, and pointed into). -errno; messages begin with filename. */
int vmdk_desc_parse(const char *filename, char *text, struct vmdk_desc *d, struct err *e);

#endif
