/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stdio backend: this process's standard input and output, a terminal
 * (termios(3)), pipe, file or nothing.
 *
 * The descriptors are shared with the shell and other programs, so their
 * flags are left alone: O_NONBLOCK would break them for everybody. A terminal
 * is opened a second time for non-blocking use; a pipe is written with
 * RWF_NOWAIT; where neither works, poll(2) comes before each bounded write.
 *
 * A terminal on standard input is raw from the first round of the main loop
 * (so that Ctrl-C still works during set-up) until the end, however that
 * comes: the state for restoring it is static, and restoring is async-signal-safe.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "chardev_int.h"
#include "err.h"

enum how {
	HOW_PLAIN, /* never blocks, or is non-blocking */
	HOW_NOWAIT, /* RWF_NOWAIT */
	HOW_POLL, /* poll first, and only as much as surely fits */
};

struct stdio {
	struct chardev c;
	bool signals;
	enum how how_out;
	size_t poll_max; /* of HOW_POLL, bytes */
	int in, out; /* to close when not 0 and 1 */
	bool in_use; /* this is the chardev that has them */
};

/* --- descriptors closed at the start --------------------------------------- */

static bool stdout_was_closed;

/*
 * Before anything is opened: with standard output closed, the next open()
 * would be descriptor 1, and the guest's console would be written into a disk
 * or /dev/kvm.
 */
__attribute__((constructor)) static void plug_closed_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (fd == 1)
			stdout_was_closed = true;
		/* Gets the lowest free number: this one. Writing to standard output still fails. */
		if (open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd)
			return;
	}
}

/* --- the terminal ---------------------------------------------------------- */

/* Static, because signal handlers and exit need it. There is one terminal. */
static struct {
	bool in_use; /* a stdio chardev exists */
	volatile sig_atomic_t want_raw, is_raw;
	int fd;
	struct termios before, raw;
	struct sigaction old_tstp, old_cont;
	const char *volatile end; /* sent when the terminal is restored */
} tty;

void chardev_set_terminal_end(const char *text)
{
	tty.end = text;
}

/* In the background, changing the terminal would stop us and disturb who has it. */
static bool in_foreground(void)
{
	pid_t fg = tcgetpgrp(tty.fd);

	return fg < 0 || fg == getpgrp(); /* < 0: not our controlling terminal */
}

static void make_raw(void)
{
	if (!tty.want_raw || !in_foreground())
		return;
	tty.is_raw = 1;
	tcsetattr(tty.fd, TCSANOW, &tty.raw);
}

void chardev_restore_terminal(void)
{
	int saved = errno;

	if (tty.is_raw && in_foreground()) {
		/* Nothing can be done where it fails. */
		if (tty.end && write(tty.fd, tty.end, strlen(tty.end)) < 0)
			saved = saved ? saved : errno;
		tcsetattr(tty.fd, TCSANOW, &tty.before);
	}
	tty.is_raw = 0;
	errno = saved;
}

/* The shell gets its terminal back while we are stopped. */
static void on_tstp(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, ours;
	int saved = errno;
	sigset_t set, old;

	chardev_restore_terminal();
	sigaction(SIGTSTP, &dfl, &ours);
	raise(SIGTSTP);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &set, &old); /* stops here */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sigaction(SIGTSTP, &ours, NULL);
	make_raw();
	errno = saved;
}

/* After "kill -STOP", when the shell has set its own modes meanwhile. */
static void on_cont(int sig)
{
	int saved = errno;

	make_raw();
	errno = saved;
}

static void take_terminal(bool signals)
{
	struct sigaction tstp = { .sa_handler = on_tstp, .sa_flags = SA_RESTART };
	struct sigaction cont = { .sa_handler = on_cont, .sa_flags = SA_RESTART };
	static bool registered;

	if (tcgetattr(0, &tty.before))
		return;
	tty.fd = 0;
	tty.raw = tty.before;
	tty.raw.c_iflag &=
		~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	/* c_oflag stays: our own messages end in a plain newline. */
	tty.raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
	if (!signals)
		tty.raw.c_lflag &= ~(tcflag_t)ISIG;
	tty.raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	tty.raw.c_cflag |= CS8;
	tty.raw.c_cc[VMIN] = 1;
	tty.raw.c_cc[VTIME] = 0;

	if (!registered)
		atexit(chardev_restore_terminal);
	registered = true;
	tty.want_raw = 1;
	sigaction(SIGCONT, &cont, &tty.old_cont);
	sigaction(SIGTSTP, NULL, &tty.old_tstp);
	/* A parent without job control ignores it, and we would stop with nobody to go on. */
	if (tty.old_tstp.sa_handler != SIG_IGN)
		sigaction(SIGTSTP, &tstp, NULL);
	make_raw();
}

static void give_terminal_back(void)
{
	if (!tty.want_raw)
		return;
	tty.want_raw = 0;
	sigaction(SIGTSTP, &tty.old_tstp, NULL);
	sigaction(SIGCONT, &tty.old_cont, NULL);
	chardev_restore_terminal();
}

/* --- reading and writing --------------------------------------------------- */

static bool is_ready(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, 0) > 0;
}

static ssize_t write_once(struct stdio *s, int fd, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	ssize_t n;

	if (s->how_out == HOW_NOWAIT) {
		n = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
		if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
			return n;
		s->how_out = HOW_POLL;
	}
	if (s->how_out == HOW_POLL) {
		if (!is_ready(fd, POLLOUT)) {
			errno = EAGAIN;
			return -1;
		}
		len = len < s->poll_max ? len : s->poll_max;
	}
	return write(fd, buf, len);
}

static ssize_t stdio_write(struct chardev *c, const void *buf, size_t len)
{
	ssize_t n;

	if (c->out_fd < 0)
		return (ssize_t)len;
	do
		n = write_once((struct stdio *)c, c->out_fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t stdio_read(struct chardev *c, void *buf, size_t len)
{
	ssize_t n;

	/* Somebody else who reads the same pipe may have been faster. */
	if (!is_ready(c->in_fd, POLLIN))
		return -EAGAIN;
	n = read(c->in_fd, buf, len);
	return n < 0 ? -errno : n;
}

/*
 * The terminal on fd once more, as an open file of our own that may be
 * non-blocking; fd itself when the host does not let us.
 */
static int open_again(int fd, int flags)
{
	char path[32];
	unsigned n;
	int again;

	if (!ioctl(fd, TIOCGPTN, &n)) /* the master side of a pty: opening it makes another pty */
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return again < 0 ? fd : again;
}

static void choose_output(struct stdio *s)
{
	struct stat st;

	s->out = 1;
	s->how_out = HOW_PLAIN;
	s->poll_max = PIPE_BUF; /* what poll promises for a pipe */
	if (isatty(1)) {
		s->out = open_again(1, O_WRONLY);
		if (s->out == 1) {
			s->how_out = HOW_POLL;
			s->poll_max = 1; /* for a terminal poll promises no more */
		}
	} else if (!fstat(1, &st) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
		s->how_out = HOW_NOWAIT;
	}
}

/* --- the backend ----------------------------------------------------------- */

static int stdio_open(struct chardev *c, struct err *e)
{
	struct stdio *s = (struct stdio *)c;

	if (tty.in_use) {
		err_set(e, ERR_USAGE, EBUSY, "standard input and output are in use already");
		err_hint(e,
			 "a serial port and the monitor share them by -serial mon:stdio (so does "
			 "-nographic), others by one -chardev stdio,id=ID,mux=on and chardev:ID; "
			 "-serial pty is elsewhere");
		return -EBUSY;
	}
	if (stdout_was_closed || fcntl(1, F_GETFD) < 0) {
		err_set(e, ERR_INPUT, EBADF, "standard output is closed");
		err_hint(e,
			 "redirect it to a file or /dev/null, or use another backend than stdio");
		return -EBADF;
	}
	tty.in_use = true;
	s->in_use = true;
	choose_output(s);
	s->in = isatty(0) ? open_again(0, O_RDONLY) : 0;
	chardev_connect(c, s->in, s->out);
	return 0;
}

static void stdio_start(struct chardev *c)
{
	struct stdio *s = (struct stdio *)c;

	if (!isatty(0))
		return;
	c->drop_input = true;
	take_terminal(s->signals);
}

static void stdio_close(struct chardev *c)
{
	struct stdio *s = (struct stdio *)c;

	if (!s->in_use)
		return;
	give_terminal_back();
	if (s->in != 0)
		close(s->in);
	if (s->out != 1)
		close(s->out);
	tty.in_use = false;
}

static const struct prop stdio_props[] = {
	CHARDEV_PROPS,
	PROP(struct stdio, signals, PROP_BOOL, "signal", "on",
	     "on a terminal, Ctrl-C and Ctrl-Z act on posada, not on the guest"),
	PROP_END,
};

const struct chardev_backend chardev_stdio = {
	.name = "stdio",
	.help = "standard input and output",
	.size = sizeof(struct stdio),
	.props = stdio_props,
	.open = stdio_open,
	.start = stdio_start,
	.close = stdio_close,
	.write = stdio_write,
	.read = stdio_read,
};
