/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pieces of memory of one size, close together in large pages of the host's: who looks
 * into many of them at random misses the TLB less. One thread at a time.
 */
#ifndef POSADA_BLOCK_SLAB_H
#define POSADA_BLOCK_SLAB_H

#include <stddef.h>

struct slab_chunk;

struct slab {
	size_t unit; /* bytes of a piece: a power of two; set by the owner */
	struct slab_chunk *chunks; /* those that have free pieces first */
};

/* A piece, aligned as its size says (to a page at most); *c for giving it back. NULL: no memory. */
void *slab_get(struct slab *s, struct slab_chunk **c);
/* Gives it back; memory that has no piece in use any more goes back to the host. */
void slab_put(struct slab *s, struct slab_chunk *c, void *piece);

#endif
