/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of a PCI card with a VGA, as the guest is let at it: its framebuffer BAR, and at
 * 0xa0000 what can be had there without exits (vga_linear.c, vga_window.c); what the guest
 * wrote, and when it begins to. Any thread: the card's lock is held, or not.
 */
#ifndef POSADA_VGA_MEMORY_H
#define POSADA_VGA_MEMORY_H

#include "memmap.h"
#include "vga.h"

struct machine;

struct vga_memory {
	struct machine *m;
	struct vga *v;
	struct mem_twin twin; /* the card's memory, and VGA_LINEAR_LEN bytes after it */
	struct mem_region bar; /* to be mapped where the guest wants it: vga_memory_bar */
	struct mem_region text, window[VGA_WINDOWS];
	struct mem_watch watch;
};

/* Of size bytes; fills in what a struct vga has of its memory, and v->ctx. 0 or -errno. */
int vga_memory_create(struct vga_memory *g, struct machine *m, struct vga *v, uint32_t size);
void vga_memory_bar(struct vga_memory *g, bool mapped, uint64_t gpa);
/* Takes all of it from the guest. */
void vga_memory_unmap(struct vga_memory *g);
void vga_memory_destroy(struct vga_memory *g); /* also one that is all zero */

#endif
