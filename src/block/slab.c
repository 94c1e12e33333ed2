/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See slab.h. The first chunk is small: many users never need another. */
#include "slab.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST = 256 << 10, HUGE_PAGE = 2 << 20 };

struct slab_chunk {
	struct slab_chunk *prev, *next;
	char *mem;
	size_t size, fresh; /* bytes; those from fresh on have never been handed out */
	void *free; /* pieces given back, each pointing to the next */
	size_t used; /* pieces */
};

static bool full(const struct slab *s, const struct slab_chunk *c)
{
	return !c->free && c->fresh + s->unit > c->size;
}

static void unlink_chunk(struct slab *s, struct slab_chunk *c)
{
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		s->chunks = c->next;
}

/* In front. */
static void link_chunk(struct slab *s, struct slab_chunk *c)
{
	c->prev = NULL;
	c->next = s->chunks;
	if (c->next)
		c->next->prev = c;
	s->chunks = c;
}

static struct slab_chunk *new_chunk(struct slab *s)
{
	struct slab_chunk *c = calloc(1, sizeof(*c));
	size_t size = s->chunks ? HUGE_PAGE : FIRST;
	void *mem;

	if (size < s->unit)
		size = s->unit;
	if (!c || posix_memalign(&mem, size < HUGE_PAGE ? 4096 : HUGE_PAGE, size)) {
		free(c);
		return NULL;
	}
	if (size >= HUGE_PAGE)
		madvise(mem, size, MADV_HUGEPAGE); /* without, it is only slower */
	c->mem = mem;
	c->size = size;
	link_chunk(s, c);
	return c;
}

void *slab_get(struct slab *s, struct slab_chunk **out)
{
	struct slab_chunk *c = s->chunks;
	void *piece;

	if ((!c || full(s, c)) && !(c = new_chunk(s)))
		return NULL;
	piece = c->free;
	if (piece) {
		memcpy(&c->free, piece, sizeof(c->free));
	} else {
		piece = c->mem + c->fresh;
		c->fresh += s->unit;
	}
	c->used++;
	*out = c;
	/* Full ones are behind all others. */
	if (full(s, c) && c->next && !full(s, c->next)) {
		struct slab_chunk *last = c->next;

		while (last->next)
			last = last->next;
		unlink_chunk(s, c);
		c->prev = last;
		c->next = NULL;
		last->next = c;
	}
	return piece;
}

void slab_put(struct slab *s, struct slab_chunk *c, void *piece)
{
	if (!--c->used) {
		unlink_chunk(s, c);
		free(c->mem);
		free(c);
		return;
	}
	memcpy(piece, &c->free, sizeof(c->free));
	c->free = piece;
	if (s->chunks != c) {
		unlink_chunk(s, c);
		link_chunk(s, c);
	}
}
