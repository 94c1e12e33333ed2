/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -screendump: the screen saved to a file by itself, for tests and scripts. Main loop. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "display.h"
#include "err.h"
#include "log.h"
#include "loop.h"
#include "opts.h"
#include "props.h"

struct screendump {
	/* properties */
	char *file;
	uint32_t after;
	int on; /* enum on */

	struct machine *m;
	struct loop_timer timer;
	bool done;
};

enum on { ON_AUTO, ON_EXIT };
static const char *const on_names[] = { "auto", "exit", NULL };

static const struct prop screendump_props[] = {
	PROP(struct screendump, file, PROP_STR, "file", NULL, "the file, NAME.png or PPM"),
	PROP(struct screendump, after, PROP_U32, "after", "0", "seconds; 0: at the end"),
	PROP_CHOICE(struct screendump, on, "on", "auto", on_names,
		    "exit: at the end; auto: that, or after="),
	PROP_END,
};

static void save(void *ctx)
{
	struct screendump *d = ctx;
	struct screen *s = screen_first(d->m);
	struct err e = { 0 };

	if (d->done || !s)
		return;
	d->done = true;
	screen_refresh(s);
	if (surface_write(&s->surface, d->file, NULL, &e))
		log_warn("-screendump %s", e.msg);
}

/* That it can be written is found out now, not when the guest has run. */
static int try_file(const char *file, struct err *e)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
	int rc = 0;

	if (fd >= 0)
		unlink(file);
	else if (errno != EEXIST)
		rc = -errno;
	else
		fd = open(file, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (!rc && fd < 0 && errno != ENXIO) /* a FIFO that nobody reads yet */
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc ? err_set(e, ERR_INPUT, -rc, "%s: %s", file, strerror(-rc)) : 0;
}

static void destroy(struct screendump *d)
{
	props_free(screendump_props, d);
	free(d);
}

int screendump_create(struct machine *m, struct loop *l, const char *arg, struct screendump **out,
		      struct err *e)
{
	struct screendump *d = calloc(1, sizeof(*d));
	struct opts o;
	int rc = d ? opts_parse(&o, arg, "file", e) : err_set(e, ERR_HOST, ENOMEM, "out of memory");

	if (!rc) {
		rc = props_apply(screendump_props, d, &o, e);
		opts_free(&o);
	}
	if (!rc && !d->file)
		rc = err_set(e, ERR_USAGE, EINVAL, "file= is missing");
	if (!rc && !screen_first(m)) {
		rc = err_set(e, ERR_USAGE, ENODEV, "the machine has no graphics card");
		err_hint(e, "add one with -vga cirrus");
	}
	if (!rc && d->after && d->on == ON_EXIT)
		rc = err_set(e, ERR_USAGE, EINVAL, "after= and on=exit exclude each other");
	rc = rc ? rc : try_file(d->file, e);
	if (rc) {
		err_prefix(e, "-screendump %s: ", arg);
		if (d)
			destroy(d);
		return rc;
	}
	d->m = m;
	loop_timer_init(&d->timer, l, save, d);
	if (d->after)
		loop_timer_set(&d->timer, loop_now_ns() + d->after * 1000000000ull);
	*out = d;
	return 0;
}

void screendump_end(struct screendump *d)
{
	if (!d)
		return;
	loop_timer_cancel(&d->timer);
	save(d);
	destroy(d);
}
