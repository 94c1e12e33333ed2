/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps as convert and measure need them. */
#ifndef POSADA_IMG_BITMAPS_H
#define POSADA_IMG_BITMAPS_H

#include "block_int.h"

bool img_may_have_bitmaps(const struct blk_node *n);
bool img_has_bitmaps(struct blk_node *n);
/* Whether all bitmaps of n can be copied: 0, or 1: told. */
int img_check_bitmaps(struct blk_node *n, bool skip_broken);
/* Copies those that are not in use. 0, or 1: told. */
int img_copy_bitmaps(struct blk_node *from, struct blk_node *to);

#endif
