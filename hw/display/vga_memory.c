/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a card with a VGA: see vga_memory.h. */
#include "vga_memory.h"

#include <errno.h>

#include "machine.h"

static void collect_dirty(void *ctx, uint64_t *bitmap)
{
	struct vga_memory *g = ctx;

	memmap_dirty(&g->m->map, &g->bar, bitmap);
	for (unsigned i = 0; i < VGA_WINDOWS; i++) {
		const struct vga_window *w = &g->v->window[i].w;
		uint64_t pages = 0; /* no more than 32 */

		if (!g->v->window[i].on)
			continue;
		memmap_dirty(&g->m->map, &g->window[i], &pages);
		for (unsigned page = 0; pages >> page; page++)
			if (pages >> page & 1)
				vga_mark(g->v, w->at + page * VGA_PAGE);
	}
}

static int linear_map(void *ctx, bool on)
{
	struct vga_memory *g = ctx;

	int rc = on ? memmap_map(&g->m->map, &g->text, VGA_LINEAR) : 0;

	if (!on || rc)
		memmap_unmap(&g->m->map, &g->text);
	return rc;
}

static uint64_t linear_dirty(void *ctx)
{
	struct vga_memory *g = ctx;
	uint64_t pages = 0;

	memmap_dirty(&g->m->map, &g->text, &pages);
	return pages;
}

static int window_map(void *ctx, unsigned i, const struct vga_window *w)
{
	struct vga_memory *g = ctx;
	int rc;

	memmap_unmap(&g->m->map, &g->window[i]);
	if (!w)
		return 0;
	g->window[i] = (struct mem_region){ .name = "vga-graphics",
					    .host = g->twin.guest + w->at,
					    .own = g->twin.own + w->at,
					    .size = w->len,
					    .log_dirty = true,
					    .prio = 2 };
	rc = memmap_map(&g->m->map, &g->window[i], VGA_WINDOW + w->off);
	if (rc)
		memmap_unmap(&g->m->map, &g->window[i]);
	return rc;
}

static void written(void *ctx)
{
	struct vga_memory *g = ctx;

	screen_touch(g->v->screen);
}

static int watch_memory(void *ctx, bool on)
{
	struct vga_memory *g = ctx;

	if (on)
		return memmap_watch(&g->m->map, &g->watch);
	memmap_unwatch(&g->m->map, &g->watch);
	return 0;
}

int vga_memory_create(struct vga_memory *g, struct machine *m, struct vga *v, uint32_t size)
{
	int rc = mem_twin_create(&g->twin, "posada-vga", (uint64_t)size + VGA_LINEAR_LEN);

	if (rc)
		return rc;
	g->m = m;
	g->v = v;
	g->bar = (struct mem_region){ .name = "vga-memory",
				      .host = g->twin.guest,
				      .own = g->twin.own,
				      .size = size,
				      .log_dirty = true,
				      .prio = 1 };
	g->text = (struct mem_region){ .name = "vga-text",
				       .host = g->twin.guest + size,
				       .own = g->twin.own + size,
				       .size = VGA_LINEAR_LEN,
				       .log_dirty = true,
				       .prio = 2 };
	g->watch = (struct mem_watch){
		.host = g->twin.guest, .size = g->twin.size, .written = written, .ctx = g
	};
	v->mem = g->twin.own;
	v->size = size;
	v->collect_dirty = collect_dirty;
	v->linear = g->twin.own + size;
	v->linear_map = linear_map;
	v->linear_dirty = linear_dirty;
	v->watch_memory = watch_memory;
	v->window_map = window_map;
	v->ctx = g;
	return 0;
}

void vga_memory_bar(struct vga_memory *g, bool mapped, uint64_t gpa)
{
	if (mapped)
		memmap_map(&g->m->map, &g->bar, gpa);
	else
		memmap_unmap(&g->m->map, &g->bar);
}

void vga_memory_unmap(struct vga_memory *g)
{
	if (!g->m)
		return;
	memmap_unmap(&g->m->map, &g->bar);
	memmap_unmap(&g->m->map, &g->text);
	for (unsigned i = 0; i < VGA_WINDOWS; i++)
		memmap_unmap(&g->m->map, &g->window[i]);
}

void vga_memory_destroy(struct vga_memory *g)
{
	mem_twin_destroy(&g->twin);
}
