/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -display text: the terminal that posada was started on, with a monitor behind the screen
 * (Ctrl-A c). Main loop. */
#include <errno.h>

#include "chardev.h"
#include "display_class.h"
#include "display_text.h"
#include "err.h"
#include "machine.h"
#include "monitor.h"

struct text {
	struct display display;
	struct text_display *shown;
};

static int start(struct display *d, struct err *e)
{
	struct text *t = (struct text *)d;
	struct chardev *c;
	int rc = chardev_from_legacy(d->m->chardevs, "mon:stdio", "terminal", &c, e);

	if (rc == -EBUSY) {
		err_set(e, ERR_USAGE, EBUSY,
			"the terminal is in use: an option (-serial, -monitor, -chardev ...) has "
			"stdio");
		err_hint(e,
			 "-serial mon:stdio -display web has the serial port and the monitor here "
			 "and "
			 "the screen in a browser, -nographic has no screen; with the screen here, "
			 "-serial pty is elsewhere, and Ctrl-A c goes to the monitor");
	}
	rc = rc ? rc : text_display_create(d->m, d->loop, c, 1, &t->shown, e);
	return rc ? rc : monitor_add_text(d->vm, c, e);
}

static void stop(struct display *d)
{
	text_display_destroy(((struct text *)d)->shown);
}

const struct display_class display_text = {
	.name = "text",
	.desc = "the guest's screen and keyboard on this terminal (Ctrl-A h: help)",
	.size = sizeof(struct text),
	.start = start,
	.stop = stop,
};
