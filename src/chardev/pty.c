/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pty backend: a pseudo terminal (pty(7), pts(4)) for another program to
 * open. Nobody having it open shows as POLLHUP on our end; output is
 * swallowed then. Nothing wakes us when somebody opens it, so a timer looks,
 * and so does each write.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "chardev_int.h"
#include "err.h"

/* How often to look whether somebody has opened it. */
#define LOOK_NS 200000000u

struct pty {
	struct chardev c;
	int master;
	struct loop_timer look;
};

static bool has_peer(const struct pty *p)
{
	struct pollfd pfd = { .fd = p->master };

	return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
}

static void pty_look(void *ctx)
{
	struct pty *p = ctx;

	if (p->c.connected)
		return;
	if (has_peer(p))
		chardev_connect(&p->c, p->master, p->master);
	else
		loop_timer_set(&p->look, loop_now_ns() + LOOK_NS);
}

static ssize_t pty_write(struct chardev *c, const void *buf, size_t len)
{
	struct pty *p = (struct pty *)c;
	ssize_t n;

	if (c->out_fd < 0) {
		if (!has_peer(p))
			return (ssize_t)len;
		loop_timer_set(&p->look, 0); /* somebody has just come */
	}
	do
		n = write(p->master, buf, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	/* Full for ever when the one who should read it has gone. */
	return errno == EAGAIN && !has_peer(p) ? -EIO : -errno;
}

static void pty_lost(struct chardev *c)
{
	struct pty *p = (struct pty *)c;

	chardev_disconnect(c);
	loop_timer_set(&p->look, loop_now_ns() + LOOK_NS);
}

static void pty_write_failed(struct chardev *c, int error)
{
	pty_lost(c);
}

static int pty_open(struct chardev *c, struct err *e)
{
	struct pty *p = (struct pty *)c;
	struct termios tio;
	char name[128];
	int slave, code;

	p->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (p->master < 0) {
		code = errno;
		err_set(e, ERR_HOST, code, "the host gives no pseudo terminal: %s", strerror(code));
		err_hint(e,
			 "/dev/ptmx must be accessible, and /proc/sys/kernel/pty/max not reached");
		return -code;
	}
	loop_timer_init(&p->look, c->loop, pty_look, p);
	if (grantpt(p->master) || unlockpt(p->master) || ptsname_r(p->master, name, sizeof(name)) ||
	    (slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
		code = errno;
		return err_set(e, ERR_HOST, code, "cannot set up a pseudo terminal: %s",
			       strerror(code));
	}
	/* Bytes must pass unchanged, and nothing be echoed back into the guest. */
	if (!tcgetattr(slave, &tio)) {
		cfmakeraw(&tio);
		tcsetattr(slave, TCSANOW, &tio);
	}
	/* Once opened and closed, our end shows whether somebody has it open. */
	close(slave);
	snprintf(c->desc, sizeof(c->desc), "pty:%s", name);
	printf("char device redirected to %s (label %s)\n", name, c->id);
	fflush(stdout);
	return 0;
}

static void pty_start(struct chardev *c)
{
	pty_look(c);
}

static void pty_close(struct chardev *c)
{
	struct pty *p = (struct pty *)c;

	loop_timer_cancel(&p->look);
	if (p->master >= 0)
		close(p->master);
}

static const struct prop pty_props[] = { CHARDEV_PROPS, PROP_END };

const struct chardev_backend chardev_pty = {
	.name = "pty",
	.help = "a pseudo terminal, for screen, minicom and the like; its name is printed",
	.size = sizeof(struct pty),
	.props = pty_props,
	.open = pty_open,
	.start = pty_start,
	.close = pty_close,
	.write = pty_write,
	.eof = pty_lost,
	.write_failed = pty_write_failed,
};
