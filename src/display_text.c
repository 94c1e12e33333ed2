/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -display text: the terminal that posada was started on, with a monitor behind the screen
 * (Ctrl-A c). Main loop. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "chardev.h"
#include "display_class.h"
#include "display_text.h"
#include "err.h"
#include "loop.h"
#include "machine.h"
#include "monitor.h"

struct text {
	struct display display;
	struct text_display *shown;
	struct loop_fd winch; /* SIGWINCH, which is blocked: see main.c */
};

static void on_winch(void *ctx, uint32_t events)
{
	struct text *t = ctx;
	struct signalfd_siginfo info;

	if (read(t->winch.fd, &info, sizeof(info)) == sizeof(info))
		text_display_resized(t->shown);
}

static int watch_size(struct text *t, struct err *e)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_set(e, ERR_HOST, errno, "cannot watch the terminal's size: %s",
			       strerror(errno));
	loop_fd_add(t->display.loop, &t->winch, fd, EPOLLIN, on_winch, t);
	return 0;
}

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
	rc = rc ? rc : watch_size(t, e);
	return rc ? rc : monitor_add_text(d->vm, c, e);
}

static void stop(struct display *d)
{
	struct text *t = (struct text *)d;

	if (t->winch.loop) {
		loop_fd_del(&t->winch);
		close(t->winch.fd);
	}
	text_display_destroy(t->shown);
}

const struct display_class display_text = {
	.name = "text",
	.desc = "the guest's screen and keyboard on this terminal (Ctrl-A h: help)",
	.size = sizeof(struct text),
	.start = start,
	.stop = stop,
};
