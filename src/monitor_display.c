/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about screens. Main loop. */
#include <errno.h>
#include <string.h>

#include "display.h"
#include "err.h"
#include "monitor.h"
#include "vm.h"

json_t *mon_screendump(struct mon *m, const json_t *args, struct err *e)
{
	const char *file = mon_str(args, "filename"), *format = mon_str(args, "format");
	struct screen *s = screen_first(&m->vm->m);

	if (format && !surface_format_known(format)) {
		err_set(e, ERR_USAGE, EINVAL, "format '%s': not 'png' or 'ppm'", format);
		return NULL;
	}
	if (!s) {
		err_set(e, ERR_USAGE, ENODEV, "the machine has no screen");
		err_hint(e, "-vga cirrus adds a graphics card");
		return NULL;
	}
	screen_refresh(s);
	return surface_write(&s->surface, file, format, e) ? NULL : mon_empty();
}
