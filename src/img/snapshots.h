/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of an image's snapshots as info and snapshot print it. */
#ifndef POSADA_IMG_SNAPSHOTS_H
#define POSADA_IMG_SNAPSHOTS_H

#include "block_int.h"

void img_print_snapshots(const struct blk_snapshot *list, size_t n);
/* convert -l, measure -l: "snapshot.id=X,snapshot.name=Y", or X for either. -errno: told. */
int img_load_snapshot(struct blk_node *n, const char *param);

#endif
