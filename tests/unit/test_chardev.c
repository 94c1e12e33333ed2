/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character backends but stdio: real pseudo terminals, Unix and TCP sockets
 * on the loopback address, files; the mux; bad arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

#include "suite.h"
#include "chardev_front.h"

static char dir[64];
static char path[128]; /* in dir */

static void make_dir(void)
{
	strcpy(dir, "/tmp/posada-chardev-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	setup();
}

static void remove_dir(void)
{
	teardown();
	unlink(path);
	ck_assert_msg(rmdir(dir) == 0, "something was left behind in %s", dir);
}

static int unix_connect(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static int unix_listen(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads what there is within 10 s until text has come; the loop runs meanwhile. */
static void expect_text(int fd, const char *text)
{
	uint64_t end = loop_now_ns() + 10000 * MS;
	char buf[4096] = "";
	size_t n = 0;

	while (strcmp(buf, text)) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		ck_assert_msg(loop_now_ns() < end, "got '%s', not '%s'", buf, text);
		run_for(MS);
		while (poll(&pfd, 1, 0) > 0) {
			ssize_t got = read(fd, buf + n, sizeof(buf) - 1 - n);

			ck_assert_int_gt(got, 0);
			n += (size_t)got;
			buf[n] = '\0';
		}
	}
}

static void expect_in(struct front *f, const char *text)
{
	RUN_UNTIL(f->in_n >= strlen(text));
	ck_assert_uint_eq(f->in_n, strlen(text));
	ck_assert_mem_eq(f->in, text, f->in_n);
	f->in_n = 0;
}

static struct chardev *unix_server(const char *more)
{
	char arg[256];

	snprintf(arg, sizeof(arg), "unix:%s,server=on,wait=off%s", path, more);
	return legacy(arg, "serial0");
}

static char described[256];

static void describe(void *ctx, const char *id, const char *description)
{
	snprintf(described, sizeof(described), "%s=%s", id, description);
}

/* 1 MiB out through fd, read slowly, while another thread writes. */
static void push_through(struct front *f, int fd)
{
	struct slow_reader r = { .fd = fd, .n = MIB };
	struct writer w = { .f = f, .n = MIB };
	pthread_t reader, writer;

	ck_assert_int_eq(pthread_create(&reader, NULL, slow_read, &r), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_pattern, &w), 0);
	RUN_UNTIL(atomic_load(&w.done));
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	ck_assert_uint_eq(r.good, MIB);
	ck_assert_uint_gt(w.held_back, 0);
	ck_assert_uint_lt(w.longest_ns, BLOCKED_NS); /* never blocked behind the sleeping reader */
}

/* 1 MiB in through fd, to a front end that takes it in bits. */
static void push_in(struct front *f, int fd)
{
	uint8_t *buf = malloc(MIB);
	size_t sent = 0;

	fill_pattern(buf, MIB);
	f->in_n = 0;
	f->room = 0;
	while (f->in_n < MIB) {
		struct pollfd pfd = { .fd = fd, .events = POLLOUT };

		if (sent < MIB && poll(&pfd, 1, 0) > 0) {
			size_t len = MIB - sent < 256 ? MIB - sent : 256;
			ssize_t n = write(fd, buf + sent, len);

			ck_assert_int_gt(n, 0);
			sent += (size_t)n;
		}
		if (!f->room) {
			f->room = 1 + f->in_n % 5000;
			chardev_accept(f->port);
		}
		run_for(MS / 20);
	}
	ck_assert_uint_eq(f->in_n, MIB);
	ck_assert_mem_eq(f->in, buf, MIB);
	f->in_n = 0;
	free(buf);
	f->room = SIZE_MAX;
	chardev_accept(f->port);
}

/* --- sockets --------------------------------------------------------------- */

START_TEST(unix_server_peers_come_and_go)
{
	struct chardev *c = unix_server("");
	struct front *f = front_new(c);

	/* Without a peer everything is swallowed. */
	ck_assert_uint_eq(chardev_write(f->port, "lost", 4), 4);
	run_for(5 * MS);
	ck_assert_uint_eq(f->opened, 0);
	chardev_each(set, describe, NULL);
	ck_assert_ptr_nonnull(strstr(described, "serial0=disconnected:unix:"));

	for (unsigned i = 1; i <= 3; i++) {
		int fd = unix_connect();

		RUN_UNTIL(f->opened == i);
		chardev_each(set, describe, NULL);
		ck_assert_ptr_null(strstr(described, "disconnected"));
		ck_assert_uint_eq(chardev_write(f->port, "out", 3), 3);
		expect_text(fd, "out");
		send_text(fd, "in");
		expect_in(f, "in");
		/* What was sent right before the end arrives, although taken byte by byte. */
		f->room = 1;
		send_text(fd, "last words");
		close(fd);
		while (f->in_n < 10) {
			run_for(MS);
			ck_assert_uint_eq(f->closed, i - 1);
			f->room = 1;
			chardev_accept(f->port);
		}
		ck_assert_mem_eq(f->in, "last words", 10);
		f->in_n = 0;
		f->room = SIZE_MAX;
		RUN_UNTIL(f->closed == i);
	}
	front_free(f);
}
END_TEST

START_TEST(unix_server_second_peer_waits_its_turn)
{
	struct front *f = front_new(unix_server(""));
	int first = unix_connect(), second;

	RUN_UNTIL(f->opened == 1);
	second = unix_connect();
	send_text(second, "second");
	run_for(20 * MS);
	ck_assert_uint_eq(f->in_n, 0);
	send_text(first, "first");
	expect_in(f, "first");
	close(first);
	expect_in(f, "second");
	ck_assert_uint_eq(f->opened, 2);
	ck_assert_uint_eq(f->closed, 1);
	close(second);
	front_free(f);
}
END_TEST

START_TEST(slow_socket_peer_loses_nothing)
{
	struct front *f = front_new(unix_server(""));
	int fd = unix_connect();

	RUN_UNTIL(f->opened == 1);
	push_through(f, fd);
	push_in(f, fd);
	close(fd);
	front_free(f);
}
END_TEST

/* _i: whether the front end takes input, which is one way of noticing. */
START_TEST(peer_that_leaves_frees_a_held_back_writer)
{
	struct front *f = front_new(unix_server(""));
	struct writer w = { .f = f, .n = MIB };
	pthread_t writer;
	int fd = unix_connect();

	f->room = _i ? SIZE_MAX : 0;
	RUN_UNTIL(f->opened == 1);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_pattern, &w), 0);
	run_for(100 * MS);
	ck_assert(!atomic_load(&w.done));
	close(fd); /* without having read a byte */
	RUN_UNTIL(atomic_load(&w.done));
	pthread_join(writer, NULL);
	ck_assert_uint_gt(w.held_back, 0);
	RUN_UNTIL(f->closed == 1);
	fd = unix_connect();
	RUN_UNTIL(f->opened == 2);
	close(fd);
	front_free(f);
}
END_TEST

START_TEST(socket_file_is_removed_at_the_end)
{
	struct err e;

	unix_server("");
	ck_assert_int_eq(access(path, F_OK), 0);
	chardev_set_destroy(set);
	ck_assert_int_ne(access(path, F_OK), 0);

	/* But not one that somebody else has put there meanwhile. */
	ck_assert_int_eq(chardev_set_create(&set, l, NULL, &e), 0);
	unix_server("");
	unlink(path);
	close(unix_listen());
	chardev_set_destroy(set);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(chardev_set_create(&set, l, NULL, &e), 0);
}
END_TEST

START_TEST(stale_socket_file_is_replaced)
{
	struct front *f;
	int fd;

	close(unix_listen()); /* the file stays, nobody listens */
	ck_assert_int_eq(access(path, F_OK), 0);
	f = front_new(unix_server(""));
	fd = unix_connect();
	RUN_UNTIL(f->opened == 1);
	close(fd);
	front_free(f);
}
END_TEST

static void refuse_server(int code, const char *text)
{
	struct chardev *c;
	struct err e = { 0 };
	char arg[256];

	snprintf(arg, sizeof(arg), "unix:%s,server=on,wait=off", path);
	ck_assert_int_eq(chardev_from_legacy(set, arg, "a", &c, &e), -code);
	ck_assert_int_eq(e.status, ERR_INPUT);
	ck_assert_ptr_nonnull(strstr(e.msg, path));
	ck_assert_msg(strstr(e.msg, text) != NULL, "%s", e.msg);
	ck_assert_int_ne(e.hint[0], 0);
}

START_TEST(live_socket_is_not_taken_over)
{
	int fd = unix_listen();

	refuse_server(EADDRINUSE, "another process listens on");
	ck_assert_int_eq(access(path, F_OK), 0); /* theirs: not removed by the failed attempt */
	close(fd);
}
END_TEST

START_TEST(other_files_are_not_taken_over)
{
	close(open(path, O_CREAT | O_WRONLY, 0600));
	refuse_server(EEXIST, "exists and is not a socket");
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

static void *connect_later(void *arg)
{
	int *fd = arg;

	sleep_ms(50);
	*fd = unix_connect();
	return NULL;
}

START_TEST(server_waits_for_its_first_peer)
{
	uint64_t start = loop_now_ns();
	struct front *f;
	pthread_t t;
	char arg[256];
	int fd = -1;

	ck_assert_int_eq(pthread_create(&t, NULL, connect_later, &fd), 0);
	snprintf(arg, sizeof(arg), "unix:%s,server", path); /* wait=on unless said otherwise */
	f = front_new(legacy(arg, "a"));
	ck_assert_uint_ge(loop_now_ns() - start, 50 * MS);
	pthread_join(t, NULL);
	ck_assert_int_ge(fd, 0);
	RUN_UNTIL(f->opened == 1);
	chardev_write(f->port, "hello", 5);
	expect_text(fd, "hello");
	/* The next peer is welcome too. */
	close(fd);
	RUN_UNTIL(f->closed == 1);
	fd = unix_connect();
	RUN_UNTIL(f->opened == 2);
	close(fd);
	front_free(f);
}
END_TEST

static void tcp_round_trip(const char *listen_arg, const char *client_arg)
{
	struct front *s = front_new(legacy(listen_arg, "s")), *c;
	char arg[128], port[16];

	chardev_each(set, describe, NULL);
	ck_assert_int_eq(sscanf(strrchr(described, ':') + 1, "%15[0-9]", port), 1);
	ck_assert_str_ne(port, "0");
	snprintf(arg, sizeof(arg), "%s:%s,nodelay", client_arg, port);
	c = front_new(legacy(arg, "c"));
	RUN_UNTIL(s->opened == 1 && c->opened == 1);
	chardev_write(s->port, "to client", 9);
	expect_in(c, "to client");
	chardev_write(c->port, "to server", 9);
	expect_in(s, "to server");
	front_free(s);
	front_free(c);
}

START_TEST(tcp_both_ends)
{
	tcp_round_trip("tcp:127.0.0.1:0,server=on,wait=off", "tcp:127.0.0.1");
}
END_TEST

START_TEST(tcp_any_address_and_old_spelling)
{
	tcp_round_trip("tcp::0,server,nowait", "tcp:localhost");
}
END_TEST

START_TEST(tcp_ipv6)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool have = fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a));

	if (fd >= 0)
		close(fd);
	if (!have) {
		fprintf(stderr, "SKIP: tcp_ipv6: this host has no IPv6 loopback address\n");
		return;
	}
	tcp_round_trip("tcp:[::1]:0,server=on,wait=off", "tcp:[::1]");
	ck_assert_ptr_nonnull(strstr(described, "tcp:[::1]:"));
}
END_TEST

START_TEST(client_reconnects)
{
	struct front *f;
	char arg[256];
	int server, fd;

	snprintf(arg, sizeof(arg), "unix:%s,reconnect=1", path);
	f = front_new(legacy(arg, "c")); /* nobody listens yet: no error */
	run_for(5 * MS);
	ck_assert_uint_eq(f->opened, 0);
	server = unix_listen();
	for (unsigned i = 1; i <= 2; i++) {
		RUN_UNTIL(f->opened == i);
		fd = accept(server, NULL, NULL);
		ck_assert_int_ge(fd, 0);
		chardev_write(f->port, "hi", 2);
		expect_text(fd, "hi");
		close(fd);
		RUN_UNTIL(f->closed == i);
	}
	close(server);
	front_free(f);
}
END_TEST

START_TEST(client_without_reconnect_stays_closed)
{
	struct front *f;
	char arg[256];
	int server = unix_listen(), fd;

	snprintf(arg, sizeof(arg), "unix:%s", path);
	f = front_new(legacy(arg, "c"));
	RUN_UNTIL(f->opened == 1);
	fd = accept(server, NULL, NULL);
	close(fd);
	RUN_UNTIL(f->closed == 1);
	ck_assert_uint_eq(chardev_write(f->port, "x", 1), 1); /* swallowed */
	run_for(1200 * MS);
	ck_assert_uint_eq(f->opened, 1);
	close(server);
	front_free(f);
}
END_TEST

/* --- pty ------------------------------------------------------------------- */

/* Makes a pty chardev, reads the line it prints, opens what that names. */
static struct chardev *make_pty(const char *arg, char *name)
{
	FILE *tmp = tmpfile();
	struct chardev *c;
	char line[256], label[64];
	int saved = dup(1);

	fflush(stdout);
	dup2(fileno(tmp), 1);
	c = legacy(arg, "serial3");
	dup2(saved, 1);
	close(saved);
	rewind(tmp);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), tmp));
	fclose(tmp);
	ck_assert_int_eq(sscanf(line, "char device redirected to %99s (label %60[^)])", name,
				label),
			 2);
	ck_assert_str_eq(label, "serial3");
	return c;
}

START_TEST(pty_peers_come_and_go)
{
	char name[100];
	struct front *f = front_new(make_pty("pty", name));
	static uint8_t junk[MIB];
	struct termios tio;

	/* Nobody has it open: output is swallowed, however much. */
	ck_assert_uint_eq(chardev_write(f->port, junk, sizeof(junk)), sizeof(junk));
	run_for(5 * MS);
	ck_assert_uint_eq(f->opened, 0);
	for (unsigned i = 1; i <= 3; i++) {
		int fd = open(name, O_RDWR | O_NOCTTY);

		ck_assert_int_ge(fd, 0);
		/* A write finds the peer at once, without waiting for the timer. */
		ck_assert_uint_eq(chardev_write(f->port, "a\r\n", 3), 3);
		expect_text(fd, "a\r\n");
		RUN_UNTIL(f->opened == i);
		ck_assert_int_eq(tcgetattr(fd, &tio), 0);
		ck_assert_int_eq(tio.c_lflag & (ICANON | ECHO | ISIG), 0);
		ck_assert_int_eq(tio.c_oflag & OPOST, 0);
		send_text(fd, "\r\003\004x");
		expect_in(f, "\r\003\004x");
		close(fd);
		RUN_UNTIL(f->closed == i);
	}
	front_free(f);
}
END_TEST

START_TEST(pty_input_is_noticed_without_output)
{
	char name[100];
	struct front *f = front_new(make_pty("pty", name));
	int fd;

	run_for(5 * MS);
	fd = open(name, O_RDWR | O_NOCTTY);
	send_text(fd, "typed");
	expect_in(f, "typed");
	ck_assert_uint_eq(f->opened, 1);
	close(fd);
	front_free(f);
}
END_TEST

START_TEST(slow_pty_peer_loses_nothing)
{
	char name[100];
	struct front *f = front_new(make_pty("pty", name));
	int fd = open(name, O_RDWR | O_NOCTTY);

	RUN_UNTIL(f->opened == 1);
	push_through(f, fd);
	push_in(f, fd);
	close(fd);
	front_free(f);
}
END_TEST

START_TEST(pty_peer_that_leaves_frees_a_held_back_writer)
{
	char name[100];
	struct front *f = front_new(make_pty("pty", name));
	struct writer w = { .f = f, .n = MIB };
	int fd = open(name, O_RDWR | O_NOCTTY);
	pthread_t writer;

	f->room = _i ? SIZE_MAX : 0;
	RUN_UNTIL(f->opened == 1);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_pattern, &w), 0);
	run_for(100 * MS);
	ck_assert(!atomic_load(&w.done));
	close(fd);
	RUN_UNTIL(atomic_load(&w.done));
	pthread_join(writer, NULL);
	ck_assert_uint_gt(w.held_back, 0);
	RUN_UNTIL(f->closed == 1);
	front_free(f);
}
END_TEST

/* --- file and null --------------------------------------------------------- */

static void expect_file(const char *text)
{
	char buf[256] = "";
	int fd = open(path, O_RDONLY);

	ck_assert_int_ge(read(fd, buf, sizeof(buf) - 1), 0);
	ck_assert_str_eq(buf, text);
	close(fd);
}

static void write_file(const char *id, const char *more, const char *text)
{
	struct front *f;
	char arg[256];

	snprintf(arg, sizeof(arg), "file:%s%s", path, more);
	f = front_new(legacy(arg, id));
	ck_assert_uint_eq(chardev_write(f->port, text, strlen(text)), strlen(text));
	RUN_UNTIL(f->opened == 1);
	front_free(f);
}

START_TEST(file_truncates_or_appends)
{
	write_file("a", "", "first\n");
	expect_file("first\n");
	write_file("b", ",append=on", "second\n");
	expect_file("first\nsecond\n");
	write_file("c", "", "third\n");
	expect_file("third\n");
}
END_TEST

START_TEST(file_name_with_equals_and_comma)
{
	snprintf(path, sizeof(path), "%s/a=b,c", dir);
	{
		char arg[256];
		struct front *f;

		snprintf(arg, sizeof(arg), "file:%s/a=b,,c", dir);
		f = front_new(legacy(arg, "a"));
		chardev_write(f->port, "x", 1);
		front_free(f);
	}
	expect_file("x");
}
END_TEST

/* What the code says on stderr while fn runs. */
static char *captured(void (*fn)(void))
{
	static char text[4096];
	FILE *tmp = tmpfile();
	int saved = dup(2);
	size_t n;

	fflush(stderr);
	dup2(fileno(tmp), 2);
	fn();
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	rewind(tmp);
	n = fread(text, 1, sizeof(text) - 1, tmp);
	text[n] = '\0';
	fclose(tmp);
	return text;
}

static void fill_disk(void)
{
	struct front *f = front_new(legacy("file:/dev/full", "log"));

	for (int i = 0; i < 100; i++) {
		ck_assert_uint_eq(chardev_write(f->port, "xyz", 3), 3);
		run_for(MS / 10);
	}
	front_free(f);
}

START_TEST(full_disk_is_reported_once)
{
	ck_assert_str_eq(captured(fill_disk),
			 "posada: chardev log (file:/dev/full): cannot write: No space left on "
			 "device; the guest goes on, its output is lost\n");
}
END_TEST

START_TEST(null_and_none)
{
	struct front *f = front_new(legacy("null", "n"));

	ck_assert_uint_eq(chardev_write(f->port, "abc", 3), 3);
	RUN_UNTIL(f->opened == 1);
	front_free(f);
	ck_assert_ptr_null(legacy("none", "x"));
	ck_assert_ptr_null(chardev_find(set, "x"));
	ck_assert_uint_eq(chardev_write(NULL, "abc", 3), 3);
	chardev_accept(NULL);
	chardev_detach(NULL);
}
END_TEST

/* --- the mux --------------------------------------------------------------- */

static int mux_with(struct front **a, struct front **b)
{
	struct chardev *c = unix_server(",mux=on");
	int fd;

	*a = front_new(c);
	*b = front_new(c);
	fd = unix_connect();
	RUN_UNTIL((*a)->opened == 1);
	return fd;
}

START_TEST(mux_focus)
{
	struct front *a, *b, *late;
	int fd = mux_with(&a, &b);

	late = front_new(chardev_find(set, "serial0"));
	run_for(5 * MS);
	ck_assert_uint_eq(b->opened, 0); /* not before it has the focus */
	ck_assert_uint_eq(late->opened, 0);
	/* One that leaves does not take the focus from another, only its own. */
	send_text(fd, "\001c");
	RUN_UNTIL(b->opened == 1);
	front_free(a);
	send_text(fd, "b");
	expect_in(b, "b");
	a = b;
	b = late;
	front_free(a);
	RUN_UNTIL(b->opened == 1);
	send_text(fd, "late");
	expect_in(b, "late");
	front_free(b);
	close(fd);
}
END_TEST

START_TEST(mux_output_and_input)
{
	struct front *a, *b;
	int fd = mux_with(&a, &b);

	send_text(fd, "ab\001cde\001cf");
	expect_in(a, "abf");
	expect_in(b, "de");
	RUN_UNTIL(a->opened == 2);
	/* The output of both goes out, whoever has the focus. */
	chardev_write(b->port, "[B]", 3);
	chardev_write(a->port, "[A]", 3);
	expect_text(fd, "[B][A]");
	/* The peer's end is told to all who saw its beginning. */
	close(fd);
	RUN_UNTIL(a->closed == 1);
	front_free(a);
	/* The one that is left has the focus. */
	fd = unix_connect();
	send_text(fd, "x\001cy");
	expect_in(b, "xy");
	close(fd);
	front_free(b);
}
END_TEST

START_TEST(mux_escapes)
{
	struct front *a, *b;
	int fd = mux_with(&a, &b);

	send_text(fd, "1\001\0012\001a3\001z4\001b5");
	expect_in(a, "1\0012\001345");
	ck_assert_uint_eq(a->breaks, 1);
	ck_assert_uint_eq(b->breaks, 0);
	send_text(fd, "\001"); /* escape and key in two reads */
	run_for(5 * MS);
	ck_assert_uint_eq(quits, 0);
	send_text(fd, "x");
	RUN_UNTIL(quits == 1);
	expect_text(fd, "\r\nposada: terminated\r\n");
	send_text(fd, "\001h");
	expect_text(fd, "\r\n"
			"C-a h    print this help\r\n"
			"C-a x    end the virtual machine\r\n"
			"C-a b    send break (magic sysrq)\r\n"
			"C-a c    switch between console and monitor\r\n"
			"C-a C-a  send C-a\r\n");
	ck_assert_uint_eq(a->in_n + b->in_n, 0);
	close(fd);
	front_free(a);
	front_free(b);
}
END_TEST

START_TEST(mux_escapes_work_while_the_guest_takes_nothing)
{
	struct front *a, *b;
	int fd = mux_with(&a, &b);

	a->room = 0;
	send_text(fd, "waiting");
	run_for(5 * MS);
	send_text(fd, "\001x");
	RUN_UNTIL(quits == 1);
	ck_assert_uint_eq(a->in_n, 0);
	a->room = 3;
	chardev_accept(a->port);
	expect_in(a, "wai");
	a->room = SIZE_MAX;
	chardev_accept(a->port);
	expect_in(a, "ting");
	close(fd);
	front_free(a);
	front_free(b);
}
END_TEST

START_TEST(mux_loses_nothing)
{
	struct front *a, *b;
	uint8_t *buf = malloc(MIB);
	size_t sent = 0;
	int fd = mux_with(&a, &b);

	push_through(a, fd);
	for (size_t i = 0; i < MIB; i++)
		buf[i] = pattern(i) == 1 ? 2 : pattern(i); /* no escapes */
	a->room = 0;
	while (a->in_n < MIB) {
		struct pollfd pfd = { .fd = fd, .events = POLLOUT };

		if (sent < MIB && poll(&pfd, 1, 0) > 0)
			sent += (size_t)write(fd, buf + sent, MIB - sent < 512 ? MIB - sent : 512);
		a->room = 300; /* slower than it comes */
		chardev_accept(a->port);
		run_for(MS / 20);
	}
	ck_assert_mem_eq(a->in, buf, MIB);
	ck_assert_uint_eq(b->in_n, 0);
	free(buf);
	close(fd);
	front_free(a);
	front_free(b);
}
END_TEST

START_TEST(mux_takes_four)
{
	struct chardev *c = unix_server(",mux=on");
	struct chardev_port *p;
	struct front *f[4];
	struct err e = { 0 };

	for (int i = 0; i < 4; i++)
		f[i] = front_new(c);
	ck_assert_int_eq(chardev_attach(c, &front_client, NULL, &p, &e), -EBUSY);
	ck_assert_str_eq(e.msg, "chardev 'serial0' is in use by 4 devices already");
	for (int i = 0; i < 4; i++)
		front_free(f[i]);
}
END_TEST

START_TEST(mon_prefix_makes_a_mux)
{
	char name[100];

	ck_assert(!chardev_wants_monitor(unix_server("")));
	{
		struct chardev *c = make_pty("mon:pty", name);
		struct front *a = front_new(c), *b = front_new(c);
		int fd = open(name, O_RDWR | O_NOCTTY);

		ck_assert(chardev_wants_monitor(c));
		send_text(fd, "a\001cb");
		expect_in(a, "a");
		expect_in(b, "b");
		close(fd);
		front_free(a);
		front_free(b);
	}
}
END_TEST

/* --- finding, naming, mistakes --------------------------------------------- */

START_TEST(one_front_end_without_a_mux)
{
	struct chardev *c;
	struct chardev_port *p;
	struct front *f;
	struct err e = { 0 };

	ck_assert_int_eq(chardev_add(set, "null,id=abc", &e), 0);
	c = legacy("chardev:abc", "serial0");
	ck_assert_ptr_eq(c, chardev_find(set, "abc"));
	f = front_new(c);
	ck_assert_int_eq(chardev_attach(c, &front_client, NULL, &p, &e), -EBUSY);
	ck_assert_int_eq(e.status, ERR_USAGE);
	ck_assert_str_eq(e.msg, "chardev 'abc' is in use by another device");
	ck_assert_str_eq(e.hint,
			 "give each device a chardev of its own, or share this one with mux=on");
	front_free(f);
	front_free(front_new(c)); /* free again */
}
END_TEST

static const struct {
	bool legacy;
	const char *arg;
	enum err_status status;
	const char *msg, *hint; /* parts of them */
} mistakes[] = {
	{ false, "stdoi,id=a", ERR_USAGE, "no backend 'stdoi'", "did you mean 'stdio'?" },
	{ false, "id=a", ERR_USAGE, "does not begin with the name of a backend", "stdio,id=ID" },
	{ false, "null", ERR_USAGE, "id= is missing", "add id=NAME" },
	{ false, "null,id=", ERR_USAGE, "id= is missing", "add id=NAME" },
	{ false, "null,id=taken", ERR_USAGE, "the id 'taken' is taken by another chardev", "own" },
	{ false, "null,id=a,path=/x", ERR_USAGE, "no property 'path'", "known: id mux" },
	{ false, "file,id=a,pth=/x", ERR_USAGE, "no property 'pth'", "did you mean 'path'?" },
	{ false, "file,id=a", ERR_USAGE, "path= is missing", "" },
	{ false, "file,id=a,path=/x,append=maybe", ERR_USAGE,
	  "append=maybe: 'maybe' is neither 'on' nor 'off'", "" },
	{ false, "file,id=a,path=/nonexistent/x", ERR_INPUT,
	  "cannot open '/nonexistent/x' for writing: No such file or directory", "directory" },
	{ false, "file,id=a,path=/tmp", ERR_INPUT, "cannot open '/tmp' for writing: Is a directory",
	  "directory" },
	{ false, "socket,id=a", ERR_USAGE, "path=, or host= and port=, are missing", "" },
	{ false, "socket,id=a,path=/x,port=1", ERR_USAGE,
	  "path= and host=/port= exclude each other", "" },
	{ false, "socket,id=a,host=localhost", ERR_USAGE, "port= is missing", "" },
	{ false, "socket,id=a,host=localhost,port=http", ERR_USAGE,
	  "port=http is not between 1 and 65535", "" },
	{ false, "socket,id=a,port=65536,server=on", ERR_USAGE,
	  "port=65536 is not between 1 and 65535", "" },
	{ false, "socket,id=a,port=0", ERR_USAGE, "port=0 is not between 1 and 65535", "" },
	{ false, "socket,id=a,path=/x,server=on,reconnect=1", ERR_USAGE,
	  "reconnect= is for clients", "" },
	{ false, "socket,id=a,path=/nonexistent/s", ERR_INPUT,
	  "cannot connect to unix:/nonexistent/s: No such file or directory", "server=on" },
	{ false, "socket,id=a,path=/nonexistent/s,server=on,wait=off", ERR_INPUT,
	  "cannot make the socket '/nonexistent/s': No such file or directory", "directory" },
	{ false, "socket,id=a,host=127.0.0.1,port=1", ERR_INPUT,
	  "cannot connect to tcp:127.0.0.1:1: Connection refused", "reconnect=SECONDS" },
	{ false, "socket,id=a,host=no.such.host.invalid,port=1", ERR_INPUT,
	  "host=no.such.host.invalid: ", "resolve" },
	{ true, "stdoi", ERR_USAGE, "no backend 'stdoi'", "did you mean 'stdio'?" },
	{ true, "taken", ERR_USAGE, "no backend 'taken'", "chardev:taken" },
	{ true, "/dev/ttyS0", ERR_USAGE, "no backend '/dev/ttyS0'", "file:/dev/ttyS0" },
	{ true, "chardev:takn", ERR_USAGE, "no chardev has the id 'takn'",
	  "did you mean 'taken'?" },
	{ true, "mon:chardev:taken", ERR_USAGE, "'mon:' cannot stand before 'chardev:taken'",
	  "mux=on" },
	{ true, "mon:none", ERR_USAGE, "'mon:' cannot stand before 'none'", "stdio" },
	{ true, "vc", ERR_USAGE, "'vc' is not supported", "use stdio, pty or unix:" },
	{ true, "vc:80Cx24C", ERR_USAGE, "'vc' is not supported", "use stdio, pty or unix:" },
	{ true, "telnet:localhost:23", ERR_USAGE, "'telnet' is not supported", "tcp:HOST:PORT" },
	{ true, "udp:localhost:23", ERR_USAGE, "'udp' is not supported", "tcp:HOST:PORT" },
	{ true, "file", ERR_USAGE, "'file:' needs a path after it", "" },
	{ true, "file:", ERR_USAGE, "'file:' needs a path after it", "" },
	{ true, "unix:,server", ERR_USAGE, "'unix:' needs a path after it", "" },
	{ true, "tcp:localhost", ERR_USAGE, "'tcp:localhost' has no port", "tcp:localhost:4444" },
	{ true, "tcp:localhost:", ERR_USAGE, "'tcp:localhost:' has no port", "tcp:localhost:4444" },
	{ true, "null:x", ERR_USAGE, "'null' takes no ':x'", "" },
	{ true, "unix:/x,servr", ERR_USAGE, "no property 'servr'", "did you mean 'server'?" },
	{ true, "", ERR_USAGE, "no backend ''", "" },
};

START_TEST(mistakes_are_named)
{
	struct chardev *c = NULL;
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(chardev_add(set, "null,id=taken", &e), 0);
	rc = mistakes[_i].legacy ? chardev_from_legacy(set, mistakes[_i].arg, "a", &c, &e)
				 : chardev_add(set, mistakes[_i].arg, &e);
	ck_assert_msg(rc < 0, "%s was accepted", mistakes[_i].arg);
	ck_assert_int_eq(rc, -e.code);
	ck_assert_msg(strstr(e.msg, mistakes[_i].msg) != NULL, "%s: %s", mistakes[_i].arg, e.msg);
	ck_assert_msg(strstr(e.hint, mistakes[_i].hint) != NULL, "%s: %s", mistakes[_i].arg,
		      e.hint);
	ck_assert_int_eq(e.status, mistakes[_i].status);
	ck_assert_ptr_null(c);
	ck_assert_ptr_null(chardev_find(set, "a"));
}
END_TEST

START_TEST(socket_path_too_long)
{
	struct err e = { 0 };
	char arg[300] = "socket,id=a,server=on,path=/", *end = arg + strlen(arg);

	memset(end, 'x', 120);
	ck_assert_int_eq(chardev_add(set, arg, &e), -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(e.msg, "121 bytes are too long for a socket"));
	ck_assert_ptr_nonnull(strstr(e.hint, "at most 107 bytes"));
}
END_TEST

START_TEST(port_in_use)
{
	struct err e = { 0 };
	char arg[128], port[16];

	legacy("tcp:127.0.0.1:0,server=on,wait=off", "s");
	chardev_each(set, describe, NULL);
	ck_assert_int_eq(sscanf(strrchr(described, ':') + 1, "%15[0-9]", port), 1);
	snprintf(arg, sizeof(arg), "socket,id=b,host=127.0.0.1,port=%s,server=on,wait=off", port);
	ck_assert_int_eq(chardev_add(set, arg, &e), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(e.msg, port));
	ck_assert_int_eq(e.status, ERR_INPUT);
	ck_assert_ptr_nonnull(strstr(e.hint, "port=0"));
}
END_TEST

START_TEST(help_lists_every_backend_and_key)
{
	static const char *const words[] = { "stdio:", "pty:",    "file:",      "socket:", "null:",
					     "signal", "append=", "reconnect=", "mux=",    "id=" };
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	chardev_help(f);
	fclose(f);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		ck_assert_msg(strstr(text, words[i]) != NULL, "%s", words[i]);
	free(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chardev");
	TCase *t = tcase_create("chardev");

	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, unix_server_peers_come_and_go);
	tcase_add_test(t, unix_server_second_peer_waits_its_turn);
	tcase_add_test(t, slow_socket_peer_loses_nothing);
	tcase_add_loop_test(t, peer_that_leaves_frees_a_held_back_writer, 0, 2);
	tcase_add_test(t, socket_file_is_removed_at_the_end);
	tcase_add_test(t, stale_socket_file_is_replaced);
	tcase_add_test(t, live_socket_is_not_taken_over);
	tcase_add_test(t, other_files_are_not_taken_over);
	tcase_add_test(t, server_waits_for_its_first_peer);
	tcase_add_test(t, tcp_both_ends);
	tcase_add_test(t, tcp_any_address_and_old_spelling);
	tcase_add_test(t, tcp_ipv6);
	tcase_add_test(t, client_reconnects);
	tcase_add_test(t, client_without_reconnect_stays_closed);
	tcase_add_test(t, pty_peers_come_and_go);
	tcase_add_test(t, pty_input_is_noticed_without_output);
	tcase_add_test(t, slow_pty_peer_loses_nothing);
	tcase_add_loop_test(t, pty_peer_that_leaves_frees_a_held_back_writer, 0, 2);
	tcase_add_test(t, file_truncates_or_appends);
	tcase_add_test(t, file_name_with_equals_and_comma);
	tcase_add_test(t, full_disk_is_reported_once);
	tcase_add_test(t, null_and_none);
	tcase_add_test(t, mux_focus);
	tcase_add_test(t, mux_output_and_input);
	tcase_add_test(t, mux_escapes);
	tcase_add_test(t, mux_escapes_work_while_the_guest_takes_nothing);
	tcase_add_test(t, mux_loses_nothing);
	tcase_add_test(t, mux_takes_four);
	tcase_add_test(t, mon_prefix_makes_a_mux);
	tcase_add_test(t, one_front_end_without_a_mux);
	tcase_add_loop_test(t, mistakes_are_named, 0, sizeof(mistakes) / sizeof(mistakes[0]));
	tcase_add_test(t, socket_path_too_long);
	tcase_add_test(t, port_in_use);
	tcase_add_test(t, help_lists_every_backend_and_key);
	suite_add_tcase(s, t);
	return run_suite(s);
}
