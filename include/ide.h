/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a board wants to know of its IDE controller. Main thread. */
#ifndef POSADA_IDE_H
#define POSADA_IDE_H

#include <stdbool.h>

struct machine;

enum { IDE_PLACES = 4 }; /* two drives on each of two buses: ide.0 and ide.1 */

/* Whether a drive is at place n, bus n / 2, unit n % 2. */
bool ide_taken(struct machine *m, unsigned n);

#endif
