/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stdio backend in real child processes (this program, executed again):
 * on terminals, pipes, files, closed descriptors; escapes; the terminal
 * restored however the child ends; flags of inherited descriptors left alone.
 *
 * The child echoes its input. It is told what else to do by its arguments:
 *
 *   child BACKEND [deaf | N]     deaf: it takes no input; N: it writes so many bytes
 *
 * and by bytes: 'Q' ends it in the ordinary way, 'E' by exit() on the spot.
 * SIGUSR1 makes it call chardev_restore_terminal() in the handler and _exit(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "suite.h"
#include "chardev_front.h"

/* --- the child ------------------------------------------------------------- */

struct echo {
	struct chardev_port *port;
	uint8_t buf[4096];
	size_t n;
	bool monitor;
};

static void echo_flush(void *ctx)
{
	struct echo *x = ctx;
	size_t n = chardev_write(x->port, x->buf, x->n);

	memmove(x->buf, x->buf + n, x->n - n);
	x->n -= n;
	chardev_accept(x->port);
}

static size_t echo_can_read(void *ctx)
{
	struct echo *x = ctx;

	return sizeof(x->buf) - x->n > 100 ? 100 : sizeof(x->buf) - x->n;
}

static void echo_read(void *ctx, const uint8_t *buf, size_t len)
{
	struct echo *x = ctx;

	if (memchr(buf, 'E', len))
		exit(0);
	if (memchr(buf, 'Q', len))
		loop_quit(l);
	memcpy(x->buf + x->n, buf, len);
	x->n += len;
	echo_flush(x);
}

static size_t deaf_can_read(void *ctx)
{
	return 0;
}

static void echo_event(void *ctx, enum chardev_event ev)
{
	struct echo *x = ctx;

	if (x->monitor && ev == CHARDEV_OPENED)
		chardev_write(x->port, "(monitor) ", 10);
	else if (ev == CHARDEV_BREAK)
		chardev_write(x->port, "(break)", 7);
}

static const struct chardev_client echo_client = {
	.can_read = echo_can_read,
	.read = echo_read,
	.writable = echo_flush,
	.event = echo_event,
};

/* A hung guest. */
static const struct chardev_client deaf_client = { .can_read = deaf_can_read, .read = echo_read };

/* No ck_assert here: outside a test it does not work. */
static void flood_writable(void *ctx)
{
	struct front *f = ctx;

	atomic_fetch_add(&f->writable, 1);
}

static const struct chardev_client flood_client = { .writable = flood_writable };

static void on_usr1(int sig)
{
	chardev_restore_terminal();
	_exit(7);
}

static void on_term(void *ctx, uint32_t events)
{
	loop_quit(l);
}

static void host_quit(void *ctx)
{
	loop_quit(l);
}

static int child(int argc, char **argv)
{
	const struct chardev_host host = { .quit = host_quit };
	static struct echo console, monitor = { .monitor = true };
	static struct front flooder;
	struct chardev *c;
	struct err e = { 0 };
	struct loop_fd sig;
	sigset_t mask;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, on_usr1);
	if (loop_create(&l, &e) || chardev_set_create(&set, l, &host, &e))
		return 70;
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	loop_fd_add(l, &sig, signalfd(-1, &mask, SFD_CLOEXEC), EPOLLIN, on_term, NULL);
	if (chardev_from_legacy(set, argv[0], "serial0", &c, &e)) {
		err_print(&e);
		chardev_set_destroy(set);
		return (int)e.status;
	}
	if (argc > 1 && strcmp(argv[1], "deaf")) {
		struct writer w = { .f = &flooder, .n = strtoul(argv[1], NULL, 0) };
		pthread_t t;

		if (chardev_attach(c, &flood_client, &flooder, &flooder.port, &e))
			return 70;
		pthread_create(&t, NULL, write_pattern, &w);
		while (!atomic_load(&w.done))
			run_for(MS);
		pthread_join(t, NULL);
		fprintf(stderr, "held back %s, longest write %s\n", w.held_back ? "yes" : "no",
			w.longest_ns < BLOCKED_NS ? "short" : "LONG");
	} else {
		if (chardev_attach(c, argc > 1 ? &deaf_client : &echo_client, &console,
				   &console.port, &e))
			return 70;
		if (chardev_wants_monitor(c) &&
		    chardev_attach(c, &echo_client, &monitor, &monitor.port, &e))
			return 70;
		loop_run(l);
	}
	close(sig.fd);
	chardev_set_destroy(set);
	loop_destroy(l);
	return 0;
}

/* --- starting it ----------------------------------------------------------- */

/* Executes the child on these descriptors; -1: closed. Does not return. */
static void become_child(int in, int out, int err, const char *backend, const char *arg)
{
	int saved_in = in < 0 ? -1 : fcntl(in, F_DUPFD, 20);
	int saved_out = out < 0 ? -1 : fcntl(out, F_DUPFD, 20);
	int saved_err = fcntl(err, F_DUPFD, 20);

	close(0);
	close(1);
	if (saved_in >= 0)
		dup2(saved_in, 0);
	if (saved_out >= 0)
		dup2(saved_out, 1);
	dup2(saved_err, 2);
	close_range(3, ~0u, 0);
	execl("/proc/self/exe", "test", "child", backend, arg, NULL);
	_exit(71);
}

/* arg: NULL, "deaf" or how many bytes to flood standard output with */
static pid_t spawn(int in, int out, int err, const char *backend, const char *arg)
{
	pid_t pid = fork();

	if (!pid)
		become_child(in, out, err, backend, arg);
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Reads until text has come, or fails after ten seconds. */
static void expect(int fd, const char *text)
{
	char buf[1024] = "";
	size_t n = 0;

	while (!strstr(buf, text)) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t got;

		ck_assert_msg(poll(&pfd, 1, 10000) == 1, "got '%s', not '%s'", buf, text);
		got = read(fd, buf + n, sizeof(buf) - 1 - n);
		ck_assert_msg(got > 0, "the end after '%s', before '%s'", buf, text);
		n += (size_t)got;
		buf[n] = '\0';
	}
}

static void type(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static char *contents(FILE *f)
{
	static char text[4096];
	size_t n;

	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	return text;
}

/* The child has reported line once, and was never held back or blocked. */
static void expect_report(FILE *err, const char *line)
{
	const char *text = contents(err), *at = strstr(text, line);

	ck_assert_msg(at != NULL, "%s", text);
	ck_assert_ptr_null(strstr(at + 1, "posada:"));
	ck_assert_ptr_nonnull(strstr(text, "held back no, longest write short\n"));
}

/* --- terminals ------------------------------------------------------------- */

static int master, slave;
static struct termios before;

static void open_terminal(void)
{
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	ck_assert_int_eq(tcgetattr(slave, &before), 0);
	ck_assert_int_eq(before.c_lflag & (ICANON | ECHO | ISIG), ICANON | ECHO | ISIG);
}

static void close_terminal(void)
{
	close(master);
	close(slave);
}

static bool is_raw(void)
{
	struct termios now;

	return !tcgetattr(slave, &now) && !(now.c_lflag & (ICANON | ECHO));
}

static bool is_restored(void)
{
	struct termios now;

	return !tcgetattr(slave, &now) && now.c_lflag == before.c_lflag &&
	       now.c_iflag == before.c_iflag && now.c_oflag == before.c_oflag &&
	       now.c_cflag == before.c_cflag && !memcmp(now.c_cc, before.c_cc, sizeof(now.c_cc));
}

static void wait_raw(void)
{
	for (int i = 0; i < 1000 && !is_raw(); i++)
		sleep_ms(10);
	ck_assert(is_raw());
}

static pid_t on_terminal(const char *backend)
{
	pid_t pid = spawn(slave, slave, 2, backend, NULL);

	wait_raw();
	return pid;
}

START_TEST(raw_mode_keeps_signals_and_output)
{
	pid_t pid = on_terminal("stdio");
	struct termios now;

	ck_assert_int_eq(tcgetattr(slave, &now), 0);
	ck_assert_int_eq(now.c_lflag & (ICANON | ECHO | IEXTEN | ISIG), ISIG);
	ck_assert_int_eq(now.c_iflag & (ICRNL | INLCR | IXON | ISTRIP), 0);
	ck_assert_int_eq(now.c_oflag, before.c_oflag);
	type(master, "\r\177\022x"); /* Return, Delete, Ctrl-R pass unchanged */
	expect(master, "\r\177\022x");
	/* The flags of the terminal's open file, which the shell shares, are as they were. */
	ck_assert_int_eq(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
	type(master, "Q");
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert(is_restored());
}
END_TEST

START_TEST(signal_off_passes_control_characters)
{
	pid_t pid = on_terminal("stdio,signal=off");

	type(master, "\003\032\034.");
	expect(master, "\003\032\034.");
	kill(pid, SIGTERM);
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert(is_restored());
}
END_TEST

START_TEST(monitor_on_the_terminal)
{
	pid_t pid = on_terminal("mon:stdio");

	type(master, "\003a"); /* Ctrl-C is the guest's */
	expect(master, "\003a");
	type(master, "\001c");
	expect(master, "(monitor) ");
	type(master, "\001cb\001b");
	expect(master, "b(break)");
	type(master, "\001h");
	expect(master, "C-a C-a  send C-a");
	type(master, "\001x");
	expect(master, "posada: terminated");
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert(is_restored());
}
END_TEST

START_TEST(escape_behind_more_than_a_hung_guest_takes)
{
	pid_t pid = spawn(slave, slave, 2, "mon:stdio", "deaf");
	char junk[20000];

	wait_raw();
	memset(junk, 'z', sizeof(junk));
	for (size_t n = 0; n < sizeof(junk); n += 500)
		ck_assert_int_eq(write(master, junk + n, 500), 500);
	type(master, "\001x");
	expect(master, "posada: terminated");
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert(is_restored());
}
END_TEST

START_TEST(restored_by_exit_on_the_spot)
{
	pid_t pid = on_terminal("stdio");

	type(master, "E");
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert(is_restored());
}
END_TEST

START_TEST(restored_from_a_signal_handler)
{
	pid_t pid = on_terminal("mon:stdio");

	kill(pid, SIGUSR1);
	ck_assert_int_eq(status_of(pid), 7);
	ck_assert(is_restored());
}
END_TEST

START_TEST(ctrl_s_holds_output_back)
{
	FILE *err = tmpfile();
	struct slow_reader r = { .fd = master, .n = 300000 };
	struct termios raw = before;
	pid_t pid;

	/* Output only: the terminal is not ours to make raw, so Ctrl-S works on it. */
	raw.c_oflag &= ~(tcflag_t)OPOST;
	tcsetattr(slave, TCSANOW, &raw);
	type(master, "\023");
	pid = spawn(-1, slave, fileno(err), "stdio", "300000");
	sleep_ms(1000);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	type(master, "\021");
	slow_read(&r);
	ck_assert_uint_eq(r.good, r.n);
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert_str_eq(contents(err), "held back yes, longest write short\n");
	fclose(err);
}
END_TEST

/* Standard output is a pty's master: nothing offers non-blocking writes, so they are polled. */
START_TEST(polled_output_loses_nothing)
{
	FILE *err = tmpfile();
	struct slow_reader r = { .fd = slave, .n = 300000 };
	struct termios raw = before;
	pid_t pid;

	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	pid = spawn(-1, master, fileno(err), "stdio", "300000");
	slow_read(&r);
	ck_assert_uint_eq(r.good, r.n);
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert_str_eq(contents(err), "held back yes, longest write short\n");
	ck_assert_int_eq(fcntl(master, F_GETFL) & O_NONBLOCK, 0);
	fclose(err);
}
END_TEST

/*
 * A shell with job control, in small: leads the session of the terminal and
 * runs the child in the foreground. Its exit status says which step failed.
 */
static int small_shell(const char *backend, int step_fd)
{
	int status;
	pid_t pid;

	if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0))
		return 1;
	signal(SIGTTOU, SIG_IGN);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		tcsetpgrp(slave, getpid());
		signal(SIGTTOU, SIG_DFL);
		become_child(slave, slave, 2, backend, NULL);
	}
	/* Stopped by Ctrl-Z: the terminal is the shell's again. */
	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		return 2;
	if (!is_restored())
		return 3;
	if (WSTOPSIG(status) != SIGTSTP)
		return 4;
	tcsetpgrp(slave, getpgrp());
	/* "bg": it must leave the terminal alone. */
	kill(pid, SIGCONT);
	sleep_ms(200);
	if (!is_restored() || waitpid(pid, &status, WNOHANG | WUNTRACED))
		return 5;
	/* "fg" */
	tcsetpgrp(slave, pid);
	kill(pid, SIGCONT);
	for (int i = 0; i < 1000 && !is_raw(); i++)
		sleep_ms(10);
	if (!is_raw())
		return 6;
	if (write(step_fd, "f", 1) != 1)
		return 7;
	/* Then Ctrl-C. */
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		return 8;
	return is_restored() ? 0 : 9;
}

START_TEST(job_control)
{
	int step[2];
	char c;
	pid_t shell;

	ck_assert_int_eq(pipe(step), 0);
	shell = fork();
	if (!shell)
		_exit(small_shell("stdio", step[1]));
	wait_raw();
	type(master, "one");
	expect(master, "one");
	type(master, "\032");
	ck_assert_int_eq(read(step[0], &c, 1), 1);
	type(master, "two");
	expect(master, "two");
	type(master, "\003");
	ck_assert_int_eq(status_of(shell), 0);
	close(step[0]);
	close(step[1]);
}
END_TEST

/* --- pipes, files and nothing ---------------------------------------------- */

static int in_pipe[2], out_pipe[2];

static void open_pipes(void)
{
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(in_pipe, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out_pipe, O_CLOEXEC), 0);
}

static void close_pipes(void)
{
	for (int i = 0; i < 2; i++) {
		close(in_pipe[i]);
		close(out_pipe[i]);
	}
}

START_TEST(pipes_keep_their_flags)
{
	pid_t pid = spawn(in_pipe[0], out_pipe[1], 2, "stdio", NULL);

	type(in_pipe[1], "hello");
	expect(out_pipe[0], "hello");
	ck_assert_int_eq(fcntl(in_pipe[0], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(out_pipe[1], F_GETFL) & O_NONBLOCK, 0);
	/* Without a mux, Ctrl-A is a character like any other. */
	type(in_pipe[1], "\001x.");
	expect(out_pipe[0], "\001x.");
	type(in_pipe[1], "Q");
	ck_assert_int_eq(status_of(pid), 0);
}
END_TEST

START_TEST(end_of_input_does_not_end_the_guest)
{
	pid_t pid = spawn(in_pipe[0], out_pipe[1], 2, "mon:stdio", NULL);

	type(in_pipe[1], "before the end");
	close(in_pipe[1]);
	in_pipe[1] = -1;
	expect(out_pipe[0], "before the end");
	sleep_ms(100);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGTERM);
	ck_assert_int_eq(status_of(pid), 0);
}
END_TEST

START_TEST(escapes_from_a_pipe)
{
	pid_t pid = spawn(in_pipe[0], out_pipe[1], 2, "mon:stdio", NULL);

	type(in_pipe[1], "a\001cb\001\001\001x");
	/* The focus moved before b was looked at; its banner comes a round later. */
	expect(out_pipe[0], "ab\001\r\nposada: terminated\r\n");
	ck_assert_int_eq(status_of(pid), 0);
}
END_TEST

START_TEST(slow_pipe_reader_loses_nothing)
{
	struct slow_reader r = { .fd = out_pipe[0], .n = MIB };
	FILE *err = tmpfile();
	pid_t pid = spawn(in_pipe[0], out_pipe[1], fileno(err), "stdio", "1048576");

	slow_read(&r);
	ck_assert_uint_eq(r.good, MIB);
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert_str_eq(contents(err), "held back yes, longest write short\n");
	ck_assert_int_eq(fcntl(out_pipe[1], F_GETFL) & O_NONBLOCK, 0);
	fclose(err);
}
END_TEST

START_TEST(broken_pipe_is_reported_once)
{
	FILE *err = tmpfile();
	pid_t pid;

	close(out_pipe[0]);
	out_pipe[0] = -1;
	pid = spawn(in_pipe[0], out_pipe[1], fileno(err), "stdio", "1048576");
	ck_assert_int_eq(status_of(pid), 0); /* written to its end, all of it swallowed */
	expect_report(err,
		      "posada: chardev serial0 (stdio): its reader has gone; the guest goes on, "
		      "its output is lost\n");
	fclose(err);
}
END_TEST

START_TEST(reader_that_leaves_frees_a_held_back_writer)
{
	FILE *err = tmpfile();
	pid_t pid = spawn(in_pipe[0], out_pipe[1], fileno(err), "stdio", "1048576");

	close(out_pipe[1]);
	out_pipe[1] = -1;
	sleep_ms(300);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	close(out_pipe[0]);
	out_pipe[0] = -1;
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert_ptr_nonnull(strstr(contents(err), "held back yes, longest write short\n"));
	fclose(err);
}
END_TEST

static void echo_file(int in, size_t expected)
{
	FILE *out = tmpfile();
	pid_t pid = spawn(in, fileno(out), 2, "stdio", NULL);
	struct stat st = { 0 };
	uint8_t *got = malloc(expected + 1);

	for (int i = 0; i < 1000 && (size_t)st.st_size < expected; i++) {
		sleep_ms(10);
		fstat(fileno(out), &st);
	}
	sleep_ms(50);
	kill(pid, SIGTERM); /* still there */
	ck_assert_int_eq(status_of(pid), 0);
	rewind(out);
	ck_assert_uint_eq(fread(got, 1, expected + 1, out), expected);
	for (size_t i = 0; i < expected; i++)
		ck_assert_uint_eq(got[i], pattern(i) % 'A');
	free(got);
	fclose(out);
}

START_TEST(input_from_a_file)
{
	FILE *in = tmpfile();

	for (size_t i = 0; i < 100000; i++)
		fputc(pattern(i) % 'A', in); /* no Q, no E */
	rewind(in);
	fflush(in);
	echo_file(fileno(in), 100000);
	fclose(in);
}
END_TEST

START_TEST(input_from_dev_null)
{
	int fd = open("/dev/null", O_RDONLY);

	echo_file(fd, 0);
	close(fd);
}
END_TEST

START_TEST(input_closed)
{
	echo_file(-1, 0);
}
END_TEST

START_TEST(input_is_a_directory)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	echo_file(fd, 0);
	close(fd);
}
END_TEST

START_TEST(closed_stdout_is_an_error)
{
	FILE *err = tmpfile();

	ck_assert_int_eq(status_of(spawn(in_pipe[0], -1, fileno(err), "mon:stdio", NULL)),
			 ERR_INPUT);
	ck_assert_str_eq(contents(err),
			 "posada: standard output is closed\n"
			 "posada: redirect it to a file or /dev/null, or use another backend than "
			 "stdio\n");
	fclose(err);
}
END_TEST

START_TEST(full_disk_on_stdout)
{
	FILE *err = tmpfile();
	int fd = open("/dev/full", O_WRONLY);

	ck_assert_int_eq(status_of(spawn(in_pipe[0], fd, fileno(err), "stdio", "20000")), 0);
	expect_report(err,
		      "posada: chardev serial0 (stdio): cannot write: No space left on device; "
		      "the guest goes on, its output is lost\n");
	close(fd);
	fclose(err);
}
END_TEST

START_TEST(interrupted_wait_for_a_peer)
{
	char path[64], arg[128], msg[256];
	FILE *err = tmpfile();
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/posada-wait-%d", (int)getpid());
	snprintf(arg, sizeof(arg), "unix:%s,server=on", path);
	pid = spawn(in_pipe[0], out_pipe[1], fileno(err), arg, NULL);
	snprintf(msg, sizeof(msg), "posada: waiting for connection on: %s\n", arg);
	for (int i = 0; i < 1000 && strcmp(contents(err), msg); i++)
		sleep_ms(10);
	ck_assert_str_eq(contents(err), msg);
	ck_assert_int_eq(access(path, F_OK), 0);
	sleep_ms(50);
	kill(pid, SIGTERM);
	ck_assert_int_eq(status_of(pid), ERR_INPUT);
	ck_assert_ptr_nonnull(strstr(contents(err), "interrupted before anybody connected"));
	ck_assert_int_ne(access(path, F_OK), 0);
	fclose(err);
}
END_TEST

START_TEST(one_stdio_only)
{
	struct chardev *c;
	struct err e = { 0 };

	setup();
	legacy("stdio", "serial0");
	ck_assert_int_eq(chardev_from_legacy(set, "mon:stdio", "serial1", &c, &e), -EBUSY);
	ck_assert_str_eq(e.msg, "standard input and output are in use already");
	ck_assert_ptr_nonnull(strstr(e.hint, "mon:stdio"));
	teardown();
	/* Free again when the set is gone. */
	setup();
	legacy("stdio", "serial0");
	teardown();
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s;
	TCase *t;

	if (argc > 2 && !strcmp(argv[1], "child"))
		return child(argc - 2, argv + 2);

	s = suite_create("chardev_stdio");
	t = tcase_create("terminal");
	tcase_add_checked_fixture(t, open_terminal, close_terminal);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, raw_mode_keeps_signals_and_output);
	tcase_add_test(t, signal_off_passes_control_characters);
	tcase_add_test(t, monitor_on_the_terminal);
	tcase_add_test(t, escape_behind_more_than_a_hung_guest_takes);
	tcase_add_test(t, restored_by_exit_on_the_spot);
	tcase_add_test(t, restored_from_a_signal_handler);
	tcase_add_test(t, ctrl_s_holds_output_back);
	tcase_add_test(t, polled_output_loses_nothing);
	tcase_add_test(t, job_control);
	suite_add_tcase(s, t);

	t = tcase_create("pipes");
	tcase_add_checked_fixture(t, open_pipes, close_pipes);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, pipes_keep_their_flags);
	tcase_add_test(t, end_of_input_does_not_end_the_guest);
	tcase_add_test(t, escapes_from_a_pipe);
	tcase_add_test(t, slow_pipe_reader_loses_nothing);
	tcase_add_test(t, broken_pipe_is_reported_once);
	tcase_add_test(t, reader_that_leaves_frees_a_held_back_writer);
	tcase_add_test(t, input_from_a_file);
	tcase_add_test(t, input_from_dev_null);
	tcase_add_test(t, input_closed);
	tcase_add_test(t, input_is_a_directory);
	tcase_add_test(t, closed_stdout_is_an_error);
	tcase_add_test(t, full_disk_on_stdout);
	tcase_add_test(t, interrupted_wait_for_a_peer);
	tcase_add_test(t, one_stdio_only);
	suite_add_tcase(s, t);
	return run_suite(s);
}
