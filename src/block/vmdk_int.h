/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of format vmdk share. */
#ifndef POSADA_BLOCK_VMDK_INT_H
#define POSADA_BLOCK_VMDK_INT_H

#include <stdint.h>

#include "block_int.h"
#include "co.h"
#include "mapped.h"
#include "props.h"
#include "wire/vmdk.h"

/* --- the descriptor (vmdk_desc.c); main thread --- */

enum { VMDK_EXTENTS_MOST = 4096 };
#define VMDK_DESCRIPTOR_MOST (1u << 20)

enum vmdk_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_desc_extent {
	enum vmdk_kind kind;
	bool readonly; /* RDONLY */
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

/* --- an open image --- */

enum { VMDK_GTES_MOST = 512, VMDK_TABLES_CACHED = 1024, VMDK_GRAINS_CACHED = 64 };

/* Entries [from, to) of a table that are not in the file yet, and others. */
struct vmdk_dirty {
	uint32_t from, to;
};

struct vmdk_extent {
	enum vmdk_kind kind;
	bool readonly; /* says the descriptor, or it cannot be written */
	uint64_t start, len; /* bytes of the disk */
	struct blk_node *file; /* NULL: VMDK_ZERO */
	uint64_t offset; /* VMDK_FLAT: in file */
	/* VMDK_SPARSE */
	struct le32 *gd;
	uint32_t tables; /* entries of gd */
	uint32_t grain, gtes; /* bytes; entries of a grain table */
	bool zeroed_grains, compressed;
	/* for writing */
	struct le32 *rgd; /* the directory of the redundant tables, or NULL */
	uint64_t gd_at, rgd_at; /* in the file */
	uint64_t end; /* of what the file holds: where the next grain goes */
	struct vmdk_dirty gd_dirty, rgd_dirty;
	struct vmdk_stream *stream; /* a stream that is being written */
};

/* A grain table in memory; extents are counted from 1, so that 0 is none. */
struct vmdk_table {
	uint32_t extent, index;
	struct vmdk_dirty dirty;
	struct le32 gte[VMDK_GTES_MOST];
};

/* A grain that was compressed. */
struct vmdk_grain {
	struct blk_node *file; /* NULL: none */
	uint64_t off; /* of the marker, in file */
	uint64_t used; /* when, by vmdk.clock */
	uint32_t got; /* bytes */
	bool loading; /* by a coroutine that `waiting` wait for */
	struct co_queue waiting;
	uint8_t *data;
};

struct vmdk {
	struct vmdk_extent *extent;
	unsigned n;
	struct vmdk_table *cache;
	struct vmdk_grain *grains;
	uint64_t clock;
	uint64_t gd_size; /* of all extents */
	uint32_t cid, parent_cid;
	char create_type[32];
	uint64_t desc_at, desc_len; /* in the node's file */
	bool unsettled; /* tables or directories have entries that are not in the file */
	unsigned changes; /* counts what makes tables in the file other ones than those read before
			   */
	bool begun; /* the descriptor has another CID since it was opened */
	struct co_lock lock; /* held while tables are changed */
};

/* The one of the byte at off. */
unsigned vmdk_extent_at(const struct vmdk *v, uint64_t off);
/* Entry gte of grain table index. -EAGAIN: it is not in memory, and !wait. */
int vmdk_grain_entry(const struct vmdk *v, unsigned extent, uint32_t index, uint32_t gte, bool wait,
		     uint32_t *entry);
int vmdk_map(struct blk_node *n, uint64_t off, uint64_t len, bool wait, struct mapping *m);

/* --- compressed grains (vmdk_grain.c). In coroutines --- */

int vmdk_unpack(struct blk_node *n, const struct mapping *m, const struct iovec *iov,
		unsigned n_iov);
void vmdk_grains_free(struct vmdk *v);

/* --- writing (vmdk_write.c). In coroutines --- */

/* For open: whether all that is needed can be written, and what else is read for it. */
int vmdk_prepare_writing(struct blk_node *n, struct err *e);
int vmdk_allocate(struct blk_node *n, uint64_t off, uint64_t len, const struct iovec *iov,
		  unsigned n_iov, unsigned flags);
int vmdk_begin_write(struct blk_node *n, uint64_t off, bool wait);
bool vmdk_unsettled(const struct blk_node *n);
/* The data, then what names them, in all files. The lock is held. */
int vmdk_write_tables(struct vmdk *v);

/* --- streams (vmdk_stream.c) --- */

/* An image of header and descriptor only: the rest is written by this process. */
int vmdk_stream_open(struct vmdk_extent *x, const struct vmdk_sparse *h, struct err *e);
void vmdk_stream_free(struct vmdk_extent *x);
/* The grain's sector, or VMDK_NO_GRAIN. */
uint32_t vmdk_stream_entry(const struct vmdk_extent *x, uint64_t in_extent);
/* [co] A part of one grain that has no place yet. */
int vmdk_stream_write(struct vmdk_extent *x, uint64_t in_extent, uint64_t len,
		      const struct iovec *iov, unsigned n_iov);
/* [co] Tables, directory and footer behind the grains, unless they are there. */
int vmdk_stream_finish(struct vmdk_extent *x);

/* --- making images (vmdk_create.c) --- */

struct vmdk_create {
	int subformat, adapter;
	bool zeroed_grain;
	char *hwversion;
};
enum { VMDK_CREATE_SIZE = sizeof(struct vmdk_create) };
extern const struct prop vmdk_create_props[];
int vmdk_create(const char *filename, const struct blk_create *c, struct err *e);

#endif
