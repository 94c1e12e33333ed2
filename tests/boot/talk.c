/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * talk: a scripted conversation with a program on a terminal of its own, or
 * with whoever listens on a unix socket. For the boot tests.
 *
 *   talk [-t SECONDS] [STEP...] COMMAND [ARG...]     on a new pseudo-terminal
 *   talk [-t SECONDS] -u PATH [STEP...]              with a unix socket
 *
 * Steps, in order:
 *   -e REGEX   waits until the output since the last -e matches (POSIX extended)
 *   -s TEXT    sends TEXT; \r \n \\ and \xHH are understood
 *   -k NUMBER  sends the command a signal
 *   -p MS      pauses
 *   -w CxR     gives the terminal C columns and R rows
 *
 * All output is copied to standard output. Then the command is waited for and
 * its status handed on (128 + N for signal N). A terminal that the command
 * left in another state than it found it in is status 125; a step or an
 * end that takes longer than SECONDS (default 30) is status 124, the command is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <regex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

enum { STATUS_TIMEOUT = 124, STATUS_TERMINAL = 125, STATUS_ERROR = 126 };

struct step {
	int what;
	const char *arg;
};

struct talk {
	int fd; /* the terminal's master, or the socket */
	int slave;
	struct termios termios;
	int flags;
	pid_t pid; /* 0 for a socket */
	bool eof;
	char *seen; /* output not matched yet, NUL-ended */
	size_t n_seen;
	long long deadline_ms;
};

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static void die(struct talk *t, int status, const char *what, const char *arg)
{
	fflush(stdout);
	fprintf(stderr, "talk: %s%s%s\n", what, arg ? ": " : "", arg ? arg : "");
	if (t->pid > 0) {
		kill(t->pid, SIGKILL);
		waitpid(t->pid, NULL, 0);
	}
	exit(status);
}

/* Takes what has come, waiting at most until `until`. false when nothing did. */
static bool take_output(struct talk *t, long long until)
{
	struct pollfd p = { .fd = t->fd, .events = POLLIN };
	long long left = until - now_ms();
	char buf[4096];
	ssize_t n;

	if (t->eof) {
		if (left > 0)
			poll(NULL, 0, left < 5 ? (int)left : 5);
		return false;
	}
	if (poll(&p, 1, left > 0 ? (int)left : 0) <= 0)
		return false;
	n = read(t->fd, buf, sizeof buf);
	if (n <= 0) { /* a terminal without a process gives EIO */
		t->eof = true;
		return false;
	}
	fwrite(buf, 1, (size_t)n, stdout);
	fflush(stdout); /* a test may follow it */
	for (ssize_t i = 0; i < n; i++) {
		if (!buf[i])
			buf[i] = ' '; /* the regular expression would end there */
	}
	t->seen = realloc(t->seen, t->n_seen + (size_t)n + 1);
	if (!t->seen)
		die(t, STATUS_ERROR, "out of memory", NULL);
	memcpy(t->seen + t->n_seen, buf, (size_t)n);
	t->n_seen += (size_t)n;
	t->seen[t->n_seen] = '\0';
	return true;
}

static void expect(struct talk *t, const char *pattern)
{
	regex_t re;
	regmatch_t m;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_NEWLINE))
		die(t, STATUS_ERROR, "not a regular expression", pattern);
	while (regexec(&re, t->seen, 1, &m, 0)) {
		if (t->eof)
			die(t, STATUS_TIMEOUT, "ended before it said", pattern);
		if (!take_output(t, t->deadline_ms) && now_ms() >= t->deadline_ms)
			die(t, STATUS_TIMEOUT, "did not say in time", pattern);
	}
	t->n_seen -= (size_t)m.rm_eo;
	memmove(t->seen, t->seen + m.rm_eo, t->n_seen + 1);
	regfree(&re);
}

static void send_text(struct talk *t, const char *text)
{
	for (const char *p = text; *p; p++) {
		char c = *p;

		if (c == '\\') {
			switch (*++p) {
			case 'r':
				c = '\r';
				break;
			case 'n':
				c = '\n';
				break;
			case 'x': {
				char hex[3] = { p[1], p[1] ? p[2] : '\0', '\0' };

				c = (char)strtol(hex, NULL, 16);
				p += strlen(hex);
				break;
			}
			default:
				c = *p;
			}
		}
		while (write(t->fd, &c, 1) < 0) {
			if (errno != EINTR && errno != EAGAIN)
				die(t, STATUS_ERROR, "cannot send", strerror(errno));
		}
	}
}

static void set_size(struct talk *t, const char *size)
{
	struct winsize ws = { 0 };

	if (sscanf(size, "%hux%hu", &ws.ws_col, &ws.ws_row) != 2 || ioctl(t->fd, TIOCSWINSZ, &ws))
		die(t, STATUS_ERROR, "cannot set the size", size);
}

static void run_step(struct talk *t, const struct step *s)
{
	long long until;

	switch (s->what) {
	case 'e':
		expect(t, s->arg);
		break;
	case 's':
		send_text(t, s->arg);
		break;
	case 'k':
		if (t->pid > 0)
			kill(t->pid, atoi(s->arg));
		break;
	case 'w':
		set_size(t, s->arg);
		break;
	case 'p':
		until = now_ms() + atoi(s->arg);
		while (now_ms() < until)
			take_output(t, until);
		break;
	}
}

static void start(struct talk *t, char **argv)
{
	int master, slave;

	if (openpty(&master, &slave, NULL, NULL, NULL))
		die(t, STATUS_ERROR, "openpty", strerror(errno));
	tcgetattr(slave, &t->termios);
	t->flags = fcntl(slave, F_GETFL);
	t->fd = master;
	t->slave = slave;
	t->pid = fork();
	if (t->pid < 0)
		die(t, STATUS_ERROR, "fork", strerror(errno));
	if (!t->pid) {
		close(master);
		if (login_tty(slave))
			_exit(STATUS_ERROR);
		execvp(argv[0], argv);
		fprintf(stderr, "talk: %s: %s\n", argv[0], strerror(errno));
		_exit(STATUS_ERROR);
	}
}

static void connect_to(struct talk *t, const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof sa.sun_path)
		die(t, STATUS_ERROR, "path too long", path);
	strcpy(sa.sun_path, path);
	t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* The listener may be about to start. */
	while (connect(t->fd, (struct sockaddr *)&sa, sizeof sa)) {
		if (now_ms() >= t->deadline_ms)
			die(t, STATUS_TIMEOUT, "nobody listens", path);
		poll(NULL, 0, 10);
	}
}

/* Waits for the command; returns its status as a shell would. */
static int finish(struct talk *t)
{
	struct termios now;
	int status;
	pid_t r;

	while (!(r = waitpid(t->pid, &status, WNOHANG))) {
		take_output(t, now_ms() + 20);
		if (now_ms() >= t->deadline_ms)
			die(t, STATUS_TIMEOUT, "did not end in time", NULL);
	}
	while (take_output(t, now_ms()))
		;
	t->pid = 0;
	tcgetattr(t->slave, &now);
	if (now.c_iflag != t->termios.c_iflag || now.c_oflag != t->termios.c_oflag ||
	    now.c_lflag != t->termios.c_lflag || now.c_cflag != t->termios.c_cflag ||
	    memcmp(now.c_cc, t->termios.c_cc, sizeof now.c_cc))
		die(t, STATUS_TERMINAL, "the terminal's settings were not restored", NULL);
	if (fcntl(t->slave, F_GETFL) != t->flags)
		die(t, STATUS_TERMINAL, "the terminal's file status flags were not restored", NULL);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	struct talk t = { .fd = -1, .seen = calloc(1, 1) };
	struct step *steps = calloc((size_t)argc, sizeof *steps);
	const char *path = NULL;
	unsigned n = 0;
	long seconds = 30;
	int c;

	if (!t.seen || !steps)
		return STATUS_ERROR;
	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt(argc, argv, "+t:u:e:s:k:p:w:")) != -1) {
		switch (c) {
		case 't':
			seconds = atol(optarg);
			break;
		case 'u':
			path = optarg;
			break;
		case '?':
			return STATUS_ERROR;
		default:
			steps[n++] = (struct step){ c, optarg };
		}
	}
	if (!path == (optind == argc)) {
		fprintf(stderr, "talk: either -u PATH or a command\n");
		return STATUS_ERROR;
	}
	t.deadline_ms = now_ms() + seconds * 1000;
	if (path)
		connect_to(&t, path);
	else
		start(&t, argv + optind);
	for (unsigned i = 0; i < n; i++)
		run_step(&t, &steps[i]);
	if (path) {
		fflush(stdout);
		return 0;
	}
	c = finish(&t);
	fflush(stdout);
	free(t.seen);
	free(steps);
	return c;
}
