/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between memmap.c and memwatch.c. */
#ifndef POSADA_MEMWATCH_H
#define POSADA_MEMWATCH_H

#include <stddef.h>
#include <stdint.h>

struct memmap;

/* Ends the watches of [host, host + len), of which is told. The map's lock is held. */
void mem_watches_end(struct memmap *mm, const uint8_t *host, size_t len);

#endif
