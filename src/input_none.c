/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of a machine that is linked without input devices go nowhere. Main loop. */
#include "input.h"

__attribute__((weak)) void input_key(struct machine *m, unsigned code, bool down)
{
}
